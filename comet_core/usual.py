"""The usual way to train a detector on a frozen backbone, written out to compare with.

As published training scripts do it: every epoch reads, decodes and embeds every image again, batch
by batch, and scores the whole test set. Detector, backbone, batches and random numbers are those of
`training` with the strategy `plain`, so both ways end in the same model, up to rounding; the
backbone is ours as well, with all that makes it fast.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from comet_core import metrics
from comet_core.config import TrainingSettings
from comet_core.datasets.base import Image
from comet_core.detectors.base import Detector, Maps
from comet_core.features import FeatureSpec, compute
from comet_core.images import read_image
from comet_core.sampling import sampled_rows

CALIBRATED = 8192
"""Parts that normalisation statistics are measured on, as `SimpleNet.calibrate` does."""


@dataclass
class Usual:
    """What the usual way leaves behind.

    Attributes:
        scores: (N_test,) image scores after the last epoch.
        image_auroc: after each epoch.
        setup: processor seconds before the first epoch.
        epochs: processor seconds of each epoch, of which `tests` went into the test set.
        tests: processor seconds.
    """

    scores: Tensor
    setup: float
    image_auroc: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    tests: list[float] = field(default_factory=list)


def embed(images: Sequence[Image], spec: FeatureSpec) -> Maps:
    """Features of image files, computed now and not kept."""
    return compute([read_image(image.path) for image in images], spec)


def train_the_usual_way(
    detector: Detector,
    spec: FeatureSpec,
    train: Sequence[Image],
    test: Sequence[Image],
    labels: Sequence[int],
    settings: TrainingSettings,
) -> Usual:
    """Train a detector without keeping features; see the module.

    Args:
        detector: not yet built; trained in place.
        spec: what it wants to know of an image (`features.feature_spec`).
        train: training images.
        test: test images, with their `labels`, 0 or 1.
        settings: `strategy` has to be "plain"; all `epochs` are trained.
    """
    started = time.process_time()
    seen = _standardise(detector, spec, train, settings)
    generator = torch.Generator().manual_seed(settings.seed)
    optimiser = detector.optimiser(settings.learning_rate)
    batches = max(1, round(len(train) / settings.batch_size))
    steps = batches * settings.epochs
    slower = LambdaLR(optimiser, lambda step: settings.learning_rate_left(step / steps))
    result = Usual(torch.empty(0), time.process_time() - started)
    for _ in range(settings.epochs):
        started = time.process_time()
        order = torch.randperm(len(train), generator=generator)
        for index in order.tensor_split(batches):
            samples = detector.prepare(embed([train[i] for i in index], spec))
            parts = samples.shape[1]
            kept = detector.train_parts(parts)
            if kept < parts:
                samples = samples[:, torch.randperm(parts, generator=generator)[:kept]]
            noise = detector.draw_noise(samples, generator)
            optimiser.zero_grad(set_to_none=True)
            detector(samples, noise).mean().backward()
            optimiser.step()
            slower.step()
        trained = time.process_time()
        detector.calibrate(seen)
        scores = []
        for index in torch.arange(len(test)).split(settings.batch_size):
            samples = detector.prepare(embed([test[i] for i in index], spec))
            scores.append(detector.image_scores(detector.scores(samples)))
        result.scores = torch.cat(scores)
        result.image_auroc.append(metrics.image_auroc(labels, result.scores.double().numpy()))
        result.tests.append(time.process_time() - trained)
        result.epochs.append(time.process_time() - started)
    return result


def _standardise(
    detector: Detector, spec: FeatureSpec, train: Sequence[Image], settings: TrainingSettings
) -> Tensor:
    """Build the detector with the standardisation of all training parts, in one pass.

    Returns:
        (M, 1, D): parts drawn at random, for `calibrate`.
    """
    total = squares = torch.zeros(())
    count, chosen, sampled = 0, [], torch.empty(0)
    for index in torch.arange(len(train)).split(settings.batch_size):
        raw = detector.assemble(embed([train[i] for i in index], spec))
        if not count:
            sampled = sampled_rows(len(train) * raw.shape[1], CALIBRATED)
        flat = raw.flatten(0, 1)
        chosen.append(flat[sampled[(sampled >= count) & (sampled < count + len(flat))] - count])
        total = total + flat.double().sum(0)
        squares = squares + flat.double().square().sum(0)
        count += len(flat)
    mean = total / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=1e-6)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        detector.set_input(mean.float(), deviation.float())
    return ((torch.cat(chosen) - detector.mean) / detector.std)[:, None]
