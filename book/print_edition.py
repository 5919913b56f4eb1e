"""The print edition: the whole book as one PDF, printed by a browser.

    python book/print_edition.py            what `make pdf` calls

It prints what `build.py` has made: no notebook is run. All chapters are put on one page, formulas
are set, and Chromium prints it, with page numbers and bookmarks. Nothing is fetched.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import build

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAGE = build.BUILT / "singlehtml" / "index.html"
PDF = build.BUILT / "comet-companion.pdf"
FOOT = (
    '<div style="width: 100%; text-align: center; font: 8pt sans-serif; color: #555">'
    '<span class="pageNumber"></span></div>'
)
READY = "!window.MathJax || !!(MathJax.startup && MathJax.startup.document)"
OPEN = "document.querySelectorAll('.tag_solution details').forEach(one => { one.open = true; })"
"""On paper the solutions of exercises lie open; other code stays with the notebooks."""
LOAD = """() => {
  document.querySelectorAll("img").forEach(image => { image.loading = "eager"; });
  return Promise.all([...document.images].map(image => image.decode().catch(() => image.src)))
    .then(all => all.filter(Boolean));
}"""


def find_browser() -> str:
    """The browser to print with.

    Raises:
        BuildError: there is none.
    """
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise build.BuildError(
            "The print edition needs Chromium or Chrome, and there is none; on Debian, "
            "`apt install chromium` brings one. The site needs no browser to be built."
        )
    return program


def one_page() -> Path:
    """All chapters on one page.

    Raises:
        BuildError: the book has not been built, or Sphinx failed.
    """
    if not (build.SITE / "index.html").is_file():
        raise build.BuildError("The book has not been built yet; `make book` builds it.")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    done = subprocess.run(
        [*command, "build", str(build.BOOK), "--builder", "singlehtml"],
        capture_output=True,
        text=True,
        check=False,
    )
    build.write(build.BUILT / "print.log", done.stdout + done.stderr)
    if done.returncode or not PAGE.is_file():
        raise build.BuildError(f"The page to print was not built; see {build.BUILT / 'print.log'}")
    return PAGE


def print_page(page: Path, pdf: Path, program: str) -> None:
    """Print a page of the site, formulas and figures included.

    Raises:
        BuildError: a figure did not load, or a formula was not set.
    """
    from playwright.sync_api import sync_playwright

    temporary = pdf.with_name(f".{pdf.name}")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.set_default_timeout(300_000)
        tab.goto(page.as_uri(), wait_until="load")
        tab.wait_for_function(READY)
        tab.evaluate("window.MathJax ? MathJax.startup.promise : 0")
        lost = tab.evaluate(LOAD)
        unset = tab.evaluate("document.querySelectorAll('.math:not(:has(mjx-container))').length")
        if lost or unset:
            raise build.BuildError(
                f"The print edition lacks {len(lost)} figures and {unset} formulas: {lost[:3]}"
            )
        tab.emulate_media(media="print", color_scheme="light")
        tab.evaluate("document.documentElement.dataset.theme = 'light'")
        tab.evaluate(OPEN)
        tab.pdf(path=temporary, **_paper())
        browser.close()
    temporary.replace(pdf)


def _paper() -> dict[str, Any]:
    return {
        "format": "A4",
        "margin": {"top": "20mm", "bottom": "20mm", "left": "20mm", "right": "20mm"},
        "display_header_footer": True,
        "header_template": "<span></span>",
        "footer_template": FOOT,
        "outline": True,
        "tagged": True,
        "print_background": True,
    }


def main() -> int:
    """Print the book; the exit status is 0, or 1 after a message on what is wrong."""
    say = functools.partial(print, flush=True)
    try:
        program = find_browser()
        say("[1/2] all chapters on one page")
        page = one_page()
        say("[2/2] printing")
        print_page(page, PDF, program)
        say(f"      {PDF.as_uri()}, {PDF.stat().st_size / 1e6:.1f} MB")
    except build.BuildError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
