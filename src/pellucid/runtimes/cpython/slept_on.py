"""Which lock a thread sleeps on, by the address that it gave to futex(2).

Up to 3.13 that is the sem_t which Lock, RLock and SemLock point to (Modules/_threadmodule.c, Python/thread_pthread.h). From 3.14 on (for
SimpleQueue from 3.13) a thread sleeps on a semaphore of its own inside of a `struct wait_entry`, and the word before that is the address
of the lock's mutex (Python/parking_lot.c). So the object is found, not guessed: among what the innermost frames hold, it is the one
whose address is that.
"""

from collections.abc import Sequence

from pellucid.kernel.memory import Memory, Unreadable
from pellucid.runtimes.cpython.slots import Slots
from pellucid.runtimes.cpython.values import Values

LOCKS = frozenset({"lock", "RLock", "SemLock", "SimpleQueue"})
_SEARCHED = 4


class SleptOn:
    """Finds the locks of one process."""

    def __init__(self, values: Values, memory: Memory) -> None:
        self._values = values
        self._memory = memory
        self._minor = values.layout.minor

    def lock(self, frames: Sequence[Slots], futex: int) -> int:
        """The address of the lock that `futex` belongs to, among what the innermost frames hold; 0 where it is none of them."""
        parked = self._parked(futex)
        near = frames[:_SEARCHED]
        for frame in near:
            for slot in (*frame.stack, *frame.locals().values()):
                found = self._is_lock(slot, futex, parked)
                if found:
                    return found
        for frame in near:
            for value in frame.locals().values():
                found = self._among_attributes(value, futex, parked)
                if found:
                    return found
        return 0

    def _parked(self, futex: int) -> int:
        """The address that a parked thread waits for; `futex` itself where it does not park."""
        if self._minor < 13:
            return futex
        layout = self._values.layout
        try:
            return self._memory.u64(futex - layout["parked.sema"] + layout["parked.addr"])
        except Unreadable:
            return futex

    def _is_lock(self, slot: int, futex: int, parked: int) -> int:
        """The address of the lock where `slot` is it, or a method of it."""
        values = self._values
        if not slot:
            return 0
        try:
            name = values.kind(slot).name
            if name == "builtin_function_or_method":
                slot = values.pages.u64(slot + values.layout["builtin_function.m_self"])
                name = values.kind(slot).name if slot else ""
            if name not in LOCKS:
                return 0
            layout, pages = values.layout, values.pages
            if name == "SemLock":
                return slot if pages.u64(slot + layout["semlock.handle"]) == futex else 0
            if name == "SimpleQueue":
                if self._minor < 13:
                    return slot if pages.u64(slot + layout["simple_queue.lock"]) == futex else 0
                return slot if slot + layout["simple_queue.parked"] == parked else 0
            if self._minor < 14:
                field = "lock.semaphore" if name == "lock" else "rlock.semaphore"
                return slot if pages.u64(slot + layout[field]) == futex else 0
            return slot if slot + layout["lock.mutex" if name == "lock" else "rlock.mutex"] == parked else 0
        except Unreadable:
            return 0

    def _among_attributes(self, value: int, futex: int, parked: int) -> int:
        values = self._values
        try:
            if not values.kind(value).heap:
                return 0
            own = values.namespace(value).values()
            return next((found for item in own if (found := self._is_lock(item, futex, parked))), 0)
        except Unreadable:
            return 0
