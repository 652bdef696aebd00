"""Packs of small PNGs against plain Pillow; crashes, full disks and second processes as they are met."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from alexnet.errors import DataError, PictureError
from alexnet.images.batches import load_batches
from alexnet.images.datasets import open_dataset
from alexnet.images.decode import Picture, decode
from alexnet.images.packed import Form, PackedPictures, centred, pack, whole
from alexnet.images.splits import LazyPictures, Split
from alexnet.images.twins import thumbnail
from alexnet.images.views import View, center

Start = tuple[list[str], dict[str, str]]
SIDE = 8
RECORD = SIDE * SIDE * 3 + 11 * 11  # with a thumbnail
ENTRY = 64  # bytes of the index for each record
WHOLE = whole(SIDE)


class Photos:
    """A folder of pictures, its pack, what was decoded and what was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pictures"
        self.packs = folder / "cache" / "photos"
        self.decoded: list[str] = []
        self.notices: list[str] = []

    def paint(self, name: str, *, seed: int, size: tuple[int, int] = (12, 9)) -> Path:
        self.folder.mkdir(exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(self.folder / name, "PNG")
        return self.folder / name

    def split(self) -> Split:
        return self.split_of(sorted(self.folder.iterdir()))

    def split_of(self, paths: Sequence[Path], read: Callable[[Path], Picture] = decode) -> Split:
        def counted(path: Path) -> Picture:
            self.decoded.append(path.stem)
            return read(path)

        return Split(
            pictures=LazyPictures(paths, counted),
            labels=np.zeros(len(paths), np.int64),
            names=[str(path) for path in paths],
        )

    @contextmanager
    def open(self, split: Split | None = None, *, form: Form = WHOLE) -> Iterator[PackedPictures]:
        self.decoded.clear()
        self.notices.clear()
        packed = pack(split or self.split(), form=form, folder=self.packs, on_notice=self.notices.append)
        with closing(packed):
            yield packed

    def file(self, ending: str) -> Path:
        (found,) = self.packs.glob(f"*.{ending}")
        return found

    def damage(self, ending: str, offset: int, content: bytes) -> None:
        with self.file(ending).open("r+b") as file:
            file.seek(offset)
            file.write(content)


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    """Five pictures, a to e; none packed yet."""
    made = Photos(tmp_path)
    for seed, name in enumerate("abcde"):
        made.paint(f"{name}.png", seed=seed)
    return made


def square(path: str | Path, side: int = SIDE) -> Picture:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def check(packed: PackedPictures, split: Split) -> None:
    for name, picture in zip(split.names, packed, strict=True):
        np.testing.assert_array_equal(picture, square(name))


def test_a_picture_is_the_whole_stretched_to_a_square_by_pillow(photos: Photos) -> None:
    wide = photos.paint("wide.png", seed=7, size=(40, 10))
    with photos.open(photos.split_of([wide])) as packed:
        for _ in range(2):  # decoded, then read
            picture = packed[0]
            assert picture.dtype == np.uint8
            np.testing.assert_array_equal(picture, square(wide))
        assert packed.aspects.tolist() == [4.0]


def test_a_grey_picture_is_packed_in_three_channels(photos: Photos) -> None:
    path = photos.folder / "grey.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)).save(path)
    with photos.open(photos.split_of([path])) as packed:
        for _ in range(2):
            np.testing.assert_array_equal(packed[0], square(path))


def test_the_aspect_is_that_of_the_upright_picture(photos: Photos) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    path = photos.folder / "turned.png"
    Image.new("RGB", (20, 10)).save(path, exif=exif)
    with photos.open(photos.split_of([path])) as packed:
        assert np.isnan(packed.aspects).all()
        packed[0]
        assert packed.aspects.tolist() == [0.5]
        assert packed.aspects.dtype == np.float32
        assert not packed.aspects.flags.writeable


def test_no_picture_is_decoded_twice_also_not_in_another_run(photos: Photos) -> None:
    split = photos.split()
    with photos.open(split) as packed:
        for order in ([3, 1], [0, 1, 2, 3, 4], [4, 0]):
            for index in order:
                np.testing.assert_array_equal(packed[index], square(split.names[index]))
        assert photos.decoded == ["d", "b", "a", "c", "e"]
        assert packed.packed == 5
    for _ in range(2):
        with photos.open() as packed:
            assert packed.packed == 5
            assert packed.aspects.tolist() == pytest.approx([12 / 9] * 5)
            check(packed, split)
            assert (photos.decoded, photos.notices) == ([], [])


def test_what_was_packed_before_an_end_is_packed(photos: Photos) -> None:
    with photos.open() as packed:
        packed[1], packed[4]
    with photos.open() as packed:
        assert packed.packed == 2
        check(packed, photos.split())
        assert photos.decoded == ["a", "c", "d"]


def test_each_side_has_its_own_records(photos: Photos) -> None:
    for side in (SIDE, 5):
        with photos.open(form=whole(side)) as packed:
            assert packed[0].shape == (side, side, 3)
    with photos.open() as packed:
        packed[0]
        assert photos.decoded == []


def test_it_is_a_sequence_as_a_list_is_one(photos: Photos) -> None:
    with photos.open() as packed:
        assert len(packed) == 5
        np.testing.assert_array_equal(packed[-1], packed[4])
        np.testing.assert_array_equal(packed[np.int64(2)], packed[2])  # type: ignore[call-overload]
        backwards = packed[::-1]
        assert len(backwards) == 5
        np.testing.assert_array_equal(backwards[0], packed[4])
        for index in (5, -6):
            with pytest.raises(IndexError):
                packed[index]


def test_changed_new_and_gone_pictures_are_noticed_and_only_they_are_decoded(photos: Photos) -> None:
    with photos.open() as packed:
        packed.fill()
        assert photos.notices == []  # a new pack is no change
    photos.paint("b.png", seed=10)
    photos.paint("d.png", seed=11)
    (photos.folder / "a.png").unlink()
    photos.paint("f.png", seed=12)
    with photos.open() as packed:
        assert photos.notices == ["photos: 2 pictures changed, 1 new, 1 gone since it was packed"]
        assert packed.packed == 2
        check(packed, photos.split())
        assert photos.decoded == ["b", "d", "f"]
    with photos.open() as packed:
        check(packed, photos.split())
        assert (photos.decoded, photos.notices) == ([], [])


def test_one_change_is_told_in_the_singular(photos: Photos) -> None:
    with photos.open():
        pass
    (photos.folder / "c.png").unlink()
    with photos.open():
        assert photos.notices == ["photos: 1 picture gone since it was packed"]
    with photos.open():
        assert photos.notices == []


def test_a_file_of_the_same_size_written_at_another_time_has_changed(photos: Photos) -> None:
    path = photos.folder / "a.png"
    with photos.open() as packed:
        packed[0]
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with photos.open() as packed:
        packed[0]
        assert photos.decoded == ["a"]


def test_opening_a_part_of_the_pictures_does_not_cost_the_others_their_records(photos: Photos) -> None:
    with photos.open() as packed:
        packed.fill()
    with photos.open(photos.split().head(2)) as packed:
        assert len(packed) == 2
    with photos.open() as packed:
        check(packed, photos.split())
        assert photos.decoded == []


def test_the_place_of_what_is_gone_is_used_again(photos: Photos) -> None:
    with photos.open() as packed:
        packed.fill()
    size = photos.file("records").stat().st_size
    for name in "abc":
        photos.paint(f"{name}.png", seed=ord(name))
    with photos.open() as packed:
        check(packed, photos.split())
    assert photos.file("records").stat().st_size == size == 5 * RECORD
    with photos.open() as packed:
        check(packed, photos.split())
        assert photos.decoded == []


def test_the_place_of_what_is_gone_is_left_alone_while_another_has_the_pack_open(photos: Photos) -> None:
    before = photos.split()
    old = square(before.names[0])
    with photos.open(before) as first, photos.open(before) as second:
        first.fill()
        first.close()
        photos.paint("a.png", seed=99)
        with photos.open() as third:
            check(third, photos.split())
            np.testing.assert_array_equal(second[0], old)
        assert photos.file("records").stat().st_size == 6 * RECORD


def test_places_are_given_out_by_one_at_a_time(photos: Photos) -> None:
    with photos.open():
        pass
    opened: list[PackedPictures] = []

    def open_pack() -> None:
        opened.append(pack(photos.split(), form=WHOLE, folder=photos.packs, on_notice=photos.notices.append))

    thread = threading.Thread(target=open_pack)
    with photos.file("index").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        thread.start()
        thread.join(0.1)
        assert opened == []
    thread.join()
    opened[0].close()


def test_a_picture_that_was_listed_twice_is_packed_once(photos: Photos) -> None:
    path = photos.folder / "a.png"
    with photos.open(photos.split_of([path, path])) as packed:
        np.testing.assert_array_equal(packed[0], packed[1])
        assert photos.decoded == ["a"]


@pytest.mark.parametrize("place", [0, RECORD // 2, RECORD - 1])
def test_a_damaged_record_is_decoded_again(photos: Photos, place: int) -> None:
    with photos.open() as packed:
        packed.fill()
    content = photos.file("records").read_bytes()
    photos.damage("records", 2 * RECORD + place, bytes([content[2 * RECORD + place] ^ 1]))
    with photos.open() as packed:
        check(packed, photos.split())
        assert photos.decoded == ["c"]
    assert photos.file("records").read_bytes() == content


@pytest.mark.parametrize("place", range(48))
def test_a_damaged_entry_is_decoded_again(photos: Photos, place: int) -> None:
    with photos.open() as packed:
        packed.fill()
    entry = photos.file("index").read_bytes()[2 * ENTRY : 3 * ENTRY]
    photos.damage("index", 2 * ENTRY + place, bytes([entry[place] ^ 1]))
    with photos.open() as packed:
        check(packed, photos.split())
        assert photos.decoded == ([] if 41 <= place < 44 else ["c"])  # three bytes are not used


@pytest.mark.parametrize("ending", ["index", "records"])
@pytest.mark.parametrize("left", [0, 1, 63, 64, 100, 3 * RECORD + 1])
def test_whatever_is_cut_off_the_pictures_are_right(photos: Photos, ending: str, left: int) -> None:
    with photos.open() as packed:
        packed.fill()
    os.truncate(photos.file(ending), left)
    with photos.open() as packed:
        check(packed, photos.split())
    with photos.open() as packed:
        check(packed, photos.split())
        assert photos.decoded == []


def test_what_is_cut_off_while_it_is_open_is_decoded_again(photos: Photos) -> None:
    with photos.open() as packed:
        for left in (5 * RECORD, 3 * RECORD - 1, 0):
            check(packed, photos.split())
            os.truncate(photos.file("records"), left)
        check(packed, photos.split())
        assert photos.decoded == ["a", "b", "c", "d", "e", "c", "d", "e", "a", "b", "c", "d", "e"]


def test_an_entry_that_a_power_failure_took_is_a_new_picture(photos: Photos) -> None:
    with photos.open() as packed:
        packed.fill()
    photos.damage("index", 2 * ENTRY, bytes(ENTRY))
    with photos.open() as packed:
        assert photos.notices == ["photos: 1 picture new since it was packed"]
        check(packed, photos.split())
        assert photos.decoded == ["c"]
    assert photos.file("index").stat().st_size == 5 * ENTRY


def test_a_file_of_something_else_in_its_place_is_taken_for_no_picture(photos: Photos) -> None:
    with photos.open():
        pass
    for ending in ("index", "records"):
        photos.file(ending).write_bytes(np.random.default_rng(0).bytes(1000))
    for decoded in (["a", "b", "c", "d", "e"], []):
        with photos.open() as packed:
            check(packed, photos.split())
            assert photos.decoded == decoded


def test_a_record_whose_entry_was_not_written_is_decoded_again(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the two writes: the slot holds another picture's entry or none."""
    written: list[tuple[bytes, int]] = []

    def noted(file: int, content: bytes, offset: int) -> int:
        written.append((bytes(content), offset))
        return len(content)

    with photos.open() as packed:
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", noted)
            packed[2]
        (record, offset), (entry, _) = written
        assert (len(record), offset, len(entry)) == (RECORD, 2 * RECORD, ENTRY)  # the record comes first
        photos.damage("records", offset, record)
    with photos.open() as packed:
        assert packed.packed == 0
        check(packed, photos.split())


def test_an_unreadable_picture_is_tried_once_until_its_file_changes(photos: Photos) -> None:
    bad = photos.folder / "b.png"
    bad.write_bytes(b"nothing")
    with photos.open() as packed:
        messages = []
        for _ in range(2):
            with pytest.raises(PictureError) as caught:
                packed[1]
            messages.append(str(caught.value))
        with pytest.raises(PictureError) as witness:
            decode(bad)
        assert messages == [str(witness.value)] * 2
        assert photos.decoded == ["b"]
        ((index, reason),) = packed.unreadable()
        assert index == 1
        assert reason.startswith("not a picture; it must be one of JPEG")
        assert packed.packed == 1
    with photos.open() as packed:
        assert packed.unreadable() == [(index, reason)]
        assert packed.packed == 1
        with pytest.raises(PictureError) as caught:
            packed[1]
        assert str(caught.value) == str(witness.value)
        assert photos.decoded == []
    photos.paint("b.png", seed=1)
    with photos.open() as packed:
        assert photos.notices == ["photos: 1 picture changed since it was packed"]
        check(packed, photos.split())
        assert packed.unreadable() == []


@pytest.mark.parametrize(
    ("cause", "tried_again"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (MemoryError(), True),
        (OSError("image file is truncated"), False),  # so says Pillow, of the file's content
    ],
)
def test_what_is_not_the_files_fault_is_tried_again_in_the_next_run(
    photos: Photos, cause: Exception, tried_again: bool
) -> None:
    def fail(path: Path) -> Picture:
        raise PictureError(f"{path}: cannot be opened") from cause

    path = photos.folder / "a.png"
    with photos.open(photos.split_of([path], fail)) as packed:
        for _ in range(2):
            with pytest.raises(PictureError, match=r"a\.png: cannot be opened"):
                packed[0]
        assert photos.decoded == ["a"]
    with photos.open(photos.split_of([path])) as packed:
        assert len(packed.unreadable()) == (0 if tried_again else 1)


def test_a_missing_file_is_unreadable_until_it_is_there(photos: Photos) -> None:
    path = photos.folder / "late.png"
    with (
        photos.open(photos.split_of([path])) as packed,
        pytest.raises(PictureError, match=r"late\.png: no such file"),
    ):
        packed[0]
    photos.paint("late.png", seed=3)
    with photos.open(photos.split_of([path])) as packed:
        np.testing.assert_array_equal(packed[0], square(path))


def test_a_file_that_changes_while_it_is_decoded_is_not_kept(photos: Photos) -> None:
    def overtaken(path: Path) -> Picture:
        picture = decode(path)
        photos.paint("a.png", seed=50, size=(30, 30))
        return picture

    path = photos.folder / "a.png"
    with photos.open(photos.split_of([path], overtaken)) as packed:
        packed[0]
        assert packed.packed == 0
    with photos.open() as packed:
        np.testing.assert_array_equal(packed[0], square(path))


def full_disk(monkeypatch: pytest.MonkeyPatch, *, room: int) -> None:
    """A disk that takes `room` bytes more: it writes what fits of a request, and refuses the next."""
    pwrite, left = os.pwrite, [room]

    def limited(file: int, content: bytes, offset: int) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = pwrite(file, memoryview(content)[: left[0]], offset)
        left[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", limited)


@pytest.mark.parametrize(
    ("room", "kept"),
    [
        (0, 0),
        (100, 0),  # not all entries
        (5 * ENTRY, 0),
        (5 * ENTRY + 2 * (RECORD + ENTRY), 2),
        (5 * ENTRY + 2 * (RECORD + ENTRY) + 100, 2),  # half a record
        (5 * ENTRY + 3 * RECORD + 2 * ENTRY + 40, 2),  # half an entry
    ],
)
def test_a_full_disk_is_told_once_and_the_pictures_are_right(
    photos: Photos, monkeypatch: pytest.MonkeyPatch, room: int, kept: int
) -> None:
    with monkeypatch.context() as patched:
        full_disk(patched, room=room)
        with photos.open() as packed:
            for _ in range(2):
                check(packed, photos.split())
            assert photos.notices == [
                f"photos: no room in {photos.packs} for the decoded pictures (needs 0.0 MB); what is not "
                "kept is decoded every time"
            ]
            assert packed.packed == kept
            assert len(photos.decoded) == kept + 2 * (5 - kept)
            packed.fill()
            assert packed.packed == kept
    with photos.open() as packed:
        assert packed.packed == kept
        check(packed, photos.split())
        assert len(photos.decoded) == 5 - kept


@pytest.mark.parametrize(
    ("blocks", "free", "kept"),  # of 4 kB: a disk of 4 MB, and one of 400 GB
    [(1000, 49, 0), (1000, 51, 5), (10**8, 262_000, 0), (10**8, 263_000, 5)],
)
def test_what_a_run_needs_of_a_disk_is_left_to_it(
    photos: Photos, monkeypatch: pytest.MonkeyPatch, blocks: int, free: int, kept: int
) -> None:
    """A twentieth of it, at most 1 GB."""
    disk = SimpleNamespace(f_frsize=4096, f_blocks=blocks, f_bavail=free)
    monkeypatch.setattr(os, "fstatvfs", lambda _: disk)
    with photos.open() as packed:
        check(packed, photos.split())
        assert packed.packed == kept
        assert len(photos.notices) == (kept == 0)


def test_filling_ends_where_nothing_more_can_be_kept(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted(photos.folder.iterdir()) * 200
    full_disk(monkeypatch, room=0)
    with photos.open(photos.split_of(paths)) as packed:
        packed.fill()
        assert 0 < len(photos.decoded) < 100
        assert len(photos.notices) == 1


def test_on_a_full_disk_what_is_packed_is_read_though_pictures_were_added(
    photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    with photos.open() as packed:
        packed.fill()
    photos.paint("f.png", seed=6)
    full_disk(monkeypatch, room=0)
    with photos.open() as packed:
        check(packed, photos.split())
        assert photos.decoded == ["f"]
        assert len(photos.notices) == 2  # one new, and no room


def test_a_folder_that_cannot_be_made_is_told_once_and_the_pictures_are_right(photos: Photos) -> None:
    photos.packs.parent.write_text("a file where the cache would be")
    with photos.open() as packed:
        for _ in range(2):
            check(packed, photos.split())
        packed.fill()
        (notice,) = photos.notices
        assert notice.startswith(f"photos: decoded pictures cannot be kept in {photos.packs} (")
        assert notice.endswith("); what is not kept is decoded every time")
        assert packed.packed == 0
        assert len(photos.decoded) == 10


def test_a_pack_that_may_only_be_read_is_read(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    with photos.open() as packed:
        packed[0], packed[1]
    plain = os.open

    def read_only(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return plain(path, flags, mode)

    monkeypatch.setattr(os, "open", read_only)
    for added in ("", "f"):
        if added:
            photos.paint("f.png", seed=6)
        with photos.open() as packed:
            check(packed, photos.split())
            assert photos.decoded == ["c", "d", "e", *added]
            assert len(photos.notices) == 1 + len(added)
            assert "(Read-only file system)" in photos.notices[-1]


def test_a_system_without_file_locks_keeps_nothing(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with photos.open() as packed:
        check(packed, photos.split())
        assert "no file locks" in photos.notices[0]


def test_pictures_without_files_are_never_kept(photos: Photos) -> None:
    pictures = [np.full((SIDE, SIDE, 3), value, np.uint8) for value in (1, 2)]
    split = Split(pictures=pictures, labels=np.zeros(2, np.int64), names=["made/0", "made/1"])
    with photos.open(split) as packed:
        assert [int(picture.max()) for picture in packed] == [1, 2]
        assert packed.packed == 0


def test_after_closing_pictures_are_decoded_and_nothing_is_kept(photos: Photos) -> None:
    with photos.open() as packed:
        packed.close()
        check(packed, photos.split())
    with photos.open() as packed:
        assert packed.packed == 0


@pytest.mark.parametrize("held", [False, True])
def test_a_pack_that_nobody_has_any_more_is_closed(photos: Photos, held: bool) -> None:
    pictures: Sequence[Picture] = pack(
        photos.split(), form=WHOLE, folder=photos.packs, on_notice=photos.notices.append
    )
    kept = pictures[1:] if held else None  # a part of them has them all
    del pictures
    gc.collect()
    with photos.file("records").open("r+b") as file:
        if kept is None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            with pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            np.testing.assert_array_equal(kept[0], square(photos.folder / "b.png"))


def test_filling_comes_to_all_of_them_once(photos: Photos) -> None:
    (photos.folder / "c.png").write_bytes(b"nothing")
    with photos.open() as packed:
        packed[1]
        for _ in range(2):
            packed.fill()
            assert sorted(photos.decoded) == ["a", "b", "c", "d", "e"]
            assert packed.packed == len(packed) == 5


def test_filling_is_of_those_chosen_and_ends_where_it_is_told_to(photos: Photos) -> None:
    for index in range(150):
        photos.paint(f"more{index}.png", seed=index)
    with photos.open() as packed:
        packed.fill(np.arange(0, 100, 2), go_on=lambda: True)
        assert len(photos.decoded) == packed.packed == 50
        packed.fill(np.arange(len(packed)), go_on=lambda: packed.packed < 90)
        assert packed.packed == 90


def test_thumbnails_are_those_of_the_whole_pictures_packed_or_not(photos: Photos) -> None:
    (photos.folder / "c.png").write_bytes(b"nothing")
    split = photos.split()
    expected = np.zeros((len(split), 11, 11), np.uint8)
    for index, name in enumerate(split.names):
        if Path(name).stem != "c":
            expected[index] = thumbnail(split.pictures[index])
    assert (expected.reshape(len(split), -1).max(axis=1) > 0).tolist() == [
        Path(name).stem != "c" for name in split.names
    ]
    with photos.open(split) as packed:
        packed[1]
        for _ in range(2):
            found = packed.thumbnails()
            assert found is not None
            np.testing.assert_array_equal(found, expected)
            packed.fill()
        photos.decoded.clear()
        packed.thumbnails()
        assert photos.decoded == []
        assert packed.thumbnails(go_on=lambda: False) is None


def test_many_threads_may_ask_for_the_same_pictures(photos: Photos) -> None:
    split = photos.split()
    faults: list[BaseException] = []
    with photos.open(split) as packed:

        def ask() -> None:
            try:
                for _ in range(20):
                    check(packed, split)
            except BaseException as fault:
                faults.append(fault)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []


def test_what_one_has_packed_another_that_was_open_already_reads(photos: Photos) -> None:
    with photos.open() as first, photos.open() as second:
        first.fill()
        photos.decoded.clear()
        check(second, photos.split())
        assert photos.decoded == []
        assert second.packed == 5
        assert not np.isnan(second.aspects).any()


def test_batches_of_a_pack_leave_out_and_report_what_cannot_be_read(photos: Photos) -> None:
    (photos.folder / "b.png").write_bytes(b"nothing")
    reported: list[int] = []
    with photos.open() as packed:
        batches = list(
            load_batches(
                packed,
                [4, 1, 0],
                shape=lambda picture: picture,
                batch_size=8,
                workers=2,
                on_unreadable=lambda index, reason: reported.append(index),
            )
        )
    ((batch, indices),) = batches
    assert (batch.shape, indices.tolist(), reported) == ((2, SIDE, SIDE, 3), [4, 0], [1])


def test_a_side_below_one_is_refused() -> None:
    with pytest.raises(DataError, match="side is 0; it must be at least 1"):
        whole(0)


# --- the view's centre ------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [View.of(8, 8), View.of(6, 9), View(height=5, width=3, resize=20)], ids=str)
def test_a_centre_is_the_view_s_to_the_last_bit(photos: Photos, view: View) -> None:
    grey = photos.folder / "grey.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)).save(grey)
    photos.paint("high.png", seed=8, size=(11, 40))
    split = photos.split()
    for decoded in ([Path(name).stem for name in split.names], []):  # decoded, then read in another run
        with photos.open(split, form=centred(view)) as packed:
            for name, picture in zip(split.names, packed, strict=True):
                assert picture.shape == (view.height, view.width, 3)
                np.testing.assert_array_equal(picture, center(decode(Path(name)), view))
            assert photos.decoded == decoded


def test_the_comparison_of_centres_can_fail(photos: Photos) -> None:
    with photos.open(form=centred(View.of(8, 8))) as packed:
        assert packed[0].shape == square(photos.split().names[0]).shape
        assert not np.array_equal(packed[0], square(photos.split().names[0]))


def test_all_forms_of_the_pictures_lie_in_one_folder_and_do_each_other_no_harm(photos: Photos) -> None:
    split = photos.split()
    # Two centres of the same size, cut from different canvases, are not the same pixels.
    views = [View(height=SIDE, width=SIDE, resize=resize) for resize in (SIDE, SIDE + 4)]
    forms = [whole(SIDE), whole(5), *(centred(view) for view in views)]
    for decoded in (["b"], []):
        for form in forms:
            with photos.open(split, form=form) as packed:
                packed[1]
                assert (photos.decoded, photos.notices) == (decoded, [])
    assert len(list(photos.packs.glob("*.records"))) == len({form.name for form in forms}) == 4
    (photos.folder / "b.png").write_bytes(b"nothing")
    for form in forms:
        with photos.open(split, form=form) as packed:
            assert photos.notices == ["photos: 1 picture changed since it was packed"]
            with pytest.raises(PictureError):
                packed[1]
    for view in views:
        with photos.open(split, form=centred(view)) as packed:
            np.testing.assert_array_equal(packed[2], center(decode(Path(split.names[2])), view))


@pytest.mark.parametrize(
    ("form", "size"), [(whole(7), 7 * 7 * 3), (centred(View(height=4, width=6, resize=9)), 4 * 6 * 3)]
)
def test_a_record_is_as_large_as_its_pixels_and_its_thumbnail(photos: Photos, form: Form, size: int) -> None:
    assert form.bytes == size
    with photos.open(form=form) as packed:
        packed.fill()
    assert photos.file("records").stat().st_size == 5 * (size + 11 * 11)


FILL = """
import sys
from pathlib import Path
import numpy as np
from alexnet.images.batches import load_batches
from alexnet.images.decode import decode
from alexnet.images.packed import pack, whole
from alexnet.images.splits import LazyPictures, Split
paths = sorted(Path(sys.argv[1]).iterdir())
pictures, names = LazyPictures(paths, decode), [str(path) for path in paths]
split = Split(pictures=pictures, labels=np.zeros(len(paths), int), names=names)
packed = pack(split, form=whole(64), folder=Path(sys.argv[2]), on_notice=print)
indices = range(len(packed))
for _ in load_batches(packed, indices, shape=np.fliplr, batch_size=64, workers=2):
    print(packed.packed, flush=True)
    sys.stdin.readline()
print(packed.packed)
"""


def start_filling(photos: Photos, python: Start, *, stdin: int) -> subprocess.Popen[str]:
    """After each batch it waits for a line, or for the end of its input."""
    command, environment = python
    arguments = [*command, "-c", FILL, str(photos.folder), str(photos.packs)]
    return subprocess.Popen(arguments, env=environment, stdin=stdin, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_where_it_stopped(photos: Photos, python: Start) -> None:
    for index in range(1500):
        photos.paint(f"{index}.png", seed=index, size=(100, 60))
    split = photos.split()
    before = 0
    for lines in (1, 2, 3):
        process = start_filling(photos, python, stdin=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
            process.stdin.write("go on\n")
            process.stdin.flush()
        process.kill()  # its threads are at work on the next batches
        process.communicate()
        with photos.open(split, form=whole(64)) as packed:
            assert before < packed.packed < len(packed)
            before = packed.packed
            pictures = [packed._stored(index) for index in range(len(packed))]  # as the killed one left them
        assert sum(picture is not None for picture in pictures) == before
        for name, picture in zip(split.names, pictures, strict=True):
            if picture is not None:
                np.testing.assert_array_equal(picture, square(name, 64))


@pytest.mark.slow
def test_processes_that_fill_the_same_pack_do_each_other_no_harm(photos: Photos, python: Start) -> None:
    for index in range(500):
        photos.paint(f"{index}.png", seed=index, size=(100, 60))
    split = photos.split()
    processes = [start_filling(photos, python, stdin=subprocess.DEVNULL) for _ in range(3)]
    for process in processes:
        told, _ = process.communicate()
        assert process.returncode == 0
        assert told.split()[-1] == "505"
    with photos.open(split, form=whole(64)) as packed:
        assert packed.packed == len(packed) == 505
        for index, name in enumerate(split.names):
            np.testing.assert_array_equal(packed[index], square(name, 64))
        assert photos.decoded == []
    assert photos.file("records").stat().st_size == 505 * (64 * 64 * 3 + 11 * 11)


def test_pictures_that_another_division_brings_are_not_told_of(
    paint: Callable[..., Path], tmp_path: Path
) -> None:
    data = open_dataset(paint(tmp_path / "photos"), seed=1)
    told: list[str] = []
    for chosen in (range(10), range(5, 15)):
        for divided in (True, False):
            folder = tmp_path / f"pack-{divided}"
            packed = pack(
                data.train.subset(chosen),
                form=whole(8),
                folder=folder,
                divided=divided,
                on_notice=told.append,
            )
            packed.fill()
            packed.close()
    assert told == ["pack-False: 5 pictures new, 5 gone since it was packed"]
