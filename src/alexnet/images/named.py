"""The data sets that are known by name: real pictures that are free, small, and here within a minute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from alexnet.errors import DataError, MissingExtraError
from alexnet.images.decode import Picture
from alexnet.images.fetch import PublicFiles, find_or_fetch, read_verified
from alexnet.images.splits import Dataset, LazyPictures, Split, divide

# Xiao, Rasul and Vollgraf (2017), "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
# Algorithms", arXiv:1708.07747.
FASHION_MNIST = PublicFiles(
    name="fashion-mnist",
    sha256={
        "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    megabytes=31,
    package="dataset-fashion-mnist",
    url="https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
FASHION_CLASSES = (  # the paper's table 2; a label is an index into this
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


NAMED = (FASHION_MNIST.name, "digits")
"""The names that `read_named` takes."""
UNLIKE_IN_A_MIRROR = ("digits",)
"""Those of which a mirrored picture is of another class, or of none."""


def read_named(
    name: str, *, seed: int = 0, fetch: bool = True, on_fetch: Callable[[str], None] = lambda _: None
) -> Dataset:
    """Read one of the `NAMED`, of whose fetching `on_fetch` is told; raises `DataError` for another name."""
    match name:
        case FASHION_MNIST.name:
            return read_fashion_mnist(seed=seed, fetch=fetch, on_fetch=on_fetch)
        case "digits":
            return read_digits(seed=seed)
        case _:
            raise DataError(f"{name}: not a named set; it must be one of {', '.join(NAMED)}")


def read_fashion_mnist(
    *, seed: int = 0, fetch: bool = True, on_fetch: Callable[[str], None] = lambda _: None
) -> Dataset:
    """Read Fashion-MNIST: 55,000, 5,000 and 10,000 grey pictures of clothes, 28 × 28, in ten classes.

    The 5,000 are set apart from the original's 60,000 for training, 500 of each class, by `seed`. Raises
    `DataError` where the files are not on this machine and may not or cannot be fetched.
    """
    folder = find_or_fetch(FASHION_MNIST, fetch=fetch, on_fetch=on_fetch)

    def read(prefix: str, split: str) -> Split:
        images, labels = (
            parse_idx(read_verified(folder / name, FASHION_MNIST.sha256[name]))
            for name in (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
        )
        return _grey_split(images, labels, f"{FASHION_MNIST.name}/{split}")

    full = read("train", "train")
    stay, apart = divide(full.labels, 5_000 / 60_000, seed=seed)
    return Dataset(
        name=FASHION_MNIST.name,
        source=str(folder),
        class_names=FASHION_CLASSES,
        train=full.subset(stay),
        validation=full.subset(apart),
        test=read("t10k", "test"),
        mirror=True,
        tight=True,
    )


def read_digits(*, seed: int = 0) -> Dataset:
    """Read scikit-learn's digits: 1,797 written by hand, grey, 8 × 8, divided 80 : 10 : 10; no network.

    Raises `MissingExtraError` where scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "train") from error
    values, labels = load_digits(return_X_y=True)
    images = np.rint(values.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # it counts 0 to 16 dots of ink
    full = _grey_split(images, labels, "digits")
    # The test split is the same for every seed: evaluating under another seed than training's must not
    # meet pictures that were trained on.
    stay, test = divide(full.labels, 0.1, seed=0)
    train, validation = divide(full.labels[stay], 1 / 9, seed=seed)
    return Dataset(
        name="digits",
        source="scikit-learn",
        class_names=tuple("0123456789"),
        train=full.subset(stay[train]),
        validation=full.subset(stay[validation]),
        test=full.subset(test),
        mirror="digits" not in UNLIKE_IN_A_MIRROR,
        tight=True,
    )


def parse_idx(content: bytes) -> npt.NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes: 0, 0, 8, the number of dimensions, sizes, data.

    Source: http://yann.lecun.com/exdb/mnist. The content is trusted: its checksum was looked at before.

    >>> parse_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3]) + b"abc").tolist()
    [[97, 98, 99]]
    """
    dimensions = content[3]
    sizes = np.frombuffer(content, ">u4", count=dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(sizes)


def _grey_split(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer], prefix: str) -> Split:
    return Split(
        pictures=LazyPictures(range(len(images)), lambda index: _repeat_grey(images[index])),
        labels=labels.astype(np.int64),
        names=[f"{prefix}/{index:05d}" for index in range(len(labels))],
    )


def _repeat_grey(image: npt.NDArray[np.uint8]) -> Picture:
    return np.broadcast_to(image[:, :, np.newaxis], (*image.shape, 3))
