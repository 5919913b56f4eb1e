"""det Sigma of finished runs: factors and sentences by hand, and a figure that shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from comet_core import figures_evidence, model_uncertainty
from comet_core.errors import InputError
from comet_core.results import Store
from tests import fake_evidence

FACTOR = {"meta": 16.0, "comet": 2.0}
"""What 10 % of anomalies multiply det Sigma by, but for the seed, in the last third."""


def stored(folder: Path, levels: tuple[float, ...] = (0.0, 0.1)) -> tuple[pd.DataFrame, Store]:
    """Runs of six epochs; det Sigma is 0 in the first and 1e-6 or more in the last two."""
    rows = fake_evidence.rows(levels=levels).assign(lambda_0=0.005, gamma=0.5)
    store = Store(folder)
    for row in rows.to_dict("records"):
        if row["strategy"] not in FACTOR:
            continue
        det = np.array([0, 1e-4, 1e-5, 1e-5, 1e-6, 4e-6])
        if row["contamination"] > 0:
            det[4:] *= FACTOR[row["strategy"]] * 2.0 ** (row["seed"] - 1)
        history = pd.DataFrame({"epoch": range(1, 7), "det_sigma": det})
        history["lambda_sigma"] = 0.005 * (1 + 0.5 * det)
        store.write(row["hash"], {}, {}, {"history": history})
    return rows, store


def test_factors_are_of_runs_of_one_seed_and_of_the_end(tmp_path: Path) -> None:
    runs, store = stored(tmp_path)
    table = model_uncertainty.courses(runs, store)
    assert set(table["strategy"]) == {"meta", "comet"}
    assert len(table) == 6 * 2 * 2 * 2 * 2 * 3  # epochs, sets, detectors, strategies, levels, seeds
    found = model_uncertainty.growth(table)
    assert len(found) == 8
    for row in found.to_dict("records"):
        assert row["ratio"] == pytest.approx(FACTOR[row["strategy"]])
        # Three seeds a factor of two apart: Student's t for two degrees of freedom.
        spread = 2 ** (4.302653 / 3**0.5)
        assert row["high"] == pytest.approx(row["ratio"] * spread, rel=1e-5)
        assert row["low"] == pytest.approx(row["ratio"] / spread, rel=1e-5)
        assert row["n"] == 3


def test_the_lines_say_by_how_much_lambda_follows(tmp_path: Path) -> None:
    lines = model_uncertainty.findings(model_uncertainty.courses(*stored(tmp_path))).splitlines()
    assert len(lines) == 5
    assert lines[0] == (
        "- **MVTec AD stand-in, SimpleNet**: 10 % of injected anomalies multiply det Σ by"
        " 16 [2.9, 90] for meta and by 2 [0.36, 11] for CoMet."
    )
    # The largest det is 4e-6 * 32 = 1.28e-4, in the last epoch of meta.
    assert lines[-1] == (
        "- λ follows by 0.0064 % at most, in all epochs of 48 runs: the largest det Σ is 0.00013,"
        " and λ would double there with γ = 7,812, not 0.5."
    )


def test_one_level_and_no_level_have_nothing_to_compare(tmp_path: Path) -> None:
    runs, store = stored(tmp_path, levels=(0.1,))
    table = model_uncertainty.courses(runs, store)
    assert model_uncertainty.growth(table).empty
    assert len(model_uncertainty.findings(table).splitlines()) == 1
    none = model_uncertainty.courses(runs[runs["strategy"] == "plain"], store)
    assert none.empty and "No run measures" in model_uncertainty.findings(none)
    with pytest.raises(InputError, match="no run measures"):
        figures_evidence.uncertainty_courses(none, "")


def test_the_figure_draws_geometric_means(tmp_path: Path) -> None:
    table = model_uncertainty.courses(*stored(tmp_path))
    figure = figures_evidence.uncertainty_courses(table, "made up")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0] == "SimpleNet, MVTec AD stand-in" and len(titles) == 4
    lines = figure.axes[0].lines
    assert len(lines) == 4
    colour = figures_evidence.look("meta")["color"]
    clean, dirty = (line for line in lines if line.get_color() == colour)
    assert clean.get_xdata()[0] == 2, "before two pairs there is nothing to draw"
    assert dirty.get_ydata()[-1] / clean.get_ydata()[-1] == pytest.approx(16)
