"""Figures of what lies beyond the paper: weightings compared, and false discoveries counted."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from comet_core.beyond import BEST, KEYS, ORACLE, PLAIN, curves, ordered
from comet_core.errors import InputError
from comet_core.figures import INK, KINDS, LINES, MARKS, QUIET, WIDTH, _noted, in_house_style
from comet_core.names import data_names, label

COLOURS = {PLAIN: INK, BEST: "#EE6677", ORACLE: "#228833"}
"""Of the methods that stand out; the others are blue."""
OTHER = "#4477AA"
SPAN = 20.0
"""Points from plain training at which the colours end."""


@in_house_style
def weightings(rows: pd.DataFrame, note: str) -> Figure:
    """I-AUROC of every method, a line each, a panel for each contamination; blocks by detector.

    Args:
        rows: of `beyond.prepared`.
        note: what they were made from.

    Returns:
        A figure with means and 95 % intervals over the seeds. Lines down from plain and oracle
        bound the gap that weights can close.

    Raises:
        InputError: there are no runs.
    """
    if rows.empty:
        raise InputError("there are no runs to compare weightings with; run `beyond.grids`.")
    points, names = curves(rows), data_names(rows)
    methods = ordered(points["method"])
    levels = sorted(points["contamination"].unique())
    blocks = list(dict.fromkeys(zip(rows["dataset"], rows["detector"], strict=True)))
    height = len(blocks) * (0.19 * len(methods) + 0.6) + 0.6
    figure = Figure(figsize=(WIDTH, height))
    parts = figure.subfigures(len(blocks), 1, squeeze=False)[:, 0]
    for block, (dataset, detector) in zip(parts, blocks, strict=True):
        line = block.subplots(1, len(levels), sharey=True, sharex=True, squeeze=False)[0]
        here = points[(points["dataset"] == dataset) & (points["detector"] == detector)]
        for axes, level in zip(line, levels, strict=True):
            part = here[here["contamination"] == level].set_index("method")
            for method in (PLAIN, ORACLE):
                if method in part.index:
                    axes.axvline(part.loc[method, "mean"], color=COLOURS[method], lw=0.8, alpha=0.6)
            for place, method in enumerate(methods):
                if method not in part.index:
                    continue
                mean, low, high = part.loc[method, ["mean", "low", "high"]].astype(float)
                colour = COLOURS.get(method, OTHER)
                axes.plot([low, min(high, 1.0)], [place, place], color=colour, lw=1.2, alpha=0.6)
                axes.plot([mean], [place], "o", color=colour, ms=4.5)
            axes.set_title(f"{100 * level:g} %", fontsize=9)
            axes.grid(axis="x", color="#E5E7EB", lw=0.8)
            axes.set_axisbelow(True)
            axes.tick_params(axis="y", length=0)
            axes.locator_params(axis="x", nbins=3)
            axes.spines["left"].set_visible(False)
        lowest = here["mean"].min()
        line[0].set(xlim=(max(0.0, float(lowest) - 0.06), 1.02), ylim=(len(methods) - 0.5, -0.5))
        line[0].set_yticks(range(len(methods)), [label(method) for method in methods])
        block.supxlabel(f"I-AUROC; {names[str(dataset)]}, {label(detector)}", fontsize=10)
    return _noted(figure, note)


@in_house_style
def everywhere(rows: pd.DataFrame, note: str) -> Figure:
    """I-AUROC of every method on every data set at every level, coloured by what plain loses.

    Args:
        rows: of `beyond.prepared` or of the record, whose "dataset" is what is written above.
        note: what they were made from.

    Returns:
        A figure with a panel for each detector: methods below each other, data sets beside each
        other, levels within them. Numbers are percent; green cells lie above plain training at the
        same level, purple ones below.

    Raises:
        InputError: there are no runs.
    """
    if rows.empty:
        raise InputError("there are no runs to compare weightings with; run `beyond.grids`.")
    points = curves(rows)
    methods, detectors = ordered(points["method"]), list(dict.fromkeys(rows["detector"]))
    columns = [
        (dataset, level)
        for dataset in dict.fromkeys(rows["dataset"])
        for level in sorted(points.loc[points["dataset"] == dataset, "contamination"].unique())
    ]
    figure = Figure(figsize=(WIDTH, len(detectors) * (0.19 * len(methods) + 0.75) + 0.5))
    grid = figure.subplots(len(detectors), 1, squeeze=False)[:, 0]
    for axes, detector in zip(grid, detectors, strict=True):
        part = points[points["detector"] == detector]
        table = part.pivot_table(
            index="method", columns=["dataset", "contamination"], values="mean"
        )
        table = table.reindex(index=methods, columns=pd.MultiIndex.from_tuples(columns))
        values = 100 * table.to_numpy()
        ahead = values - 100 * table.loc[PLAIN].to_numpy()
        # As vectors; an image would be shown as a photograph is.
        centres = np.arange(len(columns)), np.arange(len(methods))
        colours = axes.pcolormesh(*centres, ahead, cmap="PRGn", vmin=-SPAN, vmax=SPAN)
        axes.invert_yaxis()
        for (y, x), value in np.ndenumerate(values):
            if value == value:
                deep = abs(ahead[y, x]) > 0.7 * SPAN
                axes.text(
                    x, y, f"{value:.0f}", ha="center", va="center", fontsize=7.5,
                    color="white" if deep else INK,
                )  # fmt: skip
        axes.set_yticks(range(len(methods)), [label(method) for method in methods], fontsize=8)
        for name, tick in zip(methods, axes.get_yticklabels(), strict=True):
            tick.set_fontweight("bold" if name == BEST else "normal")
        axes.set_xticks(
            range(len(columns)), [f"{100 * level:g}" for _, level in columns], fontsize=8
        )
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        starts = [i for i, (name, _) in enumerate(columns) if not i or columns[i - 1][0] != name]
        for start, end in itertools.pairwise([*starts, len(columns)]):
            axes.text(
                start - 0.4, -0.7, _heading(str(columns[start][0]), end - start),
                fontsize=8, ha="left", va="bottom", color=INK,
            )  # fmt: skip
            if start:
                axes.axvline(start - 0.5, color="white", lw=3)
        axes.set_ylabel(label(detector), fontsize=9.5, color=INK)
    grid[-1].set_xlabel("anomalous training images, % of the nominal ones")
    bar = figure.colorbar(colours, ax=list(grid), fraction=0.02, pad=0.01, extend="both")
    bar.set_label("points above plain", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return _noted(figure, note)


def _heading(name: str, columns: int) -> str:
    """A name in lines as long as so many columns are wide."""
    return textwrap.fill(name, 4 * columns + 2, break_on_hyphens=False)


@in_house_style
def who_is_kept(table: pd.DataFrame, note: str) -> Figure:
    """Mean weight in the last epoch of each kind of image, by method.

    Args:
        table: of `beyond.kept`, of one contamination.
        note: what it was made from.
    """
    kinds = [kind for kind in KINDS if kind in table]
    methods = ordered(table["method"])
    panels = list(table.groupby(KEYS[:2], sort=False))
    figure = Figure(figsize=(WIDTH, len(panels) * (0.19 * len(methods) + 0.55) + 0.75))
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, ((_, detector), part) in zip(grid, panels, strict=True):
        means = part.groupby("method")[kinds].mean()
        for (place, method), (shift, kind) in itertools.product(
            enumerate(methods), enumerate(kinds)
        ):
            if method in means.index:
                axes.plot(
                    [means.loc[method, kind]],
                    [place + 0.22 * (shift - (len(kinds) - 1) / 2)],
                    MARKS[kind],
                    color=KINDS[kind],
                    ms=5,
                    clip_on=False,
                )
        axes.set_title(label(str(detector)), fontsize=9)
        axes.set_yticks(range(len(methods)), [label(method) for method in methods])
        axes.set(xlim=(0, 1), ylim=(len(methods) - 0.5, -0.5))
        axes.grid(color="#E5E7EB", lw=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    grid[-1].set_xlabel("mean weight in the last epoch")
    handles = [
        mpl.lines.Line2D([], [], ls="", marker=MARKS[kind], color=KINDS[kind], label=kind)
        for kind in kinds
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return _noted(figure, note)


@in_house_style
def false_discoveries(table: pd.DataFrame, note: str) -> Figure:
    """The realised false-discovery rate against the one that was asked for.

    Args:
        table: nominal (the distribution), contamination, level, fdr, low, high; one row a point.
        note: what it was made from.

    Returns:
        A figure with a panel for each contamination. Below the diagonal the control holds. A rate
        beyond the panel has an arrow at its upper edge, with its value in per cent.
    """
    shares = sorted(table["contamination"].unique())
    figure = Figure(figsize=(WIDTH, 2.9))
    panels = figure.subplots(1, len(shares), sharex=True, sharey=True, squeeze=False)[0]
    laws: Sequence[str] = list(dict.fromkeys(table["nominal"]))
    levels = sorted(table["level"].unique())
    top = 1.15 * max(levels)
    for axes, share in zip(panels, shares, strict=True):
        axes.plot([0, top], [0, top], color=QUIET, lw=1)
        axes.fill_between([0, top], [0, top], [top, top], color="#000000", alpha=0.05, lw=0)
        for place, law in enumerate(laws):
            part = table[(table["contamination"] == share) & (table["nominal"] == law)]
            x = part["level"] + 0.006 * (place - (len(laws) - 1) / 2)
            colour, marker = LINES[place % len(LINES)], "os^DvPX*"[place % 8]
            axes.vlines(x, part["low"].clip(lower=0), part["high"], color=colour, lw=0.9)
            axes.plot(x, part["fdr"], marker, color=colour, ms=4.5, label=law)
            for where, rate in zip(x, part["fdr"], strict=True):
                if rate > top:
                    axes.annotate(
                        f"{100 * rate:.0f} %",
                        (where, top),
                        (where, 0.88 * top),
                        color=INK,
                        fontsize=7.5,
                        ha="center",
                        va="top",
                        bbox={"color": "#F2F2F2", "pad": 0.4},
                        arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.2},
                    )
        axes.set_title(f"{100 * share:g} % anomalous", fontsize=9)
        axes.set_xticks(levels, [f"{100 * level:g}" for level in levels])
    panels[0].set(xlim=(0, top), ylim=(0, top))
    panels[0].set_yticks(levels, [f"{100 * level:g}" for level in levels])
    panels[0].set_ylabel("realised rate / %")
    panels[len(shares) // 2].set_xlabel("false-discovery rate asked for / %")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=4, columnspacing=1)
    return _noted(figure, note)
