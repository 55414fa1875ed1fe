"""Where glibc's malloc has its memory: the main heap, the heaps of thread arenas, and blocks with a mapping of their own.

glibc 2.26 and later, 64 bit (malloc/malloc.c, malloc/arena.c); newer ones have no fast bins, and a struct malloc_state without them. All of it is found without a symbol, and checked:

- The main heap is the mapping `[heap]`; its chunks begin at its first byte.
- A thread arena's heap is aligned to 64 MiB (HEAP_MAX_SIZE) and begins with struct heap_info: the address of its struct malloc_state,
  the heap before it, its size. The malloc_state of an arena lies in its first heap, right behind the heap_info.
- A block of M_MMAP_THRESHOLD bytes (128 KiB, rising to 32 MiB) or more has a mapping of its own, with a head whose second bit is set.
- `main_arena` lies in the writable data of libc.so.6: it is there where a word equals the address of the main heap's last chunk, and
  the bins that follow point to themselves.
"""

from bisect import bisect_right
from struct import Struct as Bytes
from typing import TYPE_CHECKING

from msgspec import Struct

from pellucid.kernel.maps import Mapping
from pellucid.kernel.memory import Memory, Unreadable

if TYPE_CHECKING:
    from pellucid.kernel.pages import Pages

HEAP_MAX = 1 << 26
MAX_HEAPS = 4096
MAX_STEPS = 1 << 12  # pages of one mapping at which no block begins
_SHAPES = (
    (96, 2200),
    (8, 2112),
)  # where `top` stands in struct malloc_state, and how big that is: with and without fast bins
_BINS = 16  # from `top` to `bins`
_FAST = 80  # from the fast bins to `top`
_FAST_COUNT = 10
_IS_MMAPPED = 2
_HEAP_INFO = Bytes("<4Q")
_U64 = Bytes("<Q")
_HEAD = Bytes("<QQ")
_LINKED = Bytes("<QQQ")
_FAST_BINS = Bytes(f"<{_FAST_COUNT}Q")
PAGE = 4096
_MAX_FAST = (
    1 << 15
)  # chunks of all fast bins that are followed, each by a read of its own: what is beyond counts as used


class Heap(Struct, frozen=True):
    """One run of chunks: from `first` (the first chunk) to `end`. `top` is where its arena keeps the address of its last chunk: 0 for the
    main arena (see `main_top`), and for the further heaps of an arena that has several.
    """

    first: int
    end: int
    top: int
    main: bool


class Block(Struct, frozen=True):
    """A chunk with a mapping of its own: `address` of its head, `size` with it."""

    address: int
    size: int


def heaps(memory: Memory, mappings: tuple[Mapping, ...], pages: "Pages") -> tuple[Heap, ...]:
    """The main heap and those of the thread arenas. A page that is not in memory is not read."""
    found = [Heap(mapping.start, mapping.end, 0, main=True) for mapping in mappings if mapping.path == "[heap]"][:1]
    for mapping in mappings:
        if mapping.inode or mapping.path or not mapping.permissions.startswith("rw-p"):
            continue
        for start in range(mapping.start + -mapping.start % HEAP_MAX, mapping.end, HEAP_MAX):
            heap = _thread_heap(memory, start, mapping.end) if pages.is_present(start) else None
            if heap is not None and len(found) < MAX_HEAPS:
                found.append(heap)
    return tuple(found)


def _thread_heap(memory: Memory, start: int, end: int) -> Heap | None:
    """The heap of a thread arena that begins at `start`, whose mapping ends at `end`."""
    try:
        arena, previous, size, writable = _HEAP_INFO.unpack(memory.read(start, _HEAP_INFO.size))
    except Unreadable:
        return None
    if not 0 < size <= writable <= HEAP_MAX or start + size > end or previous % HEAP_MAX:
        return None
    if start < arena < start + 128:  # struct heap_info is 32 or 48 bytes
        for top, length in _SHAPES:
            if _bins_fit(memory, arena + top):
                first = arena + length
                return Heap(first + -first % 16, start + size, arena + top, main=False)
    elif arena and arena % HEAP_MAX < 128 and previous:
        # The size of heap_info is where the arena stands in its own first heap.
        return Heap(start + arena % HEAP_MAX, start + size, 0, main=False)
    return None


def own_mappings(
    memory: Memory, mappings: tuple[Mapping, ...], taken: list[tuple[int, int]], pages: "Pages"
) -> tuple[Block, ...]:
    """Chunks that malloc took a mapping for. The kernel joins neighbours, so that one mapping may hold several, and other things too.

    `taken`: ranges (begin, end), lowest first, that are known to be something else. A page that is not in memory is not read.
    """
    found: list[Block] = []
    for mapping in mappings:
        if mapping.inode or mapping.path or not mapping.permissions.startswith("rw-p"):
            continue
        at, steps = mapping.start, 0
        number = bisect_right(taken, (mapping.start, 0))
        while at + PAGE <= mapping.end and steps < MAX_STEPS:
            if number < len(taken) and at >= taken[number][0]:
                at = max(at, taken[number][1] + -taken[number][1] % PAGE)
                number += 1
                continue
            size = _size_at(memory, at, mapping.end) if pages.is_present(at) else 0
            if size:
                found.append(Block(at, size))
            else:
                steps += 1
            at += size or PAGE
    return tuple(found)


def _size_at(memory: Memory, at: int, end: int) -> int:
    """The size of the block that begins at the page `at`; 0 where none does."""
    try:
        previous, head = _HEAD.unpack(memory.read(at, _HEAD.size))
    except Unreadable:
        return 0
    size: int = head & ~7
    rest = -size % PAGE  # newer versions (seen in 2.43) do not count the last two words of the mapping
    fits = head & 7 == _IS_MMAPPED and rest in (0, 16) and PAGE <= size + rest <= end - at and previous < PAGE
    return size + rest if fits else 0


def main_top(memory: Memory, mappings: tuple[Mapping, ...], last: int) -> int:
    """Where `main_arena` keeps the address of its last chunk, which is at `last`; 0 where libc's data don't have it."""
    wanted = _U64.pack(last)
    for mapping in mappings:
        name = mapping.path.rpartition("/")[2]
        if not name.startswith(("libc.so", "libc-2")) or not mapping.permissions.startswith("rw"):
            continue
        try:
            data = memory.read(mapping.start, min(mapping.end - mapping.start, 1 << 20))
        except Unreadable:
            return 0
        at = data.find(wanted)
        while at >= 0:
            if at % 8 == 0 and _bins_fit(memory, mapping.start + at):
                return mapping.start + at
            at = data.find(wanted, at + 1)
    return 0


def _bins_fit(memory: Memory, top: int) -> bool:
    """Most bins are empty, and an empty bin points to itself (malloc_init_state)."""
    try:
        words = memory.read(top + _BINS, 16 * 127)
    except Unreadable:
        return False
    own = range(top, top + 16 * 127, 16)
    empty: int = sum(_U64.unpack_from(words, 16 * number)[0] == at for number, at in enumerate(own))
    return empty >= 16


def fast(memory: Memory, top: int) -> tuple[int, int]:
    """(chunks, bytes) that are free though their neighbours say "in use": the fast bins of the arena.

    A chunk has the size that its bin is for, else the chain is none. From 2.32 on a link is mixed with its own address (PROTECT_PTR).
    """
    chunks = size = 0
    try:
        heads = _FAST_BINS.unpack(memory.read(top - _FAST, _FAST))
    except Unreadable:
        return 0, 0
    for number, head in enumerate(heads):
        seen = _followed(memory, head, 32 + 16 * number, _MAX_FAST - chunks)
        chunks += seen
        size += seen * (32 + 16 * number)
    return chunks, size


def _followed(memory: Memory, at: int, length: int, most: int) -> int:
    seen = 0
    while at and at % 16 == 0 and seen < most:
        try:
            _, head, link = _LINKED.unpack(memory.read(at, _LINKED.size))
        except Unreadable:
            break
        if head & ~7 != length:
            break
        seen += 1
        mixed = link ^ ((at + 16) >> 12)
        at = link if link % 16 == 0 and link >> 47 == 0 and mixed % 16 else mixed if link else 0
    return seen
