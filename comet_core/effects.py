"""Effects in words: differences with their intervals, said alike in every chapter.

Effects are differences of numbers in [0, 1], and are told in points: hundredths of 1.
"""

from __future__ import annotations

import math

from comet_core.statistics import Interval
from comet_core.tables import MINUS

UP, DOWN, OPEN = "above", "below", "open"
WIDE = 0.1
"""An interval that allows effects beyond this, ten points, is told to settle next to nothing."""


def side(found: Interval, bound: float = 0.0) -> str:
    """On which side of `bound` the whole interval lies; "open" if on neither.

    Seeds that all give one number, a single seed or a result at its ceiling, tell nothing of how
    much chance there is in it: their interval has no width, and settles nothing.
    """
    if not found.high - found.low > 1e-9:  # nan as well
        return OPEN
    if found.low > bound:
        return UP
    return DOWN if found.high < bound else OPEN


def points(value: float, sign: str = "+") -> str:
    """A fraction in points with one decimal; tenths are kept where that would read 0."""
    if math.isnan(value):
        return "–"
    decimals = 1 if abs(value) >= 0.0005 or value == 0 else 2
    rounded = round(100 * value, decimals) + 0.0  # never "-0.0"
    return f"{rounded:{sign if rounded else ''}.{decimals}f}".replace("-", MINUS)


def with_interval(found: Interval) -> str:
    """Mean and interval in points, such as "+2.3 [+0.4, +4.2]"."""
    if math.isnan(found.low):
        return points(found.mean)
    return f"{points(found.mean)} [{points(found.low)}, {points(found.high)}]"


def unsettled(largest: float) -> str:
    """What an interval that settles nothing still allows, given its end that is furthest from 0."""
    if largest > WIDE:
        return "not settled, and the seeds lie so far apart that next to nothing is known"
    return f"not settled; the runs allow an effect of up to {points(largest, sign='')} points"


def finding(subject: str, found: Interval, value: str = "I-AUROC") -> str:
    """One sentence on what a change does, or how large an effect the runs allow.

    Args:
        subject: what was changed, as the start of a sentence.
        found: the difference it made, a fraction.
        value: what was measured.
    """
    if math.isnan(found.mean):
        return f"{subject}: not run."
    if math.isnan(found.low):
        told = f"{points(found.mean)} points in the one seed that was run"
        return f"{subject}: {told}, which cannot tell an effect from chance."
    if side(found) == OPEN:
        largest = max(abs(found.low), abs(found.high))
        return f"{subject}: {points(found.mean)} points of {value}, {unsettled(largest)}."
    word = "raises" if side(found) == UP else "lowers"
    ends = sorted((abs(found.low), abs(found.high)))
    return (
        f"{subject}: {word} {value} by {points(abs(found.mean), '')} points "
        f"[{points(ends[0], '')}, {points(ends[1], '')}]."
    )
