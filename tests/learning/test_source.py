"""Squares to crop from, and the colours of a data set, against numpy over all the pixels there are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from alexnet.errors import PictureError
from alexnet.images.datasets import Dataset, open_dataset
from alexnet.images.decode import Picture
from alexnet.images.splits import LazyPictures, Split
from alexnet.images.views import View, center
from alexnet.learning.source import (
    Source,
    find_twins,
    open_centres,
    open_source,
    pack_folder,
    statistics,
)

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def no_notice(text: str) -> None:
    pytest.fail(f"told: {text}")


def source_of(pictures: list[Picture] | LazyPictures[int], side: int) -> Source:
    return Source(
        pictures=pictures,
        aspects=lambda chosen: np.ones(len(chosen), np.float32),
        labels=np.zeros(len(pictures), np.int64),
        side=side,
        share=1.0,
        unreadable=list,
    )


def framed(pictures: list[Pixels]) -> Dataset:
    split = Split(
        pictures=pictures,
        labels=np.arange(len(pictures), dtype=np.int64) % 2,
        names=[f"framed/{index}" for index in range(len(pictures))],
    )
    return Dataset(
        name="framed",
        source="framed",
        class_names=("a", "b"),
        train=split,
        validation=split,
        test=None,
        mirror=False,
        tight=True,
    )


def random_pictures(count: int, side: int) -> list[Pixels]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


# --- squares ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "margin"), [(28, 2), (8, 1), (3, 1), (32, 2), (64, 5)])
def test_a_framed_picture_gets_a_margin_of_its_edge_s_pixels(side: int, margin: int) -> None:
    data = framed(random_pictures(5, side))
    source = open_source(data, View.of(side, side, tight=True), on_notice=no_notice)
    assert source.side == side + 2 * margin
    assert source.share == pytest.approx(side / source.side)
    assert source.labels.tolist() == [0, 1, 0, 1, 0]
    assert source.aspects(np.array([3, 0])).tolist() == [1.0, 1.0]
    assert source.unreadable() == []
    nearest = np.clip(np.arange(source.side) - margin, 0, side - 1)
    for square, picture in zip(source.pictures, data.train.pictures, strict=True):
        np.testing.assert_array_equal(square, picture[nearest][:, nearest])


def test_pictures_from_files_are_squares_that_hold_all_of_them(coloured: Path) -> None:
    data, view = open_dataset(coloured), View.of(24, 24)
    source = open_source(data, view, on_notice=no_notice)
    assert (source.side, len(source)) == (27, len(data.train))  # 24 x 256 / 227 = 27.07
    assert source.share == 24 / 27
    for index in (0, 7, len(source) - 1):
        with Image.open(data.train.names[index]) as image:
            expected = image.convert("RGB").resize((27, 27), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(source.pictures[index], np.asarray(expected))
    assert source.aspects(np.array([7, 0])) == pytest.approx([40 / 30] * 2)
    np.testing.assert_array_equal(source.labels, data.train.labels)


def test_they_are_packed_apart_for_each_data_set_and_split(coloured: Path, cache: Path) -> None:
    data, view = open_dataset(coloured), View.of(24, 24)
    open_source(data, view, on_notice=no_notice)
    open_centres(data, view, on_notice=no_notice)
    folders = {path.parent for path in cache.rglob("*.records")}
    assert folders == {pack_folder(data, "train"), pack_folder(data, "validation")}
    assert {folder.name for folder in folders} == {"coloured-train", "coloured-validation"}
    elsewhere = replace(data, source=str(coloured.parent / "elsewhere"))
    assert pack_folder(elsewhere, "train").name == "coloured-train"
    assert pack_folder(elsewhere, "train") != pack_folder(data, "train")


def test_a_data_set_is_the_same_one_by_whatever_path_it_is_named(
    coloured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_dataset(coloured)
    monkeypatch.chdir(coloured.parent)
    assert pack_folder(open_dataset("coloured"), "train") == pack_folder(data, "train")


def test_validation_pictures_are_kept_as_the_view_has_them(coloured: Path) -> None:
    data, view = open_dataset(coloured), View.of(20, 24)
    centres = open_centres(data, view, on_notice=no_notice)
    assert centres is not None
    assert (list(centres.split.names), centres.split.labels.tolist()) == (
        list(data.validation.names),
        data.validation.labels.tolist(),
    )
    for kept, picture in zip(centres.split.pictures, data.validation.pictures, strict=True):
        np.testing.assert_array_equal(kept, center(picture, view))


def test_validation_pictures_are_decoded_while_something_else_is_done(coloured: Path) -> None:
    data, view = open_dataset(coloured), View.of(20, 24)
    centres = open_centres(data, view, on_notice=no_notice)
    assert centres is not None
    wanted = np.arange(1, len(data.validation), 2)
    with centres.decoded_ahead(wanted):
        begin = perf_counter()
        while centres.packed.packed < len(wanted):
            assert perf_counter() - begin < 60
            sleep(0.01)
    assert centres.packed.packed == len(wanted)


def test_decoding_meanwhile_ends_with_the_picture_that_it_is_at(coloured: Path) -> None:
    data, view = open_dataset(coloured, validation_share=0.5), View.of(20, 24)
    gate, plain = threading.Semaphore(2), data.validation.pictures

    def read(index: int) -> Picture:
        gate.acquire()
        return plain[index]

    pictures = LazyPictures(range(len(plain)), read)
    data = replace(data, validation=replace(data.validation, pictures=pictures))
    centres = open_centres(data, view, on_notice=no_notice)
    assert centres is not None
    assert len(plain) > 3
    with centres.decoded_ahead(np.arange(len(plain))) as stop:
        begin = perf_counter()
        while centres.packed.packed < 2:
            assert perf_counter() - begin < 60
            sleep(0.01)
        threading.Timer(0.3, gate.release, [100]).start()  # by then it is to stop
        stop()
        assert not [each for each in threading.enumerate() if each.name == "alexnet-validation"]
    assert centres.packed.packed == 3


def test_framed_pictures_are_kept_nowhere(cache: Path) -> None:
    data, view = framed(random_pictures(2, 8)), View.of(8, 8, tight=True)
    open_source(data, view, on_notice=no_notice)
    assert open_centres(data, view, on_notice=no_notice) is None
    assert not cache.exists()


def test_validation_pictures_that_are_trained_on_as_well_are_named(tmp_path: Path) -> None:
    shown = {"train/a/one": 1, "train/b/two": 2, "val/a/one, smaller": 1, "val/b/other": 3}
    for number, (name, seed) in enumerate(shown.items()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        image = Image.fromarray(blocks).resize((90 - 5 * number, 80), Image.Resampling.BICUBIC)
        image.save(tmp_path / f"{name}.jpg", quality=95 - 5 * number)
    data, view = open_dataset(tmp_path), View.of(24, 24)
    source = open_source(data, view, on_notice=no_notice)
    told = find_twins(data, source, open_centres(data, view, on_notice=no_notice))
    assert told is not None
    (line,) = told
    assert line.startswith(f"{data.name}: 1 validation picture")
    assert all(str(tmp_path / f"{name}.jpg") in line for name in ("train/a/one", "val/a/one, smaller"))
    assert "two" not in line
    assert "other" not in line
    stopped = find_twins(
        data, source, open_centres(data, view, on_notice=no_notice), go_on=iter([True, False, False]).__next__
    )
    assert stopped is None
    others = replace(data, validation=data.validation.subset([1]))
    centres = open_centres(others, view, on_notice=lambda _: None)
    assert find_twins(others, source, centres) == ()


def test_framed_pictures_look_alike_and_are_not_compared() -> None:
    picture = random_pictures(1, 8)[0]
    data, view = framed([picture, picture]), View.of(8, 8, tight=True)
    source = open_source(data, view, on_notice=no_notice)
    assert find_twins(data, source, open_centres(data, view, on_notice=no_notice)) == ()


# --- colours ----------------------------------------------------------------------------------------------


def tinted(count: int, side: int) -> list[Pixels]:
    """Pictures whose channels have different means and deviations, and go together in part."""
    random = np.random.default_rng(1)
    made = []
    for _ in range(count):
        light = random.normal(0, 30, (side, side, 1)) * [1.0, 0.5, -0.2]
        pixels = random.normal([120.3, 90.8, 60.0], [5, 10, 20], (side, side, 3)) + light
        made.append(np.clip(pixels, 0, 255).astype(np.uint8))
    return made


@pytest.mark.parametrize("workers", [0, 1])
def test_mean_deviation_and_components_are_numpy_s_over_all_pixels(workers: int) -> None:
    pictures = tinted(70, 20)
    found = statistics(source_of(pictures, 20), workers=workers)
    pixels = np.concatenate([each.reshape(-1, 3) for each in pictures]).astype(np.float64)
    assert found.mean == tuple(np.rint(pixels.mean(axis=0)).tolist())
    assert all(float(each).is_integer() for each in found.mean)
    np.testing.assert_allclose(found.scale, pixels.std(axis=0), rtol=1e-9)
    # Principal components by the singular values of the pixels from 0 to 1; their squares are the variances.
    centred = (pixels - pixels.mean(axis=0)) / 255
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    expected = rows * (singular**2 / len(pixels))[:, None] * 255
    components = np.array(found.components)
    order = np.argsort(-np.linalg.norm(components, axis=1))
    for ours, theirs in zip(components[order], expected, strict=True):
        sign = np.sign(ours @ theirs)  # a component has no direction
        np.testing.assert_allclose(sign * ours, theirs, rtol=1e-6, atol=1e-9)
    assert abs(components[order[0]] @ components[order[1]]) < 1e-9


def test_of_large_squares_every_fourth_row_and_column_is_looked_at() -> None:
    pictures = tinted(3, 64)
    found = statistics(source_of(pictures, 64), workers=0)
    pixels = np.concatenate([each[::4, ::4].reshape(-1, 3) for each in pictures]).astype(np.float64)
    np.testing.assert_allclose(found.scale, pixels.std(axis=0), rtol=1e-9)


def test_one_colour_leaves_a_division_that_is_harmless() -> None:
    found = statistics(source_of([np.full((4, 4, 3), 7, np.uint8)], 4), workers=0)
    assert (found.mean, found.scale) == ((7.0,) * 3, (1.0,) * 3)
    np.testing.assert_allclose(found.components, np.zeros((3, 3)), atol=1e-12)


def test_statistics_of_many_pictures_are_spread_over_all_of_them() -> None:
    # 2,000 pictures that brighten slowly: the first or last 500 alone would be far off the mean of 99.5.
    pictures = [np.full((2, 2, 3), index // 10, np.uint8) for index in range(2000)]
    found = statistics(source_of(pictures, 2), workers=1)
    assert found.mean[0] == pytest.approx(99.5, abs=1.0)
    assert found.scale[0] == pytest.approx(200 / 12**0.5, abs=1.0)


def test_pictures_that_cannot_be_read_are_not_in_the_statistics() -> None:
    pictures = tinted(6, 8)

    def read(index: int) -> Picture:
        if index in (0, 4):
            raise PictureError(f"{index}.jpg: empty")
        return pictures[index]

    found = statistics(source_of(LazyPictures(range(6), read), 8), workers=0)
    pixels = np.concatenate([pictures[index].reshape(-1, 3) for index in (1, 2, 3, 5)]).astype(np.float64)
    assert found.mean == tuple(np.rint(pixels.mean(axis=0)).tolist())
    np.testing.assert_allclose(found.scale, pixels.std(axis=0), rtol=1e-9)


def test_where_none_can_be_read_there_are_some_statistics_all_the_same() -> None:
    def read(index: int) -> Picture:
        raise PictureError(f"{index}.jpg: empty")

    found = statistics(source_of(LazyPictures(range(3), read), 8), workers=0)
    assert np.isfinite([*found.mean, *found.scale]).all()
    assert min(found.scale) > 0


def test_what_cannot_be_read_is_told_of_by_the_source(paint: Callable[..., Path], tmp_path: Path) -> None:
    folder = paint(tmp_path / "data")
    data = open_dataset(folder)
    Path(data.train.names[2]).write_bytes(b"nothing")
    source = open_source(open_dataset(folder), View.of(24, 24), on_notice=no_notice)
    statistics(source, workers=0)
    ((index, reason),) = source.unreadable()
    assert index == 2
    assert reason.startswith("not a picture")
