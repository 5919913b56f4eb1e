"""False-discovery control: exact laws, agreement with known answers, and simulations."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from comet_core import discovery, figures_beyond, simulated_scores
from comet_core.discovery import Tail
from comet_core.errors import InputError
from comet_core.statistics import mean_interval

rows = arrays(np.float64, st.integers(1, 60), elements=st.floats(0.01, 100))
unit = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1))


@given(scores=rows, calibration=rows)
def test_conformal_p_values_count(scores: np.ndarray, calibration: np.ndarray) -> None:
    p = discovery.conformal_p_values(torch.from_numpy(scores), torch.from_numpy(calibration))
    expected = [(1 + (calibration >= a).sum()) / (len(calibration) + 1) for a in scores]
    assert p.tolist() == pytest.approx(expected)


@given(p=unit, level=st.floats(0.01, 0.99))
def test_the_cut_is_the_one_of_the_definition(p: np.ndarray, level: float) -> None:
    flagged = discovery.benjamini_hochberg(torch.from_numpy(p), level)
    ordered = np.sort(p)
    ranks = np.arange(1, len(p) + 1)
    # On the line itself rounding decides, differently for each way to write it.
    assume((np.abs(ordered - level * ranks / len(p)) > 1e-9).all())
    fits = np.flatnonzero(ordered <= level * ranks / len(p))
    k = int(fits.max()) + 1 if fits.size else 0
    assert flagged.sum() == (p <= ordered[k - 1]).sum() if k else flagged.sum() == 0


def test_benjamini_and_hochberg_s_own_example() -> None:
    # Section 4.1 of the paper of 1995: fifteen p-values, four rejections at 0.05.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    flagged = discovery.benjamini_hochberg(torch.tensor(p, dtype=torch.float64), 0.05)
    assert flagged.tolist() == [True] * 4 + [False] * 11


def test_p_values_on_the_line_are_below_it() -> None:
    """3 / 130 is 0.1 * 6 / 26, but in binary 26 / 6 times it lies above 0.1."""
    known = torch.arange(129.0)
    scores = torch.cat([torch.full((6,), 126.5), torch.zeros(20)])
    assert discovery.conformal_p_values(scores, known)[0] == 3 / 130
    assert discovery.discoveries(scores, 0.1, calibration=known).sum() == 6


@given(scores=rows, level=st.floats(0.01, 0.5))
def test_flagged_images_score_above_the_others(scores: np.ndarray, level: float) -> None:
    given = torch.from_numpy(scores)
    flagged = discovery.discoveries(given, level)
    if flagged.any() and not flagged.all():
        assert given[flagged].min() > given[~flagged].max()
    assert not flagged.any() or flagged.sum() >= 1 / level - 1  # (N + 1) / N makes it less sharp


def test_a_larger_level_flags_no_fewer() -> None:
    scores, _ = simulated_scores.simulate("gamma", 300, 0.1, np.random.default_rng(0))
    counts = [discovery.discoveries(scores, q).sum().item() for q in (0.02, 0.05, 0.1, 0.2, 0.5)]
    assert sorted(counts) == counts
    assert counts[-1] > counts[0]


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e6])
def test_the_scale_of_scores_does_not_matter(factor: float) -> None:
    scores, _ = simulated_scores.simulate("lognormal", 200, 0.1, np.random.default_rng(1))
    one, other = (discovery.p_values(s) for s in (scores, factor * scores))
    assert torch.allclose(one, other, atol=5e-3)  # as closely as the optimiser stops


@pytest.mark.parametrize("shape", [-1.5, -0.3, 0.0, 0.4, 1.0])
def test_survival_is_the_integral_of_the_density(shape: float) -> None:
    tail = Tail(0.3, 0.7, shape)
    for x in (-1.0, 0.3, 1.2):
        area, _ = integrate.quad(
            lambda y: float(np.exp(tail.log_density(np.array([y]))[0])), x, 60, limit=200
        )
        assert tail.survival(np.array([x]))[0] == pytest.approx(area, abs=1e-6)


def test_the_family_holds_the_named_distributions() -> None:
    x = np.array([0.3, 1.0, 2.5])
    logs = np.log(x)
    # Weibull(c) with scale 1: log x = z / c with z of the smallest extreme value.
    assert Tail(0, 1 / 1.7, 1).survival(logs) == pytest.approx(stats.weibull_min(1.7).sf(x))
    assert Tail(0, 1 / 1.7, -1).survival(logs) == pytest.approx(stats.invweibull(1.7).sf(x))
    assert Tail(0, 0.5, 0).survival(logs) == pytest.approx(stats.lognorm(0.5).sf(x))
    k = 4.0  # gamma: shape = scale = 1 / sqrt(k), location log k
    tail = Tail(np.log(k), k**-0.5, k**-0.5)
    assert tail.survival(np.log(k * x)) == pytest.approx(stats.gamma(k).sf(k * x))


@pytest.mark.parametrize("contamination", [0.0, 0.1])
def test_the_fit_finds_the_tail_that_made_the_scores(contamination: float) -> None:
    rng = np.random.default_rng(3)
    scores, _ = simulated_scores.simulate("gamma", 4000, contamination, rng, distance=2)
    tail = discovery.nominal_tail(scores)
    assert tail is not None
    at = stats.gamma(2).isf([0.5, 0.1, 0.01])
    narrow = tail._replace(scale=tail.scale / (1 + discovery.WIDENING))
    assert narrow.survival(np.log(at)) == pytest.approx([0.5, 0.1, 0.01], rel=0.35)
    assert (tail.survival(np.log(at[1:])) > [0.1, 0.01]).all()


@pytest.mark.parametrize("scores", [[1.0], [1.0] * 50, [0.0] * 50, list(range(1, 20))])
def test_too_little_to_go_by_flags_nothing(scores: list[float]) -> None:
    assert not discovery.discoveries(torch.tensor(scores), 0.2).any()


def test_scores_of_0_do_not_stop_it() -> None:
    scores, dirt = simulated_scores.simulate("gamma", 300, 0.1, np.random.default_rng(0), 2.0)
    scores[:5] = 0
    flagged = discovery.discoveries(scores, 0.1)
    assert flagged[dirt].float().mean() > 0.8
    assert not flagged[:5].any()


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [float("inf")], [-1.0, 1.0]])
def test_bad_scores_are_refused(bad: list[float]) -> None:
    with pytest.raises(InputError):
        discovery.discoveries(torch.tensor(bad), 0.1)


def test_bad_levels_and_p_values_are_refused() -> None:
    for level in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match="level"):
            discovery.benjamini_hochberg(torch.tensor([0.5]), level)
    with pytest.raises(InputError, match="p-values"):
        discovery.benjamini_hochberg(torch.tensor([1.5]), 0.1)
    with pytest.raises(InputError, match="unknown distribution"):
        simulated_scores.simulate("normal", 10, 0.1, np.random.default_rng(0))


INSIDE = ("lognormal", "gamma", "half-t", "log-logistic")


def test_the_rate_holds_in_simulation() -> None:
    """Thirty sets of each kind, the seed fixed; `benchmarks/fdr.py` has the long version."""
    table = simulated_scores.rates(INSIDE, (0.0, 0.1, 0.4), (0.05, 0.1, 0.2), sets=30)
    failed = table[table["low"] > table["level"]]
    assert failed.empty, failed
    assert "in 0 of 36 cases" in simulated_scores.finding(table)


def test_the_finding_tells_of_failures() -> None:
    row = {"judge": "itself", "nominal": "gamma", "contamination": 0.1, "level": 0.05, "found": 1}
    bad = pd.DataFrame([{**row, "fdr": 0.3, "low": 0.2, "high": 0.4}])
    assert "in 1 of 1 cases" in simulated_scores.finding(bad)
    assert "gamma with 10 % of dirt, 30.0 % where 5 %" in simulated_scores.finding(bad)
    outside = simulated_scores.finding(bad.assign(nominal="two variants"))
    assert "up to 30 % of the flagged are nominal" in outside


def test_a_rate_beyond_the_panel_is_drawn_at_its_edge_with_its_value() -> None:
    made = {"nominal": "two variants", "contamination": 0.0, "low": 0.5, "high": 0.9}
    lines = [{**made, "level": level, "fdr": rate} for level, rate in ((0.05, 0.78), (0.2, 0.1))]
    axes = figures_beyond.false_discoveries(pd.DataFrame(lines), "made up").axes[0]
    assert [text.get_text() for text in axes.texts] == ["78 %"]
    assert axes.texts[0].xy[1] == pytest.approx(axes.get_ylim()[1])


def test_the_rate_is_not_held_by_finding_nothing() -> None:
    found = simulated_scores.trial("lognormal", 400, 0.1, (0.1,), 10, distance=1.5)
    assert (found.groupby("judge")["found"].mean() > 0.8).all()


def test_a_naive_threshold_would_fail_the_same_test() -> None:
    """Tukey's fence flags clean sets: the simulation can tell control from its absence."""
    flagged = []
    for number in range(40):
        rng = np.random.default_rng([0, number])
        scores, _ = simulated_scores.simulate("lognormal", 200, 0.0, rng)
        q1, q3 = np.quantile(scores, [0.25, 0.75])
        flagged.append(float((scores > q3 + 1.5 * (q3 - q1)).any()))
    assert mean_interval(flagged).low > 0.2


def test_outside_the_assumption_it_fails_and_is_known_to() -> None:
    found = simulated_scores.trial("two variants", 200, 0.0, (0.1,), 20)
    rates = found.groupby("judge")["false_share"].mean()
    assert rates["itself"] > 0.2 > rates["known nominals"]
