"""Meta-learning: the inner and the outer loop, equations 7 and 8 of the paper, by `torch.func`.

A loss here is a function `loss(parameters, batch) -> scalar` of a dictionary of parameters and a
tuple of tensors, without side effects. Every task's batch has the same shape, so tasks are stacked
along a leading dimension and run at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vmap

from comet_core.errors import InputError
from comet_core.uncertainty import weight_penalty

Parameters = dict[str, Tensor]
Batch = tuple[Tensor, ...]
Loss = Callable[[Parameters, Batch], Tensor]


class Tasks(NamedTuple):
    """Positions of samples: row i of `train` (T, m) and of `validation` (T, k) is task i."""

    train: Tensor
    validation: Tensor


class MetaStep(NamedTuple):
    """What an outer step yields.

    `gradient` is that of the mean over tasks of L_meta; `objective` that mean; `train_losses` and
    `val_losses` (T,) are the like-for-like pairs of equation 4: both at theta', both weighted, both
    without the penalty.
    """

    gradient: Parameters
    objective: Tensor
    train_losses: Tensor
    val_losses: Tensor


def sample_tasks(
    count: int, tasks: int, validation_share: float, generator: torch.Generator | None = None
) -> Tasks:
    """Divide `count` samples at random into equal tasks, and each into its two parts.

    Tasks do not share samples. Of samples that do not divide evenly the remainder sits this step
    out; with fewer than two samples a task, there are fewer tasks.

    Raises:
        InputError: for fewer than two samples, since a task needs one on either side.
    """
    if count < 2:
        raise InputError("a task needs two images, one to adapt to and one to validate on; got 1.")
    if not 0 < validation_share < 1:
        raise InputError(f"validation_share must lie between 0 and 1, got {validation_share}.")
    tasks = min(tasks, count // 2)
    size = count // tasks
    held_out = min(size - 1, max(1, round(validation_share * size)))
    order = torch.randperm(count, generator=generator)[: tasks * size].view(tasks, size)
    return Tasks(train=order[:, held_out:], validation=order[:, :held_out])


def adapt(
    loss: Loss, parameters: Parameters, batch: Batch, alpha: float, steps: int = 1
) -> Parameters:
    """Equation 7, the inner loop: theta' = theta - alpha grad L_train(theta), `steps` times.

    Differentiable with respect to `parameters`, through every step.
    """
    for _ in range(steps):
        gradient = grad(loss)(parameters, batch)
        parameters = {name: p - alpha * gradient[name] for name, p in parameters.items()}
    return parameters


def meta_gradient(
    loss: Loss,
    parameters: Parameters,
    train: Batch,
    validation: Batch,
    *,
    alpha: float,
    steps: int = 1,
    order: int = 1,
    lambda_sigma: float = 0.0,
) -> MetaStep:
    """Equation 8: the gradient of L_meta(theta') with respect to theta, averaged over tasks.

    L_meta(theta') is the loss on a task's validation part (choice: the paper's sum does not say
    over which samples) plus lambda ||theta'||^2. To second order the gradient runs through the
    inner loop; to first order d theta' / d theta is taken as the identity, so that the gradient at
    theta' is the meta-gradient (Finn et al., 2017). They agree for alpha -> 0 and where the
    training loss is linear.

    Args:
        loss: weighted data loss of a batch (equation 3).
        parameters: theta.
        train: tensors (T, m, ...) of the tasks' training parts.
        validation: tensors (T, k, ...) of their validation parts.
        alpha: step of the inner loop.
        steps: inner steps.
        order: 1 or 2.
        lambda_sigma: lambda(Sigma') of equation 5.
    """

    def objective(adapted: Parameters, batch: Batch) -> tuple[Tensor, Tensor]:
        value = loss(adapted, batch)
        return value + lambda_sigma * weight_penalty(adapted), value.detach()

    if order == 1:
        adapted = vmap(lambda batch: adapt(loss, parameters, batch, alpha, steps))(train)
        gradients, (objectives, val_losses) = vmap(grad_and_value(objective, has_aux=True))(
            adapted, validation
        )
        gradient = {name: g.mean(0) for name, g in gradients.items()}
        with torch.no_grad():
            train_losses = vmap(loss)(adapted, train)
        return MetaStep(gradient, objectives.mean(), train_losses, val_losses)
    if order != 2:
        raise InputError(f"order must be 1 or 2, got {order}.")

    def through(theta: Parameters, task_train: Batch, task_val: Batch) -> tuple[Tensor, tuple]:
        adapted = adapt(loss, theta, task_train, alpha, steps)
        value, val_loss = objective(adapted, task_val)
        detached = {name: p.detach() for name, p in adapted.items()}
        return value, (value.detach(), val_loss, loss(detached, task_train).detach())

    def mean_over_tasks(theta: Parameters) -> tuple[Tensor, tuple]:
        values, aux = vmap(through, in_dims=(None, 0, 0))(theta, train, validation)
        return values.mean(), aux

    gradient, (objectives, val_losses, train_losses) = grad(mean_over_tasks, has_aux=True)(
        parameters
    )
    return MetaStep(gradient, objectives.mean(), train_losses, val_losses)
