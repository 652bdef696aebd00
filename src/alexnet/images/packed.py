"""Pictures that are decoded once: kept as raw pixels on disk, and read at memory speed from then on.

To train on, the whole picture is kept, stretched to a square, so that any crop can be cut out of it later. It
is made the first time that the picture is asked for, and with it a thumbnail, by which `twins` knows pictures
again. How they lie on the disk is `pack_file`'s matter.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from alexnet.errors import DataError, PictureError
from alexnet.images.decode import Picture
from alexnet.images.pack_file import PATH_BYTES, Changes, PackFile, Record
from alexnet.images.splits import LazyPictures, Split
from alexnet.images.twins import SIDE, thumbnail
from alexnet.images.views import View, center, resized

FORMAT = 2
"""Part of the files' name: to be raised when the same file is decoded or stretched to other pixels, or lies
on the disk in another way."""

_FILE = struct.Struct("<qq")  # size, and when it was last written, in nanoseconds
_NO_FILE = _FILE.pack(-1, -1)


@dataclass(frozen=True, kw_only=True)
class Form:
    """What is kept of each picture: pixels of one size."""

    name: str  # of the files; another one for other pixels
    size: tuple[int, int]  # height, width
    make: Callable[[Picture], Picture]  # uint8 (height, width, 3)

    @property
    def bytes(self) -> int:
        """Of a picture."""
        return self.size[0] * self.size[1] * 3

    @property
    def record_bytes(self) -> int:
        """Of a picture and its thumbnail."""
        return self.bytes + SIDE * SIDE


def whole(side: int) -> Form:
    """The whole picture, stretched to side x side; raises `DataError` for a side below 1 pixel."""
    if side < 1:
        raise DataError(f"packed pictures: side is {side}; it must be at least 1 pixel")
    return Form(name=str(side), size=(side, side), make=lambda picture: stretched(picture, side))


def centred(view: View) -> Form:
    """The view's centre: what a classifier is judged by."""
    return Form(
        name=f"centre-{view.height}x{view.width}-of-{view.resize}",
        size=(view.height, view.width),
        make=lambda picture: center(picture, view),
    )


class PackedPictures(Sequence[Picture]):
    """Pictures in one form, from the pack or else decoded and added to it; `pack` opens them.

    A picture that cannot be read raises `PictureError`, and is not tried again until its file changes. Safe
    to use from many threads. After `close`, which must not come while another thread reads, nothing is kept;
    without it, the pack is closed once nobody has the pictures any more.
    """

    def __init__(
        self,
        split: Split,
        keys: Sequence[bytes],
        file: PackFile | None,
        *,
        form: Form,
        on_refusal: Callable[[OSError], None],
    ) -> None:
        self._split = split
        self._keys = keys
        self._file = file
        self._form = form
        self._on_refusal = on_refusal
        self._refused = threading.Lock()  # taken for good by the first write that fails
        self._reasons: dict[int, str] = {}
        self._done = np.zeros(len(split), bool)
        self._aspects = np.full(len(split), np.nan, np.float32)
        if file is not None:
            weakref.finalize(self, file.close)  # its locks, too, would stay with the process
            self._done |= file.pixels
            self._aspects[:] = file.aspects
            for index in np.flatnonzero(file.reasons).tolist():
                self._stored(index)

    def __len__(self) -> int:
        return len(self._split)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Picture]: ...
    def __getitem__(self, index: int | slice) -> Picture | Sequence[Picture]:
        chosen = range(len(self))[index]
        if isinstance(chosen, range):
            return LazyPictures(chosen, self.__getitem__)
        square = None if chosen in self._reasons else self._stored(chosen)
        if chosen in self._reasons:
            raise PictureError(f"{self._split.names[chosen]}: {self._reasons[chosen]}")
        return self._decode(chosen) if square is None else square

    @property
    def aspects(self) -> npt.NDArray[np.float32]:
        """Width / height of each picture as it is in its file, (N,), read-only; nan where not known yet."""
        view = self._aspects.view()
        view.flags.writeable = False
        return view

    @property
    def packed(self) -> int:
        """How many need not be decoded any more, those that cannot be included; it comes to N."""
        return int(np.count_nonzero(self._done))

    def unreadable(self) -> list[tuple[int, str]]:
        """Return index and reason of the pictures that are known not to be readable, in order."""
        return sorted(self._reasons.copy().items())  # a copy, as other threads add to it

    def fill(
        self, chosen: npt.NDArray[np.int64] | None = None, *, go_on: Callable[[], bool] = lambda: True
    ) -> None:
        """Decode those that are not packed yet, or only those `chosen`, in this thread.

        It ends early where nothing more can be kept, and once `go_on`, which is asked before each, says no.
        """
        wanted = np.arange(len(self)) if chosen is None else chosen
        for index in wanted[~self._done[wanted]].tolist():
            if self._file is None or self._refused.locked() or not go_on():
                return
            with suppress(PictureError):  # it is remembered
                self[index]

    def thumbnails(self, *, go_on: Callable[[], bool] = lambda: True) -> npt.NDArray[np.uint8] | None:
        """Return the whole pictures' `twins.thumbnail`, (N, SIDE, SIDE); None once `go_on` says no.

        Only what is not packed is decoded for it. One that cannot be read is black, which is nobody's twin.
        """
        small = np.zeros((len(self), SIDE, SIDE), np.uint8)
        for index in range(len(self)):
            if not go_on():
                return None
            record = self._record(index, start=self._form.bytes)
            with suppress(PictureError):
                if record is not None:
                    small[index] = np.frombuffer(record.content, np.uint8).reshape(SIDE, SIDE)
                elif index not in self._reasons:
                    small[index] = thumbnail(self._split.pictures[index])
        return small

    def close(self) -> None:
        """Close the pack."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _record(self, index: int, *, start: int = 0) -> Record | None:
        """What is packed of a picture that can be read, from `start` on."""
        record = self._file.read(index, start=start) if self._file is not None else None
        if record is None:
            return None
        self._done[index] = True
        if not record.readable:
            self._reasons[index] = record.content.decode(errors="replace")
            return None
        self._aspects[index] = record.aspect
        return record

    def _stored(self, index: int) -> Picture | None:
        record = self._record(index)
        if record is None:
            return None
        return np.frombuffer(record.content, np.uint8, self._form.bytes).reshape(*self._form.size, 3)

    def _decode(self, index: int) -> Picture:
        try:
            picture = self._split.pictures[index]
        except PictureError as error:
            self._reasons[index] = str(error).removeprefix(f"{self._split.names[index]}: ")
            if not _may_pass(error):
                text = self._reasons[index].encode(errors="backslashreplace")
                self._keep(index, Record(content=text[: self._form.bytes], readable=False))
            self._done[index] = True
            raise
        square = self._form.make(picture)
        aspect = picture.shape[1] / picture.shape[0]
        self._aspects[index] = aspect
        content = square.tobytes() + thumbnail(picture).tobytes()
        if self._keep(index, Record(content=content, readable=True, aspect=aspect)):
            self._done[index] = True
        return square

    def _keep(self, index: int, record: Record) -> bool:
        if self._file is None or self._refused.locked():
            return False
        key = file_key(self._split.names[index])
        if key != self._keys[index] or key.endswith(_NO_FILE):
            return False  # it changed since the pack was opened: the record would go under a wrong key
        try:
            self._file.write(index, record)
        except OSError as error:
            if self._refused.acquire(blocking=False):
                self._on_refusal(error)
            return False
        return True


def pack(
    split: Split,
    *,
    form: Form,
    folder: Path,
    divided: bool = False,
    on_notice: Callable[[str], None],
) -> PackedPictures:
    """Open the pack of a split's pictures in `folder`; its `names` must be their files' paths.

    A folder holds the pack of one set of pictures, for each `form` that was asked for. What has changed since
    it was last opened is decoded again, and `on_notice` is told, in one line; so it is, once, if squares
    cannot be kept (a full disk, a folder that may not be written): then they are decoded every time. It may
    be told from any thread. Of a set that was `divided` by a seed, only changed pictures are told of.
    """

    def refused(error: OSError) -> None:
        on_notice(_refusal(error, folder, len(split) * form.record_bytes))

    keys = [file_key(name) for name in split.names]
    file = None
    try:
        file = PackFile(folder / f"{form.name}-v{FORMAT}", keys, record_bytes=form.record_bytes)
    except OSError as error:
        refused(error)
    else:
        # By another seed, pictures that were there all the time come and go.
        changes = replace(file.changes, new=0, gone=0) if divided else file.changes
        if changes != Changes():
            on_notice(f"{folder.name}: {_told(changes)} since it was packed")
    return PackedPictures(split, keys, file, form=form, on_refusal=refused)


def stretched(picture: Picture, side: int) -> Picture:
    """Return the whole picture, (side, side, 3)."""
    return resized(picture, side, side)


def file_key(path: str) -> bytes:
    """Return what a file is known by: its absolute path, its size and the time it was last written."""
    try:
        status = os.stat(path)  # noqa: PTH116  # a Path for each of a million files is slow
        state = _FILE.pack(status.st_size, status.st_mtime_ns)
    except (OSError, ValueError):  # `decode` will say why
        state = _NO_FILE
    where = blake2b(os.fsencode(os.path.abspath(path)), digest_size=PATH_BYTES)  # noqa: PTH100
    return where.digest() + state


def _may_pass(error: PictureError) -> bool:
    """Whether the reason lies in the machine (permission, network, memory) and not in the file's content."""
    cause = error.__cause__  # Pillow raises OSErrors too, without a number
    return isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None)


def _refusal(error: OSError, folder: Path, size: int) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        needed = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
        found = f"no room in {folder} for the decoded pictures (needs {needed})"
    else:
        found = f"decoded pictures cannot be kept in {folder} ({error.strerror})"
    return f"{folder.name}: {found}; what is not kept is decoded every time"


def _told(changes: Changes) -> str:
    counts = ((changes.changed, "changed"), (changes.new, "new"), (changes.gone, "gone"))
    (first, what), *others = [each for each in counts if each[0]]
    told = [f"{first:,} picture{'' if first == 1 else 's'} {what}", *(f"{n:,} {what}" for n, what in others)]
    return ", ".join(told)
