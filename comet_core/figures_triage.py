"""Figures of a search through a folder: the most suspicious images, and where the cut falls.

Nothing is known of these images, so no colour here stands for a truth: purple is what the cut at t
flags, grey the rest. Contours are yellow on black, which shows on any photograph.
"""

from __future__ import annotations

import math
from pathlib import Path

import contourpy
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from comet_core.errors import InputError
from comet_core.figures import INK, QUIET, WIDTH, _bare, _noted, in_house_style
from comet_core.images import read_fitted

FLAGGED = "#882288"
LINE = "#4477AA"
CONTOUR = "#FFE14D"
EDGE = 320
"""Longer side, in pixels, of an image on the contact sheet."""


def outlines(one: NDArray[np.floating], level: float) -> list[NDArray[np.float64]]:
    """Outlines of where a map (H, W) lies above a level.

    Returns:
        Closed lines, (M, 2) each, as (x, y) in shares of the width and of the height, 0..1.
    """
    height, width = one.shape
    # The map goes on unchanged to the image's edge; a low border beyond it closes every line.
    low = min(float(one.min()), level) - 1
    whole = np.pad(np.pad(one.astype(float), 1, mode="edge"), 1, constant_values=low)
    x = np.concatenate([[-1e-9, 0], (np.arange(width) + 0.5) / width, [1, 1 + 1e-9]])
    y = np.concatenate([[-1e-9, 0], (np.arange(height) + 0.5) / height, [1, 1 + 1e-9]])
    lines = contourpy.contour_generator(x, y, whole).lines(level)
    return [np.clip(np.asarray(line), 0, 1) for line in lines if len(line) > 3]


def summit(one: NDArray[np.floating]) -> tuple[float, float]:
    """Where a map (H, W) is highest, as (x, y) in shares of the width and of the height."""
    row, column = np.unravel_index(int(one.argmax()), one.shape)
    return float(column + 0.5) / one.shape[1], float(row + 0.5) / one.shape[0]


@in_house_style
def contact_sheet(
    table: pd.DataFrame,
    folder: Path,
    maps: NDArray[np.floating],
    level: float,
    threshold: float,
    note: str,
    *,
    count: int = 20,
    columns: int = 4,
) -> Figure:
    """The most suspicious images, with an outline around what their maps find strange.

    Args:
        table: rank, path, score, flagged; one row an image, the most suspicious first.
        folder: where the paths start.
        maps: (K, S, S), of the first K rows.
        level: what a map must exceed to be encircled.
        threshold: t of equation 1; scores are given in its units.
        note: what they were made from.
        count: how many images at most.
        columns: images in a row.

    Raises:
        InputError: there is no map, or an image cannot be read any more.
    """
    count = min(count, len(maps), len(table))
    if not count:
        raise InputError("there is nothing to show: the contact sheet needs an image and its map.")
    rows = math.ceil(count / columns)
    cell = WIDTH / columns
    figure = Figure(figsize=(WIDTH, rows * (cell + 0.12) + 0.3))
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid:
        _bare(axes)
    for axes, row, one in zip(grid, table.head(count).itertuples(), maps, strict=False):
        image = read_fitted(folder / str(row.path), EDGE)
        height, width = image.shape[:2]
        axes.imshow(image, interpolation="antialiased", extent=(0, width, height, 0))
        _encircle(axes, one, level, (width, height))
        axes.spines[:].set_visible(True)
        axes.spines[:].set(color=FLAGGED if row.flagged else QUIET, linewidth=2)
        axes.set_xlabel(
            f"{row.rank}   {ratio(float(row.score) / threshold)}",  # type: ignore[arg-type]
            fontsize=9,
            labelpad=2,
            color=FLAGGED if row.flagged else INK,
        )
    return _noted(figure, note)


def _encircle(axes: Axes, one: NDArray[np.floating], level: float, size: tuple[int, int]) -> None:
    """Draw the outlines of a map, or, where it stays below the level, a cross at its peak."""
    halo = [Stroke(linewidth=2.6, foreground="black"), Normal()]
    lines = outlines(one, level)
    for line in lines:
        axes.plot(*(line * size).T, color=CONTOUR, lw=1.2, path_effects=halo)
    if not lines:
        x, y = np.clip(summit(one), 0.05, 0.95) * size  # the whole cross is to be seen
        halo = [Stroke(linewidth=3, foreground="black"), Normal()]
        axes.plot(x, y, "+", color=CONTOUR, ms=9, mew=1.4, path_effects=halo)
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))


def ratio(value: float) -> str:
    """A score in units of t, as "3.20 × t"."""
    if value >= 1000:
        return "> 1000 × t"
    return f"{value:.0f} × t" if value >= 10 else f"{value:.2f} × t"


@in_house_style
def score_curve(table: pd.DataFrame, threshold: float, note: str) -> Figure:
    """The scores of all images in descending order, and the cut at t.

    Args:
        table: score and flagged; one row an image, the most suspicious first.
        threshold: t of equation 1.
        note: what they were made from.

    Raises:
        InputError: a score or the threshold is not positive, which this axis cannot show.
    """
    scores = table["score"].to_numpy(dtype=float) / threshold
    if not (np.isfinite(scores).all() and (scores > 0).all()):
        raise InputError("the curve's axis is logarithmic: scores and t must be positive.")
    flagged = table["flagged"].to_numpy(dtype=bool)
    ranks = np.arange(1, len(scores) + 1)
    figure = Figure(figsize=(WIDTH, 2.9))
    axes = figure.subplots()
    axes.axhline(1, color=INK, lw=1.2)
    for chosen, colour, mark, size in ((~flagged, QUIET, "o", 7), (flagged, FLAGGED, "X", 26)):
        axes.scatter(ranks[chosen], scores[chosen], s=size, c=colour, marker=mark, lw=0)
    count = int(flagged.sum())
    axes.set(yscale="log", xlim=(0, len(scores) + 1))
    low, high = scores.min() / 1.4, max(scores.max(), 1.0) * 1.6
    axes.set(ylim=(low, high), xlabel="rank, the most suspicious first")
    axes.set_ylabel("score, in units of $t$")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, prune="lower"))
    axes.annotate(
        f"cut at $t$: {count} flagged" if count else "cut at $t$: none flagged",
        (len(scores), 1),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
    )
    return _noted(figure, note)


@in_house_style
def found_curve(table: pd.DataFrame, note: str) -> Figure:
    """How many of the defective images are found by going down the list, where they are known.

    Args:
        table: rank, flagged and truth, "anomalous" or not; one row an image, in the order of rank.
        note: what they were made from.

    Raises:
        InputError: no image is known to be anomalous.
    """
    dirty = (table["truth"] == "anomalous").to_numpy()
    k, flagged = int(dirty.sum()), int(table["flagged"].sum())
    if not k:
        raise InputError("no image is known to be anomalous: nothing to find.")
    most = min(len(table), max(4 * k, flagged + k))
    looked = np.arange(most + 1)
    figure = Figure(figsize=(WIDTH, 2.9))
    axes = figure.subplots()
    axes.plot(looked, np.minimum(looked, k), color=QUIET, lw=1, ls=(0, (5, 3)))
    axes.plot(looked, looked * k / len(table), color=QUIET, lw=1, ls=(0, (1, 2)))
    axes.step(looked, np.concatenate([[0], dirty.cumsum()])[: most + 1], where="post", color=LINE)
    axes.axvline(flagged + 0.5, color=INK, lw=1.2)
    axes.text(flagged + 0.5, 0.15, " cut at $t$", va="bottom")
    axes.text(0.55 * k, 0.82 * k, "perfect ", ha="right", color=QUIET)
    axes.text(most, most * k / len(table), "chance", ha="right", va="bottom", color=QUIET)
    axes.set(
        xlim=(0, most), ylim=(0, k * 1.04), xlabel="images looked at, the most suspicious first"
    )
    axes.set_ylabel("defective images found")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _noted(figure, note)
