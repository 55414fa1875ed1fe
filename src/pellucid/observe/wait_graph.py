"""The graph of who waits for whom, over a family of processes and whoever their waits lead to.

    each process once  →  the holders of the pipes, sockets and semaphores they wait on  →  those processes too  →  …  →  tasks again

Every wait becomes a node with those that could end it. What did not sleep through the whole look, may wake by itself, or could not be
read counts as alive: only what is left may be called stuck (`diagnose.graph`).
"""

import os
import time
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from pellucid.kernel import memory, procfs
from pellucid.model import Gap, Holder, Process, Stack, Task, Thread, Wait
from pellucid.model.errors import LookError, NoSuchProcess, NotPermitted
from pellucid.model.graph import Graph, Node, Waker
from pellucid.model.sync import Blocked, Held, Waiting
from pellucid.observe.blocked import Seen, descendants, see
from pellucid.observe.ends import Ends, unread_bytes
from pellucid.observe.semaphore_holders import Need, SemaphoreHolders
from pellucid.observe.stacks import Look
from pellucid.runtimes.cpython.pools import pool_of

SPAN_S = 0.06
"""Between the two readings of the tasks."""

MAX_PROCESSES = 128
MAX_ROUNDS = 6
_SIGINT, _SIGCHLD = 2, 17
_GLIBC = (32, 33)  # nptl's own (nptl/descr.h, SIGCANCEL and SIGSETXID)
_LIVE: Need = ("live", (), "", "")


class Family(Struct, frozen=True):
    """What was looked at: the graph, the processes (those asked for first), how long the reading took, with its CPU seconds, and when (seconds
    since the epoch).
    """

    graph: Graph
    processes: tuple[Process, ...]
    reading_s: float
    reading_cpu_s: float
    taken_at: float


def family(pids: tuple[int, ...], *, children: bool = True, span_s: float = SPAN_S) -> Family:
    """The graph of these processes, their children, and those that their waits lead to.

    Raises NoSuchProcess where one of `pids` does not exist, NotPermitted where it may not be read. All else is a gap.
    """
    world = _World()
    memory.prepare()
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
        return Family(
            world.graph(),
            tuple(world.seen[pid].process for pid in _asked_first(world.seen, pids)),
            read - began,
            cpu,
            time.time(),
        )
    finally:
        world.close()


def _asked_first(seen: Mapping[int, Seen], pids: tuple[int, ...]) -> tuple[int, ...]:
    return (*pids, *sorted(seen.keys() - set(pids)))


class Beside:
    """The graph around one process that is being looked at anyway: begun at its first look, finished at the second."""

    def __init__(self, look: Look, tasks: tuple[Task, ...], stacks: Mapping[int, Stack]) -> None:
        self._world = _World()
        self._world.seen[look.pid] = Seen(look, tasks, stacks)
        self._own = self._world.seen[look.pid]
        self._world.follow()

    def graph(self, tasks: tuple[Task, ...]) -> Graph:
        """`tasks` is the second reading of the process itself."""
        return self._world.graph({self._own.pid: tasks})

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

    def __init__(self) -> None:
        self.seen: dict[int, Seen] = {}
        self.missed: set[int] = set()
        self.ends = Ends()
        self.gaps: list[Gap] = []
        self.last_at = 0.0
        self._semaphores: SemaphoreHolders | None = None

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
            each = see(pid)
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
                if blocked is not None and blocked.role == "lock" and not blocked.holders and len(each.tasks) == 1:
                    found[each.process.ppid] = None
            for key in self.ends.semaphores(each).values():
                found |= dict.fromkeys(self.ends.may_map(key))
        return [pid for pid in found if pid > 1]

    def follow(self) -> None:
        """Looks at whoever the waits lead to, and then at whom theirs do."""
        for _ in range(MAX_ROUNDS):
            self.ends.ask(self.seen.values())
            wanted = [pid for pid in self.wanted() if pid not in self.seen and pid not in self.missed]
            if not wanted:
                break
            for pid in wanted:
                self.add(pid)

    def graph(self, again: Mapping[int, tuple[Task, ...]] | None = None) -> Graph:
        """Every task read once more, but those that were (`again`), and every wait as a node."""
        for each in self.seen.values():
            each.look_again((again or {}).get(each.pid))
        self._semaphores = SemaphoreHolders(self.seen, self.ends)
        nodes: list[Node] = []
        for each in self.seen.values():
            threads = [self._thread(each, tid) for tid in each.tasks]
            nodes += threads
            if each.tasks_look is not None:
                nodes += each.tasks_look.nodes(each.pid, each.tasks_again, each.process_name)
            if each.greenlets is not None:
                nodes += each.greenlets.nodes(each.pid, each.process_name)
            nodes.append(_anybody(each))
            nodes.append(_process(each))
        gaps = [gap for each in self.seen.values() for gap in each.look.gaps] + self.ends.gaps + self.gaps
        gaps += (_unread(each) for each in self.seen.values() if each.sights and each.sights.unread)
        return Graph(tuple(nodes), tuple(sorted(self.seen)), tuple(dict.fromkeys(gaps)))

    def _thread(self, each: Seen, tid: int) -> Node:
        wait, blocked = each.waits.get(tid), each.blocked.get(tid)
        steady = each.steady(tid) and each.whole(tid)
        need = _LIVE if wait is None else self._needs(each, tid, wait, blocked)
        mode, wakers, fate, rule = need
        if not steady or (wait is not None and wait.timed):
            mode = "live"
        parks = blocked.parks if blocked else False
        if wait is not None and any(one.wants == "read" for one in wait.watched):
            parks = True  # whoever reads waits for what others may never have to say
        return Node(
            key=f"{each.pid}/{tid}",
            kind="thread",
            pid=each.pid,
            tid=tid,
            name=each.name(tid),
            mode=mode,
            wakers=wakers,
            waiting=self._waiting(each, tid, wait, blocked, wakers, steady=steady) if wait else None,
            parks=parks,
            fate=fate,
            fate_rule=rule,
        )

    def _needs(self, each: Seen, tid: int, wait: Wait, blocked: Blocked | None) -> Need:
        """(mode, wakers, why nothing can wake it, the rule that says so) of one wait."""
        anybody = Waker(f"{each.pid}/any", "possible")
        if blocked is not None:
            assert self._semaphores is not None
            shared = self._semaphores.needs(each, blocked)
            if shared is not None:
                return shared
            role = blocked.role
            if role in {"lock", "rlock", "import"}:
                return _for_lock(each, tid, blocked, anybody, self._copied(each, blocked))
            if role in {"join", "shutdown"}:
                return (
                    ("and", tuple(Waker(f"{each.pid}/{other}") for other in blocked.joins), "", "")
                    if blocked.joins
                    else _LIVE
                )
            if role in {"process", "subprocess"} and blocked.child:
                return "and", (Waker(str(blocked.child), "certain", f"pid {blocked.child} has to end"),), "", ""
            if role == "semaphore":
                held = tuple(
                    Waker(f"{each.pid}/{one.tid}", "likely", one.because) for one in blocked.holders if one.tid
                )
                return "or", (*held, anybody), "", ""
            if role == "pool" and self._lost_task(each, blocked):
                return "dead", (), _LOST, "pool-lost-task"
            if role in _WOKEN_BY_ANYBODY and wait.call == "futex":
                if each.pid == tid and _handles_signals(each.pid):
                    return _LIVE
                return "or", (anybody,), "", ""
        if wait.kind == "child":
            if wait.child:
                return "and", (Waker(str(wait.child), "certain", f"pid {wait.child} has to end"),), "", ""
            return _LIVE
        if wait.kind == "file-lock":
            return self._for_file_lock(each, wait)
        if wait.watched:
            return self._for_ends(each, wait)
        if wait.kind == "lock" and blocked is None and len(each.tasks) == 1:
            library = self.ends.library_at(each.pid, each.tasks[tid].call)
            if library.startswith(_OPENMP):
                return "dead", (), _TEAM.format(library), "openmp-after-fork"
        return _LIVE

    def _for_file_lock(self, each: Seen, wait: Wait) -> Need:
        """The one process that has the file locked has to unlock it; where there are several, or it was not seen, nothing is said."""
        pids = self.ends.has_file_lock(each, wait)
        holder = self.seen.get(pids[0]) if len(pids) == 1 else None
        if holder is None:
            return _LIVE
        because = f"pid {holder.pid} has the file locked (/proc/locks)"
        alone = next(iter(holder.tasks)) if len(holder.tasks) == 1 else None
        key = f"{holder.pid}/{alone}" if alone is not None else f"{holder.pid}/any"
        return "and", (Waker(key, "certain", because),), "", ""

    def _for_ends(self, each: Seen, wait: Wait) -> Need:
        """A wait on descriptors: alive unless the holders of every one of them are known."""
        if wait.call.startswith("epoll"):
            return _LIVE  # an event loop: its own timers and signals wake it too
        wakers: dict[str, Waker] = {}
        for one in wait.watched:
            if one.kind in {"pipe", "fifo"}:
                pids = self.ends.opposite(each, one.fd, one.wants)
            elif one.socket is not None and one.wants in {"read", "write"} and one.socket.state == "ESTABLISHED":
                pids = one.socket.peer_pids or None
            else:
                pids = None
            if pids is None:
                return _LIVE
            for pid in pids:
                if pid in self.missed or pid not in self.seen:
                    return _LIVE
                wakers[f"{pid}/any"] = Waker(f"{pid}/any", "possible", f"pid {pid} has the other end of fd {one.fd}")
        return ("or", tuple(wakers.values()), "", "") if wakers else _LIVE

    def _lost_task(self, each: Seen, blocked: Blocked) -> bool:
        """All workers and both handlers wait for work, both pipes are empty, and yet a result is missing."""
        if each.sights is None or blocked.sync is None or not blocked.sync.address:
            return False
        pool = pool_of(blocked.sync.address, each.sights.values)
        if pool is None or not pool.missing or not pool.pids:
            return False
        if not all(self._idle(pid, "worker") for pid in pool.pids) or not self._idle(each.pid, "service", least=2):
            return False
        return unread_bytes(each.pid, pool.task_fd) == 0 and unread_bytes(each.pid, pool.result_fd) == 0

    def _idle(self, pid: int, role: str, least: int = 1) -> bool:
        """At least so many threads of `pid` sleep in that role, and none in it woke."""
        each = self.seen.get(pid)
        if each is None:
            return False
        tids = [tid for tid, blocked in each.blocked.items() if blocked.role == role]
        return len(tids) >= least and all(each.steady(tid) for tid in tids)

    def _copied(self, each: Seen, blocked: Blocked) -> bool:
        """The parent has a lock of the same kind at the very address: this one is a copy that fork made."""
        parent = self.seen.get(each.process.ppid)
        if (
            parent is None
            or parent.sights is None
            or each.sights is None
            or blocked.sync is None
            or not blocked.sync.address
        ):
            return False
        mine = each.sights.values.name_of_kind(blocked.sync.address)
        same = parent.sights.python.runtime == each.sights.python.runtime
        return same and bool(mine) and parent.sights.values.name_of_kind(blocked.sync.address) == mine

    def _waiting(
        self,
        each: Seen,
        tid: int,
        wait: Wait,
        blocked: Blocked | None,
        wakers: tuple[Waker, ...],
        *,
        steady: bool,
    ) -> Waiting:
        sync = blocked.sync if blocked else None
        holders = (
            [self._holder(each, held) for held in blocked.holders if held.tid != tid or held.confidence == "certain"]
            if blocked
            else []
        )
        holders += self._others(each, wakers, {(one.pid, one.tid) for one in holders})
        return Waiting(
            thread=each.name(tid),
            kind=sync.kind if sync else wait.kind,
            object=(sync.name if sync else None) or _words(wait),
            since_s=wait.since_s,
            holders=tuple(holders),
            at=blocked.at if blocked else each.place(tid),
            pid=each.pid,
            tid=tid,
            call=wait.call,
            detail=sync.detail if sync else "",
            timed=wait.timed,
            left_s=wait.left_s,
            daemon=each.daemon(tid),
            steady=steady,
            evidence=blocked.evidence if blocked else (),
            role=blocked.role if blocked else wait.watched[0].wants if wait.watched else wait.kind,
            sync=sync,
            process=each.process_name,
        )

    def _holder(self, each: Seen, held: Held) -> Holder:
        name = each.name(held.tid) if held.tid is not None else "a thread that is not in this process"
        certain = held.confidence == "certain" and (held.tid is None or each.steady(held.tid))
        # A holder that moved during the look had it at one moment, and may have given it back since.
        return Holder(each.pid, held.tid, name, "certain" if certain else "likely")

    def _others(self, each: Seen, wakers: tuple[Waker, ...], known: set[tuple[int, int | None]]) -> list[Holder]:
        """Those of other processes, and threads to be joined, that the wait needs."""
        found: dict[tuple[int, int | None], Holder] = {}
        for waker in wakers:
            pid_text, _, rest = waker.key.partition("/")
            pid = int(pid_text) if pid_text.isdigit() else 0
            other = self.seen.get(pid)
            if rest.isdigit():
                tid: int | None = int(rest)
                name = other.name(int(rest)) if other else f"tid {rest}"
            elif pid and pid != each.pid:
                tid, name = None, _called(other) if other else f"pid {pid}"
            else:
                continue
            if (pid, tid) not in known:
                found[pid, tid] = Holder(pid, tid, name, waker.confidence)
        return list(found.values())


_LOST = (
    "all its workers wait for work, both of its pipes are empty, and results are still missing: "
    "the worker that had the task has ended, and the task with it"
)
_OPENMP = ("libgomp", "libomp", "libiomp5")
_TEAM = (
    "it waits inside of {} for the other threads of its team, and this process has no other thread: "
    "fork(2) copied the team's memory and not its threads"
)
_WOKEN_BY_ANYBODY = frozenset(
    {
        "condition",
        "event",
        "get",
        "put",
        "queue-join",
        "barrier",
        "future",
        "futures",
        "pool",
        "worker",
        "service",
        "feeder",
    }
)


def _for_lock(each: Seen, tid: int, blocked: Blocked, anybody: Waker, copied: bool) -> Need:
    certain = [held for held in blocked.holders if held.confidence == "certain"]
    if any(held.tid is None for held in certain):
        return "dead", (), certain[0].because, "holder-is-gone"
    if certain:
        return "and", tuple(Waker(f"{each.pid}/{held.tid}", "certain", held.because) for held in certain), "", ""
    likely = tuple(
        Waker(f"{each.pid}/{held.tid}", held.confidence, held.because)
        for held in blocked.holders
        if held.tid is not None and held.tid != tid
    )
    if not likely and copied and len(each.tasks) == 1:
        fate = f"it was copied locked by fork(2): the thread that held it is in the parent, pid {each.process.ppid}"
        return "dead", (), fate, "lock-copied-by-fork"
    return "or", (*likely, anybody), "", ""


def _anybody(each: Seen) -> Node:
    wakers = tuple(Waker(f"{each.pid}/{tid}", "possible") for tid in each.tasks)
    return Node(key=f"{each.pid}/any", kind="any", pid=each.pid, name=_called(each), mode="or", wakers=wakers)


def _process(each: Seen) -> Node:
    """A process ends once its main thread does. A zombie has ended, and only waits for its parent."""
    ended = each.process.state in {"zombie", "dead"} or each.pid not in each.tasks
    leader = each.tasks.get(each.pid)
    alive = ended or leader is None or leader.state in {"zombie", "dead"}
    return Node(
        key=str(each.pid),
        kind="process",
        pid=each.pid,
        name=_called(each),
        mode="live" if alive else "and",
        wakers=() if alive else (Waker(f"{each.pid}/{each.pid}", "certain", "its main thread has to end"),),
    )


def _called(each: Seen) -> str:
    """`pid 43 Process-1`, `pid 43 (python worker.py)`."""
    name = each.process_name
    if name:
        return f"pid {each.pid} {name}"
    words = " ".join(word.rpartition("/")[2] if word.startswith("/") else word for word in each.process.command)
    return f"pid {each.pid} ({words[:60] or each.process.name})"


def _unread(each: Seen) -> Gap:
    assert each.sights is not None
    count = len(each.sights.unread)
    return Gap(
        f"who waits for what in {count} of {len(each.sights.threads)} Python threads of pid {each.pid}",
        "their stacks did not hold still, or are too deep",
    )


def _words(wait: Wait) -> str | None:
    if not wait.watched:
        return None
    first = wait.watched[0]
    return f"fd {first.fd} ({first.what})" + (f" and {len(wait.watched) - 1} more" if len(wait.watched) > 1 else "")


def _handles_signals(pid: int) -> bool:
    """The process catches some signal beside those that every CPython does: a handler may wake its main thread."""
    try:
        caught = int(procfs.status(pid).get("SigCgt", "0"), 16)
    except (LookError, ValueError):
        return True
    for known in (_SIGINT, _SIGCHLD, *_GLIBC):
        caught &= ~(1 << known - 1)
    return bool(caught)
