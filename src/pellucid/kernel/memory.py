"""Bounded reads of another process's memory. Nothing is written to it, and it is never stopped.

One range is read with pread(2) on /proc/PID/mem: 0.75 µs for 64 bytes, and the permission is checked once, at open
(fs/proc/base.c, mem_open). Several ranges at once, or two copies that must lie as close together as possible, go through
one process_vm_readv(2): 2 µs, but a single entry into the kernel; it needs ctypes, which is imported only then.

The second is for a few pages only. process_vm_readv pins what it reads (FOLL_PIN, mm/process_vm_access.c), and of a page that a process
shares with its parent or child since a fork, the kernel first makes a copy for it alone (mm/gup.c, gup_must_unshare, Linux 5.19): read
whole in that way, the worker of a server that forks would have a memory of its own. /proc/PID/mem does not pin (FOLL_GET,
mm/memory.c, __access_remote_vm), and leaves shared what is shared: `read_each` and `read_into` are what many pages are read by.

A read that fails is no surprise: what a pointer named may be freed between two reads. It raises `Unreadable`, which the
caller turns into a retry or a Gap.
"""

import os
from errno import EFAULT, EINVAL, EIO, ESRCH
from struct import Struct
from types import TracebackType
from typing import TYPE_CHECKING

from pellucid.model.errors import NoSuchProcess, os_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

MAX_BYTES = 1 << 26
"""The most that one read or one Vector may ask for: a length that came from foreign memory may be garbage."""

MAX_RANGES = 1024
"""UIO_MAXIOV, include/uapi/linux/uio.h: the ranges of one process_vm_readv."""

TOP = 1 << 47
"""User addresses lie below it on x86-64 and on aarch64 with 48-bit addresses (Documentation/arch/x86/x86_64/mm.rst)."""

_BATCH = 4  # from this many ranges on, one readv is cheaper than so many preads
_U64 = Struct("<Q")
_U32 = Struct("<I")
_I32 = Struct("<i")


class Unreadable(Exception):  # noqa: N818  a value of the look, not an error of the program
    """`size` bytes at `address` could not be read. `errno` is the kernel's; ESRCH also when the address space is gone."""

    def __init__(self, address: int, size: int, errno: int) -> None:
        super().__init__(address, size, errno)
        self.address = address
        self.size = size
        self.errno = errno

    def __str__(self) -> str:
        return f"{self.size} bytes at {self.address:#x}: {os_name(self.errno)}"


class Memory:
    """The memory of process `pid`, open for reading until `close()`; a context manager."""

    __slots__ = ("_fd", "pid")

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self._fd = fd

    @classmethod
    def open(cls, pid: int, command: str = "why") -> "Memory":
        """Raises NoSuchProcess or NotPermitted, with the one check that said no; `command` is what the remedy repeats."""
        try:
            return cls(pid, os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            from pellucid.kernel.access import refused  # its checks are needed only when the kernel refused

            raise refused(pid, f"open the memory of pid {pid} (/proc/{pid}/mem)", error, command) from error

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def gone(self, tried: str) -> NoSuchProcess:
        """What to raise where the address space has no user any more: the process has ended, or replaced itself by exec."""
        from pellucid.kernel.procfs import parse_stat, read_small  # few reads end like this

        try:
            ended = parse_stat(read_small(f"/proc/{self.pid}/stat", 4096)).ended
        except OSError:
            ended = True
        return (NoSuchProcess.ended if ended else NoSuchProcess.replaced)(self.pid, tried)

    def read_some(self, address: int, size: int) -> bytes:
        """At least one byte from `address`, at most `size`: less where the mapping ends. Raises Unreadable."""
        if not 0 <= address < TOP or not 0 < size <= MAX_BYTES:
            raise Unreadable(address, size, EFAULT if 0 < size <= MAX_BYTES else EINVAL)
        try:
            found = os.pread(self._fd, size, address)
        except OSError as error:
            raise Unreadable(address, size, error.errno or EIO) from None
        if not found:  # fs/proc/base.c, mem_rw: 0 bytes means that the address space has no user any more
            raise Unreadable(address, size, ESRCH)
        return found

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes. Raises Unreadable."""
        if 0 <= address < TOP and 0 < size <= MAX_BYTES:
            try:
                found = os.pread(self._fd, size, address)
            except OSError as error:
                raise Unreadable(address, size, error.errno or EIO) from None
            if len(found) == size:
                return found
        found = self.read_some(address, size)  # says why
        raise Unreadable(address + len(found), size - len(found), EIO)

    def u64(self, address: int) -> int:
        value: int = _U64.unpack(self.read(address, 8))[0]
        return value

    def u32(self, address: int) -> int:
        value: int = _U32.unpack(self.read(address, 4))[0]
        return value

    def i32(self, address: int) -> int:
        value: int = _I32.unpack(self.read(address, 4))[0]
        return value

    def string(self, address: int, limit: int = 256) -> bytes:
        """The C string at `address` without its NUL, cut at `limit` bytes. Raises Unreadable."""
        return self.read_some(address, limit).partition(b"\0")[0]

    def read_many(self, ranges: "Sequence[tuple[int, int]]") -> list[bytes | None]:
        """One entry a range, in order: its bytes, or None where not all of them could be read. Never raises."""
        if len(ranges) < _BATCH:
            return [self._or_none(address, size) for address, size in ranges]
        found: list[bytes | None] = []
        while len(found) < len(ranges):
            start = len(found)
            batch = _batch(ranges, start)
            if batch:
                vector = Vector(self.pid, batch)
                found += vector.whole(vector.copy())
            end = start + max(len(batch), 1)  # a range that fits no batch is garbage, which `read` refuses
            found += [self._or_none(address, size) for address, size in ranges[len(found) : end]]
        return found

    def _or_none(self, address: int, size: int) -> bytes | None:
        try:
            return self.read(address, size)
        except Unreadable:
            return None

    def read_each(self, addresses: "Sequence[int]", sizes: "Sequence[int]") -> list[bytes]:
        """Of each range what came, in order: less than its size, or nothing, where a page can't be read.

        Raises Unreadable, with ESRCH, when the address space is gone: the process has ended, or replaced itself by exec.
        """
        found: list[bytes] = []
        keep, fd, pread = found.append, self._fd, os.pread
        for address, size in zip(addresses, sizes, strict=True):
            try:
                came = pread(fd, size, address)
            except (OSError, OverflowError):  # the second: no address at all
                keep(b"")
                continue
            if not came and size:
                raise Unreadable(address, size, ESRCH)
            keep(came)
        return found

    def read_into(self, address: int, into: memoryview) -> int:
        """How many bytes came, to the begin of `into`: fewer than it has room for, or none, where a page can't be read.

        Raises Unreadable, with ESRCH, when the address space is gone.
        """
        try:
            came = os.preadv(self._fd, [into], address)
        except OSError as error:
            if error.errno == EIO:  # fs/proc/base.c, mem_rw: nothing could be read at the first byte
                return 0
            raise Unreadable(address, len(into), error.errno or EIO) from None
        if not came and len(into):
            raise Unreadable(address, len(into), ESRCH)
        return came


class Vector:
    """Prebuilt process_vm_readv calls: the same ranges of process `pid`, copied at each `copy()` into the same `buffer`.

    One call takes MAX_RANGES ranges. The kernel copies range by range, in order (mm/process_vm_access.c,
    process_vm_rw_core), so the two halves of a double copy are taken one right after the other. ValueError for no bytes
    at all, or for more than MAX_BYTES.
    """

    __slots__ = ("_calls", "_copy", "_kept", "buffer", "pid", "ranges", "size")

    def __init__(self, pid: int, ranges: "Sequence[tuple[int, int]]") -> None:
        size = sum(length for _, length in ranges)
        if not 0 < size <= MAX_BYTES:
            raise ValueError(f"{len(ranges)} ranges of {size} bytes are no batch")
        import ctypes  # 4 ms, which a look with pread alone does not pay

        self.pid = pid
        self.ranges = ranges
        self.size = size
        self.buffer = bytearray(size)
        # Not as arrays of ctypes: each size would be a type of its own, which only the collector frees.
        self._kept = [ctypes.c_char.from_buffer(self.buffer)]  # the kernel is given their addresses
        self._calls: list[tuple[int, int, int, int]] = []
        at = ctypes.addressof(self._kept[0])
        for first in range(0, len(ranges), MAX_RANGES):
            group = ranges[first : first + MAX_RANGES]
            length = sum(length for _, length in group)
            local, remote = (ctypes.c_char.from_buffer(bytearray(_iovecs(each))) for each in ([(at, length)], group))
            self._kept += (local, remote)
            self._calls.append((ctypes.addressof(local), ctypes.addressof(remote), len(group), length))
            at += length
        self._copy = _process_vm_readv()

    def copy(self) -> int:
        """Copies now; returns how many bytes came: `size`, or fewer where a range could not be read, 0 where the first."""
        copied = 0
        for local, remote, count, length in self._calls:
            came = self._copy(self.pid, local, 1, remote, count, 0)
            copied += max(came, 0)
            if came != length:
                break
        return copied

    def whole(self, copied: int) -> list[bytes]:
        """The ranges that lie wholly within the first `copied` bytes."""
        found: list[bytes] = []
        start = 0
        for _, length in self.ranges:
            end = start + length
            if end > copied:
                break
            found.append(bytes(self.buffer[start:end]))
            start = end
        return found


def prepare() -> None:
    """Imports what batched reads need, so that the first of them is as quick as the others."""
    _process_vm_readv()


_readv: "Callable[..., int] | None" = None


def _process_vm_readv() -> "Callable[..., int]":
    global _readv  # noqa: PLW0603  one handle for the whole program, made at its first use
    if _readv is None:
        import ctypes

        function = ctypes.CDLL(None).process_vm_readv
        function.restype = ctypes.c_ssize_t
        pointer, count = ctypes.c_void_p, ctypes.c_ulong
        function.argtypes = (ctypes.c_int, pointer, count, pointer, count, count)
        _readv = function
    return _readv


def _iovecs(ranges: "Sequence[tuple[int, int]]") -> bytes:
    """An array of struct iovec (include/uapi/linux/uio.h): address, length."""
    return Struct(f"={2 * len(ranges)}Q").pack(*(number for pair in ranges for number in pair))


def _batch(ranges: "Sequence[tuple[int, int]]", start: int) -> list[tuple[int, int]]:
    """The sane ranges from `start` on that one call can take; empty where the first of them is garbage."""
    fit: list[tuple[int, int]] = []
    total = 0
    for address, size in ranges[start : start + MAX_RANGES]:
        if not 0 <= address < TOP or not 0 < size <= MAX_BYTES - total:
            break
        fit.append((address, size))
        total += size
    return fit
