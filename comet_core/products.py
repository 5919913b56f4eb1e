"""Matrix products as fast as the processor computes them, and distances made of them.

PyTorch leaves products in single precision to MKL, which uses the wide registers of a processor on
Intel's only. oneDNN, which PyTorch has for convolutions, uses those of every processor: twice as
fast on AMD's (measured). What a search for the nearest costs besides is where the product is kept:
rows come few at a time, so that it is read again before it has left the processor's cache.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

BLOCK = 2**20
"""Numbers of a result that stay in a processor's cache: 4 MB."""


def has_wide_products(tensor: Tensor) -> bool:
    """Whether oneDNN multiplies matrices of this kind here."""
    return tensor.is_cpu and tensor.dtype == torch.float32 and torch.backends.mkldnn.is_available()


class Product:
    """`F.linear` with a fixed weight (M, D) and bias (M,), without gradients."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._wide = has_wide_products(weight)
        self._fixed = [
            one.detach().to_mkldnn() if self._wide and one is not None else one
            for one in (weight, bias)
        ]

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows (R, D) to (R, M)."""
        weight, bias = self._fixed
        if not self._wide:
            return F.linear(rows, weight, bias)  # type: ignore[arg-type]
        return F.linear(rows.to_mkldnn(), weight, bias).to_dense()  # type: ignore[arg-type]


class Apart:
    """Squared distances to M points, but for the square of what is compared with them.

    That square is the same for all of a row, so the nearest are found without it.

    Args:
        points: (M, D).

    Attributes:
        rows: so many rows are best compared at once.
    """

    def __init__(self, points: Tensor) -> None:
        self.rows = max(1, BLOCK // max(1, len(points)))
        self._product = Product(-2 * points, points.square().sum(1))

    def __call__(self, rows: Tensor) -> Tensor:
        """|r - p|^2 - |r|^2 of rows (R, D) and the points, (R, M)."""
        return self._product(rows)
