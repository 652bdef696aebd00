"""A step of training against momentum SGD written out by its formulas, over torch's plain autograd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from alexnet import Network, TrainingError
from alexnet.images.datasets import open_dataset
from alexnet.images.splits import Split
from alexnet.images.views import View
from alexnet.learning.model import AlexNet
from alexnet.learning.recipe import Recipe, schedule
from alexnet.learning.step import channel_statistics, make_optimizer, training_step

MEAN, SCALE = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]
Values = dict[str, Tensor]


@pytest.fixture
def model(small: Network) -> AlexNet:
    torch.manual_seed(0)
    model = AlexNet(small, mean=MEAN, scale=SCALE)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(0.1, 0.2)  # at zero, decaying a bias by mistake would not show
    return model


def some_pictures(seed: int, count: int = 6) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    batch = torch.randint(0, 256, (count, 24, 24, 3), dtype=torch.uint8, generator=random)
    return batch, torch.arange(count) % 3


def plain_loss(values: Values, batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The small network of conftest.py and the mean of -log softmax, in float64, without our module."""
    flow = ((batch.double() - torch.tensor(MEAN)) / torch.tensor(SCALE)).permute(0, 3, 1, 2)
    flow = functional.relu(functional.conv2d(flow, values["conv1.weight"], values["conv1.bias"], stride=2))
    flow = functional.max_pool2d(flow, 3, 2)
    flow = functional.relu(functional.conv2d(flow, values["conv2.weight"], values["conv2.bias"], padding=1))
    flow = flow.flatten(1)
    for name in ("fc1", "fc2"):
        flow = functional.relu(flow @ values[f"{name}.weight"].T + values[f"{name}.bias"])
    logits = flow @ values["fc3.weight"].T + values["fc3.bias"]
    losses = -(logits - logits.logsumexp(dim=1, keepdim=True))[torch.arange(len(labels)), labels]
    return losses.mean(), logits


class ByHand:
    """Momentum SGD as its formulas have it: g += decay w; v = momentum v + g; w -= rate v."""

    def __init__(self, model: AlexNet, recipe: Recipe) -> None:
        self.recipe = recipe
        self.values = {
            name: each.detach().double().requires_grad_() for name, each in model.named_parameters()
        }
        self.velocity = {name: torch.zeros_like(each) for name, each in self.values.items()}

    def step(self, batch: Tensor, labels: Tensor, *, rate: float) -> tuple[float, int, float]:
        loss, logits = plain_loss(self.values, batch, labels)
        slopes = dict(zip(self.values, torch.autograd.grad(loss, list(self.values.values())), strict=True))
        norm = sum(float((slope**2).sum()) for slope in slopes.values()) ** 0.5
        clipped = min(1.0, self.recipe.clip_norm / norm)
        with torch.no_grad():
            for name, value in self.values.items():
                slope = slopes[name] * clipped
                if name.endswith("weight"):
                    slope = slope + self.recipe.weight_decay * value
                self.velocity[name] = self.recipe.momentum * self.velocity[name] + slope
                value.sub_(rate * self.velocity[name])
        return loss.item(), int((logits.argmax(dim=1) == labels).sum()), norm


@pytest.mark.parametrize("clip_norm", [1e9, 0.05], ids=["not clipped", "clipped"])
def test_steps_equal_momentum_sgd_by_hand(model: AlexNet, clip_norm: float) -> None:
    recipe = Recipe(learning_rate=0.1, momentum=0.8, weight_decay=0.3, clip_norm=clip_norm)
    optimizer, by_hand = make_optimizer(model, recipe), ByHand(model, recipe)
    # Three steps, so that the momentum of the first and a change of the rate both matter.
    for number, rate in enumerate((0.1, 0.1, 0.04)):
        batch, labels = some_pictures(number)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, right = training_step(
            model, optimizer, batch, labels, precision=torch.float32, clip_norm=recipe.clip_norm
        )
        expected_loss, expected_right, norm = by_hand.step(batch, labels, rate=rate)
        assert (norm > clip_norm) == (clip_norm < 1), "the pictures do not try what the test is for"
        assert loss.item() == pytest.approx(expected_loss, rel=1e-5)
        assert right.item() == expected_right
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(
                parameter.detach().double(), by_hand.values[name].detach(), rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"momentum": 0.0}, "momentum"),
        ({"weight_decay": 0.0}, "weight decay"),
        ({"clip_norm": 0.01}, "clipping"),
    ],
)
def test_the_comparison_of_steps_can_fail(model: AlexNet, change: dict[str, float], what: str) -> None:
    recipe = {"learning_rate": 0.1, "momentum": 0.8, "weight_decay": 0.3, "clip_norm": 1e9}
    ours, other = Recipe(**recipe), Recipe(**(recipe | change))  # type: ignore[arg-type]
    optimizer, by_hand = make_optimizer(model, ours), ByHand(model, other)
    for number in range(2):
        batch, labels = some_pictures(number)
        training_step(model, optimizer, batch, labels, precision=torch.float32, clip_norm=ours.clip_norm)
        by_hand.step(batch, labels, rate=0.1)
    worst = max(
        float((parameter.detach().double() - by_hand.values[name].detach()).abs().max())
        for name, parameter in model.named_parameters()
    )
    assert worst > 1e-4, what


def test_a_step_in_bf16_goes_where_one_in_float32_goes(model: AlexNet, small: Network) -> None:
    twin = AlexNet(small)
    twin.load_state_dict(model.state_dict())
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    batch, labels = some_pictures(0, 30)
    for each, precision in ((model, torch.float32), (twin, torch.bfloat16)):
        optimizer = make_optimizer(each, Recipe(learning_rate=0.1))
        training_step(each, optimizer, batch, labels, precision=precision, clip_norm=1e9)
    for name, parameter in twin.named_parameters():
        assert parameter.dtype == torch.float32
        moved = (parameter.detach() - before[name]).flatten()
        expected = (dict(model.named_parameters())[name].detach() - before[name]).flatten()
        assert functional.cosine_similarity(moved, expected, dim=0) > 0.95, name


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_one_small_batch_is_learned_by_heart(small: Network, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    model = AlexNet(small)
    recipe = Recipe(learning_rate=0.02, weight_decay=0.0)
    optimizer = make_optimizer(model, recipe)
    batch, labels = some_pictures(0, 12)  # noise: nothing but its pixels tells a class
    right = torch.zeros(())
    for _ in range(300):
        _, right = training_step(
            model, optimizer, batch, labels, precision=precision, clip_norm=recipe.clip_norm
        )
        if right == 12:
            break
    assert right == 12


# Warm-up to 0.2 in a line; then cos(0) = 1, cos(pi/4), cos(pi/2), cos(pi) of half a cosine.
@pytest.mark.parametrize(
    ("progress", "factor"),
    [
        (0.0, 0.0),
        (0.05, 0.25),
        (0.2, 1.0),
        (0.4, (1 + 0.5**0.5) / 2),
        (0.6, 0.5),
        (0.8, (1 - 0.5**0.5) / 2),
        (1.0, 0.0),
        (1.3, 0.0),
    ],
)
def test_the_schedule_rises_in_a_line_and_falls_in_half_a_cosine(progress: float, factor: float) -> None:
    assert schedule(progress, warmup=0.2) == pytest.approx(factor, abs=1e-12)


def test_without_warm_up_the_schedule_begins_at_its_peak() -> None:
    assert schedule(0.0, warmup=0.0) == 1.0
    assert schedule(0.5, warmup=0.0) == pytest.approx(0.5)


def test_channel_statistics_are_numpy_s_mean_and_deviation(coloured: Path) -> None:
    split = open_dataset(coloured).train
    mean, scale = channel_statistics(split, View(height=30, width=30, resize=30), workers=1)
    # The centre 30 x 30 of 30 x 40 pixels, at its own size: nothing is resampled.
    pixels = np.concatenate([split.pictures[i][:, 5:35].reshape(-1, 3) for i in range(len(split))])
    np.testing.assert_allclose(mean, pixels.mean(axis=0))
    np.testing.assert_allclose(scale, pixels.std(axis=0))


def greys(values: list[int]) -> Split:
    pictures = [np.full((4, 4, 3), value, np.uint8) for value in values]
    return Split(
        pictures=pictures, labels=np.zeros(len(values), np.int64), names=[str(value) for value in values]
    )


def test_statistics_of_one_colour_leave_a_division_that_is_harmless() -> None:
    assert channel_statistics(greys([7]), View.of(4, 4, tight=True), workers=0) == ([7.0] * 3, [1.0] * 3)


def test_statistics_of_many_pictures_are_spread_over_all_of_them() -> None:
    # 2,000 pictures that brighten slowly: the first or last 500 alone would be far off the mean of 99.5.
    mean, _ = channel_statistics(greys([i // 10 for i in range(2000)]), View.of(4, 4, tight=True), workers=1)
    assert mean[0] == pytest.approx(99.5, abs=1.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("batch_size", value) for value in (0, -1, 2.5, True)),
        *(("learning_rate", value) for value in (0.0, -0.1, float("nan"), float("inf"))),
        *(("momentum", value) for value in (1.0, -0.1, float("nan"))),
        *(("weight_decay", value) for value in (-1e-9, float("nan"))),
        *(("warmup", value) for value in (1.0, -0.1, float("nan"))),
        *(("clip_norm", value) for value in (0.0, -1.0, float("nan"))),
    ],
)
def test_a_recipe_out_of_range_is_refused_with_field_and_value(field: str, value: float) -> None:
    with pytest.raises(TrainingError, match=f"{field}={value}; must be"):
        Recipe(**{field: value})  # type: ignore[arg-type]
