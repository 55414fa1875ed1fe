"""The screen of `pellucid gc PID` of a JVM, and the lines of `--watch`."""

from collections.abc import Iterator

from msgspec.structs import replace

from pellucid.diagnose import words
from pellucid.diagnose.floor import floor
from pellucid.diagnose.sizes import size
from pellucid.model.collector import Collector, Generation
from pellucid.model.collector_report import CollectorReport, CollectorWatchReport
from pellucid.present.cli import plain, screen

_WIDTH = 24


def show(pid: int, *, as_json: bool, ask: bool) -> int:
    """Look once and print."""
    from pellucid.observe.jvm_collector import report

    found = report(pid, asked=ask)
    if as_json:
        plain.emit(found)
        return 0
    for line in lines(found):
        screen.say(line)
    return 0


def lines(report: CollectorReport) -> Iterator[str]:
    """The whole screen, without colour."""
    seen = report.collector
    yield _head(report)
    width = max(len(space.name) for one in seen.generations for space in one.spaces) + 4
    for one in seen.generations:
        yield f"{one.name:<{width}} {_use(one.used, one.capacity)}{_limit(one)}"
        if len(one.spaces) > 1:
            for space in one.spaces:
                if space.capacity:
                    yield f"  {screen.printable(space.name):<{width - 2}} {_use(space.used, space.capacity)}"
    if seen.metaspace is not None:
        meta = seen.metaspace
        classes = f", of it classes {size(meta.class_used)}" if meta.class_used else ""
        yield f"{'metaspace':<{width}} {_use(meta.used, meta.capacity)}{classes}"
    if seen.heap_used is not None:
        yield f"{'heap now':<{width}} {size(seen.heap_used)} (the JVM was asked)"
    runs = " · ".join(
        f"{one.kind} {one.count}" + (f" ({words.duration(one.time_s)})" if one.count else "")
        for one in seen.collections
    )
    yield f"collections: {runs}; together {100 * report.share:.1f} % of {words.duration(seen.at_s)}"
    if seen.cause:
        yield screen.printable(f"it collects at this moment: {seen.cause}")
    elif seen.last_cause:
        yield screen.printable(f"the last one: {seen.last_cause}; what is used is told as of then")
    else:
        yield "no collection yet: what is used is told as of the last time that the JVM counted"
    more = []
    if seen.threads is not None:
        more.append(f"{seen.threads} threads")
    if seen.classes is not None:
        gone = f" ({seen.classes_unloaded} unloaded)" if seen.classes_unloaded else ""
        more.append(f"{seen.classes} classes{gone}")
    if seen.safepoints is not None and seen.safepoints.count:
        more.append(
            f"stopped {seen.safepoints.count} times for {words.duration(seen.safepoints.time_s)} in all (safepoints)"
        )
    if more:
        yield " · ".join(more)
    if report.log:
        yield screen.printable(f"it writes a log: pellucid gc {report.log}")
    yield from screen.gaps(report.gaps)


def _head(report: CollectorReport) -> str:
    process, seen = report.process, report.collector
    assert process is not None
    limit = f" · at most {size(seen.heap_limit)} of heap" if seen.heap_limit else ""
    return screen.printable(f"pid {process.pid} {words.command(process, 60)} · {process.runtime} · {seen.name}{limit}")


def _use(used: int, capacity: int) -> str:
    share = used / capacity if capacity else 0.0
    full = min(_WIDTH, round(share * _WIDTH))
    return f"{size(used):>10} of {size(capacity):>10}  {'█' * full}{'░' * (_WIDTH - full)} {100 * share:3.0f} %"


def _limit(one: Generation) -> str:
    return f"  (may grow to {size(one.limit)})" if one.limit and one.limit > one.capacity else ""


def watched(pid: int, *, as_json: bool, seconds: float | None, interval_s: float) -> int:
    """Watch and print, until the time is over, the process ends, or Ctrl-C."""
    from pellucid.observe.jvm_collector import Watch

    watch = Watch(pid)
    try:
        if not as_json:
            first = watch.report()
            screen.say(_head(first), bold=True)
            screen.say(_TITLES, bold=True)
        before = watch.first
        try:
            for now in watch.rows(interval_s, seconds):
                if not as_json:
                    screen.say(row(before, now))
                before = now
        except KeyboardInterrupt:
            if not as_json:
                screen.say()
        found = with_verdict(watch.report())
    finally:
        watch.close()
    if as_json:
        plain.emit(found)
        return 0
    for line in ending(found):
        screen.say(line)
    return 0


_TITLES = f"{'at':>9}  {'young':>10}  {'old':>10}  {'of old':>6}  {'metaspace':>10}  {'young gc':>8}  {'full gc':>7}  {'in gc':>6}  cause"


def row(before: Collector, now: Collector) -> str:
    """One line: the use now, and what was collected since `before`."""
    young, old, meta = now.generation("young"), now.old, now.metaspace
    span = now.at_s - before.at_s
    share = 100 * (now.time_s - before.time_s) / span if span > 0 else 0.0
    cells = (
        f"{now.at_s:8.1f}s",
        f"{size(young.used) if young else '-':>10}",
        f"{size(old.used) if old else '-':>10}",
        f"{100 * old.used / old.capacity if old and old.capacity else 0:5.0f}%",
        f"{size(meta.used) if meta else '-':>10}",
        f"{'+' + str(now.count('young') - before.count('young')):>8}",
        f"{'+' + str(now.count('full') - before.count('full')):>7}",
        f"{min(share, 100):5.1f}%",
        now.cause or now.last_cause,
    )
    return screen.printable("  ".join(cells))


def with_verdict(report: CollectorWatchReport) -> CollectorWatchReport:
    old = report.collector.old
    limit = (old.limit or old.capacity) if old else None
    return replace(report, verdict=floor(report.floor_points, limit).sentence)


def ending(report: CollectorWatchReport) -> Iterator[str]:
    """The last lines of a watch."""
    if report.ended:
        yield "the process has ended: the last line is what it had counted by then"
    yield f"{100 * report.share:.1f} % of {words.duration(report.span_s)} went into collections"
    yield f"old generation: {report.verdict}"
