"""Notebooks: pairs in step, parameters typed and explained; each runs, or says why it cannot."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import nbformat
import pandas as pd
import pytest

from comet_core import evidence, notebook
from comet_core.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))
NOTEBOOKS = [path.with_suffix(".ipynb") for path in SCRIPTS]

sys.path.insert(0, str(ROOT / "book"))
import build  # noqa: E402

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded data in their smallest size."""
    out = tmp_path_factory.mktemp("data")
    command = [sys.executable, str(ROOT / "data_scripts" / "make_synthetic.py")]
    subprocess.run([*command, "--profile", "smoke", "--out", str(out / "synthetic")], check=True)
    return out


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a notebook by papermill's command line, from a folder of its own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    places = {"DATA": data, "RUNS": folder / "runs", "CACHE": folder / "cache"}
    environment = os.environ | {f"COMET_{name}": str(path) for name, path in places.items()}
    search = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, search))

    def papermill(path: Path, **parameters: Any) -> subprocess.CompletedProcess[str]:
        words = [word for name, value in parameters.items() for word in ("-p", name, str(value))]
        return subprocess.run(
            [sys.executable, "-m", "papermill", str(path), "out.ipynb", "-k", "python3", *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    papermill.folder = folder  # type: ignore[attr-defined]
    return papermill


def test_there_are_notebooks_and_each_is_in_the_book() -> None:
    assert NOTEBOOKS
    assert sorted(path.stem for path in NOTEBOOKS) == sorted(build.contents(build.BOOK))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_pairs_are_in_step_and_without_outputs(script: Path) -> None:
    pair = script.with_suffix(".ipynb")
    assert pair.read_text(encoding="utf-8") == build.paired(script), (
        "run: python book/build.py --sync"
    )
    assert not any(cell.get("outputs") for cell in build.read_notebook(pair).cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_typed_and_explained(path: Path) -> None:
    cells = build.read_notebook(path).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])] == code[:1]
    statements = ast.parse(code[0].source).body
    assert all(isinstance(statement, ast.AnnAssign) for statement in statements)
    for line in code[0].source.splitlines():
        assert re.search(r"  # \w.{5,}$", line), f"no explanation: {line}"
    assert "notebook.begin(globals())" in code[1].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_has_a_caption_and_a_description(path: Path) -> None:
    for cell in build.read_notebook(path).cells:
        if "notebook.show(" in cell.source:
            about = cell.metadata["mystnb"]
            assert about["figure"]["name"].startswith("fig-")
            assert about["figure"]["caption"].endswith(".")
            assert len(about["image"]["alt"]) > 20


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_solutions_are_hidden_and_check_themselves(path: Path) -> None:
    cells = build.read_notebook(path).cells
    for position, cell in enumerate(cells):
        if "solution" in cell.metadata.get("tags", []):
            assert "hide-cell" in cell.metadata["tags"]
            assert "assert " in cell.source
            assert re.search(r"^\*\*\d+\.\*\* ", cells[position - 1].source, re.MULTILINE)
    exercises = sum(len(re.findall(r"^\*\*\d+\.\*\* ", cell.source, re.M)) for cell in cells)
    assert exercises == sum("solution" in cell.metadata.get("tags", []) for cell in cells)


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_another_folder(run: Run, path: Path) -> None:
    done = run(path, profile="smoke")
    assert done.returncode == 0, done.stderr
    cells = build.read_notebook(run.folder / "out.ipynb").cells  # type: ignore[attr-defined]
    kinds = [
        kind for cell in cells for out in cell.get("outputs", []) for kind in out.get("data", {})
    ]
    shown = sum("notebook.show(" in cell.source for cell in cells)
    assert sum(kind in ("image/jpeg", "image/svg+xml") for kind in kinds) == shown
    inline = sum("interactive.show_inline(" in cell.source for cell in cells)
    assert shown + inline > 0
    texts = [
        out["data"].get("text/markdown", "")
        for cell in cells
        for out in cell.get("outputs", [])
        if "data" in out
    ]
    assert sum("{inline-figure}" in text for text in texts) == inline
    assert not list((ROOT / "notebooks").glob("**/runs"))


@pytest.mark.notebook
def test_parameters_reach_the_figures(run: Run, data: Path) -> None:
    relative = os.path.relpath(data / "synthetic" / "mvtec_ad", run.folder)  # type: ignore[attr-defined]
    gallery = ROOT / "notebooks" / "weight_gallery.ipynb"
    done = run(gallery, profile="smoke", data_root=relative, categories='["hide"]', strategy="soft")
    assert done.returncode == 0, done.stderr
    text = (run.folder / "out.ipynb").read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert "SimpleNet · soft" in text and "synthetic stand-in for MVTec AD" in text
    assert "bottle_cap" not in text


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"data_rot": "x"}, "no parameter 'data_rot'; did you mean 'data_root'"),
    ({"data_root": "/nowhere/mvtec_ad"}, "'/nowhere/mvtec_ad' does not exist: no 'nowhere' in '/'"),
    ({"dataset": "mvtec"}, "mvtec"),
    ({"categories": "hidee"}, "no category 'hidee'"),
    ({"seed": "many"}, "parameter 'seed' = 'many'"),
    ({"strategy": "best"}, "setting 'strategy' = 'best'"),
    ({"data_root": "EMPTY"}, "has no images in 'train'"),
    ({"data_root": "CORRUPT", "profile": "smoke"}, "000.png' is not an image that can be read"),
]


@pytest.mark.notebook
@pytest.mark.parametrize(("parameters", "sentence"), WRONG, ids=lambda x: str(x)[:40])
def test_bad_input_ends_in_one_sentence(
    run: Run, data: Path, tmp_path: Path, parameters: dict[str, Any], sentence: str
) -> None:
    hide = tmp_path / "hide"
    shutil.copytree(data / "synthetic" / "mvtec_ad" / "hide", hide)
    good = sorted((hide / "train" / "good").iterdir())
    if parameters.get("data_root") == "EMPTY":
        for path in good:
            path.unlink()
        parameters = parameters | {"data_root": str(hide)}
    if parameters.get("data_root") == "CORRUPT":
        good[0].write_bytes(b"no image")
        parameters = parameters | {"data_root": str(hide)}
    done = run(ROOT / "notebooks" / "weight_gallery.ipynb", **parameters)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("InputError: ") and sentence in last
    assert "Traceback" not in last


# -- the helpers, without a kernel


def checked(**values: Any) -> dict[str, Any]:
    annotations = {"dataset": str, "categories": list[str], "seed": int, "level": float}
    space: dict[str, Any] = {"dataset": "a", "categories": [], "seed": 0, "level": 0.1}
    injected = "# Parameters\n" + "".join(f"{name} = {value!r}\n" for name, value in values.items())
    space |= {"__annotations__": annotations, "In": ["", "dataset: str = 'a'", injected], **values}
    notebook.check_parameters(space)
    return space


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("categories", '["b", "c"]', ["b", "c"]),
        ("categories", "b", ["b"]),
        ("categories", 15, ["15"]),
        ("dataset", 15, "15"),
        ("level", 1, 1.0),
        ("seed", "3", 3),
    ],
)
def test_values_are_converted_where_nothing_is_lost(name: str, value: Any, expected: Any) -> None:
    assert checked(**{name: value})[name] == expected


@pytest.mark.parametrize(("name", "value"), [("seed", 0.5), ("level", "x"), ("categories", [[1]])])
def test_values_that_do_not_fit_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"parameter '{name}' = "):
        checked(**{name: value})


def test_a_choice_names_the_alternatives() -> None:
    space = {"__annotations__": {"a": Literal["x", "y"]}, "a": "z"}
    with pytest.raises(InputError, match="should be 'x' or 'y'"):
        notebook.check_parameters(space)


def test_only_injected_names_can_be_unknown() -> None:
    space = {"__annotations__": {"seed": int}, "seed": 1, "mine": 2, "In": ["mine = 2"]}
    notebook.check_parameters(space)
    space["In"] = ["# Parameters\nsead = 2"]
    with pytest.raises(InputError, match="did you mean 'seed'"):
        notebook.check_parameters(space)


def test_finds_embedded_data_or_says_how_to_make_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COMET_DATA", str(tmp_path))
    with pytest.raises(InputError, match="`make book` draws them"):
        notebook.find_data("mvtec_ad")
    (tmp_path / "synthetic" / "mvtec_ad").mkdir(parents=True)
    (tmp_path / "synthetic" / "mvtec_ad" / "SYNTHETIC").touch()
    assert notebook.find_data("mvtec_ad") == tmp_path / "synthetic" / "mvtec_ad"
    with pytest.raises(InputError, match="there are mvtec_ad"):
        notebook.find_data("ksdd2")
    assert notebook.find_data("ksdd2", "../mine") == Path("../mine")


def test_a_folder_without_a_category_is_told(tmp_path: Path) -> None:
    assert notebook.choose_categories("mvtec_ad", tmp_path, ["bottle"]) == ["bottle"]
    with pytest.raises(InputError, match="holds no category in the layout of 'mvtec_ad'; check"):
        notebook.choose_categories("mvtec_ad", tmp_path, [])


def test_folders_do_not_depend_on_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMET_RUNS", "placeholder")
    monkeypatch.delenv("COMET_RUNS")
    monkeypatch.setenv("COMET_CACHE", "elsewhere")
    notebook.use_folders()
    assert os.environ["COMET_RUNS"] == str(ROOT / "runs")
    assert os.environ["COMET_CACHE"] == "elsewhere"


def runs_of(*categories: str, limit: int | None, synthetic: bool = True) -> pd.DataFrame:
    made = {"dataset": "mvtec_ad", "detector": "simplenet", "strategy": "comet", "seed": 0}
    made |= {"contamination": 0.1, "synthetic": synthetic, "train_limit": limit}
    return pd.DataFrame([{**made, "category": category} for category in categories])


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            runs_of("woven", limit=60),
            "synthetic stand-in for MVTec AD (woven, 60 images) · 10 % contamination · SimpleNet · "
            "CoMet · seed 0",
        ),
        (runs_of("a_b", "c", limit=None), "synthetic stand-in for MVTec AD (a b, c) · "),
        (runs_of(*"abcdef", limit=60), "MVTec AD (6 categories, 60 images) · "),
        (runs_of("tile", limit=None, synthetic=False), "MVTec AD (tile) · 10 %"),
        (
            runs_of("ksdd2", limit=60).assign(dataset="ksdd2_clean"),
            "synthetic stand-in for KSDD2 (60 images) · ",
        ),
    ],
)
def test_the_line_under_a_figure_names_categories_and_numbers(
    rows: pd.DataFrame, told: str
) -> None:
    assert told in notebook.describe(rows)


def test_columns_of_tables_have_the_names_that_people_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(notebook, "display", lambda data, **_: shown.append(data["text/markdown"]))
    table = pd.DataFrame({"image_auroc": [0.5], "auroc": [0.25], "false_alarms": [1.0]})
    notebook.show_table(table, "caption", "tab-x")
    assert all(f" {name}\n" in shown[0] for name in ("I-AUROC", "AUROC", "false alarms"))
    assert "auroc" not in shown[0]


def test_a_page_that_rests_on_one_category_says_so() -> None:
    assert evidence.scope(runs_of("woven", limit=60)).startswith(
        "Measured on one category, woven, which of the embedded ones contamination costs most"
    )
    assert evidence.scope(runs_of("a_b", limit=60)) == "Measured on one category, a b."
    assert evidence.scope(runs_of("a", "b", limit=60)) == "Measured on 2 categories, a and b."


def test_executed_notebooks_lose_what_changes_from_run_to_run() -> None:
    outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="10%"),
        nbformat.v4.new_output(
            "display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "bar"}
        ),
        nbformat.v4.new_output("display_data", {"text/plain": "kept"}),
    ]
    source = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("profile = 1", metadata={"tags": ["injected-parameters"]}),
            nbformat.v4.new_code_cell("f()", outputs=outputs, metadata={"papermill": {"x": 1}}),
        ],
        metadata={"papermill": {"start_time": "now"}, "widgets": {}},
    )
    tidy = build.tidied(source, {"stamp": "s"})
    assert [[out["data"]["text/plain"] for out in cell.outputs] for cell in tidy.cells] == [
        ["kept"]
    ]
    assert set(tidy.metadata) == {"kernelspec", "comet"}
    assert "papermill" not in tidy.cells[0].metadata
