"""Pictures that a reader can turn without a kernel: HTML with a few lines of JavaScript inside.

They ask no other host for anything. Where scripts do not run, and on paper, a still figure takes
their place.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
import os
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from IPython.display import display
from matplotlib.figure import Figure
from torch import Tensor

from comet_core.confidence import quartiles
from comet_core.errors import InputError
from comet_core.figures import KINDS, evenly, house_style, take_note
from comet_core.images import data_address, read_image, resize
from comet_core.notebook import made_from
from comet_core.teaching import BOWL_VIEW, STIFFNESS, OuterStep

PHOTO = 112
"""Width and height of a thumbnail, pixels."""

STYLE = """
<style>
.turn { max-width: 640px; margin: 0 auto; font-size: .95rem; }
.turn svg { width: 100%; height: auto; }
.turn text { font-size: 14px; fill: var(--pst-color-text-base, currentColor); }
.turn .axis { stroke: var(--quiet, #6b7280); fill: none; }
@media (min-width: 720px) { .turn text { font-size: 10.5px; } }
.turn label { display: flex; gap: .75rem; align-items: center; flex-wrap: wrap; }
.turn input { flex: 1 1 12rem; min-height: 2rem; accent-color: var(--nominal, #004488); }
.turn output { display: block; text-align: left; margin-top: .25rem; }
.turn output, .turn b { font-variant-numeric: tabular-nums; }
.turn .photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(84px, 1fr));
  gap: .6rem; margin-top: .75rem; }
.turn .photos figure { margin: 0; padding: 0; text-align: center; line-height: 1.3; }
.turn .photos img { width: 100%; height: auto; filter: none !important;
  border: 3px solid var(--kind); border-radius: 3px; }
.turn .photos i { display: block; height: 5px; margin-top: 4px; background: var(--kind); }
.turn .photos b { font-weight: 400; }
.turn:not([hidden]) ~ .still { display: none; }
.still img { width: min(100%, 640px); height: auto; display: block; margin: 0 auto; }
@media print { .turn { display: none; } .turn ~ .still { display: block !important; } }
</style>
"""

KAPPA = """
(() => {
const box = document.getElementById(NAME), data = DATA;
const [left, right, top, bottom] = [34, 396, 14, 196];
const span = Math.log(data.high / data.low);
const x = a => left + (right - left) * Math.log(Math.max(a, data.low) / data.low) / span;
const y = w => bottom - (bottom - top) * w;
const mark = {
  nominal: (x, y) => `<circle cx="${x}" cy="${y}" r="4"/>`,
  unknown: (x, y) => `<circle cx="${x}" cy="${y}" r="4"/>`,
  boundary: (x, y) => `<path d="M${x - 5},${y}l5,-5l5,5l-5,5z"/>`,
  anomalous: (x, y) =>
    `<path d="M${x - 4},${y - 4}l8,8m-8,0l8,-8" fill="none" stroke-width="2.2"/>`,
};
const draw = () => {
  const kappa = +box.querySelector("input").value, t = data.q3 + kappa * (data.q3 - data.q1);
  const weight = a => (a > t ? t / a : 1);
  let svg = `<path class="axis" d="M${left},${top}V${bottom}H${right}"/>`;
  svg += `<rect x="${x(data.q1)}" y="${top}" width="${x(data.q3) - x(data.q1)}"
    height="${bottom - top}" fill="currentColor" opacity=".1"/>`;
  if (t < data.high) {
    svg += `<path class="axis" stroke-dasharray="5 4" d="M${x(t)},${top}V${bottom}"/>
      <text x="${x(t)}" y="${bottom + 17}" text-anchor="middle" font-style="italic">t</text>`;
  }
  const said = [];
  for (const [kind, scores] of Object.entries(data.scores)) {
    const colour = `var(--${kind}, ${data.colours[kind]})`;
    svg += `<g fill="${colour}" stroke="${colour}" opacity=".8">`;
    svg += scores.map(a => mark[kind](x(a).toFixed(1) * 1, y(weight(a)).toFixed(1) * 1)).join("");
    svg += "</g>";
    const mean = scores.reduce((sum, a) => sum + weight(a), 0) / scores.length;
    const below = scores.filter(a => weight(a) < 1).length;
    said.push(`<b style="color: ${colour}">${kind}</b>: mean weight ${mean.toFixed(2)}, ` +
      `${below} of ${scores.length} below 1`);
  }
  svg += `<text x="${left - 8}" y="${top + 5}" text-anchor="end">1</text>
    <text x="${left - 8}" y="${bottom + 5}" text-anchor="end">0</text>
    <text x="${right}" y="${bottom + 17}" text-anchor="end">score (log)</text>
    <text x="${left + 6}" y="${bottom - 8}">weight <tspan font-style="italic">w</tspan></text>`;
  box.querySelector("svg").innerHTML = svg;
  box.querySelector("b").textContent = kappa.toFixed(1);
  box.querySelector("output").innerHTML = said.join("<br>");
  for (const one of box.querySelectorAll("[data-score]")) {
    const w = weight(+one.dataset.score);
    one.querySelector("i").style.width = `${100 * w}%`;
    one.querySelector("b").textContent = w < .01 ? "< 0.01" : w.toFixed(2);
  }
};
box.querySelector("input").addEventListener("input", draw);
box.hidden = false;
draw();
})();
"""


def kappa_slider(
    samples: pd.DataFrame, kappa: float = 1.5, name: str = "turn-kappa", photos: int = 0
) -> str:
    """Weights of training samples under a kappa that the reader chooses; equations 1 and 2 in HTML.

    Args:
        samples: score and truth, one row a training sample; with photos, path.
        kappa: where the slider stands at first, 0 to 6.
        name: the element's id on the page.
        photos: how many images of each kind to show with their weights, evenly spaced in rank.

    Raises:
        InputError: a kappa beyond the slider, or scores that are not all positive.
    """
    if not 0 <= kappa <= 6:
        raise InputError(f"the slider reaches from 0 to 6, kappa is {kappa}.")
    scores = samples["score"].astype(float)
    if not (scores > 0).all():
        raise InputError("the slider's axis is logarithmic: scores must be positive.")
    q1, q3 = (value.item() for value in quartiles(torch.tensor(scores.to_numpy().copy())))
    kinds = [kind for kind in KINDS if (samples["truth"] == kind).any()]
    data = {
        "q1": q1,
        "q3": q3,
        "low": scores.min() / 1.1,
        "high": scores.max() * 1.1,
        "scores": {kind: _rounded(scores[samples["truth"] == kind]) for kind in kinds},
        "colours": {kind: KINDS[kind] for kind in kinds},
    }
    body = (
        '<svg viewBox="0 0 400 220" role="img" aria-label="Weights of training images over their '
        'scores; they move with the slider."></svg>'
        f'<label>κ = <b>{kappa:g}</b><input type="range" min="0" max="6" step="0.1" '
        f'value="{kappa:g}" aria-label="kappa"></label><output aria-live="polite"></output>'
    )
    if photos:
        chosen = [evenly(samples[samples["truth"] == kind], photos) for kind in kinds]
        shown = "".join(_photo(one) for one in pd.concat(chosen).itertuples())
        body += f'<div class="photos">{shown}</div>'
    return widget(name, body, KAPPA, data)


def _photo(sample: Any) -> str:
    """A thumbnail in its kind's colour, with the bar and the number that the slider moves."""
    colour = f"var(--{sample.truth}, {KINDS[sample.truth]})"
    picture = data_address([resize(read_image(sample.path), PHOTO)])
    return (
        f'<figure data-score="{sample.score:.5g}" style="--kind: {colour}"><img src="{picture}" '
        f'alt="{sample.truth} training image" width="{PHOTO}" height="{PHOTO}"><i></i><b></b>'
        "</figure>"
    )


LOOPS = """
(() => {
const box = document.getElementById(NAME), data = DATA;
const arrow = ([a, b], [c, d], style) => {
  const turn = Math.atan2(d - b, c - a) * 180 / Math.PI;
  return `<path d="M${a},${b}L${c},${d}" fill="none" ${style}/>
    <path d="M0,0l-9,-4v8z" transform="translate(${c} ${d}) rotate(${turn})" ${style}/>`;
};
const dot = ([x, y], r) => `<circle cx="${x}" cy="${y}" r="${r}"/>`;
const draw = () => {
  const at = +box.querySelector("input").value, turn = Math.floor(at / 3), phase = at % 3;
  const [theta, inner] = [data.theta[turn], data.inner[turn]];
  const blue = 'stroke="var(--nominal, #004488)" fill="var(--nominal, #004488)"';
  let svg = '<g fill="currentColor" stroke="currentColor">';
  for (let k = 0; k < turn; k++) svg += arrow(data.theta[k], data.theta[k + 1], "");
  if (phase === 2) svg += arrow(theta, data.theta[turn + 1], 'stroke-width="2.5"');
  svg += dot(theta, 5) + "</g>";
  if (phase > 0) svg += inner.map(end => arrow(theta, end, blue)).join("");
  box.querySelector("g").innerHTML = svg;
  box.querySelector("b").textContent = turn + 1;
  box.querySelector("output").textContent = [
    "θ, before anything moves.",
    `Inner loop: from θ, one trial step to θ′ for each of ${inner.length} tasks.`,
    "Outer loop: one step of θ, by what the trial steps were worth. They are forgotten.",
  ][phase];
};
box.querySelector("input").addEventListener("input", draw);
box.hidden = false;
draw();
})();
"""


def loop_stepper(course: Sequence[OuterStep], middle: Tensor, name: str = "turn-loops") -> str:
    """The outer loop, to be stepped through: theta, the inner steps, the outer step, and again.

    Args:
        course: of `teaching.outer_course`, at least two entries.
        middle: (2,), where the drawn landscape is lowest.
        name: the element's id on the page.

    Raises:
        InputError: for a course without a step.
    """
    if len(course) < 2:
        raise InputError("there is no outer step to show: give a course of at least two entries.")

    def place(where: Tensor) -> list[float]:
        (left, right), (low, high) = BOWL_VIEW
        x, y = where.double().tolist()
        return [
            round(400 * (x - left) / (right - left), 1),
            round(300 * (high - y) / (high - low), 1),
        ]

    values, vectors = torch.linalg.eigh(STIFFNESS)
    angle = -math.degrees(math.atan2(vectors[1, 0].item(), vectors[0, 0].item()))
    x, y = place(middle)
    rings = "".join(
        f'<ellipse class="axis" opacity=".45" rx="{50 * ring / values[0].sqrt().item():.1f}" '
        f'ry="{50 * ring / values[1].sqrt().item():.1f}" '
        f'transform="translate({x} {y}) rotate({angle:.1f})"/>'
        for ring in (0.5, 1, 1.6, 2.3, 3.1, 4)
    )
    last = 3 * (len(course) - 1) - 1
    data = {
        "theta": [place(one.theta) for one in course],
        "inner": [[place(end) for end in one.adapted] for one in course],
    }
    body = (
        '<svg viewBox="0 0 400 300" role="img" aria-label="Steps of theta and theta prime on a '
        f'landscape of contours; they follow the slider.">{rings}<g></g></svg>'
        f'<label>turn <b>1</b><input type="range" min="0" max="{last}" step="1" value="0" '
        'aria-label="step"></label><output aria-live="polite"></output>'
    )
    return widget(name, body, LOOPS, data)


def _rounded(scores: pd.Series) -> list[float]:
    """To five significant digits, which no screen can tell from more."""
    return [float(f"{score:.5g}") for score in sorted(scores)]


def widget(name: str, body: str, script: str, data: dict[str, Any]) -> str:
    """A picture to turn: its elements, and the script, in which NAME and DATA are filled in."""
    if not all(math.isfinite(v) for v in data.values() if isinstance(v, float)):
        raise InputError("a picture cannot hold NaN or infinite values.")
    told = json.dumps(data).replace("</", "<\\/")  # a file's name must not end the script
    code = script.replace("NAME", json.dumps(name)).replace("DATA", told)
    box = f'<div class="turn" id="{html.escape(name)}" hidden>{body}</div>'
    return f"{STYLE.strip()}\n{box}\n<script>{code}</script>".replace("\n\n", "\n")


def show_inline(
    content: str,
    caption: str,
    name: str,
    runs: pd.DataFrame | None = None,
    still: Figure | None = None,
) -> None:
    """Display HTML as part of the page: numbered in the book, where `name` is what refers to it.

    Args:
        content: the HTML; what `kappa_slider` and its kin return, or a drawing.
        caption: Markdown, what there is to see.
        name: of the figure, "fig-...".
        runs: the rows it was made from; the book tells their hashes beside the figure.
        still: what to show in its place on paper and where scripts do not run.
    """
    note = ""
    if still is not None:
        note = take_note(still) if os.environ.get("COMET_BOOK") else ""
        content += f'\n<div class="still">{vectors(still, caption)}</div>'
    markdown = f"::::{{inline-figure}}\n:name: {name}\n\n```{{raw}} html\n{content}\n```\n\n"
    display(
        {
            "text/html": f"{content}<p>{html.escape(caption)}</p>",
            "text/markdown": f"{markdown}{caption}\n::::",
        },
        raw=True,
        metadata=made_from(runs, name, "" if note in caption else note),
    )


def vectors(figure: Figure, description: str) -> str:
    """A figure as an SVG image for use within HTML."""
    file = io.BytesIO()
    with house_style():
        figure.savefig(file, format="svg", metadata={"Date": None})
    code = base64.b64encode(file.getvalue()).decode()
    alt = html.escape(description, quote=True)
    return f'<img src="data:image/svg+xml;base64,{code}" alt="{alt}">'
