"""Meta-learning: the inner and the outer loop, equations 7 and 8 of the paper.

A loss here is a function `loss(parameters, batch) -> scalar` of a dictionary of parameters and a
tuple of tensors, without side effects: a module becomes one by `Functional`.
`torch.func.vmap` can run all tasks at once, but gives every task its own copy of the weights and so
turns large matrix products into small batched ones: on a CPU it takes about twice as long as the
loop over tasks below, and to second order three times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from comet_core.errors import InputError
from comet_core.uncertainty import penalised, weight_penalty

Parameters = dict[str, Tensor]
Batch = tuple[Tensor, ...]
Loss = Callable[[Parameters, Batch], Tensor]


class Functional:
    """A module as a function of its parameters.

    As `torch.func.functional_call`, which looks all parameters up by name at each call: for a flow
    of small layers that takes a tenth of a training step. Made for a module whose parts stay; its
    parameters must not be tied.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._places = [
            (f"{prefix}.{name}" if prefix else name, owner._parameters, name)
            for prefix, owner in module.named_modules()
            for name, own in owner._parameters.items()
            if own is not None
        ]

    def __call__(self, parameters: Parameters, *inputs: Any) -> Any:
        own = [place[name] for _, place, name in self._places]
        try:
            for full, place, name in self._places:
                place[name] = parameters[full]
            return self.module(*inputs)
        finally:
            for (_, place, name), kept in zip(self._places, own, strict=True):
                place[name] = kept


class MetaStep(NamedTuple):
    """What an outer step yields.

    `gradient` is that of the mean over tasks of L_meta; `objective` that mean; `train_losses` and
    `val_losses` (T,) are the like-for-like pairs of equation 4: both at theta', both weighted, both
    without the penalty, and both of as many samples (the first of the training part where that is
    the larger one), so that they scatter alike. They are (0,) where they were not asked for.
    """

    gradient: Parameters
    objective: Tensor
    train_losses: Tensor
    val_losses: Tensor


def split_tasks(batch: Batch, tasks: int, validation_share: float) -> tuple[Batch, Batch]:
    """Divide a batch into equal tasks, and each into its two parts.

    Tasks are stretches of the batch, whose samples must come in random order, and do not share
    samples. Of samples that do not divide evenly the last sit this step out; with fewer than two
    samples a task, there are fewer tasks.

    Args:
        batch: tensors (B, ...), one row a sample.
        tasks: T, at least 1.
        validation_share: of the samples of a task, between 0 and 1; either part gets at least one.

    Returns:
        The training parts (T, m, ...) and the validation parts (T, k, ...): views, not copies.

    Raises:
        InputError: for fewer than two samples, since a task needs one on either side.
    """
    count = len(batch[0])
    if count < 2:
        raise InputError("a task needs two images, one to adapt to and one to validate on; got 1.")
    if not 0 < validation_share < 1:
        raise InputError(f"validation_share must lie between 0 and 1, got {validation_share}.")
    tasks = min(tasks, count // 2)
    size = count // tasks
    held_out = min(size - 1, max(1, round(validation_share * size)))
    divided = [one[: tasks * size].unflatten(0, (tasks, size)) for one in batch]
    return (
        tuple(one[:, held_out:] for one in divided),
        tuple(one[:, :held_out] for one in divided),
    )


def adapt(
    loss: Loss,
    parameters: Parameters,
    batch: Batch,
    alpha: float,
    steps: int = 1,
    *,
    differentiable: bool = True,
) -> Parameters:
    """Equation 7, the inner loop: theta' = theta - alpha grad L_train(theta), `steps` times.

    Args:
        loss: weighted data loss of a batch (equation 3).
        parameters: theta.
        batch: tensors of a task's training part.
        alpha: step size.
        steps: number of steps; after none theta' is theta.
        differentiable: keep the graph, so that theta' can be differentiated with respect to theta.

    Returns:
        theta'; without a graph its tensors are leaves that require a gradient.
    """
    for _ in range(steps):
        if not differentiable:
            parameters = {name: p.detach() for name, p in parameters.items()}
        theta = {n: p if p.requires_grad else p.requires_grad_() for n, p in parameters.items()}
        gradient = torch.autograd.grad(
            loss(theta, batch), list(theta.values()), create_graph=differentiable
        )
        with torch.set_grad_enabled(differentiable):
            # Without a graph theta' takes the gradient's place: for a flow, a third set of tensors
            # the size of all weights is time lost.
            parameters = {
                name: torch.sub(p, g, alpha=alpha, out=None if differentiable else g)
                for (name, p), g in zip(theta.items(), gradient, strict=True)
            }
    if not differentiable:
        parameters = {name: p.requires_grad_() for name, p in parameters.items()}
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
    lambda_sigma: float | Tensor = 0.0,
    pairs: bool = True,
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
        steps: inner steps; with none this is the gradient on the validation parts at theta.
        order: 1 or 2.
        lambda_sigma: lambda(Sigma') of equation 5, a number or a scalar on the device.
        pairs: measure the two losses, which takes another forward pass.

    Raises:
        InputError: for another order.
    """
    if order not in (1, 2):
        raise InputError(f"order must be 1 or 2, got {order}.")
    one_task = _second_order if order == 2 else _first_order
    theta = {name: p.detach() for name, p in parameters.items()}
    total: Parameters = {}
    objectives, train_losses, val_losses = [], [], []
    tasks = len(train[0])
    for task in range(tasks):
        part = tuple(one[task] for one in train)
        held_out = tuple(one[task] for one in validation)
        gradient, adapted, objective, val_loss = one_task(
            loss, theta, part, held_out, alpha, steps, lambda_sigma
        )
        objectives.append(objective.detach())
        if pairs:
            with torch.no_grad():
                train_losses.append(loss(adapted, tuple(one[: len(held_out[0])] for one in part)))
            val_losses.append(val_loss.detach())
        for name, g in gradient.items():
            total[name] = total[name].add_(g) if task else g
    return MetaStep(
        {name: g.div_(tasks) for name, g in total.items()} if tasks > 1 else total,
        torch.stack(objectives).mean(),
        torch.stack(train_losses) if pairs else torch.empty(0),
        torch.stack(val_losses) if pairs else torch.empty(0),
    )


_TaskResult = tuple[Parameters, Parameters, Tensor, Tensor]
"""Meta-gradient, theta', L_meta and the loss on the validation part, of one task."""


def _first_order(
    loss: Loss,
    theta: Parameters,
    part: Batch,
    held_out: Batch,
    alpha: float,
    steps: int,
    lambda_sigma: float | Tensor,
) -> _TaskResult:
    adapted = adapt(loss, theta, part, alpha, steps, differentiable=False)
    value = loss(adapted, held_out)
    gradient = dict(zip(adapted, torch.autograd.grad(value, list(adapted.values())), strict=True))
    with torch.no_grad():
        # The penalty's gradient is known: through autograd it would cost another three copies of
        # every weight, which for a flow is as much as the loss.
        counted = penalised(adapted)
        scale = 2 * lambda_sigma / max(1, sum(p.numel() for p in counted.values()))
        scalar = torch.as_tensor(scale, dtype=value.dtype, device=value.device)
        for name, p in counted.items():
            gradient[name].addcmul_(p, scalar)
        return gradient, adapted, value + lambda_sigma * weight_penalty(adapted), value


def _second_order(
    loss: Loss,
    theta: Parameters,
    part: Batch,
    held_out: Batch,
    alpha: float,
    steps: int,
    lambda_sigma: float | Tensor,
) -> _TaskResult:
    leaves = {name: p.detach().requires_grad_() for name, p in theta.items()}
    adapted = adapt(loss, leaves, part, alpha, steps)
    value = loss(adapted, held_out)
    objective = value + lambda_sigma * weight_penalty(adapted)
    gradient = torch.autograd.grad(objective, list(leaves.values()))
    return dict(zip(leaves, gradient, strict=True)), adapted, objective, value
