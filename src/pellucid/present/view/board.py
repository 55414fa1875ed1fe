"""The whole of a live screen: all processes, their memory over the last hour, what the scan found, and what all of it costs."""

import os
import time
from collections import deque
from collections.abc import Mapping

from msgspec import Struct

from pellucid.observe.listing import Listing, Live
from pellucid.present.view.rows import Row, row
from pellucid.present.view.scan import Scan

HISTORY_S = 3600.0
STEP_S = 15.0
"""Between the points of a memory history: 240 of them in an hour."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Own(Struct, frozen=True):
    """What the screen itself takes: CPU seconds a second since the look before, resident bytes, CPU seconds of the list, looks of the scan."""

    cpu: float
    rss_bytes: int
    list_s: float
    looks: int


class Board:
    """`look()` each time the screen is to be renewed; everything else is to be read."""

    def __init__(self, scan: Scan | None = None) -> None:
        self.scan = scan or Scan()
        self.rows: dict[int, Row] = {}
        self.cpu_s: dict[int, float] = {}
        """CPU seconds since the start of each."""
        self.memory: dict[int, deque[int]] = {}
        """Resident bytes, one number each STEP_S seconds, the newest last."""
        self.own = Own(0.0, 0, 0.0, 0)
        self.at = 0.0
        self.points = 0
        """How many numbers were added to the histories so far."""
        self._listing = Listing()
        self._made: dict[int, tuple[Live, Row]] = {}
        self._remembered = -STEP_S
        self._last = time.monotonic()
        self._cpu = time.process_time()

    def look(self) -> Mapping[int, Row]:
        """The rows by pid. A row that has not changed is the same object as before."""
        began = time.thread_time()
        before = self.rows
        rows, cpu_s = {}, {}
        made_of: dict[int, tuple[Live, Row]] = {}
        for live in self._listing.read():
            pid = live.process.pid
            cpu_s[pid] = live.cpu_s
            last = self._made.get(pid)
            if last is not None and last[0] is live:
                made_of[pid] = last
                rows[pid] = last[1]
                continue
            made = row(live)
            known = before.get(pid)
            rows[pid] = known if known == made else made
            if known is not None and known.started_at != made.started_at:
                self.memory.pop(pid, None)  # another process has its pid now
            made_of[pid] = live, rows[pid]
        self._made = made_of
        self.rows, self.cpu_s = rows, cpu_s
        self.at = time.time()
        self._remember()
        self.scan.rows(rows)
        self._spend(time.thread_time() - began)
        return rows

    def close(self) -> None:
        """Nothing is looked at any more."""
        self.scan.stop()
        self._listing.close()

    def _remember(self) -> None:
        now = time.monotonic()
        if now - self._remembered < STEP_S:
            return
        self._remembered = now
        self.points += 1
        points = int(HISTORY_S / STEP_S)
        self.memory = {pid: _extended(self.memory.get(pid), one.rss_bytes, points) for pid, one in self.rows.items()}

    def _spend(self, list_s: float) -> None:
        now, cpu = time.monotonic(), time.process_time()
        share = (cpu - self._cpu) / (now - self._last) if now > self._last else 0.0
        self._last, self._cpu = now, cpu
        with open("/proc/self/statm", "rb") as statm:
            rss = int(statm.read().split()[1]) * _PAGE
        self.own = Own(round(share, 4), rss, round(list_s, 5), self.scan.looks)


def _extended(points: deque[int] | None, value: int, most: int) -> deque[int]:
    found = points if points is not None else deque(maxlen=most)
    found.append(value)
    return found
