"""What an audit comes to: one finding a claim, a verdict on the whole, and how they are printed."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from alexnet.architecture.claims import Claim

Status = Literal["ok", "rounded", "variant", "error", "unsupported"]
STATUSES: tuple[Status, ...] = ("ok", "rounded", "variant", "error", "unsupported")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The judgement of one claim."""

    where: str  # the layer, or what the total is of
    field: str  # "stride", "output", "parameters"
    claimed: str  # as printed
    status: Status
    reason: str  # the arithmetic, or what is missing
    correction: str = ""  # of an error: what it must be
    routes: tuple[
        str, ...
    ] = ()  # single changes under which it would hold, the likeliest first; each was tried


def judged(
    claim: Claim, status: Status, reason: str, *, correction: str = "", routes: tuple[str, ...] = ()
) -> Finding:
    """The finding of a claim."""
    return Finding(
        where=claim.where,
        field=claim.field,
        claimed=claim.text,
        status=status,
        reason=reason,
        correction=correction,
        routes=routes,
    )


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The judgement of all claims of one publication. Its text is the report."""

    title: str
    findings: tuple[Finding, ...]  # in the order of the claims
    nearest: (
        tuple[str, int, int] | None
    )  # the network they describe best, claims that agree with it, of how many

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Those that are wrong."""
        return tuple(finding for finding in self.findings if finding.status == "error")

    def text(self, *, everything: bool = False) -> str:
        """A line a claim that is not simply right (or every claim), then the verdict."""
        shown = [each for each in self.findings if everything or each.status not in ("ok", "rounded")]
        lines = [line for finding in shown for line in _lines(finding)]
        return "\n".join([*lines, *([""] if lines else []), *self.verdict()]) + "\n"

    def verdict(self) -> list[str]:
        """How many claims hold, which network they describe, and the first that does not hold."""
        counts = Counter(finding.status for finding in self.findings)
        told = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
        lines = [f"{len(self.findings)} claims: {told or 'none'}."]
        if self.nearest is not None:
            name, agree, total = self.nearest
            lines.append(f"They describe {name}: {agree} of {total} figures of layers agree with it.")
        if self.errors:
            first = self.errors[0]
            lines.append(f"The first mistake: {first.where} {first.field} = {first.claimed}.")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "title": self.title,
            "findings": [asdict(finding) for finding in self.findings],
            "nearest": None
            if self.nearest is None
            else dict(zip(("network", "agree", "of"), self.nearest, strict=True)),
            "errors": len(self.errors),
        }

    def __str__(self) -> str:
        return self.text()


def _lines(finding: Finding) -> list[str]:
    lines = [
        f"{finding.status:<12}{finding.where}: {finding.field} = {finding.claimed}",
        f"{'':12}{finding.reason}",
    ]
    if finding.correction:
        lines.append(f"{'':12}it is {finding.correction}")
    if finding.routes:
        lines.append(f"{'':12}it would hold with {', or '.join(finding.routes)}")
    return lines
