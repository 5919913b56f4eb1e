"""What is known of every sample of a drawn data set, for evaluation only.

A data root made by `data_scripts/make_synthetic.py` holds an empty marker file `SYNTHETIC` and a
`manifest.csv` with the columns `path` (below the manifest's folder, forward slashes) and `truth`
("nominal", "boundary" or "anomalous"). Both are looked for in the category's folder, in the one
above it and in the data root. Without the marker a `manifest.csv` of other columns is somebody
else's and is ignored. Truth goes into `Record.truth` and no further: training takes `Image`s, which
have none.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pandas as pd

from comet_core.datasets.base import Dataset, Record
from comet_core.errors import InputError

MARKER = "SYNTHETIC"
MANIFEST = "manifest.csv"
TRUTHS = ("nominal", "boundary", "anomalous")


def annotate(dataset: Dataset, data_root: Path) -> Dataset:
    """`dataset` with the truth of a manifest and the synthetic flag, where there are any.

    Raises:
        InputError: there is a manifest of ours and it cannot be read.
    """
    folders = dict.fromkeys((dataset.root, dataset.root.parent, data_root))
    synthetic = any((folder / MARKER).is_file() for folder in folders)
    truth: dict[str, str] = {}
    for folder in folders:
        if not (folder / MANIFEST).is_file():
            continue
        try:
            truth |= _read(folder / MANIFEST)
        except InputError:
            if (folder / MARKER).is_file():
                raise  # else it is somebody else's, of the same name

    def told(records: tuple[Record, ...]) -> tuple[Record, ...]:
        if not truth:
            return records
        return tuple(replace(record, truth=truth.get(str(record.path), "")) for record in records)

    return replace(dataset, train=told(dataset.train), test=told(dataset.test), synthetic=synthetic)


def _read(path: Path) -> dict[str, str]:
    """Truths by the path that a record of the file has. Raises `InputError` for any other file."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        truths = dict(zip(table["path"], table["truth"], strict=True))
    except KeyError as error:
        raise InputError(f"manifest '{path}' has no column {error}; make the data again.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"manifest '{path}' cannot be read ({error}); make it again.") from None
    unknown = set(truths.values()) - {*TRUTHS, ""}
    if unknown:
        raise InputError(
            f"manifest '{path}' has the truth '{min(unknown)}'; use {', '.join(TRUTHS)}."
        )
    above = str(path.parent / "x")[:-1]  # of Path(), nothing; joining Paths one by one is slow
    return {above + name.replace("/", os.sep): value for name, value in truths.items()}
