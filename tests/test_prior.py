"""Scores from before the training: who is left out, and by whose judgement."""

from __future__ import annotations

import pytest
import torch

from comet_core import prior
from comet_core.config import RunConfig
from comet_core.detectors import make_detector
from comet_core.features import Features, FeatureSpec
from comet_core.prior import APART, geometric_mean, prior_scores
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


def test_geometric_means_keep_zeros_and_go_place_by_place() -> None:
    found = geometric_mean([torch.tensor([1.0, 0.0, 9.0]), torch.tensor([4.0, 5.0, 9.0])])
    assert found.tolist() == pytest.approx([2.0, 0.0, 9.0])


def test_members_are_trained_as_comet_plus_and_averaged(
    maps: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prior, "MEMBERS", 2)
    own = config()
    plus = own.model_copy(update={"strategy": "comet+", "weighting": None})
    first = prior_scores(maps, plus, lambda spec: pytest.fail("nothing else is needed"))
    each = []
    for member in (1, 2):
        seeded = plus.model_copy(update={"seed": 3 + member * APART})
        training = fit(
            make_detector("simplenet", own.options),
            maps,
            [str(i) for i in range(COUNT)],
            seeded,
            prior=first,
        )
        each.append(training.final.image_scores)
    assert not torch.allclose(*each)
    found = prior_scores(maps, own, lambda spec: pytest.fail("nothing else is needed"))
    assert found is not None
    assert torch.allclose(found, geometric_mean(each).float())
    assert set(found.topk(2).indices.tolist()) == {COUNT - 2, COUNT - 1}


def test_the_strangest_quarter_is_left_out_of_a_detector_without_patches(
    maps: dict[str, torch.Tensor],
) -> None:
    """The maps are extracted for it, at the run's size."""
    run = config("differnet")
    asked: list[FeatureSpec] = []

    def features_of(spec: FeatureSpec) -> Features:
        asked.append(spec)
        return Features(ids=[str(i) for i in range(COUNT)], maps=maps)

    pooled = {"pooled": torch.randn(COUNT, 2, 12)}
    scores = prior_scores(pooled, run, features_of)
    assert [spec.sizes for spec in asked] == [(64,)]
    ids = [str(i) for i in range(COUNT)]
    training = fit(make_detector("differnet", run.options), pooled, ids, run, prior=scores)
    assert training.used.sum() == 12 and not training.used[-2:].any()
