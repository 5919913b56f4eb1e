"""Memory banks: the coreset, the local outlier factor, and what they do to dirty training sets."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import LocalOutlierFactor

from comet_core.config import UNTRAINED, RunConfig, TrainingSettings
from comet_core.detectors import DETECTORS, make_detector, memory_bank
from comet_core.detectors.memory_bank import greedy_coreset, local_outlier_factor
from comet_core.errors import InputError
from comet_core.estimator import CoMet
from comet_core.products import Apart
from comet_core.training import fit

IMAGES = 12


def patches_of(dirty: int = 0, count: int = IMAGES, seed: int = 0) -> torch.Tensor:
    """Samples (N, 9, 4) around a centre for each place; the last images have one odd patch."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(9, 4, generator=torch.Generator().manual_seed(99))
    samples = centres + 0.1 * torch.randn(count, 9, 4, generator=g)
    samples[count - dirty :, 4] += 3
    return samples


def filled(name: str, samples: torch.Tensor, **options: object):
    detector = make_detector(name, {"share": 1.0, **options})
    torch.manual_seed(0)
    detector.set_input(torch.zeros(4), torch.ones(4))
    detector.calibrate(samples)
    return detector


def test_the_untrained_are_those_without_parameters() -> None:
    for name in DETECTORS:
        detector = make_detector(name)
        detector.set_input(torch.zeros(4), torch.ones(4))
        assert (name in UNTRAINED) == (not list(detector.parameters()))


def test_a_coreset_spreads_and_holds_no_point_twice() -> None:
    line = torch.arange(100.0)[:, None]
    chosen = greedy_coreset(line, 5, torch.Generator().manual_seed(0))
    assert {0, 99} <= set(chosen.tolist())
    assert (line - chosen).abs().min(1).values.max() <= 25


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 5), st.sampled_from([1, 3, 1024]))
def test_the_coreset_is_the_greedy_one(points: int, count: int, seed: int, pool: int) -> None:
    x = torch.randn(points, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory_bank, "POOL", pool)
        chosen = greedy_coreset(x, count, torch.Generator().manual_seed(seed)).tolist()
    assert len(chosen) == len(set(chosen)) == min(points, count)
    distances = torch.cdist(x, x)
    for i in range(1, len(chosen) if count < points else 0):
        nearest = distances[:, chosen[:i]].min(1).values
        assert nearest[chosen[i]] >= nearest.max() - 1e-6


def test_equal_points_are_chosen_once_each() -> None:
    chosen = greedy_coreset(torch.zeros(50, 3), 20, torch.Generator().manual_seed(0))
    assert len(set(chosen.tolist())) == 20


@pytest.mark.parametrize("dtype", [torch.float, torch.double])
def test_squared_distances_are_those_of_pairs(dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    rows, points = (torch.randn(n, 20, generator=g, dtype=dtype) for n in (7, 11))
    found = Apart(points)(rows) + rows.square().sum(1, keepdim=True)
    assert found.dtype == dtype
    assert torch.allclose(found, torch.cdist(rows, points).square(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("neighbours", [1, 6, 100])
def test_the_local_outlier_factor_is_scikit_learns(neighbours: int) -> None:
    sets = torch.randn(3, 20, 5, generator=torch.Generator().manual_seed(1))
    sets[:, 0] += 4
    found = local_outlier_factor(sets, neighbours)
    for points, factors in zip(sets, found, strict=True):
        theirs = LocalOutlierFactor(min(neighbours, 19)).fit(points.numpy())
        assert np.allclose(factors, -theirs.negative_outlier_factor_, rtol=1e-3)
    if neighbours == 6:
        assert (found[:, 0] > 1.2).all()


def test_factors_of_few_or_equal_points_are_finite() -> None:
    assert torch.equal(local_outlier_factor(torch.randn(2, 2, 3), 6), torch.ones(2, 2))
    assert torch.allclose(local_outlier_factor(torch.zeros(1, 9, 3), 6), torch.ones(1, 9))


def test_scores_are_distances_to_the_nearest_patch() -> None:
    samples, new = patches_of(), patches_of(seed=1, count=3)
    bank = filled("memory_bank", samples)
    assert len(bank.bank) == samples[..., 0].numel()
    expected = torch.cdist(new.flatten(0, 1), samples.flatten(0, 1)).min(1).values.view(3, 9)
    assert torch.allclose(bank.scores(new), expected, atol=1e-3)
    assert torch.equal(bank.image_scores(bank.scores(new)), bank.scores(new).amax(1))
    assert bank.scores(samples).max() < 1e-2  # each patch is its own nearest


@pytest.mark.parametrize("name", UNTRAINED)
def test_training_images_are_not_compared_with_themselves(name: str) -> None:
    samples = patches_of(dirty=1)
    bank = filled(name, samples)
    scores = bank.image_scores(bank.training_scores(samples))
    assert scores.argmax() == IMAGES - 1
    assert scores[-1] > 2 * scores[:-1].max()
    assert (scores > 0.05).all()


def test_one_image_can_only_be_compared_with_itself() -> None:
    samples = patches_of(count=1)
    assert filled("memory_bank", samples).training_scores(samples).isfinite().all()


def test_softpatch_forgets_repeated_dirt_and_the_plain_bank_does_not() -> None:
    samples, anomalous = patches_of(dirty=1), patches_of(dirty=3, seed=1, count=3)
    plain, robust = (filled(name, samples).scores(anomalous)[:, 4] for name in UNTRAINED)
    assert plain.max() < 1  # a defect like the one that is remembered looks nominal
    assert robust.min() > 3 * plain.max()


def test_a_doubtful_neighbour_reassures_less() -> None:
    samples = patches_of(dirty=1)
    bank = filled("softpatch", samples, removed=0.0)
    assert len(bank.bank) == samples[..., 0].numel()
    odd = (bank.bank - samples[-1, 4]).abs().sum(1).argmin()
    assert bank.weight[odd] == bank.weight.max() > 2
    assert bank.weight.median() < 1.2


@pytest.mark.parametrize("name", UNTRAINED)
def test_a_fit_needs_no_epochs_and_follows_the_seed(name: str) -> None:
    g = torch.Generator().manual_seed(0)
    maps = {"stride8": torch.randn(6, 3, 4, 4, generator=g).half()}

    def trained(seed: int):
        detector = make_detector(name, {"candidates": 12, "share": 0.5})
        settings = TrainingSettings(strategy="plain", seed=seed)
        return detector, fit(detector, maps, [str(i) for i in range(6)], settings)

    (one, training), (two, _), (other, _) = trained(0), trained(0), trained(1)
    assert torch.equal(one.bank, two.bank)
    assert not torch.equal(one.bank, other.bank)
    assert len(one.bank) == 6
    assert len(training.history) == 1 and training.final.image_scores.shape == (6,)


def test_strategies_do_not_apply() -> None:
    with pytest.raises(InputError, match="'memory_bank' is not trained, so strategy 'comet'"):
        RunConfig.from_profile({"category": "x", "detector": "memory_bank"})
    plain = {"category": "x", "detector": "softpatch", "strategy": "plain"}
    one, two = (RunConfig.from_profile({**plain, "epochs": epochs}) for epochs in (1, 2))
    assert one.hash() == two.hash()
    bank = filled("memory_bank", patches_of())
    with pytest.raises(InputError, match="not trained"):
        bank.losses(patches_of(), None)


@pytest.mark.parametrize("name", UNTRAINED)
def test_a_saved_bank_scores_as_before(name: str, tmp_path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(4)]
    model = CoMet(name, "plain", image_size=64, options={"candidates": 40}).fit(images)
    again = CoMet.load(model.save(tmp_path / "model"))
    assert np.array_equal(model.score(images[:2]), again.score(images[:2]))
    assert model.anomaly_map(images[:1]).shape == (1, 64, 64)
