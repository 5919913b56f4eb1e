"""MVTec AD (Bergmann et al., CVPR 2019): 15 categories, CC BY-NC-SA 4.0.

CATEGORY/train/good, CATEGORY/test/{good,DEFECT}, CATEGORY/ground_truth/DEFECT/NAME_mask.png.
"""

from __future__ import annotations

from pathlib import Path

from comet_core.datasets.base import Dataset
from comet_core.datasets.layout import FolderLayout

LAYOUT = FolderLayout()


def categories(root: Path) -> list[str]:
    """Names of the categories below `root`, or of `root` itself."""
    return LAYOUT.categories(root)


def load(root: Path, category: str | None) -> Dataset:
    """The records of one category."""
    return LAYOUT.load("mvtec_ad", root, category)
