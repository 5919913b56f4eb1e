"""How much faster a grid is in several processes, and what the store and the engine cost.

    python benchmarks/engines.py                    24 smoke runs in one process, then in two
    python benchmarks/engines.py --profile demo     the same with runs of the demo profile

Features are extracted beforehand and stores are temporary. Workers start with every call, from a
server that has imported PyTorch in the first. Read the load that is printed: on a busy machine, two
processes cannot have two cores. With OMP_NUM_THREADS=1 one process cannot have them, either.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time

import pandas as pd

from comet_core.engines import cores
from comet_core.errors import InputError
from comet_core.experiments import run


def measure(grid: dict, engine: str, workers: int | None = None) -> dict[str, float | str]:
    """Time of a grid in a fresh store, and of it the part that was not spent in runs."""
    with tempfile.TemporaryDirectory() as store:
        begin = time.perf_counter()
        rows = run(grid, store=store, engine=engine, workers=workers, progress=False)
        wall = time.perf_counter() - begin
    return {
        "engine": f"{engine} {workers or ''}",
        "runs": len(rows),
        "wall_seconds": wall,
        "runs_per_second": len(rows) / wall,
        "median_run_seconds": rows["seconds"].median(),
        "unaccounted_ms_per_run": 1000 * (wall - rows["seconds"].sum()) / len(rows),
        "load": os.getloadavg()[0],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", default="data/synthetic/mvtec_ad")
    parser.add_argument("--category", default="bottle_cap")
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--workers", type=int, default=cores())
    chosen = parser.parse_args()
    grid = {
        "data_root": chosen.data_root,
        "category": chosen.category,
        "profile": chosen.profile,
        "contamination": 0.1,
        "strategy": "comet",
        "seed": list(range(chosen.runs)),
    }
    print(f"{cores()} cores, load {os.getloadavg()[0]:.1f} before the start", flush=True)
    try:
        warm = {**grid, "seed": [0, 1]}  # fills the feature cache, loads what runs import
        measure(warm, "in_process")
        measure(warm, "processes", workers=chosen.workers)
        found = pd.DataFrame(
            [
                measure(grid, "in_process"),
                measure(grid, "processes", workers=1),
                measure(grid, "processes", workers=chosen.workers),
            ]
        )
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(found.round(2).to_string(index=False))
    one, many = found["runs_per_second"].iloc[1:]
    share = found["unaccounted_ms_per_run"].iloc[0] / found["median_run_seconds"].iloc[0] / 10
    print(f"{chosen.workers} processes: {many / one:.2f} times the throughput of one")
    print(f"store and engine: {share:.1f} % of a run of profile '{chosen.profile}', in process")
    return 0


if __name__ == "__main__":
    sys.exit(main())
