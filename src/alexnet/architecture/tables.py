"""The forms of figures: text, Markdown, HTML, CSV, JSON. Computes none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from html import escape
from itertools import zip_longest
from typing import Any

from alexnet.architecture.arithmetic import LayerSummary, shape_text
from alexnet.architecture.figures import Figures
from alexnet.architecture.layers import Conv, Dense, ReLU
from alexnet.architecture.network import to_mapping
from alexnet.architecture.sentences import carrying

LETTERS = "F: filter size, K: filters, S: stride, P: padding."
CONVENTIONS = (
    "MACs: a multiply with its add is one; biases, ReLU and pooling are not counted.",
    "MACs and output bytes are for one picture. Bytes are those of float32.",
)

_TOTALS = (
    "weights",
    "biases",
    "parameters",
    "macs",
    "neurons",
    "parameter_bytes",
    "activation_bytes",
    "weighted_layers",
    "dense_weights",
    "dense_share",
)

Cells = Sequence[str]


def text(summary: Figures, *, formulas: bool) -> str:
    """Two tables of 80 columns at most (shapes and weights; costs), the totals in words, the formulas."""
    rows = _shown(summary)
    parts = [
        _title(summary),
        aligned(_SHAPE_HEAD, [*(_shape_cells(row) for row, _ in rows), _shape_total(summary)]),
        aligned(_COST_HEAD, [_cost_cells(row, then) for row, then in rows]),
        "\n".join(remarks(summary)),
    ]
    if formulas:
        parts.append("\n\n".join(_formula_text(row) for row in summary.layers))
    return "\n\n".join(parts) + "\n"


def markdown(summary: Figures, *, formulas: bool) -> str:
    """One table with shapes, weights and costs; remarks; the formulas as a list a layer."""
    head, rows = cells(summary)
    lines = [_markdown_line(head), _markdown_line(["---", *["---:"] * (len(head) - 1)])]
    lines += [_markdown_line(row) for row in rows]
    lines += ["", *(f"- {remark}" for remark in remarks(summary))]
    if formulas:
        for row in summary.layers:
            lines += ["", f"**{row.name}**", ""]
            lines += [f"- {_words(name)}: `{formula}`" for name, formula in row.formulas.items()]
    return "\n".join(lines) + "\n"


def html(summary: Figures, *, formulas: bool = False) -> str:
    """A fragment that needs nothing else, for notebooks and pages: title, table, remarks, formulas to unfold.

    Its colours are those of the page around it, light or dark.
    """
    title, *source = _title(summary).splitlines()
    parts = [
        f'<div class="alexnet-summary">\n<style>\n{_HTML_STYLE}</style>',
        f"<p><strong>{escape(title)}</strong>{''.join(f'<br>{escape(line)}' for line in source)}</p>",
        html_table(*cells(summary)),
        "<ul>" + "\n".join(f"<li>{escape(remark)}</li>" for remark in remarks(summary)) + "</ul>",
    ]
    for row in summary.layers if formulas else ():
        told = html_table(None, [(_words(name), formula) for name, formula in row.formulas.items()])
        parts.append(f"<details><summary>{escape(row.name)} ({row.kind})</summary>{told}</details>")
    return "\n".join([*parts, "</div>"]) + "\n"


def html_table(head: Cells | None, rows: Iterable[Cells]) -> str:
    """An HTML table in a box that scrolls where it is wider than the page."""

    def line(cells: Cells, tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    lines = [*([line(head, "th")] if head else []), *(line(row, "td") for row in rows)]
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def cells(summary: Figures) -> tuple[Cells, list[Cells]]:
    """The head and the rows of the one wide table, as printed: a row a layer but for ReLU, then the total."""
    rows = [[*_shape_cells(row), *_cost_cells(row, then)[1:]] for row, then in _shown(summary)]
    total = [*_shape_total(summary), *[""] * (len(_COST_HEAD) - 1)]
    return [*_SHAPE_HEAD, *_COST_HEAD[1:]], [*rows, total]


def csv(summary: Figures) -> str:
    """A header and one line a layer, every figure a column; shapes as 55x55x96."""
    columns = [each.name for each in fields(LayerSummary) if each.name != "formulas"]
    return csv_table(columns, summary.layers)


def csv_table(columns: Sequence[str], rows: Iterable[object]) -> str:
    """A header, then each row's attributes of those names; shapes as 55x55x96, None as nothing."""
    import csv as csv_module
    import io

    buffer = io.StringIO()
    writer = csv_module.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([csv_value(getattr(row, column)) for column in columns])
    return buffer.getvalue()


def json(summary: Figures) -> str:
    """The network, every layer with all its figures and formulas, the totals, the conventions."""
    import json as json_module

    data: dict[str, Any] = {
        "network": to_mapping(summary.network),
        "layers": [{each.name: getattr(row, each.name) for each in fields(row)} for row in summary.layers],
        "totals": {name: getattr(summary, name) for name in _TOTALS},
        "conventions": list(CONVENTIONS),
    }
    return json_module.dumps(data, indent=2, ensure_ascii=False) + "\n"


# Notebooks have rules of their own for tables: these are said for what is within the fragment only.
_HTML_STYLE = """.alexnet-summary .wide { overflow-x: auto; }
.alexnet-summary table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.alexnet-summary th, .alexnet-summary td { padding: .2em .6em; text-align: right; white-space: nowrap;
  color: inherit; border: 0; border-bottom: 1px solid rgba(128, 128, 128, .4); }
.alexnet-summary th:first-child, .alexnet-summary td:first-child,
.alexnet-summary details td { text-align: left; }
"""

_SHAPE_HEAD = ("layer", "input", "F", "K", "S", "P", "output", "weights", "biases", "MACs")
_COST_HEAD = ("layer", "then", "neurons", "param bytes", "output bytes", "receptive field", "its stride")


def _shown(summary: Figures) -> list[tuple[LayerSummary, str]]:
    """The rows of a printed table, each with the activation that follows it and has no row of its own."""
    rows = summary.layers
    return [
        (row, "ReLU" if follower is not None and follower.kind == ReLU.kind else "")
        for row, follower in zip_longest(rows, rows[1:])
        if row.kind != ReLU.kind
    ]


def _shape_cells(row: LayerSummary) -> Cells:
    windowed = [row.kernel, row.filters, row.stride, row.padding]
    return (
        row.name,
        shape_text(row.input),
        *("-" if value is None else str(value) for value in windowed),
        shape_text(row.output),
        f"{row.weights:,}",
        f"{row.biases:,}",
        f"{row.macs:,}",
    )


def _shape_total(summary: Figures) -> Cells:
    totals = (summary.weights, summary.biases, summary.macs)
    return ("total", *[""] * 6, *(f"{total:,}" for total in totals))


def _cost_cells(row: LayerSummary, activation: str) -> Cells:
    return (
        row.name,
        activation,
        f"{row.neurons:,}",
        f"{row.parameter_bytes:,}",
        f"{row.activation_bytes:,}",
        str(row.receptive_field),
        "-" if row.receptive_stride is None else str(row.receptive_stride),
    )


def _title(summary: Figures) -> str:
    network = summary.network
    head = f"{network.name}: input {shape_text(network.input)} (height x width x depth)"
    return f"{head}\n{network.source}".strip()


def _weighted_layers(summary: Figures) -> str:
    names = [row.name for row in summary.layers if row.weights]
    ends = " to ".join(dict.fromkeys((names[0], names[-1]))) if names else ""
    return carrying(len(names)) + (f" ({ends}); pooling is not counted." if names else ".")


def remarks(summary: Figures) -> list[str]:
    """The totals in words, the comparison that the notes open with, what is cut off, the conventions."""
    told = [
        _weighted_layers(summary),
        f"{summary.weights:,} weights + {summary.biases:,} biases = {summary.parameters:,} parameters, "
        f"{summary.parameter_bytes:,} bytes.",
    ]
    if summary.dense_weights:
        dense = [row.name for row in summary.layers if row.kind == Dense.kind]
        told.append(
            f"Fully connected layers ({', '.join(dense)}): {summary.dense_weights:,} weights, "
            f"{summary.dense_share:.1%} of all."
        )
    for row in summary.layers:
        if row.fully_connected_weights and row.weights:
            told.append(
                f"{row.name} fully connected: {row.formulas['fully_connected_weights']} weights, "
                f"{row.fully_connected_weights / row.weights:,.0f} times its {row.weights:,}."
            )
            break
    told += [remark for row in summary.layers for remark in _layer_remarks(row)]
    for layer in summary.network.layers[: len(summary.layers)]:
        if isinstance(layer, Conv) and (more := layer.extra_padding):
            told.append(f"{layer.name}: padding of {more} more, at the bottom and on the right only.")
    longest = max(summary.network.input[:2])
    beyond = next((row for row in summary.layers if row.receptive_field > longest), None)
    if beyond is not None:
        told.append(
            f"Receptive fields count padding: {beyond.name}'s {beyond.receptive_field} pixels reach beyond "
            f"the picture's {longest}."
        )
    return [*told, LETTERS, *CONVENTIONS]


def _layer_remarks(row: LayerSummary) -> Iterator[str]:
    """What is particular about a layer and has no column: groups, and sizes that do not divide."""
    if row.groups is not None and row.groups > 1:
        yield f"{row.name}: {row.groups} groups; each filter sees {row.input[2] // row.groups} channels."
    padded = ", padding included" if row.padding else ""
    rows, columns = row.cut_off or (0, 0)
    if rows or columns:
        yield (
            f"{row.name}: {row.formulas['height' if rows else 'width']} rounds down: no window "
            f"reaches {rows} of its rows (bottom) and {columns} of its columns (right){padded}."
        )
    rows, columns = row.beyond or (0, 0)
    if rows or columns:
        yield (
            f"{row.name}: {row.formulas['height' if rows else 'width']} rounds up: the last windows reach "
            f"{rows} rows (bottom) and {columns} columns (right) beyond its input{padded}."
        )


def _formula_text(row: LayerSummary) -> str:
    width = max(len(_words(name)) for name in row.formulas)
    lines = [f"  {_words(name):<{width}}  {formula}" for name, formula in row.formulas.items()]
    return "\n".join([f"{row.name} ({row.kind})", *lines])


def _words(name: str) -> str:
    return name.replace("_", " ").replace("macs", "MACs")


def aligned(head: Cells, rows: Iterable[Cells]) -> str:
    """Columns as wide as their widest cell, numbers to the right, the first column to the left."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    printed = [aligned_line(line, widths) for line in lines]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([printed[0], rule, *printed[1:]])


def aligned_line(cells: Cells, widths: Sequence[int]) -> str:
    """One line of such columns."""
    return "  ".join(
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ).rstrip()


def _markdown_line(cells: Cells) -> str:
    return "| " + " | ".join(cells) + " |"


def csv_value(value: object) -> object:
    """A value as a cell shows it."""
    match value:
        case tuple():
            return "x".join(str(each) for each in value)
        case None:
            return ""
        case _:
            return value
