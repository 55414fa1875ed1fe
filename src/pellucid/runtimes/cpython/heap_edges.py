"""Who holds whom in a copied heap. What an object refers to is read by `heap_readers`; here it is looked up, and becomes a graph.

A word that is no known object may be one that the census could not find: what lies in the program's own files, or in memory of another
allocator. If it looks like a live object of a known type it is added, and read in turn, until nothing new comes.

Left out are the references of an instance to its class, of a weak reference to its referent, and an object's list of weak references.
"""

import numpy as np
from numpy.typing import NDArray

from pellucid.runtimes.cpython.census import Heap, counted_sanely
from pellucid.runtimes.cpython.heap_readers import AT_ONCE, Readers
from pellucid.runtimes.cpython.heap_types import INLINE_VALUES, KINDS, MANAGED_DICT
from pellucid.runtimes.cpython.image import Places, Words
from pellucid.runtimes.cpython.obmalloc import POOL
from pellucid.runtimes.references import Indices, References, packed

MAX_ROUNDS = 1000

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
        readers = Readers(self._heap, self._resolve)  # no attribute: the two would keep each other, with all arrays
        for _ in range(MAX_ROUNDS):
            self._new = []
            self._read(readers, places, index, first)
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
        for start in range(0, len(places), AT_ONCE):
            part = places[start : start + AT_ONCE]
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

    def _read(self, readers: Readers, places: Places, index: NDArray[np.int32], first: int) -> None:
        """All references of these objects, which have the numbers from `first` on."""
        group = self._group_of[index]
        order = np.argsort(group, kind="stable").astype(np.int32)
        bounds = np.concatenate(([0], np.cumsum(np.bincount(group, minlength=len(self._groups)))))
        del group
        for which in np.flatnonzero(np.diff(bounds)).tolist():
            kind, start, end, weak, flags = self._groups[which]
            mine = order[bounds[which] : bounds[which + 1]]
            step = max(AT_ONCE // max((end - start) // 8, 4), 1)
            for part in range(0, len(mine), step):
                chosen = mine[part : part + step]
                self._objects(
                    readers, kind, start, end, weak, flags, places[chosen], index[chosen], chosen + np.int32(first)
                )

    def _objects(
        self,
        readers: Readers,
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
            readers.body(places, numbers, start, end, weak)
        reader = readers.of(KINDS[kind])
        if reader is not None:
            reader(places, index, numbers)
        elif kind not in _ATOMS:
            readers.items(places, index, numbers)
        if flags & MANAGED_DICT:
            readers.attributes(places, index, numbers, inline=bool(flags & INLINE_VALUES))

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
