"""How heavy and how quick pages are, on localhost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import site_speed  # noqa: E402

pytestmark = pytest.mark.browser


def test_the_front_page_is_light_and_quick_and_stands_still(served: str, browser: Any) -> None:
    load = site_speed.measure(browser, f"{served}/index.html")
    assert load.weight < 1.5e6
    assert load.paint < 1
    assert load.shift < 0.05


def test_pages_with_pictures_and_formulas_stand_still(served: str, browser: Any) -> None:
    for name in ("notebooks/weight_gallery.html", "method/equations.html"):
        for width, height in ((1280, 900), (390, 844)):
            load = site_speed.visit(browser, f"{served}/{name}", width, height)
            assert load.shift < 0.05, (name, width)
