"""Which images a data set has, in its real layout, and how each is made."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synthetic.kit import Array, Draws, develop, grain

MVTEC_AD = ("bottle_cap", "hide", "woven", "bolt", "gelcap", "plank")
VIADUCT = ("connector_2", "connector_4", "connector_6")
MASK_LEVELS = 5.0
"""A pixel belongs to the defect when it changes a channel by more than this, out of 255."""
CLOSING = {"woven": 5}
"""Gaps of up to twice as many pixels in a mask are closed: a yarn's width in cloth, else 4."""
SMALLEST = 20
"""A defect of fewer pixels is drawn again: nobody could see it."""


@dataclass(frozen=True)
class Profile:
    """How much is drawn."""

    mvtec_ad: tuple[str, ...]
    viaduct: tuple[str, ...]
    train: int
    """Nominal training images of a category."""
    good: int
    """Nominal test images of a category."""
    each: int
    """Anomalous test images of each kind of defect."""
    ksdd2: tuple[int, int, int, int]
    """Images of KSDD2: training, of them defective, test, of them defective."""


PROFILES = {
    "smoke": Profile(MVTEC_AD[:3], VIADUCT[:2], 16, 6, 2, (19, 2, 16, 6)),
    "demo": Profile(MVTEC_AD, VIADUCT, 120, 30, 12, (300, 32, 150, 40)),
}


@dataclass(frozen=True)
class Sample:
    """One image to be made. Paths are relative to the root of its data set."""

    path: str
    module: str
    category: str
    split: str
    kind: str
    odd: str = ""
    mask: str = ""

    @property
    def truth(self) -> str:
        """ "nominal", "boundary" or "anomalous"."""
        if self.kind != "good":
            return "anomalous"
        return "boundary" if self.odd else "nominal"


def samples(dataset: str, profile: Profile, seed: int) -> list[Sample]:
    """Every image of a data set. Those of a smaller profile are the first ones of a larger."""
    if dataset == "ksdd2":
        return list(_ksdd2(profile, seed))
    categories = profile.mvtec_ad if dataset == "mvtec_ad" else profile.viaduct
    return [sample for name in categories for sample in _category(dataset, name, profile, seed)]


def _category(dataset: str, name: str, profile: Profile, seed: int) -> Iterator[Sample]:
    module = name if dataset == "mvtec_ad" else "connector"
    drawing = _module(module)
    for split, count, block in (("train", profile.train, 12), ("test", profile.good, 10)):
        for i in range(count):
            odd = _odd(f"{seed}/{dataset}/{name}/{split}", i, block, drawing.ODD)
            yield Sample(f"{name}/{split}/good/{i:03}.png", module, name, split, "good", odd)
    for kind in drawing.KINDS:
        for i in range(profile.each):
            yield Sample(
                f"{name}/test/{kind}/{i:03}.png",
                module,
                name,
                "test",
                kind,
                mask=f"{name}/ground_truth/{kind}/{i:03}_mask.png",
            )


def _ksdd2(profile: Profile, seed: int) -> Iterator[Sample]:
    drawing = _module("surface")
    train, bad_train, test, bad_test = profile.ksdd2
    for split, first, count, bad in (
        ("train", 10000, train, bad_train),
        ("test", 20000, test, bad_test),
    ):
        rng = Draws(f"{seed}/ksdd2/{split}/{count}")("which")
        rank = rng.permutation(count)
        for i in range(count):
            anomalous = rank[i] < bad
            kind = drawing.KINDS[rank[i] % len(drawing.KINDS)] if anomalous else "good"
            odd = "" if anomalous else _odd(f"{seed}/ksdd2/{split}", i, 12, drawing.ODD)
            path = f"{split}/{first + i}"
            yield Sample(f"{path}.png", "surface", "ksdd2", split, kind, odd, mask=f"{path}_GT.png")


def _odd(key: str, index: int, block: int, names: tuple[str, ...]) -> str:
    """One image of each block of `block` is a boundary sample; the kinds of oddity take turns.

    It is one of the first six, so that the smallest profile has one too.
    """
    number = index // block
    place = int(Draws(f"{key}/{number}")("place").integers(6))
    return names[number % len(names)] if index % block == place else ""


@cache
def _module(name: str) -> ModuleType:
    return importlib.import_module(f"synthetic.{name}")


def render(
    dataset: str, sample: Sample, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Draw one image and its mask.

    The defect is drawn over a scene that is otherwise the same, so the mask is what it changes,
    before the grain of the sensor.

    Returns:
        The image, (H, W, 3) or (H, W) uint8, and the mask, (H, W) of 0 and 255, or None.
    """
    drawing = _module(sample.module)
    key = f"{seed}/{dataset}/{sample.path}"
    draws = Draws(key)
    if sample.kind == "good":
        image = develop(drawing.draw(draws, None, sample.odd or None, **_options(sample)))
        mask = np.zeros(image.shape[:2], np.uint8) if sample.mask else None
        return grain(draws("grain"), image), mask
    for attempt in range(20):
        draws = Draws(key + "+" * attempt)
        image = develop(drawing.draw(draws, sample.kind, None, **_options(sample)))
        clean = develop(drawing.draw(draws, None, None, **_options(sample)))
        inside = changed(image, clean, CLOSING.get(sample.module, 2))
        if inside.sum() >= SMALLEST:
            return grain(draws("grain"), image), inside.astype(np.uint8) * 255
    raise RuntimeError(f"the drawing '{sample.module}' leaves no trace of '{sample.kind}'")


def _options(sample: Sample) -> dict[str, str]:
    return {"variant": sample.category} if sample.module == "connector" else {}


def changed(image: Array, clean: Array, closing: int = 2) -> NDArray[np.bool_]:
    """Where a defect shows: (H, W), closed over gaps, without specks of under 4 pixels."""
    inside = np.abs(image - clean) > MASK_LEVELS
    if inside.ndim == 3:
        inside = inside[..., 0] | inside[..., 1] | inside[..., 2]
    square = np.ones((3, 3), bool)
    inside = ndimage.binary_closing(np.pad(inside, closing), square, iterations=closing)
    inside = inside[closing:-closing, closing:-closing]
    labels, _ = ndimage.label(inside, square)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return sizes[labels] >= 4


def generator_version() -> str:
    """Twelve hex digits of this package's source: another drawing is another data set."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(f"{path.name}\0{path.read_text(encoding='utf-8')}\0".encode())
    return digest.hexdigest()[:12]
