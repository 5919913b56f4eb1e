"""Equations 4 and 5 against numpy and closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from comet_core.errors import InputError
from comet_core.uncertainty import (
    LossWindow,
    adaptive_lambda,
    determinant,
    loss_covariance,
    penalised,
    weight_penalty,
)

pairs = st.integers(2, 30).flatmap(
    lambda n: arrays(np.float64, (2, n), elements=st.floats(-100, 100, allow_subnormal=False))
)


@given(pairs)
def test_covariance_agrees_with_numpy(rows: np.ndarray) -> None:
    sigma = loss_covariance(torch.from_numpy(rows[0]), torch.from_numpy(rows[1]))
    assert np.allclose(sigma.numpy(), np.cov(rows), atol=1e-9)


@given(pairs)
def test_determinant_is_never_negative(rows: np.ndarray) -> None:
    det = determinant(loss_covariance(torch.from_numpy(rows[0]), torch.from_numpy(rows[1])))
    assert det >= 0
    assert det.item() == pytest.approx(max(0, np.linalg.det(np.cov(rows))), rel=1e-6, abs=1e-4)


def test_determinant_vanishes_without_independent_variation() -> None:
    x = torch.linspace(0, 1, 9, dtype=torch.float64)
    for other in (x, 2 * x + 1, -x, torch.full_like(x, 0.3)):
        assert determinant(loss_covariance(x, other)).item() == pytest.approx(0, abs=1e-15)
    y = torch.tensor([1.0, -1, 1, -1, 1, -1, 1, -1, 1], dtype=torch.float64)
    assert determinant(loss_covariance(x, y)) > 0.01


def test_lambda_is_equation_5() -> None:
    sigma = torch.tensor([[2.0, 0.5], [0.5, 3.0]])
    assert adaptive_lambda(sigma, 0.01, 0.4).item() == pytest.approx(0.01 * (1 + 0.4 * 5.75))
    assert adaptive_lambda(torch.zeros(2, 2), 0.01, 0.4).item() == pytest.approx(0.01)
    with pytest.raises(InputError, match="lambda_0"):
        adaptive_lambda(sigma, -1)


def test_covariance_refuses_what_is_not_a_series_of_pairs() -> None:
    with pytest.raises(InputError, match="pairs"):
        loss_covariance(torch.ones(3), torch.ones(4))
    with pytest.raises(InputError, match="NaN"):
        loss_covariance(torch.tensor([1.0, float("nan")]), torch.ones(2))


def test_window_forgets_and_starts_certain() -> None:
    window = LossWindow(3)
    assert torch.equal(window.covariance(), torch.zeros(2, 2, dtype=torch.float64))
    window.extend([9.0], [1.0])
    assert determinant(window.covariance()) == 0
    rows = np.array([[1.0, 2, 4], [3.0, 1, 2]])
    window.extend(*rows)
    assert np.allclose(window.covariance().numpy(), np.cov(rows))
    with pytest.raises(ValueError, match="argument"):
        window.extend([1.0], [1.0, 2.0])


def test_penalty_is_the_mean_square_of_weights_only() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    for p in model.parameters():
        nn.init.constant_(p, 3.0)
    assert list(penalised(dict(model.named_parameters()))) == ["0.weight", "2.weight"]
    assert weight_penalty(dict(model.named_parameters())).item() == pytest.approx(9.0)
    # Widening the model leaves one lambda_0 where it was.
    wide = {"a": torch.full((50, 70), 3.0), "b": torch.full((7, 1), 3.0)}
    assert weight_penalty(wide).item() == pytest.approx(9.0)
