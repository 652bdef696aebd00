"""Tables as they are published, each true but for what its test says: no false alarm, nothing missed.

Every figure was computed by hand: sizes as floor((n - f + 2p) / s) + 1, weights as f x f x depth x filters.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from alexnet.architecture.audit import audit
from alexnet.architecture.claim_files import read_claims
from alexnet.architecture.claims import from_mapping
from alexnet.architecture.findings import Finding
from alexnet.errors import ClaimsError

# Keras' own summary of a network on 224 pixels: (224 - 11) / 4 + 1 = 54, 26, 26, 12, ..., 5x5x256 = 6400.
KERAS = """
| Layer (type) | Output Shape | Param # |
|---|---|---|
| input_1 (InputLayer) | (None, 224, 224, 3) | 0 |
| conv2d (Conv2D) | (None, 54, 54, 96) | 34,944 |
| max_pooling2d (MaxPooling2D) | (None, 26, 26, 96) | 0 |
| conv2d_1 (Conv2D) | (None, 26, 26, 256) | 614,656 |
| max_pooling2d_1 (MaxPooling2D) | (None, 12, 12, 256) | 0 |
| conv2d_2 (Conv2D) | (None, 12, 12, 384) | 885,120 |
| conv2d_3 (Conv2D) | (None, 12, 12, 384) | 1,327,488 |
| conv2d_4 (Conv2D) | (None, 12, 12, 256) | 884,992 |
| max_pooling2d_2 (MaxPooling2D) | (None, 5, 5, 256) | 0 |
| flatten (Flatten) | (None, 6400) | 0 |
| dense (Dense) | (None, 4096) | 26,218,496 |
| dense_1 (Dense) | (None, 4096) | 16,781,312 |
| dense_2 (Dense) | (None, 1000) | 4,097,000 |
| Total | | 50,844,008 |
"""

# Batch normalisation has four figures a channel, two of which are not trained: 384 + 1,024 + ... = 5,504.
NORMALISED = """
| Layer (type) | Output Shape | Param # |
|---|---|---|
| conv2d (Conv2D) | (None, 55, 55, 96) | 34,944 |
| batch_normalization (BatchNormalization) | (None, 55, 55, 96) | 384 |
| max_pooling2d (MaxPooling2D) | (None, 27, 27, 96) | 0 |
| conv2d_1 (Conv2D) | (None, 27, 27, 256) | 614,656 |
| batch_normalization_1 (BatchNormalization) | (None, 27, 27, 256) | 1,024 |
| max_pooling2d_1 (MaxPooling2D) | (None, 13, 13, 256) | 0 |
| conv2d_2 (Conv2D) | (None, 13, 13, 384) | 885,120 |
| conv2d_3 (Conv2D) | (None, 13, 13, 384) | 1,327,488 |
| conv2d_4 (Conv2D) | (None, 13, 13, 256) | 884,992 |
| max_pooling2d_2 (MaxPooling2D) | (None, 6, 6, 256) | 0 |
| flatten (Flatten) | (None, 9216) | 0 |
| dense (Dense) | (None, 4096) | 37,752,832 |
| dense_1 (Dense) | (None, 4096) | 16,781,312 |
| dense_2 (Dense) | (None, 10) | 40,970 |
| Total params: | | 58,323,722 |
| Trainable params: | | 58,323,018 |
| Non-trainable params: | | 704 |
"""

WITH_ACTIVATIONS = """
| Layer | Output | Params |
|---|---|---|
| Input | 227x227x3 | 0 |
| Conv1-ReLU | 55x55x96 | 34,944 |
| MaxPool1 | 27x27x96 | 0 |
| Conv2 → ReLU | 27x27x256 | 614,656 |
| MaxPool2 | 13x13x256 | 0 |
| Conv3 ReLU | 13x13x384 | 885,120 |
| Conv4_ReLU | 13x13x384 | 1,327,488 |
| Conv5 | 13x13x256 | 884,992 |
| MaxPool5 | 6x6x256 | 0 |
| FC6 - Dropout | 4096 | 37,752,832 |
| FC7-ReLU | 4096 | 16,781,312 |
| Softmax | 1000 | 4,097,000 |
| Total | | 62,378,344 |
"""

FEATURE_MAPS = """
| Layer | Feature maps | Kernel | Stride | Padding | Params |
|---|---|---|---|---|---|
| Input | 3@227x227 | | | | |
| Conv1 | 96@55x55 | 11x11 | 4 | 0 | 34,944 |
| MaxPool1 | 96@27x27 | 3x3 | 2 | 0 | 0 |
| Conv2 | 256@27x27 | 5x5 | 1 | 2 | 614,656 |
"""

SIZE_AND_KERNEL = """
| Layer | Type | Maps | Size | Kernel size | Stride |
|---|---|---|---|---|---|
| In | Input | 3 | 227 × 227 | – | – |
| C1 | Convolution | 96 | 55 × 55 | 11 × 11 | 4 |
| S2 | Max pooling | 96 | 27 × 27 | 3 × 3 | 2 |
"""

BATCHED = """
| Layer | Output Shape | Param # |
|---|---|---|
| Input | [64, 3, 227, 227] | 0 |
| Conv1 | [64, 96, 55, 55] | 34,944 |
| MaxPool1 | [64, 96, 27, 27] | 0 |
| Conv2 | [64, 256, 27, 27] | 614,656 |
| MaxPool2 | [64, 256, 13, 13] | 0 |
| Conv3 | [64, 384, 13, 13] | 885,120 |
| Conv4 | [64, 384, 13, 13] | 1,327,488 |
| Conv5 | [64, 256, 13, 13] | 884,992 |
| MaxPool5 | [64, 256, 6, 6] | 0 |
| Flatten | [64, 9216] | 0 |
| FC6 | [64, 4096] | 37,752,832 |
| ReLU | [64, 4096] | 0 |
| FC8 | [64, 1000] | 4,097,000 |
"""

# As a course on convolutional networks lists them: what a layer puts out, and its values, called memory.
MEMORY = """
| Layer | Size | Memory | Weights |
|---|---|---|---|
| INPUT | [224x224x3] | 224*224*3=150K | 0 |
| CONV3-64 | [224x224x64] | 224*224*64=3.2M | (3*3*3)*64 = 1,728 |
| CONV3-64 | [224x224x64] | 224*224*64=3.2M | (3*3*64)*64 = 36,864 |
| POOL2 | [112x112x64] | 112*112*64=800K | 0 |
| CONV3-128 | [112x112x128] | 112*112*128=1.6M | (3*3*64)*128 = 73,728 |
"""

ACTIVATION_SIZE = """
| Layer | Activation shape | Activation Size | Filter | Stride | # Parameters |
|---|---|---|---|---|---|
| Input | (227,227,3) | 154,587 | | | 0 |
| CONV1 | (55,55,96) | 290,400 | 11x11 | 4 | 34,944 |
| POOL1 | (27,27,96) | 69,984 | 3x3 | 2 | 0 |
"""

# Multiply-adds with one for each bias: 23,296 x 55 x 55 = 70,470,400.
TORCHINFO = """
| Layer (type:depth-idx) | Input Shape | Output Shape | Param # | Mult-Adds |
|---|---|---|---|---|
| AlexNet | [1, 3, 224, 224] | [1, 1000] | -- | -- |
| ├─Sequential: 1-1 | [1, 3, 224, 224] | [1, 256, 6, 6] | -- | -- |
| │ └─Conv2d: 2-1 | [1, 3, 224, 224] | [1, 64, 55, 55] | 23,296 | 70,470,400 |
| │ └─ReLU: 2-2 | [1, 64, 55, 55] | [1, 64, 55, 55] | -- | -- |
| │ └─MaxPool2d: 2-3 | [1, 64, 55, 55] | [1, 64, 27, 27] | -- | -- |
| │ └─Conv2d: 2-4 | [1, 64, 27, 27] | [1, 192, 27, 27] | 307,392 | 224,088,768 |
| │ └─MaxPool2d: 2-6 | [1, 192, 27, 27] | [1, 192, 13, 13] | -- | -- |
"""


def judged(table: str, tmp_path: Path, network: str | None = None) -> list[Finding]:
    path = tmp_path / "table.md"
    path.write_text(table, encoding="utf-8")
    return list(audit(read_claims(path), network).findings)


@pytest.mark.parametrize(
    "table",
    [
        KERAS,
        NORMALISED,
        WITH_ACTIVATIONS,
        FEATURE_MAPS,
        SIZE_AND_KERNEL,
        BATCHED,
        MEMORY,
        ACTIVATION_SIZE,
        TORCHINFO,
    ],
)
def test_a_table_that_is_true_has_no_error_and_no_cell_is_passed_over(table: str, tmp_path: Path) -> None:
    findings = judged(table, tmp_path)
    assert [each for each in findings if each.status == "error"] == []
    rows = [line.strip("|").split("|")[1:] for line in table.strip().splitlines()[2:]]
    figures = sum(any(letter.isdigit() for letter in cell) for row in rows for cell in row)
    assert len([each for each in findings if each.where != "relation"]) >= figures


def test_what_is_trained_is_not_told_by_a_table_s_layers(tmp_path: Path) -> None:
    found = {each.claimed: each.status for each in judged(NORMALISED, tmp_path) if "rainable" in each.where}
    assert found == {"58,323,018": "unsupported", "704": "unsupported"}


def test_multiply_adds_with_one_for_each_bias_are_a_variant(tmp_path: Path) -> None:
    found = {each.claimed: each.status for each in judged(TORCHINFO, tmp_path) if each.field == "macs"}
    assert found == {"70,470,400": "variant", "224,088,768": "variant"}


ROW = """
| Layer | Input | Kernel | Filters | Output | {} |
|---|---|---|---|---|---|
| Conv1 | 227x227x3 | {} | 96 | 55x55x96 | {} |
"""


@pytest.mark.parametrize(
    ("heading", "kernel", "cell", "errors"),
    [
        ("MACs", "11x11, stride 4", "316,245,600", {"macs"}),  # three times as many: no batch is spoken of
        ("MACs", "11x11, stride 4", "105,415,200", set()),
        ("MACs", "f=11, s=4", "105.4M", set()),
        (
            "MACs",
            "f=11, s=4",
            "116.0M",
            {"macs"},
        ),  # of kernel 11 indeed, not of what stands behind the last =
        ("Params", "11x11, stride 4", "50K", {"parameters"}),  # its nought is a digit
        (
            "Params",
            "11x11, stride 4",
            "30K",
            {"parameters"},
        ),  # nor is it 34,944 cut off: a seventh is missing
        ("Params", "11x11, stride 4", "35K", set()),
    ],
)
def test_a_row_with_one_figure_that_may_be_wrong(
    heading: str, kernel: str, cell: str, errors: set[str], tmp_path: Path
) -> None:
    findings = judged(ROW.format(heading, kernel, cell), tmp_path)
    assert {each.field for each in findings if each.status == "error"} == errors


def test_settings_that_cannot_be_read_are_not_read_as_something_else(tmp_path: Path) -> None:
    """Of "11x11, s=4, f=96", 96 is no kernel; f may be the filters' number or their size."""
    findings = judged(ROW.format("MACs", "11x11, s=4, f=96", "105,415,200"), tmp_path)
    assert not [each for each in findings if each.status == "error"]
    unread = [each.claimed for each in findings if each.status == "unsupported" and each.field == "kernel"]
    assert unread == ["11x11, s=4, f=96"]


@pytest.mark.parametrize("cell", ["34,944[^1]", "34,944<sup>a</sup>", "**34,944**[^note]"])
def test_what_points_to_a_footnote_is_no_part_of_a_figure(cell: str, tmp_path: Path) -> None:
    findings = judged(ROW.format("# of parameters", "11x11, stride 4", cell), tmp_path)
    assert [each.status for each in findings if each.field == "parameters"] == ["ok"]


def test_a_picture_of_224_that_gives_55_may_be_one_of_227(tmp_path: Path) -> None:
    """The slip that most tables of this network have: (224 - 11) / 4 + 1 is 54.25."""
    table = ROW.format("Padding", "11x11, stride 4", "0").replace("227x227x3", "224x224x3")
    (finding,) = [each for each in judged(table, tmp_path) if each.status == "error"]
    assert {"padding 2", "input 227", "rounding up"} <= set(finding.routes)


def test_a_total_of_a_hundred_million_is_not_sixty(tmp_path: Path) -> None:
    total = WITH_ACTIVATIONS.replace("62,378,344", "100M")
    (finding,) = [each for each in judged(total, tmp_path) if each.status == "error"]
    assert (finding.where, finding.correction) == ("total", "62,378,344")


def test_a_total_is_corrected_to_the_sum_of_what_is_true(tmp_path: Path) -> None:
    """Parameters that normalisation does not have are an error of their own, and in no sum."""
    table = WITH_ACTIVATIONS.replace("| MaxPool1 |", "| Norm1 | 55x55x96 | 192 |\n| MaxPool1 |")
    found = {
        each.where: each.correction
        for each in judged(table.replace("62,378,344", "62,000,001"), tmp_path)
        if each.status == "error"
    }
    assert found == {"Norm1": "0", "total": "62,378,344"}


def test_a_total_of_trainable_parameters_is_a_total(tmp_path: Path) -> None:
    table = WITH_ACTIVATIONS.replace("| Total |", "| Total trainable params |")
    (finding,) = [each for each in judged(table, tmp_path) if each.where == "total"]
    assert (finding.status, finding.claimed) == ("ok", "62,378,344")


@pytest.mark.parametrize(("entering", "depth_fits"), [("256x256x3", True), ("28x28x1", False)])
def test_an_input_that_the_network_in_mind_does_not_take_is_not_passed(
    entering: str, depth_fits: bool, tmp_path: Path
) -> None:
    """(256 - 11) / 4 + 1 is 62.25, and no kernel is printed that would give 55; 34,944 needs a depth of 3."""
    rows = f"| Input | {entering} | |\n| conv1 | 55x55x96 | 34,944 |\n| pool1 | 27x27x96 | 0 |\n"
    rows += "| conv2 | 27x27x256 | 614,656 |\n| pool2 | 13x13x256 | 0 |\n"
    found = judged(f"| Layer | Output | Params |\n|---|---|---|\n{rows}", tmp_path)
    conv1 = {each.field: each.status for each in found if each.where == "conv1"}
    assert conv1 == {"output": "unsupported", "parameters": "ok" if depth_fits else "unsupported"}
    assert {each.status for each in found if each.where == "conv2"} == {"ok"}


# A layer's name with what goes with it; with 27x27 of kernel 3 and stride 2, (27 - 3) / 2 + 1 = 13.
SEVERAL = """
| Layer | Kernel | Filters | Stride | Padding | Output |
|---|---|---|---|---|---|
| Input | | | | | 227x227x3 |
| Conv1 → ReLU → LRN | 11x11 | 96 | 4 | 0 | 55x55x96 |
| LRN + MaxPool | 3x3 | | 2 | | 27x27x96 |
| Conv2-ReLU | 5x5 | 256 | 1 | 2 | 27x27x256 |
| zero_padding2d | | | | | 31x31x256 |
| Residual block 1 | | | | | 13x13x64 |
"""


def test_layers_that_say_what_goes_with_them_are_those_layers(tmp_path: Path) -> None:
    found = judged(SEVERAL, tmp_path)
    open_ones = {each.where for each in found if each.status != "ok"}
    assert open_ones == {"zero_padding2d", "Residual block 1"}  # what they make is theirs to say
    wrong = judged(SEVERAL.replace("27x27x256", "28x28x256"), tmp_path)
    assert [(each.where, each.field) for each in wrong if each.status == "error"] == [
        ("Conv2-ReLU", "output")
    ]


@pytest.mark.parametrize(("name", "parameters"), [("GroupNorm", 192), ("layer_norm", 192), ("PReLU", 96)])
def test_norms_and_activations_that_carry_weights_are_not_told_that_they_have_none(
    name: str, parameters: int, tmp_path: Path
) -> None:
    table = WITH_ACTIVATIONS.replace("| MaxPool1 |", f"| {name} | 55x55x96 | {parameters} |\n| MaxPool1 |")
    found = [each for each in judged(table, tmp_path) if each.where == name]
    assert [each.status for each in found] == ["ok", "unsupported"]


@pytest.mark.parametrize("halves", ["2048x2", "2x2048", "2 x 2048"])
def test_units_on_two_gpus_are_counted_together(halves: str, tmp_path: Path) -> None:
    """fc7 of 2012: 4,096 x 4,096 + 4,096 = 16,781,312; of 2,048 in a batch of 2: 9,216 x 2,048 + 2,048."""
    rows = f"| fc6 | 6x6x256 | {halves} | 37,752,832 |\n| fc7 | | {halves} | 16,781,312 |\n"
    header = "| Layer | Input | Output | Params |\n|---|---|---|---|\n"
    assert {each.status for each in judged(header + rows, tmp_path)} == {"ok"}
    batched = f"{header}| fc6 | 6x6x256 | 2x2048 | 18,876,416 |\n"
    assert {each.status for each in judged(batched, tmp_path)} == {"ok"}


def test_a_table_with_decimal_commas_is_read_as_it_is_meant(tmp_path: Path) -> None:
    """34,944 is 0,035 M; 37.752.832 is 9,216 x 4,096 + 4,096."""
    path = tmp_path / "tabelle.csv"
    path.write_text(
        "Layer;Kernel;Filters;Stride;Padding;Output;Params (M);MACs (M)\n"
        "Input;;;;;227x227x3;0;0\nconv1;11x11;96;4;0;55x55x96;0,035;105,415\n"
    )
    assert {each.status for each in audit(read_claims(path)).findings} == {"ok", "rounded"}
    path.write_text("Layer;Input;Output;Params\nfc6;6x6x256;4096;37.752.832\nfc8;4096;1000;4.097.000\n")
    assert {each.status for each in audit(read_claims(path)).findings} == {"ok"}
    path.write_text("Layer;Input;Output;Params\nfc6;6x6x256;4096;37,752,832\nfc8;4096;1000;4.098.000\n")
    assert "unsupported" in {each.status for each in audit(read_claims(path)).findings}  # both at once


@pytest.mark.parametrize(
    ("heading", "cell"),
    [
        ("Params (bytes)", "139,776"),  # 4 x 34,944
        ("Params (thousands)", "34.9"),
        ("Params (x1000)", "34.9"),
        ("Params (×1e3)", "34.9"),
        ("Params (10^3)", "34.9"),
        ("Params, in thousands", "34.9"),
        ("Params (1e6)", "0.035"),
        ("MACs (M/image)", "105.4"),
        ("MACs [M per picture]", "105.4"),
    ],
)
def test_what_a_heading_multiplies_by_is_read(heading: str, cell: str, tmp_path: Path) -> None:
    def statuses(printed: str) -> set[str]:
        return {each.status for each in judged(ROW.format(heading, "11x11, stride 4", printed), tmp_path)}

    assert statuses(cell) <= {"ok", "rounded"}
    assert "error" in statuses({"139,776": "193,776", "34.9": "37.9", "0.035": "0.053"}.get(cell, "106.9"))


def test_a_figure_with_a_factor_that_is_no_power_is_not_read_as_one(tmp_path: Path) -> None:
    found = judged(ROW.format("Params", "11x11, stride 4", "34.9 × 1000"), tmp_path)
    assert [each.status for each in found if each.field == "parameters"] == ["unsupported"]


def test_oblong_pictures_may_have_their_depth_first(tmp_path: Path) -> None:
    """(224 - 11 + 4) / 4 + 1 = 55, (320 - 11 + 4) / 4 + 1 = 79; (11 x 11 x 3 + 1) x 64 = 23,296."""
    header = "| Layer | Kernel | Stride | Padding | Output | Params |\n|---|---|---|---|---|---|\n"
    rows = "| Input | | | | (3, 224, 320) | |\n| Conv2d-1 | 11 | 4 | 2 | (64, 55, 79) | {} |\n"
    assert {each.status for each in judged(header + rows.format("23,296"), tmp_path)} == {"ok"}
    (finding,) = [each for each in judged(header + rows.format("23,396"), tmp_path) if each.status == "error"]
    assert (finding.field, finding.correction) == ("parameters", "23,296 (23,232 without biases)")


def test_padding_same_holds_for_each_side(tmp_path: Path) -> None:
    """As many windows as the stride goes into a side, rounded up: 320 x 180, 160 x 90, 80 x 45, 40 x 23."""
    header = "| Layer | Kernel | Stride | Padding | Filters | Output |\n|---|---|---|---|---|---|\n"
    sizes = ("160x90x64", "80x45x64", "40x23x64")
    rows = "".join(f"| conv{i} | 3x3 | 2 | same | 64 | {size} |\n" for i, size in enumerate(sizes, 1))
    rows += "| pool | 3x3 | 2 | same | | 20x12x64 |\n| pool2 | 3x3 | 2 | same | | 10x6x64 |\n"
    table = f"{header}| Input | | | | | 320x180x3 |\n{rows}"
    assert {each.status for each in judged(table, tmp_path)} == {"ok"}
    wrong = judged(table.replace("40x23", "40x22").replace("20x12", "20x11"), tmp_path)
    assert [each.where for each in wrong if each.status == "error"][:1] == ["conv3"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("Total params: 34,944", "ok"),
        ("Total params: 99,999,999", "error"),
        ("Total parameters (K): 34.9", "rounded"),
        ("Total mult-adds (M): 105.42", "rounded"),
        ("Total wheels: 4", "unsupported"),
    ],
)
def test_a_total_that_stands_in_its_own_name_is_judged(words: str, status: str, tmp_path: Path) -> None:
    table = ROW.format("Params", "11x11, stride 4", "34,944") + f"| {words} | | | | | |\n"
    found = [each for each in judged(table, tmp_path) if each.where.lower().startswith("total")]
    assert [each.status for each in found] == [status]


@pytest.mark.parametrize(
    ("printed", "status"), [("714.68M", "variant"), ("714,682,664", "variant"), ("714,682,665", "error")]
)
def test_a_total_with_an_addition_for_each_bias_is_told_as_torchinfo_s(printed: str, status: str) -> None:
    """714,188,480 multiply-adds of torchvision's network and 494,184 for biases, which torchinfo counts."""
    (finding,) = audit(
        from_mapping({"network": "torchvision", "totals": [{"macs": printed}]}, where="test")
    ).findings
    assert finding.status == status


KERAS_3 = """
Model: "sequential"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┓
┃ Layer (type)                 ┃ Output Shape       ┃ Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━┩
│ input (InputLayer)           │ (None, 227, 227, 3)│       0 │
├──────────────────────────────┼────────────────────┼─────────┤
│ conv2d (Conv2D)              │ (None, 55, 55, 96) │  34,944 │
├──────────────────────────────┼────────────────────┼─────────┤
│ max_pooling2d (MaxPooling2D) │ (None, 27, 27, 96) │       0 │
└──────────────────────────────┴────────────────────┴─────────┘
 Total params: 34,944 (136.50 KB)
 Trainable params: 34,944 (136.50 KB)
 Non-trainable params: 0 (0.00 B)
"""  # 34,944 x 4 = 139,776 bytes = 136.5 x 1024


def test_a_table_between_drawn_lines_is_read_and_the_sums_beneath_it(tmp_path: Path) -> None:
    trained = [("Trainable params", "unsupported"), ("Non-trainable params", "unsupported")]
    found = slips(KERAS_3, tmp_path)
    assert [(where, status) for where, field, status in found if field != "bytes"] == trained
    assert ("total", "bytes", "variant") in found  # in KiB
    found = slips(KERAS_3.replace("Total params: 34,944", "Total params: 34,494"), tmp_path)
    assert ("total", "parameters", "error") in found
    found = slips(KERAS_3.replace("27, 27, 96", "28, 28, 96"), tmp_path)
    assert ("max_pooling2d (MaxPooling2D)", "output", "error") in found


def test_sums_alone_are_no_table(tmp_path: Path) -> None:
    with pytest.raises(ClaimsError, match="columns between"):
        judged("AlexNet\n\nTotal params: 61,100,840\n", tmp_path)


SIDES = """
| Layer | Kernel | Stride | Pad | Receptive field | Jump | Output size |
|---|---|---|---|---|---|---|
| input | - | - | - | 1 | 1 | 227 |
| conv1 | 11 | 4 | 0 | 11 | 4 | 55 |
| pool1 | 3 | 2 | 0 | 19 | 8 | 27 |
| conv2 | 5 | 1 | 2 | 51 | 8 | 27 |
| pool2 | 3 | 2 | 0 | 67 | 16 | 13 |
| conv3 | 3 | 1 | 1 | 99 | 16 | 13 |
"""


def slips(text: str, folder: Path, network: str | None = None) -> list[tuple[str, str, str]]:
    return [
        (each.where, each.field, each.status)
        for each in judged(text, folder, network)
        if each.status not in ("ok", "rounded")
    ]


@pytest.mark.parametrize("network", [None, "alexnet", "ungrouped"])
def test_of_a_square_the_side_is_enough(network: str | None, tmp_path: Path) -> None:
    assert slips(SIDES, tmp_path, network) == []
    without_input = SIDES.replace("| input | - | - | - | 1 | 1 | 227 |\n", "")
    assert slips(without_input, tmp_path, network) == []
    wrong = SIDES.replace("| 19 | 8 | 27 |", "| 19 | 8 | 28 |").replace("| 1 | 1 | 227 |", "| 2 | 1 | 227 |")
    assert slips(wrong, tmp_path, network) == [
        ("input", "receptive_field", "error"),
        ("pool1", "output", "error"),
    ]


VECTORS = """
| Layer Name | Tensor Size | Weights | Biases |
|---|---|---|---|
| Input Image | 227x227x3 | 0 | 0 |
| Conv-1 | 55x55x96 | 34,848 | 96 |
| MaxPool-1 | 27x27x96 | 0 | 0 |
| Conv-2 | 27x27x256 | 614,400 | 256 |
| MaxPool-2 | 13x13x256 | 0 | 0 |
| Conv-3 | 13x13x384 | 884,736 | 384 |
| Conv-4 | 13x13x384 | 1,327,104 | 384 |
| Conv-5 | 13x13x256 | 884,736 | 256 |
| MaxPool-3 | 6x6x256 | 0 | 0 |
| FC-1 | {} | 37,748,736 | 4,096 |
| FC-2 | {} | 16,777,216 | 4,096 |
| FC-3 | {} | 4,096,000 | 1,000 |
"""


@pytest.mark.parametrize(
    "printed", [("4096×1", "4096×1", "1000×1"), ("1×1", "1×1", "1×1"), ("1x1x4096", "4096", "1x1000")]
)
def test_a_vector_may_be_printed_as_a_column_or_as_one_pixel(
    printed: tuple[str, str, str], tmp_path: Path
) -> None:
    table = VECTORS.format(*printed)
    assert slips(table, tmp_path) == []
    assert slips(table.replace("16,777,216", "16,777,261"), tmp_path) == [("FC-2", "weights", "error")]
    if "4096" in printed[0]:
        assert slips(table.replace(printed[0], printed[0].replace("4096", "4069"), 1), tmp_path) == [
            ("FC-1", "output", "error")
        ]


@pytest.mark.parametrize("network", [None, "ungrouped"])
@pytest.mark.parametrize(
    ("layer", "right", "wrong"), [("MaxPool-1", "27x27x96", "28x28x96"), ("MaxPool-3", "6x6x256", "7x7x256")]
)
def test_a_wrong_output_is_an_error_and_condemns_nothing_behind_it(
    layer: str, right: str, wrong: str, network: str | None, tmp_path: Path
) -> None:
    table = VECTORS.format(4096, 4096, 1000).replace(right, wrong)
    assert slips(table, tmp_path, network) == [(layer, "output", "error")]


@pytest.mark.parametrize("network", [None, "notes"])
@pytest.mark.parametrize(
    ("right", "wrong", "field"), [("11 | 4", "11 | 2", "stride"), ("55x55x96", "54x54x96", "output")]
)
def test_what_is_wrong_with_a_first_layer_is_told_by_the_network_s_input_and_what_comes_behind(
    right: str, wrong: str, field: str, network: str | None, tmp_path: Path
) -> None:
    table = """
| Layer | Filters | Kernel | Stride | Output |
|---|---|---|---|---|
| Input | - | - | - | 227x227x3 |
| conv1 | 96 | 11 | 4 | 55x55x96 |
| pool1 | - | 3 | 2 | 27x27x96 |
| conv2 | 256 | 5 | 1 | 23x23x256 |
"""
    assert slips(table, tmp_path, network) == []
    assert slips(table.replace(right, wrong), tmp_path, network) == [("conv1", field, "error")]


def test_one_wrong_figure_of_a_layer_in_groups_is_the_one_that_is_blamed(tmp_path: Path) -> None:
    """5 x 5 x 48 x 256 = 307,200; x 27 x 27 = 223,948,800; (307,200 + 256) x 4 = 1,229,824."""
    table = """
| Layer | Input | Filters | Kernel | Pad | Output | Weights | MACs | Param bytes |
|---|---|---|---|---|---|---|---|---|
| conv2 | 27x27x96 | 256 | 5 | 2 | 27x27x256 | 614,400 | 223,948,800 | 1,229,824 |
"""
    assert slips(table, tmp_path) == [
        ("conv2", "weights", "error"),
        ("conv2", "macs", "variant"),
        ("conv2", "bytes", "variant"),
    ]


def test_what_passes_an_unknown_shape_is_not_judged_by_it(tmp_path: Path) -> None:
    table = "| Layer | Neurons | Params |\n|---|---|---|\n| ReLU1 | 290,400 | 0 |\n| Dropout | 0 | 7 |\n"
    assert slips(table, tmp_path) == [("ReLU1", "neurons", "unsupported"), ("Dropout", "parameters", "error")]


@pytest.mark.parametrize(
    ("heading", "right", "wrong"),
    [
        ("MFLOPs", "210.8", "250.8"),  # 2 x 105,415,200
        ("GMACs", "0.1054", "0.1504"),
        ("Param. #", "34,944", "34,494"),
        ("Parameters count", "34,944", "34,494"),
        ("Total params", "34,944", "34,494"),
        ("Trainable params", "34,944", "34,494"),
        ("Learnable parameters", "34,944", "34,494"),
        ("Params<sup>1</sup>", "34,944", "34,494"),
        ("Params<br>(K)", "34.9", "43.9"),
        ("Weight", "34,848", "34,488"),
        ("Output volume", "55x55x96", "55x55x69"),
        ("Output dim", "$55 \\times 55 \\times 96$", "$55 \\times 55 \\times 69$"),
        ("Output Shape", "torch.Size([1, 96, 55, 55])", "torch.Size([1, 69, 55, 55])"),
        ("Params", "34{,}944", "34{,}494"),
    ],
)
def test_a_heading_that_people_use_is_read(heading: str, right: str, wrong: str, tmp_path: Path) -> None:
    for printed, expected in ((right, {"ok", "rounded"}), (wrong, {"error"})):
        table = f"""
| Layer | Input | # filters / neurons | Kernel | Stride | {heading} |
|---|---|---|---|---|---|
| conv1 | 227x227x3 | 96 | 11 | 4 | {printed} |
"""
        found = [each.status for each in judged(table, tmp_path)]
        assert set(found) - {"ok"} <= expected, table
        assert len(found) == 5, table
        assert ("error" in found) == (printed == wrong), table


def test_the_shape_of_a_filter_is_its_window(tmp_path: Path) -> None:
    table = """
| Layer | Input | Filter shape | Stride | Output |
|---|---|---|---|---|
| conv1 | 227x227x3 | 11x11x3x96 | 4 | 55x55x96 |
"""
    assert slips(table, tmp_path) == []
    assert slips(table.replace("11x11x3x96", "11x11x1x96"), tmp_path) == [("conv1", "kernel", "error")]


def test_layers_may_go_by_a_letter_and_a_number(tmp_path: Path) -> None:
    table = """
| Layer | Input | Kernel | Filters | Stride | Output |
|---|---|---|---|---|---|
| C1 | 227x227x3 | 11x11 | 96 | 4 | 55x55x96 |
| S2 | 55x55x96 | 3x3 | 96 | 2 | 27x27x96 |
| F3 | 27x27x96 | | 4096 | | 4096 |
"""
    assert slips(table, tmp_path) == []
    assert slips(table.replace("| 27x27x96 |\n| F3", "| 29x29x96 |\n| F3"), tmp_path) == [
        ("S2", "output", "error")
    ]


def test_of_two_columns_for_one_figure_the_one_that_can_be_read_is_judged(tmp_path: Path) -> None:
    table = """
| Layer | Input | Params (formula) | Filters | Kernel | Stride | Params |
|---|---|---|---|---|---|---|
| conv1 | 227x227x3 | (11 x 11 x 3 + 1) x 96 | 96 | 11 | 4 | 34,494 |
"""
    assert ("conv1", "parameters", "error") in slips(table, tmp_path)


def test_a_size_beside_a_window_in_words_is_that_of_the_output(tmp_path: Path) -> None:
    table = """
| Layer | Type | Size (H/W) |
|---|---|---|
| input | | 227 |
| conv1 | conv 11x11/4 | 55 |
| pool1 | max 3x3/2 | 27 |
"""
    assert slips(table, tmp_path) == []
    assert slips(table.replace("| 27 |", "| 29 |"), tmp_path) == [("pool1", "output", "error")]


def test_windows_and_counts_as_residual_networks_print_them_are_read(tmp_path: Path) -> None:
    table = """
| Layer name | Output size | Configuration | Params |
|---|---|---|---|
| input | 227×227 | | |
| conv1 | 55×55 | 11×11, 96, stride 4 | 34.9K |
| pool1 | 27×27 | 3×3 max pool, stride 2 | 0 |
| conv2 | 27×27 | 5×5, 256, pad 2 | 614.7K |
| fc | 1×1 | 1000-d fc, softmax | 186.6M |
"""  # (27 x 27 x 256 + 1) x 1000 = 186,625,000
    assert slips(table, tmp_path) == []
    assert slips(table.replace("614.7K", "647.1K"), tmp_path) == [("conv2", "parameters", "error")]
