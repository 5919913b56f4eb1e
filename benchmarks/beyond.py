"""The weightings beyond the paper on a data root: gain, gap closed, harm, who is kept, cost.

    python benchmarks/beyond.py --data-root data/synthetic/mvtec_ad --weighting paper mutual comet+
    python benchmarks/beyond.py --data-root MVTEC --category bottle --level 0 0.1 0.2
    python benchmarks/beyond.py --data-root FOLDER --category magnetic_tile --weighting core comet+

The long version of the chapter of that name: last epoch, the demo profile with all images, mean
over seeds and its 95 % interval. A level that would leave fewer than `LEFT` anomalous images in the
test set of a category is left out for it; means over categories are of those that have the level.
Finished runs are kept in the store (COMET_RUNS): an interrupted call goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from comet_core import beyond, notebook
from comet_core.datasets import load
from comet_core.datasets.base import ANOMALOUS
from comet_core.datasets.contamination import injected_count
from comet_core.errors import InputError
from comet_core.evidence import places
from comet_core.experiments import run

LEFT = 10
"""Anomalous test images from which an I-AUROC says something."""
LEVELS = (0.0, 0.1, 0.2, 0.4)


def main() -> int:
    """The command line; returns 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="mvtec_ad")
    parser.add_argument("--data-root", required=True)
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
    parser.add_argument("--each", action="store_true", help="each category for itself as well")
    chosen = parser.parse_args()
    try:
        rows = run(grids(chosen), engine=chosen.engine)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    samples = notebook.training_samples(rows, Path(chosen.data_root))
    rows = beyond.prepared(rows)
    if chosen.each and len(set(rows["category"])) > 1:
        for category, part in rows.groupby("category", sort=False):
            print(f"\n{category}")
            report(part, samples)
        print("\nmean over the categories")
    report(rows, samples)
    return 0


def grids(chosen: argparse.Namespace) -> list[dict]:
    """Those of the chapter, for each category with the levels that it has images for."""
    found = []
    given = {"data_root": chosen.data_root, "categories": chosen.category}
    for place in places({}, [chosen.dataset], **given):
        categories = place["category"]
        for category in [categories] if isinstance(categories, str) else categories:
            found += beyond.grids(
                chosen.profile,
                datasets=[chosen.dataset],
                data_root=chosen.data_root,
                categories=[category],
                detectors=chosen.detector,
                weightings=chosen.weighting,
                levels=feasible(chosen.dataset, chosen.data_root, category, chosen.level),
                seeds=range(chosen.seeds),
                strict=False,
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
