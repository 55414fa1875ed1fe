"""A walk over the chunks of one heap of glibc's malloc, from a copy: which are in use, which are free, how big they are.

A chunk is two words and what was asked for: the second word is its size, with three bits beside it, of which the lowest says that the
chunk before it is in use (malloc/malloc.c, "malloc_chunk details"). So the heap is a chain of sizes, from its first chunk to the
last, `top`, which reaches its end. A size that does not fit ends the walk: the program allocates meanwhile, or wrote where it should not.

What malloc keeps for reuse in a thread's cache (tcache: at most 7 chunks of each of 64 sizes up to 1032 bytes, 127 KiB a thread) looks
used, and is counted as used.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.kernel.gather import copy_run
from pellucid.kernel.memory import Memory
from pellucid.kernel.pagemap import PAGE
from pellucid.kernel.pages import Pages
from pellucid.runtimes.glibc.arenas import Heap

WINDOW = 1 << 22
HEAD_WORDS = 6
"""Of each used chunk so many words of what is in it are kept: enough to see the type of a Python object."""


class Chunks(Struct, frozen=True):
    """The chunks of one heap, lowest address first, without its last (`top_bytes`, free). `walked_bytes` of it were understood.

    `addresses` of their heads; `sizes` with the head; `used`; `words`: the first words of those that are in use and large (row i belongs
    to `large[i]`, an index).
    """

    addresses: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    used: NDArray[np.bool_]
    large: NDArray[np.int64]
    words: NDArray[np.uint64]
    top: int
    top_bytes: int
    walked_bytes: int
    broken: str = ""
    """Why the walk ended before the end of the heap."""


def walk(memory: Memory, heap: Heap, pages: Pages, most_bytes: int, least: int) -> Chunks:
    """At most `most_bytes` of the heap are walked; the words of chunks of `least` bytes or more are kept. Raises NoSuchProcess."""
    addresses: list[NDArray[np.uint64]] = []
    sizes: list[NDArray[np.int64]] = []
    in_use_before: list[NDArray[np.bool_]] = []
    large: list[NDArray[np.int64]] = []
    words: list[NDArray[np.uint64]] = []
    at, total, broken = heap.first, 0, ""
    limit = heap.first + min(heap.end - heap.first, most_bytes)
    buffer = np.zeros(WINDOW // 8, np.uint64)
    while at < limit and not broken:
        start = at & ~(PAGE - 1)
        end = min(start + WINDOW, heap.end)
        if not _window(memory, start, end, pages, buffer):
            broken = "its pages changed while they were copied"
            break
        found, at, broken = _chain(buffer, start, at, end, heap.end)
        if not len(found):
            broken = broken or "a head lies in a page that is in swap, or was never used"
            break
        place = (found - np.uint64(start)) >> np.uint64(3)
        heads = buffer[place.astype(np.int64) + 1]
        size = (heads & ~np.uint64(7)).astype(np.int64)
        addresses.append(found)
        sizes.append(size)
        in_use_before.append((heads & np.uint64(1)) != 0)
        inside = place.astype(np.int64) + 2 + HEAD_WORDS <= (end - start) // 8
        chosen = np.flatnonzero((size >= least) & inside)
        rows = place[chosen].astype(np.int64)[:, None] + 2 + np.arange(HEAD_WORDS)[None, :]
        words.append(buffer[rows])
        large.append(chosen + total)
        total += len(found)
    if not broken and at < heap.end:
        broken = f"only the first {most_bytes >> 20} MiB of a heap are walked"
    return _made(addresses, sizes, in_use_before, large, words, heap, broken)


def _window(memory: Memory, start: int, end: int, pages: Pages, buffer: NDArray[np.uint64]) -> bool:
    """The present pages of the window into `buffer`, zeros for the others."""
    count = (end - start + PAGE - 1) // PAGE
    there = pages.are_present(np.arange(start, start + count * PAGE, PAGE, dtype=np.uint64))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], there, [False])).view(np.int8)))
    buffer[:] = 0
    if len(edges) == 2 and edges[0] == 0:
        size = min(int(edges[1]) * PAGE, end - start)
        return copy_run(memory, start, buffer, size)
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        size = min(last * PAGE, end - start) - first * PAGE
        if not copy_run(memory, start + first * PAGE, buffer[first * PAGE // 8 :], size):
            return False
    return True


def _chain(
    buffer: NDArray[np.uint64], start: int, at: int, end: int, heap_end: int
) -> tuple[NDArray[np.uint64], int, str]:
    """(addresses of the chunks whose heads lie in the window, the first one after it, why it ended early)."""
    words = buffer.data.cast("B").cast("Q")
    place, last, most = (at - start) >> 3, (end - start) >> 3, (heap_end - start) >> 3
    found: list[int] = []
    append = found.append
    broken = ""
    while place + 1 < last:
        step = words[place + 1] >> 3 & ~1  # the size in words; a size is a multiple of 16 bytes
        if step < 4 or place + step > most:
            broken = (
                "the size of a chunk does not fit: it changes while it is read, or was overwritten"
                if words[place + 1]
                else ""
            )
            break
        append(place)
        place += step
    addresses = np.array(found, np.uint64) * np.uint64(8) + np.uint64(start)
    return addresses, start + 8 * place, broken


def _made(
    addresses: list[NDArray[np.uint64]],
    sizes: list[NDArray[np.int64]],
    before: list[NDArray[np.bool_]],
    large: list[NDArray[np.int64]],
    words: list[NDArray[np.uint64]],
    heap: Heap,
    broken: str,
) -> Chunks:
    if not addresses:
        empty = np.zeros(0, np.int64)
        return Chunks(
            empty.astype(np.uint64),
            empty,
            empty.astype(np.bool_),
            empty,
            np.zeros((0, HEAD_WORDS), np.uint64),
            0,
            0,
            0,
            broken,
        )
    where, size, flags = np.concatenate(addresses), np.concatenate(sizes), np.concatenate(before)
    used = np.concatenate((flags[1:], [True]))  # what the next chunk says of this one
    top = top_bytes = 0
    walked = int(where[-1]) + int(size[-1]) - heap.first
    if int(where[-1]) + int(size[-1]) >= heap.end - 32:  # a thread heap that is full ends with two small fences
        top, top_bytes = int(where[-1]), int(size[-1])
        where, size, used = where[:-1], size[:-1], used[:-1]
    chosen, rows = np.concatenate(large), np.concatenate(words)
    keep = chosen < len(where)
    chosen, rows = chosen[keep], rows[keep]
    keep = used[chosen]
    return Chunks(where, size, used, chosen[keep], rows[keep], top, top_bytes, walked, broken)
