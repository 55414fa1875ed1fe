"""All rules over one snapshot, worst first.

A rule is one file in `rules/` with one function that takes a `Snapshot` and yields findings; it stands in `rules.ALL`. A sentence
without evidence is a bug, so the engine refuses it.
"""

from collections.abc import Callable, Iterator

from pellucid.model import CONFIDENCES, SEVERITIES, Finding, Snapshot

Rule = Callable[[Snapshot], Iterator[Finding]]

_REASONS = frozenset({"slow-regex", "concatenation", "gc-churn"})
_TOLD_BY: dict[str, frozenset[str]] = {
    "on-cpu": _REASONS | {"hot-loop"},
    "hot-loop": _REASONS,
    "gil": frozenset({"gil-starvation"}),  # of one process there is one GIL: also where other threads want it, too
    "lock": frozenset({"lock-convoy", "holder-stopped"}),
}
"""A finding of a rule says nothing more, where those of the others are about all of its threads."""


def diagnose(seen: Snapshot) -> tuple[Finding, ...]:
    """The findings of every rule, most harmful and then most certain first, each at most once."""
    from pellucid.diagnose.rules import ALL

    found: dict[Finding, None] = {}
    for rule in ALL:
        for finding in rule(seen):
            if not finding.evidence:
                message = f"rule {finding.rule} says {finding.title!r} without evidence"
                raise ValueError(message)
            found[finding] = None
    return tuple(sorted(_consistent(tuple(found)), key=_rank))


def _consistent(found: tuple[Finding, ...]) -> Iterator[Finding]:
    """Without what a worse finding makes untrue or tells already.

    A process is not idle as a whole when tasks in it are deadlocked while its loop waits for events, or a thread wants a CPU; and of a lock that is part of a
    deadlock the deadlock tells more.
    """
    worst = [finding for finding in found if finding.severity in {"critical", "warning"}]
    deadlocked = {tid for finding in found if finding.rule == "deadlock" for tid in finding.tids}
    told = {
        rule: {tid for finding in found if finding.rule in told_by for tid in finding.tids}
        for rule, told_by in _TOLD_BY.items()
    }
    wanting = any(finding.rule == "wants-cpu" for finding in found)
    for finding in found:
        if finding.tids and told.get(finding.rule, set()).issuperset(finding.tids):
            continue
        if finding.rule == "gil" and told["gil"] and finding.severity != "critical":
            continue
        if finding.rule == "idle" and (worst or wanting):
            continue
        if finding.rule == "lock" and finding.tids and deadlocked.issuperset(finding.tids):
            continue
        yield finding


def _rank(finding: Finding) -> tuple[int, int]:
    return SEVERITIES.index(finding.severity), CONFIDENCES.index(finding.confidence)
