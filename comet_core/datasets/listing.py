"""Finding files, without ever opening one.

The rule for what is found, the same for all data sets:

- hidden files and those that file managers leave behind are ignored;
- files with an image's suffix are taken, whatever they hold: whether they decode is found out when
  their features are extracted;
- anything else is left out and counted, with a reason: other suffixes, broken links, links that
  lead back to a folder above, pipes, names that are not valid Unicode, unreadable folders.

Links to files and folders are followed. Under `strict` nothing may be left out.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from comet_core.datasets.base import Skipped
from comet_core.errors import InputError
from comet_core.images import OTHER_SUFFIXES, SUFFIXES

IGNORED = frozenset({"thumbs.db", "desktop.ini", "manifest.csv", "synthetic"})
"""Files that systems and this project leave in folders; folders of these names hold images."""
NO_IMAGE = "not an image by its name"
"""Why a file was left out that nobody would miss; all other reasons are worth a look."""


class Listing(NamedTuple):
    """What one folder holds: sorted names of images and of folders, and what was left out."""

    images: list[str]
    folders: list[str]
    skipped: list[Skipped]


def scan(folder: Path) -> Listing:
    """List one folder, at the cost of one system call per file at most."""
    images: list[str] = []
    folders: list[str] = []
    skipped: list[Skipped] = []
    try:
        entries = os.scandir(folder)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return Listing([], [], [Skipped(folder, f"folder cannot be read ({reason})")])
    with entries:
        for entry in entries:
            name = entry.name
            if is_ignored(entry):
                continue
            reason = _problem(entry)
            if reason:
                skipped.append(Skipped(Path(entry.path), reason))
            elif entry.is_dir():
                folders.append(name)
            else:
                images.append(name)
    return Listing(sorted(images), sorted(folders), sorted(skipped))


def is_ignored(entry: os.DirEntry[str] | Path) -> bool:
    """Whether it is none of the user's: hidden, or what a system leaves behind."""
    name = entry.name.lower()
    if name in IGNORED:
        return not os.path.isdir(entry)  # noqa: PTH112, which a link to itself does not stop
    return name.startswith(".") or name == "__macosx"


def _problem(entry: os.DirEntry[str]) -> str:
    """Why an entry cannot be used, in one clause; "" if it can."""
    try:
        if not entry.name.isprintable() and any("\ud800" <= c <= "\udfff" for c in entry.name):
            return "name is not valid Unicode"
        if entry.is_dir():
            return ""
        if entry.is_file():
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122, called 100,000 times
            if suffix in OTHER_SUFFIXES:
                return f"{suffix[1:].upper()} images are not read; convert them to PNG or JPEG"
            return "" if suffix in SUFFIXES else NO_IMAGE
        return "broken link" if entry.is_symlink() else "not a regular file"
    except OSError:
        return "link that leads to itself"


def walk(folder: Path) -> tuple[list[str], list[Skipped]]:
    """All images below a folder, as sorted relative paths with forward slashes."""
    found: list[str] = []
    skipped: list[Skipped] = []

    def visit(current: Path, prefix: str, above: frozenset[tuple[int, int]]) -> None:
        try:
            status = current.stat()
        except OSError as error:
            skipped.append(Skipped(current, f"folder cannot be read ({error.strerror})"))
            return
        key = (status.st_dev, status.st_ino)
        if key in above:
            skipped.append(Skipped(current, "link that leads to a folder above it"))
            return
        listing = scan(current)
        found.extend(prefix + name for name in listing.images)
        skipped.extend(listing.skipped)
        for name in listing.folders:
            visit(current / name, f"{prefix}{name}/", above | {key})

    visit(folder, "", frozenset())
    return sorted(found), skipped


def existing_folder(path: Path) -> Path:
    """`path` itself if it is a folder.

    Raises:
        InputError: it is not; the sentence names the nearest that exists.
    """
    try:
        if path.is_dir():
            return path
        is_file = path.exists()
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be looked at ({(error.strerror or str(error)).lower()}); check the "
            "path and its permissions."
        ) from None
    if is_file:
        raise InputError(f"'{path}' is a file; give the folder that holds the images.")
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    missing = path.relative_to(parent).parts[0]
    nearest = suggest(missing, scan(parent).folders)
    hint = f"did you mean '{parent / nearest}'?" if nearest else "check the path."
    raise InputError(f"'{path}' does not exist: no '{missing}' in '{parent}'; {hint}")


def suggest(name: str, names: Sequence[str]) -> str:
    """The most similar of `names`, or ""."""
    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[close[0]] if close else ""


def categories_in(root: Path, holds_data: Callable[[Path], bool]) -> list[str]:
    """Categories of a root: the folders for which `holds_data`, or the root's own name."""
    root = existing_folder(root)
    if holds_data(root):
        return [root.resolve().name]
    return [name for name in scan(root).folders if holds_data(root / name)]


def locate(
    root: Path, category: str | None, holds_data: Callable[[Path], bool], layout: str
) -> tuple[str, Path]:
    """The folder of one category, where `root` is the folder that holds it, or is it.

    Args:
        root: what the user calls the data root.
        category: its name; None if there is only one.
        holds_data: whether a folder looks like a category.
        layout: what was looked for, for the error message, such as "train/good and test".

    Returns:
        The category's name and its folder.

    Raises:
        InputError: there is no such category, or None was given and there are several.
    """
    root = existing_folder(root)
    known = categories_in(root, holds_data)
    if not known:
        raise InputError(f"'{root}' holds no category: looked for folders with {layout}.")
    if category is None:
        if len(known) > 1:
            raise InputError(f"'{root}' holds {len(known)} categories; give one of {_join(known)}.")
        category = known[0]
    if category not in known:
        nearest = suggest(category, known)
        hint = f"did you mean '{nearest}'? " if nearest else ""
        raise InputError(f"no category '{category}' in '{root}'; {hint}There are {_join(known)}.")
    return category, root if holds_data(root) else root / category


def _join(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
