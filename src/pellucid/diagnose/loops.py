"""An event loop that a call holds up while tasks of it are ready to go on, told from the graph of waits.

The event loop of MainThread stands still: it has slept 41 s at shop.py:7 in rude; ticker and 2 more tasks are ready and can't go on.
"""

from collections.abc import Collection, Iterator

from pellucid.diagnose.chain import listed, waited
from pellucid.model import Finding, Ref, Severity
from pellucid.model.graph import Graph, Node

SOON_S, BAD_S = 0.2, 5.0
"""A callback that waits for less is ordinary; for more, connections time out."""


def blocked_loops(graph: Graph, told: Collection[int] = ()) -> Iterator[Finding]:
    """One finding for each thread whose loop stands still; what is stuck for good (`told`: the tids) is told elsewhere."""
    nodes = {node.key: node for node in graph.nodes}
    held_up: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.kind == "task" and node.waiting is not None and node.waiting.role == "blocked-loop":
            held_up.setdefault(node.wakers[-1].key, []).append(node)
    for key, tasks in held_up.items():
        thread = nodes.get(key)
        waiting = thread.waiting if thread is not None else None
        if thread is None or thread.tid in told or waiting is None or (waiting.since_s or 0.0) < SOON_S:
            continue
        severity: Severity = "critical" if (waiting.since_s or 0.0) >= BAD_S else "warning"
        several = len(tasks) > 1
        yield Finding(
            rule="event-loop-blocked",
            severity=severity,
            title=f"The event loop of {thread.name} stands still: {len(tasks)} task{'s' if several else ''} could go on",
            sentence=f"{thread.name} {waited(waiting)}, inside of a callback of its event loop. {listed([task.name for task in tasks])} "
            f"{'are' if several else 'is'} ready, and can't go on. Remedy: an awaitable call, or asyncio.to_thread().",
            evidence=(
                Ref(
                    source=f"/proc/{thread.pid}/task/{thread.tid}/syscall",
                    said=f"{waiting.call}, unchanged at both looks",
                ),
                Ref(source=f"memory of pid {thread.pid}", said="Handle._run (asyncio/events.py) is below this call"),
            ),
            next=(f"pellucid stacks {thread.pid} --tasks", f"pellucid stacks {thread.pid}"),
            confidence="certain",
            tids=(thread.tid,) if thread.tid is not None else (),
        )
