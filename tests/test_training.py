"""The training loop: every strategy, every setting, every edge."""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from comet_core.confidence import confidence_weights, iqr_threshold
from comet_core.config import META, RunConfig, Strategy, TrainingSettings
from comet_core.detectors import make_detector
from comet_core.detectors.base import Detector, Maps
from comet_core.errors import InputError
from comet_core.meta import Batch
from comet_core.training import (
    Confidence,
    MetaStepper,
    PlainStepper,
    Training,
    _batch,
    confidence,
    fit,
    train,
)

STRATEGIES: tuple[Strategy, ...] = ("plain", "reject", "soft", "meta", "comet", "comet+")
BASE: dict[str, Any] = {"epochs": 3, "batch_size": 6, "warmup_epochs": 1, "learning_rate": 1e-2}


class DeepSVDD(Detector):
    """Ruff et al., ICML 2018, as a head: the squared distance to a fixed centre.

    A detector that the package does not ship (claim C5): it says what its loss and score are, and
    every strategy trains it.
    """

    name: ClassVar[str] = "deep_svdd"

    def wanted_features(self, backbone_layers: list[str], image_size: int) -> dict[str, Any]:
        return {"layers": (backbone_layers[-1],), "sizes": (image_size,), "pool": True}

    def assemble(self, maps: Maps) -> Tensor:
        return maps["pooled"].float()

    def build(self, dimension: int) -> None:
        self.net = nn.Sequential(
            nn.Linear(dimension, 16, bias=False), nn.Tanh(), nn.Linear(16, 4, bias=False)
        )

    def losses(self, samples: Tensor, noise: Tensor | None) -> Tensor:
        return (self.net(samples) - 1.0).square().mean(-1)

    def part_scores(self, samples: Tensor) -> Tensor:
        return self.losses(samples, None)


def blobs(count: int = 30, dirty: int = 3, dimension: int = 6) -> tuple[Maps, list[str]]:
    """Nominal samples around 0 and, last, anomalous ones around 4, one view each."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(count, 1, dimension, generator=g)
    x[count - dirty :] += 4
    return {"pooled": x}, [f"image{i}" for i in range(count)]


def detector_of(name: str) -> Detector:
    if name == "deep_svdd":
        return DeepSVDD()
    return make_detector(name, {"blocks": 2, "hidden": 8})


def trained(name: str = "differnet", **changes: Any) -> tuple[Training, Detector]:
    detector = detector_of(name)
    maps, ids = blobs()
    settings = TrainingSettings(**{**BASE, **changes})
    return fit(detector, maps, ids, settings, prior=strangeness(maps)), detector


def strangeness(maps: Maps) -> Tensor:
    """Scores from before the training, (N,): the distance from the median image."""
    x = torch.cat([one.flatten(1) for one in maps.values()], 1)
    return (x - x.median(0).values).norm(dim=1)


def state(detector: Detector) -> list[Tensor]:
    return [p.detach().clone() for p in detector.parameters()]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ["differnet", "deep_svdd"])
def test_every_strategy_trains_every_detector(name: str, strategy: Strategy) -> None:
    """C5, on two detectors of unlike kinds; SimpleNet has its own test below."""
    changes = {"epochs": 30, "warmup_epochs": 10, "learning_rate": 2e-3, "kappa": 0.0}
    training, _ = trained(name, strategy=strategy, **changes)
    history = training.history
    assert len(history) == 30
    assert history["loss"][-5:].mean() < history["loss"][:5].mean()
    first = training.weights[training.weights["epoch"] == training.weights["epoch"].min()]
    if strategy in (
        "reject",
        "soft",
        "comet",
        "comet+",
    ):  # the others are first scored after training
        assert first["score"][:27].mean() < first["score"][27:].mean()
    meta = {"train_loss", "val_loss", "det_sigma", "lambda_sigma"}
    assert meta.issubset(history.columns) == (strategy in META)
    used = training.used
    if strategy in ("plain", "meta"):
        assert (used == 1).all()
    elif strategy in ("reject", "comet+"):
        assert set(used.tolist()) == {0.0, 1.0}
    else:
        assert ((used > 0) & (used <= 1)).all()
        assert (used < 1).any()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_trains_simplenet(strategy: Strategy) -> None:
    g = torch.Generator().manual_seed(0)
    maps = {"stride8": torch.randn(12, 4, 4, 4, generator=g)}
    detector = make_detector("simplenet", {"hidden": 8, "patches": 8})
    settings = TrainingSettings(**{**BASE, "strategy": strategy, "epochs": 6})
    ids = [str(i) for i in range(12)]
    training = fit(detector, maps, ids, settings, prior=strangeness(maps))
    assert training.history["loss"].iloc[-1] < training.history["loss"].iloc[0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_gives_the_same_bits(strategy: Strategy) -> None:
    one, first = trained(strategy=strategy)
    torch.rand(3)  # the state of the global generator must not matter
    two, second = trained(strategy=strategy)
    assert all(torch.equal(a, b) for a, b in zip(state(first), state(second), strict=True))
    assert one.history.drop(columns="seconds").equals(two.history.drop(columns="seconds"))
    assert one.weights.equals(two.weights)
    _, other = trained(strategy=strategy, seed=1)
    assert not torch.equal(state(first)[0], state(other)[0])


def test_strategies_differ_and_coincide_where_they_must() -> None:
    end = {s: state(trained(strategy=s)[1]) for s in STRATEGIES}
    for i, one in enumerate(STRATEGIES):
        for other in STRATEGIES[i + 1 :]:
            assert not torch.equal(end[one][0], end[other][0]), (one, other)
    # With a threshold above all scores nothing is weighted: soft is plain, comet is meta.
    assert torch.equal(state(trained(strategy="soft", kappa=1e6)[1])[0], end["plain"][0])
    assert torch.equal(state(trained(strategy="comet", kappa=1e6)[1])[0], end["meta"][0])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("epochs", 4),
        ("max_steps", 3),
        ("batch_size", 10),
        ("learning_rate", 3e-3),
        ("schedule", "linear"),
        ("seed", 1),
        ("kappa", 0.2),
        ("warmup_epochs", 2),
        ("refresh_every", 1),
        ("weight_level", "patch"),
        ("weighting", "sharpened"),
        ("alpha", 0.1),
        ("inner_steps", 2),
        ("order", 2),
        ("tasks", 3),
        ("validation_share", 0.6),
        ("lambda_0", 0.5),
        ("gamma", 5e3),
        ("window", 2),
        ("strategy", "soft"),
    ],
)
def test_every_setting_has_an_effect(setting: str, value: Any) -> None:
    usual = {"strategy": "comet", "alpha": 1e-2, "gamma": 50.0, "kappa": 0.0, "batch_size": 15}
    usual |= {"epochs": 7, "lambda_0": 0.05}
    # Two views an image, so that weights per part are not those per image.
    g = torch.Generator().manual_seed(0)
    maps = {"pooled": torch.randn(30, 2, 6, generator=g)}

    def run(changes: dict[str, Any]) -> Tensor:
        detector = detector_of("differnet")
        ids = [str(i) for i in range(30)]
        fit(detector, maps, ids, TrainingSettings(**{**BASE, **usual, **changes}))
        return torch.cat([p.flatten() for p in state(detector)])

    assert not torch.equal(run({}), run({setting: value}))


def test_no_setting_is_missing_above() -> None:
    marks = test_every_setting_has_an_effect.pytestmark  # type: ignore[attr-defined]
    tested = {row[0] for row in marks[0].args[1]}
    assert tested == set(TrainingSettings.model_fields)


@pytest.mark.parametrize("order", [1, 2])
def test_every_second_step_measures_a_pair_and_the_others_take_the_same_step(
    monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    maps, ids = blobs()
    settings = TrainingSettings(**BASE, strategy="meta", order=order, gamma=0.0, window=64)
    trained = {}
    for every in (1, 2):
        monkeypatch.setattr("comet_core.training.PAIRS_EVERY", every)
        steppers = []

        def make_step(detector: Detector, settings: TrainingSettings, made=steppers) -> MetaStepper:
            made.append(MetaStepper(detector, settings))
            return made[-1]

        torch.manual_seed(0)
        detector = detector_of("deep_svdd")
        course = train(detector, detector.fit_input(maps), ids, settings, make_step=make_step)
        # Two tasks a step, fifteen steps.
        assert len(steppers[0].window._pairs) == {1: 30, 2: 16}[every]
        assert course.history[["train_loss", "val_loss"]].notna().all(axis=None)
        trained[every] = state(detector)
    assert all(torch.equal(p, q) for p, q in zip(trained[1], trained[2], strict=True))


@pytest.mark.parametrize("order", [1, 2])
def test_without_inner_loop_a_step_is_a_plain_one_on_the_validation_parts(order: int) -> None:
    maps, _ = blobs()
    detector = detector_of("differnet")
    samples = detector.fit_input(maps)
    settings = TrainingSettings(**BASE, strategy="comet", inner_steps=0, lambda_0=0.0, order=order)
    batch = (samples[:8], torch.rand(8))
    stepper = MetaStepper(detector, settings)
    values = stepper(batch, torch.Generator())
    found = [p.grad.clone() for p in detector.parameters() if p.grad is not None]
    _, held_out = stepper.split(batch)
    seen = tuple(part.flatten(0, 1) for part in held_out)
    loss = PlainStepper(detector, settings)(seen, torch.Generator())
    assert values["loss"] == pytest.approx(loss["loss"])
    for g, p in zip(found, detector.parameters(), strict=True):
        assert p.grad is not None and torch.allclose(g, p.grad, atol=1e-6)


def test_weights_stay_with_their_samples_under_shuffling() -> None:
    """A batch pairs every sample with its own weight, whatever the order and the parts."""
    count, parts = 10, 7
    samples = torch.arange(count * parts, dtype=torch.float32).view(count, parts, 1)
    detector = make_detector("simplenet", {"patches": 4})
    g = torch.Generator().manual_seed(0)
    per_image = torch.arange(count, dtype=torch.float32)
    per_part = samples.squeeze(-1).clone()
    for _ in range(20):
        index = torch.randperm(count, generator=g)[:6]
        chosen, weight, _ = _batch(detector, samples, per_image, index, g)
        assert chosen.shape == (6, 4, 1)
        assert torch.equal(weight, (chosen[:, 0, 0] / parts).floor())
        chosen, weight, _ = _batch(detector, samples, per_part, index, g)
        assert torch.equal(weight, chosen.squeeze(-1))


def test_the_order_of_the_images_does_not_decide_who_is_weighted() -> None:
    maps, ids = blobs()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(5))
    settings = TrainingSettings(**{**BASE, "strategy": "soft", "learning_rate": 1e-3})
    one = fit(detector_of("differnet"), maps, ids, settings)
    shuffled = {"pooled": maps["pooled"][order]}
    two = fit(detector_of("differnet"), shuffled, [ids[i] for i in order], settings)
    lowest = [
        set(t.weights[t.weights["epoch"] == 1].nsmallest(3, "weight")["id"]) for t in (one, two)
    ]
    assert lowest[0] == lowest[1] == {"image27", "image28", "image29"}


def test_weights_are_equations_1_and_2_of_the_reported_scores() -> None:
    training, _ = trained(strategy="soft", epochs=5, kappa=0.7)
    for epoch, group in training.weights.groupby("epoch"):
        scores = torch.tensor(group["score"].to_numpy())
        expected = confidence_weights(scores, iqr_threshold(scores, 0.7))
        assert np.allclose(group["weight"], expected, rtol=1e-5), epoch


def test_the_warm_up_and_the_refreshes_keep_their_schedule() -> None:
    training, _ = trained(strategy="soft", epochs=8, warmup_epochs=2, refresh_every=3)
    assert training.weights["epoch"].unique().tolist() == [2, 5, 8]
    assert training.history["mean_weight"].tolist()[:2] == [1.0, 1.0]
    assert (training.history["mean_weight"][2:] < 1).all()
    assert training.history["threshold"].isna().tolist() == [True] * 2 + [False] * 6


def test_a_large_data_set_is_not_trained_for_longer() -> None:
    for steps, epochs in [(1, 6), (30, 6), (31, 7), (41, 9), (500, 9)]:  # five steps an epoch
        training, _ = trained(epochs=9, max_steps=steps)
        assert len(training.history) == epochs, steps
    # However large it is, its weights act.
    training, _ = trained(strategy="soft", epochs=30, max_steps=1, warmup_epochs=3, kappa=0.0)
    assert (training.history["mean_weight"] < 1).sum() == 3


def test_who_leaves_images_out_takes_as_many_steps() -> None:
    steps = 41
    whole, _ = trained(epochs=30, max_steps=steps)
    some, _ = trained(epochs=30, max_steps=steps, strategy="soft", weighting="trimmed")
    kept = int((some.used > 0).sum())
    assert kept < len(some.used)
    per_epoch = {len(some.used): len(whole.history), kept: len(some.history)}
    for images, epochs in per_epoch.items():
        batches = round(images / BASE["batch_size"])
        assert steps <= epochs * batches < steps + batches, images


def test_the_learning_rate_stays_or_falls_to_0_over_all_steps() -> None:
    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            seen.append([group["lr"] for group in self.param_groups])

    def optimiser(learning_rate: float) -> torch.optim.Optimizer:
        weight, *others = detector.parameters()
        slow = {"params": [weight], "lr": learning_rate / 2}
        return Watched([slow, {"params": others}], lr=learning_rate)

    maps, ids = blobs()
    for schedule, last in [("constant", 1.0), ("linear", 1 / 15)]:
        seen: list[list[float]] = []
        detector = detector_of("differnet")
        detector.optimiser = optimiser  # type: ignore[method-assign]
        fit(detector, maps, ids, TrainingSettings(**BASE, strategy="plain", schedule=schedule))
        left = np.linspace(1, last, 15)  # three epochs of five steps
        assert np.allclose(seen, np.outer(left, [5e-3, 1e-2])), schedule


def test_lambda_follows_equation_5_in_the_history() -> None:
    # One step an epoch, so the epoch's mean is the step's value. Two pairs always lie on a line.
    usual = {"strategy": "comet", "epochs": 5, "batch_size": 40, "tasks": 4}
    history = trained(lambda_0=0.02, gamma=30.0, **usual)[0].history
    expected = 0.02 * (1 + 30.0 * history["det_sigma"])
    assert np.allclose(history["lambda_sigma"], expected)
    assert history["det_sigma"].iloc[0] == 0
    assert (history["det_sigma"].iloc[1:] > 0).all()


def test_one_image_trains_where_it_can() -> None:
    maps, ids = blobs(1, 0)
    for strategy in ("plain", "soft", "reject"):
        settings = TrainingSettings(**{**BASE, "strategy": strategy})
        training = fit(DeepSVDD(), maps, ids, settings)
        assert training.final.weights.tolist() == [1.0]
    for strategy in ("meta", "comet"):
        settings = TrainingSettings(**{**BASE, "strategy": strategy})
        with pytest.raises(InputError, match="two training images"):
            fit(DeepSVDD(), maps, ids, settings)


def test_equal_images_have_equal_weights() -> None:
    maps = {"pooled": torch.ones(8, 1, 5)}
    settings = TrainingSettings(**{**BASE, "strategy": "comet"})
    training = fit(DeepSVDD(), maps, [str(i) for i in range(8)], settings)
    assert training.final.weights.tolist() == [1.0] * 8


def test_divergence_is_told() -> None:
    with pytest.raises(InputError, match=r"NaN or infinite in epoch \d+; lower learning_rate"):
        trained(strategy="comet", alpha=1e9, epochs=5)
    with pytest.raises(InputError, match="NaN"):
        trained(strategy="plain", learning_rate=1e6, epochs=50)


def test_ids_must_be_as_many_and_different() -> None:
    maps, ids = blobs()
    for wrong in (ids[:-1], [*ids[:-1], ids[0]]):
        with pytest.raises(InputError, match="30 training samples"):
            fit(DeepSVDD(), maps, wrong, TrainingSettings(**BASE))


def test_on_epoch_sees_every_epoch() -> None:
    seen: list[int] = []
    maps, ids = blobs()
    fit(
        DeepSVDD(),
        maps,
        ids,
        TrainingSettings(**BASE),
        on_epoch=lambda epoch, detector: seen.append(epoch),
    )
    assert seen == [1, 2, 3]


def test_a_rule_and_a_step_can_be_replaced() -> None:
    """By themselves they change nothing; by others, what they decide."""
    settings = TrainingSettings(**BASE, strategy="comet", kappa=0.0)
    maps, ids = blobs()

    def trained_with(**hooks: Any) -> tuple[Training, list[Tensor]]:
        detector = detector_of("differnet")
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            samples = detector.fit_input(maps)
        return train(detector, samples, ids, settings, **hooks), state(detector)

    def half(*given: Any) -> Confidence:
        found = confidence(*given)
        return replace(found, weights=torch.full_like(found.weights, 0.5))

    class Standstill(MetaStepper):
        def __call__(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
            values = super().__call__(batch, generator)
            for p in self.detector.parameters():
                p.grad = None
            return values

    plain, as_is = trained_with()
    same, again = trained_with(weigh=confidence, make_step=MetaStepper)
    assert same.history["loss"].equals(plain.history["loss"])
    assert all(torch.equal(a, b) for a, b in zip(as_is, again, strict=True))
    halved, _ = trained_with(weigh=half)
    assert halved.history["mean_weight"].tolist()[1:] == [0.5, 0.5]
    _, unmoved = trained_with(make_step=Standstill)
    fresh = detector_of("differnet")
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        fresh.fit_input(maps)
    assert all(torch.equal(a, b) for a, b in zip(unmoved, state(fresh), strict=True))


def test_settings_are_strict_and_profiles_fill_in() -> None:
    with pytest.raises(InputError, match="unknown setting 'kapa'"):
        TrainingSettings.checked({"kapa": 1})
    with pytest.raises(InputError, match="setting 'epochs' = 0"):
        TrainingSettings.checked({"epochs": 0})
    with pytest.raises(InputError, match=r"^setting 'category' is missing; give it a value\.$"):
        RunConfig.from_profile({"profile": "smoke"})
    with pytest.raises(InputError, match=r"setting 'image_size' = 25600: .* 4096"):
        RunConfig.from_profile({"category": "x", "image_size": 25600})
    smoke = RunConfig.from_profile({"profile": "smoke", "category": "x", "detector": "differnet"})
    assert smoke.options["blocks"] == 2
    own = RunConfig.from_profile(
        {"profile": "smoke", "category": "x", "epochs": 9, "options": {"hidden": 5}}
    )
    assert own.epochs == 9
    assert own.options["hidden"] == 5
    with pytest.raises(InputError, match="unknown profile"):
        RunConfig.from_profile({"profile": "quick", "category": "x"})


def test_a_run_is_named_by_what_decides_it() -> None:
    plain = RunConfig(category="x", strategy="plain")
    assert plain.hash("d") == RunConfig(category="x", strategy="plain", gamma=3.0).hash("d")
    # Which images are flagged depends on it whatever is trained.
    assert plain.hash("d") != RunConfig(category="x", strategy="plain", kappa=3.0).hash("d")
    assert plain.hash("d") == RunConfig(category="x", strategy="plain", data_root="/y").hash("d")
    assert plain.hash("d") != plain.hash("e")
    soft = RunConfig(category="x", strategy="soft")
    assert soft.hash("d") != RunConfig(category="x", strategy="soft", kappa=3.0).hash("d")
    assert soft.hash("d") == RunConfig(category="x", strategy="soft", alpha=0.5).hash("d")
