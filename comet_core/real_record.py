"""What the record of real images says: I-AUROC clean and contaminated, and what each method adds.

Images of others are not part of the project, so the book cannot train on them where it is built.
`benchmarks/accuracy.py --out` adds runs on a category to a record, from which the book shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from comet_core import records
from comet_core.beyond import BEST, ORACLE
from comet_core.effects import OPEN, UP, points, side
from comet_core.effects import with_interval as in_points
from comet_core.evidence import BASELINE, DETECTORS, METHOD
from comet_core.names import MVTEC_AD, enumerated, label
from comet_core.statistics import Interval, paired_difference

TARGET = "bench-real"
"""What `make` calls the benchmark."""
RUN = ["category", "detector", "method", "contamination", "seed"]
"""What names a run of the record."""
MEASURED = ["image_auroc", "image_auroc_copied", "image_auroc_new", "copied"]
"""What is told of it; the latter three as in `copies.apart`, of contaminated runs."""
METHODS = (BASELINE, "soft", METHOD, BEST, ORACLE)
NAMES = (*DETECTORS, *METHODS)
KEYS = ["category", "detector"]


def check(path: Path) -> None:
    """Whether runs can be added to a record; see `records.check`."""
    records.check(path, TARGET, [*RUN, *MEASURED])


def add(new: pd.DataFrame, path: Path, about: Mapping[str, Any]) -> None:
    """Add runs to a record; those that it has already are replaced.

    Args:
        new: the columns of `RUN`, and of `MEASURED` those there are.
        path: of the record, which is begun where there is none.
        about: when and where they were made.

    Raises:
        InputError: the file is another one.
    """
    told = new.reindex(columns=[*RUN, *MEASURED]).round(dict.fromkeys(MEASURED, 5))
    records.add_rows(told, path, TARGET, about, RUN, names=NAMES)


def read_record(path: Path) -> dict[str, Any]:
    """The record; its "rows" are a table.

    Raises:
        InputError: no such file, or another one.
    """
    return records.read_record(path, TARGET, [*RUN, *MEASURED])


def described(record: Mapping[str, Any]) -> str:
    """One line that says what the numbers were made from."""
    rows = record["rows"]
    levels = sorted(level for level in rows["contamination"].unique() if level > 0)
    return (
        f"real images: {enumerated([_data(name) for name in rows['category'].unique()])} · clean, "
        f"{enumerated([_level(level) for level in levels])} contamination · "
        f"{rows['seed'].nunique()} seeds · a record of {record['made']}"
    )


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """I-AUROC in percent as text: data, detector, and a column for each level and method."""
    columns: dict[str, list[str]] = {}
    groups = list(rows.groupby(KEYS, sort=False))
    levels = sorted(rows["contamination"].unique())
    for level in levels:
        for method in METHODS:
            found = [
                part.loc[
                    (part["contamination"] == level) & (part["method"] == method), "image_auroc"
                ].mean()
                for _, part in groups
            ]
            if any(value == value for value in found):
                name = f"{_level(level)}, {label(method)}"
                columns[name] = [f"{100 * one:.1f}" if one == one else "–" for one in found]
    data = [_data(str(category)) for (category, _), _ in groups]
    return pd.DataFrame(
        {"data": data, "detector": [label(str(name)) for (_, name), _ in groups], **columns}
    )


def gains(rows: pd.DataFrame) -> pd.DataFrame:
    """What each method adds to plain training, in paired runs.

    Returns:
        One row for each of `KEYS`, contamination and method but plain: these, mean, low, high and
        n, in fractions; the interval is over seeds.
    """
    found = []
    for method in METHODS[1:]:
        some = rows[rows["method"].isin([BASELINE, method])]
        both = some.groupby([*KEYS, "contamination"])["method"].transform("nunique") == 2
        if both.any():
            by = [*KEYS, "contamination"]
            gain = paired_difference(
                some[both], "image_auroc", "method", method, BASELINE, by, pair=("seed",)
            )
            found.append(gain.assign(method=method))
    return records.in_order(pd.concat(found), [*KEYS, "contamination", "method"], NAMES)


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """`gains` as `figures_effects.effects` draws them: a group for each data set and detector."""
    level = [f"{_level(one)}{' anomalous' if one else ''}" for one in table["contamination"]]
    where = [_data(name) for name in table["category"]]
    return table.assign(
        group=[f"{a}, {label(b)}" for a, b in zip(where, table["detector"], strict=True)],
        label=[f"{a}: {label(b)}" for a, b in zip(level, table["method"], strict=True)],
        bound=0.0,
    )


def findings(table: pd.DataFrame) -> str:
    """What `gains` say of CoMet, clean and contaminated, a line for each data set and detector."""
    lines = []
    for (category, detector), part in table.groupby(KEYS, sort=False):
        said = []
        for level, group in part[part["method"].isin([METHOD, BEST])].groupby("contamination"):
            told = []
            for row in group.to_dict("records"):
                found = Interval.of(row)
                gain = in_points(found) + ("" if side(found) != OPEN else " (not settled)")
                gain = "as plain in every run" if found.low == found.high == 0 else gain
                told.append(f"{label(row['method'])} {gain}")
            at = float(str(level))
            said.append(f"{'at ' if at else ''}{_level(at)} {enumerated(told)}")
        lines.append(f"- **{_data(str(category))}, {label(str(detector))}**: {'; '.join(said)}.")
    return "\n".join(lines)


def headline(table: pd.DataFrame) -> str:
    """One sentence on CoMet and contaminated images, and on which images, from `gains`."""
    dirty = table[(table["method"] == METHOD) & (table["contamination"] > 0)]
    level = enumerated([_level(one) for one in sorted(dirty["contamination"].unique())])
    names = enumerated([_data(str(name)) for name in dirty["category"].unique()])
    about = f"{names}; {level} anomalous, {dirty['n'].max()} seeds"
    return f"On real images ({about}) {gained(table)}."


def gained(table: pd.DataFrame, method: str = METHOD) -> str:
    """What a method adds to plain training on contaminated images, from `gains`, in half a line."""
    dirty = table[(table["method"] == method) & (table["contamination"] > 0)]
    settled = sum(side(Interval.of(row)) == UP for row in dirty.to_dict("records"))
    low, high = points(dirty["mean"].min()), points(dirty["mean"].max())
    return (
        f"{label(method)} changes the I-AUROC of plain training by {low} to {high} points in the "
        f"mean over seeds; {settled} of {len(dirty)} intervals lie above zero"
    )


def copies(rows: pd.DataFrame) -> pd.DataFrame:
    """Contaminated I-AUROC on anomalous test images with and without a copy among the injected.

    Returns:
        As text: data, detector, method, share of the anomalous test images that have one, I-AUROC
        on these, on the others and on all. Data without copies are left out.
    """
    dirty = rows[(rows["contamination"] > 0) & rows["image_auroc_copied"].notna()]
    table = dirty.groupby([*KEYS, "method"], sort=False)[MEASURED].mean().reset_index()
    columns = {
        "share / %": "copied",
        "nearly repeated": "image_auroc_copied",
        "new": "image_auroc_new",
        "all": "image_auroc",
    }
    return pd.DataFrame(
        {
            "data": table["category"].map(_data),
            "detector": table["detector"].map(label),
            "method": table["method"].map(label),
        }
        | {name: [f"{100 * one:.1f}" for one in table[key]] for name, key in columns.items()}
    )


def _level(contamination: float) -> str:
    return "clean" if contamination == 0 else f"{100 * contamination:g} %"


def _data(category: str) -> str:
    name = category.replace("_", " ")
    return f"MVTec AD {name}" if category in MVTEC_AD else name
