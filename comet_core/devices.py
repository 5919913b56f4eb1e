"""Where tensors are computed: on the processor, or on what COMET_DEVICE names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from comet_core.errors import InputError

VARIABLE = "COMET_DEVICE"
PROCESSOR = torch.device("cpu")


def device() -> torch.device:
    """The torch device that COMET_DEVICE names, such as "cuda" or "mps"; by default the processor.

    It is no setting of a run, since it decides how fast a result comes and, but for rounding and
    random numbers, not which. The environment carries it to workers.

    Raises:
        InputError: there is no such device, or it cannot be used here.
    """
    name = os.environ.get(VARIABLE) or "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(
            f"{VARIABLE} is '{name}', which does not exist here, or PyTorch was built without it;"
            f" unset {VARIABLE} or set it to 'cpu'."
        ) from None


def sent(tensor: Tensor, place: torch.device) -> Tensor:
    """A tensor on a device; on its way from main memory to a GPU the processor goes on."""
    if place.type == "cuda" and tensor.is_cpu:
        return tensor.pin_memory().to(place, non_blocking=True)
    return tensor.to(place)


def computes_in_half(place: torch.device) -> bool:
    """Whether `half_precision` changes anything there."""
    return place.type == "cuda"


def half_precision(place: torch.device) -> AbstractContextManager:
    """Convolutions in half precision on a GPU, which has units for it; elsewhere nothing changes.

    For frozen networks whose outputs are kept in half precision anyway: those of the embedded
    backbone change by 0.4 to 0.6 % (measured on the processor).
    """
    if computes_in_half(place):
        return torch.autocast(place.type, torch.float16)
    return nullcontext()


@contextmanager
def quick_products(place: torch.device) -> Iterator[None]:
    """Matrix products on a GPU's matrix units, which round their factors to ten bits (TF32).

    For training, which is noisy beside that. On the processor nothing changes.
    """
    before = torch.get_float32_matmul_precision()
    if place.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def brought_near(samples: Tensor, place: torch.device) -> Tensor:
    """Training samples on the device where they leave half of its free memory; else as they are.

    From there a batch is a gather; from main memory it is also a copy.
    """
    if place.type == "cuda":
        free, _ = torch.cuda.mem_get_info(place)
        return samples.to(place) if 2 * samples.nbytes < free else samples
    return samples.to(place)


class Recorded:
    """A function of tensors on a GPU, whose kernels are launched together.

    A small network's kernels take less time than the processor needs to launch them, one by one and
    anew in every step. A CUDA graph, recorded at the first call with inputs of these shapes, holds
    them all: a step of the flow in the sizes of the demo profile then takes a seventh of the time
    (`benchmarks/gpu.json`).

    The function must have no side effects, must not read numbers back, and the tensors it finds
    elsewhere, such as a detector's parameters, must stay where they lie. What a call returns is
    overwritten by the next one.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._graphs: dict[tuple[torch.Size, ...], tuple[Any, list[Tensor], Any]] = {}
        self._memory: Any = None

    def __call__(self, *inputs: Tensor) -> Any:
        shapes = tuple(one.shape for one in inputs)
        if shapes not in self._graphs:
            self._graphs[shapes] = self._record(inputs)
        graph, own, result = self._graphs[shapes]
        for mine, given in zip(own, inputs, strict=True):
            mine.copy_(given)
        graph.replay()
        return result

    def _record(self, inputs: tuple[Tensor, ...]) -> tuple[Any, list[Tensor], Any]:
        own = [one.clone() for one in inputs]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            # Libraries settle in when they are first used, which no graph can hold.
            self.function(*own)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # One graph runs at a time, so that all can use the same memory.
        with torch.cuda.graph(graph, pool=self._memory):
            result = self.function(*own)
        self._memory = graph.pool()
        return graph, own, result
