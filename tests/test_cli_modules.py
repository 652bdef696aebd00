"""The command line on what is not ours: torch modules by package.module:attribute, torchvision's weights."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from alexnet import NETWORKS, summarize
from alexnet.cli import app
from alexnet.learning import torchvision
from alexnet.learning.model import AlexNet
from alexnet.learning.weights import load_weights

Start = tuple[list[str], dict[str, str]]

NETS = """
print("importing")
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, classes=10):
        print("making")
        super().__init__(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, classes))

    def forward(self, batch):
        print("running")
        return super().forward(batch)

class Needy(nn.Module):
    def __init__(self, size):
        super().__init__()

class Family:
    small = nn.Sequential(nn.Linear(4, 2))

ready = nn.Conv2d(3, 4, 3)
number = 3

def make():
    return Net(5)

def exits():
    raise SystemExit("bye")

def gives_none():
    return None

def broken():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(100, 10))
"""


def alexnet(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], prog_name="alexnet")


def done(*arguments: str | Path) -> Result:
    result = alexnet(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: str | Path) -> str:
    """The last line on stderr, before which may stand only what the module prints itself."""
    result = alexnet(*arguments)
    assert result.exit_code == 2, result.output
    *before, last = result.stderr.splitlines()
    assert set(before) <= {"importing", "making", "running"}
    assert last.startswith("alexnet: ")
    return last.removeprefix("alexnet: ")


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A file with networks in the working folder: the name to import it by, of this test's own."""
    name = f"nets_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return name


# conv: 6 x 6 x 8 outputs of 27 products; linear: 288 x classes
@pytest.mark.parametrize(
    ("attribute", "size", "macs", "parameters"),
    [
        ("Net", "3x8x8", 36 * 8 * 27 + 2880, 216 + 8 + 2880 + 10),
        ("Net", "8x8x3", 36 * 8 * 27 + 2880, 216 + 8 + 2880 + 10),
        ("make", "3x8x8", 36 * 8 * 27 + 1440, 216 + 8 + 1440 + 5),
        ("ready", "3x5x7", 15 * 4 * 27, 108 + 4),
        ("Family.small", "4", 8, 10),
    ],
)
def test_a_class_a_function_and_a_module_are_summarised(
    nets: str, attribute: str, size: str, macs: int, parameters: int
) -> None:
    spec = f"{nets}:{attribute}"
    result = done("summary", spec, "--input", size)
    assert result.stdout.startswith(f"{spec}: input ")
    assert f" {parameters:,} parameters" in result.stdout
    assert (
        json.loads(done("summary", spec, "--input", size, "--format", "json").stdout)["totals"]["macs"]
        == macs
    )
    lines = list(
        csv.DictReader(io.StringIO(done("summary", spec, "--input", size, "--format", "csv").stdout))
    )
    assert sum(int(line["macs"]) for line in lines) == macs
    assert done("summary", spec, "--input", size, "--format", "markdown").stdout.startswith("| layer |")


def test_what_a_module_prints_is_not_part_of_the_result(nets: str) -> None:
    result = done("summary", f"{nets}:Net", "--input", "3x8x8")
    assert {"importing", "making", "running"} == set(result.stderr.split())
    assert "running" not in result.stdout


@pytest.mark.slow
def test_a_real_process_finds_the_working_folder_s_modules(python: Start, tmp_path: Path) -> None:
    (tmp_path / "mynets.py").write_text(NETS, encoding="utf-8")
    program = "from alexnet.__main__ import main\nimport sys\nsys.path = sys.path[1:]\nmain()"
    ended = subprocess.run(
        [sys.executable, "-B", "-c", program, "summary", "mynets:Net", "--input", "3x8x8"],
        env=python[1],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "6x6x8" in ended.stdout


def test_torch_s_own_modules_need_no_file() -> None:
    assert "flatten" in done("summary", "torch.nn:Flatten", "--input", "3x4x4").stdout.lower()


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json"])
def test_a_module_that_fails_is_shown_up_to_where(nets: str, form: str) -> None:
    arguments = ("summary", f"{nets}:broken", "--input", "3x8x8", "--format", form)
    assert refused(*arguments).startswith(
        "Layer '2' (Linear): 288 arrived; must be 100 (its in_features=100)"
    )
    # The table up to the break; other forms are read by programs, for which half a table is none.
    assert ("6x6x8" in alexnet(*arguments).stdout) == (form == "table")


@pytest.mark.parametrize(
    ("attribute", "options", "words"),
    [
        ("Net", (), "--input: not given; must be such as: alexnet summary"),
        ("Net", ("--input", "3x8"), "Layer '0' (Conv2d)"),
        ("Net", ("--input", "large"), "--input large: must be sizes such as 3x224x224"),
        ("Net", ("--input", "3x8x8", "--set", "classes=3"), "--set: not for a torch module"),
        ("Net", ("--input", "3x8x8", "--formulas"), "--formulas: not for a torch module"),
        ("Net", ("--input", "3x8x8", "--format", "toml"), "--format toml: not for a torch module"),
        ("Needy", ("--input", "3x8x8"), "calling it without arguments failed: TypeError"),
        ("exits", ("--input", "3x8x8"), "SystemExit: bye"),
        ("gives_none", ("--input", "3x8x8"), "gives NoneType; must be a torch.nn.Module"),
        ("number", ("--input", "3x8x8"), "gives int; must be a torch.nn.Module"),
        ("Nett", ("--input", "3x8x8"), "has no attribute 'Nett'"),
        ("Net()", ("--input", "3x8x8"), "not package.module:attribute"),
        ("", ("--input", "3x8x8"), "not package.module:attribute"),
        ("Net:Net", ("--input", "3x8x8"), "not package.module:attribute"),
    ],
)
def test_what_is_no_module_is_one_line(
    nets: str, attribute: str, options: tuple[str, ...], words: str
) -> None:
    assert words in refused("summary", f"{nets}:{attribute}", *options)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_package_of_mine", "No module named 'no_such_package_of_mine'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
        ("raise RuntimeError('a\\nb')", "RuntimeError: a"),
    ],
    ids=["missing", "exit", "error", "syntax", "lines"],
)
def test_a_file_that_cannot_be_imported_is_one_line(nets: str, code: str, words: str) -> None:
    Path(f"{nets}.py").write_text(code, encoding="utf-8")
    message = refused("summary", f"{nets}:Net", "--input", "3x8x8")
    assert message.startswith(f"{nets}:Net: cannot be imported: ")
    assert words in message


def test_a_file_that_is_not_there_is_one_line() -> None:
    message = refused("summary", "no_such_file_of_mine:Net", "--input", "3x8x8")
    assert "ModuleNotFoundError: No module named 'no_such_file_of_mine'" in message


@pytest.mark.parametrize("spec", ["NETS", "NETS.py", "NETS.Net"])
def test_nothing_is_run_for_what_has_no_colon(nets: str, spec: str) -> None:
    result = alexnet("summary", spec.replace("NETS", nets))
    assert result.exit_code == 2
    assert "importing" not in result.output
    assert nets not in sys.modules


def test_our_own_networks_take_no_input_here() -> None:
    assert "set it: --set input=224" in refused("summary", "notes", "--input", "3x224x224")


def test_our_own_torch_model_is_to_be_named(nets: str) -> None:
    imports = "from alexnet import NOTES\nfrom alexnet.learning.model import AlexNet\n"
    Path(f"{nets}.py").write_text(f"{imports}def make(): return AlexNet(NOTES)\n", encoding="utf-8")
    message = refused("summary", f"{nets}:make", "--input", "3x227x227")
    assert "alexnet's own network 'notes'" in message
    assert "calling it without arguments failed" in refused(
        "summary", "alexnet.learning.model:AlexNet", "--input", "3x227x227"
    )


def test_the_name_torchvision_stays_the_network_s() -> None:
    assert done("summary", "torchvision").stdout == summarize(NETWORKS["torchvision"]).text()


# --- torchvision's weights --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def state_dict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of torchvision's AlexNet for three classes, of which the second always wins."""
    network = NETWORKS["torchvision"].with_classes(3)
    with torch.device("meta"):
        model = AlexNet(network)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    state = {theirs: torch.zeros(1).expand(shapes[ours]) for theirs, ours in torchvision.KEYS.items()}
    state["classifier.6.bias"] = torch.tensor([0.0, 5.0, 1.0])
    path = tmp_path_factory.mktemp("torchvision") / "my.pth"
    torch.save(state, path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (300, 260), (200, 100, 50)).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def told(result: Result) -> list[str]:
    return [label["name"] for label in json.loads(result.stdout)["labels"]]


def test_a_state_dict_of_one_s_own_predicts(state_dict: Path, photo: Path) -> None:
    result = done("predict", state_dict, photo, "--format", "jsonl")
    assert told(result) == ["class 1", "class 2", "class 0"]


def test_a_state_dict_of_one_s_own_is_evaluated(state_dict: Path, photo: Path, tmp_path: Path) -> None:
    for label in range(3):
        folder = tmp_path / "data" / f"class {label}"
        folder.mkdir(parents=True)
        (folder / "photo.jpg").write_bytes(photo.read_bytes())
    result = done("evaluate", state_dict, tmp_path / "data", "--format", "json")
    assert json.loads(result.stdout)["top1"] == pytest.approx(1 / 3)


def test_a_state_dict_of_one_s_own_is_trained_on(
    state_dict: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    for label, split in product(("cat", "dog"), ("training", "testing", "dev")):
        folder = tmp_path / "my photos" / split / label
        folder.mkdir(parents=True)
        for number in range(2):
            (folder / f"{number}.jpg").write_bytes(photo.read_bytes())
    options = ("--init", state_dict, "--freeze", "fc7", "--epochs", "1", "--batch-size", "2")
    result = done("train", tmp_path / "my photos", *options, "--output", tmp_path / "run")
    network = load_weights(tmp_path / "run" / "best.safetensors").model.network
    assert network.layers == NETWORKS["torchvision"].with_classes(2).layers
    assert f"evaluate {tmp_path}/run/best.safetensors '{tmp_path}/my photos'\n" in result.stderr


def test_the_published_weights_are_fetched_and_then_at_hand(
    state_dict: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = state_dict.read_bytes()
    home = tmp_path / f"alexnet-owt-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    home.write_bytes(content)
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torchvision, "URL", home.as_uri())
    monkeypatch.chdir(tmp_path)
    first = done("predict", "torchvision", photo, "--format", "jsonl")
    assert told(first)[0] == "class 1"
    [line] = first.stderr.splitlines()
    assert line.startswith("torchvision: fetching 233 MiB, once, from file:")
    home.unlink()
    assert done("predict", "torchvision", photo, "--format", "jsonl").stderr == ""


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_without_a_network_the_published_weights_are_refused_in_a_line(
    command: str, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torchvision, "URL", (tmp_path / "nowhere" / "alexnet-owt-7be5be79.pth").as_uri())
    result = alexnet(command, "torchvision", photo)
    assert result.exit_code == 2
    fetching, refusal = result.stderr.splitlines()
    assert fetching.startswith("torchvision: fetching ")
    assert refusal.startswith(
        "alexnet: torchvision: its weights are not on this machine and cannot be fetched"
    )
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_another_pickle_is_refused_in_a_line(command: str, photo: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    message = refused(command, tmp_path / "other.pth", photo)
    assert "'features.0.weight' is missing; must be the state dict of torchvision's AlexNet" in message
