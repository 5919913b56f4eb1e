"""The note under figures and tables: what a notebook records, and how it is told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from matplotlib.figure import Figure

from comet_core import interactive, notebook

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book"), str(ROOT / "book" / "_ext")]
import build  # noqa: E402
import provenance  # noqa: E402

ROWS = pd.DataFrame({"hash": ["aa", "bb", "aa"], "value": [1.0, 2.0, 3.0]})
VERSIONS = {
    "code": "0.1.0+abc",
    "commit": "0123456789abcdef",
    "python": "3.11.7",
    "torch": "2.6",
    "timm": "1.0",
    "numpy": "2.0",
}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Outputs as a kernel would write them."""
    outputs: list[dict[str, Any]] = []

    def keep(data: dict, raw: bool, metadata: dict) -> None:
        outputs.append(nbformat.v4.new_output("display_data", data, metadata=metadata))

    monkeypatch.setattr(notebook, "display", keep)
    monkeypatch.setattr(interactive, "display", keep)
    return outputs


def executed(outputs: list[dict[str, Any]], figure: str = "") -> nbformat.NotebookNode:
    about = {"mystnb": {"figure": {"name": figure}}} if figure else {}
    cell = nbformat.v4.new_code_cell("show()", outputs=outputs, metadata=about)
    return nbformat.v4.new_notebook(cells=[cell])


def test_a_figure_is_recorded_under_its_cells_name(shown: list[dict[str, Any]]) -> None:
    notebook.show(Figure(), ROWS)
    book = executed(shown, "fig-one")
    assert build.made(book) == {"fig-one": ["aa", "bb"]}
    tidy = build.tidied(book, {})
    assert "comet" not in tidy.cells[0].outputs[0].metadata, "it is told once, in the record"


def test_tables_and_inline_figures_bring_their_names(shown: list[dict[str, Any]]) -> None:
    notebook.show_table(ROWS, "Caption", "tab-one", runs=ROWS)
    interactive.show_inline("<p></p>", "Caption.", "fig-turn")
    assert build.made(executed(shown)) == {"tab-one": ["aa", "bb"], "fig-turn": []}


def test_a_still_stands_in_where_scripts_do_not_run(shown: list[dict[str, Any]]) -> None:
    interactive.show_inline("<p></p>", 'What "it" shows.', "fig-turn", still=Figure())
    page = shown[0]["data"]["text/html"]
    assert '<div class="still"><img src="data:image/svg+xml;base64,' in page
    assert 'alt="What &quot;it&quot; shows."' in page


def test_in_the_book_captions_say_what_figures_were_made_from(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn() -> Figure:
        figure = Figure()
        figure.supxlabel("three\nseeds")
        return figure

    notebook.show(drawn())
    monkeypatch.setenv("COMET_BOOK", "1")
    figure = drawn()
    interactive.show_inline("<p></p>", "Caption.", "fig-turn", still=figure)
    interactive.show_inline("<p></p>", "Caption. Data: three seeds.", "fig-told", still=drawn())
    assert build.notes(executed(shown)) == {"fig-turn": "three seeds"}
    assert figure.get_supxlabel() == "", "it is said once"


def test_a_record_has_parameters_as_they_were(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell(
        "seed: int = 3  # of it\nprofile: str = 'demo'  # size\nlevels: list = [0.0, 0.1]  # dirt",
        metadata={"tags": ["parameters"]},
    )
    about = {"comet": {"parameters": {"profile": "smoke"}}}
    path = tmp_path / "one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=about), path)
    settings = provenance.record(path, path.stat().st_mtime_ns)["settings"]
    assert settings == {"seed": "3", "profile": "'smoke'", "levels": "[0.0, 0.1]"}


@pytest.mark.parametrize("count", [0, 3, 20])
def test_the_note_names_notebook_parameters_runs_code_and_time(count: int) -> None:
    made = {
        "settings": {"seed": "3"},
        "versions": VERSIONS,
        "finished": "2026-01-02 03:04 UTC",
        "seconds": 75.2,
    }
    runs = [f"{number:016x}" for number in range(count)]
    text = provenance.note(provenance.of_notebook("one", made, runs, "../"))
    assert text.startswith("<details") and 'href="../_sources/notebooks/one.ipynb"' in text
    for word in ("seed = 3", "0.1.0+abc", "012345678", "2026-01-02 03:04 UTC", "1 min 15 s"):
        assert word in text
    assert sum(run in text for run in runs) == min(count, provenance.SHOWN)
    assert ("and 12 more" in text) == (count == 20)
    assert ("computed in the notebook" in text) == (count == 0)
    read = provenance.of_notebook("one", made, [], "../", ["real.json", "2026-01-01"])
    assert "benchmarks/real.json</code>, made on 2026-01-01" in provenance.note(read)
    printed = provenance.note(provenance.of_notebook("one", made, runs, ""), closed=False)
    assert "<details" not in printed and "<a " not in printed
