"""Effects in words: what is settled, what is not, and how much of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comet_core.effects import DOWN, OPEN, UP, finding, points, side, with_interval
from comet_core.statistics import Interval

NAN = math.nan


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Interval(0.02, 0.01, 0.03, 3), "x: raises I-AUROC by 2.0 points [1.0, 3.0]."),
        (Interval(-0.02, -0.03, -0.01, 3), "x: lowers I-AUROC by 2.0 points [1.0, 3.0]."),
        (
            Interval(0.01, -0.02, 0.04, 3),
            "x: +1.0 points of I-AUROC, not settled; the runs allow an effect of up to 4.0 points.",
        ),
        (
            Interval(-0.27, -1.015, 0.47, 3),
            "x: −27.0 points of I-AUROC, not settled, and the seeds lie so far apart that next to "
            "nothing is known.",
        ),
        (
            Interval(0.01, NAN, NAN, 1),
            "x: +1.0 points in the one seed that was run, which cannot tell an effect from chance.",
        ),
        (Interval(NAN, NAN, NAN, 0), "x: not run."),
    ],
)
def test_a_finding_says_what_the_interval_allows(found: Interval, sentence: str) -> None:
    assert finding("x", found) == sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0"), (-0.0, "0.0"), (0.0234, "+2.3"), (-0.0234, "−2.3"), (0.0002, "+0.02")],
)
def test_points(value: float, text: str) -> None:
    assert points(value) == text


def test_no_interval_is_shown_where_there_is_none() -> None:
    assert with_interval(Interval(0.01, NAN, NAN, 1)) == "+1.0"
    assert with_interval(Interval(0.01, -0.01, 0.03, 3)) == "+1.0 [−1.0, +3.0]"


@given(st.floats(-1, 1), st.floats(1e-6, 1))
def test_sides_mirror(mean: float, half: float) -> None:
    here = side(Interval(mean, mean - half, mean + half, 3))
    there = side(Interval(-mean, -mean - half, -mean + half, 3))
    assert there == {UP: DOWN, DOWN: UP, OPEN: OPEN}[here]


def test_seeds_that_do_not_differ_settle_nothing() -> None:
    assert side(Interval(0.3, 0.3, 0.3, 3)) == OPEN
