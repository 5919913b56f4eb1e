"""Where work is done: in this process, in several, or on a Dask cluster. One function, one list.

An engine takes a function and a list of tasks and yields `(position, outcome)` as tasks finish, in
any order, each task once. The outcome is what the function returned, or a `Failure`. Bad input
fails at once, any other error is tried again, and a worker that dies takes down its own task alone,
which is given to another. Closing the generator stops what is still running.

A Dask cluster is a scheduler and workers that import this package and see the same folders:

    dask scheduler                                            prints its address
    dask worker tcp://HOST:8786 --nthreads 1                  on each machine, once for each core,
    COMET_DEVICE=cuda dask worker tcp://HOST:8786 --nthreads 1 --resources GPU=1    or for each GPU

Under SLURM, `dask_jobqueue` submits the workers as jobs, and their number may change on the way:

    cluster = SLURMCluster(cores=1, processes=1, memory="8GB", walltime="04:00:00")
    cluster.scale(16)
    run(grid, engine=cluster.scheduler_address)
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from comet_core.errors import InputError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CONNECT_SECONDS = 20


class Failure(NamedTuple):
    """Why a task has no result: one clause, and the traceback where there is one."""

    message: str
    trace: str = ""


Outcomes = Generator[tuple[int, Any], None, None]


def start(
    engine: str,
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    *,
    workers: int | None = None,
    retries: int = 2,
    resources: Mapping[str, float] | None = None,
    preload: Sequence[str] = (),
) -> Outcomes:
    """Apply `function` to every task.

    Args:
        engine: "in_process"; "processes"; or a Dask scheduler's address, "tcp://host:port".
        function: importable by name wherever it runs; so are the tasks' contents.
        tasks: what it is called with.
        workers: number of processes; by default one for each core. Only for "processes".
        retries: how often a task is tried again after an error that is not `InputError`, and
            after the death of its worker process. A Dask scheduler counts deaths by its own
            setting, `distributed.scheduler.allowed-failures`; what it gives up is tried once more,
            alone, at the end.
        resources: what a task takes up on a Dask worker, such as {"GPU": 1}. Only for Dask.
        preload: modules that "processes" imports once for all workers, to start them quickly.

    Raises:
        InputError: no such engine, or an argument that it does not take.
    """
    if retries < 0:
        raise InputError(f"retries = {retries} is negative; 0 means to try once.")
    if workers is not None and (engine != "processes" or workers < 1):
        raise InputError(
            f"workers = {workers} does not go with engine '{engine}'; 'processes' takes 1 or more."
        )
    if resources and "://" not in engine:
        raise InputError(f"resources are for Dask clusters; engine '{engine}' has none.")
    if engine == "in_process":
        return _in_process(function, tasks, retries)
    if engine == "processes":
        return _processes(function, tasks, workers or cores(), retries, preload)
    if "://" in engine:
        return _dask(function, tasks, engine, retries, resources)
    raise InputError(
        f"no engine '{engine}'; there are 'in_process', 'processes' and the address of a Dask "
        "scheduler, 'tcp://host:port'."
    )


def cores() -> int:
    """The cores that this process may use."""
    with contextlib.suppress(AttributeError):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def attempt(function: Callable[[Any], Any], task: Any, retries: int) -> Any:
    """The function's result, or a `Failure` after the last try."""
    for left in reversed(range(retries + 1)):
        try:
            return function(task)
        except InputError as error:
            return Failure(str(error))
        except Exception as error:
            if not left:
                return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
    raise AssertionError("unreachable")


def _in_process(function: Callable[[Any], Any], tasks: Sequence[Any], retries: int) -> Outcomes:
    for index, task in enumerate(tasks):
        yield index, attempt(function, task, retries)


def _processes(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    retries: int,
    preload: Sequence[str],
) -> Outcomes:
    """Each worker has its own pipe: the end of a pipe tells which worker died, and on what task.

    (`concurrent.futures` only knows that one of its workers died, and gives up on all tasks.)
    """
    waiting, deaths = deque(range(len(tasks))), Counter[int]()
    idle: list[tuple[Connection, BaseProcess]] = []
    busy: dict[Connection, tuple[BaseProcess, int]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                connection, process = (
                    idle.pop() if idle else _launch(function, retries, workers, preload)
                )
                index = waiting.popleft()
                busy[connection] = process, index
                with contextlib.suppress(OSError):  # it died: `recv` will say so
                    connection.send(tasks[index])
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                process, index = busy[ready]
                try:
                    outcome = ready.recv()
                except (EOFError, OSError):
                    del busy[ready]
                    ready.close()
                    _stop([process])
                    deaths[index] += 1
                    if deaths[index] <= retries:
                        waiting.append(index)
                        continue
                    outcome = Failure(
                        f"its worker process died {deaths[index]} times, the last time with exit "
                        f"code {process.exitcode} (-9 often means that memory ran out; 1 at once "
                        "that the calling script lacks `if __name__ == '__main__':`)"
                    )
                else:
                    del busy[ready]
                    idle.append((ready, process))
                yield index, outcome
    finally:
        for connection in [*(end for end, _ in idle), *busy]:
            connection.close()  # which ends the idle ones in their own time
        _stop([process for process, _ in busy.values()])
        _stop([process for _, process in idle], patience=5)


def _launch(
    function: Callable[[Any], Any], retries: int, workers: int, preload: Sequence[str]
) -> tuple[Connection, BaseProcess]:
    """Start a worker: a fork of a server that has imported `preload` and done nothing else.

    (A fork of this process could hang, if it runs threads or CUDA; a fresh interpreter for each
    worker would take seconds to import PyTorch. The server lives until this process ends, so its
    code and its environment are those of the first call; the environment is sent along.)
    """
    own = [os.environ.get(name, "") for name in THREAD_VARIABLES]
    threads = max(1, min([cores() // workers, *(int(value) for value in own if value.isdecimal())]))
    # Else n workers would run n x cores threads; a smaller number that the user has set stays.
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    context.set_forkserver_preload(list(preload))
    here, there = context.Pipe()
    arguments = (there, function, retries, environment, threads)
    process = context.Process(target=_serve, args=arguments, daemon=True)
    process.start()
    there.close()
    return here, process


def _serve(
    connection: Connection,
    function: Callable[[Any], Any],
    retries: int,
    environment: Mapping[str, str],
    threads: int,
) -> None:
    """The life of a worker process: it ends when the other end of the pipe is closed."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the parent, which ends the workers
    os.environ.clear()
    os.environ.update(environment)
    keep_freed_memory()
    if "torch" in sys.modules:  # was loaded by the server, and has read the server's environment
        sys.modules["torch"].set_num_threads(threads)
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(attempt(function, connection.recv(), retries))


def keep_freed_memory() -> None:
    """Let glibc keep freed arrays for the next ones, up to 256 MiB each; elsewhere do nothing.

    It would hand each back to the system, which then clears every page of the next array before its
    first use: a fifth to a quarter of the processor time of a demo run of SimpleNet (measured).
    """
    trim_threshold, mmap_threshold = -1, -3  # names of the parameters in malloc.h
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(trim_threshold, -1)
        mallopt(mmap_threshold, 256 * 2**20)


def _stop(processes: Sequence[BaseProcess], patience: float = 0) -> None:
    end = time.monotonic() + patience
    for process in processes:
        process.join(max(0, end - time.monotonic()))
        process.terminate()
    for process in processes:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


def _dask(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    address: str,
    retries: int,
    resources: Mapping[str, float] | None,
) -> Outcomes:
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise InputError(
            "a Dask cluster needs the package 'distributed'; install comet-companion[cluster]."
        ) from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address} ({error}); start one with `dask scheduler`."
        ) from None
    with client:  # closing it cancels what has not begun; what has ends, and is stored

        def submit(position: int) -> Any:
            task, needs = tasks[position], dict(resources or {})
            return client.submit(attempt, function, task, retries, pure=False, resources=needs)

        positions = {submit(position): position for position in range(len(tasks))}
        suspects = []
        for future in as_completed(list(positions), loop=client.loop):
            position = positions.pop(future)
            if future.status == "finished":
                yield position, future.result()
            else:
                suspects.append(position)
        # Dask blames a death on all that waited at the worker. Alone, only the culprit is given up.
        for position in suspects:
            future = submit(position)
            reason = future.exception()
            yield (
                position,
                Failure(f"the cluster gave it up: {reason}") if reason else future.result(),
            )
