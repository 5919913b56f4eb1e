"""Mutual scores: how strange an image looks to the other images, before any training.

A detector that trains on dirt learns it, and its scores then say that all is well. Nothing is
learned here: each patch of an image looks for its like in the other images, and a patch that finds
none, or finds it in few of them, is suspicious. An anomaly that occurs once has no like; nominal
patches have many. The score leans on the share of images that look alike, so that it fails where a
defect is as frequent as what it spoils.

The idea is that of MuSc (Li et al., ICLR 2024: images of a test set score each other); distances to
a subsample of all patches are those of PatchCore (Roth et al., CVPR 2022). The sizes below are this
project's choice, made on two real data sets; see the chapter on what lies beyond the paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from comet_core.errors import InputError
from comet_core.products import Apart
from comet_core.sampling import sampled_rows

CHUNK = 64
"""Images that are pooled at once."""
GRID = 16
"""Patches of an image are pooled to at most so many rows and columns."""
DIMENSION = 64
"""Features are projected to so many dimensions, which keeps distances to some 12 % (Johnson and
Lindenstrauss, 1984) and is what the time depends on."""
SAMPLED = 65536
"""Patches that means and deviations are measured on."""
BANK = 16384
"""Patches of all images together that are looked through; each image gives equally many."""
NEAREST = 3
"""A patch is as strange as its mean distance to the nearest patch in its so many nearest images."""
TOP = 0.05
"""An image is as strange as the mean of this share of its strangest patches."""
PEAK = 0.01
"""The same where patches are compared with the rest of their image."""


def mutual_scores(maps: Mapping[str, Tensor], *, seed: int = 0) -> Tensor:
    """How far the patches of each image are from those of all the others.

    Args:
        maps: frozen feature maps (N, C, H, W) of N >= 2 images, one or several layers of any scale.
        seed: of the projection and of the patches that are looked through.

    Returns:
        Scores (N, h, w) of patches on the pooled grid, > 0 unless an image has a twin; see
        `image_mutual_scores`.

    Raises:
        InputError: for fewer than two images.
    """
    count = len(next(iter(maps.values())))
    if count < 2:
        raise InputError(f"images can be compared with each other from two on, got {count}.")
    generator = torch.Generator().manual_seed(seed)
    height, width = _grid(maps)
    points, parts = _points(maps, generator), height * width
    del maps
    per_image = min(parts, max(1, BANK // count))
    chosen = torch.rand(count, parts, generator=generator).topk(per_image).indices
    bank = torch.take_along_dim(points, chosen[..., None], dim=1).flatten(0, 1)
    apart, nearest = Apart(bank), min(NEAREST, count - 1)
    scores = torch.empty(count, parts)
    for image, (patches, target) in enumerate(zip(points, scores, strict=True)):
        for some, out in zip(patches.split(apart.rows), target.split(apart.rows), strict=True):
            closest = apart(some).view(-1, count, per_image).amin(2)
            closest[:, image] = torch.inf
            closest = closest.topk(nearest, largest=False).values
            closest += some.square().sum(1, keepdim=True)
            torch.mean(closest.clamp(min=0).sqrt(), 1, out=out)
    return scores.view(count, height, width)


def image_mutual_scores(scores: Tensor) -> Tensor:
    """Scores (N,) of images from those (N, h, w) of their patches: the mean of the strangest."""
    flat = scores.flatten(1)
    return flat.topk(max(1, round(TOP * flat.shape[1]))).values.mean(1)


def contrast_scores(scores: Tensor) -> Tensor:
    """Scores (N,) of images: how far their strangest patches stand out from their own others.

    Poor light or another batch of material makes an image strange all over; a defect makes a few of
    its patches strange. So the logarithm of the score of a patch is taken as the sum of what is
    usual at its place, what is usual in its image, and a residual, as in a two-way table that is
    fitted by medians (Tukey, 1977). The score of the image is the mean of its largest residuals in
    units of their scatter. That is how far their first quartile lies below 0, which a defect of up
    to a quarter of the image hardly moves; the median image's is added, so that images of hardly
    any scatter do not score high by chance (Tusher et al., 2001). The choices were made on the
    drawn stand-ins. A defect that fills half of an image is taken for its usual look, and is left
    to `image_mutual_scores` to find.

    Args:
        scores: (N, h, w) of `mutual_scores`; 0 counts as the smallest positive score.

    Returns:
        (N,) scores >= 0 that do not depend on the scale of the scores of any image; all 0 where
        patches of an image do not differ.
    """
    flat = scores.flatten(1)
    positive = flat[flat > 0]
    if not len(positive):
        return flat.new_zeros(len(flat))
    residuals = flat.clamp(min=positive.min()).log()
    for direction in (1, 0, 1):
        residuals = residuals - residuals.median(direction, keepdim=True).values
    scatter = residuals.quantile(0.25, dim=1).neg()
    peak = residuals.topk(max(1, round(PEAK * flat.shape[1]))).values.mean(1).clamp(min=0)
    scale = scatter + scatter.median()
    return torch.where(scale > 0, peak / scale, peak)


def _points(maps: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
    """Patches (N, h w, d) to compare: pooled, standardised and, where D > d, projected.

    Maps are pooled twice, which takes little, since all pooled maps at once would be the largest
    thing here.
    """
    (height, width), dimension = _grid(maps), sum(one.shape[1] for one in maps.values())
    count, parts = len(next(iter(maps.values()))), height * width
    chosen = sampled_rows(count * parts, SAMPLED)
    sample = torch.empty(len(chosen), dimension)
    for first, some in _pooled(maps):
        flat, start = some.flatten(0, 1), first * parts
        inside = (chosen >= start) & (chosen < start + len(flat))
        sample[inside] = flat[chosen[inside] - start]
    mean, std = sample.mean(0), sample.std(0, correction=0).clamp(min=1e-6)
    turn = torch.eye(dimension)
    if dimension > DIMENSION:
        turn = torch.randn(dimension, DIMENSION, generator=generator) / DIMENSION**0.5
    points = torch.empty(count, parts, turn.shape[1])
    for first, some in _pooled(maps):
        points[first : first + len(some)] = ((some - mean) / std) @ turn
    return points


def _grid(maps: Mapping[str, Tensor]) -> tuple[int, int]:
    """Rows and columns of the pooled maps: those of the finest, at most `GRID`."""
    finest = max(maps.values(), key=lambda one: one.shape[2] * one.shape[3])
    return min(GRID, finest.shape[2]), min(GRID, finest.shape[3])


def _pooled(maps: Mapping[str, Tensor]) -> Iterator[tuple[int, Tensor]]:
    """Patches (n, h w, D) of some images after the others, with the position of the first.

    Each is averaged with its neighbours, and rounded to the half precision of features.
    """
    size = _grid(maps)
    for start in range(0, len(next(iter(maps.values()))), CHUNK):
        layers = []
        for name in sorted(maps):
            # Channels last, as they will lie: the same numbers in a fraction of the time.
            some = maps[name][start : start + CHUNK].float()
            some = some.contiguous(memory_format=torch.channels_last)
            some = F.avg_pool2d(some, 3, 1, 1, count_include_pad=False)
            layers.append(F.adaptive_avg_pool2d(some, size))
        yield start, torch.cat(layers, 1).flatten(2).mT.half().float()
