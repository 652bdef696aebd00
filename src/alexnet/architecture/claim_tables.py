"""Claims from the tables that people publish: Markdown and CSV, with the headings that they use."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from alexnet.architecture.claims import (
    COUNTS,
    MOST_LAYERS,
    PASSING,
    SHAPES,
    Claim,
    ClaimedLayer,
    ClaimedTotal,
    Claims,
    claimed_layer,
    kind_of,
)
from alexnet.architecture.quantities import parse_amount, parse_shape
from alexnet.errors import ClaimsError

# What a heading, in lower case and without what stands in brackets, speaks of.
_HEADINGS = {
    "name": ";layer;layers;name;layer name;layer (type);stage;block",
    "kind": "type;kind;layer type;operation;op",
    "filters": "filters;filter;#filters;no. of filters;number of filters;kernels;channels;k;feature maps;"
    "feature map;maps;depth;out channels;num filters;no. of kernels;number of kernels;#kernels;"
    "output channels;filter number",
    "kernel": "kernel;kernel size;size;filter size;f;window;window size;size/kernel;size / kernel;"
    "filter/kernel size;kernel/pool size",
    "stride": "stride;strides;s",
    "padding": "padding;pad;p;pads",
    "groups": "groups;group;g",
    "units": "units;nodes",
    "input": "input;input shape;input size;in;in shape",
    "output": "output;output shape;output size;out;tensor size;activation shape;out shape;feature map size;"
    "size of feature map;output dimension;output dimensions",
    "neurons": "neurons;no. of neurons;number of neurons;#neurons;activation size",
    "weights": "weights;#weights;number of weights",
    "biases": "biases;bias;#biases",
    "parameters": "parameters;params;param;param #;#params;#parameters;# params;# parameters;parameter count;"
    "number of parameters;no. of parameters;trainable parameters;total parameters",
    "macs": "macs;mac;multiply-adds;mult-adds;madds;multiply-accumulates;# macs",
    "flops": "flops;flop;operations;ops",
    "bytes": "bytes;param bytes;memory;parameter memory;parameter bytes",
    "activation_bytes": "output bytes;activation bytes;activation memory",
}
_FIELD_OF = {heading: field for field, headings in _HEADINGS.items() for heading in headings.split(";")}
_NOTHING = ("", "-", "–", "—", "n/a", "na", "none", "/", "x", "--", "---")


def read_markdown(text: str, *, where: str) -> Claims:
    """The claims of every table of layers in a Markdown text, one after the other."""
    tables: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.strip().startswith("|") or re.search(r"\S\s*\|\s*\S", line):
            cells = [
                cell.strip()
                for cell in re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
            ]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                tables[-1].append(cells)
        elif tables[-1]:
            tables.append([])
    return _from_tables([table for table in tables if len(table) > 1], where)


def read_csv(text: str, *, where: str) -> Claims:
    """The claims of a table with commas, semicolons or tabs; ClaimsError where it has no layers."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
    except csv.Error as error:
        raise ClaimsError(f"{where}: not CSV: {error}") from None
    return _from_tables([[row for row in rows if any(row)]], where)


def _from_tables(tables: Sequence[Sequence[Sequence[str]]], where: str) -> Claims:
    layers: list[ClaimedLayer] = []
    totals: list[ClaimedTotal] = []
    for table in tables:
        fields = _fields(table) if table else []
        if not {"name", "kind"} & set(fields) or not set(fields) - {"name", "kind", None}:
            continue
        for number, cells in enumerate(table[1:], 1):
            row = _row(fields, cells)
            if row.get("name", "").lower().startswith(("total", "sum", "all layers", "overall")):
                totals.append(_total_row(row))
            elif row and not {"name", "kind"} & row.keys():
                if number < len(table) - 1:
                    raise ClaimsError(f"{where}: row {number}: has no name; must have one, or be the last")
                totals.append(_total_row(row))
            elif row:
                layers.append(_layer(row, f"{where}: row {number}"))
            if len(layers) > MOST_LAYERS:
                raise ClaimsError(f"{where}: over {MOST_LAYERS:,} layers; no more are audited")
    if not layers and not totals:
        raise ClaimsError(
            f"{where}: no table of layers; must have headings such as Layer and Output or Parameters"
        )
    entering = next((layer for layer in layers if layer.name.lower().startswith("input")), None)
    given = (entering.shape("output") or entering.shape("input")) if entering is not None else None
    return Claims(
        title=where,
        input=given,
        layers=tuple(layer for layer in layers if layer is not entering),
        totals=tuple(total for total in totals if total.claims),
    )


def _fields(table: Sequence[Sequence[str]]) -> list[str | None]:
    """What each column speaks of: its heading, and its cells where the heading may mean two things."""
    fields = [_field(heading) for heading in table[0]]
    for place, field in enumerate(fields):
        if field == "name" and "name" in fields[:place]:
            fields[place] = "kind"
        if field == "kernel":
            cells = [row[place] for row in table[1:] if place < len(row)]
            volumes = sum(len(parse_shape(cell) or ()) == 3 for cell in cells)
            if 2 * volumes > len(cells):  # "Size" of what comes out, not of the window
                fields[place] = "output"
    return fields


def _field(heading: str) -> str | None:
    plain = re.sub(r"[*`_]", "", heading.lower()).strip()
    bare = re.sub(r"\s*[\(\[].*?[\)\]]", "", plain).strip()
    return _FIELD_OF.get(plain, _FIELD_OF.get(bare))


def _row(fields: Sequence[str | None], cells: Sequence[str]) -> dict[str, str]:
    row: dict[str, str] = {}
    for field, cell in zip(fields, cells, strict=False):
        printed = cell.strip().strip("*`").strip()
        if field is not None and field not in row and printed.lower() not in _NOTHING:
            row[field] = printed
    return row


def _layer(row: dict[str, str], where: str) -> ClaimedLayer:
    name = row.get("name") or row["kind"]
    kind = kind_of(row["kind"]) if kind_of(row.get("kind", "")) != "other" else kind_of(name)
    if "kind" not in row and name.lower() == "output" and row.get("parameters", row.get("weights")) == "0":
        kind = "other"  # the last layer's answers once more
    values: dict[str, object] = {"name": name, "kind": kind}
    for field, printed in row.items():
        if field in ("name", "kind"):
            continue
        if field == "padding" and printed.lower() in ("valid", "same"):
            values["padding"] = printed.lower()
            continue
        if field == "filters" and kind != "conv":
            continue  # of a pool the depth of what comes, of a dense layer its units: told by the output
        if field in SHAPES:
            if parse_shape(printed) is not None:
                values[field] = printed
        elif field in COUNTS:
            if parse_amount(printed) is not None:
                values[field] = printed
        elif parse_shape(printed) is not None:
            values[field] = printed
    if kind in PASSING:
        values = {key: values[key] for key in ("name", "kind", "input", "output") if key in values}
    return claimed_layer(values, where=where)


def _total_row(row: dict[str, str]) -> ClaimedTotal:
    claims = {}
    for field in COUNTS:
        amount = parse_amount(row[field]) if field in row else None
        if amount is not None:
            claims[field] = Claim(where="total", field=field, text=row[field], value=amount)
    return ClaimedTotal(of="all", claims=claims)
