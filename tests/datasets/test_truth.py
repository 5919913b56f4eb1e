"""A manifest's truth reaches evaluation, and training cannot reach it."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pandas as pd
import pytest
import torch

from comet_core import datasets
from comet_core.datasets import Dataset, Image, images
from comet_core.datasets.contamination import contaminate
from comet_core.errors import InputError
from tests.datasets import builders


def with_manifest(root: Path, truths: list[str]) -> Dataset:
    """A data set below `root` whose manifest tells `truths`, in the order of the files."""
    (root / "SYNTHETIC").touch()
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    told = [truths[i % len(truths)] for i in range(len(paths))]
    pd.DataFrame({"path": paths, "truth": told}).to_csv(root / "manifest.csv", index=False)
    return datasets.load("mvtec_ad", root, "bottle")


def test_the_manifest_fills_truth_and_the_marker_sets_synthetic(tmp_path):
    builders.mvtec(tmp_path)
    loaded = with_manifest(tmp_path, ["nominal", "boundary", "anomalous"])
    table = pd.read_csv(tmp_path / "manifest.csv").set_index("path").truth
    assert loaded.synthetic
    for record in (*loaded.train, *loaded.test):
        assert record.truth == table[record.path.relative_to(tmp_path).as_posix()]
    direct = datasets.load("mvtec_ad", tmp_path / "bottle")
    assert direct.synthetic and direct.train == loaded.train


def test_ksdd2_reads_the_same_manifest(tmp_path):
    folder = builders.ksdd2(tmp_path)
    (folder / "SYNTHETIC").touch()
    (folder / "manifest.csv").write_text("path,truth\ntrain/10000.png,boundary\n")
    for root in (folder, tmp_path):
        loaded = datasets.load("ksdd2", root)
        assert loaded.synthetic
        assert {record.id: record.truth for record in loaded.train if record.truth} == {
            "train/10000.png": "boundary"
        }


def test_an_image_holds_an_id_and_a_path_and_nothing_else(tmp_path):
    builders.mvtec(tmp_path)
    loaded = with_manifest(tmp_path, ["anomalous"])
    assert Image._fields == ("id", "path")
    for image, record in zip(images(loaded.train), loaded.train, strict=True):
        assert type(image) is Image
        assert tuple(image) == (record.id, record.path)
        assert not hasattr(image, "truth") and not hasattr(image, "label")


def test_training_sees_the_same_whatever_the_manifest_says(tmp_path):
    builders.mvtec(tmp_path)
    kinds = ["nominal", "boundary", "anomalous"]
    views = []
    for truths in (kinds, kinds[::-1], ["anomalous"], [""]):
        loaded = with_manifest(tmp_path, truths)
        dirty, manifest = contaminate(loaded, 0.5, seed=3)
        views.append((images(dirty.train), manifest.to_csv()))
    assert all(view == views[0] for view in views)


def test_labels_and_kinds_are_not_in_what_training_sees(tmp_path):
    builders.mvtec(tmp_path)
    loaded = datasets.load("mvtec_ad", tmp_path, "bottle")
    lies = [
        dataclasses.replace(record, label=1, kind="lie", truth="anomalous", mask=record.path)
        for record in loaded.train
    ]
    assert images(lies) == images(loaded.train)


def test_features_are_computed_from_images_alone():
    features = pytest.importorskip("comet_core.features")
    parameters = inspect.signature(features.extract, eval_str=True).parameters
    first = next(iter(parameters.values()))
    assert "Image" in str(first.annotation) and "Record" not in str(first.annotation)


def test_no_module_of_training_mentions_truth():
    """Training and what it calls take tensors and ids: no record, truth, kind or manifest."""
    package = Path(datasets.__file__).parents[1]
    files = [package / f"{name}.py" for name in ("training", "meta", "confidence", "uncertainty")]
    files += sorted((package / "detectors").glob("*.py"))
    present = [path for path in files if path.is_file()]
    assert present
    for path in present:
        source = path.read_text()
        assert not re.search(r"\bRecord\b", source), f"{path.name} mentions Record"
        for word in (".truth", ".kind", ".label", "manifest", "datasets.contamination"):
            assert word not in source, f"{path.name} mentions {word}"


def test_a_foreign_manifest_is_ignored_and_a_broken_one_refused(tmp_path):
    builders.mvtec(tmp_path)
    (tmp_path / "manifest.csv").write_text("name,price\nscrew,3\n")
    assert {record.truth for record in datasets.load("mvtec_ad", tmp_path, "bottle").train} == {""}
    (tmp_path / "manifest.csv").write_text("path,truth\nx.png,ok\n")
    assert {record.truth for record in datasets.load("mvtec_ad", tmp_path, "bottle").train} == {""}
    (tmp_path / "manifest.csv").write_text("name,price\nscrew,3\n")
    (tmp_path / "SYNTHETIC").touch()
    with pytest.raises(InputError, match="no column 'path'"):
        datasets.load("mvtec_ad", tmp_path, "bottle")
    (tmp_path / "manifest.csv").write_text("path,truth\nx.png,odd\n")
    with pytest.raises(InputError, match="the truth 'odd'"):
        datasets.load("mvtec_ad", tmp_path, "bottle")
    (tmp_path / "manifest.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        datasets.load("mvtec_ad", tmp_path, "bottle")


def test_training_ends_the_same_whatever_labels_kinds_and_truths_say(tmp_path, monkeypatch):
    """From files to the scores of the trained model, through the real pipeline."""
    config = pytest.importorskip("comet_core.config")
    pipeline = pytest.importorskip("comet_core.pipeline")
    monkeypatch.setenv("COMET_CACHE", str(tmp_path / "cache"))
    for i in range(10):
        builders.draw(tmp_path / f"{i}.png", i, (32, 32))
    builders.draw_mask(tmp_path / "mask.png", shape=(32, 32))
    (tmp_path / "SYNTHETIC").touch()
    tellings = {
        "honest": (["0"] * 8 + ["1"] * 2, ["good"] * 8 + ["cut"] * 2, "nominal"),
        "lying": (["1", "0"] * 5, ["cut", "hole", "good", "", "x"] * 2, "anomalous"),
        "silent": ([""] * 10, [""] * 10, ""),
    }
    ends = []
    for labels, kinds, truth in tellings.values():
        rows = pd.DataFrame({"path": [f"{i}.png" for i in range(10)], "label": labels})
        rows = rows.assign(kind=kinds, mask="mask.png" if truth else "", split="train")
        rows.to_csv(tmp_path / "dataset.csv", index=False)
        rows.assign(truth=truth)[["path", "truth"]].to_csv(tmp_path / "manifest.csv", index=False)
        settings = {"dataset": "csv", "data_root": tmp_path, "category": "dataset", "epochs": 2}
        settings |= {"image_size": 32, "strategy": "comet", "warmup_epochs": 0}
        fitted = pipeline.fit_run(config.RunConfig.checked(settings))
        assert [record.truth for record in fitted.train] == [truth] * 10
        ended = fitted.training
        ends.append((ended.final.scores, ended.history.drop(columns="seconds"), ended.weights))
    for scores, history, weights in ends[1:]:
        assert torch.equal(scores, ends[0][0])
        pd.testing.assert_frame_equal(history, ends[0][1])
        pd.testing.assert_frame_equal(weights, ends[0][2])
