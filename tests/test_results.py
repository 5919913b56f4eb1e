"""The store: whole or not there, damage detected, quick to collect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from comet_core.errors import InputError
from comet_core.results import Store, collect, default_store, to_frame

NAME = "0123456789abcdef"
CONFIG = {"category": "bottle", "options": {"noise_std": 0.015}}


def row(name=NAME, **values):
    return {"hash": name, "image_auroc": 0.9, **values}


def tables(size=4):
    return {
        "train": pd.DataFrame({"id": [f"i{n}" for n in range(size)], "score": np.arange(size) / 3}),
        "history": pd.DataFrame({"epoch": range(2), "loss": [0.5, float("nan")]}),
    }


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "runs")
    store.write(NAME, CONFIG, row(), tables())
    return store


def test_what_was_written_comes_back(store):
    assert store.names() == [NAME]
    assert store.finished(NAME)
    assert store.config(NAME) == CONFIG
    assert store.row(NAME) == row()
    for name, table in tables().items():
        pd.testing.assert_frame_equal(store.table(NAME, name), table)


def test_any_tool_can_read_it(store):
    folder = store.root / NAME
    assert sorted(path.name for path in folder.iterdir()) == [
        "checksums.json",
        "config.json",
        "history.parquet",
        "row.json",
        "train.parquet",
    ]
    strict = {"parse_constant": pytest.fail}  # NaN and Infinity are not JSON
    assert json.loads((folder / "row.json").read_text(), **strict)["image_auroc"] == 0.9
    assert len(pd.read_parquet(folder / "train.parquet")) == 4


def test_scalars_of_numpy_and_numbers_that_are_not_finite(tmp_path):
    store = Store(tmp_path)
    values = {"a": np.float32(0.5), "n": np.int64(3), "yes": np.bool_(True), "x": float("nan")}
    store.write(NAME, {}, row(**values), {})
    assert store.row(NAME) == row(a=0.5, n=3, yes=True, x=None)


@pytest.mark.parametrize("file", ["config.json", "row.json", "train.parquet", "checksums.json"])
@pytest.mark.parametrize("damage", ["removed", "cut", "flipped", "emptied"])
def test_damage_is_detected_and_repaired(store, file, damage):
    path = store.root / NAME / file
    data = path.read_bytes()
    if damage == "removed":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "emptied":
        path.write_bytes(b"")
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    assert not store.finished(NAME)
    with pytest.raises(InputError, match=r"damaged|holds no"):
        store.config(NAME), store.row(NAME), store.table(NAME, "train")
    store.write(NAME, CONFIG, row(image_auroc=0.8), tables())
    assert store.finished(NAME)
    assert store.row(NAME)["image_auroc"] == 0.8


def test_a_damaged_row_is_left_out_of_the_collection(store):
    other = "f" * 16
    store.write(other, CONFIG, row(other), tables())
    (store.root / NAME / "row.json").write_text('{"hash": "0123456789abcdef", "image_auroc": 1}')
    with pytest.warns(UserWarning, match="1 of 2 runs"):
        assert list(collect(store)["hash"]) == [other]


def test_a_folder_copied_under_another_name_is_no_run(store):
    (store.root / NAME).rename(store.root / ("e" * 16))
    with pytest.warns(UserWarning, match="damaged"):
        assert collect(store).empty


def test_a_whole_run_is_never_replaced(store):
    store.write(NAME, CONFIG, row(image_auroc=0.1), tables())
    assert store.row(NAME)["image_auroc"] == 0.9
    assert [path.name for path in store.root.iterdir()] == [NAME]


def test_a_failed_write_leaves_nothing(tmp_path):
    store = Store(tmp_path / "runs")
    with pytest.raises(TypeError):
        store.write(NAME, CONFIG, row(bad=object()), tables())
    assert list(store.root.iterdir()) == []


def test_leftovers_are_swept_when_old(store):
    old, new = store.root / ".writing-a", store.root / ".writing-b"
    for path in (old, new):
        path.mkdir()
        (path / "row.json").write_text("{")
    os.utime(old, (0, time.time() - 4000))
    assert store.names() == [NAME]
    store.sweep()
    assert not old.exists()
    assert new.exists()
    assert store.finished(NAME)


def test_tables_of_many_runs(store):
    other = "f" * 16
    store.write(other, CONFIG, row(other, strategy="comet"), tables(2))
    found = store.tables(collect(store), "train", ["strategy"])
    assert list(found.columns) == ["hash", "strategy", "id", "score"]
    assert found.groupby("hash").size().to_dict() == {NAME: 4, other: 2}
    assert store.tables(collect(store).iloc[:0], "train").empty


def test_columns_that_only_some_runs_have():
    frame = to_frame([{"a": 1, "b": None}, {"a": 2, "b": None, "c": "x"}])
    assert list(frame.columns) == ["a", "b", "c"]
    assert frame["b"].dtype == float
    assert frame["c"].isna().tolist() == [True, False]
    assert to_frame([]).empty


def test_mistakes_are_told(store, tmp_path):
    for ask in (store.config, store.row, lambda name: store.table(name, "train")):
        with pytest.raises(InputError, match="there is no run"):
            ask("0" * 16)
    with pytest.raises(InputError, match="holds no"):
        store.table(NAME, "test")
    with pytest.raises(InputError, match="names no run"):
        store.row("../../etc")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        Store(tmp_path / "file")
    assert collect(tmp_path / "nowhere").empty


def test_the_environment_names_the_store(monkeypatch, tmp_path):
    monkeypatch.setenv("COMET_RUNS", str(tmp_path))
    assert Store().root == default_store() == tmp_path


WRITER = """
import sys, pandas as pd
from comet_core.results import Store
store, who = Store(sys.argv[1]), sys.argv[2]
for turn in range(40):
    name = f"{turn:016x}"
    frame = pd.DataFrame({"who": [who] * 50})
    store.write(name, {"who": who}, {"hash": name, "who": who}, {"train": frame})
"""


def test_two_processes_write_the_same_runs(tmp_path):
    """Each run is entirely one writer's, whoever came first."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), who], cwd=Path.cwd())
        for who in "ab"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    store = Store(tmp_path)
    assert len(store.names()) == 40
    for name in store.names():
        assert store.finished(name)
        who = store.row(name)["who"]
        assert store.config(name) == {"who": who}
        assert set(store.table(name, "train")["who"]) == {who}
    assert not list(tmp_path.glob(".*"))


def test_a_claim_is_held_by_one(tmp_path):
    store, inside, most = Store(tmp_path), [], []

    def work():
        for _ in range(20):
            with store.claim(NAME):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert max(most) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_claim_ends_with_its_holder(tmp_path):
    code = (
        "import sys, time; from comet_core.results import Store\n"
        f"with Store(sys.argv[1]).claim('{NAME}'): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    with Store(tmp_path).claim(NAME):
        holder.wait(10)


def test_ten_thousand_runs_are_collected_in_seconds(tmp_path):
    store = Store(tmp_path)
    for turn in range(10_000):
        name = f"{turn:016x}"
        values = {f"setting_{number}": number + turn / 7 for number in range(60)}
        store.write(name, CONFIG, row(name, strategy="comet", **values), {})
    begin = time.process_time()
    frame = collect(store)
    assert time.process_time() - begin < 5  # measured: 0.6 s
    assert frame.shape == (10_000, 63)
