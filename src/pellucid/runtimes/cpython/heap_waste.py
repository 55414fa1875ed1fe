"""Bytes that a program could do without, and single objects that are large: equal strings, empty containers, garbage."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.runtimes.cpython.census import Heap
from pellucid.runtimes.cpython.heap_roots import IMMORTAL, counts
from pellucid.runtimes.cpython.heap_types import GC, KINDS
from pellucid.runtimes.references import Indices

MAX_TEXT = 512
"""Bytes of a string's characters up to which it is compared with others."""

MAX_STRINGS = 4_000_000
_ROWS = 1 << 16
_FACTOR = 0x9E3779B97F4A7C15


class Waste(Struct, frozen=True):
    """`count` objects of a type, `bytes` in all; `number` is one of them, -1 where none stands for the others. `detail` in words."""

    kind: str
    type: str
    count: int
    bytes: int
    number: int = -1
    detail: str = ""


def waste(heap: Heap, idom: Indices) -> list[Waste]:
    """Everything of it, whatever its size."""
    return [*_largest(heap), *_equal_strings(heap), *_empty(heap), *_unreachable(heap, idom)]


def _largest(heap: Heap, most: int = 5) -> list[Waste]:
    if not len(heap):
        return []
    largest = np.argpartition(-heap.sizes, min(most, len(heap) - 1))[:most]
    largest = largest[np.argsort(-heap.sizes[largest])]
    return [Waste("large", heap.types.names[heap.index[one]], 1, int(heap.sizes[one]), one) for one in largest.tolist()]


def _equal_strings(heap: Heap) -> list[Waste]:
    """The bytes of strings that are there more than once, without one of each."""
    chosen = np.flatnonzero(heap.types.kinds[heap.index] == KINDS.index("str"))[:MAX_STRINGS]
    places = heap.places[chosen]
    layout, measure = heap.layout, heap.measure
    state = measure.field(places, "unicode_object.state")
    width = (state >> np.uint64(layout["unicode_object.kind_bit"])).view(np.int64) & 7
    ascii_ = ((state >> np.uint64(layout["unicode_object.ascii_bit"])) & np.uint64(1)) != 0
    compact = ((state >> np.uint64(layout["unicode_object.compact_bit"])) & np.uint64(1)) != 0
    length = measure.field(places, "unicode_object.length").view(np.int64)
    size = length * width
    begin = places + np.where(
        ascii_, layout["unicode_object.asciiobject_size"], layout["unicode_object.compactunicodeobject_size"]
    )
    good = (
        compact
        & (size > 0)
        & (size <= MAX_TEXT)
        & (begin + size + 8 <= heap.image.size)
        & (counts(heap)[chosen] < IMMORTAL)
    )
    chosen, begin, size, width = chosen[good], begin[good], size[good], width[good]
    if not len(chosen):
        return []
    marks = _marks(heap, begin, size) ^ width.astype(np.uint64)
    order = np.argsort(marks, kind="stable")
    marks = marks[order]
    first = np.concatenate(([True], marks[1:] != marks[:-1]))
    starts = np.flatnonzero(first)
    number = np.diff(np.concatenate((starts, [len(marks)])))
    each = heap.sizes[chosen[order[starts]]]
    more = int(((number - 1) * each).sum())
    worst = int(np.argmax((number - 1) * each))
    one = int(chosen[order[starts[worst]]])
    detail = f"{number[worst]:,} of them are one text of {size[order[starts[worst]]]:,} bytes"
    return [Waste("equal-strings", "str", int((number - 1).sum()), more, one, detail)]


def _marks(heap: Heap, begin: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each text, equal for equal texts, and for different ones only by a chance of 1 in 2^64.

    The headers of a str are whole words, so its characters begin at one.
    """
    words = heap.image.words
    found = size.astype(np.uint64) * np.uint64(_FACTOR)
    with np.errstate(over="ignore"):
        for number in range((int(size.max(initial=0)) + 7) // 8):
            live = np.flatnonzero(size > 8 * number)
            word = words[begin[live] // 8 + number]
            left = size[live] - 8 * number
            short = left < 8
            word = np.where(
                short, word & ((np.uint64(1) << (8 * np.minimum(left, 7)).astype(np.uint64)) - np.uint64(1)), word
            )
            mixed = (found[live] ^ word) * np.uint64(_FACTOR)
            found[live] = mixed ^ (mixed >> np.uint64(29))
    return found


def _empty(heap: Heap) -> list[Waste]:
    found = []
    for kind, field in (("dict", "dict_object.ma_used"), ("list", "list_object.ob_size"), ("set", "set_object.used")):
        chosen = np.flatnonzero(heap.types.kinds[heap.index] == KINDS.index(kind))
        none = chosen[heap.measure.field(heap.places[chosen], field) == 0]
        if len(none):
            found.append(
                Waste("empty", kind, len(none), int(heap.sizes[none].sum()), detail=f"of {len(chosen):,} in all")
            )
    return found


def _unreachable(heap: Heap, idom: Indices) -> list[Waste]:
    """What nothing reaches: cycles that the collector has not freed yet, with all that hangs on them."""
    lost = (idom < 0) & (counts(heap) < IMMORTAL)
    cyclic = np.flatnonzero(lost & heap.types.has(GC)[heap.index])
    if not len(cyclic):
        return []
    kinds = np.bincount(heap.index[cyclic], minlength=len(heap.types))
    worst = heap.types.names[int(np.argmax(kinds))]
    return [Waste("unreachable", worst, int(np.count_nonzero(lost)), int(heap.sizes[lost].sum()), int(cyclic[0]))]
