"""A network as data: its input, its layers in order, its source. Edited, written out and read back.

Holds no figure that follows by arithmetic (summary.py) and no particular network (zoo.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from alexnet.architecture.layers import KINDS, MOST, Dense, Layer, parse_field, shown
from alexnet.errors import NetworkError

Shape = tuple[int, ...]  # (height, width, depth) of a volume, or (length,) of a vector

_RESERVED = ("input", "classes")  # what `edit` sets besides layers


@dataclass(frozen=True, kw_only=True)
class Network:
    """Layers in the order in which a picture passes them.

    Raises NetworkError for an input that is no picture and for two layers of one name. Whether the
    layers fit onto each other is arithmetic: `summarize` tells.
    """

    name: str  # what it is called here
    input: Shape  # (height, width, depth) of the picture, in pixels and channels
    layers: tuple[Layer, ...]
    source: str = ""  # who described it

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise NetworkError(f"network: name={self.name!r}; must be a text that is not empty")
        if not isinstance(self.source, str):
            raise NetworkError(f"network '{self.name}': source={self.source!r}; must be a text")
        sizes = self.input
        if len(sizes) != 3 or any(type(size) is not int or size < 1 for size in sizes):
            raise NetworkError(
                f"network '{self.name}': input={list(sizes)}; must be height, width and depth, "
                "three whole numbers of at least 1"
            )
        if max(sizes) > MOST:
            raise NetworkError(f"network '{self.name}': input={shown(max(sizes))}; must be at most {MOST:,}")
        if not self.layers:
            raise NetworkError(f"network '{self.name}': no layers; must have at least one")
        names: set[str] = set()
        for layer in self.layers:
            if layer.name in names or layer.name in _RESERVED:
                taken = "is taken by another layer" if layer.name in names else "is reserved"
                raise NetworkError(f"Layer '{layer.name}': the name {taken}; give it one of its own")
            names.add(layer.name)

    @property
    def classes(self) -> int:
        """Units of the last fully connected layer.

        Raises NetworkError where there is none.
        """
        return self._classifier().units

    def with_classes(self, classes: int) -> Network:
        """This network with another number of classes."""
        last = self._classifier()
        return self._replaced(last, replace(last, units=classes))

    def layer(self, name: str) -> Layer:
        """The layer of that name; NetworkError with the nearest name where there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = [layer.name for layer in self.layers]
        raise NetworkError(f"network '{self.name}': no layer '{name}'; {suggest(name, names)}")

    def check_takes_colours(self) -> None:
        """Raise NetworkError unless the input is RGB."""
        if self.input[2] != 3:
            raise NetworkError(f"network '{self.name}': input depth {self.input[2]}; must be 3, for RGB")

    def _classifier(self) -> Dense:
        for layer in reversed(self.layers):
            if isinstance(layer, Dense):
                return layer
        raise NetworkError(f"network '{self.name}': no dense layer, whose units would be its classes")

    def _replaced(self, old: Layer, new: Layer) -> Network:
        return replace(self, layers=tuple(new if layer is old else layer for layer in self.layers))


def suggest(word: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown word: the nearest known one, and all of them."""
    from difflib import get_close_matches

    known = list(known)
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return (f"did you mean '{near[0]}'? " if near else "") + f"known: {', '.join(known)}"


def edit(network: Network, *settings: str) -> Network:
    """The network with settings changed: "pool1.stride=4", "input=224", "input=224x320x3", "classes=10".

    >>> from alexnet.architecture.zoo import NOTES
    >>> edit(NOTES, "pool1.stride=4").layer("pool1").stride
    4

    Settings of one layer are made together, so that they need only fit each other. Raises NetworkError for an
    unknown layer or field, naming the nearest, and for a value out of range.
    """
    changes: dict[str, dict[str, Any]] = {}
    for setting in settings:
        target, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or not target or not value:
            raise NetworkError(f"setting {setting!r}: must read layer.field=value, input=SIZE or classes=N")
        if target == "input":
            network = replace(network, input=_parse_input(value, network.input))
        elif target == "classes":
            changes.setdefault(network._classifier().name, {})["units"] = _parse_whole(setting, value)
        else:
            name, field_name, parsed = _layer_setting(network, setting, target, value)
            changes.setdefault(name, {})[field_name] = parsed
    for name, change in changes.items():
        layer = network.layer(name)
        network = network._replaced(layer, replace(layer, **change))
    return network


def _layer_setting(network: Network, setting: str, target: str, value: str) -> tuple[str, str, Any]:
    name, dot, field_name = target.partition(".")
    if not dot:
        raise NetworkError(f"setting {setting!r}: must read layer.field=value, input=SIZE or classes=N")
    layer = network.layer(name)
    known = [each.name for each in fields(layer) if each.name != "name"]
    if field_name not in known:
        hint = suggest(field_name, known) if known else f"a {layer.kind} layer has none"
        raise NetworkError(f"Layer '{name}': no field '{field_name}'; {hint}")
    return name, field_name, parse_field(layer, field_name, value)


def _parse_whole(setting: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise NetworkError(f"setting {setting!r}: {value!r}; must be a whole number") from None


def _parse_input(value: str, current: Shape) -> Shape:
    sizes = [_parse_whole(f"input={value}", part) for part in value.lower().split("x")]
    match sizes:
        case [side]:
            return (side, side, current[2])
        case [height, width]:
            return (height, width, current[2])
        case [1 | 3 as depth, height, width] if width not in (1, 3) and current[2] in (1, 3):
            raise NetworkError(
                f"setting 'input={value}': {depth} pixels high; must be HEIGHTxWIDTHxDEPTH; "
                f"try input={height}x{width}x{depth}"
            )
        case [height, width, depth]:
            return (height, width, depth)
    raise NetworkError(f"setting 'input={value}': must be SIDE, HEIGHTxWIDTH or HEIGHTxWIDTHxDEPTH")


def to_mapping(network: Network) -> dict[str, Any]:
    """The network as JSON and TOML hold it; `from_mapping` gives an equal one back.

    Fields are written even where they are the default, which may be another one some day, but for those
    that leave a choice open.
    """
    return {
        "name": network.name,
        "source": network.source,
        "input": list(network.input),
        "layers": [{"kind": layer.kind} | _given(layer) for layer in network.layers],
    }


def _given(layer: Layer) -> dict[str, Any]:
    values = ((each.name, getattr(layer, each.name)) for each in fields(layer))
    return {name: value for name, value in values if value is not None}


def from_mapping(data: object, *, where: str = "network") -> Network:
    """The network that `to_mapping` wrote; NetworkError, beginning with `where`, says what does not fit."""
    table = _checked_table(data, where, required=("name", "input", "layers"), optional=("source",))
    for key in ("input", "layers"):
        if not isinstance(table[key], list):
            raise NetworkError(f"{where}: {key}={table[key]!r}; must be a list")
    try:
        return Network(
            name=table["name"],
            source=table.get("source", ""),
            input=tuple(table["input"]),
            layers=tuple(_layer(each, f"{where}: layer {i}") for i, each in enumerate(table["layers"], 1)),
        )
    except NetworkError as error:
        message = str(error)
        raise NetworkError(message if message.startswith(where) else f"{where}: {message}") from None


def _layer(data: object, where: str) -> Layer:
    if isinstance(data, dict) and "kind" not in data:
        raise NetworkError(f"{where}: 'kind' is missing; must be one of {', '.join(KINDS)}")
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise NetworkError(f"{where}: kind={kind!r}; {suggest(str(kind), KINDS)}")
    described = fields(KINDS[kind])
    required = [each.name for each in described if each.default is MISSING]
    optional = [each.name for each in described if each.default is not MISSING]
    values = dict(_checked_table(data, where, required=("kind", *required), optional=optional))
    del values["kind"]
    return KINDS[kind](**values)


def _checked_table(
    data: object, where: str, *, required: Iterable[str], optional: Iterable[str]
) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise NetworkError(f"{where}: {type(data).__name__}; must be a table of settings")
    known = [*required, *optional]
    for key in data:
        if key not in known:
            raise NetworkError(f"{where}: unknown '{key}'; {suggest(str(key), known)}")
    for key in required:
        if key not in data:
            raise NetworkError(f"{where}: '{key}' is missing; it must be given")
    return data


def to_toml(network: Network) -> str:
    """The network as TOML text.

    >>> from alexnet.architecture.zoo import NOTES
    >>> from_toml(to_toml(NOTES)) == NOTES
    True
    """
    data = to_mapping(network)
    del data["layers"]
    layers = ({"kind": layer.kind} | _without_defaults(layer) for layer in network.layers)
    blocks = [data, *layers]
    texts = ["\n".join(f"{key} = {_toml_value(value)}" for key, value in block.items()) for block in blocks]
    return "\n\n[[layers]]\n".join(texts) + "\n"


def _without_defaults(layer: Layer) -> dict[str, Any]:
    # Who reads and edits the file is told what is particular about a layer.
    return {
        each.name: getattr(layer, each.name)
        for each in fields(layer)
        if each.name in ("stride", "padding") or getattr(layer, each.name) != each.default
    }


def _toml_value(value: object) -> str:
    # JSON's strings, whole numbers and lists of them are TOML's too, but for DEL, which TOML escapes.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def from_toml(text: str, *, where: str = "TOML") -> Network:
    """The network that a TOML text describes; NetworkError, beginning with `where`, where it does not."""
    import tomllib

    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise NetworkError(f"{where}: not TOML: {error}") from None
    return from_mapping(data, where=where)


def read_network(path: str | Path) -> Network:
    """The network that a TOML file describes or that a weights file carries.

    Raises NetworkError that names the file.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return from_mapping(_carried(path), where=str(path))
        return from_toml(path.read_text(encoding="utf-8-sig"), where=str(path))
    except OSError as error:
        raise NetworkError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NetworkError(f"{path}: not text; must be a TOML file in UTF-8") from None


def _carried(path: Path) -> object:
    """The network in the header of a weights file: safetensors begins with its length and JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # 100 MB is the format's own bound for a header: a longer one is no header.
        header = file.read(length) if length <= 100_000_000 else b""
    try:
        return json.loads(json.loads(header)["__metadata__"]["alexnet"])["network"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NetworkError(f"{path}: carries no network; must be a weights file that alexnet wrote") from None
