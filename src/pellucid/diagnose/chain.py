"""From one wait to the next: `pay-1 waits for a Lock that pay-2 holds, which waits in recv from 10.0.0.5:5432`."""

from collections.abc import Mapping, Sequence

from pellucid.diagnose import words
from pellucid.model.graph import Graph, Node
from pellucid.model.sync import Waiting

MAX_LINKS = 8


def by_key(graph: Graph) -> dict[str, Node]:
    """The nodes by their keys, for who asks for many chains."""
    return {node.key: node for node in graph.nodes}


def chain(nodes: Mapping[str, Node], key: str) -> tuple[Node, ...]:
    """The nodes that one after the other have to go on first, `key` not among them; ends where a node needs no single other one."""
    found: list[Node] = []
    node = nodes.get(key)
    while node is not None and len(found) < MAX_LINKS:
        known = {waker.key for waker in node.wakers if waker.confidence != "possible"}
        node = nodes.get(known.pop()) if len(known) == 1 else None
        if node is None or node in found or node.key == key:
            break
        found.append(node)
    return tuple(found)


def who(node: Node, *, alone: bool) -> str:
    """`pay-1`, or `pay-1 of pid 43 (Process-1)` where several processes are spoken of."""
    if node.kind == "process":
        return node.name
    name = f"{node.kind} {node.name}" if node.kind in {"task", "greenlet"} else node.name
    process = f" ({node.waiting.process})" if node.waiting and node.waiting.process else ""
    return name if alone else f"{name} of pid {node.pid}{process}"


def what(waiting: Waiting) -> str:
    """`Lock b._lock (Acct._lock)`, `Queue dst [2 of max 2]`, `the end of Thread flusher`."""
    name = waiting.object
    detail = f" ({waiting.detail})" if waiting.detail else ""
    match waiting.kind:
        case "Thread":
            return f"the end of thread {name}" if name else "the end of a thread"
        case "Process" | "child process" | "child":
            pid = next((holder.pid for holder in waiting.holders), None)
            child = f" {name}" if name and waiting.kind != "child" else ""
            return f"the end of its child{child} (pid {pid})" if pid else f"the end of its child{child}{detail}"
        case "end of its pool":
            return f"the end of pool {name}" if name else "the end of a pool"
        case "end of all threads":
            return "the end of all its threads (the interpreter is about to exit)"
        case "pipe" | "socket" | "poll" | "file":
            return f"{waiting.call} on {name}" if name else waiting.call
        case "sleep":
            return waiting.call or "a sleep"
        case "file-lock":
            return f"a lock on {name}" if name else "a lock on a file"
        case _:
            return (f"{waiting.kind} {name}" if name else waiting.kind) + detail


def waited(waiting: Waiting) -> str:
    """`has waited 41 s for Lock x at bank.py:7 in transfer`."""
    if waiting.stopped:
        inside = f", in {what(waiting)}" if waiting.kind != "stopped" else ""
        return f"is stopped by a signal or a tracer{inside}{f' at {waiting.at}' if waiting.at else ''}"
    for_s = f" {words.duration(waiting.since_s)}" if waiting.since_s is not None else ""
    at = f" at {waiting.at}" if waiting.at else ""
    if waiting.kind == "sleep":
        left = f", {words.duration(waiting.left_s)} to go" if waiting.left_s is not None else ""
        return f"has slept{for_s}{at}{left}"
    if waiting.kind in {"pipe", "socket", "poll", "file"}:
        return f"has waited{for_s} in {what(waiting)}{at}"
    return f"has waited{for_s} for {what(waiting)}{at}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c, d and 6 more`."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
