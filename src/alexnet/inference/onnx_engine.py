"""ONNX Runtime: an ONNX file as a function from uint8 pictures to logits. Loads neither torch nor onnx.

From release 1.29 on, ONNX Runtime reports its use to its makers wherever it is not told not to before it is
loaded. So it is loaded in one place, here, and told.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.images.cores import threads_within_quota
from alexnet.learning.classifier import Logits, Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from onnxruntime import InferenceSession

_ERRORS_ONLY = 3


def _runtime() -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def open_session(model: str | Path | bytes, *, threads: int | None = None) -> InferenceSession:
    """A session on the processor, with as many threads as there are cores to use unless told."""
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Threads that wait in a loop for more work take the processor from whatever decodes the next pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    threads = threads_within_quota(threads)
    if threads is not None:
        options.intra_op_num_threads = threads
    source = model if isinstance(model, bytes) else str(model)
    session: InferenceSession = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return session


def open_model(model: str | Path | bytes, *, key: str, threads: int | None = None) -> tuple[Run, str]:
    """The model as a function, and what its metadata says under `key`, "" for nothing."""
    session = open_session(model, threads=threads)
    (given,), (wanted,) = session.get_inputs(), session.get_outputs()

    def run(batch: npt.NDArray[np.uint8]) -> Logits:
        logits: Logits = session.run([wanted.name], {given.name: batch})[0]
        return logits

    return run, session.get_modelmeta().custom_metadata_map.get(key, "")
