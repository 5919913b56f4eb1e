"""A search through a folder: the dirt comes first, files are whole, the report stands alone."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image as PillowImage

from comet_core import figures_triage, inspection, report_place, triage, triage_report
from comet_core.errors import InputError
from comet_core.estimator import CoMet
from comet_core.inspection import Inspection
from tests.browser.conftest import browser  # noqa: F401
from tests.test_estimator import draw

OPTIONS: dict[str, Any] = {"profile": "smoke", "epochs": 40, "image_size": 96, "seed": 3}
DIRTY = {"shelf 2/18.png", "shelf 2/19.png"}
SHOWN = 6


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images twice as wide as high, two of them with a disc, and two files of no use."""
    folder = tmp_path_factory.mktemp("my photos & <more>")
    for i, image in enumerate(draw(20, 2)):
        place = folder / ("shelf 1" if i < 10 else "shelf 2")
        place.mkdir(exist_ok=True)
        PillowImage.fromarray(image).resize((192, 96)).save(place / f"{i:02}.png")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out") / "report"


@pytest.fixture(scope="module")
def seen(photos: Path, out: Path, tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    cache = tmp_path_factory.mktemp("cache")
    return triage.triage(photos, out, shown=SHOWN, cache=cache, **OPTIONS)


def test_the_dirt_comes_first_with_its_place(seen: Inspection) -> None:
    first = seen.table.head(2)
    assert set(first["path"]) == DIRTY
    assert first["flagged"].all()
    for row in first.itertuples():
        pixels = np.asarray(PillowImage.open(seen.folder / row.path))
        assert pixels[row.peak_y, row.peak_x, 0] > 200, "the map peaks on the disc"
    assert (seen.table["score"].diff()[1:] <= 0).all()
    assert seen.table["rank"].tolist() == list(range(1, 21))
    assert seen.flagged == int((seen.table["score"] > seen.threshold).sum())


def test_what_was_left_out_is_told(seen: Inspection) -> None:
    assert {skip.path.name for skip in seen.skipped} == {"broken.png", "notes.txt"}


def test_the_list_is_what_was_found(seen: Inspection, out: Path) -> None:
    written = pd.read_csv(out / triage.RANKING)
    each = ["simplenet", "differnet"]
    columns = ["rank", "path", "score", "weight", "flagged", *each, "peak_x", "peak_y"]
    assert written.columns.tolist() == columns
    pd.testing.assert_frame_equal(written, seen.table, rtol=1e-5, check_dtype=False)
    assert (written["weight"] < 1).tolist() == written["flagged"].tolist()


def test_the_report_says_which_detector_finds_an_image_odd(seen: Inspection, page: str) -> None:
    """Either, both or none, of those that are shown large."""
    told = re.findall(r'<span class="why">([^<]*)</span>', page)
    words = {(1, 1): "odd in places and as a whole", (1, 0): "odd in places"}
    words |= {(0, 1): "odd as a whole", (0, 0): ""}
    alone = zip(seen.table["simplenet"] > 1, seen.table["differnet"] > 1, strict=True)
    expected = [words[int(a), int(b)] for a, b in alone][:SHOWN]
    assert told[: len(expected)] == expected and expected[0].startswith("odd in places")
    alike = seen.table.rename(columns={"differnet": "memory_bank"})
    twice = replace(seen, second="memory_bank", table=alike)
    assert "in places and" not in triage_report.render(twice, seen.folder.parent / "out")
    one = replace(seen, second=None, table=seen.table.drop(columns=["simplenet", "differnet"]))
    assert '<span class="why"></span>' in triage_report.render(one, seen.folder.parent / "out")
    assert "odd in places" not in triage_report.render(one, seen.folder.parent / "out")


def test_all_files_are_there_and_nothing_else(seen: Inspection, out: Path) -> None:
    names = {triage.REPORT, triage.RANKING, triage.SHEET, triage.CURVE, triage.MAPS}
    assert {path.name for path in out.iterdir()} == names
    maps = sorted((out / triage.MAPS).iterdir())
    assert [path.name for path in maps] == [f"{i:04}.png" for i in range(1, SHOWN + 1)]
    first = PillowImage.open(maps[0])
    assert first.size == (192, 96) and first.mode == "L"
    assert max(first.get_flattened_data() if hasattr(first, "get_flattened_data") else [255]) > 200


def test_the_same_again_gives_the_same_bytes_and_keeps_other_files(
    seen: Inspection, out: Path
) -> None:
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    (out / "reviewed.csv").write_text("mine")
    triage.write(seen, out)
    assert (out / "reviewed.csv").read_text() == "mine"
    (out / "reviewed.csv").unlink()
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_what_a_killed_search_left_is_cleared_by_a_later_one(
    seen: Inspection, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    for name in ("killed", "busy"):
        (out / f".writing-{name}" / "maps").mkdir(parents=True)
    os.utime(out / ".writing-killed", (0, 0))
    triage.write(seen, out)
    assert [path.name for path in out.glob(".*")] == [".writing-busy"]


def test_a_failure_leaves_the_earlier_report_alone(
    seen: Inspection, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def files() -> dict[str, bytes]:
        found = (path for path in out.rglob("*") if path.is_file())
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}

    before = files()

    def fail(*_: Any, **__: Any) -> str:
        raise InputError("the image has gone.")

    monkeypatch.setattr(triage.triage_report, "render", fail)
    with pytest.raises(InputError, match="has gone"):
        triage.write(seen, out)
    assert files() == before


def test_files_of_others_are_never_replaced(seen: Inspection, out: Path, tmp_path: Path) -> None:
    def refused(
        target: Path,
        images: Path = tmp_path / "photos",
        told: str = "no whole report of an earlier search.* move or delete the files",
    ) -> None:
        before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
        with pytest.raises(InputError, match=told):
            triage.triage(images, target)
        assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before

    (tmp_path / "photos").mkdir()
    own = tmp_path / "own"
    (own / "maps").mkdir(parents=True)
    (own / "maps" / "world.txt").write_text("mine")
    refused(own)
    refused(own, own / "maps", "where the report puts its maps")
    (own / "maps" / "world.txt").rename(own / "ranking.csv")
    (own / "maps").rmdir()
    refused(own)
    triage.write(seen, tmp_path / "report")
    (tmp_path / "report" / "maps" / "notes.txt").write_text("mine")
    refused(tmp_path / "report")
    (tmp_path / "report" / "maps" / "notes.txt").unlink()
    (tmp_path / "report" / "maps" / "Thumbs.db").touch()  # the system's, and of no use
    refused(tmp_path / "report", tmp_path / "report" / "maps", "where the report puts its maps")
    (tmp_path / "link").symlink_to(tmp_path / "report")
    refused(tmp_path / "link", tmp_path / "report" / "maps", "where the report puts its maps")
    with pytest.raises(InputError, match="holds no images"):  # it is ours; what fails comes later
        triage.triage(tmp_path / "photos", tmp_path / "report")


def test_a_report_never_lies_among_the_images(tmp_path: Path) -> None:
    images, linked = tmp_path / "photos", tmp_path / "elsewhere"
    images.mkdir()
    (linked / "deeper").mkdir(parents=True)
    (images / "more").symlink_to(linked)
    (linked / "round").symlink_to(images)
    for out in (images, images / "report", linked / "report", linked / "deeper" / "a" / "report"):
        with pytest.raises(InputError, match="would lie among the images"):
            triage.triage(images, out)
    (tmp_path / "report" / "maps" / "deeper").mkdir(parents=True)
    (images / "maps").symlink_to(tmp_path / "report" / "maps" / "deeper")
    with pytest.raises(InputError, match="where the report puts its maps"):
        triage.triage(images, tmp_path / "report")
    assert not (linked / "report").exists() and not (images / "report").exists()


def test_folders_of_one_name_get_reports_of_their_own(
    seen: Inspection, photos: Path, tmp_path: Path
) -> None:
    name, below = photos.name, tmp_path / "reports"
    other = tmp_path / "elsewhere" / name
    other.mkdir(parents=True)
    assert report_place.place_below(below, other) == below / name
    triage.write(seen, below / name)
    assert report_place.place_below(below, photos) == below / name
    assert report_place.place_below(below, other) == below / f"{name}-2"
    (below / f"{name}-2").mkdir()
    (below / f"{name}-2" / "report.html").write_text("mine")
    assert report_place.place_below(below, other) == below / f"{name}-3"


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any, **__: Any) -> Inspection:
        raise AssertionError("the search began")

    monkeypatch.setattr(triage, "inspect_folder", work)
    (tmp_path / "file").touch()
    for out in (Path("/proc/report"), tmp_path / "file" / "report", tmp_path / ("long" * 80)):
        with pytest.raises(InputError, match=f"cannot be written to '{out}'"):
            triage.triage(photos, out)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="a link that leads nowhere"):
        triage.triage(photos, tmp_path / "gone")
    (tmp_path / "report" / "ranking.csv").mkdir(parents=True)
    with pytest.raises(InputError, match=r"ranking\.csv' is a folder"):
        triage.triage(photos, tmp_path / "report")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch, pytest.raises(InputError, match=r"Permission denied\)"):
        patch.setattr(report_place, "TemporaryFile", refuse)
        triage.triage(photos, tmp_path / "a" / "b" / "report")
    with pytest.raises(AssertionError, match="the search began"):
        triage.triage(photos, tmp_path / "a" / "b" / "report")
    assert not (tmp_path / "a").exists(), "what was made goes again"


def test_an_interrupt_leaves_nothing_even_where_compiled_code_hides_it(
    seen: Inspection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def hidden(*_: Any, **__: Any) -> str:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ValueError("Invalid affine transformation matrix") from None
        return ""

    monkeypatch.setattr(triage, "inspect_folder", lambda *_, **__: seen)
    monkeypatch.setattr(triage.triage_report, "render", hidden)
    before = signal.getsignal(signal.SIGINT)
    out = tmp_path / "report"
    assert triage.main([str(seen.folder), "--out", str(out)]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err
    assert not out.exists()
    assert signal.getsignal(signal.SIGINT) is before

    def wrong(*_: Any, **__: Any) -> str:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(triage.triage_report, "render", wrong)
    with pytest.raises(ValueError, match="ours"):
        triage.main([str(seen.folder), "--out", str(out)])


# -- the report ------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Checks that tags close in order, and collects addresses, ids and images."""

    VOID = frozenset({"meta", "img", "input", "path", "circle"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.without_alt = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.addresses += [
            str(found[name]) for name in ("src", "href", "data-file", "srcset") if found.get(name)
        ]
        self.ids += [str(found["id"])] if "id" in found else []
        self.without_alt += tag == "img" and "alt" not in found

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in ("option", "dt", "dd") and self.open[-1] != tag:
            return
        assert self.open.pop() == tag, f"</{tag}> closes nothing"


@pytest.fixture(scope="module")
def page(seen: Inspection, out: Path) -> str:
    return (out / triage.REPORT).read_text(encoding="utf-8")


def test_the_report_asks_nothing_of_anyone(page: str, out: Path, photos: Path) -> None:
    reader = Reader(page)
    assert reader.open == []
    assert reader.without_alt == 0
    assert len(reader.ids) == len(set(reader.ids))
    local = [a for a in reader.addresses if not a.startswith(("data:image/", "#"))]
    assert len(local) == 20 and all(a.startswith("../") for a in local)
    assert not re.search(r"\b(https?|ftp|wss?):|@import|\burl\(|//[a-z0-9.-]+\.[a-z]{2,}/", page)
    assert "default-src 'none'" in page
    assert all(a[1:] in reader.ids for a in reader.addresses if a.startswith("#i"))


def test_the_report_promises_itself_again_only_where_that_holds(page: str) -> None:
    footer = page[page.index("<footer>") : page.index("</footer>")]
    assert "on the same machine, with the same number of threads" in footer
    assert "Another seed moves the order" in footer


def test_names_are_escaped(page: str) -> None:
    assert "& <more>" not in page.replace("&amp; &lt;more&gt;", "")
    assert "<more>" not in page


def test_what_was_left_out_is_counted_above_and_listed_below(page: str) -> None:
    assert '<dt>left out</dt><dd><a href="#left-out">2</a></dd>' in page
    listed = page.split('<details id="left-out">')[1].split("</details>")[0]
    assert listed.count("<li>") == 2 and listed.count("broken.png") == 1


def test_links_lead_to_the_images(page: str, out: Path) -> None:
    addresses = re.findall(r'data-file="([^"]+)"', page)
    assert len(addresses) == 20
    for address in addresses:
        assert (out / unquote(address)).is_file()


def test_links_lead_to_the_images_through_links_of_the_disk(
    seen: Inspection, tmp_path: Path
) -> None:
    deep = tmp_path / "some" / "where" / "deep"
    deep.mkdir(parents=True)
    out = tmp_path / "link" / "report"
    (tmp_path / "link").symlink_to(deep)
    page = triage_report.render(seen, out)
    (deep / "report").mkdir()
    addresses = re.findall(r'data-file="([^"]+)"', page)
    assert len(addresses) == 20
    for address in addresses:  # as a browser does, which is told of no link
        assert Path(os.path.normpath(deep / "report" / unquote(address))).is_file()


def test_names_that_are_no_unicode_are_told_and_linked(tmp_path: Path) -> None:
    folder, out = tmp_path / os.fsdecode(b"shelf \xff"), tmp_path / "report"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    for i, image in enumerate(draw(5, 1, 64)):
        PillowImage.fromarray(image).save(folder / f"{i}.png")
    shutil.copy(folder / "0.png", folder / os.fsdecode(b"stray \xfe.png"))
    small = {"profile": "smoke", "image_size": 64, "cache": tmp_path / "cache"}
    found = triage.triage(folder, out, **small)
    page = (out / triage.REPORT).read_text(encoding="utf-8")
    assert r"Suspicious images in shelf \udcff" in page
    assert r"stray \udcfe.png: name is not valid Unicode" in page
    addresses = re.findall(r'data-file="([^"]+)"', page)
    assert len(addresses) == len(found.table) == 5
    for address in addresses:
        assert (out / os.fsdecode(unquote_to_bytes(address))).is_file()


def test_large_small_and_unpictured(seen: Inspection, out: Path) -> None:
    page = triage_report.render(seen, out)
    assert page.count('class="heat"') == SHOWN
    assert page.count("data:image/jpeg") == 20
    bare = triage_report.render(seen, out, budget=1)
    assert bare.count("data:image/jpeg") == SHOWN
    assert bare.count("not pictured") == 20 - SHOWN
    assert len(bare) < len(page)


def test_the_data_within_are_the_table(page: str, seen: Inspection) -> None:
    inside = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert inside is not None
    told = json.loads(inside[1])
    assert told["columns"] == seen.table.columns.tolist()
    assert [row[1] for row in told["rows"]] == seen.table["path"].tolist()
    scores = told["columns"].index("score")
    assert [row[scores] for row in told["rows"]] == [
        float(f"{score:.6g}") for score in seen.table["score"]
    ]
    assert [type(one) for one in told["rows"][0][:2]] == [int, str]
    tiny = replace(seen, table=seen.table.assign(weight=1.23456789e-12))
    assert "1.23457e-12" in triage_report._json(tiny)
    assert [name.rsplit(" ", 1)[0] for name in told["files"]] == seen.table["path"].tolist()


def test_marks_are_for_a_file_in_a_folder_and_for_no_other(
    seen: Inspection, out: Path, tmp_path: Path
) -> None:
    def told(folder: Path, first: int = 0) -> tuple[str, list[str]]:
        found = replace(seen, folder=folder, table=seen.table[first:], maps=seen.maps[:0])
        page = triage_report.render(found, out)
        inside = re.search(r'id="data">(.*?)</script>', page)
        assert inside is not None and str(folder) not in page
        data = json.loads(inside[1])
        return data["key"], data["files"]

    copied = tmp_path / "copy"
    shutil.copytree(seen.folder, copied)
    key, files = told(copied)
    assert told(copied, 3) == (key, files[3:])
    assert told(seen.folder)[0] != key
    PillowImage.new("RGB", (50, 50)).save(copied / seen.table["path"][1])
    changed = [a != b for a, b in zip(files, told(copied)[1], strict=True)]
    assert changed == [position == 1 for position in range(20)]


def test_all_that_are_flagged_are_shown_large_up_to_a_bound(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def maps(shown: int, **options: Any) -> int:
        options = {"kappa": 0, "maps": shown, "cache": tmp_path, "epochs": 1, **options}
        found = inspection.inspect_folder(photos, profile="smoke", image_size=64, **options)
        assert found.flagged == 5, "above the third quartile"
        return len(found.maps)

    assert [maps(shown) for shown in (2, 5, 8)] == [5, 5, 8]
    monkeypatch.setattr(inspection, "ALL_FLAGGED", 3)
    assert maps(2) == 3


def test_what_is_marked_defective_is_left_out_the_next_time(
    photos: Path, seen: Inspection, tmp_path: Path
) -> None:
    def again(lists: Path | list[Path]) -> Inspection:
        options = {"cache": tmp_path, "epochs": 1, "maps": 0, "image_size": 64}
        return inspection.inspect_folder(photos, without=lists, profile="smoke", **options)

    seen.table.assign(verdict=["defective", "fine", *[""] * 18]).to_csv(tmp_path / "1.csv")
    seen.table.tail(1).assign(verdict="defective").to_csv(tmp_path / "2.csv")
    found = again([tmp_path / "1.csv", tmp_path / "2.csv"])
    gone = {seen.table["path"].iloc[0], seen.table["path"].iloc[-1]}
    assert set(found.table["path"]) == set(seen.table["path"]) - gone
    told = [str(skip) for skip in found.skipped if "1.csv" in skip.reason]
    assert told == [
        f"{photos / seen.table['path'].iloc[0]}: marked defective in '{tmp_path}/1.csv'"
    ]

    (tmp_path / "empty.csv").touch()
    (tmp_path / "unmarked.csv").write_text("path\n")
    (tmp_path / "other.csv").write_text("path,verdict\nelsewhere.png,defective\n")
    for name, problem in (
        ("nowhere.csv", "cannot be read as a list of marks .No such file"),
        ("empty.csv", "cannot be read as a list of marks"),
        ("unmarked.csv", "no columns 'path' and 'verdict'"),
        ("other.csv", "none of the images that are marked defective in .*is in"),
    ):
        with pytest.raises(InputError, match=problem):
            again(tmp_path / name)


def test_a_source_is_told_everywhere(seen: Inspection, out: Path) -> None:
    assert "drawn by a program" in triage_report.render(seen, out, source="drawn by a program")


@pytest.mark.browser
def test_marking_filtering_and_saving_in_a_browser(
    browser: Any,  # noqa: F811
    seen: Inspection,
    out: Path,
    page: str,
    tmp_path: Path,
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, accept_downloads=True)
    tab = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("request", lambda request: asked.append(request.url))
    address = (out / triage.REPORT).as_uri()
    tab.goto(address)
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [address]
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    tab.locator("#i1 [data-verdict=defective]").scroll_into_view_if_needed()
    tab.locator("#i1 [data-verdict=defective]").click()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("f")
    assert tab.locator(".card.current").get_attribute("data-rank") == "3"
    assert tab.locator("#i2 [data-verdict=fine]").get_attribute("aria-pressed") == "true"
    assert "1 defective and 1 fine" in tab.locator("#said").inner_text()

    tab.locator("label", has_text="Flagged").click()
    assert tab.locator(".card:visible").count() == seen.flagged
    tab.locator("label", has_text="Defective").click()
    assert tab.locator(".card:visible").count() == 1
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("d")
    assert "1 defective and 1 fine" in tab.locator("#said").inner_text(), "what is hidden stays"

    def ranks(cards: str = ".card") -> list[int]:
        found = tab.locator(cards).evaluate_all("e => e.map(x => +x.dataset.rank)")
        return [int(one) for one in found]

    tab.locator("label", has_text="All").click()
    for order, ascending in (("trusted", False), ("name", True)):
        tab.select_option("#order", order)
        by = "rank" if order == "trusted" else "path"
        assert ranks() == seen.table.sort_values(by, ascending=ascending)["rank"].tolist()
        assert tab.locator("h2:visible").all_inner_texts() == ["All images"]
    tab.select_option("#order", "suspicious")
    assert ranks(".cards:not(.small) .card") == list(range(1, SHOWN + 1))
    assert ranks(".cards.small .card") == list(range(SHOWN + 1, 21))
    assert tab.locator("h2:visible").all_inner_texts() == ["The most suspicious", "The others"]
    tab.select_option("#order", "trusted")

    tab.locator("#i1 .look").click()
    assert tab.locator("dialog").is_visible()
    assert tab.locator("dialog [data-verdict=defective]").get_attribute("aria-pressed") == "true"
    tab.keyboard.press("Escape")
    assert not tab.locator("dialog").is_visible()
    tab.keyboard.press("m")
    assert tab.locator("#i1 .heat").is_visible()

    with tab.expect_download() as waited:
        tab.locator("#export").click()
    saved = Path(waited.value.path()).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(saved)))
    assert [row["path"] for row in rows] == seen.table["path"].tolist()
    assert [row["verdict"] for row in rows[:3]] == ["defective", "fine", ""]

    tab.reload()
    assert "1 defective and 1 fine" in tab.locator("#said").inner_text(), "marks outlive the page"
    left = seen.table[1:].reset_index(drop=True).assign(rank=range(1, 20))
    again = triage_report.render(replace(seen, table=left, maps=seen.maps[1:]), out)
    (tmp_path / "again.html").write_text(again, encoding="utf-8")
    tab.goto((tmp_path / "again.html").as_uri())
    assert "0 defective and 1 fine" in tab.locator("#said").inner_text(), "a mark is an image's"
    assert tab.locator("#i1").get_attribute("data-marked") == "fine"
    assert complaints == []
    context.close()


# -- figures ---------------------------------------------------------------------------------------


def test_the_contact_sheet_shows_the_first_in_order(seen: Inspection) -> None:
    sheet = figures_triage.contact_sheet(
        seen.table, seen.folder, seen.maps, seen.level, seen.threshold, "a note", count=5
    )
    shown = [axes for axes in sheet.axes if axes.images]
    assert [axes.get_xlabel().split()[0] for axes in shown] == ["1", "2", "3", "4", "5"]
    assert shown[0].images[0].get_array().shape == (96, 192, 3)  # proportions are kept
    colours = [to_hex(axes.spines["left"].get_edgecolor()).upper() for axes in shown]
    marked = [colour == figures_triage.FLAGGED.upper() for colour in colours]
    assert marked == seen.table["flagged"].head(5).tolist()
    line = shown[0].lines[0]
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    row = seen.table.iloc[0]
    assert x.min() < row["peak_x"] < x.max() and y.min() < row["peak_y"] < y.max()
    assert sheet.get_supxlabel() == "a note"


def test_outlines_enclose_what_is_high_and_close_at_the_edge() -> None:
    one = np.zeros((10, 20))
    one[2:5, 3:8] = 1
    (line,) = figures_triage.outlines(one, 0.5)
    assert np.allclose(line[0], line[-1])
    assert np.allclose(line.min(0), [3 / 20, 2 / 10], atol=0.03)
    assert np.allclose(line.max(0), [8 / 20, 5 / 10], atol=0.06)
    one[:, 15:] = 1
    edge = max(figures_triage.outlines(one, 0.5), key=lambda line: line[:, 0].max())
    assert np.allclose(edge[0], edge[-1]) and edge.max() == 1 and edge.min() == 0
    assert figures_triage.outlines(one, 2.0) == []


def test_the_curve_is_the_scores_and_the_cut_is_at_one(seen: Inspection) -> None:
    axes = figures_triage.score_curve(seen.table, seen.threshold, "").axes[0]
    drawn = np.concatenate([points.get_offsets() for points in axes.collections])
    drawn = drawn[np.argsort(drawn[:, 0])]
    np.testing.assert_allclose(drawn[:, 1], seen.table["score"] / seen.threshold)
    assert axes.lines[0].get_ydata()[0] == 1
    assert f"{seen.flagged} flagged" in axes.texts[0].get_text()
    with pytest.raises(InputError, match="logarithmic"):
        figures_triage.score_curve(seen.table.assign(score=0.0), seen.threshold, "")


def test_a_known_truth_is_counted_and_drawn(seen: Inspection) -> None:
    truth = pd.DataFrame({"path": seen.table["path"]})
    truth["truth"] = np.where(truth["path"].isin(DIRTY), "anomalous", "nominal")
    told = inspection.found(seen.table, truth)
    assert (told["k"], told["in_first_k"], told["in_first_more"]) == (2, 2, 2)
    assert told["precision"] == 2 / seen.flagged and told["recall"] == 1
    assert told["average_precision"] == 1
    assert "**2 are among the first 2**" in triage.verdict(seen, truth)
    assert "not known" in triage.verdict(seen, None)
    cleaned = replace(seen, table=seen.table[~seen.table["path"].isin(DIRTY)])
    assert "None of the defective images is left" in triage.verdict(cleaned, truth)
    last = truth.assign(truth=["nominal"] * 19 + ["anomalous"])
    assert inspection.found(seen.table, last)["in_first_more"] == 0

    axes = figures_triage.found_curve(seen.table.merge(truth, on="path"), "").axes[0]
    assert axes.lines[2].get_ydata()[:4].tolist() == [0, 1, 2, 2]
    assert axes.lines[3].get_xdata()[0] == seen.flagged + 0.5
    with pytest.raises(InputError, match="nothing to find"):
        figures_triage.found_curve(seen.table.assign(truth="unknown"), "")


def test_a_survey_searches_what_was_not_searched_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for category in ("cap", "bolt"):
        for split in ("train", "test"):
            place = tmp_path / category / split / "good"
            place.mkdir(parents=True)
            PillowImage.fromarray(draw(1, 0)[0]).save(place / "0.png")
    told = {
        "bolt": {"images": 20, "k": 4, "in_first_k": 1, "in_first_more": 2, "flagged": 3},
        "cap": {"images": 30, "k": 4, "in_first_k": 4, "in_first_more": 4, "flagged": 5},
    }
    for one in told.values():
        one |= {"precision": 0.5, "recall": 0.25}
    asked: list[tuple[str, int, int, str]] = []

    def measured(dataset: Any, defective: int, below: Path, seed: int, second: str) -> Any:
        asked.append((dataset.category, defective, seed, second))
        return told[dataset.category]

    monkeypatch.setattr(triage, "measure", measured)
    whole = triage.survey(tmp_path, 4, tmp_path / "mixtures", 7, second="differnet")
    assert asked == [("bolt", 4, 7, "differnet"), ("cap", 4, 7, "differnet")]
    assert whole["category"].tolist() == ["bolt", "cap"]
    assert whole["in the first k"].tolist() == [1, 4] and whole["flagged"].tolist() == [3, 5]

    asked.clear()
    known = {"cap": told["cap"]}
    part = triage.survey(tmp_path, 4, tmp_path / "mixtures", 7, known, second="differnet")
    assert [one[0] for one in asked] == ["bolt"]
    pd.testing.assert_frame_equal(part, whole)
    level = triage.survey_finding(whole.assign(**{"in the first k": 2}))
    assert level.endswith("in a random order 1 would be. No category is ahead.")
    finding = triage.survey_finding(whole)
    assert "Over 2 categories, 5 of 8 hidden images are among the first k" in finding
    assert "in a random order 1 would" in finding
    assert "The best is cap with 4 of 4, the worst bolt with 1 of 4" in finding


def test_a_preview_is_the_report_in_a_frame(seen: Inspection, out: Path) -> None:
    frame = triage.preview(seen, out, shown=2)
    assert frame.count("\n") == 0 and "```" not in frame
    assert frame.count("class=&quot;heat&quot;") == 2
    assert "The report is in" in triage.summary(seen, out)


# -- the command line ------------------------------------------------------------------------------


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "comet_core.triage", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )


def test_the_command_says_what_it_found_and_where(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMET_CACHE", str(tmp_path / "cache"))
    small = ("--profile", "smoke", "--image-size", "64", "--shown", "3", "--quiet")
    done = command(photos, "--out", tmp_path / "new" / "report", *small)
    assert done.returncode == 0, done.stderr
    assert "of 20 images flagged" in done.stdout and "report.html" in done.stdout
    assert "notes.txt: not an image by its name" in done.stderr
    assert done.stderr.count("broken.png") == 1
    report = tmp_path / "new" / "report"
    flagged = int(pd.read_csv(report / "ranking.csv")["flagged"].sum())
    assert len(list((report / "maps").iterdir())) == max(3, flagged)


def test_a_reader_that_has_seen_enough_is_no_failure(
    seen: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage, "inspect_folder", lambda *_, **__: seen)
    read, written = os.pipe()
    os.close(read)
    with os.fdopen(written, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert triage.main([str(seen.folder), "--out", str(tmp_path / "report")]) == 0
    assert triage_report.is_report(tmp_path / "report" / triage.REPORT)


def test_an_interrupt_of_the_imports_leaves_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(60)\n"
    (tmp_path / "pandas.py").write_text(slow)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = command(tmp_path, "--out", tmp_path / "report")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_help_is_given() -> None:
    done = command("--help")
    assert done.returncode == 0
    assert "--out" in done.stdout and "No labels are needed" in done.stdout


def wrong(folder: Path, out: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert triage.main([str(folder), "--out", str(out), "--profile", "smoke", *words]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1, told
    assert not out.is_dir(), "nothing is written"
    return told[0]


def test_bad_input_ends_in_one_sentence(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, empty, one = tmp_path / "out", tmp_path / "empty", tmp_path / "one"
    empty.mkdir()
    one.mkdir()
    PillowImage.new("RGB", (40, 40)).save(one / "a.png")
    assert wrong(tmp_path / "no", out, capsys).startswith(f"'{tmp_path / 'no'}' does not exist")
    assert "is a file; give the folder that" in wrong(one / "a.png", out, capsys)
    assert "holds no images" in wrong(empty, out, capsys)
    assert "holds 1 image, and" in wrong(one, out, capsys)
    assert "setting 'strategy' = 'best'" in wrong(photos, out, capsys, "--strategy", "best")
    assert "setting 'kappa'" in wrong(photos, out, capsys, "--kappa", "-1")
    assert "shown = 0" in wrong(photos, out, capsys, "--shown", "0")
    assert "cannot be used" in wrong(photos, out, capsys, "--strict")
    assert "would lie among the images" in wrong(photos, photos / "report", capsys)
    taken = tmp_path / "file"
    taken.touch()
    assert "is a file" in wrong(photos, taken, capsys)


def test_unreadable_files_do_not_count(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(b"no")
    for name in ("a", "b"):
        PillowImage.new("RGB", (40, 40)).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match="2 readable images"):
        triage.triage(tmp_path, tmp_path.parent / "elsewhere", **OPTIONS)


def test_a_detector_without_maps_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, image in enumerate(draw(5, 0, 64)):
        PillowImage.fromarray(image).save(tmp_path / f"{i}.png")
    monkeypatch.setattr(CoMet, "fit", lambda *_, **__: pytest.fail("nothing is trained"))
    with pytest.raises(InputError, match="no anomaly map"):
        inspection.inspect_folder(tmp_path, detector="differnet", second=None, profile="smoke")
