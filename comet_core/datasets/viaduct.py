"""VIADUCT (Fraunhofer IPK, fordatis/363): product variants, each seen by several cameras.

The layout is not verified against the owner's archives. By default it is that of MVTec AD, which is
also what public third-party loaders expect: CATEGORY/train/good, CATEGORY/test/{good,DEFECT} and
masks in CATEGORY/ground_truth/DEFECT under the image's own name. Where yours differs, pass the
names of the folders. A `val` folder is not read.
"""

from __future__ import annotations

from pathlib import Path

from comet_core.datasets.base import Dataset
from comet_core.datasets.layout import FolderLayout

UNVERIFIED = "the layout of VIADUCT is assumed, not verified against the owner's archives"


def categories(root: Path) -> list[str]:
    """Names of the categories below `root`, or of `root` itself."""
    return FolderLayout().categories(root)


def load(
    root: Path,
    category: str | None,
    train: str = "train",
    test: str = "test",
    masks: str = "ground_truth",
    good: str = "good",
    mask_suffix: str = "_mask",
) -> Dataset:
    """The records of one category; the settings are those of `FolderLayout`."""
    layout = FolderLayout(train, test, masks, good, mask_suffix)
    return layout.load("viaduct", root, category, notes=[UNVERIFIED])
