"""A stand-in for the pipeline: quick, deterministic, and told by its options how to misbehave.

Workers import it by name, so it lives in a module of its own, free of pytest.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from comet_core.config import RunConfig
from comet_core.errors import InputError
from comet_core.experiments import run
from comet_core.results import Store


class Output(NamedTuple):
    row: dict[str, Any]
    tables: dict[str, pd.DataFrame]


def fingerprint(config: RunConfig) -> str:
    return f"data of {config.category}"


def execute(config: RunConfig) -> Output:
    """Numbers that depend on category, strategy and seed; options:

    log: file to append a line "pid seed" to; sleep: seconds; fail: raise; bad: raise InputError;
    die: SIGKILL this process; once: do so only while this file does not exist.
    """
    options = config.options
    if "log" in options:
        with Path(str(options["log"])).open("a") as file:
            file.write(f"{os.getpid()} {config.seed}\n")
    time.sleep(float(options.get("sleep", 0)))
    first = "once" not in options or not Path(str(options["once"])).exists()
    if first and "once" in options:
        Path(str(options["once"])).touch()
    if first and options.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if first and options.get("fail"):
        raise RuntimeError("the disk is on fire")
    if options.get("bad"):
        raise InputError("option 'bad' is bad; leave it out.")
    text = f"{config.category} {config.strategy} {config.seed}"
    rng = np.random.default_rng(list(sha256(text.encode()).digest()))
    scores = rng.normal(size=2000)
    table = pd.DataFrame({"id": [f"image {n}" for n in range(scores.size)], "score": scores})
    row = {"image_auroc": float(rng.uniform()), "threads_seen": os.environ.get("OMP_NUM_THREADS")}
    return Output(row, {"train": table, "test": table.tail(100).reset_index(drop=True)})


def noisy(config: RunConfig) -> Output:
    """As `execute`, with a result that is never the same."""
    output = execute(config)
    return Output({**output.row, "image_auroc": time.time()}, {"train": output.tables["test"]})


def mistakes(store: Store, known: set[str] | frozenset[str] = frozenset()) -> list[str]:
    """The runs in the store, but the `known`, that are not to the last bit what they must be."""
    found = [path.name for path in store.root.iterdir() if not path.name.startswith(".")]
    found = [name for name in found if name not in known]
    wrong = [name for name in found if not store.finished(name)]
    for name in set(found) - set(wrong):
        config = RunConfig(**store.config(name))
        right = execute(config.model_copy(update={"options": {}}))
        same = store.row(name)["image_auroc"] == right.row["image_auroc"] and all(
            store.table(name, table).equals(frame) for table, frame in right.tables.items()
        )
        if not same or config.hash(fingerprint(config)) != name:
            wrong.append(name)
    return wrong


def lines(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def work(store: str, grid: dict[str, Any], engine: str = "in_process") -> None:
    run(
        grid,
        store=store,
        engine=engine,
        execute=execute,
        fingerprint=fingerprint,
        progress=False,
    )


if __name__ == "__main__":
    import json

    # Else Ctrl-C is ignored where the tests run in the background of a shell.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    work(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])


def page_faults(arrays: int) -> int:
    """Pages that the system had to provide for arrays of 32 MiB, each freed before the next."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(arrays):
        np.ones(2**25, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
