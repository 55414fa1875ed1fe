"""The histogram of a dump and nothing else: how many of each class, and how many bytes, without telling one object from another."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.model import Gap
from pellucid.runtimes.jvm.hprof import Hprof
from pellucid.runtimes.jvm.hprof_classes import TYPES
from pellucid.runtimes.jvm.hprof_heap import Row, classes_of
from pellucid.runtimes.jvm.hprof_layout import LAYOUTS, Layout
from pellucid.runtimes.jvm.hprof_records import CLASS, INSTANCE, OBJECTS, PRIMITIVES, SIZES, Kept, View, places

_AT_ONCE = 1 << 20
_COMPRESSED = 1 << 35
"""Ids that lie within so many bytes are compressed references (32 bits of 8 bytes each); see `hprof_layout` for the proof by distances."""


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
    layout = _layout(dump, view, found.objects)
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

    instances, arrays, primitives = (np.zeros((2, len(classes) + 12), np.int64) for _ in range(3))

    def count(found: NDArray[np.int64], types: NDArray[np.int64], sizes: NDArray[np.int64] | None) -> None:
        found[0] += np.bincount(types, minlength=found.shape[1])
        if sizes is not None:
            found[1] += np.bincount(types, (sizes + 7) // 8 * 8, minlength=found.shape[1]).astype(np.int64)

    for start in range(0, len(found.objects), _AT_ONCE):
        objects, tags = found.objects[start : start + _AT_ONCE], found.tags[start : start + _AT_ONCE]
        count(instances, numbers(objects[tags == INSTANCE] + (5 + i)), None)
        at = objects[tags == OBJECTS]
        count(arrays, numbers(at + (9 + i)), layout.array + layout.reference * view.u4[at + (5 + i)].astype(np.int64))
        at = objects[tags == PRIMITIVES]
        kinds = view.bytes[at + (9 + i)].astype(np.int64)
        kinds[kinds >= len(TYPES) + 4] = 0
        count(primitives, kinds, layout.array + SIZES[kinds] * view.u4[at + (5 + i)].astype(np.int64))
    for number in np.flatnonzero(instances[0]).tolist():
        one = int(instances[0, number])
        if number:
            references, others = classes.shape(number - 1)
            add(classes.name(number - 1), one, one * _aligned(layout.header + layout.reference * references + others))
        else:
            add("?", one, 0)
    for number in np.flatnonzero(arrays[0]).tolist():
        add(classes.name(number - 1) if number else "?", *arrays[:, number].tolist())
    for number in np.flatnonzero(primitives[0]).tolist():
        add(f"{TYPES.get(number, '?')}[]", *primitives[:, number].tolist())
    mirror = next((number for number, one in enumerate(classes.all) if one.name == "java.lang.Class"), None)
    references, others = classes.shape(mirror) if mirror is not None else (0, 0)
    own = int((found.tags == CLASS).sum())
    add("java.lang.Class", own, own * _aligned(layout.header + layout.reference * references + others))
    ordered = sorted(rows.items(), key=lambda item: (-item[1][1], item[0]))
    return Counts(tuple(Row(name, count, size) for name, (count, size) in ordered), layout, found.coverage, found.gaps)


def _aligned(size: int) -> int:
    return (size + 7) // 8 * 8


def _layout(dump: Hprof, view: View, at: Kept) -> Layout:
    """By a sample of the ids: how far they lie apart, and whether arrays of one length lie as far apart as a layout says."""
    if dump.id_size == 4:
        return Layout(8, 4, 12)
    sample = at[:: max(1, len(at) // 4096)]
    if not len(sample):
        return LAYOUTS[0]
    ids = view.ids(sample + 1)
    return LAYOUTS[0] if int(ids.max() - ids.min()) < _COMPRESSED else LAYOUTS[1]
