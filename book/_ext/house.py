"""What the book needs beyond Jupyter Book: mended scripts and docstrings in our own style."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sphinx.application import Sphinx

SECTION = re.compile(r"(Args|Arguments|Attributes|Example|Examples|Raises|Returns|Yields):$")
ADDRESS = re.compile(r'"(tcp://[^"\s]+)"')
TABLE_CELL = re.compile(r"   (\* |  )- ")
TABLE_RULE = re.compile(r"\|(\s*:?-+:?\s*\|)+$")

SEARCH_FROM_DISK = """
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
"""
"""Search results show an excerpt of each page, fetched. Browsers fetch nothing from file://, so
there the results come without it rather than with an error."""


def mend_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Drop thebe, which Jupyter Book 1 loads on every page even when it is off.

    It would run cells on a foreign host and logs an error without its configuration.
    """
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, []) if not _is_thebe(file)]


def _is_thebe(file: Any) -> bool:
    return "thebe" in f"{file.filename} {file.attributes.get('body', '')}".lower()


def docstring_to_rst(app: Any, kind: str, name: str, thing: Any, options: Any, lines: list) -> None:
    """Markdown tables and indented code of our docstrings, as reStructuredText, in place."""
    if kind == "module" and thing.__doc__:  # autodoc took the indentation of code for its own
        lines[:] = [*thing.__doc__.splitlines(), ""]
    named = [ADDRESS.sub(r"``\1``", line) for line in lines]  # else it becomes a dead link
    lines[:] = _code(_tables(named), sections=kind != "module")


def readable_signature(
    app: Any, kind: str, name: str, thing: Any, options: Any, signature: str | None, returns: Any
) -> tuple[str, Any] | None:
    """Replace the default `<factory>` of a dataclass, on which Sphinx's parser gives up."""
    return (signature.replace("<factory>", "..."), returns) if signature else None


def _tables(lines: Iterable[str]) -> list[str]:
    """Turn each table of pipes into a list table."""
    found: list[str] = []
    rows: list[list[str]] = []
    for line in [*lines, ""]:
        text = line.strip()
        if text.startswith("|") and text.endswith("|"):
            if not TABLE_RULE.match(text):
                rows.append([cell.strip() for cell in text[1:-1].split("|")])
            continue
        if rows:
            found += ["", ".. list-table::", "   :header-rows: 1", ""]
            for row in rows:
                found += [f"   {'* -' if not i else '  -'} {cell}" for i, cell in enumerate(row)]
            found.append("")
            rows = []
        found.append(line)
    return found[:-1]


def _code(lines: list[str], sections: bool) -> list[str]:
    """Mark indented paragraphs as literal blocks, unless they belong to a section such as Args."""
    found: list[str] = []
    within = False
    for position, line in enumerate(lines):
        if sections and SECTION.match(line.strip()):
            return found + lines[position:]
        indented = line.startswith("    ")
        if indented and not within and found and not found[-1].strip():
            opener = next((text for text in reversed(found) if text.strip()), "")
            within_list = opener.startswith("   ") and not TABLE_CELL.match(opener)
            if not within_list and not opener.endswith("::"):
                found += ["::", ""]
            within = True
        elif line.strip() and not indented:
            within = False
        found.append(line)
    return found


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_js_file(None, body=SEARCH_FROM_DISK, priority=900)
    app.connect("html-page-context", mend_scripts, priority=999)
    app.connect("autodoc-process-docstring", docstring_to_rst, priority=100)
    app.connect("autodoc-process-signature", readable_signature)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
