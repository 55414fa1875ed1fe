"""asyncio as seen by a sampler inside: which loop a thread runs, and where the suspended tasks of it wait.

A task that waits is on no thread's stack: its coroutine knows what it awaits (`cr_await`), and so on to the innermost one.
"""

import sys
from types import CodeType, FrameType

MOST = 200
"""Tasks that one sample looks at."""
_DEEPEST = 200


def loop_of(frame: FrameType) -> object:
    """The event loop that this frame runs, None if it is no such frame. uvloop's own has none, but asyncio.Runner's has it."""
    name = frame.f_code.co_name
    if name == "run_forever" and frame.f_code.co_filename.endswith("asyncio/base_events.py"):
        return frame.f_locals.get("self")
    if name == "run" and frame.f_code.co_filename.endswith("asyncio/runners.py"):
        return getattr(frame.f_locals.get("self"), "_loop", None)
    return None


def suspended(loop: object) -> tuple[list[tuple[str, list[tuple[CodeType, int]]]], int]:
    """((name of the coroutine function, its await chain outermost first) of each suspended task, how many more there are)."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return [], 0
    try:
        every = list(asyncio.all_tasks(loop))
        running = asyncio.current_task(loop)
    except (
        RuntimeError
    ):  # its set of tasks changed while another thread copied it, a thousand times (Lib/asyncio/tasks.py)
        return [], 0
    found = []
    for task in every[:MOST]:
        if task is running:
            continue
        coroutine = task.get_coro()
        chain = _chain(coroutine)
        if chain:
            found.append((getattr(coroutine, "__qualname__", "task"), chain))
    return found, max(0, len(every) - MOST)


def _chain(coroutine: object) -> list[tuple[CodeType, int]]:
    """Coroutines, generators and asynchronous generators name the same two things differently (docs.python.org/3/library/inspect.html)."""
    chain: list[tuple[CodeType, int]] = []
    at: object = coroutine
    while at is not None and len(chain) < _DEEPEST:
        frame = getattr(at, "cr_frame", None) or getattr(at, "gi_frame", None) or getattr(at, "ag_frame", None)
        if not isinstance(frame, FrameType):
            break
        chain.append((frame.f_code, frame.f_lasti))
        at = getattr(at, "cr_await", None) or getattr(at, "gi_yieldfrom", None) or getattr(at, "ag_await", None)
    return chain
