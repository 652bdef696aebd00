"""What the terminal shows, letter by letter."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from alexnet import terminal
from alexnet.inference.predict import Prediction
from alexnet.learning.benchmark import Timing
from alexnet.learning.classifier import Label
from alexnet.learning.evaluate import Report
from alexnet.learning.progress import Phase, Progress
from alexnet.terminal import (
    counting_progress,
    describe,
    duration,
    headline,
    picture_text,
    prediction_lines,
    report_table,
    side_by_side,
    timing_table,
    training_progress,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (60, "1m00s"),
        (61, "1m01s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (3661, "1h01m"),
        (360_000, "100h00m"),
        (float("inf"), "?"),
    ],
)
def test_a_duration_is_told_as_people_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_blocks_stand_beside_each_other_from_the_top() -> None:
    assert side_by_side([["abc", "d"], ["e"], ["f", "g", "h"]], gap=2) == "abc  e  f\nd       g\n        h"


def test_one_block_is_itself() -> None:
    assert side_by_side([["a", "bcd"]]) == "a\nbcd"


def test_a_picture_is_lighter_where_it_is_lighter() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, 20:] = 255
    lines = picture_text(picture, columns=20)
    assert len(lines) == 10  # a character is twice as high as wide
    assert {len(line) for line in lines} == {20}
    assert {line[:8] for line in lines} == {" " * 8}
    assert {line[-8:] for line in lines} == {"@" * 8}


def test_a_grey_ramp_uses_ever_darker_characters() -> None:
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (16, 256, 3))
    (line, *_) = picture_text(ramp, columns=64)
    ranks = [" .:-=+*#%@".index(character) for character in line]
    assert ranks == sorted(ranks)
    assert set(ranks) == set(range(10))


@pytest.mark.parametrize(
    ("height", "width", "rows"), [(10, 100, 1), (1, 1000, 1), (100, 50, 20), (30, 40, 8)]
)
def test_a_picture_keeps_its_proportions(height: int, width: int, rows: int) -> None:
    # 20 columns: 20 x height / width pixels high, two to a character.
    assert len(picture_text(np.zeros((height, width, 3), np.uint8), columns=20)) == rows


def test_grey_pictures_that_repeat_a_channel_are_shown() -> None:
    assert picture_text(np.broadcast_to(np.uint8(0), (4, 4, 3)), columns=4) == ["    ", "    "]


def prediction(path: str, *labels: tuple[str, float]) -> Prediction:
    return Prediction(path=path, labels=tuple(Label(name=name, probability=share) for name, share in labels))


def told(predictions: list[Prediction], *, labels: int) -> str:
    return "\n".join(prediction_lines(predictions, labels=labels, together=100))


def cells(table: str) -> list[list[str]]:
    """The words of each line but the rule under the head."""
    head, _, *rows = table.splitlines()
    return [line.split() for line in (head, *rows)]


def test_predictions_are_a_line_each_with_markup_as_it_is() -> None:
    table = told([prediction("a[red]b.png", ("[bold]x[/bold]", 0.875), ("y", 0.125))], labels=2)
    assert cells(table) == [
        ["picture", "1.", "2."],
        ["a[red]b.png", "[bold]x[/bold]", "87.5%", "y", "12.5%"],
    ]


def test_a_long_path_is_told_whole_and_in_one_line() -> None:
    path = "/".join(["folder"] * 40) + "/picture.png"
    labels = [(f"a class with a long name {i}", 0.2) for i in range(5)]
    table = told([prediction(path, *labels)], labels=5)
    assert len(table.splitlines()) == 3
    assert path in table


def test_no_predictions_are_no_trouble() -> None:
    assert cells(told([], labels=1)) == [["picture", "1."]]


def test_a_picture_that_cannot_be_read_has_the_reason_at_its_end() -> None:
    bad = Prediction(path="bad.png", labels=(), error="bad.png: empty")
    assert told([bad, prediction("good.png", ("x", 0.5), ("y", 0.25))], labels=2) == (
        "picture        1.       2.\n"
        "--------------------------\n"
        "bad.png   bad.png: empty\n"
        "good.png  x 50.0%  y 25.0%"
    )


def test_a_name_that_is_no_utf8_or_has_a_line_s_end_is_a_cell() -> None:
    rows = [prediction("a\n\udce9.png", ("x", 0.5)), prediction("b.png", ("x", 0.5))]
    assert told(rows, labels=1).splitlines()[2:] == [r"a\n\udce9.png  x 50.0%", f"b.png{' ' * 10}x 50.0%"]


def test_predictions_are_told_as_they_come_and_columns_grow() -> None:
    asked: list[str] = []

    def answers() -> Iterator[Prediction]:
        for name in ("a", "bb", "longer", "c"):
            asked.append(name)
            yield prediction(f"{name}.png", (name, 0.5))

    lines = prediction_lines(answers(), labels=1, together=2)
    assert [next(lines) for _ in range(4)] == [
        "picture        1.",
        "-----------------",
        "a.png     a 50.0%",
        "bb.png   bb 50.0%",
    ]
    assert asked == ["a", "bb"]
    assert list(lines) == ["longer.png  longer 50.0%", "c.png            c 50.0%"]


def make_report(classes: int) -> Report:
    return Report(
        class_names=tuple(f"class[{i}]" for i in range(classes)),
        labels=np.array([0, 0, 1]),
        probabilities=np.eye(classes, dtype=np.float32)[[0, 1, 1]],
        views=1,
        seconds=1.5,
    )


def test_a_report_s_headline_has_top_5_where_there_are_more_classes() -> None:
    # The interval of two of three: scipy's binomtest, method "wilson".
    assert headline(make_report(3)) == "top-1 66.67% (20.8 to 93.9) on 3 pictures, 2 a second"
    assert headline(make_report(6)) == (
        "top-1 66.67% (20.8 to 93.9), top-5 100.00% on 3 pictures, 2 a second"
    )


def test_a_report_is_a_line_a_class_and_its_headline() -> None:
    lines = cells(report_table(make_report(3)))
    assert lines[:4] == [
        ["class", "pictures", "right", "recall", "precision"],
        ["class[0]", "2", "1", "50.0%", "100.0%"],
        ["class[1]", "1", "1", "100.0%", "50.0%"],
        ["class[2]", "0", "0", "-", "-"],
    ]
    assert " ".join(lines[-1]) == headline(make_report(3))


def test_timings_are_a_line_each() -> None:
    timing = Timing(name="plain", pictures_per_second=10.04, slowest=9.0, fastest=11.0, ratio=1.0)
    assert cells(timing_table([timing]))[-1] == ["plain", "10.0", "9.0", "11.0", "1.00x"]


def progress(**changes: object) -> Progress:
    values: dict[str, object] = {
        "phase": "training",
        "share": 0.25,
        "epoch": 2,
        "pictures_per_second": 1234.5,
        "loss": 0.5,
        "accuracy": 0.875,
        "validation_accuracy": 0.75,
        "seconds": 30.0,
        "seconds_left": 90.0,
    }
    return Progress(**(values | changes))  # type: ignore[arg-type]


def test_a_run_is_described_with_time_loss_accuracy_and_speed() -> None:
    assert describe(progress()) == (
        "30s gone, 1m30s left  epoch 2  loss 0.500  accuracy 87.5% (validation 75.0%)  1,234 pictures/s"
    )
    assert "validation" not in describe(progress(validation_accuracy=None))
    assert "Ctrl-C again" in describe(progress(phase="interrupted"))
    assert "left" not in describe(progress(phase="interrupted"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the terminal reads, in seconds, to be set by the test."""
    now = [1000.0]
    monkeypatch.setattr(terminal, "perf_counter", lambda: now[0])
    return now


def told_at(clock: list[float], moments: Sequence[tuple[float, Phase]]) -> list[tuple[float, Phase]]:
    """Of what a run tells at these moments, what is printed where no terminal is."""
    printed = []
    with training_progress() as tell:
        for second, phase in moments:
            clock[0] = 1000.0 + second
            with contextlib.redirect_stderr(io.StringIO()) as out:
                tell(progress(phase=phase, seconds=second))
            if out.getvalue():
                printed.append((second, phase))
    return printed


def test_progress_goes_to_stderr_in_lines_where_no_terminal_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with training_progress() as tell:
        tell(progress())
        tell.note("photos/[a].jpg: not a picture")
        tell(progress(phase="interrupted", share=0.5))
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second, third = captured.err.splitlines()
    assert first == f"training  25%  {describe(progress())}"
    assert second == "photos/[a].jpg: not a picture"
    assert third.startswith("interrupted  50%  validating")


def test_a_line_is_told_every_ten_seconds_and_half_as_soon_where_the_phase_is_another(
    clock: list[float],
) -> None:
    assert told_at(
        clock,
        [
            (0, "training"),
            (4.9, "validation"),  # not yet
            (5, "validation"),
            (6, "training"),
            (9.9, "training"),
            (10, "training"),
            (19.9, "training"),
            (20, "training"),
            (20.1, "interrupted"),  # at once, and once
            (20.2, "interrupted"),
        ],
    ) == [(0, "training"), (5, "validation"), (10, "training"), (20, "training"), (20.1, "interrupted")]


def test_a_long_run_tells_ever_fewer_lines(clock: list[float]) -> None:
    printed = [second for second, _ in told_at(clock, [(second, "training") for second in range(86_400)])]
    pauses = np.diff(printed)
    assert pauses[:10].tolist() == [10] * 10
    assert (np.diff(pauses) >= 0).all()
    assert pauses[-1] == 300
    assert 400 > len(printed) > 24 * 12


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_in_a_terminal_the_time_left_is_seen_and_notes_are_whole_however_narrow_it_is(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes anything for a terminal
    monkeypatch.setenv("COLUMNS", str(columns))
    note = "photos/" + "a long name " * 10 + "[red].jpg: not a picture"
    with training_progress() as tell:
        tell(progress())
        tell.note(note)
    captured = capsys.readouterr()
    assert captured.out == ""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", captured.err)
    lines = re.split(r"[\r\n]+", plain)
    assert note in lines
    drawn = [line for line in lines[lines.index(note) + 1 :] if line.startswith("training ")]
    assert " 25% 1m30s left epoch 2  loss 0.500" in drawn[-1]
    assert {len(line) for line in drawn} == {columns}


def test_counting_leaves_no_trace_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    with counting_progress(3) as tell:
        tell(1)
        tell(3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip() == ""
