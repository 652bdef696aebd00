"""Torch modules that are not ours: figures by hand and from FlopCounterMode, odd modules, those that fail."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.flop_counter import FlopCounterMode

from alexnet import NETWORKS, NOTES, Network, NetworkError, summarize
from alexnet.learning.model import AlexNet
from alexnet.learning.module_loading import parse_input
from alexnet.learning.modules import ModuleMisfitError, ModuleSummary, summarize_module

Shape = tuple[int, ...]


class Wired(nn.Module):
    """Modules under names, and what to do with them."""

    def __init__(self, forward: Callable[[Any, Tensor], object], **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.wiring = forward

    def forward(self, batch: Tensor) -> object:
        return self.wiring(self, batch)


class Scale(nn.Module):
    """A leaf of nobody's known type, with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(5))

    def forward(self, batch: Tensor) -> Tensor:
        return batch * self.factor.sum()


def numbers(module: nn.Module) -> int:
    """All parameters, once each, as torch counts them."""
    return sum(parameter.numel() for parameter in module.parameters())


def counted_by_torch(module: nn.Module, shape: Shape) -> int:
    """MACs of one picture, from a run on the CPU."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(torch.zeros(1, shape[-1], *shape[:-1]))
    return int(counter.get_total_flops() // 2)


def layers_of(model: AlexNet) -> nn.Module:
    """The model without its normalisation, which takes bytes: a torch module like anyone's."""
    return nn.Sequential(*list(model.children())[1:])


def row(summary: ModuleSummary, name: str) -> Any:
    [found] = [each for each in summary.layers if each.name == name]
    return found


# --- what is counted --------------------------------------------------------------------------------------

# module, input (depth last), output, MACs by hand, parameters by hand
BY_HAND: dict[str, tuple[Callable[[], nn.Module], Shape, Shape, int, int]] = {
    "conv1 of the notes": (
        *(lambda: nn.Conv2d(3, 96, 11, 4), (227, 227, 3), (55, 55, 96)),
        *(105_415_200, 34_848 + 96),
    ),
    "no bias": (lambda: nn.Conv2d(3, 4, 3, bias=False), (5, 7, 3), (3, 5, 4), 15 * 4 * 27, 4 * 27),
    "groups": (lambda: nn.Conv2d(8, 12, 3, groups=4), (6, 6, 8), (4, 4, 12), 16 * 12 * 18, 12 * 18 + 12),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8), (6, 6, 8), (4, 4, 8), 16 * 8 * 9, 8 * 9 + 8),
    "dilation": (lambda: nn.Conv2d(3, 4, 3, dilation=2), (9, 9, 3), (5, 5, 4), 25 * 4 * 27, 4 * 27 + 4),
    "uneven window": (
        *(lambda: nn.Conv2d(2, 4, (3, 5), (1, 2), (0, 2)), (6, 8, 2), (4, 4, 4)),
        *(16 * 4 * 30, 4 * 30 + 4),
    ),
    "padding same": (
        *(lambda: nn.Conv2d(2, 4, 3, padding="same"), (6, 8, 2), (6, 8, 4), 48 * 4 * 18, 4 * 18 + 4),
    ),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3), (100, 4), (98, 6), 98 * 6 * 12, 6 * 12 + 6),
    "conv3d": (
        *(lambda: nn.Conv3d(2, 5, 3, padding=1), (8, 7, 6, 2), (8, 7, 6, 5)),
        *(336 * 5 * 54, 5 * 54 + 5),
    ),
    # Each of the 25 x 8 values of the input is multiplied by its 4 kernels of 3 x 3.
    "transposed": (
        *(lambda: nn.ConvTranspose2d(8, 4, 3, 2), (5, 5, 8), (11, 11, 4), 25 * 8 * 36, 8 * 36 + 4),
    ),
    "linear": (lambda: nn.Linear(1024, 4096), (1024,), (4096,), 4_194_304, 4_194_304 + 4096),
    # torch's (1, 4, 5, 7): 20 vectors of 7
    "linear on a volume": (lambda: nn.Linear(7, 3), (5, 7, 4), (4, 5, 3), 20 * 21, 24),
    "batch norm": (lambda: nn.BatchNorm2d(6), (4, 4, 6), (4, 4, 6), 0, 12),
    "group norm": (lambda: nn.GroupNorm(2, 6), (4, 4, 6), (4, 4, 6), 0, 12),
    "layer norm of pictures": (lambda: nn.LayerNorm([6, 4, 5]), (4, 5, 6), (4, 5, 6), 0, 240),
    "pool": (lambda: nn.MaxPool2d(3, 2), (55, 55, 96), (27, 27, 96), 0, 0),
    "adaptive pool": (lambda: nn.AdaptiveAvgPool2d((2, 3)), (5, 5, 4), (2, 3, 4), 0, 0),
    "prelu": (lambda: nn.PReLU(4), (5, 5, 4), (5, 5, 4), 0, 4),
    "flatten": (nn.Flatten, (6, 6, 256), (9216,), 0, 0),
    "nothing": (nn.Sequential, (6, 6, 2), (6, 6, 2), 0, 0),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_one_layer_is_as_counted_by_hand(case: str) -> None:
    make, entering, leaving, macs, parameters = BY_HAND[case]
    module = make()
    summary = summarize_module(module, entering)
    [only] = summary.layers
    assert (only.output, only.macs, only.weights + only.biases) == (leaving, macs, parameters)
    assert (summary.macs, summary.parameters) == (macs, parameters)
    assert summary.parameters == numbers(module)
    assert summary.torch_macs == macs == counted_by_torch(module, entering)
    # A rank of 4, with the depth second, is told with the depth last, unless it is a Linear's.
    if case != "linear on a volume":
        assert only.input == entering


def test_windows_are_told_as_the_notes_tell_them() -> None:
    told = row(summarize_module(nn.Conv2d(2, 4, (3, 5), 2, 1, (2, 1), 2), (9, 9, 2)), "Conv2d")
    assert (told.kernel, told.filters, told.stride, told.padding) == ((3, 5), 4, 2, 1)
    assert (told.groups, told.dilation) == (2, (2, 1))
    pool = row(summarize_module(nn.MaxPool2d(3, 2), (9, 9, 2)), "MaxPool2d")
    assert (pool.kernel, pool.filters, pool.stride, pool.padding) == (3, None, 2, 0)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=lambda network: network.name)
def test_every_network_of_the_zoo_comes_out_as_its_description_says(network: Network) -> None:
    with torch.device("meta"):
        model = AlexNet(network)
    described, seen = summarize(network), summarize_module(layers_of(model), network.input)
    assert (seen.weights, seen.biases, seen.macs) == (described.weights, described.biases, described.macs)
    assert [each.output for each in seen.layers] == [each.output for each in described.layers]
    assert seen.torch_macs == seen.macs
    assert seen.uncounted == ()


@st.composite
def stacks(draw: st.DrawFn) -> tuple[list[nn.Module], Shape]:
    """Convolutions plain and transposed, pools, norms, activations, one upon the other."""
    depth = draw(st.integers(1, 4))
    shape = (draw(st.integers(12, 20)), draw(st.integers(12, 20)), depth)
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["conv", "up", "pool", "norm", "relu"]))
        if kind == "conv":
            groups = draw(st.sampled_from([each for each in (1, 2, depth) if depth % each == 0]))
            filters = groups * draw(st.integers(1, 4))
            layers.append(
                nn.Conv2d(
                    *(depth, filters, draw(st.integers(1, 3)), draw(st.integers(1, 2))),
                    padding=2,
                    groups=groups,
                    dilation=draw(st.integers(1, 2)),
                    bias=draw(st.booleans()),
                )
            )
            depth = filters
        elif kind == "up":
            filters = draw(st.integers(1, 4))
            layers.append(
                nn.ConvTranspose2d(depth, filters, draw(st.integers(1, 3)), 1, bias=draw(st.booleans()))
            )
            depth = filters
        elif kind == "pool":
            layers.append(nn.AvgPool2d(2, 1))
        else:
            layers.append(nn.BatchNorm2d(depth) if kind == "norm" else nn.ReLU(inplace=True))
    return layers, shape


@given(stacks())
@settings(max_examples=40, deadline=None)
def test_any_stack_of_layers_is_as_torch_runs_and_counts_it(stack: tuple[list[nn.Module], Shape]) -> None:
    layers, shape = stack
    summary = summarize_module(nn.Sequential(*layers), shape)
    batch = torch.zeros(1, shape[-1], *shape[:-1])
    for layer, told in zip(layers, summary.layers, strict=True):
        batch = layer.eval()(batch)
        _, depth, height, width = batch.shape
        assert told.output == (height, width, depth)
        assert told.activation_bytes == 4 * batch.numel()
        assert (told.weights, told.biases) == (
            sum(each.numel() for name, each in layer.named_parameters() if name == "weight"),
            sum(each.numel() for name, each in layer.named_parameters() if name == "bias"),
        )
    assert summary.macs == summary.torch_macs == counted_by_torch(nn.Sequential(*layers), shape)


# --- odd modules ------------------------------------------------------------------------------------------


def test_a_module_that_is_called_twice_has_two_rows_and_is_counted_once() -> None:
    module = Wired(lambda self, batch: self.fc(self.fc(batch)), fc=nn.Linear(8, 8))
    summary = summarize_module(module, (8,))
    assert [(each.name, each.weights, each.biases, each.shared, each.macs) for each in summary.layers] == [
        ("fc", 64, 8, 0, 64),
        ("fc", 0, 0, 72, 64),
    ]
    assert (summary.parameters, summary.macs) == (72, 128)
    assert "Parameters that an earlier row has counted: fc (72)." in summary.text()


def test_a_module_under_two_names_and_a_shared_weight_are_counted_once() -> None:
    tied = Wired(
        lambda self, batch: self.second(self.first(batch)), first=nn.Linear(6, 6), second=nn.Linear(6, 6)
    )
    tied.get_submodule("second").weight = tied.get_parameter("first.weight")
    same = nn.ReLU()
    summary = summarize_module(nn.Sequential(tied, same, same), (6,))
    assert row(summary, "0.second").shared == 36
    assert summary.parameters == numbers(tied) == 36 + 6 + 6
    assert [each.name for each in summary.layers[2:]] == ["1", "1"]


def test_nested_modules_are_named_by_their_path() -> None:
    block = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Sequential())
    summary = summarize_module(nn.Sequential(block, nn.Flatten()), (8, 8, 3))
    assert [each.name for each in summary.layers] == ["0.0.0", "0.0.1", "0.1", "1"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda out: (out, out),
        lambda out: {"logits": out},
        lambda out: [None, {"a": (out,)}],
    ],
    ids=["tuple", "dict", "nested"],
)
def test_what_a_module_gives_may_be_wrapped(wrap: Callable[[Tensor], object]) -> None:
    class Wrapping(nn.Module):
        def forward(self, batch: Tensor) -> object:
            return wrap(batch)

    inner = Wrapping()
    summary = summarize_module(Wired(lambda self, batch: self.inner(batch), inner=inner), (4, 5, 3))
    assert row(summary, "inner").output == (4, 5, 3)


def test_a_tensor_may_come_by_keyword_or_not_at_all() -> None:
    class Anchor(nn.Module):
        def forward(self) -> int:
            return 3

    module = Wired(
        lambda self, batch: self.conv(input=batch)[..., : self.anchor()],
        conv=nn.Conv2d(3, 4, 3),
        anchor=Anchor(),
    )
    summary = summarize_module(module, (6, 6, 3))
    assert row(summary, "conv").input == (6, 6, 3)
    assert (row(summary, "anchor").input, row(summary, "anchor").output) == (None, None)
    assert "-" in summary.text()


@pytest.mark.parametrize(
    ("module", "shape", "kind"),
    [
        (
            Wired(lambda self, x: self.a(x, x, x), a=nn.MultiheadAttention(8, 2, batch_first=True)),
            (8, 5),
            "Multi",
        ),
        (nn.LSTM(8, 3, batch_first=True), (8, 5), "LSTM"),
        (nn.Sequential(Scale()), (4, 4, 3), "Scale"),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (4, 4, 3), "Upsample"),
    ],
    ids=["attention", "lstm", "own", "upsample"],
)
def test_what_cannot_be_counted_is_listed_and_not_zero(module: nn.Module, shape: Shape, kind: str) -> None:
    summary = summarize_module(module, shape)
    [only] = summary.layers
    assert only.macs is None
    assert only.kind.startswith(kind)
    assert summary.parameters == only.weights + only.biases == numbers(module)
    assert f"MACs not counted, and not in the total: {only.kind} ({only.name})." in summary.text()
    line = next(line for line in summary.text().splitlines() if line.startswith(f"{only.name} "))
    assert line.endswith("not counted")
    [told] = csv.DictReader(io.StringIO(summary.csv()))
    assert told["macs"] == ""
    assert json.loads(summary.json())["layers"][0]["macs"] is None


def test_a_transformer_s_linear_layers_are_counted_and_its_attention_is_not() -> None:
    module = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
    summary = summarize_module(module, (16, 5))  # as torch has it: 5 vectors of 16
    assert (row(summary, "linear1").macs, row(summary, "linear2").macs) == (5 * 16 * 24, 5 * 24 * 16)
    assert [each.name for each in summary.uncounted] == ["self_attn"]
    assert summary.parameters == numbers(module)
    # 5 x 16 x 48 into query, key and value, 5 x 16 x 16 out again; 2 heads of 5 x 5 x 8, twice.
    assert summary.torch_macs == summary.macs + 5 * 16 * 48 + 5 * 16 * 16 + 2 * 2 * 5 * 5 * 8


def test_parameters_of_no_row_are_told_and_in_the_total() -> None:
    module = Wired(
        lambda self, batch: self.conv(batch) + self.offset, conv=nn.Conv2d(3, 4, 3), unused=nn.Linear(9, 2)
    )
    module.offset = nn.Parameter(torch.zeros(4, 1, 1))
    summary = summarize_module(module, (8, 8, 3))
    assert summary.outside == {"offset": 4, "unused.weight": 18, "unused.bias": 2}
    assert summary.parameters == numbers(module) == 3 * 4 * 9 + 4 + 4 + 20
    assert (summary.weights, summary.biases) == (108 + 4 + 18, 4 + 2)
    assert "In the total, but in no row: offset (4), unused.weight (18), unused.bias (2)" in summary.text()


def test_what_is_multiplied_between_modules_is_told_by_torch_s_own_count() -> None:
    module = Wired(lambda self, batch: self.fc(batch) @ torch.ones(6, 10), fc=nn.Linear(8, 6))
    summary = summarize_module(module, (8,))
    assert (summary.macs, summary.torch_macs) == (48, 48 + 60)
    assert "FlopCounterMode finds 108 MACs (half its FLOPs) where the rows have 48." in summary.text()
    assert "FlopCounterMode" not in summarize_module(nn.Linear(8, 6), (8,)).text()


def test_a_parametrized_layer_is_one_row() -> None:
    module = nn.Sequential(weight_norm(nn.Conv2d(3, 4, 3)), nn.ReLU())
    summary = summarize_module(module, (8, 8, 3))
    assert [each.name for each in summary.layers] == ["0", "1"]
    assert summary.macs == 36 * 108
    assert summary.parameters == numbers(module) == 108 + 4 + 4


def test_a_layer_of_a_known_type_with_layers_inside_has_rows_for_all() -> None:
    class Adapted(nn.Linear):
        def __init__(self) -> None:
            super().__init__(8, 8)
            self.down, self.up = nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False)

        def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's own name for it
            result: Tensor = super().forward(input) + self.up(self.down(input))
            return result

    module = nn.Sequential(Adapted())
    summary = summarize_module(module, (8,))
    assert {each.name: each.macs for each in summary.layers} == {"0.down": 16, "0.up": 16, "0": 64}
    assert summary.macs == summary.torch_macs
    assert summary.parameters == numbers(module) == 72 + 32


def test_a_lazy_layer_takes_its_size_from_what_arrives() -> None:
    summary = summarize_module(nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), (4, 4, 3))
    assert (summary.weights, summary.biases, summary.macs) == (480, 10, 480)


def test_a_norm_over_channels_that_come_second_does_not_turn_what_follows() -> None:
    class LayerNorm2d(nn.LayerNorm):
        """As torchvision's ConvNeXt has it."""

        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    module = nn.Sequential(nn.Conv2d(3, 8, 4, 4), LayerNorm2d(8), nn.GELU(), nn.Conv2d(8, 5, 2, 2))
    shapes = [each.output for each in summarize_module(module, (16, 24, 3)).layers]
    assert shapes == [(4, 6, 8), (4, 6, 8), (4, 6, 8), (2, 3, 5)]
    last = nn.Sequential(nn.Linear(3, 7), nn.LayerNorm(7), nn.ReLU())  # channels last throughout
    assert [each.output for each in summarize_module(last, (5, 3, 4)).layers] == [(4, 5, 7)] * 3


def test_indices_go_into_an_embedding() -> None:
    module = nn.Sequential(nn.Embedding(100, 16), nn.Linear(16, 4))
    summary = summarize_module(module, (7,))
    assert [(each.output, each.macs) for each in summary.layers] == [((7, 16), 0), ((7, 4), 7 * 64)]


def test_halves_and_doubles_are_fed_their_own_kind() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        assert summarize_module(nn.Linear(8, 2).to(dtype), (8,)).macs == 16


def test_what_asks_for_values_runs_on_the_cpu() -> None:
    def forward(self: Any, batch: Tensor) -> object:
        return self.zero(batch) if float(batch.sum()) == 0 else self.other(batch)

    module = Wired(forward, zero=nn.Linear(8, 2), other=nn.Linear(8, 3))
    assert [each.name for each in summarize_module(module, (8,)).layers] == ["zero"]


def test_a_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    summarize_module(module, (8, 8, 3))
    with pytest.raises(ModuleMisfitError):
        summarize_module(module, (8, 8, 4))
    assert all(each.training for each in module.modules())
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in module.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_a_module_that_cannot_be_copied_is_run_itself_and_left_as_it_was() -> None:
    class Uncopied(nn.Linear):
        def __deepcopy__(self, memo: Mapping[int, object]) -> nn.Module:
            raise TypeError("no copies")

    module = nn.Sequential(Uncopied(8, 2), nn.Dropout())
    assert summarize_module(module, (8,)).macs == 16
    assert all(each.training for each in module.modules())
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in module.modules())


def test_nothing_is_allocated_for_a_module_on_the_meta_device() -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(100_000, 1_000_000), nn.ReLU())
    assert summarize_module(module, (100_000,)).macs == 10**11


# --- modules that fail ------------------------------------------------------------------------------------


def misfit(module: nn.Module, shape: Shape) -> ModuleMisfitError:
    with pytest.raises(ModuleMisfitError) as caught:
        summarize_module(module, shape)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("module", "layer", "before", "words"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(10, 3)),
            *("2", ["0", "1"], ("Layer '2' (Linear): 800 arrived; must be 10 (its in_features=10)",)),
        ),
        (
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(800, 3)),
            *("1", ["0"], ("Layer '1' (Linear): 10x10x8 arrived; must be 800", "put nn.Flatten() before it")),
        ),
        (
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(6, 8, 3)),
            *("1", ["0"], ("10x10x8 arrived; must be 10x10x6 (its in_channels=6)",)),
        ),
        (
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(6)),
            *("1", ["0"], ("10x10x8 arrived; must be 10x10x6 (its num_features=6)",)),
        ),
        (
            nn.Sequential(nn.MaxPool2d(6), nn.Sequential(nn.Conv2d(3, 8, 5))),
            *("1.0", ["0"], ("Layer '1.0' (Conv2d): 2x2x3 arrived; RuntimeError: ", "5 x 5")),
        ),
        (
            Wired(lambda self, x: self.a(x).reshape(1, 7), a=nn.Conv2d(3, 8, 3)),
            *("Wired", ["a"], ("Layer 'Wired' (Wired): after 'a' gave 10x10x8: RuntimeError: ", "[1, 7]")),
        ),
        (
            Wired(lambda self, x: self.a(x, x), a=nn.ReLU()),
            *("a", [], ("Layer 'a' (ReLU): 12x12x3 arrived; TypeError: ",)),
        ),
        (Wired(lambda self, x: {"some": x}["none"]), "Wired", [], ("KeyError: 'none'",)),
        # These the meta device would take.
        (
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(16, 8, 2, 2)),
            *("1", ["0"], ("10x10x8 arrived; must be 10x10x16 (its in_channels=16)",)),
        ),
        (
            nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(3, 8, 3, 2, output_padding=2)),
            *("1", ["0"], ("12x12x3 arrived; RuntimeError: output padding must be smaller",)),
        ),
    ],
    ids=[
        *("features", "no flatten", "channels", "norm", "window", "between", "arguments", "code"),
        *("transposed", "output padding"),
    ],
)
def test_a_module_that_fails_is_shown_up_to_the_layer_that_failed(
    module: nn.Module, layer: str, before: list[str], words: tuple[str, ...]
) -> None:
    error = misfit(module, (12, 12, 3))
    assert error.layer == layer
    assert [each.name for each in error.summary.layers] == before
    for word in words:
        assert word in str(error)
    assert all(name in error.summary.text() for name in before)


def test_a_failure_that_a_module_catches_is_none() -> None:
    def forward(self: Any, batch: Tensor) -> object:
        try:
            return self.wrong(batch)
        except RuntimeError:
            return self.right(batch)

    inner = Wired(forward, wrong=nn.Linear(9, 2), right=nn.Linear(8, 2))
    summary = summarize_module(nn.Sequential(inner, nn.ReLU()), (8,))
    assert [each.name for each in summary.layers] == ["0.right", "1"]
    assert summary.outside == {"0.wrong.weight": 18, "0.wrong.bias": 2}


def test_our_own_networks_are_to_be_named() -> None:
    with pytest.raises(NetworkError, match=r"alexnet's own network 'notes'.*give its name"):
        summarize_module(AlexNet(NOTES), (227, 227, 3))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_torch_jit_made_is_refused() -> None:
    scripted = torch.jit.script(nn.Linear(4, 2))
    with pytest.raises(NetworkError, match=r"compiled by torch\.jit"):
        summarize_module(nn.Sequential(scripted), (4,))


def test_an_input_beyond_any_memory_is_one_line() -> None:
    assert "its input cannot be made: RuntimeError" in str(misfit(nn.ReLU(), (999_999_999, 999_999_999, 3)))


@pytest.mark.parametrize("shape", [(), (0, 3, 3), (-1,), (2.5, 3, 3)], ids=str)
def test_an_input_that_is_none_is_refused(shape: Shape) -> None:
    with pytest.raises(NetworkError, match="must be whole numbers"):
        summarize_module(nn.ReLU(), shape)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("3x224x320", (224, 320, 3)),  # as torch has it
        ("224x320x3", (224, 320, 3)),  # as the tables have it
        ("3X224X3", (224, 3, 3)),
        ("64x55x55", (55, 55, 64)),
        ("100x1x1", (1, 1, 100)),  # what a generator takes
        ("100x3x1", (3, 1, 100)),
        ("784", (784,)),
        ("16x100", (100, 16)),
        ("3x8x16x32", (8, 16, 32, 3)),
    ],
)
def test_the_depth_of_an_input_comes_first_or_is_told_by_its_size(text: str, shape: Shape) -> None:
    assert parse_input(text) == shape


@pytest.mark.parametrize(
    "text", ["", "x", "3x", "3x-1x2", "3x0x4", "3*4*5", "a", "3x224x224.0", "9" * 40, "²"]
)
def test_an_input_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(NetworkError, match=r"--input .*must be sizes such as 3x224x224"):
        parse_input(text)


# --- its forms --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd() -> ModuleSummary:
    return summarize_module(
        nn.Sequential(nn.Conv2d(3, 4, (3, 5), 2), Scale(), nn.Flatten()), (9, 9, 3), name="my:net"
    )


def test_the_table_has_the_columns_of_a_network_s(odd: ModuleSummary) -> None:
    def head(text: str) -> list[str]:
        return next(line.split() for line in text.splitlines() if line.startswith("layer "))

    assert head(odd.text()) == head(summarize(NOTES).text())
    assert odd.text().startswith("my:net: input 9x9x3 (height x width x depth)\n")
    assert str(odd) == odd.text()
    conv = next(line.split() for line in odd.text().splitlines() if line.startswith("0 "))
    assert conv == ["0", "9x9x3", "3x5", "4", "2", "0", "4x3x4", "180", "4", f"{12 * 180:,}"]


def test_markdown_is_one_table_of_one_width(odd: ModuleSummary) -> None:
    table = [line for line in odd.markdown().splitlines() if line.startswith("|")]
    assert len(table) == 2 + 3 + 1
    assert len({line.count("|") for line in table}) == 1


def test_csv_and_json_have_every_figure(odd: ModuleSummary) -> None:
    lines = list(csv.DictReader(io.StringIO(odd.csv())))
    told = json.loads(odd.json())
    assert [line["output"] for line in lines] == ["4x3x4", "4x3x4", "48"]
    assert [each["output"] for each in told["layers"]] == [[4, 3, 4], [4, 3, 4], [48]]
    assert told["totals"]["parameters"] == 180 + 4 + 5
    assert told["not_counted"] == ["1"]
    assert prod(told["input"]) == 243


def test_what_is_no_picture_is_told_as_torch_has_it() -> None:
    assert "input 1x4x100 (as torch has it)" in summarize_module(nn.Conv1d(4, 6, 3), (100, 4)).text()
