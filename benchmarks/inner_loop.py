"""What meta-learning adds to I-AUROC on a category, and what of it is the inner loop.

    python benchmarks/inner_loop.py --data-root data/mvtec_ad --category bottle
    python benchmarks/inner_loop.py --data-root FOLDER --category magnetic_tile --out record.json

`meta` against `plain` and `comet` against `soft`, with the inner loop and without, last epoch, the
demo profile; paired differences and their 95 % intervals over seeds. With `--epochs`, DifferNet is
also trained for fewer epochs, plainly and by `comet`. Finished runs are kept in the
store, so an interrupted call goes on where it stopped. With `--out` the runs are added to a record,
from which the book shows what it does not run itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from accuracy import arguments, grid

from comet_core import inner_loop, speed
from comet_core.errors import InputError
from comet_core.experiments import run


def main() -> int:
    """The command line; returns 2 for bad input."""
    parser = arguments(__doc__, seeds=8)
    parser.add_argument("--epochs", type=int, nargs="*", default=[], help="fewer ones to try")
    parser.add_argument("--out", type=Path, help="add the runs to this record, inner_loop.json")
    chosen = parser.parse_args()
    base = {**grid(chosen), "contamination": chosen.contamination}
    try:
        if chosen.out is not None:
            inner_loop.check(chosen.out)  # now rather than after hours
        grids = inner_loop.grids([base])
        if chosen.epochs:
            # SimpleNet's training is bounded by its steps.
            grids += inner_loop.lengths({**base, "detector": "differnet"}, chosen.epochs)
        rows = run(grids, engine=chosen.engine).drop_duplicates("hash")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    table = inner_loop.parts(rows, ["category", "detector"])
    print(table.round(4).to_string(index=False))
    print(inner_loop.in_words(table))
    if chosen.epochs:
        print(inner_loop.shorter_shown(inner_loop.shorter(rows)).to_string(index=False))
    if chosen.out is not None:
        inner_loop.add(rows, chosen.out, speed.made())
    return 0


if __name__ == "__main__":
    sys.exit(main())
