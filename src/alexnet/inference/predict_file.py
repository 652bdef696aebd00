"""Predictions as lines of CSV or JSON, and a file of them that goes on where it was cut off."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, Literal, TypeVar, get_args

from alexnet.errors import OutputError, PictureError
from alexnet.inference.predict import Prediction
from alexnet.learning.classifier import Label
from alexnet.writing import lock, printable

Item = TypeVar("Item")
Form = Literal["csv", "jsonl"]
FORMS: tuple[Form, ...] = get_args(Form)
_TOLD_EVERY = 64  # lines
_SAME = 0.1  # by which engines and precisions may differ in a probability
_JSONL_BEGINS = b'{"path": '  # every line


@dataclass(frozen=True, kw_only=True)
class Written:
    """What came of writing a file of predictions."""

    pictures: int  # answered this time
    before: int  # that the file had already
    unreadable: int  # of both


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What is in a file already."""

    pictures: int
    unreadable: int  # of them
    last: str | None  # path of the last
    answer: Prediction | None  # the last with a label, and of its labels the first
    end: int  # bytes, up to the last whole line

    def and_one(self, path: str, label: Label | None, error: str | None, *, end: int) -> _Found:
        """With a line more."""
        return _Found(
            pictures=self.pictures + 1,
            unreadable=self.unreadable + bool(error),
            last=printable(path),
            answer=Prediction(path=path, labels=(label,)) if label is not None else self.answer,
            end=end,
        )


_NOTHING = _Found(pictures=0, unreadable=0, last=None, answer=None, end=0)


def lines(predictions: Iterable[Prediction], form: Form, *, top: int, header: bool = True) -> Iterator[str]:
    """A line for each, without its newline; in CSV after a header with `top` labels."""
    if form == "jsonl":
        for each in predictions:
            yield json.dumps(asdict(each), ensure_ascii=False)
        return
    if header:
        yield _csv_line(_columns(top))
    for each in predictions:
        told = [value for label in each.labels for value in (label.name, f"{label.probability:.6f}")]
        told += [""] * (2 * top - len(told))
        yield _csv_line([each.path, *told, each.error or ""])


def write_predictions(
    predict: Callable[[Iterator[Path]], Iterator[Prediction]],
    files: Iterator[Path],
    output: str | Path,
    *,
    form: Form,
    top: int,
    on_progress: Callable[[int], None] = lambda _: None,
    again: Callable[[Iterator[Path]], Iterator[Prediction]] | None = None,
) -> Written:
    """Write what `predict` answers for `files` to `output`, a line each, as it comes.

    If the file is there, the pictures that it has whole lines for are passed over, and it goes on from there:
    it must be of the same form, its last picture must be among `files` in that place, and its last answer
    must be what `again`, or else `predict`, says of that picture. Raises OutputError where it is not, with
    the file as it was, and where writing fails, with whole lines in it; PictureError where `files` or
    `predict` meet an OSError.
    """
    output = Path(output)
    if output.exists() and not output.is_file():
        raise OutputError(
            f"{output}: no regular file; must be one, which can be gone on with; without it, answers go to "
            "standard output"
        )
    created = not output.exists()
    try:
        with output.open("ab") as file:
            if not lock(file.fileno()):
                raise OutputError(
                    f"{output}: another process is writing it; wait until it ends, or choose another"
                )
            try:
                return _go_on(
                    predict, _told_apart(files), file, output, form, top, on_progress, again or predict
                )
            except BaseException:
                if created and not os.fstat(file.fileno()).st_size:
                    output.unlink()
                raise
    except OSError as error:
        raise OutputError(
            f"{output}: cannot be written: {error.strerror or error}; make room or choose another place; the "
            "same command goes on with it"
        ) from error


def _go_on(
    predict: Callable[[Iterator[Path]], Iterator[Prediction]],
    files: Iterator[Path],
    file: IO[bytes],
    output: Path,
    form: Form,
    top: int,
    on_progress: Callable[[int], None],
    again: Callable[[Iterator[Path]], Iterator[Prediction]],
) -> Written:
    """Write behind what there is in `file`, which is `output`, open at its end."""
    found = _read(output, form, top)
    passed = list(islice(files, found.pictures - 1, found.pictures)) if found.pictures else []
    if found.pictures and [printable(str(each)) for each in passed] != [found.last]:
        raise OutputError(
            f"{output}: its answer {found.pictures} is of {found.last}, and that place is now of "
            f"{passed[0] if passed else 'no picture'}; must be of the same pictures; delete it or "
            "choose another"
        )
    if found.answer is not None:
        _check_same(output, found.answer, _told_apart(again(iter([Path(found.answer.path)]))))
    done, unreadable = 0, found.unreadable
    file.truncate(found.end)
    for line in lines((), form, top=top, header=not found.end):
        file.write(_encoded(line))
    for prediction in _told_apart(predict(files)):
        (line,) = lines([prediction], form, top=top, header=False)
        file.write(_encoded(line))
        file.flush()  # for whoever follows the file
        done, unreadable = done + 1, unreadable + (prediction.error is not None)
        if done % _TOLD_EVERY == 0:
            on_progress(found.pictures + done)
    os.fsync(file.fileno())
    return Written(pictures=done, before=found.pictures, unreadable=unreadable)


def _told_apart(source: Iterator[Item]) -> Iterator[Item]:
    """The same items; an OSError of their source is not one of the output's."""
    try:
        yield from source
    except OSError as error:
        where = error.filename or "the pictures"
        raise PictureError(f"{where}: cannot be read: {error.strerror or error}; check the path") from error


def _check_same(output: Path, before: Prediction, now: Iterator[Prediction]) -> None:
    """Raise OutputError where a picture that can still be read is answered otherwise than before."""
    answer = next(now, None)
    if answer is None or not answer.labels:
        return
    (label,) = before.labels
    now_said = {printable(each.name): each.probability for each in answer.labels}
    probability = now_said.get(printable(label.name), 0.0)
    if abs(probability - label.probability) > _SAME:
        likeliest = answer.labels[0]
        raise OutputError(
            f"{output}: says {label.name} ({label.probability:.2f}) of {before.path}, and these weights "
            f"{likeliest.name} ({likeliest.probability:.2f}); must be of the same weights; delete it or "
            "choose another"
        )


def _columns(top: int) -> list[str]:
    ranks = range(1, top + 1)
    return ["path", *(name for rank in ranks for name in (f"label{rank}", f"probability{rank}")), "error"]


def _csv_line(cells: Iterable[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)  # which quotes what is in its line's end: \r, too
    return buffer.getvalue().removesuffix("\r\n")


def _encoded(line: str) -> bytes:
    return f"{line}\n".encode(errors="backslashreplace")


def _read(output: Path, form: Form, top: int) -> _Found:
    with output.open("rb") as file:
        whole = _WholeLines(file)
        try:
            found = (_read_jsonl if form == "jsonl" else _read_csv)(whole, output, top)
            if not found.end:
                file.seek(0)
                _check_beginning(file.read(1024), form, top)
        except (ValueError, KeyError, TypeError, csv.Error):
            raise OutputError(
                f"{output}: not the {form} that this command writes; must be, or not be there; choose "
                "another place"
            ) from None
    return found


def _check_beginning(begun: bytes, form: Form, top: int) -> None:
    """Raise ValueError for a first line without an end that is not one of ours, cut off."""
    if form == "jsonl":
        begun = begun[: len(_JSONL_BEGINS)]
    ours = _JSONL_BEGINS if form == "jsonl" else _encoded(_csv_line(_columns(top)))
    if not ours.startswith(begun):
        raise ValueError(begun)


class _WholeLines(Iterator[str]):
    """A file's lines that end in a newline, and how many bytes they are."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.bytes, self.at_the_end = file, 0, False

    def __next__(self) -> str:
        line = self.file.readline()
        if not line.endswith(b"\n"):
            self.at_the_end = True
            raise StopIteration
        self.bytes += len(line)
        return line.decode()


def _other_top(output: Path, found: int, top: int) -> OutputError:
    return OutputError(
        f"{output}: has {found} labels a picture, not {top}; must be gone on with as it was begun; give "
        f"--top {found}, delete it or choose another"
    )


def _read_jsonl(whole: _WholeLines, output: Path, top: int) -> _Found:
    found = _NOTHING
    for text in whole:
        told = json.loads(text)
        labels = [
            Label(name=str(each["name"]), probability=float(each["probability"])) for each in told["labels"]
        ]
        if labels and len(labels) != top:
            raise _other_top(output, len(labels), top)
        found = found.and_one(
            str(told["path"]), labels[0] if labels else None, told["error"], end=whole.bytes
        )
    return found


def _read_csv(whole: _WholeLines, output: Path, top: int) -> _Found:
    rows = csv.reader(whole, strict=True)
    header = next(rows, None)
    if header is not None and header != _columns(top):
        others = (len(header) - 2) // 2
        raise _other_top(output, others, top) if header == _columns(others) else ValueError(header)
    found = replace(_NOTHING, end=whole.bytes)
    try:
        for row in rows:
            if len(row) != len(_columns(top)):
                raise ValueError(row)
            label = None if row[-1] else Label(name=row[1], probability=float(row[2]))
            found = found.and_one(row[0], label, row[-1], end=whole.bytes)
    except csv.Error:
        if not whole.at_the_end:  # there, a row is cut off within a cell of several lines
            raise
    return found
