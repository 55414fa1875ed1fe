"""Gigabytes of another process's memory, copied at the speed of memory: /proc/PID/mem in large pieces, into pages that are there.

The buffer is made and its pages are touched before the copy: their first use would take longer than the copy itself, and the
target may be standing still meanwhile. process_vm_readv(2) would take two thirds of the time, and is not for this: it takes apart what
a forked process shares (`kernel.memory` says how).
"""

import contextlib
import ctypes
import mmap
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from errno import ESRCH

from msgspec import Struct

from pellucid.kernel.memory import Memory, Unreadable

_PIECE = 1 << 20  # bytes of one call
_WORTH = 16 << 20  # bytes, for each thread
_MOST_THREADS = 4  # memory itself is busy then
_PAGE = 4096
_MADV_HUGEPAGE, _MADV_POPULATE_WRITE = 14, 23  # include/uapi/asm-generic/mman-common.h; the second from Linux 5.14 on
_MAX_LOST = 4096  # pages of one copy that could not be read: then the rest is given up


_Piece = tuple[int, int, int]  # address, offset in the buffer, size


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


def copy(memory: Memory, runs: tuple[tuple[int, int], ...], buffer: Buffer) -> list[Lost]:
    """Copies `runs` (address, end) one after the other into `buffer`, which is large enough. Returns what could not be read.

    Most of the time goes into the kernel's look at each page, one after the other: several threads do that at once, one a CPU.
    Raises NoSuchProcess when the process has ended, or replaced itself by exec, since `memory` was opened.
    """
    size = sum(end - start for start, end in runs)
    if size > buffer.size:
        raise ValueError(f"{size} bytes do not fit into a buffer of {buffer.size}")
    copier = _Copier(memory, buffer, _pieces(runs))
    helpers = min(len(os.sched_getaffinity(0)), _MOST_THREADS, size // _WORTH) - 1
    if helpers <= 0:
        return copier.run()
    with ThreadPoolExecutor(helpers) as pool:
        others = [pool.submit(copier.run) for _ in range(helpers)]
        lost = copier.run()
        return sorted([*lost, *(one for other in others for one in other.result())], key=lambda one: one.address)


def _pieces(runs: tuple[tuple[int, int], ...]) -> Iterator[_Piece]:
    """The runs, each piece for one call."""
    at = 0
    for start, end in runs:
        for address in range(start, end, _PIECE):
            size = min(_PIECE, end - address)
            yield address, at, size
            at += size


class _Copier:
    """Takes one piece after the other, whoever of the threads comes first."""

    def __init__(self, memory: Memory, buffer: Buffer, pieces: Iterator[_Piece]) -> None:
        self._memory = memory
        self._view = memoryview(buffer.view)
        self._pieces = pieces
        self._next = threading.Lock()

    def run(self) -> list[Lost]:
        lost: list[Lost] = []
        while True:
            with self._next:
                piece = next(self._pieces, None)
            if piece is None:
                return lost
            self._copy(*piece, lost)

    def _copy(self, address: int, offset: int, size: int, lost: list[Lost]) -> None:
        """A page that is gone, unmapped since it was listed, becomes zeros: what came before it is kept, and the copy goes on after it."""
        while size:
            came = self._read(address, offset, size) if len(lost) < _MAX_LOST else 0
            address, offset, size = address + came, offset + came, size - came
            if size:
                gone = size if len(lost) >= _MAX_LOST else min(_PAGE - address % _PAGE, size)
                self._view[offset : offset + gone] = bytes(gone)
                lost.append(Lost(address, gone))
                address, offset, size = address + gone, offset + gone, size - gone

    def _read(self, address: int, offset: int, size: int) -> int:
        """How many bytes came."""
        try:
            return self._memory.read_into(address, self._view[offset : offset + size])
        except Unreadable as error:
            if error.errno == ESRCH:
                raise self._memory.gone(f"copy the memory of pid {self._memory.pid}") from None
            return 0
