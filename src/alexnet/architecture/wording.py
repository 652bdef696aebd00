"""A layer's figures in words: the arithmetic with its numbers in it, and what a figure truly is."""

from __future__ import annotations

from collections.abc import Sequence

from alexnet.architecture.arithmetic import LayerSummary, shape_text
from alexnet.architecture.network import Shape


def arithmetic(field: str, row: LayerSummary, *, batch: int) -> str:
    """The formula of a figure with its numbers in it; what each picture has, for a `batch` of them."""
    match field:
        case "output":
            size = row.formulas.get("height") or row.formulas["output"]
            return f"{size}: {shape_text(row.output)}" if "height" in row.formulas else size
        case "input":
            return shape_text(row.input)
        case "parameters" | "weights" if row.weights:
            both = f"; with biases {row.parameters:,}" if field == "parameters" else ""
            return row.formulas["weights"] + both
        case "parameters" | "weights" | "biases" | "macs" | "flops" | "neurons" | "bytes" if not row.weights:
            return "0: it carries no weights"
        case "flops":
            return _for_all(f"2 x {row.formulas['macs']}", 2 * row.macs, batch)
        case "bytes":
            return row.formulas["parameter_bytes"]
        case "memory":
            told = f"its output {arithmetic('activation_bytes', row, batch=batch)}"
            return f"{row.formulas['parameter_bytes']}; {told}" if row.weights else told
        case "macs" | "activation_bytes":
            return _for_all(row.formulas[field], getattr(row, field), batch)
        case "biases" | "neurons":
            return row.formulas[field]
    return ""


def _for_all(formula: str, value: int, batch: int) -> str:
    """A formula of one picture's `value` as that of a batch."""
    terms = formula.rpartition(" = ")[0]
    return f"{f'{batch} x ' if batch > 1 else ''}{terms} = {value * batch:,}"


def true_figure(field: str, row: LayerSummary, *, batch: int) -> str:
    """The figure as it is, as text; of what each picture has, for a `batch` of them."""
    match field:
        case "output":
            return shape_text(row.output)
        case "input":
            return shape_text(row.input)
        case "parameters":
            return f"{row.parameters:,} ({row.weights:,} without biases)" if row.weights else "0"
        case "flops":
            return f"{2 * row.macs * batch:,}"
        case "bytes":
            return f"{row.parameter_bytes:,}"
        case "memory":
            return f"{row.parameter_bytes:,} of parameters, {row.activation_bytes * batch:,} of its output"
        case "macs" | "activation_bytes":
            return f"{getattr(row, field) * batch:,}"
    return f"{getattr(row, field):,}"


def either(shapes: Sequence[Shape]) -> str:
    """Shapes of which any may be meant."""
    return " or ".join(dict.fromkeys(shape_text(shape) for shape in shapes))
