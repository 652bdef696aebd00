"""audit(claims) -> Findings: published figures against the arithmetic, and what would make wrong ones true.

Every layer is judged from the input that is claimed for it, so one slip does not condemn what follows.
Layers are judged in layer_audit.py, totals and relations in sums.py.
"""

from __future__ import annotations

from dataclasses import replace

from alexnet.architecture import places, sums
from alexnet.architecture.claims import BATCHES, Claims
from alexnet.architecture.findings import Finding, Findings
from alexnet.architecture.layer_audit import LayerAudit
from alexnet.architecture.network import suggest
from alexnet.architecture.places import ANY_ALEXNET, Nearest, References
from alexnet.architecture.zoo import NETWORKS
from alexnet.errors import ClaimsError


def audit(claims: Claims, network: str | None = None) -> Findings:
    """Judge every claim by arithmetic, and the whole by the networks of the zoo.

    `network` (or the claims' own) names the one that they are about: where they leave something out, it is
    taken from there, and hyperparameters are compared with it; "alexnet" allows any of them. Raises
    ClaimsError for a name that is none.
    """
    named = network or claims.network
    known = (*NETWORKS, ANY_ALEXNET)
    if named is not None and named not in known:
        raise ClaimsError(f"network '{named}': unknown; {suggest(named, known)}")
    nearest = places.nearest(claims, named)
    references = places.references(claims, named)
    findings = _judge_all(claims, named, references, nearest)
    if claims.batch is None and any(
        _per_batch(finding) and finding.status == "error" for finding in findings
    ):
        findings = _with_a_batch(claims, named, references, nearest, findings)
    findings += sums.judge_relations(claims)
    findings += [
        Finding(
            where=each.where, field=each.field, claimed=each.text, status="unsupported", reason=each.reason
        )
        for each in claims.unread
    ]
    if named is not None:
        findings += sums.judge_listing(claims, "paper" if named == ANY_ALEXNET else named)
    return Findings(title=claims.title, findings=tuple(findings), nearest=nearest)


def _judge_all(
    claims: Claims, named: str | None, references: References, nearest: Nearest | None
) -> list[Finding]:
    auditor = LayerAudit(claims=claims, named=named, references=references, nearest=nearest)
    findings, rows = auditor.layers()
    wrong = [finding for finding in findings if finding.field == "macs" and finding.status == "error"]
    if 2 * len(wrong) > sum(finding.field == "macs" for finding in findings):
        auditor.doubled = True
        findings, rows = auditor.layers()
    return findings + sums.judge_totals(claims, rows, named=auditor.single, described=_described(nearest))


def _described(nearest: Nearest | None) -> str | None:
    """The network with which every figure of the layers agrees, if there is one."""
    return nearest[0] if nearest is not None and nearest[1] == nearest[2] else None


def _per_batch(finding: Finding) -> bool:
    return finding.field in ("macs", "flops", "activation_bytes")


def _with_a_batch(
    claims: Claims,
    named: str | None,
    references: References,
    nearest: Nearest | None,
    single: list[Finding],
) -> list[Finding]:
    """The findings for the batch that makes most of the figures right which are for so many pictures."""

    def wrong(findings: list[Finding]) -> int:
        return sum(finding.status in ("error", "unsupported") for finding in findings)

    best, size = single, 1
    for batch in BATCHES:
        findings = _judge_all(replace(claims, batch=batch), named, references, nearest)
        # One figure alone may as well be wrong by that factor.
        if wrong(findings) < min(wrong(best), wrong(single) - 1):
            best, size = findings, batch
    if size == 1:
        return single
    return [
        replace(finding, status="variant", reason=f"for a batch of {size} pictures: {finding.reason}")
        if _per_batch(finding) and finding.status in ("ok", "rounded")
        else finding
        for finding in best
    ]
