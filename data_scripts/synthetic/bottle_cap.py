"""A printed crown cap on a conveyor, seen from above."""

from __future__ import annotations

import numpy as np

from synthetic.kit import (
    Array,
    Draws,
    Light,
    blob,
    box,
    cast_shadow,
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
KINDS = ("broken_edge", "dent", "misprint", "scratch")
ODD = ("turned", "strong_light", "dye_lot", "off_centre")
RADIUS, TEETH = 94.0, 21
STEEL = (0.50, 0.51, 0.53)


def draw(draws: Draws, kind: str | None, odd: str | None) -> Array:
    """Linear RGB of one cap."""
    rng = draws("pose")
    strong = odd == "strong_light"
    light = lamp(draws("lamp"), tilt=0.25 if strong else 0.08, height=0.7 if strong else 1.0)
    centre = 127.5 + rng.normal(0, 2.5, 2)
    if odd == "off_centre":
        centre = centre + 17 * rng.choice([-1, 1], 2)
    spin = rng.normal(0, 0.10) + (rng.uniform(0.5, 5.8) if odd == "turned" else 0)
    x, y = turned(SHAPE, (float(centre[0]), float(centre[1])), spin)
    r, theta = np.sqrt(x * x + y * y), np.arctan2(y, x)
    scale = 1 + rng.normal(0, 0.008)
    r = r / scale
    flaw = draws("defect")

    wave = np.cos(TEETH * theta)
    tooth = np.sign(wave) * np.abs(wave) ** 0.7
    outside = r - (RADIUS + 3.2 * tooth + 0.5 * np.cos(2 * theta + rng.uniform(0, 6)))
    height = 15 * (1 - ramp(62, 99, r)) + 1.2 * np.exp(-(((r - 63) / 4.5) ** 2))
    height = height + 3.4 * wave * ramp(68, 90, r) + 0.10 * smooth_noise(rng, SHAPE, 1.2, 1.2)
    height = height + 0.8 * cloud(rng, SHAPE, 3.0, 120)
    if kind == "broken_edge":
        at = flaw.normal(0.3, 0.35)  # where the crimping jaw is worn
        place = RADIUS * flaw.uniform(0.97, 1.03)
        bx, by = x / scale - place * np.cos(at), y / scale - place * np.sin(at)
        bite = blob(flaw, bx, by, flaw.uniform(10, 19), 0.3)
        outside = np.maximum(outside, -bite)
        height = height - 2.5 * np.exp(-np.maximum(bite, 0) / 4)
    if kind == "dent":
        for _ in range(int(flaw.integers(1, 4))):
            height = height - _dent(flaw, x, y)

    colour = np.array([0.36, 0.025, 0.03]) * np.exp(rng.normal(0, 0.03) + rng.normal(0, 0.01, 3))
    if odd == "dye_lot":
        colour = np.array([0.27, 0.022, 0.05])
    ink = _print(r, theta, x / scale, y / scale)
    if kind == "misprint":
        ink = ink * (1 - _missing_ink(flaw, x, y))
    # The press is a little off the axis of the cap, now and then a shade paler.
    albedo = mix(colour, (0.70, 0.66, 0.55), ink * rng.uniform(0.93, 1.0))
    worn = ramp(0.75, 1.25, wave * ramp(74, 92, r) + 0.16 * smooth_noise(rng, SHAPE, 1.0, 1.0))
    albedo = mix(albedo, STEEL, 0.5 * worn)
    gloss = 0.20 + 0.05 * cloud(rng, SHAPE, 1.0, 60).clip(-2, 2)
    if kind == "scratch":
        for _ in range(int(flaw.integers(1, 4))):
            mark = _scratch(flaw, centre)
            albedo = mix(albedo, STEEL, mark)
            height = height - 1.2 * mark
    if kind == "broken_edge":
        albedo = mix(albedo, STEEL, 0.8 * np.exp(-((np.maximum(bite, 0) / 2.2) ** 2)))

    inside = cover(outside)
    diffuse, mirror = shade(height, light, 1.0, 5)
    cap = lit(albedo, diffuse, mirror * gloss, light)
    image = mix(_belt(draws, inside, light), cap, inside)
    return image


def _belt(draws: Draws, inside: Array, light: Light) -> Array:
    rng = draws("belt")
    tone = 1 + 0.025 * smooth_noise(rng, SHAPE, 0.7, 0.7) + 0.02 * cloud(rng, SHAPE, 1.5, 200)
    shadow = cast_shadow(inside, light, 9, 5)
    contact = cast_shadow(inside, light, 2, 2)
    shade_ = (1 - 0.45 * shadow) * (1 - 0.35 * contact)
    return lit(np.array([0.40, 0.41, 0.42]) * tone[..., None], shade_, np.zeros(SHAPE), light)


def _print(r: Array, theta: Array, x: Array, y: Array) -> Array:
    """Share of white ink: a ring, a star and a ring of lettering."""
    ink = cover(np.abs(r - 57) - 1.4)
    star_angle = np.abs((theta + np.pi / 2 + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    px, py = r * np.cos(star_angle), r * np.sin(star_angle)
    # A five-pointed star: one straight edge from its tip (27, 0) to its notch.
    notch = np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)]) * 11.5
    edge = np.array([notch[0] - 27, notch[1]])
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    star = (px - 27) * normal[0] + py * normal[1]
    ink = np.maximum(ink, cover(star))
    ink = np.maximum(ink, cover(np.abs(r - 33) - 0.8))
    # Letters as a stencil: strokes of a fixed alphabet on 2 x 3 cells, 18 to the turn.
    letters = np.array([47, 61, 30, 55, 0, 63, 29, 59, 46, 0, 31, 53, 62, 43, 0, 58, 23, 0])
    turn = (theta + np.pi) / (2 * np.pi) * len(letters)
    which = np.floor(turn).astype(np.intp) % len(letters)
    lx, ly = (turn % 1 - 0.5) * (2 * np.pi * 45 / len(letters)), r - 45
    glyph = np.full(SHAPE, 99.0)
    for bit in range(6):
        cx, cy = (-2.2, 2.2)[bit % 2], (-3.9, 0.0, 3.9)[bit // 2]
        cell = box(lx - cx, ly - cy, 2.3, 2.05, 0.8)
        glyph = np.where((letters[which] >> bit) & 1 == 1, np.minimum(glyph, cell), glyph)
    return np.maximum(ink, cover(glyph))


def _dent(rng: np.random.Generator, x: Array, y: Array) -> Array:
    at, far = rng.uniform(0, 2 * np.pi), 62 * np.sqrt(rng.uniform(0, 1))
    angle = rng.uniform(0, np.pi)
    dx, dy = x - far * np.cos(at), y - far * np.sin(at)
    a, b = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
    long, short = rng.uniform(11, 19), rng.uniform(7, 11)
    q = np.sqrt((a / long) ** 2 + (b / short) ** 2)
    return rng.uniform(7.5, 11.0) * (np.exp(-(q**2.4)) - 0.18 * np.exp(-(((q - 1.5) / 0.35) ** 2)))


def _missing_ink(rng: np.random.Generator, x: Array, y: Array) -> Array:
    at, far = rng.normal(2.2, 0.3), rng.uniform(30.0, 50.0)  # one worn spot of the plate
    dx, dy = x - far * np.cos(at), y - far * np.sin(at)
    edge = blob(rng, dx, dy, rng.uniform(13, 22), 0.4)
    patchy = 1.6 * smooth_noise(rng, SHAPE, 1.5, 1.5)
    return cover(edge + patchy, 3.0)


def _scratch(rng: np.random.Generator, centre: Array) -> Array:
    at, far = rng.uniform(0, 2 * np.pi), rng.uniform(5, 50)
    start = (
        float(centre[0] + far * np.cos(at)),
        float(centre[1] + far * np.sin(at)),
    )
    heading = at + np.pi + rng.normal(0, 0.7)
    path = wander(rng, start, heading, rng.uniform(34, 80), 0.05)
    return np.minimum(1, 0.95 * line(rng, SHAPE, path, rng.uniform(1.5, 2.8), 0.3))
