"""Means, 95 % intervals and paired differences: every figure and table takes them from here.

Two questions, two answers:

* How well is a method's mean on this data set known? Its categories are what they are; the seeds
  are the sample. `summarise` averages the categories within each seed and puts a Student t interval
  around the mean over seeds. Runs of one seed share their initial weights, so the categories of a
  seed are not independent, and this does not pretend that they are.
* Is one method better than another? `paired_difference` compares runs that agree in category and
  seed, and bootstraps the differences over categories: would the gain hold on other categories?
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from comet_core.errors import InputError

LEVEL = 0.95


class Interval(NamedTuple):
    """A mean, its confidence interval (nan where there is none), and how many values it is of."""

    mean: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, row: Any) -> Interval:
        """The interval in a row of a table with columns of these names."""
        return cls(row["mean"], row["low"], row["high"], row["n"])


def mean_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Mean of independent values with Student's t interval, which is exact for few normal values.

    The interval is not clipped: one that passes 1 for an AUROC says that few seeds were run.

    Args:
        values: (N,) numbers; nan is left out.
        level: confidence, in (0, 1).

    Returns:
        The interval; low and high are nan for one value, and so is the mean for none.
    """
    _check_level(level)
    values = np.asarray(values, dtype=np.float64).ravel()
    values = values[~np.isnan(values)]
    nan = float("nan")
    if values.size == 0:
        return Interval(nan, nan, nan, 0)
    mean = float(values.mean())
    if values.size == 1:
        return Interval(mean, nan, nan, 1)
    quantile = stats.t.ppf(0.5 + level / 2, values.size - 1)
    half = float(quantile * values.std(ddof=1) / np.sqrt(values.size))
    return Interval(mean, mean - half, mean + half, values.size)


def summarise(
    rows: pd.DataFrame,
    value: str,
    by: Sequence[str] = (),
    *,
    category: str = "category",
    seed: str = "seed",
    level: float = LEVEL,
) -> pd.DataFrame:
    """Mean over categories, interval over seeds, for each combination of the columns `by`.

    Args:
        rows: one row a run.
        value: the column to average; rows where it is nan are left out.
        by: the columns that name a group, such as ("dataset", "detector", "strategy").
        category, seed: the columns averaged over; where `rows` lacks one, it counts as constant.
        level: confidence, in (0, 1).

    Returns:
        One row a group, sorted, with the columns of `by` and `mean`, `low`, `high`, `n` (seeds),
        `categories`. A seed that lacks a category of its group is left out, for its mean would be
        of something else; if that leaves none, the mean is that of the category means, without an
        interval and with n = 0.

    Raises:
        InputError: a column is missing, or two rows of a group share category and seed, which means
            that a setting which varies is missing from `by`.
    """
    rows = _prepared(rows, [value, *by], [category, seed]).dropna(subset=[value])
    _refuse_repeats(rows, [*by, category, seed])
    found = []
    for name, group in _groups(rows, by):
        table = group.pivot_table(index=seed, columns=category, values=value)
        interval = mean_interval(table.dropna().mean(axis=1), level)
        if interval.n == 0:
            interval = interval._replace(mean=float(table.mean().mean()))
        found.append((*name, *interval, table.shape[1]))
    return pd.DataFrame(found, columns=[*by, *Interval._fields, "categories"])


def paired_difference(
    rows: pd.DataFrame,
    value: str,
    column: str,
    first: object,
    second: object,
    by: Sequence[str] = (),
    *,
    pair: Sequence[str] = ("category", "seed"),
    level: float = LEVEL,
    resamples: int = 10_000,
) -> pd.DataFrame:
    """How much larger `value` is where `column` is `first` than where it is `second`.

    Runs pair up when they agree in `by` and `pair`. The unit of the bootstrap is the first column
    of `pair` with at least two values (categories; seeds for a single category), and it is drawn
    whole, with all its seeds, because runs of one category are not independent (Davison and
    Hinkley, 1997, section 3.8). The percentile interval is too narrow for few units, so its arms
    are stretched by t / z * sqrt(n / (n - 1)): for normal differences it then agrees with the
    paired t-test, and for skewed ones it keeps their asymmetry. The draws are seeded: same rows,
    same interval, in whatever order they come.

    Args:
        rows: one row a run; runs without a partner, or with a nan value, are left out.
        value: the column to compare.
        column, first, second: the two methods, such as "strategy", "comet", "plain".
        by: the columns that name a group.
        pair: the columns that partners share, outermost first; a missing one counts as constant.
        level: confidence, in (0, 1).
        resamples: number of bootstrap draws.

    Returns:
        One row a group with the columns of `by` and `mean` (of the unit means), `low`, `high` (nan
        for one unit), `n` (units), `pairs`, `wins` (share of pairs where `first` is larger, ties
        counting half).

    Raises:
        InputError: a column is missing, no runs pair up, or two runs of one method share all keys.
    """
    _check_level(level)
    keys = [*by, *pair]
    rows = _prepared(rows, [value, column, *by], pair).dropna(subset=[value])
    rows = rows[rows[column].isin([first, second])]
    _refuse_repeats(rows, [column, *keys])
    sides = [rows.loc[rows[column] == side, [*keys, value]] for side in (first, second)]
    both = sides[0].merge(sides[1], on=keys, suffixes=("_first", "_second"))
    if both.empty:
        raise InputError(
            f"no runs with {column} = {first!r} and {column} = {second!r} agree in "
            f"{', '.join(keys)}; run both methods on the same categories and seeds."
        )
    both["difference"] = both[f"{value}_first"] - both[f"{value}_second"]
    found = []
    for name, group in _groups(both, by):
        unit = next((key for key in pair if len(group[key].unique()) > 1), pair[0])
        units = group.groupby(unit, sort=True)["difference"].mean().to_numpy()
        wins = float(((np.sign(group["difference"]) + 1) / 2).mean())
        interval = bootstrap_interval(units, level, resamples)
        found.append((*name, *interval, len(group), wins))
    return pd.DataFrame(found, columns=[*by, *Interval._fields, "pairs", "wins"])


def bootstrap_interval(
    values: ArrayLike, level: float = LEVEL, resamples: int = 10_000
) -> Interval:
    """Mean of independent values with the bootstrap interval of `paired_difference`.

    Args:
        values: (N,) numbers, such as each seed's mean difference.
        level: confidence, in (0, 1).
        resamples: number of bootstrap draws, seeded.

    Returns:
        The interval; low and high are nan for one value, and so is the mean for none.
    """
    units, nan = np.asarray(values, dtype=np.float64).ravel(), float("nan")
    if units.size == 0:
        return Interval(nan, nan, nan, 0)
    mean, n = float(units.mean()), units.size
    if n == 1:
        return Interval(mean, nan, nan, 1)
    draws = np.random.default_rng(0).integers(0, n, (resamples, n))
    low, high = np.quantile(units[draws].mean(axis=1), [0.5 - level / 2, 0.5 + level / 2])
    tail = 0.5 + level / 2
    stretch = stats.t.ppf(tail, n - 1) / stats.norm.ppf(tail) * np.sqrt(n / (n - 1))
    return Interval(
        mean, float(mean + stretch * (low - mean)), float(mean + stretch * (high - mean)), n
    )


def _groups(rows: pd.DataFrame, by: Sequence[str]) -> list[tuple[tuple, pd.DataFrame]]:
    if not by:
        return [((), rows)] if len(rows) else []
    return list(rows.groupby(list(by), sort=True, dropna=False, observed=True))


def _prepared(rows: pd.DataFrame, needed: Sequence[str], constant: Sequence[str]) -> pd.DataFrame:
    """A copy of the columns in use; those of `constant` that are missing are filled in."""
    missing = [name for name in needed if name not in rows.columns]
    if missing:
        raise InputError(f"the rows have no column '{missing[0]}'; collect them from a store.")
    extra = {name: 0 for name in constant if name not in rows.columns}
    return rows.assign(**extra)[list(dict.fromkeys([*needed, *constant]))]


def _refuse_repeats(rows: pd.DataFrame, keys: list[str]) -> None:
    repeated = rows[rows.duplicated(keys)]
    if len(repeated):
        where = ", ".join(f"{key} = {repeated.iloc[0][key]}" for key in keys)
        raise InputError(
            f"several runs share {where}; they differ in a setting that must be fixed first or "
            "named in `by`."
        )


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"level = {level!r} is not a confidence in (0, 1); the usual one is 0.95.")
