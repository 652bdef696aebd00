"""summarize(network) -> Summary: every figure of every layer, and the totals; tables.py prints them."""

from __future__ import annotations

from alexnet.architecture import tables
from alexnet.architecture.arithmetic import (
    LayerSummary,
    Misfit,
    layer_summary,
    receptive_field,
    whole_picture,
)
from alexnet.architecture.figures import Figures
from alexnet.architecture.network import Network
from alexnet.architecture.repairs import repairs
from alexnet.errors import NetworkError


class Summary(Figures):
    """A network's figures. Its text is the table; `markdown()`, `html()`, `csv()`, `json()` are others."""

    def text(self, *, formulas: bool = False) -> str:
        """The tables for a terminal of 80 columns, after them each figure's arithmetic if asked for."""
        return tables.text(self, formulas=formulas)

    def markdown(self, *, formulas: bool = False) -> str:
        """One Markdown table, after it each figure's arithmetic if asked for."""
        return tables.markdown(self, formulas=formulas)

    def html(self, *, formulas: bool = False) -> str:
        """An HTML fragment, what notebooks show; each figure's arithmetic to unfold if asked for."""
        return tables.html(self, formulas=formulas)

    def csv(self) -> str:
        """One line a layer, every figure a column."""
        return tables.csv(self)

    def json(self) -> str:
        """Everything: the network, every layer with its formulas, the totals."""
        return tables.json(self)

    def _repr_html_(self) -> str:
        return self.html()

    def __str__(self) -> str:
        return self.text()


class MisfitError(NetworkError):
    """Raised by `summarize`: what went wrong, the summary up to there, and what would fit."""

    def __init__(self, message: str, *, layer: str, summary: Summary, routes: tuple[tuple[str, ...], ...]):
        super().__init__(message)
        self.layer = layer  # the layer that does not fit
        self.summary = summary  # of the layers before it
        self.routes = routes  # edits that make the whole network fit, the smallest first


def summarize(network: Network) -> Summary:
    """Every figure of every layer of `network`, each with its formula.

    >>> from alexnet.architecture.zoo import NOTES
    >>> summarize(NOTES).weights
    28813344

    Raises MisfitError where a layer cannot take what reaches it.
    """
    rows: list[LayerSummary] = []
    shape, sees = network.input, whole_picture(network.input)
    for layer in network.layers:
        row = layer_summary(layer, shape, sees)
        if isinstance(row, Misfit):
            raise _misfit(Summary(network=network, layers=tuple(rows)), layer.name, row)
        rows.append(row)
        shape, sees = row.output, receptive_field(layer, shape, sees)
    return Summary(network=network, layers=tuple(rows))


def _misfit(so_far: Summary, layer: str, misfit: Misfit) -> MisfitError:
    routes = () if misfit.remedy else repairs(so_far.network)
    told = [" with ".join(edits) for edits in routes]
    remedy = misfit.remedy or (f"would fit: {', or '.join(told)}" if told else "no small change makes it fit")
    return MisfitError(
        f"Layer '{layer}': {misfit.reason}; {_path(so_far)}; {remedy}",
        layer=layer,
        summary=so_far,
        routes=routes,
    )


def _path(so_far: Summary) -> str:
    """How the picture shrank: 227 -> 55 -> 14, heights only where they are the widths too."""
    shapes = [so_far.network.input]
    shapes += [row.output for row in so_far.layers if row.kernel is not None]
    square = all(shape[0] == shape[1] for shape in shapes)
    sizes = [str(shape[0]) if square else f"{shape[0]}x{shape[1]}" for shape in shapes]
    return f"sizes so far {' -> '.join(sizes)}"
