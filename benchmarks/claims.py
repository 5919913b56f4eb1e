"""The runs that the ledger of claims judges, with more seeds than a book has time for.

    python benchmarks/claims.py --seeds 20 --engine processes --out benchmarks/claims.json
    python benchmarks/claims.py --dataset mvtec_ad viaduct ksdd2 --data-root DATA --out claims.json

The two grids of `comet_core.evidence`, on the embedded stand-ins or on data of one's own. Seeds
count from 0; the number of them is to be fixed before the first result is seen. Finished runs are
kept in the store (COMET_RUNS): an interrupted call goes on where it stopped. With `--out` the runs
are added to a record, which the page *What holds* shows beside its own runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from comet_core import claims, claims_record, evidence, ledger, speed, tables
from comet_core.errors import InputError
from comet_core.experiments import run

SEEDS = 20


def main() -> int:
    """The command line; returns 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", nargs="+", default=[], help="layouts [those of the profile]")
    parser.add_argument("--data-root", default="", help="empty: the embedded stand-ins")
    parser.add_argument("--category", nargs="+", default=[], help="of every data set")
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--engine", default="in_process")
    parser.add_argument("--out", type=Path, help="add the runs to this record, claims.json")
    chosen = parser.parse_args()
    places: dict[str, Any] = {
        "datasets": chosen.dataset,
        "data_root": chosen.data_root,
        "categories": chosen.category,
        "detectors": evidence.DETECTORS,
        "seeds": range(chosen.seeds),
    }
    try:
        if chosen.out is not None:
            claims_record.check(chosen.out)  # now rather than after an hour
        levels = [0.0, evidence.LEVEL]
        grids = (
            evidence.comparison(chosen.profile, **places),
            evidence.curves(chosen.profile, strategies=claims.COMPARED, levels=levels, **places),
        )
        comparison, curves = (run(grid, engine=chosen.engine) for grid in grids)
        if chosen.out is not None:
            claims_record.add(comparison, curves, chosen.out, speed.made())
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    parts = claims.judge(comparison, curves, tables.reported())
    with pd.option_context("display.width", 200, "display.max_colwidth", 90):
        print(
            parts[["claim", "measure", "where", "mean", "low", "high", "n", "verdict"]]
            .round(4)
            .to_string()
        )
        print(ledger.in_words(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
