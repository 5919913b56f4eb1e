"""The ablation: one setting at a time, paired, and a finding that says what was seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from comet_core import ablation, figures_effects
from comet_core.config import RunConfig
from comet_core.errors import InputError
from comet_core.experiments import expand
from comet_core.runs import settings

BASE: dict[str, Any] = {
    "data_root": Path("data"),
    "category": ["a"],
    "detector": ["simplenet"],
    "strategy": ["comet"],
    "contamination": [0.1],
    "seed": [0, 1, 2],
}
SHIFT = {"kappa": {0.0: -0.03}, "gamma": {0.0: 0.0}}
"""What a value does to I-AUROC here; any other: nothing but scatter."""


def rows(base: dict[str, Any]) -> pd.DataFrame:
    found = []
    for config in expand(ablation.grid(base)):
        value = 0.8 + 0.02 * config.seed
        for setting, effects in SHIFT.items():
            value += effects.get(getattr(config, setting), 0.0)
        if config.hash() != expand({**base, "seed": config.seed})[0].hash():
            value += (0.0, 0.004, -0.004)[config.seed]
        found.append({**settings(config), "hash": config.hash(), "image_auroc": value})
    return pd.DataFrame(found).drop_duplicates("hash")


@pytest.mark.parametrize("detector", ["simplenet", "differnet"])
def test_one_setting_at_a_time(detector: str) -> None:
    base = {**BASE, "detector": [detector], "seed": [0]}
    default, *others = expand(ablation.grid(base))
    usual = default.model_dump()
    seen = set()
    for config in others:
        changed = {name for name, value in config.model_dump().items() if value != usual[name]}
        assert len(changed) == 1, changed
        seen |= changed
    assert seen == {choice.setting for choice in ablation.CHOICES}
    hashes = [config.hash() for config in (default, *others)]
    assert len(hashes) == len(set(hashes))


@pytest.mark.parametrize("detector", ["simplenet", "differnet"])
def test_effects_are_of_the_setting_alone(detector: str) -> None:
    base = {**BASE, "detector": [detector]}
    table = ablation.effects(rows(base), base)
    values = sum(len(choice.values(expand(base)[0])) for choice in ablation.CHOICES)
    assert len(table) == values + 1 and (table["n"].iloc[1:] == 3).all()
    kappa = table[table["setting"] == "kappa"]
    assert kappa["value"].tolist() == ["0", "3"] and set(kappa["default"]) == {"1.5"}
    assert kappa["mean"].tolist() == pytest.approx([-0.03, 0.0])
    assert ablation.finding(kappa) == "0 lowers I-AUROC by 3.0 points"
    gamma = table[table["setting"] == "gamma"]
    # The unit is the seed: half the range of three differences, stretched as in `statistics`.
    assert ablation.finding(gamma) == "not settled; the runs allow an effect of up to 1.1 points"
    words = ablation.in_words(table)
    assert words.startswith("An effect is settled for 1 of 14 settings: κ, eq. 1. ")
    count = len(table) - 1
    assert f"There are {count} intervals at 95 %" in words
    assert f"expected to settle {0.05 * count:.1f} of them" in words


def test_the_notebook_tells_how_many_settings_there_are() -> None:
    page = Path(__file__).resolve().parents[1] / "notebooks" / "ablation.py"
    assert f"Here {len(ablation.CHOICES)} of them, the strategy included" in page.read_text("utf-8")


def test_an_interval_that_allows_everything_is_told_to_settle_nothing() -> None:
    table = ablation.effects(rows(BASE), BASE)
    wide = table[table["setting"] == "gamma"].assign(low=-1.015, high=0.47)
    assert "next to nothing" in ablation.finding(wide) and "101.5" not in ablation.finding(wide)


def test_intervals_beyond_the_reach_of_the_figure_are_cut_and_told() -> None:
    table = ablation.drawn(ablation.effects(rows(BASE), BASE))
    table.loc[table["value"] == "5,000", ["low", "high"]] = [-1.015, 0.47]
    figure = figures_effects.effects(table, "note", "points", reach=15)
    low, high = figure.axes[0].get_xlim()
    assert -17 < low < -15 and 15 < high < 17
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["−101.5", "+47.0"]
    marks = [line.get_marker() for axes in figure.axes for line in axes.lines]
    assert marks.count("<") == marks.count(">") == 1
    whole = figures_effects.effects(table, "note", "points")
    assert whole.axes[0].get_xlim()[0] < -100 and not any(axes.texts for axes in whole.axes)


def test_the_table_and_the_figure_hold_every_value() -> None:
    table = ablation.effects(rows(BASE), BASE)
    text = ablation.shown(table)
    assert len(text) == len(table)
    assert text["setting (default)"].iloc[0] == "the default"
    assert text["difference, points"].iloc[0] == "–"
    assert (text["finding"] != "").sum() == len(ablation.CHOICES)
    assert {"never again", "5,000"} <= set(text["value"])
    figure = figures_effects.effects(ablation.drawn(table), "note", "points")
    assert len(figure.axes) == len(ablation.CHOICES)
    labels = [tick.get_text() for axes in figure.axes for tick in axes.get_yticklabels()]
    assert labels == table["value"].tolist()[1:]


def test_one_seed_settles_nothing() -> None:
    base = {**BASE, "seed": [0]}
    table = ablation.effects(rows(base), base)
    assert "none of the 14 settings" in ablation.in_words(table)
    part = table[table["setting"] == "kappa"]
    assert ablation.finding(part) == "one seed cannot tell an effect from chance"


def test_a_missing_value_is_named() -> None:
    found = rows(BASE)
    with pytest.raises(InputError, match="no run with order = 2"):
        ablation.effects(found[found["order"] == 1], BASE)


def test_settings_exist_under_their_names() -> None:
    assert {choice.setting for choice in ablation.CHOICES} <= set(RunConfig.model_fields)
