"""A HotSpot JVM as a runtime: its stacks, by asking it for a thread dump. Each reading stops its threads for a moment (a safepoint).

Thread ids in a dump are those of the JVM's own pid namespace; they are told as those that we see.
"""

from pellucid.kernel import namespaces
from pellucid.model import Gap, Stack
from pellucid.model.errors import LookError, NotUnderstood
from pellucid.runtimes.base import Reading
from pellucid.runtimes.jvm.attach import Attach
from pellucid.runtimes.jvm.collector import collector, number
from pellucid.runtimes.jvm.perfdata import PerfData
from pellucid.runtimes.jvm.threads import Dump, JavaThread, parse


class HotSpot:
    """An attached JVM. `dump` is the last reading, `by_tid` its threads by the ids that we see."""

    stops = True

    def __init__(self, pid: int, command: str) -> None:
        self.pid = pid
        self._attach = Attach(pid, command)
        self._counters: PerfData | None = None
        self.dump = Dump((), (), {}, with_synchronizers=False)
        self.by_tid: dict[int, JavaThread] = {}
        self.stopped_s: float | None = None
        try:
            self._counters = PerfData(pid, command)
        except LookError:
            self._counters = None  # how long it stood still is not told then

    @property
    def name(self) -> str:
        return self._attach.jvm.name

    @property
    def program(self) -> str:
        return self._attach.jvm.program

    def read(self, *, synchronizers: bool = False) -> Reading:
        """Every Java stack now. With `synchronizers` also who holds which Lock: the JVM walks its heap for that, all threads stopped."""
        before = self._safepoint_s()
        answer = self._attach.ask("threaddump", *(("-l",) if synchronizers else ()))
        self.dump = parse(answer.text, with_synchronizers=synchronizers)
        after = self._safepoint_s()
        if before is not None and after is not None:
            self.stopped_s = (self.stopped_s or 0.0) + max(0.0, after - before)
        if answer.code or not self.dump.threads:
            raise NotUnderstood(
                self.pid,
                tried=f"read the thread dump of pid {self.pid}",
                said=f"the JVM answered {answer.code}: {answer.text[:100]!r}",
                remedy=f"pellucid jvm cmd {self.pid} Thread.print",
                found=self.name,
            )
        outer = namespaces.outer_tids(self.pid)
        self.by_tid = {outer[thread.nid]: thread for thread in self.dump.threads if thread.nid in outer and thread.java}
        stacks = tuple(
            Stack(tid=tid, ident=thread.number or 0, name=thread.name, frames=thread.frames)
            for tid, thread in sorted(self.by_tid.items())
        )
        lost = [thread.name for thread in self.dump.threads if thread.java and thread.nid not in outer and thread.nid]
        gaps = (
            (Gap(f"the tasks of {len(lost)} Java threads ({lost[0]}, ...)", "they have ended meanwhile"),)
            if lost
            else ()
        )
        return Reading(stacks, 0, gaps)

    def heap_used(self) -> int | None:
        """Bytes of the heap in use, as of the last collection; None where the JVM publishes no counters."""
        if self._counters is None:
            return None
        return collector(self._counters.read(), 0.0).used

    def _safepoint_s(self) -> float | None:
        """Seconds that its threads have stood still at safepoints since the start."""
        if self._counters is None:
            return None
        counters = self._counters.read()
        if "sun.rt.safepointTime" not in counters:
            return None
        return number(counters, "sun.rt.safepointTime") / (number(counters, "sun.os.hrt.frequency") or 1_000_000_000)

    def in_gil(self, address: int) -> bool:  # noqa: ARG002  a JVM has none
        return False

    def close(self) -> None:
        self._attach.close()
        if self._counters is not None:
            self._counters.close()


def attach(pid: int, command: str = "stacks") -> HotSpot:
    """Raises NotUnderstood where it is no JVM or can't be asked, NotPermitted, NoSuchProcess, Partial."""
    return HotSpot(pid, command)
