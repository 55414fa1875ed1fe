"""A slow walk over all Python processes: one quick look at a time, for a fixed share of one CPU, so that a screen knows who needs somebody.

    credit grows by `share` seconds a second  →  the process that was looked at longest ago  →  what its look cost is taken off the credit

A JVM is not asked: its stacks cost it a stop (`pellucid why PID` does that). What was found stands until the next look at that process.
"""

import threading
import time
from collections.abc import Mapping

from msgspec import Struct

from pellucid.model.errors import PellucidError
from pellucid.present.view import told
from pellucid.present.view.rows import Row

SHARE = 0.003
"""Of one CPU."""
BEGIN_S = 3.0
"""CPU seconds that may be spent at once in the beginning, so that the first walk is over soon."""
SOON_S = 15.0
"""No process is looked at more often."""
NEVER_S = 1e9
"""The age of a look that was never made."""
_STEP_S = 0.5


class Looked(Struct, frozen=True):
    """What one look found. `why_not`: it could not be looked at."""

    pid: int
    started_at: float
    at: float
    findings: tuple[told.Told, ...]
    cpu_s: float
    why_not: told.Failed | None = None

    @property
    def worst(self) -> str:
        """The severity of the first finding, "" without one."""
        return self.findings[0].severity if self.findings else ""


class Scan:
    """Runs in a thread of its own between `start` and `stop`."""

    def __init__(self, share: float = SHARE, begin_s: float = BEGIN_S) -> None:
        self.share = share
        self.found: dict[int, Looked] = {}
        """By pid; replaced, never changed: any thread may read it."""
        self.looks = 0
        self._credit = begin_s
        self._rows: Mapping[int, Row] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scan", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def rows(self, rows: Mapping[int, Row]) -> None:
        """Who is there now; what was found of those that are gone is forgotten."""
        self._rows = rows
        if any(_gone(one, rows) for one in self.found.values()):
            self.found = {pid: one for pid, one in self.found.items() if not _gone(one, rows)}

    def _run(self) -> None:
        # Not at a lower priority: while it waits for a CPU it may have the GIL, for which whoever draws the screen would wait too.
        last = time.monotonic()
        while not self._ended.wait(0.0 if self._credit > 0 and self._next() is not None else _STEP_S):
            now = time.monotonic()
            self._credit = min(BEGIN_S, self._credit + (now - last) * self.share)
            last = now
            row = self._next() if self._credit > 0 else None
            if row is not None:
                self._look(row)

    def _next(self) -> Row | None:
        """Whoever was never looked at, the newest first, then whoever was longest ago; those in trouble sooner."""
        now = time.time()
        due = [(self._age(row, now), row.started_at, row) for row in tuple(self._rows.values()) if _wanted(row)]
        age, _, row = max(due, key=lambda one: one[:2], default=(0.0, 0.0, None))
        return row if age >= SOON_S else None

    def _age(self, row: Row, now: float) -> float:
        before = self.found.get(row.pid)
        if before is None or before.started_at != row.started_at:
            return NEVER_S
        return (now - before.at) * (3 if before.worst in {"critical", "warning"} else 1)

    def _look(self, row: Row) -> None:
        from pellucid.diagnose.engine import diagnose
        from pellucid.observe.snapshot import snapshot

        cpu = time.thread_time()
        findings: tuple[told.Told, ...] = ()
        why_not = None
        try:
            findings = tuple(map(told.told, diagnose(snapshot(row.pid, alone=True, ask=False))))
        except PellucidError as error:
            why_not = told.failed(error)
        spent = time.thread_time() - cpu
        self._credit -= spent
        self.looks += 1
        self.found = {**self.found, row.pid: Looked(row.pid, row.started_at, time.time(), findings, spent, why_not)}


def _wanted(row: Row) -> bool:
    return row.runtime.startswith("Python")


def _gone(one: Looked, rows: Mapping[int, Row]) -> bool:
    row = rows.get(one.pid)
    return row is None or row.started_at != one.started_at
