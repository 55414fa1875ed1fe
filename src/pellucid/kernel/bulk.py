"""Gigabytes of another process's memory, copied at the speed of memory: process_vm_readv(2) in large batches, into pages that are there.

The buffer is made and its pages are touched before the copy: their first use would take longer than the copy itself, and the
target may be standing still meanwhile.
"""

import contextlib
import ctypes
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from errno import EFAULT, ESRCH

from msgspec import Struct

from pellucid.kernel.memory import MAX_RANGES
from pellucid.model.errors import NoSuchProcess

_BATCH = 4 << 20  # bytes of one call
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


def copy(pid: int, runs: tuple[tuple[int, int], ...], buffer: Buffer) -> list[Lost]:
    """Copies `runs` (address, end) one after the other into `buffer`, which is large enough. Returns what could not be read.

    Most of the time goes into the kernel's look at each page, one after the other: several threads do that at once, one a CPU.
    Raises NoSuchProcess when the process has ended.
    """
    batches = _batches(runs)
    size = sum(end - start for start, end in runs)
    if size > buffer.size:
        raise ValueError(f"{size} bytes do not fit into a buffer of {buffer.size}")
    copier = _Copier(pid, buffer, batches)
    helpers = min(len(os.sched_getaffinity(0)), _MOST_THREADS, size // _WORTH) - 1
    if helpers <= 0:
        return copier.run()
    with ThreadPoolExecutor(helpers) as pool:
        others = [pool.submit(copier.run) for _ in range(helpers)]
        lost = copier.run()
        return sorted([*lost, *(one for other in others for one in other.result())], key=lambda one: one.address)


def _batches(runs: tuple[tuple[int, int], ...]) -> Iterator[list[_Piece]]:
    """The runs in groups, each for one call: about _BATCH bytes, at most MAX_RANGES pieces."""
    batch: list[_Piece] = []
    at = total = 0
    for start, end in runs:
        while start < end:
            size = min(_BATCH - total, end - start)
            batch.append((start, at, size))
            start, at, total = start + size, at + size, total + size
            if total == _BATCH or len(batch) == MAX_RANGES:
                yield batch
                batch, total = [], 0
    if batch:
        yield batch


class _Copier:
    """Takes one batch after the other, whoever of the threads comes first."""

    def __init__(self, pid: int, buffer: Buffer, batches: Iterator[list[_Piece]]) -> None:
        self._pid = pid
        self._buffer = buffer
        self._batches = batches
        self._next = threading.Lock()
        self._readv = _readv()

    def run(self) -> list[Lost]:
        lost: list[Lost] = []
        while True:
            with self._next:
                batch = next(self._batches, None)
            if batch is None:
                return lost
            self._copy(batch, lost)

    def _copy(self, batch: list[_Piece], lost: list[Lost]) -> None:
        """A page that is gone, unmapped since it was listed, becomes zeros: what came before it is kept, and the copy goes on after it."""
        while batch:
            came = self._read(batch) if len(lost) < _MAX_LOST else 0
            number = 0
            while number < len(batch) and came >= batch[number][2]:
                came -= batch[number][2]
                number += 1
            batch = batch[number:]
            if not batch:
                return
            start, offset, size = batch.pop(0)
            gone = size - came if len(lost) >= _MAX_LOST else min(_PAGE - (start + came) % _PAGE, size - came)
            ctypes.memset(self._buffer.address + offset + came, 0, gone)
            lost.append(Lost(start + came, gone))
            done = came + gone
            if done < size:
                batch.insert(0, (start + done, offset + done, size - done))

    def _read(self, batch: list[_Piece]) -> int:
        """How many bytes came."""
        local = (ctypes.c_uint64 * 2)(self._buffer.address + batch[0][1], sum(size for _, _, size in batch))
        theirs = (ctypes.c_uint64 * (2 * len(batch)))(*(word for start, _, size in batch for word in (start, size)))
        came = self._readv(self._pid, ctypes.byref(local), 1, ctypes.byref(theirs), len(batch), 0)
        if came >= 0:
            return came
        error = ctypes.get_errno()
        if error == ESRCH:
            raise NoSuchProcess.ended(self._pid, f"copy the memory of pid {self._pid}")
        if error != EFAULT:
            raise OSError(error, os.strerror(error))
        return 0


def _readv() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).process_vm_readv
    function.restype = ctypes.c_ssize_t
    pointer, count = ctypes.c_void_p, ctypes.c_ulong
    function.argtypes = (ctypes.c_int, pointer, count, pointer, count, count)
    return function
