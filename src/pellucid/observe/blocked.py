"""One process of a wait-for graph: its threads at the first look, what each waits for, and which of them slept on until the second.

    tasks (/proc)  →  stacks and what lies in the frames  →  …  →  tasks again

What a thread that did not wake between the two readings of its task has in its frames was read while it slept, and holds still true.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pellucid.kernel import fds, polling, procfs
from pellucid.kernel.memory import Unreadable
from pellucid.model import Gap, OpenFile, Process, Socket, Stack, Task, Wait
from pellucid.model.errors import LookError
from pellucid.model.sync import Blocked
from pellucid.observe.stacks import Look, watched_inodes
from pellucid.runtimes.cpython import CPython
from pellucid.runtimes.cpython.managers import connections
from pellucid.runtimes.cpython.semaphores import SharedLock, shared_locks
from pellucid.runtimes.cpython.sight import place_of
from pellucid.runtimes.cpython.standard_library import own_frame
from pellucid.runtimes.cpython.sync import Sights

if TYPE_CHECKING:
    from pellucid.observe.greenlets import GreenletLook
    from pellucid.observe.tasks import TaskLook


class Seen:
    """One process that was looked at. `sights` is None where it runs no Python that could be read; `why_not` says why."""

    def __init__(self, look: Look, tasks: tuple[Task, ...], stacks: Mapping[int, Stack]) -> None:
        self.look = look
        self.pid = look.pid
        self.tasks = {task.tid: task for task in tasks}
        self.stacks = stacks
        self.again: dict[int, Task] = {}
        python = look.runtime
        self.sights = Sights(python, stacks.values()) if isinstance(python, CPython) else None
        self.java = look.java
        self.tasks_look = _tasks(self.sights)
        self.greenlets = _greenlets(self.sights)
        self.tasks_again: Mapping[int, tuple[object, ...]] = {}
        self.sockets = _sockets(look, tasks)
        looker = look.looker(self.sockets)
        self.waits: dict[int, Wait] = {}
        self.blocked: dict[int, Blocked] = {}
        for task in tasks:
            wait, gaps = looker.wait(task, stacks.get(task.tid))
            if self.java is not None:
                wait = self.java.wait(task, wait)
            look.gaps += (gap for gap in gaps if gap not in look.gaps)
            if wait is None or (self.java is not None and task.tid not in self.java.threads):
                continue  # the JVM's own threads (compiler, collector) wait for nothing that a program could bring
            self.waits[task.tid] = wait
            told = self._told(task, wait)
            if told is not None:
                self.blocked[task.tid] = told
        self._locks: tuple[SharedLock, ...] | None = None
        self._process_name: str | None = None
        self._serving: dict[int, int] | None = None
        self._working_on: dict[tuple[str, int], int] | None = None

    def _told(self, task: Task, wait: Wait) -> Blocked | None:
        if self.java is not None:
            return self.java.blocked(task.tid) if wait.kind == "lock" else None
        if self.sights is None or wait.kind in {"gil", "disk"}:
            return None
        if wait.kind == "sleep":
            return self.sights.polls(task.tid)
        futex = task.call.arguments[0] if task.call and task.call.name == "futex" and task.call.arguments else None
        return self.sights.blocked(task.tid, futex)

    @property
    def process(self) -> Process:
        return self.look.process

    def look_again(self, tasks: tuple[Task, ...] | None = None) -> None:
        """The second reading of the tasks. A process that ended meanwhile has none, and is then not steady in any thread."""
        if self.tasks_look is not None:
            self.tasks_again = self.tasks_look.again()
        if self.greenlets is not None:
            self.greenlets.look_again()
        if self.java is not None:
            self.java.look_again()
        if tasks is not None:
            self.again = {task.tid: task for task in tasks}
            return
        try:
            self.again = {task.tid: task for task in self.look.tasks()}
        except LookError as error:
            self.look.gaps.append(Gap(f"pid {self.pid} at the second look", error.said, error.remedy))

    def steady(self, tid: int) -> bool:
        """The thread did not wake between the two readings: the same call, no context switch, no CPU time."""
        told = self.java.steady(tid) if self.java is not None else None
        if told is not None:
            return told
        one, two = self.tasks.get(tid), self.again.get(tid)
        return (
            one is not None
            and two is not None
            and one.call == two.call
            and one.switches is not None
            and one.switches == two.switches
            and one.cpu_s == two.cpu_s
        )

    def name(self, tid: int) -> str:
        """As the program calls the thread; the kernel's name where it runs no Python. See `Look.name`."""
        sight = self.sights.threads.get(tid) if self.sights else None
        if sight is not None and sight.name:
            task = self.tasks.get(tid)
            return "MainThread" if tid == self.pid and task is not None and sight.name == task.name else sight.name
        if self.java is not None and self.java.name(tid):
            return self.java.name(tid)
        task = self.tasks.get(tid)
        return task.name if task else f"tid {tid}"

    def daemon(self, tid: int) -> bool | None:
        """Whether the interpreter would end without waiting for it; a main thread is none, whatever thread of a parent it was forked from."""
        if self.java is not None:
            return self.java.daemon(tid)
        if tid == self.pid:
            return False
        sight = self.sights.threads.get(tid) if self.sights else None
        return sight.known.daemon if sight and sight.known else None

    def with_gil(self) -> list[int]:
        """The tids of the threads that had an interpreter's lock when the stacks were read."""
        return [tid for tid, stack in self.stacks.items() if stack.holds_gil]

    def place(self, tid: int) -> str:
        """Where the program's own code is, `bank.py:7 in transfer`; "" without a stack."""
        if self.java is not None:
            return self.java.place(tid)
        sight = self.sights.threads.get(tid) if self.sights else None
        frame = (own_frame(sight.frames) or (sight.frames[0] if sight.frames else None)) if sight else None
        return place_of(frame) if frame else ""

    def whole(self, tid: int) -> bool:
        """All of the thread's stack was read; a thread without Python has none to read."""
        if self.sights is None or tid not in self.stacks:
            return True
        sight = self.sights.threads.get(tid)
        return sight is not None and sight.whole

    @property
    def process_name(self) -> str:
        """The name that multiprocessing gives the process, `Process-1`; "" where it does not, and for the first process."""
        if self._process_name is None:
            found = self._current_process()
            self._process_name = "" if found == "MainProcess" else found
        return self._process_name

    @property
    def called(self) -> str:
        """`pid 43 Process-1`, `pid 43 (python worker.py)`."""
        if self.process_name:
            return f"pid {self.pid} {self.process_name}"
        words = " ".join(word.rpartition("/")[2] if word.startswith("/") else word for word in self.process.command)
        return f"pid {self.pid} ({words[:60] or self.process.name})"

    def serving(self) -> dict[int, int]:
        """Inode of a connection to a manager that runs here → the tid of the thread that serves it."""
        if self._serving is None:
            self._serving = {}
            for tid, fd in connections(self.sights).items() if self.sights else ():
                file = fds.open_file(self.pid, fd)
                if isinstance(file, OpenFile) and file.inode is not None:
                    self._serving[file.inode] = tid
        return self._serving

    def working_on(self) -> dict[tuple[str, int], int]:
        """A call that this process has as a worker (executor or pool, its number there) → the tid of the thread that runs it."""
        if self._working_on is None:
            found = self.sights.working_on() if self.sights else {}
            self._working_on = {call: tid for tid, call in found.items()}
        return self._working_on

    def _current_process(self) -> str:
        if self.sights is None:
            return ""
        try:
            values, registry = self.sights.values, self.sights.registry
            current = registry.variable("multiprocessing.process", "_current_process")
            return values.word(values.named(current, "_name")) if current else ""
        except Unreadable:
            return ""

    def shared_locks(self, *, fresh: bool = False) -> tuple[SharedLock, ...]:
        """The process's own locks of multiprocessing; `fresh` reads their state once more."""
        if fresh and self.sights is not None:
            self.sights.values.forget()
            self._locks = None
        if self._locks is None:
            self._locks = shared_locks(self.sights) if self.sights else ()
        return self._locks

    def close(self) -> None:
        self.look.close()


def see(pid: int, *, ask: bool = True) -> Seen:
    """One reading of `pid`. NoSuchProcess; what else can't be seen is a gap of its look. `ask` as for `Look`."""
    look = Look(pid, ask=ask)
    try:
        tasks, gaps = look.first
        look.gaps += gaps
        if look.why_not is not None and look.memory is None and look.process.state not in {"zombie", "dead"}:
            look.gaps.append(Gap(f"the memory of pid {pid}", look.why_not.said, look.why_not.remedy))
        stacks = look.stacks()
        if ask and look.why_not is not None and look.language == "Java":
            look.gaps.append(
                Gap(f"what the Java threads of pid {pid} wait for", look.why_not.said, look.why_not.remedy)
            )
        return Seen(look, tasks, stacks)
    except BaseException:
        look.close()
        raise


def descendants(pid: int, most: int) -> tuple[int, ...]:
    """The children of `pid`, their children and so on, breadth first; at most `most`."""
    found: dict[int, None] = {}
    level = [pid]
    while level and len(found) < most:
        following = [child for parent in level for child in _children(parent) if child not in found and child != pid]
        found |= dict.fromkeys(following)
        level = following
    return tuple(found)[:most]


def _children(pid: int) -> tuple[int, ...]:
    try:
        return procfs.children(pid)
    except LookError:
        return ()  # it ended meanwhile, and its children have another parent now


def _tasks(sights: Sights | None) -> "TaskLook | None":
    """The asyncio tasks, where the program has imported asyncio."""
    if sights is None or not sights.registry.module("asyncio.tasks"):
        return None
    from pellucid.observe.tasks import TaskLook

    return TaskLook(sights)


def _greenlets(sights: Sights | None) -> "GreenletLook | None":
    """The greenlets, where the program has imported greenlet: the search for them walks all objects."""
    if sights is None or not sights.registry.module("greenlet"):
        return None
    from pellucid.observe.greenlets import GreenletLook

    return GreenletLook(sights)


def _sockets(look: Look, tasks: tuple[Task, ...]) -> dict[int, Socket]:
    if not any(task.call and polling.watched(look.memory, task.call, look.pid) for task in tasks):
        return {}
    inodes = watched_inodes(look, tasks)
    if not inodes:
        return {}
    from pellucid.observe.sockets import sockets  # only where some thread waits on a socket

    try:
        found, gaps = sockets(look.pid, inodes=inodes, far=True)
    except LookError as error:
        look.gaps.append(Gap(f"the sockets of pid {look.pid}", error.said, error.remedy))
        return {}
    look.gaps += (gap for gap in gaps if gap not in look.gaps)
    return {socket.inode: socket for socket in found}
