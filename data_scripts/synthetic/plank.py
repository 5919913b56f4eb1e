"""A planed oak board."""

from __future__ import annotations

import numpy as np

from synthetic.kit import (
    Array,
    Draws,
    blob,
    cloud,
    cover,
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
KINDS = ("crack", "scratch", "stain", "wormhole")
ODD = ("pin_knot", "dark_board", "wavy_grain", "sap_streak")


def draw(draws: Draws, kind: str | None, odd: str | None) -> Array:
    """Linear RGB of one board; the grain runs from top to bottom."""
    rng = draws("board")
    light = lamp(draws("lamp"))
    angle = rng.normal(0, 0.03)
    x, y = turned(SHAPE, (128, 128), angle)
    sway = 3.0 * cloud(rng, SHAPE, 2.2, 200, 4)
    extra = draws("odd")
    if odd == "wavy_grain":
        sway = sway + 6 * np.sin(y / extra.uniform(26, 38) + extra.uniform(0, 6)) * ramp(
            -160, 100, x * extra.choice([-1, 1])
        )
    knot = np.full(SHAPE, 99.0)
    if odd == "pin_knot":
        kx, ky = turned(SHAPE, (extra.uniform(40, 216), extra.uniform(40, 216)))
        knot = np.sqrt(kx**2 + (ky * 0.75) ** 2)
        sway = sway + 13 * np.exp(-((ky / 30) ** 2)) * kx / (4 + np.abs(kx)) * np.exp(
            -np.abs(kx) / 26
        )
    # Annual rings: pale spring wood grows into a dark line, then the next year begins.
    across = x + sway + 2.2 * cloud(rng, SHAPE, 1.3, 300, 30)
    widths = 13.5 * np.exp(rng.normal(0, 0.22, 60))
    starts = np.concatenate([[0.0], np.cumsum(widths)]) - widths.sum() / 2
    year = np.clip(np.searchsorted(starts, across.ravel()) - 1, 0, 59).reshape(SHAPE)
    age = (across - starts[year]) / widths[year]
    late = ramp(0.35, 0.97, age) * ramp(1.02, 0.97, age)
    fibre = smooth_noise(rng, SHAPE, 0.55, 16)
    pores = ramp(1.7, 2.6, smooth_noise(rng, SHAPE, 0.55, 5) + 0.5 * ramp(0.45, 0.05, age) - 0.2)
    tone = 1 + 0.045 * fibre + 0.04 * cloud(rng, SHAPE, 1.5, 200, 3)
    pale, dark = np.array([0.56, 0.385, 0.215]), np.array([0.37, 0.215, 0.10])
    dye = np.exp(rng.normal(0, 0.025) + rng.normal(0, 0.006, 3))
    if odd == "dark_board":
        dye = dye * np.array([0.76, 0.72, 0.68])
    albedo = mix(pale, dark, 0.75 * late) * tone[..., None]
    albedo = mix(albedo, dark * 0.45, 0.55 * pores) * dye
    if odd == "pin_knot":
        rings = 0.5 + 0.5 * np.cos(knot * 1.5)
        albedo = mix(albedo, mix(dark * 0.75, dark * 0.4, rings), cover(knot - 7, 3))
    if odd == "sap_streak":
        middle = extra.uniform(-90, 90)
        streak = np.exp(-(((x + sway - middle) / extra.uniform(9, 16)) ** 2))
        albedo = albedo * mix(np.ones(3), np.array([1.12, 1.17, 1.25]), 0.8 * streak)
    height = 0.12 * fibre - 0.5 * pores + 0.25 * late

    flaw = draws("defect")
    at = (float(flaw.uniform(45, 211)), float(flaw.uniform(45, 211)))
    if kind == "crack":
        path = wander(flaw, at, np.pi / 2 + angle + flaw.normal(0, 0.05), flaw.uniform(55, 120), 0)
        path[:, 0] += np.cumsum(flaw.normal(0, 0.8, len(path)))
        slit = line(flaw, SHAPE, path, flaw.uniform(1.9, 4.0), 0.5)
        height = height - 3 * slit
        albedo = mix(albedo, (0.025, 0.014, 0.008), slit)
    elif kind == "scratch":
        for _ in range(int(flaw.integers(1, 4))):
            start = (at[0] + float(flaw.normal(0, 9)), at[1] + float(flaw.normal(0, 9)))
            path = wander(flaw, start, flaw.normal(0, 0.45), flaw.uniform(24, 80), 0.03)
            mark = line(flaw, SHAPE, path, flaw.uniform(0.8, 2.2), 0.3)
            height = height - 1.6 * mark
            albedo = mix(albedo, np.array([0.68, 0.55, 0.38]) * dye, 0.8 * mark)
    elif kind == "stain":
        sx, sy = turned(SHAPE, at, 0)
        edge = blob(flaw, sx * flaw.uniform(1, 1.6), sy, np.exp(flaw.uniform(2.3, 3.3)), 0.4)
        edge = edge + 2.5 * smooth_noise(flaw, SHAPE, 1.2, 8)
        soaked = ramp(3, -4, edge) * flaw.uniform(0.5, 0.9)
        albedo = albedo * mix(np.ones(3), np.array([0.25, 0.27, 0.33]), soaked)
    elif kind == "wormhole":
        for _ in range(int(flaw.integers(1, 6))):
            hx, hy = turned(
                SHAPE, (at[0] + flaw.normal(0, 15), at[1] + flaw.normal(0, 15)), flaw.uniform(0, 6)
            )
            edge = blob(flaw, hx, hy * 1.15, flaw.uniform(1.4, 3.6), 0.12)
            height = height - 3 * cover(edge, 2)
            albedo = mix(albedo, np.array([0.62, 0.48, 0.3]), 0.5 * np.exp(-((edge - 1.2) ** 2)))
            albedo = mix(albedo, (0.02, 0.012, 0.007), cover(edge, 1.4))
    diffuse, mirror = shade(height, light, 0.02, 3)
    return lit(albedo, diffuse, mirror, light)
