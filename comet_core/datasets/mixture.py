"""An unlabelled folder whose truth is known: what a search for suspicious images is measured on.

Good and defective images of a labelled data set are copied into one folder, shuffled, under names
that tell nothing. The truth comes back as a table and is not written beside the images.
"""

from __future__ import annotations

import hashlib
import os
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
        folder: where to; it may hold what an earlier call put there, and nothing else.
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
    records = [*dataset.train, *order[:defective]]
    rows: list[tuple[str, str, str, str]] = []
    sources: dict[str, Path] = {}
    for number, index in enumerate(np.random.default_rng(seed).permutation(len(records))):
        record = records[index]
        name = f"{number:04}{record.path.suffix.lower()}"
        rows.append((name, record.id, record.kind, record.truth or _TRUTH[record.label]))
        sources[name] = record.path
    folder.mkdir(parents=True, exist_ok=True)
    for there in folder.iterdir():
        if there.name.startswith("."):  # what an interrupted call was writing
            continue
        if there.name not in sources or there.read_bytes() != sources[there.name].read_bytes():
            raise InputError(f"'{folder}' holds other files; give a new folder for the mixture.")
    for name, source in sources.items():
        if not (folder / name).exists():
            aside = folder / f".{name}.{os.getpid()}"
            shutil.copyfile(source, aside)
            aside.replace(folder / name)
    return pd.DataFrame(rows, columns=["path", "source", "kind", "truth"])


def mix_below(
    dataset: Dataset, defective: int, below: Path, seed: int = 0
) -> tuple[Path, pd.DataFrame]:
    """A mixture in a folder whose name is its category's and a hash of all that decides it.

    Args:
        dataset, defective, seed: of `mix`.
        below: where the folder is made; one of an earlier call is used again.

    Returns:
        The folder and the truth.
    """
    text = f"{dataset.fingerprint()} {defective} {seed}"
    name = f"{dataset.category}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return below / name, mix(dataset, defective, below / name, seed)
