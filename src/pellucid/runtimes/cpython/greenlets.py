"""Greenlets that are switched out, with their frames: gevent's and others'.

No list names them, but the garbage collector knows every one: its generations are lists that begin in the interpreter
(Include/internal/pycore_gc.h). A switched-out greenlet keeps its topmost frame object among the words of its C++ half
(src/greenlet/TPythonState.cpp, _top_frame); which word that is differs between versions of greenlet, so the one that is a frame is taken.
Code that Cython compiled has no frames: what a greenlet waits for is told by what its innermost call works on.
"""

from collections.abc import Iterator
from struct import unpack_from

from msgspec import Struct

from pellucid.kernel.memory import Unreadable
from pellucid.runtimes.cpython.holders import Hold, holds
from pellucid.runtimes.cpython.layouts.opcodes import NUMBERS
from pellucid.runtimes.cpython.slots import Slots
from pellucid.runtimes.cpython.sync import Sights

MAX_OBJECTS = 5_000_000
MAX_GREENLETS = 100_000
MAX_DEPTH = 200
_GENERATIONS = 3
_WORDS = 40
_HALF = 32  # PyGreenlet: ob_base, weakreflist, dict, pimpl (src/greenlet/greenlet.h)
_LINK_FLAGS = ~3  # the two low bits of a link of the collector are its own


class SwitchedOut(Struct, frozen=True):
    """One greenlet. `name` is the function that it runs; `on`: (address, kind) of what it seems to wait for, None where nothing tells it."""

    address: int
    kind: str
    name: str
    frames: tuple[Slots, ...]
    on: tuple[int, str] | None
    owner: int = 0
    """The greenlet that has the RLock which it waits for, as the lock itself says."""
    timed: bool = False
    """It was called with arguments, which may be a timeout; or it is inside of a `with gevent.Timeout`."""


def greenlets(sights: Sights) -> tuple[SwitchedOut, ...]:
    """Those that have started and are switched out; empty where greenlet was never imported."""
    if not sights.registry.module("greenlet"):
        return ()
    found: list[SwitchedOut] = []
    for address in _of_kind(sights, "greenlet"):
        try:
            one = _greenlet(address, sights)
        except Unreadable:
            continue
        if one is not None and len(found) < MAX_GREENLETS:
            found.append(one)
    return tuple(found)


def again(known: tuple[SwitchedOut, ...], sights: Sights) -> frozenset[int]:
    """The addresses of those that are still where they were."""
    found = set()
    for one in known:
        try:
            now = _greenlet(one.address, sights)
        except Unreadable:
            continue
        if now is not None and _footprint(now) == _footprint(one):
            found.add(one.address)
    return frozenset(found)


def _footprint(one: SwitchedOut) -> tuple[object, ...]:
    return one.on, tuple((frame.address, frame.unit) for frame in one.frames)


def holds_of(one: SwitchedOut, sights: Sights) -> Iterator[Hold]:
    """What the greenlet is inside of; `who` is its address."""
    return holds(one.address, one.frames, sights.values, sights.opener)


def _of_kind(sights: Sights, base: str) -> Iterator[int]:
    """Every object that the collector tracks and whose type inherits from `base`."""
    values, layout = sights.values, sights.values.layout
    wanted: dict[int, bool] = {}
    count = 0
    for interpreter in dict.fromkeys(
        values.pages.u64(raw.state + layout["thread_state.interp"]) for raw in sights.python.raw
    ):
        for generation in range(_GENERATIONS):
            head = interpreter + layout["interpreter_state.gc_generations"] + generation * layout["gc_generation.size"]
            try:
                link = values.pages.u64(head) & _LINK_FLAGS
                while link and link != head and count < MAX_OBJECTS:
                    count += 1
                    address = link + layout["pyobject.size"]  # PyGC_Head has two words, as PyObject
                    kind = values.type_of(address)
                    if kind not in wanted:
                        wanted[kind] = base in values.bases(values.kind(address))
                    if wanted[kind]:
                        yield address
                    link = values.pages.u64(link) & _LINK_FLAGS
            except Unreadable:
                continue  # the list moved on: what was found so far is true


def _greenlet(address: int, sights: Sights) -> SwitchedOut | None:
    values, layout = sights.values, sights.values.layout
    half = values.pages.u64(address + _HALF)
    words = unpack_from(f"<{_WORDS}Q", values.pages.read(half, 8 * _WORDS))
    top = next((word for word in words if word > 4096 and not word & 7 and values.name_of_kind(word) == "frame"), 0)
    if not top:
        return None  # it runs, has not started, or has ended
    frames: list[Slots] = []
    at = values.pages.u64(top + layout["frame_object.f_frame"])
    while at and len(frames) < MAX_DEPTH:
        frame = sights.opener.frame_at(at)
        if frame is not None:
            frames.append(frame)
        at = values.pages.u64(at + layout["interpreter_frame.previous"])
    kind = values.kind(address).name
    if not frames or kind == "Hub":
        return None
    again = _in_rlock(frames, sights)
    on = (again, "RLock") if again else _works_on(frames[0], sights)
    timed = _timed(frames[1:] if again else frames, sights)
    return SwitchedOut(address, kind, frames[-1].qualname, tuple(frames), on, _owner(again, sights), timed)


def _timed(frames: list[Slots], sights: Sights) -> bool:
    """Whether the innermost call has arguments (`acquire(timeout=5)`, where `with` gives none), or a Timeout of gevent is around it."""
    values = sights.values
    if any(values.name_of_kind(hold.thing) == "Timeout" for hold in holds(0, frames, values, sights.opener)):
        return True
    if not frames:
        return False
    innermost = frames[0]
    calls = NUMBERS.get(values.layout.minor, {})
    number, argument = values.pages.read(innermost.shape.instructions + 2 * innermost.unit, 2)
    called = (*calls.get("CALL", ()), *calls.get("PRECALL", ()))
    return (number in called and argument > 0) or number in calls.get("CALL_KW", ())


def _in_rlock(frames: list[Slots], sights: Sights) -> int:
    """The RLock of gevent whose `acquire` waits, which it does for a Semaphore of its own (gevent/lock.py); 0 where none does."""
    innermost = frames[0]
    if innermost.qualname != "RLock.acquire" or not innermost.file.endswith("/gevent/lock.py"):
        return 0
    thing = innermost.local("self")
    return thing if thing and sights.values.name_of_kind(thing) == "RLock" else 0


def _owner(rlock: int, sights: Sights) -> int:
    return sights.values.named(rlock, "_owner") if rlock else 0


def _works_on(frame: Slots, sights: Sights) -> tuple[int, str] | None:
    """The object of gevent that the innermost frame has as an operand, where there is only one; else the one greenlet, as in `other.join()`."""
    if frame.qualname == "sleep" and frame.file.endswith("/gevent/hub.py"):
        return 0, "timer"
    values = sights.values
    found: dict[int, str] = {}
    others: dict[int, str] = {}
    entered = set(frame.live())
    for slot in frame.stack:
        if not slot or slot in entered:
            continue
        try:
            kind = values.kind(slot)
            owner = {"builtin_function_or_method": "builtin_function.m_self", "method": "method.im_self"}.get(kind.name)
            if owner is not None:
                slot = values.pages.u64(slot + values.layout[owner])
                kind = values.kind(slot) if slot else kind
            if kind.full_name.startswith("gevent."):
                (others if "greenlet" in values.bases(kind) else found)[slot] = kind.name
        except Unreadable:
            continue
    if len(found) == 1:
        return next(iter(found.items()))
    return (next(iter(others)), "greenlet") if len(others) == 1 and not found else None
