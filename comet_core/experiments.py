"""Grids of runs: one call, safe to interrupt, the same on a laptop and on a cluster.

    rows = run({"category": ["bottle", "screw"], "strategy": ["plain", "comet"], "seed": [0, 1, 2]})

A run that the store holds is not computed again, so the same call after Ctrl-C, a crash or a longer
list goes on where it stopped. On the command line,

    python -m comet_core.experiments rerun HASH     computes a row again from itself and compares
    python -m comet_core.experiments collect        lists the rows of a store, or writes them as CSV
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from comet_core import engines
from comet_core.config import RunConfig
from comet_core.errors import InputError
from comet_core.results import Store, collect, to_frame
from comet_core.runs import Execute, Task, compute, listing_fingerprint, rerun, versions

Grid = Mapping[str, Any] | RunConfig
PRELOAD = ("comet_core.pipeline", "comet_core.runs", "torch._dynamo", "pyarrow.parquet")
"""What a run imports; the latter two come with its first optimiser and its first table."""
_OPTION = "options."


def expand(grid: Grid | Sequence[Grid]) -> list[RunConfig]:
    """The runs of a grid: the product of its lists, the last one varying fastest.

    Args:
        grid: fields of `RunConfig`, each with one value or a list of values. "options.noise_std"
            sets one option of the detector; what a `profile` sets need not be said. A sequence of
            grids is their union.

    Raises:
        InputError: an unknown field, a value that does not fit, or an empty list.
    """
    if isinstance(grid, RunConfig):
        return [grid]
    if not isinstance(grid, Mapping):
        return [config for part in grid for config in expand(part)]
    axes = []
    for name, given in grid.items():
        values = given.tolist() if hasattr(given, "tolist") else given  # of numpy and pandas
        many = isinstance(values, Sequence) and not isinstance(values, str)
        choices = list(values) if many else [values]
        if not choices:
            raise InputError(f"setting '{name}' of the grid is an empty list; give it one value.")
        axes.append([(name, choice) for choice in choices])
    return [_config(dict(point)) for point in itertools.product(*axes)]


def _config(point: dict[str, Any]) -> RunConfig:
    fields = {name: value for name, value in point.items() if not name.startswith(_OPTION)}
    extra = {name.removeprefix(_OPTION): point[name] for name in point if name not in fields}
    if extra:
        fields["options"] = {**dict(fields.get("options") or {}), **extra}
    return RunConfig.from_profile(fields)


def run(
    grid: Grid | Sequence[Grid],
    *,
    store: Store | Path | str | None = None,
    engine: str = "in_process",
    workers: int | None = None,
    retries: int = 2,
    resources: Mapping[str, float] | None = None,
    progress: bool = True,
    execute: Execute | None = None,
    fingerprint: Callable[[RunConfig], str] | None = None,
) -> pd.DataFrame:
    """Compute the runs of a grid that the store lacks, and return the rows of all of them.

    Args:
        grid: see `expand`. Settings that name the same run give one row.
        store: the folder of the runs; by default COMET_RUNS, else `runs`.
        engine: "in_process", one run after the other; "processes", several on this machine, which
            in a script must be called below `if __name__ == "__main__":`; or the address of a Dask
            scheduler, "tcp://host:port". Workers of a cluster write to the store themselves: its
            folder and the data's must have the same path on all machines.
        workers: number of processes for "processes"; by default one for each core, which share
            the cores evenly. They run the code that was there at the session's first such call.
        retries: how often a run is tried again after its worker died or an unexpected error.
        resources: what a run takes up on a Dask worker, such as {"GPU": 1}.
        progress: show a bar with the time left.
        execute: what computes a run, `comet_core.pipeline.execute` if left out.
        fingerprint: what tells the state of the data; the data set's listing if left out.

    Returns:
        One row a run, in the order of the grid: `hash`, every setting, every result, the cost and
        the versions. Per-sample tables are in the store: `Store.tables(rows, "weights")`.

    Raises:
        InputError: the grid, the data or the engine is wrong; or, when all else is finished and
            stored, some runs failed: the sentence tells of the first.
    """
    store = store if isinstance(store, Store) else Store(store)
    store = Store(store.root.expanduser().absolute())  # workers may have other working folders
    root, look = str(store.root), fingerprint or listing_fingerprint
    states: dict[tuple, str] = {}
    tasks: dict[str, Task] = {}
    for config in expand(grid):
        config = config.model_copy(update={"data_root": config.data_root.expanduser().absolute()})
        place = (config.dataset, config.data_root, config.category, config.strict)
        if place not in states:
            states[place] = look(config)
        name = config.hash(states[place])
        tasks.setdefault(name, Task(name, config, states[place], root, execute, look))
    store.sweep()
    rows = {name: store.row(name) for name in tasks if store.finished(name)}
    missing = [name for name in tasks if name not in rows]
    outcomes = engines.start(
        engine,
        compute,
        [tasks[name] for name in missing],
        workers=workers,
        retries=retries,
        resources=resources,
        preload=PRELOAD,
    )
    bar = tqdm(
        total=len(tasks),
        initial=len(rows),
        desc="runs",
        unit="run",
        smoothing=0,
        disable=not (progress and missing),
    )
    failures: list[tuple[Task, engines.Failure]] = []
    with closing(outcomes), bar:
        for position, outcome in outcomes:
            name = missing[position]
            if isinstance(outcome, engines.Failure):
                failures.append((tasks[name], outcome))
            else:
                rows[name] = outcome
            bar.update()
    if failures:
        raise _error(failures, len(tasks))
    return to_frame([rows[name] for name in tasks])


def _error(failures: list[tuple[Task, engines.Failure]], runs: int) -> InputError:
    for task, failure in failures:
        if failure.trace:
            logging.getLogger(__name__).error("run %s failed\n%s", task.name, failure.trace)
    task, failure = failures[0]
    if runs == 1 and not failure.trace:  # bad input has told all there is to say
        return InputError(failure.message)
    config = task.config
    which = f"{config.dataset}/{config.category} {config.detector} {config.strategy}"
    return InputError(
        f"{len(failures)} of {runs} runs failed, the first is {task.name} ({which}, seed "
        f"{config.seed}): {failure.message.rstrip('.')}. The others are stored: mend the cause and "
        "make the same call."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0, 1 where a rerun came out different, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m comet_core.experiments")
    commands = parser.add_subparsers(dest="command", required=True)
    again = commands.add_parser("rerun", help="compute a row again from itself and compare")
    again.add_argument("hash", help="name of the run, 16 hexadecimal digits")
    listing = commands.add_parser("collect", help="list the runs of a store")
    listing.add_argument("--csv", type=Path, help="write every column to this file instead")
    for command in (again, listing):
        command.add_argument("--store", type=Path, help="folder of the runs [COMET_RUNS or runs]")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "rerun":
            return _print_rerun(chosen.hash, chosen.store)
        _print_rows(collect(Store(chosen.store).existing()), chosen.csv)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _print_rerun(name: str, store: Path | None) -> int:
    differing = rerun(name, store=store)
    if differing.empty:
        print(f"{name}: equal, every result and every table.")
        return 0
    print(f"{name}: {len(differing)} differ.")
    print(differing.to_string(index=False))
    stored = Store(store).row(name)
    for package, version in versions().items():
        if stored.get(package) != version:
            print(f"{package}: stored with {stored.get(package)}, now {version}")
    return 1


def _print_rows(rows: pd.DataFrame, csv: Path | None) -> None:
    if csv is not None:
        if csv.is_dir():
            raise InputError(
                f"the rows cannot be written to '{csv}' (it is a folder); name a file in it."
            )
        aside = csv.with_name(f".{csv.name}.part")
        try:
            rows.to_csv(aside, index=False)
            aside.replace(csv)
        except OSError as error:
            with suppress(OSError):
                aside.unlink()
            raise InputError(
                f"the rows cannot be written to '{csv}' ({error.strerror or error}); name a file "
                "in a folder that can be written to."
            ) from None
        print(f"{len(rows)} runs written to {csv}")
        return
    brief = ["hash", "dataset", "category", "contamination", "detector", "strategy", "seed"]
    brief = [name for name in [*brief, "image_auroc"] if name in rows]
    print(rows[brief].to_string(index=False) if len(rows) else "no runs")


if __name__ == "__main__":
    sys.exit(main())
