"""What the audit measured: effects of the departures in a table, a figure and words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from comet_core.audit import DEPARTURES
from comet_core.effects import finding, with_interval
from comet_core.statistics import Interval, bootstrap_interval, paired_difference


def measured(rows: pd.DataFrame) -> pd.DataFrame:
    """What each departure does to I-AUROC, in paired runs; the unit is the seed.

    Args:
        rows: of `execute`.

    Returns:
        One row a departure: departure, title, short, against, mean, low, high, n (see
        `statistics.paired_difference`) and `beside`, what else was seen, in words.
    """
    rows = rows.assign(name=rows["options.audit"])
    comet = rows[rows["strategy"] == "comet"]
    pair = ("seed", "category")
    lines = []
    for name, departure in DEPARTURES.items():
        if not name.startswith("A") or name not in set(comet["name"]):
            continue
        found = paired_difference(comet, "image_auroc", "name", name, departure.against, pair=pair)
        lines.append(
            {
                "departure": name,
                "title": departure.title,
                "short": departure.short,
                "against": DEPARTURES[departure.against].title,
                **found.iloc[0][list(Interval._fields)].to_dict(),
                "beside": _beside(name, comet),
            }
        )
    return pd.DataFrame([*lines, *_chosen_epochs(rows)])


def _chosen_epochs(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """A9 for CoMet and for the plain detector: the chosen epoch against the last one."""
    lines = []
    runs = rows[rows["name"] == "equations"]
    for strategy, label in (("comet", "CoMet"), ("plain", "plain training")):
        own = runs[runs["strategy"] == strategy]
        if own.empty:
            continue
        found = {}
        for column in ("image_auroc_best", "image_auroc_chosen"):
            gain = own.assign(gain=own[column] - own["image_auroc"]).dropna(subset=["gain"])
            found[column] = bootstrap_interval(gain.groupby("seed")["gain"].mean())
        lines.append(
            {
                "departure": "A9",
                "title": f"the epoch chosen on the test set, {label}",
                "short": label,
                "against": "the last epoch",
                **found["image_auroc_best"]._asdict(),
                "beside": "on images that had no say in the choice: "
                + with_interval(found["image_auroc_chosen"]),
            }
        )
    return lines


def _beside(name: str, rows: pd.DataFrame) -> str:
    """What else tells of a departure, with the same of the run that it is compared with."""
    own = rows[rows["name"] == name]
    other = rows[rows["name"] == DEPARTURES[name].against]
    if name == "A2 as released":
        share = 100 * own["outer_share"].mean()
        return f"the outer steps account for {share:.2g} % of the distance that the weights travel"
    if name == "A5":
        return (
            f"weights of 0: {100 * own['zero_weights'].mean():.0f} % of the patches, "
            f"instead of {100 * other['zero_weights'].mean():.0f} %"
        )
    if name in ("A3", "A4"):
        told = [
            f"{part['weight_nominal'].mean():.2f} and {part['weight_anomalous'].mean():.2f}"
            for part in (own, other)
        ]
        return f"mean weight of nominal and anomalous images: {told[0]}, instead of {told[1]}"
    if name == "A6":
        told = [
            f"{part['lambda_low'].min():.4f} to {part['lambda_high'].max():.4f}"
            for part in (own, other)
        ]
        return f"λ: {told[0]}, instead of {told[1]}"
    if name == "A7":
        return (
            f"first epoch: penalty {own['first_penalty'].mean():.1f}, "
            f"all the rest of the loss {own['first_loss'].mean():.1f}"
        )
    return ""


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """Effects of `measured` as `figures_effects.effects` takes them."""
    number = table["departure"].str.split().str[0]
    chosen = table["departure"] == "A9"
    group = chosen.map(
        {False: "departures from the equations", True: "the epoch chosen on the test set"}
    )
    return table.assign(group=group, label=number + ": " + table["short"], bound=0.0)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Effects of `measured` as text."""
    return pd.DataFrame(
        {
            "departure": f"{line['departure']}: {line['title']}",
            "compared with": line["against"],
            "I-AUROC, points": with_interval(
                Interval(line["mean"], line["low"], line["high"], line["n"])
            ),
            "also observed": line["beside"] or "–",
        }
        for line in table.to_dict("records")
    )


def findings(table: pd.DataFrame) -> str:
    """One sentence a departure, as a list."""
    return "\n".join(
        "- "
        + finding(
            f"**{line['departure']}**, {line['title']}",
            Interval(line["mean"], line["low"], line["high"], line["n"]),
        )
        for line in table.to_dict("records")
    )
