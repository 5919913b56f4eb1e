"""Scores of training images from before the training, for the weightings that start from them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from comet_core.config import RunConfig
from comet_core.detectors import make_detector
from comet_core.detectors.base import Maps
from comet_core.ensembles import combined, geometric_mean, scale_of, trained
from comet_core.features import Features, FeatureSpec, feature_spec
from comet_core.mutual import contrast_scores, image_mutual_scores, mutual_scores
from comet_core.training import fit
from comet_core.weighting import crossfit

FOLDS = 3
"""Parts of the training set; each is scored by a model of the other two."""
MEMBERS = {"simplenet": 4, "differnet": 1}
"""How many of each detector judge for `trimmed`. On magnetic tiles with 10 % of dirt one SimpleNet
finds it at an AUROC of 0.77, four at 0.84, one DifferNet at 0.90, where four hardly do better, and
all together at 0.91 (means of three draws)."""
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
    if config.rule == "trimmed":
        return judged(maps, config, features_of)
    scores = mutual_scores(_patches(maps, config, features_of), seed=config.seed)
    found = image_mutual_scores(scores)
    return torch.stack([contrast_scores(scores), found]) if config.rule == "contrast" else found


def judged(maps: Maps, config: RunConfig, features_of: Callable[[FeatureSpec], Features]) -> Tensor:
    """Scores (N,) of images by `MEMBERS`, trained as `comet+` is; arguments as `prior_scores`.

    All start from the same scores, and the detectors count alike, however many members they have.
    """
    found: list[Tensor] = []
    prior = None
    for name, members in MEMBERS.items():
        plus = _cleaner(config, name)
        own = maps if name == config.detector else features_of(_spec(plus)).maps
        if prior is None:
            prior = prior_scores(own, plus, features_of)
        found.append(averaged(own, plus, prior, members))
    return combined(found, [scale_of(one) for one in found]).float()


def averaged(maps: Maps, config: RunConfig, prior: Tensor | None, members: int) -> Tensor:
    """Scores (N,) by several detectors, each trained from a seed of its own.

    Args:
        maps: features of the N images, for the detector.
        config: of the trainings.
        prior: what `prior_scores` makes of both.
        members: how many are trained.
    """
    ids = [str(position) for position in range(len(next(iter(maps.values()))))]
    seeds = [config.seed + member * APART for member in range(1, members + 1)]
    each = trained(config, maps, ids, seeds, prior=prior)
    return geometric_mean([training.final.image_scores for _, training in each])


def _patches(maps: Maps, config: RunConfig, features_of: Callable[[FeatureSpec], Features]) -> Maps:
    """The maps of the two finest layers; extracted for a detector that keeps pooled features."""
    return features_of(_spec(_cleaner(config, "simplenet"))).maps if "pooled" in maps else maps


def _spec(config: RunConfig) -> FeatureSpec:
    detector = make_detector(config.detector, config.options)
    return feature_spec(detector, config.backbone, config.image_size)


def _cleaner(config: RunConfig, detector: str) -> RunConfig:
    """The detector, trained as `comet+` is, whose scores clean the training set of another run.

    It has the settings of the run if that is of the same detector, else those of the profile
    `demo`.
    """
    plus = config
    if config.detector != detector:
        names = ("backbone", "image_size", "kappa", "seed")
        shared = {name: getattr(config, name) for name in names}
        plus = RunConfig.from_profile({"detector": detector, "category": "", **shared})
    changes = {"strategy": "comet+", "weighting": None, "weight_level": "image"}
    return plus.model_copy(update=changes)


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
