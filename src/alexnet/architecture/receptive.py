"""Judging what is claimed of receptive fields: they follow from all the layers before, not from one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from alexnet.architecture.arithmetic import LayerSummary, ReceptiveField, receptive_field, whole_picture
from alexnet.architecture.claims import RECEPTIVE, Claim, ClaimedLayer
from alexnet.architecture.findings import Finding, judged
from alexnet.architecture.layers import AdaptiveAvgPool, Conv, Dense, Flatten, Layer
from alexnet.architecture.network import Shape


@dataclass(kw_only=True)
class Sight:
    """What one value sees of the picture, followed through the layers as they are audited."""

    sees: ReceptiveField | None = None  # None where it cannot be told
    begun: bool = False

    def through(self, row: LayerSummary | None, arriving: tuple[Shape, ...]) -> None:
        """Go through a layer whose figures are `row`; behind one that is not known, nothing is."""
        if row is not None and not self.begun:
            self.sees = whole_picture(row.input)
        self.begun = True
        follows = row is not None and (
            not arriving or any(row.input in (shape, (prod(shape),)) for shape in arriving)
        )
        if row is None or self.sees is None or not follows:
            self.sees = None
        elif row.kernel is None:
            self._see(Dense(name=row.name, units=row.output[-1]), row.input)
        else:
            window = Conv(
                name=row.name, filters=1, kernel=row.kernel, stride=row.stride or 1, padding=row.padding or 0
            )
            self._see(window, row.input)
            # As many windows as there are, also where they were rounded up or padded on one side only.
            stride = self.sees.stride or 0
            self.sees = replace(self.sees, span=self.sees.size + (max(row.output[:2]) - 1) * stride)

    def past(self, layer: ClaimedLayer, arriving: tuple[Shape, ...], leaving: tuple[Shape, ...]) -> None:
        """Go through a layer that is not computed."""
        if not arriving or not leaving:
            self.sees = None if layer.kind == "avgpool" else self.sees
        elif len(layer.shape("output") or leaving[0]) == 1 and len(arriving[0]) == 3:
            self._see(Flatten(name="flatten"), arriving[0])
        elif layer.kind == "avgpool" and len(arriving[0]) == 3:
            self._see(AdaptiveAvgPool(name="avgpool", size=leaving[0][0]), arriving[0])

    def _see(self, layer: Layer, entering: Shape) -> None:
        if self.sees is not None:
            self.sees = receptive_field(layer, entering, self.sees)

    def judge(self, claim: Claim) -> Finding:
        """A receptive field, or its stride, that is claimed of the layer gone through last."""
        assert claim.field in RECEPTIVE
        if self.sees is None:
            return judged(claim, "unsupported", "what its inputs see of the picture cannot be told")
        true = self.sees.size if claim.field == "receptive_field" else self.sees.stride
        if true is None:
            return judged(claim, "unsupported", "it is not the same between all neighbours")
        told = f"through the layers up to here: {true:,}"
        if claim.value == true:
            return judged(claim, "ok", told)
        return judged(claim, "error", told, correction=f"{true:,}")
