"""Data sets by name, as people have them on disk.

A data set is a module with `load(root, category, **layout) -> Dataset` and `categories(root)`, and
one line in `DATASETS`.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

from comet_core.datasets import (
    btad,
    csv,
    folder,
    ksdd2,
    ksdd2_clean,
    mvtec_ad,
    viaduct,
    visa,
)
from comet_core.datasets.base import ANOMALOUS, NOMINAL, Dataset, Image, Record, Skipped, images
from comet_core.datasets.listing import suggest
from comet_core.datasets.manifest import annotate
from comet_core.errors import InputError

__all__ = [
    "ANOMALOUS",
    "DATASETS",
    "NOMINAL",
    "Dataset",
    "Image",
    "Record",
    "Skipped",
    "categories",
    "images",
    "load",
]

DATASETS: dict[str, ModuleType] = {
    "mvtec_ad": mvtec_ad,
    "ksdd2": ksdd2,
    "ksdd2_clean": ksdd2_clean,
    "viaduct": viaduct,
    "visa": visa,
    "btad": btad,
    "folder": folder,
    "csv": csv,
}


def load(
    dataset: str,
    data_root: str | os.PathLike[str],
    category: str | None = None,
    *,
    strict: bool = False,
    **layout: Any,
) -> Dataset:
    """List one category of a data set.

    No image is opened: files that do not decode are found when their features are extracted.
    Files that cannot belong to the data set (`comet_core.datasets.listing` has the rule) are left
    out, counted in one warning and kept in `Dataset.skipped`.

    Args:
        dataset: a key of `DATASETS`.
        data_root: the folder that holds the categories, or a category's own folder.
        category: its name; may be None where there is only one.
        strict: refuse a data set from which anything was left out.
        **layout: settings of the data set's layout, where it has any.

    Raises:
        InputError: unknown name, category or setting, wrong path, an empty split, or something was
            left out under `strict`.
    """
    module, root = _module(dataset), Path(data_root).expanduser()
    known = list(inspect.signature(module.load).parameters)[2:]
    unknown = [name for name in layout if name not in known]
    if unknown:
        settings = ", ".join(known) or "none"
        raise InputError(
            f"data set '{dataset}' has no setting '{unknown[0]}'; its settings: {settings}."
        )
    loaded = annotate(module.load(root, category, **layout), root)
    if loaded.skipped:
        _report(loaded, strict)
    return loaded


def categories(dataset: str, data_root: str | os.PathLike[str]) -> list[str]:
    """Names of the categories that a data root holds, sorted.

    Raises:
        InputError: unknown data set or wrong path.
    """
    return list(_module(dataset).categories(Path(data_root).expanduser()))


def _module(dataset: str) -> ModuleType:
    if dataset not in DATASETS:
        nearest = suggest(dataset, list(DATASETS))
        hint = f"did you mean '{nearest}'? " if nearest else ""
        raise InputError(f"no data set '{dataset}'; {hint}There are {', '.join(DATASETS)}.")
    return DATASETS[dataset]


def _report(dataset: Dataset, strict: bool) -> None:
    count = len(dataset.skipped)
    reasons = Counter(skip.reason for skip in dataset.skipped).most_common(3)
    summary = ", ".join(f"{reason}: {n}" for reason, n in reasons)
    message = (
        f"{count} file{'s' if count > 1 else ''} of '{dataset.root}' cannot be used ({summary}), "
        f"the first is '{dataset.skipped[0].path}'"
    )
    if strict:
        raise InputError(f"{message}; remove them, or load without strict to leave them out.")
    warnings.warn(f"{message}; left out.", stacklevel=3)
