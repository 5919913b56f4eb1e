"""Scores from before the training: who is left out, and by whose judgement."""

from __future__ import annotations

import pytest
import torch

from comet_core import prior
from comet_core.config import RunConfig
from comet_core.detectors import make_detector
from comet_core.ensembles import combined, geometric_mean, scale_of
from comet_core.features import Features, FeatureSpec
from comet_core.prior import APART, prior_scores
from comet_core.training import fit

COUNT = 16


@pytest.fixture(scope="module")
def maps() -> dict[str, torch.Tensor]:
    """Patches of sixteen images, of which the last two are strange in a corner."""
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(COUNT, 6, 8, 8, generator=generator)
    found[-2:, :, :4, :4] += 4
    return {"stride8": found, "stride16": found[:, :, ::2, ::2]}


def config(detector: str = "simplenet", **changes: object) -> RunConfig:
    values = {"detector": detector, "category": "", "profile": "smoke", "image_size": 64}
    values |= {"strategy": "soft", "weighting": "trimmed", "seed": 3}
    return RunConfig.from_profile({**values, **changes})


@pytest.fixture(scope="module")
def pooled() -> dict[str, torch.Tensor]:
    """Views of the same images, of which the last two and the first are strange altogether."""
    found = torch.randn(COUNT, 2, 12, generator=torch.Generator().manual_seed(1))
    found[[0, -2, -1]] += 5
    return {"pooled": found}


def test_both_detectors_judge_as_comet_plus_and_count_alike(
    maps: dict[str, torch.Tensor],
    pooled: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prior, "MEMBERS", {"simplenet": 2, "differnet": 1})
    own = config()
    plus = own.model_copy(update={"strategy": "comet+", "weighting": None})
    first = prior_scores(maps, plus, lambda spec: pytest.fail("nothing else is needed"))
    ids = [str(i) for i in range(COUNT)]

    def scores(config: RunConfig, maps: dict[str, torch.Tensor], member: int) -> torch.Tensor:
        seeded = config.model_copy(update={"seed": 3 + member * APART})
        detector = make_detector(config.detector, config.options)
        return fit(detector, maps, ids, seeded, prior=first).final.image_scores

    patches = [scores(plus, maps, member) for member in (1, 2)]
    assert not torch.allclose(*patches)
    # The other detector has the settings of the profile demo, and the run's own size and seed.
    other = {"detector": "differnet", "category": "", "image_size": 64, "strategy": "comet+"}
    whole = scores(RunConfig.from_profile({**other, "seed": 3}), pooled, 1)
    asked: list[FeatureSpec] = []

    def features_of(spec: FeatureSpec) -> Features:
        asked.append(spec)
        return Features(ids=ids, maps=pooled)

    found = prior_scores(maps, own, features_of)
    assert found is not None and [spec.pool for spec in asked] == [True]
    both = [geometric_mean(patches), whole]
    assert torch.allclose(found, combined(both, [scale_of(one) for one in both]).float())
    assert set(found.topk(2).indices.tolist()) == {COUNT - 2, COUNT - 1}
    assert whole[0] > whole.quantile(0.75)  # it has a say, and is no more than half of it


def test_the_strangest_quarter_is_left_out_of_a_detector_without_patches(
    maps: dict[str, torch.Tensor], pooled: dict[str, torch.Tensor]
) -> None:
    """The maps are extracted for it, at the run's size."""
    run = config("differnet")
    asked: list[FeatureSpec] = []

    def features_of(spec: FeatureSpec) -> Features:
        asked.append(spec)
        return Features(ids=[str(i) for i in range(COUNT)], maps=maps)

    scores = prior_scores(pooled, run, features_of)
    assert {spec.sizes for spec in asked} == {(64,)} and not any(spec.pool for spec in asked)
    ids = [str(i) for i in range(COUNT)]
    training = fit(make_detector("differnet", run.options), pooled, ids, run, prior=scores)
    assert training.used.sum() == 12 and not training.used[-2:].any()
