"""What a run takes: timed at a few small sizes, and carried on along a straight line.

Times are core seconds: processor time of all threads together, so that a busy machine counts no
more than an idle one. Divide by the cores in use for the time on the clock. The features are made
up, of the shape that the profile asks for, and a backbone whose weights would have to be downloaded
is timed with random ones: neither changes how long a computation takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from comet_core import evidence
from comet_core.backbones import backbone_info, import_vision, load_backbone
from comet_core.config import META, RunConfig
from comet_core.detectors import make_detector
from comet_core.devices import PROCESSOR
from comet_core.errors import InputError
from comet_core.features import FeatureSpec, feature_spec
from comet_core.names import NAMES, label
from comet_core.training import train

SIZES = (2, 3, 4)
"""Images of the timed computations; large enough for a line, small enough for the book."""
REPEATS = 2
"""Of each timed computation. The shortest counts: what else a machine does only adds to it, and a
first one also warms up."""
MISSES = 0.2
"""A line that is further than this from one of its points, as a share, is carried nowhere."""


class Published(NamedTuple):
    """A data set in its published size: numbers of images, and of training images that are held in
    memory at once, which are those of the largest category."""

    dataset: str
    categories: int
    train: int
    test: int
    largest: int


PUBLISHED = (
    Published("mvtec_ad", 15, 3629, 1725, 391),
    Published("ksdd2", 1, 2331, 1004, 2331),
)
"""Sizes as their owners give them (Bergmann et al., 2019; Bozic et al., 2021). VIADUCT's are not
known to this project."""


def training_times(
    profile: str,
    sizes: Sequence[int] = SIZES,
    detectors: Sequence[str] = evidence.DETECTORS,
    strategies: Sequence[str] = (evidence.BASELINE, evidence.METHOD),
) -> pd.DataFrame:
    """Time one epoch of a detector in the sizes of a profile.

    The scoring after training is counted in, which a real run does once and not every epoch, so
    that estimates err on the high side.

    Args:
        profile: its backbone's feature shapes, its detector's sizes and its batches.
        sizes: numbers of training images, at least two different ones.
        detectors, strategies: what to time.

    Returns:
        stage ("epoch"), detector, strategy, images, seconds (core), megabytes (of the prepared
        samples of these images, MiB).
    """
    found = []
    for name in detectors:
        for strategy in strategies:
            config = config_of(profile, name, strategy).model_copy(
                update={"epochs": 1, "max_steps": None}
            )
            detector, spec = detector_of(config)
            for count in sizes:
                samples = detector.fit_input(made_up(spec, count))
                ids = [str(number) for number in range(count)]
                seconds = _timed(lambda: train(detector, samples, ids, config))  # noqa: B023
                size = samples.nelement() * samples.element_size() / 2**20
                found.append(("epoch", name, strategy, count, seconds, size))
    columns = ["stage", "detector", "strategy", "images", "seconds", "megabytes"]
    return pd.DataFrame(found, columns=columns)


def extraction_times(
    profile: str,
    sizes: Sequence[int] = SIZES,
    detectors: Sequence[str] = evidence.DETECTORS,
) -> pd.DataFrame:
    """Time the backbone's passes over images of the profile's sizes, decoded already.

    One view of each image is timed and multiplied by the number of views.

    Returns:
        stage ("features"), detector, images, seconds (core).
    """
    found = []
    for name in detectors:
        _, spec = detector_of(config_of(profile, name, evidence.BASELINE))
        network = network_of(spec)
        for count in sizes:
            batches = [torch.rand(count, 3, size, size) * 255 for size in spec.sizes]
            with torch.inference_mode():
                seconds = _timed(lambda: [network(batch) for batch in batches])  # noqa: B023
            found.append(("features", name, count, seconds * spec.rotations))
    return pd.DataFrame(found, columns=["stage", "detector", "images", "seconds"])


def made_up(spec: FeatureSpec, count: int) -> dict[str, Tensor]:
    """Random features of `count` images, in the shapes that `features.extract` would give."""
    generator = torch.Generator().manual_seed(0)
    channels = backbone_info(spec.backbone).channels
    shapes: dict[str, tuple[int, ...]]
    if spec.pool:
        dimension = sum(channels[layer] for layer in spec.layers) * len(spec.sizes)
        shapes = {"pooled": (count, spec.rotations, dimension)}
    else:
        edges = {layer: spec.sizes[0] // int(layer.removeprefix("stride")) for layer in spec.layers}
        shapes = {layer: (count, channels[layer], edge, edge) for layer, edge in edges.items()}
    return {name: torch.randn(shape, generator=generator).half() for name, shape in shapes.items()}


def lines(times: pd.DataFrame) -> pd.DataFrame:
    """Least-squares lines through times over numbers of images.

    Args:
        times: of `training_times` or `extraction_times`.

    Returns:
        The columns of `times` that name a group; seconds_per_image and fixed_seconds (core);
        off_line, the largest distance of a point from the line as a share of the point;
        megabytes_per_image where it is known.

    Raises:
        InputError: a group of fewer than two sizes.
    """
    by = [name for name in ("stage", "detector", "strategy") if name in times]
    found = []
    for name, group in times.groupby(by, sort=False):
        if group["images"].nunique() < 2:
            raise InputError("a line needs two sizes at least; give more numbers of images.")
        slope, start = np.polyfit(group["images"], group["seconds"], 1)
        row = dict(zip(by, name, strict=True))
        row |= {"seconds_per_image": float(slope), "fixed_seconds": float(start)}
        missed = (start + slope * group["images"] - group["seconds"]).abs() / group["seconds"]
        row["off_line"] = float(missed.max())
        if "megabytes" in group:
            row["megabytes_per_image"] = float((group["megabytes"] / group["images"]).mean())
        found.append(row)
    return pd.DataFrame(found)


def estimates(training: pd.DataFrame, extraction: pd.DataFrame, profile: str) -> pd.DataFrame:
    """Core hours and memory of the published data sets in a profile.

    Args:
        training: of `training_times`; extraction: of `extraction_times`; of this profile.
        profile: whose epochs and seeds count.

    Returns:
        dataset, detector; features (core hours, once); one row's `training` by strategy: core
        hours of one seed over all categories; `tables` and `curves`: of the runs of
        `evidence.comparison` and `evidence.curves`, where strategies with meta-learning count as
        CoMet and the others as the plain detector, and the memory banks not at all; `gigabytes`
        (GiB) of the largest category's training samples. What would follow from a line that misses
        its points (`MISSES`) is nan.
    """
    slopes = _kept(lines(training)).set_index(["detector", "strategy"])
    passes = _kept(lines(extraction)).set_index("detector")["seconds_per_image"]
    plan = evidence.profile_of(profile)
    seeds = len(plan.seeds)
    found = []
    for data in PUBLISHED:
        for detector in passes.index:
            row: dict[str, Any] = {"dataset": data.dataset, "detector": detector}
            row["features"] = passes[detector] * (data.train + data.test) / 3600
            of_detector = slopes.loc[detector]
            for strategy, line in of_detector.iterrows():
                config = config_of(profile, detector, str(strategy))
                # A step has a part that does not grow with its batch: reading the weights.
                fixed = np.maximum(line["fixed_seconds"], 0) / config.batch_size
                seconds = (line["seconds_per_image"] + fixed) * data.train * config.epochs
                row[str(strategy)] = seconds / 3600
            row["tables"] = seeds * sum(row[str(name)] for name in of_detector.index)
            plain, comet = row[evidence.BASELINE], row[evidence.METHOD]
            alike = sum(comet if name in META else plain for name in evidence.STRATEGIES)
            row["curves"] = seeds * len(plan.levels) * alike
            megabytes = of_detector["megabytes_per_image"].max()
            row["gigabytes"] = megabytes * data.largest / 1024
            found.append(row)
    return pd.DataFrame(found)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `estimates` in words, with the two digits it deserves; a dash for nan."""
    units = ("features", evidence.BASELINE, evidence.METHOD, "tables", "curves", "gigabytes")
    columns = {"data": [NAMES[name] for name in table["dataset"]]}
    columns["detector"] = [label(name) for name in table["detector"]]
    for unit in units:
        name = {"gigabytes": "memory"}.get(unit, label(unit))
        columns[name] = [_two_digits(value) for value in table[unit]]
    return pd.DataFrame(columns)


def _two_digits(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def _kept(found: pd.DataFrame) -> pd.DataFrame:
    """Lines, without the numbers of those that miss their points."""
    seconds = ["seconds_per_image", "fixed_seconds"]
    kept = found.copy()
    kept.loc[found["off_line"] > MISSES, seconds] = np.nan
    return kept


def config_of(profile: str, detector: str, strategy: str) -> RunConfig:
    """The settings of a profile, without data."""
    chosen = {"category": "any", "profile": profile, "detector": detector, "strategy": strategy}
    return RunConfig.from_profile(chosen)


def detector_of(config: RunConfig) -> tuple[Any, FeatureSpec]:
    """A new detector, and the features that it asks for."""
    torch.manual_seed(0)
    detector = make_detector(config.detector, config.options)
    return detector, feature_spec(detector, config.backbone, config.image_size)


def network_of(spec: FeatureSpec, place: torch.device = PROCESSOR) -> nn.Module:
    """The backbone of a specification, untrained where its weights do not come with a package."""
    info = backbone_info(spec.backbone)
    if info.package:
        return load_backbone(spec.backbone, spec.layers, place)
    models = import_vision("torchvision.models")
    cut = import_vision("torchvision.models.feature_extraction").create_feature_extractor
    names = dict(zip(info.channels, info.nodes, strict=True))
    nodes = {names[layer]: layer for layer in spec.layers}
    network = cut(models.get_model(spec.backbone, weights=None).eval(), nodes)
    return network.to(device=place, memory_format=torch.channels_last)


def _timed(work: Callable[[], Any]) -> float:
    """Core seconds: the shortest of `REPEATS`."""
    found = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)
