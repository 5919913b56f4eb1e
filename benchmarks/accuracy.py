"""I-AUROC of the detectors and strategies on a category: clean, contaminated, and by oracle.

    python benchmarks/accuracy.py --data-root data/mvtec_ad --category bottle
    python benchmarks/accuracy.py --data-root FOLDER --category magnetic_tile --no-clean

Last epoch, the demo profile, mean over seeds and its 95 % interval; a seed decides the injected
images, the initialisation and the batches. Finished runs are kept in the store, so an interrupted
call goes on where it stopped. "oracle" trains plainly after the injected images were taken out by
their labels: an upper bound, not a method. With `--copies` anomalous test images that nearly repeat
an injected one are also told apart from the others. With `--out` the runs are added to a record,
from which the book shows real images, which it does not hold itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from comet_core import datasets, real_record, speed
from comet_core.beyond import ORACLE
from comet_core.copies import apart
from comet_core.errors import InputError
from comet_core.experiments import run
from comet_core.results import Store
from comet_core.statistics import paired_difference, summarise


def arguments(about: str, seeds: int) -> argparse.ArgumentParser:
    """A command line that names data, detectors, contamination and seeds, for `grid`."""
    parser = argparse.ArgumentParser(description=about.split("\n")[0])
    parser.add_argument("--dataset", default="mvtec_ad")
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--category", nargs="+", required=True)
    parser.add_argument("--detector", nargs="+", default=["simplenet", "differnet"])
    parser.add_argument("--contamination", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--engine", default="in_process")
    return parser


def grid(chosen: argparse.Namespace) -> dict[str, Any]:
    """What all runs have in common; their contamination is added where it applies."""
    return {
        "dataset": chosen.dataset,
        "data_root": chosen.data_root,
        "category": chosen.category,
        "detector": chosen.detector,
        "seed": list(range(chosen.seeds)),
        "profile": chosen.profile,
    }


def main() -> int:
    """The command line; returns 2 for bad input."""
    parser = arguments(__doc__, seeds=3)
    parser.add_argument("--strategy", nargs="+", default=["plain", "reject", "soft", "comet"])
    parser.add_argument("--no-clean", action="store_true", help="leave the clean runs out")
    parser.add_argument("--store", default=None)
    parser.add_argument("--copies", action="store_true", help="tell repeated test images apart")
    parser.add_argument("--out", type=Path, help="add the runs to this record, real.json")
    chosen = parser.parse_args()
    common = grid(chosen)
    dirty = {"contamination": chosen.contamination}
    grids = [
        {**common, **dirty, "strategy": chosen.strategy},
        {**common, **dirty, "strategy": "plain", "oracle": True},
    ]
    if not chosen.no_clean:
        clean = [s for s in ("plain", "comet", "comet+") if s in chosen.strategy]
        grids.append({**common, "strategy": clean})
    try:
        if chosen.out is not None:
            real_record.check(chosen.out)  # now rather than after hours
        rows = run(grids, store=chosen.store, engine=chosen.engine)
        rows = rows.assign(method=rows["strategy"].where(~rows["oracle"], ORACLE))
        report(rows)
        if chosen.copies:
            compared = told_apart(rows[rows["contamination"] > 0], chosen)
            rows = pd.concat([rows[rows["contamination"] == 0], compared])
        if chosen.out is not None:
            real_record.add(rows, chosen.out, speed.made())
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def report(rows: pd.DataFrame) -> None:
    """Print means with intervals, and differences to `plain`."""
    by = ["dataset", "category", "detector", "contamination", "method"]
    # Each category for itself: its name is in `by`, so nothing is averaged over categories.
    table = summarise(rows, "image_auroc", by, category="").drop(columns="categories")
    for extra in ("mean_weight_nominal", "mean_weight_anomalous", "train_seconds"):
        found = summarise(rows, extra, by, category="")[[*by, "mean"]]
        table = table.merge(found.rename(columns={"mean": extra}), on=by, how="left")
    with pd.option_context("display.width", 200, "display.float_format", "{:.3f}".format):
        print(table.to_string(index=False))
        contaminated = rows[rows["contamination"] > 0]
        for method in contaminated["method"].unique():
            if method == "plain":
                continue
            gain = paired_difference(
                contaminated, "image_auroc", "method", method, "plain", by[:-1], pair=("seed",)
            )
            print(f"\n{method} - plain, the same seeds")
            print(gain.to_string(index=False))


def told_apart(rows: pd.DataFrame, chosen: argparse.Namespace) -> pd.DataFrame:
    """Print I-AUROC on anomalous test images with and without a copy among the injected.

    Returns:
        The rows of `copies.apart`.
    """
    found = []
    for category, part in rows.groupby("category"):
        data = datasets.load(chosen.dataset, chosen.data_root, str(category))
        found.append(apart(part, data, Store(chosen.store)))
        print(f"\n{category}: means on test images that repeat an injected one, and on new ones")
        means = found[-1].groupby(["detector", "method"])[real_record.MEASURED].mean()
        print(means.round(3).to_string())
    return pd.concat(found)


if __name__ == "__main__":
    sys.exit(main())
