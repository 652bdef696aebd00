"""A run that was stopped, in whatever way, and resumed ends as one that was not: to the last bit."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from select import select
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from alexnet import Network, OutputError, TrainingError, edit, to_toml
from alexnet.images.datasets import open_dataset
from alexnet.learning import loop, validation
from alexnet.learning.evaluate import Report, evaluate
from alexnet.learning.progress import Limit, Progress
from alexnet.learning.recipe import Recipe
from alexnet.learning.runs import locked
from alexnet.learning.step import training_step
from alexnet.learning.train import History, train
from alexnet.learning.weights import load_weights, torch_classifier

EPOCHS = 6
STEPS = 8  # an epoch: 36 pictures, five at a time
RECIPE = Recipe(
    batch_size=5,
    learning_rate=0.03,
    jitter=0.3,
    colour_noise=0.1,
    cutmix=0.5,
    dropout=0.5,
    averaging=0.9,
)
FILES = {"best.safetensors", "last.safetensors", "metrics.csv", "steps.csv", "run.json", "state.safetensors"}
TIMES = ("seconds", "pictures_per_second")  # what no two runs have alike
Run = Callable[..., History]


class Killed(BaseException):
    """Ends a run here and now."""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where decoded pictures are kept; the same for the tests of a session."""
    folder = tmp_path_factory.getbasetemp() / "cache-of-resume"
    monkeypatch.setenv("ALEXNET_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Bits are the same for the same number of threads; the commands that are started here have one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def pictures(paint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured pictures of which a third lies in a wrong class, so that the accuracy goes up and down."""
    folder = tmp_path_factory.mktemp("pictures") / "muddled"
    random = Random(0)
    for split, count in (("train", 12), ("val", 6)):
        classes = sorted(paint(folder / split, count=count).iterdir())
        moved = [path for each in classes for path in sorted(each.iterdir())[::3]]
        for path in moved:
            to = random.choice([each for each in classes if each != path.parent])
            path.rename(to / f"{path.parent.name}-{path.name}")
        kept = {each: len(list(each.iterdir())) for each in classes}
        assert sum(kept.values()) == 3 * count
    return folder


@pytest.fixture
def run(small: Network, pictures: Path, tmp_path: Path) -> Run:
    """A run that saves its state after every step, in float32 with one thread that loads pictures."""

    def run(name: str = "run", **settings: Any) -> History:
        usual: dict[str, Any] = {
            "recipe": RECIPE,
            "epochs": EPOCHS,
            "precision": "fp32",
            "workers": 1,
            "seed": 1,
            "checkpoint_seconds": 0.0,
            "resume": True,
        }
        chosen = usual | {"network": small} | settings
        data = chosen.pop("data", None) or open_dataset(pictures)
        try:
            return train(data=data, output=tmp_path / name, **chosen)
        except KeyboardInterrupt:  # it would end the whole test run
            pytest.fail("Ctrl-C got out of train; nothing was saved for it")

    return run


@pytest.fixture(scope="module")
def undisturbed(small: Network, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the usual run comes to; where it was tried, the best epoch was neither the first nor the last."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ALEXNET_CACHE", str(tmp_path_factory.getbasetemp() / "cache-of-resume"))
        history = train(
            small,
            open_dataset(pictures),
            output=tmp_path_factory.mktemp("runs") / "undisturbed",
            recipe=RECIPE,
            epochs=EPOCHS,
            precision="fp32",
            workers=1,
            seed=1,
        )
    return outcome(history.output)


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [
            {name: text for name, text in line.items() if name not in TIMES} for line in csv.DictReader(file)
        ]


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run leaves, but for times: to be compared with `==`."""
    described = json.loads((folder / "run.json").read_text())
    state = load_file(folder / "state.safetensors")
    names = {path.name for path in folder.iterdir()}
    return {
        "files": {name for name in names if not name.startswith("events.")},
        "best": (folder / "best.safetensors").read_bytes(),
        "last": (folder / "last.safetensors").read_bytes(),
        "metrics": lines(folder / "metrics.csv"),
        "steps": lines(folder / "steps.csv"),
        "run": {name: value for name, value in described.items() if name not in TIMES},
        "state": {name: tensor.numpy().tobytes() for name, tensor in state.items()},
    }


def assert_same(folder: Path, expected: dict[str, Any], *, without: tuple[str, ...] = ()) -> None:
    found = outcome(folder)
    for name, value in expected.items():
        if name not in without:
            assert found[name] == value, name


def at(number: int, act: Callable[[], object]) -> Callable[[Progress], None]:
    """Do something when a run has told of its progress so often: once a step, and once a validation."""
    told = 0

    def tell(_: Progress) -> None:
        nonlocal told
        told += 1
        if told == number:
            act()

    return tell


def kill() -> None:
    raise Killed


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


IN_EPOCH = STEPS + 1 + 3  # after the third step of the second epoch
IN_VALIDATION = 2 * (STEPS + 1)  # the second one


# --- stopped anywhere -------------------------------------------------------------------------------------


def test_a_run_without_a_stop_is_what_all_are_compared_with(run: Run, undisturbed: dict[str, Any]) -> None:
    """Saving its state after every step changes nothing, nor does `resume` where there is nothing yet."""
    assert_same(run().output, undisturbed)


def test_the_comparison_can_fail(run: Run, undisturbed: dict[str, Any]) -> None:
    found = outcome(run(seed=2).output)
    assert [name for name in found if found[name] == undisturbed[name]] == ["files"]


@pytest.mark.slow
def test_stopped_after_every_single_step_it_ends_as_if_it_had_not_been(
    run: Run, undisturbed: dict[str, Any]
) -> None:
    stops = 0
    while True:
        try:
            history = run(on_progress=at(2, kill))
        except Killed:
            stops += 1
        else:
            break
    assert stops >= EPOCHS * STEPS - 1
    assert_same(history.output, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", [0.0, 1e9])
@pytest.mark.parametrize("by", [interrupt, terminate])
@pytest.mark.parametrize("number", [1, IN_EPOCH, STEPS, IN_VALIDATION, EPOCHS * (STEPS + 1)])
def test_ctrl_c_or_sigterm_and_then_resume_is_as_if_it_had_not_come(
    run: Run, undisturbed: dict[str, Any], by: Callable[[], None], number: int, checkpoint: float
) -> None:
    """Also where the state would not have been saved for long."""
    history = run(on_progress=at(number, by), checkpoint_seconds=checkpoint)
    assert history.interrupted
    assert history.terminated == (by is terminate)
    steps = 0

    def count(_: Progress) -> None:
        nonlocal steps
        steps += 1

    assert_same(run(on_progress=count).output, undisturbed)
    # Nothing is trained twice; a validation may be.
    assert steps <= EPOCHS * (STEPS + 1) - number + 1


@pytest.mark.parametrize("checkpoint", [0.0, 1e9])
def test_ctrl_c_twice_saves_without_a_verdict_and_resume_gets_it(
    run: Run, undisturbed: dict[str, Any], checkpoint: float
) -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    history = run(on_progress=at(IN_VALIDATION, twice), checkpoint_seconds=checkpoint)
    assert history.interrupted
    assert lines(history.output / "metrics.csv")[1]["validation_accuracy"] == ""
    assert_same(run().output, undisturbed)


def test_the_part_of_an_epoch_that_ctrl_c_ended_has_its_line_until_the_run_goes_on(
    run: Run, undisturbed: dict[str, Any]
) -> None:
    history = run(on_progress=at(IN_EPOCH, interrupt))
    assert history.interrupted
    parts = lines(history.output / "metrics.csv")
    # 36 of the first epoch, three batches of five of the second
    assert [(line["epoch"], line["pictures"]) for line in parts] == [("1", "36"), ("2", "51")]
    assert parts[1]["validation_accuracy"] != ""
    assert_same(run().output, undisturbed)


def accuracies(monkeypatch: pytest.MonkeyPatch, wrong: list[int]) -> None:
    """Have so many of the 18 validation pictures judged wrong, each time that they are judged."""

    def judged(*arguments: Any, **settings: Any) -> Report:
        report = evaluate(*arguments, **settings)
        answers = (report.labels + (np.arange(18) < wrong.pop(0))) % 3
        return replace(report, probabilities=np.eye(3, dtype=np.float32)[answers])

    monkeypatch.setattr(validation, "evaluate", judged)


def test_a_part_of_an_epoch_is_not_the_best_of_a_run_that_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where it was the best when Ctrl-C ended it: it is no part of the run any more."""
    accuracies(monkeypatch, [5, 4, 9, 9, 9, 9])
    expected = outcome(run("plain").output)
    assert expected["run"]["best_validation_top1"] == 14 / 18
    accuracies(monkeypatch, [5, 4, 0])
    part = run(on_progress=at(IN_EPOCH + STEPS + 1, interrupt))
    assert part.interrupted
    best, last = (load_file(part.output / f"{name}.safetensors") for name in ("best", "last"))
    assert all(torch.equal(best[name], last[name]) for name in best)
    accuracies(monkeypatch, [9, 9, 9, 9, 4])  # the last one is that of the best, judged again
    assert_same(run().output, expected)


def test_ctrl_c_on_a_run_that_was_taken_up_judges_the_best_weights_though_they_are_of_before(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies(monkeypatch, [4])
    run(on_progress=at(IN_EPOCH, terminate))
    accuracies(monkeypatch, [9, 4])  # the part's, and that of the best, judged again
    history = run(on_progress=at(2, interrupt))
    assert history.interrupted
    assert history.best is not None
    assert history.best.top(1) == 14 / 18


def test_a_part_that_the_clock_ended_is_not_the_best_of_a_run_that_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies(monkeypatch, [5, 4, 9, 9, 9, 9])
    expected = outcome(run("plain").output)
    end = 2 * STEPS + 3
    share = Limit.share
    monkeypatch.setattr(Limit, "share", lambda limit, steps: 1.0 if steps >= end else share(limit, steps))
    accuracies(monkeypatch, [5, 4, 0])
    part = run()
    assert (len(part.epochs), part.interrupted) == (3, False)
    monkeypatch.setattr(Limit, "share", share)
    accuracies(monkeypatch, [9, 9, 9, 9, 4])  # the last one is that of the best, judged again
    assert_same(run().output, expected)


def test_a_part_that_the_clock_ended_ends_the_run_although_validation_was_quick(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less is kept free for validation then, and time would be left: the rate has come to its end, though."""
    end = 2 * STEPS + 3
    share = Limit.share
    monkeypatch.setattr(Limit, "share", lambda limit, steps: 1.0 if steps == end else share(limit, steps))
    history = run()
    assert [each.pictures for each in history.epochs] == [36, 72, 72 + 3 * 5]


def test_best_weights_that_came_after_the_state_are_none_of_a_run_that_goes_on_otherwise(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies(monkeypatch, [9, 9])
    first = run(on_progress=at(IN_EPOCH, terminate)).output
    expected = (first / "best.safetensors").read_bytes()
    accuracies(monkeypatch, [4, 3])
    with pytest.raises(Killed):
        run(on_progress=at(2 * (STEPS + 1), kill), checkpoint_seconds=1e9)
    assert (first / "best.safetensors").read_bytes() != expected
    accuracies(monkeypatch, [10] * (EPOCHS - 1) + [9])  # the last is that of the best, judged again
    history = run(recipe=replace(RECIPE, learning_rate=0.01), checkpoint_seconds=1e9)
    assert (first / "best.safetensors").read_bytes() == expected
    assert json.loads((first / "run.json").read_text())["best_validation_top1"] == 9 / 18
    assert history.best is not None
    assert history.best.top(1) == 9 / 18
    assert outcome(first)["files"] == FILES


def test_best_weights_of_before_are_not_taken_where_the_state_is_newer(
    run: Run, undisturbed: dict[str, Any]
) -> None:
    """A kill came after the state was saved and before they were removed."""
    folder = run(on_progress=at(IN_EPOCH, terminate)).output
    before = (folder / "best.safetensors").read_bytes()
    assert_same(run().output, undisturbed)
    (folder / "best-before.safetensors").write_bytes(before)
    assert_same(run().output, undisturbed)
    # Another came before the second of both names was there: they are the same file.
    (folder / "best-before.safetensors").hardlink_to(folder / "best.safetensors")
    assert_same(run().output, undisturbed)


def test_best_weights_that_are_gone_are_those_of_the_next_epoch(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies(monkeypatch, [4, 9, 8])
    folder = run(on_progress=at(IN_EPOCH, terminate)).output
    (folder / "best.safetensors").unlink()
    run(on_progress=at(2 * (STEPS + 1), terminate))
    described = json.loads((folder / "run.json").read_text())
    assert described["best_validation_top1"] == 10 / 18
    assert load_weights(folder / "best.safetensors").metrics["validation_top1"] == 10 / 18


def test_best_weights_of_what_was_thrown_away_give_way_to_any(run: Run) -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    folder = run(on_progress=at(2, terminate)).output
    with pytest.raises(Killed):
        run(on_progress=at(STEPS + 1, kill), checkpoint_seconds=1e9)
    other = replace(RECIPE, learning_rate=0.01)
    assert run(recipe=other, on_progress=at(1, twice), checkpoint_seconds=1e9).interrupted
    assert (folder / "best.safetensors").read_bytes() == (folder / "last.safetensors").read_bytes()


@pytest.mark.parametrize("step", [1, 7])  # of the third epoch, at whose end the mean would begin to count
def test_what_is_saved_is_what_was_judged(run: Run, pictures: Path, step: int) -> None:
    history = run(on_progress=at(2 * (STEPS + 1) + step, interrupt))
    told = history.epochs[-1]
    assert told.validation_loss is not None
    weights = load_weights(history.output / "last.safetensors")
    classifier = torch_classifier(weights, device=torch.device("cpu"), precision=torch.float32)
    report = evaluate(classifier, open_dataset(pictures).validation)
    assert report.loss == pytest.approx(told.validation_loss, rel=1e-5)
    assert report.top(1) == told.validation_accuracy == weights.metrics["validation_top1"]


def test_a_state_that_is_not_finite_is_not_kept(
    run: Run, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    def poisoned(forward: Any, optimizer: Any, *given: Any, **settings: Any) -> Any:
        nonlocal steps
        steps += 1
        found = training_step(forward, optimizer, *given, **settings)
        if steps == 4:
            with torch.no_grad():
                next(optimizer.parameters()).fill_(torch.nan)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(loop, "training_step", poisoned)
        with pytest.raises(TrainingError, match="the loss is nan at step 4"):
            run()
    assert_same(run().output, undisturbed)


def test_what_was_found_about_twins_is_still_known(run: Run) -> None:
    plain = run("plain")
    assert any("look like one to train on" in each for each in plain.warnings)
    with pytest.raises(Killed):
        run(on_progress=at(IN_VALIDATION, kill))
    assert run().warnings == plain.warnings


@pytest.mark.parametrize("by", [interrupt, terminate])
@pytest.mark.parametrize("number", [STEPS, STEPS + 1])  # the last step of the first epoch, and its validation
def test_twins_are_looked_for_again_where_a_signal_stopped_that(
    run: Run, by: Callable[[], None], number: int
) -> None:
    expected = run("plain").warnings
    assert run(on_progress=at(number, by)).interrupted
    notices: list[str] = []
    assert run(on_notice=notices.append).warnings == expected
    assert notices == [each for each in expected if "look like one to train on" in each] != []


def test_validation_that_sigterm_cuts_off_is_not_in_metrics(run: Run) -> None:
    """It would be a line without a verdict for an epoch that will have one."""
    history = run(on_progress=at(IN_VALIDATION, terminate))
    assert history.terminated
    assert len(lines(history.output / "metrics.csv")) == 1


# --- a state that is damaged ------------------------------------------------------------------------------


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, flip])
def test_with_the_newest_state_damaged_it_goes_on_from_the_one_before(
    run: Run, undisturbed: dict[str, Any], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    with pytest.raises(Killed):
        run(on_progress=at(IN_EPOCH, kill))
    damage(tmp_path / "run" / "state.safetensors")
    told: list[str] = []
    assert_same(run(on_notice=told.append).output, undisturbed)
    damaged = [line for line in told if "damaged" in line]
    assert len(damaged) == 1
    assert "going on from state-before.safetensors" in damaged[0]


def test_with_the_state_damaged_in_its_first_epoch_and_none_before_it_is_an_error(
    run: Run, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(on_progress=at(2, kill))  # the first step's state is saved after the first is told of
    cut_short(tmp_path / "run" / "state.safetensors")
    with pytest.raises(TrainingError, match="nothing is left to go on from"):
        run()


# --- what may change and what may not ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"recipe": replace(RECIPE, dropout=0.25)}, "recipe.dropout was 0.5 and is now 0.25"),
        ({"recipe": replace(RECIPE, clip_norm=2.0)}, "recipe.clip_norm was 1.0 and is now 2.0"),
        ({"recipe": replace(RECIPE, batch_size=6)}, "recipe.batch_size was 5 and is now 6"),
        ({"seed": 2}, "seed was 1 and is now 2"),
        ({"precision": "bf16"}, "precision was float32 and is now bfloat16"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_setting_is_an_error_that_names_it(run: Run, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(Killed):
        run(on_progress=at(3, kill))
    with pytest.raises(TrainingError) as caught:
        run(**settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_network_is_an_error_that_names_what_is_other(run: Run, small: Network) -> None:
    with pytest.raises(Killed):
        run(on_progress=at(3, kill))
    with pytest.raises(TrainingError, match="network"):
        run(network=edit(small, "fc1.units=25"))


@pytest.mark.parametrize("change", ["added", "gone", "renamed", "class"])
def test_other_pictures_are_an_error_that_names_them(
    run: Run, paint: Callable[..., Path], tmp_path: Path, change: str
) -> None:
    folder = paint(tmp_path / "photos")
    with pytest.raises(Killed):
        run(data=open_dataset(folder), on_progress=at(3, kill))
    first = folder / "red" / "00.png"
    match change:
        case "added":
            (folder / "red" / "more.png").write_bytes(first.read_bytes())
        case "gone":
            first.unlink()
        case "renamed":
            first.rename(folder / "red" / "other.png")
        case _:
            first.rename(folder / "blue" / "other.png")
    with pytest.raises(TrainingError, match=r"another run: data\.\S+ was"):
        run(data=open_dataset(folder))


def test_the_same_pictures_by_another_path_go_on(
    run: Run, paint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = paint(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Killed):
        run(data=open_dataset("photos"), on_progress=at(3, kill))
    with pytest.raises(Killed):
        run(data=open_dataset(folder), on_progress=at(3, kill))
    monkeypatch.chdir(folder)
    with pytest.raises(Killed):
        run(data=open_dataset("."), on_progress=at(3, kill))
    monkeypatch.chdir(tmp_path)
    folder.rename("moved")
    history = run(data=open_dataset("moved"))
    assert len(history.epochs) == EPOCHS
    assert json.loads((history.output / "run.json").read_text())["data"]["source"] == "moved"


def test_a_folder_in_which_another_trains_is_left_to_it(
    run: Run, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(on_progress=at(3, kill))
    before = outcome_files(tmp_path / "run")
    with locked(tmp_path / "run"), pytest.raises(TrainingError) as caught:
        run()
    assert str(caught.value).startswith(f"{tmp_path / 'run'}: another process trains there")
    assert outcome_files(tmp_path / "run") == before
    assert_same(run().output, undisturbed)


def outcome_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_more_epochs_and_another_rate_may_be_asked_for(run: Run) -> None:
    run()
    history = run(epochs=EPOCHS + 2, recipe=replace(RECIPE, learning_rate=0.01))
    assert [each.epoch for each in history.epochs] == list(range(1, EPOCHS + 3))
    written = [line["epoch"] for line in lines(history.output / "metrics.csv")]
    assert written == [str(each.epoch) for each in history.epochs]
    # In the last step but eight of 64: half a cosine, behind 5 % for warming up
    share = ((7 * STEPS - 0.5) / (8 * STEPS) - 0.05) / 0.95
    assert history.epochs[6].learning_rate == pytest.approx(0.01 * 0.5 * (1 + np.cos(np.pi * share)))


def test_fewer_epochs_than_it_has_end_the_run(run: Run) -> None:
    with pytest.raises(Killed):
        run(on_progress=at(2 * (STEPS + 1) + 3, kill))
    history = run(epochs=2)
    assert len(history.epochs) in (2, 3)
    assert history.best is not None


# --- a run that is over, and one that has not begun -------------------------------------------------------


def no_training(*_arguments: object, **_settings: object) -> Any:
    pytest.fail("it was over, and trained")


def test_a_run_that_is_over_gives_its_result_again(
    run: Run, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run()
    monkeypatch.setattr(loop, "training_step", no_training)
    again = run()
    assert_same(again.output, undisturbed)
    assert first.best is not None
    assert again.best is not None
    np.testing.assert_array_equal(again.best.probabilities, first.best.probabilities)
    assert (again.epochs, again.steps) == (first.epochs, first.steps)
    assert (again.pictures, again.skipped, again.warnings) == (first.pictures, first.skipped, first.warnings)
    assert not again.interrupted


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [None, 100_000])
def test_a_run_that_the_clock_ended_gives_its_result_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, epochs: int | None
) -> None:
    """Whether the end came within an epoch or not, and although no state was due so soon."""
    limit = 2.0
    first = run(epochs=epochs, time_limit=limit, checkpoint_seconds=1e9)
    expected = outcome(first.output)
    monkeypatch.setattr(loop, "training_step", no_training)
    again = run(epochs=epochs, time_limit=limit)
    assert_same(again.output, expected)
    assert again.pictures == first.pictures
    assert again.best is not None
    assert first.best is not None
    assert again.best.top(1) == first.best.top(1)


@pytest.mark.parametrize(("act", "code"), [(terminate, (True, True)), (interrupt, (True, False))])
def test_a_signal_while_the_best_are_judged_again_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], code: tuple[bool, bool]
) -> None:
    expected = outcome(run().output)

    def judging(*arguments: Any, **settings: Any) -> Report:
        act()
        act()
        return evaluate(*arguments, **settings)

    monkeypatch.setattr(validation, "evaluate", judging)
    history = run()
    assert history.best is None
    assert (history.interrupted, history.terminated) == code
    assert_same(history.output, expected)


def test_a_run_whose_best_weights_are_gone_says_so(run: Run) -> None:
    folder = run().output
    (folder / "best.safetensors").unlink()
    notices: list[str] = []
    assert run(on_notice=notices.append).best is None
    assert (
        notices[-1] == f"{folder / 'best.safetensors'}: not the weights that were judged best; they are gone"
    )


def test_a_run_that_patience_ended_gives_its_result_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies(monkeypatch, [5, 9, 9])
    first = run(epochs=50, patience=1)
    assert len(first.epochs) == 2
    expected = outcome(first.output)
    monkeypatch.setattr(loop, "training_step", no_training)
    accuracies(monkeypatch, [5])
    assert_same(run(epochs=50, patience=1).output, expected)


@pytest.mark.slow
def test_a_longer_time_limit_lets_it_go_on_from_where_it_was(run: Run) -> None:
    first = run(epochs=None, time_limit=1.0)
    again = run(epochs=None, time_limit=first.seconds + 1.0)
    assert again.pictures > first.pictures
    epochs = [each.epoch for each in again.epochs]
    assert epochs == list(range(1, len(epochs) + 1))
    whole = [each.pictures for each in again.epochs[:-1]]
    assert whole == [36 * epoch for epoch in epochs[:-1]]


def test_without_a_run_in_the_folder_it_starts_anew(
    run: Run, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    assert_same(run().output, undisturbed)


def test_a_folder_with_something_else_in_it_is_not_written_into(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        run()
    assert (tmp_path / "run" / "best.safetensors").read_text() == "mine"


def test_without_resume_a_run_s_folder_is_not_written_into(run: Run) -> None:
    before = outcome(run().output)
    with pytest.raises(OutputError, match="not empty"):
        run(resume=False)
    assert outcome(run().output) == before


def test_what_was_being_written_when_it_was_killed_does_not_stay(
    run: Run, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(on_progress=at(IN_EPOCH, kill))
    for name in FILES | {"state-before.safetensors", "state-next.safetensors", "division.json"}:
        (tmp_path / "run" / f".{name}.abcd1234").write_bytes(b"half")
        (tmp_path / "run" / f".{name}.link").write_bytes(b"half")
    (tmp_path / "run" / ".tmpAb1cD2").write_bytes(b"half")
    assert_same(run().output, undisturbed)


# --- pictures that cannot be read -------------------------------------------------------------------------


def test_an_epoch_whose_last_batch_cannot_be_read_is_a_whole_one(
    run: Run, paint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So its state is saved, and the run that ended with it is over."""
    folder = tmp_path / "photos"
    paint(folder / "train", count=7)
    paint(folder / "val", count=2)
    orders: list[int] = [int(np.random.default_rng((1, epoch)).permutation(21)[-1]) for epoch in (1, 2)]
    names = open_dataset(folder).train.names
    for index in orders:
        Path(names[index]).write_bytes(b"not a picture")
    settings: dict[str, Any] = {"epochs": 2, "most_unreadable": 0.2, "checkpoint_seconds": 1e9}
    first = run(data=open_dataset(folder), **settings)
    assert len(first.skipped) == len(set(orders))
    monkeypatch.setattr(loop, "training_step", no_training)
    again = run(data=open_dataset(folder), **settings)
    assert [each.pictures for each in again.epochs] == [each.pictures for each in first.epochs]
    assert again.skipped == first.skipped


def test_what_is_replaced_here_is_what_a_run_uses() -> None:
    """Or the tests here that replace it would see nothing."""
    assert vars(loop)["training_step"] is training_step
    assert vars(validation)["evaluate"] is evaluate


# --- processes that are killed ----------------------------------------------------------------------------

_SERVER = """
import json, os, sys
import alexnet.cli, alexnet.learning.report_figures, alexnet.learning.shard_feed
import alexnet.learning.torchvision, alexnet.learning.train, alexnet.terminal
import matplotlib.figure, matplotlib.backends.backend_svg, tensorboardX, torch._dynamo
for line in sys.stdin:
    told = json.loads(line)
    child = os.fork()
    if child == 0:
        file = os.open(told["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.environ.update(told["environment"])
        alexnet.cli.app(told["arguments"], prog_name="alexnet")
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs commands in forks of itself, one at a time: importing torch takes longer than all that they do."""


class Process(Protocol):
    """One that was started."""

    pid: int

    def ended(self) -> bool: ...

    def wait(self) -> int:
        """Its exit code, negative for a signal."""

    def said(self) -> str:
        """On stdout and stderr."""


class Forked:
    def __init__(self, server: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
        assert server.stdin is not None
        assert server.stdout is not None
        self._answers, self._stderr = server.stdout, Path(request["stderr"])
        server.stdin.write(json.dumps(request).encode() + b"\n")
        self.pid = int(self._answers.readline())

    def ended(self) -> bool:
        return bool(select([self._answers], [], [], 0)[0])

    def wait(self) -> int:
        return int(self._answers.readline())

    def said(self) -> str:
        return self._stderr.read_text()


class Command:
    def __init__(self, command: list[str], environment: dict[str, str], stderr: Path) -> None:
        self._stderr = stderr
        with stderr.open("wb") as file:
            self._process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        self.pid = self._process.pid

    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> int:
        return self._process.wait()

    def said(self) -> str:
        return self._stderr.read_text()


Start = Callable[..., Process]


@pytest.fixture(scope="module")
def server(python: tuple[list[str], dict[str, str]]) -> Iterator[subprocess.Popen[bytes]]:
    command, environment = python
    environment = environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, "-c", _SERVER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def start(
    server: subprocess.Popen[bytes],
    python: tuple[list[str], dict[str, str]],
    small: Network,
    pictures: Path,
    cache: Path,
    tmp_path: Path,
) -> Start:
    """Start `alexnet train`: as a command of its own where `plainly`, else in a process that is there."""
    network = tmp_path / "small.toml"
    network.write_text(to_toml(small))
    names = ("jitter", "colour_noise", "cutmix", "averaging", "smallest_side")
    recipe = {name: getattr(RECIPE, name) for name in names}

    def start(output: Path, *more: str, plainly: bool = False, cache: Path = cache) -> Process:
        arguments = ["train", str(pictures), "--network", str(network), "--output", str(output), "--resume"]
        arguments += ["--batch-size", "5", "--lr", "0.03", "--precision", "fp32", "--workers", "1"]
        arguments += ["--seed", "1", "--checkpoint", "0s", "--epochs", str(EPOCHS)]
        arguments += [f"--with={name}={value}" for name, value in recipe.items()]
        arguments += more
        own, stderr = {"ALEXNET_CACHE": str(cache)}, tmp_path / "stderr"
        if not plainly:
            return Forked(server, {"arguments": arguments, "stderr": str(stderr), "environment": own})
        command, environment = python
        environment = environment | own | {"OMP_NUM_THREADS": "1"}
        return Command([*command, "-m", "alexnet", *arguments], environment, stderr)

    return start


def done(process: Process) -> str:
    """Wait for one that must succeed, and what it said."""
    assert process.wait() == 0, process.said()
    return process.said()


def refusal(process: Process) -> str:
    """Wait for one that must end with an error of one line."""
    code = process.wait()
    said = process.said().splitlines()
    assert code == 2, said
    assert [line for line in said if line.startswith("alexnet: ")] == said[-1:]
    assert not any("Traceback" in line for line in said), said
    return said[-1].removeprefix("alexnet: ")


def newest(folder: Path) -> tuple[int, int] | None:
    """How many epochs and steps the newest state has, read as the format has it; None without one."""
    for name in ("state-next.safetensors", "state.safetensors"):
        try:
            with (folder / name).open("rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        except FileNotFoundError:
            continue
        described = json.loads(header["__metadata__"]["alexnet"])
        return len(described["epochs"]), described["step"]
    return None


def aside(folder: Path) -> list[str]:
    """What is being written, or was when it was killed."""
    return [path.name for path in folder.glob(".*")]


Moment = Callable[[], bool]


def seconds_after(seconds: float) -> Moment:
    begin = perf_counter()
    return lambda: perf_counter() - begin > seconds


def states_after(folder: Path, number: int) -> Moment:
    """After so many states have been written."""
    seen = {newest(folder), None}

    def come() -> bool:
        seen.add(newest(folder))
        return len(seen) > number + 1

    return come


def in_validation(folder: Path) -> Moment:
    first = newest(folder)

    def come() -> bool:
        now = newest(folder)
        return now is not None and now != first and now[1] == STEPS

    return come


def in_writing(folder: Path, beginning: str) -> Moment:
    """While a file whose name begins so is being written."""
    left = set(aside(folder))
    return lambda: any(name.startswith(f".{beginning}") for name in aside(folder) if name not in left)


def stop_at(process: Process, moment: Moment, number: signal.Signals) -> bool:
    """Send the signal at that moment; whether it came before the process had ended."""
    while not moment():
        if process.ended():
            return False
    os.kill(process.pid, number)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_killed_twenty_times_at_any_moment_it_ends_as_if_it_had_not_been(
    start: Start, tmp_path: Path, seed: int
) -> None:
    epochs = "--epochs", "18"
    done(start(tmp_path / "undisturbed", *epochs))
    expected, folder, random = outcome(tmp_path / "undisturbed"), tmp_path / "run", Random(seed)
    kinds: list[Callable[[], Moment]] = [
        *[lambda: seconds_after(random.uniform(0.0, 0.03))] * 3,
        *[lambda: seconds_after(random.uniform(0.0, 0.3))] * 4,
        *[lambda: states_after(folder, random.randint(1, 4))] * 5,
        *[lambda: in_validation(folder)] * 4,
        *[lambda: in_writing(folder, random.choice(["state", "tmp", "tmp", "last", "metrics", "run"]))] * 8,
    ]
    random.shuffle(kinds)
    hit: list[str] = []
    for number, moment in enumerate(kinds):
        before, left = newest(folder), set(aside(folder))
        process = start(folder, *epochs, plainly=number in (3, 8))
        if not stop_at(process, moment(), signal.SIGKILL):
            break
        assert process.wait() == -signal.SIGKILL, process.said()
        state = newest(folder)
        hit.append(
            "writing"
            if set(aside(folder)) - left
            else "start"
            if state == before
            else "validation"
            if state is not None and state[1] == STEPS
            else "epoch"
        )
    assert len(hit) >= 20, hit
    assert set(hit) == {"start", "epoch", "validation", "writing"}, hit
    done(start(folder, *epochs))
    assert_same(folder, expected)


@pytest.mark.slow
def test_sigterm_saves_the_state_and_says_how_to_go_on(
    start: Start, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = start(folder, plainly=True)
    assert stop_at(process, states_after(folder, STEPS + 3), signal.SIGTERM)
    assert process.wait() == 143
    last = process.said().splitlines()[-1]
    assert last == f"stopped; its state is saved: the same command with --resume --output {folder} goes on"
    described = json.loads((folder / "run.json").read_text())
    assert described["interrupted"]
    assert described["pictures_trained"] >= 36 + 3 * 5  # those of the epoch that had not ended, too
    done(start(folder))
    assert_same(folder, undisturbed, without=("files",))


@pytest.mark.slow
def test_ctrl_c_judges_what_there_is_and_a_resumed_run_forgets_it(
    start: Start, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = start(folder)
    assert stop_at(process, states_after(folder, STEPS + 3), signal.SIGINT)
    assert process.wait() == 130
    assert "validation: top-1" in process.said()
    assert "interrupted" in process.said()
    last = lines(folder / "metrics.csv")[-1]
    assert (int(last["pictures"]) % 36, bool(last["validation_accuracy"])) != (0, False)
    done(start(folder))
    assert_same(folder, undisturbed, without=("files",))


@pytest.mark.slow
def test_a_run_that_is_over_says_its_result_again(start: Start, tmp_path: Path) -> None:
    first, again = done(start(tmp_path / "run")), done(start(tmp_path / "run"))
    results = [
        [line.partition(" pictures, ")[0] for line in said.splitlines() if line.startswith("validation: ")]
        for said in (first, again)
    ]
    assert results[0] == results[1]
    assert len(results[0]) == 1
    assert "training " not in again


@pytest.mark.slow
def test_damaged_states_are_told_on_stderr_and_both_are_an_error(
    start: Start, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = start(folder)
    assert stop_at(process, states_after(folder, STEPS), signal.SIGTERM)
    process.wait()
    both = [folder / "state.safetensors", folder / "state-before.safetensors"]
    kept = [path.read_bytes() for path in both]
    for path in both:
        cut_short(path)
    told = refusal(start(folder))
    assert all(f"{path}: damaged" in told for path in both)
    assert told.endswith("start the run anew")
    both[1].write_bytes(kept[1])
    said = done(start(folder))
    assert f"{both[0]}: damaged" in said
    assert "going on from state-before.safetensors" in said
    assert_same(folder, undisturbed, without=("files",))


@pytest.mark.slow
def test_another_recipe_and_another_picture_are_refused_in_one_line(
    start: Start, pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = start(folder)
    assert stop_at(process, states_after(folder, 2), signal.SIGKILL)
    process.wait()
    told = refusal(start(folder, "--with", "dropout=0.25"))
    assert told.startswith(f"{folder / 'run.json'}: another run: recipe.dropout was 0.5 and is now 0.25; ")
    more = pictures / "train" / "red" / "more.png"
    more.write_bytes((pictures / "train" / "red" / "01.png").read_bytes())
    try:
        assert "data.pictures.train was" in refusal(start(folder))
    finally:
        more.unlink()
    done(start(folder))


# --- a disk that is full ----------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 50 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, *, but: int = 0) -> Path:
    """Write a file until nothing more fits, or all but so many bytes."""
    path = disk / "other people's"
    chunk = bytes(1 << 16)
    with path.open("ab", buffering=0) as file:
        with suppress(OSError):
            while file.write(chunk) == len(chunk):
                pass
        file.truncate(file.tell() - but)
    return path


@pytest.mark.slow
def test_a_disk_that_fills_ends_the_run_and_with_room_it_goes_on(
    start: Start, undisturbed: dict[str, Any], disk: Path
) -> None:
    folder = disk / "run"
    fill(disk, but=2_000_000)
    process = start(folder)
    moment = states_after(folder, STEPS + 3)
    while not moment():
        assert not process.ended()
    other = fill(disk)
    told = refusal(process)
    assert "cannot be written: " in told
    assert "No space left on device" in told
    assert aside(folder) == []
    state = load_file(folder / "state.safetensors")
    assert all(tensor.isfinite().all() for tensor in state.values())
    # Nor can it go on while there is no room; and that costs it nothing.
    assert "No space left" in refusal(start(folder))
    for name, tensor in load_file(folder / "state.safetensors").items():
        assert torch.equal(tensor, state[name])
    other.unlink()
    done(start(folder))
    assert_same(folder, undisturbed, without=("files",))


@pytest.mark.slow
def test_with_no_room_for_decoded_pictures_it_decodes_them_every_time(
    start: Start, undisturbed: dict[str, Any], disk: Path, tmp_path: Path
) -> None:
    fill(disk)
    said = done(start(tmp_path / "run", cache=disk))
    for name in ("muddled-train", "muddled-validation"):
        told = [line for line in said.splitlines() if line.startswith(f"{name}: no room in ")]
        assert len(told) == 1, said
        assert told[0].endswith("; what is not kept is decoded every time")
    assert_same(tmp_path / "run", undisturbed, without=("files",))
