"""Build the book: data, executed notebooks, site. Only what changed is done again.

    python book/build.py --profile smoke|demo|paper    what `make book` calls
    python book/build.py --sync                        bring notebook pairs into step

A notebook is two files, `NAME.py` to read and edit and `NAME.ipynb` to open and run, with the same
cells and no outputs. Its executed copy in `book/notebooks` carries a stamp: a hash of its cells,
its parameters, the package's code, the data and the versions that decide the numbers. While the
stamp holds, the copy is kept. The site carries one too.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml

from comet_core import reproduction
from comet_core.errors import InputError
from comet_core.results import Store
from comet_core.runs import versions

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
SOURCES = ROOT / "notebooks"
EXECUTED = BOOK / "notebooks"
BUILT = BOOK / "_build"
GENERATED = BUILT / "generated"
SITE = BUILT / "html"
PROFILES = ("smoke", "demo", "paper")
DECIDING = ("torch", "timm", "numpy", "pandas", "matplotlib", "scikit-learn", "seaborn")
TYPESETTING = (
    *("jupyter-book", "sphinx", "docutils", "pygments", "myst-nb", "myst-parser"),
    *("sphinx-book-theme", "pydata-sphinx-theme", "sphinx-design", "sphinxcontrib-bibtex"),
    *("sphinx-copybutton", "sphinx-togglebutton"),
)
"""Packages whose version decides how the pages come out; others come and go with the tests."""
AFTER = {"claims": ("noise_curves", "results_tables")}
"""Notebooks that look up runs of others, and so are run after them, wherever they are read."""
ALONE = ("reproduce_the_paper",)
"""Notebooks that time computations, which neighbours on the same core would slow down."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
COMPLAINT = re.compile(r"(WARNING|ERROR|CRITICAL|Error|Exception): ")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


class BuildError(Exception):
    """What went wrong and where to look, in plain words."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0, or 1 after a message on what is wrong."""
    parser = argparse.ArgumentParser(description="Build the book.")
    parser.add_argument("--profile", choices=PROFILES, default="demo", help="how much to compute")
    parser.add_argument("--sync", action="store_true", help="bring notebook pairs into step, only")
    options = parser.parse_args(arguments)
    try:
        if options.sync:
            return sync(SOURCES)
        started = time.perf_counter()
        say(1, f"data: drawing the embedded data sets (profile {options.profile})")
        data = draw_data(options.profile)
        say(2, "notebooks: running those that changed")
        run_notebooks(contents(BOOK), {"profile": options.profile}, data)
        say(3, "site: building the pages")
        build_site(options.profile)
        say(4, f"done in {clock(time.perf_counter() - started)}. Read it here:")
        print(f"      {(SITE / 'index.html').as_uri()}")
        print("      or, as a web site: .venv/bin/python -m http.server -d book/_build/html 8000")
    except (BuildError, InputError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on where it stopped.", file=sys.stderr)
        return 130
    return 0


def say(step: int, text: str) -> None:
    """Announce a step."""
    print(f"[{step}/4] {text}", flush=True)


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


# -- data ------------------------------------------------------------------------------------------


def draw_data(profile: str) -> str:
    """Draw the embedded data, unless they are there; returns a hash of what they are.

    The profile `paper` is for published data sets, which are not ours to embed; its embedded data
    are those of `demo`.
    """
    out = Path(os.environ.get("COMET_DATA", ROOT / "data")) / "synthetic"
    size = "smoke" if profile == "smoke" else "demo"
    command = [sys.executable, str(ROOT / "data_scripts" / "make_synthetic.py")]
    if subprocess.run([*command, "--profile", size, "--out", str(out)], check=False).returncode:
        raise BuildError("The data could not be drawn; the reason is above.")
    return digest((path.name, path.read_bytes()) for path in sorted(out.glob("*/SYNTHETIC")))


# -- notebooks -------------------------------------------------------------------------------------


def contents(book: Path) -> list[str]:
    """Names of the notebooks in the table of contents, in its order."""
    toc = yaml.safe_load((book / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    files = [entry["file"] for entry in _with_sections(chapters)]
    return [Path(file).name for file in files if file.startswith("notebooks/")]


def in_running_order(names: Sequence[str]) -> list[str]:
    """The notebooks in their order, but each of `AFTER` behind those that it needs."""
    waiting = list(names)
    for name, needed in AFTER.items():
        places = [waiting.index(one) for one in needed if one in waiting]
        if name in waiting and places and waiting.index(name) < max(places):
            waiting.insert(max(places), waiting.pop(waiting.index(name)))
    return waiting


def _with_sections(chapters: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    for chapter in chapters:
        yield chapter
        yield from _with_sections(chapter.get("sections", []))


def run_notebooks(names: Sequence[str], parameters: Mapping[str, Any], data: str) -> None:
    """Bring the executed copies of the named notebooks up to date.

    Those that keep one core busy run one after the other beside those that start workers.

    Raises:
        BuildError: a notebook failed; those that were running are finished before.
    """
    code = package_code()
    places = {name: number for number, name in enumerate(in_running_order(names), 1)}
    together = [name for name in places if name not in ALONE]
    aside = [name for name in together if not starts_workers(name)]
    failures: list[Exception] = []

    def bring(name: str, *, ticks: bool) -> None:
        where = f"      {places[name]} of {len(names)}: {name}"
        bring_up_to_date(name, where, parameters, code, data, ticks=ticks)

    def run_aside() -> None:
        try:
            for name in aside:
                if failures:
                    break
                bring(name, ticks=False)
        except Exception as error:
            failures.append(error)

    # After Ctrl-C the process ends without waiting, and Jupyter ends the kernel.
    lane = threading.Thread(target=run_aside, daemon=True)
    with one_thread_each():
        lane.start()
        try:
            for name in together:
                if not failures and name not in aside:
                    bring(name, ticks=True)
        except BuildError as error:
            failures.append(error)
        lane.join()
    if failures:
        raise failures[0]
    for name in places:
        if name in ALONE:
            bring(name, ticks=True)
    for stale in EXECUTED.glob("*.ipynb"):
        if stale.stem not in names:
            stale.unlink()


@contextmanager
def one_thread_each() -> Any:
    """Unless told otherwise: more threads than cores wait for each other instead of working."""
    own = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = own or "1"
    try:
        yield
    finally:
        if own is None:
            del os.environ["OMP_NUM_THREADS"]


def starts_workers(name: str) -> bool:
    """Whether a notebook runs its experiments on all cores: it can be told by which engine."""
    cells = read_notebook(SOURCES / f"{name}.ipynb").cells
    return any(re.search(r"^engine: str", cell.source, re.MULTILINE) for cell in cells)


def bring_up_to_date(
    name: str, where: str, parameters: Mapping[str, Any], code: str, data: str, *, ticks: bool
) -> None:
    """Run a notebook unless its executed copy is up to date, and say so after the words `where`."""
    source, target = SOURCES / f"{name}.ipynb", EXECUTED / f"{name}.ipynb"
    stamp = notebook_stamp(source, parameters, code, data)
    if read_stamp(target) == stamp:
        announce(f"{where}, up to date")
        return
    started = time.perf_counter()
    with ticking(where) if ticks else nullcontext():
        notebook = execute(source, parameters)
    seconds = time.perf_counter() - started
    record = {
        "stamp": stamp,
        "seconds": round(seconds, 1),
        "finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "parameters": dict(parameters),
        "versions": versions(),
        "made": made(notebook),
        "notes": notes(notebook),
        "records": records(notebook),
    }
    write(target, nbformat.writes(tidied(notebook, record)))
    announce(f"{where}, done in {clock(seconds)}")


def announce(line: str) -> None:
    """Print a line, on a terminal in the place of the time that is shown there."""
    clear = "\r\033[K" if sys.stdout.isatty() else ""
    print(f"{clear}{line}\n", end="", flush=True)  # in one piece: two threads announce


def notebook_stamp(source: Path, parameters: Mapping[str, Any], code: str, data: str) -> str:
    """A hash of all that decides what a notebook shows."""
    cells = [cell.source for cell in read_notebook(source).cells]
    versions = [importlib.metadata.version(name) for name in DECIDING]
    state = [cells, sorted(parameters.items()), code, data, platform.python_version(), versions]
    if any("reproduction.stored(" in cell for cell in cells):
        state.append(stored_runs())
    if any("find_record(" in cell for cell in cells):
        files = sorted((ROOT / "benchmarks").glob("*.json"))
        state.append(digest((path.name, path.read_bytes()) for path in files))
    return digest([("state", json.dumps(state).encode())])


def stored_runs() -> list[str]:
    """Runs of the published sizes: pages show those that the store holds, so they follow it."""
    store = Store(os.environ.get("COMET_RUNS", ROOT / "runs"))
    return sorted(reproduction.stored("paper", store).get("hash", []))


def read_stamp(executed: Path) -> str:
    """The stamp of an executed notebook; "" where there is none."""
    try:
        return json.loads(executed.read_bytes())["metadata"]["comet"]["stamp"]
    except (OSError, ValueError, KeyError):
        return ""


def package_code() -> str:
    """A hash of the package: its source, and the files that it reads, such as the report's page."""
    files = sorted(path for path in (ROOT / "comet_core").rglob("*") if path.is_file())
    return digest(
        (path.relative_to(ROOT).as_posix(), path.read_bytes())
        for path in files
        if "__pycache__" not in path.parts
    )


def execute(source: Path, parameters: Mapping[str, Any]) -> nbformat.NotebookNode:
    """Run a notebook with papermill and return it with its outputs.

    Raises:
        BuildError: a cell failed. The notebook up to there is kept for a look.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    unfinished = BUILT / "unfinished" / source.name
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    os.environ["COMET_BOOK"] = "1"  # captions say what a figure was made from
    try:
        papermill.execute_notebook(
            str(source),
            str(unfinished),
            parameters=dict(parameters),
            kernel_name="python3",
            cwd=str(ROOT),
            progress_bar=False,
            # A kernel is interrupted when it is no longer needed, and may report that as an error.
            extra_arguments=["--log-level=CRITICAL"],
        )
    except PapermillExecutionError as error:
        raise BuildError(
            f"notebooks/{source.name} stopped in a cell.\n  {error.ename}: {error.evalue}\n"
            f"  The notebook up to there: {unfinished}"
        ) from None
    except DeadKernelError:
        raise BuildError(
            f"notebooks/{source.name} was stopped from outside, as by a system that has run out of"
            f" memory; make some free and start again.\n  The notebook up to there: {unfinished}"
        ) from None
    notebook = read_notebook(unfinished)
    unfinished.unlink()
    return notebook


def made(notebook: nbformat.NotebookNode) -> dict[str, list[str]]:
    """Names of the figures and tables that a notebook shows, each with the runs it is made from."""
    return {name: list(told["runs"]) for name, told in _told(notebook)}


def notes(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What captions end with: name of a figure to the line that says what it was made from."""
    return {name: told["note"] for name, told in _told(notebook) if told.get("note")}


def records(notebook: nbformat.NotebookNode) -> dict[str, list[str]]:
    """Names of what was read from a record, each with the record's file and day."""
    return {name: list(told["record"]) for name, told in _told(notebook) if told.get("record")}


def _told(notebook: nbformat.NotebookNode) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Names of figures and tables with what `comet_core.notebook.made_from` tells of them."""
    for cell in notebook.cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {}).get("name", "")
        for output in cell.get("outputs", []):
            told = output.get("metadata", {}).get("comet")
            if told is not None and (told["name"] or figure):
                yield told["name"] or figure, told


def tidied(notebook: nbformat.NotebookNode, record: Mapping[str, Any]) -> nbformat.NotebookNode:
    """Leave what a reader wants: no times, progress bars or widgets, and the same bytes each time.

    Widgets would also make the site load their scripts from another host.
    """
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "comet": dict(record)})
    notebook.cells = [
        cell
        for cell in notebook.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_shown(output)]
            for output in cell.outputs:
                output.get("metadata", {}).pop("comet", None)  # the record holds it
    return notebook


def _is_shown(output: Mapping[str, Any]) -> bool:
    return output.get("name") != "stderr" and not any(
        kind.startswith("application/vnd.jupyter.widget") for kind in output.get("data", {})
    )


@contextmanager
def ticking(label: str) -> Any:
    """Show the time and the number of stored runs: one line on a terminal, else two a minute."""
    terminal, runs, over = sys.stdout.isatty(), _runs(), threading.Event()
    started = time.perf_counter()

    def tick() -> None:
        while not over.wait(1 if terminal else 30):
            text = f"{label}, {clock(time.perf_counter() - started)}, {_runs() - runs} new runs"
            print(f"\r{text}" if terminal else text, end="" if terminal else "\n", flush=True)

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        print("\r\033[K" if terminal else "", end="", flush=True)


def _runs() -> int:
    """Finished runs in the store."""
    store = Path(os.environ.get("COMET_RUNS", ROOT / "runs"))
    return sum(1 for _ in store.glob("[0-9a-f]*")) if store.is_dir() else 0


# -- pairs -----------------------------------------------------------------------------------------


def sync(folder: Path) -> int:
    """Write the older file of each pair from the newer; returns 1 if any had to be written."""
    changed = 0
    for script in sorted(folder.glob("*.py")):
        pair = script.with_suffix(".ipynb")
        if pair.exists() and pair.read_text(encoding="utf-8") == paired(script):
            continue
        changed += 1
        if pair.exists() and pair.stat().st_mtime > script.stat().st_mtime:
            write(script, jupytext.writes(read_notebook(pair), fmt="py:percent"))
        write(pair, paired(script))
        print(f"{script.name} and {pair.name} are in step again")
    return 1 if changed else 0


def paired(script: Path) -> str:
    """The .ipynb text that belongs to a script: its cells, numbered, without outputs."""
    notebook = jupytext.read(script, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(
        {"jupytext": {"formats": "ipynb,py:percent"}, "kernelspec": KERNEL}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
    return nbformat.writes(notebook) + "\n"


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """A notebook file."""
    return nbformat.read(path, as_version=4)


# -- site ------------------------------------------------------------------------------------------


def build_site(profile: str) -> None:
    """Write the generated pages and build the HTML, unless nothing that it is made of changed.

    Raises:
        BuildError: Jupyter Book found an error or gave a warning.
    """
    sys.path.insert(0, str(BOOK))
    import pages

    for name, text in pages.generate(profile).items():
        write(GENERATED / name, text)
    parts = [
        path
        for path in sorted((*BOOK.rglob("*"), *(ROOT / "comet_core").rglob("*.py")))
        if path.is_file() and "__pycache__" not in path.parts and BUILT not in path.parents
    ]
    parts += sorted(GENERATED.glob("*"))
    versions = "\n".join(f"{name} {importlib.metadata.version(name)}" for name in TYPESETTING)
    inputs = [(path.relative_to(ROOT).as_posix(), path.read_bytes()) for path in parts]
    inputs.append(("versions", versions.encode()))
    stamp, stamp_file = digest(inputs), BUILT / "site.stamp"
    # Sphinx looks at chapters only: where anything around them changed, all pages are made again.
    chapters = (".md", ".ipynb", ".py")
    frame = digest(one for one in inputs if not one[0].endswith(chapters) or "/_ext/" in one[0])
    before = _text(stamp_file).partition("\n")
    if (SITE / "index.html").exists() and before[0] == stamp:
        print("      up to date", flush=True)
        return
    stamp_file.unlink(missing_ok=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["--warningiserror", "--nitpick", "--keep-going"]
    options += [] if before[2] == frame else ["--all"]
    done = subprocess.run(
        [*command, "build", str(BOOK), *options], capture_output=True, text=True, check=False
    )
    write(BUILT / "build.log", done.stdout + done.stderr)
    if done.returncode:
        # Sphinx does not repeat the warnings of pages it finds unchanged; make it read them again.
        shutil.rmtree(BUILT / ".doctrees", ignore_errors=True)
        lines = COLOUR.sub("", done.stdout + done.stderr).splitlines()
        found = [line for line in lines if COMPLAINT.search(line)] or lines
        shown = "\n".join(f"  {line}" for line in found[:40])
        raise BuildError(f"The site was not built.\n{shown}\n  In full: {BUILT / 'build.log'}")
    write(stamp_file, f"{stamp}\n{frame}")


# -- small things ----------------------------------------------------------------------------------


def digest(parts: Iterable[tuple[str, bytes]]) -> str:
    """A hash of named contents."""
    total = hashlib.sha256()
    for name, content in parts:
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all, and not if it holds that text already."""
    if _text(path) == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
