"""Where a run stands, on disk: all that it needs to go on as if it had never stopped.

Two files, the newest and the one before: one of them is whole at any moment, whatever happens. They are
safetensors, with a checksum of every tensor and of the rest, as a disk may give back something else than was
written. A new one is written beside them before either is touched.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from alexnet.errors import OutputError, TrainingError
from alexnet.images.shards import Drawn
from alexnet.learning.progress import Tally
from alexnet.learning.runs import STATE, Epoch, Steps
from alexnet.learning.runs import STATE_BEFORE as BEFORE
from alexnet.learning.runs import STATE_NEXT as NEXT
from alexnet.learning.weights import write_tensors

FORMAT = 2
_NUMBERS_DRAWN = 1  # a format in which `drawn` was a number of pictures each


@dataclass(frozen=True, kw_only=True)
class State:
    """A run between two steps."""

    tensors: Mapping[str, Tensor]  # weights, momentum and running mean, by names such as "model/conv1.weight"
    step: int  # steps of this epoch that are done
    seconds: float  # that the run took so far
    pictures: int  # trained on in the epochs before this one
    tally: Tally  # of this epoch so far
    few: Tally  # since the last line of steps.csv
    epochs: tuple[Epoch, ...]
    lines: tuple[Steps, ...]
    best: float | None  # top-1 of best.safetensors on the validation pictures, 0 to 1
    drawn: tuple[Drawn, ...] = ()  # how far each process has taken a stream
    learning_rate: float = 0.0  # of the last step
    validation_seconds: float = 0.0  # that the last validation took
    twins: tuple[str, ...] | None = None  # what was found about pictures in both splits; None: not looked yet
    small_epochs: int = 0  # how many had ended before pictures had grown to the network's own size


def save_state(folder: Path, state: State) -> None:
    """Write the state, with the one before kept; raises OutputError, and that is still there, if it fails."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    described = {
        "format": FORMAT,
        "checksums": {name: _checksum(tensor) for name, tensor in tensors.items()},
        "step": state.step,
        "seconds": state.seconds,
        "pictures": state.pictures,
        "tally": state.tally.to_dict(),
        "few": state.few.to_dict(),
        "epochs": [asdict(each) for each in state.epochs],
        "lines": [asdict(each) for each in state.lines],
        "best": state.best,
        "drawn": [asdict(each) for each in state.drawn],
        "learning_rate": state.learning_rate,
        "validation_seconds": state.validation_seconds,
        "twins": state.twins,
        "small_epochs": state.small_epochs,
    }
    text = json.dumps(described)
    metadata = {"alexnet": text, "checksum": str(_description_checksum(text, tensors))}
    write_tensors(folder / NEXT, tensors, metadata)
    try:
        _put_in_place(folder)
    except OSError as error:
        raise OutputError(
            f"{folder / STATE}: cannot be written: {error.strerror}; {NEXT} and {BEFORE} are there"
        ) from error


def _put_in_place(folder: Path) -> None:
    if (folder / STATE).exists():
        (folder / STATE).replace(folder / BEFORE)
    (folder / NEXT).replace(folder / STATE)


def load_state(folder: Path, *, on_notice: Callable[[str], None]) -> State | None:
    """The newest whole state, or None where there is none yet; `on_notice` is told of a damaged one.

    Raises TrainingError where there are states and none is whole.
    """
    damaged = []
    for path in (folder / NEXT, folder / STATE, folder / BEFORE):
        if not path.exists():
            continue
        try:
            state = _read(path)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            damaged.append(f"{path}: damaged ({error})")
            continue
        for each in damaged:
            on_notice(
                f"{each}; going on from {path.name}, {state.pictures + state.tally.pictures:,} pictures in"
            )
        if path.name == NEXT:
            with suppress(OSError):  # then the next that is saved will say so
                _put_in_place(folder)
        return state
    if damaged:
        raise TrainingError(f"{'; '.join(damaged)}; nothing is left to go on from; start the run anew")
    return None


def remove_before(folder: Path) -> None:
    """Remove the state before the newest, once the run has come to its end."""
    (folder / BEFORE).unlink(missing_ok=True)


def _read(path: Path) -> State:
    with safe_open(path, framework="pt") as file:
        metadata: dict[str, str] = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    text = metadata["alexnet"]
    if int(metadata["checksum"]) != _description_checksum(text, tensors):
        raise ValueError("the checksum of its description is wrong")
    described: dict[str, Any] = json.loads(text)
    if described["format"] not in (_NUMBERS_DRAWN, FORMAT):
        raise ValueError(f"format {described['format']}, this alexnet has {FORMAT}")
    for name, tensor in tensors.items():
        if _checksum(tensor) != described["checksums"][name]:
            raise ValueError(f"the checksum of {name} is wrong")
    return State(
        tensors=tensors,
        step=described["step"],
        seconds=described["seconds"],
        pictures=described["pictures"],
        tally=Tally.from_dict(described["tally"]),
        few=Tally.from_dict(described["few"]),
        epochs=tuple(Epoch(**each) for each in described["epochs"]),
        lines=tuple(Steps(**each) for each in described["lines"]),
        best=described["best"],
        drawn=tuple(
            Drawn(pictures=each) if described["format"] == _NUMBERS_DRAWN else Drawn(**each)
            for each in described["drawn"]
        ),
        learning_rate=described["learning_rate"],
        validation_seconds=described["validation_seconds"],
        twins=None if described["twins"] is None else tuple(described["twins"]),
        small_epochs=described.get("small_epochs", 0),
    )


def _description_checksum(text: str, tensors: Mapping[str, Tensor]) -> int:
    forms = sorted((name, str(each.dtype), tuple(each.shape)) for name, each in tensors.items())
    return zlib.crc32(f"{text}{forms}".encode())


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
