"""The classes of a heap dump: their fields, with where each stands in a record of an instance, and the values of their static fields.

0x20  id  u4  super  loader  signers  domain  two reserved  u4 instance size
      u2 constants (u2 index, u1 type, value)  u2 statics (name, u1 type, value)  u2 fields (name, u1 type)
"""

import struct

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.runtimes.jvm.hprof import Hprof

OBJECT = 2
WIDTHS = {4: 1, 5: 2, 6: 4, 7: 8, 8: 1, 9: 2, 10: 4, 11: 8}
"""Bytes of the primitive types in the dump, which are those in the heap too."""
TYPES = {4: "boolean", 5: "char", 6: "float", 7: "double", 8: "byte", 9: "short", 10: "int", 11: "long"}
MAX_DEPTH = 1 << 10
_U2 = struct.Struct(">H").unpack_from


class Field(Struct, frozen=True):
    """`offset`: in the fields of an instance's record, where the class's own come first and then those of its super classes."""

    name: str
    type: int
    offset: int
    declared_in: int


class JavaClass(Struct, frozen=True):
    """`own` are (name, type) of the fields that it declares; `statics` (name, id) of those that hold an object. Ids are 0 where it has none."""

    id: int
    name: str
    super_id: int
    loader_id: int
    held: tuple[int, ...]
    """Signers and protection domain."""
    size: int
    own: tuple[tuple[str, int], ...]
    statics: tuple[tuple[str, int], ...]


def class_length(dump: Hprof, at: int, end: int) -> int:
    """Bytes of the sub-record, with its tag; 0 where it does not have the form of one."""
    i, body = dump.id_size, dump.map
    place = at + 1 + 7 * i + 8
    try:
        (number,) = _U2(body, place)
        place += 2
        for _ in range(number):
            kind = body[place + 2]
            place += 3 + (i if kind == OBJECT else WIDTHS[kind])
            if place > end:
                return 0
        (number,) = _U2(body, place)
        place += 2
        for _ in range(number):
            kind = body[place + i]
            place += i + 1 + (i if kind == OBJECT else WIDTHS[kind])
            if place > end:
                return 0
        fields: int = _U2(body, place)[0]
        return place + 2 + fields * (i + 1) - at
    except (struct.error, IndexError, KeyError):
        return 0


def read_class(dump: Hprof, at: int) -> JavaClass:
    """The class at an offset that `class_length` has accepted."""
    i, body = dump.id_size, dump.map
    number = struct.Struct(">Q" if i == 8 else ">I").unpack_from
    (class_id,) = number(body, at + 1)
    ids = [number(body, at + 5 + i * n)[0] for n in range(1, 5)]
    place = at + 5 + 7 * i
    (size,) = struct.unpack_from(">I", body, place)
    place += 4
    (count,) = _U2(body, place)
    place += 2
    for _ in range(count):
        kind = body[place + 2]
        place += 3 + (i if kind == OBJECT else WIDTHS[kind])
    (count,) = _U2(body, place)
    place += 2
    statics = []
    for _ in range(count):
        kind = body[place + i]
        if kind == OBJECT:
            value = number(body, place + i + 1)[0]
            if value:
                statics.append((dump.text(number(body, place)[0]), value))
            place += 2 * i + 1
        else:
            place += i + 1 + WIDTHS[kind]
    (count,) = _U2(body, place)
    place += 2
    own = tuple((dump.text(number(body, place + n * (i + 1))[0]), body[place + n * (i + 1) + i]) for n in range(count))
    return JavaClass(
        id=class_id,
        name=dump.class_name(class_id),
        super_id=ids[0],
        loader_id=ids[1],
        held=tuple(one for one in ids[2:] if one),
        size=size,
        own=own,
        statics=tuple(statics),
    )


class Classes:
    """All classes of a dump, by number. `fields(n)` are those of an instance, super classes included."""

    def __init__(self, found: list[JavaClass], id_size: int) -> None:
        self.all = found
        self.by_id = {one.id: number for number, one in enumerate(found)}
        self._id_size = id_size
        self._fields: dict[int, tuple[Field, ...]] = {}
        self._shapes: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.all)

    def name(self, number: int) -> str:
        return self.all[number].name

    def chain(self, number: int) -> list[int]:
        """The class and its super classes, as far as the dump has them."""
        found = [number]
        while len(found) < MAX_DEPTH:
            above = self.by_id.get(self.all[found[-1]].super_id)
            if above is None or above in found:
                break
            found.append(above)
        return found

    def fields(self, number: int) -> tuple[Field, ...]:
        known = self._fields.get(number)
        if known is None:
            found, offset = [], 0
            for one in self.chain(number):
                for name, kind in self.all[one].own:
                    found.append(Field(name, kind, offset, one))
                    offset += self._id_size if kind == OBJECT else WIDTHS.get(kind, 0)
            known = self._fields[number] = tuple(found)
        return known

    def shape(self, number: int) -> tuple[int, int]:
        """(fields that hold an object, bytes of the others) of an instance."""
        fields = self.fields(number)
        objects = sum(1 for one in fields if one.type == OBJECT)
        return objects, sum(WIDTHS.get(one.type, 0) for one in fields if one.type != OBJECT)

    def shapes(self) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
        """What `shape` says of each class."""
        if self._shapes is None:
            both = np.array([self.shape(number) for number in range(len(self))], np.int64).reshape(-1, 2)
            self._shapes = both[:, 0], both[:, 1]
        return self._shapes
