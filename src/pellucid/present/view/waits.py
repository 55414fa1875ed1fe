"""Who waits for whom, as rows to read and as a graph to draw; both tell the same."""

from collections import Counter

from msgspec import Struct
from msgspec.structs import replace

from pellucid.diagnose.chain import by_key, what, who
from pellucid.diagnose.stuck import stuck
from pellucid.inert import inert
from pellucid.model.graph import Graph, Node
from pellucid.present.view.wait_words import by_whom, onward, row

MOST_NODES = 60
"""A picture of more can't be read; the rows are complete."""


class WaitRow(Struct, frozen=True):
    """One thread, task or greenlet that waits. `sentence` is the line of `pellucid waits`; `stuck`: nothing can wake it any more."""

    who: str
    what: str
    holders: str
    onward: str
    at: str
    since_s: float | None
    left_s: float | None
    pid: int
    stuck: bool
    sentence: str


class Dot(Struct, frozen=True):
    """One node of the picture. `says`: what it does, where it does not wait for another one that is drawn."""

    key: str
    name: str
    says: str
    stuck: bool
    here: bool
    """Of the process that is looked at."""


class Arrow(Struct, frozen=True):
    """`begin` waits for `what`, which `end` has or owes."""

    begin: str
    end: str
    what: str
    sure: str
    because: str


class Waits(Struct, frozen=True):
    """`rows` are those of the process and of whom its waits lead to. `left_out`: nodes for which the picture has no room; `elsewhere`: waits of
    other processes that were looked at on the way, and that these do not depend on.
    """

    rows: tuple[WaitRow, ...]
    dots: tuple[Dot, ...]
    arrows: tuple[Arrow, ...]
    left_out: int
    elsewhere: int = 0


def waits(graph: Graph, pid: int) -> Waits:
    """Of the process `pid` and those that its waits lead to; what is stuck first, then the longest wait."""
    nodes = by_key(graph)
    never = {member.key for one in stuck(graph) for member in one.members}
    near = _near(nodes, pid) | never
    all_waiting = [node for node in graph.nodes if node.waiting is not None]
    waiting = [node for node in all_waiting if node.key in near]
    waiting.sort(
        key=lambda node: (node.key not in never, node.pid != pid, -((node.waiting and node.waiting.since_s) or 0))
    )
    arrows = [
        _arrow(node, waker.key, waker.confidence, waker.because)
        for node in waiting
        for waker in node.wakers
        if waker.confidence != "possible" and waker.key in nodes
    ]
    keys = list(dict.fromkeys(key for arrow in arrows for key in (arrow.begin, arrow.end)))
    drawn = set(keys[:MOST_NODES])
    return Waits(
        rows=_named(tuple(_row(node, nodes, pid, stuck=node.key in never) for node in waiting), waiting),
        dots=tuple(_dot(nodes[key], pid, stuck=key in never) for key in keys[:MOST_NODES]),
        arrows=tuple(arrow for arrow in arrows if arrow.begin in drawn and arrow.end in drawn),
        left_out=max(0, len(keys) - MOST_NODES),
        elsewhere=len(all_waiting) - len(waiting),
    )


def _near(nodes: dict[str, Node], pid: int) -> set[str]:
    """The nodes of a process, and those that their waits lead to, one after the other."""
    found: set[str] = set()
    ahead = [key for key, node in nodes.items() if node.pid == pid]
    while ahead:
        key = ahead.pop()
        if key in found or key not in nodes:
            continue
        found.add(key)
        ahead += (waker.key for waker in nodes[key].wakers if waker.confidence != "possible")
    return found


def _arrow(node: Node, end: str, sure: str, because: str) -> Arrow:
    assert node.waiting is not None
    return Arrow(node.key, end, inert(what(node.waiting)), sure, inert(because))


def _row(node: Node, nodes: dict[str, Node], pid: int, *, stuck: bool) -> WaitRow:
    waiting = node.waiting
    assert waiting is not None
    return WaitRow(
        who=inert(who(node, alone=node.pid == pid)),
        what=inert(what(waiting)),
        holders=inert(by_whom(waiting)) if waiting.holders else "",
        onward=inert(onward(node, nodes).removeprefix("; ")),
        at=inert(waiting.at),
        since_s=waiting.since_s,
        left_s=waiting.left_s,
        pid=node.pid,
        stuck=stuck,
        sentence=inert(row(waiting) + onward(node, nodes)),
    )


def _named(rows: tuple[WaitRow, ...], nodes: list[Node]) -> tuple[WaitRow, ...]:
    """Threads of one name, of a program whose names are not known, are told apart by their numbers."""
    times = Counter(row.who for row in rows)
    return tuple(
        replace(row, who=f"{row.who} (tid {node.tid})") if times[row.who] > 1 and node.tid is not None else row
        for row, node in zip(rows, nodes, strict=True)
    )


def _dot(node: Node, pid: int, *, stuck: bool) -> Dot:
    says = what(node.waiting) if node.waiting is not None else "goes on"
    return Dot(node.key, inert(who(node, alone=node.pid == pid)), inert(says), stuck, node.pid == pid)
