"""The audit against real published tables, against tables made of networks, and against what is no table."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet import NETWORKS, ClaimsError, Finding, MisfitError, Network, audit, edit, read_claims, summarize
from alexnet.architecture.claim_files import NAMED
from alexnet.architecture.claim_tables import read_csv
from alexnet.architecture.claims import from_mapping, read_toml
from alexnet.architecture.descriptions import described
from alexnet.architecture.layers import Conv, Dense, Flatten, Layer, MaxPool
from alexnet.architecture.sums import _Parts

CLAIMS = Path(__file__).parents[1] / "claims"
NOTES_CLAIMS = NAMED["notes"]


def flagged(name: str | Path, network: str | None = None) -> dict[tuple[str, str], Finding]:
    """What an audit of a file says of the claims that are not simply right."""
    findings = audit(read_claims(CLAIMS / name), network).findings
    return {(each.where, each.field): each for each in findings if each.status not in ("ok", "rounded")}


def statuses(found: dict[tuple[str, str], Finding]) -> dict[tuple[str, str], str]:
    return {place: finding.status for place, finding in found.items()}


def test_the_lecture_notes_have_exactly_three_errors() -> None:
    found = flagged(NOTES_CLAIMS)
    assert statuses(found) == {
        ("pool1", "stride"): "error",
        ("pool2", "stride"): "error",
        ("total", "parameters"): "error",
    }
    assert found["pool1", "stride"].routes[0] == "stride 2"
    assert found["pool2", "stride"].routes[0] == "stride 2"
    assert found["total", "parameters"].reason == "the parts add up to 28,813,344"
    findings = audit(read_claims(NOTES_CLAIMS))
    assert findings.nearest is not None
    assert findings.nearest[0] == "notes"


# Each with the verdict that the arithmetic by hand gives, and what the reason, correction or routes must say.
PUBLISHED: list[tuple[str, str | None, dict[tuple[str, str], str], str]] = [
    ("c01.toml", None, {("conv1", "input"): "variant", ("conv1", "neurons"): "error"}, "290,400"),
    ("c06.md", None, {}, ""),
    (
        "c06.md",
        "paper",
        {(f"conv{i}", "parameters"): "variant" for i in (2, 4, 5)},
        "groups 1",
    ),
    ("c06b.md", None, {("total", "parameters"): "error"}, "62,378,344"),
    ("c08.toml", None, {("pool1", "output"): "error"}, "27x27x96"),
    ("c10.toml", None, {("relation", "text"): "error"}, "301,056"),
    (
        "c12.toml",
        None,
        {**{(f"conv{i}", "stride"): "error" for i in (2, 3, 4, 5)}, ("table", "maxpool"): "error"},
        "paper has 3 layers of this kind, the table 2",
    ),
    ("c04.toml", None, {}, ""),
    ("c26.toml", None, {}, ""),  # it adds up, and is no AlexNet
    (
        "c26.toml",
        "alexnet",
        {("table", "conv"): "error"},
        "paper has 5 layers of this kind, the table 4",
    ),
    ("c15.toml", None, {("total", "macs"): "error"}, "714,188,480 in torchvision; that is 3 times as much"),
    ("c19.toml", None, {("total of fc6, fc7", "bytes"): "error"}, "218,136,576"),
    ("c21.toml", None, {("total", "parameters"): "error"}, "62,378,344"),
    ("c21.toml", None, {("total", "parameters"): "error"}, "256 filters in conv4 and 10 classes"),
    ("c23.toml", None, {("conv2", "input"): "error"}, "54x54x96"),
    ("c28.toml", None, {}, ""),
    ("x01.toml", None, {("conv1", "output"): "error", ("total", "layers"): "error"}, "54x54x96"),
    ("x04.toml", None, {}, ""),
    ("x05.toml", None, {}, ""),
    ("correct.md", None, {}, ""),
]


@pytest.mark.parametrize(("name", "network", "expected", "told"), PUBLISHED, ids=lambda each: str(each)[:30])
def test_published_tables_get_the_verdict_of_the_arithmetic(
    name: str, network: str | None, expected: dict[tuple[str, str], str], told: str
) -> None:
    found = flagged(name, network)
    assert statuses(found) == expected
    words = " ".join(part for each in found.values() for part in (each.reason, each.correction, *each.routes))
    assert told in words


def test_what_is_not_said_is_not_guessed() -> None:
    claims = {
        "layers": [
            {
                "name": "conv1",
                "input": "224x224x3",
                "kernel": 11,
                "stride": 4,
                "filters": 96,
                "output": "55x55x96",
            }
        ]
    }
    (finding,) = [each for each in audit(from_mapping(claims, where="t")).findings if each.status != "ok"]
    assert finding.status == "unsupported"
    # The five honest routes to 55 that one change makes.
    assert {"padding 2", "rounding up", "input 227"} <= set(finding.routes)


def test_the_example_of_the_docs_holds() -> None:
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    found = audit(read_toml(example, where="docs")).findings
    assert len(found) > 15
    assert {each.status for each in found} <= {"ok", "rounded"}


@pytest.mark.parametrize(
    ("field", "wrong", "right"),
    [
        ("macs", "105,415,201", "1,054,152,000"),  # by hand: 10 x 11 x 11 x 3 x 96 x 55 x 55
        ("flops", "210.9M", "2,108,304,000"),
        ("activation_bytes", "1.17 MB", "11,616,000"),  # 10 x 55 x 55 x 96 x 4
    ],
)
def test_what_each_picture_has_is_corrected_for_the_batch(field: str, wrong: str, right: str) -> None:
    text = (
        'input = "227x227x3"\nbatch = 10\n[[layers]]\nname = "conv1"\nkernel = 11\nstride = 4\npadding = 0\n'
        f'filters = 96\noutput = "55x55x96"\n{field} = "{wrong}"\n'
    )
    (finding,) = audit(read_toml(text, where="ten")).errors
    assert (finding.field, finding.correction) == (field, right)
    assert finding.reason.startswith("10 x ")
    assert finding.reason.endswith(f"= {right}")
    assert not audit(read_toml(text.replace(wrong, right), where="ten")).errors


def test_headings_may_be_words_that_are_joined() -> None:
    """As `alexnet summary --format csv` has them."""
    text = 'layer,kernel,output,activation_bytes,receptive_field\nconv1,11,55x55x96,"1,161,600",11\n'
    claims = read_csv(text, where="table")
    assert claims.unread == ()
    assert {*claims.layers[0].claims} >= {"activation_bytes", "receptive_field"}


def test_a_letter_is_not_nothing() -> None:
    claims = read_csv("Layer,Kernel,Stride,Output\nconv1,11,x,55x55x96\n", where="table")
    assert [(each.field, each.text) for each in claims.unread] == [("stride", "x")]


def test_a_batch_that_is_not_stated_is_told_as_a_variant() -> None:
    text = (CLAIMS / "c28.toml").read_text(encoding="utf-8").replace("batch = 10\n", "")
    findings = audit(read_toml(text, where="t")).findings
    assert {each.status for each in findings} == {"variant"}
    assert all("batch of 10" in each.reason for each in findings)


def test_totals_without_a_table_are_those_of_the_network_that_is_named() -> None:
    text = """
network = "torchvision"
[[totals]]
bytes = "233 MB"
parameters = "61.1M"
flops = "1.43 GFLOPs"
layers = 8
[[totals]]
of = "conv"
layers = 5
[[totals]]
of = "dense"
parameters = "58.6M"
layers = 4
"""
    findings = audit(read_toml(text, where="t")).findings
    # 61,100,840 x 4 bytes are 244.4 MB, which is 233.1 MiB; three layers are fully connected.
    assert [each.status for each in findings] == [
        "variant", "rounded", "rounded", "ok", "ok", "rounded", "error",
    ]  # fmt: skip
    assert findings[-1].correction == "3"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("11*11*3*64 + 64 = 23,296", "ok"),
        ("(224 - 11 + 2*2)/4 + 1 = 55", "rounded"),  # 55.25, and sizes round down
        ("(224 - 11)/4 + 1 = 55", "variant"),  # 54.25, rounded up
        ("(227 x 227 x 3) x (55 x 55 x 96) = 4.49 x 10^10", "rounded"),
        ("6 x 6 x 256 = 9126", "error"),
        ("floor((227 - 11 + 2*0)/4) + 1 = 55", "ok"),
        ("⌊(224 − 11)/4⌋ + 1 = 55", "error"),  # 54
        ("int((224 - 11) / 4) + 1 = 54", "ok"),
        ("⌈(224 - 11)/4⌉ + 1 = 55", "ok"),
        ("ceil((55 - 3)/2) + 1 = 28", "error"),  # 27
        ("34,848 x 4 / 1024 = 136 KB", "rounded"),  # 136.125
        ("34,848 x 4 / 1024 = 139 KB", "error"),
        ("34,848 x 4 = 139 KB", "rounded"),  # 139,392
        ("⌊3.5) = 3", "unsupported"),
        ("floor 3.5 = 3", "unsupported"),
        ("a b = c", "unsupported"),
        ("1/0 = 3", "unsupported"),
        ("2^9999999 = 3", "unsupported"),
        ("(" * 80 + "1" + ")" * 80 + " = 1", "ok"),
        ("(" * 120 + "1" + ")" * 120 + " = 1", "unsupported"),
        ("(10^64)^64 x (10^64)^64 = 1", "unsupported"),  # 8,192 digits
        ("((((10^64)^64)^64)^64) = 1", "unsupported"),
        ("-2^2 = -4", "ok"),
        ("2^-1 = 0.5", "ok"),
        (r"$(11 \times 11 \times 3) \times 96 = 34{,}848$", "ok"),
        (r"$\lfloor (224 - 11)/4 \rfloor + 1 = 55$", "error"),  # 54
    ],
)
def test_relations_are_computed_from_their_own_numbers(text: str, status: str) -> None:
    (finding,) = audit(from_mapping({"relations": [{"text": text}]}, where="t")).findings
    assert finding.status == status


@pytest.mark.parametrize("name", ["ungrouped", "paper", "torchvision", "notes"])
def test_what_totals_are_searched_with_is_the_arithmetic_of_the_networks(name: str) -> None:
    parts = _Parts.of(name)
    for classes, filters in ((1000, 96), (10, 64)):
        network = edit(NETWORKS[name], f"classes={classes}", f"conv1.filters={filters}")
        summary = summarize(network)
        totals = parts.totals((filters, *parts.widths[1:]), classes)
        assert totals == (summary.weights, summary.parameters)


def test_weights_alone_and_with_biases_are_both_parameters() -> None:
    for printed in ("34,848", "34,944", "34.8K", "34.9K"):
        table = {"name": "conv1", "input": "227x227x3", "kernel": 11, "stride": 4, "filters": 96}
        claims = from_mapping({"layers": [{**table, "parameters": printed}]}, where="t")
        assert {each.status for each in audit(claims).findings} <= {"ok", "rounded"}


def as_claims(network: Network) -> dict[str, Any]:
    """A table that prints every figure of a network rightly."""
    summary = summarize(network)
    layers: list[dict[str, Any]] = []
    for layer, row in zip(network.layers, summary.layers, strict=True):
        stated: tuple[str, ...]
        match layer:
            case Conv():
                stated = ("kernel", "stride", "padding", "filters", "groups", "rounding")
            case MaxPool():
                stated = ("kernel", "stride", "padding", "rounding")
            case Dense():
                stated = ("units",)
            case _:
                continue
        table: dict[str, Any] = {"name": layer.name, "kind": layer.kind}
        table |= {field: getattr(layer, field) for field in stated}
        table |= {"input": "x".join(map(str, row.input)), "output": "x".join(map(str, row.output))}
        if row.weights:
            table |= {
                "parameters": f"{row.parameters:,}",
                "macs": f"{row.macs:,}",
                "neurons": f"{row.neurons:,}",
            }
        layers.append(table)
    totals = {
        "parameters": f"{summary.parameters:,}",
        "macs": f"{summary.macs:,}",
        "layers": summary.weighted_layers,
    }
    return {"input": "x".join(map(str, network.input)), "layers": layers, "totals": [totals]}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_table_made_of_a_network_is_right_throughout_and_known_for_it(network: Network) -> None:
    findings = audit(from_mapping(as_claims(network), where="t"))
    assert {each.status for each in findings.findings} == {"ok"}
    assert findings.nearest is not None
    assert findings.nearest[1] == findings.nearest[2]


@st.composite
def any_networks(draw: st.DrawFn) -> Network:
    """Networks of squares and oblongs, with groups, odd paddings and both roundings."""
    layers: list[Layer] = []
    rounding = st.sampled_from(("down", "up"))
    for i in range(draw(st.integers(1, 5))):
        kernel, stride = draw(st.integers(1, 7)), draw(st.integers(1, 4))
        if draw(st.booleans()):
            groups = draw(st.sampled_from((1, 2)))
            numbers = {"filters": groups * draw(st.integers(2, 16)), "groups": groups}
            numbers |= {"kernel": kernel, "stride": stride, "padding": draw(st.integers(0, 3))}
            layers.append(Conv(name=f"conv{i}", rounding=draw(rounding), **numbers))
        else:
            numbers = {"kernel": kernel, "stride": stride, "padding": draw(st.integers(0, kernel // 2))}
            layers.append(MaxPool(name=f"pool{i}", rounding=draw(rounding), **numbers))
    layers += [
        Flatten(name="flat"),
        Dense(name="fc1", units=64),
        Dense(name="fc2", units=draw(st.integers(1, 20))),
    ]
    sides = (draw(st.integers(8, 64)), draw(st.integers(8, 64)), draw(st.integers(1, 4)))
    return Network(name="random", input=sides, layers=tuple(layers))


@settings(deadline=None, max_examples=60)
@given(any_networks())
def test_a_table_made_of_any_network_that_fits_is_right_throughout(network: Network) -> None:
    try:
        claims = as_claims(network)
    except MisfitError:
        return
    assert {each.status for each in audit(from_mapping(claims, where="t")).findings} == {"ok"}


def changed_figure(table: dict[str, Any], field: str, choose: random.Random) -> object:
    """Another value of the field than the one printed."""
    old = table[field]
    if isinstance(old, int):
        least = 0 if field == "padding" else 1
        return choose.choice(
            [new for new in (old - 1, old + 1, old + 2, 2 * old) if new != old and new >= least]
        )
    if "x" in old:
        sizes = [int(size) for size in old.split("x")]
        place = choose.randrange(3)
        sizes[place] += choose.choice([1, 2, 10])
        return "x".join(map(str, sizes))
    number = int(old.replace(",", ""))
    return f"{choose.choice([number + 1, number + 1000, 3 * number]):,}"


def still_consistent(claims: dict[str, Any]) -> bool:
    """Whether the changed layer's figures are those of a real layer all the same.

    A 2x2 pool makes of 55 pixels what a 3x3 pool does, and one pixel of padding can be cut off again.
    """
    for table in claims["layers"]:
        if table["kind"] == "dense":
            continue
        size, made = int(table["input"].split("x")[0]), int(table["output"].split("x")[0])
        room = size - table["kernel"] + 2 * table["padding"]
        windows = -(-room // table["stride"]) if table["rounding"] == "up" else room // table["stride"]
        if windows + 1 != made:
            return False
    return True


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 10**6))
def test_one_changed_figure_is_flagged_and_no_other(seed: int) -> None:
    choose = random.Random(seed)
    claims = as_claims(choose.choice([network for network in NETWORKS.values() if network.name != "vgg16"]))
    table = choose.choice(claims["layers"])
    field = choose.choice([name for name in table if name not in ("name", "kind", "rounding")])
    old = table[field]
    table[field] = changed_figure(table, field, choose)
    if field in ("kernel", "padding", "stride") and "parameters" not in table and still_consistent(claims):
        return
    if field in ("padding", "stride") and still_consistent(claims):
        return
    found = [
        each
        for each in audit(from_mapping(claims, where="t")).findings
        if each.status not in ("ok", "rounded")
    ]
    assert [(each.where, each.field) for each in found] == [(table["name"], field)]
    told = " ".join([found[0].correction, *found[0].routes]).replace(",", "")
    assert str(old).replace(",", "") in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("layers = 3", "layers; must be tables"),
        ("[[layers]]\nname = 'conv1'\nkernal = 3", "layer 1: unknown 'kernal'; did you mean 'kernel'?"),
        ("[[layers]]\nname = 'conv1'\nkernel = -3", "layer 1 (conv1): kernel='-3'; must be a whole number"),
        ("[[layers]]\nname = 'conv1'\noutput = '55x55 MB GB'", "must be a shape such as 55x55x96"),
        ("[[layers]]\nname = 'conv1'\nparameters = '3 MB GB 4'", "must be a number such as 34,848"),
        ("[[layers]]\nkernel = 3", "layer 1: name=None"),
        ("[[totals]]\nof = 'everything'", "total 1: of='everything'"),
        (
            "[[layers]]\nname = 'conv1'\n[[totals]]\nof = ['conv1', 'conv7']\nweights = 3",
            "total 1: of=['conv1', 'conv7']: no layer 'conv7' is listed; did you mean 'conv1'?",
        ),
        ("[[relations]]\ntext = '3 x 4'", "relation 1: text='3 x 4'"),
        ("network = 'resnet'", "network 'resnet': unknown"),
        ("batch = 0", "batch=0; must be a whole number of at least 1"),
        ("[[layers]]\nname = 'c'\nkind = 'lstm'", "kind='lstm'"),
        ("x = " + "[" * 4000 + "]" * 4000, "not TOML"),
        ("[[layers]]\nname = 'c'\n" * 3000, "3,000 layers; at most 2,000"),
        ("[[layers]]\nname = 'conv1'\ninput = '0x5x3'", "must be a shape"),
        ("[[layers]]\nname = 'conv1'\nparameters = true", "must be a number"),
    ],
)
def test_what_is_no_claim_is_one_line_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ClaimsError) as caught:
        audit(read_toml(text, where="claims.toml"))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_claims_are_one_line(tmp_path: Path) -> None:
    for name, data, told in (
        ("large.md", b"| a | b |\n" * 300_000, "over 2,000,000 bytes"),
        ("binary.toml", b"\xff\xfe\x00", "not text in UTF-8"),
        ("empty.csv", b"", "no table of layers"),
        ("prose.md", b"AlexNet has 8 layers.\n", "no table of layers"),
        ("other.pdf", b"%PDF", "its ending"),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ClaimsError, match=told):
            read_claims(path)
    with pytest.raises(ClaimsError, match="cannot be read"):
        read_claims(tmp_path / "absent.toml")


def test_csv_with_semicolons_depth_first_and_suffixes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(
        "Layer;Kernel;Stride;Padding;Output Shape;Param #\n"
        "conv1;11x11;4;0;(None, 96, 55, 55);34.9K\n"
        "pool1;3;2;0;[-1, 96, 27, 27];0\n"
        "conv2;5x5;1;2;256@27x27;614,656\n",
        encoding="utf-8",
    )
    claims = read_claims(path)
    assert [layer.shape("output") for layer in claims.layers] == [(96, 55, 55), (96, 27, 27), (27, 27, 256)]
    text = path.read_text(encoding="utf-8").replace("conv1;", "input;;;;227x227x3;\nconv1;", 1)
    path.write_text(text, encoding="utf-8")
    assert not audit(read_claims(path)).errors


# Tables as they stand in blogs, answers and framework summaries, with the findings that are not simply right.
BLOG = """
| Layer | | Feature Map | Size | Kernel Size | Stride | Activation |
|---|---|---|---|---|---|---|
| Input | Image | 1 | 227x227x3 | - | - | - |
| 1 | Convolution | 96 | 55 x 55 x 96 | 11x11 | 4 | relu |
| | Max Pooling | 96 | 27 x 27 x 96 | 3x3 | 2 | relu |
| 2 | Convolution | 256 | 27 x 27 x 256 | 5x5 | 1 | relu |
"""
KERAS = """
| Layer (type) | Output Shape | Param # |
|---|---|---|
| conv2d (Conv2D) | (None, 55, 55, 96) | 34944 |
| max_pooling2d (MaxPooling2D) | (None, 27, 27, 96) | 0 |
| conv2d_1 (Conv2D) | (None, 27, 27, 256) | 614656 |
| max_pooling2d_1 (MaxPooling2D) | (None, 13, 13, 256) | 0 |
| conv2d_2 (Conv2D) | (None, 13, 13, 384) | 885121 |
| conv2d_3 (Conv2D) | (None, 13, 13, 384) | 1327488 |
| conv2d_4 (Conv2D) | (None, 13, 13, 256) | 884992 |
| max_pooling2d_2 (MaxPooling2D) | (None, 6, 6, 256) | 0 |
| flatten (Flatten) | (None, 9216) | 0 |
| dense (Dense) | (None, 4096) | 37752832 |
| dropout (Dropout) | (None, 4096) | 0 |
| dense_1 (Dense) | (None, 4096) | 16781321 |
| dense_2 (Dense) | (None, 1000) | 4097000 |
| Total | | 62,378,344 |
"""
SAME = """
| Layer | Filters | Kernel | Stride | Padding | Output |
|---|---|---|---|---|---|
| Input | | | | | 224x224x3 |
| Conv1 | 96 | 11x11 | 4 | valid | 54x54x96 |
| Pool1 | | 3x3 | 2 | valid | 26x26x96 |
| Conv2 | 256 | 5x5 | 1 | same | 26x26x256 |
| Pool2 | | 3x3 | 2 | valid | 13x13x256 |
"""


def test_one_misprinted_output_does_not_condemn_the_layer_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text(SAME.replace("13x13x256", "12x12x256").replace("26x26x96", "27x27x96"), encoding="utf-8")
    assert statuses(flagged(path)) == {("Pool1", "output"): "error"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BLOG, {("2", "output"): "unsupported"}),  # its padding of 2 is not printed
        (
            KERAS,
            {("conv2d_2 (Conv2D)", "parameters"): "error", ("dense_1 (Dense)", "parameters"): "error"},
        ),
        (SAME, {("Pool2", "output"): "error"}),  # (26 - 3)/2 + 1 is 12 and a half
    ],
    ids=["blog", "keras", "same and valid"],
)
def test_tables_with_the_headings_that_people_use(
    text: str, expected: dict[tuple[str, str], str], tmp_path: Path
) -> None:
    path = tmp_path / "table.md"
    path.write_text(text, encoding="utf-8")
    assert statuses(flagged(path)) == expected


COMPOSITE = """
| Layer | Kernel | Stride | Padding | Output | Parameters |
|---|---|---|---|---|---|
| Input | - | - | - | 227x227x3 | 0 |
| Conv1 + ReLU | 11x11 | 4 | 0 | 55x55x96 | 34,944 |
| MaxPool1, LRN | 3x3 | 2 | 0 | 27x27x96 | 0 |
| Conv2 and ReLU | 5x5 | 1 | 2 | 27x27x256 | 614,656 |
| MaxPool2 (overlapping) | 3x3 | 2 | 0 | 13x13x256 | 0 |
| Conv3 + ReLU | 3x3 | 1 | 1 | 13x13x384 | 885,120 |
| LRN (after conv3) | - | - | - | 13x13x384 | - |
| Conv4 + ReLU | 3x3 | 1 | 1 | 13x13x384 | 1,327,488 |
| Conv5 + ReLU | 3x3 | 1 | 1 | 13x13x256 | 884,992 |
| MaxPool5 | 3x3 | 2 | 0 | 6x6x256 | 0 |
| FC6 + Dropout | - | - | - | 4096 | 37,752,832 |
| FC7 with dropout | - | - | - | 4096 | 16,781,312 |
| FC8 (softmax) | - | - | - | 1000 | 4,097,000 |
| | | | | | 62,378,344 |
"""


def test_a_layer_named_with_what_follows_it_is_judged_as_itself(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text(COMPOSITE, encoding="utf-8")
    assert flagged(path) == {}
    path.write_text(COMPOSITE.replace("37,752,832", "37,748,763"), encoding="utf-8")
    assert statuses(flagged(path))["FC6 + Dropout", "parameters"] == "error"


def test_the_last_row_without_a_name_is_the_total_and_another_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text(COMPOSITE.replace("62,378,344", "62,378,434"), encoding="utf-8")
    assert statuses(flagged(path)) == {("total", "parameters"): "error"}
    path.write_text(COMPOSITE.replace("| MaxPool5 |", "| |"), encoding="utf-8")
    with pytest.raises(ClaimsError, match="row 10: has no name; must have one, or be the last"):
        read_claims(path)


def test_an_empty_first_cell_is_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text(
        "|#|Layer|Kernel|Stride|Output|\n|-|-|-|-|-|\n||Conv1|11x11|4|55x55x96|\n", encoding="utf-8"
    )
    (layer,) = read_claims(path).layers
    assert (layer.name, layer.kind, layer.shape("output")) == ("Conv1", "conv", (55, 55, 96))


def test_figures_beyond_measure_are_judged_without_a_traceback() -> None:
    layer = {
        "name": "conv1",
        "input": "227x227x3",
        "filters": 96,
        "kernel": 11,
        "stride": 0,
        "padding": "same",
    }
    claims = {"layers": [layer | {"output": "55x55x96"}], "relations": [{"text": "(9^64)^64 / 7 = 1"}]}
    assert audit(from_mapping(claims, where="t")).findings


@pytest.mark.parametrize("name", NETWORKS)
def test_the_table_that_summary_prints_of_a_network_is_right(name: str, tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text(summarize(NETWORKS[name]).markdown(), encoding="utf-8")
    assert flagged(path, name) == {}


@pytest.mark.parametrize(
    ("output", "expected"),
    [("1x1x256", "unsupported"), ("256", "unsupported"), ("6x6x256", None), ("1x1x512", "error")],
)
def test_of_an_average_pooling_the_depth_is_judged(output: str, expected: str | None, tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    row = f"| Global average pooling | - | - | - | {output} | 0 |\n"
    path.write_text(COMPOSITE.replace("| FC6", row + "| FC6").partition("| FC6")[0], encoding="utf-8")
    found = statuses(flagged(path))
    assert found == ({("Global average pooling", "output"): expected} if expected else {})


# Written for these tests: forms that people use, with slips. The figures are those of Krizhevsky et al. 2012.
FORMS = """
| # | Layer | Filter size | # Filters | Stride | Pad | Inputs | Outputs | Params (K) | Memory (MB) | Cost |
|---|---|---|---|---|---|---|---|---|---|---|
| 1 | Input | - | 3 | - | - | - | 227x227x3 | 0 | 0.6 | 1 |
| 2 | conv1 | 11x11x3 | 48x2 | 4 | 0 | 227X227X3 | 55X55X96 | 34.9 | 0.13 | 2 |
| 3 | pool1 | 3x3 | 96 | 2 | 0 | 55x55x48x2 | 27x27x96 (pool) | 0 | 0 | 2 |
| 4 | conv2 | 5x5x32 | 256 | 1 | 2 | 27x27x96 | 27x27x256 | (5x5x96) x 256 = 611,400 | 2.4 | 7 |
| 5 | pool2 | 3x3 | 255 | 2 | 0 | 27x27x256 | 13x13x256 | - | | 9 |
| 6 | fc6 | - | 4,096 neurons | - | - | - | 4,096 neurons | lots | 708 | 4 |
"""


def test_every_cell_of_a_table_gets_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text(FORMS, encoding="utf-8")
    findings = audit(read_claims(path)).findings
    assert statuses(flagged(path)) == {
        ("conv2", "kernel"): "error",  # a filter reaches over 96 channels
        ("conv2", "parameters"): "error",
        ("relation", "text"): "error",
        ("pool2", "filters"): "error",
        ("fc6", "parameters"): "unsupported",  # cannot be read
        ("table", "Cost"): "unsupported",
    }
    cells = [cell.strip() for line in FORMS.strip().splitlines()[2:] for cell in line.split("|")[3:-2]]
    # A relation in a cell has its own finding, and so has the column that is none.
    assert len(findings) == sum(cell not in ("", "-") for cell in cells) + 1 + 1


@pytest.mark.parametrize(("kernel", "true"), [("5x5x48", None), ("5x5x96", None), ("5x5x64", "5x5x48")])
def test_a_filter_s_depth_counts_where_its_weights_need_groups(
    kernel: str, true: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "table.md"
    path.write_text(
        "| Layer | Input | Filters | Kernel | Stride | Padding | Output | Weights |\n"
        "|---|---|---|---|---|---|---|---|\n"
        f"| conv2 | 27x27x96 | 256 | {kernel} | 1 | 2 | 27x27x256 | 307,200 |\n",  # 5 x 5 x 48 x 256
        encoding="utf-8",
    )
    found = flagged(path)
    assert found["conv2", "weights"].status == "variant"
    told = found.get(("conv2", "kernel"))
    assert (told and (told.status, told.correction)) == (true and ("error", true))


@pytest.mark.parametrize("name", ["Input", "In"])
def test_a_table_may_list_its_layers_from_the_output_down_to_the_input(name: str, tmp_path: Path) -> None:
    *head, entering, first, second, third = (
        "| Layer | Type | Maps | Size | Kernel size | Stride | Padding |",
        "|---|---|---|---|---|---|---|",
        f"| {name} | Input | 3 (RGB) | 227 x 227 | - | - | - |",
        "| C1 | Convolution | 96 | 55 x 55 | 11 x 11 | 4 | valid |",
        "| S2 | Max pooling | 96 | 27 x 27 | 3 x 3 | 2 | valid |",
        "| F3 | Fully connected | - | 4,096 | - | - | - |",
    )
    path = tmp_path / "table.md"
    path.write_text("\n".join((*head, third, second, first, entering)), encoding="utf-8")
    assert flagged(path) == {}
    path.write_text(path.read_text(encoding="utf-8").replace("55 x 55", "54 x 54"), encoding="utf-8")
    assert statuses(flagged(path)) == {("C1", "output"): "error"}


@pytest.mark.parametrize("entering", ["6x6x256", ""], ids=["told", "from the layer before"])
@pytest.mark.parametrize(("kernel", "status"), [("6x6", None), ("6x6x256", None), ("5x5", "unsupported")])
def test_a_fully_connected_layer_may_be_written_as_a_convolution_over_all_of_its_input(
    entering: str, kernel: str, status: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "table.md"
    path.write_text(
        "| Layer | Input | Filters | Kernel | Stride | Padding | Output | Weights |\n"
        "|---|---|---|---|---|---|---|---|\n"
        "| pool5 | 13x13x256 | | 3x3 | 2 | 0 | 6x6x256 | 0 |\n"
        f"| fc6 | {entering} | 4096 | {kernel} | 1 | 0 | 1x1x4096 | 37,748,736 |\n",  # 6 x 6 x 256 x 4096
        encoding="utf-8",
    )
    assert statuses(flagged(path)) == ({} if status is None else {("fc6", "kernel"): status})


# Written for these tests: the layers of Krizhevsky et al. 2012 without groups, told as people tell them.
IN_WORDS = """
| What | Comes out |
|---|---|
| Input | 227x227x3 |
| Conv1: 96 filters of 11x11, stride 4, pad 0 | 55x55x96 |
| Pool1 (3x3/2) | 27x27x96 |
| Conv2: 256 5x5 kernels at stride 1, padding 2 | 27x27x256 |
| Pool2 (max, 3x3, s=2) | 13x13x256 |
| Conv3: 384@3x3, p=1 | 13x13x384 |
| Conv4: 3x3, same padding, 384 feature maps | 13x13x384 |
| FC6: 4096 units | 4096 |
"""


@pytest.mark.parametrize("headings", [("Layer", "Output"), ("Layer", "Output Shape")])
def test_what_a_cell_tells_in_words_is_judged(headings: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    text = IN_WORDS.replace("What", headings[0]).replace("Comes out", headings[1])
    path.write_text(text, encoding="utf-8")
    assert flagged(path) == {}
    told = [4, 2, 4, 2, 3, 2, 1]  # figures, a layer at a time; "same" is none
    assert len(audit(read_claims(path)).findings) == sum(told) + 1 + len(told)
    for right, slip, at in (
        ("96 filters", "69 filters", ("Conv1", "filters")),  # of the input's and this output's network
        ("stride 4", "stride 3", ("Conv1", "stride")),
        ("(3x3/2)", "(3x3/3)", ("Pool1", "stride")),  # what comes behind needs the output
        ("padding 2", "padding 1", ("Conv2", "padding")),
        ("384@3x3", "383@3x3", ("Conv3", "output")),
        ("4096 units", "4069 units", ("FC6", "output")),
    ):
        path.write_text(text.replace(right, slip), encoding="utf-8")
        assert statuses(flagged(path)) == {at: "error"}, slip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("96 filters of size 11x11, stride of 4", {"filters": "96", "kernel": "11x11", "stride": "4"}),
        ("256 5 x 5 filters with stride 1", {"filters": "256", "kernel": "5 x 5", "stride": "1"}),
        ("3x3 max pool, stride 2x2", {"kernel": "3x3", "stride": "2x2"}),
        ("5×5, pad=2, 2 groups", {"kernel": "5×5", "padding": "2", "groups": "2"}),
        ("1,024 channels", {"filters": "1,024"}),
        ("dense, 4,096 neurons + ReLU6", {"units": "4,096"}),
        ("Conv2D", {}),
        ("", {}),
        ("3x3 by steps of 2", None),
        ("3x3, then 5x5", None),
        ("dropout 0.5", None),
    ],
)
def test_words_are_read_whole_or_not_at_all(text: str, told: dict[str, str] | None) -> None:
    assert described(text) == told


def test_what_two_cells_tell_differently_is_said(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text(
        "| Layer | Details | Kernel | Output |\n|-|-|-|-|\n| Input | colour | | 227x227x3 |\n"
        "| Conv1 | 96 filters, 7x7 | 11x11, stride 4 | 55x55x96 |\n"
        "| Pool1 | 3x3 | 3x3, stride 2 | 27x27x96 |\n| LRN | n=5 | | 27x27x96 |\n",
        encoding="utf-8",
    )
    found = flagged(path)
    assert statuses(found) == {("Conv1", "description"): "unsupported", ("LRN", "description"): "unsupported"}
    assert "another cell of the row says 11x11," in found["Conv1", "description"].reason


def test_prose_beside_layers_is_no_table_of_figures(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text("| Name | Description |\n|-|-|\n| conv1 | sees 11 pixels |\n", encoding="utf-8")
    with pytest.raises(ClaimsError, match="no table of layers"):
        read_claims(path)


def test_two_networks_in_a_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text(SAME + "\n\n" + COMPOSITE, encoding="utf-8")
    with pytest.raises(ClaimsError, match=r"table\.md: two tables begin with an input; give each a file"):
        read_claims(path)


def test_a_second_table_of_the_same_layers_adds_to_the_first(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text(
        "| Layer | Type | Kernel | # Filters | Stride | Padding | Output |\n|-|-|-|-|-|-|-|\n"
        "| conv1 | Conv2D | 11x11 | 96 | 4 | 0 | 55x55x96 |\n"
        "| bn1 | BatchNormalization | | | | | 55x55x96 |\n"
        "| pool1 | maxpool | 3 | | 2 | 0 | 27x27x96 |\n\nThe figures:\n\n"
        "| Layer | Params | Output | MACs (M) | Receptive field | Its stride |\n|-|-|-|-|-|-|\n"
        "| conv1 | 34,944 | 54x54x96 | 105.4 | 11 | 4 |\n| bn1 | 385 | | | 11 | 4 |\n"
        "| pool1 | 0 | | | 20 | 8 |\n| Total | 35,328 | | | | |\n",
        encoding="utf-8",
    )
    found = flagged(path, "paper")
    assert statuses(found) == {
        ("conv1", "output"): "unsupported",  # said twice: 55x55x96 is judged
        ("bn1", "parameters"): "error",  # 4 x 96
        ("pool1", "receptive_field"): "error",  # 11 + (3 - 1) x 4
        ("total", "parameters"): "error",  # of the printed 385 it is 35,329
    }
    assert found["pool1", "receptive_field"].correction == "19"
    path.write_text(path.read_text().replace("385", "384").replace("20", "19").replace("54x54x96", ""))
    assert flagged(path, "paper") == {}


@pytest.mark.parametrize(
    ("heading", "cell", "status"),
    [
        ("Params (M)", "0.035", "rounded"),
        ("Params [x10^3]", "34.9", "rounded"),
        ("Params (×10³)", "34.9", "rounded"),
        ("Params (K)", "35.9", "error"),
        ("Params (KB)", "139.8", "rounded"),
        ("Params", "140 KB", "rounded"),
        ("Params", "12%", "unsupported"),
        ("Params", "30000", "error"),  # a round number is not as good as right
        ("Memory (B)", "139776", "ok"),
    ],
)
def test_units_in_headings_are_those_of_the_figures(
    heading: str, cell: str, status: str, tmp_path: Path
) -> None:
    path = tmp_path / "table.md"
    path.write_text(
        f"| Layer | Output | Filter | Filters | Stride | {heading} |\n|-|-|-|-|-|-|\n"
        f"| Input | 227x227 | | | | |\n| conv1 | 55x55 | 11x11 | 96 | 4 | {cell} |\n",
        encoding="utf-8",
    )
    (finding,) = [
        each for each in audit(read_claims(path)).findings if each.field in ("parameters", "bytes", "memory")
    ]
    assert finding.status == status


def test_what_is_not_read_is_not_taken_for_the_networks(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text(
        COMPOSITE.partition("| MaxPool1")[0] + "| conv1b | 3x3 by steps of 2 | 1 | 0 | 53x53x96 | 83,040 |\n",
        encoding="utf-8",
    )
    assert set(statuses(flagged(path)).values()) == {"unsupported"}


def test_a_corrected_total_is_of_the_true_parts(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text(
        COMPOSITE.replace("4,097,000", "4,097,999").replace("62,378,344", "62,000,001"), encoding="utf-8"
    )
    total = flagged(path)["total", "parameters"]
    assert (total.correction, "62,379,343" in total.reason) == ("62,378,344", True)
