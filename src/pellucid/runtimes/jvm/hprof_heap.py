"""The objects of a heap dump as arrays; `hprof_graph` has who holds whom.

    number   of an object: 0 … n-1, in the order of addresses    ids: see `hprof_ids`
    kind     0 instance, 1 array of objects, 2 primitive array, 3 class
    type     number of its class; for primitive arrays the type of an element (4 boolean … 11 long)
    at       where its fields or elements begin in the file; of a class its sub-record
    eighths  of its bytes in the heap: what the layout of that JVM makes of them (`hprof_layout`)

All of it takes 21 bytes an object, and is worked on in parts of a million, so that a dump takes less memory than it has bytes.
"""

from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.model import Gap
from pellucid.runtimes.jvm.hprof import Hprof
from pellucid.runtimes.jvm.hprof_classes import TYPES, Classes, Field, read_class
from pellucid.runtimes.jvm.hprof_ids import Ids, IdTable
from pellucid.runtimes.jvm.hprof_layout import Layout, infer
from pellucid.runtimes.jvm.hprof_records import CLASS as CLASS_TAG
from pellucid.runtimes.jvm.hprof_records import Kept, Places, View, places
from pellucid.runtimes.references import Indices, Longs

INSTANCE, OBJECTS, PRIMITIVES, CLASS = range(4)
_AT_ONCE = 1 << 18
ROOTS = {
    0x01: "JNI global reference", 0x02: "JNI local reference", 0x03: "local variable of a thread", 0x04: "native stack",
    0x05: "class of the boot loader", 0x06: "thread block", 0x07: "monitor in use", 0x08: "thread", 0xFF: "root of unknown kind"
}  # fmt: skip
_KIND_OF_TAG = np.zeros(256, np.uint8)
_KIND_OF_TAG[[0x21, 0x22, 0x23, 0x20]] = [INSTANCE, OBJECTS, PRIMITIVES, CLASS]


class Row(Struct, frozen=True):
    """One class of the histogram."""

    type: str
    count: int
    bytes: int


def classes_of(dump: Hprof, found: Places) -> Classes:
    """All classes that the dump describes."""
    return Classes([read_class(dump, at) for at in found.objects[found.tags == CLASS_TAG].tolist()], dump.id_size)


class Heap:
    """All objects of one dump. Raises what `Hprof` raises; damage is in `gaps`."""

    def __init__(self, dump: Hprof) -> None:
        self.dump = dump
        self.view = view = View(dump)
        found = places(dump, view)
        dump.forget_pages()
        self.gaps: list[Gap] = [*dump.gaps, *found.gaps]
        self.coverage = found.coverage
        self.classes = classes_of(dump, found)
        self.kind = _KIND_OF_TAG[found.tags]
        self.at: Kept = found.objects
        self.root_ids = view.ids(found.roots + 1)
        self.root_tags = found.root_tags
        self.root_at = found.roots
        del found
        self.ids = IdTable(len(self.at), self._ids)
        self._order()
        dump.forget_pages()
        self.type, self.elements = self._types(np.array([one.id for one in self.classes.all], np.uint64))
        self.layout: Layout = infer(self)
        self.eighths: NDArray[np.uint32] = self._eighths()

    def __len__(self) -> int:
        return len(self.at)

    def _ids(self, start: int, end: int) -> Ids:
        """Those of the records from `start` to `end`, as they stand in the file."""
        found = self.view.ids(self.at[start:end] + 1)
        self.dump.forget_pages()
        return found

    def _order(self) -> None:
        """By their addresses. An id that stands twice in the dump (a damaged one) counts once."""
        order = self.ids.sort()
        if order is None:
            return
        twice = len(self.at) - len(order)
        if twice:
            self.gaps.append(Gap(f"{twice:,} objects", "their ids stand twice in the dump: the first of each is taken"))
        self.kind, self.at = self.kind[order], self.at[order]

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
        for part in self._parts(CLASS):
            types[part] = classes(self.ids.of(part))
        lost = int((types < 0).sum())
        if lost:
            self.gaps.append(Gap(f"the class of {lost:,} objects", "the dump does not have it (a damaged or cut dump)"))
        return types, elements

    def _parts(self, kind: int) -> Iterator[Indices]:
        """The numbers of all objects of that kind, those of a stretch at a time."""
        for start in range(0, len(self), _AT_ONCE):
            yield (np.flatnonzero(self.kind[start : start + _AT_ONCE] == kind) + start).astype(np.int32)
            self.dump.forget_pages()

    def _eighths(self) -> NDArray[np.uint32]:
        found = np.zeros(len(self), np.uint32)
        for start in range(0, len(self), _AT_ONCE):
            numbers = np.arange(start, min(start + _AT_ONCE, len(self)), dtype=np.int32)
            found[numbers] = self.layout.sizes(self, numbers) // 8
        return found

    def sizes(self, numbers: Indices | slice = slice(None)) -> Longs:
        """Bytes of these objects, or of all."""
        return self.eighths[numbers].astype(np.int64) * 8

    def total(self, only: NDArray[np.bool_] | None = None) -> int:
        """Bytes of all these objects."""
        return int((self.eighths if only is None else self.eighths[only]).sum(dtype=np.int64)) * 8

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
        most = 4 * (max(int(self.type.max(initial=0)), len(self.classes)) + 2)
        counted, weighed = np.zeros(most, np.int64), np.zeros(most, np.int64)
        for start in range(0, len(self), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            key = (self.type[part] + 1) * 4 + self.kind[part]  # -1 is a class that the dump does not have
            eighths = self.eighths[part]
            if only is not None:
                key, eighths = key[only[part]], eighths[only[part]]
            counted += np.bincount(key, minlength=most)
            weighed += np.bincount(key, eighths, minlength=most).astype(np.int64)
        kinds = np.flatnonzero(counted)
        counts, bytes_ = counted[kinds].tolist(), (weighed[kinds] * 8).tolist()
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

    def roots(self) -> Indices:
        """The numbers of the objects that a root holds, each once."""
        found = self.ids.numbers(self.root_ids)
        return np.unique(found[found >= 0]).astype(np.int32)

    def root_kinds(self) -> dict[int, str]:
        """Why each root is one, in words."""
        return {number: ROOTS[int(self.root_tags[record])] for number, record in self.root_records().items()}

    def root_records(self) -> dict[int, int]:
        """Of each root the first record that makes it one: its place in `root_at`, `root_tags` and `root_ids`."""
        numbers = self.ids.numbers(self.root_ids).tolist()
        return {number: record for record, number in reversed(tuple(enumerate(numbers))) if number >= 0}


def value_of(heap: Heap, number: int, field: Field) -> int:
    """The id in a field of an instance; 0 where its record is too short."""
    i = heap.dump.id_size
    if field.offset + i > int(heap.elements[number]):
        return 0
    at = int(heap.at[number]) + field.offset
    return int.from_bytes(heap.dump.map[at : at + i], "big")
