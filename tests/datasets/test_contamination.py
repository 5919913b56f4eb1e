"""The noise protocol: sizes, nesting, proportions, determinism and the largest level."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from comet_core.datasets import ANOMALOUS, NOMINAL, Dataset, Record
from comet_core.datasets.contamination import COLUMNS, contaminate, injected_count, injection_order
from comet_core.errors import InputError


def make(nominal: int, kinds: dict[str, int], good: int = 5, natural: int = 0) -> Dataset:
    """A data set that exists in memory only."""

    def records(split: str, kind: str, count: int) -> list[Record]:
        label = NOMINAL if kind == "good" else ANOMALOUS
        names = [f"c/{split}/{kind}/{i:03}.png" for i in range(count)]
        return [Record(name, Path(name), split, label, kind=kind) for name in names]  # type: ignore[arg-type]

    train = records("train", "good", nominal) + records("train", "defect", natural)
    test = [
        r for kind, count in {"good": good, **kinds}.items() for r in records("test", kind, count)
    ]
    return Dataset("made", "c", Path("c"), tuple(train), tuple(test))


data = st.builds(
    make,
    st.integers(1, 300),
    st.dictionaries(
        st.sampled_from(["cut", "hole", "dent", "dust"]), st.integers(1, 40), min_size=1
    ),
    st.integers(0, 5),
    st.integers(0, 5),
)
percent = st.integers(0, 99).map(lambda p: p / 100)
seeds = st.integers(0, 10_000)


def ids(records: tuple[Record, ...]) -> set[str]:
    return {record.id for record in records}


def fits(dataset: Dataset, level: float, overlap: bool) -> bool:
    anomalous = sum(record.label == ANOMALOUS for record in dataset.test)
    nominal = sum(record.label == NOMINAL for record in dataset.train)
    return injected_count(level, nominal) <= anomalous - (not overlap)


@given(data, percent, st.booleans(), seeds)
def test_sizes_and_places(dataset, level, overlap, seed):
    assume(fits(dataset, level, overlap))
    dirty, manifest = contaminate(dataset, level, overlap=overlap, seed=seed)
    nominal = sum(record.label == NOMINAL for record in dataset.train)
    k = int(Fraction(str(level)) * nominal)  # floor, in exact arithmetic
    injected = dirty.train[len(dataset.train) :]
    assert len(injected) == k
    assert dirty.train[: len(dataset.train)] == dataset.train
    assert {record.label for record in injected} <= {ANOMALOUS}
    assert {record.split for record in dirty.train} == {"train"}
    assert {replace(record, split="test") for record in injected} <= set(dataset.test)
    if overlap:
        assert dirty.test == dataset.test
    else:
        assert ids(dirty.train).isdisjoint(ids(dirty.test))
        assert ids(dirty.test) | ids(injected) == ids(dataset.test)
        assert k == 0 or any(record.label == ANOMALOUS for record in dirty.test)
    rows = manifest[manifest.origin == "injected"]
    assert tuple(manifest.columns) == COLUMNS
    assert rows.id.tolist() == [record.id for record in injected]
    assert rows.kind.tolist() == [record.kind for record in injected]
    natural = [record.id for record in dataset.train if record.label == ANOMALOUS]
    assert manifest[manifest.origin == "natural"].id.tolist() == natural
    assert (manifest.level == level).all() and (manifest.seed == seed).all()
    assert (manifest.overlap == overlap).all()


@given(data, percent, percent, seeds)
def test_lower_levels_are_contained_in_higher_ones(dataset, one, other, seed):
    low, high = sorted((one, other))
    assume(fits(dataset, high, overlap=False))
    few, many = (contaminate(dataset, level, seed=seed)[0] for level in (low, high))
    assert ids(few.train) <= ids(many.train) and ids(many.test) <= ids(few.test)
    assert many.train[: len(few.train)] == few.train


@given(data, percent, seeds, st.randoms(use_true_random=False))
def test_the_order_on_disk_does_not_matter(dataset, level, seed, shuffler: random.Random):
    assume(fits(dataset, level, overlap=False))
    shuffled = list(dataset.test)
    shuffler.shuffle(shuffled)
    one = contaminate(dataset, level, seed=seed)
    other = contaminate(replace(dataset, test=tuple(shuffled)), level, seed=seed)
    assert one[0].train == other[0].train
    pd.testing.assert_frame_equal(one[1], other[1])


@given(data, seeds)
def test_every_prefix_holds_the_kinds_in_proportion(dataset, seed):
    order = injection_order(dataset.test, seed)
    total = Counter(record.kind for record in order)
    so_far: Counter[str] = Counter()
    for k, record in enumerate(order, 1):
        so_far[record.kind] += 1
        for kind, count in total.items():
            exact = k * count / len(order)
            assert abs(so_far[kind] - exact) < 1 + len(total) * count / len(order) / 2


def test_the_seed_decides_which():
    dataset = make(100, {"cut": 30, "hole": 30})
    drawn = {frozenset(ids(contaminate(dataset, 0.1, seed=seed)[0].train)) for seed in range(8)}
    assert len(drawn) == 8
    firsts = {injection_order(dataset.test, seed)[0].kind for seed in range(20)}
    assert firsts == {"cut", "hole"}


def test_level_zero_changes_nothing_and_natural_dirt_stays():
    dataset = make(20, {"cut": 4}, natural=3)
    same, manifest = contaminate(dataset, 0)
    assert same == dataset
    assert manifest.origin.tolist() == ["natural"] * 3
    more, manifest = contaminate(dataset, 0.1)  # of the 20 nominal images, not of all 23
    assert manifest.origin.value_counts().to_dict() == {"natural": 3, "injected": 2}
    assert len(more.train) == 25


@pytest.mark.parametrize(
    ("level", "nominal", "k"), [(0.29, 100, 29), (0.1, 209, 20), (0.07, 100, 7), (0.15, 60, 9)]
)
def test_the_count_is_floored_in_decimal(level, nominal, k):
    assert injected_count(level, nominal) == k


def largest(message: str) -> float:
    return float(message.rsplit(" ", 1)[1].rstrip("."))


@given(st.integers(1, 3000), st.integers(1, 200), st.booleans())
def test_the_error_names_the_largest_level_and_it_works(nominal, anomalous, overlap):
    dataset = make(nominal, {"cut": anomalous})
    most = anomalous - (not overlap)
    assume(injected_count(0.999, nominal) > most)
    with pytest.raises(InputError, match="the largest possible level is") as caught:
        contaminate(dataset, 0.999, overlap=overlap)
    level = largest(str(caught.value))
    dirty, _ = contaminate(dataset, level, overlap=overlap)
    assert len(dirty.train) == nominal + most


def test_mvtec_ads_transistor_as_an_example():
    dataset = make(213, {"bent": 10, "cut": 10, "damaged": 10, "misplaced": 10}, good=60)
    assert len(contaminate(dataset, 0.18)[0].train) == 213 + 38
    with pytest.raises(InputError, match=r"asks for 42 .* there are 40, of which one must stay"):
        contaminate(dataset, 0.2)


@pytest.mark.parametrize("level", [-0.1, 1, 1.5, float("nan"), float("inf")])
def test_levels_outside_zero_to_one_are_refused(level):
    with pytest.raises(InputError, match=r"not in \[0, 1\)"):
        contaminate(make(10, {"cut": 3}), level)


def test_an_unlabelled_or_clean_test_set_has_nothing_to_inject():
    with pytest.raises(InputError, match="there are 0"):
        contaminate(make(10, {}), 0.1)
    with pytest.raises(InputError, match="negative"):
        contaminate(make(10, {"cut": 3}), 0.1, seed=-1)
