"""Lay out MVTec AD from the archive that you have downloaded, and check it.

    python data_scripts/get_mvtec_ad.py --archive mvtec_anomaly_detection.tar.xz --out data/mvtec_ad
    python data_scripts/get_mvtec_ad.py --check --out data/mvtec_ad

The archives of single categories, which the owner offers too, work as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from archives import Source, command, folders_with, move_in

from comet_core.datasets.listing import scan
from comet_core.errors import InputError

SOURCE = Source(
    name="MVTec AD (Bergmann et al., CVPR 2019)",
    page="https://www.mvtec.com/company/research/datasets/mvtec-ad",
    licence="CC BY-NC-SA 4.0, non-commercial",
    file="mvtec_anomaly_detection.tar.xz",
    size=5_264_982_680,
    checksum=("sha256", "cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d"),
    provenance="as its users report them; the owner publishes none",
)


class Counts(NamedTuple):
    """Images of one category, and its kinds of defect."""

    train: int
    good: int
    anomalous: int
    kinds: int


PUBLISHED = {
    "bottle": Counts(209, 20, 63, 3),
    "cable": Counts(224, 58, 92, 8),
    "capsule": Counts(219, 23, 109, 5),
    "carpet": Counts(280, 28, 89, 5),
    "grid": Counts(264, 21, 57, 5),
    "hazelnut": Counts(391, 40, 70, 4),
    "leather": Counts(245, 32, 92, 5),
    "metal_nut": Counts(220, 22, 93, 4),
    "pill": Counts(267, 26, 141, 7),
    "screw": Counts(320, 41, 119, 5),
    "tile": Counts(230, 33, 84, 5),
    "toothbrush": Counts(60, 12, 30, 1),
    "transistor": Counts(213, 60, 40, 4),
    "wood": Counts(247, 19, 60, 5),
    "zipper": Counts(240, 32, 119, 7),
}
"""Table 1 of the paper; in all 3,629 + 467 + 1,258 images and 73 kinds of defect."""


def place(stage: Path, out: Path) -> None:
    """Move the categories, and the licence beside them, from `stage` to `out`."""
    found = folders_with(stage, lambda path: (path / "train" / "good").is_dir())
    found = [folder for folder in found if folder.name in PUBLISHED]
    if not found:
        raise InputError(f"the archive holds none of the categories {', '.join(PUBLISHED)}.")
    for folder in found:
        if check_category(out / folder.name):
            move_in(folder, out / folder.name)
    for text in found[0].parent.glob("*.txt"):
        if not (out / text.name).exists():
            text.rename(out / text.name)


def check_category(folder: Path) -> list[str]:
    """What a category lacks, one line each."""
    published = PUBLISHED[folder.name]
    train = scan(folder / "train" / "good").images
    good = scan(folder / "test" / "good").images
    kinds = [name for name in scan(folder / "test").folders if name != "good"]
    defects = {kind: scan(folder / "test" / kind).images for kind in kinds}
    masks = {kind: set(scan(folder / "ground_truth" / kind).images) for kind in kinds}
    found = Counts(len(train), len(good), sum(map(len, defects.values())), len(kinds))
    if found == Counts(0, 0, 0, 0):
        return [folder.name]
    problems = [
        f"{folder.name}: {ours} {what} of {theirs}"
        for what, ours, theirs in zip(
            ("training images", "nominal test images", "anomalous test images", "kinds of defect"),
            found,
            published,
            strict=True,
        )
        if ours != theirs
    ]
    numbered = {"train/good": (train, published.train), "test/good": (good, published.good)}
    numbered |= {f"test/{kind}": (names, len(names)) for kind, names in defects.items()}
    for place_, (names, count) in numbered.items():
        missing = sorted({f"{i:03}.png" for i in range(count)} - set(names))
        problems += [f"{folder.name}/{place_}/{name}" for name in missing]
    for kind, names in defects.items():
        wanted = [f"{Path(name).stem}_mask.png" for name in names]
        problems += [
            f"{folder.name}/ground_truth/{kind}/{mask}"
            for mask in wanted
            if mask not in masks[kind]
        ]
    return problems


def check(out: Path) -> list[str]:
    """What the data set lacks, one line each; prints a line a category."""
    problems: list[str] = []
    for category, published in PUBLISHED.items():
        here = check_category(out / category)
        state = "complete" if not here else "absent" if here == [category] else "incomplete"
        print(
            f"{category:<11}{state:<11} {published.train} + {published.good} + "
            f"{published.anomalous} images, {published.kinds} kinds"
        )
        problems += here
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see `archives.command`."""
    return command(SOURCE, "data/mvtec_ad", place, check, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
