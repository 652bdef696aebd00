"""Whole runs on pictures of three colours: what they leave, how they end, what they make of trouble."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from alexnet import DataError, Network, NetworkError, OutputError, PictureError, TrainingError, edit
from alexnet.images.datasets import Dataset, open_dataset
from alexnet.images.views import center
from alexnet.inference.engines import open_classifier
from alexnet.inference.predict import predict
from alexnet.learning import train as train_module
from alexnet.learning.evaluate import evaluate
from alexnet.learning.progress import Progress
from alexnet.learning.recipe import Recipe
from alexnet.learning.step import training_step
from alexnet.learning.train import History, train

RECIPE = Recipe(batch_size=6, learning_rate=0.02)
FILES = {"best.safetensors", "last.safetensors", "metrics.csv", "steps.csv", "run.json"}
Run = Callable[..., History]


@pytest.fixture
def data(coloured: Path) -> Dataset:
    return open_dataset(coloured, validation_share=0.25)


@pytest.fixture
def run(small: Network, data: Dataset, tmp_path: Path) -> Run:
    """A short run in float32 with one thread that loads pictures."""

    def run(name: str = "run", **settings: Any) -> History:
        usual: dict[str, Any] = {"recipe": RECIPE, "epochs": 2, "precision": "fp32", "workers": 1}
        if "time_limit" in settings:
            usual["epochs"] = None
        chosen = usual | {"data": data, "network": small} | settings
        try:
            return train(output=tmp_path / name, **chosen)
        except KeyboardInterrupt:  # it would end the whole test run
            pytest.fail("Ctrl-C got out of train; nothing was saved for it")

    return run


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def left_in(folder: Path) -> set[str]:
    return {child.name for child in folder.iterdir()}


def assert_usable(folder: Path, pictures: Path) -> None:
    """The weights load and say something about every picture."""
    classifier = open_classifier(folder / "best.safetensors", precision="fp32")
    answers = list(predict(classifier, [pictures], workers=0))
    assert len(answers) == 24
    assert all(math.isfinite(label.probability) for answer in answers for label in answer.labels)


# --- what a run leaves ------------------------------------------------------------------------------------


def test_a_run_learns_and_leaves_its_folder(run: Run, data: Dataset, small: Network, tmp_path: Path) -> None:
    history = run(epochs=8)
    assert history.output == tmp_path / "run"
    assert left_in(history.output) == FILES
    assert not history.interrupted
    assert len(history.epochs) == 8
    # 8 pictures of each of 3 colours, a quarter of them for validation: 18 are left.
    assert (history.pictures, len(data.validation)) == (8 * 18, 6)
    assert history.best is not None
    assert history.best.top(1) == 1.0
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss


def test_metrics_and_steps_parse_and_agree_with_the_history(run: Run) -> None:
    history = run(epochs=4)
    for path, told in (("metrics.csv", history.epochs), ("steps.csv", history.steps)):
        read = lines(history.output / path)
        assert len(read) == len(told)
        for line, entry in zip(read, told, strict=True):
            for name, text in line.items():
                assert float(text) == pytest.approx(getattr(entry, name), rel=1e-5), name
    assert [epoch.epoch for epoch in history.epochs] == [1, 2, 3, 4]
    assert [epoch.pictures for epoch in history.epochs] == [18, 36, 54, 72]
    assert history.steps[-1].pictures == 72
    # Weighted by their pictures, the steps come to the epochs.
    ends = [0, *(step.pictures for step in history.steps)]
    of_steps = sum(
        step.train_loss * (end - start)
        for step, start, end in zip(history.steps, ends, ends[1:], strict=False)
    )
    assert of_steps == pytest.approx(sum(epoch.train_loss * 18 for epoch in history.epochs), rel=1e-5)


def test_the_description_says_how_the_run_was_made(run: Run, small: Network, coloured: Path) -> None:
    history = run(seed=7)
    told = json.loads((history.output / "run.json").read_text(encoding="utf-8"))
    assert told["seed"] == 7
    assert told["epochs"] == 2
    assert told["time_limit"] is None
    assert told["recipe"]["batch_size"] == 6
    assert told["recipe"]["learning_rate"] == 0.02
    assert told["network"]["layers"][0] == {
        "kind": "conv",
        "name": "conv1",
        "filters": 8,
        "kernel": 5,
        "stride": 2,
        "padding": 0,
        "extra_padding": 0,
        "groups": 1,
        "rounding": "down",
        "bias_rate": 1.0,
    }
    assert told["data"] == {
        "name": "coloured",
        "source": str(coloured),
        "class_names": ["blue", "green", "red"],
        "pictures": {"train": [6, 6, 6], "validation": [2, 2, 2]},
    }
    assert told["pictures_trained"] == 36
    assert (told["device"], told["precision"], told["interrupted"]) == ("cpu", "float32", False)
    assert history.best is not None
    assert told["best_validation_top1"] == history.best.top(1)
    assert told["versions"]["torch"] == torch.__version__


def test_the_best_weights_are_those_that_were_judged_best(run: Run, data: Dataset) -> None:
    history = run(epochs=5)
    classifier = open_classifier(history.output / "best.safetensors", precision="fp32")
    report = evaluate(classifier, data.validation, workers=0)
    assert history.best is not None
    np.testing.assert_allclose(report.probabilities, history.best.probabilities, atol=1e-6)
    accuracies = [epoch.validation_accuracy for epoch in history.epochs]
    assert report.top(1) == max(each for each in accuracies if each is not None)


def test_what_comes_after_the_best_epoch_does_not_get_into_its_file(
    run: Run, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: dict[str, torch.Tensor] = {}
    epochs = 0

    def evaluate_worse_each_time(*arguments: Any, **settings: Any) -> object:
        nonlocal epochs
        report = evaluate(*arguments, **settings)
        wrong = np.arange(len(data.validation)) < 2 * epochs  # none, then two, then four of six
        epochs += 1
        answers = (data.validation.labels + wrong) % 3
        return replace(report, probabilities=np.eye(3, dtype=np.float32)[answers])

    def keep_first(progress: Progress) -> None:
        if (progress.epoch, progress.phase) == (2, "validation"):
            first.update(load_file(tmp_path / "run" / "best.safetensors"))

    monkeypatch.setattr(train_module, "evaluate", evaluate_worse_each_time)
    history = run(epochs=3, on_progress=keep_first)
    assert [epoch.validation_accuracy for epoch in history.epochs] == [
        1.0,
        pytest.approx(2 / 3),
        pytest.approx(1 / 3),
    ]
    best, last = (load_file(history.output / name) for name in ("best.safetensors", "last.safetensors"))
    assert all(torch.equal(best[name], first[name]) for name in first)
    assert not torch.equal(best["fc3.weight"], last["fc3.weight"])


def test_the_classes_are_the_data_s_and_not_the_network_s(run: Run, small: Network) -> None:
    history = run(network=edit(small, "classes=1000"))
    assert history.network == small
    assert open_classifier(history.output / "last.safetensors").class_names == ("blue", "green", "red")


def test_normalisation_is_of_the_training_pictures(run: Run, data: Dataset) -> None:
    history = run(epochs=1)
    mean = load_file(history.output / "last.safetensors")["normalize.mean"].numpy()
    pixels = np.concatenate([data.train.pictures[i].reshape(-1, 3) for i in range(18)])
    np.testing.assert_allclose(mean, pixels.mean(axis=0), atol=1.0)  # a view of them, not all their pixels


def test_an_output_of_none_is_a_new_folder_under_runs(
    small: Network, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = [train(small, data, epochs=1, recipe=RECIPE, workers=0).output for _ in range(2)]
    assert outputs == [Path("runs/coloured-1"), Path("runs/coloured-2")]
    assert all(left_in(output) == FILES for output in outputs)


# --- seeds ------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(run: Run) -> None:
    torch.manual_seed(5)
    first = load_file(run("a", seed=1).output / "last.safetensors")
    torch.manual_seed(6)  # the global generator is not asked
    again = load_file(run("b", seed=1).output / "last.safetensors")
    other = load_file(run("c", seed=2).output / "last.safetensors")
    assert all(torch.equal(first[name], again[name]) for name in first)
    trained = [name for name in first if name.endswith("weight")]
    assert all(not torch.equal(first[name], other[name]) for name in trained)


def test_workers_change_nothing_but_speed(run: Run) -> None:
    weights = [load_file(run(f"w{n}", workers=n).output / "last.safetensors") for n in (0, 1, 3)]
    for name in weights[0]:
        assert all(torch.equal(weights[0][name], each[name]) for each in weights[1:]), name


def test_training_leaves_the_global_generators_alone(run: Run) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    run()
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("seed", [-1, 2**32 - 1, 2**64])
def test_a_seed_trains_or_is_refused(run: Run, seed: int) -> None:
    if 0 <= seed < 2**63:
        assert run(seed=seed, epochs=1).pictures == 18
    else:
        with pytest.raises(TrainingError, match="seed"):
            run(seed=seed, epochs=1)


# --- the end of a run -------------------------------------------------------------------------------------


def test_the_rate_rises_from_zero_and_anneals_to_zero(run: Run) -> None:
    history = run(epochs=20, recipe=replace(RECIPE, warmup=0.1))
    rates = [step.learning_rate for step in history.steps]
    assert max(rates) == pytest.approx(0.02, rel=0.05)
    assert history.epochs[-1].learning_rate < 0.02 * 0.01
    peak = rates.index(max(rates))
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1.5])
def test_a_time_limit_ends_the_run_near_it_with_the_rate_at_zero(run: Run, limit: float) -> None:
    run("warm", epochs=1)  # torch's own start is not the run's
    started = perf_counter()
    history = run(time_limit=limit)
    assert 0.5 * limit < perf_counter() - started < limit + 2.0
    assert history.steps[-1].learning_rate < 0.02 * 0.05
    assert max(step.learning_rate for step in history.steps) > 0.02 * 0.9
    assert history.best is not None


def test_whichever_limit_comes_first_ends_the_run(run: Run) -> None:
    assert len(run(epochs=1, time_limit=3600.0).epochs) == 1


def test_one_step_in_all_trains_something(run: Run) -> None:
    history = run(epochs=1, recipe=replace(RECIPE, batch_size=100))
    after = load_file(history.output / "last.safetensors")
    assert after["fc3.bias"].abs().max() > 0, "its one step was taken at a learning rate of zero"


def test_a_limit_too_short_for_a_step_is_told_as_that(run: Run, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        run(time_limit=1e-9)
    assert "interrupted" not in str(caught.value)
    assert not (tmp_path / "run").exists()


# --- Ctrl-C -----------------------------------------------------------------------------------------------


def stop_when(
    epoch: int, phase: Literal["training", "validation", "interrupted"]
) -> Callable[[Progress], None]:
    """An `on_progress` in which Ctrl-C arrives, once, in that epoch and phase."""
    done = False

    def tell(progress: Progress) -> None:
        nonlocal done
        if not done and (progress.epoch, progress.phase) == (epoch, phase):
            done = True
            raise KeyboardInterrupt

    return tell


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize("phase", ["training", "validation"])
def test_ctrl_c_ends_in_a_usable_run(
    run: Run, coloured: Path, epoch: int, phase: Literal["training", "validation"]
) -> None:
    # Eighteen pictures in batches of one: lines of steps.csv have been written when it comes, or not.
    history = run(epochs=5, recipe=replace(RECIPE, batch_size=1), on_progress=stop_when(epoch, phase))
    assert history.interrupted
    assert left_in(history.output) == FILES
    assert len(history.epochs) == epoch
    assert json.loads((history.output / "run.json").read_text())["interrupted"] is True
    assert len(lines(history.output / "metrics.csv")) == epoch
    assert_usable(history.output, coloured)


def interrupt(*_arguments: object, **_settings: object) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", [0, 1, 9, 10, 11, 19])
def test_ctrl_c_at_any_step_ends_in_a_usable_run(
    run: Run, coloured: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    steps = 0

    def counted(*arguments: Any, **settings: Any) -> Any:
        nonlocal steps
        if steps == step:
            raise KeyboardInterrupt
        steps += 1
        return training_step(*arguments, **settings)

    monkeypatch.setattr(train_module, "training_step", counted)
    if step == 0:
        with pytest.raises(TrainingError, match="before its first step"):
            run(recipe=replace(RECIPE, batch_size=1))
        assert not (coloured.parent / "run").exists()
        return
    history = run(recipe=replace(RECIPE, batch_size=1))
    assert history.interrupted
    assert history.pictures == step
    assert left_in(history.output) == FILES
    assert_usable(history.output, coloured)


def test_ctrl_c_while_validating_saves_the_weights_without_a_verdict(
    run: Run, coloured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "evaluate", interrupt)
    history = run()
    assert history.interrupted
    assert history.best is None
    assert [epoch.validation_accuracy for epoch in history.epochs] == [None]
    assert lines(history.output / "metrics.csv")[0]["validation_accuracy"] == ""
    assert_usable(history.output, coloured)


def test_ctrl_c_twice_saves_at_once(run: Run, coloured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_module, "evaluate", interrupt)
    history = run(epochs=5, on_progress=stop_when(1, "training"))
    assert history.interrupted
    assert_usable(history.output, coloured)


def test_ctrl_c_again_as_the_first_is_told_of_still_saves(run: Run, coloured: Path) -> None:
    first, second = stop_when(1, "training"), stop_when(1, "interrupted")

    def tell(progress: Progress) -> None:
        first(progress)
        second(progress)

    history = run(epochs=5, recipe=replace(RECIPE, batch_size=1), on_progress=tell)
    assert history.interrupted
    assert_usable(history.output, coloured)


def test_ctrl_c_in_a_later_validation_keeps_the_best_of_before(
    run: Run, coloured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def second(*arguments: Any, **settings: Any) -> Any:
        nonlocal calls
        calls += 1
        return interrupt() if calls == 2 else evaluate(*arguments, **settings)

    monkeypatch.setattr(train_module, "evaluate", second)
    history = run(epochs=5)
    assert history.interrupted
    assert history.best is not None
    assert len(history.epochs) == 2
    best, last = (load_file(history.output / name) for name in ("best.safetensors", "last.safetensors"))
    assert not torch.equal(best["fc3.weight"], last["fc3.weight"])


# --- trouble ----------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_an_error_and_nothing_is_kept(run: Run, tmp_path: Path) -> None:
    recipe = Recipe(batch_size=6, learning_rate=1e30, clip_norm=1e30, warmup=0.0)
    with pytest.raises(TrainingError, match=r"loss is .*(nan|inf).*lower the learning rate"):
        run(epochs=10, recipe=recipe)
    kept = left_in(tmp_path / "run") if (tmp_path / "run").exists() else set()
    assert kept <= FILES
    for name in kept:
        if name.endswith(".safetensors"):
            assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "run" / name).values())


def test_weights_that_blew_up_in_the_last_step_are_not_called_good(run: Run, tmp_path: Path) -> None:
    """The loss of the only step is finite: it was computed before the step that ruined the weights."""
    recipe = Recipe(batch_size=18, learning_rate=1e38, clip_norm=1e38, warmup=0.0)
    try:
        history = run(epochs=1, recipe=recipe)
    except TrainingError:
        assert not (tmp_path / "run").exists()
    else:
        assert history.best is not None
        assert history.best.top(1) < 1.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "epochs: 0"),
        ({"epochs": -3}, "epochs: -3"),
        ({"time_limit": 0.0}, "time limit: 0"),
        ({"time_limit": -1.0}, "time limit: -1"),
        ({"time_limit": float("nan")}, "time limit: nan"),
        ({"device": "warp"}, "device 'warp'"),
        ({"device": "meta"}, "device 'meta'"),
        ({"device": "hpu"}, "device 'hpu'"),
        ({"precision": "fp8"}, "precision 'fp8'"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused_before_a_folder_is_made(
    run: Run, tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(TrainingError, match=words):
        run(**settings)
    assert not (tmp_path / "run").exists()


def test_workers_below_zero_are_refused_before_a_folder_is_made(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="workers is -1"):
        run(workers=-1)
    assert not (tmp_path / "run").exists()


def test_a_network_for_grey_pictures_is_refused(run: Run, small: Network, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="depth 1; must be 3"):
        run(network=edit(small, "input=24x24x1"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_picture_that_is_none_ends_the_run_and_leaves_no_folder(
    split: str, paint: Callable[..., Path], run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    paint(folder / "train", count=3)
    paint(folder / "val", count=2)
    bad = folder / ("train" if split == "train" else "val") / "red" / "00.png"
    bad.write_bytes(b"not a picture")
    with pytest.raises(PictureError, match=r"red/00\.png: not a picture"):
        run(data=open_dataset(folder))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_something_is_not_written_into(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        run()
    assert (tmp_path / "run" / "best.safetensors").read_text() == "mine"
    assert left_in(tmp_path / "run") == {"best.safetensors"}


def test_a_file_where_the_folder_should_be_is_an_output_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OutputError, match="run: cannot be made"):
        run()
    assert (tmp_path / "run").read_text() == "mine"


def test_a_full_disk_in_a_later_epoch_leaves_the_files_of_the_epoch_before(
    run: Run, tmp_path: Path, coloured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, bytes] = {}

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(progress: Progress) -> None:
        if (progress.epoch, progress.phase) == (2, "validation"):
            kept.update({path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()})
            monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OutputError, match="No space left"):
        run(epochs=3, on_progress=fill)
    assert kept.keys() == FILES
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == kept
    assert_usable(tmp_path / "run", coloured)


def test_a_full_disk_from_the_start_leaves_no_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        run()
    assert not (tmp_path / "run").exists()


# --- augmentation -----------------------------------------------------------------------------------------


def counting(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """How many pictures went into each call of a function that `train` uses."""
    counted: list[int] = []
    plain = getattr(train_module, name)

    def count(batch: torch.Tensor, *arguments: Any, **settings: Any) -> torch.Tensor:
        counted.append(len(batch))
        result: torch.Tensor = plain(batch, *arguments, **settings)
        return result

    monkeypatch.setattr(train_module, name, count)
    return counted


def test_pictures_are_mirrored_where_that_keeps_their_class(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored = counting(monkeypatch, "random_mirror")
    run(epochs=2)
    assert sum(mirrored) == 36


@pytest.mark.parametrize("by", ["data", "recipe"])
def test_pictures_are_never_mirrored_where_that_may_change_their_class(
    run: Run, data: Dataset, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    mirrored = counting(monkeypatch, "random_mirror")
    if by == "data":
        history = run(data=replace(data, mirror=False))
    else:
        history = run(recipe=replace(RECIPE, mirror=False))
    assert mirrored == []
    assert json.loads((history.output / "run.json").read_text())["recipe"]["mirror"] is False


def test_a_step_sees_each_training_picture_once_an_epoch(
    run: Run, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without augmentation, the batches of an epoch are the centres of the training pictures, shuffled."""
    seen: list[tuple[bytes, int]] = []

    def watch(model: Any, optimizer: Any, batch: torch.Tensor, labels: torch.Tensor, **settings: Any) -> Any:
        seen.extend((each.numpy().tobytes(), int(label)) for each, label in zip(batch, labels, strict=True))
        return training_step(model, optimizer, batch, labels, **settings)

    monkeypatch.setattr(train_module, "training_step", watch)
    history = run(epochs=2, recipe=replace(RECIPE, mirror=False, random_crop=False))
    centres = [center(data.train.pictures[i], history.view).tobytes() for i in range(18)]
    expected = sorted(zip(centres, data.train.labels.tolist(), strict=True))
    assert sorted(seen[:18]) == expected
    assert sorted(seen[18:]) == expected
    assert seen[:18] != seen[18:]


# --- progress ---------------------------------------------------------------------------------------------


def test_progress_is_told_with_figures_that_make_sense(run: Run) -> None:
    told: list[Progress] = []
    history = run(epochs=3, recipe=replace(RECIPE, batch_size=1), on_progress=told.append)
    training = [each for each in told if each.phase == "training"]
    assert {each.epoch for each in training} == {1, 2, 3}
    assert [each.share for each in training] == sorted(each.share for each in training)
    assert training[-1].share == pytest.approx(1.0)
    assert all(0 <= each.accuracy <= 1 and math.isfinite(each.loss) for each in told)
    assert all(each.pictures_per_second > 0 and each.seconds_left >= 0 for each in told)
    assert [each.phase for each in told].count("validation") == 3
    before = [each.validation_accuracy for each in told if each.epoch == 3]
    assert set(before) == {history.epochs[1].validation_accuracy}
