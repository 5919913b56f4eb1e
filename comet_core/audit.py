"""The audit: where the released code departs from the equations, and what each departure is worth.

Every departure is a few lines that replace one piece of our loop: a rule of weights, a step, a
setting. The code is ours, written from a description of what the released code does; nothing of it
is copied. A run with a departure is one row of the store like any other:

    rows = experiments.run(grid(base), execute=execute, engine="processes")
    audit_report.measured(rows)

and is repeated by `runs.rerun(HASH, execute=audit.execute)`. The detector is SimpleNet, the only
one that was released.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from comet_core import metrics
from comet_core.audit_steps import (
    Alternating,
    MixedPairs,
    RawSum,
    ReversedSign,
    TwoModels,
    TwoModelsSimpleNet,
)
from comet_core.confidence import quartiles
from comet_core.config import RunConfig, TrainingSettings
from comet_core.datasets.base import ANOMALOUS, images
from comet_core.detectors import make_detector
from comet_core.detectors.base import Detector
from comet_core.detectors.simplenet import SimpleNet
from comet_core.devices import device
from comet_core.errors import InputError
from comet_core.features import extract, feature_spec
from comet_core.pipeline import RunOutput, listed
from comet_core.training import Confidence, MakeStep, Weigh, confidence, train

NEVER = 10**6
"""Epochs between two refreshes that are not to happen."""


@dataclass(frozen=True)
class Departure:
    """One departure: what it replaces, and which run it is compared with."""

    title: str
    short: str = ""
    """The title in two or three words, for figures."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the training that it changes."""
    weigh: Callable[[TrainingSettings], Weigh] | None = None
    make_step: MakeStep | None = None
    detector: type[SimpleNet] = SimpleNet
    against: str = "equations"


def of_another_image(settings: TrainingSettings) -> Weigh:
    """A4: the weights of equation 2, each handed to some other image."""
    generator = torch.Generator().manual_seed(settings.seed)

    def weigh(
        detector: Detector,
        samples: Tensor,
        settings: TrainingSettings,
        before: Tensor,
        progress: float,
    ) -> Confidence:
        found = confidence(detector, samples, settings, before, progress)
        order = torch.randperm(len(samples), generator=generator)
        return replace(found, weights=found.weights[order])

    return weigh


def of_a_signed_score(settings: TrainingSettings) -> Weigh:
    """A5: clip(min(1, t / a), 0, 1) of the signed score a = -D, one weight a patch."""

    def weigh(
        detector: Detector,
        samples: Tensor,
        settings: TrainingSettings,
        before: Tensor,
        progress: float,
    ) -> Confidence:
        found = confidence(detector, samples, settings, before, progress)
        assert isinstance(detector, SimpleNet)
        signed = detector.options.margin * found.scores.log()
        q1, q3 = quartiles(signed.flatten())
        threshold = q3 + settings.kappa * (q3 - q1)
        weights = (threshold / signed).nan_to_num(1.0).clamp(0.0, 1.0)
        return replace(found, weights=weights, threshold=threshold.item())

    return weigh


DEPARTURES: dict[str, Departure] = {
    "equations": Departure("the equations"),
    "patch": Departure("the equations, one weight a patch", settings={"weight_level": "patch"}),
    "alternating": Departure(
        "an outer step of 0.0002 towards the adapted weights, between ordinary steps",
        make_step=lambda detector, settings: Alternating(detector, settings, sign=1.0),
    ),
    "A2 as released": Departure(
        "the same outer step, away from the adapted weights",
        "short outer step reversed",
        make_step=lambda detector, settings: Alternating(detector, settings, sign=-1.0),
        against="alternating",
    ),
    "A2": Departure(
        "the sign of our outer step reversed", "our outer step reversed", make_step=ReversedSign
    ),
    "A3": Departure(
        "weights once, from an untrained discriminator",
        "untrained weights",
        settings={"warmup_epochs": 0, "refresh_every": NEVER},
    ),
    "A4": Departure(
        "each weight on another image", "weights of other images", weigh=of_another_image
    ),
    "A5": Departure(
        "weights from a signed score, clipped at 0",
        "signed score",
        settings={"weight_level": "patch"},
        weigh=of_a_signed_score,
        against="patch",
    ),
    "A6": Departure(
        "Σ from mixed, rescaled and clipped pairs", "mixed pairs", make_step=MixedPairs
    ),
    "A7": Departure("penalty as a raw sum, gains included", "raw-sum penalty", make_step=RawSum),
    "A8": Departure(
        "another model in the inner loop than in the outer",
        "two models",
        make_step=TwoModels,
        detector=TwoModelsSimpleNet,
    ),
}
"""By the number in the table of departures; "equations", "patch" and "alternating" are what the
others are compared with. A9 needs no run of its own: "equations" is scored after every epoch."""


def execute(config: RunConfig) -> RunOutput:
    """Compute one run with the departure that the option `audit` names.

    Returns:
        The row: image_auroc of the last epoch; with "equations" also image_auroc_best, that of the
        epoch which is best on the test set, and image_auroc_chosen, the same on images that had no
        say in the choice (see `choose`); weight_nominal and weight_anomalous, means of the weights
        in the last epoch; zero_weights, the share of weights that are 0; lambda_low and
        lambda_high, over epochs; first_loss, first_penalty and outer_share where the step tells
        them.

    Raises:
        InputError: no such departure, another detector than SimpleNet, or bad data.
    """
    options = dict(config.options)
    name = str(options.pop("audit", "equations"))
    if name not in DEPARTURES:
        raise InputError(f"option 'audit' = '{name}'; there are {', '.join(DEPARTURES)}.")
    if config.detector != SimpleNet.name:
        raise InputError(
            f"the audit is of SimpleNet; detector '{config.detector}' was not released."
        )
    departure = DEPARTURES[name]
    config = config.model_copy(update={"options": options, **departure.settings})
    make_detector(config.detector, options)  # refuses wrong options in the usual words
    detector = departure.detector(options)

    dataset, _ = listed(config)
    spec = feature_spec(detector, config.backbone, config.image_size)
    learn, test = (
        extract(images(part), spec, strict=config.strict, progress=False)
        for part in (dataset.train, dataset.test)
    )
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        samples = detector.fit_input(learn.maps)
    detector.to(device())
    held = detector.prepare(test.maps)
    found = {record.id: record.label for record in (*dataset.train, *dataset.test)}
    labels = np.array([found[one] for one in test.ids])
    scores: list[np.ndarray] = []
    weights: list[Tensor] = []
    rule = (departure.weigh or (lambda settings: confidence))(config)

    def weigh(
        detector: Detector,
        samples: Tensor,
        settings: TrainingSettings,
        before: Tensor,
        progress: float,
    ) -> Confidence:
        current = rule(detector, samples, settings, before, progress)
        weights.append(current.weights)
        return current

    def test_now(epoch: int, detector: Detector) -> None:
        scores.append(detector.image_scores(detector.scores(held)).double().numpy())

    every_epoch = name == "equations"  # to score is most of the time, and only A9 asks for epochs

    training = train(
        detector,
        samples,
        learn.ids,
        config,
        on_epoch=test_now if every_epoch else None,
        weigh=weigh,
        make_step=departure.make_step,
    )
    if not every_epoch:
        test_now(config.epochs, detector)
    dirty = np.array([found[one] == ANOMALOUS for one in learn.ids])
    used, history = training.used.double().numpy(), training.history
    course = [metrics.image_auroc(labels, one) for one in scores]
    row = {
        "synthetic": dataset.synthetic,
        "n_train": len(samples),
        "n_test": len(held),
        "image_auroc": course[-1],
        "weight_nominal": float(used[~dirty].mean()),
        "weight_anomalous": float(used[dirty].mean()) if dirty.any() else float("nan"),
        "zero_weights": float((weights[-1] == 0).double().mean()) if weights else 0.0,
    }
    if every_epoch:
        row["image_auroc_best"] = max(course)
        row["image_auroc_chosen"] = choose(labels, np.stack(scores))
    if "lambda_sigma" in history:
        found_lambda = history["lambda_sigma"]
        row |= {"lambda_low": float(found_lambda.min()), "lambda_high": float(found_lambda.max())}
    if "penalty" in history:
        row |= {name: float(history[name[6:]].iloc[0]) for name in ("first_loss", "first_penalty")}
    if "outer_share" in history:
        row["outer_share"] = float(history["outer_share"].iloc[-1])
    return RunOutput(row, {"history": history.drop(columns="seconds")})


def choose(labels: np.ndarray, scores: np.ndarray) -> float:
    """I-AUROC when one half of the test set chooses the epoch and the other half is scored.

    The halves take every other image of each class; each chooses once, and the two results are
    averaged. What choosing gains here is real; what it gains beyond this on the images that chose
    is chance.

    Args:
        labels: (N,) 0 or 1.
        scores: (E, N) after each of E epochs.

    Returns:
        A number in [0, 1]; nan where a half has only one class.
    """
    place = np.empty(len(labels), dtype=int)
    for kind in (0, 1):
        of_kind = labels == kind
        place[of_kind] = np.arange(of_kind.sum()) % 2
    found = []
    for half in (0, 1):
        mine, other = place == half, place != half
        course = [metrics.image_auroc(labels[mine], one[mine]) for one in scores]
        if np.isnan(course).any():
            return float("nan")
        found.append(metrics.image_auroc(labels[other], scores[int(np.argmax(course))][other]))
    return float(np.mean(found))


def grid(base: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every departure, what it is compared with, and the plain detector for A9.

    Args:
        base: a grid of SimpleNet runs; its strategy is set here.
    """
    return [
        {**base, "strategy": "comet", "options.audit": list(DEPARTURES)},
        {**base, "strategy": "plain", "options.audit": "equations"},
    ]
