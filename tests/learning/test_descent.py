"""The optimiser against torch's own class, to the last bit, and that it does not load what that loads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from alexnet.learning.descent import Descent, Group

SHAPES = ((8, 3, 5, 5), (24, 96), (8,), (24,))


def parameters() -> list[nn.Parameter]:
    random = torch.Generator().manual_seed(0)
    made = [nn.Parameter(torch.randn(shape, generator=random)) for shape in SHAPES]
    made[0].data = made[0].data.contiguous(memory_format=torch.channels_last)
    return made


def gradients(step: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(1 + step)
    return [torch.randn(shape, generator=random) for shape in SHAPES]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_are_those_of_torch_s_class_to_the_last_bit(momentum: float) -> None:
    ours, theirs = parameters(), parameters()
    descent = Descent(
        [
            Group(parameters=ours[:2], weight_decay=0.01, factor=1.0),
            Group(parameters=ours[2:], weight_decay=0.0, factor=2.0),
        ],
        rate=0.1,
        momentum=momentum,
    )
    groups = [{"params": theirs[:2], "weight_decay": 0.01}, {"params": theirs[2:], "weight_decay": 0.0}]
    sgd = torch.optim.SGD(groups, lr=0.1, momentum=momentum, fused=True)
    for step in range(5):
        rate = 0.1 / (step + 1)
        descent.rate = rate
        for group, factor in zip(sgd.param_groups, (1.0, 2.0), strict=True):
            group["lr"] = rate * factor
        for one, other, gradient in zip(ours, theirs, gradients(step), strict=True):
            one.grad, other.grad = gradient.clone(), gradient.clone()
        descent.step()
        sgd.step()
        if step == 2:  # as a run that is taken up again has them
            descent.take_up([None if each is None else each.clone() for each in descent.momenta()])
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
    held = [sgd.state[each].get("momentum_buffer") for each in theirs] if momentum else []
    for mine, its in zip(descent.momenta(), held, strict=True):
        assert mine is not None
        assert torch.equal(mine, its)


def test_gradients_are_forgotten() -> None:
    ours = parameters()
    for each in ours:
        each.grad = torch.ones_like(each)
    Descent([Group(parameters=ours, weight_decay=0.0, factor=1.0)], rate=0.1, momentum=0.9).forget_gradients()
    assert [each.grad for each in ours] == [None] * len(ours)


@pytest.mark.slow
def test_a_run_does_not_load_torch_s_compiler(
    python: tuple[list[str], dict[str, str]], coloured: Path, tmp_path: Path
) -> None:
    code = (
        "import sys\nfrom alexnet.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "assert 'torch' in sys.modules\nassert 'torch._dynamo' not in sys.modules"
    )
    command, environment = python
    options = ["--network", "small", "--epochs", "1", "--output", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, "-c", code, "train", str(coloured), *options],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
