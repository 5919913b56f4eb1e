"""Soft confident learning: equations 1 to 3 of the paper, as pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from comet_core.errors import InputError


def quartiles(scores: Tensor) -> tuple[Tensor, Tensor]:
    """First and third quartile of (N,) scores, linear between order statistics as in numpy."""
    if scores.ndim != 1 or scores.numel() == 0:
        raise InputError(f"scores must be one row of at least one number, got {scores.shape}.")
    if not torch.isfinite(scores).all():
        raise InputError("scores hold NaN or infinite values; the model has diverged.")
    # torch.quantile refuses more than 2^24 values; sorting does not.
    ordered = scores.sort().values
    position = torch.tensor([0.25, 0.75], dtype=torch.float64) * (len(ordered) - 1)
    low = position.floor().long()
    high = (low + 1).clamp(max=len(ordered) - 1)
    share = (position - low).to(ordered)
    values = ordered[low] + share * (ordered[high] - ordered[low])
    return values[0], values[1]


def iqr_threshold(scores: Tensor, kappa: float = 1.5) -> Tensor:
    """Equation 1: t = Q3 + kappa (Q3 - Q1).

    Args:
        scores: (N,) anomaly scores of the training samples, non-negative, higher is more anomalous.
        kappa: how many interquartile ranges above the third quartile, >= 0.

    Returns:
        The threshold, a scalar tensor; equal to the common score where all scores are equal.

    Raises:
        InputError: for an empty or non-finite input, a negative score or a negative kappa.
    """
    if kappa < 0:
        raise InputError(f"kappa must be >= 0, got {kappa}.")
    q1, q3 = quartiles(scores)
    if scores.min() < 0:
        raise InputError("anomaly scores must be non-negative: equation 2 divides by them.")
    return q3 + kappa * (q3 - q1)


def confidence_weights(scores: Tensor, threshold: Tensor | float) -> Tensor:
    """Equation 2: w_i = min(1, t / a_i), in (0, 1].

    It is 1 up to the threshold, falls above it, and does not change when scores and threshold are
    multiplied by one positive number.

    Args:
        scores: any shape, non-negative.
        threshold: t of equation 1, a number > 0 unless all scores are 0.

    Returns:
        Weights of the shape of `scores`.

    Raises:
        InputError: for t <= 0 with a positive score (the weight would be 0 and the sample lost),
            a non-finite threshold, or a negative score.
    """
    t = torch.as_tensor(threshold, dtype=scores.dtype, device=scores.device)
    if not torch.isfinite(t):
        raise InputError(f"the threshold must be finite, got {t.item()}.")
    if not torch.isfinite(scores).all() or (scores < 0).any():
        raise InputError("anomaly scores must be finite and non-negative.")
    positive = scores > 0
    if t <= 0 and positive.any():
        raise InputError(
            f"the threshold is {t.item():g} but some scores are positive: their weights would be 0;"
            " more than three quarters of the scores are 0, so use a score without a flat floor."
        )
    # A score of 0 is the most normal there is; its quotient is infinite or 0 / 0, its weight is 1.
    safe = torch.where(positive, scores, torch.ones_like(scores))
    return torch.where(positive, (t / safe).clamp(max=1.0), torch.ones_like(scores))


def weighted_loss(losses: Tensor, weights: Tensor) -> Tensor:
    """Equation 3, divided by the number of samples: (1 / N) sum_i w_i L_i.

    The division (choice) keeps the step size independent of the batch size.

    Args:
        losses: (N, ...) per-sample, or per-sample and per-patch, losses.
        weights: of a shape that broadcasts to that of `losses` from the left, for example (N,).

    Returns:
        A scalar.
    """
    while weights.ndim < losses.ndim:
        weights = weights.unsqueeze(-1)
    return (weights * losses).mean()
