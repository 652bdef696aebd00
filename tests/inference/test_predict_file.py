"""Files of predictions: read back by any reader, and gone on with wherever they were cut off."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexnet import OutputError, PictureError
from alexnet.inference.predict import Prediction
from alexnet.inference.predict_file import Form, Written, lines, write_predictions
from alexnet.learning.classifier import Label


def prediction(path: str, *labels: tuple[str, float]) -> Prediction:
    return Prediction(path=path, labels=tuple(Label(name=name, probability=share) for name, share in labels))


ODD = [
    prediction("plain.png", ("red", 0.75), ("blue", 0.25)),
    prediction('a, "b".png', ("T-shirt, top", 1 / 3), ('say "x"', 1e-9)),
    prediction("two\nlines.png", ("犬", 0.5), ("", 0.5)),
    prediction("re\rturn.png", ("犬", 0.5), ("", 0.5)),
]


def test_csv_is_read_back_by_any_reader_whatever_the_names() -> None:
    text = "\n".join(lines(ODD, "csv", top=2)) + "\n"
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert head == ["path", "label1", "probability1", "label2", "probability2", "error"]
    assert rows == [
        ["plain.png", "red", "0.750000", "blue", "0.250000", ""],
        ['a, "b".png', "T-shirt, top", "0.333333", 'say "x"', "0.000000", ""],
        ["two\nlines.png", "犬", "0.500000", "", "0.500000", ""],
        ["re\rturn.png", "犬", "0.500000", "", "0.500000", ""],
    ]


def test_a_picture_that_cannot_be_read_has_the_reason_in_every_form() -> None:
    bad = Prediction(path="bad.png", labels=(), error="bad.png: empty, it seems")
    head, row = csv.reader(lines([bad], "csv", top=1))
    assert dict(zip(head, row, strict=True)) == {
        **{"path": "bad.png", "label1": "", "probability1": ""},
        "error": "bad.png: empty, it seems",
    }
    (line,) = lines([bad], "jsonl", top=1)
    assert json.loads(line) == {"path": "bad.png", "labels": [], "error": "bad.png: empty, it seems"}


# --- going on ---------------------------------------------------------------------------------------------

FILES = [
    Path(name)
    for name in ("plain.png", "bad\n.png", 'a, "b".png', "two\nlines.png", "re\rturn.png", "end.png")
]


def answered(files: Iterator[Path]) -> Iterator[Prediction]:
    for path in files:
        if path.name.startswith("bad"):
            yield Prediction(path=str(path), labels=(), error=f"{path}: empty")
        else:
            yield prediction(str(path), ("red, or so", 0.75), ("two\nlines", 0.25))


def write(output: Path, form: Form, files: list[Path] | None = None) -> Written:
    return write_predictions(answered, iter(FILES if files is None else files), output, form=form, top=2)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_file_that_was_cut_off_anywhere_ends_as_if_it_had_not_been(tmp_path: Path, form: Form) -> None:
    whole = tmp_path / "whole"
    assert write(whole, form) == Written(pictures=6, unreadable=1, before=0)
    content, cut = whole.read_bytes(), tmp_path / "cut"
    for length in range(len(content) + 1):
        cut.write_bytes(content[:length])
        written = write(cut, form)
        assert cut.read_bytes() == content, length
        assert written.pictures + written.before == 6


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_is_there_is_not_asked_for_again(tmp_path: Path, form: Form) -> None:
    output = tmp_path / "out"
    write(output, form, FILES[:4])
    asked: list[Path] = []

    def noted(files: Iterator[Path]) -> Iterator[Prediction]:
        for path in files:
            asked.append(path)
            yield from answered(iter([path]))

    written = write_predictions(noted, iter(FILES), output, form=form, top=2, again=answered)
    assert asked == FILES[4:]
    assert written == Written(pictures=2, before=4, unreadable=1)  # what was unreadable still is


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_file_of_other_pictures_is_left_as_it_is(tmp_path: Path, form: Form) -> None:
    output = tmp_path / "out"
    write(output, form, FILES[:3])
    content = output.read_bytes()
    for files in (FILES[1:], FILES[:2], []):
        with pytest.raises(OutputError, match="must be of the same pictures"):
            write(output, form, files)
        assert output.read_bytes() == content


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize(
    "content",
    [
        b"my notes\n",
        b"\xff\xfe\n",
        b"[1]\n",
        b"{}\n",
        b"path,label1\n",
        b"a line without an end",
        b'{"path of": "another program"}',
        b"path,label1,rank",
    ],
    ids=str,
)
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, form: Form, content: bytes) -> None:
    output = tmp_path / "out"
    output.write_bytes(content)
    with pytest.raises(OutputError, match=f"not the {form} that this command writes"):
        write(output, form)
    assert output.read_bytes() == content


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_file_of_other_weights_is_left_as_it_is(tmp_path: Path, form: Form) -> None:
    output = tmp_path / "out"
    write(output, form, FILES[:2])  # the last of which has no answer to compare
    content = output.read_bytes()

    def otherwise(files: Iterator[Path]) -> Iterator[Prediction]:
        for path in files:
            yield prediction(str(path), ("blue", 0.9), ("red, or so", 0.1))

    with pytest.raises(
        OutputError, match=r"red, or so \(0.75\) of plain.png, and these weights blue \(0.90\)"
    ):
        write_predictions(otherwise, iter(FILES), output, form=form, top=2)
    assert output.read_bytes() == content

    def nearly(files: Iterator[Path]) -> Iterator[Prediction]:  # as in 8 bits
        for path in files:
            yield prediction(str(path), ("red, or so", 0.71), ("two\nlines", 0.29))

    assert write_predictions(nearly, iter(FILES), output, form=form, top=2).pictures == 4

    def gone(files: Iterator[Path]) -> Iterator[Prediction]:
        for path in files:
            yield Prediction(path=str(path), labels=(), error="gone")

    output.write_bytes(content)
    assert write_predictions(gone, iter(FILES), output, form=form, top=2).unreadable == 1 + 4


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_file_with_another_number_of_labels_says_so_and_is_left(tmp_path: Path, form: Form) -> None:
    output = tmp_path / "out"
    write(output, form, FILES[:3])
    before = output.read_bytes()
    with pytest.raises(OutputError, match=r"out: has 2 labels a picture, not 3; .*give --top 2, delete it"):
        write_predictions(answered, iter(FILES), output, form=form, top=3)
    assert output.read_bytes() == before


def test_what_another_process_writes_is_left_to_it(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    seen: list[str] = []

    def answered_slowly(files: Iterator[Path]) -> Iterator[Prediction]:
        for each in answered(files):
            with pytest.raises(OutputError, match=r"out\.csv: another process is writing it; wait"):
                write(output, "csv")
            seen.append(each.path)
            yield each

    write_predictions(answered_slowly, iter(FILES), output, form="csv", top=2)
    assert seen == [str(each) for each in FILES]
    whole = tmp_path / "whole.csv"
    write(whole, "csv")
    assert output.read_bytes() == whole.read_bytes()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="pipe: no regular file"):
        write(tmp_path / "pipe", "csv")


def test_a_new_file_in_which_nothing_came_to_be_is_not_left(tmp_path: Path) -> None:
    def broken(_: Iterator[Path]) -> Iterator[Prediction]:
        raise PictureError("no")

    with pytest.raises(PictureError):
        write_predictions(broken, iter(FILES), tmp_path / "out.jsonl", form="jsonl", top=2)
    assert list(tmp_path.iterdir()) == []


def test_what_the_pictures_side_cannot_read_is_not_told_of_the_output(tmp_path: Path) -> None:
    def broken(files: Iterator[Path]) -> Iterator[Prediction]:
        yield from answered(iter([next(files)]))
        raise PermissionError(13, "Permission denied", "photos/private")

    with pytest.raises(PictureError, match="photos/private: cannot be read: Permission denied"):
        write_predictions(broken, iter(FILES), tmp_path / "out", form="jsonl", top=2)
    assert write(tmp_path / "out", "jsonl").before == 1


def test_a_run_that_breaks_off_leaves_whole_lines(tmp_path: Path) -> None:
    def broken(files: Iterator[Path]) -> Iterator[Prediction]:
        yield from answered(iter([next(files), next(files)]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predictions(broken, iter(FILES), tmp_path / "out", form="jsonl", top=2)
    assert len((tmp_path / "out").read_text(encoding="utf-8").splitlines()) == 2
    assert write(tmp_path / "out", "jsonl").before == 2


def test_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none/out: cannot be written: No such file"):
        write(tmp_path / "none" / "out", "csv")


def test_names_that_are_no_unicode_are_gone_on_with(tmp_path: Path) -> None:
    files = [Path("caf\udce9.png"), Path("b.png")]
    for form in ("csv", "jsonl"):
        output = tmp_path / form
        write(output, form, files[:1])
        assert write(output, form, files).before == 1


def test_class_names_that_are_no_unicode_are_gone_on_with(tmp_path: Path) -> None:
    def named(files: Iterator[Path]) -> Iterator[Prediction]:
        return (prediction(str(path), ("caf\udce9", 0.75), ("b", 0.25)) for path in files)

    files = [Path("a.png"), Path("b.png")]
    forms: tuple[Form, ...] = ("csv", "jsonl")
    for form in forms:
        output = tmp_path / form
        write_predictions(named, iter(files[:1]), output, form=form, top=2)
        assert write_predictions(named, iter(files), output, form=form, top=2).before == 1
