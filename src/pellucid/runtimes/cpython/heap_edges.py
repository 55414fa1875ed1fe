"""Who holds whom in a copied heap: exact readers for the containers that CPython builds from, a scan of the body for every other type.

    dict, list, tuple, set, deque, instances     their items and attribute values, by their own fields (Objects/*object.c, their tp_traverse)
    any other object                             each word of its body that is exactly the address of a known object

A word that is no known object may be one that the census could not find: what lies in the program's own files, or in memory of another
allocator. If it looks like a live object of a known type it is added, and read in turn, until nothing new comes.

Left out are the references of an instance to its class, of a weak reference to its referent, and an object's list of weak references.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pellucid.runtimes.cpython.census import Heap, counted_sanely
from pellucid.runtimes.cpython.heap_types import HEAP, INLINE_VALUES, KINDS, MANAGED_DICT
from pellucid.runtimes.cpython.image import Places, Words
from pellucid.runtimes.cpython.obmalloc import POOL
from pellucid.runtimes.references import Indices, References, packed

MAX_ROUNDS = 1000
MAX_ITEMS = 1 << 36
_AT_ONCE = 1 << 18  # words that are looked up in one go
_DEQUE_BLOCK = 64  # Modules/_collectionsmodule.c, BLOCKLEN
_MAX_SHARED = 30
_OBJECTS = ord("O")
"""PyArray_Descr.kind of an array of Python objects (numpy/_core/include/numpy/ndarraytypes.h)."""

_ATOMS = frozenset(KINDS.index(kind) for kind in ("long", "bytes", "str", "bytearray", "array", "leaf"))
"""Kinds that hold nothing, unless a class adds attributes of its own."""


def link(heap: Heap) -> References:
    """The graph of the heap's references. Objects that are found on the way are added to the heap."""
    linker = _Linker(heap)
    linker.run()
    return linker.graph()


class _Linker:
    def __init__(self, heap: Heap) -> None:
        self._heap = heap
        self._image = heap.image
        self._layout = heap.layout
        self._types = heap.types
        size = self._image.size
        self._number = np.zeros(size // 16 + 1, np.int32)
        """Of the object that begins at 16 × i, plus one; 0 for none."""
        self._odd: dict[int, int] = {}
        """Of the few objects in a program's files that begin at 16 × i + 8: place → number."""
        self._odd_places: Places = np.zeros(0, np.int64)
        self._in_pool = np.zeros(size // 4096 + 1, bool)
        for page in range(POOL // 4096):
            pages = heap.pools.places // 4096 + page
            self._in_pool[pages[pages < len(self._in_pool)]] = True
        self._places = [heap.places]
        self._indices = [heap.index]
        self._count = len(heap)
        self._edges: list[Words] = []
        """Holder and held in one word, 32 bits each: so they are sorted in place."""
        self._new: list[tuple[Places, NDArray[np.int32]]] = []
        self._note(heap.places, 0)
        self._groups, self._group_of = self._group()

    def run(self) -> None:
        places, index, first = self._heap.places, self._heap.index, 0
        for _ in range(MAX_ROUNDS):
            self._new = []
            self._read(places, index, first)
            if not self._new:
                break
            first = self._count - sum(len(one) for one, _ in self._new)
            places = np.concatenate([one for one, _ in self._new])
            index = np.concatenate([one for _, one in self._new])
            self._places.append(places)
            self._indices.append(index)

    def graph(self) -> References:
        """Puts the objects in the order of their addresses again, and the edges with them."""
        heap = self._heap
        self._number = self._number[:0].copy()  # it was a quarter of the copy, and is no longer needed
        moved = self._merged() if len(self._places) > 1 else None
        edges = np.empty(sum(map(len, self._edges)), np.uint64)
        at = 0
        while self._edges:  # each part goes as soon as it is copied
            part = self._edges.pop()
            if moved is not None:
                part = packed(
                    moved[(part >> np.uint64(32)).view(np.int64)], moved[(part & np.uint64(0xFFFFFFFF)).view(np.int64)]
                )
            edges[at : at + len(part)] = part
            at += len(part)
        return References.of_packed(len(heap), edges)

    def _merged(self) -> Indices:
        """Puts the objects that were added among the others; for each number that was given, the one that it is now."""
        heap, old = self._heap, len(self._heap)
        places, index = np.concatenate(self._places[1:]), np.concatenate(self._indices[1:])
        self._places, self._indices = [], []
        order = np.argsort(places, kind="stable")
        places, index = places[order], index[order]
        at = np.searchsorted(heap.places, places)
        before = np.zeros(old + 1, np.int32)
        np.add.at(before, at, 1)
        np.cumsum(before, out=before)
        moved = np.arange(old + len(places), dtype=np.int32)
        moved[:old] += before[:old]
        del before
        moved[old + order] = at + np.arange(len(places))
        heap.sizes = np.insert(heap.sizes, at, heap.measure.of(places, index))
        heap.index = np.insert(heap.index, at, index)
        heap.places = np.insert(heap.places, at, places)
        return moved

    def _note(self, places: Places, first: int) -> None:
        found: dict[int, int] = {}
        for start in range(0, len(places), _AT_ONCE):
            part = places[start : start + _AT_ONCE]
            numbers = np.arange(first + start, first + start + len(part), dtype=np.int32)
            even = (part & 15) == 0
            self._number[part[even] >> 4] = numbers[even] + 1
            found |= dict(zip(part[~even].tolist(), numbers[~even].tolist(), strict=True))
        if found:
            self._odd |= found
            self._odd_places = np.array(sorted(self._odd), np.int64)
            self._odd_numbers = np.array([self._odd[place] for place in self._odd_places.tolist()], np.int32)

    def _group(self) -> tuple[list[tuple[int, int, int, int, int]], NDArray[np.int16]]:
        """Types whose objects are read alike: (kind, first and end of the words of the body, the word of its weak references, flags)."""
        types, layout = self._types, self._layout
        weak = self._image.words[(types.places + layout["type_object.tp_weaklistoffset"]) // 8].view(np.int64)
        start = np.full(len(types), 16, np.int64)
        atoms = {kind for kind in range(len(KINDS)) if KINDS[kind] != "other"}
        root = np.arange(len(types))
        for _ in range(
            64
        ):  # up to the type that gave a class its kind: what lies behind that one's body is the class's own
            base = types.bases[root]
            up = (base >= 0) & (types.kinds[root] == types.kinds[np.maximum(base, 0)])
            if not up.any():
                break
            root = np.where(up, base, root)
        exact = np.isin(types.kinds, list(atoms))
        start[exact] = types.basic[root][exact]
        for kind in ("type", "module", "ndarray", "frame", "generator", "code"):  # read word by word as well
            start[types.kinds == KINDS.index(kind)] = 16
        end = types.basic.copy()
        end[types.kinds == KINDS.index("frame")] = layout["frame_object.f_frame"]
        end[types.kinds == KINDS.index("generator")] = layout["gen_object.gi_iframe"]
        end[types.kinds == KINDS.index("str")] = np.maximum(end, start)[types.kinds == KINDS.index("str")]
        flags = types.flags & np.uint64(MANAGED_DICT | INLINE_VALUES)
        table: dict[tuple[int, int, int, int, int], int] = {}
        of = np.zeros(len(types), np.int16)
        for number, key in enumerate(
            zip(types.kinds.tolist(), start.tolist(), end.tolist(), weak.tolist(), flags.tolist(), strict=True)
        ):
            of[number] = table.setdefault(key, min(len(table), (1 << 15) - 1))
        return list(table), of

    def _read(self, places: Places, index: NDArray[np.int32], first: int) -> None:
        """All references of these objects, which have the numbers from `first` on."""
        group = self._group_of[index]
        order = np.argsort(group, kind="stable").astype(np.int32)
        bounds = np.concatenate(([0], np.cumsum(np.bincount(group, minlength=len(self._groups)))))
        del group
        for which in np.flatnonzero(np.diff(bounds)).tolist():
            kind, start, end, weak, flags = self._groups[which]
            mine = order[bounds[which] : bounds[which + 1]]
            step = max(_AT_ONCE // max((end - start) // 8, 4), 1)
            for part in range(0, len(mine), step):
                chosen = mine[part : part + step]
                self._objects(kind, start, end, weak, flags, places[chosen], index[chosen], chosen + np.int32(first))

    def _objects(
        self,
        kind: int,
        start: int,
        end: int,
        weak: int,
        flags: int,
        places: Places,
        index: NDArray[np.int32],
        numbers: Indices,
    ) -> None:
        if end > start:
            self._body(places, numbers, start, end, weak)
        reader = self._readers().get(KINDS[kind])
        if reader is not None:
            reader(places, index, numbers)
        elif kind not in _ATOMS:
            self._items(places, index, numbers)
        if flags & MANAGED_DICT:
            self._attributes(places, index, numbers, inline=bool(flags & INLINE_VALUES))

    def _readers(self) -> dict[str, Callable[[Places, NDArray[np.int32], Indices], None]]:
        return {
            "list": self._list, "tuple": self._tuple, "dict": self._dict, "odict": self._odict, "set": self._set, "deque": self._deque,
            "type": self._type, "ndarray": self._ndarray, "weakref": self._weakref, "generator": self._generator, "frame": self._frame,
            "module": lambda *_: None, "code": lambda *_: None,
        }  # fmt: skip

    def _word(self, places: Places, offset: int) -> Words:
        return self._heap.measure.word(places, offset)

    def _field(self, places: Places, name: str) -> Words:
        return self._heap.measure.word(places, self._layout[name])

    def _body(self, places: Places, numbers: Indices, start: int, end: int, weak: int) -> None:
        first, last = start // 8, end // 8
        fits = places + end <= self._image.size
        places, numbers = places[fits], numbers[fits]
        for word in range(first, last):
            if word * 8 != weak:
                self._resolve(numbers, self._image.words[places // 8 + word])

    def _items(self, places: Places, index: NDArray[np.int32], numbers: Indices) -> None:
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
        for owners, first, length in _pieces(numbers, starts, counts, _AT_ONCE - _AT_ONCE % max(period, 1)):
            total = int(length.sum())
            within = np.arange(total) - np.repeat(np.cumsum(length) - length, length)
            at = np.repeat(first, length) + within
            owner = np.repeat(owners, length)
            if skipped >= 0:
                kept = within % period != skipped
                at, owner = at[kept], owner[kept]
            self._resolve(owner, self._image.words[at])

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
        self._resolve(numbers, self._word(places, self._layout["weakref.wr_object"] + 8))

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
                self._resolve(numbers, self._word(frames, offset) & untag)
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
        for owners, first, length in _pieces(numbers, begin // 8, count, _AT_ONCE):
            within = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
            at = np.minimum(np.repeat(first, length) + within, self._image.size // 8 - 1)
            self._resolve(np.repeat(owners, length), self._image.words[at] & untag)

    def _attributes(self, places: Places, index: NDArray[np.int32], numbers: Indices, *, inline: bool) -> None:
        """The dict of an instance, or the values that stand for it (Include/internal/pycore_object.h)."""
        layout, types = self._layout, self._types
        word = self._word(places, layout["pyobject.managed_dict"])
        if layout.minor >= 13:
            self._resolve(numbers, word)
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
            self._resolve(numbers, np.where(values != 0, np.uint64(0), word))
        else:
            values = self._word(places, layout["pyobject.managed_values"])
            self._resolve(numbers, word)
        has = np.flatnonzero(values != 0)
        if len(has):
            _, count, _ = self._table(self._image.places(types.keys[index[has]]))
            self._stretch(
                numbers[has],
                self._image.places(values[has]) + layout["dict_values.values"],
                np.minimum(count, _MAX_SHARED),
            )

    def _resolve(self, owners: Indices, words: Words) -> None:
        """Keeps the edges from `owners` to those of `words` that are objects; objects that were not known are added."""
        image = self._image
        may = np.flatnonzero(image.may_be(words))
        places = image.places(words[may])
        inside = places >= 0
        owners, places = owners[may[inside]], places[inside]
        numbers = self._number[places >> 4] - 1
        odd = (places & 15) != 0
        if odd.any():
            numbers[odd] = -1
            if len(self._odd_places):
                where = np.flatnonzero(odd)
                at = np.minimum(np.searchsorted(self._odd_places, places[where]), len(self._odd_places) - 1)
                same = self._odd_places[at] == places[where]
                numbers[where[same]] = self._odd_numbers[at[same]]
        unknown = numbers < 0
        if unknown.any():
            numbers[unknown] = self._added(places[unknown])
            known = numbers >= 0
            owners, numbers = owners[known], numbers[known]
        if len(owners):
            self._edges.append(packed(owners, numbers))

    def _added(self, places: Places) -> Indices:
        """The numbers of the objects at these places, which the census does not have; -1 where there is none."""
        image, types = self._image, self._types
        found = np.full(len(places), -1, np.int32)
        may = np.flatnonzero(~self._in_pool[places >> 12] & (places + 16 <= image.size))
        if not len(may):
            return found
        index = types.index(image.words[places[may] // 8 + 1])
        may, index = may[index >= 0], index[index >= 0]
        if not len(may):
            return found
        good = counted_sanely(self._heap, places[may]) & (places[may] + types.least[index] <= image.size)
        may, index = may[good], index[good]
        if not len(may):
            return found
        new, first, back = np.unique(places[may], return_index=True, return_inverse=True)
        numbers = np.arange(self._count, self._count + len(new), dtype=np.int32)
        found[may] = numbers[back]
        self._note(new, self._count)
        self._new.append((new, index[first]))
        self._count += len(new)
        return found


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
