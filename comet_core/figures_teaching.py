"""Pictures of the toys in `comet_core.teaching`, in the house style of `comet_core.figures`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from comet_core.confidence import confidence_weights, iqr_threshold, quartiles
from comet_core.figures import (
    INK,
    KINDS,
    MARKS,
    QUIET,
    WIDTH,
    _key,
    _legible,
    _noted,
    in_house_style,
)
from comet_core.figures_evidence import look
from comet_core.names import label
from comet_core.teaching import VIEW, Learned, grid

# -- boundaries in the plane -----------------------------------------------------------------------


@in_house_style
def boundaries(learned: Sequence[Learned], note: str) -> Figure:
    """What detectors learned from point sets: a row for each set, a column for each strategy.

    Points are those of the first seed, in proportion to their weights; the heavy line is the
    boundary learned from them, the light ones those of the other seeds. Dashed is the boundary of
    the same strategy in the first row, the same seed.
    """
    contents = list(
        dict.fromkeys((one.settings["boundary"], one.settings["anomalous"]) for one in learned)
    )
    strategies = list(dict.fromkeys(one.settings["strategy"] for one in learned))
    figure = Figure(figsize=(WIDTH, 2.2 * len(contents) + 0.5))
    panels = figure.subplots(len(contents), len(strategies), squeeze=False)
    x, y = grid()
    for row, content in zip(panels, contents, strict=True):
        for axes, strategy in zip(row, strategies, strict=True):
            here = _select(learned, content, strategy)
            reference = _select(learned, contents[0], strategy)[0]
            for one in here[1:]:
                axes.contour(x, y, one.surface, [one.threshold], colors=[QUIET], linewidths=0.7)
            first = here[0]
            _points(axes, first)
            if content != contents[0]:
                level = [reference.threshold]
                axes.contour(
                    x, y, reference.surface, level, colors=INK, linewidths=1.1, linestyles="dashed"
                )
            axes.contour(x, y, first.surface, [first.threshold], colors=INK, linewidths=2)
            axes.text(0.97, 0.95, label(strategy), transform=axes.transAxes, ha="right", va="top")
            axes.set(xlim=VIEW[0], ylim=VIEW[1], xticks=[], yticks=[], aspect="equal")
            for spine in axes.spines.values():
                spine.set_visible(True)
                spine.set_color("#D1D5DB")
        row[0].set_title(f"{content[0]} boundary, {content[1]} anomalous points", fontsize=9.5)
    kinds = [kind for kind in KINDS if any((one.train.kinds == kind).any() for one in learned)]
    handles = [
        Line2D([], [], ls="", marker=MARKS[kind], color=KINDS[kind], label=kind) for kind in kinds
    ]
    handles.append(Line2D([], [], color=INK, lw=2, label="learned line"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), columnspacing=1)
    return _noted(figure, note)


def _select(learned: Sequence[Learned], content: tuple[int, int], strategy: str) -> list[Learned]:
    wanted = (*content, strategy)
    return [
        one
        for one in learned
        if (one.settings["boundary"], one.settings["anomalous"], one.settings["strategy"]) == wanted
    ]


def _points(axes: Axes, learned: Learned) -> None:
    for kind in KINDS:
        here = learned.train.kinds == kind
        size = 24 * learned.weights[here] + 1
        points = learned.train.points[here]
        axes.scatter(
            points[:, 0], points[:, 1], s=size, c=KINDS[kind], marker=MARKS[kind], lw=0, alpha=0.8
        )


@in_house_style
def boundary_curves(table: pd.DataFrame, note: str) -> Figure:
    """AUROC on held-out points, and the weight of anomalous ones, against their number.

    Args:
        table: of `teaching.learned_table`; lines are means over seeds, bands the range.
        note: what it was made from.
    """
    figure = Figure(figsize=(WIDTH, 4.6))
    grid_ = figure.subplots(2, 1, sharex=True)
    named = (("auroc", "AUROC, held-out points"), ("weight_anomalous", "mean weight, anomalous"))
    for axes, (column, title) in zip(grid_, named, strict=True):
        for strategy, group in table.dropna(subset=[column]).groupby("strategy", sort=False):
            course = group.groupby("anomalous")[column].agg(["mean", "min", "max"])
            line = look(str(strategy))
            low, high = course["min"], course["max"]
            axes.fill_between(course.index, low, high, color=line["color"], alpha=0.14, lw=0)
            above = {"zorder": 5 - line["lw"]}  # a thin line shows where it lies on a thick one
            axes.plot(course.index, course["mean"], **line, **above, label=label(str(strategy)))
        axes.set_ylabel(title)
    grid_[0].legend(loc="lower left")
    grid_[1].set(ylim=(0, 1.05), xlabel="anomalous points in the training set")
    grid_[1].xaxis.get_major_locator().set_params(integer=True)
    return _noted(figure, note)


# -- equations 1 and 2 -----------------------------------------------------------------------------


@in_house_style
def weights_at(
    samples: pd.DataFrame, kappas: Sequence[float], note: str, logarithmic: bool = False
) -> Figure:
    """Weight against score, one panel for each kappa: quartiles, threshold and samples.

    Args:
        samples: score and truth, one row a training sample.
        kappas: of equation 1.
        note: what they were made from.
        logarithmic: whether the axis of scores is.
    """
    scores = torch.tensor(samples["score"].to_numpy(dtype=float).copy())
    q1, q3 = (value.item() for value in quartiles(scores))
    figure = Figure(figsize=(WIDTH, 1.75 * len(kappas) + 0.9))
    panels = figure.subplots(len(kappas), 1, sharex=True, squeeze=False)[:, 0]
    low, high = scores.min().item(), scores.max().item()
    low, high = (low / 1.1, high * 1.1) if logarithmic else (0.0, high * 1.06)
    curve = torch.linspace(low, high, 400)
    if logarithmic:
        curve = torch.logspace(math.log10(low), math.log10(high), 400)
    kinds = [kind for kind in KINDS if (samples["truth"] == kind).any()]
    for axes, kappa in zip(panels, kappas, strict=True):
        t = iqr_threshold(scores, kappa)
        axes.axvspan(q1, q3, color="#000000", alpha=0.08, lw=0)
        axes.axvline(t.item(), color=INK, lw=1, ls=(0, (5, 3)))
        axes.plot(curve, confidence_weights(curve, t), color=QUIET, lw=1.2)
        weights = confidence_weights(scores, t)
        for kind in kinds:
            of_kind = torch.tensor((samples["truth"] == kind).tolist())
            colour, mark = KINDS[kind], MARKS[kind]
            axes.scatter(
                scores[of_kind], weights[of_kind], s=26, c=colour, marker=mark, lw=0, alpha=0.8
            )
        axes.set(ylim=(0, 1.12), ylabel="weight $w$", title=rf"$\kappa$ = {kappa:g}")
        if logarithmic:
            axes.set_xscale("log")
            ticks = [m * 10.0**e for e in range(-6, 7) for m in (1, 2, 5)]
            ticks = _legible([tick for tick in ticks if low < tick < high], high / low)
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set_xlim(low, high)
        if t.item() < high:
            axes.text(t.item(), 0.2, " $t$", color=INK)
        axes.text(q1, 0.05, "$Q_1$ ", ha="right")
        axes.text(q3, 0.05, " $Q_3$")
    panels[-1].set_xlabel("anomaly score $a$" + (" (logarithmic)" if logarithmic else ""))
    if kinds != ["unknown"]:
        _key(figure, kinds)
    return _noted(figure, note)
