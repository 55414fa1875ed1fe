"""The screen of `pellucid gc LOG`: the pauses, the rates, the heap over time as a chart of characters, and the verdict."""

import os
import time
from collections.abc import Iterator, Sequence

from pellucid.diagnose import words
from pellucid.diagnose.gc_log import report as judged
from pellucid.diagnose.sizes import size
from pellucid.model.errors import UsageError, os_words
from pellucid.model.gc_log import GcLogReport, LogEvent
from pellucid.present.cli import plain, screen

_WIDTH, _HEIGHT = 72, 10
_RIGHT = frozenset({1, 2, 3, 4, 5})


def show(path: str, *, as_json: bool, page: str | None, force: bool) -> int:
    """Read, judge, print; 5 where no line was understood."""
    from pellucid.observe.gc_log import read

    found = judged(read(path), time.time())
    if page is not None:
        _write(page, found, force=force)
    if as_json:
        plain.emit(found)
    else:
        for line in lines(found):
            screen.say(line)
    return 0 if found.events else 5


def _write(path: str, report: GcLogReport, *, force: bool) -> None:
    from pellucid.export.gc_html import encode

    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if force else os.O_EXCL)
        with open(os.open(path, flags, 0o666), "wb") as file:
            file.write(encode(report))
    except OSError as error:
        raise UsageError(
            tried=f"write {path}",
            said=os_words(error),
            remedy="--force overwrites it" if os.path.exists(path) else "another path",
        ) from error


def lines(report: GcLogReport) -> Iterator[str]:
    """The whole screen, without colour."""
    name = report.files[-1] if report.files else "log"
    if len(report.files) > 1:
        name += f" and {len(report.files) - 1} rotated files"
    if not report.events:
        yield screen.printable(f"{name}: none of its {report.lines:,} lines tells of a collection")
        yield "understood are: -Xlog:gc or gc* (JDK 9 and later), -verbosegc and PrintGCDetails (JDK 8), -verbose:gc of OpenJ9"
        return
    span = f" in {words.duration(report.span_s)}" if report.span_s else ""
    yield screen.printable(
        f"{name} · {report.collector or 'collector not told'} · {report.format} · {len(report.events):,} events{span}"
    )
    yield ""
    yield from _table(report)
    yield ""
    if report.throughput is not None:
        yield f"throughput {100 * report.throughput:.1f} % (the rest of the time all threads were stopped)"
    rates = []
    if report.allocation_rate is not None:
        rates.append(f"allocates {size(int(report.allocation_rate))} a second")
    if report.promotion_rate is not None:
        rates.append(f"{size(int(report.promotion_rate))} a second go to the old generation")
    if rates:
        yield ", ".join(rates)
    causes = list(report.causes.items())[:4]
    yield screen.printable("causes: " + ", ".join(f"{cause} {count}" for cause, count in causes))
    for what, count in report.troubles.items():
        yield f"{count} × {what}"
    yield ""
    yield from chart(report.events, report.capacity)
    yield ""
    yield f"verdict: {report.verdict}"
    if report.verdict_kind in {"full", "rising"}:
        yield "next: pellucid heap PID  (which class), then pellucid heap PID --save heap.hprof  (who holds it)"
    yield from screen.gaps(report.gaps)


def _table(report: GcLogReport) -> Iterator[str]:
    head = ("pauses", "count", "total", "median", "99 %", "longest")
    rows = [
        (one.kind, f"{one.count:,}", *(_short(value) for value in (one.total_s, one.median_s, one.p99_s, one.max_s)))
        for one in report.pauses
    ]
    if not rows:
        yield "no pauses are told"
        return
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    for row in [head, *rows]:
        yield "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )


def _short(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def chart(events: Sequence[LogEvent], capacity: int | None) -> Iterator[str]:
    """Columns of time: `█` what collections left, `░` what there was before them."""
    told = [event for event in events if event.after is not None and event.before is not None]
    if len(told) < 2:
        return
    times = [event.at_s for event in told]
    timed = all(at is not None for at in times) and times[-1] != times[0]
    first, last = (times[0] or 0.0, times[-1] or 0.0) if timed else (0.0, float(len(told) - 1))
    low: list[int | None] = [None] * _WIDTH
    high = [0] * _WIDTH
    for number, event in enumerate(told):
        at = (event.at_s or 0.0) if timed else float(number)
        column = min(_WIDTH - 1, max(0, int((at - first) / (last - first) * _WIDTH)))
        after, before = event.after or 0, event.before or 0
        known = low[column]
        low[column] = after if known is None else min(known, after)
        high[column] = max(high[column], before, after)
    for column in range(1, _WIDTH):
        if low[column] is None:
            low[column] = low[column - 1]  # what was left stays until the next collection
    top = max([capacity or 0, *high]) or 1
    for row in range(_HEIGHT, 0, -1):
        level = top * (row - 0.5) / _HEIGHT
        label = size(int(top * row / _HEIGHT)) if row in (_HEIGHT, _HEIGHT // 2) else ""
        yield f"{label:>10} ┤" + "".join(
            " " if low[at] is None else "█" if (low[at] or 0) >= level else "░" if high[at] >= level else " "
            for at in range(_WIDTH)
        )
    begin, end = (words.duration(first), words.duration(last)) if timed else ("first", "last")
    yield f"{'0':>10} └" + "─" * _WIDTH
    yield " " * 12 + begin + end.rjust(_WIDTH - len(begin))
    yield " " * 12 + "█ left by a collection   ░ used before it"
