"""BTAD (Mishra et al., ISIE 2021): three products, named 01, 02 and 03.

CATEGORY/train/ok, CATEGORY/test/{ok,ko}, CATEGORY/ground_truth/ko under the image's own name.
"""

from __future__ import annotations

from pathlib import Path

from comet_core.datasets.base import Dataset
from comet_core.datasets.layout import FolderLayout

LAYOUT = FolderLayout(good="ok", mask_suffix="")


def categories(root: Path) -> list[str]:
    """Names of the categories below `root`, or of `root` itself."""
    return LAYOUT.categories(root)


def load(root: Path, category: str | None) -> Dataset:
    """The records of one category."""
    return LAYOUT.load("btad", root, category)
