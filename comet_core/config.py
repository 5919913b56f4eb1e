"""The settings of a run: typed, strict, and hashed.

`TrainingSettings` is what the training loop takes. `RunConfig` adds the data, the features and the
detector, which makes it the full description of one row of the results store. A profile is a named
set of these parameters and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from comet_core.errors import InputError

Strategy = Literal["plain", "reject", "soft", "meta", "comet", "comet+"]
Weighting = Literal[
    "paper",
    "sharpened",
    "annealed",
    "mixture",
    "rejection",
    "readmission",
    "mutual",
    "contrast",
    "crossfit",
    "core",
    "trimmed",
]
Schedule = Literal["constant", "linear"]
Profile = Literal["smoke", "demo", "paper"]

FORMAT = 5
"""Raised when the same settings give other results, so that no store serves the old ones."""
WEIGHTED = ("reject", "soft", "comet", "comet+")
"""Strategies that read the training scores."""
META = ("meta", "comet")
"""Strategies that train by the inner and outer loop."""
UNTRAINED = ("memory_bank", "softpatch")
"""Detectors that remember features and have nothing to train: only `plain` applies to them."""
PRIOR = ("mutual", "contrast", "crossfit", "core", "trimmed")
"""Rules of the weights that read scores from before the training."""


class TrainingSettings(BaseModel):
    """Everything the training loop can be told. Defaults are this project's choices."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    strategy: Strategy = "comet"
    epochs: int = Field(30, ge=1)
    max_steps: int | None = Field(None, ge=1)
    """Start no epoch after so many optimiser steps, so that a large data set, which has many steps
    an epoch, is not trained for longer than a small one; six epochs are left in any case. Images
    that the weights leave out from the start make no steps."""
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    """Step of the optimiser; for those of `META` it is the paper's beta (equation 8)."""
    schedule: Schedule = "constant"
    """Whether the learning rate stays, or falls to 0 in a straight line over all steps."""
    seed: int = Field(0, ge=0, le=2**63 - 1)

    kappa: float = Field(1.5, ge=0)
    """Equation 1: how many interquartile ranges above Q3 the threshold lies."""
    warmup_epochs: int = Field(3, ge=0)
    """Epochs with all weights 1, before the scores mean anything."""
    refresh_every: int = Field(3, ge=1)
    """Epochs between two refreshes of the weights."""
    weight_level: Literal["image", "patch"] = "image"
    weighting: Weighting | None = None
    """Rule of the weights, see `rules`; by default that of the strategy: `paper` for `soft` and
    `comet`, `contrast` for `comet+`. `reject` is `rejection` whatever is set."""

    alpha: float = Field(1e-3, gt=0)
    """Equation 7: step of the inner loop."""
    inner_steps: int = Field(1, ge=0)
    """0 leaves the inner loop out: the outer step is then one on the validation parts, as they are.
    A control, which tells what the inner loop does from what the smaller sample does."""
    order: Literal[1, 2] = 1
    """1: first-order meta-gradient; 2: exact, through the inner step."""
    tasks: int = Field(2, ge=1)
    """Tasks of one outer step; the batch is divided among them. Four cost an eighth more and are no
    better (SimpleNet, eight seeds on two real data sets, three on the stand-ins)."""
    validation_share: float = Field(0.3, gt=0, lt=1)
    lambda_0: float = Field(0.005, ge=0)
    gamma: float = Field(0.5, ge=0)
    window: int = Field(16, ge=2)
    """Pairs of (train, validation) loss that the covariance of equation 4 is computed from."""

    @property
    def rule(self) -> Weighting:
        """The rule of the weights: the setting, or else that of the strategy."""
        if self.strategy == "reject":
            return "rejection"
        return self.weighting or ("contrast" if self.strategy == "comet+" else "paper")

    @property
    def needs_prior(self) -> bool:
        """Whether the weights start from scores from before the training."""
        return self.strategy in WEIGHTED and self.rule in PRIOR

    def learning_rate_left(self, progress: float) -> float:
        """The share of the learning rate that is left when a share `progress` of steps is done."""
        return 1 - progress if self.schedule == "linear" else 1.0

    @classmethod
    def checked(cls, values: dict[str, Any]) -> Self:
        """Build from untrusted values.

        Raises:
            InputError: one sentence naming the first field that does not fit, and why.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]) or cls.__name__
            if first["type"] == "extra_forbidden":
                known = ", ".join(sorted(cls.model_fields))
                raise InputError(f"unknown setting '{name}'; the known ones are {known}.") from None
            if first["type"] == "missing":  # pydantic's input is then all that was given
                raise InputError(f"setting '{name}' is missing; give it a value.") from None
            reason = first["msg"][0].lower() + first["msg"][1:]
            raise InputError(f"setting '{name}' = {first['input']!r}: {reason}.") from None


class RunConfig(TrainingSettings):
    """One run: a data set, its features, a detector, a strategy and a seed."""

    dataset: str = "mvtec_ad"
    data_root: Path = Path("data/synthetic/mvtec_ad")
    category: str
    contamination: float = Field(0.0, ge=0, lt=1)
    """Share of anomalous images injected into the training set (equal to k / N_train)."""
    overlap: bool = False
    """Whether injected images also stay in the test set."""
    train_limit: int | None = Field(None, ge=1)
    """Use only the first so many training images, before any are injected."""
    test_limit: int | None = Field(None, ge=2)
    """Use only about so many test images, half of them nominal, evenly from the kinds."""
    oracle: bool = False
    """Take the anomalous images out of the training set again, by their labels: an upper bound to
    compare with, not a method."""
    strict: bool = False
    """Refuse a data set with unreadable files instead of leaving them out."""

    backbone: str = "efficientnet_lite0"
    image_size: int = Field(256, ge=32, le=4096)
    pixel_size: int = Field(128, ge=0)
    """Edge length at which anomaly maps are compared with masks; 0 leaves pixel metrics out."""

    detector: str = "simplenet"
    options: dict[str, float | int | str | bool] = Field(default_factory=dict)
    """Settings of the detector itself, checked by the detector."""

    profile: Profile = "demo"

    @classmethod
    def checked(cls, values: dict[str, Any]) -> Self:
        """As for `TrainingSettings`; also refuses a strategy that the detector cannot follow."""
        config = super().checked(values)
        if config.detector in UNTRAINED and config.strategy != "plain":
            raise InputError(
                f"detector '{config.detector}' is not trained, so strategy '{config.strategy}' does"
                " not apply to it; set strategy to 'plain'."
            )
        return config

    @classmethod
    def from_profile(cls, values: Mapping[str, Any]) -> Self:
        """Build from some settings; the profile they name fills in the others.

        Raises:
            InputError: unknown profile, or a setting that does not fit.
        """
        profile = values.get("profile", cls.model_fields["profile"].default)
        if profile not in PROFILES:
            raise InputError(f"unknown profile '{profile}'; there are {', '.join(PROFILES)}.")
        detector = values.get("detector", cls.model_fields["detector"].default)
        preset = {**PROFILES[profile]["all"], **PROFILES[profile].get(str(detector), {})}
        options = {**preset.get("options", {}), **dict(values.get("options") or {})}
        return cls.checked({**preset, **values, "options": options})

    def identity(self) -> dict[str, Any]:
        """The settings that decide the result.

        Where the data lie on disk does not, nor does the profile's name, nor a setting that the
        strategy never reads: those are set back to their defaults, so that one result has one name.
        """
        values = self.model_dump(mode="json", exclude={"data_root", "profile"})
        unused: set[str] = set()
        if self.strategy in WEIGHTED:
            values["weighting"] = self.rule
        else:
            # Not kappa: whatever is trained, equation 1 says which images are flagged.
            unused |= {"warmup_epochs", "refresh_every", "weight_level", "weighting"}
        if self.strategy not in META:
            unused |= {"alpha", "inner_steps", "order", "tasks", "validation_share"}
            unused |= {"lambda_0", "gamma", "window"}
        if self.detector in UNTRAINED:
            unused |= {"epochs", "max_steps", "batch_size", "learning_rate", "schedule"}
        if self.contamination == 0:
            unused.add("overlap")
        for name in unused:
            values[name] = type(self).model_fields[name].default
        return values

    def hash(self, fingerprint: str = "") -> str:
        """Sixteen hex digits that name the run: of `identity()` and the data's fingerprint."""
        named = {**self.identity(), "data": fingerprint, "format": FORMAT}
        text = json.dumps(named, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


PROFILES: dict[str, dict[str, dict[str, Any]]] = {
    "smoke": {
        "all": {"image_size": 128, "pixel_size": 32, "train_limit": 24, "test_limit": 24},
        "simplenet": {
            "epochs": 15,
            "batch_size": 6,
            "learning_rate": 2e-3,
            "schedule": "linear",
            "options": {"hidden": 64, "patches": 64},
        },
        "differnet": {
            "epochs": 8,
            "batch_size": 6,
            "warmup_epochs": 1,
            "options": {"blocks": 2, "hidden": 32, "scales": 2, "rotations": 2},
        },
    },
    "demo": {
        "all": {},
        "simplenet": {
            "epochs": 30,
            "max_steps": 450,
            "learning_rate": 2e-3,
            "schedule": "linear",
        },
        "differnet": {
            "epochs": 15,
            "batch_size": 24,
            "learning_rate": 3e-4,
            "tasks": 1,
            "warmup_epochs": 1,
        },
    },
    "paper": {
        "all": {"batch_size": 24},
        "simplenet": {
            "backbone": "wide_resnet50_2",
            "image_size": 288,
            "pixel_size": 288,
            "epochs": 160,
            "learning_rate": 2e-4,
            "options": {"hidden": 1024, "patches": 1296},
        },
        "differnet": {
            "backbone": "alexnet",
            "image_size": 448,
            "epochs": 192,
            "learning_rate": 2e-4,
            "options": {"blocks": 8, "hidden": 2048, "rotations": 64},
        },
    },
}
"""What each profile sets, for all detectors and for each; the rest keeps its default."""
