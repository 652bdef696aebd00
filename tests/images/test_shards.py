"""Shards written by the standard library's tarfile, against what was written."""

from __future__ import annotations

import io
import sys
import tarfile
import threading
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet.errors import DataError, MissingExtraError, PictureError
from alexnet.images import shards as module
from alexnet.images.shards import Drawn, Shards, is_shards, open_shards, shard_batches

CLASSES = ("cats", "dogs", "emus")
Member = tuple[str, bytes]
Write = Callable[..., Path]


def png(value: int, *, width: int = 3, height: int = 2) -> bytes:
    """One colour, so that a picture is known by its value after stretching too."""
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def members(values: Sequence[int]) -> list[Member]:
    """A picture of each value, whose class is the value modulo 3."""
    return [
        member
        for value in values
        for member in ((f"{value:03}.png", png(value)), (f"{value:03}.cls", str(value % 3).encode()))
    ]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a shard of these members: write("a.tar", [("0.png", b"...")])."""
    pytest.importorskip("webdataset")

    def write(name: str, content: Sequence[Member], mode: str = "w") -> Path:
        with tarfile.open(tmp_path / name, mode) as tar:  # type: ignore[call-overload]
            for member, data in content:
                information = tarfile.TarInfo(member)
                information.size = len(data)
                tar.addfile(information, io.BytesIO(data))
        return tmp_path / name

    return write


@pytest.fixture
def six(write: Write, tmp_path: Path) -> Shards:
    """Six shards of 4 to 9 pictures, of values 0 to 38."""
    first = 0
    for number, count in enumerate(range(4, 10)):
        write(f"photos-{number:06}.tar", members(range(first, first + count)))
        first += count
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    return open_shards(tmp_path / "photos-{000000..000005}.tar")


def draw(
    shards: Shards, *, batches: int | None = None, batch_size: int = 4, workers: int = 0, **how: Any
) -> list[int]:
    """The values of the pictures, in the order of the stream, labels having been looked at."""
    passes, seed = how.pop("passes", None), how.pop("seed", 0)
    stream = shard_batches(
        shards,
        side=5,
        batch_size=batch_size,
        workers=workers,
        seed=seed,
        passes=passes,
        **how,
    )
    values: list[int] = []
    for batch in islice(stream, batches):
        assert batch.squares.shape == (len(batch.labels), 5, 5, 3)
        assert batch.squares.dtype == np.uint8
        here = batch.squares[:, 0, 0, 0].astype(int).tolist()
        assert batch.labels.tolist() == [value % 3 for value in here]
        assert batch.aspects.tolist() == [1.5] * len(here)
        values += here
    stream.close()
    return values


def test_every_picture_comes_once_a_pass_in_another_order(six: Shards) -> None:
    assert six.class_names == CLASSES
    first, second = draw(six, passes=1), draw(six, passes=2)[39:]
    assert sorted(first) == sorted(second) == list(range(39))
    assert len({tuple(first), tuple(second), tuple(range(39))}) == 3


def test_without_a_seed_pictures_come_as_they_lie(six: Shards) -> None:
    assert draw(six, seed=None, passes=1) == list(range(39))


def test_a_seed_gives_one_order_whatever_the_threads(six: Shards) -> None:
    assert draw(six, seed=1, batches=15) == draw(six, seed=1, batches=15, workers=3)
    assert draw(six, seed=1, batches=15) != draw(six, seed=2, batches=15)


def test_without_a_number_of_passes_it_never_ends(six: Shards) -> None:
    values = draw(six, batches=40, batch_size=7)
    assert len(values) == 280
    assert {values.count(value) for value in range(39)} <= {7, 8}


def test_pictures_of_one_shard_are_spread_and_few_are_held(
    six: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHUFFLED", 6)
    values = draw(six, passes=1)
    assert sorted(values) == list(range(39))
    # No more than the six that are held lie between a picture's place in the shards and in the stream.
    order = np.random.default_rng((0, 0)).permutation(6)
    starts = np.cumsum([0, *range(4, 9)])
    as_read = [int(starts[shard]) + index for shard in order for index in range(4 + shard)]
    assert all(as_read.index(value) - place <= 6 for place, value in enumerate(values))
    assert values != as_read


def test_processes_share_the_shards_of_each_pass(six: Shards) -> None:
    one_pass = [draw(six, passes=1, rank=rank, world=4) for rank in range(4)]
    assert sorted(value for share in one_pass for value in share) == list(range(39))
    assert all(one_pass)
    # Dealt anew in each pass, so that a process sees other shards in time.
    two = draw(six, passes=2, rank=0, world=4)
    assert set(two[len(one_pass[0]) :]) != set(one_pass[0])


@pytest.mark.parametrize("skipped", [1, 3, 9, 20])
def test_a_stream_goes_on_where_it_was_left(six: Shards, skipped: int) -> None:
    how: dict[str, Any] = {"seed": 3, "rank": 1, "world": 2}
    stream = shard_batches(six, side=5, batch_size=4, workers=2, **how)
    drawn = [batch.drawn for batch in islice(stream, skipped)]
    stream.close()
    assert [each.pictures for each in drawn] == [4 * (number + 1) for number in range(skipped)]
    expected = draw(six, batches=skipped + 8, **how)[4 * skipped :]
    assert draw(six, after=drawn[-1], batches=8, **how) == expected


@pytest.mark.parametrize(
    ("batches", "opened"),
    [
        (2, 6),  # 32 of the 39 pictures of the first pass
        (3, 6),  # nine of the second, which alone is read
        (12, 6),  # 36 of the fifth
        (39, 6 + 6),  # all of the sixteenth: that there is a next one was not known yet
    ],
)
def test_going_on_reads_no_pass_again_that_had_ended(
    six: Shards, monkeypatch: pytest.MonkeyPatch, batches: int, opened: int
) -> None:
    """The six shards of a pass are all read before its first picture is given, as they are so small."""
    stream = shard_batches(six, side=5, batch_size=16, workers=0, seed=0)
    for _ in range(batches):
        drawn = next(stream).drawn
    stream.close()
    read: list[str] = []
    plain = module._open

    def noting(url: str) -> Any:
        read.append(url)
        return plain(url)

    monkeypatch.setattr(module, "_open", noting)
    after = shard_batches(six, side=5, batch_size=1, workers=0, seed=0, after=drawn)
    next(after)
    after.close()
    assert len(read) == opened


def test_what_was_drawn_is_counted_to_the_last_picture(six: Shards) -> None:
    assert [
        batch.drawn.pictures
        for batch in shard_batches(six, side=5, batch_size=16, workers=0, seed=0, passes=1)
    ] == [16, 32, 39]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_picture_is_told_and_left_out(write: Write, workers: int) -> None:
    broken = [("x.png", b"not a picture"), ("x.cls", b"0")]
    path = write("a.tar", [*members([0, 1]), *broken, *members([3, 4, 5, 6])])
    shards = Shards(urls=(str(path),), class_names=CLASSES)
    told: list[str] = []
    batches = list(
        shard_batches(
            shards, side=5, batch_size=3, workers=workers, seed=None, passes=1, on_unreadable=told.append
        )
    )
    assert [batch.labels.tolist() for batch in batches] == [[0, 1], [0, 1, 2], [0]]
    assert [batch.drawn.pictures for batch in batches] == [
        3,
        6,
        7,
    ]  # the first batch's third was drawn, and is not again
    assert len(told) == 1
    assert told[0].startswith(f"{path}/x.png: not a picture; it must be one of JPEG")
    with pytest.raises(PictureError, match=r"a\.tar/x\.png: not a picture"):
        draw(shards, seed=None, passes=1, workers=workers)


def test_labels_may_be_names_and_other_files_are_passed_over(write: Write) -> None:
    path = write(
        "a.tgz",
        [
            ("__index__.json", b"{}"),
            ("photos/a.json", b"{}"),
            ("photos/a.PNG", png(2)),
            ("photos/a.cls", b"emus\n"),
            ("photos/a.mask.png", png(9)),
            ("photos/b.cls", b" 1 "),
            ("photos/b.png", png(1)),
            ("photos/readme.txt", b"none"),
        ],
        "w:gz",
    )
    assert draw(Shards(urls=(str(path),), class_names=CLASSES), seed=None, passes=1) == [2, 1]


def test_a_picture_keeps_its_shape_in_its_aspect(write: Write) -> None:
    path = write("a.tar", [("a.png", png(0, width=40, height=10)), ("a.cls", b"0")])
    shards = Shards(urls=(str(path),), class_names=CLASSES)
    (batch,) = shard_batches(shards, side=8, batch_size=2, workers=0, seed=0, passes=1)
    assert batch.squares.shape == (1, 8, 8, 3)
    assert batch.aspects.tolist() == [4.0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([("a.png", png(0))], r"a\.tar/a: no label; a file a\.cls must"),
        (
            [("a.png", png(0)), ("a.cls", b"3")],
            r"a\.cls: '3'; it must be a number from 0 to 2 or one of cats, dogs",
        ),
        ([("a.png", png(0)), ("a.cls", b"-1")], r"a\.cls: '-1'; it must be a number from 0 to 2"),
        ([("a.png", png(0)), ("a.cls", b"gnus")], r"a\.cls: 'gnus'; it must be a number from 0 to 2"),
        ([("a.png", png(0)), ("a.png", png(0))], r"a\.tar: cannot be read \(a\.png: duplicate file name"),
        ([("a.txt", b"")], r"a\.tar: no pictures; a shard must have some"),
        ([], r"a\.tar: no pictures"),
    ],
)
def test_what_is_wrong_in_a_shard_is_said_in_one_line(write: Write, content: list[Member], said: str) -> None:
    shards = Shards(urls=(str(write("a.tar", content)),), class_names=CLASSES)
    with pytest.raises(DataError, match=said) as caught:
        draw(shards, workers=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [lambda tar: b"", lambda tar: tar[:540], lambda tar: b"x" * len(tar)])
def test_a_shard_that_is_empty_cut_off_or_no_tar_is_told_as_one(
    write: Write, change: Callable[[bytes], bytes]
) -> None:
    path = write("a.tar", members(range(9)))  # the first picture's bytes begin at 512
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=r"a\.tar: cannot be read \(.+\); it must be a whole tar file"):
        draw(Shards(urls=(str(path),), class_names=CLASSES), passes=1)


def test_no_thread_and_no_file_stays_open(six: Shards) -> None:
    before = threading.active_count()
    stream = shard_batches(six, side=5, batch_size=4, workers=2, seed=0)
    next(stream)
    assert threading.active_count() > before
    stream.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"rank": 0, "world": 7}, "6 shards for process 0 of 7; there must be at least one for each"),
        ({"rank": 2, "world": 2}, "6 shards for process 2 of 2"),
        ({"after": Drawn(pictures=-1)}, "after is -1; it must be at least 0"),
        ({"side": 0}, "side is 0; it must be at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused_at_the_call(six: Shards, how: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        shard_batches(six, **{"side": 5, "batch_size": 4, "workers": 0, "seed": 0, **how})


def test_shards_that_are_not_there_are_counted(write: Write, tmp_path: Path) -> None:
    write("p-1.tar", [])
    with pytest.raises(DataError, match=r"2 of 3 shards are not there \(.*p-0\.tar, .*p-2\.tar\)"):
        open_shards(tmp_path / "p-{0..2}.tar", class_names=CLASSES)


def test_class_names_come_from_a_list_a_file_or_beside_the_shards(write: Write, tmp_path: Path) -> None:
    path = write("a.tar", [])
    with pytest.raises(DataError, match=r"classes\.txt: cannot be read \(No such file"):
        open_shards(path)
    names = tmp_path / "names.txt"
    names.write_text("\ufeffcats\r\ndogs\r\n\r\n", encoding="utf-8")
    assert open_shards(path, class_names=names).class_names == ("cats", "dogs")
    assert open_shards(path, class_names=["b", "a"]).class_names == ("b", "a")
    for wrong in (["a"], ["a", "b", "a"]):
        with pytest.raises(DataError, match="they must be at least two, each once"):
            open_shards(path, class_names=wrong)
    names.write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"names\.txt: cannot be read \(not UTF-8\)"):
        open_shards(path, class_names=names)


def test_urls_are_expanded_and_need_class_names(write: Write) -> None:
    spec = "https://example.org/p-{08..11}.tar"
    assert open_shards(spec, class_names=CLASSES).urls == tuple(
        f"https://example.org/p-{number}.tar" for number in ("08", "09", "10", "11")
    )
    with pytest.raises(DataError, match="no class names; they must be given"):
        open_shards(spec)


@pytest.mark.parametrize("spec", ["pipe:touch {}", "s3://bucket/a.tar", "PIPE:touch {}"])
def test_no_url_is_run_as_a_command(write: Write, tmp_path: Path, spec: str) -> None:
    trace = tmp_path / "trace"
    with pytest.raises(DataError, match="it must be a path or one of http, https, gs"):
        open_shards(spec.replace("{}", str(trace)), class_names=CLASSES)
    assert not trace.exists()


def test_shards_are_known_by_their_ending() -> None:
    for spec in ("a.tar", "b/{00..11}.tar", "https://h/a.tar?key=1", "a.tar.gz", "A.TGZ", Path("a.tar")):
        assert is_shards(spec)
    for spec in ("a.csv", "photos", "a.tar/photos", "digits", "star"):
        assert not is_shards(spec)


def test_without_webdataset_it_is_named_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(MissingExtraError, match=r"webdataset: not installed; .*alexnet\[shards\]"):
        open_shards("a.tar", class_names=CLASSES)


def test_where_classes_are_called_by_other_numbers_a_number_is_a_name(write: Write) -> None:
    def labels(path: Path, *names: str) -> list[int]:
        shards = Shards(urls=(str(path),), class_names=names)
        batches = shard_batches(shards, side=5, batch_size=4, workers=0, seed=None, passes=1)
        return [label for batch in batches for label in batch.labels.tolist()]

    path = write("a.tar", [("a.png", png(0)), ("a.cls", b"5"), ("b.png", png(0)), ("b.cls", b"3")])
    assert labels(path, "3", "5", "8") == [1, 0]
    path = write("b.tar", [("a.png", png(0)), ("a.cls", b"1")])
    with pytest.raises(DataError, match=r"a\.cls: '1'; it must be one of 3, 5, 8; check"):
        labels(path, "3", "5", "8")
    assert labels(path, "0", "1", "2") == [1]


def test_a_brace_without_its_other_half_is_told_as_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"photos-\{000\.\.099\.tar: .+; must be such as .+ braces"):
        open_shards(tmp_path / "photos-{000..099.tar", class_names=CLASSES)
