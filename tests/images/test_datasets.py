"""Folders as people have them, made small, against the lists of files that were put there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from alexnet.errors import DataError
from alexnet.images.datasets import Split, default_split, is_undivided, open_dataset, open_split
from alexnet.images.decode import PICTURE_SUFFIXES
from alexnet.images.splits import divide
from alexnet.learning.runs import describe_data

Make = Callable[..., Path]


def write_picture(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P5 1 1 255 " + bytes([value]))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a folder of class folders: make("train", cats=3, dogs=2)."""

    def classes(*where: str, **counts: int) -> Path:
        for name, count in counts.items():
            for index in range(count):
                write_picture(tmp_path.joinpath(*where, name, f"{index}.pgm"), index)
        return tmp_path

    return classes


def names(split: Split | None, below: Path) -> list[str]:
    assert split is not None
    return [Path(name).relative_to(below).as_posix() for name in split.names]


def per_class(split: Split, classes: int) -> list[int]:
    return [int((split.labels == label).sum()) for label in range(classes)]


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val", "VALID"])
def test_every_usual_name_of_a_validation_folder_is_understood(make: Make, validation: str) -> None:
    make("train", dogs=2, cats=1)
    make(validation, cats=1)
    folder = make("test", dogs=1)
    dataset = open_dataset(folder)
    assert dataset.class_names == ("cats", "dogs")
    assert names(dataset.train, folder) == ["train/cats/0.pgm", "train/dogs/0.pgm", "train/dogs/1.pgm"]
    assert dataset.train.labels.tolist() == [0, 1, 1]
    assert names(dataset.validation, folder) == [f"{validation}/cats/0.pgm"]
    assert names(dataset.test, folder) == ["test/dogs/0.pgm"]
    assert (dataset.name, dataset.source) == (folder.name, str(folder))
    assert (dataset.mirror, dataset.tight) == (True, False)


def test_pictures_are_decoded_when_asked_for(make: Make) -> None:
    folder = make(cats=4, dogs=4)
    (folder / "cats" / "4.jpg").write_text("not a picture")
    train = open_dataset(folder).train
    values = [train.pictures[i][0, 0, 0] for i in range(len(train)) if not train.names[i].endswith(".jpg")]
    assert values == [int(Path(name).stem) for name in train.names if not name.endswith(".jpg")]
    assert len(train.pictures[1:3]) == 2


def test_train_and_test_alone_have_validation_divided_off_train(make: Make) -> None:
    make("train", cats=20, dogs=10)
    folder = make("test", cats=1, dogs=1)
    dataset = open_dataset(folder)
    assert per_class(dataset.train, 2) == [18, 9]
    assert per_class(dataset.validation, 2) == [2, 1]
    assert names(dataset.test, folder) == ["test/cats/0.pgm", "test/dogs/0.pgm"]


def test_train_and_validation_alone_have_no_test_split(make: Make) -> None:
    make("train", cats=1, dogs=1)
    assert open_dataset(make("val", cats=1)).test is None


def test_one_folder_is_divided_by_class_and_seed(make: Make) -> None:
    folder = make(cats=30, dogs=10, emus=2, foxes=1)
    dataset = open_dataset(folder, validation_share=0.2)
    assert dataset.test is None
    assert per_class(dataset.train, 4) == [24, 8, 1, 1]
    assert per_class(dataset.validation, 4) == [6, 2, 1, 0]
    together = sorted([*dataset.train.names, *dataset.validation.names])
    assert together == sorted(str(path) for path in folder.glob("*/*.pgm"))
    again, other = (
        open_dataset(folder, validation_share=0.2),
        open_dataset(folder, validation_share=0.2, seed=1),
    )
    assert again.validation.names == dataset.validation.names
    assert other.validation.names != dataset.validation.names


def test_hidden_files_other_files_and_empty_folders_are_passed_over(make: Make) -> None:
    folder = make(cats=2, dogs=2)
    make(".cache", x=1)
    make("cats", **{".thumbnails": 1})
    write_picture(folder / "cats" / "._0.jpg")
    (folder / "cats" / "notes.txt").write_text("notes")
    (folder / "emus").mkdir()
    (folder / "val").mkdir()
    dataset = open_dataset(folder)
    assert dataset.class_names == ("cats", "dogs")
    assert len(dataset.train) + len(dataset.validation) == 4


def test_pictures_are_found_below_a_class_folder_whatever_the_case_of_their_ending(make: Make) -> None:
    folder = make(dogs=2)
    write_picture(folder / "cats" / "deep" / "er" / "A.PGM")
    write_picture(folder / "cats" / "b.Jpeg")
    split = open_split(folder, ["cats", "dogs"])
    assert names(split, folder)[:2] == ["cats/b.Jpeg", "cats/deep/er/A.PGM"]


def test_a_loop_of_links_ends_and_a_linked_class_folder_counts(make: Make, tmp_path: Path) -> None:
    folder = make("set", cats=2) / "set"
    make("elsewhere", wolves=2)
    try:
        (folder / "cats" / "loop").symlink_to(folder, target_is_directory=True)
        (folder / "dogs").symlink_to(tmp_path / "elsewhere" / "wolves", target_is_directory=True)
    except OSError:
        pytest.skip("this system lets no ordinary user make links")
    assert open_dataset(folder).class_names == ("cats", "dogs")
    found = names(open_split(folder, ["cats", "dogs"]), folder)
    assert found[0] == "cats/0.pgm"
    assert found[-2:] == ["dogs/0.pgm", "dogs/1.pgm"]


def test_a_class_of_trains_is_a_class(make: Make) -> None:
    assert open_dataset(make(bus=2, car=2, train=2)).class_names == ("bus", "car", "train")


def test_other_folders_beside_the_splits_are_passed_over(make: Make) -> None:
    make("train", cats=2, dogs=2)
    assert open_dataset(make(meta=1)).class_names == ("cats", "dogs")


def test_a_validation_class_without_training_pictures_is_named(make: Make) -> None:
    make("train", cats=2, dogs=2)
    folder = make("val", cats=1, emus=1)
    with pytest.raises(
        DataError, match=r"val.emus.0\.pgm: of a class that is not known \(emus\).*cats, dogs"
    ):
        open_dataset(folder)


def test_two_folders_for_one_split_are_refused(make: Make) -> None:
    make("train", cats=2, dogs=2)
    make("val", cats=1)
    with pytest.raises(DataError, match="both val and valid; only one may hold the validation split"):
        open_dataset(make("valid", cats=1))


def test_a_split_of_classes_that_lie_beside_it_is_no_class(make: Make) -> None:
    make("val", cats=2, dogs=2)
    with pytest.raises(DataError, match=r"val holds classes that lie beside it, too \(cats, dogs\).*train"):
        open_dataset(make(cats=5, dogs=5))


@pytest.mark.parametrize(
    ("train", "validation", "test"), [("Training", "Dev", "Testing"), ("train", "valid", "test")]
)
def test_splits_go_by_other_names_too(make: Make, train: str, validation: str, test: str) -> None:
    for name, count in ((train, 3), (validation, 2)):
        make(name, cats=count, dogs=count)
    dataset = open_dataset(make(test, cats=1, dogs=1))
    assert (len(dataset.train), len(dataset.validation)) == (6, 4)
    assert dataset.test is not None
    assert len(dataset.test) == 2


def test_one_class_is_not_enough(make: Make) -> None:
    with pytest.raises(DataError, match=r"one class folder \(cats\); there must be at least two"):
        open_dataset(make(cats=5))


def test_pictures_directly_in_the_folder_are_told_where_to_go(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.pgm")
    with pytest.raises(
        DataError, match="pictures directly in it; each must be in a folder that is named after"
    ):
        open_dataset(tmp_path)


def test_splits_without_class_folders_are_not_taken_for_classes(make: Make) -> None:
    with pytest.raises(DataError, match="train: pictures directly in it"):
        open_dataset(make(train=3, val=3))


def test_a_folder_without_pictures_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    with pytest.raises(DataError, match=r"no pictures; .*\.bmp, \.gif"):
        open_dataset(tmp_path)


def test_every_class_with_one_picture_cannot_be_divided(make: Make) -> None:
    with pytest.raises(DataError, match="one picture in each class"):
        open_dataset(make(cats=1, dogs=1))


def test_splits_without_train_cannot_be_trained_on(make: Make) -> None:
    with pytest.raises(DataError, match="has test but no train"):
        open_dataset(make("test", cats=1, dogs=1))


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_that_leaves_a_split_empty_is_refused(make: Make, share: float) -> None:
    with pytest.raises(DataError, match="above 0 and below 1"):
        open_dataset(make(cats=2, dogs=2), validation_share=share)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        DataError, match=r"fashionmnist: no such.*fashion-mnist, digits; did you mean fashion-mnist\?"
    ):
        open_dataset("fashionmnist")


def test_a_mistyped_path_is_answered_with_the_folder_beside_it(make: Make) -> None:
    folder = make("animals", cats=1)
    with pytest.raises(DataError, match=r"did you mean .*animals\?"):
        open_dataset(folder / "animal")


def test_a_file_is_not_a_data_set(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.pgm")
    (tmp_path / "a.pg").mkdir()
    with pytest.raises(DataError, match=r"a file; it must be a folder.*; check the path$"):
        open_dataset(tmp_path / "a.pgm")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every folder")
def test_an_unreadable_class_folder_is_an_error_not_a_gap(make: Make) -> None:
    folder = make(cats=2, dogs=2)
    (folder / "dogs").chmod(0)
    try:
        with pytest.raises(DataError, match="dogs: cannot be read"):
            open_dataset(folder)
    finally:
        (folder / "dogs").chmod(0o700)


def test_to_evaluate_labels_are_the_classifiers(make: Make) -> None:
    folder = make(dogs=1, cats=2)
    split = open_split(folder, ["zebras", "dogs", "cats"])
    assert names(split, folder) == ["cats/0.pgm", "cats/1.pgm", "dogs/0.pgm"]
    assert split.labels.tolist() == [2, 2, 1]


def test_to_evaluate_test_comes_before_validation_and_train_may_be_missing(make: Make) -> None:
    folder = make("validation", cats=1)
    classes = ["cats", "dogs"]
    assert names(open_split(folder, classes), folder) == ["validation/cats/0.pgm"]
    make("test", dogs=1)
    assert names(open_split(folder, classes), folder) == ["test/dogs/0.pgm"]
    assert names(open_split(folder, classes, split="val"), folder) == ["validation/cats/0.pgm"]


def test_to_evaluate_a_split_is_the_one_that_training_had(make: Make) -> None:
    folder = make(cats=20, dogs=20)
    dataset = open_dataset(folder, seed=3, validation_share=0.25)
    for split in ("train", "validation"):
        chosen = open_split(folder, ["dogs", "cats"], split=split, seed=3, validation_share=0.25)
        assert chosen.names == getattr(dataset, split).names
        np.testing.assert_array_equal(chosen.labels, 1 - getattr(dataset, split).labels)


def test_to_evaluate_with_train_alone_validation_is_divided_off(make: Make) -> None:
    folder = make("train", cats=20, dogs=20)
    assert open_split(folder, ["cats", "dogs"]).names == open_dataset(folder).validation.names


def test_to_evaluate_a_split_that_is_not_there_is_an_error(make: Make) -> None:
    with pytest.raises(DataError, match="no test split"):
        open_split(make(cats=2, dogs=2), ["cats", "dogs"], split="test")
    with pytest.raises(DataError, match="holdout: not a split; it must be one of test, train, validation"):
        open_split(make(cats=2), ["cats", "dogs"], split="holdout")


def test_to_evaluate_a_class_the_classifier_does_not_know_is_named(make: Make) -> None:
    with pytest.raises(DataError, match=r"\(emus\); it must be one of cats, dogs"):
        open_split(make(cats=1, emus=1), ["cats", "dogs"])
    folder = make("train", cats=4, emus=4)
    with pytest.raises(DataError, match="classifier does not know, emus; all must be among cats, dogs"):
        open_split(folder, ["cats", "dogs"], split="validation")


def test_a_folder_without_oddities_has_no_warnings(make: Make) -> None:
    make("train", cats=2, dogs=2)
    for index in range(2):
        for name in ("cats", "dogs"):
            path = make() / "train" / name / f"{index}.pgm"
            path.write_bytes(path.read_bytes() + name.encode())
    make("val", cats=1, dogs=1)
    folder = make("test", cats=1, dogs=1)
    for split in ("val", "test"):
        for name in ("cats", "dogs"):
            write_picture(folder / split / name / "0.pgm", 9)
            path = folder / split / name / "0.pgm"
            path.write_bytes(path.read_bytes() + split.encode())
    dataset = open_dataset(folder)
    assert dataset.warnings == ()
    assert dataset.divided is False
    assert dataset.division is None


def test_a_class_that_a_split_lacks_is_told_of(make: Make) -> None:
    make("train", cats=2, dogs=2, emus=2)
    make("val", cats=1)
    folder = make("test", emus=1)
    absent = [line for line in open_dataset(folder).warnings if "has no pictures" in line]
    assert absent == [
        f"{folder}: validation has no pictures of dogs, emus; it says nothing about them",
        f"{folder}: test has no pictures of cats, dogs; it says nothing about them",
    ]


def test_a_class_of_a_single_picture_is_told_of(make: Make) -> None:
    folder = make(cats=4, dogs=4, emus=1, foxes=2)
    dataset = open_dataset(folder)
    assert per_class(dataset.train, 4)[2:] == [1, 1]
    assert dataset.warnings[0] == (f"{folder}: only one picture to train on of emus, foxes; more are needed")
    assert dataset.warnings[1].startswith(f"{folder}: validation has no pictures of emus; ")


def test_class_folders_without_pictures_are_named(make: Make) -> None:
    make("train", cats=2, dogs=2)
    folder = make("val", cats=1, dogs=1)
    (folder / "train" / "emus").mkdir()
    (folder / "train" / "foxes").mkdir()
    (folder / "train" / "foxes" / "notes.txt").write_text("none")
    (folder / "val" / "gnus").mkdir()
    (folder / "val" / ".hidden").mkdir()
    warnings = open_dataset(folder).warnings
    assert warnings[0] == f"{folder / 'train'}: no pictures in emus, foxes; passed over"
    assert warnings[1] == f"{folder / 'val'}: no pictures in gnus; passed over"


def test_files_that_are_in_two_splits_are_named(make: Make) -> None:
    make("train", cats=9, dogs=1)
    folder = make("val", cats=5, dogs=1)
    for path in folder.glob("*/dogs/0.pgm"):
        path.write_bytes(path.read_bytes() + path.parent.parent.name.encode())
    pairs = ", ".join(
        f"{folder / 'train' / 'cats' / f'{index}.pgm'} = {folder / 'val' / 'cats' / f'{index}.pgm'}"
        for index in range(3)
    )
    assert (
        f"{folder}: validation has 5 files that train has too ({pairs} and 2 more), so that it is answered "
        f"too well; keep each in one of them" in open_dataset(folder).warnings
    )


@pytest.mark.parametrize("where", [(), ("train",)])
def test_one_level_too_deep_is_told_as_that(make: Make, where: tuple[str, ...]) -> None:
    folder = make(*where, "photos", cats=2, dogs=2)
    advice = rf"give {folder / 'photos'}" if not where else rf"move those up, into {folder / 'train'}"
    with pytest.raises(DataError, match=r"one class folder \(photos\), which holds folders itself") as caught:
        open_dataset(folder)
    assert str(caught.value).startswith(f"{folder.joinpath(*where)}: ")
    assert "(cats, dogs); there must be at least two classes; " in str(caught.value)
    assert str(caught.value).endswith(advice)


def test_a_validation_folder_one_level_too_deep_is_told_as_that(make: Make) -> None:
    make("train", cats=2, dogs=2)
    folder = make("val", "photos", cats=2, dogs=2)
    with pytest.raises(
        DataError,
        match=r"not known \(photos\); .*the folder holds folders itself \(cats, dogs\): move them up",
    ):
        open_dataset(folder)


def test_a_folder_that_is_divided_here_says_how(make: Make) -> None:
    folder = make(cats=20, dogs=10)
    dataset = open_dataset(folder, seed=2)
    assert dataset.divided is True
    assert dataset.division is not None
    assert list(dataset.division["train"]) == names(dataset.train, folder)
    assert list(dataset.division["validation"]) == names(dataset.validation, folder)
    make("train", cats=20, dogs=10)
    split = open_dataset(make("test", cats=1))
    assert split.division is not None
    assert split.division["validation"][0].startswith("train/cats/")


def test_a_division_says_which_pictures_whatever_has_changed_since(make: Make) -> None:
    folder, classes = make(cats=20, dogs=20), ["cats", "dogs"]
    before = open_dataset(folder, seed=3)
    write_picture(folder / "cats" / "00.pgm")
    make(emus=5)  # the classifier does not know them, and need not
    for part in ("train", "validation"):
        now = open_split(folder, classes, split=part, division=before.division)
        assert list(now.names) == list(getattr(before, part).names)
        assert now.labels.tolist() == getattr(before, part).labels.tolist()
        assert now.warnings == ()


def test_a_division_is_found_again_where_the_folder_was_moved_to(make: Make) -> None:
    make("train", cats=20, dogs=20)
    folder = make("test", cats=1, dogs=1)
    before = open_dataset(folder)
    (folder / "moved").mkdir()
    for name in ("train", "test"):
        (folder / name).rename(folder / "moved" / name)
    moved = open_split(folder / "moved", ["dogs", "cats"], split="validation", division=before.division)
    assert names(moved, folder / "moved") == names(before.validation, folder)
    assert moved.labels.tolist() == (1 - before.validation.labels).tolist()


@pytest.mark.parametrize("whole", [False, True], ids=["relative paths", "whole paths"])
def test_a_csv_is_the_same_set_however_its_path_is_spelled(
    make: Make, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    folder = make(cats=20, dogs=20)
    paths = sorted(folder.glob("*/*.pgm"))
    rows = [f"{path if whole else path.relative_to(folder)},{path.parent.name}" for path in paths]
    (folder / "list.csv").write_text("\n".join(["path,label", *rows]))
    monkeypatch.chdir(folder.parent)
    spelled = [folder / "list.csv", Path(folder.name, "list.csv"), Path(folder.name, ".", "list.csv")]
    first, *others = [open_dataset(each) for each in spelled]
    assert first.division is not None
    assert first.division["validation"][0] == paths_below(first.validation.names, folder)[0]
    for spelling, other in zip(spelled[1:], others, strict=True):
        assert other.division == first.division
        assert describe_data(other)["checksum"] == describe_data(first)["checksum"]
        split = open_split(spelling, ["cats", "dogs"], split="validation", division=first.division)
        assert len(split) == len(first.validation)
    (folder / "list.csv").write_text("\n".join(["path,label", *rows[1:]]))
    assert describe_data(open_dataset(spelled[0]))["checksum"] != describe_data(first)["checksum"]


def paths_below(names: Sequence[str], folder: Path) -> list[str]:
    return [Path(name).resolve().relative_to(folder.resolve()).as_posix() for name in names]


def test_pictures_of_a_division_that_have_gone_are_counted_and_all_of_them_is_an_error(make: Make) -> None:
    folder, classes = make(cats=20, dogs=20), ["cats", "dogs"]
    before = open_dataset(folder)
    first, *others = [Path(name) for name in before.validation.names]
    first.unlink()
    split = open_split(folder, classes, split="validation", division=before.division)
    assert list(split.names) == [str(path) for path in others]
    assert split.warnings == (
        f"{folder}: 1 of the 4 pictures of validation have gone (cats/{first.name}); the others are taken",
    )
    for path in others:
        path.unlink()
    with pytest.raises(DataError, match=r"none of the 4 pictures of validation is there \(cats/\d+\.pgm, "):
        open_split(folder, classes, split="validation", division=before.division)


def test_a_division_is_not_asked_where_the_split_has_its_own_folder(make: Make) -> None:
    make("train", cats=3, dogs=3)
    folder = make("val", cats=1, dogs=1)
    division = {"train": ["train/cats/0.pgm"], "validation": ["train/cats/1.pgm"]}
    split = open_split(folder, ["cats", "dogs"], split="validation", division=division)
    assert names(split, folder) == ["val/cats/0.pgm", "val/dogs/0.pgm"]


def test_whether_a_data_set_is_divided_is_known_without_opening_it(make: Make, tmp_path: Path) -> None:
    assert is_undivided(make("plain", cats=1) / "plain")
    assert not is_undivided(make("set", "val", cats=1) / "set")
    assert not is_undivided("digits")
    assert not is_undivided(tmp_path / "missing")


def test_the_split_to_judge_by_is_the_one_that_was_set_apart_for_it(make: Make, tmp_path: Path) -> None:
    folder = make("t", "train", cats=3, dogs=3) / "t"
    assert default_split(folder) == "validation"  # to be divided off
    make("t", "val", cats=1, dogs=1)
    assert default_split(folder) == "validation"
    make("t", "test", cats=1, dogs=1)
    assert default_split(folder) == "test"
    assert default_split(folder, order=("validation", "test")) == "validation"
    assert default_split(make("plain", cats=1, dogs=1)) is None
    assert default_split("digits") == "test"


def test_what_lies_beside_splits_is_told_of(make: Make) -> None:
    folder = make("a", "train", cats=3, dogs=3) / "a"
    make("a", "holdout", cats=3, dogs=3)
    assert open_dataset(folder).warnings == (f"{folder}: holdout beside train; passed over",)


def test_a_class_that_is_called_like_a_split_is_told_of(make: Make) -> None:
    folder = make(cats=3, dogs=3, test=3)
    dataset = open_dataset(folder)
    assert dataset.class_names == ("cats", "dogs", "test")
    assert dataset.warnings == (f"{folder}: test is taken for a class, as there are others beside it",)


def test_a_folder_one_level_too_high_is_told_of(make: Make) -> None:
    folder = make("a", "train2017", cats=3, dogs=3) / "a"
    make("a", "val2017", cats=2, dogs=2)
    dataset = open_dataset(folder)
    assert dataset.class_names == ("train2017", "val2017")
    assert "all hold the same folders (cats, dogs)" in dataset.warnings[0]
    inner = make("b", "first", cats=3) / "b"
    make("b", "second", dogs=3)  # other folders in each
    assert not [each for each in open_dataset(inner).warnings if "hold the same" in each]


def test_pictures_of_formats_that_are_not_read_are_counted(make: Make) -> None:
    folder = make(cats=3, dogs=3)
    for name in ("a.HEIC", "b.heic", "c.nef", ".hidden.heic", "notes.txt"):
        (folder / "cats" / name).write_bytes(b"")
    (warning,) = open_dataset(folder).warnings
    told = "3 files passed over, of formats that are not read (1 .nef, 2 .heic); save them as JPEG or PNG"
    assert warning == f"{folder}: {told}"
    for path in (folder / "dogs").iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(DataError, match=r"one class folder \(cats\).*two classes; .*6 files passed over"):
        open_dataset(folder)


def test_two_ways_to_write_a_letter_are_one_class(make: Make) -> None:
    """As macOS writes e with an accent in two letters, and others in one."""
    folder = make("a", "train", **{"\u00e9": 2, "b": 2}) / "a"
    make("a", "val", **{"e\u0301": 1, "b": 1})
    dataset = open_dataset(folder)
    assert dataset.class_names == ("b", "\u00e9")
    assert dataset.validation.labels.tolist() == [0, 1]


def test_a_link_to_where_a_class_lies_brings_no_other_class_s_pictures(make: Make) -> None:
    folder = make(cats=2, dogs=2)
    (folder / "cats" / "loop").symlink_to(folder)
    (folder / "cats" / "more").symlink_to(folder / "dogs")  # a link to elsewhere is followed
    assert np.bincount(open_dataset(folder).train.labels).tolist() == [3, 1]


def test_a_subset_keeps_pictures_labels_and_names_together(make: Make) -> None:
    split = open_split(make(cats=3, dogs=3), ["cats", "dogs"])
    chosen = split.subset(np.array([5, 0]))
    assert [picture[0, 0, 0] for picture in chosen.pictures] == [2, 0]
    assert chosen.labels.tolist() == [1, 0]
    assert [Path(name).stem for name in chosen.names] == ["2", "0"]
    assert len(split.head(4)) == 4
    assert len(split.head(100)) == 6
    assert len(split.head(0)) == len(split.subset([])) == 0


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_a_division_is_complete_and_every_class_is_on_both_sides(share: float) -> None:
    labels = np.repeat([0, 1, 2, 3], [1, 2, 3, 100])
    stay, apart = divide(labels, share, seed=0)
    assert sorted([*stay, *apart]) == list(range(106))
    assert set(labels[stay]) == {0, 1, 2, 3}
    assert set(labels[apart]) == {1, 2, 3}


@pytest.mark.parametrize("split", ["train", "val"])
def test_imagenette_is_a_data_set_of_ten_classes(split: str, imagenette: Path) -> None:
    dataset = open_dataset(imagenette)
    assert len(dataset.class_names) == 10
    chosen = open_split(imagenette, dataset.class_names, split=split)
    assert len(chosen) == sum(
        1 for path in (imagenette / split).rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES
    )
    assert chosen.pictures[0].shape[2] == 3


@pytest.fixture
def imagenette() -> Path:
    folder = Path(__file__).parents[3] / "shared" / "data" / "imagenette"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder
