"""All threads of a process: the kernel's view and the interpreter's, joined by thread id.

/proc is read first, for all threads (`kernel.tasks`), then the stacks; a look takes microseconds a thread and stops nothing.
`Look` keeps the attached runtime, so that a second look (or a hundred) costs only the reading.
"""

import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from msgspec.structs import replace

from pellucid.kernel import polling, procfs, tasks
from pellucid.kernel.maps import mapped
from pellucid.kernel.memory import Memory
from pellucid.model import Cost, Frame, Gap, Process, Seen, Socket, Stack, Task, Thread
from pellucid.model.errors import LookError, NoSuchProcess, NotUnderstood
from pellucid.model.report import StacksReport
from pellucid.observe.waits import Looker
from pellucid.runtimes import cpython
from pellucid.runtimes.base import Reading, Runtime

if TYPE_CHECKING:
    from pellucid.observe.jvm_waits import JavaSights

MAX_GIL_THREADS = 200
"""A sample reads one small file a thread: above that, contention for the GIL is told by the two looks alone."""


class Look:
    """An open look at one process. `why_not` is the error that kept its runtime from being read, None when it can be.

    `ask`: a JVM may be asked for its stacks, which stops its threads for a moment.
    """

    def __init__(self, pid: int, command: str = "why", *, ask: bool = True) -> None:
        self.command = command
        self.process: Process = procfs.process(pid)
        self.pid = pid
        self.gaps: list[Gap] = []
        self.why_not: LookError | None = None
        self.memory: Memory | None = None
        self.runtime: Runtime | None = None
        self.language = "Python"
        """That of the stacks: Java where there is a JVM and no Python."""
        self._java: JavaSights | None = None
        self.stacks_read = self.retries = self.moving = 0
        self.first = tasks.tasks(pid, command)  # before anything else is asked of the process
        self.why_not = _without_memory(self.process)
        if self.why_not is None:
            self._attach(ask=ask)

    def _attach(self, *, ask: bool) -> None:
        try:
            self.memory = Memory.open(self.pid, self.command)
            try:
                self.runtime = cpython.attach(self.pid)
            except NotUnderstood as error:
                if error.found or not mapped(self.pid, "/libjvm.so"):
                    raise
                self.language = "Java"
                if not ask:
                    raise _unasked(self.pid) from error
                from pellucid.runtimes.jvm.process import attach  # only where there is one

                self.runtime = attach(self.pid, self.command)
        except LookError as error:
            self.why_not = error.as_value()
        else:
            self.process = replace(self.process, runtime=self.runtime.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.runtime is not None:
            self.runtime.close()
        if self.memory is not None:
            self.memory.close()

    def stacks(self) -> dict[int, Stack]:
        """One reading of every Python stack, by tid; gaps and retries are kept in the look."""
        if self.runtime is None:
            return {}
        self._java = None
        reading = self._reading()
        if reading is None:
            return {}
        self.stacks_read += len(reading.stacks)
        self.retries += reading.retries
        self.moving += sum(stack.moving for stack in reading.stacks)
        self.gaps += (gap for gap in reading.gaps if gap not in self.gaps)
        return {stack.tid: stack for stack in reading.stacks}

    def _reading(self) -> Reading | None:
        """None where a JVM did not answer: it is seen without its stacks then, as one that can't be attached to."""
        assert self.runtime is not None
        if not self.runtime.stops:
            return self.runtime.read()
        try:
            return self.runtime.read()
        except NoSuchProcess:
            raise
        except LookError as error:
            self.why_not = error.as_value()
            self.runtime.close()
            self.runtime = None
            return None

    def threads(
        self, kernel: tuple[Task, ...], stacks: Mapping[int, Stack], sockets: Mapping[int, Socket]
    ) -> tuple[Thread, ...]:
        """Every task of `kernel` with its stack and its wait, in the order of the tids."""
        looker = self.looker(sockets)
        joined = []
        for task in kernel:
            stack = stacks.get(task.tid)
            wait, gaps = looker.wait(task, stack)
            if stack is not None and self.java is not None:
                wait = self.java.wait(task, wait)
            self.gaps += (gap for gap in gaps if gap not in self.gaps)
            joined.append(
                Thread(
                    tid=task.tid,
                    name=self._name(task, stack),
                    state=task.state,
                    frames=stack.frames if stack else (),
                    wait=wait,
                    task=task,
                    moving=stack.moving if stack else False,
                    holds_gil=stack.holds_gil if stack else None,
                    wants_gil=stack.wants_gil if stack else None,
                    interpreter=stack.interpreter if stack else 0,
                    python=stack is not None,
                )
            )
        return tuple(joined)

    @property
    def java(self) -> "JavaSights | None":
        """What the threads of a JVM wait for, as of the last reading; None for anything else."""
        if self.runtime is None or not self.runtime.stops:
            return None
        if self._java is None:
            from pellucid.observe.jvm_waits import JavaSights, as_jvm  # only where there is a JVM

            self._java = JavaSights(as_jvm(self.runtime))
            self.gaps += (gap for gap in self._java.gaps if gap not in self.gaps)
        return self._java

    def looker(self, sockets: Mapping[int, Socket]) -> Looker:
        """What explains the waits of this process's threads."""
        return Looker(self.pid, self.memory, sockets, self._in_gil)

    def _name(self, task: Task, stack: Stack | None) -> str:
        """The program's name for it. One that never imported `threading` has named none: its first thread is MainThread there too."""
        if stack is None or not stack.name:
            return task.name
        return "MainThread" if task.tid == self.pid and stack.name == task.name else stack.name

    def in_gil(self, tids: tuple[int, ...]) -> list[int]:
        """Those of `tids` that wait for the GIL at this moment."""
        return [
            tid
            for tid, call in tasks.calls(self.pid, tids).items()
            if call.name == "futex" and self._in_gil(call.arguments[0])
        ]

    def _in_gil(self, address: int) -> bool:
        return self.runtime is not None and self.runtime.in_gil(address)

    def tasks(self) -> tuple[Task, ...]:
        """The kernel's view now; its gaps are kept in the look."""
        found, gaps = tasks.tasks(self.pid)
        self.gaps += (gap for gap in gaps if gap not in self.gaps)
        return found


class Sampled:
    """Where each thread was, and which waited for the GIL, in readings taken between two looks."""

    def __init__(self) -> None:
        self.times: dict[int, dict[Frame, int]] = {}
        self.gil_waits: dict[int, int] = {}
        self.gil_holds: dict[int, int] = {}
        self.contended = 0
        self.samples = 0

    def add(self, look: Look) -> None:
        """One reading of `look`; none where a reading stops the process. System calls are read only where threads are few enough for it to be cheap."""
        if look.runtime is not None and look.runtime.stops:
            return
        stacks = look.stacks()
        self.samples += 1
        for stack in stacks.values():
            if stack.holds_gil:
                self.gil_holds[stack.tid] = self.gil_holds.get(stack.tid, 0) + 1
            if stack.frames and not stack.moving:
                counts = self.times.setdefault(stack.tid, {})
                counts[stack.frames[0]] = counts.get(stack.frames[0], 0) + 1
        if 1 < len(stacks) <= MAX_GIL_THREADS:
            waiting = look.in_gil(tuple(stacks))
            self.contended += bool(waiting)
            for tid in waiting:
                self.gil_waits[tid] = self.gil_waits.get(tid, 0) + 1

    def seen(self, tid: int) -> tuple[Seen, ...]:
        counts = self.times.get(tid, {})
        return tuple(Seen(frame, times) for frame, times in sorted(counts.items(), key=lambda item: -item[1])[:5])


def stacks(pid: int) -> StacksReport:
    """`pellucid stacks`: one look. NotUnderstood where there is no Python, NotPermitted where its memory can't be read."""
    began, cpu = time.perf_counter(), time.process_time()
    with Look(pid, "stacks") as look:
        if look.why_not is not None:
            raise look.why_not
        kernel, gaps = look.first
        read = look.stacks()
        if look.why_not is not None:
            raise look.why_not
        look.gaps += gaps
        threads = look.threads(kernel, read, _plain_sockets(look, kernel))
        from pellucid.observe.naming import named  # it needs this module

        threads = named(look, threads, read)
        return StacksReport(
            process=look.process,
            taken_at=time.time(),
            threads=threads,
            gaps=tuple(look.gaps),
            cost=cost(look, began, cpu),
        )


def _unasked(pid: int) -> NotUnderstood:
    return NotUnderstood(
        pid,
        tried=f"read the stacks of pid {pid}",
        said=f"pid {pid} is a JVM, which stops for a moment when it is asked for its stacks: this look asks none",
        remedy=f"pellucid why {pid}",
    )


def _without_memory(process: Process) -> NotUnderstood | None:
    """A zombie has given its memory back; a thread of the kernel never had any (no command line and no executable, proc_pid_exe(5))."""
    pid = process.pid
    if process.state in {"zombie", "dead"}:
        said = f"pid {pid} ({process.name}) is a zombie: it has ended and has no memory any more"
        remedy = f"pellucid why {process.ppid}  (its parent, which has to collect it)"
    elif process.exe is None and not process.command:
        said = f"pid {pid} ({process.name}) is a thread of the kernel: it runs no program"
        remedy = f"pellucid info {pid}"
    else:
        return None
    return NotUnderstood(pid, tried=f"read the stacks of pid {pid}", said=said, remedy=remedy)


def cost(look: Look, began: float, cpu: float) -> Cost:
    """What the look took since `began` (perf_counter) and `cpu` (process_time)."""
    return Cost(
        wall_s=time.perf_counter() - began,
        cpu_s=time.process_time() - cpu,
        stacks=look.stacks_read,
        retries=look.retries,
        moving=look.moving,
        stopped_s=look.runtime.stopped_s if look.runtime is not None else None,
    )


def _plain_sockets(look: Look, kernel: tuple[Task, ...]) -> dict[int, Socket]:
    """The sockets that some thread waits on; sock_diag is asked only when there is one."""
    inodes = watched_inodes(look, kernel)
    if not inodes:
        return {}
    from pellucid.observe.sockets import sockets  # not needed for threads that wait on no socket

    found, gaps = sockets(look.pid, inodes=inodes, far=False)
    look.gaps += gaps
    return {socket.inode: socket for socket in found}


def watched_inodes(look: Look, kernel: tuple[Task, ...]) -> set[int]:
    """The inodes of the sockets that these tasks wait on."""
    watched = {fd for task in kernel if task.call for fd, _ in polling.watched(look.memory, task.call, look.pid)}
    inodes = set()
    for fd in watched:
        try:
            target = os.readlink(f"/proc/{look.pid}/fd/{fd}")
        except OSError:
            continue  # the wait itself reports this descriptor as a gap
        if target.startswith("socket:["):
            inodes.add(int(target[8:-1]))
    return inodes
