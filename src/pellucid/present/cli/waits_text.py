"""The text of `pellucid waits`: the verdicts first, then each process with its waiting threads, the longest wait first."""

import sys
from collections.abc import Iterator, Mapping

from msgspec import Struct

from pellucid.diagnose.chain import by_key
from pellucid.model import Process
from pellucid.model.graph import Node
from pellucid.model.report import WaitsReport
from pellucid.present.cli import plain, screen
from pellucid.present.view.wait_words import onward, row


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
    nodes = by_key(report.graph)
    rows: dict[int, list[Node]] = {}
    for node in report.graph.nodes:
        if node.waiting is not None:
            rows.setdefault(node.pid, []).append(node)
    for process in report.processes:
        yield from _process(process, rows.get(process.pid, []), nodes)
    if report.stopped_s is not None:
        yield Line(f"The JVM was asked for its stacks: its threads stood still for {1000 * report.stopped_s:.1f} ms.")
    for line in screen.gaps(report.gaps):
        yield Line(line, dim=True)


def _process(process: Process, waits: list[Node], nodes: Mapping[str, Node]) -> Iterator[Line]:
    command = " ".join(process.command)
    runtime = f" · {process.runtime}" if process.runtime else ""
    yield Line(
        screen.printable(f"pid {process.pid} {command[:70] or process.name} · {process.state}{runtime}"), bold=True
    )
    if not waits:
        yield Line("  nothing waits here" if process.state not in {"zombie", "dead"} else "  it has ended", dim=True)
    for node in sorted(waits, key=lambda one: -((one.waiting.since_s or 0) if one.waiting else 0)):
        if node.waiting is not None:
            yield Line("  " + screen.printable(row(node.waiting) + onward(node, nodes)))
