"""Processes that have come since it was last asked, without a look at all that are there.

The kernel gives numbers one after the other (alloc_pid in kernel/pid.c, by idr_alloc_cyclic), and /proc/loadavg ends with the one that was given
last (proc_loadavg(5)): where few were given since, they are asked one by one. Most of them have ended by then, which costs a failed open. Threads
have numbers of the same row: /proc/TID is there though it is not listed, so that `leads` has to tell.
"""

import os
from collections.abc import Iterable

from pellucid.kernel.procfs import read_small

MOST_AT_ONCE = 128
"""So many failed opens cost about as much as to list a /proc of some hundred processes."""


class Newcomers:
    """`pids()` → numbers to look at: of processes and threads, some of which have ended."""

    def __init__(self) -> None:
        self._youngest = 0
        """The number that was given last when it was last asked, 0 before."""
        self._listed: frozenset[int] = frozenset()

    def pids(self) -> Iterable[int]:
        """Each is told once; all that are there at the first call."""
        before, self._youngest = self._youngest, _youngest()
        if 0 < before <= self._youngest <= before + MOST_AT_ONCE:
            return range(before + 1, self._youngest + 1)
        if self._youngest < before:
            self._listed = frozenset()  # the numbers begin again, and what was known by one may be another now
        there = frozenset(int(name) for name in os.listdir("/proc") if name.isdigit())
        found, self._listed = sorted(there - self._listed), there
        return found


def _youngest() -> int:
    return int(read_small("/proc/loadavg", 128).rsplit(None, 1)[-1])


def leads(pid: int) -> bool:
    """It is the number of a process, and not of one of its other threads (Tgid, proc_pid_status(5)). Raises OSError: it has ended."""
    text = read_small(f"/proc/{pid}/status", 1024)
    return f"\nTgid:\t{pid}\n".encode() in text
