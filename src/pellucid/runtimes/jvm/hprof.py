r"""A heap dump of a JVM, as `jmap`, -XX:+HeapDumpOnOutOfMemoryError and `pellucid jvm cmd PID GC.heap_dump` write it: its records, found.

    header   `JAVA PROFILE 1.0.2\0`  u4 size of an id  u8 milliseconds since 1970
    record   u1 tag  u4 microseconds  u4 length  body            everything is big-endian
    0x01 text of an id · 0x02 a class, its name · 0x04 a frame, 0x05 the frames of a stack · 0x0C, 0x1C heap dump: sub-records · 0x2C end

The file is mapped, never read into memory as a whole. Nothing in it is believed: a length that leads out of its record ends that record,
and the rest of it is a gap. A gzip'd dump (-XX:HeapDumpGzipLevel) is unpacked into a temporary file first.

Format: src/hotspot/share/services/heapDumper.cpp, JDK 5 (1.0.1) to 28.
"""

import contextlib
import gzip
import mmap
import os
import struct
import tempfile
import zlib
from types import TracebackType
from typing import IO, Self

from msgspec import Struct

from pellucid.model import Gap
from pellucid.model.errors import PellucidError, UsageError, os_words
from pellucid.runtimes.jvm.names import spelt

MAGIC = b"JAVA PROFILE 1.0"
GZIP = b"\x1f\x8b"
TEXT, CLASS, FRAME, STACK, DUMP, SEGMENT, END = 0x01, 0x02, 0x04, 0x05, 0x0C, 0x1C, 0x2C
MAX_RECORDS = 1 << 26
MAX_TEXT = 1 << 16
MAX_FRAMES = 1 << 12
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_RECORD = struct.Struct(">BII")
_U4 = struct.Struct(">I").unpack_from


class NotADump(PellucidError):  # noqa: N818
    """It is no heap dump, or one of a kind that is not known."""

    code = "not_understood"
    exit_status = 5


class Segment(Struct, frozen=True):
    """The sub-records of one record: from `start` to `end` (exclusive) of the file."""

    start: int
    end: int


class StackFrame(Struct, frozen=True):
    """`line` is 0 where the dump has none, less in native and compiled methods."""

    type_name: str
    method: str
    file: str
    line: int

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line > 0 else self.file
        return f"{self.type_name}.{self.method} ({place})"


class Hprof:
    """An open dump. `texts`: id → (offset, length) of its text; `class_names`: id of a class → id of its name. A context manager."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.gaps: list[Gap] = []
        self._file = _unpacked(path)
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self.map = _mapped(path, self._file, self.size)
        except BaseException:
            self._file.close()
            raise
        try:
            self.version, self.id_size, self.milliseconds, first = self._header()
            self.texts: dict[int, tuple[int, int]] = {}
            self.class_names: dict[int, int] = {}
            self.segments: list[Segment] = []
            self._frames: dict[int, int] = {}
            self._stacks: dict[int, tuple[int, int]] = {}
            self._serials: dict[int, int] = {}
            self._records(first)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file; the mapping goes with the last array that looks into it."""
        with contextlib.suppress(BufferError):
            self.map.close()
        self._file.close()

    def forget_pages(self) -> None:
        """Gives the pages that were touched back to the system's cache, so that they count no more as ours."""
        self.map.madvise(mmap.MADV_DONTNEED)

    def _header(self) -> tuple[str, int, int, int]:
        end = self.map.find(b"\0", 0, 64)
        if end < 0 or self.map[: len(MAGIC)] != MAGIC:
            raise _no_dump(self.path, "it does not begin as one (JAVA PROFILE 1.0)")
        if end + 13 > self.size:
            raise _no_dump(self.path, "it ends within its header")
        id_size, high, low = struct.unpack_from(">III", self.map, end + 1)
        if id_size not in (4, 8):
            raise _no_dump(self.path, f"its ids have {id_size} bytes, and only 4 or 8 are known")
        return self.map[:end].decode("latin-1"), id_size, high << 32 | low, end + 13

    def _records(self, at: int) -> None:
        """Every record but those within the heap: texts and classes are kept, segments are noted."""
        size, body = self.size, self.map
        number = struct.Struct(">Q" if self.id_size == 8 else ">I")
        loaded = struct.Struct(">IQIQ" if self.id_size == 8 else ">IIII")
        ended = False
        for _ in range(MAX_RECORDS):
            if at + 9 > size:
                break
            tag, _, length = _RECORD.unpack_from(body, at)
            at += 9
            if length == 0 and tag == DUMP and at < size:
                length = size - at  # a heap of more than 4 GiB in one record, as JDK 5 wrote it: all the rest
            end = at + length
            if tag in (DUMP, SEGMENT):
                self.segments.append(Segment(at, min(end, size)))
            elif end <= size:
                if tag == TEXT and length >= self.id_size:
                    self.texts[number.unpack_from(body, at)[0]] = (at + self.id_size, length - self.id_size)
                elif tag == CLASS and length >= loaded.size:
                    serial, class_id, _, name = loaded.unpack_from(body, at)
                    self.class_names[class_id] = name
                    self._serials[serial] = class_id
                elif tag == FRAME and length >= 4 * self.id_size + 8:
                    self._frames[number.unpack_from(body, at)[0]] = at
                elif tag == STACK and length >= 12:
                    self._stacks[_U4(body, at)[0]] = at, end
                elif tag == END:
                    ended = True
            if end > size:
                break
            at = end
        if not ended and (at > size or not self.version.endswith("1.0.1")):  # 1.0.1 knows no end record
            why = "the file ends without its end record: it was cut off, or is still being written"
            self.gaps.append(Gap("the rest of the dump", why))

    def text(self, id_: int) -> str:
        """The text of an id, `?` where the dump has none."""
        at, length = self.texts.get(id_, (0, -1))
        return self.map[at : at + min(length, MAX_TEXT)].decode("utf-8", "replace") if length >= 0 else "?"

    def stack(self, serial: int) -> tuple[StackFrame, ...]:
        """The frames of the stack with that number, innermost first; none where the dump has no such stack."""
        at, end = self._stacks.get(serial, (0, 0))
        if not at:
            return ()
        i = self.id_size
        count = min(_U4(self.map, at + 8)[0], (end - at - 12) // i, MAX_FRAMES)
        ids = (int.from_bytes(self.map[at + 12 + i * n : at + 12 + i * n + i], "big") for n in range(count))
        return tuple(self._frame(self._frames[id_]) for id_ in ids if id_ in self._frames)

    def _frame(self, at: int) -> StackFrame:
        i = self.id_size
        method, file = (int.from_bytes(self.map[at + i * n : at + i * n + i], "big") for n in (1, 3))
        serial, line = struct.unpack_from(">Ii", self.map, at + 4 * i)
        type_name = self.class_name(self._serials.get(serial, 0))
        return StackFrame(type_name, self.text(method), self.text(file) if file in self.texts else "?", line)

    def class_name(self, class_id: int) -> str:
        """`java.util.HashMap$Node`, `int[]`, `java.lang.String[][]`."""
        return spelt(self.text(self.class_names.get(class_id, 0)))


def is_dump(path: str) -> bool:
    """It begins as a dump, or as a gzip'd one. False also where it can't be read."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(MAGIC))
        if start[:2] == GZIP:
            with gzip.open(path) as packed:
                start = packed.read(len(MAGIC))
    except (OSError, EOFError, zlib.error):
        return False
    return start == MAGIC


def _unpacked(path: str) -> IO[bytes]:
    """The file, or what is packed in it. Raises UsageError."""
    try:
        file = open(path, "rb")  # noqa: SIM115  it stays open as long as the dump
    except OSError as error:
        raise UsageError(tried=f"open {path}", said=os_words(error), remedy="ls -l " + path) from error
    if file.read(2) != GZIP:
        file.seek(0)
        return file
    file.close()
    target = tempfile.TemporaryFile(prefix="pellucid-heap-")  # noqa: SIM115
    try:
        with open(path, "rb") as packed:
            _unpack(packed, target)
        target.flush()
    except OSError as error:
        target.close()
        raise UsageError(
            tried=f"unpack {path} into {tempfile.gettempdir()}",
            said=os_words(error),
            remedy=f"gunzip -k {path}  (where there is room, or set TMPDIR)",
        ) from error
    return target


def _unpack(packed: IO[bytes], target: IO[bytes]) -> None:
    """All members of a gzip file (the JVM writes one for each part), as far as they go: one that was cut off gives what it has."""
    unpacker = zlib.decompressobj(_GZIP_FORMAT)
    while part := packed.read(1 << 20):
        while part:
            try:
                target.write(unpacker.decompress(part))
            except zlib.error:
                return
            part = unpacker.unused_data
            if unpacker.eof:
                unpacker = zlib.decompressobj(_GZIP_FORMAT)
    target.write(unpacker.flush())


def _mapped(path: str, file: IO[bytes], size: int) -> mmap.mmap:
    if not size:
        raise _no_dump(path, "it is empty")
    return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


def _no_dump(path: str, why: str) -> NotADump:
    return NotADump(tried=f"read {path} as a heap dump", said=f"{path} is none: {why}", remedy=f"file {path}")
