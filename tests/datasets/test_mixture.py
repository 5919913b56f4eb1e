"""Mixtures: everything copied, nothing told by the names, the truth known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from comet_core.datasets import load
from comet_core.datasets.mixture import mix, mix_below
from comet_core.errors import InputError
from tests.datasets.builders import mvtec


def test_a_mixture_holds_the_files_and_its_truth_tells_them_apart(tmp_path: Path) -> None:
    dataset = load("mvtec_ad", mvtec(tmp_path / "data", train=9))
    truth = mix(dataset, 3, tmp_path / "mixed", seed=1)
    files = sorted((tmp_path / "mixed").iterdir())
    assert [file.name for file in files] == [f"{i:04}.png" for i in range(12)]
    assert truth["path"].tolist() == [file.name for file in files]
    assert truth["truth"].value_counts().to_dict() == {"nominal": 9, "anomalous": 3}
    assert set(truth.loc[truth["truth"] == "anomalous", "kind"]) == {"cut", "hole"}
    sources = {record.id: record.path for record in (*dataset.train, *dataset.test)}
    for file, source in zip(files, truth["source"], strict=True):
        assert file.read_bytes() == sources[source].read_bytes()


def test_seeds_decide_which_and_where(tmp_path: Path) -> None:
    dataset = load("mvtec_ad", mvtec(tmp_path / "data", train=9))
    draws = [mix(dataset, 3, tmp_path / str(i), seed) for i, seed in enumerate((0, 0, 1))]
    assert draws[0].equals(draws[1]) and not draws[0].equals(draws[2])
    places = [draw.index[draw["truth"] == "anomalous"].tolist() for draw in draws]
    assert places[0] != places[2] and places[0] != [9, 10, 11]


def test_what_cannot_be_mixed_is_refused(tmp_path: Path) -> None:
    dataset = load("mvtec_ad", mvtec(tmp_path / "data"))
    with pytest.raises(InputError, match="ask for 0 to 6"):
        mix(dataset, 7, tmp_path / "mixed")
    mix(dataset, 2, tmp_path / "mixed")
    with pytest.raises(InputError, match="holds other files"):
        mix(dataset, 2, tmp_path / "mixed", seed=1)
    with pytest.raises(InputError, match="holds other files"):
        mix(dataset, 1, tmp_path)


def test_a_mixture_that_was_interrupted_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load("mvtec_ad", mvtec(tmp_path / "data"))
    copied = shutil.copyfile
    left = 3

    def stops(source: Path, target: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            target.write_bytes(source.read_bytes()[:20])
            raise KeyboardInterrupt
        copied(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "copyfile", stops)
        mix(dataset, 2, tmp_path / "mixed")
    truth = mix(dataset, 2, tmp_path / "mixed")
    sources = {record.id: record.path for record in (*dataset.train, *dataset.test)}
    for name, source in zip(truth["path"], truth["source"], strict=True):
        assert (tmp_path / "mixed" / name).read_bytes() == sources[source].read_bytes()


def test_a_named_mixture_is_used_again(tmp_path: Path) -> None:
    dataset = load("mvtec_ad", mvtec(tmp_path / "data"))
    folder, truth = mix_below(dataset, 2, tmp_path / "mixed")
    again, same = mix_below(dataset, 2, tmp_path / "mixed")
    other, _ = mix_below(dataset, 2, tmp_path / "mixed", seed=1)
    assert folder == again != other and truth.equals(same)
    assert sorted(path.name for path in folder.iterdir()) == truth["path"].tolist()
