"""Event files read back by TensorBoard's own reader, and record by record by a plain loop over the bytes."""

from __future__ import annotations

import builtins
import errno
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from alexnet.learning.events import event_writer
from alexnet.learning.runs import Epoch, Steps


def steps(pictures: int, *, loss: float = 1.0, seconds: float | None = None) -> Steps:
    return Steps(
        pictures=pictures,
        seconds=pictures / 100 if seconds is None else seconds,
        learning_rate=0.25,
        train_loss=loss,
        train_accuracy=0.5,
    )


def epoch(pictures: int, *, validated: bool = True, seconds: float = 0.0) -> Epoch:
    return Epoch(
        epoch=1,
        pictures=pictures,
        seconds=seconds,
        pictures_per_second=100.0,
        learning_rate=0.25,
        train_loss=1.0,
        train_accuracy=0.5,
        validation_loss=2.0 if validated else None,
        validation_accuracy=0.75 if validated else None,
    )


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve of a run as TensorBoard shows it: its tag; the step and value of each point."""
    read = EventAccumulator(str(folder))
    read.Reload()
    return {tag: [(each.step, each.value) for each in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum of RFC 3720, appendix B.4, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    """A checksum as TFRecord files hold it: turned by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(content: bytes) -> list[bytes]:
    """The payloads of a TFRecord file: length, its checksum, payload, its checksum."""
    found = []
    while content:
        length, length_sum = struct.unpack("<QI", content[:12])
        payload, (payload_sum,) = content[12 : 12 + length], struct.unpack("<I", content[12 + length :][:4])
        assert (length_sum, payload_sum) == (masked(content[:8]), masked(payload))
        found.append(payload)
        content = content[16 + length :]
    return found


def test_every_line_is_a_point_over_the_pictures_trained_on(tmp_path: Path) -> None:
    with event_writer(tmp_path) as events:
        events.steps(steps(100, loss=3.0))
        events.steps(steps(200, loss=2.0))
        events.epoch(epoch(200))
    assert points(tmp_path) == {
        "loss/training": [(100, 3.0), (200, 2.0)],
        "accuracy/training": [(100, 0.5), (200, 0.5)],
        "run/learning rate": [(100, 0.25), (200, 0.25)],
        "run/pictures a second": [(200, 100.0)],
        "loss/validation": [(200, 2.0)],
        "accuracy/validation": [(200, 0.75)],
    }


def test_an_epoch_whose_validation_was_interrupted_has_no_point(tmp_path: Path) -> None:
    with event_writer(tmp_path) as events:
        events.steps(steps(100))
        events.epoch(epoch(100, validated=False))
    assert not [tag for tag in points(tmp_path) if "validation" in tag]


def test_the_speed_leaves_out_the_time_of_validation(tmp_path: Path) -> None:
    with event_writer(tmp_path) as events:
        events.steps(steps(100, seconds=1.0))
        events.epoch(epoch(100, seconds=11.0))  # ten seconds of validation
        events.steps(steps(200, seconds=12.0))
        events.steps(steps(300, seconds=12.0))  # a clock that did not move says nothing
    assert points(tmp_path)["run/pictures a second"] == [(200, 100.0)]


def test_the_files_are_records_with_right_checksums(tmp_path: Path) -> None:
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4: 32 bytes of zeroes
    with event_writer(tmp_path) as events:
        for number in range(1, 4):
            events.steps(steps(100 * number))
    (path,) = tmp_path.iterdir()
    assert "tfevents" in path.name  # by which TensorBoard knows its files
    first, *rest = records(path.read_bytes())
    assert first.endswith(b"brain.Event:2")
    assert len(rest) == 3
    assert all(b"loss/training" in each for each in rest)


def test_a_run_that_goes_on_has_each_point_once_and_as_it_was_last(tmp_path: Path) -> None:
    with event_writer(tmp_path) as events:
        for pictures in (100, 200, 300, 400):
            events.steps(steps(pictures, loss=1.0))
        events.epoch(epoch(400))
    # It went on from what was saved after 200 pictures; the batches after that may be cut differently.
    with event_writer(tmp_path, resumed_at=200) as events:
        for pictures in (250, 300, 500):
            events.steps(steps(pictures, loss=2.0))
    read = points(tmp_path)
    assert read["loss/training"] == [(100, 1.0), (200, 1.0), (250, 2.0), (300, 2.0), (500, 2.0)]
    assert read["run/pictures a second"] == [(200, 100.0), (300, 100.0), (500, 100.0)]
    assert read["loss/validation"] == []
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_that_starts_anew_in_its_folder_hides_all_that_was(tmp_path: Path) -> None:
    with event_writer(tmp_path) as events:
        events.steps(steps(100, loss=1.0))
    with event_writer(tmp_path, resumed_at=0) as events:
        events.steps(steps(50, loss=2.0))
    assert points(tmp_path)["loss/training"] == [(50, 2.0)]


def test_many_starts_are_read_in_their_order(tmp_path: Path) -> None:
    for start in range(12):
        with event_writer(tmp_path, resumed_at=100 * start if start else None) as events:
            events.steps(steps(100 * start + 100, loss=float(start)))
            events.steps(steps(100 * start + 150, loss=-1.0))
    expected = [(100 * start + 100, float(start)) for start in range(12)]
    assert points(tmp_path)["loss/training"] == [*expected, (1250, -1.0)]


def test_a_deleted_file_s_name_is_not_given_to_a_later_start_before_others(tmp_path: Path) -> None:
    for start in range(3):
        with event_writer(tmp_path) as events:
            events.steps(steps(start + 1))
        if start == 1:
            min(tmp_path.iterdir()).unlink()
    assert [step for step, _ in points(tmp_path)["loss/training"]] == [2, 3]


@pytest.mark.parametrize("cut", [1, 4, 9, 20, 60])
def test_a_record_cut_off_by_a_kill_costs_that_record_only(tmp_path: Path, cut: int) -> None:
    with event_writer(tmp_path) as events:
        for pictures in (100, 200, 300):
            events.steps(steps(pictures, loss=1.0))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    with event_writer(tmp_path, resumed_at=200) as events:
        events.steps(steps(300, loss=2.0))
        events.steps(steps(400, loss=2.0))
    assert points(tmp_path)["loss/training"] == [(100, 1.0), (200, 1.0), (300, 2.0), (400, 2.0)]


def test_what_is_written_can_be_followed_while_the_run_goes_on(tmp_path: Path) -> None:
    with event_writer(tmp_path) as events:
        events.steps(steps(100))
        assert points(tmp_path)["loss/training"] == [(100, 1.0)]


def test_a_run_that_ends_before_its_first_line_leaves_no_file(tmp_path: Path) -> None:
    with event_writer(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_run_is_raised_and_what_was_told_is_kept(tmp_path: Path) -> None:
    def run() -> None:
        with event_writer(tmp_path) as events:
            events.steps(steps(100))
            events.steps(steps(200))
            raise KeyError("of the run")

    with pytest.raises(KeyError, match="of the run"):
        run()
    assert len(points(tmp_path)["loss/training"]) == 2


# --- going on without -------------------------------------------------------------------------------------


def go_on(folder: Path) -> list[str]:
    """Tell a run's lines; return the notices."""
    notices: list[str] = []
    with event_writer(folder, on_notice=notices.append) as events:
        events.steps(steps(100))
        events.steps(steps(200))
        events.epoch(epoch(200))
    return notices


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ModuleNotFoundError("No module", name="tensorboardX"),
            "tensorboardX: not installed; run: pip install",
        ),
        (ModuleNotFoundError("No module", name="google"), "google: not installed; run: pip install"),
        (
            TypeError("Descriptors cannot\nbe created directly."),
            "does not load: Descriptors cannot be created",
        ),
    ],
)
def test_without_the_package_training_goes_on_and_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    load = builtins.__import__

    def refuse(name: str, *args: Any, **others: Any) -> Any:
        if name.startswith("tensorboardX"):
            raise error
        return load(name, *args, **others)

    monkeypatch.setattr(builtins, "__import__", refuse)
    (notice,) = go_on(tmp_path)
    assert words in notice
    assert notice.endswith("training goes on without TensorBoard's events")
    assert "\n" not in notice
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_notice(tmp_path: Path) -> None:
    (notice,) = go_on(tmp_path / "absent")
    assert "absent: event files cannot be written: No such file or directory; training goes on" in notice


def test_a_disk_that_is_full_is_one_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboardX import RecordWriter

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RecordWriter, "flush", full)
    (notice,) = go_on(tmp_path)
    assert f"{tmp_path}: event files cannot be written: No space left on device; training goes on" in notice


@pytest.mark.slow
def test_nothing_that_writes_events_is_loaded_before_a_run_needs_it(
    python: tuple[list[str], dict[str, str]],
) -> None:
    command, environment = python
    code = "import alexnet.learning.events, sys; print(sorted(m for m in sys.modules if 'tensorboard' in m))"
    done = subprocess.run(
        [*command, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
    assert "tensorboard" in sys.modules  # here, where it is
