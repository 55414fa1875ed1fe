"""Which thread runs the event loop of each task, where that thread is inside of a callback: until it returns, no task of the loop goes on.

    task → fut_loop → BaseEventLoop._thread_id, the ident of the thread in run_forever (Lib/asyncio/base_events.py)

A callback, and each step of a task, runs below `Handle._run` (Lib/asyncio/events.py). Loops that are not made of BaseEventLoop (uvloop)
have no such attribute, and are left out.
"""

from collections.abc import Iterable

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.asyncio_tasks import Awaiting
from pellucid.runtimes.cpython.slots import Slots
from pellucid.runtimes.cpython.standard_library import library_path
from pellucid.runtimes.cpython.sync import Sights

_LOOPS = frozenset(
    {
        ("asyncio/base_events.py", "BaseEventLoop.run_forever"),
        ("asyncio/runners.py", "Runner.run"),
        ("asyncio/runners.py", "run"),
    }
)


def copied(sights: Sights) -> bool:
    """Whether the tasks in this memory are those of a parent that forked while its loop ran: their loop does not run here, and never will.

    So it is below run_forever or asyncio.run in the frames that fork copied, and in no other.
    """
    several = sights.threads.values()
    return any(_runs_a_loop(each.copied) for each in several) and not any(_runs_a_loop(each.frames) for each in several)


def _runs_a_loop(frames: Iterable[Slots]) -> bool:
    return any((library_path(frame.file), frame.qualname) in _LOOPS for frame in frames)


def loops_inside_a_callback(tasks: Iterable[Awaiting], sights: Sights) -> dict[int, int]:
    """Address of a task → tid of the thread of its loop, for loops that are inside of a callback."""
    inside = {
        sight.ident: tid
        for tid, sight in sights.threads.items()
        if any(
            frame.qualname == "Handle._run" and library_path(frame.file) == "asyncio/events.py"
            for frame in sight.frames
        )
    }
    if not inside:
        return {}
    values, found = sights.values, {}
    for task in tasks:
        try:
            loop = values.pages.u64(task.address + values.layout["pyobject.size"])
            ident = values.number(values.named(loop, "_thread_id"))
        except Unreadable:
            continue
        if ident in inside:
            found[task.address] = inside[ident]
    return found
