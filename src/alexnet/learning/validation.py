"""The pictures that a run judges its weights by, and how its processes do that together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from alexnet.images.splits import Split
from alexnet.learning.evaluate import Report, evaluate
from alexnet.learning.processes import Processes
from alexnet.learning.source import Centres, Indices
from alexnet.learning.weights import Weights, torch_classifier


@dataclass(kw_only=True, eq=False)
class Validation:
    """The validation pictures, on a run's device; state that lives as long as the run."""

    pictures: Split
    centres: Centres | None  # the same as the view has them, where they are kept so
    device: torch.device
    precision: torch.dtype
    workers: int
    processes: Processes
    end_decoding: Callable[[], None] = lambda: None  # ahead; to be called before the first judging
    _unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def split(self) -> Split:
        """What is judged by: the centres, where there are those."""
        return self.centres.split if self.centres is not None else self.pictures

    @property
    def part(self) -> Indices:
        """Which of them this process judges: all, where they are few."""
        every = np.arange(len(self.pictures))
        return every[self.processes.rank :: self.processes.count] if self._is_shared else every

    @property
    def _is_shared(self) -> bool:
        count = self.processes.count
        return count > 1 and len(self.pictures) >= 4 * count

    @property
    def decoded(self) -> int:
        """How many need not be decoded any more, as far as is known."""
        return self.centres.packed.packed if self.centres is not None else 0

    @contextmanager
    def decoded_ahead(self) -> Iterator[None]:
        """Decode this process's part meanwhile, until `end_decoding`."""
        if self.centres is None:
            yield
            return
        with self.centres.decoded_ahead(self.part) as self.end_decoding:
            yield

    def judge(self, weights: Weights, *, on_progress: Callable[[int], None]) -> Report:
        """By all processes together; KeyboardInterrupt in each where `on_progress` raised it in one."""
        report = None
        with suppress(KeyboardInterrupt):
            report = self.judge_alone(weights, on_progress=on_progress, part=self.part)
        (stopped,) = self.processes.any_of(report is None)
        if report is None or stopped:
            raise KeyboardInterrupt
        return self._joined(report) if self._is_shared else self.processes.agree_on(lambda: report)

    def judge_alone(
        self, weights: Weights, *, on_progress: Callable[[int], None], part: Indices | None = None
    ) -> Report:
        """By this process: all pictures, or a part of them."""
        split = self.split
        if part is not None and len(part) < len(split):
            split = split.subset(part.tolist())
        return evaluate(
            torch_classifier(weights, device=self.device, precision=self.precision),
            split,
            prepared=self.centres is not None,
            workers=self.workers,
            on_progress=on_progress,
            on_unreadable=lambda index, message: self._leave_out(split.names[index], message),
        )

    def _joined(self, report: Report) -> Report:
        """The report on all pictures, from each process's on its part."""
        assert report.indices is not None
        parts = self.processes.gather((self.part[report.indices], report.labels, report.probabilities))
        indices, labels, probabilities = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.argsort(indices)
        return replace(
            report, indices=indices[order], labels=labels[order], probabilities=probabilities[order]
        )

    def unreadable(self) -> dict[str, str]:
        """The pictures that this process found it cannot read, by name, and why."""
        if self.centres is not None:
            for index, message in self.centres.packed.unreadable():
                self._leave_out(self.pictures.names[index], message)
        return self._unreadable

    def _leave_out(self, name: str, message: str) -> None:
        self._unreadable[name] = message.removeprefix(f"{name}: ")
