"""Equations 1 to 3 against hand-computed numbers and the laws they must keep."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from comet_core.confidence import confidence_weights, iqr_threshold, quartiles, weighted_loss
from comet_core.errors import InputError

score_rows = arrays(
    np.float64, st.integers(1, 40), elements=st.floats(0.001, 1000, allow_subnormal=False)
)


def test_by_hand() -> None:
    # Sorted: 1 2 3 4 5 6 7 8 20; positions 2 and 6 of 0..8 are the quartiles.
    scores = torch.tensor([5.0, 1, 20, 3, 2, 4, 8, 6, 7])
    q1, q3 = quartiles(scores)
    assert (q1.item(), q3.item()) == (3.0, 7.0)
    t = iqr_threshold(scores, kappa=1.5)
    assert t.item() == 13.0
    expected = torch.ones(9)
    expected[2] = 13 / 20
    assert torch.equal(confidence_weights(scores, t), expected)


def test_quartiles_between_order_statistics() -> None:
    q1, q3 = quartiles(torch.tensor([1.0, 2, 3, 4]))
    assert q1.item() == pytest.approx(1.75)
    assert q3.item() == pytest.approx(3.25)


@given(score_rows)
def test_quartiles_agree_with_numpy(row: np.ndarray) -> None:
    q1, q3 = quartiles(torch.from_numpy(row))
    assert [q1.item(), q3.item()] == pytest.approx(np.quantile(row, [0.25, 0.75]).tolist())


@given(score_rows, st.floats(0, 3))
def test_weights_lie_in_0_1_and_are_1_up_to_the_threshold(row: np.ndarray, kappa: float) -> None:
    scores = torch.from_numpy(row)
    t = iqr_threshold(scores, kappa)
    w = confidence_weights(scores, t)
    assert ((w > 0) & (w <= 1)).all()
    assert (w[scores <= t] == 1).all()
    assert (w[scores > t * (1 + 1e-9)] < 1).all()


@given(score_rows, st.floats(0, 3))
def test_weights_fall_with_the_score(row: np.ndarray, kappa: float) -> None:
    scores = torch.from_numpy(row).sort().values
    w = confidence_weights(scores, iqr_threshold(scores, kappa))
    assert (w.diff() <= 0).all()


@given(score_rows, st.floats(0, 3), st.floats(0.01, 100))
def test_weights_do_not_depend_on_the_scale(row: np.ndarray, kappa: float, scale: float) -> None:
    scores = torch.from_numpy(row)
    one = confidence_weights(scores, iqr_threshold(scores, kappa))
    other = confidence_weights(scale * scores, iqr_threshold(scale * scores, kappa))
    assert torch.allclose(one, other, rtol=1e-9)


def test_a_larger_kappa_is_more_forgiving() -> None:
    scores = torch.tensor([1.0, 2, 3, 4, 40])
    weights = [confidence_weights(scores, iqr_threshold(scores, k))[-1].item() for k in (0, 1.5, 3)]
    assert weights[0] < weights[1] < weights[2]


def test_degenerate_scores_have_defined_weights() -> None:
    equal = torch.full((5,), 2.0)  # IQR 0: t is the common score
    assert torch.equal(confidence_weights(equal, iqr_threshold(equal)), torch.ones(5))
    zeros = torch.zeros(5)
    assert torch.equal(confidence_weights(zeros, iqr_threshold(zeros)), torch.ones(5))
    one = torch.tensor([3.0])
    assert torch.equal(confidence_weights(one, iqr_threshold(one)), torch.ones(1))


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "at least one"),
        ([1.0, float("nan")], "NaN"),
        ([1.0, -0.5], "non-negative"),
    ],
)
def test_bad_scores_are_refused(scores: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        iqr_threshold(torch.tensor(scores))


def test_a_zero_threshold_with_positive_scores_is_refused() -> None:
    scores = torch.tensor([0.0, 0, 0, 0, 0, 1])
    with pytest.raises(InputError, match="threshold is 0"):
        confidence_weights(scores, iqr_threshold(scores))
    with pytest.raises(InputError, match="kappa"):
        iqr_threshold(scores, kappa=-1)
    with pytest.raises(InputError, match="finite"):
        confidence_weights(scores, float("nan"))


def test_weighted_loss_broadcasts_from_the_left() -> None:
    losses = torch.tensor([[1.0, 3.0], [2.0, 4.0]])
    assert weighted_loss(losses, torch.tensor([1.0, 0.5])).item() == pytest.approx((4 + 3) / 4)
    assert weighted_loss(losses, torch.tensor([[1.0, 0], [0, 1]])).item() == pytest.approx(5 / 4)
    assert weighted_loss(losses, torch.ones(2)).item() == losses.mean().item()
