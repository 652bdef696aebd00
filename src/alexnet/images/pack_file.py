"""Records on disk, one for a key, that several processes fill at once and any may be killed while it does.

Two files: `.records` holds the contents, each at a fixed place (a slot); `.index` has an entry for each slot
that says whose it is. A record is written before its entry, and the entry's checksum covers both, so that
what was not written whole is not there. They are read and written by pread and pwrite: in a memory map a full
disk would end the process by SIGBUS, and every page read would count as the process's own memory.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
import numpy.typing as npt

PATH_BYTES = 16  # a key's first bytes stand for the path, its others for the state of the file there
KEY_BYTES = 32

_ENTRY = np.dtype(
    {
        "names": ["key", "aspect", "length", "state", "checksum", "gone"],
        "formats": [f"V{KEY_BYTES}", "<f4", "<u4", "u1", "<u4", "u1"],
        "offsets": [0, 32, 36, 40, 44, 48],
        "itemsize": 64,  # divides a disk's sector, so that no entry is half on the disk
    }
)
_RESERVE, _RESERVED_SHARE = 2**30, 0.05  # of a disk, bytes and share, that are left for a run's own files
_CHECKED = 41  # bytes of an entry, up to and with its state, that its checksum covers beside the record
_GONE = 48  # where in an entry it is noted that nobody asked for the key when the pack was last opened
_EMPTY, _PIXELS, _REASON = range(3)  # states


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is kept of a file."""

    content: bytes  # pixels, or else why there are none, in UTF-8
    readable: bool  # whether it is pixels
    aspect: float = nan  # width / height of the picture in the file


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How the keys differ from those that the pack was opened with before; all 0 for a new pack."""

    changed: int = 0  # same path, another state of the file
    new: int = 0
    gone: int = 0


class PackFile:
    """An open pack: a record for each of `keys`, by its place there. Any thread may read and write.

    A pack that may not be written is opened for reading, and so is one where new entries have no room;
    `write` then raises that OSError. Raises OSError where a pack can be neither read nor made. A record whose
    key nobody asks for stays until another needs its slot and no other process has the pack open.
    """

    def __init__(self, path: Path, keys: Sequence[bytes], *, record_bytes: int) -> None:
        try:
            import fcntl
        except ImportError as error:
            raise OSError(errno.ENOTSUP, "this system has no file locks") from error
        self._keys = keys
        self._record_bytes = record_bytes
        self._verified = bytearray(len(keys))
        self._refusal: OSError | None = None
        self._open_files: list[int] = []
        try:
            self._index = self._open(Path(f"{path}.index"))
            self._records = self._open(Path(f"{path}.records"))
            # The index is locked while slots are given out; the records, shared, for as long as they are
            # open: who has them alone knows that nobody will write to the slot of a picture that is gone.
            fcntl.flock(self._index, fcntl.LOCK_EX)
            try:
                fcntl.flock(self._records, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
            except BlockingIOError:
                alone = False
            self._give_slots(alone=alone)
            fcntl.flock(self._records, fcntl.LOCK_SH)
            fcntl.flock(self._index, fcntl.LOCK_UN)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path) -> int:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if not path.exists():
                raise
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._refusal = error
        self._open_files.append(file)
        return file

    def _give_slots(self, *, alone: bool) -> None:
        """Find each key's slot and give those without one theirs; and tell what there is."""
        content = os.pread(self._index, os.fstat(self._index).st_size, 0)
        entries = np.frombuffer(content, _ENTRY, count=len(content) // _ENTRY.itemsize)
        stored: list[bytes] = entries["key"].tolist()
        slots = {key: slot for slot, key in enumerate(stored)}
        wanted = dict.fromkeys(self._keys)
        missing = [key for key in wanted if key not in slots]
        unused = [slot for slot, key in enumerate(stored) if key not in wanted]
        self.changes = _compare(stored, entries["gone"], wanted, missing)

        found = np.array([slots.get(key, -1) for key in self._keys], np.int64)
        there = found >= 0
        states = np.full(len(found), _EMPTY, np.uint8)
        states[there] = entries["state"][found[there]]
        self.pixels, self.reasons = states == _PIXELS, states == _REASON
        self.aspects = np.full(len(found), nan, np.float32)
        self.aspects[there] = entries["aspect"][found[there]]

        reused = dict(zip(missing, unused, strict=False)) if alone else {}
        added = {key: len(stored) + place for place, key in enumerate(missing[len(reused) :])}
        try:
            if self._refusal is not None:
                raise self._refusal
            gone = np.zeros(len(stored), np.uint8)
            gone[unused] = 1
            for slot in np.flatnonzero(gone != entries["gone"]).tolist():
                _write(self._index, gone[slot].tobytes(), slot * _ENTRY.itemsize + _GONE)
            for key, slot in reused.items():
                _write(self._index, _entry(key), slot * _ENTRY.itemsize)
            _write(self._index, b"".join(map(_entry, added)), len(stored) * _ENTRY.itemsize)
            slots |= reused | added
        except OSError as error:
            self._refusal = error
        self._slots = [slots.get(key, -1) for key in self._keys]

    def read(self, index: int, *, start: int = 0) -> Record | None:
        """Return the record, also one that another process has written meanwhile; None if it is not whole.

        With `start`, of one that is pixels its content from there on, which is not compared to the checksum.
        """
        slot = self._slots[index]
        if slot < 0:
            return None
        try:
            head = os.pread(self._index, _ENTRY.itemsize, slot * _ENTRY.itemsize)
            if len(head) < _ENTRY.itemsize or head[:KEY_BYTES] != self._keys[index]:
                return None
            entry = np.frombuffer(head, _ENTRY)[0]
            length = int(entry["length"])
            if entry["state"] == _EMPTY or length > self._record_bytes:
                return None
            start = start if entry["state"] == _PIXELS else 0
            content = os.pread(self._records, length - start, slot * self._record_bytes + start)
        except OSError:
            return None
        if len(content) < length - start:
            return None
        # Once: it is to find what a crash left, not what a disk forgets later.
        if not start and not self._verified[index]:
            if _checksum(head, content) != entry["checksum"]:
                return None
            self._verified[index] = 1
        return Record(content=content, readable=entry["state"] == _PIXELS, aspect=float(entry["aspect"]))

    def write(self, index: int, record: Record) -> None:
        """Keep the record, of at most `record_bytes`; raises OSError, with none kept, where that fails."""
        slot = self._slots[index]
        if self._refusal is not None:
            raise self._refusal
        _check_room(self._records)
        _write(self._records, record.content, slot * self._record_bytes)
        _write(self._index, _entry(self._keys[index], record), slot * _ENTRY.itemsize)

    def close(self) -> None:
        """Close the files, which gives the locks back; the pack must not be in use by another thread."""
        while self._open_files:
            os.close(self._open_files.pop())


def _check_room(file: int) -> None:
    """Raise OSError where the disk has no more than what the run itself needs of it, for its weights."""
    if hasattr(os, "fstatvfs"):  # Windows has none
        disk = os.fstatvfs(file)
        if disk.f_bavail < min(_RESERVE / disk.f_frsize, disk.f_blocks * _RESERVED_SHARE):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _compare(
    stored: Sequence[bytes],
    gone: npt.NDArray[np.uint8],
    wanted: Mapping[bytes, None],
    missing: Sequence[bytes],
) -> Changes:
    if not stored:
        return Changes()
    known = {key for key, left in zip(stored, gone, strict=True) if not left and any(key)}
    paths_before = {key[:PATH_BYTES] for key in known}
    paths_now = {key[:PATH_BYTES] for key in wanted}
    changed = sum(key[:PATH_BYTES] in paths_before for key in missing)
    return Changes(changed=changed, new=len(missing) - changed, gone=len(paths_before - paths_now))


def _entry(key: bytes, record: Record | None = None) -> bytes:
    entry = np.zeros(1, _ENTRY)
    entry["key"] = np.void(key)
    entry["aspect"] = nan
    if record is not None:
        entry["aspect"] = record.aspect
        entry["length"] = len(record.content)
        entry["state"] = _PIXELS if record.readable else _REASON
        entry["checksum"] = _checksum(entry.tobytes(), record.content)
    return entry.tobytes()


def _checksum(entry: bytes, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(entry[:_CHECKED]))


def _write(file: int, content: bytes, offset: int) -> None:
    left = memoryview(content)
    while left:  # a nearly full disk takes a part, and refuses the next
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written
