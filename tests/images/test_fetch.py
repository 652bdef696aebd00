"""Finding and fetching, with a file of three bytes, and with apt-get and dpkg played by shell scripts."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from alexnet.errors import DataError, OutputError
from alexnet.images.cache import cache_folder
from alexnet.images.fetch import (
    SYSTEM_FOLDER,
    PublicFiles,
    find_or_fetch,
    from_apt,
    from_https,
    read_verified,
)

CONTENT = b"abc"
FILES = PublicFiles(
    megabytes=1,
    name="letters",
    sha256={"letters.gz": hashlib.sha256(CONTENT).hexdigest()},
    package="dataset-letters",
    url="",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def right(files: PublicFiles, folder: Path) -> None:
    (folder / "letters.gz").write_bytes(gzip.compress(CONTENT))


def wrong(files: PublicFiles, folder: Path) -> None:
    (folder / "letters.gz").write_bytes(gzip.compress(b"abd"))


def absent(files: PublicFiles, folder: Path) -> None:
    raise OSError("no\nroute")


def interrupted(files: PublicFiles, folder: Path) -> None:
    right(files, folder)
    raise KeyboardInterrupt


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("ALEXNET_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "alexnet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "alexnet"

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)  # as it is without $HOME and an entry for the user
    with pytest.raises(OutputError, match="set ALEXNET_CACHE to a folder"):
        cache_folder()


def test_the_systems_files_come_first_and_nothing_is_fetched(tmp_path: Path, cache: Path) -> None:
    for place in (tmp_path / "system" / "letters", cache / "letters"):
        place.mkdir(parents=True)
        right(FILES, place)
    found = find_or_fetch(FILES, system=tmp_path / "system", routes=[absent])
    assert found == tmp_path / "system" / "letters"


def test_what_was_fetched_is_kept(tmp_path: Path, cache: Path) -> None:
    told: list[str] = []
    assert find_or_fetch(FILES, on_fetch=told.append, system=tmp_path, routes=[right]) == cache / "letters"
    assert told == [f"letters: fetching 1 MB, once, into {cache / 'letters'} (right)"]
    assert find_or_fetch(FILES, system=tmp_path, routes=[absent]) == cache / "letters"
    assert sorted(path.name for path in cache.rglob("*")) == ["letters", "letters.gz"]


def test_a_route_that_brings_the_wrong_bytes_is_passed_over_for_the_next(tmp_path: Path) -> None:
    place = find_or_fetch(FILES, system=tmp_path, routes=[absent, wrong, right])
    assert read_verified(place / "letters.gz", FILES.sha256["letters.gz"]) == CONTENT


def test_when_no_route_works_all_that_was_tried_is_told_in_a_line(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=r"absent: no route.*wrong: .*SHA-256.*use digits") as caught:
        find_or_fetch(FILES, system=tmp_path, routes=[absent, wrong])
    assert "\n" not in str(caught.value)
    assert list(cache.iterdir()) == []


def test_an_interrupted_fetch_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        find_or_fetch(FILES, system=tmp_path, routes=[interrupted])
    assert list(cache.iterdir()) == []


def test_fetching_can_be_forbidden(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match="not to be had"):
        find_or_fetch(FILES, fetch=False, system=tmp_path, routes=[right])
    assert not cache.exists()


@pytest.mark.parametrize(
    "content", [b"", b"not gzip", gzip.compress(CONTENT)[:-4], gzip.compress(CONTENT)[:12]]
)
def test_half_a_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "letters.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"letters\.gz: .*delete it to fetch it again"):
        read_verified(path, FILES.sha256["letters.gz"])


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes first on PATH, with a dpkg that takes a .deb to be the file itself."""
    if os.name != "posix":
        pytest.skip("shell scripts play apt-get and dpkg")
    folder = tmp_path / "programs"
    folder.mkdir()
    package = f"$3{SYSTEM_FOLDER}/letters"
    script(folder / "dpkg", f'mkdir -p "{package}" && cp "$2" "{package}/letters.gz"')
    right(FILES, folder)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_debians_package_is_unpacked_without_being_installed(programs: Path, tmp_path: Path) -> None:
    script(
        programs / "apt-get",
        f'[ "$*" = "download dataset-letters" ] && cp "{programs}/letters.gz" letters.deb',
    )
    place = find_or_fetch(FILES, system=tmp_path, routes=[from_apt])
    assert read_verified(place / "letters.gz", FILES.sha256["letters.gz"]) == CONTENT


def test_a_cache_folder_may_be_given_relative_to_where_one_stands(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(programs / "apt-get", f'cp "{programs}/letters.gz" letters.deb')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALEXNET_CACHE", "here")
    find_or_fetch(FILES, system=tmp_path, routes=[from_apt])
    assert (tmp_path / "here" / "letters" / "letters.gz").is_file()


def test_without_package_lists_private_ones_are_fetched(programs: Path, tmp_path: Path) -> None:
    # Called as: apt-get -o Dir::State::Lists=... -o Dir::Cache=... update|download
    script(
        programs / "apt-get",
        f"""
        lists=${{2#Dir::State::Lists=}} cache=${{4#Dir::Cache=}}
        [ "$5" = update ] && cd "$cache/archives/partial" && cd "$lists/partial" && exec touch ../all
        [ "$5" = download ] && [ -e "$lists/all" ] && exec cp "{programs}/letters.gz" letters.deb
        echo "E: Unable to locate package" >&2
        exit 100
        """,
    )
    place = find_or_fetch(FILES, system=tmp_path, routes=[from_apt])
    assert read_verified(place / "letters.gz", FILES.sha256["letters.gz"]) == CONTENT


def test_what_apt_says_last_is_told(programs: Path, tmp_path: Path, cache: Path) -> None:
    script(programs / "apt-get", "echo first >&2; echo 'E: no such package' >&2; exit 100")
    with pytest.raises(DataError, match="from_apt: apt-get ended with 100: E: no such package"):
        find_or_fetch(FILES, system=tmp_path, routes=[from_apt])
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("body", ["true", "touch letters.deb"])
def test_a_package_without_the_files_is_an_error_like_any_other(
    programs: Path, tmp_path: Path, body: str
) -> None:
    script(programs / "apt-get", body)
    script(programs / "dpkg", "true")
    with pytest.raises(DataError, match="from_apt: "):
        find_or_fetch(FILES, system=tmp_path, routes=[from_apt])


def test_where_there_is_no_apt_that_is_what_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("apt-get") is None
    with pytest.raises(OSError, match="no apt-get here"):
        from_apt(FILES, tmp_path)


def test_files_come_by_url(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    right(FILES, home)
    files = PublicFiles(name="letters", megabytes=1, sha256=FILES.sha256, package="", url=f"{home.as_uri()}/")
    place = find_or_fetch(files, system=tmp_path, routes=[from_https])
    assert read_verified(place / "letters.gz", FILES.sha256["letters.gz"]) == CONTENT
    (home / "letters.gz").unlink()
    with pytest.raises(OSError, match="letters"):
        from_https(files, tmp_path)
