"""The same few bytes at very many addresses of another process, as one array: /proc/PID/mem, one call for what lies close together.

A call costs one to two microseconds, of which half is the kernel's; a batch of process_vm_readv(2) would cost a third of it, and is not
for this: it takes apart what a forked process shares (`kernel.memory` says how).
"""

import numpy as np
from numpy.typing import NDArray

from pellucid.kernel.memory import TOP, Memory, Unreadable

MAX_LOST = 1 << 16
"""Ranges that could not be read: beyond, the rest is given up."""

_ROWS = 1 << 16  # at once
_GAP = 512  # between two ranges that one call reads: it costs less than another call, and is on their pages
_LONGEST = 1 << 20


def gather(memory: Memory, addresses: NDArray[np.uint64], words: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """(row i: the `words` 64-bit words at addresses[i], whether they could be read: else zeros). Raises NoSuchProcess."""
    found = np.zeros((len(addresses), words), np.uint64)
    good = np.zeros(len(addresses), np.bool_)
    order = np.argsort(addresses, kind="stable")
    order = order[addresses[order] < np.uint64(TOP - 8 * words)]
    lost = 0
    for first in range(0, len(order), _ROWS):
        rows = order[first : first + _ROWS]
        try:
            found[rows], good[rows] = _sorted(memory, addresses[rows].astype(np.int64), 8 * words)
        except Unreadable:
            raise memory.gone(f"read the memory of pid {memory.pid}") from None
        lost += len(rows) - int(good[rows].sum())
        if lost > MAX_LOST:
            break
    return found, good


def _sorted(memory: Memory, addresses: NDArray[np.int64], size: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """The same of addresses that ascend."""
    begins = np.flatnonzero(_apart(addresses, size))
    starts = addresses[begins]
    ends = addresses[np.concatenate((begins[1:], [len(addresses)])) - 1] + size
    came = memory.read_each(starts.tolist(), (ends - starts).tolist())
    lengths = np.fromiter(map(len, came), np.int64, len(came))
    group = np.searchsorted(begins, np.arange(len(addresses)), "right") - 1
    inside = addresses - starts[group]
    good = inside + size <= lengths[group]
    alone = np.flatnonzero(~good & (inside > 0))  # a page before it may be what could not be read
    late = memory.read_each(addresses[alone].tolist(), [size] * len(alone))
    offsets = np.cumsum(lengths) - lengths
    places = np.where(good, offsets[group] + inside, 0)
    unit = 1 if np.any(addresses & 7) else 8
    text = np.frombuffer(b"".join(came) + bytes(size), np.uint8 if unit == 1 else np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(text, size // unit)
    found = np.ascontiguousarray(windows[places // unit]).view(np.uint64)
    found[~good] = 0
    for row, bytes_ in zip(alone.tolist(), late, strict=True):
        if len(bytes_) == size:
            found[row], good[row] = np.frombuffer(bytes_, np.uint64), True
    return found, good


def _apart(addresses: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Where a call begins: far from the one before, or where the call would become too long."""
    apart = np.diff(addresses, prepend=-_LONGEST) > size + _GAP
    return apart | (np.diff(addresses // _LONGEST, prepend=-1) > 0)


def copy_run(memory: Memory, address: int, into: NDArray[np.uint64], size: int) -> bool:
    """Copies `size` bytes from `address` on to the begin of `into`; whether all of it came. Raises NoSuchProcess."""
    try:
        return memory.read_into(address, into.data.cast("B")[:size]) == size
    except Unreadable:
        raise memory.gone(f"read the memory of pid {memory.pid}") from None
