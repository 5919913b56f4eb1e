"""What data sets, detectors, strategies and metrics are called where people read."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

NAMES = {"mvtec_ad": "MVTec AD", "ksdd2": "KSDD2", "ksdd2_clean": "KSDD2", "viaduct": "VIADUCT"}
"""Data sets as people write them."""
LABELS = {
    "image_auroc": "I-AUROC",
    "auroc": "AUROC",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "simplenet": "SimpleNet",
    "differnet": "DifferNet",
    "memory_bank": "memory bank",
    "softpatch": "SoftPatch",
    "plain": "plain",
    "comet": "CoMet",
    "comet+": "CoMet+",
}
"""How metrics, detectors and strategies are written in tables and figures."""
MVTEC_AD = frozenset(
    (
        *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut"),
        *("pill", "screw", "tile", "toothbrush", "transistor", "wood", "zipper"),
    )
)
"""The categories of MVTec AD. Its layout is everybody's, so a folder that only looks like it must
not be set beside the paper's numbers for it."""


def label(name: str) -> str:
    """A metric, detector or strategy as it is written in tables; itself if it has no other name."""
    return LABELS.get(name, name)


def enumerated(words: Sequence[str]) -> str:
    """Words as in a sentence: "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def data_names(rows: pd.DataFrame) -> dict[str, str]:
    """What to call each data set: stand-ins say so, and so do folders of unknown origin."""
    found = {}
    for dataset, part in rows.groupby("dataset", sort=False):
        name = NAMES.get(str(dataset), str(dataset))
        if part["synthetic"].all():
            name += " stand-in"
        elif dataset not in published(rows):
            name = "layout of " + name
        found[str(dataset)] = name
    return found


def published(rows: pd.DataFrame) -> list[str]:
    """Data sets among the runs' that are, or stand in for, what their name says."""
    known = []
    for dataset, part in rows.groupby("dataset"):
        ours = part["synthetic"].all() or set(part["category"]) <= MVTEC_AD
        if dataset != "mvtec_ad" or ours:
            known.append(str(dataset))
    return known


def readable(name: str) -> str:
    """A file's name that can be written: bytes that are no Unicode become an escape, `\\udcff`."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
