"""Intervals against closed forms, textbook tests and their own promise of coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from comet_core.errors import InputError
from comet_core.statistics import mean_interval, paired_difference, summarise


def grid(values, **constant):
    """Rows of a (categories, seeds) array."""
    values = np.asarray(values, dtype=float)
    rows = [
        {"category": f"c{c}", "seed": s, "image_auroc": values[c, s], **constant}
        for c in range(values.shape[0])
        for s in range(values.shape[1])
    ]
    return pd.DataFrame(rows)


def two_methods(differences, base=0.8):
    differences = np.asarray(differences, dtype=float)
    return pd.concat(
        [
            grid(base + differences, strategy="comet"),
            grid(np.full(differences.shape, base), strategy="plain"),
        ]
    )


def compare(rows, **options):
    return paired_difference(rows, "image_auroc", "strategy", "comet", "plain", **options)


def test_closed_form():
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2
    assert interval.high == pytest.approx(2 + 4.302652729911275 / np.sqrt(3))
    assert interval.low == pytest.approx(4 - interval.high)
    assert interval.n == 3


@settings(deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=8), st.floats(-5, 5))
def test_shift_and_scale(values, shift):
    one, other = mean_interval(values), mean_interval(np.array(values) * 3 + shift)
    for a, b in zip(one[:3], other[:3], strict=True):
        assert b == pytest.approx(a * 3 + shift, abs=1e-6)
    assert one.low <= one.mean <= one.high


def test_too_few_values_have_no_interval():
    assert mean_interval([0.7])[0] == 0.7
    assert np.isnan(mean_interval([0.7])[1:3]).all()
    assert mean_interval([np.nan]).n == 0
    assert mean_interval([0.5, np.nan, 0.7]) == mean_interval([0.5, 0.7])


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = [
        interval.low <= 5 <= interval.high
        for interval in (mean_interval(rng.normal(5, 2, size=3)) for _ in range(2000))
    ]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)  # three standard errors


def test_summary_keeps_the_spread_between_categories_out():
    rows = grid([[0.90, 0.92, 0.94], [0.50, 0.52, 0.54]])
    summary = summarise(rows, "image_auroc").iloc[0]
    expected = mean_interval([0.70, 0.72, 0.74])
    assert summary["mean"] == pytest.approx(expected.mean)
    assert summary["low"] == pytest.approx(expected.low)
    assert (summary["n"], summary["categories"]) == (3, 2)


def test_summary_sees_what_a_seed_does_to_all_categories():
    """Pooling the runs as if independent would claim an interval far too narrow."""
    rng = np.random.default_rng(1)
    hits, pooled = [], []
    for _ in range(400):
        values = 0.8 + rng.normal(0, 0.02, (1, 4)) + rng.normal(0, 0.005, (10, 4))
        summary = summarise(grid(values), "image_auroc").iloc[0]
        hits.append(summary["low"] <= 0.8 <= summary["high"])
        low, high = mean_interval(values)[1:3]
        pooled.append(low <= 0.8 <= high)
    assert np.mean(hits) == pytest.approx(0.95, abs=0.035)
    assert np.mean(pooled) < 0.7


def test_groups_are_summarised_apart_and_sorted():
    rows = pd.concat([grid([[0.6, 0.8]], strategy="plain"), grid([[0.9, 0.9]], strategy="comet")])
    summary = summarise(rows, "image_auroc", ["strategy"])
    assert list(summary["strategy"]) == ["comet", "plain"]
    assert list(summary["mean"]) == pytest.approx([0.9, 0.7])
    assert list(summary.columns) == ["strategy", "mean", "low", "high", "n", "categories"]


def test_incomplete_seeds_do_not_bend_the_mean():
    rows = grid([[0.9, 0.9], [0.5, 0.5], [0.7, 0.7]])
    short = rows.drop(rows[(rows["category"] == "c1") & (rows["seed"] == 1)].index)
    summary = summarise(short, "image_auroc").iloc[0]
    assert summary["mean"] == pytest.approx(0.7)  # not the 0.75 that seed 1 would drag it to
    assert summary["n"] == 1
    assert np.isnan(summary["low"])
    apart = rows[rows["seed"] == (rows["category"] == "c0")]
    summary = summarise(apart, "image_auroc").iloc[0]
    assert (summary["mean"], summary["n"]) == (pytest.approx(0.7), 0)


def test_a_setting_that_was_forgotten_is_told():
    rows = pd.concat([grid([[0.6]], kappa=1), grid([[0.8]], kappa=2)])
    with pytest.raises(InputError, match="several runs share"):
        summarise(rows, "image_auroc")
    assert len(summarise(rows, "image_auroc", ["kappa"])) == 2


def test_difference_of_normal_units_agrees_with_the_paired_t_test():
    rng = np.random.default_rng(3)
    differences = rng.normal(0.02, 0.03, size=(12, 3))
    found = compare(two_methods(differences)).iloc[0]
    units = differences.mean(axis=1)
    low, high = stats.ttest_1samp(units, 0).confidence_interval(0.95)
    assert found["mean"] == pytest.approx(units.mean())
    assert found["low"] == pytest.approx(low, abs=0.1 * (high - low))
    assert found["high"] == pytest.approx(high, abs=0.1 * (high - low))
    assert (found["n"], found["pairs"]) == (12, 36)
    assert found["wins"] == (differences > 0).mean()


@pytest.mark.parametrize("categories", [3, 6, 15])
def test_difference_covers_as_often_as_it_says(categories):
    rng = np.random.default_rng(4)
    hits = []
    for _ in range(300):
        effect = 0.01 + rng.normal(0, 0.02, (categories, 1))
        rows = two_methods(effect + rng.normal(0, 0.02, (categories, 2)))
        found = compare(rows, resamples=1000).iloc[0]
        hits.append(found["low"] <= 0.01 <= found["high"])
    assert np.mean(hits) == pytest.approx(0.95, abs=0.045)


def test_difference_ignores_order_and_runs_without_partner():
    rows = two_methods(np.random.default_rng(5).normal(size=(4, 2)))
    alone = grid([[9.0]], strategy="comet").assign(category="other")
    other = grid([[5.0]], strategy="meta")
    shuffled = pd.concat([rows, alone, other]).sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(compare(rows), compare(shuffled))


def test_swapping_the_methods_turns_the_sign():
    rows = two_methods(np.random.default_rng(6).normal(size=(5, 2)))
    there = compare(rows).iloc[0]
    back = paired_difference(rows, "image_auroc", "strategy", "plain", "comet").iloc[0]
    assert back["mean"] == pytest.approx(-there["mean"])
    assert back["low"] == pytest.approx(-there["high"], rel=1e-6)
    assert back["wins"] == pytest.approx(1 - there["wins"])


def test_one_category_falls_back_on_seeds_and_one_run_has_no_interval():
    found = compare(two_methods([[0.1, 0.2, 0.3]])).iloc[0]
    assert found["n"] == 3
    assert found["low"] < 0.2 < found["high"]
    found = compare(two_methods([[0.1]])).iloc[0]
    assert found["mean"] == pytest.approx(0.1)
    assert np.isnan(found["low"])


def test_differences_by_group():
    rows = pd.concat(
        [
            two_methods([[0.1, 0.1], [0.2, 0.2]]).assign(dataset="a"),
            two_methods([[0.3, 0.3], [0.4, 0.4]]).assign(dataset="b"),
        ]
    )
    found = compare(rows, by=["dataset"])
    assert list(found["dataset"]) == ["a", "b"]
    assert list(found["mean"]) == pytest.approx([0.15, 0.35])


def test_mistakes_are_told():
    rows = two_methods([[0.1, 0.2]])
    with pytest.raises(InputError, match="no column"):
        summarise(rows, "auroc")
    with pytest.raises(InputError, match="no runs"):
        paired_difference(rows, "image_auroc", "strategy", "comet", "reject")
    with pytest.raises(InputError, match="several runs share"):
        compare(pd.concat([rows, rows]))
    with pytest.raises(InputError, match="level"):
        mean_interval([1, 2], level=95)
    assert summarise(rows.iloc[:0], "image_auroc").empty
