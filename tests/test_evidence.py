"""The evidence grid: complete, shared between notebooks, and open to data of one's own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from comet_core import evidence
from comet_core.datasets.contamination import injected_count
from comet_core.errors import InputError
from comet_core.experiments import expand


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Folders of the embedded data, empty: nothing here opens an image."""
    for name, category in (("mvtec_ad", "a"), ("mvtec_ad", "b"), ("viaduct", "c"), ("ksdd2", "")):
        for split in ("train", "test") if name == "ksdd2" else ("train/good", "test/good"):
            (tmp_path / "synthetic" / name / category / split).mkdir(parents=True)
    monkeypatch.setenv("COMET_DATA", str(tmp_path))
    return tmp_path / "synthetic"


@pytest.mark.parametrize("profile", evidence.EVIDENCE)
def test_every_profile_runs_what_the_paper_compares(embedded: Path, profile: str) -> None:
    curves = expand(evidence.curves(profile))
    assert {c.dataset for c in curves} == {"mvtec_ad", "ksdd2_clean"}
    assert {(c.detector, c.strategy) for c in curves} == {
        (detector, strategy) for detector in evidence.DETECTORS for strategy in evidence.STRATEGIES
    }
    levels = sorted({c.contamination for c in curves})
    assert levels[0] == 0 and levels[-1] == evidence.LEVEL
    if profile != "smoke":
        assert levels == [0, 0.02, 0.04, 0.06, 0.08, 0.1]
    for strategy in evidence.STRATEGIES:
        own = sorted({c.contamination for c in curves if c.strategy == strategy})
        at_ends = profile == "demo" and strategy == "comet+"
        assert own == ([levels[0], levels[-1]] if at_ends else levels)
    pairs = expand(evidence.comparison(profile))
    assert {(c.dataset, c.contamination) for c in pairs} == {
        ("mvtec_ad", 0.1),
        ("viaduct", 0.1),
        ("ksdd2", 0.0),
    }
    assert {c.strategy for c in pairs} == {"plain", "comet"}
    assert len({c.seed for c in pairs}) >= 2


def test_the_grids_share_runs(embedded: Path) -> None:
    """Where curves and comparison ask for the same, they ask for the same run."""
    curves = {c.hash() for c in expand(evidence.curves("demo"))}
    pairs = {c.hash() for c in expand(evidence.comparison("demo"))}
    in_both = evidence.EVIDENCE["demo"].curves["mvtec_ad"]
    assert len(curves & pairs) == len(in_both) * 2 * 2 * len(evidence.EVIDENCE["demo"].seeds)


def test_ones_own_data_have_the_common_layout_and_all_their_categories(embedded: Path) -> None:
    root = str(embedded / "mvtec_ad")
    grids = evidence.curves("demo", data_root=root)
    assert [grid["detector"] for grid in grids] == list(evidence.DETECTORS)
    for grid in grids:
        assert grid["strategy"] == list(evidence.STRATEGIES)
        assert (grid["dataset"], str(grid["data_root"])) == ("mvtec_ad", root)
        assert grid["category"] == ["a", "b"]
    grid, _ = evidence.comparison("demo", data_root=root, categories=["b"], contamination=0.05)
    assert grid["category"] == ["b"] and grid["contamination"] == 0.05


def test_several_data_sets_lie_side_by_side(embedded: Path) -> None:
    grids = evidence.curves("demo", datasets=["viaduct", "ksdd2_clean"], data_root=str(embedded))
    grids = grids[:: len(evidence.DETECTORS)]
    assert [Path(grid["data_root"]).name for grid in grids] == ["viaduct", "ksdd2"]
    assert [grid["category"] for grid in grids] == [["c"], ["ksdd2"]]


def test_only_embedded_data_are_cut_short(embedded: Path) -> None:
    for grid in (evidence.curves, evidence.comparison):
        assert {c.train_limit for c in expand(grid("demo"))} == {64}
        root = str(embedded / "mvtec_ad")
        own = expand(grid("demo", data_root=root, categories=["a"]))
        assert {c.train_limit for c in own} == {None}


@pytest.mark.parametrize("detector", evidence.DETECTORS)
def test_contamination_does_not_lengthen_the_training(embedded: Path, detector: str) -> None:
    """More steps an epoch at a higher level would hide a part of what the anomalies cost."""
    runs = [run for run in expand(evidence.curves("demo")) if run.detector == detector]
    steps = {
        round(count / run.batch_size)
        for run in runs
        for limit in [run.train_limit or 0]
        for count in [limit, limit + injected_count(run.contamination, limit)]
    }
    assert len(steps) == 1


def test_what_is_not_there_is_named(embedded: Path) -> None:
    with pytest.raises(InputError, match="unknown profile 'huge'"):
        evidence.curves("huge")
    with pytest.raises(InputError, match="mvtec_da"):
        evidence.curves("demo", datasets=["mvtec_da"])


def test_peers_are_run_once_at_the_ends_or_as_asked_for(
    embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "KNOWN_DETECTORS", ["simplenet", "differnet"])
    assert evidence.peers("demo") == []
    monkeypatch.setattr(evidence, "KNOWN_DETECTORS", ["simplenet", "memory_bank"])
    grids = evidence.peers("demo", seeds=[0])
    assert [(grid["dataset"], grid["detector"]) for grid in grids] == [
        ("mvtec_ad", "memory_bank"),
        ("ksdd2_clean", "memory_bank"),
    ]
    assert all(grid["strategy"] == ["plain"] for grid in grids)
    assert all(grid["contamination"] == [0.0, 0.1] for grid in grids)
    asked = evidence.peers("demo", levels=[0.0, 0.02, 0.05])
    assert all(grid["contamination"] == [0.0, 0.02, 0.05] for grid in asked)
    own = evidence.peers("demo", data_root=str(embedded / "mvtec_ad"))
    assert all(len(grid["contamination"]) == 6 for grid in own)


def test_a_method_is_a_strategy_or_a_detector_of_its_own() -> None:
    rows = pd.DataFrame({"detector": ["simplenet", "memory_bank"], "strategy": ["soft", "plain"]})
    assert evidence.with_methods(rows)["method"].tolist() == ["soft", "memory_bank"]
