"""The files of a public data set: found on this machine, or fetched once into the user's cache folder.

Every file is known by its checksum, so it does not matter by which route it came. What the files hold is the
data set's own module's business.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from alexnet.errors import DataError
from alexnet.images.cache import cache_folder

SYSTEM_FOLDER = Path("/usr/share/datasets")
"""Where Debian's packages put data sets."""


@dataclass(frozen=True, kw_only=True)
class PublicFiles:
    """Gzip files that several places offer, and by what to know the right ones."""

    name: str  # of their folder, in the system's folder, in the package and in the cache
    sha256: Mapping[str, str]  # by file name; of the decompressed bytes, as compressed ones differ by maker
    megabytes: int  # to be fetched
    package: str  # of Debian and its descendants
    url: str  # a file's name comes after it


Route = Callable[[PublicFiles, Path], None]
"""Puts the files into a folder, or raises OSError."""


def read_verified(path: Path, sha256: str) -> bytes:
    """Return a gzip file's content; raises `DataError` unless it is whole and has this checksum."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); it must be a whole gzip file; delete it to fetch it again"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path}: SHA-256 of its content is {found}; it must be {sha256}; delete it to fetch it again"
        )
    return content


def from_apt(files: PublicFiles, folder: Path) -> None:
    """Unpack Debian's package of the files, without installing it, so as an ordinary user."""
    for program in ("apt-get", "dpkg"):
        if not shutil.which(program):
            raise OSError(f"no {program} here")
    try:
        _run(["apt-get", "download", files.package], folder)
    except OSError:  # no package lists, as in most container images: fetch them for this download alone
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True)
        private = ["-o", f"Dir::State::Lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}"]
        _run(["apt-get", *private, "update"], folder)
        _run(["apt-get", *private, "download", files.package], folder)
    archive = next(folder.glob("*.deb"), None)
    if archive is None:
        raise OSError(f"apt-get download {files.package} left no .deb file")
    _run(["dpkg", "-x", str(archive), "unpacked"], folder)
    for name in files.sha256:
        (folder / "unpacked" / SYSTEM_FOLDER.relative_to("/") / files.name / name).replace(folder / name)


def from_https(files: PublicFiles, folder: Path) -> None:
    """Download the files from the data set's own home."""
    for name in files.sha256:
        try:
            with (
                urllib.request.urlopen(files.url + name, timeout=30) as response,
                (folder / name).open("wb") as file,
            ):
                shutil.copyfileobj(response, file)
        except HTTPException as error:
            raise OSError(f"{files.url + name}: {error!r}") from error


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=600,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} took longer than {error.timeout:.0f} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise OSError(f"{command[0]} ended with {done.returncode}: {lines[-1]}")


def find_or_fetch(
    files: PublicFiles,
    *,
    fetch: bool = True,
    on_fetch: Callable[[str], None] = lambda _: None,
    system: Path = SYSTEM_FOLDER,
    routes: Sequence[Route] = (from_apt, from_https),
) -> Path:
    """Return the folder that holds all the files: the system's, the cache, or the cache after fetching them.

    Fetched files come into the cache only once all are there and verified; `on_fetch` is told, before each
    try, what is fetched to where. Raises `DataError`, saying what
    was tried, where they cannot be had.
    """
    kept = cache_folder() / files.name
    places = (system / files.name, kept)
    for place in places:
        if all((place / name).is_file() for name in files.sha256):
            return place
    tried = [f"{place}: not there" for place in places]
    for route in routes if fetch else ():
        on_fetch(f"{files.name}: fetching {files.megabytes} MB, once, into {kept} ({route.__name__})")
        try:
            _fetch(files, route, kept)
        except (OSError, DataError) as error:
            tried.append(f"{route.__name__}: {' '.join(str(error).split())}")
        else:
            return kept
    raise DataError(
        f"{files.name}: not to be had ({', '.join(tried)}); its files must be in one of these folders, or "
        f"the network must be up; or use digits, which needs neither"
    )


def _fetch(files: PublicFiles, route: Route, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    # Beside the final place, so that moving a file there is one rename, which cannot be seen half done.
    # Absolute, as the programs of a route run with it as their own working folder.
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=kept.parent.absolute()) as temporary:
        route(files, Path(temporary))
        for name, sha256 in files.sha256.items():
            read_verified(Path(temporary, name), sha256)
        kept.mkdir(exist_ok=True)
        for name in files.sha256:
            Path(temporary, name).replace(kept / name)
