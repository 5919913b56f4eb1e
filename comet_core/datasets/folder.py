"""Any folder of images, nested or flat, of which nothing is known.

All images join the training set, unlabelled; there is no test set. To have one, name its subfolder
with `test`; its images are unlabelled too.
"""

from __future__ import annotations

from pathlib import Path

from comet_core.datasets.base import Dataset, Record
from comet_core.datasets.listing import existing_folder, scan, suggest, walk
from comet_core.errors import InputError


def categories(root: Path) -> list[str]:
    """One name, the folder's."""
    return [existing_folder(root).resolve().name]


def load(root: Path, category: str | None, test: str | None = None) -> Dataset:
    """The images below a folder.

    Args:
        root: the folder.
        category: None or the folder's own name; or a subfolder, to read that alone.
        test: name of the subfolder that holds the test images.
    """
    own = existing_folder(root).resolve().name
    folder = root if category in (None, own) else root / str(category)
    if not folder.is_dir():
        nearest = suggest(str(category), scan(root).folders)
        hint = f"did you mean '{nearest}'?" if nearest else "leave the category out."
        raise InputError(f"no folder '{category}' in '{root}'; {hint}")
    found, skipped = walk(folder)
    held_out = f"{test}/" if test else None
    train = tuple(
        Record(name, folder / name, "train")
        for name in found
        if not (held_out and name.startswith(held_out))
    )
    tested = tuple(
        Record(name, folder / name, "test")
        for name in found
        if held_out and name.startswith(held_out)
    )
    if not train or (test and not tested):
        where = folder if not train else folder / str(test)
        reason = f" ({skipped[0]})" if skipped else ""
        raise InputError(f"'{where}' holds no images{reason}; check the path.")
    name = folder.resolve().name
    notes = ("unlabelled images: scores and weights can be computed, detection not measured",)
    return Dataset("folder", name, folder, train, tested, tuple(skipped), notes=notes)
