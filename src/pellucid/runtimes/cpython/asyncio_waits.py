"""What a task waits for: another task, several (gather, TaskGroup, wait), a lock or queue of asyncio by its name, a sleep, a thread.

A task waits for a future (`fut_waiter`); whose future it is, the frames above the program's own say: `Lock.acquire` in asyncio/locks.py has
the lock as `self`; or the future's callbacks do (`futures`), where it stands for a call in another thread. Who holds an asyncio.Lock is told by the `async with` of the coroutines (`holders`).
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from pellucid.kernel.memory import Unreadable
from pellucid.model.sync import Sync
from pellucid.runtimes.cpython.asyncio_tasks import Awaiting
from pellucid.runtimes.cpython.futures import tied_to
from pellucid.runtimes.cpython.sight import place_of
from pellucid.runtimes.cpython.slots import Slots
from pellucid.runtimes.cpython.standard_library import library_path, own_frame
from pellucid.runtimes.cpython.sync import Sights
from pellucid.runtimes.cpython.values import Values

_LOCKS, _QUEUES, _TASKS = "asyncio/locks.py", "asyncio/queues.py", "asyncio/tasks.py"
_RULES: dict[tuple[str, str], tuple[str, str]] = {
    (_LOCKS, "Lock.acquire"): ("lock", "asyncio.Lock"),
    (_LOCKS, "Event.wait"): ("event", "asyncio.Event"),
    (_LOCKS, "Condition.wait"): ("condition", "asyncio.Condition"),
    (_LOCKS, "Condition.wait_for"): ("condition", "asyncio.Condition"),
    (_LOCKS, "Semaphore.acquire"): ("semaphore", "asyncio.Semaphore"),
    (_LOCKS, "Barrier.wait"): ("barrier", "asyncio.Barrier"),
    (_QUEUES, "Queue.get"): ("get", "asyncio.Queue"),
    (_QUEUES, "Queue.put"): ("put", "asyncio.Queue"),
    (_QUEUES, "Queue.join"): ("queue-join", "asyncio.Queue"),
    (_TASKS, "sleep"): ("sleep", "sleep"),
    ("asyncio/threads.py", "to_thread"): ("thread", "to_thread"),
    ("asyncio/taskgroups.py", "TaskGroup.__aexit__"): ("group", "TaskGroup"),
    ("asyncio/taskgroups.py", "TaskGroup._aexit"): ("group", "TaskGroup"),
    (_TASKS, "_wait"): ("wait", "asyncio.wait"),
    (_TASKS, "wait_for"): ("wait_for", "wait_for"),
    (_TASKS, "as_completed.<locals>._wait_for_one"): ("wait", "as_completed"),
    (_TASKS, "_AsCompletedIterator._wait_for_one"): ("wait", "as_completed"),
    ("asyncio/base_subprocess.py", "BaseSubprocessTransport._wait"): ("subprocess", "child process"),
    ("asyncio/streams.py", "StreamReader._wait_for_data"): ("stream", "stream"),
    ("asyncio/base_events.py", "Server.serve_forever"): ("serve", "connections to serve"),
}
MAX_GROUP = 10_000


class TaskWait(Struct, frozen=True):
    """`on`: the addresses of the tasks that have to go on first; `every`: all of them. `role` as in `_RULES`, "task", "gather", "" .

    `thread`: the tid of the thread that computes what it waits for. `until`: CLOCK_MONOTONIC in seconds when it wakes by itself.
    """

    role: str
    sync: Sync
    at: str
    on: tuple[int, ...] = ()
    every: bool = True
    thread: int | None = None
    until: float | None = None


def wait_of(task: Awaiting, tasks: Mapping[int, Awaiting], sights: Sights) -> TaskWait | None:
    """What the task waits for; None where it is ready or runs."""
    if not task.waiter:
        return None
    own = own_frame(task.frames)
    at = place_of(own or task.frames[0]) if task.frames else ""
    if task.waiter in tasks:
        return TaskWait("task", Sync("task", tasks[task.waiter].name, "", task.waiter), at, (task.waiter,))
    values = sights.values
    try:
        if task.waiter_kind == "_GatheringFuture":
            children = values.list_items(values.named(task.waiter, "_children"), MAX_GROUP)
            pending = tuple(child for child in children if child in tasks)
            return TaskWait(
                "gather", Sync("gather", None, f"{len(pending)} of {len(children)} pending"), at, pending, False
            )
        return _by_rule(task, tasks, sights, at)
    except Unreadable:
        return TaskWait("", Sync(task.waiter_kind or "future"), at)


def _by_rule(task: Awaiting, tasks: Mapping[int, Awaiting], sights: Sights, at: str) -> TaskWait:
    found = _rule(task.frames)
    values = sights.values
    if found is None or found[0] == "thread":
        tied = tied_to(task.waiter, values)
        if tied in tasks and tied != task.address:
            return TaskWait("task", Sync("shield", tasks[tied].name, "", tied), at, (tied,))
        if tied or found is not None:
            call = sights.ordered("future", tied) if tied else None
            if call is not None:
                several = f"one of {len(call.pids)} workers" if len(call.pids) != 1 else f"pid {call.pids[0]}"
                begun = values.word(values.named(tied, "_state"), 32) == "RUNNING"
                sync = Sync("call in another process", None, f"in {several}" if begun else "not begun", tied)
                return TaskWait("thread", sync, at)
            tid = sights.computing().get(tied)
            kind = found[1] if found is not None else "call in another thread"
            detail = f"in {sights.threads[tid].name}" if tid is not None else "not begun" if tied else ""
            return TaskWait("thread", Sync(kind, None, detail, tied or None), at, thread=tid)
        name = sights.spelling.of(task.waiter, _own(task.frames)) if task.frames else None
        return TaskWait("", Sync("Future", name, "", task.waiter), at)
    role, kind, frame = found
    thing = frame.local("self")
    if role == "sleep":
        return TaskWait(role, Sync(kind), at, until=_when(frame.local("h"), values))
    if role == "serve":
        return TaskWait(role, Sync(kind), at)
    if role == "subprocess":
        pid = values.number(values.named(thing, "_pid"))
        return TaskWait(role, Sync(kind, None, f"pid {pid}"), at)
    if role == "group":
        members = values.members(values.named(thing, "_tasks"), MAX_GROUP)
        return TaskWait(
            role, Sync(kind, None, f"{len(members)} pending"), at, tuple(one for one in members if one in tasks), False
        )
    if role == "wait":
        members = _awaited(frame, values)
        detail = f"{len(members)} awaited" if members else ""
        until = _when(frame.local("timeout_handle"), values)
        pending = tuple(one for one in members if one in tasks)
        return TaskWait(role, Sync(kind, None, detail), at, pending, False, until=until)
    if role == "wait_for":
        inner = frame.local("fut")
        return TaskWait(
            role,
            Sync(kind, tasks[inner].name if inner in tasks else None),
            at,
            (inner,) if inner in tasks else (),
            False,
            until=_when(frame.local("timeout_handle"), values),
        )
    name = sights.spelling.of(thing, _own(task.frames), sights.registry.module("__main__"))
    return TaskWait(role, Sync(kind, name, _size(role, thing, sights), thing), at)


def _awaited(frame: Slots, values: Values) -> tuple[int, ...]:
    """The futures of asyncio.wait and of as_completed: a set of the frame, or of its iterator (3.13)."""
    for found in (
        frame.local("fs"),
        frame.local("todo"),
        values.named(frame.local("self"), "_todo") if frame.local("self") else 0,
    ):
        if values.name_of_kind(found) == "set":
            return values.members(found, MAX_GROUP)
    return ()


def _when(handle: int, values: Values) -> float | None:
    """When the loop calls a TimerHandle, by its clock, which is CLOCK_MONOTONIC (Lib/asyncio/base_events.py, BaseEventLoop.time)."""
    try:
        return values.real(values.named(handle, "_when")) if handle and not values.is_none(handle) else None
    except Unreadable:
        return None


def _rule(frames: Sequence[Slots]) -> tuple[str, str, Slots] | None:
    """Of the library's frames above the program's own the outermost that is known: `Queue.get` and not what it awaits."""
    found = None
    for frame in frames:
        path = library_path(frame.file)
        if path is None:
            break
        rule = _RULES.get((path, frame.qualname))
        if rule is not None:
            found = (*rule, frame)
    if found is not None and found[0] == "condition" and frames[0].qualname == "Lock.acquire":
        return (*_RULES[_LOCKS, "Lock.acquire"], frames[0])  # it was notified, and takes the condition's lock again
    return found


def _own(frames: Sequence[Slots]) -> list[Slots]:
    return [frame for frame in frames if library_path(frame.file) is None]


def _size(role: str, thing: int, sights: Sights) -> str:
    values = sights.values
    try:
        if role in {"get", "put"}:
            items, most = values.length(values.named(thing, "_queue")), values.number(values.named(thing, "_maxsize"))
            return f"{items} of max {most}" if most > 0 else "empty" if not items else f"{items} items"
        if role == "queue-join":
            return f"{values.number(values.named(thing, '_unfinished_tasks'))} unfinished"
        if role == "stream":
            return f"fd {values.number(values.named(values.named(thing, '_transport'), '_sock_fd'))}"
        if role == "semaphore":
            return f"value {values.number(values.named(thing, '_value'))}"
        waiting = values.length(values.named(thing, "_waiters"))
    except Unreadable:
        return ""
    return f"{waiting} waiter{'' if waiting == 1 else 's'}"
