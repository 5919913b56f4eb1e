"""The numbers that README prints are those of the records."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from comet_core import beyond, beyond_record, claims_record, inner_loop, real_record
from comet_core.names import label
from comet_core.statistics import Interval
from comet_core.tables import whole_percent

ROOT = Path(__file__).resolve().parents[1]
REAL = real_record.read_record(ROOT / "benchmarks" / "real.json")["rows"]
BEYOND = beyond_record.read_record(ROOT / "benchmarks" / "beyond.json")["rows"]
INNER = inner_loop.read_record(ROOT / "benchmarks" / "inner_loop.json")["rows"]
CLAIMS = claims_record.judge(claims_record.read_record(ROOT / "benchmarks" / "claims.json"))


def table(first: str) -> pd.DataFrame:
    """The table of README whose header starts with `first`; what is in its first column names."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(first))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return pd.DataFrame(rows[2:], columns=rows[0]).set_index(rows[0][0])


def level_and_method(column: str) -> tuple[float, str]:
    when, method = column.split(" ", 1) if column.startswith("clean") else ("10", column[5:])
    return (0.0 if when == "clean" else 0.1), {"paper's weights": "paper"}.get(method, method)


def of(found: Interval) -> str:
    return f"{found.mean:+.3f} [{found.low:.3f}, {found.high:.3f}]"


def test_the_table_of_claims() -> None:
    printed = table("| claim of the paper")
    found = claims_record.beside(CLAIMS, CLAIMS).set_index("claim")
    assert list(printed.index) == list(found.index) and len(printed) == 7
    for claim, line in printed.iterrows():
        assert line.tolist() == found.loc[claim].tolist()[1:], claim
    told = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    fall = CLAIMS[(CLAIMS["claim"] == "C3") & CLAIMS["where"].str.endswith("SimpleNet")]
    lost = []
    for row in fall.to_dict("records"):
        ends = sorted(100 * abs(row[end]) for end in ("low", "high"))
        lost.append(f"{100 * abs(row['mean']):.1f} [{ends[0]:.1f}, {ends[1]:.1f}]")
    said = "SimpleNet loses {} points for MVTec AD and {} for KSDD2 with CoMet, {} and {} without"
    assert said.format(*lost) in told
    gain = CLAIMS.set_index(["claim", "where"]).loc[("C1", "VIADUCT, SimpleNet")]
    assert gain["high"] < 0
    numbers = [f"{-100 * gain[name]:.1f}" for name in ("mean", "high", "low")]
    assert "which loses {} points [{}, {}] by CoMet".format(*numbers) in told


def test_the_table_of_real_images() -> None:
    printed = table("| data, detector | clean")
    gains = real_record.gains(REAL).set_index(["category", "detector", "contamination", "method"])
    seen = 0
    for (category, detector), part in REAL.groupby(["category", "detector"]):
        name = f"{category.replace('bottle', 'MVTec AD bottle')}, {label(detector)}"
        line = printed.loc[name.replace("_", " ")]
        for column in printed.columns[:-1]:
            level, method = level_and_method(column)
            some = part[(part["contamination"] == level) & (part["method"] == method)]
            assert line[column] == f"{some['image_auroc'].mean():.3f}", (name, column)
            assert len(some) == 8
            seen += 1
        gain = gains.loc[(category, detector, 0.1, "comet")]
        assert line.iloc[-1] == of(Interval.of(gain)), name
    assert seen == 28 and len(printed) == 4


def test_the_table_of_the_inner_loop() -> None:
    printed = table("| data, detector | `comet` - `soft`")
    parts = inner_loop.parts(INNER, ["category", "detector"])
    parts = parts[parts["strategy"] == "comet"]
    assert len(printed) == 4
    for (category, detector), part in parts.groupby(["category", "detector"]):
        name = f"{category.replace('bottle', 'MVTec AD bottle')}, {label(detector)}"
        for cell, row in zip(
            printed.loc[name.replace("_", " ")], part.to_dict("records"), strict=True
        ):
            found = Interval.of(row)
            wanted = of(found) if found.high > found.low else "0.000 in every run"
            assert cell == wanted, (name, row["part"])


@pytest.mark.parametrize("detector", ["simplenet", "differnet"])
def test_the_table_of_the_stand_ins(detector: str) -> None:
    printed = table("| | clean")
    rows = BEYOND[(BEYOND["detector"] == detector) & BEYOND["drawn"].astype(bool)]
    for dataset, part in rows.groupby("dataset"):
        line = printed.loc[f"for {dataset.removesuffix(' stand-in')}, {label(detector)}"]
        for column in printed.columns:
            level, method = level_and_method(column)
            some = part[(part["contamination"] == level) & (part["method"] == method)]
            assert line[column] == f"{some['image_auroc'].mean():.3f}", (dataset, column)
    assert rows["dataset"].nunique() == 3


def test_the_table_of_what_is_won_back() -> None:
    printed = table("| won back of what 10 % cost")
    gaps = beyond.gaps(BEYOND).set_index(["dataset", "detector", "contamination", "method"])
    harms = beyond.harms(BEYOND).set_index(["dataset", "detector", "method"])["mean"]
    seen = 0
    for (dataset, detector), part in BEYOND.groupby(["dataset", "detector"]):
        if dataset == "VIADUCT stand-in" and detector == "differnet":
            continue  # 10 % cost it nothing
        where = dataset.replace("bottle", "MVTec AD bottle").replace(" stand-in", "'s stand-in")
        line = printed.loc[f"{where}, {label(detector)}"]
        for method, cell in line.items():
            key = (dataset, detector, 0.1, method)
            assert (key in gaps.index) == (cell != "–"), key
            if cell != "–":
                lost = harms[dataset, detector, method]
                assert cell == f"{whole_percent(gaps.loc[key, 'closed'])} ({lost:+.3f})", key
                seen += 1
        assert (part["contamination"] == 0.1).any()
    assert seen >= 36 and len(printed) == 11
