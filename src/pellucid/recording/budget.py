"""What the recorder uses, and how often it may tick: ticks that would take too much come less often."""

import time

from pellucid.model.recording import RecorderCost
from pellucid.recording.store import Store

MOST_SHARE = 0.0045
"""Of a core, for each process: what all of it may cost before ticks become rarer."""
OTHERS_SHARE = 0.0017
"""Of that, at most, for longer looks and the disk, which have limits of their own (`looks.KINDS`) but for their beginning."""
LEAST_HZ = 1.0
_FASTER = 1.5
"""The largest step back to the rate that was asked for."""
_FULL = 0.95


class Budget:
    """`interval_s` between ticks; `total` so far. All of it is asked by the thread that ticks."""

    def __init__(self, rate_hz: float) -> None:
        self.interval_s = self._least_s = 1 / rate_hz
        self.total = RecorderCost(0.0, 0.0, 0.0, 0, 0)
        self.begin()

    def begin(self) -> None:
        """What was used until now was the start, which does not count."""
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()
        self._adapted = time.monotonic(), time.thread_time(), time.process_time()

    def account(self, store: Store, processes: int, taken: int, missed: int) -> None:
        """Write what was used since the last time, for so many ticks that were taken and missed."""
        cpu_s, now = time.process_time(), time.monotonic()
        wall_s, used_s = now - self._wall_s, cpu_s - self._cpu_s
        self._cpu_s, self._wall_s = cpu_s, now
        total, count = self.total, max(1, processes)
        self.total = RecorderCost(
            total.wall_s + wall_s,
            total.cpu_s + used_s,
            (total.processes * total.wall_s + count * wall_s) / max(1e-9, total.wall_s + wall_s),
            total.samples + taken * processes,
            total.missed + missed,
            store.lost,
        )
        row = (wall_s, used_s, count, taken * processes, missed, self.total.lost - total.lost)
        store.add("INSERT OR REPLACE INTO cost VALUES (?, ?, ?, ?, ?, ?, ?, ?)", store.segment, time.time(), *row)

    def adapt(self, processes: int) -> bool:
        """Let ticks become rarer where all of it costs too much, and again more frequent where it would not; whether they have."""
        before, (wall_s, main_s, all_s) = self.interval_s, self._adapted
        self._adapted = time.monotonic(), time.thread_time(), time.process_time()
        whole = (self._adapted[0] - wall_s) * max(1, processes)
        share, others = (self._adapted[1] - main_s) / whole, (self._adapted[2] - all_s) / whole
        room = MOST_SHARE - min(OTHERS_SHARE, others - share)
        used = share / (_FULL * room)
        if share > room or used < _FULL:  # what each second takes beside the ticks makes the step a careful one
            self.interval_s *= max(1 / _FASTER, used)
        self.interval_s = min(max(self.interval_s, self._least_s), max(1 / LEAST_HZ, self._least_s))
        return self.interval_s != before
