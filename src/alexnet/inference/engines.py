"""open_classifier(path): a file of weights as a Classifier. The only file that knows which engines there are.

    engine        reads                           package
    torch         weights                         torch
    onnxruntime   weights, .onnx                  onnxruntime (and onnx, for weights)
    openvino      weights, .onnx, .xml            openvino (and onnx, for weights)

Weights are a safetensors file that alexnet wrote, or torchvision's. What is not in 8 bits is computed in
float32, or, in torch and OpenVINO, in bfloat16 where the processor does so natively or where that is asked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from alexnet.architecture.network import read_network, to_toml
from alexnet.errors import AlexNetError, MissingExtraError, TrainingError, WeightsError
from alexnet.inference import choice
from alexnet.inference.choice import Way
from alexnet.inference.made_up import made_up
from alexnet.learning.classifier import Classifier, Run
from alexnet.learning.weights_file import KEY, Description, Floats, is_weights_file, read_weights_file

ENGINES = ("torch", "onnxruntime", "openvino")
EXPORTED = (".onnx", ".xml")
"""The endings of files that `alexnet export` wrote."""
FEW = 1000
"""Pictures: for fewer, to measure, or to load OpenVINO, takes longer than the fastest engine saves."""

_TRIED = 16  # pictures at a time, to measure with
_GPU = Path("/dev/nvidiactl")  # there with NVIDIA's driver; what is remembered holds without one


def open_classifier(
    path: str | Path,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    pictures: int | None = None,
    on_fetch: Callable[[str], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
) -> Classifier:
    """Open a file of weights as a function from uint8 pictures to logits.

    `engine` is one of ENGINES or auto: on a processor, the fastest that is installed and agrees with torch,
    which is measured once, in seconds, and remembered in the cache folder; `on_note` is told. Nothing is
    measured where a device or precision is asked for, where `pictures`, how many there will be (0: as they
    come), is below FEW, or for torchvision's files; then weights are run by torch, exported files by OpenVINO
    where it is installed, else by ONNX Runtime, and fewer than FEW by ONNX Runtime, since it starts faster.
    `threads` are those that the engine computes with on a processor; torch has one number of them for the
    whole process. "torchvision" is its published weights, which are
    fetched where they are not on this machine; `on_fetch` is told of it. Raises WeightsError for a file that
    is none or that the engine cannot read, TrainingError for a device or precision that is not there,
    MissingExtraError for an engine that is not installed.
    """
    if engine not in (*ENGINES, "auto"):
        raise TrainingError(f"engine: {engine}; must be auto or one of {', '.join(ENGINES)}")
    exported = is_exported(path)
    if device not in ("auto", "cpu") and (exported or engine in ENGINES[1:]):
        what = "an exported file" if exported else engine
        raise TrainingError(f"device: {device}; {what} runs on the processor; must be auto or cpu")
    if exported and engine == precision == "auto" and _are_few(pictures) and _starts_first(Path(path)):
        engine = "onnxruntime"
    if engine == device == precision == "auto":
        found = _open_fastest(Path(path), threads, pictures, on_note)
        if found is not None:
            return found
    if exported:
        return _open_exported(Path(path), engine, precision, threads)
    if engine in ("torch", "auto"):
        return _open_torch(path, device, precision, threads, on_fetch)
    return _open_weights(path, engine, precision, threads, on_fetch)


def is_exported(path: str | Path) -> bool:
    """Whether a file is one that `alexnet export` wrote, by its ending."""
    return Path(path).suffix.lower() in EXPORTED


def _open_fastest(
    path: Path, threads: int | None, pictures: int | None, on_note: Callable[[str], None]
) -> Classifier | None:
    """By the way that is remembered or, where that pays, measured; None where neither is to be had."""
    pays = pictures is None or pictures >= FEW
    if not pays and not choice.anything_kept():
        return None
    what = _measured_as(path)
    if what is None:
        return None
    key = choice.key_of({**what, "threads": threads, "gpu": _GPU.exists()}, ENGINES)
    way = choice.recall(key)
    if way is not None:
        with suppress(MissingExtraError, TrainingError):  # it is not to be had any more
            return _open_by(path, way, threads)
    if not pays:
        return None
    ways = list(_ways(path))
    if len({each.engine for each in ways}) < 2:
        return None
    on_note("measuring which engine is fastest here, once; --engine names one")
    first = _open_by(path, ways[0], threads)
    openers: dict[Way, Callable[[], Run]] = {each: partial(_run_by, path, each, threads) for each in ways}
    openers[ways[0]] = lambda: first.run
    found = choice.fastest(openers, made_up(first.network, _TRIED))
    kept = choice.remember(key, found)
    on_note(f"{found}; {'' if kept else 'the cache folder cannot be written, so it is not '}remembered")
    return replace(first, run=found.run, engine=str(found.way))


def _measured_as(path: Path) -> dict[str, object] | None:
    """Under what a choice for this file is remembered; None where there is nothing to choose."""
    try:
        if path.suffix.lower() == ".onnx":
            # What it holds is known only once it is open; files of one size hold the same network.
            return {"exported": path.stat().st_size}
        if is_weights_file(path):
            return {"network": to_toml(read_network(path))}
    except (OSError, AlexNetError):
        pass  # opening it says what is wrong
    return None


def _ways(path: Path) -> Iterator[Way]:
    """Every way of running a file on the processor, first the one that says what is right."""
    if is_exported(path):
        yield from (Way(engine=name, precision="auto") for name in ENGINES[1:] if find_spec(name))
        return
    with _installed("train"):
        from alexnet.learning.devices import choose_device, choose_precision
    device = choose_device()
    if device.type != "cpu":
        return
    native = str(choose_precision("auto", device)) == "torch.bfloat16"
    for name in ENGINES:
        # ONNX Runtime runs a graph that onnx writes, and has no bfloat16.
        if find_spec(name) and (name == "torch" or find_spec("onnx")):
            yield Way(engine=name, precision="fp32")
            if native and name != "onnxruntime":
                yield Way(engine=name, precision="bf16")


def _open_by(path: Path, way: Way, threads: int | None) -> Classifier:
    opened = open_classifier(path, engine=way.engine, device="cpu", precision=way.precision, threads=threads)
    return replace(opened, engine=str(way))


def _run_by(path: Path, way: Way, threads: int | None) -> Run:
    return _open_by(path, way, threads).run


def _open_torch(
    path: str | Path, device: str, precision: str, threads: int | None, on_fetch: Callable[[str], None]
) -> Classifier:
    with _installed("train"):
        import torch

        from alexnet.learning.devices import choose_device, choose_precision
        from alexnet.learning.torchvision import open_weights
        from alexnet.learning.weights import torch_classifier
    chosen = choose_device(device)
    weights = open_weights(path, on_fetch=on_fetch)
    if threads is not None:
        torch.set_num_threads(threads)
    return torch_classifier(weights, device=chosen, precision=choose_precision(precision, chosen))


def _are_few(pictures: int | None) -> bool:
    return pictures is not None and 0 < pictures < FEW


def _starts_first(path: Path) -> bool:
    """Whether ONNX Runtime, which starts faster than OpenVINO, is there and reads an exported file."""
    return path.suffix.lower() == ".onnx" and find_spec("onnxruntime") is not None


def _open_exported(path: Path, engine: str, precision: str, threads: int | None) -> Classifier:
    if engine == "auto":
        engine = "openvino" if find_spec("openvino") or path.suffix.lower() == ".xml" else "onnxruntime"
    if engine == "torch" or (engine == "onnxruntime" and path.suffix.lower() == ".xml"):
        raise WeightsError(f"{path}: {engine} cannot read it; must be openvino or, for .onnx, onnxruntime")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    with _told(f"{path}: {engine} cannot read it", "it may be truncated"):
        run, told = _open_model(path, engine, precision=precision, threads=threads)
    try:
        description = Description.from_json(told)
    except AlexNetError as error:
        raise WeightsError(f"{path}: {error}") from None
    return _classifier(run, description, engine)


def read_weights(
    path: str | Path, *, on_fetch: Callable[[str], None] = lambda _: None
) -> tuple[Description, dict[str, Floats]]:
    """What weights say of themselves, and their tensors by name; torch is loaded for torchvision's only.

    Raises WeightsError for a file that is none.
    """
    with _installed("train"):
        if is_weights_file(path):
            return read_weights_file(path)
        from alexnet.learning.torchvision import open_weights
    weights = open_weights(path, on_fetch=on_fetch)
    tensors = {name: each.numpy() for name, each in weights.model.state_dict().items()}
    return weights.description, tensors


def _open_weights(
    path: str | Path, engine: str, precision: str, threads: int | None, on_fetch: Callable[[str], None]
) -> Classifier:
    description, tensors = read_weights(path, on_fetch=on_fetch)
    with _installed("deploy"):
        from alexnet.inference.graph import build

        model = build(description.network, tensors).SerializeToString()
    name = description.network.name
    with _told(f"{path}: {engine} cannot run network '{name}'", "take another engine, such as torch"):
        run, _ = _open_model(model, engine, precision=precision, threads=threads)
    return _classifier(run, description, engine)


def _classifier(run: Run, description: Description, engine: str) -> Classifier:
    return Classifier(
        run=run,
        network=description.network,
        class_names=description.class_names,
        view=description.view,
        engine=engine,
    )


def _open_model(model: Path | bytes, engine: str, *, precision: str, threads: int | None) -> tuple[Run, str]:
    if precision not in ("auto", "fp32", "bf16"):
        raise TrainingError(f"precision: {precision}; must be auto, bf16 or fp32")
    with _installed("deploy"):
        if engine == "openvino":
            from alexnet.inference import openvino_engine

            return openvino_engine.open_model(model, key=KEY, precision=precision, threads=threads)
        from alexnet.inference import onnx_engine

        if precision == "bf16":
            raise TrainingError("precision: bf16 in onnxruntime, which has none; must be auto or fp32")
        return onnx_engine.open_model(model, key=KEY, threads=threads)


@contextmanager
def _told(what: str, then: str) -> Iterator[None]:
    """What an engine raises as a WeightsError: what failed, its reason, and then."""
    try:
        yield
    except AlexNetError:
        raise
    except Exception as error:  # each raises its own, of many kinds
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{what} ({reason}); {then}") from None


@contextmanager
def _installed(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), extra) from None
