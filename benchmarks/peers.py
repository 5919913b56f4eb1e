"""Detectors that people use today against ours: the same images, backbone and machine, one run.

    make bench-peers                                  drawn images, in an environment of its own
    python benchmarks/peers.py --data-root MVTEC --category bottle --out benchmarks/peers.json

Peers are the PyTorch models of anomalib with its settings: PatchCore (coreset of a tenth, nine
neighbours), PaDiM (100 features of strides 4, 8 and 16, as with ResNet-18) and SuperSimpleNet. They
run in a plain loop, without Lightning, whose own time would only add to theirs; they see our pixels
(256 x 256) and our backbone with folded normalisation, in passes of the size that is fastest here.
SuperSimpleNet trains `--epochs` epochs instead of its 300, which would take hours; its schedule is
shortened with it. EfficientAD is left out: its teacher has to be downloaded.

Every measurement is a process of its own. Times are processor seconds of one thread, from image
files on, without loading libraries and backbone. Rows of `--out` from this machine and these
versions are not measured again, so an interrupted call goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from comet_core import metrics, speed
from comet_core.backbones import Backbone, PixelConvolution, import_vision, load_backbone
from comet_core.config import RunConfig
from comet_core.datasets.base import ANOMALOUS, Image
from comet_core.detectors import make_detector
from comet_core.errors import InputError
from comet_core.features import PASS_PIXELS, extract, feature_spec
from comet_core.images import read_image, resize
from comet_core.peers_record import METHODS, read_record
from comet_core.pipeline import fit_run, listed, peak_memory_mb
from comet_core.records import check_folder, write_record
from comet_core.runs import versions

DRAWN = Path(os.environ.get("COMET_DATA", "data")) / "synthetic" / "mvtec_ad"
BACKBONE, SIZE = "efficientnet_lite0", 256
SLOW = ("patchcore", "supersimplenet")
"""Methods that take minutes a run; they get `--slow-seeds` seeds."""
RECIPE_EPOCHS, BATCH = 300, 32
"""What anomalib recommends for SuperSimpleNet."""
PACKAGES = ("anomalib", "torch", "torchvision", "timm", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Case:
    """What to measure: a method on the data of a run; `epochs` are SuperSimpleNet's."""

    method: str
    config: RunConfig
    epochs: int = 0

    def key(self, drawn: bool) -> dict[str, Any]:
        """What tells a row from the others."""
        return {
            "method": self.method,
            "drawn": drawn,
            "category": self.config.category,
            "contamination": self.config.contamination,
            "train_limit": self.config.train_limit,
            "seed": self.config.seed,
            "epochs": self.epochs,
        }


Score = Callable[[Sequence[Path]], np.ndarray]
"""Image scores of image files, by a trained model."""
Fit = Callable[[], Score]
"""Trains; everything that need not be timed has been loaded before."""


def measure(case: Case) -> dict[str, Any]:
    """Measure one case, here and now, on one thread."""
    import_vision("torchvision")  # before anomalib imports it
    torch.set_num_threads(1)
    torch.manual_seed(case.config.seed)
    np.random.seed(case.config.seed)  # noqa: NPY002 (scikit-learn's, which anomalib draws from)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports what an optimiser needs
    dataset, _ = listed(case.config)
    train = [record.path for record in dataset.train]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["COMET_CACHE"] = cache
        fit = PEERS.get(case.method, ours)(case, train)
        before = peak_memory_mb()
        wall, started = time.perf_counter(), time.process_time()
        score = fit()
        trained, wall = time.process_time(), time.perf_counter() - wall
        scores = score([record.path for record in dataset.test])
        tested = time.process_time()
    labels = [int(record.label == ANOMALOUS) for record in dataset.test]
    return {
        "n_train": len(train),
        "n_train_anomalous": sum(record.label == ANOMALOUS for record in dataset.train),
        "n_test": len(labels),
        "train_seconds": trained - started,
        "train_wall_seconds": wall,
        "test_seconds_per_image": (tested - trained) / len(labels),
        "peak_memory_mb": peak_memory_mb(),
        "memory_before_mb": before,
        "image_auroc": metrics.image_auroc(labels, scores),
    }


def ours(case: Case, train: Sequence[Path]) -> Fit:
    """A detector of this project, with the feature cache empty."""
    config = case.config
    spec = feature_spec(make_detector(config.detector, config.options), BACKBONE, SIZE)
    load_backbone(spec.backbone, spec.layers)

    def fit() -> Score:
        fitted = fit_run(config)

        def score(paths: Sequence[Path]) -> np.ndarray:
            files = [Image(str(path), path) for path in paths]
            features = extract(files, spec, strict=True, progress=False)
            detector = fitted.detector
            return detector.image_scores(detector.map_scores(features.maps)).double().numpy()

        return score

    return fit


def pixels(paths: Sequence[Path]) -> Tensor:
    """Image files as the backbone takes them, (B, 3, 256, 256)."""
    read = np.stack([resize(read_image(path), SIZE) for path in paths])
    backbone = load_backbone(BACKBONE, ("stride8",))
    # A batch that is made of (B, H, W, 3) is in the channels-last format already.
    return (torch.from_numpy(read).permute(0, 3, 1, 2).float() - backbone.mean) / backbone.std


def passes(paths: Sequence[Path]) -> Iterator[Tensor]:
    """Image files in as many at once as one fast pass through the backbone takes."""
    step = PASS_PIXELS // SIZE**2
    for start in range(0, len(paths), step):
        yield pixels(paths[start : start + step])


@torch.no_grad()
def predictions(model: nn.Module, paths: Sequence[Path]) -> np.ndarray:
    """Image scores of a trained model of anomalib's."""
    model.eval()
    return torch.cat([model(batch).pred_score.flatten() for batch in passes(paths)]).numpy()


def traceable() -> nn.Module:
    """The backbone's trunk for 256 x 256 pixels as `torch.fx` can trace it, which anomalib does.

    timm's convolutions compute their padding from the size of the input; here it is fixed. Those of
    one pixel are dilated, which changes nothing but the kernel that PyTorch takes, to ours.
    """
    trunk = Backbone(BACKBONE, ("stride8",)).trunk
    same = import_vision("timm").layers.Conv2dSame

    def replace(module: nn.Module) -> None:
        for name, child in list(module.named_children()):
            if isinstance(child, PixelConvolution):
                child.plain.dilation = (2, 2)
                setattr(module, name, child.plain)
                continue
            if not isinstance(child, same):
                replace(child)
                continue
            fixed = nn.Conv2d(
                child.in_channels,
                child.out_channels,
                child.kernel_size,
                child.stride,
                groups=child.groups,
                bias=child.bias is not None,
            )
            fixed.load_state_dict(child.state_dict())
            total = child.kernel_size[0] - child.stride[0]  # the input is a multiple of the stride
            sides = (total // 2, total - total // 2)
            setattr(module, name, nn.Sequential(nn.ZeroPad2d(sides * 2), fixed))

    replace(trunk)
    return trunk.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def patchcore(case: Case, train: Sequence[Path]) -> Fit:
    """PatchCore: a coreset of a tenth of all patches, nearest neighbours, nine to weigh by."""
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    model = PatchcoreModel(backbone=traceable(), layers=["blocks.2", "blocks.4"], num_neighbors=9)
    return _remembering(model, train, lambda: model.subsample_embedding(0.1))


def padim(case: Case, train: Sequence[Path]) -> Fit:
    """PaDiM: a Gaussian for each place."""
    from anomalib.models.image.padim.torch_model import PadimModel

    layers = ["blocks.1", "blocks.2", "blocks.4"]
    model = PadimModel(backbone=traceable(), layers=layers, n_features=100)
    return _remembering(model, train, model.fit)


def _remembering(model: nn.Module, train: Sequence[Path], finish: Callable[[], None]) -> Fit:
    def fit() -> Score:
        model.train()
        with torch.no_grad():
            for batch in passes(train):
                model(batch)
            finish()
        return lambda paths: predictions(model, paths)

    return fit


def supersimplenet(case: Case, train: Sequence[Path]) -> Fit:
    """SuperSimpleNet: AdamW, two steps down of the learning rate, batches of 32."""
    from anomalib.models.image.supersimplenet.loss import SSNLoss
    from anomalib.models.image.supersimplenet.torch_model import SupersimplenetModel

    model = SupersimplenetModel(backbone=traceable(), layers=["blocks.2", "blocks.4"])
    model = model.to(memory_format=torch.channels_last)
    loss_of = SSNLoss()
    optimiser = torch.optim.AdamW(
        [
            {"params": model.adaptor.parameters(), "lr": 1e-4},
            {"params": model.segdec.parameters(), "lr": 2e-4, "weight_decay": 1e-5},
        ]
    )
    steps = [int(case.epochs * share) for share in (0.8, 0.9)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, steps, gamma=0.4)

    def fit() -> Score:
        model.train()
        for _ in range(case.epochs):
            for index in torch.randperm(len(train)).split(BATCH):
                batch = pixels([train[i] for i in index])
                found, score, masks, labels = model(batch, None, torch.zeros(len(index)))
                optimiser.zero_grad()
                loss_of(found, score, masks, labels).backward()
                optimiser.step()
            schedule.step()
        return lambda paths: predictions(model, paths)

    return fit


PEERS: dict[str, Callable[[Case, Sequence[Path]], Fit]] = {
    "patchcore": patchcore,
    "padim": padim,
    "supersimplenet": supersimplenet,
}
OURS: dict[str, dict[str, str]] = {
    "memory_bank": {"detector": "memory_bank", "strategy": "plain"},
    "softpatch": {"detector": "softpatch", "strategy": "plain"},
    "simplenet": {"detector": "simplenet", "strategy": "plain"},
    "simplenet comet": {"detector": "simplenet", "strategy": "comet"},
    "simplenet comet+": {"detector": "simplenet", "strategy": "comet+"},
    "differnet": {"detector": "differnet", "strategy": "plain"},
}


def measure_apart(case: Case) -> dict[str, Any]:
    """`measure` in a fresh process, so that its memory is its own."""
    os.environ["TQDM_DISABLE"] = "1"  # anomalib's bars
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, case).result()


def cases(chosen: argparse.Namespace) -> list[Case]:
    """Everything to measure, quick methods first."""
    found = []
    for method in sorted(chosen.method, key=lambda name: (name in SLOW, list(METHODS).index(name))):
        for level in chosen.contamination:
            for seed in range(chosen.slow_seeds if method in SLOW else chosen.seeds):
                settings = OURS.get(method, {"detector": "memory_bank", "strategy": "plain"})
                config = RunConfig.from_profile(
                    {
                        "dataset": "mvtec_ad",
                        "data_root": chosen.data_root,
                        "category": chosen.category,
                        "contamination": level,
                        "train_limit": chosen.train_limit,
                        "seed": seed,
                        "backbone": BACKBONE,
                        "image_size": SIZE,
                        **settings,
                    }
                )
                epochs = chosen.epochs if method == "supersimplenet" else 0
                found.append(Case(method, config, epochs))
    return found


def started(path: Path | None) -> dict[str, Any]:
    """The record to go on with: that of `path`, if this machine and these versions made it.

    Raises:
        InputError: anomalib is not installed, or the file is another one.
    """
    try:
        packages = {name: version(name) for name in PACKAGES}
    except PackageNotFoundError as error:
        raise InputError(f"{error.name} is not installed here; use `make bench-peers`.") from None
    fresh: dict[str, Any] = {
        **speed.made(),
        "versions": packages,
        "image_size": SIZE,
        "backbone": BACKBONE,
        "recipe_epochs": RECIPE_EPOCHS,
        "rows": [],
    }
    if path is None or not path.exists():
        return fresh
    read_record(path)  # raises where it is another file
    found = json.loads(path.read_text(encoding="utf-8"))
    if any(found[name] != fresh[name] for name in ("machine", "versions")):
        print(f"{path.name} is of another machine or other versions: begun anew", file=sys.stderr)
        return fresh
    return {**fresh, "rows": found["rows"]}


def fill(
    record: dict[str, Any],
    wanted: Sequence[Case],
    drawn: bool,
    out: Path | None,
    run: Callable[[Case], dict[str, Any]] = measure_apart,
) -> None:
    """Measure the cases that the record lacks; it is written after each.

    Our own methods are measured again once our code has changed.
    """
    code = versions()["code"]
    for case in wanted:
        key = case.key(drawn)
        known = [row for row in record["rows"] if key.items() <= row.items()]
        if any(case.method in PEERS or row.get("code") == code for row in known):
            continue
        row = {**key, **run(case), **({} if case.method in PEERS else {"code": code})}
        record["rows"] = [one for one in record["rows"] if one not in known] + [row]
        told = f"{row['image_auroc']:.4f}, {row['train_seconds']:.1f} s"
        print(" ".join(str(value) for value in key.values()), told, file=sys.stderr, flush=True)
        if out is not None:
            write_record(record, out)


def main() -> int:
    """The command line; returns 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", type=Path, default=DRAWN, help="in MVTec AD's layout")
    parser.add_argument("--category", default="bottle_cap")
    parser.add_argument("--contamination", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--train-limit", type=int, default=60, help="nominal training images")
    parser.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--slow-seeds", type=int, default=1, help=f"of {', '.join(SLOW)}")
    parser.add_argument("--epochs", type=int, default=5, help="of SuperSimpleNet")
    parser.add_argument("--out", type=Path, help="write the record here, or go on with it")
    chosen = parser.parse_args()
    try:
        check_folder(chosen.out)
        wanted = cases(chosen)
        dataset, _ = listed(wanted[0].config)
        record = started(chosen.out)
        fill(record, wanted, dataset.synthetic, chosen.out)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
