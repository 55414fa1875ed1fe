"""What a log of collections tells: each event, and the sums of all."""

from typing import Literal

from msgspec import Struct

from pellucid.model.report import Report

EventKind = Literal["young", "mixed", "full", "pause", "cycle"]
"""young, mixed (G1: young and a part of old), full (everything, stopped), pause (of a concurrent cycle), cycle (of ZGC, Shenandoah: not stopped)."""


class LogEvent(Struct, frozen=True):
    """`at_s`: since the JVM's start, or since the log's first line; None where lines carry no time. Bytes are None where not told.

    `observer`: a tool asked for it (a histogram or dump of live objects), so that it is no sign of the program. `promoted`: bytes that went to
    the old generation.
    """

    kind: EventKind
    at_s: float | None
    pause_s: float
    cause: str = ""
    before: int | None = None
    after: int | None = None
    capacity: int | None = None
    promoted: int | None = None
    observer: bool = False


class Pauses(Struct, frozen=True):
    """Of one kind, or of all: seconds."""

    kind: str
    count: int
    total_s: float
    median_s: float
    p99_s: float
    max_s: float


class GcLogReport(Report, frozen=True, kw_only=True):
    """`gc LOG`. `throughput`: the share of `span_s` in which the program was not stopped. Rates are bytes a second; None where the log lacks
    what they are made of. `points`: (seconds, bytes left) after collections of all of the heap, on which `verdict` rests.
    """

    files: tuple[str, ...]
    format: str
    collector: str
    events: tuple[LogEvent, ...]
    pauses: tuple[Pauses, ...]
    causes: dict[str, int]
    span_s: float | None
    throughput: float | None
    allocation_rate: float | None
    promotion_rate: float | None
    points: tuple[tuple[float, float], ...]
    points_of: str
    verdict: str
    verdict_kind: str
    troubles: dict[str, int]
    """Lines that tell of distress, by what they say: allocation stalls, to-space exhausted, humongous allocations."""
    lines: int
    capacity: int | None
    limit: int | None = None
    """-Xmx, where the log has it; `capacity` is how large the heap was at the end."""
