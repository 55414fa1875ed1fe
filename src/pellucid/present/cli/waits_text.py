"""The text of `pellucid waits`: the verdicts first, then each process with its waiting threads, the longest wait first."""

import sys
from collections.abc import Iterator

from msgspec import Struct

from pellucid.diagnose import words
from pellucid.model import Process
from pellucid.model.report import WaitsReport
from pellucid.model.sync import Waiting
from pellucid.present.cli import plain, screen


class Line(Struct, frozen=True):
    text: str
    bold: bool = False
    dim: bool = False
    colour: str | None = None


def show(
    *targets: str, as_json: bool = False, dot: bool = False, children: bool = True, span_s: float | None = None
) -> int:
    """Look and print; the exit status is 0, what goes wrong is raised."""
    from pellucid.diagnose.waits import report
    from pellucid.observe.wait_graph import SPAN_S, family

    pids = tuple(dict.fromkeys(plain.resolve(target) for target in targets))
    found = report(family(pids, children=children, span_s=SPAN_S if span_s is None else span_s))
    if as_json:
        plain.emit(found)
    elif dot:
        from pellucid.export.dot import encode

        sys.stdout.buffer.write(encode(found.graph))
        sys.stdout.buffer.flush()
    else:
        for line in lines(found):
            screen.say(line.text, bold=line.bold, dim=line.dim, colour=line.colour)
    return 0


def lines(report: WaitsReport) -> Iterator[Line]:
    """The whole screen."""
    for finding in report.findings:
        word, colour = screen.mark(finding.severity)
        sure = "" if finding.confidence == "certain" else f" ({finding.confidence})"
        yield Line(screen.printable(f"{word}{sure}: {finding.title}"), bold=True, colour=colour)
        yield Line("   " + screen.printable(finding.sentence))
        for ref in finding.evidence:
            yield Line("     " + screen.printable(f"{ref.source}: {ref.said}"), dim=True)
        yield Line("")
    for process in report.processes:
        yield from _process(process, [one for one in report.waits if one.pid == process.pid])
    for line in screen.gaps(report.gaps):
        yield Line(line, dim=True)


def _process(process: Process, waits: list[Waiting]) -> Iterator[Line]:
    command = " ".join(process.command)
    runtime = f" · {process.runtime}" if process.runtime else ""
    yield Line(
        screen.printable(f"pid {process.pid} {command[:70] or process.name} · {process.state}{runtime}"), bold=True
    )
    if not waits:
        yield Line("  nothing waits here" if process.state not in {"zombie", "dead"} else "  it has ended", dim=True)
    for waiting in sorted(waits, key=lambda one: -(one.since_s or 0)):
        yield Line("  " + screen.printable(_row(waiting)))


def _row(waiting: Waiting) -> str:
    detail = f" [{waiting.detail}]" if waiting.detail else ""
    thing = f"{waiting.kind} {waiting.object}" if waiting.object else waiting.kind
    daemon = " (daemon)" if waiting.daemon else ""
    what = "task " if waiting.what == "task" else "greenlet " if waiting.what == "greenlet" else ""
    parts = [f"{what}{waiting.thread}{daemon}: {thing}{detail}"]
    if waiting.since_s is not None:
        parts.append(f"for {words.duration(waiting.since_s)}")
    if waiting.left_s is not None:
        parts.append(
            f"gives up in {words.duration(waiting.left_s)}"
            if waiting.kind != "sleep"
            else f"wakes in {words.duration(waiting.left_s)}"
        )
    if waiting.at:
        parts.append(f"at {waiting.at}")
    if waiting.holders:
        verb = (
            "needs"
            if waiting.kind in {"Thread", "Process", "child", "child process", "end of all threads"}
            else "held by"
        )
        if waiting.kind in {"pipe", "socket", "poll"} or waiting.role in {
            "receive",
            "send",
            "proxy",
            "shared-get",
            "shared-put",
        }:
            verb = "other end"
        shown = [
            one.name + ("" if one.confidence == "certain" else f" ({one.confidence})") for one in waiting.holders[:4]
        ]
        parts.append(f"{verb} {', '.join(shown)}{', ...' if len(waiting.holders) > 4 else ''}")
    if not waiting.steady:
        parts.append("woke during the look")
    return ", ".join(parts)
