"""One run: its settings as columns, its computation, and its repetition."""

from __future__ import annotations

import importlib.metadata
import io
import platform
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from comet_core.config import RunConfig
from comet_core.datasets import load
from comet_core.devices import device
from comet_core.errors import InputError
from comet_core.results import Store, plain

Execute = Callable[[RunConfig], Any]
"""What computes a run: returns an object with `row`, a dict, and `tables`, DataFrames by name."""

COSTS = ("seconds", "peak_memory_mb")
"""How the columns end that tell what a run cost, which no two computations share."""
_ONE_AT_A_TIME = threading.Lock()  # a Dask worker may have threads; runs share seeds and the clock


class Task(NamedTuple):
    """What a worker needs to know of a run."""

    name: str
    config: RunConfig
    fingerprint: str
    store: str
    execute: Execute | None
    look: Callable[[RunConfig], str]


def compute(task: Task) -> dict[str, Any]:
    """Compute a run, put it in the store and return its row; called by the engines.

    Raises:
        InputError: the run's input does not fit, or its data changed since the grid was listed.
    """
    store = Store(task.store)
    with _ONE_AT_A_TIME, store.claim(task.name):
        if not store.finished(task.name):  # another process may have been quicker
            execute = task.execute or pipeline()
            begin = time.perf_counter()
            output = execute(task.config)
            seconds = time.perf_counter() - begin
            if task.look(task.config) != task.fingerprint:
                raise InputError(
                    f"the data at {task.config.data_root} changed while the grid ran; run it again."
                )
            row = {
                "hash": task.name,
                **settings(task.config),
                **output.row,
                "fingerprint": task.fingerprint,
                "seconds": seconds,
                "threads": _threads(),
                "device": str(device()),
                **versions(),
            }
            config = task.config.model_dump(mode="json")
            store.write(task.name, config, row, output.tables)
    return store.row(task.name)


def settings(config: RunConfig) -> dict[str, Any]:
    """The columns that describe a run: its profile, its identity, and one for each option.

    Where the data lie is left to `config.json`: rows are the same on every machine.
    """
    values = {"profile": config.profile, **config.identity()}
    options = values.pop("options")
    return {**values, **{f"options.{name}": value for name, value in options.items()}}


@cache
def versions() -> dict[str, str]:
    """Versions of what decides the numbers.

    `code` holds the installed version and a hash of this package's source, so that edits show;
    `commit` is that of the checkout it lies in, empty where it is installed.
    """
    source = Path(__file__).parent
    digest = sha256()
    for path in sorted(source.rglob("*.py")):
        digest.update(path.relative_to(source).as_posix().encode() + b"\0" + path.read_bytes())
    release = [_version("comet-companion"), digest.hexdigest()[:12]]
    found = {"code": "+".join(filter(None, release)), "commit": ""}
    if (source.parent / ".git").exists():
        command = ["git", "-C", str(source.parent), "rev-parse", "HEAD"]
        with suppress(OSError):
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            found["commit"] = answer.stdout.strip()
    packages = {name: _version(name) for name in ("torch", "timm", "numpy")}
    return {**found, "python": platform.python_version(), **packages}


def rerun(
    name: str,
    *,
    store: Store | Path | str | None = None,
    execute: Execute | None = None,
    fingerprint: Callable[[RunConfig], str] | None = None,
) -> pd.DataFrame:
    """Compute a stored run again, from its own settings, and compare; the store stays as it is.

    Returns:
        One row for each result and each table that differs, with `stored` and `again`; empty if
        every one came out equal to the last bit. What a run costs is not compared.

    Raises:
        InputError: no such run, or its data are no longer the ones it was computed from.
    """
    store = store if isinstance(store, Store) else Store(store)
    row, config = store.row(name), RunConfig.checked(store.config(name))
    if (fingerprint or listing_fingerprint)(config) != row["fingerprint"]:
        raise InputError(
            f"the data at {config.data_root} are not those that run {name} was computed from; "
            "put them back, or run the grid again for a new row."
        )
    compute_again = execute or pipeline()
    if row.get("threads"):  # sums of floats depend on how they are divided among threads
        import torch

        torch.set_num_threads(row["threads"])
    output = compute_again(config)
    again = plain(output.row)
    found = [
        (column, row.get(column), value)
        for column, value in again.items()
        if not column.endswith(COSTS) and row.get(column) != value
    ]
    for table, frame in output.tables.items():
        old = store.table(name, table)
        if not old.equals(_as_stored(frame)):
            found.append((f"table {table}", f"{len(old)} rows", f"{len(frame)} rows"))
    return pd.DataFrame(found, columns=["result", "stored", "again"])


def listing_fingerprint(config: RunConfig) -> str:
    """The state of the data of a run, from its listing alone; no image is opened."""
    return load(
        config.dataset, config.data_root, config.category, strict=config.strict
    ).fingerprint()


def image_paths(config: Mapping[str, Any]) -> Mapping[str, Path]:
    """Where the images of a stored run lie, by id; empty where its data are no longer there.

    Args:
        config: of `Store.config`.
    """
    return _listed_paths(config["dataset"], config["data_root"], config["category"])


@cache
def _listed_paths(dataset: str, data_root: str, category: str) -> Mapping[str, Path]:
    with warnings.catch_warnings(), suppress(InputError):
        warnings.simplefilter("ignore", UserWarning)  # what is left out was told when it ran
        listed = load(dataset, data_root, category)
        return {record.id: record.path for record in (*listed.train, *listed.test)}
    return {}


def pipeline() -> Execute:
    """`comet_core.pipeline.execute`, imported when needed: a store is listed without PyTorch."""
    from comet_core.pipeline import execute

    return execute


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _threads() -> int | None:
    torch = sys.modules.get("torch")  # not imported for its own sake
    return torch.get_num_threads() if torch else None


def _as_stored(frame: pd.DataFrame) -> pd.DataFrame:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return pd.read_parquet(buffer)


versions()  # remembered from the import on: a row names the code that computed it, not a later one
