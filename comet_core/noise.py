"""What contamination costs: runs at several levels in, the curves of Figure 5 and their losses out.

A *method* is a strategy of a detector that is trained, or a detector of its own that no strategy
applies to (`evidence.with_methods`). Seeds are the sample of every interval here; the categories of
a data set are averaged within each seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from comet_core.config import UNTRAINED
from comet_core.effects import OPEN, side
from comet_core.errors import InputError
from comet_core.evidence import BASELINE, DETECTORS, METHOD, STRATEGIES, with_methods
from comet_core.names import data_names, label
from comet_core.results import Store
from comet_core.runs import image_paths
from comet_core.statistics import Interval, paired_difference, summarise
from comet_core.tables import with_interval

PEERS = ("comet+", "memory_bank", "softpatch")
KEYS = ("dataset", "detector", "method", "overlap")
VALUE, OVERLAP_VALUE = "image_auroc", "image_auroc_overlap"


def prepared(rows: pd.DataFrame) -> pd.DataFrame:
    """Runs with their `method`, those of plain training and CoMet under either protocol.

    Which images are tested does not change what was trained, so one run answers under both. A
    detector of its own is repeated beside every detector that is trained, to compare with.

    Args:
        rows: of `experiments.run` over the grids of `evidence.curves`.

    Returns:
        The rows with `method`; those to be drawn in several places are repeated.
    """
    rows = with_methods(rows)
    if OVERLAP_VALUE in rows:  # runs of an old store lack it
        both = rows[rows["method"].isin([BASELINE, METHOD]) & rows[OVERLAP_VALUE].notna()]
        left_in = both.assign(overlap=True, **{VALUE: both[OVERLAP_VALUE]})
        rows = pd.concat([rows, left_in], ignore_index=True)
    trained = [name for name in DETECTORS if (rows["detector"] == name).any()]
    own = ~rows["detector"].isin(DETECTORS)
    copies = [rows[own].assign(detector=name) for name in trained]
    return pd.concat([rows[~own], *copies] if copies else [rows], ignore_index=True)


def ordered(methods: Iterable[str]) -> list[str]:
    """The methods, each once: strategies in the order of the book, then detectors of their own."""
    found = set(methods)
    known = [name for name in dict.fromkeys((*STRATEGIES, *PEERS)) if name in found]
    return known + sorted(found - set(known))


def curves(rows: pd.DataFrame) -> pd.DataFrame:
    """The points of the curves.

    Args:
        rows: of `prepared`.

    Returns:
        dataset, detector, method, overlap, contamination; mean, low, high (95 % over seeds), n
        (seeds), categories.
    """
    return summarise(rows, VALUE, [*KEYS, "contamination"])


def setting_the_scale(points: pd.DataFrame) -> pd.DataFrame:
    """The points that an axis is made for: of the methods that are trained, if there are any.

    Detectors of their own may leave it at the bottom, or nobody could tell the others apart.
    """
    trained = points[~points["method"].isin(UNTRAINED)]
    return trained if len(trained) else points


def lowest(points: pd.DataFrame) -> float:
    """From where an axis shows all means and most intervals."""
    return float(min(points["mean"].min(), points["low"].quantile(0.1)))


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """The values behind the points: `KEYS`, contamination, seed, value (mean of the categories)."""
    keys = [*KEYS, "contamination", "seed"]
    found = rows.groupby(keys, sort=True)[VALUE].mean()
    return found.rename("value").reset_index()


def faults(rows: pd.DataFrame, most: int = 2, store: Store | None = None) -> pd.DataFrame:
    """The images behind the points: those that the run of the first seed put most out of order.

    An image is out of order by the share of the images of the other kind that lie on its wrong
    side; the mean of that share over the anomalous images is what the I-AUROC lacks of 1.

    Args:
        rows: of `prepared`.
        most: images of either kind for a point, at most.
        store: where the runs lie; `results.default_store` if left out.

    Returns:
        `KEYS`, contamination, seed, category, id, path, label, wrong; the worst first. Runs that
        the store does not hold are passed over.
    """
    store = store or Store()
    first = rows[rows["seed"] == rows.groupby([*KEYS, "contamination"])["seed"].transform("min")]
    known: dict[tuple[str, bool], pd.DataFrame] = {}
    parts = []
    for row in first.to_dict("records"):
        run = row["hash"], bool(row["overlap"])
        if run not in known:
            known[run] = _out_of_order(store, *run)
        about = {key: row[key] for key in (*KEYS, "contamination", "seed", "category")}
        parts.append(known[run].assign(**about))
    if not parts:
        return pd.DataFrame()
    found = pd.concat(parts, ignore_index=True)
    found = found.sort_values(["wrong", "category", "id"], ascending=[False, True, True])
    kinds = [*KEYS, "contamination", "label"]
    return found.groupby(kinds, sort=False).head(most).reset_index(drop=True)


def _out_of_order(store: Store, name: str, overlap: bool) -> pd.DataFrame:
    """Test images of a run that lie on the wrong side of any of the other kind.

    With overlap the injected images are among them, whose scores are those of the training set.
    """
    columns = ["id", "path", "label", "wrong"]
    try:
        tests = store.table(name, "test")
        if overlap:
            manifest, train = store.table(name, "manifest"), store.table(name, "train")
            injected = manifest.loc[manifest["origin"] == "injected", "id"]
            left = train[train["id"].isin(injected) & ~train["id"].isin(tests["id"])]
            tests = pd.concat([tests, left], ignore_index=True)
        paths = image_paths(store.config(name))
    except InputError:
        return pd.DataFrame(columns=columns)
    bad = (tests["label"] == 1).to_numpy()
    scores = tests["score"].to_numpy()
    good_scores, bad_scores = np.sort(scores[~bad]), np.sort(scores[bad])
    if not len(good_scores) or not len(bad_scores):
        return pd.DataFrame(columns=columns)
    above = 1 - np.searchsorted(good_scores, scores) / len(good_scores)
    below = np.searchsorted(bad_scores, scores) / len(bad_scores)
    tests = tests.assign(
        wrong=np.where(bad, above, below), path=[str(paths.get(one, "")) for one in tests["id"]]
    )
    return tests.loc[tests["wrong"] > 0, columns]


def losses(rows: pd.DataFrame, level: float | None = None) -> pd.DataFrame:
    """I-AUROC lost from the clean training set to a contaminated one, in runs of one seed.

    Args:
        rows: of `prepared`.
        level: contamination; the highest there is if left out.

    Returns:
        `KEYS`, level, mean (positive where it falls), low, high, n (seeds).

    Raises:
        InputError: there are no runs at this level, or none without contamination.
    """
    level = rows["contamination"].max() if level is None else level
    for needed in (0.0, level):
        if not (rows["contamination"] == needed).any():
            raise InputError(f"there are no runs at {100 * needed:g} % to tell a loss from.")
    pairs = ("seed", "category")
    found = paired_difference(rows, VALUE, "contamination", 0.0, level, KEYS, pair=pairs)
    found.insert(len(KEYS), "level", level)
    return found.drop(columns=["pairs", "wins"])


def gains(rows: pd.DataFrame, level: float | None = None) -> pd.DataFrame:
    """I-AUROC of every method less that of the plain detector, at one level, in runs of one seed.

    Returns:
        `KEYS`, level, mean, low, high, n (seeds); a method that shares no run with plain is absent.
    """
    level = rows["contamination"].max() if level is None else level
    at = rows[rows["contamination"] == level]
    by = ["dataset", "detector", "overlap"]
    parts = []
    for method in dict.fromkeys(at["method"]):
        if method == BASELINE or not (at["method"] == BASELINE).any():
            continue
        try:
            found = paired_difference(
                at, VALUE, "method", method, BASELINE, by, pair=("seed", "category")
            )
        except InputError:  # no run of the two has a partner
            continue
        found.insert(2, "method", method)
        found.insert(4, "level", level)
        parts.append(found.drop(columns=["pairs", "wins"]))
    columns = [*KEYS, "level", "mean", "low", "high", "n"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def loss_table(rows: pd.DataFrame, overlap: bool = False) -> pd.DataFrame:
    """What each method loses, and gains on plain, at the highest level, as text in points.

    A detector of its own has one row a data set, with a gain on each detector that is trained.
    """
    lost, gained = losses(rows), gains(rows)
    lost, gained = (one[one["overlap"] == overlap] for one in (lost, gained))
    table = lost.merge(gained, on=list(KEYS), how="left", suffixes=("", "_gain"))
    table = in_order(table, rows)
    level, names = f"{100 * table['level'].iloc[0]:g} %", data_names(rows)
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in table.to_dict("records"):
        own = row["method"] in UNTRAINED
        detector = label(row["detector"])
        gain = _points(row, "_gain")
        line = {
            "data": names[row["dataset"]],
            "detector": "–" if own else detector,
            "method": label(row["method"]),
            f"lost at {level}": _points(row, sign=""),
            f"gain on plain at {level}": f"{gain} on {detector}" if own and gain != "–" else gain,
        }
        key = (row["dataset"], "" if own else row["detector"], row["method"])
        if key in lines:
            line[f"gain on plain at {level}"] = "; ".join(
                one[f"gain on plain at {level}"] for one in (lines.pop(key), line)
            )
        lines[key] = line
    return pd.DataFrame(lines.values())


def findings(rows: pd.DataFrame, methods: Sequence[str] = (BASELINE, METHOD)) -> str:
    """A line for each data set and detector: what methods lose at the highest level, in Markdown.

    Args:
        rows: of `prepared`; only runs without overlap are told of.
        methods: in the order to tell of them.
    """
    rows = rows[~rows["overlap"].astype(bool)]
    lost, gained = in_order(losses(rows), rows), gains(rows)
    lines = []
    for (dataset, detector), part in lost.groupby(["dataset", "detector"], sort=False):
        told = part.set_index("method")
        said = [
            f"{label(method)} loses {_points(told.loc[method].to_dict(), sign='')}"
            for method in methods
            if method in told.index
        ]
        if not said:
            continue
        where = f"{data_names(rows)[str(dataset)]}, {label(str(detector))}"
        line = f"- **{where}**: at {100 * part['level'].iloc[0]:g} % of injected anomalies "
        line += ", ".join(said) + " points of I-AUROC"
        here = gained[(gained["dataset"] == dataset) & (gained["detector"] == detector)]
        ahead = here[here["method"] == METHOD]
        if len(ahead):
            gain = _points(ahead.iloc[0].to_dict())
            line += f"; {label(METHOD)} minus {label(BASELINE)} is {gain} there"
        lines.append(line + ".")
    return "\n".join(lines)


def overlap_findings(rows: pd.DataFrame, method: str = BASELINE) -> str:
    """A line for each data set and detector: what a method loses under either protocol.

    Args:
        rows: of `prepared`; a data set and detector without runs of both protocols is left out.
        method: whose loss to tell.
    """
    own = rows[rows["method"] == method]
    lost, at = in_order(losses(own), rows), own[own["contamination"] == own["contamination"].max()]
    lines = []
    for (dataset, detector), part in lost.groupby(["dataset", "detector"], sort=False):
        told = {bool(row["overlap"]): row for row in part.to_dict("records")}
        if len(told) < 2:
            continue
        here = at[(at["dataset"] == dataset) & (at["detector"] == detector)]
        where = f"{data_names(rows)[str(dataset)]}, {label(str(detector))}"
        lines.append(
            f"- **{where}**: {label(method)} loses "
            f"{_points(told[True], sign='')} points where the injected images stay in the test set "
            f"and {_points(told[False], sign='')} where they leave it: "
            f"{_steeper(here)}."
        )
    return "\n".join(lines)


def _steeper(rows: pd.DataFrame) -> str:
    """How the fall where injected images stay compares with that where they leave the test set.

    Args:
        rows: runs of one method, data set, detector and level under both protocols.
    """
    for word, leave, stay in (("steeper", False, True), ("less steep", True, False)):
        pairs = ("seed", "category")
        (found,) = paired_difference(rows, VALUE, "overlap", leave, stay, pair=pairs).to_dict(
            "records"
        )
        if found["mean"] > 1e-9:
            by = f"by {_points(found, sign='')} points"
            if side(Interval.of(found)) == OPEN:
                return f"the falls differ {by}, which is not settled"
            return f"the fall is {word} where they stay, {by}"
    return "the falls are the same"


def in_order(table: pd.DataFrame, rows: pd.DataFrame, method: str = "method") -> pd.DataFrame:
    """A table in the order of the rows' data sets and detectors, and of `ordered` methods.

    `method` names their column in both.
    """
    orders = {name: list(dict.fromkeys(rows[name])) for name in ("dataset", "detector")}
    orders[method] = ordered(rows[method])
    return table.sort_values(
        list(orders), key=lambda column: column.map(orders[str(column.name)].index)
    )


def _points(row: Mapping[Any, Any], end: str = "", sign: str = "+") -> str:
    """The difference of a row in points, with its interval."""
    mean, low, high = (float(row.get(f"{name}{end}", "nan")) for name in ("mean", "low", "high"))
    return with_interval(mean, low, high, sign)
