"""What the model's uncertainty does in finished runs: det Sigma of equation 4, and lambda after it.

Values of det Sigma lie orders of magnitude apart, so they are averaged, compared and drawn by their
logarithms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from comet_core.config import META
from comet_core.names import data_names, label
from comet_core.noise import in_order
from comet_core.results import Store
from comet_core.statistics import mean_interval

KEYS = ["dataset", "detector", "strategy"]
LATE = 2 / 3
"""From which share of the training on it is told: by then the losses have fallen."""


def courses(runs: pd.DataFrame, store: Store | None = None) -> pd.DataFrame:
    """The histories of all runs that measure det Sigma.

    Args:
        runs: rows of `experiments.run`; strategies without equation 4 are passed over.
        store: where the runs lie; `results.default_store` if left out.

    Returns:
        One row a run and epoch: hash, `KEYS`, category, synthetic, contamination, seed, lambda_0,
        gamma, epoch, det_sigma (mean over the steps of the epoch, >= 0) and lambda_sigma.
    """
    measured = runs[runs["strategy"].isin(META)].drop_duplicates("hash")
    about = [*KEYS, "category", "synthetic", "contamination", "seed", "lambda_0", "gamma"]
    found = (store or Store()).tables(measured, "history", about)
    columns = ["hash", *about, "epoch", "det_sigma", "lambda_sigma"]
    return found[columns] if len(found) else pd.DataFrame(columns=columns)


def ends(table: pd.DataFrame) -> tuple[float, float]:
    """The lowest and the highest contamination of the runs of `courses`."""
    return float(table["contamination"].min()), float(table["contamination"].max())


def growth(table: pd.DataFrame) -> pd.DataFrame:
    """How many times as large det Sigma is at the highest contamination as at the lowest.

    Not all of it tells of the anomalies: they are images more, so that batches may have another
    size, and the mean of fewer losses scatters more. In the profile `demo` a step of DifferNet sees
    30 of 60 clean images, and 22 of 66 with 10 %, of which 9 and 7 make a loss: (9 / 7)^2 = 1.7.

    Args:
        table: of `courses`.

    Returns:
        `KEYS`; ratio, low, high: geometric mean and its 95 % interval over the seeds, of the epochs
        from `LATE` on, for runs of one seed and category; n (seeds). In the order of the runs, and
        empty for a single level.
    """
    late = table[table["epoch"] > LATE * table.groupby("hash")["epoch"].transform("max")]
    late = late[late["det_sigma"] > 0]
    late = late.assign(log=np.log(late["det_sigma"].astype(float)))
    unit = [*KEYS, "category", "seed"]
    logs = late.pivot_table(index=unit, columns="contamination", values="log")
    low, high = ends(table)
    columns = [*KEYS, "ratio", "low", "high", "n"]
    if low == high or low not in logs or high not in logs:
        return pd.DataFrame(columns=columns)
    change = (logs[high] - logs[low]).dropna().groupby([*KEYS, "seed"]).mean()
    lines: list[tuple[Any, ...]] = []
    for key, part in change.groupby(KEYS):
        found = mean_interval(part)
        lines.append((*key, *np.exp(found[:3]), found.n))
    return in_order(pd.DataFrame(lines, columns=columns), table, "strategy")


def findings(table: pd.DataFrame) -> str:
    """Whether det Sigma tells of contamination, and whether lambda moves, computed; in Markdown.

    Args:
        table: of `courses`.
    """
    if table.empty:
        return "No run measures det Σ: that takes the strategies meta or CoMet."
    names, (_, level) = data_names(table), ends(table)
    lines = []
    for (dataset, detector), part in growth(table).groupby(["dataset", "detector"], sort=False):
        where = f"**{names[str(dataset)]}, {label(str(detector))}**"
        said = [f"{_times(row)} for {label(row['strategy'])}" for row in part.to_dict("records")]
        lines.append(
            f"- {where}: {100 * level:g} % of injected anomalies multiply det Σ by "
            + " and by ".join(said)
            + "."
        )
    most = table.nlargest(1, "det_sigma").iloc[0]
    excess = (table["lambda_sigma"] / table["lambda_0"] - 1).max()
    runs = table["hash"].nunique()
    lines.append(
        f"- λ follows by {100 * excess:.2g} % at most, in all epochs of {runs} runs: the largest "
        f"det Σ is {most['det_sigma']:.2g}, and λ would double there with γ = "
        f"{1 / most['det_sigma']:,.0f}, not {most['gamma']:g}."
    )
    return "\n".join(lines)


def _times(row: dict[Any, Any]) -> str:
    """ "17 [12, 25]": the ratio with its interval, where there is one."""
    ratio, low, high = (float(row[name]) for name in ("ratio", "low", "high"))
    told = [f"{one:,.0f}" if one >= 99.5 else f"{one:.2g}" for one in (ratio, low, high)]
    return told[0] if np.isnan(low) else f"{told[0]} [{told[1]}, {told[2]}]"
