"""The rings of perf as arrays: which call of which thread began and ended when.

A ring of one tracepoint holds records of one length, so it is read as one array. Where a LOST record lies between them it is
taken apart record by record. Begin and end are joined by thread and time; a call whose end has not come yet waits for the next look.
"""

from struct import Struct as Packing

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pellucid.kernel import perf
from pellucid.kernel.traced import Executed, Exited, Forked

_HEADER = Packing("<IHH")
_LOST = Packing("<QQ")
_TASK = Packing("<4IQ")
_IDS = Packing("<II")
_TIME = Packing("<Q")

Records = NDArray[np.void]

_SAMPLE = [
    ("type", "<u4"),
    ("misc", "<u2"),
    ("size", "<u2"),
    ("pid", "<u4"),
    ("tid", "<u4"),
    ("time", "<u8"),
    ("length", "<u4"),
]
ENTER = np.dtype([*_SAMPLE, ("common", "<u8"), ("number", "<i8"), ("arguments", "<u8", 6), ("rest", "<u4")])
EXIT = np.dtype([*_SAMPLE, ("common", "<u8"), ("number", "<i8"), ("result", "<i8"), ("rest", "<u4")])
"""A sample with the raw data of raw_syscalls:sys_enter and sys_exit, as `fits` has checked."""

FIELDS = {"sys_enter": {"id": 8, "args": 16}, "sys_exit": {"id": 8, "ret": 16}}


def fits(name: str, fields: dict[str, int]) -> bool:
    """Whether this kernel's tracepoint has its fields where the arrays expect them."""
    return all(fields.get(field) == at for field, at in FIELDS[name].items())


def samples(raw: bytes, shape: np.dtype) -> tuple[Records, int]:
    """(the samples, how many records were lost). Never raises: what does not add up is left out."""
    if len(raw) % shape.itemsize == 0:
        whole = np.frombuffer(raw, shape)
        if (whole["type"] == perf.SAMPLE).all() and (whole["size"] == shape.itemsize).all():
            return whole, 0
    kept = bytearray()
    lost = 0
    for kind, _, body, at, size in _records(raw):
        if kind == perf.SAMPLE and size == shape.itemsize:
            kept += raw[at : at + size]
        elif kind == perf.LOST and len(body) >= _LOST.size:
            lost += _LOST.unpack_from(body)[1]
    return np.frombuffer(bytes(kept), shape), lost


def _records(raw: bytes) -> list[tuple[int, int, bytes, int, int]]:
    """(type, misc, body, place, size) of each record; ends at the first that does not fit."""
    found = []
    at = 0
    while at + _HEADER.size <= len(raw):
        kind, misc, size = _HEADER.unpack_from(raw, at)
        if size < _HEADER.size or at + size > len(raw):
            break
        found.append((kind, misc, raw[at + _HEADER.size : at + size], at, size))
        at += size
    return found


def tasks(raw: bytes) -> tuple[list[Forked | Executed | Exited], int]:
    """(what happened to processes, how many records were lost)."""
    found: list[Forked | Executed | Exited] = []
    lost = 0
    for kind, misc, body, _, _ in _records(raw):
        if kind in (perf.FORK, perf.EXIT) and len(body) >= _TASK.size:
            pid, parent, tid, _, at = _TASK.unpack_from(body)
            if kind == perf.FORK and pid != parent:
                found.append(Forked(parent, pid, at))
            elif kind == perf.EXIT and pid == tid:
                found.append(Exited(pid, at))
        elif kind == perf.COMM and misc & perf.COMM_EXEC and len(body) >= _IDS.size + _TIME.size:
            pid = _IDS.unpack_from(body)[0]
            found.append(Executed(pid, _TIME.unpack_from(body, len(body) - _TIME.size)[0]))
        elif kind == perf.LOST and len(body) >= _LOST.size:
            lost += _LOST.unpack_from(body)[1]
    return found, lost


class Pairs(Struct, frozen=True):
    """Calls that have ended: `begin` and `end` are arrays of the same length; `open` are those that have not."""

    begin: Records
    end: Records
    open: Records


def paired(begun: Records, ended: Records) -> Pairs:
    """Join each beginning with the end that follows it in the same thread, if that is of the same call."""
    tids = np.concatenate([begun["tid"], ended["tid"]])
    times = np.concatenate([begun["time"], ended["time"]])
    numbers = np.concatenate([begun["number"], ended["number"]])
    is_end = np.arange(len(tids)) >= len(begun)
    order = np.lexsort((is_end, times, tids))
    first, second = order[:-1], order[1:]
    joined = ~is_end[first] & is_end[second] & (tids[first] == tids[second]) & (numbers[first] == numbers[second])
    begin_at, end_at = first[joined], second[joined] - len(begun)
    return Pairs(begun[begin_at], ended[end_at], begun[_open(tids[order], is_end[order], order)])


def _open(tids: NDArray[np.uint32], is_end: NDArray[np.bool_], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """The beginnings that no end of the same thread follows: their ends may not have been read yet."""
    if not len(order):
        return order
    place = np.arange(len(order))
    starts = np.concatenate([[True], tids[1:] != tids[:-1]])
    group = np.cumsum(starts) - 1
    last_end = np.full(group[-1] + 1, -1)
    np.maximum.at(last_end, group[is_end], place[is_end])
    found: NDArray[np.intp] = order[~is_end & (place > last_end[group])]
    return found


class Summed(Struct, frozen=True):
    """Calls of one process and number: how many, how many failed, and their time."""

    pid: int
    number: int
    calls: int
    errors: int
    total_ns: int
    max_ns: int


def summed(pairs: Pairs) -> list[Summed]:
    """One entry for each process and number."""
    if not len(pairs.begin):
        return []
    keys = pairs.begin["pid"].astype(np.int64) << 32 | pairs.begin["number"]
    durations = (pairs.end["time"] - pairs.begin["time"]).astype(np.int64)
    failed = is_error(pairs.end["result"])
    unique, which = np.unique(keys, return_inverse=True)
    calls = np.bincount(which)
    errors = np.bincount(which, weights=failed)
    total = np.zeros(len(unique), np.int64)
    np.add.at(total, which, durations)
    largest = np.zeros(len(unique), np.int64)
    np.maximum.at(largest, which, durations)
    return [
        Summed(int(key >> 32), int(key & 0xFFFFFFFF), int(calls[at]), int(errors[at]), int(total[at]), int(largest[at]))
        for at, key in enumerate(unique)
    ]


def is_error(results: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (results < 0) & (results > -4096)
