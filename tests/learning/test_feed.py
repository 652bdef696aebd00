"""The batches of an epoch: what is in them, and that neither a stop nor other processes change them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from alexnet.errors import DataError, PictureError
from alexnet.images.decode import Picture
from alexnet.images.packed import pack, whole
from alexnet.images.splits import Dataset, LazyPictures, Split
from alexnet.images.views import View, canvas, center
from alexnet.learning.feed import Feed
from alexnet.learning.processes import Processes
from alexnet.learning.recipe import Recipe
from alexnet.learning.source import Source, Statistics, packed_source
from alexnet.learning.step import TrainingBatch

COUNT, SIDE = 23, 16
PICTURES = [
    np.random.default_rng(index).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for index in range(COUNT)
]
FLAT = [np.full((SIDE, SIDE, 3), index, np.uint8) for index in range(COUNT)]
LABELS = np.arange(COUNT, dtype=np.int64) % 4
VIEW = View(height=12, width=12, resize=SIDE)
PLAIN = Recipe(batch_size=8, mirror=False, crop="centre", jitter=0.0, build_up=0.0)
EVERYTHING = Recipe(
    batch_size=6,
    mirror=True,
    crop="resized",
    least_area=0.3,
    jitter=0.3,
    colour_noise=0.5,
    cutmix=0.5,
    build_up=0.0,
)


def feed_of(
    pictures: Sequence[Picture] = PICTURES,
    *,
    recipe: Recipe = EVERYTHING,
    labels: np.ndarray[tuple[int], np.dtype[np.int64]] = LABELS,
    aspects: Sequence[float] = (0.6, 1.0, 1.5),
    view: View = VIEW,
    **settings: object,
) -> Feed:
    """Squares that were of different aspects, by turns."""
    shapes = np.resize(np.array(aspects, np.float32), len(pictures))
    source = Source(
        pictures=pictures,
        aspects=lambda chosen: shapes[chosen],
        labels=labels,
        side=view.resize,
        share=max(view.height, view.width) / view.resize,
        unreadable=list,
    )
    statistics = Statistics(
        mean=(120.0, 110.0, 100.0),
        scale=(60.0, 60.0, 60.0),
        components=((1.0, 2.0, 3.0), (4.0, -1.0, 0.0), (0.0, 5.0, 6.0)),
    )
    usual: dict[str, object] = {"seed": 3, "device": torch.device("cpu"), "workers": 0}
    return Feed(source=source, statistics=statistics, view=view, recipe=recipe, **(usual | settings))  # type: ignore[arg-type]


def with_unreadable(bad: set[int], pictures: Sequence[Picture] = PICTURES) -> LazyPictures[int]:
    def read(index: int) -> Picture:
        if index in bad:
            raise PictureError(f"{index}.jpg: empty")
        return pictures[index]

    return LazyPictures(range(len(pictures)), read)


def tensors(batch: TrainingBatch) -> dict[str, Tensor]:
    """All that is in a batch, and the next number that dropout would draw."""
    found = {"step": torch.tensor(batch.step), "total": torch.tensor(batch.total), "dropout": torch.rand(3)}
    found |= {name: getattr(batch, name) for name in ("pictures", "labels", "places")}
    for part in (batch.colour, batch.mixture):
        if part is not None:
            found |= {each.name: torch.as_tensor(getattr(part, each.name)) for each in fields(part)}
    return found


def equal(ours: TrainingBatch, others: dict[str, Tensor]) -> bool:
    found = tensors(ours)
    return found.keys() == others.keys() and all(torch.equal(found[name], others[name]) for name in found)


def order_of(feed: Feed, epoch: int = 1) -> list[int]:
    """Which pictures an epoch has, in order, where each is of one grey level."""
    return [int(picture[0, 0, 0]) for batch in feed.epoch(epoch) for picture in batch.pictures]


# --- what an epoch has ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_has_every_picture_once_with_its_label(workers: int) -> None:
    feed = feed_of(FLAT, recipe=PLAIN, workers=workers)
    batches = list(feed.epoch(1))
    assert feed.steps == len(batches) == 3
    assert [batch.step for batch in batches] == [0, 1, 2]
    assert [(len(batch.labels), batch.total) for batch in batches] == [(8, 8), (8, 8), (7, 7)]
    assert sorted(order_of(feed)) == list(range(COUNT))
    for batch in batches:
        assert (batch.pictures.dtype, batch.labels.dtype) == (torch.uint8, torch.int64)
        assert batch.pictures.shape == (len(batch.labels), 12, 12, 3)
        assert batch.labels.tolist() == [index % 4 for index in batch.pictures[:, 0, 0, 0].tolist()]
        assert batch.places.tolist() == list(range(len(batch.labels)))
        assert (batch.colour, batch.mixture) == (None, None)


def test_the_order_is_of_the_seed_and_the_epoch() -> None:
    orders = {
        (seed, epoch): order_of(feed_of(FLAT, recipe=PLAIN, seed=seed), epoch)
        for seed in (0, 1)
        for epoch in (1, 2)
    }
    assert len({tuple(order) for order in [*orders.values(), list(range(COUNT))]}) == 5
    assert order_of(feed_of(FLAT, recipe=PLAIN, seed=1), 2) == orders[1, 2]


def test_a_batch_is_augmented_anew_in_each_epoch_and_by_each_seed() -> None:
    one = replace(EVERYTHING, batch_size=1, cutmix=0.0)
    same = [PICTURES[0]] * 2
    pictures = [
        next(feed_of(same, recipe=one, labels=LABELS[:2], aspects=[1.0], seed=seed).epoch(epoch)).pictures
        for seed, epoch in ((0, 1), (0, 2), (1, 1), (0, 1))
    ]
    assert torch.equal(pictures[0], pictures[3])
    assert not any(torch.equal(pictures[0], other) for other in pictures[1:3])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("first", [0, 1, 3, 4])
def test_an_epoch_taken_up_at_a_step_is_the_rest_of_it_to_the_last_bit(workers: int, first: int) -> None:
    expected = [tensors(batch) for batch in feed_of().epoch(2)]
    assert {"partner" in each for each in expected} == {True, False}
    torch.manual_seed(99)  # wherever torch's own generators stand
    rest = feed_of(workers=workers).epoch(2, first=first)
    matched = [equal(batch, other) for batch, other in zip(rest, expected[first:], strict=True)]
    assert matched == [True] * (4 - first)


def test_the_comparison_of_batches_can_fail() -> None:
    expected = [tensors(batch) for batch in feed_of().epoch(2)]
    changed = {
        "epoch": feed_of().epoch(3),
        "seed": feed_of(seed=4).epoch(2),
        "jitter": feed_of(recipe=replace(EVERYTHING, jitter=0.2)).epoch(2),
        "cutmix": feed_of(recipe=replace(EVERYTHING, cutmix=0.0)).epoch(2),
        "build-up": feed_of(recipe=replace(EVERYTHING, build_up=4.0)).epoch(2),
    }
    for what, batches in changed.items():
        found = [equal(batch, other) for batch, other in zip(batches, expected, strict=True)]
        assert not all(found), what


def test_what_varies_grows_by_the_part_of_an_epoch_that_is_done() -> None:
    """Four steps an epoch: the third step of the second is one and a half epochs into the run."""
    assert feed_of(recipe=EVERYTHING).steps == 4
    growing = replace(EVERYTHING, dropout=0.5, build_up=3.0)
    half = replace(EVERYTHING, least_area=0.65, jitter=0.15, colour_noise=0.25, cutmix=0.25, dropout=0.25)
    (_, _, found, _), (_, _, expected, _) = (
        list(feed_of(recipe=recipe).epoch(2)) for recipe in (growing, half)
    )
    assert found.dropout == pytest.approx(0.25)
    for part in ("pictures", "labels"):
        assert torch.equal(getattr(found, part), getattr(expected, part))
    assert found.colour is not None
    assert expected.colour is not None
    torch.testing.assert_close(found.colour.gain, expected.colour.gain)
    torch.testing.assert_close(found.colour.shift, expected.colour.shift)


# --- processes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    "recipe", [EVERYTHING, replace(EVERYTHING, batch_size=9, cutmix=1.0)], ids=["6", "9"]
)
def test_the_parts_of_processes_are_together_the_batch_of_one(count: int, recipe: Recipe) -> None:
    whole_ones = [(batch, tensors(batch)) for batch in feed_of(recipe=recipe).epoch(1)]
    parts = [
        [
            (batch, tensors(batch))
            for batch in feed_of(recipe=recipe, processes=Processes(rank=rank, count=count)).epoch(1)
        ]
        for rank in range(count)
    ]
    assert [len(each) for each in parts] == [len(whole_ones)] * count
    for step, (expected, told) in enumerate(whole_ones):
        pieces = [part[step][1] for part in parts]
        for name in ("pictures", "labels", "places", "gain", "shift"):
            assert torch.equal(torch.cat([piece[name] for piece in pieces]), told[name]), name
        for name in ("step", "total", "dropout"):
            assert all(torch.equal(piece[name], told[name]) for piece in pieces), name
        if expected.mixture is None:
            assert not any("partner" in piece for piece in pieces)
            continue
        assert all(torch.equal(piece["own"], told["own"]) for piece in pieces)
        partners = [piece["places"][piece["partner"]] for piece in pieces]
        assert torch.equal(torch.cat(partners), expected.mixture.partner)


def test_a_process_whose_part_cannot_be_read_has_an_empty_one() -> None:
    """The others wait for it at every step."""
    order = order_of(feed_of(FLAT, recipe=PLAIN))
    bad = set(order[4:8])
    batches = [
        list(
            feed_of(
                with_unreadable(bad, FLAT),
                recipe=replace(PLAIN, cutmix=1.0, jitter=0.5),
                processes=Processes(rank=rank, count=2),
                most_unreadable=0.5,
            ).epoch(1)
        )
        for rank in range(2)
    ]
    assert [[len(batch.labels) for batch in each] for each in batches] == [[4, 4, 4], [0, 4, 3]]
    assert [batch.total for batch in batches[1]] == [8, 8, 7]
    assert batches[1][0].pictures.shape == (0, 12, 12, 3)


# --- pictures that cannot be read -------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_that_cannot_be_read_are_left_out_and_the_others_are_as_before(workers: int) -> None:
    recipe = replace(EVERYTHING, batch_size=8, cutmix=0.0)
    bad = {2, 11, 12}
    feed = feed_of(with_unreadable(bad), recipe=recipe, workers=workers, most_unreadable=0.2)
    order = order_of(feed_of(FLAT, recipe=PLAIN))
    left_out = 0
    for batch, expected in zip(feed.epoch(1), feed_of(recipe=recipe).epoch(1), strict=True):
        asked = order[8 * batch.step : 8 * batch.step + 8]
        there = [place for place, index in enumerate(asked) if index not in bad]
        left_out += len(asked) - len(there)
        assert batch.places.tolist() == there
        assert (batch.step, batch.total) == (expected.step, len(asked))
        assert batch.colour is not None
        assert expected.colour is not None
        for ours, others in (
            (batch.pictures, expected.pictures),
            (batch.labels, expected.labels),
            (batch.colour.gain, expected.colour.gain),
            (batch.colour.shift, expected.colour.shift),
        ):
            assert torch.equal(ours, others[there])
    assert left_out == 3


def test_a_batch_of_which_none_can_be_read_does_not_come() -> None:
    order = order_of(feed_of(FLAT, recipe=PLAIN))
    feed = feed_of(with_unreadable(set(order[8:16]), FLAT), recipe=PLAIN, most_unreadable=0.5)
    assert [(batch.step, len(batch.labels)) for batch in feed.epoch(1)] == [(0, 8), (2, 7)]


@pytest.mark.parametrize("most", [0.0, 0.05, 2 / COUNT - 1e-9])
def test_more_of_them_than_may_be_end_the_run(most: float) -> None:
    feed = feed_of(with_unreadable({5, 9}, FLAT), recipe=PLAIN, most_unreadable=most)
    with pytest.raises(DataError) as caught:
        list(feed.epoch(1))
    text = str(caught.value)
    assert text.startswith(("5.jpg: empty; ", "9.jpg: empty; "))
    assert f"of {COUNT} training pictures cannot be read" in text
    assert f"at most {most:.0%} may be" in text
    assert "--most-unreadable" in text
    assert "\n" not in text


def test_where_none_can_be_read_there_is_no_run_however_many_may_be() -> None:
    feed = feed_of(with_unreadable(set(range(COUNT)), FLAT), recipe=PLAIN, most_unreadable=1.0)
    with pytest.raises(DataError, match=rf"{COUNT} of {COUNT} training pictures cannot be read; one must"):
        list(feed.epoch(1))


def test_as_many_as_may_be_are_left_out_epoch_after_epoch() -> None:
    """The same two in each: they are not counted twice."""
    feed = feed_of(with_unreadable({5, 9}, FLAT), recipe=PLAIN, most_unreadable=2 / COUNT)
    for epoch in (1, 2, 3):
        assert sorted(order_of(feed, epoch)) == [index for index in range(COUNT) if index not in (5, 9)]


# --- classes of uneven number -----------------------------------------------------------------------------


def test_balance_by_sampling_draws_each_class_alike_often() -> None:
    labels = np.repeat(np.arange(3), [1, 19, 3]).astype(np.int64)
    drawn = {balance: np.zeros(3, np.int64) for balance in ("none", "sampling")}
    seen: set[int] = set()
    for balance in drawn:
        feed = feed_of(FLAT, labels=labels, recipe=replace(PLAIN, balance=balance))  # type: ignore[arg-type]
        for epoch in range(1, 61):
            for batch in feed.epoch(epoch):
                drawn[balance] += np.bincount(batch.labels.numpy(), minlength=3)
                np.testing.assert_array_equal(labels[batch.pictures[:, 0, 0, 0].numpy()], batch.labels)
                if balance == "sampling":
                    seen.update(batch.pictures[:, 0, 0, 0].tolist())
    assert drawn["none"].tolist() == [60, 60 * 19, 60 * 3]
    # 1,380 draws, a third of them 460 with a deviation of 18.
    assert drawn["sampling"].sum() == 60 * COUNT
    assert abs(drawn["sampling"] - 460).max() < 90
    assert seen == set(range(COUNT))  # within a class, too, each has its turn


def test_sampling_with_pictures_that_cannot_be_read_keeps_labels_and_places_together() -> None:
    labels = np.repeat(np.arange(3), [1, 19, 3]).astype(np.int64)
    recipe = replace(PLAIN, balance="sampling")
    order = order_of(feed_of(FLAT, labels=labels, recipe=recipe))
    feed = feed_of(with_unreadable({0}, FLAT), labels=labels, recipe=recipe, most_unreadable=0.5)
    for batch in feed.epoch(1):
        asked = order[8 * batch.step : 8 * batch.step + 8]
        assert asked.count(0) > 1  # the only one of its class, several times
        assert batch.places.tolist() == [place for place, index in enumerate(asked) if index != 0]
        assert batch.pictures[:, 0, 0, 0].tolist() == [index for index in asked if index != 0]


# --- crops ------------------------------------------------------------------------------------------------


def numbered(side: int) -> Picture:
    """Channels are row and column."""
    picture = np.zeros((side, side, 3), np.uint8)
    picture[..., 0] = np.arange(side)[:, None]
    picture[..., 1] = np.arange(side)
    return picture


def cropped(recipe: Recipe, *, aspect: float = 1.0, view: View = VIEW, pictures: int = 400) -> Tensor:
    feed = feed_of(
        [numbered(view.resize)] * pictures,
        recipe=recipe,
        aspects=[aspect],
        view=view,
        labels=np.zeros(pictures, np.int64),
    )
    return torch.cat([batch.pictures for batch in feed.epoch(1)])


def test_the_centre_is_the_middle_of_the_square() -> None:
    found = cropped(PLAIN, pictures=3).numpy()
    np.testing.assert_array_equal(found, np.stack([numbered(SIDE)[2:14, 2:14]] * 3))


def test_shifted_crops_come_from_everywhere_at_the_view_s_own_size() -> None:
    found = cropped(replace(PLAIN, crop="shifted")).numpy()
    places = {(int(crop[0, 0, 0]), int(crop[0, 0, 1])) for crop in found}
    assert places == {(top, left) for top in range(5) for left in range(5)}
    for crop in found:
        top, left = crop[0, 0, :2]
        np.testing.assert_array_equal(crop, numbered(SIDE)[top : top + 12, left : left + 12])


@pytest.mark.parametrize("aspect", [2.0, 0.5])
def test_shifted_crops_of_an_oblong_picture_stay_in_the_middle_square(aspect: float) -> None:
    """Of a picture twice as wide as high, stretched to 64 x 64, that is columns 16 to 48."""
    view = View(height=48, width=48, resize=64)
    found = cropped(replace(PLAIN, crop="shifted"), aspect=aspect, view=view).numpy().astype(int)
    across, along = (0, 1) if aspect > 1 else (1, 0)
    first, last = found[:, :1, :1].squeeze((1, 2)), found[:, -1:, -1:].squeeze((1, 2))
    # 48 of 64 rows, from 0 to 16; 24 columns, from 16 to 24: their first ones, and both ends are reached.
    assert (first[:, across].min(), first[:, across].max()) == (0, 16)
    assert first[:, along].min() in (16, 17)
    assert last[:, along].max() in (46, 47)
    assert ((last - first)[:, along] >= 22).all()
    assert ((last - first)[:, along] <= 24).all()


def test_resized_crops_are_of_many_sizes() -> None:
    found = cropped(replace(PLAIN, crop="resized", least_area=0.1)).numpy().astype(int)
    heights = np.unique(found[:, -1, 0, 0] - found[:, 0, 0, 0])
    assert heights.min() <= 5
    assert heights.max() >= 14
    all_of_it = cropped(replace(PLAIN, crop="resized", least_area=1.0), pictures=50).numpy().astype(int)
    assert all_of_it[..., 0].min() <= 1
    assert all_of_it[..., 0].max() >= 14


def test_half_of_the_pictures_are_mirrored_where_that_is_asked_for() -> None:
    for mirrored, expected in ((True, 200), (False, 0)):
        found = cropped(replace(PLAIN, mirror=mirrored)).numpy().astype(int)
        turned = (found[:, 0, 0, 1] > found[:, 0, -1, 1]).sum()
        assert turned == pytest.approx(expected, abs=50)  # of 400 at one half the deviation is 10


def smooth(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [128 + 90 * np.sin(5 * x + 2 * y), 250 * x, 200 * y + 30 * np.cos(4 * x)]
    return Image.fromarray(np.clip(np.stack(waves, axis=2), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [(300, 300), (400, 250), (180, 420)])
@pytest.mark.parametrize(
    "view", [View.of(96, 96), View.of(64, 96), View.of(96, 72)], ids=["square", "wide", "high"]
)
def test_the_centre_crop_is_what_validation_has(tmp_path: Path, size: tuple[int, int], view: View) -> None:
    """From a square into which the picture was squeezed: smooth pictures lose nothing by that."""
    path = tmp_path / "a.png"
    smooth(*size).save(path)
    picture = np.asarray(smooth(*size))
    split = Split(
        pictures=LazyPictures([path], lambda _: picture), labels=np.zeros(1, np.int64), names=[str(path)]
    )
    data = Dataset(
        name="one",
        source=str(tmp_path),
        class_names=("a",),
        train=split,
        validation=split,
        test=None,
        mirror=True,
        tight=False,
    )
    packed = pack(split, form=whole(view.resize), folder=tmp_path / "pack", on_notice=pytest.fail)
    feed = replace(feed_of(recipe=PLAIN, view=view), source=packed_source(data, view, packed))
    (batch,) = feed.epoch(1)
    expected = center(picture, view).astype(int)
    # A pixel of the square is two of the picture's shorter side at most: the crop may lie one beside.
    allowed = 8
    assert np.abs(batch.pictures[0].numpy().astype(int) - expected).max() <= allowed
    stretched = np.asarray(Image.fromarray(canvas(picture, view)).resize((view.width, view.height)))
    if view.height != view.width:
        assert np.abs(stretched.astype(int) - expected).max() > allowed, "the comparison cannot fail"
    packed.close()
