"""Metrics against naive versions, closed forms and the laws they obey."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label as label_regions
from sklearn.metrics import auc, f1_score, roc_auc_score

from comet_core.errors import InputError
from comet_core.metrics import (
    aupro,
    average_precision,
    best_f1_oracle,
    image_auroc,
    pixel_auroc,
    precision_at_k,
    precision_recall_f1,
)

LABELLED = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-5, 5)), min_size=2, max_size=40
).filter(lambda rows: len({label for label, _ in rows}) == 2)


def split(rows):
    labels, scores = zip(*rows, strict=True)
    return np.array(labels), np.array(scores, dtype=float)


def scene(seed, images=6, size=24, levels=None):
    """Masks of a few blobs and noisy maps that favour them; `levels` makes ties."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((images, size, size), dtype=np.uint8)
    for mask in masks[1:]:
        for _ in range(rng.integers(1, 4)):
            y, x = rng.integers(0, size - 4, 2)
            mask[y : y + rng.integers(1, 6), x : x + rng.integers(1, 6)] = 255
    maps = (masks > 0) * rng.uniform(0, 2) + rng.normal(size=masks.shape)
    if levels:
        maps = np.round(maps * levels) / levels
    return masks, maps.astype(np.float32)


def naive_aupro(masks, maps, limit):
    """The definition, one threshold at a time."""
    regions = []
    for index, mask in enumerate(masks):
        names = label_regions(mask > 0, connectivity=2)
        regions += [(index, names == name) for name in range(1, names.max() + 1)]
    nominal = masks == 0
    rates, overlaps = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        called = maps >= threshold
        rates.append((called & nominal).sum() / nominal.sum())
        overlaps.append(np.mean([called[i][region].mean() for i, region in regions]))
    rates, overlaps = np.array(rates), np.array(overlaps)
    # Several points may share a rate, where `interp` could answer with any: cut the curve by hand.
    inside = rates <= limit
    x, y = rates[inside], overlaps[inside]
    if x[-1] < limit:
        after = int(inside.sum())
        slope = (overlaps[after] - y[-1]) / (rates[after] - x[-1])
        x, y = np.append(x, limit), np.append(y, y[-1] + slope * (limit - x[-1]))
    return auc(x, y) / limit


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_equals_its_definition(seed, levels, limit):
    masks, maps = scene(seed, levels=levels)
    assert aupro(masks, maps, limit) == pytest.approx(naive_aupro(masks, maps, limit), abs=1e-6)


def test_aupro_counts_regions_and_not_pixels():
    mask = np.zeros((1, 20, 20), dtype=bool)
    mask[0, :10, :10] = True
    mask[0, 15, 15] = True
    maps = np.zeros((1, 20, 20))
    maps[0, 15, 15] = 1  # the small region is found, the large one scores like the background
    found_late = 0.3 / 2  # a straight rise of the large region's overlap from 0 to 1 over the rates
    assert aupro(mask, maps) == pytest.approx(0.5 + 0.5 * found_late)
    assert pixel_auroc(mask, maps) == pytest.approx((1 + 100 * 0.5) / 101)


def test_regions_that_touch_at_a_corner_are_one():
    mask = np.zeros((1, 9, 9), dtype=bool)
    mask[0, 2, 2] = True
    mask[0, 3:6, 3:6] = True
    maps = np.where(mask, 0.0, 0.5)
    maps[0, 2, 2] = 1.0
    assert aupro(mask, maps, 1.0) == pytest.approx(0.1)


@pytest.mark.parametrize("levels", [None, 2])
def test_pixel_auroc_equals_scikit_learn(levels):
    masks, maps = scene(7, levels=levels)
    assert pixel_auroc(masks, maps) == pytest.approx(
        roc_auc_score(masks.ravel() > 0, maps.ravel()), abs=1e-6
    )


def test_maps_of_different_sizes():
    wide = np.zeros((4, 8), bool)
    wide[1, 1] = True
    tall = np.zeros((9, 3), bool)
    assert pixel_auroc([wide, tall], [wide * 1.0, tall * 1.0]) == 1
    assert aupro([wide, tall], [wide * 1.0, tall * 1.0]) == 1


def test_many_maps_are_quick():
    rng = np.random.default_rng(0)
    masks = np.zeros((100, 256, 256), dtype=bool)
    masks[50:, 100:150, 60:90] = True
    maps = rng.normal(size=masks.shape).astype(np.float32) + masks
    begin = time.process_time()
    aupro(masks, maps)
    pixel_auroc(masks, maps)
    assert time.process_time() - begin < 6  # measured: about 1 s


@settings(deadline=None)
@given(LABELLED)
def test_laws_of_auroc(rows):
    labels, scores = split(rows)
    value = image_auroc(labels, scores)
    pairs = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    assert value == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert value == pytest.approx(1 - image_auroc(labels, -scores))
    assert value == pytest.approx(image_auroc(labels, np.exp(scores)))


@settings(deadline=None)
@given(LABELLED)
def test_no_threshold_beats_the_oracle(rows):
    labels, scores = split(rows)
    oracle = best_f1_oracle(labels, scores)
    rules = [f1_score(labels, scores > t) for t in np.append(np.unique(scores), -6.0)]
    assert oracle.f1 == pytest.approx(max(rules))
    # Its own threshold gives it back: the number can be used.
    assert precision_recall_f1(labels, scores, oracle.threshold) == pytest.approx(oracle)


@settings(deadline=None)
@given(LABELLED, st.data())
def test_precision_at_k_is_the_mean_over_orders_of_ties(rows, data):
    labels, scores = split(rows)
    k = data.draw(st.integers(1, len(rows)))
    cut = np.sort(scores)[::-1][k - 1]
    sure, tied = labels[scores > cut], labels[scores == cut]
    expected = (sure.sum() + (k - len(sure)) * tied.mean()) / k
    assert precision_at_k(labels, scores, k) == pytest.approx(expected)
    assert 0 <= precision_at_k(labels, scores, k) <= 1


def test_known_numbers():
    labels, scores = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
    assert image_auroc(labels, scores) == 0.75
    assert average_precision(labels, scores) == pytest.approx(0.8333333)
    assert precision_recall_f1(labels, scores, 0.3) == pytest.approx((2 / 3, 1, 0.8, 0.3))
    assert precision_recall_f1(labels, scores, 0.9)[:3] == (0, 0, 0)
    assert precision_at_k(labels, scores) == 0.5
    assert precision_at_k(labels, scores, 1) == 1


def test_the_decision_is_strictly_above_the_threshold():
    assert precision_recall_f1([0, 1], [0.5, 0.6], 0.5).precision == 1


def test_one_class_gives_nan():
    for labels in ([0, 0], [1, 1]):
        assert np.isnan(image_auroc(labels, [0.1, 0.2]))
        assert np.isnan(average_precision(labels, [0.1, 0.2]))
    assert np.isnan(best_f1_oracle([0, 0], [0.1, 0.2])[:3]).all()
    assert np.isnan(precision_recall_f1([0, 0], [0.1, 0.2], 0.15)[:3]).all()
    assert np.isnan(precision_at_k([0, 0], [0.1, 0.2]))
    for fill in (0, 1):
        assert np.isnan(pixel_auroc(np.full((2, 4, 4), fill), np.zeros((2, 4, 4))))
        assert np.isnan(aupro(np.full((2, 4, 4), fill), np.zeros((2, 4, 4))))


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([0, 1], [0.1, np.nan]), ([0, 1], [0.1, np.inf]), ([0, 2], [0, 1]), ([0], [0, 1]), ([], [])],
)
def test_mistakes_are_told(labels, scores):
    for metric in (image_auroc, average_precision, best_f1_oracle, precision_at_k):
        with pytest.raises(InputError):
            metric(labels, scores)


def test_mistakes_in_maps_are_told():
    mask = np.zeros((2, 4, 4))
    for maps in (mask[:1], mask[:, :3], mask * np.nan):
        for metric in (pixel_auroc, aupro):
            with pytest.raises(InputError):
                metric(mask, maps)
    for limit in (0, 1.5):
        with pytest.raises(InputError):
            aupro(mask, mask, limit)
    with pytest.raises(InputError):
        precision_at_k([0, 1], [0, 1], 3)
    with pytest.raises(InputError):
        precision_recall_f1([0, 1], [0, 1], float("nan"))
