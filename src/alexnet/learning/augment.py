"""Random crops, mirror images, colours and mixtures of a batch of pictures, where the batch is.

What is drawn comes in as numbers from 0 to 1, a row for each picture, so that the same numbers change the
same picture in the same way on every device and in every process.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import log, sqrt

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from alexnet.learning.fused import Colour

_MOST_THREADS = 8  # that cut: Python itself takes a seventh of the time, one thread after the other


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """What is cut out of each picture of a batch, in whole pixels."""

    top: Tensor  # (N,), int64
    left: Tensor
    height: Tensor  # at least 1
    width: Tensor


def place_boxes(side: int, share: Tensor, places: Tensor) -> Boxes:
    """Boxes in pictures side x side: of `share` (N, 2) of their height and width, at `places` (N, 2).

    A place of 0 is the top or the left, one just below 1 the bottom or the right; all between are alike
    likely where the places are uniform, and 0.5 is the middle.
    """
    size = (share * side).round().clamp(min=1, max=side).long()
    room = side - size
    corner = torch.minimum((places * (room + 1)).floor().long(), room)
    return Boxes(top=corner[:, 0], left=corner[:, 1], height=size[:, 0], width=size[:, 1])


def resized_shares(draws: Tensor, aspects: Tensor, *, least: float, stretch: float = 4 / 3) -> Tensor:
    """Height and width, as shares (N, 2), of boxes of `least` to all of a picture's area.

    Up to `stretch` times as wide as high, or as high as wide, as far as a box of that area fits into the
    picture, which is `aspects` (N,) times as wide as high. `draws` (N, 2) are uniform from 0 to 1. Szegedy et
    al. 2015, section 6, has 0.08 for `least`. Of a picture that is more elongated than `stretch` a box may
    have to be less than `least`.
    """
    area = least + (1 - least) * draws[:, 0]
    narrowest = (area * aspects).log().clamp(-log(stretch), log(stretch))
    widest = (aspects / area).log().clamp(-log(stretch), log(stretch))
    ratio = (narrowest + draws[:, 1] * (widest - narrowest)).exp()
    return torch.stack([(area / ratio * aspects).sqrt(), (area * ratio / aspects).sqrt()], dim=1).clamp(max=1)


def view_shares(aspects: Tensor, *, share: float) -> Tensor:
    """Height and width, as shares (N, 2), of a square crop: `share` of the picture's shorter side."""
    return share * torch.stack([aspects.clamp(max=1), (1 / aspects).clamp(max=1)], dim=1)


def cut(batch: Tensor, boxes: Boxes, height: int, width: int, mirrored: Tensor | None = None) -> Tensor:
    """Each picture's box, antialiased to height x width: uint8 (N, S, S, 3) -> (N, height, width, 3).

    Those that are `mirrored` (N,) go from right to left.
    """
    one_by_one = batch.device.type == "cpu"
    return (cut_one_by_one if one_by_one else cut_at_once)(batch, boxes, height, width, mirrored)


def cut_at_once(
    batch: Tensor, boxes: Boxes, height: int, width: int, mirrored: Tensor | None = None
) -> Tensor:
    """`cut` as two products of matrices, for any device; within a grey level of `cut_one_by_one`."""
    top, left, tall, wide = (
        each.to(batch.device, non_blocking=True)
        for each in (boxes.top, boxes.left, boxes.height, boxes.width)
    )
    rows = _weights(top, tall, batch.shape[1], height)
    columns = _weights(left, wide, batch.shape[2], width)
    flow = torch.einsum("nhr,nrcd->nhcd", rows, batch.float())
    flow = torch.einsum("nwc,nhcd->nhwd", columns, flow)
    flow = flow.round_().clamp_(0, 255).to(torch.uint8)
    if mirrored is None:
        return flow
    mirrored = mirrored.to(batch.device, non_blocking=True)
    return torch.where(mirrored[:, None, None, None], flow.flip(2), flow)


def cut_one_by_one(
    batch: Tensor, boxes: Boxes, height: int, width: int, mirrored: Tensor | None = None
) -> Tensor:
    """`cut` on the processor, in torch's number of threads, as its way takes one alone for one picture."""
    result = torch.empty((len(batch), height, width, 3), dtype=torch.uint8)
    turned = torch.zeros(len(batch)) if mirrored is None else mirrored
    columns = (boxes.top, boxes.left, boxes.height, boxes.width, turned)
    places = list(zip(*(each.tolist() for each in columns), strict=True))
    threads = min(torch.get_num_threads(), _MOST_THREADS)

    def every_so_many(first: int) -> None:
        for index in range(first, len(places), threads):
            top, left, tall, wide, turn = places[index]
            box = batch[index, top : top + tall, left : left + wide]
            if (tall, wide) != (height, width):
                # Contiguous, for torch's fast way with three channels of bytes.
                planes = box.contiguous().permute(2, 0, 1)[None]
                box = interpolate(planes, (height, width), mode="bilinear", antialias=True)[0]
                box = box.permute(1, 2, 0)
            result[index] = box.flip(1) if turn else box

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(every_so_many, range(threads)))
    return result


def _weights(start: Tensor, length: Tensor, source: int, target: int) -> Tensor:
    """(N, target, source): how much of each source pixel is in each target pixel; rows add up to 1."""
    scale = (length / target)[:, None]
    centre = start[:, None] + (torch.arange(target, device=start.device) + 0.5) * scale - 0.5
    pixel = torch.arange(source, device=start.device)
    weights = (1 - (pixel - centre[..., None]).abs() / scale.clamp(min=1)[..., None]).clamp_(min=0)
    inside = (pixel >= start[:, None]) & (pixel < (start + length)[:, None])
    weights = weights * inside[:, None]
    return weights / weights.sum(dim=-1, keepdim=True)


def colours(draws: Tensor, *, jitter: float, components: Tensor, noise: float, middle: Tensor) -> Colour:
    """Contrast and brightness that vary by a factor up to 1 +- `jitter`, and colour noise.

    `draws` (N, 5) are uniform from 0 to 1. `components` (3, 3) has the colours' principal components, each
    times its eigenvalue, as rows, in grey levels: Krizhevsky et al. 2012, section 4.1, have a `noise` of 0.1
    times as much, normally distributed. Contrast is about `middle` (3,), the mean colour.
    """
    contrast, brightness = (1 + jitter * (2 * draws[:, each, None] - 1) for each in (0, 1))
    normal = torch.erfinv((2 * draws[:, 2:] - 1).clamp(-0.999999, 0.999999)) * sqrt(2)
    shift = middle * brightness * (1 - contrast) + noise * normal @ components
    return Colour(gain=contrast * brightness, shift=shift)


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Whose class a picture has besides its own, and how much of it is its own."""

    partner: Tensor  # (N,), indices into the batch
    own: float  # share of the loss, 0 to 1


def cutmix(batch: Tensor, draws: Tensor) -> Mixture:
    """Paste one box, the same for the batch, of each picture's neighbour into it, in place.

    Neighbours (0 and 1, 2 and 3, ...) are as good as any in a batch whose order is random, and they stay
    together where processes share it. `draws` (3,) are uniform from 0 to 1; so is then the box's share of the
    area (Yun et al. 2019, alpha 1).
    """
    count, height, width = batch.shape[:3]
    area, down, across = draws.tolist()
    tall, wide = round(height * area**0.5), round(width * area**0.5)
    top, left = round(down * (height - tall)), round(across * (width - wide))
    partner = (torch.arange(count, device=batch.device) ^ 1).clamp(max=count - 1)
    box = batch[:, top : top + tall, left : left + wide]
    box.copy_(box[partner])
    return Mixture(partner=partner, own=1 - tall * wide / (height * width))
