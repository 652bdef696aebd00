"""The command line: parse, import the verb when it runs, call, print. No logic."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from alexnet import __version__
from alexnet.errors import AlexNetError, MissingExtraError
from alexnet.server.limits import Limits

if TYPE_CHECKING:
    from alexnet.images.splits import Split
    from alexnet.inference.predict import Prediction
    from alexnet.learning.benchmark import Timing

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
INTERRUPTED = 130  # what a shell gives for Ctrl-C
TERMINATED = 143  # and for SIGTERM
EXTRAS = {"torch": "train", "numpy": "train", "PIL": "train", "safetensors": "train", "matplotlib": "train"}
EXTRAS |= {"onnx": "deploy", "onnxruntime": "deploy", "openvino": "deploy"}
EXTRAS |= {"fastapi": "serve", "uvicorn": "serve", "python_multipart": "serve", "prometheus_client": "serve"}
EXTRAS |= {"captum": "inside"}


class OneLineErrors(click.Group):
    """A group whose commands end in one line and exit code 2 where the input was wrong."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run as a program: click's own errors become one line too."""
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        try:
            code: Any = run()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(2)
        except click.ClickException as error:
            fail(error.format_message())
        except click.Abort:
            note("alexnet: interrupted")
            sys.exit(INTERRUPTED)
        except OSError as error:
            # What is still to be flushed at exit would fail once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            fail(f"standard output: cannot be written: {error.strerror}")
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an AlexNetError becomes one line."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as missing:
            if missing.name not in EXTRAS:
                raise
            fail(str(MissingExtraError(missing.name, EXTRAS[missing.name])))
        except AlexNetError as error:
            if ctx.params.get("debug"):
                raise
            fail(str(error))
        except KeyboardInterrupt:
            raise click.Abort from None


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in click's newest release only
    """90, 90s, 3m, 1h30m: seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, as a float."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", text)
        if parts is None or not any(parts.groups()):
            self.fail(f"{value!r} is no duration; write 90s, 3m or 1h30m", param, ctx)
        hours, minutes, seconds = (float(part or 0) for part in parts.groups())
        return hours * 3600 + minutes * 60 + seconds


def fail(message: str) -> NoReturn:
    """Print one line on stderr and exit with 2."""
    click.echo(f"alexnet: {' '.join(message.split())}", err=True)
    sys.exit(2)


def show(text: str) -> None:
    """Print a result. A file's name need not be UTF-8: what cannot be printed is shown as \\udcff."""
    click.echo(text.encode(errors="backslashreplace").decode())


def note(message: str) -> None:
    """Print to stderr: what is said about a result, not the result."""
    click.echo(message, err=True)


def open_pictures(
    data: str, weights: Path, class_names: Sequence[str], *, split: str | None, seed: int
) -> Split:
    """Those of a split of `data`, as the run that `weights` lie in divided it."""
    from alexnet.images.datasets import open_split
    from alexnet.learning.runs import read_division

    division = read_division(weights.parent, data) if split is not None else None
    return open_split(data, class_names, split=split, seed=seed, division=division)


device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."
)
precision_option = click.option(
    "--precision",
    default="auto",
    show_default=True,
    help="auto, bf16 or fp32; auto is bf16 where the device computes in it natively.",
)
engine_option = click.option(
    "--engine",
    default="auto",
    show_default=True,
    help="torch, onnxruntime, openvino, or auto: the fastest here, measured once.",
)
split_seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="The training's, where it split the folder."
)
timed_network_option = click.option(
    "--network", default="notes", show_default=True, help="A name, a TOML file or a weights file."
)
workers_option = click.option(
    "--workers", type=int, default=2, show_default=True, help="Threads that decode pictures."
)
settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="WHAT=VALUE",
    help="What if: pool1.stride=4, input=224, classes=10. Repeatable.",
)


@click.group(cls=OneLineErrors, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="alexnet")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def app(debug: bool) -> None:  # read from the context by OneLineErrors
    """AlexNet from one description: every figure explained, trained on your pictures."""


@app.command()
@click.argument("network", default="notes")
@settings_option
@click.option("--input", "size", metavar="3x224x224", help="What a torch module takes, depth first.")
@click.option("--formulas", is_flag=True, help="Show the arithmetic of every figure.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "html", "csv", "json", "toml"]),
    default="table",
    show_default=True,
    help="toml: the network itself, to edit and read back.",
)
def summary(network: str, settings: tuple[str, ...], size: str | None, formulas: bool, form: str) -> None:
    """Show every figure of NETWORK: a name, a TOML file, a weights file, or package.module:Net of torch."""
    if ":" in network and not os.path.isfile(network):  # noqa: PTH113  # Path.is_file may raise
        refused = {"--set": settings, "--formulas": formulas, f"--format {form}": form in ("toml", "html")}
        module_summary(network, size, form, [option for option, given in refused.items() if given])
        return
    if size is not None:
        fail(f"--input {size}: is for torch modules; of the network '{network}' set it: --set input=224")
    from alexnet.architecture.network import edit, to_toml
    from alexnet.architecture.summary import MisfitError, summarize
    from alexnet.architecture.zoo import get_network

    edited = edit(get_network(network), *settings)
    if form == "toml":
        click.echo(to_toml(edited), nl=False)
        return
    try:
        figures = summarize(edited)
    except MisfitError as error:
        if form == "table":
            click.echo(error.summary.text(formulas=formulas))
        raise
    match form:
        case "table":
            click.echo(figures.text(formulas=formulas), nl=False)
        case "markdown":
            click.echo(figures.markdown(formulas=formulas), nl=False)
        case "html":
            click.echo(figures.html(formulas=formulas), nl=False)
        case "csv":
            click.echo(figures.csv(), nl=False)
        case _:
            click.echo(figures.json(), nl=False)


@app.command()
@click.argument("network", default="notes")
@settings_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write.  [default: standard output]",
)
def draw(network: str, settings: tuple[str, ...], output: Path | None) -> None:
    """Draw NETWORK as SVG, as papers do: volumes to scale, windows, towers.

    NETWORK is a name, a TOML file or a weights file.
    """
    from alexnet.architecture.diagram import diagram
    from alexnet.architecture.network import edit
    from alexnet.architecture.summary import MisfitError, Summary, summarize
    from alexnet.architecture.zoo import get_network
    from alexnet.writing import write_whole

    def result(figures: Summary) -> None:
        if output is None:
            click.echo(diagram(figures), nl=False)
        else:
            write_whole(output, diagram(figures))

    try:
        figures = summarize(edit(get_network(network), *settings))
    except MisfitError as error:
        result(error.summary)
        raise
    result(figures)


def module_summary(spec: str, size: str | None, form: str, refused: list[str]) -> None:
    """Print the figures of a torch module; its own prints go to stderr."""
    if refused or size is None:
        given = f"{refused[0]}: not for a torch module" if refused else "--input: not given"
        fail(f"{spec}: {given}; must be such as: alexnet summary {spec} --input 3x224x224")
    from alexnet.learning.module_loading import load_module, parse_input
    from alexnet.learning.modules import ModuleMisfitError, summarize_module

    try:
        with contextlib.redirect_stdout(sys.stderr):
            figures = summarize_module(load_module(spec), parse_input(size), name=spec)
    except ModuleMisfitError as error:
        if form == "table":
            click.echo(error.summary.text())
        raise
    forms = {"table": figures.text, "markdown": figures.markdown, "csv": figures.csv, "json": figures.json}
    click.echo(forms[form](), nl=False)


@app.command()
@click.option("--diff", nargs=2, metavar="A B", help="What differs between two of them, or two TOML files.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def networks(diff: tuple[str, str] | None, form: str) -> None:
    """List the networks that go by a name, a line each."""
    from alexnet.architecture import compare
    from alexnet.architecture.zoo import NETWORKS, get_network

    if diff is not None:
        first, second = map(get_network, diff)
        if form == "table":
            click.echo(compare.differences_text(first, second), nl=False)
        else:
            click.echo(json.dumps([asdict(each) for each in compare.differences(first, second)], indent=2))
    elif form == "table":
        click.echo(compare.list_text(NETWORKS.values()), nl=False)
    else:
        click.echo(json.dumps([compare.line(network) for network in NETWORKS.values()], indent=2))


@app.command()
@click.argument("claims", type=click.Path(path_type=Path))
@click.option("--network", help="The one they are about; alexnet: any of the AlexNets.")
@click.option("--all", "everything", is_flag=True, help="Show the claims that are right, too.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def audit(claims: Path, network: str | None, everything: bool, form: str) -> None:
    """Check the figures of CLAIMS, a TOML, Markdown or CSV table: exit 1 where errors are found.

    CLAIMS may be notes, the lecture notes' own.
    """
    from alexnet.architecture.audit import audit as audit_claims
    from alexnet.architecture.claim_files import read_claims

    findings = audit_claims(read_claims(claims), network)
    if form == "table":
        click.echo(findings.text(everything=everything), nl=False)
    else:
        click.echo(json.dumps(findings.to_dict(), indent=2, ensure_ascii=False))
    if findings.errors:
        sys.exit(1)


@app.command()
@click.argument("data")
@click.option("--network", help="A name, a TOML file or a weights file.  [default: notes, or that of --init]")
@settings_option
@click.option(
    "--recipe", "recipe_name", default="default", show_default=True, help="default, or paper: as in 2012."
)
@click.option(
    "--with", "changes", multiple=True, metavar="WHAT=VALUE", help="Of the recipe: dropout=0.3. Repeatable."
)
@click.option("--epochs", type=int, help="Times through the training pictures.  [default: 20; paper: 90]")
@click.option("--time-limit", type=Duration(), help="Such as 3m or 1h30m; the schedule follows the clock.")
@click.option("--patience", type=int, help="Epochs without a better validation accuracy that end the run.")
@click.option("--batch-size", type=int, help="Pictures a step, over all processes.")
@click.option("--lr", type=float, help="Peak of the learning rate.")
@click.option(
    "--balance",
    type=click.Choice(["none", "weights", "sampling"]),
    help="Of uneven classes: rare ones weigh more in the loss, or are drawn more often.",
)
@click.option("--init", type=click.Path(path_type=Path), help="Weights to start from, of any classes.")
@click.option(
    "--freeze", metavar="LAYER", help="With --init: leave this layer and all before it as they are."
)
@device_option
@precision_option
@workers_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, order and augmentation.")
@click.option("--classes", type=click.Path(path_type=Path), help="With shards: a class name a line.")
@click.option("--validation", help="With shards: a folder of class folders, or a CSV, to judge by.")
@click.option("--pictures", type=int, help="With shards: how many are an epoch.")
@click.option(
    "--most-unreadable",
    type=float,
    default=0.05,
    show_default=True,
    help="Share of pictures; more is an error.",
)
@click.option(
    "--checkpoint", type=Duration(), default="5m", show_default=True, help="Time between saves of the state."
)
@click.option("--resume", is_flag=True, help="Go on where the run in --output stopped, if there is one.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/DATA-1, -2, ...]"
)
def train(
    data: str,
    network: str | None,
    settings: tuple[str, ...],
    recipe_name: str,
    changes: tuple[str, ...],
    epochs: int | None,
    time_limit: float | None,
    patience: int | None,
    batch_size: int | None,
    lr: float | None,
    balance: str | None,
    init: Path | None,
    freeze: str | None,
    device: str,
    precision: str,
    workers: int,
    seed: int,
    classes: Path | None,
    validation: str | None,
    pictures: int | None,
    most_unreadable: float,
    checkpoint: float,
    resume: bool,
    output: Path | None,
) -> None:
    """Train on DATA: a folder of class folders (or of train/ and val/), a CSV, fashion-mnist, or digits.

    DATA may also be tar shards, such as 'photos-{000..099}.tar'. Several processes, or machines, train
    together where torchrun starts them.
    """
    from alexnet.architecture.network import edit
    from alexnet.architecture.summary import summarize
    from alexnet.architecture.zoo import get_network

    if resume and output is None:
        fail("--resume: needs --output, the folder of the run to go on with")
    if freeze is not None and init is None:
        fail(f"--freeze {freeze}: needs --init, weights that are worth keeping")
    described = edit(get_network(network or (str(init) if init else "notes")), *settings)
    summarize(described)  # a network that breaks is told of before anything heavy is loaded
    from alexnet.images.datasets import open_dataset
    from alexnet.images.shards import is_shards
    from alexnet.learning import runs
    from alexnet.learning.processes import processes
    from alexnet.learning.recipe import get_recipe
    from alexnet.learning.report import write_report
    from alexnet.learning.shard_feed import open_stream
    from alexnet.learning.torchvision import open_weights
    from alexnet.learning.train import Transfer
    from alexnet.learning.train import train as train_network
    from alexnet.terminal import headline, training_progress

    named = {"batch_size": batch_size, "learning_rate": lr, "balance": balance}
    given = [f"{name}={value}" for name, value in named.items() if value is not None]
    recipe = get_recipe(recipe_name, *changes, *given)
    transfer = None
    if init is not None:
        transfer = Transfer(weights=open_weights(init, on_fetch=note), source=str(init), frozen=freeze)
    with processes() as together, training_progress() as tell:
        stream = None
        if is_shards(data):
            if validation is None or pictures is None:
                fail(f"{data}: shards; --validation and --pictures must be given, too")
            dataset, stream = open_stream(data, classes, validation, pictures)
        else:
            dataset = open_dataset(data, seed=seed, on_fetch=tell.note)
        for warning in dataset.warnings:
            if together.leads:
                tell.note(warning)
        history = train_network(
            described,
            dataset,
            output=output,
            recipe=recipe,
            epochs=epochs,
            time_limit=time_limit,
            patience=patience,
            transfer=transfer,
            stream=stream,
            resume=resume,
            checkpoint_seconds=checkpoint,
            most_unreadable=most_unreadable,
            device=device,
            precision=precision,
            workers=workers,
            seed=seed,
            processes=together,
            on_progress=tell if together.leads else lambda _: None,
            on_notice=tell.note if together.leads else lambda _: None,
        )
    if not together.leads:
        return
    if history.terminated:
        note(f"stopped; its state is saved: the same command with --resume --output {history.output} goes on")
        sys.exit(TERMINATED)
    best = history.output / runs.BEST
    if history.best is not None:
        write_report(
            history,
            history.best,
            dataset.validation,
            title=f"{described.name} on {dataset.name}",
            recipe=asdict(history.settings.recipe),
            skipped=history.skipped,
            warnings=history.warnings,
        )
        click.echo(f"validation: {headline(history.best)}")
    if history.skipped:
        note(f"{len(history.skipped)} pictures could not be read: {history.output / runs.SKIPPED}")
    click.echo(f"weights: {best}")
    note(f"next: alexnet evaluate {best} {data}\n      alexnet predict {best} PHOTO...")
    if history.interrupted:
        note(f"interrupted: {history.output / runs.LAST} holds the weights of its last step")
        sys.exit(INTERRUPTED)


@app.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.argument("data")
@click.option(
    "--split", type=click.Choice(["train", "validation", "test"]), help="[default: test, else validation]"
)
@click.option(
    "--views",
    type=click.Choice(["1", "10"]),
    default="1",
    show_default=True,
    help="10: corners and centre with their mirror images, averaged (2012).",
)
@engine_option
@device_option
@precision_option
@workers_option
@split_seed_option
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def evaluate(
    weights: Path,
    data: str,
    split: str | None,
    views: str,
    engine: str,
    device: str,
    precision: str,
    workers: int,
    seed: int,
    form: str,
) -> None:
    """Judge WEIGHTS on DATA: top-1, top-5, every class."""
    from alexnet.images.datasets import is_undivided
    from alexnet.inference.engines import is_exported, open_classifier
    from alexnet.learning.evaluate import evaluate as evaluate_classifier
    from alexnet.terminal import counting_progress, report_table

    if engine == "auto" and not is_exported(weights):
        engine = "torch"  # weights are judged by what trained them, whatever is faster here
    classifier = open_classifier(
        weights, engine=engine, device=device, precision=precision, on_fetch=note, on_note=note
    )
    pictures = open_pictures(data, weights, classifier.class_names, split=split, seed=seed)
    for warning in pictures.warnings:
        note(warning)
    if split is None and is_undivided(data):
        note(f"{data}: all its pictures; --split validation takes those that training set apart")
    unreadable: list[str] = []
    with counting_progress(len(pictures)) as tell:
        report = evaluate_classifier(
            classifier,
            pictures,
            views_each=int(views),
            workers=workers,
            on_progress=tell,
            on_unreadable=lambda _, reason: unreadable.append(reason),
        )
    for reason in unreadable:
        note(f"left out: {reason}")
    if form == "json":
        click.echo(json.dumps(report.to_dict() | {"engine": classifier.engine}, indent=2))
    else:
        show(report_table(report))


@app.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--top", type=int, default=5, show_default=True, help="Labels a picture.")
@engine_option
@device_option
@precision_option
@workers_option
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "jsonl"]), help="[default: --output's, else table]"
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="FILE.csv or FILE.jsonl; gone on with if it is there.",
)
@click.option("--strict", is_flag=True, help="Exit with 2 where a picture could not be read.")
@click.option("--ray", is_flag=True, help="Over the Ray cluster of $RAY_ADDRESS, or one of this machine.")
def predict(
    weights: Path,
    paths: tuple[str, ...],
    top: int,
    engine: str,
    device: str,
    precision: str,
    workers: int,
    form: str | None,
    output: Path | None,
    strict: bool,
    ray: bool,
) -> None:
    """Say what WEIGHTS takes the pictures for: files, folders, globs, - for a list on standard input.

    A picture that cannot be read has the reason in its place. With --output, a file that is there is gone on
    with.
    """
    from alexnet.inference.engines import FEW, open_classifier
    from alexnet.inference.predict import check_paths, find_pictures
    from alexnet.inference.predict import predict as predict_pictures
    from alexnet.inference.predict_file import FORMS, lines, write_predictions
    from alexnet.terminal import counting_progress, prediction_table

    asked = form or (output.suffix.removeprefix(".") if output is not None else "table")
    kind = next((each for each in FORMS if each == asked), None)
    if output is not None and kind is None:
        fail(f"{output}: is written as it comes; must end in .csv or .jsonl, or --format be one of them")
    if top < 1:
        fail(f"top: {top}; must be at least 1")
    listed = (line.rstrip("\n") for line in sys.stdin)
    found = find_pictures(each for path in paths for each in (listed if path == "-" else [path]) if each)
    if ray and device != "auto":
        fail(f"device: {device}; with --ray the cluster's processes have processors; leave it out")
    first: list[Path] = []
    if "-" not in paths and not ray:  # a list is answered as it comes
        first = list(islice(found, FEW))
        found = chain(first, found)
    classifier = open_classifier(
        weights,
        engine=engine,
        device=device,
        precision=precision,
        pictures=len(first),
        on_fetch=note,
        on_note=note,
    )
    check_paths(path for path in paths if path != "-")
    shown = min(top, len(classifier.class_names))
    ask: Callable[[Iterable[Path]], Iterator[Prediction]]
    if ray:
        from alexnet.inference.predict_ray import predict_on_ray

        ask = partial(predict_on_ray, weights, top=top, engine=engine, precision=precision)
    else:
        ask = partial(predict_pictures, classifier, top=top, workers=workers)
    if output is not None and kind is not None:
        with counting_progress(None) as tell:
            written = write_predictions(ask, found, output, form=kind, top=shown, on_progress=tell)
        before = f" after {written.before:,} that it had" if written.before else ""
        note(f"{output}: {written.pictures:,} pictures{before}")
        unreadable = written.unreadable
    else:
        unreadable = 0

        def answers() -> Iterator[Prediction]:
            nonlocal unreadable
            for each in ask(found):
                unreadable += each.error is not None
                yield each

        if kind is None:
            show(prediction_table(list(answers())))
        else:
            for line in lines(answers(), kind, top=shown):
                show(line)
    if unreadable:
        note(f"{unreadable:,} pictures could not be read")
        if strict:
            sys.exit(2)


@app.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), required=True, help="The folder for what is seen."
)
@click.option("--label", metavar="CLASS", help="What the answer is explained for.  [default: the likeliest]")
@click.option("--layer", help="Where Grad-CAM looks.  [default: the ReLU behind the last convolution]")
@click.option("--data", metavar="FOLDER", help="Pictures, for pieces of them that excite the filters most.")
@click.option("--filters", type=int, default=48, show_default=True, help="With --data: of each layer.")
@device_option
@workers_option
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def visualize(
    weights: Path,
    image: Path,
    output: Path,
    label: str | None,
    layer: str | None,
    data: str | None,
    filters: int,
    device: str,
    workers: int,
    form: str,
) -> None:
    """Look into WEIGHTS while they look at IMAGE: what the answer rests on, kernels, every layer's maps."""
    from alexnet.inference.predict import Prediction
    from alexnet.inside.visualize import visualize as look_inside
    from alexnet.learning.torchvision import open_weights
    from alexnet.terminal import counting_progress, prediction_table

    opened = open_weights(weights, on_fetch=note)
    with counting_progress(None, doing="looking at pictures") as tell:
        result = look_inside(
            opened,
            image,
            output=output,
            label=label,
            layer=layer,
            data=data,
            filters=filters,
            device=device,
            workers=workers,
            on_note=note,
            on_progress=tell,
        )
    if result.unreadable:
        note(f"{result.unreadable:,} pictures could not be read")
    if form == "json":
        told = asdict(result) | {"output": str(output), "image": str(image)}
        click.echo(json.dumps(told, indent=2))
        return
    show(prediction_table([Prediction(path=str(image), labels=result.labels)]))
    for name in result.files:
        show(str(output / name))


@app.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    help="FILE.onnx, or FILE.xml (and .bin).",
)
@click.option("--int8", is_flag=True, help="In 8 bits: a quarter of the size, the fastest.")
@click.option("--calibrate", metavar="DATA", help="With --int8: pictures to learn the values' ranges from.")
@click.option("--check", metavar="DATA", help="Pictures to prove it on.  [default: those of --calibrate]")
@click.option(
    "--most-lost",
    type=float,
    default=0.005,
    show_default=True,
    help="Share of the pictures that 8 bits may lose.",
)
@workers_option
@split_seed_option
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def export(
    weights: Path,
    output: Path,
    int8: bool,
    calibrate: str | None,
    check: str | None,
    most_lost: float,
    workers: int,
    seed: int,
    form: str,
) -> None:
    """Write WEIGHTS as ONNX or OpenVINO's IR, and prove that it answers as torch does."""
    if int8 and calibrate is None:
        fail("--int8: needs --calibrate DATA, pictures such as the network was trained on")
    if calibrate is not None and not int8:
        fail("--calibrate: is for --int8; give both")
    from alexnet.images.datasets import is_undivided
    from alexnet.inference.engines import read_weights
    from alexnet.inference.export import export as export_weights
    from alexnet.terminal import agreement_table

    names = read_weights(weights)[0].class_names
    pictures = partial(open_pictures, weights=weights, class_names=names, seed=seed)
    checked = check or calibrate
    apart = "validation" if checked is not None and is_undivided(checked) else None
    exported = export_weights(
        weights,
        output,
        calibration=pictures(calibrate, split="train") if calibrate is not None else None,
        check=pictures(checked, split=apart) if checked is not None else None,
        most_lost=most_lost,
        workers=workers,
        on_progress=note,
    )
    if form == "json":
        click.echo(json.dumps(exported.to_dict(), indent=2))
        return
    show(agreement_table(exported.agreements))
    if exported.in_float:
        note(f"in float32, as 8 bits would cost too much there: {', '.join(exported.in_float)}")
    show(f"exported: {exported.path} ({exported.size / 2**20:.1f} MiB)")


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """An option for each of the server's limits."""
    for each in reversed(fields(Limits)):
        option = f"--{each.name.replace('_', '-')}"
        kind = type(each.default)
        command = click.option(
            option, type=kind, default=each.default, show_default=True, help=each.metadata["help"]
        )(command)
    return command


@app.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: whoever reaches this machine.")
@click.option("--port", type=int, default=8000, show_default=True, help="0: one that is free.")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    help="A key that clients must send.  [default: $ALEXNET_API_KEY, if set]",
)
@click.option("--processes", type=int, default=1, show_default=True, help="That share the port.")
@engine_option
@device_option
@precision_option
@limit_options
def serve(
    weights: Path,
    host: str,
    port: int,
    api_key_file: Path | None,
    processes: int,
    engine: str,
    device: str,
    precision: str,
    **limits: Any,
) -> None:
    """Answer for WEIGHTS over HTTP; http://HOST:PORT/ shows how to ask.

    SIGTERM finishes what was begun.
    """
    from alexnet.server.serving import read_api_key
    from alexnet.server.serving import serve as serve_weights

    api_key = read_api_key(api_key_file, os.environ)
    if api_key is None and host not in ("127.0.0.1", "::1", "localhost"):
        note(f"{host}: whoever reaches this machine may ask; --api-key-file makes them send a key")
    serve_weights(
        weights,
        host=host,
        port=port,
        limits=Limits(**limits),
        api_key=api_key,
        processes=processes,
        engine=engine,
        device=device,
        precision=precision,
        on_note=note,
        on_listening=lambda address: note(f"serving {weights} at {address}"),
    )


@app.command()
@click.argument("weights", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="WEIGHTS...")
@click.option(
    "--picture",
    "pictures",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file, folder or glob to begin with. Repeatable.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the page as files, instead, that open from a disk or any web host.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=int, default=8000, show_default=True, help="0: any that is free.")
def explore(
    weights: tuple[Path, ...], pictures: tuple[Path, ...], output: Path | None, host: str, port: int
) -> None:
    """See the network of WEIGHTS, every layer's arithmetic, and what it makes of pictures, in a browser.

    Several WEIGHTS are compared. The name of a network, or a TOML file, shows it untrained.
    """
    from alexnet.explorer.explore import explore as explore_gallery
    from alexnet.explorer.explore import open_gallery
    from alexnet.explorer.site import write_site

    gallery = open_gallery(weights, pictures, on_fetch=note)
    if output is not None:
        if not pictures:
            note("no --picture: the page will show the network alone")
        files = write_site(gallery, output, on_progress=note)
        click.echo(f"{output / 'index.html'}, with {len(files) - 1} files of data")
        return
    if host not in ("127.0.0.1", "::1", "localhost"):
        note(f"{host}: whoever reaches this machine may see the weights, and ask")
    explore_gallery(gallery, host=host, port=port, on_listening=lambda address: note(f"open {address}"))


def show_timings(timings: Sequence[Timing], form: str) -> None:
    """As a table, or as JSON."""
    from alexnet.terminal import timing_table

    if form == "json":
        click.echo(json.dumps([asdict(timing) for timing in timings], indent=2))
    else:
        show(timing_table(timings))


@app.group()
def benchmark() -> None:
    """Time what this machine does, beside the plain way of doing it, in one run."""


@benchmark.command("train")
@timed_network_option
@click.option("--batch-size", type=int, default=128, show_default=True, help="Pictures a step.")
@click.option("--rounds", type=int, help="Turns of each way.  [default: 5; with --data 3]")
@click.option("--data", help="A folder of pictures: time the whole way from their files, too.")
@click.option("--steps", type=int, default=6, show_default=True, help="With --data: steps a turn.")
@device_option
@precision_option
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def benchmark_train(
    network: str,
    batch_size: int,
    rounds: int | None,
    data: str | None,
    steps: int,
    device: str,
    precision: str,
    form: str,
) -> None:
    """A training step: the plain eager float32 loop, then that of `alexnet train`."""
    from alexnet.architecture.zoo import get_network
    from alexnet.images.datasets import open_dataset
    from alexnet.learning.benchmark import benchmark_training
    from alexnet.learning.benchmark_folder import benchmark_folder

    described = get_network(network)
    if data is None:
        timings = benchmark_training(
            described,
            batch_size=batch_size,
            rounds=5 if rounds is None else rounds,
            device=device,
            precision=precision,
            on_progress=note,
        )
    else:
        timings = benchmark_folder(
            described,
            open_dataset(data),
            batch_size=batch_size,
            steps=steps,
            rounds=3 if rounds is None else rounds,
            device=device,
            precision=precision,
            on_progress=note,
        )
    show_timings(timings, form)


@benchmark.command("predict")
@click.argument("folder")
@timed_network_option
@click.option("--pictures", type=int, default=512, show_default=True, help="Of FOLDER, a turn.")
@click.option("--rounds", type=int, default=3, show_default=True, help="Turns of each way.")
@workers_option
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def benchmark_predict(folder: str, network: str, pictures: int, rounds: int, workers: int, form: str) -> None:
    """FOLDER of pictures to a CSV of answers: the plain script, then `alexnet predict` with each engine."""
    from alexnet.architecture.zoo import get_network
    from alexnet.inference.benchmark_predict import benchmark_predict as time_predicting

    timings = time_predicting(
        get_network(network), folder, pictures=pictures, rounds=rounds, workers=workers, on_progress=note
    )
    show_timings(timings, form)


@benchmark.command("infer")
@timed_network_option
@click.option(
    "--batch-size",
    "batch_sizes",
    type=int,
    multiple=True,
    help="Pictures at a time. Repeatable.  [default: 1, 64]",
)
@click.option("--rounds", type=int, default=5, show_default=True, help="Turns of each way.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def benchmark_infer(network: str, batch_sizes: tuple[int, ...], rounds: int, form: str) -> None:
    """Answers on the processor: plain eager torch in float32, then every engine that is installed."""
    from alexnet.architecture.zoo import get_network
    from alexnet.inference.benchmark import benchmark_answers
    from alexnet.terminal import timing_table

    described = get_network(network)
    for batch_size in batch_sizes or (1, 64):
        timings = benchmark_answers(described, batch_size=batch_size, rounds=rounds, on_progress=note)
        if form == "json":
            click.echo(json.dumps({"batch_size": batch_size, "ways": [asdict(each) for each in timings]}))
        else:
            show(f"batches of {batch_size}\n{timing_table(timings)}\n")


@benchmark.command("serve")
@click.argument("folder")
@timed_network_option
@click.option("--clients", type=int, multiple=True, help="At a time. Repeatable.  [default: 1, 8, 64]")
@click.option("--requests", type=int, default=1000, show_default=True, help="For each number of clients.")
@click.option("--soak", type=int, default=0, help="Requests after that, with the memory told on the way.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def benchmark_serve(
    folder: str, network: str, clients: tuple[int, ...], requests: int, soak: int, form: str
) -> None:
    """Requests for FOLDER's pictures over loopback: batches of one in plain torch, then `alexnet serve`."""
    from alexnet.architecture.zoo import get_network
    from alexnet.server.benchmark_serve import benchmark_serving
    from alexnet.terminal import answers_table

    answers = benchmark_serving(
        get_network(network),
        folder,
        clients=clients or (1, 8, 64),
        requests=requests,
        soak=soak,
        on_progress=note,
    )
    if form == "json":
        click.echo(json.dumps([asdict(each) for each in answers], indent=2))
    else:
        show(answers_table(answers))


@app.command()
@click.option("--data", default="fashion-mnist", show_default=True, help="fashion-mnist or digits.")
@click.option("--time-limit", type=Duration(), default="4m", show_default=True, help="Of the training.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="The run's folder.  [default: runs/DATA-1, -2, ...]"
)
def demo(data: str, time_limit: float, output: Path | None) -> None:
    """The main job: train the notes' network on real pictures, evaluate, predict, report."""
    from alexnet.architecture.summary import summarize
    from alexnet.architecture.zoo import NOTES

    click.echo("1. The network of the notes\n")
    click.echo(summarize(NOTES).text())
    from alexnet.demo import judge, open_pictures, train_notes
    from alexnet.terminal import (
        counting_progress,
        duration,
        headline,
        picture_text,
        side_by_side,
        training_progress,
    )

    dataset = open_pictures(data, say=note)
    click.echo(
        f"2. Training it on {dataset.name} ({len(dataset.train):,} pictures) for {duration(time_limit)}\n"
    )
    with training_progress() as tell:
        history = train_notes(dataset, time_limit=time_limit, output=output, on_progress=tell)
    click.echo(f"trained on {history.pictures:,} pictures in {duration(history.seconds)}\n")
    with counting_progress(len(dataset.test or dataset.validation)) as count:
        result = judge(history, dataset, on_progress=count)
    click.echo(f"3. On pictures it has never seen: {headline(result.report)}\n")
    click.echo("4. A handful of them, and what it takes them for\n")
    blocks = []
    for truth, picture, prediction in result.predictions:
        first = prediction.labels[0]
        blocks.append([*picture_text(picture), f"is   {truth}", f"says {first.name} {first.probability:.0%}"])
    for start in range(0, len(blocks), 3):
        click.echo(side_by_side(blocks[start : start + 3]) + "\n")
    click.echo(f"5. The report: {result.page}")
    click.echo(f"   The weights: {history.output / 'best.safetensors'}")
