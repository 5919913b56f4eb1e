"""Figures: they show what the data say, in one style, and leave the caller's settings alone."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from comet_core import figures
from comet_core.errors import InputError

TRUTH = ["nominal"] * 12 + ["boundary"] * 3 + ["anomalous"] * 4


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Two categories of made-up scores; each image is filled with its number as a grey."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    parts = []
    for category in ("first", "second"):
        scores = np.concatenate(
            [rng.uniform(1, 2, 12), rng.uniform(2, 5, 3), rng.uniform(8, 30, 4)]
        )
        paths = [folder / f"{category}{i:02}.png" for i in range(len(TRUTH))]
        for i, path in enumerate(paths):
            Image.new("RGB", (20, 20), (10 * i,) * 3).save(path)
        table = {"path": map(str, paths), "truth": TRUTH, "score": scores}
        weight = np.minimum(1, 4 / scores)
        parts.append(pd.DataFrame({"category": category, **table, "weight": weight}))
    return pd.concat(parts, ignore_index=True)


def drawings(samples: pd.DataFrame) -> dict[str, Figure]:
    history = pd.concat([samples.assign(epoch=epoch) for epoch in (1, 2, 3)])
    return {
        "gallery": figures.weight_gallery(samples, "a note"),
        "strips": figures.weight_strips(samples, "a note"),
        "scores": figures.score_distribution(samples, "a note"),
        "dirt": figures.dirt_found(samples, "a note"),
        "history": figures.weight_history(history, "a note"),
    }


def test_every_figure_carries_its_note_and_nothing_leaves_the_page(samples: pd.DataFrame) -> None:
    for name, figure in drawings(samples).items():
        assert figure.get_supxlabel() == "a note", name
        assert figure.get_figwidth() == figures.WIDTH
        figure.canvas.draw()
        box = figure.get_tightbbox()
        assert box.x0 > -0.05 and box.x1 < figures.WIDTH + 0.05, name
        assert box.y0 > -0.05 and box.y1 < figure.get_figheight() + 0.05, name


def test_the_callers_style_neither_matters_nor_changes(samples: pd.DataFrame) -> None:
    def picture() -> bytes:
        file = io.BytesIO()
        with figures.house_style():
            figures.dirt_found(samples, "a note").savefig(file, format="raw", dpi=50)
        return file.getvalue()

    usual = picture()
    with mpl.rc_context({"font.size": 30, "axes.grid": True}):
        assert picture() == usual
        assert mpl.rcParams["font.size"] == 30


def test_the_gallery_shows_the_extremes_of_each_kind(samples: pd.DataFrame) -> None:
    figure = figures.weight_gallery(samples, "")
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 12
    colours = [to_hex(axes.spines["left"].get_edgecolor()).upper() for axes in shown[:6]]
    kinds = ("nominal", "boundary", "anomalous")
    assert colours == [figures.KINDS[kind] for kind in kinds for _ in (0, 1)]
    anomalous = samples[(samples["category"] == "first") & (samples["truth"] == "anomalous")]
    told = [float(axes.get_xlabel()) for axes in shown[4:6]]
    assert told == [round(anomalous["weight"].max(), 2), round(anomalous["weight"].min(), 2)]


def test_strips_are_in_the_order_of_trust(samples: pd.DataFrame) -> None:
    figure = figures.weight_strips(samples[samples["category"] == "first"], "", images=5)
    greys = [axes.images[0].get_array()[0, 0, 0] // 10 for axes in figure.axes if axes.images]
    order = samples["score"][: len(TRUTH)].sort_values(ascending=False).index.to_list()
    assert greys == [order[rank] for rank in np.linspace(0, 18, 5).round().astype(int)]


def test_the_threshold_is_drawn_at_one_and_scores_in_its_units(samples: pd.DataFrame) -> None:
    first = samples[samples["category"] == "first"]
    axes = figures.score_distribution(first, "", kappa=1.5).axes[0]
    q1, q3 = np.quantile(first["score"], [0.25, 0.75])
    t = q3 + 1.5 * (q3 - q1)
    drawn = np.concatenate([points.get_offsets()[:, 0] for points in axes.collections])
    np.testing.assert_allclose(np.sort(drawn), np.sort(first["score"] / t), rtol=1e-6)
    assert {text.get_text().strip() for text in axes.texts} == {"$Q_1$ to $Q_3$", "$t$"}


def test_a_perfect_order_is_drawn_on_the_perfect_line(samples: pd.DataFrame) -> None:
    line = figures.dirt_found(samples, "").axes[0].lines[0]
    k, found = line.get_xdata(), line.get_ydata()
    np.testing.assert_allclose(found, np.minimum(1, 1 / np.asarray(k)))


def test_no_dirt_no_curve(samples: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="nothing to find"):
        figures.dirt_found(samples[samples["truth"] == "nominal"], "")


def test_unlabelled_images_can_be_shown(samples: pd.DataFrame) -> None:
    unknown = samples.assign(truth="unknown")
    assert sum(bool(axes.images) for axes in figures.weight_gallery(unknown, "").axes) == 12


def test_evenly_takes_both_ends_and_no_more_than_there_are(samples: pd.DataFrame) -> None:
    chosen = figures.evenly(samples, 3)["score"]
    assert [chosen.iloc[0], chosen.iloc[-1]] == [samples["score"].min(), samples["score"].max()]
    assert len(figures.evenly(samples, 1000)) == len(samples)


def test_an_image_that_has_gone_is_named(samples: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png"):
        figures.weight_gallery(samples.assign(path=str(tmp_path / "gone.png")), "")
