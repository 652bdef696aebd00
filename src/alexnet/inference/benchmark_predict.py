"""How fast a folder of pictures becomes a CSV of answers here, beside the plain script, in one run."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from alexnet.architecture.network import Network
from alexnet.errors import TrainingError
from alexnet.images.batches import load_batches
from alexnet.images.splits import LazyPictures
from alexnet.images.views import View, read_centre
from alexnet.inference.benchmark import classifiers, plain_torch
from alexnet.inference.predict import find_pictures, predict
from alexnet.inference.predict_file import write_predictions
from alexnet.learning.benchmark import Timing, time_by_turns
from alexnet.learning.benchmark_folder import resized_by_pillow
from alexnet.learning.classifier import Classifier, Run
from alexnet.learning.model import AlexNet

_BATCH = 64  # of the plain script
_CPU = torch.device("cpu")


def benchmark_predict(
    network: Network,
    folder: str | Path,
    *,
    pictures: int = 512,
    rounds: int = 3,
    workers: int = 2,
    on_progress: Callable[[str], None] = lambda _: None,
) -> tuple[Timing, ...]:
    """Time `pictures` files of `folder` to a CSV, by turns; decoding alone, too.

    The plain script decodes and resizes with Pillow and answers with torch, eager, in float32, 64 pictures
    at a time; it decodes in its own process, then in `workers` of torch's DataLoader. Ours are `alexnet
    predict` with torch and with the fastest engine in 8 bits. The first turn of each warms up. Raises
    TrainingError for numbers that are too small and for too few pictures.
    """
    if min(pictures, rounds, workers) < 1:
        raise TrainingError(
            f"benchmark: pictures {pictures}, rounds {rounds}, workers {workers}; each must be at least 1"
        )
    files = list(islice(find_pictures([folder]), pictures))
    if len(files) < pictures:
        raise TrainingError(
            f"{folder}: {len(files)} pictures; must be at least {pictures}; take another folder, or fewer "
            "--pictures"
        )
    view = View.of(*network.input[:2])
    run = plain_torch(AlexNet(network))
    with tempfile.TemporaryDirectory(prefix="alexnet-benchmark-") as temporary:
        output = Path(temporary, "answers.csv")
        ways: dict[str, Callable[[], None]] = {
            "plain script, Pillow, float32": partial(_plain, run, files, view, output, 0),
            f"the same, {workers} DataLoader workers": partial(_plain, run, files, view, output, workers),
        }
        ours = classifiers(network, on_progress)
        for name in ours:
            ways[f"alexnet predict, {name}"] = partial(_ours, ours[name], files, output, workers)
        ways[f"decoding alone, {workers} threads"] = partial(_decode, files, view, workers)
        turns = {name: [way] * (1 + rounds) for name, way in ways.items()}
        return time_by_turns(turns, warm_up=1, pictures=pictures, device=_CPU, on_progress=on_progress)


class _Photos(TorchDataset[Tensor]):
    """What a tutorial writes: decode, resize, crop, one picture at a time."""

    def __init__(self, files: Sequence[Path], view: View) -> None:
        self.files, self.view = files, view

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        view, image = self.view, resized_by_pillow(self.files[index], self.view)
        left, top = (image.width - view.width) // 2, (image.height - view.height) // 2
        return torch.from_numpy(np.array(image.crop((left, top, left + view.width, top + view.height))))


def _plain(
    run: Run,
    files: Sequence[Path],
    view: View,
    output: Path,
    workers: int,
) -> None:
    done = 0
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for batch in DataLoader(_Photos(files, view), batch_size=_BATCH, num_workers=workers):
            for row in run(batch.numpy()):
                writer.writerow([files[done], int(row.argmax())])
                done += 1


def _ours(classifier: Classifier, files: Sequence[Path], output: Path, workers: int) -> None:
    output.unlink(missing_ok=True)
    ask = partial(predict, classifier, top=1, workers=workers)
    write_predictions(ask, iter(files), output, form="csv", top=1)


def _decode(files: Sequence[Path], view: View, workers: int) -> None:
    """To the network's input, and no further."""
    loaded = load_batches(
        LazyPictures(files, partial(read_centre, view=view)),
        range(len(files)),
        shape=lambda centre: centre,
        batch_size=32,
        workers=workers,
    )
    for _ in loaded:
        pass
