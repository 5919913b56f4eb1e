"""Lay out KolektorSDD2 from the archive that you have downloaded, and check it.

python data_scripts/get_ksdd2.py --archive KolektorSDD2.zip --out data/ksdd2
python data_scripts/get_ksdd2.py --check --out data/ksdd2
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from archives import Source, command, folders_with, move_in

from comet_core.datasets import ksdd2
from comet_core.errors import InputError

SOURCE = Source(
    name="KolektorSDD2 (Bozic et al., Computers in Industry 2021)",
    page="https://www.vicos.si/resources/kolektorsdd2/",
    licence="CC BY-NC-SA 4.0, non-commercial",
    file="KolektorSDD2.zip",
    checksum=("md5", "1ed0f628122776ace4965afa30dfe316"),
    provenance="as two public loaders give it; the owner publishes none",
)
PUBLISHED = {"train": (2085, 246), "test": (894, 110)}
"""Nominal and defective images."""


def _complete(folder: Path) -> bool:
    return (folder / "train").is_dir() and (folder / "test").is_dir()


def place(stage: Path, out: Path) -> None:
    """Move the folder that holds train/ and test/ from `stage` to `out`."""
    found = folders_with(stage, _complete)
    if len(found) != 1:
        raise InputError("the archive does not hold the folders 'train' and 'test' of KSDD2.")
    if not _complete(out) or check(out):
        move_in(found[0], out)


def check(out: Path) -> list[str]:
    """What the data set lacks, one line each; prints a line a split."""
    try:
        dataset = ksdd2.load(out, None)
    except InputError as error:
        return [str(error)]
    problems = [f"{skip.path}: {skip.reason}" for skip in dataset.skipped]
    for split, records in (("train", dataset.train), ("test", dataset.test)):
        defective = sum(record.label == 1 for record in records)
        found = (len(records) - defective, defective)
        print(f"{split:<6} {found[0]} nominal + {found[1]} defective, published {PUBLISHED[split]}")
        if found != PUBLISHED[split]:
            problems.append(f"{split}: {found} nominal and defective images of {PUBLISHED[split]}")
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see `archives.command`."""
    return command(SOURCE, "data/ksdd2", place, check, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
