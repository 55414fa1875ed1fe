"""Python objects of another process: text, integers, dictionaries, attributes.

Everything goes through `Pages`: objects lie close together (Objects/obmalloc.c: pools of one size class), so that a page once
read answers many questions, and one page is consistent in itself. The pages are forgotten after each look.

What is read here may be changed or freed meanwhile. Every length is bounded; what does not add up raises `Unreadable` or is
left out.
"""

from collections.abc import Iterator
from errno import EINVAL
from struct import Struct, unpack_from

from pellucid.kernel.memory import Memory, Unreadable
from pellucid.runtimes.cpython.debug_offsets import Layout

PAGE = 4096
MAX_PAGES = 1 << 15  # 128 MiB in one look
MAX_TEXT = 4096  # characters; what is longer is cut
MAX_ENTRIES = 1 << 20  # of one dict
MAX_KEYS = 1 << 25  # bytes of one table of keys
MAX_INSTANCE = 1 << 16  # bytes of an instance before its dict

_U64 = Struct("<Q")
_I64 = Struct("<q")
_U32 = Struct("<I")

_GENERAL_KEYS = 0  # Include/internal/pycore_dict.h, DictKeysKind: hash, key, value; the other kinds have no hash
_MANAGED_DICT = 1 << 4  # Include/object.h, Py_TPFLAGS_MANAGED_DICT
_INLINE_VALUES = 1 << 2  # Py_TPFLAGS_INLINE_VALUES, 3.13
_CODECS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


class Pages:
    """The memory of a process, page by page, as it was when first asked for."""

    __slots__ = ("_memory", "held")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held: dict[int, bytes] = {}
        """Address to content of the pages that were read."""

    def forget(self) -> None:
        self.held.clear()

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes. Raises Unreadable."""
        start = address % PAGE
        if start + size <= PAGE:
            return self._page(address - start)[start : start + size]
        return self._memory.read(address, size)

    def u64(self, address: int) -> int:
        start = address % PAGE
        if start <= PAGE - 8:
            page = self.held.get(address - start) or self._page(address - start)
            value: int = _U64.unpack_from(page, start)[0]
            return value
        return self._memory.u64(address)

    def u64_once(self, address: int) -> int:
        """As `u64`, of a place about which little else will be asked: its page is not kept."""
        start = address % PAGE
        page = self.held.get(address - start) if start <= PAGE - 8 else None
        value: int = _U64.unpack_from(page, start)[0] if page is not None else self._memory.u64(address)
        return value

    def i64(self, address: int) -> int:
        value: int = _I64.unpack(self.read(address, 8))[0]
        return value

    def u32(self, address: int) -> int:
        value: int = _U32.unpack(self.read(address, 4))[0]
        return value

    def string(self, address: int, limit: int = 256) -> bytes:
        """The C string at `address`, cut at `limit` bytes or at the end of the memory that can be read."""
        return self._memory.string(address, limit)

    def _page(self, at: int) -> bytes:
        page = self.held.get(at)
        if page is None:
            page = self._memory.read(at, PAGE)
            if len(self.held) < MAX_PAGES:
                self.held[at] = page
        return page


class Objects:
    """Objects by their address, in the layout of one build."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self.layout = layout
        self.pages = Pages(memory)
        self._type = layout["pyobject.ob_type"]
        self._length = layout["unicode_object.length"]
        self._state = layout["unicode_object.state"]
        self._ascii_size = layout["unicode_object.asciiobject_size"]
        self._compact_size = layout["unicode_object.compactunicodeobject_size"]
        self._kind_bit, self._compact_bit, self._ascii_bit = (
            layout[f"unicode_object.{name}_bit"] for name in ("kind", "compact", "ascii")
        )
        self._type_names: dict[int, str] = {}
        self._keys: dict[int, list[int]] = {}
        self._places: dict[tuple[int, str], int] = {}

    def forget(self) -> None:
        """Ends a look: what is asked next is read anew."""
        self.pages.forget()
        self._keys.clear()
        self._places.clear()

    def type_of(self, address: int) -> int:
        """The address of the object's type."""
        return self.pages.u64(address + self._type)

    def type_name(self, kind: int) -> str:
        """`tp_name` of the type at `kind`: `code`, `collections.deque`."""
        name = self._type_names.get(kind)
        if name is None:
            at = self.pages.u64(kind + self.layout["type_object.tp_name"])
            name = self._type_names[kind] = self.pages.string(at).decode("utf-8", "replace")
        return name

    def text(self, address: int, limit: int = MAX_TEXT) -> str:
        """A str, cut at `limit` characters (then it ends with `…`). A lone surrogate is spelt out, as repr does."""
        head = self.pages.read(address, self._ascii_size)
        length: int = _U64.unpack_from(head, self._length)[0]
        state: int = _U32.unpack_from(head, self._state)[0]
        width = state >> self._kind_bit & 7
        codec = _CODECS.get(width)
        if codec is None or length > MAX_KEYS:
            raise Unreadable(address, length, EINVAL)
        if not state >> self._compact_bit & 1:
            at = self.pages.u64(address + self.layout["unicode_object.data"])  # a subclass of str
        else:
            at = address + (self._ascii_size if state >> self._ascii_bit & 1 else self._compact_size)
        shown = min(length, limit)
        raw = self.pages.read(at, shown * width) if shown else b""
        try:
            found = raw.decode(codec) if width == 1 else raw.decode(codec, "surrogatepass")
        except UnicodeDecodeError:
            raise Unreadable(at, shown * width, EINVAL) from None
        if width > 1:
            found = found.encode("utf-8", "backslashreplace").decode("utf-8")
        return found if shown == length else found + "…"

    def text_length(self, address: int) -> int:
        """The characters of a str, of which not more may be wanted."""
        return self.pages.u64_once(address + self._length)

    def data(self, address: int, limit: int) -> bytes:
        """The content of a bytes object. Raises Unreadable where it has more than `limit` bytes."""
        size = self.pages.u64(address + self.layout["bytes_object.ob_size"])
        if size > limit:
            raise Unreadable(address, size, EINVAL)
        return self.pages.read(address + self.layout["bytes_object.ob_sval"], size) if size else b""

    def integer(self, address: int) -> int:
        """An int of at most 120 bits. Raises Unreadable for a larger one."""
        if (tag_at := self.layout.get("long_object.lv_tag")) is not None:
            tag = self.pages.u64(address + tag_at)  # 3.12: number of digits << 3 | sign (0 +, 1 zero, 2 -)
            digits, sign = tag >> 3, 1 - (tag & 3)
        else:
            size = self.pages.i64(address + self.layout["long_object.ob_size"])
            digits, sign = abs(size), 1 if size > 0 else -1
        if digits > 4:
            raise Unreadable(address, digits, EINVAL)
        if not digits or not sign:
            return 0
        raw = self.pages.read(address + self.layout["long_object.ob_digit"], 4 * digits)
        value = 0
        for digit in reversed(unpack_from(f"<{digits}I", raw)):
            value = value << 30 | digit
        return sign * value

    def items(self, dictionary: int) -> Iterator[tuple[int, int]]:
        """(address of the key, address of the value) of each item of a dict, in the order of insertion."""
        layout = self.layout
        keys = self.pages.u64(dictionary + layout["dict_object.ma_keys"])
        values = self.pages.u64(dictionary + layout["dict_object.ma_values"])
        entries = self._entries(keys)
        if values:
            found = self._values(values, len(entries))
            entries = [(key, value) for (key, _), value in zip(entries, found, strict=True)]
        return ((key, value) for key, value in entries if key and value)

    def item(self, dictionary: int, name: str) -> int | None:
        """The address of the value of the text key `name`, None where there is none."""
        for key, value in self.items(dictionary):
            if self._is(key, name):
                return value
        return None

    def attributes(self, instance: int) -> Iterator[tuple[int, int]]:
        """(address of the name, address of the value) of the instance's own attributes, not of its class or its slots."""
        kind = self.type_of(instance)
        flags = self.pages.u64(kind + self.layout["type_object.tp_flags"])
        if not flags & _MANAGED_DICT:
            offset = self.pages.i64(kind + self.layout["type_object.tp_dictoffset"])
            dictionary, values = self.pages.u64(instance + offset) if 0 < offset < MAX_INSTANCE else 0, 0
        else:
            dictionary, values = self._managed(instance, kind, flags)
        if dictionary:
            yield from self.items(dictionary)
        elif values:
            keys = self._shared_keys(kind)
            for key, value in zip(keys, self._values(values, len(keys)), strict=True):
                if key and value:
                    yield key, value

    def _shared_keys(self, kind: int) -> list[int]:
        """The names that the instances of a type share, in the order of their values."""
        at = self.pages.u64(kind + self.layout["heap_type_object.ht_cached_keys"])
        known = self._keys.get(at)
        if known is None:
            known = self._keys[at] = [key for key, _ in self._entries(at)]
        return known

    def attribute(self, instance: int, name: str) -> int | None:
        """The address of the instance's own attribute `name`, None where there is none."""
        kind = self.type_of(instance)
        flags = self.pages.u64(kind + self.layout["type_object.tp_flags"])
        if flags & _MANAGED_DICT:
            dictionary, values = self._managed(instance, kind, flags)
            if values and not dictionary:
                place = self._place_of(kind, name)
                found = self.pages.u64(values + self.layout["dict_values.values"] + 8 * place) if place >= 0 else 0
                return found or None
        for key, value in self.attributes(instance):
            if self._is(key, name):
                return value
        return None

    def _place_of(self, kind: int, name: str) -> int:
        """Which of the values of an instance without a dict is its attribute `name`: the same for all of its class; -1 for none of them."""
        known = self._places.get((kind, name))
        if known is None:
            keys = self._shared_keys(kind)
            known = next((place for place, key in enumerate(keys) if key and self._is(key, name)), -1)
            self._places[kind, name] = known
        return known

    def _managed(self, instance: int, kind: int, flags: int) -> tuple[int, int]:
        """(address of the dict, address of the values) of an instance; one or both are 0."""
        dictionary = self.pages.u64(instance + self.layout["pyobject.managed_dict"])
        if (before := self.layout.get("pyobject.managed_values")) is not None:  # 3.11: a pointer each
            return dictionary, self.pages.u64(instance + before)
        if self.layout.minor == 12:  # one word, whose lowest bit says which it is (pycore_object.h, PyDictOrValues)
            return (0, dictionary + 1) if dictionary & 1 else (dictionary, 0)
        if dictionary or not flags & _INLINE_VALUES:
            return dictionary, 0
        return 0, instance + self.pages.u64(kind + self.layout["type_object.tp_basicsize"])

    def _entries(self, keys: int) -> list[tuple[int, int]]:
        """(key, value) of a PyDictKeysObject; both 0 where an entry was deleted, the values 0 where they lie apart."""
        layout = self.layout
        index_bytes, kind = self.pages.read(keys + layout["dict_keys.log2_index_bytes"], 2)
        count = self.pages.u64(keys + layout["dict_keys.nentries"])
        if index_bytes > 32 or count > MAX_ENTRIES:
            raise Unreadable(keys, count, EINVAL)
        start = keys + layout["dict_keys.indices"] + (1 << index_bytes)
        if kind == _GENERAL_KEYS:
            words = self._u64s(start, 3 * count)
            return list(zip(words[1::3], words[2::3], strict=True))
        words = self._u64s(start, 2 * count)
        return list(zip(words[::2], words[1::2], strict=True))

    def _values(self, values: int, count: int) -> tuple[int, ...]:
        return self._u64s(values + self.layout["dict_values.values"], count)

    def _u64s(self, address: int, count: int) -> tuple[int, ...]:
        return unpack_from(f"<{count}Q", self.pages.read(address, 8 * count)) if count else ()

    def _is(self, key: int, name: str) -> bool:
        """Whether the object at `key` is the str `name`: the length decides most of the time."""
        try:
            return self.pages.u64(key + self._length) == len(name) and self.text(key) == name
        except Unreadable:
            return False
