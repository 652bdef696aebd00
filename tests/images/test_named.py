"""The named sets against what their makers publish, and against the original arrays."""

from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from alexnet.errors import AlexNetError, DataError, MissingExtraError
from alexnet.images import named
from alexnet.images.cache import cache_folder
from alexnet.images.datasets import Dataset, open_dataset, open_split
from alexnet.images.fetch import SYSTEM_FOLDER
from alexnet.images.named import FASHION_CLASSES, FASHION_MNIST, read_digits, read_named


@pytest.fixture(scope="module")
def fashion() -> Dataset:
    try:
        return open_dataset("fashion-mnist", fetch=False)
    except DataError as error:
        pytest.skip(str(error))


def test_fashion_mnist_has_its_published_sizes(fashion: Dataset) -> None:
    assert fashion.test is not None
    assert [len(split) for split in (fashion.train, fashion.validation, fashion.test)] == [
        55_000,
        5_000,
        10_000,
    ]
    for split, each in ((fashion.train, 5_500), (fashion.validation, 500), (fashion.test, 1_000)):
        assert np.bincount(split.labels).tolist() == [each] * 10
    assert fashion.class_names[9] == "Ankle boot"
    assert (fashion.mirror, fashion.tight) == (True, True)
    assert Path(fashion.source) in (SYSTEM_FOLDER / "fashion-mnist", cache_folder() / "fashion-mnist")


def test_fashion_mnist_pictures_are_the_files_bytes(fashion: Dataset) -> None:
    assert fashion.test is not None
    content = gzip.decompress((Path(fashion.source) / "t10k-images-idx3-ubyte.gz").read_bytes())
    at = 16 + 12 * 784
    expected = np.frombuffer(content[at : at + 784], np.uint8).reshape(28, 28)
    picture = fashion.test.pictures[12]
    assert fashion.test.names[12] == "fashion-mnist/test/00012"
    assert picture.shape == (28, 28, 3)
    assert picture.strides[2] == 0
    np.testing.assert_array_equal(picture[:, :, 1], expected)


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def small_fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, npt.NDArray[np.uint8]]:
    """A cache with 24 + 10 pictures in Fashion-MNIST's form, whose checksums stand in for the real ones."""
    random = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte.gz": random.integers(0, 256, (24, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte.gz": np.repeat(np.arange(2, dtype=np.uint8), 12),
        "t10k-images-idx3-ubyte.gz": random.integers(0, 256, (10, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte.gz": np.arange(10, dtype=np.uint8),
    }
    folder = tmp_path / FASHION_MNIST.name
    folder.mkdir()
    for name, array in arrays.items():
        (folder / name).write_bytes(gzip.compress(idx(array)))
        monkeypatch.setitem(FASHION_MNIST.sha256, name, hashlib.sha256(idx(array)).hexdigest())
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path))
    monkeypatch.setattr(named, "find_or_fetch", lambda *_, **__: folder)
    return arrays


def test_pictures_labels_and_names_of_files_in_fashion_mnists_form(
    small_fashion: dict[str, npt.NDArray[np.uint8]],
) -> None:
    dataset = open_dataset("fashion-mnist", seed=1)
    assert len(dataset.train) == 22
    assert (dataset.divided, dataset.warnings) == (
        False,
        (),
    )  # the same seed divides it the same way for ever
    assert np.bincount(dataset.validation.labels).tolist() == [1, 1]  # a twelfth of each class
    for split in (dataset.train, dataset.validation):
        for picture, label, name in zip(split.pictures, split.labels, split.names, strict=True):
            index = int(name.removeprefix("fashion-mnist/train/"))
            np.testing.assert_array_equal(
                picture[:, :, 2], small_fashion["train-images-idx3-ubyte.gz"][index]
            )
            assert label == small_fashion["train-labels-idx1-ubyte.gz"][index]
    order = tuple(reversed(FASHION_CLASSES))
    assert open_split("fashion-mnist", order).labels.tolist() == list(range(9, -1, -1))


def test_a_damaged_file_is_refused_by_its_checksum(
    small_fashion: dict[str, npt.NDArray[np.uint8]],
) -> None:
    path = cache_folder() / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros(10, np.uint8))))
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz: SHA-256 of its content is"):
        open_dataset("fashion-mnist")


@pytest.mark.slow  # importing scikit-learn is
def test_digits_are_those_of_scikit_learn_divided_by_class() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    values, labels = datasets.load_digits(return_X_y=True)
    dataset = open_dataset("digits")
    assert dataset.test is not None
    assert (dataset.mirror, dataset.tight, dataset.class_names) == (False, True, tuple("0123456789"))
    splits = (dataset.train, dataset.validation, dataset.test)
    numbers = [int(Path(name).name) for split in splits for name in split.names]
    assert sorted(numbers) == list(range(1_797))
    assert [round(len(split) / 1_797, 2) for split in splits] == [0.8, 0.1, 0.1]
    for split in splits:
        assert np.bincount(split.labels).min() >= 17  # a tenth of the rarest class, 174 pictures
        index = int(Path(split.names[0]).name)
        assert split.labels[0] == labels[index]
        expected = [[round(value * 255 / 16) for value in row] for row in values[index].reshape(8, 8)]
        assert split.pictures[0][:, :, 0].tolist() == expected


@pytest.mark.slow
def test_the_digits_to_test_on_are_the_same_whatever_the_seed() -> None:
    pytest.importorskip("sklearn")
    first, second = read_digits(seed=0), read_digits(seed=1)
    assert first.test is not None
    assert second.test is not None
    assert first.test.names == second.test.names
    assert first.validation.names != second.validation.names


def test_without_scikit_learn_digits_name_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"scikit-learn: not installed; .*alexnet\[train\]"):
        read_digits()


def test_an_unknown_name_is_an_error_of_this_package() -> None:
    with pytest.raises(AlexNetError, match="mnist: not a named set"):
        read_named("mnist")
