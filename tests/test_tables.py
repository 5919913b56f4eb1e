"""Tables: the paper's numbers apart from ours, differences by hand, and whole files."""

from __future__ import annotations

import base64
import io
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from comet_core import figures_evidence, table_files, tables
from comet_core.errors import InputError
from comet_core.statistics import mean_interval

DATA = {"mvtec_ad": ("one", "two"), "ksdd2": ("ksdd2",)}


@pytest.fixture
def rows() -> pd.DataFrame:
    """Runs whose metrics are drawn, but CoMet's I-AUROC, which is plain's and a little more."""
    rng = np.random.default_rng(0)
    found = []
    for dataset, detector, seed in itertools.product(DATA, ("simplenet", "differnet"), range(3)):
        for category in DATA[dataset]:
            start = rng.uniform(0.6, 0.8)
            for strategy in ("plain", "comet"):
                row = {column: rng.uniform(0.5, 1) for column in tables.COLUMNS.values()}
                gain = 0.1 + 0.01 * seed if strategy == "comet" else 0
                row |= {"image_auroc": start + gain, "synthetic": True}
                row |= {"contamination": 0.1 if dataset == "mvtec_ad" else 0.0}
                row |= {"dataset": dataset, "category": category, "detector": detector}
                found.append({**row, "seed": seed, "strategy": strategy})
    return pd.DataFrame(found)


def test_the_papers_numbers_are_all_there() -> None:
    table = tables.reported()
    keys = ["dataset", "detector", "strategy", "metric"]
    grid = itertools.product(
        ("mvtec_ad", "viaduct", "ksdd2"),
        ("differnet", "simplenet"),
        ("plain", "comet"),
        tables.COLUMNS,
    )
    assert sorted(table[keys].itertuples(index=False, name=None)) == sorted(grid)
    assert table["value"].between(0.7, 1).all() and table["source"].str.contains("poster").all()

    def value(*key: str) -> float:
        return table.set_index(keys)["value"].loc[key]

    assert value("mvtec_ad", "differnet", "plain", "image_auroc") == 0.949
    assert value("viaduct", "differnet", "comet", "recall") == 0.908
    assert value("ksdd2", "simplenet", "comet", "f1") == 0.812


def test_reported_and_measured_stand_side_by_side_and_never_mix(rows: pd.DataFrame) -> None:
    table = tables.beside(rows)
    assert len(table) == 4
    first = table.iloc[0]
    assert (first["data"], first["detector"]) == ("MVTec AD stand-in", "simplenet")
    assert (first["reported_plain"], first["reported_comet"]) == (0.996, 0.997)
    assert first["reported_difference"] == pytest.approx(0.001)
    of = rows[(rows["dataset"] == "mvtec_ad") & (rows["detector"] == "simplenet")]
    plain = of[of["strategy"] == "plain"].groupby("seed")["image_auroc"].mean()
    expected = mean_interval(plain)
    found = first[["measured_plain", "measured_plain_low", "measured_plain_high"]].tolist()
    np.testing.assert_allclose(found, expected[:3], atol=1e-6)
    assert table["measured_difference"].tolist() == pytest.approx([0.11] * 4)
    assert (table["measured_difference_low"] < 0.11).all()
    assert (first["seeds"], first["categories"], first["pairs"]) == (3, 2, 6)


def test_changing_our_runs_leaves_what_is_reported(rows: pd.DataFrame) -> None:
    columns = [name for name in tables.beside(rows) if name.startswith("reported")]
    worse = rows.assign(image_auroc=rows["image_auroc"] / 2)
    pd.testing.assert_frame_equal(tables.beside(rows)[columns], tables.beside(worse)[columns])


def test_a_folder_that_shares_a_layout_is_not_set_beside_the_paper(rows: pd.DataFrame) -> None:
    mine = tables.beside(rows.assign(synthetic=False))
    assert mine["data"].tolist() == ["layout of MVTec AD"] * 2 + ["KSDD2"] * 2
    assert mine["reported_plain"].isna().tolist() == [True, True, False, False]
    assert tables.readable(mine)[tables.REPORTED, "plain"].tolist()[:2] == ["–", "–"]
    real = rows[rows["dataset"] == "mvtec_ad"].replace({"one": "bottle", "two": "screw"})
    assert tables.beside(real.assign(synthetic=False))["data"].unique().tolist() == ["MVTec AD"]


def test_text_is_in_percent_with_signs_and_intervals(rows: pd.DataFrame) -> None:
    text = tables.readable(tables.beside(rows, tables.DETECTION))
    assert text["", "metric"].tolist()[:3] == ["precision", "recall", "F1"]
    assert text[tables.REPORTED, "plain"].tolist()[:3] == ["98.1", "98.9", "98.5"]
    assert text[tables.REPORTED, "difference"].tolist()[:2] == ["−0.3", "+0.9"]
    number = r"[+−]?\d+\.\d"
    for name in ("plain", "CoMet", "difference"):
        for cell in text[tables.MEASURED, name]:
            assert re.fullmatch(rf"{number} \[{number}, {number}\]", cell)
    assert list(tables.flat(text))[3:5] == ["reported: plain", "reported: CoMet"]


def test_the_finding_counts_what_is_settled(rows: pd.DataFrame) -> None:
    assert tables.finding(tables.beside(rows)) == (
        "- **I-AUROC**: CoMet is ahead in 4 of 4 rows, and the interval leaves out zero in 4 of"
        " them; it is behind in 0, with zero left out in 0."
    )


def test_files_hold_the_table(rows: pd.DataFrame) -> None:
    table = tables.beside(rows)
    found = table_files.files(table, "auroc", "Means & intervals at 10 %")
    assert list(found) == ["auroc.csv", "auroc.tex", "auroc.html"]
    back = pd.read_csv(io.BytesIO(found["auroc.csv"]))
    pd.testing.assert_frame_equal(back, table, check_dtype=False)
    latex = found["auroc.tex"].decode()
    assert r"\toprule" in latex and r"\caption{Means \& intervals at 10 \%}" in latex
    assert latex.count(r"\\") == 2 + len(table) and "−" not in latex
    page = found["auroc.html"].decode()
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    assert cells == tables.readable(table).to_numpy().ravel().tolist()
    assert "Means &amp; intervals" in page


def test_export_leaves_whole_files_and_nothing_else(rows: pd.DataFrame, tmp_path: Path) -> None:
    table = tables.beside(rows)
    folder = tmp_path / "new" / "tables"
    paths = table_files.export(table, folder, "auroc", "Caption")
    again = table_files.export(table, folder, "auroc", "Caption")
    assert paths == again == [folder / f"auroc.{end}" for end in ("csv", "tex", "html")]
    assert sorted(folder.iterdir()) == sorted(paths)
    expected = table_files.files(table, "auroc", "Caption")
    assert all(path.read_bytes() == expected[path.name] for path in paths)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="name another folder"):
        table_files.export(table, tmp_path / "file", "auroc", "Caption")


def test_files_are_offered_in_the_page_and_written_where_wanted(
    rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(table_files, "display", lambda bundle, **_: shown.append(bundle))
    table = tables.beside(rows)
    table_files.offer(table, "auroc", "Caption")
    assert list(tmp_path.iterdir()) == []
    table_files.offer(table, "auroc", "Caption", str(tmp_path))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".html", ".tex"]
    assert shown[0] == shown[1]
    content = shown[0]["text/html"]
    assert content == table_files.links(table_files.files(table, "auroc", "Caption"))
    assert shown[0]["text/markdown"] == f"```{{raw}} html\n{content}\n```"


def test_differences_are_drawn_where_they_are(rows: pd.DataFrame) -> None:
    table = tables.beside(rows, tuple(tables.COLUMNS))
    figure = figures_evidence.differences(table, "a note")
    assert figure.get_supxlabel() == "a note"
    drawn = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in drawn] == [
        "SimpleNet, MVTec AD stand-in",
        "DifferNet, MVTec AD stand-in",
        "SimpleNet, KSDD2 stand-in",
        "DifferNet, KSDD2 stand-in",
    ]
    groups = table.groupby(["data", "detector"], sort=False)
    for axes, (_, part) in zip(drawn, groups, strict=True):
        for mark, column in (("o", "measured"), ("D", "reported")):
            found = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == mark]
            np.testing.assert_allclose(found, 100 * part[f"{column}_difference"])
    assert [text.get_text() for text in drawn[0].get_yticklabels()] == [
        "I-AUROC",
        "precision",
        "recall",
        "F1",
    ]
    low, high = drawn[0].get_xlim()
    assert low == -high and high > 17, "the paper's largest difference is inside"
    alone = tables.beside(rows[rows["seed"] == 0].assign(synthetic=False))
    figures_evidence.differences(alone, "one seed, and nothing reported for one data set")


def test_links_carry_the_files_themselves() -> None:
    text = table_files.links({"a.csv": b"x,y\n1,2\n", "a.tex": "±".encode()})
    found = re.findall(r'download="([^"]+)" href="data:[^;]+;charset=utf-8;base64,([^"]+)"', text)
    assert {name: base64.b64decode(data) for name, data in found} == {
        "a.csv": b"x,y\n1,2\n",
        "a.tex": "±".encode(),
    }


def test_what_cannot_be_told_is_refused(rows: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="unknown metric 'auroc'; there are image_auroc"):
        tables.beside(rows, ["auroc"])
    mixed = pd.concat([rows, rows.assign(contamination=0.05)])
    with pytest.raises(InputError, match="give those of one level"):
        tables.beside(mixed)


def test_a_share_of_next_to_nothing_has_no_sign() -> None:
    given = [0.789, -0.003, -0.27, float("nan")]
    assert [tables.whole_percent(one) for one in given] == ["79 %", "0 %", "−27 %", "–"]
