"""Search a folder of unlabelled images for suspicious ones, and write down what was found.

    python -m comet_core.triage FOLDER --out report/

writes to the folder `report`

    report.html        to look through, mark and print; self-contained
    ranking.csv        rank, path, score, weight, flagged, simplenet, differnet, peak_x, peak_y; one
                       row an image; beyond 1 in its column that detector alone would flag it
    contact_sheet.jpg  the most suspicious images with outlines of what is strange
    score_curve.svg    all scores in order, and the cut at t
    maps/0001.png, ... anomaly maps of the most suspicious images, by rank

Each file appears whole or not at all. Features are cached as they are computed, so the same command
goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if __name__ == "__main__":
    # The imports below take seconds, and who ends them wants no traceback.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as PillowImage

from comet_core import figures_triage, triage_report
from comet_core.datasets import categories, load
from comet_core.errors import InputError
from comet_core.figures import house_style
from comet_core.images import image_shape
from comet_core.inspection import (
    MEMBERS,
    SECOND,
    STRATEGY,
    Inspection,
    found,
    inspect_folder,
    measure,
)
from comet_core.names import readable
from comet_core.report_place import (
    CURVE,
    MAPS,
    RANKING,
    REPORT,
    SHEET,
    cannot_write,
    made_folder,
    report_place,
)

SPARE = 4
"""How many more images than there are defects one is ready to look at."""
EDGE = 1024
"""Longest side, in pixels, of an anomaly map that is written."""
ASIDE = ".writing-"
"""How the name of a folder begins in which a report is written until it is whole."""
ABANDONED = 3600
"""Seconds after which nobody can still be writing there."""


def triage(
    images: str | os.PathLike[str],
    out: str | os.PathLike[str] = "report",
    *,
    strategy: str = STRATEGY,
    shown: int = 60,
    source: str = "",
    **options: Any,
) -> Inspection:
    """Rank the images of a folder by suspicion and write the report.

    Args:
        images: the folder; nothing in it is changed.
        out: folder for the report, not within `images` nor within a folder that is linked from
            there; files of an earlier report are replaced, and nothing else is.
        strategy: how the model is trained; see `training`.
        shown: how many images, the most suspicious first, are shown large and with their map; the
            flagged ones are in any case, up to 120.
        source: what the images are, where that has to be said, such as "synthetic stand-in".
        **options: of `inspect_folder`: without, strict, progress, seed, kappa, profile, cache, ...

    Raises:
        InputError: as `inspect_folder`; or `out` cannot be written to, is a file, lies among the
            images, has images where its maps would lie, or holds files of the report's names and
            no report.
    """
    if shown < 1:
        raise InputError(f"shown = {shown}: show at least one image.")
    target = report_place(Path(images).expanduser(), Path(out).expanduser())
    with made_folder(target):
        seen = inspect_folder(images, strategy=strategy, maps=shown, **options)
        write(seen, target, source)
    return seen


def write(seen: Inspection, out: Path, source: str = "") -> None:
    """Write all files aside, then put each in its place."""
    try:
        with made_folder(out), TemporaryDirectory(dir=out, prefix=ASIDE) as aside:
            new = Path(aside)
            note = seen.describe(source or "unlabelled images")
            seen.table.to_csv(new / RANKING, index=False, float_format="%.6g")
            sheet = figures_triage.contact_sheet(
                seen.table, seen.folder, seen.maps, seen.level, seen.threshold, note
            )
            curve = figures_triage.score_curve(seen.table, seen.threshold, note)
            with house_style():
                sheet.savefig(new / SHEET, dpi=220, pil_kwargs={"quality": 88})
                curve.savefig(new / CURVE, metadata={"Date": None})
            _write_maps(seen, new / MAPS)
            page = triage_report.render(seen, out, source=source)
            (new / REPORT).write_text(page, encoding="utf-8")
            if (out / MAPS).exists():
                (out / MAPS).replace(new / "old")
            for name in (REPORT, MAPS, SHEET, CURVE, RANKING):  # the report says whose they are
                (new / name).replace(out / name)
            _clear(out)
    except OSError as error:
        raise cannot_write(out, error) from None


def _clear(out: Path) -> None:
    """Remove what searches that were killed while they wrote left behind, hours ago."""
    for left in out.glob(f"{ASIDE}*"):
        with suppress(FileNotFoundError):  # another search cleared it
            if time.time() - left.stat().st_mtime > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)


def _write_maps(seen: Inspection, folder: Path) -> None:
    """Maps as grey images of their photographs' proportions: 0 as usual, 255 the highest of all."""
    folder.mkdir()
    span = max(float(seen.maps.max()) - seen.usual, 1e-9)
    for row, one in zip(seen.table.itertuples(), seen.maps, strict=False):
        height, width = image_shape(seen.folder / str(row.path))
        scale = min(1.0, EDGE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        grey: NDArray[np.float32] = np.clip((one - seen.usual) / span, 0, 1) * 255
        large = PillowImage.fromarray(grey).resize(size, PillowImage.Resampling.BILINEAR)
        large.convert("L").save(folder / f"{row.rank:04}.png")


def summary(seen: Inspection, out: Path) -> str:
    """What was found and where it lies, in Markdown."""
    count, left_out = len(seen.table), len(seen.skipped)
    skipped = (
        f" {left_out} file{'s were' if left_out > 1 else ' was'} left out." if left_out else ""
    )
    return (
        f"**{seen.flagged} of {count} images are flagged** "
        f"({100 * seen.flagged / count:.1f} %).{skipped} The report is in "
        f"`{readable(out.as_posix())}`: open `{REPORT}` in a browser; `{RANKING}` is the list."
    )


def verdict(seen: Inspection, truth: pd.DataFrame | None) -> str:
    """The list held against a known truth, in Markdown."""
    if truth is None or not (truth["truth"] == "anomalous").any():
        return "The truth is not known here, so there is nothing to hold the list against."
    told = found(seen.table, truth, SPARE)
    if not told["k"]:
        return "None of the defective images is left, so there is nothing to find."
    k, hits = int(told["k"]), round(told["recall"] * told["k"])
    return (
        f"Of the **{k} defective** images among {told['images']}, **{told['in_first_k']} are among "
        f"the first {k}** of the list and {told['in_first_more']} among the first {k + SPARE}. The "
        f"cut flags {told['flagged']} images, {hits} of them defective, and misses {k - hits}. By "
        f"chance the first {k} would hold {k * k / told['images']:.1f}."
    )


def survey(
    root: Path,
    defective: int,
    below: Path,
    seed: int = 0,
    known: Mapping[str, Mapping[str, float]] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """The search on a mixture of every category of a data set in the layout of MVTec AD.

    Args:
        root: where its categories lie.
        defective: how many defective images are hidden in each.
        below: where the mixtures are made.
        seed: of the mixtures and of the training.
        known: what `found` says of searches that were made already, in the same way, by category.
        **options: of `inspect_folder`.

    Returns:
        One row a category: images, defective, how many of these are among the first k and k + 4,
        flagged, precision and recall of the cut.
    """
    rows = []
    known = known or {}
    for category in categories("mvtec_ad", root):
        told = known.get(category)
        if told is None:
            told = measure(load("mvtec_ad", root, category), defective, below, seed, **options)
        rows.append(
            {
                "category": category,
                "images": told["images"],
                "defective": told["k"],
                "in the first k": told["in_first_k"],
                f"in the first k + {SPARE}": told["in_first_more"],
                "flagged": told["flagged"],
                "precision": told["precision"],
                "recall": told["recall"],
            }
        )
    return pd.DataFrame(rows)


def survey_finding(table: pd.DataFrame) -> str:
    """The table of `survey` in words."""
    hidden, first = int(table["defective"].sum()), int(table["in the first k"].sum())
    chance = float((table["defective"] ** 2 / table["images"]).sum())
    return (
        f"Over {len(table)} categories, {first} of {hidden} hidden images are among the first k of "
        f"their lists; in a random order {chance:.0f} would be. "
        + (
            f"The best is {_extreme(table, table['in the first k'].idxmax())}, the worst "
            f"{_extreme(table, table['in the first k'].idxmin())}."
            if table["in the first k"].min() < table["in the first k"].max()
            else "No category is ahead."
        )
    )


def _extreme(table: pd.DataFrame, row: Any) -> str:
    one = table.loc[row]
    return f"{one['category']} with {one['in the first k']} of {one['defective']}"


def preview(seen: Inspection, out: Path, source: str = "", shown: int = 8) -> str:
    """The report with its first images only, as a frame to be put on another page.

    A still picture that follows it, of class `still`, is for paper.
    """
    few = replace(seen, maps=seen.maps[:shown])
    page = escape(triage_report.render(few, out, source=source, budget=0), quote=True)
    return (
        "<style>.framed ~ .still { display: none; } @media print { .framed { display: none; } "
        ".framed ~ .still { display: block; } }</style>"
        '<div class="framed"><iframe title="The report" loading="lazy" style="width: 100%; '
        f'height: 46rem; border: 1px solid #8888; border-radius: 8px" srcdoc="{page}"></iframe>'
        "</div>"
    ).replace("\n", "&#10;")


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status is 0, 2 for bad input, 130 when interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m comet_core.triage",
        description="Rank the images of a folder by suspicion. No labels are needed.",
    )
    parser.add_argument("folder", help="images, nested or flat; nothing in it is changed")
    parser.add_argument("--out", default="report", help="folder of the report (default: report)")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="REVIEWED.csv",
        help="leave out what is marked defective in this list, which an earlier report saved; can "
        "be given several times",
    )
    parser.add_argument("--strategy", default=STRATEGY, help=f"of training (default: {STRATEGY})")
    parser.add_argument(
        "--kappa", type=float, default=1.5, help="larger flags fewer images (default: 1.5)"
    )
    parser.add_argument(
        "--shown",
        type=int,
        default=60,
        help="images shown large, with maps; all flagged ones are, up to 120 (default: 60)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        help="pixels at which images are seen (default: 256; 128 of smoke)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    parser.add_argument(
        "--members",
        type=int,
        default=MEMBERS,
        help=f"SimpleNets that are trained and averaged, for a steadier order (default: {MEMBERS})",
    )
    parser.add_argument(
        "--second",
        default=SECOND,
        help='detector of another kind that has as much of a say as all members; "": none, which '
        f"takes two thirds of the time (default: {SECOND})",
    )
    parser.add_argument("--profile", default="demo", help="size of the training: demo or smoke")
    parser.add_argument("--strict", action="store_true", help="refuse files that cannot be used")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    chosen = parser.parse_args(arguments)
    interrupts: list[int] = []

    def interrupt(number: int, _: object) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    # Matplotlib's compiled parts make a ValueError of an interrupt that reaches them.
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        seen = triage(
            chosen.folder,
            chosen.out,
            strategy=chosen.strategy,
            shown=chosen.shown,
            without=chosen.without,
            strict=chosen.strict,
            progress=not chosen.quiet,
            kappa=chosen.kappa,
            seed=chosen.seed,
            members=chosen.members,
            second=chosen.second,
            profile=chosen.profile,
            image_size=chosen.image_size,
        )
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except (KeyboardInterrupt, ValueError):
        if not interrupts:
            raise
        print("\nInterrupted; the same command goes on where it stopped.", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGINT, before)
    for skip in seen.skipped[:20]:
        print(f"left out: {skip}", file=sys.stderr)
    if len(seen.skipped) > 20:
        print(f"left out: {len(seen.skipped) - 20} more; the report lists them", file=sys.stderr)
    try:
        print(f"{seen.flagged} of {len(seen.table)} images flagged; the most suspicious are")
        print(seen.table.head(10).to_string(index=False))
        print(f"Look at them: {(Path(chosen.out).expanduser() / REPORT).resolve().as_uri()}")
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
