"""Records: what a benchmark measured, in a file of the project, so that the book can show it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from comet_core.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no flock: one benchmark at a time, then
    fcntl = None  # type: ignore[assignment]


def read_record(path: Path, target: str, columns: Iterable[str] = ()) -> dict[str, Any]:
    """What a benchmark wrote with `--out`; "rows" become a table, "file" is the record's name.

    Rows are objects, or, where there are many, lists of what "columns" names.

    Args:
        path: the record.
        target: what `make` calls the benchmark.
        columns: what the rows must have.

    Raises:
        InputError: no such file, or another one.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        rows = pd.DataFrame(record["rows"], columns=record.get("columns"))
        if not set(columns) <= set(rows.columns):
            raise KeyError("rows")
        return {**record, "rows": rows, "file": path.name}
    except FileNotFoundError:
        raise InputError(f"there is no record '{path}'; `make {target}` writes it.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"'{path}' is no record of the benchmark; `make {target}` writes one."
        ) from None


def check(path: Path, target: str, columns: Iterable[str]) -> None:
    """Whether rows can be added to a record: asked before hours of runs rather than after them.

    Raises:
        InputError: the file is another one, or has no folder to be made in.
    """
    check_folder(path)
    if path.exists():
        read_record(path, target, columns)


def check_folder(path: Path | None) -> None:
    """Whether there is a folder for a record, if one is wanted: asked before it is measured.

    Raises:
        InputError: there is none.
    """
    if path is not None and not path.parent.is_dir():
        raise InputError(f"there is no folder '{path.parent}' for the record; make it first.")


def add_rows(
    new: pd.DataFrame,
    path: Path,
    target: str,
    about: Mapping[str, Any],
    keys: Sequence[str],
    by: Sequence[str] = (),
    names: Sequence[str] = (),
) -> None:
    """Add rows to a record, or begin one; rows of the same keys are replaced.

    Several benchmarks may add to one record at once.

    Args:
        new: the rows, with all columns of the record.
        path: of the record.
        target: what `make` calls the benchmark.
        about: when and where the rows were made.
        keys: columns that name a row.
        by: columns that the record is sorted by; the keys if left out.
        names: as for `in_order`.

    Raises:
        InputError: the file is another one.
    """
    with _alone(path.parent):
        before = read_record(path, target, new.columns)["rows"] if path.exists() else new[:0]
        rows = pd.concat([before, new]).drop_duplicates(list(keys), keep="last")
        write_table(in_order(rows, by or keys, names), path, about)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time, so that none writes over what another has just added."""
    if fcntl is None:
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system may know no locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def in_order(rows: pd.DataFrame, by: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """Rows sorted by columns; a column that holds nothing but some of `names` in their order."""
    place = {name: i for i, name in enumerate(names)}
    return rows.sort_values(
        list(by),
        key=lambda one: one.map(place) if one.isin(names).all() else one,
        ignore_index=True,
    )


def write_table(rows: pd.DataFrame, path: Path, about: Mapping[str, Any]) -> None:
    """Write a record whose rows are lists, under the names of their columns."""
    lines = rows.astype(object).where(rows.notna(), None).to_numpy().tolist()
    write_record({**about, "columns": list(rows.columns), "rows": lines}, path)


def write_record(record: Mapping[str, Any], path: Path) -> None:
    """Write what is measured so far, a row a line; an interrupted benchmark leaves that much."""
    about = {name: value for name, value in record.items() if name != "rows"}
    head = json.dumps({**about, "rows": []}, indent=1).removesuffix("[]\n}")
    rows = ",\n".join("  " + json.dumps(row) for row in record["rows"])
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(f"{head}[\n{rows}\n ]\n}}\n", encoding="utf-8")
    aside.replace(path)
