"""Which weights a training gives its samples: one setting, `weighting`, and what it stands for.

| weighting     | from which scores               | how                                            |
|---------------|---------------------------------|------------------------------------------------|
| `paper`       | the model's, at each refresh    | min(1, t / a), equation 2                      |
| `sharpened`   | the model's                     | min(1, (t / a)^p), p chosen without labels     |
| `annealed`    | the model's                     | the same, p growing while training             |
| `mixture`     | the model's                     | posterior of the nominal component             |
| `rejection`   | the model's                     | 1 up to t, else 0                              |
| `readmission` | the model's                     | the same, t from the samples kept so far       |
| `mutual`      | `comet_core.mutual`, once       | readmission until nothing changes              |
| `contrast`    | the same, each patch against its| the same, and whatever is far out by `mutual`  |
|               | image and its place             |                                                |
| `crossfit`    | of models trained on other folds| readmission until nothing changes              |
| `core`        | `mutual`, then the model's      | start from the least strange, then readmission |
| `trimmed`     | of SimpleNets and a DifferNet   | 1, and 0 for the strangest quarter             |

The functions are in `comet_core.weighting`. `contrast` is the rule of `comet+`: on the stand-ins it
finds more of the dirt than `mutual` and keeps more of the odd but nominal images. `core` leaves out
a quarter to begin with and helps where dirt hides among odd nominal images, at a price where there
is none. `trimmed` (after least trimmed squares: Rousseeuw, 1984) never takes its quarter back. Of
all that were tried its scores found most dirt in the mean over tiles, digits and stand-ins: what a
single training does not happen to learn averages out, and where patches tell nothing the whole
image may. It takes five trainings more, and has much the same price.
"""

from __future__ import annotations

import torch
from torch import Tensor

from comet_core import weighting
from comet_core.config import TrainingSettings
from comet_core.errors import InputError

CORE = 0.75
"""Share of the images that `core` starts from, and that `trimmed` keeps: as many as have to be
nominal for Q3 to be so."""
FAR = 2.0
"""Beyond so many times kappa interquartile ranges an image is "far out" (Tukey, 1977)."""
ROUNDS = 10
"""Readmission of fixed scores settles in two or three."""


def first_weights(count: int, prior: Tensor | None, settings: TrainingSettings) -> Tensor:
    """Weights (N,) of the warm-up: 1, or what scores from before the training say.

    Args:
        count: number of samples N.
        prior: (N,) scores from before the training, for the rules of `config.PRIOR`; for `contrast`
            also (2, N), of which the second decide about images that are far out only.
        settings: of the training.

    Raises:
        InputError: a rule that needs them, and no prior scores.
    """
    if not settings.needs_prior:
        return torch.ones(count)
    two = settings.rule == "contrast" and prior is not None and prior.shape == (2, count)
    if prior is None or not (two or prior.shape == (count,)):
        raise InputError(
            f"weighting '{settings.rule}' needs one score from before the training for each of the"
            f" {count} images."
        )
    if settings.rule in ("core", "trimmed"):
        return (prior <= prior.quantile(CORE)).to(prior.dtype)
    if two:
        kept = settled(prior[0], settings.kappa)
        both = kept * settled(prior[1], FAR * settings.kappa)
        return both if 2 * both.sum() >= count else kept
    return settled(prior, settings.kappa)


def next_weights(
    scores: Tensor, before: Tensor, progress: float, settings: TrainingSettings
) -> Tensor:
    """Weights at a refresh, of the shape of `scores`.

    Args:
        scores: the model's, (N,) or (N, P).
        before: the weights so far, of any shape that broadcasts to it.
        progress: share of the training that is done.
        settings: of the training.
    """
    kappa = settings.kappa
    if before.ndim < scores.ndim:
        before = before[:, None].expand_as(scores)
    match settings.rule:
        case "paper":
            return weighting.paper(scores, kappa)
        case "sharpened":
            return weighting.sharpened(scores, kappa)
        case "annealed":
            return weighting.annealed(scores, progress, kappa)
        case "mixture":
            return weighting.mixture(scores)
        case "rejection":
            return weighting.rejection(scores, kappa)
        case "readmission":
            return weighting.readmission(scores, before, kappa)
        case "core":
            # Who was left out has not been trained on, which alone makes scores higher, and comes
            # back only if it scores like the bulk of those who were.
            return weighting.readmission(scores, before, kappa, release=0.0)
        case _:
            return before


def settled(scores: Tensor, kappa: float = 1.5) -> Tensor:
    """Readmission of fixed scores, again and again until the kept samples stay the same.

    On the logarithms of the scores, where equation 1 reads t = Q3 (Q3 / Q1)^kappa: distances
    scatter by factors, and a threshold for sums would drop nominal images of the longer tail. At
    least half of the samples are kept: dirt is taken to be the minority.

    Args:
        scores: (N,), >= 0; 0 counts as the smallest positive score.
        kappa: how many interquartile ranges above Q3 the threshold lies.

    Returns:
        1 or 0, of the shape of `scores`.
    """
    positive = scores[scores > 0]
    if not len(positive):
        return torch.ones_like(scores)
    scores = (scores / positive.min()).clamp(min=1).log()
    kept = torch.ones_like(scores)
    for _ in range(ROUNDS):
        now = weighting.readmission(scores, kept, kappa)
        if torch.equal(now, kept) or 2 * now.sum() < len(scores):
            break
        kept = now
    return kept
