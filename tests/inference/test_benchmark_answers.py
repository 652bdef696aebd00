"""The benchmark of answers: every way computes the same network, and what is told are those ways' figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alexnet import Network, NetworkError, TrainingError, edit
from alexnet.inference import benchmark as module
from alexnet.inference.benchmark import benchmark_answers, plain_torch
from alexnet.learning.model import AlexNet


def test_all_ways_are_timed_and_ratios_are_to_the_first(small: Network) -> None:
    timings = benchmark_answers(small, batch_size=2, rounds=1)
    names = [each.name for each in timings]
    assert names[0] == "torch eager, float32"
    assert {"onnxruntime, int8", "openvino, int8", "openvino, bfloat16"} <= set(names)
    assert timings[0].ratio == 1.0
    for each in timings:
        assert each.ratio == pytest.approx(each.pictures_per_second / timings[0].pictures_per_second)


def test_the_plain_way_gives_what_the_model_gives(small: Network) -> None:
    torch.manual_seed(0)
    model = AlexNet(small, mean=[90.0, 100.0, 110.0], scale=[50.0, 60.0, 70.0]).eval()
    batch = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = model(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(plain_torch(model)(batch), expected, atol=1e-5)


def test_a_turn_of_single_pictures_is_of_many(small: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    monkeypatch.setattr(module, "classifiers", lambda *_: {})
    monkeypatch.setattr(module, "plain_torch", lambda _: lambda batch: seen.append(len(batch)))
    benchmark_answers(small, batch_size=1, rounds=1)
    assert seen == [1] * 32 * 3
    seen.clear()
    benchmark_answers(small, batch_size=100, rounds=1)
    assert seen == [100] * 3


def test_no_pictures_and_no_rounds_are_refused(small: Network) -> None:
    for batch_size, rounds in ((0, 5), (1, 0)):
        with pytest.raises(TrainingError, match="both must be at least 1"):
            benchmark_answers(small, batch_size=batch_size, rounds=rounds)


def test_a_network_of_grey_pictures_is_refused(small: Network) -> None:
    with pytest.raises(NetworkError, match="input depth 1; must be 3"):
        benchmark_answers(edit(small, "input=24x24x1"), batch_size=1, rounds=1)
