"""The benchmark of a folder to a CSV: every way answers every picture, and the plain script answers alike."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from alexnet import Network, TrainingError
from alexnet.images.views import View
from alexnet.inference import benchmark_predict as module
from alexnet.inference.benchmark import plain_torch
from alexnet.inference.benchmark_predict import benchmark_predict
from alexnet.inference.engines import open_classifier
from alexnet.inference.predict import find_pictures, predict
from alexnet.learning.weights import load_weights


def test_all_ways_are_timed_and_nothing_is_left_behind(
    small: Network, coloured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    told: list[str] = []
    timings = benchmark_predict(small, coloured, pictures=20, rounds=1, workers=1, on_progress=told.append)
    names = [each.name for each in timings]
    assert names[:2] == ["plain script, Pillow, float32", "the same, 1 DataLoader workers"]
    assert "alexnet predict, onnxruntime, int8" in names
    assert names[-1] == "decoding alone, 1 threads"
    assert timings[0].ratio == 1.0
    assert list(tmp_path.iterdir()) == []


def test_the_plain_script_answers_as_predict_does(weights_file: Path, coloured: Path, tmp_path: Path) -> None:
    files = list(find_pictures([coloured]))
    model = load_weights(weights_file).model
    for workers in (0, 1):
        module._plain(plain_torch(model), files, View.of(24, 24), tmp_path / "a.csv", workers)
        with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert [row[0] for row in rows] == list(map(str, files))
    classifier = open_classifier(weights_file, device="cpu", precision="fp32")
    answers = [classifier.class_names.index(each.labels[0].name) for each in predict(classifier, files)]
    same = sum(int(row[1]) == answer for row, answer in zip(rows, answers, strict=True))
    assert same >= 0.8 * len(files)  # it resizes a little differently


def test_too_few_pictures_are_refused(small: Network, coloured: Path) -> None:
    with pytest.raises(TrainingError, match="24 pictures; must be at least 25"):
        benchmark_predict(small, coloured, pictures=25)
    with pytest.raises(TrainingError, match="each must be at least 1"):
        benchmark_predict(small, coloured, pictures=5, rounds=0)
    with pytest.raises(TrainingError, match="workers -1"):
        benchmark_predict(small, coloured, pictures=5, workers=-1)
