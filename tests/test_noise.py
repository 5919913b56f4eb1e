"""Noise curves: points, losses and gains by hand; the figure and the chooser show those numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from comet_core import figures, figures_evidence, interactive, metrics, noise
from comet_core.errors import InputError
from comet_core.interactive_curves import noise_chooser
from comet_core.results import Store
from tests import fake_evidence
from tests.browser.conftest import browser  # noqa: F401
from tests.test_interactive import open_in

PEERS = pd.concat([fake_evidence.rows(), fake_evidence.peers()])


def leaving(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first protocol."""
    return rows[~rows["overlap"].astype(bool)]


def test_plain_and_comet_count_under_both_protocols() -> None:
    runs = fake_evidence.rows()
    rows = noise.prepared(runs)
    stays = rows[rows["overlap"].astype(bool)]
    assert set(stays["method"]) == {"plain", "comet"}
    asked = runs[runs["strategy"].isin(["plain", "comet"])]
    assert stays["image_auroc"].tolist() == asked["image_auroc_overlap"].tolist()
    assert len(rows) == len(runs) + len(asked)


def test_a_detector_of_its_own_is_beside_all_others() -> None:
    rows = noise.prepared(PEERS)
    own = rows[rows["method"] == "memory_bank"]
    assert set(own["detector"]) == {"simplenet", "differnet"}
    assert len(own) == 2 * len(fake_evidence.peers())


def test_losses_and_gains_are_paired_by_seed() -> None:
    rows = leaving(noise.prepared(fake_evidence.rows()))
    lost = noise.losses(rows).set_index(["dataset", "detector", "method"])
    for method, rate in fake_evidence.LOSS.items():
        found = lost.loc[("mvtec_ad", "simplenet", method)]
        assert found["mean"] == pytest.approx(0.1 * (rate + 0.1))
        assert found["low"] < found["mean"] < found["high"] and found["n"] == 3
    assert noise.losses(rows, 0.04)["mean"].max() == pytest.approx(0.04 * 2.1)
    gained = noise.gains(rows).set_index(["dataset", "detector", "method"])
    assert ("mvtec_ad", "simplenet", "plain") not in gained.index
    assert gained.loc[("ksdd2_clean", "differnet", "comet"), "mean"] == pytest.approx(0.1)
    with pytest.raises(InputError, match="no runs at 0 %"):
        noise.losses(noise.prepared(fake_evidence.rows(levels=[0.1])))


def test_the_table_and_the_lines_tell_the_same() -> None:
    rows = noise.prepared(fake_evidence.rows())
    table = noise.loss_table(rows)
    assert list(table) == ["data", "detector", "method", "lost at 10 %", "gain on plain at 10 %"]
    assert len(table) == 2 * 2 * len(fake_evidence.LOSS)
    stays = noise.loss_table(rows, overlap=True)
    lines = noise.findings(rows).splitlines()
    assert len(lines) == 4
    for line in lines:
        data, detector = re.match(r"- \*\*(.+), (.+)\*\*: at 10 %", line).groups()  # type: ignore[union-attr]
        for method in ("plain", "CoMet"):
            here = (table["data"] == data) & (table["detector"] == detector)
            told = table.loc[here & (table["method"] == method), "lost at 10 %"].item()
            assert f"{method} loses {told}" in line and told not in stays["lost at 10 %"].tolist()
    assert all(
        line.endswith("; CoMet minus plain is +10.0 [+10.0, +10.0] there.") for line in lines
    )


def test_the_fall_under_either_protocol_is_told() -> None:
    rows = noise.prepared(fake_evidence.rows(datasets=["mvtec_ad"]))
    lines = noise.overlap_findings(rows).splitlines()
    assert len(lines) == 2 and all("the fall is steeper where they stay" in one for one in lines)
    assert "plain loses 42.0" in lines[0] and "and 21.0" in lines[0]
    assert all("by 21.0" in one for one in lines)
    flat = rows.assign(image_auroc=0.8 - 0.1 * rows["contamination"])
    assert noise.overlap_findings(flat).count("the falls are the same.") == 2
    open_ = rows["overlap"].astype(bool) & (rows["contamination"] > 0)
    jitter = 0.4 * (rows["seed"] - rows["seed"].mean())
    doubtful = rows.assign(
        image_auroc=(rows["image_auroc"] + jitter).where(open_, rows["image_auroc"])
    )
    told = noise.overlap_findings(doubtful)
    assert told.count("the falls differ by") == 2 and told.count("which is not settled") == 2
    assert "steep" not in told
    assert noise.overlap_findings(rows[~rows["overlap"].astype(bool)]) == ""


def test_a_detector_of_its_own_has_one_row_a_data_set() -> None:
    rows = noise.prepared(pd.concat([fake_evidence.rows(), fake_evidence.peers("softpatch")]))
    table = noise.loss_table(rows)
    own = table[table["method"] == "SoftPatch"]
    assert own["detector"].tolist() == ["–", "–"] and own["data"].is_unique
    assert len(table) == 2 * 2 * len(fake_evidence.LOSS) + 2
    for gain in own.iloc[:, -1]:
        assert gain.count(" on SimpleNet; ") == 1 and gain.endswith(" on DifferNet")
    # In a group the trained detector's own methods come first, the others at the end.
    assert table["data"].tolist() == sorted(table["data"], key=table["data"].tolist().index)


def test_without_plain_or_comet_less_is_said() -> None:
    rows = fake_evidence.rows()
    text = noise.findings(noise.prepared(rows[rows["strategy"] == "soft"]), ["soft"])
    assert "soft loses 16.0" in text and "minus" not in text
    one_seed = noise.findings(noise.prepared(fake_evidence.rows(seeds=[0])))
    assert "plain loses 20.0, CoMet loses 10.0 points" in one_seed


# -- the figures


def line_of(axes: mpl.axes.Axes, method: str) -> mpl.lines.Line2D:
    colour = figures_evidence.look(method)["color"]
    (line,) = [line for line in axes.lines if line.get_color() == colour]
    return line


def test_each_panel_shows_the_means_of_its_own_runs() -> None:
    rows = noise.prepared(PEERS)
    figure = figures_evidence.noise_curves(rows, "a note")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        f"{detector}, {data} stand-in"
        for detector in ("SimpleNet", "DifferNet")
        for data in ("MVTec AD", "KSDD2")
    ]
    points = noise.curves(leaving(rows)).set_index(["dataset", "detector", "method"])
    places = [
        (dataset, detector)
        for detector in ("simplenet", "differnet")
        for dataset in ("mvtec_ad", "ksdd2_clean")
    ]
    for axes, place in zip(figure.axes, places, strict=True):
        for method in (*fake_evidence.LOSS, "memory_bank"):
            expected = points.loc[(*place, method)]
            line = line_of(axes, method)
            np.testing.assert_allclose(line.get_ydata(), expected["mean"])
            np.testing.assert_allclose(line.get_xdata(), 100 * expected["contamination"], atol=0.4)
        low, high = axes.get_ylim()
        trained = points.drop("memory_bank", level="method").xs(place[1], level="detector")
        assert low < trained["mean"].min() and high > points["mean"].max()
        assert low > trained["mean"].min() - 0.1, "the memory bank does not press them together"


def test_bands_reach_from_low_to_high() -> None:
    rows = noise.prepared(fake_evidence.rows(datasets=["mvtec_ad"], detectors=["simplenet"]))
    (axes,) = figures_evidence.noise_curves(rows, "").axes
    points = noise.curves(leaving(rows)).set_index("method").loc["comet"]
    bands = [one for one in axes.collections if isinstance(one, mpl.collections.PolyCollection)]
    assert len(bands) == 2
    corners = bands[1].get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(points["low"].min())
    assert corners[:, 1].max() == pytest.approx(points["high"].max())


def test_both_protocols_are_told_apart_by_their_marks() -> None:
    figure = figures_evidence.overlap_curves(noise.prepared(fake_evidence.rows()), "a note")
    axes = figure.axes[0]
    assert len(axes.lines) == 4
    faces = {mpl.colors.to_hex(line.get_markerfacecolor()) for line in axes.lines[1::2]}
    assert faces == {"#ffffff"}
    assert axes.lines[0].get_ydata()[0] == axes.lines[1].get_ydata()[0], "one clean run for both"
    assert axes.lines[0].get_ydata()[-1] > axes.lines[1].get_ydata()[-1]


def test_figures_stay_on_the_page_and_methods_differ_in_colour_and_mark() -> None:
    for figure in (
        figures_evidence.noise_curves(noise.prepared(PEERS), "a note"),
        figures_evidence.overlap_curves(noise.prepared(fake_evidence.rows()), "a note"),
    ):
        assert figure.get_supxlabel() == "a note"
        assert figure.get_figwidth() == figures.WIDTH
        figure.canvas.draw()
        box = figure.get_tightbbox()
        assert box.x0 > -0.05 and box.x1 < figures.WIDTH + 0.05 and box.y0 > -0.05
    looks = [(one["color"], one["marker"]) for one in figures_evidence.LOOKS.values()]
    assert len({colour for colour, _ in looks}) == len(looks)
    assert figures_evidence.look("something new")["marker"] == "*"
    with pytest.raises(InputError, match="no runs to draw"):
        figures_evidence.noise_curves(noise.prepared(PEERS).iloc[:0], "")


# -- the chooser


@pytest.mark.browser
def test_the_chooser_shows_what_was_chosen_and_pointed_at(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    rows = noise.prepared(fake_evidence.rows())
    page, complaints = open_in(browser, tmp_path, noise_chooser(rows))
    choose = page.locator("select")
    assert page.locator("g[data-method]").count() == 5
    for detector, protocol, level in (("differnet", "leave", 0.06), ("simplenet", "stay", 0.04)):
        choose.nth(0).select_option("ksdd2_clean")
        choose.nth(1).select_option(detector)
        choose.nth(2).select_option(protocol)
        choose.nth(3).select_option("comet")
        assert page.locator("g[data-method]").count() == (5 if protocol == "leave" else 2)
        here = rows[
            (rows["dataset"] == "ksdd2_clean")
            & (rows["detector"] == detector)
            & (rows["method"] == "comet")
            & (rows["overlap"] == (protocol == "stay"))
        ]
        place = sorted(set(here["contamination"])).index(level)
        page.locator("g[data-method=comet] .point").nth(place).hover(force=True)
        said = page.locator("output").inner_text()
        assert f"CoMet at {100 * level:g} %" in said
        at = here[here["contamination"] == level].set_index("seed")["image_auroc"]
        for seed, value in at.items():
            told = re.search(rf"seed {seed}: (\d+\.\d)", said)
            assert told and float(told[1]) == pytest.approx(100 * value, abs=0.051)
        mean = re.search(r"I-AUROC (\d+\.\d) % \[", said)
        assert mean and float(mean[1]) == pytest.approx(100 * at.mean(), abs=0.051)
    page.locator("svg").first.press("ArrowRight")
    assert "CoMet at 6 %" in page.locator("output").inner_text()
    page.locator("svg").first.press("ArrowUp")
    assert "plain at 6 %" in page.locator("output").inner_text()
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def stored(folder: Path) -> pd.DataFrame:
    """Rows whose runs of the first seed are in a store, with test images; two are out of order."""
    rows = noise.prepared(fake_evidence.rows())
    rows = rows[(rows["dataset"] == "mvtec_ad") & (rows["detector"] == "simplenet")]
    rows = rows.assign(hash="0123456789abcdef")
    names = [f"{number}.png" for number in range(6)]
    for name in [*names, "injected.png"]:
        Image.new("RGB", (80, 60), "teal").save(folder / name)
    tests = pd.DataFrame(
        {"id": names, "label": [0, 0, 0, 0, 1, 1], "score": [1.0, 2.0, 3.0, 9.0, 2.5, 10.0]}
    )
    train = pd.DataFrame({"id": ["good.png", "injected.png"], "label": [0, 1], "score": [1.0, 0.5]})
    manifest = pd.DataFrame({"id": ["injected.png"], "origin": ["injected"]})
    store = Store(folder / "runs")
    tables = {"test": tests, "train": train, "manifest": manifest}
    config = {"dataset": "folder", "data_root": str(folder), "category": None}
    store.write("0123456789abcdef", config, {}, tables)
    return rows


def test_images_behind_a_point_are_those_most_out_of_order(tmp_path: Path) -> None:
    rows = stored(tmp_path)
    found = noise.faults(rows, store=Store(tmp_path / "runs"))
    one = found[(found["method"] == "plain") & (found["contamination"] == 0.1)]
    one = one[(one["category"] == one["category"].iloc[0]) & ~one["overlap"].astype(bool)]
    assert set(one["id"]) <= {"2.png", "3.png", "4.png"}, "the others are in order"
    assert set(one["wrong"]) == {0.5}
    whole = noise.faults(rows.head(1), most=9, store=Store(tmp_path / "runs"))
    lacking = whole.loc[whole["label"] == 1, "wrong"].sum() / 2
    auroc = metrics.image_auroc([0, 0, 0, 0, 1, 1], [1, 2, 3, 9, 2.5, 10])
    assert lacking == pytest.approx(1 - auroc)
    assert noise.faults(rows, store=Store(tmp_path / "none")).empty


def test_injected_images_are_behind_a_point_of_overlap_only(tmp_path: Path) -> None:
    rows = stored(tmp_path)
    dirty = rows[(rows["method"] == "plain") & (rows["contamination"] == 0.1)]
    for overlap, auroc in ((False, [2.5, 10]), (True, [2.5, 10, 0.5])):
        one = dirty[dirty["overlap"].astype(bool) == overlap].head(1)
        found = noise.faults(one, most=9, store=Store(tmp_path / "runs"))
        assert ("injected.png" in set(found["id"])) == overlap
        lacking = found.loc[found["label"] == 1, "wrong"].sum() / len(auroc)
        labels = [0] * 4 + [1] * len(auroc)
        assert lacking == pytest.approx(1 - metrics.image_auroc(labels, [1, 2, 3, 9, *auroc]))


@pytest.mark.browser
def test_pointing_at_a_mark_shows_the_images_behind_it(
    browser: Any,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = stored(tmp_path)
    monkeypatch.setenv("COMET_RUNS", str(tmp_path / "runs"))
    page, complaints = open_in(browser, tmp_path, noise_chooser(rows))
    assert "images behind it" in page.locator("output").inner_text()
    assert page.locator(".faults figure").count() == 0
    page.locator("svg").first.press("ArrowRight")
    assert 1 <= page.locator(".faults figure").count() <= 4
    words = page.locator(".faults").inner_text().replace("\N{NO-BREAK SPACE}", " ")
    assert "below 50 % of the good" in words or "above 50 % of the defective" in words
    photo = page.locator(".faults figure div").first
    assert photo.evaluate("d => getComputedStyle(d).backgroundImage").startswith('url("data:image')
    assert complaints == []


@pytest.mark.browser
def test_a_detector_of_its_own_does_not_press_the_others_together(
    browser: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    bank = fake_evidence.peers()
    low = bank.assign(image_auroc=bank["image_auroc"] - 0.3)
    rows = noise.prepared(pd.concat([fake_evidence.rows(), low]))
    page, complaints = open_in(browser, tmp_path, noise_chooser(rows))
    method = page.locator("select").last

    def first_tick() -> float:
        return float(page.locator("svg text[text-anchor='end']").first.text_content() or "nan")

    method.select_option("comet")
    alone = first_tick()
    for one in ("memory_bank", ""):
        method.select_option(one)
        assert first_tick() < alone
    assert complaints == []


def test_the_chooser_loads_nothing_and_has_a_still_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = noise.prepared(fake_evidence.rows())
    text = noise_chooser(rows, "one")
    assert '<div class="turn" id="one" hidden>' in text and "\n\n" not in text
    assert not re.search(r"https?://|\bsrc=|fetch\(|import ", text)
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(interactive, "display", lambda bundle, **_: shown.append(bundle))
    still = figures_evidence.noise_curves(rows, "a note")
    interactive.show_inline(text, "What to see.", "fig-one", rows, still)
    assert '<div class="still"><img src="data:image/svg+xml' in shown[0]["text/html"]
    with pytest.raises(InputError, match="no runs to choose from"):
        noise_chooser(rows.iloc[:0])
