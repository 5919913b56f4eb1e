"""Pixels from files: one reader for every format, one way to fail.

What comes out is always 8-bit RGB, so that nothing further on has to know how an image was stored:

- grey images are repeated over the three channels, palettes and CMYK are turned into RGB;
- transparent pixels are laid on white, the usual background of a product photograph;
- 16-bit samples are divided by 257, so that 65,535 becomes 255; nothing is stretched to the range
  of a single image, because brightness must stay comparable between images;
- the EXIF orientation is applied; of an animation or a multi-page TIFF the first frame is read.

Refused: 32-bit integer and floating-point samples, whose full scale the file does not tell.
"""

from __future__ import annotations

import base64
import io
import os
import stat
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from comet_core.errors import InputError

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
"""Decoders that may run, by what the file holds and not by its name."""
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
"""File names, in lower case, that are taken for images."""
OTHER_SUFFIXES = frozenset(
    {".heic", ".heif", ".avif", ".gif", ".jp2", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw"}
)
"""Those of images that no decoder here reads: whoever has some wants to be told."""
MAX_PIXELS = 80_000_000
"""Larger images are refused before they are decoded: a decompression bomb is small on disk."""

# Pillow warns of images that are refused here anyway, in its own words and from each thread.
warnings.filterwarnings("ignore", category=PillowImage.DecompressionBombWarning)

WHITE = (255, 255, 255, 255)
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")

Size = int | tuple[int, int]
T = TypeVar("T")


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read an image file as RGB.

    Returns:
        Array (H, W, 3), 0..255, upright.

    Raises:
        InputError: the file is missing, unreadable, empty, truncated, not an image, too large, or
            stored in samples without a known full scale.
    """
    return _decode(path, lambda image: np.asarray(_to_rgb(image)).copy())


def read_fitted(path: str | os.PathLike[str], edge: int) -> NDArray[np.uint8]:
    """Read an image to be looked at, its longer side brought down to `edge`, its proportions kept.

    A large JPEG is decoded at a fraction of its size, which takes a fraction of the time; so this
    is not quite `read_image` resized.

    Raises:
        InputError: as `read_image`.
    """

    def fitted(image: PillowImage.Image) -> NDArray[np.uint8]:
        image.draft(None, (2 * edge, 2 * edge))  # no less than that; other formats take no notice
        pixels = np.asarray(_to_rgb(image))
        height, width = pixels.shape[:2]
        scale = min(1.0, edge / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        return resize(pixels, size).copy()

    return _decode(path, fitted)


def image_shape(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(H, W) of an image as `read_image` would return it, from the file's header alone.

    Raises:
        InputError: the header cannot be read.
    """

    def shape(image: PillowImage.Image) -> tuple[int, int]:
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return image.size if turned else (image.height, image.width)

    return _decode(path, shape)


def read_mask(
    path: str | os.PathLike[str],
    shape: tuple[int, int] | None = None,
    *,
    size: Size | None = None,
) -> NDArray[np.bool_]:
    """Read a ground-truth mask; True marks anomalous pixels.

    Every value above zero counts, since some data sets number their defects from 1. A JPEG mask is
    cut at half of the range instead, because its compression leaves noise around the edges.

    Args:
        path: the mask file.
        shape: (H, W) of the image that the mask belongs to; a mask of another size is refused.
        size: resize the result to this size (`resize_mask`).

    Returns:
        Array (H, W) of the mask's own size, or of `size`.

    Raises:
        InputError: the file cannot be read, or the mask does not fit its image.
    """

    def binary(image: PillowImage.Image) -> NDArray[np.bool_]:
        floor = 127 if image.format in ("JPEG", "MPO") else 0
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode in ("I", "F", *_SIXTEEN_BIT) or (
            image.mode == "L" and not image.has_transparency_data
        ):
            return np.asarray(image) > floor
        if image.mode == "1":
            return np.asarray(image).copy()
        return np.asarray(_to_rgb(image, background=(0, 0, 0, 255))).max(axis=2) > floor

    mask = _decode(path, binary)
    if shape is not None and mask.shape != tuple(shape):
        raise InputError(
            f"mask '{path}' is {mask.shape[1]} x {mask.shape[0]} pixels but its image is "
            f"{shape[1]} x {shape[0]}; make them equal, or remove the mask."
        )
    return mask if size is None else resize_mask(mask, size)


def resize(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize an RGB image, antialiased (bilinear over the area that a new pixel covers).

    Args:
        image: (H, W, 3), 0..255.
        size: the side of a square, or (height, width); the aspect ratio is not kept.

    Returns:
        Array (height, width, 3), 0..255.
    """
    height, width = _height_width(size)
    if image.shape[:2] == (height, width):
        return image
    resized = PillowImage.fromarray(image).resize(
        (width, height), PillowImage.Resampling.BILINEAR, reducing_gap=None
    )
    return np.asarray(resized).copy()


def data_address(images: Sequence[NDArray[np.uint8]], columns: int = 1) -> str:
    """Images of one size, side by side and row by row, as a picture that its own address holds.

    Args:
        images: (H, W, 3) each, at least one.
        columns: images in a row.

    Returns:
        "data:image/webp;base64,...", for the `src` of an HTML image.
    """
    height, width = images[0].shape[:2]
    sheet = PillowImage.new("RGB", (columns * width, -(-len(images) // columns) * height))
    for number, image in enumerate(images):
        place = (number % columns * width, number // columns * height)
        sheet.paste(PillowImage.fromarray(image), place)
    file = io.BytesIO()
    sheet.save(file, "WEBP", quality=60)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def resize_mask(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Resize a mask (H, W) to a square or (height, width), by the nearest pixel.

    The nearest pixel keeps the expected share of marked pixels, also of a crack that is thinner
    than a new pixel; a majority vote would erase it.
    """
    height, width = _height_width(size)
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int)
    return mask[np.ix_(rows, columns)]


def _height_width(size: Size) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise InputError(f"image size {size} is not positive; give pixels, such as 256.")
    return height, width


def _to_rgb(
    image: PillowImage.Image, background: tuple[int, int, int, int] = WHITE
) -> PillowImage.Image:
    ImageOps.exif_transpose(image, in_place=True)  # a photograph is large: nothing is copied
    if image.mode in _SIXTEEN_BIT or (image.mode == "I" and image.format == "PNG"):
        samples = np.asarray(image).astype(np.float32)  # a PNG has at most 16 bits a sample
        image = PillowImage.fromarray(np.rint(samples / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise _RefusedError("has 32-bit samples of unknown scale", "convert it to 8 or 16 bits")
    if image.has_transparency_data:
        canvas = PillowImage.new("RGBA", image.size, background)
        image = PillowImage.alpha_composite(canvas, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


class _RefusedError(Exception):
    """A problem and its remedy, before the file's name is known."""


def _decode(path: str | os.PathLike[str], use: Callable[[PillowImage.Image], T]) -> T:
    """Open `path`, let `use` read it, and turn whatever goes wrong into one sentence."""
    again = "copy or download it again, or remove it"
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise _RefusedError("is not a regular file", "give the path of an image file")
        if status.st_size == 0:
            raise _RefusedError("is empty (0 bytes)", again)
        with PillowImage.open(path, formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels > MAX_PIXELS:
                raise _RefusedError(
                    f"has {pixels:,} pixels, more than {MAX_PIXELS:,}", "make it smaller"
                )
            return use(image)
    except _RefusedError as error:
        problem, remedy = error.args
    except FileNotFoundError:
        problem, remedy = "does not exist", "check the path"
    except PermissionError:
        problem, remedy = "may not be read", "change its permissions"
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        problem, remedy = "is not an image that can be read", f"use one of {known}, or remove it"
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning):
        problem, remedy = f"has more than {MAX_PIXELS:,} pixels", "make it smaller"
    except MemoryError:
        problem, remedy = "does not fit in memory", "make it smaller"
    except Exception as error:  # on damaged files the decoders raise nearly anything
        system = isinstance(error, OSError) and error.strerror  # the system's words, not Pillow's
        reason = str(error) or type(error).__name__
        problem = f"cannot be read ({system})" if system else f"is damaged or truncated ({reason})"
        remedy = again
    raise InputError(f"image '{path}' {problem}; {remedy}.")
