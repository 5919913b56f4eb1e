"""Beyond equation 2: what other weightings gain, what they cost, and whom they harm.

A *method* is plain training, a weighting of `comet_core.rules` in the place of equation 2, or the
*oracle*, which trains plainly after the anomalous images were taken out by their labels: what
perfect weights could reach, and no method. All but `comet+` run under the strategy `soft`, so that
nothing but the weights differs between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch

from comet_core.config import Weighting
from comet_core.discovery import discoveries
from comet_core.evidence import COSTLY, LEVEL, places, profile_of
from comet_core.names import data_names, label
from comet_core.statistics import mean_interval, paired_difference, summarise
from comet_core.tables import signed, two_decimals, whole_percent

PLAIN, ORACLE, BEST = "plain", "oracle", "comet+"
RULES: tuple[str, ...] = tuple(rule for rule in get_args(Weighting) if rule != "contrast")
"""Weightings that run under `soft`; `contrast` is that of `comet+`."""
UNTRIED = {"smoke": ("annealed", "trimmed"), "demo": ("annealed", "trimmed"), "paper": ()}
"""Weightings that a profile leaves out unless named: *annealed* is seldom better than *sharpened*,
and *trimmed* takes five trainings more."""
LEVELS = {"smoke": (0.0, 0.1), "demo": (0.0, 0.1, 0.2, 0.4), "paper": (0.0, 0.05, 0.1, 0.2, 0.4)}
DATA = {"mvtec_ad": (COSTLY,)}
"""Embedded data of the chapter."""
HARMLESS = 0.005
"""Loss of I-AUROC on clean data from which a method is no default."""
CLOSE = 0.003
"""What clean data may cost the recommended method."""
SHARE = 0.8
"""Share of the gap between plain and oracle that it is to close."""
KEYS = ["dataset", "detector", "method"]


def grids(
    profile: str,
    *,
    datasets: Sequence[str] = (),
    data_root: str = "",
    categories: Sequence[str] = (),
    detectors: Sequence[str] = ("simplenet",),
    weightings: Sequence[str] = (),
    levels: Sequence[float] = (),
    seeds: Sequence[int] = (),
    strict: bool = True,
) -> list[dict[str, Any]]:
    """Grids of runs for `experiments.run`; whatever is empty comes from the profile.

    Args:
        profile: "smoke", "demo" or "paper".
        datasets, data_root, categories: as for `evidence.places`.
        detectors: names of detectors.
        weightings: rules to compare, of `RULES` or "comet+"; empty: all but those of `UNTRIED`.
        levels: contamination, k / N_train; 0 is needed to tell the harm to clean data.
        seeds: of the runs.
        strict: stop at an unreadable image.

    Raises:
        InputError: unknown profile, data set or category; data that are not there.
    """
    chosen = profile_of(profile)
    levels = tuple(levels) or LEVELS[profile]
    usual = [rule for rule in RULES if rule not in UNTRIED[profile]]
    rules = [rule for rule in (weightings or usual) if rule != BEST]
    found = []
    for place in places(DATA, datasets, data_root, categories):
        common = {
            **place,
            **({} if data_root else chosen.embedded),
            "detector": list(detectors),
            "seed": list(seeds or chosen.seeds),
            "profile": profile,
            "pixel_size": 0,
            "strict": strict,
        }
        every = {**common, "contamination": list(levels)}
        dirty = [level for level in levels if level > 0]
        found.append({**every, "strategy": PLAIN})
        if dirty:
            found.append({**common, "contamination": dirty, "strategy": PLAIN, "oracle": True})
        if rules:
            found.append({**every, "strategy": "soft", "weighting": rules})
        if BEST in weightings or not weightings:
            found.append({**every, "strategy": BEST})
    return found


def prepared(rows: pd.DataFrame) -> pd.DataFrame:
    """Runs with their `method`, and those of the oracle where there is nothing to take out.

    Args:
        rows: of `experiments.run` over `grids`.
    """
    rule = rows["weighting"].where(rows["strategy"] == "soft", rows["strategy"])
    return with_clean_oracle(rows.assign(method=rule.where(~rows["oracle"].astype(bool), ORACLE)))


def with_clean_oracle(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with their `method`, and clean plain ones once more as those of the oracle."""
    clean = rows[(rows["contamination"] == 0) & (rows["method"] == PLAIN)]
    return pd.concat([rows, clean.assign(method=ORACLE)], ignore_index=True)


def ordered(methods: Iterable[str]) -> list[str]:
    """The methods, each once: plain, the weightings from the paper's on, comet+, oracle."""
    found = set(methods)
    return [name for name in (PLAIN, *RULES, BEST, ORACLE) if name in found]


def curves(rows: pd.DataFrame) -> pd.DataFrame:
    """I-AUROC: dataset, detector, method, contamination, mean, low, high (95 % over seeds), n."""
    return summarise(rows, "image_auroc", [*KEYS, "contamination"])


def gaps(rows: pd.DataFrame) -> pd.DataFrame:
    """How much of what contamination costs each method wins back.

    Returns:
        `KEYS`, contamination, gain (on plain, mean over runs of one seed and category), gap (of the
        oracle to plain), closed (gain / gap; nan where the gap is below half a point, since a share
        of next to nothing says nothing). Clean levels, plain and oracle are left out.
    """
    dirty = rows[rows["contamination"] > 0]
    by = ["dataset", "detector", "contamination"]
    parts = []
    for method in ordered(dirty["method"]):
        if method != PLAIN:
            found = paired_difference(
                dirty, "image_auroc", "method", method, PLAIN, by, pair=("category", "seed")
            )
            parts.append(found.assign(method=method))
    if not parts:
        return pd.DataFrame(columns=[*KEYS, "contamination", "gain", "gap", "closed"])
    table = pd.concat(parts, ignore_index=True).rename(columns={"mean": "gain"})
    oracle = table.loc[table["method"] == ORACLE, [*by, "gain"]].rename(columns={"gain": "gap"})
    table = table.merge(oracle, on=by, how="left")
    table["closed"] = (table["gain"] / table["gap"]).where(table["gap"] >= HARMLESS)
    columns = [*KEYS, "contamination", "gain", "low", "high", "n", "gap", "closed"]
    return table.loc[table["method"] != ORACLE, columns]


def harms(rows: pd.DataFrame) -> pd.DataFrame:
    """What each method costs where nothing is wrong: `KEYS`, mean (I-AUROC, less plain), low, high.

    Of clean runs, paired by category and seed.
    """
    clean = rows[rows["contamination"] == 0]
    parts = []
    for method in ordered(clean["method"]):
        if method not in (PLAIN, ORACLE):
            found = paired_difference(
                clean, "image_auroc", "method", method, PLAIN, ["dataset", "detector"]
            )
            parts.append(found.assign(method=method))
    columns = [*KEYS, "mean", "low", "high", "n"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def kept(rows: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Mean weight in the last epoch by kind of image: who was still taught with.

    Args:
        rows: of `prepared`.
        samples: of `notebook.training_samples` of the same runs.

    Returns:
        `KEYS`, contamination and a column for each truth there is: nominal, boundary, anomalous.
    """
    about = rows.loc[rows["method"] != ORACLE, [*KEYS, "contamination", "hash"]]
    every = about.merge(samples[["hash", "truth", "used"]], on="hash")
    table = every.pivot_table(
        index=[*KEYS, "contamination"], columns="truth", values="used", observed=True
    )
    return table.reset_index().rename_axis(columns=None)


def costs(rows: pd.DataFrame) -> pd.DataFrame:
    """`KEYS` and `cost`: seconds of training, with the scores from before it, over those of plain.

    The median of the ratios of runs of one category, seed and level: other programs slow runs down.
    """
    seconds = rows.assign(total=rows["train_seconds"] + rows["prior_seconds"].fillna(0))
    pair = ["dataset", "detector", "category", "seed", "contamination"]
    plain = seconds[seconds["method"] == PLAIN].set_index(pair)["total"].rename("plain")
    both = seconds[~seconds["method"].isin([PLAIN, ORACLE])].join(plain, on=pair)
    both["cost"] = both["total"] / both["plain"]
    return both.groupby(KEYS, sort=False)["cost"].median().reset_index()


def overview(rows: pd.DataFrame, samples: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """One line a method and detector, as text: gain, harm, who is kept, cost.

    Args:
        rows, samples: as for `kept`.
        level: contamination at which gain and weights are told; the nearest that was run is taken.
    """
    dirty = rows.loc[rows["contamination"] > 0, "contamination"].unique()
    at = min(dirty, key=lambda one: abs(one - level)) if len(dirty) else 0.0
    gain = gaps(rows)
    table = gain[gain["contamination"] == at].merge(
        harms(rows).rename(columns={"mean": "harm"})[[*KEYS, "harm"]], on=KEYS, how="outer"
    )
    weights = kept(rows, samples)
    weights = weights[weights["contamination"] == at].drop(columns="contamination")
    table = table.merge(weights, on=KEYS, how="left").merge(costs(rows), on=KEYS, how="left")
    order = ordered(table["method"])
    table = table.sort_values(
        KEYS, key=lambda column: column.map(order.index) if column.name == "method" else column
    )
    names = data_names(rows)
    text = {
        "data": [names[name] for name in table["dataset"]],
        "detector": [label(name) for name in table["detector"]],
        "weighting": [label(name) for name in table["method"]],
        f"gain at {100 * at:g} % / points": [signed(x) for x in table["gain"]],
        "gap closed": [whole_percent(x) for x in table["closed"]],
        "clean / points": [signed(x) for x in table["harm"]],
    }
    for truth in ("nominal", "boundary", "anomalous"):
        if truth in table:
            text[f"weight at {100 * at:g} %, {truth}"] = [two_decimals(x) for x in table[truth]]
    text["time / plain"] = [two_decimals(x) for x in table["cost"]]
    same = [name for name in ("data", "detector") if len(set(text[name])) == 1]
    return pd.DataFrame({name: values for name, values in text.items() if name not in same})


def findings(rows: pd.DataFrame) -> str:
    """The verdict on `comet+` and on the others, a line each, computed; in Markdown."""
    gain, harm, names = gaps(rows), harms(rows), data_names(rows)
    lines = []
    for (dataset, detector), part in gain.groupby(["dataset", "detector"], sort=False):
        where = f"**{names[str(dataset)]}, {label(str(detector))}**"
        mine = part[part["method"] == BEST].set_index("contamination")
        for level, row in mine.iterrows():
            if np.isnan(row["closed"]):
                told = f"the gap is {signed(row['gap'])} points: too small to speak of a share"
            else:
                reached = "as aimed for" if row["closed"] >= SHARE else "short of the 80 % aimed at"
                told = (
                    f"CoMet+ closes {whole_percent(row['closed'])} of the gap of "
                    f"{signed(row['gap'])} points between plain and oracle, {reached}"
                )
            lines.append(f"- {where}, {100 * float(str(level)):g} % anomalous: {told}.")
        best = part[part["method"] != BEST].groupby("method")["gain"].mean()
        if len(best):
            top = str(best.idxmax())
            lines.append(
                f"- {where}, mean over the contaminated levels: of the other weightings *{top}* "
                f"gains most, {signed(best.max())} points"
                + (f"; CoMet+ gains {signed(mine['gain'].mean())}." if len(mine) else ".")
            )
    for cost in harm[harm["method"] == BEST].to_dict("records"):
        verdict = "within" if cost["mean"] >= -CLOSE else "beyond"
        lines.append(
            f"- **{names[cost['dataset']]}, {label(cost['detector'])}**, clean: CoMet+ minus plain "
            f"is {signed(cost['mean'])} points, {verdict} the 0.3 points that it may cost."
        )
    return "\n".join(lines)


def failures(rows: pd.DataFrame) -> str:
    """What was tried and is not recommended, and for which reason, as one paragraph of Markdown."""
    harm = by_method(harms(rows), "mean", "min")
    gain = by_method(gaps(rows), "gain", "mean")
    paper = gain.get("paper", float("nan"))
    dear = sorted(name for name, value in harm.items() if value < -HARMLESS)
    weak = [name for name in ordered(gain) if gain[name] < paper]
    said = []
    if dear:
        lost = ", ".join(f"*{label(name)}* ({signed(harm[name])})" for name in dear)
        said.append(
            "On the clean data of this chapter's runs, in the worst case, more than half a point "
            f"is lost by {lost}: such a rule is not for a set that may be clean."
        )
    elif len(harm):
        said.append(
            "On the clean data of this chapter's runs no rule loses more than half a point."
        )
    if weak:
        less = ", ".join(f"*{label(name)}* ({signed(gain[name])})" for name in weak)
        said.append(
            f"Less than the paper's rule, {signed(paper)} points over plain in the mean over the "
            f"contaminated levels, is gained by {less}."
        )
    elif not np.isnan(paper):
        said.append(
            f"All of them gain at least what the paper's rule does, {signed(paper)} points over "
            "plain in the mean over the contaminated levels."
        )
    return " ".join(said)


def flagged(rows: pd.DataFrame, samples: pd.DataFrame, levels: Sequence[float]) -> pd.DataFrame:
    """What the cut at a false-discovery rate flags in the training sets of `comet+`.

    Args:
        rows: of `prepared`.
        samples: of `notebook.training_samples`.
        levels: of the false-discovery rate.

    Returns:
        One row a contamination and level: "contamination", "level", "flagged" (images, mean over
        runs), "false_share" (nominal or boundary among them; 0 where none is flagged), "low",
        "high" (95 % over runs), "found" (share of the anomalous images).
    """
    about = rows.loc[rows["method"] == BEST, ["hash", "contamination"]]
    found = []
    for (_, contamination), run in samples.merge(about, on="hash", suffixes=("_", "")).groupby(
        ["hash", "contamination"], sort=False
    ):
        dirt = (run["truth"] == "anomalous").to_numpy()
        scores = torch.tensor(run["score"].to_numpy(dtype=float).copy())
        for level in levels:
            cut = discoveries(scores, level).numpy()
            hits = int((cut & dirt).sum())
            share = hits / int(dirt.sum()) if dirt.any() else float("nan")
            false = (int(cut.sum()) - hits) / max(1, int(cut.sum()))
            found.append((contamination, level, int(cut.sum()), false, share))
    columns = ["contamination", "level", "flagged", "false_share", "found"]
    table = pd.DataFrame(found, columns=columns)
    lines = []
    for key, group in table.groupby(["contamination", "level"], sort=True):
        interval = mean_interval(group["false_share"])
        lines.append((*key, group["flagged"].mean(), *interval[:3], group["found"].mean()))
    return pd.DataFrame(lines, columns=[*columns[:4], "low", "high", "found"])


def by_method(table: pd.DataFrame, column: str, how: str) -> dict[str, float]:
    """A column of a table of `gaps` or `harms`, aggregated for each method."""
    found = table.groupby("method")[column].agg(how)
    return {str(name): float(value) for name, value in found.items()}
