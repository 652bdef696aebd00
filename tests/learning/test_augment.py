"""Crops, mirror images, colours and mixtures against Pillow, numpy and the very pixels they were made of."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor

from alexnet.learning import augment
from alexnet.learning.augment import (
    Boxes,
    colours,
    cut,
    cut_at_once,
    cut_one_by_one,
    cutmix,
    place_boxes,
    resized_shares,
    view_shares,
)

Cut = Callable[..., Tensor]
BOTH = pytest.mark.parametrize("way", [cut_one_by_one, cut_at_once])


def numbered(count: int, side: int) -> Tensor:
    """Pictures of which every pixel says where it is: channels are row, column, and which picture."""
    batch = np.zeros((count, side, side, 3), np.uint8)
    batch[..., 0] = np.arange(side)[:, None]
    batch[..., 1] = np.arange(side)
    batch[..., 2] = np.arange(count)[:, None, None]
    return torch.from_numpy(batch)


def noise(count: int, side: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=random)


def boxes_of(*boxes: tuple[int, int, int, int]) -> Boxes:
    """From (top, left, height, width)."""
    columns = torch.tensor(boxes, dtype=torch.int64).unbind(dim=1)
    return Boxes(top=columns[0], left=columns[1], height=columns[2], width=columns[3])


def uniform(count: int, columns: int, seed: int = 0) -> Tensor:
    return torch.rand(count, columns, generator=torch.Generator().manual_seed(seed))


# --- cutting ----------------------------------------------------------------------------------------------

SOME_BOXES = [
    (0, 0, 40, 40),  # all of it, smaller
    (3, 5, 24, 32),
    (0, 39, 40, 1),  # a column
    (39, 0, 1, 40),
    (7, 11, 1, 1),  # a pixel
    (10, 2, 12, 16),  # its own size: nothing is resampled
    (5, 6, 7, 9),  # larger
    (0, 0, 9, 33),  # larger and smaller
    (31, 7, 9, 33),
]


@BOTH
@pytest.mark.parametrize(("height", "width"), [(12, 16), (24, 24), (1, 1), (5, 60)])
def test_a_crop_is_what_pillow_makes_of_its_box(way: Cut, height: int, width: int) -> None:
    batch = noise(len(SOME_BOXES), 40)
    found = way(batch, boxes_of(*SOME_BOXES), height, width)
    assert (found.dtype, found.shape) == (torch.uint8, (len(SOME_BOXES), height, width, 3))
    for index, (top, left, tall, wide) in enumerate(SOME_BOXES):
        box = Image.fromarray(batch[index, top : top + tall, left : left + wide].numpy())
        expected = np.asarray(box.resize((width, height), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(found[index].numpy().astype(int) - expected).max() <= 1, SOME_BOXES[index]


@BOTH
def test_in_a_smooth_picture_the_box_may_as_well_be_resized_in_its_place(way: Cut) -> None:
    """Pillow then sees what lies around the box; there it is no different."""
    y, x = np.mgrid[0:40, 0:40]
    waves = np.stack([128 + 100 * np.sin((y + x) / 25), 3.0 * x, 250 - 4.0 * y], axis=2)
    picture = np.rint(waves).astype(np.uint8)
    for top, left, tall, wide in SOME_BOXES:
        found = way(torch.from_numpy(picture)[None], boxes_of((top, left, tall, wide)), 12, 16)[0]
        image = Image.fromarray(picture).resize(
            (16, 12), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + tall)
        )
        assert np.abs(found.numpy().astype(int) - np.asarray(image).astype(int)).max() <= 2


@BOTH
def test_a_box_of_the_size_asked_for_is_its_very_pixels(way: Cut) -> None:
    batch = numbered(6, 9)
    places = [(0, 0), (4, 0), (0, 2), (4, 2), (1, 1), (3, 2)]
    found = way(batch, boxes_of(*((top, left, 5, 7) for top, left in places)), 5, 7)
    for index, (top, left) in enumerate(places):
        assert torch.equal(found[index], batch[index, top : top + 5, left : left + 7])


def test_both_ways_of_cutting_agree_on_random_boxes() -> None:
    batch = noise(60, 33)
    boxes = place_boxes(33, uniform(60, 2, seed=1), uniform(60, 2, seed=2))
    first, second = (way(batch, boxes, 10, 13).int() for way in (cut_one_by_one, cut_at_once))
    assert (first - second).abs().max() <= 1
    moved = Boxes(top=boxes.top * 0, left=boxes.left, height=boxes.height, width=boxes.width)
    assert (first - cut_at_once(batch, moved, 10, 13).int()).abs().max() > 1, "the comparison cannot fail"


def test_the_processor_cuts_one_by_one_and_other_devices_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def noted(name: str) -> Cut:
        def note(batch: Tensor, *_: object) -> Tensor:
            called.append(name)
            return batch

        return note

    for name in ("cut_one_by_one", "cut_at_once"):
        monkeypatch.setattr(augment, name, noted(name))
    box = boxes_of((0, 0, 2, 2))
    cut(noise(1, 2), box, 2, 2)
    cut(noise(1, 2).to("meta"), box, 2, 2)
    assert called == ["cut_one_by_one", "cut_at_once"]


@BOTH
def test_no_picture_gives_no_crop(way: Cut) -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    boxes = Boxes(top=nothing, left=nothing, height=nothing, width=nothing)
    assert way(noise(0, 8), boxes, 4, 5).shape == (0, 4, 5, 3)


# --- boxes ------------------------------------------------------------------------------------------------


def test_a_box_lies_at_every_place_alike_often_and_never_outside() -> None:
    share = torch.tensor([[0.5, 0.8]]).expand(6000, 2)
    boxes = place_boxes(10, share, uniform(6000, 2))
    assert set(boxes.height.tolist()) == {5}
    assert set(boxes.width.tolist()) == {8}
    counts = np.bincount(boxes.top.numpy() * 3 + boxes.left.numpy(), minlength=18)
    assert len(counts) == 18  # tops 0 to 5, lefts 0 to 2
    # 6000 / 18 = 333 each, of deviation 18: five of them.
    assert counts.min() > 240
    assert counts.max() < 430


@pytest.mark.parametrize(
    ("place", "corner"), [(0.0, 0), (0.24, 0), (0.26, 1), (0.5, 2), (0.76, 3), (0.9999999, 3), (1.0, 3)]
)
def test_places_from_0_to_1_go_from_one_end_to_the_other(place: float, corner: int) -> None:
    boxes = place_boxes(7, torch.tensor([[4 / 7, 4 / 7]]), torch.tensor([[place, 1 - place]]))
    assert (boxes.top.item(), boxes.height.item()) == (corner, 4)


@pytest.mark.parametrize(("room", "corner"), [(0, 0), (2, 1), (4, 2), (6, 3)])
def test_a_half_is_the_middle(room: int, corner: int) -> None:
    boxes = place_boxes(5 + room, torch.full((1, 2), 5 / (5 + room)), torch.full((1, 2), 0.5))
    assert (boxes.top.item(), boxes.left.item()) == (corner, corner)


def test_a_box_has_at_least_a_pixel_and_at_most_the_picture() -> None:
    boxes = place_boxes(9, torch.tensor([[1e-6, 1.0], [1.0, 1e-6]]), torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    assert (boxes.height.tolist(), boxes.width.tolist()) == ([1, 9], [9, 1])
    assert (boxes.top.tolist(), boxes.left.tolist()) == ([8, 0], [0, 8])


@pytest.mark.parametrize("aspect", [0.75, 1.0, 4 / 3])
def test_resized_crops_have_their_area_and_shape_in_the_picture_as_it_was(aspect: float) -> None:
    draws = uniform(4000, 2)
    height, width = resized_shares(draws, torch.full((4000,), aspect), least=0.35).unbind(dim=1)
    area, shape = height * width, width * aspect / height
    assert 0.3499 < area.min() < 0.37
    assert 0.93 < area.max() <= 1.0
    assert 0.7499 < shape.min() < 0.76
    assert 1.32 < shape.max() < 1.3334


def test_of_a_square_picture_areas_and_shapes_are_uniform() -> None:
    """Areas evenly, shapes evenly by their logarithm."""
    draws = uniform(20_000, 2)
    height, width = resized_shares(draws, torch.ones(20_000), least=0.1, stretch=1.2).unbind(dim=1)
    area, shape = height * width, width / height
    counts, _ = np.histogram(area.numpy(), bins=10, range=(0.1, 1.0))
    assert counts.sum() == 20_000
    assert counts.min() > 0.9 * counts.mean()
    assert counts.max() < 1.1 * counts.mean()
    small = area < 1 / 1.2  # above, not every shape fits
    counts, _ = np.histogram(np.log(shape[small].numpy()) / np.log(1.2), bins=10, range=(-1, 1))
    assert counts.min() > 0.88 * counts.mean()
    assert counts.max() < 1.12 * counts.mean()


def test_a_box_of_nearly_all_of_a_picture_has_nearly_its_shape() -> None:
    height, width = resized_shares(uniform(4000, 2), torch.ones(4000), least=0.95).unbind(dim=1)
    assert (height * width).min() > 0.9499
    assert 0.9499 < (width / height).min() < 0.96
    assert 1.04 < (width / height).max() < 1 / 0.9499
    whole = resized_shares(uniform(50, 2), torch.full((50,), 0.9), least=1.0)
    torch.testing.assert_close(whole, torch.ones(50, 2))


@pytest.mark.parametrize("aspect", [0.25, 0.5, 1.5, 2.0, 3.0])
def test_what_does_not_fit_into_an_elongated_picture_is_cut_off_at_its_edges(aspect: float) -> None:
    height, width = resized_shares(uniform(4000, 2), torch.full((4000,), aspect), least=0.35).unbind(dim=1)
    assert max(height.max(), width.max()) == 1.0
    shape = width * aspect / height
    # Never more elongated than the stretch allows, or than the picture is.
    assert shape.min() > min(0.7499, aspect)
    assert shape.max() < max(1.3334, aspect)
    area = height * width
    # As high as a picture of 3:1, and 4/3 times as wide as that: 4/9 of it.
    assert area.min() > min(0.3499, 4 / 3 * min(aspect, 1 / aspect) - 1e-4)


@pytest.mark.parametrize(
    ("aspect", "height", "width"), [(1.0, 0.8, 0.8), (2.0, 0.8, 0.4), (0.5, 0.4, 0.8), (4 / 3, 0.8, 0.6)]
)
def test_the_view_s_crop_is_a_square_in_the_picture_as_it_was(
    aspect: float, height: float, width: float
) -> None:
    found = view_shares(torch.tensor([aspect]), share=0.8)
    torch.testing.assert_close(found, torch.tensor([[height, width]]))


# --- mirror images ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("size", [(5, 5), (4, 3)])
def test_a_mirror_image_is_the_picture_from_right_to_left(way: Cut, size: tuple[int, int]) -> None:
    batch, boxes = numbered(6, 5), boxes_of(*[(0, 0, 5, 5)] * 6)
    chosen = torch.tensor([True, False, True, True, False, False])
    straight, found = way(batch, boxes, *size), way(batch, boxes, *size, chosen)
    for index, turned in enumerate(chosen.tolist()):
        expected = straight[index].numpy()[:, ::-1] if turned else straight[index].numpy()
        np.testing.assert_array_equal(found[index].numpy(), expected)
    assert torch.equal(batch, numbered(6, 5))


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_however_many_threads_cut_the_pictures_are_the_same(threads: int) -> None:
    batch, boxes = noise(5, 33), place_boxes(33, uniform(5, 2, seed=1), uniform(5, 2, seed=2))
    before = torch.get_num_threads()
    expected = cut_one_by_one(batch, boxes, 10, 13)
    try:
        torch.set_num_threads(threads)
        assert torch.equal(cut_one_by_one(batch, boxes, 10, 13), expected)
    finally:
        torch.set_num_threads(before)


# --- colours ----------------------------------------------------------------------------------------------

COMPONENTS = [[3.0, 2.0, 1.0], [0.0, 5.0, -1.0], [0.5, 0.0, 4.0]]
MIDDLE = [120.0, 110.0, 90.0]


def coloured_by_hand(pixel: list[float], draws: list[float], *, jitter: float, noise: float) -> list[float]:
    """Contrast about the mean colour, then brightness, then noise along the components."""
    contrast, brightness = 1 + jitter * (2 * draws[0] - 1), 1 + jitter * (2 * draws[1] - 1)
    normal = [NormalDist().inv_cdf(each) for each in draws[2:]]
    return [
        ((value - middle) * contrast + middle) * brightness
        + noise
        * sum(amount * component[channel] for amount, component in zip(normal, COMPONENTS, strict=True))
        for channel, (value, middle) in enumerate(zip(pixel, MIDDLE, strict=True))
    ]


@pytest.mark.parametrize(("jitter", "noise"), [(0.0, 0.1), (0.4, 0.0), (0.3, 2.0), (0.0, 0.0)])
def test_colours_are_contrast_brightness_and_noise_by_hand(jitter: float, noise: float) -> None:
    draws = [[0.5] * 5, [0.1, 0.9, 0.2, 0.7, 0.6], [0.99, 0.3, 0.999, 0.5, 0.01]]
    colour = colours(
        torch.tensor(draws),
        jitter=jitter,
        components=torch.tensor(COMPONENTS),
        noise=noise,
        middle=torch.tensor(MIDDLE),
    )
    assert (colour.gain.shape, colour.shift.shape) == ((3, 1), (3, 3))
    for pixel in ([0.0, 0.0, 0.0], [10.0, 200.0, 255.0]):
        changed = torch.tensor(pixel) * colour.gain + colour.shift
        expected = [coloured_by_hand(pixel, row, jitter=jitter, noise=noise) for row in draws]
        np.testing.assert_allclose(changed.numpy(), expected, rtol=1e-4, atol=1e-3)
    assert colour.gain[0].item() == 1.0
    np.testing.assert_allclose(colour.shift[0].numpy(), 0.0, atol=1e-4)  # draws of a half change nothing


def test_noise_has_its_strength_and_is_finite_at_the_ends() -> None:
    draws = torch.full((20_002, 5), 0.5)
    draws[:20_000, 2:] = uniform(20_000, 3)
    draws[20_000], draws[20_001] = 0.0, 1 - 2**-24  # the least and the greatest that torch.rand gives
    shift = colours(
        draws, jitter=0.0, components=torch.tensor(COMPONENTS), noise=0.1, middle=torch.tensor(MIDDLE)
    ).shift
    assert shift.isfinite().all()
    # Independent normal amounts of three components: variances add up.
    deviations = [
        0.1 * sqrt(sum(component[channel] ** 2 for component in COMPONENTS)) for channel in range(3)
    ]
    np.testing.assert_allclose(shift[:20_000].numpy().std(axis=0), deviations, rtol=0.03)
    np.testing.assert_allclose(shift[:20_000].numpy().mean(axis=0), 0.0, atol=0.02)


# --- mixtures ---------------------------------------------------------------------------------------------


def mixed_by_hand(
    before: npt.NDArray[np.uint8], partner: list[int], top: int, left: int, tall: int, wide: int
) -> npt.NDArray[np.uint8]:
    after = before.copy()
    for index, other in enumerate(partner):
        for y in range(top, top + tall):
            for x in range(left, left + wide):
                after[index, y, x] = before[other, y, x]
    return after


@pytest.mark.parametrize(
    ("count", "partner"),
    [
        (1, [0]),
        (2, [1, 0]),
        (3, [1, 0, 2]),
        (6, [1, 0, 3, 2, 5, 4]),
        (7, [1, 0, 3, 2, 5, 4, 6]),
    ],
)
def test_one_box_of_each_neighbour_is_pasted_into_its_place(count: int, partner: list[int]) -> None:
    batch = noise(count, 8)
    before = batch.numpy().copy()
    # A quarter of the area is a box of 4 x 4; of the 4 pixels of room, half above it and a quarter beside.
    mixture = cutmix(batch, torch.tensor([0.25, 0.5, 0.25]))
    assert mixture.partner.tolist() == partner
    assert mixture.own == 0.75
    np.testing.assert_array_equal(batch.numpy(), mixed_by_hand(before, partner, 2, 1, 4, 4))


def test_in_an_oblong_picture_the_box_is_as_oblong() -> None:
    batch = torch.cat([noise(4, 10)[:, :5], noise(4, 10, seed=1)[:, :5]], dim=2)  # 5 x 20
    before = batch.numpy().copy()
    # A root of 0.36 is 0.6: 3 x 12 pixels of 5 x 20, in the corner at the end.
    mixture = cutmix(batch, torch.tensor([0.36, 1.0, 1.0]))
    assert mixture.own == pytest.approx(1 - 36 / 100)
    np.testing.assert_array_equal(batch.numpy(), mixed_by_hand(before, [1, 0, 3, 2], 2, 8, 3, 12))


@pytest.mark.parametrize(("area", "own"), [(0.0, 1.0), (1e-9, 1.0), (1.0, 0.0)])
def test_a_box_may_be_nothing_or_everything(area: float, own: float) -> None:
    batch = noise(4, 8)
    before = batch.clone()
    mixture = cutmix(batch, torch.tensor([area, 0.3, 0.6]))
    assert mixture.own == own
    assert torch.equal(batch, before if own == 1 else before[[1, 0, 3, 2]])


def test_the_share_that_is_a_picture_s_own_is_counted_in_pixels_and_uniform() -> None:
    shares = []
    for draws in uniform(400, 3):
        batch = numbered(2, 12)
        mixture = cutmix(batch, draws)
        assert float((batch[0, ..., 2] == 0).float().mean()) == pytest.approx(mixture.own)
        shares.append(mixture.own)
    # Uniform from 0 to 1: mean 1/2, deviation 0.29 / 20 = 0.014.
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
    assert np.histogram(shares, bins=4, range=(0, 1))[0].min() > 60


def test_no_picture_is_mixed_with_none() -> None:
    assert cutmix(noise(0, 8), torch.tensor([0.25, 0.5, 0.5])).partner.tolist() == []
