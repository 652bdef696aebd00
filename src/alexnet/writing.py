"""Writing a file so that it is whole and new or as it was, never half-written; one writer at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from alexnet.errors import OutputError


def printable(text: str) -> str:
    r"""The text as it can be written: what is no UTF-8 in a file's name is shown as \udcff.

    >>> printable("caf\udce9") == r"caf\udce9"
    True
    """
    return text.encode(errors="backslashreplace").decode()


def in_a_line(text: str) -> str:
    r"""The text within one line of a terminal: what would end it or steer it is shown as \n and \x1b.

    >>> in_a_line("caf\udce9\n.png") == r"caf\udce9\n.png"
    True
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def link_whole(path: str | Path, existing: str | Path) -> None:
    """Make `path` the same file as `existing`, at once, without writing its content again.

    Where the file system has no links it is copied. `write_whole` to either leaves the other as it is.
    Raises OutputError, with `path` as it was, where that fails.
    """
    path, existing = Path(path), Path(existing)
    aside = path.with_name(f".{path.name}.link")
    try:
        aside.unlink(missing_ok=True)
        try:
            aside.hardlink_to(existing)
            aside.replace(path)
        finally:
            # Also where all went well: renaming one name of a file to another of it does nothing.
            aside.unlink(missing_ok=True)
    except OSError:
        try:
            content = existing.read_bytes()
        except OSError as error:
            raise OutputError(f"{path}: cannot be made a copy of {existing}: {error.strerror}") from error
        write_whole(path, content)


def write_whole(path: str | Path, data: bytes | str) -> None:
    """Write `data` to `path`: aside in the same folder, to the disk, then renamed into place.

    Raises OutputError, with nothing left behind and an existing file untouched, where that fails.
    """
    # A file's name need not be UTF-8; Python then holds it with surrogates, which are written as \\udcff.
    content = data.encode(errors="backslashreplace") if isinstance(data, str) else data
    with written_whole(path) as aside:
        aside.write_bytes(content)


def check_folder(folder: str | Path) -> None:
    """Raise OutputError for a place that cannot be a folder to write to: before anything is computed."""
    folder = Path(folder)
    there = next((each for each in (folder, *folder.parents) if each.exists()), Path())
    if not there.is_dir():
        raise OutputError(f"{there}: a file; must be a folder; choose another place")
    if not os.access(there, os.W_OK):
        raise OutputError(f"{there}: may not be written to; must be a folder that may; choose another place")


def write_together(folder: str | Path, files: Mapping[str, bytes]) -> None:
    """Write files, by name, into a folder, which is made where it is not there: all of them or none.

    Raises OutputError, with nothing left behind and what was there untouched, where that fails.
    """
    folder = Path(folder)
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{folder}: cannot be made a folder: {error.strerror}; choose another place"
            ) from error
        # Each is on the disk before the first takes its name.
        with ExitStack() as stack:
            for name, content in files.items():
                aside = stack.enter_context(written_whole(folder / name))
                aside.write_bytes(content)
                _to_disk(aside)
    except BaseException:
        for each in missing:
            with suppress(OSError):
                each.rmdir()
        raise


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a file aside to be written in place of `path`; without an error it goes to the disk and takes it.

    Raises OutputError for an OSError, with nothing left behind and an existing file untouched.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        aside = Path(name)
        try:
            yield aside
            _to_disk(aside)
            # mkstemp keeps files private; a result has the rights that any new file gets.
            mask = os.umask(0)
            os.umask(mask)
            aside.chmod(0o666 & ~mask)
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}; nothing was changed; make room or choose "
            "another place"
        ) from error


def lock(descriptor: int) -> bool:
    """Keep other processes from locking what is open, until it is closed; whether nobody else has.

    On a system or a disk without locks, nobody has.
    """
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        pass
    return True
