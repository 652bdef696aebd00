"""Timings at a tiny size: they add up, what is timed is the loops that they are named for, and it trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from alexnet import DataError, Network, TrainingError
from alexnet.images.datasets import Dataset, open_dataset
from alexnet.learning import benchmark as benchmark_module
from alexnet.learning.benchmark import Timing, benchmark_training, plain_loop
from alexnet.learning.benchmark_folder import benchmark_folder
from alexnet.learning.fused import FusedForward
from alexnet.learning.model import AlexNet
from alexnet.learning.recipe import DEFAULT


def check(timings: tuple[Timing, ...]) -> None:
    first = timings[0]
    assert first.ratio == 1.0
    for timing in timings:
        assert 0 < timing.slowest <= timing.pictures_per_second <= timing.fastest
        assert timing.ratio == pytest.approx(timing.pictures_per_second / first.pictures_per_second)


def readings(warm_ups: int, seconds: list[float]) -> Iterator[float]:
    """Of a clock that is read as a step begins and, of those that are timed, as it ends."""
    now = 0.0
    yield from [now] * warm_ups
    for each in seconds:
        yield now
        now += each
        yield now


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_loops_are_timed_by_turns_after_two_rounds_of_warm_up(small: Network, precision: str) -> None:
    told: list[str] = []
    timings = benchmark_training(
        small, batch_size=3, rounds=2, device="cpu", precision=precision, on_progress=told.append
    )
    check(timings)
    plain, ours = "plain loop, float32", f"alexnet train, {'float32' if precision == 'fp32' else 'bfloat16'}"
    assert [timing.name for timing in timings] == [plain, ours]
    rounds = ["warm-up", "warm-up", "round 1 of 2", "round 2 of 2"]
    assert told == [f"{way}: {turn}" for turn in rounds for way in (plain, ours)]


def test_figures_are_the_median_the_slowest_and_the_fastest_step(
    small: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Plain and ours by turns: two rounds to warm up, then three.
    told = readings(4, [2.0, 0.5, 4.0, 0.25, 1.0, 0.4])
    monkeypatch.setattr(benchmark_module, "perf_counter", lambda: next(told))
    plain, ours = benchmark_training(small, batch_size=4, rounds=3, device="cpu", precision="fp32")
    assert (plain.slowest, plain.pictures_per_second, plain.fastest) == pytest.approx((1.0, 2.0, 4.0))
    assert (ours.slowest, ours.pictures_per_second, ours.fastest) == pytest.approx((8.0, 10.0, 16.0))
    assert (plain.ratio, ours.ratio) == pytest.approx((1.0, 5.0))


def test_what_is_timed_is_the_rewritten_network_with_blocks(
    small: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a run, whose mean is whole grey levels."""
    made: list[FusedForward] = []
    dropped: list[float] = []

    def noted(*arguments: Any, **settings: Any) -> FusedForward:
        made.append(FusedForward(*arguments, **settings))
        made[-1].register_forward_pre_hook(
            lambda _module, _batch, settings: dropped.append(settings["dropout"]), with_kwargs=True
        )
        return made[-1]

    monkeypatch.setattr(benchmark_module, "FusedForward", noted)
    benchmark_training(small, batch_size=2, rounds=1, device="cpu", precision="fp32")
    (forward,) = made
    assert forward.first is not None
    assert set(dropped) == {DEFAULT.dropout}


def test_the_plain_loop_is_torch_s_own_optimiser_on_the_plain_network(small: Network) -> None:
    torch.manual_seed(0)
    model = AlexNet(small)
    pictures, labels = torch.randn(4, 3, 24, 24), torch.tensor([0, 1, 2, 0])
    twin = AlexNet(small)
    twin.load_state_dict(model.state_dict())
    layers = nn.Sequential(*list(twin.children())[1:])
    optimizer = torch.optim.SGD(layers.parameters(), lr=0.04, momentum=0.9, weight_decay=5e-4)
    step = plain_loop(model)
    for _ in range(2):
        step(pictures, labels)
        optimizer.zero_grad()
        cross_entropy(layers(pictures), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("batch_size", "rounds"), [(0, 1), (1, 0)])
def test_numbers_below_one_are_refused(small: Network, batch_size: int, rounds: int) -> None:
    with pytest.raises(TrainingError, match=f"batch size {batch_size}, rounds {rounds}; both must be"):
        benchmark_training(small, batch_size=batch_size, rounds=rounds)


# --- from files -------------------------------------------------------------------------------------------


@pytest.fixture
def data(coloured: Path) -> Dataset:
    return open_dataset(coloured, validation_share=0.25)


def test_from_files_there_are_three_ways_and_nothing_is_left_behind(
    small: Network, data: Dataset, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = sorted(own_cache.rglob("*"))
    told: list[str] = []
    timings = benchmark_folder(
        small,
        data,
        batch_size=4,
        steps=2,
        rounds=2,
        workers=0,
        device="cpu",
        precision="fp32",
        on_progress=told.append,
    )
    check(timings)
    ways = [
        "plain loop, Pillow, float32",
        "alexnet train, first epoch",
        "alexnet train, later epochs",
    ]
    assert [timing.name for timing in timings] == ways
    assert told == [f"{way}: {turn}" for turn in ("warm-up", "round 1 of 2", "round 2 of 2") for way in ways]
    assert list(tmp_path.iterdir()) == []
    assert sorted(own_cache.rglob("*")) == before


def test_too_few_pictures_and_framed_ones_are_refused(small: Network, data: Dataset) -> None:
    with pytest.raises(DataError, match=r"18 training pictures; must be picture files, at least 20"):
        benchmark_folder(small, data, batch_size=10, steps=2)
    with pytest.raises(DataError, match="must be picture files"):
        benchmark_folder(small, replace(data, tight=True), batch_size=1, steps=1)
    with pytest.raises(TrainingError, match="steps 0, rounds 3; each must be at least 1"):
        benchmark_folder(small, data, steps=0)
