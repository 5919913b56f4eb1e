"""Toys for learning the method: points in a plane, a detector of six numbers, and a bowl.

Everything here is synthetic and small enough to be drawn. The toys are trained by
`comet_core.training` and stepped by `comet_core.meta`, the code that trains on images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from comet_core import metrics
from comet_core.confidence import weighted_loss
from comet_core.config import Strategy, TrainingSettings
from comet_core.detectors.base import Detector, Maps
from comet_core.detectors.differnet import DifferNet
from comet_core.errors import InputError
from comet_core.meta import Batch, MetaStep, Parameters, adapt, meta_gradient, split_tasks
from comet_core.training import fit

Array = NDArray[np.float64]

# -- a training set in the plane -------------------------------------------------------------------

NOMINAL = 90
CLAIMED = 0.1
"""Up to how many anomalous points for a nominal one the paper speaks of."""
HELD_OUT = 300
"""Points of each kind that are never trained on."""
VIEW = ((-5.2, 4.8), (-3.4, 4.6))
"""What is drawn of the plane: from, to in x and in y."""
GRID = 72


class PointSet(NamedTuple):
    """Points (N, 2) and what each is: "nominal", "boundary" or "anomalous"."""

    points: Array
    kinds: Array

    def of(self, kind: str) -> Array:
        """The points of one kind."""
        return self.points[self.kinds == kind]


def point_sets(boundary: int, anomalous: int, seed: int = 0) -> tuple[PointSet, PointSet]:
    """A training set of 90 nominal points and so many others, and held-out points of all kinds.

    Nominal points are normally distributed in a slanted ellipse; boundary points lie around its
    edge, 2.6 to 3.2 deviations out; anomalous ones form a small cluster beside it, as defects of
    one kind do. For one seed a larger set contains the smaller ones.

    Raises:
        InputError: for a negative number.
    """
    if boundary < 0 or anomalous < 0:
        raise InputError(f"a training set cannot hold {min(boundary, anomalous)} points of a kind.")
    rng = np.random.default_rng(seed)
    spread = np.diag([1.3, 0.6]) @ np.array([[0.9, 0.44], [-0.44, 0.9]])
    counts = {"nominal": NOMINAL, "boundary": boundary, "anomalous": anomalous}
    drawn = {
        "nominal": rng.normal(size=(2 * HELD_OUT, 2)) @ spread,
        "boundary": _ring(rng, 2 * HELD_OUT) @ spread,
        "anomalous": rng.normal([-1.8, 3.0], 0.3, (2 * HELD_OUT, 2)),
    }
    if max(counts.values()) > HELD_OUT:
        raise InputError(f"a training set holds at most {HELD_OUT} points of a kind.")
    train = {kind: points[: counts[kind]] for kind, points in drawn.items()}
    return _joined(train), _joined({kind: points[HELD_OUT:] for kind, points in drawn.items()})


def _ring(rng: np.random.Generator, count: int) -> Array:
    angle = rng.uniform(0, 2 * np.pi, count)
    return np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(2.6, 3.2, (count, 1))


def _joined(parts: dict[str, Array]) -> PointSet:
    kinds = [kind for kind, points in parts.items() for _ in points]
    return PointSet(np.concatenate(list(parts.values())), np.array(kinds))


def _maps(points: Array) -> Maps:
    return {"points": torch.tensor(points, dtype=torch.float32)[:, None]}


class Ellipse(Detector):
    """The smallest normalizing flow: z = A (x - c), with six numbers to learn in the plane.

    Its loss is DifferNet's, the negative log-likelihood per dimension without its constant, and so
    is its score, the mean of z^2. Where the score is constant is an ellipse.
    """

    name: ClassVar[str] = "ellipse"

    def wanted_features(self, backbone_layers: list[str], image_size: int) -> dict[str, Any]:
        """None: it reads points."""
        return {}

    def assemble(self, maps: Maps) -> Tensor:
        """(N, 1, D): a sample is one part."""
        return maps["points"]

    def build(self, dimension: int) -> None:
        """The unit circle, to begin with."""
        self.matrix = nn.Parameter(torch.eye(dimension))
        self.centre = nn.Parameter(torch.zeros(dimension))

    def losses(self, samples: Tensor, noise: Tensor | None) -> Tensor:
        """(||z||^2 / 2 - log|det A|) / D."""
        log_det = torch.linalg.slogdet(self.matrix).logabsdet
        return 0.5 * self.part_scores(samples) - log_det / samples.shape[-1]

    def part_scores(self, samples: Tensor) -> Tensor:
        """Mean z^2."""
        return ((samples - self.centre) @ self.matrix.T).square().mean(-1)


class PlaneFlow(DifferNet):
    """DifferNet with points for features."""

    name: ClassVar[str] = "flow"

    def assemble(self, maps: Maps) -> Tensor:
        """(N, 1, D): a sample is one part."""
        return maps["points"]


TOYS: dict[str, tuple[type[Detector], dict[str, Any], float]] = {
    "ellipse": (Ellipse, {}, 2e-2),
    "flow": (PlaneFlow, {"blocks": 2, "hidden": 16, "depth": 2, "clamp": 1.0}, 5e-3),
}
"""Detectors of the plane: class, options, learning rate."""


@dataclass
class Learned:
    """A detector trained on a point set.

    Attributes:
        train: what it was trained on.
        weights: (N,) of the last epoch; all 1 for strategies that do not weight.
        threshold: t of equation 1, from its final training scores.
        surface: (GRID, GRID) its scores on `VIEW`, y by x; the boundary is where they equal t.
        settings: detector, strategy, boundary, anomalous, seed.
        results: auroc of held-out anomalous against all good points; caught, the share of held-out
            anomalous points above t; false_alarms, the share of held-out good ones above it;
            weight_anomalous, the mean (nan without any).
    """

    train: PointSet
    weights: Array
    threshold: float
    surface: Array
    settings: dict[str, Any]
    results: dict[str, float]


def learn(
    detector: str, strategy: Strategy, boundary: int, anomalous: int, seed: int, epochs: int = 60
) -> Learned:
    """Train a toy detector on a point set and look at what it learned.

    Args:
        detector: "ellipse" or "flow".
        strategy: plain, reject, soft, meta or comet.
        boundary: points of that kind in the training set.
        anomalous: and of this.
        seed: of the points, the initialisation and the batches.
        epochs: how long.

    Raises:
        InputError: unknown detector, or settings that do not fit.
    """
    if detector not in TOYS:
        raise InputError(f"unknown toy detector '{detector}'; there are {', '.join(TOYS)}.")
    kind, options, learning_rate = TOYS[detector]
    train, held_out = point_sets(boundary, anomalous, seed)
    settings = TrainingSettings.checked(
        {
            "strategy": strategy,
            "epochs": epochs,
            "batch_size": 48,
            "learning_rate": learning_rate,
            "seed": seed,
            "tasks": 2,
            "alpha": 1e-2,
            "warmup_epochs": 5,
        }
    )
    model = kind(options)
    trained = fit(model, _maps(train.points), [f"{i}" for i in range(len(train.points))], settings)

    def scores(points: Array) -> Array:
        return model.image_scores(model.scores(model.prepare(_maps(points)), 8192)).double().numpy()

    t = trained.final.threshold
    of_held_out, bad = scores(held_out.points), held_out.kinds == "anomalous"
    x, y = grid()
    surface = scores(np.stack([x.ravel(), y.ravel()], 1)).reshape(x.shape)
    weights = trained.used.double().numpy()
    results = {
        "auroc": metrics.image_auroc(bad.astype(int), of_held_out),
        "caught": float((of_held_out[bad] > t).mean()),
        "false_alarms": float((of_held_out[~bad] > t).mean()),
        "weight_anomalous": float(weights[train.kinds == "anomalous"].mean())
        if anomalous
        else float("nan"),
    }
    told = {"boundary": boundary, "anomalous": anomalous, "seed": seed}
    about = {"detector": detector, "strategy": strategy, **told}
    return Learned(train, weights, t, surface, about, results)


def grid() -> tuple[Array, Array]:
    """x and y (GRID, GRID) of the points at which surfaces are taken."""
    x, y = np.meshgrid(*(np.linspace(low, high, GRID) for low, high in VIEW))
    return x, y


def learn_all(
    detector: str,
    strategies: Sequence[Strategy],
    contents: Sequence[tuple[int, int]],
    seeds: int,
    epochs: int = 60,
) -> list[Learned]:
    """`learn` for every combination; contents are pairs (boundary, anomalous)."""
    if seeds < 1:
        raise InputError(f"seeds must be at least 1, got {seeds}.")
    return [
        learn(detector, strategy, boundary, anomalous, seed, epochs)
        for boundary, anomalous in dict.fromkeys(contents)
        for strategy in strategies
        for seed in range(seeds)
    ]


def chosen(
    learned: Sequence[Learned], contents: Sequence[tuple[int, int]], strategies: Sequence[Strategy]
) -> list[Learned]:
    """Those with the given contents and strategies."""
    return [
        one
        for one in learned
        if (one.settings["boundary"], one.settings["anomalous"]) in contents
        and one.settings["strategy"] in strategies
    ]


def learned_table(learned: Sequence[Learned]) -> pd.DataFrame:
    """One row a training: its settings and results."""
    return pd.DataFrame([{**one.settings, **one.results} for one in learned])


def boundary_finding(table: pd.DataFrame) -> str:
    """What the trainings say about Figure 1's picture, in a few sentences.

    The paper speaks of up to 10 % anomalies, so the largest number up to `CLAIMED` is judged; what
    becomes of the largest number beyond it is told beside.

    Args:
        table: of `learned_table`, with strategies plain and comet, for one detector.
    """
    counts = [int(count) for count in sorted(table["anomalous"].unique())]
    within = [count for count in counts if 0 < count <= CLAIMED * NOMINAL]
    beyond = [count for count in counts if count > CLAIMED * NOMINAL]
    judged = max(within or counts)
    found = _compared(table, judged)
    clean = table[table["anomalous"] == 0].groupby("strategy")["auroc"].mean()
    text = (
        f"With {judged} anomalous points beside {NOMINAL} nominal ones "
        f"({100 * judged / NOMINAL:.0f} %), the AUROC of the {table['detector'].iloc[0]} on "
        "held-out points falls from "
        f"{clean['plain']:.2f} to {found.plain:.2f} in plain training and from "
        f"{clean['comet']:.2f} to {found.comet:.2f} with CoMet, which is ahead in {found.ahead} of "
        f"{found.seeds} seeds. There the anomalous points have a mean weight of "
        f"{found.weight:.2f}. "
    )
    if np.isnan(found.saved):
        return text + "Plain training loses nothing, so there is nothing to win."
    if not found.held_back:
        return text + "The paper's picture, of a boundary that is held back, does not come out."
    text += (
        f"CoMet avoids {found.saved:.0f} % of the loss of plain training: up to here the line is "
        "held back."
    )
    if not within or not beyond:
        return text
    further = _compared(table, max(beyond))
    return text + (
        f" With {max(beyond)}, beyond the 10 % that the paper speaks of, it is {further.comet:.2f} "
        f"with CoMet against {further.plain:.2f}, at a mean weight of {further.weight:.2f}: the "
        f"line is {'still' if further.held_back else 'no longer'} held back."
    )


class _Compared(NamedTuple):
    """Plain training and CoMet at one number of anomalous points: mean AUROCs; the seeds, and those
    in which CoMet is ahead; the anomalous points' mean weight; the share of the loss avoided, in
    per cent, nan where plain training loses nothing."""

    plain: float
    comet: float
    ahead: int
    seeds: int
    weight: float
    saved: float

    @property
    def held_back(self) -> bool:
        """Ahead in every seed, by a tenth of the loss or more."""
        return self.ahead == self.seeds and self.saved >= 10


def _compared(table: pd.DataFrame, count: int) -> _Compared:
    here, clean = table[table["anomalous"] == count], table[table["anomalous"] == 0]
    pairs = here.pivot_table(index=["boundary", "seed"], columns="strategy", values="auroc")
    auroc, before = (part.groupby("strategy")["auroc"].mean() for part in (here, clean))
    lost = before["plain"] - auroc["plain"]
    saved = 100 * (1 - (before["comet"] - auroc["comet"]) / lost) if lost > 0.005 else np.nan
    return _Compared(
        float(auroc["plain"]),
        float(auroc["comet"]),
        int((pairs["comet"] > pairs["plain"]).sum()),
        len(pairs),
        float(here.loc[here["strategy"] == "comet", "weight_anomalous"].mean()),
        float(saved),
    )


# -- a bowl for the inner and the outer loop -------------------------------------------------------

STIFFNESS = torch.tensor([[1.25, 0.75], [0.75, 1.05]])
"""Second derivative of the bowl's loss: steep in one direction, shallow across it."""
STRAY = torch.tensor([3.4, 2.4])
"""Where the anomalous sample of `stray_tasks` lies."""
BOWL_VIEW = ((-4.0, 4.0), (-3.0, 3.0))


def bowl_loss(parameters: Parameters, batch: Batch) -> Tensor:
    """A model of two parameters: the mean of (x_i - theta)^T S (x_i - theta) / 2, weighted.

    Parameters and samples share one plane: theta (1, 2) is a guess at where the samples lie. S is
    `STIFFNESS`.

    Args:
        parameters: "theta", (1, 2).
        batch: samples (m, 2) and their weights (m,).
    """
    samples, weights = batch
    away = samples - parameters["theta"]
    return weighted_loss(0.5 * ((away @ STIFFNESS) * away).sum(-1), weights)


def bowl_tasks(
    tasks: int = 4, anomalous: int = 0, seed: int = 0, size: int = 6
) -> tuple[Batch, Batch]:
    """Training and validation parts of tasks: samples (T, m, 2) and weights (T, m), all 1.

    Nominal samples scatter around (1, -0.5); so many of them are replaced by anomalous ones far to
    the upper right. A third of each task is for validation.
    """
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(tasks * size, 2, generator=generator) * 1.2 + torch.tensor([1.0, -0.5])
    samples[:anomalous] = torch.tensor([3.4, 2.4]) + 0.2 * samples[:anomalous]
    order = torch.randperm(len(samples), generator=generator)
    return split_tasks((samples[order], torch.ones(len(samples))), tasks, 1 / 3)


def stray_tasks(tasks: int = 4, weight: float = 1.0, seed: int = 0) -> tuple[Batch, Batch]:
    """Tasks of `bowl_tasks` drawn together around their middle, with one sample that strays.

    The first sample of the first task's training part is anomalous and has the given weight; all
    others have weight 1 and lie a tenth as far from (1, -0.5) as they would.
    """
    middle = torch.tensor([1.0, -0.5])
    (train, weights), (validation, ones) = bowl_tasks(tasks, seed=seed)
    train, validation = (middle + 0.1 * (one - middle) for one in (train, validation))
    train[0, 0], weights[0, 0] = STRAY, weight
    return (train, weights), (validation, ones)


def plain_step(theta: Tensor, parts: Sequence[Batch], beta: float) -> Tensor:
    """theta (2,) after one step of gradient descent on the samples of all tasks and parts."""
    samples, weights = (
        torch.cat([one.flatten(0, 1) for one in some]) for some in zip(*parts, strict=True)
    )
    place = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(bowl_loss(at(place), (samples, weights)), place)
    return theta - beta * gradient


def one_task(batch: Batch, task: int) -> Batch:
    """The part of one task of a batch of tasks."""
    return tuple(one[task] for one in batch)


def at(theta: Tensor) -> Parameters:
    """A place (2,) in the plane as the parameters of the bowl."""
    return {"theta": theta.reshape(1, 2)}


class OuterStep(NamedTuple):
    """One turn of the outer loop: theta (2,), the theta' (T, 2) of its tasks, and the meta step."""

    theta: Tensor
    adapted: Tensor
    step: MetaStep


def outer_course(
    theta: Tensor,
    draw: Callable[[int], tuple[Batch, Batch]],
    *,
    alpha: float,
    beta: float,
    order: int = 1,
    steps: int = 10,
    lambda_sigma: float = 0.0,
) -> list[OuterStep]:
    """Equations 7 and 8, so many times, by `comet_core.meta`; the last entry is where it ends.

    Args:
        theta: (2,), where to begin.
        draw: training and validation parts of the tasks of a step, given its number.
        alpha: step of the inner loop.
        beta: step of the outer loop, plain gradient descent.
        order: of the meta-gradient.
        steps: outer steps.
        lambda_sigma: strength of the penalty.
    """
    course = []
    for number in range(steps + 1):
        train, validation = draw(number)
        adapted = [
            adapt(bowl_loss, at(theta), one_task(train, task), alpha, differentiable=False)
            for task in range(len(train[0]))
        ]
        step = meta_gradient(
            bowl_loss,
            at(theta),
            train,
            validation,
            alpha=alpha,
            order=order,
            lambda_sigma=lambda_sigma,
        )
        places = torch.cat([one["theta"].detach() for one in adapted])
        course.append(OuterStep(theta, places, step))
        theta = theta - beta * step.gradient["theta"].reshape(2)
    return course


def inner_course(theta: Tensor, batch: Batch, alpha: float, steps: int) -> Tensor:
    """(steps + 1, 2): the places that the inner loop visits."""
    places = [theta]
    for _ in range(steps):
        moved = adapt(bowl_loss, at(places[-1]), batch, alpha, differentiable=False)
        places.append(moved["theta"].detach().reshape(2))
    return torch.stack(places)


def loss_pairs(course: Sequence[OuterStep]) -> tuple[Tensor, Tensor]:
    """Training and validation losses of all tasks of all steps, for equation 4."""
    train = torch.cat([one.step.train_losses for one in course])
    return train, torch.cat([one.step.val_losses for one in course])


def order_angles(
    theta: Tensor, train: Batch, validation: Batch, alphas: Sequence[float]
) -> pd.DataFrame:
    """How the two meta-gradients differ: alpha, cosine between them, second to first in length."""
    rows = []
    for alpha in alphas:
        first, second = (
            meta_gradient(
                bowl_loss, at(theta), train, validation, alpha=alpha, order=order
            ).gradient["theta"][0]
            for order in (1, 2)
        )
        cosine = torch.cosine_similarity(first, second, dim=0).item()
        rows.append(
            {"alpha": alpha, "cosine": cosine, "ratio": (second.norm() / first.norm()).item()}
        )
    return pd.DataFrame(rows)


def orders_in_words(table: pd.DataFrame, limit: float) -> str:
    """What the cosine of `order_angles` does over alpha; `limit` is where the inner loop diverges.

    Shares of the limit are those of the table's rows.
    """
    share, cosine = (table["alpha"] / limit).to_numpy(), table["cosine"].to_numpy()
    half = cosine[np.abs(share - 0.5).argmin()]
    again = np.where((share > 0.5) & (share < 1), cosine, -np.inf).argmax()
    text = (
        f"The cosine is {half:.2f} at half the limit, {cosine[again]:.2f} again at "
        f"{share[again]:.2f} of it, and "
    )
    against = share[cosine < 0]
    return text + (f"negative from {against.min():.2f} on." if len(against) else "never negative.")


def bowl_surface(value: Callable[[Parameters], Tensor]) -> Array:
    """(GRID, GRID) values of a function of theta on `BOWL_VIEW`, y by x."""
    x, y = np.meshgrid(*(np.linspace(low, high, GRID) for low, high in BOWL_VIEW))
    places = torch.tensor(np.stack([x.ravel(), y.ravel()], 1), dtype=torch.float32)
    values = [float(value(at(place)).detach()) for place in places]
    return np.array(values).reshape(x.shape)
