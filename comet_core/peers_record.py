"""What the record of the benchmark against other detectors says: a table and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from comet_core import records
from comet_core.config import UNTRAINED
from comet_core.names import enumerated
from comet_core.speed_record import clock
from comet_core.statistics import summarise

METHODS = {
    "memory_bank": "memory bank",
    "softpatch": "SoftPatch",
    "simplenet": "SimpleNet plain",
    "simplenet comet": "SimpleNet CoMet",
    "simplenet comet+": "SimpleNet CoMet+",
    "differnet": "DifferNet plain",
    "padim": "PaDiM",
    "patchcore": "PatchCore",
    "supersimplenet": "SuperSimpleNet",
}
"""Methods that the benchmark measures, as they are written."""
PEERS = ("padim", "patchcore", "supersimplenet")
"""Those of anomalib; the others are ours."""
TIE = 0.001
"""Means of I-AUROC that lie no farther apart are told as equal."""
DATA = ("drawn", "category", "train_limit")
BY = (*DATA, "contamination", "method", "epochs")
_COSTS = ("train_seconds", "test_seconds_per_image", "peak_memory_mb")


def read_record(path: Path) -> dict[str, Any]:
    """What `benchmarks/peers.py --out` wrote; see `records.read_record`."""
    columns = {*BY, *_COSTS, "seed", "image_auroc"}
    return records.read_record(path, "bench-peers", columns)


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds: the columns of `BY`, I-AUROC as `mean`, `low`, `high`, `n`, and the costs.

    Costs are means, the memory is the largest. Data sets and methods stay in their order.
    """
    # Each category for itself: its name is in `BY`, so nothing is averaged over categories.
    table = summarise(rows, "image_auroc", BY, category="").drop(columns="categories")
    costs = rows.groupby(list(BY))[list(_COSTS)].agg(
        {name: "max" if name == "peak_memory_mb" else "mean" for name in _COSTS}
    )
    table = table.merge(costs.reset_index(), on=list(BY))
    order = {name: place for place, name in enumerate(METHODS)}
    table["place"] = table["method"].map(order)
    keys = [*DATA, "contamination", "place", "epochs"]
    return table.sort_values(keys, ascending=[False] + 5 * [True]).drop(columns="place")


def overview(rows: pd.DataFrame) -> pd.DataFrame:
    """For people: one line a data set and method, I-AUROC at each contamination side by side.

    Costs are those at the highest contamination.
    """
    table, lines = means(rows), []
    for _, group in table.groupby([*DATA, "method", "epochs"], sort=False):
        last = group.iloc[-1]
        of = f", {last['epochs']} epochs" if last["epochs"] else ""
        of += " (anomalib)" if last["method"] in PEERS else ""
        lines.append(
            {"images": _data(last), "method": METHODS[last["method"]] + of}
            | {
                f"I-AUROC, {_level(row['contamination'])}": _interval(row)
                for _, row in group.iterrows()
            }
            | {
                "training": clock(last["train_seconds"]),
                "an image": f"{1000 * last['test_seconds_per_image']:.0f} ms",
                "memory": f"{last['peak_memory_mb'] / 1024:.2f} GB",
            }
        )
    return pd.DataFrame(lines).fillna("–")


def findings(rows: pd.DataFrame, recipe_epochs: int) -> str:
    """Who is ahead, in I-AUROC and in time, in sentences; whoever it is."""
    table = means(rows)
    groups = table.groupby([*DATA, "contamination"], sort=False)
    words = [_winner(group) for _, group in groups]
    words.append(_times(table))
    short = table[(table["method"] == "supersimplenet") & (table["epochs"] < recipe_epochs)]
    if len(short):
        longest = (short["train_seconds"] / short["epochs"]).max() * recipe_epochs
        trained = enumerated([str(number) for number in sorted(set(short["epochs"]))])
        words.append(
            f"SuperSimpleNet has had {trained} of its {recipe_epochs} epochs, as all of them would"
            f" take up to {clock(longest)}; so its I-AUROC is not that of a finished training."
        )
    missing = [
        f"{METHODS[name]} on {_data(group.iloc[0])}"
        for _, group in table.groupby(list(DATA), sort=False)
        for name in PEERS
        if name not in set(group["method"])
    ]
    if missing:
        words.append(f"Not measured: {enumerated(missing)}.")
    return " ".join(words)


def _winner(group: pd.DataFrame) -> str:
    first, top = group.iloc[0], group["mean"].max()
    best = group["mean"] >= top - TIE
    fewer = group["n"].max() > 1
    names = enumerated(
        [
            METHODS[row["method"]] + (" (one seed)" if fewer and row["n"] == 1 else "")
            for _, row in group[best].iterrows()
        ]
    )
    words = f"On {_data(first)}, {_level(first['contamination'])}: {names}"
    words += f" {'is' if best.sum() == 1 else 'are'} ahead with {top:.3f}"
    theirs = group["method"].isin(PEERS)
    sides = {
        "ours": ~theirs,
        "ours that train": ~theirs & ~group["method"].isin(UNTRAINED),
        "anomalib's": theirs,
    }
    for side, mine in sides.items():
        if mine.any() and not (best & mine).any():
            second = group[mine].sort_values("mean").iloc[-1]
            words += (
                f"; the best of {side} is {METHODS[second['method']]} with {second['mean']:.3f}"
            )
    return f"{words}."


def _times(table: pd.DataFrame) -> str:
    seconds = table.groupby("method")["train_seconds"].mean()
    order = seconds.sort_values()
    words = (
        f"Quickest to train is {METHODS[str(order.index[0])]} ({clock(order.iloc[0])} on average"
        " over all levels)"
    )
    if {"memory_bank", "patchcore"} <= set(seconds.index):
        cases = table.pivot_table("train_seconds", [*DATA, "contamination"], "method")
        ratio = (cases["patchcore"] / cases["memory_bank"]).mean()
        words += (
            f"; PatchCore takes {ratio:.0f} times as long as our memory bank, which chooses what it"
            " remembers from a sample of the patches"
        )
    return words + "."


def described(record: Mapping[str, Any]) -> str:
    """One line that says what was measured, when and on what."""
    made, versions, rows = record["machine"], record["versions"], record["rows"]
    limit = enumerated([str(n) for n in sorted(set(rows["train_limit"].dropna().astype(int)))])
    counts = rows.groupby(list(BY))["seed"].nunique()
    seeds = "1 seed" if counts.max() == 1 else f"{counts.max()} seeds"
    if counts.min() == 1 < counts.max():
        seeds += ", one where no interval is given"
    return (
        f"measured by the benchmark of {record['made']} · {made['processor']}, {made['threads']}"
        f" thread · anomalib {versions['anomalib']}, PyTorch {made['torch']} · {limit} nominal"
        f" training images · {seeds}"
    )


def _data(row: pd.Series) -> str:
    return f"{row['category']} (drawn)" if row["drawn"] else str(row["category"])


def _level(contamination: float) -> str:
    return f"{100 * contamination:g} %" if contamination else "clean"


def _interval(row: pd.Series) -> str:
    text = f"{row['mean']:.3f}"
    return text if row["n"] < 2 else f"{text} [{row['low']:.3f}, {row['high']:.3f}]"
