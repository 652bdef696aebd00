"""train(network, data) -> History: what a run is made of, set up or taken up again where it stopped.

The loop is loop.py's, the folder that it leaves runs.py's, where it stands state.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

import torch

from alexnet.architecture.layers import Conv, Dense
from alexnet.architecture.network import Network
from alexnet.architecture.summary import summarize
from alexnet.errors import TrainingError
from alexnet.images.splits import Dataset
from alexnet.images.views import View
from alexnet.learning import runs
from alexnet.learning.devices import choose_device, choose_precision, prepare
from alexnet.learning.events import Events, event_writer
from alexnet.learning.feed import Feed
from alexnet.learning.interrupts import count_interrupts
from alexnet.learning.loop import History, Loop
from alexnet.learning.model import AlexNet
from alexnet.learning.processes import ALONE, Processes
from alexnet.learning.progress import Limit, Progress
from alexnet.learning.recipe import DEFAULT, Recipe
from alexnet.learning.shard_feed import ShardFeed, Stream, stream_source
from alexnet.learning.source import Statistics, open_centres, open_source, statistics
from alexnet.learning.state import State, load_state
from alexnet.learning.validation import Validation
from alexnet.learning.weights import Weights

__all__ = ["History", "train"]

DEFAULT_EPOCHS = 20
CHECKPOINT_SECONDS = 300.0
_PLATEAU_RUN = 90  # epochs, of a plateau schedule: Krizhevsky et al. 2012 went "roughly 90 times" through


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Weights to start from, and which of them are left as they are."""

    weights: Weights
    source: str  # for run.json
    frozen: str | None = None  # the last layer that is not trained; all before it are not, either


def train(
    network: Network,
    data: Dataset,
    *,
    output: str | Path | None = None,
    recipe: Recipe = DEFAULT,
    epochs: int | None = None,
    time_limit: float | None = None,
    patience: int | None = None,
    transfer: Transfer | None = None,
    stream: Stream | None = None,
    resume: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    most_unreadable: float = 0.05,
    device: str = "auto",
    precision: str = "auto",
    workers: int = 2,
    seed: int = 0,
    processes: Processes = ALONE,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_notice: Callable[[str], None] = lambda _: None,
) -> History:
    """Train `network`, with as many classes as `data` has, and leave a run folder.

    It ends after `epochs` or `time_limit` seconds, whichever is first, and the learning rate's schedule
    follows that; without either, after DEFAULT_EPOCHS; sooner, after `patience` epochs without a better
    validation accuracy. The limit includes validation. Every `checkpoint_seconds` the run's state is saved,
    and with `resume` the run in `output` goes on from there as if it had not stopped, to the last bit on one
    processor's cores. Ctrl-C ends the run early: its weights are judged and saved as they are. SIGTERM saves
    the state and ends it at once. With a `stream`, that is what is trained on, and `data` is for validation.

    On a processor, the process keeps freed memory from then on (`keep_freed_memory`). Raises TrainingError
    for settings out of range or other than those that the run was started with, for a loss that is not
    finite and for one that stays at chance; DataError where more than `most_unreadable` of the training
    pictures cannot be read; and what writing files raises.
    """
    started = perf_counter()
    if epochs is None and time_limit is None:
        epochs = DEFAULT_EPOCHS if recipe.schedule == "cosine" else _PLATEAU_RUN
    _check(epochs=epochs, time_limit=time_limit, patience=patience, seed=seed, network=network)
    if not 0 <= most_unreadable <= 1:
        raise TrainingError(f"most unreadable: {most_unreadable}; must be a share, from 0 to 1")
    if recipe.batch_size < 2 * processes.count and processes.count > 1:
        raise TrainingError(
            f"batch size: {recipe.batch_size} for {processes.count} processes; must be at least 2 for each"
        )
    on = choose_device(device, own_gpu=processes.own_gpu, alone=processes.count == 1)
    chosen_precision = choose_precision(precision, on)
    prepare(on)
    network = network.with_classes(len(data.class_names))
    view = View.of(*network.input[:2], tight=data.tight)
    recipe = _fitting(recipe, data)
    if stream is not None and recipe.balance != "none":
        raise TrainingError(
            f"balance: {recipe.balance} of a stream, whose classes cannot be counted; must be none"
        )
    if stream is None:
        source = open_source(data, view, on_notice=on_notice)
        figures = statistics(source, workers=workers)
    else:
        source, figures = stream_source(stream, view, workers=workers)
    with ExitStack() as held, torch.random.fork_rng(devices=[on] if on.type == "cuda" else []):
        model = _new_model(network, figures, transfer, data.class_names, seed=seed, device=on)
        existed = output is not None and Path(output).exists()
        was_empty = output is None or runs.has_nothing(Path(output))
        runs_existed = output is not None or Path(runs.RUNS).exists()
        settings = runs.Settings(
            network=network,
            data=runs.describe_data(data) | ({"pictures": stream.pictures_an_epoch} if stream else {}),
            recipe=recipe,
            epochs=epochs,
            time_limit=time_limit,
            patience=patience,
            seed=seed,
            precision=str(chosen_precision).removeprefix("torch."),
            start=transfer.source if transfer else None,
            frozen=transfer.frozen if transfer else None,
        )
        folder, state = _open_folder(
            output, data, settings, processes, held, resume=resume, on_notice=on_notice
        )
        make_feed: Callable[..., Feed] = Feed if stream is None else partial(ShardFeed, stream=stream)
        feed = make_feed(
            source=source,
            statistics=figures,
            view=view,
            recipe=recipe,
            seed=seed,
            device=on,
            workers=workers,
            processes=processes,
            most_unreadable=most_unreadable,
        )
        loop = Loop(
            model=model,
            data=data,
            feed=feed,
            validation=Validation(
                pictures=data.validation,
                centres=open_centres(data, view, on_notice=on_notice),
                device=on,
                precision=chosen_precision,
                workers=workers,
                processes=processes,
            ),
            folder=folder,
            settings=settings,
            limit=Limit(
                epochs=epochs,
                seconds=time_limit,
                steps_an_epoch=feed.steps,
                started=started - (state.seconds if state else 0.0),
            ),
            precision=chosen_precision,
            checkpoint_seconds=checkpoint_seconds,
            on_progress=on_progress,
            on_notice=on_notice,
        )
        if state is not None:
            loop.take_up(state)
        try:
            with (
                count_interrupts() as loop.interrupts,
                _events(folder, processes, state, on_notice) as loop.events,
                loop.validation.decoded_ahead(),
            ):
                return loop.to_the_end()
        finally:
            feed.close()
            # Nothing was worth keeping: an unreadable picture, a full disk.
            if processes.leads and was_empty:
                runs.remove_if_worthless(folder, itself=not existed, parent=not runs_existed)


def _check(
    *, epochs: int | None, time_limit: float | None, patience: int | None, seed: int, network: Network
) -> None:
    for name, value in (("epochs", epochs), ("patience", patience)):
        if value is not None and value < 1:
            raise TrainingError(f"{name}: {value}; must be at least 1")
    if time_limit is not None and not time_limit > 0:
        raise TrainingError(f"time limit: {time_limit} s; must be above 0")
    if not 0 <= seed < 1 << 32:
        raise TrainingError(f"seed: {seed}; must be from 0 to {(1 << 32) - 1}")
    network.check_takes_colours()


def _fitting(recipe: Recipe, data: Dataset) -> Recipe:
    """The recipe, less what would take a picture of this data set to another class, or out of its frame.

    Framed pictures are not small first, either: all that is in them has one size, which would be another one
    in the end.
    """
    if not data.mirror:
        recipe = replace(recipe, mirror=False)
    if data.tight:
        crop = "shifted" if recipe.crop == "resized" else recipe.crop
        recipe = replace(recipe, crop=crop, smallest_side=1.0)
    return recipe


def _open_folder(
    output: str | Path | None,
    data: Dataset,
    settings: runs.Settings,
    processes: Processes,
    held: ExitStack,
    *,
    resume: bool,
    on_notice: Callable[[str], None],
) -> tuple[Path, State | None]:
    """The run's folder, and where the run in it stands, which the leading process tells the others.

    The leading process locks it until `held` is closed.
    """

    def leading() -> tuple[Path, State | None]:
        if resume and output is not None and (Path(output) / runs.DESCRIPTION).exists():
            held.enter_context(runs.locked(Path(output)))
            runs.check_settings(Path(output), settings)
            runs.remove_half_written(Path(output))
            return Path(output), load_state(Path(output), on_notice=on_notice)
        folder = runs.new_run_folder(output, name=data.name, resume=resume)
        held.enter_context(runs.locked(folder))
        return folder, None

    return processes.agree_on(leading)


def _events(
    folder: Path, processes: Processes, state: State | None, on_notice: Callable[[str], None]
) -> AbstractContextManager[Events | None]:
    if not processes.leads:
        return nullcontext()
    resumed_at = state.pictures + state.tally.pictures if state else None
    return event_writer(folder, resumed_at=resumed_at, on_notice=on_notice)


def _new_model(
    network: Network,
    figures: Statistics,
    transfer: Transfer | None,
    class_names: Sequence[str],
    *,
    seed: int,
    device: torch.device,
) -> AlexNet:
    try:
        torch.manual_seed(seed)
        model = AlexNet(network, mean=figures.mean, scale=figures.scale).to(device)
    except (RuntimeError, MemoryError, OverflowError):
        parameters = summarize(network).parameters
        raise TrainingError(
            f"network '{network.name}': {parameters:,} parameters do not fit in the memory of {device}; "
            "must be fewer; make its layers smaller"
        ) from None
    if transfer is not None:
        _start_from(model, transfer, class_names)
    return model


def _start_from(model: AlexNet, transfer: Transfer, class_names: Sequence[str]) -> None:
    """Take over the weights of every layer that has the same shape, and freeze what is not to be trained.

    The last layer's only for the same classes: as many others are not the same.
    """
    given, own = transfer.weights.model.state_dict(), model.state_dict()
    taken = {name: each for name, each in given.items() if name in own and own[name].shape == each.shape}
    layers = [layer for layer in model.network.layers if isinstance(layer, Conv | Dense)]
    if list(transfer.weights.class_names) != list(class_names):
        taken = {name: each for name, each in taken.items() if name.partition(".")[0] != layers[-1].name}
    missing = [layer.name for layer in layers[:-1] if f"{layer.name}.weight" not in taken]
    if missing:
        raise TrainingError(
            f"{transfer.source}: has no weights that fit {', '.join(missing)} of network "
            f"'{model.network.name}'; all layers but the last must fit; take the network that it is of"
        )
    model.load_state_dict(taken, strict=False)
    if transfer.frozen is None:
        return
    names = [layer.name for layer in layers]
    if transfer.frozen not in names[:-1]:
        raise TrainingError(
            f"frozen: {transfer.frozen}; must be a layer with weights, not the last: {', '.join(names[:-1])}"
        )
    for name in names[: names.index(transfer.frozen) + 1]:
        model.get_submodule(name).requires_grad_(requires_grad=False)
