"""Ground truth of many images at one size, for pixel metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from comet_core.datasets.base import ANOMALOUS, NOMINAL, Record, Skipped
from comet_core.errors import InputError
from comet_core.images import Size, image_shape, read_mask, resize_mask


def load_masks(
    records: Sequence[Record], size: Size, *, strict: bool = False
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], list[Skipped]]:
    """Masks of the records, and for which of them the pixels are known.

    The pixels of a nominal image are known, all False. Those of an anomalous image are unknown if
    it has no mask, or one that does not decode or is not of its size (refused under `strict`).

    Args:
        records: n records.
        size: side, or (height, width), of the result.
        strict: refuse a mask that cannot be used.

    Returns:
        Masks (n, height, width), True where anomalous; known (n,); masks that cannot be used.

    Raises:
        InputError: under `strict`, the first mask that cannot be used.
    """
    height, width = (size, size) if isinstance(size, int) else size
    masks = np.zeros((len(records), height, width), dtype=bool)
    known = np.array([record.label == NOMINAL for record in records], dtype=bool)
    skipped: list[Skipped] = []
    for i, record in enumerate(records):
        if record.label != ANOMALOUS or record.mask is None:
            continue
        try:
            masks[i] = resize_mask(read_mask(record.mask, image_shape(record.path)), size)
            known[i] = True
        except InputError as error:
            if strict:
                raise
            skipped.append(Skipped(record.mask, str(error)))
    return masks, known, skipped
