"""The documents of `gc PID` for a JVM."""

from pellucid.model.collector import Collections, Collector, Generation
from pellucid.model.report import Report


class CollectorReport(Report, frozen=True, kw_only=True):
    """`gc PID` of a JVM. `share`: of the time since its start that went into collections, 0 to 1. `log`: where it writes a log of its own."""

    generations: tuple[Generation, ...]
    collections: tuple[Collections, ...]
    collector: Collector
    share: float
    log: str = ""


class CollectorWatchReport(CollectorReport, frozen=True, kw_only=True):
    """`gc PID --watch`. `share` is that of the time watched, `span_s`; `samples` a reading each interval; `floor_points`: (seconds since
    the start of the JVM, bytes that a full collection left in the old generation). `ended`: the process has ended meanwhile.
    """

    samples: tuple[Collector, ...]
    floor_points: tuple[tuple[float, float], ...]
    span_s: float
    ended: bool
    verdict: str = ""
