"""Pictures of the inner and the outer loop on a surface that can be seen, in the house style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from torch import Tensor

from comet_core.figures import INK, KINDS, LINES, QUIET, WIDTH, _noted, in_house_style
from comet_core.teaching import BOWL_VIEW, Array, OuterStep
from comet_core.uncertainty import loss_covariance

PATHS: dict[str, dict[str, Any]] = {
    "theta": {"color": INK, "marker": "o", "lw": 1.8, "ms": 5},
    "inner": {"color": LINES[0], "marker": ">", "lw": 1.2, "ms": 4.5},
    "first order": {"color": LINES[1], "marker": "s", "lw": 1.6, "ms": 4},
    "second order": {"color": LINES[2], "marker": "D", "lw": 1.6, "ms": 4},
    "plain step": {"color": LINES[1], "marker": "s", "lw": 1.6, "ms": 4},
}
"""How a path looks, by what it is."""
NAMES = {"theta": r"outer: $\theta$", "inner": r"inner: $\theta \to \theta'$"}


@dataclass
class Panel:
    """A surface over the plane of theta, and what moves on it.

    Attributes:
        title: above it.
        surface: of `teaching.bowl_surface`.
        paths: what it is, one of `PATHS`, and its places (K, 2).
        train, validation: samples (m, 2) to show, if any.
        view: from, to in either parameter; the whole surface if left out.
    """

    title: str
    surface: Array
    paths: Sequence[tuple[str, Tensor]] = field(default_factory=list)
    train: Tensor | None = None
    validation: Tensor | None = None
    view: tuple[tuple[float, float], tuple[float, float]] = BOWL_VIEW


@in_house_style
def descent(panels: Sequence[Panel], note: str, columns: int = 2) -> Figure:
    """Contours of each surface with its paths; light is low."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    height = rows * (2.15 if columns > 1 else 3.5) + 0.75
    figure = Figure(figsize=(WIDTH, height))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    seen: dict[str, Any] = {}
    for axes, panel in zip(grid, panels, strict=False):
        _contours(axes, panel.surface)
        for samples, marker, label in (
            (panel.train, "o", "training part"),
            (panel.validation, "^", "validation part"),
        ):
            if samples is not None:
                seen[label] = axes.scatter(
                    samples[:, 0], samples[:, 1], s=22, marker=marker, c=KINDS["nominal"], lw=0
                )
        for name, places in panel.paths:
            (line,) = axes.plot(places[:, 0], places[:, 1], markevery=[-1], **PATHS[name])
            seen[NAMES.get(name, name)] = line
            axes.plot(*places[0], "o", color=INK, ms=4)
            if name != "inner":
                axes.plot(places[1:-1, 0], places[1:-1, 1], ".", color=PATHS[name]["color"], ms=4)
        axes.set(xlim=panel.view[0], ylim=panel.view[1], aspect="equal", xticks=[], yticks=[])
        axes.set_title(panel.title, fontsize=9.5)
    for axes in grid[:: max(1, columns)]:
        axes.set_ylabel(r"$\theta_2$")
    for axes in grid[max(0, len(panels) - columns) : len(panels)]:
        axes.set_xlabel(r"$\theta_1$")
    if seen:
        figure.legend(
            handles=list(seen.values()),
            labels=list(seen),
            loc="outside upper left",
            ncols=min(3, len(seen)),
            columnspacing=1.2,
        )
    return _noted(figure, note)


def fans(course: Sequence[OuterStep], surface: Array) -> list[Panel]:
    """Two panels: the first turn of the outer loop, and all of them."""

    def inner(steps: Sequence[OuterStep]) -> list[tuple[str, Tensor]]:
        return [
            ("inner", torch.stack([one.theta, place])) for one in steps for place in one.adapted
        ]

    path = torch.stack([one.theta for one in course])
    first = [*inner(course[:1]), ("theta", path[:2])]
    return [
        Panel("one turn", surface, first),
        Panel(f"{len(course) - 1} turns", surface, [*inner(course[:-1:3]), ("theta", path)]),
    ]


def _contours(axes: Axes, surface: Array) -> None:
    low, high = float(surface.min()), float(surface.max())
    levels = low + (high - low) * np.linspace(0, 1, 11) ** 2
    extent = (*BOWL_VIEW[0], *BOWL_VIEW[1])
    axes.contourf(surface, levels, extent=extent, cmap="Greys", alpha=0.35)
    axes.contour(surface, levels, extent=extent, colors=[QUIET], linewidths=0.5, alpha=0.6)


@in_house_style
def loss_scatter(pairs: dict[str, tuple[Tensor, Tensor]], note: str) -> Figure:
    """Pairs of training and validation loss, and the ellipse of two deviations of their Sigma.

    Args:
        pairs: name to (training losses (M,), validation losses (M,)).
        note: what they were made from.
    """
    figure = Figure(figsize=(WIDTH, 3.9))
    axes = figure.subplots()
    looks = ((LINES[0], "o"), (LINES[1], "X"), (LINES[2], "D"))
    for (name, (train, val)), (colour, mark) in zip(pairs.items(), looks, strict=False):
        axes.scatter(train, val, s=24, c=colour, marker=mark, lw=0, alpha=0.8, label=name)
        values, vectors = torch.linalg.eigh(loss_covariance(train, val))
        width, height = (4 * values.clamp(min=0).sqrt()).tolist()
        angle = np.degrees(np.arctan2(vectors[1, 0].item(), vectors[0, 0].item()))
        middle = (train.mean().item(), val.mean().item())
        axes.add_patch(Ellipse(middle, width, height, angle=angle, fill=False, ec=colour, lw=1.6))
    axes.set(xlabel="training loss of a task", ylabel="validation loss of the task")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper left", ncols=len(pairs), handletextpad=0.2)
    return _noted(figure, note)


@in_house_style
def orders(table: pd.DataFrame, largest: float, note: str) -> Figure:
    """Cosine between first- and second-order meta-gradients, and their lengths, over alpha.

    Args:
        table: of `teaching.order_angles`.
        largest: the alpha beyond which the inner loop diverges.
        note: what it was made from.
    """
    figure = Figure(figsize=(WIDTH, 4.2))
    panels = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
    for axes, column, colour, limits, title in zip(
        panels,
        ("cosine", "ratio"),
        LINES,
        ((-1.05, 1.1), (0, 1.25)),
        ("cosine of the angle", "second / first, length"),
        strict=False,
    ):
        axes.axhline(0, color=QUIET, lw=0.8)
        for place in (largest / 2, largest):
            axes.axvline(place, color=QUIET, lw=1, ls=(0, (5, 3)))
        axes.plot(table["alpha"], table[column], color=colour, lw=1.8)
        axes.set(ylabel=title, ylim=limits)
    for place, told in ((largest / 2, " half the\n limit"), (largest, " inner loop\n diverges")):
        panels[0].text(place, 0.1, told, color=QUIET, va="bottom", fontsize=9)
    panels[1].set(xlabel=r"inner step $\alpha$", xlim=(0, table["alpha"].max()))
    return _noted(figure, note)
