"""A family of moulded plugs, seen into the sockets, under light that nobody controls."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from synthetic.kit import (
    Array,
    Draws,
    Light,
    blob,
    box,
    cast_shadow,
    cloud,
    cover,
    grid,
    lamp,
    line,
    lit,
    mix,
    ramp,
    shade,
    smooth_noise,
    turned,
    wander,
)

SHAPE = (256, 256)
KINDS = ("bent_pin", "crack", "flash", "missing_pin")
ODD = ("deep_shadow", "dim", "warm", "askew")
CELL = 44.0
ZOOM = 1.32  # pixels for a unit of the drawing
# Columns and rows of pins, colour of the housing.
VARIANTS = {
    "connector_2": (2, 1, (0.56, 0.53, 0.44)),
    "connector_4": (2, 2, (0.055, 0.058, 0.062)),
    "connector_6": (3, 2, (0.075, 0.17, 0.33)),
}


def draw(draws: Draws, kind: str | None, odd: str | None, variant: str = "connector_4") -> Array:
    """Linear RGB of one plug of the family `VARIANTS`."""
    columns, rows, colour = VARIANTS[variant]
    rng = draws("pose")
    light = lamp(draws("lamp"), gain=0.13, warmth=0.05, tilt=0.25, turn=0.45, height=0.95)
    angle = rng.normal(0, 0.03) + (0.22 * rng.choice([-1, 1]) if odd == "askew" else 0)
    centre = np.array([127.5, 136.0]) + rng.normal(0, 2.5, 2)
    x, y = (axis / ZOOM for axis in turned(SHAPE, (float(centre[0]), float(centre[1])), angle))
    half = (columns * CELL / 2 + 14, rows * CELL / 2 + 12)
    flaw = draws("defect")
    pins = [
        ((i - (columns - 1) / 2) * CELL, (j - (rows - 1) / 2) * CELL)
        for j in range(rows)
        for i in range(columns)
    ]
    hurt = int(flaw.integers(len(pins))) if kind in ("bent_pin", "missing_pin") else -1

    body = box(x, y, *half, 9)
    latch = box(x, y + half[1] + 5, 20, 12, 4)
    rib = np.minimum(box(np.abs(x) - half[0], y, 4, half[1] * 0.6, 2), latch)
    outside = np.minimum(body, rib)
    height = 12 * ramp(0.5, -5, body) + 2.0 * ramp(-6, -10, body)
    height = np.maximum(height, 8 * ramp(0.5, -4, rib))
    height = np.maximum(height, 17 * ramp(0.5, -3, box(x, y + half[1] + 7, 13, 6, 3)))
    mark = _mark(x + half[0] - 13, y + half[1] - 11)
    height = height + 1.6 * cover(mark, 1.5)
    if kind == "flash":
        height, outside = _flash(flaw, x, y, half, height, outside)
    albedo = np.array(colour) * np.exp(rng.normal(0, 0.02, 1))
    grainy = smooth_noise(draws("mould"), SHAPE, 0.9, 0.9)
    tone = 1 + 0.025 * grainy + 0.03 * cloud(draws("mould"), SHAPE, 1.5, 90)
    surface = albedo * tone[..., None]
    height = ZOOM * height + 0.045 * grainy
    gloss = np.full(SHAPE, 0.06)
    deep = np.zeros(SHAPE)
    for n, (px, py) in enumerate(pins):
        lean, spin = rng.normal(0, 0.35, 2), rng.normal(0, 0.02)
        if n == hurt:
            way = flaw.uniform(0, 2 * np.pi)
            lean = flaw.uniform(6.0, 9.0) * np.array([np.cos(way), np.sin(way)])
            spin = flaw.normal(0, 0.35)
        # Only the part of the picture around the socket is touched.
        near = np.abs(x - px) + np.abs(y - py) < 36
        rows_, columns_ = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        part = np.s_[rows_[0] : rows_[-1] + 1, columns_[0] : columns_[-1] + 1]
        _socket(x[part] - px, y[part] - py, surface[part], height[part], deep[part])
        if n == hurt and kind == "missing_pin":
            empty = box(x[part] - px, y[part] - py, 4, 4, 1)
            surface[part] = mix(surface[part], (0.006, 0.006, 0.007), cover(empty))
        else:
            _pin(x[part] - px, y[part] - py, lean, spin, surface[part], height[part], gloss[part])
    if kind == "crack":
        surface, height = _crack(flaw, centre, half, surface, height)

    inside = cover(outside)
    diffuse, mirror = shade(height, light, 1.0, 4)
    # Little light finds its way into a socket; its upper left wall shades it.
    hidden = ndimage.shift(1 - deep, (5, 5), order=1, mode="nearest") * deep
    diffuse = diffuse * (1 - 0.55 * ndimage.gaussian_filter(hidden, 1.5, truncate=2.5))
    plug = lit(surface, diffuse, mirror * gloss, light)
    image = mix(_bench(draws, inside, light), plug, inside)
    return image * _weather(draws, odd)[..., None] * _tint(odd)


def _socket(x: Array, y: Array, surface: Array, height: Array, deep: Array) -> None:
    """Sink a square hole into the three maps."""
    hole = box(x, y, 16, 16, 4)
    height += ZOOM * (-1.5 * ramp(3, 0, np.abs(hole)) - 9 * cover(hole, 3))
    deep[...] = np.maximum(deep, cover(hole, 2.0))
    surface[...] = mix(surface, surface * 0.22, cover(hole + 1, 3))


def _pin(
    x: Array, y: Array, lean: Array, spin: float, surface: Array, height: Array, gloss: Array
) -> None:
    """Draw a square brass pin into the three maps; its tip leans away from its foot."""
    c, s = np.cos(spin), np.sin(spin)
    for step in np.linspace(0, 1, 5):
        u, v = x - lean[0] * step, y - lean[1] * step
        square = box(c * u + s * v, c * v - s * u, 6.0 - 0.8 * step, 6.0 - 0.8 * step, 1.2)
        part = cover(square)
        brass = np.array([0.52, 0.40, 0.17]) * (0.45 + 0.55 * step)
        surface[...] = mix(surface, brass, part)
    height[...] = height * (1 - part) + ZOOM * (11 + 4.0 * ramp(0, -4, square)) * part
    gloss[...] = gloss * (1 - part) + 0.45 * part


def _mark(x: Array, y: Array) -> Array:
    """A raised triangle shows where pin 1 is."""
    return np.maximum(np.maximum(y - 4, -0.5 * y + 0.87 * x - 2.5), -0.5 * y - 0.87 * x - 2.5)


def _flash(
    rng: np.random.Generator,
    x: Array,
    y: Array,
    half: tuple[float, float],
    height: Array,
    outside: Array,
) -> tuple[Array, Array]:
    """Plastic that was pressed out of the mould hangs on an edge as a thin ragged fin."""
    side, across = rng.integers(4), rng.uniform(-0.6, 0.6)
    px = (-half[0], half[0], across * half[0], across * half[0])[side]
    py = (across * half[1], across * half[1], half[1], half[1])[side]
    edge = blob(rng, x - px, (y - py), rng.uniform(7, 15), 0.5)
    edge = edge + 0.9 * smooth_noise(rng, SHAPE, 1.6, 1.6)
    fin = cover(edge, 2)
    beyond = fin * cover(-outside, 2)
    height = height + 5 * beyond + 1.2 * (fin - beyond)
    return height, np.minimum(outside, edge)


def _crack(
    rng: np.random.Generator,
    centre: Array,
    half: tuple[float, float],
    surface: Array,
    height: Array,
) -> tuple[Array, Array]:
    """From an outer wall inwards."""
    side = rng.choice([-1, 1])
    start = (
        float(centre[0] + side * ZOOM * half[0] * rng.uniform(0.2, 0.97)),
        float(centre[1] + rng.choice([-1, 1]) * ZOOM * half[1]),
    )
    aim = np.arctan2(centre[1] - start[1], centre[0] - start[0] + rng.normal(0, 30))
    path = wander(rng, start, aim, rng.uniform(30, 80), 0.35, 5)
    mark = line(rng, SHAPE, path, rng.uniform(1.7, 2.9), 0.35)
    lip = line(rng, SHAPE, path + 1.3, 1.3, 0.35)
    pale = surface * 0.5 + 0.16
    surface = mix(mix(surface, pale, 0.7 * lip), (0.012, 0.012, 0.012), 0.92 * mark)
    return surface, height - 2 * mark


def _bench(draws: Draws, inside: Array, light: Light) -> Array:
    rng = draws("bench")
    brushed = smooth_noise(rng, SHAPE, 9, 0.6)
    tone = 1 + 0.035 * brushed + 0.03 * cloud(rng, SHAPE, 1.5, 200)
    shadow, contact = cast_shadow(inside, light, 13, 6), cast_shadow(inside, light, 4, 3)
    dim = (1 - 0.5 * shadow) * (1 - 0.4 * contact)
    return lit(np.array([0.27, 0.28, 0.28]) * tone[..., None], dim, np.zeros(SHAPE), light)


def _weather(draws: Draws, odd: str | None) -> Array:
    """A soft shadow of something outside the picture, in about a third of the images."""
    rng = draws("shadow")
    depth = rng.uniform(0.12, 0.3) * (rng.random() < 0.35)
    if odd == "deep_shadow":
        depth = rng.uniform(0.34, 0.42)
    x, y = grid(SHAPE)
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-50, 80)
    edge = (x - 128) * np.cos(angle) + (y - 128) * np.sin(angle) - offset
    return (1 - depth * ramp(-20, 20, edge)) * (0.72 if odd == "dim" else 1)


def _tint(odd: str | None) -> Array:
    return np.array([1.12, 1.0, 0.78]) if odd == "warm" else np.ones(3)
