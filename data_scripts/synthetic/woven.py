"""A twill: two colours of yarn, one over the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synthetic.kit import (
    Array,
    Draws,
    Light,
    blob,
    cloud,
    cover,
    grid,
    lamp,
    line,
    mix,
    ramp,
    shade,
    smooth_noise,
    turned,
    wander,
)

SHAPE = (256, 256)
KINDS = ("hole", "misweave", "pulled_thread", "stain")
ODD = ("slack", "dye_lot", "lint", "askew")
Lattice = NDArray[np.intp]
PITCH = 9.0  # pixels from yarn to yarn


def draw(draws: Draws, kind: str | None, odd: str | None) -> Array:
    """Linear RGB of one piece of cloth."""
    rng = draws("cloth")
    light = lamp(draws("lamp"), height=1.1)
    angle = rng.normal(0, 0.012) + (rng.choice([-1, 1]) * 0.10 if odd == "askew" else 0)
    pitch = PITCH * (1 + rng.normal(0, 0.006)) * (1.07 if odd == "slack" else 1)
    x, y = turned(SHAPE, (128, 128), angle)
    sway = draws("sway")
    u = x + 0.9 * cloud(sway, SHAPE, 1.6, 90) + rng.uniform(0, 400)
    v = y + 0.9 * cloud(sway, SHAPE, 1.6, 90) + rng.uniform(0, 400)

    flaw = draws("defect")
    tear = np.full(SHAPE, 99.0)
    if kind == "pulled_thread":
        at = (float(flaw.uniform(60, 196)), float(flaw.uniform(60, 196)))
        upright = bool(flaw.random() < 0.5)
        u, v = _pull(flaw, u, v, at, upright)
    if kind == "hole":
        cx, cy = flaw.uniform(45, 211, 2)
        bx, by = turned(SHAPE, (cx, cy), flaw.uniform(0, 6))
        tear = blob(flaw, bx, by * flaw.uniform(1, 1.5), np.exp(flaw.uniform(2.0, 2.9)), 0.3)
        # Threads around a hole give way: they are pushed off its centre.
        push = 3.0 * np.exp(-np.maximum(tear, 0) / 7)
        far = np.sqrt((x - cx + 128) ** 2 + (y - cy + 128) ** 2) + 4
        u, v = u - push * (x - cx + 128) / far, v - push * (y - cy + 128) / far

    albedo, height = _weave(draws, u / pitch, v / pitch, kind, flaw, odd)
    if kind == "hole":
        fray = 2.2 * smooth_noise(flaw, SHAPE, 0.8, 0.8)
        gone = cover(tear + fray, 2.0)
        height = height * (1 - gone) - 5 * gone
        albedo = mix(mix(albedo, albedo * 0.75, cover(tear - 5, 8)), (0.012, 0.012, 0.014), gone)
    if kind == "pulled_thread":
        albedo, height = _loop(flaw, albedo, height, at, upright)
    diffuse, mirror = shade(height, light, gloss=0.02, sharpness=4)
    sheen = np.clip(0.72 + 0.28 * height / 3.2, 0.25, 1.1)  # little light reaches between yarns
    image = _expose(albedo, diffuse * sheen, mirror, light)
    if kind == "stain":
        image = _stain(flaw, image)
    if odd == "lint":
        image = _lint(draws("odd"), image)
    return image


def _expose(albedo: Array, diffuse: Array, mirror: Array, light: Light) -> Array:
    colour = np.array(light.colour) * light.field(SHAPE)[..., None]
    return (albedo * diffuse[..., None] + mirror[..., None]) * colour


def _weave(
    draws: Draws, u: Array, v: Array, kind: str | None, flaw: np.random.Generator, odd: str | None
) -> tuple[Array, Array]:
    """Albedo and height of a 2/2 twill in yarn coordinates."""
    rng = draws("yarn")
    i, j = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    across, along = u - i - 0.5, v - j - 0.5
    warp_up = (i + j) % 4 < 2
    if kind == "misweave":
        warp_up = _misweave(flaw, i, j, warp_up)
    # Distance along the yarn on top from the middle of its float gives the curve of the float.
    phase = (i + j) % 4 + np.where(warp_up, along + 0.5, across + 0.5)
    curve = np.cos((phase - np.where(warp_up, 1, 3)) * np.pi / 2.6)
    off = np.where(warp_up, across, along)
    bow = np.sqrt(np.maximum(1 - (1.9 * off) ** 2, 0.0))
    height = 3.0 * bow * (0.62 + 0.38 * np.clip(curve, -0.6, 1))

    thick = rng.normal(0, 1, (2, 400))
    tone = 1 + 0.035 * np.where(warp_up, thick[0][i % 400], thick[1][j % 400])
    fibres_warp = smooth_noise(rng, SHAPE, 0.45, 2.6)
    fibres_weft = smooth_noise(rng, SHAPE, 2.6, 0.45)
    fibre = np.where(warp_up, fibres_warp, fibres_weft)
    tone = tone * (1 + 0.09 * fibre) * (1 + 0.015 * cloud(rng, SHAPE, 1.4, 160))
    dye = rng.normal(0, 0.02) + rng.normal(0, 0.008, 3)
    warp, weft = np.array([0.075, 0.125, 0.235]), np.array([0.36, 0.37, 0.36])
    if odd == "dye_lot":
        warp = warp * np.array([1.25, 1.15, 0.85])
        weft = weft * np.array([1.08, 1.0, 0.86])
    albedo = np.where(warp_up[..., None], warp, weft) * (1 + dye)
    return albedo * tone[..., None], height + 0.18 * fibre


def _misweave(
    rng: np.random.Generator, i: Lattice, j: Lattice, warp_up: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """A pair of weft yarns passes under all warps over a stretch: the shed did not open."""
    rows = 2
    length = int(rng.integers(8, 16))
    first_i = int(i.min()) + int(rng.integers(3, 26 - length))
    first_j = int(j.min()) + int(rng.integers(3, 23))
    wrong = (j >= first_j) & (j < first_j + rows) & (i >= first_i) & (i < first_i + length)
    return warp_up | wrong


def _pull(
    rng: np.random.Generator, u: Array, v: Array, at: tuple[float, float], upright: bool
) -> tuple[Array, Array]:
    """A snagged yarn parts its neighbours along a line: displacement b exp(-(b / reach)^2)."""
    x, y = grid(SHAPE)
    a, b = (y - at[1], x - at[0]) if upright else (x - at[0], y - at[1])
    half, reach = rng.uniform(22, 55), rng.uniform(9, 14)
    b = b + rng.uniform(-0.06, 0.06) * a
    pull = -rng.uniform(0.85, 1.2) * np.exp(-((a / half) ** 4)) * np.exp(-((b / reach) ** 2)) * b
    return (u + pull, v) if upright else (u, v + pull)


def _loop(
    rng: np.random.Generator,
    albedo: Array,
    height: Array,
    at: tuple[float, float],
    upright: bool,
) -> tuple[Array, Array]:
    """The snagged yarn itself stands out as a loose loop, with its shadow."""
    length = rng.uniform(36, 70)
    heading = np.pi / 2 * upright + rng.normal(0, 0.15)
    start = (
        at[0] - 0.5 * length * float(np.cos(heading)),
        at[1] - 0.5 * length * float(np.sin(heading)),
    )
    path = wander(rng, start, heading, length, 0.25, 4)
    yarn = line(rng, SHAPE, path, 3.4, 0.1)
    shadow = line(rng, SHAPE, path + 2.2, 4.5, 0.1)
    albedo = mix(albedo, albedo * 0.45, 0.8 * shadow)
    albedo = mix(albedo, np.array([0.40, 0.41, 0.40]), 0.95 * yarn)
    return albedo, height * (1 - yarn) + 4.5 * np.sqrt(yarn)


def _stain(rng: np.random.Generator, image: Array) -> Array:
    cx, cy = rng.uniform(40, 216, 2)
    x, y = turned(SHAPE, (cx, cy), rng.uniform(0, 6))
    spot = blob(rng, x, y * rng.uniform(1, 1.8), np.exp(rng.uniform(3.0, 3.6)), 0.35)
    soak = ramp(4, -5, spot) * (0.8 + 0.2 * cloud(rng, SHAPE, 1.2, 30).clip(-2, 2) / 2)
    rim = np.exp(-((spot / 3.0) ** 2))
    strength = rng.uniform(0.8, 1.1)
    tint = np.array([0.40, 0.30, 0.17])
    return image * mix(np.ones(3), tint * 0.85, np.clip(strength * (soak + 0.25 * rim), 0, 1))


def _lint(rng: np.random.Generator, image: Array) -> Array:
    fluff = np.zeros(SHAPE)
    for _ in range(int(rng.integers(3, 7))):
        path = wander(
            rng, tuple(rng.uniform(10, 246, 2)), rng.uniform(0, 6.3), rng.uniform(8, 22), 0.5, 3
        )
        fluff = np.maximum(fluff, 0.35 * line(rng, SHAPE, path, 0.9))
    return mix(image, image.mean(axis=(0, 1)) * 2.2, ndimage.gaussian_filter(fluff, 0.4))
