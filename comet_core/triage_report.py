"""The report of a search through a folder: one HTML file that asks nothing of anyone.

Style, script and pictures are inside; a content security policy forbids the rest. The first images
are shown large with outlines and maps, the others as small pictures until a budget of bytes is
spent, the rest by name. Without scripts it can be read and printed; with them it is filtered,
sorted and marked, and the marks are saved as CSV.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import os
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image as PillowImage

from comet_core.errors import InputError
from comet_core.figures_triage import outlines, ratio, summit
from comet_core.images import read_fitted
from comet_core.inspection import Inspection
from comet_core.names import enumerated, readable

MARK = '<meta name="generator" content="CoMet companion: search">'
"""By which a report is known for one, in the head of its page."""
HEAD = 4096
"""So many characters hold the marks of a report."""
LARGE, SMALL = 480, 112
"""Longer sides, in pixels, of the pictures in the report."""
BUDGET = 12_000_000
"""Bytes of pictures after which images are listed by name only."""
HEAT = 64
ODD = {"differnet": "as a whole"}
"""What a detector finds odd, if not places."""


def render(seen: Inspection, out: Path, *, source: str = "", budget: int = BUDGET) -> str:
    """The report as HTML.

    Args:
        seen: what came of the search; as many images are shown large as it has maps.
        out: the folder that the report will lie in, from which links to the images start.
        source: what the images are, where that has to be said, such as "synthetic stand-in".
        budget: bytes of pictures, after which images are listed by name.

    Raises:
        InputError: an image cannot be read any more.
    """
    large, spent = [], 0
    rows = list(seen.table.itertuples(index=False))
    for row, one in zip(rows, seen.maps, strict=False):
        picture = _large(seen, row, one)
        spent += len(picture)
        large.append(_card(seen, row, out, picture, verdict=True))
    small = []
    for row in rows[len(large) :]:
        picture = _small(seen, row) if spent < budget else _NO_PICTURE
        spent += len(picture)
        small.append(_card(seen, row, out, picture, verdict=False))
    return readable(_page(seen, source, large, small))  # it has names of files and of their folder


def _large(seen: Inspection, row: Any, one: NDArray[np.floating]) -> str:
    """A picture with the outlines and the heat of its map over it."""
    image = read_fitted(seen.folder / row.path, LARGE)
    heat = _png(_heat(one, seen.usual, max(float(seen.maps.max()), seen.usual + 1e-9)))
    path = _path(one, seen.level)
    return _stage(
        image,
        _jpeg(image, 82),
        f"Image {row.rank}, {row.path}",
        f'<img class="heat" alt="" src="{heat}">'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="under" d="{path}"/><path class="over" d="{path}"/></svg>',
    )


def _small(seen: Inspection, row: Any) -> str:
    image = read_fitted(seen.folder / row.path, SMALL)
    return _stage(image, _jpeg(image, 70), f"Image {row.rank}, {row.path}")


_NO_PICTURE = '<span class="none">not pictured</span>'


def _stage(image: NDArray[np.uint8], data: str, alt: str, over: str = "") -> str:
    height, width = image.shape[:2]
    return (
        f'<span class="stage" style="--shape:{width / height:.4f}"><img src="{data}" '
        f'alt="{escape(alt, quote=True)}" loading="lazy" decoding="async">{over}</span>'
    )


def _card(seen: Inspection, row: Any, out: Path, picture: str, *, verdict: bool) -> str:
    name = escape(row.path)
    file = escape(_link(seen.folder / row.path, out), quote=True)
    score = ratio(row.score / seen.threshold) if seen.threshold > 0 else f"{row.score:.3g}"
    extra = _verdict(row.rank) if verdict else ""
    why = f'<span class="why">{_why(seen, row)}</span>' if verdict else ""
    return (
        f'<li class="card{" flagged" * bool(row.flagged)}" id="i{row.rank}" '
        f'data-rank="{row.rank}" data-file="{file}">'
        f'<button type="button" class="look" aria-label="Enlarge image {row.rank}, {name}">'
        f'{picture}</button><div class="told"><span class="top"><span class="rank">{row.rank}'
        f'</span><span class="score">{escape(score)}</span></span>'
        f'<span class="name" title="{escape(row.path, quote=True)}">{name}</span>{why}</div>{extra}'
        "</li>"
    )


def _why(seen: Inspection, row: Any) -> str:
    """Which of two detectors would flag the image by itself, in words; nothing where none would."""
    both = [seen.detector, seen.second] if seen.second else []
    told = dict.fromkeys(ODD.get(name, "in places") for name in both if getattr(row, name) > 1)
    return f"odd {enumerated(list(told))}" if told else ""


def _verdict(rank: int | str) -> str:
    return (
        f'<div class="verdict" role="group" aria-label="Verdict on image {rank}" hidden '
        'data-needs-script><button type="button" data-verdict="defective" aria-pressed="false">'
        'Defective</button><button type="button" data-verdict="fine" aria-pressed="false">Fine'
        "</button></div>"
    )


def _link(file: Path, out: Path) -> str:
    """From the report to an image: a relative address, which holds as long as both stay put.

    Links are followed first, since the `..` behind one does not lead back to where it lies.
    """
    file, out = file.resolve(), out.resolve()
    try:
        return quote(os.fsencode(Path(os.path.relpath(file, out)).as_posix()))
    except ValueError:  # another drive of Windows
        return file.as_uri()


def _path(one: NDArray[np.floating], level: float) -> str:
    """Outlines as an SVG path on 100 x 100; a cross at the peak where there is none."""
    lines = outlines(one, level)
    if lines:
        return "".join(
            "M" + "L".join(f"{100 * x:.1f},{100 * y:.1f}" for x, y in line[:-1]) + "Z"
            for line in lines
        )
    x, y = 100 * np.clip(summit(one), 0.04, 0.96)
    return f"M{x - 3:.1f},{y:.1f}H{x + 3:.1f}M{x:.1f},{y - 3:.1f}V{y + 3:.1f}"


def _heat(one: NDArray[np.floating], low: float, high: float) -> PillowImage.Image:
    """A map as colours: clear where it is as usual, opaque where it is highest of all."""
    strength = np.clip((one - low) / (high - low), 0, 1)
    pixels = (colormaps["inferno"](0.25 + 0.75 * strength) * 255).astype(np.uint8)
    pixels[..., 3] = (210 * np.sqrt(strength)).astype(np.uint8)
    return PillowImage.fromarray(pixels).resize((HEAT, HEAT), PillowImage.Resampling.BILINEAR)


def _jpeg(image: NDArray[np.uint8], quality: int) -> str:
    return _data(PillowImage.fromarray(image), "jpeg", quality=quality, optimize=True)


def _png(image: PillowImage.Image) -> str:
    return _data(image.quantize(64), "png", optimize=True)


def _data(image: PillowImage.Image, kind: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


# -- the curve -------------------------------------------------------------------------------------


def curve(table: pd.DataFrame, threshold: float) -> str:
    """The sorted scores and the cut as SVG that follows the page's colours; crosses are links."""
    left, right, top, bottom = 38.0, 432.0, 12.0, 170.0
    scores = table["score"].to_numpy(dtype=float) / threshold
    low, high = min(scores.min(), 1.0) / 1.3, max(scores.max(), 1.0) * 1.5
    span = math.log(high / low)

    def x(rank: float) -> float:
        return left + 5 + (right - left - 10) * (rank - 1) / max(1, len(scores) - 1)

    def y(score: float) -> float:
        return bottom - (bottom - top) * math.log(score / low) / span

    ticks = [10.0**power for power in range(-9, 10)]
    if math.log10(high / low) < 2.5:
        ticks += [factor * tick for tick in ticks for factor in (2, 5)]
    inside = [tick for tick in ticks if low < tick < high]
    if len(inside) > 7:
        inside = inside[:: math.ceil(len(inside) / 7)]
    parts = []
    for tick in sorted(inside):
        if tick != 1:
            parts.append(f'<path class="grid" d="M{left},{y(tick):.1f}H{right}"/>')
        parts.append(
            f'<text x="{left - 5}" y="{y(tick) + 3:.1f}" text-anchor="end">{_tick(tick)}</text>'
        )
    for row, score in zip(table.itertuples(), scores, strict=True):
        px, py = x(float(row.rank)), y(score)  # type: ignore[arg-type]
        if row.flagged:
            cross = f"M{px - 3:.1f},{py - 3:.1f}l6,6m-6,0l6,-6"
            parts.append(
                f'<a href="#i{row.rank}" aria-label="image {row.rank}">'
                f'<path class="high" d="{cross}"/></a>'
            )
        else:
            parts.append(f'<circle class="rest" cx="{px:.1f}" cy="{py:.1f}" r="1.3"/>')
    count = int(table["flagged"].sum())
    parts.append(
        f'<path class="cut" d="M{left},{y(1):.1f}H{right}"/>'
        f'<text class="cut-name" x="{right}" y="{y(1) - 5:.1f}" text-anchor="end">'
        f"cut at t: {count} flagged</text>"
        f'<text x="{left}" y="{bottom + 16}">1</text>'
        f'<text x="{right}" y="{bottom + 16}" text-anchor="end">rank {len(scores)}</text>'
    )
    about = f"Scores of {len(scores)} images in descending order; {count} lie above the cut at t."
    return f'<svg viewBox="0 0 440 192" role="img" aria-label="{about}">{"".join(parts)}</svg>'


def _tick(value: float) -> str:
    """A number of the axis; beyond thousands and thousandths as a power of ten."""
    power = round(math.log10(value))
    if 1e-3 < value < 1e4 or not math.isclose(value, 10.0**power):
        return f"{value:g}"
    return f"10{str(power).translate(_RAISED)}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


# -- the page --------------------------------------------------------------------------------------


def _page(seen: Inspection, source: str, large: list[str], small: list[str]) -> str:
    table = seen.table
    count, flagged, left_out = len(table), seen.flagged, len(seen.skipped)
    facts = [
        ("images", f"{count:,}", ""),
        ("flagged", f"{flagged:,}", "flagged"),
        ("share flagged", f"{100 * flagged / count:.1f} %", ""),
        ("left out", f'<a href="#left-out">{left_out:,}</a>' if left_out else "0", ""),
    ]
    positive = bool((table["score"] > 0).all()) and seen.threshold > 0
    edge = getattr(seen.settings, "image_size", 256)
    return Template(_asset("html")).substitute(
        key=folder_key(seen.folder),
        name=escape(seen.folder.resolve().name),
        css=_asset("css"),
        js=_asset("js"),
        source=f"<p><b>{escape(source)}</b></p>" if source else "",
        summary=_summary(count, flagged),
        facts="".join(
            f'<div class="{kind}"><dt>{label}</dt><dd>{value}</dd></div>'
            for label, value, kind in facts
        ),
        curve=_figure(table, seen.threshold) if positive else "",
        kappa=f"{seen.settings.kappa:g}",
        edge=str(edge),
        few=_FEW if count < 30 else "",
        large="".join(large),
        rest=f'<h2>The others</h2><ol class="cards small">{"".join(small)}</ol>' if small else "",
        described=escape(seen.describe(source or "unlabelled images")),
        threshold=f"{seen.threshold:.4g}",
        skipped=_skipped(seen),
        verdict=_verdict("shown"),
        data=_json(seen),
    )


_FEW = (
    "<div><dt>Few images</dt><dd>Fewer than thirty images tell little about what is usual. Trust "
    "the order more than the cut, and add images if you can.</dd></div>"
)


def _figure(table: pd.DataFrame, threshold: float) -> str:
    return (
        f'<figure class="curve">{curve(table, threshold)}<figcaption>All images by score, in '
        "units of the cut <i>t</i>, on a logarithmic axis. Crosses are flagged and lead to their "
        "image. A clear step says that the order has found something; a slope without a step says "
        "that the cut is one of many possible.</figcaption></figure>"
    )


def _summary(count: int, flagged: int) -> str:
    if not flagged:
        return (
            f"{count} images were compared with one another, without labels, and none stands out "
            "so far that the cut flags it. They are still in the order of suspicion below."
        )
    is_are, it = ("is", "It is") if flagged == 1 else ("are", "They are")
    return (
        f"{count} images were compared with one another, without labels. <b>{flagged}</b> "
        f"{is_are} so unlike the rest that the cut flags {'it' if flagged == 1 else 'them'}. "
        f"{it} not therefore defective: the order says where to look first, and you decide."
    )


def _skipped(seen: Inspection) -> str:
    """The files that were left out, as far as anyone would read."""
    if not seen.skipped:
        return ""
    items = "".join(f"<li>{escape(str(skip))}</li>" for skip in seen.skipped[:200])
    more = len(seen.skipped) - 200
    items += f"<li>and {more} more</li>" if more > 0 else ""
    title = f"<summary>Left out: {len(seen.skipped)}</summary>"
    return f'<details id="left-out">{title}<ul>{items}</ul></details>'


def folder_key(images: Path) -> str:
    """Sixteen hex digits that stand for where a folder lies, and do not tell it."""
    return hashlib.sha256(os.fsencode(images.resolve())).hexdigest()[:16]


def is_report(file: Path, images: Path | None = None) -> bool:
    """Whether a file is a report, and if a folder is given, one on its images."""
    try:
        with file.open(encoding="utf-8", errors="replace") as page:
            head = page.read(HEAD)
    except OSError:
        return False
    told = f'<meta name="folder" content="{folder_key(images)}">' if images else ""
    return MARK in head and told in head


def _json(seen: Inspection) -> str:
    """What the script needs beyond the page: the table, to be saved with the marks.

    A mark is kept in the browser for a path in this folder and the file's size: so it is there when
    the search is done again without the other images, but not for an image that took the name.
    """
    text = json.dumps(
        {
            "columns": list(seen.table.columns),
            "rows": seen.table.map(_six_digits).to_numpy(dtype=object).tolist(),
            "files": [f"{path} {_size(seen.folder / path)}" for path in seen.table["path"]],
            "threshold": seen.threshold,
            "key": folder_key(seen.folder),
        }
    )
    return text.replace("<", "\\u003c")


def _six_digits(value: Any) -> Any:
    """A number as the list has it, however small."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise InputError(
            f"image '{file}' can no longer be found ({error.strerror}); search again."
        ) from None


def _asset(kind: str) -> str:
    return (files("comet_core") / f"triage_report.{kind}").read_text(encoding="utf-8")
