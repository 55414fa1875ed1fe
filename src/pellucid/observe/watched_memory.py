"""Whether the memory of a process grows while it is watched, and if so, which Python objects become more and who holds them.

One small file is read ten times a second. Only where that shows growth, its heap is looked at twice (`observe.growing`), as far apart as the
window allows, without a pause: copies of its memory, of up to LIMIT bytes each. Above that it is left to the commands that are asked for.
"""

import time
from contextlib import suppress

from pellucid.kernel import cgroups
from pellucid.model import MemoryGrowth, Process
from pellucid.model.errors import LookError, NotUnderstood
from pellucid.model.holder import Growing
from pellucid.observe.growing import Second, TooSlow, private, what_grows
from pellucid.observe.heap import TooMuch
from pellucid.observe.window import Seen, Window

EVERY_S = 0.1
FIRST_S = 0.3
"""So long it is watched before growth is believed."""
_LEAST_LEFT_S = 0.6
"""Less is not enough for two looks: growth that shows later is told without its objects."""
LEAST = 512 << 10
_LEAST_SHARE = 0.002
_AHEAD, _FOLLOWED = 1.2, 5.0
"""The second look takes about so many times what the first one took: a census again, or with the references."""
_LATE_S = 0.5
"""So long after the window a look with the references may end."""
_APART_S, _MOST_APART_S = 0.3, 1.2
"""Between the looks: enough to see what grows, and no more, since a heap that grows takes ever longer to look at."""
_JVM = "java"


def watch(process: Process, window: Window) -> Seen:
    """Private memory of `process` until the window is over; what grows, where it does. Raises NotPermitted, NoSuchProcess."""
    began = time.monotonic()
    pid = process.pid
    sizes = [(0.0, private(pid))]
    while True:
        _follow(pid, window, began, time.monotonic() + FIRST_S, sizes)
        if _grows(sizes) or window.left() < _LEAST_LEFT_S:
            break
    found: Growing | None = None
    why_not = ""
    if _grows(sizes) and process.name != _JVM and window.left() >= _LEAST_LEFT_S:

        def plan(took: float) -> Second | None:
            """The references where there is time for them, else a census, else nothing."""
            left = window.left()
            follow = left + _LATE_S >= _FOLLOWED * took + _APART_S
            needs = (_FOLLOWED if follow else _AHEAD) * took
            if not follow and left < needs + _APART_S:
                return None
            _follow(pid, window, began, time.monotonic() + min(max(_APART_S, left - needs), _MOST_APART_S), sizes)
            return Second(follow=follow)

        try:
            found = what_grows(pid, command="why", plan=plan)
        except TooMuch as large:
            why_not = f"to {large.tried}: {large.said}"
        except NotUnderstood as refused:
            why_not = refused.said
        except TooSlow as slow:
            why_not = f"one look at it took {slow.seconds:.1f} s of the {window.seconds:.1f} s that it is watched"
        with suppress(LookError):  # it has ended: what was read so far is told
            sizes.append((time.monotonic() - began, private(pid)))
    _follow(pid, window, began, None, sizes)
    return Seen(_growth(process, began, sizes, found, why_not), found.gaps if found is not None else ())


def _follow(pid: int, window: Window, began: float, until: float | None, sizes: list[tuple[float, int]]) -> None:
    """One reading each EVERY_S, until the moment `until` or the end of the window."""
    while until is None or time.monotonic() < until:
        if not window.wait(EVERY_S if until is None else min(EVERY_S, max(0.0, until - time.monotonic()))):
            return
        try:
            sizes.append((time.monotonic() - began, private(pid)))
        except LookError:  # it has ended: what was read so far is told
            return


def _grows(sizes: list[tuple[float, int]]) -> bool:
    first, last = sizes[0][1], sizes[-1][1]
    return last - first >= max(LEAST, _LEAST_SHARE * first)


def _growth(
    process: Process, began: float, sizes: list[tuple[float, int]], found: Growing | None, why_not: str
) -> MemoryGrowth:
    tightest = min(
        (group for group in cgroups.memory_groups(process.pid) if group.limit_bytes is not None),
        key=lambda group: (group.limit_bytes or 0) - group.current_bytes,
        default=None,
    )
    return MemoryGrowth(
        seconds=time.monotonic() - began,
        bytes=tuple(size for _, size in sizes),
        at_s=tuple(at for at, _ in sizes),
        types=found.types if found is not None else (),
        types_s=found.seconds if found is not None else 0.0,
        python_bytes=found.python_bytes if found is not None else 0,
        private_bytes=found.private_bytes if found is not None else 0,
        suspects=found.suspects if found is not None else (),
        why_no_types=why_not,
        limit_bytes=tightest.limit_bytes if tightest is not None else None,
        group_bytes=tightest.current_bytes - (tightest.file_bytes or 0) if tightest is not None else 0,
    )
