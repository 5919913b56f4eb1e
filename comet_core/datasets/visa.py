"""VisA (Zou et al., ECCV 2022): 12 objects, CC BY 4.0.

OBJECT/Data/Images/{Normal,Anomaly}, OBJECT/Data/Masks/Anomaly, and the published one-class split in
split_csv/1cls.csv (columns object, split, label, image, mask; paths below the data root). Without
that file every tenth normal image, by name, is held out for testing: not the published split, and
`Dataset.notes` says so. Masks number the kinds of defect from 1; all of them are kind "anomaly".
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from comet_core.datasets.base import ANOMALOUS, NOMINAL, Dataset, Record, Skipped
from comet_core.datasets.listing import categories_in, locate, scan
from comet_core.errors import InputError

IMAGES = {"normal": "Data/Images/Normal", "anomaly": "Data/Images/Anomaly"}
MASKS = "Data/Masks/Anomaly"
HOLD_OUT = 10


def _holds_data(folder: Path) -> bool:
    return (folder / IMAGES["normal"]).is_dir()


def categories(root: Path) -> list[str]:
    """Names of the objects below `root`, or of `root` itself."""
    return categories_in(root, _holds_data)


def load(root: Path, category: str | None, split_csv: str | None = None) -> Dataset:
    """The records of one object.

    Args:
        root: the folder that holds the objects, or an object's own folder.
        category: the object.
        split_csv: another split file of the same columns, below the folder of the objects.
    """
    category, folder = locate(root, category, _holds_data, IMAGES["normal"])
    table = folder.parent / (split_csv or "split_csv/1cls.csv")
    skipped: list[Skipped] = []
    found: dict[str, tuple[Path, str]] = {}
    for label, place in IMAGES.items():
        listing = scan(folder / place)
        skipped += listing.skipped
        for name in listing.images:
            found[f"{category}/{place}/{name}"] = (folder / place / name, label)
    masks = {Path(name).stem: folder / MASKS / name for name in scan(folder / MASKS).images}

    notes: tuple[str, ...] = ()
    if table.is_file() or split_csv:
        splits = _read_split(table, category)
        skipped += [
            Skipped(folder.parent / name, f"in '{table.name}' but not on disk")
            for name in splits
            if name not in found
        ]
    else:
        normal = [name for name, (_, label) in found.items() if label == "normal"]
        splits = dict.fromkeys(found, "test") | {
            name: "train" for i, name in enumerate(normal) if i % HOLD_OUT
        }
        notes = (
            f"no '{table.name}': one normal image in {HOLD_OUT} is held out, not as published",
        )

    train: list[Record] = []
    test: list[Record] = []
    for name, (path, label) in found.items():
        split = splits.get(name)
        mask = masks.get(path.stem) if label == "anomaly" else None
        truth = (ANOMALOUS, mask, "anomaly") if label == "anomaly" else (NOMINAL, None, "good")
        if split == "train":
            train.append(Record(name, path, "train", *truth))
        elif split == "test":
            test.append(Record(name, path, "test", *truth))
        else:
            skipped.append(Skipped(path, f"not in '{table.name}'"))
    for split, records in (("training", train), ("test", test)):
        if not records:
            raise InputError(f"'{folder}' has no {split} images under '{table}'; check the split.")
    return Dataset("visa", category, folder, tuple(train), tuple(test), tuple(skipped), notes=notes)


def _read_split(table: Path, category: str) -> dict[str, str]:
    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False)
        rows = rows[rows["object"] == category]
        return dict(zip(rows["image"], rows["split"], strict=True))
    except KeyError as error:
        raise InputError(f"split file '{table}' has no column {error}.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"split file '{table}' cannot be read ({error}).") from None
