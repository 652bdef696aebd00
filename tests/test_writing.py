"""Files that are whole and new, or as they were before: against a disk that is full and one without links."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from alexnet import OutputError
from alexnet.writing import link_whole, write_together, write_whole


def left_in(folder: Path) -> dict[str, bytes]:
    return {child.name: child.read_bytes() for child in folder.iterdir()}


def full(_handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt(*_arguments: object) -> None:
    raise KeyboardInterrupt


def no_links(_self: Path, _target: Path) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))  # as on FAT


@pytest.mark.parametrize("content", ["text: \u00e9 \u72ac", b"bytes \x00\xff", "", b""])
def test_what_is_written_is_read(content: str | bytes, tmp_path: Path) -> None:
    for _ in range(2):  # a new file, then one that is there
        write_whole(tmp_path / "file", content)
        assert left_in(tmp_path) == {"file": content.encode() if isinstance(content, str) else content}


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").write_text("before")
    monkeypatch.setattr(os, "fsync", full)
    for name in ("old", "new"):
        with pytest.raises(OutputError, match=f"{name}: cannot be written: No space left on device"):
            write_whole(tmp_path / name, "after")
    assert left_in(tmp_path) == {"old": b"before"}


def test_an_interrupt_while_writing_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").write_text("before")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "old", "after")
    assert left_in(tmp_path) == {"old": b"before"}


def test_files_that_belong_together_are_all_written(tmp_path: Path) -> None:
    for _ in range(2):  # a folder that is made, then one that is there
        write_together(tmp_path / "a" / "b", {"one": b"1", "two": b"2"})
        assert left_in(tmp_path / "a" / "b") == {"one": b"1", "two": b"2"}


@pytest.mark.parametrize("written", [0, 1])
def test_of_files_that_belong_together_a_full_disk_leaves_none(
    written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "one").write_text("before")
    sync = os.fsync
    for folder, left in ((tmp_path / "there", {"one": b"before"}), (tmp_path / "new" / "er", None)):
        calls = iter([sync] * written)
        monkeypatch.setattr(os, "fsync", lambda handle, calls=calls: next(calls, full)(handle))
        with pytest.raises(OutputError, match="No space left on device"):
            write_together(folder, {"one": b"1", "two": b"2"})
        assert (left_in(folder) if folder.exists() else None) == left
    assert [child.name for child in tmp_path.iterdir()] == ["there"]


def test_a_folder_where_a_file_is_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=r"cannot be made a folder: .*; choose another place"):
            write_together(folder, {"one": b"1"})
    assert left_in(tmp_path) == {"file": b"mine"}


LIMITED = """
import resource, sys
from alexnet.errors import OutputError
from alexnet.writing import write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
write_whole(sys.argv[1], b"a" * 4096)
try:
    write_whole(sys.argv[1], b"b" * 4097)
except OutputError as error:
    print(error)
"""


def test_a_file_system_that_refuses_the_last_byte_leaves_the_file_before(
    python: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    command, environment = python
    path = tmp_path / "file"
    done = subprocess.run(
        [*command, "-c", LIMITED, str(path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: cannot be written: File too large")
    assert left_in(tmp_path) == {"file": b"a" * 4096}


def test_a_folder_that_is_not_there_or_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="none/w"):
        write_whole(tmp_path / "none" / "w", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="folder: cannot be written"):
        write_whole(tmp_path / "folder", b"")
    assert [child.name for child in tmp_path.iterdir()] == ["folder"]


def test_a_new_file_has_the_rights_that_any_new_file_gets(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_whole(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- the same file under two names ------------------------------------------------------------------------


@pytest.fixture(params=["links", "no links"])
def files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file `last`, on a file system with links and on one without."""
    (tmp_path / "last").write_text("one")
    if request.param == "no links":
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    return tmp_path


def test_a_linked_file_has_the_content_and_nothing_is_left_beside_it(files: Path) -> None:
    for _ in range(2):  # the second time both are one file already
        link_whole(files / "best", files / "last")
        assert left_in(files) == {"last": b"one", "best": b"one"}


def test_writing_one_of_two_linked_files_leaves_the_other(files: Path) -> None:
    link_whole(files / "best", files / "last")
    write_whole(files / "last", "two")
    assert left_in(files) == {"last": b"two", "best": b"one"}
    link_whole(files / "best", files / "last")
    assert left_in(files) == {"last": b"two", "best": b"two"}


def test_what_an_interrupted_link_left_is_no_hindrance(files: Path) -> None:
    (files / ".best.link").write_text("left over")
    link_whole(files / "best", files / "last")
    assert (files / "best").read_text() == "one"


def test_a_file_that_is_not_there_cannot_be_linked_to(files: Path) -> None:
    (files / "best").write_text("before")
    with pytest.raises(OutputError, match="none"):
        link_whole(files / "best", files / "none")
    assert left_in(files) == {"last": b"one", "best": b"before"}


def test_a_folder_in_the_way_of_a_link_is_an_output_error(files: Path) -> None:
    (files / "best").mkdir()
    with pytest.raises(OutputError, match="best: cannot be written"):
        link_whole(files / "best", files / "last")
    assert {child.name for child in files.iterdir()} == {"last", "best"}
