"""The paper's tables, ours beside them, and files of both: DataFrames in, DataFrames out.

What the paper prints is `reported`, what our runs give is `measured`; the two never share a column,
and nothing is computed across them. `beside` puts them into one row for each data set, detector and
metric, and `readable` makes text of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.resources import files as resources

import pandas as pd

from comet_core.errors import InputError
from comet_core.evidence import BASELINE, METHOD
from comet_core.names import data_names, label, published
from comet_core.statistics import paired_difference, summarise

COLUMNS = {
    "image_auroc": "image_auroc",
    "precision": "precision_iqr",
    "recall": "recall_iqr",
    "f1": "f1_iqr",
}
"""Metrics of the paper and the columns of a run's row that hold them. The last three are at the
threshold t of equation 1, set by the training scores alone."""
DETECTION = ("precision", "recall", "f1")
"""The metrics of the paper's Table 1."""
REPORTED, MEASURED = "reported in the paper", "measured here"
MINUS = "\N{MINUS SIGN}"


def reported() -> pd.DataFrame:
    """Every number of the paper's two tables, from `reported.csv` of this package.

    They were read off the authors' conference poster (ICCV 2025), which prints them in percent with
    one decimal.

    Returns:
        48 rows: dataset, detector and strategy as in `RunConfig` ("plain" is the paper's baseline),
        metric (a key of `COLUMNS`), value in [0, 1], source.
    """
    with (resources("comet_core") / "reported.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file)
    percent = table.pop("percent")
    table.insert(4, "value", (percent / 100).round(4))
    return table


def measured(rows: pd.DataFrame, metrics: Sequence[str] = tuple(COLUMNS)) -> pd.DataFrame:
    """Means of our runs in the paper's terms.

    Args:
        rows: of `experiments.run`, one contamination for each data set.
        metrics: keys of `COLUMNS`.

    Returns:
        dataset, detector, strategy, metric, mean, low, high (95 % over seeds), n (seeds),
        categories; see `statistics.summarise`.

    Raises:
        InputError: an unknown metric, or runs that differ in more than these columns.
    """
    by = ["dataset", "detector", "strategy"]
    return _each(metrics, lambda column: summarise(rows, column, by), len(by))


def differences(
    rows: pd.DataFrame,
    metrics: Sequence[str] = tuple(COLUMNS),
    first: str = METHOD,
    second: str = BASELINE,
) -> pd.DataFrame:
    """How much larger each metric is under strategy `first` than under `second`, in paired runs.

    The unit is the seed, as it is for the means beside which the differences stand: the interval
    tells how well they are known for these categories, not for others.

    Returns:
        dataset, detector, metric, mean, low, high (95 %), n, pairs, wins; see
        `statistics.paired_difference`.
    """
    by = ["dataset", "detector"]
    return _each(
        metrics,
        lambda column: paired_difference(
            rows, column, "strategy", first, second, by, pair=("seed", "category")
        ),
        len(by),
    )


def beside(
    rows: pd.DataFrame,
    metrics: Sequence[str] = ("image_auroc",),
    first: str = METHOD,
    second: str = BASELINE,
) -> pd.DataFrame:
    """Reported and measured values of two strategies, one row a data set, detector and metric.

    The reported values are those of the data set that the runs' data set stands in for. They stay
    empty where there is none in the paper: for images that only share the layout of MVTec AD.

    Args:
        rows: of `experiments.run`, one contamination for each data set.
        metrics: keys of `COLUMNS`.
        first, second: the strategies to compare.

    Returns:
        Numbers in [0, 1] and their differences: `data` (in words), `dataset`, `contamination`,
        `detector`, `metric`; `reported_{second}`, `reported_{first}`, `reported_difference`;
        `measured_{second}` and `measured_{first}`, each with `_low` and `_high`;
        `measured_difference` (first minus second) with `_low` and `_high`; `seeds`, `categories`,
        `pairs`.
    """
    keys = ["dataset", "detector", "metric"]
    table = rows[["dataset", "contamination", "detector"]].drop_duplicates()
    table.insert(0, "data", table["dataset"].map(data_names(rows)))
    if table.duplicated(["dataset", "detector"]).any():
        raise InputError("the runs of a data set differ in contamination; give those of one level.")
    table = table.merge(pd.DataFrame({"metric": list(metrics)}), how="cross")
    printed = reported()[["dataset", "detector", "strategy", "metric", "value"]]
    printed = printed[printed["dataset"].isin(published(rows))]
    ours = measured(rows, metrics)
    for strategy in (second, first):
        theirs = printed[printed["strategy"] == strategy].drop(columns="strategy")
        table = table.merge(theirs, on=keys, how="left").rename(
            columns={"value": f"reported_{strategy}"}
        )
    table["reported_difference"] = table[f"reported_{first}"] - table[f"reported_{second}"]
    for strategy in (second, first):
        table = _joined(table, ours[ours["strategy"] == strategy], f"measured_{strategy}")
    counts = ours[ours["strategy"] == first].rename(columns={"n": "seeds"})
    gain = differences(rows, metrics, first, second)
    table = _joined(table, gain, "measured_difference")
    table = table.merge(counts[[*keys, "seeds", "categories"]], on=keys, how="left")
    table = table.merge(gain[[*keys, "pairs"]], on=keys, how="left")
    return table.round(6)


def readable(table: pd.DataFrame, first: str = METHOD, second: str = BASELINE) -> pd.DataFrame:
    """A table of `beside` as text, in percent and points; two levels of columns."""
    one_metric = len(set(table["metric"])) == 1
    columns: dict[tuple[str, str], list[str]] = {
        ("", "data"): table["data"].tolist(),
        ("", "detector"): [label(name) for name in table["detector"]],
    }
    if not one_metric:
        columns["", "metric"] = [label(name) for name in table["metric"]]
    for source, start in ((REPORTED, "reported_"), (MEASURED, "measured_")):
        for strategy in (second, first):
            columns[source, label(strategy)] = _numbers(table, f"{start}{strategy}")
        columns[source, "difference"] = _numbers(table, f"{start}difference", "+")
    return pd.DataFrame(columns)


def flat(table: pd.DataFrame) -> pd.DataFrame:
    """One level of columns instead of two: "reported: plain"."""
    short = {REPORTED: "reported: ", MEASURED: "measured: ", "": ""}
    return table.set_axis([short[top] + name for top, name in headings(table)], axis=1)


def finding(table: pd.DataFrame) -> str:
    """A line on each metric of `beside`: in how many rows the difference is settled; Markdown."""
    lines = []
    for metric, part in table.groupby("metric", sort=False):
        up = (part["measured_difference_low"] > 0).sum()
        down = (part["measured_difference_high"] < 0).sum()
        ahead = (part["measured_difference"] > 0).sum()
        lines.append(
            f"- **{label(str(metric))}**: CoMet is ahead in {ahead} of {len(part)} rows, and the"
            f" interval leaves out zero in {up} of them; it is behind in"
            f" {(part['measured_difference'] < 0).sum()}, with zero left out in {down}."
        )
    return "\n".join(lines)


def _each(
    metrics: Sequence[str], compute: Callable[[str], pd.DataFrame], place: int
) -> pd.DataFrame:
    """The tables of several metrics below each other, with a column `metric` at `place`."""
    unknown = [metric for metric in metrics if metric not in COLUMNS]
    if unknown or not metrics:
        raise InputError(f"unknown metric '{[*unknown, ''][0]}'; there are {', '.join(COLUMNS)}.")
    parts = []
    for metric in metrics:
        part = compute(COLUMNS[metric])
        part.insert(place, "metric", metric)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _joined(table: pd.DataFrame, intervals: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with mean, low and high of `intervals` as columns NAME, NAME_low, NAME_high."""
    keys = ["dataset", "detector", "metric"]
    columns = {"mean": name, "low": f"{name}_low", "high": f"{name}_high"}
    return table.merge(intervals[[*keys, *columns]].rename(columns=columns), on=keys, how="left")


def headings(table: pd.DataFrame) -> list[tuple[str, str]]:
    """The columns of a table of `readable`: pairs of a heading, maybe empty, and a name."""
    return list(zip(*(table.columns.get_level_values(level) for level in (0, 1)), strict=True))


def _numbers(table: pd.DataFrame, column: str, sign: str = "") -> list[str]:
    """A column in percent, with its interval where it has one."""
    found = []
    for row in table.to_dict("records"):
        value, low, high = (row.get(f"{column}{end}", math.nan) for end in ("", "_low", "_high"))
        found.append(with_interval(value, low, high, sign))
    return found


def signed(value: float, sign: str = "+") -> str:
    """A share in percent, or a difference in points, with one decimal; a dash for nan."""
    if math.isnan(value):
        return "–"
    rounded = round(100 * value, 1) + 0.0  # never "-0.0"
    return f"{rounded:{sign}.1f}".replace("-", MINUS)


def whole_percent(value: float) -> str:
    """A share in whole percent, "79 %", with a typographic minus; a dash for nan."""
    return "–" if math.isnan(value) else f"{round(100 * value)} %".replace("-", "−")


def two_decimals(value: float) -> str:
    """A number with two decimals; a dash for nan."""
    return "–" if math.isnan(value) else f"{value:.2f}"


def with_interval(value: float, low: float, high: float, sign: str = "+") -> str:
    """`signed` with its interval, "+3.1 [-0.5, +6.7]", where there is one."""
    interval = "" if math.isnan(low) else f" [{signed(low, sign)}, {signed(high, sign)}]"
    return signed(value, sign) + interval
