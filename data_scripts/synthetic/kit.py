"""What every drawing shares: random streams, noise, shapes, light and the camera.

Conventions: x to the right, y down, in pixels, pixel centres at whole numbers; colours are linear
light in 0..1; a shape is a signed distance in pixels, negative inside, so that edges are smoothed
exactly and no image is drawn larger than it is. Everything is float64 and rounded once, at the end:
the last bit of a sine may differ between machines, a pixel may not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

Array = NDArray[np.float64]
Shape = tuple[int, int]


@dataclass(frozen=True)
class Draws:
    """Random streams by name. Each is its own, so a defect cannot shift what is drawn after it."""

    key: str

    def __call__(self, name: str) -> np.random.Generator:
        """The stream `name` of this image, from its beginning."""
        digest = hashlib.sha256(f"{self.key}/{name}".encode()).digest()
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence(int.from_bytes(digest[:16], "big")))
        )


# --- grids and noise ---------------------------------------------------------------------------


@cache
def grid(shape: Shape) -> tuple[Array, Array]:
    """x and y of every pixel, read-only."""
    y, x = np.indices(shape, dtype=np.float64)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def turned(shape: Shape, centre: tuple[float, float], angle: float = 0.0) -> tuple[Array, Array]:
    """Coordinates about a centre (x, y), in axes turned by `angle` radians."""
    x, y = grid(shape)
    dx, dy = x - centre[0], y - centre[1]
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return c * dx + s * dy, c * dy - s * dx


@cache
def _frequencies(shape: Shape) -> tuple[Array, Array]:
    down = np.arange(shape[0], dtype=np.float64)
    down[down > (shape[0] - 1) // 2] -= shape[0]
    across = np.arange(shape[1] // 2 + 1, dtype=np.float64)
    return down[:, None] / shape[0], across[None, :] / shape[1]


@cache
def _gaussian_filter(shape: Shape, sigma_x: float, sigma_y: float) -> Array:
    fy, fx = _frequencies(shape)
    return np.exp(-2 * np.pi**2 * ((fx * sigma_x) ** 2 + (fy * sigma_y) ** 2))


@cache
def _power_filter(shape: Shape, slope: float, longest: float, stretch: float) -> Array:
    fy, fx = _frequencies(shape)
    f2 = fx**2 + (fy * stretch) ** 2
    return (f2 + longest**-2.0) ** (-slope / 2)


def _coloured(rng: np.random.Generator, shape: Shape, response: Array) -> Array:
    spectrum = rng.standard_normal((shape[0], shape[1] // 2 + 1, 2)).view(np.complex128)[..., 0]
    spectrum *= response
    spectrum[0, 0] = 0
    field = fft.irfft2(spectrum, s=shape, overwrite_x=True)
    field /= np.sqrt(np.vdot(field, field) / field.size)
    return field


def smooth_noise(rng: np.random.Generator, shape: Shape, sigma_x: float, sigma_y: float) -> Array:
    """Gaussian noise blurred by sigma_x and sigma_y, mean 0, standard deviation 1."""
    return _coloured(rng, shape, _gaussian_filter(shape, sigma_x, sigma_y))


def cloud(
    rng: np.random.Generator,
    shape: Shape,
    slope: float = 2.0,
    longest: float = 200.0,
    stretch: float = 1.0,
) -> Array:
    """Fractal noise, mean 0, standard deviation 1.

    Args:
        rng: stream.
        shape: (H, W).
        slope: amplitude falls as frequency**-slope; larger is smoother.
        longest: wavelength in pixels above which it no longer grows.
        stretch: how much longer features are along y than along x.
    """
    return _coloured(rng, shape, _power_filter(shape, slope, longest, stretch))


def cells(rng: np.random.Generator, u: Array, v: Array, size: float) -> tuple[Array, Array, Array]:
    """Worley noise on a jittered lattice of cells of `size` pixels.

    Returns:
        Distances to the nearest and the second nearest seed, in cells, and a random value in 0..1
        of the nearest one.
    """
    u, v = u / size, v / size
    column, row = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    left, top = int(column.min()) - 1, int(row.min()) - 1
    lattice = (int(row.max()) - top + 2, int(column.max()) - left + 2)
    seed_x, seed_y, value = rng.uniform(0.08, 0.92, (3, *lattice))
    seed_x += np.arange(lattice[1]) + left
    seed_y += (np.arange(lattice[0]) + top)[:, None]
    flat_x, flat_y = seed_x.ravel(), seed_y.ravel()
    base = (row - top) * lattice[1] + (column - left)
    nearest = np.full(u.shape, 99.0)
    second = np.full(u.shape, 99.0)
    owner = base
    for step in (j * lattice[1] + i for j in (-1, 0, 1) for i in (-1, 0, 1)):
        index = base + step
        square = (u - flat_x[index]) ** 2 + (v - flat_y[index]) ** 2
        closer = square < nearest
        second = np.minimum(second, np.maximum(square, nearest))
        nearest = np.minimum(square, nearest)
        owner = np.where(closer, index, owner)
    return np.sqrt(nearest), np.sqrt(second), value.ravel()[owner]


# --- shapes ------------------------------------------------------------------------------------


def cover(distance: Array, soft: float = 1.0) -> Array:
    """Share of each pixel inside a shape, from its signed distance; `soft` widens the edge."""
    return np.clip(0.5 - distance / soft, 0.0, 1.0)


def ramp(low: float, high: float, x: Array) -> Array:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def box(x: Array, y: Array, half_x: float, half_y: float, corner: float = 0.0) -> Array:
    """Signed distance to a rectangle with rounded corners about the origin."""
    dx, dy = np.abs(x) - (half_x - corner), np.abs(y) - (half_y - corner)
    outside = np.sqrt(np.maximum(dx, 0) ** 2 + np.maximum(dy, 0) ** 2)
    return outside + np.minimum(np.maximum(dx, dy), 0) - corner


def blob(rng: np.random.Generator, x: Array, y: Array, radius: float, rough: float = 0.25) -> Array:
    """Signed distance (near its edge) to an irregular round patch about the origin."""
    angle, distance = np.arctan2(y, x), np.sqrt(x * x + y * y)
    edge = np.ones_like(angle)
    for wave in range(2, 8):
        amplitude, phase = rng.normal(0, rough / wave), rng.uniform(0, 2 * np.pi)
        edge += amplitude * np.cos(wave * angle + phase)
    return distance - radius * np.maximum(edge, 0.3)


def stroke(shape: Shape, points: Array, reach: float = 24.0) -> tuple[Array, Array]:
    """Distance to a polyline and the position along it.

    Args:
        shape: (H, W).
        points: (N, 2), x and y of its corners.
        reach: farther away than this the distance is only known to be larger.

    Returns:
        Distances in pixels and positions in 0..1 (the start to the end of the line).
    """
    x, y = grid(shape)
    distance, along = np.full(shape, reach), np.zeros(shape)
    for i, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        rows = slice(*_clip(min(y0, y1) - reach, max(y0, y1) + reach, shape[0]))
        cols = slice(*_clip(min(x0, x1) - reach, max(x0, x1) + reach, shape[1]))
        ex, ey = x1 - x0, y1 - y0
        px, py = x[rows, cols] - x0, y[rows, cols] - y0
        t = np.clip((px * ex + py * ey) / max(ex * ex + ey * ey, 1e-9), 0, 1)
        here = np.sqrt((px - t * ex) ** 2 + (py - t * ey) ** 2)
        closer = here < distance[rows, cols]
        distance[rows, cols] = np.where(closer, here, distance[rows, cols])
        along[rows, cols] = np.where(closer, (i + t) / (len(points) - 1), along[rows, cols])
    return distance, along


def _clip(low: float, high: float, size: int) -> tuple[int, int]:
    return max(0, int(np.floor(low))), max(0, min(size, int(np.ceil(high)) + 1))


def wander(
    rng: np.random.Generator,
    start: tuple[float, float],
    angle: float,
    length: float,
    bend: float,
    step: float = 6.0,
) -> Array:
    """A path (N, 2) from `start` in direction `angle` whose direction drifts by `bend` a step."""
    count = max(2, round(length / step))
    headings = angle + np.cumsum(rng.normal(0, bend, count))
    moves = step * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(moves, axis=0)]) + np.array(start)


def line(
    rng: np.random.Generator,
    shape: Shape,
    points: Array,
    width: float,
    taper: float = 0.25,
) -> Array:
    """Coverage of a drawn line: pointed ends over the share `taper`, uneven pressure."""
    distance, along = stroke(shape, points, reach=width + 4)
    ends = np.minimum(1, np.minimum(along, 1 - along) / max(taper, 1e-6))
    phase = rng.uniform(0, 2 * np.pi, 3)
    press = 1 + sum(0.12 * np.sin((3 + 4 * i) * along + p) for i, p in enumerate(phase))
    half = 0.5 * width * np.sqrt(np.maximum(ends, 0.02)) * press
    # A line thinner than a pixel is drawn a pixel wide and paler.
    pale = np.minimum(1, 2 * half)
    return cover(distance - np.maximum(half, 0.5)) * pale


# --- light and material ------------------------------------------------------------------------


def mix(a: ArrayLike, b: ArrayLike, share: Array) -> Array:
    """a where share is 0, b where it is 1; (H, W) shares broadcast over colours."""
    start, end = np.asarray(a, float), np.asarray(b, float)
    if share.ndim != 2 or max(start.ndim, end.ndim) == 2:
        return start + (end - start) * share
    out = np.empty((*share.shape, 3))
    for channel in range(3):
        one, other = start[..., channel], end[..., channel]
        np.add(one, (other - one) * share, out=out[..., channel])
    return out


@dataclass(frozen=True)
class Light:
    """A lamp, far away: unit direction towards it, colour, and how uneven its field is."""

    direction: tuple[float, float, float]
    colour: tuple[float, float, float]
    tilt: tuple[float, float]

    def field(self, shape: Shape) -> Array:
        """Relative brightness of every pixel of a plane under this lamp."""
        x, y = grid(shape)
        return 1 + self.tilt[0] * (x / shape[1] - 0.5) + self.tilt[1] * (y / shape[0] - 0.5)


def lamp(
    rng: np.random.Generator,
    gain: float = 0.04,
    warmth: float = 0.01,
    tilt: float = 0.08,
    turn: float = 0.12,
    height: float = 0.9,
) -> Light:
    """A lamp from the upper left; each argument but `height` is the spread of a property."""
    azimuth = -0.75 * np.pi + rng.normal(0, turn)
    flat = 1 / np.sqrt(1 + height**2)
    level = np.exp(rng.normal(0, gain))
    warm = rng.normal(0, warmth)
    return Light(
        (float(flat * np.cos(azimuth)), float(flat * np.sin(azimuth)), float(height * flat)),
        (float(level * (1 + warm)), float(level), float(level * (1 - warm))),
        (float(rng.normal(0, tilt)), float(rng.normal(0, tilt))),
    )


def slopes(height: Array) -> tuple[Array, Array]:
    """Central differences of a height map, in pixels a pixel: along x and along y."""
    gx, gy = np.empty_like(height), np.empty_like(height)
    gx[:, 1:-1], gy[1:-1] = (height[:, 2:] - height[:, :-2]) / 2, (height[2:] - height[:-2]) / 2
    gx[:, 0], gx[:, -1] = gx[:, 1], gx[:, -2]
    gy[0], gy[-1] = gy[1], gy[-2]
    return gx, gy


def shade(
    height: Array, light: Light, gloss: float = 0.0, sharpness: int = 5, ambient: float = 0.35
) -> tuple[Array, Array]:
    """Diffuse and mirror-like light on a relief seen from above.

    Args:
        height: (H, W) in pixels.
        light: the lamp.
        gloss: strength of the highlight.
        sharpness: the highlight is the half-angle cosine to the power 2**sharpness.
        ambient: share of light that comes from all around.

    Returns:
        A factor for the colour, 1 on a level plane, and a term to be added.
    """
    gx, gy = slopes(height)
    lx, ly, lz = light.direction
    norm = 1 / np.sqrt(1 + gx * gx + gy * gy)
    facing = np.maximum((lz - lx * gx - ly * gy) * norm, 0)
    diffuse = ambient + (1 - ambient) * facing / lz
    if not gloss:
        return diffuse, np.zeros_like(diffuse)
    half = np.array([lx, ly, lz + 1]) / np.sqrt(2 + 2 * lz)
    mirror = np.maximum((half[2] - half[0] * gx - half[1] * gy) * norm, 0)
    for _ in range(sharpness):
        mirror = mirror * mirror
    return diffuse, gloss * mirror


def lit(albedo: Array, diffuse: Array, mirror: Array, light: Light) -> Array:
    """Linear RGB of a surface: albedo (H, W, 3) or (3,), the two terms of `shade`, the lamp."""
    out, field = np.empty((*diffuse.shape, 3)), light.field(diffuse.shape)
    for channel, colour in enumerate(light.colour):
        one = albedo[..., channel] * diffuse
        one += mirror
        np.multiply(one, colour * field, out=out[..., channel])
    return out


def cast_shadow(inside: Array, light: Light, drop: float, blur: float) -> Array:
    """How much of the lamp an object standing `drop` pixels high hides from the ground, 0..1."""
    lx, ly, lz = light.direction
    move = (-ly / lz * drop, -lx / lz * drop)
    blurred = ndimage.gaussian_filter(inside, blur, truncate=2.5)
    return ndimage.shift(blurred, move, order=1, mode="nearest")


# --- the camera --------------------------------------------------------------------------------


def develop(linear: Array, blur: float = 0.6, vignette: float = 0.08) -> Array:
    """What a noiseless camera would record: (H, W[, 3]) linear light to values in 0..255."""
    shape = linear.shape[:2]
    x, y = grid(shape)
    r2 = ((x / (shape[1] - 1) - 0.5) ** 2 + (y / (shape[0] - 1) - 0.5) ** 2) * 2
    image = times(linear, 1 - vignette * r2)
    for axis in (0, 1):
        image = ndimage.gaussian_filter1d(image, blur, axis=axis, truncate=3.0)
    # A square root for gamma, with a shoulder that keeps highlights from burning out.
    image = np.sqrt(np.maximum(image, 0, out=image), out=image)
    knee = 0.82
    over = image > knee
    image[over] = knee + (1 - knee) * (1 - np.exp(-(image[over] - knee) / (1 - knee)))
    image *= 255
    return image


def times(image: Array, field: Array) -> Array:
    """An image (H, W[, 3]) with every channel multiplied by a field (H, W).

    Like all of this file channel by channel: numpy is slow where the last axis has three entries.
    """
    if image.ndim == 2:
        return image * field
    out = np.empty_like(image)
    for channel in range(image.shape[2]):
        np.multiply(image[..., channel], field, out=out[..., channel])
    return out


def grain(rng: np.random.Generator, image: Array, sigma: float = 1.6) -> NDArray[np.uint8]:
    """Sensor noise, brightness and a little colour, and the one rounding to uint8."""
    height, width = image.shape[:2]
    white = rng.normal(0, sigma, (height + 1, width + 1))
    noise = 0.9 * white[1:, 1:] + 0.3 * (white[:-1, 1:] + white[1:, :-1])
    brightness = image[..., 1] if image.ndim == 3 else image
    noise *= 0.6 + 0.5 * np.sqrt(brightness) / 16
    if image.ndim == 3:
        colour = rng.normal(0, 0.35 * sigma, image.shape)
        for channel in range(3):
            colour[..., channel] += noise
        noise = colour
    noise += image
    return np.clip(np.rint(noise, out=noise), 0, 255, out=noise).astype(np.uint8)
