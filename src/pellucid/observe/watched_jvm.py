"""The collections of a JVM while it is watched: by its counters, which ask nothing of it, and by the log that it writes, where it writes one."""

import time

from pellucid.kernel.maps import mapped
from pellucid.model import Gap, Process
from pellucid.model.collector import Collector, JvmWatched
from pellucid.model.errors import LookError, NotUnderstood
from pellucid.observe.window import Seen, Window

_EVERY_S = 0.05
_HUMONGOUS = "G1 Humongous Allocation"
_MOST_LOG = 1 << 26
"""Bytes of a log that are read beside a look."""


def watch(process: Process, window: Window) -> Seen:
    """Nothing of a process that is no JVM. Raises NoSuchProcess, NotPermitted."""
    if not mapped(process.pid, "/libjvm.so"):
        return Seen(None)
    from pellucid.runtimes.jvm.collector import collector, text
    from pellucid.runtimes.jvm.perfdata import PerfData

    try:
        data = PerfData(process.pid, "why")
    except NotUnderstood as error:
        return Seen(None, (Gap("the collections of the JVM", error.said, error.remedy),))
    began = time.monotonic()
    try:
        counters = data.read()
        first = last = collector(counters, time.time() - process.started_at)
        points: list[tuple[float, float]] = _point(first) if first.count("full") else []
        humongous = int(first.last_cause == _HUMONGOUS)
        while window.wait(_EVERY_S):
            now = collector(data.read(), time.time() - process.started_at)
            if now.count("full") > last.count("full"):
                points += _point(now)
            if now.time_s > last.time_s and now.last_cause == _HUMONGOUS:
                humongous += 1
            last = now
    finally:
        data.close()
    options = " ".join(text(counters, name) for name in ("java.rt.vmFlags", "java.rt.vmArgs"))
    seen = JvmWatched(time.monotonic() - began, first, last, tuple(points), humongous=humongous)
    return Seen(_with_log(process.pid, options, seen))


def _point(now: Collector) -> list[tuple[float, float]]:
    return [(now.at_s, float(now.old.used))] if now.old is not None else []


def _with_log(pid: int, options: str, seen: JvmWatched) -> JvmWatched:
    """What the log says of all its life, where there is one that is no smaller story than what was seen."""
    import os

    from msgspec.structs import replace

    from pellucid.observe.gc_log import left_by_whole_collections, of_process, read

    path = of_process(pid, options)
    try:
        if path is None or os.stat(path).st_size > _MOST_LOG:
            return seen
        log = read(path)
    except (LookError, OSError):
        return seen
    points, what = left_by_whole_collections(log)
    if len(points) < len(seen.points):
        return seen
    causes = sum(1 for event in log.events if event.cause == _HUMONGOUS)
    return replace(seen, points=points, points_of=what, log=path.partition("/root")[2] or path, humongous=causes)
