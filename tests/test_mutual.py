"""Mutual scores: what is rare among images is strange, whatever its scale and order."""

import pytest
import torch
from torch import Tensor

from comet_core.errors import InputError
from comet_core.mutual import GRID, image_mutual_scores, mutual_scores


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
