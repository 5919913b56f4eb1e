"""Where a report may be written: never over images, nor over files that are no report's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile

from comet_core import triage_report
from comet_core.datasets.listing import existing_folder, is_ignored, scan
from comet_core.errors import InputError

REPORT, RANKING, SHEET, CURVE = "report.html", "ranking.csv", "contact_sheet.jpg", "score_curve.svg"
MAPS = "maps"


def report_place(images: Path, out: Path) -> Path:
    """`out`, if a report on these images may be written there; see `triage.triage` for when not."""
    if os.path.lexists(out) and not out.is_dir():
        raise InputError(
            f"'{out}' is a file, or a link that leads nowhere; name a folder for the report."
        )
    _keep_apart(existing_folder(images), out)
    names = (MAPS, SHEET, CURVE, RANKING, REPORT)
    # Where nobody may look, nobody may write either, and that is told below.
    blocked = [one for one in names if one != MAPS and os.path.isdir(out / one)]  # noqa: PTH112
    if blocked:
        raise InputError(
            f"'{out / blocked[0]}' is a folder, and the report puts a file there; move it away, or "
            "name another folder for the report."
        )
    there = [name for name in names if os.path.lexists(out / name)]
    if there and not _holds_report(out):
        raise InputError(
            f"'{out}' holds '{there[0]}' and no whole report of an earlier search, so it might be "
            "yours; name another folder for the report, or move or delete the files there if they "
            "are an old report."
        )
    return out


def _keep_apart(images: Path, out: Path) -> None:
    """Refuse a report that would lie among the images, or its maps over them."""
    place = Path(os.path.realpath(out))
    searched = _searched(images)
    if searched & {place, *place.parents}:
        raise InputError(
            f"the report '{out}' would lie among the images of '{images}' and be taken for one of "
            "them next time; name another folder."
        )
    if any(one.is_relative_to(place / MAPS) for one in searched):
        raise InputError(
            f"images of '{images}' lie in '{out / MAPS}', where the report puts its maps; name "
            "another folder for the report."
        )


def _searched(images: Path) -> set[Path]:
    """The folder and all below it, where links lead; the same that a search looks into."""
    found: set[Path] = set()
    ahead = [images.resolve()]
    while ahead:
        one = ahead.pop()
        if one not in found:
            found.add(one)
            ahead += [(one / name).resolve() for name in scan(one).folders]
    return found


def _holds_report(out: Path) -> bool:
    """Whether a folder has our report, and nothing but a report's maps where these would go."""
    ours = triage_report.is_report(out / REPORT)
    maps = out / MAPS
    if maps.is_symlink() or not maps.is_dir():
        return ours and not os.path.lexists(maps)
    rest = [one.name for one in maps.iterdir() if not is_ignored(one)]
    return ours and all(re.fullmatch(r"\d{4,}\.png", name) for name in rest)


def place_below(below: Path, images: Path) -> Path:
    """A folder for the report on some images, under the name of theirs.

    It gets a number where the report on another folder of that name lies: NAME, NAME-2, ...
    """
    name = images.resolve().name
    places = (below / (f"{name}-{number}" if number > 1 else name) for number in count(1))
    return next(place for place in places if _is_free(place / REPORT, images))


def _is_free(report: Path, images: Path) -> bool:
    return not os.path.lexists(report) or triage_report.is_report(report, images)


@contextmanager
def made_folder(out: Path) -> Iterator[None]:
    """Make a folder and see that it can be written to; it goes again if nothing comes into it."""
    new = [one for one in (out, *out.parents) if not os.path.lexists(one)]
    try:
        try:
            out.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=out):
                pass
        except OSError as error:
            raise cannot_write(out, error) from None
        yield
    finally:
        with suppress(OSError):  # it holds the report
            for one in new:
                one.rmdir()


def cannot_write(out: Path, error: OSError) -> InputError:
    """What to say of a report that cannot be written."""
    return InputError(
        f"the report cannot be written to '{out}' ({error.strerror or error}); "
        "name a folder that can."
    )
