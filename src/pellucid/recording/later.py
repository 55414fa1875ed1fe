"""A look as of some seconds later, where nothing ran in the process since: everything is as it was, and each wait is so much longer."""

from msgspec.structs import replace

from pellucid.model import Snapshot, Task, Thread
from pellucid.model.graph import Graph, Node


def snapshot(seen: Snapshot, seconds: float) -> Snapshot:
    """The same process, `seconds` later."""
    if seconds <= 0:
        return seen
    return replace(
        seen,
        taken_at=seen.taken_at + seconds,
        threads=tuple(thread(each, seconds) for each in seen.threads),
        earlier=tuple(thread(each, seconds) for each in seen.earlier),
        graph=_graph(seen.graph, seen.process.pid, seconds) if seen.graph is not None else None,
    )


def thread(seen: Thread, seconds: float) -> Thread:
    """The same thread in the same sleep."""
    if seconds <= 0:
        return seen
    wait = seen.wait
    if wait is not None:
        wait = replace(wait, since_s=_more(wait.since_s, seconds), left_s=_less(wait.left_s, seconds))
    return replace(seen, wait=wait, task=_task(seen.task, seconds))


def _task(task: Task, seconds: float) -> Task:
    return replace(task, asleep_s=_more(task.asleep_s, seconds))


def _graph(graph: Graph, pid: int, seconds: float) -> Graph:
    """The processes that the waits lead to were looked at once, and may have gone on: of theirs nothing is made longer."""
    return replace(graph, nodes=tuple(_node(node, seconds) if node.pid == pid else node for node in graph.nodes))


def _node(node: Node, seconds: float) -> Node:
    waiting = node.waiting
    if waiting is None:
        return node
    longer = replace(waiting, since_s=_more(waiting.since_s, seconds), left_s=_less(waiting.left_s, seconds))
    return replace(node, waiting=longer)


def _more(value: float | None, seconds: float) -> float | None:
    return None if value is None else value + seconds


def _less(value: float | None, seconds: float) -> float | None:
    return None if value is None else max(0.0, value - seconds)
