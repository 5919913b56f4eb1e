"""One setting at a time: what each choice in CoMet is worth, with everything else at its default.

    grids = ablation.grid(base)
    effects = ablation.effects(experiments.run(grids), base)

A setting whose effect is small beside the seeds' scatter need not be right, only harmless; the
findings say how large an effect the runs still allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_args

import pandas as pd

from comet_core.config import RunConfig, Schedule
from comet_core.effects import OPEN, points, side, unsettled, with_interval
from comet_core.errors import InputError
from comet_core.evidence import METHOD
from comet_core.experiments import expand
from comet_core.names import label
from comet_core.statistics import LEVEL, Interval, paired_difference

SCHEDULES = get_args(Schedule)
NEVER = 10**6
"""A `refresh_every` that no training reaches: the weights of the first refresh stay."""


class Choice(NamedTuple):
    """A setting, its name in words, and the values to try beside the default."""

    setting: str
    title: str
    values: Callable[[RunConfig], Sequence[Any]]


CHOICES = (
    Choice("strategy", "the strategy", lambda c: ("plain", "soft", "meta")),
    Choice("kappa", "κ, eq. 1", lambda c: (0.0, 3.0)),
    Choice("weight_level", "weights of images or patches", lambda c: ("patch",)),
    Choice("warmup_epochs", "epochs of warm-up", lambda c: (0, 2 * c.warmup_epochs + 4)),
    Choice("refresh_every", "epochs between refreshes", lambda c: (1, NEVER)),
    Choice("lambda_0", "λ₀, eq. 5", lambda c: (0.0, 100 * c.lambda_0)),
    Choice("gamma", "γ, eq. 5", lambda c: (0.0, 1e4 * c.gamma)),
    Choice("inner_steps", "steps of the inner loop, eq. 7", lambda c: (0, 5)),
    Choice("alpha", "α, eq. 7", lambda c: (0.1 * c.alpha, 10 * c.alpha)),
    Choice("learning_rate", "β, eq. 8", lambda c: (c.learning_rate / 3, 3 * c.learning_rate)),
    Choice("schedule", "schedule of β", lambda c: [s for s in SCHEDULES if s != c.schedule]),
    Choice("tasks", "tasks a step", lambda c: [n for n in (1, 2, 4) if n != c.tasks]),
    Choice("validation_share", "validation part of a task", lambda c: (0.15, 0.5)),
    Choice("order", "order of the meta-gradient", lambda c: (2,)),
)


def grid(base: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The default and, for each choice, its other values.

    Args:
        base: a grid of CoMet runs in which only categories and seeds vary.
    """
    default = _default(base)
    return [dict(base)] + [
        {**base, choice.setting: list(choice.values(default))} for choice in CHOICES
    ]


def effects(rows: pd.DataFrame, base: Mapping[str, Any]) -> pd.DataFrame:
    """What each other value does to I-AUROC, in paired runs; the unit is the seed.

    Args:
        rows: of `experiments.run(grid(base))`.
        base: as for `grid`.

    Returns:
        One row a value, in the order of `CHOICES`: setting, title, value, default, image_auroc
        (mean with that value) and mean, low, high, n of the difference to the default; see
        `statistics.paired_difference`. The first row is the default itself, without a difference.

    Raises:
        InputError: the rows lack the default, or a value.
    """
    default = _default(base)
    settings = [choice.setting for choice in CHOICES]
    usual = {name: getattr(default, name) for name in settings}
    same = {name: rows[name] == usual[name] for name in settings}
    start = rows[pd.DataFrame(same).all(axis=1)]
    nan = float("nan")
    lines: list[dict[Any, Any]] = [
        {"setting": "", "title": "the default", "value": METHOD, "default": ""}
        | {"image_auroc": _mean(start)}
        | Interval(nan, nan, nan, 0)._asdict()
    ]
    for choice in CHOICES:
        # What a strategy does not use is stored at the package's defaults, whatever was asked for.
        others = [name for name in settings if name != choice.setting]
        alike = pd.DataFrame({name: same[name] for name in others}).all(axis=1)
        for value in choice.values(default):
            chosen = rows[choice.setting] == value
            found = rows[chosen if choice.setting == "strategy" else chosen & alike]
            if found.empty or start.empty:
                raise InputError(
                    f"there is no run with {choice.setting} = {value} beside one without."
                )
            both = pd.concat([start.assign(side="default"), found.assign(side="other")])
            difference = paired_difference(
                both, "image_auroc", "side", "other", "default", pair=("seed", "category")
            ).iloc[0]
            lines.append(
                {
                    "setting": choice.setting,
                    "title": choice.title,
                    "value": written(value),
                    "default": written(usual[choice.setting]),
                    "image_auroc": _mean(found),
                    **difference[list(Interval._fields)].to_dict(),
                }
            )
    return pd.DataFrame(lines)


def finding(part: pd.DataFrame) -> str:
    """One line on a setting: which of its values are settled, or how large an effect still fits.

    Args:
        part: the rows of `effects` with one setting.
    """
    told = []
    for row in part.to_dict("records"):
        found = Interval.of(row)
        if side(found) != OPEN:
            word = "raises" if found.mean > 0 else "lowers"
            told.append(f"{row['value']} {word} I-AUROC by {points(abs(found.mean), '')} points")
    if told:
        return "; ".join(told)
    largest = (part[["low", "high"]].abs().max(axis=1)).max()
    if pd.isna(largest):
        return "one seed cannot tell an effect from chance"
    return unsettled(float(largest))


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Effects as text, one row a value, the finding of a setting beside its first value."""
    lines, seen = [], set()
    for row in table.to_dict("records"):
        part = table[table["setting"] == row["setting"]]
        new = row["setting"] not in seen
        seen.add(row["setting"])
        usual = f"{row['title']} ({row['default']})" if row["default"] else row["title"]
        lines.append(
            {
                "setting (default)": usual if new else "",
                "value": row["value"],
                "I-AUROC, %": f"{100 * row['image_auroc']:.1f}",
                "difference, points": with_interval(Interval.of(row)),
                "finding": finding(part) if new and row["setting"] else "",
            }
        )
    return pd.DataFrame(lines)


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """Effects as `figures_effects.effects` takes them: a panel for each setting."""
    rest = table[table["setting"] != ""]
    group = rest["title"] + " (" + rest["default"] + ")"
    return rest.assign(group=group, label=rest["value"], bound=0.0)


def in_words(table: pd.DataFrame) -> str:
    """How many of the settings have an effect that the runs settle, and how many chance would."""
    rest = table[table["setting"] != ""]
    settled = [
        str(part["title"].iloc[0])
        for _, part in rest.groupby("setting", sort=False)
        if any(side(Interval.of(row)) != OPEN for row in part.to_dict("records"))
    ]
    number = rest["setting"].nunique()
    if not settled:
        return f"For none of the {number} settings is an effect settled at this number of seeds."
    intervals = int((rest["high"] - rest["low"] > 0).sum())
    return (
        f"An effect is settled for {len(settled)} of {number} settings: {'; '.join(settled)}. "
        f"There are {intervals} intervals at {100 * LEVEL:.0f} %, so that chance alone would be "
        f"expected to settle {(1 - LEVEL) * intervals:.1f} of them if no setting had any effect."
    )


def written(value: Any) -> str:
    """A value of a setting as it stands in tables."""
    if value == NEVER:
        return "never again"
    if isinstance(value, int | float):
        if abs(value) >= 1e3:
            return f"{value:,.0f}"
        return f"{value:.2g}" if abs(value) < 1 else f"{value:.3g}"
    return label(str(value))


def _default(base: Mapping[str, Any]) -> RunConfig:
    return expand(base)[0]


def _mean(rows: pd.DataFrame) -> float:
    return float(rows["image_auroc"].mean())
