"""What makes pages easier to read: lines that break well, code that steps back, edges that fade.

Nothing here changes what is said, except that a hyphen before a number becomes a minus.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

TAUGHT = ("confident_learning", "meta_learning")
"""Notebooks that are about their code, so it stays open where the notebook does not close it."""
SHORT = 26
"""Letters of code in a sentence that are kept on one line."""
PERCENT = re.compile(r"(?<=\d) (?=%)")
MINUS = re.compile(r"(?<![\w.−-])-(?=\d)")
WHOLE = re.compile(r"[IP]-AUROC|\[[+−]?[\d.,]*\d, [+−]?[\d.,]*\d\]")
"""Words and intervals that are not to be broken at the end of a line."""
VERBATIM = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.math_block, nodes.raw)

MORE = """
(() => {
const wide = "mjx-container[display='true'], .pst-scrollable-table-container, div.highlight > pre";
const look = one =>
  one.classList.toggle("more", one.scrollLeft + one.clientWidth < one.scrollWidth - 2);
const seen = new WeakSet();
const all = () => document.querySelectorAll(wide).forEach(one => {
  if (!seen.has(one)) one.addEventListener("scroll", () => look(one), { passive: true });
  seen.add(one);
  look(one);
});
addEventListener("resize", all);
addEventListener("load", () => {
  all();
  document.fonts.ready.then(all);
  if (window.MathJax?.startup?.promise) MathJax.startup.promise.then(all);
});
document.addEventListener("toggle", all, true);
})();
"""
"""What goes on beyond the right edge of the screen fades there."""


def fold(app: Sphinx, docname: str, source: list[str]) -> None:
    """Close the code of notebooks that are read for their results, and name what opens it."""
    if not docname.startswith("notebooks/"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        tags = cell["metadata"].setdefault("tags", [])
        prompts = {"code_prompt_show": "Solution", "code_prompt_hide": "Hide the solution"}
        if "hide-cell" not in tags:
            taught = docname.rpartition("/")[2] in TAUGHT and "hide-input" not in tags
            if taught and not _sets_up(cell):
                continue
            if not {"remove-input", "remove-cell", "hide-input"} & set(tags):
                tags.append("hide-input")
            name = "Parameters" if "parameters" in tags else "Code"
            prompts = {"code_prompt_show": name, "code_prompt_hide": f"Hide the {name.lower()}"}
        cell["metadata"]["mystnb"] = prompts | cell["metadata"].get("mystnb", {})
    source[0] = json.dumps(notebook)


def _sets_up(cell: dict[str, Any]) -> bool:
    return "parameters" in cell["metadata"]["tags"] or "notebook.begin(" in "".join(cell["source"])


def set_lines(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Keep numbers by their percent sign, intervals and short code in one piece."""
    if app.builder.format != "html":
        return
    for code in doctree.findall(nodes.literal):
        if len(code.astext()) <= SHORT:
            code["classes"].append("short")
    for text in list(doctree.findall(nodes.Text)):
        parent = text.parent
        if not _within(text, VERBATIM):
            pieces = list(split(str(text)))
            if len(pieces) > 1 or str(pieces[0]) != str(text):
                parent.replace(text, pieces)


def split(text: str) -> Iterator[nodes.Node]:
    """A text as nodes, of which those of class `whole` are not to be broken."""
    text = MINUS.sub("−", PERCENT.sub("\N{NO-BREAK SPACE}", text))
    end = 0
    for found in WHOLE.finditer(text):
        if found.start() > end:
            yield nodes.Text(text[end : found.start()])
        yield nodes.inline("", found.group(), classes=["whole"])
        end = found.end()
    if end < len(text) or not text:
        yield nodes.Text(text[end:])


def _within(node: nodes.Node, kinds: tuple[type[nodes.Node], ...]) -> bool:
    above = node.parent
    while above is not None:
        if isinstance(above, kinds):
            return True
        above = above.parent
    return False


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_js_file(None, body=MORE, priority=900)
    app.connect("source-read", fold)
    app.connect("doctree-resolved", set_lines, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
