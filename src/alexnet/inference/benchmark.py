"""How fast a network answers here, in every engine, beside plain torch, in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from torch import nn

from alexnet.architecture.network import Network
from alexnet.errors import TrainingError
from alexnet.inference import onnx_engine
from alexnet.inference.calibrate import calibrate
from alexnet.inference.graph import EightBits, build
from alexnet.inference.made_up import made_up
from alexnet.learning.benchmark import Timing, time_by_turns
from alexnet.learning.classifier import Classifier, Logits, Run
from alexnet.learning.devices import choose_precision
from alexnet.learning.model import AlexNet, set_layout
from alexnet.learning.weights import Weights, torch_classifier, untrained_weights
from alexnet.learning.weights_file import KEY

_CPU = torch.device("cpu")
_PICTURES_A_TURN = 32  # at least: a single picture's time is too short to be told from the clock's


def benchmark_answers(
    network: Network,
    *,
    batch_size: int,
    rounds: int = 5,
    on_progress: Callable[[str], None] = lambda _: None,
) -> tuple[Timing, ...]:
    """Time answers to batches of `batch_size` pictures, uint8 to logits, on the processor, by turns.

    The first way is what everyone runs: torch, eager, float32, contiguous (N, C, H, W) memory. Weights and
    pictures are made up, which does not change the work. Two turns of each way warm up.
    """
    if batch_size < 1 or rounds < 1:
        raise TrainingError(f"benchmark: batch size {batch_size}, rounds {rounds}; both must be at least 1")
    batch = np.resize(made_up(network, min(batch_size, 64)), (batch_size, *network.input))
    ways: dict[str, Run] = {"torch eager, float32": plain_torch(AlexNet(network))}
    ways |= classifiers(network, on_progress)
    repeats = -(-_PICTURES_A_TURN // batch_size)
    turns = {name: [partial(_repeated, run, batch, repeats)] * (2 + rounds) for name, run in ways.items()}
    return time_by_turns(
        turns, warm_up=2, pictures=repeats * batch_size, device=_CPU, on_progress=on_progress
    )


def _repeated(run: Run, batch: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], repeats: int) -> None:
    for _ in range(repeats):
        run(batch)


def classifiers(network: Network, on_progress: Callable[[str], None]) -> dict[str, Classifier]:
    """Every engine's with made-up weights, by what it is called."""
    on_progress("preparing each engine")
    weights = untrained_weights(network)
    return {
        name: Classifier(run=run, network=network, class_names=weights.class_names, view=weights.view)
        for name, run in _engines(weights)
    }


def exported_models(weights: Weights) -> tuple[bytes, bytes]:
    """As ONNX in float32, and in 8 bits calibrated on made-up pictures."""
    network, metadata = weights.model.network, {KEY: weights.description.to_json()}
    tensors = {name: each.contiguous().numpy() for name, each in weights.model.state_dict().items()}
    seen = made_up(network)
    eight_bits = EightBits(ranges=calibrate(network, tensors, lambda: iter([seen])))
    exact = build(network, tensors, metadata=metadata)
    rounded = build(network, tensors, eight_bits=eight_bits, metadata=metadata)
    return exact.SerializeToString(), rounded.SerializeToString()


def _engines(weights: Weights) -> Iterator[tuple[str, Run]]:
    precision = choose_precision("auto", _CPU)
    yield (
        f"torch, {str(precision).removeprefix('torch.')}",
        torch_classifier(weights, device=_CPU, precision=precision).run,
    )
    exact, rounded = exported_models(weights)
    yield "onnxruntime, float32", onnx_engine.open_model(exact, key=KEY)[0]
    yield "onnxruntime, int8", onnx_engine.open_model(rounded, key=KEY)[0]
    if find_spec("openvino") is None:
        return
    from alexnet.inference import openvino_engine

    for precision_name, model_bytes, named in (
        ("fp32", exact, "float32"),
        ("bf16", exact, "bfloat16"),
        ("fp32", rounded, "int8"),
    ):
        run, _ = openvino_engine.open_model(model_bytes, key=KEY, precision=precision_name)
        yield f"openvino, {named}", run


def plain_torch(model: AlexNet) -> Run:
    """What a tutorial writes: normalise, permute, call the layers, in float32."""
    mean, scale = (model.get_submodule("normalize").get_buffer(name) for name in ("mean", "scale"))
    layers = set_layout(nn.Sequential(*list(model.children())[1:]), torch.contiguous_format).eval()

    @torch.inference_mode()
    def run(batch: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Logits:
        pictures = torch.from_numpy(batch).permute(0, 3, 1, 2).float()
        pictures = (pictures - mean[:, None, None]) / scale[:, None, None]
        logits: Logits = layers(pictures.contiguous()).numpy()
        return logits

    return run
