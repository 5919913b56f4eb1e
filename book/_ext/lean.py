"""What a page loads: only what it uses, with pictures that keep their place.

The theme loads 1.5 MB of icons as a script on every page, Jupyter Book MathJax even where there is
no formula, and both the search index. The finished pages are therefore gone over once more.
"""

from __future__ import annotations

import json
import re
import shutil
import urllib.parse
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image
from sphinx.application import Sphinx

SCRIPT = r'<script[^>]*src="[^"]*{}[^"]*"[^>]*></script>\s*'
ICONS = re.compile(SCRIPT.format(r"scripts/fontawesome\.js"))
SEARCH = re.compile(SCRIPT.format(r"(?:searchtools|language_data|searchindex)\.js"))
SETTINGS = re.compile(r"<script>window\.MathJax = .*?</script>\s*", re.DOTALL)
MATHJAX = re.compile(SETTINGS.pattern + "|" + SCRIPT.format(r"tex-chtml\.js"), re.DOTALL)
FORMULA = re.compile(r'class="(?:[^"]* )?math(?: [^"]*)?"')
VIEWPORT = re.compile(r'<meta name="viewport"[^>]*>')
PICTURE = re.compile(r"<img\b[^>]*>")
SHOWN = re.compile(r"_images/([\w.-]+)")
ICON = re.compile(
    r'class="[^"]*\bfa[bsr]?\b[^"]*"|class="[^"]*\bfa-(?:solid|brands|regular)\b[^"]*"'
)
NAME = re.compile(r"\bfa-([a-z0-9-]+)")
DRAWING = r'[{{,]"?{}"?:\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","([^"]+)"\]'
LENGTH = r'<svg\b[^>]*?\b{}="([\d.]+)(?:pt|px)?"'
WAIT = """<script>
document.documentElement.classList.add("setting");
const set = () => {
  document.documentElement.classList.remove("setting");
  for (const one of document.querySelectorAll('mjx-container[display="true"]'))
    if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;  // to be scrolled by keyboard
};
const fonts = () => document.fonts.ready;
window.MathJax.startup = {
  pageReady: () => MathJax.startup.defaultPageReady().then(fonts).then(set, set)
};
setTimeout(set, 3000);
</script>
"""
"""Text is shown once its formulas are set: raw TeX is longer, and the page would jump."""

UNNAMED = '<summary><span class="toctree-toggle" role="presentation">'
"""What opens a chapter's pages in the table of contents, which the theme gives no name."""

UNUSED = (
    *("scripts/fontawesome.js", "scripts/fontawesome.js.map", "scripts/bootstrap.js.map"),
    *("scripts/pydata-sphinx-theme.js.map", "scripts/sphinx-book-theme.js.map", "sphinx-thebe.js"),
    *("styles/theme.css.map", "images/logo_deepnote.svg", "images/logo_jupyterhub.svg"),
    *("images/logo_jupyterlite.svg", "webpack-macros.html", "sbt-webpack-macros.html"),
)
"""Files of the themes that no page asks for."""

LOOK = """/* Icons of Font Awesome Free (https://fontawesome.com, CC BY 4.0) that this site uses. */
.fa-solid, .fas, .fa-brands, .fab, .fa-regular, .far {
  display: inline-block; height: 1em; vertical-align: -.125em; background: currentColor;
  mask: var(--icon) center / contain no-repeat;
}
:is(.fa-solid, .fas, .fa-brands, .fab, .fa-regular, .far)::before { content: none; }
.fa-lg { font-size: 1.25em; line-height: .05em; vertical-align: -.075em; }
@media (forced-colors: active) { .fa-solid, .fas, .fa-brands, .fab { background: ButtonText; } }
"""


def slim(page: str, place: Path) -> str:
    """A page without what it does not use.

    Args:
        page: its HTML.
        place: where it lies; pictures are looked up from there.
    """
    page = ICONS.sub('<link rel="stylesheet" href="' + _up(page) + '_static/icons.css" />', page)
    if place.name != "search.html":
        page = SEARCH.sub("", page)
    if not FORMULA.search(page):
        page = MATHJAX.sub("", page)
    elif WAIT not in page:
        page = SETTINGS.sub(lambda found: found.group() + WAIT, page, count=1)
    first = VIEWPORT.search(page)
    if first:
        page = page[: first.end()] + VIEWPORT.sub("", page[first.end() :])
    page = page.replace(UNNAMED, UNNAMED.replace(">", ' aria-label="pages of this chapter">', 1))
    page = page.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
    return PICTURE.sub(lambda found: sized(found.group(), place.parent), page)


def sized(tag: str, folder: Path) -> str:
    """An `img` that tells its size, so that nothing moves when it comes, and comes when needed."""
    source = re.search(r'\bsrc="([^"]+)"', tag)
    if source is None:
        return tag
    add = "" if "loading=" in tag else ' loading="lazy" decoding="async"'
    path = folder / urllib.parse.unquote(source[1])
    if "width=" not in tag and not source[1].startswith("data:") and path.is_file():
        width, height = size(path)
        add += f' width="{width}" height="{height}"'
    end = "/>" if tag.endswith("/>") else ">"
    return tag.removesuffix(end).rstrip() + add + end


@cache
def size(path: Path) -> tuple[int, int]:
    """Width and height of a picture in pixels, of an SVG in its own units."""
    if path.suffix == ".svg":
        head = path.read_text(encoding="utf-8")[:2000]
        found = [re.search(LENGTH.format(name), head, re.DOTALL) for name in ("width", "height")]
        return tuple(round(float(one[1])) if one else 100 for one in found)  # type: ignore[return-value]
    with Image.open(path) as image:
        return image.size


def icons(names: Iterable[str], source: str) -> str:
    """A style sheet with the named icons, from the text of the theme's `fontawesome.js`."""
    rules = [LOOK]
    for name in sorted(set(names)):
        found = re.search(DRAWING.format(re.escape(name)), source)
        if found is None:  # a size or another modifier, not an icon
            continue
        width, height, outline = found.groups()
        svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'>"
        svg += f"<path d='{outline}'/></svg>"
        address = urllib.parse.quote(svg, safe=" ='/:")
        rules.append(
            f'.fa-{name} {{ --icon: url("data:image/svg+xml,{address}"); '
            f"width: {int(width) / int(height):.4g}em; }}\n"
        )
    return "".join(rules)


def _up(page: str) -> str:
    """The way from a page to the front page, as it says of itself."""
    found = re.search(r'data-content_root="([^"]*)"', page)
    return found[1] if found else "./"


def finish(app: Sphinx, error: Exception | None) -> None:
    """Go over the finished site."""
    if error is not None or app.builder.name != "html":
        return
    out = Path(app.outdir)
    used: set[str] = set()
    shown: set[str] = set()
    for path in out.rglob("*.html"):
        if "_static" in path.relative_to(out).parts:
            continue
        text = path.read_text(encoding="utf-8")
        slimmed = slim(text, path)
        shown |= set(SHOWN.findall(slimmed))
        used |= {n for c in ICON.findall(slimmed) for n in NAME.findall(c)}
        if slimmed != text:
            path.write_text(slimmed, encoding="utf-8")
    theme = out / "_static" / "scripts" / "fontawesome.js"
    if theme.is_file():
        sheet = icons(used, theme.read_text(encoding="utf-8"))
        (out / "_static" / "icons.css").write_text(sheet, encoding="utf-8")
    for name in UNUSED:
        (out / "_static" / name).unlink(missing_ok=True)
    for name in ("locales", "vendor/fontawesome"):
        shutil.rmtree(out / "_static" / name, ignore_errors=True)
    for path in (out / "_images").glob("*"):  # Sphinx leaves those of earlier builds
        if path.name not in shown:
            path.unlink()
    for path in (out / "_sources").rglob("*.ipynb"):
        path.write_text(without_outputs(path.read_text(encoding="utf-8")), encoding="utf-8")


def without_outputs(notebook: str) -> str:
    """The text of a notebook to download: to be run, its figures are on the page already."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_css_file("fonts.css", priority=790)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
