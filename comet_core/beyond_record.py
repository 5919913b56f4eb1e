"""What the record of the weightings says of all data sets: curves, harm, cost and sentences.

The chapter of the weightings runs what a laptop computes in minutes. `benchmarks/beyond.py --out`
runs every weighting on whatever data it is given and adds the runs to a record, from which the
chapter shows the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from comet_core import beyond, records
from comet_core.beyond import BEST, CLOSE, HARMLESS, ORACLE, PLAIN, SHARE, by_method
from comet_core.evidence import DETECTORS, LEVEL
from comet_core.names import data_names, enumerated, label
from comet_core.tables import signed, two_decimals, whole_percent, with_interval

TARGET = "bench-beyond"
"""What `make` calls the benchmark."""
RUN = ["name", "drawn", "category", "detector", "method", "contamination", "seed"]
"""What names a run of the record."""
KINDS = ("nominal", "boundary", "anomalous")
MEASURED = ["image_auroc", "seconds", *KINDS]
"""What is told of it: the seconds are those of training and of the scores from before it, the last
three mean weights in the last epoch; none where there are no such images."""


def told(rows: pd.DataFrame, samples: pd.DataFrame, name: str = "") -> pd.DataFrame:
    """What the record keeps of runs: the columns of `RUN` and `MEASURED`.

    Args:
        rows: of `beyond.prepared`.
        samples: of `notebook.training_samples` of the same runs.
        name: under which the categories are averaged; by default each real category stands for
            itself, and those of a stand-in together for it.
    """
    means = samples.pivot_table(index="hash", columns="truth", values="used", observed=True)
    means = means.reindex(columns=list(KINDS))
    rows = rows[(rows["method"] != ORACLE) | (rows["contamination"] > 0)]
    real = rows["category"].str.replace("_", " ")
    rows = rows.assign(
        name=name or rows["dataset"].map(data_names(rows)).where(rows["synthetic"], real),
        drawn=rows["synthetic"].astype(bool),
        seconds=rows["train_seconds"] + rows["prior_seconds"].fillna(0),
    ).join(means, on="hash")
    return rows[[*RUN, *MEASURED]].round({"image_auroc": 5, "seconds": 2} | dict.fromkeys(KINDS, 4))


def check(path: Path) -> None:
    """Whether runs can be added to a record; see `records.check`."""
    records.check(path, TARGET, [*RUN, *MEASURED])


def add(new: pd.DataFrame, path: Path, about: Mapping[str, Any]) -> None:
    """Add runs of `told` to a record; those that it has already are replaced.

    Args:
        new: the runs.
        path: of the record, which is begun where there is none.
        about: when and where they were made.

    Raises:
        InputError: the file is another one.
    """
    by = ["drawn", *(name for name in RUN if name != "drawn")]
    names = (*DETECTORS, PLAIN, *beyond.RULES, BEST, ORACLE)
    records.add_rows(new, path, TARGET, about, RUN, by, names)


def read_record(path: Path) -> dict[str, Any]:
    """The record; its rows are ready for `beyond.curves`, `gaps`, `harms`, `costs` and `overview`.

    A "dataset" is what the record has under one name. Clean plain runs also stand for the oracle.

    Raises:
        InputError: no such file, or another one.
    """
    record = records.read_record(path, TARGET, [*RUN, *MEASURED])
    rows = record["rows"].rename(columns={"name": "dataset"})
    rows = rows.assign(train_seconds=rows["seconds"], prior_seconds=0.0)
    return {**record, "rows": beyond.with_clean_oracle(rows)}


def kept(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean weight in the last epoch of each kind, over the contaminated runs: detector, method."""
    dirty = rows[(rows["contamination"] > 0) & (rows["method"] != ORACLE)]
    return dirty.groupby(["detector", "method"])[list(KINDS)].mean().reset_index()


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """Runs that means may be over: of each detector, all methods on the same data sets.

    What is missing most goes first, be it a data set that few methods ran on or a method that ran
    on few data sets.
    """
    parts = [rows[:0]]
    for _, part in rows.groupby("detector", sort=False):
        missing = pd.crosstab(part["dataset"], part["method"]) == 0
        while missing.any(axis=None):
            datasets, methods = missing.mean(axis=1), missing.mean(axis=0)
            if methods.max() > datasets.max():
                missing = missing.drop(columns=methods.idxmax())
            else:
                missing = missing.drop(index=datasets.idxmax())
        known = part["dataset"].isin(missing.index) & part["method"].isin(missing.columns)
        parts.append(part[known])
    return pd.concat(parts)


def overview(rows: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """One line a detector and method, as text: gains and harms over data sets, weights, cost.

    Of `comparable` data sets. The gain is the mean over them at `level`, the harm that of the data
    set that pays most.
    """
    rows = comparable(rows)
    gains, harms = beyond.gaps(rows), beyond.harms(rows)
    gains = gains[gains["contamination"] == level]
    keys = ["detector", "method"]
    table = gains.groupby(keys)["gain"].agg(["mean", "min"]).reset_index()
    table = table.merge(gains.groupby(keys)["closed"].median().reset_index(), on=keys)
    worst = harms.loc[harms.groupby(keys)["mean"].idxmin()].rename(columns={"mean": "harm"})
    table = table.merge(worst[[*keys, "harm", "dataset"]], how="left", on=keys)
    table = table.merge(kept(rows), how="left", on=keys)
    cost = beyond.costs(rows).groupby(keys)["cost"].median().reset_index()
    table = table.merge(cost, how="left", on=keys)
    place = {name: i for i, name in enumerate((*DETECTORS, *beyond.ordered(table["method"])))}
    table = table.sort_values(keys, key=lambda one: one.map(place))
    at = f"{100 * level:g} %"
    return pd.DataFrame(
        {
            "detector": [label(name) for name in table["detector"]],
            "weighting": [label(name) for name in table["method"]],
            f"gain at {at}": [signed(x) for x in table["mean"]],
            "least gain": [signed(x) for x in table["min"]],
            "gap closed, median": [whole_percent(x) for x in table["closed"]],
            "clean, worst": [
                "–" if np.isnan(harm) else f"{signed(harm)} ({where})"
                for harm, where in zip(table["harm"], table["dataset"], strict=True)
            ],
            **{f"mean weight, {kind}": [two_decimals(x) for x in table[kind]] for kind in KINDS},
            "time / plain": [two_decimals(x) for x in table["cost"]],
        }
    )


def numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """I-AUROC in percent with its interval: a line a data set, detector and method, as text."""
    points = beyond.curves(rows)
    points["text"] = [
        with_interval(mean, low, high, "")
        for mean, low, high in points[["mean", "low", "high"]].clip(0, 1).to_numpy(float)
    ]
    levels = sorted(points["contamination"].unique())
    wide = points.pivot_table(
        index=beyond.KEYS, columns="contamination", values="text", aggfunc="first"
    )
    methods = beyond.ordered(points["method"])
    lines = [
        (dataset, detector, method)
        for dataset in rows["dataset"].unique()
        for detector in rows["detector"].unique()
        for method in methods
        if (dataset, detector, method) in wide.index
    ]
    wide = wide.loc[lines, levels].fillna("–")
    wide.columns = ["clean" if not level else f"{100 * level:g} %" for level in levels]
    table = wide.reset_index().rename(columns={"dataset": "data", "method": "weighting"})
    return table.assign(weighting=table["weighting"].map(label))


def findings(rows: pd.DataFrame, level: float = LEVEL) -> str:
    """Where CoMet+ keeps what was aimed for, where not, and who is ahead there; Markdown."""
    gains, harms, whole = beyond.gaps(rows), beyond.harms(rows), comparable(rows)
    gains = gains[gains["contamination"] == level]
    lines = []
    for detector in rows["detector"].unique():
        fair = whole[whole["detector"] == detector]
        gain, harm = gains[gains["detector"] == detector], harms[harms["detector"] == detector]
        ahead = [
            one[one["dataset"].isin(fair["dataset"]) & one["method"].isin(fair["method"])]
            for one in (gain, harm)
        ]
        told = {
            f", {100 * level:g} %": _gaps_closed(gain),
            ", clean": _price(harm[harm["method"] == BEST]),
            "": _ahead(*ahead),
        }
        lines += [f"- **{label(detector)}**{of}: {words}." for of, words in told.items() if words]
    return "\n".join(lines)


def headline(rows: pd.DataFrame, method: str, level: float = LEVEL) -> str:
    """What a weighting wins back and costs on real images, with every detector, in one sentence."""
    real = rows[~rows["drawn"].astype(bool)]
    gaps, harms = beyond.gaps(real), beyond.harms(real)
    won = gaps[(gaps["method"] == method) & (gaps["contamination"] == level)]
    lost = -100 * harms.loc[harms["method"] == method, "mean"].min()
    seeds = sorted({real.loc[real["dataset"] == one, "seed"].nunique() for one in won["dataset"]})
    shares = f"{whole_percent(won['closed'].min())} to {whole_percent(won['closed'].max())}"
    return (
        f"On {enumerated(list(won['dataset'].unique()))} it wins back {shares} of what "
        f"{100 * level:g} % of anomalous images cost, and takes at most {max(0.0, lost):.1f} "
        f"points from a clean set (means of {' or '.join(map(str, seeds))} seeds)."
    )


def _gaps_closed(gain: pd.DataFrame) -> str:
    """Where CoMet+ closes the share that was aimed for, and who closes more where it does not."""
    mine = gain[gain["method"] == BEST].dropna(subset=["closed"]).to_dict("records")
    if not mine:
        return ""
    met = [
        f"{row['dataset']} ({whole_percent(row['closed'])})"
        for row in mine
        if row["closed"] >= SHARE
    ]
    words = f"CoMet+ closes 80 % of the gap or more {f'on {enumerated(met)}' if met else 'nowhere'}"
    for row in mine:
        if row["closed"] >= SHARE:
            continue
        words += f"; on {row['dataset']} {whole_percent(row['closed'])}"
        rivals = gain[(gain["dataset"] == row["dataset"]) & (gain["gain"] > row["gain"])]
        for best in rivals.nlargest(1, "gain").to_dict("records"):
            words += f", where *{label(best['method'])}* closes {whole_percent(best['closed'])}"
    return words


def _price(harm: pd.DataFrame) -> str:
    """What CoMet+ costs clean data."""
    if harm.empty:
        return ""
    dear = harm[harm["mean"] < -CLOSE].to_dict("records")
    where = [f"{row['dataset']} ({signed(row['mean'])})" for row in dear]
    if where:
        rest = ", elsewhere at most 0.3 points" if len(where) < len(harm) else ""
        return f"CoMet+ costs {enumerated(where)}{rest}"
    return "CoMet+ costs at most 0.3 points on each"


def _ahead(gain: pd.DataFrame, harm: pd.DataFrame) -> str:
    """Which weighting gains most of those that cost no clean data set more than half a point."""
    worst, worth = by_method(harm, "mean", "min"), by_method(gain, "gain", "mean")
    if not worst or not worth:
        return ""
    usable = [name for name in worth if worst.get(name, -1.0) >= -HARMLESS]
    if not usable:
        least = max(worst, key=lambda name: worst[name])
        return (
            "every weighting costs some clean data set more than half a point; the least,"
            f" {signed(worst[least])}, is lost by *{label(least)}*"
        )
    top = max(usable, key=lambda name: worth[name])
    return (
        "of the weightings that cost no clean data set more than half a point,"
        f" *{label(top)}* gains most, {signed(worth[top])} points in the mean over the data sets"
        " that all were run on"
    )


def side(record: Mapping[str, Any], *, drawn: bool) -> dict[str, Any]:
    """The record of the drawn data sets only, or of the real ones."""
    rows = record["rows"]
    return {**record, "rows": rows[rows["drawn"].astype(bool) == drawn]}


def described(record: Mapping[str, Any]) -> str:
    """One line that says what was measured and when."""
    rows = record["rows"]
    drawn = rows["drawn"].astype(bool)
    counts = rows.groupby(["dataset", "contamination"])["seed"].nunique()
    seeds = (
        f"{counts.max()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    )
    real = ", ".join(rows.loc[~drawn, "dataset"].unique())
    names = ", ".join(rows.loc[drawn, "dataset"].unique())
    return " · ".join(
        part
        for part in (
            f"benchmark of {record['made']}",
            f"real: {real}" if real else "",
            f"synthetic: {names}" if names else "",
            "profile demo, all images",
            f"{seeds} seeds",
        )
        if part
    )
