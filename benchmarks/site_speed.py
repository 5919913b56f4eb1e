"""What the built site weighs and how fast it is seen, in a real browser on this machine.

    python benchmarks/site_speed.py [PAGE ...]        e.g. index.html notebooks/boundary.html

Prints a row a page: kilobytes that the page itself asks for before anybody scrolls, the time to its
largest paint (the best of three visits with an empty cache, since the machine may be busy) and
its cumulative layout shift (the worst). The site is served from localhost, one page at a time.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

SITE = Path(__file__).resolve().parents[1] / "book" / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WATCH = """
window.seen = { paint: 0, shift: 0 };
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) window.seen.paint = entry.startTime;
}).observe({ type: "largest-contentful-paint", buffered: true });
new PerformanceObserver(list => {
  for (const entry of list.getEntries())
    if (!entry.hadRecentInput) window.seen.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


class Load(NamedTuple):
    """A visit: bytes that came, seconds to the largest paint, cumulative layout shift."""

    weight: int
    paint: float
    shift: float


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(site: Path) -> Iterator[str]:
    """The site on localhost, below a sub-path; gives its address."""
    handler = functools.partial(_Quiet, directory=str(site.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{site.name}"
    server.shutdown()


def visit(browser: Any, address: str, width: int = 1280, height: int = 900) -> Load:
    """Open a page with an empty cache and watch it until it is quiet."""
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.add_init_script(WATCH)
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(_size(request)))
    page.goto(address, wait_until="networkidle")
    page.wait_for_function("window.seen.paint > 0")
    page.wait_for_timeout(300)
    seen = page.evaluate("window.seen")
    context.close()
    return Load(sum(sizes), seen["paint"] / 1000, seen["shift"])


def _size(request: Any) -> int:
    told = request.sizes()
    return told["responseBodySize"] + told["responseHeadersSize"]


def measure(browser: Any, address: str, visits: int = 3) -> Load:
    """Several visits: the lightest weight, the quickest paint, the worst shift."""
    all_ = [visit(browser, address) for _ in range(visits)]
    return Load(
        min(one.weight for one in all_),
        min(one.paint for one in all_),
        max(one.shift for one in all_),
    )


def main(pages: list[str]) -> int:
    """Print the table; the exit status is 1 with a sentence where there is nothing to measure."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None or not (SITE / "index.html").is_file():
        lacks = "no Chromium here" if program is None else "the site is not built; `make book`"
        print(f"Nothing to measure: {lacks}.", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    names = pages or sorted(
        path.relative_to(SITE).as_posix()
        for path in SITE.rglob("*.html")
        if not {"_static", "_modules"} & set(path.relative_to(SITE).parts)
    )
    total = sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file())
    print(f"whole site: {total / 1e6:.1f} MB\n")
    print(f"{'page':40}{'kB':>8}{'paint / s':>12}{'shift':>8}")
    with serving(SITE) as home, sync_playwright() as play:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        browser = play.chromium.launch(
            executable_path=program, args=["--no-sandbox"] if root else []
        )
        for name in names:
            load = measure(browser, f"{home}/{name}")
            print(f"{name:40}{load.weight / 1000:8.0f}{load.paint:12.2f}{load.shift:8.3f}")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
