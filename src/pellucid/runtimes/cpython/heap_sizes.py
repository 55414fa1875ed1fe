"""How many bytes an object has: what `sys.getsizeof` says of it in its own process, from the fields that its `__sizeof__` looks at.

Each rule stands beside the file of CPython (3.11 to 3.15) that it is taken from. What a type of an extension module owns besides its own
block is not known from outside: then its block is counted (numpy's arrays are known).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pellucid.kernel.memory import TOP, Memory, Unreadable
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.heap_types import HEAP, INLINE_VALUES, KINDS, MANAGED_DICT, Types
from pellucid.runtimes.cpython.image import Image, Places, Words

MAX_ITEMS = 1 << 40  # what a length field may say before it is taken for garbage
_POINTER = 8
_MAX_SHARED = 30
"""SHARED_KEYS_MAX_SIZE, Include/internal/pycore_dict.h."""


Elsewhere = Callable[[Words], Words]
"""The words at addresses outside of the copy."""


class Sizes:
    """The rules for one process."""

    def __init__(
        self, image: Image, memory: Memory, layout: Layout, types: Types, elsewhere: Elsewhere | None = None
    ) -> None:
        self._image = image
        self._elsewhere = elsewhere
        """Reads words that were not copied; without it they are 0."""
        self._memory = memory
        self._layout = layout
        self._types = types
        self._rules: dict[str, Callable[[Places, NDArray[np.int32]], Places]] = {
            "long": self._long, "list": self._list, "tuple": self._items, "bytes": self._bytes, "str": self._str, "dict": self._dict,
            "type": self._type, "set": self._set, "bytearray": self._bytearray, "deque": self._deque, "ndarray": self._ndarray,
            "array": self._array, "odict": self._odict, "generator": self._generator, "frame": self._frame, "code": self._code,
        }  # fmt: skip

    def of(self, places: Places, index: NDArray[np.int32]) -> Places:
        """The bytes of the object at each place, whose type is `index`. int64."""
        types = self._types
        found = types.basic[index] + types.prefixes[index]
        kinds = types.kinds[index]
        for number in np.flatnonzero(np.bincount(kinds, minlength=len(KINDS))).tolist():
            mine = np.flatnonzero(kinds == number) if number or len(KINDS) > 1 else slice(None)
            rule = self._rules.get(KINDS[number], self._other)
            found[mine] += rule(places[mine], index[mine])
        return found

    def field(self, places: Places, name: str) -> Words:
        """The word of each object at the field `name`; 0 where the object reaches beyond the copy."""
        return self.word(places, self._layout[name])

    def word(self, places: Places, offset: int) -> Words:
        at = places + offset
        return self._image.words[np.where((at >= 0) & (at + 8 <= self._image.size), at, 0) // 8]

    def at(self, addresses: Words, offset: int) -> Words:
        """The word at each address plus `offset`, 0 where it can't be read. The addresses may be garbage."""
        where = addresses + np.uint64(offset)
        places = self._image.places(where)
        found = np.where(places >= 0, self._image.words[np.maximum(places, 0) // 8], np.uint64(0))
        if self._elsewhere is not None:
            absent = np.flatnonzero(
                (places < 0) & (addresses > np.uint64(4096)) & (where < np.uint64(TOP)) & ((where & np.uint64(7)) == 0)
            )
            if len(absent):
                found[absent] = self._elsewhere(where[absent])
        return found

    def _at(self, addresses: Words, name: str) -> Words:
        return self.at(addresses, self._layout[name])

    def _length(self, words: Words) -> Places:
        found = words.view(np.int64)
        return np.where((found >= 0) & (found < MAX_ITEMS), found, 0)

    def _count(self, places: Places, offset: int) -> Places:
        found = self.word(places, offset).view(np.int64)
        return np.where((found >= 0) & (found < MAX_ITEMS), found, 0)

    def integer(self, places: Places, name: str) -> Places:
        """A field of type int, which may be either half of a word."""
        offset = self._layout[name]
        return ((self.word(places, offset & ~7) >> np.uint64(8 * (offset & 7))) & np.uint64(0xFFFFFFFF)).view(np.int64)

    def _room(self, keys: Words) -> Places:
        """How many entries tables of shared keys have room for: those that are there and those that may come."""
        return self._length(self._at(keys, "dict_keys.usable")) + self._length(self._at(keys, "dict_keys.nentries"))

    def _other(self, places: Places, index: NDArray[np.int32]) -> Places:
        """object.__sizeof__: the block, with as many items as it has. What lies behind it for attributes is not counted: `attributes`."""
        return self._items(places, index)

    def attributes(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Bytes of the values of an instance's attributes, which no __sizeof__ counts: behind the object from 3.13 on, else apart.

        _PyInlineValuesSize (Include/internal/pycore_dict.h): a prefix of 4 bytes and one for each name, in whole words; then the values.
        """
        types, layout = self._types, self._layout
        found = np.zeros(len(places), np.int64)
        flag = INLINE_VALUES if layout.minor >= 13 else MANAGED_DICT
        has = np.flatnonzero(types.has(flag)[index])
        if layout.minor == 12:
            has = has[(self.word(places[has], layout["pyobject.managed_dict"]) & np.uint64(1)) != 0]
        elif layout.minor == 11:
            has = has[self.word(places[has], layout["pyobject.managed_values"]) != 0]
        if len(has):
            room = np.minimum(types.room[index[has]], _MAX_SHARED)
            before = (room + 4 + 7) & ~7 if layout.minor >= 13 else (room + 2 + 7) & ~7
            found[has] = np.where(types.keys[index[has]] != 0, room * _POINTER + before, 0)
        return found

    def _items(self, places: Places, index: NDArray[np.int32]) -> Places:
        item = self._types.item[index]
        count = self._count(places, self._layout["tuple_object.ob_size"])
        return np.where(item > 0, item * count, 0)

    def _code(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Objects/codeobject.c, code_sizeof: in whole words."""
        size = self._items(places, index)
        return size + -(size + self._types.basic[index]) % _POINTER

    def _long(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Objects/longobject.c, int___sizeof__: at least one digit from 3.12 on."""
        if (tag := self._layout.get("long_object.lv_tag")) is not None:
            digits = np.maximum(self._count(places, tag) >> 3, 1)
            head = self._layout["long_object.ob_digit"]
        else:
            digits = np.abs(self.field(places, "long_object.ob_size").view(np.int64))
            digits = np.where(digits < MAX_ITEMS, np.maximum(digits, 1), 1)
            head = self._layout["long_object.ob_digit"]
        size = head + 4 * digits
        # A subclass adds nothing of its own: __sizeof__ counts from the digits' offset.
        return size - self._types.basic[index]

    def _list(self, places: Places, index: NDArray[np.int32]) -> Places:
        return _POINTER * self._count(places, self._layout["list_object.allocated"])

    def _bytes(self, places: Places, index: NDArray[np.int32]) -> Places:
        return self._count(places, self._layout["bytes_object.ob_size"])

    def _bytearray(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Objects/bytearrayobject.c, bytearray_sizeof. From 3.15 on its bytes are a bytes object of its own."""
        room = self._count(places, self._layout["bytearray_object.ob_alloc"])
        return (
            room + np.where(room > 0, self._layout["bytes_object.ob_sval"] + 1, 0) if self._layout.minor >= 15 else room
        )

    def _str(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Objects/unicodeobject.c, unicode_sizeof_impl: the header by its form, the characters, a cached UTF-8 copy."""
        layout = self._layout
        state = self.field(places, "unicode_object.state")
        width = (state >> np.uint64(layout["unicode_object.kind_bit"])).astype(np.int64) & 7
        ascii_, compact = (
            ((state >> np.uint64(layout[f"unicode_object.{name}_bit"])) & np.uint64(1)) != 0
            for name in ("ascii", "compact")
        )
        length = self._count(places, layout["unicode_object.length"])
        plain, wide = layout["unicode_object.asciiobject_size"], layout["unicode_object.compactunicodeobject_size"]
        size = np.where(ascii_, plain + length + 1, wide + (length + 1) * width)
        whole = layout["unicode_object.data"] + _POINTER  # a subclass of str has its characters elsewhere
        size = np.where(compact, size, whole + (length + 1) * width)
        utf8_length, utf8 = self.word(places, plain), self.word(places, plain + 8)
        shared = ascii_ | (utf8 == 0)
        if not compact.all():
            shared |= ~compact & (utf8 == self.field(places, "unicode_object.data"))
        cached = np.where(shared, 0, (utf8_length + np.uint64(1)).view(np.int64))
        size += np.where((cached >= 0) & (cached < MAX_ITEMS), cached, 0)
        return size - self._types.basic[index]

    def _dict(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Objects/dictobject.c, _PyDict_SizeOf: its values where they lie apart, its keys where they are its own."""
        keys = self.field(places, "dict_object.ma_keys")
        split = np.flatnonzero(self.field(places, "dict_object.ma_values") != 0)
        own = self._at(keys, "dict_keys.refcnt") == 1
        size = np.where(own, self.keys_bytes(keys), 0)
        if len(split):
            size[split] += np.minimum(self._room(keys[split]), _MAX_SHARED) * _POINTER
        return size

    def _bits(self, keys: Words) -> Places:
        return np.minimum(self._at(keys, "dict_keys.log2_size").view(np.int64) & 255, 40)

    def keys_bytes(self, keys: Words) -> Places:
        """The bytes of tables of keys (_PyDict_KeysSize): header, indices, entries. 0 where there is none."""
        layout = self._layout
        head = self._at(keys, "dict_keys.log2_size")
        bits = np.minimum((head & np.uint64(255)).view(np.int64), 40)
        index_bits = np.minimum(((head >> np.uint64(8)) & np.uint64(255)).view(np.int64), 43)
        general = ((head >> np.uint64(16)) & np.uint64(255)) == 0
        entry = np.where(general, 24, 16)
        size = layout["dict_keys.indices"] + (np.int64(1) << index_bits) + (np.int64(1) << bits) * 2 // 3 * entry
        return np.where(head != 0, size, 0)

    def _odict(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Objects/odictobject.c, odict_sizeof: the dict, a pointer for each slot of its keys, a node of 32 bytes for each entry."""
        keys = self.field(places, "dict_object.ma_keys")
        used = self._count(places, self._layout["dict_object.ma_used"])
        return self._dict(places, index) + np.where(used > 0, _POINTER << self._bits(keys), 0) + 32 * used

    def _type(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Objects/typeobject.c, type___sizeof__: a class with the names that its instances share; a static type has no prefix."""
        layout, types = self._layout, self._types
        heap = (self.field(places, "type_object.tp_flags") & np.uint64(HEAP)) != 0
        keys = np.where(heap, self.field(places, "heap_type_object.ht_cached_keys"), np.uint64(0))
        static = layout["type_object.size"] - types.basic[index] - types.prefixes[index]
        return np.where(heap, self.keys_bytes(keys), static)

    def _set(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Objects/setobject.c, set_sizeof: the table, where it is not the small one inside."""
        mask = self._count(places, self._layout["set_object.mask"])
        return np.where(mask > 7, (mask + 1) * 16, 0)

    def _deque(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Modules/_collectionsmodule.c, deque_sizeof: whole blocks of 64 items and two links."""
        layout = self._layout
        count = self._count(places, layout["deque.ob_size"])
        left = self._count(places, layout["deque.leftindex"]) & 63
        blocks = (left + count + 63) // 64
        return np.maximum(blocks, 1) * (layout["deque_block.rightlink"] + _POINTER)

    def _ndarray(self, places: Places, index: NDArray[np.int32]) -> Places:
        """numpy/_core/src/multiarray/methods.c, array_sizeof: dimensions and strides, and the data where it owns them.

        PyArrayObject_fields (numpy/_core/include/numpy/ndarraytypes.h, 1.26 and 2): data 16, nd 24, dimensions 32, strides 40, descr 56,
        flags 64; NPY_ARRAY_OWNDATA is 4. The item size is read from the strides: the largest stride times its dimension is the whole.
        """
        dimensions = (self.word(places, 24) & np.uint64(0xFFFFFFFF)).view(np.int64)
        dimensions = np.where(dimensions <= 64, dimensions, 0)
        owns = (self.word(places, 64) & np.uint64(4)) != 0
        shape, strides = self.word(places, 32), self.word(places, 40)
        data = np.zeros(len(places), np.int64)
        for number in range(int(dimensions.max(initial=0))):
            there = dimensions > number
            length = np.where(there, self._length(self.at(shape, 8 * number)), 0)
            stride = np.where(there, np.abs(self.at(strides, 8 * number).view(np.int64)), 0)
            whole = length * np.minimum(stride, MAX_ITEMS // np.maximum(length, 1))
            data = np.maximum(data, np.where(stride < MAX_ITEMS, whole, 0))
        return 16 * dimensions + np.where(owns, data, 0)

    def _array(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Modules/arraymodule.c, array___sizeof__: allocated 32, ob_descr 40, which lies in the file of the module with its itemsize at 4."""
        described = self.word(places, 40)
        item = np.zeros(len(places), np.int64)
        for one in np.unique(described).tolist():
            try:
                item[described == np.uint64(one)] = min(self._memory.u32(one + 4), 16)
            except Unreadable:
                continue
        return self._count(places, 32) * item

    def _generator(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Objects/genobject.c, gen_sizeof: the frame behind it, by the size of its code's."""
        layout = self._layout
        code = self.word(places, layout["gen_object.gi_iframe"] + layout["interpreter_frame.executable"])
        return layout["gen_object.gi_iframe"] - self._types.basic[index] + self._frame_bytes(code)

    def _frame(self, places: Places, index: NDArray[np.int32]) -> Places:
        """Objects/frameobject.c, frame_sizeof: the locals and the stack, where its frame lies behind it."""
        layout = self._layout
        code = self._at(self.field(places, "frame_object.f_frame"), "interpreter_frame.executable")
        return self._frame_bytes(code) - layout["interpreter_frame.size"]

    def _frame_bytes(self, codes: Words) -> Places:
        layout = self._layout
        codes = codes & ~np.uint64(7) if layout.minor >= 14 else codes
        slots, stack = (self._half(codes, f"code_object.{name}") for name in ("nlocalsplus", "stacksize"))
        sane = (codes != 0) & (slots < 1 << 20) & (stack < 1 << 20)
        return np.where(sane, (slots + stack) * _POINTER + layout["interpreter_frame.localsplus"], 0)

    def _half(self, addresses: Words, name: str) -> Places:
        offset = self._layout[name]
        return ((self.at(addresses, offset & ~7) >> np.uint64(8 * (offset & 7))) & np.uint64(0xFFFFFFFF)).view(np.int64)
