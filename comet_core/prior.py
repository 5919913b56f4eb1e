"""Scores of training images from before the training, for the weightings that start from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from comet_core.config import RunConfig
from comet_core.detectors import make_detector
from comet_core.detectors.base import Maps
from comet_core.features import Features, FeatureSpec, feature_spec
from comet_core.mutual import contrast_scores, image_mutual_scores, mutual_scores
from comet_core.training import fit
from comet_core.weighting import crossfit

FOLDS = 3
"""Parts of the training set; each is scored by a model of the other two."""
MEMBERS = 4
"""SimpleNets whose scores are averaged for `trimmed`. On magnetic tiles with 10 % of dirt one finds
it at an AUROC of 0.78, four at 0.83 (seeds 0 and 1)."""
APART = 1000
"""Between the seeds of two members, so that none is that of another run's training."""


def prior_scores(
    maps: Maps, config: RunConfig, features_of: Callable[[FeatureSpec], Features]
) -> Tensor | None:
    """Scores of training images as `config.weighting` wants them; None if it wants none.

    (N,), or (2, N) for `contrast`: by contrast, and mutual ones.

    Mutual scores are of patches. For a detector that keeps pooled features, the maps of the two
    finest layers are extracted as well; they cost a fraction of its views.

    Args:
        maps: features of the N images, for the detector.
        config: the run.
        features_of: extracts other features of the same images.
    """
    if not config.needs_prior:
        return None
    if config.rule == "crossfit":
        return crossfitted(maps, config)
    spec = feature_spec(make_detector("simplenet", {}), config.backbone, config.image_size)
    if config.rule == "trimmed":
        patches, plus = features_of(spec).maps if "pooled" in maps else maps, _cleaner(config)
        return averaged(patches, plus, prior_scores(patches, plus, features_of))
    if "pooled" in maps:
        # Without a name here they are gone as soon as they have been pooled.
        scores = mutual_scores(features_of(spec).maps, seed=config.seed)
    else:
        scores = mutual_scores(maps, seed=config.seed)
    found = image_mutual_scores(scores)
    return torch.stack([contrast_scores(scores), found]) if config.rule == "contrast" else found


def averaged(maps: Maps, config: RunConfig, prior: Tensor | None) -> Tensor:
    """Scores (N,) by several SimpleNets, each trained from a seed of its own.

    Args:
        maps: features of the N images, for SimpleNet.
        config: of a SimpleNet that is trained as `comet+` is.
        prior: what `prior_scores` makes of both.
    """
    ids = [str(position) for position in range(len(next(iter(maps.values()))))]
    found = []
    for member in range(1, MEMBERS + 1):
        seeded = config.model_copy(update={"seed": config.seed + member * APART})
        detector = make_detector(config.detector, config.options)
        found.append(fit(detector, maps, ids, seeded, prior=prior).final.image_scores)
    return geometric_mean(found).float()


def _cleaner(config: RunConfig) -> RunConfig:
    """The SimpleNet, trained as `comet+` is, whose scores clean the training set of another run.

    It has the settings of the run if its detector is one, else those of the profile `demo`.
    """
    plus = config
    if config.detector != "simplenet":
        names = ("backbone", "image_size", "kappa", "seed")
        shared = {name: getattr(config, name) for name in names}
        plus = RunConfig.from_profile({"detector": "simplenet", "category": "", **shared})
    changes = {"strategy": "comet+", "weighting": None, "weight_level": "image"}
    return plus.model_copy(update=changes)


def geometric_mean(scores: Sequence[Tensor]) -> Tensor:
    """Of scores >= 0 by several detectors, place by place and in double precision.

    Scores are compared by their ratios, and one that is 0 stays so.
    """
    return torch.stack([one.double() for one in scores]).log().mean(0).exp()


def crossfitted(maps: Maps, config: RunConfig) -> Tensor:
    """Scores (N,) of images by models of other folds, trained plainly by the same settings."""
    plain = config.model_copy(update={"strategy": "plain"})

    def fit_and_score(rest: Tensor, held_out: Tensor) -> Tensor:
        detector = make_detector(config.detector, config.options)
        ids = [str(position) for position in rest.tolist()]
        fit(detector, {name: one[rest] for name, one in maps.items()}, ids, plain)
        return detector.image_scores(
            detector.map_scores({name: one[held_out] for name, one in maps.items()})
        )

    count = len(next(iter(maps.values())))
    return crossfit(fit_and_score, count, min(FOLDS, count), config.seed)
