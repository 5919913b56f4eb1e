"""What the record of the benchmark says: ratios, straight lines, tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from comet_core.names import label
from comet_core.speed import WAYS

AIM = 15
"""How many times as long the usual way should take."""


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """How many times the usual way takes as long as ours: detector, images, total and epoch."""
    keys = ["detector", "images"]
    sides = [rows[rows["way"] == way].set_index(keys) for way in WAYS]
    wanted = {"total": "total_seconds", "epoch": "epoch_seconds", "memory": "peak_memory_mb"}
    table = {name: sides[0][column] / sides[1][column] for name, column in wanted.items()}
    return pd.DataFrame(table).dropna().reset_index()


def scaling(rows: pd.DataFrame) -> pd.DataFrame:
    """Straight lines through total seconds over the number of images, by least squares.

    The squares are of relative errors, so that small sizes count as much as large ones.

    Returns:
        detector, way, seconds_per_image, seconds_fixed, and `off_line`, the largest distance of a
        measurement from its line as a share of the line; sizes of which there are fewer than three
        give none.
    """
    lines = []
    for (detector, way), group in rows.groupby(["detector", "way"], sort=False):
        if len(group) < 3:
            continue
        n, seconds = group["images"].to_numpy(float), group["total_seconds"].to_numpy()
        slope, fixed = np.polyfit(n, seconds, 1, w=1 / seconds)
        line = fixed + slope * n
        lines.append(
            {
                "detector": detector,
                "way": way,
                "seconds_per_image": slope,
                "seconds_fixed": fixed,
                "off_line": float(np.abs(seconds / line - 1).max()),
            }
        )
    return pd.DataFrame(lines)


def overview(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of `compare` for people: one line a detector and size, both ways side by side."""
    lines = []
    for (detector, images), group in rows.groupby(["detector", "images"], sort=False):
        usual, ours = (group[group["way"] == way].iloc[0] for way in WAYS)
        lines.append(
            {
                "detector": label(str(detector)),
                "images": images,
                "usual way": clock(usual["total_seconds"]),
                "ours": clock(ours["total_seconds"]),
                "ratio": f"{usual['total_seconds'] / ours['total_seconds']:.0f}",
                "memory, usual": f"{usual['peak_memory_mb'] / 1024:.2f} GB",
                "memory, ours": f"{ours['peak_memory_mb'] / 1024:.2f} GB",
                "I-AUROC, usual": float(usual["image_auroc"]),
                "I-AUROC, ours": float(ours["image_auroc"]),
            }
        )
    return pd.DataFrame(lines)


def findings(rows: pd.DataFrame) -> str:
    """What the measurement says of the aims, in sentences."""
    found = ratios(rows)
    words = []
    for detector, group in found.groupby("detector", sort=False):
        low, high = group["total"].min(), group["total"].max()
        span = f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
        verdict = "reached" if low >= AIM else "missed"
        words.append(
            f"{label(str(detector))} trains {span} times as fast as in the usual way"
            f" (aim: {AIM}; {verdict})."
        )
    worst = rows["score_difference"].max()
    digit, exponent = f"{worst:.0e}".split("e")
    apart = (
        f"differ by at most ${digit} \\cdot 10^{{{int(exponent)}}}$ of their standard deviation"
        if worst
        else "are equal"
    )
    words.append(f"The test scores of the two ways {apart} after the epochs that both trained.")
    lines = scaling(rows)
    if len(lines):
        off = 100 * lines["off_line"].max()
        verdict = "reached" if off <= 10 else "missed"
        words.append(
            f"Times lie within {off:.0f} % of straight lines in the number of images (aim: 10 %;"
            f" {verdict})."
        )
    return " ".join(words)


def described(record: Mapping[str, Any]) -> str:
    """One line that says what was measured, when and on what."""
    made, images = record["machine"], record["images"]
    source = "drawn" if images["source"] == "drawn" else images["source"]
    how = "all epochs measured" if record["all_epochs_measured"] else "calculated from a few epochs"
    return (
        f"measured {record['made']} · {made['processor']}, {made['threads']} thread · "
        f"PyTorch {made['torch']} · {source} images '{images['category']}' · {how}"
    )


def clock(seconds: float) -> str:
    """Seconds as people say them: "12 s", "3.5 min", "1.2 h"."""
    unit, name = (1, "s") if seconds < 60 else (60, "min") if seconds < 3600 else (3600, "h")
    value = seconds / unit
    return f"{value:.{0 if value >= 10 or value == round(value) else 1}f} {name}"
