"""The text of `pellucid heap` for a JVM: the histogram, then who holds what, by which way."""

import sys
import time

from pellucid.diagnose import words
from pellucid.diagnose.heap_jvm import hint, told, way
from pellucid.diagnose.sizes import size
from pellucid.model.heap_jvm import JavaHeapDiffReport, JavaHeapReport, JavaObjectsReport
from pellucid.present.cli import plain, screen

_RIGHT = frozenset({0, 1, 2})


ROWS = 15
"""Of the table, unless told otherwise."""


def show(target: str, *, as_json: bool) -> int | None:
    """`heap PID`; None where it is no JVM that is meant, and nothing was done."""
    if not (target.isascii() and target.isdigit()):
        return None
    from pellucid.observe.identity import info_runtime

    if info_runtime(int(target)) != "JVM":
        return None
    return process(int(target), live=False, as_json=as_json, most=ROWS)


def process(pid: int, *, live: bool, as_json: bool, most: int) -> int:
    """`heap PID`: the JVM's own histogram."""
    from pellucid.observe.jvm_heap import of_pid

    if live:
        _progress("the JVM makes a full collection first, with all its threads stopped (--live)")
    _print(of_pid(pid, live=live), as_json=as_json, most=most)
    return 0


def file(path: str, *, as_json: bool, most: int, quick: bool = False) -> int:
    """`heap FILE.hprof`."""
    from pellucid.observe.jvm_dump import of_file

    _print(told(of_file(path, told=_progress, suspects=not quick)), as_json=as_json, most=most)
    return 0


def dump(pid: int, path: str, *, live: bool, force: bool, as_json: bool, most: int) -> int:
    """`heap PID --save FILE.hprof`: the JVM writes a dump of itself, and it is read."""
    from pellucid.observe.jvm_heap import dump_of_pid

    _progress("the JVM stands still while it writes the dump")
    where = dump_of_pid(pid, path, live=live, force=force)
    _progress(f"written to {path}")
    return file(where, as_json=as_json, most=most)


def objects(path: str, *, type_name: str | None, object_id: str | None, values: bool, as_json: bool) -> int:
    """`heap FILE.hprof --type NAME` and `--object ID`."""
    from pellucid.observe.jvm_dump import objects as found

    report = found(path, type_name=type_name, object_id=object_id, values=values, told=_progress)
    if as_json:
        plain.emit(report)
        return 0
    _objects(report)
    return 0


def series(pid: int, seconds: float, looks: int, *, live: bool, as_json: bool, most: int) -> int:
    """`heap PID --every SECONDS`: the JVM's own histogram again and again, and what grew from the first to the last."""
    from pellucid.model.errors import NoSuchProcess
    from pellucid.observe.jvm_heap import grown, of_pid

    first = last = of_pid(pid, live=live)
    for number in range(2, looks + 1):
        try:
            time.sleep(seconds)
            last = of_pid(pid, live=live)
        except KeyboardInterrupt:
            break
        except NoSuchProcess:
            screen.say("the process has ended: what was seen until then is told", dim=True)
            break
        _progress(f"look {number} of {looks}: {last.total_bytes - first.total_bytes:+,} bytes")
    report = grown(first, last, ("first look", "last look"))
    if as_json:
        plain.emit(report)
        return 0
    _diff(report, most)
    if not live:
        screen.say(
            "what is free to go is counted too; --live collects before each look, and stops the JVM for it", dim=True
        )
    return 0


def diff(before: str, after: str, *, as_json: bool, most: int) -> int:
    """`heap diff A.hprof B.hprof`."""
    from pellucid.observe.jvm_dump import diff as compared

    report = compared(before, after, told=_progress)
    if as_json:
        plain.emit(report)
        return 0
    _diff(report, most)
    return 0


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(screen.printable(text), file=sys.stderr, flush=True)


def _print(report: JavaHeapReport, *, as_json: bool, most: int) -> None:
    if as_json:
        plain.emit(report)
        return
    screen.say(screen.printable(_head(report)), bold=True)
    screen.say()
    total = max(report.total_bytes, 1)
    rows = [(f"{row.count:,}", f"{row.bytes:,}", f"{row.bytes / total:.0%}", row.type) for row in report.types[:most]]
    screen.table(("count", "bytes", "share", "type"), rows, right=_RIGHT)
    rest = report.types[most:]
    if rest:
        screen.say(
            f"and {len(rest):,} more types, {size(sum(row.bytes for row in rest))} (-n shows more rows)", dim=True
        )
    for suspect in report.suspects:
        screen.say()
        screen.say(screen.printable(suspect.sentence), bold=True)
        more = hint(suspect)
        if more:
            screen.say(screen.printable(more))
    screen.say()
    for line in _footing(report):
        screen.say(screen.printable(line), dim=True)
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)


def _head(report: JavaHeapReport) -> str:
    if report.process is not None:
        seen = report.process
        return f"pid {seen.pid} {words.command(seen, 60)} · {seen.runtime} · {report.objects:,} objects, {size(report.total_bytes)}"
    reach = ""
    if report.reachable_bytes is not None:
        rest = report.total_bytes - report.reachable_bytes
        reach = f", of them {size(rest)} that no root reaches" if rest > 0 else ""
    return f"{report.file} · {report.objects:,} objects, {size(report.total_bytes)}{reach}"


def _footing(report: JavaHeapReport) -> list[str]:
    if report.asked:
        assert report.process is not None
        stopped = report.took_s.get("stopped")
        stood = f"; its threads stood still for {1000 * stopped:.1f} ms" if stopped is not None else ""
        which = (
            "after a full collection: what is in use"
            if report.collected
            else "without a collection: what is free to go is counted too (--live collects first)"
        )
        return [
            f"told by the JVM itself, {which}{stood}",
            f"who holds it: pellucid heap {report.process.pid} --save heap.hprof",
        ]
    seconds = ", ".join(f"{name} {words.duration(value)}" for name, value in report.took_s.items())
    found = [f"sizes by the layout {report.layout} ({seconds})"]
    if report.reachable_bytes is not None and not report.suspects:
        found.append("no single holder has a tenth of the heap")
    return found


def _objects(report: JavaObjectsReport) -> None:
    screen.say(
        screen.printable(
            f"{report.file} · {report.count:,} objects of that kind, {size(report.total_bytes)} by themselves"
        ),
        bold=True,
    )
    for one in report.objects:
        screen.say()
        screen.say(
            screen.printable(
                f"{one.type} {one.id} · {one.bytes:,} bytes, {size(one.retained_bytes)} with what only it holds"
            ),
            bold=True,
        )
        for field in one.fields:
            screen.say(screen.printable(f"    {field.name} = {field.value}"))
        screen.say(screen.printable(f"    held by: {way(one.way)}"))
        if one.holders:
            screen.say(screen.printable(f"    referred to by: {', '.join(one.holders)}"))
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)


def _diff(report: JavaHeapDiffReport, most: int) -> None:
    screen.say(
        screen.printable(
            f"{report.files[0]} → {report.files[1]} · {report.grown_bytes:+,} bytes in {words.duration(abs(report.span_s))}"
        ),
        bold=True,
    )
    rows = [
        (f"{row.grown_count:+,}", f"{row.grown_bytes:+,}", f"{row.count:,}", row.type)
        for row in report.types
        if row.grown_bytes or row.grown_count
    ][:most]
    if rows:
        screen.table(("grown", "bytes", "count now", "type"), rows, right=_RIGHT)
    else:
        screen.say("nothing grew")
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)
