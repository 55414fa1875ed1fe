"""The ids of a dump's objects in four bytes each, and from an id to the number of its object.

An id is an address in the heap, a multiple of 8. Less than 32 GiB apart, as they nearly always are, they are kept as 32-bit distances from
the first one; else as they are.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.runtimes.references import Indices

Ids = NDArray[np.uint64]

_AT_ONCE = 1 << 18
_MOST_STEPS = 12


class IdTable:
    """The ids in the order of `read(first, end)`, which reads those of a stretch; `sort` before anything is looked up."""

    def __init__(self, count: int, read: Callable[[int, int], Ids]) -> None:
        low, high, odd = (1 << 64) - 1, 0, 0
        one = read(0, 1)[0] if count else np.uint64(0)
        for start in range(0, count, _AT_ONCE):
            part = read(start, min(start + _AT_ONCE, count))
            low, high = min(low, int(part.min())), max(high, int(part.max()))
            odd |= int(np.bitwise_or.reduce(part ^ one))
        self.base = np.uint64(low if count else 0)
        span = max(high - low, 0)
        self._shift = np.uint64(3 if odd & 7 == 0 else 0)
        few = span >> int(self._shift) < 1 << 32
        self.distances: NDArray[Any] = np.zeros(count, np.uint32 if few else np.uint64)
        for start in range(0, count, _AT_ONCE):
            end = min(start + _AT_ONCE, count)
            self.distances[start:end] = (read(start, end) - self.base) >> self._shift
        self._first: Indices | None = None
        self._steps = 0
        self._bucket = np.uint64(0)

    def __len__(self) -> int:
        return len(self.distances)

    def sort(self) -> NDArray[np.intp] | None:
        """Puts them in ascending order, each once. → which of the former places are kept, in their new order; None where that changes nothing."""
        parts = (self.distances[start : start + _AT_ONCE + 1] for start in range(0, len(self), _AT_ONCE))
        if all((part[1:] > part[:-1]).all() for part in parts):
            return None
        order = np.argsort(self.distances, kind="stable")
        ordered = self.distances[order]
        order = order[np.concatenate(([True], ordered[1:] != ordered[:-1]))]
        self.distances = self.distances[order]
        return order

    def of(self, numbers: "Indices | slice") -> Ids:
        """The ids of these objects."""
        return (self.distances[numbers].astype(np.uint64) << self._shift) + self.base

    def id(self, number: int) -> int:
        """The id of one object."""
        return (int(self.distances[number]) << int(self._shift)) + int(self.base)

    def forget(self) -> None:
        """Lets go of the table of high bits, which is made anew when it is needed."""
        self._first = None

    def numbers(self, wanted: Ids) -> Indices:
        """The number of each id, -1 for what is none."""
        found = np.full(len(wanted), -1, np.int32)
        if not len(self):
            return found
        far = wanted - self.base
        distance = far >> self._shift
        near = np.flatnonzero(
            (wanted >= self.base) & (distance <= self.distances[-1]) & (distance << self._shift == far)
        )
        looked = distance[near].astype(self.distances.dtype)
        first = self._table() if self._first is None else self._first
        if self._steps > _MOST_STEPS:
            place = np.searchsorted(self.distances, looked).astype(np.int32)
        else:
            place = first[looked >> self._bucket.astype(looked.dtype)]
            for _ in range(self._steps):
                behind = self.distances[place] < looked
                if not behind.any():
                    break
                place += behind
        np.minimum(place, len(self) - 1, out=place)
        hit = self.distances[place] == looked
        found[near[hit]] = place[hit]
        return found

    def _table(self) -> Indices:
        """Of each value of their high bits the first number: about as many values as there are ids."""
        bucket, last = 0, int(self.distances[-1])
        while last >> bucket > len(self) + 1024:
            bucket += 1
        self._bucket = np.uint64(bucket)
        first = np.zeros((last >> bucket) + 2, np.int32)
        shift = self._bucket.astype(self.distances.dtype)
        for start in range(0, len(self), _AT_ONCE):
            high = (self.distances[start : start + _AT_ONCE] >> shift).astype(np.int64)
            counts = np.bincount(high - high[0])
            first[high[0] + 1 : high[0] + 1 + len(counts)] += counts.astype(np.int32)
        self._steps = int(first.max())
        np.cumsum(first, out=first)
        self._first = first
        return first
