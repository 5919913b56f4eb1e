"""A folder of unlabelled images in, its images ranked by suspicion out, with the place to look at.

This is the estimator applied to a folder and nothing more: train on all images, order them by
score, cut at t of equation 1, and find the peak of each anomaly map.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from comet_core import metrics
from comet_core.confidence import iqr_threshold
from comet_core.config import TrainingSettings
from comet_core.datasets import load
from comet_core.datasets.base import Dataset, Record, Skipped
from comet_core.datasets.mixture import mix_below
from comet_core.errors import InputError
from comet_core.estimator import CoMet
from comet_core.images import image_shape
from comet_core.names import label, readable

STRATEGY = "comet+"
"""How the model is trained unless another strategy is asked for."""
MEMBERS = 3
"""So many detectors are trained unless another number is asked for. A single one ranks by chance as
well: where 75 of 833 magnetic tiles are defective, one has an average precision of 0.34 and three
have 0.41, in the mean of three draws (`benchmarks/triage.py --second "" --members 1 3`)."""
SECOND = "differnet"
"""A detector of another kind that has as much of a say: it looks at whole images where SimpleNet
looks at patches. On the tiles the average precision is 0.57 with it (`--second "" differnet`)."""
SECOND_OPTIONS: dict[str, dict[str, Any]] = {"differnet": {"rotations": 2}}
"""Two views of an image in place of four take half of the time for its features. They change the
average precision by -0.03 on the tiles and by -0.01 to 0.02 on three stand-ins."""
FEWEST = 4
"""With three images equation 1 cannot flag any at kappa = 1.5, whatever their scores."""
MAP_SIZE = 128
"""Edge length of the anomaly maps in pixels."""
ALL_FLAGGED = 120
"""Up to so many flagged images keep their maps, however few are asked for."""
BATCH = 64


@dataclass(frozen=True)
class Inspection:
    """What came of looking through a folder.

    Attributes:
        folder: the images' folder.
        table: one row an image, the most suspicious first: rank (from 1), path (below the folder,
            with forward slashes), score (>= 0), weight in (0, 1], flagged (score above t), where
            there is a second detector a column for each of both, see `CoMet.ranking`, and
            peak_x, peak_y, where its map is highest, in pixels of the upright image from its left
            and its top.
        threshold: t of equation 1.
        maps: (K, 128, 128), anomaly maps of the first K rows, stretched to a square.
        usual: the median over all images of their maps' peaks.
        level: equation 1 on the peaks of all maps; what lies above it is encircled.
        skipped: files that were left out, and why.
        detector: its name.
        second: name of the detector of another kind, if there is one.
        model: the trained model, to score other images with.
    """

    folder: Path
    table: pd.DataFrame
    threshold: float
    maps: NDArray[np.float32]
    usual: float
    level: float
    skipped: list[Skipped]
    detector: str
    second: str | None
    model: CoMet

    @property
    def flagged(self) -> int:
        """How many images score above t."""
        return int(self.table["flagged"].sum())

    @property
    def settings(self) -> TrainingSettings:
        """Of the training."""
        return self.model.settings

    def describe(self, source: str = "unlabelled images") -> str:
        """One line that says what this was made from: goes under every figure."""
        seed, members = self.settings.seed, self.model.members
        one = f"(seed {seed})"
        several = f"(seeds {seed} to {seed + members - 1})"
        told = label(self.detector)
        told = f"{told} {one}" if members == 1 else f"{members} {told}s {several}"
        told += f" and a {label(self.second)} {one}" if self.second else ""
        return (
            f"{source} · {len(self.table)} images, {self.flagged} flagged · {told} · "
            f"{label(self.settings.strategy)}"
        )


def inspect_folder(
    folder: str | os.PathLike[str],
    *,
    strategy: str = STRATEGY,
    detector: str = "simplenet",
    members: int = MEMBERS,
    second: str | None = SECOND,
    maps: int = 60,
    without: str | os.PathLike[str] | Collection[str | os.PathLike[str]] = (),
    strict: bool = False,
    progress: bool = False,
    **settings: Any,
) -> Inspection:
    """Train on the images of a folder and rank them by suspicion.

    Features are cached as they are computed, so an interrupted call goes on where it stopped.

    Args:
        folder: images, nested or flat; nothing needs to be known of them.
        strategy: see `training`.
        detector: one that has anomaly maps.
        members: so many of `detector` are trained, and their scores averaged; see `CoMet`.
        second: a detector of another kind whose score counts as much, see `CoMet`, of two views of
            an image; None or empty: none.
        maps: of how many images, the most suspicious first, the anomaly maps are kept; of all that
            are flagged in any case, up to `ALL_FLAGGED`.
        without: a list that an earlier report on the folder saved, or several; what is marked
            defective there is left out.
        strict: refuse files that cannot be used instead of leaving them out.
        progress: show progress bars.
        **settings: of `CoMet`, such as seed, kappa, profile or image_size.

    Raises:
        InputError: no such folder, fewer than four readable images, a setting that does not fit,
            a detector without anomaly maps, or a list that is none or of another folder.
    """
    second = second or None
    model = CoMet(
        detector,
        strategy,
        members=members,
        second=second,
        second_options=SECOND_OPTIONS.get(second or ""),
        strict=strict,
        **settings,
    )
    model.require_maps()
    root = Path(folder).expanduser()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is left out is told in `skipped`
        dataset = load("folder", root, strict=strict)
        train, marked = _apart(dataset, without)
        _require_enough(len(train), "image", root)
        records = {readable(str(record.path)): record for record in train}
        model.fit([record.path for record in train], progress=progress)
    _require_enough(len(model.ids_), "readable image", root)

    ranking = model.ranking()
    wanted = max(maps, min(int(ranking["flagged"].sum()), ALL_FLAGGED))
    kept, peaks, places = [], [], []
    bar = tqdm(total=len(ranking), desc="maps", unit="image", disable=not progress)
    with bar:
        for start in range(0, len(ranking), BATCH):
            files = [records[name].path for name in ranking["id"][start : start + BATCH]]
            found = model.anomaly_map(files, MAP_SIZE)
            kept.append(found[: max(0, wanted - start)])
            peaks.append(found.reshape(len(found), -1).max(1))
            places += [_peak(one, file) for one, file in zip(found, files, strict=True)]
            bar.update(len(files))
    heights = torch.from_numpy(np.concatenate(peaks)).double()
    # Equation 1 moves with the scores it is given, so it may be applied to maps below zero.
    lowest = heights.min()
    level = iqr_threshold(heights - lowest, model.settings.kappa) + lowest
    table = pd.DataFrame(
        {
            "rank": range(1, len(ranking) + 1),
            "path": [records[name].id for name in ranking["id"]],
            "score": ranking["score"],
            "weight": ranking["weight"],
            "flagged": ranking["flagged"],
        }
    )
    if second is not None:
        table[[detector, second]] = ranking[[detector, second]]
    table[["peak_x", "peak_y"]] = places
    return Inspection(
        folder=root,
        table=table,
        threshold=model.threshold_,
        maps=np.concatenate(kept),
        usual=heights.median().item(),
        level=level.item(),
        skipped=[*dataset.skipped, *marked, *model.skipped_],
        detector=detector,
        second=second,
        model=model,
    )


def found(table: pd.DataFrame, truth: pd.DataFrame, spare: int = 4) -> dict[str, float]:
    """How much of a known truth a ranking found.

    Args:
        table: of an `Inspection`.
        truth: path and truth, as from `datasets.mixture.mix`.
        spare: how many more than the k anomalous images one is ready to look at.

    Returns:
        images; k, the number of anomalous ones; how many of them are among the first k
        (in_first_k) and the first k + spare (in_first_more); flagged; precision and recall of the
        cut at t, nan where nothing is flagged or anomalous; average_precision of the ranking.
    """
    merged = table.merge(truth[["path", "truth"]], on="path", how="left")
    dirty = (merged["truth"] == "anomalous").to_numpy()
    flagged = merged["flagged"].to_numpy(dtype=bool)
    k, hits = int(dirty.sum()), int((dirty & flagged).sum())
    return {
        "images": len(merged),
        "k": k,
        "in_first_k": int(dirty[:k].sum()),
        "in_first_more": int(dirty[: k + spare].sum()),
        "flagged": int(flagged.sum()),
        "precision": hits / flagged.sum() if flagged.any() else float("nan"),
        "recall": hits / k if k else float("nan"),
        "average_precision": metrics.average_precision(dirty.astype(int), merged["score"]),
    }


def measure(
    dataset: Dataset, defective: int, below: Path, seed: int = 0, **options: Any
) -> dict[str, float]:
    """Hide defective images among good ones, search, and count what was found.

    Args:
        dataset, defective, below: of `datasets.mixture.mix_below`.
        seed: of the mixture and of the training.
        **options: of `inspect_folder`.

    Returns:
        As `found`.
    """
    folder, truth = mix_below(dataset, defective, below, seed)
    return found(inspect_folder(folder, seed=seed, maps=0, **options).table, truth)


def _apart(
    dataset: Dataset, lists: str | os.PathLike[str] | Collection[str | os.PathLike[str]]
) -> tuple[list[Record], list[Skipped]]:
    """The images to train on, and those that a list marks as defective."""
    defective: dict[str, Path] = {}
    for file in [lists] if isinstance(lists, str | os.PathLike) else lists:
        defective |= _defective_in(Path(file).expanduser())
    train = [record for record in dataset.train if record.id not in defective]
    marked = [
        Skipped(record.path, f"marked defective in '{defective[record.id]}'")
        for record in dataset.train
        if record.id in defective
    ]
    if defective and not marked:
        raise InputError(
            f"none of the images that are marked defective in '{next(iter(defective.values()))}' "
            f"is in '{dataset.root}'; give the list that a report on this folder saved, or none."
        )
    return train, marked


def _defective_in(file: Path) -> dict[str, Path]:
    """Paths of the images that are marked defective in the list that a report saved."""
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip()
        raise InputError(
            f"'{file}' cannot be read as a list of marks ({reason}); give the CSV file that a "
            "report saved."
        ) from None
    if not {"path", "verdict"} <= set(rows):
        raise InputError(
            f"'{file}' has no columns 'path' and 'verdict'; give the CSV file that a report saved."
        )
    return dict.fromkeys(rows.loc[rows["verdict"] == "defective", "path"], file)


def _require_enough(count: int, what: str, folder: Path) -> None:
    if count < FEWEST:
        raise InputError(
            f"'{folder}' holds {count} {what}{'s' * (count != 1)}, and suspicion is "
            f"relative to the others; give at least {FEWEST}, better some dozens."
        )


def _peak(one: NDArray[np.float32], file: Path) -> tuple[int, int]:
    """Where a map is highest, as (x, y) in pixels of its image."""
    row, column = np.unravel_index(int(one.argmax()), one.shape)
    height, width = image_shape(file)
    return (
        int((column + 0.5) * width / one.shape[1]),
        int((row + 0.5) * height / one.shape[0]),
    )
