"""Scores of several detectors as one: what counts how much, whatever the scores' units."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comet_core.ensembles import Scale, combined, geometric_mean, scale_of

SCORES = st.lists(st.floats(0.01, 100), min_size=5, max_size=30)


def both(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return combined([first, second], [scale_of(first), scale_of(second)])


def test_geometric_means_keep_zeros_and_go_place_by_place() -> None:
    found = geometric_mean([torch.tensor([1.0, 0.0, 9.0]), torch.tensor([4.0, 5.0, 9.0])])
    assert found.tolist() == pytest.approx([2.0, 0.0, 9.0])


def test_the_scale_is_that_of_the_logarithms() -> None:
    scale = scale_of(torch.tensor([1.0, 10.0, 100.0, 1000.0, 1e4]).sqrt())
    assert scale[:2] == pytest.approx(
        (torch.tensor(10.0).log().item(), torch.tensor(10.0).log().item())
    )
    assert scale_of(torch.full((4,), 3.0)).spread == 1
    assert scale_of(torch.tensor([3.0, 3.0, 3 + 3e-7, 3.0, 9.0])).spread == 1  # but for rounding
    assert scale_of(torch.zeros(4)) == Scale(0, 1, 1)


@given(SCORES)
def test_a_detector_and_itself_are_that_detector(values: list[float]) -> None:
    scores = torch.tensor(values, dtype=torch.float64)
    assert torch.allclose(both(scores, scores), scores)


@given(SCORES, st.floats(0.2, 5), st.floats(0.01, 100), st.randoms(use_true_random=False))
def test_no_unit_and_no_power_gives_a_detector_more_of_a_say(
    values: list[float], power: float, factor: float, random: object
) -> None:
    first = torch.tensor(values, dtype=torch.float64)
    shuffled = sorted(values, key=lambda _: random.random())  # type: ignore[attr-defined]
    second = torch.tensor(shuffled, dtype=torch.float64)
    low, high = second.log().quantile(0.25), second.log().quantile(0.75)
    if high - low < 1e-6:  # its spread is then not that of its scores
        return
    assert torch.allclose(both(first, second), both(first, factor * second**power))


def test_nearly_equal_images_make_none_of_the_others_infinitely_odd() -> None:
    """Frames of a film, but for rounding, and two others."""
    patches = torch.cat([torch.ones(20) + 1e-4 * torch.arange(20), torch.tensor([50.0, 60.0])])
    whole = torch.cat([torch.ones(20) + 1e-3 * torch.arange(20), torch.tensor([20.0, 30.0])])
    for first, second in ((patches, whole), (whole, patches)):
        found = both(first, second)
        assert found.isfinite().all() and (found > 0).all()
        assert found.argmax() == 21 and found[20] > found[:20].max()


def test_who_both_find_strange_is_ahead_of_who_one_finds_stranger() -> None:
    usual = torch.linspace(0.9, 1.1, 20)
    patches = torch.cat([usual, torch.tensor([2.0, 2.0, 1.0])])
    whole = torch.cat([usual.flip(0), torch.tensor([1.05, 2.0, 2.2])])
    assert both(patches, whole).argmax() == 21


def test_new_images_are_put_on_the_scales_of_the_training() -> None:
    train = [torch.linspace(1, 2, 9), torch.linspace(100, 140, 9)]
    scales = [scale_of(one) for one in train]
    again = combined([torch.cat([one[4:5], torch.zeros(1)]) for one in train], scales)
    assert again[1] == pytest.approx(combined(train, scales)[0])  # 0 is as good as the best
    new = combined([one[4:5] for one in train], scales)
    assert new.item() == pytest.approx(combined(train, scales)[4].item())
