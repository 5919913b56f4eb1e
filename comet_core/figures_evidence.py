"""Figures of the evidence: what contamination costs, and what CoMet gains on its baseline."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from comet_core import model_uncertainty
from comet_core.errors import InputError
from comet_core.evidence import BASELINE, DETECTORS, METHOD
from comet_core.figures import INK, LINES, QUIET, WIDTH, _noted, in_house_style
from comet_core.names import data_names, label
from comet_core.noise import curves, lowest, ordered, setting_the_scale
from comet_core.scaling import lines

LOOKS: dict[str, dict[str, Any]] = {
    "plain": {"color": INK, "marker": "o", "ls": "-", "lw": 1.8},
    "reject": {"color": "#228833", "marker": "s", "ls": (0, (4, 1.5)), "lw": 1.2},
    "soft": {"color": "#CC8800", "marker": "^", "ls": (0, (4, 1.5)), "lw": 1.2},
    "meta": {"color": "#AA3377", "marker": "D", "ls": (0, (1.5, 1)), "lw": 1.2},
    "comet": {"color": "#0077BB", "marker": "o", "ls": "-", "lw": 2.2},
    "comet+": {"color": "#EE6677", "marker": "v", "ls": "-", "lw": 1.6},
    "memory_bank": {"color": QUIET, "marker": "P", "ls": (0, (1, 1.5)), "lw": 1.2},
    "softpatch": {"color": "#33BBEE", "marker": "X", "ls": (0, (1, 1.5)), "lw": 1.2},
}
"""How each method is drawn, on paper and on screen: no two share colour and marker."""
BANDED = (BASELINE, METHOD)
"""Methods whose interval is a band; the others have bars, or nobody could tell them apart."""


def look(method: str) -> dict[str, Any]:
    """Colour, marker and line of a method; one that has no place in `LOOKS` gets its own."""
    if method in LOOKS:
        return LOOKS[method]
    place = sum(map(ord, method)) % len(LINES)
    return {"color": LINES[place], "marker": "*", "ls": "-.", "lw": 1.2}


@in_house_style
def noise_curves(rows: pd.DataFrame, note: str) -> Figure:
    """I-AUROC against contamination, one panel for each detector (row) and data set (column).

    Args:
        rows: of `noise.prepared`; runs with overlap are left out.
        note: what they were made from.

    Returns:
        A figure with a line through the means of each method; 95 % intervals over the seeds, a band
        for the plain detector and CoMet, a bar for the others. An interval beyond 1 is cut there. A
        row has one scale, see `noise.setting_the_scale`.

    Raises:
        InputError: no run without overlap.
    """
    points = curves(rows[~rows["overlap"].astype(bool)])
    figure, panels = _panels(points, rows)
    methods = ordered(points["method"])
    for axes, part in panels:
        for place, method in enumerate(methods):
            one = part[part["method"] == method]
            shift = (place - (len(methods) - 1) / 2) * 0.12
            _line(axes, one, look(method), shift=0 if method in BANDED else shift)
    _methods_key(figure, methods)
    return _noted(figure, note)


@in_house_style
def overlap_curves(rows: pd.DataFrame, note: str) -> Figure:
    """The same with injected images left in the test set (open marks) and taken out of it (full).

    Args:
        rows: of `noise.prepared`, runs of both protocols; methods that lack one are left out.
        note: what they were made from.
    """
    under = [set(rows.loc[rows["overlap"] == overlap, "method"]) for overlap in (False, True)]
    points = curves(rows[rows["method"].isin(under[0] & under[1])])
    figure, panels = _panels(points, rows)
    methods = ordered(points["method"])
    for axes, part in panels:
        for method, overlap in itertools.product(methods, (False, True)):
            one = part[(part["method"] == method) & (part["overlap"] == overlap)]
            style = {**look(method), "ls": (0, (2, 1.5)) if overlap else "-"}
            style |= {"markerfacecolor": "white"} if overlap else {}
            _line(axes, one, style, shift=0, band=not overlap)
    handles = [_handle(look(method), label(method)) for method in methods]
    quiet = {"color": QUIET, "marker": "o", "lw": 1.5}
    handles.append(_handle({**quiet, "ls": "-"}, "injected images leave the test set"))
    open_marks = {**quiet, "ls": (0, (2, 1.5)), "markerfacecolor": "white"}
    handles.append(_handle(open_marks, "they stay in it"))
    figure.legend(handles=handles, loc="outside upper left", ncols=2, handlelength=2.4)
    return _noted(figure, note)


def _grid(
    points: pd.DataFrame,
    rows: pd.DataFrame,
    sharex: bool | Literal["row"] = True,
    sharey: bool | Literal["row"] = True,
) -> tuple[Figure, np.ndarray, list[tuple[Axes, pd.DataFrame]]]:
    """A figure with axes for each detector (row) and data set (column), and the points of each."""
    datasets = list(dict.fromkeys(rows["dataset"]))
    known = [name for name in DETECTORS if name in set(points["detector"])]
    detectors = [*known, *sorted(set(points["detector"]) - set(known))]
    figure = Figure(figsize=(WIDTH, 2.05 * len(detectors) + 1.05))
    lines, columns = len(detectors), len(datasets)
    grid = figure.subplots(lines, columns, sharex=sharex, sharey=sharey, squeeze=False)
    names = data_names(rows)
    panels = []
    for (detector, line), column in itertools.product(
        zip(detectors, grid, strict=True), range(columns)
    ):
        axes, dataset = line[column], datasets[column]
        axes.set_title(f"{label(detector)}, {names[dataset]}", fontsize=9)
        axes.grid(axis="y", color="#E5E7EB", lw=0.8)
        axes.set_axisbelow(True)
        part = points[(points["dataset"] == dataset) & (points["detector"] == detector)]
        panels.append((axes, part))
    return figure, grid, panels


def _panels(
    points: pd.DataFrame, rows: pd.DataFrame
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """The figure of `_grid` for I-AUROC against contamination."""
    if points.empty:
        raise InputError("there are no runs to draw curves of; run the grid of `evidence.curves`.")
    figure, grid, panels = _grid(points, rows, sharey="row")
    for number, line in enumerate(grid):
        line[0].set_ylabel("I-AUROC")
        of_row = [part for _, part in panels[number * len(line) : (number + 1) * len(line)]]
        line[0].set_ylim(*_limits(pd.concat(of_row)))
    for axes in grid[-1]:
        axes.set_xlabel("injected anomalies / %")
    levels = sorted(100 * points["contamination"].unique())
    grid[0, 0].set_xticks(levels, [f"{level:g}" for level in levels])
    return figure, panels


def _limits(points: pd.DataFrame) -> tuple[float, float]:
    """From below what is to be seen to 1, or just above it; a fifth of the height is left."""
    low = lowest(setting_the_scale(points))
    return max(0.0, low - max(0.01, 0.2 * (1 - low))), 1 + 0.04 * (1 - low)


def _line(
    axes: Axes, one: pd.DataFrame, style: dict[str, Any], shift: float, band: bool | None = None
) -> None:
    """A method's means, with its intervals where there are several seeds."""
    if one.empty:
        return
    x = 100 * one["contamination"] + shift
    if band or (band is None and one["method"].iloc[0] in BANDED):
        axes.fill_between(x, one["low"], one["high"], color=style["color"], alpha=0.13, lw=0)
    else:
        axes.vlines(x, one["low"], one["high"], color=style["color"], lw=0.8, alpha=0.55)
    axes.plot(x, one["mean"], ms=4, **style)


def _handle(style: dict[str, Any], name: str) -> mpl.lines.Line2D:
    return mpl.lines.Line2D([], [], ms=5, label=name, **style)


def _methods_key(figure: Figure, methods: Sequence[str]) -> None:
    handles = [_handle(look(method), label(method)) for method in methods]
    columns = len(methods) if len(methods) < 6 else -(-len(methods) // 2)
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        handlelength=2.2,
        columnspacing=1.2,
    )


@in_house_style
def differences(table: pd.DataFrame, note: str) -> Figure:
    """What CoMet gains on its baseline, metric by metric: measured, and as the paper reports it.

    Args:
        table: of `tables.beside`.
        note: what it was made from.

    Returns:
        A figure with one panel for each data set and detector. An arrow at the edge stands for an
        interval that goes on beyond it.
    """
    groups = list(table.groupby(["data", "detector"], sort=False))
    columns = min(2, len(groups))
    lines = -(-len(groups) // columns)
    metrics = list(dict.fromkeys(table["metric"]))
    height = lines * (0.24 * len(metrics) + 0.5) + 1.1
    figure = Figure(figsize=(WIDTH, height))
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    means = 100 * table[["measured_difference", "reported_difference"]].abs().to_numpy()
    ends = 100 * table[["measured_difference_low", "measured_difference_high"]].abs().to_numpy()
    long = np.quantile(ends[~np.isnan(ends)], 0.75) if not np.isnan(ends).all() else 0.0
    reach = max(1.0, 1.15 * float(np.nanmax(means)), 1.05 * float(long))
    for axes in grid[len(groups) :]:
        axes.set_visible(False)
    for axes, ((data, detector), part) in zip(grid, groups, strict=False):
        axes.set_title(f"{label(str(detector))}, {data}", fontsize=9)
        axes.axvline(0, color=QUIET, lw=1)
        for row in part.to_dict("records"):
            y = metrics.index(row["metric"])
            low, high = (100 * row[f"measured_difference_{end}"] for end in ("low", "high"))
            color = look(METHOD)["color"]
            axes.plot([max(low, -reach), min(high, reach)], [y, y], color=color, lw=1.8)
            for end, marker in ((low, "<"), (high, ">")):
                if abs(end) > reach:
                    edge = [math.copysign(reach, end)]
                    axes.plot(edge, [y], marker, color=color, ms=4, clip_on=False)
            axes.plot([100 * row["measured_difference"]], [y], "o", color=color, ms=5)
            axes.plot(
                [100 * row["reported_difference"]], [y], "D", mfc="white", mec=INK, ms=4.5, zorder=3
            )
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    grid[0].set_yticks(range(len(metrics)), [label(metric) for metric in metrics])
    grid[0].set(xlim=(-reach, reach), ylim=(len(metrics) - 0.5, -0.5))
    for axes in grid[max(0, len(groups) - columns) : len(groups)]:
        axes.set_xlabel("CoMet minus plain / points")
        axes.tick_params(labelbottom=True)
    measured = {"color": look(METHOD)["color"], "marker": "o", "lw": 1.8, "ls": "-"}
    printed = {"color": INK, "marker": "D", "mfc": "white", "ls": ""}
    handles = [_handle(measured, "measured here"), _handle(printed, "reported in the paper")]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return _noted(figure, note)


@in_house_style
def scaling(training: pd.DataFrame, extraction: pd.DataFrame, note: str) -> Figure:
    """Measured core seconds over the number of images, and the lines that estimates go along.

    Args:
        training: of `scaling.training_times`; extraction: of `scaling.extraction_times`.
        note: what they were measured on.
    """
    figure = Figure(figsize=(WIDTH, 3.0))
    panels = figure.subplots(1, 2)
    colours = dict(zip(DETECTORS, ("#AA3377", "#0077BB"), strict=True))
    for axes, times, title in zip(
        panels, (extraction, training), ("features, once", "one epoch"), strict=True
    ):
        for line in lines(times).to_dict("records"):
            method = line.get("strategy", BASELINE)
            of = times[times["detector"] == line["detector"]]
            of = of[of["strategy"] == method] if "strategy" in of else of
            colour, dashed = colours.get(line["detector"], INK), method != BASELINE
            ends = np.array([0, times["images"].max() * 1.08])
            seconds = line["fixed_seconds"] + line["seconds_per_image"] * ends
            axes.plot(ends, seconds, color=colour, lw=1.3, ls=(0, (4, 1.5)) if dashed else "-")
            axes.plot(of["images"], of["seconds"], "s" if dashed else "o", color=colour, ms=4.5)
        axes.set(title=title, xlabel="images", xlim=(0, None), ylim=(0, None))
    panels[0].set_ylabel("core seconds")
    looks: list[dict[str, Any]] = [{"ls": "-", "marker": "o"}, {"ls": (0, (4, 1.5)), "marker": "s"}]
    shown = [(name, which) for name in colours for which in (0, 1)]
    handles = [
        _handle(
            {"color": colours[name], **looks[which]}, f"{label(name)}, {('plain', 'CoMet')[which]}"
        )
        for name, which in shown
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, handlelength=2.4)
    return _noted(figure, note)


@in_house_style
def uncertainty_courses(table: pd.DataFrame, note: str) -> Figure:
    """det Sigma over the epochs, one panel for each detector (row) and data set (column).

    Args:
        table: of `model_uncertainty.courses`; its lowest and highest contamination are drawn.
        note: what the runs were made from.

    Returns:
        A figure with a line for each strategy and level: geometric means, and the range over seeds
        and categories as a band. Epochs before the first two pairs of losses are left out.

    Raises:
        InputError: no run that measures det Sigma.
    """
    if table.empty:
        raise InputError("no run measures det Sigma; run strategy meta or comet.")
    clean, dirty = model_uncertainty.ends(table)
    dashes: dict[float, Any] = {clean: (0, (2, 1)), dirty: "-"}
    shown = table[table["contamination"].isin(dashes) & (table["det_sigma"] > 0)]
    methods = ordered(table["strategy"])
    bounds = shown["det_sigma"].quantile(0.01) / 2, 2 * shown["det_sigma"].max()
    figure, grid, panels = _grid(shown, table, sharex="row")
    for axes, here in panels:
        axes.set(yscale="log", ylim=bounds)
        for method, level in itertools.product(methods, dashes):
            one = here[(here["strategy"] == method) & (here["contamination"] == level)]
            logs = np.log(one["det_sigma"].astype(float)).groupby(one["epoch"])
            course = np.exp(logs.agg(["mean", "min", "max"]))
            colour = look(method)["color"]
            axes.fill_between(course.index, course["min"], course["max"], color=colour, alpha=0.12)
            axes.plot(course.index, course["mean"], color=colour, ls=dashes[level])
    for axes in grid.flat:
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in grid[:, 0]:
        axes.set_ylabel(r"$\det\,\Sigma$")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    handles = [_handle({"color": look(one)["color"]}, label(one)) for one in methods]
    for level, style in dashes.items():
        handles.append(_handle({"color": QUIET, "ls": style}, f"{100 * level:g} %"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), handlelength=2.2)
    return _noted(figure, note)
