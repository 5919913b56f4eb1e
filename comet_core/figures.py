"""Every picture of the book: a DataFrame in, a matplotlib Figure out, in one house style.

Colours are P. Tol's high-contrast scheme, which colour-blind readers and grey printers can tell
apart; kinds of samples also differ by shape. Figures are drawn narrow, so that their text can be
read on a phone. The line under a figure says what it was made from and belongs to it; in the book
it ends the caption.
"""

from __future__ import annotations

import functools
import itertools
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from comet_core import metrics
from comet_core.confidence import iqr_threshold, quartiles
from comet_core.errors import InputError
from comet_core.images import read_image, resize

WIDTH = 5.2
"""Inches."""
KINDS = {"nominal": "#004488", "boundary": "#DDAA33", "anomalous": "#BB5566", "unknown": "#777777"}
"""Colours of the kinds of samples."""
MARKS = {"nominal": "o", "boundary": "D", "anomalous": "X", "unknown": "o"}
QUIET, INK = "#6B7280", "#1F2937"
LINES = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#444444")
"""Colours of whatever else has to be told apart: P. Tol's bright scheme."""
THUMBNAIL = 192
SCORES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 100)
WEIGHTS = (0.7, 0.5, 0.3, 0.2, 0.1, 0.01, 0.001)

STYLE: dict[str, Any] = {
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=LINES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "font.size": 9.5,
    "legend.frameon": False,
    "svg.hashsalt": "comet",
    "text.color": INK,
    "xtick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.color": QUIET,
    "ytick.labelcolor": INK,
}

Drawing = Callable[..., Figure]


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save with `STYLE`, whatever the caller's settings are, and leave those alone."""
    settings: dict[Any, Any] = {**mpl.rcParamsDefault, **STYLE, "backend": mpl.get_backend()}
    with mpl.rc_context(settings):
        yield


def in_house_style(draw: Drawing) -> Drawing:
    """Put a drawing function within `house_style`."""

    @functools.wraps(draw)
    def drawn(*args: Any, **options: Any) -> Figure:
        with house_style():
            figure = draw(*args, **options)
            figure.draw_without_rendering()  # a layout needs two rounds; saving is the second
            return figure

    return drawn


@in_house_style
def weight_gallery(samples: pd.DataFrame, note: str, columns: int = 6) -> Figure:
    """Training images of each category with their confidence weights.

    Of each kind the highest and the lowest weight are shown, and those evenly spaced in rank
    between them where there are more columns than that, so nobody has picked them.

    Args:
        samples: category, path, truth, score, weight; one row a training image.
        note: what they were made from.
        columns: images in a row, divided among the kinds.
    """
    categories, kinds = _groups(samples)
    each = max(1, columns // len(kinds))
    cell = WIDTH / (each * len(kinds))
    height = len(categories) * (cell + 0.42) + 0.75
    figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(h_pad=0.08))
    grid = figure.subplots(len(categories), each * len(kinds), squeeze=False)
    for line, category in zip(grid, categories, strict=True):
        of_category = samples[samples["category"] == category]
        for position, kind in enumerate(kinds):
            chosen = evenly(of_category[of_category["truth"] == kind], each)
            for axes in line[position * each : (position + 1) * each]:
                _bare(axes)
            for axes, sample in zip(line[position * each :], chosen.itertuples(), strict=False):
                _thumbnail(axes, sample, bar=True)
        next((axes for axes in line if axes.images), line[0]).set_title(category)
    _key(figure, kinds)
    return _noted(figure, note)


@in_house_style
def weight_strips(samples: pd.DataFrame, note: str, images: int = 8) -> Figure:
    """All training images of each category in the order of trust, and some of them to look at.

    A tick is an image, the least trusted on the left; above, images evenly spaced along the order.
    """
    categories, kinds = _groups(samples)
    cell = WIDTH / images
    figure = Figure(figsize=(WIDTH, len(categories) * (cell + 0.85) + 0.75))
    parts = figure.subfigures(len(categories), 1, squeeze=False)[:, 0]
    for part, category in zip(parts, categories, strict=True):
        ordered = samples[samples["category"] == category].sort_values("score", ascending=False)
        grid = part.add_gridspec(2, images, height_ratios=[cell, 0.26])
        shown = np.linspace(0, len(ordered) - 1, images).round().astype(int)
        for column, rank in enumerate(shown):
            axes = part.add_subplot(grid[0, column])
            _bare(axes)
            _thumbnail(axes, next(ordered.iloc[[rank]].itertuples()), bar=False)
        part.axes[0].set_title(category, fontsize=10)
        ranks = part.add_subplot(grid[1, :])
        for kind in kinds:
            places = np.flatnonzero(ordered["truth"] == kind)
            rare = kind in ("boundary", "anomalous")
            ranks.vlines(places, 0, 1 if rare else 0.55, color=KINDS[kind], lw=1.6 if rare else 1)
        ranks.set(xlim=(-1, len(ordered)), ylim=(0, 1), xticks=[0, len(ordered) - 1], yticks=[])
        ranks.set_xticklabels(["least trusted", "most trusted"])
        ranks.get_xticklabels()[0].set_horizontalalignment("left")
        ranks.get_xticklabels()[1].set_horizontalalignment("right")
        ranks.tick_params(length=0)
        ranks.spines[["left", "bottom"]].set_visible(False)
    _key(figure, kinds)
    return _noted(figure, note)


@in_house_style
def score_distribution(samples: pd.DataFrame, note: str, kappa: float = 1.5) -> Figure:
    """Training scores of each category with Q1, Q3 and t of equation 1, and the weight's curve.

    Scores are divided by t, so that t is 1 for all; beyond it lies what is trusted less. The axis
    is logarithmic, as equation 2 is about ratios.
    """
    categories, kinds = _groups(samples)
    figure = Figure(figsize=(WIDTH, 1.25 * len(categories) + 1.15))
    grid = figure.subplots(len(categories), 1, sharex=True, squeeze=False)[:, 0]
    rng = np.random.default_rng(0)
    lowest, highest = 0.7, 1.4
    for axes, category in zip(grid, categories, strict=True):
        of_category = samples[samples["category"] == category]
        scores = torch.tensor(of_category["score"].to_numpy(dtype=float).copy())
        t = iqr_threshold(scores, kappa).item()
        low, high = (value.item() / t for value in quartiles(scores))
        lowest = min(lowest, max(scores.min().item() / t, 1e-3) / 1.15)
        highest = max(highest, scores.max().item() / t * 1.15)
        axes.axvspan(low, high, color="#000000", alpha=0.08, lw=0)
        axes.axvline(1, color=INK, lw=1.2)
        for place, kind in enumerate(kinds):
            found = of_category.loc[of_category["truth"] == kind, "score"].to_numpy() / t
            spread = place + rng.uniform(-0.28, 0.28, len(found))
            axes.scatter(found, spread, s=14, c=KINDS[kind], marker=MARKS[kind], lw=0, alpha=0.75)
        axes.set(title=category, yticks=range(len(kinds)), yticklabels=kinds)
        axes.set_ylim(len(kinds) - 0.4, -1.3)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        for x, name, side in ((low, "$Q_1$ to $Q_3$ ", "right"), (1, " $t$", "left")):
            axes.text(x, -0.75, name, ha=side, va="center", fontsize=9)
    grid[-1].set(xscale="log", xlim=(lowest, highest))
    grid[-1].set_xlabel("anomaly score, in units of the threshold $t$ (logarithmic)")
    above = grid[0].secondary_xaxis("top")
    for axis, ticks, power in ((grid[-1], SCORES, 1), (above, WEIGHTS, -1)):
        shown = _legible(
            [tick for tick in ticks if lowest < tick**power < highest], highest / lowest
        )
        axis.set_xticks([tick**power for tick in shown], [f"{tick:g}" for tick in shown])
        axis.minorticks_off()
    above.set_xlabel("weight $w$", loc="right")
    return _noted(figure, note)


def _legible(ticks: Sequence[float], span: float) -> list[float]:
    """Ticks of a logarithmic axis that leave room for their labels, powers of ten first."""
    kept: list[float] = []
    for tick in sorted(ticks, key=lambda one: (math.log10(one) % 1 > 1e-9, abs(math.log(one)))):
        room = 0.07 * math.log(span)
        if all(abs(math.log(tick / other)) > room for other in kept):
            kept.append(tick)
    return kept


@in_house_style
def dirt_found(samples: pd.DataFrame, note: str) -> Figure:
    """Precision among the k least trusted images: how well weights tell where the dirt is.

    k runs in units of the number of anomalous images, so that categories compare; dashed is what
    perfect weights and dotted what chance would reach.
    """
    figure = Figure(figsize=(WIDTH, 3.1))
    axes = figure.subplots()
    shares = []
    looks = itertools.product(("-", "--", "-.", ":"), LINES)
    for category, (style, colour) in zip(dict.fromkeys(samples["category"]), looks, strict=False):
        of_category = samples[samples["category"] == category]
        dirty = (of_category["truth"] == "anomalous").to_numpy().astype(int)
        if not dirty.any() or dirty.all():
            continue
        ks = np.arange(1, min(len(dirty), 3 * dirty.sum()) + 1)
        found = [metrics.precision_at_k(dirty, of_category["score"], int(k)) for k in ks]
        axes.plot(ks / dirty.sum(), found, color=colour, ls=style, lw=1.8, label=category)
        shares.append(dirty.mean())
    if not shares:
        raise InputError("no anomalous image is known among the training images: nothing to find.")
    k = np.linspace(0.01, 3, 200)
    axes.plot(k, np.minimum(1, 1 / k), color=QUIET, lw=1, ls=(0, (5, 3)))
    axes.axhline(float(np.mean(shares)), color=QUIET, lw=1, ls=(0, (1, 2)))
    axes.set(xlim=(0, 3), ylim=(0, 1.03), ylabel="share that is anomalous")
    axes.set_xlabel("images looked at, least trusted first, per anomalous image")
    axes.text(1.5, 0.7, "perfect", color=QUIET)
    axes.text(3.03, float(np.mean(shares)), "chance", va="center", color=QUIET)
    figure.legend(loc="outside upper left", ncols=min(len(shares), 3))
    return _noted(figure, note)


@in_house_style
def weight_history(weights: pd.DataFrame, note: str) -> Figure:
    """Mean weight of each kind of image over the epochs, with a band of one standard deviation.

    Args:
        weights: category, epoch, truth, weight; one row a refresh and image.
        note: what they were made from.
    """
    categories, kinds = _groups(weights)
    figure = Figure(figsize=(WIDTH, 1.35 * len(categories) + 0.95))
    grid = figure.subplots(len(categories), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, category in zip(grid, categories, strict=True):
        for kind in kinds:
            one = weights[(weights["category"] == category) & (weights["truth"] == kind)]
            course = one.groupby("epoch")["weight"].agg(["mean", "std"]).fillna(0)
            low, high = course["mean"] - course["std"], course["mean"] + course["std"]
            axes.fill_between(
                course.index, low.clip(0), high.clip(0, 1), color=KINDS[kind], alpha=0.15, lw=0
            )
            axes.plot(course.index, course["mean"], color=KINDS[kind], marker=MARKS[kind], ms=3.5)
        axes.set(title=category, ylim=(0, 1.05), ylabel="weight $w$")
    grid[-1].set_xlabel("epoch")
    grid[-1].xaxis.get_major_locator().set_params(integer=True)
    _key(figure, kinds)
    return _noted(figure, note)


def evenly(samples: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most `count` samples evenly spaced in rank, from the most to the least trusted."""
    ordered = samples.sort_values(["score", "path"])
    ranks = np.linspace(0, len(ordered) - 1, min(count, len(ordered)))
    return ordered.iloc[ranks.round().astype(int)]


def _groups(samples: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The categories in their order, and the kinds that occur, in the order of `KINDS`."""
    kinds = [kind for kind in KINDS if (samples["truth"] == kind).any()]
    return list(dict.fromkeys(samples["category"])), kinds


def _thumbnail(axes: Axes, sample: Any, bar: bool) -> None:
    """An image in a frame of its kind's colour, its weight as a number and, maybe, a bar."""
    image = resize(read_image(sample.path), THUMBNAIL)
    axes.imshow(image, interpolation="antialiased", extent=(0, 1, 0, 1))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    colour = KINDS[sample.truth]
    axes.spines[:].set_visible(True)
    axes.spines[:].set(color=colour, linewidth=2)
    weight = f"{sample.weight:.2f}" if sample.weight >= 0.01 else "< 0.01"  # a weight is never 0
    axes.set_xlabel(weight, fontsize=9, labelpad=9 if bar else 2)
    if bar:
        options: dict[str, Any] = {
            "transform": axes.transAxes,
            "clip_on": False,
            "solid_capstyle": "butt",
        }
        axes.plot([0, 1], [-0.085, -0.085], color="#D1D5DB", lw=3, **options)
        axes.plot([0, sample.weight], [-0.085, -0.085], color=colour, lw=3, **options)
        axes.set(xlim=(0, 1), ylim=(0, 1))


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)


def _key(figure: Figure, kinds: Sequence[str]) -> None:
    """A legend of the kinds of samples, above everything."""
    handles = [
        mpl.lines.Line2D([], [], ls="", marker=MARKS[kind], color=KINDS[kind], label=kind)
        for kind in kinds
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(kinds), handletextpad=0.2)


def _noted(figure: Figure, note: str) -> Figure:
    """Write what a figure was made from under it."""
    figure.supxlabel(
        textwrap.fill(note, 88, break_on_hyphens=False),
        x=0.01,
        ha="left",
        fontsize=7.5,
        color=QUIET,
    )
    return figure


def take_note(figure: Figure) -> str:
    """What a figure was made from, which is then no longer written under it; "" if nothing is."""
    note = " ".join(figure.get_supxlabel().split())
    figure.supxlabel("")
    return note
