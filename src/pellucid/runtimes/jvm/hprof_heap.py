"""The objects of a heap dump as arrays, and the graph of who holds whom.

    number   of an object: 0 … n-1, in the order of addresses    ids uint64, sorted
    kind     0 instance, 1 array of objects, 2 primitive array, 3 class
    type     number of its class; for primitive arrays the type of an element (4 boolean … 11 long)
    at       where its fields or elements begin in the file; of a class its sub-record
    sizes    bytes in the heap: what the layout of that JVM makes of them (`hprof_layout`)

The referents of weak and phantom references are no edges: what only they hold is free to go. Nor is an instance an edge to its class,
unless nothing else holds that class: then its loader lives for its sake (a class loader leak).
"""

from collections.abc import Callable, Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.model import Gap
from pellucid.runtimes.jvm.hprof import Hprof
from pellucid.runtimes.jvm.hprof_classes import OBJECT, TYPES, Classes, read_class
from pellucid.runtimes.jvm.hprof_layout import Layout, infer
from pellucid.runtimes.jvm.hprof_records import CLASS as CLASS_TAG
from pellucid.runtimes.jvm.hprof_records import Places, View, places
from pellucid.runtimes.references import Indices, Longs, References, packed

Ids = NDArray[np.uint64]

INSTANCE, OBJECTS, PRIMITIVES, CLASS = range(4)
_AT_ONCE = 1 << 20
_MOST_STEPS = 12
ROOTS = {
    0x01: "JNI global reference", 0x02: "JNI local reference", 0x03: "local variable of a thread", 0x04: "native stack",
    0x05: "class of the boot loader", 0x06: "thread block", 0x07: "monitor in use", 0x08: "thread", 0xFF: "root of unknown kind"
}  # fmt: skip
_NOT_HOLDING = ("java.lang.ref.WeakReference", "java.lang.ref.PhantomReference")


_KIND_OF_TAG = np.zeros(256, np.uint8)
_KIND_OF_TAG[[0x21, 0x22, 0x23, 0x20]] = [INSTANCE, OBJECTS, PRIMITIVES, CLASS]


AddEdges = Callable[[Indices, Ids], None]
"""Takes holders, and beside each the id of what it holds."""


class Row(Struct, frozen=True):
    """One class of the histogram."""

    type: str
    count: int
    bytes: int


def classes_of(dump: Hprof, found: Places) -> Classes:
    """All classes that the dump describes."""
    return Classes([read_class(dump, at) for at in found.objects[found.tags == CLASS_TAG].tolist()], dump.id_size)


class Lookup:
    """From ids to numbers: the place in the sorted ids, found by a table of their high bits in a few steps."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        count = len(ids)
        self._steps = 0
        if not count:
            return
        self._base = ids[0]
        span = int(ids[-1] - ids[0])
        shift = 3
        while (span >> shift) > count + 1024:
            shift += 1
        self._shift = np.uint64(shift)
        buckets = ((ids - self._base) >> self._shift).astype(np.int64)
        self._first = np.searchsorted(buckets, np.arange(int(buckets[-1]) + 2)).astype(np.int32)
        self._steps = int(np.diff(self._first).max())

    def numbers(self, wanted: Ids) -> Indices:
        """The number of each id, -1 for what is none."""
        found = np.full(len(wanted), -1, np.int32)
        if not len(self._ids):
            return found
        if self._steps > _MOST_STEPS:
            place = np.searchsorted(self._ids, wanted).astype(np.int32)
            place[place == len(self._ids)] = 0
            hit = self._ids[place] == wanted
            found[hit] = place[hit]
            return found
        inside = np.flatnonzero((wanted >= self._base) & (wanted <= self._ids[-1]))
        ids = wanted[inside]
        place = self._first[((ids - self._base) >> self._shift).astype(np.int64)]
        for _ in range(self._steps):
            behind = self._ids[place] < ids
            if not behind.any():
                break
            place = np.minimum(place + behind, len(self._ids) - 1).astype(np.int32)
        hit = self._ids[place] == ids
        found[inside[hit]] = place[hit]
        return found


class Heap:
    """All objects of one dump. Raises what `Hprof` raises; damage is in `gaps`."""

    def __init__(self, dump: Hprof) -> None:
        self.dump = dump
        self.view = View(dump)
        found = places(dump, self.view)
        self.gaps: list[Gap] = [*dump.gaps, *found.gaps]
        self.coverage = found.coverage
        view = self.view
        self.classes = classes_of(dump, found)
        class_ids = np.array([one.id for one in self.classes.all], np.uint64)
        self.ids: Ids = view.ids(found.objects + 1)
        self.kind = _KIND_OF_TAG[found.tags]
        self.at: Longs = found.objects
        if (self.ids[1:] < self.ids[:-1]).any():
            order = np.argsort(self.ids, kind="stable")
            self.ids, self.kind, self.at = self.ids[order], self.kind[order], self.at[order]
            del order
        dump.forget_pages()
        self._unite()
        self.type, self.elements = self._types(class_ids)
        dump.forget_pages()
        self.root_ids = view.ids(found.roots + 1)
        self.root_tags = found.root_tags
        self.layout: Layout = infer(self)
        self.sizes: Longs = self.layout.sizes(self)
        self._lookup: Lookup | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def _unite(self) -> None:
        """An id that stands twice in the dump (a damaged one) counts once."""
        fresh = np.concatenate(([True], self.ids[1:] != self.ids[:-1])) if len(self.ids) else np.zeros(0, bool)
        if not fresh.all():
            self.gaps.append(
                Gap(f"{int((~fresh).sum()):,} objects", "their ids stand twice in the dump: the first of each is taken")
            )
            self.ids, self.kind, self.at = self.ids[fresh], self.kind[fresh], self.at[fresh]

    def _types(self, class_ids: Ids) -> tuple[Indices, Indices]:
        """(type, number of elements) of each object; the offsets move on to the fields and elements."""
        i, view = self.dump.id_size, self.view
        order = np.argsort(class_ids, kind="stable")
        known = class_ids[order]
        types = np.full(len(self), -1, np.int32)
        elements = np.zeros(len(self), np.int32)  # no array has 2^31 elements

        def classes(ids: Ids) -> Indices:
            if not len(known):
                return np.full(len(ids), -1, np.int32)
            place = np.searchsorted(known, ids)
            place[place == len(known)] = 0
            return np.where(known[place] == ids, order[place], -1).astype(np.int32)

        for part in self._parts(INSTANCE):
            at = self.at[part]
            types[part] = classes(view.ids(at + (5 + i)))
            elements[part] = view.u4[at + (5 + 2 * i)]
            self.at[part] = at + (9 + 2 * i)
        for part in self._parts(OBJECTS):
            at = self.at[part]
            elements[part] = view.u4[at + (5 + i)]
            types[part] = classes(view.ids(at + (9 + i)))
            self.at[part] = at + (9 + 2 * i)
        for part in self._parts(PRIMITIVES):
            at = self.at[part]
            elements[part] = view.u4[at + (5 + i)]
            types[part] = view.bytes[at + (9 + i)]
            self.at[part] = at + (10 + i)
        own = np.flatnonzero(self.kind == CLASS)
        types[own] = classes(self.ids[own])
        lost = int((types < 0).sum())
        if lost:
            self.gaps.append(Gap(f"the class of {lost:,} objects", "the dump does not have it (a damaged or cut dump)"))
        return types, elements

    def _parts(self, kind: int) -> Iterator[Indices]:
        numbers = np.flatnonzero(self.kind == kind).astype(np.int32)
        for start in range(0, len(numbers), _AT_ONCE):
            yield numbers[start : start + _AT_ONCE]

    def type_name(self, number: int) -> str:
        """`java.lang.String`, `int[]`, `class java.lang.String`."""
        kind, type_ = int(self.kind[number]), int(self.type[number])
        if kind == PRIMITIVES:
            return f"{TYPES.get(type_, '?')}[]"
        if type_ < 0:
            return "?"
        return f"class {self.classes.name(type_)}" if kind == CLASS else self.classes.name(type_)

    def histogram(self, only: NDArray[np.bool_] | None = None) -> tuple[Row, ...]:
        """Instances and bytes of each class, most bytes first; a class itself counts as an instance of java.lang.Class."""
        key = (self.type + 1) * 4 + self.kind  # -1 is a class that the dump does not have
        sizes = self.sizes
        if only is not None:
            key, sizes = key[only], sizes[only]
        counted = np.bincount(key)
        weighed = np.bincount(key, sizes)
        kinds = np.flatnonzero(counted)
        counts, bytes_ = counted[kinds].tolist(), weighed[kinds].astype(np.int64).tolist()
        rows: dict[str, tuple[int, int]] = {}
        for each, count, size in zip(kinds.tolist(), counts, bytes_, strict=True):
            name = self._name_of_key(each)
            before = rows.get(name, (0, 0))
            rows[name] = (before[0] + count, before[1] + size)
        ordered = sorted(rows.items(), key=lambda item: (-item[1][1], item[0]))
        return tuple(Row(name, count, size) for name, (count, size) in ordered)

    def _name_of_key(self, key: int) -> str:
        kind, type_ = key & 3, (key >> 2) - 1
        if kind == CLASS:
            return "java.lang.Class"
        if kind == PRIMITIVES:
            return f"{TYPES.get(type_, '?')}[]"
        return self.classes.name(type_) if type_ >= 0 else "?"

    @property
    def lookup(self) -> Lookup:
        if self._lookup is None:
            self._lookup = Lookup(self.ids)
        return self._lookup

    def forget_lookup(self) -> None:
        """Lets go of the table, which is made anew when it is asked for."""
        self._lookup = None

    def by_class(self) -> Iterator[tuple[int, Indices]]:
        """(class, its instances) of all instances."""
        numbers = np.flatnonzero((self.kind == INSTANCE) & (self.type >= 0)).astype(np.int32)
        types = self.type[numbers]
        order = np.argsort(types, kind="stable")
        numbers, types = numbers[order], types[order]
        if not len(types):
            return
        starts = np.flatnonzero(np.concatenate(([True], types[1:] != types[:-1])))
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(numbers)], strict=True):
            yield int(types[start]), numbers[start:end]

    def roots(self) -> Indices:
        """The numbers of the objects that a root holds, each once."""
        found = self.lookup.numbers(self.root_ids)
        return np.unique(found[found >= 0]).astype(np.int32)

    def root_kinds(self) -> dict[int, str]:
        """Why each root is one, in words."""
        numbers = self.lookup.numbers(self.root_ids)
        return {
            number: ROOTS[tag]
            for number, tag in zip(numbers.tolist()[::-1], self.root_tags.tolist()[::-1], strict=True)
            if number >= 0
        }

    def references(self) -> References:
        """The graph of what holds what."""
        edges: list[Ids] = []

        def add(holders: Indices, ids: Ids) -> None:
            there = ids != 0
            held = self.lookup.numbers(ids[there])
            known = held >= 0
            edges.append(packed(holders[there][known], held[known]))

        for type_, instances in self.by_class():
            fields = self._holding_fields(type_)
            width = max((one for one in fields), default=-1) + self.dump.id_size
            whole = self.elements[instances] >= width
            instances = instances[whole]
            for offset in fields:
                for start in range(0, len(instances), _AT_ONCE):
                    part = instances[start : start + _AT_ONCE]
                    add(part, self.view.ids(self.at[part] + offset))
        for part in self._parts(OBJECTS):
            self._elements(part, add)
        for number, ids in self._class_edges():
            add(np.full(len(ids), number, np.int32), np.array(ids, np.uint64))
        self.dump.forget_pages()
        all_edges = np.concatenate(edges) if edges else np.zeros(0, np.uint64)
        edges.clear()
        return self._with_classes(References.of_packed(len(self), all_edges))

    def _holding_fields(self, type_: int) -> list[int]:
        """Offsets of the fields that hold an object; the referent of a weak or phantom reference is not held."""
        weak = any(self.classes.name(one) in _NOT_HOLDING for one in self.classes.chain(type_))
        return [
            one.offset
            for one in self.classes.fields(type_)
            if one.type == OBJECT
            and not (
                weak and one.name == "referent" and self.classes.name(one.declared_in) == "java.lang.ref.Reference"
            )
        ]

    def _elements(self, arrays: Indices, add: AddEdges) -> None:
        i = self.dump.id_size
        counts = self.elements[arrays]
        ends = np.cumsum(counts)
        begin = 0
        while begin < len(arrays):
            # As many arrays as have about a million elements together.
            before = int(ends[begin - 1]) if begin else 0
            stop = max(begin + 1, int(np.searchsorted(ends, before + 4 * _AT_ONCE)))
            part, size = arrays[begin:stop], counts[begin:stop]
            holders = np.repeat(part, size)
            starts = np.cumsum(size) - size
            at = np.repeat(self.at[part] - starts * i, size) + i * np.arange(len(holders), dtype=np.int64)
            add(holders, self.view.ids(at))
            begin = stop

    def _class_edges(self) -> Iterator[tuple[int, list[int]]]:
        """What each class holds: its static fields, its super class, its loader, signers and domain."""
        numbers = np.flatnonzero((self.kind == CLASS) & (self.type >= 0))
        for number in numbers.tolist():
            one = self.classes.all[int(self.type[number])]
            ids = [value for _, value in one.statics] + [
                each for each in (one.super_id, one.loader_id, *one.held) if each
            ]
            if ids:
                yield number, ids

    def _with_classes(self, graph: References) -> References:
        """The graph, with edges from instances to those of their classes that nothing else holds."""
        numbers = np.flatnonzero((self.kind == CLASS) & (self.type >= 0)).astype(np.int32)
        held = graph.parents(self.roots())[numbers] >= 0
        if held.all():
            return graph
        number_of = np.full(len(self.classes), -1, np.int32)
        number_of[self.type[numbers[~held]]] = numbers[~held]
        typed = np.flatnonzero((self.kind == INSTANCE) & (self.type >= 0)).astype(np.int32)
        of_class = number_of[self.type[typed]]
        more = of_class >= 0
        if not more.any():
            return graph
        edges = np.concatenate((packed(graph.sources(), graph.targets), packed(typed[more], of_class[more])))
        return References.of_packed(len(self), edges)
