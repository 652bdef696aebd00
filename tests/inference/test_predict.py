"""Predictions against evaluation, softmax by hand, and the order in which the paths were given."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet import DataError, Network, NetworkError, PictureError, TrainingError, WeightsError
from alexnet.images.datasets import open_split
from alexnet.images.decode import decode
from alexnet.images.views import View, center
from alexnet.inference.engines import open_classifier
from alexnet.inference.predict import Prediction, check_paths, find_pictures, predict
from alexnet.learning.classifier import Classifier
from alexnet.learning.evaluate import evaluate
from alexnet.learning.weights import load_weights
from alexnet.server.app import create_app


@pytest.fixture
def classifier(weights_file: Path) -> Classifier:
    return open_classifier(weights_file, precision="fp32")


def ask(classifier: Classifier, *paths: str | Path, **settings: int) -> list[Prediction]:
    return list(predict(classifier, paths, workers=0, **settings))


def relative(predictions: Sequence[Prediction], below: Path) -> list[str]:
    return [Path(each.path).relative_to(below).as_posix() for each in predictions]


def probabilities(prediction: Prediction) -> dict[str, float]:
    return {label.name: label.probability for label in prediction.labels}


def test_an_answer_is_the_softmax_of_the_model_s_logits(weights_file: Path, coloured: Path) -> None:
    path = coloured / "red" / "03.png"
    (answer,) = ask(open_classifier(weights_file, precision="fp32"), path)
    weights = load_weights(weights_file)
    picture = center(decode(path), weights.view)
    with torch.inference_mode():
        logits = weights.model(torch.from_numpy(picture.copy())[None])[0].tolist()
    exponentials = [math.exp(logit) for logit in logits]
    for name, value in zip(weights.class_names, exponentials, strict=True):
        assert probabilities(answer)[name] == pytest.approx(value / sum(exponentials), rel=1e-4)


def test_labels_are_ranked_and_their_probabilities_add_up_to_one(
    classifier: Classifier, coloured: Path
) -> None:
    for answer in ask(classifier, coloured):
        shares = [label.probability for label in answer.labels]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1.0, abs=1e-5)
        assert {label.name for label in answer.labels} == {"blue", "green", "red"}


@pytest.mark.parametrize(("top", "told"), [(1, 1), (2, 2), (3, 3), (50, 3)])
def test_top_is_how_many_labels_are_told(classifier: Classifier, coloured: Path, top: int, told: int) -> None:
    everything = ask(classifier, coloured / "red")
    some = ask(classifier, coloured / "red", top=top)
    assert [each.labels for each in some] == [each.labels[:told] for each in everything]


def test_folders_are_searched_to_any_depth_in_the_order_of_names(
    classifier: Classifier, coloured: Path
) -> None:
    expected = [f"{name}/{i:02}.png" for name in ("blue", "green", "red") for i in range(8)]
    assert relative(ask(classifier, coloured), coloured) == expected


def test_answers_come_in_the_order_of_the_paths(classifier: Classifier, coloured: Path) -> None:
    paths: list[str | Path] = [
        coloured / "red" / "02.png",
        coloured / "blue",
        str(coloured / "green" / "0[13].png"),
    ]
    expected = ["red/02.png", *(f"blue/{i:02}.png" for i in range(8)), "green/01.png", "green/03.png"]
    assert relative(ask(classifier, *paths), coloured) == expected


def test_a_glob_goes_through_folders_with_two_stars(classifier: Classifier, coloured: Path) -> None:
    found = relative(ask(classifier, str(coloured / "**" / "07.png")), coloured)
    assert found == ["blue/07.png", "green/07.png", "red/07.png"]


@pytest.mark.parametrize("pattern", ["**", "**/", "*", "**/*", "**/*.png"])
def test_of_a_glob_that_matches_folders_and_what_is_in_them_each_picture_is_answered_once(
    classifier: Classifier, coloured: Path, pattern: str
) -> None:
    found = relative(ask(classifier, str(coloured / pattern)), coloured)
    assert sorted(found) == sorted(str(each.relative_to(coloured)) for each in coloured.glob("*/*.png"))


def test_a_network_that_takes_no_colours_is_refused_at_once(small: Network) -> None:
    grey = replace(small, input=(24, 24, 1))
    classifier = Classifier(
        run=lambda batch: np.zeros((len(batch), 3), np.float32),
        network=grey,
        class_names=("a", "b", "c"),
        view=View.of(24, 24),
    )
    with pytest.raises(NetworkError, match="must be 3, for RGB"):
        predict(classifier, [])
    with pytest.raises(NetworkError, match="must be 3, for RGB"):
        create_app(classifier)


def test_a_path_given_twice_is_answered_twice(classifier: Classifier, coloured: Path) -> None:
    path = coloured / "red" / "00.png"
    first, second = ask(classifier, path, path)
    assert first == second


def test_a_file_whose_name_looks_like_a_glob_is_that_file(
    classifier: Classifier, coloured: Path, tmp_path: Path
) -> None:
    for name in ("a[1].png", "a1.png"):
        (tmp_path / name).write_bytes((coloured / "red" / "00.png").read_bytes())
    assert relative(ask(classifier, tmp_path / "a[1].png"), tmp_path) == ["a[1].png"]


@pytest.mark.parametrize("batch_size", [1, 5, 24, 100])
def test_a_file_is_answered_alike_in_one_batch_or_several(
    classifier: Classifier, coloured: Path, batch_size: int
) -> None:
    alone = {str(path): ask(classifier, path)[0] for path in sorted(coloured.glob("*/*.png"))}
    for workers in (0, 2):
        for answer in predict(classifier, [coloured], batch_size=batch_size, workers=workers):
            expected = probabilities(alone[answer.path])
            assert probabilities(answer) == pytest.approx(expected, abs=1e-5)


def test_predictions_are_evaluation_s_answers(classifier: Classifier, coloured: Path) -> None:
    split = open_split(coloured, classifier.class_names)
    report = evaluate(classifier, split, workers=0)
    answers = {answer.path: probabilities(answer) for answer in ask(classifier, coloured)}
    assert set(answers) == set(split.names)
    for name, row in zip(split.names, report.probabilities, strict=True):
        expected = dict(zip(classifier.class_names, map(float, row), strict=True))
        assert answers[name] == pytest.approx(expected, abs=1e-5)


def test_pictures_are_turned_upright_as_in_evaluation(
    classifier: Classifier, coloured: Path, tmp_path: Path
) -> None:
    upright = Image.open(coloured / "red" / "00.png")
    exif = upright.getexif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    turned, expected = ask(classifier, tmp_path / "turned.png", coloured / "red" / "00.png")
    assert probabilities(turned) == pytest.approx(probabilities(expected), abs=1e-6)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n"], ids=["empty", "text", "cut"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_is_no_picture_has_the_reason_in_its_place(
    classifier: Classifier, coloured: Path, tmp_path: Path, content: bytes, workers: int
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    good = coloured / "red" / "00.png"
    expected = ask(classifier, good)[0]
    for batch_size in (1, 2, 5):
        given = [bad, good, bad, bad, good]
        answers = list(predict(classifier, given, batch_size=batch_size, workers=workers))
        assert [Path(each.path) for each in answers] == given
        for answer in answers:
            if Path(answer.path) == bad:
                assert answer.labels == ()
                assert answer.error is not None
                assert answer.error.startswith(f"{bad}: ")
            else:
                assert answer.error is None
                assert probabilities(answer) == pytest.approx(probabilities(expected), abs=1e-5)


@pytest.mark.parametrize("path", ["none.png", "none/*.png", "*.gif"])
def test_a_path_that_leads_nowhere_is_named(classifier: Classifier, tmp_path: Path, path: str) -> None:
    (answer,) = ask(classifier, str(tmp_path / path))
    assert answer.error is not None
    assert answer.error.startswith(f"{tmp_path / path}: ")
    with pytest.raises(PictureError) as caught:
        check_paths([str(tmp_path / path)])
    assert str(caught.value) == answer.error


def test_a_folder_without_pictures_is_named_before_anything_is_decoded(
    coloured: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    check_paths([coloured, coloured / "red" / "00.png", str(coloured / "red" / "*.png")])
    with pytest.raises(PictureError, match="no pictures in this folder"):
        check_paths([coloured, tmp_path])


def test_top_below_one_is_refused_at_once(classifier: Classifier, coloured: Path) -> None:
    with pytest.raises(PictureError, match="top: 0; must be at least 1"):
        predict(classifier, [coloured], top=0)


def test_workers_below_none_are_refused_at_once(classifier: Classifier, coloured: Path) -> None:
    with pytest.raises(DataError, match="workers is -1; it must be at least 0"):
        predict(classifier, [coloured], workers=-1)


def test_paths_are_taken_as_they_are_needed(classifier: Classifier, coloured: Path) -> None:
    """A list without an end is answered, some batches at a time."""
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield coloured / "red" / "00.png"

    answers = predict(classifier, endless(), batch_size=4, workers=1)
    assert len([next(answers) for _ in range(25)]) == 25
    assert 28 <= taken <= (7 + 3) * 4
    answers.close()  # type: ignore[attr-defined]


def test_with_patience_a_path_is_answered_before_the_next_one_comes(
    classifier: Classifier, coloured: Path
) -> None:
    answered = threading.Event()

    def slow() -> Iterator[Path]:
        for name in ("00.png", "01.png", "02.png"):
            yield coloured / "red" / name
            assert answered.wait(60), "the answer waits for more paths"
            answered.clear()

    for workers in (0, 2):
        names = []
        for each in predict(classifier, slow(), workers=workers, patience=0.01):
            names.append(Path(each.path).name)
            answered.set()
        assert names == ["00.png", "01.png", "02.png"]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_large_jpeg_is_answered_as_when_it_is_decoded_whole(
    classifier: Classifier, tmp_path: Path, mode: str
) -> None:
    y, x = np.mgrid[0:900, 0:1200] / 200
    waves = np.stack([128 + 100 * np.sin(3 * x + y), 80 * x % 255, 200 * y % 255], axis=2)
    Image.fromarray(np.clip(waves, 0, 255).astype(np.uint8)).convert(mode).save(tmp_path / "a.jpg")
    (answer,) = ask(classifier, tmp_path / "a.jpg")
    whole, less = decode(tmp_path / "a.jpg"), decode(tmp_path / "a.jpg", shorter_side=2 * 27)
    assert (whole.shape, less.shape) == ((900, 1200, 3), (113, 150, 3))
    seen, exact = (center(each, classifier.view).astype(int) for each in (less, whole))
    assert abs(seen - exact).mean() < 2
    logits = classifier(np.array(center(whole, classifier.view))[None])[0]
    chances = np.exp(logits) / np.exp(logits).sum()
    expected = dict(zip(classifier.class_names, chances.tolist(), strict=True))
    assert probabilities(answer) == pytest.approx(expected, abs=0.02)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_link_that_leads_nowhere_is_named(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    for path in (tmp_path / "link.png", tmp_path / "*.png"):
        (answer,) = ask(classifier, str(path))
        assert answer.error is not None
        assert "link.png: " in answer.error


def test_a_path_too_long_for_any_file_is_named(classifier: Classifier) -> None:
    with pytest.raises(PictureError, match="aaa: "):
        check_paths(["a" * 300])


def test_found_pictures_are_files_as_given(
    coloured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(coloured)
    found = find_pictures(["red/00.png", "blue"])
    assert [next(found), next(found)] == [Path("red/00.png"), Path("blue/00.png")]


def test_nothing_asked_for_is_nothing_answered(classifier: Classifier) -> None:
    assert ask(classifier) == []


# --- opening a classifier ---------------------------------------------------------------------------------


def test_a_weights_file_alone_makes_a_classifier(weights_file: Path) -> None:
    classifier = open_classifier(weights_file)
    assert classifier.class_names == ("blue", "green", "red")
    assert classifier.network.name == "small"
    logits = classifier(np.zeros((2, 24, 24, 3), np.uint8))
    assert logits.shape == (2, 3)
    assert logits.dtype == np.float32


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"device": "warp"}, "device 'warp'"),
        ({"device": "cuda:99"}, "device 'cuda:99'"),
        ({"precision": "fp64"}, "precision 'fp64'"),
    ],
)
def test_a_device_or_precision_that_is_not_there_is_refused(
    weights_file: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(TrainingError, match=words):
        open_classifier(weights_file, **settings)


def test_a_file_that_is_no_weights_file_is_refused(coloured: Path) -> None:
    with pytest.raises(WeightsError, match=r"00\.png: "):
        open_classifier(coloured / "red" / "00.png")


def test_a_row_of_stars_is_read_as_a_glob_of_every_file(
    classifier: Classifier, paint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = paint(tmp_path / "p", count=1, classes=("red", "blue"))
    assert relative(ask(classifier, str(folder / "*")), folder) == ["blue/00.png", "red/00.png"]
