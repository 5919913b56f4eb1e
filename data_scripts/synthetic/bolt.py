"""A zinc-plated hexagon bolt lying on a dark mat."""

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
    lit,
    mix,
    ramp,
    slopes,
    smooth_noise,
    turned,
)

SHAPE = (256, 256)
KINDS = ("bent", "chipped_head", "rust", "thread_damage")
ODD = ("askew", "strong_light", "yellow_batch", "off_centre")
SHANK, PITCH, DEPTH = 22.0, 9.0, 3.6
HEAD, END = -64.0, 100.0  # positions along the axis: underside of the head, tip of the thread


def draw(draws: Draws, kind: str | None, odd: str | None) -> Array:
    """Linear RGB of one bolt."""
    rng = draws("pose")
    strong = odd == "strong_light"
    light = lamp(draws("lamp"), tilt=0.25 if strong else 0.07, height=0.75 if strong else 1.0)
    centre = 127.5 + rng.normal(0, 3.0, 2)
    if odd == "off_centre":
        centre = centre + np.array([0.0, 26.0]) * rng.choice([-1, 1])
    angle = rng.normal(0, 0.07) + (0.34 * rng.choice([-1, 1]) if odd == "askew" else 0)
    a, b = turned(SHAPE, (float(centre[0]), float(centre[1])), angle)
    flaw = draws("defect")
    if kind == "bent":
        sag = flaw.uniform(11, 24)  # the chute bends them one way
        b = b - sag * (np.maximum(a - flaw.uniform(-40, 10), 0) / 90) ** 2

    outside, z = _shape(a, b, rng.uniform(0, 1), kind, flaw)
    metal = np.array([0.40, 0.41, 0.425]) * np.exp(rng.normal(0, 0.03))
    if odd == "yellow_batch":
        metal = metal * np.array([1.08, 0.96, 0.66])
    plating = draws("plating")
    tone = (
        1 + 0.035 * cloud(plating, SHAPE, 1.2, 40) + 0.02 * smooth_noise(plating, SHAPE, 0.7, 0.7)
    )
    albedo = metal * tone[..., None]
    z = z + 0.06 * smooth_noise(plating, SHAPE, 0.9, 0.9)
    shine = np.ones(SHAPE)
    if kind == "chipped_head":
        far = flaw.uniform(9, 15)
        bx, by = a - (HEAD - 30 + flaw.normal(0, 4)), b + 45
        bite = blob(flaw, bx, by, far, 0.25)
        outside = np.maximum(outside, -bite)
        break_ = np.exp(-((np.maximum(bite, 0) / 3.0) ** 2))
        albedo = mix(albedo, np.array([0.30, 0.30, 0.31]), 0.8 * break_)
        z = z - 5 * np.exp(-np.maximum(bite, 0) / 3)
        shine = 1 - 0.5 * break_
    if kind == "rust":
        rust = _rust(flaw, a, b)
        crust = smooth_noise(flaw, SHAPE, 0.9, 0.9)
        brown = np.array([0.26, 0.095, 0.03]) * (1 + 0.3 * crust.clip(-2, 2))[..., None]
        albedo, z, shine = mix(albedo, brown, rust), z + 0.3 * rust * crust, 1 - 0.9 * rust
    inside = cover(outside)
    bolt = _metal(albedo, z, shine, light)
    return mix(_mat(draws, inside, light), bolt, inside)


def _shape(
    a: Array, b: Array, turn: float, kind: str | None, flaw: np.random.Generator
) -> tuple[Array, Array]:
    """Signed distance of the outline and height above the axis."""
    head = box(a - (HEAD - 21), b, 21, 45, 6)
    facet = 45 * np.minimum(1.0, 1.0 - 0.55 * np.maximum(np.abs(b) - 22, 0) / 23)
    z_head = facet - 0.02 * np.maximum(np.abs(a - (HEAD - 21)) - 14, 0) ** 2
    z_head = z_head - 0.6 * ramp(3, 0, np.abs(np.abs(b) - 22))
    flange = box(a - (HEAD + 4), b, 5, 52, 3)
    z_flange = np.sqrt(np.maximum(52.0**2 - b * b, 1))

    depth = DEPTH * ramp(-26, -16, a)
    if kind == "thread_damage":
        at, half = flaw.uniform(30, 70), flaw.uniform(15, 24)
        side = flaw.uniform(-14, 6)
        hurt = ramp(1.15, 0.75, np.sqrt(((a - at) / half) ** 2 + ((b - side) / 17) ** 2))
        jag = smooth_noise(flaw, SHAPE, 1.2, 1.2)
        depth = depth * (1 - hurt) + 0.5 * hurt * (1 + 0.5 * jag)
    # On the near side a right-hand thread climbs a quarter pitch from the axis to either edge.
    helix = a / PITCH + turn - np.arcsin(np.clip(b / SHANK, -1, 1)) / (2 * np.pi)
    flank = np.abs((helix % 1) * 2 - 1)
    tip = 0.5 * np.maximum(a - (END - 9), 0)
    radius = SHANK - tip - depth * ramp(0.08, 0.92, flank)
    if kind == "thread_damage":
        radius = radius - 1.3 * hurt
    thread = np.maximum(np.abs(b) - radius, np.maximum(a - END, HEAD - a))
    z_thread = np.sqrt(np.maximum(radius * radius - b * b, 1))

    on_head, on_flange = head < 0.5, flange < 0.5
    z = np.where(on_head, z_head, np.where(on_flange, z_flange, z_thread))
    return np.minimum(np.minimum(head, flange), thread), z


def _metal(albedo: Array, z: Array, shine: Array, light: Light) -> Array:
    """Bright metal shows its surroundings: two soft boxes, a bright room above, a dark bench."""
    gx, gy = slopes(z)
    norm = 1 / np.sqrt(1 + gx * gx + gy * gy)
    nx, ny = -gx * norm, -gy * norm
    lx, ly, lz = light.direction
    facing = np.maximum(lx * nx + ly * ny + lz * norm, 0)
    room = 0.42 + 0.30 * ramp(0.5, -0.6, ny) - 0.12 * ramp(0.2, 0.9, ny)
    key = np.exp(-(((ny + 0.42) / 0.16) ** 2) - ((nx + 0.1) / 0.5) ** 2)
    rim = np.exp(-(((ny - 0.62) / 0.12) ** 2) - (nx / 0.5) ** 2)
    diffuse = room + 0.45 * facing
    return lit(albedo, diffuse, shine * (0.42 * key + 0.10 * rim), light)


def _rust(rng: np.random.Generator, a: Array, b: Array) -> Array:
    patch = np.zeros(SHAPE)
    at, side = rng.normal(-64, 14), rng.normal(0, 14)  # water stays under the flange
    for _ in range(int(rng.integers(1, 4))):
        x, y = a - at - rng.normal(0, 9), b - side - rng.normal(0, 6)
        edge = blob(rng, x, y, np.exp(rng.uniform(1.8, 2.7)), 0.45)
        edge = edge + 2.2 * smooth_noise(rng, SHAPE, 1.4, 1.4)
        patch = np.maximum(patch, ramp(2.5, -2.5, edge))
    return patch * rng.uniform(0.6, 0.95)


def _mat(draws: Draws, inside: Array, light: Light) -> Array:
    rng = draws("mat")
    tone = 1 + 0.05 * smooth_noise(rng, SHAPE, 0.8, 0.8) + 0.04 * cloud(rng, SHAPE, 1.5, 200)
    shadow, contact = cast_shadow(inside, light, 12, 7), cast_shadow(inside, light, 4, 3)
    dim = (1 - 0.5 * shadow) * (1 - 0.5 * contact)
    return lit(np.array([0.062, 0.085, 0.105]) * tone[..., None], dim, np.zeros(SHAPE), light)
