"""The method as a drawing: boxes that link to the functions that do their work.

SVG for the page itself, drawn upright and with large letters for a phone. Colours come from the
style sheet of the book, in its light and in its dark mode, and have defaults elsewhere.
"""

from __future__ import annotations

import html
from typing import NamedTuple

WIDTH, HEIGHT = 380, 578
ROW, TALL = 78, 52
FULL, LEFT, RIGHT = (28, 324), (28, 152), (200, 152)
"""Where a box begins and how wide it is."""
PAGES = {
    "features": "data",
    "datasets": "data",
}
"""Page of the reference that a module is on, where it is not `algorithm`."""


class Box(NamedTuple):
    """A step: where it stands, what it is called, its equation, and the function that does it."""

    place: tuple[int, int]
    row: float
    title: str
    says: str
    equation: str
    function: str
    group: str = "plain"

    @property
    def top(self) -> float:
        """Upper edge."""
        return 8 + ROW * self.row

    @property
    def link(self) -> str:
        """Address of the function's documentation, from a page in `notebooks/`."""
        page = PAGES.get(self.function.split(".")[0], "algorithm")
        return f"../reference/{page}.html#comet_core.{self.function}"


STEPS = (
    Box(FULL, 0, "Unsorted images", "nominal, boundary, anomalous", "", "datasets.load"),
    Box(FULL, 1, "Frozen features", "once, by a pretrained network", "", "features.extract"),
    Box(LEFT, 2, "Scores a", "of every image", "", "training.confidence", "data"),
    Box(LEFT, 3, "Threshold t", "from the quartiles", "1", "confidence.iqr_threshold", "data"),
    Box(LEFT, 4, "Weights w", "min(1, t / a)", "2", "confidence.confidence_weights", "data"),
    Box(RIGHT, 2, "Tasks", "train and validation", "", "meta.split_tasks", "model"),
    Box(RIGHT, 3, "Inner loop", "θ′ = θ − α∇L", "7", "meta.adapt", "model"),
    Box(
        RIGHT,
        4,
        "Losses at θ′",
        "two of every task",
        "3",
        "confidence.weighted_loss",
        "model",
    ),
    Box(
        RIGHT,
        5,
        "Spread Σ",
        "of these pairs",
        "4",
        "uncertainty.loss_covariance",
        "model",
    ),
    Box(LEFT, 5, "Penalty λ(Σ)", "λ₀ (1 + γ det Σ)", "5", "uncertainty.adaptive_lambda", "model"),
    Box(
        FULL, 6, "Outer loop", "θ ← θ − β∇L(θ′), over all tasks", "8", "meta.meta_gradient", "plain"
    ),
)

DESCRIPTION = (
    "Flow chart. Images become frozen features. On the left, confidence in the data: scores, "
    "threshold, weights. On the right, confidence in the model: tasks, inner loop, training and "
    "validation losses, uncertainty, and from it the penalty. The weights enter the losses; losses "
    "and penalty enter the outer loop, which gives the detector new parameters, and both sides "
    "begin again."
)

STYLE = """<style>
.flow { width: min(100%, 520px); height: auto; display: block; margin: 0 auto; }
.flow rect { fill: var(--pst-color-surface, #f5f6f8); stroke: var(--quiet, #6b7280); }
.flow .data rect { stroke: var(--nominal, #004488); stroke-width: 2; }
.flow .model rect { stroke: var(--anomalous, #bb5566); stroke-width: 2; stroke-dasharray: 7 2; }
.flow text { fill: var(--pst-color-text-base, #1f2937); font-size: 13px; }
.flow .title { font-size: 15px; font-weight: 600; }
.flow .number { font-size: 13px; text-anchor: end; }
.flow .line { fill: none; stroke: var(--pst-color-text-base, #1f2937); stroke-width: 1.4; }
.flow .head { fill: var(--pst-color-text-base, #1f2937); }
.flow a:hover rect, .flow a:focus rect { stroke-width: 3.2; }
.flow a, .flow a:hover { text-decoration: none; }
</style>"""


def pipeline() -> str:
    """The method, all of it, as HTML: a style sheet and an SVG whose boxes are links."""
    boxes = "".join(_box(box) for box in STEPS)
    edge = [8 + ROW * row for row in range(8)]
    middle = {"full": 190, "left": 104, "right": 276}

    def down(x: int, row: int) -> str:
        return _arrow(f"M{x},{edge[row] + TALL}V{edge[row + 1]}", x, edge[row + 1], "down")

    half = TALL // 2
    arrows = [
        down(middle["full"], 0),
        *(down(middle[side], row) for side in ("left", "right") for row in (1, 2, 3)),
        down(middle["right"], 4),
        down(middle["left"], 5),
        _arrow(f"M180,{edge[4] + half}H200", 200, edge[4] + half, "right"),
        _arrow(f"M200,{edge[5] + half}H180", 180, edge[5] + half, "left"),
        _arrow(f"M352,{edge[4] + half + 12}H362V{edge[6] + 14}H352", 352, edge[6] + 14, "left"),
        _arrow(f"M28,{edge[6] + half}H12V{edge[2] + half}H28", 28, edge[2] + half, "right"),
        _arrow(f"M352,{edge[6] + 40}H373V{edge[3] + half}H352", 352, edge[3] + half, "left"),
    ]
    notes = (
        f'<text x="16" y="{edge[5] - 8}">θ</text><text x="357" y="{edge[4] - 8}">θ</text>'
        f'<text x="186" y="{edge[4] + half - 8}">w</text>'
        f'<text x="186" y="{edge[5] + half - 8}">Σ</text>'
        f'<text x="28" y="{HEIGHT - 20}">Blue: confidence in the data.</text>'
        f'<text x="28" y="{HEIGHT - 2}">Red, dashed: confidence in the model.</text>'
    )
    label = html.escape(DESCRIPTION)
    return (
        f'{STYLE}\n<svg class="flow" viewBox="0 0 {WIDTH} {HEIGHT + 8}" role="group" '
        f'aria-label="{label}">{"".join(arrows)}{boxes}{notes}</svg>'
    )


def _box(box: Box) -> str:
    left, width = box.place
    number = (
        f'<text class="number" x="{left + width - 9}" y="{box.top + 20:g}">({box.equation})</text>'
        if box.equation
        else ""
    )
    about = f"{box.title}: {box.says}. Documentation of {box.function}"
    return (
        f'<a class="{box.group}" href="{box.link}" aria-label="{html.escape(about)}">'
        f"<title>{box.function}</title>"
        f'<rect x="{left}" y="{box.top:g}" width="{width}" height="{TALL}" rx="7"/>'
        f'<text class="title" x="{left + 10}" y="{box.top + 21:g}">{box.title}</text>{number}'
        f'<text x="{left + 10}" y="{box.top + 41:g}">{box.says}</text></a>'
    )


def _arrow(path: str, x: float, y: float, way: str) -> str:
    turn = {"down": 0, "left": 90, "right": -90}[way]
    head = (
        f'<path class="head" transform="translate({x:g} {y:g}) rotate({turn})" d="M0,0l-4,-8h8z"/>'
    )
    return f'<path class="line" d="{path}"/>{head}'
