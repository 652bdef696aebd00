"""Descriptions: what is one, how it is edited, and that TOML gives back what it was given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet import (
    NETWORKS,
    NOTES,
    Conv,
    Dense,
    Dropout,
    LocalResponseNorm,
    MaxPool,
    Network,
    NetworkError,
    ReLU,
    edit,
    from_toml,
    get_network,
    read_network,
    to_toml,
)
from alexnet.architecture.network import from_mapping, to_mapping


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_network_written_out_and_read_back_is_equal(network: Network, tmp_path: Path) -> None:
    assert from_toml(to_toml(network)) == network
    assert from_mapping(json.loads(json.dumps(to_mapping(network)))) == network
    path = tmp_path / "net.toml"
    path.write_text(to_toml(network), encoding="utf-8")
    assert read_network(path) == get_network(path) == network


@given(st.text(min_size=1).filter(str.strip), st.text())
def test_any_name_and_source_survive_toml(name: str, source: str) -> None:
    # TOML texts are Unicode scalar values: surrogates cannot be written in UTF-8 at all.
    name, source = (text.encode("utf-8", "ignore").decode() for text in (name, source))
    if not name.strip():
        return
    network = Network(name=name, source=source, input=(8, 8, 3), layers=(ReLU(name="r"),))
    assert from_toml(to_toml(network)) == network


def test_settings_change_the_field_that_they_name_and_nothing_else() -> None:
    assert edit(NOTES, "fc3.units=20", "classes=10").classes == 10  # the last one holds
    assert edit(NOTES, "classes=10", "fc3.units=20").classes == 20
    changed = edit(NOTES, "pool1.stride=4", "conv2.padding = 2", "input=224", "classes=10")
    assert changed.layer("pool1") == MaxPool(name="pool1", kernel=3, stride=4)
    assert changed.layer("conv2") == Conv(name="conv2", filters=256, kernel=5, padding=2)
    assert changed.input == (224, 224, 3)
    assert changed.layers[-1] == Dense(name="fc3", units=10)
    same = [layer for layer in changed.layers if layer in NOTES.layers]
    assert len(same) == len(NOTES.layers) - 3


def test_words_and_numbers_with_a_point_are_set_where_a_field_takes_them() -> None:
    paper = NETWORKS["paper"]
    changed = edit(paper, "conv1.rounding=up", "norm1.mean=True", "drop6.rate=0.25", "conv1.bias=-1")
    conv1 = changed.layer("conv1")
    assert isinstance(conv1, Conv)
    assert (conv1.rounding, conv1.bias, conv1.filters) == ("up", -1, 96)
    assert changed.layer("norm1") == LocalResponseNorm(name="norm1", mean=True)
    assert changed.layer("drop6") == Dropout(name="drop6", rate=0.25)
    assert from_toml(to_toml(changed)) == changed


def test_settings_of_a_layer_need_only_fit_each_other() -> None:
    # 256 filters do not divide into 3 groups, nor 255 into the paper's 2.
    for settings in (("conv2.groups=3", "conv2.filters=255"), ("conv2.filters=255", "conv2.groups=3")):
        conv2 = edit(NETWORKS["paper"], *settings).layer("conv2")
        assert isinstance(conv2, Conv)
        assert (conv2.groups, conv2.filters) == (3, 255)


def test_an_input_is_set_by_side_by_sides_or_whole() -> None:
    assert edit(NOTES, "input=64x32").input == (64, 32, 3)
    assert edit(NOTES, "input=28x28x1").input == (28, 28, 1)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("pol1.stride=4", "no layer 'pol1'; did you mean 'pool1'?"),
        ("pool1.strides=4", "Layer 'pool1': no field 'strides'; did you mean 'stride'?"),
        ("relu1.stride=4", "Layer 'relu1': no field 'stride'; a relu layer has none"),
        ("pool1.stride=0", "Layer 'pool1': stride=0; must be a whole number of at least 1"),
        ("pool1.stride=two", "'two'; must be a whole number"),
        ("conv1.filters=1000000001", "filters=1000000001; must be at most 1,000,000,000"),
        (f"conv1.filters={'9' * 4000}", "filters=a number of 13288 bits; must be at most"),
        ("input=227x1000000001x3", "input=1000000001; must be at most 1,000,000,000"),
        ("conv1.padding=-1", "padding=-1; must be a whole number of at least 0"),
        ("pool1.padding=2", "at most half of its kernel"),
        ("pool1.stride", "must read layer.field=value"),
        ("stride=3", "must read layer.field=value"),
        ("input=1x2x3x4", "must be SIDE"),
        ("input=3x224x200", "3 pixels high; must be HEIGHTxWIDTHxDEPTH; try input=224x200x3"),
        ("input=0", "must be height, width and depth"),
        ("classes=0", "units=0"),
        ("conv1.name=other", "no field 'name'"),
        ("conv1.rounding=sideways", "rounding='sideways'; must be down or up"),
        ("conv1.bias=none", "bias='none'; must be a number"),
        (
            "conv1.groups=5",
            "filters=96 in groups=5; must divide evenly; set conv1.groups to a divisor of 96, or",
        ),
    ],
)
def test_a_setting_that_cannot_be_says_why(setting: str, message: str) -> None:
    with pytest.raises(NetworkError) as caught:
        edit(NOTES, setting)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "net.toml: not TOML"),
        ('name = "x"\ninput = [8, 8, 3]\nlayers = []', "no layers"),
        (
            'name = "x"\ninput = [8, 8]\n[[layers]]\nkind = "relu"\nname = "r"',
            "must be height, width and depth",
        ),
        ('name = "x"\ninput = 8\n[[layers]]\nkind = "relu"\nname = "r"', "input=8; must be a list"),
        ('name = "x"\ninput = [8, 8, 3]\n[[layers]]\nkind = "cnv"\nname = "c"', "did you mean 'conv'?"),
        ('name = "x"\ninput = [8, 8, 3]\n[[layers]]\nname = "c"', "layer 1: 'kind' is missing"),
        ('name = "x"\ninput = [8, 8, 3]\n[[layers]]\nkind = "conv"\nname = "c"', "'filters' is missing"),
        (
            'name = "x"\ninput = [8, 8, 3]\n[[layers]]\nkind = "relu"\nname = "r"\nstide = 2',
            "layer 1: unknown 'stide'",
        ),
        ('nme = "x"\ninput = [8, 8, 3]\nlayers = []', "unknown 'nme'; did you mean 'name'?"),
        ('name = "x"\ninput = [8, 8, 3]\n[[layers]]\nkind = "relu"\nname = "a b"', "letters, digits"),
        (
            'name = "x"\ninput = [8, 8, 3]\n[[layers]]\nkind = "conv"\nname = "c"\nfilters = 1.5\nkernel = 1',
            "filters=1.5; must be a whole number",
        ),
        (
            'name = "x"\ninput = [8, 8, 3]\n[[layers]]\nkind = "dense"\nname = "d"\nunits = true',
            "units=True; must be a whole number",
        ),
        ("name = 'x'\ninput = " + "[" * 5000 + "]" * 5000 + "\n", "net.toml"),
    ],
)
def test_a_toml_that_is_no_network_says_where_and_why(text: str, message: str) -> None:
    with pytest.raises(NetworkError) as caught:
        from_toml(text, where="net.toml")
    assert str(caught.value).startswith("net.toml")
    assert message in str(caught.value)


def test_two_layers_of_one_name_are_refused() -> None:
    with pytest.raises(NetworkError, match="'r': the name is taken"):
        Network(name="x", input=(8, 8, 3), layers=(ReLU(name="r"), ReLU(name="r")))


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(NetworkError, match="network 'note': unknown; did you mean 'notes'"):
        get_network("note")


def test_files_that_hold_no_network_say_so(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"absent\.toml: cannot be read"):
        get_network(tmp_path / "absent.toml")
    for name, data in (
        ("binary.toml", b"\xff\xfe\x00"),
        ("a.safetensors", b""),
        ("b.safetensors", b"\xff" * 64),
        ("c.safetensors", b"\x02\0\0\0\0\0\0\0{}"),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(NetworkError, match=name):
            get_network(path)


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    path.write_text(to_toml(NOTES), encoding="utf-8-sig")
    assert read_network(path) == NOTES
