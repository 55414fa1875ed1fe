"""What each wait of a thread needs in order to end: the holder of the lock, the child, whoever may put into the queue or write into the pipe.

A wait that is not understood, or whose other ends are not all known, counts as one that ends by itself: it is never called stuck.
"""

from collections.abc import Collection, Mapping

from pellucid.kernel import polling, procfs
from pellucid.model import Wait, Watched
from pellucid.model.errors import LookError
from pellucid.model.finding import Confidence
from pellucid.model.graph import Waker
from pellucid.model.sync import Blocked, Ordered
from pellucid.observe.blocked import Seen
from pellucid.observe.ends import Ends, unread_bytes
from pellucid.observe.need import LIVE, Need, all_of, any_of, nothing
from pellucid.observe.semaphore_holders import SemaphoreHolders
from pellucid.runtimes.cpython.pools import pool_of

_SIGINT, _SIGCHLD = 2, 17
_GLIBC = (32, 33)  # nptl's own (nptl/descr.h, SIGCANCEL and SIGSETXID)
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
    {"condition", "event", "get", "put", "queue-join", "barrier"}
    | {"future", "futures", "pool", "worker", "service", "feeder"}
)


class Needs:
    """The needs of all threads of the processes that were looked at. `missed`: the pids of those that could not be."""

    def __init__(self, seen: Mapping[int, Seen], missed: Collection[int], ends: Ends) -> None:
        self._seen = seen
        self._missed = missed
        self._ends = ends
        self._semaphores = SemaphoreHolders(seen, ends)
        self._signals: dict[int, bool] = {}

    def of(self, each: Seen, tid: int, wait: Wait | None) -> Need:
        """Of one thread; without a wait it runs."""
        if wait is None:
            return LIVE
        blocked = each.blocked.get(tid)
        told = self._for_thing(each, tid, wait, blocked) if blocked is not None else None
        return self._for_call(each, tid, wait, blocked) if told is None else told

    def _for_thing(self, each: Seen, tid: int, wait: Wait, blocked: Blocked) -> Need | None:
        """By what the runtime knows of it; None where the system call has to tell."""
        anybody = Waker(f"{each.pid}/any", "possible")
        shared = self._semaphores.needs(each, blocked)
        if shared is not None:
            return shared
        match blocked.role:
            case "lock" | "rlock" | "import":
                return self._for_lock(each, tid, blocked, anybody)
            case "pool" | "pool-join" if self._lost_task(each, blocked):
                return nothing(_LOST, "pool-lost-task")
            case "join" | "shutdown" | "pool-join":
                return all_of(*(Waker(f"{each.pid}/{other}") for other in blocked.joins)) if blocked.joins else LIVE
            case "process" | "subprocess" if blocked.child:
                return all_of(_end_of(blocked.child))
            case "semaphore":
                return any_of(*_likely(each, tid, blocked), anybody)
            case "future" if blocked.holders:
                return all_of(*(Waker(f"{each.pid}/{held.tid}", "certain", held.because) for held in blocked.holders))
            case "future" if blocked.task and each.tasks_look is not None and blocked.task in each.tasks_look.tasks:
                return all_of(Waker(f"{each.pid}/task/{blocked.task:x}", "likely", "it is the task behind that future"))
            case "future" | "pool" if blocked.ordered is not None and wait.call == "futex":
                return self._for_ordered(each, tid, blocked.ordered, anybody)
            case "proxy":
                return self._for_proxy(wait)
        if blocked.role in _WOKEN_BY_ANYBODY and wait.call == "futex":
            return LIVE if self._by_signal(each, tid) else any_of(anybody)
        return None

    def _for_call(self, each: Seen, tid: int, wait: Wait, blocked: Blocked | None) -> Need:
        """By the system call and its arguments."""
        if wait.kind == "child":
            return all_of(_end_of(wait.child)) if wait.child else LIVE
        if wait.kind == "file-lock":
            return self._for_file_lock(each, wait)
        if wait.watched:
            return self._for_ends(each, wait)
        if wait.kind == "lock" and blocked is None and len(each.tasks) == 1:
            library = self._ends.library_at(each.pid, each.tasks[tid].call)
            if library.startswith(_OPENMP):
                return nothing(_TEAM.format(library), "openmp-after-fork")
        return LIVE

    def _for_lock(self, each: Seen, tid: int, blocked: Blocked, anybody: Waker) -> Need:
        certain = [held for held in blocked.holders if held.confidence == "certain"]
        if any(held.tid is None for held in certain):
            if certain[0].copied:  # another thread of the child may have released the copy and taken it since
                return nothing(
                    certain[0].because, "lock-copied-by-fork", "certain" if len(each.tasks) == 1 else "likely"
                )
            return nothing(certain[0].because, "holder-is-gone")
        if certain:
            return all_of(*(Waker(f"{each.pid}/{held.tid}", "certain", held.because) for held in certain))
        likely = _likely(each, tid, blocked)
        copied = self._copied(each, blocked) if not likely and len(each.tasks) == 1 else None
        if copied is not None:
            fate = f"it was copied locked by fork(2): the thread that held it is in the parent, pid {each.process.ppid}"
            return nothing(fate, "lock-copied-by-fork", copied)
        return any_of(*likely, anybody)

    def _copied(self, each: Seen, blocked: Blocked) -> Confidence | None:
        """The parent has a lock of the same kind at the very address: this one is a copy that fork made; None where not.

        Certainly it was locked then where a thread of the parent is inside of it yet. Else the child itself may have taken it since.
        """
        parent = self._seen.get(each.process.ppid)
        address = blocked.sync.address if blocked.sync else None
        if parent is None or parent.sights is None or each.sights is None or not address:
            return None
        mine = each.sights.values.name_of_kind(address)
        same = parent.sights.python.runtime == each.sights.python.runtime
        if not same or not mine or parent.sights.values.name_of_kind(address) != mine:
            return None
        held = parent.sights.holders.of(address)
        return "certain" if any(one.confidence == "certain" for one in held) else "likely"

    def _for_ordered(self, each: Seen, tid: int, call: Ordered, anybody: Waker) -> Need:
        """A result of worker processes: those that run a part of its call have to go on; before one does, any of them is enough.

        That a worker may die changes nothing: an executor's results are errors then (BrokenProcessPool), a Pool's never come.
        """
        working = []
        for pid in call.pids:
            other = self._seen.get(pid)
            thread = other.working_on().get((call.to, call.number)) if other is not None else None
            if thread is not None:
                working.append(Waker(f"{pid}/{thread}", "certain", f"it runs call {call.number} of that {call.to}"))
        if working and call.every:
            return all_of(*working)
        if self._by_signal(each, tid):
            return LIVE
        workers = (Waker(f"{pid}/any", "possible", f"a worker of that {call.to}") for pid in call.pids)
        return any_of(*working, *workers, anybody)

    def _for_proxy(self, wait: Wait) -> Need | None:
        """A call through a proxy ends once the thread of the manager that serves its connection has answered."""
        socket = wait.watched[0].socket if wait.watched else None
        if socket is None or socket.far is None:
            return None
        for pid in socket.peer_pids:
            other = self._seen.get(pid)
            tid = other.serving().get(socket.far.inode) if other is not None else None
            if tid is not None:
                return all_of(Waker(f"{pid}/{tid}", "certain", "it serves this connection of the manager"))
        return None

    def _for_file_lock(self, each: Seen, wait: Wait) -> Need:
        """The one process that has the file locked has to unlock it; where there are several, or it was not seen, nothing is said."""
        pids = self._ends.has_file_lock(each, wait)
        holder = self._seen.get(pids[0]) if len(pids) == 1 else None
        if holder is None:
            return LIVE
        because = f"pid {holder.pid} has the file locked (/proc/locks)"
        alone = next(iter(holder.tasks)) if len(holder.tasks) == 1 else None
        key = f"{holder.pid}/{alone}" if alone is not None else f"{holder.pid}/any"
        return all_of(Waker(key, "certain", because))

    def _for_ends(self, each: Seen, wait: Wait) -> Need:
        """A wait on descriptors (read, send, poll, select, epoll): alive unless whoever could make each of them ready is known."""
        wakers: dict[str, Waker] = {}
        if wait.call.startswith("epoll"):  # what it watches may be changed by another thread
            if len(wait.watched) >= polling.MAX_DESCRIPTORS or self._catches(each):
                return LIVE  # a handler, which runs in the main thread, may hand something to the loop
            wakers[f"{each.pid}/any"] = Waker(f"{each.pid}/any", "possible", "it may change what is watched")
        for one in wait.watched:
            found = self._who_readies(each, one)
            if found is None:
                return LIVE
            wakers |= found
        return any_of(*wakers.values()) if wakers else LIVE

    def _who_readies(self, each: Seen, one: Watched) -> dict[str, Waker] | None:
        """Whoever could make this descriptor ready, by the key of the node; None where not all of them are seen."""
        if one.kind == "pidfd":
            pid = self._ends.pid_behind(each, one.fd)
            return {str(pid): _end_of(pid)} if pid in self._seen else None
        pids: tuple[int, ...] | None = None
        if one.kind in {"pipe", "fifo"} and one.wants in {"read", "write", "hangup"}:
            pids = self._ends.opposite(each, one.fd, one.wants)
        elif (
            one.socket is not None and one.socket.state == "ESTABLISHED" and one.socket.proto in {"unix", "tcp", "tcp6"}
        ):
            pids = one.socket.peer_pids or None
        if pids is None or any(pid in self._missed or pid not in self._seen for pid in pids):
            return None
        return {
            f"{pid}/any": Waker(f"{pid}/any", "possible", f"pid {pid} has the other end of fd {one.fd}") for pid in pids
        }

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
        each = self._seen.get(pid)
        if each is None:
            return False
        tids = [tid for tid, blocked in each.blocked.items() if blocked.role == role]
        return len(tids) >= least and all(each.steady(tid) for tid in tids)

    def _by_signal(self, each: Seen, tid: int) -> bool:
        """It is a main thread whose process catches some signal beside those that every CPython does: a handler may wake it."""
        return tid == each.pid and self._catches(each)

    def _catches(self, each: Seen) -> bool:
        if each.pid not in self._signals:
            self._signals[each.pid] = _handles_signals(each.pid)
        return self._signals[each.pid]


def _end_of(pid: int) -> Waker:
    return Waker(str(pid), "certain", f"pid {pid} has to end")


def _likely(each: Seen, tid: int, blocked: Blocked) -> tuple[Waker, ...]:
    """Those that seem to hold it, the thread itself not among them."""
    return tuple(
        Waker(f"{each.pid}/{held.tid}", "possible" if held.confidence == "possible" else "likely", held.because)
        for held in blocked.holders
        if held.tid is not None and held.tid != tid
    )


def _handles_signals(pid: int) -> bool:
    try:
        caught = int(procfs.status(pid).get("SigCgt", "0"), 16)
    except (LookError, ValueError):
        return True
    for known in (_SIGINT, _SIGCHLD, *_GLIBC):
        caught &= ~(1 << known - 1)
    return bool(caught)
