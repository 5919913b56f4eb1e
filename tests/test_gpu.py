"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from torch import Tensor

from comet_core import training
from comet_core.config import TrainingSettings
from comet_core.detectors import make_detector
from comet_core.detectors.base import Detector, Maps
from comet_core.devices import Recorded
from comet_core.features import FeatureSpec, compute
from comet_core.training import Training, fit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

COUNT = 26
SETTINGS = {"epochs": 6, "warmup_epochs": 1, "refresh_every": 2, "batch_size": 8, "seed": 3}


@pytest.fixture(autouse=True)
def on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMET_DEVICE", "cuda")


def maps_for(name: str) -> Maps:
    """Features of which those of two images lie apart."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"pooled": (COUNT, 4, 24)}
    if name == "simplenet":
        shapes = {"stride8": (COUNT, 8, 16, 16), "stride16": (COUNT, 6, 8, 8)}
    maps = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    for one in maps.values():
        one[:2] += 3
    return maps


def trained(name: str, **changes: object) -> tuple[Detector, Training]:
    detector = make_detector(name, {"hidden": 32})
    settings = TrainingSettings(**{**SETTINGS, **changes})
    return detector, fit(detector, maps_for(name), [str(i) for i in range(COUNT)], settings)


def state(detector: Detector) -> list[Tensor]:
    return [p.detach().cpu() for p in detector.parameters()]


def close(first: list[Tensor], second: list[Tensor], tolerance: float) -> bool:
    return all(
        (a - b).norm() <= tolerance * max(1e-3, float(a.norm()))
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "plain"},
        {"strategy": "reject"},
        {"strategy": "soft", "weight_level": "patch"},
        {"strategy": "comet"},
        {"strategy": "comet", "order": 2, "inner_steps": 2},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())),
)
@pytest.mark.parametrize("name", ["simplenet", "differnet"])
def test_recorded_steps_are_the_steps(
    monkeypatch: pytest.MonkeyPatch, name: str, changes: dict[str, object]
) -> None:
    recorded, course = trained(name, **changes)
    again, _ = trained(name, **changes)
    monkeypatch.setattr(training, "_launched", lambda function, detector: function)
    one_by_one, slow = trained(name, **changes)
    assert recorded.device.type == "cuda"
    assert close(state(recorded), state(again), 1e-5)
    assert close(state(recorded), state(one_by_one), 1e-3)
    columns = course.history.columns.drop("seconds")
    pd.testing.assert_frame_equal(course.history[columns], slow.history[columns], rtol=1e-2)


def test_one_recording_serves_inputs_of_one_shape_and_another_those_of_another() -> None:
    calls = []

    def doubled(x: Tensor, y: Tensor) -> Tensor:
        calls.append(x.shape)
        return 2 * x + y

    recorded = Recorded(doubled)
    for count in (3, 5, 3, 5):
        x, y = torch.randn(2, count, device="cuda")
        assert torch.equal(recorded(x, y), 2 * x + y)
    # Once to settle in and once to be recorded, for either shape.
    assert [len(shape) and shape[0] for shape in calls] == [3, 3, 5, 5]


def test_training_starts_from_what_the_processor_starts_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is drawn while training differs; the weights before it are the processor's."""
    there, _ = trained("differnet", epochs=1, learning_rate=1e-12)
    monkeypatch.setenv("COMET_DEVICE", "cpu")
    here, _ = trained("differnet", epochs=1, learning_rate=1e-12)
    maps = maps_for("differnet")
    assert close([here.map_scores(maps)], [there.map_scores(maps)], 1e-4)


@pytest.mark.parametrize("pool", [False, True])
def test_features_are_those_of_the_processor_up_to_half_precision(
    monkeypatch: pytest.MonkeyPatch, pool: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = [
        torch.randint(0, 256, (90, 120, 3), dtype=torch.uint8, generator=generator).numpy()
        for _ in range(3)
    ]
    layers = ("stride32",) if pool else ("stride8", "stride16")
    spec = FeatureSpec(
        "efficientnet_lite0",
        layers=layers,
        sizes=(128, 64) if pool else (128,),
        rotations=3 if pool else 1,
        pool=pool,
    )
    there = compute(pixels, spec)
    monkeypatch.setenv("COMET_DEVICE", "cpu")
    for name, here in compute(pixels, spec).items():
        assert there[name].is_cpu and there[name].dtype == torch.half
        assert (there[name].float() - here.float()).norm() < 0.01 * here.float().norm()
