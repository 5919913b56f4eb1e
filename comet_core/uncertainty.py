"""Model uncertainty and adaptive regularisation: equations 4 and 5 of the paper."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from comet_core.errors import InputError


def loss_covariance(train_losses: Tensor, val_losses: Tensor) -> Tensor:
    """Equation 4: Sigma, the covariance matrix of (training loss, validation loss).

    Args:
        train_losses: (M,) losses, each on the training part of a task.
        val_losses: (M,) losses on the validation parts of the same tasks, measured alike: the same
            model, loss and weights, without the penalty.

    Returns:
        (2, 2), the unbiased sample covariance; zeros for fewer than two pairs.

    Raises:
        InputError: for inputs of unequal length or with non-finite values.
    """
    if train_losses.shape != val_losses.shape or train_losses.ndim != 1:
        raise InputError(
            f"train and validation losses must be pairs, got shapes {tuple(train_losses.shape)}"
            f" and {tuple(val_losses.shape)}."
        )
    pairs = torch.stack([train_losses, val_losses])
    if not torch.isfinite(pairs).all():
        raise InputError("the losses hold NaN or infinite values; lower the learning rate.")
    if pairs.shape[1] < 2:
        return torch.zeros(2, 2, dtype=pairs.dtype)
    return torch.cov(pairs)


def determinant(covariance: Tensor) -> Tensor:
    """det Sigma >= 0 of a (2, 2) covariance matrix; rounding below 0 is returned as 0."""
    product = covariance[0, 0] * covariance[1, 1]
    return (product - covariance[0, 1] * covariance[1, 0]).clamp(min=0)


def adaptive_lambda(covariance: Tensor, lambda_0: float = 0.005, gamma: float = 0.5) -> Tensor:
    """Equation 5: lambda(Sigma) = lambda_0 (1 + gamma det Sigma).

    Args:
        covariance: (2, 2), from `loss_covariance`.
        lambda_0: regularisation at no uncertainty, >= 0.
        gamma: how much uncertainty adds, >= 0.

    Returns:
        A scalar, at least lambda_0.
    """
    if lambda_0 < 0 or gamma < 0:
        raise InputError(f"lambda_0 and gamma must be >= 0, got {lambda_0} and {gamma}.")
    return lambda_0 * (1 + gamma * determinant(covariance))


class LossWindow:
    """The latest pairs of (training loss, validation loss) that Sigma is computed from.

    A model's loss falls while it trains, and over a long window that trend alone would correlate
    the two series. How many steps `size` pairs are depends on the tasks of a step, each of which
    gives a pair at every second step: sixteen pairs are sixteen steps with two tasks. With one, as
    DifferNet has in the profile `demo`, they are most of a training on few images, and the trend
    is in them.
    """

    def __init__(self, size: int) -> None:
        self._pairs: deque[tuple[float, float]] = deque(maxlen=size)

    def extend(self, train_losses: Iterable[float], val_losses: Iterable[float]) -> None:
        """Add pairs, oldest first; the oldest beyond `size` are dropped."""
        self._pairs.extend(zip(train_losses, val_losses, strict=True))

    def covariance(self) -> Tensor:
        """(2, 2) covariance of the pairs in the window, in float64."""
        pairs = torch.tensor(list(self._pairs), dtype=torch.float64).reshape(-1, 2)
        return loss_covariance(pairs[:, 0], pairs[:, 1])


def penalised(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters that the penalty counts: weight matrices, neither biases nor gains.

    Biases and normalisation gains are the ones of fewer than two dimensions.
    """
    return {name: p for name, p in parameters.items() if p.ndim >= 2}


def weight_penalty(parameters: Mapping[str, Tensor]) -> Tensor:
    """||theta||^2 of equations 6 and 8, per parameter: the mean square of the weight matrices.

    The mean (choice) lets one lambda_0 serve a detector of ten thousand weights and one of ten
    million: as a raw sum the penalty swamps the loss.
    """
    counted = penalised(parameters).values()
    total = sum((torch.linalg.vector_norm(p).square() for p in counted), start=torch.zeros(()))
    return total / max(1, sum(p.numel() for p in counted))
