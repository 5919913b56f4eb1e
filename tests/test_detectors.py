"""The two detectors: shapes, laws and closed forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F  # noqa: N812

from comet_core.confidence import iqr_threshold
from comet_core.config import TrainingSettings
from comet_core.detectors import DETECTORS, base, make_detector
from comet_core.detectors.differnet import CouplingBlock, DifferNet, NormalizingFlow, soft_clamp
from comet_core.detectors.simplenet import BatchNorm, SimpleNet
from comet_core.errors import InputError
from comet_core.training import fit

SMALL = {"simplenet": {"hidden": 8}, "differnet": {"blocks": 2, "hidden": 8}}


def maps_for(name: str, count: int = 6) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    if name == "simplenet":
        return {
            "stride8": torch.randn(count, 3, 4, 4, generator=g).half() * 5 + 2,
            "stride16": torch.randn(count, 5, 2, 2, generator=g).half(),
        }
    return {"pooled": torch.randn(count, 2, 7, generator=g).half() * 3 + 1}


@pytest.mark.parametrize("name", SMALL)
def test_shapes_signs_and_standardisation(name: str) -> None:
    detector = make_detector(name, SMALL[name])
    samples = detector.fit_input(maps_for(name))
    n, parts, dimension = samples.shape
    assert dimension == detector.dimension
    flat = samples.flatten(0, 1)
    assert torch.allclose(flat.mean(0), torch.zeros(dimension), atol=1e-3)
    assert torch.allclose(flat.std(0, correction=0), torch.ones(dimension), atol=1e-2)
    noise = detector.draw_noise(samples, torch.Generator().manual_seed(0))
    assert detector.losses(samples, noise).shape == (n, parts)
    detector.calibrate(samples)
    scores = detector.scores(samples)
    assert scores.shape == (n, parts)
    assert (scores >= 0).all()
    assert torch.allclose(scores, detector.scores(samples, batch_size=1), atol=1e-5)
    reduced = scores.amax(1) if name == "simplenet" else scores.mean(1)
    assert torch.equal(detector.image_scores(scores), reduced)


@pytest.mark.parametrize("name", SMALL)
def test_losses_can_be_mapped_over_tasks(name: str) -> None:
    """Losses are pure functions, which `vmap` checks: nothing leaks between tasks."""
    detector = make_detector(name, SMALL[name])
    samples = detector.fit_input(maps_for(name))
    noise = detector.draw_noise(samples, torch.Generator().manual_seed(0))
    parameters = {k: p.detach() for k, p in detector.named_parameters()}
    batch = [samples.view(2, 3, *samples.shape[1:])]
    if noise is not None:
        batch.append(noise.view(2, 3, *noise.shape[1:]))

    def loss(theta: dict, *one: torch.Tensor) -> torch.Tensor:
        return functional_call(detector, theta, one).mean()

    stacked = vmap(grad(loss), in_dims=(None, *[0] * len(batch)))(parameters, *batch)
    for task in range(2):
        alone = grad(loss)(parameters, *[one[task] for one in batch])
        for key in parameters:
            assert torch.allclose(stacked[key][task], alone[key], atol=1e-5)


def test_unknown_names_and_options_end_in_one_sentence() -> None:
    with pytest.raises(InputError, match="known ones are simplenet, differnet"):
        make_detector("patchcore")
    with pytest.raises(InputError, match="option 'hiden' of detector 'simplenet'"):
        make_detector("simplenet", {"hiden": 3})
    with pytest.raises(InputError, match="option 'noise_std'"):
        make_detector("simplenet", {"noise_std": -1})


def test_every_option_changes_the_result() -> None:
    changes = {
        "simplenet": {
            "hidden": 16,
            "noise_std": 1.0,
            "margin": 0.1,
            "neighbourhood": 1,
            "patches": 3,
        },
        "differnet": {
            "blocks": 3,
            "hidden": 16,
            "depth": 2,
            "clamp": 1.0,
            "scales": 1,
            "rotations": 1,
        },
    }
    for name, options in changes.items():
        assert set(options) == set(DETECTORS[name].options_type.model_fields)

        def outcome(extra: dict, name: str = name) -> list:
            torch.manual_seed(0)
            detector = make_detector(name, {**SMALL[name], **extra})
            samples = detector.fit_input(maps_for(name))
            detector.calibrate(samples)
            noise = detector.draw_noise(samples, torch.Generator().manual_seed(0))
            return [
                detector.wanted_features(["stride8", "stride16"], 256),
                detector.losses(samples, noise).tolist(),
                detector.scores(samples).tolist(),
                detector.train_parts(samples.shape[1]),
            ]

        usual = outcome({})
        assert outcome({}) == usual
        for option, value in options.items():
            assert outcome({option: value}) != usual, option


# -- DifferNet ---------------------------------------------------------------------------------


def flow_of(dimension: int, seed: int = 0) -> NormalizingFlow:
    torch.manual_seed(seed)
    flow = NormalizingFlow(dimension, blocks=3, hidden=6, depth=3, clamp=3.0, seed=seed).double()
    for p in flow.parameters():  # away from the near-identity of the initialisation
        torch.nn.init.normal_(p, std=0.7)
    return flow


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), st.integers(0, 1000))
def test_the_flow_is_invertible(dimension: int, seed: int) -> None:
    flow = flow_of(dimension, seed)
    x = torch.randn(5, dimension, dtype=torch.float64)
    z, _ = flow(x)
    assert torch.allclose(flow.inverse(z), x, atol=1e-5)
    assert torch.allclose(flow(flow.inverse(x))[0], x, atol=1e-5)


def test_the_inverse_holds_to_1e_5_in_single_precision() -> None:
    torch.manual_seed(0)
    flow = NormalizingFlow(32, blocks=8, hidden=64, depth=4, clamp=3.0)
    x = torch.randn(20, 32)
    assert (flow.inverse(flow(x)[0]) - x).abs().max() < 1e-5


@pytest.mark.parametrize("dimension", [2, 5, 8])
def test_log_determinant_is_that_of_the_jacobian(dimension: int) -> None:
    flow = flow_of(dimension)
    x = torch.randn(4, dimension, dtype=torch.float64)
    _, log_det = flow(x)
    for row, value in zip(x, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], row)
        assert value.item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item())


def test_a_block_transforms_both_halves_behind_a_fixed_permutation() -> None:
    g = torch.Generator().manual_seed(1)
    block = CouplingBlock(6, hidden=4, depth=2, clamp=3.0, generator=g)
    assert sorted(block.permutation.tolist()) == list(range(6))
    x = torch.randn(1, 6)
    assert not (block(x)[0] == x[:, block.permutation]).any()
    state = block.state_dict()
    assert "permutation" in state  # it is saved, so that a loaded model is the same


def test_soft_clamp_is_bounded_and_starts_as_a_slope() -> None:
    s = torch.linspace(-1e4, 1e4, 101)
    assert soft_clamp(s, 3.0).abs().max() < 3.0
    assert (soft_clamp(torch.tensor(1e-3), 3.0) / 1e-3).item() == pytest.approx(0.636, rel=1e-4)


def test_the_score_and_the_loss_of_the_identity_flow() -> None:
    detector = DifferNet({"blocks": 1, "hidden": 4})
    detector.set_input(torch.zeros(6), torch.ones(6))
    for p in detector.parameters():
        torch.nn.init.zeros_(p)
    x = torch.randn(3, 2, 6)
    assert torch.allclose(detector.part_scores(x), x.square().mean(-1))
    assert torch.allclose(detector.losses(x, None), 0.5 * x.square().mean(-1))


def test_differnet_asks_for_the_published_scales() -> None:
    wanted = DifferNet({"scales": 3, "rotations": 8}).wanted_features(["stride8", "stride32"], 448)
    assert wanted["sizes"] == (448, 224, 112)
    assert wanted["layers"] == ("stride32",)
    assert wanted["rotations"] == 8


# -- SimpleNet ---------------------------------------------------------------------------------


def simplenet_with(d: torch.Tensor, options: dict | None = None) -> SimpleNet:
    """A SimpleNet whose discriminator returns the first feature, whatever the input."""
    detector = SimpleNet({"hidden": 1, **(options or {})})
    detector.set_input(torch.zeros(d.shape[-1]), torch.ones(d.shape[-1]))
    detector.discriminate = lambda x, noise: (  # type: ignore[method-assign]
        x[..., 0],
        (x + noise)[..., 0],
    )
    with torch.no_grad():
        detector.adaptor.weight.copy_(torch.eye(d.shape[-1]))
        detector.adaptor.bias.zero_()
    return detector


def test_the_loss_is_the_truncated_hinge() -> None:
    d = torch.tensor([[[2.0], [0.1], [-1.0]]])
    noise = torch.tensor([[[-4.0], [0.0], [2.0]]])  # D(fake) = -2, 0.1, 1
    losses = simplenet_with(d).losses(d, noise)
    assert losses[0].tolist() == pytest.approx([0.0, 0.4 + 0.6, 1.5 + 1.5])


def test_fakes_are_patches_with_noise_behind_the_adaptor() -> None:
    """As by the layers one after the other, on patches and fakes together."""
    torch.manual_seed(0)
    detector = SimpleNet({"hidden": 8})
    samples = detector.fit_input(maps_for("simplenet"))
    noise = torch.randn_like(samples)
    adapted = detector.adaptor(samples)
    both = torch.cat([adapted, adapted + noise]).flatten(0, 1)
    d = detector.head(F.leaky_relu(detector.norm(detector.hidden(both)), 0.2))
    true, fake = d.view(2, *samples.shape[:2])
    expected = F.relu(0.5 - true) + F.relu(0.5 + fake)
    assert torch.allclose(detector.losses(samples, noise), expected, atol=1e-5)


def test_the_score_is_the_odds_in_units_of_the_margin() -> None:
    """By folded matrices as by the layers one after the other."""
    torch.manual_seed(0)
    detector = SimpleNet({"hidden": 8, "margin": 0.7})
    samples = detector.fit_input(maps_for("simplenet"))
    for p in detector.parameters():
        torch.nn.init.normal_(p, std=0.5)
    detector.calibrate(samples)
    flat = samples.flatten(0, 1)
    hidden = detector.hidden(detector.adaptor(flat))
    normalised = (hidden - detector.norm.mean) / (detector.norm.variance + 1e-5).sqrt()
    normalised = normalised * detector.norm.weight + detector.norm.bias
    d = detector.head(torch.nn.functional.leaky_relu(normalised, 0.2)).view(samples.shape[:2])
    scores = detector.part_scores(samples)
    assert torch.allclose(scores, (-d / 0.7).exp(), rtol=1e-4)
    assert (scores > 0).all()
    assert torch.allclose(detector.part_map(scores), -d.view(-1, 4, 4), atol=1e-4)
    far = detector.part_scores(1e6 * samples)
    assert torch.isfinite(far).all() and torch.isfinite(detector.part_map(far)).all()


def test_a_patch_is_its_neighbourhoods_mean_on_the_finest_grid() -> None:
    fine = torch.zeros(1, 1, 4, 4)
    fine[0, 0, 1, 1] = 9.0
    coarse = torch.tensor([[[[1.0, 2], [3, 4]]]])
    detector = SimpleNet({"neighbourhood": 3})
    parts = detector.assemble({"stride8": fine, "stride16": coarse})
    assert parts.shape == (1, 16, 2)
    turned = detector.assemble({"stride16": coarse, "stride8": fine})
    assert torch.equal(turned, parts)
    assert detector.grid == (4, 4)
    around = parts[0, :, 0].view(4, 4)
    assert around[1, 1] == around[2, 2] == 1.0
    assert around[0, 0] == 9 / 4  # the border counts pixels of the image only
    assert around[3, 3] == 0.0
    assert torch.allclose(parts[0, :, 1], torch.full((16,), 2.5))
    assert detector.part_map(torch.ones(1, 16)).shape == (1, 4, 4)


def test_batch_norm_is_pure_in_training_and_exact_in_scoring() -> None:
    norm = BatchNorm(3)
    x = torch.randn(50, 3) * 4 + 7
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    y = norm(x)
    assert torch.allclose(y.mean(0), torch.zeros(3), atol=1e-5)
    assert all(torch.equal(before[k], v) for k, v in norm.state_dict().items())
    norm.mean, norm.variance = x.mean(0), x.var(0, unbiased=False)
    gain, shift = norm.affine()
    assert torch.allclose(gain * x + shift, y, atol=1e-4)


def test_normalisation_for_scoring_is_that_of_weighted_patches_and_their_fakes() -> None:
    g = torch.Generator().manual_seed(0)
    detector = make_detector("simplenet", {"hidden": 8, "noise_std": 0.7})
    assert isinstance(detector, SimpleNet)
    samples = detector.fit_input({"stride8": 5 + 2 * torch.randn(6, 3, 4, 4, generator=g)})
    weights = torch.tensor([1.0, 0.5, 0.0, 1.0, 0.25, 1.0])
    detector.calibrate(samples, weights)
    with torch.no_grad():  # by drawing: many fakes of each patch, as often as its weight says
        drawn = detector.adaptor(samples.flatten(0, 1).repeat(4000, 1))
        fakes = drawn + 0.7 * torch.randn(drawn.shape, generator=g)
        hidden = detector.hidden(torch.cat([drawn, fakes]))
        share = weights.repeat_interleave(16).repeat(8000)[:, None]
        mean = (share * hidden).sum(0) / share.sum()
        variance = (share * (hidden - mean).square()).sum(0) / share.sum()
    assert torch.allclose(detector.norm.mean, mean, atol=0.01)
    assert torch.allclose(detector.norm.variance, variance, rtol=0.01)


@pytest.mark.parametrize("count", [66, 132, 256])
def test_normalisation_for_scoring_is_that_of_the_whole_image(count: int) -> None:
    """Patches lie row after row: every so-maniest of them would be those of a few columns."""
    g = torch.Generator().manual_seed(0)
    across = torch.linspace(-1, 1, 32).expand(count, 2, 32, 32)
    detector = make_detector("simplenet", {"hidden": 8})
    assert isinstance(detector, SimpleNet)
    samples = detector.fit_input({"stride8": across + 0.1 * torch.randn(across.shape, generator=g)})
    detector.calibrate(samples, limit=samples.shape[0] * samples.shape[1])
    mean, variance = detector.norm.mean.clone(), detector.norm.variance.clone()
    detector.calibrate(samples)
    assert ((detector.norm.mean - mean).abs() < 0.05 * variance.sqrt()).all()
    assert torch.allclose(detector.norm.variance, variance, rtol=0.05)


def test_images_without_weight_shift_neither_input_nor_normalisation() -> None:
    g = torch.Generator().manual_seed(0)
    good, bad = torch.randn(10, 3, 4, 4, generator=g), 20 + torch.randn(4, 3, 4, 4, generator=g)
    weights = torch.tensor([1.0] * 10 + [0.0] * 4)
    one, other = (
        make_detector("simplenet", {"hidden": 8}),
        make_detector("simplenet", {"hidden": 8}),
    )
    torch.manual_seed(0)
    samples = one.fit_input({"stride8": torch.cat([good, bad])}, weights)
    torch.manual_seed(0)
    alone = other.fit_input({"stride8": good})
    assert torch.equal(samples[:10], alone)
    one.calibrate(samples, weights)
    other.calibrate(alone)
    assert torch.allclose(one.scores(alone), other.scores(alone), rtol=1e-4)
    one.calibrate(samples)
    assert not torch.allclose(one.scores(alone), other.scores(alone), rtol=1e-2)


def test_a_sketch_is_every_third_patch_of_every_third_row() -> None:
    detector = make_detector("simplenet", {})
    detector.grid = (16, 20)
    samples = torch.arange(2 * 320.0).view(2, 320, 1)
    rows, columns = range(1, 16, 3), range(1, 20, 3)
    wanted = [20 * row + column for row in rows for column in columns]
    assert detector.sketch(samples)[1].squeeze(1).tolist() == [320 + place for place in wanted]
    detector.grid = (8, 40)
    assert detector.sketch(samples) is samples


def test_a_sketch_of_views_is_every_second_one() -> None:
    samples = torch.arange(8.0).view(2, 4, 1)
    sketch = make_detector("differnet", {}).sketch(samples)
    assert sketch.squeeze(-1).tolist() == [[0.0, 2.0], [4.0, 6.0]]


def test_input_is_standardised_over_all_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = {"stride8": 5 + 3 * torch.randn(10, 4, 6, 6)}
    detector = make_detector("simplenet", {"hidden": 8})
    whole = detector.fit_input(maps)
    assert torch.allclose(whole.mean((0, 1)), torch.zeros(4), atol=1e-5)
    assert torch.allclose(whole.std((0, 1), correction=0), torch.ones(4), atol=1e-5)
    monkeypatch.setattr(base, "CHUNK", 3)
    other = make_detector("simplenet", {"hidden": 8})
    assert torch.allclose(other.fit_input(maps), whole, atol=1e-6)
    other.calibrate(whole)
    assert torch.allclose(other.map_scores(maps), other.scores(whole), rtol=1e-4)


def test_large_training_sets_are_sketched_and_images_still_scored_in_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maps = {"stride8": torch.randn(4, 3, 16, 16)}
    monkeypatch.setattr(base, "SAMPLES_MEMORY", 1000)
    detector = make_detector("simplenet", {"hidden": 8})
    samples = detector.fit_input(maps)
    assert samples.shape == (4, 25, 3) and samples.dtype == torch.half
    full = detector.sketch(detector.prepare(maps))
    assert torch.allclose(samples.float(), full, rtol=2e-3, atol=2e-3)
    assert torch.allclose(samples.float().mean((0, 1)), torch.zeros(3), atol=1e-3)
    chosen = TrainingSettings(strategy="comet", epochs=2, warmup_epochs=1, batch_size=2, tasks=1)
    training = fit(detector, maps, list("abcd"), chosen)
    assert detector.scores(samples).shape == (4, 25)
    assert detector.map_scores(maps).shape == (4, 256)
    # So that a training image scores what it would score as a new one.
    assert torch.equal(training.final.image_scores, detector.map_scores(maps).amax(1))
    final = training.final
    assert final.threshold == pytest.approx(iqr_threshold(final.image_scores, 1.5).item())
    expected = (final.threshold / final.image_scores).clamp(max=1)
    assert torch.allclose(final.weights, expected)
    last = training.weights[training.weights["epoch"] == 2]
    assert last["id"].tolist() == list("abcd")
    assert last["score"].tolist() == pytest.approx(final.image_scores.tolist())
    assert last["weight"].tolist() == pytest.approx(final.weights.tolist())
    assert (training.weights["epoch"] < 2).any()


def test_a_detector_that_trains_on_all_parts_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published sizes look at every patch, however many images there are."""
    monkeypatch.setattr(base, "SAMPLES_MEMORY", 1000)
    detector = make_detector("simplenet", {"hidden": 8, "patches": 256})
    assert detector.fit_input({"stride8": torch.randn(4, 3, 16, 16)}).shape == (4, 256, 3)
