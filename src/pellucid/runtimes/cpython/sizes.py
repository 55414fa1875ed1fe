"""How full, how many, how far: `2 of max 2`, `value 0, 7 waiters`, `2 of 4 arrived`. From the attributes of the library's classes.

Empty where an attribute has not the shape that the library of 3.11 to 3.15 gives it (a subclass may do as it likes).
"""

from collections.abc import Callable

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.values import Values

_MAX_FUTURES = 4096
_UNBOUNDED = (1 << 31) - 1  # SEM_VALUE_MAX (limits.h)


def size(role: str, thing: int, values: Values) -> str:
    """What there is to say of the object, in a few words; "" where nothing could be read."""
    tell = _TELL.get(role)
    if tell is None or not thing:
        return ""
    try:
        return tell(thing, values)
    except Unreadable:
        return ""


def waiters(thing: int, values: Values) -> int:
    """How many threads a threading.Condition has in its queue."""
    return values.length(values.named(thing, "_waiters"))


def _condition(thing: int, values: Values) -> str:
    return _count(waiters(thing, values), "waiter")


def _event(thing: int, values: Values) -> str:
    return _count(waiters(values.named(thing, "_cond"), values), "waiter")


def _semaphore(thing: int, values: Values) -> str:
    value = values.number(values.named(thing, "_value"))
    initial = values.named(thing, "_initial_value")
    most = f" of {values.number(initial)}" if initial else ""
    return f"value {value}{most}, {_count(waiters(values.named(thing, '_cond'), values), 'waiter')}"


def _barrier(thing: int, values: Values) -> str:
    if values.named(thing, "_wrapper"):  # of multiprocessing: its count lies in shared memory
        arrived = _shared_waiters(values.named(thing, "_cond"), values)
    else:
        arrived = values.number(values.named(thing, "_count"))
    return f"{arrived} of {values.number(values.named(thing, '_parties'))} arrived"


def queued(thing: int, values: Values) -> tuple[int, int]:
    """(items, most; 0 is without bound) of a queue.Queue."""
    items = values.named(thing, "queue")
    return values.length(items), values.number(values.named(thing, "maxsize"))


def _queue(thing: int, values: Values) -> str:
    if values.kind(thing).name == "SimpleQueue":
        return ""
    items, most = queued(thing, values)
    return f"{items} of max {most}" if most > 0 else "empty" if not items else _count(items, "item")


def _unfinished(thing: int, values: Values) -> str:
    return f"{values.number(values.named(thing, 'unfinished_tasks'))} unfinished"


def _thread(thing: int, values: Values) -> str:
    return "daemon" if values.number(values.named(thing, "_daemonic")) else ""


def _future(thing: int, values: Values) -> str:
    return values.word(values.named(thing, "_state"), 32).lower()


def _slots(thing: int, values: Values) -> tuple[int, int]:
    """(value, waiters) of the sem_t behind a lock or semaphore of multiprocessing (glibc, nptl/sem_waitcommon.c: the halves of one word)."""
    word = values.pages.u64(values.pages.u64(values.named(thing, "_semlock") + values.layout["semlock.handle"]))
    return word & 0xFFFFFFFF, word >> 32


def _shared_semaphore(thing: int, values: Values) -> str:
    if "Semaphore" not in values.kind(thing).name:
        return ""
    value, waiting = _slots(thing, values)
    return f"value {value}, {_count(waiting, 'waiter')}"


def _shared_waiters(thing: int, values: Values) -> int:
    """Those that sleep in a multiprocessing.Condition and were not notified (Lib/multiprocessing/synchronize.py, Condition.wait)."""
    sleeping, woken = values.named(thing, "_sleeping_count"), values.named(thing, "_woken_count")
    return max(0, _slots(sleeping, values)[0] - _slots(woken, values)[0])


def _shared_condition(thing: int, values: Values) -> str:
    inner = values.named(thing, "_cond")  # of an Event
    return _count(_shared_waiters(inner or thing, values), "waiter")


def _shared_queue(thing: int, values: Values) -> str:
    """Its semaphore counts the free places (Lib/multiprocessing/queues.py, Queue.qsize); without a bound there are SEM_VALUE_MAX."""
    sem = values.named(thing, "_sem")
    if not sem:
        return ""  # a SimpleQueue
    most = values.number(values.named(thing, "_maxsize"))
    items = most - _slots(sem, values)[0]
    return f"{items} of max {most}" if most < _UNBOUNDED else "empty" if not items else _count(items, "item")


def _shared_unfinished(thing: int, values: Values) -> str:
    return f"{_slots(values.named(thing, '_unfinished_tasks'), values)[0]} unfinished"


def _timer(thing: int, values: Values) -> str:
    return f"interval {values.real(values.named(thing, 'interval')):g} s"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _futures(thing: int, values: Values) -> str:
    """How many of a set or list of concurrent futures are not done."""
    read = {"set": values.members, "list": values.list_items, "tuple": values.tuple_items}.get(values.kind(thing).name)
    if read is None:
        return ""
    states = [values.word(values.named(one, "_state"), 32) for one in read(thing, _MAX_FUTURES)]
    return f"{sum(state in {'PENDING', 'RUNNING'} for state in states)} of {len(states)} pending"


_TELL: dict[str, Callable[[int, Values], str]] = {
    "condition": _condition,
    "event": _event,
    "semaphore": _semaphore,
    "barrier": _barrier,
    "get": _queue,
    "put": _queue,
    "queue-join": _unfinished,
    "join": _thread,
    "future": _future,
    "futures": _futures,
    "timer": _timer,
    "shared-lock": _shared_semaphore,
    "shared-condition": _shared_condition,
    "shared-get": _shared_queue,
    "shared-put": _shared_queue,
    "shared-join": _shared_unfinished,
}
