"""Reports against plain loops over random answers, ties among them; evaluation against answers one by one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from alexnet import DataError, Network, PictureError
from alexnet.images import views
from alexnet.images.datasets import open_dataset, open_split
from alexnet.images.splits import Split
from alexnet.images.views import View
from alexnet.inference.engines import open_classifier
from alexnet.learning.classifier import Classifier, softmax
from alexnet.learning.evaluate import Report, evaluate, surest_right, surest_wrong, wilson_interval

Floats = npt.NDArray[np.float32]


def make_report(probabilities: list[list[float]], labels: list[int]) -> Report:
    return Report(
        class_names=tuple("abcdefgh"[: len(probabilities[0])]),
        labels=np.array(labels, np.int64),
        probabilities=np.array(probabilities, np.float32),
        views=1,
        seconds=2.0,
    )


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Few different values, so that equals are frequent."""
    classes, count = draw(st.integers(1, 7)), draw(st.integers(1, 12))
    values = st.lists(st.sampled_from((0.0, 0.1, 0.2, 0.5)), min_size=classes, max_size=classes)
    probabilities = [draw(values) for _ in range(count)]
    return make_report(probabilities, [draw(st.integers(0, classes - 1)) for _ in range(count)])


def ranking(row: Floats) -> list[int]:
    """Classes, the likeliest first; of equals the earlier class, by sorting pairs."""
    return [index for _, index in sorted((-float(value), index) for index, value in enumerate(row))]


@settings(deadline=None)
@given(reports(), st.integers(1, 8))
def test_top_k_is_what_a_plain_loop_counts(report: Report, k: int) -> None:
    right = 0
    for row, label in zip(report.probabilities, report.labels, strict=True):
        right += int(label) in ranking(row)[:k]
    assert report.top(k) == pytest.approx(right / len(report.labels))


@settings(deadline=None)
@given(reports())
def test_confusion_and_classes_are_what_plain_loops_count(report: Report) -> None:
    classes = len(report.class_names)
    table = [[0] * classes for _ in range(classes)]
    for row, label in zip(report.probabilities, report.labels, strict=True):
        table[label][ranking(row)[0]] += 1
    assert report.confusion.tolist() == table
    for i, figures in enumerate(report.per_class()):
        answers = sum(row[i] for row in table)
        assert (figures.name, figures.pictures, figures.right) == (
            report.class_names[i],
            sum(table[i]),
            table[i][i],
        )
        assert figures.answers == answers
        assert figures.recall == (table[i][i] / sum(table[i]) if sum(table[i]) else None)
        assert figures.precision == (table[i][i] / answers if answers else None)
    assert report.predictions.tolist() == [ranking(row)[0] for row in report.probabilities]
    assert report.top(1) == pytest.approx(sum(table[i][i] for i in range(classes)) / report.pictures)


def test_a_picture_that_is_as_likely_to_be_all_classes_is_right_for_the_first_only() -> None:
    report = make_report([[0.25] * 4] * 4, [0, 1, 2, 3])
    assert [report.top(k) for k in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1.0]


def test_loss_is_the_mean_of_minus_log() -> None:
    report = make_report([[0.5, 0.5], [0.1, 0.9], [0.75, 0.25]], [0, 1, 1])
    assert report.loss == pytest.approx(-(math.log(0.5) + math.log(0.9) + math.log(0.25)) / 3, rel=1e-6)


def test_an_answer_that_is_surely_wrong_has_a_finite_loss() -> None:
    assert 80 < make_report([[0.0, 1.0]], [0]).loss < 100


def test_answers_that_are_no_numbers_are_not_right() -> None:
    report = make_report([[math.nan, math.nan]] * 2, [0, 1])
    assert report.top(1) < 1.0


def test_the_dictionary_holds_the_figures_as_json_has_them() -> None:
    told = json.loads(json.dumps(make_report([[0.9, 0.1], [0.8, 0.2]], [0, 1]).to_dict()))
    assert told["pictures"] == 2
    assert (told["top1"], told["top5"], told["views"], told["seconds"]) == (0.5, 1.0, 1, 2.0)
    assert told["confusion"] == [[1, 0], [1, 0]]
    # Both are taken for a: it is recognised and every second answer is right; b is never answered.
    assert told["per_class"] == [
        {"class": "a", "pictures": 1, "right": 1, "answers": 2, "recall": 1.0, "precision": 0.5},
        {"class": "b", "pictures": 1, "right": 0, "answers": 0, "recall": 0.0, "precision": None},
    ]
    # One of two, by scipy's binomtest.
    assert told["top1_interval"] == pytest.approx([0.0945312, 0.9054688], abs=1e-7)


@pytest.mark.parametrize(
    ("right", "pictures", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3 (score, no continuity correction).
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_that_of_the_published_examples(
    right: int, pictures: int, low: float, high: float
) -> None:
    assert wilson_interval(right, pictures) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 100_000), st.floats(0, 1), st.sampled_from((0.8, 0.95, 0.99)))
def test_the_interval_is_scipy_s(pictures: int, share: float, confidence: float) -> None:
    right = round(share * pictures)
    expected = binomtest(right, pictures).proportion_ci(confidence, method="wilson")
    found = wilson_interval(right, pictures, confidence=confidence)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= found[0] < found[1] <= 1


def test_of_no_pictures_nothing_is_known() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_the_interval_of_a_report_is_that_of_its_top_1() -> None:
    report = make_report([[0.9, 0.1]] * 20, [1] * 20)
    assert report.interval() == pytest.approx((0.0, 0.1611), abs=5e-5)  # none of 20, as above


def test_the_surest_wrong_answers_come_first() -> None:
    report = make_report([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.9, 0.1]], [0, 0, 0, 0, 1])
    assert surest_wrong(report, most=2) == [4, 3]


def test_the_surest_right_answer_of_each_class_comes_before_the_next_of_any() -> None:
    report = make_report([[0.6, 0.4], [0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.1, 0.9]], [0, 0, 0, 1, 0])
    assert surest_right(report, most=9) == [1, 3, 2, 0]
    assert surest_right(report, most=2) == [1, 3]


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_softmax_is_exp_over_the_sum_of_exp(rows: list[list[float]]) -> None:
    found = softmax(np.array(rows, np.float32))
    for row, answers in zip(rows, found, strict=True):
        highest = max(row)
        exponentials = [math.exp(value - highest) for value in row]
        for value, answer in zip(exponentials, answers, strict=True):
            assert answer == pytest.approx(value / sum(exponentials), rel=1e-4, abs=1e-7)


# --- running a classifier ---------------------------------------------------------------------------------


def random_split(count: int) -> Split:
    random = np.random.default_rng(0)
    shapes = [(random.integers(20, 60), random.integers(20, 60), 3) for _ in range(count)]
    return Split(
        pictures=[random.integers(0, 256, shape, dtype=np.uint8) for shape in shapes],
        labels=random.integers(0, 3, count),
        names=[str(i) for i in range(count)],
    )


@pytest.fixture
def counted(small: Network) -> tuple[Classifier, list[int]]:
    """A classifier whose logits are its picture's mean colours over ten, and the sizes of its batches."""
    sizes: list[int] = []

    def run(batch: npt.NDArray[np.uint8]) -> Floats:
        assert batch.dtype == np.uint8
        assert batch.shape[1:] == (24, 24, 3)
        sizes.append(len(batch))
        return np.asarray(batch.mean(axis=(1, 2)) / 10, np.float32)

    classifier = Classifier(run=run, network=small, class_names=("r", "g", "b"), view=View.of(24, 24))
    return classifier, sizes


@pytest.mark.parametrize("views_each", [1, 5, 10])
def test_an_evaluation_is_the_softmax_averaged_over_the_views(
    counted: tuple[Classifier, list[int]], views_each: int
) -> None:
    classifier, _ = counted
    split = random_split(7)
    report = evaluate(classifier, split, views_each=views_each, workers=0)
    for index, picture in enumerate(split.pictures):
        seen = (
            [views.center(picture, classifier.view)]
            if views_each == 1
            else views.ten(picture, classifier.view)[:views_each]  # the first five are not mirrored
        )
        answers = []
        for view in seen:
            logits = [float(view[:, :, channel].mean()) / 10 for channel in range(3)]
            exponentials = [math.exp(logit) for logit in logits]
            answers.append([value / sum(exponentials) for value in exponentials])
        expected = np.mean(answers, axis=0)
        np.testing.assert_allclose(report.probabilities[index], expected, rtol=1e-4)
    assert (report.pictures, report.views) == (7, views_each)
    np.testing.assert_array_equal(report.labels, split.labels)
    assert report.seconds > 0


@pytest.mark.parametrize("views_each", [1, 5, 10])
def test_batch_sizes_and_workers_change_no_answer(
    counted: tuple[Classifier, list[int]], views_each: int
) -> None:
    classifier, sizes = counted
    split = random_split(7)
    expected = evaluate(classifier, split, views_each=views_each, workers=0).probabilities
    for batch_size, workers in ((1, 1), (3, 2), (1000, 0)):
        sizes.clear()
        report = evaluate(classifier, split, views_each=views_each, batch_size=batch_size, workers=workers)
        np.testing.assert_allclose(report.probabilities, expected, rtol=1e-6)
        assert sum(sizes) == 7 * views_each
        assert max(sizes) <= max(batch_size, views_each)


@pytest.mark.parametrize(("views_each", "distinct"), [(1, 1), (5, 1), (10, 2)])
def test_without_a_margin_only_the_mirror_image_is_another_view(
    counted: tuple[Classifier, list[int]], views_each: int, distinct: int
) -> None:
    seen = 0

    def run(batch: npt.NDArray[np.uint8]) -> Floats:
        nonlocal seen
        seen += len(batch)
        return np.asarray(batch[:, :, 0].mean(axis=1) / 10, np.float32)  # of the left edge

    classifier = replace(counted[0], run=run, view=View.of(24, 24, tight=True))
    split = random_split(3)
    report = evaluate(classifier, split, views_each=views_each, workers=0)
    assert (seen, report.views) == (3 * distinct, views_each)
    for index, picture in enumerate(split.pictures):
        centre = views.center(picture, classifier.view)
        edges = [centre[:, 0], centre[:, -1]][:distinct]
        exponentials = [np.exp(edge.mean(axis=0) / 10) for edge in edges]
        expected = np.mean([each / each.sum() for each in exponentials], axis=0)
        np.testing.assert_allclose(report.probabilities[index], expected, rtol=1e-4)


def test_progress_counts_up_to_all_pictures(counted: tuple[Classifier, list[int]]) -> None:
    told: list[int] = []
    evaluate(counted[0], random_split(7), batch_size=3, workers=1, on_progress=told.append)
    assert told == [3, 6, 7]


def test_an_empty_split_is_refused(counted: tuple[Classifier, list[int]]) -> None:
    with pytest.raises(DataError, match="no pictures"):
        evaluate(counted[0], random_split(3).head(0))


@pytest.mark.parametrize("number", [0, 2, -1, 100])
def test_another_number_of_views_is_refused(counted: tuple[Classifier, list[int]], number: int) -> None:
    with pytest.raises(DataError, match=f"views: {number}; must be one of 1, 5, 10"):
        evaluate(counted[0], random_split(1), views_each=number)


def test_a_picture_that_is_none_is_named(
    paint: Callable[..., Path], tmp_path: Path, weights_file: Path
) -> None:
    folder = paint(tmp_path / "data", count=2)
    (folder / "red" / "01.png").write_bytes(b"nothing")
    classifier = open_classifier(weights_file)
    with pytest.raises(PictureError, match=r"red/01\.png: not a picture"):
        evaluate(classifier, open_split(folder, classifier.class_names))


@pytest.fixture
def partly_broken(paint: Callable[..., Path], tmp_path: Path) -> Path:
    """Six pictures, blue 0, 1, green 0, 1, red 0, 1, of which the third and the last are none."""
    folder = paint(tmp_path / "data", count=2)
    (folder / "green" / "00.png").write_bytes(b"nothing")
    (folder / "red" / "01.png").write_bytes(b"")
    return folder


@pytest.mark.parametrize(("views_each", "batch_size", "workers"), [(1, 128, 2), (1, 1, 0), (10, 20, 1)])
def test_pictures_that_cannot_be_read_are_told_of_and_not_counted(
    partly_broken: Path, weights_file: Path, views_each: int, batch_size: int, workers: int
) -> None:
    classifier = open_classifier(weights_file, precision="fp32")
    split = open_split(partly_broken, classifier.class_names)
    told: list[tuple[int, str]] = []
    done: list[int] = []
    report = evaluate(
        classifier,
        split,
        views_each=views_each,
        batch_size=batch_size,
        workers=workers,
        on_progress=done.append,
        on_unreadable=lambda index, reason: told.append((index, reason)),
    )
    assert [index for index, _ in told] == [2, 5]
    assert "green/00.png: not a picture" in told[0][1]
    assert report.indices is not None
    assert report.indices.tolist() == [0, 1, 3, 4]
    assert report.labels.tolist() == [0, 0, 1, 2]
    assert [report.place(picture) for picture in range(4)] == [0, 1, 3, 4]
    assert report.pictures == sum(each.pictures for each in report.per_class()) == 4
    assert done == sorted(done)
    assert done[-1] in (5, 6)
    # The answers belong to those pictures: as if the others had never been there.
    expected = evaluate(classifier, split.subset([0, 1, 3, 4]), views_each=views_each)
    np.testing.assert_allclose(report.probabilities, expected.probabilities, atol=1e-5)


def test_where_no_picture_can_be_read_there_is_no_report(partly_broken: Path, weights_file: Path) -> None:
    classifier = open_classifier(weights_file)
    split = open_split(partly_broken, classifier.class_names).subset([2, 5])
    told: list[int] = []
    with pytest.raises(DataError, match=r"none of 2 pictures can be read, such as .*green/00\.png"):
        evaluate(classifier, split, on_unreadable=lambda index, _: told.append(index))
    assert told == [0, 1]


def test_a_report_without_indices_is_of_the_whole_split() -> None:
    assert make_report([[0.6, 0.4]] * 3, [0, 0, 1]).place(2) == 2


def test_a_network_in_torch_gives_the_same_however_it_is_batched(weights_file: Path, coloured: Path) -> None:
    classifier = open_classifier(weights_file, precision="fp32")
    split = open_dataset(coloured).train
    reports = [evaluate(classifier, split, batch_size=size, workers=0) for size in (1, 5, 100)]
    for report in reports[1:]:
        np.testing.assert_allclose(report.probabilities, reports[0].probabilities, atol=1e-5)


def test_a_classifier_in_bf16_gives_float32_near_that_of_float32(weights_file: Path, coloured: Path) -> None:
    split: Any = open_dataset(coloured).train
    batch = np.stack([views.center(split.pictures[i], View.of(24, 24)) for i in range(6)])
    exact, rounded = (open_classifier(weights_file, precision=name)(batch) for name in ("fp32", "bf16"))
    assert rounded.dtype == exact.dtype == np.float32
    # bf16 has 8 bits of mantissa: each of a few layers rounds by up to 1/256.
    np.testing.assert_allclose(rounded, exact, atol=0.05 * float(np.abs(exact).max()))
