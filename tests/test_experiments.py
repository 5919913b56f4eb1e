"""Grids: expanded strictly, computed once, safe to kill, told when something fails."""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from comet_core import engines, experiments
from comet_core.config import RunConfig
from comet_core.detectors import DETECTORS
from comet_core.errors import InputError
from comet_core.experiments import expand, main, run
from comet_core.results import Store, collect
from tests import fake_runs

GRID = {"category": ["bottle", "screw"], "strategy": ["plain", "comet"], "seed": [0, 1, 2]}
ROOT = Path(__file__).parents[1]


def fake(grid, store, **options):
    usual = {"execute": fake_runs.execute, "fingerprint": fake_runs.fingerprint}
    return run(grid, store=store, **{**usual, "progress": False, **options})


def child(store, grid, engine="in_process", **options):
    """The same grid in a process that can be killed."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fake_runs", str(store), json.dumps(grid), engine],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        **options,
    )


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# -- the grid --------------------------------------------------------------------------------------


def test_a_grid_is_a_product_in_order():
    configs = expand(GRID)
    assert len(configs) == 12
    assert [(c.category, c.strategy, c.seed) for c in configs[:4]] == [
        ("bottle", "plain", 0),
        ("bottle", "plain", 1),
        ("bottle", "plain", 2),
        ("bottle", "comet", 0),
    ]


def test_scalars_ranges_arrays_unions_and_runs():
    grid = {"category": "bottle", "seed": range(3), "contamination": np.linspace(0, 0.1, 2)}
    assert len(expand(grid)) == 6
    assert len(expand([grid, {"category": "screw"}, RunConfig(category="pill")])) == 8


def test_dotted_options():
    grid = {"category": "bottle", "options": {"a": 1}, "options.b": [2, 3]}
    assert [config.options for config in expand(grid)] == [{"a": 1, "b": 2}, {"a": 1, "b": 3}]


@pytest.mark.parametrize(
    "grid",
    [
        {"category": "bottle", "sede": [0]},
        {"category": "bottle", "seed": []},
        {"category": "bottle", "seed": [0, -1]},
        {"category": "bottle", "seed": [0.5]},
        {"seed": 1},
    ],
)
def test_mistakes_in_a_grid_are_told_before_anything_runs(grid, tmp_path):
    with pytest.raises(InputError, match=r"setting|sett"):
        fake(grid, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


# -- rows ------------------------------------------------------------------------------------------


def test_rows_hold_settings_results_cost_and_versions(tmp_path):
    rows = fake(
        {**GRID, "options.level": 0.5, "options.log": str(tmp_path / "log")}, tmp_path / "s"
    )
    assert len(rows) == 12
    assert rows["hash"].is_unique
    wanted = {
        *(set(RunConfig.model_fields) - {"options", "data_root"}),
        *("options.level", "image_auroc", "fingerprint", "seconds", "threads"),
        *("code", "commit", "python", "torch", "timm", "numpy"),
    }
    assert wanted <= set(rows.columns)
    assert list(rows["category"]) == ["bottle"] * 6 + ["screw"] * 6
    assert rows["seconds"].between(0, 5).all()
    pd.testing.assert_frame_equal(
        collect(tmp_path / "s"), rows.sort_values("hash", ignore_index=True)
    )
    train = Store(tmp_path / "s").tables(rows, "train", ["seed"])
    assert len(train) == 12 * 2000


def test_a_finished_run_is_never_computed_again(tmp_path):
    log = tmp_path / "log"
    grid = {**GRID, "options.log": str(log)}
    first = fake({**grid, "seed": [0, 1]}, tmp_path / "s")
    everything = fake(grid, tmp_path / "s")
    assert len(fake_runs.lines(log)) == 12
    assert set(first["hash"]) < set(everything["hash"])
    pd.testing.assert_frame_equal(everything, fake(grid, tmp_path / "s"))


def test_settings_that_name_one_run_give_one_row(tmp_path):
    grid = {"category": "bottle", "strategy": ["plain", "reject"], "refresh_every": [1, 2, 3]}
    assert fake(grid, tmp_path)["strategy"].tolist() == ["plain", "reject", "reject", "reject"]


def test_other_data_are_another_run(tmp_path):
    grid = {"category": "bottle"}
    one = fake(grid, tmp_path)
    other = fake(grid, tmp_path, fingerprint=lambda config: "changed")
    assert one.loc[0, "hash"] != other.loc[0, "hash"]


def test_data_that_change_while_the_grid_runs_give_no_row(tmp_path):
    states = iter(["before", "after"])
    with pytest.raises(InputError, match="changed while the grid ran"):
        fake({"category": "bottle"}, tmp_path, fingerprint=lambda config: next(states))
    assert collect(tmp_path).empty


def test_the_data_are_listed_once_for_each_category(tmp_path):
    asked = []

    def look(config):
        asked.append(config.category)
        return "x"

    fake(GRID, tmp_path, fingerprint=look)
    fake(GRID, tmp_path, fingerprint=look)  # nothing is left to compute
    assert asked[:2] == asked[-2:] == ["bottle", "screw"]
    assert len(asked) == 2 + 12 + 2  # and once after each run, to see that it is the same


@pytest.mark.parametrize("file", ["row.json", "config.json", "test.parquet"])
def test_a_damaged_run_is_computed_again(tmp_path, file):
    log = tmp_path / "log"
    grid = {**GRID, "options.log": str(log)}
    store = Store(tmp_path / "s")
    rows = fake(grid, store)
    victim = store.root / rows.loc[3, "hash"] / file
    victim.write_bytes(victim.read_bytes()[:-7])
    again = fake(grid, store)
    assert len(fake_runs.lines(log)) == 13
    assert fake_runs.mistakes(store) == []
    pd.testing.assert_frame_equal(rows.drop(columns=["seconds"]), again.drop(columns=["seconds"]))


def test_progress_is_shown_and_can_be_silenced(tmp_path, capfd):
    fake(GRID, tmp_path, progress=False)
    assert capfd.readouterr().err == ""
    fake({**GRID, "seed": [2, 3]}, tmp_path, progress=True)
    assert "8/8" in capfd.readouterr().err


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["in_process", "processes"])
def test_what_can_finish_does_and_the_failure_is_told(tmp_path, engine):
    bad = {"category": "pill", "options.bad": True, "options.log": str(tmp_path / "log")}
    with pytest.raises(InputError, match=r"1 of 13 runs failed.*pill.*leave it out"):
        fake([bad, GRID], tmp_path / "s", engine=engine)
    assert len(collect(tmp_path / "s")) == 12
    assert len(fake_runs.lines(tmp_path / "log")) == 1  # bad input is not tried again


def test_an_error_that_passes_is_survived_and_one_that_stays_is_told(tmp_path, caplog):
    once = {"category": "pill", "options.fail": True, "options.once": str(tmp_path / "mark")}
    assert len(fake(once, tmp_path / "s")) == 1
    always = {"category": "pill", "options.fail": True, "options.log": str(tmp_path / "log")}
    with pytest.raises(InputError, match="RuntimeError: the disk is on fire"):
        fake(always, tmp_path / "s", retries=2)
    assert len(fake_runs.lines(tmp_path / "log")) == 3
    assert "fake_runs.py" in caplog.text  # the traceback


# -- several processes -----------------------------------------------------------------------------


def test_processes_give_the_same_rows_and_share_the_cores(tmp_path, monkeypatch):
    alone = fake(GRID, tmp_path / "a")
    log = tmp_path / "log"
    for name in engines.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    many = fake({**GRID, "options.log": str(log)}, tmp_path / "b", engine="processes", workers=2)
    assert many["image_auroc"].tolist() == alone["image_auroc"].tolist()
    workers = {pid for pid, _ in fake_runs.lines(log)}
    assert len(workers) == 2
    assert str(os.getpid()) not in workers
    share = max(1, engines.cores() // 2)
    assert set(many["threads_seen"]) == {str(share)}
    assert set(many["threads"]) == {share}


def test_a_smaller_number_of_threads_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "cores", lambda: 64)
    for name in engines.THREAD_VARIABLES:  # a Dask cluster in this process sets them all to 1
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    rows = fake({"category": "bottle"}, tmp_path, engine="processes", workers=2)
    assert rows.loc[0, "threads"] == 3
    assert os.environ["OMP_NUM_THREADS"] == "3"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="told to the allocator of glibc only")
def test_a_worker_keeps_freed_memory_for_its_next_array():
    ((_, faults),) = engines.start("processes", fake_runs.page_faults, [10], workers=1)
    megabytes, page = 32, 4096  # of each array
    assert faults < 2 * megabytes * 2**20 / page  # 10 arrays took the pages of one


def test_a_run_whose_worker_was_killed_is_given_to_another(tmp_path):
    grid = [
        GRID,
        {
            "category": "pill",
            "options.die": True,
            "options.once": str(tmp_path / "mark"),
            "options.log": str(tmp_path / "log"),
        },
    ]
    rows = fake(grid, tmp_path / "s", engine="processes", workers=2)
    assert len(rows) == 13
    assert rows["hash"].is_unique
    assert len(fake_runs.lines(tmp_path / "log")) == 2
    assert fake_runs.mistakes(Store(tmp_path / "s")) == []


def test_a_run_that_kills_its_workers_is_given_up_alone(tmp_path):
    deadly = {"category": "pill", "options.die": True, "options.log": str(tmp_path / "log")}
    with pytest.raises(InputError, match=r"1 of 13 runs failed.*died 2 times.*-9"):
        fake([deadly, GRID], tmp_path / "s", engine="processes", workers=2, retries=1)
    assert len(collect(tmp_path / "s")) == 12
    assert len(fake_runs.lines(tmp_path / "log")) == 2


def test_killed_at_twenty_random_moments_the_store_never_holds_a_wrong_row(tmp_path):
    store = Store(tmp_path / "runs")
    grid = {"category": "bottle", "seed": list(range(800)), "options.sleep": 0.003}
    moments, counts = random.Random(0), []
    for _ in range(20):
        before = set(store.names())
        process = child(store.root, grid)
        wait_until(lambda before=before: len(store.names()) > len(before))
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.wait()
        assert fake_runs.mistakes(store, before) == []
        counts.append(len(store.names()))
    assert counts == sorted(set(counts))  # each went on where the last one stopped
    assert counts[-1] < 800, "the grid was over before the last kill: make it longer"
    rows = fake(grid, store)
    assert len(rows) == 800
    assert fake_runs.mistakes(store) == []


@pytest.mark.parametrize("engine", ["in_process", "processes"])
def test_ctrl_c_keeps_what_is_finished_and_resumes(tmp_path, engine):
    log, store = tmp_path / "log", Store(tmp_path / "runs")
    grid = {
        "category": "bottle",
        "seed": list(range(12)),
        "options.log": str(log),
        "options.sleep": 0.1,
    }
    process = child(store.root, grid, engine, start_new_session=True)
    wait_until(lambda: len(store.names()) >= 3)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to the workers, too
    assert process.wait(10) != 0
    finished, begun = len(store.names()), len(fake_runs.lines(log))
    assert 3 <= finished < 12
    wait_until(lambda: not alive(process.pid), 10)  # no worker is left behind
    assert fake_runs.mistakes(store) == []
    assert len(fake(grid, store)) == 12
    assert len(fake_runs.lines(log)) - begun == 12 - finished


def test_two_processes_with_one_grid_share_the_work(tmp_path):
    log, store = tmp_path / "log", Store(tmp_path / "runs")
    grid = {"category": "bottle", "seed": list(range(20)), "options.log": str(log)}
    grid["options.sleep"] = 0.02
    pair = [child(store.root, grid), child(store.root, grid)]
    assert [process.wait(60) for process in pair] == [0, 0]
    assert fake_runs.mistakes(store) == []
    assert sorted(int(seed) for _, seed in fake_runs.lines(log)) == list(range(20))


def test_engine_mistakes_are_told(tmp_path):
    for options in (
        {"engine": "thread"},
        {"workers": 2},
        {"engine": "processes", "workers": 0},
        {"resources": {"GPU": 1}},
        {"retries": -1},
    ):
        with pytest.raises(InputError):
            fake(GRID, tmp_path, **options)


# -- the command line ------------------------------------------------------------------------------


def pretend(monkeypatch, execute=fake_runs.execute):
    monkeypatch.setattr("comet_core.runs.pipeline", lambda: execute)
    monkeypatch.setattr("comet_core.runs.listing_fingerprint", fake_runs.fingerprint)


def test_rerun_says_equal(tmp_path, monkeypatch, capsys):
    name = fake({"category": "bottle"}, tmp_path).loc[0, "hash"]
    pretend(monkeypatch)
    assert main(["rerun", name, "--store", str(tmp_path)]) == 0
    assert "equal" in capsys.readouterr().out


def test_rerun_says_what_differs(tmp_path, monkeypatch, capsys):
    name = fake({"category": "bottle"}, tmp_path).loc[0, "hash"]
    before = Store(tmp_path).row(name)
    pretend(monkeypatch, fake_runs.noisy)
    assert main(["rerun", name, "--store", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "2 differ" in said
    assert "image_auroc" in said
    assert "table train" in said
    assert Store(tmp_path).row(name) == before


def test_rerun_names_the_versions_that_changed(tmp_path, monkeypatch, capsys):
    name = fake({"category": "bottle"}, tmp_path).loc[0, "hash"]
    pretend(monkeypatch, fake_runs.noisy)
    now = {**experiments.versions(), "torch": "99.0"}
    monkeypatch.setattr(experiments, "versions", lambda: now)
    main(["rerun", name, "--store", str(tmp_path)])
    assert "now 99.0" in capsys.readouterr().out


def test_rerun_refuses_other_data_and_unknown_runs(tmp_path, monkeypatch, capsys):
    name = fake({"category": "bottle"}, tmp_path).loc[0, "hash"]
    pretend(monkeypatch)
    monkeypatch.setattr("comet_core.runs.listing_fingerprint", lambda config: "other")
    assert main(["rerun", name, "--store", str(tmp_path)]) == 2
    assert "not those that run" in capsys.readouterr().err
    assert main(["rerun", "0" * 16, "--store", str(tmp_path)]) == 2
    assert "there is no run" in capsys.readouterr().err


def test_collect_on_the_command_line(tmp_path, capsys):
    rows = fake(GRID, tmp_path / "s")
    assert main(["collect", "--store", str(tmp_path / "s")]) == 0
    assert all(name in capsys.readouterr().out for name in [rows.loc[0, "hash"]])
    csv = tmp_path / "rows.csv"
    assert main(["collect", "--store", str(tmp_path / "s"), "--csv", str(csv)]) == 0
    assert len(pd.read_csv(csv)) == 12
    (tmp_path / "taken").mkdir()
    for place in (tmp_path / "taken", tmp_path / "none" / "rows.csv"):
        assert main(["collect", "--store", str(tmp_path / "s"), "--csv", str(place)]) == 2
        assert f"cannot be written to '{place}'" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "s", "taken"]
    assert main(["collect", "--store", str(tmp_path / "taken")]) == 0
    assert "no runs" in capsys.readouterr().out
    assert main(["collect", "--store", str(tmp_path / "none")]) == 2
    assert f"there is no store '{tmp_path / 'none'}'" in capsys.readouterr().err


# -- the pipeline itself ---------------------------------------------------------------------------


def draw(root):
    """A tiny data set in the layout of MVTec AD: noise, with a white square as the anomaly."""
    rng = np.random.default_rng(0)
    for folder, count in {"train/good": 10, "test/good": 4, "test/square": 4}.items():
        (root / "tile" / folder).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(90, 160, (64, 64, 3), dtype=np.uint8)
            mask = np.zeros((64, 64), dtype=np.uint8)
            if folder == "test/square":
                mask[20:40, 20:40] = 255
                pixels[mask > 0] = 255
                truth = root / "tile/ground_truth/square"
                truth.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(truth / f"{number:03}_mask.png")
            Image.fromarray(pixels).save(root / "tile" / folder / f"{number:03}.png")


def tiny(tmp_path, monkeypatch):
    """Settings of runs on the data of `draw`, with a cache of their own."""
    draw(tmp_path / "data")
    monkeypatch.setenv("COMET_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "data"
    return {"data_root": root, "category": "tile", "profile": "smoke", "image_size": 64}


def test_real_runs_in_processes_come_out_equal_when_repeated(tmp_path, monkeypatch, capsys):
    grid = {
        **tiny(tmp_path, monkeypatch),
        "detector": ["simplenet", "differnet"],
        "strategy": ["plain", "comet"],
        "epochs": 2,
    }
    rows = run(grid, store=tmp_path / "runs", engine="processes", workers=2, progress=False)
    assert len(rows) == 4
    assert rows["image_auroc"].between(0, 1).all()
    assert (tmp_path / "cache").is_dir()  # workers see the environment of this call
    for name in rows["hash"]:
        assert main(["rerun", name, "--store", str(tmp_path / "runs")]) == 0, capsys.readouterr()
    (tmp_path / "data/tile/train/good/000.png").unlink()
    assert main(["rerun", rows.loc[0, "hash"], "--store", str(tmp_path / "runs")]) == 2


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_folder_without_a_test_set_has_weights_and_no_metrics(detector, tmp_path, monkeypatch):
    settings = {**tiny(tmp_path, monkeypatch), "detector": detector, "epochs": 1}
    root = settings["data_root"] / "tile" / "train"
    grid = {**settings, "dataset": "folder", "data_root": root, "category": "good"}
    rows = run({**grid, "strategy": "plain"}, store=tmp_path / "runs", progress=False)
    assert rows[["n_train", "n_test"]].to_numpy().tolist() == [[10, 0]]
    assert "image_auroc" not in rows
    train = Store(tmp_path / "runs").tables(rows, "train")
    assert len(train) == 10 and train["weight"].between(0, 1).all()
    assert Store(tmp_path / "runs").tables(rows, "test").empty


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_run_knows_its_score_under_the_other_protocol(detector, tmp_path, monkeypatch):
    grid = {
        **tiny(tmp_path, monkeypatch),
        "detector": detector,
        "strategy": "plain",
        "epochs": 1,
        "contamination": 0.3,
        "overlap": [False, True],
    }
    rows = run(grid, store=tmp_path / "runs", progress=False).set_index("overlap")
    left, stayed = rows.loc[False], rows.loc[True]
    assert left["n_test"] + 3 == stayed["n_test"]
    assert left["image_auroc_overlap"] == stayed["image_auroc_overlap"] == stayed["image_auroc"]
