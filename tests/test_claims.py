"""The ledger: every rule can decide for a claim, against it, or not at all; none knows a result."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet_core import claims, figures_effects, ledger, tables
from comet_core.claims import FAILS, HOLDS, NOT_RUN, UNDECIDED
from comet_core.errors import InputError
from comet_core.statistics import Interval

NOISE = (-0.002, 0.0, 0.002)
"""Of three seeds; half the width of its 95 % interval is 0.0054."""


def row(seed: int, **settings: Any) -> dict[str, Any]:
    base = {"category": "a", "detector": "simplenet", "contamination": 0.1, "synthetic": True}
    made = {**base, **settings, "seed": seed}
    return {**made, "hash": "-".join(str(made[k]) for k in sorted(made) if "_" not in k)}


def comparison(
    gain: float = 0.05, noise: tuple[float, ...] = NOISE, **other: float
) -> pd.DataFrame:
    """Rows of all six pairs in which CoMet gains so much of each result."""
    found = []
    for dataset, detector in itertools.product(claims.DATASETS, claims.DETECTORS):
        for seed, wobble in enumerate(noise):
            for strategy in ("plain", "comet"):
                better = strategy == "comet"
                change = {
                    name: 0.7 + (other.get(name, gain) + wobble) * better
                    for name in ("image_auroc", "recall_iqr", "precision_iqr")
                }
                weights = {
                    "mean_weight_nominal": 0.99,
                    "mean_weight_anomalous": 0.99 - other.get("anomalous", gain) + wobble,
                    "mean_weight_boundary": 0.99 - other.get("boundary", gain) + wobble,
                }
                place = {"dataset": dataset, "detector": detector, "strategy": strategy}
                found.append(row(seed, **place, **change, **weights))
    return pd.DataFrame(found)


def curves(
    comet_falls: float = 0.0,
    plain_falls: float = 0.1,
    soft: float = 0.05,
    meta: float = 0.05,
    noise: tuple[float, ...] = NOISE,
) -> pd.DataFrame:
    """Rows of both curves: falls from 0 to 10 %, and what soft and meta lack of CoMet there."""
    found = []
    for dataset, detector in itertools.product(claims.CURVES, claims.DETECTORS):
        for (seed, wobble), level in itertools.product(enumerate(noise), (0.0, 0.04, 0.1)):
            dirty = level == 0.1
            comet = 0.9 - comet_falls * dirty + wobble * dirty
            levels = {
                "plain": 0.9 - plain_falls * dirty - wobble * dirty,
                "comet": comet,
                "soft": comet - (soft + wobble) * dirty,
                "meta": comet - (meta + wobble) * dirty,
            }
            for strategy, value in levels.items():
                place = {"dataset": dataset, "detector": detector, "contamination": level}
                found.append(row(seed, **place, strategy=strategy, image_auroc=value))
    return pd.DataFrame(found)


def printed(f1: float = 0.897, precision: tuple[float, float] = (0.9, 0.88)) -> pd.DataFrame:
    """One data set; the F1 of 0.900 and 0.900 is 0.900, that of 0.880 and 0.915 is 0.897."""
    lines = []
    for detector, strategy in itertools.product(claims.DETECTORS, ("plain", "comet")):
        ours = strategy == "comet"
        values = (precision[ours], 0.915 if ours else 0.9, f1 if ours else 0.9)
        for metric, value in zip(("precision", "recall", "f1"), values, strict=True):
            lines.append(("mvtec_ad", detector, strategy, metric, value))
    return pd.DataFrame(lines, columns=["dataset", "detector", "strategy", "metric", "value"])


NONE = pd.DataFrame()


def verdict(
    claim: str,
    of_comparison: pd.DataFrame = NONE,
    of_curves: pd.DataFrame = NONE,
    paper: pd.DataFrame | None = None,
) -> str:
    paper = printed() if paper is None else paper
    found = ledger.verdicts(claims.judge(of_comparison, of_curves, paper)).set_index("claim")
    return str(found.loc[claim, "verdict"])


LOUD = (-0.1, 0.0, 0.1)
"""Seeds so far apart that nothing can be told."""

CASES: list[tuple[str, dict[str, Any], str]] = [
    ("C1", {"of_comparison": comparison(0.05)}, HOLDS),
    ("C1", {"of_comparison": comparison(-0.05)}, FAILS),
    ("C1", {"of_comparison": comparison(0.05, LOUD)}, UNDECIDED),
    ("C1", {"of_comparison": comparison(0.05, (0.0,))}, UNDECIDED),
    ("C1", {"of_comparison": comparison(0.05, (0.0, 0.0, 0.0))}, UNDECIDED),
    ("C1", {"of_comparison": comparison(0.0, (0.0, 0.0, 0.0))}, UNDECIDED),
    ("C2", {"of_comparison": comparison(0.05, precision_iqr=-0.01)}, HOLDS),
    ("C2", {"of_comparison": comparison(0.05, precision_iqr=0.1)}, HOLDS),
    ("C2", {"of_comparison": comparison(0.05, precision_iqr=-0.2)}, FAILS),
    ("C2", {"of_comparison": comparison(-0.05, precision_iqr=0.1)}, FAILS),
    ("C2", {"of_comparison": comparison(0.05, precision_iqr=-0.02)}, UNDECIDED),
    ("C3", {"of_curves": curves(0.0, 0.1)}, HOLDS),
    ("C3", {"of_curves": curves(0.05, 0.1)}, FAILS),
    ("C3", {"of_curves": curves(0.0, -0.1)}, FAILS),
    ("C3", {"of_curves": curves(0.0, 0.1, noise=LOUD)}, UNDECIDED),
    ("C4", {"of_comparison": comparison(0.3)}, HOLDS),
    ("C4", {"of_comparison": comparison(0.3, boundary=-0.1)}, FAILS),
    ("C4", {"of_comparison": comparison(0.3, anomalous=0.001)}, UNDECIDED),
    ("C5", {"of_comparison": comparison(0.05)}, HOLDS),
    ("C5", {"of_comparison": comparison(-0.05)}, FAILS),
    ("C5", {"of_comparison": comparison(0.0)}, UNDECIDED),
    ("C6", {"of_curves": curves()}, HOLDS),
    ("C6", {"of_curves": curves(soft=-0.05)}, FAILS),
    ("C6", {"of_curves": curves(meta=0.001)}, UNDECIDED),
    ("C7", {}, HOLDS),
    ("C7", {"paper": printed(f1=0.929)}, FAILS),
    ("C7", {"paper": printed().query("metric == 'image_auroc'")}, NOT_RUN),
]


@pytest.mark.parametrize(("claim", "rows", "expected"), CASES)
def test_rows_decide(claim: str, rows: dict[str, Any], expected: str) -> None:
    if "paper" in rows and rows["paper"].empty:
        parts = pd.DataFrame(list(claims.adds_up(rows["paper"])), columns=claims.Part._fields)
        found = ledger.verdicts(parts).set_index("claim")
        assert found.loc[claim, "verdict"] == expected
        return
    assert verdict(claim, **rows) == expected


@pytest.mark.parametrize("claim", ["C1", "C2", "C3", "C4", "C5", "C6"])
def test_without_rows_nothing_is_claimed(claim: str) -> None:
    assert verdict(claim) == NOT_RUN


def test_one_pair_that_fails_refutes_and_one_that_is_missing_leaves_open() -> None:
    rows = comparison(0.05)
    missing = rows[~((rows["dataset"] == "viaduct") & (rows["detector"] == "differnet"))]
    assert verdict("C1", missing) == UNDECIDED
    worse = rows.copy()
    one = (rows["dataset"] == "ksdd2") & (rows["strategy"] == "comet")
    worse.loc[one & (rows["detector"] == "simplenet"), "image_auroc"] -= 0.1
    assert verdict("C1", worse) == FAILS
    parts = claims.judge(worse, NONE, printed())
    failed = parts[(parts["claim"] == "C1") & (parts["verdict"] == FAILS)]
    assert failed["where"].tolist() == ["KSDD2, SimpleNet"]
    assert failed["mean"].item() == pytest.approx(-0.05)


def test_the_number_of_a_claim_is_the_mean_over_its_pairs() -> None:
    rows = comparison(0.05)
    lift = (rows["dataset"] == "ksdd2") & (rows["strategy"] == "comet")
    rows.loc[lift, "image_auroc"] += 0.06
    found = ledger.verdicts(claims.judge(rows, NONE, printed())).set_index("claim").loc["C1"]
    gained = found["effects"]["I-AUROC gained"]
    assert gained.mean == pytest.approx(0.05 + 0.06 / 3)
    assert (gained.low, gained.high) == pytest.approx((0.0646, 0.0754), abs=1e-4)
    assert gained.n == 3 and len(found["runs"]) == len(rows)
    assert found["data"] == (
        "MVTec AD (synthetic)",
        "VIADUCT (synthetic)",
        "KSDD2 (synthetic)",
    )


def test_the_interval_is_that_of_the_tables_beside_it() -> None:
    rows = comparison(0.05, (-0.02, 0.0, 0.04))
    part = claims.judge(rows, NONE, printed()).iloc[0]
    table = tables.differences(rows, ["image_auroc"]).set_index(["dataset", "detector"])
    beside = table.loc[("mvtec_ad", "simplenet"), ["mean", "low", "high", "n"]]
    assert tuple(part[["mean", "low", "high", "n"]]) == pytest.approx(tuple(beside))


def test_a_data_set_counts_once_however_many_categories_it_has() -> None:
    rows = comparison(-0.06)
    many = [comparison(0.03).assign(category=f"c{i}") for i in range(12)]
    mvtec = [one[one["dataset"] == "mvtec_ad"] for one in many]
    rows = pd.concat([rows[rows["dataset"] != "mvtec_ad"], *mvtec])
    rows["hash"] = [str(n) for n in range(len(rows))]
    parts = claims.judge(rows, NONE, printed())
    gained = parts[parts["claim"] == "C5"]
    assert gained["mean"].tolist() == pytest.approx([(0.03 - 2 * 0.06) / 3 + np.mean(NOISE)] * 2)
    assert set(gained["verdict"]) == {FAILS}


def test_a_seed_that_lacks_a_category_is_left_out() -> None:
    rows = pd.concat([comparison(0.05), comparison(0.15).assign(category="b")])
    rows["hash"] = [str(n) for n in range(len(rows))]
    whole = rows[(rows["category"] == "a") | (rows["seed"] < 2)]
    part = claims.judge(whole, NONE, printed()).iloc[0]
    assert part["n"] == 2 and part["mean"] == pytest.approx(0.1 + (NOISE[0] + NOISE[1]) / 2)


def test_boundary_images_that_nobody_marked_leave_the_claim_open() -> None:
    rows = comparison(0.3).assign(mean_weight_boundary=np.nan)
    assert verdict("C4", rows) == UNDECIDED


def test_slightly_is_what_the_paper_itself_prints() -> None:
    assert claims.slight_loss(printed(precision=(0.9, 0.88))) == pytest.approx(0.02)


def test_f1_is_held_against_all_that_rounds_to_what_is_printed() -> None:
    """P and R of 0.8804 and 0.9154 print as 0.880 and 0.915 too, and their F1 prints as 0.898."""
    assert verdict("C7", paper=printed(f1=0.898)) == HOLDS
    assert verdict("C7", paper=printed(f1=0.899)) == FAILS
    parts = [part for part in claims.adds_up(printed(f1=0.899)) if part.verdict == FAILS]
    assert [part.where for part in parts] == [
        "MVTec AD, SimpleNet, CoMet",
        "MVTec AD, DifferNet, CoMet",
    ]
    assert parts[0].mean == pytest.approx(0.899 - 2 * 0.88 * 0.915 / 1.795)


def test_the_paper_as_it_is_printed() -> None:
    parts = list(claims.adds_up(tables.reported()))
    assert len(parts) == 12 and all(abs(part.mean) < 0.002 for part in parts)
    assert claims.slight_loss(tables.reported()) == pytest.approx(0.909 - 0.874)


def test_runs_that_differ_in_more_are_refused() -> None:
    rows = comparison()
    with pytest.raises(InputError, match="several runs share"):
        claims.judge(pd.concat([rows, rows]), NONE, printed())


@given(
    st.floats(-1, 1),
    st.floats(0, 1),
    st.floats(-0.5, 0.5),
)
def test_an_interval_decides_one_way_and_its_mirror_the_other(
    mean: float, half: float, bound: float
) -> None:
    found = claims.decide(Interval(mean, mean - half, mean + half, 3), bound)
    mirrored = claims.decide(Interval(-mean, -mean - half, -mean + half, 3), -bound)
    if found == HOLDS:
        assert mirrored == FAILS
    if found == UNDECIDED and half > 1e-6:
        assert mean - half <= bound <= mean + half
        assert mirrored == UNDECIDED


@given(st.lists(st.sampled_from(claims.VERDICTS), max_size=6))
def test_a_claim_holds_only_if_all_of_it_does(verdicts: list[str]) -> None:
    found = ledger.combine(verdicts)
    assert (found == FAILS) == (FAILS in verdicts)
    assert (found == HOLDS) == (bool(verdicts) and set(verdicts) == {HOLDS})
    assert (found == NOT_RUN) == (set(verdicts) <= {NOT_RUN})


# -- the ledger as it is read


def test_the_ledger_in_words_and_figures() -> None:
    rows, falling = comparison(0.05), curves(0.05, 0.1)
    parts = claims.judge(rows, falling, printed())
    table = ledger.shown(ledger.verdicts(parts)).set_index("claim")
    first = table.loc[f"C1: {claims.CLAIMS['C1']}"]
    assert first["verdict"] == HOLDS and first["parts"] == "6 hold"
    assert first["effect, points"] == "I-AUROC gained: +5.0 [+4.5, +5.5]"
    assert first["runs"] == len(rows)
    words = ledger.in_words(parts)
    assert "C3, MVTec AD, SimpleNet (CoMet's I-AUROC changed, −5.0" in words
    assert "C1," not in words
    opened = ledger.hashes(parts)
    assert opened.count(":::{dropdown}") == len(claims.CLAIMS)
    assert all(f"`{name}`" in opened for name in rows["hash"])
    assert ledger.arithmetic(parts)["verdict"].tolist() == [HOLDS] * 4


def test_the_ledger_tells_every_measure_of_a_claim_and_what_is_no_mean_over_seeds() -> None:
    rows = comparison(0.05, precision_iqr=-0.01, boundary=0.3)
    told = ledger.shown(ledger.verdicts(claims.judge(rows, curves(meta=0.02), printed(f1=0.929))))
    effect = dict(zip(claims.CLAIMS, told["effect, points"], strict=True))
    assert (
        effect["C2"].startswith("recall gained: +5.0 [")
        and "; precision changed: −1.0" in (effect["C2"])
    )
    assert "nominal above anomalous: +5.0" in effect["C4"]
    assert "nominal above boundary: +30.0" in effect["C4"]
    assert effect["C3"].count("I-AUROC") == 2
    assert "soft confidence adds: +2.0" in effect["C6"]
    assert "meta-learning adds: +5.0" in effect["C6"]
    assert effect["C7"].startswith("F1 printed − computed, the line furthest off: +3.2 (rounding")
    nothing = ledger.shown(ledger.verdicts(claims.judge(NONE, NONE, printed())))
    assert "I-AUROC gained: not run" in nothing["effect, points"].tolist()
    against = ledger.in_words(claims.judge(NONE, NONE, printed(f1=0.929)))
    assert "C7, MVTec AD, SimpleNet, CoMet (F1 printed − computed, +3.2 (rounding" in against


def test_the_figure_of_the_parts_marks_what_decides() -> None:
    parts = claims.judge(comparison(0.05, precision_iqr=-0.2), NONE, printed())
    shown = parts[parts["claim"].isin(["C1", "C2", "C3"])]
    figure = figures_effects.effects(ledger.drawn(shown), "note", "points", shared=False)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles[:3] == ["C1: I-AUROC gained", "C2: recall gained", "C2: precision changed"]
    marks = [
        [line.get_marker() for line in axes.lines if line.get_marker() != "None"]
        for axes in figure.axes
    ]
    assert marks[:3] == [["o"] * 6, ["o"] * 6, ["X"] * 6]
    line = figure.axes[2].lines[0].get_xdata()
    assert np.allclose(line, -100 * claims.slight_loss(printed()))
    assert [text.get_text() for text in figure.axes[3].texts] == ["not run"] * 4
    with pytest.raises(InputError, match="no effects to draw"):
        figures_effects.effects(ledger.drawn(parts[:0]), "note", "points")
