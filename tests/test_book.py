"""The book: contents, the driver that builds it, and the size of what it built."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "book" / "_ext")]
import build  # noqa: E402
import house  # noqa: E402
import idea  # noqa: E402
import pages  # noqa: E402

from comet_core.config import RunConfig, TrainingSettings  # noqa: E402

SITE = build.SITE


def chapters() -> list[str]:
    toc = yaml.safe_load((build.BOOK / "_toc.yml").read_text(encoding="utf-8"))
    return [
        entry["file"] for part in toc["parts"] for entry in build._with_sections(part["chapters"])
    ]


def test_every_chapter_has_a_source_and_every_source_a_place() -> None:
    listed = set(chapters())
    written = {
        path.relative_to(build.BOOK).with_suffix("").as_posix()
        for path in build.BOOK.rglob("*.md")
        if not {"_build", "vendor", "_ext"} & set(path.relative_to(build.BOOK).parts)
    }
    assert {name for name in listed if not name.startswith("notebooks/")} == written - {"index"}


def test_every_public_module_is_in_the_reference() -> None:
    text = "".join(path.read_text() for path in (build.BOOK / "reference").glob("*.md"))
    documented = set(re.findall(r"automodule:: (comet_core\S+)", text))
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "comet_core").rglob("*.py")
    }
    layouts = {"mvtec_ad", "ksdd2", "ksdd2_clean", "viaduct", "visa", "btad", "folder", "csv"}
    inner = {"engines", "layout", "listing", "manifest", "detectors", "comet_core", *layouts}
    assert {name for name in modules - documented if name.rpartition(".")[2] not in inner} == set()


def test_the_glossary_is_in_order_and_has_the_words_of_this_book() -> None:
    text = (build.BOOK / "reference" / "glossary.md").read_text(encoding="utf-8")
    inside = text.split(":::{glossary}\n")[1].split(":::")[0]
    terms = [line for line in inside.splitlines() if line and not line.startswith(" ")]
    assert [term.lower() for term in terms] == sorted(term.lower() for term in terms)
    assert {"dirt", "oracle", "CoMet+", "settled", "I-AUROC"} <= set(terms)


def test_mathjax_comes_with_its_licence() -> None:
    assert "Apache License" in (build.BOOK / "vendor" / "mathjax" / "LICENSE").read_text()


# -- the driver


def notebook_file(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": build.KERNEL}), path
    )
    return path


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    places = {"SOURCES": "notebooks", "EXECUTED": "book/notebooks", "BUILT": "book/_build"}
    for name, place in places.items():
        monkeypatch.setattr(build, name, tmp_path / place)
        (tmp_path / place).mkdir(parents=True)
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setenv("COMET_RUNS", str(tmp_path / "runs"))
    return SimpleNamespace(source=tmp_path / "notebooks", executed=tmp_path / "book" / "notebooks")


@pytest.mark.notebook
def test_a_notebook_is_run_once_and_again_when_something_changed(
    folders: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook_file(folders.source / "one.ipynb", "profile: str = 'demo'", "print(profile)")
    target = folders.executed / "one.ipynb"
    build.run_notebooks(["one"], {"profile": "smoke"}, "data")
    first = target.read_bytes()
    assert build.read_notebook(target).cells[-1].outputs[0].text == "smoke\n"
    capsys.readouterr()
    build.run_notebooks(["one"], {"profile": "smoke"}, "data")
    assert "up to date" in capsys.readouterr().out
    assert target.read_bytes() == first
    (folders.executed / "gone.ipynb").write_text("{}")
    build.run_notebooks(["one"], {"profile": "smoke"}, "other data")
    assert "done in" in capsys.readouterr().out
    assert not (folders.executed / "gone.ipynb").exists()


def test_a_stamp_depends_on_all_that_decides_the_result(folders: SimpleNamespace) -> None:
    path = notebook_file(folders.source / "one.ipynb", "profile: str = 'demo'")
    base = ({"profile": "smoke"}, "code", "data")
    stamps = {
        build.notebook_stamp(path, *base),
        build.notebook_stamp(path, {"profile": "demo"}, "code", "data"),
        build.notebook_stamp(path, base[0], "other code", "data"),
        build.notebook_stamp(path, base[0], "code", "other data"),
        build.notebook_stamp(notebook_file(path, "profile: str = 'paper'"), *base),
    }
    assert len(stamps) == 5


def test_a_page_of_stored_runs_is_made_again_when_there_are_more(
    folders: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = notebook_file(folders.source / "one.ipynb", "profile: str = 'demo'")
    shows = notebook_file(
        folders.source / "two.ipynb", "x: int = 1", "reproduction.stored('paper')"
    )
    base = ({"profile": "smoke"}, "code", "data")
    before = [build.notebook_stamp(path, *base) for path in (plain, shows)]
    assert before == [build.notebook_stamp(path, *base) for path in (plain, shows)]
    monkeypatch.setattr(build, "stored_runs", lambda: ["0123456789abcdef"])
    after = [build.notebook_stamp(path, *base) for path in (plain, shows)]
    assert after[0] == before[0] and after[1] != before[1]


@pytest.mark.notebook
def test_a_failing_notebook_stops_the_build_and_leaves_no_result(folders: SimpleNamespace) -> None:
    notebook_file(folders.source / "bad.ipynb", "profile: str = 'demo'", "1 / 0")
    with pytest.raises(build.BuildError, match="ZeroDivisionError: division by zero"):
        build.run_notebooks(["bad"], {"profile": "smoke"}, "data")
    assert not (folders.executed / "bad.ipynb").exists()


@pytest.mark.notebook
def test_a_notebook_without_workers_runs_beside_those_with(folders: SimpleNamespace) -> None:
    meet = "import pathlib, time\nhere = pathlib.Path(r'{}')\n(here / '{}').touch()\n"
    meet += "end = time.time() + 60\n"
    meet += "while not (here / '{}').exists():\n    assert time.time() < end\n    time.sleep(0.1)"
    place = folders.source
    notebook_file(place / "many.ipynb", "engine: str = 'x'", meet.format(place, "many", "single"))
    notebook_file(place / "single.ipynb", "n: int = 1", meet.format(place, "single", "many"))
    build.run_notebooks(["many", "single"], {}, "data")  # each waits for the other to begin
    assert {path.stem for path in folders.executed.glob("*.ipynb")} == {"many", "single"}


@pytest.mark.notebook
def test_a_failure_beside_stops_the_build_as_well(folders: SimpleNamespace) -> None:
    notebook_file(folders.source / "many.ipynb", "engine: str = 'x'")
    notebook_file(folders.source / "single.ipynb", "n: int = 1", "1 / 0")
    with pytest.raises(build.BuildError, match=r"single\.ipynb stopped in a cell"):
        build.run_notebooks(["many", "single"], {}, "data")
    assert not (folders.executed / "single.ipynb").exists()


@pytest.mark.notebook
def test_after_a_failure_nothing_more_is_begun_beside(folders: SimpleNamespace) -> None:
    wait = (
        "import pathlib, time\nend = time.time() + 60\n"
        f"while not pathlib.Path(r'{folders.source}', 'failed').exists():\n"
        "    assert time.time() < end\n    time.sleep(0.1)\ntime.sleep(3)"
    )
    fail = f"import pathlib\npathlib.Path(r'{folders.source}', 'failed').touch()\n1 / 0"
    notebook_file(folders.source / "many.ipynb", "engine: str = 'x'", fail)
    notebook_file(folders.source / "first.ipynb", "n: int = 1", wait)
    notebook_file(folders.source / "second.ipynb", "n: int = 1")
    with pytest.raises(build.BuildError, match=r"many\.ipynb stopped in a cell"):
        build.run_notebooks(["many", "first", "second"], {}, "data")
    assert {path.stem for path in folders.executed.glob("*.ipynb")} == {"first"}


@pytest.mark.notebook
def test_a_kernel_that_is_killed_is_told(folders: SimpleNamespace) -> None:
    kill = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    notebook_file(folders.source / "bad.ipynb", "profile: str = 'demo'", kill)
    with pytest.raises(build.BuildError, match=r"bad\.ipynb was stopped from outside"):
        build.run_notebooks(["bad"], {}, "data")


def test_pairs_follow_the_file_that_was_edited_last(tmp_path: Path) -> None:
    script = tmp_path / "a.py"
    script.write_text("# %%\nx = 1\n", encoding="utf-8")
    assert build.sync(tmp_path) == 1 and build.sync(tmp_path) == 0
    pair = tmp_path / "a.ipynb"
    edited = build.read_notebook(pair)
    edited.cells[0].source = "x = 2"
    nbformat.write(edited, pair)
    import os

    os.utime(script, (1, 1))
    assert build.sync(tmp_path) == 1
    assert "x = 2" in script.read_text(encoding="utf-8")
    assert pair.read_text(encoding="utf-8") == build.paired(script)


@pytest.mark.notebook
def test_a_warning_fails_the_site_and_keeps_failing_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Sphinx gives a warning only once for a page that it keeps; the driver must not be fooled."""
    book = tmp_path / "book"
    book.mkdir()
    (book / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    (book / "_config.yml").write_text("title: x\nexecute: {execute_notebooks: 'off'}\n")
    (book / "index.md").write_text("# Title\n\n{doc}`nowhere`\n")
    for name, place in {"BOOK": book, "BUILT": book / "_build", "ROOT": tmp_path}.items():
        monkeypatch.setattr(build, name, place)
    monkeypatch.setattr(build, "GENERATED", book / "_build" / "generated")
    monkeypatch.setattr(build, "SITE", book / "_build" / "html")
    monkeypatch.setattr(pages, "generate", lambda profile: {})
    for _ in range(2):
        with pytest.raises(build.BuildError, match=r"index\.md:3: WARNING: unknown document"):
            build.build_site("smoke")
    (book / "index.md").write_text("# Title\n")
    build.build_site("smoke")
    assert (book / "_build" / "html" / "index.html").is_file()


def test_a_notebook_that_needs_others_is_run_after_them() -> None:
    order = build.in_running_order(["claims", "noise_curves", "b", "results_tables", "c"])
    assert order == ["noise_curves", "b", "results_tables", "claims", "c"]
    assert build.in_running_order(["claims", "b"]) == ["claims", "b"]
    assert build.in_running_order(["noise_curves", "claims"]) == ["noise_curves", "claims"]


# -- generated pages, the extension


def test_the_settings_of_comet_are_those_of_the_code() -> None:
    text = pages.comet_settings()
    assert set(pages.METHOD) <= set(TrainingSettings.model_fields)
    trained = {"strategy", "epochs", "max_steps", "batch_size", "learning_rate", "schedule", "seed"}
    rules = {"weight_level", "weighting"}
    assert set(TrainingSettings.model_fields) - set(pages.METHOD) == trained | rules
    for field in pages.METHOD:
        default = TrainingSettings.model_fields[field].default
        line = text.split(f"* - `{field}`\n")[1].split("* - ")[0]
        assert line.splitlines()[1].startswith(f"  - {default}")
    for detector, title in (("simplenet", "SimpleNet"), ("differnet", "DifferNet")):
        run = RunConfig.from_profile({"category": "any", "detector": detector, "profile": "demo"})
        other = run.tasks != TrainingSettings.model_fields["tasks"].default
        assert (f"; {title} in `demo`: {run.tasks}" in text) == other
    assert "comet_settings.md" in (build.BOOK / "method" / "equations.md").read_text()


def test_the_ledger_at_the_front_is_what_the_notebook_showed(tmp_path: Path) -> None:
    executed = tmp_path / "claims.ipynb"
    assert "not been computed yet" in pages.ledger(executed)
    table = "```{list-table} Claims\n:name: tab-claims-recorded\n:header-rows: 1\n\n* - C1\n```"
    output = nbformat.v4.new_output("display_data", {"text/markdown": table})
    cells = [nbformat.v4.new_markdown_cell("x"), nbformat.v4.new_code_cell("t", outputs=[output])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), executed)
    assert pages.ledger(executed) == table.replace("tab-claims-recorded", "tab-ledger") + "\n"


def test_the_picture_of_the_idea_shows_what_its_words_say() -> None:
    points, kinds = idea.training_set()
    _, weights, _ = idea.weigh(points)
    of = {kind: weights[np.array(kinds) == kind] for kind in set(kinds)}
    assert of["nominal"].mean() > 0.99 > 0.75 > of["anomalous"].mean()

    def area(w: Any) -> float:
        return float(np.sqrt(np.linalg.det(idea.learn(points, w)[1])))

    assert area(weights) < 0.92 * area(np.ones(len(points)))
    assert idea.panels() == idea.panels()


def test_docstrings_with_tables_and_code_become_restructured_text() -> None:
    lines = ["Title.", "", "| a | b |", "|---|---|", "| 1 | 2 |", "", "Use it:", "", "    f(x)", ""]
    module = SimpleNamespace(__doc__="\n".join(lines))
    house.docstring_to_rst(None, "module", "m", module, None, lines)
    text = "\n".join(lines)
    assert ".. list-table::" in text and "   * - a\n     - b\n   * - 1\n     - 2" in text
    assert "::\n\n    f(x)" in text
    lines = ["| a |", "|---|", "| 1 |", "", "    f(x)", ""]
    house.docstring_to_rst(None, "module", "m", SimpleNamespace(__doc__="\n".join(lines)), None, [])
    assert "::" in house._code(house._tables(lines), sections=False), "code right after a table"
    args = ["Do it.", "", "Args:", "    x: a number.", "", "    more of it."]
    kept = list(args)
    house.docstring_to_rst(None, "function", "f", None, None, args)
    assert args == kept


# -- the built site


@pytest.fixture
def site() -> Path:
    if not (SITE / "index.html").is_file():
        pytest.skip("the site is not built; `make book` builds it")
    return SITE


def test_the_site_is_small(site: Path) -> None:
    total = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    assert total < 25e6


def test_the_site_names_no_foreign_host_in_what_it_loads(site: Path) -> None:
    loads = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(https?:)?//[^\"]+\"")
    for path in site.rglob("*.html"):
        found = loads.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.name}: {found and found.group()}"


def test_building_again_does_nothing_again(site: Path) -> None:
    stamp = (build.BUILT / "site.stamp").read_text()
    executed = sorted(build.EXECUTED.glob("*.ipynb"))
    profile = build.read_notebook(executed[0]).metadata["comet"]
    command = [sys.executable, str(ROOT / "book" / "build.py")]
    done = subprocess.run(
        [*command, "--profile", profile["parameters"]["profile"]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r": \w+, up to date$", done.stdout, re.MULTILINE)) == len(executed)
    assert re.search(r"pages\n +up to date$", done.stdout, re.MULTILINE)
    assert (build.BUILT / "site.stamp").read_text() == stamp


def test_a_change_of_a_file_that_the_package_reads_runs_notebooks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "comet_core" / "page.html"
    page.parent.mkdir()
    page.write_text("one")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    before = build.package_code()
    (page.parent / "__pycache__").mkdir()
    (page.parent / "__pycache__" / "page.pyc").write_text("anything")
    assert build.package_code() == before
    page.write_text("two")
    assert build.package_code() != before
