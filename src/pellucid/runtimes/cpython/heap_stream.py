"""The histogram of a heap for which there is no room: piece by piece, each forgotten before the next is copied.

Twice all of the memory is gone through. The first time for the types, whose own pages are then kept; the second time for the objects. What
an object has elsewhere, the keys of a dict, the shape of an array, is read from the live process word by word where it lies in
another piece. Nothing is stopped, for all of it takes seconds; and no references are followed.
"""

from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.kernel import bulk
from pellucid.kernel.gather import gather
from pellucid.kernel.memory import Memory
from pellucid.runtimes.cpython import heap_types, obmalloc
from pellucid.runtimes.cpython.census import Heap, count, rows_of
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.heap_sizes import Sizes
from pellucid.runtimes.cpython.heap_types import Types
from pellucid.runtimes.cpython.image import CopiedMemory, Image, Words, resident_runs

_ARENA = 1 << 20
"""Pools lie in arenas, at multiples of that (Include/internal/pycore_obmalloc.h, ARENA_SIZE from 3.10 on): no pool lies in two pieces."""

_PAGE = 4096
_ROUNDS = 4  # of metaclasses


class Streamed(Struct, frozen=True):
    """`rows`: (module, name, how many, bytes), as `census.histogram` has them."""

    rows: list[tuple[str, str, int, int]]
    objects: int
    attribute_bytes: int
    pool_bytes: int
    pool_used_bytes: int
    bytes: int
    broken: int


class _Piece(Image):
    """One piece; `mapped` knows of all of them."""

    def __init__(self, buffer: bulk.Buffer, runs: tuple[tuple[int, int], ...], starts: Words, ends: Words) -> None:
        super().__init__(buffer, runs, None, ())
        self._all_starts, self._all_ends = starts, ends

    def mapped(self, addresses: Words) -> NDArray[np.bool_]:
        run = np.maximum(np.searchsorted(self._all_starts, addresses, "right") - 1, 0)
        return (addresses >= self._all_starts[run]) & (addresses < self._all_ends[run])


def stream(live: Memory, layout: Layout, metaclass: int, room: int, command: str) -> Streamed:
    """Counts in pieces of at most `room` bytes. Raises NotFound where `metaclass` is not `type`, NoSuchProcess when it ends."""
    pid = live.pid
    runs = resident_runs(pid, command)
    types = _types(live, layout, metaclass, runs, room)
    counts, sizes = np.zeros(len(types), np.int64), np.zeros(len(types), np.int64)
    attributes = pool_bytes = pool_used = broken = 0
    for piece in _pieces(live, runs, room):
        pools = obmalloc.pools(piece, layout)
        heap = Heap(piece, live, layout, types, pools)
        heap.measure = Sizes(piece, live, layout, types, lambda where: gather(live, where, 1)[0][:, 0])
        count(heap)
        counts += np.bincount(heap.index, minlength=len(types))
        sizes += np.bincount(heap.index, weights=heap.sizes, minlength=len(types)).astype(np.int64)
        attributes += int(heap.attributes().sum())
        pool_bytes += pools.bytes
        pool_used += pools.used_bytes
        broken += heap.broken
    total = sum(end - start for start, end in runs)
    return Streamed(rows_of(types, counts, sizes), int(counts.sum()), attributes, pool_bytes, pool_used, total, broken)


def _pieces(memory: Memory, runs: tuple[tuple[int, int], ...], room: int) -> Iterator[_Piece]:
    starts, ends = (np.array([run[side] for run in runs], np.uint64) for side in (0, 1))
    for some in cut(runs, room):
        buffer = bulk.Buffer(sum(end - start for start, end in some))
        bulk.copy(memory, some, buffer)
        yield _Piece(buffer, some, starts, ends)


def cut(runs: tuple[tuple[int, int], ...], room: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """The runs in groups of at most `room` bytes (or one arena). A run is cut only between arenas."""
    group: list[tuple[int, int]] = []
    left = room
    for start, end in runs:
        while start < end:
            if end - start <= left:
                stop = end
            else:
                stop = (start + left) // _ARENA * _ARENA
                if stop <= start:
                    if group:
                        yield tuple(group)
                        group, left = [], room
                        continue
                    stop = min(end, start // _ARENA * _ARENA + _ARENA)
            group.append((start, stop))
            left -= stop - start
            start = stop
    if group:
        yield tuple(group)


def _types(live: Memory, layout: Layout, metaclass: int, runs: tuple[tuple[int, int], ...], room: int) -> Types:
    """All types, in an image of the pages that they, and the names that their instances share, lie in."""
    found: set[int] = {metaclass}
    metaclasses = {metaclass}
    for _ in range(_ROUNDS):
        new: set[int] = set()
        for piece in _pieces(live, runs, room):
            addresses, meta = heap_types.candidates(piece, layout, obmalloc.pools(piece, layout), metaclasses)
            found.update(addresses.tolist())
            new.update(addresses[meta].tolist())
        if new <= metaclasses:
            break
        metaclasses |= new
    addresses = np.array(sorted(found), np.uint64)
    size = layout["heap_type_object.size"]
    image = _pages(live, runs, addresses, size)
    keys = Sizes(image, live, layout, _NONE).at(addresses, layout["heap_type_object.ht_cached_keys"])
    image = _pages(live, runs, np.concatenate((addresses, keys[keys > _PAGE])), size)
    there = image.places(addresses) >= 0
    known = dict(zip(addresses[there].tolist(), image.places(addresses[there]).tolist(), strict=True))
    if metaclass not in known:
        raise heap_types.NotFound
    return Types(image, CopiedMemory(image, live), layout, heap_types.with_bases(image, layout, known))


_NONE: Types = None  # type: ignore[assignment]  # Sizes.at asks nothing of the types


def _pages(memory: Memory, runs: tuple[tuple[int, int], ...], addresses: Words, size: int) -> Image:
    """An image of the pages that the objects at these addresses lie in, as far as the process has them."""
    first, last = addresses // np.uint64(_PAGE), (addresses + np.uint64(size - 1)) // np.uint64(_PAGE)
    pages = np.unique(np.concatenate((first, last))) * np.uint64(_PAGE)
    starts, ends = (np.array([run[side] for run in runs], np.uint64) for side in (0, 1))
    at = np.maximum(np.searchsorted(starts, pages, "right") - 1, 0)
    pages = pages[(pages >= starts[at]) & (pages < ends[at])]
    apart = np.flatnonzero(np.diff(pages) != _PAGE)
    begins = np.concatenate((pages[:1], pages[apart + 1])).tolist()
    stops = np.concatenate((pages[apart], pages[-1:])).tolist()
    some = tuple((begin, stop + _PAGE) for begin, stop in zip(begins, stops, strict=True))
    buffer = bulk.Buffer(sum(end - start for start, end in some))
    bulk.copy(memory, some, buffer)
    return Image(buffer, some, None, ())
