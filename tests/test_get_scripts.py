"""The scripts that lay out downloaded archives: what they accept, refuse and resume."""

from __future__ import annotations

import importlib
import io
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from comet_core.datasets import categories, load
from comet_core.errors import InputError

SCRIPTS = Path(__file__).parents[1] / "data_scripts"


@pytest.fixture
def scripts(monkeypatch):
    """Import a script by name, as if run from its folder."""
    monkeypatch.syspath_prepend(SCRIPTS)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def png(value: int = 0, marked: bool = False) -> bytes:
    pixels = np.full((4, 4), value, np.uint8)
    pixels[0, 0] = 255 if marked else value
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def category(folder: str, train: int, good: int, defects: dict[str, int]) -> dict[str, bytes]:
    files = {f"{folder}/train/good/{i:03}.png": png(i) for i in range(train)}
    files |= {f"{folder}/test/good/{i:03}.png": png(i) for i in range(good)}
    for kind, count in defects.items():
        files |= {f"{folder}/test/{kind}/{i:03}.png": png(i) for i in range(count)}
        files |= {
            f"{folder}/ground_truth/{kind}/{i:03}_mask.png": png(0, True) for i in range(count)
        }
    return files


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w:xz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


@pytest.fixture
def mvtec(scripts, monkeypatch):
    """The MVTec AD script, told that the data set has two tiny categories."""
    module = scripts("get_mvtec_ad")
    tiny = {"bottle": module.Counts(3, 2, 3, 2), "carpet": module.Counts(2, 1, 1, 1)}
    monkeypatch.setattr(module, "PUBLISHED", tiny)
    return module


BOTTLE = category("mvtec/bottle", 3, 2, {"cut": 2, "hole": 1})
CARPET = category("mvtec/carpet", 2, 1, {"hole": 1})
WHOLE = {"mvtec/license.txt": b"terms", **BOTTLE, **CARPET}


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_the_published_counts_add_up(scripts):
    published = scripts("get_mvtec_ad").PUBLISHED.values()
    assert len(published) == 15
    assert [sum(column) for column in zip(*published, strict=True)] == [3629, 467, 1258, 73]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_every_kind_of_archive_is_laid_out(mvtec, tmp_path, mode, capsys):
    archive = tmp_path / "mine.archive"
    _ = write_zip(archive, WHOLE) if mode == "zip" else write_tar(archive, WHOLE, mode)
    out = tmp_path / "data" / "mvtec_ad"
    assert mvtec.main(["--archive", str(archive), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["bottle", "carpet", "license.txt"]
    name = "bottle/train/good/002.png"
    assert (out / name).read_bytes() == BOTTLE[f"mvtec/{name}"]
    assert leftovers(out.parent) == []
    assert mvtec.main(["--check", "--out", str(out)]) == 0
    assert "complete" in capsys.readouterr().out


def test_the_same_archive_again_changes_nothing(mvtec, tmp_path):
    archive = write_tar(tmp_path / "a.tar.xz", WHOLE)
    command = ["--archive", str(archive), "--out", str(tmp_path / "out")]
    assert mvtec.main(command) == 0
    before = (tmp_path / "out/bottle/train/good/000.png").stat().st_mtime_ns
    assert mvtec.main(command) == 0
    assert (tmp_path / "out/bottle/train/good/000.png").stat().st_mtime_ns == before


def test_single_categories_come_one_by_one(mvtec, tmp_path, capsys):
    bottle = write_tar(tmp_path / "bottle.tar.xz", {k[6:]: v for k, v in BOTTLE.items()})
    carpet = write_tar(tmp_path / "carpet.tar.xz", {k[6:]: v for k, v in CARPET.items()})
    out = str(tmp_path / "out")
    assert mvtec.main(["--archive", str(bottle), "--out", out]) == 1
    assert "missing: carpet" in capsys.readouterr().err
    assert mvtec.main(["--archive", str(carpet), "--out", out]) == 0


def test_the_check_names_each_missing_file(mvtec, tmp_path, capsys):
    out = tmp_path / "out"
    mvtec.main(["--archive", str(write_tar(tmp_path / "a.tar", WHOLE, "w")), "--out", str(out)])
    (out / "bottle/train/good/001.png").unlink()
    (out / "bottle/ground_truth/hole/000_mask.png").unlink()
    capsys.readouterr()
    assert mvtec.main(["--check", "--out", str(out)]) == 1
    told = capsys.readouterr().err
    assert "bottle: 2 training images of 3" in told
    assert "bottle/train/good/001.png" in told
    assert "bottle/ground_truth/hole/000_mask.png" in told


def test_what_is_there_and_incomplete_is_not_overwritten(mvtec, tmp_path, capsys):
    mine = tmp_path / "out/bottle/train/good/mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"precious")
    archive = write_tar(tmp_path / "a.tar", WHOLE, "w")
    assert mvtec.main(["--archive", str(archive), "--out", str(tmp_path / "out")]) == 2
    assert "exists and is not complete" in capsys.readouterr().err
    assert mine.read_bytes() == b"precious"


def test_an_interrupted_extraction_goes_on(mvtec, scripts, tmp_path, monkeypatch, capsys):
    archives = scripts("archives")
    archive = write_tar(tmp_path / "a.tar.xz", WHOLE)
    command = ["--archive", str(archive), "--out", str(tmp_path / "out")]
    real, written = archives._write, []

    def stop_after_five(path, *rest):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path.name)
        real(path, *rest)

    monkeypatch.setattr(archives, "_write", stop_after_five)
    assert mvtec.main(command) == 130
    assert "run the same command" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

    again = []
    monkeypatch.setattr(
        archives, "_write", lambda path, *rest: (again.append(path), real(path, *rest))
    )
    assert mvtec.main(command) == 0
    assert len(again) == len(WHOLE) - 5
    assert leftovers(tmp_path) == []


def test_a_full_disk_keeps_what_was_extracted(mvtec, scripts, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scripts("archives"), "_write", full)
    archive = write_tar(tmp_path / "a.tar.xz", WHOLE)
    assert mvtec.main(["--archive", str(archive), "--out", str(tmp_path / "out")]) == 2
    assert "No space left" in capsys.readouterr().err


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo("mvtec/bottle/train/good/link.png")
    member.type, member.linkname = kind, target
    return member


HOSTILE_TAR = {
    "absolute": tarfile.TarInfo("/tmp/evil.png"),
    "parent": tarfile.TarInfo("mvtec/../../evil.png"),
    "drive": tarfile.TarInfo("C:/evil.png"),
    "backslash": tarfile.TarInfo("mvtec\\..\\evil.png"),
    "control": tarfile.TarInfo("mvtec/a\nb.png"),
    "symlink": link(tarfile.SYMTYPE, "/etc/passwd"),
    "inner symlink": link(tarfile.SYMTYPE, "000.png"),
    "hard link": link(tarfile.LNKTYPE, "mvtec/license.txt"),
    "pipe": link(tarfile.FIFOTYPE, ""),
    "device": link(tarfile.CHRTYPE, ""),
}


@pytest.mark.parametrize("kind", HOSTILE_TAR)
def test_hostile_tar_archives_leave_nothing_behind(mvtec, tmp_path, kind, capsys):
    place = tmp_path / "deep" / "down"
    place.mkdir(parents=True)
    archive = tmp_path / "a.tar"
    write_tar(archive, WHOLE, "w")
    with tarfile.open(archive, "a") as tar:
        tar.addfile(HOSTILE_TAR[kind])
    assert mvtec.main(["--archive", str(archive), "--out", str(place / "out")]) == 2
    assert "do not use it" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == [archive, place.parent, place]


def hostile_zip(kind: str, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in WHOLE.items():
            file.writestr(name, data)
        if kind == "symlink":
            info = zipfile.ZipInfo("mvtec/link.png")
            info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            file.writestr(info, "/etc/passwd")
        elif kind == "twice":
            file.writestr("mvtec/Bottle/train/good/000.PNG", b"other")
        elif kind == "file and folder":
            file.writestr("mvtec/bottle/train/good/000.png/inside.png", b"other")
        else:
            file.writestr({"parent": "../evil.png", "absolute": "/evil.png"}[kind], b"")
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["symlink", "twice", "file and folder", "parent", "absolute"])
def test_hostile_zip_archives_leave_nothing_behind(mvtec, tmp_path, kind, capsys):
    archive = hostile_zip(kind, tmp_path / "a.zip")
    assert mvtec.main(["--archive", str(archive), "--out", str(tmp_path / "out")]) == 2
    assert "do not use it" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == [archive]


@pytest.mark.parametrize("kind", ["tar", "tar header", "zip"])
def test_bombs_do_not_go_off(mvtec, scripts, tmp_path, kind, monkeypatch, capsys):
    monkeypatch.setattr(scripts("archives"), "FREE_BYTES", 1 << 20)
    archive = tmp_path / "a.bomb"
    if kind == "zip":
        write_zip(archive, {"mvtec/bottle/zeros.png": bytes(50 << 20)})
    elif kind == "tar":
        write_tar(archive, {"mvtec/bottle/zeros.png": bytes(50 << 20)})
    else:  # a header that the reader has to hold in memory
        member = tarfile.TarInfo("a.png")
        member.pax_headers = {"comment": "0" * (50 << 20)}
        with tarfile.open(archive, "w:xz", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(member)
    assert mvtec.main(["--archive", str(archive), "--out", str(tmp_path / "out")]) == 2
    assert "expands to more than" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == [archive]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_archives_are_refused(mvtec, tmp_path, mode, damage, capsys):
    archive = tmp_path / "a.archive"
    rng = np.random.default_rng(0)
    noise = {f"mvtec/bottle/train/good/{i:03}.png": rng.bytes(3000) for i in range(40)}
    _ = write_zip(archive, noise) if mode == "zip" else write_tar(archive, noise, mode)
    data = bytearray(archive.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    else:
        start = len(data) // 2
        data[start : start + 2000] = bytes(byte ^ 0xFF for byte in data[start : start + 2000])
    archive.write_bytes(data)
    status = mvtec.main(["--archive", str(archive), "--out", str(tmp_path / "out")])
    told = capsys.readouterr().err
    if mode == "w" and damage == "flip":  # a plain tar holds no checksum of its contents
        assert status in (1, 2)
    else:
        assert status == 2 and "download it again" in told
        assert sorted(tmp_path.rglob("*")) == [archive]


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_archive_is_refused(mvtec, tmp_path, content, capsys):
    archive = tmp_path / "a.zip"
    archive.write_bytes(content)
    assert mvtec.main(["--archive", str(archive), "--out", str(tmp_path / "out")]) == 2
    assert "a.zip" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == [archive]


def test_another_archive_than_the_published_one_is_refused(mvtec, tmp_path, monkeypatch, capsys):
    archive = write_tar(tmp_path / mvtec.SOURCE.file, WHOLE)
    command = ["--archive", str(archive), "--out", str(tmp_path / "out")]
    assert mvtec.main(command) == 2
    assert "5,264,982,680" in capsys.readouterr().err
    same_size = mvtec.SOURCE.__class__(**{**vars(mvtec.SOURCE), "size": archive.stat().st_size})
    monkeypatch.setattr(mvtec, "SOURCE", same_size)
    assert mvtec.main(command) == 2
    assert "sha256" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert mvtec.main([*command, "--any-archive"]) == 0


def test_an_archive_of_something_else_is_refused(mvtec, tmp_path, capsys):
    archive = write_tar(tmp_path / "a.tar", category("screw", 1, 1, {"cut": 1}), "w")
    assert mvtec.main(["--archive", str(archive), "--out", str(tmp_path / "out")]) == 2
    assert "none of the categories" in capsys.readouterr().err


def test_without_an_archive_the_script_says_where_to_get_it(tmp_path):
    for name in ("get_mvtec_ad", "get_ksdd2", "get_viaduct"):
        done = subprocess.run(
            [sys.executable, SCRIPTS / f"{name}.py"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert "https://" in done.stdout and "licence" in done.stdout


def test_a_missing_archive_and_folder_are_told(mvtec, tmp_path, capsys):
    assert mvtec.main(["--archive", str(tmp_path / "no.tar"), "--out", str(tmp_path)]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert mvtec.main(["--check", "--out", str(tmp_path / "nowhere")]) == 1


def ksdd2_files(train: tuple[int, int], test: tuple[int, int]) -> dict[str, bytes]:
    files = {}
    for split, (nominal, defective) in (("train", train), ("test", test)):
        for i in range(nominal + defective):
            files[f"{split}/{i:05}.png"] = png(i)
            files[f"{split}/{i:05}_GT.png"] = png(0, marked=i >= nominal)
    files["train/00000 (copy).png"] = files["train/00000.png"]
    files["train/00000_GT (copy).png"] = files["train/00000_GT.png"]
    return files


def test_ksdd2_is_laid_out_and_counted(scripts, tmp_path, monkeypatch, capsys):
    module = scripts("get_ksdd2")
    monkeypatch.setattr(module, "PUBLISHED", {"train": (4, 2), "test": (3, 1)})
    archive = write_zip(tmp_path / "a.zip", ksdd2_files((4, 2), (3, 1)))
    command = ["--archive", str(archive), "--out", str(tmp_path / "out")]
    assert module.main(command) == 0
    assert module.main(command) == 0
    (tmp_path / "out/train/00005_GT.png").unlink()
    assert module.main(["--check", "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert "00005.png" in told and "(4, 1)" in told


def test_viaduct_takes_one_archive_a_category(scripts, tmp_path, capsys):
    module = scripts("get_viaduct")
    names = ["11 ring cable lug", "12 screw"]
    made = [write_zip(tmp_path / f"{name}.zip", category(name, 2, 1, {"cut": 1})) for name in names]
    out = tmp_path / "out"
    assert module.main(["--archive", *map(str, made), "--out", str(out)]) == 0
    assert "11 ring cable lug: 2 + 1 + 1 images" in capsys.readouterr().out
    (out / names[0] / "ground_truth/cut/000_mask.png").unlink()
    assert module.main(["--check", "--out", str(out)]) == 1


def test_viaduct_in_another_layout_is_refused_with_the_way_out(scripts, tmp_path, capsys):
    module = scripts("get_viaduct")
    archive = write_zip(tmp_path / "a.zip", {"some/where/0.png": png()})
    assert module.main(["--archive", str(archive), "--out", str(tmp_path / "out")]) == 2
    assert "settings of the loader" in capsys.readouterr().err


def test_verify_returns_the_sha256(scripts, tmp_path):
    archives = scripts("archives")
    path = tmp_path / "a.zip"
    path.write_bytes(b"abc")
    source = archives.Source("a", "page", "licence", "b.zip", size=99)
    assert archives.verify(path, source).startswith("ba7816bf8f01cfea")
    with pytest.raises(InputError, match="99"):
        archives.verify(path, archives.Source("a", "page", "licence", "a.zip", size=99))


def test_digits_are_laid_out_from_what_scikit_learn_brings(
    scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digits, out = scripts("get_digits"), tmp_path / "digits"
    monkeypatch.setattr(sys, "argv", ["get_digits.py", "--out", str(out)])
    assert digits.main() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    assert categories("mvtec_ad", out) == [f"digit_{i}" for i in range(10)]
    dataset = load("mvtec_ad", out, "digit_3")
    assert len(dataset.train) == digits.TRAIN and len(dataset.test) == 183 - 120 + 9 * 10
    assert not {one.path.name for one in dataset.train} & {one.path.name for one in dataset.test}
    pixels = np.asarray(Image.open(dataset.train[0].path))
    assert pixels.shape == (64, 64) and pixels.min() == 0 and pixels.max() == 255
    assert digits.main() == 2
    assert "remove it" in capsys.readouterr().err


def test_interrupted_digits_leave_no_half_folder(
    scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digits, out = scripts("get_digits"), tmp_path / "digits"
    monkeypatch.setattr(sys, "argv", ["get_digits.py", "--out", str(out)])

    def interrupt(_: object) -> Image.Image:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(digits, "enlarged", interrupt)
        assert digits.main() == 130
    assert not out.exists() and "begin anew" in capsys.readouterr().err
    assert digits.main() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
