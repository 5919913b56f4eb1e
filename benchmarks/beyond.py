"""The weightings beyond the paper on a data root: gain, gap closed, harm, who is kept, cost.

    python benchmarks/beyond.py --dataset mvtec_ad --weighting paper mutual comet+   # stand-ins
    python benchmarks/beyond.py --data-root MVTEC --category bottle --level 0 0.1 0.2
    python benchmarks/beyond.py --data-root FOLDER --category magnetic_tile --out beyond.json

The long version of the chapter of that name: last epoch, the demo profile with all images, mean
over seeds and its 95 % interval. A level that would leave fewer than `LEFT` anomalous images in the
test set of a category is left out for it; means over categories are of those that have the level.
Finished runs are kept in the store (COMET_RUNS): an interrupted call goes on where it stopped.
With `--out` the runs are added to a record, from which the book shows what it does not run itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from comet_core import beyond, beyond_record, notebook, speed
from comet_core.datasets import load
from comet_core.datasets.base import ANOMALOUS
from comet_core.datasets.contamination import injected_count
from comet_core.errors import InputError
from comet_core.evidence import places
from comet_core.experiments import run

LEFT = 10
"""Anomalous test images from which an I-AUROC says something."""
LEVELS = (0.0, 0.1, 0.2, 0.4)
EMBEDDED: dict[str, tuple[str, ...]] = {"mvtec_ad": (), "viaduct": (), "ksdd2_clean": ()}
"""With all their categories."""


def main() -> int:
    """The command line; returns 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", nargs="+", default=[], help="layouts [mvtec_ad]")
    parser.add_argument("--data-root", default="", help="empty: all embedded stand-ins")
    parser.add_argument("--category", nargs="+", default=[], help="all that there are [default]")
    parser.add_argument("--detector", nargs="+", default=["simplenet", "differnet"])
    parser.add_argument(
        "--weighting",
        nargs="+",
        default=[*beyond.RULES, beyond.BEST],
        choices=[*beyond.RULES, beyond.BEST],
        help="all that there are [default]",
    )
    parser.add_argument("--level", nargs="+", type=float, default=list(LEVELS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--engine", default="in_process")
    parser.add_argument("--out", type=Path, help="add the runs to this record, beyond.json")
    parser.add_argument("--name", default="", help="what the record calls the categories together")
    parser.add_argument("--each", action="store_true", help="each category for itself as well")
    chosen = parser.parse_args()
    try:
        if chosen.out is not None:
            beyond_record.check(chosen.out)  # now rather than after hours
        rows = run(grids(chosen), engine=chosen.engine)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    samples = notebook.training_samples(rows)
    rows = beyond.prepared(rows)
    if chosen.each and len(set(rows["category"])) > 1:
        for category, part in rows.groupby("category", sort=False):
            print(f"\n{category}")
            report(part, samples)
        print("\nmean over the categories")
    report(rows, samples)
    if chosen.out is not None:
        beyond_record.add(beyond_record.told(rows, samples, chosen.name), chosen.out, speed.made())
    return 0


def grids(chosen: argparse.Namespace) -> list[dict]:
    """Those of the chapter, for each category with the levels that it has images for."""
    found = []
    for place in places(EMBEDDED, chosen.dataset, chosen.data_root, chosen.category):
        name, root = place["dataset"], str(place["data_root"])
        for category in place["category"]:
            levels = feasible(name, root, category, chosen.level)
            if not levels:  # none would stand for those of the profile
                continue
            found += beyond.grids(
                chosen.profile,
                datasets=[name],
                data_root=root,
                categories=[category],
                detectors=chosen.detector,
                weightings=chosen.weighting,
                levels=levels,
                seeds=range(chosen.seeds),
                strict=False,
            )
    if not found:
        raise InputError(
            f"--level {' '.join(f'{level:g}' for level in chosen.level)}: no category would keep"
            f" {LEFT} anomalous test images; ask for lower levels."
        )
    return found


def feasible(dataset: str, root: str, category: str, levels: list[float]) -> list[float]:
    """The levels that leave `LEFT` anomalous images in the test set."""
    data = load(dataset, root, category)
    nominal = sum(record.label != ANOMALOUS for record in data.train)
    anomalous = sum(record.label == ANOMALOUS for record in data.test)
    return [level for level in levels if anomalous - injected_count(level, nominal) >= LEFT]


def report(rows: pd.DataFrame, samples: pd.DataFrame) -> None:
    """Print the tables of the chapter as numbers; I-AUROC, gains and harms in its units."""
    level = ["contamination"]
    curves = beyond.curves(rows).drop(columns="categories")
    gaps = beyond.gaps(rows).drop(columns=["low", "high", "n"])
    harms = beyond.harms(rows).drop(columns=["low", "high", "n"]).rename(columns={"mean": "clean"})
    table = curves.merge(gaps, how="left", on=[*beyond.KEYS, *level])
    table = table.merge(beyond.kept(rows, samples), how="left", on=[*beyond.KEYS, *level])
    table = table.merge(harms, how="left", on=beyond.KEYS)
    table = table.merge(beyond.costs(rows), how="left", on=beyond.KEYS).drop(columns="dataset")
    with pd.option_context("display.width", 200, "display.float_format", "{:.3f}".format):
        print(table.to_string(index=False, na_rep="-"))
    print(beyond.findings(rows))


if __name__ == "__main__":
    sys.exit(main())
