"""What becomes of a changed network; what each layer does in a sentence; the walk through it in ten steps."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet import NETWORKS, NOTES, MisfitError, Network, edit, from_toml, summarize, to_toml
from alexnet.architecture.layers import KINDS
from alexnet.architecture.sentences import sentence
from alexnet.architecture.tour import tour
from alexnet.architecture.what_if import usual_changes, what_if


def test_the_strides_that_the_notes_print_break_the_network_at_conv4_and_what_is_told_mends_it() -> None:
    printed = ("pool1.stride=4", "pool2.stride=3")
    outcome = what_if(NOTES, *printed)
    assert outcome.breaks == "conv4"
    # 227 -> 55 -> (55 - 3)/4 + 1 = 14 -> 10 -> (10 - 3)/3 + 1 = 3 -> 1
    assert outcome.reason == "Layer 'conv4': a 3x3 window does not fit in 1x1"
    assert [row.name for row in outcome.summary.layers] == [
        layer.name for layer in NOTES.layers[: NOTES.layers.index(NOTES.layer("conv4"))]
    ]
    assert outcome.routes
    for route in outcome.routes:
        assert what_if(NOTES, *printed, *route).breaks is None


def test_json_says_the_same_and_every_layer_has_its_sentence() -> None:
    told = what_if(NOTES, "classes=10").to_dict()
    assert told["breaks"] is None
    assert told["settings"] == ["classes=10"]
    assert told["summary"]["layers"][-1]["output"] == [10]
    assert len(told["summary"]["layers"]) == len(NOTES.layers)
    assert "40,960 weights" in told["summary"]["layers"][-1]["sentence"]  # 4096 x 10
    broken = what_if(NOTES, "input=60").to_dict()
    assert broken["breaks"]["layer"]
    assert broken["breaks"]["routes"][0] == ["input=195"]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_each_usual_change_changes_the_network_and_is_told_once(network: Network) -> None:
    changes = usual_changes(network)
    assert len(changes) == len(set(changes)) > 20
    for change in changes:
        assert edit(network, change) != network


def test_the_usual_changes_hold_some_that_break_the_network_and_some_that_do_not() -> None:
    broken = {change for change in usual_changes(NOTES) if what_if(NOTES, change).breaks}
    assert {"pool1.stride=4", "input=64"} <= broken
    assert "conv1.filters=48" not in broken
    for change in broken:
        with pytest.raises(MisfitError):
            summarize(edit(NOTES, change))


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_every_layer_of_random_networks_has_a_sentence(
    data: st.DataObject, random_networks: st.SearchStrategy[Network]
) -> None:
    network = data.draw(random_networks)
    try:
        rows = summarize(network).layers
    except MisfitError as error:
        rows = error.summary.layers
    for layer, row in zip(network.layers, rows, strict=False):
        told = sentence(layer, row)
        assert told.endswith(".")
        assert "None" not in told


def test_the_sentences_have_the_notes_figures() -> None:
    told = {
        layer.name: sentence(layer, row)
        for layer, row in zip(NOTES.layers, summarize(NOTES).layers, strict=True)
    }
    assert "96 kernels of 11x11x3" in told["conv1"]
    assert "55x55" in told["conv1"]
    assert "256 kernels of 5x5x96" in told["conv2"]
    assert "2x2x256" in told["flatten"]
    assert "4,194,304 weights" in told["fc1"]


def test_a_sentence_for_every_layer_kind() -> None:
    kinds = {layer.kind for network in NETWORKS.values() for layer in network.layers}
    assert kinds == set(KINDS)  # else the zoo's tests would leave one out
    for network in NETWORKS.values():
        for layer, row in zip(network.layers, summarize(network).layers, strict=True):
            assert sentence(layer, row)


def test_the_tour_of_the_notes_has_their_figures_and_ends_with_their_three_mistakes() -> None:
    steps = tour(summarize(NOTES))
    assert len(steps) == 10
    text = " ".join(step.text for step in steps)
    for figure in (
        "34,848",
        "44,892,064,800",
        "55x55x96",
        "27",
        "614,400",
        "1,024",
        "4,194,304",
        "28,813,344",
    ):
        assert figure in text
    last = steps[-1].text
    assert "3 figures" in last
    for wrong in ("pool1: stride is printed as 4", "pool2: stride is printed as 3", "27.55 million"):
        assert wrong in last


def test_the_tour_of_weights_for_ten_classes_is_still_that_of_the_notes() -> None:
    assert "27.55 million" in tour(summarize(NOTES.with_classes(10)))[-1].text


def test_the_tour_tells_of_the_notes_strides_where_they_break_the_network() -> None:
    larger = edit(NOTES, "input=500")
    assert what_if(larger, "pool1.stride=4", "pool2.stride=3").breaks is None
    assert "would break" not in tour(summarize(larger))[-1].text
    assert "would break" in tour(summarize(NOTES))[-1].text


def test_the_tour_counts_in_words_that_fit() -> None:
    said = [step.text for step in tour(summarize(NETWORKS["vgg16"]))]
    assert "moves 1 pixel at a time with 1 zero on each side" in said[2]
    one = edit(from_toml(to_toml(NOTES)), "conv1.padding=2")
    assert "moves 4 pixels at a time with 2 zeros on each side" in tour(summarize(one))[2].text


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_every_step_of_a_tour_looks_at_a_layer_that_is_there(network: Network) -> None:
    steps = tour(summarize(network))
    assert len(steps) == 10
    for step in steps:
        assert step.layer is None or network.layer(step.layer)
        assert not re.search(r"None|\{|\}", step.text)


def test_the_tour_of_a_network_that_lacks_kinds_leaves_their_steps_out() -> None:
    network = from_toml(
        'name = "dense"\ninput = [4, 4, 3]\n[[layers]]\nkind = "flatten"\nname = "flat"\n'
        '[[layers]]\nkind = "dense"\nname = "fc"\nunits = 2\n'
    )
    assert from_toml(to_toml(network)) == network
    assert [step.title for step in tour(summarize(network))] == [
        "The picture",
        "From maps to a vector",
        "Where the weights are",
        "All together",
    ]
    said = [step.text for step in tour(summarize(network))]
    assert "1 layer that carries weights turns them into 2" in said[0]
    assert said[2].endswith("Together all of the 96 weights, and all multiply-adds.")
