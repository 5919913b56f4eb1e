"""A few rows in the place of many."""

from __future__ import annotations

import torch
from torch import Tensor


def sampled_rows(count: int, limit: int) -> Tensor:
    """At most `limit` of `count` positions, rising, at random but always the same.

    Not every so-maniest: patches lie row after row of their image, and a step that shares a factor
    with the width of the grid sees a few columns of all images and nothing else.
    """
    if count <= limit:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(0)
    return torch.randperm(count, generator=generator)[:limit].sort().values
