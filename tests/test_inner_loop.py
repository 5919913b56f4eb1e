"""What of meta-learning is the inner loop, on rows made to say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from comet_core import figures_effects, inner_loop
from comet_core.errors import InputError
from comet_core.experiments import expand
from comet_core.runs import settings

BASE: dict[str, Any] = {
    "data_root": Path("data"),
    "contamination": [0.1],
    "seed": [0, 1, 2],
}


def rows(category: str = "a_b") -> pd.DataFrame:
    """The flow gains by seeing less, and loses a point by the loop; SimpleNet gains by the loop."""
    bases = [
        {**BASE, "category": [category], "detector": [one]} for one in ("simplenet", "differnet")
    ]
    found = []
    for config in expand(inner_loop.grids(bases)):
        flow = config.detector == "differnet"
        value = 0.8 + 0.02 * config.seed + (0.05 if config.strategy in ("soft", "comet") else 0)
        if config.strategy in inner_loop.WITHOUT:
            value += 0.06 if flow else 0.001 * (config.seed - 1)
            loop = -0.01 if flow else 0.03
            value += (loop + 0.0001 * config.seed) if config.inner_steps else 0
        found.append({**settings(config), "hash": config.hash(), "image_auroc": value})
    return pd.DataFrame(found).assign(synthetic=False)


def test_the_inner_loop_is_told_from_the_smaller_sample() -> None:
    table = inner_loop.parts(rows())
    assert len(table) == 2 * 2 * 3 and (table["n"] == 3).all()
    means = table.pivot_table("mean", ["detector", "strategy"], "part")
    assert (means["all of it"] - means.drop(columns="all of it").sum(axis=1)).abs().max() < 1e-9
    assert means.loc[("differnet", "comet"), inner_loop.LOOP] == pytest.approx(-0.0099)
    assert means.loc[("simplenet", "meta"), "fewer images a step"] == pytest.approx(0.0)


def test_sentences_say_what_the_loop_does() -> None:
    table = inner_loop.parts(rows())
    words = inner_loop.in_words(table)
    assert words.splitlines()[0].startswith("- SimpleNet: meta-learning changes I-AUROC by +3.0")
    assert "DifferNet: meta-learning changes I-AUROC by +5.0" in words
    assert "the loop itself makes −1.0 [−1.0, −1.0]: it harms." in words
    assert "the loop itself makes +3.0 [+3.0, +3.0]: it helps." in words
    flow = table["detector"] == "differnet"
    table.loc[flow & (table["part"] == inner_loop.LOOP), ["mean", "low", "high"]] = 0.0
    assert "itself makes 0.0 [0.0, 0.0]: no run differs." in inner_loop.in_words(table)
    table.loc[flow & (table["part"] == inner_loop.LOOP), "high"] = 0.1
    assert (
        "[0.0, +10.0]: not settled; the runs allow an effect of up to 10.0 points."
        in inner_loop.in_words(table)
    )


def test_a_loss_is_not_called_a_gain_and_one_seed_tells_nothing() -> None:
    table = inner_loop.parts(rows())
    own = table["strategy"] == "comet"
    ends = ["mean", "low", "high"]
    settled = table.copy()
    settled.loc[own & (table["part"] == inner_loop.LOOP), ends] = 0.0
    settled.loc[own & (table["part"] != inner_loop.LOOP), ends] = [0.02, 0.01, 0.03]
    assert "the gain is that of steps which see fewer" in inner_loop.headline(settled)
    settled.loc[own & (table["part"] != inner_loop.LOOP), ends] = [-0.02, -0.03, -0.01]
    assert "gain" not in inner_loop.headline(settled)
    single = table.assign(low=float("nan"), high=float("nan"), n=1)
    assert "one seed cannot tell that from chance" in inner_loop.in_words(single)


def test_each_category_can_stand_for_itself() -> None:
    both = pd.concat([rows("a_b"), rows("c")])
    assert (inner_loop.parts(both)["n"] == 3).all()
    table = inner_loop.parts(both, ["category", "detector"])
    assert len(table) == 24 and (table["n"] == 3).all()
    assert "- c, DifferNet: meta-learning" in inner_loop.in_words(table)
    of_comet = inner_loop.drawn(table[table["strategy"] == "comet"])
    figure = figures_effects.effects(of_comet, "note", "points")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        f"{category}, {detector}, CoMet against soft"
        for category in ("a b", "c")
        for detector in ("SimpleNet", "DifferNet")
    ]


def test_training_that_is_cut_short_stands_beside_comet() -> None:
    """Plain training loses ten points to the dirt, but none in the first epochs; CoMet five."""
    base = {**BASE, "category": ["a_b"], "detector": ["differnet"], "contamination": 0.1}
    grids = [*inner_loop.grids([base]), *inner_loop.lengths(base, [5])]
    found = []
    for config in {one.hash(): one for one in expand(grids)}.values():
        long, dirty = config.epochs > 5, config.contamination > 0
        value = 0.9 - 0.02 * (not long) + 0.001 * config.seed
        if long and dirty:
            value -= 0.05 if config.strategy == "comet" else 0.1
        found.append({**settings(config), "hash": config.hash(), "image_auroc": value})
    rows = pd.DataFrame(found)
    table = inner_loop.shorter(rows)
    assert table["epochs"].tolist() == [5, 15]
    short, full = table.to_dict("records")
    assert (short["n"], full["n"]) == (3, 3)
    assert [short[key] for key in ("clean_plain", "plain", "comet", "mean")] == pytest.approx(
        [0.881, 0.881, 0.881, 0.0]
    )
    assert [full[key] for key in ("clean_plain", "plain", "comet", "mean")] == pytest.approx(
        [0.901, 0.801, 0.851, 0.05]
    )
    shown = inner_loop.shorter_shown(table)
    assert shown["contaminated plain"].tolist() == ["88.1", "80.1"]
    assert shown["CoMet − plain, points"].tolist()[1].startswith("+5.0")
    assert "full length on 1 of 1 data sets" in inner_loop.shorter_headline(table)
    late = table.assign(plain=[0.5, 0.9], comet=[0.5, 0.8])
    assert "full length on 0 of 1 data sets" in inner_loop.shorter_headline(late)
    words = inner_loop.shorter_in_words(table)
    assert "CoMet has 85.1 % after 15 epochs and plain training 80.1 %." in words
    assert "plain training has 88.1 %, after 5 epochs, where CoMet changes it by 0.0" in words
    assert "stopping there costs 2.0 points, CoMet at full length 0.0." in words
    # The parts are told at full length only, and one length is no comparison.
    assert (inner_loop.parts(rows)["n"] == 3).all()
    assert inner_loop.shorter(rows[rows["epochs"] > 5]).empty


def test_longer_inner_steps_are_held_against_none() -> None:
    base = {**BASE, "category": ["a_b"], "detector": "differnet", "contamination": 0.1}
    found = []
    for config in expand([*inner_loop.grids([base]), *inner_loop.stronger(base)]):
        felt = config.alpha == 10 and config.seed == 1
        found.append({**settings(config), "image_auroc": 0.9 + 0.003 * felt})
    rows = pd.DataFrame(found)
    long = rows["alpha"] >= 1
    assert inner_loop.stronger_in_words(rows[long], rows[~long]) == (
        "DifferNet, CoMet against no inner loop: with α = 1, 0 of 3 runs differ; "
        "with α = 10, 1 of 3 runs differ, by 0.3 points at most."
    )


def test_a_side_that_is_missing_is_told() -> None:
    found = rows()
    with pytest.raises(InputError, match="control"):
        inner_loop.parts(found[found["inner_steps"] > 0])


def test_a_record_grows_and_a_run_is_in_it_once(tmp_path: Path) -> None:
    path, made = tmp_path / "inner_loop.json", {"processor": "P", "torch": "2"}
    about = {"made": "2026-01-02", "machine": made}
    inner_loop.add(rows("a"), path, about)
    inner_loop.add(rows("b"), path, about)
    inner_loop.add(rows("b").assign(image_auroc=lambda one: one["image_auroc"] + 0.1), path, about)
    record = inner_loop.read_record(path)
    table = record["rows"]
    assert len(table) == 2 * len(rows()) and not table.duplicated(inner_loop.COLUMNS).any()
    assert table.groupby("category")["image_auroc"].mean().diff().iloc[1] == pytest.approx(0.1)
    assert inner_loop.described(record) == (
        "measured by the benchmark of 2026-01-02 · P · PyTorch 2 · real images ·"
        " 10 % contamination · 3 seeds"
    )
    inner_loop.add(rows("c").assign(synthetic=True), path, about)
    assert "· real and drawn images ·" in inner_loop.described(inner_loop.read_record(path))
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="make bench-inner-loop"):
        inner_loop.add(rows(), path, about)


def test_the_project_s_record_can_be_told() -> None:
    found = inner_loop.read_record(Path(__file__).parents[1] / "benchmarks" / "inner_loop.json")
    table = inner_loop.parts(found["rows"], ["category", "detector"])
    assert len(inner_loop.in_words(table).splitlines()) == 4
    told = inner_loop.headline(table)
    assert (
        "is settled in 2 of 4 cases (+5.9 to +7.7 points), what its inner loop adds in none" in told
    )
    lengths = inner_loop.shorter(found["rows"])
    assert (lengths["n"] == 8).all() and lengths.notna().all(axis=None)
    assert len(inner_loop.shorter_in_words(lengths).splitlines()) == 2
    assert "full length on 2 of 2 data sets" in inner_loop.shorter_headline(lengths)
