"""How well scores tell anomalous from nominal: pure functions on arrays.

Labels are 0 (nominal) and 1 (anomalous); a higher score means more anomalous. Where a number does
not exist, because only one class is present, the answer is nan, so that one odd category does not
stop a grid. Scores that are not finite, shapes that disagree and labels other than 0 and 1 are
mistakes and raise `InputError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from sklearn import metrics as sk

from comet_core.errors import InputError

AUPRO_LIMIT = 0.3
"""False positive rate that the per-region overlap is integrated to (Bergmann et al., 2020)."""

Maps = Sequence[NDArray] | NDArray


class Detection(NamedTuple):
    """Quality of the decision `score > threshold`, each of precision, recall, F1 in [0, 1]."""

    precision: float
    recall: float
    f1: float
    threshold: float


def image_auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: the chance that an anomalous image outscores a nominal one.

    Args:
        labels: (N,) 0 or 1.
        scores: (N,) any real numbers; ties count one half.

    Returns:
        A number in [0, 1]; nan where only one class is present.
    """
    labels, scores = _checked(labels, scores)
    return float(sk.roc_auc_score(labels, scores)) if _two_classes(labels) else float("nan")


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Mean precision over the recall steps, without interpolation: (N,), (N,) -> [0, 1] or nan."""
    labels, scores = _checked(labels, scores)
    return (
        float(sk.average_precision_score(labels, scores)) if _two_classes(labels) else float("nan")
    )


def pixel_auroc(masks: Maps, maps: Maps) -> float:
    """Area under the ROC curve of all pixels of all images taken together.

    Args:
        masks: N arrays (H, W), anomalous where not 0 (all 0 for a nominal image).
        maps: N anomaly maps of the same shapes, higher meaning more anomalous.

    Returns:
        A number in [0, 1]; nan where no pixel, or every pixel, is anomalous.
    """
    regions, maps = _checked_maps(masks, maps)
    anomalous = np.concatenate([score[mask] for mask, score in zip(regions, maps, strict=True)])
    weights = np.full(anomalous.size, 1 / max(anomalous.size, 1))
    return _area(_nominal_pixels(regions, maps), anomalous, weights, limit=1.0)


def aupro(masks: Maps, maps: Maps, limit: float = AUPRO_LIMIT) -> float:
    """Area under the curve of per-region overlap against false positive rate, up to `limit`.

    Every anomalous region (8-connected, within one image) counts the same, however large. The
    result is exact: the curve is integrated at every score that occurs, straight between them.

    Args:
        masks: N arrays (H, W), anomalous where not 0 (all 0 for a nominal image).
        maps: N anomaly maps of the same shapes, higher meaning more anomalous.
        limit: false positive rate in (0, 1] to integrate to.

    Returns:
        The area divided by `limit`, in [0, 1]; nan where no pixel, or every pixel, is anomalous.

    Source: Bergmann et al., "Uninformed Students", CVPR 2020, section 4.2.
    """
    if not 0 < limit <= 1:
        raise InputError(f"aupro: limit = {limit!r} is not in (0, 1]; the usual one is 0.3.")
    regions, maps = _checked_maps(masks, maps)
    scores, weights = [], []
    for mask, score in zip(regions, maps, strict=True):
        if not mask.any():
            continue
        names, _ = ndimage.label(mask, structure=np.ones((3, 3), dtype=int))
        area = np.bincount(names.ravel())
        scores.append(score[mask])
        weights.append(1 / area[names[mask]])  # each region weighs 1 in all
    if not scores:
        return float("nan")
    weight = np.concatenate(weights)
    return _area(_nominal_pixels(regions, maps), np.concatenate(scores), weight, limit)


def precision_recall_f1(labels: ArrayLike, scores: ArrayLike, threshold: float) -> Detection:
    """Precision, recall and F1 of calling an image anomalous when `score > threshold`.

    Precision is 0 where nothing is called anomalous; all three are nan where no label is 1.

    Args:
        labels: (N,) 0 or 1.
        scores: (N,) real numbers.
        threshold: any number; infinite ones call everything or nothing anomalous.
    """
    labels, scores = _checked(labels, scores)
    if np.isnan(threshold):
        raise InputError(
            "precision_recall_f1: the threshold is nan; compute it from finite scores."
        )
    called = scores > threshold
    hits, positives = int((called & labels).sum()), int(labels.sum())
    return _detection(hits, int(called.sum()), positives, float(threshold))


def best_f1_oracle(labels: ArrayLike, scores: ArrayLike) -> Detection:
    """The best F1 that any threshold reaches: an ORACLE, for it looks at the test labels.

    It bounds what a threshold rule can do with these scores and is no result of an unsupervised
    method. Of equally good thresholds the highest is taken. nan where no label is 1.

    Args:
        labels: (N,) 0 or 1.
        scores: (N,) real numbers.
    """
    labels, scores = _checked(labels, scores)
    if not labels.any():
        return _detection(0, 0, 0, float("nan"))
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), ranked.size - 1)  # end of each run of ties
    best = last[np.argmax(2 * hits[last] / (last + 1 + hits[-1]))]
    below = ranked[best + 1] if best + 1 < ranked.size else np.nextafter(ranked[best], -np.inf)
    return _detection(int(hits[best]), int(best) + 1, int(hits[-1]), float(below))


def precision_at_k(labels: ArrayLike, scores: ArrayLike, k: int | None = None) -> float:
    """Share of anomalous samples among the `k` highest scores.

    Samples tied at the cut count by their chance of being among the `k`.

    Args:
        labels: (N,) 0 or 1.
        scores: (N,) real numbers.
        k: 1 to N; by default the number of anomalous samples (then it equals the recall at k).

    Returns:
        A number in [0, 1]; nan where `k` is left out and no label is 1.
    """
    labels, scores = _checked(labels, scores)
    if k is None:
        k = int(labels.sum())
        if k == 0:
            return float("nan")
    if not 1 <= k <= scores.size:
        raise InputError(f"precision_at_k: k = {k} is not between 1 and {scores.size} samples.")
    cut = -np.partition(-scores, k - 1)[k - 1]
    above, tied = scores > cut, scores == cut
    hits = labels[above].sum() + (k - above.sum()) * labels[tied].mean()
    return float(hits / k)


def _detection(hits: int, called: int, positives: int, threshold: float) -> Detection:
    if positives == 0:
        return Detection(float("nan"), float("nan"), float("nan"), threshold)
    precision = hits / called if called else 0.0
    return Detection(precision, hits / positives, 2 * hits / (called + positives), threshold)


def _area(nominal: NDArray, anomalous: NDArray, weights: NDArray, limit: float) -> float:
    """Area under the weighted detection rate against the false positive rate, over `limit`.

    An anomalous pixel is found from the false positive rate at which its score is reached. With
    ties the rate runs from `start` (nominal pixels above it) to `end` (above or equal), and the
    curve rises straight between the two; so each pixel adds its weight times the area of one ramp,
    and no curve has to be built. With limit 1 and equal weights this is the AUROC.
    """
    if nominal.size == 0 or anomalous.size == 0:
        return float("nan")
    nominal = np.sort(nominal)
    order = np.argsort(anomalous)  # neighbours in memory make the searches below quick
    anomalous, weights = anomalous[order], weights[order]
    start = 1 - np.searchsorted(nominal, anomalous, side="right") / nominal.size
    end = 1 - np.searchsorted(nominal, anomalous, side="left") / nominal.size
    span = np.where(end > start, end - start, 1.0)
    partial = np.maximum(limit - start, 0) ** 2 / (2 * span)
    area = np.where(end > limit, partial, limit - (start + end) / 2)
    return float(np.clip(area @ weights / (weights.sum() * limit), 0, 1))


def _nominal_pixels(masks: list[NDArray], maps: list[NDArray]) -> NDArray:
    return np.concatenate([score[~mask] for mask, score in zip(masks, maps, strict=True)])


def _two_classes(labels: NDArray) -> bool:
    return bool(labels.any() and not labels.all())


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray, NDArray]:
    raw, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if raw.ndim != 1 or raw.shape != scores.shape or raw.size == 0:
        raise InputError(
            f"labels of shape {raw.shape} and scores of shape {scores.shape} do not pair up; "
            "give one label and one score for each of at least one sample."
        )
    if not np.isin(raw, (0, 1)).all():
        raise InputError("a label is neither 0 (nominal) nor 1 (anomalous); leave unlabelled out.")
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise InputError(
            f"{bad.size} of {scores.size} scores are not finite, the first at position {bad[0]}; "
            "did the training diverge?"
        )
    return raw.astype(bool), scores


def _checked_maps(masks: Maps, maps: Maps) -> tuple[list[NDArray], list[NDArray]]:
    flags, scores = [np.asarray(mask) != 0 for mask in masks], [np.asarray(m) for m in maps]
    if not flags or [mask.shape for mask in flags] != [score.shape for score in scores]:
        raise InputError(
            "masks and anomaly maps do not pair up; give one mask of the same height and width for "
            "each of at least one map."
        )
    for index, score in enumerate(scores):
        if score.ndim != 2:
            raise InputError(f"anomaly map {index} has shape {score.shape}, not (height, width).")
        if not np.isfinite(score).all():
            raise InputError(f"anomaly map {index} is not finite; did the training diverge?")
    return flags, scores
