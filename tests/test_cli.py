"""The command line: what it prints, where it prints it, what it leaves, and how it refuses."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from alexnet import NETWORKS, NOTES, Network, edit, from_toml, summarize, to_toml
from alexnet.cli import app
from alexnet.cli.predict import _listed
from alexnet.images.views import View
from alexnet.learning import report
from alexnet.learning.model import AlexNet
from alexnet.learning.weights import Weights, load_weights, save_weights
from alexnet.terminal import duration

GOLDEN = Path(__file__).parent / "golden"
Start = tuple[list[str], dict[str, str]]

# The whole test run's settings for a run that takes a moment: one thread that loads pictures, float32.
QUICK = ("--workers", "1", "--precision", "fp32", "--batch-size", "6", "--lr", "0.02")


def alexnet(*arguments: str | Path) -> Result:
    """Run a command in this process; help is 100 columns wide whatever the terminal."""
    return CliRunner().invoke(app, [str(each) for each in arguments], prog_name="alexnet", terminal_width=100)


def done(*arguments: str | Path) -> Result:
    """Run a command that must succeed."""
    result = alexnet(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: str | Path) -> str:
    """Run a command that must refuse its input: its one line, without what begins every one."""
    result = alexnet(*arguments)
    return refusal(result.exit_code, result.stderr)


def refusal(code: int, stderr: str) -> str:
    told = [line for line in stderr.splitlines() if not line.startswith(("training ", "validation "))]
    assert code == 2, (code, stderr)
    assert len(told) == 1, stderr
    assert told[0].startswith("alexnet: ")
    assert "Traceback" not in stderr
    return told[0].removeprefix("alexnet: ")


def everything_below(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def nothing_left(here: Path) -> Iterator[None]:
    """Fails a test after which the working folder holds other files than before the command."""
    yield
    assert everything_below(here) == {}


@pytest.fixture(scope="session")
def toml(small: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "small.toml"
    path.write_text(to_toml(small), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(toml: Path, coloured: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A run that learned the three colours, and what the command said."""
    output = tmp_path_factory.mktemp("trained") / "run"
    arguments = ("train", coloured, "--network", toml, "--epochs", "8", "--output", output, *QUICK)
    return output, done(*arguments)


def test_the_recipe_for_long_runs_is_one_without_its_being_said(
    toml: Path, coloured: Path, tmp_path: Path
) -> None:
    command = ("train", coloured, "--network", toml, "--recipe", "long", *QUICK)
    output = ("--output", tmp_path / "run")
    done(*command, "--epochs", "2", *output)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["epochs"] == 2
    done(*command, "--patience", "1", *output[:1], tmp_path / "other")
    told = json.loads((tmp_path / "other" / "run.json").read_text())
    assert (told["epochs"], told["recipe"]["cutmix"]) == (200, 0.5)


# --- golden files -----------------------------------------------------------------------------------------


def assert_golden(name: str, text: str, *, suffix: str = ".txt") -> None:
    """Compare with tests/golden/NAME.txt; REWRITE_GOLDEN=1 writes it, for the diff to be read."""
    path = GOLDEN / f"{name}{suffix}"
    if os.environ.get("REWRITE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{path.name} is missing; run: make golden"
    assert text == path.read_text(encoding="utf-8"), f"{path.name} differs; run make golden, read the diff"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("summary", ("summary",)),
        ("summary_formulas", ("summary", "notes", "--formulas")),
        ("summary_markdown", ("summary", "--format", "markdown")),
        ("summary_224", ("summary", "--set", "input=224")),
    ],
)
def test_summary_is_the_golden_text(name: str, arguments: tuple[str, ...]) -> None:
    result = done(*arguments)
    assert result.stderr == ""
    assert_golden(name, result.stdout)


def test_a_network_that_breaks_is_the_golden_text() -> None:
    result = alexnet("summary", "--set", "pool1.stride=4", "--set", "pool2.stride=3")
    assert_golden("summary_broken", result.stdout + result.stderr)


COMMANDS = (
    (),
    ("summary",),
    ("draw",),
    ("networks",),
    ("audit",),
    ("train",),
    ("evaluate",),
    ("export",),
    ("explore",),
    ("serve",),
    ("predict",),
    ("visualize",),
    ("benchmark",),
    ("benchmark", "train"),
    ("benchmark", "infer"),
    ("benchmark", "predict"),
    ("benchmark", "serve"),
    ("demo",),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_the_golden_text(command: tuple[str, ...]) -> None:
    assert_golden("_".join(("help", *command)), done(*command, "--help").stdout)
    assert done(*command, "-h").stdout == done(*command, "--help").stdout


def test_every_command_has_golden_help() -> None:
    found: set[tuple[str, ...]] = {()}
    for name, command in app.commands.items():
        found |= {(name,), *((name, inner) for inner in getattr(command, "commands", {}))}
    assert found == set(COMMANDS)


DRAWINGS = {"draw_notes", "draw_paper", "draw_broken"}


def test_no_golden_file_is_left_over() -> None:
    names = {"summary", "summary_formulas", "summary_markdown", "summary_224", "summary_broken"} | DRAWINGS
    assert {path.stem for path in GOLDEN.iterdir()} == names | {
        "_".join(("help", *each)) for each in COMMANDS
    }


def test_the_guard_of_golden_files_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REWRITE_GOLDEN", raising=False)
    with pytest.raises(AssertionError, match="differs"):
        assert_golden("summary", "something else")
    with pytest.raises(AssertionError, match="missing"):
        assert_golden("no such file", "")


# --- summary ----------------------------------------------------------------------------------------------


def test_the_tables_of_summary_fit_a_terminal_of_80_columns() -> None:
    _title, *parts = done("summary").stdout.split("\n\n")
    tables = [part for part in parts if part.startswith("layer")]
    assert len(tables) == 2
    assert max(len(line) for table in tables for line in table.splitlines()) <= 80


def test_summary_as_json_is_the_figures() -> None:
    told = json.loads(done("summary", "notes", "--format", "json").stdout)
    # The notes: 28.8 million weights, 25.1 million of them in the fully connected layers.
    assert told["totals"]["weights"] == 28_813_344
    assert told["totals"]["dense_weights"] == 25_067_520
    assert [layer["name"] for layer in told["layers"]] == [layer.name for layer in NOTES.layers]


def test_summary_as_csv_is_a_line_a_layer() -> None:
    lines = list(csv.DictReader(io.StringIO(done("summary", "--format", "csv").stdout)))
    assert [(line["name"], line["output"]) for line in lines][:3] == [
        ("conv1", "55x55x96"),
        ("relu1", "55x55x96"),
        ("pool1", "27x27x96"),
    ]
    assert sum(int(line["weights"]) for line in lines) == 28_813_344


def test_summary_as_markdown_is_one_table_of_one_width() -> None:
    table = [line for line in done("summary", "--format", "markdown").stdout.splitlines() if line[:1] == "|"]
    assert len({line.count("|") for line in table}) == 1
    assert set(table[1]) <= set("|-: ")


def test_summary_as_toml_is_a_network_that_reads_back_equal(here: Path) -> None:
    text = done("summary", "--set", "conv1.filters=64", "--format", "toml").stdout
    assert from_toml(text) == edit(NOTES, "conv1.filters=64")
    (here / "mine.toml").write_text(text, encoding="utf-8")
    assert done("summary", "mine.toml").stdout == done("summary", "--set", "conv1.filters=64").stdout


def test_summary_of_a_weights_file_is_that_of_its_network(weights_file: Path, small: Network) -> None:
    assert done("summary", weights_file).stdout == summarize(small).text()


@pytest.mark.parametrize("form", ["table", "markdown", "html", "csv", "json"])
def test_a_network_that_breaks_is_refused_in_every_form(form: str) -> None:
    arguments = ("summary", "--set", "pool1.stride=4", "--set", "pool2.stride=3", "--format", form)
    result = alexnet(*arguments)
    message = refusal(result.exit_code, result.stderr)
    assert message.startswith("Layer 'conv4'")
    assert "55 -> 14 -> 10 -> 3 -> 1" in message
    assert "pool2.stride=2 with pool1.stride=2" in message
    # The table up to the break; other forms are read by programs, for which half a table is none.
    assert ("conv3" in result.stdout) == (form == "table")
    assert "conv5" not in result.stdout


def test_a_network_that_breaks_at_once_is_refused() -> None:
    assert "Layer 'conv1'" in refused("summary", "--set", "input=5")


def test_the_version_is_the_package_s() -> None:
    import alexnet as package

    assert done("--version").stdout == f"alexnet, version {package.__version__}\n"


# --- draw and HTML ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["notes", "paper"])
def test_a_drawing_is_the_golden_picture(network: str) -> None:
    result = done("draw", network)
    assert result.stderr == ""
    assert_golden(f"draw_{network}", result.stdout, suffix=".svg")


def test_a_network_that_breaks_is_drawn_up_to_there_and_refused(here: Path) -> None:
    arguments = ("draw", "--set", "pool1.stride=4", "--set", "pool2.stride=3")
    result = alexnet(*arguments)
    assert refusal(result.exit_code, result.stderr).startswith("Layer 'conv4': a 3x3 window does not fit")
    assert_golden("draw_broken", result.stdout, suffix=".svg")
    written = alexnet(*arguments, "--output", "broken.svg")
    assert (written.exit_code, written.stdout, written.stderr) == (2, "", result.stderr)
    assert everything_below(here) == {"broken.svg": result.stdout.encode()}


def test_a_drawing_is_written_where_it_is_asked_for(toml: Path, weights_file: Path, here: Path) -> None:
    assert done("draw", toml, "-o", "net.svg").output == ""
    assert everything_below(here) == {"net.svg": done("draw", toml).stdout.encode()}
    assert done("draw", weights_file).stdout == done("draw", toml).stdout
    assert ">63x63x64<" in done("draw", "--set", "input=259", "--set", "conv1.filters=64").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("paper", "-o", "none/net.svg"), "none/net.svg: cannot be written: No such file or directory"),
        (("paper", "-o", "."), "directory"),
        (("pape",), "did you mean 'paper'?"),
        (("--set", "conv9.stride=1"), "no layer 'conv9'"),
    ],
    ids=str,
)
def test_a_drawing_that_cannot_be_made_is_refused(
    arguments: tuple[str, ...], words: str, nothing_left: None
) -> None:
    assert words in refused("draw", *arguments)


def test_summary_as_html_is_that_of_python() -> None:
    assert done("summary", "paper", "--format", "html").stdout == summarize(NETWORKS["paper"]).html()
    formulas = done("summary", "--format", "html", "--formulas").stdout
    assert formulas == summarize(NOTES).html(formulas=True)
    assert "(11x11x3) x 96 = 34,848" in formulas


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("summary", "note"), ("network 'note'", "did you mean 'notes'?")),
        (("summary", "none.toml"), ("none.toml: cannot be read",)),
        (("summary", "none.safetensors"), ("none.safetensors: cannot be read",)),
        (("summary", "."), ("network '.': unknown",)),
        (("summary", "--set", "pol1.stride=4"), ("no layer 'pol1'", "did you mean 'pool1'?")),
        (("summary", "--set", "pool1.strid=4"), ("no field 'strid'", "did you mean 'stride'?")),
        (("summary", "--set", "relu1.stride=4"), ("no field 'stride'", "a relu layer has none")),
        (("summary", "--set", "pool1.stride"), ("must read layer.field=value",)),
        (("summary", "--set", "pool1.stride=two"), ("'two'; must be a whole number",)),
        (("summary", "--set", "pool1.stride=0"), ("stride=0; must be a whole number of at least 1",)),
        (("summary", "--set", "input=0"), ("input=[0, 0, 3]",)),
        (("summary", "--set", "classes=-1"), ("units=-1",)),
        (("train", "none"), ("none: no such data set, folder or CSV",)),
        (("train", "digit"), ("did you mean digits?",)),
        (("train", "digits", "--network", "note"), ("did you mean 'notes'?",)),
        (("train", "digits", "--set", "conv9.stride=1"), ("no layer 'conv9'",)),
        (("train", "digits", "--set", "pool1.stride=4", "--set", "pool2.stride=3"), ("Layer 'conv4'",)),
        (("train", "digits", "--batch-size", "0"), ("batch_size=0; must be",)),
        (("train", "digits", "--batch-size", "-4"), ("batch_size=-4",)),
        (("train", "digits", "--lr", "0"), ("learning_rate=0",)),
        (("train", "digits", "--lr", "nan"), ("learning_rate=nan",)),
        (("train", "digits", "--epochs", "0"), ("epochs: 0",)),
        (("train", "digits", "--time-limit", "0s"), ("time limit: 0",)),
        (("train", "digits", "--patience", "0"), ("patience: 0",)),
        (("train", "digits", "--recipe", "papers"), ("recipe 'papers'", "default, long, paper")),
        (("train", "digits", "--with", "dropuot=0.1"), ("dropuot: unknown", "dropout")),
        (("train", "digits", "--with", "dropout=much"), ("dropout=much", "a number")),
        (("train", "digits", "--with", "mirror=0.5"), ("mirror=0.5", "true or false")),
        (("train", "digits", "--with", "cutmix=2"), ("cutmix=2.0", "from 0 to 1")),
        (("train", "digits", "--resume"), ("--resume: needs --output",)),
        (("train", "digits", "--freeze", "conv1"), ("--freeze conv1: needs --init",)),
        (("train", "digits", "--init", "none.safetensors"), ("none.safetensors",)),
        (("train", "photos-{0..2}.tar"), ("--validation and --pictures",)),
        (("train", "digits", "--pictures", "9"), ("digits: no shards", "--pictures is for them only")),
        (("train", "digits", "--validation", "v"), ("--validation is for them only",)),
        (("train", "p-0.tar", "--validation", "v", "--pictures", "9"), ("1 of 1 shards are not there",)),
        (("train", "digits", "--device", "warp"), ("device 'warp'",)),
        (("train", "digits", "--precision", "fp8"), ("precision 'fp8'",)),
        (("train", "digits", "--workers", "-1"), ("workers is -1",)),
        (("train", "digits", "--seed", "-1"), ("seed",)),
        (("draw", "notes", "-o", "a.png"), ("a.png: SVG is what is drawn", "must end in .svg")),
        (("explore", "."), (".: cannot be read",)),
        (("evaluate", "none.safetensors", "digits"), ("none.safetensors: cannot be read",)),
        (("predict", "none.safetensors", "photo.png"), ("none.safetensors: cannot be read",)),
        (("predict", ".", "photo.png"), ("directory",)),
        (("benchmark", "train", "--batch-size", "0"), ("batch size 0",)),
        (("benchmark", "train", "--rounds", "0"), ("rounds 0",)),
        (("benchmark", "train", "--data", "digits"), ("must be picture files",)),
        (("benchmark", "train", "--network", "note"), ("did you mean 'notes'?",)),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else None,
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: tuple[str, ...], words: tuple[str, ...], nothing_left: None
) -> None:
    message = refused(*arguments)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("train", "digits", "--time-limit", "soon"), "soon"),
        (("train", "digits", "--time-limit", "-3m"), "-3m"),
        (("train", "digits", "--time-limit", ""), "time-limit"),
        (("train", "digits", "--batch-size", "many"), "many"),
        (("train", "digits", "--learning-rate", "1"), "--learning-rate"),
        (("train",), "DATA"),
        (("summary", "--format", "xml"), "xml"),
        (("evaluate", "w.safetensors", "digits", "--views", "4"), "4"),
        (("predict", "w.safetensors"), "PATH"),
        (("sumary",), "sumary"),
        (("--verbose",), "--verbose"),
        (("benchmark", "fly"), "fly"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else None,
)
def test_a_command_that_cannot_be_understood_is_one_line(
    arguments: tuple[str, ...], word: str, nothing_left: None
) -> None:
    assert word in refused(*arguments)


@pytest.fixture
def bad_data(paint: Callable[..., Path], here: Path) -> Callable[[str], str]:
    """A folder of pictures that cannot be trained on, beside the working folder: its path."""

    def bad_data(kind: str) -> str:
        folder = here.parent / kind
        match kind:
            case "empty":
                folder.mkdir()
            case "no pictures":
                (folder / "red").mkdir(parents=True)
                (folder / "red" / "notes.txt").write_text("text")
            case "one class":
                paint(folder, classes=("red",))
            case "no folders":
                paint(folder, classes=("red",))
                for path in (folder / "red").iterdir():
                    path.rename(folder / path.name)
                (folder / "red").rmdir()
            case "a picture that is none":
                paint(folder, count=4)
                (folder / "green" / "02.png").write_text("<html>404</html>")
            case "one picture a class":
                paint(folder, count=1)
            case "a file":
                folder.write_text("text")
        return str(folder)

    return bad_data


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "no pictures"),
        ("no pictures", "no pictures"),
        ("one class", "one class folder (red)"),
        ("no folders", "named after its class"),
        ("a picture that is none", "02.png: not a picture"),
        ("one picture a class", "one picture in each class"),
        ("a file", "a file"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(
    kind: str, words: str, bad_data: Callable[[str], str], toml: Path, nothing_left: None
) -> None:
    assert words in refused("train", bad_data(kind), "--network", toml, *QUICK)


@pytest.fixture
def bad_weights(weights_file: Path, tmp_path: Path) -> Callable[[str], Path]:
    def bad_weights(kind: str) -> Path:
        path = tmp_path / "bad.safetensors"
        match kind:
            case "truncated":
                path.write_bytes(weights_file.read_bytes()[:-100])
            case "cut in its header":
                path.write_bytes(weights_file.read_bytes()[:100])
            case "empty":
                path.write_bytes(b"")
            case "pickle":
                torch.save(load_file(weights_file), path)
            case "legacy pickle":
                torch.save(load_file(weights_file), path, _use_new_zipfile_serialization=False)
            case "no metadata":
                save_file(load_file(weights_file), path)
            case "a text":
                path.write_text("[[layers]]\nname = 'conv1'\n")
            case "another class count":
                text = json.dumps(described(weights_file) | {"class_names": ["a", "b"]})
                save_file(load_file(weights_file), path, metadata={"alexnet": text})
        return path

    return bad_weights


def described(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    result: dict[str, Any] = json.loads(header["__metadata__"]["alexnet"])
    return result


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "may be truncated"),
        ("cut in its header", "may be truncated"),
        ("empty", "may be truncated"),
        ("a text", "no weights; must be a safetensors file"),
        ("pickle", "a pickle"),
        ("legacy pickle", "a pickle"),
        ("no metadata", "carries no network"),
        ("another class count", "2 class names for 3 classes"),
    ],
)
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_weights_that_cannot_be_used_are_refused(
    command: str,
    kind: str,
    words: str,
    bad_weights: Callable[[str], Path],
    coloured: Path,
    nothing_left: None,
) -> None:
    path = bad_weights(kind)
    message = refused(command, path, coloured)
    assert message.startswith(f"{path}: ")
    assert words in message


def test_data_of_other_classes_is_refused(
    weights_file: Path, paint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = paint(tmp_path / "other", classes=("red", "blue"))
    (folder / "red").rename(folder / "purple")
    assert "purple" in refused("evaluate", weights_file, folder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none.png",), "none.png: no such file"),
        (("*.png",), "*.png: "),
        ((".",), "no pictures in this folder"),
        (("--top", "0", "x.png"), "top: 0"),
        (("a\nb.png",), "a b.png: no such file"),
    ],
    ids=str,
)
def test_pictures_that_cannot_be_predicted_are_refused(
    arguments: tuple[str, ...], words: str, weights_file: Path, nothing_left: None
) -> None:
    assert words in refused("predict", weights_file, *arguments)


@pytest.mark.parametrize("form", ["table", "csv", "jsonl"])
def test_a_picture_that_is_none_has_the_reason_in_its_place(
    form: str, weights_file: Path, bad_data: Callable[[str], str]
) -> None:
    folder = bad_data("a picture that is none")
    result = done("predict", weights_file, folder, "--format", form)
    assert result.stdout.count(f"{folder}/green/02.png: not a picture") == 1
    assert result.stderr.splitlines()[-1] == "1 picture could not be read"
    assert alexnet("predict", weights_file, folder, "--format", form, "--strict").exit_code == 2


def test_predictions_into_a_file_go_on_where_they_were_cut_off(
    weights_file: Path, coloured: Path, tmp_path: Path
) -> None:
    for name in ("a.csv", "a.jsonl"):
        output = tmp_path / name
        told = done("predict", weights_file, coloured, "-o", output).stderr
        assert told.splitlines()[-1] == f"{output}: 24 pictures"
        whole = output.read_bytes()
        output.write_bytes(whole[: len(whole) // 2])
        told = done("predict", weights_file, coloured, "-o", output).stderr
        assert "pictures after 1" in told
        assert output.read_bytes() == whole
    assert alexnet("predict", weights_file, coloured, "-o", output, "--strict").exit_code == 0
    assert "must end in .csv or .jsonl" in refused(
        "predict", weights_file, coloured, "-o", tmp_path / "a.txt"
    )


def test_what_could_not_be_read_before_counts_for_strict(
    weights_file: Path, bad_data: Callable[[str], str], tmp_path: Path
) -> None:
    command = ("predict", weights_file, bad_data("a picture that is none"), "-o", tmp_path / "a.csv")
    for _ in range(2):
        result = alexnet(*command, "--strict")
        assert result.exit_code == 2
        assert result.stderr.splitlines()[-1] == "1 picture could not be read"


def test_a_listed_name_that_is_no_unicode_is_answered(
    weights_file: Path, coloured: Path, tmp_path: Path
) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(name)).write_bytes((coloured / "red" / "01.png").read_bytes())
    command = ["predict", str(weights_file), "-", "--format", "jsonl"]
    result = CliRunner().invoke(app, command, input=name)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["path"].endswith("caf\udce9.png")
    assert answer["error"] is None


def test_paths_come_from_standard_input(weights_file: Path, coloured: Path) -> None:
    paths = [str(coloured / "red" / "01.png"), str(coloured / "none.png"), "", str(coloured / "blue")]
    result = CliRunner().invoke(
        app, ["predict", str(weights_file), "-", "--format", "jsonl"], input="\n".join(paths)
    )
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [Path(each["path"]).name for each in answers] == [
        "01.png",
        "none.png",
        *(f"{i:02}.png" for i in range(8)),
    ]
    assert answers[1]["error"].endswith("check the path")


@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"])
def test_paths_on_standard_input_may_end_in_nul(
    weights_file: Path, tmp_path: Path, coloured: Path, begin: bytes
) -> None:
    """As `find -print0` writes them, whatever is in the names; a byte order mark is no part of one."""
    names = [tmp_path / "a\nb.png", tmp_path / "c[1].png"]
    for name in names:
        name.write_bytes((coloured / "red" / "01.png").read_bytes())
    listed = begin + b"".join(os.fsencode(name) + b"\0" for name in names)
    command = ["predict", str(weights_file), "-", "--format", "jsonl"]
    result = CliRunner().invoke(app, command, input=listed)
    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(each["path"], each["error"]) for each in answers] == [(str(name), None) for name in names]


def test_a_list_is_of_lines_or_ends_in_nul_by_whichever_comes_first(
    weights_file: Path, tmp_path: Path, coloured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly it comes; a line's end of Windows is no part of a name, but the name may have one."""
    plain, odd = tmp_path / "a.png", tmp_path / "b.png\r"
    for name in (plain, odd):
        name.write_bytes((coloured / "red" / "01.png").read_bytes())
    pieces = [os.fsencode(plain), b"\0" + os.fsencode(odd), b"\0"]

    class Slow(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            piece = pieces.pop(0) if pieces else b""
            buffer[: len(piece)] = piece
            return len(piece)

    monkeypatch.setattr("alexnet.cli.predict.sys.stdin", SimpleNamespace(buffer=Slow()))
    assert list(_listed()) == [str(plain), str(odd)]


def test_what_a_name_or_a_class_says_stays_in_its_row_and_steers_no_terminal(
    small: Network, tmp_path: Path, coloured: Path
) -> None:
    weights = tmp_path / "w.safetensors"
    names = ("a\nb", "\x1b[31mred", "c")
    save_weights(weights, Weights(model=AlexNet(small), class_names=names, view=View.of(24, 24), metrics={}))
    listed = f"{coloured}/red/01.png\0no\nsuch\x1b[31m.png\0"
    result = CliRunner().invoke(app, ["predict", str(weights), "-"], input=listed)
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert "\x1b" not in result.output
    assert r"a\nb" in lines[2]
    assert r"no\nsuch\x1b[31m.png: no such file" in lines[3]
    refused = CliRunner().invoke(app, ["predict", str(weights), "no\x1b[31m.png"])
    assert refused.exit_code == 2
    assert "\x1b" not in refused.stderr


def test_a_csv_on_standard_output_has_names_as_they_are(weights_file: Path, tmp_path: Path) -> None:
    name = tmp_path / "a\x1b[31mb.png"
    name.write_bytes(b"nothing")
    result = CliRunner().invoke(app, ["predict", str(weights_file), str(name), "--format", "csv"])
    assert str(name) in result.stdout


@pytest.mark.slow  # starts a process of its own
def test_a_standard_input_that_is_closed_is_told(
    weights_file: Path, python: tuple[list[str], dict[str, str]]
) -> None:
    command, environment = python
    arguments = [*command, "-m", "alexnet", "predict", str(weights_file), "-"]
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *arguments]
    ended = subprocess.run(shell, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("alexnet: -: standard input is closed; ")


def test_a_path_that_is_empty_is_told(weights_file: Path) -> None:
    result = alexnet("predict", str(weights_file), "")
    assert result.exit_code == 2
    assert "a path that is empty" in result.stderr


def test_a_folder_that_cannot_be_read_does_not_end_the_run(
    weights_file: Path,
    paint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = paint(tmp_path / "photos", count=1)
    scandir = os.scandir

    def refused(path: str) -> Any:
        if str(path).endswith("green"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("os.scandir", refused)
    result = alexnet("predict", str(weights_file), str(folder), "--format", "jsonl")
    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["error"] is None for each in answers] == [True, False, True]
    assert answers[1]["path"] == str(folder / "green")


@pytest.mark.slow  # starts a process of its own
def test_a_list_that_goes_on_is_answered_as_it_comes(
    weights_file: Path, coloured: Path, python: tuple[list[str], dict[str, str]]
) -> None:
    command, environment = python
    arguments = [*command, "-m", "alexnet", "predict", str(weights_file), "-", "--format", "jsonl"]
    with subprocess.Popen(
        arguments, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        killed = threading.Timer(300, process.kill)  # a reader that waits for more names would hang here
        killed.start()
        for name in ("01.png", "02.png", "03.png"):
            process.stdin.write(os.fsencode(coloured / "red" / name) + b"\r\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["path"].endswith(name)
        process.send_signal(signal.SIGINT)  # while it waits
        assert process.wait() == 130
        assert process.stderr is not None
        assert process.stderr.read().decode().splitlines()[-1] == "alexnet: interrupted"
        killed.cancel()


@pytest.mark.parametrize("divided", [True, False])
def test_weights_are_judged_by_what_their_own_run_set_apart(
    toml: Path, paint: Callable[..., Path], here: Path, divided: bool
) -> None:
    """By whatever seed the run divided its pictures, and whatever was added since."""
    folder = paint(here / "photos" / "train" if divided else here / "photos", count=10)
    trained = alexnet(
        "train", "photos", "--network", toml, "--output", "run", "--seed", "5", *QUICK, "--epochs", "1"
    )
    assert trained.exit_code == 0, trained.output
    asked = "alexnet evaluate run/best.safetensors photos --split validation"
    assert asked in trained.stderr
    (folder / "red" / "zz.png").write_bytes((folder / "red" / "00.png").read_bytes())
    command = ["evaluate", "run/best.safetensors", "photos", "--format", "json"]
    told = [alexnet(*command, "--split", "validation"), *([alexnet(*command)] if divided else [])]
    apart = json.loads((here / "run" / "division.json").read_text())["splits"]["validation"]
    trained_on = json.loads((here / "run" / "run.json").read_text())["best_validation_top1"]
    for each in told:
        report = json.loads(each.stdout)
        assert report["pictures"] == len(apart) == 3
        assert report["top1"] == pytest.approx(trained_on)


def test_a_picture_that_goes_after_it_was_judged_leaves_the_report_without_it(
    toml: Path, paint: Callable[..., Path], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = paint(here / "photos")

    def gone(*arguments: Any, **settings: Any) -> Path:
        shutil.rmtree(folder)
        return write_report(*arguments, **settings)

    write_report = report.write_report
    monkeypatch.setattr(report, "write_report", gone)
    result = alexnet("train", "photos", "--network", toml, "--output", "run", *QUICK)
    assert result.exit_code == 0, result.output
    assert "validation: top-1" in result.stdout
    assert (here / "run" / "report.html").exists()


def test_a_split_that_is_not_there_is_refused(weights_file: Path, coloured: Path) -> None:
    assert "no test split" in refused("evaluate", weights_file, coloured, "--split", "test")


def test_a_run_s_folder_that_holds_something_is_refused(toml: Path, coloured: Path, here: Path) -> None:
    (here / "run").mkdir()
    (here / "run" / "best.safetensors").write_text("mine")
    message = refused("train", coloured, "--network", toml, "--output", "run", *QUICK)
    assert message.startswith("run: not empty")
    assert everything_below(here) == {"run": None, "run/best.safetensors": b"mine"}


def test_a_loss_that_is_not_finite_is_one_line(toml: Path, coloured: Path, nothing_left: None) -> None:
    message = refused(
        "train", coloured, "--network", toml, "--epochs", "10", *QUICK, "--lr", "1e38", "--output", "run"
    )
    assert "the loss is" in message
    assert "lower the learning rate" in message


def test_a_full_disk_is_one_line_and_leaves_nothing(
    toml: Path, coloured: Path, nothing_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = refused("train", coloured, "--network", toml, "--epochs", "1", "--output", "run", *QUICK)
    assert "No space left on device" in message


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))
from alexnet.__main__ import main
sys.argv[0] = "alexnet"
main()
"""


@pytest.mark.slow
def test_a_file_system_that_takes_no_more_is_one_line_and_leaves_nothing(
    python: Start, toml: Path, coloured: Path, here: Path
) -> None:
    arguments = ["train", str(coloured), "--network", str(toml), "--epochs", "1", "--output", "run", *QUICK]
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], env=python[1], capture_output=True, text=True
    )
    assert "File too large" in refusal(ended.returncode, ended.stderr)
    assert everything_below(here) == {}


def test_debug_raises_the_error_itself() -> None:
    from alexnet import NetworkError

    result = alexnet("--debug", "summary", "note")
    assert isinstance(result.exception, NetworkError)


def test_debug_shows_the_traceback(python: Start) -> None:
    command, environment = python
    ended = subprocess.run(
        [*command, "-m", "alexnet", "--debug", "summary", "note"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode != 0
    assert "Traceback" in ended.stderr
    assert "NetworkError" in ended.stderr


def test_a_real_process_refuses_as_the_tests_have_it(python: Start, here: Path) -> None:
    command, environment = python
    ended = subprocess.run(
        [*command, "-m", "alexnet", "summary", "note"], env=environment, capture_output=True, text=True
    )
    assert "did you mean 'notes'?" in refusal(ended.returncode, ended.stderr)
    assert ended.stdout == ""


WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None  # importing it fails as where it is not installed
from alexnet.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("torch", ("train", "digits")),
        ("torch", ("predict", "w.safetensors", "x.png")),
        ("torch", ("benchmark", "train")),
        ("numpy", ("predict", "w.safetensors", "x.png")),
        ("PIL", ("evaluate", "w.safetensors", "digits")),
    ],
    ids=str,
)
def test_a_missing_extra_names_the_command_that_installs_it(
    package: str, arguments: tuple[str, ...], python: Start, nothing_left: None
) -> None:
    command, environment = python
    ended = subprocess.run(
        [*command, "-c", WITHOUT, package, *arguments], env=environment, capture_output=True, text=True
    )
    expected = f"{package}: not installed; run: pip install 'alexnet[train]'"
    assert refusal(ended.returncode, ended.stderr) == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_result_that_cannot_be_printed_is_one_line(python: Start) -> None:
    command, environment = python
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*command, "-m", "alexnet", "summary"],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    told = refusal(ended.returncode, ended.stderr)
    assert told == "standard output: cannot be written: No space left on device"


NAMELESS = """
import sys
from alexnet.cli.program import app

@app.command("read")
def read():
    print("so far")
    raise OSError(5, "Input/output error")

app(sys.argv[1:])
"""


def test_an_error_of_a_file_without_a_name_is_not_blamed_on_the_output(python: Start) -> None:
    command, environment = python
    ended = subprocess.run(
        [*command, "-c", NAMELESS, "read"], env=environment, capture_output=True, text=True
    )
    assert ended.stdout == "so far\n"
    told = refusal(ended.returncode, ended.stderr)
    assert told == "Input/output error; run `alexnet --debug ...` to see where"
    traced = subprocess.run(
        [*command, "-c", NAMELESS, "--debug", "read"], env=environment, capture_output=True, text=True
    )
    assert (traced.returncode, traced.stderr.splitlines()[-1]) == (1, "OSError: [Errno 5] Input/output error")


# --- durations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5s", 1.5),
        ("3m", 180),
        ("1h30m", 5400),
        ("2h", 7200),
        ("1h1m1s", 3661),
        (" 5m ", 300),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    from alexnet.cli.options import Duration

    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("seconds", [9, 75, 180, 5400, 7260])
def test_a_duration_that_is_printed_can_be_typed(seconds: float) -> None:
    from alexnet.cli.options import Duration

    assert Duration().convert(duration(seconds), None, None) == seconds


# --- the main job, small ----------------------------------------------------------------------------------


def test_training_says_how_good_it_is_and_where_the_weights_are(trained: tuple[Path, Result]) -> None:
    output, result = trained
    best = output / "best.safetensors"
    # 8 pictures of each of three colours: one of each, a tenth rounded, is for validation.
    assert "validation: top-1 100.00% (43.9 to 100.0) on 3 pictures" in result.stdout
    assert f"weights: {best}" in result.stdout.splitlines()
    assert f"alexnet predict {best} PHOTO..." in result.stderr
    assert "training" in result.stderr
    assert {path.name for path in output.iterdir()} == {
        "best.safetensors",
        "last.safetensors",
        "metrics.csv",
        "steps.csv",
        "run.json",
        "division.json",
        "state.safetensors",
        "events.out.tfevents.0001",
        "report.html",
    }


def test_evaluation_of_what_was_trained_is_right(trained: tuple[Path, Result], coloured: Path) -> None:
    weights = trained[0] / "best.safetensors"
    told = json.loads(done("evaluate", weights, coloured, "--format", "json").stdout)
    assert (told["pictures"], told["views"], told["top1"]) == (24, 1, 1.0)
    assert told["confusion"] == [[8, 0, 0], [0, 8, 0], [0, 0, 8]]
    assert [each["class"] for each in told["per_class"]] == ["blue", "green", "red"]
    ten = json.loads(done("evaluate", weights, coloured, "--views", "10", "--format", "json").stdout)
    assert (ten["pictures"], ten["views"], ten["top1"]) == (24, 10, 1.0)


def test_evaluation_on_the_splits_of_training_counts_their_pictures(
    trained: tuple[Path, Result], coloured: Path
) -> None:
    weights = trained[0] / "best.safetensors"
    counts = []
    for split in ("train", "validation"):
        told = json.loads(done("evaluate", weights, coloured, "--split", split, "--format", "json").stdout)
        counts.append(told["pictures"])
    assert counts == [21, 3]


def test_evaluation_as_a_table_ends_in_its_headline(trained: tuple[Path, Result], coloured: Path) -> None:
    lines = done("evaluate", trained[0] / "best.safetensors", coloured).stdout.splitlines()
    assert [line.split() for line in (lines[0], lines[2])] == [
        ["class", "pictures", "right", "recall", "precision"],
        ["blue", "8", "8", "100.0%", "100.0%"],
    ]
    # The interval is Wilson's: scipy.stats.binomtest(24, 24).proportion_ci(method="wilson").
    assert lines[-1].startswith("top-1 100.00% (86.2 to 100.0) on 24 pictures, ")


def test_a_split_is_what_training_made_of_it_whatever_came_since(
    paint: Callable[..., Path], toml: Path, here: Path
) -> None:
    folder = paint(here / "photos", count=8)
    done("train", folder, "--network", toml, "--epochs", "1", "--output", "run", *QUICK, "--seed", "5")
    for name in ("blue", "green", "red"):  # as many again, which --seed would divide in another way
        for number in range(8):
            copied = (folder / name / f"{number:02}.png").read_bytes()
            (folder / name / f"a{number}.png").write_bytes(copied)
    command = ("evaluate", "run/best.safetensors", folder, "--format", "json", "--split")
    counts = [json.loads(done(*command, split).stdout)["pictures"] for split in ("train", "validation")]
    assert counts == [21, 3]


def test_weights_are_a_start_for_other_classes(
    trained: tuple[Path, Result], paint: Callable[..., Path], here: Path
) -> None:
    folder = paint(here / "two", classes=("blue", "red"))
    arguments = ("--init", trained[0] / "best.safetensors", "--freeze", "conv2", "--epochs", "1", *QUICK)
    done("train", folder, *arguments, "--output", "run")
    before = load_file(trained[0] / "best.safetensors")
    after = load_file("run/last.safetensors")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in same if not name.startswith("normalize")} == {
        *("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias")
    }
    assert after["fc3.weight"].shape[0] == 2


def test_what_was_stopped_goes_on_and_says_the_same(
    trained: tuple[Path, Result], coloured: Path, toml: Path
) -> None:
    """A run that came to its end says again how good it is; with more epochs it trains on."""
    command = ("train", coloured, "--network", toml, "--output", trained[0], *QUICK, "--resume")
    again = done(*command, "--epochs", "8")
    first_line = trained[1].stdout.splitlines()[0].rsplit(", ", 1)[0]  # less the speed
    assert again.stdout.startswith(first_line)
    message = refused(*command, "--epochs", "8", "--batch-size", "5")
    assert "recipe.batch_size was 6 and is now 5" in message


def test_a_csv_trains_and_is_judged(coloured: Path, toml: Path, here: Path) -> None:
    rows = [f"{path},{path.parent.name}" for path in sorted(coloured.glob("*/*.png"))]
    Path("photos.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    result = done("train", "photos.csv", "--network", toml, "--epochs", "8", "--output", "run", *QUICK)
    assert "on 3 pictures" in result.stdout
    told = json.loads(done("evaluate", "run/best.safetensors", "photos.csv", "--format", "json").stdout)
    assert told["pictures"] == 24


def test_pictures_that_cannot_be_read_are_listed(paint: Callable[..., Path], toml: Path, here: Path) -> None:
    folder = paint(here / "photos", count=8)
    (folder / "red" / "07.png").write_bytes(b"")
    command = ("train", folder, "--network", toml, "--epochs", "1", "--output", "run", *QUICK)
    result = done(*command, "--most-unreadable", "0.1")
    assert "1 pictures could not be read: run/skipped.csv" in result.stderr
    with Path("run/skipped.csv").open(newline="") as file:
        assert [row["picture"] for row in csv.DictReader(file)] == [str(folder / "red" / "07.png")]
    assert "red/07.png" in Path("run/report.html").read_text(encoding="utf-8")


def test_prediction_of_what_was_trained_is_right_in_every_form(
    trained: tuple[Path, Result], coloured: Path
) -> None:
    weights = trained[0] / "best.safetensors"
    result = done("predict", weights, coloured, "--format", "jsonl")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["path"] for answer in answers] == [str(path) for path in sorted(coloured.glob("*/*.png"))]
    assert all(answer["labels"][0]["name"] == Path(answer["path"]).parent.name for answer in answers)
    assert result.stderr == ""
    rows = list(csv.DictReader(io.StringIO(done("predict", weights, coloured, "--format", "csv").stdout)))
    for row, answer in zip(rows, answers, strict=True):
        assert (row["path"], row["label1"]) == (answer["path"], answer["labels"][0]["name"])
        assert float(row["probability1"]) == pytest.approx(answer["labels"][0]["probability"], abs=1e-6)
    assert list(rows[0]) == [
        *("path", "label1", "probability1", "label2", "probability2", "label3", "probability3", "error")
    ]
    table = done("predict", weights, coloured / "red", "--top", "1").stdout
    assert table.count("red ") == 8
    assert "blue" not in table


def test_a_weights_file_describes_its_run(trained: tuple[Path, Result], small: Network) -> None:
    weights = load_weights(trained[0] / "last.safetensors")
    assert weights.model.network == small
    told = json.loads((trained[0] / "run.json").read_text(encoding="utf-8"))
    assert told["network"] == described(trained[0] / "last.safetensors")["network"]
    assert (weights.metrics["epoch"], weights.metrics["pictures"]) == (8, 8 * 21)
    assert weights.metrics["validation_top1"] == 1.0


def test_what_was_trained_can_be_trained_again_from_its_file(
    trained: tuple[Path, Result], coloured: Path, here: Path
) -> None:
    """--network takes a weights file for its architecture."""
    weights = trained[0] / "best.safetensors"
    result = done("train", coloured, "--network", weights, "--epochs", "1", "--output", "again", *QUICK)
    assert "weights: again/best.safetensors" in result.stdout


def test_the_page_of_a_run_is_about_it(trained: tuple[Path, Result]) -> None:
    page = (trained[0] / "report.html").read_text(encoding="utf-8")
    assert "small on coloured" in page
    assert "100.00% of 3 pictures" in page


def test_names_that_are_no_unicode_are_no_trouble(
    paint: Callable[..., Path], weights_file: Path, toml: Path, here: Path
) -> None:
    folder = paint(here / "data", count=3)
    odd = os.fsdecode(b"caf\xe9.png")  # as old disks have them
    try:
        (folder / "red" / "00.png").rename(folder / "red" / odd)
    except OSError:
        pytest.skip("this file system takes Unicode only")
    assert done("predict", weights_file, folder, "--format", "jsonl").stdout.count("\n") == 9
    done("predict", weights_file, folder, "--format", "csv")
    done("train", folder, "--network", toml, "--epochs", "1", "--output", "run", *QUICK)


def test_a_benchmark_of_training_tells_both_ways(toml: Path) -> None:
    result = done(
        *("benchmark", "train", "--network", toml, "--batch-size", "4", "--rounds", "2", "--format", "json")
    )
    plain, ours = json.loads(result.stdout)
    assert plain["ratio"] == 1.0
    for way in (plain, ours):
        assert way["slowest"] <= way["pictures_per_second"] <= way["fastest"]
    assert ours["ratio"] == pytest.approx(ours["pictures_per_second"] / plain["pictures_per_second"])


def test_a_benchmark_from_files_tells_all_three_ways(toml: Path, coloured: Path) -> None:
    result = done(
        *("benchmark", "train", "--network", toml, "--data", coloured, "--batch-size", "4"),
        *("--steps", "2", "--rounds", "1", "--format", "json"),
    )
    ways = json.loads(result.stdout)
    assert [way["ratio"] > 0 for way in ways] == [True] * 3
    assert ways[0]["ratio"] == 1.0
    for way in ways[1:]:
        expected = way["pictures_per_second"] / ways[0]["pictures_per_second"]
        assert way["ratio"] == pytest.approx(expected)


# --- Ctrl-C -----------------------------------------------------------------------------------------------


# Where the tests run in the background of a shell, Ctrl-C is ignored, and so in what they start.
AS_FROM_A_TERMINAL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from alexnet.__main__ import main
main()
"""


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_leaves_weights_that_predict(
    python: Start, toml: Path, coloured: Path, here: Path
) -> None:
    arguments = ["train", str(coloured), "--network", str(toml), "--epochs", "100000", "--output", "run"]
    process = subprocess.Popen(
        [sys.executable, "-c", AS_FROM_A_TERMINAL, *arguments, *QUICK],
        env=python[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        told = process.stderr.readline()  # waits until it trains
        assert told.startswith("training"), told
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "interrupted: run/last.safetensors holds the weights of its last step" in stderr
    assert "weights: run/best.safetensors" in stdout
    assert json.loads((here / "run" / "run.json").read_text())["interrupted"] is True
    answers = done("predict", "run/last.safetensors", coloured, "--format", "jsonl").stdout
    assert len(answers.splitlines()) == 24
    assert not [path for path in (here / "run").iterdir() if path.name.startswith(".")]


def test_ctrl_c_before_anything_is_one_line(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    def interrupt(*_arguments: object, **_settings: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("alexnet.images.datasets.open_dataset", interrupt)
    result = alexnet("train", "digits")
    assert (result.exit_code, result.stderr) == (130, "alexnet: interrupted\n")
    assert everything_below(here) == {}


def test_every_network_of_the_zoo_has_a_summary() -> None:
    for name in NETWORKS:
        assert done("summary", name).stdout.startswith(f"{name}: input ")


# --- export -----------------------------------------------------------------------------------------------


def test_an_export_is_proved_kept_and_used_by_predict(
    trained: tuple[Path, Result], coloured: Path, tmp_path: Path
) -> None:
    (run, _), photos = trained, coloured
    model = tmp_path / "model.onnx"
    result = done("export", run / "best.safetensors", "-o", model, "--check", photos)
    assert "onnxruntime" in result.stdout
    assert f"exported: {model}" in result.stdout
    picture = next(photos.rglob("*.png"))
    columns = ("--top", "1", "--format", "csv", "--precision", "fp32")
    expected = done("predict", run / "best.safetensors", picture, *columns).stdout
    for engine in ("onnxruntime", "openvino"):
        found = done("predict", model, picture, *columns, "--engine", engine).stdout
        assert found.split(",")[:-1] == expected.split(",")[:-1]
    told = json.loads(done("evaluate", model, photos, "--format", "json").stdout)
    assert told["top1"] == 1.0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--most-lost", "0.1"), "--most-lost: is for --int8; give both"),
        (
            ("--int8", "--calibrate", "PICTURES", "--most-lost", "5"),
            "most lost: 5.0; must be a share, from 0 to 1",
        ),
        (("--int8", "--calibrate", "PICTURES", "--most-lost", "nan"), "most lost: nan; must be a share"),
    ],
)
def test_what_may_be_lost_is_a_share_of_8_bits(
    trained: tuple[Path, Result], coloured: Path, here: Path, options: tuple[str, ...], told: str
) -> None:
    chosen = [str(coloured) if each == "PICTURES" else each for each in options]
    assert told in refused("export", trained[0] / "best.safetensors", "-o", "m.onnx", *chosen)
    assert not Path("m.onnx").exists()


def test_an_audit_of_no_claims_is_refused(here: Path) -> None:
    for name, text in (("a.toml", ""), ("b.csv", "Layer,Output\nconv1,\n")):
        Path(name).write_text(text)
        assert refused("audit", name).startswith(f"{name}: no claims; ")


def test_classes_are_those_of_the_pictures(coloured: Path, toml: Path, nothing_left: None) -> None:
    told = refused("train", coloured, "--network", toml, "--set", "classes=7")
    assert told == "--set classes: a network is trained with the classes that the pictures have; leave it out"


def test_a_closed_standard_output_is_no_trouble(
    python: Start, trained: tuple[Path, Result], coloured: Path
) -> None:
    command, environment = python
    words = [
        *command,
        "-m",
        "alexnet",
        "predict",
        str(trained[0] / "best.safetensors"),
        str(coloured / "red"),
    ]
    told = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *words], env=environment, capture_output=True, text=True
    )
    assert (told.returncode, told.stderr) == (0, "")


def test_what_an_export_needs_is_asked_for_in_a_line(
    trained: tuple[Path, Result], coloured: Path, tmp_path: Path
) -> None:
    weights = trained[0] / "best.safetensors"
    assert "--calibrate DATA" in refused("export", weights, "-o", tmp_path / "m.onnx", "--int8")
    assert "is for --int8" in refused("export", weights, "-o", tmp_path / "m.onnx", "--calibrate", "x")
    assert "must end in .onnx or .xml" in refused("export", weights, "-o", tmp_path / "m.pt")
    assert list(tmp_path.iterdir()) == []
    assert "engine: tensorrt; must be auto or one of" in refused(
        "predict", weights, weights, "--engine", "tensorrt"
    )


def test_an_exported_file_answers_without_torch(
    trained: tuple[Path, Result], coloured: Path, tmp_path: Path, python: Start
) -> None:
    (run, _), photos = trained, coloured
    done("export", run / "best.safetensors", "-o", tmp_path / "m.onnx")
    arguments = ["predict", str(tmp_path / "m.onnx"), str(next(photos.rglob("*.png")))]
    slow = ("torch", "onnx", "ssl", "urllib.request", "asyncio", "rich")
    code = f"import sys; from alexnet.cli import app; app({arguments}, standalone_mode=False); " + (
        f"print([name for name in {slow} if name in sys.modules])"
    )
    for engine in ("auto", "onnxruntime", "openvino"):
        command, environment = python
        told = subprocess.run(
            [*command, "-c", code.replace("'predict',", f"'predict', '--engine', '{engine}',")],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert told.stdout.splitlines()[-1:] == ["[]"], told.stderr
