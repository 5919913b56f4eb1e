"""Brown grained leather."""

from __future__ import annotations

import numpy as np

from synthetic.kit import (
    Array,
    Draws,
    blob,
    cells,
    cloud,
    cover,
    lamp,
    line,
    lit,
    mix,
    ramp,
    shade,
    smooth_noise,
    stroke,
    turned,
    wander,
)

SHAPE = (256, 256)
KINDS = ("cut", "glue", "puncture", "scuff")
ODD = ("vein", "dye_lot", "coarse", "raking_light")


def draw(draws: Draws, kind: str | None, odd: str | None) -> Array:
    """Linear RGB of one piece of leather."""
    rng = draws("hide")
    raking = odd == "raking_light"
    light = lamp(draws("lamp"), tilt=0.22 if raking else 0.07, height=0.62 if raking else 0.95)
    size = 8.6 * np.exp(rng.normal(0, 0.03)) * (1.28 if odd == "coarse" else 1)
    x, y = turned(SHAPE, (128, 128), rng.uniform(-0.3, 0.3))
    warp = draws("warp")
    u = x + 3.2 * cloud(warp, SHAPE, 1.5, 50)
    v = 1.15 * y + 3.2 * cloud(warp, SHAPE, 1.5, 50)
    near, second, value = cells(draws("pebbles"), u + 900, v + 900, size)
    groove = ramp(0.30, 0.02, second - near)
    fine = smooth_noise(draws("fine"), SHAPE, 0.8, 0.8)
    waves = cloud(draws("waves"), SHAPE, 1.8, 120)
    height = 2.0 * (1 - groove) * (0.8 + 0.3 * value) - 0.5 * near + 0.09 * fine + 0.7 * waves
    tone = 1 + 0.07 * (value - 0.5) + 0.05 * cloud(draws("tone"), SHAPE, 1.3, 180) - 0.34 * groove
    base = np.array([0.33, 0.155, 0.07]) * np.exp(rng.normal(0, 0.03) + rng.normal(0, 0.01, 3))
    if odd == "dye_lot":
        base = base * np.array([0.74, 0.68, 0.72])
    albedo = base * tone[..., None]
    gloss = np.full(SHAPE, 0.10)
    if odd == "vein":
        height = _vein(draws("odd"), height)

    flaw = draws("defect")
    if kind == "cut":
        path = wander(flaw, _place(flaw), flaw.uniform(0, 6.3), flaw.uniform(40, 95), 0.06)
        width = flaw.uniform(1.6, 3.0)
        distance, _ = stroke(SHAPE, path)
        slit = line(flaw, SHAPE, path, width, 0.45)
        lips = np.exp(-(((distance - width) / 1.5) ** 2)) * (distance < 20)
        height = height + 0.8 * lips - 3.0 * slit
        albedo = mix(mix(albedo, (0.42, 0.28, 0.17), 0.55 * lips), (0.02, 0.012, 0.008), slit)
    elif kind == "scuff":
        height, albedo, gloss = _scuff(flaw, height, albedo, gloss)
    elif kind == "puncture":
        for cx, cy in _holes(flaw):
            px, py = turned(SHAPE, (cx, cy), 0)
            radius = flaw.uniform(1.8, 4.2)
            edge = blob(flaw, px, py, radius, 0.25)
            height = height + 1.6 * np.exp(-(((edge - 1.2) / 1.6) ** 2)) - 4 * cover(edge, 2)
            albedo = mix(albedo, (0.012, 0.008, 0.006), cover(edge, 1.6))
    elif kind == "glue":
        cx, cy = _place(flaw)
        px, py = turned(SHAPE, (cx, cy), flaw.uniform(0, 6.3))
        edge = blob(flaw, px, py * flaw.uniform(1, 2), np.exp(flaw.uniform(2.4, 3.1)), 0.4)
        film = ramp(1.0, -3.5, edge)
        height = height * (1 - 0.75 * film) + 1.8 * film
        albedo = mix(albedo, albedo * 0.45 + np.array([0.19, 0.18, 0.14]), 0.85 * film)
        gloss = gloss + 0.3 * film
    diffuse, mirror = shade(height, light, 1.0, 4)
    return lit(albedo, diffuse, mirror * gloss, light)


def _place(rng: np.random.Generator) -> tuple[float, float]:
    x, y = rng.uniform(46, 210, 2)
    return float(x), float(y)


def _holes(rng: np.random.Generator) -> list[tuple[float, float]]:
    """One to four pricks in a row, as a tool leaves them."""
    cx, cy = _place(rng)
    angle, gap = rng.uniform(0, 6.3), rng.uniform(10, 16)
    steps = range(int(rng.integers(1, 5)))
    return [
        (cx + gap * i * float(np.cos(angle)), cy + gap * i * float(np.sin(angle))) for i in steps
    ]


def _scuff(
    rng: np.random.Generator, height: Array, albedo: Array, gloss: Array
) -> tuple[Array, Array, Array]:
    """Worn grain: flattened, pale, streaked in the direction of the rub."""
    cx, cy = _place(rng)
    x, y = turned(SHAPE, (cx, cy), rng.uniform(0, 6.3))
    edge = np.sqrt((x / rng.uniform(34, 54)) ** 2 + (y / rng.uniform(15, 23)) ** 2)
    streaks = np.interp(y, np.arange(-300, 301), rng.normal(0, 1, 601))
    worn = ramp(1.15, 0.5, edge * (1 + 0.12 * streaks)) * rng.uniform(0.8, 1.0)
    worn = worn * np.clip(0.72 + 0.32 * streaks, 0.1, 1)
    pale = albedo.mean(axis=(0, 1)) * np.array([2.1, 2.6, 3.1])
    return height * (1 - 0.85 * worn), mix(albedo, pale, 0.85 * worn), gloss * (1 - 0.6 * worn)


def _vein(rng: np.random.Generator, height: Array) -> Array:
    """The trace of a vein: shallow, branching nowhere, part of every real hide."""
    start = (float(rng.uniform(0, 256)), -5.0)
    path = wander(rng, start, np.pi / 2 + rng.normal(0, 0.3), 280, 0.10, 8)
    distance, _ = stroke(SHAPE, path, 30)
    return height - 2.2 * np.exp(-((distance / 5.0) ** 2))
