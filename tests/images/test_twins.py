"""Twins against copies made here, and against photographs of which none is in both splits."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from alexnet.errors import PictureError
from alexnet.images import twins
from alexnet.images.datasets import open_dataset
from alexnet.images.decode import Picture, decode
from alexnet.images.packed import PackedPictures, whole
from alexnet.images.splits import LazyPictures, Split
from alexnet.images.twins import SIDE, identical_files, near_twins, told_pairs


def jpeg(image: Image.Image, *, quality: int) -> Picture:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return decode(stream.getvalue())


def smaller(image: Image.Image) -> Image.Image:
    return image.resize((round(image.width * 0.8), round(image.height * 0.8)), Image.Resampling.LANCZOS)


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.1)


COPIES: dict[str, Callable[[Image.Image], Picture]] = {
    "recompressed": lambda image: jpeg(image, quality=50),
    "resized": lambda image: np.asarray(smaller(image)),
    "brightened": lambda image: np.asarray(brighter(image)),
    "all three": lambda image: jpeg(brighter(smaller(image)), quality=50),
    "stretched to a square": lambda image: np.asarray(image.resize((256, 256))),
    "of one grey channel": lambda image: np.broadcast_to(
        np.asarray(image.convert("L"))[:, :, np.newaxis], (image.height, image.width, 3)
    ),
}


def scene(seed: int) -> Image.Image:
    """Blurred blots, 160 x 120: like a photograph, neighbours are alike and places are not."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC).filter(ImageFilter.BoxBlur(3))


def thumbnails(pictures: Sequence[Picture]) -> npt.NDArray[np.uint8]:
    """Those of pictures that are kept nowhere."""
    count = len(pictures)
    names = [str(each) for each in range(count)]
    split = Split(pictures=pictures, labels=np.zeros(count, np.int64), names=names)
    packed = PackedPictures(split, [b""] * count, None, form=whole(SIDE), on_refusal=lambda _: None)
    small = packed.thumbnails()
    assert small is not None
    return small


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_copies_are_found_and_nothing_else(copy: Callable[[Image.Image], Picture]) -> None:
    train = thumbnails([np.asarray(scene(seed)) for seed in range(30)])
    others = [np.asarray(scene(seed)) for seed in range(100, 120)]
    validation = thumbnails([*others[:10], copy(scene(7)), *others[10:], copy(scene(3))])
    assert near_twins(train, validation) == [(7, 10), (3, 21)]


def test_a_mirrored_picture_and_a_negative_are_other_pictures() -> None:
    original = thumbnails([np.asarray(scene(1))])
    assert near_twins(original, original) == [(0, 0)]
    assert near_twins(original, original[:, :, ::-1]) == []
    assert near_twins(original, 255 - original) == []


def test_the_most_similar_is_named_whatever_block_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twins, "_BLOCK", 3)
    random = np.random.default_rng(0)
    first = random.integers(0, 256, (20, SIDE, SIDE), dtype=np.uint8)
    second = random.permutation(20)

    def with_noise(pictures: npt.NDArray[np.uint8], most: int) -> npt.NDArray[np.uint8]:
        noise = random.integers(-most, most + 1, pictures.shape)
        noisy: npt.NDArray[np.uint8] = np.clip(pictures + noise, 0, 255).astype(np.uint8)
        return noisy

    noisy, noisier = with_noise(first[second], 2), with_noise(first[:5], 15)
    assert len(near_twins(noisier, first)) == 5
    first = np.concatenate([noisier[:2], first, noisier[2:]])
    assert near_twins(first, noisy) == [(int(index) + 2, place) for place, index in enumerate(second)]


def test_each_of_the_two_conditions_is_needed() -> None:
    # By hand: a ramp over the columns; of its 110 differences to the right all say up, and none downwards.
    ramp = np.tile(np.arange(SIDE, dtype=np.uint8) * 20, (SIDE, 1))
    assert near_twins(ramp[None], ramp[None]) == [(0, 0)]
    # The same signs, but all of the step in the last column: the correlation is 0.5 or so.
    late = np.tile(np.array([*range(10), 200], np.uint8), (SIDE, 1))
    assert np.corrcoef(ramp.ravel(), late.ravel())[0, 1] < twins.ALIKE
    assert near_twins(ramp[None], late[None]) == []
    # A correlation near 1, but 55 of the 110 downward differences say up, as every second row is a step of 1.
    striped = ramp + (np.arange(SIDE, dtype=np.uint8) % 2)[:, None]
    assert np.corrcoef(ramp.ravel(), striped.ravel())[0, 1] > twins.ALIKE
    assert near_twins(ramp[None], striped[None]) == []


def test_pictures_of_one_colour_and_unreadable_ones_are_nobodys_twins() -> None:
    def read(value: int) -> Picture:
        if value < 0:
            raise PictureError("no picture")
        return np.full((4, 5, 3), value, np.uint8)

    small = thumbnails(LazyPictures([0, -1, 255, -1], read))
    assert small.shape == (4, SIDE, SIDE)
    assert small[:, 0, 0].tolist() == [0, 0, 255, 0]
    assert near_twins(small, small) == []


def test_splits_without_pictures_have_no_twins() -> None:
    none, some = thumbnails([]), thumbnails([np.asarray(scene(0))])
    assert none.shape == (0, SIDE, SIDE)
    assert near_twins(none, some) == near_twins(some, none) == near_twins(none, none) == []


@pytest.mark.slow
def test_many_thousands_are_compared_in_bounded_memory() -> None:
    random = np.random.default_rng(0)
    first = random.integers(0, 256, (10_000, SIDE, SIDE), dtype=np.uint8)
    second = random.integers(0, 256, (4_000, SIDE, SIDE), dtype=np.uint8)
    second[123] = first[9_876]
    tracemalloc.start()
    try:
        assert near_twins(first, second) == [(9_876, 123)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150e6  # all 40 million pairs at once would be 160 MB a matrix


def write(folder: Path, **contents: bytes) -> list[str]:
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in contents]


def test_identical_files_are_paired_across_splits_only(tmp_path: Path) -> None:
    train = write(tmp_path / "train", a=b"1" * 9_000, b=b"1" * 9_000, c=b"3" * 10, d=b"4" * 10)
    validation = write(tmp_path / "val", e=b"1" * 9_000, f=b"5" * 10, g=b"4" * 10, h=b"4" * 10, i=b"5" * 10)
    test = write(tmp_path / "test", j=b"5" * 10, k=b"6" * 10, m=b"1" * 9_000)
    assert identical_files({"train": train, "validation": validation, "test": test}) == {
        ("train", "validation"): [
            (train[0], validation[0]),
            (train[3], validation[2]),
            (train[3], validation[3]),
        ],
        ("train", "test"): [(train[0], test[2])],
        ("validation", "test"): [(validation[0], test[2]), (validation[1], test[0])],
    }


def test_files_of_equal_size_and_end_that_differ_before_are_not_identical(tmp_path: Path) -> None:
    train = write(tmp_path / "train", a=b"x" + b"0" * 9_000, b=b"")
    validation = write(tmp_path / "val", a=b"y" + b"0" * 9_000, b=b"")
    assert identical_files({"train": train, "validation": validation}) == {}


def test_a_file_that_has_gone_is_passed_over(tmp_path: Path) -> None:
    train, validation = write(tmp_path / "train", a=b"1"), write(tmp_path / "val", a=b"1")
    assert identical_files({"train": [*train, "gone"], "validation": ["gone", *validation]}) == {
        ("train", "validation"): [(train[0], validation[0])]
    }


def test_no_file_is_read_whose_size_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> bytes:
        raise AssertionError(name)

    train = write(tmp_path / "train", a=b"1", b=b"22", c=b"22")  # b and c: of one split
    validation = write(tmp_path / "val", d=b"333")
    monkeypatch.setattr(twins, "_end", refuse)
    monkeypatch.setattr(twins, "_sha256", refuse)
    assert identical_files({"train": train, "validation": validation}) == {}
    with pytest.raises(AssertionError):  # the guard can fail
        identical_files({"train": train, "validation": [*validation, train[0]]})


def test_the_first_pairs_are_named_and_the_others_counted() -> None:
    pairs = [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")]
    assert told_pairs(pairs[:3]) == "a = b, c = d, e = f"
    assert told_pairs(pairs) == "a = b, c = d, e = f and 1 more"


@pytest.fixture(scope="module")
def photographs() -> tuple[npt.NDArray[np.uint8], LazyPictures[str]]:
    """Thumbnails of Imagenette's training pictures, and every eighth of its validation pictures."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "imagenette"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    dataset = open_dataset(folder)
    assert dataset.warnings == ()
    return thumbnails(dataset.train.pictures), LazyPictures(list(dataset.validation.names[::8]), decode)


@pytest.mark.slow
def test_of_photographs_none_is_found_and_their_copies_are(
    photographs: tuple[npt.NDArray[np.uint8], LazyPictures[str]],
) -> None:
    train, validation = photographs
    small = thumbnails(validation)
    assert near_twins(train, small) == []
    for name, copy in COPIES.items():
        copies = thumbnails([copy(Image.fromarray(validation[index])) for index in range(len(validation))])
        found = near_twins(copies, small)
        assert all(first == second for first, second in found), name
        assert len(found) >= 0.99 * len(validation), name
        assert near_twins(train, copies) == [], name
