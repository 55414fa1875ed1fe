"""The heap of a JVM: a histogram that it tells itself, or a dump read from its file.

heap PID          inspectheap -all: no collection is forced (`live`: one is, and only what is in use is counted)
heap FILE.hprof   histogram, then who holds whom: dominators, retained sizes, suspects with their ways
"""

import contextlib
import fnmatch
import os
import re
import struct
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pellucid.kernel import procfs
from pellucid.kernel.own_malloc import give_back
from pellucid.model.errors import LookError, NoSuchProcess, NotUnderstood, UsageError
from pellucid.model.heap import TypeCount, TypeGrowth
from pellucid.model.heap_jvm import (
    FieldValue,
    HeldType,
    JavaHeapDiffReport,
    JavaHeapReport,
    JavaObject,
    JavaObjectsReport,
    JavaSuspect,
)
from pellucid.model.thread import JDK

if TYPE_CHECKING:
    from pellucid.runtimes.jvm.hprof_classes import Field
    from pellucid.runtimes.jvm.hprof_heap import Heap
    from pellucid.runtimes.jvm.hprof_holders import Group, Tree
    from pellucid.runtimes.references import Indices

Told = Callable[[str], None]
_ROW = re.compile(r"^\s*\d+:\s+(\d+)\s+(\d+)\s+(\S+)(?: \((\S+)\))?$", re.MULTILINE)
_HISTOGRAM_LIMIT_S = 120.0
MOST_OBJECTS = 20
_MOST_ELEMENTS = 16
_MOST_HOLDERS = 8
_LARGE = 8 << 20
"""Bytes: an array of one number an object of a dump; those of a part of the heap are smaller."""


def is_dump(path: str) -> bool:
    """A heap dump of a JVM, by its first bytes; gzip'd ones too."""
    from pellucid.runtimes.jvm.hprof import is_dump as begins_as_one

    return begins_as_one(path)


def of_pid(pid: int, *, live: bool = False) -> JavaHeapReport:
    """The histogram that the JVM counts. Raises what `Attach` raises."""
    from pellucid.runtimes.jvm.attach import Attach

    with Attach(pid, "heap", limit_s=_HISTOGRAM_LIMIT_S) as attach:
        before = _stopped(pid)
        answer = attach.ask("inspectheap", "-live" if live else "-all")
        after = _stopped(pid)
        process = replace(procfs.process(pid), runtime=attach.jvm.name)
    rows = histogram_rows(answer.text)
    if answer.code or not rows:
        raise NotUnderstood(
            pid,
            tried=f"ask the JVM in pid {pid} for its histogram",
            said=f"it answered {answer.code}: {answer.text[:200]!r}",
            remedy=f"pellucid jvm cmd {pid} GC.class_histogram",
        )
    took = {"asked": answer.took_s}
    if before is not None and after is not None:
        took["stopped"] = after - before
    return JavaHeapReport(
        process=process,
        taken_at=time.time(),
        gaps=(),
        types=rows,
        total_bytes=sum(row.bytes for row in rows),
        objects=sum(row.count for row in rows),
        coverage=1.0,
        asked=True,
        collected=live,
        took_s=took,
    )


def _stopped(pid: int) -> float | None:
    """Seconds that its threads have stood still since the start; None where it publishes no counters."""
    from pellucid.runtimes.jvm.collector import collector
    from pellucid.runtimes.jvm.perfdata import PerfData

    try:
        data = PerfData(pid, "heap")
    except LookError:
        return None
    try:
        safepoints = collector(data.read(), 0.0).safepoints
    finally:
        data.close()
    return safepoints.time_s if safepoints is not None else None


def histogram_rows(told: str) -> tuple[TypeCount, ...]:
    """`   1:        108723        3479136  java.util.HashMap$Node (java.base@17)`: the rows of a histogram (KlassInfoTable::print_histo_on)."""
    from pellucid.runtimes.jvm.names import spelt

    return tuple(_row(spelt(name), int(count), int(bytes_)) for count, bytes_, name, _ in _ROW.findall(told))


def _row(name: str, count: int, bytes_: int) -> TypeCount:
    package = name.rpartition(".")[0]
    element = name.rstrip("[]")
    own = "." in element or element[:1].isupper()
    return TypeCount(name, package, count, bytes_, own=own and not (element.replace(".", "/") + "/").startswith(JDK))


def dump_of_pid(pid: int, path: str, *, live: bool, force: bool) -> str:
    """Makes the JVM write a dump of itself to `path` and returns where it is. Raises UsageError where that exists or there is no room, and
    what `Attach` raises.

    The JVM writes it, as its own user and in its own file system; under a passing name until it is whole.
    """
    from pellucid.runtimes.jvm.attach import Attach

    path = os.path.abspath(path)
    here, passing = f"/proc/{pid}/root{path}", f"{path}.partial"
    there = f"/proc/{pid}/root{passing}"
    if os.path.lexists(here) and not force:
        raise UsageError(
            tried=f"write {path}", said="it is there already", remedy=f"pellucid heap {pid} --save {path} --force"
        )
    with Attach(pid, "heap", limit_s=600) as attach:
        if not live:
            _has_room(pid, path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(there)
        try:
            answer = attach.ask("dumpheap", passing, "-live" if live else "-all")
        except NoSuchProcess as error:
            if not os.path.exists(passing):
                raise
            said = f"pid {pid} ended while it wrote its dump: {passing} is what it had written"
            raise NoSuchProcess(pid, tried=error.tried, said=said, remedy=f"pellucid heap {passing}") from error
    if answer.code or _WRITTEN not in answer.text or not os.path.exists(there):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(there)  # a part, which would only fill the disk
        raise NotUnderstood(
            pid,
            tried=f"make the JVM in pid {pid} write a dump to {path}",
            said=f"it answered: {' '.join(answer.text.split())[:200]}",
            remedy=f"pellucid heap {pid} --save /tmp/heap.hprof  (a folder with room that the JVM's own user may write to)",
        )
    os.rename(there, here)
    return path if os.path.exists(path) and os.path.samefile(path, here) else here


_WRITTEN = "Heap dump file created"
"""How the answer begins or ends where that is true; its code is 0 also where the disk was full (HeapDumper::dump)."""


def _has_room(pid: int, path: str) -> None:
    """A dump is larger than what is in use of the heap: it would only fill the disk where there is less room than that."""
    used = _used(pid)
    try:
        disk = os.statvfs(f"/proc/{pid}/root{os.path.dirname(path)}")
    except OSError:
        return  # the JVM says why it can't write there
    free = disk.f_bavail * disk.f_frsize
    if used is not None and free < used:
        raise UsageError(
            tried=f"make the JVM in pid {pid} write a dump to {path}",
            said=f"it would have more than {used / 1e6:,.0f} MB, and there is room for {free / 1e6:,.0f} MB",
            remedy=f"pellucid heap {pid} --save OTHER_FOLDER/heap.hprof  (or --live: only what is in use, after a full collection)",
        )


def _used(pid: int) -> int | None:
    """Bytes of the heap in use, as of the last collection; None where it publishes no counters."""
    from pellucid.runtimes.jvm.collector import collector
    from pellucid.runtimes.jvm.perfdata import PerfData

    try:
        data = PerfData(pid, "heap")
    except LookError:
        return None
    try:
        return collector(data.read(), 0.0).used
    finally:
        data.close()


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
            types=tuple(_row(row.type, row.count, row.bytes) for row in rows),
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
            types=tuple(_row(row.type, row.count, row.bytes) for row in found.rows),
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


def grown(one: JavaHeapReport, two: JavaHeapReport, names: tuple[str, str]) -> JavaHeapDiffReport:
    """What became more from one histogram to the other, most bytes first."""
    first = {row.type: row for row in one.types}
    rows = []
    for row in two.types:
        before = first.pop(row.type, None)
        count, size = (before.count, before.bytes) if before is not None else (0, 0)
        rows.append(TypeGrowth(row.type, row.own, row.count, row.bytes, row.count - count, row.bytes - size))
    rows += (TypeGrowth(row.type, row.own, 0, 0, -row.count, -row.bytes) for row in first.values())
    rows.sort(key=lambda row: -row.grown_bytes)
    return JavaHeapDiffReport(
        process=two.process,
        taken_at=two.taken_at,
        gaps=tuple(dict.fromkeys((*one.gaps, *two.gaps))),
        types=tuple(rows),
        total_bytes=two.total_bytes,
        grown_bytes=two.total_bytes - one.total_bytes,
        span_s=two.taken_at - one.taken_at,
        files=names,
    )


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
