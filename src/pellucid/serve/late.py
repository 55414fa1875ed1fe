"""A second look, where the first one does not come to its end: what the kernel alone says of the worker, and where the first look is.

    thread predict waits in futex, for 11 s; more was not seen: the look took longer than 10 s, and runs at names (locals.py:41)

What a look may hang at is the worker's memory, and other processes that the worker waits for. So of the worker only what needs neither is
read: the state, the system call and its arguments (/proc/PID/task). The first look is a process like any other: it has a stack.
"""

import time

from pellucid.model import Thread
from pellucid.model.errors import PellucidError
from pellucid.model.incident import LookAt, Moment

LATE_S = 3.0
"""It takes some milliseconds. One that takes so long on a machine without a free processor is killed too."""


def late(pid: int, tid: int, moment: Moment, first: int, most_s: float) -> LookAt:
    """Of `pid`, the sentence about its thread `tid`; `first` is the look that has taken longer than `most_s`."""
    from pellucid.diagnose import words

    began, at = time.perf_counter(), time.time()
    why_not = f"the look took longer than {most_s:g} s{_where(first)}"
    thread = _by_the_kernel(pid, tid)
    told = "its thread in question has ended" if thread is None else f"thread {thread.name} {words.does(thread)}"
    return LookAt(moment, at, time.perf_counter() - began, f"{told}; more was not seen: {why_not}", why_not=why_not)


def _by_the_kernel(pid: int, tid: int) -> Thread | None:
    """None where there is no such thread."""
    from pellucid.kernel import tasks
    from pellucid.observe.waits import Looker

    task = next((task for task in tasks.tasks(pid)[0] if task.tid == tid), None)
    if task is None:
        return None
    wait, _ = Looker(pid, None, {}, lambda _: False).wait(task, None)
    return Thread(tid=tid, name=task.name, state=task.state, frames=(), wait=wait, task=task)


def _where(first: int) -> str:
    """`, and runs at names (locals.py:41)`; without what can't be seen of it either."""
    from pellucid.diagnose import words
    from pellucid.observe.stacks import Look
    from pellucid.serve.look import line

    try:
        with Look(first) as look:
            kernel, _ = look.first
            thread = next(one for one in look.threads(kernel, look.stacks(), {}) if one.tid == first)
    except (PellucidError, StopIteration):  # it has just ended
        return ""
    place = line(thread)
    return f", and {words.does(thread)}" + (f" at {place}" if place else "")
