"""Random crops and mirror images of a batch of pictures, where the batch is."""

from __future__ import annotations

import torch
from torch import Tensor


def random_crops(batch: Tensor, height: int, width: int, *, generator: torch.Generator) -> Tensor:
    """A height x width crop from anywhere in each picture: uint8 (N, H, W, 3) -> (N, height, width, 3)."""
    count, rows, columns = batch.shape[:3]
    if (rows, columns) == (height, width):
        return batch
    tops = torch.randint(rows - height + 1, (count,), generator=generator).tolist()
    lefts = torch.randint(columns - width + 1, (count,), generator=generator).tolist()
    places = zip(batch, tops, lefts, strict=True)
    return torch.stack([each[top : top + height, left : left + width] for each, top, left in places])


def random_mirror(batch: Tensor, *, generator: torch.Generator) -> Tensor:
    """Every picture left to right with probability one half: uint8 (N, H, W, 3), a new batch."""
    mirrored = torch.rand(len(batch), generator=generator) < 0.5
    return torch.where(mirrored.to(batch.device)[:, None, None, None], batch.flip(2), batch)
