"""One training loop for every detector and every strategy.

| strategy | equations | weights                        | gradient      |
|----------|-----------|--------------------------------|---------------|
| plain    | -         | 1                              | of the batch  |
| reject   | 1         | 1 up to the threshold, else 0  | of the batch  |
| soft     | 1-3       | min(1, t / a)                  | of the batch  |
| meta     | 4-8       | 1                              | meta-gradient |
| comet    | 1-8       | min(1, t / a)                  | meta-gradient |
| comet+   | 3         | `contrast`, see `rules`        | of the batch  |

`weighting` puts another rule in the place of equation 2. Every strategy sees each image once an
epoch, in batches of one size, and hands its gradient to the same optimiser; images of weight 0 sit
out. So strategies differ by what the table says and by nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from comet_core.confidence import iqr_threshold, weighted_loss
from comet_core.config import META, WEIGHTED, TrainingSettings
from comet_core.detectors.base import Detector, Maps
from comet_core.devices import Recorded, brought_near, device, quick_products, sent
from comet_core.errors import InputError
from comet_core.meta import (
    Batch,
    Functional,
    MetaStep,
    Parameters,
    meta_gradient,
    split_tasks,
)
from comet_core.rules import first_weights, next_weights
from comet_core.uncertainty import LossWindow, adaptive_lambda, determinant


@dataclass
class Confidence:
    """Scores of all training samples and what equations 1 and 2 make of them.

    `scores` and `weights` are (N,) for weights per image and (N, P) per part; `image_scores` is
    always (N,).
    """

    scores: Tensor
    weights: Tensor
    threshold: float
    image_scores: Tensor

    @property
    def image_weights(self) -> Tensor:
        """(N,): the weight of an image, the mean over its parts where parts have their own."""
        return self.weights if self.weights.ndim == 1 else self.weights.mean(1)


@dataclass
class Training:
    """What a training leaves behind, besides the trained detector.

    Attributes:
        history: one row an epoch: epoch, loss, threshold, mean_weight, and for the meta strategies
            train_loss, val_loss, det_sigma, lambda_sigma; seconds.
        weights: one row a refresh and image: epoch, id, score, weight.
        final: confidence of the trained model in each training image, in the order of `ids`.
        used: (N,) the images' weights in the last epoch.
        ids: the sample ids.
    """

    history: pd.DataFrame
    weights: pd.DataFrame
    final: Confidence
    used: Tensor
    ids: list[str]


Step = Callable[[Batch, torch.Generator], dict[str, float]]
"""Leaves the gradient of a batch (samples, weights, noise) in the parameters, and tells losses."""
MakeStep = Callable[[Detector, TrainingSettings], Step]
FEWEST_EPOCHS = 6
"""Epochs that `max_steps` leaves at least: with fewer the weights of a large data set would act for
an epoch or not at all, since they start after the warm-up."""
PAIRS_EVERY = 2
"""Steps from one pair of losses for equation 4 to the next (choice): a pair takes another forward
pass, for a flow a seventh of a step, and the loss hardly changes from step to step."""
Weigh = Callable[[Detector, Tensor, TrainingSettings, Tensor, float], Confidence]
"""As `confidence`: also takes the weights so far and the share of the training that is done."""


def confidence(
    detector: Detector,
    samples: Tensor,
    settings: TrainingSettings,
    before: Tensor | None = None,
    progress: float = 1.0,
) -> Confidence:
    """Score the training samples and weight them by the strategy's rule.

    Strategies without weights are scored all the same, so that their runs show what the weights
    would have been. `before` are the weights so far, by default 1, which also weigh what a detector
    measures in order to score; `progress` is the share of the training that is done.
    """
    if before is None:
        before = torch.ones(len(samples))
    detector.calibrate(samples, before)
    part_scores = detector.training_scores(samples)
    image_scores = detector.image_scores(part_scores)
    scores = part_scores if settings.weight_level == "patch" else image_scores
    return _judged(scores, image_scores, before, progress, settings)


def _judged(
    scores: Tensor,
    image_scores: Tensor,
    before: Tensor,
    progress: float,
    settings: TrainingSettings,
) -> Confidence:
    """What equations 1 and 2 make of scores."""
    threshold = iqr_threshold(scores.flatten(), settings.kappa)
    weights = next_weights(scores, before, progress, settings)
    return Confidence(scores, weights, threshold.item(), image_scores)


def fit(
    detector: Detector,
    maps: Maps,
    ids: Sequence[str],
    settings: TrainingSettings,
    *,
    prior: Tensor | None = None,
    on_epoch: Callable[[int, Detector], None] | None = None,
    progress: bool = False,
) -> Training:
    """Initialise a detector for these features from the seed, and train it.

    Args:
        detector: not yet built; trained in place.
        maps: frozen features of N training images.
        ids: their ids, in the same order. Labels have no way in.
        settings: strategy, epochs, seed and the rest.
        prior: scores from before the training, for the weightings that need them.
        on_epoch: called after every epoch with its number, from 1, and the detector.
        progress: show a progress bar.

    Raises:
        InputError: when the settings and the data do not go together, or the loss diverges.
    """
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        weights = first_weights(len(next(iter(maps.values()))), prior, settings)
        samples = detector.fit_input(maps, weights)
    if detector.has_parameters:
        detector.to(device())
    with quick_products(detector.device):
        training = train(
            detector, samples, ids, settings, weights=weights, on_epoch=on_epoch, progress=progress
        )
        if detector.sketched:
            _complete(training, detector.image_scores(detector.map_scores(maps)), settings)
    return training


def _complete(training: Training, whole: Tensor, settings: TrainingSettings) -> None:
    """Judge images that were trained with by their sketches as new ones are: t is for both."""
    if settings.weight_level == "image":
        training.final = _judged(whole, whole, training.used, 1.0, settings)
    else:
        training.final.image_scores = whole
    last = training.weights["epoch"].max()
    before = training.weights[training.weights["epoch"] < last]
    table = _weights_table(int(last), training.ids, training.final)
    training.weights = pd.concat([before, table], ignore_index=True)


def train(
    detector: Detector,
    samples: Tensor,
    ids: Sequence[str],
    settings: TrainingSettings,
    *,
    weights: Tensor | None = None,
    on_epoch: Callable[[int, Detector], None] | None = None,
    progress: bool = False,
    weigh: Weigh | None = None,
    make_step: MakeStep | None = None,
) -> Training:
    """Train a built detector on samples (N, P, D); see `fit`.

    `weights` (N,) are those of the warm-up, by default 1; rules that start from prior scores need
    them.
    `weigh` replaces `confidence` at a refresh of the weights, `make_step` what makes the strategy's
    step: `comet_core.audit` measures what another rule or step would do.
    """
    count = len(samples)
    if count != len(ids) or len(set(ids)) != count:
        raise InputError(f"{count} training samples need as many different ids, got {len(ids)}.")
    if settings.strategy in META and count < 2:
        raise InputError(f"strategy '{settings.strategy}' needs two training images, got {count}.")
    if settings.strategy in META and settings.batch_size < 2:
        raise InputError(
            f"strategy '{settings.strategy}' divides every batch into two parts, so batch_size must"
            f" be 2 or more, got {settings.batch_size}."
        )
    if not detector.has_parameters:
        return _remember(detector, samples, ids, settings)
    place = detector.device
    samples = brought_near(samples, place)
    generator = torch.Generator(place).manual_seed(settings.seed)
    optimiser = detector.optimiser(settings.learning_rate)
    rates = [group["lr"] for group in optimiser.param_groups]
    step = (make_step or _step)(detector, settings)
    weights = first_weights(count, None, settings) if weights is None else weights
    # Of the images that are trained with: who leaves some out must not train for fewer steps.
    batches = max(1, round(int((weights > 0).sum()) / settings.batch_size))
    epochs = settings.epochs
    if settings.max_steps is not None:
        epochs = min(epochs, max(FEWEST_EPOCHS, -(-settings.max_steps // batches)))
    whole = settings.strategy in WEIGHTED and settings.weight_level == "image"
    scored = detector.sketch(samples) if whole else samples
    near = brought_near(weights, place)
    threshold = float("nan")
    history: list[dict[str, float]] = []
    refreshes: list[pd.DataFrame] = []

    for epoch in tqdm(range(epochs), settings.strategy, disable=not progress):
        started = time.perf_counter()
        since = epoch - settings.warmup_epochs
        if settings.strategy in WEIGHTED and since >= 0 and since % settings.refresh_every == 0:
            done = epoch / epochs
            current = (weigh or confidence)(detector, scored, settings, weights, done)
            weights, threshold = current.weights, current.threshold
            near = brought_near(weights, place)
            refreshes.append(_weights_table(epoch, ids, current))
        detector.train()
        sums: dict[str, float] = {}
        order = torch.randperm(count, generator=generator, device=place)
        if weights.ndim == 1:
            # What has no weight teaches nothing, and must not take part in the normalisation of a
            # batch either.
            order = order[near[order.to(near.device)].to(place) > 0]
        stretches = order.tensor_split(max(1, round(len(order) / settings.batch_size)))
        for position, index in enumerate(stretches):
            if settings.strategy in META and len(index) < 2:
                continue
            values = step(_batch(detector, samples, near, index, generator), generator)
            if not all(value == value and abs(value) != float("inf") for value in values.values()):
                raise InputError(
                    f"the loss of detector '{detector.name}' became NaN or infinite in epoch"
                    f" {epoch + 1}; lower learning_rate (now {settings.learning_rate:g})"
                    f" or alpha (now {settings.alpha:g})."
                )
            # By the share that is done, not by a scheduler's count of steps, of which there are
            # fewer than planned where images of weight 0 sit out.
            left = settings.learning_rate_left((epoch + position / len(stretches)) / epochs)
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * left
            optimiser.step()
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value * len(index) / len(order)
        history.append(
            {
                "epoch": epoch + 1,
                **sums,
                "threshold": threshold,
                "mean_weight": weights.mean().item(),
                "seconds": time.perf_counter() - started,
            }
        )
        if on_epoch is not None:
            detector.calibrate(samples, weights)
            on_epoch(epoch + 1, detector)

    final = confidence(detector, samples, settings, weights)
    refreshes.append(_weights_table(epochs, ids, final))
    detector.eval()
    return Training(
        history=pd.DataFrame(history),
        weights=pd.concat(refreshes, ignore_index=True),
        final=final,
        used=weights if weights.ndim == 1 else weights.mean(1),
        ids=list(ids),
    )


def _remember(
    detector: Detector, samples: Tensor, ids: Sequence[str], settings: TrainingSettings
) -> Training:
    """What `train` returns for a detector without parameters: one epoch, without a loss."""
    started = time.perf_counter()
    final = confidence(detector, samples, settings)
    row = {"epoch": 1, "loss": float("nan"), "threshold": float("nan"), "mean_weight": 1.0}
    row["seconds"] = time.perf_counter() - started
    detector.eval()
    return Training(
        history=pd.DataFrame([row]),
        weights=_weights_table(1, ids, final),
        final=final,
        used=torch.ones(len(samples)),
        ids=list(ids),
    )


def _batch(
    detector: Detector, samples: Tensor, weights: Tensor, index: Tensor, generator: torch.Generator
) -> Batch:
    """Samples, weights and noise of a batch, on a random subset of the parts of each image."""

    def taken(source: Tensor, *where: Tensor) -> Tensor:
        """From where the source lies to where the detector computes."""
        return sent(source[tuple(one.to(source.device) for one in where)], detector.device)

    parts = samples.shape[1]
    kept = detector.train_parts(parts)
    where: tuple[Tensor, ...] = (index,)
    if kept < parts:
        # One subset for the batch: gathering rows of a contiguous array is then one copy.
        choice = torch.randperm(parts, generator=generator, device=generator.device)[:kept]
        where = (index[:, None], choice)
    chosen = taken(samples, *where).float()
    weight = taken(weights, index) if weights.ndim == 1 else taken(weights, *where)
    noise = detector.draw_noise(chosen, generator)
    return (chosen, weight) if noise is None else (chosen, weight, noise)


def _step(detector: Detector, settings: TrainingSettings) -> Step:
    return (MetaStepper if settings.strategy in META else PlainStepper)(detector, settings)


def _launched(function: Callable[..., Any], detector: Detector) -> Callable[..., Any]:
    """A function of a batch that makes a gradient, as the detector's device does it best."""
    on_gpu = detector.device.type == "cuda"
    return Recorded(function) if on_gpu and detector.recordable else function


class PlainStepper:
    """The gradient of equation 3 on the batch."""

    def __init__(self, detector: Detector, settings: TrainingSettings) -> None:
        self.detector = detector
        self._loss_and_gradient = _launched(self._differentiated, detector)

    def _differentiated(self, samples: Tensor, weights: Tensor, *noise: Tensor) -> Any:
        loss = weighted_loss(self.detector(samples, *noise), weights)
        gradient = torch.autograd.grad(loss, list(self.detector.parameters()), allow_unused=True)
        return loss.detach(), gradient

    def __call__(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        self.detector.zero_grad(set_to_none=True)
        loss, gradient = self._loss_and_gradient(*batch)
        for p, g in zip(self.detector.parameters(), gradient, strict=True):
            p.grad = g
        return {"loss": loss.item()}


class MetaStepper:
    """The meta-gradient of equation 8 on tasks made of the batch, with lambda by equations 4-5.

    Lambda comes from the pairs of the steps before, so that the penalty's strength is a constant
    of the step it enters.
    """

    def __init__(self, detector: Detector, settings: TrainingSettings) -> None:
        self.detector = detector
        self.settings = settings
        self.call = Functional(detector)
        # Once, since to look for them takes its time.
        self.parameters: Parameters = dict(detector.named_parameters())
        self.window = LossWindow(settings.window)
        self._steps = {
            pairs: _launched(partial(self._step, pairs), detector) for pairs in (True, False)
        }
        self.steps = 0
        self.latest: dict[str, float] = {}

    @property
    def measures(self) -> bool:
        """Whether the latest step is one that measures the losses for equation 4."""
        return (self.steps - 1) % PAIRS_EVERY == 0

    def loss(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Equation 3 at the given parameters."""
        samples, weights, *noise = batch
        return weighted_loss(self.call(parameters, samples, *noise), weights)

    def split(self, batch: Batch) -> tuple[Batch, Batch]:
        """The training parts (T, m, ...) and the validation parts (T, k, ...) of the tasks."""
        return split_tasks(batch, self.settings.tasks, self.settings.validation_share)

    def _step(self, pairs: bool, lambda_sigma: Tensor, *batch: Tensor) -> MetaStep:
        s = self.settings
        return meta_gradient(
            self.loss,
            self.parameters,
            *self.split(batch),
            alpha=s.alpha,
            steps=s.inner_steps,
            order=s.order,
            lambda_sigma=lambda_sigma,
            pairs=pairs,
        )

    def __call__(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        s = self.settings
        self.steps += 1
        sigma = self.window.covariance()
        lambda_sigma = adaptive_lambda(sigma, s.lambda_0, s.gamma)
        # The gradients of the step before would be in the way of those of this one: for a flow all
        # that a step touches then no longer fits the processor's cache.
        for p in self.parameters.values():
            p.grad = None
        result = self._steps[self.measures](sent(lambda_sigma.float(), batch[0].device), *batch)
        for name, p in self.parameters.items():
            p.grad = result.gradient[name]
        if self.measures:
            self.latest = {
                "train_loss": result.train_losses.mean().item(),
                "val_loss": result.val_losses.mean().item(),
            }
        values: dict[str, Any] = {
            "loss": result.objective.item(),
            **self.latest,
            "det_sigma": determinant(sigma).item(),
            "lambda_sigma": lambda_sigma.item(),
        }
        if self.measures and all(value == value for value in values.values()):
            self.window.extend(result.train_losses.tolist(), result.val_losses.tolist())
        return values


def _weights_table(epoch: int, ids: Sequence[str], current: Confidence) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": epoch,
            "id": list(ids),
            "score": current.image_scores.numpy(),
            "weight": current.image_weights.numpy(),
        }
    )
