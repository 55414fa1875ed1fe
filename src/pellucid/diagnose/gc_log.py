"""From the events of a log to what a person asks: how long were the pauses, how fast is memory allocated, does the heap leak?

Throughput is the share of the time in which no pause stood. Allocated between two collections is what the heap had before one beyond what
the one before had left. What tools forced (a histogram of live objects) is left out of the floor: it is no sign of the program.
"""

from collections.abc import Sequence
from typing import Protocol

from pellucid.diagnose.floor import Floor, floor
from pellucid.diagnose.trend import Point
from pellucid.model import Gap
from pellucid.model.gc_log import GcLogReport, LogEvent, Pauses


class Looked(Protocol):
    """What was read: see `runtimes.jvm.gclog.Log`."""

    @property
    def files(self) -> tuple[str, ...]: ...
    @property
    def format(self) -> str: ...
    @property
    def collector(self) -> str: ...
    @property
    def events(self) -> tuple[LogEvent, ...]: ...
    @property
    def troubles(self) -> dict[str, int]: ...
    @property
    def lines(self) -> int: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def first_s(self) -> float | None: ...
    @property
    def last_s(self) -> float | None: ...
    def whole(self) -> tuple[tuple[Point, ...], str]: ...


def report(log: Looked, taken_at: float) -> GcLogReport:
    """The document of `gc LOG`."""
    events = log.events
    span = log.last_s - log.first_s if log.last_s is not None and log.first_s is not None else None
    paused = sum(event.pause_s for event in events)
    capacity = next((event.capacity for event in reversed(events) if event.capacity), None)
    points, what = log.whole()
    verdict = _verdict(points, what, log.limit, capacity, timed=bool(span))
    causes: dict[str, int] = {}
    for event in events:
        if event.kind != "pause":
            causes[event.cause] = causes.get(event.cause, 0) + 1
    gaps = (
        []
        if span
        else [Gap("when each event was", "its lines carry no time: there are no rates, and points lie one apart")]
    )
    return GcLogReport(
        process=None,
        taken_at=taken_at,
        gaps=tuple(gaps) if events else (),
        files=log.files,
        format=log.format,
        collector=log.collector,
        events=events,
        pauses=tuple(_pauses(events)),
        causes=dict(sorted(causes.items(), key=lambda item: -item[1])),
        span_s=span,
        throughput=max(0.0, 1 - paused / span) if span else None,
        allocation_rate=_allocated(events) / span if span else None,
        promotion_rate=_promoted(events, span),
        points=points,
        points_of=what,
        verdict=verdict.sentence,
        verdict_kind=verdict.kind,
        troubles=log.troubles,
        lines=log.lines,
        capacity=capacity,
        limit=log.limit,
    )


def _verdict(points: Sequence[Point], what: str, limit: int | None, capacity: int | None, *, timed: bool) -> Floor:
    """Against -Xmx where the log has it. Else a line tells only how large the heap was then: it may still grow, unless full collections leave it full."""
    if limit is None:
        now = floor(points, capacity, what, timed=timed)
        if now.kind == "full" and what == "full collections":
            return now
    return floor(points, limit, what, timed=timed)


def _pauses(events: Sequence[LogEvent]) -> list[Pauses]:
    found = []
    for kind in ("all", "young", "mixed", "full", "pause"):
        times = sorted(event.pause_s for event in events if event.pause_s > 0 and kind in ("all", event.kind))
        if times:
            found.append(
                Pauses(
                    "concurrent cycle" if kind == "pause" else kind,
                    len(times),
                    sum(times),
                    times[len(times) // 2],
                    times[min(len(times) - 1, int(len(times) * 0.99))],
                    times[-1],
                )
            )
    return found


def _allocated(events: Sequence[LogEvent]) -> int:
    total, left = 0, None
    for event in events:
        if event.before is None or event.after is None:
            continue
        if left is not None:
            total += max(0, event.before - left)
        left = event.after
    return total


def _promoted(events: Sequence[LogEvent], span: float | None) -> float | None:
    told = [event.promoted for event in events if event.promoted is not None]
    return sum(told) / span if told and span else None
