"""The same work on the processor and on a GPU, in one run: steps, passes and whole runs.

    python benchmarks/gpu.py                                       drawn images
    python benchmarks/gpu.py --data-root MVTEC --category bottle --out benchmarks/gpu.json
    python benchmarks/gpu.py --compile                             torch.compile as well (minutes)

"step": milliseconds on the clock that a training step takes (choice: the median over epochs after
the first, over the steps of an epoch), on features made up in the shapes of the profile; the first
epoch, in which a GPU's graphs are recorded or compiled, is told apart. "gpu, one by one" launches
each kernel by itself. "passes": images a second through the backbone, decoded already, untrained
where its weights would have to be downloaded. "run": a whole run of the demo profile with a tenth
of anomalies in the training set, from image files to I-AUROC; features are computed in the first
run of a detector. The processor uses all its threads.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import torch

from comet_core import devices, notebook, scaling, speed
from comet_core.datasets import load
from comet_core.errors import InputError
from comet_core.evidence import DETECTORS
from comet_core.experiments import run
from comet_core.features import PASS_PIXELS
from comet_core.gpu_record import COMPILED, GPU, ONE_BY_ONE, PROCESSOR
from comet_core.records import check_folder, write_record
from comet_core.training import train

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"strategy": "plain"},
    "comet": {"strategy": "comet"},
    "comet, second order": {"strategy": "comet", "order": 2},
}
IMAGES = {"demo": 209, "paper": 96}
FEW = 24
"""Images of the paper's sizes on a processor, a batch: it needs seconds for them."""
BATCH = 32
"""Images of a pass on a GPU."""


def main() -> int:
    """The command line; returns 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", default="", help="layout of MVTec AD; empty: drawn images")
    parser.add_argument("--category", default="hide")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="also torch.compile (minutes)")
    parser.add_argument("--out", type=Path, help="write the record here, for example gpu.json")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        print("PyTorch finds no GPU here; run this on a machine with one.", file=sys.stderr)
        return 2
    try:
        check_folder(chosen.out)
        root = notebook.find_data("mvtec_ad", chosen.data_root)
        record = measured(chosen, root)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    rows = pd.DataFrame(record["rows"])
    for what, group in rows.groupby("what", sort=False):
        print(f"\n{what}\n{group.dropna(axis=1, how='all').round(4).to_string(index=False)}")
    return 0


def measured(chosen: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Measure everything; the record is what is written as JSON."""
    rows: list[dict[str, Any]] = []
    record = {
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {
            **speed.machine(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name(),
        },
        "images": {
            "source": "drawn" if load("mvtec_ad", root, chosen.category).synthetic else "given",
            "category": chosen.category,
            "contamination": 0.1,
        },
        "rows": rows,
    }

    def keep(*found: dict[str, Any]) -> None:
        rows.extend(found)
        for row in found:
            print(row, file=sys.stderr, flush=True)
        if chosen.out is not None:
            write_record(record, chosen.out)

    for profile in IMAGES:
        for detector in DETECTORS:
            for way in (GPU, PROCESSOR):
                keep(passes(profile, detector, way))
            for label in VARIANTS:
                keep(step(profile, detector, label, GPU))
                keep(step(profile, detector, label, ONE_BY_ONE))
                if profile == "demo" or label != "comet, second order":
                    keep(step(profile, detector, label, PROCESSOR))
            if chosen.compile and profile == "demo":
                keep(step(profile, detector, "plain", COMPILED))
    for detector in DETECTORS:
        for way in (GPU, PROCESSOR):
            keep(*runs(detector, way, root, chosen))
    return record


def step(profile: str, detector: str, label: str, way: str) -> dict[str, Any]:
    """What a training step takes."""
    place = torch.device("cpu" if way == PROCESSOR else "cuda")
    few = place.type == "cpu" and profile == "paper"
    images = FEW if few else IMAGES[profile]
    strategy = str(VARIANTS[label]["strategy"])
    config = scaling.config_of(profile, detector, strategy).model_copy(
        update={**VARIANTS[label], "warmup_epochs": 0, "max_steps": None, "epochs": 2 if few else 6}
    )
    model, spec = scaling.detector_of(config)
    samples = model.fit_input(scaling.made_up(spec, images))
    model.to(place)
    if way != GPU:
        model.recordable = False
    if way == COMPILED:
        model.compile(mode="reduce-overhead", dynamic=False)
    if place.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with devices.quick_products(place):
        history = train(model, samples, [str(i) for i in range(images)], config).history
    steps = max(1, round(images / config.batch_size))
    found = {"what": "step", "profile": profile, "detector": detector, "method": label, "way": way}
    found |= {"milliseconds": 1000 * float(history["seconds"][1:].median()) / steps}
    found |= {"first_epoch_seconds": float(history["seconds"][0])}
    if place.type == "cuda":
        found["memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return found


@torch.inference_mode()
def passes(profile: str, detector: str, way: str) -> dict[str, Any]:
    """Images a second through the backbone, at all sizes and in all views of the profile."""
    place = torch.device("cpu" if way == PROCESSOR else "cuda")
    _, spec = scaling.detector_of(scaling.config_of(profile, detector, "plain"))
    network = scaling.network_of(spec, place)
    seconds = 0.0
    for size in spec.sizes:
        count = max(1, PASS_PIXELS // size**2) if way == PROCESSOR else BATCH
        pixels = (torch.rand(count, 3, size, size, device=place) * 255).contiguous(
            memory_format=torch.channels_last
        )
        laps = []
        for _ in range(6):
            started = time.perf_counter()
            with devices.half_precision(place):
                network(pixels)
            if place.type == "cuda":
                torch.cuda.synchronize()
            laps.append(time.perf_counter() - started)
        seconds += sorted(laps[1:])[2] / count
    return {
        "what": "passes",
        "profile": profile,
        "detector": detector,
        "way": way,
        "images_a_second": 1 / (seconds * spec.rotations),
    }


def runs(detector: str, way: str, root: Path, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Whole runs, plain and CoMet, after a small one that sets the libraries up."""
    common = {
        "dataset": "mvtec_ad",
        "data_root": str(root),
        "category": chosen.category,
        "contamination": 0.1,
        "detector": detector,
        "profile": "demo",
    }
    place = "cpu" if way == PROCESSOR else "cuda"
    with tempfile.TemporaryDirectory() as folder:
        options = {"store": Path(folder, "runs"), "progress": False}
        small = {**common, "train_limit": 17, "test_limit": 17, "seed": 99}
        grid = {**common, "strategy": ["plain", "comet"], "seed": list(range(chosen.seeds))}
        for cache, some in (("warm", small), ("cache", grid)):
            here = {devices.VARIABLE: place, "COMET_CACHE": str(Path(folder, cache))}
            with patch.dict(os.environ, here):
                rows = run(some, **options)
    return [
        {
            "what": "run",
            "detector": detector,
            "method": row["strategy"],
            "way": way,
            "seed": int(row["seed"]),
            "image_auroc": float(row["image_auroc"]),
            "features_seconds": float(row["train_features_seconds"] + row["test_features_seconds"]),
            "images": int(row["n_train"] + row["n_test"]),
            "train_seconds": float(row["train_seconds"]),
            "test_seconds": float(row["test_seconds"]),
        }
        for _, row in rows.iterrows()
    ]


if __name__ == "__main__":
    sys.exit(main())
