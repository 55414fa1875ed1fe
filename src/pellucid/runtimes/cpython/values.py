"""Containers, attributes and kinds of foreign objects, on top of `objects`: what the search for locks and their names walks.

All lengths are bounded, and what does not add up raises `Unreadable`: the caller then knows nothing of that object, and says so.
"""

from errno import EINVAL
from struct import Struct, unpack_from

from pellucid.kernel.memory import Memory, Unreadable
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.objects import PAGE, Objects

MAX_ITEMS = 1 << 16
MAX_BASES = 64

_F64 = Struct("<d")
_U64 = Struct("<Q")
_HEAP_TYPE = 1 << 9  # Include/object.h, Py_TPFLAGS_HEAPTYPE
_MANAGED_DICT = 1 << 4  # Py_TPFLAGS_MANAGED_DICT
_STR, _DICT = 1 << 28, 1 << 29  # Py_TPFLAGS_UNICODE_SUBCLASS, Py_TPFLAGS_DICT_SUBCLASS
_DEQUE_BLOCK = 64  # Modules/_collectionsmodule.c, BLOCKLEN
_SET_ENTRY = 16  # Include/cpython/setobject.h, setentry: key, hash


class Kind:
    """A type. `name` without its module (`Lock`, `deque`); `heap`: made by a class statement, or by a spec."""

    __slots__ = ("address", "bases", "flags", "full_name", "heap", "name", "slots")

    def __init__(self, address: int, full_name: str, flags: int) -> None:
        self.address = address
        self.full_name = full_name
        self.name = full_name.rpartition(".")[2]
        self.flags = flags
        self.heap = bool(flags & _HEAP_TYPE)
        self.bases: tuple[str, ...] | None = None
        self.slots: tuple[tuple[str, int], ...] | None = None


class Values(Objects):
    """Reads objects of one process by their address. Kinds are kept for as long as the process is looked at."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        super().__init__(memory, layout)
        self._kinds: dict[int, Kind] = {}
        self._words: dict[int, str] = {}
        self._spaces: dict[int, dict[str, int]] = {}
        self._names: dict[int, list[str]] = {}

    def forget(self) -> None:
        """What was read so far may have changed: read it anew from now on."""
        super().forget()
        self._words.clear()
        self._spaces.clear()
        self._names.clear()

    def kind(self, address: int) -> Kind:
        """The type of the object. Raises Unreadable."""
        field = address + self._type
        place = field % PAGE
        page = self.pages.held.get(field - place)
        at = _U64.unpack_from(page, place)[0] if page is not None and place <= PAGE - 8 else self.pages.u64(field)
        known = self._kinds.get(at)
        if known is None:
            flags = self.pages.u64(at + self.layout["type_object.tp_flags"])
            known = self._kinds[at] = Kind(at, self.type_name(at), flags)
        return known

    def name_of_kind(self, address: int) -> str:
        """`Lock`, `deque`; "" where nothing sensible lies there."""
        try:
            return self.kind(address).name if address else ""
        except Unreadable:
            return ""

    def bases(self, kind: Kind) -> tuple[str, ...]:
        """The names of the type and of those it inherits from, in the order of the MRO."""
        if kind.bases is None:
            try:
                order = self.pages.u64(kind.address + self.layout["type_object.tp_mro"])
                kind.bases = tuple(
                    self.type_name(base).rpartition(".")[2] for base in self.tuple_items(order, MAX_BASES)
                )
            except Unreadable:
                kind.bases = (kind.name,)
        return kind.bases

    def namespace(self, instance: int) -> dict[str, int]:
        """The instance's own attributes by name, those in `__slots__` too; read once a look. Raises Unreadable."""
        found = self._spaces.get(instance)
        if found is None:
            found = self._namespace(instance)
            if len(self._spaces) < MAX_ITEMS:
                self._spaces[instance] = found
        return found

    def _namespace(self, instance: int) -> dict[str, int]:
        kind = self.kind(instance)
        found: dict[str, int] = {}
        dictionary, values = self._managed(instance, kind.address, kind.flags) if kind.flags & _MANAGED_DICT else (0, 0)
        if values and not dictionary:
            names = self._shared_names(kind)
            held = self._addresses(values + self.layout["dict_values.values"], len(names), MAX_ITEMS)
            found = {name: value for name, value in zip(names, held, strict=True) if name and value}
        else:
            for key, value in self.attributes(instance):
                name = self.name_of(key)
                if name:
                    found[name] = value
        if kind.heap:
            for name, offset in self._slots(kind):
                value = self.pages.u64(instance + offset)
                if value:
                    found.setdefault(name, value)
        return found

    def _shared_names(self, kind: Kind) -> list[str]:
        """The names that the instances of a class share (Objects/dictobject.c, ht_cached_keys), in the order of their values."""
        names = self._names.get(kind.address)
        if names is None:
            keys = self._entries(self.pages.u64(kind.address + self.layout["heap_type_object.ht_cached_keys"]))
            names = self._names[kind.address] = [self.name_of(key) if key else "" for key, _ in keys]
        return names

    def name_of(self, key: int) -> str:
        """A key as text, "" where it is none; kept, since names are shared by all that use them."""
        known = self._words.get(key)
        if known is None:
            known = self._words[key] = self.text(key, 128) if self.is_text(key) else ""
        return known

    def named(self, instance: int, name: str) -> int:
        """The address of the attribute `name` of the instance itself, 0 where there is none. Raises Unreadable."""
        known = self._spaces.get(instance)
        if known is not None:
            return known.get(name, 0)
        kind = self.kind(instance)
        if kind.flags & _MANAGED_DICT:
            dictionary, values = self._managed(instance, kind.address, kind.flags)
            if values and not dictionary:
                place = self._place_of(kind.address, name)
                if place >= 0:
                    return self.pages.u64(values + self.layout["dict_values.values"] + 8 * place)
        return self.namespace(instance).get(name, 0)

    def _slots(self, kind: Kind) -> tuple[tuple[str, int], ...]:
        """(name, offset) of each member descriptor that the class and its bases define."""
        if kind.slots is None:
            try:
                kind.slots = tuple(self._members(kind.address))
            except Unreadable:
                kind.slots = ()
        return kind.slots

    def _members(self, at: int) -> list[tuple[str, int]]:
        layout, found = self.layout, []
        for _ in range(MAX_BASES):
            if not at or not self.pages.u64(at + layout["type_object.tp_flags"]) & _HEAP_TYPE:
                break
            for key, value in self.items(self.pages.u64(at + layout["type_object.tp_dict"])):
                if self.name_of_kind(value) == "member_descriptor":
                    member = self.pages.u64(value + layout["member_descriptor.d_member"])
                    found.append((self.text(key, 128), self.pages.u64(member + layout["member_def.offset"])))
            at = self.pages.u64(at + layout["type_object.tp_base"])
        return [(name, offset) for name, offset in found if 0 < offset < 1 << 16]

    def class_attribute(self, kind: Kind, name: str) -> int:
        """The address of what the class itself, or a base of it, calls `name`; 0 where there is none."""
        at = kind.address
        for _ in range(MAX_BASES):
            if not at or not self.pages.u64(at + self.layout["type_object.tp_flags"]) & _HEAP_TYPE:
                break
            found = self.item(self.pages.u64(at + self.layout["type_object.tp_dict"]), name)
            if found:
                return found
            at = self.pages.u64(at + self.layout["type_object.tp_base"])
        return 0

    def is_text(self, address: int) -> bool:
        return bool(self.kind(address).flags & _STR)

    def word(self, address: int, limit: int = 256) -> str:
        """A str. Raises Unreadable where it is none."""
        if not address or not self.is_text(address):
            raise Unreadable(address, 8, EINVAL)
        return self.text(address, limit)

    def number(self, address: int) -> int:
        """An int or a bool. Raises Unreadable where it is none."""
        if self.name_of_kind(address) not in {"int", "bool"}:
            raise Unreadable(address, 8, EINVAL)
        return self.integer(address)

    def real(self, address: int) -> float:
        """A float or an int."""
        if self.name_of_kind(address) != "float":
            return float(self.number(address))
        value: float = _F64.unpack(self.pages.read(address + self.layout["float_object.ob_fval"], 8))[0]
        return value

    def is_none(self, address: int) -> bool:
        return self.name_of_kind(address) == "NoneType"

    def tuple_items(self, address: int, limit: int = MAX_ITEMS) -> tuple[int, ...]:
        """The addresses of the items; a longer tuple than `limit` raises Unreadable."""
        count = self.pages.u64(address + self.layout["tuple_object.ob_size"])
        return self._addresses(address + self.layout["tuple_object.ob_item"], count, limit)

    def list_items(self, address: int, limit: int = MAX_ITEMS) -> tuple[int, ...]:
        count = self.pages.u64(address + self.layout["list_object.ob_size"])
        return self._addresses(self.pages.u64(address + self.layout["list_object.ob_item"]), count, limit)

    def length(self, address: int) -> int:
        """len() of a deque, list, tuple, dict or set. Raises Unreadable for anything else."""
        name = self.name_of_kind(address)
        field = {
            "deque": "deque.ob_size",
            "list": "list_object.ob_size",
            "tuple": "tuple_object.ob_size",
            "dict": "dict_object.ma_used",
            "set": "set_object.used",
        }.get(name)
        if field is None and self.kind(address).flags & _DICT:
            field = "dict_object.ma_used"
        if field is None:
            raise Unreadable(address, 8, EINVAL)
        return self.pages.u64(address + self.layout[field])

    def deque_items(self, address: int, limit: int = MAX_ITEMS) -> tuple[int, ...]:
        """The items of a collections.deque, from the left."""
        layout, pages = self.layout, self.pages
        count = pages.u64(address + layout["deque.ob_size"])
        block = pages.u64(address + layout["deque.leftblock"])
        place = pages.u64(address + layout["deque.leftindex"])
        if count > limit or place >= _DEQUE_BLOCK:
            raise Unreadable(address, count, EINVAL)
        found: list[int] = []
        while len(found) < count:
            some = min(count - len(found), _DEQUE_BLOCK - place)
            found += self._addresses(block + layout["deque_block.data"] + 8 * place, some, _DEQUE_BLOCK)
            block, place = pages.u64(block + layout["deque_block.rightlink"]), 0
        return tuple(found)

    def members(self, address: int, limit: int = MAX_ITEMS) -> tuple[int, ...]:
        """The members of a set."""
        mask = self.pages.u64(address + self.layout["set_object.mask"])
        table = self.pages.u64(address + self.layout["set_object.table"])
        if mask >= 4 * limit:
            raise Unreadable(address, mask, EINVAL)
        raw = self.pages.read(table, _SET_ENTRY * (mask + 1))
        words = unpack_from(f"<{2 * (mask + 1)}Q", raw)
        return tuple(key for key in words[::2] if key and self.name_of_kind(key))

    def _addresses(self, address: int, count: int, limit: int) -> tuple[int, ...]:
        if count > limit:
            raise Unreadable(address, count, EINVAL)
        return unpack_from(f"<{count}Q", self.pages.read(address, 8 * count)) if count else ()
