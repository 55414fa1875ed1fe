"""Threads that wait for somebody in a process that is stopped: it goes on once that is let go on, and not before.

    MainThread waits for pid 43 (ForkPoolWorker-2), which is stopped

A stop (SIGSTOP, Ctrl-Z, a debugger) leaves locks taken and calls half done; who waits for them sees nothing of it.
"""

from collections.abc import Iterator, Mapping

from pellucid.diagnose.chain import MAX_LINKS, by_key, listed, waited, who
from pellucid.model import CONFIDENCES, Confidence, Finding, Ref
from pellucid.model.graph import Graph, Node


def halted(graph: Graph) -> Iterator[Finding]:
    """One finding for each stopped process that others wait for, whom nobody else could let go on."""
    nodes = by_key(graph)
    waiters: dict[int, list[tuple[Node, Node, Confidence]]] = {}
    for node in graph.nodes:
        waiting = node.waiting
        if waiting is None or waiting.stopped or not waiting.steady or waiting.timed or node.parks:
            continue
        found = _end(node, nodes)
        if found is not None and found[0].pid != node.pid:
            waiters.setdefault(found[0].pid, []).append((node, *found))
    for several in waiters.values():
        yield _finding(several)


def _end(node: Node, nodes: Mapping[str, Node]) -> tuple[Node, Confidence] | None:
    """(a thread that is stopped and has to go on first, how sure that is); along those alone of whom all are needed."""
    seen = {node.key}
    level: list[tuple[Node, Confidence]] = [(node, "certain")]
    for _ in range(MAX_LINKS):
        following: list[tuple[Node, Confidence]] = []
        for one, sure in level:
            for waker in one.wakers if one.mode == "and" else ():
                needed = nodes.get(waker.key)
                if needed is None or needed.key in seen:
                    continue
                seen.add(needed.key)
                worst = max(sure, waker.confidence, key=CONFIDENCES.index)
                if needed.waiting is not None and needed.waiting.stopped:
                    return needed, worst
                following.append((needed, worst))
        level = following
    return None


def _finding(several: list[tuple[Node, Node, Confidence]]) -> Finding:
    first, end, _ = several[0]
    waiters = [node for node, _, _ in several]
    alone = len({node.pid for node in waiters}) == 1
    names = listed([who(node, alone=alone) for node in waiters])
    process = f"pid {end.pid}" + (f" ({end.waiting.process})" if end.waiting and end.waiting.process else "")
    what = waited(first.waiting) if first.waiting else "waits"
    state = waited(end.waiting) if end.waiting else "is stopped"
    return Finding(
        rule="holder-stopped",
        severity="critical",
        title=f"{names} {'wait' if len(waiters) > 1 else 'waits'} for {process}, which is stopped",
        sentence=f"{who(first, alone=alone)} {what}, and needs {who(end, alone=False)}, which {state}. "
        f"It goes on after `kill -CONT {end.pid}`, or once its tracer lets it.",
        evidence=(Ref(source=f"/proc/{end.pid}/task/{end.tid}/stat", said="state T or t"),),
        next=(f"kill -CONT {end.pid}", f"pellucid waits {first.pid}"),
        confidence=max((sure for _, _, sure in several), key=CONFIDENCES.index),
        tids=tuple(node.tid for node in waiters if node.tid is not None),
    )
