"""The toys of the book: what they hold, what they learn, and that their pictures are drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from comet_core import figures_meta, figures_teaching, teaching
from comet_core.errors import InputError

torch.set_num_threads(1)


# -- points in a plane


def test_larger_point_sets_contain_the_smaller_ones() -> None:
    small, held_out = teaching.point_sets(2, 3, seed=1)
    large, same = teaching.point_sets(4, 6, seed=1)
    for kind, count in (("nominal", 90), ("boundary", 2), ("anomalous", 3)):
        assert len(small.of(kind)) == count
        np.testing.assert_array_equal(small.of(kind), large.of(kind)[:count])
        assert len(held_out.of(kind)) == teaching.HELD_OUT
    np.testing.assert_array_equal(held_out.points, same.points)
    assert not set(map(tuple, large.points)) & set(map(tuple, held_out.points))
    with pytest.raises(InputError, match="-1 points"):
        teaching.point_sets(0, -1)


def test_the_ellipse_learns_mean_and_covariance() -> None:
    """Its loss is a normal distribution's likelihood, whose optimum is known in closed form."""
    train, _ = teaching.point_sets(0, 0)
    points = torch.tensor(train.points, dtype=torch.float32)[:, None]
    model = teaching.Ellipse()
    samples = model.fit_input({"points": points})
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=60)

    def closure() -> float:
        optimiser.zero_grad()
        loss = model(samples).mean()
        loss.backward()
        return loss.item()

    optimiser.step(closure)  # type: ignore[arg-type]
    covariance = torch.cov(samples[:, 0].T, correction=0)
    torch.testing.assert_close(
        model.matrix.T @ model.matrix, covariance.inverse(), rtol=0, atol=5e-3
    )
    torch.testing.assert_close(model.centre, samples[:, 0].mean(0), rtol=0, atol=5e-3)
    assert (model.part_scores(samples) >= 0).all()


def test_a_few_anomalous_points_move_the_plain_boundary_and_not_that_of_comet() -> None:
    runs = teaching.learn_all("ellipse", ("plain", "comet"), [(0, 0), (6, 6)], seeds=2)
    table = teaching.learned_table(runs).set_index(["anomalous", "strategy", "seed"])
    for seed in range(2):
        plain, comet = table.loc[(6, "plain", seed)], table.loc[(6, "comet", seed)]
        assert plain["auroc"] < comet["auroc"]
        assert comet["weight_anomalous"] < 0.6 and plain["weight_anomalous"] == 1
    again = teaching.learn("ellipse", "comet", 6, 6, seed=1)
    np.testing.assert_array_equal(again.surface, runs[-1].surface)
    drawn = teaching.chosen(runs, [(6, 6)], ["plain"])
    assert [one.settings["seed"] for one in drawn] == [0, 1]
    figure = figures_teaching.boundaries(runs, "synthetic points")
    assert len(figure.axes) == 4
    curves = figures_teaching.boundary_curves(teaching.learned_table(runs), "synthetic points")
    assert {line.get_label() for line in curves.axes[0].lines} == {"plain", "CoMet"}


def test_the_flow_takes_points() -> None:
    one = teaching.learn("flow", "soft", 2, 2, seed=0, epochs=2)
    assert np.isfinite(one.surface).all() and one.surface.min() >= 0


@pytest.mark.parametrize(
    ("comet", "expected"),
    [
        (0.95, "avoids 75 %"),
        (0.81, "does not come out"),
        (0.75, "does not come out"),
    ],
)
def test_the_finding_follows_the_numbers(comet: float, expected: str) -> None:
    rows = [
        {"anomalous": number, "strategy": strategy, "auroc": value, "weight_anomalous": 0.5}
        for number, pair in ((0, (1.0, 1.0)), (9, (0.8, comet)))
        for strategy, value in zip(("plain", "comet"), pair, strict=True)
    ]
    table = pd.DataFrame(rows).assign(boundary=6, seed=0, detector="ellipse")
    assert expected in teaching.boundary_finding(table)
    assert "nothing to win" in teaching.boundary_finding(table.assign(auroc=1.0))


@pytest.mark.parametrize(("comet", "expected"), [(0.9, "still held"), (0.8, "no longer held")])
def test_the_finding_is_judged_where_the_paper_speaks_and_tells_what_comes_after(
    comet: float, expected: str
) -> None:
    rows = [
        {"anomalous": number, "strategy": strategy, "auroc": value, "weight_anomalous": 0.5}
        for number, pair in ((0, (1.0, 1.0)), (3, (1, 1)), (9, (0.9, 0.99)), (12, (0.8, comet)))
        for strategy, value in zip(("plain", "comet"), pair, strict=True)
    ]
    text = teaching.boundary_finding(pd.DataFrame(rows).assign(boundary=6, seed=0, detector="flow"))
    assert text.startswith("With 9 anomalous points beside 90 nominal ones (10 %), the AUROC")
    assert "avoids 90 % of the loss" in text and "With 12, beyond the 10 %" in text
    assert f"{comet:.2f} with CoMet against 0.80" in text and expected in text


@pytest.mark.parametrize(("detector", "seeds"), [("circle", 1), ("ellipse", 0)])
def test_wrong_settings_of_a_toy_are_refused(detector: str, seeds: int) -> None:
    with pytest.raises(InputError):
        teaching.learn_all(detector, ["plain"], [(0, 0)], seeds)


# -- equations 1 and 2


@pytest.mark.parametrize("logarithmic", [False, True])
def test_weights_are_drawn_where_the_equations_put_them(logarithmic: bool) -> None:
    samples = pd.DataFrame({"score": [1.0, 1.0, 1.0, 1.0, 4.0], "truth": "unknown"})
    figure = figures_teaching.weights_at(samples, (0, 2), "ten numbers", logarithmic)
    for axes in figure.axes:
        points = axes.collections[0].get_offsets()
        np.testing.assert_allclose(points[-1], [4, 0.25])
        np.testing.assert_allclose(points[:-1], 1)


def test_the_curve_of_weights_runs_through_the_samples_on_any_axis() -> None:
    scores = np.geomspace(1, 20000, 40)
    samples = pd.DataFrame({"score": scores, "truth": "unknown"})
    axes = figures_teaching.weights_at(samples, (1.5,), "made up", logarithmic=True).axes[0]
    curve = next(line for line in axes.lines if len(line.get_xdata()) > 2)
    points = axes.collections[0].get_offsets()
    at = np.interp(np.log(points[:, 0]), np.log(curve.get_xdata()), curve.get_ydata())
    np.testing.assert_allclose(at, points[:, 1], atol=0.01)
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert 3 <= len(labels) <= 8, "labels have room"


# -- the bowl


def test_a_bowl_has_its_middle_at_the_weighted_mean() -> None:
    samples = torch.tensor([[0.0, 0.0], [2.0, 4.0]])
    theta = torch.zeros(1, 2, requires_grad=True)
    weights = torch.tensor([1.0, 0.5])
    loss = teaching.bowl_loss({"theta": theta}, (samples, weights))
    assert loss.item() == pytest.approx(
        0.5 * 0.5 * (samples[1] @ teaching.STIFFNESS @ samples[1]) / 2
    )
    middle = ((weights[:, None] * samples).sum(0) / weights.sum()).requires_grad_()
    at_middle = teaching.bowl_loss(teaching.at(middle), (samples, weights))
    assert torch.autograd.grad(at_middle, middle)[0].abs().max() < 1e-5


def test_tasks_of_the_bowl_hold_the_anomalous_samples() -> None:
    (train, weights), (validation, _) = teaching.bowl_tasks(4, anomalous=3, seed=2)
    assert train.shape == (4, 4, 2) and validation.shape == (4, 2, 2) and weights.shape == (4, 4)
    everything = torch.cat([train.reshape(-1, 2), validation.reshape(-1, 2)])
    assert int((everything.sum(1) > 4.5).sum()) == 3


def test_a_stray_sample_pulls_its_task_and_not_the_outer_step() -> None:
    theta = torch.tensor([1.0, -0.5])
    away = teaching.STRAY - theta
    moved = {}
    for weight in (1.0, 0.1):
        parts = teaching.stray_tasks(4, weight)
        (samples, weights), _ = parts
        assert weights.sum() == pytest.approx(weights.numel() - 1 + weight)
        torch.testing.assert_close(samples[0, 0], teaching.STRAY)
        turn = teaching.outer_course(theta, parts_of(parts), alpha=0.25, beta=1.0, steps=1)
        ends = (turn[0].adapted[0], turn[1].theta, teaching.plain_step(theta, parts, 1.0))
        moved[weight] = [((end - theta) @ away / away.norm()).item() for end in ends]
    inner, outer, plain = moved[1.0]
    assert inner > 0.3 and plain > 0.2 and outer < 0.02
    assert all(
        small < 0.5 * large for small, large in zip(moved[0.1][::2], (inner, plain), strict=True)
    )


def parts_of(parts):  # the same in every step
    return lambda _: parts


def test_inner_steps_follow_the_law_of_gradient_descent() -> None:
    train, _ = teaching.bowl_tasks(1)
    one = teaching.one_task(train, 0)
    theta, middle = torch.tensor([-2.0, 1.0]), one[0].mean(0)
    course = teaching.inner_course(theta, one, 0.3, 5)
    shrink = torch.linalg.matrix_power(torch.eye(2) - 0.3 * teaching.STIFFNESS, 5)
    torch.testing.assert_close(course[-1] - middle, shrink @ (theta - middle))


@pytest.mark.parametrize("order", [1, 2])
def test_the_outer_loop_finds_the_middle_of_all_tasks(order: int) -> None:
    tasks = teaching.bowl_tasks(3)
    course = teaching.outer_course(
        torch.tensor([-2.0, 1.0]), lambda _: tasks, alpha=0.2, beta=0.5, order=order, steps=200
    )
    assert len(course) == 201 and course[0].adapted.shape == (3, 2)
    # Where the meta-gradient vanishes: theta' averages to the mean of the validation samples.
    adapted = course[-1].adapted.mean(0)
    torch.testing.assert_close(adapted, tasks[1][0].reshape(-1, 2).mean(0), rtol=0, atol=1e-3)
    train, val = teaching.loss_pairs(course[-2:])
    assert train.shape == val.shape == (6,)


def test_orders_agree_for_small_steps_and_part_for_large_ones() -> None:
    train, validation = teaching.bowl_tasks(2)
    table = teaching.order_angles(torch.tensor([-2.0, 1.0]), train, validation, [1e-4, 1.0])
    assert table["cosine"][0] > 0.999 and table["ratio"][0] == pytest.approx(1, abs=1e-3)
    assert table["cosine"][1] < 0.9
    figure = figures_meta.orders(table, 1.05, "synthetic samples")
    assert len(figure.axes) == 2 and len(figure.axes[0].lines) == 4
    assert [text.get_text().strip() for text in figure.axes[0].texts] == [
        "half the\n limit",
        "inner loop\n diverges",
    ]


def test_the_sentence_on_the_two_orders_follows_the_curve() -> None:
    table = pd.DataFrame({"alpha": [0.1, 0.5, 0.7, 0.8, 0.9], "cosine": [1, 0.8, 0.99, 0.5, -0.1]})
    words = teaching.orders_in_words(table, 1.0)
    assert "0.80 at half the limit" in words and "0.99 again at 0.70 of it" in words
    assert "negative from 0.90 on" in words
    assert "never negative" in teaching.orders_in_words(table.head(3), 1.0)


def test_a_surface_is_drawn_the_right_way_up() -> None:
    """x runs along the columns, y along the rows, and paths lie on it in the same coordinates."""
    surface = teaching.bowl_surface(lambda p: p["theta"][0, 0] + 10 * p["theta"][0, 1])
    assert surface[0, -1] == pytest.approx(4 - 30) and surface[-1, 0] == pytest.approx(-4 + 30)
    course = teaching.outer_course(
        torch.tensor([-2.0, 1.0]), lambda _: teaching.bowl_tasks(2), alpha=0.2, beta=0.2, steps=3
    )
    figure = figures_meta.descent(figures_meta.fans(course, surface), "synthetic samples", 1)
    first, second = figure.axes
    assert len(first.collections) > 0 and "3 turns" in second.get_title(loc="left")
    ends = [line.get_xydata()[-1] for line in first.lines if len(line.get_xydata())]
    assert any(np.allclose(end, course[1].theta) for end in ends)
    pairs = {"clean": teaching.loss_pairs(course)}
    assert len(figures_meta.loss_scatter(pairs, "synthetic samples").axes[0].patches) == 1
