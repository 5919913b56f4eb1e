"""The figure of the benchmark: how long training takes, by the number of images."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from comet_core.figures import INK, LINES, WIDTH, _noted, in_house_style
from comet_core.names import label
from comet_core.speed_record import clock

TICKS = (1, 10, 60, 600, 3600, 36000)
"""Seconds."""
LOOKS = {
    "usual": {"color": LINES[1], "marker": "s", "label": "the usual way"},
    "ours": {"color": LINES[0], "marker": "o", "label": "features once"},
}


@in_house_style
def times(rows: pd.DataFrame, lines: pd.DataFrame, note: str) -> Figure:
    """Processor time of a training against the number of images, a panel for each detector.

    Args:
        rows: of `speed.compare`.
        lines: of `speed_record.scaling`; drawn where there are any.
        note: what was measured, on which machine.
    """
    detectors = list(rows["detector"].unique())
    figure = Figure(figsize=(WIDTH, 2.9))
    panels = figure.subplots(1, len(detectors), sharey=True, squeeze=False)[0]
    for axes, detector in zip(panels, detectors, strict=True):
        for way, look in LOOKS.items():
            group = rows[(rows["detector"] == detector) & (rows["way"] == way)]
            n = group["images"].to_numpy()
            axes.plot(n, group["total_seconds"], ls="", ms=5, **look)
            if len(lines):
                line = lines[(lines["detector"] == detector) & (lines["way"] == way)]
                for fixed, slope in zip(
                    line["seconds_fixed"], line["seconds_per_image"], strict=True
                ):
                    x = np.geomspace(n.min(), n.max(), 50)
                    axes.plot(x, fixed + slope * x, color=look["color"], lw=1)
        axes.set(xscale="log", yscale="log", xlabel="training images")
        axes.set_title(label(str(detector)))
        axes.xaxis.set_major_locator(FixedLocator(sorted(rows["images"].unique())))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(FixedLocator(TICKS))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: clock(y)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.grid(axis="y", lw=0.4, alpha=0.5)
        axes.margins(x=0.1)
    panels[0].set_ylabel("processor time", color=INK)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return _noted(figure, note)
