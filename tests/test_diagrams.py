"""The drawing of the method: sound SVG, and links that lead somewhere."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from comet_core import diagrams

BOOK = Path(__file__).resolve().parents[1] / "book"


def drawing() -> ElementTree.Element:
    return ElementTree.fromstring(diagrams.pipeline().split("</style>")[1])


def test_every_step_is_a_box_that_links_to_its_function() -> None:
    links = drawing().findall("a")
    assert [link.get("href") for link in links] == [box.link for box in diagrams.STEPS]
    for link, box in zip(links, diagrams.STEPS, strict=True):
        assert box.title in "".join(link.itertext())
        assert (link.get("aria-label") or "").startswith(box.title)


@pytest.mark.parametrize("box", diagrams.STEPS, ids=lambda box: box.function)
def test_links_lead_to_documented_functions(box: diagrams.Box) -> None:
    module, name = box.function.rsplit(".", 1)
    assert callable(getattr(importlib.import_module(f"comet_core.{module}"), name))
    page = re.fullmatch(r"\.\./reference/(\w+)\.html#comet_core\.[\w.]+", box.link)
    assert page is not None
    source = (BOOK / "reference" / f"{page[1]}.md").read_text(encoding="utf-8")
    assert f"automodule:: comet_core.{module}\n" in source
    built = BOOK / "_build" / "html" / "reference" / f"{page[1]}.html"
    if built.is_file():
        assert f'id="{box.link.partition("#")[2]}"' in built.read_text(encoding="utf-8")


def test_boxes_lie_within_the_drawing_and_do_not_overlap() -> None:
    _, _, width, height = map(float, (drawing().get("viewBox") or "").split())
    areas = [
        (float(r.get("x")), float(r.get("y")), float(r.get("width")), float(r.get("height")))  # type: ignore[arg-type]
        for r in drawing().iter("rect")
    ]
    for number, (x, y, w, h) in enumerate(areas):
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        for left, top, wide, high in areas[:number]:
            assert x >= left + wide or left >= x + w or y >= top + high or top >= y + h


def test_equations_of_the_drawing_are_those_of_the_functions() -> None:
    for box in diagrams.STEPS:
        if box.equation:
            module, name = box.function.rsplit(".", 1)
            told = getattr(importlib.import_module(f"comet_core.{module}"), name).__doc__
            assert f"Equation {box.equation}" in told
