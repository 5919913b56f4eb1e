"""Training the usual way against ours: time, memory and I-AUROC, side by side.

    python benchmarks/speed.py                        drawn images, 100 to 800 of them
    python benchmarks/speed.py --full --sizes 209 --data-root MVTEC --category bottle
    python benchmarks/speed.py --check                fails where ratios fell behind the record

The usual way (`comet_core.usual`) reads and embeds every image anew in every epoch and scores the
test set after each; ours embeds once and scores at the end. Both train on the same images with the
same settings, backbone and random numbers, and their scores after the measured epochs are compared.
Times are processor seconds of one thread. Without `--full` one epoch of the usual way and ten of
ours are measured; what 160 (SimpleNet) and 192 (DifferNet) epochs take is calculated from them.

Drawn images are those of one category, in turn also mirrored and turned so that there are enough.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from comet_core import notebook, speed, speed_record
from comet_core.datasets import load
from comet_core.datasets.base import ANOMALOUS
from comet_core.datasets.contamination import contaminate
from comet_core.errors import InputError
from comet_core.images import read_image
from comet_core.pipeline import limited
from comet_core.records import check_folder, read_record, write_record

RECORD = Path(__file__).with_name("speed.json")
TOLERANCE = 0.25
"""A ratio may fall this far behind the record, as a share of it, before the check fails."""


def main() -> int:
    """The command line; returns 1 for a failed check and 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", default="", help="layout of MVTec AD; empty: drawn images")
    parser.add_argument("--category", default="hide")
    parser.add_argument("--contamination", type=float, default=0.0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 200, 400, 800])
    parser.add_argument("--test-images", type=int, default=60)
    parser.add_argument("--detector", nargs="+", default=list(speed.EPOCHS))
    parser.add_argument("--full", action="store_true", help="train all epochs in both ways (hours)")
    parser.add_argument("--check", action="store_true", help="compare with the record; 100 images")
    parser.add_argument("--out", type=Path, help="write the record here, for example speed.json")
    chosen = parser.parse_args()
    if chosen.check:
        chosen.sizes = chosen.sizes[:1]
    try:
        check_folder(chosen.out)
        with tempfile.TemporaryDirectory() as folder:
            record = measured(chosen, Path(folder))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    report(record)
    return check(record, RECORD) if chosen.check else 0


def measured(chosen: argparse.Namespace, folder: Path) -> dict:
    """Measure everything; the record is what is written as JSON."""
    root = notebook.find_data("mvtec_ad", chosen.data_root)
    dataset = load("mvtec_ad", root, chosen.category)
    dataset, _ = contaminate(dataset, chosen.contamination, overlap=False, seed=0)
    dataset = limited(dataset, None, chosen.test_images)
    train = [record.path for record in dataset.train]
    test = [record.path for record in dataset.test]
    labels = [int(record.label == ANOMALOUS) for record in dataset.test]
    if not chosen.data_root:
        train = enough(train, max(chosen.sizes), folder)
    elif max(chosen.sizes) > len(train):
        raise InputError(
            f"category '{chosen.category}' has {len(train)} training images; choose --sizes up to"
            " that."
        )
    rows: list[dict] = []
    record = {
        **speed.made(),
        "images": {
            "source": "drawn" if not chosen.data_root else "given",
            "category": chosen.category,
            "contamination": chosen.contamination,
        },
        "all_epochs_measured": chosen.full,
        "rows": rows,
    }
    for detector in chosen.detector:
        for size in chosen.sizes:
            cases = [
                speed.Case(
                    way,
                    detector,
                    train[:size],
                    test,
                    labels,
                    epochs=speed.EPOCHS[detector] if chosen.full else 1,
                    more=0 if chosen.full else 10,
                )
                for way in speed.WAYS
            ]
            rows += speed.compare(cases)
            print(f"{detector}, {size} images: measured", file=sys.stderr, flush=True)
            if chosen.out is not None:
                write_record(record, chosen.out)
    return record


def enough(paths: Sequence[Path], count: int, folder: Path) -> list[Path]:
    """At least `count` different images: those given, then mirrored and turned copies of them."""
    found = list(paths)
    for turn in range(1, 8):
        for path in paths:
            if len(found) >= count:
                return found
            pixels = np.rot90(read_image(path), turn % 4)
            copy = folder / f"{turn}_{path.stem}.png"
            Image.fromarray(pixels[:, ::-1] if turn > 3 else pixels).save(copy)
            found.append(copy)
    if len(found) < count:
        raise InputError(f"{len(paths)} images make {len(found)} at most; choose smaller --sizes.")
    return found


def report(record: dict) -> None:
    """Print what was measured."""
    rows = pd.DataFrame(record["rows"])
    shown = ["detector", "way", "images", "setup_seconds", "epoch_seconds", "total_seconds"]
    shown += ["peak_memory_mb", "image_auroc", "score_difference"]
    print(rows[shown].round(4).to_string(index=False))
    print(speed_record.ratios(rows).round(1).to_string(index=False))
    lines = speed_record.scaling(rows)
    if len(lines):
        print(lines.round(3).to_string(index=False))


def check(record: dict, path: Path) -> int:
    """Hold the ratios of a measurement against those of the record."""
    now = speed_record.ratios(pd.DataFrame(record["rows"]))
    then = speed_record.ratios(read_record(path, "bench")["rows"])
    both = now.merge(then, on=["detector", "images"], suffixes=("", "_recorded"))
    if both.empty:
        print(f"{path.name} has no measurement at these sizes; nothing to compare.")
        return 1
    both["limit"] = (1 - TOLERANCE) * both["total_recorded"]
    both["passed"] = both["total"] >= both["limit"]
    print(both[["detector", "images", "total", "total_recorded", "limit", "passed"]].round(1))
    return 0 if both["passed"].all() else 1


if __name__ == "__main__":
    sys.exit(main())
