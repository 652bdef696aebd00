"""predict, over a Ray cluster: each of its processes holds the weights and answers a share of the files.

Ray reports its use to its makers unless it is told not to before it starts. So it is loaded in one place,
here, and told.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alexnet.errors import MissingExtraError, PictureError, ServerError
from alexnet.images.batches import in_groups
from alexnet.inference.engines import is_exported, open_classifier
from alexnet.inference.predict import Prediction, find_pictures, predict
from alexnet.learning.classifier import Label
from alexnet.learning.weights_file import is_weights_file

_LISTED = 65_536  # paths at a time: what the process that asks holds in memory
_BATCH = 64  # pictures that a process takes at a time


def predict_on_ray(
    weights: str | Path,
    paths: Iterable[str | Path],
    *,
    top: int = 5,
    engine: str = "auto",
    precision: str = "auto",
    address: str | None = None,
) -> Iterator[Prediction]:
    """Yield a Prediction for every picture, in order, as `predict` does, computed by Ray Data on a cluster.

    `address` is the cluster's; None is $RAY_ADDRESS's or, without it, one of this machine, which ends with
    this. Every core of the cluster runs a process with one thread. The weights, a file that `open_classifier`
    opens, travel there; the pictures must have the same paths on all machines. Raises PictureError for a
    `top` below 1, MissingExtraError without Ray, ServerError where the cluster does not answer or fails.
    """
    if top < 1:
        raise PictureError(f"top: {top}; must be at least 1")
    return _predict(Path(weights), find_pictures(paths), top, engine, precision, address)


def _predict(
    weights: Path, files: Iterator[Path], top: int, engine: str, precision: str, address: str | None
) -> Iterator[Prediction]:
    ray = _started(address)
    try:
        # References, in a mapping: each process fetches the files when it starts.
        held = {path.name: ray.put(path.read_bytes()) for path in _files(weights)}
        first = next(iter(held))
        cores = max(int(ray.cluster_resources().get("CPU", 1)), 1)
        for some in in_groups(map(str, files), _LISTED):
            rows = ray.data.from_items([{"path": each} for each in some]).map_batches(
                _Answers,
                fn_constructor_args=(held, first, top, engine, precision),
                batch_size=_BATCH,
                batch_format="numpy",
                num_cpus=1,
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=cores),
            )
            for row in rows.iter_rows():
                labels = (
                    Label(name=name, probability=probability)
                    for name, probability in zip(row["names"], row["probabilities"], strict=True)
                )
                yield Prediction(path=row["path"], labels=tuple(labels), error=row["error"] or None)
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[-200:]
        raise ServerError(f"ray: a process of the cluster failed (...{reason})") from error
    finally:
        ray.shutdown()


def _files(weights: Path) -> list[Path]:
    """The files that hold the weights, first the one to open: torchvision's own where they are kept here."""
    if weights.suffix.lower() == ".xml":
        return [weights, weights.with_suffix(".bin")]
    if is_weights_file(weights) or is_exported(weights):
        return [weights]
    from alexnet.learning.torchvision import file_of  # loads torch

    return [file_of(weights)]


class _Answers:
    """One of Ray's processes: it opens the weights once, and answers batches of paths."""

    def __init__(self, held: dict[str, Any], first: str, top: int, engine: str, precision: str) -> None:
        with TemporaryDirectory(prefix="alexnet-") as folder:
            for name, reference in held.items():
                (Path(folder) / name).write_bytes(_ray().get(reference))
            self._classifier = open_classifier(
                Path(folder) / first, engine=engine, precision=precision, pictures=0, threads=1
            )
        self._top = top

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        answers = list(predict(self._classifier, batch["path"].tolist(), top=self._top, workers=0))
        return {
            "path": [each.path for each in answers],
            "names": [[label.name for label in each.labels] for each in answers],
            "probabilities": [[label.probability for label in each.labels] for each in answers],
            "error": [each.error or "" for each in answers],
        }


def _ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "ray") from None
    return ray


def _started(address: str | None) -> Any:
    ray = _ray()
    try:
        ray.init(
            address=address,
            include_dashboard=None if address or os.environ.get("RAY_ADDRESS") else False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except Exception as error:  # of several kinds
        reason = " ".join(str(error).split())[:200]
        raise ServerError(f"ray: the cluster does not answer ({reason}); check its address") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    return ray
