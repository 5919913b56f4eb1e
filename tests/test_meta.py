"""Equations 7 and 8 against an analytic example and finite differences."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from comet_core.errors import InputError
from comet_core.meta import Batch, Functional, Parameters, adapt, meta_gradient, split_tasks


def quadratic(parameters: Parameters, batch: Batch) -> Tensor:
    """mean over c of (theta - c)^2 / 2: the gradient is theta - mean(c)."""
    return 0.5 * (parameters["theta"] - batch[0]).square().mean(0).sum()


def test_inner_loop_on_a_quadratic() -> None:
    theta = {"theta": torch.tensor([4.0])}
    batch = (torch.tensor([[1.0], [3.0]]),)
    assert adapt(quadratic, theta, batch, alpha=0.25)["theta"].item() == pytest.approx(3.5)
    # theta - c shrinks by (1 - alpha) a step.
    assert adapt(quadratic, theta, batch, 0.25, steps=3)["theta"].item() == pytest.approx(
        2 + 2 * 0.75**3
    )


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("order", [1, 2])
def test_outer_gradient_on_a_quadratic(order: int, steps: int) -> None:
    theta, alpha = 4.0, 0.25
    train, val = torch.tensor([[2.0], [0.0]]), torch.tensor([[1.0], [5.0]])  # one sample a task
    step = meta_gradient(
        quadratic,
        {"theta": torch.tensor([theta])},
        (train[:, :, None],),
        (val[:, :, None],),
        alpha=alpha,
        steps=steps,
        order=order,
    )
    shrink = (1 - alpha) ** steps
    adapted = [c + (theta - c) * shrink for c in (2.0, 0.0)]
    first = sum(a - v for a, v in zip(adapted, (1.0, 5.0), strict=True)) / 2
    expected = first * (shrink if order == 2 else 1)
    assert step.gradient["theta"].item() == pytest.approx(expected)
    assert step.train_losses.tolist() == pytest.approx(
        [0.5 * (a - c) ** 2 for a, c in zip(adapted, (2.0, 0.0), strict=True)]
    )
    assert step.val_losses.tolist() == pytest.approx(
        [0.5 * (a - v) ** 2 for a, v in zip(adapted, (1.0, 5.0), strict=True)]
    )


def network(parameters: Parameters, batch: Batch) -> Tensor:
    x, y = batch
    hidden = torch.tanh(x @ parameters["w1"] + parameters["b1"])
    return (hidden @ parameters["w2"] - y).square().mean()


def make_network() -> tuple[Parameters, Batch, Batch]:
    g = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    parameters = {"w1": draw(3, 5), "b1": draw(5), "w2": draw(5, 1)}
    return parameters, (draw(4, 6, 3), draw(4, 6, 1)), (draw(4, 2, 3), draw(4, 2, 1))


@pytest.mark.parametrize("steps", [1, 2])
def test_second_order_gradient_against_finite_differences(steps: int) -> None:
    parameters, train, val = make_network()
    options = {"alpha": 0.1, "steps": steps, "lambda_sigma": 0.3}
    step = meta_gradient(network, parameters, train, val, order=2, **options)

    def objective(changed: Parameters) -> float:
        return meta_gradient(network, changed, train, val, order=2, **options).objective.item()

    epsilon = 1e-6
    for name, position in [("w1", (0, 2)), ("w1", (2, 4)), ("b1", (1,)), ("w2", (3, 0))]:
        up, down = ({k: v.clone() for k, v in parameters.items()} for _ in range(2))
        up[name][position] += epsilon
        down[name][position] -= epsilon
        slope = (objective(up) - objective(down)) / (2 * epsilon)
        assert step.gradient[name][position].item() == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_first_order_is_the_gradient_at_the_adapted_parameters() -> None:
    parameters, train, val = make_network()
    step = meta_gradient(network, parameters, train, val, alpha=0.1, order=1)
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for task in range(4):
        adapted = adapt(network, parameters, tuple(one[task] for one in train), 0.1)
        leaves = {name: p.detach().requires_grad_() for name, p in adapted.items()}
        network(leaves, tuple(one[task] for one in val)).backward()
        for name, leaf in leaves.items():
            assert leaf.grad is not None
            total[name] += leaf.grad / 4
    for name in parameters:
        assert torch.allclose(step.gradient[name], total[name])


def test_the_orders_agree_where_they_must_and_only_there() -> None:
    parameters, train, val = make_network()

    def gap(alpha: float) -> float:
        one, two = (
            meta_gradient(network, parameters, train, val, alpha=alpha, order=order)
            for order in (1, 2)
        )
        assert one.objective.item() == pytest.approx(two.objective.item())
        return max((one.gradient[n] - two.gradient[n]).abs().max().item() for n in parameters)

    assert gap(0.1) > 1e-3
    assert gap(1e-6) < 1e-5

    def linear(p: Parameters, batch: Batch) -> Tensor:
        return (p["w"] * batch[0]).sum()

    batch = (torch.tensor([[1.0, 2.0]]),)
    one, two = (
        meta_gradient(linear, {"w": torch.zeros(2)}, batch, batch, alpha=0.5, order=order)
        for order in (1, 2)
    )
    assert torch.equal(one.gradient["w"], two.gradient["w"])


def test_the_penalty_is_that_of_the_adapted_parameters() -> None:
    theta = {"theta": torch.tensor([[4.0]])}
    batch = (torch.tensor([[[2.0]]]),)

    def run(lambda_sigma: float) -> float:
        return (
            meta_gradient(
                quadratic, theta, batch, batch, alpha=0.5, order=1, lambda_sigma=lambda_sigma
            )
            .gradient["theta"]
            .item()
        )

    assert run(0.1) - run(0.0) == pytest.approx(0.1 * 2 * 3.0)  # theta' = 3


@given(st.integers(2, 60), st.integers(1, 9), st.floats(0.05, 0.95))
def test_tasks_are_disjoint_and_have_two_sides(count: int, tasks: int, share: float) -> None:
    batch = (torch.arange(count), torch.arange(2.0 * count).view(count, 2))
    (train, train_rows), (validation, rows) = split_tasks(batch, tasks, share)
    used = torch.cat([train.flatten(), validation.flatten()])
    assert len(used.unique()) == len(used) > count - max(tasks, 1)
    assert torch.equal(train_rows[..., 0], 2.0 * train)
    assert torch.equal(rows[..., 0], 2.0 * validation)
    assert len(train) == len(validation) == min(tasks, count // 2)
    assert train.shape[1] >= 1
    assert validation.shape[1] >= 1


def test_a_module_is_a_function_of_its_parameters() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 2, bias=False)))
    own = dict(module.named_parameters())
    other = {name: torch.randn_like(p).requires_grad_() for name, p in own.items()}
    x, call = torch.randn(5, 3), Functional(module)
    mine, theirs = call(other, x), functional_call(module, other, (x,))
    assert torch.equal(mine, theirs)
    gradients = [
        torch.autograd.grad(value.square().sum(), list(other.values())) for value in (mine, theirs)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    for wrong in ({}, {**other, "0.weight": torch.ones(1, 1)}):
        with pytest.raises((KeyError, RuntimeError)):
            call(wrong, x)
        assert all(p is own[name] for name, p in module.named_parameters())


def test_an_overflowing_penalty_is_told_by_the_objective() -> None:
    batch = (torch.ones(1, 2, 1),)
    step = meta_gradient(
        quadratic, {"theta": torch.ones(1, 1)}, batch, batch, alpha=0.1, lambda_sigma=1e300
    )
    assert step.objective.isinf()


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InputError, match="two images"):
        split_tasks((torch.ones(1),), 4, 0.3)
    with pytest.raises(InputError, match="validation_share"):
        split_tasks((torch.ones(8),), 4, 1.0)
    parameters, train, val = make_network()
    with pytest.raises(InputError, match="order"):
        meta_gradient(network, parameters, train, val, alpha=0.1, order=3)
