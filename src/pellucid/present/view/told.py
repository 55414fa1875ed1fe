"""Findings, gaps and errors as a screen shows them: all text made inert, the words for what colours would tell."""

from msgspec import Struct

from pellucid.inert import inert
from pellucid.model import Finding, Gap
from pellucid.model.errors import PellucidError

MARKS = {"critical": "stuck or failing", "warning": "needs you", "notice": "worth knowing", "info": "fine"}
"""What a severity means for who reads it."""


class Told(Struct, frozen=True):
    """One finding. `evidence` are pairs (where it was read, what it was); `next` whole command lines; `tids` whom it is about."""

    rule: str
    severity: str
    means: str
    confidence: str
    title: str
    sentence: str
    evidence: tuple[tuple[str, str], ...]
    next: tuple[str, ...]
    tids: tuple[int, ...]


class NotSeen(Struct, frozen=True):
    """One gap."""

    what: str
    why: str
    remedy: str


class Failed(Struct, frozen=True):
    """The three lines of an error: what was tried, what was said, what will work."""

    code: str
    tried: str
    said: str
    remedy: str


def told(finding: Finding) -> Told:
    return Told(
        rule=finding.rule,
        severity=finding.severity,
        means=MARKS[finding.severity],
        confidence=finding.confidence,
        title=inert(finding.title),
        sentence=inert(finding.sentence),
        evidence=tuple((inert(ref.source), inert(ref.said)) for ref in finding.evidence),
        next=tuple(map(inert, finding.next)),
        tids=finding.tids,
    )


def not_seen(gaps: tuple[Gap, ...]) -> tuple[NotSeen, ...]:
    """Each once."""
    return tuple(dict.fromkeys(NotSeen(inert(gap.what), inert(gap.why), inert(gap.remedy)) for gap in gaps))


def failed(error: PellucidError) -> Failed:
    return Failed(error.code, inert(error.tried), inert(error.said), inert(error.remedy))
