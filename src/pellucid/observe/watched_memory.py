"""Whether the memory of a process grows while it is watched, and if so, which Python objects become more and who holds them.

One small file is read ten times a second. Only where that shows growth, two censuses are made, as far apart as the window allows, without a
pause: copies of its memory, of up to LIMIT bytes each. Above that it is left to the commands that are asked for.
"""

import time

from pellucid.kernel import cgroups, procfs
from pellucid.model import Gap, GrownType, MemoryGrowth, Process
from pellucid.model.errors import LookError, NotUnderstood
from pellucid.model.heap import Census
from pellucid.observe.heap import TooMuch, census
from pellucid.observe.window import Seen, Window

EVERY_S = 0.1
FIRST_S = 0.3
"""So long it is watched before growth is believed."""
LEAST = 512 << 10
_LEAST_SHARE = 0.002
_MOST_TYPES = 6
_APART_S = 0.3
_LATE_S = 0.5
"""So long after the window the second census may end."""
_AHEAD = 1.2
"""The second census is begun so many times before the end of the window as the first one took."""
_JVM = "java"


def watch(process: Process, window: Window) -> Seen:
    """Private memory of `process` until the window is over; what grows, where it does. Raises NotPermitted, NoSuchProcess."""
    began = time.monotonic()
    sizes = [_private(process.pid)]
    _follow(process.pid, window, began + FIRST_S, sizes)
    if not _grows(sizes) or process.name == _JVM:
        _follow(process.pid, window, None, sizes)
        return Seen(_growth(process, began, sizes, (), 0.0, 0, 0, "", ""))
    try:
        return _with_types(process, window, began, sizes)
    except TooMuch as large:
        _follow(process.pid, window, None, sizes)
        return Seen(_growth(process, began, sizes, (), 0.0, 0, 0, "", large.said))
    except NotUnderstood as error:
        _follow(process.pid, window, None, sizes)
        return Seen(_growth(process, began, sizes, (), 0.0, 0, 0, "", error.said))


def _with_types(process: Process, window: Window, began: float, sizes: list[int]) -> Seen:
    pid = process.pid
    started = time.monotonic()
    first, before = census(pid, command="why"), _private(pid)
    taken = time.monotonic()
    took = taken - started
    if window.left() + _LATE_S < took + _APART_S:
        _follow(pid, window, None, sizes)
        why = f"one census took {took:.1f} s of the {window.seconds:.1f} s that it is watched"
        return Seen(_growth(process, began, sizes, (), 0.0, 0, 0, "", why), first.gaps)
    _follow(pid, window, time.monotonic() + max(_APART_S, window.left() - _AHEAD * took), sizes)
    last, after = census(pid, command="why"), _private(pid)
    sizes.append(after)
    types = grown(first, last)
    gained = last.total_bytes + last.attribute_bytes - first.total_bytes - first.attribute_bytes
    gaps: tuple[Gap, ...] = last.gaps
    return Seen(_growth(process, began, sizes, types, time.monotonic() - taken, gained, after - before, "", ""), gaps)


def grown(first: Census, last: Census) -> tuple[GrownType, ...]:
    """The types that became more, by bytes; own types come first where they are part of it."""
    before = {row.type: row for row in first.types}
    found = [
        GrownType(
            row.type,
            row.own,
            row.count - (before[row.type].count if row.type in before else 0),
            row.bytes - (before[row.type].bytes if row.type in before else 0),
        )
        for row in last.types
    ]
    found = [one for one in found if one.grown_count > 0 and one.grown_bytes > 0]
    return tuple(sorted(found, key=lambda one: -one.grown_bytes)[:_MOST_TYPES])


def _follow(pid: int, window: Window, until: float | None, sizes: list[int]) -> None:
    """One reading each EVERY_S, until the moment `until` or the end of the window."""
    while until is None or time.monotonic() < until:
        if not window.wait(EVERY_S if until is None else min(EVERY_S, max(0.0, until - time.monotonic()))):
            return
        try:
            sizes.append(_private(pid))
        except LookError:  # it has ended: what was read so far is told
            return


def _grows(sizes: list[int]) -> bool:
    return sizes[-1] - sizes[0] >= max(LEAST, _LEAST_SHARE * sizes[0])


def _private(pid: int) -> int:
    status = procfs.status(pid)
    return sum(int(status.get(name, "0 kB").split()[0]) << 10 for name in ("RssAnon", "VmSwap"))


def _growth(
    process: Process,
    began: float,
    sizes: list[int],
    types: tuple[GrownType, ...],
    types_s: float,
    python_bytes: int,
    private_bytes: int,
    holder: str,
    why_not: str,
) -> MemoryGrowth:
    tightest = min(
        (group for group in cgroups.memory_groups(process.pid) if group.limit_bytes is not None),
        key=lambda group: (group.limit_bytes or 0) - group.current_bytes,
        default=None,
    )
    return MemoryGrowth(
        seconds=time.monotonic() - began,
        bytes=tuple(sizes),
        types=types,
        types_s=types_s,
        python_bytes=python_bytes,
        private_bytes=private_bytes,
        holder=holder,
        why_no_types=why_not,
        limit_bytes=tightest.limit_bytes if tightest is not None else None,
        group_bytes=tightest.current_bytes - (tightest.file_bytes or 0) if tightest is not None else 0,
    )
