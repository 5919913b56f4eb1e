"""What every notebook of the book needs: checked parameters, folders, and figures shown alike.

A notebook's first code cell, tagged `parameters`, holds one annotated assignment a parameter:

    dataset: str = "mvtec_ad"  # layout of the data set

papermill writes plain assignments below it. The second cell calls `begin(globals())`.
"""

from __future__ import annotations

import difflib
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from pydantic import ConfigDict, TypeAdapter, ValidationError

from comet_core import datasets, metrics
from comet_core.engines import keep_freed_memory
from comet_core.errors import InputError
from comet_core.figures import house_style, take_note
from comet_core.names import NAMES, data_names, label
from comet_core.results import Store, default_store
from comet_core.runs import image_paths

PIXELS_PER_INCH = 220
INJECTED = re.compile(r"\A# Parameters\n")
ASSIGNED = re.compile(r"^(\w+) = ", re.MULTILINE)


def begin(namespace: dict[str, Any]) -> None:
    """Check the parameters of the calling notebook and settle where its results are kept."""
    check_parameters(namespace)
    use_folders()
    keep_freed_memory()


def check_parameters(namespace: dict[str, Any]) -> None:
    """Hold the parameters of a notebook against their annotations, in place.

    Text that papermill's command line passes for a list or a dictionary is read as JSON, or as a
    single item; numbers are converted where nothing is lost.

    Args:
        namespace: the notebook's `globals()`.

    Raises:
        InputError: a parameter that the notebook does not have, with the nearest it has, or a value
            that does not fit.
    """
    annotations = _annotations(namespace)
    for name in _injected(namespace):
        if name not in annotations:
            close = difflib.get_close_matches(name, annotations, n=1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            raise InputError(
                f"this notebook has no parameter '{name}'; {hint}It has {', '.join(annotations)}."
            )
    for name, kind in annotations.items():
        namespace[name] = _converted(name, namespace[name], kind)


def _annotations(namespace: Mapping[str, Any]) -> dict[str, Any]:
    found = namespace.get("__annotations__")
    if not found and "__annotate__" in namespace:  # Python 3.14 evaluates them when asked to
        found = namespace["__annotate__"](1)
    return {name: kind for name, kind in (found or {}).items() if name in namespace}


def _injected(namespace: Mapping[str, Any]) -> list[str]:
    """Names that papermill's cell assigns."""
    cells = [cell for cell in namespace.get("In", []) if INJECTED.match(cell)]
    return [name for cell in cells for name in ASSIGNED.findall(cell)]


def _converted(name: str, value: Any, kind: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(kind, config=ConfigDict(coerce_numbers_to_str=True))
    container = adapter.json_schema().get("type") in ("array", "object")
    given = value
    if isinstance(value, str) and container:
        try:
            value = json.loads(value)
        except ValueError:
            value = [value]
    elif container and isinstance(value, int | float):
        value = [value]
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise InputError(
            f"parameter '{name}' = {given!r}: {reason[0].lower()}{reason[1:]}."
        ) from None


def home() -> Path:
    """The folder that data, runs and caches lie in: the project's own checkout, else this one."""
    root = Path(__file__).resolve().parents[1]
    return root if (root / "pyproject.toml").is_file() else Path.cwd()


def use_folders() -> None:
    """Keep runs and features in `home()`, from whichever folder a notebook is run.

    COMET_RUNS and COMET_CACHE, where set, say otherwise. The environment carries the choice to
    worker processes.
    """
    os.environ.setdefault("COMET_RUNS", str(home() / "runs"))
    os.environ.setdefault("COMET_CACHE", str(home() / ".cache" / "features"))


def find_data(dataset: str, data_root: str = "") -> Path:
    """The folder of a data set.

    Args:
        dataset: its name, a key of `datasets.DATASETS`.
        data_root: where it lies, relative to the working directory; empty for the embedded
            synthetic stand-in, in `data` of the project or in COMET_DATA.

    Raises:
        InputError: no such data set, or the embedded data have not been drawn.
    """
    if data_root:
        return Path(data_root).expanduser()
    root = Path(os.environ.get("COMET_DATA", home() / "data")) / "synthetic"
    folder = dataset.removesuffix("_clean")  # a choice of the loader, not other data
    if not (root / folder).is_dir():
        known = ", ".join(path.parent.name for path in sorted(root.glob("*/SYNTHETIC")))
        raise InputError(
            f"there is no embedded data set '{dataset}' in '{root}'; "
            + (f"there are {known}, or give data_root." if known else "`make book` draws them.")
        )
    return root / folder


def find_record(name: str, given: str = "") -> Path:
    """The file of a benchmark's record: the one that is given, or the project's of that name."""
    return Path(given).expanduser() if given else home() / "benchmarks" / name


def choose_categories(dataset: str, data_root: Path, wanted: Sequence[str]) -> list[str]:
    """The categories to look at: those named, or else all that the data set has.

    Raises:
        InputError: none are named, and there are none.
    """
    found = list(wanted) or datasets.categories(dataset, data_root)
    if not found:
        raise InputError(
            f"'{data_root}' holds no category in the layout of '{dataset}'; check data_root, or "
            f"name its layout by dataset: {', '.join(datasets.DATASETS)}."
        )
    return found


def training_samples(rows: pd.DataFrame) -> pd.DataFrame:
    """Training images of finished runs with the scores and weights of their last epoch.

    Args:
        rows: from `experiments.run`.

    Returns:
        One row an image and run: category, seed, id, path, kind, score, weight and truth, which is
        the manifest's where there is one, else the label's: "nominal", "anomalous" or "unknown".
        The path is empty where the image is no longer there.
    """
    store = Store(default_store())
    samples = store.tables(rows, "train", ("category", "seed"))
    paths = {name: image_paths(store.config(name)) for name in set(samples["hash"])}
    places = [
        str(paths[run].get(name, ""))
        for run, name in zip(samples["hash"], samples["id"], strict=True)
    ]
    label = samples["label"].map({0: "nominal", 1: "anomalous"}).astype(object)
    told = samples["truth"].where(samples["truth"] != "", label.fillna("unknown"))
    return samples.assign(truth=told, path=places)


def weight_courses(rows: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Weights at every refresh: category, epoch, id, truth, weight; one row a refresh and image."""
    courses = Store(default_store()).tables(rows, "weights", ("category",))
    return courses.merge(samples[["hash", "id", "truth"]], on=["hash", "id"])


def dirt_table(samples: pd.DataFrame) -> pd.DataFrame:
    """How weights differ by kind, and how well the scores find the anomalous training images.

    Returns:
        One row a category: images, anomalous (numbers); weight of each kind (means); AUROC and
        precision at k, nan where no anomalous image is known.
    """
    lines = []
    for category, group in samples.groupby("category", sort=False):
        dirty = (group["truth"] == "anomalous").to_numpy().astype(int)
        means = group.groupby("truth")["weight"].mean()
        kinds = [kind for kind in ("nominal", "boundary", "anomalous", "unknown") if kind in means]
        lines.append(
            {"category": category, "images": len(group), "anomalous": int(dirty.sum())}
            | {f"weight, {kind}": float(means[kind]) for kind in kinds}
            | {"AUROC": metrics.image_auroc(dirty, group["score"])}
            | {"precision at k": metrics.precision_at_k(dirty, group["score"])}
        )
    return pd.DataFrame(lines)


def dirt_finding(samples: pd.DataFrame) -> str:
    """The table of `dirt_table` in words."""
    table = dirt_table(samples)
    if not table["anomalous"].any() or "weight, nominal" not in table:
        return "No anomalous training image is known here: nothing to hold the weights against."
    gap = (table["weight, nominal"] - table["weight, anomalous"]).dropna()
    lower, mean_gap = (gap > 0).sum(), round(gap.mean(), 2) + 0.0  # never "-0.00"
    return (
        f"Anomalous training images weigh less than nominal ones in {lower} of {len(gap)} "
        f"categories, on average by {mean_gap:.2f}. Ordering images by trust separates them with "
        f"a mean AUROC of {table['AUROC'].mean():.2f}; of the least trusted images, as many as "
        f"there are anomalous ones, {100 * table['precision at k'].mean():.0f} % are indeed "
        "anomalous (mean over categories)."
    )


def describe(rows: pd.DataFrame) -> str:
    """One line that says what runs were made from: goes under every figure."""
    seeds = sorted(rows["seed"].unique())
    own = rows.groupby("dataset", sort=False)["contamination"].max().eq(0)
    as_they_are = [] if own.all() else list(own.index[own])  # their own anomalies, none injected
    injected = rows.loc[~rows["dataset"].isin(as_they_are), "contamination"]
    levels = ", ".join(f"{100 * level:g} %" for level in sorted(injected.unique()))
    names, prefix = data_names(rows), ""
    if rows["synthetic"].all():
        names, prefix = {name: NAMES.get(name, name) for name in names}, "synthetic stand-in for "
    told = dict.fromkeys(
        f"{names[str(dataset)]}{_contents(part, str(dataset))}"
        for dataset, part in rows.groupby("dataset", sort=False)
    )
    parts = [
        prefix + ", ".join(told),
        f"{levels} contamination" if set(rows["contamination"]) != {0} else "as it is",
        *(f"{NAMES.get(str(name), str(name))} as it is" for name in as_they_are),
        ", ".join(label(one) for one in rows["detector"].unique()),
        ", ".join(label(one) for one in rows["strategy"].unique()),
        f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds",
    ]
    return " · ".join(parts)


def _contents(rows: pd.DataFrame, dataset: str) -> str:
    """Categories of a data set and, where not all are used, its training images, in brackets."""
    categories = [one for one in dict.fromkeys(rows["category"]) if one != dataset.split("_")[0]]
    told = [f"{len(categories)} categories" if len(categories) > 3 else ", ".join(categories)]
    if "train_limit" in rows and rows["train_limit"].notna().all():
        limits = sorted({int(one) for one in rows["train_limit"]})
        told.append(f"{' or '.join(map(str, limits))} images")
    told = [one.replace("_", " ") for one in told if one]
    return f" ({', '.join(told)})" if told else ""


def show(
    figure: Figure,
    runs: pd.DataFrame | None = None,
    *,
    record: Mapping[str, Any] | None = None,
) -> None:
    """Display a figure: as vectors, or, where it holds photographs, as a JPEG for sharp screens.

    Args:
        figure: what to show. Its name in the book is that of the cell.
        runs: the rows it was made from; the book tells their hashes beside the figure.
        record: what it was read from, in place of runs.
    """
    photographs = any(axes.images for axes in figure.axes)
    file = io.BytesIO()
    note = take_note(figure) if os.environ.get("COMET_BOOK") else ""
    told = made_from(runs, note=note, record=record)
    with house_style():
        if photographs:
            figure.savefig(file, format="jpeg", dpi=PIXELS_PER_INCH, pil_kwargs={"quality": 88})
            display({"image/jpeg": file.getvalue()}, raw=True, metadata=told)
        else:
            figure.savefig(file, format="svg", metadata={"Date": None})
            drawing = file.getvalue().decode()
            display({"image/svg+xml": drawing}, raw=True, metadata=told)


def made_from(
    runs: pd.DataFrame | None,
    name: str = "",
    note: str = "",
    record: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What an output's metadata tells the book of its provenance.

    Args:
        runs: rows with a `hash` each; None where no run was needed.
        name: of the figure or table, where the cell's metadata do not name it.
        note: the line that says so, where the book's caption is to end with it.
        record: a record that was read instead, see `records.read_record`.
    """
    told: dict[str, Any] = {"name": name}
    told["runs"] = [] if runs is None else list(dict.fromkeys(runs["hash"]))
    if note:
        told["note"] = note
    if record is not None:
        told["record"] = [record["file"], record["made"]]
    return {"comet": told}


def show_table(
    table: pd.DataFrame,
    caption: str,
    name: str,
    decimals: int = 3,
    runs: pd.DataFrame | None = None,
    *,
    folded: bool = False,
    record: Mapping[str, Any] | None = None,
) -> None:
    """Display a table: HTML in Jupyter; in the book numbered, and `name` is what refers to it.

    `runs` or `record` is what it was made from, as for `show`. A long table is better `folded`, to
    be opened by whoever wants it.
    """
    text = table.map(lambda value: f"{value:.{decimals}f}" if isinstance(value, float) else value)
    text = text.astype(str).replace({"nan": "–", "True": "yes", "False": "no"})
    for column in text.columns.intersection(["detector", "strategy"]):
        text[column] = text[column].map(label)
    text.columns = [label(str(name)).replace("_", " ") for name in text.columns]
    lines = [f"```{{list-table}} {caption}", f":name: {name}", ":header-rows: 1", ""]
    for row in [list(text.columns), *text.to_numpy().tolist()]:
        lines += [f"{'* -' if not i else '  -'} {cell}" for i, cell in enumerate(row)]
    page, markdown = text.to_html(index=False, border=0), "\n".join([*lines, "```"])
    if folded:
        page = f"<details><summary>{caption}</summary>{page}</details>"
        markdown = f":::{{dropdown}} {caption}\n{markdown}\n:::"
    data = {"text/html": page, "text/markdown": markdown}
    display(data, raw=True, metadata=made_from(runs, name, record=record))


def show_runs(rows: pd.DataFrame) -> None:
    """Display what the figures above were made from: the runs, their cost and their versions."""
    title = f"How this was made: {len(rows)} run{'s' * (len(rows) != 1)}"
    wanted = ("hash", "category", "detector", "strategy", "contamination", "seed", "seconds")
    columns = [name for name in wanted if name in rows]
    table = rows[columns].assign(hash=rows["hash"].map("`{}`".format))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in table.itertuples(index=False):
        cells = [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    made = "; ".join(
        f"code `{code}`, PyTorch {torch}, Python {python}"
        for code, torch, python in sorted(set(rows[["code", "torch", "python"]].agg(tuple, axis=1)))
    )
    made = f"{made[0].upper()}{made[1:]}."
    markdown = "\n".join([f":::{{dropdown}} {title}", made, "", *lines])
    html = f"<details><summary>{title}</summary>{made}"
    html += table.to_html(index=False, border=0) + "</details>"
    display({"text/html": html, "text/markdown": markdown + "\n:::"}, raw=True)


def say(markdown: str) -> None:
    """Display a computed sentence as prose."""
    display({"text/markdown": markdown, "text/plain": markdown}, raw=True)
