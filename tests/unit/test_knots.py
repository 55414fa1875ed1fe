"""Knots in words: what each shape is called, its remedy, and the look-alikes that are left alone."""

import pytest

from pellucid.diagnose.loops import blocked_loops
from pellucid.diagnose.stuck import stuck
from pellucid.model.graph import Graph, Node, Waker
from pellucid.model.sync import Waiting

PID = 7


def thread(tid, role, kind, *wakers, mode="or", parks=False, since=5.0, detail="", name=None):
    """A waiting thread; `wakers` are keys, of any thread of the process where there are none."""
    waiting = Waiting(
        thread=name or f"t{tid}",
        kind=kind,
        object=None,
        since_s=since,
        holders=(),
        at="app.py:1 in f",
        pid=PID,
        tid=tid,
        call="futex",
        role=role,
        detail=detail,
    )
    confidence = "possible" if mode == "or" else "certain"
    return Node(
        key=f"{PID}/{tid}",
        kind="thread",
        pid=PID,
        tid=tid,
        name=name or f"t{tid}",
        mode=mode,
        wakers=tuple(Waker(key, confidence) for key in wakers or (f"{PID}/any",)),
        waiting=waiting,
        parks=parks,
    )


def joins(tid, other):
    return thread(tid, "join", "Thread", f"{PID}/{other}", mode="and", name="MainThread")


def task(number, tid, role="blocked-loop"):
    waiting = Waiting(
        thread=f"task-{number}",
        kind="event loop",
        object=None,
        since_s=None,
        holders=(),
        at="app.py:1 in f",
        pid=PID,
        tid=None,
        what="task",
        role=role,
    )
    return Node(
        key=f"{PID}/task/{number}",
        kind="task",
        pid=PID,
        name=f"task-{number}",
        mode="and",
        wakers=(Waker(f"{PID}/{tid}"),),
        waiting=waiting,
    )


def graph(*nodes):
    threads = [node for node in nodes if node.kind == "thread"]
    anybody = Node(
        key=f"{PID}/any",
        kind="any",
        pid=PID,
        name="pid 7",
        mode="or",
        wakers=tuple(Waker(node.key, "possible") for node in threads),
    )
    return Graph((*nodes, anybody), (PID,))


SHAPES = [
    ((thread(1, "event", "Event", parks=True), joins(2, 1)), "stuck", "t1 waits, and nobody is left who could set it"),
    (
        (thread(1, "barrier", "Barrier"), thread(2, "barrier", "Barrier")),
        "stuck",
        "t1 and t2 wait, and nobody is left who could join in",
    ),
    ((thread(1, "get", "Queue", parks=True), joins(2, 1)), "queue-empty", "t1 waits for an item that nobody will put"),
    ((thread(1, "put", "Queue"), thread(2, "get", "Queue", parks=True)), "queue-full", "t1 puts into a full queue"),
    ((thread(1, "semaphore", "BoundedSemaphore"), joins(2, 1)), "slots-lost", "t1 waits for a slot that nobody has"),
    (
        (thread(1, "future", "Future", detail="pending"), joins(2, 1)),
        "stuck",
        "nobody is left who could set its result",
    ),
    (
        (
            thread(1, "future", "Future", f"{PID}/2", mode="and", detail="running"),
            thread(2, "future", "Future", detail="pending"),
        ),
        "executor-starved",
        "t2 computes one future and waits for another that nobody has begun",
    ),
    (
        (thread(1, "future", "Future", detail="pending"), task(1, 1)),
        "event-loop-blocked",
        "t1 waits for what only its own event loop could bring",
    ),
    (
        (thread(1, "pool", "Pool result"), thread(2, "shared-lock", "multiprocessing.Lock", f"{PID}/1", mode="and")),
        "deadlock",
        "Looks like a deadlock: t2 waits for a lock whose holder waits for them",
    ),
]


@pytest.mark.parametrize(
    ("nodes", "rule", "title"), SHAPES, ids=[row[1] + str(place) for place, row in enumerate(SHAPES)]
)
def test_a_knot_by_its_cause(nodes, rule, title):
    (found,) = stuck(graph(*nodes))
    assert (found.finding.rule, found.finding.confidence) == (rule, "likely")
    assert title in found.finding.title
    assert "Remedy: " in found.finding.sentence
    assert found.finding.evidence


@pytest.mark.parametrize(
    "nodes",
    [
        (thread(1, "get", "Queue", parks=True), thread(2, "event", "Event", parks=True)),
        (thread(1, "event", "Event", parks=True, since=0.2), joins(2, 1)),
        (thread(1, "put", "Queue"), thread(2, "sleep", "sleep", mode="live")),
    ],
    ids=["all wait for work", "it has only just begun to wait", "somebody lives"],
)
def test_left_alone(nodes):
    assert not stuck(graph(*nodes))


def test_a_loop_that_a_call_holds_up():
    sleeper = thread(1, "sleep", "sleep", mode="live", since=6.0)
    (finding,) = blocked_loops(graph(sleeper, task(1, 1), task(2, 1)))
    assert finding.severity == "critical"
    assert finding.title == "The event loop of t1 stands still: 2 tasks could go on"
    assert "task-1 and task-2 are ready, and can't go on" in finding.sentence


def test_a_loop_that_is_held_up_for_a_moment_or_told_already():
    short = thread(1, "sleep", "sleep", mode="live", since=0.1)
    assert not list(blocked_loops(graph(short, task(1, 1))))
    longer = thread(1, "sleep", "sleep", mode="live", since=6.0)
    assert not list(blocked_loops(graph(longer, task(1, 1)), told={1}))
    assert not list(blocked_loops(graph(longer, task(1, 1, role="get"))))
