"""export(weights, path): a weights file as ONNX or OpenVINO's IR, in float32 or 8 bits, kept only if proved.

The file is written aside and run on pictures by every engine that is installed and reads it, beside torch in
float32. What disagrees too much is not kept.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet.architecture.layers import Conv, Dense
from alexnet.architecture.network import Network
from alexnet.errors import ExportError, OutputError
from alexnet.images import views
from alexnet.images.batches import load_batches
from alexnet.images.splits import Split
from alexnet.inference.calibrate import calibrate
from alexnet.inference.engines import EXPORTED, open_classifier, read_weights
from alexnet.inference.graph import EightBits, Range, build
from alexnet.inference.made_up import made_up
from alexnet.learning.classifier import Logits, Run
from alexnet.learning.weights_file import KEY, Description, Floats

TOLERANCE = 1e-3  # of logits in float32: their largest difference, to the largest of torch's
MOST_LOST = 0.005  # share of the pictures that 8 bits may get wrong and float32 gets right, net
CALIBRATION_PICTURES = 256
CHECKED_PICTURES = 2000  # at most
_BATCH = 64

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How an exported file answers in one engine, beside torch in float32."""

    engine: str
    pictures: int
    difference: float  # largest between two logits
    relative: float  # the same, to the largest of torch's logits
    same_answers: float  # share of the pictures, 0 to 1
    accuracy: float | None  # top-1, 0 to 1; None where classes are not known
    accuracy_of_torch: float | None

    @property
    def lost(self) -> float:
        """Accuracy, or where that is not known the share of other answers."""
        if self.accuracy is None or self.accuracy_of_torch is None:
            return 1 - self.same_answers
        return self.accuracy_of_torch - self.accuracy


@dataclass(frozen=True, kw_only=True)
class Export:
    """What came of an export."""

    path: Path
    size: int  # bytes, of all its files
    eight_bits: bool
    in_float: tuple[str, ...]  # layers that 8 bits would have cost too much
    agreements: tuple[Agreement, ...]

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON has them."""
        return {
            "path": str(self.path),
            "size": self.size,
            "eight_bits": self.eight_bits,
            "in_float": list(self.in_float),
            "agreements": [asdict(each) for each in self.agreements],
        }


def export(
    weights: str | Path,
    output: str | Path,
    *,
    calibration: Split | None = None,
    check: Split | None = None,
    tolerance: float = TOLERANCE,
    most_lost: float = MOST_LOST,
    workers: int = 2,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Export:
    """Write `weights` to `output`, .onnx or .xml (and .bin); with `calibration` pictures, in 8 bits.

    It is run on up to CHECKED_PICTURES of `check`, or on made-up pictures. Raises ExportError, with nothing
    left behind, where float32 differs by more than `tolerance` or 8 bits lose more than `most_lost`; for
    other endings; WeightsError for weights that are none; OutputError where writing fails.
    """
    output = Path(output)
    if not 0 <= most_lost <= 1:
        raise ExportError(f"most lost: {most_lost}; must be a share, from 0 to 1")
    if output.suffix not in EXPORTED:
        raise ExportError(f"{output}: no format that is exported; must end in {' or '.join(EXPORTED)}")
    if not output.parent.is_dir():
        raise OutputError(f"{output}: cannot be written: No such folder; make it or choose another place")
    if output.is_dir():
        raise OutputError(f"{output}: cannot be written: Is a folder; choose another name")
    with _aside(output):
        pass  # told now, not after all the work
    description, tensors = read_weights(weights)
    splits = [each for each in (check, calibration) if each is not None]
    for warning in dict.fromkeys(warning for each in splits for warning in each.warnings):
        on_progress(warning)
    if check is None:
        pictures, labels = made_up(description.network), None
    else:
        on_progress("reading pictures to check it on")
        pictures, labels = _gathered(check, description, CHECKED_PICTURES, workers, on_progress)
    on_progress("torch, float32")
    reference = answers(open_classifier(weights, engine="torch", device="cpu", precision="fp32"), pictures)
    eight_bits = None
    if calibration is not None:
        on_progress("calibrating")
        seen, _ = _gathered(calibration, description, CALIBRATION_PICTURES, workers, on_progress)
        ranges = calibrate(description.network, tensors, lambda: _batches(seen))
        eight_bits = _controlled(
            description.network, tensors, ranges, pictures, labels, reference, most_lost, on_progress
        )
    model = build(
        description.network, tensors, eight_bits=eight_bits, metadata={KEY: description.to_json()}
    ).SerializeToString()
    with _aside(output) as aside:
        _write(model, aside, description)
        agreements = []
        for engine in _engines_for(aside):
            on_progress(engine)
            found = answers(open_classifier(aside, engine=engine, precision="fp32"), pictures)
            agreements.append(compare(engine, found, reference, labels))
            _demand(agreements[-1], eight_bits is not None, tolerance, most_lost, weights)
        # The file by which it is known comes last, when its .bin is there.
        files = sorted(aside.parent.iterdir(), key=lambda file: file.name == output.name)
        size = sum(each.stat().st_size for each in files)
        for each in files:
            with each.open("rb") as file:
                os.fsync(file.fileno())
            each.replace(output.parent / each.name)
    return Export(
        path=output,
        size=size,
        eight_bits=eight_bits is not None,
        in_float=tuple(sorted(eight_bits.in_float)) if eight_bits is not None else (),
        agreements=tuple(agreements),
    )


@contextmanager
def _aside(output: Path) -> Iterator[Path]:
    """A path of that name in a folder beside it, for as long as it takes; OutputError for what goes wrong."""
    try:
        with tempfile.TemporaryDirectory(prefix=".exporting-", dir=output.parent) as temporary:
            yield Path(temporary, output.name)
    except OSError as error:
        raise OutputError(
            f"{output}: cannot be written: {error.strerror or error}; nothing was changed; make room or "
            "choose another place"
        ) from error


def compare(engine: str, found: Logits, reference: Logits, labels: npt.NDArray[np.int64] | None) -> Agreement:
    """An engine's logits beside the reference's, (N, classes) both."""
    difference = float(np.abs(found - reference).max())
    ours, theirs = found.argmax(axis=1), reference.argmax(axis=1)
    return Agreement(
        engine=engine,
        pictures=len(found),
        difference=difference,
        relative=difference / max(float(np.abs(reference).max()), 1e-30),
        same_answers=float((ours == theirs).mean()),
        accuracy=None if labels is None else float((ours == labels).mean()),
        accuracy_of_torch=None if labels is None else float((theirs == labels).mean()),
    )


def answers(run: Run, pictures: Pictures) -> Logits:
    """Logits for many pictures, some at a time; a Classifier is such a `run`."""
    return np.concatenate([run(batch) for batch in _batches(pictures)])


def _controlled(
    network: Network,
    tensors: dict[str, Floats],
    ranges: dict[str, Range],
    pictures: Pictures,
    labels: npt.NDArray[np.int64] | None,
    reference: Logits,
    most_lost: float,
    on_progress: Callable[[str], None],
) -> EightBits:
    """8 bits in as many layers as the accuracy allows: those that cost the most of it stay in float32."""
    from alexnet.inference.onnx_engine import open_model

    @cache  # a layer that is tried alone is the first of those that are tried together
    def found(in_float: frozenset[str]) -> Logits:
        on_progress(f"8 bits{', but ' + ', '.join(sorted(in_float)) if in_float else ''}")
        chosen = EightBits(ranges=ranges, in_float=in_float)
        run, _ = open_model(build(network, tensors, eight_bits=chosen).SerializeToString(), key=KEY)
        return answers(run, pictures)

    def is_good(logits: Logits) -> bool:
        return compare("", logits, reference, labels).lost <= most_lost

    in_float: frozenset[str] = frozenset()
    if is_good(found(in_float)):
        return EightBits(ranges=ranges)
    names = [layer.name for layer in network.layers if isinstance(layer, Conv | Dense)]
    errors = {name: float(((found(frozenset({name})) - reference) ** 2).mean()) for name in names}
    for name in sorted(names, key=errors.__getitem__):
        in_float |= {name}
        if is_good(found(in_float)):
            break
    return EightBits(ranges=ranges, in_float=in_float)


def _demand(
    agreement: Agreement, eight_bits: bool, tolerance: float, most_lost: float, weights: str | Path
) -> None:
    if eight_bits and not agreement.lost <= most_lost:
        raise ExportError(
            f"{weights}: in 8 bits {agreement.engine} loses {agreement.lost:.2%} of {agreement.pictures} "
            f"pictures; at most {most_lost:.2%} may be lost; nothing was kept; calibrate with more pictures "
            "or allow more with --most-lost"
        )
    if not eight_bits and not agreement.relative <= tolerance:
        raise ExportError(
            f"{weights}: logits of {agreement.engine} differ from torch's by {agreement.relative:.2g} of the "
            f"largest; must be at most {tolerance:g}; nothing was kept; export for another engine"
        )


def _engines_for(path: Path) -> Sequence[str]:
    """Those that are installed and read it; the export itself needs one."""
    if path.suffix == ".xml":
        return ["openvino"]
    return [engine for engine in ("onnxruntime", "openvino") if find_spec(engine) is not None]


def _write(model: bytes, path: Path, description: Description) -> None:
    if path.suffix == ".xml":
        from alexnet.inference.openvino_engine import save_xml

        save_xml(model, path, {KEY: description.to_json()})
    else:
        from onnx import checker

        checker.check_model(model, full_check=True)
        path.write_bytes(model)


def _gathered(
    split: Split, description: Description, most: int, workers: int, on_progress: Callable[[str], None]
) -> tuple[Pictures, npt.NDArray[np.int64]]:
    """Up to so many pictures, evenly from the whole split, as the network takes them, and their classes."""
    unreadable: list[str] = []
    chosen = np.unique(np.linspace(0, len(split) - 1, min(most, len(split))).astype(int))
    batches = list(
        load_batches(
            split.pictures,
            chosen.tolist(),
            shape=lambda picture: views.center(picture, description.view),
            batch_size=_BATCH,
            workers=workers,
            on_unreadable=lambda _, message: unreadable.append(message),
        )
    )
    if unreadable:
        on_progress(f"{len(unreadable)} of {len(chosen)} cannot be read and are left out: {unreadable[0]}")
    if not batches:
        raise ExportError(f"{split.names[0]}: none of its data's pictures can be read; check the files")
    pictures, indices = (np.concatenate(each) for each in zip(*batches, strict=True))
    return pictures, split.labels[indices]


def _batches(pictures: Pictures) -> Iterator[Pictures]:
    for start in range(0, len(pictures), _BATCH):
        yield pictures[start : start + _BATCH]
