"""The benchmark against other detectors, but for what needs anomalib, and how its record reads."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from comet_core import peers_record
from comet_core.backbones import import_vision, load_backbone
from comet_core.errors import InputError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    import peers as command

    monkeypatch.setattr(command, "PACKAGES", ("torch",))
    return command


@pytest.fixture
def chosen(tmp_path: Path) -> Namespace:
    rng = np.random.default_rng(0)
    for name, count in {"train/good": 4, "test/good": 2, "test/bent": 3}.items():
        folder = tmp_path / "nail" / name
        folder.mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 60 if "good" in name else 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return Namespace(
        data_root=tmp_path,
        category="nail",
        contamination=[0.0, 0.25],
        train_limit=3,
        method=list(peers_record.METHODS),
        seeds=2,
        slow_seeds=1,
        epochs=5,
    )


def rows(**auroc: float) -> pd.DataFrame:
    """Two seeds of each method at two contaminations; dirt costs it 0.1."""
    return pd.DataFrame(
        {
            "drawn": True,
            "category": "nail",
            "contamination": level,
            "method": method,
            "epochs": 5 if method == "supersimplenet" else 0,
            "seed": seed,
            "train_limit": 60,
            "image_auroc": value - level + 0.01 * seed,
            "train_seconds": 400.0 if method in peers_record.PEERS else 10.0,
            "test_seconds_per_image": 0.025,
            "peak_memory_mb": 1024.0 + seed,
        }
        for method, value in auroc.items()
        for level in (0.0, 0.1)
        for seed in (0, 1)
    )


def test_the_backbone_that_anomalib_traces_computes_the_same(command) -> None:
    import_vision("torchvision")
    from torchvision.models.feature_extraction import create_feature_extractor

    nodes = {"blocks.2": "stride8", "blocks.4": "stride16"}
    traced = create_feature_extractor(command.traceable(), nodes)
    pixels = torch.randint(0, 256, (2, 3, 256, 256), generator=torch.Generator().manual_seed(0))
    backbone = load_backbone("efficientnet_lite0", ("stride8", "stride16"))
    with torch.no_grad():
        wanted = backbone(pixels)
        found = traced((pixels.float() - backbone.mean) / backbone.std)
    for name, map_ in wanted.items():
        assert torch.allclose(found[name], map_, atol=1e-4)


def test_each_case_once_and_slow_methods_last(command, chosen: Namespace) -> None:
    found = command.cases(chosen)
    keys = [tuple(case.key(drawn=False).values()) for case in found]
    assert len(set(keys)) == len(keys) == 2 * (7 * 2 + 2)
    assert [case.method for case in found[-4:]] == ["patchcore"] * 2 + ["supersimplenet"] * 2
    assert {case.epochs for case in found} == {0, 5}


def test_ours_is_measured_from_files_on(command, chosen: Namespace) -> None:
    row = command.measure(command.cases(chosen)[0])
    assert (row["n_train"], row["n_train_anomalous"], row["n_test"]) == (3, 0, 5)
    assert row["train_seconds"] > 0 and row["test_seconds_per_image"] > 0
    assert row["image_auroc"] == 1


def test_an_interrupted_benchmark_goes_on(
    command, chosen: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked = tmp_path / "peers.json", []

    def run(case) -> dict:
        asked.append(case)
        given = rows(memory_bank=0.9).iloc[0]
        return {name: given[name].item() for name in given.index[-4:]}

    wanted = command.cases(chosen)
    command.fill(command.started(out), wanted[:3], False, out, run)
    command.fill(command.started(out), wanted[:5], False, out, run)
    assert asked == wanted[:5]
    ours = [case for case in wanted[:5] if case.method not in command.PEERS]
    assert len(ours) > 0
    monkeypatch.setattr(command, "versions", lambda: {"code": "another"})
    command.fill(command.started(out), wanted[:5], False, out, run)
    assert asked == [*wanted[:5], *ours]  # our code has changed, theirs has not
    record = peers_record.read_record(out)
    assert len(record["rows"]) == 5 and not list(tmp_path.glob(".*"))
    out.write_text(out.read_text().replace(torch.__version__, "1.0"))
    assert command.started(out)["rows"] == []


def test_anomalib_is_asked_for(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PACKAGES", ("no-such-package",))
    with pytest.raises(InputError, match="make bench-peers"):
        command.started(None)


def test_the_table_has_a_line_a_method() -> None:
    table = peers_record.overview(rows(patchcore=0.98, memory_bank=0.95, supersimplenet=0.8))
    assert table["method"].tolist() == [
        "memory bank",
        "PatchCore (anomalib)",
        "SuperSimpleNet, 5 epochs (anomalib)",
    ]
    assert table["I-AUROC, clean"][0].startswith("0.955 [0.8")
    assert table["I-AUROC, 10 %"][0].startswith("0.855 [0.7")
    assert table["training"].tolist() == ["10 s", "6.7 min", "6.7 min"]
    assert table["an image"][0] == "25 ms" and table["memory"][0] == "1.00 GB"


def test_findings_name_whoever_wins() -> None:
    lost = peers_record.findings(rows(patchcore=0.98, memory_bank=0.95), 300)
    assert "On nail (drawn), clean: PatchCore is ahead with 0.985" in lost
    assert "the best of ours is memory bank with 0.955" in lost
    assert "PatchCore takes 40 times as long as our memory bank" in lost
    assert "ours that train" not in lost
    both = rows(patchcore=0.98, memory_bank=0.95, simplenet=0.9)
    one = both[(both["method"] != "patchcore") | (both["seed"] == 0)]
    told = peers_record.findings(one, 300)
    assert "clean: PatchCore (one seed) is ahead with 0.980; the best of ours is" in told
    assert "the best of ours that train is SimpleNet plain with 0.905" in told
    won = peers_record.findings(rows(padim=0.9, memory_bank=0.95, softpatch=0.9504), 300)
    assert "clean: memory bank and SoftPatch are ahead with 0.955; the best of anomalib's" in won
    assert "epochs" not in won
    assert won.endswith(
        "Not measured: PatchCore on nail (drawn) and SuperSimpleNet on nail (drawn)."
    )
    short = peers_record.findings(rows(supersimplenet=0.9), 300)
    assert "has had 5 of its 300 epochs, as all of them would take up to 6.7 h" in short


def test_the_source_tells_single_seeds() -> None:
    few = rows(memory_bank=0.9, patchcore=0.9)
    few = few[(few["method"] != "patchcore") | (few["seed"] == 0)]
    made = {"processor": "a processor", "threads": 1, "torch": "2.13.0"}
    record = {"made": "2026-11-25", "machine": made, "versions": {"anomalib": "2.7.0"}, "rows": few}
    told = peers_record.described(record)
    assert told.startswith("measured by the benchmark of 2026-11-25 · a processor, 1 thread")
    assert told.endswith("60 nominal training images · 2 seeds, one where no interval is given")
