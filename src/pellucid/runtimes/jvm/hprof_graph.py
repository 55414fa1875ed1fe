"""Who holds whom in a heap dump: the references in fields, elements and classes, stretch by stretch of the heap.

The referents of weak and phantom references are no edges: what only they hold is free to go. Nor is an instance an edge to its class,
unless nothing else holds that class: then its loader lives for its sake (a class loader leak).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pellucid.runtimes.jvm.hprof_classes import OBJECT
from pellucid.runtimes.jvm.hprof_heap import CLASS, INSTANCE, OBJECTS, Heap
from pellucid.runtimes.jvm.hprof_ids import Ids
from pellucid.runtimes.references import Indices, References, packed

_OBJECTS_AT_ONCE = 1 << 17
_ELEMENTS_AT_ONCE = 1 << 19
_MOST_SHORT = (1 << 31) - (1 << 20)
_NOT_HOLDING = ("java.lang.ref.WeakReference", "java.lang.ref.PhantomReference")

Edges = NDArray[np.uint64]


def references(heap: Heap) -> References:
    """The graph of what holds what."""
    of_classes = _of_classes(heap)
    targets: list[Indices] = []
    first = np.zeros(len(heap) + 1, np.int32)
    for low, high in _stretches(heap):
        parts = [*_of_instances(heap, low, high), *_of_arrays(heap, low, high)]
        begin, end = np.searchsorted(of_classes, np.array([low, high], np.uint64) << np.uint64(32))
        parts.append(of_classes[begin:end])
        targets.append(_ordered(parts, first, low, high))
        heap.dump.forget_pages()
    return _with_classes(heap, _graph(first, targets))


def _graph(counts: Indices, targets: list[Indices]) -> References:
    """Of how many references each object has, and these in parts. Where each begins takes four bytes, as long as that is enough."""
    total = int(counts.sum(dtype=np.int64))
    first = np.cumsum(counts, dtype=np.int32, out=counts) if total < _MOST_SHORT else np.cumsum(counts, dtype=np.int64)
    return References(first, _joined(targets, total))


def _ordered(parts: list[Edges], first: Indices, low: int, high: int) -> Indices:
    """What the objects from `low` on hold, in their order; `first` gets how many each has."""
    edges = np.concatenate([*parts, np.zeros(0, np.uint64)])
    edges.sort()
    held = (edges >> np.uint64(32)).astype(np.int64)
    first[low + 1 : high + 1] = np.bincount(held - low, minlength=high - low)
    return edges.astype(np.uint32).view(np.int32)


def _joined(parts: list[Indices], count: int) -> Indices:
    """One array of all parts, each of which is let go of once it is in there."""
    found = np.empty(count, np.int32)
    parts.reverse()
    at = 0
    while parts:
        part = parts.pop()
        found[at : at + len(part)] = part
        at += len(part)
    return found


def _stretches(heap: Heap) -> Iterator[tuple[int, int]]:
    """(first, end) of neighbouring objects that are not too many, nor have too many elements."""
    low = 0
    while low < len(heap):
        part = slice(low, low + _OBJECTS_AT_ONCE)
        elements = np.cumsum(np.where(heap.kind[part] == OBJECTS, heap.elements[part], 0), dtype=np.int64)
        high = low + max(int(np.searchsorted(elements, _ELEMENTS_AT_ONCE)), 1)
        yield low, high
        low = high


def _known(heap: Heap, holders: Indices, ids: Ids) -> Edges:
    there = np.flatnonzero(ids)
    held = heap.ids.numbers(ids[there])
    known = held >= 0
    return packed(holders[there[known]], held[known])


def _of_instances(heap: Heap, low: int, high: int) -> Iterator[Edges]:
    found = np.flatnonzero((heap.kind[low:high] == INSTANCE) & (heap.type[low:high] >= 0)) + low
    numbers: Indices = found.astype(np.int32)
    if not len(numbers):
        return
    types = heap.type[numbers]
    order = np.argsort(types, kind="stable")
    numbers, types = numbers[order], types[order]
    starts = np.flatnonzero(np.concatenate(([True], types[1:] != types[:-1])))
    holders: list[Indices] = []
    ids: list[Ids] = []
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(numbers)], strict=True):
        fields = _holding_fields(heap, int(types[start]))
        if not fields:
            continue
        instances = numbers[start:end]
        whole = heap.elements[instances] >= max(fields) + heap.dump.id_size
        if not whole.all():
            instances = instances[whole]
        at = heap.at[instances]
        for offset in fields:
            holders.append(instances)
            ids.append(heap.view.ids(at + offset))
    if ids:
        yield _known(heap, np.concatenate(holders), np.concatenate(ids))


def _holding_fields(heap: Heap, type_: int) -> list[int]:
    """Offsets of the fields that hold an object; the referent of a weak or phantom reference is not held."""
    classes = heap.classes
    weak = any(classes.name(one) in _NOT_HOLDING for one in classes.chain(type_))
    return [
        one.offset
        for one in classes.fields(type_)
        if one.type == OBJECT
        and not (weak and one.name == "referent" and classes.name(one.declared_in) == "java.lang.ref.Reference")
    ]


def _of_arrays(heap: Heap, low: int, high: int) -> Iterator[Edges]:
    i = heap.dump.id_size
    arrays = (np.flatnonzero(heap.kind[low:high] == OBJECTS) + low).astype(np.int32)
    counts = heap.elements[arrays].astype(np.int64)
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(arrays):
        before = int(ends[begin - 1]) if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, before + _ELEMENTS_AT_ONCE)))
        part, size = arrays[begin:stop], counts[begin:stop]
        begin = stop
        if len(part) == 1:  # one may be as large as it likes
            start = int(heap.at[part[0]])
            for place in range(0, int(size[0]), _ELEMENTS_AT_ONCE):
                elements = np.arange(place, min(place + _ELEMENTS_AT_ONCE, int(size[0])), dtype=np.int64)
                yield _known(heap, np.full(len(elements), part[0], np.int32), heap.view.ids(start + i * elements))
            continue
        holders = np.repeat(part, size)
        starts = np.cumsum(size) - size
        at = np.repeat(heap.at[part].astype(np.int64) - starts * i, size) + i * np.arange(len(holders), dtype=np.int64)
        yield _known(heap, holders, heap.view.ids(at))


def _of_classes(heap: Heap) -> Edges:
    """What each class holds: its static fields, its super class, its loader, signers and domain."""
    parts = [np.zeros(0, np.uint64)]
    numbers = np.flatnonzero((heap.kind == CLASS) & (heap.type >= 0))
    for number in numbers.tolist():
        one = heap.classes.all[int(heap.type[number])]
        ids = [value for _, value in one.statics] + [each for each in (one.super_id, one.loader_id, *one.held) if each]
        parts.append(_known(heap, np.full(len(ids), number, np.int32), np.array(ids, np.uint64)))
    edges = np.concatenate(parts)
    edges.sort()
    return edges


def _with_classes(heap: Heap, graph: References) -> References:
    """The graph, with edges from instances to those of their classes that nothing else holds."""
    numbers = np.flatnonzero((heap.kind == CLASS) & (heap.type >= 0)).astype(np.int32)
    held = graph.depths(heap.roots())[numbers] >= 0
    if held.all():
        return graph
    number_of = np.full(len(heap.classes) + 1, -1, np.int32)
    number_of[heap.type[numbers[~held]]] = numbers[~held]
    targets: list[Indices] = []
    first = np.zeros(len(heap) + 1, np.int32)
    for low, high in _stretches(heap):
        instances = np.arange(low, high, dtype=np.int32)[heap.kind[low:high] == INSTANCE]
        of_class = number_of[heap.type[instances]]  # the last stands for a class that the dump does not have
        more = of_class >= 0
        holders = np.repeat(np.arange(low, high, dtype=np.int32), np.diff(graph.first[low : high + 1]))
        before = packed(holders, graph.targets[graph.first[low] : graph.first[high]])
        targets.append(_ordered([before, packed(instances[more], of_class[more])], first, low, high))
    return _graph(first, targets)
