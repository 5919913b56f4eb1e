"""Scores of training images to point at: the image behind each, without a kernel."""

from __future__ import annotations

import html
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
import torch

from comet_core.confidence import iqr_threshold, quartiles
from comet_core.errors import InputError
from comet_core.figures import KINDS
from comet_core.images import data_address, read_image, resize
from comet_core.interactive import widget

CELL, COLUMNS = 96, 12
"""Width and height of an image in pixels, and images in a row of the sheet they come in."""

SYMBOLS = {"nominal": "●", "boundary": "◆", "anomalous": "✕", "unknown": "●"}

STYLE = """
<style>
.turn select { min-height: 2.2rem; font: inherit; padding: 0 .4rem; color: inherit;
  background: var(--pst-color-background, #fff); border: 1px solid var(--quiet, #6b7280);
  border-radius: 4px; }
.turn svg:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.turn .kinds { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .25rem 0 .75rem; }
.turn .behind { display: flex; gap: 1rem; align-items: center; min-height: 144px; }
.turn .behind div { flex: none; width: 144px; height: 144px; border: 4px solid transparent;
  border-radius: 4px; background: var(--pst-color-surface, #f3f4f5) no-repeat; }
.turn .behind output { margin: 0; overflow-wrap: anywhere; min-width: 0; }
</style>
"""

POINTS = """
(() => {
const box = document.getElementById(NAME), data = DATA;
const svg = box.querySelector("svg"), photo = box.querySelector(".behind div");
const said = box.querySelector("output"), select = box.querySelector("select");
const [left, right, top, row] = [10, 390, 40, 46];
const rows = data.kinds.length, bottom = top + 22 + row * rows;
let at = -1, shown;
const x = a => left + (right - left) * Math.log(Math.max(a, shown.low) / shown.low) /
  Math.log(shown.high / shown.low);
const y = p => top + 22 + row * (p[0] + .5 + p[2]);
const colour = kind => `var(--${kind}, ${data.colours[kind]})`;
const mark = {
  nominal: (x, y) => `<circle cx="${x}" cy="${y}" r="3.5"/>`,
  unknown: (x, y) => `<circle cx="${x}" cy="${y}" r="3.5"/>`,
  boundary: (x, y) => `<path d="M${x - 4.5},${y}l4.5,-4.5l4.5,4.5l-4.5,4.5z"/>`,
  anomalous: (x, y) =>
    `<path d="M${x - 3.5},${y - 3.5}l7,7m-7,0l7,-7" fill="none" stroke-width="2"/>`,
};
const number = v => (v < .01 ? "< 0.01" : v.toFixed(2));
const ticks = (values, place, height, anchor) => values.map(v => [v, x(place(v))])
  .filter(([, at]) => at > left + 8 && at < right - 8)
  .map(([v, at]) => `<text x="${at}" y="${height}" text-anchor="middle">${v}</text>`).join("");
const draw = () => {
  shown = data.categories[select ? select.value : 0];
  let text = `<rect x="${x(shown.q1)}" y="${top}" width="${x(shown.q3) - x(shown.q1)}"
    height="${bottom - top}" fill="currentColor" opacity=".1"/>
    <path class="axis" d="M${left},${bottom}H${right}M${left},${top}H${right}"/>
    <path class="axis" stroke-dasharray="5 4" d="M${x(1)},${top}V${bottom}"/>`;
  text += ticks([.1, .2, .5, 1, 2, 5, 10, 100], v => v, bottom + 17);
  text += ticks([.5, .2, .1, .01], v => 1 / v, top - 6);
  text += `<text x="${right}" y="${bottom + 36}" text-anchor="end">score / t (log)</text>
    <text x="${left}" y="${top - 24}">weight</text>
    <text x="${x(1)}" y="${top - 6}" text-anchor="middle">1</text>`;
  data.kinds.forEach((kind, k) => {
    text += `<g fill="${colour(kind)}" stroke="${colour(kind)}" opacity=".75">`;
    for (const p of shown.points)
      if (p[0] === k) text += mark[kind](x(p[1]).toFixed(1) * 1, y(p).toFixed(1) * 1);
    text += "</g>";
  });
  svg.innerHTML = text + '<circle r="8" fill="none" stroke="currentColor" stroke-width="2"/>';
  point(-1);
};
const point = next => {
  at = next;
  const here = svg.lastElementChild, p = shown.points[at];
  here.setAttribute("visibility", p ? "visible" : "hidden");
  if (!p) {
    photo.removeAttribute("style");
    said.textContent = "Point at a mark, or tap it, to see the image behind it. " +
      "Left and right arrow keys go through the images in the order of their scores.";
    return;
  }
  here.setAttribute("cx", x(p[1]));
  here.setAttribute("cy", y(p));
  const kind = data.kinds[p[0]], weight = Math.min(1, 1 / p[1]), cell = p[3];
  photo.style.borderColor = colour(kind);
  photo.style.backgroundImage = cell < 0 ? "none" : `url("${shown.sheet}")`;
  photo.style.backgroundSize = `${136 * data.columns}px auto`;
  photo.style.backgroundPosition =
    `${-136 * (cell % data.columns)}px ${-136 * Math.floor(cell / data.columns)}px`;
  said.innerHTML = `<b style="color: ${colour(kind)}">${kind}</b>, weight ` +
    `<b>${number(weight)}</b>, score ${number(p[1])} t<br>`;
  said.append(p[4] + (cell < 0 ? " (not among the images kept with this page)" : ""));
};
const nearest = event => {
  const frame = svg.getBoundingClientRect(), scale = 400 / frame.width;
  const [px, py] = [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
  let best = -1, least = 25 ** 2;
  shown.points.forEach((p, number) => {
    const far = (x(p[1]) - px) ** 2 + (y(p) - py) ** 2;
    if (far < least) [best, least] = [number, far];
  });
  if (best >= 0 && best !== at) point(best);
};
svg.addEventListener("pointermove", nearest);
svg.addEventListener("pointerdown", nearest);
svg.addEventListener("keydown", event => {
  const last = shown.points.length - 1;
  const go = { ArrowLeft: at < 0 ? last : Math.max(at - 1, 0), ArrowRight: Math.min(at + 1, last),
    Home: 0, End: last }[event.key];
  if (go === undefined) return;
  event.preventDefault();
  point(go);
});
if (select) select.addEventListener("change", draw);
box.hidden = false;
draw();
})();
"""


def score_points(
    samples: pd.DataFrame, kappa: float, name: str = "turn-scores", most: int = 160
) -> str:
    """Training scores in units of the threshold, and the image behind a point that is pointed at.

    Args:
        samples: category, id, path, truth, score; one row a training image.
        kappa: of equation 1.
        name: the element's id on the page.
        most: images of a category to keep with the page: the least trusted half of them, and others
            evenly spaced in rank.

    Returns:
        HTML for `interactive.show_inline`.

    Raises:
        InputError: scores that are not all positive, or no samples.
    """
    if samples.empty or not (samples["score"] > 0).all():
        raise InputError("the axis is logarithmic: there must be scores, all of them positive.")
    kinds = [kind for kind in KINDS if (samples["truth"] == kind).any()]
    categories = list(dict.fromkeys(samples["category"]))
    rng = np.random.default_rng(0)
    data = {
        "kinds": kinds,
        "colours": {kind: KINDS[kind] for kind in kinds},
        "columns": COLUMNS,
        "categories": [
            _category(samples[samples["category"] == one], kinds, kappa, most, rng)
            for one in categories
        ],
    }
    options = "".join(
        f'<option value="{number}">{html.escape(str(one))}</option>'
        for number, one in enumerate(categories)
    )
    chooser = f"<label>Category <select>{options}</select></label>" if len(categories) > 1 else ""
    key = "".join(
        f'<b style="color: var(--{kind}, {KINDS[kind]})">{SYMBOLS[kind]} {kind}</b>'
        for kind in kinds
    )
    body = (
        f'{chooser}<svg viewBox="0 0 400 {108 + 46 * len(kinds)}" tabindex="0" role="img" '
        'aria-label="Scores of training images, a line for each kind, with the threshold; arrow '
        f'keys go from image to image."></svg><div class="kinds">{key}</div>'
        '<div class="behind"><div></div><output aria-live="polite"></output></div>'
    )
    return STYLE.strip() + "\n" + widget(name, body, POINTS, data)


def _category(
    samples: pd.DataFrame, kinds: list[str], kappa: float, most: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Points in the order of scores: kind, score / t, jitter, cell or -1, name; and images."""
    ordered = samples.sort_values(["score", "id"])
    scores = torch.tensor(ordered["score"].to_numpy(dtype=float).copy())
    t = iqr_threshold(scores, kappa).item()
    low, high = (value.item() / t for value in quartiles(scores))
    kept = {rank: cell for cell, rank in enumerate(_kept(len(ordered), most))}
    paths = ordered["path"].to_list()
    images = [resize(read_image(paths[rank]), CELL) for rank in kept]
    jitter = rng.uniform(-0.36, 0.36, len(ordered)).round(2).tolist()
    points = [
        [
            kinds.index(truth),
            float(f"{score / t:.4g}"),
            jitter[rank],
            kept.get(rank, -1),
            "/".join(PurePath(str(name)).parts[-3:]),
        ]
        for rank, (truth, score, name) in enumerate(
            zip(ordered["truth"], scores.tolist(), ordered["id"], strict=True)
        )
    ]
    return {
        "q1": low,
        "q3": high,
        "low": min(0.7, max(points[0][1], 1e-3) / 1.15),
        "high": max(1.4, points[-1][1] * 1.15),
        "points": points,
        "sheet": data_address(images, COLUMNS),
    }


def _kept(count: int, most: int) -> list[int]:
    """Ranks of the images to keep, in ascending order."""
    if count <= most:
        return list(range(count))
    top = most // 2
    spread = np.linspace(0, count - top - 1, most - top).round().astype(int).tolist()
    return sorted({*spread, *range(count - top, count)})
