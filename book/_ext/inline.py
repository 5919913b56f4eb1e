"""A figure whose picture is HTML in the page itself, so that its links and scripts work."""

from __future__ import annotations

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


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("inline-figure", InlineFigure)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
