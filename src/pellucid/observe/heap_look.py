"""One look at the heap of a process: the copy, the census, the references, and what can be said of them."""

import ctypes
import time
from collections.abc import Callable
from fnmatch import fnmatchcase

import numpy as np
from msgspec import Struct

from pellucid.kernel import procfs
from pellucid.model import Process
from pellucid.model.heap import Census, Hold, Note, Suspect
from pellucid.observe import heap
from pellucid.observe.heap_dump import Dump, DumpedType, Holder
from pellucid.observe.heap_holders import MOST, piles, suspect
from pellucid.runtimes.cpython import heap_edges
from pellucid.runtimes.cpython.census import Heap
from pellucid.runtimes.cpython.heap_paths import Paths
from pellucid.runtimes.cpython.heap_roots import Roots, roots
from pellucid.runtimes.cpython.heap_waste import waste
from pellucid.runtimes.cpython.image import CopiedMemory

EVERYTHING = 1 << 46
SHARE = 0.1
"""The part of the heap that one holder has to retain to be told of."""

_LEAST = 64 << 10
_PART = 0.01
"""The part of a type's objects that a second holder has to refer to."""

_OUTSIDE = 1000  # objects of one type that C code holds, before that is told


class HeapSeen(Struct, frozen=True):
    """A dump, who holds most of it, and what else is to be said; the sentences are `diagnose.heap`'s."""

    dump: Dump
    suspects: tuple[Suspect, ...]
    notes: tuple[Note, ...]
    steps: dict[str, float]
    counted: Census | None = None
    """What a census alone would have told, without what was found over references: to be compared with one. None of a file."""

    @property
    def process(self) -> Process | None:
        return self.dump.process

    @property
    def census(self) -> Census:
        return self.dump.census

    @property
    def edges(self) -> int:
        return self.dump.graph.edges


class Clock:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Ends a step. What its arrays took goes back to the machine: malloc keeps it otherwise (malloc_trim(3))."""
        ctypes.CDLL(None).malloc_trim(0)
        now = time.perf_counter()
        self.steps[name] = now - self._last
        self._last = now


def look(
    pid: int,
    *,
    pause: bool,
    include_values: bool = False,
    limit: int = EVERYTHING,
    type_name: str | None = None,
    command: str = "heap",
    told: Callable[[str], None] = lambda _: None,
) -> HeapSeen:
    """Copies, counts and judges; also who refers to the objects of `type_name`. `told` hears what is done just now. Raises as `heap.census` does."""
    clock = Clock()
    began = time.perf_counter()
    process = procfs.process(pid)
    with heap.attached(pid, command) as python:
        process = procfs.with_runtime(process, python.name)
        if pause:
            told(f"pid {pid} will stand still while its memory is copied (--no-pause does without)")
        counted = heap.counted(python, pause=pause, limit=limit, command=command)
        if counted.image.paused_s is not None:
            told(f"pid {pid} goes on; it stood still for {1000 * counted.image.paused_s:.0f} ms")
        clock.lap("copy and census")
        alone = heap.value(pid, counted, began)
        told(f"following the references of {len(counted):,} objects")
        graph = heap_edges.link(counted)
        seen = heap.value(pid, counted, began)  # with what was found over references
        counted.sizes += counted.attributes()  # what an object retains is all that would go with it
        clock.lap("references")
        held = roots(counted, graph, python.runtime)
        paths = Paths(counted, graph, held, include_values=include_values)
        dump = Dump(
            process=process,
            census=seen,
            addresses=lambda: counted.image.addresses(counted.places),
            index=counted.index,
            sizes=counted.sizes,
            graph=graph,
            roots=held.numbers(),
            types=_types(counted),
            describe=_describer(paths),
        )
        clock.lap("roots")
        told("looking for who holds most")
        dump.settle()
        clock.lap("dominators")
        floor = max(int(SHARE * int(dump.sizes.sum())), _LEAST)
        held_by_one = [pile for pile in piles(dump, dump.sizes, floor) if pile.container >= 0]
        suspects = tuple(suspect(dump, pile) for pile in held_by_one[:MOST])
        clock.lap("holders")
        notes = (*_notes(counted, dump, paths), *_outside(counted, dump, held))
        if type_name is not None:
            notes += tuple(of_type(dump, type_name))
        clock.lap("notes")
        if isinstance(counted.memory, CopiedMemory):
            counted.memory.let_go()
        return HeapSeen(dump, suspects, notes, clock.steps, alone)


def of_type(dump: Dump, pattern: str, most: int = 5) -> list[Note]:
    """Who refers to the objects of the types that `pattern` matches, a name with or without its module, or a glob; who to most comes first."""
    matching = [fnmatchcase(kind.name, pattern) or kind.name.rpartition(".")[2] == pattern for kind in dump.types]
    wanted = np.array(matching, bool)[dump.index]
    count = int(np.count_nonzero(wanted))
    names = sorted({kind.name for kind, match in zip(dump.types, matching, strict=True) if match})
    name = names[0] if len(names) == 1 else pattern
    if not count:
        return [Note("type", pattern, 0, 0)]
    edges = np.flatnonzero(wanted[dump.graph.targets])
    counts = np.bincount(np.searchsorted(dump.graph.first, edges, "right") - 1, minlength=1)
    notes: list[Note] = []
    for holder in np.argsort(-counts, kind="stable")[:most].tolist():
        if counts[holder] and (not notes or counts[holder] >= _PART * count):
            held = dump.graph.of_object(holder)
            held = np.unique(held[wanted[held]])
            size = int(dump.retained[held].sum())
            path = dump.describe(holder).path or (Hold("other", "", dump.type_of(holder)),)
            notes.append(Note("type", name, len(held), size, path, f"of {count:,} in all"))
    return notes


def _types(counted: Heap) -> tuple[DumpedType, ...]:
    found = []
    for number in range(len(counted.types)):
        module, name = counted.types.module_and_name(number)
        found.append(DumpedType(heap.spelt(module, name), heap.is_own(module)))
    return tuple(found)


def _describer(paths: Paths) -> Callable[[int], Holder]:
    def describe(number: int) -> Holder:
        path = paths.to(number)
        limit = int(path[-1].where) if path and path[-1].how == "lru_cache" and path[-1].where else None
        return Holder(path, paths.length(number), paths.key_types(number), limit)

    return describe


def _notes(counted: Heap, dump: Dump, paths: Paths) -> list[Note]:
    notes = []
    for one in waste(counted, dump.idom):
        holder: tuple[Hold, ...] = ()
        kind = one.type
        if one.kind == "large":
            holder, kind = paths.to(one.number), dump.type_of(one.number)
        notes.append(Note(one.kind, kind, one.count, one.bytes, holder, one.detail))
    return notes


def _outside(counted: Heap, dump: Dump, held: Roots) -> list[Note]:
    """Types that C code holds by the thousand, and what the collector gave up."""
    notes = []
    kinds = np.bincount(counted.index[held.outside], minlength=len(counted.types))
    total = np.bincount(counted.index, minlength=len(counted.types))
    for kind in np.argsort(-kinds)[:3].tolist():
        if kinds[kind] >= _OUTSIDE and kinds[kind] >= 0.5 * total[kind]:
            mine = held.outside[counted.index[held.outside] == kind]
            size = int(dump.retained[mine].sum())
            notes.append(
                Note("outside", dump.types[kind].name, int(kinds[kind]), size, detail=f"of {int(total[kind]):,} in all")
            )
    if held.uncollectable:
        numbers = np.array(held.uncollectable, np.int64)
        notes.append(
            Note("uncollectable", dump.type_of(held.uncollectable[0]), len(numbers), int(dump.sizes[numbers].sum()))
        )
    return notes
