"""A figure whose picture is HTML in the page itself, so that its links and scripts work."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class InlineFigure(SphinxDirective):
    """A raw HTML block and a caption, made a figure with a number."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"name": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        parsed = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, parsed)
        *body, words = parsed.children
        if not isinstance(words, nodes.paragraph):
            raise self.error("an inline figure ends in a paragraph, its caption")
        caption = nodes.caption(words.rawsource, "", *words.children)
        figure = nodes.figure("", *body, caption)
        self.set_source_info(figure)
        self.add_name(figure)
        return [figure]


HELD = re.compile(
    # A page inside the page, in srcdoc, is let alone: its policy allows pictures of its own only.
    r'srcdoc="[^"]*"|data:image/(webp|jpeg|png|svg\+xml);base64,([A-Za-z0-9+/=]{1500,})'
)


def put_pictures_in_files(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace large pictures that HTML holds in itself by files: the browser loads those lazily."""
    if app.builder.format != "html":
        return
    up = "../" * docname.count("/") if app.builder.name == "html" else ""

    def kept(found: re.Match[str]) -> str:
        if found[2] is None:
            return found[0]
        content = base64.b64decode(found[2])
        name = f"{hashlib.sha256(content).hexdigest()}.{found[1].removesuffix('+xml')}"
        path = Path(app.outdir) / "_images" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return f"{up}_images/{name}"

    for node in list(doctree.findall(nodes.raw)):
        text = node.astext()
        if HELD.search(text):
            node.replace_self(nodes.raw("", HELD.sub(kept, text), format=node["format"]))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-resolved", put_pictures_in_files)
    app.add_directive("inline-figure", InlineFigure)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
