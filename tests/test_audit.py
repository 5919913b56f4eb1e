"""The audit: each departure is what its row of the table says, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from comet_core import audit, audit_report, audit_steps, figures_effects, metrics
from comet_core.config import RunConfig, TrainingSettings
from comet_core.detectors.simplenet import SimpleNet
from comet_core.errors import InputError
from comet_core.meta import Batch
from comet_core.training import MetaStepper, confidence, train
from comet_core.uncertainty import LossWindow, determinant

SETTINGS = TrainingSettings(epochs=3, batch_size=6, warmup_epochs=1, refresh_every=1, tasks=2)


def built(kind: type[SimpleNet] = SimpleNet) -> tuple[SimpleNet, Tensor]:
    """A small detector and 12 samples, of which the last two lie apart."""
    maps = torch.randn(12, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    maps[10:] += 3
    detector = kind({"hidden": 8, "patches": 16, "neighbourhood": 1})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        samples = detector.fit_input({"a": maps})
    return detector, samples


def batch_of(detector: SimpleNet, samples: Tensor) -> Batch:
    noise = detector.draw_noise(samples, torch.Generator().manual_seed(1))
    return samples, torch.linspace(0.5, 1.0, len(samples)), noise


def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def test_the_reversed_sign_reverses_the_gradient_and_nothing_else() -> None:
    gradients = []
    for kind in (MetaStepper, audit_steps.ReversedSign):
        detector, samples = built()
        kind(detector, SETTINGS)(batch_of(detector, samples), drawn())
        gradients.append([p.grad for p in detector.parameters()])
    assert all(torch.equal(a, -b) for a, b in zip(*gradients, strict=True))
    assert any(g.abs().max() > 0 for g in gradients[0])


def test_the_released_outer_step_is_short_and_its_sign_decides_its_direction() -> None:
    moves = {}
    for sign in (1.0, -1.0):
        detector, samples = built()
        before = [p.detach().clone() for p in detector.parameters()]
        step = audit_steps.Alternating(detector, SETTINGS, sign)
        step._outer(batch_of(detector, samples))
        pairs = zip(detector.parameters(), before, strict=True)
        moves[sign] = torch.cat([(p.detach() - q).flatten() for p, q in pairs])
    assert moves[1.0].abs().max() > 0
    # In single precision the sum rounds, so the two are opposite up to its last digit.
    assert torch.allclose(moves[1.0], -moves[-1.0], atol=1e-7)
    longest = audit_steps.INNER_STEPS * audit_steps.INNER_RATE * audit_steps.OUTER_STEP
    assert moves[1.0].abs().max() <= 1.1 * longest + 1.2e-7


def test_towards_the_adapted_weights_is_downhill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_steps, "OUTER_STEP", 1.0)
    losses = {}
    for sign in (0.0, 1.0, -1.0):
        detector, samples = built()
        batch = batch_of(detector, samples)
        step = audit_steps.Alternating(detector, SETTINGS, sign)
        for _ in range(5):
            step._outer(batch)
        losses[sign] = step(batch, drawn())["loss"]
    assert losses[1.0] < losses[0.0] < losses[-1.0]


def test_the_released_uncertainty_is_bounded_and_blind_to_scale() -> None:
    rng = np.random.default_rng(0)
    train_losses, val_losses = rng.exponential(size=(2, 40))
    values = {}
    for kind in (LossWindow, audit_steps.ReleasedWindow):
        for scale in (1.0, 100.0):
            window = kind(100)
            window.extend(scale * train_losses, scale * val_losses)
            values[kind.__name__, scale] = determinant(window.covariance()).item()
    assert 0 < values["ReleasedWindow", 1.0] <= 1
    assert values["ReleasedWindow", 100.0] == pytest.approx(values["ReleasedWindow", 1.0])
    assert values["LossWindow", 100.0] == pytest.approx(1e8 * values["LossWindow", 1.0])


def test_mixed_pairs_keep_lambda_in_its_band_and_the_draws_as_they_were() -> None:
    histories = []
    for kind in (MetaStepper, audit_steps.MixedPairs):
        detector, samples = built()
        ids = [str(n) for n in range(12)]
        histories.append(train(detector, samples, ids, SETTINGS, make_step=kind).history)
    band = histories[1]["lambda_sigma"]
    most = SETTINGS.lambda_0 * (1 + SETTINGS.gamma)
    assert band.between(SETTINGS.lambda_0, most).all() and band.iloc[-1] > SETTINGS.lambda_0
    assert histories[0]["loss"].iloc[0] == pytest.approx(histories[1]["loss"].iloc[0], rel=1e-3)


def test_the_raw_sum_counts_every_weight_of_the_discriminator() -> None:
    detector, samples = built()
    step = audit_steps.RawSum(detector, SETTINGS)
    values = step(batch_of(detector, samples), drawn())
    counted = [
        *detector.hidden.parameters(),
        *detector.norm.parameters(),
        *detector.head.parameters(),
    ]
    total = sum(p.detach().square().sum().item() for p in counted)
    assert values["penalty"] == pytest.approx(SETTINGS.lambda_0 * total, rel=1e-5)
    assert values["lambda_sigma"] == 0.0
    other, _ = built()
    MetaStepper(other, SETTINGS.model_copy(update={"lambda_0": 0.0}))(
        batch_of(other, samples), drawn()
    )
    here, there = detector.norm.weight, other.norm.weight
    assert here.grad is not None and there.grad is not None
    pulled = here.grad - there.grad
    assert torch.allclose(pulled, 2 * SETTINGS.lambda_0 * here.detach(), atol=2e-3)
    assert (pulled > 0).all()


def test_the_inner_loop_has_a_model_of_its_own() -> None:
    detector, samples = built(audit_steps.TwoModelsSimpleNet)
    assert isinstance(detector, audit_steps.TwoModelsSimpleNet)
    usual, _ = built()
    batch = batch_of(detector, samples)
    noise = batch[2]
    assert torch.equal(detector.losses(samples, noise), usual.losses(samples, noise))
    detector.inner = True
    detector.losses(samples, noise).mean().backward()
    assert detector.adaptor.weight.grad is not None
    assert detector.adaptor.weight.grad.abs().max() == 0
    with torch.no_grad():  # an adaptor that does nothing, and the noise and margin of the other
        usual.adaptor.weight.copy_(torch.eye(4))
        usual.adaptor.bias.zero_()
    usual.options = usual.options.model_copy(update={"margin": 1.0})
    same = usual.losses(samples, 1.2 * noise)
    assert torch.allclose(detector.losses(samples, noise), same, atol=1e-5)
    detector.inner = False

    step = audit_steps.TwoModels(detector, SETTINGS)
    train_part, held_out = step.split(batch)
    assert train_part[-1].all() and not held_out[-1].any()
    step(batch, drawn())
    assert not detector.inner
    assert detector.adaptor.weight.grad.abs().max() > 0


def test_weights_of_other_images_are_the_same_weights() -> None:
    detector, samples = built()
    settings = SETTINGS.model_copy(update={"kappa": 0.0})
    before = torch.ones(12)
    right = confidence(detector, samples, settings, before, 0.0).weights
    wrong = audit.of_another_image(settings)(detector, samples, settings, before, 0.0).weights
    assert right.unique().numel() > 2
    assert torch.equal(right.sort().values, wrong.sort().values)
    assert not torch.equal(right, wrong)


def test_a_signed_score_gives_the_most_normal_patches_no_weight() -> None:
    detector, samples = built()
    settings = SETTINGS.model_copy(update={"weight_level": "patch"})
    rule = audit.of_a_signed_score(settings)
    found = rule(detector, samples, settings, torch.ones(12), 0.0)
    signed = detector.options.margin * found.scores.log()
    assert found.threshold > 0 and (signed < 0).any()
    assert (found.weights[signed < 0] == 0).all()
    small = (signed > 0) & (signed <= found.threshold)
    assert (found.weights[small] == 1).all()
    large = signed > found.threshold
    assert torch.allclose(found.weights[large], found.threshold / signed[large])


def test_an_epoch_is_chosen_by_one_half_and_judged_by_the_other() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    good, bad = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([1, 1, 1, 1, 0, 0, 0, 0])
    first = np.where(np.arange(8) % 2 == 0, good, bad)  # perfect on one half, wrong on the other
    assert audit.choose(labels, np.stack([bad, good])) == 1.0
    course = np.stack([first, 1 - first])
    assert max(metrics.image_auroc(labels, one) for one in course) == 0.5
    assert audit.choose(labels, course) == 0.0
    assert np.isnan(audit.choose(np.array([0, 0, 1]), np.zeros((2, 3))))


def test_what_is_no_departure_is_refused() -> None:
    with pytest.raises(InputError, match="option 'audit' = 'A10'; there are equations"):
        audit.execute(RunConfig(category="a", options={"audit": "A10"}))
    with pytest.raises(InputError, match="'differnet' was not released"):
        audit.execute(RunConfig(category="a", detector="differnet"))


def rows() -> pd.DataFrame:
    """Three seeds of every departure; each but A4 costs two points."""
    found: list[dict[str, Any]] = []
    for strategy, names in (("comet", list(audit.DEPARTURES)), ("plain", ["equations"])):
        for name in names:
            for seed in range(3):
                usual = 0.8 + 0.03 * seed
                costs = 0.02 * name.startswith("A") * (name != "A4")
                wobble = 0.001 * seed * name.startswith("A")
                found.append(
                    {"strategy": strategy, "options.audit": name, "seed": seed, "category": "a"}
                    | {"image_auroc": usual - costs + wobble}
                    | {"image_auroc_best": usual + 0.04 + 0.001 * seed}
                    | {"image_auroc_chosen": usual + 0.001 * (seed - 1)}
                    | {"weight_nominal": 0.9, "weight_anomalous": 0.5, "zero_weights": 0.25}
                    | {"lambda_low": 0.005, "lambda_high": 0.0075, "outer_share": 1e-4}
                    | {"first_loss": 1.0, "first_penalty": 11.0}
                )
    return pd.DataFrame(found)


def test_effects_are_paired_and_said_as_they_are() -> None:
    table = audit_report.measured(rows())
    assert table["departure"].tolist() == [
        *(name for name in audit.DEPARTURES if name.startswith("A")),
        "A9",
        "A9",
    ]
    by_name = table.set_index("departure")
    assert by_name.loc["A3", "mean"] == pytest.approx(-0.019)
    assert by_name.loc["A3", "high"] < 0 and by_name.loc["A3", "n"] == 3
    assert by_name.loc["A4", "mean"] == pytest.approx(0.001)
    assert table["mean"].iloc[-1] == pytest.approx(0.041)
    words = audit_report.findings(table)
    assert "**A3**, weights once, from an untrained discriminator: lowers I-AUROC by 1.9" in words
    text = audit_report.shown(table)
    assert text["also observed"].iloc[-1].startswith("on images that had no say in the choice: ")
    assert "0.01 %" in text["also observed"].iloc[0]
    figure = figures_effects.effects(audit_report.drawn(table), "note", "points")
    marks = [
        [line.get_marker() for line in axes.lines if line.get_marker() != "None"]
        for axes in figure.axes
    ]
    assert [len(panel) for panel in marks] == [len(table) - 2, 2]
    assert marks[0][2] == "X" and marks[1] == ["o", "o"]
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels[2] == "A3: untrained weights" and all(len(one) < 32 for one in labels)
