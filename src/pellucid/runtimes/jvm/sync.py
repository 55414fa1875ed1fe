"""What a Java thread waits for, by the library function that waits and the class of the object: `LinkedBlockingQueue.take`, a monitor.

Who holds a monitor stands in the same dump (`- locked <...>`). Who holds a Lock of java.util.concurrent is told by a dump with its
synchronizers, and always of those that are part of a deadlock.
"""

from collections.abc import Mapping

from msgspec import Struct

from pellucid.model import Frame
from pellucid.model.sync import Blocked, Held, Sync
from pellucid.runtimes.jvm.threads import Dump, JavaThread, Thing

_LOCKS = "java.util.concurrent.locks."
_OF_SYNC = {
    _LOCKS + "ReentrantLock": ("ReentrantLock", "lock"),
    _LOCKS + "ReentrantReadWriteLock": ("ReentrantReadWriteLock", "lock"),
    _LOCKS + "StampedLock": ("StampedLock", "shared"),
    "java.util.concurrent.CountDownLatch": ("CountDownLatch", "event"),
    "java.util.concurrent.Semaphore": ("Semaphore", "semaphore"),
    "java.util.concurrent.FutureTask": ("Future", "future"),
    "java.util.concurrent.CompletableFuture": ("CompletableFuture", "future"),
    "java.util.concurrent.ForkJoinPool": ("work for its pool", "worker"),
    "java.util.concurrent.Phaser": ("Phaser", "barrier"),
    "java.util.concurrent.Exchanger": ("Exchanger", "barrier"),
    "java.util.concurrent.SynchronousQueue": ("SynchronousQueue", "get"),
    _LOCKS + "AbstractQueuedSynchronizer$ConditionObject": ("Condition", "condition"),
    _LOCKS + "AbstractQueuedLongSynchronizer$ConditionObject": ("Condition", "condition"),
}
"""Class of the object that a thread parks for (its outer class, where it is a part of one) → what it is called, role."""

_PENDING = "java.lang.ref.Reference.waitForReferencePendingList"
_FUNCTIONS: dict[str, tuple[str, str]] = {
    _PENDING: ("references to clear", "service"),
    "java.util.concurrent.ThreadPoolExecutor.getTask": ("work for its executor", "worker"),
    "java.util.concurrent.ForkJoinPool.awaitWork": ("work for its pool", "worker"),
    "java.util.concurrent.CyclicBarrier.dowait": ("CyclicBarrier", "barrier"),
    "java.util.TimerThread.mainLoop": ("Timer", "timer"),
    "java.util.concurrent.FutureTask.get": ("Future", "future"),
    "java.util.concurrent.CompletableFuture.get": ("CompletableFuture", "future"),
    "java.util.concurrent.CompletableFuture.join": ("CompletableFuture", "future"),
    "java.util.concurrent.CountDownLatch.await": ("CountDownLatch", "event"),
    "java.lang.Thread.join": ("Thread", "join"),
    "java.lang.Process.waitFor": ("child process", "subprocess"),
    "java.lang.ProcessImpl.waitFor": ("child process", "subprocess"),
    "java.lang.ref.Reference.tryHandlePending": ("references to clear", "service"),
    "java.lang.ref.Reference$ReferenceHandler.run": ("references to clear", "service"),
    "java.lang.ref.ReferenceQueue.remove": ("references to clear", "service"),
    "java.lang.ref.ReferenceQueue.remove0": ("references to clear", "service"),
}
_QUEUES = ("Queue", "Deque", "DelayedWorkQueue")
_TAKES, _PUTS = (
    frozenset({"take", "poll", "takeFirst", "takeLast", "pollFirst"}),
    frozenset({"put", "offer", "putLast"}),
)
_PARKS = frozenset({"worker", "get", "service", "timer", "condition", "monitor-wait"})
_DEPTH = 16


class Owner(Struct, frozen=True):
    """The thread that holds a thing, and how that is known."""

    tid: int
    because: str


def owners(dump: Dump, by_tid: Mapping[int, JavaThread]) -> dict[int, Owner]:
    """Address of each monitor and synchronizer that is held → by whom."""
    found: dict[int, Owner] = {}
    names: dict[str, int | None] = {}
    for tid, thread in by_tid.items():
        names[thread.name] = None if thread.name in names else tid  # a name that two threads have tells nothing
        for one in thread.monitors:
            if one != thread.thing:
                found[one.address] = Owner(tid, f"it has locked the monitor <{one.address:#x}>")
        for one in thread.synchronizers:
            found[one.address] = Owner(tid, f"it owns the synchronizer <{one.address:#x}>")
    for address, name in dump.held_by.items():
        holder = names.get(name)
        if holder is not None:
            found.setdefault(address, Owner(holder, "the JVM itself says so, of a deadlock"))
    return found


def blocked(thread: JavaThread, held: Mapping[int, Owner], at: str) -> Blocked | None:
    """None for a thread that waits for nothing of the program (it runs, sleeps, or is in a system call)."""
    if thread.way is None or thread.thing is None:
        return _in_native(thread, at)
    kind, role = _named(thread, thread.thing)
    owner = held.get(thread.thing.address)
    sync = Sync(kind=kind, name=_name(thread.thing, kind), address=thread.thing.address)
    holders = (Held(owner.tid, "certain", owner.because),) if owner is not None and role in {"rlock", "lock"} else ()
    return Blocked(
        role=role,
        sync=sync,
        at=at,
        holders=holders,
        parks=role in _PARKS,
        evidence=(
            f"thread dump: {thread.state} ({thread.detail}) for <{thread.thing.address:#x}>, a {thread.thing.type}",
        ),
    )


def _in_native(thread: JavaThread, at: str) -> Blocked | None:
    """A thread of the JVM's library that waits in the JVM itself, which calls that running (the Reference Handler, since JDK 9)."""
    if not thread.frames or thread.frames[0].qualname != _PENDING:
        return None
    kind, role = _FUNCTIONS[_PENDING]
    return Blocked(role=role, sync=Sync(kind=kind), at=at, parks=True, evidence=(f"thread dump: it is in {_PENDING}",))


def exclusive(thread: JavaThread) -> bool:
    """It waits for a Lock of java.util.concurrent, whose holder only a dump with synchronizers tells."""
    return thread.way == "park" and thread.thing is not None and _of_type(thread.thing.type)[1] == "lock"


def _named(thread: JavaThread, thing: Thing) -> tuple[str, str]:
    """(what it is called, role)."""
    if thread.way == "enter":
        return "monitor", "rlock"
    for frame in thread.frames[:_DEPTH]:
        known = _FUNCTIONS.get(frame.qualname)
        if known is not None:
            return known
        of_queue = _queue(frame)
        if of_queue is not None:
            return of_queue
        if not _library(frame):
            break
    if thread.way == "wait":
        return "notify of", "monitor-wait"
    return _of_type(thing.type)


def _of_type(name: str) -> tuple[str, str]:
    known = _OF_SYNC.get(name)
    if known is None:
        known = _OF_SYNC.get(name.partition("$")[0])
    return known if known is not None else (name.rpartition(".")[2], "other")


def _queue(frame: Frame) -> tuple[str, str] | None:
    owner, _, method = frame.qualname.rpartition(".")
    simple = owner.rpartition(".")[2].rpartition("$")[2]
    if not owner.startswith("java.util.concurrent.") or not simple.endswith(_QUEUES):
        return None
    if method in _TAKES and simple != "DelayedWorkQueue":
        return simple, "get"
    return (simple, "put") if method in _PUTS else None


def _library(frame: Frame) -> bool:
    return not frame.own


def _name(thing: Thing, kind: str) -> str:
    return f"{thing.type} <{thing.address:#x}>" if kind in {"monitor", "notify of"} else f"<{thing.address:#x}>"
