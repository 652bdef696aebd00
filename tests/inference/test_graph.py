"""The exported graph computes what torch computes: for every network of the zoo and for random ones."""

from __future__ import annotations

import ast
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import conv2d, linear

from alexnet import (
    NETWORKS,
    Conv,
    Dense,
    Flatten,
    LocalResponseNorm,
    MisfitError,
    Network,
    ReLU,
    edit,
    summarize,
)
from alexnet.architecture.layers import Layer
from alexnet.inference import graph, openvino_engine
from alexnet.inference.graph import (
    INPUT,
    OUTPUT,
    EightBits,
    Range,
    build,
    rounded_layers,
    takes_raw_pixels,
)
from alexnet.inference.onnx_engine import open_session
from alexnet.learning.model import AlexNet


def model_of(network: Network, *, seed: int = 0) -> AlexNet:
    """With biases that are not zero, and each channel's colours its own."""
    torch.manual_seed(seed)
    depth = network.input[2]
    model = AlexNet(
        network, mean=[90.0 + 7 * d for d in range(depth)], scale=[55.0 + d for d in range(depth)]
    )
    with torch.no_grad():
        for name, each in model.named_parameters():
            if name.endswith("bias"):
                each.normal_(std=0.1)
    return model.eval()


def tensors_of(model: AlexNet) -> dict[str, np.ndarray]:
    return {name: each.contiguous().numpy() for name, each in model.state_dict().items()}


def pictures_for(network: Network, count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *network.input), dtype=np.uint8)


def run(model: onnx.ModelProto, pictures: np.ndarray) -> np.ndarray:
    (logits,) = open_session(model.SerializeToString(), threads=1).run([OUTPUT], {INPUT: pictures})
    return np.asarray(logits)


def assert_same_as_torch(network: Network) -> None:
    model, pictures = model_of(network), pictures_for(network)
    exported = build(network, tensors_of(model))
    onnx.checker.check_model(exported, full_check=True)
    with torch.inference_mode():
        expected = model(torch.from_numpy(pictures)).numpy()
    np.testing.assert_allclose(run(exported, pictures), expected, atol=1e-5 * max(1.0, abs(expected).max()))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_the_zoo_gives_what_torch_gives(name: str) -> None:
    network = NETWORKS[name].with_classes(10)
    # VGG-16 on small pictures has every layer, in a twelfth of the time.
    assert_same_as_torch(edit(network, "input=64") if name == "vgg16" else network)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_random_networks_give_what_torch_gives(
    random_networks: st.SearchStrategy[Network], data: st.DataObject
) -> None:
    network = data.draw(random_networks)
    try:
        summarize(network)
    except MisfitError:
        assume(False)
    assert_same_as_torch(network)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_blocks_of_any_stride_give_what_torch_gives(small: Network, stride: int) -> None:
    network = edit(small, f"conv1.stride={stride}", "conv2.padding=3")
    assert takes_raw_pixels(network)
    assert_same_as_torch(network)


@pytest.mark.parametrize("name", [INPUT, OUTPUT])
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_layer_may_be_called_as_an_end_of_the_graph_is(small: Network, name: str, place: str) -> None:
    at = 0 if place == "first" else len(small.layers) - 1
    layers = [replace(each, name=name) if index == at else each for index, each in enumerate(small.layers)]
    assert_same_as_torch(replace(small, layers=tuple(layers)))


def test_only_windows_that_see_pixels_alone_take_them_raw(small: Network) -> None:
    assert takes_raw_pixels(small)
    for change in ("conv1.padding=1", "conv1.extra_padding=1"):
        assert not takes_raw_pixels(edit(small, change))
    assert not takes_raw_pixels(NETWORKS["torchvision"])


def test_what_a_layer_gives_can_be_seen(small: Network) -> None:
    model, pictures = model_of(small), pictures_for(small)
    session = open_session(build(small, tensors_of(model), seen=("relu1", "pool1")).SerializeToString())
    found = session.run(["relu1", "pool1"], {INPUT: pictures})
    flow: Tensor = torch.from_numpy(pictures)
    expected = {}
    with torch.inference_mode():
        for name, module in model.named_children():
            flow = expected[name] = module(flow)
    for name, values in zip(("relu1", "pool1"), found, strict=True):
        np.testing.assert_allclose(values, expected[name].numpy(), atol=1e-5)


# --- 8 bits -----------------------------------------------------------------------------------------------


def eight_bit_numbers(values: Tensor, to: Range) -> Tensor:
    """Rounded to 256 even steps from low to high, of which one is 0: by torch's own quantisation."""
    step = (to.high - to.low) / 255
    zero = round(-to.low / step)
    return torch.fake_quantize_per_tensor_affine(values, step, zero, 0, 255)


def rounded_weights(weight: Tensor) -> Tensor:
    """Each filter in steps of a 63rd of its largest weight."""
    steps = weight.abs().flatten(1).amax(dim=1) / 63
    zeros = torch.zeros(len(steps), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, steps, zeros, 0, -63, 63)


def by_hand(
    model: AlexNet, pictures: np.ndarray, ranges: Mapping[str, Range], in_float: frozenset[str] = frozenset()
) -> np.ndarray:
    """The network in torch, float64, with everything rounded as 8 bits would; raw pixels are exact."""
    layers = model.network.layers
    given = {name: each.double() for name, each in model.state_dict().items()}
    flow = (torch.from_numpy(pictures).double() - given["normalize.mean"]).permute(0, 3, 1, 2)
    raw = takes_raw_pixels(model.network)
    scale = given["normalize.scale"][:, None, None]
    readers = [layer.name for layer in layers if isinstance(layer, Conv | Dense)]
    if not raw:
        flow = flow / scale if readers[0] in in_float else eight_bit_numbers(flow / scale, ranges[INPUT])
    followers = [*(after for _, after in pairwise(layers)), None]
    for layer, after in zip(layers, followers, strict=True):
        if isinstance(layer, Conv | Dense):
            weight = given[f"{layer.name}.weight"]
            if layer is layers[0] and raw:
                weight = weight / scale
            if layer.name not in in_float:
                weight = rounded_weights(weight.float()).double()
            bias = given[f"{layer.name}.bias"]
            readers.remove(layer.name)
            if isinstance(layer, Conv):
                flow = conv2d(flow, weight, bias, layer.stride, layer.padding, groups=layer.groups)
            else:
                flow = linear(flow, weight, bias)
        else:
            flow = model.get_submodule(layer.name)(flow)
        if layer.name in ranges and not isinstance(after, ReLU) and readers[0] not in in_float:
            flow = eight_bit_numbers(flow.float(), ranges[layer.name]).double()
    return np.asarray(flow)


def ranges_for(network: Network) -> dict[str, Range]:
    found = {name: Range(low=0.0, high=4.0) for name in rounded_layers(network)}
    return found | {INPUT: Range(low=-3.0, high=3.0)}


@pytest.mark.parametrize("change", ["conv1.stride=2", "conv1.stride=1", "conv1.padding=1"])
@pytest.mark.parametrize("in_float", [(), ("conv1",), ("conv2", "fc1"), ("fc3",)], ids=str)
def test_eight_bits_are_what_rounding_everything_gives(
    small: Network, change: str, in_float: tuple[str, ...]
) -> None:
    network = edit(small, change)
    model, pictures = model_of(network), pictures_for(network, 8)
    eight_bits = EightBits(ranges=ranges_for(network), in_float=frozenset(in_float))
    exported = build(network, tensors_of(model), eight_bits=eight_bits)
    onnx.checker.check_model(exported, full_check=True)
    found = run(exported, pictures)
    expected = by_hand(model, pictures, eight_bits.ranges, eight_bits.in_float)
    with torch.inference_mode():
        exact = model(torch.from_numpy(pictures)).numpy()
    # A value near the middle of two steps may be rounded either way: far less than rounding itself changes.
    assert abs(found - expected).mean() < 0.05 * abs(found - exact).mean()


def test_a_filter_without_weights_keeps_its_bias(small: Network) -> None:
    model = model_of(small)
    pictures = pictures_for(small)
    with torch.no_grad():
        for name in ("conv1", "fc3"):
            model.get_submodule(name).get_parameter("weight")[1] *= 1e-20
            model.get_submodule(name).get_parameter("bias")[1] = 3.0
    found = run(build(small, tensors_of(model), eight_bits=EightBits(ranges=ranges_for(small))), pictures)
    assert found[:, 1] == pytest.approx(3.0, rel=1e-3)


def test_the_comparison_in_eight_bits_can_fail(small: Network) -> None:
    """With a range that is a tenth off."""
    model, pictures = model_of(small), pictures_for(small, 8)
    ranges = ranges_for(small)
    found = run(build(small, tensors_of(model), eight_bits=EightBits(ranges=ranges)), pictures)
    with torch.inference_mode():
        exact = model(torch.from_numpy(pictures)).numpy()
    other = by_hand(model, pictures, ranges | {"relu1": Range(low=0.0, high=4.4)})
    assert abs(found - other).mean() > 0.05 * abs(found - exact).mean()


WHITE = """
import sys
import numpy as np
from alexnet.inference.openvino_engine import open_model
run, _ = open_model(sys.argv[1], key="", precision="fp32", threads=1)
print(run(np.full((1, 8, 8, 16), 255, np.uint8)).tolist()[0])
"""
"""The logits for a white picture."""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 alone adds in 16 bits")
@pytest.mark.parametrize(
    ("processor", "largest", "overflows"),
    [("AVX2", 63, False), ("AVX512_CORE", 63, False), ("AVX2", 127, True), ("AVX512_CORE", 127, True)],
)
def test_sums_fit_processors_that_add_in_sixteen_bits(
    processor: str,  # as oneDNN calls them; both without VNNI
    largest: int,
    overflows: bool,
    python: tuple[list[str], dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenVINO computes as on a processor of that kind: 3 x 3 x 16 products of 255 and the largest weight."""
    monkeypatch.setattr(graph, "_MAX_WEIGHT", largest)
    network = Network(
        name="sum",
        source="here",
        input=(8, 8, 16),
        layers=(
            Conv(name="conv", filters=16, kernel=3),
            ReLU(name="relu"),
            Flatten(name="flatten"),
            Dense(name="dense", units=2),
        ),
    )
    tensors = {
        "normalize.mean": np.zeros(16, np.float32),
        "normalize.scale": np.full(16, 255, np.float32),
        "conv.weight": np.ones((16, 16, 3, 3), np.float32),
        "conv.bias": np.zeros(16, np.float32),
        "dense.weight": np.array([[1.0], [-0.5]], np.float32).repeat(16 * 6 * 6, axis=1),
        "dense.bias": np.zeros(2, np.float32),
    }
    ranges = {"relu": Range(low=0.0, high=255.0)}
    path = tmp_path / "sum.onnx"
    path.write_bytes(build(network, tensors, eight_bits=EightBits(ranges=ranges)).SerializeToString())
    command, environment = python
    told = subprocess.run(
        [*command, "-c", WHITE, str(path)],
        env=environment | {"ONEDNN_MAX_CPU_ISA": processor},
        capture_output=True,
        text=True,
    )
    one = 3 * 3 * 16.0  # what each of the convolution's values is
    exact = [one * 16 * 6 * 6, -0.5 * one * 16 * 6 * 6]
    assert (ast.literal_eval(told.stdout) == pytest.approx(exact, rel=1e-4)) is not overflows, told.stderr


def test_what_follows_an_activation_is_rounded_and_the_logits_are_not(small: Network) -> None:
    assert rounded_layers(small) == ("relu1", "relu2", "relu3", "relu4")
    assert rounded_layers(NETWORKS["paper"])[:4] == ("relu1", "norm1", "relu2", "norm2")


def test_eight_bits_are_a_quarter_of_the_size() -> None:
    network = NETWORKS["small"].with_classes(10)
    tensors = tensors_of(model_of(network))
    ranges = {name: Range(low=0.0, high=1.0) for name in (*rounded_layers(network), INPUT)}
    in_float = len(build(network, tensors).SerializeToString())
    in_eight = len(build(network, tensors, eight_bits=EightBits(ranges=ranges)).SerializeToString())
    assert in_eight == pytest.approx(in_float / 4, rel=0.05)


@pytest.mark.parametrize("change", [{"alpha": 0.0}, {"beta": 0.0}, {"alpha": 0.0, "size": 4}])
def test_a_normalisation_that_does_not_look_at_its_neighbours_is_exported(
    small: Network, change: dict[str, Any]
) -> None:
    norm = LocalResponseNorm(name="norm", **change)
    assert_same_as_torch(replace(small, layers=(small.layers[0], norm, *small.layers[1:])))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(("stride", "padding", "extra"), [(2, 1, 0), (2, 0, 1), (3, 2, 0), (3, 1, 1)])
def test_kernels_of_one_pixel_with_strides_over_padding_are_right_in_both_engines(
    place: int, stride: int, padding: int, extra: int
) -> None:
    """OpenVINO finds other shapes for them."""
    one = Conv(name="one", filters=8, kernel=1, stride=stride, padding=padding, extra_padding=extra)
    convs: list[Layer] = [Conv(name="other", filters=6, kernel=2), ReLU(name="relu")]
    convs.insert(0 if place == 0 else 2, one)
    network = Network(
        name="ones", input=(9, 8, 3), layers=(*convs, Flatten(name="flatten"), Dense(name="fc", units=3))
    )
    assert_same_as_torch(network)
    model, pictures = model_of(network), pictures_for(network)
    answer, _ = openvino_engine.open_model(
        build(network, tensors_of(model)).SerializeToString(), key="", precision="fp32", threads=1
    )
    with torch.inference_mode():
        expected = model(torch.from_numpy(pictures)).numpy()
    np.testing.assert_allclose(answer(pictures), expected, atol=1e-5 * max(1.0, abs(expected).max()))


def test_whole_numbers_of_a_description_are_exported(small: Network) -> None:
    """Caffe's k = 1, as TOML has it: ONNX takes no whole number there."""
    norm = LocalResponseNorm(name="norm", size=5, alpha=1, beta=1, k=1)
    assert_same_as_torch(replace(small, layers=(small.layers[0], norm, *small.layers[1:])))
