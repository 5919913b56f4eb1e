"""Noise curves to choose from without a kernel: data set, detector, method, and what a point is."""

from __future__ import annotations

import html
import math
from typing import Any

import pandas as pd

from comet_core.config import UNTRAINED
from comet_core.errors import InputError
from comet_core.evidence import METHOD
from comet_core.figures_evidence import look
from comet_core.images import data_address, read_image, resize
from comet_core.interactive import widget
from comet_core.names import data_names, label
from comet_core.noise import (
    KEYS,
    by_seed,
    curves,
    faults,
    lowest,
    ordered,
    setting_the_scale,
)

CELL, COLUMNS = 96, 12
"""Width and height of an image in pixels, and images in a row of the sheet they come in."""

STYLE = """
<style>
.turn .choose { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr));
  gap: .5rem 1rem; margin-bottom: .5rem; }
.turn .choose label { display: grid; gap: .1rem; font-size: .85rem; }
.turn select { min-height: 2.2rem; font: inherit; font-size: .95rem; width: 100%; padding: 0 .4rem;
  color: inherit; background: var(--pst-color-background, #fff);
  border: 1px solid var(--quiet, #6b7280); border-radius: 4px; }
.turn svg:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.turn .key { display: flex; flex-wrap: wrap; gap: .2rem 1rem; }
.turn .key svg { width: .9em; }
.turn output { min-height: 4.5em; }
.turn .faults { display: flex; flex-wrap: wrap; align-content: flex-start; gap: .6rem 1rem;
  min-height: 6.5rem; margin: .5rem 0; }
.turn .faults[hidden] { display: none; }
@media (max-width: 480px) { .turn .faults { min-height: 13.5rem; } }
.turn .faults figure { margin: 0; width: 10.5rem; display: flex; gap: .5rem; line-height: 1.3;
  font-size: .85rem; }
.turn .faults div { flex: none; box-sizing: border-box; width: 96px; height: 96px;
  border: 3px solid var(--kind); border-radius: 3px; background-repeat: no-repeat; }
</style>
"""

CHOOSER = """
(() => {
const box = document.getElementById(NAME), data = DATA;
const svg = box.querySelector("svg"), said = box.querySelector("output");
const faults = box.querySelector(".faults"), edge = 90;
const [data_set, detector, protocol, method] = box.querySelectorAll("select");
const [left, right, top, bottom] = [44, 390, 26, 236];
const x = level => left + 8 + (right - left - 16) * level / data.top_level;
const place = () => [data_set.value, detector.value, protocol.value].join("/");
const whole = () => !method.value || data.looks[method.value].own;
const low = () => (data.lows[place()] ?? [0, 0])[whole() ? 1 : 0];
const y = value => bottom - (bottom - top) * (value - low()) / (1 - low());
const high = value => Math.min(1, Math.max(low(), value));
const per = value => (100 * value).toFixed(1);
const shape = { o: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z", s: "M-4,-4h8v8h-8z",
  "^": "M0,-5l5,9h-10z", v: "M0,5l5,-9h-10z", D: "M0,-5l5,5l-5,5l-5,-5z",
  P: "M-2,-5h4v3h3v4h-3v3h-4v-3h-3v-4h3z",
  X: "M-5,-3l2,-2l3,3l3,-3l2,2l-3,3l3,3l-2,2l-3,-3l-3,3l-2,-2l3,-3z",
  "*": "M0,-6l1.5,4h4l-3,3l1,4l-3.5,-2l-3.5,2l1,-4l-3,-3h4z" };
let at = null;
const percent = value => +(100 * value).toFixed(1);
const spot = p => [x(p.level).toFixed(1), y(p.mean).toFixed(1)];
const path = places => "M" + places.join("L");
const shown = () => data.curves[place()] || {};
const names = () => {
  const all = Object.keys(shown());
  return all.includes(method.value) ? [...all.filter(m => m !== method.value), method.value] : all;
};
const draw = () => {
  const found = shown(), chosen = found[method.value] ? method.value : null;
  const gap = low() < .45 ? .2 : low() < .75 ? .1 : low() < .9 ? .05 : .02;
  let text = `<text x="0" y="13">I-AUROC</text>`;
  for (let n = Math.ceil(low() / gap - 1e-9); n * gap < 1.001; n++)
    text += `<path class="axis" opacity=".35" d="M${left},${y(n * gap)}H${right}"/>
      <text x="${left - 6}" y="${y(n * gap) + 5}" text-anchor="end">
        ${(n * gap).toFixed(gap < .1 ? 2 : 1)}</text>`;
  for (const level of data.levels)
    text += `<text x="${x(level)}" y="${bottom + 18}" text-anchor="middle">
      ${percent(level)}</text>`;
  text += `<path class="axis" d="M${left},${bottom}H${right}"/>
    <text x="${(left + right) / 2}" y="${bottom + 38}" text-anchor="middle">
      injected anomalies / %</text>
    <clipPath id="${box.id}-panel"><path d="M${left},${top - 10}H${right + 8}V${bottom}H${left}z"/>
    </clipPath><g clip-path="url(#${box.id}-panel)">`;
  for (const name of names()) {
    const points = found[name], { colour, marker, dash } = data.looks[name];
    const strong = name === chosen || !chosen;
    if (name === chosen && points[0].low !== null) {
      const above = points.map(p => [x(p.level), y(high(p.high))]);
      const below = points.map(p => [x(p.level), y(high(p.low))]).reverse();
      text += `<path fill="${colour}" opacity=".18" d="${path([...above, ...below])}z"/>`;
    }
    text += `<g data-method="${name}" opacity="${strong ? 1 : .35}" fill="${colour}"
      stroke="${colour}"><path fill="none" stroke-width="${name === chosen ? 3 : 1.8}"
      stroke-dasharray="${dash}" d="${path(points.map(spot))}"/>`;
    text += points.map(p => `<path class="point" stroke="none" d="${shape[marker]}"
      transform="translate(${spot(p)})"/>`).join("") + "</g>";
  }
  const point = at && found[at.name] && found[at.name].find(p => p.level === at.level);
  if (point)
    text += `<circle class="here" cx="${spot(point)[0]}" cy="${spot(point)[1]}" r="9"
      fill="none" stroke="currentColor" stroke-width="2"/>`;
  svg.innerHTML = text + "</g>";
  faults.replaceChildren(...(point ? point.faults : []).map(([cell, bad, wrong]) => {
    const one = document.createElement("figure"), photo = document.createElement("div");
    const kind = bad ? "anomalous" : "nominal", words = document.createElement("span");
    photo.setAttribute("role", "img");
    photo.setAttribute("aria-label", `${kind} test image`);
    photo.style.setProperty("--kind", `var(--${kind})`);
    photo.style.backgroundImage = `url("${data.sheet}")`;
    photo.style.backgroundSize = `${edge * data.columns}px auto`;
    photo.style.backgroundPosition =
      `${-edge * (cell % data.columns)}px ${-edge * Math.floor(cell / data.columns)}px`;
    words.textContent = bad ? `defective, below ${wrong} % of the good`
      : `good, above ${wrong} % of the defective`;
    one.append(photo, words);
    return one;
  }));
  box.querySelector(".key").innerHTML = Object.keys(found).map(name => {
    const { colour, marker, label } = data.looks[name];
    const mark = `<path fill="${colour}" d="${shape[marker]}"/>`;
    return `<span><svg viewBox="-6 -6 12 12" aria-hidden="true">${mark}</svg> ${label}</span>`;
  }).join("");
  if (point) {
    const between = point.low === null ? "" : ` [${per(point.low)}, ${per(point.high)}]`;
    const each = Object.entries(point.seeds).map(([seed, v]) => `seed ${seed}: ${per(v)}`);
    said.innerHTML = `<b>${data.looks[at.name].label}</b> at ${percent(at.level)} %: I-AUROC ` +
      `${per(point.mean)} %${between}, mean and 95 % interval of ${each.length} seeds.<br>` +
      `${each.join(", ")}.` + (point.faults.length
        ? ` The test images that seed ${point.seed} puts most out of order:` : "");
  } else if (!Object.keys(found).length) said.textContent = "There are no such runs.";
  else said.textContent = "Point at a mark, or tap it, for the values of its seeds" +
    (data.sheet ? " and the images behind it. " : ". ") + "Arrow keys go from mark to mark.";
};
const nearest = event => {
  const frame = svg.getBoundingClientRect(), scale = 400 / frame.width;
  const [px, py] = [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
  let best = null, least = 40 ** 2;
  const found = shown(), chosen = found[method.value] ? [method.value] : Object.keys(found);
  for (const name of chosen) for (const p of found[name]) {
    const far = (x(p.level) - px) ** 2 + (y(p.mean) - py) ** 2;
    if (far < least && p.mean >= low()) [best, least] = [{ name, level: p.level }, far];
  }
  if (best) { at = best; draw(); }
};
const step = event => {
  const found = shown(), all = Object.keys(found);
  const moves = { Left: [-1, 0], Right: [1, 0], Up: [0, -1], Down: [0, 1] };
  const move = moves[event.key.replace("Arrow", "")];
  if (!move || !all.length) return;
  event.preventDefault();
  const cycle = (list, here, by) => list[(list.indexOf(here) + by + list.length) % list.length];
  const name = at && found[at.name] ? cycle(all, at.name, move[1])
    : found[method.value] ? method.value : all[0];
  const levels = found[name].map(p => p.level);
  const known = at && levels.includes(at.level);
  at = { name, level: known ? cycle(levels, at.level, move[0]) : levels[levels.length - 1] };
  draw();
};
svg.addEventListener("pointermove", nearest);
svg.addEventListener("pointerdown", nearest);
svg.addEventListener("keydown", step);
for (const one of box.querySelectorAll("select")) one.addEventListener("change", draw);
box.hidden = false;
faults.hidden = !data.sheet;
draw();
})();
"""


def noise_chooser(rows: pd.DataFrame, name: str = "turn-noise") -> str:
    """The noise curves as HTML: choose what to see, point at a mark for the values behind it.

    Args:
        rows: of `noise.prepared`, of either protocol or both.
        name: the element's id on the page.

    Returns:
        HTML for `interactive.show_inline`. The values are those of `noise.curves` and
        `noise.by_seed`, to four digits; the images behind a point are those of `noise.faults`,
        where the results store holds the runs and their images are still there.

    Raises:
        InputError: there are no rows.
    """
    if rows.empty:
        raise InputError("there are no runs to choose from; run the grid of `evidence.curves`.")
    methods, points, seeds = ordered(rows["method"]), curves(rows), by_seed(rows)
    points = points.sort_values("method", key=lambda c: c.map(methods.index), kind="stable")
    seeds = seeds.set_index([*KEYS, "contamination"])
    behind, sheet = _behind(rows)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for point in points.to_dict("records"):
        place = "/".join([point["dataset"], point["detector"], _protocol(point["overlap"])])
        key = (*(point[column] for column in KEYS), point["contamination"])
        values = seeds.loc[[key]]
        found.setdefault(place, {}).setdefault(point["method"], []).append(
            {
                "level": point["contamination"],
                "mean": round(point["mean"], 4),
                "low": _number(point["low"]),
                "high": _number(point["high"]),
                "seeds": {
                    str(seed): round(value, 4)
                    for seed, value in zip(values["seed"], values["value"], strict=True)
                },
                "seed": int(values["seed"].min()),
                "faults": behind.get(key, []),
            }
        )
    data = {
        "curves": found,
        "lows": {place: _lows(lines) for place, lines in found.items()},
        "looks": {method: _look(method) for method in methods},
        "levels": sorted(float(level) for level in points["contamination"].unique()),
        "columns": COLUMNS,
        "sheet": sheet,
        "top_level": max(float(points["contamination"].max()), 1e-9),
    }
    named = data_names(rows)
    protocols = {"leave": "leave the test set", "stay": "stay in it"}
    there = {place.rpartition("/")[2] for place in found}
    choices = [
        ("Data", {value: named[value] for value in dict.fromkeys(rows["dataset"])}, ""),
        ("Detector", {value: label(value) for value in dict.fromkeys(rows["detector"])}, ""),
        ("Injected images", {key: text for key, text in protocols.items() if key in there}, ""),
        ("Method", {"": "all", **{value: label(value) for value in methods}}, METHOD),
    ]
    body = (
        f'<div class="choose">{"".join(_select(*choice) for choice in choices)}</div>'
        '<svg viewBox="0 0 400 280" tabindex="0" role="img" aria-label="I-AUROC against the share '
        'of injected anomalies, a line for each method; arrow keys go from mark to mark."></svg>'
        '<div class="key"></div>'
        '<output aria-live="polite"></output><div class="faults"></div>'
    )
    return STYLE.strip() + "\n" + widget(name, body, CHOOSER, data)


def _behind(rows: pd.DataFrame) -> tuple[dict[tuple[Any, ...], list[list[Any]]], str]:
    """Of each point the images behind it, [cell, whether anomalous, share in percent]; a sheet."""
    found: dict[tuple[Any, ...], list[list[Any]]] = {}
    cells: dict[str, int] = {}
    images: list[Any] = []
    for fault in faults(rows).to_dict("records") if "hash" in rows else []:
        path = fault["path"]
        if path not in cells:
            try:
                images.append(resize(read_image(path), CELL))
            except (InputError, OSError):
                continue
            cells[path] = len(images) - 1
        key = (*(fault[column] for column in KEYS), fault["contamination"])
        share = max(1, round(100 * fault["wrong"]))
        found.setdefault(key, []).append([cells[path], bool(fault["label"] == 1), share])
    return found, data_address(images, COLUMNS) if images else ""


def _lows(lines: dict[str, list[dict[str, Any]]]) -> list[float]:
    """Where the axis of a panel begins: for the methods that set its scale, and for all."""
    rows = [{"method": method, **point} for method, line in lines.items() for point in line]
    points = pd.DataFrame(rows).astype({"low": float})
    some = (setting_the_scale(points), points)
    return [max(0.0, math.floor(20 * lowest(one) - 0.5) / 20) for one in some]


def _protocol(overlap: bool) -> str:
    return "stay" if overlap else "leave"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _look(method: str) -> dict[str, Any]:
    """How a method is drawn, and whether it is a detector of its own."""
    style = look(method)
    solid = style["ls"] == "-"
    colour = "currentColor" if method == "plain" else style["color"]
    dash = "none" if solid else "6 3"
    drawn = {"colour": colour, "marker": style["marker"], "dash": dash}
    return {**drawn, "label": label(method), "own": method in UNTRAINED}


def _select(title: str, options: dict[str, str], chosen: str) -> str:
    inside = "".join(
        f'<option value="{html.escape(value)}"{" selected" * (value == chosen)}>'
        f"{html.escape(text)}</option>"
        for value, text in options.items()
    )
    return f"<label>{title}<select>{inside}</select></label>"
