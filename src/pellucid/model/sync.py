"""What a thread or task waits for, by the name that the program gives it."""

from msgspec import Struct

from pellucid.model.finding import Confidence
from pellucid.model.wait import Holder

IN_A_CALLBACK = "Handle._run (asyncio/events.py) is below this call"
"""Evidence that a thread waits inside of a callback of its event loop."""


class Sync(Struct, frozen=True):
    """A synchronisation object. `kind`: Lock, RLock, Condition, Event, Semaphore, Queue, Thread, multiprocessing.Lock, asyncio.Lock, ...

    `name` as the code calls it, `self.lock (ThreadPool.lock)`; None where no name was found. `detail`: `2 of max 2`, `value 0, 7 waiters`.
    """

    kind: str
    name: str | None = None
    detail: str = ""
    address: int | None = None

    def __str__(self) -> str:
        named = f"{self.kind} {self.name}" if self.name else self.kind
        return f"{named} [{self.detail}]" if self.detail else named


class Waiting(Struct, frozen=True):
    """One row of `pellucid waits`. `thread` is the name of the thread, task or greenlet; `at` is `bank.py:7 in transfer`.

    `since_s`: asleep for so long without waking; None where that is not known (a task). `left_s`: until it gives up by itself.
    """

    thread: str
    kind: str
    object: str | None
    since_s: float | None
    holders: tuple[Holder, ...]
    at: str
    pid: int
    tid: int | None
    call: str = ""
    what: str = "thread"
    """thread, task or greenlet."""
    role: str = ""
    """As `Blocked.role`; `read` or `write` for a wait on descriptors."""
    detail: str = ""
    timed: bool = False
    left_s: float | None = None
    daemon: bool | None = None
    steady: bool = True
    """It did not wake between the two looks."""
    evidence: tuple[str, ...] = ()
    sync: Sync | None = None
    process: str = ""
    """The name that multiprocessing gives the process, `Process-1`."""
    stopped: bool = False
    """By a signal or a tracer: nothing of the process goes on, whatever the wait is for. The kind is `stopped` where it waited for nothing."""


class Held(Struct, frozen=True):
    """Thread `tid` holds the thing; None where the one who is named as its owner is no thread of the process."""

    tid: int | None
    confidence: Confidence
    because: str
    """`inside its "with" at bank.py:5`, `RLock owner, count 1`."""
    copied: bool = False
    """It was locked when the process was forked, by a parent that could release its own copy only."""


class Ordered(Struct, frozen=True):
    """A call that was given to worker processes: of an `executor` or a `pool`, its number there, and the pids of the workers.

    `every`: it is done once all workers that have a part of it are; else one of them is enough.
    """

    to: str
    number: int
    pids: tuple[int, ...]
    every: bool = True


class Blocked(Struct, frozen=True):
    """What the runtime knows of one wait, before other processes are asked.

    `role` says what could end it: lock, rlock, condition, event, semaphore, barrier, get, put, queue-join, join, shutdown, timer, future,
    process, subprocess, pool, worker, connection, proxy, import, loop, shared-lock, native-lock. `frame`: whose rule told it.
    """

    role: str
    sync: Sync | None
    at: str
    holders: tuple[Held, ...] = ()
    joins: tuple[int, ...] = ()
    """The tids that have to end first."""
    child: int | None = None
    """The pid that has to end first."""
    semaphore: int | None = None
    """The address of the shared sem_t it sleeps on."""
    parks: bool = False
    evidence: tuple[str, ...] = ()
    task: int | None = None
    """The address of the asyncio task that has to end first."""
    until: float | None = None
    """By CLOCK_MONOTONIC, where the library itself counts the time that is left."""
    ordered: Ordered | None = None
    """The call behind a future or a result of a Pool, which processes run."""
