"""The record of the ledger's runs: the same rules judge it, and it is told what they decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from comet_core import claims, claims_record, ledger, tables
from comet_core.errors import InputError
from tests import test_claims

ABOUT = {"made": "2026-01-01", "machine": {}}
NOISE = tuple(np.linspace(-0.01, 0.01, 12))


def grids(seeds: int, **gains: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    noise = NOISE[:seeds] if seeds == len(NOISE) else (-0.1, 0.0, 0.1)[:seeds]
    found = (test_claims.comparison(noise=noise, **gains), test_claims.curves(noise=noise))
    return tuple(one.assign(train_limit=64) for one in found)  # type: ignore[return-value]


def recorded(folder: Path, seeds: int = 12, **gains: Any) -> dict[str, Any]:
    claims_record.add(*grids(seeds, **gains), folder / "claims.json", ABOUT)
    return claims_record.read_record(folder / "claims.json")


def test_a_record_is_judged_as_its_runs_are(tmp_path: Path) -> None:
    """Runs that both grids have count in each of them."""
    of_runs = claims.judge(*grids(12), tables.reported())
    of_record = claims_record.judge(recorded(tmp_path))
    exact = ["claim", "measure", "where", "n", "verdict"]
    assert of_record[exact].equals(of_runs[exact])
    numbers = ["mean", "low", "high", "bound"]
    assert np.allclose(of_record[numbers], of_runs[numbers], atol=2e-5, equal_nan=True)
    assert set(of_record["verdict"]) >= {"holds"}


def test_runs_are_added_once(tmp_path: Path) -> None:
    first = recorded(tmp_path, gain=-0.05)
    again = recorded(tmp_path)
    assert len(again["rows"]) == len(first["rows"])
    assert (
        ledger.verdicts(claims_record.judge(again)).set_index("claim")["verdict"]["C1"] == "holds"
    )
    (tmp_path / "other.json").write_text('{"rows": []}', encoding="utf-8")
    with pytest.raises(InputError, match="make bench-claims"):
        claims_record.check(tmp_path / "other.json")
    with pytest.raises(InputError, match="no folder"):
        claims_record.check(tmp_path / "nowhere" / "claims.json")


def test_other_data_are_not_averaged_with_what_is_recorded(tmp_path: Path) -> None:
    before = recorded(tmp_path)["rows"]
    for other in ({"train_limit": None}, {"synthetic": False}):
        some = [one.assign(**other) for one in grids(12)]
        with pytest.raises(InputError, match="a record of other data"):
            claims_record.add(some[0], some[1], tmp_path / "claims.json", ABOUT)
    assert claims_record.read_record(tmp_path / "claims.json")["rows"].equals(before)


def test_few_and_many_seeds_stand_side_by_side(tmp_path: Path) -> None:
    few = claims.judge(*grids(3), tables.reported())
    many = claims_record.judge(recorded(tmp_path))
    table = claims_record.beside(few, many).set_index("claim")
    assert list(table.columns[:2]) == ["here, 3 seeds", "recorded, 12 seeds"]
    assert [name.split(":")[0] for name in table.index] == list(claims.CLAIMS)
    improves = table.loc[[name for name in table.index if name.startswith("C1")]].iloc[0]
    assert improves["here, 3 seeds"] == "undecided" and improves["recorded, 12 seeds"] == "holds"
    assert improves["its parts"] == "6 hold"


def test_the_sentence_names_the_claims_of_each_verdict(tmp_path: Path) -> None:
    said = claims_record.findings(claims_record.judge(recorded(tmp_path, gain=-0.05)))
    assert said.startswith(
        "On MVTec AD (synthetic), VIADUCT (synthetic) and KSDD2 (synthetic) with 12"
    )
    table = ledger.verdicts(claims_record.judge(recorded(tmp_path, gain=-0.05)))
    for line in table[table["claim"] != claims.ARITHMETIC].to_dict("records"):
        assert line["claim"] in said
    assert "These parts speak against: C1, MVTec AD, SimpleNet (I-AUROC gained, " in said
    assert claims.ARITHMETIC not in said


def test_the_record_of_the_project_has_the_seeds_that_it_claims() -> None:
    path = Path(__file__).parents[1] / "benchmarks" / "claims.json"
    rows = claims_record.read_record(path)["rows"]
    counts = rows.groupby(["grid", "dataset", "category", "detector", "strategy", "contamination"])
    assert (counts["seed"].nunique() == 20).all() and rows["synthetic"].all()
    parts = claims_record.judge({"rows": rows})
    assert (parts.loc[parts["claim"] != claims.ARITHMETIC, "n"] == 20).all()
