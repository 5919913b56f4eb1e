"""What the record of the benchmark on a GPU says: tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from comet_core import records
from comet_core.names import label
from comet_core.statistics import mean_interval

METHODS = {"plain": "plain", "comet": "CoMet", "comet, second order": "CoMet, second order"}
PROCESSOR, GPU, ONE_BY_ONE, COMPILED = "processor", "gpu", "gpu, one by one", "gpu, torch.compile"
"""Ways of the benchmark."""
_STEP = ["profile", "detector", "method"]


def read_record(path: Path) -> dict[str, Any]:
    """What `benchmarks/gpu.py --out` wrote; see `records.read_record`."""
    columns = {"what", "profile", "detector", "method", "way", "milliseconds", "images_a_second"}
    return records.read_record(path, "bench-gpu", columns | {"image_auroc", "train_seconds"})


def steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Milliseconds of a training step: the columns profile, detector and method, and each way's.

    Those that were not measured in a way are NaN there.
    """
    table = rows[rows["what"] == "step"].pivot_table("milliseconds", _STEP, "way", sort=False)
    return table.reset_index().rename_axis(columns=None)


def passes(rows: pd.DataFrame) -> pd.DataFrame:
    """Images a second through the backbone: profile, detector, and each way's."""
    table = rows[rows["what"] == "passes"]
    table = table.pivot_table("images_a_second", _STEP[:2], "way", sort=False)
    return table.reset_index().rename_axis(columns=None)


def overview(rows: pd.DataFrame) -> pd.DataFrame:
    """The steps for people: a line a profile, detector and method."""
    table = steps(rows)
    own = rows[(rows["what"] == "step") & (rows["way"] == GPU)].set_index(_STEP)["memory_mb"]
    ways = {
        "processor": table[PROCESSOR],
        "GPU, one by one": table[ONE_BY_ONE],
        "GPU, recorded": table[GPU],
    }
    lines: dict[str, Any] = {
        "sizes": table["profile"],
        "detector": table["detector"].map(label),
        "method": table["method"].map(METHODS),
    }
    lines |= {name: [_milliseconds(value) for value in found] for name, found in ways.items()}
    lines["ratio"] = [
        "–" if pd.isna(value) else f"{value:.{0 if value >= 10 else 1}f}"
        for value in table[PROCESSOR] / table[GPU]
    ]
    lines["GPU memory"] = [
        f"{own[tuple(key)] / 1024:.1f} GB" for key in table[_STEP].itertuples(index=False)
    ]
    return pd.DataFrame(lines)


def runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Whole runs for people: I-AUROC with its interval and seconds of training, in both ways."""
    lines = []
    whole = rows[rows["what"] == "run"]
    for name, group in whole.groupby(["detector", "method"], sort=False):
        detector, method = map(str, name)
        line = {"detector": label(detector), "method": METHODS[method]}
        for way, place in ((PROCESSOR, "processor"), (GPU, "GPU")):
            mine = group[group["way"] == way]
            found = mean_interval(mine["image_auroc"])
            high = min(found.high, 1.0)
            line[f"I-AUROC, {place}"] = f"{found.mean:.3f} [{found.low:.3f}, {high:.3f}]"
            line[f"training, {place}"] = f"{mine['train_seconds'].mean():.1f} s"
        lines.append(line)
    return pd.DataFrame(lines)


def findings(record: Mapping[str, Any]) -> str:
    """What the GPU gains, a line a finding."""
    rows, threads = record["rows"], record["machine"]["threads"]
    table = steps(rows)
    words = []
    for profile, group in table.groupby("profile", sort=False):
        gain = (group[PROCESSOR] / group[GPU]).dropna()
        recorded = group[ONE_BY_ONE] / group[GPU]
        words.append(
            f"In the sizes of the profile `{profile}` a training step is {_span(gain)} times as"
            f" fast on the GPU as on the processor's {threads} threads. Recorded"
            f" it is {_span(recorded)} times as fast as with its kernels launched one by one."
        )
    for profile, group in passes(rows).groupby("profile", sort=False):
        gain = group[GPU] / group[PROCESSOR]
        words.append(f"The backbone's passes are {_span(gain)} times as fast (`{profile}`).")
    for detector, group in table[table["profile"] == "paper"].groupby("detector", sort=False):
        times = group.set_index("method")[GPU]
        ratios = times / times["plain"]
        words.append(
            f"On the GPU a step of CoMet takes {ratios['comet']:.1f} times as long as a plain one"
            f" with {label(str(detector))} in the paper's sizes, to second order"
            f" {ratios['comet, second order']:.1f} times."
        )
    if COMPILED in table:
        first = rows[(rows["what"] == "step") & (rows["way"] == COMPILED)]
        known = table.dropna(subset=COMPILED)
        words.append(
            "`torch.compile` with graphs of its own reaches"
            f" {_span(known[ONE_BY_ONE] / known[COMPILED])} times the speed of launching one by"
            f" one (plain, `demo`) after {_span(first['first_epoch_seconds'])} s of compiling, so"
            " it is not taken."
        )
    return "\n".join(f"- {line}" for line in words)


def described(record: Mapping[str, Any]) -> str:
    """One line that says what was measured, when and on what."""
    made, images = record["machine"], record["images"]
    source = "drawn images" if images["source"] == "drawn" else "real images"
    seeds = record["rows"]["seed"].nunique()
    return (
        f"measured {record['made']} · {made['gpu']} · {made['processor']}, {made['threads']}"
        f" threads · PyTorch {made['torch']} · {source} '{images['category']}',"
        f" {seeds} seeds"
    )


def _milliseconds(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:,.{1 if value < 100 else 0}f} ms"


def _span(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    digits = 0 if low >= 10 else 1
    first, last = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return first if first == last else f"{first} to {last}"
