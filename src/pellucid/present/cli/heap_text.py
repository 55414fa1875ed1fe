"""The text of `pellucid heap`: how much of the memory is explained, then the table, then who holds it."""

from pellucid.diagnose import heap as told
from pellucid.diagnose.sizes import size
from pellucid.model import Process
from pellucid.model.heap import HeapDiffReport, HeapReport
from pellucid.present.cli import screen

_NUMBERS = frozenset({0, 1, 2})


def show(report: HeapReport, most: int) -> None:
    """One look."""
    if report.process is not None:
        screen.say(_process(report.process), bold=True)
    census = report.census
    screen.say(screen.printable(told.coverage(census)))
    if census.paused_s is not None:
        screen.say(
            f"it stood still for {1000 * census.paused_s:.0f} ms while {size(census.copied_bytes)} were copied",
            dim=True,
        )
    else:
        screen.say("it was not paused: what it changed meanwhile is uncertain, above all who holds what", dim=True)
    screen.say()
    total = max(report.total_bytes, 1)
    rows = [(f"{row.count:,}", f"{row.bytes:,}", f"{row.bytes / total:.0%}", row.type) for row in report.types[:most]]
    screen.table(("count", "bytes", "share", "type"), rows, right=_NUMBERS)
    rest = report.types[most:]
    if rest:
        screen.say(
            f"and {len(rest):,} more types, {size(sum(row.bytes for row in rest))} (-n shows more rows)", dim=True
        )
    if report.suspects or report.notes:
        screen.say()
    for suspect in report.suspects:
        screen.say(screen.printable(suspect.sentence), bold=True)
    for note in report.notes:
        screen.say(screen.printable(note.sentence))
    if report.suspects:
        pid = report.process.pid if report.process else "PID"
        screen.say(f"one look can't tell whether that grows: pellucid heap {pid} --every 30", dim=True)
    _gaps(report)


def show_growth(report: HeapDiffReport, most: int) -> None:
    """Two looks, or several."""
    if report.process is not None:
        screen.say(_process(report.process), bold=True)
    screen.say(told.span(report))
    screen.say()
    grown = [row for row in report.types if row.grown_count or row.grown_bytes][:most]
    if not grown:
        screen.say("nothing grew")
    else:
        rows = [
            (f"{row.grown_count:+,}", f"{row.grown_bytes:+,}", f"{row.count:,}", f"{row.bytes:,}", row.type)
            for row in grown
        ]
        screen.table(("grown", "bytes", "count now", "bytes now", "type"), rows, right=frozenset({0, 1, 2, 3}))
        screen.say()
    for suspect in report.suspects:
        screen.say(screen.printable(suspect.sentence), bold=True)
    if not report.suspects:
        several = len(report.looks) > 2
        screen.say(
            "no holder grew in each interval as in the one before: more looks tell whether that is a leak (--looks 6)"
            if several and grown
            else "no sign of a leak of Python objects"
            if several
            else "no single holder accounts for the growth"
        )
    elif len(report.looks) == 2 and report.process is not None:
        screen.say(f"a third look can tell: pellucid heap {report.process.pid} --every 30", dim=True)
    if missing := told.elsewhere(report):
        screen.say(missing)
    _gaps(report)


def interval(report: HeapDiffReport) -> str:
    """One line after each look of a series."""
    return f"look {len(report.looks)}: {told.span(report)}"


def _process(process: Process) -> str:
    command = " ".join(process.command)[:70] or process.name
    runtime = f" · {process.runtime}" if process.runtime else ""
    return screen.printable(f"pid {process.pid} {command}{runtime}")


def _gaps(report: HeapReport | HeapDiffReport) -> None:
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)
