"""A scikit-learn-like face: images in, suspicious ones out.

For example,

    model = CoMet(detector="simplenet").fit("photos/")
    model.weights_            # confidence in each training image, low for suspicious ones
    model.score(images)       # anomaly scores, high for anomalous images
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from comet_core.confidence import confidence_weights, iqr_threshold
from comet_core.config import RunConfig, TrainingSettings
from comet_core.datasets import load as load_dataset
from comet_core.datasets.base import Image, Skipped
from comet_core.datasets.base import images as images_of
from comet_core.datasets.listing import NO_IMAGE, is_ignored
from comet_core.detectors import make_detector
from comet_core.detectors.base import Detector
from comet_core.ensembles import combined, geometric_mean, scale_of, trained
from comet_core.errors import InputError
from comet_core.features import (
    Features,
    FeatureSpec,
    compute,
    default_cache,
    extract,
    feature_spec,
    room,
)
from comet_core.names import readable
from comet_core.prior import prior_scores

FAMILY = "comet-companion-"
FORMAT = f"{FAMILY}3"
SETTINGS, STATE, SECOND = "model.json", "model.safetensors", "second"

Images = str | os.PathLike[str] | Iterable[str | os.PathLike[str] | NDArray[np.uint8]]
"""A folder, or image files, or arrays (H, W, 3) with values in 0..255; the latter two as a list or
whatever else yields them one by one. A `~` that a path begins with is the home folder.

The images of a folder come in the order of their paths below it, with forward slashes, sorted as
text.
"""
Given = Path | list[Image] | list[NDArray[np.uint8]]
"""What `Images` come to: a folder, or a list of files or of arrays that is not empty."""


_Fitted = tuple[list[Detector], torch.Tensor, pd.DataFrame]
"""Trained members, their scores of the training images, and their histories."""


class CoMet:
    """An anomaly detector that is trained on uncurated images, without labels.

    Args:
        detector: "simplenet" (finds where) or "differnet".
        strategy: "comet", or one of its parts or baselines; see `training`.
        backbone: a name of `backbones.BACKBONES`.
        image_size: edge length in pixels at which images are seen.
        profile: where the settings that are not given come from: "smoke", "demo" or "paper".
        options: settings of the detector, such as {"noise_std": 0.5}.
        members: so many detectors are trained, from seeds that count up from `seed`; a score is the
            geometric mean of theirs, which depends less on chance; see `ensembles`.
        second: name of a detector of another kind, or None. One of it is trained as well, with the
            same settings, and its score counts as much as those of all members together. Maps are
            the members' alone.
        second_options: its `options`.
        cache: folder of the feature cache, for images that come from files.
        strict: refuse unreadable files in training instead of leaving them out with a warning; in
            scoring they are refused in any case, since each score belongs to the image at its
            place.
        **settings: fields of `TrainingSettings`, such as kappa, epochs or seed.

    Attributes:
        ids_: names of the training images: paths below the folder, the files of a list as they were
            given, or positions in a list of arrays.
        scores_: (N,) anomaly scores of the training images by the trained model, >= 0.
        weights_: (N,) confidence in them, in (0, 1] (equation 2).
        threshold_: t of equation 1; new images above it are flagged by `predict`.
        history_: one row an epoch of a member, named by its detector and seed.
        skipped_: files that could not be read; a saved model does not keep them.

    Raises:
        InputError: for a setting that does not exist or does not fit.
    """

    _second: CoMet | None
    _own: torch.Tensor
    ids_: list[str]
    skipped_: list[Skipped]
    history_: pd.DataFrame

    def __init__(
        self,
        detector: str = "simplenet",
        strategy: str = "comet",
        *,
        backbone: str | None = None,
        image_size: int | None = None,
        profile: str = "demo",
        options: dict[str, Any] | None = None,
        members: int = 1,
        second: str | None = None,
        second_options: dict[str, Any] | None = None,
        cache: str | os.PathLike[str] | None = None,
        strict: bool = False,
        **settings: Any,
    ) -> None:
        unknown = sorted(set(settings) - set(TrainingSettings.model_fields))
        if unknown:
            raise InputError(
                f"unknown setting '{unknown[0]}'; a training has "
                f"{', '.join(TrainingSettings.model_fields)}."
            )
        given = {"strategy": strategy, "profile": profile, "category": "", **settings}
        if backbone is not None:
            given["backbone"] = backbone
        if image_size is not None:
            given["image_size"] = image_size
        own = {**given, "detector": detector, "options": options or {}}
        self._set_up(RunConfig.from_profile(own), members, cache, strict)
        if second == detector:
            raise InputError(f"second = '{second}' is the detector itself; raise members instead.")
        if second is not None:
            self._second = type(self).__new__(type(self))
            try:
                other = {**given, "detector": second, "options": second_options or {}}
                self._second._set_up(RunConfig.from_profile(other), 1, cache, strict)
            except InputError as error:
                raise InputError(f"second = {second!r} does not do here: {error}") from None

    def _set_up(
        self,
        config: RunConfig,
        members: int,
        cache: str | os.PathLike[str] | None,
        strict: bool,
    ) -> None:
        if not isinstance(members, int | np.integer) or members < 1:
            raise InputError(f"members = {members!r}: train at least one detector.")
        self._config = config
        self.members = int(members)
        self._detectors = self._new_detectors()
        self._second = None
        self._cache = None if cache is None else Path(cache)
        self._strict = strict
        self.spec: FeatureSpec = feature_spec(
            self._detectors[0], config.backbone, config.image_size
        )

    def _new_detectors(self) -> list[Detector]:
        config = self._config
        return [make_detector(config.detector, config.options) for _ in range(self.members)]

    @property
    def settings(self) -> TrainingSettings:
        """The training's settings, with the profile filled in."""
        return self._config

    def fit(self, images: Images, *, progress: bool = False) -> Self:
        """Train on uncurated images.

        Raises:
            InputError: for a path that does not exist, a file that is given twice, anything but
                paths or arrays, no readable image, or a diverging loss.
        """
        given = _given(images)  # once: an iterator has nothing for a second reading
        _require_once(given)
        each = [one._features(given, progress) for one in self._both()]
        ids, skipped = each[0].ids, each[0].skipped
        if any(features.ids != ids for features in each):
            raise InputError("the images changed while they were read; call fit again.")
        found: list[_Fitted] = []
        prior = None
        for one in self._both():
            features = each.pop(0)  # so that none outlives its training: they may be many
            # The scores are of the images, but for crossfit's, which are of models like the one in
            # training.
            if prior is None or self._config.rule == "crossfit":
                prior = one._prior(features, given, progress)
            found.append(one._trained(features, prior, progress))
        # Now that nothing can fail any more, so that a model is of one fit as a whole.
        for one, fitted in zip(self._both(), found, strict=True):
            one._detectors, one._own, one.history_ = fitted
            one.ids_, one.skipped_ = list(ids), list(skipped)
        self.history_ = pd.concat([history for _, _, history in found], ignore_index=True)
        self._weigh()
        return self

    def _both(self) -> list[CoMet]:
        return [self] if self._second is None else [self, self._second]

    def _prior(self, features: Features, given: Given, progress: bool) -> torch.Tensor | None:
        return prior_scores(
            features.maps, self._config, lambda spec: self._features(given, progress, spec)
        )

    def _trained(self, features: Features, prior: torch.Tensor | None, progress: bool) -> _Fitted:
        config = self._config
        seeds = range(config.seed, config.seed + self.members)
        members = trained(
            config, features.maps, features.ids, seeds, prior=prior, progress=progress
        )
        detectors, trainings = zip(*members, strict=True)
        histories = [
            training.history.assign(detector=config.detector, seed=seed)
            for training, seed in zip(trainings, seeds, strict=True)
        ]
        scores = geometric_mean([training.final.image_scores for training in trainings])
        return list(detectors), scores, pd.concat(histories, ignore_index=True)

    def _weigh(self) -> None:
        """Set what follows from the scores of the training images."""
        self._scales = [scale_of(one._own) for one in self._both()]
        scores = self._joined([one._own for one in self._both()])
        threshold = iqr_threshold(scores, self._config.kappa)
        self.scores_: NDArray[np.float64] = scores.numpy()
        self.weights_: NDArray[np.float64] = confidence_weights(scores, threshold).numpy()
        self.threshold_: float = threshold.item()

    def _joined(self, scores: list[torch.Tensor]) -> torch.Tensor:
        """Scores of images by one detector or both, on the scales of the training images."""
        return scores[0] if len(scores) == 1 else combined(scores, self._scales)

    def score(self, images: Images) -> NDArray[np.float64]:
        """Anomaly scores (N,) of images, >= 0, in their order; higher is more anomalous.

        Raises:
            InputError: an image cannot be read, or `fit` has not been called.
        """
        self._require_fit()
        given = _given(images)
        return self._joined([one._score(given) for one in self._both()]).numpy()

    def _score(self, given: Given) -> torch.Tensor:
        """By the members alone."""
        each = zip(self._detectors, self._part_scores(given), strict=True)
        return geometric_mean([one.image_scores(scores) for one, scores in each])

    def predict(self, images: Images) -> NDArray[np.bool_]:
        """Which of N images, in their order, score above the threshold t of the training scores.

        Raises:
            InputError: as `score`.
        """
        return self.score(images) > self.threshold_

    def anomaly_map(self, images: Images, size: int | None = None) -> NDArray[np.float32]:
        """Anomaly maps (N, size, size), by default at the size at which images are seen.

        Raises:
            InputError: as `score`; `size` is not positive; or the detector has no map (DifferNet
                scores whole images).
        """
        self.require_maps()
        edge = self._config.image_size if size is None else size
        if not isinstance(edge, int | np.integer) or edge < 1:
            raise InputError(f"size = {size!r}: give the edge of the maps in pixels, 1 or more.")
        self._require_fit()
        part_scores = geometric_mean(self._part_scores(_given(images))).float()
        maps = self._detectors[0].anomaly_maps(part_scores, edge)
        assert maps is not None
        return maps.numpy()

    def require_maps(self) -> None:
        """Ask for anomaly maps before the work.

        Raises:
            InputError: the detector scores whole images and has none.
        """
        if type(self._detectors[0]).part_map is Detector.part_map:
            raise InputError(
                f"detector '{self._config.detector}' scores whole images and has no anomaly map;"
                " use detector='simplenet'."
            )

    def ranking(self) -> pd.DataFrame:
        """The training images from most to least suspicious: id, score, weight, flagged.

        Images of equal scores, such as copies, keep the order in which they came. Where there is a
        second detector, two more columns, named by the detectors, hold the score by each alone in
        units of its own threshold, so that 1 is where it would flag the image.
        """
        self._require_fit()
        table = pd.DataFrame({"id": self.ids_, "score": self.scores_, "weight": self.weights_})
        table["flagged"] = table["score"] > self.threshold_
        if self._second is not None:
            for one in self._both():
                own = one._own / iqr_threshold(one._own, self._config.kappa)
                table[one._config.detector] = own.numpy()
        return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model to a folder: settings as JSON, numbers as safetensors.

        A second detector lies in a folder within.

        The folder appears whole or not at all; an existing one is replaced.

        Raises:
            InputError: the folder holds something else or cannot be written, or `fit` has not been
                called.
        """
        self._require_fit()
        target = Path(folder).expanduser()
        try:
            if os.path.lexists(target) and not _holds_model(target):
                raise InputError(f"'{target}' exists and holds no model; choose another folder.")
            target.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as aside:
                new = Path(aside) / "new"
                new.mkdir()
                self._write(new)
                if target.exists():
                    target.replace(Path(aside) / "old")
                new.replace(target)
        except OSError as error:
            raise InputError(
                f"the model cannot be written to '{target}' ({error.strerror or error}); choose "
                "another folder."
            ) from None
        return target

    def _write(self, folder: Path) -> None:
        tensors = {
            f"{member}.{name}": value
            for member, detector in enumerate(self._detectors)
            for name, value in detector.state_dict().items()
        }
        tensors["scores"] = self._own
        # Not by `save_file`, which makes a file for its owner alone.
        content = save({k: v.contiguous() for k, v in tensors.items()})
        described = {
            "format": FORMAT,
            "settings": self._config.model_dump(mode="json", exclude={"data_root"}),
            "members": self.members,
            "grid": list(self._detectors[0].grid),
            "second": self._second is not None,
            "ids": self.ids_,
            "history": self.history_.to_dict(orient="list"),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        (folder / STATE).write_bytes(content)
        (folder / SETTINGS).write_text(json.dumps(described, indent=1), encoding="utf-8")
        if self._second is not None:
            (folder / SECOND).mkdir()
            self._second._write(folder / SECOND)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        *,
        cache: str | os.PathLike[str] | None = None,
        strict: bool = False,
    ) -> Self:
        """Read a model that `save` wrote; nothing in it is executed.

        Raises:
            InputError: no model there, or one that is damaged or of another format.
        """
        source = Path(folder).expanduser()
        try:
            described = json.loads((source / SETTINGS).read_text(encoding="utf-8"))
            if not isinstance(described, dict) or described.get("format") != FORMAT:
                raise InputError(f"'{source}' holds no model of format {FORMAT}.")
            content = (source / STATE).read_bytes()
            if hashlib.sha256(content).hexdigest() != described["sha256"]:
                raise InputError(f"the model in '{source}' is damaged; save it again.")
            tensors = load_file(source / STATE)
            model = cls.__new__(cls)
            config = RunConfig.checked(described["settings"])
            model._set_up(config, described["members"], cache, strict)
            rows, columns = described["grid"]
            for member, detector in enumerate(model._detectors):
                state = {
                    name.removeprefix(f"{member}."): value
                    for name, value in tensors.items()
                    if name.startswith(f"{member}.")
                }
                detector.set_input(state["mean"], state["std"])
                detector.load_state_dict(state)
                detector.grid = (int(rows), int(columns))
            model.ids_, model.skipped_ = list(described["ids"]), []
            model._own = tensors["scores"]
            model.history_ = pd.DataFrame(described["history"])
            if described["second"]:
                if not (source / SECOND / SETTINGS).is_file():
                    raise InputError(f"the model in '{source}' is damaged; save it again.")
                model._second = cls.load(source / SECOND, cache=cache, strict=strict)
            model._weigh()
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"there is no model in '{source}'; check the path.") from None
        except InputError:
            raise
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"the model in '{source}' is damaged ({error}); save it again."
            ) from None
        return model

    def _part_scores(self, given: Given) -> list[torch.Tensor]:
        """Scores (N, P) of the images' parts by each member."""
        features = self._features(given, progress=False, complete=True)
        return [detector.map_scores(features.maps) for detector in self._detectors]

    def _require_fit(self) -> None:
        if not hasattr(self, "scores_"):
            raise InputError("this CoMet is not trained yet; call fit(images) first.")

    def _features(
        self,
        images: Given,
        progress: bool,
        spec: FeatureSpec | None = None,
        complete: bool = False,
    ) -> Features:
        """Features of images; `complete`: of each of them, or of none."""
        spec = spec or self.spec
        if isinstance(images, Path):
            images = self._in_folder(images, complete)
        found = [one for one in images if isinstance(one, Image)]
        if not found:
            return self._of_arrays(images, spec)  # type: ignore[arg-type]
        strict = self._strict or complete
        return extract(found, spec, cache=self._cache, strict=strict, progress=progress)

    def _in_folder(self, folder: Path, complete: bool) -> list[Image]:
        dataset = load_dataset("folder", folder, strict=self._strict)
        missed = [skip for skip in dataset.skipped if skip.reason != NO_IMAGE]
        if complete and missed:
            raise InputError(
                f"'{readable(str(missed[0].path))}' cannot be scored ({missed[0].reason}), and "
                "without it scores would belong to the wrong images; mend or remove it."
            )
        return images_of(dataset.train)

    def _of_arrays(self, arrays: Sequence[NDArray[np.uint8]], spec: FeatureSpec) -> Features:
        for position, one in enumerate(arrays):
            if one.ndim != 3 or one.shape[2] != 3 or one.dtype != np.uint8 or not one.size:
                raise InputError(
                    f"image {position} must be a uint8 array (H, W, 3) of RGB values in 0..255,"
                    f" got {one.dtype} {one.shape}."
                )
        maps: dict[str, torch.Tensor] = {}
        for start in range(0, len(arrays), 16):
            batch = compute(arrays[start : start + 16], spec)
            if not maps:
                like = {name: some[0] for name, some in batch.items()}
                maps = room(like, len(arrays), self._cache or default_cache())
            for name, some in batch.items():
                maps[name][start : start + 16] = some
        return Features(ids=[str(i) for i in range(len(arrays))], maps=maps)


def _given(images: Images) -> Given:
    """`Images`, looked at once; other types and empty lists are refused."""
    if isinstance(images, str | os.PathLike):
        folder = Path(images).expanduser()
        if os.path.isfile(folder):  # noqa: PTH113, which does not stop where nobody may look
            raise InputError(
                f"'{folder}' is a file; give it in a list, or the folder that holds the images."
            )
        return folder
    if not isinstance(images, Iterable):
        raise InputError(
            f"images must be a folder, files or arrays, and this is of type "
            f"{type(images).__name__}; give a path, or a list of paths or arrays."
        )
    files: list[Image] = []
    arrays: list[NDArray[np.uint8]] = []
    for position, one in enumerate(images):
        if isinstance(one, str | os.PathLike):
            files.append(Image(readable(os.fspath(one)), Path(one).expanduser()))
        elif isinstance(one, np.ndarray):
            arrays.append(one)
        else:
            raise InputError(
                f"image {position} is of type {type(one).__name__}; give its path, or a uint8 "
                "array (H, W, 3) of RGB values in 0..255."
            )
        if files and arrays:
            raise InputError("images must be all files or all arrays, not some of each.")
    if not files and not arrays:
        raise InputError("the list of images is empty.")
    return files or arrays


def _require_once(images: Given) -> None:
    """An image that is trained on twice would count double in what is usual."""
    paths = (
        [one.path for one in images if isinstance(one, Image)] if isinstance(images, list) else []
    )
    for path, times in Counter(paths).items():
        if times > 1:
            raise InputError(f"'{path}' is in the list of images {times} times; give it once.")


def _holds_model(folder: Path) -> bool:
    """Whether a folder holds a model of this project, of whatever format, and nothing else."""
    try:
        described = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        names = {one.name for one in folder.iterdir() if not is_ignored(one)}
    except (OSError, ValueError):
        return False
    ours = isinstance(described, dict) and str(described.get("format")).startswith(FAMILY)
    return ours and names <= {SETTINGS, STATE, SECOND}
