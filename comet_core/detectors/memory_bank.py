"""Detectors that remember training patches: PatchCore's idea, and SoftPatch's for dirty data.

They have nothing that a gradient could train, so none of the paper's strategies applies to them.
They are here as peers: what the same features give without any training.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from comet_core.detectors.patches import PatchDetector, PatchOptions
from comet_core.errors import InputError
from comet_core.products import BLOCK, Apart

PROJECTED = 64
"""Dimensions that the coreset is chosen in, after a random projection, as PatchCore does."""
POOL = 1024
"""Points that the next ones of the coreset are sought among before all are looked at again."""


class MemoryBankOptions(PatchOptions):
    """Settings of the memory bank."""

    candidates: int = Field(20_000, ge=2)
    """Random patches that the bank is chosen from, evenly from all training images."""
    share: float = Field(0.1, gt=0, le=1)
    """Share of the candidates that is kept."""


class SoftPatchOptions(MemoryBankOptions):
    """Settings of SoftPatch."""

    neighbours: int = Field(6, ge=1)
    """Neighbours that the local outlier factor looks at."""
    removed: float = Field(0.15, ge=0, lt=1)
    """Share of the training patches that is left out, those with the largest factors."""


def greedy_coreset(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices (count,) of points that leave no other point far away.

    The k-centre greedy algorithm (Sener and Savarese, ICLR 2018) as PatchCore uses it (Roth et al.,
    CVPR 2022, algorithm 1): each next point is the one farthest from those chosen.

    Args:
        points: (M, D).
        count: how many to choose; all of them, in order, where there are no more.
        generator: draws the first point and, above `PROJECTED` dimensions, the random projection.
    """
    if count >= len(points):
        return torch.arange(len(points))
    if points.shape[1] > PROJECTED:
        projection = torch.randn(points.shape[1], PROJECTED, generator=generator)
        points = points @ (projection / PROJECTED**0.5)
    squares = points.square().sum(1)
    nearest = torch.full_like(squares, torch.inf)
    chosen: list[int] = []
    fresh = [int(torch.randint(len(points), (), generator=generator))]
    while True:
        _approach(nearest, points, squares, fresh)
        chosen += fresh
        if len(chosen) == count:
            return torch.tensor(chosen)
        fresh = _farthest(nearest, points, squares, count - len(chosen))


def _approach(nearest: Tensor, points: Tensor, squares: Tensor, fresh: list[int]) -> None:
    """Lower the squared distances (M,) to the nearest chosen point for those chosen since."""
    apart = Apart(points[fresh])
    parts = (one.split(apart.rows) for one in (nearest, points, squares))
    for near, some, own in zip(*parts, strict=True):
        torch.minimum(near, apart(some).amin(1) + own, out=near)
    nearest[fresh] = -torch.inf


def _farthest(nearest: Tensor, points: Tensor, squares: Tensor, most: int) -> list[int]:
    """The next choices, at least one and at most so many: as many as the farthest points decide.

    Distances to the nearest chosen point only shrink. So long as one of the farthest is still
    farther than any other point was, it is the farthest of all, whatever the others are by now.
    """
    near, who = nearest.topk(min(POOL + 1, len(nearest)))
    limit = float(near[-1])
    some, own = points[who], squares[who]
    found: list[int] = []
    newest = 0
    while len(found) < most:
        found.append(int(who[newest]))
        apart = torch.addmv(own, some, some[newest], alpha=-2).add_(own[newest])
        torch.minimum(near, apart, out=near)
        near[newest] = -torch.inf
        newest = int(near.argmax())
        if near[newest] < limit:
            break
    return found


def local_outlier_factor(points: Tensor, neighbours: int) -> Tensor:
    """How much sparser the surroundings of a point are than those of its neighbours; 1 is usual.

    Breunig et al., SIGMOD 2000.

    Args:
        points: (S, N, D), S sets of N points; each set is looked at by itself.
        neighbours: as many nearest points are looked at, or all others where there are fewer.

    Returns:
        Factors (S, N), positive; 1 in sets of fewer than three points.
    """
    count = points.shape[1]
    if count < 3:
        return torch.ones(points.shape[:2])
    points = points.contiguous()
    squares = points.square().sum(2)
    apart = torch.baddbmm(squares[:, None], points, points.mT, alpha=-2)
    apart.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    near, who = apart.topk(min(neighbours, count - 1), largest=False)
    near = (near + squares[..., None]).clamp(min=0).sqrt()
    reach_of_each = near[..., -1]  # the distance to the last neighbour
    of_neighbours = reach_of_each.gather(1, who.flatten(1)).view(who.shape)
    # Where points coincide, the density is large but finite.
    density = 1 / torch.maximum(near, of_neighbours).mean(-1).clamp(min=1e-10)
    return density.gather(1, who.flatten(1)).view(who.shape).mean(-1) / density


class MemoryBank(PatchDetector):
    """A patch is as anomalous as it is far from the nearest remembered one, an image as its worst.

    As PatchCore (Roth et al., CVPR 2022), with these choices: features are standardised as for the
    other detectors, the coreset is chosen from a random subset of the patches, and an image's score
    is not rescaled by the density around its worst patch.
    """

    name: ClassVar[str] = "memory_bank"
    options_type: ClassVar[type[MemoryBankOptions]] = MemoryBankOptions
    options: MemoryBankOptions
    reduction: ClassVar[str] = "max"

    bank: Tensor
    owner: Tensor
    weight: Tensor

    def build(self, dimension: int) -> None:
        """An empty bank, and the seed of its choice."""
        self.register_buffer("bank", torch.empty(0, dimension))
        self.register_buffer("owner", torch.empty(0, dtype=torch.long))
        self.register_buffer("weight", torch.empty(0))
        self._seed = int(torch.randint(2**31, ()))

    def calibrate(self, samples: Tensor, weights: Tensor | None = None) -> None:
        """Choose the bank from training samples (N, P, D); there are no weights to heed."""
        generator = torch.Generator().manual_seed(self._seed)
        trust, factors = self._examined(samples)
        wanted = -(-self.options.candidates // len(samples))
        # The same number from each image; random keys put the patches to be left out last.
        keys = torch.rand(samples.shape[:2], generator=generator).masked_fill_(~trust, torch.inf)
        keys, columns = keys.topk(min(wanted, samples.shape[1]), largest=False)
        rows = torch.arange(len(samples))[:, None].expand_as(columns)
        rows, columns = rows[keys.isfinite()], columns[keys.isfinite()]
        candidates = samples[rows, columns]
        count = max(1, round(self.options.share * len(candidates)))
        chosen = greedy_coreset(candidates, count, generator)
        self.bank, self.owner = candidates[chosen], rows[chosen]
        self.weight = factors[rows, columns][chosen]

    def _examined(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Which training patches (N, P) may be remembered, and the weights of their distances."""
        return torch.ones(samples.shape[:2], dtype=torch.bool), torch.ones(samples.shape[:2])

    def part_scores(self, samples: Tensor) -> Tensor:
        """Distance to the nearest remembered patch, times its weight."""
        return self._distances(samples, own=True)

    @torch.no_grad()
    def training_scores(self, samples: Tensor) -> Tensor:
        """Part scores (N, P) by the patches of other images: its own are at distance zero."""
        if self.owner.unique().numel() < 2:
            return self.scores(samples)
        return self._distances(samples, own=False)

    def _distances(self, samples: Tensor, own: bool) -> Tensor:
        """Weighted distances (N, P) to the nearest remembered patch.

        Without `own`, samples are those that the bank was chosen from, and none is compared with
        patches of its own image.
        """
        apart = Apart(self.bank)
        weighted = bool((self.weight != 1).any())  # else nobody needs to know which is the nearest
        found = samples.new_empty(samples.shape[:2], dtype=torch.float32)
        for image, (patches, target) in enumerate(zip(samples.float(), found, strict=True)):
            barred = None if own else (self.owner == image).nonzero()[:, 0]
            for some, out in zip(patches.split(apart.rows), target.split(apart.rows), strict=True):
                squares = apart(some)
                if barred is not None:
                    squares.index_fill_(1, barred, torch.inf)
                if weighted:
                    nearest, which = squares.min(1)
                else:
                    nearest = squares.amin(1)
                torch.sqrt((nearest + some.square().sum(1)).clamp(min=0), out=out)
                if weighted:
                    out *= self.weight[which]
        return found

    def part_map(self, scores: Tensor) -> Tensor:
        """Scores (B, H, W) of patch scores (B, P), on the grid of the finest layer."""
        return scores.view(len(scores), *self.grid)

    def losses(self, samples: Tensor, noise: Tensor | None) -> Tensor:
        """There are none.

        Raises:
            InputError: always.
        """
        raise InputError(f"detector '{self.name}' is not trained; use it with strategy='plain'.")

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        for name in ("bank", "owner", "weight"):  # of whatever size the saved ones are
            setattr(self, name, torch.empty_like(state_dict[prefix + name]))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class SoftPatch(MemoryBank):
    """A memory bank for dirty training sets (SoftPatch-LOF; Jiang et al., NeurIPS 2022).

    Each training patch is compared with the patches of the other images at its place by the local
    outlier factor. Those with the largest factors are left out; the factors of the others stay with
    the bank and multiply the distances to it, so that being near a doubtful patch reassures less.
    """

    name: ClassVar[str] = "softpatch"
    options_type: ClassVar[type[MemoryBankOptions]] = SoftPatchOptions
    options: SoftPatchOptions

    def _examined(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        count = len(samples)
        places = max(1, BLOCK // 4 // count**2)  # of one chunk, so that it stays in the cache
        factors = torch.cat(
            [
                local_outlier_factor(chunk.transpose(0, 1), self.options.neighbours)
                for chunk in samples.split(places, dim=1)
            ]
        ).T
        kept = factors.numel() - int(self.options.removed * factors.numel())
        limit = factors.flatten().kthvalue(kept).values
        return factors <= limit, factors
