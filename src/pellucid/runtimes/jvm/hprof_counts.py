"""The histogram of a dump and nothing else: how many of each class, and how many bytes, without telling one object from another."""

import numpy as np
from msgspec import Struct

from pellucid.model import Gap
from pellucid.runtimes.jvm.hprof import Hprof
from pellucid.runtimes.jvm.hprof_classes import TYPES
from pellucid.runtimes.jvm.hprof_heap import Row, classes_of
from pellucid.runtimes.jvm.hprof_layout import LAYOUTS, Layout
from pellucid.runtimes.jvm.hprof_records import CLASS, INSTANCE, OBJECTS, PRIMITIVES, SIZES, View, places

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

    def numbers(at: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        wanted = view.ids(at)
        if not len(known):
            return np.full(len(wanted), -1, np.int64)
        place = np.searchsorted(known, wanted)
        place[place == len(known)] = 0
        return np.where(known[place] == wanted, order[place], -1)

    at = found.objects[found.tags == INSTANCE]
    for number, count in enumerate(np.bincount(numbers(at + (5 + i)) + 1, minlength=len(classes) + 1).tolist()):
        if count and number:
            objects, others = classes.shape(number - 1)
            add(classes.name(number - 1), count, count * _aligned(layout.header + layout.reference * objects + others))
        elif count:
            add("?", count, 0)
    at = found.objects[found.tags == OBJECTS]
    types = numbers(at + (9 + i)) + 1
    sizes = (layout.array + layout.reference * view.u4[at + (5 + i)].astype(np.int64) + 7) // 8 * 8
    for number, (count, size) in enumerate(zip(np.bincount(types), np.bincount(types, sizes), strict=True)):
        if count:
            add(classes.name(number - 1) if number else "?", int(count), int(size))
    at = found.objects[found.tags == PRIMITIVES]
    kinds = view.bytes[at + (9 + i)]
    sizes = (layout.array + SIZES[kinds] * view.u4[at + (5 + i)].astype(np.int64) + 7) // 8 * 8
    for kind, (count, size) in enumerate(zip(np.bincount(kinds), np.bincount(kinds, sizes), strict=True)):
        if count:
            add(f"{TYPES.get(kind, '?')}[]", int(count), int(size))
    mirror = next((number for number, one in enumerate(classes.all) if one.name == "java.lang.Class"), None)
    objects, others = classes.shape(mirror) if mirror is not None else (0, 0)
    own = int((found.tags == CLASS).sum())
    add("java.lang.Class", own, own * _aligned(layout.header + layout.reference * objects + others))
    ordered = sorted(rows.items(), key=lambda item: (-item[1][1], item[0]))
    return Counts(tuple(Row(name, count, size) for name, (count, size) in ordered), layout, found.coverage, found.gaps)


def _aligned(size: int) -> int:
    return (size + 7) // 8 * 8


def _layout(dump: Hprof, view: View, at: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Layout:
    """By a sample of the ids: how far they lie apart, and whether arrays of one length lie as far apart as a layout says."""
    if dump.id_size == 4:
        return Layout(8, 4, 12)
    sample = at[:: max(1, len(at) // 4096)]
    if not len(sample):
        return LAYOUTS[0]
    ids = view.ids(sample + 1)
    return LAYOUTS[0] if int(ids.max() - ids.min()) < _COMPRESSED else LAYOUTS[1]
