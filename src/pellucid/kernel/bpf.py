"""The system call bpf(2): maps, programs, and where they are attached, with no compiler and no library.

Everything made here is held by descriptors of this process and by nothing else: nothing is pinned, no name stands in a file
system. When the process ends, also by SIGKILL, the kernel closes its descriptors, detaches the programs and frees the maps
(kernel/bpf/syscall.c, bpf_raw_tp_link_release and bpf_map_release, Linux 6.18).

A program that the verifier does not accept raises `Refused` with the end of its log. What the kernel does not permit, or an
older kernel does not know, raises OSError (EPERM, EINVAL), which the caller explains.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from struct import Struct as Packing
from types import TracebackType
from typing import Self

# The kernel's numbers, include/uapi/linux/bpf.h (enum bpf_map_type, bpf_prog_type, bpf_cmd): they are ABI.
HASH, ARRAY, PERCPU_ARRAY, RING_BUFFER = 1, 2, 6, 27
RAW_TRACEPOINT = 17
NO_PREALLOC = 1
"""Memory of a HASH is taken as entries come, not for all of them at once."""

NAMED = b"pellucid_"
"""Our programs and maps are called so, for whoever lists what is loaded on a machine."""

_MAP_CREATE, _LOOKUP, _UPDATE, _DELETE, _PROGRAM_LOAD, _TEST_RUN = 0, 1, 2, 3, 5, 10
_NEXT_PROGRAM, _PROGRAM_BY_ID, _INFO, _RAW_TRACEPOINT_OPEN, _LOOKUP_BATCH = 11, 13, 15, 17, 24
_SYSTEM_CALL = {"x86_64": 321, "aarch64": 280}

_MAP = Packing("<7I16s")  # type, key, value, entries, flags, inner map, node, name
_ELEMENT = Packing("<I4xQQQ")  # map, key, value or next key, flags
_PROGRAM = Packing("<IIQQIIQII16s")  # type, instructions, code, licence, log level, bytes, log, version, flags, name
_RAW_TRACEPOINTS = Packing("<QI4x")  # name, program
_RUN = Packing("<4IQQ4IQQ")
_OBJECT_INFO = Packing("<IIQ")
_BATCH = Packing("<4QII2Q")  # in, out, keys, values, count, map, element flags, flags
_LOG_BYTES = 1 << 22
_LOG_SHOWN = 3000
_BATCH_ENTRIES = 8192
_MAX_BATCHES = 4096
_INTERRUPTIONS = 20
"""So often the verifier may be interrupted: it gives up with EAGAIN when a signal is pending (do_check in kernel/bpf/verifier.c, Linux 6.18)."""


class Refused(Exception):  # noqa: N818  the verifier's answer, which its text repeats
    """The kernel's verifier does not accept a program; the text ends in what it said."""


class Handle:
    """A descriptor of something in the kernel; a context manager."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """May be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Map(Handle):
    """A table that programs and this process share: keys and values are bytes of fixed sizes. OSError when refused."""

    __slots__ = ("_key", "_value", "entries")

    def __init__(self, kind: int, key: int, value: int, entries: int, *, name: bytes = b"", flags: int = 0) -> None:
        super().__init__(bpf(_MAP_CREATE, _MAP.pack(kind, key, value, entries, flags, 0, 0, (NAMED + name)[:15])))
        self._key = ctypes.create_string_buffer(key)
        self._value = ctypes.create_string_buffer(value)
        self.entries = entries

    def set(self, key: bytes, value: bytes) -> None:
        """OSError with E2BIG when the map is full."""
        self._key.raw, self._value.raw = key, value
        bpf(_UPDATE, self._element())

    def get(self, key: bytes) -> bytes | None:
        """A copy of the value, None where there is no such key. Not for per-CPU maps."""
        self._key.raw = key
        try:
            bpf(_LOOKUP, self._element())
        except FileNotFoundError:
            return None
        return self._value.raw

    def delete(self, key: bytes) -> bool:
        """Whether it was there."""
        self._key.raw = key
        try:
            bpf(_DELETE, _ELEMENT.pack(self.fd, _address(self._key), 0, 0))
        except FileNotFoundError:
            return False
        return True

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every entry of a HASH that stayed there during the pass."""
        key, value = len(self._key), len(self._value)
        room = min(self.entries, _BATCH_ENTRIES)
        keys, values = ctypes.create_string_buffer(key * room), ctypes.create_string_buffer(value * room)
        at = ctypes.create_string_buffer(8)
        start = 0
        for _ in range(_MAX_BATCHES):
            attributes = ctypes.create_string_buffer(
                _BATCH.pack(start, _address(at), _address(keys), _address(values), room, self.fd, 0, 0)
            )
            try:
                bpf(_LOOKUP_BATCH, attributes)
                last = False
            except FileNotFoundError:  # that was the last bucket
                last = True
            count: int = _BATCH.unpack_from(attributes)[4]
            found, told = keys.raw, values.raw
            yield from ((found[n * key : n * key + key], told[n * value : n * value + value]) for n in range(count))
            if last:
                return
            start = _address(at)

    def _element(self) -> bytes:
        return _ELEMENT.pack(self.fd, _address(self._key), _address(self._value), 0)


class Program(Handle):
    """A loaded raw tracepoint program (its context: what the tracepoint was called with). Refused, OSError."""

    __slots__ = ("name",)

    def __init__(self, name: str, code: bytes) -> None:
        self.name = name
        instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")

        def load(log: "ctypes.Array[ctypes.c_char] | None") -> int:
            told = (1, len(log), _address(log)) if log else (0, 0, 0)
            where = _address(instructions), _address(licence)
            label = (NAMED + name.encode())[:15]
            asked = _PROGRAM.pack(RAW_TRACEPOINT, len(code) // 8, *where, *told, 0, 0, label)
            for _ in range(_INTERRUPTIONS):
                with contextlib.suppress(BlockingIOError):
                    return bpf(_PROGRAM_LOAD, asked)
            return bpf(_PROGRAM_LOAD, asked)

        try:
            super().__init__(load(None))
        except OSError as error:
            log = ctypes.create_string_buffer(_LOG_BYTES)
            try:
                super().__init__(load(log))  # a second time, for what the verifier has to say
            except OSError as again:
                if not log.value:
                    raise
                said = log.value[-_LOG_SHOWN:].decode(errors="replace")
                raise Refused(f"the program {name!r} was refused ({again.strerror}):\n{said}") from error

    def attach(self, tracepoint: str) -> Handle:
        """Run at each hit of the tracepoint, on the whole machine, until the handle is closed."""
        name = ctypes.create_string_buffer(tracepoint.encode())
        return Handle(bpf(_RAW_TRACEPOINT_OPEN, _RAW_TRACEPOINTS.pack(_address(name), self.fd)))

    def run(self) -> None:
        """Once, now, by this thread (since Linux 5.10)."""
        bpf(_TEST_RUN, _RUN.pack(self.fd, *(0,) * 11))

    def missed(self) -> int:
        """How often it was due and did not run, because it was running on the same CPU already (since Linux 5.12)."""
        info = ctypes.create_string_buffer(256)
        bpf(_INFO, _OBJECT_INFO.pack(self.fd, len(info), _address(info)))
        return int.from_bytes(info.raw[_MISSES : _MISSES + 8], "little")


_MISSES = 208  # struct bpf_prog_info.recursion_misses
_PROGRAM_NAME = 64  # struct bpf_prog_info.name


def loaded() -> tuple[str, ...]:
    """The names of our programs that are loaded on this machine now, by anybody. OSError without CAP_SYS_ADMIN."""
    names: list[str] = []
    number = 0
    for _ in range(1 << 16):
        attributes = ctypes.create_string_buffer(Packing("<3I").pack(number, 0, 0), 12)
        try:
            bpf(_NEXT_PROGRAM, attributes)
        except FileNotFoundError:
            break
        number = int.from_bytes(attributes.raw[4:8], "little")
        try:
            program = bpf(_PROGRAM_BY_ID, Packing("<3I").pack(number, 0, 0))
        except FileNotFoundError:  # unloaded meanwhile
            continue
        with Handle(program):
            info = ctypes.create_string_buffer(256)
            bpf(_INFO, _OBJECT_INFO.pack(program, len(info), _address(info)))
        name = info.raw[_PROGRAM_NAME : _PROGRAM_NAME + 16].partition(b"\0")[0]
        if name.startswith(NAMED):
            names.append(name.decode())
    return tuple(names)


def bpf(command: int, attributes: "bytes | ctypes.Array[ctypes.c_char]") -> int:
    """One call. Raises OSError; FileNotFoundError is how a map says that there is no such key."""
    if isinstance(attributes, bytes):
        attributes = ctypes.create_string_buffer(attributes, len(attributes))
    result: int = _libc.syscall(_NUMBER, command, ctypes.byref(attributes), len(attributes))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


_libc = ctypes.CDLL(None, use_errno=True)
_NUMBER = _SYSTEM_CALL.get(os.uname().machine, -1)


def _address(buffer: "ctypes.Array[ctypes.c_char]") -> int:
    return ctypes.addressof(buffer)
