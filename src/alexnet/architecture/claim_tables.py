"""Claims from the tables that people publish: Markdown and CSV, with the headings that they use."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alexnet.architecture.claims import (
    COUNTS,
    FIELDS,
    MOST_CHARACTERS,
    MOST_LAYERS,
    RECEPTIVE,
    SHAPES,
    WHOLE,
    Claim,
    ClaimedLayer,
    ClaimedTotal,
    Claims,
    Unread,
    claimed_layer,
    kind_of,
    kind_of_several,
    value_of,
)
from alexnet.architecture.descriptions import described
from alexnet.architecture.expressions import evaluate, without_latex
from alexnet.architecture.quantities import TIMES, parse_amount, parse_shape
from alexnet.errors import ClaimsError

# What a heading, in lower case and without what stands in brackets, speaks of.
_HEADINGS = {
    "name": ";layer;layers;name;layer name;layer (type);stage;block",
    "kind": "type;kind;layer type;operation;op",
    "filters": "filters;filter;kernels;channels;k;feature maps;feature map;maps;depth;out channels;"
    "output channels;filter number;filters/neurons;filters / neurons;filters/units;filters / units",
    "kernel": "kernel;kernel size;size;filter size;f;window;window size;size/kernel;size / kernel;"
    "filter/kernel size;kernel/pool size;filter shape;kernel shape",
    "stride": "stride;strides;s",
    "padding": "padding;pad;p;pads",
    "groups": "groups;group;g",
    "units": "units;nodes;out features",
    "input": "input;inputs;input shape;input size;in;in shape;input dimension;input dimensions;input dim;"
    "input dims;input volume;input feature map;in features",
    "output": "output;outputs;output shape;output size;out;tensor size;activation shape;out shape;"
    "feature map size;size of feature map;output dimension;output dimensions;output dim;output dims;"
    "output volume;output feature map",
    "neurons": "neurons;activation size",
    "weights": "weights;weight",
    "biases": "biases;bias",
    "parameters": "parameters;parameter;params;param;param.;parameter count;parameters count;params count;"
    "trainable parameters;trainable params;learnable parameters;total parameters;total params",
    "macs": "macs;mac;multiply-adds;mult-adds;madds;multiply-accumulates",
    "flops": "flops;flop;operations;ops",
    "bytes": "bytes;param bytes;parameter memory;parameter bytes",
    "memory": "memory",
    "activation_bytes": "output bytes;activation bytes;activation memory",
    "receptive_field": "receptive field;receptive field size;rf;rf size",
    "receptive_stride": "its stride;receptive stride;effective stride;cumulative stride;jump",
    "description": "description;details;configuration;config;settings;specification;hyperparameters",
}
_FIELD_OF = {heading: name for name, headings in _HEADINGS.items() for heading in headings.split(";")}
_FORMS = {
    **dict.fromkeys(RECEPTIVE, "pixels, a whole number"),
    **dict.fromkeys(SHAPES, "a shape such as 55x55x96"),
    **dict.fromkeys(WHOLE, "a whole number, of a window 3 or 3x3"),
    **dict.fromkeys(("filters", "units"), "a whole number such as 96, or 48x2 on two GPUs"),
}
_BAR = "[│┃║]"
_BARRED = re.compile(rf"\s*{_BAR}.*{_BAR}\s*")  # a row between drawn lines; a torchinfo tree's has one bar
_DRAWN = re.compile(r"\s*[─-╿+][─-╿+=\s-]*")  # a line between rows
_SUM = re.compile(r"\W*((?:total|(?:non-?\s?)?trainable)\b[^:|]*:\s*[~≈]?\d.*)", re.IGNORECASE)
_NOTHING = ("", "-", "–", "—", "n/a", "na", "none", "/", "--", "---")
_NOT_IN_WORDS = "cannot be read; must be such as 96 filters of 11x11, stride 4, pad 2"
_NOTE = re.compile(r"\[\^[^\]]+\]|(?<!10)<sup>.*?</sup>")  # what points to a footnote, and no power of ten
_SETTING = re.compile(r"[a-z]\s*=\s*\d", re.IGNORECASE)
# Of a heading: Params (K), Memory [MB], MACs (M/image).
_SCALED = re.compile(r"[(\[,]\s*(?:in\s+)?(\w+)(?:\s*(?:/|per)\s*\w+)?\s*[)\]]?\s*$")
_THOUSANDS = re.compile(rf"[(\[,]\s*(?:in\s+)?[{TIMES}]?\s*1(?:(0{{3,12}})|e([1-9]))\s*[)\]]?\s*$")
_PREFIXED = re.compile(r"([kmgt])(flops?|macs?|params?)")  # GFLOPs, MMACs
_FIGURE = re.compile(r"[~≈]?\s*\d[\d.,]*(?:\s*[a-zA-Z]+)?")
# Numbers with a decimal comma, or points between thousands, that cannot be read otherwise; and the reverse.
_CONTINENTAL = re.compile(
    r"[~≈]?\s*(?:0,\d+|[\d.]+,(?:\d{1,2}|\d{4,})|\d{1,3}(?:\.\d{3}){2,})(?:\s*[a-zA-Z]+)?"
)
_ENGLISH = re.compile(r"[~≈]?\s*(?:0\.\d+|[\d,]+\.(?:\d{1,2}|\d{4,})|\d{1,3}(?:,\d{3}){2,})(?:\s*[a-zA-Z]+)?")


def read_markdown(text: str, *, where: str) -> Claims:
    """The claims of every table of layers in a Markdown text, one after the other.

    Their columns may as well stand between drawn lines, and sums below them, as Keras prints both.
    """
    tables: list[list[list[str]]] = [[]]
    beneath: list[str] = []
    for line in text.splitlines():
        if _BARRED.fullmatch(line):
            line = re.sub(_BAR, "|", line)  # noqa: PLW2901
        if line.strip().startswith("|") or re.search(r"\S\s*\|\s*\S", line):
            cells = [
                cell.strip()
                for cell in re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
            ]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                tables[-1].append(cells)
        elif not _DRAWN.fullmatch(line):
            beneath += [told[1]] if (told := _SUM.fullmatch(line)) else []
            tables += [[]] if tables[-1] else []
    return _from_tables([table for table in tables if len(table) > 1], where, beneath)


def read_csv(text: str, *, where: str) -> Claims:
    """The claims of a table with commas, semicolons or tabs; ClaimsError where it has no layers."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
        rows = _with_decimal_points(rows) if delimiter != "," else rows
    except csv.Error as error:
        raise ClaimsError(f"{where}: not CSV: {error}") from None
    return _from_tables([[row for row in rows if any(row)]], where)


def _with_decimal_points(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells of a table whose numbers have decimal commas, 0,035 and 37.752.832, with points instead."""
    cells = [cell for row in rows for cell in row]
    if any(map(_ENGLISH.fullmatch, cells)) or not any(map(_CONTINENTAL.fullmatch, cells)):
        return [list(row) for row in rows]
    swapped = str.maketrans(",.", ".,")
    return [[cell.translate(swapped) if _FIGURE.fullmatch(cell) else cell for cell in row] for row in rows]


@dataclass(frozen=True, kw_only=True)
class _Column:
    """What a column speaks of."""

    heading: str  # as printed
    field: str | None  # one of _HEADINGS; None where it is none of them
    scale: str = ""  # of its figures, where the heading says it: K, MB, x 10^6


@dataclass(kw_only=True)
class _Row:
    """The cells of one row, by what they speak of."""

    where: str
    cells: dict[str, str] = field(default_factory=dict)
    unread: list[Unread] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.cells.get("name") or self.cells.get("kind", "")

    def leave(self, heading: str, text: str, reason: str) -> None:
        self.unread.append(Unread(where=self.name or "table", field=heading, text=text, reason=reason))


def _from_tables(
    tables: Sequence[Sequence[Sequence[str]]], where: str, beneath: Sequence[str] = ()
) -> Claims:
    """The claims of tables, row by row, and of the lines of sums `beneath` them."""
    listed: list[_Row] = []
    sums = [_Row(where=where, cells={"name": line}) for line in beneath]
    for row in sums:
        _take_apart(row)
    unread: list[Unread] = []
    for table in tables:
        columns = _columns(table) if table else []
        fields = {column.field for column in columns}
        if not {"name", "kind"} & fields or not fields - {"name", "kind", None}:
            continue
        unread += _unknown(columns, table[1:])
        rows = [
            row
            for number, cells in enumerate(table[1:], 1)
            if (row := _row(columns, cells, f"{where}: row {number}")).cells
        ]
        layers = [row for row in rows if row.name and not _is_total(row)]
        if layers and _is_input(layers[-1]) and not _is_input(layers[0]):
            layers.reverse()  # from the output down to the input
        for row in rows[:-1]:
            if not row.name:
                raise ClaimsError(f"{row.where}: has no name; must have one, or be the last")
        sums += [row for row in rows if row not in layers]
        if not _merged(listed, layers):
            if any(map(_is_input, listed)) and any(map(_is_input, layers)):
                raise ClaimsError(f"{where}: two tables begin with an input; give each a file of its own")
            listed += layers
        if len(listed) > MOST_LAYERS:
            raise ClaimsError(f"{where}: over {MOST_LAYERS:,} layers; no more are audited")
    if not listed and len(sums) == len(beneath):
        raise ClaimsError(
            f"{where}: no table of layers; must have columns between | or commas, and headings such as Layer "
            "and Output or Parameters"
        )
    relations: list[str] = []
    layers_read = [_layer(row, relations) for row in listed]
    totals = [_total(row, relations) for row in sums]
    unread += [each for row in (*listed, *sums) for each in row.unread]
    entering = next((layer for row, layer in zip(listed, layers_read, strict=True) if _is_input(row)), None)
    return Claims(
        title=where,
        input=(entering.shape("output") or entering.shape("input")) if entering is not None else None,
        entering=entering,
        layers=tuple(layer for layer in layers_read if layer is not entering),
        totals=tuple(total for total in totals if total.claims),
        relations=tuple(relations),
        unread=tuple(unread),
    )


def _is_input(row: _Row) -> bool:
    names = (row.name.lower(), row.cells.get("kind", "").lower())
    return any(name.startswith("input") or name == "in" for name in names)


def _is_total(row: _Row) -> bool:
    return _is_of_what_is_trained(row) or row.cells.get("name", "").lower().startswith(
        ("total", "sum", "all layers", "overall")
    )


def _is_of_what_is_trained(row: _Row) -> bool:
    """Whether it counts a part of all parameters, those that are trained or those that are not."""
    return re.match(r"(?:non-?\s?)?trainable", row.name.lower()) is not None


def _merged(listed: Sequence[_Row], layers: Sequence[_Row]) -> bool:
    """Whether `layers` speak of layers that are `listed` already; what they say is added to those."""
    before, names = ([row.name.lower() for row in rows] for rows in (listed, layers))
    if not names or not set(names) <= set(before):
        return False
    if before != names and (len(set(before)) < len(before) or len(set(names)) < len(names)):
        return False
    for place, row in enumerate(layers):
        known = listed[place if before == names else before.index(names[place])]
        known.unread += row.unread
        for name, printed in row.cells.items():
            if known.cells.setdefault(name, printed) != printed:
                known.leave(name, printed, f"an earlier table says {known.cells[name]}, which is judged")
    return True


def _columns(table: Sequence[Sequence[str]]) -> list[_Column]:
    """What each column speaks of: its heading, and its cells where the heading may mean two things."""
    columns: list[_Column] = []
    headings = [_FIELD_OF.get(bare) if bare != "size" else None for bare in map(_bare, table[0])]
    windowed = "kernel" in headings or any(
        heading in ("name", "kind", "description") and "kernel" in (described(cell) or ())
        for row in table[1:]
        for heading, cell in zip(headings, row, strict=False)
    )
    for place, heading in enumerate(table[0]):
        plain, bare = _plain(heading), _bare(heading)
        counted = re.sub(r"^(?:#(?:\s*of\b)?|no\.? of|number of|num\.?)\s*|\s*#$", "", bare)
        prefixed = _PREFIXED.fullmatch(counted)
        tried = (plain, bare, prefixed[2] if prefixed else counted or plain)
        name = next((_FIELD_OF[each] for each in tried if each in _FIELD_OF), None)
        shapes = [parse_shape(row[place]) or () for row in table[1:] if place < len(row)]
        if name == "name" and any(column.field == "name" for column in columns):
            name = "kind"
        if name == "description" and not any(described(row[place]) for row in table[1:] if place < len(row)):
            name = None  # of the table's layers, or of anything else
        volumes = 2 * sum(len(shape) == 3 for shape in shapes) > len(shapes)
        if name == "kernel" and bare == "size" and (windowed or volumes):
            name = "output"  # "Size" of what comes out, not of the window
        windows = sum(len(shape) > 1 and shape[0] == shape[1] for shape in shapes)
        if name == "filters" and windows and windows >= sum(len(shape) == 1 for shape in shapes):
            # "Filter", 11x11: the window of one, not how many; or "Feature maps", 96@55x55.
            name = "output" if windowed else "kernel"
        scale = prefixed[1].upper() if prefixed else _scale(plain, name) if name in COUNTS else ""
        scaled = parse_amount(f"1 {scale}")
        if name in ("parameters", "weights") and scaled is not None and scaled.byte_text:
            name = "bytes"
        columns.append(_Column(heading=heading, field=name, scale=scale))
    return columns


def _plain(heading: str) -> str:
    """A heading in lower case, without emphasis and notes; words may be joined, as in activation_bytes."""
    words = re.sub(r"<br\s*/?>", " ", _NOTE.sub("", heading.lower()))
    words = re.sub(r"(?<=[a-z])_(?=[a-z])", " ", words)
    return re.sub(r"[*`_]", "", words).strip()


def _bare(heading: str) -> str:
    """A plain heading without what stands in brackets or behind a comma."""
    return re.sub(r"\s*[\(\[].*?[\)\]]", "", _plain(heading)).partition(",")[0].strip()


def _scale(heading: str, name: str | None) -> str:
    """What a heading says that its figures are multiplied by, as it stands behind a figure."""
    if thousands := _THOUSANDS.search(heading):
        return f"x 10^{thousands[2] or len(thousands[1])}"
    if power := re.search(r"10\s*(?:\^|\*\*)?\s*\{?([\d⁰¹²³⁴⁵⁶⁷⁸⁹]+)\}?\s*[)\]]", heading):
        return f"x 10^{power[1]}" if power[1].isascii() else f"x 10{power[1]}"
    word = match[1] if (match := _SCALED.search(heading)) else ""
    amount = parse_amount(f"1 {word}")
    if amount is None or (word == "b" and name in ("bytes", "memory", "activation_bytes")):
        return ""
    return word.upper() if amount.value != 1 or amount.byte_text else ""


def _unknown(columns: Sequence[_Column], rows: Sequence[Sequence[str]]) -> list[Unread]:
    """The columns of figures whose heading is none of those that are read."""
    found = []
    for place, column in enumerate(columns):
        cells = [row[place] for row in rows if place < len(row) and re.search(r"\d", row[place])]
        numbered = [str(number) for number in range(len(cells) + 1)]
        if column.field is not None or not cells or cells in (numbered[1:], numbered[:-1]):
            continue
        more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        reason = "this heading is none of those that are read (docs/audit.md)"
        found.append(Unread(where="table", field=column.heading, text=f"{cells[0]}{more}", reason=reason))
    return found


def _row(columns: Sequence[_Column], cells: Sequence[str], where: str) -> _Row:
    row = _Row(where=where)
    twice: list[tuple[str, str]] = []
    for column, cell in zip(columns, cells, strict=False):
        printed = without_latex(_NOTE.sub("", cell)).strip().strip("*`").strip()
        if column.field is None or printed.lower() in _NOTHING:
            continue
        if column.scale and re.fullmatch(r"[~≈]?\s*\d[\d.,]*", printed):
            printed = f"{printed} {column.scale}"
        known = row.cells.setdefault(column.field, printed)
        if known == printed:
            continue
        if column.field in FIELDS and _read(column.field, known) is None:
            row.cells[column.field], printed = printed, known  # a column of words, then one of figures
        twice.append((column.heading, printed))
    for heading, printed in twice:
        row.leave(heading, printed, "another column of the table is read for this")
    _take_apart(row)
    for cell in cells[len(columns) :]:
        if re.search(r"\d", cell):
            row.leave("a cell without a heading", cell, "the row has more cells than there are headings")
    return row


def _take_apart(row: _Row) -> None:
    """Put the figures that a cell tells in words where they belong."""
    for column in ("kernel", "filters", "units", "stride", "padding"):
        printed = row.cells.get(column, "")
        in_words = "@" in printed or _read(column, printed) is None
        if in_words and (told := described(printed)):
            del row.cells[column]
            _tell(row, told, column, printed)
    name = row.cells.get("name", "")
    if _is_total(row) and re.search(r":.*\d", name):
        _take_total(row, name)
        return
    head, _, tail = name.rstrip(")").partition(":" if ":" in name else "(")
    if told := described(tail):  # CONV1: 96 filters of 11x11
        row.cells["name"] = head.strip()
        _tell(row, told, "name", tail)
    elif told is None and re.search(rf"=\s*\d|\d\s*[{TIMES}]\s*\d", tail):
        row.leave("name", tail, _NOT_IN_WORDS)
    for column in ("kind", "description"):
        printed = row.cells.get(column, "")
        if (told := described(printed)) is None:
            row.leave(column, printed, _NOT_IN_WORDS)
        _tell(row, told or {}, column, printed)


def _take_total(row: _Row, name: str) -> None:
    """Put the figure of "Total params: 61,100,840", as libraries print it below a table, where it belongs."""
    head, _, tail = name.partition(":")
    row.cells["name"] = head.strip()
    words = re.sub(r"^(?:total|sum|overall|(?:non-?\s?)?trainable)\s*(?:of|number of)?\s*", "", _plain(head))
    counted = next((_FIELD_OF[each] for each in (words, _bare(words)) if _FIELD_OF.get(each) in COUNTS), None)
    scale = _scale(words, counted) if counted else ""
    in_bytes = re.fullmatch(r"(.*?)\s*\(([^()]*)\)", tail.strip())  # 61,100,840 (233.08 MB)
    if counted == "parameters" and in_bytes and (size := parse_amount(in_bytes[2])) and size.byte_text:
        tail = in_bytes[1]
        _tell(row, {"bytes": in_bytes[2]}, "name", in_bytes[2])
    figure = f"{tail.strip()} {scale}".strip()
    if counted is None or parse_amount(figure) is None:
        row.leave("name", tail.strip(), "of what it is the total cannot be read")
    else:
        _tell(row, {counted: figure}, "name", tail.strip())


def _tell(row: _Row, told: Mapping[str, str], column: str, printed: str) -> None:
    for name, figure in told.items():
        known = row.cells.setdefault(name, figure)
        if _read(name, known) != _read(name, figure):
            row.leave(column, printed, f"another cell of the row says {known}, which is judged")


def _read(name: str, printed: str) -> object:
    """What a cell says; None where it cannot be read."""
    if name == "padding" and printed.lower() in ("valid", "same"):
        return printed.lower()
    try:
        return value_of(name, printed, "")
    except ClaimsError:
        return None


def _layer(row: _Row, relations: list[str]) -> ClaimedLayer:
    name = row.name
    told = row.cells.get("kind", "")
    kind = kind_of(told) if kind_of(told) != "other" else kind_of(name)
    given = row.cells.get("parameters", row.cells.get("weights"))
    if "kind" not in row.cells and name.lower() == "output" and given == "0":
        kind = "other"  # the last layer's answers once more
    elif kind == "other":
        amount = parse_amount(given or "")
        has_weights = amount is not None and amount.value > 0
        if has_weights or "kernel" in row.cells or "units" in row.cells:
            kind = kind_of_several(name)
        if has_weights and kind == "other" and "softmax" in name.lower():
            kind = "dense"
    values: dict[str, object] = {"name": name, "kind": kind}
    for column, printed in _split(row.cells).items():
        if column == "filters" and kind == "dense":
            values.setdefault("units", _value(row, "units", printed, relations))
        else:
            values[column] = _value(row, column, printed, relations)
    return claimed_layer({key: value for key, value in values.items() if value is not None}, where=row.where)


def _split(cells: Mapping[str, str]) -> dict[str, str]:
    """The figures' cells, and what stands in one for two: 11x11x3x96, params in MB."""
    split = {name: printed for name, printed in cells.items() if name not in ("name", "kind", "description")}
    if len(shape := parse_shape(split.get("kernel", "")) or ()) == 4 and shape[0] == shape[1]:
        split.setdefault("filters", str(shape[3]))
    for name in ("parameters", "weights"):
        amount = parse_amount(split.get(name, ""))
        if amount is not None and amount.byte_text and "bytes" not in split:
            split["bytes"] = split.pop(name)
    return split


def _value(row: _Row, name: str, printed: str, relations: list[str]) -> str | None:
    """What a cell says, as printed; an equation in it is a relation too, and its figure is the claim."""
    left, equals, right = printed.rpartition("=")
    if _SETTING.search(printed) and evaluate(left.rpartition("=")[2].strip()) is None:
        equals = ""  # "f=11, s=4" says two things, and the one behind the last "=" is not this one
    sides = (left, right, printed) if name in SHAPES else (right, printed)
    if equals and re.search(r"\d", left) and re.search(r"\d", right) and len(printed) <= MOST_CHARACTERS:
        relations.append(printed)
    for side in sides if equals else (printed,):
        if _read(name, side.strip()) is not None:
            return side.strip()
    row.leave(name, printed, f"cannot be read; must be {_FORMS.get(name, 'a number such as 34,848 or 1.4M')}")
    return None


def _total(row: _Row, relations: list[str]) -> ClaimedTotal:
    claims = {}
    for name, printed in _split(row.cells).items():
        if _is_of_what_is_trained(row):
            row.leave(name, printed, "which layers are trained is not said")
        elif name not in COUNTS:
            if re.search(r"\d", printed):
                row.leave(name, printed, "of layers together no such figure is computed")
        elif (text := _value(row, name, printed, relations)) is not None:
            claims[name] = Claim(where="total", field=name, text=text, value=value_of(name, text, row.where))
    return ClaimedTotal(of="all", claims=claims)
