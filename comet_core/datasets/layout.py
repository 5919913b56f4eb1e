"""The layout that MVTec AD made common: split / kind / image, and masks in a tree of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from comet_core.datasets.base import ANOMALOUS, NOMINAL, Dataset, Record, Skipped
from comet_core.datasets.listing import categories_in, locate, scan
from comet_core.errors import InputError


@dataclass(frozen=True)
class FolderLayout:
    """Names of the folders of one category, each relative to it."""

    train: str = "train"
    """Holds `good` with the training images."""
    test: str = "test"
    """Holds `good` and one folder for each kind of defect."""
    masks: str = "ground_truth"
    """Holds one folder of masks for each kind of defect."""
    good: str = "good"
    mask_suffix: str = "_mask"
    """The mask of NAME.* is NAME + mask_suffix, or else NAME, with any image suffix."""

    def holds_data(self, folder: Path) -> bool:
        """Whether a folder looks like a category."""
        return (folder / self.train).is_dir() or (folder / self.test / self.good).is_dir()

    def categories(self, root: Path) -> list[str]:
        """Names of the categories below `root`, or of `root` itself."""
        return categories_in(root, self.holds_data)

    def load(
        self, name: str, root: Path, category: str | None, notes: Sequence[str] = ()
    ) -> Dataset:
        """The records of one category; nothing is opened.

        Raises:
            InputError: there is no such category, or one of its splits is empty.
        """
        wanted = f"{self.train}/{self.good} and {self.test}"
        category, folder = locate(root, category, self.holds_data, wanted)
        skipped: list[Skipped] = []

        tree = scan(folder / self.train)
        skipped += tree.skipped
        skipped += [
            Skipped(folder / self.train / other, f"only '{self.train}/{self.good}' is read")
            for other in (*tree.images, *tree.folders)
            if other != self.good
        ]
        good = scan(folder / self.train / self.good)
        skipped += good.skipped
        prefix = f"{category}/{self.train}/{self.good}/"
        train = tuple(
            Record(prefix + file, path, "train", NOMINAL, kind="good")
            for file, path in _paths(folder / self.train / self.good, good.images)
        )

        tree = scan(folder / self.test)
        skipped += tree.skipped
        skipped += [
            Skipped(folder / self.test / file, "not in the folder of a kind")
            for file in tree.images
        ]
        test: list[Record] = []
        unmasked = 0
        for kind in tree.folders:
            here = scan(folder / self.test / kind)
            skipped += here.skipped
            nominal = kind == self.good
            masks = {} if nominal else self._masks(folder, kind, here.images, skipped)
            unmasked += 0 if nominal else sum(Path(file).stem not in masks for file in here.images)
            prefix = f"{category}/{self.test}/{kind}/"
            test += [
                Record(
                    prefix + file,
                    path,
                    "test",
                    NOMINAL if nominal else ANOMALOUS,
                    masks.get(path.stem),
                    "good" if nominal else kind,
                )
                for file, path in _paths(folder / self.test / kind, here.images)
            ]
        for split, records in ((self.train, train), (self.test, test)):
            if not records:
                reason = f" ({skipped[0]})" if skipped else ""
                raise InputError(
                    f"category '{category}' in '{folder}' has no images in '{split}'{reason}; "
                    f"expected {wanted}, or read unlabelled images with the data set 'folder'."
                )
        more = (f"anomalous test images without a mask: {unmasked}",) if unmasked else ()
        return Dataset(
            name, category, folder, train, tuple(test), tuple(skipped), notes=(*notes, *more)
        )

    def _masks(
        self, folder: Path, kind: str, files: Sequence[str], skipped: list[Skipped]
    ) -> dict[str, Path]:
        """Masks of one kind by the stem of their image; those without an image are left out."""
        home = folder / self.masks / kind
        if not home.is_dir():
            return {}
        listing = scan(home)
        skipped += listing.skipped
        by_stem = {path.stem: path for _, path in _paths(home, listing.images)}
        masks: dict[str, Path] = {}
        for stem in (Path(file).stem for file in files):
            mask = by_stem.get(stem + self.mask_suffix) or by_stem.get(stem)
            if mask is not None:
                masks[stem] = mask
        used = set(masks.values())
        skipped += [
            Skipped(path, "mask without an image") for path in by_stem.values() if path not in used
        ]
        return masks


def _paths(folder: Path, files: Sequence[str]) -> list[tuple[str, Path]]:
    return [(file, folder / file) for file in files]
