"""A recording: what the flight recorder has kept of some processes, and what is told of it.

Times are seconds since the epoch. `key` is the number of a process in its recording: a pid may have been that of several, one after another.
"""

from typing import Literal

from msgspec import Struct

from pellucid.model.finding import Confidence, Finding, Severity
from pellucid.model.gap import Gap
from pellucid.model.process import Process
from pellucid.model.report import Report


class Death(Struct, frozen=True):
    """How a process ended. `status` is what it gave to exit(3), `signal` the name of the one that killed it; None where that is not known.

    `known_by` says who told it, "" where nobody did; `last_look_at` is the moment of the last sample of it.
    """

    at: float
    status: int | None = None
    signal: str | None = None
    dumped: bool = False
    known_by: str = ""
    last_look_at: float | None = None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {self.signal}" + (", core dumped" if self.dumped else "")
        if self.status is not None:
            return f"exited with status {self.status}"
        return "ended; its exit status is not known"


class RecordedProcess(Struct, frozen=True):
    """One process of a recording. `asked`: it was asked for, and is not a child that was followed. `samples` of its stacks are kept."""

    key: int
    process: Process
    asked: bool
    first_at: float
    last_at: float
    death: Death | None = None
    samples: int = 0
    gaps: tuple[Gap, ...] = ()


class Interval(Struct, frozen=True):
    """A finding from the first look that saw it to the last; `ended_at`: the first look that did not, None while it lasts.

    `finding` is as the last look told it.
    """

    key: int
    pid: int
    rule: str
    severity: Severity
    confidence: Confidence
    title: str
    first_at: float
    last_at: float
    ended_at: float | None
    finding: Finding


Measure = Literal[
    "cpu",
    "rss_bytes",
    "anon_bytes",
    "swap_bytes",
    "threads",
    "descriptors",
    "major_faults",
    "collections",
    "collecting",
    "read_calls",
    "write_calls",
    "read_bytes",
    "written_bytes",
    "heap_bytes",
]
"""What a series tells. cpu: cores in use (1.0 is one); collecting: share of the time, 0 to 1; heap_bytes: of a JVM its heap, of Python
what its objects are known to take. Per second: major_faults, collections, read_calls and write_calls (system calls that read or write, of any
kind), read_bytes and written_bytes (from and to disks).
"""


class Series(Struct, frozen=True):
    """One measure of one process over time, in the order of time: `values[n]` at `at[n]`; None where it was not seen.

    Of each step of `step_s` seconds that has several readings the last one stands here.
    """

    key: int
    measure: Measure
    step_s: float
    at: tuple[float, ...]
    values: tuple[float | None, ...]


class RecorderCost(Struct, frozen=True):
    """What the recorder itself used: CPU seconds in `wall_s` seconds, for `processes` on average. `missed`: samples that came too late."""

    wall_s: float
    cpu_s: float
    processes: float
    samples: int
    missed: int
    lost: int = 0
    """Readings that were thrown away, since the disk did not take them in time."""

    @property
    def share(self) -> float:
        """Of a core, per process; 0.005 is half a percent."""
        return self.cpu_s / (self.wall_s * max(1.0, self.processes)) if self.wall_s else 0.0


class Session(Struct, frozen=True):
    """One run of the recorder. `ended_at`: None while it goes on, or where it did not come to its end (a kill, a loss of power)."""

    began_at: float
    last_at: float
    ended_at: float | None
    host: str
    asked: str
    rate_hz: float
    version: str


class CallCounts(Struct, frozen=True):
    """How often a process began each system call since it is recorded, by name."""

    calls: dict[str, int]


class CallCount(Struct, frozen=True):
    """Of one call, in the while that was asked for."""

    name: str
    calls: int
    per_s: float


class CallsReport(Report, frozen=True, kw_only=True):
    """`replay FILE syscalls`: the calls of `seconds`, the most frequent first. Errors and times of calls are not recorded."""

    seconds: float
    summary: tuple[CallCount, ...]


class RecordingReport(Report, frozen=True, kw_only=True):
    """What a recording holds. `first_at` to `last_at` is what is kept of it; older parts made room for newer ones."""

    file: str
    size_bytes: int
    most_bytes: int
    first_at: float
    last_at: float
    sessions: tuple[Session, ...]
    processes: tuple[RecordedProcess, ...]
    findings: tuple[Interval, ...]
    cost: RecorderCost
