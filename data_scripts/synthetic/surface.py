"""A tall strip of ground metal, as KolektorSDD2 shows surfaces: grey, close up, evenly lit."""

from __future__ import annotations

import numpy as np

from synthetic.kit import (
    Array,
    Draws,
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

SHAPE = (352, 128)
KINDS = ("crack", "pits", "scratch", "spot")
ODD = ("bright", "coarse", "band", "smudge")


def draw(draws: Draws, kind: str | None, odd: str | None) -> Array:
    """Linear grey, (352, 128)."""
    rng = draws("surface")
    light = lamp(draws("lamp"), gain=0.06, tilt=0.10)
    x, y = grid(SHAPE)
    centre, level = 64 + rng.normal(0, 6), 0.185 * np.exp(rng.normal(0, 0.07))
    if odd == "bright":
        level *= 1.35
    rough = 1.8 if odd == "coarse" else 1.0
    lines = smooth_noise(rng, SHAPE, 0.7, 40)
    bands = smooth_noise(rng, SHAPE, 4, 90)
    speckle = smooth_noise(rng, SHAPE, 0.7, 0.9)
    tone = level * (1 - 0.28 * ((x - centre) / 64) ** 2)
    tone = tone * (1 + 0.05 * rough * lines + 0.05 * bands + 0.05 * cloud(rng, SHAPE, 1.4, 120))
    height = 0.16 * rough * speckle + 0.12 * rough * lines
    pores = ramp(2.3, 3.3, smooth_noise(rng, SHAPE, 0.9, 1.2))
    tone = tone * (1 - 0.35 * pores)
    extra = draws("odd")
    if odd == "band":
        middle = extra.uniform(40, 312)
        tone = tone * (1 + 0.16 * np.exp(-(((y - middle) / extra.uniform(10, 22)) ** 2)))
    if odd == "smudge":
        sx, sy = turned(SHAPE, (extra.uniform(30, 98), extra.uniform(50, 300)), extra.uniform(0, 6))
        tone = tone * (1 - 0.10 * ramp(14, -14, blob(extra, sx, sy * 0.6, 24, 0.4)))

    flaw = draws("defect")
    at = (float(flaw.uniform(22, 106)), float(flaw.uniform(40, 312)))
    if kind == "scratch":
        for _ in range(int(flaw.integers(1, 4))):
            start = (at[0] + float(flaw.normal(0, 6)), at[1] + float(flaw.normal(0, 10)))
            heading = np.pi / 2 + flaw.normal(0, 0.5)
            path = wander(flaw, start, heading, flaw.uniform(30, 110), 0.03)
            mark = line(flaw, SHAPE, path, flaw.uniform(1.0, 2.2), 0.3) * flaw.uniform(0.65, 1)
            tone = mix(tone, level * 1.9, 0.8 * mark)
            height = height - 0.8 * mark
    elif kind == "crack":
        path = wander(flaw, at, flaw.uniform(-0.6, 0.6), flaw.uniform(24, 70), 0.5, 5)
        mark = line(flaw, SHAPE, path, flaw.uniform(1.1, 2.8), 0.4)
        for _ in range(int(flaw.integers(0, 3))):
            fork = path[int(flaw.integers(1, len(path)))]
            heading = flaw.uniform(-1.6, 1.6)
            twig = wander(flaw, (float(fork[0]), float(fork[1])), heading, 16, 0.5, 4)
            mark = np.maximum(mark, line(flaw, SHAPE, twig, 1.1, 0.6))
        tone = mix(tone, level * 0.12, mark)
        height = height - 1.5 * mark
    elif kind == "pits":
        for _ in range(int(flaw.integers(4, 14))):
            px, py = turned(SHAPE, (at[0] + flaw.normal(0, 11), at[1] + flaw.normal(0, 14)))
            edge = blob(flaw, px, py, flaw.uniform(1.0, 3.0), 0.3)
            height = height - 2.2 * cover(edge, 2.5)
            tone = mix(tone, level * 0.3, cover(edge, 1.6))
    elif kind == "spot":
        px, py = turned(SHAPE, at, flaw.uniform(0, 6))
        edge = blob(flaw, px, py * flaw.uniform(0.7, 1.4), np.exp(flaw.uniform(1.9, 3.1)), 0.5)
        edge = edge + 1.5 * smooth_noise(flaw, SHAPE, 1.5, 1.5)
        dark = ramp(2, -3, edge) * flaw.uniform(0.35, 0.75)
        tone = tone * (1 - dark) + 0.2 * level * ramp(1.5, 0, np.abs(edge))
    diffuse, mirror = shade(height, light, 0.03, 4)
    return (tone * diffuse + mirror) * light.colour[1] * light.field(SHAPE)
