"""What Python's collector does: its record at the begin and the end of a look, and between them a flag that is asked a thousand times a second.

The record (collections, thresholds, what survived) is CPython's own. The share of time is not in it before 3.15: it is the share of the
readings of `collecting` that found it set, with the error of such a count. Nothing runs in the process; each reading is four bytes.
"""

import math
import time
from collections.abc import Callable

from pellucid.kernel import procfs
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.model import Process
from pellucid.model.errors import NoSuchProcess, NotUnderstood
from pellucid.model.gc import Collector, CollectorSample, GcSeen
from pellucid.runtimes.cpython.gc_state import states
from pellucid.runtimes.cpython.process import CPython
from pellucid.runtimes.cpython.recognise import attach

POLL_S = 0.001
RECORD_S = 0.25
MAX_SAMPLES = 4096


Heard = Callable[[float, Collector, float], None]
"""Told while it goes on: seconds since the begin, the main interpreter's collector, the share of readings inside of a collection so far."""


def watch(
    pid: int, seconds: float, *, every_s: float = RECORD_S, heard: Heard = lambda *_: None
) -> tuple[Process, GcSeen]:
    """(the process with its runtime, what was seen) in `seconds`, fewer after Ctrl-C or when the process ends. Raises LookErrors.

    The record is read each `every_s` seconds, and told to `heard`.
    """
    with _attached(pid) as python:
        process = procfs.with_runtime(procfs.process(pid), python.name)
        python.read()
        try:
            return process, _watched(python, seconds, every_s, heard)
        except Unreadable:
            raise NoSuchProcess.ended(pid, f"read the collector of pid {pid}") from None


def _attached(pid: int) -> CPython:
    """A refusal names the command that was asked for, and what it was asked."""
    Memory.open(pid, "gc").close()
    try:
        return attach(pid)
    except NotUnderstood as error:
        raise NotUnderstood(
            pid,
            tried=f"find the garbage collector of pid {pid}",
            said=error.said,
            remedy=f"pellucid memory {pid}  (where its bytes are, whatever it runs)",
            found=error.found,
        ) from error


class _Polled:
    """Readings of one flag, how many found it set, and the longest run of those."""

    def __init__(self) -> None:
        self.readings = self.set = self.runs = 0
        self.longest_s = 0.0
        self._since: float | None = None

    def add(self, now: float, *, collecting: bool) -> None:
        self.readings += 1
        if not collecting:
            self._since = None
            return
        self.set += 1
        if self._since is None:
            self._since = now
            self.runs += 1
        self.longest_s = max(self.longest_s, now - self._since)


def _watched(python: CPython, seconds: float, every_s: float, heard: Heard) -> GcSeen:
    each = states(python)
    if not each:
        raise NoSuchProcess.ended(python.memory.pid, "find an interpreter")
    began = time.perf_counter()
    first = tuple(state.read() for state in each)
    polled = _Polled()
    samples = [_sample(first, 0.0)]
    last = first
    now = recorded = began
    ended = False
    try:
        while (now := time.perf_counter()) - began < seconds:
            polled.add(now, collecting=any(state.collecting() for state in each))
            if now - recorded >= every_s:
                recorded = now
                last = tuple(state.read(frozen=False) for state in each)
                if len(samples) < MAX_SAMPLES:
                    samples.append(_sample(last, now - began))
                heard(now - began, last[0], polled.set / polled.readings)
            time.sleep(POLL_S)
        last = tuple(state.read(frozen=False) for state in each)
    except KeyboardInterrupt:
        pass  # what was seen so far is the answer
    except Unreadable:
        if now == began:
            raise
        ended = True
    elapsed = max(time.perf_counter() - began, 1e-9)
    samples.append(_sample(last, elapsed))
    share, error, by = _share(first, last, polled, elapsed)
    return GcSeen(
        pid=python.memory.pid,
        seconds=elapsed,
        first=first,
        last=last,
        samples=tuple(samples),
        share=share,
        share_error=error,
        share_by=by,
        longest_s=polled.longest_s,
        ended=ended,
    )


def _sample(collectors: tuple[Collector, ...], at_s: float) -> CollectorSample:
    main = collectors[0]
    return CollectorSample(at_s, tuple(one.collections for one in main.generations), main.long_lived, main.heap_objects)


def _share(
    first: tuple[Collector, ...],
    last: tuple[Collector, ...],
    polled: _Polled,
    elapsed: float,
) -> tuple[float, float, str]:
    """(share, one standard error, how): by CPython's own count of seconds, else by the readings."""
    spent = [
        after.time_s - before.time_s
        for one, other in zip(first, last, strict=True)
        for before, after in zip(one.generations, other.generations, strict=True)
        if before.time_s is not None and after.time_s is not None
    ]
    running = any(one.collecting for one in last)
    if spent and not running and polled.set <= 2 * polled.readings * max(sum(spent) / elapsed, 0.01):
        return min(1.0, max(0.0, sum(spent)) / elapsed), 0.0, "the seconds that CPython counts itself"
    if not polled.readings:
        return 0.0, 1.0, "not measured: the look was too short"
    share = polled.set / polled.readings
    # Readings within one collection are not independent: as many are as spells of its mean length fit into the look.
    independent = max(1.0, polled.runs / share) if share else polled.readings
    error = math.sqrt(share * (1 - share) / independent) if share else 1 / polled.readings
    return (
        share,
        min(error, 1.0),
        f"{polled.set} of {polled.readings} readings of `collecting` were inside of a collection",
    )
