"""The children in which threads may wait for each other: found cheaply, before any of them is attached to.

    the parent sleeps in select(2) and is well  →  a worker of it has two threads that each want the other's lock

Whoever is in a deadlock of locks sleeps in futex(2) without a timeout, so one small file a thread tells which children can't be in one.
What a child is really in, the graph of waits says, into which those are taken that are left.
"""

from msgspec import Struct

from pellucid.kernel import procfs, tasks
from pellucid.kernel.maps import mapped
from pellucid.model import Call, Gap
from pellucid.model.errors import LookError
from pellucid.observe.blocked import descendants

MAX_CHILDREN = 64
MAX_THREADS = 512
"""Of all children together whose system calls are read."""
MAX_LOOKED, LEAST_LOOKED = 8, 4
MAX_S = 0.1
"""No further child than the first few is taken in once that took so long."""

_WAITS = frozenset({0, 6, 9, 11, 13})
"""FUTEX_WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2 (include/uapi/linux/futex.h)."""
_COMMAND = 0x7F


class Children(Struct, frozen=True):
    """`waiting`: those with a thread that may wait for a lock for ever. `unread`: of so many not even that could be told, of `count`."""

    waiting: tuple[int, ...] = ()
    unread: int = 0
    count: int = 0


def suspects(pid: int) -> Children:
    """The descendants of `pid`, those near to it first. A JVM is none of them: to ask it is to stop it for a moment."""
    found = descendants(pid, MAX_CHILDREN + 1)
    waiting: list[int] = []
    threads = unread = 0
    for number, child in enumerate(found):
        if number >= MAX_CHILDREN or threads >= MAX_THREADS:
            unread += len(found) - number
            break
        try:
            calls = tasks.calls(child, most=MAX_THREADS - threads)
            unread += not calls and procfs.stat(child).letter not in "ZX"
        except LookError:
            continue  # it has ended
        threads += len(calls)
        if any(waits_for_ever(call) for call in calls.values()) and not mapped(child, "/libjvm.so"):
            waiting.append(child)
    return Children(tuple(waiting), unread, len(found))


def waits_for_ever(call: Call) -> bool:
    """A futex(2) that nothing but a wake-up ends."""
    arguments = call.arguments
    return call.name == "futex" and len(arguments) > 3 and arguments[1] & _COMMAND in _WAITS and not arguments[3]


def left_out(pid: int, found: Children, taken: int) -> Gap | None:
    """What of the children was not looked at, of whom `taken` were; None where nothing."""
    left = len(found.waiting) - taken + found.unread
    if not left:
        return None
    count = f"{found.count - 1} and more" if found.count > MAX_CHILDREN else str(found.count)
    return Gap(f"whether {left} of its {count} children are deadlocked", "a look is bounded", f"pellucid waits {pid}")
