"""OpenVINO: an ONNX file, or its own .xml, as a function from uint8 pictures to logits, on the processor.

OpenVINO reports to its makers that it was loaded, through a package of its own, openvino_telemetry, and goes
without where there is none. So it is loaded in one place, here, as if there were none.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.images.cores import threads_within_quota
from alexnet.learning.classifier import Logits, Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import openvino

_REPORTS = "openvino_telemetry"
_METADATA = "framework"  # where OpenVINO keeps what an ONNX file's metadata says


@cache
def _runtime() -> Any:
    before = sys.modules.get(_REPORTS)
    sys.modules[_REPORTS] = None  # type: ignore[assignment]  # to import it now is an ImportError
    try:
        import openvino
    finally:
        del sys.modules[_REPORTS]
        if before is not None:
            sys.modules[_REPORTS] = before
    return openvino


@cache
def _core() -> openvino.Core:
    """One for the process's whole life.

    OpenVINO's processor plugin gives the thread that makes a Core a stack for signals and unmaps it with the
    last Core: the next signal that Python handles there would end the process.
    """
    core: openvino.Core = _runtime().Core()
    return core


def open_model(
    model: str | Path | bytes, *, key: str, precision: str = "auto", threads: int | None = None
) -> tuple[Run, str]:
    """The model as a function, and what it says under `key`, "" for nothing.

    `precision` is that of what is not in 8 bits: fp32, bf16, or auto, which is bf16 where the processor
    computes in it.
    """
    core = _core()
    read = core.read_model(model if isinstance(model, bytes) else str(model))
    told = read.get_rt_info([_METADATA, key]).astype(str) if read.has_rt_info([_METADATA, key]) else ""
    native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    in_bf16 = precision == "bf16" or (precision == "auto" and native)
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if in_bf16 else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    threads = threads_within_quota(threads)
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    request = core.compile_model(read, "CPU", settings).create_infer_request()

    def run(batch: npt.NDArray[np.uint8]) -> Logits:
        # Its memory is the request's, and the next run's.
        logits: Logits = request.infer({0: batch}, share_inputs=True)[0].copy()
        return logits

    return run, told


def save_xml(model: bytes, path: Path, metadata: Mapping[str, str]) -> None:
    """Write an ONNX model as OpenVINO's own two files, `path` and the same with .bin."""
    read = _core().read_model(model)
    for key, text in metadata.items():
        read.set_rt_info(text, [_METADATA, key])
    _runtime().save_model(read, str(path), compress_to_fp16=False)
