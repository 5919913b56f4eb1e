"""Whatever lies on disk: it is left out and counted, or refused with one sentence."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from comet_core import datasets
from comet_core.datasets import contamination, leakage, listing, masks
from comet_core.errors import InputError
from comet_core.images import SUFFIXES, image_shape, read_image
from tests.datasets import builders
from tests.test_images import bomb


def reasons(dataset: datasets.Dataset) -> dict[str, str]:
    return {skip.path.name: skip.reason for skip in dataset.skipped}


@pytest.fixture
def messy(tmp_path) -> Path:
    """A category with one of everything that cannot be used."""
    good = builders.mvtec(tmp_path) / "train/good"
    (good / "notes.txt").write_text("x")
    (good / "IMG_1.HEIC").write_bytes(b"x")
    (good / "broken.png").symlink_to("nowhere.png")
    (good / "loop.png").symlink_to("loop.png")
    os.mkfifo(good / "pipe.png")
    (good / ".hidden.png").write_bytes(b"x")
    (good / "Thumbs.db").write_bytes(b"x")
    builders.draw(tmp_path / "bottle/train/reworked/0.png")
    builders.draw(tmp_path / "bottle/test/stray.png")
    builders.draw_mask(tmp_path / "bottle/ground_truth/cut/999_mask.png")
    return tmp_path


def test_what_cannot_be_used_is_left_out_and_counted(messy):
    with pytest.warns(UserWarning, match=r"8 files of '.*bottle' cannot be used .*; left out"):
        loaded = datasets.load("mvtec_ad", messy, "bottle")
    assert reasons(loaded) == {
        "notes.txt": "not an image by its name",
        "IMG_1.HEIC": "HEIC images are not read; convert them to PNG or JPEG",
        "broken.png": "broken link",
        "loop.png": "link that leads to itself",
        "pipe.png": "not a regular file",
        "reworked": "only 'train/good' is read",
        "stray.png": "not in the folder of a kind",
        "999_mask.png": "mask without an image",
    }
    assert len(loaded.train) == 6 and len(loaded.test) == 9


def test_strict_refuses_the_same(messy):
    with pytest.raises(InputError, match=r"8 files .* the first is '.*'; remove them, or load"):
        datasets.load("mvtec_ad", messy, "bottle", strict=True)


def test_names_with_spaces_quotes_unicode_and_newlines(tmp_path):
    folder = builders.mvtec(tmp_path, "ein 'Löwe' \"№1\"")
    names = ["a b.png", "it's.png", 'a"b.png', "größe-測試-🙂.png", "line\nbreak.png", "%s{}.PNG"]
    for i, name in enumerate(names):
        builders.draw(folder / "train/good" / name, 50 + i)
    loaded = datasets.load("mvtec_ad", tmp_path, "ein 'Löwe' \"№1\"", strict=True)
    assert {record.path.name for record in loaded.train} >= set(names)
    assert len(loaded.fingerprint()) == 16
    assert all(read_image(record.path).ndim == 3 for record in loaded.train)


def test_a_name_that_is_not_unicode_is_left_out(tmp_path):
    folder = builders.mvtec(tmp_path)
    try:
        shutil.copy(folder / "train/good/000.png", os.fsencode(folder) + b"/train/good/\xff.png")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    with pytest.warns(UserWarning, match="not valid Unicode"):
        loaded = datasets.load("mvtec_ad", tmp_path, "bottle")
    assert len(loaded.train) == 6 and len(loaded.fingerprint()) == 16


def test_links_to_files_and_folders_are_followed(tmp_path):
    real = builders.mvtec(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/bottle").symlink_to(real)
    loaded = datasets.load("mvtec_ad", tmp_path / "data", "bottle", strict=True)
    assert len(loaded.train) == 6


def test_a_folder_that_holds_itself_is_walked_once(tmp_path):
    builders.draw(tmp_path / "in/a.png")
    (tmp_path / "in/again").symlink_to(tmp_path)
    (tmp_path / "in/here").symlink_to(".")
    with pytest.warns(UserWarning, match="2 files"):
        loaded = datasets.load("folder", tmp_path)
    assert [record.id for record in loaded.train] == ["in/a.png"]
    assert set(reasons(loaded).values()) == {"link that leads to a folder above it"}


def test_only_files_are_ignored_for_their_names(tmp_path):
    for name in ("real/a.png", "synthetic/b.png", "Synthetic/c.png", "manifest.csv/d.png"):
        builders.draw(tmp_path / name)
    builders.draw(tmp_path / "__MACOSX" / "e.png")
    (tmp_path / "SYNTHETIC").touch()
    (tmp_path / "real" / "Thumbs.db").touch()
    images, skipped = listing.walk(tmp_path)
    assert images == ["Synthetic/c.png", "manifest.csv/d.png", "real/a.png", "synthetic/b.png"]
    assert skipped == []


def test_a_path_that_may_not_be_looked_at_is_told_in_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"cannot be looked at \(file name too long\)"):
        listing.existing_folder(tmp_path / ("long" * 80))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(InputError, match=r"'.*x' cannot be looked at \(permission denied\)"):
        listing.existing_folder(tmp_path / "x")


def test_unreadable_folders(tmp_path, monkeypatch):
    folder = builders.mvtec(tmp_path)
    real = os.scandir

    def scandir(path):  # tests may run as the superuser, whom permissions do not stop
        if Path(path) == folder / "test/cut":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(listing.os, "scandir", scandir)
    with pytest.warns(UserWarning, match="permission denied"):
        loaded = datasets.load("mvtec_ad", tmp_path, "bottle")
    assert Counter(record.kind for record in loaded.test) == {"good": 3, "hole": 2}
    with pytest.raises(InputError, match="permission denied"):
        datasets.load("mvtec_ad", tmp_path, "bottle", strict=True)


def test_a_wrong_path_names_the_nearest(tmp_path):
    builders.mvtec(tmp_path / "data/mvtec_ad")
    wrong = tmp_path / "data/mvtec-ad/bottle"
    with pytest.raises(InputError, match=r"no 'mvtec-ad' in .*did you mean '.*mvtec_ad'\?"):
        datasets.load("mvtec_ad", wrong)
    with pytest.raises(InputError, match=r"did you mean 'bottle'\? There are bottle"):
        datasets.load("mvtec_ad", tmp_path / "data/mvtec_ad", "Botle")
    with pytest.raises(InputError, match="is a file"):
        datasets.load("mvtec_ad", tmp_path / "data/mvtec_ad/bottle/train/good/000.png")
    with pytest.raises(InputError, match="holds no category: looked for folders with train/good"):
        datasets.load("mvtec_ad", tmp_path / "data")
    with pytest.raises(InputError, match=r"did you mean 'ksdd2'\? There are mvtec_ad, ksdd2"):
        datasets.load("ksd2", tmp_path)
    with pytest.raises(InputError, match="no data set"):
        datasets.categories("imagenet", tmp_path)


def test_several_categories_and_none_given(tmp_path):
    builders.mvtec(tmp_path)
    builders.mvtec(tmp_path, "carpet")
    with pytest.raises(InputError, match="holds 2 categories; give one of bottle, carpet"):
        datasets.load("mvtec_ad", tmp_path)
    with pytest.raises(InputError, match="no category"):
        datasets.load("mvtec_ad", tmp_path / "carpet", "../bottle")


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_split_is_refused(tmp_path, split):
    folder = builders.mvtec(tmp_path)
    shutil.rmtree(folder / split)
    (folder / split).mkdir()
    with pytest.raises(InputError, match=rf"has no images in '{split}'.*data set 'folder'"):
        datasets.load("mvtec_ad", tmp_path, "bottle")
    (folder / split / "good").mkdir()
    (folder / split / "good/readme.md").touch()
    with pytest.raises(InputError, match=r"readme\.md: not an image by its name"):
        datasets.load("mvtec_ad", tmp_path, "bottle")


@pytest.mark.parametrize("name", ["folder", "mvtec_ad", "ksdd2", "visa", "btad", "viaduct", "csv"])
def test_an_empty_folder_is_refused_by_every_loader(tmp_path, name):
    with pytest.raises(InputError, match=str(tmp_path)):
        datasets.load(name, tmp_path)


def test_listing_opens_no_image(tmp_path, monkeypatch):
    builders.mvtec(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an image was opened")

    monkeypatch.setattr("PIL.Image.open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)
    assert len(datasets.load("mvtec_ad", tmp_path, "bottle").train) == 6


def test_unreadable_images_are_counted_when_features_are_extracted(tmp_path, monkeypatch):
    features = pytest.importorskip("comet_core.features")
    monkeypatch.setenv("COMET_CACHE", str(tmp_path / "cache"))
    good = builders.mvtec(tmp_path / "data") / "train/good"
    (good / "000.png").write_bytes(b"")
    (good / "001.png").write_bytes((good / "001.png").read_bytes()[:40])
    loaded = datasets.load("mvtec_ad", tmp_path / "data", "bottle", strict=True)
    spec = features.FeatureSpec(sizes=(32,))
    with pytest.warns(UserWarning, match="2 of 6 images left out"):
        found = features.extract(datasets.images(loaded.train), spec, progress=False)
    assert found.ids == [record.id for record in loaded.train[2:]]
    with pytest.raises(InputError, match=r"000\.png"):
        features.extract(datasets.images(loaded.train), spec, strict=True, progress=False)


def test_listing_a_hundred_thousand_files_takes_seconds(tmp_path):
    for sub, count in {"train/good": 75_000, "test/good": 10_000, "test/cut": 15_000}.items():
        folder = tmp_path / "large" / sub
        folder.mkdir(parents=True)
        here = os.open(folder, os.O_RDONLY)
        for i in range(count):
            os.close(os.open(f"{i:06}.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        os.close(here)
    started = time.process_time()
    loaded = datasets.load("mvtec_ad", tmp_path, "large")
    assert time.process_time() - started < 10
    assert len(loaded.train) + len(loaded.test) == 100_000


# --- fuzz: 240 data sets, each broken in several random ways ---------------------------------

CASES = 240
ODD_NAMES = ["a b.png", "ü'\"x.png", "line\nbreak.png", "-rf.png", "a.png.png", ".png", "x" * 200]


def break_something(rng: np.random.Generator, root: Path) -> None:
    """One random act of vandalism below `root`."""
    everything = sorted(path for path in root.rglob("*"))
    files = [path for path in everything if path.is_file() and not path.is_symlink()]
    files = [path for path in files if os.access(path, os.R_OK)]
    folders = [path for path in everything if path.is_dir() and not path.is_symlink()]
    if not files or not folders:
        return
    file = files[rng.integers(len(files))]
    folder = folders[rng.integers(len(folders))]
    fresh = folder / f"new{rng.integers(10**9)}.png"
    content = file.read_bytes()
    match rng.integers(17):
        case 0:
            file.write_bytes(b"")
        case 1:
            file.write_bytes(content[: rng.integers(len(content) + 1)])
        case 2:
            damaged = bytearray(content)
            for at in rng.integers(0, max(len(content), 1), 8):
                damaged[at : at + 1] = rng.bytes(1)
            file.write_bytes(damaged)
        case 3:
            file.write_bytes(rng.bytes(rng.integers(1, 200)))
        case 4:
            file.write_bytes(bomb(int(rng.choice([9_000, 60_000, 2**31 - 1]))))
        case 5:
            file.unlink()
        case 6:
            shutil.rmtree(folder)
        case 7:
            shutil.rmtree(folder)
            folder.write_bytes(content)
        case 8:
            file.unlink()
            file.mkdir()
        case 9:
            fresh.symlink_to(fresh)
        case 10:
            fresh.symlink_to(folder, target_is_directory=True)
        case 11:
            fresh.symlink_to("nowhere")
        case 12:
            os.mkfifo(fresh)
        case 13:
            shutil.copy(file, folder / str(rng.choice(ODD_NAMES)))
        case 14:
            builders.draw_mask(fresh, bool(rng.integers(2)), (int(rng.integers(1, 20)), 5))
            fresh.replace(file)
        case 15:
            file.chmod(0)
        case 16:
            shutil.copy(file, os.fsencode(folder) + b"/\xff%d.png" % rng.integers(99))


def use(name: str, root: Path, strict: bool, told: Counter[str]) -> None:
    """Everything that is done with a data set before its features are extracted."""
    try:
        for category in datasets.categories(name, root):
            loaded = datasets.load(name, root, category, strict=strict)
            everything = {record.id: record for record in (*loaded.train, *loaded.test)}
            assert len(everything) == len(loaded.train) + len(loaded.test)
            loaded.fingerprint()
            told["listed"] += len(everything)
            told["left out of the listing"] += len(loaded.skipped)
            for record in everything.values():
                assert record.path.suffix.lower() in SUFFIXES
                try:
                    assert read_image(record.path).shape[:2] == image_shape(record.path)
                except InputError as error:
                    assert str(record.path) in str(error)
                    told["not decoded"] += 1
            told["masks not used"] += len(masks.load_masks(loaded.test, 8)[2])
            leakage.duplicates(loaded)
            contamination.contaminate(loaded, 0.2)
    except InputError as error:
        assert str(error).endswith(".")
        told["refused"] += 1


def test_240_broken_data_sets_end_in_counts_or_one_sentence(tmp_path):
    builders.mvtec(tmp_path / "whole/mvtec_ad", train=4, good=2, defects={"cut": 3})
    builders.mvtec(tmp_path / "whole/btad", "01", 4, 2, {"ko": 2}, ("ok", ""))
    builders.ksdd2(tmp_path / "whole/ksdd2", (4, 1), (2, 2))
    builders.visa(tmp_path / "whole/visa", normal=6)
    split = tmp_path / "whole/visa/split_csv/1cls.csv"
    split.parent.mkdir()
    split.write_text("object,split,label,image,mask\ncandle,train,normal,candle/x.JPG,\n")
    for i in range(4):
        builders.draw(tmp_path / f"whole/folder/deep/er/{i}.png", i)
        builders.draw(tmp_path / f"whole/csv/{i}.png", i)
    rows = [f"{i}.png,{i % 2},,{'test' if i > 1 else 'train'}" for i in range(4)]
    (tmp_path / "whole/csv/dataset.csv").write_text("\n".join(["path,label,mask,split", *rows]))
    for name in ("mvtec_ad", "ksdd2"):
        (tmp_path / f"whole/{name}/SYNTHETIC").touch()
        (tmp_path / f"whole/{name}/manifest.csv").write_text("path,truth\nx.png,nominal\n")

    names = ["mvtec_ad", "viaduct", "btad", "ksdd2", "ksdd2_clean", "visa", "folder", "csv"]
    homes = {"viaduct": "mvtec_ad", "ksdd2_clean": "ksdd2"}
    told: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in range(CASES):
            rng = np.random.default_rng(case)
            name = names[case % len(names)]
            root = tmp_path / f"case{case}"
            shutil.copytree(tmp_path / "whole" / homes.get(name, name), root)
            for _ in range(rng.integers(1, 6)):
                break_something(rng, root)
            use(name, root, strict=bool(rng.integers(4) == 0), told=told)
            shutil.rmtree(root)
    assert told["listed"] > 500
    for outcome in ("left out of the listing", "not decoded", "masks not used", "refused"):
        assert told[outcome] > 20, told
