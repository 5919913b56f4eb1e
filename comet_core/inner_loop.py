"""What meta-learning adds, and which part of it does: the inner loop, or the smaller sample.

An outer step is taken at adapted parameters (equation 7), and it sees the validation parts of the
tasks, fewer images than a plain step does. With `inner_steps=0` the second stays and the first
goes, so that paired runs tell the two apart. Whether plain training for fewer epochs would protect
as well is asked by `shorter`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from comet_core import records
from comet_core.effects import OPEN, points, side, unsettled, with_interval
from comet_core.evidence import BASELINE, METHOD
from comet_core.names import enumerated, label
from comet_core.statistics import Interval, paired_difference

WITHOUT = {"meta": BASELINE, METHOD: "soft"}
"""Strategies with meta-learning, and what each is without it."""
LOOP = "the inner loop"
PARTS = ("all of it", "fewer images a step", LOOP)
"""Of the effect of meta-learning: the whole, and its two parts."""
STRONGER = (1.0, 10.0)
"""Inner steps to try with DifferNet: a thousand and ten thousand times the default."""
TARGET = "bench-inner-loop"
"""What `make` calls the benchmark."""
COLUMNS = ["category", "contamination", "detector", "strategy", "inner_steps", "epochs", "seed"]
"""What tells the runs of a record apart; beside it they have `MEASURED`."""
MEASURED = ["synthetic", "image_auroc"]


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


def stronger(base: Mapping[str, Any]) -> list[dict[str, Any]]:
    """CoMet with inner steps of other lengths, to ask whether one that long is felt.

    Args:
        base: a grid whose strategy and alpha are set here.
    """
    return [{**base, "strategy": METHOD, "alpha": list(STRONGER)}]


def stronger_in_words(rows: pd.DataFrame, without: pd.DataFrame) -> str:
    """By how much runs with longer inner steps differ from those without an inner loop.

    Args:
        rows: of `experiments.run(stronger(base))`, of one detector.
        without: of `experiments.run(grids([base]))`; others may be among them.
    """
    keys = ["category", "detector", "seed"]
    control = without[(without["strategy"] == METHOD) & (without["inner_steps"] == 0)]
    both = rows.merge(control[[*keys, "image_auroc"]], on=keys, suffixes=("", "_control"))
    both = both.assign(change=(both["image_auroc"] - both["image_auroc_control"]).abs())
    told = []
    for alpha, group in both.groupby("alpha"):
        count, most = int((group["change"] > 0).sum()), group["change"].max()
        ending = f", by {points(most, sign='')} points at most" if count else ""
        told.append(f"with α = {alpha:g}, {count} of {len(group)} runs differ{ending}")
    return f"{label(str(rows['detector'].iloc[0]))}, CoMet against no inner loop: " + (
        "; ".join(told) + "."
    )


def lengths(base: Mapping[str, Any], epochs: Sequence[int]) -> list[dict[str, Any]]:
    """Plain and CoMet for fewer epochs than usual, on clean data as well.

    Args:
        base: a grid whose strategies, epochs and contamination are set here.
        epochs: numbers of epochs to try beside that of the profile.
    """
    clean = {**base, "strategy": [BASELINE, METHOD], "contamination": 0.0}
    fewer = {"strategy": [BASELINE, METHOD], "contamination": [0.0, base["contamination"]]}
    return [clean, {**base, **fewer, "epochs": list(epochs)}]


def shorter(rows: pd.DataFrame) -> pd.DataFrame:
    """I-AUROC by the number of epochs, clean and contaminated, and what CoMet adds.

    Args:
        rows: of `experiments.run(lengths(base, epochs))` and of the same base at its usual length;
            others are left out.

    Returns:
        One row for each category, detector and number of epochs: these three; clean_plain,
        clean_comet, plain and comet, means over seeds; mean, low, high, n of CoMet minus plain in
        paired contaminated runs. Numbers of epochs without contaminated runs have no row.
    """
    whole = rows[(rows["inner_steps"] > 0) & rows["strategy"].isin([BASELINE, METHOD])]
    dirty = whole[whole["contamination"] > 0]
    by = ["category", "detector", "epochs"]
    table = paired_difference(
        dirty, "image_auroc", "strategy", METHOD, BASELINE, by, pair=("seed",)
    ).drop(columns=["pairs", "wins"])
    for prefix, some in (("", dirty), ("clean_", whole[whole["contamination"] == 0])):
        means = some.pivot_table("image_auroc", by, "strategy").add_prefix(prefix)
        table = table.merge(means.reset_index(), on=by, how="left")
    several = table.groupby(by[:2])["epochs"].transform("nunique") > 1
    return table[several].sort_values(by, ignore_index=True)


def shorter_shown(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `shorter` as text, in percent and points."""
    percent = {
        "clean plain": "clean_plain",
        "clean CoMet": "clean_comet",
        "contaminated plain": "plain",
        "contaminated CoMet": "comet",
    }
    columns: dict[str, Any] = {
        "data": table["category"].str.replace("_", " "),
        "detector": table["detector"].map(label),
        "epochs": table["epochs"],
    }
    columns |= {name: [f"{100 * one:.1f}" for one in table[key]] for name, key in percent.items()}
    columns["CoMet − plain, points"] = [
        with_interval(Interval.of(row)) for row in table.to_dict("records")
    ]
    return pd.DataFrame(columns)


def shorter_in_words(table: pd.DataFrame) -> str:
    """A line on each group: whether plain training that is cut short protects as CoMet does."""
    words = []
    for name, group in table.groupby(["category", "detector"], sort=False):
        category, detector = map(str, name)
        full, best = group.iloc[-1], group.sort_values("plain").iloc[-1]
        lost = full["clean_plain"] - best["clean_plain"]
        cost = points(full["clean_plain"] - full["clean_comet"], sign="")
        words.append(
            f"- {category.replace('_', ' ')}, {label(detector)}: contaminated, CoMet has"
            f" {100 * full['comet']:.1f} % after {full['epochs']} epochs and plain training"
            f" {100 * full['plain']:.1f} %. At best, which only labels tell, plain training has"
            f" {100 * best['plain']:.1f} %, after {best['epochs']} epochs, where CoMet changes it"
            f" by {with_interval(Interval.of(best))} points. On clean data stopping there costs"
            f" {points(lost, sign='')} points, CoMet at full length {cost}."
        )
    return "\n".join(words)


def shorter_headline(table: pd.DataFrame) -> str:
    """One sentence: whether plain training that ends early does as well as CoMet at full length.

    Args:
        table: of `shorter`.
    """
    groups = [group for _, group in table.groupby(["category", "detector"], sort=False)]
    ahead = sum(bool(one["plain"].iloc[:-1].max() >= one["comet"].iloc[-1]) for one in groups)
    detectors = enumerated([label(str(name)) for name in table["detector"].unique()])
    return (
        f"{detectors}, trained plainly for fewer epochs, has at least the mean I-AUROC of CoMet at"
        f" full length on {ahead} of {len(groups)} data sets, but only labels tell when to stop."
    )


def parts(rows: pd.DataFrame, by: Sequence[str] = ("detector",)) -> pd.DataFrame:
    """What meta-learning and its parts add to I-AUROC, in paired runs.

    Args:
        rows: of `experiments.run(grids(bases))`; of a record, those of the most epochs.
        by: columns that each group of runs is alike in.

    Returns:
        One row for each group, strategy of `WITHOUT` and part of `PARTS`: the columns of `by`,
        strategy, part, and mean, low, high, n of the difference, in fractions; the first part is
        the sum of the two others.

    Raises:
        InputError: runs of a side are missing.
    """
    pair = [name for name in ("seed", "category") if name not in by]
    usual = rows.groupby(["category", "detector"])["epochs"].transform("max")
    rows = rows[(rows["contamination"] > 0) & (rows["epochs"] == usual)]
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
        found = {row["part"]: Interval.of(row) for row in group.to_dict("records")}
        told = {part: with_interval(one) for part, one in found.items()}
        loop = found[LOOP]
        if math.isnan(loop.low):
            verdict = "one seed cannot tell that from chance"
        elif side(loop) != OPEN:
            verdict = "it helps" if loop.mean > 0 else "it harms"
        elif loop.low == loop.high == 0:
            verdict = "no run differs"
        else:
            verdict = unsettled(max(abs(loop.low), abs(loop.high)))
        *data, detector = map(str, name)
        subject = ", ".join([*(one.replace("_", " ") for one in data), label(detector)])
        words.append(
            f"- {subject}: meta-learning changes I-AUROC by {told[PARTS[0]]} points. Without its"
            f" inner loop the change is {told[PARTS[1]]}, so the loop itself makes"
            f" {told[LOOP]}: {verdict}."
        )
    return "\n".join(words)


def headline(table: pd.DataFrame) -> str:
    """Where CoMet's meta-learning adds anything, and where its inner loop does, in two sentences.

    Args:
        table: of `parts`.
    """
    own = table[table["strategy"] == METHOD]
    found = {
        part: [Interval.of(row) for row in own[own["part"] == part].to_dict("records")]
        for part in PARTS
    }
    settled = {part: [one for one in all_ if side(one) != OPEN] for part, all_ in found.items()}
    whole, smaller, loop = (settled[part] for part in PARTS)
    cases = len(found[LOOP])
    means = sorted(one.mean for one in whole)
    words = (
        f"{label(METHOD)} weighs images and trains by meta-learning. What the second adds to the"
        f" first is settled in {len(whole)} of {cases} cases"
    )
    if means:
        words += f" ({points(means[0])} to {points(means[-1])} points)"
    words += f", what its inner loop adds in {len(loop) or 'none'}"
    gained = whole and smaller and all(one.mean > 0 for one in (*whole, *smaller))
    if gained and not loop:
        words += ": the gain is that of steps which see fewer images"
    return f"{words}."


def read_record(path: Path) -> dict[str, Any]:
    """What `benchmarks/inner_loop.py --out` wrote; see `records.read_record`."""
    return records.read_record(path, TARGET, {*COLUMNS, *MEASURED})


def check(path: Path) -> None:
    """Whether runs can be added to a record; see `records.check`."""
    records.check(path, TARGET, {*COLUMNS, *MEASURED})


def add(rows: pd.DataFrame, path: Path, about: Mapping[str, Any]) -> None:
    """Add runs to a record; those that it has already are replaced.

    Args:
        rows: of `experiments.run` of the grids above.
        path: of the record, which is begun where there is none.
        about: when and where they were made.
    """
    new = rows[[*COLUMNS, *MEASURED]].round({"image_auroc": 5})
    records.add_rows(new, path, TARGET, about, COLUMNS)


def described(record: Mapping[str, Any]) -> str:
    """One line that says what was measured, when and on what."""
    rows, made = record["rows"], record["machine"]
    levels = sorted(set(rows["contamination"]) - {0.0})
    sources = [
        name for name, one in (("real", False), ("drawn", True)) if one in set(rows["synthetic"])
    ]
    told = ", ".join(f"{100 * one:g} %" for one in levels)
    return (
        f"measured by the benchmark of {record['made']} · {made['processor']} · PyTorch"
        f" {made['torch']} · {' and '.join(sources)} images · {told} contamination ·"
        f" {rows['seed'].nunique()} seeds"
    )
