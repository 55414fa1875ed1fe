"""Which of them can never go on: the wait-for graph is reduced until only those are left that nothing can wake.

Whoever needs nothing is alive. A node that needs all of its wakers is alive once they all are, a node that needs any one of them once
one is. What is left when nothing changes any more waits for ever: those on a cycle, those whose waker is gone, and their victims.
For resources with a single unit this is the classic reduction (Holt, "Some Deadlock Properties of Computer Systems", 1972).

It is done twice: with every possible waker, and with only those that hold the thing where such are known. What only the second finds is
likely and not certain: whoever else lives could end it, since any thread may release a Lock.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from pellucid.model.finding import CONFIDENCES, Confidence
from pellucid.model.graph import Graph, Node, Waker


class Cycle(Struct, frozen=True):
    """Nodes that wait for each other, in the order of the waits; the last one waits for the first.

    `closed`: each needs the next one, so that no other thread could help. `victims` wait, directly or not, for one of them, by what they
    hold or compute; where each member could be woken by any of the others, whoever could be woken by one of them is among these.
    `behind` are the keys of all whom one of them could wake, the members among them.
    """

    members: tuple[Node, ...]
    edges: tuple[Waker, ...]
    """Why each member waits for the next one; empty where each could be woken by any of the others."""
    confidence: Confidence
    closed: bool
    victims: tuple[Node, ...] = ()
    behind: frozenset[str] = frozenset()


class Verdict(Struct, frozen=True):
    """`stuck` are the keys of all that can never go on; `dead` those of them whose waker is gone."""

    stuck: frozenset[str]
    cycles: tuple[Cycle, ...]
    dead: tuple[Node, ...]


def judge(graph: Graph) -> Verdict:
    """The verdict over one graph. Cycles with the most certain first."""
    nodes = {node.key: node for node in graph.nodes}
    certain = stuck(nodes)
    holding = {key: _by_holders(node) for key, node in nodes.items()}
    likely = stuck(holding)
    cycles: list[Cycle] = []
    covered: set[str] = set()
    for found, seen, bound in ((certain, nodes, False), (likely, holding, True)):
        for component in components(found, seen):
            if covered.isdisjoint(component):
                cycles.append(_cycle(component, found, seen, likely_only=bound))
                covered |= component
    dead = tuple(node for key, node in nodes.items() if key in certain and node.mode == "dead")
    order = {word: number for number, word in enumerate(CONFIDENCES)}
    return Verdict(certain | likely, tuple(sorted(cycles, key=lambda cycle: order[cycle.confidence])), dead)


def stuck(nodes: dict[str, Node]) -> frozenset[str]:
    """The keys of the nodes that nothing can wake. Time linear in nodes and edges."""
    waiters: dict[str, list[str]] = {}
    missing: dict[str, int] = {}
    alive: list[str] = []
    for key, node in nodes.items():
        asked = {waker.key for waker in node.wakers}
        unseen = sum(1 for other in asked if other not in nodes)
        for other in asked:
            waiters.setdefault(other, []).append(key)
        if node.mode == "live" or (node.mode == "and" and unseen == len(asked)) or (node.mode == "or" and unseen):
            alive.append(key)
        missing[key] = len(asked) - unseen if node.mode == "and" else 1
    live = set(alive)
    while alive:
        for key in waiters.get(alive.pop(), ()):
            if key in live or nodes[key].mode == "dead":
                continue
            missing[key] -= 1
            if missing[key] <= 0:
                live.add(key)
                alive.append(key)
    return frozenset(nodes.keys() - live)


def components(found: Iterable[str], nodes: dict[str, Node]) -> list[set[str]]:
    """Sets of stuck nodes that all lead to one another: cycles. Tarjan's algorithm, without recursion."""
    within = set(found)
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_keys: list[str] = []
    on_stack: set[str] = set()
    cycles: list[set[str]] = []

    def targets(key: str) -> list[str]:
        return [waker.key for waker in nodes[key].wakers if waker.key in within]

    for root in sorted(within):
        if root in number:
            continue
        work = [(root, iter(targets(root)))]
        number[root] = low[root] = len(number)
        open_keys.append(root)
        on_stack.add(root)
        while work:
            key, rest = work[-1]
            following = next(rest, None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[key])
                if low[key] == number[key]:
                    component = set()
                    while True:
                        member = open_keys.pop()
                        on_stack.discard(member)
                        component.add(member)
                        if member == key:
                            break
                    if len(component) > 1 or key in targets(key):
                        cycles.append(component)
            elif following not in number:
                number[following] = low[following] = len(number)
                open_keys.append(following)
                on_stack.add(following)
                work.append((following, iter(targets(following))))
            elif following in on_stack:
                low[key] = min(low[key], number[following])
    return cycles


def _by_holders(node: Node) -> Node:
    """The same node with only those wakers that hold the thing, where such are known."""
    holders = tuple(waker for waker in node.wakers if waker.confidence != "possible")
    if node.mode != "or" or not holders:
        return node
    return replace(node, wakers=holders)


def _cycle(component: set[str], found: frozenset[str], nodes: dict[str, Node], *, likely_only: bool) -> Cycle:
    members, edges = _shortest(component, nodes)
    closed = all(node.mode == "and" for node in members)
    worst = max((CONFIDENCES.index(edge.confidence) for edge in edges), default=0)
    if any(edge.confidence == "possible" for edge in edges):
        # Each could be woken by any of the others, and by nobody else that was seen: they are all one knot.
        members = tuple(nodes[key] for key in sorted(component) if nodes[key].kind != "any")
        edges, worst = (), CONFIDENCES.index("likely")
    elif not closed or likely_only:
        worst = max(worst, CONFIDENCES.index("likely"))
    inside = {node.key for node in members}
    behind = reaching(inside, found, nodes)
    needing = reaching(inside, found, nodes, needed=True) if edges else behind
    victims = tuple(nodes[key] for key in sorted(needing - inside))
    return Cycle(members, edges, CONFIDENCES[worst], closed, victims, behind)


def _shortest(component: set[str], nodes: dict[str, Node]) -> tuple[tuple[Node, ...], tuple[Waker, ...]]:
    """The shortest cycle in the component, along the most certain edges that close one; from the smallest key on."""
    for weakest in CONFIDENCES:
        allowed = CONFIDENCES[: CONFIDENCES.index(weakest) + 1]
        best: list[tuple[str, Waker]] | None = None
        for start in sorted(component)[:64]:
            path = _way_back(start, component, nodes, allowed)
            if path is not None and (best is None or len(path) < len(best)):
                best = path
        if best is not None:
            return tuple(nodes[key] for key, _ in best), tuple(edge for _, edge in best)
    raise AssertionError("a component without a cycle")


def _way_back(
    start: str, component: set[str], nodes: dict[str, Node], allowed: tuple[Confidence, ...]
) -> list[tuple[str, Waker]] | None:
    """Breadth first from `start` back to it: (node, the edge that leaves it) along the way."""
    came: dict[str, tuple[str, Waker]] = {}
    level = [start]
    while level:
        following = []
        for key in level:
            for edge in nodes[key].wakers:
                if edge.confidence not in allowed or edge.key not in component:
                    continue
                if edge.key == start:
                    path = [(key, edge)]
                    while path[0][0] != start:
                        path.insert(0, came[path[0][0]])
                    return path
                if edge.key not in came:
                    came[edge.key] = (key, edge)
                    following.append(edge.key)
        level = following
    return None


def reaching(
    targets: Iterable[str], found: Iterable[str], nodes: Mapping[str, Node], *, needed: bool = False
) -> frozenset[str]:
    """The stuck nodes (`found`) from which a chain of waits leads to one of `targets`, those among them; `needed`: of whoever holds the thing."""
    back: dict[str, list[str]] = {}
    for key in found:
        node = nodes[key]
        for waker in node.wakers if not needed or node.kind != "any" else ():
            if not needed or waker.confidence != "possible":
                back.setdefault(waker.key, []).append(key)
    reached = set(targets)
    work = list(targets)
    while work:
        for key in back.get(work.pop(), ()):
            if key not in reached:
                reached.add(key)
                work.append(key)
    return frozenset(reached)
