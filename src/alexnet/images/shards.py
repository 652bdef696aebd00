"""Tar shards in WebDataset's form, local or behind URLs: a stream of pictures, for sets larger than a disk.

A shard holds for each picture a file such as 0007.jpg and, next to it, 0007.cls: the number of its class from
0, or its name. A stream cannot be looked into: order, division and resuming follow from the list of shards.
"""

from __future__ import annotations

import os
import re
import sys
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from alexnet.errors import DataError, MissingExtraError, PictureError
from alexnet.images.batches import load_batches
from alexnet.images.decode import PICTURE_SUFFIXES, Picture, decode
from alexnet.images.packed import stretched
from alexnet.images.sources import listed
from alexnet.images.splits import LazyPictures

SHUFFLED = 1_000
"""How many pictures, still encoded, are held in memory to be drawn from at random: about 0.1 GB."""

CLASS_NAMES = "classes.txt"
"""Where the class names are looked for beside local shards: a line each, in the order of their numbers."""

_SCHEME = re.compile(r"([a-z][a-z0-9+]+):", re.IGNORECASE)  # two letters at least: C:\ is a drive
_SCHEMES = ("http", "https", "gs")


@dataclass(frozen=True, kw_only=True)
class Shards:
    """Where the shards are, and what their labels mean."""

    urls: tuple[str, ...]  # paths and URLs, each of one shard
    class_names: tuple[str, ...]  # labels are indices into this


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """How far one process's stream was drawn, and where the pass began that it is in."""

    pictures: int = 0
    passes: int = 0  # over the shards that had ended before
    before: int = 0  # pictures of those passes


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardBatch:
    """N pictures of the stream, and what is needed to train on them."""

    squares: npt.NDArray[np.uint8]  # (N, side, side, 3), the whole pictures, stretched
    aspects: npt.NDArray[np.float32]  # (N,), width / height of the pictures as they were
    labels: npt.NDArray[np.int64]  # (N,), indices into the class names
    drawn: Drawn  # so far, this batch included: `after` for going on with the next


@dataclass(frozen=True, kw_only=True)
class _Sample:
    name: str  # for errors
    picture: bytes  # a picture file's
    label: int
    passes: int  # over the shards before the one that it is of


@dataclass(kw_only=True)
class _Ahead:
    """Pictures that are drawn and not given out yet, by their place in the stream."""

    total: int  # drawn from the stream, those that are skipped or given out already included
    began: list[Drawn]  # where each pass began that is drawn from, and the last before
    samples: dict[int, _Sample] = field(default_factory=dict)
    aspects: dict[int, float] = field(default_factory=dict)

    def places(self, samples: Iterator[_Sample]) -> Iterator[int]:
        for sample in samples:
            if sample.passes > self.began[-1].passes:
                self.began.append(Drawn(passes=sample.passes, before=self.total))
            self.samples[self.total] = sample
            self.total += 1
            yield self.total - 1

    def drawn(self, pictures: int) -> Drawn:
        """So many of them, in the pass of the last or at the beginning of the next."""
        while len(self.began) > 1 and self.began[1].before <= pictures:
            del self.began[0]
        return replace(self.began[0], pictures=pictures)

    def picture(self, place: int) -> Picture:
        sample = self.samples[place]
        try:
            picture = decode(sample.picture)
        except PictureError as error:
            reason = str(error).split(": ", 1)[-1]  # what is before it says how many bytes
            raise PictureError(f"{sample.name}: {reason}") from error
        self.aspects[place] = picture.shape[1] / picture.shape[0]
        return picture


def is_shards(spec: str | Path) -> bool:
    """Whether a path or URL, perhaps with braces, is one of tar shards by its ending.

    >>> is_shards("https://example.org/photos-{000..099}.tar"), is_shards("photos.csv")
    (True, False)
    """
    return re.search(r"\.(tar|tgz|tar\.gz)(\?[^/]*)?$", str(spec), re.IGNORECASE) is not None


def open_shards(spec: str | Path, *, class_names: Sequence[str] | Path | None = None) -> Shards:
    """Expand a spec such as photos-{000..099}.tar, and see that the shards which are local are there.

    Several specs are joined by "::". `class_names` may be a file of them, a line each; without it that is
    classes.txt beside the first shard. Raises `DataError` for shards that are not there, for a scheme other
    than http, https and gs, and for class names that cannot be had; `MissingExtraError` without webdataset.
    """
    listing = _webdataset().SimpleShardList
    try:
        urls = tuple(listing(str(spec)).urls)
    except ValueError as error:  # of braces without their other half
        raise DataError(
            f"{spec}: {error}; must be such as photos-{{000..099}}.tar; check the braces"
        ) from None
    for url in urls:
        scheme = _scheme(url)
        if scheme and scheme not in _SCHEMES:  # webdataset would run the rest of pipe: as a command
            raise DataError(f"{url}: scheme {scheme}; it must be a path or one of {', '.join(_SCHEMES)}")
    missing = [url for url in urls if not _scheme(url) and not os.path.isfile(url)]  # noqa: PTH113
    if missing:
        raise DataError(
            f"{spec}: {len(missing):,} of {len(urls):,} shards are not there ({listed(missing, most=3)}); "
            f"each must be a tar file; check the path and the numbers in braces"
        )
    if class_names is None and not _scheme(urls[0]):
        class_names = Path(urls[0]).parent / CLASS_NAMES
    names = _read_names(class_names) if isinstance(class_names, Path) else class_names
    if names is None:
        raise DataError(f"{spec}: no class names; they must be given, a line each in a file")
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{spec}: class names {listed(names)}; they must be at least two, each once")
    return Shards(urls=urls, class_names=tuple(names))


def shard_batches(
    shards: Shards,
    *,
    side: int,
    batch_size: int,
    workers: int,
    seed: int | None,
    rank: int = 0,
    world: int = 1,
    after: Drawn = Drawn(),
    passes: int | None = None,
    on_unreadable: Callable[[str], None] | None = None,
) -> Generator[ShardBatch, None, None]:
    """Yield the pictures of this process's shards in batches, for ever or so many `passes`.

    In every pass the shards are put in a new order by `seed` and dealt to `world` processes, of which this is
    number `rank`; each draws at random from SHUFFLED pictures at a time. Their shares are as equal as the
    shards are, so that processes that keep step count batches, not passes. With seed None all comes in the
    order of the shards. `after` goes on with the same stream: what was drawn of the pass that it is in is
    read again, not decoded. `side` is in pixels. `on_unreadable` is told, in one line, of a picture that
    cannot be decoded and is left out; without it that raises `PictureError`. Raises `DataError`, at the call,
    for numbers out of range and fewer shards than processes; later, for a shard that cannot be read or has no
    pictures, and for a label that is missing or out of range.
    """
    skip = after.pictures - after.before
    for name, value, least in (("batch_size", batch_size, 1), ("side", side, 1), ("after", skip, 0)):
        if value < least:
            raise DataError(f"shards: {name} is {value}; it must be at least {least}")
    if not 0 <= rank < world <= len(shards.urls):
        raise DataError(
            f"{shards.urls[0]}: {len(shards.urls)} shards for process {rank} of {world}; there must be at "
            f"least one for each; write more and smaller shards"
        )
    stream = _stream(shards, seed=seed, rank=rank, world=world, first=after.passes, passes=passes)
    return _batches(stream, side, batch_size, workers, after, on_unreadable)


def _batches(
    stream: Generator[_Sample, None, None],
    side: int,
    batch_size: int,
    workers: int,
    after: Drawn,
    on_unreadable: Callable[[str], None] | None,
) -> Generator[ShardBatch, None, None]:
    first = after.pictures
    ahead = _Ahead(total=first, began=[after])

    def left_out(place: int, message: str) -> None:
        del ahead.samples[place]
        if on_unreadable is not None:
            on_unreadable(message)

    with closing(_ahead(stream, 2 * batch_size)) as samples:
        batches = load_batches(
            LazyPictures(range(sys.maxsize), ahead.picture),
            ahead.places(islice(samples, first - after.before, None)),
            shape=lambda picture: stretched(picture, side),
            batch_size=batch_size,
            workers=workers,
            on_unreadable=None if on_unreadable is None else left_out,
        )
        with closing(batches):
            for squares, places in batches:
                chosen = places.tolist()
                # Those at its end that cannot be read have been drawn too.
                whole = -(-(chosen[-1] + 1 - first) // batch_size) * batch_size
                yield ShardBatch(
                    squares=squares,
                    aspects=np.array([ahead.aspects.pop(place) for place in chosen], np.float32),
                    labels=np.array([ahead.samples.pop(place).label for place in chosen], np.int64),
                    drawn=ahead.drawn(min(first + whole, ahead.total)),
                )


def _stream(
    shards: Shards, *, seed: int | None, rank: int, world: int, first: int, passes: int | None
) -> Generator[_Sample, None, None]:
    for number in count(first) if passes is None else range(first, passes):
        order = np.arange(len(shards.urls))
        if seed is not None:
            order = np.random.default_rng((seed, number)).permutation(order)
        samples: Iterator[_Sample] = (
            sample
            for place in order[rank::world]
            for sample in _read(shards.urls[place], shards.class_names, passes=number)
        )
        if seed is not None:
            samples = _shuffled(samples, np.random.default_rng((seed, number, rank)))
        found = False
        for sample in samples:
            found = True
            yield sample
        if not found:
            raise DataError(
                f"{shards.urls[order[rank]]}: no pictures; a shard must have some; write it again"
            )


def _shuffled(samples: Iterator[_Sample], random: np.random.Generator) -> Iterator[_Sample]:
    held: list[_Sample] = []
    for sample in samples:
        if len(held) < SHUFFLED:
            held.append(sample)
        else:
            place = int(random.integers(SHUFFLED))
            yield held[place]
            held[place] = sample
    for place in random.permutation(len(held)):
        yield held[place]


def _read(url: str, class_names: Sequence[str], *, passes: int) -> Iterator[_Sample]:
    """Read one shard from its beginning to its end."""
    tar = _webdataset().tariterators
    numbers = {name: number for number, name in enumerate(class_names)}
    # Where classes are called by other numbers than their own, a number is a name.
    named = any(each.isdecimal() and each != str(number) for each, number in numbers.items())
    try:
        with closing(_open(url)) as stream:
            for sample in tar.group_by_keys(tar.tar_file_expander([{"url": url, "stream": stream}])):
                name = f"{url}/{sample['__key__']}"
                pictures = [suffix for suffix in sample if f".{suffix}" in PICTURE_SUFFIXES]
                if not pictures:
                    continue
                label = _label(name, sample.get("cls"), numbers, named=named)
                picture = pictures[0]
                yield _Sample(name=f"{name}.{picture}", picture=sample[picture], label=label, passes=passes)
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{url}: cannot be read ({_reason(error)}); it must be a whole tar file") from error


def _reason(error: Exception) -> str:
    # webdataset adds what it was reading to the arguments; of a program that fails, the first is its command.
    reason = getattr(error, "strerror", None) or str(error.args[0] if error.args else type(error).__name__)
    ended = re.search(r"'(\w+)', .*(exit -?\d+)", reason)
    return f"{ended[1]}: {ended[2]}" if ended else " ".join(reason.split())


def _label(name: str, content: bytes | None, numbers: dict[str, int], *, named: bool) -> int:
    if content is None:
        raise DataError(f"{name}: no label; a file {Path(name).name}.cls must follow or precede the picture")
    text = content.decode(errors="replace").strip()
    is_number = re.fullmatch(r"[0-9]{1,9}", text) is not None and not named
    label = int(text) if is_number else numbers.get(text, -1)
    if not 0 <= label < len(numbers):
        either = "" if named else f"a number from 0 to {len(numbers) - 1} or "
        raise DataError(
            f"{name}.cls: '{text[:40]}'; it must be {either}one of {listed(numbers)}; check the class names"
        )
    return label


def _ahead(samples: Generator[_Sample, None, None], most: int) -> Generator[_Sample, None, None]:
    """Read up to `most` samples ahead in a thread, so that a slow disk or network works while others do."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="alexnet-shards")
    waiting: deque[Future[_Sample | None]] = deque()
    try:
        while True:
            waiting.extend(pool.submit(next, samples, None) for _ in range(most - len(waiting)))
            sample = waiting.popleft().result()
            if sample is None:
                return
            yield sample
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        samples.close()


def _open(url: str) -> BinaryIO:
    if not _scheme(url):
        return Path(url).open("rb")
    stream: BinaryIO = _webdataset().gopen(url, "rb")
    return stream


def _scheme(url: str) -> str:
    match = _SCHEME.match(url)
    return match[1].lower() if match else ""


def _read_names(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise DataError(
            f"{path}: cannot be read ({reason}); it must have the class names, a line each"
        ) from error
    return [line.strip() for line in lines if line.strip()]


def _webdataset() -> Any:
    try:
        import webdataset
    except ImportError as error:
        raise MissingExtraError("webdataset", "shards") from error
    return webdataset
