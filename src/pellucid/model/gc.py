"""The collector of a runtime: its generations, what it did, and how much of the time it took."""

from msgspec import Struct

from pellucid.model.finding import Finding
from pellucid.model.report import Report


class Generation(Struct, frozen=True):
    """One generation of CPython's collector, the youngest is number 0. Numbers since the interpreter began.

    `count` against `threshold`: of the youngest, allocations less deallocations of tracked objects since its last collection; of the
    others, collections of the one below. `time_s` and `candidates` are told by 3.15 and later.
    """

    number: int
    name: str
    threshold: int
    count: int
    collections: int
    collected: int
    uncollectable: int
    time_s: float | None = None
    candidates: int | None = None


class Collector(Struct, frozen=True):
    """The collector of one interpreter at one moment. None where that version does not tell it.

    `long_lived` objects survived the last full collection, `pending` wait for their first (a full one is made when they are more than
    a quarter, 3.13 and before, and 3.14.5 and later). `heap_objects`: tracked objects that live (3.14 and later). `frozen`: objects that
    gc.freeze() took out of all collections, at most `frozen_most` are counted.
    """

    interpreter: int
    enabled: bool
    debug: tuple[str, ...]
    incremental: bool
    """3.14.0 to 3.14.4: the old generation is collected in steps."""
    generations: tuple[Generation, ...]
    collecting: bool
    garbage: int
    """Objects in gc.garbage: found unreachable, and not freed."""
    frozen: int
    frozen_all: bool
    """False where there are more than `frozen`."""
    long_lived: int | None = None
    pending: int | None = None
    heap_objects: int | None = None


class Collections(Struct, frozen=True):
    """What a collector did within a look: `count` collections of generation `name`, `time_s` in them (None: not told by that version)."""

    name: str
    count: int
    time_s: float | None
    collected: int = 0


class CollectorSample(Struct, frozen=True):
    """One moment of a longer look: collections so far, and what survived the last full one."""

    at_s: float
    collections: tuple[int, ...]
    long_lived: int | None
    heap_objects: int | None
    pool_bytes: int | None = None
    """Small-object memory in use."""


class GcSeen(Struct, frozen=True):
    """What the rules of `gc` judge. `share` of the time it was collecting, ± `share_error`; `share_by` says how that was measured."""

    pid: int
    seconds: float
    first: tuple[Collector, ...]
    last: tuple[Collector, ...]
    samples: tuple[CollectorSample, ...]
    share: float
    share_error: float
    share_by: str
    longest_s: float
    """The longest collection that was seen, at least; 0 where none was."""
    ended: bool = False
    """The process ended during the look, or became another program (execve)."""


class GcReport(Report, frozen=True, kw_only=True):
    """`generations` are those of the main interpreter now, `collections` what was done within `seconds`."""

    runtime: str
    seconds: float
    collectors: tuple[Collector, ...]
    generations: tuple[Generation, ...]
    collections: tuple[Collections, ...]
    share: float
    share_error: float
    share_by: str
    longest_s: float
    samples: tuple[CollectorSample, ...]
    findings: tuple[Finding, ...]
