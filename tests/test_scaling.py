"""What a run takes: lines by hand, shapes as the features have them, estimates that add up."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from comet_core import evidence, figures_evidence, scaling
from comet_core.config import RunConfig
from comet_core.detectors import make_detector
from comet_core.errors import InputError
from comet_core.features import compute, feature_spec


def drawn(per_image: float, fixed: float = 0.5) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Times on exact lines; an epoch of CoMet takes twice as long."""
    training = [
        ("epoch", name, strategy, count, factor * (fixed + per_image * count), 8.0 * count)
        for name in evidence.DETECTORS
        for strategy, factor in (("plain", 1), ("comet", 2))
        for count in (2, 4, 6)
    ]
    passes = [
        ("features", name, count, fixed + 10 * per_image * count)
        for name in evidence.DETECTORS
        for count in (2, 4, 6)
    ]
    columns = ["stage", "detector", "strategy", "images", "seconds", "megabytes"]
    extraction = pd.DataFrame(passes, columns=["stage", "detector", "images", "seconds"])
    return pd.DataFrame(training, columns=columns), extraction


@pytest.mark.parametrize("detector", evidence.DETECTORS)
def test_made_up_features_have_the_shape_of_real_ones(detector: str) -> None:
    chosen = {"category": "any", "profile": "smoke", "detector": detector}
    config = RunConfig.from_profile(chosen)
    spec = feature_spec(make_detector(detector, config.options), config.backbone, config.image_size)
    pixels = [torch.randint(0, 255, (40, 50, 3), dtype=torch.uint8).numpy()] * 2
    real = {name: (one.shape, one.dtype) for name, one in compute(pixels, spec).items()}
    made = {name: (one.shape, one.dtype) for name, one in scaling.made_up(spec, 2).items()}
    assert made == real


def test_times_are_of_what_was_asked_for() -> None:
    training = scaling.training_times("smoke", sizes=(2, 6), detectors=["simplenet"])
    assert training["strategy"].tolist() == ["plain", "plain", "comet", "comet"]
    assert training["images"].tolist() == [2, 6, 2, 6]
    assert (training["seconds"] > 0).all()
    assert len(set(training["megabytes"] / training["images"])) == 1
    extraction = scaling.extraction_times("smoke", sizes=(1, 3), detectors=["differnet"])
    assert extraction["images"].tolist() == [1, 3] and (extraction["seconds"] > 0).all()


def test_a_line_is_found_and_needs_two_sizes() -> None:
    training, extraction = drawn(0.25)
    found = scaling.lines(training).set_index(["detector", "strategy"])
    assert found.loc[("simplenet", "comet"), "seconds_per_image"] == pytest.approx(0.5)
    assert found.loc[("simplenet", "comet"), "fixed_seconds"] == pytest.approx(1.0)
    assert found["megabytes_per_image"].tolist() == [8.0] * 4
    assert scaling.lines(extraction)["seconds_per_image"].tolist() == pytest.approx([2.5] * 2)
    with pytest.raises(InputError, match="two sizes"):
        scaling.lines(training[training["images"] == 2])


def test_estimates_are_images_times_epochs_times_seeds() -> None:
    table = scaling.estimates(*drawn(0.36), "paper").set_index(["dataset", "detector"])
    row = table.loc[("mvtec_ad", "simplenet")]
    assert row["features"] == pytest.approx((3629 + 1725) / 1000)
    assert row["plain"] == pytest.approx(3629 * 160 * (0.36 + 0.5 / 24) / 3600)
    assert row["comet"] == pytest.approx(2 * row["plain"])
    assert row["tables"] == pytest.approx(5 * 3 * row["plain"])
    assert row["curves"] == pytest.approx(5 * row["plain"] * 6 * (4 + 2 * 2))
    assert row["gigabytes"] == pytest.approx(391 * 8 / 1024)
    assert table.loc[("ksdd2", "differnet"), "plain"] == pytest.approx(
        2331 * 192 * (0.36 + 0.5 / 24) / 3600
    )


def test_estimates_are_told_with_few_digits() -> None:
    text = scaling.readable(scaling.estimates(*drawn(0.36), "paper"))
    assert list(text)[2:] == ["features", "plain", "CoMet", "tables", "curves", "memory"]
    first = text.iloc[0]
    assert (first["data"], first["detector"]) == ("MVTec AD", "SimpleNet")
    assert (first["features"], first["plain"], first["memory"]) == ("5.4", "61", "3.1")


def test_large_estimates_have_two_digits() -> None:
    table = scaling.estimates(*drawn(0.36), "paper").assign(curves=25_963.0)
    assert set(scaling.readable(table)["curves"]) == {"26,000"}


def test_a_line_that_misses_its_points_is_carried_nowhere() -> None:
    training, extraction = drawn(0.36)
    comet = (training["detector"] == "simplenet") & (training["strategy"] == "comet")
    training.loc[comet, "seconds"] = [1.0, 4.0, 1.5]
    assert scaling.lines(training)["off_line"].round(6).tolist()[0] == 0
    text = scaling.readable(scaling.estimates(training, extraction, "paper"))
    text = text.set_index(["data", "detector"])
    row = text.loc[("MVTec AD", "SimpleNet")]
    assert row["plain"] == "61" and (row[["CoMet", "tables", "curves"]] == "–").all()
    assert "–" not in text.loc[("MVTec AD", "DifferNet")].tolist()


def test_a_time_is_the_shortest_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 9.0, 10.0, 12.0])
    monkeypatch.setattr(scaling.time, "process_time", lambda: next(clock))
    assert scaling._timed(lambda: None) == 2.0


def test_the_figure_shows_every_measured_time() -> None:
    training, extraction = drawn(0.25)
    figure = figures_evidence.scaling(training, extraction, "a note")
    features, epoch = figure.axes
    marks = [line for line in epoch.lines if line.get_marker() in ("o", "s")]
    assert sorted(y for line in marks for y in line.get_ydata()) == sorted(training["seconds"])
    assert len([line for line in features.lines if line.get_marker() == "o"]) == 2
    straight = next(line for line in epoch.lines if line.get_marker() == "None")
    assert straight.get_ydata()[0] == pytest.approx(0.5)
