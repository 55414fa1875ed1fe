"""Threads of its children wait for each other, or for somebody who no longer exists, while the process itself may be well.

An arbiter of workers sleeps in select(2) whatever becomes of them. What is said of a child is what `pellucid why` of it would say, and
once where several are in the same knot; where the process itself is part of one, that is the verdict on it (`deadlock`).
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from pellucid.diagnose.chain import listed
from pellucid.diagnose.stuck import Stuck, stuck
from pellucid.model import Finding, Snapshot


def children_wait_for_ever(seen: Snapshot) -> Iterator[Finding]:
    if seen.graph is None or not seen.graph.children:
        return
    children = frozenset(seen.graph.children)
    by_title: dict[tuple[str, str], list[Stuck]] = {}
    for one in stuck(seen.graph):
        pids = {node.pid for node in (*one.members, *one.victims)}
        if seen.process.pid not in pids and pids & children:
            by_title.setdefault((one.finding.rule, one.finding.title), []).append(one)
    for alike in by_title.values():
        yield _finding(alike, children)


def _finding(alike: list[Stuck], children: AbstractSet[int]) -> Finding:
    told = alike[0].finding
    first = _of(alike[0], children)[0]
    pids = sorted({pid for one in alike for pid in _of(one, children)})
    several = len(pids) > 1
    return replace(
        told,
        rule=f"child-{told.rule}",
        title=f"In its {'children' if several else 'child'} {listed([str(pid) for pid in pids])}: {told.title}",
        sentence=f"In pid {first}: {told.sentence}" if len(alike) > 1 else told.sentence,
        next=(f"pellucid why {first}", f"pellucid waits {first}"),
        tids=(),
    )


def _of(one: Stuck, children: AbstractSet[int]) -> list[int]:
    """The children that are in it, else those that wait for it."""
    return sorted({node.pid for node in one.members} & children or {node.pid for node in one.victims} & children)
