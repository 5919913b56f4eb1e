"""The largest resident memory of extraction, training and scoring, with many images.

    python benchmarks/memory.py
    python benchmarks/memory.py --images 200 --known 0

Images of noise at demo sizes; each detector and strategy, and what a search trains, in a process of
its own, where peaks are read after each of the three. It trains four epochs, as later ones take no
more. What features take does not depend on what an image shows, nor on whether they come from the
backbone or from the cache, so all but the first 64 images get made up ones, put into the cache
before; with `--known 0` all are computed. A peak counts what the program and its libraries take,
some 400 MB, and pages of mapped files that happen to be in memory and that the system takes back
when it needs them. Fails where a peak exceeds the aim.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from comet_core import CoMet
from comet_core.datasets.base import Image as ImageFile
from comet_core.features import entry_path, extract, save_entry
from comet_core.inspection import SECOND, SECOND_OPTIONS, STRATEGY
from comet_core.pipeline import peak_memory_mb

AIM = 2000
"""MB that no part of the work on 5,000 images may exceed."""
DETECTORS = ("simplenet", "differnet")


def draw(folder: Path, cache: Path, count: int, known: int) -> None:
    """Write images, and features of the last `known` into the cache: computed ones, disturbed."""
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    paths = [folder / f"{number:05}.png" for number in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    for spec in (CoMet(detector).spec for detector in DETECTORS):
        files = [ImageFile(path.name, path) for path in paths[:8]]
        like = extract(files, spec, cache=folder.parent / "aside", progress=False).maps
        for number, path in enumerate(paths[count - known :]):
            one = {name: some[number % len(files)].float() for name, some in like.items()}
            for some in one.values():
                some += 0.1 * some.std() * torch.randn(some.shape, generator=generator)
            entry = {name: some.half() for name, some in one.items()}
            save_entry(entry_path(path, cache / spec.key()), entry)


def peaks(
    detector: str, strategy: str, second: str | None, folder: Path, cache: Path
) -> dict[str, float]:
    """Peak memory in MB after extraction, training, and scoring of all images as a test set."""
    options = SECOND_OPTIONS.get(second or "")
    model = CoMet(detector, strategy, second=second, second_options=options, cache=cache, epochs=4)
    files = [ImageFile(path.name, path) for path in sorted(folder.iterdir())]
    extract(files, model.spec, cache=cache, progress=False)
    found = {"extraction": peak_memory_mb()}
    model.fit(folder)
    found["training"] = peak_memory_mb()
    model.score(folder)
    return found | {"scoring": peak_memory_mb()}


def main() -> int:
    """Print a table; returns 1 where the aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--known", type=int, help="by default all but 64")
    parser.add_argument("--detector", nargs="+", default=DETECTORS)
    parser.add_argument("--strategy", nargs="+", default=["plain", "comet", "comet+"])
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder, cache = Path(place, "images"), Path(place, "cache")
        folder.mkdir()
        known = max(0, chosen.images - 64) if chosen.known is None else chosen.known
        draw(folder, cache, chosen.images, known)
        ways = [(*way, None) for way in product(chosen.detector, chosen.strategy)]
        search = ("simplenet", STRATEGY)
        ways += [(*search, SECOND)] if (*search, None) in ways else []
        for detector, strategy, second in ways:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                found = pool.submit(peaks, detector, strategy, second, folder, cache).result()
            rows.append({"detector": detector, "strategy": strategy, "second": second, **found})
            print(rows[-1], file=sys.stderr, flush=True)
    print(f"Peak resident memory in MB, {chosen.images} images")
    print(pd.DataFrame(rows).round(0).to_string(index=False))
    return int(max(row["scoring"] for row in rows) > AIM)


if __name__ == "__main__":
    sys.exit(main())
