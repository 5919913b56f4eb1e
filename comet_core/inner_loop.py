"""What meta-learning adds, and which part of it does: the inner loop, or the smaller sample.

An outer step is taken at adapted parameters (equation 7), and it sees the validation parts of the
tasks, fewer images than a plain step does. With `inner_steps=0` the second stays and the first
goes, so that paired runs tell the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from comet_core import records
from comet_core.effects import OPEN, points, side, with_interval
from comet_core.evidence import METHOD
from comet_core.names import label
from comet_core.statistics import Interval, paired_difference

WITHOUT = {"meta": "plain", METHOD: "soft"}
"""Strategies with meta-learning, and what each is without it."""
LOOP = "the inner loop"
PARTS = ("all of it", "fewer images a step", LOOP)
"""Of the effect of meta-learning: the whole, and its two parts."""
RUN = ["category", "contamination", "detector", "strategy", "inner_steps", "seed"]
"""What tells the runs of a record apart; beside it they have `image_auroc`."""


def grids(bases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Strategies with meta-learning, without it, and with it but for the inner loop.

    Args:
        bases: grids whose strategies are set here.
    """
    ways: tuple[dict[str, Any], ...] = (
        {"strategy": [*WITHOUT, *WITHOUT.values()]},
        {"strategy": list(WITHOUT), "inner_steps": 0},
    )
    return [{**base, **way} for base in bases for way in ways]


def parts(rows: pd.DataFrame, by: Sequence[str] = ("detector",)) -> pd.DataFrame:
    """What meta-learning and its parts add to I-AUROC, in paired runs.

    Args:
        rows: of `experiments.run(grids(bases))`.
        by: columns that each group of runs is alike in.

    Returns:
        One row for each group, strategy of `WITHOUT` and part of `PARTS`: the columns of `by`,
        strategy, part, and mean, low, high, n of the difference, in fractions; the first part is
        the sum of the two others.

    Raises:
        InputError: runs of a side are missing.
    """
    pair = [name for name in ("seed", "category") if name not in by]
    trained = rows["inner_steps"] > 0
    lines = []
    for strategy, without in WITHOUT.items():
        own = rows["strategy"] == strategy
        sides = {
            "whole": rows[own & trained],
            "control": rows[own & ~trained],
            "without": rows[rows["strategy"] == without],
        }
        both = pd.concat([some.assign(side=name) for name, some in sides.items()])
        pairs = (("whole", "without"), ("control", "without"), ("whole", "control"))
        for part, (first, second) in zip(PARTS, pairs, strict=True):
            found = paired_difference(both, "image_auroc", "side", first, second, by, pair=pair)
            lines.append(found.assign(strategy=strategy, part=part))
    table = pd.concat(lines)[[*by, "strategy", "part", *Interval._fields]]
    return table.sort_values(list(by), kind="stable", ascending=[one != "detector" for one in by])


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `parts` as `figures_effects.effects` takes them."""
    against = {name: f"{label(name)} against {label(without)}" for name, without in WITHOUT.items()}
    group = table["detector"].map(label) + ", " + table["strategy"].map(against)
    if "category" in table:
        group = table["category"].str.replace("_", " ") + ", " + group
    return table.assign(group=group, label=table["part"], bound=0.0)


def in_words(table: pd.DataFrame) -> str:
    """A line on each group: where the effect of CoMet's meta-learning comes from."""
    by = [name for name in ("category", "detector") if name in table]
    words = []
    for name, group in table[table["strategy"] == METHOD].groupby(by, sort=False):
        found = {row["part"]: _interval(row) for row in group.to_dict("records")}
        told = {part: with_interval(one) for part, one in found.items()}
        loop = found[LOOP]
        if side(loop) != OPEN:
            verdict = "it helps" if loop.mean > 0 else "it harms"
        elif loop.low == loop.high == 0:
            verdict = "no run differs"
        else:
            largest = points(max(abs(loop.low), abs(loop.high)), sign="")
            verdict = f"not settled, but no more than {largest} points fits"
        *data, detector = map(str, name)
        subject = ", ".join([*(one.replace("_", " ") for one in data), label(detector)])
        words.append(
            f"- {subject}: meta-learning changes I-AUROC by {told[PARTS[0]]} points. Without its"
            f" inner loop the change is {told[PARTS[1]]}, so the loop itself makes"
            f" {told[LOOP]}: {verdict}."
        )
    return "\n".join(words)


def read_record(path: Path) -> dict[str, Any]:
    """What `benchmarks/inner_loop.py --out` wrote; see `records.read_record`."""
    return records.read_record(path, "bench-inner-loop", {*RUN, "image_auroc"})


def add(rows: pd.DataFrame, path: Path, about: Mapping[str, Any]) -> None:
    """Add runs to a record; those that it has already are replaced.

    Args:
        rows: of `experiments.run(grids(bases))`.
        path: of the record, which is begun where there is none.
        about: when and where they were made.
    """
    new = rows[[*RUN, "image_auroc"]].round({"image_auroc": 5})
    before = read_record(path)["rows"] if path.exists() else new[:0]
    kept = pd.concat([before, new]).drop_duplicates(RUN, keep="last").sort_values(RUN)
    lines = kept.astype(object).to_numpy().tolist()
    records.write_record({**about, "columns": list(kept.columns), "rows": lines}, path)


def described(record: Mapping[str, Any]) -> str:
    """One line that says what was measured, when and on what."""
    rows, made = record["rows"], record["machine"]
    levels = ", ".join(f"{100 * one:g} %" for one in sorted(set(rows["contamination"])))
    return (
        f"reported by the benchmark of {record['made']} · {made['processor']} · PyTorch"
        f" {made['torch']} · real images · {levels} contamination ·"
        f" {rows['seed'].nunique()} seeds"
    )


def _interval(row: Mapping[Any, Any]) -> Interval:
    return Interval(row["mean"], row["low"], row["high"], row["n"])
