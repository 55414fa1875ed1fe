"""Which pages of a process are in memory, which in swap: /proc/PID/pagemap as arrays, and sums over any range of addresses.

One 64-bit word a page (Documentation/admin-guide/mm/pagemap.rst): bit 63 in memory, bit 62 in swap, bit 61 of a file or shared. A page
that is neither in memory nor in swap holds nothing; to read it would make the kernel map a page of zeros, and to read one in swap would
bring it back: so whoever reads foreign memory asks here first.
"""

import os

import numpy as np
from numpy.typing import NDArray

from pellucid.kernel.maps import Mapping

PAGE = 4096
_SHIFT = np.uint64(12)
_ENTRIES = 1 << 19  # words in one read


class Pages:
    """The pages of some mappings, lowest address first. Arrays have one entry a page, in the order of the addresses."""

    def __init__(self, starts: NDArray[np.uint64], ends: NDArray[np.uint64], words: NDArray[np.uint64]) -> None:
        self.starts, self.ends = starts, ends
        counts = ((ends - starts) >> _SHIFT).astype(np.int64)
        self._first = np.concatenate(([0], np.cumsum(counts)))
        self.present = (words >> np.uint64(63)) != 0
        self.swapped = (words >> np.uint64(62)) & np.uint64(3) == 1
        self.anonymous = self.present & ((words >> np.uint64(61)) & np.uint64(1) == 0)
        self._there = np.concatenate(([0], np.cumsum(self.anonymous)))

    def index(self, addresses: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The number of the page of each address, -1 where it lies in none of the mappings."""
        if not len(self.starts):
            return np.full(len(addresses), -1, np.int64)
        run = np.searchsorted(self.starts, addresses, "right") - 1
        known = (run >= 0) & (addresses < self.ends[np.maximum(run, 0)])
        run = np.maximum(run, 0)
        inside = ((addresses - self.starts[run]) >> _SHIFT).astype(np.int64)
        return np.where(known, self._first[run] + inside, -1)

    def are_present(self, addresses: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether the page of each address is in memory."""
        at = self.index(addresses)
        return (at >= 0) & self.present[np.maximum(at, 0)] if len(self.present) else np.zeros(len(addresses), np.bool_)

    def resident(self, starts: NDArray[np.uint64], sizes: NDArray[np.uint64] | int) -> NDArray[np.int64]:
        """Bytes of anonymous memory that are in memory, of each range; a range lies within one mapping. Page by page: a part counts whole."""
        first = self.index(starts)
        last = self.index(starts + np.asarray(sizes, np.uint64) - np.uint64(1))
        good = (first >= 0) & (last >= first)
        return np.where(good, (self._there[np.maximum(last, 0) + 1] - self._there[np.maximum(first, 0)]) * PAGE, 0)

    def resident_of(self, start: int, end: int) -> int:
        """The same of one range, which may span several mappings."""
        total = 0
        for number in range(len(self.starts)):
            low, high = max(start, int(self.starts[number])), min(end, int(self.ends[number]))
            if low < high:
                base = int(self._first[number])
                first = base + (low - int(self.starts[number])) // PAGE
                last = base + (high - int(self.starts[number]) + PAGE - 1) // PAGE
                total += int(self._there[last] - self._there[first]) * PAGE
        return total


def pages(pid: int, mappings: tuple[Mapping, ...]) -> Pages:
    """The pages of `mappings`, which are in the order of their addresses. Raises OSError."""
    fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    parts: list[NDArray[np.uint64]] = []
    try:
        for mapping in mappings:
            count = (mapping.end - mapping.start) // PAGE
            for first in range(0, count, _ENTRIES):
                wanted = min(_ENTRIES, count - first)
                told = os.pread(fd, 8 * wanted, (mapping.start // PAGE + first) * 8)
                words = np.frombuffer(told[: len(told) & ~7], np.uint64)
                parts.append(words)
                if len(words) < wanted:  # it ended, or unmapped it meanwhile
                    parts.append(np.zeros(wanted - len(words), np.uint64))
    finally:
        os.close(fd)
    starts = np.array([mapping.start for mapping in mappings], np.uint64)
    ends = np.array([mapping.end for mapping in mappings], np.uint64)
    return Pages(starts, ends, np.concatenate(parts) if parts else np.zeros(0, np.uint64))
