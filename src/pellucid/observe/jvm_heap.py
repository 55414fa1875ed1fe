"""The heap of a running JVM, as it tells it: a histogram of its classes, or a dump that it writes into a file (`jvm_dump.py` reads that).

heap PID          inspectheap -all: no collection is forced (`live`: one is, and only what is in use is counted)
"""

import contextlib
import os
import re
import time

from msgspec.structs import replace

from pellucid.kernel import procfs
from pellucid.model.errors import LookError, NoSuchProcess, NotUnderstood, UsageError
from pellucid.model.heap import TypeCount, TypeGrowth
from pellucid.model.heap_jvm import JavaHeapDiffReport, JavaHeapReport
from pellucid.model.thread import JDK

_ROW = re.compile(r"^\s*\d+:\s+(\d+)\s+(\d+)\s+(\S+)(?: \((\S+)\))?$", re.MULTILINE)
_HISTOGRAM_LIMIT_S = 120.0


def of_pid(pid: int, *, live: bool = False) -> JavaHeapReport:
    """The histogram that the JVM counts. Raises what `Attach` raises."""
    from pellucid.runtimes.jvm.attach import Attach

    with Attach(pid, "heap", limit_s=_HISTOGRAM_LIMIT_S) as attach:
        before = _stopped(pid)
        answer = attach.ask("inspectheap", "-live" if live else "-all")
        after = _stopped(pid)
        process = replace(procfs.process(pid), runtime=attach.jvm.name)
    rows = histogram_rows(answer.text)
    if answer.code or not rows:
        raise NotUnderstood(
            pid,
            tried=f"ask the JVM in pid {pid} for its histogram",
            said=f"it answered {answer.code}: {answer.text[:200]!r}",
            remedy=f"pellucid jvm cmd {pid} GC.class_histogram",
        )
    took = {"asked": answer.took_s}
    if before is not None and after is not None:
        took["stopped"] = after - before
    return JavaHeapReport(
        process=process,
        taken_at=time.time(),
        gaps=(),
        types=rows,
        total_bytes=sum(row.bytes for row in rows),
        objects=sum(row.count for row in rows),
        coverage=1.0,
        asked=True,
        collected=live,
        took_s=took,
    )


def _stopped(pid: int) -> float | None:
    """Seconds that its threads have stood still since the start; None where it publishes no counters."""
    from pellucid.runtimes.jvm.collector import collector
    from pellucid.runtimes.jvm.perfdata import PerfData

    try:
        data = PerfData(pid, "heap")
    except LookError:
        return None
    try:
        safepoints = collector(data.read(), 0.0).safepoints
    finally:
        data.close()
    return safepoints.time_s if safepoints is not None else None


def histogram_rows(told: str) -> tuple[TypeCount, ...]:
    """`   1:        108723        3479136  java.util.HashMap$Node (java.base@17)`: the rows of a histogram (KlassInfoTable::print_histo_on)."""
    from pellucid.runtimes.jvm.names import spelt

    return tuple(class_count(spelt(name), int(count), int(bytes_)) for count, bytes_, name, _ in _ROW.findall(told))


def class_count(name: str, count: int, bytes_: int) -> TypeCount:
    """A row of a histogram; `own` where the class is the program's, not the JDK's."""
    package = name.rpartition(".")[0]
    element = name.rstrip("[]")
    own = "." in element or element[:1].isupper()
    return TypeCount(name, package, count, bytes_, own=own and not (element.replace(".", "/") + "/").startswith(JDK))


def dump_of_pid(pid: int, path: str, *, live: bool, force: bool) -> str:
    """Makes the JVM write a dump of itself to `path` and returns where it is. Raises UsageError where that exists or there is no room, and
    what `Attach` raises.

    The JVM writes it, as its own user and in its own file system; under a passing name until it is whole.
    """
    from pellucid.runtimes.jvm.attach import Attach

    path = os.path.abspath(path)
    here, passing = f"/proc/{pid}/root{path}", f"{path}.partial"
    there = f"/proc/{pid}/root{passing}"
    if os.path.lexists(here) and not force:
        raise UsageError(
            tried=f"write {path}", said="it is there already", remedy=f"pellucid heap {pid} --save {path} --force"
        )
    with Attach(pid, "heap", limit_s=600) as attach:
        if not live:
            _has_room(pid, path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(there)
        try:
            answer = attach.ask("dumpheap", passing, "-live" if live else "-all")
        except NoSuchProcess as error:
            if not os.path.exists(passing):
                raise
            said = f"pid {pid} ended while it wrote its dump: {passing} is what it had written"
            raise NoSuchProcess(pid, tried=error.tried, said=said, remedy=f"pellucid heap {passing}") from error
    if answer.code or _WRITTEN not in answer.text or not os.path.exists(there):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(there)  # a part, which would only fill the disk
        raise NotUnderstood(
            pid,
            tried=f"make the JVM in pid {pid} write a dump to {path}",
            said=f"it answered: {' '.join(answer.text.split())[:200]}",
            remedy=f"pellucid heap {pid} --save /tmp/heap.hprof  (a folder with room that the JVM's own user may write to)",
        )
    os.rename(there, here)
    return path if os.path.exists(path) and os.path.samefile(path, here) else here


_WRITTEN = "Heap dump file created"
"""How the answer begins or ends where that is true; its code is 0 also where the disk was full (HeapDumper::dump)."""


def _has_room(pid: int, path: str) -> None:
    """A dump is larger than what is in use of the heap: it would only fill the disk where there is less room than that."""
    used = _used(pid)
    try:
        disk = os.statvfs(f"/proc/{pid}/root{os.path.dirname(path)}")
    except OSError:
        return  # the JVM says why it can't write there
    free = disk.f_bavail * disk.f_frsize
    if used is not None and free < used:
        raise UsageError(
            tried=f"make the JVM in pid {pid} write a dump to {path}",
            said=f"it would have more than {used / 1e6:,.0f} MB, and there is room for {free / 1e6:,.0f} MB",
            remedy=f"pellucid heap {pid} --save OTHER_FOLDER/heap.hprof  (or --live: only what is in use, after a full collection)",
        )


def _used(pid: int) -> int | None:
    """Bytes of the heap in use, as of the last collection; None where it publishes no counters."""
    from pellucid.runtimes.jvm.collector import collector
    from pellucid.runtimes.jvm.perfdata import PerfData

    try:
        data = PerfData(pid, "heap")
    except LookError:
        return None
    try:
        return collector(data.read(), 0.0).used
    finally:
        data.close()


def grown(one: JavaHeapReport, two: JavaHeapReport, names: tuple[str, str]) -> JavaHeapDiffReport:
    """What became more from one histogram to the other, most bytes first."""
    first = {row.type: row for row in one.types}
    rows = []
    for row in two.types:
        before = first.pop(row.type, None)
        count, size = (before.count, before.bytes) if before is not None else (0, 0)
        rows.append(TypeGrowth(row.type, row.own, row.count, row.bytes, row.count - count, row.bytes - size))
    rows += (TypeGrowth(row.type, row.own, 0, 0, -row.count, -row.bytes) for row in first.values())
    rows.sort(key=lambda row: -row.grown_bytes)
    return JavaHeapDiffReport(
        process=two.process,
        taken_at=two.taken_at,
        gaps=tuple(dict.fromkeys((*one.gaps, *two.gaps))),
        types=tuple(rows),
        total_bytes=two.total_bytes,
        grown_bytes=two.total_bytes - one.total_bytes,
        span_s=two.taken_at - one.taken_at,
        files=names,
    )
