"""KolektorSDD2 (Bozic et al., Computers in Industry 2021): grey surfaces, dirty by nature.

train/ and test/ hold NAME.png with its mask NAME_GT.png; an empty mask means nominal. The published
training set has 246 defective images among 2,331 (10.6 %), and they stay in it: this is the native,
contaminated setting. `ksdd2_clean` leaves them out.

The label lies in the mask, so this loader alone has to decode files, the masks. An image whose mask
is missing or does not decode has no label and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Literal

from comet_core.datasets.base import ANOMALOUS, NOMINAL, Dataset, Record, Skipped
from comet_core.datasets.listing import categories_in, locate, scan
from comet_core.errors import InputError
from comet_core.images import read_mask

CATEGORY = "ksdd2"
UNREADABLE = "its mask cannot be read, so no label"
COPY = " (copy)"
"""The published archive holds one image and its mask a second time, under this name."""


def _holds_data(folder: Path) -> bool:
    flat = (folder / "train").is_dir() and (folder / "test").is_dir()
    return flat and not (folder / "train" / "good").is_dir()


def categories(root: Path) -> list[str]:
    """One name: the data set has no categories."""
    return [CATEGORY] if categories_in(root, _holds_data) else []


def load(root: Path, category: str | None, clean: bool = False) -> Dataset:
    """The records; `root` is the folder with train/ and test/, or the one above it.

    Args:
        root: where the data are.
        category: None, "ksdd2", or the folder's name if `root` is the folder above.
        clean: leave the defective images out of the training set.
    """
    if category == CATEGORY and not (root / CATEGORY).is_dir():
        category = None
    _, folder = locate(root, category, _holds_data, "flat train and test")
    skipped: list[Skipped] = []
    train = tuple(_split(folder, "train", skipped))
    test = tuple(_split(folder, "test", skipped))
    notes = ["an image is anomalous if its mask has any marked pixel"]
    dirty = sum(record.label == ANOMALOUS for record in train)
    if clean:
        train = tuple(record for record in train if record.label == NOMINAL)
        notes.append(f"{dirty} defective images were left out of the training set")
    elif dirty:
        share = dirty / len(train)
        notes.append(f"{dirty} of {len(train)} training images ({share:.1%}) are defective")
    for split, records in (("train", train), ("test", test)):
        if not records:
            reason = f" ({skipped[0]})" if skipped else ""
            raise InputError(
                f"'{folder / split}' holds no image NAME.png with a mask NAME_GT.png{reason}; "
                "check the path."
            )
    name = "ksdd2_clean" if clean else "ksdd2"
    return Dataset(name, CATEGORY, folder, train, test, tuple(skipped), notes=tuple(notes))


def _split(
    folder: Path, split: Literal["train", "test"], skipped: list[Skipped]
) -> Iterator[Record]:
    home = folder / split
    listing = scan(home)
    skipped += listing.skipped
    names = [name for name in listing.images if COPY not in name]
    masks = {Path(name).stem: home / name for name in names if Path(name).stem.endswith("_GT")}
    files = [name for name in names if Path(name).stem not in masks]
    stems = {Path(name).stem for name in files}
    skipped += [
        Skipped(path, "mask without an image")
        for stem, path in masks.items()
        if stem.removesuffix("_GT") not in stems
    ]
    paired = [masks.get(Path(name).stem + "_GT") for name in files]
    with ThreadPoolExecutor() as pool:
        labels = list(pool.map(_label, paired))
    for name, mask, label in zip(files, paired, labels, strict=True):
        if isinstance(label, str):
            skipped.append(Skipped(home / name, label))
        elif label == ANOMALOUS:
            yield Record(f"{split}/{name}", home / name, split, ANOMALOUS, mask, "defect")
        else:
            yield Record(f"{split}/{name}", home / name, split, NOMINAL, kind="good")


def _label(mask: Path | None) -> int | str:
    """The label that a mask stands for, or why there is none."""
    if mask is None:
        return "no mask, so no label"
    try:
        state = mask.stat()
    except OSError:
        return UNREADABLE
    return _label_of(mask, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2**14)
def _label_of(mask: Path, modified: int, size: int) -> int | str:
    """Once for each state of the file: a grid of runs lists the data set twice a run."""
    try:
        return ANOMALOUS if read_mask(mask).any() else NOMINAL
    except InputError:
        return UNREADABLE
