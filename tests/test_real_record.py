"""The record of real images: what is kept, how it is read, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from comet_core import figures_effects, real_record
from comet_core.errors import InputError

ABOUT = {"made": "2026-01-01", "machine": {}}


def rows(gain: float = 0.05, category: str = "bottle", seeds: int = 4) -> pd.DataFrame:
    """CoMet is `gain` ahead of plain training at 10 %, give or take, and level with it clean."""
    found = []
    for seed in range(seeds):
        jitter = 0.002 * (seed - (seeds - 1) / 2)
        for method, clean, dirty in (
            ("plain", 0.9, 0.8),
            ("soft", None, 0.8 + gain / 2 + jitter),
            ("comet", 0.9 + jitter, 0.8 + gain + jitter),
            ("oracle", None, 0.9 + jitter),
        ):
            for level, value in ((0.0, clean), (0.1, dirty)):
                if value is not None:
                    found.append((category, "differnet", method, level, seed, value))
    return pd.DataFrame(found, columns=[*real_record.RUN, "image_auroc"])


def test_runs_are_added_once_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "real.json"
    real_record.add(rows(0.01), path, ABOUT)
    real_record.add(rows(category="magnetic_tile"), path, ABOUT)
    real_record.add(rows(0.05), path, ABOUT)  # replaces what was measured before
    read = real_record.read_record(path)
    assert read["file"] == "real.json" and read["made"] == "2026-01-01"
    assert len(read["rows"]) == 2 * len(rows())
    bottle = read["rows"][read["rows"]["category"] == "bottle"]
    gains = real_record.gains(bottle).set_index(["contamination", "method"])
    assert gains.loc[(0.1, "comet"), "mean"] == pytest.approx(0.05, abs=1e-5)
    assert gains.loc[(0.1, "comet"), "n"] == 4
    assert (0.0, "soft") not in gains.index  # it has no clean runs
    told = real_record.described(read)
    assert told.startswith("real images: MVTec AD bottle and magnetic tile · clean, 10 %")
    with pytest.raises(InputError, match="there is no record"):
        real_record.read_record(tmp_path / "other.json")


def test_the_sentences_follow_the_numbers() -> None:
    both = pd.concat([rows(0.05), rows(0.0, "magnetic_tile")])
    gains = real_record.gains(both)
    headline = real_record.headline(gains)
    assert "10 % anomalous, 4 seeds" in headline
    assert "by 0.0 to +5.0 points" in headline and "1 of 2 intervals lie above zero" in headline
    lines = real_record.findings(gains).splitlines()
    assert len(lines) == 2
    assert "at 10 % CoMet +5.0 [" in lines[0] and ": clean CoMet" in lines[0]
    assert "not settled" in lines[1]
    assert "the I-AUROC" in headline and "MVTec AD bottle and magnetic tile" in headline
    assert real_record.gained(gains, "soft").startswith("soft changes the I-AUROC of plain")
    worse = real_record.headline(real_record.gains(rows(-0.05)))
    assert "−5.0" in worse and "0 of 1 intervals" in worse


def test_the_table_and_the_figure_hold_every_method() -> None:
    table = real_record.means(rows())
    assert list(table.columns) == [
        *("data", "detector", "clean, plain", "clean, CoMet"),
        *("10 %, plain", "10 %, soft", "10 %, CoMet", "10 %, oracle"),
    ]
    assert table.loc[0, "10 %, CoMet"] == "85.0"
    drawn = real_record.drawn(real_record.gains(rows()))
    assert drawn["label"].tolist() == [
        *("clean: CoMet", "10 % anomalous: soft"),
        *("10 % anomalous: CoMet", "10 % anomalous: oracle"),
    ]
    figure = figures_effects.effects(drawn, "a note", "points", shared=False)
    assert [one.get_title(loc="left") for one in figure.axes] == ["MVTec AD bottle, DifferNet"]


def test_only_data_with_copies_are_listed() -> None:
    copied = rows(category="magnetic_tile").assign(
        image_auroc_copied=0.6, image_auroc_new=0.7, copied=0.25
    )
    copied.loc[copied["contamination"] == 0, ["image_auroc_copied", "copied"]] = np.nan
    none = rows().assign(image_auroc_copied=np.nan, image_auroc_new=0.7, copied=0.0)
    table = real_record.copies(pd.concat([none, copied]))
    assert set(table["data"]) == {"magnetic tile"} and len(table) == 4
    assert table.loc[0, ["share / %", "nearly repeated", "new"]].tolist() == [
        "25.0",
        "60.0",
        "70.0",
    ]
