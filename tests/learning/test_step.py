"""A step of training against momentum SGD written out by its formulas, over torch's plain autograd."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from alexnet import Network, edit
from alexnet.learning.augment import Mixture
from alexnet.learning.fused import FusedForward
from alexnet.learning.model import AlexNet
from alexnet.learning.recipe import Recipe
from alexnet.learning.step import (
    Loss,
    TrainingBatch,
    chance,
    class_weights,
    make_optimizer,
    training_step,
)

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


def some_pictures(seed: int, count: int = 6) -> TrainingBatch:
    random = torch.Generator().manual_seed(seed)
    return TrainingBatch(
        step=0,
        pictures=torch.randint(0, 256, (count, 24, 24, 3), dtype=torch.uint8, generator=random),
        labels=torch.arange(count) % 3,
        total=count,
        places=torch.arange(count),
    )


def targets(batch: TrainingBatch, loss: Loss) -> Tensor:
    """What each picture is to be answered with, (N, 3), its weight included; in float64, one by one."""
    rows = torch.zeros(len(batch.labels), 3, dtype=torch.float64)
    for place, label in enumerate(batch.labels.tolist()):
        shares = [(label, 1.0)]
        if batch.mixture is not None:
            other = int(batch.labels[batch.mixture.partner[place]])
            shares = [(label, batch.mixture.own), (other, 1 - batch.mixture.own)]
        for each, share in shares:
            weight = 1.0 if loss.class_weights is None else float(loss.class_weights[each])
            rows[place] += share * weight * loss.label_smoothing / 3
            rows[place, each] += share * weight * (1 - loss.label_smoothing)
    return rows


def plain_loss(values: Values, batch: TrainingBatch, loss: Loss) -> tuple[Tensor, Tensor]:
    """conftest.py's small network and -target log softmax over `total`, in float64, without our module."""
    flow = ((batch.pictures.double() - torch.tensor(MEAN)) / torch.tensor(SCALE)).permute(0, 3, 1, 2)
    flow = functional.relu(functional.conv2d(flow, values["conv1.weight"], values["conv1.bias"], stride=2))
    flow = functional.max_pool2d(flow, 3, 2)
    flow = functional.relu(functional.conv2d(flow, values["conv2.weight"], values["conv2.bias"], padding=1))
    flow = flow.flatten(1)
    for name in ("fc1", "fc2"):
        flow = functional.relu(flow @ values[f"{name}.weight"].T + values[f"{name}.bias"])
    logits = flow @ values["fc3.weight"].T + values["fc3.bias"]
    logarithms = logits - logits.logsumexp(dim=1, keepdim=True)
    return -(targets(batch, loss) * logarithms).sum() / batch.total, logits


class ByHand:
    """Momentum SGD as its formulas have it: g += decay w; v = momentum v + g; w -= rate v."""

    def __init__(self, model: AlexNet, recipe: Recipe) -> None:
        self.recipe = recipe
        self.values = {
            name: each.detach().double().requires_grad_() for name, each in model.named_parameters()
        }
        self.velocity = {name: torch.zeros_like(each) for name, each in self.values.items()}

    def step(self, batch: TrainingBatch, loss: Loss, *, rate: float) -> tuple[float, int, float]:
        value, logits = plain_loss(self.values, batch, loss)
        slopes = dict(zip(self.values, torch.autograd.grad(value, list(self.values.values())), strict=True))
        norm = sum(float((slope**2).sum()) for slope in slopes.values()) ** 0.5
        clipped = min(1.0, self.recipe.clip_norm / norm)
        with torch.no_grad():
            for name, each in self.values.items():
                slope = slopes[name] * clipped
                if name.endswith("weight"):
                    slope = slope + self.recipe.weight_decay * each
                self.velocity[name] = self.recipe.momentum * self.velocity[name] + slope
                each.sub_(rate * self.velocity[name])
        return value.item(), int((logits.argmax(dim=1) == batch.labels).sum()), norm


def fused(model: AlexNet, precision: torch.dtype = torch.float32) -> FusedForward:
    return FusedForward(model, precision=precision)


def compare(model: AlexNet, by_hand: ByHand) -> None:
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.detach().double(), by_hand.values[name].detach(), rtol=1e-4, atol=1e-6
        )


def unlike(model: AlexNet, by_hand: ByHand) -> float:
    return max(
        float((parameter.detach().double() - by_hand.values[name].detach()).abs().max())
        for name, parameter in model.named_parameters()
    )


WEIGHTS = torch.tensor([0.5, 2.0, 1.0])
LOSSES = {
    "plain": Loss(),
    "smoothed": Loss(label_smoothing=0.2),
    "weighted": Loss(class_weights=WEIGHTS),
    "smoothed and weighted": Loss(label_smoothing=0.2, class_weights=WEIGHTS),
}
NEIGHBOURS = Mixture(partner=torch.tensor([1, 0, 3, 2, 5, 4]), own=0.7)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=list(LOSSES))
@pytest.mark.parametrize("clip_norm", [inf, 1e9, 0.05], ids=["never clipped", "not clipped", "clipped"])
@pytest.mark.parametrize(
    "change",
    [{}, {"mixture": NEIGHBOURS}, {"total": 10}],
    ids=["whole", "mixed", "part of ten"],
)
def test_steps_equal_momentum_sgd_by_hand(
    model: AlexNet, loss: Loss, clip_norm: float, change: dict[str, Any]
) -> None:
    recipe = Recipe(learning_rate=0.1, momentum=0.8, weight_decay=0.3, clip_norm=clip_norm)
    optimizer, by_hand, forward = make_optimizer(model, recipe), ByHand(model, recipe), fused(model)
    # Three steps, so that the momentum of the first and a change of the rate both matter.
    for number, rate in enumerate((0.1, 0.1, 0.04)):
        batch = replace(some_pictures(number), **change)
        optimizer.rate = rate
        value, right = training_step(forward, optimizer, batch, loss=loss, clip_norm=recipe.clip_norm)
        expected, expected_right, norm = by_hand.step(batch, loss, rate=rate)
        assert (norm > clip_norm) == (clip_norm < 1), "the pictures do not try what the test is for"
        assert value.item() == pytest.approx(expected * batch.total, rel=1e-5)
        assert right.item() == expected_right
        compare(model, by_hand)


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
    optimizer, by_hand, forward = make_optimizer(model, ours), ByHand(model, other), fused(model)
    for number in range(2):
        batch = some_pictures(number)
        optimizer.rate = 0.1
        training_step(forward, optimizer, batch, loss=Loss(), clip_norm=ours.clip_norm)
        by_hand.step(batch, Loss(), rate=0.1)
    assert unlike(model, by_hand) > 1e-4, what


@pytest.mark.parametrize(
    ("other_loss", "change"),
    [
        (LOSSES["smoothed"], {}),
        (LOSSES["weighted"], {}),
        (LOSSES["plain"], {"total": 10}),
        (LOSSES["plain"], {"mixture": NEIGHBOURS}),
    ],
    ids=["smoothing", "weights", "total", "mixture"],
)
def test_the_comparison_of_losses_can_fail(model: AlexNet, other_loss: Loss, change: dict[str, Any]) -> None:
    recipe, batch = Recipe(learning_rate=0.1, clip_norm=inf), some_pictures(0)
    optimizer, by_hand = make_optimizer(model, recipe), ByHand(model, recipe)
    training_step(fused(model), optimizer, batch, loss=Loss(), clip_norm=inf)
    by_hand.step(replace(batch, **change), other_loss, rate=0.1)
    assert unlike(model, by_hand) > 1e-4


def test_parts_of_a_batch_add_up_to_the_whole_one(model: AlexNet, small: Network) -> None:
    """Two processes' gradients, each times their number, as their mean is what both go by."""
    recipe, batch = Recipe(learning_rate=0.1, weight_decay=0.0, momentum=0.0), some_pictures(0)
    loss = LOSSES["smoothed and weighted"]
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    moved: list[Values] = []
    figures = []
    for part, processes in ((slice(0, 6), 1), (slice(0, 4), 2), (slice(4, 6), 2)):
        twin = AlexNet(small, mean=MEAN, scale=SCALE)
        twin.load_state_dict(model.state_dict())
        piece = replace(
            batch, pictures=batch.pictures[part], labels=batch.labels[part], places=batch.places[part]
        )
        figures.append(
            training_step(
                fused(twin),
                make_optimizer(twin, recipe),
                piece,
                loss=loss,
                clip_norm=inf,
                processes=processes,
            )
        )
        moved.append({name: each.detach() - before[name] for name, each in twin.named_parameters()})
    whole, first, second = moved
    for name, expected in whole.items():
        torch.testing.assert_close((first[name] + second[name]) / 2, expected, rtol=1e-4, atol=1e-6)
    assert figures[1][0] + figures[2][0] == pytest.approx(float(figures[0][0]), rel=1e-5)
    assert figures[1][1] + figures[2][1] == figures[0][1]


def test_frozen_layers_are_left_to_the_last_bit_and_the_others_learn(model: AlexNet) -> None:
    frozen = ("conv1", "conv2", "fc1")
    for name in frozen:
        model.get_submodule(name).requires_grad_(requires_grad=False)
    recipe = Recipe(learning_rate=0.1, weight_decay=0.3)
    optimizer, before = make_optimizer(model, recipe), {k: v.clone() for k, v in model.state_dict().items()}
    for number in range(2):
        training_step(fused(model), optimizer, some_pictures(number), loss=Loss(), clip_norm=1.0)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith(frozen), name


def test_biases_learn_at_their_layer_s_own_rate(small: Network) -> None:
    torch.manual_seed(0)
    model = AlexNet(edit(small, "conv2.bias_rate=2", "fc3.bias_rate=0.5"), mean=MEAN, scale=SCALE)
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    recipe = Recipe(learning_rate=0.1, weight_decay=0.0, momentum=0.0)
    optimizer = make_optimizer(model, recipe)
    optimizer.rate = 0.01
    training_step(fused(model), optimizer, some_pictures(0), loss=Loss(), clip_norm=inf)
    for name, parameter in model.named_parameters():
        rate = {"conv2.bias": 0.02, "fc3.bias": 0.005}.get(name, 0.01)
        assert parameter.grad is not None
        torch.testing.assert_close(
            before[name] - parameter.detach(), rate * parameter.grad, rtol=1e-3, atol=1e-7
        )


def test_a_step_in_bf16_goes_where_one_in_float32_goes(model: AlexNet, small: Network) -> None:
    twin = AlexNet(small)
    twin.load_state_dict(model.state_dict())
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    batch = some_pictures(0, 30)
    for each, precision in ((model, torch.float32), (twin, torch.bfloat16)):
        optimizer = make_optimizer(each, Recipe(learning_rate=0.1))
        training_step(fused(each, precision), optimizer, batch, loss=Loss(), clip_norm=1e9)
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
    optimizer, forward = make_optimizer(model, recipe), fused(model, precision)
    batch = some_pictures(0, 12)  # noise: nothing but its pixels tells a class
    right = torch.zeros(())
    for _ in range(300):
        _, right = training_step(forward, optimizer, batch, loss=Loss(), clip_norm=recipe.clip_norm)
        if right == 12:
            break
    assert right == 12


# --- classes of uneven number -----------------------------------------------------------------------------


def test_the_weights_of_classes_make_them_weigh_alike() -> None:
    # 6 + 3 + 1 = 10 pictures in 3 classes: each class is to weigh 10/3 of them.
    weights = class_weights(np.array([6, 3, 1]))
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3], rel=1e-6)
    assert class_weights(np.array([4, 4])).tolist() == [1.0, 1.0]
    assert weights.dtype == torch.float32


def test_a_class_without_a_picture_weighs_nothing_and_changes_nothing() -> None:
    assert class_weights(np.array([6, 0, 2])).tolist() == pytest.approx([8 / 12, 0.0, 8 / 4])


@pytest.mark.parametrize(
    ("counts", "smoothing", "even", "expected"),
    [
        ([5, 5], 0.0, False, log(2)),
        ([1, 1, 1, 1], 0.3, True, log(4)),
        # Answering 3/4 and 1/4: 3/4 log 4/3 + 1/4 log 4.
        ([30, 10], 0.0, False, 0.75 * log(4 / 3) + 0.25 * log(4)),
        ([30, 10], 0.0, True, log(2)),
        # 0.8 of the target is the class, 0.1 each of them: 0.7 and 0.3.
        ([30, 10], 0.2, False, -0.7 * log(0.7) - 0.3 * log(0.3)),
        ([7, 0], 0.0, False, 0.0),
    ],
)
def test_chance_is_the_least_loss_of_one_answer_for_all(
    counts: list[int], smoothing: float, even: bool, expected: float
) -> None:
    assert chance(np.array(counts), label_smoothing=smoothing, even=even) == pytest.approx(expected)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_no_answer_that_is_the_same_for_all_pictures_has_a_loss_below_chance(
    balanced: bool, smoothing: float
) -> None:
    """The least loss found by going down its slope, from our Loss, with uneven classes."""
    counts = np.array([50, 8, 2])
    labels = torch.from_numpy(np.repeat([0, 1, 2], counts))
    batch = replace(some_pictures(0), labels=labels, total=60)
    loss = Loss(label_smoothing=smoothing, class_weights=class_weights(counts) if balanced else None)
    answer = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([answer], max_iter=100, line_search_fn="strong_wolfe")

    def value() -> Tensor:
        optimizer.zero_grad()
        found = loss(answer.expand(60, 3), batch)
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(value)  # type: ignore[no-untyped-call]
    least = loss(answer.expand(60, 3), batch).item()
    assert least == pytest.approx(chance(counts, label_smoothing=smoothing, even=balanced), abs=1e-4)
