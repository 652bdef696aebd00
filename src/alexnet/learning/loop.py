"""The loop of a run, plainly: what an epoch does, when the run ends, what is saved and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from math import nan
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.architecture.network import Network
from alexnet.errors import DataError, TrainingError
from alexnet.images.splits import Dataset
from alexnet.images.views import View
from alexnet.learning import runs
from alexnet.learning.evaluate import Report
from alexnet.learning.events import Events
from alexnet.learning.feed import Feed
from alexnet.learning.fused import FusedForward
from alexnet.learning.interrupts import Interrupts
from alexnet.learning.model import AlexNet
from alexnet.learning.progress import Limit, Phase, Progress, Tally
from alexnet.learning.recipe import DEFAULT, Plateau, cosine
from alexnet.learning.sizes import Size, picture_sizes, size_at, work_done
from alexnet.learning.source import find_twins
from alexnet.learning.state import State, remove_before, save_state
from alexnet.learning.step import (
    Loss,
    chance,
    class_weights,
    least_loss,
    make_optimizer,
    training_step,
)
from alexnet.learning.validation import Validation
from alexnet.learning.weights import Weights, load_weights, save_weights
from alexnet.learning.weights_file import read_metrics
from alexnet.writing import link_whole, printable

STEPS_A_LINE = 10  # of steps.csv
AVERAGED_EVERY = 8  # steps between additions to the weights' running mean: each costs as much as a copy
CHANCE_STEPS = 2000  # after which the loss must have left chance; in short runs after a third of their steps
_CHANCE_LEAST = 200
_CHANCE_LINES = 10  # of steps.csv, whose mean is looked at
_LEFT_CHANCE = 0.99  # of the loss of guessing by frequency


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """What a run came to."""

    output: Path  # its folder
    network: Network  # with the data's classes
    view: View  # how a picture becomes its input
    settings: runs.Settings
    epochs: tuple[runs.Epoch, ...]
    steps: tuple[runs.Steps, ...]  # the same in finer steps, training only
    best: Report | None  # of best.safetensors on the validation pictures; None if that was interrupted
    pictures: int  # trained on, repeats counted
    seconds: float
    interrupted: bool  # ended by Ctrl-C or SIGTERM
    terminated: bool  # by SIGTERM
    skipped: tuple[tuple[str, str], ...]  # name of each picture that could not be read, and why
    warnings: tuple[str, ...]  # of the data set, and what was found in its pictures


@dataclass(kw_only=True)
class Loop:
    """A run under way."""

    model: AlexNet
    data: Dataset
    feed: Feed
    validation: Validation
    folder: Path
    settings: runs.Settings
    limit: Limit
    precision: torch.dtype
    checkpoint_seconds: float
    on_progress: Callable[[Progress], None]
    on_notice: Callable[[str], None]
    interrupts: Interrupts = field(default_factory=Interrupts)
    events: Events | None = None
    epochs: list[runs.Epoch] = field(default_factory=list)
    lines: list[runs.Steps] = field(default_factory=list)
    best: Report | None = None
    best_top1: float | None = None
    step: int = 0  # done in this epoch
    pictures: int = 0  # trained on in the epochs before
    small_epochs: int = 0  # how many had ended before pictures had grown to the network's own size
    interrupted: bool = False
    over: bool = False
    terminated: bool = False  # by SIGTERM to this or another process: what all of them know
    twins: tuple[str, ...] | None = None  # a line on pictures that are in both splits; None: not looked yet

    def __post_init__(self) -> None:
        recipe, device = self.feed.recipe, self.feed.device
        self.processes = self.feed.processes
        self.tally, self.few = Tally.on(device), Tally.on(device)
        self.optimizer = make_optimizer(self.model, recipe)
        self.sizes = picture_sizes(self.model.network, smallest=recipe.smallest_side)
        forward = FusedForward(self.model, precision=self.precision)
        self.forward = self.processes.share(forward)
        self.average = deepcopy(self.model).requires_grad_(requires_grad=False) if recipe.averaging else None
        counts = self.feed.counts(len(self.data.class_names))
        even = counts is None or recipe.balance != "none"
        counts = np.ones(len(self.data.class_names), np.int64) if counts is None else counts
        self.loss = Loss(
            label_smoothing=recipe.label_smoothing,
            class_weights=class_weights(counts).to(device) if recipe.balance == "weights" else None,
        )
        self.chance = chance(counts, label_smoothing=recipe.label_smoothing, even=even)
        self.least_loss = least_loss(len(counts), label_smoothing=recipe.label_smoothing)
        self.saved_at = perf_counter()

    # --- from the first step to the last

    def to_the_end(self) -> History:
        """Train until the limit, a plateau, an interruption or the end of patience."""
        if self.processes.leads:
            runs.write_division(self.folder, self.data)
        self._describe()
        self._tell_sizes()
        self.over = self._is_over()
        while self.step or not self.over:  # a step: the clock ended the epoch that is gone on with
            self._epoch()
            if self.terminated:
                break
            if self.processes.total_of(self.tally).pictures:
                self._close_epoch()
            else:
                self.over = self._is_over()
            self.step = 0
        if self.terminated:
            self.pictures += self.processes.total_of(self.tally).pictures  # those of the epoch under way, too
            self._describe()
        if not self.epochs and not self.terminated:
            cause = "interrupted" if self.interrupted else "the time limit was reached"
            raise TrainingError(
                f"training: {cause} before its first step; nothing was saved; give it more time"
            )
        if self.processes.leads and not self.interrupted:
            remove_before(self.folder)
        best = self._best_report()  # judging comes across what cannot be read
        skipped = self._skipped()
        if self.processes.leads:
            runs.write_skipped(self.folder, skipped)
        return History(
            output=self.folder,
            network=self.model.network,
            view=self.feed.view,
            settings=self.settings,
            epochs=tuple(self.epochs),
            steps=tuple(self.lines),
            best=best,
            pictures=self.pictures,
            seconds=self.limit.elapsed(),
            interrupted=self.interrupted,
            terminated=self.terminated,
            skipped=skipped,
            warnings=(*self.data.warnings, *(self.twins or ())),
        )

    def _is_over(self) -> bool:
        plateau = self.feed.recipe.schedule == "plateau" and Plateau.after(self._accuracies()).over
        # While it trains on smaller pictures than it is judged by, its accuracy may fall as well as rise.
        accuracies, patience = self._accuracies()[self.small_epochs :], self.settings.patience
        impatient = patience is not None and len(accuracies) - int(np.argmax([*accuracies, -1])) > patience
        return self.interrupted or self._share() >= 1 or impatient or plateau

    def _accuracies(self) -> list[float]:
        return [each.validation_accuracy or 0.0 for each in self.epochs]

    def _steps(self) -> int:
        """Done in the whole run."""
        return len(self.epochs) * self.feed.steps + self.step

    def _share(self, *, ahead: float = 0.0) -> float:
        share = self.limit.share(self._steps() + ahead)
        # Clocks differ, and all processes must end at the same step.
        return self.processes.agree_on(lambda: share) if self.limit.seconds is not None else share

    def _size(self, step: int) -> Size:
        """Of the pictures of a step in this epoch."""
        if len(self.sizes) == 1:
            return self.sizes[0]
        return size_at(self.sizes, self._share(ahead=step - self.step))

    def _tell_sizes(self) -> None:
        smallest = self.feed.recipe.smallest_side
        asked = smallest not in (1, DEFAULT.smallest_side)
        if self.epochs or not self.processes.leads or (len(self.sizes) == 1 and not asked):
            return
        told = [f"{height}x{width}" for height, width in self.sizes]
        grow = f"pictures grow from {' over '.join(told[:-1])} to {told[-1]}"
        one = f"all pictures are {told[-1]}, as network '{self.model.network.name}' takes none between"
        self.on_notice(f"smallest_side={smallest}: {grow if len(told) > 1 else one}")

    def _rate(self) -> float:
        recipe = self.feed.recipe
        if recipe.schedule == "plateau":
            return recipe.learning_rate * Plateau.after(self._accuracies()).factor
        # The rate of the step's middle: neither the first step nor the last is wasted on zero.
        return recipe.learning_rate * cosine(self._share(ahead=0.5), warmup=recipe.warmup)

    def _epoch(self) -> None:
        """Train to the epoch's end, from wherever in it the run stands."""
        self.model.train()
        try:
            epoch = self.feed.epoch(len(self.epochs) + 1, first=self.step, picture_size=self._size)
            with closing(epoch) as batches:
                for batch in batches:
                    self.step = batch.step  # those before had no picture that can be read
                    if self._share() >= 1:
                        if self._steps():
                            self._checkpoint()
                        break
                    self.optimizer.rate = self._rate()
                    loss, right = training_step(
                        self.forward,
                        self.optimizer,
                        batch,
                        loss=self.loss,
                        clip_norm=self.feed.recipe.clip_norm,
                        processes=self.processes.count,
                    )
                    self._count(loss, right, len(batch.labels))
                else:
                    self.step = self.feed.steps  # also where the last has no picture that can be read
                    self.feed.check_readable_by_all()
        except KeyboardInterrupt:
            self.interrupted = True
            if self.terminated:
                return
        self._add_line()

    def _count(self, loss: Tensor, right: Tensor, pictures: int) -> None:
        """What comes after every step: figures, the running mean, a checkpoint, an end that was asked for."""
        for tally in (self.tally, self.few):
            tally.add(loss, right, pictures)
        self.feed.note_step()
        self.step += 1
        line_is_full = self._steps() % STEPS_A_LINE == 0
        if self.average is not None and self._steps() % AVERAGED_EVERY == 0:
            self._add_to_average()
        if line_is_full:
            self._add_line()
            self._estimate_validation()
        # Reading a figure from a GPU waits for it: not at every step.
        if line_is_full or self.feed.device.type == "cpu":
            self._tell("training")
        stop, due = self._asked()
        if stop or due:
            self._checkpoint()
        if stop:
            raise KeyboardInterrupt

    def _asked(self) -> tuple[bool, bool]:
        """Whether to stop, by a signal to any process, and whether to save, by the leading one's clock.

        All processes stop and save at the same step.
        """
        due = self.processes.leads and perf_counter() - self.saved_at >= self.checkpoint_seconds
        interrupted, self.terminated, due = self.processes.any_of(
            self.interrupts.count > 0, self.interrupts.terminated, due
        )
        return interrupted or self.terminated, due

    @torch.no_grad()
    def _add_to_average(self) -> None:
        assert self.average is not None
        decay = self.feed.recipe.averaging**AVERAGED_EVERY if self._average_counts() else 0.0
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def _average_counts(self) -> bool:
        """Whether the mean has gone on for longer than its memory: before, it is a copy of the weights."""
        since_first = self._steps() // AVERAGED_EVERY * AVERAGED_EVERY - AVERAGED_EVERY
        return since_first * (1 - self.feed.recipe.averaging) > 1

    # --- figures

    def _add_line(self) -> None:
        few, pictures = self.processes.total_of(self.few), self.processes.total_of(self.tally).pictures
        if not few.pictures:
            return
        line = runs.Steps(
            pictures=self.pictures + pictures,
            seconds=self.limit.elapsed(),
            learning_rate=self.optimizer.rate,
            train_loss=few.mean_loss(),
            train_accuracy=few.accuracy(),
        )
        self._check(line.train_loss)
        self.lines.append(line)
        if self.events is not None:
            self.events.steps(line)
        self.few = Tally.on(self.feed.device)
        self._check_chance()

    def _check(self, loss: float) -> None:
        if not np.isfinite(loss):
            raise TrainingError(
                f"training: the loss is {loss} at step {self._steps()}; must be finite; "
                f"lower the learning rate (now {self.feed.recipe.learning_rate:g})"
            )

    def _check_chance(self) -> None:
        steps, recent = self._steps(), self.lines[-_CHANCE_LINES:]
        whole = self.limit.epochs * self.feed.steps if self.limit.epochs is not None else 3 * CHANCE_STEPS
        if steps < max(_CHANCE_LEAST, min(CHANCE_STEPS, whole // 3)):
            return
        loss = sum(each.train_loss for each in recent) / len(recent)
        if loss > self.least_loss + _LEFT_CHANCE * (self.chance - self.least_loss):
            rate = self.feed.recipe.learning_rate
            raise TrainingError(
                f"training: after {steps} steps the loss is {loss:.3f}, no better than guessing's "
                f"{self.chance:.3f}; it must have left that by now; try --lr {rate / 4:g} or "
                f"--lr {rate * 2:g}, and look whether each picture lies in its class's folder"
            )

    def _estimate_validation(self) -> None:
        if not self.epochs and self.tally.pictures:
            # Not validated yet: a forward pass is taken as a third of a training step.
            self.limit.validation_seconds = len(self.validation.part) / self.tally.rate() / 3

    def _tell(self, phase: Phase) -> None:
        if not self.tally.pictures:  # this process's part had none that can be read
            return
        share = self.limit.share(self._steps())
        self.on_progress(
            Progress(
                phase=phase,
                share=share,
                epoch=len(self.epochs) + 1,
                pictures_per_second=self.tally.rate() * self.processes.count,
                loss=self.tally.mean_loss(),
                accuracy=self.tally.accuracy(),
                validation_accuracy=self.epochs[-1].validation_accuracy if self.epochs else None,
                seconds=self.limit.elapsed(),
                seconds_left=self.limit.left(self._steps(), work_done=partial(work_done, self.sizes)),
            )
        )

    # --- the end of an epoch

    def _close_epoch(self) -> None:
        """Validate, and save what is last and what is best; Ctrl-C meanwhile leaves out the validation."""
        tally = self.processes.total_of(self.tally)
        self._check(tally.mean_loss())
        rate, started = tally.rate(), perf_counter()
        kept = self._kept()
        report, whole = None, self.step == self.feed.steps
        grown = self._size(self.step - 1) == self.sizes[-1]
        try:
            self._tell("interrupted" if self.interrupted else "validation")
            self.validation.end_decoding()
            decoded = self.validation.decoded
            report = self.validation.judge(self._weights(kept, {}), on_progress=self._stop_if_insisted)
            if self.validation.decoded == decoded:  # else the last will not take so long
                self.limit.validation_seconds = perf_counter() - started
        except KeyboardInterrupt:
            self.interrupted = self.over = True
            if whole:  # a run that goes on validates it after all
                self._checkpoint()
            self._asked()
            if self.terminated:
                return
        if report is not None:
            self._check(report.loss)
            self._check_readable()
        self.pictures += tally.pictures
        line = runs.Epoch(
            epoch=len(self.epochs) + 1,
            pictures=self.pictures,
            seconds=self.limit.elapsed(),
            pictures_per_second=rate,
            learning_rate=self.optimizer.rate,
            train_loss=tally.mean_loss(),
            train_accuracy=tally.accuracy(),
            validation_loss=report.loss if report else None,
            validation_accuracy=report.top(1) if report else None,
        )
        self.epochs.append(line)
        self.small_epochs = self.small_epochs if grown else len(self.epochs)
        self.step = 0
        self.tally = Tally.on(self.feed.device)
        if self.events is not None:
            self.events.epoch(line)
        improved = report is not None and (self.best_top1 is None or report.top(1) >= self.best_top1)
        if report is not None and improved:
            self.best, self.best_top1 = report, report.top(1)
        if self.processes.leads and self.twins is None and whole:
            self._look_for_twins()
        stop, due = self._asked()
        self.interrupted = stop or self.interrupted
        if self.processes.leads:
            self._save(kept, best=improved or self.best_top1 is None)
        self.over = self._is_over() or not whole
        # Of an epoch that was cut short, the state is from before this.
        if whole and report is not None and (self.over or due):
            self._checkpoint()

    def _check_readable(self) -> None:
        """Raise DataError, in every process, where more pictures of both splits cannot be read than may be.

        The feed looks at its own at every step.
        """
        found: dict[str, str] = {}
        for part in self.processes.gather(self._unreadable()):
            found |= part
        pictures = self.feed.steps * self.feed.recipe.batch_size + len(self.data.validation)
        if len(found) > self.feed.most_unreadable * pictures:
            name, reason = next(iter(found.items()))
            raise DataError(
                f"{name}: {reason}; {len(found)} of {pictures} pictures cannot be read; at most "
                f"{self.feed.most_unreadable:.0%} may be; mend or remove them, or allow more with "
                "--most-unreadable"
            )

    def _unreadable(self) -> dict[str, str]:
        """What this process found that it cannot read, by name, and why."""
        return self.feed.skipped(self.data.train.names) | self.validation.unreadable()

    def _look_for_twins(self) -> None:
        self.twins = find_twins(
            self.data,
            self.feed.source,
            self.validation.centres,
            go_on=lambda: not (self.interrupts.count or self.interrupts.terminated),
        )
        for each in self.twins or ():
            self.on_notice(each)

    def _kept(self) -> AlexNet:
        """The model that is to be judged and saved, by the steps done so far."""
        return self.average if self.average is not None and self._average_counts() else self.model

    def _weights(self, model: AlexNet, metrics: Mapping[str, Any]) -> Weights:
        return Weights(model=model, class_names=self.data.class_names, view=self.feed.view, metrics=metrics)

    def _stop_if_insisted(self, _: int) -> None:
        if self.interrupts.count > 1 or self.interrupts.terminated:
            raise KeyboardInterrupt

    def _best_report(self) -> Report | None:
        """Of the best weights, judged again where they are of before the run was taken up."""
        if self.best is not None or self.best_top1 is None or self.terminated:
            return self.best
        self.validation.end_decoding()
        stopped = False
        if self.processes.leads:
            try:
                self._stop_if_insisted(0)
                self.best = self.validation.judge_alone(
                    load_weights(self.folder / runs.BEST), on_progress=self._stop_if_insisted
                )
            except KeyboardInterrupt:
                stopped = True
        stopped, terminated = self.processes.any_of(stopped, self.interrupts.terminated)
        self.interrupted = self.interrupted or stopped
        self.terminated = stopped and terminated
        return self.best

    def _skipped(self) -> tuple[tuple[str, str], ...]:
        """What cannot be read, and what could not before and has not been read since."""
        skipped = self.processes.agree_on(lambda: runs.read_skipped(self.folder))
        for part, gone in self.processes.gather((self._unreadable(), self._no_longer(skipped))):
            for name in (*gone, *map(printable, part)):
                skipped.pop(name, None)
            skipped |= part
        return tuple(sorted(skipped.items()))

    def _no_longer(self, skipped: Mapping[str, str]) -> list[str]:
        """Pictures that could not be read before and have been since, by this process, or that have gone."""
        if not skipped:
            return []
        names = list(self.data.train.names)
        aspects = self.feed.source.aspects(np.arange(len(names)))  # those of unreadable ones are not known
        if (centres := self.validation.centres) is not None:
            names += centres.split.names
            aspects = np.concatenate([aspects, centres.packed.aspects])
        places = {printable(name): place for place, name in enumerate(names)}
        streamed = self.feed.drawn.pictures > 0
        return [
            name
            for name in skipped
            if (not streamed if name not in places else not np.isnan(aspects[places[name]]))
        ]

    # --- on disk

    def _save(self, model: AlexNet, *, best: bool) -> None:
        last = self.epochs[-1]
        metrics = {
            "epoch": last.epoch,
            "pictures": last.pictures,
            "validation_top1": last.validation_accuracy,
        }
        save_weights(self.folder / runs.LAST, self._weights(model, metrics))
        if best:
            kept, before = self.folder / runs.BEST, self.folder / runs.BEST_BEFORE
            if kept.exists() and not before.exists():
                # Should the run go on from its state, all that came after that is none of it.
                link_whole(before, kept)
            link_whole(kept, self.folder / runs.LAST)
        runs.write_lines(self.folder / runs.METRICS, self.epochs)
        runs.write_lines(self.folder / runs.STEPS, self.lines)
        self._describe()

    def _describe(self) -> None:
        if not self.processes.leads:
            return
        runs.write_description(
            self.folder,
            self.settings,
            device=str(self.feed.device),
            processes=self.processes.count,
            threads=torch.get_num_threads(),
            workers=self.feed.workers,
            pictures_trained=self.pictures,
            seconds=round(self.limit.elapsed(), 3),
            interrupted=self.interrupted,
            best_validation_top1=self.best_top1,
        )

    def _checkpoint(self) -> None:
        tally, few = (self.processes.total_of(each) for each in (self.tally, self.few))
        # A state that is not finite would be gone on with for ever.
        finite = all(bool(each.isfinite().all()) for each in self.model.parameters())
        self._check((tally.mean_loss() if tally.pictures else 0.0) if finite else nan)
        drawn = tuple(self.processes.gather(self.feed.drawn))
        self.saved_at = perf_counter()
        if not self.processes.leads:
            return
        tensors = {f"model/{name}": each for name, each in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average/{name}": each for name, each in self.average.state_dict().items()}
        for number, momentum in enumerate(self.optimizer.momenta()):
            if momentum is not None:
                tensors[f"momentum/{number}"] = momentum
        save_state(
            self.folder,
            State(
                tensors=tensors,
                step=self.step,
                seconds=self.limit.elapsed(),
                pictures=self.pictures,
                tally=tally,
                few=few,
                epochs=tuple(self.epochs),
                lines=tuple(self.lines),
                best=self.best_top1,
                drawn=drawn,
                learning_rate=self.optimizer.rate,
                validation_seconds=self.limit.validation_seconds,
                twins=self.twins,
                small_epochs=self.small_epochs,
            ),
        )
        (self.folder / runs.BEST_BEFORE).unlink(missing_ok=True)

    @torch.no_grad()
    def take_up(self, state: State) -> None:
        """Go on from there."""
        if any(each.pictures for each in state.drawn):
            if len(state.drawn) != self.processes.count:
                raise TrainingError(
                    f"{self.folder}: the run's stream was shared by {len(state.drawn)} processes and now by "
                    f"{self.processes.count}; must be as many; start as many"
                )
            self.feed.go_on_after(state.drawn[self.processes.rank])
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "momentum": {}}
        for name, tensor in state.tensors.items():
            kind, _, rest = name.partition("/")
            groups[kind][rest] = tensor.to(self.feed.device)
        self.model.load_state_dict(groups["model"])
        if self.average is not None:
            self.average.load_state_dict(groups["average"])
        momenta = groups["momentum"]
        self.optimizer.take_up(
            [
                torch.empty_like(parameter).copy_(momenta[str(number)]) if str(number) in momenta else None
                for number, parameter in enumerate(self.optimizer.parameters())
            ]
        )
        self.step, self.pictures = state.step, state.pictures
        self.best_top1 = state.best if self.processes.agree_on(lambda: self._has_best_of(state)) else None
        if self.best_top1 != state.best and self.processes.leads:
            self.on_notice(f"{self.folder / runs.BEST}: not the weights that were judged best; they are gone")
        self.optimizer.rate = state.learning_rate
        self.limit.validation_seconds, self.twins = state.validation_seconds, state.twins
        self.epochs, self.lines = list(state.epochs), list(state.lines)
        self.small_epochs = state.small_epochs
        self.tally, self.few = state.tally.to(self.feed.device), state.few.to(self.feed.device)
        if not self.processes.leads:  # the sums so far are the leading process's
            self.tally, self.few = Tally.on(self.feed.device), Tally.on(self.feed.device)

    def _has_best_of(self, state: State) -> bool:
        """Whether the best weights up to the state are there; those that came after it are put away."""
        best, before = self.folder / runs.BEST, self.folder / runs.BEST_BEFORE
        as_good = {each.pictures for each in state.epochs if each.validation_accuracy == state.best}
        found = {each: read_metrics(each).get("pictures") in as_good for each in (best, before)}
        if found[before] and not found[best]:
            before.replace(best)
        before.unlink(missing_ok=True)
        return state.best is not None and any(found.values())
