r"""A snapshot of a heap as a file: addresses, types, sizes and references, and the ways to those who hold most. No content of any object.

    pellucid-heap/1\n      16 bytes
    length, crc32          of the header, 64 and 32 bits, little-endian
    header                 JSON: the census, the names of types and attributes, the sections with their lengths and checksums
    sections               the arrays, one after the other, little-endian

Some 45 bytes an object. What does not add up is refused, with what is wrong, before any of it is believed.
"""

import os
import struct
import zlib
from struct import Struct as Bytes
from typing import Any, NoReturn

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from pellucid.model import Process
from pellucid.model.errors import UsageError, os_words
from pellucid.model.heap import Census, Hold, Note, Suspect
from pellucid.observe.heap_dump import Dump, DumpedType, Holder
from pellucid.observe.heap_look import HeapSeen, of_type
from pellucid.runtimes.references import References

MAGIC = b"pellucid-heap/1\n"
MAX_HEADER = 1 << 28
MAX_OBJECTS = 1 << 31
_KEPT = 300
"""Objects whose ways are written down: those that retain most."""

_FRONT = Bytes("<16sQI")
_SECTIONS = (
    ("addresses", np.uint64),
    ("index", np.int32),
    ("sizes", np.int64),
    ("first", np.int64),
    ("targets", np.int32),
    ("roots", np.int32),
)


class Section(Struct, frozen=True):
    name: str
    count: int
    crc: int


class Header(Struct, frozen=True, kw_only=True):
    process: Process | None
    census: Census
    types: tuple[DumpedType, ...]
    suspects: tuple[Suspect, ...]
    notes: tuple[Note, ...]
    holders: dict[int, Holder]
    sections: tuple[Section, ...]


def save(path: str, seen: HeapSeen, *, force: bool = False) -> int:
    """Writes the file, readable by us alone, and returns its bytes. Raises UsageError where it is there already, or can't be written."""
    dump = seen.dump
    arrays: dict[str, NDArray[Any]] = {
        "addresses": dump.addresses,
        "index": dump.index,
        "sizes": dump.sizes,
        "first": dump.graph.first,
        "targets": dump.graph.targets,
        "roots": dump.roots,
    }
    raw = {name: np.ascontiguousarray(arrays[name], kind).view(np.uint8).data for name, kind in _SECTIONS}
    header = msgspec.json.encode(
        Header(
            process=dump.process,
            census=dump.census,
            types=dump.types,
            suspects=seen.suspects,
            notes=seen.notes,
            holders=_holders(dump),
            sections=tuple(Section(name, len(arrays[name]), zlib.crc32(raw[name])) for name, _ in _SECTIONS),
        )
    )
    if os.path.lexists(path) and not force:
        refuse(path)
    passing = f"{path}.{os.getpid()}.part"
    try:
        fd = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(_FRONT.pack(MAGIC, len(header), zlib.crc32(header)))
                file.write(header)
                file.writelines(raw[name] for name, _ in _SECTIONS)
                size = file.tell()
            os.replace(passing, path)
        except BaseException:
            os.unlink(passing)
            raise
    except OSError as error:
        raise UsageError(
            tried=f"save a heap to {path}",
            said=os_words(error),
            remedy="choose a place that can be written to, with room",
        ) from error
    return size


def refuse(path: str) -> NoReturn:
    """Raises the error for a file that is there already."""
    raise UsageError(
        tried=f"save a heap to {path}", said="that file is there already", remedy="choose another name, or add --force"
    )


def _holders(dump: Dump) -> dict[int, Holder]:
    """The ways to those who retain most."""
    most = np.argsort(-dump.retained, kind="stable")[:_KEPT]
    several = dump.graph.out_degrees()[most] > 0
    return {number: dump.describe(number) for number in most[several].tolist()}


def load(path: str, *, type_name: str | None = None) -> HeapSeen:
    """Reads the file; also who refers to the objects of `type_name`. Raises UsageError for what is no such file, is damaged, or ends too early."""
    try:
        with open(path, "rb") as file:
            raw = file.read(_FRONT.size)
            try:
                magic, length, crc = _FRONT.unpack(raw)
            except struct.error:
                raise _bad(path, "it ends before its head") from None
            if magic != MAGIC:
                raise _bad(
                    path,
                    f"it was written by another version of pellucid ({magic[:15].decode('ascii', 'replace')})"
                    if magic.startswith(b"pellucid-heap/")
                    else "it does not begin as such a file does",
                )
            if length > MAX_HEADER:
                raise _bad(path, "its head is damaged")
            text = file.read(length)
            if len(text) < length or zlib.crc32(text) != crc:
                raise _bad(path, "its head is damaged or cut off")
            header = msgspec.json.decode(text, type=Header)
            arrays = {}
            for (name, kind), section in zip(_SECTIONS, header.sections, strict=True):
                if section.name != name or not 0 <= section.count <= MAX_OBJECTS * 4:
                    raise _bad(path, f"its section {name} is damaged")
                size = section.count * np.dtype(kind).itemsize
                if size > os.fstat(file.fileno()).st_size:
                    raise _bad(path, f"its section {name} is cut off")
                content = file.read(size)
                if len(content) < size or zlib.crc32(content) != section.crc:
                    raise _bad(path, f"its section {name} is damaged or cut off")
                arrays[name] = np.frombuffer(content, kind)
    except OSError as error:
        raise UsageError(
            tried=f"read {path}", said=os_words(error), remedy="name a file that pellucid heap --save wrote"
        ) from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise _bad(path, f"its head is damaged ({error})") from error
    _check(path, header, arrays)
    seen = _seen(header, arrays)
    return seen if type_name is None else replace(seen, notes=(*seen.notes, *of_type(seen.dump, type_name)))


def _check(path: str, header: Header, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Every number that is a place in another array lies in it."""
    count = len(arrays["addresses"])
    first, targets = arrays["first"], arrays["targets"]
    fits = len(arrays["index"]) == len(arrays["sizes"]) == count == len(first) - 1
    fits = fits and int(first[0]) == 0 and int(first[-1]) == len(targets) and bool((np.diff(first) >= 0).all())
    for name, most in (("index", len(header.types)), ("targets", count), ("roots", count)):
        some = arrays[name]
        fits = fits and (not len(some) or (int(some.min()) >= 0 and int(some.max()) < most))
    if not fits:
        raise _bad(path, "its arrays do not fit each other")


def _seen(header: Header, arrays: dict[str, NDArray[np.generic]]) -> HeapSeen:
    graph = References(arrays["first"], arrays["targets"])  # type: ignore[arg-type]  # their types are those of _SECTIONS
    parents: list[NDArray[np.int32]] = []

    def describe(number: int) -> Holder:
        """As it was written down; else by the types on a shortest way."""
        known = header.holders.get(number)
        if known is not None:
            return known
        if not parents:
            parents.append(graph.parents(dump.roots))
        way: list[Hold] = []
        at = number
        while len(way) < 12 and parents[0][at] >= 0 and parents[0][at] != at:
            way.append(Hold("other", "", dump.type_of(at)))
            at = int(parents[0][at])
        return Holder(tuple(way[::-1]))

    dump = Dump(
        process=header.process,
        census=header.census,
        addresses=lambda: arrays["addresses"],  # type: ignore[arg-type,return-value]
        index=arrays["index"],  # type: ignore[arg-type]
        sizes=arrays["sizes"],  # type: ignore[arg-type]
        graph=graph,
        roots=arrays["roots"],  # type: ignore[arg-type]
        types=header.types,
        describe=describe,
    )
    return HeapSeen(dump, header.suspects, header.notes, {})


def _bad(path: str, why: str) -> UsageError:
    return UsageError(
        tried=f"read {path} as a snapshot of a heap",
        said=why,
        remedy="pellucid heap PID --save FILE  (takes a new one)",
    )
