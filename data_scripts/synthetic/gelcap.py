"""A two-piece gelatine capsule with a printed strength, on a pale tray."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage

from synthetic.kit import (
    Array,
    Draws,
    Light,
    blob,
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
KINDS = ("crack", "dent", "faulty_print", "speck")
ODD = ("askew", "dye_lot", "bubble", "strong_light")
HALF, RADIUS, SEAM = 66.0, 41.0, 8.0  # half length of the axis, radius, end of the upper part
FINE = 6  # samples of the print for each of its cells
# The print on 5 x 7 cells, a row each: "C", "2", "5".
GLYPHS = (
    ("01110", "10001", "10000", "10000", "10000", "10001", "01110"),
    ("01110", "10001", "00001", "00110", "01000", "10000", "11111"),
    ("11111", "10000", "11110", "00001", "00001", "10001", "01110"),
)


def draw(draws: Draws, kind: str | None, odd: str | None) -> Array:
    """Linear RGB of one capsule."""
    rng = draws("pose")
    strong = odd == "strong_light"
    light = lamp(draws("lamp"), tilt=0.22 if strong else 0.07, height=0.75 if strong else 1.1)
    centre = 127.5 + rng.normal(0, 3, 2)
    angle = rng.normal(0, 0.09) + (0.4 * rng.choice([-1, 1]) if odd == "askew" else 0)
    a, b = turned(SHAPE, (float(centre[0]), float(centre[1])), angle)
    flaw = draws("defect")

    beyond = np.maximum(np.abs(a) - HALF, 0)
    axis = np.sqrt(beyond**2 + b**2)
    upper = cover(a - SEAM)
    radius = RADIUS + 2.0 * upper
    outside = axis - radius
    z = np.sqrt(np.maximum(radius**2 - axis**2, 0))
    z = np.minimum(z, 34) + 0.35 * np.maximum(z - 34, 0)  # moulded parts are a little flat on top
    z = z + 0.3 * cloud(draws("shell"), SHAPE, 2.8, 110)
    if kind == "dent":
        at, side = flaw.normal(-62, 12), flaw.normal(-6, 7)
        turn = flaw.normal(0.6, 0.5)
        da, db = a - at, b - side
        p, q = np.cos(turn) * da + np.sin(turn) * db, np.cos(turn) * db - np.sin(turn) * da
        hollow = np.exp(-((p / flaw.uniform(14, 24)) ** 2) - (q / flaw.uniform(8, 12)) ** 2)
        z = z - flaw.uniform(6, 11) * hollow
    teal = np.array([0.035, 0.24, 0.245]) * np.exp(rng.normal(0, 0.03))
    ivory = np.array([0.66, 0.60, 0.46]) * np.exp(rng.normal(0, 0.02))
    if odd == "dye_lot":
        teal = np.array([0.06, 0.33, 0.27])
    albedo = mix(ivory, teal, upper)
    # Gelatine is thinner, and paler, where the two halves do not overlap.
    albedo = albedo * (1 - 0.18 * ramp(-26, -24, a) * upper)[..., None]
    albedo = albedo * (1 + 0.03 * cloud(draws("fill"), SHAPE, 1.3, 60))[..., None]
    albedo = albedo * (1 - 0.45 * ramp(3, 0, np.abs(a - SEAM - 1.2)))[..., None]
    ink = _print(a, b, rng)
    if kind == "faulty_print":
        ink = _faulty(flaw, ink, a, b)
    albedo = mix(albedo, (0.035, 0.04, 0.05), 0.92 * ink)
    if kind == "crack":
        albedo, z = _crack(flaw, albedo, z, centre, angle)
    if kind == "speck":
        at, side = flaw.uniform(-70, 70), flaw.uniform(-20, 20)
        for _ in range(int(flaw.integers(4, 12))):
            sx, sy = a - at - flaw.normal(0, 9), b - side - flaw.normal(0, 7)
            edge = blob(flaw, sx, sy, flaw.uniform(1.2, 3.2), 0.35)
            albedo = mix(albedo, (0.045, 0.025, 0.012), flaw.uniform(0.6, 0.95) * cover(edge, 1.8))
    if odd == "bubble":
        extra = draws("odd")
        sx, sy = a - extra.uniform(-70, 70), b - extra.uniform(-20, 20)
        ring = np.sqrt(sx**2 + sy**2) - extra.uniform(2, 3.5)
        albedo = (
            albedo * (1 + 0.22 * cover(ring, 1.5) - 0.2 * cover(np.abs(ring) - 0.5, 1.5))[..., None]
        )

    inside = cover(outside)
    diffuse, mirror = shade(z, light, 1.0, 5, ambient=0.5)
    # The tray throws light back into the underside of the shell.
    diffuse = np.minimum(diffuse, 1.25) + 0.10 * ramp(0.7, 1.0, axis / RADIUS)
    shell = lit(albedo, diffuse, 0.55 * mirror, light)
    return mix(_tray(draws, inside, light), shell, inside)


@cache
def _stamp() -> Array:
    """The three characters at `FINE` samples a cell, their strokes rounded."""
    letters = np.concatenate(
        [np.pad(np.array([list(map(int, row)) for row in g]), ((2, 2), (1, 1))) for g in GLYPHS],
        axis=1,
    )
    fine = np.kron(letters, np.ones((FINE, FINE)))
    return ramp(0.30, 0.62, ndimage.gaussian_filter(fine, 0.42 * FINE))


def _print(a: Array, b: Array, rng: np.random.Generator) -> Array:
    """Ink of three characters on the pale half, read along the axis, a little off by the press."""
    u, v = a - 46 + rng.normal(0, 0.8), b + rng.normal(0, 0.8)
    stamp = _stamp()
    middle = (np.array(stamp.shape) - 1) / 2
    where = [v * FINE / 3.4 + middle[0], u * FINE / 2.9 + middle[1]]
    ink = ndimage.map_coordinates(stamp, where, order=1)
    return ink * (0.93 + 0.05 * smooth_noise(rng, SHAPE, 0.8, 0.8).clip(-2, 2))


def _faulty(rng: np.random.Generator, ink: Array, a: Array, b: Array) -> Array:
    """Struck twice as a rule, now and then rubbed away in part."""
    if rng.random() < 0.25:
        spot = blob(rng, a - 46 - rng.uniform(-22, 22), b - rng.uniform(-6, 6), 13, 0.4)
        return ink * (1 - cover(spot + 2 * smooth_noise(rng, SHAPE, 1.2, 1.2), 3))
    shift = (int(rng.integers(3, 6)), int(rng.integers(4, 8)))
    return np.maximum(ink, 0.7 * np.roll(ink, shift, (0, 1)))


def _crack(
    rng: np.random.Generator, albedo: Array, z: Array, centre: Array, angle: float
) -> tuple[Array, Array]:
    at, side = rng.normal(SEAM, 8), rng.uniform(-20, 20)  # the seam is where shells break
    c, s = np.cos(angle), np.sin(angle)
    start = (float(centre[0] + c * at - s * side), float(centre[1] + s * at + c * side))
    path = wander(rng, start, angle + rng.normal(0, 0.5), rng.uniform(30, 56), 0.4, 5)
    mark = line(rng, SHAPE, path, rng.uniform(1.5, 2.8), 0.4)
    edge = line(rng, SHAPE, path + 1.2, 1.2, 0.4)
    albedo = mix(mix(albedo, (0.75, 0.72, 0.66), 0.5 * edge), (0.05, 0.045, 0.04), 0.9 * mark)
    return albedo, z - 1.5 * mark


def _tray(draws: Draws, inside: Array, light: Light) -> Array:
    rng = draws("tray")
    tone = 1 + 0.012 * smooth_noise(rng, SHAPE, 0.8, 0.8) + 0.015 * cloud(rng, SHAPE, 1.6, 200)
    shadow, contact = cast_shadow(inside, light, 14, 8), cast_shadow(inside, light, 4, 3)
    dim = (1 - 0.38 * shadow) * (1 - 0.35 * contact)
    return lit(np.array([0.52, 0.53, 0.52]) * tone[..., None], dim, np.zeros(SHAPE), light)
