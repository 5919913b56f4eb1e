"""Pictures that a reader turns, in a browser: they must compute what the package computes."""

from __future__ import annotations

import base64
import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from comet_core import interactive, interactive_images, teaching
from comet_core.confidence import confidence_weights, iqr_threshold
from comet_core.errors import InputError
from tests.browser.conftest import browser  # noqa: F401

SAMPLES = pd.DataFrame(
    {
        "score": [1.5, 9.0, 1.2, 1.8, 1.0, 3.4, 1.4, 2.0, 1.3, 1.7],
        "truth": ["nominal"] * 5 + ["boundary", "nominal", "nominal", "anomalous", "nominal"],
    }
)


def expected(kappa: float) -> list[str]:
    scores = torch.tensor(SAMPLES["score"].tolist(), dtype=torch.float64)
    weights = confidence_weights(scores, iqr_threshold(scores, kappa))
    lines = []
    for kind in ("nominal", "boundary", "anomalous"):
        chosen = weights[torch.tensor((SAMPLES["truth"] == kind).tolist())]
        below = int((chosen < 1).sum())
        lines.append(f"{kind}: mean weight {chosen.mean():.2f}, {below} of {len(chosen)} below 1")
    return lines


def open_in(browser: Any, tmp_path: Path, content: str) -> tuple[Any, list[str]]:  # noqa: F811
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset=utf-8>{content}", encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 800})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    return page, complaints


@pytest.mark.browser
def test_the_slider_weighs_as_the_package_does(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    page, complaints = open_in(browser, tmp_path, interactive.kappa_slider(SAMPLES, 1.5))
    for kappa in (1.5, 0.0, 4.1, 6.0):
        page.locator("input").fill(str(kappa))
        assert page.locator("output").inner_text().splitlines() == expected(kappa)
        assert page.locator("svg circle").count() == 8
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.fixture
def images(tmp_path: Path) -> pd.DataFrame:
    """The samples with an image each, the brighter the lower the score, in two categories."""
    ranks = SAMPLES["score"].rank().astype(int)
    paths = [tmp_path / f"{rank:03}.png" for rank in ranks]
    for rank, path in zip(ranks, paths, strict=True):
        Image.new("RGB", (40, 40), (250 - 20 * rank,) * 3).save(path)
    told = SAMPLES.assign(category="a", path=list(map(str, paths)), id=[p.name for p in paths])
    return pd.concat([told, told.assign(category="b", score=2 * told["score"])])


@pytest.mark.browser
def test_the_slider_moves_the_weights_under_the_photos(
    browser: Any,  # noqa: F811
    images: pd.DataFrame,
    tmp_path: Path,
) -> None:
    samples = images[images["category"] == "a"]
    content = interactive.kappa_slider(samples, 1.5, photos=2)
    page, complaints = open_in(browser, tmp_path, content)
    scores = torch.tensor(samples["score"].tolist(), dtype=torch.float64)
    for kappa in (1.5, 0.0):
        page.locator("input").fill(str(kappa))
        t = iqr_threshold(scores, kappa)
        for photo in page.locator("[data-score]").all():
            score = float(photo.get_attribute("data-score"))
            weight = confidence_weights(torch.tensor(score, dtype=torch.float64), t).item()
            assert photo.locator("b").inner_text() == f"{weight:.2f}"
    assert page.locator("[data-score]").count() == 4, "two nominal, one boundary, one anomalous"
    assert page.evaluate("[...document.images].every(i => i.naturalWidth)")
    assert complaints == []


@pytest.mark.browser
def test_a_point_shows_the_image_behind_it(
    browser: Any,  # noqa: F811
    images: pd.DataFrame,
    tmp_path: Path,
) -> None:
    page, complaints = open_in(browser, tmp_path, interactive_images.score_points(images, 1.5))
    said, plot = page.locator("output"), page.locator(".turn svg")
    assert "Point at a mark" in said.inner_text()
    plot.focus()
    page.keyboard.press("Home")
    assert "001.png" in said.inner_text() and "weight 1.00" in said.inner_text()
    page.keyboard.press("End")
    assert "010.png" in said.inner_text() and "nominal" in said.inner_text()
    page.keyboard.press("ArrowLeft")
    assert "009.png" in said.inner_text() and "boundary" in said.inner_text()
    scores = torch.tensor(SAMPLES["score"].tolist(), dtype=torch.float64)
    t = iqr_threshold(scores, 1.5).item()
    assert f"weight {t / 3.4:.2f}, score {3.4 / t:.2f} t" in said.inner_text()
    box = page.locator(".turn svg g circle").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "nominal" in said.inner_text()
    page.locator("select").select_option("1")
    assert "Point at a mark" in said.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert complaints == []


def test_the_image_of_a_point_is_its_own(images: pd.DataFrame) -> None:
    """Brightness falls with the score, so the sheet must darken from cell to cell."""
    one = interactive_images._category(
        images[images["category"] == "a"],
        ["nominal", "boundary", "anomalous"],
        1.5,
        6,
        np.random.default_rng(0),
    )
    cells = [point[3] for point in one["points"]]
    assert [cell for cell in cells if cell >= 0] == list(range(6)) and len(cells) == 10
    assert cells[-3:] == [3, 4, 5], "the least trusted are kept"
    sheet = Image.open(io.BytesIO(base64.b64decode(one["sheet"].partition(",")[2]))).convert("L")
    size, kept = interactive_images.CELL, [rank for rank, c in enumerate(cells) if c >= 0]
    found = [sheet.getpixel((size * c + size // 2, size // 2)) for c in range(6)]
    assert found == pytest.approx([250 - 20 * (rank + 1) for rank in kept], abs=4)


def test_points_without_an_order_are_refused(images: pd.DataFrame) -> None:
    for samples in (images.iloc[:0], images.assign(score=0.0)):
        with pytest.raises(InputError):
            interactive_images.score_points(samples, 1.5)


def test_a_file_name_cannot_end_the_script() -> None:
    text = interactive.widget("one", "", "DATA", {"name": "</script><b>"})
    assert "</script><b>" not in text


@pytest.mark.browser
def test_the_loops_are_stepped_through(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    tasks = teaching.bowl_tasks(3)
    course = teaching.outer_course(
        torch.tensor([-2.0, 1.0]), lambda _: tasks, alpha=0.2, beta=0.2, steps=2
    )
    content = interactive.loop_stepper(course, torch.tensor([1.0, -0.5]))
    page, complaints = open_in(browser, tmp_path, content)
    arrows = []
    for step in range(6):
        page.locator("input").fill(str(step))
        arrows.append(page.locator("svg g path[transform]").count())
    assert arrows == [0, 3, 4, 1, 4, 5]
    assert "forgotten" in page.locator("output").inner_text()
    assert page.locator("b").inner_text() == "2"
    x, y = (float(page.locator("circle").get_attribute(name)) for name in ("cx", "cy"))
    assert x / 50 - 4 == pytest.approx(course[1].theta[0].item(), abs=0.01)
    assert 3 - y / 50 == pytest.approx(course[1].theta[1].item(), abs=0.01)
    assert complaints == []
    with pytest.raises(InputError):
        interactive.loop_stepper(course[:1], torch.zeros(2))


def test_it_loads_nothing_and_is_hidden_without_scripts() -> None:
    text = interactive.kappa_slider(SAMPLES, name="one")
    assert '<div class="turn" id="one" hidden>' in text
    assert not re.search(r"https?://|\bsrc=|fetch\(|import ", text)
    assert "\n\n" not in text


@pytest.mark.parametrize(
    ("samples", "kappa"), [(SAMPLES, 7.0), (SAMPLES.assign(score=0.0), 1.5)], ids=["kappa", "zero"]
)
def test_what_the_slider_cannot_show_is_refused(samples: pd.DataFrame, kappa: float) -> None:
    with pytest.raises(InputError):
        interactive.kappa_slider(samples, kappa)


def test_an_inline_figure_has_a_number_and_a_caption(tmp_path: Path) -> None:
    """Through Sphinx, as the book does it."""
    root = Path(__file__).resolve().parents[1]
    sys.path.insert(0, str(root / "book" / "_ext"))
    from sphinx.application import Sphinx

    shown: list[dict[str, str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interactive, "display", lambda bundle, **_: shown.append(bundle))
        interactive.show_inline("<p id='here'>x</p>", "What to *see*.", "fig-here")
    source = tmp_path / "source"
    source.mkdir()
    text = f"# Title\n\n{shown[0]['text/markdown']}\n\nLook at {{numref}}`fig-here`.\n"
    (source / "index.md").write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    options = {
        "extensions": ["myst_parser", "inline"],
        "myst_enable_extensions": ["colon_fence"],
        "numfig": True,
    }
    app = Sphinx(
        source, None, out, tmp_path / "trees", "html", options, status=None, warningiserror=True
    )
    app.build()
    assert app.statuscode == 0
    page = (out / "index.html").read_text(encoding="utf-8")
    assert re.search(r"<figure[^>]*id=\"fig-here\"", page)
    assert "<p id='here'>x</p>" in page and "<em>see</em>" in page
    assert page.count("Fig. 1") == 2
