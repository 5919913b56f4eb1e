"""Duplicates are found, in three degrees; what is merely alike is not reported."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from comet_core import datasets
from comet_core.datasets.leakage import _similarity, duplicates
from comet_core.images import read_image, resize

RNG = np.random.default_rng(5)
PRODUCT = resize(RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8), 96).astype(float)


def photograph(path: Path, seed: int) -> Path:
    """The same product, with marks of its own and camera noise."""
    rng = np.random.default_rng(seed)
    marks = resize(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8), 96).astype(float) - 127
    pixels = PRODUCT + 0.25 * marks + rng.normal(0, 2, PRODUCT.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    for i in range(12):
        photograph(tmp_path / f"part/train/good/{i:02}.png", i)
        photograph(tmp_path / f"part/test/cut/{i:02}.png", 100 + i)
    return tmp_path / "part"


def found(folder: Path) -> dict[tuple[str, str], tuple[str, bool]]:
    table = duplicates(datasets.load("mvtec_ad", folder))
    return {
        (row.first.split("/", 1)[1], row.second.split("/", 1)[1]): (row.match, row.across)
        for row in table.itertuples()
    }


def test_photographs_of_one_product_are_no_duplicates(folder):
    table = duplicates(datasets.load("mvtec_ad", folder))
    assert len(table) == 0
    assert list(table.columns[:2]) == ["first", "second"]
    a, b = (read_image(folder / f"train/good/0{i}.png").mean(axis=2).ravel() for i in (0, 1))
    assert np.corrcoef(a, b)[0, 1] > 0.9  # plain correlation would have reported them


def test_copies_in_three_degrees(folder):
    original = folder / "train/good/03.png"
    shutil.copy(original, folder / "test/cut/copy.png")
    shutil.copy(folder / "train/good/04.png", folder / "train/good/04 (copy).png")
    Image.open(folder / "train/good/05.png").save(folder / "test/cut/format.bmp")
    Image.open(folder / "train/good/06.png").save(folder / "test/cut/again.jpg", quality=70)
    assert found(folder) == {
        ("train/good/03.png", "test/cut/copy.png"): ("bytes", True),
        ("train/good/04 (copy).png", "train/good/04.png"): ("bytes", False),
        ("train/good/05.png", "test/cut/format.bmp"): ("pixels", True),
        ("train/good/06.png", "test/cut/again.jpg"): ("near", True),
    }


@pytest.mark.parametrize("change", ["smaller", "brighter", "noise", "contrast"])
def test_near_duplicates_survive_a_change(folder, change):
    pixels = read_image(folder / "train/good/07.png").astype(float)
    changed = {
        "smaller": lambda: resize(pixels.astype(np.uint8), 64),
        "brighter": lambda: pixels + 25,
        "noise": lambda: pixels + RNG.normal(0, 6, pixels.shape),
        "contrast": lambda: (pixels - 127) * 0.7 + 127,
    }[change]()
    Image.fromarray(np.clip(changed, 0, 255).astype(np.uint8)).save(folder / "test/cut/new.png")
    assert found(folder) == {("train/good/07.png", "test/cut/new.png"): ("near", True)}


def test_many_copies_of_one_image_are_reported_once_each(folder):
    for i in range(5):
        shutil.copy(folder / "train/good/00.png", folder / f"test/cut/copy{i}.png")
    pairs = found(folder)
    assert len(pairs) == 5 and {first for first, _ in pairs} == {"train/good/00.png"}


def test_unreadable_images_are_counted_and_left_out(folder):
    (folder / "train/good/bad.png").write_text("x")
    (folder / "train/good/empty.png").touch()
    with pytest.warns(UserWarning, match="2 images left out"):
        assert len(duplicates(datasets.load("mvtec_ad", folder))) == 0


def test_flat_images_and_tiny_sets_do_not_fail(tmp_path):
    for i, name in enumerate(("train/good/a.png", "test/good/b.png")):
        path = tmp_path / "flat" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((5, 5), 10 * i, np.uint8)).save(path)
    assert len(duplicates(datasets.load("mvtec_ad", tmp_path / "flat"))) == 0


@given(st.integers(3, 12), st.integers(2, 9), st.integers(0, 1000))
def test_similarity_equals_its_definition(n, d, seed):
    z = np.random.default_rng(seed).normal(size=(n, d))
    fast = _similarity(z, slice(0, n))
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            others = [z[k] for k in range(n) if k not in (i, j)]
            a, b = z[i] - np.mean(others, axis=0), z[j] - np.mean(others, axis=0)
            assert fast[i, j] == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)), abs=1e-6)
