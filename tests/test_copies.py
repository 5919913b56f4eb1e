"""Test images that repeat an injected one are told apart from the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from comet_core import datasets
from comet_core.copies import apart
from comet_core.errors import InputError
from comet_core.results import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of noise, of which `cut/0` and `cut/1` are one, once brighter."""
    rng = np.random.default_rng(0)
    for place in ("train/good", "test/good", "test/cut"):
        (tmp_path / "part" / place).mkdir(parents=True)
        for i in range(4):
            grey = rng.integers(0, 200, (32, 32), dtype=np.uint8)
            Image.fromarray(grey).save(tmp_path / "part" / place / f"{i}.png")
    cut = tmp_path / "part/test/cut"
    brighter = np.asarray(Image.open(cut / "0.png")) + 30
    Image.fromarray(brighter.astype(np.uint8)).save(cut / "1.png")
    return tmp_path / "part"


def run_of(store: Store, name: str, injected: list[str], scores: dict[str, float]) -> None:
    tests = pd.DataFrame(
        {"id": list(scores), "label": ["cut" in one for one in scores], "score": scores.values()}
    )
    manifest = pd.DataFrame({"id": injected, "origin": "injected"})
    store.write(name, {}, {"hash": name}, {"test": tests, "manifest": manifest})


def test_copies_of_injected_images_have_an_auroc_of_their_own(folder: Path, tmp_path: Path) -> None:
    data = datasets.load("mvtec_ad", folder)
    ids = {Path(record.id).parent.name + Path(record.id).stem: record.id for record in data.test}
    good = {ids[f"good{i}"]: float(i) for i in range(4)}
    store = Store(tmp_path / "runs")
    scores = {**good, ids["cut1"]: 0.5, ids["cut2"]: 9.0, ids["cut3"]: 2.5}
    run_of(store, "a" * 16, [ids["cut0"]], scores)
    run_of(store, "b" * 16, [ids["cut3"]], {**good, ids["cut0"]: 9.0, ids["cut1"]: 9.0})
    run_of(store, "c" * 16, [ids["cut0"]], {**good, ids["cut1"]: 9.0})
    run_of(store, "d" * 16, [ids["cut3"]], scores)  # with overlap
    rows = pd.DataFrame({"hash": [letter * 16 for letter in "abcd"], "category": "part"})
    found = apart(rows.set_axis([5, 3, 4, 1]), data, store)
    assert found["hash"].tolist() == rows["hash"].tolist()
    np.testing.assert_allclose(found["image_auroc_copied"], [0.25, np.nan, 1.0, 0.75])
    np.testing.assert_allclose(found["image_auroc_new"], [0.875, 1.0, np.nan, 0.625])
    np.testing.assert_allclose(found["copied"], [1 / 3, 0.0, 1.0, 1 / 3])
    with pytest.raises(InputError, match="one category"):
        apart(rows.assign(category=["part", "part", "part", "other"]), data, store)


def test_equal_images_stand_for_each_other(folder: Path, tmp_path: Path) -> None:
    """`duplicates` pairs the second and the third of three equal images with the first only."""
    cut = folder / "test/cut"
    (cut / "2.png").write_bytes((cut / "0.png").read_bytes())
    (cut / "4.png").write_bytes((cut / "0.png").read_bytes())
    data = datasets.load("mvtec_ad", folder)
    ids = {Path(record.id).parent.name + Path(record.id).stem: record.id for record in data.test}
    store = Store(tmp_path / "runs")
    scores = {ids[name]: 1.0 for name in ("good0", "cut0", "cut1", "cut3", "cut4")}
    run_of(store, "a" * 16, [ids["cut2"]], scores)
    rows = pd.DataFrame({"hash": ["a" * 16], "category": "part"})
    found = apart(rows, data, store)
    # The first and the fourth are equal to the injected one, the second is brighter.
    assert found["copied"].item() == 3 / 4
