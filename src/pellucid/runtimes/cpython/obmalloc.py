"""Python's own allocator: which blocks of its pools are in use. Objects/obmalloc.c, Include/internal/pycore_obmalloc.h (3.11 to 3.15).

Objects of at most 512 bytes lie in pools of 16 KiB, at addresses that are multiples of that; each holds blocks of one size. The header
says how many are used, where the list of the free ones begins, and up to where blocks have ever been handed out. The lists of all pools
are followed in step, one numpy operation for all: a list is at most as long as a pool has blocks.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.image import Image, Places

POOL = 1 << 14
CLASSES = 32
GUARD = 16
"""Bytes that the debug hooks put before a block."""
_SAMPLE = 1000  # pools
_UNIT = 16


class Pools(Struct, frozen=True):
    """Arrays, one element a pool: `places` in the image, `sizes` of a block, `handed` out blocks, `used` as its header says.

    `guard`: bytes that the debug hooks of PYTHONMALLOC=debug and -X dev put before each object, 0 without them.
    """

    places: Places
    sizes: Places
    handed: Places
    used: Places
    guard: int = 0

    @property
    def bytes(self) -> int:
        return len(self.places) * POOL

    @property
    def used_bytes(self) -> int:
        return int((self.sizes * self.used).sum())


class Blocks(Struct, frozen=True):
    """The blocks in use of some pools: `places` and `sizes`. `broken`: free lists that did not end as they should."""

    places: Places
    sizes: Places
    broken: int


def pools(image: Image, layout: Layout) -> Pools:
    """Every pool of the image, by its header."""
    head = layout["pool.size"]
    candidates: list[Places] = []
    rest: list[Places] = []
    for start, end, at in zip(image.starts.tolist(), image.ends.tolist(), image.offsets.tolist(), strict=True):
        first = -start % POOL
        count = max(end - start - first + POOL - 1, 0) // POOL
        if count:
            places = at + first + np.arange(count, dtype=np.int64) * POOL
            candidates.append(places)
            rest.append(
                at + (end - start) - places
            )  # pages that were never used are not there: the last pool may end early
    if not candidates:
        none = np.zeros(0, np.int64)
        return Pools(none, none, none, none)
    places, left = np.concatenate(candidates), np.concatenate(rest)
    words = image.words
    szidx = (words[(places + layout["pool.szidx"]) // 8] >> np.uint64(32)).astype(np.int64)
    ends = words[(places + layout["pool.nextoffset"]) // 8]
    following, most = (ends & np.uint64(0xFFFFFFFF)).astype(np.int64), (ends >> np.uint64(32)).astype(np.int64)
    used = (words[places // 8] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    sizes = (szidx + 1) * _UNIT
    fits = (szidx >= 0) & (szidx < CLASSES) & (most == POOL - sizes) & (following >= head) & (following <= POOL + sizes)
    sizes = np.where(fits, sizes, _UNIT)
    fits &= ((following - head) % sizes == 0) & (used > 0) & (used <= (POOL - head) // sizes)
    places, sizes, following, used, left = (each[fits] for each in (places, sizes, following, used, left))
    handed = np.minimum((np.minimum(following, left) - head) // sizes, (POOL - head) // sizes)
    return Pools(places, sizes, np.maximum(handed, 0), used, _guard(image, places + head))


def _guard(image: Image, first: Places) -> int:
    """The debug hooks put the size, a letter for the kind of memory and seven forbidden bytes before what they hand out.

    Objects/obmalloc.c, _PyMem_DebugRawAlloc: 16 bytes on a 64-bit machine. Told by the first block of each pool.
    """
    some = first[first + 16 <= image.size][:_SAMPLE]
    forbidden = guarded(image.words[some // 8 + 1])
    return GUARD if len(some) and int(np.count_nonzero(forbidden)) * 4 > len(some) else 0


def guarded(marks: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each of the words before a block is the mark of the debug hooks."""
    found: NDArray[np.bool_] = (marks >> np.uint64(8)) == np.uint64(0xFDFDFDFDFDFDFD)
    return found


def blocks(image: Image, found: Pools, first: int, last: int, layout: Layout) -> Blocks:
    """The used blocks of the pools number `first` to `last` (exclusive), in the order of their addresses."""
    head = layout["pool.size"]
    places, sizes, handed = found.places[first:last], found.sizes[first:last], found.handed[first:last]
    bases: Places = np.concatenate(([0], np.cumsum(handed))).astype(np.int64)
    number = np.repeat(np.arange(len(places)), handed)
    within = np.arange(int(bases[-1]), dtype=np.int64) - bases[number]
    free, broken = _free(image, places, sizes, handed, bases, layout)
    used = ~free
    number, within = number[used], within[used]
    block = sizes[number]
    return Blocks(places[number] + head + within * block + found.guard, block - found.guard, broken)


def _free(
    image: Image, places: Places, sizes: Places, handed: Places, bases: Places, layout: Layout
) -> tuple[NDArray[np.bool_], int]:
    head = layout["pool.size"]
    words = image.words
    starts = image.addresses(places)
    free = np.zeros(int(bases[-1]), bool)
    current = words[(places + layout["pool.freeblock"]) // 8].copy()
    live = np.flatnonzero(current != 0)
    broken = 0
    for _ in range(POOL // _UNIT + 1):
        if not len(live):
            break
        distance = (current[live] - starts[live]).view(np.int64)
        number = (distance - head) // sizes[live]
        good = (distance >= head) & (number < handed[live]) & ((distance - head) % sizes[live] == 0)
        live, distance, number = live[good], distance[good], number[good]
        index = bases[live] + number
        again = free[index]
        broken += int(np.count_nonzero(~good)) + int(np.count_nonzero(again))
        free[index] = True
        current[live] = words[(places[live] + distance) // 8]
        live = live[(current[live] != 0) & ~again]
    return free, broken + len(live)
