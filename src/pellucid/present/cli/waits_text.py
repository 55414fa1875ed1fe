"""The text of `pellucid waits`: the verdicts first, then each process with its waiting threads, the longest wait first."""

import sys
from collections.abc import Iterator, Mapping

from msgspec import Struct

from pellucid.diagnose import words
from pellucid.diagnose.chain import by_key, chain, waited, who
from pellucid.model import Process
from pellucid.model.graph import Node
from pellucid.model.report import WaitsReport
from pellucid.model.sync import Waiting
from pellucid.present.cli import plain, screen

_ENDS = frozenset({"Thread", "Process", "child", "child process", "end of all threads", "end of its pool"})
_NEEDS = frozenset({"task", "gather", "group", "wait", "wait_for", "thread", "future"})
_SERVES = frozenset({"loop", "service", "worker"})
_CONNECTED = frozenset({"receive", "send", "shared-get", "shared-put", "feeder-send"})


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
            yield Line("  " + screen.printable(_row(node.waiting) + _onward(node, nodes)))


def _onward(node: Node, nodes: Mapping[str, Node]) -> str:
    """What the one that it needs waits for in its turn, to the end: `; pay-2 has waited 41 s in recvfrom on fd 5 (tcp ...)`."""
    told = [link for link in chain(nodes, node.key) if link.waiting is not None]
    return "".join(f"; {who(link, alone=link.pid == node.pid)} {waited(link.waiting)}" for link in told if link.waiting)


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
        parts.append(_by_whom(waiting))
    if not waiting.steady:
        parts.append("woke during the look")
    return ", ".join(parts)


def _by_whom(waiting: Waiting) -> str:
    """`held by pay-2`; where nobody is known to hold it, those who could end the wait."""
    known = [one for one in waiting.holders if one.confidence != "possible"]
    shown = known or list(waiting.holders)
    if waiting.role == "blocked-loop":
        verb = "held up by"
    elif waiting.kind in _ENDS or waiting.role in _NEEDS:
        verb = "needs"
    elif waiting.role in _SERVES:
        verb = "could be woken by"
    elif waiting.kind in {"pipe", "socket", "poll"} or waiting.role in _CONNECTED:
        verb = "other end"
    elif waiting.role == "proxy":
        verb = "served by"
    else:
        verb = "held by" if known else "could be woken by"
    names = [one.name + (" (likely)" if one.confidence == "likely" else "") for one in shown[:4]]
    return f"{verb} {', '.join(names)}{f' and {len(shown) - 4} more' if len(shown) > 4 else ''}"
