"""An asyncio event loop stands still: a callback or coroutine that it runs has called something that waits.

The loop's thread is inside of `Handle._run` (Lib/asyncio/events.py), which runs one callback or one step of a task, and sleeps in a system
call there. Until that returns no other task goes on, no timer fires and no connection is answered.
"""

from collections.abc import Iterator
from itertools import takewhile

from pellucid.diagnose import words
from pellucid.diagnose.groups import evidence, name
from pellucid.model import Finding, Ref, Severity, Snapshot, Thread

_SOON_S, _BAD_S = 0.2, 5.0


def event_loop_is_blocked(seen: Snapshot) -> Iterator[Finding]:
    if seen.process.state in {"stopped", "traced"}:
        return
    for thread in seen.threads:
        wait = thread.wait
        if wait is None or wait.kind == "gil" or not _runs_a_callback(thread) or not seen.steady(thread):
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
            f"nothing else of that loop can run.{others} Remedy: an awaitable call, or asyncio.to_thread().",
            evidence=(
                *evidence(seen, thread),
                Ref(source=f"stack of {thread.name}", said="Handle._run (asyncio/events.py) is below this call"),
            ),
            next=(f"pellucid stacks {seen.process.pid} --tasks", f"pellucid stacks {seen.process.pid}"),
            confidence="certain",
            tids=(thread.tid,),
        )


def _runs_a_callback(thread: Thread) -> bool:
    """Below a callback, and not only below one that fork copied: a child never returns from Popen._launch (Lib/multiprocessing/popen_fork.py)."""
    own = takewhile(
        lambda frame: frame.function != "_launch" or not frame.file.endswith("multiprocessing/popen_fork.py"),
        thread.frames,
    )
    return not thread.moving and any(
        frame.function == "_run" and frame.file.endswith("asyncio/events.py") for frame in own
    )


def _other_tasks(seen: Snapshot) -> int:
    """How many tasks there are beside the one that blocks."""
    if seen.graph is None:
        return 0
    return max(0, sum(node.kind == "task" and node.pid == seen.process.pid for node in seen.graph.nodes) - 1)
