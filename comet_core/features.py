"""Frozen features of images, each computed once and kept on disk.

An entry of the cache is one file per image: half-precision tensors and a checksum of them, in
safetensors. Its name is a hash of the image file's content and its folder a hash of everything else
that decides the numbers (backbone, layers, sizes, views, pooling, versions). So renaming images
costs nothing, changing one costs one image, and an entry can never belong to something else. Files
are written under a temporary name and renamed; two processes that fill the cache at once write the
same bytes. An entry that fails its checksum is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from tqdm.auto import tqdm

from comet_core.backbones import backbone_info, load_backbone
from comet_core.datasets.base import Image, Skipped
from comet_core.detectors.base import Detector
from comet_core.devices import computes_in_half, device, half_precision, sent
from comet_core.errors import InputError
from comet_core.images import read_image, resize

FORMAT = 2
"""Raise it when a change of this file changes the numbers by more than half precision does."""
PASS_PIXELS = 4 * 256 * 256
"""Pixels of one pass through the backbone on a CPU. What a pass leaves in between then stays in the
processor's cache and is not asked of the system anew, which takes as long as computing it: with 16
images of 256 x 256 in a pass an image costs 1.8 times as much (measured)."""
MAPPED = 2**28
"""Bytes from which on one layer of all images is kept in a file that the system maps into memory,
and may drop from it and read again, instead of in memory proper."""


@dataclass(frozen=True)
class FeatureSpec:
    """What to compute for each image.

    Attributes:
        backbone: a name of `backbones.BACKBONES`.
        layers: the feature maps to keep, for example ("stride8", "stride16").
        sizes: edge lengths in pixels; the image is seen once at each.
        rotations: number of views, evenly spaced over the full turn; view 0 is the upright image.
        pool: keep the spatial mean of each map instead of the map.
    """

    backbone: str = "efficientnet_lite0"
    layers: tuple[str, ...] = ("stride8", "stride16")
    sizes: tuple[int, ...] = (256,)
    rotations: int = 1
    pool: bool = False

    def __post_init__(self) -> None:
        info = backbone_info(self.backbone)
        for layer in self.layers:
            if layer not in info.channels:
                raise InputError(
                    f"backbone '{self.backbone}' has no layer '{layer}';"
                    f" it has {', '.join(info.channels)}."
                )
        if not self.pool and (len(self.sizes) > 1 or self.rotations > 1):
            raise InputError("feature maps are kept for one size and one view only; set pool=True.")
        if min(self.sizes) < 32 or self.rotations < 1:
            raise InputError("image sizes start at 32 pixels and the number of rotations at 1.")

    def key(self) -> str:
        """Sixteen hex digits that name the folder of the cache."""
        info = backbone_info(self.backbone)
        source = info.package or "torchvision"
        # The Lite networks' weights come in packages of their own, the networks from timm.
        names = {source, "pillow", *(["timm"] if info.package else [])}
        versions = {name: version(name.replace("_", "-")) for name in names}
        precision = "half" if computes_in_half(device()) else "single"
        state = [FORMAT, asdict(self), info.weights, versions, precision]
        text = json.dumps(state, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def feature_spec(detector: Detector, backbone: str, image_size: int) -> FeatureSpec:
    """What a detector wants to know of an image, from this backbone at this size."""
    layers = list(backbone_info(backbone).channels)
    return FeatureSpec(backbone=backbone, **detector.wanted_features(layers, image_size))


@dataclass
class Features:
    """Features of N images, in the order of `ids`.

    `maps` holds float16 tensors: for each layer (N, C, H, W), or with pooling one tensor "pooled"
    (N, V, D), with V views and D the channels of all layers at all sizes. `skipped` lists the files
    that could not be read.
    """

    ids: list[str]
    maps: dict[str, Tensor]
    skipped: list[Skipped] = field(default_factory=list)


def _turn(pixels: Tensor, quarter: float) -> Tensor:
    """Rotate a batch (B, 3, S, S) by so many quarter turns, exactly where these are whole.

    Else bilinear, with the border pixels continued, since black corners would be features.
    """
    if float(quarter).is_integer():
        return torch.rot90(pixels, int(quarter), dims=(2, 3))
    angle = torch.tensor(quarter * torch.pi / 2)
    rows = torch.stack([torch.cos(angle), -torch.sin(angle), torch.zeros(())])
    columns = torch.stack([torch.sin(angle), torch.cos(angle), torch.zeros(())])
    theta = torch.stack([rows, columns]).expand(len(pixels), 2, 3)
    grid = F.affine_grid(theta.to(pixels), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def compute(pixels: Sequence[np.ndarray], spec: FeatureSpec) -> dict:
    """Features of decoded images, without the cache.

    Args:
        pixels: arrays (H, W, 3) of uint8, of any sizes.
        spec: what to compute.

    Returns:
        The `maps` of `Features`, on the CPU.
    """
    return _compute_resized([_resized(image, spec) for image in pixels], spec)


def _resized(image: np.ndarray, spec: FeatureSpec) -> list[np.ndarray]:
    """An image at each size of the spec."""
    return [resize(image, size) for size in spec.sizes]


@torch.inference_mode()
def _compute_resized(images: Sequence[list[np.ndarray]], spec: FeatureSpec) -> dict:
    """`compute` for images that `_resized` made."""
    place = device()
    backbone = load_backbone(spec.backbone, spec.layers, place)
    views: list[list[Tensor]] = [[] for _ in range(spec.rotations)]
    for size, same in zip(spec.sizes, zip(*images, strict=True), strict=True):
        batch = sent(torch.from_numpy(np.stack(same)), place).permute(0, 3, 1, 2).float()
        limit = len(batch) if batch.is_cuda else max(1, PASS_PIXELS // size**2)
        for view, parts in enumerate(views):
            turned = _turn(batch, 4 * view / spec.rotations) if view else batch
            turned = turned.contiguous(memory_format=torch.channels_last)
            with half_precision(place):
                passes = [backbone(one) for one in turned.split(limit)]
            maps = {name: [one[name] for one in passes] for name in passes[0]}
            if not spec.pool:
                return {
                    name: torch.cat(ones).half().cpu().contiguous() for name, ones in maps.items()
                }
            parts += [torch.cat([one.mean(dim=(2, 3)) for one in ones]) for ones in maps.values()]
    return {"pooled": torch.stack([torch.cat(parts, dim=1) for parts in views], 1).half().cpu()}


def room(like: dict[str, Tensor], count: int, folder: Path) -> dict[str, Tensor]:
    """Empty tensors for the features of `count` images, of which `like` are one's.

    Filling them image by image holds everything once. A large one lies in a nameless file in the
    folder, which is gone with the tensor, unless the disk is nearly full.

    Raises:
        InputError: the folder cannot be made or written to.
    """

    def empty(one: Tensor) -> Tensor:
        shape, size = (count, *one.shape), count * one.nbytes
        if size >= MAPPED:
            folder.mkdir(parents=True, exist_ok=True)
        if size < MAPPED or shutil.disk_usage(folder).free < 2 * size:
            return torch.empty(shape, dtype=one.dtype)
        with TemporaryFile(dir=folder) as file:
            return torch.from_numpy(np.memmap(file, one.numpy().dtype, "w+", shape=shape))

    with _written_to(folder):
        return {name: empty(one) for name, one in like.items()}


def default_cache() -> Path:
    """The cache folder: COMET_CACHE of the environment, if not empty, else `.cache/features`."""
    return Path(os.environ.get("COMET_CACHE") or ".cache/features")


@contextmanager
def _written_to(folder: Path) -> Iterator[None]:
    """Turn what goes wrong while the cache is written to into one sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the feature cache in '{folder}' cannot be written to ({error.strerror or error}); "
            "set COMET_CACHE, or `cache`, to a folder that can, on a disk with space left."
        ) from None


def _checksum(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()


def _load_entry(path: Path) -> dict[str, Tensor] | None:
    """The tensors of an entry; None if absent or damaged."""
    try:
        with safe_open(path, "pt") as entry:
            meta = json.loads((entry.metadata() or {})["entry"])
            tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118
            return tensors if meta["sha256"] == _checksum(tensors) else None
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def entry_path(image: Path, folder: Path) -> Path:
    """Where the cache keeps an image's features; `folder` is that of the spec in the cache."""
    content = hashlib.sha256(image.read_bytes()).hexdigest()
    return folder / content[:2] / f"{content}.safetensors"


def save_entry(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write an image's features to where `entry_path` says.

    Raises:
        InputError: it cannot be written there.
    """
    meta = json.dumps({"sha256": _checksum(tensors)})
    # A temporary file of Python's would be for its owner alone, and a cache may be shared.
    part = path.with_name(f"{path.stem}-{secrets.token_hex(4)}.part")
    with _written_to(path.parents[1]):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(save(tensors, metadata={"entry": meta}))
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise


def _ahead(
    pool: ThreadPoolExecutor, paths: Sequence[Path], spec: FeatureSpec, depth: int
) -> Iterator[list[np.ndarray] | InputError]:
    """Decode and resize `depth` files ahead of the consumer, in order.

    Yields the resized images, or for a bad file its InputError.
    Resizing here keeps no more than one large photograph a thread in memory.
    """

    def decode(path: Path) -> list[np.ndarray] | InputError:
        try:
            pixels = read_image(path)
        except InputError as error:
            return error
        return _resized(pixels, spec)

    queue = iter(paths)
    pending = [pool.submit(decode, path) for path in islice(queue, depth)]
    while pending:
        yield pending.pop(0).result()
        pending += [pool.submit(decode, path) for path in islice(queue, 1)]


def extract(
    images: Sequence[Image],
    spec: FeatureSpec,
    *,
    cache: Path | None = None,
    strict: bool = False,
    batch_size: int = 16,
    progress: bool = True,
) -> Features:
    """Features of images, from the cache where it has them.

    Args:
        images: ids and paths; training images and test images alike carry no truth here.
        spec: what to compute.
        cache: folder of the cache; by default `default_cache()`.
        strict: raise on a file that cannot be read, instead of leaving it out with a warning.
        batch_size: images that are computed together, in passes of `PASS_PIXELS`.
        progress: show a progress bar when there is something to compute.

    Returns:
        The features of all readable images, in their order.

    Raises:
        InputError: for an unreadable file under `strict`, when no file could be read, or for a
            cache that cannot be written to.
    """
    folder = (default_cache() if cache is None else Path(cache)) / spec.key()
    # An entry of the cache lists its maps in an order of its own.
    names = ["pooled"] if spec.pool else sorted(spec.layers, key=lambda n: int(n[len("stride") :]))
    maps: dict[str, Tensor] = {}
    kept: set[int] = set()
    skipped: list[Skipped] = []

    def keep(index: int, tensors: dict[str, Tensor]) -> None:
        if not maps:
            maps.update(room({name: tensors[name] for name in names}, len(images), folder))
        for name, one in maps.items():
            one[index] = tensors[name]
        kept.add(index)

    missing: list[tuple[int, Path]] = []
    for index, image in enumerate(images):
        try:
            path = entry_path(Path(image.path), folder)
        except OSError as error:
            if strict:
                raise InputError(f"{image.path}: cannot be read ({error.strerror}).") from None
            skipped.append(Skipped(Path(image.path), f"cannot be read ({error.strerror})"))
            continue
        entry = _load_entry(path)
        if entry is None:
            missing.append((index, path))
        else:
            keep(index, entry)

    bar = tqdm(
        total=len(missing),
        desc=f"features {spec.backbone}",
        unit="image",
        disable=not progress or not missing,
    )
    with bar, ThreadPoolExecutor(2) as pool:
        paths = [Path(images[i].path) for i, _ in missing]
        decoded = _ahead(pool, paths, spec, 2 * batch_size)
        for start in range(0, len(missing), batch_size):
            batch = []
            for index, path in missing[start : start + batch_size]:
                read = next(decoded)
                if isinstance(read, InputError):
                    if strict:
                        raise read
                    skipped.append(Skipped(Path(images[index].path), str(read)))
                else:
                    batch.append((index, path, read))
            if batch:
                computed = _compute_resized([resized for *_, resized in batch], spec)
                for row, (index, path, _) in enumerate(batch):
                    # A row is cloned: a view would keep, and save, the whole batch.
                    tensors = {name: one[row].clone() for name, one in computed.items()}
                    keep(index, tensors)
                    save_entry(path, tensors)
            bar.update(min(batch_size, len(missing) - start))

    if skipped:
        first = skipped[0].reason
        warnings.warn(
            f"{len(skipped)} of {len(images)} images left out; the first: {first}", stacklevel=2
        )
    if not kept:
        where = Path(images[0].path).parent if images else "the list of images"
        raise InputError(f"no readable image in {where}; check the path and the files.")
    order = sorted(kept)
    for one in maps.values():
        for row, index in enumerate(order):
            if row < index:  # an image before it was left out
                one[row] = one[index]
    return Features(
        ids=[images[i].id for i in order],
        maps={name: one[: len(order)] for name, one in maps.items()},
        skipped=skipped,
    )
