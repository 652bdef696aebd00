"""Recipe: how a network is trained. What is trained, on what, and for how long is said elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import cos, inf, pi
from typing import Any, Literal, get_args

from alexnet.errors import TrainingError

Schedule = Literal["cosine", "plateau"]
Crop = Literal["resized", "shifted", "centre"]
Balance = Literal["none", "weights", "sampling"]

DROPS = 3  # of a plateau schedule: Krizhevsky et al. 2012, section 5
PLATEAU_EPOCHS = 5  # without a better validation accuracy, after which the rate drops


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Stochastic gradient descent with momentum, its schedule, and what keeps it from learning by heart.

    Raises TrainingError for a value out of range.
    """

    batch_size: int = 128  # pictures a step, over all processes
    learning_rate: float = 0.04  # the schedule's peak, for the mean loss over a batch
    schedule: Schedule = "cosine"  # to zero; or a tenth at each plateau of the validation accuracy
    momentum: float = 0.9
    weight_decay: float = 5e-4  # as in Krizhevsky et al. 2012, section 5; not for biases
    warmup: float = 0.05  # share of the run in which the rate rises from zero; of the cosine schedule only
    clip_norm: float = 1.0  # gradients are scaled down to at most this norm: large rates do not diverge
    mirror: bool = True  # mirror half of the pictures, where a mirrored picture keeps its class
    crop: Crop = "resized"  # boxes of any size and place; or the view's crop, shifted; or its centre
    least_area: float = 0.25  # of a resized crop, share of the picture's
    shift: float = 1.0  # of a shifted crop, share of the view's margin that it moves over
    jitter: float = 0.2  # of contrast and brightness: factors up to 1 +- this
    colour_noise: float = 0.0  # strength of noise along the colours' principal components
    cutmix: float = 0.0  # share of the steps in which pictures have a box of another pasted in
    label_smoothing: float = 0.1  # share of the target that is spread over all classes
    dropout: float = 0.5  # of hidden fully connected units, in networks without Dropout layers of their own
    averaging: float = (
        0.999  # decay a step of the running mean of the weights that is judged and kept; 0: none
    )
    smallest_side: float = 1.0  # of a run's first pictures, share of the network's own; they grow to that
    build_up: float = 30.0  # epochs in which crops, colours, cutmix and dropout grow to what is said here
    balance: Balance = "none"  # of uneven classes: rare ones weigh more in the loss, or are drawn more often

    def __post_init__(self) -> None:
        rules = (
            (
                "batch_size",
                type(self.batch_size) is int and self.batch_size >= 1,
                "a whole number of at least 1",
            ),
            ("learning_rate", 0 < self.learning_rate < inf, "above 0 and finite"),
            ("schedule", self.schedule in get_args(Schedule), _one_of(Schedule)),
            ("momentum", 0 <= self.momentum < 1, "from 0 to below 1"),
            ("weight_decay", 0 <= self.weight_decay < inf, "at least 0"),
            ("clip_norm", self.clip_norm > 0, "above 0"),
            ("warmup", 0 <= self.warmup < 1, "from 0 to below 1"),
            ("crop", self.crop in get_args(Crop), _one_of(Crop)),
            ("least_area", 0 < self.least_area <= 1, "above 0 and at most 1"),
            ("shift", 0 <= self.shift <= 1, "from 0 to 1"),
            ("jitter", 0 <= self.jitter < 1, "from 0 to below 1"),
            ("colour_noise", 0 <= self.colour_noise < inf, "at least 0"),
            ("cutmix", 0 <= self.cutmix <= 1, "from 0 to 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "from 0 to below 1"),
            ("dropout", 0 <= self.dropout < 1, "from 0 to below 1"),
            ("averaging", 0 <= self.averaging < 1, "from 0 to below 1"),
            ("smallest_side", 0 < self.smallest_side <= 1, "above 0 and at most 1"),
            ("build_up", 0 <= self.build_up < inf, "at least 0"),
            ("balance", self.balance in get_args(Balance), _one_of(Balance)),
        )
        for name, holds, rule in rules:
            if not holds:
                raise TrainingError(f"recipe: {name}={getattr(self, name)}; must be {rule}")
        if self.schedule == "plateau" and self.smallest_side < 1:
            raise TrainingError(
                f"recipe: smallest_side={self.smallest_side} with schedule=plateau; must be 1, as such a run "
                "may end before its pictures have grown"
            )

    def after(self, epochs: float) -> Recipe:
        """The recipe as it is `epochs` into a run: what makes pictures and units vary has grown so far.

        Pictures that were seen once or twice cannot have been learned by heart: to vary them costs a short
        run accuracy, and a long one needs it. Dropout that grows: Morerio et al. 2017, "Curriculum dropout".

        >>> Recipe(dropout=0.5, least_area=0.2, build_up=10.0).after(5.0).dropout
        0.25
        """
        if epochs >= self.build_up:
            return self
        grown = epochs / self.build_up
        return replace(
            self,
            least_area=1 - (1 - self.least_area) * grown,
            shift=self.shift * grown,
            jitter=self.jitter * grown,
            colour_noise=self.colour_noise * grown,
            cutmix=self.cutmix * grown,
            dropout=self.dropout * grown,
        )


def _one_of(choices: object) -> str:
    return f"one of {', '.join(get_args(choices))}"


# Small pictures first: as good after as many epochs, which take two thirds of the time.
DEFAULT = Recipe(smallest_side=0.7)

# For runs of a hundred epochs and more, in which the default recipe learns the pictures by heart: more
# variety, and weights held smaller.
LONG = replace(DEFAULT, cutmix=0.5, weight_decay=1e-3)
LONG_RUN = 200  # epochs, where nothing says how many

# Krizhevsky et al. 2012, sections 4 and 5. Gradients were not clipped.
PAPER = Recipe(
    batch_size=128,
    learning_rate=0.01,
    schedule="plateau",
    momentum=0.9,
    weight_decay=5e-4,
    warmup=0.0,
    clip_norm=inf,
    mirror=True,
    crop="shifted",
    jitter=0.0,
    colour_noise=0.1,
    averaging=0.0,
    label_smoothing=0.0,
    dropout=0.5,
    build_up=0.0,
)

RECIPES = {"default": DEFAULT, "long": LONG, "paper": PAPER}
"""Recipes by the names that the command line takes."""


def get_recipe(name: str, *changes: str) -> Recipe:
    """The recipe of that name, with fields changed.

    With another schedule that needs it, pictures are of one size unless `changes` say otherwise. Raises
    TrainingError for an unknown name, field or value.

    >>> get_recipe("paper", "dropout=0").dropout
    0.0
    """
    if name not in RECIPES:
        raise TrainingError(f"recipe '{name}': unknown; must be one of {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    known = {each.name: getattr(recipe, each.name) for each in fields(recipe)}
    values: dict[str, Any] = {}
    for change in changes:
        field, _, text = change.partition("=")
        if field not in known:
            raise TrainingError(f"recipe: {field}: unknown; must be one of {', '.join(known)}")
        try:
            values[field] = _parsed(text, known[field])
        except ValueError:
            kind = {bool: "true or false", int: "a whole number"}.get(type(known[field]), "a number")
            raise TrainingError(f"recipe: {change}; must be {kind}") from None
    if values.get("schedule") == "plateau":
        values.setdefault("smallest_side", 1.0)
    return replace(recipe, **values)


def _parsed(text: str, like: Any) -> Any:
    if not isinstance(like, bool):
        return type(like)(text)
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def cosine(progress: float, *, warmup: float) -> float:
    """The factor of the learning rate at `progress` (0 to 1) of a run: up in a line, down in half a cosine.

    >>> cosine(0.05, warmup=0.1), cosine(0.1, warmup=0.1), cosine(1.0, warmup=0.1)
    (0.5, 1.0, 0.0)
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + cos(pi * (min(progress, 1.0) - warmup) / (1 - warmup)))


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Where a plateau schedule stands after some epochs."""

    drops: int  # how often the rate was divided by ten
    over: bool  # after the last drop, too, nothing improves

    @classmethod
    def after(cls, accuracies: list[float]) -> Plateau:
        """From the validation accuracies so far: PLATEAU_EPOCHS without a new best are a plateau.

        >>> Plateau.after([0.5, 0.6, *[0.6] * PLATEAU_EPOCHS, 0.7])
        Plateau(drops=1, over=False)
        """
        best, since, drops = -inf, 0, 0
        for accuracy in accuracies:
            since = 0 if accuracy > best else since + 1
            best = max(best, accuracy)
            if since == PLATEAU_EPOCHS:
                drops, since = drops + 1, 0
        return cls(drops=min(drops, DROPS), over=drops > DROPS)

    @property
    def factor(self) -> float:
        """Of the learning rate."""
        return float(10.0**-self.drops)
