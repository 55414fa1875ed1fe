"""The locks of multiprocessing that a process has: which shared semaphore each is, and whether this process holds it.

Each process has a SemLock of its own over the one sem_t in shared memory (Modules/_multiprocessing/semaphore.c). `count` is how often this
process took it less how often it gave it back, `last_tid` the thread that took it last. They are found through
multiprocessing.util._afterfork_registry, where a lock registers itself when it is made; those that a child of spawn or forkserver
unpickled are not there, and are found in the local variables of its frames and in what these lead to.
"""

from collections.abc import Iterator

from msgspec import Struct

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.slots import Slots
from pellucid.runtimes.cpython.standard_library import library_path
from pellucid.runtimes.cpython.sync import Sights
from pellucid.runtimes.cpython.values import Values

MAX_LOCKS = 4096
_SEARCHED = 60
"""Local variables of a frame, and attributes of an object, that are followed."""
_MAX_GLOBALS = 4000

_CLASSES = frozenset({"Lock", "RLock", "Semaphore", "BoundedSemaphore"})
_OWNERS = frozenset({"Queue", "JoinableQueue", "SimpleQueue", "Condition", "Event", "Barrier", "Pool", "_SafeQueue"})


class SharedLock(Struct, frozen=True):
    """One SemLock. `handle` is the address of its sem_t; `kind`: the class of multiprocessing that wraps it, "" where that was not seen.

    `role`: `Queue._sem` for a lock that another object of multiprocessing made for itself, else "".
    """

    thing: int
    handle: int
    kind: str
    count: int
    last_ident: int
    most: int
    recursive: bool
    value: int
    waiting: int
    role: str = ""


def shared_locks(sights: Sights) -> tuple[SharedLock, ...]:
    """All that were found, each SemLock once."""
    found: dict[int, SharedLock] = {}
    for wrapper, role in _wrappers(sights):
        if len(found) >= MAX_LOCKS:
            break
        try:
            lock = _read(wrapper, role, sights.values)
        except Unreadable:
            continue
        if lock is not None and (lock.thing not in found or not found[lock.thing].kind):
            found[lock.thing] = lock
    return tuple(found.values())


def _read(wrapper: int, role: str, values: Values) -> SharedLock | None:
    """The SemLock itself, or what has one as `_semlock`."""
    kind = values.kind(wrapper)
    thing, name = (wrapper, "") if _is_c(values, wrapper) else (0, kind.name)
    if not thing:
        thing = values.named(wrapper, "_semlock")
    if not thing:
        return None
    layout, pages = values.layout, values.pages
    handle = pages.u64(thing + layout["semlock.handle"])
    word = pages.u64(handle)  # glibc: the value below, the number of waiters above (nptl/sem_waitcommon.c)
    return SharedLock(
        thing=thing,
        handle=handle,
        kind=name,
        count=_signed(pages.u32(thing + layout["semlock.count"])),
        last_ident=pages.u64(thing + layout["semlock.last_tid"]),
        most=_signed(pages.u32(thing + layout["semlock.maxvalue"])),
        recursive=pages.u32(thing + layout["semlock.kind"]) == 0,
        value=word & 0xFFFFFFFF,
        waiting=word >> 32,
        role=role,
    )


def _is_c(values: Values, thing: int) -> bool:
    return values.kind(thing).full_name.startswith("_multiprocessing")


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


def _wrappers(sights: Sights) -> Iterator[tuple[int, str]]:
    """(address, role) of what may be or have a SemLock: objects that made locks for themselves first, since they tell the role."""
    registered = list(_registered(sights))
    reached = list(_reached(sights))
    for thing in (*registered, *reached):
        yield from _inside(thing, sights.values)
    for thing in (*registered, *reached):
        yield thing, ""


def _inside(thing: int, values: Values) -> Iterator[tuple[int, str]]:
    try:
        kind = values.kind(thing)
        if kind.name not in _OWNERS or not kind.heap:
            return
        own = values.namespace(thing)
    except Unreadable:
        return
    for name, value in own.items():
        part = values.name_of_kind(value)
        if part in _CLASSES:
            yield value, f"{kind.name}.{name}"
        elif part in _OWNERS:
            yield from _inside_part(value, f"{kind.name}.{name}", values)


def _inside_part(thing: int, role: str, values: Values) -> Iterator[tuple[int, str]]:
    """One level more: the lock of a queue's condition."""
    try:
        yield from (
            (value, role) for value in values.namespace(thing).values() if values.name_of_kind(value) in _CLASSES
        )
    except Unreadable:
        return


def _registered(sights: Sights) -> Iterator[int]:
    """The objects of _afterfork_registry: its keys are (number, id(object), function)."""
    values = sights.values
    try:
        registry = sights.registry.variable("multiprocessing.util", "_afterfork_registry")
        data = values.named(registry, "data") if registry else 0
        items = list(values.items(data))[:MAX_LOCKS] if data else []
    except Unreadable:
        return
    for key, _ in items:
        try:
            parts = values.tuple_items(key, 8)
            yield values.number(parts[1])
        except (Unreadable, IndexError):
            continue


def _reached(sights: Sights) -> Iterator[int]:
    """The locals of all frames and the globals of the program's own, what these have as attributes, and what is inside of a `with`."""
    values = sights.values
    known: set[int] = set()
    spaces: set[int] = set()
    for sight in sights.threads.values():
        for frame in (*sight.frames, *sight.copied):
            several = list(frame.locals().values())[:_SEARCHED]
            if library_path(frame.file) is None:
                several += _globals(frame, sights, spaces)
            for value in several:
                if value not in known:
                    known.add(value)
                    yield from _at(value, values)
    yield from sights.holders.holds()


def _globals(frame: Slots, sights: Sights, known: set[int]) -> list[int]:
    """Those of the frame's module, once."""
    try:
        space = sights.opener.globals(frame)
        if space in known:
            return []
        known.add(space)
        return [value for _, value in sights.values.items(space)][:_MAX_GLOBALS]
    except Unreadable:
        return []


def _at(value: int, values: Values) -> Iterator[int]:
    """The object itself, or what an instance of some other class has."""
    name = values.name_of_kind(value)
    if name in _CLASSES or name in _OWNERS or name == "SemLock":
        yield value
    elif name == "builtin_function_or_method":  # `lock.acquire` itself, as Pool's workers keep it
        yield from _method_of(value, values)
    else:
        try:
            own = list(values.namespace(value).values())[:_SEARCHED] if values.kind(value).heap else []
        except Unreadable:
            return
        yield from (each for each in own if values.name_of_kind(each) in _CLASSES | _OWNERS)


def _method_of(value: int, values: Values) -> Iterator[int]:
    try:
        owner = values.pages.u64(value + values.layout["builtin_function.m_self"])
    except Unreadable:
        return
    if values.name_of_kind(owner) == "SemLock":
        yield owner
