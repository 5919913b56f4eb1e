"""A real Dask cluster of two worker processes on this machine, one of which is killed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from comet_core import engines
from comet_core.errors import InputError
from comet_core.experiments import run
from comet_core.results import Store
from tests import fake_runs

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")
pytestmark = pytest.mark.cluster


@pytest.fixture
def cluster():
    # A result that was lost with its worker is asked for until the connection times out.
    quick = dask.config.set({"distributed.comm.timeouts.connect": "3s"})
    with (
        quick,
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            resources={"GPU": 1},
        ) as cluster,
    ):
        yield cluster


def on(cluster, grid, store, **options):
    return run(
        grid,
        store=store,
        engine=cluster.scheduler_address,
        execute=fake_runs.execute,
        fingerprint=fake_runs.fingerprint,
        progress=False,
        **options,
    )


def test_a_worker_is_killed_and_every_row_comes_exactly_once(cluster, tmp_path):
    log, store = tmp_path / "log", Store(tmp_path / "runs")
    grid = {"category": ["bottle", "screw"], "seed": list(range(10)), "options.log": str(log)}
    grid["options.sleep"] = 0.2
    killed = []

    def kill():
        while len(fake_runs.lines(log)) < 5:
            time.sleep(0.01)
        killed.append(fake_runs.lines(log)[-1][0])  # the one that has just begun a run
        os.kill(int(killed[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    rows = on(cluster, grid, store)
    killer.join()
    begun = fake_runs.lines(log)
    assert len(rows) == 20
    assert rows["hash"].is_unique
    assert rows[["category", "seed"]].drop_duplicates().shape[0] == 20
    assert sorted(store.names()) == sorted(rows["hash"])
    assert fake_runs.mistakes(store) == []
    assert len(begun) == 21  # the interrupted run began twice, no other did
    assert len({pid for pid, _ in begun}) >= 2
    before = len(begun)
    assert len(on(cluster, grid, store)) == 20
    assert len(fake_runs.lines(log)) == before


def test_failures_and_resources(cluster, tmp_path):
    grid = {"category": ["bottle", "screw"], "seed": [0, 1]}
    rows = on(cluster, grid, tmp_path / "runs", resources={"GPU": 1})
    assert len(rows) == 4
    bad = {"category": "pill", "options.bad": True}
    with pytest.raises(InputError, match=r"1 of 5 runs failed.*leave it out"):
        on(cluster, [grid, bad], tmp_path / "runs")


def test_a_run_that_kills_its_workers_is_given_up_alone(cluster, tmp_path):
    deadly = {"category": "pill", "options.die": True}
    with (
        distributed.Client(cluster) as client,
        pytest.raises(InputError, match=r"1 of 3 runs failed.*gave it up"),
    ):
        client.run_on_scheduler(
            lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 1)
        )
        on(cluster, [deadly, {"category": "bottle", "seed": [0, 1]}], tmp_path / "runs")
    assert len(Store(tmp_path / "runs").names()) == 2


def test_no_scheduler_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(engines, "CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(InputError, match="no Dask scheduler answers"):
            run(
                {"category": "bottle"},
                store=tmp_path,
                engine=address,
                execute=fake_runs.execute,
                fingerprint=fake_runs.fingerprint,
            )
