"""torchvision's state dict, against its network stated anew here, and its published file, stood in for."""

from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from alexnet import WeightsError, edit, get_network
from alexnet.images.views import View
from alexnet.inference.engines import open_classifier
from alexnet.learning import torchvision
from alexnet.learning.model import AlexNet
from alexnet.learning.torchvision import find_or_fetch, load_state_dict, open_weights, to_state_dict
from alexnet.learning.weights import Weights, load_weights, save_weights, torch_classifier

CLASSES = 7


class TheirAlexNet(nn.Module):
    """As torchvision/models/alexnet.py has it (BSD licence), so that its keys and its order are theirs."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        logits: Tensor = self.classifier(torch.flatten(x, 1))
        return logits


@pytest.fixture(scope="module")
def theirs() -> TheirAlexNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TheirAlexNet(CLASSES).eval()


@pytest.fixture(scope="module")
def pictures() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(theirs: TheirAlexNet, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Their logits of the pictures, as their transforms prepare them: ToTensor, then Normalize."""
    values = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(torch.float32).div(255)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        logits: npt.NDArray[np.float32] = theirs(values.sub(mean).div(deviation)).numpy()
    return logits


@pytest.fixture(scope="module")
def files(theirs: TheirAlexNet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Their weights, written in each way; not to be written to."""
    folder = tmp_path_factory.mktemp("theirs")
    state = theirs.state_dict()
    torch.save(state, folder / "new.pth")
    torch.save(dict(state), folder / "old.PT", _use_new_zipfile_serialization=False)
    save_file(state, folder / "their.safetensors")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def light(theirs: TheirAlexNet) -> dict[str, Any]:
    """A state dict of theirs that takes no room: every tensor repeats one zero."""
    return {key: torch.zeros(1).expand(tensor.shape) for key, tensor in theirs.state_dict().items()}


def logits(weights: Weights, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return torch_classifier(weights, device=torch.device("cpu"), precision=torch.float32)(batch)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new.pth", "old.PT", "their.safetensors"])
def test_their_logits_come_out(
    name: str,
    files: dict[str, Path],
    pictures: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.float32],
) -> None:
    np.testing.assert_allclose(logits(load_state_dict(files[name]), pictures), expected, rtol=0, atol=1e-5)
    classifier = open_classifier(files[name], device="cpu", precision="fp32")
    np.testing.assert_allclose(classifier(pictures), expected, rtol=0, atol=1e-5)
    # Logits that hardly differ would be equal for any weights.
    assert np.ptp(expected) > 100 * 1e-5


def test_a_state_dict_in_memory_is_copied(
    theirs: TheirAlexNet, pictures: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32]
) -> None:
    state = {key: tensor.clone() for key, tensor in theirs.state_dict().items()}
    weights = load_state_dict(state)
    for tensor in state.values():
        tensor.zero_()
    np.testing.assert_allclose(logits(weights, pictures), expected, rtol=0, atol=1e-5)


def test_what_belongs_to_the_weights_comes_with_them(files: dict[str, Path]) -> None:
    weights = load_state_dict(files["new.pth"])
    assert weights.view == View(height=224, width=224, resize=256)
    assert weights.class_names == tuple(f"class {label}" for label in range(7))
    assert weights.model.network == get_network("torchvision").with_classes(7)
    assert not weights.model.training
    normalize = weights.model.get_submodule("normalize")
    # (255 / 255 - 0.485) / 0.229, and so on
    white = normalize(torch.full((1, 1, 1, 3), 255, dtype=torch.uint8)).flatten().tolist()
    assert white == pytest.approx([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rel=1e-6)


def test_there_and_back_is_the_same(theirs: TheirAlexNet) -> None:
    back = to_state_dict(load_state_dict(theirs.state_dict()))
    assert list(back) == list(theirs.state_dict())
    for key, tensor in theirs.state_dict().items():
        assert torch.equal(back[key], tensor), key
        assert back[key].is_contiguous()
    TheirAlexNet(CLASSES).load_state_dict(back)


@pytest.mark.slow
def test_it_becomes_a_weights_file_of_ours(
    theirs: TheirAlexNet,
    tmp_path: Path,
    pictures: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.float32],
) -> None:
    save_weights(tmp_path / "ours.safetensors", load_state_dict(theirs.state_dict()))
    ours = open_weights(tmp_path / "ours.safetensors")
    np.testing.assert_allclose(logits(ours, pictures), expected, rtol=0, atol=1e-5)
    assert ours.view == load_weights(tmp_path / "ours.safetensors").view


def test_halves_are_read_as_floats(light: dict[str, Any]) -> None:
    weights = load_state_dict({key: tensor.half() for key, tensor in light.items()})
    assert {tensor.dtype for tensor in weights.model.state_dict().values()} == {torch.float32}


def test_layers_that_are_not_theirs_have_no_keys_there() -> None:
    with torch.device("meta"):
        model = AlexNet(edit(get_network("torchvision"), "classes=3", "conv2.filters=200"))
    weights = Weights(model=model, class_names=("a", "b", "c"), view=torchvision.VIEW, metrics={})
    with pytest.raises(WeightsError, match="not those of torchvision's AlexNet"):
        to_state_dict(weights)


# --- what must be refused ---------------------------------------------------------------------------------


class Boom:
    """Unpickling one of these would leave a trace."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.mark,)


def refused(path: Path) -> str:
    """What both who read it say, in a line that begins with the file."""
    messages = []
    for read in (load_state_dict, open_weights, open_classifier):
        with pytest.raises(WeightsError) as caught:
            read(path)
        messages.append(str(caught.value))
    assert len(set(messages)) == 1
    assert messages[0].startswith(f"{path}: ")
    assert "\n" not in messages[0]
    return messages[0]


def write_tar(path: Path, mark: Path) -> None:
    with tarfile.open(path, "w") as archive:
        (path.parent / "x").write_text("x")
        archive.add(path.parent / "x")


def write_zip(path: Path, mark: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(Boom(str(mark))))


@pytest.mark.parametrize(
    "write",
    [
        lambda path, mark: torch.save({"boom": Boom(str(mark))}, path),
        lambda path, mark: torch.save({"boom": Boom(str(mark))}, path, _use_new_zipfile_serialization=False),
        lambda path, mark: path.write_bytes(pickle.dumps({"boom": Boom(str(mark))})),
        lambda path, mark: path.write_bytes(pickle.dumps({"boom": Boom(str(mark))}, protocol=2)),
        lambda path, mark: torch.save(TheirAlexNet(1).avgpool, path),
        write_zip,
        write_tar,
    ],
    ids=["zip", "legacy", "pickle", "protocol 2", "a module", "any zip", "tar"],
)
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_a_pickle_that_holds_code_is_refused_and_runs_none(
    write: Callable[[Path, Path], object], suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"model{suffix}"
    write(path, tmp_path / "ran")
    refused(path)
    assert not (tmp_path / "ran").exists()


def test_what_a_pickle_with_code_is_told(tmp_path: Path) -> None:
    torch.save({"boom": Boom(str(tmp_path / "ran"))}, tmp_path / "model.pth")
    assert "a pickle that holds more than tensors" in refused(tmp_path / "model.pth")


def test_the_guard_of_pickles_can_fail(tmp_path: Path) -> None:
    torch.save({"boom": Boom(str(tmp_path / "ran"))}, tmp_path / "model.pth")
    torch.load(tmp_path / "model.pth", weights_only=False)
    assert (tmp_path / "ran").is_dir()


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("classifier.4.bias"), "tensor 'classifier.4.bias' is missing"),
        (
            lambda state: state.update({"features.1.weight": torch.zeros(1)}),
            "'features.1.weight' is not among",
        ),
        (lambda state: state.update({3: torch.zeros(1)}), "tensor '3' is not among"),
        (lambda state: state.update({"features.0.bias": [0.0] * 64}), "'features.0.bias' is missing"),
        (lambda state: state.update({"features.0.bias": torch.zeros(63)}), "[63] torch.float32"),
        (lambda state: state.update({"features.0.bias": torch.zeros(64).int()}), "[64] torch.int32"),
        (lambda state: state.update({"classifier.6.bias": torch.zeros(5)}), "[7, 4096]"),
        (lambda state: state.update({"classifier.6.bias": torch.zeros(0)}), "'classifier.6.weight'"),
        (lambda state: state.clear(), "'features.0.weight' is missing"),
        (
            lambda state: state["features.3.weight"][0].fill_(torch.inf),
            "'features.3.weight': has values that",
        ),
    ],
    ids=[
        *("missing", "foreign", "number", "list", "shape", "dtype", "classes", "no classes", "empty"),
        "infinite",
    ],
)
def test_other_tensors_than_theirs_are_refused(
    change: Change, words: str, light: dict[str, Any], tmp_path: Path
) -> None:
    change(light)
    torch.save(light, tmp_path / "other.pth")
    assert words in refused(tmp_path / "other.pth")


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    assert "a pickle of a list; must be a state dict" in refused(tmp_path / "list.pth")


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x02text", b"PK\x03\x04"], ids=str)
def test_other_content_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other.pth").write_bytes(content)
    assert "not a whole file" in refused(tmp_path / "other.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_file_that_is_cut_short_is_refused(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"features.0.weight": torch.zeros(9)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for length in (1, 9, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        refused(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.pth").mkdir()
    assert "No such file" in refused(tmp_path / "none.pth")
    assert "irectory" in refused(tmp_path / "folder.pth")


# --- the published file -----------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def published(folder: Path, content: bytes, *, sha256: str | None = None) -> str:
    """The address of a file that stands in for torchvision's, named after its checksum as theirs is."""
    folder.mkdir(exist_ok=True)
    checksum = sha256 or hashlib.sha256(content).hexdigest()
    path = folder / f"alexnet-owt-{checksum[:8]}.pth"
    path.write_bytes(content)
    return path.as_uri()


def test_the_address_is_the_one_that_torchvision_has() -> None:
    # torchvision 0.21, models/alexnet.py, AlexNet_Weights.IMAGENET1K_V1
    assert torchvision.URL == "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"


def test_the_published_file_is_fetched_once_and_said_so_before(tmp_path: Path, cache: Path) -> None:
    told: list[str] = []

    def tell(message: str) -> None:
        assert not cache.exists()
        told.append(message)

    url = published(tmp_path / "home", b"weights")
    path = find_or_fetch(url, on_fetch=tell)
    assert path.read_bytes() == b"weights"
    # 61,100,840 parameters of 4 bytes: 233.1 MiB, as torchvision says of the file
    assert told == [f"torchvision: fetching 233 MiB, once, from {url} into {cache / 'torchvision'}"]
    assert find_or_fetch("file:///nowhere/" + path.name, on_fetch=tell) == path
    assert len(told) == 1
    assert [each.relative_to(cache).as_posix() for each in sorted(cache.rglob("*"))] == [
        "torchvision",
        f"torchvision/{path.name}",
    ]


def fetch_fails(url: str) -> str:
    with pytest.raises(WeightsError) as caught:
        find_or_fetch(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_other_bytes_than_the_published_are_not_kept(tmp_path: Path, cache: Path) -> None:
    message = fetch_fails(published(tmp_path / "home", b"tampered", sha256="7be5be79" + "0" * 56))
    found = hashlib.sha256(b"tampered").hexdigest()
    assert f"its SHA-256 is {found}; it must begin with 7be5be79; nothing was kept" in message
    assert list(cache.rglob("*")) == []


def test_a_kept_file_that_was_damaged_is_refused(tmp_path: Path, cache: Path) -> None:
    url = published(tmp_path / "home", b"weights")
    path = find_or_fetch(url)
    path.write_bytes(b"weigh")
    assert "delete it to fetch it again" in fetch_fails(url)


def test_without_a_network_it_says_so_plainly(tmp_path: Path, cache: Path) -> None:
    url = published(tmp_path / "home", b"weights")
    (tmp_path / "home" / url.rpartition("/")[2]).unlink()
    message = fetch_fails(url)
    assert message.startswith("torchvision: its weights are not on this machine and cannot be fetched")
    assert url in message
    assert str(cache / "torchvision" / url.rpartition("/")[2]) in message
    assert list(cache.rglob("*")) == []


@pytest.mark.parametrize(
    "failure", [OSError("no\nroute"), IncompleteRead(b"half"), TimeoutError("timed out")], ids=repr
)
def test_a_transfer_that_breaks_off_leaves_nothing(
    failure: Exception, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking:
        def __enter__(self) -> Breaking:
            return self

        def __exit__(self, *_: object) -> None: ...

        def read(self, _size: int) -> bytes:
            raise failure

    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: Breaking())
    assert "cannot be fetched" in fetch_fails(torchvision.URL).replace("\n", " ")
    assert list(cache.rglob("*")) == []


def test_an_interrupted_transfer_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object, **_settings: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(urllib.request, "urlopen", interrupt)
    with pytest.raises(KeyboardInterrupt):
        find_or_fetch(torchvision.URL)
    assert list(cache.rglob("*")) == []


def test_torchvision_names_the_published_weights(
    light: dict[str, Any], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(light, tmp_path / "light.pth")
    monkeypatch.setattr(
        torchvision, "URL", published(tmp_path / "home", (tmp_path / "light.pth").read_bytes())
    )
    told: list[str] = []
    weights = open_weights("torchvision", on_fetch=told.append)
    assert len(weights.class_names) == CLASSES
    assert len(told) == 1
