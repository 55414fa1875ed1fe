"""What Python keeps in blocks of malloc: objects over 512 bytes, tables of dicts, arrays of references, buffers of NumPy.

pymalloc hands what is larger than 512 bytes to malloc (Objects/obmalloc.c), so that a large block may be told by what it begins with:
the head of an object, whose type is a type; the head of a dict's table of keys (struct _dictkeysobject, Include/internal/pycore_dict.h);
or references to objects in the pools, as in the items of a list. A NumPy array names its buffer itself.

What is told by its first words alone is likely, not certain; what is not told is nobody's here, and counts as native.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.kernel.gather import gather
from pellucid.kernel.maps import Mapping
from pellucid.kernel.memory import TOP, Unreadable
from pellucid.runtimes.cpython.pool_headers import POOL, Pools
from pellucid.runtimes.cpython.process import CPython
from pellucid.runtimes.cpython.registry import Registry
from pellucid.runtimes.cpython.values import Values

UNKNOWN, OBJECT, DICT_KEYS, REFERENCES, ARRAY = range(5)
KIND_WORDS = {
    OBJECT: "objects",
    DICT_KEYS: "tables of dicts",
    REFERENCES: "items of lists and the like",
    ARRAY: "NumPy buffers",
}

_TYPE_PLACES = (1, 3, 5)
"""The word that holds ob_type: after 0, 16 or 32 bytes of what lies before an object (Include/internal/pycore_gc.h; managed dict, 3.12)."""
_MAX_TYPES = 1 << 14
_READY = np.uint64(1 << 12)  # Py_TPFLAGS_READY
_TYPE_WORDS = 22
_POOL_HEADER = 48
_MAX_ARRAYS = 1 << 22
_OWNS_DATA = np.uint64(4)  # NPY_ARRAY_OWNDATA
Words = NDArray[np.uint64]


class Arrays(Struct, frozen=True):
    """The buffers that NumPy's arrays own: sorted addresses, and bytes by malloc's own count."""

    addresses: Words
    sizes: NDArray[np.int64]


class Large:
    """Asks one attached CPython; made anew for each moment."""

    def __init__(self, python: CPython, pools: Pools, mappings: tuple[Mapping, ...]) -> None:
        self._memory = python.memory
        self._pools = pools
        self._values = Values(python.memory, python.layout)
        self._registry = Registry(self._values, python)
        self._python = python
        self._static = _static(mappings)
        self._types: dict[int, bool] = {}

    def kinds(self, words: Words) -> NDArray[np.int8]:
        """What each block holds, by its first six words."""
        kinds = np.zeros(len(words), np.int8)
        if not len(words):
            return kinds
        references = self._references(words)
        kinds[references] = REFERENCES
        kinds[_dict_keys(words)] = DICT_KEYS
        for place in reversed(_TYPE_PLACES):
            kinds[self._typed(words, place)] = OBJECT
        return kinds

    def name(self, words: Words) -> str:
        """The type of the object that begins with these words; "" where it can't be told."""
        for place in _TYPE_PLACES:
            if self._types.get(int(words[place])) and _counted(words[None, place - 1])[0]:
                try:
                    return self._values.type_name(int(words[place]))
                except Unreadable:
                    return ""
        return ""

    def _typed(self, words: Words, place: int) -> NDArray[np.bool_]:
        candidates = words[:, place]
        found, where, counts = np.unique(candidates, return_inverse=True, return_counts=True)
        self._learn(found[np.argsort(-counts, kind="stable")])
        good = np.array([self._types.get(int(one), False) for one in found.tolist()], np.bool_)
        return good[where] & _counted(words[:, place - 1])

    def _learn(self, candidates: Words) -> None:
        """Which of the addresses, the most frequent first, are those of types: it is ready, and its own type is a type."""
        plausible = (candidates & np.uint64(7) == 0) & (candidates > 4096) & (candidates < TOP)
        fresh = [one for one in candidates[plausible][:_MAX_TYPES].tolist() if one not in self._types]
        if not fresh:
            return
        kind_of_types = self._kind_of_types()
        addresses = np.array(fresh, np.uint64)
        heads, good = gather(self._memory, addresses, _TYPE_WORDS)
        metas, where = np.unique(heads[:, 1], return_inverse=True)
        their_heads, readable = gather(self._memory, metas, 2)
        meta_good = (metas == kind_of_types) | (readable & (their_heads[:, 1] == kind_of_types))
        good &= meta_good[where] & ((heads[:, 21] & _READY) != 0)
        self._types.update(zip(fresh, good.tolist(), strict=True))

    def _kind_of_types(self) -> np.uint64:
        """The address of PyType_Type: the type of the type of a dict."""
        values = self._values
        for interpreter in self._python.interpreters:
            try:
                modules = values.pages.u64(interpreter.address + values.layout["interpreter_state.imports_modules"])
                return np.uint64(values.type_of(values.type_of(modules)))
            except Unreadable:
                continue
        return np.uint64(0)

    def _references(self, words: Words) -> NDArray[np.bool_]:
        """Two or more words that are no NULL, all of them addresses of objects in pools or in CPython's own data."""
        flat = words.reshape(-1)
        objects = (flat & np.uint64(15) == 0) & (self._pools.holds(flat) | self._in_static(flat))
        there, empty = objects.reshape(words.shape), words == 0
        pooled: NDArray[np.bool_] = (there | empty).all(axis=1) & (there.sum(axis=1) >= 2)
        return pooled

    def _in_static(self, addresses: Words) -> NDArray[np.bool_]:
        found = np.zeros(len(addresses), np.bool_)
        for start, end in self._static:
            found |= (addresses >= start) & (addresses < end)
        return found

    def arrays(self) -> Arrays:
        """The buffers of NumPy's arrays, found in the pools of their size; empty where NumPy is not imported."""
        nothing = Arrays(np.zeros(0, np.uint64), np.zeros(0, np.int64))
        try:
            kind = self._registry.variable("numpy", "ndarray")
            size = self._values.pages.u64(kind + self._values.layout["type_object.tp_basicsize"]) if kind else 0
        except Unreadable:
            return nothing
        size += -size % 16
        chosen = np.flatnonzero((self._pools.size == size) & (self._pools.used > 0)) if 0 < size <= 512 else ()
        if not len(chosen):
            return nothing
        blocks = np.arange((POOL - _POOL_HEADER) // size, dtype=np.uint64) * np.uint64(size) + np.uint64(_POOL_HEADER)
        addresses = (self._pools.addresses[chosen][:, None] + blocks[None, :]).reshape(-1)[:_MAX_ARRAYS]
        bodies, good = gather(
            self._memory, addresses, 9
        )  # up to `flags`, PyArrayObject_fields (numpy/_core/include/numpy/ndarraytypes.h)
        good &= (bodies[:, 1] == np.uint64(kind)) & _counted(bodies[:, 0]) & ((bodies[:, 8] & _OWNS_DATA) != 0)
        data = np.unique(bodies[good, 2])
        data = data[(data > 4096) & (data < TOP) & (data & np.uint64(15) == 0)]
        heads, readable = gather(self._memory, data - np.uint64(8), 1)  # malloc's own count of the block
        sizes = (heads[:, 0] & ~np.uint64(7)).astype(np.int64)
        readable &= (sizes >= 32) & (sizes < 1 << 44)
        return Arrays(data[readable], sizes[readable])


def _counted(words: Words) -> NDArray[np.bool_]:
    """A sane reference count, also of an immortal object (Include/refcount.h): a free block has a link or NULL in its place."""
    low = words & np.uint64(0xFFFFFFFF)
    return (low != 0) & ((words >> np.uint64(32) == 0) | (low >= 1 << 30))


def _dict_keys(words: Words) -> NDArray[np.bool_]:
    """dk_refcnt, dk_log2_size, dk_log2_index_bytes and dk_kind, dk_usable, dk_nentries: each within what the others allow."""
    head = words[:, 1]
    size, index, kind = (head >> np.uint64(shift) & np.uint64(255) for shift in (0, 8, 16))
    size = np.minimum(size, np.uint64(41))
    room = (np.uint64(2) << size) // np.uint64(3)  # USABLE_FRACTION
    usable, entries = words[:, 2], words[:, 3]
    fits = (words[:, 0] > 0) & (words[:, 0] < 1 << 20) & (size >= 3) & (size <= 40) & (kind <= 2)
    fits &= (index >= size) & (index <= size + np.uint64(3))
    most = np.uint64(1 << 42)
    found: NDArray[np.bool_] = fits & (usable <= most) & (entries <= most) & (usable + entries <= room) & (entries > 0)
    return found


def _static(mappings: tuple[Mapping, ...]) -> list[tuple[np.uint64, np.uint64]]:
    """The writable data of python and libpython, with what follows them (.bss): None, True, small integers, static types."""
    found: list[tuple[np.uint64, np.uint64]] = []
    end = -1
    for mapping in mappings:
        of_python = "python" in mapping.path.rpartition("/")[2] and bool(mapping.inode)
        follows = mapping.start == end and not mapping.inode and not mapping.path
        end = -1
        if mapping.permissions.startswith("rw") and (of_python or follows):
            found.append((np.uint64(mapping.start), np.uint64(mapping.end)))
            end = mapping.end
    return found
