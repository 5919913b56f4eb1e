"""The idea in one picture: three panels of SVG, drawn from a small computation, not by hand.

Points stand for training images, an ellipse for what a detector has learned: the region within a
fixed Mahalanobis distance of the mean. Learned once with every point counting the same, once with
the weights of equations 1 and 2, which are computed by the package itself.
"""

from __future__ import annotations

import re

import numpy as np
import torch
from numpy.typing import NDArray

from comet_core.confidence import confidence_weights, iqr_threshold

Array = NDArray[np.float64]
SIZE = 240
MEANINGS = {"nominal": "good", "boundary": "good, but odd", "anomalous": "defective"}
RADIUS = 9.21
"""Squared Mahalanobis distance that holds 99 % of a normal distribution in the plane."""


def training_set(seed: int = 4) -> tuple[Array, list[str]]:
    """Points (N, 2) and what each is: "nominal", "boundary" or "anomalous"."""
    rng = np.random.default_rng(seed)
    turn = np.array([[0.86, 0.5], [-0.5, 0.86]])
    nominal = rng.normal(size=(70, 2)) * [1.25, 0.62] @ turn
    boundary = np.array([[2.9, 0.7], [-2.6, -0.2], [-0.3, -2.2], [1.0, 2.5]])
    anomalous = rng.normal(size=(8, 2)) * 0.35 + [-2.6, 4.0]
    kinds = ["nominal"] * len(nominal) + ["boundary"] * 4 + ["anomalous"] * 8
    return np.concatenate([nominal, boundary, anomalous]), kinds


def learn(points: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted mean (2,) and covariance (2, 2)."""
    mean = np.average(points, axis=0, weights=weights)
    return mean, np.cov(points.T, aweights=weights)


def distances(points: Array, mean: Array, covariance: Array) -> Array:
    """Squared Mahalanobis distances (N,): the anomaly scores of this toy."""
    away = points - mean
    return np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)


def weigh(points: Array, rounds: int = 30) -> tuple[Array, Array, float]:
    """Scores, weights and threshold after as many rounds of learning and weighing again."""
    weights = np.ones(len(points))
    for _ in range(rounds):
        scores = torch.from_numpy(distances(points, *learn(points, weights)))
        threshold = iqr_threshold(scores, kappa=1.5)
        weights = confidence_weights(scores, threshold).numpy()
    return scores.numpy(), weights, threshold.item()


def panels() -> str:
    """The three panels as one HTML fragment; colours come from the site's style sheet."""
    points, kinds = training_set()
    scores, weights, threshold = weigh(points)
    ones = np.ones(len(points))
    plain, weighted = learn(points, ones), learn(points, weights)
    drawn = [
        (
            "Every image counts the same",
            "Nobody has sorted the training images. A few anomalies pull the learned region "
            "(line) towards them.",
            _cloud(points, kinds, ones, [("learned", plain)]),
        ),
        (
            "A score becomes a weight",
            "Up to the threshold <i>t</i> an image counts in full; beyond it, by <i>t</i> divided "
            "by its score.",
            _curve(scores, weights, kinds, threshold),
        ),
        (
            "Each image counts by its weight",
            "The same images, drawn in proportion. The learned region draws back to what is "
            "typical; dashed, where it was.",
            _cloud(points, kinds, weights, [("was", plain), ("learned", weighted)]),
        ),
    ]
    figures = "".join(
        f'<figure><svg viewBox="0 0 {SIZE} {SIZE}" role="img" '
        f'aria-label="{title}. {re.sub("<[^>]+>", "", text)}">{svg}</svg>'
        f"<figcaption><b>{title}.</b> {text}</figcaption></figure>"
        for title, text, svg in drawn
    )
    key = "".join(
        f'<span><svg viewBox="-7 -7 14 14" width="14" height="14" aria-hidden="true">'
        f"{_mark(0, 0, kind, 1)}</svg> <b>{kind}</b>: {meaning}</span>"
        for kind, meaning in MEANINGS.items()
    )
    key += "<span>Each mark stands for an image; all are synthetic.</span>"
    return f'<p class="idea-key">{key}</p><div class="idea">{figures}</div>\n'


def _cloud(
    points: Array, kinds: list[str], weights: Array, regions: list[tuple[str, tuple[Array, Array]]]
) -> str:
    lines = _ellipse(*regions[-1][1], "region")
    lines += "".join(_ellipse(*region, name) for name, region in regions)
    marks = zip(_place(points), kinds, weights, strict=True)
    return lines + "".join(_mark(x, y, kind, weight) for (x, y), kind, weight in marks)


def _place(points: Array) -> Array:
    """Plane to picture: [-4.6, 5.2] in both directions, y upwards."""
    scale = SIZE / 9.8
    return np.stack([(points[:, 0] + 4.6) * scale, SIZE - (points[:, 1] + 4.4) * scale], axis=1)


def _ellipse(mean: Array, covariance: Array, name: str) -> str:
    turn = np.linspace(0, 2 * np.pi, 73)[:-1]
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1) * np.sqrt(RADIUS)
    outline = _place(mean + circle @ np.linalg.cholesky(covariance).T)
    return f'<path class="{name}" d="M{" ".join(f"{x:.1f},{y:.1f}" for x, y in outline)}Z"/>'


def _mark(x: float, y: float, kind: str, weight: float) -> str:
    """A circle, a diamond or a cross: told apart without colour, too."""
    r = 4.2 * np.sqrt(weight)
    if kind == "nominal":
        return f'<circle class="nominal" cx="{x:.1f}" cy="{y:.1f}" r="{r * 0.8:.1f}"/>'
    reach = r * 1.25
    if kind == "boundary":
        path = f"M{x - reach:.1f},{y:.1f}L{x:.1f},{y - reach:.1f}L{x + reach:.1f},{y:.1f}"
        return f'<path class="boundary" d="{path}L{x:.1f},{y + reach:.1f}Z"/>'
    path = f"M{x - r:.1f},{y - r:.1f}L{x + r:.1f},{y + r:.1f}"
    return f'<path class="anomalous" d="{path}M{x - r:.1f},{y + r:.1f}L{x + r:.1f},{y - r:.1f}"/>'


def _curve(scores: Array, weights: Array, kinds: list[str], threshold: float) -> str:
    left, right, top, bottom = 30.0, 232.0, 34.0, 196.0
    most = float(scores.max()) * 1.08

    def x(score: float) -> float:
        return left + (right - left) * score / most

    def y(weight: float) -> float:
        return bottom - (bottom - top) * weight

    grid = np.linspace(threshold, most, 40)
    tail = " ".join(f"L{x(a):.1f},{y(threshold / a):.1f}" for a in grid)
    marks = "".join(
        _mark(x(a), y(w), kind, 1) for a, w, kind in zip(scores, weights, kinds, strict=True)
    )
    at = x(threshold)
    return (
        f'<path class="axis" d="M{left},{top - 14}V{bottom}H{right}"/>'
        f'<path class="was" d="M{at:.1f},{top - 14}V{bottom}"/>'
        f'<path class="learned" d="M{left},{top}H{at:.1f}{tail}"/>{marks}'
        f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle"><tspan font-style="italic">t'
        f'</tspan></text><text x="{right}" y="{bottom + 18}" text-anchor="end">score</text>'
        f'<text x="{left - 8}" y="{top + 5}" text-anchor="end">1</text>'
        f'<text x="{left - 8}" y="{bottom + 5}" text-anchor="end">0</text>'
        f'<text x="{left + 4}" y="{top - 12}">weight</text>'
    )
