"""Gigabytes of another process's memory, copied at the speed of memory: process_vm_readv(2) in large batches, into pages that are there.

The buffer is made and its pages are touched before the copy: their first use would take longer than the copy itself, and the
target may be standing still meanwhile.
"""

import contextlib
import ctypes
import mmap
import os
from collections.abc import Callable
from errno import EFAULT, ESRCH

from msgspec import Struct

from pellucid.kernel.memory import MAX_RANGES
from pellucid.model.errors import NoSuchProcess

_MOST = 0x7FFFF000  # bytes of one call: MAX_RW_COUNT, include/linux/fs.h
_PIECE = 1 << 30
_PAGE = 4096
_MADV_HUGEPAGE, _MADV_POPULATE_WRITE = 14, 23  # include/uapi/asm-generic/mman-common.h; the second from Linux 5.14 on
_MAX_LOST = 4096  # pages of one copy that could not be read: then the rest is given up


class Lost(Struct, frozen=True):
    """`size` bytes from `address` on could not be copied; they are zero in the copy."""

    address: int
    size: int


class Buffer:
    """Anonymous memory of at least `size` bytes, whose pages are there. `view` is all of it; it goes when nobody uses it any more."""

    def __init__(self, size: int) -> None:
        self.size = max(size + -size % _PAGE, _PAGE)
        self.view = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # a kernel without transparent huge pages: smaller ones do as well
            self.view.madvise(_MADV_HUGEPAGE)
        self._memory = (ctypes.c_char * self.size).from_buffer(self.view)
        self.address = ctypes.addressof(self._memory)
        self._populate()

    def give_back(self, size: int) -> None:
        """Only the first `size` bytes are used: the pages behind them go back to the machine."""
        used = size + -size % _PAGE
        if used < self.size:
            with contextlib.suppress(OSError):
                self.view.madvise(mmap.MADV_DONTNEED, used, self.size - used)

    def _populate(self) -> None:
        try:
            self.view.madvise(_MADV_POPULATE_WRITE)
        except OSError:
            ctypes.memset(self.address, 0, self.size)


def copy(pid: int, runs: tuple[tuple[int, int], ...], buffer: Buffer) -> list[Lost]:
    """Copies `runs` (address, end) one after the other into `buffer`, which is large enough. Returns what could not be read.

    Raises NoSuchProcess when the process has ended.
    """
    remote: list[tuple[int, int, int]] = []  # address, offset in the buffer, size
    at = 0
    for start, end in runs:
        for first in range(start, end, _PIECE):
            size = min(_PIECE, end - first)
            remote.append((first, at, size))
            at += size
    if at > buffer.size:
        raise ValueError(f"{at} bytes do not fit into a buffer of {buffer.size}")
    readv = _readv()
    lost: list[Lost] = []
    number = 0
    while number < len(remote):
        batch: list[tuple[int, int, int]] = []
        total = 0
        while number + len(batch) < len(remote) and len(batch) < MAX_RANGES:
            piece = remote[number + len(batch)]
            if total + piece[2] > _MOST:
                break
            batch.append(piece)
            total += piece[2]
        local = (ctypes.c_uint64 * 2)(buffer.address + batch[0][1], total)
        theirs = (ctypes.c_uint64 * (2 * len(batch)))(*(word for start, _, size in batch for word in (start, size)))
        came = readv(pid, ctypes.byref(local), 1, ctypes.byref(theirs), len(batch), 0)
        error = ctypes.get_errno() if came < 0 else 0
        if error and error != EFAULT:
            if error == ESRCH:
                raise NoSuchProcess.ended(pid, f"copy the memory of pid {pid}")
            raise OSError(error, os.strerror(error))
        came = max(came, 0)
        for piece in batch:
            if came < piece[2]:
                break
            came -= piece[2]
            number += 1
        else:
            continue
        # A page of this piece is gone: it was unmapped since it was listed. What came before it is kept, and the copy goes on after it.
        start, offset, size = remote[number]
        good = came + (_PAGE - (start + came) % _PAGE)
        skipped = min(good, size) - came
        ctypes.memset(buffer.address + offset + came, 0, skipped)
        lost.append(Lost(start + came, skipped))
        if len(lost) >= _MAX_LOST:
            lost += [Lost(first, length) for first, _, length in remote[number + 1 :]]
            break
        if came + skipped < size:
            done = came + skipped
            remote[number] = (start + done, offset + done, size - done)
        else:
            number += 1
    return lost


def _readv() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).process_vm_readv
    function.restype = ctypes.c_ssize_t
    pointer, count = ctypes.c_void_p, ctypes.c_ulong
    function.argtypes = (ctypes.c_int, pointer, count, pointer, count, count)
    return function
