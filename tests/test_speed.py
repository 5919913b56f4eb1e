"""The usual way and ours: the same model, and honest accounts of their time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from comet_core import speed, speed_record
from comet_core.errors import InputError
from comet_core.speed import Case, Timing, compare, measure
from comet_core.speed_record import ratios, scaling

SMALL = {
    "simplenet": {"image_size": 64, "batch_size": 4, "options": {"hidden": 16, "patches": 16}},
    "differnet": {
        "image_size": 64,
        "batch_size": 4,
        "options": {"blocks": 2, "hidden": 16, "scales": 2, "rotations": 2},
    },
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(15)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (70, 64, 3), dtype=np.uint8)).save(path)
    return paths


def cases(images: list[Path], detector: str) -> list[Case]:
    given = (images[:9], images[9:], [0, 0, 0, 1, 1, 1])
    return [
        Case(way, detector, *given, epochs=3, more=2, options=SMALL[detector]) for way in speed.WAYS
    ]


@pytest.mark.parametrize("detector", SMALL)
def test_both_ways_end_in_the_same_model(images: list[Path], detector: str) -> None:
    usual, ours = (measure(case) for case in cases(images, detector))
    assert np.std(ours.scores) > 0
    assert np.allclose(usual.scores, ours.scores, rtol=1e-2)
    assert usual.image_auroc == ours.image_auroc
    assert usual.epochs == 3 and ours.epochs == 5
    assert usual.epoch > ours.epoch and ours.setup > 0 and ours.peak_memory_mb > 0
    again = measure(replace(cases(images, detector)[1], more=0))
    assert again.scores == ours.scores and again.epochs == 3


def test_rows_tell_how_far_the_scores_lie_apart(images: list[Path]) -> None:
    def pretend(case: Case) -> Timing:
        scores = [1.0, 2.0, 3.0 if case.way == "usual" else 3.1]
        return Timing(2.0, 3.0 if case.way == "usual" else 0.1, 1.0, 0.9, scores, 100.0, 1)

    rows = pd.DataFrame(compare(cases(images, "simplenet"), run=pretend))
    assert rows["total_seconds"].tolist() == pytest.approx([2 + 160 * 3 + 1, 2 + 16 + 1])
    assert rows["score_difference"].tolist() == pytest.approx([0, 0.1 / np.std([1, 2, 3])])
    found = ratios(rows).iloc[0]
    assert found["total"] == pytest.approx(483 / 19) and found["epoch"] == pytest.approx(30)
    assert found["memory"] == 1
    assert scaling(rows).empty


def test_a_line_through_the_sizes() -> None:
    n = np.array([100, 200, 400, 800])
    rows = pd.DataFrame({"detector": "simplenet", "way": "ours", "images": n})
    line = scaling(rows.assign(total_seconds=3 + 0.5 * n)).iloc[0]
    assert line["seconds_per_image"] == pytest.approx(0.5)
    assert line["seconds_fixed"] == pytest.approx(3)
    assert line["off_line"] < 1e-9
    assert scaling(rows.assign(total_seconds=n**2.0)).iloc[0]["off_line"] > 0.3


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    import speed as command

    return command


def test_copies_are_different_images(command, images: list[Path], tmp_path: Path) -> None:
    found = command.enough(images, 8 * len(images), tmp_path)
    contents = {Image.open(path).tobytes() for path in found}
    assert len(contents) == len(found) == 8 * len(images)
    with pytest.raises(InputError, match="smaller --sizes"):
        command.enough(images, 8 * len(images) + 1, tmp_path)


def test_the_check_fails_where_we_fell_behind(command, tmp_path: Path) -> None:
    def record(ours: float) -> dict:
        common = {"detector": "simplenet", "images": 100, "epoch_seconds": 1, "peak_memory_mb": 1}
        seconds = {"usual": 100.0, "ours": ours}
        return {"rows": [{**common, "way": w, "total_seconds": s} for w, s in seconds.items()]}

    path = tmp_path / "speed.json"
    path.write_text(json.dumps(record(5.0)))
    assert command.check(record(5.5), path) == 0
    assert command.check(record(10.0), path) == 1


def record_of(usual: float, ours: float) -> pd.DataFrame:
    common = {"detector": "simplenet", "epoch_seconds": 1.0, "peak_memory_mb": 512.0}
    common |= {"image_auroc": 0.9, "score_difference": 1e-5}
    sides = {"usual": usual, "ours": ours}
    return pd.DataFrame(
        {**common, "way": way, "images": n, "total_seconds": seconds * n}
        for n in (100, 200, 400)
        for way, seconds in sides.items()
    )


def test_findings_say_whether_the_aims_are_reached() -> None:
    good, bad = speed_record.findings(record_of(20, 1)), speed_record.findings(record_of(10, 1))
    assert "trains 20 times as fast as in the usual way (aim: 15; reached)" in good
    assert "trains 10 times" in bad and "(aim: 15; missed)" in bad
    assert "(aim: 10 %; reached)" in good
    table = speed_record.overview(record_of(20, 1))
    assert table["ratio"].tolist() == ["20"] * 3
    assert table["ours"].tolist() == ["1.7 min", "3.3 min", "6.7 min"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(2, "2 s"), (2.34, "2.3 s"), (90, "1.5 min"), (36000, "10 h")]
)
def test_clock(seconds: float, text: str) -> None:
    assert speed_record.clock(seconds) == text
