"""`gc PID` of a JVM: its generations and collections now, or over time.

The counters ask nothing of the JVM; `asked` asks it for the use of this moment too (GC.heap_info), which they tell only as of the last
collection.
"""

import os
import time
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from pellucid.kernel import procfs
from pellucid.model import Gap, Process
from pellucid.model.collector import Collector
from pellucid.model.collector_report import CollectorReport, CollectorWatchReport
from pellucid.model.errors import LookError, NoSuchProcess
from pellucid.runtimes.jvm.collector import collector, text
from pellucid.runtimes.jvm.heap_info import with_heap_info
from pellucid.runtimes.jvm.perfdata import Counters, PerfData

STEP_S = 0.02
"""Between two readings of a watch: what a full collection left is told until the next one ends."""
MOST_KEPT = 1 << 16


def report(pid: int, *, asked: bool = False) -> CollectorReport:
    """The collector of the JVM in `pid` now. Raises NoSuchProcess, NotPermitted, NotUnderstood."""
    process = procfs.process(pid)
    data = PerfData(pid)
    try:
        counters = data.read()
    finally:
        data.close()
    found = collector(counters, time.time() - process.started_at)
    gaps: tuple[Gap, ...] = ()
    if asked:
        found, gaps = ask_heap_info(pid, found)
    elif found.metaspace is None:
        gaps = (
            Gap(
                "the use of metaspace",
                "its counters stand still until the first collection",
                f"pellucid gc {pid} --ask  (asks the JVM itself)",
            ),
        )
    return CollectorReport(
        process=_named(process, counters),
        taken_at=time.time(),
        gaps=gaps,
        generations=found.generations,
        collections=found.collections,
        collector=found,
        share=found.time_s / found.at_s if found.at_s > 0 else 0.0,
        log=_log(pid, counters),
    )


def _log(pid: int, counters: Counters) -> str:
    """The log that it has open, as we can read it; "" where it writes none."""
    if "-Xlog" not in (options := " ".join(text(counters, name) for name in ("java.rt.vmFlags", "java.rt.vmArgs"))):
        return ""
    from pellucid.observe.gc_log import of_process  # only where there is one

    path = of_process(pid, options)
    if path is None:
        return ""
    plain = path.partition("/root")[2]
    try:
        return plain if os.path.samefile(plain, path) else path
    except OSError:
        return path


def ask_heap_info(pid: int, found: Collector) -> tuple[Collector, tuple[Gap, ...]]:
    """The same with what the JVM says to GC.heap_info; a gap where it says nothing."""
    from pellucid.runtimes.jvm.attach import Attach  # asks the JVM: not needed for the counters

    try:
        with Attach(pid, "gc") as attach:
            answer = attach.ask("jcmd", "GC.heap_info")
    except LookError as error:
        return found, (Gap("the use of the heap at this moment", error.said, error.remedy),)
    return with_heap_info(found, answer.text), ()


def _named(process: Process, counters: Counters) -> Process:
    version = text(counters, "java.property.java.version")
    return replace(process, runtime=f"HotSpot {version}".rstrip())


class Watch:
    """The counters of one JVM, read again and again. `points`: what each full collection left in the old generation."""

    def __init__(self, pid: int) -> None:
        self.process = procfs.process(pid)
        self._data = PerfData(pid)
        counters = self._data.read()
        self.process = _named(self.process, counters)
        self.first = self.last = self._collector(counters)
        self.began = time.monotonic()
        self.points: list[tuple[float, float]] = []
        self.samples: list[Collector] = [self.first]
        self.ended = False
        if self.first.count("full") and self.first.old is not None and not self.first.cause:
            self.points.append((self.first.at_s, float(self.first.old.used)))

    def rows(
        self, interval_s: float, seconds: float | None, pause: Callable[[float], None] = time.sleep
    ) -> Iterator[Collector]:
        """A reading each `interval_s`, for `seconds` or until the process ends."""
        due = self.began + interval_s
        end = self.began + seconds if seconds is not None else None
        while end is None or time.monotonic() < end:
            pause(STEP_S)
            if not self._read():
                self.ended = True
                yield self.last
                return
            now = time.monotonic()
            if now >= due:
                due = max(due + interval_s, now)
                if len(self.samples) < MOST_KEPT:
                    self.samples.append(self.last)
                yield self.last

    def _collector(self, counters: Counters) -> Collector:
        return collector(counters, time.time() - self.process.started_at)

    def _read(self) -> bool:
        """False when the process has ended; the file of its counters is then what it last said."""
        alive = _alive(self.process)
        try:
            counters = self._data.read()
        except NoSuchProcess:
            return False
        found = self._collector(counters)
        if found.count("full") > self.last.count("full") and found.old is not None and len(self.points) < MOST_KEPT:
            self.points.append((found.at_s, float(found.old.used)))
        self.last = found
        return alive

    def report(self) -> CollectorWatchReport:
        """What was seen so far."""
        last, span = self.last, self.last.at_s - self.first.at_s
        return CollectorWatchReport(
            process=self.process,
            taken_at=time.time(),
            gaps=(),
            generations=last.generations,
            collections=last.collections,
            collector=last,
            share=(last.time_s - self.first.time_s) / span if span > 0 else 0.0,
            samples=tuple(self.samples),
            floor_points=tuple(self.points),
            span_s=span,
            ended=self.ended,
        )

    def close(self) -> None:
        self._data.close()


def _alive(process: Process) -> bool:
    """It is there, and not only waits to be collected by its parent."""
    try:
        seen = procfs.stat(process.pid)
    except NoSuchProcess:
        return False
    return seen.start_ticks == process.start_ticks and seen.letter not in "ZX"
