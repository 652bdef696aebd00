"""Judging one claim: against its layer's figures, against the named network, against all of the zoo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from alexnet.architecture.arithmetic import LayerSummary, shape_text
from alexnet.architecture.claims import COUNTS, Claim, Claims
from alexnet.architecture.diagnosis import by_another_count, holds
from alexnet.architecture.findings import Finding, judged
from alexnet.architecture.network import Shape
from alexnet.architecture.places import (
    ANY_ALEXNET,
    STATED,
    Nearest,
    Reference,
    References,
    align,
    as_in,
    hyperparameter,
)
from alexnet.architecture.quantities import Amount, as_binary, parse_shape
from alexnet.architecture.wording import arithmetic, true_figure
from alexnet.architecture.zoo import NETWORKS

FIGURES = ("output", *COUNTS)  # what follows from a layer's input and hyperparameters


def _in_binary(claim: Claim) -> Claim | None:
    binary = as_binary(claim.value) if isinstance(claim.value, Amount) else None
    return None if binary is None else replace(claim, value=binary)


def _of_a_dense_layer(claim: Claim, row: LayerSummary, entering: Shape | None) -> Finding:
    """A window that is claimed of a dense layer: the convolution that it may be written as."""
    sides = () if entering is None or len(entering) != 3 or entering[0] != entering[1] else entering[:1]
    usual = {"stride": (1,), "padding": (0,), "groups": (1,), "kernel": (1, row.input[0], *sides)}
    if claim.value in usual[claim.field]:
        return judged(claim, "ok", "as of the convolution that it can be written as")
    return judged(claim, "unsupported", f"a fully connected layer has no {claim.field}")


def reaches_otherwise(claim: Claim, row: LayerSummary) -> tuple[str, str] | None:
    """Where a window is printed with its depth, 11x11x3: what is wrong with that, and the window as it is."""
    printed = parse_shape(claim.text) or ()
    if len(printed) < 3 or len(row.input) != 3:
        return None
    depth = row.input[2] // (row.groups or 1)
    if printed[2] not in (depth, row.input[2], row.output[2] if len(printed) == 3 else depth):
        return f"a filter reaches over {depth} channels", f"{printed[0]}x{printed[1]}x{depth}"
    if len(printed) == 4 and printed[3] != row.output[2]:
        return f"there are {row.output[2]} filters", f"{printed[0]}x{printed[1]}x{depth}x{row.output[2]}"
    return None


@dataclass(kw_only=True)
class ClaimJudge:
    """Judges single claims of one publication, under one reading of its conventions."""

    claims: Claims
    named: str | None
    references: References
    nearest: Nearest | None
    doubled: bool = False  # what is called MACs counts multiplies and adds apart

    @property
    def single(self) -> str | None:
        """The one network that is named, if one is."""
        return self.named if self.named in NETWORKS else None

    @property
    def batch(self) -> int:
        """Pictures for which MACs, FLOPs and activation bytes are."""
        return self.claims.batch or 1

    def arithmetic_of(self, field: str, row: LayerSummary) -> str:
        """The formula of a figure, for the batch."""
        return arithmetic(field, row, batch=self.batch)

    def true_figure_of(self, field: str, row: LayerSummary) -> str:
        """The figure as it is, for the batch."""
        return true_figure(field, row, batch=self.batch)

    def compare_input(self, claim: Claim, entering: Shape) -> Finding:
        """The first layer's input: whose it is."""
        if self.named is None:
            return judged(claim, "ok", "taken as the input")
        having = [name for name in self.references if NETWORKS[name].input == entering]
        if self.named in having or (self.named == ANY_ALEXNET and having):
            return judged(claim, "ok", f"as in {having[0]}")
        told = (
            f"as in {having[0]}, not in {self.named}"
            if having
            else f"in no AlexNet; {self.named} has another"
        )
        return judged(claim, "variant" if having else "error", told)

    def judge(
        self,
        index: int,
        claim: Claim,
        row: LayerSummary,
        blamed: Mapping[str, str],
        routes: tuple[str, ...],
        assumed: str,
    ) -> Finding:
        """A claim of a layer whose figures are `row`; `blamed` are the fields that are wrong."""
        name = claim.field
        if name in blamed:
            if blamed[name]:
                return judged(
                    claim,
                    "error",
                    f"the layer's other figures need {blamed[name]}",
                    correction=blamed[name],
                    routes=(blamed[name], *routes),
                )
            return self._wrong_figure(index, claim, row, routes)
        if name in STATED and row.kind == "dense" and name not in ("units", "filters"):
            layers = self.claims.layers
            before = layers[index - 1].shape("output") if index else None
            return _of_a_dense_layer(claim, row, layers[index].shape("input") or before)
        if name == "kernel" and (told := reaches_otherwise(claim, row)):
            return judged(claim, "error", told[0], correction=told[1])
        if name in STATED:
            return self._compare(index, claim)
        words = holds(claim, row, batch=self.batch) or ""
        reason = "; ".join(
            part for part in (self.arithmetic_of(name, row), words.removeprefix("rounded; "), assumed) if part
        )
        return judged(claim, "rounded" if words.startswith("rounded") else "ok", reason)

    def _compare(self, index: int, claim: Claim) -> Finding:
        """A hyperparameter that fits its layer's figures, against the network that is named."""
        if self.named is None:
            return judged(claim, "ok", "the layer's figures agree with it")
        if self.claims.layers[index].kind == "dense" and not any(
            layer.kind == "dense" for layer in self.claims.layers[index + 1 :]
        ):
            return judged(claim, "ok", "as many as there are classes")
        having = [
            name
            for name, references in self.references.items()
            if (reference := references[index]) is not None
            and hyperparameter(reference.layer, claim.field) == claim.value
        ]
        compared = [
            references[index] for references in self.references.values() if references[index] is not None
        ]
        if self.named in having or (self.named == ANY_ALEXNET and having):
            return judged(claim, "ok", f"as in {self.named if self.named in having else having[0]}")
        if having:
            return judged(claim, "variant", f"as in {having[0]}, not in {self.named}")
        if not compared:
            return judged(claim, "error", f"{self.named} has no such layer")
        first = compared[0]
        assert first is not None
        true = hyperparameter(first.layer, claim.field)
        if true is None:
            return judged(claim, "ok", "the layer's figures agree with it")
        return judged(claim, "error", f"{true} in {first.network}", correction=str(true))

    def _wrong_figure(self, index: int, claim: Claim, row: LayerSummary, routes: tuple[str, ...]) -> Finding:
        true = self.true_figure_of(claim.field, row)
        if (binary := _in_binary(claim)) is not None and holds(binary, row, batch=self.batch) is not None:
            return judged(
                claim, "variant", f"in MiB, not MB: {self.arithmetic_of(claim.field, row)}", correction=true
            )
        if (told := by_another_count(claim, row, batch=self.batch)) is not None:
            return judged(claim, "variant", told, correction=true)
        if claim.field == "macs" and self.doubled:
            as_flops = holds(replace(claim, field="flops"), row, batch=self.batch)
            if as_flops is not None:
                words = f"two for a multiply-add: {2 * row.macs * self.batch:,}"
                return judged(claim, "variant", words, correction=true)
        for name, references in self.references.items():
            reference = references[index]
            if (
                reference is not None
                and claim.field in COUNTS
                and name != self.single
                and reference.row.output == row.output
                and holds(claim, reference.row, batch=self.batch) is not None
            ):
                words = f"as in {name}: {self.arithmetic_of(claim.field, reference.row)}"
                return judged(claim, "variant", words, correction=true)
        return judged(claim, "error", self.arithmetic_of(claim.field, row), correction=true, routes=routes)

    @cached_property
    def described(self) -> list[Reference | None] | None:
        """The layers of the network that is named, or that most of the claims describe, if one is."""
        name = self.single
        if name is None and self.nearest is not None and 2 * self.nearest[1] > self.nearest[2]:
            name = self.nearest[0]
        return None if name is None else self.references.get(name) or align(self.claims, name)

    @property
    def _surely_described(self) -> bool:
        """Whether what is left out can be taken from `described`: it is named, or all but a slip agrees."""
        return self.single is not None or (
            self.nearest is not None and self.nearest[2] - self.nearest[1] <= 2
        )

    def stands_for(self, index: int) -> Reference | None:
        """The layer in the same place of the network that is `described`."""
        return None if self.described is None else self.described[index]

    def by_reference(self, index: int, claim: Claim, missing: str, unlike: Shape | None = None) -> Finding:
        """A claim of a layer of which too little is said to compute it: against the networks of the zoo.

        `unlike` is what reaches the layer, where that is not what reaches the one in the same place there.
        """
        reference = self.stands_for(index)
        if reference is None:
            return judged(claim, "unsupported", f"{missing} is not said")
        if unlike is not None and claim.field in FIGURES:
            # Weights hang on the depth alone.
            alike = reference.layer.kind == "conv" and unlike[-1] == reference.row.input[-1]
            if not (alike and claim.field in ("weights", "biases", "parameters", "bytes")):
                told = f"{missing} is not said, and {shape_text(unlike)} reaches it"
                return judged(
                    claim,
                    "unsupported",
                    f"{told}, not {shape_text(reference.row.input)} as in {reference.network}",
                )
        if as_in(claim, claim.field, reference, self.batch):
            told = self.arithmetic_of(claim.field, reference.row) if claim.field in FIGURES else ""
            how = holds(claim, reference.row, batch=self.batch) if claim.field in COUNTS else ""
            rounded = (how or "").startswith("rounded")
            return judged(
                claim,
                "rounded" if rounded else "ok",
                f"as in {reference.network}" + (f": {told}" if told else ""),
            )
        if (binary := _in_binary(claim)) is not None and as_in(binary, claim.field, reference, self.batch):
            told = f"as in {reference.network}, in MiB, not MB"
            return judged(claim, "variant", f"{told}: {self.arithmetic_of(claim.field, reference.row)}")
        if (counted := by_another_count(claim, reference.row, batch=self.batch)) is not None:
            return judged(claim, "variant", f"as in {reference.network}, {counted}")
        for name, places in self.references.items():
            other = places[index]
            if other is not None and as_in(claim, claim.field, other, self.batch):
                return judged(claim, "variant", f"as in {name}, not in {reference.network}")
        if not self._surely_described:
            told = f"; {self.arithmetic_of(claim.field, reference.row)} in {reference.network}"
            known = claim.field in FIGURES or claim.field == "input"
            return judged(claim, "unsupported", f"{missing} is not said{told if known else ''}")
        if claim.field in FIGURES or claim.field == "input":
            reason = f"in {reference.network} {self.arithmetic_of(claim.field, reference.row)}"
            return judged(claim, "error", reason, correction=self.true_figure_of(claim.field, reference.row))
        true = hyperparameter(reference.layer, claim.field)
        if true is None:
            return judged(claim, "unsupported", f"{missing} is not said")
        return judged(claim, "error", f"{true} in {reference.network}", correction=str(true))
