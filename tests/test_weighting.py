"""The laws that weights must keep, whichever the rule, and what each rule does beyond them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import Tensor

from comet_core import weighting
from comet_core.errors import InputError

Rule = Callable[[Tensor], Tensor]

SOFT: dict[str, Rule] = {
    "paper": weighting.paper,
    "sharpened": weighting.sharpened,
    "sharpened, p = 3": lambda scores: weighting.sharpened(scores, power=3),
    "annealed": lambda scores: weighting.annealed(scores, 0.5),
}
HARD: dict[str, Rule] = {
    "rejection": weighting.rejection,
    "readmission": weighting.readmission,
}
THRESHOLDED = SOFT | HARD
ALL = THRESHOLDED | {"mixture": weighting.mixture}

positive = st.floats(0.001, 1000, allow_subnormal=False)
score_arrays = arrays(np.float64, array_shapes(max_dims=2, max_side=12), elements=positive)
every_rule = pytest.mark.parametrize("rule", ALL.values(), ids=ALL.keys())


def dirty(nominal: int = 180, dirt: int = 20, distance: float = 2.0, seed: int = 0) -> Tensor:
    """Lognormal scores, the last few of them `distance` higher in the logarithm."""
    generator = torch.Generator().manual_seed(seed)
    logs = 0.3 * torch.randn(nominal + dirt, generator=generator, dtype=torch.float64)
    logs[nominal:] += distance
    return logs.exp()


@every_rule
@given(row=score_arrays)
def test_weights_lie_in_their_range_and_keep_the_shape(rule: Rule, row: np.ndarray) -> None:
    weights = rule(torch.from_numpy(row))
    assert weights.shape == row.shape
    assert ((weights >= 0) & (weights <= 1)).all()
    assert weights.max() > 0
    if rule not in HARD.values():
        assert (weights > 0).all()
    else:
        assert set(weights.flatten().tolist()) <= {0.0, 1.0}


@every_rule
@given(row=score_arrays)
def test_weights_never_rise_with_the_score(rule: Rule, row: np.ndarray) -> None:
    weights = rule(torch.from_numpy(row)).flatten()
    assert (weights[torch.from_numpy(row).flatten().argsort()].diff() <= 1e-9).all()


@every_rule
@given(row=score_arrays, exponent=st.integers(-6, 6))
def test_weights_do_not_depend_on_the_scale(rule: Rule, row: np.ndarray, exponent: int) -> None:
    # Powers of two scale without rounding, so that no score changes sides at a threshold.
    scores = torch.from_numpy(row)
    assert torch.allclose(rule(scores), rule(scores * 2.0**exponent), atol=1e-6)


@every_rule
@given(row=score_arrays, seed=st.integers(0, 99))
@example(row=np.array([1.0, 13.0] + [4.0] * 47), seed=0)
def test_a_weight_belongs_to_its_sample(rule: Rule, row: np.ndarray, seed: int) -> None:
    scores = torch.from_numpy(row).flatten()
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(rule(scores)[order], rule(scores[order]), atol=1e-6)


@pytest.mark.parametrize("rule", THRESHOLDED.values(), ids=THRESHOLDED.keys())
@given(row=score_arrays)
def test_weights_are_1_up_to_the_threshold(rule: Rule, row: np.ndarray) -> None:
    scores = torch.from_numpy(row)
    t = weighting.threshold(scores)
    assert (rule(scores)[scores <= t] == 1).all()
    assert (rule(scores)[scores > t * (1 + 1e-9)] < 1).all()


@every_rule
@pytest.mark.parametrize(
    "scores", [[3.0], [2.0] * 5, [0.0] * 5, [0.0, 1.0, 1.0, 1.0]], ids=["one", "equal", "0", "a 0"]
)
def test_degenerate_scores_are_trusted(rule: Rule, scores: list[float]) -> None:
    assert torch.equal(rule(torch.tensor(scores)), torch.ones(len(scores)))


@every_rule
@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [1.0, float("inf")], [1.0, -1.0]])
def test_bad_scores_are_refused(rule: Rule, bad: list[float]) -> None:
    with pytest.raises(InputError):
        rule(torch.tensor(bad))


@every_rule
def test_dirt_that_stands_apart_weighs_less(rule: Rule) -> None:
    weights = rule(dirty())
    assert weights[:180].mean() > 0.97
    assert weights[180:].max() < 0.6


def test_the_power_leads_from_the_paper_to_rejection() -> None:
    scores = dirty()
    assert torch.equal(weighting.sharpened(scores, power=1), weighting.paper(scores))
    limit = weighting.sharpened(scores, power=1e6)
    assert torch.allclose(limit, weighting.rejection(scores), atol=1e-6)
    dirt = [weighting.sharpened(scores, power=p)[180:].sum().item() for p in (1, 2, 4, 8)]
    assert sorted(dirt, reverse=True) == dirt


@given(row=score_arrays, influence=st.floats(0.001, 0.5))
def test_the_chosen_power_is_the_smallest_that_suffices(row: np.ndarray, influence: float) -> None:
    scores = torch.from_numpy(row)
    power = weighting.choose_power(scores, influence=influence)

    def share(p: float) -> float:
        weights = weighting.sharpened(scores, power=p)
        return (weights[weighting.paper(scores) < 1].sum() / weights.sum()).item()

    assert share(power) <= influence + 1e-12 or power == max(weighting.POWERS)
    smaller = [p for p in weighting.POWERS if p < power]
    assert all(share(p) > influence - 1e-12 for p in smaller)


def test_clean_scores_keep_the_paper_s_rule_and_dirty_ones_do_not() -> None:
    normal = 10 + dirty(200, 0).log()  # without a tail: one in 140 is beyond t
    assert weighting.choose_power(normal) == 1
    assert weighting.choose_power(dirty()) > 1


def test_annealing_starts_at_the_paper_and_ends_sharp() -> None:
    scores = dirty()
    assert torch.equal(weighting.annealed(scores, 0), weighting.paper(scores))
    assert torch.equal(weighting.annealed(scores, 1), weighting.sharpened(scores))
    dirt = [weighting.annealed(scores, x / 4)[180:].sum().item() for x in range(5)]
    assert sorted(dirt, reverse=True) == dirt


def test_readmission_finds_a_threshold_that_the_dirt_does_not_move() -> None:
    # 30 % of dirt lift Q3 and with it the threshold, so that rejection leaves some of it in.
    scores = dirty(140, 60, distance=1.3)
    once = weighting.readmission(scores)
    assert torch.equal(once, weighting.rejection(scores))
    kept = once
    for _ in range(10):
        kept = weighting.readmission(scores, kept)
    assert kept[140:].sum() < once[140:].sum()
    assert torch.equal(kept, weighting.readmission(scores, kept))  # it has settled
    assert kept[:140].mean() > 0.9


def test_readmission_takes_an_image_back_only_when_it_scores_clearly_better() -> None:
    scores = torch.tensor([1.0, 2, 3, 4, 5, 20])
    kept = weighting.readmission(scores)
    assert kept.tolist() == [1, 1, 1, 1, 1, 0]
    # Of 1..5: Q1 = 2, Q3 = 4; kept up to 7, taken back up to 5.5.
    for value, inside in ((6.5, 0), (5.4, 1)):
        again = torch.tensor([1.0, 2, 3, 4, 5, value])
        assert weighting.readmission(again, kept)[-1] == inside
        assert weighting.readmission(again, torch.ones(6))[-1] == 1
    assert weighting.readmission(torch.tensor([1.0, 2, 3, 4, 5, 6.5]), kept, release=1)[-1] == 1


def test_nothing_kept_stands_for_everything_kept() -> None:
    scores = dirty()
    none = torch.zeros_like(scores)
    assert torch.equal(weighting.readmission(scores, none), weighting.readmission(scores))


@pytest.mark.parametrize("seed", range(5))
def test_the_mixture_degrades_to_trust(seed: int) -> None:
    assert weighting.mixture(dirty(200, 0, seed=seed)).min() == 1


def test_the_mixture_is_a_posterior() -> None:
    # Two components of equal width at 0 and 2 in the logarithm, 9 to 1: at x the odds are
    # 9 exp(-(x^2 - (x - 2)^2) / (2 0.09)), so one half at x = 1 + 0.09 log(9) / 2.
    scores = dirty(1800, 200)
    weights = weighting.mixture(scores)
    even = scores[(weights - 0.5).abs().argmin()].log().item()
    assert even == pytest.approx(1 + 0.09 * np.log(9) / 2, abs=0.15)
    assert weights[1800:].mean() < 0.02


def test_patches_compete_with_all_patches() -> None:
    scores = torch.ones(20, 10) + torch.arange(200).view(20, 10) / 1000
    scores[3, :2] = 30
    for rule in ALL.values():
        weights = rule(scores)
        assert weights[3, :2].max() < 0.1
        assert weights[3, 2:].min() == 1


def test_crossfit_never_scores_what_it_trained_on_and_puts_scores_back() -> None:
    seen = []

    def fit_and_score(train: Tensor, held_out: Tensor) -> Tensor:
        seen.append((set(train.tolist()), set(held_out.tolist())))
        return 1.0 + held_out.double()

    scores = weighting.crossfit(fit_and_score, 11, folds=3, seed=4)
    assert len(seen) == 3
    for train, held_out in seen:
        assert not train & held_out
        assert train | held_out == set(range(11))
    assert set().union(*(held_out for _, held_out in seen)) == set(range(11))
    for _, held_out in seen:
        inside = sorted(held_out)
        middle = torch.tensor([1.0 + i for i in inside]).median().item()
        assert scores[inside].tolist() == pytest.approx([(1.0 + i) / middle for i in inside])


def test_crossfit_removes_the_scale_of_a_fold() -> None:
    truth = dirty(60, 6)
    scales = iter([1.0, 50.0, 0.02])

    def fit_and_score(train: Tensor, held_out: Tensor) -> Tensor:
        return truth[held_out] * next(scales)

    scores = weighting.crossfit(fit_and_score, 66)
    assert scores[60:].min() > scores[:60].max()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: weighting.sharpened(s, power=0),
        lambda s: weighting.sharpened(s, kappa=-1),
        lambda s: weighting.choose_power(s, powers=[]),
        lambda s: weighting.choose_power(s, influence=0),
        lambda s: weighting.readmission(s, torch.ones(3)),
        lambda s: weighting.readmission(s, release=2),
        lambda s: weighting.annealed(s, 1.5),
        lambda s: weighting.annealed(s, 0.5, power=0.5),
        lambda s: weighting.crossfit(lambda a, b: b.float(), 1),
        lambda s: weighting.crossfit(lambda a, b: a.float(), 9),
    ],
)
def test_bad_arguments_are_refused(wrong: Rule) -> None:
    with pytest.raises(InputError):
        wrong(dirty())
