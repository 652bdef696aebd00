"""Where what is fetched, decoded or measured once is kept. Loads nothing that opens a network connection."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return where fetched files are kept: $ALEXNET_CACHE, or alexnet in the user's own cache folder."""
    if chosen := os.environ.get("ALEXNET_CACHE"):
        return Path(chosen)
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "alexnet"
