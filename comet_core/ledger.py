"""The ledger as it is read: one verdict a claim, in a table, a picture and words.

parts = claims.judge(comparison, curves, tables.reported())
ledger.shown(ledger.verdicts(parts))
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from comet_core.claims import CLAIMS, FAILS, HOLDS, NOT_RUN, UNDECIDED, VERDICTS, union
from comet_core.effects import points, with_interval
from comet_core.statistics import Interval, bootstrap_interval


def verdicts(parts: pd.DataFrame) -> pd.DataFrame:
    """The verdict on each claim.

    Args:
        parts: from `claims.judge`.

    Returns:
        One row a claim: claim, statement, verdict; `holds`, `does not hold`, `undecided` and
        `not run`, its numbers of parts; measure, mean, low, high, n: the mean over the parts that
        share the measure of the first, interval over seeds (for C7, the part furthest off); data
        and runs of all parts.
    """
    lines = []
    for claim, statement in CLAIMS.items():
        of_claim = parts[parts["claim"] == claim]
        counts = {verdict: int((of_claim["verdict"] == verdict).sum()) for verdict in VERDICTS}
        lines.append(
            {
                "claim": claim,
                "statement": statement,
                "verdict": combine(of_claim["verdict"]),
                **counts,
                **_overall(of_claim),
                "data": union(of_claim["data"]),
                "runs": union(of_claim["runs"]),
            }
        )
    return pd.DataFrame(lines)


def combine(of_parts: Iterable[str]) -> str:
    """The verdict on a claim that asks for all of its parts.

    A single refuted part refutes it. Each part has its own 95 % interval, without a correction for
    their number: that makes "holds", which asks for all of them, the stricter verdict.
    """
    found = set(of_parts)
    if found <= {NOT_RUN}:
        return NOT_RUN
    if FAILS in found:
        return FAILS
    return HOLDS if found == {HOLDS} else UNDECIDED


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The ledger as text: claim, verdict, effect in points with its interval, parts, data, runs."""
    lines = []
    for line in table.to_dict("records"):
        found = Interval(line["mean"], line["low"], line["high"], line["n"])
        counts = [f"{line[verdict]} {verdict}" for verdict in VERDICTS if line[verdict]]
        lines.append(
            {
                "claim": f"{line['claim']}: {line['statement']}",
                "verdict": line["verdict"],
                "effect, points": f"{line['measure']}: {with_interval(found)}",
                "parts": ", ".join(counts),
                "data": ", ".join(line["data"]) or "–",
                "runs": len(line["runs"]),
            }
        )
    return pd.DataFrame(lines)


def drawn(parts: pd.DataFrame) -> pd.DataFrame:
    """Parts as `figures_effects.effects` takes them: a panel for each claim and measure."""
    return parts.assign(group=parts["claim"] + ": " + parts["measure"], label=parts["where"])


def arithmetic(parts: pd.DataFrame) -> pd.DataFrame:
    """The lines of C7 as text."""
    lines = parts[parts["claim"] == "C7"].to_dict("records")
    return pd.DataFrame(
        {
            "line": line["where"],
            "printed − computed": points(line["mean"]),
            "by rounding": f"{points(line['low'])} to {points(line['high'])}",
            "verdict": line["verdict"],
        }
        for line in lines
    )


def in_words(parts: pd.DataFrame) -> str:
    """How many claims have which verdict, and which parts speak against theirs."""
    found = verdicts(parts)["verdict"]
    counts = [f"{(found == one).sum()} {one}" for one in VERDICTS if (found == one).any()]
    against = parts[parts["verdict"] == FAILS]
    told = [
        f"{part['claim']}, {part['where']} ({part['measure']}, "
        f"{with_interval(Interval(part['mean'], part['low'], part['high'], 0))})"
        for part in against.to_dict("records")
    ]
    ending = f" These parts speak against: {'; '.join(told)}." if told else ""
    return f"Of {len(found)} claims: {', '.join(counts)}.{ending}"


def hashes(parts: pd.DataFrame) -> str:
    """The runs behind each claim, by their hashes, as a part of a page that opens."""
    blocks = []
    for line in verdicts(parts).to_dict("records"):
        runs = line["runs"]
        told = " ".join(f"`{name}`" for name in runs) or "None: arithmetic, or not run."
        blocks.append(f":::{{dropdown}} Runs of {line['claim']}: {len(runs)}\n{told}\n:::")
    return "\n\n".join(blocks)


def _overall(parts: pd.DataFrame) -> dict[str, object]:
    """What the ledger tells of a claim in one number; see `ledger`."""
    if parts.empty:
        return {"measure": "", **Interval(math.nan, math.nan, math.nan, 0)._asdict()}
    first = parts["measure"].iloc[0]
    alike = parts[parts["measure"] == first]
    if not any(alike["seeds"]):
        worst = alike.loc[alike["mean"].abs().fillna(0).idxmax()]
        found = Interval(worst["mean"], worst["low"], worst["high"], worst["n"])
    else:
        run = [seeds for seeds in alike["seeds"] if seeds]
        found = bootstrap_interval(pd.DataFrame(run).dropna(axis=1).mean())
    return {"measure": first, **found._asdict()}
