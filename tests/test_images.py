"""Every format comes out as 8-bit RGB; everything else as one sentence."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from comet_core import images
from comet_core.errors import InputError
from comet_core.images import image_shape, read_image, read_mask, resize, resize_mask

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.tiff", "a.bmp", "a.BMP", "ä 'b\".png"])
def test_lossless_formats_come_back_exactly(tmp_path, name):
    assert np.array_equal(read_image(save(tmp_path / name, RGB)), RGB)


def test_webp_and_jpeg_come_back_nearly(tmp_path):
    assert np.array_equal(read_image(save(tmp_path / "a.webp", RGB, lossless=True)), RGB)
    smooth = np.linspace(0, 255, 64 * 48 * 3).reshape(64, 48, 3).astype(np.uint8)
    close = read_image(save(tmp_path / "a.jpg", smooth, quality=95))
    assert close.shape == smooth.shape
    assert np.abs(close.astype(int) - smooth).mean() < 3


def test_the_name_does_not_decide_the_format(tmp_path):
    save(tmp_path / "a.png", RGB)
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(read_image(tmp_path / "a.jpg"), RGB)


def test_grey_is_repeated(tmp_path):
    read = read_image(save(tmp_path / "a.png", GREY))
    assert read.shape == (6, 9, 3) and read.dtype == np.uint8
    assert all(np.array_equal(read[..., channel], GREY) for channel in range(3))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_by_257_and_never_stretched(tmp_path, name):
    deep = np.array([[0, 257, 128 * 257, 65535], [1, 128, 129, 1000]], dtype=np.uint16)
    read = read_image(save(tmp_path / name, deep))[..., 0]
    assert read.tolist() == [[0, 1, 128, 255], [0, 0, 1, 4]]


def test_big_endian_sixteen_bit_tiff(tmp_path):
    path = tmp_path / "a.tif"
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">2H", 65535, 25700))
    image.save(path)
    assert read_image(path)[0, :, 0].tolist() == [255, 100]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_samples_of_unknown_scale_are_refused(tmp_path, dtype):
    path = save(tmp_path / "a.tif", np.ones((4, 4), dtype=dtype))
    with pytest.raises(InputError, match="32-bit samples"):
        read_image(path)


def test_transparency_is_laid_on_white(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = 0, 128, 255
    assert read_image(save(tmp_path / "a.png", pixels))[0, :, 0].tolist() == [255, 127, 0]


def test_palette_with_a_transparent_entry(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "a.png", transparency=1)
    assert read_image(tmp_path / "a.png")[0].tolist() == [[10, 20, 30], [255] * 3, [70, 80, 90]]


def test_one_bit_and_cmyk(tmp_path):
    save(tmp_path / "a.png", np.array([[True, False]]))
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [255, 0]
    Image.new("CMYK", (2, 2), (0, 0, 0, 255)).save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").max() < 10


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("shape", [(600, 900), (31, 900), (30, 20)])
def test_an_image_to_be_looked_at_is_fitted_and_nearly_what_it_is(
    tmp_path, monkeypatch, name, shape
):
    pixels = resize(np.roll(RGB, 3, axis=0), shape)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / name, pixels, quality=95, exif=exif)
    whole, sizes = read_image(tmp_path / name), []
    to_rgb = images._to_rgb
    monkeypatch.setattr(images, "_to_rgb", lambda image: sizes.append(image.size) or to_rgb(image))
    found = images.read_fitted(tmp_path / name, 90)
    assert max(found.shape) == min(90, max(shape)) and found.flags.writeable
    assert np.abs(found.astype(int) - resize(whole, found.shape[:2])).mean() < 3
    reduced = name == "a.jpg" and shape == (600, 900)
    assert sizes == [(450, 300) if reduced else shape[::-1]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_pixels_and_shape(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path, exif=exif)
    turned = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1),
        7: RGB[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(RGB),
    }[orientation]
    assert np.array_equal(read_image(path), turned)
    assert image_shape(path) == turned.shape[:2]


def test_the_first_frame_of_several(tmp_path):
    first, second = Image.fromarray(RGB), Image.fromarray(255 - RGB)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    assert np.array_equal(read_image(tmp_path / "a.tif"), RGB)


@pytest.mark.parametrize("format_", ["png", "jpg", "bmp", "webp", "tif"])
def test_truncated_files_are_told(tmp_path, format_):
    path = save(tmp_path / f"a.{format_}", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=f"a.{format_}.*(damaged|not an image).*;"):
        read_image(path)


def test_what_cannot_be_an_image_is_told(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name, told in {
        "empty.png": "empty",
        "text.png": "not an image",
        "folder.png": "not a regular file",
        "pipe.png": "not a regular file",
        "loop.png": "cannot be read .*symbolic links",
        "absent.png": "does not exist",
    }.items():
        with pytest.raises(InputError, match=told) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value) and str(caught.value).endswith(".")


def test_other_decoders_never_run(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png", "GIF")
    with pytest.raises(InputError, match="not an image"):
        read_image(tmp_path / "a.png")


def bomb(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_000, 11_000, 60_000])
def test_decompression_bombs_are_refused_by_their_header(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(side))
    with pytest.raises(InputError, match="80,000,000"):
        read_image(path)


def test_a_refused_image_is_told_once(tmp_path):
    (tmp_path / "bomb.png").write_bytes(bomb(11_000))
    reader = "import sys; from comet_core.images import read_image; read_image(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", reader, tmp_path / "bomb.png"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert "make it smaller" in done.stderr
    assert "Warning" not in done.stderr


def test_a_large_photograph_is_no_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", RGB.shape[0] * RGB.shape[1])
    assert read_image(save(tmp_path / "a.png", RGB)).shape == RGB.shape
    monkeypatch.setattr(images, "MAX_PIXELS", RGB.shape[0] * RGB.shape[1] - 1)
    with pytest.raises(InputError, match="make it smaller"):
        read_image(tmp_path / "a.png")


def test_missing_permission_is_told(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", RGB)
    path.chmod(0)
    if os.geteuid() == 0:  # the superuser may read everything: let the system call say no

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(images.PillowImage, "open", refuse)
    with pytest.raises(InputError, match="may not be read; change its permissions"):
        read_image(path)
    path.chmod(stat.S_IRUSR)


def test_lack_of_memory_is_told(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(images, "_to_rgb", fail)
    with pytest.raises(InputError, match="memory"):
        read_image(save(tmp_path / "a.png", RGB))


def test_masks_mark_every_value_above_zero(tmp_path):
    numbered = np.array([[0, 1], [2, 255]], np.uint8)
    marked = [[False, True], [True, True]]
    assert read_mask(save(tmp_path / "grey.png", numbered)).tolist() == marked
    assert read_mask(save(tmp_path / "deep.png", numbered.astype(np.uint16))).tolist() == marked
    assert read_mask(save(tmp_path / "bit.png", numbered > 0)).tolist() == marked
    assert read_mask(save(tmp_path / "long.tif", numbered.astype(np.int32))).tolist() == marked
    palette = Image.fromarray(numbered.clip(0, 2), mode="P")
    palette.putpalette([0, 0, 0, 1, 0, 0, 0, 0, 9])
    palette.save(tmp_path / "palette.png")
    assert read_mask(tmp_path / "palette.png").tolist() == marked


def test_transparent_parts_of_a_mask_are_nominal(tmp_path):
    pixels = np.full((1, 2, 4), 255, np.uint8)
    pixels[0, 0, 3] = 0
    assert read_mask(save(tmp_path / "a.png", pixels)).tolist() == [[False, True]]


def test_a_jpeg_mask_keeps_its_area(tmp_path):
    disc = (np.hypot(*np.mgrid[-32:32, -32:32]) < 20).astype(np.uint8) * 255
    mask = read_mask(save(tmp_path / "a.jpg", disc, quality=60))
    assert abs(int(mask.sum()) - int((disc > 0).sum())) < 40


def test_a_mask_of_another_size_is_refused(tmp_path):
    path = save(tmp_path / "m.png", GREY)
    assert read_mask(path, (6, 9)).shape == (6, 9)
    with pytest.raises(InputError, match="9 x 6 pixels but its image is 6 x 9"):
        read_mask(path, (9, 6))
    assert read_mask(path, (6, 9), size=(3, 5)).shape == (3, 5)


def test_resizing_averages_and_does_not_skip():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize(stripes, 8)
    assert small.shape == (8, 8, 3) and np.abs(small.astype(int) - 127).max() <= 16


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 40), st.integers(1, 40))
def test_resizing_gives_the_asked_size_within_the_range(height, width, new_height, new_width):
    image = RNG.integers(40, 200, (height, width, 3), dtype=np.uint8)
    resized = resize(image, (new_height, new_width))
    assert resized.shape == (new_height, new_width, 3) and resized.dtype == np.uint8
    assert resized.min() >= image.min() and resized.max() <= image.max()


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 4))
def test_a_mask_enlarged_by_a_whole_factor_repeats_its_pixels(height, width, factor):
    mask = RNG.random((height, width)) < 0.3
    large = resize_mask(mask, (height * factor, width * factor))
    assert np.array_equal(large, mask.repeat(factor, axis=0).repeat(factor, axis=1))


def test_a_thin_crack_keeps_its_share_when_reduced():
    mask = np.zeros((200, 200), bool)
    rows = np.arange(200)
    mask[rows, (rows * 0.7).astype(int)] = True
    share = resize_mask(mask, 50).mean() / mask.mean()
    assert 0.5 < share < 2


@pytest.mark.parametrize("size", [0, -1, (0, 4), (4, 0)])
def test_sizes_must_be_positive(size):
    with pytest.raises(InputError, match="positive"):
        resize(RGB, size)
