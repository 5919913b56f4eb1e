"""What the record of the benchmark on a GPU says, on numbers made up here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from comet_core import gpu_record
from comet_core.errors import InputError
from comet_core.records import write_record

PLACES = [(profile, name) for profile in ("demo", "paper") for name in ("simplenet", "differnet")]
SECONDS = {"processor": 40.0, "gpu, one by one": 6.0, "gpu": 2.0}


@pytest.fixture
def record() -> dict[str, Any]:
    """A GPU is twenty times as fast, on the flow ten times; second order costs three times plain,
    and was not measured on the processor in the paper's sizes."""
    steps = [
        {
            "what": "step",
            "profile": profile,
            "detector": name,
            "method": method,
            "way": way,
            "milliseconds": factor * value * (2 if way == "gpu" and name == "differnet" else 1),
            "first_epoch_seconds": 0.5,
            "memory_mb": 2048.0,
        }
        for profile, name in PLACES
        for method, factor in (("plain", 1), ("comet", 1.5), ("comet, second order", 3))
        for way, value in SECONDS.items()
        if not (profile == "paper" and factor == 3 and way == "processor")
    ]
    compiled = {**steps[0], "way": "gpu, torch.compile", "milliseconds": 3.0}
    compiled["first_epoch_seconds"] = 12.0
    passes = [
        {
            "what": "passes",
            "profile": profile,
            "detector": name,
            "way": way,
            "images_a_second": rate,
        }
        for profile, name in PLACES
        for way, rate in (("gpu", 700.0), ("processor", 20.0))
    ]
    runs = [
        {
            "what": "run",
            "detector": name,
            "method": method,
            "way": way,
            "seed": seed,
            "image_auroc": 0.9 + 0.01 * seed,
            "train_seconds": seconds,
        }
        for name in ("simplenet", "differnet")
        for method in ("plain", "comet")
        for way, seconds in (("gpu", 0.5), ("processor", 4.0))
        for seed in range(3)
    ]
    return {
        "made": "2026-01-02",
        "machine": {"processor": "P", "threads": 8, "torch": "2", "gpu": "G"},
        "images": {"source": "given", "category": "nail", "contamination": 0.1},
        "rows": pd.DataFrame([*passes, *steps, compiled, *runs]),
    }


def test_ratios_are_of_the_ways_of_one_step(record: dict[str, Any]) -> None:
    table = gpu_record.overview(record["rows"])
    assert len(table) == 12
    first, flow, second = table.iloc[0], table.iloc[3], table.iloc[8]
    assert (first["sizes"], first["detector"], first["method"]) == ("demo", "SimpleNet", "plain")
    assert (first["processor"], first["GPU, recorded"], first["ratio"]) == (
        "40.0 ms",
        "2.0 ms",
        "20",
    )
    assert (flow["detector"], flow["ratio"]) == ("DifferNet", "10")
    assert (second["method"], second["processor"], second["ratio"]) == (
        "CoMet, second order",
        "–",
        "–",
    )
    assert set(table["GPU memory"]) == {"2.0 GB"}


def test_sentences_say_what_was_measured(record: dict[str, Any]) -> None:
    words = gpu_record.findings(record)
    assert "`demo` a training step is 10 to 20 times as fast on the GPU" in words
    assert "the processor's 8 threads. Recorded it is 1.5 to 3.0 times as fast" in words
    assert "passes are 35 times as fast (`paper`)" in words
    assert "takes 1.5 times as long as a plain one with SimpleNet" in words
    assert "to second order 3.0 times" in words
    assert "reaches 2.0 times the speed" in words and "after 12 s of compiling" in words
    rows = record["rows"]
    record["rows"] = rows[rows["way"] != "gpu, torch.compile"]
    assert "torch.compile" not in gpu_record.findings(record)
    assert gpu_record.described(record) == (
        "measured 2026-01-02 · G · P, 8 threads · PyTorch 2 · real images 'nail', 3 seeds"
    )


def test_runs_stand_side_by_side(record: dict[str, Any]) -> None:
    table = gpu_record.runs(record["rows"])
    assert table["method"].tolist() == ["plain", "CoMet"] * 2
    assert set(table["I-AUROC, GPU"]) == {"0.910 [0.885, 0.935]"}
    assert set(table["training, processor"]) == {"4.0 s"}


def test_a_record_is_read_back_and_another_is_refused(
    record: dict[str, Any], tmp_path: Path
) -> None:
    rows = record["rows"]
    path = tmp_path / "gpu.json"
    write_record(
        {**record, "rows": rows.astype(object).where(rows.notna(), None).to_dict("records")}, path
    )
    again = gpu_record.read_record(path)
    assert gpu_record.findings(again) == gpu_record.findings(record)
    write_record({"rows": [{"what": "step"}]}, path)
    with pytest.raises(InputError, match="make bench-gpu"):
        gpu_record.read_record(path)


def test_the_project_s_record_can_be_told() -> None:
    found = gpu_record.read_record(Path(__file__).parents[1] / "benchmarks" / "gpu.json")
    assert (
        len(gpu_record.overview(found["rows"])) == 12 and len(gpu_record.runs(found["rows"])) == 4
    )
    assert "times as fast on the GPU" in gpu_record.findings(found)
