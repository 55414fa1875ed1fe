"""An event loop stands still: a callback, coroutine or greenlet that it runs has called something that waits.

The thread of an asyncio loop is inside of `Handle._run` (Lib/asyncio/events.py), which runs one callback or one step of a task, and sleeps in a
system call there. Until that returns no other task goes on, no timer fires and no connection is answered. Likewise below Twisted's
`ReactorBase.mainLoop` (twisted/internet/base.py), where the reactor's own wait is the call right above; and below a server of gevent, whose
greenlets wait in the hub (gevent/hub.py) by themselves, where they would have left the thread to others.
"""

from collections.abc import Iterator
from itertools import takewhile

from pellucid.diagnose import words
from pellucid.diagnose.groups import evidence, name
from pellucid.model import Finding, Frame, Ref, Severity, Snapshot, Thread

_SOON_S, _BAD_S = 0.2, 5.0
_ASYNCIO = "Handle._run (asyncio/events.py)"
_REMEDIES = {
    _ASYNCIO: "an awaitable call, or asyncio.to_thread()",
    "ReactorBase.mainLoop (twisted/internet/base.py)": "a Deferred, or twisted.internet.threads.deferToThread()",
    "a server of gevent": "gevent.monkey.patch_all() before all other imports, or gevent.get_hub().threadpool",
}
_TWISTED, _GEVENT = list(_REMEDIES)[1:]


def event_loop_is_blocked(seen: Snapshot) -> Iterator[Finding]:
    if seen.process.state in {"stopped", "traced"}:
        return
    for thread in seen.threads:
        wait = thread.wait
        if wait is None or wait.kind == "gil" or not seen.steady(thread):
            continue
        loop = _loop(thread)
        if loop is None:
            continue
        since = wait.since_s or 0.0
        if since < _SOON_S:
            continue
        count = _other_tasks(seen)
        others = f" {count} other task{'s' if count > 1 else ''} of the process can't go on." if count else ""
        severity: Severity = "critical" if since >= _BAD_S else "warning"
        yield Finding(
            rule="event-loop-blocked",
            severity=severity,
            title=f"The event loop of {name(thread)} stands still for {words.duration(since)}",
            sentence=f"{name(thread)} {words.does(thread)} at {words.place(thread.frames)}, inside of a callback of its event loop: "
            f"nothing else of that loop can run.{others} Remedy: {_REMEDIES[loop]}.",
            evidence=(
                *evidence(seen, thread),
                Ref(source=f"stack of {thread.name}", said=f"{loop} is below this call"),
            ),
            next=(
                *((f"pellucid stacks {seen.process.pid} --tasks",) if loop == _ASYNCIO else ()),
                f"pellucid stacks {seen.process.pid}",
            ),
            confidence="certain",
            tids=(thread.tid,),
        )


def _loop(thread: Thread) -> str | None:
    """What runs the callback that waits; None where none does, or only one that fork copied: a child never returns from Popen._launch
    (Lib/multiprocessing/popen_fork.py).
    """
    if thread.moving:
        return None
    frames = list(
        takewhile(lambda frame: not _is(frame, "multiprocessing/popen_fork.py", "_launch"), thread.frames),
    )
    if any(_is(frame, "asyncio/events.py", "_run") for frame in frames):
        return _ASYNCIO
    if any(_is(frame, "twisted/internet/base.py", "mainLoop") for frame in frames[2:]):
        return _TWISTED
    if (
        frames
        and frames[0].own
        and any(_is(frame, "gevent/baseserver.py", "_handle_and_close_when_done") for frame in frames)
    ):
        return _GEVENT
    return None


def _is(frame: Frame, file: str, function: str) -> bool:
    return frame.function == function and frame.file.endswith(file)


def _other_tasks(seen: Snapshot) -> int:
    """How many tasks there are beside the one that blocks."""
    if seen.graph is None:
        return 0
    return max(0, sum(node.kind == "task" and node.pid == seen.process.pid for node in seen.graph.nodes) - 1)
