"""The words for a knot: threads of which each could be woken only by others of them, so that nothing seen will ever wake any.

    consumer has waited 41 s for Queue work (empty) at etl.py:9 in consume; MainThread waits for it. ...

What they wait for tells what has gone wrong, and the remedy. Those who merely wait for another one to end are told last.
"""

from collections.abc import Sequence

from msgspec import Struct

from pellucid.diagnose.chain import listed, waited, who
from pellucid.model.graph import Node
from pellucid.model.sync import IN_A_CALLBACK

LOST_TASK = (
    "All its workers wait for work: a worker that was killed took its task with it. "
    "Remedy: concurrent.futures.ProcessPoolExecutor, which raises BrokenProcessPool then."
)
_UNDRAINED = (
    "The child can't end before its feeder thread has written everything into the pipe, and nobody reads it. "
    "Remedy: get() everything first, then join()."
)
_OWN_LOOP = (
    "The call stands inside of a callback of the loop, so that nothing of the loop goes on. "
    "Remedy: await it (asyncio.wrap_future), or wait for it in another thread."
)
_FULL = "Remedy: a thread that takes items out, a larger maxsize, or put(timeout=...)."
_EMPTY = "The producer has ended. Remedy: a last item that says so (a sentinel), or get(timeout=...)."
_SLOTS = "Whoever took the slots or should release them has ended. Remedy: `with` instead of acquire(), so that every way out releases."
_LOCK = "Remedy: `with` instead of acquire(), so that every way out releases it."
_NOTIFY = "Remedy: notify on every way out of whoever has to, or wait_for(..., timeout=...)."
_SET = "Remedy: set() on every way out of whoever has to, or wait(timeout=...)."
_RESULT = "Remedy: whoever takes over the work sets a result or an exception on every way out; or result(timeout=...)."
_DONE = "Remedy: task_done() for every get(), in a `finally`."
_LOOP = "It has no timer and no descriptor of the outside to wait for. Remedy: loop.stop() once its work is done."
_ARRIVE = "Remedy: wait(timeout=...), and abort() where a party gives up."

ENDINGS: dict[str, tuple[str, str]] = {
    "event": ("could set it", _SET),
    "condition": ("could notify it", _NOTIFY),
    "shared-condition": ("could notify or set it", _NOTIFY),
    "barrier": ("could join in there", _ARRIVE),
    "queue-join": ("could call task_done()", _DONE),
    "shared-join": ("could call task_done()", _DONE),
    "future": ("could set its result", _RESULT),
    "futures": ("could set the results", _RESULT),
    "lock": ("could release it", _LOCK),
    "rlock": ("could release it", _LOCK),
    "shared-lock": ("could release it", _LOCK),
    "get": ("could put an item", _EMPTY),
    "shared-get": ("could put an item", _EMPTY),
    "receive": ("could send", _EMPTY),
    "loop": ("could wake it", _LOOP),
}
"""Role → how the title ends, and the remedy, where all that wait do so for things of one kind."""

_JOINS = frozenset({"Thread", "Process", "child process", "child", "end of all threads", "end of its pool"})


class Knot(Struct, frozen=True):
    """What is said of it. `title` and `remedy` are whole sentences, `told` is without its full stop."""

    rule: str
    title: str
    told: str
    remedy: str


def knot(everybody: Sequence[Node], *, alone: bool) -> Knot:
    """`everybody` waits; `alone`: all are threads of one process."""
    rule, title, remedy = _shape(everybody, alone=alone)
    causes = _causes(everybody)
    told = "; ".join(f"{who(node, alone=alone)} {waited(node.waiting)}" for node in causes[:3] if node.waiting)
    others = [who(node, alone=alone) for node in everybody if node not in causes[:3]]
    if others:
        told += f"; {listed(others)} {'wait' if len(others) > 1 else 'waits'} too"
    return Knot(rule, title, told, remedy)


def _causes(everybody: Sequence[Node]) -> list[Node]:
    """Those who wait for a thing, and not only for another one's end; among them those who are at work first."""
    found = [node for node in everybody if node.waiting and node.waiting.kind not in _JOINS and not _held_up(node)]
    at_work = [node for node in found if not node.parks]
    return at_work or found or list(everybody)


def _held_up(node: Node) -> bool:
    """A task that could go on if its event loop did."""
    return _role(node) == "blocked-loop"


def _role(node: Node) -> str:
    return node.waiting.role if node.waiting else ""


def _of(nodes: Sequence[Node], *roles: str) -> list[Node]:
    return [node for node in nodes if _role(node) in roles]


def _shape(everybody: Sequence[Node], *, alone: bool) -> tuple[str, str, str]:
    """(rule, title, remedy) by what they wait for."""
    at_work = [node for node in everybody if not node.parks and node.waiting]
    kinds = {node.waiting.kind for node in everybody if node.waiting}
    joins = [node for node in at_work if node.waiting and node.waiting.kind in _JOINS]
    writes = _of(at_work, "write", "send", "feeder-send")
    others = [node for node in at_work if node not in joins and _role(node) != "pool"]
    if "Pool result" in kinds and not others:
        return "pool-lost-task", "A result of a Pool will never come", LOST_TASK
    if _of(everybody, "feeder-send") and {"Process", "child"} & kinds:
        return "join-before-drain", "A process is joined before its queue is empty", _UNDRAINED
    if len(writes) > 1:
        both = "Both directions are full. Remedy: let one side read while the other writes, or send less at a time."
        return "pipes-full", f"{_names(writes, alone=alone)} write to each other, and nobody reads", both
    if writes and {"child process", "Process", "child"} & kinds:
        unread = "A child writes to a pipe that its parent does not read while it waits for the child"
        return "pipe-unread", unread, "Remedy: communicate() instead of wait(), or read the pipe first."
    slots = [node for node in _of(at_work, "semaphore") if node.waiting and not node.waiting.holders]
    if slots:
        title = f"{_wait(slots, alone=alone)} for a slot that nobody has and nobody will give back"
        return "slots-lost", title, _SLOTS
    puts = _of(at_work, "put", "shared-put")
    if puts:
        put = "put" if len(puts) > 1 else "puts"
        return "queue-full", f"{_names(puts, alone=alone)} {put} into a full queue that nobody empties", _FULL
    loops = _beneath(everybody)
    if loops:
        title = f"{_wait(loops, alone=alone)} for what only {'their' if len(loops) > 1 else 'its'} own event loop could bring"
        return "event-loop-blocked", title, _OWN_LOOP
    starved = _starved(everybody)
    if starved:
        title = f"{_names(starved, alone=alone)} computes one future and waits for another that nobody has begun"
        return (
            "executor-starved",
            title,
            "Remedy: no task waits for a task of its own executor, or it has more threads.",
        )
    gets = _of(everybody, "get", "shared-get", "receive")
    if gets and joins and not others:
        return "queue-empty", f"{_wait(gets, alone=alone)} for an item that nobody will put", _EMPTY
    wanting = _wanting(everybody)
    if wanting:
        title = f"Looks like a deadlock: {_wait(wanting, alone=alone)} for a lock whose holder waits for them"
        return "deadlock", title, "Remedy: release the lock before waiting for those who need it."
    causes = _causes(everybody)
    roles = {_role(node) for node in causes}
    end, remedy = ENDINGS.get(
        roles.pop() if len(roles) == 1 else "", ("could wake " + ("them" if len(causes) > 1 else "it"), "")
    )
    return "stuck", f"{_wait(causes, alone=alone)}, and nobody is left who {end}", remedy


def _beneath(everybody: Sequence[Node]) -> list[Node]:
    """The threads that hold up an event loop."""
    held_up = {waker.key for node in everybody if _held_up(node) for waker in node.wakers}
    causes = _causes(everybody)
    alone = [node for node in causes if len(causes) == 1 and _in_a_callback(node)]
    return [node for node in everybody if node.key in held_up] or alone


def _in_a_callback(node: Node) -> bool:
    """It waits there for a future that nobody has begun: one that was handed to the loop itself."""
    waiting = node.waiting
    pending = waiting is not None and waiting.role == "future" and waiting.detail == "pending" and not waiting.holders
    return pending and waiting is not None and IN_A_CALLBACK in waiting.evidence


def _wanting(everybody: Sequence[Node]) -> list[Node]:
    """Those who wait for a lock that another of them holds."""
    keys = {node.key for node in everybody}
    lockers = [node for node in _of(everybody, "lock", "rlock", "shared-lock") if node.mode == "and"]
    return [node for node in lockers if any(waker.key in keys for waker in node.wakers)]


def _starved(everybody: Sequence[Node]) -> list[Node]:
    """Threads that compute a future somebody waits for, and wait for one that is still pending."""
    waiting = _of(everybody, "future")
    computing = {waker.key for node in waiting for waker in node.wakers if waker.confidence == "certain"}
    return [node for node in waiting if node.key in computing and node.waiting and node.waiting.detail == "pending"]


def _names(nodes: Sequence[Node], *, alone: bool) -> str:
    return listed([who(node, alone=alone) for node in nodes])


def _wait(nodes: Sequence[Node], *, alone: bool) -> str:
    return f"{_names(nodes, alone=alone)} {'wait' if len(nodes) > 1 else 'waits'}"
