"""Features: right, cached once, never wrong."""

import errno
import multiprocessing
import os
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from comet_core import features
from comet_core.datasets.base import Image
from comet_core.errors import InputError
from comet_core.features import Features, FeatureSpec, compute, extract

SPEC = FeatureSpec(sizes=(64,))


@pytest.fixture
def folder(tmp_path: Path) -> list[Image]:
    rng = np.random.default_rng(0)
    out = []
    for i in range(5):
        path = tmp_path / f"{i}.png"
        PillowImage.fromarray(rng.integers(0, 255, (40 + i, 60, 3), dtype=np.uint8)).save(path)
        out.append(Image(f"id{i}", path))
    return out


def run(images: list[Image], cache: Path, **options) -> Features:
    return extract(images, options.pop("spec", SPEC), cache=cache, progress=False, **options)


def entries(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.safetensors"))


def same(one: Features, two: Features) -> bool:
    return one.ids == two.ids and all(torch.equal(one.maps[k], two.maps[k]) for k in one.maps)


def refuse_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise AssertionError("the cache was not used")

    monkeypatch.setattr(features, "_compute_resized", fail)


def test_features_are_half_precision_in_the_order_of_the_images(folder, tmp_path) -> None:
    found = run(folder, tmp_path / "c", batch_size=2)
    assert found.ids == [f"id{i}" for i in range(5)]
    assert found.maps["stride8"].shape == (5, 40, 8, 8)
    assert found.maps["stride16"].shape == (5, 112, 4, 4)
    assert found.maps["stride8"].dtype == torch.float16
    alone = run(folder[3:4], tmp_path / "d")
    assert torch.allclose(alone.maps["stride8"][0], found.maps["stride8"][3], atol=1e-2)


def test_the_second_time_nothing_is_computed(folder, tmp_path, monkeypatch) -> None:
    first = run(folder, tmp_path / "c")
    assert len(entries(tmp_path / "c")) == 5
    refuse_to_compute(monkeypatch)
    again = run(folder, tmp_path / "c")
    assert same(first, again)
    assert list(again.maps) == list(first.maps) == ["stride8", "stride16"]


def test_the_key_is_the_content_and_not_the_name(folder, tmp_path, monkeypatch) -> None:
    run(folder, tmp_path / "c")
    moved = tmp_path / "other name.png"
    shutil.copy(folder[0].path, moved)
    refuse_to_compute(monkeypatch)
    run([Image("x", moved)], tmp_path / "c")
    PillowImage.new("RGB", (60, 40)).save(folder[0].path)
    with pytest.raises(AssertionError, match="not used"):
        run(folder, tmp_path / "c")


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": (96,)},
        {"layers": ("stride8",)},
        {"backbone": "efficientnet_lite2"},
        {"pool": True},
        {"pool": True, "rotations": 3},
    ],
)
def test_every_part_of_the_spec_is_in_the_key(change: dict) -> None:
    assert FeatureSpec(**{"sizes": (64,), **change}).key() != SPEC.key()


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text"])
def test_a_damaged_entry_is_made_again(folder, tmp_path, damage: str) -> None:
    first = run(folder, tmp_path / "c")
    entry = entries(tmp_path / "c")[2]
    good = entry.read_bytes()
    bad = {
        "truncate": good[: len(good) // 2],
        "flip": good[:-100] + bytes([good[-100] ^ 1]) + good[-99:],
        "empty": b"",
        "text": b"not an entry",
    }[damage]
    entry.write_bytes(bad)
    assert same(first, run(folder, tmp_path / "c"))
    assert entry.read_bytes() == good


def test_an_interrupted_write_leaves_nothing(folder, tmp_path, monkeypatch) -> None:
    def interrupt(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(folder, tmp_path / "c")
    assert not [path for path in (tmp_path / "c").rglob("*") if path.is_file()]


def test_a_cache_that_cannot_be_written_is_told(folder, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    for place in (Path("/proc/nowhere"), tmp_path / "file"):
        monkeypatch.setenv("COMET_CACHE", str(place))
        with pytest.raises(InputError, match=f"cache in '{place}.*cannot be written.*COMET_CACHE"):
            extract(folder, SPEC, progress=False)
        with monkeypatch.context() as patch, pytest.raises(InputError, match=f"'{place}.*COMET_"):
            patch.setattr(features, "MAPPED", 1)
            extract(folder, SPEC, progress=False)

    def full(self: Path, content: bytes) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"No space left on device\); set COMET_CACHE"):
        run(folder, tmp_path / "c")
    assert not [path for path in (tmp_path / "c").rglob("*") if path.is_file()]


def test_others_may_read_the_cache_as_the_umask_says(folder, tmp_path) -> None:
    before = os.umask(0o027)
    try:
        run(folder[:1], tmp_path / "c")
    finally:
        os.umask(before)
    assert [entry.stat().st_mode & 0o777 for entry in entries(tmp_path / "c")] == [0o640]


def _fill(paths: list[str], cache: str) -> None:
    torch.set_num_threads(1)
    run([Image(p, Path(p)) for p in paths], Path(cache), batch_size=1)


def test_two_processes_fill_one_cache(folder, tmp_path, monkeypatch) -> None:
    paths = [str(image.path) for image in folder]
    context = multiprocessing.get_context("spawn")
    arguments = (paths, str(tmp_path / "c"))
    workers = [context.Process(target=_fill, args=arguments) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    files = [path for path in (tmp_path / "c").rglob("*") if path.is_file()]
    assert files == entries(tmp_path / "c") or sorted(files) == entries(tmp_path / "c")
    assert len(files) == 5
    refuse_to_compute(monkeypatch)
    run(folder, tmp_path / "c")


def test_unreadable_files_are_counted_or_refused(folder, tmp_path) -> None:
    folder[1].path.write_bytes(b"no image")
    gone = Image("gone", tmp_path / "gone.png")
    with pytest.warns(UserWarning, match="2 of 6 images left out"):
        found = run([*folder, gone], tmp_path / "c")
    assert found.ids == ["id0", "id2", "id3", "id4"]
    assert {skip.path.name for skip in found.skipped} == {"1.png", "gone.png"}
    with pytest.raises(InputError, match=r"1\.png"):
        run(folder, tmp_path / "c", strict=True)
    with pytest.raises(InputError, match=r"gone\.png"):
        run([gone], tmp_path / "c", strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match="no readable image in"):
            run([gone], tmp_path / "c")
    with pytest.raises(InputError, match="list of images"):
        run([], tmp_path / "c")


def test_pooled_views_are_means_of_turned_images() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    spec = FeatureSpec(layers=("stride8", "stride32"), sizes=(64, 32), rotations=4, pool=True)
    pooled = compute([image], spec)["pooled"]
    assert pooled.shape == (1, 4, 2 * (40 + 320))
    upright = compute([image], FeatureSpec(layers=("stride8",), sizes=(64,)))["stride8"]
    assert torch.allclose(pooled[0, 0, :40].float(), upright[0].float().mean((1, 2)), atol=2e-2)
    for quarter in range(1, 4):
        turned = compute([np.rot90(image, quarter).copy()], spec)["pooled"][0, 0]
        # The smaller size is resized before it is turned, so only the first is exactly equal.
        assert torch.allclose(pooled[0, quarter, :360], turned[:360], atol=1e-2)


def test_a_view_between_quarter_turns_rotates_without_black_corners() -> None:
    flat = torch.full((1, 3, 32, 32), 200.0)
    assert torch.allclose(features._turn(flat, 0.5), flat)
    ramp = torch.arange(33.0).view(1, 1, 1, 33).expand(1, 3, 33, 33)
    assert torch.allclose(features._turn(ramp, 1.0), torch.rot90(ramp, 1, (2, 3)))
    near = features._turn(ramp, 1.0 - 1e-6)
    assert torch.allclose(
        near[..., 2:-2, 2:-2], torch.rot90(ramp, 1, (2, 3))[..., 2:-2, 2:-2], atol=0.01
    )


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_told(folder, tmp_path, monkeypatch, device: str) -> None:
    monkeypatch.setenv("COMET_DEVICE", device)
    with pytest.raises(InputError, match=f"COMET_DEVICE is '{device}', which does not exist here"):
        run(folder, tmp_path / "c")
    assert not entries(tmp_path / "c")


def test_contradictory_specs_are_refused() -> None:
    with pytest.raises(InputError, match="pool=True"):
        FeatureSpec(sizes=(64, 32))
    with pytest.raises(InputError, match="no layer"):
        FeatureSpec(layers=("stride4",))
    with pytest.raises(InputError, match="32 pixels"):
        FeatureSpec(sizes=(16,))


def test_the_size_of_a_pass_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    images = [rng.integers(0, 255, (70, 64, 3), dtype=np.uint8) for _ in range(5)]
    pooled = FeatureSpec(layers=("stride32",), sizes=(64, 32), rotations=2, pool=True)
    whole = [compute(images, spec) for spec in (SPEC, pooled)]
    monkeypatch.setattr(features, "PASS_PIXELS", 2 * 64 * 64)
    for spec, expected in zip((SPEC, pooled), whole, strict=True):
        for name, one in compute(images, spec).items():
            assert one.shape == expected[name].shape
            assert torch.allclose(one.float(), expected[name].float(), rtol=2e-3, atol=2e-3)


def test_a_large_set_is_held_once_in_a_file_and_equal_to_the_bit(
    folder, tmp_path, monkeypatch
) -> None:
    folder[2].path.write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 of 5"):
        small = run(folder, tmp_path / "c")
    mapped: list[np.memmap] = []

    def memmap(*args: object, **options: object) -> np.memmap:
        mapped.append(map_file(*args, **options))
        return mapped[-1]

    def copy(*args: object) -> None:
        raise AssertionError("a second copy of all features")

    map_file = np.memmap
    monkeypatch.setattr(np, "memmap", memmap)
    monkeypatch.setattr(features, "MAPPED", 1)
    for name in ("stack", "cat"):
        monkeypatch.setattr(torch, name, copy)
    with pytest.warns(UserWarning, match="1 of 5"):
        large = run(folder, tmp_path / "c")
    assert large.ids == ["id0", "id1", "id3", "id4"] and same(small, large)
    assert [len(one) for one in large.maps.values()] == [4, 4]
    places = [one.data_ptr() for one in large.maps.values()]
    assert [one.ctypes.data for one in mapped] == places
    files = [path for path in (tmp_path / "c").rglob("*") if path.is_file()]
    assert sorted(files) == entries(tmp_path / "c")


def test_a_full_disk_keeps_features_in_memory(tmp_path, monkeypatch) -> None:
    like = {"pooled": torch.zeros(3, 4, dtype=torch.float16)}
    monkeypatch.setattr(features, "MAPPED", 1)
    monkeypatch.setattr(features.shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    monkeypatch.setattr(features, "TemporaryFile", None)
    assert features.room(like, 2, tmp_path)["pooled"].shape == (2, 3, 4)
