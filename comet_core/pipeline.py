"""One run from settings to numbers: list, contaminate, extract, train, evaluate."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from comet_core import metrics
from comet_core.confidence import confidence_weights, iqr_threshold
from comet_core.config import RunConfig
from comet_core.datasets import load
from comet_core.datasets.base import ANOMALOUS, NOMINAL, Dataset, Record, images
from comet_core.datasets.contamination import contaminate
from comet_core.datasets.masks import load_masks
from comet_core.detectors import Detector, make_detector
from comet_core.features import Features, FeatureSpec, extract, feature_spec
from comet_core.prior import prior_scores
from comet_core.training import Training, fit


@dataclass
class RunOutput:
    """The row of a run, and its tables of per-sample values."""

    row: dict[str, Any]
    tables: dict[str, pd.DataFrame]


@dataclass
class Fitted:
    """A run up to the trained detector, for callers that want to look inside."""

    config: RunConfig
    dataset: Dataset
    detector: Detector
    training: Training
    train: list[Record]
    spec: FeatureSpec
    manifest: pd.DataFrame
    seconds: dict[str, float]


def listed(config: RunConfig) -> tuple[Dataset, pd.DataFrame]:
    """The data of a run, limited and contaminated, and the manifest of the injected images."""
    dataset = load(config.dataset, config.data_root, config.category, strict=config.strict)
    dataset = limited(dataset, config.train_limit, config.test_limit)
    return contaminate(dataset, config.contamination, overlap=config.overlap, seed=config.seed)


def fit_run(config: RunConfig, *, progress: bool = False) -> Fitted:
    """List the data, contaminate the training set, extract features and train.

    Raises:
        InputError: for anything about the data or the settings that does not fit.
    """
    dataset, manifest = listed(config)
    records = list(dataset.train)
    if config.oracle:
        records = [record for record in records if record.label != ANOMALOUS]
    detector = make_detector(config.detector, config.options)
    spec = feature_spec(detector, config.backbone, config.image_size)
    started = time.perf_counter()

    def features_of(spec: FeatureSpec) -> Features:
        return extract(images(records), spec, strict=config.strict, progress=progress)

    features = features_of(spec)
    extracted = time.perf_counter()
    records = _kept(records, features)
    prior = prior_scores(features.maps, config, features_of)
    weighed = time.perf_counter()
    training = fit(detector, features.maps, features.ids, config, prior=prior, progress=progress)
    seconds = {
        "train_features_seconds": extracted - started,
        "prior_seconds": weighed - extracted,
        "train_seconds": time.perf_counter() - weighed,
    }
    return Fitted(config, dataset, detector, training, records, spec, manifest, seconds)


def execute(config: RunConfig) -> RunOutput:
    """Compute one run.

    Returns:
        The row: metrics on the test set with the model of the last epoch, I-AUROC also as if the
        injected images had stayed in it (`image_auroc_overlap`), the threshold t of
        equation 1 on the training scores, what the weights found, and costs. Tables: `train` and
        `test`, one row an image; `history`, one an epoch; `weights`, one a refresh and image;
        `manifest`, the anomalous training images.

    Raises:
        InputError: for anything about the data or the settings that does not fit.
    """
    fitted = fit_run(config)
    started = time.perf_counter()
    tested = {record.id for record in fitted.dataset.test}
    injected = set(fitted.manifest.loc[fitted.manifest["origin"] == "injected", "id"])
    left = [record for record in fitted.dataset.train if record.id in injected - tested]
    asked = [*fitted.dataset.test, *left]
    features, part_scores = Features([], {}), torch.empty(0, 1)
    if asked:  # a folder of one's own has no test set
        features = extract(images(asked), fitted.spec, strict=config.strict, progress=False)
    extracted = time.perf_counter()
    records = _kept(asked, features)
    if asked:
        part_scores = fitted.detector.map_scores(features.maps)
    scores = fitted.detector.image_scores(part_scores).double().numpy()
    threshold = iqr_threshold(fitted.training.final.image_scores, config.kappa).item()
    overlap = _table(records).assign(score=scores, flagged=scores > threshold)
    records = [record for record in records if record.id in tested]
    part_scores, scores = part_scores[: len(records)], scores[: len(records)]
    test = overlap[: len(records)]
    train = _train_table(fitted, threshold)

    labels = test["label"].to_numpy()
    row: dict[str, Any] = {
        "n_train": len(train),
        "n_train_anomalous": int((train["label"] == ANOMALOUS).sum()),
        "n_test": len(test),
        "synthetic": fitted.dataset.synthetic,
        "skipped": len(features.skipped) + len(fitted.dataset.skipped),
    }
    known = test["label"].isin([NOMINAL, ANOMALOUS]).all() and len(test) > 0
    if known:
        row |= _detection(labels.astype(int), scores, threshold)
        row["image_auroc_overlap"] = metrics.image_auroc(
            overlap["label"].to_numpy().astype(int), overlap["score"].to_numpy()
        )
        row |= _localisation(fitted, records, part_scores)
    row |= _confidence(train)
    last = fitted.training.history.iloc[-1]
    row |= {f"last_{name}": float(last[name]) for name in last.index if name not in _NOT_LAST}
    row |= fitted.seconds
    row["test_features_seconds"] = extracted - started
    row["test_seconds"] = time.perf_counter() - extracted
    row["peak_memory_mb"] = peak_memory_mb()
    tables = {
        "train": train,
        "test": test,
        "history": fitted.training.history.drop(columns="seconds"),
        "weights": fitted.training.weights,
        "manifest": fitted.manifest,
    }
    return RunOutput(row, tables)


_NOT_LAST = ("epoch", "seconds")


def limited(dataset: Dataset, train_limit: int | None, test_limit: int | None) -> Dataset:
    """A smaller data set: the first training images, and test images in turn from every kind.

    Half of the test images are nominal where there are enough of them, and the anomalous ones are
    taken in turn from the kinds, so that a small test set still holds all of them.
    """
    train, test = dataset.train, dataset.test
    if train_limit is not None:
        train = train[:train_limit]
    if test_limit is not None and len(test) > test_limit:
        nominal = [record for record in test if record.label != ANOMALOUS]
        kinds: dict[str, list[Record]] = {}
        for record in test:
            if record.label == ANOMALOUS:
                kinds.setdefault(record.kind, []).append(record)
        in_turn = [r for r in chain.from_iterable(zip_longest(*kinds.values())) if r is not None]
        chosen = {r.id for r in (*nominal[: test_limit // 2], *in_turn[: test_limit // 2])}
        test = tuple(record for record in test if record.id in chosen)
    return replace(dataset, train=train, test=test)


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MiB; nan where the system cannot tell."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _kept(records: Sequence[Record], features: Features) -> list[Record]:
    """The records whose images could be read, in the order of the features."""
    found = {record.id: record for record in records}
    return [found[name] for name in features.ids]


def _table(records: Sequence[Record]) -> pd.DataFrame:
    """Ids and truth of records, for evaluation."""
    rows = [(r.id, r.label, r.kind, r.truth) for r in records]
    return pd.DataFrame(rows, columns=["id", "label", "kind", "truth"])


def _train_table(fitted: Fitted, threshold: float) -> pd.DataFrame:
    """Scores of the trained model on its training images, and the weights of equation 2.

    The weight is the soft one for every strategy, so that runs compare; `used` is the weight that
    the image had in the last epoch.
    """
    final = fitted.training.final
    weights = confidence_weights(final.image_scores, threshold)
    return _table(fitted.train).assign(
        score=final.image_scores.double().numpy(),
        weight=weights.double().numpy(),
        used=fitted.training.used.double().numpy(),
    )


def _detection(labels: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    """Image metrics: rank metrics, and precision, recall and F1 at each threshold rule."""
    row = {
        "image_auroc": metrics.image_auroc(labels, scores),
        "average_precision": metrics.average_precision(labels, scores),
    }
    rules = {
        "iqr": metrics.precision_recall_f1(labels, scores, threshold),
        "oracle": metrics.best_f1_oracle(labels, scores),
    }
    for rule, found in rules.items():
        row |= {f"{name}_{rule}": value for name, value in found._asdict().items()}
    return row


def _localisation(
    fitted: Fitted, records: Sequence[Record], part_scores: Tensor
) -> dict[str, float]:
    """Pixel metrics over the test images whose pixels are known; nan without maps or masks."""
    size = fitted.config.pixel_size
    missing = {"pixel_auroc": float("nan"), "aupro": float("nan")}
    if not size:
        return missing
    maps = fitted.detector.anomaly_maps(part_scores, size)
    if maps is None:
        return missing
    masks, known, _ = load_masks(records, size, strict=fitted.config.strict)
    if not masks[known].any():
        return missing
    return {
        "pixel_auroc": metrics.pixel_auroc(masks[known], maps.numpy()[known]),
        "aupro": metrics.aupro(masks[known], maps.numpy()[known]),
    }


def _confidence(train: pd.DataFrame) -> dict[str, float]:
    """What the weights say of the dirt in the training set, where its truth is known."""
    row = {"mean_weight": float(train["weight"].mean())}
    if train["label"].isna().any():
        return row
    dirty = train["label"].to_numpy().astype(int)
    groups = train["truth"].where(train["truth"] != "", train["label"].map(_TRUTH))
    for truth in ("nominal", "boundary", "anomalous"):
        row[f"mean_weight_{truth}"] = float(train.loc[groups == truth, "weight"].mean())
    row["dirt_auroc"] = metrics.image_auroc(dirty, train["score"].to_numpy())
    return row


_TRUTH = {NOMINAL: "nominal", ANOMALOUS: "anomalous"}
