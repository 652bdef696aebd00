"""Crops and mirror images against the very pixels of the pictures that they were made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from alexnet.learning.augment import random_crops, random_mirror


def numbered(count: int, rows: int, columns: int) -> torch.Tensor:
    """Pictures of which every pixel says where it is: channels are row, column, and which picture."""
    batch = np.zeros((count, rows, columns, 3), np.uint8)
    batch[..., 0] = np.arange(rows)[:, None]
    batch[..., 1] = np.arange(columns)
    batch[..., 2] = np.arange(count)[:, None, None]
    return torch.from_numpy(batch)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width"), [(5, 7), (9, 7), (5, 12), (1, 1)])
def test_a_crop_is_a_rectangle_of_its_own_picture(height: int, width: int) -> None:
    crops = random_crops(numbered(40, 9, 12), height, width, generator=generator()).numpy()
    assert crops.shape == (40, height, width, 3)
    for index, crop in enumerate(crops):
        top, left = int(crop[0, 0, 0]), int(crop[0, 0, 1])
        assert top + height <= 9
        assert left + width <= 12
        np.testing.assert_array_equal(
            crop, numbered(40, 9, 12)[index, top : top + height, left : left + width]
        )


def test_crops_come_from_everywhere() -> None:
    crops = random_crops(numbered(200, 6, 7), 4, 5, generator=generator())
    places = {(int(crop[0, 0, 0]), int(crop[0, 0, 1])) for crop in crops}
    assert places == {(top, left) for top in range(3) for left in range(3)}


def test_a_picture_of_the_size_asked_for_is_left_as_it_is() -> None:
    batch = numbered(3, 4, 5)
    assert torch.equal(random_crops(batch, 4, 5, generator=generator()), batch)


def test_a_mirror_image_is_the_picture_from_right_to_left() -> None:
    batch = numbered(200, 3, 5)
    found = random_mirror(batch, generator=generator()).numpy()
    plain = batch.numpy()
    mirrored = 0
    for picture, before in zip(found, plain, strict=True):
        if (picture == before).all():
            continue
        np.testing.assert_array_equal(picture, before[:, ::-1])
        mirrored += 1
    assert 70 <= mirrored <= 130  # of 200 at one half: the deviation is 7, so this is four of them
    np.testing.assert_array_equal(plain, numbered(200, 3, 5).numpy())


def crop(seed: int) -> torch.Tensor:
    return random_crops(numbered(50, 8, 8), 5, 5, generator=generator(seed))


def mirror(seed: int) -> torch.Tensor:
    return random_mirror(numbered(50, 8, 8), generator=generator(seed))


@pytest.mark.parametrize("change", [crop, mirror])
def test_the_generator_alone_decides(change: Callable[[int], torch.Tensor]) -> None:
    torch.manual_seed(1)
    first = change(0)
    torch.manual_seed(2)
    assert torch.equal(change(0), first)
    assert not torch.equal(change(1), first)
