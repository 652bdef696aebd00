"""The networks that go by a name, against what their sources and others have published of them."""

from __future__ import annotations

import pytest

from alexnet import NETWORKS, Dense, Difference, Network, differences, edit, summarize
from alexnet.architecture.compare import differences_text, list_text

# Parameters with biases and MACs of one picture. The AlexNets: recomputed by hand from their sources' tables;
# torchvision's parameters also in its own documentation; VGG-16's 138 M in its paper, table 2, and in full
# in torchvision's documentation; ZFNet: ungrouped with conv1 of 7x7x3.
PUBLISHED = {
    "notes": (28_823_912, 614_310_432),
    "paper": (60_965_224, 724_406_816),
    "source2012": (60_965_224, 724_406_816),
    "caffenet": (60_965_224, 724_406_816),
    "ungrouped": (62_378_344, 1_135_256_096),
    "torchvision": (61_100_840, 714_188_480),
    "weird-trick": (61_838_248, 838_788_800),
    "vgg16": (138_357_544, 15_470_264_320),
    "zfnet": (62_378_344 - 34_944 + (7 * 7 * 3 + 1) * 96, None),
}
SHAPES = {
    "paper": [55, 27, 27, 13, 13, 13, 13, 6],
    "source2012": [55, 27, 27, 13, 13, 13, 13, 6],
    "caffenet": [55, 27, 27, 13, 13, 13, 13, 6],
    "ungrouped": [55, 27, 27, 13, 13, 13, 13, 6],
    "torchvision": [55, 27, 27, 13, 13, 13, 13, 6],
    "weird-trick": [55, 27, 27, 13, 13, 13, 13, 6],
    "zfnet": [110, 55, 26, 13, 13, 13, 13, 6],  # Zeiler and Fergus, figure 3
}


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items())
def test_parameters_and_macs_are_those_published(name: str, published: tuple[int, int | None]) -> None:
    summary = summarize(NETWORKS[name])
    assert summary.parameters == published[0]
    if published[1] is not None:
        assert summary.macs == published[1]


@pytest.mark.parametrize(("name", "sizes"), SHAPES.items())
def test_convolutions_and_pools_have_the_sizes_published(name: str, sizes: list[int]) -> None:
    layers = summarize(NETWORKS[name]).layers
    assert [layer.output[0] for layer in layers if layer.kernel is not None] == sizes
    assert next(layer for layer in layers if layer.kind == "flatten").output == (9_216,)


def test_neurons_of_the_paper_are_its_own_but_for_the_slip_in_conv1() -> None:
    layers = summarize(NETWORKS["paper"]).layers
    neurons = [layer.neurons for layer in layers if layer.weights]
    # Section 3.5 prints 253,440 for conv1, which is 55x48x96; the others as here.
    assert neurons == [290_400, 186_624, 64_896, 64_896, 43_264, 4_096, 4_096, 1_000]
    assert summarize(NETWORKS["paper"]).neurons == 659_272


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "vgg16"])
def test_every_alexnet_has_eight_layers_that_carry_weights(name: str) -> None:
    assert summarize(NETWORKS[name]).weighted_layers == 8


def test_vgg16_has_sixteen() -> None:
    assert summarize(NETWORKS["vgg16"]).weighted_layers == 16


def test_224_with_sizes_rounded_up_is_what_three_pixels_at_the_bottom_and_right_make_of_it() -> None:
    source = NETWORKS["source2012"]
    conv1 = summarize(source).layers[0]
    assert conv1.beyond == (3, 3)
    assert conv1.formulas["height"] == "ceil((224 - 11 + 2x0)/4) + 1 = 55"
    padded = edit(source, "conv1.rounding=down", "conv1.extra_padding=3")
    assert summarize(padded).layers[0].output == (55, 55, 96)
    assert summarize(padded).layers[0].formulas["height"] == "(224 - 11 + 2x0 + 3)/4 + 1 = 55"


def test_224_with_sizes_rounded_down_is_another_network() -> None:
    # A 224 input builds quietly, without padding: 54x54 and 6,400 values into the first dense layer.
    quiet = summarize(edit(NETWORKS["ungrouped"], "input=224"))
    assert quiet.layers[0].output == (54, 54, 96)
    assert quiet.parameters == 62_378_344 - (9_216 - 6_400) * 4_096


def test_what_differs_between_the_paper_and_the_released_code() -> None:
    all_of_them = differences(NETWORKS["paper"], NETWORKS["source2012"])
    found = {each.where: (each.first, each.second) for each in all_of_them}
    assert found["input"] == ("227x227x3", "224x224x3")
    assert found["conv1.rounding"] == ("down", "up")
    assert found["conv3.weight_deviation"] == ("0.01", "0.03")
    assert found["conv1.bias_rate"] == ("1.0", "2.0")
    assert found["norm1.mean"] == ("false", "true")
    assert found["order"] == ("relu1 norm1 pool1", "norm1 pool1 relu1")
    assert "conv1.filters" not in found
    assert "fc6.bias" not in found


def test_every_difference_is_told_once_and_none_where_there_is_none() -> None:
    notes = NETWORKS["notes"]
    assert differences(notes, notes) == []
    assert differences_text(notes, notes, names=("notes", "my.toml")) == (
        "notes and my.toml: no difference\n"
    )
    changed = edit(notes, "conv2.padding=2", "classes=10")
    assert differences(notes, changed) == [
        Difference(where="conv2.padding", first="0", second="2"),
        Difference(where="fc3.units", first="1000", second="10"),
    ]


def test_layers_that_one_lacks_and_runs_in_another_order_are_told() -> None:
    caffe, paper = NETWORKS["caffenet"], NETWORKS["paper"]
    order = [(each.first, each.second) for each in differences(paper, caffe) if each.where == "order"]
    assert order == [("norm1 pool1", "pool1 norm1"), ("norm2 pool2", "pool2 norm2")]
    found = differences(NETWORKS["ungrouped"], caffe)
    assert Difference(where="norm1", first="-", second="lrn") in found
    assert Difference(where="norm1", first="lrn", second="-") in differences(caffe, NETWORKS["ungrouped"])


def test_the_list_has_a_line_for_every_network_and_its_source() -> None:
    text = list_text(NETWORKS.values())
    for name, network in NETWORKS.items():
        assert any(
            line.split()[:2] == [name, "x".join(map(str, network.input))] for line in text.splitlines()
        )
        assert f"{name}: {network.source}" in text


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_network_says_where_it_is_from_and_ends_in_its_classes(network: Network) -> None:
    assert network.source
    assert isinstance(network.layers[-1], Dense)
