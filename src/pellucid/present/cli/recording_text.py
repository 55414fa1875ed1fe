"""What is in a recording, as text: who was recorded from when to when, what was wrong meanwhile, who ended, and what the recorder cost."""

import time

from pellucid.diagnose.words import duration
from pellucid.model.recording import Interval, RecordedProcess, RecordingReport
from pellucid.present.cli import screen
from pellucid.present.cli.moment import clock

ON_SCREEN = 40


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def share(of_core: float) -> str:
    """`0.21 %`."""
    return f"{100 * of_core:.2f} %"


def called(each: RecordedProcess) -> str:
    from pellucid.diagnose import words

    return screen.printable(words.command(each.process, 60))


def tell(report: RecordingReport, seconds: float | None) -> None:
    screen.say(
        screen.printable(
            f"{report.file} · {clock(report.first_at)} to {clock(report.last_at)} ({duration(report.last_at - report.first_at)}) · "
            f"{megabytes(report.size_bytes)} of at most {megabytes(report.most_bytes)}"
        ),
        bold=True,
    )
    for line in _sessions(report):
        screen.say(screen.printable(line), dim=True)
    cost = report.cost
    missed = f", {cost.missed} of them missed" if cost.missed else ""
    screen.say(
        f"cost: {share(cost.share)} of a core per process, {cost.processes:.1f} processes on average; {cost.samples} samples{missed}",
        dim=True,
    )
    screen.say()
    rows = [
        (
            str(each.process.pid),
            clock(each.first_at),
            clock(each.last_at),
            str(each.samples),
            "" if each.death is None else str(each.death),
            called(each),
        )
        for each in report.processes
    ]
    screen.table(("PID", "FROM", "TO", "SAMPLES", "END", "COMMAND"), rows[-ON_SCREEN:], right=frozenset({0, 3}))
    if len(rows) > ON_SCREEN:
        screen.say(f"and {len(rows) - ON_SCREEN} processes before (--json lists them)", dim=True)
    screen.say()
    _events(report, seconds)
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)


def _sessions(report: RecordingReport) -> list[str]:
    lines = []
    for each in report.sessions[-3:]:
        if each.ended_at is not None:
            end = f"to {clock(each.ended_at)}"
        elif time.time() - each.last_at < 10:
            end = "and goes on"
        else:
            end = f"and was cut off after {clock(each.last_at)} (killed, or a loss of power)"
        lines.append(
            f"{each.asked} on {each.host}, {each.rate_hz:g} samples a second, from {clock(each.began_at)} {end}"
        )
    if len(report.sessions) > 3:
        lines.insert(0, f"and {len(report.sessions) - 3} runs of the recorder before")
    return lines


def _events(report: RecordingReport, seconds: float | None) -> None:
    """Findings and ends in the order of time."""
    since = report.last_at - seconds if seconds is not None else report.first_at
    deaths = [
        (each.death.at, f"pid {each.process.pid} {each.process.name}: {_death(each)}", "", None)
        for each in report.processes
        if each.death is not None and each.death.at >= since
    ]
    events = sorted([*deaths, *(_event(each) for each in report.findings)], key=lambda event: event[0])
    if not events:
        screen.say("nothing was wrong in a way that a rule knows, and nothing ended")
    for _, text, colour, sentence in events[-ON_SCREEN:]:
        screen.say(screen.printable(text), colour=colour or None, bold=not colour)
        if sentence:
            screen.say("   " + screen.printable(sentence))
    if len(events) > ON_SCREEN:
        screen.say(f"and {len(events) - ON_SCREEN} before (--json lists them)", dim=True)
    worst = next((each for each in reversed(report.findings) if each.severity in {"critical", "warning"}), None)
    if worst is not None:
        screen.say(
            screen.printable(f"next: pellucid replay {report.file} why {worst.pid} --at '{clock(worst.last_at)}'")
        )


def _event(each: Interval) -> tuple[float, str, str, str | None]:
    word, colour = screen.mark(each.severity)
    sure = "" if each.confidence == "certain" else f" ({each.confidence})"
    end = f"to {clock(each.ended_at)}" if each.ended_at is not None else f"to {clock(each.last_at)} at least,"
    text = f"{clock(each.first_at)} {end}  pid {each.pid}  {word}{sure}: {each.title}"
    return each.first_at, text, colour, each.finding.sentence


def _death(each: RecordedProcess) -> str:
    death = each.death
    assert death is not None
    last = f"; its last sample is of {clock(death.last_look_at)}" if death.last_look_at is not None else ""
    return f"{death}, {clock(death.at)}{last}"
