"""How well a search through an unlabelled folder finds the defective images.

    python benchmarks/triage.py --data-root data/mvtec_ad --category bottle --defective 21
    python benchmarks/triage.py --data-root FOLDER --category magnetic_tile --defective 75

A draw copies all training images and so many defective test images into one folder, shuffled and
under neutral names; its seed decides the defective images, the order and the training. The last
epoch counts. Printed for each draw: how many of the k defective images are among the first k and
the first k + 4; precision and recall of the cut at t; average precision of the ranking.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from comet_core.datasets import load
from comet_core.errors import InputError
from comet_core.inspection import MEMBERS, SECOND, STRATEGY, measure


def main() -> int:
    """The command line; returns 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="mvtec_ad")
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--category", required=True)
    parser.add_argument("--defective", type=int, required=True, help="how many to mix in")
    parser.add_argument("--strategy", nargs="+", default=[STRATEGY])
    parser.add_argument(
        "--members", type=int, nargs="+", default=[MEMBERS], help="that are trained"
    )
    parser.add_argument(
        "--second", nargs="+", default=[SECOND], help='of another kind; "": none [differnet]'
    )
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--profile", default="demo")
    chosen = parser.parse_args()
    try:
        dataset = load(chosen.dataset, chosen.data_root, chosen.category)
        ways = product(chosen.strategy, chosen.members, chosen.second)
        for strategy, members, second in ways:
            for seed in range(chosen.draws):
                started = time.process_time()
                with TemporaryDirectory() as aside:
                    told = measure(
                        dataset,
                        chosen.defective,
                        Path(aside),
                        seed,
                        strategy=strategy,
                        members=members,
                        second=second,
                        profile=chosen.profile,
                    )
                seconds = time.process_time() - started
                how = {"strategy": strategy, "members": members, "second": second, "draw": seed}
                row = {**how, **told, "cpu_seconds": seconds}
                print(pd.DataFrame([row]).to_string(index=False), flush=True)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
