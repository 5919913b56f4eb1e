"""Draw the embedded data sets: stand-ins for MVTec AD, KSDD2 and VIADUCT in their own layouts.

    python data_scripts/make_synthetic.py --profile demo --out data/synthetic

No photograph is involved: every image is computed from a seed, byte for byte the same on every
machine. A data set is drawn beside its place and moved there when it is complete, so what is there
is whole; an interrupted run goes on with the images it had finished, and a run with nothing to do
says so.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from synthetic.plan import PROFILES, Sample, generator_version, render, samples
from synthetic.png import encode_png
from tqdm import tqdm

DATASETS = ("mvtec_ad", "ksdd2", "viaduct")
MARKER, MANIFEST = "SYNTHETIC", "manifest.csv"
COLUMNS = ("path", "category", "split", "label", "truth", "kind", "mask")
STAND_IN_FOR = {"mvtec_ad": "MVTec AD", "ksdd2": "KSDD2", "viaduct": "VIADUCT"}


class UsageError(ValueError):
    """A wrong argument, told in one sentence."""


def marker_text(dataset: str, profile: str, seed: int) -> str:
    """What the file `SYNTHETIC` says. It is also the stamp that tells whether data are current."""
    return (
        f"The images in this folder are synthetic: a program drew them (data_scripts/"
        f"make_synthetic.py).\nThey stand in for {STAND_IN_FOR[dataset]}, whose layout they have,"
        f" and hold no image of it.\nA result computed from them is no result on"
        f" {STAND_IN_FOR[dataset]}.\n\n"
        f"profile: {profile}\nseed: {seed}\ngenerator: {generator_version()}\n"
    )


def manifest_text(planned: Sequence[Sample]) -> str:
    """The truth of every sample as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for s in planned:
        label = int(s.truth == "anomalous")
        writer.writerow((s.path, s.category, s.split, label, s.truth, s.odd or s.kind, s.mask))
    return text.getvalue()


def is_current(root: Path, marker: str, manifest: str, planned: Sequence[Sample]) -> bool:
    """Whether a finished data set is there, whole and drawn from these settings."""
    try:
        if (root / MARKER).read_text(encoding="utf-8") != marker:
            return False
        if (root / MANIFEST).read_text(encoding="utf-8") != manifest:
            return False
    except OSError:
        return False
    return all((root / name).is_file() for s in planned for name in (s.path, s.mask) if name)


def make(dataset: str, profile: str, out: Path, seed: int, jobs: int) -> bool:
    """Draw one data set into `out`/`dataset`.

    Returns:
        False when it was already there.

    Raises:
        UsageError: something that this program did not draw is in the way.
    """
    planned = samples(dataset, PROFILES[profile], seed)
    marker, manifest = marker_text(dataset, profile, seed), manifest_text(planned)
    root, partly = out / dataset, out / f".{dataset}.partial"
    if is_current(root, marker, manifest, planned):
        return False
    if root.exists() and not (root / MARKER).is_file():
        raise UsageError(
            f"'{root}' exists and has no file '{MARKER}', so it was not drawn by this program and"
            f" is left alone; choose another --out."
        )
    if partly.exists() and not _reads(partly / MARKER, marker):
        shutil.rmtree(partly)  # left by an interrupted run with other settings
    for half_written in partly.rglob(".*.png.*"):
        half_written.unlink()
    for folder in {(partly / name).parent for s in planned for name in (s.path, s.mask) if name}:
        folder.mkdir(parents=True, exist_ok=True)
    _write(partly / MARKER, marker.encode())

    missing = [s for s in planned if not (partly / s.path).is_file()]
    work = partial(_draw, dataset, partly, seed)
    bar = partial(
        tqdm,
        total=len(missing),
        desc=f"drawing {dataset}",
        unit="image",
        leave=False,
        mininterval=0.5,
    )
    if jobs == 1 or len(missing) < 2:
        for _ in bar(map(work, missing)):
            pass
    else:
        # Pictures of half a megabyte come and go: glibc shall keep their memory (10 % faster). And
        # products of colours are small: with threads of their own the processes would spend more
        # than half of their time on waiting for each other.
        memory = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(2**27))
        for name, value in {**memory, "OMP_NUM_THREADS": "1"}.items():
            os.environ.setdefault(name, value)
        # An interrupt is the parent's to report; it stops the pool on its way out.
        quiet = (signal.SIGINT, signal.SIG_IGN)
        with get_context("spawn").Pool(min(jobs, len(missing)), signal.signal, quiet) as pool:
            for _ in bar(pool.imap_unordered(work, missing, chunksize=4)):
                pass
    _write(partly / MANIFEST, manifest.encode())
    if root.exists():
        shutil.rmtree(root)
    partly.rename(root)
    return True


def _draw(dataset: str, root: Path, seed: int, sample: Sample) -> None:
    image, mask = render(dataset, sample, seed)
    if mask is not None:
        _write(root / sample.mask, encode_png(mask))
    _write(root / sample.path, encode_png(image))  # last: its presence says that both are there


def _write(path: Path, content: bytes) -> None:
    """Write a file at once: another process sees it whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def _reads(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except OSError:
        return False


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{message}; see --help.")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, default="demo", help="how much to draw")
    parser.add_argument("--out", type=Path, default=Path("data/synthetic"), help="folder to fill")
    parser.add_argument("--seed", type=int, default=0, help="another seed is another data set")
    parser.add_argument(
        "--only", default=",".join(DATASETS), help="which data sets, separated by commas"
    )
    parser.add_argument("--jobs", type=int, default=_cores(), help="processes (default: all cores)")
    options = parser.parse_args(arguments)
    options.only = [name.strip() for name in options.only.split(",") if name.strip()]
    unknown = [name for name in options.only if name not in DATASETS]
    if unknown or not options.only:
        raise UsageError(
            f"argument --only: '{unknown[0] if unknown else ''}' is no data set;"
            f" choose from {', '.join(DATASETS)}."
        )
    if options.seed < 0:
        raise UsageError(f"argument --seed: {options.seed} is negative; give 0 or more.")
    if options.jobs < 1:
        raise UsageError(f"argument --jobs: {options.jobs} processes cannot draw; give 1 or more.")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0, or 2 after a sentence on what is wrong."""
    try:
        options = _parse(arguments)
        for dataset in options.only:
            new = make(dataset, options.profile, options.out, options.seed, options.jobs)
            print(f"{options.out / dataset}: {'drawn' if new else 'up to date'}")
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cannot write the data: {error.strerror} ('{error.filename}').", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
