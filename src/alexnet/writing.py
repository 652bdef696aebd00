"""Writing a file so that it is either whole and new or as it was before: never half-written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from alexnet.errors import OutputError


def write_whole(path: str | Path, data: bytes | str) -> None:
    """Write `data` to `path`: aside in the same folder, to the disk, then renamed into place.

    Raises OutputError, with nothing left behind and an existing file untouched, where that fails.
    """
    path = Path(path)
    content = data.encode() if isinstance(data, str) else data
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
