"""Steps that depart from the equations as the released code does; `comet_core.audit` runs them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from comet_core.confidence import weighted_loss
from comet_core.config import TrainingSettings
from comet_core.detectors.base import Detector
from comet_core.detectors.simplenet import SimpleNet
from comet_core.meta import Batch, Parameters, split_tasks
from comet_core.training import MetaStepper, PlainStepper
from comet_core.uncertainty import LossWindow, determinant

OUTER_STEP = 2e-4
"""A2: the share of the parameter difference that an outer step moves by."""
INNER_RATE, INNER_STEPS = 1e-4, 5
"""A2: the inner loop is five steps of Adam."""
ORDINARY_STEPS = 16
"""A2: ordinary steps between two outer ones, four epochs of four batches."""
ORDINARY_PAIRS = 4
"""A6: pairs of an ordinary epoch beside each pair of the tasks."""


class ReversedSign(MetaStepper):
    """A2 at our step size: the meta-gradient of equation 8, climbed."""

    def __call__(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        values = super().__call__(batch, generator)
        for p in self.detector.parameters():
            if p.grad is not None:
                p.grad.neg_()
        return values


class Alternating(PlainStepper):
    """A2 as released: ordinary steps, and now and then theta + sign * 2e-4 * (theta' - theta).

    theta' is the mean over tasks of the weights that a task's inner loop ends at. With sign 1 this
    is a Reptile step (Nichol et al., 2018); the released sign is -1. The step's values hold
    `outer_share`: how far the outer steps have moved the weights, over how far all steps have.
    """

    def __init__(self, detector: Detector, settings: TrainingSettings, sign: float) -> None:
        super().__init__(detector, settings)
        self.settings, self.sign = settings, sign
        self.start = [p.detach().clone() for p in detector.parameters()]
        self.moved = [torch.zeros_like(p) for p in self.start]
        self.count = 0

    def __call__(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        self.count += 1
        if self.count % ORDINARY_STEPS == 0:
            self._outer(batch)
        values = super().__call__(batch, generator)
        now = [p.detach() for p in self.detector.parameters()]
        way = _norm(p - q for p, q in zip(now, self.start, strict=True))
        return {**values, "outer_share": _norm(self.moved) / max(way, 1e-12)}

    def _outer(self, batch: Batch) -> None:
        s = self.settings
        parts, _ = split_tasks(batch, s.tasks, s.validation_share)
        theta = list(self.detector.parameters())
        difference = [torch.zeros_like(p) for p in theta]
        for samples, weights, *noise in zip(*parts, strict=True):
            model = copy.deepcopy(self.detector)
            inner = torch.optim.Adam(model.parameters(), lr=INNER_RATE)
            for _ in range(INNER_STEPS):
                inner.zero_grad()
                weighted_loss(model(samples, *noise), weights).backward()
                inner.step()
            for total, p, q in zip(difference, model.parameters(), theta, strict=True):
                total.add_((p - q).detach(), alpha=1 / len(parts[0]))
        with torch.no_grad():
            for p, change, moved in zip(theta, difference, self.moved, strict=True):
                step = self.sign * OUTER_STEP * change
                p.add_(step)
                moved.add_(step)


class ReleasedWindow(LossWindow):
    """A6: pairs scaled by the mean and deviation of the whole course; log1p of det, at most 1."""

    def covariance(self) -> Tensor:
        """A (2, 2) matrix whose determinant is the number that lambda is computed from."""
        pairs = torch.tensor(list(self._pairs), dtype=torch.float64).reshape(-1, 2)
        if len(pairs) < 2:
            return torch.zeros(2, 2, dtype=torch.float64)
        scaled = (pairs - pairs.mean(0)) / pairs.std(0).clamp(min=1e-12)
        value = determinant(torch.cov(scaled.T)).log1p().clamp(max=1.0)
        return torch.diag(torch.stack([value, torch.ones_like(value)]))


class MixedPairs(MetaStepper):
    """A6: beside each pair of the tasks at theta', four of ordinary training at theta."""

    def __init__(self, detector: Detector, settings: TrainingSettings) -> None:
        super().__init__(detector, settings)
        self.window = ReleasedWindow(100 * settings.window)

    def __call__(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        values = super().__call__(batch, generator)
        if not self.measures:
            return values
        parts = split_tasks(batch, ORDINARY_PAIRS, self.settings.validation_share)
        theta = {name: p.detach() for name, p in self.detector.named_parameters()}
        with torch.no_grad():
            train, held_out = (
                [self.loss(theta, one).item() for one in zip(*part, strict=True)] for part in parts
            )
            self.window.extend(train, held_out)
        return values


class RawSum(MetaStepper):
    """A7: lambda_0 times the plain sum of squares of the discriminator, gains included.

    It is part of the loss that both loops see. The values hold `penalty`.
    """

    def __init__(self, detector: Detector, settings: TrainingSettings) -> None:
        super().__init__(detector, settings.model_copy(update={"lambda_0": 0.0}))
        self.strength = settings.lambda_0

    def penalty(self, parameters: Parameters) -> Tensor:
        """The penalty at the given parameters."""
        counted = [p for name, p in parameters.items() if not name.startswith("adaptor")]
        return self.strength * torch.stack([p.square().sum() for p in counted]).sum()

    def loss(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Equation 3 plus the penalty."""
        return super().loss(parameters, batch) + self.penalty(parameters)

    def __call__(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        theta = {name: p.detach() for name, p in self.detector.named_parameters()}
        penalty = self.penalty(theta).item()
        values = super().__call__(batch, generator)
        return {**values, "loss": values["loss"] - penalty, "penalty": penalty}


class TwoModelsSimpleNet(SimpleNet):
    """SimpleNet that can be told to leave out its adaptor: margin 1, noise 1.2 times as strong."""

    recordable: ClassVar[bool] = False  # its step reads a mark back
    inner = False

    def losses(self, samples: Tensor, noise: Tensor | None) -> Tensor:
        """As of SimpleNet, or of the other model."""
        if not self.inner:
            return super().losses(samples, noise)
        assert noise is not None
        # The adaptor takes no part; its gradient is then 0, not missing.
        absent = 0.0 * (self.adaptor.weight.square().sum() + self.adaptor.bias.square().sum())
        true, fake = self.discriminate(samples + absent, 1.2 * noise)
        return F.relu(1.0 - true) + F.relu(1.0 + fake)


class TwoModels(MetaStepper):
    """A8: the inner loop adapts one model, the outer loop judges another."""

    def split(self, batch: Batch) -> tuple[Batch, Batch]:
        """The parts of the tasks, each with a mark that says which loop it is for."""
        train, held_out = super().split(batch)
        return (*train, torch.ones_like(train[1])), (*held_out, torch.zeros_like(held_out[1]))

    def loss(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Equation 3 of the model that the mark asks for."""
        *rest, mark = batch
        assert isinstance(self.detector, TwoModelsSimpleNet)
        self.detector.inner = bool(mark.any())
        try:
            return super().loss(parameters, tuple(rest))
        finally:
            self.detector.inner = False


def _norm(tensors: Iterable[Tensor]) -> float:
    return float(sum(t.square().sum() for t in tensors)) ** 0.5
