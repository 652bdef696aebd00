"""Judging layers one after the other, each from the input that is claimed for it.

Which of a layer's claims is wrong is decided in diagnosis.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from alexnet.architecture.arithmetic import LayerSummary, shape_text, whole_picture, window_text
from alexnet.architecture.between import (
    continues,
    depths_of,
    next_input,
    pooled,
    pooled_between,
    read_shape,
)
from alexnet.architecture.claims import (
    PASSING,
    RECEPTIVE,
    SHAPES,
    WINDOWED,
    Claim,
    ClaimedLayer,
    as_square,
    holds_layers,
    weightless,
)
from alexnet.architecture.diagnosis import (
    OPEN,
    Setting,
    diagnose,
    figures,
    free_routes,
    holds,
    mismatched,
    shape_is,
)
from alexnet.architecture.findings import Finding, Status, judged
from alexnet.architecture.judging import FIGURES, ClaimJudge, reaches_otherwise
from alexnet.architecture.layers import MaxPool
from alexnet.architecture.network import Shape
from alexnet.architecture.passing import judge_depth, judge_passing
from alexnet.architecture.places import (
    Pools,
    Reference,
    hyperparameter,
)
from alexnet.architecture.quantities import Amount, shape_readings
from alexnet.architecture.receptive import Sight
from alexnet.architecture.wording import either
from alexnet.architecture.zoo import NETWORKS


@dataclass(kw_only=True)
class LayerAudit(ClaimJudge):
    """Goes through one publication's layers."""

    @cached_property
    def pools(self) -> Pools:
        """The pooling layers that a table may leave out: those of the network that it is nearest to."""
        name = self.single or (self.nearest[0] if self.nearest is not None else "paper")
        pools = (layer for layer in NETWORKS[name].layers if isinstance(layer, MaxPool))
        kinds = dict.fromkeys((layer.kernel, self.claims.rounding or layer.rounding) for layer in pools)
        # Rounding up is some networks' own: only a table that agrees with one throughout is excused by it.
        agrees = self.nearest is not None and self.nearest[1] == self.nearest[2]
        if self.single or agrees:
            return tuple(kinds)
        return tuple((kernel, self.claims.rounding or "down") for kernel, _ in kinds)

    def layers(self) -> tuple[list[Finding], list[tuple[ClaimedLayer, LayerSummary | None]]]:
        """Judge the layers in order: the findings, and each layer's true figures where they can be told."""
        arriving = self._first_input()
        sight = Sight()
        found = self._entering(arriving)
        rows: list[tuple[ClaimedLayer, LayerSummary | None]] = []
        for index, listed in enumerate(self.claims.layers):
            layer, apart = _taken_apart(listed)
            if holds_layers(listed):
                reason = "it holds other layers, which are judged by themselves"
                found += [judged(claim, "unsupported", reason) for claim in listed.claims.values()]
                rows.append((layer, None))
                continue
            if layer.kind in PASSING:
                found += self._pass_through(layer, arriving)
                printed = layer.shape("output")
                leaving = read_shape(printed, arriving) if printed else arriving
                sight.past(layer, arriving, leaving)
                found += [sight.judge(claim) for claim in apart]
                arriving = leaving
                rows.append((layer, None))
                continue
            following = next(
                (other for other in self.claims.layers[index + 1 :] if other.kind not in PASSING), None
            )
            told, row, leaving = self._layer(index, layer, arriving, following)
            sight.through(row, arriving)
            arriving = leaving
            made = (row.output,) if row is not None else arriving
            found += told
            found += [
                sight.judge(claim) if claim.field in RECEPTIVE else judge_depth(claim, made)
                for claim in apart
            ]
            rows.append((layer, row))
        return found, rows

    def _first_input(self) -> tuple[Shape, ...]:
        """What may reach the first layer."""
        first = next((layer for layer in self.claims.layers if layer.kind not in PASSING), None)
        if (printed := self.claims.input) is not None:
            if first is not None and first.kind in WINDOWED:
                printed = as_square(printed)
            given = shape_readings(printed)[0]
            if given[-1] == 0:  # a picture without its depth: in colour, or grey
                return tuple((*given[:2], depth) for depth in (3, 1))
            return (given,)
        if self.single is not None and (first is None or "input" not in first.claims):
            return (NETWORKS[self.single].input,)
        return ()

    def _entering(self, given: tuple[Shape, ...]) -> list[Finding]:
        """The findings of a row of the input itself."""
        layer = self.claims.entering
        if layer is None:
            return []
        shapes = {name: claim for name, claim in layer.claims.items() if name in SHAPES}
        if (count := layer.claims.get("filters")) is not None and count.value == 1:
            shapes["filters"] = count  # one picture
        layer, apart = _taken_apart(layer)
        rest = {name: claim for name, claim in layer.claims.items() if name not in shapes}
        pixel = Sight(sees=whole_picture(given[0] if given else (1, 1, 1)))
        return [
            *(self.compare_input(claim, given[0]) for claim in shapes.values() if given),
            *map(pixel.judge, apart),
            *self._pass_through(replace(layer, claims=rest), given),
        ]

    def _pass_through(self, layer: ClaimedLayer, arriving: tuple[Shape, ...]) -> list[Finding]:
        found = []
        printed_output = layer.shape("output")
        leaving = (read_shape(printed_output, arriving) if printed_output else ()) or arriving
        for claim in layer.claims.values():
            printed = claim.value
            if not isinstance(printed, tuple):
                found.append(judge_passing(claim, layer, leaving, batch=self.batch))
            elif not arriving:
                found.append(judged(claim, "unsupported", "what reaches it is not said"))
            elif any(shape_is(printed, shape) for shape in arriving):
                found.append(judged(claim, "ok", "the shape of what reaches it"))
            elif (
                layer.kind == "avgpool"
                and claim.field == "output"
                and any(printed[-1] == shape[-1] for shape in arriving)
            ):
                found.append(judged(claim, "unsupported", "how far it averages is not said"))
            elif layer.kind == "other" and not weightless(layer.name) and claim.field == "output":
                found.append(judged(claim, "unsupported", "what a layer of this kind makes is not computed"))
            else:
                found.append(
                    judged(
                        claim,
                        "error",
                        f"what reaches it is {either(arriving)}",
                        correction=either(arriving),
                    )
                )
        return found

    def _layer(
        self, index: int, layer: ClaimedLayer, arriving: tuple[Shape, ...], following: ClaimedLayer | None
    ) -> tuple[list[Finding], LayerSummary | None, tuple[Shape, ...]]:
        reference = self.references[self.single][index] if self.single else None
        setting, missing, assumed = self._setting(index, layer, arriving, reference)
        printed_output = layer.shape("output")
        onward = (read_shape(printed_output, ()) if printed_output else ()) or ()
        if setting is None:
            return self._by_reference(index, layer, missing, onward, arriving)
        evidence = {name: claim for name, claim in layer.claims.items() if name in FIGURES}
        extra = next_input(layer, following, self.pools) or self._next_output(index, setting, following)
        if extra is not None:
            evidence["next"] = extra
        if "input" not in layer.claims and self._may_lack_a_pool(index, layer, reference, evidence):
            return self._by_reference(index, layer, "its input", onward, ())
        setting, taken = self._likeliest(index, layer, setting, arriving, reference, evidence)
        assumed = "; ".join(part for part in (assumed, *taken) if part)
        entering, input_claim = setting.entering, layer.claims.get("input")
        blamed_input = False
        if (
            input_claim is not None
            and arriving
            and not any(continues(input_claim, shape) for shape in arriving)
        ):
            blamed_input, setting = self._input_is_wrong(index, layer, setting, arriving, evidence)
        row = figures(setting)
        wrong = self._wrong(evidence, row)
        found = []
        free = self._free(index, layer, setting, reference, evidence) if wrong else []
        if free:
            found += self._open_findings(layer, row, free, evidence, wrong)
            row = free[0][2]
        else:
            diagnosis = diagnose(setting, layer.claims, evidence, batch=self.batch)
            if diagnosis is None:
                reason = _no_layer(setting)
                found += [judged(claim, "error", reason) for claim in layer.claims.values()]
                return found, None, onward
            row = diagnosis.row
            routes = diagnosis.routes
            if "output" in wrong:
                output = {"output": layer.claims["output"]} if "output" in layer.claims else evidence
                more = free_routes(setting, ("rounding",), output, batch=self.batch, inputs=index == 0)
                routes = tuple(dict.fromkeys((*routes[:2], *(words for words, _, _ in more), *routes[2:])))[
                    :5
                ]
            blamed = {name: told for name, told in diagnosis.blamed.items() if name != "next"}
            for name, claim in layer.claims.items():
                if name == "input":
                    continue
                found.append(self.judge(index, claim, row, blamed, routes, assumed))
        if input_claim is not None:
            found.insert(0, self._judge_input(input_claim, arriving, blamed_input, entering, layer))
        true = (row.output,) if row is not None else ()
        claimed = read_shape(printed_output, true) if printed_output else ()
        return found, row, tuple(dict.fromkeys((*claimed, *true)))

    def _likeliest(
        self,
        index: int,
        layer: ClaimedLayer,
        setting: Setting,
        arriving: tuple[Shape, ...],
        reference: Reference | None,
        evidence: Mapping[str, Claim],
    ) -> tuple[Setting, tuple[str, ...]]:
        """Of what is left open, the reading with which the fewest figures are wrong, and what it takes."""

        def best(*ways: Setting) -> Setting:
            return min(ways, key=lambda way: len(self._wrong(evidence, figures(way))))

        sized, pool = "", ""
        if reference is not None:
            setting, sized = _as_large_as(setting, reference.row, layer)
        if "input" not in layer.claims:
            # Behind an output that was misprinted: from what it is or from what is printed, as it fits.
            setting = best(setting, *(replace(setting, entering=shape) for shape in arriving))
            setting, pool = self._behind_an_unlisted_pool(index, layer, setting, evidence)
        depths = self._other_depths(layer, reference, prod(setting.entering))
        return best(setting, *(replace(setting, filters=depth) for depth in depths)), (sized, pool)

    def _free(
        self,
        index: int,
        layer: ClaimedLayer,
        setting: Setting,
        reference: Reference | None,
        evidence: Mapping[str, Claim],
    ) -> list[tuple[str, Setting, LayerSummary]]:
        """What is not stated and would make figures hold that do not, the likeliest first."""
        # Groups and rounding of a named network, too: otherwise than there, they are a variant.
        settled = ("stride", "padding") if reference is not None else ()
        unstated = tuple(name for name in OPEN if name not in settled and self._open(name, layer))
        own = {name: evidence[name] for name in evidence if name != "next"}
        free = free_routes(setting, unstated, own or evidence, batch=self.batch, inputs=False)
        if free and index == 0:
            free += free_routes(setting, (), own or evidence, batch=self.batch, inputs=True)
        free = free or self._as_in_its_place(index, layer, setting, own or evidence)
        return free or (self._in_groups(setting, own) if "groups" in unstated else [])

    def _next_output(self, index: int, setting: Setting, following: ClaimedLayer | None) -> Claim | None:
        """This layer's output as evidence for itself, where the next one's follows from it alone.

        From what the layer makes as stated, it does not. Of a first layer, whose input is as doubtful, where
        input and output are those of the network that is described.
        """
        layer = self.claims.layers[index]
        if following is None or "input" in following.claims or "output" not in following.claims:
            return None
        own = read_shape(printed, ()) if (printed := layer.shape("output")) else ()
        made = figures(setting)
        if not own or made is None:
            return None
        if not index:
            first = self.stands_for(index)
            if first is None or (setting.entering, *own) != (first.row.input, first.row.output):
                return None
        place = next(place for place, other in enumerate(self.claims.layers) if other is following)
        reference = self.references[self.single][place] if self.single else None
        follows = []
        for entering in (own, (made.output,)):
            onward, _, _ = self._setting(place, following, entering, reference)
            row = figures(onward) if onward is not None else None
            follows.append(row is not None and not self._wrong({"output": following.claims["output"]}, row))
        return layer.claims["output"] if follows == [True, False] else None

    def _by_reference(
        self,
        index: int,
        layer: ClaimedLayer,
        missing: str,
        onward: tuple[Shape, ...],
        arriving: tuple[Shape, ...],
    ) -> tuple[list[Finding], LayerSummary | None, tuple[Shape, ...]]:
        """A layer of which too little is said: it is taken to be that of the network in the same place."""
        reference = self.stands_for(index)
        unlike = None
        if reference is not None and "input" not in layer.claims:
            like = any(self._may_enter(shape, reference.row.input) for shape in arriving)
            unlike = arriving[0] if arriving and not like else None
        found = [self.by_reference(index, claim, missing, unlike) for claim in layer.claims.values()]
        if any(each.where == layer.name for each in self.claims.unread):  # it may be said, and not be read
            told = f"{missing} is not read"
            found = [
                replace(each, status="unsupported", reason=told, correction="")
                if each.status == "error"
                else each
                for each in found
            ]
        row = reference.row if reference is not None and unlike is None else None
        return found, row, tuple(dict.fromkeys((*onward, *((row.output,) if row is not None else ()))))

    def _may_enter(self, arriving: Shape, entering: Shape) -> bool:
        """Whether what arrives can be what a layer takes: as it is, flat, or by a pooling not listed."""
        flat = (prod(arriving),) == entering
        return arriving == entering or flat or bool(pooled_between(arriving, entering, self.pools))

    def _as_in_its_place(
        self, index: int, layer: ClaimedLayer, setting: Setting, evidence: Mapping[str, Claim]
    ) -> list[tuple[str, Setting, LayerSummary]]:
        """All that is not stated at once, as the network has it that most of the claims describe."""
        reference = self.stands_for(index)
        if reference is None or reference.layer.kind != layer.kind:
            return []
        told: list[str] = []
        changed = setting
        for name in ("stride", "padding", "groups", "rounding"):
            value = getattr(reference.layer, name, None)
            if self._open(name, layer) and value is not None and value != getattr(changed, name):
                changed = replace(changed, **{name: value})
                told.append(f"{name} {value}")
        unlisted = not any(each.kind == "maxpool" for each in self.claims.layers)
        if unlisted and "input" not in layer.claims and reference.row.input != changed.entering:
            changed = replace(changed, entering=reference.row.input)
            told.append(f"{shape_text(reference.row.input)} to arrive")
        row = figures(changed)
        if not told or row is None or self._wrong(evidence, row):
            return []
        return [(f"{' and '.join(told)}, as in {reference.network}", changed, row)]

    def _in_groups(
        self, setting: Setting, evidence: Mapping[str, Claim]
    ) -> list[tuple[str, Setting, LayerSummary]]:
        """Groups with which fewer figures are wrong, though not all hold."""
        found, most = [], len(self._wrong(evidence, figures(setting)))
        for groups in (2, 4):
            changed = replace(setting, groups=groups)
            row = figures(changed)
            if row is not None and len(self._wrong(evidence, row)) < most:
                found.append((f"groups {groups}", changed, row))
        return found[:1]

    def _may_lack_a_pool(
        self, index: int, layer: ClaimedLayer, reference: Reference | None, evidence: Mapping[str, Claim]
    ) -> bool:
        """Whether a table without pooling layers leaves open what reaches a layer behind a convolution."""
        behind = layer.kind == "dense" and index > 0 and self.claims.layers[index - 1].kind == "conv"
        pools = any(each.kind == "maxpool" for each in self.claims.layers)
        telling = {"output", "parameters", "weights", "macs", "flops", "bytes"} & set(evidence)
        return behind and not pools and reference is None and not telling

    def _behind_an_unlisted_pool(
        self, index: int, layer: ClaimedLayer, setting: Setting, evidence: Mapping[str, Claim]
    ) -> tuple[Setting, str]:
        """The layer behind a pooling layer that is not listed, where that alone makes its figures hold."""
        before = self.claims.layers[index - 1].kind if index else "maxpool"
        if before != "conv" or layer.kind == "maxpool":
            return setting, ""
        settings = [setting] + [
            replace(setting, entering=entering)
            for kernel, rounding in self.pools
            if (entering := pooled(setting.entering, kernel, rounding)) is not None
        ]
        reference = self.references[self.single][index] if self.single else None
        if reference is not None and not any(each.kind == "maxpool" for each in self.claims.layers):
            settings.insert(0, replace(setting, entering=reference.row.input))
        wrong = [len(self._wrong(evidence, figures(each))) for each in settings]
        best = settings[wrong.index(min(wrong))]
        if best.entering == setting.entering:
            return setting, ""
        return best, f"behind a pooling layer that is not listed, on {shape_text(best.entering)}"

    def _other_depths(self, layer: ClaimedLayer, reference: Reference | None, values: int) -> tuple[int, ...]:
        """Where the depth is told by the printed output alone: other readings of it, and of the counts.

        A dense layer has a weight for each of the `values` that enter it and each of its units.
        """
        known = {"filters", "units"} & set(layer.claims) or layer.kind == "maxpool"
        taken = reference is not None and hyperparameter(reference.layer, "filters") is not None
        if known or taken:
            return ()
        each = {"biases": 1} | (
            {"weights": values, "parameters": values + 1} if layer.kind == "dense" else {}
        )
        counted = (
            amount.value / size
            for field, size in each.items()
            if field in layer.claims and isinstance(amount := layer.claims[field].value, Amount)
        )
        return (
            *depths_of(layer)[1:],
            *(int(depth) for depth in counted if depth.denominator == 1 and depth),
        )

    def _wrong(self, evidence: Mapping[str, Claim], row: LayerSummary | None) -> list[str]:
        return mismatched(evidence, row, batch=self.batch)

    def _open(self, name: str, layer: ClaimedLayer) -> bool:
        if layer.kind == "dense" or (layer.same and name in ("padding", "rounding")):
            return False
        if name == "rounding":
            return (layer.rounding or self.claims.rounding) is None and (
                "padding" not in layer.claims or layer.kind == "maxpool"
            )
        if name == "groups":
            return layer.kind == "conv" and "groups" not in layer.claims
        return name not in layer.claims

    def _setting(
        self, index: int, layer: ClaimedLayer, arriving: tuple[Shape, ...], reference: Reference | None
    ) -> tuple[Setting | None, str, str]:
        """The layer as claimed; or None and what is missing; and what was taken from the named network."""
        printed = layer.shape("input")
        entering = read_shape(printed, arriving) if printed else arriving
        if not entering:
            return None, "its input", ""
        values: dict[str, int] = {}
        assumed = []
        described = self.stands_for(index)
        for field in ("kernel", "stride", "padding", "filters", "groups"):
            value = layer.whole(field)
            if field == "filters" and layer.kind == "dense":
                value = layer.whole("units") if layer.whole("units") is not None else value
            if value is None and reference is not None:
                value = hyperparameter(reference.layer, field)
                if value is not None and field != "groups":
                    assumed.append(field)
            if value is None and field == "filters":
                value = next(iter(depths_of(layer)), None)
            if value is None and field == "stride" and layer.kind == "maxpool" and described is not None:
                value = hyperparameter(described.layer, field)
            if value is None:
                if field == "kernel" and layer.kind != "dense":
                    return None, "its kernel", ""
                if field == "filters" and layer.kind != "maxpool":
                    return None, "its filters" if layer.kind == "conv" else "its units", ""
                value = {
                    "stride": (layer.kind == "maxpool" and values.get("kernel", 1)) or 1,
                    "padding": 0,
                }.get(field, 1)
            if field == "padding" and value and self.claims.half_padding:
                value = values["kernel"] // 2
            values[field] = value
        rounding = (
            layer.rounding
            or self.claims.rounding
            or getattr(reference and reference.layer, "rounding", "down")
        )
        setting = Setting(
            kind=layer.kind, entering=entering[0], rounding=str(rounding), same=layer.same, **values
        )
        return (
            setting,
            "",
            f"{' and '.join(assumed)} as in {reference.network}" if assumed and reference else "",
        )

    def _input_is_wrong(
        self,
        index: int,
        layer: ClaimedLayer,
        setting: Setting,
        arriving: tuple[Shape, ...],
        evidence: Mapping[str, Claim],
    ) -> tuple[bool, Setting]:
        """Whether the claimed input does not follow from the layer before, and what to go on with."""
        if layer.kind != "maxpool" and any(
            pooled_between(shape, setting.entering, self.pools) for shape in arriving
        ):
            return False, setting
        before, reference = self.claims.layers[index - 1] if index else layer, self.stands_for(index)
        if (
            "output" not in before.claims
            and reference is not None
            and reference.row.input == setting.entering
        ):
            return False, setting
        as_claimed = len(self._wrong(evidence, figures(setting)))
        for shape in arriving:
            other = replace(setting, entering=shape)
            if len(self._wrong(evidence, figures(other))) < as_claimed:
                return True, other
        return True, setting

    def _judge_input(
        self, claim: Claim, arriving: tuple[Shape, ...], blamed: bool, entering: Shape, layer: ClaimedLayer
    ) -> Finding:
        if blamed:
            return judged(
                claim,
                "error",
                f"the layer before makes {either(arriving)}",
                correction=either(
                    [(prod(shape),) for shape in arriving] if layer.kind == "dense" else arriving
                ),
            )
        if not arriving:
            return self.compare_input(claim, entering)
        if any(continues(claim, shape) for shape in arriving):
            return judged(claim, "ok", "what the layer before makes")
        pool = next(
            (words for shape in arriving if (words := pooled_between(shape, entering, self.pools))), ""
        )
        if not pool:
            return judged(
                claim, "ok", "as in the network that the table describes; the layer before says too little"
            )
        return judged(claim, "ok", f"with a pooling layer before {layer.name} that is not listed: {pool}")

    def _open_findings(
        self,
        layer: ClaimedLayer,
        row: LayerSummary | None,
        free: Sequence[tuple[str, Setting, LayerSummary]],
        evidence: Mapping[str, Claim],
        wrong: Sequence[str],
    ) -> list[Finding]:
        """Findings of a layer that leaves something open which decides whether its figures hold."""
        routes = tuple(dict.fromkeys(words for words, _, _ in free))[:4]
        true = free[0][2]
        grouped = routes[0].startswith("groups")
        found = []
        for name, claim in layer.claims.items():
            if name == "input":
                continue
            if name == "kernel" and (told := reaches_otherwise(claim, true)):
                found.append(judged(claim, "error", told[0], correction=told[1]))
            elif name in evidence and holds(claim, true, batch=self.batch) is None:
                reason = f"with {routes[0]}, which its other figures need: {self.arithmetic_of(name, true)}"
                found.append(
                    judged(claim, "error", reason, correction=self.true_figure_of(name, true), routes=())
                )
            elif name not in wrong:
                words = holds(claim, true, batch=self.batch) if name in evidence else ""
                status: Status = "rounded" if words and words.startswith("rounded") else "ok"
                found.append(
                    judged(
                        claim, status, self.arithmetic_of(name, true) or "the layer's figures agree with it"
                    )
                )
            elif grouped or (routes[0] == "rounding up" and layer.kind == "maxpool"):
                found.append(
                    judged(
                        claim,
                        "variant",
                        f"with {routes[0]}: {self.arithmetic_of(name, true)}",
                        correction=self.true_figure_of(name, row) if row is not None else "",
                        routes=routes,
                    )
                )
            else:
                as_stated = f"as stated {self.arithmetic_of(name, row)}; " if row is not None else ""
                reason = f"{as_stated}it needs {', or '.join(routes)}, which is not said"
                found.append(judged(claim, "unsupported", reason, routes=routes))
        return found


def _taken_apart(layer: ClaimedLayer) -> tuple[ClaimedLayer, list[Claim]]:
    """A layer, and those of its claims that do not follow from its input and its hyperparameters.

    Receptive fields, and "filters" of a pooling layer, which are the depth of what passes.
    """
    apart = (*RECEPTIVE, *(("filters",) if layer.kind == "maxpool" else ()))
    claims = {name: claim for name, claim in layer.claims.items() if name not in apart}
    return replace(layer, claims=claims), [layer.claims[name] for name in apart if name in layer.claims]


def _as_large_as(setting: Setting, true: LayerSummary, layer: ClaimedLayer) -> tuple[Setting, str]:
    """The layer with the output of the named network's, where the size hangs on what is not stated."""
    row = figures(setting)
    if "output" in layer.claims or layer.kind == "dense" or row is None or row.output == true.output:
        return setting, ""
    for changed in (
        replace(setting, rounding="up"),
        *(replace(setting, padding=padding) for padding in range(6)),
    ):
        stated = "padding" in layer.claims and changed.padding != setting.padding
        other = figures(changed)
        if not stated and other is not None and other.output == true.output:
            how = "rounding up" if changed.rounding != setting.rounding else f"padding {changed.padding}"
            return changed, f"with {how}, as the network's {shape_text(true.output)} needs"
    return setting, ""


def _no_layer(setting: Setting) -> str:
    window = window_text(setting.kernel) if setting.kind != "dense" else "the layer"
    return f"{window} does not fit {shape_text(setting.entering)}"
