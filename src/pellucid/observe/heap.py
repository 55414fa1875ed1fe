"""The objects of a Python process, counted from outside: by type, with how much of the process's memory that explains.

`census` is the quick look, without a pause: some 0.3 µs an object, and nothing of the process stands still. What it counts while the
program changes its heap is right within a fraction of a percent.
"""

import sys
import time
from typing import TYPE_CHECKING

from pellucid.kernel import procfs
from pellucid.kernel.free_memory import available
from pellucid.kernel.memory import Memory, Unreadable
from pellucid.model import Gap, Process
from pellucid.model.errors import LookError, NotUnderstood
from pellucid.model.heap import Census, TypeCount
from pellucid.runtimes import cpython

if TYPE_CHECKING:
    from pellucid.runtimes.cpython.census import Heap
    from pellucid.runtimes.cpython.image import Image

LIMIT = 1 << 30
"""Bytes that a census without a pause copies unless it is told otherwise."""

PIECE = 256 << 20
"""Bytes of a piece where all of the memory is gone through in pieces."""

_LEAST = 4 << 20
_SPARE = 0.8  # of the memory that is free: the rest is left to the others
_NEEDED = 1.6  # bytes for each byte of the copy: the copy itself, and the arrays of the census


class TooMuch(LookError):  # noqa: N818
    """The heap is larger than what may be copied, or than the memory that is free."""

    code = "partial"
    exit_status = 6


def census(pid: int, *, pause: bool = False, limit: int = LIMIT, command: str = "heap") -> Census:
    """Counts the objects of process `pid`, largest types first.

    Raises TooMuch where more than `limit` bytes, or than there is memory for, would have to be copied; NoSuchProcess, NotPermitted, and
    NotUnderstood for what is no CPython that can be read.
    """
    began = time.perf_counter()
    with attached(pid, command) as python:
        heap = counted(python, pause=pause, limit=limit, command=command)
        return value(pid, heap, began)


def attached(pid: int, command: str) -> cpython.CPython:
    """The CPython of the process; a refusal names `command` in its remedy."""
    Memory.open(pid, command).close()
    try:
        return cpython.attach(pid)
    except NotUnderstood as error:
        raise NotUnderstood(
            pid,
            tried=f"find the Python objects of pid {pid}",
            said=error.said,
            remedy=f"pellucid memory {pid}  (where its bytes are, whatever it runs)",
            found=error.found,
        ) from error


def counted(python: cpython.CPython, *, pause: bool, limit: int, command: str) -> "Heap":
    """The census of a fresh copy."""
    from pellucid.runtimes.cpython import census as counting  # numpy, which only this needs
    from pellucid.runtimes.cpython import heap_types, image

    pid = python.memory.pid
    room = int(available() * _SPARE / _NEEDED)
    try:
        taken: Image = image.take(pid, pause=pause, limit=min(limit, room), command=command)
    except image.TooLarge as large:
        raise _too_much(pid, large.size, limit, room) from None
    try:
        metaclass = counting.metaclass(python.memory, python.layout, python.runtime)
        return counting.census(taken, python.memory, python.layout, metaclass)
    except (Unreadable, heap_types.NotFound) as wrong:
        raise _garbled(python, wrong) from None


def _garbled(python: cpython.CPython, wrong: Exception) -> NotUnderstood:
    pid = python.memory.pid
    return NotUnderstood(
        pid,
        tried=f"find the types of pid {pid} in a copy of its memory",
        said=f"its memory is not as the table of {python.name} says: `type` is not where it should be"
        + (f" ({wrong})" if str(wrong) else ""),
        remedy=f"pellucid info {pid}  (what it is)",
        found=python.name,
    )


def _too_much(pid: int, size: int, limit: int, room: int) -> TooMuch:
    tried = f"copy the memory of pid {pid}, {size >> 20:,} MB"
    if room < limit:
        return TooMuch(
            pid,
            tried=tried,
            said=f"there is memory here for a copy of {room >> 20:,} MB",
            remedy=f"pellucid memory {pid}",
        )
    return TooMuch(
        pid,
        tried=tried,
        said=f"that is more than the {limit >> 20:,} MB that were allowed",
        remedy=f"pellucid heap {pid}",
    )


def streamed(pid: int, *, piece: int = PIECE, command: str = "heap") -> tuple[Process, Census]:
    """The same as `census` in pieces of so many bytes, however large the process is; never with a pause. Raises as `census` does."""
    began = time.perf_counter()
    process = procfs.process(pid)
    with attached(pid, command) as python:
        from pellucid.runtimes.cpython import census as counting
        from pellucid.runtimes.cpython import heap_stream, heap_types

        room = min(piece, int(available() * _SPARE / _NEEDED))
        try:
            metaclass = counting.metaclass(python.memory, python.layout, python.runtime)
            found = heap_stream.stream(python.memory, python.layout, metaclass, max(room, _LEAST), command)
        except (Unreadable, heap_types.NotFound) as wrong:
            raise _garbled(python, wrong) from None
        gap = Gap(
            f"who holds what in the {found.bytes >> 20:,} MB of pid {pid}, and the few objects that lie in its program's files",
            f"they were counted in pieces of {room >> 20:,} MB: that is no copy in which references could be followed",
            f"pellucid heap {pid}  (with more memory free, or a larger --limit)",
        )
        broken = _torn(pid, found.broken)
        counted_ = _census(
            pid,
            found.rows,
            found.attribute_bytes,
            found.objects,
            (found.pool_bytes, found.pool_used_bytes),
            None,
            found.bytes,
            began,
            (gap, *broken),
        )
        return procfs.with_runtime(process, python.name), counted_


def value(pid: int, heap: "Heap", began: float) -> Census:
    """What was counted, as a value."""
    from pellucid.runtimes.cpython.census import histogram

    gaps = [*heap.image.gaps, *_torn(pid, heap.broken)]
    if not len(heap.pools.places):
        gaps.append(
            Gap(
                "which blocks are free by the lists of Python's allocator",
                "it does not use that one (PYTHONMALLOC=malloc, or another): objects are found by malloc's chunks and by references, and a "
                "few that were freed may be among them",
            )
        )
    pools = (heap.pools.bytes, heap.pools.used_bytes)
    paused, size = heap.image.paused_s, heap.image.size
    return _census(
        pid, histogram(heap), int(heap.attributes().sum()), len(heap), pools, paused, size, began, tuple(gaps)
    )


def _torn(pid: int, broken: int) -> tuple[Gap, ...]:
    if not broken:
        return ()
    return (Gap(f"a few blocks of {broken} pools", "they changed while they were copied", f"pellucid heap {pid}"),)


def _census(
    pid: int,
    counted: list[tuple[str, str, int, int]],
    attributes: int,
    objects: int,
    pools: tuple[int, int],
    paused_s: float | None,
    copied: int,
    began: float,
    gaps: tuple[Gap, ...],
) -> Census:
    rows = [
        TypeCount(spelt(module, name), module, count, size, own=is_own(module)) for module, name, count, size in counted
    ]
    total = sum(row.bytes for row in rows)
    anonymous = _anonymous(pid)
    return Census(
        types=tuple(rows),
        total_bytes=total,
        attribute_bytes=attributes,
        objects=objects,
        anonymous_bytes=anonymous,
        coverage=min((total + attributes) / anonymous, 1.0) if anonymous else 0.0,
        pool_bytes=pools[0],
        pool_used_bytes=pools[1],
        taken_at=time.time(),
        paused_s=paused_s,
        copied_bytes=copied,
        seconds=time.perf_counter() - began,
        gaps=gaps,
    )


def spelt(module: str, name: str) -> str:
    """`dict`, `Session` of the main program, `shop.cart.Session`."""
    return name if module in ("builtins", "__main__", "") else f"{module}.{name}"


def is_own(module: str) -> bool:
    """Whether a type of this module is of the program or a library that it uses, and not Python's own."""
    return (
        bool(module) and module.partition(".")[0] not in sys.stdlib_module_names | {"builtins"}
    ) or module == "__main__"


def _anonymous(pid: int) -> int:
    """RssAnon in bytes, and what of it is in swap (proc_pid_status(5)); 0 when the process has ended meanwhile."""
    try:
        status = procfs.status(pid)
    except LookError:
        return 0
    return sum(int(status.get(name, "0 kB").split()[0]) << 10 for name in ("RssAnon", "VmSwap"))
