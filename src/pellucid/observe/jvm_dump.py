"""The dump of a JVM's heap, read from its file: a histogram, then who holds whom (dominators, retained sizes, suspects with their ways), what grew from
one dump to another, and single objects.
"""

import contextlib
import fnmatch
import struct
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pellucid.kernel.own_malloc import give_back
from pellucid.model.errors import UsageError
from pellucid.model.heap_jvm import (
    FieldValue,
    HeldType,
    JavaHeapDiffReport,
    JavaHeapReport,
    JavaObject,
    JavaObjectsReport,
    JavaSuspect,
)
from pellucid.observe.jvm_heap import class_count, grown

if TYPE_CHECKING:
    from pellucid.runtimes.jvm.hprof_classes import Field
    from pellucid.runtimes.jvm.hprof_heap import Heap
    from pellucid.runtimes.jvm.hprof_holders import Group, Tree
    from pellucid.runtimes.references import Indices

Told = Callable[[str], None]
MOST_OBJECTS = 20
_MOST_ELEMENTS = 16
_MOST_HOLDERS = 8
_LARGE = 8 << 20
"""Bytes: an array of one number an object of a dump; those of a part of the heap are smaller."""


def is_dump(path: str) -> bool:
    """A heap dump of a JVM, by its first bytes; gzip'd ones too."""
    from pellucid.runtimes.jvm.hprof import is_dump as begins_as_one

    return begins_as_one(path)


@contextlib.contextmanager
def opened(path: str, told: Told) -> "Iterator[Heap]":
    """The objects of a dump."""
    from pellucid.runtimes.jvm.hprof import Hprof
    from pellucid.runtimes.jvm.hprof_heap import Heap

    give_back(_LARGE)
    with Hprof(path) as dump:
        told(f"reading {dump.size / 1e6:,.0f} MB")
        yield Heap(dump)


def of_file(path: str, *, told: Told = lambda _: None, suspects: bool = True) -> JavaHeapReport:
    """The report of a dump. Raises NotADump, UsageError."""
    began = time.perf_counter()
    if not suspects:
        return _quick(path, told, began)
    with opened(path, told) as heap:
        took = {"objects": time.perf_counter() - began}
        rows = heap.histogram()
        lap = time.perf_counter()
        told(f"{len(heap):,} objects: who holds whom")
        from pellucid.runtimes.jvm.hprof_holders import held, trees

        found = held(heap)
        took["holders"] = time.perf_counter() - lap
        kept = tuple(_suspect(one) for one in trees(found))
        return JavaHeapReport(
            process=None,
            taken_at=heap.dump.milliseconds / 1000,
            gaps=tuple(heap.gaps),
            types=tuple(class_count(row.type, row.count, row.bytes) for row in rows),
            total_bytes=heap.total(),
            objects=len(heap),
            coverage=heap.coverage,
            suspects=kept,
            reachable_bytes=found.total,
            layout=heap.layout.words,
            file=path,
            took_s=took,
        )


def _quick(path: str, told: Told, began: float) -> JavaHeapReport:
    """The histogram alone: no object is told from another."""
    from pellucid.runtimes.jvm.hprof import Hprof
    from pellucid.runtimes.jvm.hprof_counts import counts

    with Hprof(path) as dump:
        told(f"reading {dump.size / 1e6:,.0f} MB")
        found = counts(dump)
        return JavaHeapReport(
            process=None,
            taken_at=dump.milliseconds / 1000,
            gaps=(*dump.gaps, *found.gaps),
            types=tuple(class_count(row.type, row.count, row.bytes) for row in found.rows),
            total_bytes=sum(row.bytes for row in found.rows),
            objects=sum(row.count for row in found.rows),
            coverage=found.coverage,
            layout=found.layout.words,
            file=path,
            took_s={"objects": time.perf_counter() - began},
        )


def _suspect(tree: "Tree") -> JavaSuspect:
    """Without its sentence, which `diagnose.heap_jvm` has."""
    types = tree.keys or tree.values or tree.groups
    return JavaSuspect(
        holder=tree.way,
        holder_type=tree.type,
        held_type=types[0].type if types else "",
        held_count=types[0].count if types else 0,
        retained_bytes=tree.retained_bytes,
        share=tree.share,
        length=tree.entries,
        keys=tree.keys[0].type if tree.keys else "",
        limit=None,
        sentence="",
        root=tree.root,
        held=_held(tree.groups),
        key_types=_held(tree.keys),
        value_types=_held(tree.values),
        alike=tree.alike,
        sampled=tree.sampled,
        old_names=tree.old_names,
    )


def _held(groups: "tuple[Group, ...]") -> tuple[HeldType, ...]:
    return tuple(HeldType(one.type, one.count, one.bytes) for one in groups)


def diff(before: str, after: str, *, told: Told = lambda _: None) -> JavaHeapDiffReport:
    """What became more from one dump to the other, by class."""
    one, two = (_quick(path, told, time.perf_counter()) for path in (before, after))
    return grown(one, two, (before, after))


def objects(
    path: str,
    *,
    type_name: str | None = None,
    object_id: str | None = None,
    values: bool = False,
    told: Told = lambda _: None,
) -> JavaObjectsReport:
    """The objects of a class (a name or a glob) that retain most, or the one with this id. Raises UsageError where there is none."""
    import numpy as np

    from pellucid.runtimes.jvm.hprof_holders import Ways, held

    with opened(path, told) as heap:
        chosen = _by_id(heap, object_id) if object_id is not None else _by_type(heap, type_name or "*")
        if not len(chosen):
            what = f"object {object_id}" if object_id is not None else f"class {type_name}"
            raise UsageError(
                tried=f"find {what} in {path}",
                said="the dump has none",
                remedy=f"pellucid heap {path} -n 100  (its classes)",
            )
        found = held(heap)
        most = chosen[np.argsort(-found.retained[chosen], kind="stable")][:MOST_OBJECTS]
        ways = Ways(found)
        turned = found.graph.turned() if len(most) == 1 else None
        told_objects = []
        for number in most.tolist():
            steps, root = ways.to(number)
            holders = turned.of_object(number)[:_MOST_HOLDERS].tolist() if turned is not None else []
            told_objects.append(
                JavaObject(
                    id=f"{heap.ids.id(number):#x}",
                    type=heap.type_name(number),
                    bytes=int(heap.sizes(np.array([number]))[0]),
                    retained_bytes=int(found.retained[number]),
                    fields=_fields(heap, number, values=values),
                    way=steps,
                    root=root,
                    holders=tuple(f"{heap.type_name(one)} {heap.ids.id(one):#x}" for one in holders),
                )
            )
        return JavaObjectsReport(
            process=None,
            taken_at=heap.dump.milliseconds / 1000,
            gaps=tuple(heap.gaps),
            count=len(chosen),
            total_bytes=int(heap.sizes(chosen).sum()),
            objects=tuple(told_objects),
            file=path,
        )


def _by_id(heap: "Heap", text: str) -> "Indices":
    import numpy as np

    try:
        wanted = int(text, 0)
    except ValueError:
        raise UsageError(
            tried=f"read {text!r} as the id of an object", said="it is no number", remedy="0x7c0012345"
        ) from None
    found = heap.ids.numbers(np.array([wanted & (1 << 64) - 1], np.uint64))
    return found[found >= 0]


def _by_type(heap: "Heap", pattern: str) -> "Indices":
    """Of the classes whose name is `pattern` or matches it as a glob, as `histogram` spells them."""
    import numpy as np

    from pellucid.runtimes.jvm.hprof_classes import TYPES
    from pellucid.runtimes.jvm.hprof_heap import CLASS, PRIMITIVES

    kinds = [
        number
        for number, one in enumerate(heap.classes.all)
        if one.name == pattern or fnmatch.fnmatchcase(one.name, pattern)
    ]
    primitives = [
        number for number, name in TYPES.items() if fnmatch.fnmatchcase(f"{name}[]", pattern.replace("[]", "[[]]"))
    ]
    wanted = np.isin(heap.type, kinds) & (heap.kind != PRIMITIVES) & (heap.kind != CLASS)
    wanted |= np.isin(heap.type, primitives) & (heap.kind == PRIMITIVES)
    return np.flatnonzero(wanted).astype(np.int32)


def _fields(heap: "Heap", number: int, *, values: bool) -> tuple[FieldValue, ...]:
    from pellucid.runtimes.jvm.hprof_heap import CLASS, INSTANCE, OBJECTS

    kind, type_ = int(heap.kind[number]), int(heap.type[number])
    if kind == INSTANCE and type_ >= 0:
        return tuple(_field(heap, number, field, values=values) for field in heap.classes.fields(type_))
    if kind == CLASS and type_ >= 0:
        one = heap.classes.all[type_]
        return tuple(
            FieldValue(name, "object", _object(heap, id_, values=values), one.name) for name, id_ in one.statics
        )
    if kind == OBJECTS:
        i, at = heap.dump.id_size, int(heap.at[number])
        count = min(int(heap.elements[number]), _MOST_ELEMENTS)
        ids = [int.from_bytes(heap.dump.map[at + i * n : at + i * n + i], "big") for n in range(count)]
        return tuple(FieldValue(f"[{n}]", "object", _object(heap, id_, values=values), "") for n, id_ in enumerate(ids))
    return (FieldValue("length", "int", str(int(heap.elements[number])), ""),)


_UNPACK = {4: ">?", 5: ">H", 6: ">f", 7: ">d", 8: ">b", 9: ">h", 10: ">i", 11: ">q"}


def _field(heap: "Heap", number: int, field: "Field", *, values: bool) -> FieldValue:
    from pellucid.runtimes.jvm.hprof_classes import OBJECT, TYPES, WIDTHS
    from pellucid.runtimes.jvm.hprof_heap import value_of

    declared = heap.classes.name(field.declared_in)
    if field.type == OBJECT:
        return FieldValue(field.name, "object", _object(heap, value_of(heap, number, field), values=values), declared)
    at = int(heap.at[number]) + field.offset
    if field.offset + WIDTHS.get(field.type, 0) > int(heap.elements[number]) or field.type not in _UNPACK:
        return FieldValue(field.name, "?", "(cut off)", declared)
    (value,) = struct.unpack_from(_UNPACK[field.type], heap.dump.map, at)
    return FieldValue(field.name, TYPES[field.type], str(value).lower() if field.type == 4 else str(value), declared)


def _object(heap: "Heap", id_: int, *, values: bool) -> str:
    import numpy as np

    from pellucid.runtimes.jvm.hprof_holders import string_bytes

    if not id_:
        return "null"
    (number,) = heap.ids.numbers(np.array([id_], np.uint64)).tolist()
    if number < 0:
        return f"{id_:#x} (not in the dump)"
    name = heap.type_name(number)
    if values and name == "java.lang.String":
        raw = string_bytes(heap, id_) or b""
        return '"' + raw.decode("latin-1", "replace")[:200] + '"'
    return f"{name} {id_:#x}"
