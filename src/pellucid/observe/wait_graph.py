"""The graph of who waits for whom, over a family of processes and whoever their waits lead to.

    each process once  →  the holders of the pipes, sockets and semaphores they wait on  →  those processes too  →  …  →  tasks again

Every wait becomes a node with those that could end it. What did not sleep through the whole look, may wake by itself, or could not be
read counts as alive: only what is left may be called stuck (`diagnose.graph`).
"""

import gc
import os
import time
from collections.abc import Mapping
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from pellucid.kernel import memory
from pellucid.model import Gap, Process, Stack, Task, Thread
from pellucid.model.errors import LookError, NoSuchProcess, NotPermitted
from pellucid.model.graph import Graph, Node, Waker
from pellucid.model.sync import Waiting
from pellucid.observe.blocked import Seen, descendants, see
from pellucid.observe.children import LEAST_LOOKED, MAX_LOOKED, MAX_S, Children, left_out, suspects
from pellucid.observe.ends import Ends
from pellucid.observe.stacks import Look
from pellucid.observe.wait_needs import Needs
from pellucid.observe.wait_rows import Rows

SPAN_S = 0.06
"""Between the two readings of the tasks."""

MAX_PROCESSES = 128
MAX_ROUNDS = 6


class Family(Struct, frozen=True):
    """What was looked at: the graph, the processes (those asked for first), how long the reading took, with its CPU seconds, and when (seconds
    since the epoch). `stopped_s`: for so long the threads of JVMs stood still meanwhile, which were asked for them; None where none was.
    """

    graph: Graph
    processes: tuple[Process, ...]
    reading_s: float
    reading_cpu_s: float
    taken_at: float
    stopped_s: float | None = None


def family(pids: tuple[int, ...], *, children: bool = True, span_s: float = SPAN_S) -> Family:
    """The graph of these processes, their children, and those that their waits lead to.

    Raises NoSuchProcess where one of `pids` does not exist, NotPermitted where it may not be read. All else is a gap.
    """
    world = _World()
    memory.prepare()
    collecting = gc.isenabled()
    gc.disable()  # the reading makes a million values and no cycles: searching for some takes a tenth of it
    began, cpu = time.perf_counter(), time.process_time()
    try:
        for pid in pids:
            world.add(pid, must=True)
        if children:
            for pid in pids:
                for child in descendants(pid, MAX_PROCESSES):
                    world.add(child)
        world.follow()
        read, cpu = time.perf_counter(), time.process_time() - cpu
        time.sleep(max(0.0, span_s - (read - world.last_at)))
        graph = world.graph()
        stops = [each.look.runtime.stopped_s for each in world.seen.values() if each.look.runtime is not None]
        stood = [one for one in stops if one is not None]
        return Family(
            graph,
            tuple(world.seen[pid].process for pid in _asked_first(world.seen, pids)),
            read - began,
            cpu,
            time.time(),
            sum(stood) if stood else None,
        )
    finally:
        world.close()
        if collecting:
            gc.enable()


def _asked_first(seen: Mapping[int, Seen], pids: tuple[int, ...]) -> tuple[int, ...]:
    return (*pids, *sorted(seen.keys() - set(pids)))


class Beside:
    """The graph around one process that is being looked at anyway: begun at its first look, finished at the second."""

    def __init__(
        self,
        look: Look,
        tasks: tuple[Task, ...],
        stacks: Mapping[int, Stack],
        *,
        alone: bool = False,
        ask: bool = True,
        untimed: bool = False,
    ) -> None:
        """`alone`: no other process is looked at, and counts as alive. `ask` as for `Look`, of those others. `untimed` as for `snapshot`."""
        self._world = _World(ask=ask, untimed=untimed)
        self._world.seen[look.pid] = Seen(look, tasks, stacks)
        self._own = self._world.seen[look.pid]
        self._children = () if alone else self._take_in(suspects(look.pid))
        self._world.follow(0 if alone else MAX_ROUNDS)

    def _take_in(self, found: Children) -> tuple[int, ...]:
        """The children that may be deadlocked, as many as there is time for; what is left of them is a gap of the look."""
        until = time.perf_counter() + MAX_S
        taken: list[int] = []
        for child in found.waiting[:MAX_LOOKED]:
            if len(taken) >= LEAST_LOOKED and time.perf_counter() > until:
                break
            self._world.add(child)
            taken.append(child)
        gap = left_out(self._own.pid, found, len(taken))
        if gap is not None:
            self._own.look.gaps.append(gap)
        return tuple(taken)

    def graph(self, tasks: tuple[Task, ...]) -> Graph:
        """`tasks` is the second reading of the process itself."""
        return replace(self._world.graph({self._own.pid: tasks}), children=self._children)

    def close(self) -> None:
        """Lets go of the other processes."""
        del self._world.seen[self._own.pid]
        self._world.close()


def named(threads: tuple[Thread, ...], graph: Graph) -> tuple[Thread, ...]:
    """The same threads, their waits with the name of the thing and its holders, where they are still the waits that the graph saw."""
    seen = {node.tid: node.waiting for node in graph.nodes if node.kind == "thread" and node.waiting is not None}
    return tuple(_named(thread, seen.get(thread.tid)) for thread in threads)


def _named(thread: Thread, waiting: Waiting | None) -> Thread:
    wait = thread.wait
    if wait is None or waiting is None or waiting.sync is None or not waiting.steady or waiting.pid == 0:
        return thread
    # What a JVM's own dumps tell of a thread is told for both looks: its futex wakes now and then without that the thread goes on.
    steady = True if any(one.startswith("thread dump") for one in waiting.evidence) else thread.steady
    return replace(thread, wait=replace(wait, object=str(waiting.sync), holders=waiting.holders), steady=steady)


class _World:
    """The processes that were looked at, and what is asked of them."""

    def __init__(self, *, ask: bool = True, untimed: bool = False) -> None:
        self._ask = ask
        self._untimed = untimed
        self.seen: dict[int, Seen] = {}
        self.missed: set[int] = set()
        self.ends = Ends()
        self.gaps: list[Gap] = []
        self.last_at = 0.0

    def close(self) -> None:
        for each in self.seen.values():
            each.close()

    def add(self, pid: int, *, must: bool = False) -> None:
        """Looks at one more process; a gap where it can't be, unless it `must`."""
        if pid in self.seen or pid in self.missed or pid == os.getpid():
            return
        if len(self.seen) >= MAX_PROCESSES and not must:
            self.missed.add(pid)
            self.gaps.append(Gap(f"pid {pid}", f"at most {MAX_PROCESSES} processes are looked at"))
            return
        try:
            each = see(pid, ask=self._ask)
        except LookError as error:
            if must:
                raise
            self.missed.add(pid)
            if not isinstance(error, NoSuchProcess):
                self.gaps.append(Gap(f"pid {pid}", error.said, error.remedy))
            return
        if must and isinstance(each.look.why_not, NotPermitted):
            each.close()
            raise each.look.why_not
        self.seen[pid] = each
        self.last_at = time.perf_counter()

    def wanted(self) -> list[int]:
        """The pids that the waits seen so far lead to."""
        found: dict[int, None] = {}
        for each in self.seen.values():
            for tid, wait in each.waits.items():
                if self._untimed and wait.timed:
                    continue
                blocked = each.blocked.get(tid)
                for child in (wait.child, blocked.child if blocked else None):
                    if child:
                        found[child] = None
                found |= dict.fromkeys(self.ends.has_file_lock(each, wait))
                for one in wait.watched:
                    if one.socket is not None:
                        found |= dict.fromkeys(one.socket.peer_pids)
                    elif one.kind in {"pipe", "fifo"}:
                        found |= dict.fromkeys(self.ends.opposite(each, one.fd, one.wants) or ())
                    elif one.kind == "pidfd":
                        found[self.ends.pid_behind(each, one.fd)] = None
                if blocked is not None and blocked.role == "lock" and not blocked.holders and len(each.tasks) == 1:
                    found[each.process.ppid] = None
            for key in self.ends.semaphores(each).values():
                found |= dict.fromkeys(self.ends.may_map(key))
        return [pid for pid in found if pid > 1]

    def follow(self, rounds: int = MAX_ROUNDS) -> None:
        """Looks at whoever the waits lead to, and then at whom theirs do; with 0 only finds out who that would be."""
        self.ends.ask(self.seen.values())
        for _ in range(rounds):
            wanted = [pid for pid in self.wanted() if pid not in self.seen and pid not in self.missed]
            if not wanted:
                break
            for pid in wanted:
                self.add(pid)
            self.ends.ask(self.seen.values())

    def graph(self, again: Mapping[int, tuple[Task, ...]] | None = None) -> Graph:
        """Every task read once more, but those that were (`again`), and every wait as a node."""
        for each in self.seen.values():
            each.look_again((again or {}).get(each.pid))
        needs, rows = Needs(self.seen, self.missed, self.ends), Rows(self.seen)
        nodes: list[Node] = []
        for each in self.seen.values():
            nodes += (_thread(each, tid, needs, rows) for tid in each.tasks)
            if each.tasks_look is not None:
                asleep = partial(_sleeps, each)
                nodes += each.tasks_look.nodes(each.pid, each.tasks_again, each.process_name, asleep)
            if each.greenlets is not None:
                nodes += each.greenlets.nodes(each.pid, each.process_name)
            nodes.append(_anybody(each))
            nodes.append(_process(each))
        gaps = [gap for each in self.seen.values() for gap in each.look.gaps] + self.ends.gaps + self.gaps
        gaps += (_unread(each) for each in self.seen.values() if each.sights and each.sights.unread)
        return Graph(tuple(nodes), tuple(sorted(self.seen)), tuple(dict.fromkeys(gaps)))


def _thread(each: Seen, tid: int, needs: Needs, rows: Rows) -> Node:
    wait, blocked = each.waits.get(tid), each.blocked.get(tid)
    steady = each.steady(tid) and each.whole(tid)
    need = needs.of(each, tid, wait)
    parks = blocked.parks if blocked else False
    if wait is not None and any(one.wants == "read" for one in wait.watched):
        parks = True  # whoever reads waits for what others may never have to say
    return Node(
        key=f"{each.pid}/{tid}",
        kind="thread",
        pid=each.pid,
        tid=tid,
        name=each.name(tid),
        mode="live" if not steady or (wait is not None and wait.timed) else need.mode,
        wakers=need.wakers,
        waiting=rows.of(each, tid, wait, need.wakers, steady=steady),
        parks=parks,
        fate=need.fate,
        confidence=need.confidence,
        fate_rule=need.rule,
    )


def _sleeps(each: Seen, tid: int) -> bool:
    return tid in each.waits and each.waits[tid].kind != "gil" and each.steady(tid)


def _anybody(each: Seen) -> Node:
    wakers = tuple(Waker(f"{each.pid}/{tid}", "possible") for tid in each.tasks)
    return Node(key=f"{each.pid}/any", kind="any", pid=each.pid, name=each.called, mode="or", wakers=wakers)


def _process(each: Seen) -> Node:
    """A process ends once its main thread does. A zombie has ended, and only waits for its parent."""
    ended = each.process.state in {"zombie", "dead"} or each.pid not in each.tasks
    leader = each.tasks.get(each.pid)
    alive = ended or leader is None or leader.state in {"zombie", "dead"}
    return Node(
        key=str(each.pid),
        kind="process",
        pid=each.pid,
        name=each.called,
        mode="live" if alive else "and",
        wakers=() if alive else (Waker(f"{each.pid}/{each.pid}", "certain", "its main thread has to end"),),
    )


def _unread(each: Seen) -> Gap:
    assert each.sights is not None
    count = len(each.sights.unread)
    return Gap(
        f"who waits for what in {count} of {len(each.sights.threads)} Python threads of pid {each.pid}",
        "their stacks did not hold still, or are too deep",
    )
