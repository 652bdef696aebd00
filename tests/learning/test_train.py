"""Whole runs on pictures of three colours: what they leave, how they end, what they make of trouble."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from alexnet import DataError, Network, NetworkError, OutputError, TrainingError, edit
from alexnet.images.datasets import Dataset, open_dataset
from alexnet.images.packed import PackedPictures
from alexnet.images.views import View, center
from alexnet.inference.engines import open_classifier
from alexnet.inference.predict import predict
from alexnet.learning import augment, loop, source, validation
from alexnet.learning.evaluate import evaluate
from alexnet.learning.progress import Progress
from alexnet.learning.recipe import DROPS, PLATEAU_EPOCHS, Recipe
from alexnet.learning.source import Centres
from alexnet.learning.state import load_state
from alexnet.learning.step import training_step
from alexnet.learning.train import History, Transfer, train
from alexnet.learning.weights import load_weights

RECIPE = Recipe(batch_size=6, learning_rate=0.02, dropout=0.0, jitter=0.0, averaging=0.0, build_up=0.0)
# Also how the pictures were divided, where that was done here.
FILES = {
    "best.safetensors",
    "last.safetensors",
    "metrics.csv",
    "steps.csv",
    "run.json",
    "state.safetensors",
    "division.json",
}
Run = Callable[..., History]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the pictures of this file's tests are kept once they are decoded."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ALEXNET_CACHE", str(tmp_path_factory.mktemp("cache-of-train")))


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
    """The names of the files, less TensorBoard's, of which there is one where its package is."""
    names = {child.name for child in folder.iterdir()}
    events = {name for name in names if name.startswith("events.out.tfevents.")}
    if "metrics.csv" in names:
        assert len(events) == (1 if find_spec("tensorboardX") else 0)
    return names - events


def described(history: History) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((history.output / "run.json").read_text(encoding="utf-8"))
    return told


def assert_usable(folder: Path, pictures: Path) -> None:
    """The weights load and say something about every picture."""
    classifier = open_classifier(folder / "best.safetensors", precision="fp32")
    answers = list(predict(classifier, [pictures], workers=0))
    assert len(answers) == 24
    assert all(math.isfinite(label.probability) for answer in answers for label in answer.labels)


def judged_as(accuracies: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let validation after validation find these accuracies, in sixths."""
    told = iter(accuracies)

    def evaluate_as_told(*arguments: Any, **settings: Any) -> object:
        report = evaluate(*arguments, **settings)
        wrong = np.arange(len(report.labels)) >= round(next(told) * len(report.labels))
        answers = np.eye(3, dtype=np.float32)[(report.labels + wrong) % 3]
        return replace(report, probabilities=answers)

    monkeypatch.setattr(validation, "evaluate", evaluate_as_told)


def watched(monkeypatch: pytest.MonkeyPatch, watch: Callable[..., None]) -> None:
    """Let `watch` see the arguments of every step before it is taken."""

    def step(*arguments: Any, **settings: Any) -> Any:
        watch(*arguments, **settings)
        return training_step(*arguments, **settings)

    monkeypatch.setattr(loop, "training_step", step)


# --- what a run leaves ------------------------------------------------------------------------------------


def test_a_run_learns_and_leaves_its_folder(run: Run, data: Dataset, small: Network, tmp_path: Path) -> None:
    notices: list[str] = []
    history = run(epochs=8, on_notice=notices.append)
    assert history.output == tmp_path / "run"
    assert left_in(history.output) == FILES
    assert not history.interrupted
    assert len(history.epochs) == 8
    # 8 pictures of each of 3 colours, a quarter of them for validation: 18 are left.
    assert (history.pictures, len(data.validation)) == (8 * 18, 6)
    assert history.best is not None
    assert history.best.top(1) == 1.0
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
    assert (history.skipped, history.warnings, notices) == ((), (), [])


@pytest.mark.parametrize(
    "change",
    [
        {"dropout": 0.5, "averaging": 0.9},
        {"cutmix": 0.5, "jitter": 0.3, "colour_noise": 0.1},
        {"crop": "shifted", "balance": "weights"},
        {"crop": "centre", "balance": "sampling", "schedule": "plateau", "label_smoothing": 0.0},
    ],
    ids=", ".join,
)
def test_it_learns_with_everything_that_a_recipe_can_have(run: Run, change: dict[str, Any]) -> None:
    history = run(epochs=16, recipe=replace(RECIPE, **change))
    assert history.best is not None
    assert history.best.top(1) == 1.0


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
    told = described(history)
    assert told["seed"] == 7
    assert told["epochs"] == 2
    assert (told["time_limit"], told["patience"], told["start"], told["frozen"]) == (None,) * 4
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
    checksum = told["data"].pop("checksum")
    assert told["data"] == {
        "name": "coloured",
        "source": str(coloured),
        "class_names": ["blue", "green", "red"],
        "pictures": {"train": [6, 6, 6], "validation": [2, 2, 2]},
    }
    assert len(checksum) == 16
    assert told["pictures_trained"] == 36
    assert (told["device"], told["precision"], told["interrupted"]) == ("cpu", "float32", False)
    assert (told["processes"], told["workers"]) == (1, 1)
    assert told["seconds"] == pytest.approx(history.seconds, abs=1.0)
    assert history.best is not None
    assert told["best_validation_top1"] == history.best.top(1)
    assert told["versions"]["torch"] == torch.__version__
    assert told.items() >= json.loads(json.dumps(history.settings.to_dict() | {"data": told["data"]})).items()


def test_gradients_that_are_never_clipped_are_described_as_json_can(run: Run) -> None:
    told = described(run(epochs=1, recipe=replace(RECIPE, clip_norm=math.inf)))
    assert told["recipe"]["clip_norm"] is None


def test_the_best_weights_are_those_that_were_judged_best(run: Run, data: Dataset) -> None:
    history = run(epochs=5)
    classifier = open_classifier(history.output / "best.safetensors", precision="fp32")
    report = evaluate(classifier, data.validation, workers=0)
    assert history.best is not None
    np.testing.assert_allclose(report.probabilities, history.best.probabilities, atol=1e-6)
    accuracies = [epoch.validation_accuracy for epoch in history.epochs]
    assert report.top(1) == max(each for each in accuracies if each is not None)


def test_what_comes_after_the_best_epoch_does_not_get_into_its_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: dict[str, Tensor] = {}

    def keep_first(progress: Progress) -> None:
        if (progress.epoch, progress.phase) == (2, "validation"):
            first.update(load_file(tmp_path / "run" / "best.safetensors"))

    judged_as([1.0, 4 / 6, 2 / 6], monkeypatch)
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


def test_normalisation_is_of_the_training_pictures_in_whole_grey_levels(run: Run, data: Dataset) -> None:
    history = run(epochs=1)
    mean = load_file(history.output / "last.safetensors")["normalize.mean"].numpy()
    pixels = np.concatenate([data.train.pictures[i].reshape(-1, 3) for i in range(18)])
    np.testing.assert_allclose(mean, pixels.mean(axis=0), atol=1.0)  # of squares, which the edges count in
    np.testing.assert_array_equal(mean, np.rint(mean))


def test_an_output_of_none_is_a_new_folder_under_runs(
    small: Network, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = [train(small, data, epochs=1, recipe=RECIPE, workers=0).output for _ in range(2)]
    assert outputs == [Path("runs/coloured-1"), Path("runs/coloured-2")]
    assert all(left_in(output) == FILES for output in outputs)


def test_the_kept_weights_are_the_running_mean_where_one_is_asked_for(
    run: Run, small: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every eighth step adds to it, once it has gone on for longer than its memory of five steps."""
    after: list[dict[str, Tensor]] = []

    def note(forward: Any, *_: Any, **__: Any) -> None:
        after.append({name: each.detach().clone() for name, each in forward.model.named_parameters()})

    watched(monkeypatch, note)
    recipe = replace(RECIPE, batch_size=1, averaging=0.8)
    history = run(epochs=2, recipe=recipe)
    kept = load_file(history.output / "last.safetensors")
    mean = {name: each.double() for name, each in after[8].items()}
    for steps in (16, 24, 32):  # of 36 in all
        decay = 0.8**8
        for name, each in after[steps].items():
            mean[name] = decay * mean[name] + (1 - decay) * each.double()
    for name, expected in mean.items():
        torch.testing.assert_close(kept[name].double(), expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(kept["fc3.weight"], after[-1]["fc3.weight"], rtol=1e-3)


def test_a_run_too_short_for_a_running_mean_keeps_its_last_weights(run: Run) -> None:
    with_mean = run(
        "with", recipe=replace(RECIPE, averaging=0.99)
    )  # six steps; the mean's memory is a hundred
    without = run("without")
    kept, last = (load_file(each.output / "last.safetensors") for each in (with_mean, without))
    assert all(torch.equal(kept[name], last[name]) for name in last)


# --- seeds ------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(run: Run) -> None:
    recipe = replace(RECIPE, dropout=0.5, jitter=0.2, cutmix=0.5)
    torch.manual_seed(5)
    first = load_file(run("a", seed=1, recipe=recipe).output / "last.safetensors")
    torch.manual_seed(6)  # the global generator is not asked
    again = load_file(run("b", seed=1, recipe=recipe).output / "last.safetensors")
    other = load_file(run("c", seed=2, recipe=recipe).output / "last.safetensors")
    assert all(torch.equal(first[name], again[name]) for name in first)
    trained = [name for name in first if name.endswith("weight")]
    assert all(not torch.equal(first[name], other[name]) for name in trained)


def test_workers_change_nothing_but_speed(run: Run) -> None:
    weights = [load_file(run(f"w{n}", workers=n).output / "last.safetensors") for n in (0, 1, 3)]
    for name in weights[0]:
        assert all(torch.equal(weights[0][name], each[name]) for each in weights[1:]), name


def test_pictures_that_are_decoded_already_change_nothing_but_speed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    first, again = (load_file(run(name).output / "last.safetensors") for name in "ab")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert list((tmp_path / "cache").rglob("*.records"))


def test_a_cache_that_cannot_be_written_is_told_of_and_the_run_is_the_same(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load_file(run("a").output / "last.safetensors")
    (tmp_path / "cache").write_text("a file where the cache would be")
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    notices: list[str] = []
    found = load_file(run("b", on_notice=notices.append).output / "last.safetensors")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert [notice.partition(":")[0] for notice in notices] == ["coloured-train", "coloured-validation"]


def test_training_leaves_the_global_generators_alone(run: Run) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    run(recipe=replace(RECIPE, dropout=0.5))
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(("seed", "taken"), [(-1, False), (0, True), (2**32 - 1, True), (2**32, False)])
def test_a_seed_trains_or_is_refused(run: Run, seed: int, taken: bool) -> None:
    if taken:
        assert run(seed=seed, epochs=1).pictures == 18
    else:
        with pytest.raises(TrainingError, match=f"seed: {seed}; must be from 0 to 4294967295"):
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
    assert history.steps[-1].learning_rate < 0.02 * 0.2  # the last step may be long before the end
    assert max(step.learning_rate for step in history.steps) > 0.02 * 0.9
    assert history.best is not None


@pytest.mark.parametrize(("decodes", "least", "most"), [(True, 0.0, 0.5), (False, 0.5, 60.0)])
def test_time_is_kept_free_for_a_validation_that_decodes_nothing_any_more(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decodes: bool, least: float, most: float
) -> None:
    """Had it decoded, the time that it took would say nothing about the last one."""
    if decodes:
        monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    else:
        run("before", epochs=1)
    monkeypatch.setattr(Centres, "decoded_ahead", lambda *_: nullcontext(lambda: None))

    def slow(*arguments: Any, **settings: Any) -> object:
        sleep(0.5)
        return evaluate(*arguments, **settings)

    monkeypatch.setattr(validation, "evaluate", slow)
    history = run(epochs=1)
    state = load_state(history.output, on_notice=pytest.fail)
    assert state is not None
    assert least <= state.validation_seconds < most


def test_whichever_limit_comes_first_ends_the_run(run: Run) -> None:
    assert len(run(epochs=1, time_limit=3600.0).epochs) == 1


def test_one_step_in_all_trains_something(run: Run) -> None:
    history = run(epochs=1, recipe=replace(RECIPE, batch_size=100))
    after = load_file(history.output / "last.safetensors")
    assert after["fc3.bias"].abs().max() > 0, "its one step was taken at a learning rate of zero"


def test_a_limit_too_short_for_a_step_is_told_as_that(run: Run, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="time limit was reached before its first step") as caught:
        run(time_limit=1e-9)
    assert "interrupted" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("patience", "accuracies", "epochs"),
    [
        (2, [2, 4, 3, 4], 4),  # as good is not better
        (2, [2, 4, 3, 5, 5, 5], 6),  # better in time
        (1, [3, 3], 2),
        (3, [6, 0, 0, 0], 4),
        (3, [0, 1, 2, 3, 4], 5),  # nothing to be impatient about
    ],
)
def test_patience_ends_the_run_after_so_many_epochs_without_a_better_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, patience: int, accuracies: list[int], epochs: int
) -> None:
    judged_as([each / 6 for each in accuracies], monkeypatch)
    history = run(epochs=len(accuracies) if epochs == 5 else 30, patience=patience)
    assert len(history.epochs) == epochs
    assert not history.interrupted
    assert described(history)["patience"] == patience


def test_patience_waits_for_pictures_that_grow(
    run: Run, pooled: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twenty epochs the first sixteen have smaller pictures than those that it is judged by."""
    growing: dict[str, Any] = {"network": pooled, "epochs": 20, "patience": 1}
    growing["recipe"] = replace(RECIPE, smallest_side=0.5)
    small = [4, 5, 3, *[1] * 13]
    judged_as([each / 6 for each in (*small, 2, 3, 4, 5)], monkeypatch)
    assert len(run("better", **growing).epochs) == 20
    judged_as([each / 6 for each in (*small, 2, 2)], monkeypatch)
    assert len(run("no-better", **growing).epochs) == 18


@pytest.mark.parametrize(
    ("network", "smallest", "told"),
    [
        ("pooled", 0.5, "smallest_side=0.5: pictures grow from 16x16 to 24x24"),
        ("pooled", 0.9, "smallest_side=0.9: all pictures are 24x24, as network 'small' takes none between"),
        ("small", 0.5, "smallest_side=0.5: all pictures are 24x24, as network 'small' takes none between"),
        ("small", 0.7, None),  # the default: nobody asked for it
        ("pooled", 1.0, None),
    ],
)
def test_how_pictures_grow_is_told(
    run: Run, request: pytest.FixtureRequest, network: str, smallest: float, told: str | None
) -> None:
    notices: list[str] = []
    recipe = replace(RECIPE, smallest_side=smallest)
    run(network=request.getfixturevalue(network), recipe=recipe, epochs=1, on_notice=notices.append)
    assert [each for each in notices if "pictures" in each and "24x24" in each] == ([told] if told else [])


def test_a_plateau_schedule_drops_the_rate_three_times_and_ends(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A best epoch, five without a better one, a drop, five more, ...: 1 + 4 x 5 epochs, of 90 at most."""
    assert (PLATEAU_EPOCHS, DROPS) == (5, 3)
    judged_as([0.5] * 30, monkeypatch)
    recipe = replace(RECIPE, batch_size=18, schedule="plateau", warmup=0.5, learning_rate=0.02)
    history = run(epochs=None, recipe=recipe)
    rates = [epoch.learning_rate for epoch in history.epochs]
    assert rates == pytest.approx([0.02] * 6 + [0.002] * 5 + [0.0002] * 5 + [0.00002] * 5)


def test_a_better_epoch_puts_a_plateau_s_drop_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_as([1 / 6, *[0.0] * 4, 2 / 6, *[0.0] * 5, 0.0], monkeypatch)
    recipe = replace(RECIPE, batch_size=18, schedule="plateau")
    history = run(epochs=12, recipe=recipe)
    assert [epoch.learning_rate for epoch in history.epochs] == pytest.approx([0.02] * 11 + [0.002])


# --- Ctrl-C: what is left; test_resume.py has the rest ----------------------------------------------------


def stop_when(
    epoch: int, phase: Literal["training", "validation", "interrupted"]
) -> Callable[[Progress], None]:
    """An `on_progress` in which Ctrl-C arrives, once, in that epoch and phase."""
    done = False

    def tell(progress: Progress) -> None:
        nonlocal done
        if not done and (progress.epoch, progress.phase) == (epoch, phase):
            done = True
            signal.raise_signal(signal.SIGINT)

    return tell


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize("phase", ["training", "validation"])
def test_ctrl_c_ends_in_a_usable_run(
    run: Run, coloured: Path, epoch: int, phase: Literal["training", "validation"]
) -> None:
    # Eighteen pictures in batches of one: lines of steps.csv have been written when it comes, or not.
    history = run(epochs=5, recipe=replace(RECIPE, batch_size=1), on_progress=stop_when(epoch, phase))
    assert history.interrupted
    assert not history.terminated
    assert left_in(history.output) >= FILES
    assert len(history.epochs) == epoch
    assert described(history)["interrupted"] is True
    assert len(lines(history.output / "metrics.csv")) == epoch
    assert_usable(history.output, coloured)


def test_ctrl_c_before_the_first_step_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "training_step", interrupt)
    with pytest.raises(TrainingError, match="interrupted before its first step"):
        run()
    assert not (tmp_path / "run").exists()


# --- trouble ----------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_an_error_and_nothing_is_kept(run: Run, tmp_path: Path) -> None:
    recipe = Recipe(batch_size=6, learning_rate=1e30, clip_norm=1e30, warmup=0.0)
    with pytest.raises(TrainingError, match=r"loss is .*(nan|inf).*lower the learning rate \(now 1e\+30\)"):
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


@pytest.fixture
def grey(tmp_path: Path) -> Dataset:
    """Two classes that nothing tells apart, one of them twice as frequent."""
    random = np.random.default_rng(0)
    for folder, count in (("train/a", 12), ("train/b", 6), ("val/a", 2), ("val/b", 1)):
        (tmp_path / "grey" / folder).mkdir(parents=True)
        for index in range(count):
            image = Image.fromarray(random.integers(100, 156, (20, 20, 3), dtype=np.uint8))
            image.save(tmp_path / "grey" / folder / f"{index}.png")
    return open_dataset(tmp_path / "grey")


@pytest.mark.parametrize("balance", ["none", "weights", "sampling"])
@pytest.mark.slow
def test_a_loss_that_stays_at_chance_is_an_error_with_advice(
    run: Run, grey: Dataset, tmp_path: Path, balance: Literal["none", "weights", "sampling"]
) -> None:
    recipe = Recipe(
        batch_size=2, learning_rate=1e-5, label_smoothing=0.0, balance=balance, warmup=0.0, jitter=0.0
    )
    with pytest.raises(TrainingError) as caught:
        run(data=grey, epochs=60, recipe=recipe)
    text = str(caught.value)
    # Guessing 2/3 and 1/3: 0.637; where the classes weigh alike: log 2.
    guessing = "0.637" if balance == "none" else "0.693"
    assert text.startswith("training: after 200 steps the loss is 0.")  # 540 in all: a third is below 200
    assert f"no better than guessing's {guessing}" in text
    assert "--lr 2.5e-06 or --lr 2e-05" in text
    assert "each picture lies in its class's folder" in text
    assert "\n" not in text


@pytest.mark.parametrize("balance", ["none", "weights", "sampling"])
@pytest.mark.slow
def test_a_loss_that_has_left_chance_is_none(
    run: Run, balance: Literal["none", "weights", "sampling"]
) -> None:
    history = run(epochs=45, recipe=replace(RECIPE, batch_size=3, balance=balance, dropout=0.2))  # 270 steps
    assert len(history.epochs) == 45
    assert history.best is not None
    assert history.best.top(1) == 1.0


@pytest.mark.slow
def test_a_loss_near_the_least_that_is_possible_is_not_chance(
    run: Run, paint: Callable[..., Path], tmp_path: Path
) -> None:
    """With one picture of a class, or smoothing like this, little lies between guessing and knowing."""
    folder = tmp_path / "data"
    paint(folder / "train", count=60, classes=("red",))
    paint(folder / "train", count=1, classes=("blue",))
    paint(folder / "val", count=1, classes=("red", "blue"))
    plain = replace(RECIPE, batch_size=3, label_smoothing=0.1)
    assert len(run("uneven", data=open_dataset(folder), epochs=30, recipe=plain).epochs) == 30
    smooth = replace(RECIPE, batch_size=3, label_smoothing=0.9)
    assert len(run("smooth", epochs=45, recipe=smooth).epochs) == 45


def test_a_run_too_short_to_tell_is_not_judged_by_its_loss(run: Run, grey: Dataset) -> None:
    recipe = Recipe(batch_size=2, learning_rate=1e-5)
    assert len(run(data=grey, epochs=22, recipe=recipe).epochs) == 22  # 198 steps


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "epochs: 0"),
        ({"epochs": -3}, "epochs: -3"),
        ({"patience": 0}, "patience: 0"),
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


def full(_handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_in_a_later_epoch_leaves_the_files_of_the_epoch_before(
    run: Run, tmp_path: Path, coloured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, bytes] = {}

    def files() -> dict[str, bytes]:
        paths = (tmp_path / "run").iterdir()
        return {path.name: path.read_bytes() for path in paths if ".tfevents." not in path.name}

    def fill(progress: Progress) -> None:
        if (progress.epoch, progress.phase) == (2, "validation"):
            kept.update(files())
            monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OutputError, match="No space left"):
        run(epochs=3, on_progress=fill)
    assert kept.keys() == FILES - {"state.safetensors"}
    assert files() == kept
    assert_usable(tmp_path / "run", coloured)


def test_a_full_disk_from_the_start_leaves_no_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        run()
    assert not (tmp_path / "run").exists()


# --- pictures that cannot be read -------------------------------------------------------------------------


@pytest.fixture
def damaged(paint: Callable[..., Path], tmp_path: Path) -> Callable[..., Dataset]:
    """24 pictures to train on and 6 to judge by, some of them no pictures."""

    def damaged(*bad: str) -> Dataset:
        folder = tmp_path / "data"
        paint(folder / "train", count=8)
        paint(folder / "val", count=2)
        random = np.random.default_rng(4)
        for path in sorted((folder / "val").rglob("*.png")):  # paint paints the same ones again
            pixels = np.asarray(Image.open(path)).astype(int) + random.integers(-20, 21, (30, 40, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
        for name in bad:
            (folder / name).write_bytes(b"not a picture")
        return open_dataset(folder)

    return damaged


@pytest.mark.parametrize("name", ["train/red/00.png", "val/red/00.png"])
def test_a_picture_that_is_none_is_left_out_and_told_of(
    run: Run, damaged: Callable[..., Dataset], tmp_path: Path, name: str
) -> None:
    """One of 24 is 4.2 %: fewer than the 5 % that may be."""
    data = damaged(name)
    history = run(data=data, epochs=8)
    ((told, reason),) = history.skipped
    assert told == str(tmp_path / "data" / name)
    assert reason.startswith("not a picture; it must be one of")
    rows = lines(history.output / "skipped.csv")
    assert rows == [{"picture": told, "reason": reason}]
    assert history.best is not None
    assert history.best.top(1) == 1.0
    in_training = name.startswith("train")
    assert history.pictures == 8 * (23 if in_training else 24)
    assert history.best.pictures == (6 if in_training else 5)
    assert left_in(history.output) == (FILES | {"skipped.csv"}) - {"division.json"}


def test_where_too_many_are_none_the_run_ends_and_leaves_no_folder(
    run: Run, damaged: Callable[..., Dataset], tmp_path: Path
) -> None:
    """Two of 24 are 8.3 %."""
    data = damaged("train/red/00.png", "train/blue/03.png")
    with pytest.raises(DataError) as caught:
        run("ended", data=data)
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "data" / "train"))
    assert ": not a picture; it must be one of" in text
    assert "; 2 of 24 training pictures cannot be read; at most 5% may be;" in text
    assert not (tmp_path / "ended").exists()
    history = run(data=data, most_unreadable=0.1)
    assert {Path(name).name for name, _ in history.skipped} == {"00.png", "03.png"}


def test_a_folder_that_was_there_and_empty_is_there_and_empty_again(
    run: Run, damaged: Callable[..., Dataset], tmp_path: Path
) -> None:
    (tmp_path / "ended").mkdir()
    with pytest.raises(DataError):
        run("ended", data=damaged("train/red/00.png", "train/blue/03.png"))
    assert list((tmp_path / "ended").iterdir()) == []


def test_validation_pictures_that_cannot_be_read_count_too(
    run: Run, damaged: Callable[..., Dataset], tmp_path: Path
) -> None:
    """2 of 30 are 6.7 %."""
    data = damaged("val/red/00.png", "val/red/01.png")
    told = r"val/red/00\.png: not a picture.*; 2 of 30 pictures cannot be read; at most 5% may be"
    with pytest.raises(DataError, match=told):
        run(data=data)
    assert len(run(data=data, most_unreadable=0.07).skipped) == 2


def test_pictures_left_out_are_still_listed_when_the_result_is_given_again(
    run: Run, damaged: Callable[..., Dataset], tmp_path: Path
) -> None:
    data = damaged("train/red/00.png", "val/red/00.png")
    rows = lines(run(most_unreadable=0.1, data=data).output / "skipped.csv")
    assert len(rows) == 2
    again = run(most_unreadable=0.1, data=data, resume=True)
    assert lines(again.output / "skipped.csv") == rows
    assert len(again.skipped) == 2


def test_what_was_not_read_again_is_still_listed(
    run: Run, damaged: Callable[..., Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoded pictures are gone, and a run that is over decodes but a sample of those it trained on."""
    data = damaged("train/red/05.png", "val/red/00.png")
    rows = lines(run(most_unreadable=0.1, data=data).output / "skipped.csv")
    assert len(rows) == 2
    monkeypatch.setattr(source, "_SAMPLE", 2)
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "new"))
    again = run(most_unreadable=0.1, data=data, resume=True)
    assert lines(again.output / "skipped.csv") == rows
    (tmp_path / "data" / "train" / "red" / "05.png").unlink()
    gone = run(most_unreadable=0.1, data=open_dataset(tmp_path / "data"), name="other")
    (gone.output / "skipped.csv").write_bytes((again.output / "skipped.csv").read_bytes())
    last = run(most_unreadable=0.1, data=open_dataset(tmp_path / "data"), name="other", resume=True)
    assert lines(last.output / "skipped.csv") == [row for row in rows if "val" in row["picture"]]


def test_validation_pictures_are_decoded_while_it_trains(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    begun: list[list[int]] = []
    plain = PackedPictures.fill

    def fill(packed: PackedPictures, chosen: npt.NDArray[np.int64], **settings: Any) -> None:
        begun.append(chosen.tolist())
        plain(packed, chosen, **settings)
        packed_then.append(packed.packed)

    def judged(*arguments: Any, **settings: Any) -> object:
        assert not [each for each in threading.enumerate() if each.name == "alexnet-validation"]
        return evaluate(*arguments, **settings)

    packed_then: list[int] = []
    monkeypatch.setattr(PackedPictures, "fill", fill)
    monkeypatch.setattr(validation, "evaluate", judged)
    run(on_progress=lambda _: sleep(0.1))
    assert begun == [list(range(6))]
    assert packed_then[0] > 0


def test_pictures_that_were_mended_are_listed_no_more(
    run: Run, damaged: Callable[..., Dataset], tmp_path: Path
) -> None:
    bad, good = ["train/red/00.png", "val/red/00.png"], (tmp_path / "data" / "train" / "red" / "01.png")
    data, epochs = damaged(*bad), 2
    while True:
        history = run(most_unreadable=0.1, data=data, epochs=epochs, resume=True)
        assert [name for name, _ in history.skipped] == [str(tmp_path / "data" / name) for name in bad]
        if not bad:
            break
        assert [line["picture"] for line in lines(history.output / "skipped.csv")] == [
            name for name, _ in history.skipped
        ]
        (tmp_path / "data" / bad.pop(0)).write_bytes(good.read_bytes())
        epochs += 1
    assert not (history.output / "skipped.csv").exists()


def test_where_no_validation_picture_is_one_there_is_no_verdict_to_be_had(
    run: Run, damaged: Callable[..., Dataset], tmp_path: Path
) -> None:
    data = damaged(*(f"val/{name}/{index:02}.png" for name in ("blue", "green", "red") for index in (0, 1)))
    with pytest.raises(DataError, match=r"none of 6 pictures can be read, such as .*val.*; at least one"):
        run(data=data)
    assert not (tmp_path / "run").exists()


def test_validation_pictures_that_are_trained_on_as_well_are_told_of_once(
    run: Run, paint: Callable[..., Path], tmp_path: Path
) -> None:
    paint(tmp_path / "data" / "train", count=3)
    paint(tmp_path / "data" / "val", count=2)
    for number, path in enumerate(sorted((tmp_path / "data").rglob("*.png"))):
        # Blocks of colour, which a thumbnail keeps: for the first of each class the same ones in both splits.
        same = path.name == "00.png"
        seed = ["blue", "green", "red"].index(path.parent.name) if same else 100 + number
        blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        side = 60 if path.parent.parent.name == "train" else 50
        Image.fromarray(blocks).resize((side, side), Image.Resampling.BICUBIC).save(path)
    notices: list[str] = []
    history = run(data=open_dataset(tmp_path / "data"), on_notice=notices.append)
    (notice,) = notices
    assert notice.startswith("data: 3 validation pictures look like one to train on")
    assert history.warnings == (notice,)


# --- weights to start from --------------------------------------------------------------------------------


@pytest.fixture
def trained(run: Run) -> Transfer:
    path = run("before", epochs=3).output / "best.safetensors"
    return Transfer(weights=load_weights(path), source=str(path))


@pytest.fixture
def two_classes(paint: Callable[..., Path], tmp_path: Path) -> Dataset:
    return open_dataset(paint(tmp_path / "two", classes=("red", "blue")), validation_share=0.25)


@pytest.mark.parametrize("frozen", [None, "conv1", "conv2", "fc1", "fc2"])
def test_weights_of_other_classes_are_trained_on_but_for_those_that_are_frozen(
    run: Run, trained: Transfer, two_classes: Dataset, frozen: str | None
) -> None:
    history = run(data=two_classes, transfer=replace(trained, frozen=frozen), epochs=3)
    before, after = trained.weights.model.state_dict(), load_file(history.output / "last.safetensors")
    assert after["fc3.weight"].shape == (2, 16)
    layers = ["conv1", "conv2", "fc1", "fc2"]
    kept = layers[: layers.index(frozen) + 1] if frozen else []
    for layer in layers:
        for name in (f"{layer}.weight", f"{layer}.bias"):
            assert torch.equal(before[name], after[name]) == (layer in kept), name
    # Frozen layers were trained on pictures normalised so.
    for name in ("normalize.mean", "normalize.scale"):
        assert torch.equal(before[name], after[name])
    told = described(history)
    assert (told["start"], told["frozen"]) == (trained.source, frozen)
    assert told["network"]["layers"][-1]["units"] == 2


@pytest.mark.parametrize("share", [-0.1, 5, float("nan")])
def test_a_share_of_unreadable_pictures_is_one(run: Run, share: float) -> None:
    with pytest.raises(TrainingError, match="must be a share, from 0 to 1"):
        run(most_unreadable=share)


def test_as_many_other_classes_have_a_last_layer_of_their_own(
    run: Run, trained: Transfer, paint: Callable[..., Path], tmp_path: Path
) -> None:
    data = open_dataset(paint(tmp_path / "three", classes=("green", "red", "blue")), validation_share=0.25)
    data = replace(data, class_names=("red", "green", "blue"))
    history = run(data=data, transfer=trained, epochs=1, recipe=replace(RECIPE, learning_rate=1e-9))
    before, after = trained.weights.model.state_dict(), load_file(history.output / "last.safetensors")
    assert not torch.allclose(before["fc3.weight"], after["fc3.weight"], atol=1e-3)
    torch.testing.assert_close(before["fc2.weight"], after["fc2.weight"], rtol=0, atol=1e-7)


def test_with_the_same_classes_all_weights_are_taken_over(run: Run, trained: Transfer) -> None:
    history = run(transfer=trained, epochs=1, recipe=replace(RECIPE, learning_rate=1e-9))
    before, after = trained.weights.model.state_dict(), load_file(history.output / "last.safetensors")
    assert before.keys() == after.keys()
    for name, each in before.items():
        torch.testing.assert_close(after[name], each, rtol=0, atol=1e-7)
    assert history.best is not None


@pytest.mark.parametrize(
    ("change", "frozen", "words"),
    [
        (
            "fc1.units=25",
            None,
            "has no weights that fit fc1, fc2 of network 'small'; all layers but the last",
        ),
        ("conv1.kernel=7", None, "has no weights that fit conv1 of network"),
        (
            "classes=3",
            "fc3",
            "frozen: fc3; must be a layer with weights, not the last: conv1, conv2, fc1, fc2",
        ),
        ("classes=3", "relu1", "frozen: relu1; must be a layer with weights"),
        ("classes=3", "conv9", "frozen: conv9; must be a layer with weights"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_a_folder_is_made(
    run: Run, small: Network, trained: Transfer, tmp_path: Path, change: str, frozen: str | None, words: str
) -> None:
    with pytest.raises(TrainingError, match=words):
        run("refused", network=edit(small, change), transfer=replace(trained, frozen=frozen))
    assert not (tmp_path / "refused").exists()


# --- classes of uneven number -----------------------------------------------------------------------------


@pytest.mark.parametrize("balance", ["none", "weights", "sampling"])
def test_rare_classes_weigh_more_or_come_more_often_where_that_is_asked_for(
    run: Run, grey: Dataset, monkeypatch: pytest.MonkeyPatch, balance: Literal["none", "weights", "sampling"]
) -> None:
    labels: list[int] = []
    weights: list[list[float] | None] = []

    def note(_forward: Any, _optimizer: Any, batch: Any, *, loss: Any, **_: Any) -> None:
        labels.extend(batch.labels.tolist())
        weights.append(None if loss.class_weights is None else loss.class_weights.tolist())

    watched(monkeypatch, note)
    run(data=grey, epochs=20, recipe=replace(RECIPE, balance=balance))
    rare = labels.count(1)
    assert len(labels) == 20 * 18
    if balance == "sampling":
        assert 180 - 48 < rare < 180 + 48  # the deviation is 9.5
    else:
        assert rare == 120
    # 12 and 6 of 18: each class is to weigh 9 of them.
    assert weights[0] == (pytest.approx([0.75, 1.5]) if balance == "weights" else None)


# --- augmentation -----------------------------------------------------------------------------------------


def mirrored(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each picture that is cut is mirrored."""
    noted: list[bool] = []
    plain = augment.cut

    def note(batch: Tensor, boxes: augment.Boxes, height: int, width: int, turned: Tensor | None) -> Tensor:
        noted.extend([False] * len(batch) if turned is None else turned.tolist())
        return plain(batch, boxes, height, width, turned)

    monkeypatch.setattr(augment, "cut", note)
    return noted


def test_half_of_the_pictures_are_mirrored_where_that_keeps_their_class(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = mirrored(monkeypatch)
    run(epochs=10)
    assert len(turned) == 180
    assert 90 - 34 < sum(turned) < 90 + 34  # the deviation is 6.7


@pytest.mark.parametrize("by", ["data", "recipe"])
def test_pictures_are_never_mirrored_where_that_may_change_their_class(
    run: Run, data: Dataset, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    turned = mirrored(monkeypatch)
    if by == "data":
        history = run(data=replace(data, mirror=False))
    else:
        history = run(recipe=replace(RECIPE, mirror=False))
    assert turned
    assert not any(turned)
    assert described(history)["recipe"]["mirror"] is False


def test_a_picture_that_is_framed_is_shifted_and_not_cut_into_and_of_one_size(
    run: Run, data: Dataset, pooled: Network
) -> None:
    pictures = [center(data.train.pictures[index], View.of(24, 24)) for index in range(18)]
    split = replace(data.train, pictures=pictures, names=[f"framed/{index}" for index in range(18)])
    framed = replace(data, train=split, validation=split, tight=True, division=None)
    history = run(data=framed, network=pooled, recipe=replace(RECIPE, smallest_side=0.5))
    recipe = described(history)["recipe"]
    assert (recipe["crop"], recipe["smallest_side"]) == ("shifted", 1.0)
    assert history.view.resize == 24


def test_a_step_sees_each_training_picture_once_an_epoch(
    run: Run, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each epoch's labels are those of the split, in another order; the pictures have their colours."""
    seen: list[tuple[int, int]] = []

    def note(_forward: Any, _optimizer: Any, batch: Any, **_: Any) -> None:
        # Of blue, green and red pictures the third, second and first channel is the strongest.
        strongest = 2 - batch.pictures.float().mean(dim=(1, 2)).argmax(dim=1)
        seen.extend(zip(strongest.tolist(), batch.labels.tolist(), strict=True))

    watched(monkeypatch, note)
    run(epochs=2, recipe=replace(RECIPE, mirror=False, crop="centre"))
    assert len(seen) == 36
    assert all(colour == label for colour, label in seen)
    for epoch in (seen[:18], seen[18:]):
        assert sorted(label for _, label in epoch) == data.train.labels.tolist()
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
