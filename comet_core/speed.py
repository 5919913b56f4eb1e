"""How long training takes: the usual way (`usual`) and ours, on the same images and settings.

Times are processor time of one thread, which other programs on the machine disturb little. Epochs
are alike, so a few are measured and the rest is a multiplication; `Timing.total` says it. Each
measurement runs in a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import functools
import multiprocessing
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from comet_core import metrics
from comet_core.backbones import load_backbone
from comet_core.config import RunConfig
from comet_core.datasets import load
from comet_core.datasets.base import ANOMALOUS, Image
from comet_core.detectors import make_detector
from comet_core.features import FeatureSpec, extract, feature_spec
from comet_core.pipeline import limited, peak_memory_mb
from comet_core.training import fit
from comet_core.usual import train_the_usual_way

EPOCHS = {"simplenet": 160, "differnet": 192}
"""Epochs of the paper, which times are told for."""
WAYS = ("usual", "ours")


@dataclass(frozen=True)
class Case:
    """What to measure.

    Attributes:
        way: one of `WAYS`.
        detector: its name.
        train, test: image files; `labels` are those of the test images, 0 or 1.
        epochs: to train for the comparison of scores; the usual way's time is measured on them.
        more: epochs that our way's time is measured on.
        options: further fields of `RunConfig`, such as the image size or the strategy.
    """

    way: str
    detector: str
    train: Sequence[Path]
    test: Sequence[Path]
    labels: Sequence[int]
    epochs: int = 1
    more: int = 10
    options: dict[str, Any] = field(default_factory=dict)

    def settings(self, epochs: int) -> RunConfig:
        """The demo profile with so many epochs."""
        given = {"category": "", "detector": self.detector, "strategy": "plain", **self.options}
        return RunConfig.from_profile({**given, "epochs": epochs, "max_steps": None})


@dataclass(frozen=True)
class Timing:
    """What was measured, in processor seconds.

    Attributes:
        setup: once, before the epochs: the standardisation; with us all features, those of the test
            images included.
        epoch: of one epoch, which the usual way ends with a look at the test set.
        finish: once, after the epochs.
        image_auroc, scores: of the test images after the case's `epochs`.
        peak_memory_mb: largest resident memory of the process.
        epochs: that were measured.
    """

    setup: float
    epoch: float
    finish: float
    image_auroc: float
    scores: list[float]
    peak_memory_mb: float
    epochs: int

    def total(self, epochs: int) -> float:
        """Seconds for so many epochs."""
        return self.setup + self.epoch * epochs + self.finish


def measure(case: Case) -> Timing:
    """Measure one case, here and now, on one thread."""
    settings = case.settings(1)
    spec = feature_spec(
        make_detector(settings.detector, settings.options), settings.backbone, settings.image_size
    )
    # What a process does once is not counted: loading the backbone, and what an optimiser imports.
    load_backbone(spec.backbone, spec.layers)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _usual(case, spec) if case.way == "usual" else _ours(case, spec)
    finally:
        torch.set_num_threads(threads)


def measure_apart(case: Case) -> Timing:
    """`measure` in a fresh process, so that its memory is its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, case).result()


def _images(paths: Sequence[Path]) -> list[Image]:
    return [Image(str(path), path) for path in paths]


def _usual(case: Case, spec: FeatureSpec) -> Timing:
    settings = case.settings(case.epochs)
    detector = make_detector(settings.detector, settings.options)
    train, test = _images(case.train), _images(case.test)
    done = train_the_usual_way(detector, spec, train, test, case.labels, settings)
    return Timing(
        setup=done.setup,
        epoch=float(np.mean(done.epochs)),
        finish=0.0,
        image_auroc=done.image_auroc[-1],
        scores=done.scores.tolist(),
        peak_memory_mb=peak_memory_mb(),
        epochs=case.epochs,
    )


def _ours(case: Case, spec: FeatureSpec) -> Timing:
    with tempfile.TemporaryDirectory() as cache:
        load = functools.partial(extract, spec=spec, cache=Path(cache), progress=False)
        started = time.process_time()
        train, test = load(_images(case.train)), load(_images(case.test))
        setup = time.process_time() - started

    def trained(epochs: int) -> tuple[float, float, np.ndarray]:
        settings = case.settings(epochs)
        detector = make_detector(settings.detector, settings.options)
        started = time.process_time()
        fit(detector, train.maps, train.ids, settings)
        fitted = time.process_time()
        scores = detector.image_scores(detector.map_scores(test.maps)).double().numpy()
        return fitted - started, time.process_time() - fitted, scores

    short, tested, scores = trained(case.epochs)
    many = case.epochs + case.more
    long = trained(many)[0] if case.more else short
    epoch = (long - short) / case.more if case.more else 0.0
    if not case.more:  # all epochs were trained: nothing to tell apart
        epoch, many = short / case.epochs, case.epochs
    return Timing(
        setup=setup + (short - case.epochs * epoch),
        epoch=epoch,
        finish=tested,
        image_auroc=metrics.image_auroc(case.labels, scores),
        scores=scores.tolist(),
        peak_memory_mb=peak_memory_mb(),
        epochs=many,
    )


def small_cases(data_root: Path, category: str, profile: str) -> list[Case]:
    """Both ways for SimpleNet on a few images of a category in MVTec AD's layout, for a notebook.

    Raises:
        InputError: the data are not there.
    """
    tiny = profile == "smoke"
    data = limited(load("mvtec_ad", data_root, category), 8 if tiny else 24, 8 if tiny else 16)
    labels = [int(record.label == ANOMALOUS) for record in data.test]
    train, test = ([record.path for record in part] for part in (data.train, data.test))
    options = {"image_size": 128} if tiny else {}
    return [
        Case(way, "simplenet", train, test, labels, epochs=1 if tiny else 2, options=options)
        for way in WAYS
    ]


def compare(
    cases: Sequence[Case], run: Callable[[Case], Timing] = measure_apart
) -> list[dict[str, Any]]:
    """Measure cases; one row each, with the time for the paper's number of epochs.

    `score_difference` is how far the scores of the two ways lie apart: the largest difference over
    the scores' standard deviation.
    """
    rows: list[dict[str, Any]] = []
    scores: dict[tuple[str, int], np.ndarray] = {}
    for case in cases:
        timing = run(case)
        epochs = EPOCHS[case.detector]
        found = np.asarray(timing.scores)
        first = scores.setdefault((case.detector, len(case.train)), found)
        rows.append(
            {
                "detector": case.detector,
                "way": case.way,
                "images": len(case.train),
                "test_images": len(case.test),
                "strategy": case.settings(1).strategy,
                "measured_epochs": timing.epochs,
                "setup_seconds": timing.setup,
                "epoch_seconds": timing.epoch,
                "finish_seconds": timing.finish,
                "epochs": epochs,
                "total_seconds": timing.total(epochs),
                "peak_memory_mb": timing.peak_memory_mb,
                "compared_epochs": case.epochs,
                "image_auroc": timing.image_auroc,
                "score_difference": float(np.abs(found - first).max() / first.std()),
            }
        )
    return rows


def made() -> dict[str, Any]:
    """When and on what a record is made."""
    return {"made": time.strftime("%Y-%m-%d", time.gmtime()), "machine": machine()}


def machine() -> dict[str, Any]:
    """What the measurements were made on."""
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": 1,
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
