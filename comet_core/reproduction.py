"""Runs of a profile that a results store holds: what a page shows as soon as they are there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from comet_core.config import RunConfig
from comet_core.errors import InputError
from comet_core.evidence import BASELINE, LEVEL, METHOD, NATIVE
from comet_core.results import Store, collect

VARIED = ("dataset", "category", "contamination", "overlap", "detector", "strategy", "seed")
FREE = ("strict", "pixel_size", "data_root")
"""Settings that change no number of the tables and the curves."""


def stored(profile: str, store: Store | Path | str | None = None) -> pd.DataFrame:
    """The runs of a store that are of a profile as it is, on data that are not synthetic.

    Runs that change any other setting (another kappa, fewer epochs) are experiments of somebody's
    own and left out, as are those of the oracle.

    Args:
        profile: such as "paper".
        store: the folder of the runs; by default COMET_RUNS, else `runs`.

    Returns:
        Their rows, as `results.collect` gives them; empty where there are none.

    Raises:
        InputError: the folder that is named is not there.
    """
    if not isinstance(store, Store):
        store = Store(store).existing() if store else Store()
    rows = collect(store)
    if rows.empty or "synthetic" not in rows:
        return rows.iloc[:0]
    rows = rows[(rows["profile"] == profile) & ~rows["synthetic"].astype(bool)]
    return rows[[_as_published(store, name, profile) for name in rows["hash"]]]


def for_tables(rows: pd.DataFrame) -> pd.DataFrame:
    """Of stored runs those that `tables.beside` takes: plain and CoMet, with partners.

    The contamination is that of `evidence.comparison`; a data set and detector of which no two runs
    differ in the strategy alone is left out.
    """
    if rows.empty:
        return rows
    native = rows["dataset"].isin(NATIVE)
    level = rows["contamination"] == native.map({True: 0.0, False: LEVEL})
    rows = rows[level & ~rows["overlap"].astype(bool) & rows["strategy"].isin([BASELINE, METHOD])]
    keys = ["dataset", "detector", "category", "seed"]
    pairs = rows.groupby(keys)["strategy"].transform("size") == 2
    return rows[pairs]


def for_curves(rows: pd.DataFrame) -> pd.DataFrame:
    """Of stored runs those of data sets and detectors that were run clean and contaminated.

    Without overlap: what overlap would make of a run is in its row.
    """
    if rows.empty:
        return rows
    rows = rows[~rows["overlap"].astype(bool)]
    keys = ["dataset", "detector", "strategy"]
    clean = rows[rows["contamination"] == 0][keys].drop_duplicates()
    dirty = rows[rows["contamination"] > 0][keys].drop_duplicates()
    return rows.merge(clean.merge(dirty))


def _as_published(store: Store, name: str, profile: str) -> bool:
    try:
        config = RunConfig.checked(store.config(name))
    except InputError:  # of an older version, or damaged
        return False
    chosen = {field: getattr(config, field) for field in (*VARIED, *FREE)}
    return config == RunConfig.from_profile({**chosen, "profile": profile})
