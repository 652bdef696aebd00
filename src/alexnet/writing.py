"""Writing a file so that it is either whole and new or as it was before: never half-written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from alexnet.errors import OutputError


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
    path = Path(path)
    # A file's name need not be UTF-8; Python then holds it with surrogates, which are written as \\udcff.
    content = data.encode(errors="backslashreplace") if isinstance(data, str) else data
    try:
        handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp keeps files private; a result has the rights that any new file gets.
            mask = os.umask(0)
            os.umask(mask)
            Path(aside).chmod(0o666 & ~mask)
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}; nothing was changed; make room or choose "
            "another place"
        ) from error
