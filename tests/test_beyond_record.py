"""The record of the weightings: what is kept of runs, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from comet_core import beyond, beyond_record, figures_beyond
from comet_core.errors import InputError
from tests.test_beyond import runs


def samples(rows: pd.DataFrame) -> pd.DataFrame:
    """Two nominal images and an anomalous one for each run; `comet+` distrusts the last."""
    return pd.DataFrame(
        {"hash": row.hash, "truth": truth, "used": used}
        for row in rows.itertuples()
        for truth, used in (
            ("nominal", 1.0),
            ("nominal", 0.5),
            ("anomalous", 0.0 if row.strategy == "comet+" else 1.0),
        )
    )


def told(gain: float, harm: float = 0.0, **changes: object) -> pd.DataFrame:
    rows = runs(gain, harm).assign(**changes)
    return beyond_record.told(beyond.prepared(rows), samples(rows))


def read(folder: Path, *parts: pd.DataFrame) -> dict:
    for part in parts:
        beyond_record.add(part, folder / "beyond.json", {"made": "2026-11-27"})
    return beyond_record.read_record(folder / "beyond.json")


def test_the_record_holds_each_run_once_and_the_newer_one(tmp_path: Path) -> None:
    old, new = told(gain=0.2), told(gain=0.9)
    rows = read(tmp_path, old, new)["rows"]
    clean_oracle = (rows["method"] == "oracle") & (rows["contamination"] == 0)
    assert len(rows) - clean_oracle.sum() == len(old) == len(runs(0.5))
    gaps = beyond.gaps(rows).set_index("method")
    assert gaps.loc["comet+", "closed"] == pytest.approx(0.9, abs=1e-4)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_computed_from_the_record_is_what_the_runs_give(tmp_path: Path) -> None:
    rows = beyond.prepared(runs(gain=0.75, harm=0.01))
    again = read(tmp_path, told(gain=0.75, harm=0.01))["rows"]
    for compute in (beyond.curves, beyond.gaps, beyond.harms, beyond.costs):
        wanted = compute(rows).drop(columns="dataset")
        found = compute(again).drop(columns="dataset")
        pd.testing.assert_frame_equal(found, wanted, atol=1e-4)


def test_weights_are_means_by_kind_and_absent_kinds_stay_absent(tmp_path: Path) -> None:
    means = beyond_record.kept(read(tmp_path, told(gain=1.0))["rows"]).set_index("method")
    assert means.loc["comet+", "anomalous"] == 0 and means.loc["plain", "anomalous"] == 1
    assert means.loc["plain", "nominal"] == 0.75
    assert means["boundary"].isna().all()


def test_stand_ins_and_real_sets_are_told_apart(tmp_path: Path) -> None:
    real = told(gain=0.9, synthetic=False, category="magnetic_tile")
    record = read(tmp_path, told(gain=0.5), real)
    rows = record["rows"]
    assert list(dict.fromkeys(rows["dataset"])) == ["magnetic tile", "MVTec AD stand-in"]
    note = beyond_record.described(record)
    assert "real: magnetic tile" in note and "synthetic: MVTec AD stand-in" in note
    assert "3 seeds" in note
    drawn = beyond_record.side(record, drawn=True)
    assert set(drawn["rows"]["dataset"]) == {"MVTec AD stand-in"}
    assert "real" not in beyond_record.described(drawn)
    assert "synthetic" not in beyond_record.described(beyond_record.side(record, drawn=False))


def test_the_verdict_names_where_it_falls_short_and_who_is_ahead_there(tmp_path: Path) -> None:
    real = told(gain=0.05, harm=0.02, synthetic=False, category="magnetic_tile")
    said = beyond_record.findings(read(tmp_path, told(gain=0.9), real)["rows"])
    assert "80 % of the gap or more on MVTec AD stand-in (90 %)" in said
    assert "on magnetic tile 5 %, where *paper* closes 10 %" in said
    assert "CoMet+ costs magnetic tile (\N{MINUS SIGN}2.0), elsewhere at most" in said
    assert "half a point, *paper* gains most" in said
    (tmp_path / "beyond.json").unlink()
    fine = beyond_record.findings(read(tmp_path, told(gain=1.0))["rows"])
    assert "clean: CoMet+ costs at most 0.3 points on each" in fine
    (tmp_path / "beyond.json").unlink()
    dear = told(gain=1.0, harm=0.01)
    dear = dear[dear["method"] != "paper"]
    assert "least, \N{MINUS SIGN}1.0, is lost by *CoMet+*" in beyond_record.findings(
        read(tmp_path, dear)["rows"]
    )
    (tmp_path / "beyond.json").unlink()
    fine = beyond_record.findings(read(tmp_path, told(gain=1.0))["rows"])
    assert "*CoMet+* gains most, +20.0 points" in fine


def test_tables_have_a_line_a_weighting(tmp_path: Path) -> None:
    rows = read(tmp_path, told(gain=0.75, harm=0.01))["rows"]
    table = beyond_record.overview(rows).set_index("weighting")
    assert table.index.tolist() == ["paper", "CoMet+"]
    assert table.loc["CoMet+", "gain at 10 %"] == "+15.0"
    assert table.loc["CoMet+", "gap closed, median"] == "75 %"
    assert table.loc["CoMet+", "clean, worst"] == "\N{MINUS SIGN}1.0 (MVTec AD stand-in)"
    assert table.loc["CoMet+", "time / plain"] == "2.00"
    numbers = beyond_record.numbers(rows)
    assert numbers["weighting"].tolist() == ["plain", "paper", "CoMet+", "oracle"]
    assert numbers.loc[0, "clean"].startswith("95.1 [")


def test_means_are_over_data_sets_that_all_weightings_were_run_on(tmp_path: Path) -> None:
    part = told(gain=0.0, synthetic=False, category="bottle")
    bounds = part[part["method"].isin(["plain", "oracle"])]
    rows = read(tmp_path, told(gain=1.0), bounds)["rows"]
    whole = beyond_record.comparable(rows)
    assert set(whole["dataset"]) == {"MVTec AD stand-in"}
    assert set(whole["method"]) == {"plain", "paper", "comet+", "oracle"}
    table = beyond_record.overview(rows).set_index("weighting")
    assert table.loc["CoMet+", "gain at 10 %"] == "+20.0"
    both = pd.concat([rows, told_of_all(tmp_path / "other").assign(detector="differnet")])
    sets = beyond_record.comparable(both).groupby("detector")["dataset"].agg(set).to_dict()
    # What one detector lacks does not keep the other from being told.
    assert sets["simplenet"] == {"MVTec AD stand-in"} and "bottle" in sets["differnet"]


def test_a_weighting_that_many_data_sets_lack_is_left_out_of_the_means(tmp_path: Path) -> None:
    rows = told_of_all(tmp_path)
    rows = rows[(rows["method"] != "paper") | (rows["dataset"] != "bottle")]
    whole = beyond_record.comparable(rows)
    assert set(whole["dataset"]) == {"MVTec AD stand-in", "bottle"}
    assert set(whole["method"]) == {"plain", "comet+", "oracle"}
    found = beyond_record.findings(rows)
    assert "*paper* gains most" not in found and "on bottle 0 %" in found


def told_of_all(folder: Path) -> pd.DataFrame:
    """Of two data sets; on the real one CoMet+ gains nothing."""
    folder.mkdir(exist_ok=True)
    return read(folder, told(gain=1.0), told(gain=0.0, synthetic=False, category="bottle"))["rows"]


def test_the_figure_has_a_row_a_method_and_a_column_a_level(tmp_path: Path) -> None:
    real = told(gain=0.9, synthetic=False, category="bottle")
    rows = read(tmp_path, told(gain=0.5), real)["rows"]
    figure = figures_beyond.everywhere(rows, "rows made up")
    axes = figure.axes[0]
    shown = [tick.get_text() for tick in axes.get_xticklabels()]
    assert shown == ["0", "10", "0", "10"]
    assert axes.collections[0].get_array().shape == (4, 4)
    texts = {text.get_text() for text in axes.texts}
    assert {"95", "75", "93"} <= texts
    with pytest.raises(InputError, match="no runs"):
        figures_beyond.everywhere(rows[:0], "")


def test_what_cannot_be_added_to_is_told_before_the_runs(tmp_path: Path) -> None:
    beyond_record.check(tmp_path / "new.json")
    with pytest.raises(InputError, match="no folder"):
        beyond_record.check(tmp_path / "nowhere" / "new.json")
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(InputError, match="no record of the benchmark"):
        beyond_record.check(tmp_path / "other.json")


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_half_a_record_is_told_as_far_as_it_goes(tmp_path: Path, level: float) -> None:
    rows = read(tmp_path, told(gain=0.9))["rows"]
    part = rows[rows["contamination"] == level]
    said = beyond_record.findings(part)
    assert ("closes" in said) == (level > 0) and ("costs" in said) == (level == 0)
    assert "gains most" not in said
    assert len(beyond_record.overview(part)) == (2 if level else 0)


def test_the_headline_is_of_real_images_alone(tmp_path: Path) -> None:
    real = told(gain=0.05, harm=0.02, synthetic=False, category="magnetic_tile")
    rows = read(tmp_path, told(gain=0.9), real)["rows"]
    said = beyond_record.headline(rows, "comet+")
    assert said.startswith("On magnetic tile it wins back 5 % to 5 % of what 10 % of anomalous")
    assert said.endswith("2.0 points from a clean set (means of 3 seeds).")
