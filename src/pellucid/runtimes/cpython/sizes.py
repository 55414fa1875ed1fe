"""How full, how many, how far: `2 of max 2`, `value 0, 7 waiters`, `2 of 4 arrived`. From the attributes of the library's classes.

Empty where an attribute has not the shape that the library of 3.11 to 3.15 gives it (a subclass may do as it likes).
"""

from collections.abc import Callable

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.values import Values


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
    return f"{values.number(values.named(thing, '_count'))} of {values.number(values.named(thing, '_parties'))} arrived"


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


def _timer(thing: int, values: Values) -> str:
    return f"interval {values.real(values.named(thing, 'interval')):g} s"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


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
    "timer": _timer,
}
