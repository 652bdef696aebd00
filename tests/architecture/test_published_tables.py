"""Tables as they are published, each true but for what its test says: no false alarm, nothing missed.

Every figure was computed by hand: sizes as floor((n - f + 2p) / s) + 1, weights as f x f x depth x filters.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from alexnet.architecture.audit import audit
from alexnet.architecture.claim_files import read_claims
from alexnet.architecture.findings import Finding

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


def judged(table: str, tmp_path: Path) -> list[Finding]:
    path = tmp_path / "table.md"
    path.write_text(table, encoding="utf-8")
    return list(audit(read_claims(path)).findings)


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
