"""What each kind of object of a copied heap refers to: exact readers for the containers that CPython builds from.

    list, tuple, set, dict, deque, instances, generators, frames, arrays of objects     by their own fields (Objects/*object.c, their tp_traverse)
    any other object                                                                  each word of its body

Whole arrays at once: the objects of one kind, by their `places` in the image, the `index` of their types, and their `numbers`. Each word that
may be a reference goes to `found(owners, words)`, beside the number of who has it.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pellucid.runtimes.cpython.census import Heap
from pellucid.runtimes.cpython.heap_types import HEAP
from pellucid.runtimes.cpython.image import Places, Words
from pellucid.runtimes.references import Indices

AT_ONCE = 1 << 18
"""Words that are looked up in one go."""

MAX_ITEMS = 1 << 36
_DEQUE_BLOCK = 64  # Modules/_collectionsmodule.c, BLOCKLEN
_MAX_SHARED = 30
_OBJECTS = ord("O")
"""PyArray_Descr.kind of an array of Python objects (numpy/_core/include/numpy/ndarraytypes.h)."""


class Readers:
    """The readers of one heap."""

    def __init__(self, heap: Heap, found: Callable[[Indices, Words], None]) -> None:
        self._heap = heap
        self._image = heap.image
        self._layout = heap.layout
        self._types = heap.types
        self._found = found

    def of(self, kind: str) -> Callable[[Places, NDArray[np.int32], Indices], None] | None:
        """The reader of what objects of this kind hold beside their body; None where they have none of their own."""
        return {
            "list": self._list, "tuple": self._tuple, "dict": self._dict, "odict": self._odict, "set": self._set, "deque": self._deque,
            "type": self._type, "ndarray": self._ndarray, "weakref": self._weakref, "generator": self._generator, "frame": self._frame,
            "module": lambda *_: None, "code": lambda *_: None,
        }.get(kind)  # fmt: skip

    def _word(self, places: Places, offset: int) -> Words:
        return self._heap.measure.word(places, offset)

    def _field(self, places: Places, name: str) -> Words:
        return self._heap.measure.word(places, self._layout[name])

    def body(self, places: Places, numbers: Indices, start: int, end: int, weak: int) -> None:
        """Each word of the body, from `start` to `end`, but for the one with the list of weak references."""
        first, last = start // 8, end // 8
        fits = places + end <= self._image.size
        places, numbers = places[fits], numbers[fits]
        for word in range(first, last):
            if word * 8 != weak:
                self._found(numbers, self._image.words[places // 8 + word])

    def items(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
        """The items behind an object of variable size, where they are as large as pointers."""
        item = self._types.item[index]
        has = np.flatnonzero((item >= 8) & (item % 8 == 0))
        if len(has):
            count = self._count_of(places[has], "tuple_object.ob_size") * item[has] // 8
            begin = places[has] + (self._types.basic[index[has]] + 7 & ~7)
            self._stretch(numbers[has], begin, count)

    def _count_of(self, places: Places, name: str) -> Places:
        found = self._field(places, name).view(np.int64)
        return np.where((found > 0) & (found < MAX_ITEMS), found, 0)

    def _stretch(self, numbers: Indices, starts: Places, counts: Places, period: int = 1, skipped: int = -1) -> None:
        """`counts` words from each of `starts` on; of each `period` words the one at `skipped` is none."""
        fits = (starts >= 0) & (counts > 0) & (starts + 8 * counts <= self._image.size)
        numbers, starts, counts = numbers[fits], starts[fits] // 8, counts[fits]
        for owners, first, length in _pieces(numbers, starts, counts, AT_ONCE - AT_ONCE % max(period, 1)):
            total = int(length.sum())
            within = np.arange(total) - np.repeat(np.cumsum(length) - length, length)
            at = np.repeat(first, length) + within
            owner = np.repeat(owners, length)
            if skipped >= 0:
                kept = within % period != skipped
                at, owner = at[kept], owner[kept]
            self._found(owner, self._image.words[at])

    def _list(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
        count = self._count_of(places, "list_object.ob_size")
        room = self._count_of(places, "list_object.allocated")
        items = self._image.places(self._field(places, "list_object.ob_item"))
        self._stretch(numbers, items, np.minimum(count, room))

    def _tuple(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
        self._stretch(
            numbers, places + self._layout["tuple_object.ob_item"], self._count_of(places, "tuple_object.ob_size")
        )

    def _set(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
        mask = self._field(places, "set_object.mask").view(np.int64)
        table = self._image.places(self._field(places, "set_object.table"))
        count = np.where((mask >= 0) & (mask < MAX_ITEMS) & (self._field(places, "set_object.used") != 0), mask + 1, 0)
        self._stretch(numbers, table, 2 * count, 2, 1)  # setentry: key, hash

    def _dict(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
        layout = self._layout
        keys = self._image.places(self._field(places, "dict_object.ma_keys"))
        values = self._field(places, "dict_object.ma_values")
        entries, count, general = self._table(keys)
        apart = values != 0
        one = np.flatnonzero(~apart & general)
        self._stretch(numbers[one], entries[one], 3 * count[one], 3, 0)  # hash, key, value
        one = np.flatnonzero(~apart & ~general)
        self._stretch(numbers[one], entries[one], 2 * count[one])
        one = np.flatnonzero(apart)
        if len(one):
            at = self._image.places(values[one])
            if (
                valid := layout.get("dict_values.valid")
            ) is not None:  # 3.13: values inside of an instance are the instance's
                embedded = (self._word(at, 0) >> np.uint64(8 * (valid - 1))) & np.uint64(255)
                at = np.where(embedded != 0, -1, at)
            begin = np.where(at >= 0, at + layout["dict_values.values"], -1)
            self._stretch(numbers[one], begin, np.minimum(count[one], _MAX_SHARED))

    def _table(self, keys: Places) -> tuple[Places, Places, NDArray[np.bool_]]:
        """Of tables of keys: (where the entries begin, how many there are, whether each has its hash in front)."""
        head = self._field(keys, "dict_keys.log2_size")
        bits = (head & np.uint64(255)).view(np.int64)
        index_bits = ((head >> np.uint64(8)) & np.uint64(255)).view(np.int64)
        kind = (head >> np.uint64(16)) & np.uint64(255)
        count = self._count_of(keys, "dict_keys.nentries")
        sane = (
            (keys >= 0) & (bits < 40) & (index_bits < 44) & (kind <= 2) & (count <= np.int64(1) << np.minimum(bits, 40))
        )
        entries = keys + self._layout["dict_keys.indices"] + (np.int64(1) << np.minimum(index_bits, 44))
        return np.where(sane, entries, -1), np.where(sane, count, 0), kind == 0

    def _odict(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
        """An OrderedDict's nodes hold its keys once more (Objects/odictobject.c)."""
        self._dict(places, index, numbers)
        entries, count, general = self._table(self._image.places(self._field(places, "dict_object.ma_keys")))
        one = np.flatnonzero(~general)
        self._stretch(numbers[one], entries[one], 2 * count[one], 2, 1)

    def _deque(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
        layout = self._layout
        left = self._count_of(places, "deque.ob_size")
        block = self._image.places(self._field(places, "deque.leftblock"))
        at = self._count_of(places, "deque.leftindex")
        for _ in range(int(left.max(initial=0)) // _DEQUE_BLOCK + 2):
            live = np.flatnonzero((left > 0) & (block >= 0) & (at < _DEQUE_BLOCK))
            if not len(live):
                break
            numbers, left, block, at = numbers[live], left[live], block[live], at[live]
            count = np.minimum(left, _DEQUE_BLOCK - at)
            self._stretch(numbers, block + layout["deque_block.data"] + 8 * at, count)
            left, at = left - count, np.zeros(len(left), np.int64)
            block = self._image.places(self._word(block, layout["deque_block.rightlink"]))

    def _type(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
        """The names that the instances of a class share are the class's."""
        heap = (self._field(places, "type_object.tp_flags") & np.uint64(HEAP)) != 0
        keys = self._image.places(self._field(places[heap], "heap_type_object.ht_cached_keys"))
        entries, count, general = self._table(keys)
        one = np.flatnonzero(~general)
        self._stretch(numbers[heap][one], entries[one], 2 * count[one], 2, 1)

    def _weakref(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
        """The callback, behind the referent; the links to other weak references are no holds (Objects/weakrefobject.c)."""
        self._found(numbers, self._word(places, self._layout["weakref.wr_object"] + 8))

    def _ndarray(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
        """The items of an array of objects. PyArrayObject_fields: data 16, nd 24, dimensions 32, descr 56, flags 64 (1 C_CONTIGUOUS, 4 OWNDATA)."""
        described = self._image.places(self._word(places, 56))
        kind = self._word(described, 24) & np.uint64(255)
        flags = self._word(places, 64)
        one = np.flatnonzero((described >= 0) & (kind == np.uint64(_OBJECTS)) & ((flags & np.uint64(4)) != 0))
        if len(one):
            places, numbers = places[one], numbers[one]
            count = np.ones(len(places), np.int64)
            shape = self._image.places(self._word(places, 32))
            dimensions = (self._word(places, 24) & np.uint64(255)).view(np.int64)
            for number in range(int(dimensions.max(initial=0))):
                length = self._word(shape, 8 * number).view(np.int64)
                good = (length >= 0) & (length < MAX_ITEMS // np.maximum(count, 1))
                count = np.where(dimensions > number, np.where(good, count * length, 0), count)
            self._stretch(numbers, self._image.places(self._word(places, 16)), count)

    def _generator(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
        layout = self._layout
        state = self._word(places, layout["gen_object.gi_frame_state"] & ~7) >> np.uint64(
            8 * (layout["gen_object.gi_frame_state"] & 7)
        )
        alive = (state & np.uint64(255)).astype(np.int8) < layout["frame_state.finished"]
        if layout.minor >= 15:  # the names of the states were put in another order
            alive = (state & np.uint64(255)).astype(np.int8) != layout["frame_state.finished"]
        self._activation(numbers[alive], places[alive] + layout["gen_object.gi_iframe"])

    def _frame(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
        self._activation(numbers, self._image.places(self._field(places, "frame_object.f_frame")))

    def _activation(self, numbers: Indices, frames: Places) -> None:
        """What a frame holds: code, function, globals, locals, and what lies on its stack where it is written down how much."""
        layout = self._layout
        there = frames >= 0
        numbers, frames = numbers[there], frames[there]
        if not len(frames):
            return
        untag = (
            ~np.uint64(7) if layout.minor >= 14 else ~np.uint64(0)
        )  # _PyStackRef, Include/internal/pycore_stackref.h
        for offset in range(0, layout["interpreter_frame.localsplus"], 8):
            if offset != layout["interpreter_frame.previous"]:
                self._found(numbers, self._word(frames, offset) & untag)
        code = self._image.places(self._word(frames, layout["interpreter_frame.executable"]) & untag)
        slots = np.where(code >= 0, self._heap.measure.integer(code, "code_object.nlocalsplus"), 0)
        deep = np.where(code >= 0, slots + self._heap.measure.integer(code, "code_object.stacksize"), 0)
        if "interpreter_frame.stacktop" in layout.offsets:
            used = self._heap.measure.integer(frames, "interpreter_frame.stacktop")
            used = np.where(used >= 1 << 31, 0, used)
        else:
            top = self._image.places(self._field(frames, "interpreter_frame.stackpointer"))
            used = np.where(top >= 0, (top - frames - layout["interpreter_frame.localsplus"]) // 8, 0)
        count = np.where((used >= slots) & (used <= deep), used, slots)
        count = np.where(count < 1 << 16, count, 0)
        begin = frames + layout["interpreter_frame.localsplus"]
        for owners, first, length in _pieces(numbers, begin // 8, count, AT_ONCE):
            within = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
            at = np.minimum(np.repeat(first, length) + within, self._image.size // 8 - 1)
            self._found(np.repeat(owners, length), self._image.words[at] & untag)

    def attributes(self, places: Places, index: NDArray[np.int32], numbers: Indices, *, inline: bool) -> None:
        """The dict of an instance, or the values that stand for it (Include/internal/pycore_object.h)."""
        layout, types = self._layout, self._types
        word = self._word(places, layout["pyobject.managed_dict"])
        if layout.minor >= 13:
            self._found(numbers, word)
            if inline:
                begin = places + types.basic[index]
                head = self._word(begin, 0)
                valid = ((head >> np.uint64(8 * layout["dict_values.valid"])) & np.uint64(255)) != 0
                room = (head & np.uint64(255)).view(np.int64)
                self._stretch(
                    numbers, begin + layout["dict_values.values"], np.where(valid, np.minimum(room, _MAX_SHARED), 0)
                )
            return
        if layout.minor == 12:
            values = np.where((word & np.uint64(1)) != 0, word + np.uint64(1), np.uint64(0))
            self._found(numbers, np.where(values != 0, np.uint64(0), word))
        else:
            values = self._word(places, layout["pyobject.managed_values"])
            self._found(numbers, word)
        has = np.flatnonzero(values != 0)
        if len(has):
            _, count, _ = self._table(self._image.places(types.keys[index[has]]))
            self._stretch(
                numbers[has],
                self._image.places(values[has]) + layout["dict_values.values"],
                np.minimum(count, _MAX_SHARED),
            )


def _pieces(owners: Indices, starts: Places, counts: Places, most: int) -> Iterator[tuple[Indices, Places, Places]]:
    """The same stretches in groups of at most `most` words; a longer one is cut."""
    long = np.flatnonzero(counts > most)
    for number in long.tolist():
        for at in range(0, int(counts[number]), most):
            length = min(most, int(counts[number]) - at)
            yield owners[number : number + 1], starts[number : number + 1] + at, np.array([length], np.int64)
    rest = np.flatnonzero(counts <= most) if len(long) else np.arange(len(counts))
    total = np.cumsum(counts[rest])
    at = 0
    while at < len(rest):
        done = int(total[at - 1]) if at else 0
        end = max(int(np.searchsorted(total, done + most, "right")), at + 1)
        chosen = rest[at:end]
        yield owners[chosen], starts[chosen], counts[chosen]
        at = end
