"""Which pages of a process are in memory or in swap: /proc/PID/pagemap, as stretches of pages that are alike.

The kernel tells it in two ways. PAGEMAP_SCAN (Linux 6.7, Documentation/admin-guide/mm/pagemap.rst) names the stretches, and costs a tenth
of a microsecond a page less; before, one 64-bit word a page is read. A page that is neither in memory nor in swap holds nothing; to read
it would make the kernel map a page of zeros, and to read one in swap would bring it back: so whoever reads foreign memory asks here first.

Two kinds of pages look as if they were there. One that was read and never written to is the kernel's page of zeros: PAGEMAP_SCAN alone
knows it, and it is left out where that is there. A guard page (madvise(2), MADV_GUARD_INSTALL, Linux 6.13; glibc 2.42 puts them below the
stacks of threads) has the bit of one in swap, and can't be read.
"""

import fcntl
import os
import struct
from errno import EINVAL, ENOTTY
from typing import Self

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

PAGE = 4096
_SHIFT = np.uint64(12)
_WORDS = 1 << 19  # of pagemap, in one read: 2 GB of memory

_SCAN = 0xC0606610  # PAGEMAP_SCAN, _IOWR('f', 16, struct pm_scan_arg), include/uapi/linux/fs.h
_ARGUMENT = struct.Struct("12Q")
_FILE, _PRESENT, _SWAPPED, _ZERO, _GUARD = 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 8
_LEFT_OUT = ((_ZERO | _GUARD), _ZERO)  # the second where the kernel is older than the name of guards (6.15)
_REGIONS = 1 << 12  # in one call

Stretches = list[tuple[int, int]]
"""(first address, end) of each, lowest first, at the bounds of pages."""


class Regions(Struct, frozen=True):
    """Pages that are there, lowest first; neighbours that are alike are one. Arrays, one element a region.

    `starts`, `ends`: addresses. `swapped`: it is in swap, not in memory. `anonymous`: in memory, and of no file (only where that was asked for).
    """

    starts: NDArray[np.uint64]
    ends: NDArray[np.uint64]
    swapped: NDArray[np.bool_]
    anonymous: NDArray[np.bool_]


class PageMap:
    """The open page map of one process. A context manager; opening raises OSError."""

    def __init__(self, pid: int) -> None:
        self._fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def regions(self, stretches: Stretches, *, files: bool = False) -> Regions:
        """What is there of `stretches`; `files`: tell pages of files apart, which costs a look at each page. Raises OSError."""
        for left_out in _LEFT_OUT:
            try:
                return self._scanned(stretches, left_out, files=files)
            except OSError as error:
                if error.errno not in (ENOTTY, EINVAL):
                    raise
        return self._read(stretches)

    def _scanned(self, stretches: Stretches, left_out: int, *, files: bool) -> Regions:
        room = np.zeros((_REGIONS, 3), np.uint64)  # struct page_region: start, end, categories
        told = _PRESENT | _SWAPPED | (_FILE if files else 0)
        address = room.ctypes.data
        parts = [room[:0]]
        for start, end in stretches:
            at = start
            while at < end:
                argument = bytearray(
                    _ARGUMENT.pack(
                        _ARGUMENT.size,
                        0,
                        at,
                        end,
                        0,
                        address,
                        _REGIONS,
                        0,
                        left_out,
                        left_out,
                        _PRESENT | _SWAPPED,
                        told,
                    )
                )
                count = fcntl.ioctl(self._fd, _SCAN, argument, True)
                if count:
                    parts.append(room[:count].copy())
                walked = _ARGUMENT.unpack(argument)[4]
                if walked <= at:
                    break
                at = walked
        found = np.concatenate(parts)
        kinds = found[:, 2]
        return Regions(
            found[:, 0],
            found[:, 1],
            (kinds & np.uint64(_PRESENT)) == 0,
            (kinds & np.uint64(_PRESENT | _FILE)) == _PRESENT,
        )

    def _read(self, stretches: Stretches) -> Regions:
        parts = [of_words(np.zeros(0, np.uint64), 0)]
        for start, end in stretches:
            for first in range(start, end, _WORDS * PAGE):
                count = (min(end, first + _WORDS * PAGE) - first) // PAGE
                told = os.pread(
                    self._fd, 8 * count, first // PAGE * 8
                )  # short where it ended, or unmapped it meanwhile
                parts.append(of_words(np.frombuffer(told[: len(told) & ~7], np.uint64), first))
        return Regions(*(np.concatenate(each) for each in zip(*map(_fields, parts), strict=True)))


def _fields(regions: Regions) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_], NDArray[np.bool_]]:
    return regions.starts, regions.ends, regions.swapped, regions.anonymous


def of_words(words: NDArray[np.uint64], start: int) -> Regions:
    """The regions among the pages from `start` on, whose words of pagemap are given.

    Bit 63 in memory, 62 in swap, 61 of a file or shared, 58 a guard.
    """
    bits = (words >> np.uint64(61)).astype(np.int8)  # 4 in memory, 2 in swap, 1 of a file
    guard = ((words >> np.uint64(58)) & np.uint64(1)).astype(np.bool_)
    kind = np.select([bits >= 4, (bits >= 2) & ~guard], [bits & 5, 2], 0)
    first = np.flatnonzero(np.diff(kind, prepend=0))
    last = np.concatenate((first[1:], [len(kind)])).astype(np.int64)
    there = kind[first] > 0
    first, last = first[there], last[there]
    starts, ends = (np.uint64(start) + (each.astype(np.uint64) << _SHIFT) for each in (first, last))
    return Regions(starts, ends, kind[first] == 2, kind[first] == 4)
