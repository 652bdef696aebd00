"""Pictures that two splits share: the same file, or a copy of another quality, size or brightness.

A classifier is judged too well by what it was trained on.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image

from alexnet.images.decode import Picture

Pairs = list[tuple[str, str]]
"""Names of two pictures each: one of the earlier split, one of the later."""

# Measured on 9,469 × 3,925 photographs of ten classes, none of which is in both splits (Imagenette), and on
# copies of the 3,925. With these, no pair was found there; copies that were not: JPEG of quality 50 0.2 %,
# scaled to 80 % 0.0 %, 1.1 times as bright 0.1 %, all three at once 0.2 %, 1.3 times as bright (whites lost)
# 3.5 %, 2 % cut off each edge 3.5 %. Without ALIKE there were 26 pairs, of parachutes in plain skies.
SIDE = 11  # pixels of a thumbnail: 2 × 11 × 10 = 220 differences
MAX_DIFFERING = 33  # of these
ALIKE = 0.97  # least correlation of two thumbnails' pixels

_BLOCK = 2048  # of each split's pictures that are compared at once: 17 MB a matrix
_END = 4096  # bytes


def identical_files(splits: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], Pairs]:
    """Return, for each two splits that share files of the same content, the pairs of them.

    `splits` has the files' paths. A file of the later split is paired with one of the earlier. Of files of
    equal size the last 4 KiB are compared, and only then the SHA-256 of all. Files that cannot be read are
    passed over, and so are empty ones.
    """
    groups = [[(split, name) for split, names in splits.items() for name in names]]
    keys: tuple[Callable[[str], Hashable], ...] = (_size, _end, _sha256)
    for key in keys:
        groups = [finer for group in groups for finer in _alike(group, key)]
    shared: dict[tuple[str, str], Pairs] = {}
    for earlier, later in combinations(splits, 2):
        pairs = []
        for group in groups:
            first = next((name for split, name in group if split == earlier), None)
            if first is not None:
                pairs += [(first, name) for split, name in group if split == later]
        if pairs:
            shared[earlier, later] = pairs
    return shared


def thumbnail(picture: Picture) -> npt.NDArray[np.uint8]:
    """Return what `near_twins` compares, (SIDE, SIDE): the picture small, grey and stretched to a square.

    It must be whole, stretched or not: of centres cut out the twins are not found.
    """
    grey = picture.strides[2] == 0  # one channel repeated
    image = Image.fromarray(picture[:, :, 0] if grey else picture).convert("L")
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def near_twins(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Return pairs of indices into two splits' thumbnails, (N, SIDE, SIDE), of nearly the same picture.

    Each picture of `second` is in one pair at most, with the most similar of `first`; in the order of
    `second`. Two things must hold: at most MAX_DIFFERING of the differences between neighbouring pixels have
    another sign (a difference hash), and the pixels' correlation is at least ALIKE. It is for photographs: of
    small framed pictures on a plain ground, such as Fashion-MNIST's, half have a twin by this. A picture of
    one colour has none.
    """
    best = np.zeros(len(second), np.int64)
    likeness = np.zeros(len(second), np.float32)
    for row in range(0, len(first), _BLOCK):
        signs, pixels = _signs(first[row : row + _BLOCK]), _normalised(first[row : row + _BLOCK])
        for column in range(0, len(second), _BLOCK):
            block = second[column : column + _BLOCK]
            # Signs are -1 and 1, so that a product is the number of equal ones less that of the others.
            near = _signs(block) @ signs.T >= signs.shape[1] - 2 * MAX_DIFFERING
            alike = np.where(near, _normalised(block) @ pixels.T, 0)
            here, chosen = alike.max(axis=1), slice(column, column + _BLOCK)
            best[chosen] = np.where(here > likeness[chosen], row + alike.argmax(axis=1), best[chosen])
            likeness[chosen] = np.maximum(here, likeness[chosen])
    found = np.flatnonzero(likeness >= ALIKE)
    return list(zip(best[found].tolist(), found.tolist(), strict=True))


def told_pairs(pairs: Collection[tuple[str, str]], *, most: int = 3) -> str:
    """Name the first few pairs, and count the others, for a message.

    >>> told_pairs([("a", "b"), ("c", "d")], most=1)
    'a = b and 1 more'
    """
    named = ", ".join(f"{first} = {second}" for first, second in list(pairs)[:most])
    return named + (f" and {len(pairs) - most:,} more" if len(pairs) > most else "")


def _signs(small: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    right = small[:, :, 1:] > small[:, :, :-1]
    down = small[:, 1:] > small[:, :-1]
    bits = np.concatenate([each.reshape(len(small), -1) for each in (right, down)], axis=1)
    return np.where(bits, np.float32(1), np.float32(-1))


def _normalised(small: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Pixels of mean 0 and length 1, so that a product is a correlation; 0 where all are equal."""
    pixels = small.reshape(len(small), -1).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    length = np.linalg.norm(pixels, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = pixels / np.maximum(length, np.float32(1))
    return unit


def _alike(group: Sequence[tuple[str, str]], key: Callable[[str], Hashable]) -> list[list[tuple[str, str]]]:
    """Divide files (split, path) by what `key` gives; a part within one split is of no interest."""
    parts: dict[Hashable, list[tuple[str, str]]] = defaultdict(list)
    for split, name in group:
        try:
            parts[key(name)].append((split, name))
        except OSError:
            continue
    return [part for value, part in parts.items() if value and len({split for split, _ in part}) > 1]


def _size(name: str) -> int:
    return os.stat(name).st_size  # noqa: PTH116  # a Path for each of a million files is slow


def _end(name: str) -> bytes:
    with open(name, "rb") as file:  # noqa: PTH123
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _END))
        return file.read()


def _sha256(name: str) -> bytes:
    with open(name, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").digest()
