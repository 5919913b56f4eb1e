"""The picture of the front page in README.md, taken from the built site.

    python book/front_picture.py

What it shows is computed from synthetic points. It is the only generated file in the repository.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import build
from PIL import Image
from print_edition import find_browser

PICTURE = build.BOOK / "front-page.png"
WIDTH, HEIGHT = 1180, 728
MOST = 200_000
"""Bytes that the picture may have."""


def take(site: Path, program: str) -> bytes:
    """The upper part of the front page, by day, as a PNG of at most 256 colours."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
        size = {"width": WIDTH, "height": HEIGHT}
        page = browser.new_page(viewport=size, color_scheme="light", device_scale_factor=1.5)
        page.goto((site / "index.html").as_uri(), wait_until="networkidle")
        page.evaluate("document.fonts.ready")
        shot = page.screenshot()
        browser.close()
    file = io.BytesIO()
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(64).save(file, "PNG", optimize=True)
    return file.getvalue()


def main() -> int:
    """Write the picture; the exit status is 0, or 1 after a message on what is wrong."""
    try:
        if not (build.SITE / "index.html").is_file():
            raise build.BuildError("The book has not been built yet; `make book` builds it.")
        picture = take(build.SITE, find_browser())
        if len(picture) > MOST:
            raise build.BuildError(f"The picture has {len(picture)} bytes, more than {MOST}.")
    except build.BuildError as error:
        print(error, file=sys.stderr)
        return 1
    temporary = PICTURE.with_name(f".{PICTURE.name}")
    temporary.write_bytes(picture)
    temporary.replace(PICTURE)
    print(f"{PICTURE.name}: {len(picture) / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
