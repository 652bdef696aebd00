"""Which device and which precision a run uses, chosen by what the machine has."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from alexnet.errors import TrainingError
from alexnet.images.cores import core_quota
from alexnet.learning.allocator import keep_freed_memory

_KINDS = ("cpu", "cuda", "mps")  # that training and answers were made for
_CPU = torch.device("cpu")
PRECISIONS = ("auto", "bf16", "fp32")


def choose_device(name: str = "auto", *, own_gpu: int | None = None, alone: bool = True) -> torch.device:
    """The device of that name, or with "auto" the fastest kind there is: CUDA, Apple's MPS, the processor.

    One of several processes, not `alone`, takes its `own_gpu`, or the processor where they have none. Raises
    TrainingError for a name that torch does not know and for a device that is not there.
    """
    if not alone and name in ("auto", "cuda"):
        if own_gpu is not None:
            return torch.device("cuda", own_gpu)
        if name == "cuda":
            raise TrainingError("device 'cuda': fewer GPUs than processes; start as many, or try cpu")
        return _CPU
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in _KINDS:
            raise RuntimeError(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise TrainingError(
            f"device '{name}': not on this machine; must be one that torch can use; try cpu"
        ) from None
    return device


def prepare(device: torch.device) -> None:
    """Make this process ready to compute on it: on a processor, it keeps freed memory and its share of cores.

    Torch takes a thread for each core that it sees. Of those of a container that may use less, most would
    only wait (`core_quota`).
    """
    if device.type != "cpu":
        return
    keep_freed_memory()
    quota = core_quota()
    if quota is not None and quota < torch.get_num_threads():
        torch.set_num_threads(quota)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """bfloat16 or float32, by name; "auto" takes bfloat16 where the device computes in it natively.

    Raises TrainingError for another name.
    """
    if name not in PRECISIONS:
        raise TrainingError(f"precision '{name}': unknown; must be one of {', '.join(PRECISIONS)}")
    if name == "auto":
        return torch.bfloat16 if _has_bf16(device) else torch.float32
    return torch.bfloat16 if name == "bf16" else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
    """The context in which a model computes in that precision; weights stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # torch emulates bf16 on processors without it, slower than float32; older releases cannot tell.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
