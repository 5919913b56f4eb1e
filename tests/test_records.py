"""Records of benchmarks: written whole, and other files told apart."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from comet_core import beyond_record, peers_record, records
from comet_core.errors import InputError
from comet_core.records import add_rows, read_record, write_record


@pytest.mark.parametrize(
    ("read", "target", "foreign"),
    [
        (lambda path: read_record(path, "bench"), "bench", "[]"),
        (peers_record.read_record, "bench-peers", '{"rows": [{"detector": "simplenet"}]}'),
        (beyond_record.read_record, "bench-beyond", '{"rows": [{"detector": "simplenet"}]}'),
    ],
)
def test_a_missing_or_foreign_record_is_told(
    tmp_path: Path, read: Callable[[Path], Any], target: str, foreign: str
) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(InputError, match=f"`make {target}` writes it"):
        read(path)
    path.write_text(foreign)
    with pytest.raises(InputError, match="no record of the benchmark"):
        read(path)


@pytest.mark.parametrize("columns", [None, ["images", "seconds"]])
def test_a_record_is_read_as_it_was_written(tmp_path: Path, columns: list[str] | None) -> None:
    rows = [[100, 0.5], [200, None]]
    named = [dict(zip(("images", "seconds"), row, strict=True)) for row in rows]
    record: dict[str, Any] = {"made": "today", "machine": {"threads": 1}}
    record |= {"columns": columns, "rows": rows} if columns else {"rows": named}
    path = tmp_path / "record.json"
    write_record(record, path)
    found = read_record(path, "bench", ["images", "seconds"])
    assert found["machine"] == {"threads": 1}
    assert found["rows"]["images"].tolist() == [100, 200]
    assert found["rows"]["seconds"].isna().tolist() == [False, True]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["speed", "peers"])
def test_a_record_without_a_folder_is_told_before_anything_is_measured(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    command = importlib.import_module(name)
    monkeypatch.setattr(sys, "argv", [name, "--out", str(tmp_path / "none" / "record.json")])
    monkeypatch.setattr(command, "measured" if name == "speed" else "fill", pytest.fail)
    assert command.main() == 2
    assert "none' for the record; make it first." in capsys.readouterr().err
    records.check_folder(None)


def test_benchmarks_that_add_at_once_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As processes would: each call takes a lock of its own."""
    pytest.importorskip("fcntl")
    path = tmp_path / "record.json"

    def add(who: int) -> None:
        add_rows(pd.DataFrame({"who": [who]}), path, "bench", {"made": "today"}, ["who"])

    def slowly(*args: Any) -> dict[str, Any]:
        found = read_record(*args)
        time.sleep(0.05)
        return found

    add(0)
    monkeypatch.setattr(records, "read_record", slowly)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(add, (1, 2, 3)))
    assert read_record(path, "bench")["rows"]["who"].tolist() == [0, 1, 2, 3]
    assert list(tmp_path.iterdir()) == [path]
