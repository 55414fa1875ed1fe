"""Which functions of the standard library wait, and for what: `queue.py Queue.get` waits for an item of `self`.

A rule names the file below the library's folder, the qualified name, the role of the wait, the local variable that holds the object, and
whether a healthy thread may wait there for ever. Of the library's frames above the program's own code the outermost rule wins:
`Queue.get` and not the `Condition.wait` that it is made of.
"""

from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from pellucid.runtimes.cpython.slots import Slots


class Rule(Struct, frozen=True):
    """`object`: the local variable; "" where there is none. `parks`: idle there is healthy."""

    role: str
    object: str = "self"
    parks: bool = False
    kind: str = ""
    """How the object is called where its class does not tell."""
    within: frozenset[str] | None = None
    """Of a loop: the files that the frames above it may belong to for the loop itself to be what waits."""
    calls: bool = False
    """Of a loop: it calls the program's function itself, which may be one of C: innermost of all it is at work, and not idle."""


_THREADING, _QUEUE, _FUTURES = "threading.py", "queue.py", "concurrent/futures/_base.py"
_POOL, _MP_QUEUES, _CONNECTION = "multiprocessing/pool.py", "multiprocessing/queues.py", "multiprocessing/connection.py"
_IMPORT = "<frozen importlib._bootstrap>"

_LOOPS = frozenset({"worker", "service", "feeder", "loop"})
_HELPERS = frozenset({_THREADING, _QUEUE, _MP_QUEUES, _CONNECTION, "multiprocessing/synchronize.py", "selectors.py"})

_FEEDING = Rule("feeder-send", "", kind="room in the pipe of a multiprocessing.Queue")
"""The feeder thread of a queue that writes, and has nowhere to write to."""

RULES: dict[tuple[str, str], Rule] = {
    (_THREADING, "Condition.wait"): Rule("condition", parks=True),
    (_THREADING, "Condition.wait_for"): Rule("condition", parks=True),
    (_THREADING, "Semaphore.acquire"): Rule("semaphore"),
    (_THREADING, "Event.wait"): Rule("event", parks=True),
    (_THREADING, "Barrier.wait"): Rule("barrier"),
    (_THREADING, "Barrier._wait"): Rule("barrier"),
    (_THREADING, "Barrier._enter"): Rule("barrier"),
    (_THREADING, "Thread.join"): Rule("join", kind="Thread"),
    (_THREADING, "Thread._wait_for_tstate_lock"): Rule("join", kind="Thread"),
    (_THREADING, "_shutdown"): Rule("shutdown", ""),
    (_THREADING, "Timer.run"): Rule("timer", parks=True, kind="Timer"),
    (_QUEUE, "Queue.get"): Rule("get", parks=True),
    (_QUEUE, "Queue.put"): Rule("put"),
    (_QUEUE, "Queue.join"): Rule("queue-join"),
    (_FUTURES, "Future.result"): Rule("future"),
    (_FUTURES, "Future.exception"): Rule("future"),
    (_FUTURES, "wait"): Rule("futures", "fs", kind="futures"),
    (_FUTURES, "as_completed"): Rule("futures", "fs", kind="futures"),
    ("concurrent/futures/thread.py", "_worker"): Rule("worker", "", parks=True, kind="work for its executor"),
    ("concurrent/futures/process.py", "_process_worker"): Rule(
        "worker", "", parks=True, kind="work for its executor", calls=True
    ),
    ("concurrent/futures/process.py", "_ExecutorManagerThread.wait_result_broken_or_wakeup"): Rule(
        "service", parks=True
    ),
    ("subprocess.py", "Popen.wait"): Rule("subprocess", kind="child process"),
    ("subprocess.py", "Popen._wait"): Rule("subprocess", kind="child process"),
    ("subprocess.py", "Popen.communicate"): Rule("subprocess", kind="child process"),
    ("subprocess.py", "Popen._communicate"): Rule("subprocess", kind="child process"),
    ("multiprocessing/process.py", "BaseProcess.join"): Rule("process", kind="Process"),
    (_POOL, "ApplyResult.wait"): Rule("pool", kind="Pool result"),
    (_POOL, "ApplyResult.get"): Rule("pool", kind="Pool result"),
    (_POOL, "IMapIterator.next"): Rule("pool", kind="Pool result"),
    (_POOL, "worker"): Rule("worker", "", parks=True, kind="work for its pool", calls=True),
    (_POOL, "Pool.join"): Rule("pool-join", kind="end of its pool"),
    **{
        (_POOL, f"Pool.{name}"): Rule(
            "service", "", parks=True, kind="requests to serve", within=_HELPERS | frozenset({_POOL})
        )
        for name in ("_handle_workers", "_handle_tasks", "_handle_results")
    },
    (_MP_QUEUES, "Queue.get"): Rule("shared-get", parks=True, kind="multiprocessing.Queue"),
    (_MP_QUEUES, "Queue.put"): Rule("shared-put", kind="multiprocessing.Queue"),
    (_MP_QUEUES, "JoinableQueue.join"): Rule("shared-join", kind="multiprocessing.JoinableQueue"),
    (_MP_QUEUES, "Queue._feed"): Rule("feeder", "", parks=True, kind="multiprocessing.Queue"),
    (_MP_QUEUES, "SimpleQueue.get"): Rule("shared-get", parks=True, kind="multiprocessing.SimpleQueue"),
    (_MP_QUEUES, "SimpleQueue.put"): Rule("shared-put", kind="multiprocessing.SimpleQueue"),
    ("multiprocessing/synchronize.py", "SemLock.__enter__"): Rule("shared-lock"),
    ("multiprocessing/synchronize.py", "Condition.wait"): Rule(
        "shared-condition", parks=True, kind="multiprocessing.Condition"
    ),
    ("multiprocessing/synchronize.py", "Condition.wait_for"): Rule(
        "shared-condition", parks=True, kind="multiprocessing.Condition"
    ),
    ("multiprocessing/synchronize.py", "Event.wait"): Rule(
        "shared-condition", parks=True, kind="multiprocessing.Event"
    ),
    ("multiprocessing/managers.py", "BaseProxy._callmethod"): Rule("proxy", kind="Manager proxy"),
    ("multiprocessing/managers.py", "Server.serve_client"): Rule(
        "service", "", parks=True, kind="requests to serve", within=frozenset({_CONNECTION})
    ),
    ("multiprocessing/managers.py", "Server.accepter"): Rule("service", "", parks=True, kind="requests to serve"),
    ("multiprocessing/managers.py", "Server.serve_forever"): Rule("service", "", parks=True, kind="requests to serve"),
    **{
        (_CONNECTION, f"{kind}.{name}"): Rule(role, kind="multiprocessing.Connection", parks=role == "receive")
        for kind in ("Connection", "_ConnectionBase")
        for name, role in (
            ("poll", "receive"),
            ("recv", "receive"),
            ("recv_bytes", "receive"),
            ("recv_bytes_into", "receive"),
            ("send", "send"),
            ("send_bytes", "send"),
        )
    },
    ("asyncio/base_events.py", "BaseEventLoop._run_once"): Rule("loop", parks=True, kind="event loop"),
    ("multiprocessing/resource_tracker.py", "main"): Rule("service", "", parks=True, kind="requests to serve"),
    ("multiprocessing/forkserver.py", "main"): Rule("service", "", parks=True, kind="requests to serve"),
    ("socketserver.py", "BaseServer.serve_forever"): Rule("service", "", parks=True, kind="requests to serve"),
    (_IMPORT, "_ModuleLock.acquire"): Rule("import", kind="import lock"),
}


@lru_cache(1 << 12)
def library_path(file: str) -> str | None:
    """`queue.py` for /usr/lib/python3.13/queue.py; None for a file of the program or of an installed package."""
    if file.startswith("<frozen"):
        return file
    _, found, below = file.partition("/lib/python3.")
    if not found or "site-packages/" in below or "dist-packages/" in below:
        return None
    return below.partition("/")[2] or None


def rule_of(frames: Sequence[Slots]) -> tuple[Rule, Slots, int] | None:
    """(the rule, its frame, its place) of the wait that these frames are in; None where the innermost code is the program's own."""
    found: tuple[Rule, Slots, int] | None = None
    for place, frame in enumerate(frames):
        path = library_path(frame.file)
        if path is None:
            break
        rule = RULES.get((path, frame.qualname))
        if (
            rule is not None
            and rule.role == "feeder"
            and any(library_path(each.file) == _CONNECTION for each in frames[:place])
        ):
            rule = _FEEDING
        if rule is not None and (rule.role not in _LOOPS or _waits_itself(rule, frames[:place])):
            found = rule, frame, place
    return found


def _waits_itself(rule: Rule, inner: Sequence[Slots]) -> bool:
    """A loop that serves others is idle only where it waits itself: an executor's `_worker` may be far below a call of the program."""
    if rule.calls and not inner:
        return False
    return all(library_path(frame.file) in (rule.within or _HELPERS) for frame in inner)


def own_frame(frames: Sequence[Slots]) -> Slots | None:
    """The innermost frame of the program's own code."""
    return next(
        (frame for frame in frames if library_path(frame.file) is None and not frame.file.startswith("<")), None
    )
