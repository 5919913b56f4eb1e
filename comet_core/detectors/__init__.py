"""Anomaly detectors, by name."""

from __future__ import annotations

from typing import Any

from comet_core.detectors.base import Detector
from comet_core.detectors.differnet import DifferNet
from comet_core.detectors.memory_bank import MemoryBank, SoftPatch
from comet_core.detectors.simplenet import SimpleNet
from comet_core.errors import InputError

DETECTORS: dict[str, type[Detector]] = {
    d.name: d for d in (SimpleNet, DifferNet, MemoryBank, SoftPatch)
}


def make_detector(name: str, options: dict[str, Any] | None = None) -> Detector:
    """A detector by name, not yet built: `fit_input` builds it.

    Raises:
        InputError: for an unknown name or option.
    """
    if name not in DETECTORS:
        raise InputError(f"unknown detector '{name}'; the known ones are {', '.join(DETECTORS)}.")
    return DETECTORS[name](options)
