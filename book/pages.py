"""Pages and pictures that are computed when the book is built."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import tomllib
from pathlib import Path

import idea
import yaml

from comet_core import beyond_record, claims_record, inner_loop, real_record
from comet_core.config import RunConfig, TrainingSettings
from comet_core.detectors import make_detector
from comet_core.evidence import DETECTORS
from comet_core.names import label

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
SHOWN = (
    *("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pandas"),
    *("matplotlib", "seaborn", "papermill", "jupyter-book"),
)

SHOWN_VERDICTS = "\n:name: tab-claims-recorded\n"
"""By which the table of all verdicts is known."""
TOLD = ("backbone", "image_size", "epochs", "batch_size", "learning_rate", "schedule")


METHOD = {
    "kappa": ("$\\kappa$, {eq}`eq-threshold`", "1.5"),
    "lambda_0": ("$\\lambda_0$, {eq}`eq-lambda`", "0.005"),
    "gamma": ("$\\gamma$, {eq}`eq-lambda`", "0.5"),
    "alpha": ("$\\alpha$, {eq}`eq-inner`", "0.0001, by Adam"),
    "inner_steps": ("steps of the inner loop", "5"),
    "order": ("order of the meta-gradient", "a difference of weights"),
    "tasks": ("tasks of an outer step", "4, of 5 images each"),
    "validation_share": ("validation part of a task", "0.3"),
    "warmup_epochs": ("epochs with all weights at 1", "none"),
    "refresh_every": ("epochs between two refreshes of the weights", "never refreshed"),
    "window": ("pairs of losses that $\\Sigma$ is made of", "all so far"),
}
"""Settings of CoMet: what each is, and what the released code has in its place."""


def generate(profile: str) -> dict[str, str]:
    """File name to content, of all that is generated."""
    return {
        "idea.html": idea.panels(),
        "launch.md": launch(),
        "ledger.md": ledger(BOOK / "notebooks" / "claims.ipynb"),
        "recorded.md": recorded(ROOT / "benchmarks"),
        "real.md": real(ROOT / "benchmarks"),
        "settings.md": settings(),
        "comet_settings.md": comet_settings(),
        "made.md": made(profile),
    }


def launch() -> str:
    """How to run a notebook on a machine of Binder's or Colab's, if the repository is public."""
    config = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))
    url = (config["repository"]["url"] or "").rstrip("/")
    if not url:
        return (
            "This copy of the book names no public repository, so its pages have no buttons for "
            "Binder, Colab, editing or issues. `repository.url` in `book/_config.yml` brings all "
            "of them.\n"
        )
    name = url.rpartition("/")[2].removesuffix(".git")
    return f"""The rocket on top of a notebook's page opens it elsewhere. Binder prepares everything
by itself, the first time in some minutes. Colab opens the notebook alone; run this cell first:

```python
!git clone --depth 1 {url}
%cd {name}
!pip install -q -e . && python data_scripts/make_synthetic.py
```
"""


def ledger(executed: Path) -> str:
    """The table of verdicts that the notebook `claims` has shown; a sentence where it has not run.

    Args:
        executed: the notebook with its outputs.
    """
    if executed.is_file():
        for cell in json.loads(executed.read_bytes())["cells"]:
            for output in cell.get("outputs", []):
                text = "".join(output.get("data", {}).get("text/markdown", ""))
                if SHOWN_VERDICTS in text:
                    return text.replace(SHOWN_VERDICTS, "\n:name: tab-ledger\n") + "\n"
    return "The claims have not been computed yet; `make book` does it.\n"


def recorded(records: Path) -> str:
    """What the ledger says of the record of its runs with more seeds.

    Args:
        records: the folder in which it lies.
    """
    record = claims_record.read_record(records / "claims.json")
    return (
        f"{claims_record.findings(claims_record.judge(record))} (A record of {record['made']}.)\n"
    )


def real(records: Path) -> str:
    """What the records of real images say of CoMet, of where its gain comes from and of CoMet+.

    Args:
        records: the folder in which they lie.
    """
    gains = real_record.gains(real_record.read_record(records / "real.json")["rows"])
    rows = inner_loop.read_record(records / "inner_loop.json")["rows"]
    apart = inner_loop.headline(inner_loop.parts(rows, ["category", "detector"]))
    everywhere = beyond_record.read_record(records / "beyond.json")["rows"]
    trimmed = beyond_record.headline(everywhere, "trimmed")
    shorter = inner_loop.shorter_headline(inner_loop.shorter(rows))
    return (
        f"- {real_record.headline(gains)} See {{doc}}`notebooks/real_images`.\n"
        f"- {apart} {shorter} See {{doc}}`notebooks/ablation`.\n"
        "- Our own {term}`CoMet+` leaves images out before the training instead. On the same images"
        f" {real_record.gained(gains, 'comet+')}. Where that is little, *trimmed* leaves out the"
        f" quarter that both detectors find strangest. {trimmed} See {{doc}}`notebooks/beyond`.\n"
    )


def settings() -> str:
    """A table for each detector: what it is trained with in the profiles `demo` and `paper`."""
    tables = []
    for name in DETECTORS:
        title = label(name)
        columns = []
        for profile in ("demo", "paper"):
            chosen = {"category": "any", "detector": name, "profile": profile}
            config = RunConfig.from_profile(chosen)
            options = make_detector(name, config.options).options.model_dump()
            columns.append({field: getattr(config, field) for field in TOLD} | options)
        rows = [[f"`{field}`", *(f"{column[field]}" for column in columns)] for field in columns[0]]
        header = ["setting", "`demo`", "`paper`"]
        tables.append(_table(f"tab-settings-{name}", f"Settings of {title}", header, rows))
    return "\n".join(tables)


def comet_settings() -> str:
    """A table of CoMet's settings: defaults, what `demo` sets instead, and the released code's."""
    usual = TrainingSettings.model_fields
    rows = []
    for field, (meaning, released) in METHOD.items():
        default = usual[field].default
        told = [f"{default}"]
        for name in DETECTORS:
            chosen = {"category": "any", "detector": name, "profile": "demo"}
            value = getattr(RunConfig.from_profile(chosen), field)
            if value != default:
                told.append(f"{label(name)} in `demo`: {value}")
        rows.append([f"`{field}`", meaning, "; ".join(told), released])
    header = ["setting", "what it is", "here", "released code"]
    return _table("tab-settings-comet", "Settings of CoMet", header, rows)


def made(profile: str) -> str:
    """Tables of what this copy of the book was made from."""
    notebooks = [
        [f"{{doc}}`/notebooks/{path.stem}`", _clock(record["seconds"]), _settings(record)]
        for path in sorted((BOOK / "notebooks").glob("*.ipynb"))
        for record in [json.loads(path.read_bytes())["metadata"]["comet"]]
    ]
    data = Path(os.environ.get("COMET_DATA", ROOT / "data")) / "synthetic"
    drawn = [[path.parent.name, *_marker(path)] for path in sorted(data.glob("*/SYNTHETIC"))]
    rows = [
        ["profile", profile],
        ["version", _version()],
        ["commit", _commit()],
        ["Python", platform.python_version()],
        ["system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"],
    ]
    packages = [[name, importlib.metadata.version(name)] for name in SHOWN]
    return "\n".join(
        [
            _table("made-copy", "This copy of the book", ["", ""], rows),
            _table("made-notebooks", "Notebooks", ["page", "time", "parameters"], notebooks),
            _table("made-data", "Embedded data", ["stands in for", "seed", "generator"], drawn),
            _table("made-versions", "Packages that decide the numbers", ["", ""], packages),
        ]
    )


def _table(name: str, caption: str, header: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = [f"```{{list-table}} {caption}", f":name: {name}"]
    lines += [":header-rows: 1", ""] if any(header) else [":stub-columns: 1", ""]
    for row in [header, *rows] if any(header) else rows:
        lines += [f"{'* -' if not i else '  -'} {cell}" for i, cell in enumerate(row)]
    return "\n".join([*lines, "```", ""])


def _clock(seconds: float) -> str:
    return (
        f"{int(seconds) // 60} min {int(seconds) % 60} s" if seconds >= 60 else f"{seconds:.0f} s"
    )


def _settings(record: dict) -> str:
    return ", ".join(f"`{name} = {value}`" for name, value in record["parameters"].items())


def _marker(path: Path) -> list[str]:
    lines = dict(
        line.split(": ", 1)
        for line in path.read_text(encoding="utf-8").splitlines()
        if ": " in line
    )
    return [lines.get("seed", ""), f"`{lines.get('generator', '')}`"]


def _version() -> str:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%h %cs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"unknown (built on {datetime.date.today()})"
    number, date = done.stdout.split()
    changed = subprocess.run([*command[:3], "diff", "--quiet", "HEAD"], check=False).returncode
    return f"`{number}` of {date}{', with changes' if changed else ''}"
