"""Training away from the processor, with PyTorch's meta device in the place of one.

It computes no numbers but refuses to mix its tensors with the processor's, as a GPU does, so that a
tensor that was left behind is found on a machine without one. What meta tensors cannot do, to be
copied back, drawn or read, is stood in for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental import _config as shapes

from comet_core import devices, training
from comet_core.backbones import load_backbone
from comet_core.config import TrainingSettings
from comet_core.detectors import make_detector
from comet_core.errors import InputError

META = torch.device("meta")
MAPS = {
    "differnet": {"pooled": torch.randn(10, 4, 24).half()},
    "simplenet": {
        "stride8": torch.randn(10, 8, 16, 16).half(),
        "stride16": torch.randn(10, 6, 8, 8).half(),
    },
}


class Source:
    """In the place of a generator, which the meta device has none of."""

    device = META

    def __init__(self, place: torch.device | None = None) -> None:
        """Of the meta device, or of the processor for the permutations of a flow."""

    def manual_seed(self, seed: int) -> Source:
        return self


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    to, copy, draw, order = Tensor.to, Tensor.copy_, Tensor.normal_, torch.randperm

    def moved(tensor: Tensor, *to_what: Any, **options: Any) -> Tensor:
        if tensor.is_meta and to_what[:1] == (torch.device("cpu"),):
            return torch.ones(tensor.shape, dtype=tensor.dtype)
        return to(tensor, *to_what, **options)

    def copied(tensor: Tensor, source: Tensor) -> Tensor:
        if source.is_meta and not tensor.is_meta:
            return tensor.fill_(1.0)
        return copy(tensor, source)

    def permuted(count: int, *, generator: Any, device: torch.device | None = None) -> Tensor:
        return order(count).to(device or torch.device("cpu"))

    def drawn(tensor: Tensor, *moments: float, generator: Any = None) -> Tensor:
        return tensor if tensor.is_meta else draw(tensor, *moments, generator=generator)

    monkeypatch.setattr(Tensor, "to", moved)
    monkeypatch.setattr(Tensor, "copy_", copied)
    monkeypatch.setattr(Tensor, "normal_", drawn)
    monkeypatch.setattr(Tensor, "item", lambda tensor: 0.5)
    monkeypatch.setattr(Tensor, "tolist", lambda tensor: [0.5] * tensor.numel())
    monkeypatch.setattr(torch, "randperm", permuted)
    monkeypatch.setattr(torch, "Generator", Source)
    monkeypatch.setattr(training, "device", lambda: META)
    with shapes.patch(meta_nonzero_assume_all_nonzero=True):
        yield


def sgd(detector: Any, learning_rate: float) -> torch.optim.Optimizer:
    """Adam in one kernel, as detectors want it, is for processors and GPUs only."""
    return torch.optim.SGD(detector.parameters(), lr=learning_rate)


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize("strategy", ["plain", "reject", "comet"])
@pytest.mark.parametrize("name", list(MAPS))
def test_training_leaves_no_tensor_behind(
    away: None, monkeypatch: pytest.MonkeyPatch, name: str, strategy: str, near: bool
) -> None:
    detector = make_detector(name, {"hidden": 8})
    monkeypatch.setattr(type(detector), "optimiser", sgd)
    if not near:
        monkeypatch.setattr(training, "brought_near", lambda samples, place: samples)
    settings = {"strategy": strategy, "epochs": 2, "warmup_epochs": 1, "batch_size": 5, "tasks": 2}
    done = training.fit(
        detector, MAPS[name], [str(i) for i in range(10)], TrainingSettings(**settings)
    )
    assert detector.device == META
    assert not any(one.is_meta for one in (done.used, done.final.scores, done.final.weights))
    assert not detector.map_scores(MAPS[name]).is_meta


def test_the_device_is_the_processor_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMET_DEVICE", raising=False)
    assert devices.device() == torch.device("cpu")
    monkeypatch.setenv("COMET_DEVICE", "meta")
    assert devices.device() == META
    monkeypatch.setenv("COMET_DEVICE", "cuda:99")
    with pytest.raises(InputError, match="COMET_DEVICE is 'cuda:99', which does not exist here"):
        devices.device()


def test_a_gpu_gets_its_images_without_waiting_and_computes_in_half_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: asked.append("pinned") or tensor)
    monkeypatch.setattr(
        Tensor, "to", lambda tensor, *place, **how: asked.append((*place, how)) or tensor
    )
    cuda = torch.device("cuda")
    devices.sent(torch.ones(2), cuda)
    assert asked == ["pinned", (cuda, {"non_blocking": True})]
    monkeypatch.setattr(torch, "autocast", lambda *given: nullcontext(given))
    with devices.half_precision(cuda) as given:
        assert given == ("cuda", torch.float16)
    with devices.half_precision(torch.device("cpu")) as given:
        assert given is None


def test_a_graph_is_recorded_for_each_shape_and_given_each_call_s_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With graphs that do nothing when replayed: the function returns a view of what it is given.

    `test_gpu` replays real ones.
    """
    replayed, called, memories = [], [], []

    class Graph:
        def replay(self) -> None:
            replayed.append(self)

        def pool(self) -> str:
            return "memory"

    class Stream:
        def wait_stream(self, other: Stream) -> None:
            pass

    def record(graph: Graph, pool: str | None) -> AbstractContextManager[None]:
        memories.append(pool)
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", record)

    def flat(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        called.append(tuple(x.shape))
        return x.flatten(), y.flatten()

    recorded = devices.Recorded(flat)
    for rows in (2, 3, 2, 2):
        x, y = torch.randn(2, rows, 4)
        found = recorded(x, y)
        assert torch.equal(found[0], x.flatten()) and torch.equal(found[1], y.flatten())
    # To settle in and to be recorded, once for either shape; in memory that both share.
    assert called == [(2, 4)] * 2 + [(3, 4)] * 2
    assert memories == [None, "memory"]
    assert len(replayed) == 4 and len(set(replayed)) == 2


@pytest.mark.parametrize("name", list(MAPS))
def test_steps_are_recorded_on_a_gpu_only_and_where_the_detector_allows_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    detector = make_detector(name, {"hidden": 8})
    assert training._launched(print, detector) is print
    monkeypatch.setattr(type(detector), "device", torch.device("cuda"))
    assert isinstance(training._launched(print, detector), devices.Recorded)
    monkeypatch.setattr(detector, "recordable", False)
    assert training._launched(print, detector) is print


def test_products_are_quick_on_a_gpu_and_only_while_asked_for() -> None:
    before = torch.get_float32_matmul_precision()
    with devices.quick_products(torch.device("cpu")):
        assert torch.get_float32_matmul_precision() == before == "highest"
    with pytest.raises(ValueError), devices.quick_products(torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == "high"
        raise ValueError
    assert torch.get_float32_matmul_precision() == before


def test_half_precision_hardly_changes_the_features() -> None:
    """What a GPU would do, by the processor: within a hundredth."""
    pixels = torch.randint(0, 256, (2, 3, 128, 128), generator=torch.Generator().manual_seed(0))
    backbone = load_backbone("efficientnet_lite0", ("stride8", "stride16"))
    with torch.inference_mode():
        wanted = backbone(pixels.float())
        with torch.autocast("cpu", torch.float16):
            found = backbone(pixels.float())
    for name, map_ in wanted.items():
        assert found[name].dtype == torch.float16
        assert 0 < (found[name].float() - map_).norm() < 0.01 * map_.norm()
