"""A torch module's figures as data: every call's, and the totals that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alexnet.architecture.network import Shape

Window = int | str | tuple[int, ...]  # one size where it is the same along each side; "same" as torch has it


@dataclass(frozen=True, kw_only=True)
class ModuleCall:
    """Every figure of one call of a module: a row of the table."""

    name: str  # its path in the whole module
    kind: str  # its type
    input: Shape | None  # (height, width, depth), (length,), or as torch has it; None: no tensor
    output: Shape | None  # the same
    filters: int | None = None  # K, of convolutions
    kernel: Window | None = None  # F, of modules with windows
    stride: Window | None = None  # S
    padding: Window | None = None  # P
    groups: int | None = None  # of convolutions
    dilation: Window | None = None  # pixels from one value of a window to the next
    weights: int = 0  # those that no earlier row counted
    biases: int = 0  # the same; by torch's names for them
    shared: int = 0  # parameters that it uses and an earlier row counted
    macs: int | None = None  # for one picture; None: not known how to count, which is not zero
    parameter_bytes: int = 0  # of the weights and biases of this row
    activation_bytes: int = 0  # of the output, for one picture


@dataclass(frozen=True, kw_only=True)
class ModuleFigures:
    """Every figure of a torch module, or of its calls up to the one that failed."""

    name: str  # what it is called, by who asked
    input: Shape  # (height, width, depth), or with another number of sizes: depth last
    layers: tuple[ModuleCall, ...]  # one a call, in order
    outside: Mapping[str, int]  # parameters that no row counts, by name: a parent's own, or never called
    torch_macs: int | None  # half of what torch's FlopCounterMode counts; None where it broke

    @property
    def weights(self) -> int:
        """Parameters that are no biases, each once, those of no row included."""
        return sum(row.weights for row in self.layers) + sum(
            count for name, count in self.outside.items() if not is_bias(name)
        )

    @property
    def biases(self) -> int:
        """Biases, each once, those of no row included."""
        return sum(row.biases for row in self.layers) + sum(
            count for name, count in self.outside.items() if is_bias(name)
        )

    @property
    def parameters(self) -> int:
        """Weights and biases: every parameter of the module, once."""
        return self.weights + self.biases

    @property
    def macs(self) -> int:
        """Multiply-adds for one picture, of the rows that can be counted."""
        return sum(row.macs or 0 for row in self.layers)

    @property
    def uncounted(self) -> tuple[ModuleCall, ...]:
        """The rows whose multiply-adds are not known."""
        return tuple(row for row in self.layers if row.macs is None)


def is_bias(path: str) -> bool:
    """Whether a parameter is what torch calls bias: bias, in_proj_bias, bias_hh_l0."""
    return "bias" in path.rpartition(".")[2]
