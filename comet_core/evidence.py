"""The evidence grid: which runs the book's claims rest on, in one place for every notebook.

Two grids, both made of the same settings, so that notebooks share runs in the results store:

    rows = experiments.run(evidence.curves("demo"), engine="processes")
    rows = experiments.run(evidence.comparison("demo"), engine="processes")

`curves` varies the contamination, for every detector and strategy (Figure 5 of the paper, its
claims C3, C5, C6). `comparison` sets CoMet beside the plain detector on each of the three data sets
(the paper's two tables, claims C1, C2, C4, C5): MVTec AD and VIADUCT with 10 % injected anomalies,
KSDD2 with the anomalies that its training set has by nature. `peers` adds to the curves the
detectors that no strategy applies to. Each is a list for `experiments.run`.
Whatever is not given comes from the profile, in `EVIDENCE`; data of one's own are named by

    evidence.curves("demo", data_root="data/mvtec_ad", categories=["bottle"], seeds=[0, 1])

Pixel metrics are left out of these runs, which saves a third of their time. Images that cannot be
read stop a run (`strict`), so that no number is of less data than it says. So that the book is
built in minutes, the demo profile trains on half of the embedded images; of data of one's own it
takes all (`Evidence.embedded`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from comet_core import notebook
from comet_core.config import Strategy
from comet_core.detectors import DETECTORS as KNOWN_DETECTORS
from comet_core.errors import InputError
from comet_core.names import enumerated

DETECTORS = ("simplenet", "differnet")
"""The detectors of the paper: trained by gradient descent, so every strategy applies to them."""
STRATEGIES: tuple[str, ...] = get_args(Strategy)
BASELINE, METHOD = "plain", "comet"
LEVEL = 0.1
"""Contamination of the comparison, where the training set is not contaminated by nature."""
COSTLY = "woven"
"""The embedded category in which 10 % of anomalies cost the plain SimpleNet most: 14 points of
I-AUROC, in the five others 2 to 9 (all 66 images, three seeds). Where nothing is lost, no method
can win anything back."""
NATIVE = ("ksdd2",)
"""Data sets that are compared as they are: anomalies are in their training set already."""


@dataclass(frozen=True)
class Evidence:
    """What one profile runs. No categories of a data set stands for all that it has."""

    curves: Mapping[str, tuple[str, ...]]
    """Data sets whose contamination is varied, with their categories."""
    comparison: Mapping[str, tuple[str, ...]]
    levels: tuple[float, ...]
    seeds: tuple[int, ...]
    embedded: Mapping[str, Any] = field(default_factory=dict)
    """Settings by which runs on embedded data differ from the profile's."""
    at_ends: tuple[str, ...] = ()
    """Strategies that run at the lowest and the highest level only, on embedded data and where no
    strategies are named; they have a chapter of their own."""
    peers_at_ends: bool = False
    """Whether the peers do so as well, on embedded data and where no levels are named."""


EVIDENCE: dict[str, Evidence] = {
    "smoke": Evidence(
        curves={"mvtec_ad": ("bottle_cap",), "ksdd2_clean": ("ksdd2",)},
        comparison={
            "mvtec_ad": ("bottle_cap",),
            "viaduct": ("connector_2",),
            "ksdd2": ("ksdd2",),
        },
        levels=(0.0, 0.1),
        seeds=(0, 1),
    ),
    "demo": Evidence(
        curves={"mvtec_ad": (COSTLY,), "ksdd2_clean": ("ksdd2",)},
        comparison={
            "mvtec_ad": ("bottle_cap", COSTLY),
            "viaduct": ("connector_2", "connector_4"),
            "ksdd2": ("ksdd2",),
        },
        levels=(0.0, 0.02, 0.04, 0.06, 0.08, 0.1),
        seeds=(0, 1, 2),
        # With the 70 images that 10 % make of them, as many steps an epoch: 3 and 4.
        embedded={"train_limit": 64},
        at_ends=("comet+",),
        peers_at_ends=True,
    ),
    "paper": Evidence(
        curves={"mvtec_ad": (), "ksdd2_clean": ()},
        comparison={"mvtec_ad": (), "viaduct": (), "ksdd2": ()},
        levels=(0.0, 0.02, 0.04, 0.06, 0.08, 0.1),
        seeds=(0, 1, 2, 3, 4),
    ),
}
"""The grid of each profile. `demo` is what two cores compute in minutes."""


def scope(rows: pd.DataFrame) -> str:
    """One sentence on how little of a data set runs stand for: their categories by name."""
    names = [one.replace("_", " ") for one in dict.fromkeys(rows["category"])]
    number = "one category" if len(names) == 1 else f"{len(names)} categories"
    sentence = f"Measured on {number}, {enumerated(names)}"
    if rows["synthetic"].all() and names == [COSTLY]:
        sentence += (
            ", which of the embedded ones contamination costs most ({doc}`noise_curves`): "
            "elsewhere there is less to win and to lose"
        )
    return sentence + "."


def curves(
    profile: str,
    *,
    datasets: Sequence[str] = (),
    data_root: str = "",
    categories: Sequence[str] = (),
    levels: Sequence[float] = (),
    detectors: Sequence[str] = (),
    strategies: Sequence[str] = (),
    seeds: Sequence[int] = (),
    strict: bool = True,
) -> list[dict[str, Any]]:
    """Grids of runs over contamination levels; whatever is empty comes from the profile.

    Args:
        profile: a key of `EVIDENCE`.
        datasets: names of layouts; see `places`.
        data_root: where the data lie; empty for the embedded stand-ins.
        categories: of every data set.
        levels: contamination, k / N_train.
        detectors, strategies, seeds: as in `RunConfig`; strategies are all of them if left out.
        strict: stop at an unreadable image.

    Raises:
        InputError: unknown profile, data set or category; data that are not there.
    """
    chosen = profile_of(profile)
    every = tuple(levels or chosen.levels)
    ends = () if strategies or data_root else chosen.at_ends
    usual = [name for name in strategies or STRATEGIES if name not in ends]
    ways = [(usual, every), *([(list(ends), (min(every), max(every)))] if ends else [])]
    return [
        {
            **place,
            **_detector(chosen, detector, data_root),
            "strategy": names,
            "contamination": list(dict.fromkeys(some)),
            "seed": list(seeds or chosen.seeds),
            **_fixed(profile, strict),
        }
        for place in places(chosen.curves, datasets, data_root, categories)
        for detector in detectors or DETECTORS
        for names, some in ways
    ]


def peers(profile: str, **chosen: Any) -> list[dict[str, Any]]:
    """The grids of `curves` for detectors that are not trained by gradients, if there are any.

    No strategy applies to them, so they are run once, as "plain"; `chosen` is as for `curves`.
    """
    plan = profile_of(profile)
    if plan.peers_at_ends and not (chosen.get("data_root") or chosen.get("levels")):
        chosen["levels"] = (min(plan.levels), max(plan.levels))
    names = [name for name in KNOWN_DETECTORS if name not in DETECTORS]
    grids = [curves(profile, detectors=[name], strategies=[BASELINE], **chosen) for name in names]
    return [grid for part in grids for grid in part]


def comparison(
    profile: str,
    *,
    datasets: Sequence[str] = (),
    data_root: str = "",
    categories: Sequence[str] = (),
    contamination: float = LEVEL,
    detectors: Sequence[str] = (),
    strategies: Sequence[str] = (BASELINE, METHOD),
    seeds: Sequence[int] = (),
    strict: bool = True,
) -> list[dict[str, Any]]:
    """Grids of runs that set strategies side by side; the arguments are those of `curves`.

    Args:
        contamination: of the data sets that are not contaminated by nature (`NATIVE`).
    """
    chosen = profile_of(profile)
    return [
        {
            **place,
            **_detector(chosen, detector, data_root),
            "strategy": list(strategies),
            "contamination": 0.0 if place["dataset"] in NATIVE else contamination,
            "seed": list(seeds or chosen.seeds),
            **_fixed(profile, strict),
        }
        for place in places(chosen.comparison, datasets, data_root, categories)
        for detector in detectors or DETECTORS
    ]


def places(
    defaults: Mapping[str, Sequence[str]],
    datasets: Sequence[str] = (),
    data_root: str = "",
    categories: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Which data to run on: dicts of dataset, data_root and category, for `experiments.run`.

    Args:
        defaults: data sets and their categories, for what is not given.
        datasets: names of layouts. Empty: those of `defaults`, or "mvtec_ad" where there is a
            `data_root`, since most people's data have that layout.
        data_root: the folder of the data set; with several data sets, the folder that holds each
            under its name (`ksdd2_clean` is read from `ksdd2`). Empty: the embedded stand-ins.
        categories: of every data set. Empty: for embedded data those of `defaults`, else all.
    """
    names = list(datasets) or (["mvtec_ad"] if data_root else list(defaults))
    found = []
    for name in names:
        folder = name.removesuffix("_clean")
        inside = str(Path(data_root) / folder) if data_root and len(names) > 1 else data_root
        root = notebook.find_data(name, inside)
        wanted = list(categories) or ([] if data_root else list(defaults.get(name, ())))
        wanted = notebook.choose_categories(name, root, wanted)
        found.append({"dataset": name, "data_root": root, "category": wanted})
    return found


def profile_of(name: str) -> Evidence:
    """The grid of a profile. Raises `InputError` for an unknown one."""
    if name not in EVIDENCE:
        raise InputError(f"unknown profile '{name}'; there are {', '.join(EVIDENCE)}.")
    return EVIDENCE[name]


def with_methods(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with a column `method`: the strategy, or the detector where no strategy applies."""
    trained = rows["detector"].isin(DETECTORS)
    return rows.assign(method=rows["strategy"].where(trained, rows["detector"]))


def _detector(chosen: Evidence, detector: str, data_root: str) -> dict[str, Any]:
    """A detector and, on embedded data, the settings that keep its runs small."""
    return {"detector": detector, **({} if data_root else chosen.embedded)}


def _fixed(profile: str, strict: bool) -> dict[str, Any]:
    return {"profile": profile, "pixel_size": 0, "strict": strict}
