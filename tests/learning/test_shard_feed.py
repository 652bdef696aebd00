"""Training from a stream of tar shards: what it sees, that it goes on where it stopped, what it refuses."""

from __future__ import annotations

import io
import tarfile
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from alexnet import DataError, Network, TrainingError
from alexnet.images.views import View
from alexnet.learning.processes import Processes
from alexnet.learning.progress import Limit, Progress
from alexnet.learning.recipe import Recipe
from alexnet.learning.shard_feed import ShardFeed, open_stream, stream_source
from alexnet.learning.train import train

pytest.importorskip("webdataset", reason="the extra 'shards' is not installed")

RECIPE = Recipe(batch_size=6, learning_rate=0.02, averaging=0.9, cutmix=0.5, jitter=0.2, build_up=0.0)


def add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))


@pytest.fixture
def shards(coloured: Path, tmp_path: Path) -> str:
    """The 24 coloured pictures in three shards, with their classes in classes.txt."""
    names = sorted(folder.name for folder in coloured.iterdir())
    (tmp_path / "classes.txt").write_text("\n".join(names) + "\n")
    files = sorted(coloured.glob("*/*.png"), key=lambda path: (path.name, path.parent.name))
    for number in range(3):
        with tarfile.open(tmp_path / f"photos-{number}.tar", "w") as shard:
            for place, path in enumerate(files[number::3]):
                add(shard, f"{place:04}.png", path.read_bytes())
                add(shard, f"{place:04}.cls", str(names.index(path.parent.name)).encode())
    return str(tmp_path / "photos-{0..2}.tar")


def feed_of(spec: str, validation: Path, *, processes: Processes, recipe: Recipe = RECIPE) -> ShardFeed:
    _, stream = open_stream(spec, None, str(validation), 24)
    view = View.of(24, 24)
    source, figures = stream_source(stream, view, workers=0)
    return ShardFeed(
        source=source,
        statistics=figures,
        view=view,
        recipe=recipe,
        seed=3,
        device=torch.device("cpu"),
        workers=0,
        processes=processes,
        stream=stream,
    )


def test_an_epoch_is_as_many_pictures_as_were_told_each_class_with_its_label(
    shards: str, coloured: Path
) -> None:
    plain = replace(RECIPE, crop="centre", cutmix=0.0, jitter=0.0)
    batches = list(feed_of(shards, coloured, processes=Processes(), recipe=plain).epoch(1))
    assert [(batch.step, len(batch.labels)) for batch in batches] == [(0, 6), (1, 6), (2, 6), (3, 6)]
    assert Counter(torch.cat([batch.labels for batch in batches]).tolist()) == {0: 8, 1: 8, 2: 8}
    # Blue, green and red pictures: the largest of R, G, B says which.
    for batch in batches:
        strongest = batch.pictures.float().mean(dim=(1, 2)).argmax(dim=1)
        assert torch.equal(2 - strongest, batch.labels)


def test_statistics_are_of_the_stream_s_pictures(shards: str, coloured: Path) -> None:
    from alexnet.images.decode import decode

    feed = feed_of(shards, coloured, processes=Processes())
    pixels = np.concatenate([decode(path).reshape(-1, 3) for path in coloured.glob("*/*.png")])
    np.testing.assert_allclose(feed.statistics.mean, pixels.mean(axis=0), atol=2.0)


def test_going_on_gives_the_rest_of_the_stream(shards: str, coloured: Path) -> None:
    whole = feed_of(shards, coloured, processes=Processes())
    expected = [*whole.epoch(1), *whole.epoch(2)]
    before = feed_of(shards, coloured, processes=Processes())
    taken = before.epoch(1)
    for _ in range(3):
        next(taken)
        before.note_step()
    next(taken)  # is given, and not trained on
    after = feed_of(shards, coloured, processes=Processes())
    after.go_on_after(before.drawn)
    for batch, other in zip([*after.epoch(1, first=3), *after.epoch(2)], expected[3:], strict=True):
        assert torch.equal(batch.pictures, other.pictures)
        assert torch.equal(batch.labels, other.labels)


def test_processes_share_the_pictures(shards: str, coloured: Path) -> None:
    feeds = [feed_of(shards, coloured, processes=Processes(rank=rank, count=3)) for rank in range(3)]
    labels = [batch.labels for feed in feeds for batch in feed.epoch(1)]
    assert Counter(torch.cat(labels).tolist()) == {0: 8, 1: 8, 2: 8}


def run(small: Network, spec: str, validation: Path, output: Path, **settings: Any) -> None:
    data, stream = open_stream(spec, None, str(validation), 24)
    usual: dict[str, Any] = {"recipe": RECIPE, "epochs": 3, "precision": "fp32", "workers": 1}
    train(small, data, stream=stream, output=output, checkpoint_seconds=0.0, **(usual | settings))


class StopError(Exception):
    """What a test ends a run with."""


@pytest.mark.parametrize("stop", [2, 5, 9])
def test_a_run_that_was_stopped_ends_in_the_weights_of_one_that_was_not(
    small: Network, shards: str, coloured: Path, tmp_path: Path, stop: int
) -> None:
    told = 0

    def tell(_: Progress) -> None:
        nonlocal told
        told += 1
        if told == stop:
            raise StopError

    run(small, shards, coloured, tmp_path / "whole")
    with pytest.raises(StopError) as stopping:
        run(small, shards, coloured, tmp_path / "stopped", on_progress=tell)
    # While what holds the stopped run's variables, its traceback, is still there.
    assert stopping.tb is not None
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("alexnet-pictures")]
    run(small, shards, coloured, tmp_path / "stopped", resume=True)
    whole, stopped = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_a_picture_that_cannot_be_read_is_left_out_and_too_many_are_an_error(
    small: Network, shards: str, coloured: Path, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "photos-2.tar", "a") as shard:
        add(shard, "9999.png", b"not a picture")
        add(shard, "9999.cls", b"0")
    run(small, shards, coloured, tmp_path / "some", most_unreadable=0.2)
    assert "not a picture" in (tmp_path / "some" / "skipped.csv").read_text()
    # Of what was drawn nothing is drawn again, and still it is listed.
    run(small, shards, coloured, tmp_path / "some", most_unreadable=0.2, resume=True)
    assert "not a picture" in (tmp_path / "some" / "skipped.csv").read_text()
    with pytest.raises(DataError, match=r"not a picture.*at most 0% may be"):
        run(small, shards, coloured, tmp_path / "none", most_unreadable=0.0)


def test_a_validation_picture_that_was_mended_is_listed_no_more(
    small: Network, shards: str, coloured: Path, tmp_path: Path
) -> None:
    judged = Path(copytree(coloured, tmp_path / "judged"))
    bad, good = sorted(judged.glob("*/*.png"))[:2]
    bad.write_bytes(b"nothing")
    run(small, shards, judged, tmp_path / "run", epochs=1)
    assert str(bad) in (tmp_path / "run" / "skipped.csv").read_text()
    bad.write_bytes(good.read_bytes())
    run(small, shards, judged, tmp_path / "run", epochs=2, resume=True)
    assert not (tmp_path / "run" / "skipped.csv").exists()


def test_where_the_clock_ends_a_stream_no_batch_of_it_is_lost(
    small: Network, shards: str, coloured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(small, shards, coloured, tmp_path / "whole")
    share = Limit.share
    monkeypatch.setattr(Limit, "share", lambda limit, steps: 1.0 if steps >= 6 else share(limit, steps))
    run(small, shards, coloured, tmp_path / "part")
    monkeypatch.setattr(Limit, "share", share)
    run(small, shards, coloured, tmp_path / "part", resume=True)
    whole, part = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "part"))
    assert all(torch.equal(whole[name], part[name]) for name in whole)


def test_shards_without_a_picture_that_can_be_read_are_an_error_in_one_line(
    small: Network, coloured: Path, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "photos.tar", "w") as shard:
        for number in range(3):
            add(shard, f"{number}.png", b"not a picture")
            add(shard, f"{number}.cls", b"0")
    (tmp_path / "classes.txt").write_text("\n".join(sorted(each.name for each in coloured.iterdir())))
    with pytest.raises(DataError, match=r"^\S+/0\.png: not a picture.*none of the 3 pictures of the stream"):
        run(small, str(tmp_path / "photos.tar"), coloured, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_classes_of_a_stream_cannot_be_balanced(
    small: Network, shards: str, coloured: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="balance: weights of a stream"):
        run(small, shards, coloured, tmp_path / "run", recipe=replace(RECIPE, balance="weights"))
    assert not (tmp_path / "run").exists()
