"""Claims: figures that somebody published about a network, as they are printed. Read from TOML here.

title = "where it was published"
network = "paper"        # optional: which one it says it is; "alexnet" for any of them
input = "227x227x3"      # optional
batch = 10               # optional: MACs, FLOPs and activation bytes are for so many pictures
padding = "half"         # optional: padding=1 means half the kernel (darknet); else pixels a side
rounding = "up"          # optional: of sizes that do not divide; a layer may say its own

[[layers]]
name = "conv1"
kind = "conv"            # conv, maxpool, dense; told from the name where it is left out
kernel = 11
padding = 0              # pixels a side, or "same" or "valid" as Keras says it
output = "55x55x96"
parameters = "34.8K"

[[totals]]
of = "dense"             # optional: all (default), conv, dense, maxpool, or a list of layers' names
parameters = "60 million"
layers = 8

[[relations]]
text = "(11x11x3) x 96 = 34,848"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, get_args

from alexnet.architecture.network import Shape, suggest
from alexnet.architecture.quantities import Amount, parse_amount, parse_shape
from alexnet.errors import ClaimsError

Kind = Literal["conv", "maxpool", "avgpool", "dense", "batchnorm", "other"]
PASSING: tuple[Kind, ...] = ("avgpool", "batchnorm", "other")
"""Kinds that are not computed: all but an average pooling give the shape that reaches them."""
WINDOWED: tuple[Kind, ...] = ("conv", "maxpool")
"""Kinds whose windows slide over a picture."""
_LARGEST_SIDE = 512  # of a lone number: what is larger counts the values of a shape that was laid flat

_WEIGHTLESS = ("norm", "lrn", "relu", "drop", "softmax", "flatten", "activation", "input")
_AND = r"[+&,/→]|->|\band\b|\bwith\b"  # between a layer and what goes with it
_LETTERS: dict[str, Kind] = {"c": "conv", "s": "maxpool", "p": "maxpool", "f": "dense"}  # and a number
_WEIGHTED_NORMS = re.compile(r"(?:group|layer|instance|rms)[\s_-]*norm|prelu")

WHOLE = ("kernel", "stride", "padding", "filters", "groups", "units")
SHAPES = ("input", "output")
COUNTS = (
    "neurons",
    "weights",
    "biases",
    "parameters",
    "macs",
    "flops",
    "bytes",
    "activation_bytes",
    "memory",
)
RECEPTIVE = ("receptive_field", "receptive_stride")
FIELDS = (*WHOLE, *SHAPES, *COUNTS, *RECEPTIVE)
TOTALS = ("layers", *COUNTS)

BATCHES = (10, 2, 3, 4, 5, 8, 16, 32, 64, 100, 128, 256)
"""Pictures for which figures may be where nobody says so; 10 are Caffe's in its deploy files."""

MOST_LAYERS = 2_000
MOST_CHARACTERS = 300  # of a relation

Value = int | Shape | Amount


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One figure."""

    where: str  # the layer's name, or what a total is of
    field: str  # one of FIELDS, or of TOTALS
    text: str  # as printed
    value: Value


@dataclass(frozen=True, kw_only=True)
class ClaimedLayer:
    """What is claimed of one layer."""

    name: str
    kind: Kind
    rounding: str | None = None  # "down", "up", or not stated
    same: bool = False  # padded so that the size is divided by the stride, as Keras and TensorFlow say it
    claims: Mapping[str, Claim]  # by field

    def whole(self, field: str) -> int | None:
        """The claimed hyperparameter, if it is claimed."""
        value = self.claims[field].value if field in self.claims else None
        return value if isinstance(value, int) else None

    def shape(self, field: str) -> Shape | None:
        """The claimed shape, if it is claimed: as printed, but for what its kind of layer makes of it.

        Of a layer with windows a lone side is that of a square; of a dense one, 4096x1 is a vector, and 1x1
        says nothing of its length.
        """
        value = self.claims[field].value if field in self.claims else None
        if not isinstance(value, tuple):
            return None
        if self.kind in WINDOWED:
            return as_square(value)
        if self.kind == "dense" and len(value) == 2 and value[1] == 1:
            return value[:1] if value[0] > 1 else None
        return value


@dataclass(frozen=True, kw_only=True)
class ClaimedTotal:
    """What is claimed of several layers together."""

    of: str | tuple[str, ...]  # "all", a kind, or layers' names
    claims: Mapping[str, Claim]


@dataclass(frozen=True, kw_only=True)
class Unread:
    """Something printed in a table that is not read as a claim, and why."""

    where: str  # the layer's name, or "table" for a whole column
    field: str  # the column
    text: str  # as printed
    reason: str


@dataclass(frozen=True, kw_only=True)
class Claims:
    """Everything that one publication claims."""

    title: str = ""
    network: str | None = None  # the one it says it is
    input: Shape | None = None  # as printed
    batch: int | None = None  # stated; None where it says nothing of one
    half_padding: bool = False  # padding=1 means half the kernel
    rounding: str | None = None  # "down", "up", or not stated
    entering: ClaimedLayer | None = None  # a row of the input itself, with the figures claimed of it
    layers: tuple[ClaimedLayer, ...] = ()
    totals: tuple[ClaimedTotal, ...] = ()
    relations: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()


def as_square(printed: Shape) -> Shape:
    """A shape of which the side alone is printed, as height and width.

    >>> as_square((55,)), as_square((9216,)), as_square((55, 55, 96))
    ((55, 55), (9216,), (55, 55, 96))
    """
    return printed * 2 if len(printed) == 1 and printed[0] <= _LARGEST_SIDE else printed


def kind_of(name: str) -> Kind:
    """What kind of layer a name speaks of.

    Of a layer with what follows it, "Conv1 + ReLU" or "FC8 (softmax)", the layer's.

    >>> kind_of("Conv2D 1"), kind_of("max_pooling2d"), kind_of("AdaptiveAvgPool2d"), kind_of("FC-6")
    ('conv', 'maxpool', 'avgpool', 'dense')
    >>> kind_of("C1"), kind_of("S2"), kind_of("F6")
    ('conv', 'maxpool', 'dense')
    """
    word = next((part for part in re.split(rf"{_AND}|[(\[]", name.lower()) if part.strip()), "")
    if letter := re.fullmatch(r"([cspf])-?\d+", word.strip()):
        return _LETTERS[letter[1]]
    if re.match(r"\s*bn", word) or ("batch" in word and "norm" in word):
        return "batchnorm"
    if weightless(word):
        return "other"
    if "pool" in word or word.strip().startswith(("mp", "max")):
        return "avgpool" if re.search("avg|average|adaptive|global", word) else "maxpool"
    if "conv" in word:
        return "conv"
    if any(
        part in word for part in ("fc", "dense", "full", "linear", "affine", "classifier")
    ) or word.startswith("output"):
        return "dense"
    return "other"


def kind_of_several(name: str) -> Kind:
    """What kind of layer a name speaks of that says what goes with it, where the row has a window or weights.

    >>> kind_of_several("Conv1-ReLU"), kind_of_several("LRN + MaxPool"), kind_of_several("FC7 Dropout")
    ('conv', 'maxpool', 'dense')
    """
    found = [place for part in _WEIGHTLESS if (place := name.lower().find(part)) >= 0]
    parts = (name[: min(found, default=len(name))], *re.split(_AND, name.lower()))
    return next((kind for part in parts if (kind := kind_of(part)) != "other"), "other")


def holds_layers(layer: ClaimedLayer) -> bool:
    """Whether a row is of a module that holds those below it, as torchinfo lists them."""
    return (
        layer.kind == "other"
        and re.search(r"sequential|alexnet|module|model", layer.name.lower()) is not None
    )


def weightless(name: str) -> bool:
    """Whether a name speaks of a layer that is none of those computed and carries no weights.

    >>> weightless("ReLU 3"), weightless("Inception")
    (True, False)
    """
    return _WEIGHTED_NORMS.search(name.lower()) is None and any(part in name.lower() for part in _WEIGHTLESS)


def read_toml(text: str, *, where: str) -> Claims:
    """The claims that a TOML text makes; ClaimsError, beginning with `where`, where it is none."""
    import tomllib

    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ClaimsError(f"{where}: not TOML: {error}") from None
    return from_mapping(data, where=where)


def from_mapping(data: Mapping[str, Any], *, where: str) -> Claims:
    """The claims that a mapping of the TOML's form makes; ClaimsError where it has another form."""
    known = ("title", "network", "input", "batch", "padding", "rounding", "layers", "totals", "relations")
    _refuse_unknown(data, known, where)
    for key, words in (("padding", ("pixels", "half")), ("rounding", ("down", "up"))):
        if data.get(key, words[0]) not in words:
            raise ClaimsError(f"{where}: {key}={data[key]!r}; must be {' or '.join(words)}")
    batch = data.get("batch")
    if batch is not None and (type(batch) is not int or batch < 1):
        raise ClaimsError(f"{where}: batch={batch!r}; must be a whole number of at least 1")
    for key in ("title", "network"):
        if not isinstance(data.get(key, ""), str):
            raise ClaimsError(f"{where}: {key}={data[key]!r}; must be a text")
    layers = _tables(data, "layers", where)
    if len(layers) > MOST_LAYERS:
        raise ClaimsError(f"{where}: {len(layers):,} layers; at most {MOST_LAYERS:,} are audited")
    entering = data.get("input")
    claimed = tuple(claimed_layer(table, where=f"{where}: layer {i}") for i, table in enumerate(layers, 1))
    names = [layer.name for layer in claimed]
    return Claims(
        title=data.get("title", ""),
        network=data.get("network"),
        input=None if entering is None else _shape(entering, f"{where}: input"),
        batch=batch,
        half_padding=data.get("padding") == "half",
        rounding=data.get("rounding"),
        layers=claimed,
        totals=tuple(
            _total(table, names, f"{where}: total {i}")
            for i, table in enumerate(_tables(data, "totals", where), 1)
        ),
        relations=tuple(
            _relation(table, f"{where}: relation {i}")
            for i, table in enumerate(_tables(data, "relations", where), 1)
        ),
    )


def claimed_layer(table: Mapping[str, Any], *, where: str) -> ClaimedLayer:
    """The claims of one layer, from values as printed; ClaimsError for what is no field or no value of it."""
    _refuse_unknown(table, ("name", "kind", "rounding", *FIELDS), where)
    rounding = table.get("rounding")
    if rounding not in (None, "down", "up"):
        raise ClaimsError(f"{where}: rounding={rounding!r}; must be down or up")
    name = table.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ClaimsError(f"{where}: name={name!r}; must be a text that is not empty")
    kind = table.get("kind", kind_of(name))
    kinds = get_args(Kind)
    if kind not in kinds:
        raise ClaimsError(f"{where} ({name}): kind={kind!r}; {suggest(str(kind), kinds)}")
    same = str(table.get("padding")).lower() == "same"
    if same or str(table.get("padding")).lower() == "valid":
        # Who says it in these words computes with a framework that rounds down.
        table, rounding = {**table, "padding": 0}, rounding or "down"
    if same:
        table = {field: value for field, value in table.items() if field != "padding"}
    claims = {
        field: Claim(
            where=name, field=field, text=str(value), value=value_of(field, value, f"{where} ({name})")
        )
        for field, value in table.items()
        if field in FIELDS
    }
    return ClaimedLayer(name=name, kind=kind, rounding=rounding, same=same, claims=claims)


def _total(table: Mapping[str, Any], layers: Sequence[str], where: str) -> ClaimedTotal:
    _refuse_unknown(table, ("of", *TOTALS), where)
    of = table.get("of", "all")
    if isinstance(of, list) and all(isinstance(name, str) for name in of) and of:
        scope: str | tuple[str, ...] = tuple(of)
    elif of in ("all", "conv", "dense", "maxpool"):
        scope = of
    else:
        raise ClaimsError(f"{where}: of={of!r}; must be all, conv, dense, maxpool or a list of layers' names")
    unlisted = [name for name in scope if name not in layers] if layers and isinstance(scope, tuple) else []
    if unlisted:
        raise ClaimsError(
            f"{where}: of={of!r}: no layer '{unlisted[0]}' is listed; {suggest(unlisted[0], layers)}"
        )
    told = scope if isinstance(scope, str) else ", ".join(scope)
    claims = {
        field: Claim(
            where="total" if told == "all" else f"total of {told}",
            field=field,
            text=str(value),
            value=value_of(field, value, where),
        )
        for field, value in table.items()
        if field in TOTALS
    }
    return ClaimedTotal(of=scope, claims=claims)


def _relation(table: Mapping[str, Any], where: str) -> str:
    _refuse_unknown(table, ("text",), where)
    text = table.get("text")
    if not isinstance(text, str) or "=" not in text or len(text) > MOST_CHARACTERS:
        raise ClaimsError(f"{where}: text={str(text)[:60]!r}; must be a text such as '2 x 3 = 6'")
    return text


def value_of(field: str, value: object, where: str) -> Value:
    """What a printed value of a field says; ClaimsError, beginning with `where`, where it says nothing."""
    if field in SHAPES:
        return _shape(value, f"{where}: {field}")
    text = str(value)
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        if field in TOTALS:
            amount = parse_amount(text)
            if amount is not None and "%" not in text:
                return amount
        else:
            number = parse_shape(text) if isinstance(value, str) else None
            whole = int(value) if isinstance(value, int) else None
            # 11x11 is a kernel of 11, 2x2 a stride of 2; filters of 48x2 are 48 on each of two GPUs.
            if number and field in ("filters", "units"):
                halves = len(number) == 2 and 2 in number
                whole = prod(number) if halves or len(number) == 1 else None
            elif number and len(set(number[:2])) == 1:
                whole = number[0]
            if whole is not None and 0 <= whole < 10**9:
                return whole
    kind = "a number such as 34,848 or 1.4M" if field in COUNTS else "a whole number of at least 0"
    raise ClaimsError(f"{where}: {field}={text[:60]!r}; must be {kind}")


def _shape(value: object, where: str) -> Shape:
    if isinstance(value, list):
        value = "x".join(str(each) for each in value)
    shape = parse_shape(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if shape is None or 0 in shape:
        raise ClaimsError(f"{where}={str(value)[:60]!r}; must be a shape such as 55x55x96")
    return shape


def _tables(data: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    tables = data.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ClaimsError(f"{where}: {key}; must be tables, [[{key}]]")
    return tables


def _refuse_unknown(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    known = tuple(known)
    for key in table:
        if key not in known:
            raise ClaimsError(f"{where}: unknown '{str(key)[:60]}'; {suggest(str(key)[:60], known)}")
