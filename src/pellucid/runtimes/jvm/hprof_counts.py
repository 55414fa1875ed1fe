"""The histogram of a dump and nothing else: how many of each class, and how many bytes, without telling one object from another."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.model import Gap
from pellucid.runtimes.jvm.hprof import Hprof
from pellucid.runtimes.jvm.hprof_classes import TYPES
from pellucid.runtimes.jvm.hprof_heap import Row, classes_of
from pellucid.runtimes.jvm.hprof_layout import OF_32_BITS, Layout, Sample, explains
from pellucid.runtimes.jvm.hprof_records import CLASS, INSTANCE, OBJECTS, PRIMITIVES, SIZES, Kept, View, lengths, places

_AT_ONCE = 1 << 20
_SAMPLE = 1 << 14
_KINDS = np.zeros(256, np.uint8)
_KINDS[[INSTANCE, OBJECTS, PRIMITIVES]] = [0, 1, 2]


class Counts(Struct, frozen=True):
    rows: tuple[Row, ...]
    layout: Layout
    coverage: float
    gaps: tuple[Gap, ...]


def counts(dump: Hprof) -> Counts:
    """The rows, most bytes first. Raises nothing: damage is in the gaps."""
    view = View(dump)
    found = places(dump, view, ordered=False)
    i = dump.id_size
    classes = classes_of(dump, found)
    ids = np.array([one.id for one in classes.all], np.uint64)
    order = np.argsort(ids)
    known = ids[order]
    rows: dict[str, tuple[int, int]] = {}

    def add(name: str, count: int, size: int) -> None:
        before = rows.get(name, (0, 0))
        rows[name] = (before[0] + count, before[1] + size)

    def numbers(at: Kept) -> NDArray[np.int64]:
        """One more than the number of the class whose id stands there; 0 for one that the dump does not have."""
        wanted = view.ids(at)
        if not len(known):
            return np.zeros(len(wanted), np.int64)
        place = np.searchsorted(known, wanted)
        place[place == len(known)] = 0
        return np.where(known[place] == wanted, order[place] + 1, 0)

    layout = OF_32_BITS if i == 4 else explains(classes, _sample(dump, view, found.objects, numbers))
    instances, arrays, primitives = (np.zeros((2, len(classes) + 12), np.int64) for _ in range(3))

    def count(found: NDArray[np.int64], types: NDArray[np.int64], sizes: NDArray[np.int64] | None) -> None:
        found[0] += np.bincount(types, minlength=found.shape[1])
        if sizes is not None:
            found[1] += np.bincount(types, layout.up(sizes), minlength=found.shape[1]).astype(np.int64)

    for start in range(0, len(found.objects), _AT_ONCE):
        objects, tags = found.objects[start : start + _AT_ONCE], found.tags[start : start + _AT_ONCE]
        count(instances, numbers(objects[tags == INSTANCE] + (5 + i)), None)
        at = objects[tags == OBJECTS]
        count(arrays, numbers(at + (9 + i)), layout.array + layout.reference * view.u4[at + (5 + i)].astype(np.int64))
        at = objects[tags == PRIMITIVES]
        kinds = view.bytes[at + (9 + i)].astype(np.int64)
        kinds[kinds >= len(TYPES) + 4] = 0
        count(primitives, kinds, layout.array + SIZES[kinds] * view.u4[at + (5 + i)].astype(np.int64))
    shapes = layout.up(layout.instances(classes))
    for number in np.flatnonzero(instances[0]).tolist():
        one = int(instances[0, number])
        add(classes.name(number - 1) if number else "?", one, one * int(shapes[number - 1]) if number else 0)
    for number in np.flatnonzero(arrays[0]).tolist():
        add(classes.name(number - 1) if number else "?", *arrays[:, number].tolist())
    for number in np.flatnonzero(primitives[0]).tolist():
        add(f"{TYPES.get(number, '?')}[]", *primitives[:, number].tolist())
    own = int((found.tags == CLASS).sum())
    add("java.lang.Class", own, own * int(layout.up(np.array([layout.mirror(classes)]))[0]))
    ordered = sorted(rows.items(), key=lambda item: (-item[1][1], item[0]))
    return Counts(tuple(Row(name, count, size) for name, (count, size) in ordered), layout, found.coverage, found.gaps)


def _sample(dump: Hprof, view: View, objects: Kept, class_of: Callable[[Kept], NDArray[np.int64]]) -> Sample:
    """Objects with how far the one lies that follows in the file: a JVM writes them in the order of its heap."""
    i = dump.id_size
    at = objects[:: max(1, len(objects) // _SAMPLE)].astype(np.int64)
    last = view.bytes.size - 40
    at = at[(at < last) & _is_object(view.bytes[at])]
    following = at + lengths(dump, view, at, np.full(len(at), last, np.int64))
    good = following < last
    good[good] = _is_object(view.bytes[following[good]])
    at, following = at[good], following[good]
    distances = view.ids(following + 1).astype(np.int64) - view.ids(at + 1).astype(np.int64)
    onward = distances > 0
    at, distances = at[onward], distances[onward]
    kind = _KINDS[view.bytes[at]]
    type_ = np.zeros(len(at), np.int32)
    elements = np.zeros(len(at), np.int32)
    for number, place in ((0, 5 + i), (1, 9 + i)):
        type_[kind == number] = class_of(at[kind == number] + place) - 1
    type_[kind == 2] = view.bytes[at[kind == 2] + (9 + i)]
    for number, place in ((0, 5 + 2 * i), (1, 5 + i), (2, 5 + i)):
        elements[kind == number] = view.u4[at[kind == number] + place]
    return Sample(kind, type_, elements, distances)


def _is_object(tags: NDArray[np.uint8]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (tags == INSTANCE) | (tags == OBJECTS) | (tags == PRIMITIVES)
    return found
