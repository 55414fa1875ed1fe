"""The screen of `pellucid why`: at most twelve lines, worst first, then the commands to run next."""

from pellucid.model import SEVERITIES, Finding, Gap, Snapshot
from pellucid.model.report import WhyReport
from pellucid.present.cli import plain, screen

MOST_LINES = 12
WATCH_S = 2.0
"""For so long it is watched, beside the quick look; all of `why` takes less than three seconds."""
_MOST_NEXT = 3


def show(
    target: str,
    *,
    as_json: bool = False,
    fail_on: str | None = None,
    span_s: float = 0.1,
    quick: bool = False,
    evidence: bool = False,
) -> int:
    """Look, judge and print; the exit status: 1 with a finding as bad as `fail_on`, 6 when a runtime could not be read."""
    from pellucid.diagnose.engine import diagnose
    from pellucid.observe.snapshot import snapshot

    seen = snapshot(plain.resolve(target), span_s, 0.0 if quick else WATCH_S)
    findings = diagnose(seen)
    if as_json:
        plain.emit(report(seen, findings))
    else:
        tell(seen, findings, with_evidence=evidence)
    if fail_on is not None and any(
        SEVERITIES.index(finding.severity) <= SEVERITIES.index(fail_on) for finding in findings
    ):
        return 1
    return 6 if seen.partial else 0


def report(seen: Snapshot, findings: tuple[Finding, ...]) -> WhyReport:
    """The document behind the screen."""
    return WhyReport(
        process=seen.process,
        taken_at=seen.taken_at,
        gaps=seen.gaps,
        findings=findings,
        threads=seen.threads,
        peers=seen.peers,
        cost=seen.cost,
        over_time=seen.over_time,
    )


def tell(seen: Snapshot, findings: tuple[Finding, ...], *, with_evidence: bool) -> None:
    """The screen."""
    from pellucid.diagnose import words

    process = seen.process
    runtime = f" · {process.runtime}" if process.runtime else ""
    count = len(seen.threads)
    screen.say(
        screen.printable(
            f"pid {process.pid} {words.command(process, 70)} · {process.state}{runtime} · {count} thread{'' if count == 1 else 's'}"
        ),
        bold=True,
    )
    if not findings:
        screen.say("Nothing here waits, runs or is stuck in a way that a rule knows.")
    not_seen = screen.gaps(_gaps(seen, findings), most=2)
    stood = seen.cost.stopped_s
    if stood is not None:
        not_seen.append(f"the JVM was asked for its stacks: its threads stood still for {1000 * stood:.1f} ms")
    told = _told(findings, MOST_LINES - 2 - len(not_seen) - (1 if with_evidence else 0))
    for finding in told:
        _finding(finding, with_evidence=with_evidence)
    if len(told) < len(findings):
        screen.say(f"and {len(findings) - len(told)} more findings (--json lists them)", dim=True)
    commands = tuple(dict.fromkeys(line for finding in told for line in finding.next))
    if commands:
        screen.say("next: " + screen.printable(" · ".join(commands[:_MOST_NEXT])))
    for line in not_seen:
        screen.say(line, dim=True)


def _gaps(seen: Snapshot, findings: tuple[Finding, ...]) -> tuple[Gap, ...]:
    """What was not seen; what would need more rights only where nothing bad was found without."""
    if seen.over_time is None or any(finding.severity in {"critical", "warning"} for finding in findings):
        return seen.gaps
    return (*seen.gaps, *seen.over_time.gaps)


def _told(findings: tuple[Finding, ...], lines: int) -> tuple[Finding, ...]:
    """As many findings as fit: two lines each, worst first; one line is kept to say that there are more."""
    fit = lines // 2
    return findings if len(findings) <= fit else findings[: max(1, (lines - 1) // 2)]


def _finding(finding: Finding, *, with_evidence: bool) -> None:
    word, colour = screen.mark(finding.severity)
    sure = "" if finding.confidence == "certain" else f" ({finding.confidence})"
    screen.say(
        screen.printable(f"{word}{sure}: {finding.title}"),
        colour=colour,
        bold=finding.severity in {"critical", "warning"},
    )
    screen.say("   " + screen.printable(finding.sentence))
    if with_evidence:
        for ref in finding.evidence:
            screen.say(screen.printable(f"     {ref.source}: {ref.said}"), dim=True)
