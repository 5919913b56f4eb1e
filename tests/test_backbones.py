"""The embedded backbones recognise photographs; the others fail in one sentence without a net."""

import pytest
import skimage.data
import torch
from sklearn.datasets import load_sample_image

from comet_core import backbones
from comet_core.backbones import (
    BACKBONES,
    Backbone,
    import_vision,
    load_backbone,
    load_lite_classifier,
)
from comet_core.devices import PROCESSOR
from comet_core.errors import InputError
from comet_core.images import resize

# ImageNet's numbers of the classes that the photographs show.
PHOTOGRAPHS = {
    "cat": (lambda: skimage.data.chelsea(), {281, 282, 285}),  # tabby, tiger cat, Egyptian cat
    "cup": (lambda: skimage.data.coffee(), {504, 967, 968}),  # mug, espresso, cup
    "temple": (lambda: load_sample_image("china.jpg"), {832, 663, 698, 497}),  # stupa, monastery
    "rocket": (lambda: skimage.data.rocket(), {657, 744, 812}),  # missile, projectile, shuttle
}


def pixels_of(image, size: int) -> torch.Tensor:
    height, width = image.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = resize(image[top : top + edge, left : left + edge, :3], size)
    return torch.from_numpy(square).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize(
    ("name", "size"), [("efficientnet_lite0", 224), ("efficientnet_lite2", 260)]
)
def test_the_embedded_weights_classify_photographs(name: str, size: int) -> None:
    classifier = load_lite_classifier(name)
    hits = {}
    for label, (image, classes) in PHOTOGRAPHS.items():
        with torch.inference_mode():
            logits = classifier((pixels_of(image(), size) - 127) / 128)
        top = logits[0].topk(5).indices.tolist()
        hits[label] = bool(classes & set(top))
    assert all(hits.values()), hits


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2"])
def test_feature_maps_have_the_channels_and_strides_that_their_names_say(name: str) -> None:
    layers = tuple(BACKBONES[name].channels)
    with torch.inference_mode():
        maps = load_backbone(name, layers)(torch.zeros(2, 3, 64, 96, dtype=torch.uint8))
    for layer, channels in BACKBONES[name].channels.items():
        stride = int(layer.removeprefix("stride"))
        assert maps[layer].shape == (2, channels, 64 // stride, 96 // stride)


def test_maps_are_those_of_the_classifier_and_keep_the_asked_layers() -> None:
    """The classifier's own head on the deepest map gives the classifier's own logits."""
    classifier = load_lite_classifier("efficientnet_lite0")
    x = pixels_of(skimage.data.chelsea(), 224)
    with torch.inference_mode():
        both = load_backbone("efficientnet_lite0", ("stride32", "stride8"))(x)
        assert list(both) == ["stride8", "stride32"]
        one = load_backbone("efficientnet_lite0", ("stride8",))(x)
        assert torch.allclose(one["stride8"], both["stride8"], atol=1e-4)
        head = classifier.bn2(classifier.conv_head(both["stride32"]))
        assert torch.allclose(classifier.forward_head(head), classifier((x - 127) / 128), atol=1e-3)


def test_the_backbone_is_frozen() -> None:
    backbone = load_backbone("efficientnet_lite0", ("stride8",))
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not backbone.training


def test_a_backbone_is_loaded_once_however_it_is_asked_for() -> None:
    asked = ("efficientnet_lite0", ("stride8",))
    assert load_backbone(*asked, PROCESSOR) is load_backbone(*asked)


def test_without_a_network_the_papers_backbones_end_in_one_sentence(monkeypatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    for name in ("alexnet", "wide_resnet50_2"):
        with pytest.raises(InputError, match=f"'{name}' could not be downloaded") as caught:
            Backbone(name, ("stride16",))
        assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("name", ["alexnet", "wide_resnet50_2"])
def test_the_papers_backbones_have_the_shapes_that_are_listed(name: str, monkeypatch) -> None:
    """With random weights in place of the download: the architecture and the layers are right."""
    models = import_vision("torchvision.models")
    state = models.get_model(name, weights=None).state_dict()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *a, **k: state)
    info = BACKBONES[name]
    with torch.inference_mode():
        maps = Backbone(name, tuple(info.channels))(torch.zeros(1, 3, 128, 128))
    for layer, channels in info.channels.items():
        edge = 128 // int(layer.removeprefix("stride"))
        assert maps[layer].shape[1] == channels
        assert abs(maps[layer].shape[2] - edge) <= 1


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="known ones are efficientnet_lite0"):
        load_backbone("resnet18", ("stride8",))
    with pytest.raises(InputError, match="it has stride16"):
        Backbone("alexnet", ("stride8",))


@pytest.mark.parametrize("name", list(BACKBONES))
def test_folded_normalisation_changes_less_than_half_precision_rounds(
    name: str, monkeypatch
) -> None:
    """The cache keeps half precision: what folding changes is a twentieth of that rounding."""
    info = BACKBONES[name]
    layers = tuple(info.channels)
    if not info.package:  # with random weights in place of the download
        torch.manual_seed(0)
        model = import_vision("torchvision.models").get_model(name, weights=None)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
        state = model.state_dict()
        monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *a, **k: state)
    folded = Backbone(name, layers)
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    monkeypatch.setattr(backbones, "fold_batch_norms", lambda module: None)
    plain = Backbone(name, layers)
    x = pixels_of(skimage.data.chelsea(), 160)
    with torch.inference_mode():
        for layer, expected in plain(x).items():
            rounding = (expected.half().float() - expected).norm()
            assert (folded(x)[layer] - expected).norm() < 0.05 * rounding


@pytest.mark.parametrize("size", [64, 96, 256])
def test_pixel_convolutions_change_nothing_whatever_else_is_computed(
    size: int, monkeypatch
) -> None:
    layers = ("stride8", "stride32")
    backbone = Backbone("efficientnet_lite0", layers)
    monkeypatch.setattr(backbones, "use_pixel_convolutions", lambda module: None)
    plain = Backbone("efficientnet_lite0", layers)
    photographs = [image() for image, _ in PHOTOGRAPHS.values()]
    pixels = torch.cat([pixels_of(one, size) for one in photographs])
    pixels = pixels.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        before = plain(pixels)
        together, alone = backbone(pixels), backbone(pixels[:1])
        many = backbone(pixels[torch.arange(16) % 4].to(memory_format=torch.channels_last))
    for layer, one in before.items():
        assert torch.allclose(together[layer], one, rtol=1e-4, atol=1e-4)
        assert torch.equal(together[layer][:1], alone[layer])
        assert torch.equal(together[layer], many[layer][:4])
