"""A run's figures as TensorBoard event files, over the pictures trained on: a new file for each start of it.

Without the package that writes them, or where they cannot be written, training goes on without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter, time
from typing import Any

from alexnet.errors import MissingExtraError
from alexnet.learning.runs import EVENTS, Epoch, Steps

_SECONDS_A_FLUSH = 10.0


class Events:
    """Takes the lines of a run; see `event_writer`."""

    def __init__(self, folder: Path, resumed_at: int | None, on_notice: Callable[[str], None]) -> None:
        self._folder = folder
        self._resumed_at = resumed_at
        self._on_notice = on_notice
        self._package: tuple[Any, Any] | None = None  # its writer of records, its protocol buffers
        self._file: Any = None  # made with the first point: a run that ends before leaves none
        self._flushed = 0.0
        self._before: tuple[int, float] | None = None  # pictures and seconds of the last line

    def steps(self, line: Steps) -> None:
        """Add a line of steps.csv: loss, accuracy, learning rate, speed."""
        points = {
            "loss/training": line.train_loss,
            "accuracy/training": line.train_accuracy,
            "run/learning rate": line.learning_rate,
        }
        # Of the first line it is not known how much of its time went into setting up.
        if self._before is not None and line.seconds > self._before[1]:
            pictures, seconds = self._before
            points["run/pictures a second"] = (line.pictures - pictures) / (line.seconds - seconds)
        self._before = (line.pictures, line.seconds)
        self._add(line.pictures, points)

    def epoch(self, line: Epoch) -> None:
        """Add a line of metrics.csv: the validation's loss and accuracy, where there was one."""
        self._before = (line.pictures, line.seconds)
        points = {"loss/validation": line.validation_loss, "accuracy/validation": line.validation_accuracy}
        self._add(line.pictures, {tag: value for tag, value in points.items() if value is not None})

    def open(self) -> None:
        """Load the package; give notice where it is missing or does not load."""
        try:
            from tensorboardX import RecordWriter
            from tensorboardX.proto import event_pb2
        except ModuleNotFoundError as missing:
            self._stop(str(MissingExtraError(str(missing.name), "train")))
        except Exception as error:  # such as the TypeError of protocol buffers of another age
            self._stop(f"tensorboardX: does not load: {error}")
        else:
            self._package = RecordWriter, event_pb2

    def close(self) -> None:
        """Write what is left."""
        if self._file is not None:
            self._guarded(self._file.close)
        self._package = self._file = None

    def _add(self, pictures: int, points: Mapping[str, float]) -> None:
        if self._package is None or not points:
            return
        _, protocol = self._package
        values = [{"tag": tag, "simple_value": value} for tag, value in points.items()]
        event = protocol.Event(wall_time=time(), step=pictures, summary={"value": values})
        self._guarded(lambda: self._write(event))

    def _write(self, event: Any) -> None:
        if self._file is None:
            self._file = self._new_file()
        self._file.write(event.SerializeToString())
        if perf_counter() - self._flushed > _SECONDS_A_FLUSH:
            self._file.flush()
            self._flushed = perf_counter()

    def _new_file(self) -> Any:
        assert self._package is not None
        record_writer, protocol = self._package
        # Numbers, not times: files are read in the order of their names, whatever the clock did between.
        before = [path.suffix[1:] for path in self._folder.glob(EVENTS)]
        number = 1 + max((int(suffix) for suffix in before if suffix.isdecimal()), default=0)
        file = record_writer(str(self._folder / EVENTS.replace("*", f"{number:04}")))
        file.write(protocol.Event(wall_time=time(), file_version="brain.Event:2").SerializeToString())
        if self._resumed_at is not None:
            # TensorBoard forgets what it has read of this step and later ones.
            start = {"status": protocol.SessionLog.START}
            event = protocol.Event(wall_time=time(), step=self._resumed_at + 1, session_log=start)
            file.write(event.SerializeToString())
        return file

    def _guarded(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            if self._file is not None:
                with suppress(OSError):  # what could not be written is tried once more
                    self._file.close()
            self._stop(f"{self._folder}: event files cannot be written: {error.strerror or error}")

    def _stop(self, reason: str) -> None:
        self._package = self._file = None
        self._on_notice(f"{' '.join(reason.split())}; training goes on without TensorBoard's events")


@contextmanager
def event_writer(
    folder: Path, *, resumed_at: int | None = None, on_notice: Callable[[str], None] = lambda _: None
) -> Iterator[Events]:
    """Write event files into a run's folder, for TensorBoard to follow the run while it goes on.

    `resumed_at`: the pictures trained on in the state from which the run goes on, 0 for none; points
    beyond it that an earlier start has written are hidden. `on_notice` is told, in one line, where the
    package is missing or the disk is full; nothing is raised for either.
    """
    events = Events(folder, resumed_at, on_notice)
    events.open()
    try:
        yield events
    finally:
        events.close()
