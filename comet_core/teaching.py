"""Toys for learning the method: points in a plane, a detector of six numbers, and a bowl.

Everything here is synthetic and small enough to be drawn. The toys are trained by
`comet_core.training` and stepped by `comet_core.meta`, the code that trains on images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from comet_core import metrics
from comet_core.config import Strategy, TrainingSettings
from comet_core.detectors.base import Detector, Maps
from comet_core.detectors.differnet import DifferNet
from comet_core.errors import InputError
from comet_core.training import fit

Array = NDArray[np.float64]

# -- a training set in the plane -------------------------------------------------------------------

NOMINAL = 90
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

    Args:
        table: of `learned_table`, with strategies plain and comet, for one detector.
    """
    most = table["anomalous"].max()
    worst = table[table["anomalous"] == most]
    means = table[table["anomalous"].isin([0, most])].groupby(["anomalous", "strategy"])["auroc"]
    auroc = means.mean()
    pairs = worst.pivot_table(index=["boundary", "seed"], columns="strategy", values="auroc")
    ahead = int((pairs["comet"] > pairs["plain"]).sum())
    weight = worst.loc[worst["strategy"] == "comet", "weight_anomalous"].mean()
    lost, left = auroc[0, "plain"] - auroc[most, "plain"], auroc[0, "comet"] - auroc[most, "comet"]
    saved = 100 * (1 - left / lost) if lost > 0.005 else float("nan")
    text = (
        f"With {most} anomalous points among {NOMINAL} nominal ones, the AUROC of the "
        f"{table['detector'].iloc[0]} on held-out points falls from {auroc[0, 'plain']:.2f} to "
        f"{auroc[most, 'plain']:.2f} in plain training and from {auroc[0, 'comet']:.2f} to "
        f"{auroc[most, 'comet']:.2f} with CoMet, which is ahead in {ahead} of {len(pairs)} seeds. "
        f"There the anomalous points have a mean weight of {weight:.2f}. "
    )
    if np.isnan(saved):
        return text + "Plain training loses nothing, so there is nothing to win."
    if ahead < len(pairs) or saved < 10:
        return text + "The paper's picture, of a boundary that is held back, does not come out."
    text += f"CoMet avoids {saved:.0f} % of the loss of plain training"
    gain = table.pivot_table(index="anomalous", columns="strategy", values="auroc")
    best = gain.iloc[int((gain["comet"] - gain["plain"]).to_numpy().argmax())]
    return text + (
        f"; the gap is widest at {best.name} points, {best['comet']:.2f} against "
        f"{best['plain']:.2f}."
    )
