"""What a data set is to the rest of the package: two tuples of records."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from comet_core.errors import InputError

NOMINAL, ANOMALOUS = 0, 1


class Image(NamedTuple):
    """All that training may know of an image: a stable id and where its pixels are."""

    id: str
    path: Path


@dataclass(frozen=True, slots=True)
class Record:
    """One image with its truth, which is for evaluation only.

    `id` is the path below the data root with forward slashes: unique in the data set and the same
    on every machine. `label` is 0 (nominal), 1 (anomalous) or None (unknown). `mask` is the ground
    truth of the anomalous pixels where there is one. `kind` names the defect, or "good"; `truth`
    is "nominal", "boundary" or "anomalous" where a manifest says so, else "".
    """

    id: str
    path: Path
    split: Literal["train", "test"]
    label: int | None = None
    mask: Path | None = None
    kind: str = ""
    truth: str = ""

    @property
    def image(self) -> Image:
        """The record without its truth."""
        return Image(self.id, self.path)


class Skipped(NamedTuple):
    """A file that was left out of a data set, and why (one clause)."""

    path: Path
    reason: str

    def __str__(self) -> str:
        """The file and the reason, unless that names the file itself."""
        return self.reason if str(self.path) in self.reason else f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One category of a data set: the records of its training and its test split."""

    name: str
    category: str
    root: Path
    train: tuple[Record, ...]
    test: tuple[Record, ...]
    skipped: tuple[Skipped, ...] = ()
    synthetic: bool = False
    """True when the images were drawn by `data_scripts/make_synthetic.py`."""
    notes: tuple[str, ...] = field(default=())

    def fingerprint(self) -> str:
        """Sixteen hex digits that change when a file is added, removed, renamed or resized.

        It looks at ids, splits, truths and the sizes of images and masks only, so that it costs a
        `stat` a file; the feature cache is keyed by the image content itself.

        Raises:
            InputError: a file has gone since the data set was listed.
        """
        digest = hashlib.sha256()
        for record in sorted((*self.train, *self.test), key=lambda r: (r.split, r.id)):
            try:
                sizes = [path.stat().st_size for path in (record.path, record.mask) if path]
            except OSError as error:
                raise InputError(
                    f"'{error.filename}' can no longer be found ({error.strerror}); load the data "
                    "set again."
                ) from None
            told = (record.split, record.id, record.label, record.truth, record.kind, *sizes)
            digest.update("\0".join(map(str, told)).encode() + b"\n")
        return digest.hexdigest()[:16]


def images(records: Sequence[Record]) -> list[Image]:
    """The records as training sees them, in the same order."""
    return [record.image for record in records]
