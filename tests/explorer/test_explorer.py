"""What the explorer tells the page: arrays as the network has them, served and as files."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from starlette.testclient import TestClient
from torch import Tensor

from alexnet import (
    NETWORKS,
    DataError,
    Network,
    NetworkError,
    OutputError,
    PictureError,
    ServerError,
    edit,
    to_toml,
)
from alexnet.explorer import gallery as gallery_module
from alexnet.explorer import study as study_module
from alexnet.explorer.explore import MOST_PICTURES, open_gallery
from alexnet.explorer.gallery import Gallery
from alexnet.explorer.page import served_page, standing_page, web_files
from alexnet.explorer.routes import add_explorer
from alexnet.explorer.site import _outcomes, write_site
from alexnet.explorer.study import Study
from alexnet.images.decode import decode
from alexnet.images.views import View, center
from alexnet.learning.model import AlexNet
from alexnet.learning.weights import Weights, load_weights, torch_classifier, untrained_weights
from alexnet.server.app import create_app
from alexnet.server.limits import Limits

WEB = Path(gallery_module.__file__).with_name("web")
PICTURE = "/explore/models/0/pictures/picture-1"


@pytest.fixture
def client(gallery: Gallery) -> Iterator[TestClient]:
    weights = gallery.studies[0].weights
    classifier = torch_classifier(weights, device=torch.device("cpu"), precision=torch.float32)
    app = create_app(classifier)
    add_explorer(app, gallery, limits=Limits(max_bytes=100_000, max_pixels=10_000))
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


def outputs(weights: Weights, path: Path) -> dict[str, Tensor]:
    """Every layer's output for a picture, by torch's own hooks."""
    kept: dict[str, Tensor] = {}
    for name, module in weights.model.named_children():
        module.register_forward_hook(lambda *given, name=name: kept.__setitem__(name, given[2][0].clone()))
    with torch.no_grad():
        weights.model.eval()(torch.from_numpy(center(decode(path), weights.view).copy())[None])
    return kept


def floats(response: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    assert response.status_code == 200
    shape = tuple(map(int, response.headers["x-shape"].split(",")))
    return np.frombuffer(response.content, "<f4").reshape(shape)


def test_maps_are_what_torch_computes(client: TestClient, every_kind: Path, photographs: list[Path]) -> None:
    expected = outputs(load_weights(every_kind), photographs[0])
    look = client.get(PICTURE).json()
    assert list(look["layers"]) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(floats(client.get(f"{PICTURE}/maps/{name}")), values, rtol=1e-5, atol=1e-5)
        told = look["layers"][name]
        assert told["shape"] == list(values.shape)
        assert told["largest"] == pytest.approx(float(values.max()), rel=1e-5)
        assert told["smallest"] == pytest.approx(float(values.min()), rel=1e-5)
        assert float(values[told["strongest"][0]].max()) == pytest.approx(float(values.max()), rel=1e-5)


def test_answers_are_the_softmax_of_the_logits(
    client: TestClient, every_kind: Path, photographs: list[Path]
) -> None:
    logits = outputs(load_weights(every_kind), photographs[0])["fc2"]
    shares = torch.softmax(logits, 0)
    answers = client.get(PICTURE).json()["answers"]
    assert [each["label"] for each in answers] == torch.argsort(-logits).tolist()
    for each in answers:
        assert each["name"] == ("cat", "dog", "owl")[each["label"]]
        assert each["probability"] == pytest.approx(float(shares[each["label"]]), abs=1e-6)


def test_kernels_are_those_of_the_file(client: TestClient, every_kind: Path) -> None:
    tensors = load_file(every_kind)
    for layer in ("conv1", "conv2", "fc1", "fc2"):
        weights = tensors[f"{layer}.weight"]
        np.testing.assert_array_equal(floats(client.get(f"/explore/models/0/kernels/{layer}")), weights)
        one = client.get(f"/explore/models/0/kernels/{layer}/2")
        np.testing.assert_array_equal(floats(one), weights[2])
        assert float(one.headers["x-bias"]) == tensors[f"{layer}.bias"][2]


def test_the_picture_is_what_the_network_sees(
    client: TestClient, every_kind: Path, photographs: list[Path]
) -> None:
    coded = client.get(PICTURE).json()["picture"].removeprefix("data:image/png;base64,")
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(coded))))
    np.testing.assert_array_equal(shown, center(decode(photographs[0]), load_weights(every_kind).view))


@pytest.mark.parametrize(
    "path",
    [
        "models/1/pictures/picture-1",
        "models/-1/pictures/picture-1",
        "models/0/pictures/picture-9",
        "models/0/pictures/picture-1/maps/conv9",
        "models/0/pictures/picture-1/cam/relu1/3",
        "models/0/pictures/picture-1/cam/fc1/0",
        "models/0/kernels/relu1",
        "models/0/kernels/conv1/8",
        "models/0/kernels/conv1/-1",
        "models/0/kernels/forward/0",
        "web/none.js",
        "web/..%2Fpage.py",
    ],
)
def test_what_there_is_not_is_404_in_one_line(client: TestClient, path: str) -> None:
    answer = client.get(f"/explore/{path}")
    assert answer.status_code == 404
    assert list(answer.json()) in (["error"], ["detail"])


def test_a_change_that_breaks_the_network_is_told_with_what_mends_it(client: TestClient) -> None:
    place = "/explore/models/0/what-if"
    # 28 -> 14 -> 7, and with padding 7 + 2 x 1 + 1 = 10 pixels.
    assert client.get(place, params={"set": "conv2.kernel=10"}).json()["breaks"] is None
    told = client.get(place, params={"set": "conv2.kernel=11"}).json()
    assert told["breaks"]["layer"] == "conv2"
    assert "11x11 window does not fit in 7x7" in told["breaks"]["reason"]
    for route in told["breaks"]["routes"]:
        assert client.get(place, params={"set": ["conv2.kernel=11", *route]}).json()["breaks"] is None
    wrong = client.get(place, params={"set": "conv7.stride=1"})
    assert (wrong.status_code, "conv7" in wrong.json()["error"]) == (422, True)


def test_a_visitors_picture_is_answered_and_the_oldest_are_let_go(
    client: TestClient, photographs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery_module, "MOST_OWN", 2)
    headers = {"Content-Type": "image/png"}
    keys = [
        client.post("/explore/pictures", content=photographs[1].read_bytes(), headers=headers).json()["key"]
        for _ in range(3)
    ]
    first, *others = (client.get(f"/explore/models/0/pictures/{key}") for key in keys)
    assert first.status_code == 404
    given = client.get("/explore/models/0/pictures/picture-2").json()
    for each in others:
        assert each.json() == given


def test_what_is_no_picture_is_refused_in_one_line(client: TestClient) -> None:
    headers = {"Content-Type": "image/png"}
    wide = io.BytesIO()
    Image.new("RGB", (200, 100)).save(wide, "PNG")
    for content, status in ((b"", 422), (b"no picture", 422), (bytes(100_001), 413), (wide.getvalue(), 413)):
        answer = client.post("/explore/pictures", content=content, headers=headers)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_the_served_page_may_load_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/explore/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name in re.findall(r'"\./web/([\w.]+)"', page.text):
        assert client.get(f"/explore/web/{name}").headers["content-type"].startswith("text/javascript")


def test_every_module_is_in_the_pages_and_names_no_other_host() -> None:
    modules = [path.name for path in WEB.glob("*.js")]
    served, standing = served_page()[0], standing_page()
    for name in modules:
        assert f'"explorer/{name}"' in served
        assert f'"explorer/{name}"' in standing
    for name, (content, _) in web_files().items():
        text = content.decode()
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}, name
        assert text.count("\n") < 300, f"{name}: cut it"
        for imported in re.findall(r'from "(.*)"', text):
            assert imported.removeprefix("explorer/") in modules


def test_a_site_holds_what_a_server_would_answer(
    gallery: Gallery, client: TestClient, tmp_path: Path
) -> None:
    files = write_site(gallery, tmp_path / "site")
    assert {path.name for path in (tmp_path / "site").iterdir()} == {path.name for path in files}

    def held(name: str) -> Any:
        text = (tmp_path / "site" / f"data-{name.replace('/', '-')}.js").read_text(encoding="utf-8")
        found, value = json.loads(f"[{text.removeprefix('explorerData(').removesuffix(');' + chr(10))}]")
        assert found == name
        return value

    def array(coded: Any) -> Any:
        values = np.frombuffer(base64.b64decode(coded["values"]), "<f4")
        return values.reshape(coded["shape"])

    assert held("about")["models"] == client.get("/explore/about").json()["models"]
    assert held("about")["static"] is True
    assert held("models/0/pictures/picture-2") == client.get("/explore/models/0/pictures/picture-2").json()
    for layer in held("models/0/pictures/picture-1")["layers"]:
        np.testing.assert_array_equal(
            array(held(f"models/0/pictures/picture-1/maps/{layer}")),
            floats(client.get(f"{PICTURE}/maps/{layer}")),
        )
    kernels = held("models/0/kernels/fc1")
    assert kernels["units"] == list(range(10))
    np.testing.assert_array_equal(array(kernels), floats(client.get("/explore/models/0/kernels/fc1")))
    outcome = held("models/0/what-if")["conv1.stride=4"]
    assert outcome == client.get("/explore/models/0/what-if", params={"set": "conv1.stride=4"}).json()


def test_a_site_has_what_each_of_its_buttons_asks_for(gallery: Gallery, notes_weights: Path) -> None:
    """Those that mend a change that breaks the network: of settings of one field the last counts."""
    asked = 0
    for study in (*gallery.studies, *open_gallery([notes_weights]).studies):
        outcomes = _outcomes(study)
        for change in study.about()["changes"]:
            for route in (outcomes[change]["breaks"] or {"routes": []})["routes"]:
                fields = {setting.partition("=")[0]: setting for setting in (change, *route)}
                assert outcomes["&".join(fields.values())]["breaks"] is None
                for setting in fields.values() if len(fields) > 1 else ():  # taken back
                    assert "&".join(each for each in fields.values() if each != setting) in outcomes
                asked += 1
    assert asked > 20
    # What the tour says to try, one after the other.
    for both in (("pool1.stride=4", "pool2.stride=3"), ("pool2.stride=3", "pool1.stride=4")):
        broken = outcomes["&".join(both)]["breaks"]
        assert broken["layer"] == "conv4"
        assert len(broken["routes"]) > 1
        for route in broken["routes"]:
            fields = {setting.partition("=")[0]: setting for setting in (*both, *route)}
            assert outcomes["&".join(fields.values())]["breaks"] is None


def test_all_kernels_of_a_layer_take_the_memory_of_one_copy(notes_weights: Path) -> None:
    (study,) = open_gallery([notes_weights]).studies
    kernels = [study.kernel("conv5", unit) for unit in range(256)]
    held = {id(base): base.nbytes for each in kernels if (base := _owner(each.weights)) is not None}
    assert sum(held.values()) == 884_736 * 4  # as many weights as the notes give conv5
    every = study.kernels("conv5")
    assert all(np.array_equal(each.weights, every[unit]) for unit, each in enumerate(kernels))


def _owner(values: Any) -> Any:
    """The array or tensor that holds an array's memory."""
    while getattr(values, "base", None) is not None:
        values = values.base
    return values


def test_pictures_of_one_name_are_told_apart(
    every_kind: Path, photographs: list[Path], tmp_path: Path
) -> None:
    paths = [tmp_path / "cat" / "1.png", tmp_path / "dog" / "1.png", tmp_path / "dog" / "2.png"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(photographs[0].read_bytes())
    told = open_gallery([every_kind], paths).about(static=False)["pictures"]
    assert [each["name"] for each in told] == ["cat/1.png", "dog/1.png", "2.png"]


def test_a_folder_without_pictures_is_refused(every_kind: Path, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no pictures in this folder"):
        open_gallery([every_kind], [tmp_path])


def test_what_is_kept_of_pictures_is_bounded_by_its_size(
    every_kind: Path, photographs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_module, "_MOST_BYTES", 1)
    study = open_gallery([every_kind], photographs).studies[0]
    looked = [study.look(f"picture-{number}") for number in (1, 2, 1)]
    assert len(study._recorded) == 1
    assert looked[0] == looked[2]


def test_a_name_that_is_no_unicode_can_be_told(
    every_kind: Path, photographs: list[Path], tmp_path: Path
) -> None:
    named = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    named.write_bytes(photographs[0].read_bytes())
    (told,) = open_gallery([every_kind], [named]).about(static=False)["pictures"]
    assert (
        json.dumps(told, ensure_ascii=False).encode() == b'{"key": "picture-1", "name": "caf\\\\udce9.png"}'
    )


def test_weights_in_a_file_whose_name_is_no_unicode_can_be_told(every_kind: Path, tmp_path: Path) -> None:
    named = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.safetensors"))
    named.write_bytes(every_kind.read_bytes())
    (told,) = open_gallery([named]).about(static=False)["models"]
    assert told["name"] == r"caf\udce9"


def test_the_page_is_found_without_its_last_slash(client: TestClient) -> None:
    found = client.get("/explore", follow_redirects=False)
    assert (found.status_code, found.headers["location"]) == (307, "/explore/")


def test_nothing_of_a_picture_that_has_gone_is_kept(
    gallery: Gallery, photographs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery_module, "MOST_OWN", 1)
    content = photographs[0].read_bytes()
    first = gallery.add(content)
    gallery.studies[0].look(first)
    second = gallery.add(content)
    assert len({first, second}) == 2
    assert min(len(first), len(second)) >= 16  # by no counting up
    with pytest.raises(KeyError):
        gallery.studies[0].look(first)
    gallery.studies[0].look(second)


def test_a_site_that_cannot_be_written_leaves_nothing(gallery: Gallery, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here before")
    begun: list[str] = []
    with pytest.raises(OutputError, match="file: a file; must be a folder"):
        write_site(gallery, tmp_path / "file" / "site", on_progress=begun.append)
    assert begun == []  # it is told before the work
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_pictures_that_cannot_be_read_and_too_many_are_refused(
    every_kind: Path, photographs: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(PictureError, match=r"none\.png: no such file"):
        open_gallery([every_kind], [tmp_path / "none.png"])
    with pytest.raises(DataError, match="must be at most"):
        open_gallery([every_kind], photographs * (MOST_PICTURES // 2 + 1))


def test_a_network_is_shown_untrained_by_its_name_or_its_file(
    tmp_path: Path, photographs: list[Path], every_kind: Path
) -> None:
    network = load_weights(every_kind).model.network
    file = tmp_path / "mine.toml"
    file.write_text(to_toml(network))
    gallery = open_gallery(["zfnet", file], photographs[:1])
    named, own = gallery.studies
    assert (named.name, own.name) == ("zfnet", "mine")
    assert named.weights.model.network == NETWORKS["zfnet"]
    assert own.weights.model.network == network
    assert {each["name"] for each in own.look("picture-1")["answers"]} == {"class 0", "class 1", "class 2"}
    again = open_gallery([file]).studies[0].weights.model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in own.weights.model.state_dict().items())
    file.write_text("kernel")
    with pytest.raises(NetworkError, match=r"mine\.toml"):
        open_gallery([file])


def test_a_network_of_grey_pictures_is_refused(small: Network) -> None:
    model = AlexNet(edit(small, "input=24x24x1"))
    weights = Weights(model=model, class_names=("a", "b", "c"), view=View.of(24, 24), metrics={})
    with pytest.raises(ServerError, match="an input of depth 1"):
        Study(weights, name="grey")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_the_zoo_can_be_explored(name: str) -> None:
    network = edit(NETWORKS[name], "classes=10")
    height, width, _ = network.input
    study = Study(untrained_weights(network), name=name)
    about = study.about()
    assert len(about["outcome"]["summary"]["layers"]) == len(network.layers)
    study.add("one", np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    assert len(study.look("one")["answers"]) == 5
    assert study.cam("one", about["cam"], 3).min() >= 0
