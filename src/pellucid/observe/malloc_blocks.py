"""What malloc has of a process: which of its blocks are in use and which are free, and what of those in use Python knows."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.kernel.gather import gather
from pellucid.kernel.maps import Mapping
from pellucid.kernel.memory import Memory
from pellucid.kernel.pagemap import PAGE
from pellucid.kernel.pages import Pages
from pellucid.model import Gap
from pellucid.model.memory import LargeBlock, SizeClass
from pellucid.runtimes.cpython import large_blocks
from pellucid.runtimes.cpython.large_blocks import ARRAY, KIND_WORDS, UNKNOWN, Arrays, Large
from pellucid.runtimes.cpython.pool_headers import Pools
from pellucid.runtimes.glibc import arenas, chunks

MAX_WALK = 1 << 30
"""Bytes of malloc's heaps that are walked in one look."""
_MOVING = 1 << 20
"""Of a heap that could not be walked to its end: the program allocates there meanwhile."""
_LARGE = 528  # 512 bytes and the head of a chunk
_SMALL = 48
_CHUNK_HEAD = 16
_HEAD_WORDS = chunks.HEAD_WORDS


class Blocks(Struct, frozen=True):
    """Blocks of malloc in use: `addresses` of their heads, `sizes`; `large`: indices of those whose first `words` are known."""

    addresses: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    large: NDArray[np.int64]
    words: NDArray[np.uint64]


class Malloc:
    """All of malloc's memory: what is in use, what is free, what of it Python knows."""

    def __init__(
        self,
        memory: Memory,
        mappings: tuple[Mapping, ...],
        pages: Pages,
        pools: Pools,
        taken: list[tuple[int, int]],
        large: Large | None,
    ) -> None:
        self.gaps: list[Gap] = []
        self.heaps = arenas.heaps(memory, mappings, pages)
        self.ranges = [(heap.first & -PAGE, heap.end) for heap in self.heaps]
        self.own = arenas.own_mappings(memory, mappings, sorted([*taken, *self.ranges]), pages)
        self.free_bytes = self.free_resident = self.walked_bytes = 0
        least = _LARGE if len(pools.addresses) or large is None else _SMALL
        parts = [self._heap(memory, mappings, heap, pages, least) for heap in self.heaps]
        parts.append(self._mapped(memory))
        counts = np.cumsum([0, *(len(part.addresses) for part in parts)])
        self.blocks = Blocks(
            np.concatenate([part.addresses for part in parts]),
            np.concatenate([part.sizes for part in parts]),
            np.concatenate([part.large + first for part, first in zip(parts, counts.tolist()[:-1], strict=True)]),
            np.concatenate([part.words for part in parts]),
        )
        self.used_bytes = int(self.blocks.sizes.sum()) - self._fast
        self.heap_bytes = sum(heap.end - heap.first for heap in self.heaps)
        self.resident = sum(pages.resident_of(start, end) for start, end in self.ranges) + int(
            pages.resident(parts[-1].addresses, parts[-1].sizes.astype(np.uint64)).sum() if self.own else 0
        )
        self.kinds = np.zeros(len(self.blocks.addresses), np.int8)
        self.arrays = Arrays(np.zeros(0, np.uint64), np.zeros(0, np.int64))
        self.largest = self._tell(large)
        self._touched(pages, parts[-1])

    _fast = 0
    untouched = 0
    """Bytes of blocks with a mapping of their own that were never written to: in use, and not in memory."""

    def _heap(
        self, memory: Memory, mappings: tuple[Mapping, ...], heap: arenas.Heap, pages: Pages, least: int
    ) -> Blocks:
        seen = chunks.walk(memory, heap, pages, max(0, MAX_WALK - self.walked_bytes), least)
        self.walked_bytes += seen.walked_bytes
        missed = heap.end - heap.first - seen.walked_bytes
        if seen.broken and missed > max(_MOVING, (heap.end - heap.first) // 50):
            self.gaps.append(
                Gap(f"{(heap.end - heap.first - seen.walked_bytes) >> 10} KiB of a heap of malloc", seen.broken)
            )
        top = heap.top or (arenas.main_top(memory, mappings, seen.top) if heap.main and seen.top else 0)
        _, fast = arenas.fast(memory, top) if top else (0, 0)
        self._fast += fast
        free = ~seen.used
        sizes = seen.sizes[free]
        self.free_bytes += int(sizes.sum()) + seen.top_bytes + fast
        # A free chunk keeps its first and its last page; whole pages between may have been given back (malloc_trim).
        big = sizes >= 4 * PAGE
        inner = (
            pages.resident(seen.addresses[free][big], sizes[big].astype(np.uint64))
            if big.any()
            else np.zeros(0, np.int64)
        )
        self.free_resident += int(sizes[~big].sum()) + int(np.minimum(inner, sizes[big]).sum()) + fast
        if seen.top_bytes:
            self.free_resident += pages.resident_of(seen.top, seen.top + seen.top_bytes)
        number = np.cumsum(seen.used) - 1  # the place of each chunk among those in use
        return Blocks(seen.addresses[seen.used], seen.sizes[seen.used], number[seen.large], seen.words)

    def _mapped(self, memory: Memory) -> Blocks:
        addresses = np.array([block.address for block in self.own], np.uint64)
        words, _ = gather(memory, addresses + np.uint64(_CHUNK_HEAD), _HEAD_WORDS)
        sizes = np.array([block.size for block in self.own], np.int64)
        return Blocks(addresses, sizes, np.arange(len(addresses)), words)

    def _tell(self, large: Large | None) -> LargeBlock | None:
        """Fills `kinds`; what the largest block holds."""
        blocks = self.blocks
        if large is not None:
            self.kinds[blocks.large] = large.kinds(blocks.words)
            self.arrays = large.arrays()
            if len(self.arrays.addresses):
                bodies = blocks.addresses + np.uint64(_CHUNK_HEAD)
                self.kinds[np.isin(bodies, self.arrays.addresses)] = ARRAY
        if not len(blocks.sizes):
            return None
        at = int(np.argmax(blocks.sizes))
        kind, what = int(self.kinds[at]), "a block of malloc that no Python object is known for"
        row = np.flatnonzero(blocks.large == at)
        if kind == large_blocks.OBJECT and large is not None and len(row):
            what = f"an object of type {large.name(blocks.words[row[0]]) or '?'}"
        elif kind != UNKNOWN:
            what = f"one of the {KIND_WORDS[kind]}"
        return LargeBlock(what, int(blocks.sizes[at]))

    def _touched(self, pages: Pages, own: Blocks) -> None:
        """Of a block with a mapping of its own only the pages that were touched are in memory."""
        if len(own.addresses):
            there = pages.resident(own.addresses, own.sizes.astype(np.uint64))
            self.untouched = int(np.maximum(own.sizes - there, 0).sum())
            self.blocks.sizes[len(self.blocks.sizes) - len(own.sizes) :] = np.minimum(own.sizes, there)

    def of(self, *kinds: int) -> tuple[int, int]:
        """(blocks, bytes in memory) of some kinds."""
        chosen = np.isin(self.kinds, kinds)
        return int(chosen.sum()), int(self.blocks.sizes[chosen].sum())

    def native_sizes(self, most: int = 3) -> tuple[SizeClass, ...]:
        """The sizes that nobody's blocks have, those with the most bytes first."""
        sizes = self.blocks.sizes[self.kinds == UNKNOWN]
        if not len(sizes):
            return ()
        found, counts = np.unique(sizes, return_counts=True)
        order = np.argsort(-found * counts)[:most]
        return tuple(SizeClass(int(found[at]), int(counts[at])) for at in order)
