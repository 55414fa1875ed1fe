"""The same few bytes at very many addresses of another process, as one array: process_vm_readv(2) with a thousand ranges a call.

The ranges are an array of numpy and the kernel writes into another one: no Python object is made for a range.
"""

import ctypes
from errno import EFAULT, ESRCH
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pellucid.kernel.memory import MAX_RANGES
from pellucid.model.errors import NoSuchProcess

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LOST = 1 << 16
"""Ranges that could not be read: beyond, the rest is given up."""


def gather(pid: int, addresses: NDArray[np.uint64], words: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """(row i: the `words` 64-bit words at addresses[i], whether they could be read: else zeros). Raises NoSuchProcess, OSError."""
    count, size = len(addresses), 8 * words
    found = np.zeros((count, words), np.uint64)
    good = np.zeros(count, np.bool_)
    ranges = np.empty((count, 2), np.uint64)
    ranges[:, 0] = addresses
    ranges[:, 1] = size
    local = np.empty(2, np.uint64)
    readv = _readv()
    at = lost = 0
    while at < count and lost < MAX_LOST:
        batch = min(MAX_RANGES, count - at)
        local[0], local[1] = found.ctypes.data + at * size, batch * size
        came = readv(pid, local.ctypes.data, 1, ranges.ctypes.data + 16 * at, batch, 0)
        if came < 0:
            error = ctypes.get_errno()
            if error == ESRCH:
                raise NoSuchProcess.ended(pid, f"read the memory of pid {pid}")
            if error != EFAULT:
                raise OSError(error, f"process_vm_readv of pid {pid}")
            came = 0
        whole = came // size
        good[at : at + whole] = True
        at += whole
        if whole < batch:  # the next one is not there (any more)
            found[at] = 0
            at += 1
            lost += 1
    return found, good


def copy_runs(pid: int, runs: list[tuple[int, int]], into: NDArray[np.uint64]) -> bool:
    """Copies the ranges (address, size in bytes) one after the other to the begin of `into`; whether all of it came. Raises NoSuchProcess."""
    readv = _readv()
    done = 0
    for first in range(0, len(runs), MAX_RANGES):
        group = np.array(runs[first : first + MAX_RANGES], np.uint64)
        total = int(group[:, 1].sum())
        local = np.array([into.ctypes.data + done, total], np.uint64)
        came = readv(pid, local.ctypes.data, 1, group.ctypes.data, len(group), 0)
        if came < 0 and ctypes.get_errno() == ESRCH:
            raise NoSuchProcess.ended(pid, f"read the memory of pid {pid}")
        if came != total:
            return False
        done += total
    return True


_function: "Callable[..., int] | None" = None


def _readv() -> "Callable[..., int]":
    global _function  # noqa: PLW0603  one handle for the whole program, made at its first use
    if _function is None:
        function = ctypes.CDLL(None, use_errno=True).process_vm_readv
        function.restype = ctypes.c_ssize_t
        pointer, number = ctypes.c_void_p, ctypes.c_ulong
        function.argtypes = (ctypes.c_int, pointer, number, pointer, number, number)
        _function = function
    return _function
