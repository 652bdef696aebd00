"""The processes that train one network together: which of them this is, and what they tell each other.

`torchrun` starts them and says so in the environment; a process that nobody started so is alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import sleep
from typing import TypeVar

import torch
from torch import distributed, nn

from alexnet.errors import AlexNetError, TrainingError
from alexnet.learning.progress import Tally

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Processes:
    """How many there are, and which this is."""

    rank: int = 0  # over all machines
    count: int = 1
    own_gpu: int | None = None  # of this machine's; None where it has fewer than processes

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def part(self, pictures: int) -> slice:
        """This process's part of a batch of so many pictures: even in number but for the last one's.

        >>> [Processes(rank=rank, count=3).part(16) for rank in range(3)]
        [slice(0, 4, None), slice(4, 10, None), slice(10, 16, None)]
        """
        pairs = (pictures + 1) // 2
        start, stop = (2 * (pairs * rank // self.count) for rank in (self.rank, self.rank + 1))
        return slice(min(start, pictures), min(stop, pictures))

    def share(self, forward: nn.Module) -> nn.Module:
        """The module with its gradients averaged over the processes."""
        if self.count == 1:
            return forward
        return nn.parallel.DistributedDataParallel(forward)

    def total_of(self, tally: Tally) -> Tally:
        """The tally of all processes together."""
        if self.count == 1:
            return tally
        loss, right = tally.loss.clone(), tally.right.clone()
        pictures = torch.tensor(tally.pictures, device=loss.device)
        for each in (loss, right, pictures):
            distributed.all_reduce(each)
        return replace(tally, loss=loss, right=right, pictures=int(pictures))

    def any_of(self, *flags: bool) -> tuple[bool, ...]:
        """Whether a process has raised each of these: cheap enough to be asked at every step."""
        if self.count == 1:
            return flags
        told = torch.tensor(flags, dtype=torch.uint8)
        distributed.all_reduce(told, distributed.ReduceOp.MAX)
        return tuple(map(bool, told.tolist()))

    def gather(self, value: Value) -> list[Value]:
        """Every process's value, by rank."""
        if self.count == 1:
            return [value]
        values: list[Value] = [value] * self.count
        distributed.all_gather_object(values, value)
        return values

    def agree_on(self, decide: Callable[[], Value]) -> Value:
        """What the leading process decides; what it raises is raised in every process."""
        if self.count == 1:
            return decide()
        told: list[Value | AlexNetError | None] = [None]
        if self.leads:
            try:
                told = [decide()]
            except AlexNetError as error:
                told = [error]
        distributed.broadcast_object_list(told, src=0)
        if isinstance(told[0], AlexNetError):
            raise told[0]
        return told[0]  # type: ignore[return-value]  # the leading process put it there


ALONE = Processes()


@contextmanager
def processes() -> Iterator[Processes]:
    """Join the processes that `torchrun` started, until the end; alone where it did not.

    Tensors on GPUs go by NCCL, where there is one for each process of this machine; all else goes by Gloo.
    Raises TrainingError where the others cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield ALONE
        return
    try:
        local = int(os.environ["LOCAL_RANK"])
        # Every process must come to the same: not by its own rank.
        gpus = torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        if gpus:
            torch.cuda.set_device(local)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
    except (RuntimeError, ValueError, KeyError) as error:
        raise TrainingError(
            f"training: the other processes cannot be reached ({error}); start all with torchrun"
        ) from None
    try:
        yield Processes(
            rank=distributed.get_rank(),
            count=distributed.get_world_size(),
            own_gpu=local if gpus else None,
        )
    finally:
        # A process aborted at its very end now and then, after all was done: it seems that Gloo's threads
        # still let go of the last tensors, for which they need Python. A moment's wait was enough.
        sleep(0.1)
        distributed.destroy_process_group()
