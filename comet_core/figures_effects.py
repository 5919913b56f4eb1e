"""Figures of effects: a dot and an interval for each change, beside the line of no effect."""

from __future__ import annotations

import math
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from comet_core.effects import DOWN, OPEN, UP, points, side
from comet_core.errors import InputError
from comet_core.figures import INK, QUIET, WIDTH, _noted, in_house_style
from comet_core.statistics import Interval

LOOKS: dict[str, dict[str, Any]] = {
    UP: {"color": "#004488", "marker": "o", "mfc": "#004488"},
    DOWN: {"color": "#BB5566", "marker": "X", "mfc": "#BB5566"},
    OPEN: {"color": QUIET, "marker": "o", "mfc": "white"},
}
"""By the side of the line that the whole interval lies on; shapes differ as well."""
WORDS = {UP: "above the line", DOWN: "below the line", OPEN: "not settled"}


@in_house_style
def effects(
    table: pd.DataFrame,
    note: str,
    xlabel: str,
    shared: bool = True,
    reach: float | None = None,
) -> Figure:
    """Effects with their 95 % intervals, in points, one panel for each group.

    Args:
        table: group, label, mean, low, high and bound (fractions; one bound a group); one row an
            effect. Without an interval only the dot is drawn, without a mean "not run" is written.
        note: what they were made from.
        xlabel: what the effect is of.
        shared: whether the panels share their scale.
        reach: how far from its line a panel goes at most, in points: what lies further is cut there
            with an arrow, and its value is written.

    Raises:
        InputError: there is no row.
    """
    if table.empty:
        raise InputError("there are no effects to draw; run the grid first.")
    groups = [part for _, part in table.groupby("group", sort=False)]
    rows = [len(part) for part in groups]
    height = 0.21 * sum(rows) + (0.34 if shared else 0.7) * len(rows) + 1.0
    figure = Figure(figsize=(WIDTH, height))
    panels = figure.subplots(
        len(groups), 1, sharex=shared, squeeze=False, height_ratios=[n + 0.4 for n in rows]
    )[:, 0]
    seen = set()
    for axes, part in zip(panels, groups, strict=True):
        seen |= _panel(axes, part, reach)
        axes.set_title(part["group"].iloc[0], fontsize=9.5, pad=3)
    panels[-1].set_xlabel(xlabel)
    handles = [
        mpl.lines.Line2D([], [], ls="-", ms=5.5, label=WORDS[one], **LOOKS[one])
        for one in LOOKS
        if one in seen
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, handlelength=1.6)
    return _noted(figure, note)


def _panel(axes: Axes, part: pd.DataFrame, reach: float | None) -> set[str]:
    """Draw one group; returns the sides that occur."""
    seen = set()
    bound = 100 * float(part["bound"].iloc[0])
    furthest = math.inf if reach is None else reach
    edges = (bound - furthest, bound + furthest)
    axes.axvline(bound, color=INK, lw=1)
    axes.set_ylim(len(part) - 0.5, -0.5)
    axes.margins(x=0.06)
    for place, row in enumerate(part.to_dict("records")):
        found = Interval(row["mean"], row["low"], row["high"], 0)
        if math.isnan(found.mean):
            axes.annotate(
                "not run", (bound, place), (4, 0), textcoords="offset points", va="center"
            )
            continue
        where = side(found, row["bound"])
        seen.add(where)
        if not math.isnan(found.low):
            ends = [100 * found.low, 100 * found.high]
            held = [min(max(end, edges[0]), edges[1]) for end in ends]
            axes.plot(held, [place, place], color=LOOKS[where]["color"], lw=1.6)
            for end, edge, arrow, turn in zip(ends, edges, "<>", (1, -1), strict=True):
                if (end - edge) * turn < 0:
                    _cut(axes, edge, place, end, arrow, LOOKS[where]["color"])
        if edges[0] <= 100 * found.mean <= edges[1]:
            axes.plot(100 * found.mean, place, ls="", ms=5.5, zorder=3, **LOOKS[where])
        elif math.isnan(found.low):
            left = 100 * found.mean < bound
            edge, arrow = (edges[0], "<") if left else (edges[1], ">")
            _cut(axes, edge, place, 100 * found.mean, arrow, LOOKS[where]["color"])
    axes.set_yticks(range(len(part)), part["label"])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return seen


def _cut(axes: Axes, edge: float, place: int, value: float, arrow: str, colour: str) -> None:
    """An arrow where an interval leaves the panel, and where it ends."""
    axes.plot(edge, place, ls="", marker=arrow, ms=5, color=colour, zorder=3)
    inwards = 1 if arrow == "<" else -1
    axes.annotate(
        points(value / 100),
        (edge, place),
        (7 * inwards, 2),
        textcoords="offset points",
        ha="left" if inwards > 0 else "right",
        va="bottom",
        fontsize=7.5,
        color=colour,
    )
