"""The torch module against the summary, numpy, torch's own FLOP counter and He et al. 2015."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from alexnet import (
    NETWORKS,
    NOTES,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LocalResponseNorm,
    MaxPool,
    MisfitError,
    Network,
    NetworkError,
    ReLU,
    edit,
    summarize,
)
from alexnet.learning.model import AlexNet, Normalize
from alexnet.learning.recipe import Recipe
from alexnet.learning.step import make_optimizer

ODD = (
    Network(
        name="odd paddings",
        input=(29, 29, 3),
        layers=(
            Conv(name="a", filters=5, kernel=7, stride=3, padding=5),
            ReLU(name="b"),
            MaxPool(name="c", kernel=5, stride=2, padding=2),
            Conv(name="d", filters=4, kernel=2, padding=3),
            MaxPool(name="e", kernel=3, stride=4, padding=1),
            Flatten(name="f"),
            Dense(name="g", units=6),
        ),
    ),
    Network(
        name="not square, sizes that do not divide",
        input=(31, 58, 3),
        layers=(
            Conv(name="one", filters=3, kernel=4, stride=5),
            MaxPool(name="two", kernel=2, stride=3),
            ReLU(name="three"),
            Flatten(name="four"),
            Dense(name="five", units=7),
            ReLU(name="six"),
            Dense(name="seven", units=2),
        ),
    ),
    Network(name="one channel", input=(3, 2, 1), layers=(Flatten(name="flat"), Dense(name="fc", units=2))),
    Network(
        name="no dense layer", input=(9, 9, 2), layers=(Conv(name="c", filters=3, kernel=3), ReLU(name="r"))
    ),
    edit(NOTES, "input=195x300", "conv1.padding=2", "classes=10"),
)


def build_without_memory(network: Network) -> AlexNet:
    """The model on torch's meta device: shapes without values."""
    with torch.device("meta"):
        return AlexNet(network)


def shapes_by_torch(model: AlexNet, batch: Tensor) -> dict[str, tuple[int, ...]]:
    """The shape of every layer's output, without the batch, as height, width, depth or length."""
    found: dict[str, tuple[int, ...]] = {}

    def keep(name: str) -> None:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            shape = tuple(output.shape[1:])
            found[name] = (*shape[1:], shape[0]) if len(shape) == 3 else shape

        model.get_submodule(name).register_forward_hook(hook)

    for name, _ in model.named_children():
        keep(name)
    model(batch)
    return found


def assert_agrees(network: Network) -> None:
    summary = summarize(network)
    model = build_without_memory(network)
    batch = torch.zeros(2, *network.input, dtype=torch.uint8, device="meta")
    shapes = shapes_by_torch(model, batch)
    assert list(shapes) == ["normalize", *(layer.name for layer in network.layers)]
    assert shapes["normalize"] == network.input
    for row in summary.layers:
        assert shapes[row.name] == row.output, row.name
        parameters = dict(model.get_submodule(row.name).named_parameters())
        assert sum(each.numel() for name, each in parameters.items() if name == "weight") == row.weights
        assert sum(each.numel() for name, each in parameters.items() if name == "bias") == row.biases
    assert sum(each.numel() for each in model.parameters()) == summary.parameters


@pytest.mark.parametrize("network", [*NETWORKS.values(), *ODD], ids=lambda each: each.name)
def test_shapes_and_parameters_of_torch_are_the_summary_s(network: Network) -> None:
    assert_agrees(network)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_torch_and_the_summary_agree_on_random_networks(
    random_networks: st.SearchStrategy[Network], data: st.DataObject
) -> None:
    network = data.draw(random_networks)
    try:
        summarize(network)
    except MisfitError:
        with pytest.raises(MisfitError):
            build_without_memory(network)
    else:
        assert_agrees(network)


@pytest.mark.parametrize("network", [*NETWORKS.values(), *ODD], ids=lambda each: each.name)
def test_macs_are_half_of_what_torch_counts_as_operations(network: Network) -> None:
    model = build_without_memory(network)
    batch = torch.zeros(1, *network.input, dtype=torch.uint8, device="meta")
    with FlopCounterMode(display=False) as counter:
        model(batch)
    assert counter.get_total_flops() == 2 * summarize(network).macs


def test_layers_stand_under_their_names_with_relu_where_the_notes_have_it() -> None:
    model = build_without_memory(NOTES)
    kinds = {name: type(module).__name__ for name, module in model.named_children()}
    names = list(kinds)
    assert names[0] == "normalize"
    followed = [name for name, after in pairwise(names) if kinds[after] == "ReLU"]
    # Krizhevsky et al. 2012, section 3.5: after every convolution and fully connected layer but the last.
    assert followed == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc1", "fc2"]
    assert names[-1] == "fc3"
    assert list(kinds.values()).count("ReLU") == len(followed)


def test_the_output_is_what_torch_computes_layer_by_layer(small: Network) -> None:
    torch.manual_seed(0)
    model = AlexNet(small, mean=[100.0, 110.0, 120.0], scale=[50.0, 60.0, 70.0])
    batch = torch.randint(0, 256, (4, 24, 24, 3), dtype=torch.uint8)
    values = dict(model.named_parameters())
    functional = nn.functional
    flow = (batch.double() - torch.tensor([100.0, 110.0, 120.0])) / torch.tensor([50.0, 60.0, 70.0])
    flow = flow.permute(0, 3, 1, 2).float()
    flow = functional.relu(functional.conv2d(flow, values["conv1.weight"], values["conv1.bias"], stride=2))
    flow = functional.max_pool2d(flow, 3, 2)
    flow = functional.relu(functional.conv2d(flow, values["conv2.weight"], values["conv2.bias"], padding=1))
    flow = flow.flatten(1)
    for name in ("fc1", "fc2"):
        flow = functional.relu(functional.linear(flow, values[f"{name}.weight"], values[f"{name}.bias"]))
    expected = functional.linear(flow, values["fc3.weight"], values["fc3.bias"])
    torch.testing.assert_close(model(batch), expected, rtol=1e-4, atol=1e-4)


def test_normalisation_is_value_less_mean_over_scale_of_each_channel() -> None:
    mean, scale = [10.5, 120.0, 200.25], [3.0, 64.0, 0.5]
    batch = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    found = Normalize(mean, scale)(torch.from_numpy(batch))
    expected = (batch.astype(np.float64) - np.array(mean)) / np.array(scale)
    np.testing.assert_allclose(found.numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-5)
    assert found.dtype == torch.float32


def test_normalisation_gives_channels_last_memory_without_a_copy_for_it() -> None:
    found = Normalize([1.0] * 3, [2.0] * 3)(torch.zeros(2, 5, 7, 3, dtype=torch.uint8))
    assert found.shape == (2, 3, 5, 7)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not found.is_contiguous()


def test_kernels_are_laid_out_channels_last(small: Network) -> None:
    model = AlexNet(small)
    for name in ("conv1", "conv2"):
        assert model.get_parameter(f"{name}.weight").is_contiguous(memory_format=torch.channels_last)


def test_the_mean_and_scale_are_saved_but_not_trained(small: Network) -> None:
    model = AlexNet(small, mean=[1.0, 2.0, 3.0], scale=[4.0, 5.0, 6.0])
    assert model.state_dict()["normalize.mean"].tolist() == [1.0, 2.0, 3.0]
    assert model.state_dict()["normalize.scale"].tolist() == [4.0, 5.0, 6.0]
    assert not [name for name, _ in model.named_parameters() if name.startswith("normalize")]


def named(name: str) -> Network:
    layers = (Conv(name=name, filters=2, kernel=3), Flatten(name="flat"), Dense(name="fc", units=3))
    return Network(name="named", input=(8, 8, 3), layers=layers)


@pytest.mark.parametrize(
    "name", ["train", "forward", "normalize", "add_module", "to", "training", "network", "_modules"]
)
def test_a_layer_name_that_is_torch_s_own_is_refused(name: str) -> None:
    with pytest.raises(NetworkError, match=f"Layer '{name}': the name is torch's own"):
        AlexNet(named(name))


@pytest.mark.parametrize("name", ["conv1", "weight", "bias", "Stem", "été"])
def test_other_layer_names_are_taken(name: str) -> None:
    assert AlexNet(named(name))(torch.zeros(1, 8, 8, 3, dtype=torch.uint8)).shape == (1, 3)


def test_a_network_that_breaks_is_no_model() -> None:
    with pytest.raises(MisfitError, match="conv4"):
        AlexNet(edit(NOTES, "pool1.stride=4", "pool2.stride=3"))


def test_weights_follow_the_global_generator_and_biases_are_zero(small: Network) -> None:
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(AlexNet(small).state_dict())
    first, again, other = models
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
    assert all(not first[name].any() for name in first if name.endswith(".bias"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_notes_network_begins_about_as_wrong_as_a_guess(seed: int) -> None:
    torch.manual_seed(seed)
    model = AlexNet(NOTES.with_classes(10))
    random = torch.Generator().manual_seed(seed)
    # Smooth patches, as photographs have them, and not pixel noise, whose mean every window averages away.
    coarse = torch.randint(0, 256, (16, 3, 8, 8), generator=random).float()
    batch = nn.functional.interpolate(coarse, size=(227, 227), mode="bilinear").permute(0, 2, 3, 1).byte()
    labels = torch.arange(16) % 10
    with torch.inference_mode():
        loss = nn.functional.cross_entropy(model(batch), labels).item()
    assert abs(loss - math.log(10)) < 0.5


# --- what only some AlexNets have -------------------------------------------------------------------------


def one_layer(layer: Layer, *, side: int, depth: int) -> AlexNet:
    return AlexNet(Network(name="one layer", input=(side, side, depth), layers=(layer,)))


@pytest.mark.parametrize("mean", [True, False])
def test_local_response_normalisation_is_the_paper_s_formula_by_plain_loops(mean: bool) -> None:
    layer = LocalResponseNorm(name="n", size=5, alpha=0.3, beta=0.75, k=2.0, mean=mean)
    values = torch.randn(1, 7, 2, 2)
    got = one_layer(layer, side=2, depth=7).get_submodule("n")(values)
    for channel in range(7):
        # Krizhevsky et al. 2012, section 3.3: channels i - n/2 to i + n/2 that exist.
        near = values[0, max(0, channel - 2) : channel + 3].square().sum(dim=0)
        expected = values[0, channel] / (2.0 + 0.3 * near / (5 if mean else 1)) ** 0.75
        torch.testing.assert_close(got[0, channel], expected)


def test_groups_see_their_own_channels_only() -> None:
    model = one_layer(Conv(name="c", filters=4, kernel=3, groups=2), side=5, depth=6)
    convolution = model.get_submodule("c")
    values = torch.randn(1, 6, 5, 5)
    weight, bias = convolution.get_parameter("weight"), convolution.get_parameter("bias")
    halves = [
        nn.functional.conv2d(values[:, :3], weight[:2], bias[:2]),
        nn.functional.conv2d(values[:, 3:], weight[2:], bias[2:]),
    ]
    torch.testing.assert_close(convolution(values), torch.cat(halves, dim=1))


@pytest.mark.parametrize(
    "layer",
    [
        Conv(name="c", filters=2, kernel=3, stride=2, rounding="up"),
        Conv(name="c", filters=2, kernel=3, stride=2, extra_padding=1),
    ],
    ids=["rounding up", "extra padding"],
)
def test_pixels_beyond_the_picture_read_as_zero_at_the_bottom_and_right(layer: Conv) -> None:
    model = one_layer(layer, side=6, depth=1)
    convolution = model.get_submodule("c")
    values = torch.randn(1, 1, 6, 6)
    larger = torch.zeros(1, 1, 7, 7)
    larger[:, :, :6, :6] = values
    weight, bias = convolution.get_parameter("weight"), convolution.get_parameter("bias")
    torch.testing.assert_close(convolution(values), nn.functional.conv2d(larger, weight, bias, stride=2))


def test_initial_weights_and_biases_are_those_that_a_layer_gives() -> None:
    torch.manual_seed(0)
    source = AlexNet(NETWORKS["source2012"])
    # layers-145.cfg: 0.01 but 0.03 in conv3 to conv5; biases 1 in conv2, conv4, conv5, fc6 and fc7.
    for name, deviation, bias in (
        ("conv1", 0.01, 0.0),
        ("conv2", 0.01, 1.0),
        ("conv3", 0.03, 0.0),
        ("conv5", 0.03, 1.0),
        ("fc6", 0.01, 1.0),
        ("fc8", 0.01, 0.0),
    ):
        module = source.get_submodule(name)
        assert module.get_parameter("weight").std().item() == pytest.approx(deviation, rel=0.03)
        assert set(module.get_parameter("bias").tolist()) == {bias}


def test_biases_learn_at_the_rate_of_their_layer() -> None:
    layers = (
        Flatten(name="flat"),
        Dense(name="slow", units=3, bias_rate=0.5),
        Dense(name="fast", units=2, bias_rate=2.0),
    )
    model = AlexNet(Network(name="rates", input=(2, 2, 3), layers=layers))
    optimizer = make_optimizer(model, Recipe(momentum=0.0, weight_decay=0.0))
    optimizer.rate = 0.1
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, factor in (("slow.weight", 1), ("fast.weight", 1), ("slow.bias", 0.5), ("fast.bias", 2)):
        torch.testing.assert_close(
            before[name] - model.get_parameter(name), torch.full_like(before[name], 0.1 * factor)
        )


def test_dropout_is_for_training_only() -> None:
    model = one_layer(Dropout(name="d", rate=0.5), side=8, depth=3)
    batch = torch.randint(1, 127, (4, 8, 8, 3), dtype=torch.uint8)
    assert (model.train()(batch) == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert not (model.eval()(batch) == 0).any()
