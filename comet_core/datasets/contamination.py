"""The noise protocol: anomalous test images join the training set (after SoftPatch, NeurIPS 2022).

k = floor(level * N_train) images, where N_train counts the nominal training images of the data set
as loaded. Without overlap (the default) they leave the test set, of which at least one anomalous
image must stay; with overlap they are in both. A training set that is contaminated by nature
(KSDD2) keeps its anomalies: level 0 leaves it as it is, a higher level adds to it.

Which k: the anomalous images are put in one seeded order and the first k are taken, so that with
one seed the images at 5 % are among those at 10 %. Within a kind of defect the order is random;
between kinds it follows Webster's method of apportionment (the j-th of n images has the rank
(j + 1/2) / n), so that every level holds the kinds in proportion to their numbers.
"""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd

from comet_core.datasets.base import ANOMALOUS, Dataset, Record
from comet_core.errors import InputError

COLUMNS = ("id", "kind", "level", "seed", "overlap", "origin")


def contaminate(
    dataset: Dataset, level: float, *, overlap: bool = False, seed: int = 0
) -> tuple[Dataset, pd.DataFrame]:
    """Put anomalous test images into the training set.

    Args:
        dataset: as loaded.
        level: injected images over nominal training images, in [0, 1).
        overlap: whether injected images also stay in the test set.
        seed: decides which images; the data set's order on disk does not.

    Returns:
        The contaminated data set, its injected records last in `train`, and the manifest: one row
        for each anomalous training image, with its `origin`, "injected" or "natural".

    Raises:
        InputError: the level is out of range, or asks for more anomalous images than there are.
    """
    if not (math.isfinite(level) and 0 <= level < 1):
        raise InputError(f"contamination level {level} is not in [0, 1); 0.1 stands for 10 %.")
    if seed < 0:
        raise InputError(f"contamination seed {seed} is negative; give 0 or more.")
    natural = [record for record in dataset.train if record.label == ANOMALOUS]
    nominal = len(dataset.train) - len(natural)
    count = injected_count(level, nominal)
    order = injection_order(dataset.test, seed)
    most = len(order) if overlap else max(len(order) - 1, 0)
    if count > most:
        kept = "" if overlap else ", of which one must stay in the test set"
        raise InputError(
            f"contamination {level:g} of {dataset.name} '{dataset.category}' asks for {count} "
            f"anomalous images, but there are {len(order)}{kept}; the largest possible level is "
            f"{_largest_level(most, nominal)}."
        )
    injected = [replace(record, split="train") for record in order[:count]]
    moved = set() if overlap else {record.id for record in injected}
    contaminated = replace(
        dataset,
        train=(*dataset.train, *injected),
        test=tuple(record for record in dataset.test if record.id not in moved),
    )
    rows = [
        (record.id, record.kind, float(level), seed, overlap, origin)
        for origin, records in (("natural", natural), ("injected", injected))
        for record in records
    ]
    return contaminated, pd.DataFrame(rows, columns=list(COLUMNS))


def injected_count(level: float, nominal: int) -> int:
    """k = floor(level * nominal), in decimal: in binary 0.29 * 100 falls just short of 29."""
    return int(Decimal(str(level)) * nominal)


def injection_order(records: tuple[Record, ...], seed: int) -> list[Record]:
    """The anomalous records in the order in which they are injected."""
    rng = np.random.default_rng(seed)
    kinds: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: r.id):
        if record.label == ANOMALOUS:
            kinds.setdefault(record.kind, []).append(record)
    names = sorted(kinds)
    ties = rng.permutation(len(names))  # kinds of one size take turns at being first
    ranked = [
        ((j + 0.5) / len(kinds[name]), int(tie), kinds[name][i])
        for name, tie in zip(names, ties, strict=True)
        for j, i in enumerate(rng.permutation(len(kinds[name])))
    ]
    return [record for *_, record in sorted(ranked, key=lambda entry: entry[:2])]


def _largest_level(most: int, nominal: int) -> str:
    """The shortest decimal that asks for `most` images, such as "0.2967"."""
    digits = 3
    while True:
        level = math.ceil(most * 10**digits / max(nominal, 1)) / 10**digits
        if injected_count(level, nominal) == most:
            return f"{level:g}"
        digits += 1
