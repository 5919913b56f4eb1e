"""An unlabelled folder whose truth is known: what a search for suspicious images is measured on.

Good and defective images of a labelled data set are copied into one folder, shuffled, under names
that tell nothing. The truth comes back as a table and is not written beside the images.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from comet_core.datasets.base import ANOMALOUS, NOMINAL, Dataset
from comet_core.datasets.contamination import injection_order
from comet_core.errors import InputError

_TRUTH = {NOMINAL: "nominal", ANOMALOUS: "anomalous", None: "unknown"}


def mix(dataset: Dataset, defective: int, folder: Path, seed: int = 0) -> pd.DataFrame:
    """Copy all training images and some defective test images into one folder, as 0000.png, ...

    Args:
        dataset: as loaded.
        defective: how many defective test images; their kinds in proportion, as `contaminate` does.
        folder: where to; it must not exist, or be empty.
        seed: decides which defective images, and the order of all.

    Returns:
        One row an image: path (the new name), source (the record's id), kind, and truth: "nominal",
        "boundary", "anomalous" or "unknown".

    Raises:
        InputError: there are fewer defective images, or the folder holds something.
    """
    order = injection_order(dataset.test, seed)
    if not 0 <= defective <= len(order):
        raise InputError(
            f"{defective} defective images of '{dataset.category}' are wanted, and its test set "
            f"has {len(order)}; ask for 0 to {len(order)}."
        )
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"'{folder}' is not empty; give a new folder for the mixture.")
    folder.mkdir(parents=True, exist_ok=True)
    records = [*dataset.train, *order[:defective]]
    rows = []
    for number, index in enumerate(np.random.default_rng(seed).permutation(len(records))):
        record = records[index]
        name = f"{number:04}{record.path.suffix.lower()}"
        shutil.copyfile(record.path, folder / name)
        rows.append((name, record.id, record.kind, record.truth or _TRUTH[record.label]))
    return pd.DataFrame(rows, columns=["path", "source", "kind", "truth"])
