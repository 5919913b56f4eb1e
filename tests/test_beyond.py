"""Beyond the paper: shares of the gap, harm and cost, from rows made up here."""

import itertools
import runpy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from comet_core import beyond, figures_beyond


def runs(gain: float, harm: float = 0.0) -> pd.DataFrame:
    """Rows of plain, oracle, the paper's weights and comet+; the latter gains `gain` of a gap of
    20 points at 10 %, and costs `harm` where the data are clean."""
    lines = []
    for seed, level in itertools.product(range(3), (0.0, 0.1)):
        plain = 0.95 + 0.001 * seed - 2 * level
        methods = {
            ("plain", None, False): plain,
            ("plain", None, True): plain + 2 * level,
            ("soft", "paper", False): plain + 0.2 * level,
            ("comet+", "contrast", False): plain + 2 * level * gain - harm * (level == 0),
        }
        for (strategy, weighting, oracle), auroc in methods.items():
            if oracle and level == 0:
                continue
            lines.append(
                {
                    "hash": f"{strategy}{oracle}{seed}{level}",
                    "dataset": "mvtec_ad",
                    "category": "bottle_cap",
                    "detector": "simplenet",
                    "strategy": strategy,
                    "weighting": weighting,
                    "oracle": oracle,
                    "contamination": level,
                    "seed": seed,
                    "image_auroc": auroc,
                    "train_seconds": 2.0 if strategy == "plain" else 3.0,
                    "prior_seconds": 1.0 if strategy == "comet+" else 0.0,
                    "synthetic": True,
                }
            )
    return pd.DataFrame(lines)


def test_the_share_of_the_gap_is_that_between_plain_and_oracle() -> None:
    gaps = beyond.gaps(beyond.prepared(runs(gain=0.75))).set_index("method")
    assert gaps.loc["comet+", "closed"] == pytest.approx(0.75)
    assert gaps.loc["paper", "closed"] == pytest.approx(0.1)


@pytest.mark.parametrize(("gain", "words"), [(0.9, "as aimed for"), (0.5, "short of the 80 %")])
def test_the_verdict_follows_the_rows(gain: float, words: str) -> None:
    assert words in beyond.findings(beyond.prepared(runs(gain)))


@pytest.mark.parametrize(("harm", "words"), [(0.001, "within"), (0.02, "beyond")])
def test_harm_to_clean_data_is_told(harm: float, words: str) -> None:
    rows = beyond.prepared(runs(gain=1.0, harm=harm))
    assert f"{words} the 0.3 points" in beyond.findings(rows)
    assert ("CoMet+" in beyond.failures(rows)) == (harm > beyond.HARMLESS)
    assert "clean" not in beyond.failures(rows[rows["contamination"] > 0]).lower()


def test_cost_counts_the_scores_from_before_training() -> None:
    costs = beyond.costs(beyond.prepared(runs(gain=1.0))).set_index("method")["cost"]
    assert costs["comet+"] == 2.0
    assert costs["paper"] == 1.5


def test_the_grid_holds_each_method_once_and_the_oracle_only_where_there_is_dirt() -> None:
    grids = beyond.grids("smoke", data_root="somewhere", categories=["one"])
    assert [grid["strategy"] for grid in grids] == ["plain", "plain", "soft", "comet+"]
    assert all(level > 0 for level in grids[1]["contamination"])
    assert not {"contrast", "annealed"} & set(grids[2]["weighting"])
    named = beyond.grids(
        "smoke", data_root="somewhere", categories=["one"], weightings=["annealed"]
    )
    assert named[2]["weighting"] == ["annealed"]


def test_the_figure_has_a_panel_for_each_level_and_a_mark_for_each_method() -> None:
    figure = figures_beyond.weightings(beyond.prepared(runs(gain=1.0)), "synthetic rows")
    assert len(figure.axes) == 2
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert len(names) == len(set(names)) >= 2


def test_the_benchmark_leaves_out_levels_that_would_empty_the_test_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "beyond.py"
    benchmark = runpy.run_path(str(path), run_name="benchmark")
    record = {label: SimpleNamespace(label=label) for label in (0, 1)}
    data = SimpleNamespace(train=[record[0]] * 200, test=[record[0]] * 20 + [record[1]] * 63)
    monkeypatch.setitem(benchmark["feasible"].__globals__, "load", lambda *_: data)
    # 63 less 53 are 10, less 54 are 9.
    levels = benchmark["feasible"]("mvtec_ad", "", "bottle", [0.0, 0.1, 0.265, 0.27, 0.4])
    assert levels == [0.0, 0.1, 0.265]


def test_the_benchmark_leaves_out_categories_without_a_feasible_level(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "beyond.py"
    benchmark = runpy.run_path(str(path), run_name="benchmark")
    inside = benchmark["grids"].__globals__
    place = {"dataset": "mvtec_ad", "data_root": "somewhere", "category": ["few", "many"]}
    monkeypatch.setitem(inside, "places", lambda *_: [place])
    monkeypatch.setitem(inside, "feasible", lambda *named: [0.4] if named[2] == "many" else [])
    chosen = SimpleNamespace(
        dataset=[], data_root="", category=[], profile="smoke", detector=["simplenet"],
        weighting=["comet+"], level=[0.4], seeds=1,
    )  # fmt: skip
    grids = benchmark["grids"](chosen)
    assert {tuple(grid["category"]) for grid in grids} == {("many",)}
    assert {level for grid in grids for level in grid["contamination"]} == {0.4}
