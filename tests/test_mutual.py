"""Mutual scores: what is rare among images is strange, whatever its scale and order."""

import pytest
import torch
from torch import Tensor

from comet_core.errors import InputError
from comet_core.mutual import GRID, contrast_scores, image_mutual_scores, mutual_scores


def scenes(count: int = 12, edge: int = 8, width: int = 6) -> Tensor:
    """Maps (N, C, H, W) whose patches are all drawn from four kinds, with a little noise."""
    g = torch.Generator().manual_seed(0)
    kinds = 3 * torch.randn(4, width, generator=g)
    which = torch.randint(4, (count, edge // 4, edge // 4), generator=g)
    maps = kinds[which].movedim(-1, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    return maps + 0.1 * torch.randn(maps.shape, generator=g)


def spoiled(maps: Tensor, *images: int) -> Tensor:
    """The same with a patch of a fifth kind in some images."""
    maps = maps.clone()
    for image in images:
        maps[image, :, 2:5, 2:5] = 9.0
    return maps


def test_an_image_with_what_no_other_has_is_the_strangest_and_it_is_told_where() -> None:
    scores = mutual_scores({"stride8": spoiled(scenes(), 7)})
    assert scores.shape == (12, 8, 8)
    assert image_mutual_scores(scores).argmax() == 7
    row, column = divmod(int(scores[7].argmax()), 8)
    assert 2 <= row <= 4
    assert 2 <= column <= 4


def test_a_defect_in_two_images_is_still_found() -> None:
    scores = image_mutual_scores(mutual_scores({"stride8": spoiled(scenes(), 2, 7)}))
    assert set(scores.topk(2).indices.tolist()) == {2, 7}


def test_scale_and_shift_of_features_do_not_matter() -> None:
    maps = spoiled(scenes(), 7)
    one = mutual_scores({"stride8": maps})
    assert torch.allclose(one, mutual_scores({"stride8": 5 * maps + 3}), atol=0.02)


def test_fine_maps_are_pooled_and_layers_joined() -> None:
    fine = torch.randn(5, 3, 2 * GRID, 3 * GRID)
    scores = mutual_scores({"stride8": fine, "stride16": fine[:, :, ::2, ::2]})
    assert scores.shape == (5, GRID, GRID)


def test_a_twin_is_no_evidence_against_an_image_and_order_does_not_matter() -> None:
    maps = spoiled(scenes(), 7)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    plain = image_mutual_scores(mutual_scores({"stride8": maps}))
    moved = image_mutual_scores(mutual_scores({"stride8": maps[order]}))
    assert plain[order].argmax() == moved.argmax()


def test_the_same_seed_gives_the_same_scores() -> None:
    wide = {"stride8": torch.randn(6, 100, 4, 4)}
    assert torch.equal(mutual_scores(wide, seed=1), mutual_scores(wide, seed=1))
    assert not torch.equal(mutual_scores(wide, seed=1), mutual_scores(wide, seed=2))


def test_one_image_has_nothing_to_be_compared_with() -> None:
    with pytest.raises(InputError, match="from two on, got 1"):
        mutual_scores({"stride8": torch.randn(1, 3, 4, 4)})


def strangeness(count: int = 30, edge: int = 16) -> Tensor:
    """Scores of patches: usual at their place, usual in their image, and some chance."""
    g = torch.Generator().manual_seed(1)
    place = torch.randn(edge, edge, generator=g)
    image = 0.3 * torch.randn(count, 1, 1, generator=g)
    return (place + image + 0.2 * torch.randn(count, edge, edge, generator=g)).exp()


def test_a_defect_stands_out_and_an_image_that_is_odd_all_over_does_not() -> None:
    scores = strangeness()
    scores[4, 3:5, 3:5] *= 8
    scores[9] *= 20
    assert image_mutual_scores(scores).argmax() == 9
    contrast = contrast_scores(scores)
    assert contrast.argmax() == 4
    assert contrast[9] < contrast[:9].median() * 1.5


def test_contrast_by_hand() -> None:
    # Medians of the images: 0, 4, 1; of the places, after that: 0, -1, 0, 0, 1.
    # Residuals: 1 0 0 0 -1 | 0 0 -3 5 0 | -2 0 0 0 3, with medians and first quartiles 0.
    logs = torch.tensor([[1.0, -1, 0, 0, 0], [4, 3, 1, 9, 5], [-1, 0, 1, 1, 5]])
    assert contrast_scores(logs.exp()[:, None]).tolist() == pytest.approx([1, 5, 3], rel=1e-5)
    # First quartiles -1, -1 and 0, so scatters 1, 1 and 0 of median 1; peaks 2, 2 and 0.
    logs = torch.tensor([[-1.0, 1, 0, -2, 2], [1, -1, 0, 2, -2], [0, 0, 0, 0, 0]])
    assert contrast_scores(logs.exp()[:, None]).tolist() == pytest.approx([1, 1, 0], abs=1e-6)


@pytest.mark.parametrize(("edge", "found"), [(2, True), (6, True), (8, True), (15, False)])
def test_a_defect_of_up_to_a_quarter_of_the_image_is_found(edge: int, found: bool) -> None:
    scores = strangeness()
    scores[4, :edge, :edge] *= 8
    others = contrast_scores(scores)
    assert (others.argmax() == 4) == found
    assert image_mutual_scores(scores).argmax() == 4


def test_contrast_does_not_depend_on_the_scale_of_an_image() -> None:
    scores = strangeness()
    scaled = torch.linspace(1, 50, len(scores))[:, None, None] * scores
    assert torch.allclose(contrast_scores(scaled), contrast_scores(scores), rtol=1e-3)


def test_contrast_belongs_to_its_image() -> None:
    scores = strangeness()
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(3))
    assert torch.allclose(contrast_scores(scores[order]), contrast_scores(scores)[order])


@pytest.mark.parametrize("scores", [torch.zeros(4, 3, 3), torch.ones(4, 3, 3), torch.rand(4, 1, 1)])
def test_without_contrast_all_are_alike(scores: Tensor) -> None:
    assert torch.equal(contrast_scores(scores), torch.zeros(4))
