"""The words for those that can never go on: deadlocks, waits whose holder is gone, and knots that nothing seen can undo (`knots`).

    pay-1 has waited 41 s for Lock b._lock (Acct._lock) at bank.py:7, which pay-2 holds (inside its `with` at bank.py:5); ...

Said only of threads that slept through the whole look. A knot in which everybody merely waits for work is a healthy, idle program.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from pellucid.diagnose.chain import by_key, listed, waited, what, who
from pellucid.diagnose.graph import Cycle, judge, reaching
from pellucid.diagnose.knots import knot
from pellucid.model import Confidence, Finding, Ref, Severity
from pellucid.model.graph import Graph, Node, Waker

SETTLED_S = 1.0
"""A knot that is no cycle of holders is spoken of only after all of it has slept for so long."""


class Stuck(Struct, frozen=True):
    """A finding with those that it is about: `members` are on the cycle, or have nobody left who could wake them."""

    finding: Finding
    members: tuple[Node, ...]
    victims: tuple[Node, ...] = ()


def stuck(graph: Graph) -> tuple[Stuck, ...]:
    """Everything in the graph that can never go on, the most certain first.

    A knot of those who could be woken by the members of a cycle, or by who waits for what is gone, is no news beside them.
    """
    verdict = judge(graph)
    nodes = by_key(graph)
    rings = [(cycle, told) for cycle in verdict.cycles if cycle.edges and (told := _cycle(cycle)) is not None]
    dead = [node.key for node in verdict.dead]
    explained = reaching(dead, verdict.stuck, nodes).union(*(cycle.behind for cycle, _ in rings))
    knots = [cycle for cycle in verdict.cycles if not cycle.edges and explained.isdisjoint(_keys(cycle.members))]
    found = [told for _, told in rings] + [told for cycle in knots if (told := _cycle(cycle)) is not None]
    found += _dead(verdict.dead, nodes, verdict.stuck)
    return tuple(sorted(found, key=lambda one: _ORDER.index(one.finding.confidence)))


def placed(one: Stuck, pid: int) -> Finding:
    """Its finding for who asked about `pid`: where it is all in one other process, the title begins with that."""
    pids = {node.pid for node in one.members}
    if pid in pids or len(pids) != 1:
        return one.finding
    name = next((node.waiting.process for node in one.members if node.waiting and node.waiting.process), "")
    where = f"pid {pids.pop()}" + (f" ({name})" if name else "")
    return one.finding if where in one.finding.title else replace(one.finding, title=f"In {where}: {one.finding.title}")


def _keys(nodes: tuple[Node, ...]) -> set[str]:
    return {node.key for node in nodes}


_ORDER: tuple[Confidence, ...] = ("certain", "likely", "possible")


def _cycle(cycle: Cycle) -> Stuck | None:
    members = _speaking(cycle.members)
    victims = _concerned(_speaking(cycle.victims))
    everybody = [*members, *victims]
    if not members or not cycle.edges:
        if not everybody or all(node.parks for node in everybody) or any(_just_now(node) for node in everybody):
            return None
        return _knot(cycle, members, victims)
    if not cycle.closed and all(node.parks for node in members):
        return None
    return _ring(cycle, members, victims)


def _just_now(node: Node) -> bool:
    """It has not slept for long: somebody who could wake it may still be on the way, as a process that is being started."""
    since = node.waiting.since_s if node.waiting else None
    return since is not None and since < SETTLED_S


def _ring(cycle: Cycle, members: tuple[Node, ...], victims: tuple[Node, ...]) -> Stuck:
    """A cycle of holders: each has what the one before it needs."""
    alone = len({node.pid for node in members}) == 1
    names = [who(node, alone=alone) for node in members]
    parts = []
    for node, edge in zip(cycle.members, cycle.edges, strict=True):
        if node.waiting is None:
            continue
        following = _next_speaking(cycle, node)
        parts.append(f"{who(node, alone=alone)} {waited(node.waiting)}{_held(node, edge, following, alone=alone)}")
    certain = cycle.confidence == "certain"
    if len(members) == 1:
        title = f"{'Deadlock' if certain else 'Looks like a deadlock'}: {names[0]} waits for what it holds itself"
        end = "It can never go on."
    else:
        title = f"{'Deadlock' if certain else 'Looks like a deadlock'}: {listed(names)} wait for each other"
        end = f"{'Neither' if len(members) == 2 else 'None of them'} can ever go on."
    if not certain:
        end += " This is likely and not certain: whoever else runs could release what they wait for."
    if victims:
        end += _victims(victims, members)
    return _stuck(
        "deadlock", title, f"{'; '.join(parts)}. {end} {_remedy(members)}", cycle.confidence, members, victims
    )


def _victims(victims: tuple[Node, ...], members: tuple[Node, ...]) -> str:
    alone = len({node.pid for node in (*members, *victims)}) == 1
    names = listed([who(node, alone=alone) for node in victims])
    return f" {names} {'wait' if len(victims) > 1 else 'waits'} for {'them' if len(members) > 1 else 'it'}."


def _next_speaking(cycle: Cycle, node: Node) -> Node | None:
    place = cycle.members.index(node)
    after = [*cycle.members[place + 1 :], *cycle.members[: place + 1]]
    return next((other for other in after if other.kind not in {"any", "process"}), None)


def _held(node: Node, edge: Waker, following: Node | None, *, alone: bool) -> str:
    if (
        following is None
        or node.waiting is None
        or node.waiting.kind in {"Thread", "Process", "child", "child process"}
    ):
        return ""
    if node.waiting.kind == "end of all threads":
        return f", among them {who(following, alone=alone)}"
    itself = following.key == node.key
    verb = "computes" if node.waiting.role in {"future", "pool"} else "holds"
    holds = f"it {verb} itself" if itself else f"{who(following, alone=alone)} {verb}"
    return f", which {holds}" + (f" ({edge.because})" if edge.because else "")


_AGAIN = {
    "Lock": "Remedy: an RLock may be taken again by the thread that has it.",
    "multiprocessing.Lock": "Remedy: a multiprocessing.RLock may be taken again by the process that has it.",
    "asyncio.Lock": "Remedy: no lock of asyncio may be taken again: a function for those who have it, which does not take it.",
    "file-lock": "Remedy: lock the file once, by one open file: whoever opens it again waits for that lock like a stranger.",
}
"""What may be done by who waits for what it has itself, by the kind of thing."""


def _remedy(members: tuple[Node, ...]) -> str:
    kinds = {node.waiting.kind for node in members if node.waiting}
    if len(members) == 1:
        return _AGAIN.get(kinds.pop(), _AGAIN["Lock"])
    if kinds & {"Thread", "Process", "end of all threads"}:
        return "Remedy: release the lock before join()."
    if {"future", "pool"} & {node.waiting.role for node in members if node.waiting}:
        return "Remedy: release the lock before waiting for those who need it."
    if kinds & {"import lock"}:
        return "Remedy: import before the threads start, or inside of the functions."
    return "Remedy: take the locks always in the same order."


def _knot(cycle: Cycle, members: tuple[Node, ...], victims: tuple[Node, ...]) -> Stuck:
    """Everybody who could wake one of them is among them."""
    concerned = _concerned((*members, *victims)) or members
    everybody = tuple(sorted(concerned, key=lambda node: (node.pid, node.tid or 0)))
    said = knot(everybody, alone=len({node.pid for node in everybody}) == 1)
    them = "them" if len(everybody) > 1 else "it"
    end = f"Nothing that can be seen will ever wake {them} (a signal, or code outside of Python, could)."
    return _stuck(said.rule, said.title, f"{said.told}. {end} {said.remedy}", cycle.confidence, everybody, ())


def _dead(dead: tuple[Node, ...], graph: Mapping[str, Node], all_stuck: frozenset[str]) -> Iterator[Stuck]:
    """Those whose holder no longer exists, the ones with the same fate together."""
    by_fate: dict[tuple[str, str, str | None], list[Node]] = {}
    for node in dead:
        waiting = node.waiting
        key = (node.fate_rule, node.fate, waiting.object if waiting else None)
        by_fate.setdefault(key, []).append(node)
    for (rule, fate, _), nodes in by_fate.items():
        members = tuple(nodes)
        inside = _keys(members)
        needing = reaching(inside, all_stuck, graph, needed=True) - inside
        victims = _concerned(_speaking(tuple(graph[key] for key in sorted(needing))))
        alone = len({node.pid for node in (*members, *victims)}) == 1
        first = max(members, key=lambda node: (node.waiting.since_s or 0) if node.waiting else 0)
        assert first.waiting is not None
        names = listed([who(node, alone=alone) for node in members])
        end = "which will never come" if rule == "pool-lost-task" else "which nobody can release"
        title = f"{names} {'wait' if len(members) > 1 else 'waits'} for {what(first.waiting)}, {end}"
        sentence = f"{who(first, alone=alone)} {waited(first.waiting)}: {fate}."
        if len(members) > 1:
            sentence += f" So {'does' if len(members) == 2 else 'do'} {listed([who(node, alone=alone) for node in members if node is not first])}."
        if victims:
            sentence += _victims(victims, members)
        yield _stuck(
            rule or "stuck", title, f"{sentence} {_FATES.get(rule, '')}".strip(), first.confidence, members, victims
        )


_FATES = {
    "lock-copied-by-fork": "Remedy: the spawn or forkserver start method, or os.register_at_fork to make the lock anew in the child.",
    "pool-lost-task": "Remedy: concurrent.futures.ProcessPoolExecutor, which raises BrokenProcessPool when a worker dies.",
    "slots-lost": "Remedy: `with` instead of acquire(), so that an error or an end in between releases the slot.",
    "openmp-after-fork": "Remedy: the spawn or forkserver start method, or no OpenMP before the fork.",
    "holder-is-gone": "Remedy: `with` instead of acquire(), so that an error or an end in between releases it.",
}


def _speaking(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    return tuple(node for node in nodes if node.kind not in {"any", "process"} and node.waiting is not None)


def _concerned(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Without those that serve others, and are idle because of it: a pool's handlers and workers, a resource tracker."""
    return tuple(node for node in nodes if node.waiting is None or node.waiting.role not in {"service", "worker"})


def _stuck(
    rule: str, title: str, sentence: str, confidence: Confidence, members: tuple[Node, ...], victims: tuple[Node, ...]
) -> Stuck:
    severity: Severity = "warning" if confidence == "possible" else "critical"
    pids = dict.fromkeys(node.pid for node in members)
    finding = Finding(
        rule=rule,
        severity=severity,
        title=title,
        sentence=sentence.strip(),
        evidence=tuple(_evidence(members)),
        next=tuple(f"pellucid waits {pid}" for pid in list(pids)[:1])
        + tuple(f"pellucid stacks {pid}" for pid in list(pids)[:2]),
        confidence=confidence,
        tids=tuple(node.tid for node in (*members, *victims) if node.tid is not None),
    )
    return Stuck(finding, members, victims)


_DUMP = "thread dump: "


def _evidence(members: tuple[Node, ...]) -> Iterator[Ref]:
    for node in members[:8]:
        waiting = node.waiting
        assert waiting is not None
        told = next((one for one in waiting.evidence if one.startswith(_DUMP)), "")
        if told:  # of one moment of all threads, in which what holds and what waits is told together
            yield Ref(source=f"two thread dumps of pid {node.pid}", said=f"{node.name}: {told.removeprefix(_DUMP)}")
            for waker in node.wakers[:2]:
                yield Ref(source=f"thread dump of pid {node.pid}", said=f"{waker.because} ({what(waiting)})")
            continue
        source = f"/proc/{node.pid}/task/{node.tid}/syscall" if node.kind == "thread" else f"memory of pid {node.pid}"
        call = f"{waiting.call}, unchanged at both looks" if waiting.call else "suspended"
        yield Ref(source=source, said=f"{node.name}: {call}; {what(waiting)}")
        for waker in node.wakers[:2]:
            if waker.because:
                source = "/proc/locks" if waiting.kind == "file-lock" else f"memory of pid {node.pid}"
                yield Ref(source=source, said=f"{what(waiting)}: {waker.because}")
