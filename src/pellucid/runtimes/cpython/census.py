"""Every object of a copied process: where it lies, of which type it is, how many bytes it has. No object of it is asked.

    pools of obmalloc        every used block whose type word is the address of a type             (objects of at most 512 bytes)
    chunks of glibc          every chunk that begins with an object which fills it                 (larger ones, and all with PYTHONMALLOC=malloc)

A block holds an object if the word at its type field is a type, the bytes before the object are those that this type's flags imply, its
reference count is one that a live object can have, and its size fits the block. Free blocks are left out by the lists of obmalloc; an
object in one of CPython's own free lists has a count of 0, or a link in its place.

What lies in the program's own files (types, None, small integers) is found over references: `heap_edges`.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from pellucid.kernel.memory import Memory, Unreadable
from pellucid.runtimes.cpython import obmalloc
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.heap_sizes import Sizes
from pellucid.runtimes.cpython.heap_types import GC, KINDS, TYPE, Types, find, outside
from pellucid.runtimes.cpython.image import CopiedMemory, Image, Places

_POOLS_AT_ONCE = 512  # 8 MB of them
_WORDS_AT_ONCE = 1 << 18
_OBJECTS_AT_ONCE = 1 << 17
_PREFIXES = (0, 16, 32)
_PREVIOUS_IN_USE, _MMAPPED = 1, 2  # malloc/malloc.c, PREV_INUSE, IS_MMAPPED
_PAGE = 4096
_SLACK = (
    64  # bytes that a chunk may be larger than its object: malloc rounds to 16, and does not split off less than 32
)
_LEAST_CHUNK = 32
_MOST_MEMBERS = 4096  # bytes
_MANY = 1 << 20  # references
MAX_CHUNK = 1 << 42
_WHOLE = tuple(KINDS.index(kind) for kind in ("long", "tuple", "bytes", "str", "code"))
"""Kinds whose objects own nothing but their block."""


class Heap:
    """The census of one image. Arrays with one element an object, by address: `places` in the image, `index` of its type, `sizes` in bytes."""

    def __init__(self, image: Image, memory: Memory, layout: Layout, types: Types, pools: obmalloc.Pools) -> None:
        self.image = image
        self.memory = memory
        self.layout = layout
        self.types = types
        self.pools = pools
        self.measure = Sizes(image, memory, layout, types)
        self.places: Places = np.zeros(0, np.int64)
        self.index: NDArray[np.int32] = np.zeros(0, np.int32)
        self.sizes: Places = np.zeros(0, np.int64)
        self.in_pools = 0
        """How many of the objects lie in pools."""
        self.broken = 0
        """Free lists that did not end as they should: torn by a copy without a pause."""

    def __len__(self) -> int:
        return len(self.places)

    def number(self, address: int) -> int:
        """Which object begins at the address, -1 for none."""
        place = self.image.place(address)
        at = int(np.searchsorted(self.places, place))
        return at if place >= 0 and at < len(self.places) and self.places[at] == place else -1

    def address(self, number: int) -> int:
        return int(self.image.addresses(self.places[number : number + 1])[0])

    def kind(self, number: int) -> str:
        """How it is read: `dict`, `list`, `type`, ...; one of heap_types.KINDS."""
        return KINDS[self.types.kinds[self.index[number]]]

    def attributes(self) -> Places:
        """Bytes of the values of each instance's attributes, which its own size does not count."""
        found = np.zeros(len(self), np.int64)
        for at in range(0, len(self), _OBJECTS_AT_ONCE):
            part = slice(at, at + _OBJECTS_AT_ONCE)
            found[part] = self.measure.attributes(self.places[part], self.index[part])
        return found


def metaclass(memory: Memory, layout: Layout, runtime: int) -> int:
    """The address of `type`: the type of the type of any object, here of sys.modules. Raises Unreadable."""
    interpreter = memory.u64(runtime + layout["runtime_state.interpreters_head"])
    modules = memory.u64(interpreter + layout["interpreter_state.imports_modules"])
    at = layout["pyobject.ob_type"]
    found = memory.u64(memory.u64(modules + at) + at)
    if memory.u64(found + at) != found:
        raise Unreadable(found, 8, 0)
    return found


def census(image: Image, live: Memory, layout: Layout, type_type: int) -> Heap:
    """Counts everything. Raises NotFound where `type_type` is not `type`."""
    memory = CopiedMemory(image, live)
    pools = obmalloc.pools(image, layout)
    types = find(image, memory, layout, type_type, pools)
    heap = Heap(image, memory, layout, types, pools)
    count(heap)
    return heap


def count(heap: Heap) -> None:
    """Finds the objects of the heap's image, and measures them."""
    places, index = _joined(_in_pools(heap))
    heap.in_pools = len(places)
    alone, their_index = _joined(_in_chunks(heap))
    before = np.searchsorted(
        places, alone
    )  # no chunk lies in a pool: both are in order, and so is what they make together
    heap.places = np.insert(places, before, alone)
    heap.index = np.insert(index, before, their_index)
    del places, index
    heap.sizes = np.empty(len(heap), np.int64)
    for first in range(0, len(heap), _OBJECTS_AT_ONCE):
        part = slice(first, first + _OBJECTS_AT_ONCE)
        heap.sizes[part] = heap.measure.of(heap.places[part], heap.index[part])


def _joined(parts: Iterable[tuple[Places, NDArray[np.int32]]]) -> tuple[Places, NDArray[np.int32]]:
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int32)), *parts]
    return np.concatenate([places for places, _ in found]), np.concatenate([index for _, index in found])


def histogram(heap: Heap) -> list[tuple[str, str, int, int]]:
    """(module, name, how many, bytes) of every type that has objects, the most bytes first. Classes of one name and module are one row."""
    counts = np.bincount(heap.index, minlength=len(heap.types))
    sizes = np.bincount(heap.index, weights=heap.sizes, minlength=len(heap.types))
    return rows_of(heap.types, counts, sizes)


def rows_of(types: Types, counts: NDArray[np.generic], sizes: NDArray[np.generic]) -> list[tuple[str, str, int, int]]:
    """The same of sums by type."""
    rows: dict[tuple[str, str], list[int]] = {}
    for number in np.flatnonzero(counts).tolist():
        row = rows.setdefault(types.module_and_name(number), [0, 0])
        row[0] += int(counts[number])
        row[1] += int(sizes[number])
    return sorted(
        ((*name, count, size) for name, (count, size) in rows.items()), key=lambda row: (-row[3], -row[2], row[:2])
    )


def _in_pools(heap: Heap) -> Iterator[tuple[Places, NDArray[np.int32]]]:
    """In the order of their places, as the pools and their blocks are."""
    image, types = heap.image, heap.types
    for first in range(0, len(heap.pools.places), _POOLS_AT_ONCE):
        blocks = obmalloc.blocks(image, heap.pools, first, first + _POOLS_AT_ONCE, heap.layout)
        heap.broken += blocks.broken
        left, sizes = blocks.places, blocks.sizes
        kind = np.full(len(left), -1, np.int32)
        place = np.empty(len(left), np.int64)
        number = np.arange(len(left))
        for prefix in _PREFIXES:
            fits = sizes >= prefix + 16
            objects = left + prefix
            index = np.full(len(left), -1, np.int32)
            index[fits] = types.index(image.words[objects[fits] // 8 + 1])
            typed = np.flatnonzero(index >= 0)
            mine = index[typed]
            good = types.prefixes[mine] == prefix
            good &= types.least[mine] + prefix <= sizes[typed]
            good[good] = alive(heap, objects[typed[good]], mine[good])
            found = typed[good]
            kind[number[found]] = index[found]
            place[number[found]] = objects[found]
            rest = np.ones(len(left), bool)
            rest[found] = False
            left, sizes, number = left[rest], sizes[rest], number[rest]
        known = np.flatnonzero(kind >= 0)
        yield place[known], kind[known]


def alive(heap: Heap, objects: Places, index: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether the head of each object is that of a live one: its count of references, and for the collector's, its links.

    Include/object.h: from 3.12 on the upper half of an immortal's count is empty, from 3.14 on it holds flags. The links
    (Include/internal/pycore_gc.h) are addresses with flags in their lowest bits; 0 where the collector does not follow the object.
    """
    image, layout = heap.image, heap.layout
    good = counted_sanely(heap, objects)
    collected = good & heap.types.has(GC)[index]
    if collected.any():
        at = objects[collected] - layout["gc_head.size"]
        following = image.words[at // 8] & ~np.uint64(7)
        linked = np.flatnonzero(following != 0)
        sane = np.ones(len(at), bool)
        sane[linked] = image.mapped(following[linked])
        good[collected] &= sane
    return good


def counted_sanely(heap: Heap, objects: Places) -> NDArray[np.bool_]:
    """Whether the count of references is one that a live object can have.

    Where a program lies below 4 GB, as those do that are not position independent, the address of an object is as small as a count: an
    array of pointers to types looks like an object then, but for a count that is itself an address.
    """
    image, layout = heap.image, heap.layout
    count = image.words[objects // 8]
    low, high = count & np.uint64(0xFFFFFFFF), count >> np.uint64(32)
    if layout.minor >= 14:
        high = (high & np.uint64(0xFFFF)) | (high >> np.uint64(24))  # overflow, and flags beyond those that exist
    good: NDArray[np.bool_] = (low != 0) & (high == 0)
    if layout.minor < 12:
        good &= low < np.uint64(1 << 31)
    large = np.flatnonzero(good & (low >= np.uint64(_MANY)) & (low & np.uint64(7) == 0))
    if len(large):
        good[large] = ~image.mapped(low[large])
    return good


def _in_chunks(heap: Heap) -> Iterator[tuple[Places, NDArray[np.int32]]]:
    """Objects that malloc gave a chunk of their own, in the order of their places. The chunk's size lies in the word before the memory that it gives (malloc/malloc.c)."""
    image, types = heap.image, heap.types
    for start, end in _searched(image, outside(image, heap.pools)):
        for first in range(start // 8, end // 8, _WORDS_AT_ONCE):
            last = min(end // 8, first + _WORDS_AT_ONCE)
            index = types.index(image.words[first:last])
            hits = np.flatnonzero(index >= 0)
            if len(hits):
                yield _chunks(heap, 8 * (hits + first) - 8, index[hits], start)


def _chunks(heap: Heap, objects: Places, index: NDArray[np.int32], start: int) -> tuple[Places, NDArray[np.int32]]:
    """Those of `objects` that a chunk begins with. None of them lies before `start`."""
    image, types = heap.image, heap.types
    prefix = types.prefixes[index]
    marks = image.words[np.maximum(objects - prefix, 8) // 8 - 1]
    guard = np.where(obmalloc.guarded(marks), obmalloc.GUARD, 0)
    begin = objects - prefix - guard
    good = (begin % 16 == 0) & (begin - 8 >= start)  # runs begin at pages: a place is as aligned as its address
    objects, index, prefix, guard, begin = (each[good] for each in (objects, index, prefix, guard, begin))
    head = image.words[begin // 8 - 1]
    size = (head & ~np.uint64(7)).view(np.int64)
    mapped = (head & np.uint64(_MMAPPED)) != 0
    good = (size >= _LEAST_CHUNK) & (size < MAX_CHUNK) & (size % 16 == 0) & (types.least[index] + prefix <= size)
    good[good] = _in_use(image, begin[good] - 16, size[good], mapped[good])
    good[good] = alive(heap, objects[good], index[good])
    objects, index, size, guard, mapped = (each[good] for each in (objects, index, size, guard, mapped))
    guards = np.where(guard, guard + 8 + 8, 0)  # and a serial number behind it, where that was compiled in
    needed = _block(heap, objects, index) + guard
    spare = size - 8 - needed
    fits = (spare >= -8) & (spare <= np.where(mapped, _PAGE + _SLACK, _SLACK) + guards)
    # A type's block is the class and its members; one that this program made anew may have been given a larger chunk.
    fits |= types.has(TYPE)[index] & (spare >= 0) & (spare < _MOST_MEMBERS)
    return objects[fits], index[fits]


def _in_use(image: Image, chunks: Places, sizes: Places, mapped: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the chunk behind each says that it is in use (PREV_INUSE); a chunk that malloc mapped alone has none behind it.

    What was freed has lost two words only, and where the collector's links were these: all of the object is still there.
    """
    run = np.searchsorted(image.offsets, chunks, "right") - 1
    ends = np.append(image.offsets[1:], image.size)[run]
    following = chunks + sizes
    known = following + 16 <= ends  # of a piece of the memory the last chunk has its end elsewhere
    good = np.ones(len(chunks), bool)
    behind = np.flatnonzero(known & ~mapped)
    good[behind] = (image.words[following[behind] // 8 + 1] & np.uint64(_PREVIOUS_IN_USE)) != 0
    return good


def _block(heap: Heap, objects: Places, index: NDArray[np.int32]) -> Places:
    """Bytes of the object's own block, without what it has elsewhere."""
    types, measure = heap.types, heap.measure
    found = types.prefixes[index] + types.basic[index]
    kinds = types.kinds[index]
    whole = np.isin(kinds, _WHOLE)
    if whole.any():
        found[whole] = measure.of(objects[whole], index[whole])
    rest = ~whole & (types.item[index] > 0)
    count = measure.field(objects[rest], "tuple_object.ob_size").view(np.int64)
    found[rest] += np.where((count >= 0) & (count < 1 << 40), count, 0) * types.item[index[rest]]
    return found


def _searched(image: Image, stretches: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The parts of `stretches` that are looked through word by word: of a chunk that malloc mapped alone, only its first page.

    Such a chunk fills whole pages, and its head says how many, with a flag (malloc/malloc.c, sysmalloc_mmap).
    """
    for start, end in stretches:
        heads = np.arange(start, end - _PAGE + 1, _PAGE)
        size = image.words[heads // 8 + 1]
        own = ((size & np.uint64(7)) == _MMAPPED) & (image.words[heads // 8] == 0) & ((size & np.uint64(0xFF8)) == 0)
        length = (size & ~np.uint64(7)).view(np.int64)
        own &= (length > 0) & (length <= end - heads)
        at = start
        for head, bytes_ in zip(heads[own].tolist(), length[own].tolist(), strict=True):
            if head < at:
                continue
            if head > at:
                yield at, head
            yield head, head + _PAGE
            at = head + bytes_
        if at < end:
            yield at, end
