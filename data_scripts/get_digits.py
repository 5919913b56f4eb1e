"""Lay out scikit-learn's digits as ten categories: one digit is nominal, the rest are anomalous.

    python data_scripts/get_digits.py --out data/digits

Real images that come with a package we depend on, so nothing is downloaded: the test part of the
Optical Recognition of Handwritten Digits data set (Alpaydin and Kaynak, UCI, 1998; CC BY 4.0), 8 x
8 pixels each. One class against the rest is how Ruff et al. (ICML 2018) tested Deep SVDD. No choice
of this project was made while looking at them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

TRAIN = 120
"""Nominal training images of a category; the others of its digit are tested, 54 to 63."""
OTHERS = 10
"""Test images of each other digit."""
EDGE = 64
"""Pixels to which the eight of an image are enlarged."""


def main() -> int:
    """The command line; returns 2 for bad input, 130 when interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("data/digits"), help="[data/digits]")
    chosen = parser.parse_args()
    if chosen.out.exists():
        print(f"'{chosen.out}' is there already; remove it to lay it out anew.", file=sys.stderr)
        return 2
    try:
        lay_out(chosen.out)
    except OSError as error:
        print(
            f"'{chosen.out}' cannot be written ({error.strerror}); name another folder by --out.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command to begin anew.", file=sys.stderr)
        return 130
    print(f"{chosen.out}: ten categories, such as digit_0")
    return 0


def lay_out(out: Path) -> None:
    """Write the categories in the layout of MVTec AD; `out` appears when all are there."""
    found = load_digits()
    images, digits = found.images, found.target
    partly = out.with_name(f".{out.name}.part")
    shutil.rmtree(partly, ignore_errors=True)
    for nominal in range(10):
        folder = partly / f"digit_{nominal}"
        for digit in range(10):
            mine = np.flatnonzero(digits == digit)
            if digit == nominal:
                parts = {"train/good": mine[:TRAIN], "test/good": mine[TRAIN:]}
            else:
                parts = {f"test/digit_{digit}": mine[:OTHERS]}
            for name, chosen in parts.items():
                (folder / name).mkdir(parents=True)
                for index in chosen:
                    enlarged(images[index]).save(folder / name / f"{index:04}.png")
    partly.replace(out)


def enlarged(image: np.ndarray) -> Image.Image:
    """An image (8, 8) of 0 (paper) to 16 (ink) as grey pixels."""
    pixels = np.rint(image * 255 / 16).astype(np.uint8)
    return Image.fromarray(pixels).resize((EDGE, EDGE), Image.Resampling.BICUBIC)


if __name__ == "__main__":
    sys.exit(main())
