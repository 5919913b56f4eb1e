"""Each loader reads its published layout, from the folder above a category or from the category."""

from __future__ import annotations

import re
import types
import warnings
from collections import Counter
from pathlib import Path

import pytest

from comet_core import datasets
from comet_core.datasets import ANOMALOUS, NOMINAL, Dataset, Record
from comet_core.datasets.masks import load_masks
from comet_core.errors import InputError
from comet_core.images import read_mask
from tests.datasets import builders


def kinds(records: tuple[Record, ...]) -> dict[str, int]:
    return dict(Counter(record.kind for record in records))


def no_warnings(*arguments: object, **settings: object) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return datasets.load(*arguments, **settings)


def check_consistent(dataset: Dataset) -> None:
    """What holds for every data set."""
    everything = (*dataset.train, *dataset.test)
    assert len({record.id for record in everything}) == len(everything)
    assert all(record.path.is_file() for record in everything)
    assert all("\\" not in record.id and not record.id.startswith("/") for record in everything)
    assert {record.split for record in dataset.train} == {"train"}
    assert {record.split for record in dataset.test} <= {"test"}
    assert all(record.label == ANOMALOUS for record in everything if record.mask)
    assert len(dataset.fingerprint()) == 16


def test_mvtec_ad(tmp_path):
    builders.mvtec(tmp_path)
    builders.mvtec(tmp_path, "carpet", defects={"thread": 1})
    (tmp_path / "license.txt").write_text("terms")
    assert datasets.categories("mvtec_ad", tmp_path) == ["bottle", "carpet"]
    loaded = no_warnings("mvtec_ad", tmp_path, "bottle", strict=True)
    check_consistent(loaded)
    assert kinds(loaded.train) == {"good": 6}
    assert kinds(loaded.test) == {"good": 3, "cut": 4, "hole": 2}
    assert loaded.train[0].id == "bottle/train/good/000.png"
    assert {record.label for record in loaded.train} == {NOMINAL}
    by_id = {record.id: record for record in loaded.test}
    mask = by_id["bottle/test/hole/001.png"].mask
    assert mask == tmp_path / "bottle/ground_truth/hole/001_mask.png"
    assert not loaded.synthetic and loaded.notes == ()


@pytest.mark.parametrize("category", ["bottle", None])
def test_a_root_may_be_the_category_itself(tmp_path, category):
    folder = builders.mvtec(tmp_path)
    below = datasets.load("mvtec_ad", tmp_path, "bottle")
    direct = datasets.load("mvtec_ad", folder, category)
    assert direct.train == below.train and direct.test == below.test
    assert direct.category == "bottle"
    assert datasets.categories("mvtec_ad", folder) == ["bottle"]


def test_a_relative_root_and_a_string(tmp_path, monkeypatch):
    builders.mvtec(tmp_path)
    monkeypatch.chdir(tmp_path / "bottle")
    assert datasets.load("mvtec_ad", ".").category == "bottle"
    assert datasets.load("mvtec_ad", "..", "bottle").fingerprint() == (
        datasets.load("mvtec_ad", str(tmp_path), "bottle").fingerprint()
    )


def test_the_fingerprint_sees_what_changes(tmp_path):
    builders.mvtec(tmp_path)
    first = datasets.load("mvtec_ad", tmp_path, "bottle")
    assert datasets.load("mvtec_ad", tmp_path, "bottle").fingerprint() == first.fingerprint()
    added = builders.draw(tmp_path / "bottle/train/good/900.png")
    second = datasets.load("mvtec_ad", tmp_path, "bottle")
    assert second.fingerprint() != first.fingerprint()
    before = second.fingerprint()
    mask = next(record.mask for record in first.test if record.mask)
    mask.write_bytes(mask.read_bytes() + b" ")  # what is measured depends on it
    assert datasets.load("mvtec_ad", tmp_path, "bottle").fingerprint() != before
    added.unlink()
    with pytest.raises(InputError, match=r"900\.png.*load the data set again"):
        second.fingerprint()


def test_ksdd2_keeps_its_natural_contamination(tmp_path):
    builders.ksdd2(tmp_path)
    loaded = no_warnings("ksdd2", tmp_path, "ksdd2", strict=True)
    check_consistent(loaded)
    assert kinds(loaded.train) == {"good": 8, "defect": 2}
    assert kinds(loaded.test) == {"good": 4, "defect": 2}
    assert all(read_mask(record.mask).any() for record in loaded.test if record.mask)
    assert any("2 of 10 training images (20.0%)" in note for note in loaded.notes)
    clean = no_warnings("ksdd2_clean", tmp_path, "ksdd2", strict=True)
    assert kinds(clean.train) == {"good": 8} and clean.test == loaded.test
    assert clean.name == "ksdd2_clean" and datasets.categories("ksdd2", tmp_path) == ["ksdd2"]


@pytest.mark.parametrize("category", [None, "ksdd2", "KolektorSDD2"])
def test_ksdd2_under_the_owners_name(tmp_path, category):
    folder = builders.ksdd2(tmp_path, name="KolektorSDD2")
    above = datasets.load("ksdd2", tmp_path, category)
    assert above.train == datasets.load("ksdd2", folder, category).train
    assert above.category == "ksdd2" and above.train[0].id == "train/10000.png"


def test_ksdd2_ignores_the_copies_in_the_published_archive(tmp_path):
    folder = builders.ksdd2(tmp_path)
    before = datasets.load("ksdd2", tmp_path)
    builders.draw(folder / "train/10001 (copy).png")
    builders.draw_mask(folder / "train/10001_GT (copy).png", marked=False)
    assert no_warnings("ksdd2", tmp_path, strict=True).train == before.train


def test_ksdd2_without_a_readable_mask_there_is_no_label(tmp_path):
    folder = builders.ksdd2(tmp_path)
    (folder / "train/10000_GT.png").unlink()
    (folder / "train/10001_GT.png").write_text("damaged")
    (folder / "train/10002.png").unlink()
    with pytest.warns(UserWarning, match="3 files"):
        loaded = datasets.load("ksdd2", tmp_path)
    assert len(loaded.train) == 7
    assert {skip.path.name: skip.reason for skip in loaded.skipped} == {
        "10000.png": "no mask, so no label",
        "10001.png": "its mask cannot be read, so no label",
        "10002_GT.png": "mask without an image",
    }


def test_ksdd2_decodes_a_mask_again_only_when_it_has_changed(tmp_path, monkeypatch):
    folder = builders.ksdd2(tmp_path)
    before = datasets.load("ksdd2", tmp_path)
    decoded: list[str] = []

    def watched(path):
        decoded.append(path.name)
        return read_mask(path)

    monkeypatch.setattr("comet_core.datasets.ksdd2.read_mask", watched)
    assert datasets.load("ksdd2", tmp_path) == before and not decoded
    defective = next(record for record in before.train if record.kind == "defect")
    builders.draw_mask(folder / "train" / defective.mask.name, marked=False)
    after = datasets.load("ksdd2", tmp_path)
    assert kinds(after.train) == {"good": 9, "defect": 1}
    assert decoded == [defective.mask.name]


def test_viaduct_says_that_its_layout_is_assumed(tmp_path):
    builders.mvtec(tmp_path, "11 ring cable lug", names=("good", ""))
    builders.draw(tmp_path / "11 ring cable lug/val/good/0.png")
    loaded = no_warnings("viaduct", tmp_path, "11 ring cable lug", strict=True)
    check_consistent(loaded)
    assert sum(record.mask is not None for record in loaded.test) == 6
    assert any("not verified" in note for note in loaded.notes)


def test_viaduct_takes_another_layout(tmp_path):
    folder = tmp_path / "v1"
    builders.draw(folder / "learn/ok/0.png")
    builders.draw(folder / "try/ok/0.png", 1)
    builders.draw(folder / "try/dent/0.png", 2)
    builders.draw_mask(folder / "truth/dent/0.gt.png")
    names = {"train": "learn", "test": "try", "masks": "truth", "good": "ok", "mask_suffix": ".gt"}
    loaded = datasets.load("viaduct", folder, **names)
    assert kinds(loaded.test) == {"good": 1, "dent": 1} and loaded.test[0].mask
    with pytest.raises(InputError, match="no setting 'tset'; its settings: train, test"):
        datasets.load("viaduct", folder, tset="x")
    with pytest.raises(InputError, match="its settings: none"):
        datasets.load("mvtec_ad", folder, good="ok")


def test_visa_follows_its_split_file(tmp_path):
    builders.visa(tmp_path)
    rows = ["object,split,label,image,mask"]
    for i in range(20):
        split = "train" if i >= 4 else "test"
        rows.append(f"candle,{split},normal,candle/Data/Images/Normal/{i:04}.JPG,")
    for i in range(3):
        mask = f"candle/Data/Masks/Anomaly/{i:03}.png"
        rows.append(f"candle,test,anomaly,candle/Data/Images/Anomaly/{i:03}.JPG,{mask}")
    rows.append("cashew,train,normal,cashew/Data/Images/Normal/0000.JPG,")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv/1cls.csv").write_text("\n".join(rows))
    for root in (tmp_path, tmp_path / "candle"):
        loaded = no_warnings("visa", root, "candle", strict=True)
        check_consistent(loaded)
        assert kinds(loaded.train) == {"good": 16}
        assert kinds(loaded.test) == {"good": 4, "anomaly": 3}
        assert all(record.mask for record in loaded.test if record.label)
        assert loaded.train[0].id == "candle/Data/Images/Normal/0004.JPG"

    (tmp_path / "candle/Data/Images/Normal/0019.JPG").unlink()
    builders.draw(tmp_path / "candle/Data/Images/Normal/0777.JPG")
    with pytest.warns(UserWarning, match="2 files"):
        loaded = datasets.load("visa", tmp_path, "candle")
    assert {skip.reason for skip in loaded.skipped} == {
        "in '1cls.csv' but not on disk",
        "not in '1cls.csv'",
    }


def test_visa_without_a_split_file_says_so(tmp_path):
    builders.visa(tmp_path)
    loaded = datasets.load("visa", tmp_path, "candle")
    check_consistent(loaded)
    assert kinds(loaded.train) == {"good": 18} and kinds(loaded.test) == {"good": 2, "anomaly": 3}
    assert "not as published" in loaded.notes[0]
    with pytest.raises(InputError, match="cannot be read"):
        datasets.load("visa", tmp_path, "candle", split_csv="absent.csv")
    (tmp_path / "split.csv").write_text("object,picture\ncandle,x\n")
    with pytest.raises(InputError, match="no column 'image'"):
        datasets.load("visa", tmp_path, "candle", split_csv="split.csv")


def test_btad(tmp_path):
    builders.mvtec(tmp_path, "01", defects={"ko": 3}, names=("ok", ""))
    loaded = no_warnings("btad", tmp_path, "01", strict=True)
    check_consistent(loaded)
    assert kinds(loaded.train) == {"good": 6}
    assert kinds(loaded.test) == {"good": 3, "ko": 3}
    assert all(record.mask for record in loaded.test if record.label)


def test_folder_flat_or_nested(tmp_path):
    for i, name in enumerate(("a.png", "b/c.JPG", "b/d/e.tif", "b/d/ü 'x\".bmp", "f.webp")):
        builders.draw(tmp_path / "photos" / name, i)
    loaded = no_warnings("folder", tmp_path / "photos", strict=True)
    check_consistent(loaded)
    names = ["a.png", "b/c.JPG", "b/d/e.tif", "b/d/ü 'x\".bmp", "f.webp"]
    assert [record.id for record in loaded.train] == names
    assert {record.label for record in loaded.train} == {None} and loaded.test == ()
    assert "unlabelled" in loaded.notes[0]
    assert [r.id for r in datasets.load("folder", tmp_path / "photos", "photos").train] == names
    assert datasets.load("folder", tmp_path / "photos", "b").train[0].id == "c.JPG"
    held_out = datasets.load("folder", tmp_path / "photos", test="b")
    assert len(held_out.train) == 2 and len(held_out.test) == 3
    with pytest.raises(InputError, match="did you mean 'b'"):
        datasets.load("folder", tmp_path / "photos", "B")
    with pytest.raises(InputError, match="holds no images"):
        datasets.load("folder", tmp_path / "photos", test="nothing")


def test_csv(tmp_path):
    for i in range(6):
        builders.draw(tmp_path / f"deep/{i}.png", i)
    builders.draw_mask(tmp_path / "m.png")
    (tmp_path / "dataset.csv").write_text(
        "path,label,mask,split,kind\n"
        "deep/0.png,0,,train,\n"
        "deep/1.png,,,,\n"
        "deep\\2.png,Anomalous,m.png,test,dent\n"
        "deep/3.png,1,gone.png,test,\n"
        "deep/4.png,nominal,,test,\n"
        "deep/0.png,0,,test,\n"
        "deep/9.png,0,,test,\n"
    )
    with pytest.warns(UserWarning, match="3 files"):
        loaded = datasets.load("csv", tmp_path)
    check_consistent(loaded)
    assert [record.label for record in (*loaded.train, *loaded.test)] == [0, None, 1, 1, 0]
    assert kinds(loaded.test) == {"dent": 1, "anomaly": 1, "good": 1}
    assert loaded.category == "dataset"
    assert [skip.reason for skip in loaded.skipped] == [
        "mask listed but not on disk",
        "listed twice",
        "listed but not on disk",
    ]
    with pytest.warns(UserWarning):
        assert datasets.load("csv", tmp_path / "dataset.csv").train == loaded.train


def test_csv_knows_an_image_by_whatever_path_it_is_listed(tmp_path):
    builders.draw(tmp_path / "0.png")
    (tmp_path / "deep").mkdir()
    for other in ("./0.png", "deep/../0.png", str(tmp_path / "0.png")):
        (tmp_path / "dataset.csv").write_text(f"path,split\n0.png,train\n{other},test\n")
        with pytest.warns(UserWarning, match="listed twice"):
            loaded = datasets.load("csv", tmp_path)
        assert [record.id for record in (*loaded.train, *loaded.test)] == ["0.png"], other


def test_csv_with_categories_and_bad_content(tmp_path):
    builders.draw(tmp_path / "0.png")
    table = tmp_path / "list.csv"
    table.write_text("path,category\n0.png,screw\n0.png,nut\n")
    assert datasets.categories("csv", table) == ["nut", "screw"]
    assert len(datasets.load("csv", tmp_path, "nut", file="list.csv").train) == 1
    for content, told in {
        "": "cannot be read",
        "file\n0.png\n": "no column 'path'",
        "path,label\n0.png,maybe\n": "row 2 .*label 'maybe'",
        "path,split\n0.png,validation\n": "split 'validation'",
        "path\n": "There are",
        "path\nabsent.png\n": "no training images",
    }.items():
        table.write_text(content)
        with pytest.raises(InputError, match=told), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            datasets.load("csv", table)
    table.write_bytes(b"path\n\xff\xfe.png\n")
    with pytest.raises(InputError, match="UTF-8"):
        datasets.load("csv", table)


def test_a_new_data_set_is_one_module_and_one_line(tmp_path, monkeypatch):
    """The how-to of the book, executed as it stands there."""
    page = Path(__file__).parents[2] / "book" / "use" / "new_dataset.md"
    source, line = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    module = types.ModuleType("camera")
    exec(source, module.__dict__)
    monkeypatch.setattr(datasets, "DATASETS", dict(datasets.DATASETS))
    exec(line, {"DATASETS": datasets.DATASETS, "camera": module})
    for i in range(4):
        builders.draw(tmp_path / f"gear/fine/{i}.png", i)
    builders.draw(tmp_path / "gear/faulty/0.png", 9)
    (tmp_path / "gear/faulty/notes.txt").write_text("x")
    with pytest.warns(UserWarning, match="1 file "):
        loaded = datasets.load("camera", tmp_path)
    check_consistent(loaded)
    assert len(loaded.train) == 2 and kinds(loaded.test) == {"fine": 2, "faulty": 1}
    assert datasets.categories("camera", tmp_path) == ["gear"]


def test_masks_at_one_size_and_for_which_images_pixels_are_known(tmp_path):
    folder = builders.mvtec(tmp_path, defects={"cut": 4})
    (folder / "ground_truth/cut/001_mask.png").unlink()
    builders.draw_mask(folder / "ground_truth/cut/002_mask.png", shape=(9, 9))
    (folder / "ground_truth/cut/003_mask.png").write_text("damaged")
    loaded = datasets.load("mvtec_ad", tmp_path, "bottle")
    assert loaded.notes == ("anomalous test images without a mask: 1",)
    masks, known, skipped = load_masks(loaded.test, (4, 3))
    of = {record.id.split("/", 2)[2]: i for i, record in enumerate(loaded.test)}
    assert masks.shape == (7, 4, 3)
    assert [bool(known[of[f"cut/00{i}.png"]]) for i in range(4)] == [True, False, False, False]
    assert known[of["good/000.png"]] and not masks[of["good/000.png"]].any()
    assert masks[of["cut/000.png"]].tolist() == [[True] * 3] + [[False] * 3] * 3
    assert [skip.path.name for skip in skipped] == ["002_mask.png", "003_mask.png"]
    with pytest.raises(InputError, match="9 x 9 pixels but its image is 6 x 8"):
        load_masks(loaded.test, 4, strict=True)


def test_every_data_set_is_in_the_registry():
    modules = {path.stem for path in Path(datasets.__file__).parent.glob("*.py")}
    helpers = {"__init__", "base", "contamination", "layout", "leakage", "listing"}
    helpers |= {"manifest", "masks", "mixture"}
    assert set(datasets.DATASETS) == modules - helpers
