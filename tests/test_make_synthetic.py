"""data_scripts/make_synthetic.py: the drawn data sets."""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO / "data_scripts"))

import make_synthetic  # noqa: E402
from synthetic import kit, plan, png  # noqa: E402

from comet_core.datasets import categories, load  # noqa: E402

SMOKE_TREE = "60b7ee9dc14bdc63ab687f0c105758dbe82715e343eeef33ae10573cef2a6b13"
"""SHA-256 of every path and file of the smoke profile at seed 0."""
DEMO_IMAGES = {
    ("mvtec_ad", "bolt/test/bent/003.png"): "db363cb4e89eabf0",
    ("mvtec_ad", "gelcap/train/good/077.png"): "97c4a095a8903173",
    ("mvtec_ad", "plank/test/crack/011.png"): "1af98f000235eaab",
    ("ksdd2", "train/10150.png"): "fdfffb07bfdc86ee",
    ("viaduct", "connector_6/test/flash/005.png"): "94886565eeaeb70b",
}
"""The first 16 hex digits of the SHA-256 of images that only the demo profile has."""


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke data, drawn once by two processes."""
    out = tmp_path_factory.mktemp("synthetic")
    assert make_synthetic.main(["--profile", "smoke", "--out", str(out), "--jobs", "2"]) == 0
    return out


def files(root: Path) -> dict[str, bytes]:
    """Every file below `root` but the marker, which names the generator's own source."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != make_synthetic.MARKER
    }


def manifest(root: Path) -> list[dict[str, str]]:
    with (root / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


# --- the same bytes everywhere -----------------------------------------------------------------


def test_smoke_tree_has_the_committed_checksum(smoke: Path) -> None:
    digest = hashlib.sha256()
    for name, content in files(smoke).items():
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    assert digest.hexdigest() == SMOKE_TREE


@pytest.mark.parametrize(("dataset", "path"), DEMO_IMAGES)
def test_demo_images_have_the_committed_checksums(dataset: str, path: str) -> None:
    planned = plan.samples(dataset, plan.PROFILES["demo"], 0)
    sample = next(s for s in planned if s.path == path)
    image, _ = plan.render(dataset, sample, 0)
    content = hashlib.sha256(png.encode_png(image)).hexdigest()[:16]
    assert content == DEMO_IMAGES[dataset, path]


def test_one_process_writes_what_two_write(smoke: Path, tmp_path: Path) -> None:
    arguments = ["--profile", "smoke", "--out", str(tmp_path), "--jobs", "1", "--only", "ksdd2"]
    assert make_synthetic.main(arguments) == 0
    assert files(tmp_path / "ksdd2") == files(smoke / "ksdd2")


def test_another_seed_draws_other_images() -> None:
    sample = plan.samples("mvtec_ad", plan.PROFILES["smoke"], 0)[0]
    first, _ = plan.render("mvtec_ad", sample, 0)
    second, _ = plan.render("mvtec_ad", sample, 1)
    assert np.abs(first.astype(int) - second).mean() > 2


@pytest.mark.parametrize("dataset", ["mvtec_ad", "viaduct"])
def test_smoke_is_the_beginning_of_demo(dataset: str) -> None:
    demo = set(plan.samples(dataset, plan.PROFILES["demo"], 0))
    assert set(plan.samples(dataset, plan.PROFILES["smoke"], 0)) <= demo


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.uint8,
        st.one_of(
            array_shapes(min_dims=2, max_dims=2, max_side=40),
            array_shapes(min_dims=2, max_dims=2, max_side=20).map(lambda s: (*s, 3)),
        ),
        elements=st.integers(0, 255),
    )
)
def test_png_reads_back(image: np.ndarray) -> None:
    decoded = Image.open(io.BytesIO(png.encode_png(image)))
    assert np.array_equal(np.asarray(decoded), image)


def test_png_code_lengths_are_limited() -> None:
    # Fibonacci counts make the deepest Huffman trees: unlimited, 25 symbols need 24 bits.
    counts = [1, 1]
    while len(counts) < 25:
        counts.append(counts[-1] + counts[-2])
    lengths = png._code_lengths(np.array(counts + [0] * 231 + [1]))
    used = lengths[lengths > 0]
    assert used.max() <= 15
    assert len(used) == 26
    assert np.sum(2.0**-used) == 1  # Kraft's equality: a complete prefix code
    data = np.repeat(np.arange(25, dtype=np.uint8), counts)
    assert zlib.decompress(png._compress(data)) == data.tobytes()


# --- layout, truth and masks -------------------------------------------------------------------


def test_loaders_read_all_of_it(smoke: Path) -> None:
    profile = plan.PROFILES["smoke"]
    assert categories("mvtec_ad", smoke / "mvtec_ad") == sorted(profile.mvtec_ad)
    for dataset in make_synthetic.DATASETS:
        root = smoke / dataset
        for category in categories(dataset, root):
            data = load(dataset, root, category, strict=True)
            assert data.synthetic
            assert not data.skipped
            truths = {record.truth for record in (*data.train, *data.test)}
            assert truths == {"nominal", "boundary", "anomalous"}
            for record in (*data.train, *data.test):
                assert (record.label == 1) == (record.truth == "anomalous")
                assert record.label == 0 or record.mask is not None


@pytest.mark.parametrize("dataset", make_synthetic.DATASETS)
def test_manifest_lists_every_file(smoke: Path, dataset: str) -> None:
    root = smoke / dataset
    listed = {row[name] for row in manifest(root) for name in ("path", "mask") if row[name]}
    assert listed | {"manifest.csv"} == set(files(root))
    for row in manifest(root):
        assert row["label"] == str(int(row["truth"] == "anomalous"))
        assert (row["kind"] == "good") == (row["truth"] == "nominal")


def test_demo_plan_leaves_room_for_contamination() -> None:
    for dataset in ("mvtec_ad", "viaduct"):
        planned = plan.samples(dataset, plan.PROFILES["demo"], 0)
        for category in {s.category for s in planned}:
            mine = [s for s in planned if s.category == category]
            train = [s for s in mine if s.split == "train"]
            bad = [s for s in mine if s.truth == "anomalous"]
            assert len(bad) >= 40
            assert len(bad) - 0.2 * len(train) >= 20
            assert 0.05 <= np.mean([s.truth == "boundary" for s in train]) <= 0.15
    train = [s for s in plan.samples("ksdd2", plan.PROFILES["demo"], 0) if s.split == "train"]
    assert np.mean([s.truth == "anomalous" for s in train]) == pytest.approx(0.106, abs=0.002)


@pytest.mark.parametrize("dataset", make_synthetic.DATASETS)
def test_masks_show_what_the_defect_changed(dataset: str) -> None:
    planned = plan.samples(dataset, plan.PROFILES["smoke"], 5)
    kinds = {(s.category, s.kind): s for s in planned if s.truth == "anomalous"}
    for sample in kinds.values():
        image, mask = plan.render(dataset, sample, 5)
        assert mask is not None
        assert set(np.unique(mask)) == {0, 255}
        clean = _clean_twin(dataset, sample, 5)
        difference = np.abs(image.astype(int) - clean)
        difference = difference.max(-1) if difference.ndim == 3 else difference
        # Outside only what is too faint to see; the grain, which is the same, moves it by little.
        assert difference[mask == 0].mean() < 0.5, sample.path
        assert (difference[mask == 0] > 3 * plan.MASK_LEVELS).mean() < 2e-3, sample.path
        assert (difference[mask > 0] > plan.MASK_LEVELS).mean() > 0.3, sample.path
        assert plan.SMALLEST <= (mask > 0).sum() < 0.5 * mask.size, sample.path


def _clean_twin(dataset: str, sample: plan.Sample, seed: int) -> np.ndarray:
    """The image without its defect, with the same grain."""
    draws = kit.Draws(f"{seed}/{dataset}/{sample.path}")
    drawing = plan._module(sample.module)
    image = kit.develop(drawing.draw(draws, None, None, **plan._options(sample)))
    return kit.grain(draws("grain"), image).astype(int)


def test_nominal_samples_of_ksdd2_have_empty_masks(smoke: Path) -> None:
    for row in manifest(smoke / "ksdd2"):
        mask = pixels(smoke / "ksdd2" / row["mask"])
        assert mask.any() == (row["label"] == "1")


def test_images_are_well_exposed(smoke: Path) -> None:
    for name in files(smoke):
        if name.endswith(".png") and "_mask" not in name and "_GT" not in name:
            image = pixels(smoke / name)
            assert image.shape == ((352, 128) if name.startswith("ksdd2") else (256, 256, 3))
            assert ((image == 0) | (image == 255)).mean() < 0.01, name
            assert image.std() > 3, name


# --- the command line --------------------------------------------------------------------------


def test_a_second_run_does_nothing(smoke: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in smoke.rglob("*")}
    assert make_synthetic.main(["--profile", "smoke", "--out", str(smoke)]) == 0
    assert capsys.readouterr().out.count("up to date") == len(make_synthetic.DATASETS)
    assert {path: path.stat().st_mtime_ns for path in smoke.rglob("*")} == before


def test_an_interrupted_run_goes_on(
    smoke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--profile", "smoke", "--out", str(tmp_path), "--jobs", "1", "--only", "ksdd2"]
    drawn: list[str] = []
    render = plan.render

    def interrupted(dataset: str, sample: plan.Sample, seed: int):
        if len(drawn) == 5:
            raise KeyboardInterrupt
        drawn.append(sample.path)
        return render(dataset, sample, seed)

    monkeypatch.setattr(make_synthetic, "render", interrupted)
    assert make_synthetic.main(arguments) == 130
    assert not (tmp_path / "ksdd2").exists()  # nothing looks finished
    (tmp_path / ".ksdd2.partial/train/.10011.png.4711").write_bytes(b"as a killed process leaves")

    def counted(dataset: str, sample: plan.Sample, seed: int):
        drawn.append(sample.path)
        return render(dataset, sample, seed)

    monkeypatch.setattr(make_synthetic, "render", counted)
    assert make_synthetic.main(arguments) == 0
    assert len(drawn) == len(set(drawn))  # no image was drawn twice
    assert files(tmp_path / "ksdd2") == files(smoke / "ksdd2")
    assert [path.name for path in tmp_path.iterdir()] == ["ksdd2"]


def test_a_missing_file_is_noticed(tmp_path: Path) -> None:
    arguments = ["--profile", "smoke", "--out", str(tmp_path), "--only", "ksdd2"]
    assert make_synthetic.main(arguments) == 0
    before = files(tmp_path)
    (tmp_path / "ksdd2/train/10003.png").unlink()
    assert make_synthetic.main(arguments) == 0
    assert files(tmp_path) == before


def test_marker_says_synthetic_in_words(smoke: Path) -> None:
    for dataset in make_synthetic.DATASETS:
        text = (smoke / dataset / "SYNTHETIC").read_text(encoding="utf-8")
        assert "are synthetic" in text
        assert "seed: 0" in text


def test_folders_of_others_are_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph = tmp_path / "mvtec_ad" / "photograph.png"
    photograph.parent.mkdir()
    photograph.write_bytes(b"mine")
    assert make_synthetic.main(["--out", str(tmp_path), "--only", "mvtec_ad"]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == [b"mine"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--profile", "huge"], "--profile"),
        (["--only", "mvtec"], "'mvtec'"),
        (["--only", ","], "--only"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "one"], "--seed"),
        (["--jobs", "0"], "--jobs"),
        (["--colour", "red"], "--colour"),
        (["--out", __file__], "cannot write"),
    ],
)
def test_bad_arguments_end_in_one_sentence(arguments: list[str], says: str, tmp_path: Path) -> None:
    command = [sys.executable, str(REPO / "data_scripts/make_synthetic.py")]
    command += ["--profile", "smoke", "--only", "ksdd2", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
