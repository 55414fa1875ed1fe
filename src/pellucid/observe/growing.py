"""What grows in the heap of a process, and who holds it: a census, and some time later a look at the heap with its references.

    what_grows(4242, 2.0, pause=True)  →  Growing(types, suspects, ...)

A type has grown by the difference of two counts. An object is new where the first census had none of its type at its address; below
whom most of the new ones hang, holds them. Following references takes some microseconds an object: where there is no time for that, or
the heap is large, the types are told alone.
"""

import time
from collections.abc import Callable

from msgspec import Struct

from pellucid.kernel import procfs
from pellucid.model.heap import Census
from pellucid.model.holder import Growing, Suspect, TypeGrowth
from pellucid.observe.heap import LIMIT

MOST_TYPES = 6


class TooSlow(Exception):  # noqa: N818  a value of the look
    """The first census took so long (`seconds`) that there is no time for a second."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


Plan = Callable[[float], "Second | None"]


class Second(Struct, frozen=True):
    """What the second look is to be: with the references or without."""

    follow: bool


def what_grows(
    pid: int,
    seconds: float = 2.0,
    *,
    pause: bool = False,
    limit: int = LIMIT,
    command: str = "heap",
    plan: Plan | None = None,
) -> Growing:
    """Looks at `pid` twice, `seconds` apart, the second time with its references.

    Who has a plan of his own is told how long the first look took, waits, and says what the second is to be; None: there is no time.
    Raises what `heap.census` does (TooMuch above `limit` bytes), and TooSlow.
    """
    from pellucid.observe import heap_new  # numpy, which only this needs

    began = time.perf_counter()
    before = private(pid)
    first = heap_new.counted(pid, pause=pause, limit=limit, command=command)
    took = time.perf_counter() - began
    if plan is None:
        time.sleep(max(0.0, seconds - took))
        second: Second | None = Second(follow=True)
    else:
        second = plan(took)
    if second is None:
        raise TooSlow(took)
    after = private(pid)  # the copy is taken first: what comes while it is made sense of is in neither
    suspects: tuple[Suspect, ...] = ()
    if second.follow:
        last, suspects = heap_new.followed(pid, first, pause=pause, limit=limit, command=command)
    else:
        last = heap_new.counted(pid, pause=pause, limit=limit, command=command).census
    return Growing(
        seconds=last.taken_at - first.census.taken_at,
        types=grown(first.census, last),
        suspects=suspects,
        python_bytes=_whole(last) - _whole(first.census),
        private_bytes=after - before,
        paused_s=(first.census.paused_s or 0.0) + (last.paused_s or 0.0),
        gaps=last.gaps,
    )


def private(pid: int) -> int:
    """RssAnon and VmSwap (proc_pid_status(5)), in bytes. Raises NoSuchProcess."""
    status = procfs.status(pid)
    return sum(int(status.get(name, "0 kB").split()[0]) << 10 for name in ("RssAnon", "VmSwap"))


def grown(first: Census, last: Census) -> tuple[TypeGrowth, ...]:
    """The types that became more, by bytes; of the program's own the largest at least."""
    before = {row.type: row for row in first.types}
    found = []
    for row in last.types:
        was = before.get(row.type)
        more = row.count - (was.count if was else 0)
        size = row.bytes - (was.bytes if was else 0)
        if more > 0 and size > 0:
            found.append(TypeGrowth(row.type, row.own, row.count, row.bytes, more, size))
    found.sort(key=lambda one: -one.grown_bytes)
    own = next(
        (one for one in found if one.own), None
    )  # mostly small beside what its objects hold, and the one that people know
    most = found[:MOST_TYPES]
    return tuple(most) if own is None or own in most else (*most[:-1], own)


def _whole(one: Census) -> int:
    return one.total_bytes + one.attribute_bytes
