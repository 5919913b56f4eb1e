"""SimpleNet (Liu et al., CVPR 2023): tell adapted patch features from the same with noise."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from comet_core.detectors.patches import PatchDetector, PatchOptions
from comet_core.products import Product
from comet_core.sampling import sampled_rows


class SimpleNetOptions(PatchOptions):
    """Settings of SimpleNet; the published ones are in the profile `paper`."""

    hidden: int = Field(256, ge=1)
    """Width of the discriminator's hidden layer (1024 as published)."""
    noise_std: float = Field(0.5, gt=0)
    """Deviation of the noise, in deviations of the features (0.015, unscaled, as published)."""
    margin: float = Field(0.5, gt=0)
    """Where the hinge ends, on either side of 0; also the unit of the score."""
    patches: int = Field(64, ge=1)
    """Patches of an image that one training step looks at, drawn anew each time."""


class BatchNorm(nn.Module):
    """Batch normalisation whose scoring statistics are measured, not averaged while training.

    Called, it normalises by the batch's own mean and variance and touches no state, so that it is a
    pure function: tasks of the inner loop cannot leak into each other. For scoring, `mean` and
    `variance` are set to those over training samples ("precise" batch normalisation, Wu and
    Johnson, 2021), and `affine` applies them.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(M, width) -> (M, width), by the statistics of the batch."""
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Gain and shift (width,) that normalise by the measured statistics."""
        gain = self.weight * torch.rsqrt(self.variance + 1e-5)
        return gain, self.bias - gain * self.mean


class SimpleNet(PatchDetector):
    """Adaptor, Gaussian feature noise, discriminator and truncated hinge loss.

    D > 0 means nominal. The published score is -D, which has a sign; equation 2 divides by the
    score, so it needs a positive one whose ratios mean something. We take exp(-D / m), the odds of
    "anomalous" if D is read as log-odds in units of the margin m (choice). It orders samples as -D
    does. softplus(-D), another candidate, is nearly linear where the anomalies are and so gives
    them weights not far below 1; with the exponential, equation 2 tells them apart.
    """

    name: ClassVar[str] = "simplenet"
    options_type = SimpleNetOptions
    options: SimpleNetOptions
    reduction: ClassVar[str] = "max"
    recordable: ClassVar[bool] = True

    def build(self, dimension: int) -> None:
        """Adaptor D -> D; discriminator D -> hidden -> 1."""
        hidden = self.options.hidden
        self.adaptor = nn.Linear(dimension, dimension)
        self.hidden = nn.Linear(dimension, hidden)
        self.norm = BatchNorm(hidden)
        self.head = nn.Linear(hidden, 1, bias=False)
        for layer in (self.adaptor, self.hidden, self.head):
            nn.init.xavier_normal_(layer.weight)

    def discriminate(self, adapted: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """D (B, P) of adapted features (B, P, D), and of the same with noise; positive is nominal.

        The first layer is linear and sees a sum as the sum of what it makes of both, so that it
        need not look at the features twice.
        """
        true = self.hidden(adapted)
        both = torch.cat([true, true + F.linear(noise, self.hidden.weight)])
        d = self.head(F.leaky_relu(self.norm(both.flatten(0, 1)), 0.2))
        true, fake = d.view(2, *adapted.shape[:2]).unbind(0)
        return true, fake

    def draw_noise(self, samples: Tensor, generator: torch.Generator) -> Tensor:
        """Gaussian noise of the shape of `samples`."""
        noise = torch.empty_like(samples).normal_(generator=generator)
        return noise.mul_(self.options.noise_std)

    def losses(self, samples: Tensor, noise: Tensor | None) -> Tensor:
        """max(0, m - D(true)) + max(0, m + D(fake)), per patch (B, P)."""
        assert noise is not None
        true, fake = self.discriminate(self.adaptor(samples), noise)
        return F.relu(self.options.margin - true) + F.relu(self.options.margin + fake)

    def part_scores(self, samples: Tensor) -> Tensor:
        """exp(-D / m) of each patch, by the measured statistics."""
        gain, shift = self.norm.affine()
        weight, bias = self._linear()
        hidden = Product(gain[:, None] * weight, gain * bias + shift)(samples.flatten(0, 1))
        d = self.head(F.leaky_relu(hidden, 0.2, inplace=True)).squeeze(-1)
        # In single precision exp overflows at 88 and is 0 at -104, whose logarithm no map can hold.
        return (-d / self.options.margin).clamp(-80, 80).exp().view(samples.shape[:2])

    def _linear(self) -> tuple[Tensor, Tensor]:
        """Adaptor and hidden layer as one: a matrix (hidden, D) and a bias (hidden,)."""
        weight = self.hidden.weight
        return weight @ self.adaptor.weight, weight @ self.adaptor.bias + self.hidden.bias

    def part_map(self, scores: Tensor) -> Tensor:
        """-D (B, H, W) of patch scores (B, P), on the grid of the finest layer.

        Back on the published scale, since bilinear and Gaussian weights of odds would show the
        largest patch and little else.
        """
        return self.options.margin * scores.log().view(len(scores), *self.grid)

    @torch.no_grad()
    def calibrate(self, samples: Tensor, weights: Tensor | None = None, limit: int = 8192) -> None:
        """Set the normalisation from at most `limit` patches, drawn at random, and their fakes.

        Before the normalisation all is linear, so its mean and variance follow from those of the
        patches; the noise of the fakes, half of all, adds its known variance.

        Patches that the loss distrusts must not shift it either.
        """
        count, parts = samples.shape[:2]
        trust = torch.ones(count) if weights is None else weights
        trust = (trust[:, None].expand(count, parts) if trust.ndim == 1 else trust).flatten()
        present = trust.nonzero().squeeze(1)
        chosen = present[sampled_rows(len(present), limit)]
        flat, trust = samples.flatten(0, 1)[chosen].to(self.device).float(), trust[chosen]
        share = (trust / trust.sum()).to(self.device)
        mean = share @ flat
        centred = (flat - mean) * share.sqrt()[:, None]
        weight, bias = self._linear()
        noise = 0.5 * self.options.noise_std**2 * self.hidden.weight.square().sum(1)
        self.norm.mean.copy_(weight @ mean + bias)
        self.norm.variance.copy_(((weight @ (centred.T @ centred)) * weight).sum(1) + noise)

    def train_parts(self, parts: int) -> int:
        """A random subset: neighbouring patches say almost the same."""
        return min(parts, self.options.patches)

    def sketch(self, samples: Tensor) -> Tensor:
        """Every third patch of every third row: neighbourhoods of three cover all but the rim."""
        rows, columns = self.grid
        if min(self.grid) < 16 or rows * columns != samples.shape[1]:
            return samples
        placed = samples.unflatten(1, (rows, columns))
        return placed[:, 1::3, 1::3].flatten(1, 2)

    def optimiser(self, learning_rate: float) -> torch.optim.Optimizer:
        """Adam; the adaptor learns at half the discriminator's rate, as published."""
        discriminator = [*self.hidden.parameters(), *self.norm.parameters(), self.head.weight]
        groups = [
            {"params": list(self.adaptor.parameters()), "lr": learning_rate / 2},
            {"params": discriminator, "lr": learning_rate},
        ]
        return torch.optim.Adam(groups, weight_decay=1e-5, fused=True)
