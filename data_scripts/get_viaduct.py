"""Lay out VIADUCT from the archives that you have downloaded, and check it.

    python data_scripts/get_viaduct.py --archive downloads/*.zip --out data/viaduct
    python data_scripts/get_viaduct.py --check --out data/viaduct

Sizes, checksums and counts are not known to this project, and the layout is assumed to be that of
MVTec AD. So the check says what the loader finds, and can only complain of what contradicts itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from archives import Source, command, folders_with, move_in

from comet_core.datasets import viaduct
from comet_core.errors import InputError

SOURCE = Source(
    name="VIADUCT (Fraunhofer IPK)",
    page="https://fordatis.fraunhofer.de/handle/fordatis/363",
    licence="see the page",
    file="one archive a category",
)


def place(stage: Path, out: Path) -> None:
    """Move every category from `stage` to `out`."""
    found = folders_with(stage, lambda path: (path / "train" / "good").is_dir())
    if not found:
        raise InputError(
            "the archive holds no folder with 'train/good': its layout is not the assumed one; "
            "extract it yourself and name its folders with the settings of the loader."
        )
    if found == [stage]:
        raise InputError("the archive has no folder of its own for the category; extract it there.")
    for folder in found:
        if not (out / folder.name).is_dir() or check_category(out, folder.name)[1]:
            move_in(folder, out / folder.name)


def check_category(out: Path, category: str) -> tuple[str, list[str]]:
    """A line about a category, and what is wrong with it."""
    try:
        dataset = viaduct.load(out, category)
    except InputError as error:
        return f"{category}: incomplete", [str(error)]
    anomalous = [record for record in dataset.test if record.label]
    nominal = len(dataset.test) - len(anomalous)
    line = f"{category}: {len(dataset.train)} + {nominal} + {len(anomalous)} images"
    return line, [f"mask of {record.id}" for record in anomalous if record.mask is None]


def check(out: Path) -> list[str]:
    """What contradicts itself, one line each; prints a line a category."""
    try:
        names = viaduct.categories(out)
    except InputError as error:
        return [str(error)]
    problems: list[str] = [] if names else [f"any category in '{out}'"]
    for name in names:
        line, here = check_category(out, name)
        print(line)
        problems += here
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see `archives.command`."""
    return command(SOURCE, "data/viaduct", place, check, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
