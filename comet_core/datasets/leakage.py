"""The same picture twice: within the training set, or worse, in training and test.

Three degrees, each found only where the one before does not hold:

- `bytes`: the files are identical (SHA-256);
- `pixels`: the decoded images are identical, the files are not (a copy in another format);
- `near`: what sets the two images apart from the rest of the data set is the same.

Photographs of one product are all alike: on the category bottle of MVTec AD any two images
correlate above 0.95, so plain correlation or a perceptual hash would report every pair. Hence each
image is reduced to 32 x 32 grey pixels; its local mean (9 x 9) is subtracted and its contrast set
to 1, which removes shading and exposure; the mean of all other images is subtracted, which removes
what the product always looks like; the remainders are correlated. This withstands another format,
size, brightness, contrast and mild noise; rotated, mirrored or cropped copies are not found.
Regular textures that lie at the same phase are reported although they are not copies: look at the
pairs.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from comet_core.datasets.base import Dataset, Record
from comet_core.errors import InputError
from comet_core.images import read_image, resize

SIDE, NEIGHBOURHOOD = 32, 9
COLUMNS = ("first", "second", "first_split", "second_split", "match", "similarity", "across")


class _Look(NamedTuple):
    """What is kept of an image: two digests, and its reduced picture (SIDE * SIDE,)."""

    file: str
    pixels: str
    small: NDArray[np.float32]


def duplicates(dataset: Dataset, *, threshold: float = 0.9) -> pd.DataFrame:
    """Pairs of images that are the same, exactly or nearly.

    Of several identical images each is paired with the first only. Images that cannot be read are
    counted in a warning and left out.

    Args:
        dataset: training and test set; every image is decoded once.
        threshold: correlation of the remainders, in [-1, 1], above which two images are `near`.

    Returns:
        One row a pair, most alike first: `first`, `second` (ids), `first_split`, `second_split`,
        `match`, `similarity` (1 for exact matches), `across` (True: one image in training, the
        other in test, which is leakage).
    """
    records: list[Record] = []
    looks: list[_Look] = []
    unread: list[InputError] = []
    unique = {record.id: record for record in (*dataset.test, *dataset.train)}
    ordered = sorted(unique.values(), key=lambda record: (record.split != "train", record.id))
    with ThreadPoolExecutor() as pool:
        for record, look in zip(ordered, pool.map(_look, ordered), strict=True):
            if isinstance(look, InputError):
                unread.append(look)
            else:
                records.append(record)
                looks.append(look)
    if unread:
        warnings.warn(f"{len(unread)} images left out, the first: {unread[0]}", stacklevel=2)

    rows = [
        (
            records[i].id,
            records[j].id,
            records[i].split,
            records[j].split,
            match,
            similarity,
            records[i].split != records[j].split,
        )
        for i, j, match, similarity in _pairs(looks, threshold)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table = table.sort_values("similarity", ascending=False, kind="stable")
    return table.reset_index(drop=True)


def _look(record: Record) -> _Look | InputError:
    try:
        image = read_image(record.path)
        file = hashlib.sha256(record.path.read_bytes()).hexdigest()
    except InputError as error:
        return error
    except OSError as error:
        return InputError(f"image '{record.path}' cannot be read ({error.strerror}); remove it.")
    pixels = hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()
    grey = resize(image, SIDE).mean(axis=2, dtype=np.float32)
    detail = grey - uniform_filter(grey, NEIGHBOURHOOD, mode="nearest")
    detail -= detail.mean()
    contrast = float(np.sqrt(np.mean(detail**2)))
    return _Look(file, pixels, detail.ravel() / max(contrast, 1e-3))


def _pairs(looks: list[_Look], threshold: float) -> Iterator[tuple[int, int, str, float]]:
    """(i, j, match, similarity) with i < j."""
    leaders: list[int] = []  # the first of each set of identical pictures
    by_file: dict[str, int] = {}
    by_pixels: dict[str, int] = {}
    for j, look in enumerate(looks):
        if look.file in by_file:
            yield by_file[look.file], j, "bytes", 1.0
        elif look.pixels in by_pixels:
            yield by_pixels[look.pixels], j, "pixels", 1.0
        else:
            leaders.append(j)
        by_file.setdefault(look.file, j)
        by_pixels.setdefault(look.pixels, j)
    if len(leaders) < 2:
        return
    small = np.stack([looks[j].small for j in leaders]).astype(np.float64)
    for start in range(0, len(leaders), 256):
        similar = _similarity(small, slice(start, start + 256))
        for i, j in zip(*np.nonzero(similar > threshold), strict=True):
            if start + i < j:
                yield leaders[start + i], leaders[j], "near", float(similar[i, j])


def _similarity(z: NDArray[np.float64], rows: slice) -> NDArray[np.float64]:
    """Correlation of some rows of z (n, d) with all, after subtracting the mean of the others.

    The others are all but the two images compared. With a = 1 / (n - 2) and S the sum of all rows,
    the remainder of image i beside j is (1 + a) z_i + a z_j - a S, so its products follow from the
    products of rows and no pair needs a mean of its own. Two images alone are compared as they are.
    """
    n = len(z)
    a = 1 / (n - 2) if n > 2 else 0.0
    total = z.sum(axis=0)
    gram = z[rows] @ z.T
    own = np.einsum("ij,ij->i", z, z)
    with_total = z @ total
    own_i, own_j = own[rows, None], own[None, :]
    total_i, total_j = with_total[rows, None], with_total[None, :]
    b, square = 1 + a, total @ total
    shared = a * a * square - a * (b + a) * (total_i + total_j)
    product = (b * b + a * a) * gram + a * b * (own_i + own_j) + shared
    rest = 2 * a * b * gram + a * a * square
    norm_i = b * b * own_i + a * a * own_j + rest - 2 * a * (b * total_i + a * total_j)
    norm_j = b * b * own_j + a * a * own_i + rest - 2 * a * (b * total_j + a * total_i)
    return product / np.sqrt(np.maximum(norm_i * norm_j, 1e-12))
