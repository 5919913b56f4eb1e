"""The results store: one folder a run, in JSON and Parquet, that is either whole or not there.

    runs/<hash>/config.json      the settings of the run: enough to compute it again
                row.json         its row: settings, metrics, time, memory, versions
                <table>.parquet  per-sample scores and weights, history
                checksums.json   SHA-256 of the files above

A run is written to a folder of another name and renamed when complete, so a killed process leaves
no half of one. Checksums tell a file that was damaged later: the row's at every reading, a table's
when the table is read. Nothing is shared between runs, so any number of processes can work on one
store; there is no index to go stale.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import pandas as pd

from comet_core.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no flock: two processes may then compute the same run twice
    fcntl = None  # type: ignore[assignment]

CHECKSUMS = "checksums.json"
STALE = 3600.0
"""Seconds after which an unfinished folder belongs to nobody; writing one takes milliseconds."""
_HASH = re.compile(r"[0-9a-f]{16}")


class DamagedRunError(InputError):
    """A run whose files are missing, unreadable or not the ones that were written."""


def default_store() -> Path:
    """The folder of the runs: the environment's COMET_RUNS, else `runs` here."""
    return Path(os.environ.get("COMET_RUNS", "runs"))


class Store:
    """Finished runs below one folder, which is made when the first run is written.

    Args:
        root: the folder; `default_store()` if left out.
    """

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root) if root is not None else default_store()
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"the store {self.root} is a file; name a folder.")

    def existing(self) -> Self:
        """The store, for those who want to read what is in it.

        Raises:
            InputError: there is no such folder.
        """
        if not self.root.is_dir():
            raise InputError(
                f"there is no store '{self.root}'; name the folder of the runs by store (on the"
                " command line --store) or COMET_RUNS."
            )
        return self

    def folder(self, name: str) -> Path:
        """Where the run `name` (16 hex digits) lies or would lie."""
        if not _HASH.fullmatch(name):
            raise InputError(f"'{name}' names no run; a run's name is 16 hexadecimal digits.")
        return self.root / name

    def names(self) -> list[str]:
        """The names of all runs, sorted; damaged ones included."""
        if not self.root.exists():
            return []
        return sorted(path.name for path in self.root.iterdir() if _HASH.fullmatch(path.name))

    def finished(self, name: str) -> bool:
        """Whether the run is there with every file as it was written."""
        folder = self.folder(name)
        if not folder.exists():
            return False
        try:
            sums = _checksums(folder)
            for file in sums:
                _read(folder, file, sums)
        except DamagedRunError:
            return False
        return True

    def write(
        self,
        name: str,
        config: Mapping[str, Any],
        row: Mapping[str, Any],
        tables: Mapping[str, pd.DataFrame],
    ) -> None:
        """Put a finished run in place, in one step.

        A whole run that is there already stays; a damaged one is replaced. Numbers in `row` that
        are not finite are written as null, which JSON has a word for.
        """
        folder = self.folder(name)
        self.root.mkdir(parents=True, exist_ok=True)
        files = {"config.json": _json(config), "row.json": _json(row)}
        for table, frame in tables.items():
            buffer = io.BytesIO()
            frame.to_parquet(buffer, index=False)
            files[f"{table}.parquet"] = buffer.getvalue()
        files[CHECKSUMS] = _json({file: _digest(data) for file, data in files.items()})
        aside = Path(tempfile.mkdtemp(prefix=f".writing-{name}-", dir=self.root))
        try:
            aside.chmod(0o755)  # mkdtemp's folders are for their owner alone
            for file, data in files.items():
                (aside / file).write_bytes(data)
            while True:
                try:
                    aside.rename(folder)
                    return
                except OSError:  # the name is taken
                    if not folder.exists():
                        raise
                if self.finished(name):
                    return
                with contextlib.suppress(FileNotFoundError):  # or another process was quicker
                    folder.rename(Path(tempfile.mkdtemp(prefix=".damaged-", dir=self.root)) / name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def config(self, name: str) -> dict[str, Any]:
        """The settings of a run. Raises `InputError` if it is absent or damaged."""
        return json.loads(self._file(name, "config.json"))

    def row(self, name: str) -> dict[str, Any]:
        """The row of a run. Raises `InputError` if it is absent or damaged."""
        return json.loads(self._file(name, "row.json"))

    def table(self, name: str, table: str) -> pd.DataFrame:
        """A table of a run, such as "history". Raises `InputError` if absent or damaged."""
        return pd.read_parquet(io.BytesIO(self._file(name, f"{table}.parquet")))

    def tables(self, rows: pd.DataFrame, table: str, columns: Sequence[str] = ()) -> pd.DataFrame:
        """One table of many runs in one frame.

        Args:
            rows: rows of `collect` or `experiments.run`.
            table: "train", "test", "history" or "weights".
            columns: columns of `rows` to repeat beside the run's `hash`, such as ("strategy",).
        """
        frames = []
        for row in rows.to_dict("records"):
            frame = self.table(row["hash"], table)
            for place, column in enumerate(("hash", *columns)):
                frame.insert(place, column, row[column])
            frames.append(frame)
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    @contextlib.contextmanager
    def claim(self, name: str) -> Iterator[None]:
        """Hold the run `name` while computing it; another process that wants it waits.

        The operating system lets go of the claim when its holder dies. Where the file system knows
        no locks the claim is void, and a run that two processes begin is computed twice and kept
        once: a loss of time, never of a result.
        """
        path = self.folder(name).with_name(f".claim-{name}")
        self.root.mkdir(parents=True, exist_ok=True)
        while True:
            held = os.open(path, os.O_CREAT | os.O_RDWR)
            if fcntl is not None:
                with contextlib.suppress(OSError):
                    fcntl.flock(held, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(held), path.stat()):
                    break
            os.close(held)  # the former holder removed the file while this process waited
        try:
            yield
        finally:
            with contextlib.suppress(PermissionError):  # Windows keeps what is open
                path.unlink(missing_ok=True)
            os.close(held)

    def _file(self, name: str, file: str) -> bytes:
        folder = self.folder(name)
        if not folder.is_dir():
            raise InputError(
                f"there is no run {name} in {self.root}; `collect` lists those it has."
            )
        sums = _checksums(folder)
        if file not in sums:
            raise InputError(f"run {folder} holds no {file}.")
        return _read(folder, file, sums)

    def sweep(self) -> None:
        """Remove what killed processes left unfinished an hour ago, and damaged runs put aside."""
        for pattern in (".writing-*", ".damaged-*"):
            for path in self.root.glob(pattern):
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > STALE:
                        shutil.rmtree(path, ignore_errors=True)


def collect(store: Store | Path | str | None = None) -> pd.DataFrame:
    """Every run of a store: one row a run, one column a setting or a result, sorted by hash.

    A column that some runs lack (an option of one detector, say) is empty there. Damaged runs are
    left out with a warning. Tables are not read; `Store.table` checks them when they are.
    """
    store = store if isinstance(store, Store) else Store(store)

    def read(name: str) -> dict[str, Any] | None:
        try:
            folder = store.root / name
            row = json.loads(_read(folder, "row.json", _checksums(folder)))
        except DamagedRunError:
            return None
        return row if row.get("hash") == name else None

    with ThreadPoolExecutor(8) as pool:  # hides the latency of a network file system
        found = list(pool.map(read, store.names(), chunksize=64))
    rows = [row for row in found if row is not None]
    if len(rows) < len(found):
        warnings.warn(
            f"{len(found) - len(rows)} of {len(found)} runs in {store.root} are damaged and left "
            "out; run their grid again to replace them.",
            stacklevel=2,
        )
    return to_frame(rows)


def to_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a DataFrame, columns in order of first appearance, null as nan."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    frame = pd.DataFrame(list(rows), columns=columns)
    empty = [name for name in columns if frame[name].dtype == object and frame[name].isna().all()]
    return frame.astype(dict.fromkeys(empty, float))


def _checksums(folder: Path) -> dict[str, str]:
    try:
        sums = json.loads((folder / CHECKSUMS).read_bytes())
    except (OSError, ValueError):
        raise _damaged(folder, f"{CHECKSUMS} is missing or unreadable") from None
    if not isinstance(sums, dict) or not {"config.json", "row.json"} <= sums.keys():
        raise _damaged(folder, f"{CHECKSUMS} is incomplete")
    return sums


def _read(folder: Path, file: str, sums: Mapping[str, str]) -> bytes:
    """The bytes of a file, if they are the ones that were written."""
    try:
        data = (folder / file).read_bytes()
    except OSError:
        raise _damaged(folder, f"{file} is missing or unreadable") from None
    if _digest(data) != sums[file]:
        raise _damaged(folder, f"{file} does not match its checksum")
    return data


def _damaged(folder: Path, why: str) -> DamagedRunError:
    return DamagedRunError(f"run {folder} is damaged ({why}); run its grid again to replace it.")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(plain(values), indent=1, allow_nan=False) + "\n").encode()


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """A row as it is stored: Python's own numbers, and None for those that are not finite."""
    own = {key: value.item() if hasattr(value, "item") else value for key, value in values.items()}
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in own.items()
    }
