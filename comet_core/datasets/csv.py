"""Images listed in a CSV file, for data that lie on disk in an order of their own.

Columns, of which only the first is needed:

- `path`: of the image, absolute or below the file's folder;
- `split`: train or test (empty: train);
- `label`: 0 or nominal, 1 or anomalous (empty: unknown);
- `mask`: path of the ground truth; `kind`: name of the defect; `category`: to keep several apart.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from comet_core.datasets.base import ANOMALOUS, NOMINAL, Dataset, Record, Skipped
from comet_core.datasets.listing import existing_folder, suggest
from comet_core.errors import InputError

LABELS = {"": None, "0": NOMINAL, "nominal": NOMINAL, "1": ANOMALOUS, "anomalous": ANOMALOUS}
KINDS = {None: "", NOMINAL: "good", ANOMALOUS: "anomaly"}
COLUMNS = ("path", "split", "label", "mask", "kind", "category")
DEFAULT_FILE = "dataset.csv"


def categories(root: Path) -> list[str]:
    """Values of the column `category`, or the file's name if there is no such column."""
    return sorted(set(_read(root, DEFAULT_FILE)[1]["category"]))


def load(root: Path, category: str | None, file: str = DEFAULT_FILE) -> Dataset:
    """The images listed in `root`/`file`; `root` may also be the file itself.

    A file that is listed twice, or listed and not on disk, is left out.
    """
    table, rows = _read(root, file)
    known = sorted(set(rows["category"]))
    if category is None and len(known) == 1:
        category = known[0]
    if category is None or category not in known:
        nearest = suggest(category or "", known)
        hint = f"did you mean '{nearest}'? " if nearest else ""
        raise InputError(f"no category '{category}' in '{table}'; {hint}There are {known}.")
    rows = rows[rows["category"] == category]
    records: dict[str, Record] = {}  # by place: "./a.png" is "a.png"
    skipped: list[Skipped] = []
    columns = (rows[name] for name in ("path", "split", "label", "mask", "kind"))
    for line, name, split, label, mask, kind in zip(rows.index, *columns, strict=True):
        path = table.parent / name
        place = os.path.abspath(path)  # noqa: PTH100, whose absolute() keeps ".."
        if not name or not path.is_file():
            skipped.append(Skipped(path, "listed but not on disk"))
            continue
        if place in records:
            skipped.append(Skipped(path, "listed twice"))
            continue
        known_label = label.strip().lower() in LABELS
        if not known_label or split not in ("", "train", "test"):
            raise InputError(
                f"row {line} of '{table}' has label '{label}' and split '{split}'; labels are "
                f"{', '.join(filter(None, LABELS))} or empty, splits train or test."
            )
        number = LABELS[label.strip().lower()]
        truth = table.parent / mask if mask else None
        if truth is not None and not truth.is_file():
            skipped.append(Skipped(truth, "mask listed but not on disk"))
            truth = None
        records[place] = Record(
            name, path, "test" if split == "test" else "train", number, truth, kind or KINDS[number]
        )
    train = tuple(record for record in records.values() if record.split == "train")
    test = tuple(record for record in records.values() if record.split == "test")
    if not train:
        raise InputError(f"'{table}' lists no training images that are on disk; check its paths.")
    return Dataset("csv", category, table.parent, train, test, tuple(skipped))


def _read(root: Path, file: str) -> tuple[Path, pd.DataFrame]:
    table = root if root.is_file() else existing_folder(root) / file
    if not table.is_file():
        raise InputError(f"no '{file}' in '{root}'; name the file with the setting 'file'.")
    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = str(error).strip().replace("\n", " ")
        raise InputError(f"'{table}' cannot be read as a CSV file in UTF-8 ({reason}).") from None
    if "path" not in rows:
        raise InputError(f"'{table}' has no column 'path'; the columns are {', '.join(COLUMNS)}.")
    rows = rows.reindex(columns=list(COLUMNS), fill_value="").fillna("")
    for name in ("path", "mask"):
        rows[name] = rows[name].str.replace("\\", "/", regex=False)
    rows.index = rows.index + 2  # rows as an editor numbers them, the header being line 1
    if (rows["category"] == "").all():
        rows["category"] = table.stem
    return table, rows
