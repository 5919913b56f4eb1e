"""What the site's own Sphinx extensions do to a page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
import pytest
from docutils import nodes
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "book" / "_ext")]
import lean  # noqa: E402
import reading  # noqa: E402
import repository  # noqa: E402

PAGE = """<html data-content_root="../">
<meta name="viewport" content="a" /><meta name="viewport" content="b" />
<script defer src="../_static/scripts/fontawesome.js?digest=1"></script>
<script>window.MathJax = {"tex": {}}</script>
<script defer="defer" src="../_static/../mathjax/tex-chtml.js?v=2"></script>
<script src="../_static/searchtools.js"></script><script src="../searchindex.js"></script>
<script src="../_static/doctools.js"></script>
"""


def test_a_page_keeps_only_what_it_uses(tmp_path: Path) -> None:
    slimmed = lean.slim(PAGE, tmp_path / "one.html")
    assert "fontawesome.js" not in slimmed and '"../_static/icons.css"' in slimmed
    assert "MathJax" not in slimmed and "tex-chtml" not in slimmed
    assert "searchindex" not in slimmed and "doctools.js" in slimmed
    assert slimmed.count("viewport") == 1
    assert lean.slim(slimmed, tmp_path / "one.html") == slimmed, "twice is once"


def test_formulas_and_search_keep_their_scripts(tmp_path: Path) -> None:
    formula = lean.slim(PAGE + '<span class="math notranslate">x</span>', tmp_path / "one.html")
    assert formula.count("pageReady") == 1, "text waits for its formulas"
    assert lean.slim(formula, tmp_path / "one.html") == formula
    assert "window.MathJax" in formula and "tex-chtml.js" in formula
    assert "searchindex.js" in lean.slim(PAGE, tmp_path / "search.html")


def test_a_picture_tells_its_size_and_comes_when_it_is_seen(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    head = '<?xml version="1.0"?>\n<svg xmlns="x" width="374.4pt" height="200pt" viewBox="0 0 1 1">'
    (tmp_path / "b.svg").write_text(head)
    png, svg = (lean.sized(f'<img alt="" src="{name}"/>', tmp_path) for name in ("a.png", "b.svg"))
    assert png.endswith('loading="lazy" decoding="async" width="30" height="20"/>')
    assert 'width="374" height="200"' in svg
    assert "width" not in lean.sized('<img src="gone.png">', tmp_path)


def test_a_notebook_to_download_holds_no_outputs() -> None:
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell(
            "1", execution_count=1, outputs=[nbformat.v4.new_output("stream")]
        ),
    ]
    text = nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata={"comet": {"a": 1}}))
    found = nbformat.reads(lean.without_outputs(text), as_version=4)
    nbformat.validate(found)
    assert found.cells[1].source == "1" and found.cells[1].outputs == []
    assert found.metadata["comet"] == {"a": 1}


def test_icons_are_those_of_the_theme() -> None:
    source = '{"circle-down":[512,512,[],"f0","M9z"],down:[320,512,["a"],"f1","M1 2z"]}'
    sheet = lean.icons({"down", "lg"}, source)
    assert "M1%202z" in sheet.replace(" ", "%20") and "M9" not in sheet
    assert "width: 0.625em" in sheet and ".fa-lg {  --icon" not in sheet


# -- the repository


def test_without_a_repository_there_are_no_links() -> None:
    assert repository.links("", "main", "notebooks/boundary") == {}


def test_one_setting_makes_every_link() -> None:
    url = "https://github.com/someone/comet.git/"
    assert repository.links(url, "dev", "notebooks/boundary") == {
        "Repository": "https://github.com/someone/comet.git/".removesuffix(".git/"),
        "Edit this page": "https://github.com/someone/comet/edit/dev/notebooks/boundary.py",
        "Open an issue": "https://github.com/someone/comet/issues/new?title=notebooks/boundary%3A%20",
        "Binder": "https://mybinder.org/v2/gh/someone/comet/dev?urlpath=lab/tree/notebooks/boundary.ipynb",
        "Colab": "https://colab.research.google.com/github/someone/comet/blob/dev/notebooks/boundary.ipynb",
    }
    page = repository.links(url, "main", "method/equations")
    assert page["Edit this page"].endswith("/edit/main/book/method/equations.md")
    assert "Binder" not in page and "Colab" not in page


@pytest.mark.parametrize(
    ("url", "binder"),
    [
        ("https://gitlab.com/a/b", "/v2/gl/a%2Fb/main?"),
        ("https://git.example.org/a/b", "/v2/git/https%3A%2F%2Fgit.example.org%2Fa%2Fb/main?"),
    ],
)
def test_other_hosts_get_what_they_can_use(url: str, binder: str) -> None:
    found = repository.links(url, "main", "notebooks/boundary")
    assert binder in found["Binder"] and "Colab" not in found
    assert ("Edit this page" in found) == ("gitlab" in url)


def test_edited_and_launched_files_exist() -> None:
    import build

    assert build.contents(ROOT / "book")
    for name in build.contents(ROOT / "book"):
        assert (ROOT / repository.source(f"notebooks/{name}")).is_file()
        assert (ROOT / "notebooks" / f"{name}.ipynb").is_file()
    assert (ROOT / repository.source("method/equations")).is_file()


@pytest.mark.parametrize("url", ["", "https://github.com/someone/comet"])
def test_buttons_appear_with_the_setting_alone(tmp_path: Path, url: str) -> None:
    """Through Sphinx and the theme, as the book does it."""
    from sphinx.application import Sphinx

    source = tmp_path / "source"
    (source / "notebooks").mkdir(parents=True)
    (source / "index.md").write_text("# Title\n\n```{toctree}\nnotebooks/one\n```\n")
    (source / "notebooks" / "one.md").write_text("# One\n")
    options = {
        "extensions": ["myst_parser", "repository"],
        "html_theme": "sphinx_book_theme",
        "html_theme_options": {"repository_url": url, "repository_branch": "dev"},
    }
    out = tmp_path / "out"
    app = Sphinx(source, None, out, tmp_path / "trees", "html", options, status=None, warning=None)
    app.build()
    page = (out / "notebooks" / "one.html").read_text(encoding="utf-8")
    for address in repository.links(
        "https://github.com/someone/comet", "dev", "notebooks/one"
    ).values():
        assert (f'href="{address}"' in page.replace("&amp;", "&")) == bool(url)


def test_lines_break_neither_in_intervals_nor_before_a_percent_sign() -> None:
    pieces = list(
        reading.split("I-AUROC fell by -1.2 [−3.4, +0.5] points at 10 %, 2e-4 of WRN-50.")
    )
    whole = [piece.astext() for piece in pieces if isinstance(piece, nodes.inline)]
    assert whole == ["I-AUROC", "[−3.4, +0.5]"]
    assert "".join(piece.astext() for piece in pieces) == (
        "I-AUROC fell by −1.2 [−3.4, +0.5] points at 10\N{NO-BREAK SPACE}%, 2e-4 of WRN-50."
    )


def test_code_is_closed_where_a_notebook_is_read_for_its_results() -> None:
    notebook = {
        "cells": [
            {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "a: int = 1"},
            {"cell_type": "code", "metadata": {}, "source": ["notebook.show(figure)"]},
            {"cell_type": "code", "metadata": {"tags": ["hide-cell"]}, "source": "answer"},
            {"cell_type": "markdown", "metadata": {}, "source": "Text."},
        ]
    }
    closed = {}
    for name in ("audit", "meta_learning"):
        source = [json.dumps(notebook)]
        reading.fold(None, f"notebooks/{name}", source)  # type: ignore[arg-type]
        cells = json.loads(source[0])["cells"]
        closed[name] = ["hide-input" in cell["metadata"].get("tags", []) for cell in cells]
        assert cells[2]["metadata"]["mystnb"]["code_prompt_show"] == "Solution"
        assert cells[0]["metadata"]["mystnb"]["code_prompt_show"] == "Parameters"
    assert closed["audit"] == [True, True, False, False]
    assert closed["meta_learning"] == [True, False, False, False], "it teaches by its code"
    page = ["# A page"]
    reading.fold(None, "method/equations", page)  # type: ignore[arg-type]
    assert page == ["# A page"]
