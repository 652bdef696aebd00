"""Pictures that stay on the device give the same batches; here that is the processor, told to have room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alexnet.images.datasets import open_dataset
from alexnet.images.views import View
from alexnet.learning import feed as feed_module
from alexnet.learning.feed import Feed
from alexnet.learning.recipe import Recipe
from alexnet.learning.resident import Resident, room_on
from alexnet.learning.source import open_source, statistics

CPU = torch.device("cpu")


def feed_of(folder: Path) -> Feed:
    data, view = open_dataset(folder), View.of(24, 24)
    source = open_source(data, view, on_notice=lambda _: None)
    return Feed(
        source=source,
        statistics=statistics(source, workers=0),
        view=view,
        recipe=Recipe(batch_size=5, cutmix=0.5),
        seed=1,
        device=CPU,
        workers=0,
        most_unreadable=0.5,
    )


def test_a_processor_gives_no_room() -> None:
    assert room_on(CPU) == 0


def test_batches_are_the_same_with_pictures_that_stay(
    paint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = paint(tmp_path / "photos")
    (folder / "red" / "03.png").write_bytes(b"not a picture")
    (folder / "green" / "04.png").write_bytes(b"not a picture")
    expected = list(feed_of(folder).epoch(1))
    monkeypatch.setattr(feed_module, "room_on", lambda _: 1 << 30)
    feed = feed_of(folder)  # all is decoded: the epoch before has kept it
    batches = list(feed.epoch(1))
    assert feed._resident.is_there
    assert len(batches) == len(expected) > 0
    for batch, other in zip(batches, expected, strict=True):
        assert torch.equal(batch.pictures, other.pictures)
        assert torch.equal(batch.labels, other.labels)
        assert torch.equal(batch.places, other.places)


@pytest.mark.parametrize("missing_bytes", [0, 1])
def test_pictures_stay_where_they_fit_to_the_byte(coloured: Path, missing_bytes: int) -> None:
    source = feed_of(coloured).source
    needed = len(source) * source.side**2 * 3
    for _ in feed_of(coloured).epoch(1):
        pass
    resident = Resident()
    resident.settle(feed_of(coloured).source, CPU, workers=0, room=needed - missing_bytes)
    assert resident.is_there == (missing_bytes == 0)


def test_pictures_that_are_still_to_be_decoded_do_not_stay(
    paint: Callable[..., Path], tmp_path: Path
) -> None:
    data = open_dataset(paint(tmp_path / "new"))
    source = open_source(data, View.of(24, 24), on_notice=lambda _: None)
    resident = Resident()
    resident.settle(source, CPU, workers=0, room=1 << 30)
    assert not resident.is_there
