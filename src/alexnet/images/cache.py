"""Where what is fetched, decoded or measured once is kept. Loads nothing that opens a network connection."""

from __future__ import annotations

import os
from pathlib import Path

from alexnet.errors import OutputError


def cache_folder() -> Path:
    """Return where fetched files are kept: $ALEXNET_CACHE, or alexnet in the user's own cache folder.

    Raises OutputError where the user has no folder.
    """
    if chosen := os.environ.get("ALEXNET_CACHE"):
        return Path(chosen)
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches) / "alexnet"
    try:
        return Path.home() / ".cache" / "alexnet"
    except RuntimeError:  # neither $HOME nor an entry for the user
        raise OutputError(
            "cache folder: this user has no home folder; must have one; set ALEXNET_CACHE to a folder"
        ) from None
