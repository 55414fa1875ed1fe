"""Where the bytes of a process are: its mappings, CPython's pools, malloc's chunks, stacks and files, as one table.

    smaps → pages (pagemap) → heads of pools → chunks of malloc's heaps → what of them Python knows → the table

Read are the heads of pools, and malloc's heaps (`malloc_blocks.py`): not the pools themselves. Nothing is stopped; what moves meanwhile makes
the numbers of neighbours differ by what moved.
"""

import time
from bisect import bisect_left, bisect_right

import numpy as np
from msgspec.structs import replace

from pellucid.kernel import pages as page_maps
from pellucid.kernel import procfs, smaps
from pellucid.kernel.maps import Mapping
from pellucid.kernel.memory import Memory
from pellucid.model import Gap
from pellucid.model.memory import MemoryMap, Part
from pellucid.observe.malloc_blocks import Malloc
from pellucid.runtimes.cpython import large_blocks, pool_headers
from pellucid.runtimes.cpython.large_blocks import ARRAY, KIND_WORDS, Large
from pellucid.runtimes.cpython.pool_headers import POOL, Pools
from pellucid.runtimes.cpython.process import CPython

MAX_READ_ONLY = 1 << 26
"""A larger mapping that can't be written to has no anonymous pages worth the reading of its page map."""
_SWAPPED = 1 << 20
"""Bytes in swap that are worth a word."""
_RESERVED, _SPARSE = 1 << 30, 32
_FILES = 4
_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc", "libhoard", "ld-musl")


class Where:
    """Looks at one process as often as wanted. `python` is None where there is none that can be read."""

    def __init__(self, pid: int, memory: Memory, python: CPython | None) -> None:
        self.pid = pid
        self._memory = memory
        self._python = python
        self.gaps: dict[Gap, None] = {}

    def look(self) -> MemoryMap:
        """The table now. Raises NoSuchProcess, NotPermitted."""
        began = time.perf_counter()
        uses = smaps.read(self.pid)
        mappings = tuple(use.mapping for use in uses)
        private = _joined(tuple(use.mapping for use in uses if _may_be_anonymous(use.mapping) and not _reserved(use)))
        try:
            pages = page_maps.pages(self.pid, private)
            status = procfs.status(
                self.pid
            )  # of the moment of the pages: what comes while they are made sense of is in neither
            pools = pool_headers.read(self._memory, private, pages) if self._python is not None else _no_pools()
            heap = Malloc(self._memory, private, pages, pools, _arenas(pools), self._large(pools, mappings))
        except OSError as error:
            tried = f"read the memory of pid {self.pid} (pagemap, /proc/{self.pid}/mem)"
            raise procfs.failed(self.pid, tried, error, "memory") from error
        self.gaps.update(dict.fromkeys(heap.gaps))
        if self._python is not None and not len(pools.addresses):
            why = "its objects are in malloc's blocks: PYTHONMALLOC=malloc, or another allocator"
            self.gaps[Gap("the pools of CPython's allocator", why)] = None
        swapped = _kib(status, "VmSwap")
        if swapped >= _SWAPPED:
            what = f"what the {swapped >> 20:,} MiB in swap hold"
            self.gaps[
                Gap(what, "to read them would bring them back into memory", f"pellucid heap {self.pid}  (which does)")
            ] = None
        allocator = _allocator(mappings)
        if allocator not in {"glibc", ""}:
            why = f"{allocator} has replaced malloc: its memory is among the other private mappings"
            self.gaps[Gap("what is in use and what is free in malloc", why)] = None
        return _table(
            self.pid,
            status,
            uses,
            pools,
            heap,
            allocator,
            time.perf_counter() - began,
            runtime=self._python is not None,
        )

    def _large(self, pools: Pools, mappings: tuple[Mapping, ...]) -> Large | None:
        return Large(self._python, pools, mappings) if self._python is not None else None


def _may_be_anonymous(mapping: Mapping) -> bool:
    """Private mappings; of files too: a page of them that was written to is a copy of one's own."""
    if "p" not in mapping.permissions or mapping.path.startswith("[v"):
        return False
    return "w" in mapping.permissions or mapping.end - mapping.start <= MAX_READ_ONLY


def _reserved(use: smaps.Use) -> bool:
    """Addresses kept for later, of which hardly anything is used (an array of zeros, the heap of a runtime): its page map alone would be large."""
    size = use.mapping.end - use.mapping.start
    return size > _RESERVED and (use.anonymous + use.swap) * _SPARSE < size


def _joined(mappings: tuple[Mapping, ...]) -> tuple[Mapping, ...]:
    """Neighbours of one kind as one: after a fork the kernel keeps apart what was mapped before and since (mm/vma.c, is_mergeable_anon_vma)."""
    found: list[Mapping] = []
    for mapping in mappings:
        last = found[-1] if found else None
        if (
            last is not None
            and last.end == mapping.start
            and not (last.inode or mapping.inode)
            and (last.permissions, last.path) == (mapping.permissions, mapping.path)
        ):
            found[-1] = replace(last, end=mapping.end)
        else:
            found.append(mapping)
    return tuple(found)


def _no_pools() -> Pools:
    none = np.zeros(0, np.int64)
    return Pools(none.astype(np.uint64), none, none, 0)


def _arenas(pools: Pools) -> list[tuple[int, int]]:
    """Runs of pools that follow each other."""
    if not len(pools.addresses):
        return []
    breaks = np.flatnonzero(np.diff(pools.addresses) != POOL) + 1
    starts = pools.addresses[np.concatenate(([0], breaks))].tolist()
    ends = pools.addresses[np.concatenate((breaks - 1, [len(pools.addresses) - 1]))].tolist()
    return [(start, end + POOL) for start, end in zip(starts, ends, strict=True)]


def _allocator(mappings: tuple[Mapping, ...]) -> str:
    names = {mapping.path.rpartition("/")[2] for mapping in mappings if mapping.inode}
    for known in _ALLOCATORS:
        if any(known in name for name in names):
            return known
    return "glibc" if any(name.startswith(("libc.so", "libc-2")) for name in names) else ""


def _table(
    pid: int,
    status: dict[str, str],
    uses: tuple[smaps.Use, ...],
    pools: Pools,
    heap: Malloc,
    allocator: str,
    cost_s: float,
    *,
    runtime: bool,
) -> MemoryMap:
    anon = _kib(status, "RssAnon")
    objects, object_bytes = heap.of(large_blocks.OBJECT, large_blocks.DICT_KEYS, large_blocks.REFERENCES)
    _, in_arrays = heap.of(ARRAY)
    in_use = max(0, heap.resident - heap.free_resident)
    native = max(0, in_use - object_bytes - in_arrays)
    stacks, stack_bytes = _stacks(uses)
    program = sum(use.anonymous for use in uses if use.mapping.inode and not use.shared)
    pool_used = pools.used_bytes
    rows = [
        Part("python-small", "Python objects, up to 512 bytes each", pool_used, count=pools.blocks),
        Part(
            "python-free",
            "free blocks in Python's pools",
            max(0, pools.resident_bytes - pool_used),
            detail=_fill(pools),
        ),
        Part("python-large", "larger Python objects and tables", object_bytes, count=objects, detail=_kinds(heap)),
        Part("arrays", "NumPy arrays", in_arrays, count=len(heap.arrays.addresses)),
        Part("malloc-used", f"malloc, in use{', not known to Python' if runtime else ''}", native, detail=_sizes(heap)),
        Part("malloc-free", "malloc, free and not given back", heap.free_resident, detail=_arena_words(heap)),
        Part("stacks", "stacks of threads", stack_bytes, count=stacks),
        Part("program", "data of the program and its libraries", program),
    ]
    rows += _java_heap(pid, uses)
    rest = anon - sum(row.resident_bytes for row in rows)
    rows.append(Part("other", "other private mappings", max(0, rest), detail=_others(uses, pools, heap)))
    files = _kib(status, "RssFile")
    shared = _kib(status, "RssShmem")
    rows.append(Part("files", "mapped files", files, anonymous=False, detail=_files(uses)))
    rows.append(Part("shared", "shared memory", shared, anonymous=False, detail=_shared(uses)))
    return MemoryMap(
        parts=tuple(row for row in rows if row.resident_bytes),
        rss_anon_bytes=anon,
        known_bytes=pool_used + object_bytes + in_arrays,
        pool_bytes=pools.resident_bytes,
        pool_used_bytes=pool_used,
        pool_blocks=pools.blocks,
        malloc_used_bytes=in_use,
        malloc_free_bytes=heap.free_resident,
        native_bytes=native,
        array_bytes=in_arrays,
        arrays=len(heap.arrays.addresses),
        arenas=len({one.top for one in heap.heaps if not one.main}) + any(one.main for one in heap.heaps),
        walked=min(1.0, heap.walked_bytes / heap.heap_bytes) if heap.heap_bytes else 1.0,
        sizes=heap.native_sizes(),
        largest=heap.largest,
        pss_anon_bytes=smaps.proportional(pid, "Pss_Anon"),
        allocator=allocator,
        cost_s=cost_s,
    )


def _java_heap(pid: int, uses: tuple[smaps.Use, ...]) -> list[Part]:
    if not any(use.mapping.path.endswith("/libjvm.so") for use in uses):
        return []
    from pellucid.observe import memory_jvm  # only where there is a JVM

    collector = memory_jvm.collector_of(pid)
    found = memory_jvm.heap(uses, collector) if collector is not None else None
    return [found] if found is not None else []


def _kib(status: dict[str, str], name: str) -> int:
    return int(status[name].split()[0]) * 1024 if name in status else 0


def _fill(pools: Pools) -> str:
    if not pools.resident_bytes:
        return ""
    return f"{100 * pools.used_bytes / pools.resident_bytes:.0f} % of {len(pools.addresses)} pools is in use"


def _kinds(heap: Malloc) -> str:
    told = [(heap.of(kind)[1], words) for kind, words in KIND_WORDS.items() if kind != ARRAY]
    return ", ".join(f"{words} {size >> 20} MiB" for size, words in sorted(told, reverse=True) if size >= 1 << 20)


def _sizes(heap: Malloc) -> str:
    told = [one for one in heap.native_sizes() if one.bytes >= 1 << 20]
    return ", ".join(f"{one.count} blocks of {one.size} bytes" for one in told)


def _arena_words(heap: Malloc) -> str:
    count = len(heap.heaps)
    return f"in {count} heaps" if count > 1 else ""


def _stacks(uses: tuple[smaps.Use, ...]) -> tuple[int, int]:
    """(stacks, bytes in memory): `[stack]`, and mappings right above a guard that may not be touched (nptl/allocatestack.c)."""
    count = size = 0
    before: Mapping | None = None
    for use in uses:
        mapping = use.mapping
        guarded = (
            before is not None
            and before.permissions == "---p"
            and not before.inode
            and before.end == mapping.start
            and before.end - before.start <= 1 << 16
        )
        if mapping.path == "[stack]" or (guarded and mapping.permissions.startswith("rw") and not mapping.inode):
            count += 1
            size += use.anonymous
        before = mapping
    return count, size


def _others(uses: tuple[smaps.Use, ...], pools: Pools, heap: Malloc) -> str:
    """The largest private mapping in which neither pools nor malloc were found."""
    known = sorted(
        [*_arenas(pools), *heap.ranges, *((block.address, block.address + block.size) for block in heap.own)]
    )
    starts, ends = [start for start, _ in known], [end for _, end in known]
    largest, name = 0, ""
    for use in uses:
        mapping = use.mapping
        if mapping.inode or use.shared or use.anonymous <= largest or mapping.path.startswith("[s"):
            continue
        if bisect_right(ends, mapping.start) == bisect_left(starts, mapping.end):  # none overlaps it
            largest, name = use.anonymous, mapping.path or f"{mapping.start:x}-{mapping.end:x}"
    return f"largest: {name}, {largest >> 20} MiB" if largest >= 1 << 20 else ""


def _files(uses: tuple[smaps.Use, ...]) -> str:
    by_path: dict[str, int] = {}
    for use in uses:
        if use.mapping.inode and not use.mapping.path.startswith(("/dev/shm/", "/memfd:", "/SYSV", "/dev/zero")):
            by_path[use.mapping.path] = by_path.get(use.mapping.path, 0) + use.rss - use.anonymous
    return _largest(by_path)


def _shared(uses: tuple[smaps.Use, ...]) -> str:
    by_path: dict[str, int] = {}
    for use in uses:
        if use.mapping.path.startswith(("/dev/shm/", "/memfd:", "/SYSV", "/dev/zero")):
            by_path[use.mapping.path] = by_path.get(use.mapping.path, 0) + use.rss
    return _largest(by_path)


def _largest(by_path: dict[str, int]) -> str:
    told = sorted(by_path.items(), key=lambda one: -one[1])[:_FILES]
    return ", ".join(f"{path.rpartition('/')[2] or path} {size >> 20} MiB" for path, size in told if size >= 1 << 20)
