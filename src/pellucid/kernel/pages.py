"""How much of any range of addresses is in memory: sums over the page map of a process (`kernel.pagemap`)."""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from pellucid.kernel.maps import Mapping
from pellucid.kernel.pagemap import PAGE, PageMap, Regions

_SHIFT = np.uint64(12)


class Pages:
    """The pages of some mappings, lowest address first. Arrays have one entry a page, in the order of the addresses."""

    def __init__(self, starts: NDArray[np.uint64], ends: NDArray[np.uint64], regions: Regions) -> None:
        self.starts, self.ends = starts, ends
        self._bounds: list[int] = starts.tolist()
        counts = ((ends - starts) >> _SHIFT).astype(np.int64)
        self._first = np.concatenate(([0], np.cumsum(counts)))
        self.present = self._marked(regions, ~regions.swapped)
        self._there = np.concatenate(([0], np.cumsum(self._marked(regions, regions.anonymous))))

    def _marked(self, regions: Regions, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether each page lies in one of the chosen regions; a region lies within one mapping."""
        steps = np.zeros(int(self._first[-1]) + 1, np.int8)
        steps[self.index(regions.starts[chosen])] += 1
        steps[self.index(regions.ends[chosen] - np.uint64(PAGE)) + 1] -= 1
        return np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_)

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

    def is_present(self, address: int) -> bool:
        """The same of one address, for who asks of very few."""
        run = bisect_right(self._bounds, address) - 1
        if run < 0 or address >= self.ends[run]:
            return False
        return bool(self.present[self._first[run] + (address - self._bounds[run]) // PAGE])

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
    with PageMap(pid) as told:
        regions = told.regions([(mapping.start, mapping.end) for mapping in mappings], files=True)
    starts = np.array([mapping.start for mapping in mappings], np.uint64)
    ends = np.array([mapping.end for mapping in mappings], np.uint64)
    return Pages(starts, ends, regions)
