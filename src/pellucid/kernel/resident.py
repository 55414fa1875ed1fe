"""Which private, writable memory of a process is really there: the runs of pages that a copy of its heap has to take.

/proc/PID/maps tells the mappings, /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst) one 64-bit word a page: bit 63 says that
it is in memory, bit 62 that it is in swap. A page that is neither was never written to, and holds nothing.
"""

import os
from errno import EACCES, EPERM

import numpy as np
from msgspec import Struct

from pellucid.kernel.maps import Mapping

PAGE = 4096
_JOINED = 16
"""Holes of at most so many pages are copied too: fewer and longer runs are quicker to copy."""

_PRESENT, _SWAPPED = 63, 62
_ENTRIES = 1 << 20  # of pagemap, in one read: 4 GB of memory


class Resident(Struct, frozen=True):
    """`runs`: (first address, end) of each, lowest first. `swapped`: bytes of it that are in swap, and come back when they are read."""

    runs: tuple[tuple[int, int], ...]
    bytes: int
    swapped: int
    whole: bool
    """False where pagemap could not be read: then all of the mappings are taken."""


def resident(pid: int, mappings: tuple[Mapping, ...]) -> Resident:
    """What is there now of the private, writable mappings. Raises OSError when the process has ended."""
    wanted = _joined(mappings)
    try:
        fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (EACCES, EPERM):
            raise
        return Resident(tuple(wanted), sum(end - start for start, end in wanted), 0, whole=False)
    try:
        runs: list[tuple[int, int]] = []
        swapped = 0
        for start, end in wanted:
            for first in range(start, end, _ENTRIES * PAGE):
                found, gone = _pages(fd, first, min(end, first + _ENTRIES * PAGE))
                swapped += gone
                if runs and found and runs[-1][1] == found[0][0]:
                    found[0] = (runs.pop()[0], found[0][1])
                runs += found
    finally:
        os.close(fd)
    return Resident(tuple(runs), sum(end - start for start, end in runs), swapped, whole=True)


def _pages(fd: int, start: int, end: int) -> tuple[list[tuple[int, int]], int]:
    count = (end - start) // PAGE
    words = np.frombuffer(os.pread(fd, 8 * count, start // PAGE * 8), np.uint64)
    return runs_of(words, start)


def runs_of(words: "np.typing.NDArray[np.uint64]", start: int) -> tuple[list[tuple[int, int]], int]:
    """The runs among the pages from `start` on, whose words of pagemap are given, and how many bytes of them are in swap."""
    there = (words >> np.uint64(_SWAPPED)) != 0
    edges = np.flatnonzero(np.diff(np.concatenate(([False], there, [False])).view(np.int8)))
    first, last = edges[::2], edges[1::2]
    if len(first) > 1:
        apart = (first[1:] - last[:-1]) > _JOINED
        first, last = first[np.concatenate(([True], apart))], last[np.concatenate((apart, [True]))]
    runs = [
        (start + PAGE * one, start + PAGE * other) for one, other in zip(first.tolist(), last.tolist(), strict=True)
    ]
    swapped = int(np.count_nonzero((words >> np.uint64(_SWAPPED)) & np.uint64(3) == 1))
    return runs, swapped * PAGE


def _joined(mappings: tuple[Mapping, ...]) -> list[tuple[int, int]]:
    """Private, writable mappings, without those of devices and the kernel's own; neighbours as one."""
    found: list[tuple[int, int]] = []
    for mapping in mappings:
        if not mapping.permissions.startswith("rw") or mapping.permissions[3] != "p":
            continue
        if mapping.path.startswith(("[v", "/dev/", "/memfd:", "/SYSV")):
            continue
        if found and found[-1][1] == mapping.start:
            found[-1] = (found[-1][0], mapping.end)
        else:
            found.append((mapping.start, mapping.end))
    return found
