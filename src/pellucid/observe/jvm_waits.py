"""What the threads of a JVM wait for, and who holds it: from two thread dumps, each of which is one moment of all threads.

A thread that waits for a monitor wakes now and then by itself to look again (ObjectMonitor::EnterI, runtime/objectMonitor.cpp), so that
the kernel's count of its switches does not tell whether it went on; that both dumps show it in the same place, for the same, does.
"""

from pellucid.model import Gap, Task, Wait
from pellucid.model.errors import LookError, NoSuchProcess
from pellucid.model.sync import Blocked
from pellucid.runtimes.base import Runtime
from pellucid.runtimes.jvm.process import HotSpot
from pellucid.runtimes.jvm.sync import blocked, exclusive, owners
from pellucid.runtimes.jvm.threads import JavaThread

MAX_HEAP_TO_WALK = 2 << 30
"""Bytes of heap up to which the JVM is asked who holds its Locks: it walks all of it for that, with its threads stopped."""


def as_jvm(runtime: Runtime | None) -> HotSpot:
    assert isinstance(runtime, HotSpot)
    return runtime


class JavaSights:
    """The threads of one JVM at the last reading of `runtime`."""

    def __init__(self, runtime: HotSpot) -> None:
        self.runtime = runtime
        self.gaps: list[Gap] = []
        if not runtime.dump.with_synchronizers and any(exclusive(thread) for thread in runtime.by_tid.values()):
            self._with_synchronizers()
        self.threads = dict(runtime.by_tid)
        self._held = owners(runtime.dump, self.threads)
        self._again: dict[int, JavaThread] | None = None

    def _with_synchronizers(self) -> None:
        heap = self.runtime.heap_used()
        if heap is not None and heap > MAX_HEAP_TO_WALK:
            why = f"the JVM would walk its heap of {heap >> 30} GiB for that, with all threads stopped"
            self.gaps.append(Gap("who holds its Locks", why, f"pellucid jvm cmd {self.runtime.pid} Thread.print -l"))
            return
        self.runtime.read(synchronizers=True)

    def blocked(self, tid: int) -> Blocked | None:
        thread = self.threads.get(tid)
        return blocked(thread, self._held, self.place(tid)) if thread is not None else None

    def wait(self, task: Task, wait: Wait | None) -> Wait | None:
        """The kernel's wait in the words of Java: a futex that is a sleep is told as one."""
        thread = self.threads.get(task.tid)
        if thread is None or wait is None or wait.kind != "lock":
            return wait
        if thread.state == "TIMED_WAITING" and thread.detail == "sleeping":
            return Wait(kind="sleep", call="Thread.sleep", since_s=wait.since_s, timed=True, left_s=wait.left_s)
        if thread.way == "enter" or (thread.state == "WAITING" and thread.way is not None):
            # The futex of a monitor has a timeout of the JVM's own, after which it only looks again.
            return Wait(kind="lock", call=wait.call, since_s=wait.since_s, address=wait.address)
        return wait

    def look_again(self) -> None:
        """A second dump, for `steady`."""
        try:
            self.runtime.read()
        except NoSuchProcess:
            self._again = {}
        except LookError as error:
            self._again = {}
            self.gaps.append(Gap("a second thread dump", error.said, error.remedy))
        else:
            self._again = dict(self.runtime.by_tid)

    def steady(self, tid: int) -> bool | None:
        """The same wait in both dumps; None for a thread that is none of Java's, and before the second look."""
        one = self.threads.get(tid)
        if one is None or self._again is None or one.way is None:
            return None
        two = self._again.get(tid)
        return two is not None and one.footprint == two.footprint

    def name(self, tid: int) -> str:
        thread = self.threads.get(tid)
        return thread.name if thread is not None else ""

    def daemon(self, tid: int) -> bool | None:
        thread = self.threads.get(tid)
        return thread.daemon if thread is not None else None

    def place(self, tid: int) -> str:
        """`Bank.java:7 in Bank.transfer`, the innermost frame of the program; of the library where it has none."""
        thread = self.threads.get(tid)
        if thread is None or not thread.frames:
            return ""
        frame = next((frame for frame in thread.frames if frame.own), thread.frames[0])
        return f"{frame.file.rpartition('/')[2]}:{frame.line if frame.line is not None else '?'} in {frame.qualname}"
