"""Patches of an image as parts: what SimpleNet and the memory banks share."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from comet_core.detectors.base import Detector, Maps, Options


class PatchOptions(Options):
    """Settings of a detector of patches."""

    neighbourhood: int = Field(3, ge=1)
    """Edge, in patches, of the window that is averaged around each patch; odd."""

    @field_validator("neighbourhood")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("an even window has no patch in its middle; give an odd number")
        return value


class PatchDetector(Detector):
    """A detector whose parts are the patches of the image, on the grid of the finest layer."""

    options: PatchOptions

    def wanted_features(self, backbone_layers: list[str], image_size: int) -> dict[str, Any]:
        """The two finest feature maps at one size."""
        return {"layers": tuple(backbone_layers[:2]), "sizes": (image_size,)}

    def assemble(self, maps: Maps) -> Tensor:
        """Each patch: its neighbourhood's mean in every layer, on the finest layer's grid.

        As in PatchCore, windows are averaged in each layer's own resolution, then upsampled.
        """
        k = self.options.neighbourhood
        # By resolution, whatever order the maps come in.
        ordered = sorted(maps.values(), key=lambda one: -one.shape[2] * one.shape[3])
        finest = ordered[0]
        self.grid = (finest.shape[2], finest.shape[3])
        parts = []
        for one in ordered:
            # Channels last, as the parts will lie: the same numbers in a sixth of the time.
            wide = one.float().contiguous(memory_format=torch.channels_last)
            local = F.avg_pool2d(wide, k, 1, k // 2, count_include_pad=False)
            if local.shape[2:] != finest.shape[2:]:
                local = F.interpolate(local, size=self.grid, mode="bilinear", align_corners=False)
            parts.append(local.movedim(1, 3).flatten(1, 2))
        return torch.cat(parts, 2)
