"""The README's commands are run, its tables compared with what the code computes, its links followed."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet import NOTES, summarize

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKERS = re.compile(r"(<!-- summary: notes -->\n).*?(<!-- /summary -->)", re.DOTALL)


def golden_table() -> str:
    """The README with its table as it is computed."""
    table = summarize(NOTES).markdown()
    return MARKERS.sub(lambda marks: marks[1] + table + marks[2], README.read_text(encoding="utf-8"))


def test_golden_readme_table_is_what_the_code_computes() -> None:
    if os.environ.get("REWRITE_GOLDEN"):
        README.write_text(golden_table(), encoding="utf-8")
    assert README.read_text(encoding="utf-8") == golden_table()


def test_golden_picture_is_what_the_code_computes() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import weights_and_work
    finally:
        sys.path.pop(0)
    computed = weights_and_work.draw(summarize(NOTES))
    if os.environ.get("REWRITE_GOLDEN"):
        weights_and_work.PICTURE.write_text(computed, encoding="utf-8")
    assert weights_and_work.PICTURE.read_text(encoding="utf-8") == computed


def console_blocks(text: str) -> list[list[tuple[str, str]]]:
    """Each ```console block as its commands with what is printed under them."""
    blocks = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
        blocks.append([(part.partition("\n")[0], part.partition("\n")[2]) for part in parts])
    return blocks


def matches(expected: str, got: str) -> bool:
    """Whether `got` is `expected`, in which "..." stands for anything."""
    pieces = [re.escape(piece) for piece in expected.strip().split("...")]
    return re.fullmatch(".*?".join(pieces), got.strip(), re.DOTALL) is not None


def make_photos(folder: Path) -> None:
    """Pictures like those that the README speaks of: two classes that differ in colour."""
    random = np.random.default_rng(0)
    for name, colour in (("cat", (200, 80, 40)), ("dog", (40, 80, 200))):
        (folder / name).mkdir(parents=True)
        for number in range(1, 7):
            pixels = np.clip(random.normal(colour, 30, (64, 80, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")


@pytest.mark.slow
def test_readme_commands_run_and_print_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_photos(tmp_path / "photos")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    text = README.read_text(encoding="utf-8")
    program = tmp_path / "bin" / "alexnet"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m alexnet "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
    }
    commands = [command for block in console_blocks(text) for command in block]
    assert len(commands) > 5
    for command, expected in commands:
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        code = 2 if "alexnet: Layer" in expected else 1 if expected.startswith("error") else 0
        assert done.returncode == code, (command, done.stdout)
        assert matches(expected, done.stdout), (command, done.stdout)
    # The Python examples, of which the last ones read what the commands have written.
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)):
        example = doctest.DocTestParser().get_doctest(block, {}, f"README, block {number}", "README.md", 0)
        assert doctest.DocTestRunner().run(example).failed == 0


def test_what_is_printed_is_compared() -> None:
    assert matches("a\n...\nc", "a\nb\nc\n")
    assert matches("...\nx: ...", "a\nx: 3")
    assert not matches("a\n...\nc", "a\nb\nd\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    for name in re.findall(r"`((?:architecture|images|learning|inference)/\w+\.py)`", text):
        assert (ROOT / "src" / "alexnet" / name).is_file(), name
    for name in re.findall(r"`(tests/[\w/]+\.py)`", text):
        assert (ROOT / name).is_file(), name


def test_readme_says_of_the_notes_what_the_code_computes() -> None:
    text = README.read_text(encoding="utf-8")
    assert f"{summarize(NOTES).weights:,}" in text
