"""The ledger as it is read: one verdict a claim, in a table, a picture and words.

parts = claims.judge(comparison, curves, tables.reported())
ledger.shown(ledger.verdicts(parts))
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from comet_core.claims import ARITHMETIC, CLAIMS, FAILS, HOLDS, NOT_RUN, UNDECIDED, VERDICTS, union
from comet_core.effects import points, with_interval
from comet_core.statistics import Interval, bootstrap_interval


def verdicts(parts: pd.DataFrame) -> pd.DataFrame:
    """The verdict on each claim.

    Args:
        parts: from `claims.judge`.

    Returns:
        One row a claim: claim, statement, verdict; `holds`, `does not hold`, `undecided` and
        `not run`, its numbers of parts; `effects`, of each measure the mean over its parts with the
        interval over seeds (for C7, the part furthest off with what rounding allows); data and runs
        of all parts.
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
                "effects": _effects(of_claim),
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
    """The ledger as text: claim, verdict, effects in points with intervals, parts, data, runs."""
    lines = []
    for line in table.to_dict("records"):
        counts = [_counted(line[verdict], verdict) for verdict in VERDICTS if line[verdict]]
        lines.append(
            {
                "claim": f"{line['claim']}: {line['statement']}",
                "verdict": line["verdict"],
                "effect, points": "; ".join(
                    f"{measure}: {_told(found)}" for measure, found in line["effects"].items()
                )
                or "–",
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
    lines = parts[parts["claim"] == ARITHMETIC].to_dict("records")
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
    counts = [_counted((found == one).sum(), one) for one in VERDICTS if (found == one).any()]
    return f"Of {len(found)} claims: {', '.join(counts)}.{against(parts)}"


def against(parts: pd.DataFrame) -> str:
    """The parts that speak against their claims, as a sentence that follows another; or nothing."""
    failed = parts[parts["verdict"] == FAILS]
    told = [
        f"{part['claim']}, {part['where']} ({part['measure']}, "
        f"{with_interval(Interval.of(part)) if part['seeds'] else _rounded(Interval.of(part))})"
        for part in failed.to_dict("records")
    ]
    return f" These parts speak against: {'; '.join(told)}." if told else ""


def hashes(parts: pd.DataFrame) -> str:
    """The runs behind each claim, by their hashes, as a part of a page that opens."""
    blocks = []
    for line in verdicts(parts).to_dict("records"):
        runs = line["runs"]
        told = " ".join(f"`{name}`" for name in runs) or "None: arithmetic, or not run."
        blocks.append(f":::{{dropdown}} Runs of {line['claim']}: {len(runs)}\n{told}\n:::")
    return "\n\n".join(blocks)


def _counted(number: int, verdict: str) -> str:
    """How many have a verdict: "1 holds", "3 hold"."""
    several = {HOLDS: "hold", FAILS: "do not hold"}
    return f"{number} {several.get(verdict, verdict) if number > 1 else verdict}"


def _effects(parts: pd.DataFrame) -> dict[str, Interval]:
    """What the ledger tells of a claim, one number for each of its measures; see `verdicts`."""
    found = {}
    for measure, alike in parts.groupby("measure", sort=False):
        if (alike["claim"] == ARITHMETIC).any():
            worst = alike.iloc[int(alike["mean"].abs().to_numpy().argmax())]
            found[f"{measure}, the line furthest off"] = Interval.of(worst)
        else:
            run = [seeds for seeds in alike["seeds"] if seeds]
            common = pd.DataFrame(run).dropna(axis=1).mean()
            found[str(measure)] = bootstrap_interval(common)
    return found


def _told(found: Interval) -> str:
    """An effect as the table tells it: a number without seeds is one of `ARITHMETIC`."""
    if math.isnan(found.mean):
        return "not run"
    return with_interval(found) if found.n else _rounded(found)


def _rounded(found: Interval) -> str:
    """A difference of printed numbers in points, and what their rounding allows."""
    return f"{points(found.mean)} (rounding allows {points(found.low)} to {points(found.high)})"
