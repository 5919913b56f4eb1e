"""DifferNet (Rudolph et al., WACV 2021): the likelihood of pooled features by a normalizing flow.

The flow is written here rather than taken from FrEIA, the library of the published code: that one
has not been released since 2022, its blocks keep state between calls, and `torch.func` must be able
to map and differentiate through ours. It is forty lines, and a test holds its inverse and its
log-determinant against autograd's Jacobian.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from comet_core.detectors.base import Detector, Maps, Options


class DifferNetOptions(Options):
    """Settings of DifferNet; the published ones are in the profile `paper`."""

    blocks: int = Field(4, ge=1)
    """Coupling blocks (8 as published)."""
    hidden: int = Field(128, ge=1)
    """Width of the subnets (2048 as published)."""
    depth: int = Field(4, ge=2)
    """Linear layers of a subnet."""
    clamp: float = Field(3.0, gt=0)
    """Bound of the log-scale, through a soft clamp."""
    scales: int = Field(3, ge=1)
    """Image sizes, each half of the one before."""
    rotations: int = Field(4, ge=1)
    """Views of an image, evenly spaced over the full turn (random ones as published)."""


def soft_clamp(s: Tensor, clamp: float) -> Tensor:
    """clamp * 0.636 * atan(s / clamp): the identity's shape near 0, within (-clamp, clamp)."""
    return clamp * 0.636 * torch.atan(s / clamp)


class CouplingBlock(nn.Module):
    """A Glow-type affine coupling (Kingma and Dhariwal, 2018) behind a fixed random permutation.

    Both halves are transformed, each by a scale and a shift computed from the other.
    """

    permutation: Tensor
    inverse_permutation: Tensor

    def __init__(
        self, dimension: int, hidden: int, depth: int, clamp: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.split = (dimension - dimension // 2, dimension // 2)
        self.clamp = clamp
        permutation = torch.randperm(dimension, generator=generator)
        self.register_buffer("permutation", permutation)
        self.register_buffer("inverse_permutation", permutation.argsort())
        first, second = self.split
        self.from_second = self._subnet(second, 2 * first, hidden, depth)
        self.from_first = self._subnet(first, 2 * second, hidden, depth)

    @staticmethod
    def _subnet(inputs: int, outputs: int, hidden: int, depth: int) -> nn.Sequential:
        widths = [inputs, *[hidden] * (depth - 1), outputs]
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(widths[i], widths[i + 1]), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def _affine(self, subnet: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor]:
        s, t = subnet(x).chunk(2, dim=-1)
        return soft_clamp(s, self.clamp), t

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D) -> (..., D) and log|det J| (...)."""
        # To gather is three times as fast as to index, both ways.
        x1, x2 = x.gather(-1, self.permutation.expand_as(x)).split(self.split, dim=-1)
        s1, t1 = self._affine(self.from_second, x2)
        y1 = x1 * s1.exp() + t1
        s2, t2 = self._affine(self.from_first, y1)
        y2 = x2 * s2.exp() + t2
        return torch.cat([y1, y2], -1), s1.sum(-1) + s2.sum(-1)

    def inverse(self, y: Tensor) -> Tensor:
        """(..., D) -> (..., D), undoing `forward`."""
        y1, y2 = y.split(self.split, dim=-1)
        s2, t2 = self._affine(self.from_first, y1)
        x2 = (y2 - t2) * (-s2).exp()
        s1, t1 = self._affine(self.from_second, x2)
        x1 = (y1 - t1) * (-s1).exp()
        return torch.cat([x1, x2], -1)[..., self.inverse_permutation]


class NormalizingFlow(nn.Module):
    """A chain of coupling blocks, from features x to latent z with a standard normal density."""

    def __init__(
        self, dimension: int, blocks: int, hidden: int, depth: int, clamp: float, seed: int = 0
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.blocks = nn.ModuleList(
            CouplingBlock(dimension, hidden, depth, clamp, generator) for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D) -> z (..., D) and log|det dz/dx| (...)."""
        log_det = torch.zeros(x.shape[:-1], dtype=x.dtype, device=x.device)
        for block in self.blocks:
            x, one = block(x)
            log_det = log_det + one
        return x, log_det

    def inverse(self, z: Tensor) -> Tensor:
        """(..., D) -> (..., D): the features of latent vectors."""
        for block in reversed(self.blocks):
            z = block.inverse(z)  # type: ignore[operator]
        return z


class DifferNet(Detector):
    """Negative log-likelihood of an image's pooled features; score: mean z^2 over its views."""

    name: ClassVar[str] = "differnet"
    options_type = DifferNetOptions
    options: DifferNetOptions
    recordable: ClassVar[bool] = True

    def wanted_features(self, backbone_layers: list[str], image_size: int) -> dict[str, Any]:
        """The deepest map, pooled, at every scale and rotation; sizes are multiples of 16."""
        sizes = [max(32, 16 * round(image_size / 2**i / 16)) for i in range(self.options.scales)]
        return {
            "layers": (backbone_layers[-1],),
            "sizes": tuple(sizes),
            "rotations": self.options.rotations,
            "pool": True,
        }

    def assemble(self, maps: Maps) -> Tensor:
        """(N, V, D): a part is a view."""
        return maps["pooled"].float()

    def build(self, dimension: int) -> None:
        """The flow on D dimensions; the permutations are the same for every seed."""
        o = self.options
        self.flow = NormalizingFlow(dimension, o.blocks, o.hidden, o.depth, o.clamp)

    def losses(self, samples: Tensor, noise: Tensor | None) -> Tensor:
        """(||z||^2 / 2 - log|det J|) / D of each view: the negative log-likelihood per dimension,
        without its constant."""
        z, log_det = self.flow(samples)
        return (0.5 * z.square().sum(-1) - log_det) / samples.shape[-1]

    def part_scores(self, samples: Tensor) -> Tensor:
        """Mean z^2 of each view."""
        return self.flow(samples)[0].square().mean(-1)

    def sketch(self, samples: Tensor) -> Tensor:
        """Every second view: the others show the same image, turned by as much again."""
        return samples[:, ::2]

    def optimiser(self, learning_rate: float) -> torch.optim.Optimizer:
        """Adam with the published betas, epsilon and weight decay."""
        return torch.optim.Adam(
            self.parameters(),
            lr=learning_rate,
            betas=(0.8, 0.8),
            eps=1e-4,
            weight_decay=1e-5,
            fused=True,
        )
