"""How this was made: a note that opens under each computed figure and table.

The executed notebook carries the record: `build.py` writes it into the metadata. Nothing is
computed here. In the print edition the note is one line that cannot be closed.
"""

from __future__ import annotations

import ast
import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

SHOWN = 8
"""Hashes to print in full before the rest are only counted."""


@cache
def record(path: Path, modified: int) -> dict[str, Any]:
    """The record of an executed notebook, with the source of its parameters; else empty."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    found = dict(notebook["metadata"].get("comet", {}))
    cells = (c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", []))
    source = "".join(next(cells, {"source": ""})["source"])
    given = found.get("parameters", {})
    found["settings"] = {
        statement.target.id: repr(given[statement.target.id])
        if statement.target.id in given
        else ast.unparse(statement.value)
        for statement in ast.parse(source).body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and statement.value is not None
    }
    return found


def of_notebook(
    name: str,
    made: Mapping[str, Any],
    runs: Sequence[str],
    root: str,
    record: Sequence[str] = (),
) -> list[tuple]:
    """What to tell of a figure of a notebook, as pairs of a word and HTML.

    Args:
        name: of the notebook, without folder and suffix.
        made: its record.
        runs: hashes of the runs that the figure is made from.
        root: the way from the page to the front page, "../"; empty for print.
        record: file and day of the record that it was read from, if it was.
    """
    where = f"notebooks/{name}.py"
    if root:
        target = f"{root}_sources/notebooks/{name}.ipynb"
        where = f'<a href="{target}" download>notebooks/{name}.ipynb</a>'
    settings = "<br>".join(
        f"<code>{html.escape(f'{key} = {value}')}</code>" for key, value in made["settings"].items()
    )
    hashes = " ".join(f"<code>{one}</code>" for one in runs[:SHOWN])
    if len(runs) > SHOWN:
        hashes += f" and {len(runs) - SHOWN} more"
    return [
        ("notebook", where),
        ("parameters", settings or "none"),
        ("runs", f"{len(runs)}: {hashes}" if runs else _without_runs(record)),
        ("code", code(made["versions"])),
        ("time", f"{made['finished']}; the notebook took {_clock(made['seconds'])}"),
    ]


def _without_runs(record: Sequence[str]) -> str:
    if not record:
        return "none; computed in the notebook"
    file, day = map(html.escape, record)
    return f"none here; read from the record <code>benchmarks/{file}</code>, made on {day}"


def code(versions: Mapping[str, str]) -> str:
    """The versions that decide a number, as HTML."""
    commit = f", commit <code>{versions['commit'][:9]}</code>" if versions.get("commit") else ""
    return (
        f"<code>{html.escape(versions['code'])}</code>{commit}; Python {versions['python']}, "
        f"PyTorch {versions['torch']}, timm {versions['timm']}, NumPy {versions['numpy']}"
    )


def note(told: Sequence[tuple[str, str]], closed: bool = True) -> str:
    """The note as HTML: closed on the site, a paragraph on paper."""
    if not closed:
        words = "; ".join(f"{word}: {value.replace('<br>', ', ')}" for word, value in told)
        return f'<p class="made">How this was made. {words}.</p>'
    rows = "".join(f"<dt>{word}</dt><dd>{value}</dd>" for word, value in told)
    return f'<details class="made"><summary>how this was made</summary><dl>{rows}</dl></details>'


def add_notes(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the note under every figure and table that the page's notebook has a record of."""
    if app.builder.format != "html":
        return
    site = app.builder.name == "html"
    root = "../" * docname.count("/")
    for node in list(doctree.findall(lambda n: isinstance(n, nodes.figure | nodes.table))):
        path = _source(node)
        if path.suffix != ".ipynb":
            continue
        made = record(path, path.stat().st_mtime_ns)
        name = next((name for name in node["names"] if name in made.get("made", {})), None)
        if name is None:
            continue
        told = of_notebook(
            path.stem,
            made,
            made["made"][name],
            root if site else "",
            made.get("records", {}).get(name, ()),
        )
        if not site:
            told = [pair for pair in told if pair[0] != "parameters"]
        caption = node.next_node(nodes.caption)
        if caption is not None and name in made.get("notes", {}):
            caption += nodes.inline("", made["notes"][name], classes=["made-of"])
        raw = nodes.raw("", note(told, closed=site), format="html")
        if isinstance(node, nodes.figure):
            node += raw
        else:
            node.parent.insert(node.parent.index(node) + 1, raw)


def _source(node: nodes.Node) -> Path:
    """The file that a part of a page was written in: in print all chapters are on one page."""
    above = node
    while above.parent is not None:
        above = above.parent
    return Path(above["source"])


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s" if seconds >= 60 else f"{seconds:g} s"


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-resolved", add_notes)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
