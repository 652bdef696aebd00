"""CSVs as people and spreadsheets write them, against the rows that were written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet.errors import DataError
from alexnet.images.datasets import Dataset, is_undivided, open_dataset, open_split

Write = Callable[..., Path]

FILES = ("a/0.pgm", "a/1.pgm", "b/0.pgm", "b/1.pgm", "c.pgm")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write photos.csv beside the FILES, of different contents: write("path,label", "a/0.pgm,cats")."""
    for value, name in enumerate(FILES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"P5 1 1 255 " + bytes([value]))

    def write(*lines: str, name: str = "photos.csv", encoding: str = "utf-8", end: str = "\n") -> Path:
        path = tmp_path / name
        path.write_bytes(end.join([*lines, ""]).encode(encoding))
        return path

    return write


FOUR = ("a/0.pgm,cats", "a/1.pgm,cats", "b/0.pgm,dogs", "b/1.pgm,dogs")


def together(dataset: Dataset) -> dict[str, str]:
    """File name below the CSV's folder -> class, over train and validation."""
    root = Path(dataset.source).parent
    return {
        Path(name).relative_to(root).as_posix(): dataset.class_names[label]
        for split in (dataset.train, dataset.validation)
        for name, label in zip(split.names, split.labels, strict=True)
    }


def test_a_listing_without_splits_is_divided_like_a_folder(write: Write) -> None:
    path = write("path,label", *FOUR)
    dataset = open_dataset(path)
    assert together(dataset) == dict(row.split(",") for row in FOUR)
    assert dataset.class_names == ("cats", "dogs")
    assert (len(dataset.train), len(dataset.validation), dataset.test) == (2, 2, None)
    assert (dataset.name, dataset.source, dataset.mirror, dataset.tight) == ("photos", str(path), True, False)
    values = [int(picture[0, 0, 0]) for picture in dataset.train.pictures]
    assert values == [
        FILES.index(Path(name).relative_to(path.parent).as_posix()) for name in dataset.train.names
    ]
    assert is_undivided(path)


def test_a_listing_is_divided_by_seed_and_its_division_is_found_again(write: Write) -> None:
    path = write("path,label", *FOUR)
    first = open_dataset(path, seed=0)
    assert first.division is not None
    assert set(first.division["train"]) | set(first.division["validation"]) == set(FILES[:4])
    write("path,label", *reversed(FOUR), "c.pgm,emus")
    found = open_split(path, ["cats", "dogs"], split="validation", division=first.division)
    assert sorted(found.names) == sorted(first.validation.names)
    assert found.warnings == ()


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "VAL"])
def test_a_column_split_divides_it(write: Write, validation: str) -> None:
    path = write(
        "split,path,label",
        "train,a/0.pgm,cats",
        "train,b/0.pgm,dogs",
        f"{validation},a/1.pgm,cats",
        "test,b/1.pgm,dogs",
    )
    dataset = open_dataset(path)
    assert [Path(name).name for name in dataset.train.names] == ["0.pgm", "0.pgm"]
    assert dataset.validation.names == [str(path.parent / "a" / "1.pgm")]
    assert dataset.test is not None
    assert dataset.test.labels.tolist() == [1]
    assert not dataset.divided
    assert not is_undivided(path)
    assert open_split(path, ["dogs", "cats"]).labels.tolist() == [0]
    assert open_split(path, ["dogs", "cats"], split="validation").names == dataset.validation.names


@pytest.mark.parametrize("path_column", ["path", "file", "image", "filename", "Path", " FILENAME "])
@pytest.mark.parametrize("label_column", ["label", "class", "Class"])
def test_columns_have_their_usual_names_and_any_order(
    write: Write, path_column: str, label_column: str
) -> None:
    path = write(f"id,{label_column},{path_column}", "7,cats,a/0.pgm", "8,dogs,b/0.pgm")
    split = open_split(path, ["cats", "dogs"])
    assert split.names == [str(path.parent / "a" / "0.pgm"), str(path.parent / "b" / "0.pgm")]
    assert split.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("delimiter", "encoding", "end", "name"),
    [
        (";", "utf-8-sig", "\r\n", "photos.csv"),
        ("\t", "utf-8", "\n", "photos.tsv"),
        (",", "utf-8", "\r\n", "PHOTOS.CSV"),
    ],
)
def test_what_spreadsheets_write_is_read(
    write: Write, delimiter: str, encoding: str, end: str, name: str
) -> None:
    rows = [row.replace(",", delimiter) for row in ("path,label", *FOUR)]
    rows += [delimiter.join(("c.pgm", '"é, ü; ß"')), "", f" {delimiter} "]
    path = write(*rows, encoding=encoding, end=end, name=name)
    split = open_split(path, ["cats", "dogs", "é, ü; ß"])
    assert split.labels.tolist() == [0, 0, 1, 1, 2]


def test_an_absolute_path_and_spaces_around_cells_are_understood(write: Write, tmp_path: Path) -> None:
    path = write("path , label", f"{tmp_path / 'a' / '0.pgm'}, cats", "b/0.pgm ,dogs ")
    assert open_split(path, ["cats", "dogs"]).labels.tolist() == [0, 1]


def test_the_folder_may_be_given_relative(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("path,label", *FOUR)
    monkeypatch.chdir(path.parent)
    dataset = open_dataset("photos.csv")
    assert dataset.division is not None
    assert set(dataset.division["train"]) | set(dataset.division["validation"]) == set(FILES[:4])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["path,kind", "a/0.pgm,cats"],
            "line 1: columns kind, path; one must be the label, called label or class",
        ),
        (["label", "cats"], "line 1: columns label; one must be the path, called path or file or image"),
        (["a/0.pgm,cats"], "line 1: columns a/0.pgm, cats; one must be the path"),
        (["path,file,label", "a/0.pgm,,cats"], "line 1: columns path and file; only one may be the path"),
        (["path,label", FOUR[0], "a/1.pgm,"], "line 3: no label; every row must have one"),
        (["path,label", FOUR[0], "a/1.pgm"], "line 3: no label; every row must have one"),
        (["path,label", FOUR[0], "", ",dogs"], "line 4: no path; every row must have one"),
        (
            ["path,label", *FOUR, FOUR[1]],
            r"line 6: a/1\.pgm is on line 3 already; each picture must be listed",
        ),
        (
            ["path,label,split", "a/0.pgm,cats,mine"],
            "line 2: split is 'mine'; it must be one of train, training, val, valid",
        ),
        (["path,label,split", "a/0.pgm,cats"], "line 2: split is ''; it must be one of train"),
        (
            ["path,label", FOUR[0], "x.pgm,cats", "y.pgm,dogs"],
            r"line 3: no file x\.pgm \(2 of 3 are not there\)",
        ),
        (
            ["path,label", FOUR[0], "a,cats"],
            r"line 3: no file a \(1 of 2 is not there\); paths must be whole, or relative",
        ),
        (["path,label", '"a/0.pgm,cats'], "line 2: not CSV"),
        (["path,label"], "no rows; it must have one for each picture"),
        ([""], "empty; it must have a header"),
        (["path,label", *FOUR[:2]], r"one class to train on \(cats\); there must be at least two classes"),
        (["path,label", FOUR[0], FOUR[2]], "one picture in each class"),
        (["path,label,split", "a/0.pgm,cats,test"], "has test but no train"),
        (
            ["path,label,split", "a/0.pgm,cats,train", "b/0.pgm,dogs,train", "c.pgm,emus,val"],
            r"c\.pgm: of a class that is not known \(emus\); it must be one of cats, dogs; rename the class",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_line(write: Write, lines: list[str], said: str) -> None:
    path = write(*lines)
    with pytest.raises(DataError, match=said) as caught:
        open_dataset(path)
    assert str(caught.value).startswith(str(path.parent))
    assert "\n" not in str(caught.value)


def test_what_is_not_utf8_is_told_with_its_line(write: Write) -> None:
    path = write("path,label", FOUR[0], "a/1.pgm,café", encoding="latin-1")
    with pytest.raises(DataError, match=r"line 3: not UTF-8 \(byte 0xe9\); save it as CSV in UTF-8"):
        open_dataset(path)
    with pytest.raises(DataError, match=r"line 1: not UTF-8 \(byte 0xff\)"):
        open_dataset(write("path,label", *FOUR, encoding="utf-16"))


def test_a_row_over_several_lines_counts_from_its_first(write: Write) -> None:
    path = write("path,note,label", 'a/0.pgm,"one', 'two",cats', "a/1.pgm,,")
    with pytest.raises(DataError, match="line 4: no label"):
        open_dataset(path)


def test_a_mistyped_listing_is_answered_with_the_one_beside_it(write: Write) -> None:
    path = write("path,label", *FOUR)
    with pytest.raises(DataError, match=r"photo\.csv: no such data set.* did you mean .*photos\.csv\?"):
        open_dataset(path.with_name("photo.csv"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_listing_that_may_not_be_read_says_so(write: Write) -> None:
    path = write("path,label", *FOUR)
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        open_dataset(path)


def test_a_file_that_two_splits_of_a_listing_share_is_told_of(write: Write, tmp_path: Path) -> None:
    (tmp_path / "c.pgm").write_bytes((tmp_path / "a" / "0.pgm").read_bytes())
    path = write(
        "path,label,split", *(f"{row},train" for row in FOUR[:3]), "b/1.pgm,dogs,val", "c.pgm,cats,val"
    )
    shared = [line for line in open_dataset(path).warnings if "train has too" in line]
    pair = f"{tmp_path / 'a' / '0.pgm'} = {tmp_path / 'c.pgm'}"
    assert shared == [
        f"{path}: validation has 1 file that train has too ({pair}), so that it is answered "
        f"too well; keep each in one of them"
    ]
