"""Tiny data sets on disk, in the layouts of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SHAPE = (8, 6)


def draw(path: Path, value: int = 100, shape: tuple[int, int] = SHAPE) -> Path:
    """One grey image whose pixels depend on `value`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def draw_mask(path: Path, marked: bool = True, shape: tuple[int, int] = SHAPE) -> Path:
    """One mask, empty or with its first two rows marked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(shape, np.uint8)
    pixels[:2] = 255 if marked else 0
    Image.fromarray(pixels).save(path)
    return path


def mvtec(
    root: Path,
    category: str = "bottle",
    train: int = 6,
    good: int = 3,
    defects: dict[str, int] | None = None,
    names: tuple[str, str] = ("good", "_mask"),
) -> Path:
    """The layout of MVTec AD; `names` are those of the nominal folder and of the masks."""
    folder, (nominal, suffix) = root / category, names
    for i in range(train):
        draw(folder / f"train/{nominal}/{i:03}.png", i)
    for i in range(good):
        draw(folder / f"test/{nominal}/{i:03}.png", 100 + i)
    for k, (kind, count) in enumerate((defects or {"cut": 4, "hole": 2}).items()):
        for i in range(count):
            draw(folder / f"test/{kind}/{i:03}.png", 1000 * (k + 1) + i)
            draw_mask(folder / f"ground_truth/{kind}/{i:03}{suffix}.png")
    return folder


def ksdd2(
    root: Path, train: tuple[int, int] = (8, 2), test: tuple[int, int] = (4, 2), name: str = "ksdd2"
) -> Path:
    """The layout of KolektorSDD2; pairs of nominal and defective images."""
    for offset, (split, (nominal, defective)) in enumerate((("train", train), ("test", test))):
        for i in range(nominal + defective):
            draw(root / name / split / f"{10000 + i}.png", offset * 500 + i)
            draw_mask(root / name / split / f"{10000 + i}_GT.png", marked=i >= nominal)
    return root / name


def visa(root: Path, category: str = "candle", normal: int = 20, anomalous: int = 3) -> Path:
    """The layout of VisA, without its split file."""
    folder = root / category / "Data"
    for i in range(normal):
        draw(folder / f"Images/Normal/{i:04}.JPG", i)
    for i in range(anomalous):
        draw(folder / f"Images/Anomaly/{i:03}.JPG", 900 + i)
        draw_mask(folder / f"Masks/Anomaly/{i:03}.png")
    return root / category
