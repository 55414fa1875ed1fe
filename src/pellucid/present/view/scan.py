"""A slow walk over all Python processes: one quick look at a time, for a fixed share of one CPU, so that a screen knows who needs somebody.

    credit grows by `share` seconds a second  →  the process that was looked at longest ago  →  what its look cost is taken off the credit

The list already tells who has done anything (its CPU time, threads and state, from one small file): who has not is looked at seldom, since
there is nothing new to see, and while no screen is open nobody is. A JVM is not asked: its stacks cost it a stop (`pellucid why PID` does that). What was found stands until the next look at that process.
"""

import threading
import time
from collections.abc import Callable, Mapping

from msgspec import Struct

from pellucid.model.errors import PellucidError
from pellucid.present.view import told
from pellucid.present.view.rows import Row

SHARE = 0.003
"""Of one CPU."""
BEGIN_S = 3.0
"""CPU seconds that may be spent at once on those that were never looked at, or not since somebody began to look again, so that the first walk is
over soon; what is left over fills them up again."""
SPARE_S = 0.05
"""The same for all others: a quiet hour is no reason for a busy minute."""
SOON_S = 15.0
"""No process is looked at more often."""
YOUNG_S = 2.0
"""Who has only just begun is left for later: most of those end before a look at them does."""
SETTLED_S = 60.0
"""Who has used no CPU for so long when it was looked at, and none since, is as it was then..."""
RESTING = 0.125
"""...and its age counts so little."""
_STEP_S = 1.0


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
    """Runs in a thread of its own between `start` and `stop`. `look` makes one look, and says what it cost: another machine is looked at otherwise."""

    def __init__(
        self,
        share: float = SHARE,
        begin_s: float = BEGIN_S,
        young_s: float = YOUNG_S,
        look: Callable[[Row], Looked] | None = None,
    ) -> None:
        self.share = share
        self._young_s = young_s
        self._begin_s = begin_s
        self._make = look or _quick
        self.found: dict[int, Looked] = {}
        """By pid; replaced, never changed: any thread may read it."""
        self.looks = 0
        self._credit, self._advance = 0.0, begin_s
        self._opened_at = 0.0
        """When somebody began to look again."""
        self._rows: Mapping[int, Row] = {}
        self._stirred: dict[int, float] = {}
        """When each was last seen to have done something; replaced with the rows."""
        self._lock = threading.Lock()
        """Of whoever replaces `found`."""
        self._ended = threading.Event()
        self._wanted = threading.Event()
        self._wanted.set()
        self._thread = threading.Thread(target=self._run, name="scan", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._wanted.set()

    def wanted(self, *, by_anybody: bool) -> None:
        """Whether somebody looks at what it finds; else it rests, after the look that is under way."""
        if by_anybody:
            self._wanted.set()
        else:
            self._wanted.clear()

    def rows(self, rows: Mapping[int, Row], at: float | None = None) -> None:
        """Who is there now (or was `at`); what was found of those that are gone is forgotten."""
        now, before = time.time() if at is None else at, self._rows
        stirred = {}
        for pid, row in rows.items():
            known = before.get(pid)
            quiet = known is row or (known is not None and not row.cpu and _same(known, row))
            stirred[pid] = self._stirred.get(pid, now) if quiet else now
        self._stirred, self._rows = stirred, rows
        with self._lock:
            if any(_gone(one, rows) for one in self.found.values()):
                self.found = {pid: one for pid, one in self.found.items() if not _gone(one, rows)}

    def learn(self, looked: Looked) -> None:
        """What somebody else has just seen of a process: it needs no look of ours."""
        with self._lock:
            self.found = {**self.found, looked.pid: looked}

    def _run(self) -> None:
        # Not at a lower priority: while it waits for a CPU it may have the GIL, for which whoever draws the screen would wait too.
        last = time.monotonic()
        pause = 0.0
        while not self._ended.wait(pause):
            if not self._wanted.is_set():
                self._wanted.wait()
                self._opened_at = time.time()
            now = time.monotonic()
            self._earn((now - last) * self.share)
            last = now
            row = self._next(time.time()) if max(self._credit, self._advance) > 0 and not self._ended.is_set() else None
            pause = 0.0 if row is not None and self._spend(row) else _STEP_S

    def _earn(self, seconds: float) -> None:
        credit = self._credit + seconds
        self._credit = min(SPARE_S, credit)
        self._advance = min(self._begin_s, self._advance + credit - self._credit)

    def _spend(self, row: Row) -> bool:
        """Look at it, if that can be paid for; whether it could."""
        from_advance = self._advance > 0 and self._is_news(row)
        if not from_advance and self._credit <= 0:
            return False
        spent = self._look(row)
        if from_advance:
            self._advance -= spent
        else:
            self._credit -= spent
        return True

    def _is_news(self, row: Row) -> bool:
        """It was never looked at; or something has happened in it while nobody looked."""
        before = self.found.get(row.pid)
        if before is None or _other(before, row):
            return True
        return before.at < self._opened_at and before.at < self._stirred.get(row.pid, 0.0)

    def _next(self, now: float) -> Row | None:
        """Whoever was never looked at, mostly the newest, each third time who has been there longest, so that many new ones keep nobody waiting for ever;
        then whoever was longest ago, those in trouble and those that have done something sooner.
        """
        found = self.found
        rows = [row for row in tuple(self._rows.values()) if _readable(row) and now - row.started_at >= self._young_s]
        known = {row.pid: found[row.pid] for row in rows if row.pid in found and not _other(found[row.pid], row)}
        never = [row for row in rows if row.pid not in known]
        if never:
            return (max if self.looks % 3 else min)(never, key=_began)
        ages = [(self._age(known[row.pid], now), row.started_at, row) for row in rows]
        age, _, row = max(ages, key=lambda one: one[:2], default=(0.0, 0.0, None))
        return row if age >= SOON_S else None

    def _age(self, before: Looked, now: float) -> float:
        resting = before.at - self._stirred.get(before.pid, before.at) > SETTLED_S
        return (now - before.at) * (3 if before.worst in {"critical", "warning"} else 1) * (RESTING if resting else 1)

    def _look(self, row: Row) -> float:
        """The CPU seconds that it took."""
        looked = self._make(row)
        self.looks += 1
        self.learn(looked)
        return looked.cpu_s


def _quick(row: Row) -> Looked:
    from pellucid.diagnose.engine import diagnose
    from pellucid.observe.snapshot import snapshot

    cpu = time.thread_time()
    findings: tuple[told.Told, ...] = ()
    why_not = None
    try:
        findings = tuple(map(told.told, diagnose(snapshot(row.pid, alone=True, ask=False))))
    except PellucidError as error:
        why_not = told.failed(error)
    return Looked(row.pid, row.started_at, time.time(), findings, time.thread_time() - cpu, why_not)


def _readable(row: Row) -> bool:
    return row.runtime.startswith("Python")


def _began(row: Row) -> float:
    return row.started_at


def _same(one: Row, other: Row) -> bool:
    return (one.threads, one.state, one.started_at) == (other.threads, other.state, other.started_at)


def _gone(one: Looked, rows: Mapping[int, Row]) -> bool:
    row = rows.get(one.pid)
    return row is None or _other(one, row)


def _other(one: Looked, row: Row) -> bool:
    """Another process has its pid now."""
    return row.started_at != one.started_at
