"""The forms of a torch module's figures: text, Markdown, CSV, JSON. Computes none."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from dataclasses import asdict, fields

from alexnet.architecture.arithmetic import shape_text
from alexnet.architecture.tables import CONVENTIONS, LETTERS, aligned, csv_table, csv_value
from alexnet.learning.module_figures import ModuleCall, ModuleFigures, Window

# The same head as a network's table has: a test compares them.
SHAPE_HEAD = ("layer", "input", "F", "K", "S", "P", "output", "weights", "biases", "MACs")
COST_HEAD = ("layer", "type", "groups", "dilation", "param bytes", "output bytes")
NOT_COUNTED = "not counted"

Cells = Sequence[str]


def text(summary: ModuleFigures) -> str:
    """Two tables (shapes and weights; types and bytes), then the remarks."""
    parts = [
        f"{summary.name}: {_input_text(summary)}",
        aligned(SHAPE_HEAD, [*(_shape_cells(row) for row in summary.layers), _total(summary)]),
        aligned(COST_HEAD, [_cost_cells(row) for row in summary.layers]),
        "\n".join(remarks(summary)),
    ]
    return "\n\n".join(parts) + "\n"


def markdown(summary: ModuleFigures) -> str:
    """One table with shapes, weights, types and bytes; remarks."""
    head = [*SHAPE_HEAD, *COST_HEAD[1:]]
    rows = [[*_shape_cells(row), *_cost_cells(row)[1:]] for row in summary.layers]
    rows.append([*_total(summary), *[""] * (len(COST_HEAD) - 1)])
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    table = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([*table, "", *(f"- {remark}" for remark in remarks(summary))]) + "\n"


def csv(summary: ModuleFigures) -> str:
    """A header and one line a call, every figure a column; shapes as 55x55x96, empty where not counted."""
    return csv_table([each.name for each in fields(ModuleCall)], summary.layers)


def json(summary: ModuleFigures) -> str:
    """Every row with all its figures, the totals, the remarks."""
    data = {
        "module": summary.name,
        "input": summary.input,
        "layers": [asdict(row) for row in summary.layers],
        "totals": {
            "weights": summary.weights,
            "biases": summary.biases,
            "parameters": summary.parameters,
            "macs": summary.macs,
            "torch_macs": summary.torch_macs,
        },
        "not_counted": [row.name for row in summary.uncounted],
        "outside": dict(summary.outside),
        "remarks": remarks(summary),
    }
    return json_module.dumps(data, indent=2, ensure_ascii=False) + "\n"


def remarks(summary: ModuleFigures) -> list[str]:
    """The totals in words, what is shared, what no row has, what is not counted, the conventions."""
    told = [
        f"{summary.weights:,} weights + {summary.biases:,} biases = {summary.parameters:,} parameters, "
        "each counted once."
    ]
    shared = [f"{row.name} ({row.shared:,})" for row in summary.layers if row.shared]
    if shared:
        told.append(f"Parameters that an earlier row has counted: {_some(shared)}.")
    if summary.outside:
        outside = [f"{name} ({count:,})" for name, count in summary.outside.items()]
        told.append(
            f"In the total, but in no row: {_some(outside)}; they are a parent's own, or their module was "
            "not called."
        )
    kinds: dict[str, list[str]] = {}
    for row in summary.uncounted:
        kinds.setdefault(row.kind, []).append(row.name)
    if kinds:
        uncounted = [f"{kind} ({_some(names, most=2)})" for kind, names in kinds.items()]
        told.append(f"MACs {NOT_COUNTED}, and not in the total: {', '.join(uncounted)}.")
    if summary.torch_macs is not None and summary.torch_macs != summary.macs:
        told.append(
            f"torch's FlopCounterMode finds {summary.torch_macs:,} MACs (half its FLOPs) where the rows have "
            f"{summary.macs:,}."
        )
    told.append("Only modules are seen: functions between them (such as + or matmul) have no row.")
    return [*told, LETTERS, *CONVENTIONS]


def _some(names: Sequence[str], *, most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _input_text(summary: ModuleFigures) -> str:
    if len(summary.input) == 3:
        return f"input {shape_text(summary.input)} (height x width x depth)"
    torch_order = (1, summary.input[-1], *summary.input[:-1])
    return f"input {shape_text(torch_order)} (as torch has it)"


def _shape_cells(row: ModuleCall) -> Cells:
    return (
        row.name,
        "-" if row.input is None else shape_text(row.input),
        *(_window_text(value) for value in (row.kernel, row.filters, row.stride, row.padding)),
        "-" if row.output is None else shape_text(row.output),
        f"{row.weights:,}",
        f"{row.biases:,}",
        NOT_COUNTED if row.macs is None else f"{row.macs:,}",
    )


def _total(summary: ModuleFigures) -> Cells:
    totals = (summary.weights, summary.biases, summary.macs)
    return ("total", *[""] * 6, *(f"{total:,}" for total in totals))


def _cost_cells(row: ModuleCall) -> Cells:
    return (
        row.name,
        row.kind,
        _window_text(row.groups),
        _window_text(row.dilation),
        f"{row.parameter_bytes:,}",
        f"{row.activation_bytes:,}",
    )


def _window_text(value: Window | None) -> str:
    return "-" if value is None else str(csv_value(value))
