"""Several detectors as one: their scores averaged, by ratio.

What a single training does or does not happen to learn averages out over trainings from different
seeds (deep ensembles: Lakshminarayanan et al., NeurIPS 2017), and what detectors of one kind cannot
see another kind may: SimpleNet looks at patches, DifferNet at whole images. Scores are compared by
their ratios, so means are geometric.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from comet_core.config import RunConfig
from comet_core.detectors import make_detector
from comet_core.detectors.base import Detector, Maps
from comet_core.training import Training, fit

TIED = 1e-6
"""Logarithms of scores that differ by less are equal but for rounding."""
STRETCH = 10.0
"""How many times as far apart, at most, the logarithms of one kind's scores are drawn to match the
other's. Where most images are nearly equal to one kind of detector, its few others would be
infinitely odd. On real images the scales differ by a factor of one to two (measured)."""
LARGEST = 700.0
"""Logarithm that a score is cut at, either way: its exponential is a number."""


class Scale(NamedTuple):
    """Of scores: median and interquartile range of their logarithms, and the smallest above 0."""

    median: float
    spread: float
    lowest: float


def trained(
    config: RunConfig,
    maps: Maps,
    ids: Sequence[str],
    seeds: Iterable[int],
    *,
    prior: Tensor | None = None,
    progress: bool = False,
) -> Iterator[tuple[Detector, Training]]:
    """Members one after the other: detectors that are trained alike, each from a seed of its own.

    Args:
        config: of each training but for the seed.
        seeds: of the members.
        maps, ids, prior, progress: as for `training.fit`.
    """
    for seed in seeds:
        detector = make_detector(config.detector, config.options)
        settings = config.model_copy(update={"seed": seed})
        yield detector, fit(detector, maps, ids, settings, prior=prior, progress=progress)


def geometric_mean(scores: Sequence[Tensor]) -> Tensor:
    """Of scores >= 0 by several detectors of one kind, place by place and in double precision.

    A score that is 0 stays so.
    """
    return torch.stack([one.double() for one in scores]).log().mean(0).exp()


def scale_of(scores: Tensor) -> Scale:
    """The scale of scores (N,) >= 0; a spread of 1 where the half of them in the middle is equal.

    0 counts as the smallest positive score, and as 1 where there is none.
    """
    positive = scores[scores > 0]
    lowest = positive.min().item() if len(positive) else 1.0
    logs = _logs(scores, lowest)
    low, median, high = torch.quantile(logs, logs.new_tensor([0.25, 0.5, 0.75])).tolist()
    return Scale(median, high - low if high - low > TIED else 1.0, lowest)


def combined(scores: Sequence[Tensor], scales: Sequence[Scale]) -> Tensor:
    """Geometric mean of scores by detectors of different kinds, in double precision.

    Before, the logarithms of each are shifted and stretched to the first one's scale, by `STRETCH`
    at most, so that all count alike: the scores of a flow differ by less than those of patches.

    Args:
        scores: by each detector, (N,), >= 0, of the same images.
        scales: of each detector's scores of its training images.
    """
    first = scales[0]
    each = [
        (_logs(some, scale.lowest) - scale.median) * min(first.spread / scale.spread, STRETCH)
        for some, scale in zip(scores, scales, strict=True)
    ]
    return (first.median + torch.stack(each).mean(0)).clamp(-LARGEST, LARGEST).exp()


def _logs(scores: Tensor, lowest: float) -> Tensor:
    return scores.double().clamp(min=lowest).log()
