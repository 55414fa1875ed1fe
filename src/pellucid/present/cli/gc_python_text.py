"""The screen of `pellucid gc PID` for Python: what its collector did within the look, and since it began."""

import time

from pellucid.model import Gap, Process
from pellucid.model.gc import Collector, GcReport, GcSeen
from pellucid.present.cli import options, screen

LOOK_S = 1.0
"""Without --watch or -d."""
_FOR_EVER = 86400.0


def show(pid: int, *, as_json: bool, watch: bool, seconds: float | None, interval_s: float) -> int:
    """Look for `seconds` (None: for LOOK_S, with `watch` until Ctrl-C), and print; with `watch` a line each interval before."""
    from pellucid.observe.gc import RECORD_S
    from pellucid.observe.gc import watch as look

    heard = _line if watch and not as_json else _silent
    every_s = interval_s if watch else RECORD_S
    process, seen = look(pid, seconds or (_FOR_EVER if watch else LOOK_S), every_s=every_s, heard=heard)
    made = report(process, seen, time.time())
    if as_json:
        options.emit(made)
    else:
        tell(made)
    return 0


def _silent(*_: object) -> None:
    """Where nobody watches."""


def _line(at_s: float, collector: Collector, share: float) -> None:
    """One moment: collections so far of each generation, survivors, share."""
    done = " ".join(f"gen{one.number} {one.collections:,}" for one in collector.generations)
    lives = collector.heap_objects if collector.heap_objects is not None else collector.long_lived
    alive = f" · {lives:,} objects" if lives is not None else ""
    screen.say(f"{at_s:6.1f} s · {done}{alive} · {100 * share:.1f} % in collections")


def report(process: Process, seen: GcSeen, taken_at: float) -> GcReport:
    """The document behind the screen."""
    from pellucid.diagnose.collector import explain, within

    return GcReport(
        process=process,
        taken_at=taken_at,
        gaps=(Gap("the rest of the time", f"it ended, or became another program, after {seen.seconds:.1f} s"),)
        if seen.ended
        else (),
        runtime=process.runtime or "",
        seconds=seen.seconds,
        collectors=seen.last,
        generations=seen.last[0].generations,
        collections=within(seen),
        share=seen.share,
        share_error=seen.share_error,
        share_by=seen.share_by,
        longest_s=seen.longest_s,
        samples=seen.samples,
        findings=explain(seen),
    )


def tell(report: GcReport) -> None:
    """The screen."""
    from pellucid.diagnose import words

    process = report.process
    assert process is not None
    screen.say(
        screen.printable(
            f"pid {process.pid} {words.command(process, 70)} · {report.runtime} · {report.seconds:.1f} s looked"
        ),
        bold=True,
    )
    screen.findings(report.findings)
    for number, collector in enumerate(report.collectors):
        if len(report.collectors) > 1:
            screen.say(f"interpreter {collector.interpreter}")
        _table(collector, report if number == 0 else None)
        screen.say(_summary(collector))
    error = f" ± {100 * report.share_error:.1f}" if report.share_error else ""
    longest = f"; the longest one seen took {1000 * report.longest_s:.0f} ms or more" if report.longest_s else ""
    screen.say(f"time in collections: {100 * report.share:.1f}{error} % ({report.share_by}){longest}")
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)


def _table(collector: Collector, report: GcReport | None) -> None:
    done = {one.name: one for one in report.collections} if report is not None else {}
    rows = [
        (
            one.name,
            f"{one.count} of {one.threshold}",
            str(one.collections),
            f"+{done[one.name].count}" if one.name in done else "",
            f"{one.collected:,}",
            f"{one.uncollectable:,}",
            "" if one.time_s is None else f"{one.time_s:.3f} s",
        )
        for one in collector.generations
    ]
    screen.table(
        ("", "COUNT", "COLLECTIONS", "NOW", "FREED", "UNCOLLECTABLE", "TIME"), rows, right=frozenset({1, 2, 3, 4, 5, 6})
    )


def _summary(collector: Collector) -> str:
    parts = ["automatic collection is on" if collector.enabled else "automatic collection is off"]
    if collector.long_lived is not None:
        pending = f", {collector.pending:,} wait for their first" if collector.pending else ""
        parts.append(f"{collector.long_lived:,} objects survived the last full collection{pending}")
    if collector.heap_objects is not None:
        parts.append(f"{collector.heap_objects:,} tracked objects live")
    if collector.frozen:
        parts.append(f"{'' if collector.frozen_all else 'more than '}{collector.frozen:,} frozen")
    if collector.garbage:
        parts.append(f"{collector.garbage:,} in gc.garbage")
    if collector.incremental:
        parts.append("the old generation is collected in steps (incremental)")
    return " · ".join(parts)
