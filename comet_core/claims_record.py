"""The ledger with more seeds than a book has time for: a record of its runs, and what it decides.

Three seeds leave most claims open. `benchmarks/claims.py --out` makes the runs of the two grids in
`evidence` with as many seeds as it is told and records them; the rules of `claims` then judge the
record exactly as they judge the runs behind a copy of the book.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from comet_core import claims, ledger, notebook, records, tables
from comet_core.claims import ARITHMETIC, FAILS, HOLDS, NOT_RUN, UNDECIDED
from comet_core.errors import InputError
from comet_core.evidence import DETECTORS
from comet_core.names import enumerated

TARGET = "bench-claims"
"""What `make` calls the benchmark."""
COMPARISON, CURVES = "comparison", "curves"
"""The grids of `evidence`; a run that is in both is recorded for each."""
RUN = ["grid", "dataset", "category", "detector", "strategy", "contamination", "seed"]
"""What names a run of the record."""
ABOUT = ["synthetic", "train_limit", "hash"]
MEASURED = [
    *("image_auroc", "recall_iqr", "precision_iqr"),
    *("mean_weight_nominal", "mean_weight_boundary", "mean_weight_anomalous"),
]
"""What the rules read; a weight is missing where there are no such images."""
COLUMNS = [*RUN, *ABOUT, *MEASURED]
NAMES = (COMPARISON, CURVES, *claims.DATASETS, "ksdd2_clean", *DETECTORS, *claims.COMPARED)


def check(path: Path) -> None:
    """Whether rows can be added to a record; see `records.check`."""
    records.check(path, TARGET, COLUMNS)


def add(
    comparison: pd.DataFrame, curves: pd.DataFrame, path: Path, made: Mapping[str, Any]
) -> None:
    """Add the rows of the two grids to a record; those that it has already are replaced.

    Args:
        comparison: rows of `evidence.comparison`.
        curves: rows of `evidence.curves`.
        path: of the record, which is begun where there is none.
        made: when and where the rows were made.

    Raises:
        InputError: the file is another one, or a record of other data: of real images and not of
            stand-ins, or of another number of them, which must not be averaged.
    """
    rows = pd.concat([comparison.assign(grid=COMPARISON), curves.assign(grid=CURVES)])
    rows = rows.reindex(columns=COLUMNS).round(dict.fromkeys(MEASURED, 5))
    if path.exists() and _kinds(read_record(path)["rows"]) != _kinds(rows):
        raise InputError(
            f"'{path}' is a record of other data; name another file for that of these runs."
        )
    records.add_rows(rows, path, TARGET, made, RUN, names=NAMES)


def read_record(path: Path) -> dict[str, Any]:
    """The record; its "rows" are a table.

    Raises:
        InputError: no such file, or another one.
    """
    return records.read_record(path, TARGET, COLUMNS)


def _kinds(rows: pd.DataFrame) -> set[tuple[float, float]]:
    """Whether images are drawn, and to how many of them trainings are limited."""
    told = rows[["synthetic", "train_limit"]].astype(float).fillna(-1)
    return set(told.itertuples(index=False, name=None))


def described(record: Mapping[str, Any]) -> str:
    """One line that says what the record was made from."""
    return f"{notebook.describe(record['rows'])} · a record of {record['made']}"


def judge(record: Mapping[str, Any]) -> pd.DataFrame:
    """`claims.judge` on the runs of a record."""
    rows = record["rows"]
    grids = [rows[rows["grid"] == name] for name in (COMPARISON, CURVES)]
    return claims.judge(grids[0], grids[1], tables.reported())


def beside(few: pd.DataFrame, many: pd.DataFrame) -> pd.DataFrame:
    """Both verdicts on each claim, as text.

    Args:
        few: parts from `claims.judge`, of the runs at hand.
        many: parts from `judge`.
    """
    here, there = ledger.shown(ledger.verdicts(few)), ledger.shown(ledger.verdicts(many))
    return pd.DataFrame(
        {
            "claim": here["claim"],
            f"here, {_seeds(few)}": here["verdict"],
            f"recorded, {_seeds(many)}": there["verdict"],
            "effect in the record, points": there["effect, points"],
            "its parts": there["parts"],
        }
    )


def caption(few: pd.DataFrame, many: pd.DataFrame) -> str:
    """What `beside` shows, with the seeds behind either verdict."""
    return f"The verdicts of this copy's runs ({_seeds(few)}), and of the record ({_seeds(many)})"


def findings(many: pd.DataFrame) -> str:
    """What the record decides: the claims of each verdict, and the parts that speak against."""
    table = ledger.verdicts(many)
    table = table[table["claim"] != ARITHMETIC]
    words = {
        HOLDS: ("holds", "hold"),
        FAILS: ("does not hold", "do not hold"),
        UNDECIDED: ("stays undecided", "stay undecided"),
        NOT_RUN: ("was not run", "were not run"),
    }
    told = []
    for verdict, (one, several) in words.items():
        names = list(table.loc[table["verdict"] == verdict, "claim"])
        if names:
            told.append(f"{enumerated(names)} {several if len(names) > 1 else one}")
    data = enumerated(claims.union(table["data"]))
    return f"On {data} with {_seeds(many)}, {enumerated(told)}.{ledger.against(many)}"


def _seeds(parts: pd.DataFrame) -> str:
    """How many seeds the parts have, at most."""
    count = max((len(seeds) for seeds in parts["seeds"]), default=0)
    return f"{count} seed{'s' * (count != 1)}"
