"""What a detector must offer to be trained by the one training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from comet_core.devices import PROCESSOR
from comet_core.errors import InputError

MAP_SIGMA = 4.0
"""Gaussian smoothing of anomaly maps, in pixels of an image of 256 x 256 (as SimpleNet)."""

Maps = dict[str, Tensor]
"""Frozen features of N images: (N, C, H, W) for each layer, or "pooled" (N, V, D)."""


SAMPLES_MEMORY = 2**30
"""Bytes of training samples above which images may be represented by their sketches, in the half
precision that features come in."""
CHUNK = 16
"""Images that are assembled at once: their maps in single precision are larger than the samples."""


class Options(BaseModel):
    """Settings of a detector; a subclass lists them, unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Detector(nn.Module, ABC):
    """A model of nominal samples, trained by gradient descent where it has parameters.

    A sample is an image as a set of P parts, each a vector of D features: patches for SimpleNet,
    rotated views for DifferNet, one part for a detector without either. Subclasses implement
    `wanted_features`, `assemble`, `build`, `losses`, `part_scores` and, where they can,
    `part_map`; the rest is here. Losses must be free of side effects and of their own randomness
    (it comes in as `noise`), so that `torch.func` can differentiate through an inner loop.
    """

    name: ClassVar[str]
    options_type: ClassVar[type[Options]] = Options
    reduction: ClassVar[str] = "mean"
    """How the scores of the parts become the score of the image: "mean" or "max"."""
    recordable: ClassVar[bool] = False
    """Whether `losses` can be recorded for a GPU, see `devices.Recorded`."""

    grid: tuple[int, int] = (1, 1)
    """Rows and columns of the parts, where parts have a place in the image."""
    sketched = False
    """Whether images are trained with by their sketches, see `fit_input`."""

    mean: Tensor
    std: Tensor

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__()
        try:
            self.options = self.options_type(**(options or {}))
        except ValidationError as error:
            first = error.errors()[0]
            known = ", ".join(self.options_type.model_fields) or "none"
            raise InputError(
                f"option '{first['loc'][0]}' of detector '{self.name}': {first['msg'].lower()};"
                f" its options are {known}."
            ) from None
        self.dimension = 0

    # -- what a detector says of itself -----------------------------------------------------------

    @abstractmethod
    def wanted_features(self, backbone_layers: list[str], image_size: int) -> dict[str, Any]:
        """Keyword arguments of `features.FeatureSpec`: layers, sizes, rotations, pool.

        Args:
            backbone_layers: the layers that the backbone offers, from fine to coarse.
            image_size: edge length in pixels that the user asked for.
        """

    @abstractmethod
    def assemble(self, maps: Maps) -> Tensor:
        """Raw parts (N, P, D) of frozen features, before standardisation."""

    @abstractmethod
    def build(self, dimension: int) -> None:
        """Make the trainable modules for parts of so many features."""

    @abstractmethod
    def losses(self, samples: Tensor, noise: Tensor | None) -> Tensor:
        """L_AD: the loss (B, P) of each part of samples (B, P, D); `noise` from `draw_noise`."""

    @abstractmethod
    def part_scores(self, samples: Tensor) -> Tensor:
        """Non-negative anomaly scores (B, P) of samples (B, P, D)."""

    def part_map(self, scores: Tensor) -> Tensor | None:
        """Scores (B, P) as maps (B, H, W); None where parts have no place in the image."""
        return None

    def draw_noise(self, samples: Tensor, generator: torch.Generator) -> Tensor | None:
        """The random numbers that one evaluation of `losses` needs, if any."""
        return None

    def calibrate(self, samples: Tensor, weights: Tensor | None = None) -> None:
        """Set what scoring needs beyond the parameters from training samples (N, P, D).

        `weights` (N,) or (N, P), by default 1, say how much each of them counts, as in the loss.
        """

    def train_parts(self, parts: int) -> int:
        """How many of an image's parts one training step looks at."""
        return parts

    def sketch(self, samples: Tensor) -> Tensor:
        """The parts that suffice to score whole images while training: fewer, where parts overlap.

        The weights of images are refreshed from these; final scores are of all parts.
        """
        return samples

    def optimiser(self, learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser of the outer loop, or of plain training.

        Fused implementations go through the weights once, not once an operation.
        """
        return torch.optim.Adam(self.parameters(), lr=learning_rate, fused=True)

    def forward(self, samples: Tensor, noise: Tensor | None = None) -> Tensor:
        """`losses`, so that `torch.func.functional_call` reaches them."""
        return self.losses(samples, noise)

    # -- shared ------------------------------------------------------------------------------------

    def fit_input(self, maps: Maps, weights: Tensor | None = None) -> Tensor:
        """Learn the standardisation from training features, build the modules, prepare samples.

        Every feature is shifted and scaled to mean 0 and deviation 1 over all parts of all training
        images (choice): the maps of a backbone differ in scale, and one noise level or one base
        density can serve only features of one scale. Images whose `weights` (N,) are 0 are left out
        of the means and deviations.

        Where the samples of all parts would take more than `SAMPLES_MEMORY`, and a step looks at
        some of them only, every image is represented in training by its sketch; new images are
        scored in full all the same.

        Returns:
            Samples (N, P, D), standardised; float32, or float16 where they are sketches.
        """
        count = len(next(iter(maps.values())))
        trusted = torch.ones(count) if weights is None else (weights > 0).float()
        samples, moments = torch.empty(0), torch.zeros(2, 1, dtype=torch.float64)
        for start, some in _chunks(maps):
            raw = self.assemble(some)
            if start == 0:
                large = count * raw[0].numel() * raw.element_size() > SAMPLES_MEMORY
                self.sketched = large and self.train_parts(raw.shape[1]) < raw.shape[1]
            raw = self.sketch(raw) if self.sketched else raw
            if start == 0:
                precision = torch.half if self.sketched else raw.dtype
                samples = torch.empty(count, *raw.shape[1:], dtype=precision)
                moments = moments.expand(2, raw.shape[-1]).clone()
            kept = samples[start : start + len(raw)].copy_(raw)
            flat = kept[trusted[start : start + len(raw)] > 0].flatten(0, 1).double()
            moments += torch.stack([flat.sum(0), flat.square().sum(0)])
        mean, square = moments / (trusted.sum() * samples.shape[1])
        std = (square - mean.square()).clamp(min=0).sqrt().clamp(min=1e-6)
        self.set_input(mean.float(), std.float())
        for some in samples.split(CHUNK):
            some.copy_((some - self.mean) / self.std)
        return samples

    def set_input(self, mean: Tensor, std: Tensor) -> None:
        """Set a known standardisation, (D,) each, and build the modules."""
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.dimension = len(mean)
        self.build(self.dimension)

    def map_scores(self, maps: Maps) -> Tensor:
        """Part scores (N, P) of frozen features, a few images at a time."""
        # Into one tensor: small ones kept between large temporary ones leave memory in pieces.
        found = torch.empty(0)
        for start, some in _chunks(maps):
            scores = self.scores(self.prepare(some))
            if start == 0:
                found = scores.new_empty(len(next(iter(maps.values()))), scores.shape[1])
            found[start : start + len(scores)] = scores
        return found

    @property
    def has_parameters(self) -> bool:
        """Whether there is something to train; a detector without remembers samples instead."""
        return any(True for _ in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where the detector computes; one without parameters does so on the processor."""
        return next((p.device for p in self.parameters()), PROCESSOR)

    def prepare(self, maps: Maps) -> Tensor:
        """Samples (N, P, D) of frozen features, standardised as in training, on `device`."""
        there = {name: one.to(self.device) for name, one in maps.items()}
        return (self.assemble(there) - self.mean) / self.std

    @torch.no_grad()
    def scores(self, samples: Tensor, batch_size: int | None = None) -> Tensor:
        """Part scores (N, P) of prepared samples, in batches of so many images; on the processor.

        By default as many as have some eight thousand parts: what one batch needs then stays small
        enough to be kept by the allocator for the next.
        """
        if batch_size is None:
            batch_size = max(1, 8192 // samples.shape[1])
        was_training = self.training
        self.eval()
        found = torch.empty(samples.shape[:2])
        for batch, part in zip(samples.split(batch_size), found.split(batch_size), strict=True):
            part.copy_(self.part_scores(batch.to(self.device).float()))
        self.train(was_training)
        return found

    def training_scores(self, samples: Tensor) -> Tensor:
        """Part scores (N, P) of the training samples, in the order that `calibrate` saw them in.

        A detector that remembers them must not compare a sample with itself.
        """
        return self.scores(samples)

    def image_scores(self, part_scores: Tensor) -> Tensor:
        """Image scores (N,) of part scores (N, P)."""
        return part_scores.amax(1) if self.reduction == "max" else part_scores.mean(1)

    def anomaly_maps(self, part_scores: Tensor, size: int) -> Tensor | None:
        """Anomaly maps (N, size, size) of part scores (N, P): bilinear, then a Gaussian.

        None for a detector whose parts have no place in the image.
        """
        maps = self.part_map(part_scores)
        if maps is None:
            return None
        maps = F.interpolate(maps[:, None], size=(size, size), mode="bilinear", align_corners=False)
        sigma = MAP_SIGMA * size / 256
        return torch.from_numpy(gaussian_filter(maps[:, 0].numpy(), sigma=(0, sigma, sigma)))


def _chunks(maps: Maps) -> Iterator[tuple[int, Maps]]:
    """Features of some images after the others, with the position of the first."""
    count = len(next(iter(maps.values())))
    for start in range(0, count, CHUNK):
        yield start, {name: one[start : start + CHUNK] for name, one in maps.items()}
