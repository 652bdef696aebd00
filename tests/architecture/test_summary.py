"""The figures against the lecture notes, against their own formulas, and against hand arithmetic."""

from __future__ import annotations

import json
import re
from math import ceil, floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet import (
    NETWORKS,
    NOTES,
    AdaptiveAvgPool,
    Conv,
    Dense,
    Flatten,
    Layer,
    LocalResponseNorm,
    MaxPool,
    MisfitError,
    Network,
    edit,
    summarize,
)
from alexnet.architecture.arithmetic import LayerSummary, _widest_adaptive_window

# One Fourth Labs, "Understanding all the layers of AlexNet", with the strides that its outputs need;
# MACs by hand: weights x positions. layer, input, F, K, S, P, output, weights, biases, MACs
NOTES_TABLE = [
    ("conv1", (227, 227, 3), 11, 96, 4, 0, (55, 55, 96), 34_848, 96, 105_415_200),
    ("pool1", (55, 55, 96), 3, None, 2, 0, (27, 27, 96), 0, 0, 0),
    ("conv2", (27, 27, 96), 5, 256, 1, 0, (23, 23, 256), 614_400, 256, 325_017_600),
    ("pool2", (23, 23, 256), 3, None, 2, 0, (11, 11, 256), 0, 0, 0),
    ("conv3", (11, 11, 256), 3, 384, 1, 0, (9, 9, 384), 884_736, 384, 71_663_616),
    ("conv4", (9, 9, 384), 3, 384, 1, 0, (7, 7, 384), 1_327_104, 384, 65_028_096),
    ("conv5", (7, 7, 384), 3, 256, 1, 0, (5, 5, 256), 884_736, 256, 22_118_400),
    ("pool3", (5, 5, 256), 3, None, 2, 0, (2, 2, 256), 0, 0, 0),
    ("fc1", (1_024,), None, None, None, None, (4_096,), 4_194_304, 4_096, 4_194_304),
    ("fc2", (4_096,), None, None, None, None, (4_096,), 16_777_216, 4_096, 16_777_216),
    ("fc3", (4_096,), None, None, None, None, (1_000,), 4_096_000, 1_000, 4_096_000),
]


def row(name: str) -> LayerSummary:
    return next(layer for layer in summarize(NOTES).layers if layer.name == name)


@pytest.mark.parametrize("expected", NOTES_TABLE, ids=lambda each: each[0])
def test_every_row_of_the_notes_is_computed(expected: tuple[object, ...]) -> None:
    got = row(str(expected[0]))
    figures = (got.kernel, got.filters, got.stride, got.padding)
    assert (got.name, got.input, *figures, got.output, got.weights, got.biases, got.macs) == expected


def test_json_holds_every_figure_of_the_notes_exactly() -> None:
    data = json.loads(summarize(NOTES).json())
    layers = {layer["name"]: layer for layer in data["layers"]}
    columns = ("input", "kernel", "filters", "stride", "padding", "output", "weights", "biases", "macs")
    for name, *figures in NOTES_TABLE:
        expected = [list(figure) if isinstance(figure, tuple) else figure for figure in figures]
        assert [layers[str(name)][column] for column in columns] == expected
    totals = data["totals"]
    assert totals["weights"] == 28_813_344
    assert totals["biases"] == 10_568
    assert totals["parameters"] == 28_823_912
    assert totals["macs"] == 614_310_432
    assert totals["weighted_layers"] == 8
    assert totals["dense_weights"] == 25_067_520
    assert round(totals["dense_share"], 3) == 0.870
    assert layers["conv1"]["fully_connected_weights"] == 44_892_064_800
    assert layers["conv1"]["formulas"]["fully_connected_weights"] == (
        "(227x227x3) x (55x55x96) = 44,892,064,800"
    )


def test_formulas_read_as_the_notes_print_them() -> None:
    conv1 = row("conv1").formulas
    assert conv1["height"] == "(227 - 11 + 2x0)/4 + 1 = 55"
    assert conv1["weights"] == "(11x11x3) x 96 = 34,848"


def test_the_last_layers_see_the_whole_picture() -> None:
    # By hand: 11; +2x4=19; +4x8=51; +2x8=67; +2x16=99; 131; 163; +2x16=195; two of them 32 apart = 227.
    names = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool3", "flatten", "fc3")
    assert [row(name).receptive_field for name in names] == [11, 19, 51, 67, 99, 131, 163, 195, 227, 227]
    assert [row(name).receptive_stride for name in names[:8]] == [4, 8, 8, 16, 16, 16, 16, 32]
    # The notes pad nothing: every first window begins at the corner. A vector has no places.
    assert [row(name).receptive_start for name in names] == [0] * 8 + [None, None]


def test_padding_moves_the_first_window_out_of_the_picture() -> None:
    # torchvision's, by hand: conv1 -2; pool1 none; conv2 2 x 8 more; conv3 to conv5 16 more each.
    rows = {each.name: each for each in summarize(NETWORKS["torchvision"]).layers}
    starts = [rows[name].receptive_start for name in ("conv1", "pool1", "conv2", "conv3", "conv4", "conv5")]
    assert starts == [-2, -2, -18, -34, -50, -66]
    assert rows["conv2"].formulas["receptive_start"] == "-2 - 2 x 8 = -18"


def test_neurons_and_bytes_of_conv1_by_hand() -> None:
    conv1 = row("conv1")
    assert conv1.neurons == 55 * 55 * 96 == 290_400
    assert conv1.activation_bytes == 1_161_600
    assert conv1.parameter_bytes == (34_848 + 96) * 4


def test_the_network_with_the_printed_strides_breaks_at_conv4() -> None:
    with pytest.raises(MisfitError, match=r"conv4.*55 -> 14 -> 10 -> 3 -> 1") as caught:
        summarize(edit(NOTES, "pool1.stride=4", "pool2.stride=3"))
    assert caught.value.layer == "conv4"
    assert [layer.name for layer in caught.value.summary.layers][-2:] == ["conv3", "relu3"]
    assert ("pool2.stride=2", "pool1.stride=2") in caught.value.routes


def test_every_route_that_is_offered_makes_the_network_fit() -> None:
    broken = edit(NOTES, "pool1.stride=4", "pool2.stride=3")
    with pytest.raises(MisfitError) as caught:
        summarize(broken)
    assert caught.value.routes
    for edits in caught.value.routes:
        summarize(edit(broken, *edits))


def test_the_smallest_input_that_is_offered_is_the_smallest() -> None:
    with pytest.raises(MisfitError) as caught:
        summarize(edit(NOTES, "input=60"))
    (edits,) = [edits for edits in caught.value.routes if edits[0].startswith("input=")]
    side = int(edits[0].removeprefix("input="))
    summarize(edit(NOTES, f"input={side}"))
    with pytest.raises(MisfitError):
        summarize(edit(NOTES, f"input={side - 1}"))


def test_layers_in_the_wrong_order_are_refused_with_what_to_do() -> None:
    flat_first = Network(
        name="x", input=(8, 8, 1), layers=(Flatten(name="f"), Conv(name="c", filters=1, kernel=1))
    )
    with pytest.raises(MisfitError, match="before the flatten layer"):
        summarize(flat_first)
    with pytest.raises(MisfitError, match="put a flatten layer before it"):
        summarize(Network(name="x", input=(8, 8, 1), layers=(Dense(name="d", units=2),)))


def test_normalisation_over_channels_takes_no_vector() -> None:
    """As torch's LocalResponseNorm does not: it wants channels and something beside them."""
    layers = (Flatten(name="flat"), LocalResponseNorm(name="norm"), Dense(name="fc", units=2))
    with pytest.raises(MisfitError, match=r"'norm': lrn takes a volume, got a vector of 12; .*put it before"):
        summarize(Network(name="odd", source="here", input=(2, 2, 3), layers=layers))


def test_the_widest_window_of_an_adaptive_pool_is_what_counting_finds() -> None:
    """Window i goes from floor(i side / count) to ceil((i + 1) side / count), as torch has it."""
    for side in range(1, 40):
        for count in range(1, 40):
            spans = (ceil((i + 1) * side / count) - i * side // count for i in range(count))
            assert _widest_adaptive_window(side, count) == max(spans), (side, count)
    assert _widest_adaptive_window(6, 10**12) == 2  # at once; one that lies over an edge


def test_sizes_that_do_not_divide_say_what_is_cut_off() -> None:
    text = summarize(edit(NOTES, "input=224")).text()
    # (224 - 11) / 4 = 53 remainder 1
    assert "conv1: floor((224 - 11 + 2x0)/4) + 1 = 54 rounds down: no window reaches 1 of its rows" in text


def test_heights_and_widths_are_computed_apart() -> None:
    wide = Network(
        name="wide",
        input=(20, 41, 3),
        layers=(Conv(name="c", filters=2, kernel=5, stride=2), MaxPool(name="p", kernel=2, stride=2)),
    )
    first, second = summarize(wide).layers
    assert first.output == (8, 19, 2)  # (20-5)/2+1 = 8.5 and (41-5)/2+1 = 19
    assert first.cut_off == (1, 0)
    assert second.output == (4, 9, 2)


WHOLE = st.integers(1, 6)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Networks that fit and that do not."""
    layers: list[Layer] = []
    rounding = st.sampled_from(("down", "up"))
    for i in range(draw(st.integers(1, 5))):
        kernel = draw(st.integers(1, 7))
        if draw(st.booleans()):
            padding = draw(st.integers(0, 4))
            numbers = {"kernel": kernel, "stride": draw(WHOLE), "padding": padding}
            numbers |= {"filters": 2 * draw(WHOLE), "groups": draw(st.sampled_from((1, 2)))}
            numbers |= {"extra_padding": draw(st.integers(0, 2))}
            layers.append(Conv(name=f"c{i}", rounding=draw(rounding), **numbers))
        elif draw(st.integers(0, 3)):
            numbers = {"kernel": kernel, "stride": draw(WHOLE), "padding": draw(st.integers(0, kernel // 2))}
            layers.append(MaxPool(name=f"p{i}", rounding=draw(rounding), **numbers))
        else:
            layers.append(AdaptiveAvgPool(name=f"a{i}", size=draw(WHOLE)))
    layers += [Flatten(name="flat"), Dense(name="fc", units=draw(WHOLE))]
    sides = (draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(1, 4)))
    return Network(name="random", input=sides, layers=tuple(layers))


def evaluate_formula(formula: str) -> tuple[float, float]:
    """Both sides of "(227 - 11 + 2x0)/4 + 1 = 55", by Python's own arithmetic."""
    left, _, right = formula.rpartition(" = ")
    expression = re.sub(r"(?<=[\d)]) ?x ?(?=[\d(])", "*", left.replace(",", ""))
    return eval(expression, {"floor": floor, "ceil": ceil}), int(right.replace(",", ""))


@settings(deadline=None)
@given(networks())
def test_every_formula_comes_to_what_it_says_and_to_the_figure(network: Network) -> None:
    try:
        summary = summarize(network)
    except MisfitError as error:
        summary = error.summary
    for layer in summary.layers:
        for name, formula in layer.formulas.items():
            if re.match(r"(?!floor|ceil)[a-z]", formula):
                continue  # words: "one for each filter = 96"
            left, right = evaluate_formula(formula)
            assert left == right, (name, formula)
            if name not in ("height", "width", "output", "depth"):
                assert right == getattr(layer, name)
        if layer.kernel is not None:
            sides = [evaluate_formula(layer.formulas[side])[1] for side in ("height", "width")]
            assert sides == list(layer.output[:2])


def count_windows(layer: Conv | MaxPool, size: int) -> tuple[int, int, int]:
    """By plain loops: windows along a side, pixels that none reaches, pixels that the last lacks."""
    extra = layer.extra_padding if isinstance(layer, Conv) else 0
    padded = size + 2 * layer.padding + extra
    starts = [
        start for start in range(0, padded + layer.kernel, layer.stride) if start + layer.kernel <= padded
    ]
    after = starts[-1] + layer.stride if starts else 0
    covered = starts[-1] + layer.kernel if starts else 0
    # One more, if it finds pixels that no window has reached and begins before the right-hand padding.
    if layer.rounding == "up" and covered < padded and after < layer.padding + size:
        starts.append(after)
        covered = after + layer.kernel
    return len(starts), max(0, padded - covered), max(0, covered - padded)


@settings(deadline=None)
@given(networks())
def test_windows_are_as_many_as_plain_loops_count(network: Network) -> None:
    try:
        summary = summarize(network)
    except MisfitError as error:
        summary = error.summary
    for layer, row in zip(network.layers, summary.layers, strict=False):
        if not isinstance(layer, Conv | MaxPool):
            continue
        counted = [count_windows(layer, size) for size in row.input[:2]]
        assert list(row.output[:2]) == [count for count, _, _ in counted]
        assert row.cut_off == tuple(cut for _, cut, _ in counted)
        assert row.beyond == tuple(beyond for _, _, beyond in counted)


@settings(deadline=None)
@given(networks())
def test_repairs_are_tried_before_they_are_told(network: Network) -> None:
    try:
        summarize(network)
    except MisfitError as error:
        for edits in error.routes:
            summarize(edit(network, *edits))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_totals_are_the_sums_of_the_rows(network: Network) -> None:
    lines = summarize(network).csv().splitlines()
    head, *rows = [line.split(",") for line in lines]
    summary = summarize(network)
    for figure in ("weights", "biases", "macs", "neurons", "parameter_bytes", "activation_bytes"):
        column = head.index(figure)
        assert sum(int(cells[column]) for cells in rows) == getattr(summary, figure)


def test_an_adaptive_pool_sees_as_far_as_its_widest_window_along_either_side() -> None:
    """Of 12 rows six windows take 2 each, of 11 columns 3: 195 + 2 x 32; the rows alone would make 227."""
    summary = summarize(edit(NETWORKS["torchvision"], "input=416x384"))
    before, pool = (next(row for row in summary.layers if row.name == name) for name in ("pool5", "avgpool"))
    assert before.output[:2] == (12, 11)
    assert (before.receptive_field, pool.receptive_field) == (195, 259)
