"""Training pictures that stay on a GPU: where they fit, a step waits for no disk and no bus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alexnet.images.batches import load_batches
from alexnet.learning.source import Source

_SHARE = 0.4  # of the free memory that pictures may take; the rest is for activations
_CHUNK = 512  # pictures that are moved at a time


def room_on(device: torch.device) -> int:
    """Bytes that pictures may take there; none on a processor, whose memory the disk's cache is in anyway."""
    return int(torch.cuda.mem_get_info(device)[0] * _SHARE) if device.type == "cuda" else 0


class Resident:
    """The pictures of a source on a device; state that lives as long as a feed."""

    def __init__(self) -> None:
        self._pictures: Tensor | None = None  # uint8 (N, side, side, 3); zeros where one cannot be read
        self._missing: npt.NDArray[np.int64] = np.empty(0, np.int64)

    @property
    def is_there(self) -> bool:
        """Whether `take` can be called."""
        return self._pictures is not None

    def settle(
        self,
        source: Source,
        device: torch.device,
        *,
        workers: int,
        room: int,
        on_unreadable: Callable[[int, str], None] = lambda *_: None,
    ) -> None:
        """Move the pictures there if they are all decoded and take no more than `room` bytes."""
        if self.is_there or not source.is_decoded() or len(source) * source.side**2 * 3 > room:
            return
        pictures = torch.zeros((len(source), source.side, source.side, 3), dtype=torch.uint8, device=device)
        missing: list[int] = []

        def leave_out(index: int, message: str) -> None:
            missing.append(index)
            on_unreadable(index, message)

        batches = load_batches(
            source.pictures,
            range(len(source)),
            shape=lambda square: square,
            batch_size=_CHUNK,
            workers=workers,
            on_unreadable=leave_out,
        )
        with closing(batches):
            for batch, chosen in batches:
                pictures[torch.from_numpy(chosen).to(device)] = torch.from_numpy(batch).to(device)
        self._pictures, self._missing = pictures, np.array(missing, np.int64)

    def take(self, asked: Sequence[int] | npt.NDArray[np.int64]) -> tuple[Tensor, npt.NDArray[np.int64]]:
        """Those of the pictures that can be read, and their indices."""
        assert self._pictures is not None
        chosen = np.asarray(asked)[~np.isin(asked, self._missing)]
        places = torch.from_numpy(chosen).to(self._pictures.device, non_blocking=True)
        return self._pictures[places], chosen
