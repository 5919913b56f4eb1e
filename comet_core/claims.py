"""The ledger: what the paper claims, each claim a rule that rows of results decide.

A claim is taken apart into parts, such as "CoMet gains I-AUROC" on one data set with one detector.
A part is one number, the claim says that it lies above a bound, and its 95 % interval over seeds
decides:

| verdict | a part | a claim |
|---|---|---|
| holds | the whole interval lies above the bound | every part holds |
| does not hold | the whole interval lies below it | one part does not hold |
| undecided | the bound lies inside, or the seeds do not differ | anything else |
| not run | there are no rows | no part was run |

    parts = claims.judge(comparison, curves, tables.reported())
    ledger.verdicts(parts)

`comparison` and `curves` are the rows of the two grids in `evidence`. Where the paper's words leave
open what counts, the reading is ours and stands in the claim's docstring. The rules know no result:
tests hold each of them against rows made to decide for the claim, against it, and neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pandas as pd

from comet_core.effects import DOWN, OPEN, UP, side
from comet_core.errors import InputError
from comet_core.evidence import BASELINE, DETECTORS, LEVEL, METHOD
from comet_core.names import NAMES, data_names, label
from comet_core.statistics import Interval, bootstrap_interval
from comet_core.tables import DETECTION

HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run"
VERDICTS = (HOLDS, FAILS, UNDECIDED, NOT_RUN)

CLAIMS = {
    "C1": "CoMet improves I-AUROC over its baseline on every data set with every detector",
    "C2": "it raises recall, at the cost of a slightly lower precision",
    "C3": "it is insensitive to 0 to 10 % anomalies in the training set, where baselines fall",
    "C4": "anomalous and boundary training images weigh less than prototypical ones",
    "C5": "it is model-agnostic: it improves either detector",
    "C6": "soft confidence and meta-learning both contribute",
    "C7": "the F1 printed in the paper agrees with its precision and recall",
}
ARITHMETIC = "C7"
"""The claim that no run decides: its numbers are printed ones, and it has no seeds."""
DATASETS = ("mvtec_ad", "viaduct", "ksdd2")
"""The data sets of the paper's two tables."""
CURVES = ("mvtec_ad", "ksdd2_clean")
"""The data sets whose contamination the paper varies."""

COMPARED = (BASELINE, "soft", "meta", METHOD)
"""The strategies that the rules read."""
INSENSITIVE = 0.01
"""C3: a fall of I-AUROC below this, one point, counts as none (choice)."""
ROUNDING = 0.0005
"""C7: half of the last digit that the paper prints, a tenth of a per cent."""

_COLUMN = {BASELINE: "baseline", METHOD: "CoMet"}
_KEYS = ["dataset", "detector", "category", "seed"]


class Part(NamedTuple):
    """A part of a claim: `mean` with its interval, claimed to lie above `bound`.

    All four are fractions, so 0.01 is one point. `n` counts seeds, `seeds` holds each seed's mean
    over categories, `runs` the hashes. For C7, low and high are what rounding allows.
    """

    claim: str
    measure: str
    where: str
    mean: float
    low: float
    high: float
    n: int
    bound: float
    verdict: str
    seeds: dict[int, float]
    data: tuple[str, ...]
    runs: tuple[str, ...]


def judge(comparison: pd.DataFrame, curves: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """Every part of every claim, judged.

    Args:
        comparison: rows of `evidence.comparison`; an empty frame where it was not run.
        curves: rows of `evidence.curves`; likewise.
        printed: the paper's numbers, from `tables.reported`.

    Returns:
        One row a part, with the columns of `Part`.
    """
    found = [
        *improves(comparison),
        *trades_precision_for_recall(comparison, slight_loss(printed)),
        *is_insensitive(curves),
        *weighs_dirt_less(comparison),
        *is_model_agnostic(comparison),
        *needs_both(curves),
        *adds_up(printed),
    ]
    return pd.DataFrame(found, columns=list(Part._fields))


def decide(interval: Interval, bound: float = 0.0) -> str:
    """The verdict on "the effect lies above `bound`" that an interval allows (`effects.side`)."""
    if math.isnan(interval.mean):
        return NOT_RUN
    return {UP: HOLDS, DOWN: FAILS, OPEN: UNDECIDED}[side(interval, bound)]


def improves(comparison: pd.DataFrame) -> Iterator[Part]:
    """C1: I-AUROC of CoMet minus that of its baseline is above 0, for each of the six pairs."""
    gain = _difference(comparison, "image_auroc", "strategy", METHOD, BASELINE)
    for dataset, detector, one in _pairs(gain, DATASETS):
        yield _part("C1", "I-AUROC gained", _where(dataset, detector), one)


def trades_precision_for_recall(comparison: pd.DataFrame, slight: float) -> Iterator[Part]:
    """C2: recall rises, and precision falls by less than `slight`, for each of the six pairs.

    Both at the threshold t of equation 1, the only rule that looks at no label (choice). A
    precision that does not fall counts as "slightly lower": the claim is about the price.
    """
    recall = _difference(comparison, "recall_iqr", "strategy", METHOD, BASELINE)
    precision = _difference(comparison, "precision_iqr", "strategy", METHOD, BASELINE)
    for dataset, detector, one in _pairs(recall, DATASETS):
        yield _part("C2", "recall gained", _where(dataset, detector), one)
    for dataset, detector, one in _pairs(precision, DATASETS):
        yield _part("C2", "precision changed", _where(dataset, detector), one, -slight)


def is_insensitive(curves: pd.DataFrame) -> Iterator[Part]:
    """C3: from 0 to 10 % CoMet's I-AUROC falls by less than `INSENSITIVE`, the baseline's falls."""
    for strategy, measure, sign, bound in (
        (METHOD, "CoMet's I-AUROC changed", 1, -INSENSITIVE),
        (BASELINE, "baseline's I-AUROC lost", -1, 0.0),
    ):
        rows = curves if curves.empty else curves[curves["strategy"] == strategy]
        change = _difference(rows, "image_auroc", "contamination", LEVEL, 0.0)
        change = change.assign(value=sign * change["value"])
        for dataset, detector, one in _pairs(change, CURVES):
            yield _part("C3", measure, _where(dataset, detector), one, bound)


def weighs_dirt_less(comparison: pd.DataFrame) -> Iterator[Part]:
    """C4: under CoMet the mean weight of nominal training images is above that of either other.

    The weights are those of the trained model. Data whose boundary images nobody has marked leave
    that half of the claim not run.
    """
    rows = comparison if comparison.empty else comparison[comparison["strategy"] == METHOD]
    for kind in ("anomalous", "boundary"):
        if rows.empty:
            gap = _nothing()
        else:
            value = rows["mean_weight_nominal"] - rows[f"mean_weight_{kind}"]
            gap = rows[_KEYS].assign(value=value, runs=_hashes(rows["hash"]))
            gap = gap.assign(data=_data(rows)).dropna(subset=["value"])
        for dataset, detector, one in _pairs(gap, DATASETS):
            yield _part("C4", f"nominal above {kind}", _where(dataset, detector), one)


def is_model_agnostic(comparison: pd.DataFrame) -> Iterator[Part]:
    """C5: the mean gain in I-AUROC over the data sets is above 0 for each detector."""
    gain = _difference(comparison, "image_auroc", "strategy", METHOD, BASELINE)
    for detector in DETECTORS:
        one = gain[gain["detector"] == detector]
        yield _part("C5", "I-AUROC gained", label(detector), one)


def needs_both(curves: pd.DataFrame) -> Iterator[Part]:
    """C6: at 10 %, CoMet without either ingredient has a lower I-AUROC, for each detector.

    Leaving out soft confidence makes it `meta`, leaving out meta-learning makes it `soft`. How
    much of the latter is the inner loop, and not the smaller sample of a step, `inner_loop` tells.
    """
    rows = curves if curves.empty else curves[curves["contamination"] == LEVEL]
    for ingredient, without in (("soft confidence", "meta"), ("meta-learning", "soft")):
        added = _difference(rows, "image_auroc", "strategy", METHOD, without)
        for detector in DETECTORS:
            one = added[added["detector"] == detector]
            yield _part("C6", f"{ingredient} adds", label(detector), one)


def adds_up(printed: pd.DataFrame) -> Iterator[Part]:
    """C7: F1 = 2 P R / (P + R) for each line of the paper's Table 1, as far as rounding tells.

    A printed number stands for all that round to it. F1 grows with P and with R, so the F1 that
    the printed P and R allow is an interval; the line holds if some F1 in it rounds to the printed
    one.
    """
    table = printed[printed["metric"].isin(DETECTION)]
    if table.empty:
        return
    keys = ["dataset", "detector", "strategy"]
    lines = table.pivot_table(index=keys, columns="metric", values="value", sort=False)
    for line in lines.reset_index().to_dict("records"):
        p, r, f1 = line["precision"], line["recall"], line["f1"]
        least, most = (_f1(p + step, r + step) for step in (-ROUNDING, ROUNDING))
        low, high = f1 - ROUNDING - most, f1 + ROUNDING - least
        numbers = (f1 - _f1(p, r), low, high)
        verdict = HOLDS if low <= 0 <= high else FAILS
        where = f"{_where(line['dataset'], line['detector'])}, {_COLUMN[line['strategy']]}"
        data = ("the paper's Table 1",)
        yield Part(
            ARITHMETIC, "F1 printed − computed", where, *numbers, 0, 0.0, verdict, {}, data, ()
        )


def slight_loss(printed: pd.DataFrame) -> float:
    """C2: the largest loss of precision in the paper's own Table 1, as a fraction: "slightly"."""
    table = printed[printed["metric"] == "precision"]
    keys = ["dataset", "detector"]
    values = table.pivot_table(index=keys, columns="strategy", values="value")
    return float((values[BASELINE] - values[METHOD]).max())


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall)


def _difference(
    rows: pd.DataFrame, value: str, column: str, first: object, second: object
) -> pd.DataFrame:
    """`value` where `column` is `first` minus where it is `second`, for runs alike in `_KEYS`."""
    if rows.empty:
        return _nothing()
    sides = [rows[rows[column] == one].dropna(subset=[value]) for one in (first, second)]
    for one in sides:
        if one.duplicated(_KEYS).any():
            raise InputError(
                f"several runs share {', '.join(_KEYS)} and {column}; judge one setting at a time."
            )
    both = sides[0].merge(sides[1], on=_KEYS, suffixes=("", "_second"))
    if both.empty:
        return _nothing()
    return both[_KEYS].assign(
        value=both[value] - both[f"{value}_second"],
        runs=_hashes(both["hash"], both["hash_second"]),
        data=_data(both),
    )


def _hashes(*columns: pd.Series) -> pd.Series:
    """The hashes of a line as a tuple."""
    pairs = zip(*columns, strict=True)
    return pd.Series(list(pairs), columns[0].index, dtype=object)


def _nothing() -> pd.DataFrame:
    return pd.DataFrame(columns=[*_KEYS, "value", "runs", "data"])


def _data(rows: pd.DataFrame) -> list[str]:
    """The data set of each row as people write it, and whether a program drew it."""
    names = data_names(rows)
    return [
        f"{NAMES.get(dataset, dataset)} (synthetic)" if synthetic else names[dataset]
        for dataset, synthetic in zip(rows["dataset"], rows["synthetic"], strict=True)
    ]


def _pairs(
    values: pd.DataFrame, datasets: Iterable[str]
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The values of each of the paper's (data set, detector) pairs, run or not."""
    for detector in DETECTORS:
        for dataset in datasets:
            chosen = (values["dataset"] == dataset) & (values["detector"] == detector)
            yield dataset, detector, values[chosen]


def _where(dataset: str, detector: str) -> str:
    return f"{NAMES[dataset]}, {label(detector)}"


def _part(claim: str, measure: str, where: str, values: pd.DataFrame, bound: float = 0.0) -> Part:
    """Judge values (one a category and seed): mean over data sets, interval over seeds.

    A data set counts as one, by the mean of its categories, however many of these it has. A seed
    that lacks a category is left out, for its mean would be of something else.
    """
    units = ["dataset", "detector", "category"]
    numbers = values.astype({"value": float})
    table = numbers.pivot_table(index="seed", columns=units, values="value")
    means = table.dropna().T.groupby(level="dataset").mean().mean()
    seeds = {int(str(seed)): float(value) for seed, value in means.items()}
    found = bootstrap_interval(list(seeds.values()))
    data, runs = union([(name,) for name in values["data"]]), union(values["runs"])
    verdict = decide(found, bound)
    return Part(claim, measure, where, *found, bound, verdict, seeds, data, runs)


def union(groups: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """What occurs in any of the groups, once, in order of appearance."""
    return tuple(dict.fromkeys(one for group in groups for one in group))
