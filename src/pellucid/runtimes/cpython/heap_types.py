"""Every type of a copied process, found by what it is: an object whose type is `type`, or a subclass of `type`.

Types are too large for the pools, so only the other memory is searched for words that are the address of a metaclass. A word that is one
by accident is no type yet: its flags must say that it is ready, its sizes be sane, and its base be a type that was found as well.
"""

import numpy as np
from numpy.typing import NDArray

from pellucid.kernel.memory import Memory, Unreadable
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.image import Image, Places, Words
from pellucid.runtimes.cpython.obmalloc import POOL, Pools
from pellucid.runtimes.cpython.values import Values

# Include/object.h and, for the subclasses of the builtin types, its Py_TPFLAGS_*_SUBCLASS.
INLINE_VALUES = 1 << 2
MANAGED_WEAKREF = 1 << 3
MANAGED_DICT = 1 << 4
HEAP = 1 << 9
READY = 1 << 12
GC = 1 << 14
LONG, LIST, TUPLE, BYTES, STR, DICT, EXCEPTION, TYPE = (1 << bit for bit in range(24, 32))

KINDS = (
    "other", "long", "list", "tuple", "bytes", "str", "dict", "type", "set", "bytearray", "deque", "ndarray", "array",
    "odict", "weakref", "module", "generator", "frame", "code", "leaf",
)  # fmt: skip
"""How an object is read: `Types.kinds` are places in this tuple. A type has the kind of its base unless its own is named here."""

_BY_NAME = {
    "set": "set", "frozenset": "set", "bytearray": "bytearray", "collections.deque": "deque", "numpy.ndarray": "ndarray",
    "array.array": "array", "collections.OrderedDict": "odict", "weakref": "weakref", "weakref.ReferenceType": "weakref",
    "weakproxy": "weakref", "weakref.ProxyType": "weakref", "weakcallableproxy": "weakref", "weakref.CallableProxyType": "weakref",
    "module": "module", "generator": "generator", "coroutine": "generator", "async_generator": "generator", "frame": "frame",
    "code": "code", "frozendict": "dict", "float": "leaf", "complex": "leaf",
}  # fmt: skip
_BY_FLAG = (
    (LONG, "long"),
    (LIST, "list"),
    (TUPLE, "tuple"),
    (BYTES, "bytes"),
    (STR, "str"),
    (DICT, "dict"),
    (TYPE, "type"),
)

MAX_BASICSIZE = 1 << 20
MAX_ITEMSIZE = 1 << 16
MAX_TYPES = 1 << 20
_ROUNDS = 32  # of metaclasses of metaclasses
_CHUNK = 1 << 19  # words that are looked at in one go
_NAME = 96
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
_BITS = 18


class Hashed:
    """Where a word stands in a sorted array of addresses: a few table lookups, where a binary search would take a dozen steps."""

    def __init__(self, addresses: Words) -> None:
        self._addresses = addresses
        self._tables: list[NDArray[np.int32]] = []
        left = np.arange(len(addresses))
        for bits in range(_BITS, _BITS + 8):
            table = np.full(1 << bits, -1, np.int32)
            buckets = _bucket(addresses[left], bits)
            table[buckets] = left
            self._tables.append(table)
            left = left[table[buckets] != left]
            if not len(left):
                break
        self._rest = left  # practically none; they are looked for one by one

    def index(self, words: Words) -> NDArray[np.int32]:
        """The place of each word, -1 where it is none of the addresses."""
        found = np.full(len(words), -1, np.int32)
        if not len(self._addresses):
            return found
        left = np.flatnonzero((words >= self._addresses[0]) & (words <= self._addresses[-1]))
        for bits, table in enumerate(self._tables, _BITS):
            wanted = words[left]
            place = table[_bucket(wanted, bits)]
            same = (place >= 0) & (self._addresses[place] == wanted)
            found[left[same]] = place[same]
            left = left[(place >= 0) & ~same]  # another address has its bucket: the next table may have it
            if not len(left):
                break
        for one in self._rest.tolist():
            found[words == self._addresses[one]] = one
        return found


def _bucket(words: Words, bits: int) -> Places:
    return ((words * _FACTOR) >> np.uint64(64 - bits)).view(np.int64)


class Types:
    """Arrays with one element a type, in the order of `addresses`: `places` in the image (of all of them), `flags`, `basic`, `item` sizes,
    `least` bytes of an object, `prefixes` (bytes before it), `dict_offsets`, `bases` (a place in these arrays, -1 for none), `kinds`, `keys` (the table of the
    names that its instances share, 0 for none). `names` are tp_name: `dict`, `collections.deque`, `Session`.
    """

    def __init__(self, image: Image, memory: Memory, layout: Layout, addresses: Words) -> None:
        self.addresses = addresses
        self.places = image.places(addresses)
        self._values = Values(memory, layout)
        self._layout = layout
        self._hashed = Hashed(addresses)
        self._full: dict[int, tuple[str, str]] = {}

        def field(name: str) -> Words:
            return image.words[(self.places + layout[name]) // 8]

        self.flags = field("type_object.tp_flags")
        self.basic = field("type_object.tp_basicsize").astype(np.int64)
        self.item = field("type_object.tp_itemsize").astype(np.int64)
        self.dict_offsets = field("type_object.tp_dictoffset").view(np.int64)
        self.bases = self._hashed.index(field("type_object.tp_base"))
        self.prefixes = prefixes(self.flags, layout)
        heap = (self.flags & np.uint64(HEAP)) != 0
        keys = np.minimum(self.places + layout["heap_type_object.ht_cached_keys"], image.size - 8) // 8
        self.keys = np.where(heap, image.words[keys], np.uint64(0))
        table = image.places(self.keys)
        usable, entries = (
            image.words[np.minimum(np.maximum(table, 0) + layout[f"dict_keys.{name}"], image.size - 8) // 8].view(
                np.int64
            )
            for name in ("usable", "nentries")
        )
        self.room = np.where(table >= 0, np.clip(usable, 0, 64) + np.clip(entries, 0, 64), 0)
        """How many attributes the values of its instances have room for."""
        self.names = _names(memory, field("type_object.tp_name"))
        self.kinds = self._kinds()
        # A compact str (Include/cpython/unicodeobject.h) ends before the fields that tp_basicsize counts.
        self.least = np.where(
            self.kinds == KINDS.index("str"), layout["unicode_object.asciiobject_size"], self.basic
        ).astype(np.int64)

    def __len__(self) -> int:
        return len(self.addresses)

    def index(self, words: Words) -> NDArray[np.int32]:
        """Which type has its address in each word; -1 for none."""
        return self._hashed.index(words)

    def has(self, flag: int) -> NDArray[np.bool_]:
        return (self.flags & np.uint64(flag)) != 0

    def _kinds(self) -> NDArray[np.int8]:
        known = [_BY_NAME.get(name, "") for name in self.names]
        flags, bases = self.flags.tolist(), self.bases.tolist()
        found = np.zeros(len(self), np.int8)
        for number in range(len(self)):
            at, kind = number, ""
            for _ in range(64):
                # A class of the program may be called `code`: only a type that was written in C is known by its name.
                kind = known[at] if not flags[at] & HEAP or "." in self.names[at] else ""
                if kind or bases[at] < 0:
                    break
                at = bases[at]
            kind = kind or next((kind for flag, kind in _BY_FLAG if flags[number] & flag), "other")
            found[number] = KINDS.index(kind)
        return found

    def module_and_name(self, number: int) -> tuple[str, str]:
        """(`shop.cart`, `Session`), (`builtins`, `dict`), (`collections`, `deque`). The module is "" where it could not be read."""
        known = self._full.get(number)
        if known is None:
            known = self._full[number] = self._read(number)
        return known

    def _read(self, number: int) -> tuple[str, str]:
        module, _, name = self.names[number].rpartition(".")
        if module or not self.flags[number] & np.uint64(HEAP):
            return module or "builtins", name
        values, address = self._values, int(self.addresses[number])
        try:
            space = values.pages.u64(address + self._layout["type_object.tp_dict"])
            told = values.item(space, "__module__") if space else None
            return (values.word(told) if told else "builtins"), name
        except Unreadable:
            return "", name


def prefixes(flags: Words, layout: Layout) -> Places:
    """Bytes that lie before an object: the links of the collector, and the words for its dict and weak references.

    Include/internal/pycore_object.h, _PyType_PreHeaderSize (3.12); in 3.11 only the dict has such words.
    """
    before = MANAGED_DICT | MANAGED_WEAKREF if layout.minor >= 12 else MANAGED_DICT
    found = np.where((flags & np.uint64(GC)) != 0, layout["gc_head.size"], 0)
    return (found + np.where((flags & np.uint64(before)) != 0, 16, 0)).astype(np.int64)


class NotFound(Exception):  # noqa: N818
    """`type` itself is not what it should be: nothing can be told of this memory."""


def find(image: Image, memory: Memory, layout: Layout, metaclass: int, found: Pools) -> Types:
    """All types. `metaclass` is the address of `type`. Raises NotFound where it is not its own type."""
    place = image.place(metaclass)
    if place < 0 or int(image.words[place // 8 + 1]) != metaclass:
        raise NotFound
    known = {metaclass}
    new = {metaclass}
    for _ in range(_ROUNDS):
        addresses, metaclasses = candidates(image, layout, found, new)
        new = set(addresses[metaclasses].tolist()) - known
        known.update(addresses.tolist())
        if not new or len(known) > MAX_TYPES:
            break
    addresses = np.array(sorted(known), np.uint64)
    places = dict(zip(addresses.tolist(), image.places(addresses).tolist(), strict=True))
    return Types(image, memory, layout, with_bases(image, layout, places))


def candidates(image: Image, layout: Layout, found: Pools, metaclasses: set[int]) -> tuple[Words, NDArray[np.bool_]]:
    """(addresses of what may be types, for their type is one of `metaclasses`; which of them are metaclasses themselves)."""
    places = _whose_type_is(image, outside(image, found), np.array(sorted(metaclasses), np.uint64))
    sane, flags = _sane(image, layout, places)
    return image.addresses(places[sane]), (flags[sane] & np.uint64(TYPE)) != 0


def _whose_type_is(image: Image, stretches: list[tuple[int, int]], metaclasses: Words) -> Places:
    """The places of objects outside of the pools that have one of these types, at the first glance."""
    hashed = Hashed(metaclasses) if len(metaclasses) > 1 else None
    found = []
    for start, end in stretches:
        for first in range(start // 8, end // 8, _CHUNK):
            part = image.words[first : min(end // 8, first + _CHUNK)]
            hits = np.flatnonzero(part == metaclasses[0] if hashed is None else hashed.index(part) >= 0)
            found.append(hits + first)
    places = 8 * np.concatenate(found) - 8 if found else np.zeros(0, np.int64)
    return places[(places >= 0)].astype(np.int64)


def _sane(image: Image, layout: Layout, places: Places) -> tuple[NDArray[np.bool_], Words]:
    inside = places + layout["type_object.size"] <= image.size
    at = np.where(inside, places, 0)

    def field(name: str) -> Words:
        return image.words[(at + layout[name]) // 8]

    flags = field("type_object.tp_flags")
    basic, item = field("type_object.tp_basicsize"), field("type_object.tp_itemsize")
    sane = inside & ((flags & np.uint64(READY)) != 0) & (basic >= np.uint64(16)) & (basic < np.uint64(MAX_BASICSIZE))
    sane &= (
        (item < np.uint64(MAX_ITEMSIZE))
        & (image.words[at // 8] != 0)
        & (field("type_object.tp_name") > np.uint64(4096))
    )
    return sane, flags


def with_bases(image: Image, layout: Layout, known: dict[int, int]) -> Words:
    """Those whose base is known too; `object` alone has none."""
    base = layout["type_object.tp_base"] // 8
    bases = {address: int(image.words[place // 8 + base]) for address, place in known.items()}
    for _ in range(_ROUNDS):
        wrong = [address for address, under in bases.items() if under and under not in bases]
        if not wrong:
            break
        for address in wrong:
            del bases[address]
    return np.array(sorted(bases), np.uint64)


def _names(memory: Memory, pointers: Words) -> list[str]:
    """tp_name of each; `?` where it can't be read. Those of types that were written in C lie in the files of the program."""
    wanted = [(pointer, _NAME) for pointer in pointers.tolist()]
    names = []
    for (pointer, _), raw in zip(wanted, memory.read_many(wanted), strict=True):
        if raw is None:
            try:
                raw = memory.read_some(pointer, _NAME)
            except Unreadable:
                raw = b"?"
        names.append(raw.partition(b"\0")[0].decode("utf-8", "replace") or "?")
    return names


def outside(image: Image, found: Pools) -> list[tuple[int, int]]:
    """(first place, end) of the stretches of the image that are no pools, lowest first; none goes over the end of a run."""
    stretches = []
    pools = found.places
    for at, size in zip(image.offsets.tolist(), (image.ends - image.starts).astype(np.int64).tolist(), strict=True):
        low, high = np.searchsorted(pools, (at, at + size))
        inside = pools[low:high]
        if not len(inside):
            stretches.append((at, at + size))
            continue
        apart = np.flatnonzero(np.diff(inside) != POOL)
        firsts = [at, *(inside[apart] + POOL).tolist(), int(inside[-1]) + POOL]
        lasts = [int(inside[0]), *inside[apart + 1].tolist(), at + size]
        stretches += [(first, last) for first, last in zip(firsts, lasts, strict=True) if last > first]
    return stretches
