"""What an epoch of each strategy costs, as a ratio to plain training.

    OMP_NUM_THREADS=1 python benchmarks/strategies.py
    OMP_NUM_THREADS=1 python benchmarks/strategies.py --set tasks=4

Random features of the shapes of the demo profile, for 209 images. Strategies take turns, so that a
busy machine slows all alike, and each ratio is the median over rounds of the processor time of an
epoch over that of plain training in the same round. An epoch is the difference between a long
and a short training over the difference of their epochs, so that what comes before and after all
epochs does not count. What `soft`, `comet` and `comet` to second order take includes refreshing the
weights; `meta` is `comet` without. Memory is kept as in the workers of `comet_core.engines`.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
import torch

from comet_core.config import RunConfig
from comet_core.detectors import make_detector
from comet_core.detectors.base import Maps
from comet_core.engines import keep_freed_memory
from comet_core.training import train

VARIANTS = {
    "plain": {"strategy": "plain"},
    "soft": {"strategy": "soft"},
    "meta, first order": {"strategy": "meta"},
    "comet, first order": {"strategy": "comet"},
    "meta, second order": {"strategy": "meta", "order": 2},
    "comet, second order": {"strategy": "comet", "order": 2},
}


SHORT = 3
"""Epochs of the short training: as long as the weights stand, so that an epoch of the difference
holds its share of a refresh."""


def features_like(detector: str, count: int) -> Maps:
    """Random features in the shapes of the embedded backbone at 256 pixels."""
    generator = torch.Generator().manual_seed(0)
    if detector == "simplenet":
        shapes = {"stride8": (count, 40, 32, 32), "stride16": (count, 112, 16, 16)}
    else:
        shapes = {"pooled": (count, 4, 3 * 320)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def main() -> None:
    """Print one table a detector."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=209)
    parser.add_argument("--epochs", type=int, default=12, help="a multiple of three")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--detector", nargs="+", default=["simplenet", "differnet"])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings")
    chosen = parser.parse_args()
    keep_freed_memory()
    changed = dict(pair.split("=", 1) for pair in chosen.set)
    for name in chosen.detector:
        maps = features_like(name, chosen.images)
        ids = [str(i) for i in range(chosen.images)]
        rows = []
        for _ in range(chosen.rounds):
            seconds = {}
            for label, changes in VARIANTS.items():
                values = {"detector": name, "category": "", "profile": "demo", **changes}
                config = RunConfig.from_profile({**values, "warmup_epochs": 0, **changed})
                took = []
                for epochs in (SHORT, SHORT + chosen.epochs):
                    detector = make_detector(name, config.options)
                    samples = detector.fit_input(maps)
                    settings = config.model_copy(update={"epochs": epochs, "max_steps": None})
                    started = time.process_time()
                    train(detector, samples, ids, settings)
                    took.append(time.process_time() - started)
                seconds[label] = (took[1] - took[0]) / chosen.epochs
            rows.append(seconds)
        table = pd.DataFrame(rows)
        ratio = table.div(table["plain"], axis=0)
        summary = pd.DataFrame(
            {
                "seconds an epoch": table.median(),
                "ratio to plain": ratio.median(),
                "lowest": ratio.min(),
                "highest": ratio.max(),
            }
        )
        parameters = sum(int(np.prod(p.shape)) for p in detector.parameters())
        print(f"\n{name}, {chosen.images} images, {parameters:,} parameters")
        print(summary.round(3).to_string())


if __name__ == "__main__":
    main()
