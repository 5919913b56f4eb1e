"""Scores of simulated training sets, on which false-discovery control is put to the test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from comet_core.discovery import benjamini_hochberg, conformal_p_values, p_values
from comet_core.errors import InputError
from comet_core.statistics import mean_interval

NOMINAL = (
    "lognormal",
    "gamma",
    "half-normal",
    "half-t",
    "log-logistic",
    "frechet",
    "pareto",
    "two variants",
)
"""Distributions of nominal scores. The last is outside the assumption of `nominal_tail`: in 15 % of
images the product is another, good one, and scores twelve times as high."""
OUTSIDE = ("two variants",)
SHOWN = ("lognormal", "gamma", "half-t", "log-logistic", "two variants")
"""Distributions that the chapter draws; `benchmarks/fdr.py` has all."""


def simulate(
    nominal: str, count: int, contamination: float, rng: np.random.Generator, distance: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Scores of a training set that never was: nominal ones, and dirt around their upper end.

    Args:
        nominal: one of `NOMINAL`; half-t has three degrees of freedom.
        count: number of scores N.
        contamination: share of dirt, in [0, 1).
        rng: of all draws.
        distance: of the dirt's median from the 99 % quantile of nominal scores, in the logarithm;
            the dirt is lognormal with deviation 0.5.

    Returns:
        Scores (N,) and whether each is dirt (N,).

    Raises:
        InputError: for an unknown distribution.
    """
    laws = {
        "lognormal": stats.lognorm(0.5),
        "gamma": stats.gamma(2),
        "half-normal": stats.halfnorm(),
        "half-t": stats.t(3),
        "log-logistic": stats.fisk(2.5),
        "frechet": stats.invweibull(2.5),
        "pareto": stats.pareto(3),
        "two variants": stats.lognorm(0.5),
    }
    if nominal not in laws:
        raise InputError(f"unknown distribution '{nominal}'; there are {', '.join(NOMINAL)}.")
    dirt = round(contamination * count)
    good = np.abs(laws[nominal].rvs(size=count - dirt, random_state=rng))
    if nominal in OUTSIDE:
        good[: round(0.15 * len(good))] *= 12
    top = laws[nominal].ppf(0.995 if nominal == "half-t" else 0.99)
    bad = top * np.exp(distance + 0.5 * rng.standard_normal(dirt))
    flags = np.r_[np.zeros(count - dirt, dtype=bool), np.ones(dirt, dtype=bool)]
    return torch.from_numpy(np.r_[good, bad]), torch.from_numpy(flags)


def trial(
    nominal: str,
    images: int,
    contamination: float,
    levels: Sequence[float],
    sets: int,
    seed: int = 0,
    distance: float = 1.0,
) -> pd.DataFrame:
    """Flag images of simulated sets, and look how many of the flagged are nominal.

    Args:
        nominal, contamination, distance: see `simulate`.
        images: in a set.
        levels: of the false-discovery rate.
        sets: how many to simulate; a set is decided by the seed and its number.
        seed: of all sets.

    Returns:
        One row a set, level and judge ("itself", or "known nominals": as many nominal scores that
        are in no set): false_share (of the flagged, 0 where none is), found (share of the dirt,
        nan where there is none), flagged (number).
    """
    rows = []
    for number in range(sets):
        rng = np.random.default_rng([seed, number])
        scores, dirt = simulate(nominal, images, contamination, rng, distance)
        known, _ = simulate(nominal, images, 0.0, rng)
        for judge, p in (
            ("itself", p_values(scores)),
            ("known nominals", conformal_p_values(scores, known)),
        ):
            for level in levels:
                flagged = benjamini_hochberg(p, level)
                count, hits = int(flagged.sum()), int((flagged & dirt).sum())
                found = hits / int(dirt.sum()) if dirt.any() else float("nan")
                rows.append((number, judge, level, (count - hits) / max(1, count), found, count))
    columns = ["set", "judge", "level", "false_share", "found", "flagged"]
    return pd.DataFrame(rows, columns=columns)


def rates(
    nominals: Sequence[str],
    contaminations: Sequence[float],
    levels: Sequence[float],
    *,
    sets: int,
    images: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """The false-discovery rate that is realised: `trial` for many cases, averaged over the sets.

    Returns:
        One row a judge, distribution ("nominal"), contamination and level: fdr (mean of
        false_share) with low and high (95 %), found, and any (share of the sets with a flag).
    """
    rows = []
    for nominal in nominals:
        for contamination in contaminations:
            found = trial(nominal, images, contamination, levels, sets, seed)
            for (judge, level), group in found.groupby(["judge", "level"], sort=False):
                interval = mean_interval(group["false_share"])
                rows.append(
                    {"judge": judge, "nominal": nominal, "contamination": contamination}
                    | {"level": level, "fdr": interval.mean}
                    | {"low": interval.low, "high": interval.high}
                    | {"found": group["found"].mean(), "any": (group["flagged"] > 0).mean()}
                )
    return pd.DataFrame(rows)


def finding(table: pd.DataFrame) -> str:
    """Whether the control holds, in words: of the rows of `rates`."""
    said = []
    for judge, part in table.groupby("judge", sort=False):
        inside = part[~part["nominal"].isin(OUTSIDE)] if judge == "itself" else part
        if inside.empty:
            continue
        failed = inside[inside["low"] > inside["level"]]
        worst = inside.iloc[int((inside["fdr"] - inside["level"]).to_numpy().argmax())]
        said.append(
            f"{_JUDGES[str(judge)]}, the realised rate is above the one asked for, beyond chance, "
            f"in {len(failed)} of {len(inside)} cases; the least favourable is {worst['nominal']} "
            f"with {100 * worst['contamination']:g} % of dirt, {100 * worst['fdr']:.1f} % where "
            f"{100 * worst['level']:g} % were asked for."
        )
    outside = table[(table["judge"] == "itself") & table["nominal"].isin(OUTSIDE)]
    if len(outside):
        worst = outside.iloc[int((outside["fdr"] - outside["level"]).to_numpy().argmax())]
        said.append(
            f"Where the assumption is broken, up to {100 * worst['fdr']:.0f} % of the flagged are "
            f"nominal on average where {100 * worst['level']:g} % were asked for."
        )
    power = table[(table["judge"] == "itself") & (table["contamination"] > 0)]
    power = power[~power["nominal"].isin(OUTSIDE)]
    if len(power):
        said.append(
            "The caution has a price: without known nominals the cut finds "
            f"{100 * power['found'].mean():.0f} % of the dirt on average, here where a good part "
            "of the dirt scores little more than the highest nominal images."
        )
    return " ".join(said)


_JUDGES = {
    "itself": "Judging the training set by itself",
    "known nominals": "With known nominals",
}
