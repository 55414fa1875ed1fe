"""From the graph of waits to the report of `pellucid waits`: its rows, and what can be said of those that never go on."""

from typing import Protocol

from pellucid.diagnose.halted import halted
from pellucid.diagnose.loops import blocked_loops
from pellucid.diagnose.stuck import Stuck, placed, stuck
from pellucid.model import Process
from pellucid.model.graph import Graph
from pellucid.model.report import StuckReport, WaitsReport

NO_CYCLE = frozenset({"holder-is-gone", "lock-copied-by-fork", "pool-lost-task", "openmp-after-fork"})
"""Rules whose threads wait for somebody who is no longer there, and not for one another."""


class Looked(Protocol):
    """What was observed: see `observe.wait_graph.Family`."""

    @property
    def graph(self) -> Graph: ...
    @property
    def processes(self) -> tuple[Process, ...]: ...
    @property
    def reading_s(self) -> float: ...
    @property
    def reading_cpu_s(self) -> float: ...
    @property
    def taken_at(self) -> float: ...
    @property
    def stopped_s(self) -> float | None: ...


def report(looked: Looked) -> WaitsReport:
    """The document of `pellucid waits --json`."""
    graph = looked.graph
    found = stuck(graph)
    asked = looked.processes[0].pid if looked.processes else 0
    told = frozenset(tid for one in found for tid in one.finding.tids)
    return WaitsReport(
        process=looked.processes[0] if looked.processes else None,
        taken_at=looked.taken_at,
        gaps=graph.gaps,
        processes=looked.processes,
        waits=tuple(node.waiting for node in graph.nodes if node.waiting is not None),
        cycles=tuple(_cycle(one) for one in found if one.finding.rule not in NO_CYCLE),
        findings=(*(placed(one, asked) for one in found), *halted(graph), *blocked_loops(graph, told)),
        graph=graph,
        reading_s=looked.reading_s,
        reading_cpu_s=looked.reading_cpu_s,
        stopped_s=looked.stopped_s,
    )


def _cycle(one: Stuck) -> StuckReport:
    return StuckReport(
        rule=one.finding.rule,
        confidence=one.finding.confidence,
        threads=tuple(node.name for node in one.members),
        members=tuple(node.waiting for node in one.members if node.waiting is not None),
        sentence=one.finding.sentence,
    )
