"""KolektorSDD2 with the defective images left out of its training set (see `ksdd2`)."""

from __future__ import annotations

from pathlib import Path

from comet_core.datasets import ksdd2
from comet_core.datasets.base import Dataset

categories = ksdd2.categories


def load(root: Path, category: str | None) -> Dataset:
    """The records, training images nominal only."""
    return ksdd2.load(root, category, clean=True)
