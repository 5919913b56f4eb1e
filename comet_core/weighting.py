"""Weights beyond the paper's: pure functions from anomaly scores to confidence.

Equation 2 gives an image that scores twice the threshold half a vote. Ten such images are five
votes for their defect. The rules below differ in what they do about that:

| function      | weight of a sample with score a           | what it is about                 |
|---------------|-------------------------------------------|----------------------------------|
| `paper`       | min(1, t / a)                             | the reference                    |
| `sharpened`   | min(1, (t / a)^p)                         | between equation 2 and rejection |
| `rejection`   | 1 up to t, else 0                         | the limit of a large p           |
| `readmission` | 1 or 0; t from the samples kept so far    | dirt does not move its own t     |
| `mixture`     | posterior of the nominal component        | no threshold to choose           |
| `annealed`    | `sharpened` with p growing while training | soft while scores are unsure     |

The scores may come from the model in training, from models that did not train on the sample
(`crossfit`), or from before training. They are (N,), one an image, or (N, P), one a patch; then
patches compete with all patches, so that the good parts of a bad image still teach. All rules read
scores by their ratios or their order: multiplying every score by one number changes nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from comet_core.confidence import confidence_weights, iqr_threshold
from comet_core.errors import InputError

POWERS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Powers that `choose_power` chooses from."""
INFLUENCE = 0.01
"""Share of the total weight that samples beyond the threshold may hold together."""
EVIDENCE = 10.0
"""Difference in BIC from which two components are believed ("very strong"; Raftery, 1995)."""
SEPARATION = 2.0
"""Deviations between two equally wide components from which their mixture can have two modes."""


def threshold(scores: Tensor, kappa: float = 1.5) -> Tensor:
    """Equation 1 over all scores, of whichever shape."""
    return iqr_threshold(scores.flatten(), kappa)


def paper(scores: Tensor, kappa: float = 1.5) -> Tensor:
    """Equation 2 of the paper: min(1, t / a).

    Args:
        scores: (N,) or (N, P), finite, >= 0, higher is more anomalous.
        kappa: how many interquartile ranges above Q3 the threshold lies, >= 0.

    Returns:
        Weights in (0, 1] of the shape of `scores`: 1 up to t, falling beyond.

    Raises:
        InputError: for no scores, NaN, infinite or negative scores, a negative kappa, or where more
            than three quarters of the scores are 0 and others are not.

    Source: Aqeel et al., ICCV 2025, equations 1 and 2.
    """
    return confidence_weights(scores, threshold(scores, kappa))


def sharpened(scores: Tensor, kappa: float = 1.5, power: float | None = None) -> Tensor:
    """min(1, (t / a)^p): equation 2 for p = 1, rejection in the limit of a large p.

    Args:
        scores: as for `paper`.
        kappa: as for `paper`.
        power: p > 0; by default what `choose_power` chooses.

    Returns:
        Weights in (0, 1] of the shape of `scores`.

    Raises:
        InputError: as for `paper`, or for p <= 0.
    """
    soft = paper(scores, kappa)
    p = _chosen(soft, POWERS, INFLUENCE) if power is None else power
    if not 0 < p < float("inf"):
        raise InputError(f"power must be a positive number, got {p}.")
    return soft.pow(p).clamp(min=torch.finfo(soft.dtype).tiny)


def choose_power(
    scores: Tensor,
    kappa: float = 1.5,
    *,
    powers: Sequence[float] = POWERS,
    influence: float = INFLUENCE,
) -> float:
    """The smallest power that leaves the samples beyond t hardly any say; no labels are needed.

    That is, for which sum of w over a > t is at most `influence` times the sum of all w; the
    largest of `powers` where none is enough, because samples beyond t lie close to it. Where hardly
    any are beyond t it is p = 1, the paper's rule; clean scores with a long tail are sharpened, and
    the tail loses its say. The bound is this project's (choice): it limits how dirty the weighted
    training set can be, if what lies beyond t is dirt.

    Raises:
        InputError: as for `paper`, for no powers, or an influence outside (0, 1).
    """
    return _chosen(paper(scores, kappa), powers, influence)


def _chosen(soft: Tensor, powers: Sequence[float], influence: float) -> float:
    if not powers or min(powers) <= 0:
        raise InputError("powers must be a list of at least one positive number.")
    if not 0 < influence < 1:
        raise InputError(f"influence must lie between 0 and 1, got {influence}.")
    beyond = soft < 1
    for power in sorted(powers):
        weights = soft.double().pow(power)
        if weights[beyond].sum() <= influence * weights.sum():
            return float(power)
    return float(max(powers))


def rejection(scores: Tensor, kappa: float = 1.5) -> Tensor:
    """1 up to the threshold of equation 1, 0 beyond: what the paper's weights soften.

    Arguments and errors are those of `paper`.
    """
    return (scores <= threshold(scores, kappa)).to(scores.dtype)


def readmission(
    scores: Tensor, kept: Tensor | None = None, kappa: float = 1.5, *, release: float = 0.5
) -> Tensor:
    """Rejection whose threshold comes from the samples kept so far, and that can be taken back.

    Q1 and Q3 are those of the scores of kept samples. A kept sample stays up to
    Q3 + kappa IQR. One that was rejected comes back only up to Q3 + release kappa IQR: the gap
    between the two keeps samples near the threshold from going in and out at every refresh
    (hysteresis, as in edge detection: Canny, 1986).

    Args:
        scores: as for `paper`.
        kept: what the last call returned; None, or all 0, stands for all samples.
        kappa: as for `paper`.
        release: in [0, 1]; 1 means no hysteresis.

    Returns:
        1 or 0, of the shape of `scores`; at least one is 1.

    Raises:
        InputError: as for `paper`, or for another shape of `kept` or a release outside [0, 1].
    """
    if not 0 <= release <= 1:
        raise InputError(f"release must lie in [0, 1], got {release}.")
    threshold(scores, kappa)  # so that what was rejected is checked as well
    before = torch.ones_like(scores) if kept is None else kept
    if before.shape != scores.shape:
        raise InputError(
            f"kept has shape {tuple(before.shape)}, the scores {tuple(scores.shape)}; hand back"
            " what the last call returned."
        )
    inside = before > 0
    if not inside.any():
        inside = torch.ones_like(inside)
    bound = iqr_threshold(scores[inside], kappa)
    entry = iqr_threshold(scores[inside], release * kappa)
    return (scores <= torch.where(inside, bound, entry)).to(scores.dtype)


def mixture(scores: Tensor) -> Tensor:
    """Probability that a score belongs to the nominal one of two components.

    Two normal distributions of one width are fitted to the logarithms of the scores by expectation
    maximisation. With one width the posterior falls with the score, as a confidence must. All
    weights are 1 where one component explains the data: where BIC prefers it or nearly does
    (Raftery, 1995), where the two are so close that they have one mode, or where the upper one is
    not the smaller, since dirt is taken to be the minority.

    Args:
        scores: as for `paper`; 0 counts as the smallest positive score.

    Returns:
        Weights in (0, 1] of the shape of `scores`, never rising with the score.

    Raises:
        InputError: for no, NaN, infinite or negative scores.

    Source: Dempster, Laird and Rubin, 1977; as weights of samples with noisy labels, Arazo et al.,
    ICML 2019.
    """
    threshold(scores)
    ones = torch.ones_like(scores)
    positive = scores[scores > 0]
    if positive.numel() < 4 or scores.min() == scores.max():
        return ones
    logs = scores.double().clamp(min=positive.min().item()).log().flatten()
    # The fit starts from a random draw of its rows and must not depend on their order; nor on the
    # scale, and powers of a number are scale-free only up to rounding.
    ordered, order = logs.sort()
    spread = ordered.std()
    if spread == 0:
        return ones
    points = ((ordered - ordered.median()) / spread).round(decimals=9).numpy()[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fits = [_gaussians(points, parts) for parts in (1, 2)]
    two = fits[1]
    low, high = two.means_[:, 0].argsort()
    apart = (two.means_[high, 0] - two.means_[low, 0]) / two.covariances_[0, 0] ** 0.5
    believed = fits[0].bic(points) - two.bic(points) >= EVIDENCE
    if not believed or apart < SEPARATION or two.weights_[high] > 0.5:
        return ones
    posterior = torch.from_numpy(two.predict_proba(points)[:, low])[order.argsort()]
    return posterior.clamp(1e-6, 1).view(scores.shape).to(scores.dtype)


def _gaussians(points: np.ndarray, parts: int) -> GaussianMixture:
    return GaussianMixture(
        parts, covariance_type="tied", n_init=1, max_iter=300, reg_covar=1e-4, random_state=0
    ).fit(points)


def annealed(
    scores: Tensor, progress: float, kappa: float = 1.5, *, power: float | None = None
) -> Tensor:
    """Soft early, sharp late: `sharpened` with the power p^progress.

    At the start of training, when scores say little, the weights are the paper's; at its end they
    are those of `sharpened`.

    Args:
        scores: as for `paper`.
        progress: share of the training that is done, in [0, 1].
        kappa: as for `paper`.
        power: p >= 1 at the end; by default what `choose_power` chooses.

    Raises:
        InputError: as for `paper`, or for a progress outside [0, 1] or p < 1.
    """
    if not 0 <= progress <= 1:
        raise InputError(f"progress must lie in [0, 1], got {progress}.")
    last = choose_power(scores, kappa) if power is None else power
    if last < 1:
        raise InputError(f"power must be at least 1, got {last}.")
    return sharpened(scores, kappa, last**progress)


def crossfit(
    fit_and_score: Callable[[Tensor, Tensor], Tensor], count: int, folds: int = 3, seed: int = 0
) -> Tensor:
    """Scores of all samples, each by a model that did not train on it.

    A model that has learned its training set by heart gives its dirt low scores; one that has not
    seen it cannot. Every fold has a model of its own and with it a scale of its own, so the scores
    of a fold are divided by their median before they are put together (choice).

    Args:
        fit_and_score: called with positions to train on and positions held out, both (M,) int64;
            returns non-negative scores of the latter, (M,) or (M, P).
        count: number of samples N, at least `folds`.
        folds: number of parts, at least 2.
        seed: of the random division.

    Returns:
        (N,) or (N, P) scores.

    Raises:
        InputError: for too few samples or folds, or scores of the wrong length.

    Source: Stone, 1974; as a remedy for memorised labels, Northcutt et al., JAIR 2021.
    """
    if not 2 <= folds <= count:
        raise InputError(
            f"folds must lie between 2 and the number of samples, {count}; got {folds}."
        )
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randperm(count, generator=generator).tensor_split(folds)
    found = []
    for position, held_out in enumerate(parts):
        rest = torch.cat([part for other, part in enumerate(parts) if other != position])
        scores = fit_and_score(rest.sort().values, held_out)
        if len(scores) != len(held_out):
            raise InputError(f"{len(held_out)} samples were held out, {len(scores)} scored.")
        middle = scores.median()
        found.append(scores / middle if middle > 0 else scores)
    return torch.cat(found)[torch.cat(parts).argsort()]
