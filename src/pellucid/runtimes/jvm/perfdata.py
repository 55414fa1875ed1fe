"""The counters that every HotSpot JVM publishes: generations, collections, classes, threads, safepoints, its own command line.

They stand in a small file that the JVM has mapped, `/tmp/hsperfdata_USER/PID` (or in plain memory with -XX:+PerfDisableSharedMem). To read
it asks nothing of the JVM, and it works on one that is stopped or stuck. The file is found in its mappings: so it is that of this
process and of no earlier one, in a container too, and where somebody has cleaned /tmp the mapping itself is read.

Layout: PerfDataPrologue and PerfDataEntry of src/hotspot/share/runtime/perfMemory.hpp (JDK 8 to 28).
"""

import os
import struct
from collections.abc import Iterator
from errno import ESRCH

from pellucid.kernel import maps
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.model.errors import LookError, NoSuchProcess, NotUnderstood

Value = int | str
Counters = dict[str, Value]

MAGIC = b"\xca\xfe\xc0\xc0"
MAX_BYTES = 1 << 22
"""-XX:PerfDataMemorySize is 32 KiB unless raised, and at most 32 MiB (runtime/globals.hpp)."""
MAX_COUNTERS = 1 << 14
_TRIES = 5
_SMALL = 1 << 20  # an anonymous mapping in which the counters are looked for

_MAGIC_AT, _ORDER_AT, _ACCESSIBLE_AT, _USED_AT, _ENTRIES_AT = 0, 4, 7, 8, 24
_LITTLE = 1
_ENTRY = "iiiBBBBi"
"""entry_length, name_offset, vector_length, data_type, flags, data_units, data_variability, data_offset."""
_ENTRY_SIZE = 20
_LONG, _BYTE = ord("J"), ord("B")


class Torn(Exception):  # noqa: N818  a state of the counters, seen by whoever reads them again
    """The counters were read while they were being written, or are no counters."""


class PerfData:
    """The counters of one JVM; `read()` as often as wanted. Raises as `find` does."""

    def __init__(self, pid: int, command: str = "gc") -> None:
        self.pid = pid
        self._file = -1
        self._memory: Memory | None = None
        self._at = self._size = 0
        self._find(command)

    def _find(self, command: str) -> None:
        mappings = maps.read(self.pid, command)
        for one in mappings:
            if one.of_file and "/hsperfdata_" in one.path:
                self._at, self._size = one.start, min(one.end - one.start, MAX_BYTES)
                self._file = _open(self.pid, one)
                if self._file < 0:
                    self._memory = Memory.open(self.pid, command)
                return
        self._memory = Memory.open(self.pid, command)
        for start, end in _anonymous(mappings):
            found = _search(self._memory, start, end)
            if found is not None:
                self._at, self._size = found, min(end - found, MAX_BYTES)
                return
        self.close()
        raise NotUnderstood(
            self.pid,
            tried=f"read the counters of the JVM in pid {self.pid}",
            said="it publishes none: it was started with -XX:-UsePerfData, is no HotSpot JVM, or has only just been started",
            remedy=f"pellucid jvm cmd {self.pid} GC.heap_info  (asks the JVM itself)",
        )

    def read(self) -> Counters:
        """All counters now, by name. Raises NoSuchProcess when it has ended, NotUnderstood when they never hold still."""
        why = ""
        for _ in range(_TRIES):
            try:
                return parse(self._bytes())
            except Torn as error:
                why = str(error)
        raise NotUnderstood(
            self.pid,
            tried=f"read the counters of the JVM in pid {self.pid}",
            said=f"they do not have the form that HotSpot gives them: {why}",
            remedy=f"pellucid jvm cmd {self.pid} GC.heap_info  (asks the JVM itself)",
        )

    def _bytes(self) -> bytes:
        if self._file >= 0:
            return os.pread(self._file, self._size, 0)
        assert self._memory is not None
        try:
            return self._memory.read(self._at, self._size)
        except Unreadable as error:
            if error.errno == ESRCH:
                raise NoSuchProcess.ended(self.pid, f"read the counters of the JVM in pid {self.pid}") from error
            raise Torn(str(error)) from error

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._memory is not None:
            self._memory.close()
            self._memory = None


def _open(pid: int, mapping: maps.Mapping) -> int:
    """The mapped file, through the root of the process; -1 where it is no longer there, or may not be opened."""
    try:
        fd = os.open(f"/proc/{pid}/root{mapping.path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return -1  # deleted, or another's: its memory is asked then, and tells why where that is refused
    if os.fstat(fd).st_ino == mapping.inode:
        return fd
    os.close(fd)
    return -1


def _anonymous(mappings: tuple[maps.Mapping, ...]) -> Iterator[tuple[int, int]]:
    for one in mappings:
        if not one.of_file and not one.path and one.permissions == "rw-p" and one.end - one.start <= _SMALL:
            yield one.start, one.end


def _search(memory: Memory, start: int, end: int) -> int | None:
    """The address of the counters in `start` to `end`: they begin on a page (os::reserve_memory)."""
    try:
        found = memory.read(start, end - start)
    except (Unreadable, LookError):
        return None
    for at in range(0, len(found), 4096):
        if found[at : at + 4] == MAGIC and found[at + _ORDER_AT] in (0, _LITTLE):
            return start + at
    return None


def parse(text: bytes) -> Counters:
    """The counters in the bytes of the file: numbers for type `J`, text for vectors of `B`. Raises Torn."""
    if len(text) < 32 or text[:4] != MAGIC:
        raise Torn("no magic number")
    order = "<" if text[_ORDER_AT] == _LITTLE else ">"
    if text[_ACCESSIBLE_AT] != 1:
        raise Torn("the JVM has not yet released them")
    (used,) = struct.unpack_from(order + "i", text, _USED_AT)
    at, count = struct.unpack_from(order + "ii", text, _ENTRIES_AT)
    end = min(used, len(text)) if used > 0 else len(text)
    if not 0 < count <= MAX_COUNTERS or at < 32:
        raise Torn(f"{count} counters from offset {at}")
    entry = struct.Struct(order + _ENTRY)
    number = struct.Struct(order + "q")
    found: Counters = {}
    for _ in range(count):
        if at + _ENTRY_SIZE > end:
            raise Torn("an entry beyond the end")
        length, name_at, vector, kind, _flags, _unit, _variability, data_at = entry.unpack_from(text, at)
        if length < _ENTRY_SIZE or at + length > end or not _ENTRY_SIZE <= name_at < length or not 0 < data_at < length:
            raise Torn(f"an entry of {length} bytes at {at}")
        name_end = text.find(b"\0", at + name_at, at + length)
        if name_end < 0:
            raise Torn("a name without an end")
        name = text[at + name_at : name_end].decode("utf-8", "replace")
        data = at + data_at
        if vector == 0 and kind == _LONG and data + 8 <= at + length:
            (found[name],) = number.unpack_from(text, data)
        elif vector > 0 and kind == _BYTE and data + vector <= at + length:
            found[name] = text[data : data + vector].split(b"\0", 1)[0].decode("utf-8", "replace")
        at += length
    return found
