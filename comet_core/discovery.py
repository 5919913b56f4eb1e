"""Which training images to flag, so that few of the flagged are good: false-discovery control.

A flag without an error rate is an opinion. Here every image gets a p-value, the chance that a
nominal image scores as high, and the cut is the one of Benjamini and Hochberg: at level 0.1, at
most one flagged image in ten is nominal, on average over training sets.

    flagged = discoveries(scores, 0.1)                        # the training set judges itself
    flagged = discoveries(scores, 0.1, calibration=scores_of_images_known_to_be_good)

With a calibration set of nominal images that no model was trained on, the p-values are conformal
and the guarantee needs no assumption but exchangeability (Bates et al., 2023). Without one it needs
an assumption on the shape of nominal scores, since a long tail and dirt look alike: see
`nominal_tail`. Where the assumption fails the control fails; `benchmarks/fdr.py` measures by how
much.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, special, stats
from torch import Tensor

from comet_core.errors import InputError

CERTAIN = 0.5
"""Share of the scores, the lowest, that are taken to be nominal from the outset."""
FEWEST = 20
"""Scores below which no tail is fitted."""
ROUNDS = 8
BEYOND = 2.0
"""Nominal scores that are expected to lie beyond the final cut."""
WIDENING = 0.15
"""Relative widening of the fitted tail, for what the fit leaves uncertain (see `nominal_tail`)."""


class Tail(NamedTuple):
    """A log-generalised-gamma distribution of log-scores (Prentice, 1974).

    Shape 0 makes the scores lognormal, 1 Weibull, -1 Frechet; the scale itself gamma.
    """

    location: float
    scale: float
    shape: float

    def survival(self, logs: NDArray) -> NDArray:
        """P(log-score >= x) of each x."""
        z = (logs - self.location) / self.scale
        if abs(self.shape) < 1e-3:
            return special.ndtr(-z)
        k = self.shape**-2
        u = k * np.exp(np.clip(self.shape * z, -700, 50))
        return special.gammaincc(k, u) if self.shape > 0 else special.gammainc(k, u)

    def log_density(self, logs: NDArray) -> NDArray:
        """Logarithm of the density of the log-scores at each x."""
        z = (logs - self.location) / self.scale
        if abs(self.shape) < 1e-3:
            return -0.5 * z**2 - 0.5 * math.log(2 * math.pi) - math.log(self.scale)
        k = self.shape**-2
        constant = math.log(abs(self.shape) / self.scale) + k * math.log(k) - math.lgamma(k)
        return constant + k * (self.shape * z - np.exp(np.clip(self.shape * z, -700, 50)))


def conformal_p_values(scores: Tensor, calibration: Tensor) -> Tensor:
    """(1 + number of calibration scores >= a) / (n + 1).

    Args:
        scores: (N,) of the images in question.
        calibration: (n,) of nominal images, scored by the same model, which trained on neither.

    Returns:
        (N,) in (0, 1]. For a nominal image P(p <= x) <= x.

    Raises:
        InputError: for no scores, or scores that are not finite.

    Source: Vovk et al., 2005; for outliers Bates et al., Annals of Statistics, 2023.
    """
    reference = _checked(calibration).sort().values
    below = torch.searchsorted(reference, _checked(scores))
    return (1.0 + len(reference) - below.double()) / (len(reference) + 1.0)


def p_values(scores: Tensor) -> Tensor:
    """Conformal p-values without a calibration set: its counts are those that the tail expects.

    (1 + N S(a)) / (N + 1) for N scores and the survival function S of `nominal_tail`. The 1 stands
    for the image itself, as in conformal p-values. It has a price: at level q no fewer than 1 / q
    images are ever flagged. And a use: hardly a misfit of the far tail can make that many.

    Args:
        scores: (N,), >= 0, of the training images, dirt included.

    Returns:
        (N,) in (0, 1]; all 1 for fewer than 20 scores, or where half of them are equal.

    Raises:
        InputError: for no scores, or scores that are not finite or negative.
    """
    tail = nominal_tail(scores)
    if tail is None:
        return torch.ones(len(scores), dtype=torch.float64)
    survival = torch.from_numpy(tail.survival(_logs(scores)))
    return (1 + len(scores) * survival) / (len(scores) + 1)


def nominal_tail(scores: Tensor) -> Tail | None:
    """The distribution of nominal scores, from scores that hold an unknown share of dirt.

    The lower half is taken as nominal and a generalised gamma distribution is fitted to it by
    maximum likelihood, truncated at the cut. The cut is then moved up to the score that two of N
    nominal images would exceed, and the fit repeated, until it stays: with few anomalies nearly all
    nominal scores take part, and anomalies far out never do. A weak prior (shape near 0, deviation
    1) steadies the shape, and the result is widened by 15 % of its scale (choices, made on other
    simulated sets than those that are reported).

    The assumption: more than half of the images are nominal, dirt scores above them, and nominal
    scores are of one kind, with a tail that the lower scores foretell. It covers gamma, Weibull,
    lognormal, Frechet and, with the widening, tails somewhat off the family. It does not cover a
    second, rarer kind of good image that scores higher: nothing in the scores tells it from dirt.

    Args:
        scores: (N,), >= 0.

    Returns:
        The tail, or None for fewer than 20 scores, or where half of them are equal.

    Raises:
        InputError: for no scores, or scores that are not finite or negative.

    Source: the empirical null of Efron, JASA 2004, with the family of Prentice, Biometrika 1974.
    """
    ordered = np.sort(_logs(scores))
    count = len(ordered)
    low, middle, cut = np.quantile(ordered, [0.1, 0.5, CERTAIN])
    if count < FEWEST or middle <= low:
        return None
    tail = Tail(middle, (middle - low) / 1.28, 0.0)
    for _ in range(ROUNDS):
        tail = _truncated_fit(ordered[ordered <= cut], cut, tail)
        inside = ordered[tail.survival(ordered) >= BEYOND / count]
        previous, cut = cut, max(inside.max(initial=-np.inf), np.quantile(ordered, CERTAIN))
        if cut == previous:
            break
    return tail._replace(scale=tail.scale * (1 + WIDENING))


def _truncated_fit(logs: NDArray, cut: float, start: Tail) -> Tail:
    """Maximum likelihood of log-scores that were only kept up to `cut`."""

    def cost(values: NDArray) -> float:
        location, log_scale, shape = values
        if abs(shape) > 5 or abs(log_scale) > 10:
            return 1e10
        tail = Tail(location, math.exp(log_scale), shape)
        kept = 1 - tail.survival(np.array([cut]))[0]
        found = tail.log_density(logs).sum() - len(logs) * math.log(max(kept, 1e-300))
        return -found + 0.5 * shape**2 if np.isfinite(found) else 1e10

    begin = np.array([start.location, math.log(start.scale), start.shape])
    step = np.diag([0.5 * start.scale, 0.5, 0.5])
    options = {
        "initial_simplex": np.vstack([begin, begin + step]),
        "xatol": 1e-3 * start.scale,
        "fatol": 1e-3,
        "maxiter": 400,
    }
    location, log_scale, shape = optimize.minimize(
        cost, begin, method="Nelder-Mead", options=options
    ).x
    return Tail(float(location), math.exp(log_scale), float(shape))


def benjamini_hochberg(p: Tensor, level: float) -> Tensor:
    """Which hypotheses to reject, so that the expected share of false rejections is <= `level`.

    The k smallest p-values, with the largest k for which the k-th is at most level k / N. It holds
    for independent p-values, and for conformal ones with a shared calibration set (Bates et al.).

    Args:
        p: (N,) in [0, 1].
        level: in (0, 1).

    Returns:
        (N,) bool.

    Raises:
        InputError: for a level or p-values out of range.

    Source: Benjamini and Hochberg, JRSS B 1995, by `scipy.stats.false_discovery_control`.
    """
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, got {level}; 0.1 is usual.")
    # Conformal p-values are fractions and often lie on the line, which rounding must not pass.
    return adjusted(p) <= level * (1 + 1e-12)


def adjusted(p: Tensor) -> Tensor:
    """The smallest level of `benjamini_hochberg` at which each hypothesis is rejected, (N,)."""
    values = _checked(p)
    if values.min() < 0 or values.max() > 1:
        raise InputError("p-values must lie in [0, 1].")
    return torch.from_numpy(stats.false_discovery_control(values.numpy(), method="bh"))


def discoveries(scores: Tensor, level: float = 0.1, *, calibration: Tensor | None = None) -> Tensor:
    """The images to flag: at most a share `level` of them is nominal, on average over data sets.

    Args:
        scores: (N,) of the images, >= 0.
        level: false-discovery rate in (0, 1).
        calibration: (n,) scores of held-out images known to be nominal; without, see `p_values`.

    Returns:
        (N,) bool; the flagged images are those with the highest scores.

    Raises:
        InputError: for bad scores or a level out of range.
    """
    p = p_values(scores) if calibration is None else conformal_p_values(scores, calibration)
    return benjamini_hochberg(p, level)


def _logs(scores: Tensor) -> NDArray:
    values = _checked(scores)
    if values.min() < 0:
        raise InputError("anomaly scores must be non-negative.")
    positive = values[values > 0]
    floor = positive.min().item() if len(positive) else 1.0
    return values.clamp(min=floor).log().numpy()


def _checked(values: Tensor) -> Tensor:
    if values.ndim != 1 or values.numel() == 0:
        raise InputError(f"need one row of at least one number, got {tuple(values.shape)}.")
    if not torch.isfinite(values).all():
        raise InputError("scores hold NaN or infinite values; the model has diverged.")
    return values.double()
