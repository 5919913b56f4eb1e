"""The rules of the weights: each does what its name says, from the scores it is told to read."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comet_core import weighting
from comet_core.config import PRIOR, TrainingSettings, Weighting
from comet_core.errors import InputError
from comet_core.rules import CORE, first_weights, next_weights, settled

RULES: tuple[Weighting, ...] = get_args(Weighting)
SCORES = torch.tensor([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 3.0, 9.0])


def prior_of(rule: Weighting, scores: torch.Tensor = SCORES) -> torch.Tensor:
    return torch.stack([scores, scores]) if rule == "contrast" else scores


def settings(rule: Weighting, **changes: object) -> TrainingSettings:
    return TrainingSettings.checked({"strategy": "soft", "weighting": rule, **changes})


@pytest.mark.parametrize("rule", RULES)
def test_the_warm_up_has_weights_of_one_unless_something_is_known(rule: Weighting) -> None:
    first = first_weights(9, prior_of(rule), settings(rule))
    assert first[:7].eq(1).sum() >= 6
    assert bool((first == 1).all()) == (rule not in PRIOR)
    if rule in PRIOR:
        assert first[8] == 0


@pytest.mark.parametrize("rule", ["core", "trimmed"])
def test_three_quarters_are_kept(rule: Weighting) -> None:
    scores = torch.rand(100)
    kept = first_weights(100, scores, settings(rule))
    assert kept.sum() == 100 * CORE
    assert scores[kept > 0].max() < scores[kept == 0].min()


def test_what_is_far_out_by_the_second_scores_goes_as_well() -> None:
    low = torch.linspace(1, 2, 40)
    high = low.flip(0).clone()
    high[3], high[20] = 5.0, 50.0  # Quartiles 1.25 and 1.75: the fences are at 2.9 and 4.8.
    low[39] = 9.0
    kept = first_weights(40, torch.stack([low, high]), settings("contrast"))
    assert (kept == 0).nonzero().flatten().tolist() == [3, 20, 39]
    high[3] = 4.0
    kept = first_weights(40, torch.stack([low, high]), settings("contrast"))
    assert (kept == 0).nonzero().flatten().tolist() == [20, 39]


def test_the_second_scores_never_take_the_majority() -> None:
    low = torch.linspace(1, 2, 40)
    kept = first_weights(40, torch.stack([low, low.flip(0)]), settings("contrast", kappa=0.0))
    assert torch.equal(kept, settled(low, kappa=0.0))
    assert 20 <= kept.sum() < 40


@pytest.mark.parametrize("rule", PRIOR)
@pytest.mark.parametrize("prior", [None, torch.ones(3)])
def test_a_rule_that_needs_prior_scores_says_so(rule: Weighting, prior: torch.Tensor) -> None:
    with pytest.raises(InputError, match=f"weighting '{rule}' needs one score"):
        first_weights(9, prior, settings(rule))


def test_each_rule_is_that_of_the_module_of_weights() -> None:
    before = torch.ones(9)
    wanted = {
        "paper": weighting.paper(SCORES),
        "sharpened": weighting.sharpened(SCORES),
        "annealed": weighting.annealed(SCORES, 0.5),
        "mixture": weighting.mixture(SCORES),
        "rejection": weighting.rejection(SCORES),
        "readmission": weighting.readmission(SCORES, before),
        "core": weighting.readmission(SCORES, before, release=0.0),
        "mutual": before,
        "contrast": before,
        "crossfit": before,
        "trimmed": before,
    }
    assert set(wanted) == set(RULES)
    for rule in RULES:
        assert torch.equal(next_weights(SCORES, before, 0.5, settings(rule)), wanted[rule]), rule


def test_who_was_left_out_of_the_core_comes_back_only_as_one_of_the_bulk() -> None:
    before = torch.tensor([1.0] * 7 + [0.0, 0.0])
    scores = torch.tensor([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.44, 1.56])
    after = next_weights(scores, before, 1.0, settings("core"))
    assert after.tolist() == [1.0] * 7 + [1.0, 0.0]


def test_weights_of_patches_can_follow_weights_of_images() -> None:
    scores = torch.stack([SCORES, SCORES])
    for rule in RULES:
        level = settings(rule, weight_level="patch")
        assert next_weights(scores, torch.ones(2), 0.5, level).shape == (2, 9)


@given(st.lists(st.floats(0.1, 10), min_size=4, max_size=40))
def test_settled_is_settled_and_keeps_the_lower_scores(values: list[float]) -> None:
    scores = torch.tensor(values, dtype=torch.float64)
    kept = settled(scores)
    assert kept.any()
    if (kept == 0).any():
        assert scores[kept > 0].max() < scores[kept == 0].min()


def test_settling_finds_what_one_pass_hides() -> None:
    """A fifth of dirt widens the quartiles that are to find it, until some of it is gone."""
    scores = torch.cat([torch.linspace(1, 2, 80), torch.linspace(3, 9, 25)])
    assert weighting.rejection(scores.log())[80:].any()
    assert torch.equal(settled(scores), torch.tensor([1.0] * 80 + [0.0] * 25))


def test_settling_keeps_a_majority_whatever_kappa() -> None:
    assert settled(torch.linspace(1, 2, 40), kappa=0.0).sum() >= 20


def test_strategies_have_rules_of_their_own() -> None:
    rule = {s: TrainingSettings(strategy=s).rule for s in ("reject", "soft", "comet", "comet+")}
    assert rule == {"reject": "rejection", "soft": "paper", "comet": "paper", "comet+": "contrast"}
