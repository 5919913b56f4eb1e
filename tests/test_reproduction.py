"""Rows of a profile appear by themselves when the store holds them, and nothing else does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest

from comet_core import noise, reproduction, tables
from comet_core.config import RunConfig
from comet_core.errors import InputError
from comet_core.experiments import run
from comet_core.results import Store
from tests.fake_runs import Output, fingerprint


def execute(config: RunConfig) -> Output:
    """Numbers that depend on strategy and seed; data below "drawn" are synthetic."""
    rng = np.random.default_rng(config.seed)
    start = rng.uniform(0.8, 0.9) - config.contamination
    row = dict.fromkeys(tables.COLUMNS.values(), start + 0.05 * (config.strategy == "comet"))
    return Output({**row, "synthetic": config.data_root.name == "drawn"}, {"test": pd.DataFrame()})


def fill(store: Path, **grid: Any) -> pd.DataFrame:
    base = {"profile": "paper", "data_root": "real", "category": ["bottle", "screw"]}
    base |= {"strategy": ["plain", "comet"], "seed": [0, 1], "contamination": 0.1}
    chosen = {**base, **grid}
    return run(chosen, store=store, execute=execute, fingerprint=fingerprint, progress=False)


def test_a_run_of_an_older_version_is_left_out(tmp_path: Path) -> None:
    rows = fill(tmp_path, profile="demo")
    assert len(reproduction.stored("demo", tmp_path)) == len(rows)
    name = rows["hash"].iloc[0]
    store = Store(tmp_path)
    kept = {"test": store.table(name, "test")}
    config = {**store.config(name), "given_up": 1}
    row = store.row(name)
    shutil.rmtree(store.folder(name))
    store.write(name, config, row, kept)
    assert set(reproduction.stored("demo", tmp_path)["hash"]) == set(rows["hash"]) - {name}


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no store '.*none'; name the folder"):
        reproduction.stored("paper", tmp_path / "none")
    for store in (Store(tmp_path / "none"), Store(tmp_path / "demo")):
        found = reproduction.stored("paper", store)
        assert found.empty
        assert reproduction.for_tables(found).empty and reproduction.for_curves(found).empty
    fill(tmp_path / "demo", profile="demo")
    assert reproduction.stored("paper", tmp_path / "demo").empty
    assert len(reproduction.stored("demo", tmp_path / "demo")) == 8


def test_rows_of_the_profile_are_found_and_changed_ones_left_out(tmp_path: Path) -> None:
    wanted = fill(tmp_path, detector=["simplenet", "differnet"], strict=True, pixel_size=0)
    fill(tmp_path, data_root="drawn", category="hide")
    fill(tmp_path, kappa=3.0)
    fill(tmp_path, epochs=2)
    fill(tmp_path, oracle=True)
    found = reproduction.stored("paper", tmp_path)
    assert set(found["hash"]) == set(wanted["hash"])
    table = tables.beside(reproduction.for_tables(found))
    assert table["data"].tolist() == ["MVTec AD"] * 2
    assert table["measured_difference"].tolist() == pytest.approx([0.05] * 2)
    assert table["reported_plain"].notna().all() and table["pairs"].tolist() == [4, 4]


def test_a_run_without_its_partner_waits_for_it(tmp_path: Path) -> None:
    fill(tmp_path, category="bottle", strategy="plain")
    assert reproduction.for_tables(reproduction.stored("paper", tmp_path)).empty
    fill(tmp_path, category="bottle", strategy="comet", seed=1)
    rows = reproduction.for_tables(reproduction.stored("paper", tmp_path))
    assert sorted(rows["strategy"]) == ["comet", "plain"] and set(rows["seed"]) == {1}
    assert len(tables.readable(tables.beside(rows))) == 1


def test_data_contaminated_by_nature_are_taken_as_they_are(tmp_path: Path) -> None:
    ksdd2 = {"dataset": "ksdd2", "category": "ksdd2"}
    fill(tmp_path, **ksdd2, contamination=[0.0, 0.1])
    rows = reproduction.for_tables(reproduction.stored("paper", tmp_path))
    assert set(rows["contamination"]) == {0.0} and len(rows) == 4


def test_curves_need_a_clean_run_and_a_contaminated_one(tmp_path: Path) -> None:
    fill(tmp_path)
    assert reproduction.for_curves(reproduction.stored("paper", tmp_path)).empty
    fill(tmp_path, contamination=[0.0, 0.04])
    rows = reproduction.for_curves(reproduction.stored("paper", tmp_path))
    assert sorted(set(rows["contamination"])) == [0.0, 0.04, 0.1]
    assert "MVTec AD, SimpleNet" in noise.findings(noise.prepared(rows))


ROOT = Path(__file__).resolve().parents[1]
CALL = re.compile(r"^\$ papermill -k python3 (\S+) \S+ (.+)$", re.MULTILINE)


def test_every_printed_call_names_a_notebook_and_its_parameters() -> None:
    cells = nbformat.read(ROOT / "notebooks" / "reproduce_the_paper.ipynb", 4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    calls = CALL.findall(text.replace("\\\n", ""))
    assert len(calls) == 3 and all("-p profile paper" in words for _, words in calls)
    for name, words in calls:
        code = nbformat.read(ROOT / name, 4).cells
        source = next(cell.source for cell in code if "parameters" in cell.metadata.get("tags", []))
        known = set(re.findall(r"^(\w+): ", source, re.MULTILINE))
        assert set(re.findall(r"-p (\w+) ", words)) <= known
    for script in re.findall(r"^\$ python (\S+)", text, re.MULTILINE):
        assert (ROOT / script).is_file()
