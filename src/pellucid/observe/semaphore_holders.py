"""Who holds a lock of multiprocessing: the process whose own SemLock over the same shared memory counts that it took it.

A Lock or RLock of multiprocessing that is taken (value 0) is held by the one process whose `count` is positive. Where no process that maps
it counts so, the one that held it has ended without releasing. A Semaphore may be released by whoever likes. A bare fork copies the
count with all else, so that it proves something only where every process that maps the semaphore was read.
"""

from collections.abc import Mapping

from msgspec import Struct

from pellucid.model.graph import Waker
from pellucid.model.sync import Blocked
from pellucid.observe.blocked import Seen
from pellucid.observe.ends import Ends, Key
from pellucid.observe.need import LIVE, Need, all_of, any_of, nothing
from pellucid.runtimes.cpython.semaphores import SharedLock

_MAX_HIDDEN = 8
_LOCKS = frozenset({"Lock", "RLock"})


class _Entry(Struct, frozen=True):
    """One process's own count of a shared semaphore."""

    pid: int
    lock: SharedLock


class SemaphoreHolders:
    """The SemLocks of all processes that were looked at, by the semaphore that they share."""

    def __init__(self, seen: Mapping[int, Seen], ends: Ends) -> None:
        self._seen = seen
        self._ends = ends
        self._entries: dict[Key, list[_Entry]] = {}
        self._waited = {key for each in seen.values() for key in ends.semaphores(each).values()}
        if self._waited:
            for each in seen.values():
                self._collect(each)

    def _collect(self, each: Seen) -> None:
        for lock in each.shared_locks():
            key = self._ends.key_of(each.pid, lock.handle)
            if key in self._waited and key is not None:
                self._entries.setdefault(key, []).append(_Entry(each.pid, lock))

    def needs(self, each: Seen, blocked: Blocked) -> Need | None:
        """What ends a wait for a shared semaphore; None where the thread sleeps on nothing shared."""
        if blocked.semaphore is None:
            return None
        key = self._ends.key_of(each.pid, blocked.semaphore)
        if key is None:
            return None
        entries = self._entries.get(key, [])
        mappers = self._ends.mappers(key)
        anybody = tuple(
            Waker(f"{pid}/any", "possible", f"pid {pid} maps the same semaphore")
            for pid in sorted({*self._ends.may_map(key), each.pid})
        )
        anybody += tuple(
            Waker(f"{pid}/any", "possible", f"pid {pid} may map it, and could not be read")
            for pid in self._ends.hidden_mappers(key)[:_MAX_HIDDEN]
        )
        if self._slots_lost(key, entries, mappers):
            return nothing(_lost(mappers), "slots-lost")
        if not self._is_lock(entries):
            held = tuple(
                Waker(f"{entry.pid}/any", "likely", f"pid {entry.pid} took {entry.lock.count} of it")
                for entry in entries
                if entry.lock.count > 0 and blocked.role == "shared-lock"
            )
            return any_of(*held, *anybody)
        holders = [entry for entry in entries if entry.lock.count > 0]
        returned = any(entry.lock.count < 0 for entry in entries)
        free = any(entry.lock.value for entry in entries)
        if free:
            return LIVE
        if len(holders) == 1 and not returned and self._all_counted(key, entries, mappers):
            return all_of(self._holder(holders[0]))
        if holders or returned:
            one_of = tuple(
                Waker(f"{entry.pid}/any", "likely", f"one of those that took it: pid {entry.pid}")
                for entry in holders
                if entry.pid != each.pid  # its own count may be a copy of its parent's
            )
            return any_of(*one_of, *anybody)
        if self._all_counted(key, entries, mappers) and self._still(key, entries):
            return nothing(_gone(mappers), "holder-is-gone")
        return any_of(*anybody)

    def _is_lock(self, entries: list[_Entry]) -> bool:
        """A lock, and not a semaphore with one slot, which one process takes and another gives back, as a queue does."""
        return any(
            (entry.lock.recursive or entry.lock.kind in _LOCKS) and entry.lock.most == 1 for entry in entries
        ) and not any(entry.lock.kind in {"Semaphore", "BoundedSemaphore"} for entry in entries)

    def _slots_lost(self, key: Key, entries: list[_Entry], mappers: tuple[int, ...]) -> bool:
        """A BoundedSemaphore of the program without a free slot, of which no living process counts that it took one."""
        bounded = any(entry.lock.kind == "BoundedSemaphore" for entry in entries)
        own = all(
            not entry.lock.role for entry in entries
        )  # a queue's is taken by one process and given back by another
        taken = any(entry.lock.count or entry.lock.value for entry in entries)
        return bounded and own and not taken and self._all_counted(key, entries, mappers) and self._still(key, entries)

    def _all_counted(self, key: Key, entries: list[_Entry], mappers: tuple[int, ...]) -> bool:
        """Each process that maps the semaphore was read, and its own count of it found."""
        return not self._ends.hidden_mappers(key) and set(mappers) <= {entry.pid for entry in entries}

    def _still(self, key: Key, entries: list[_Entry]) -> bool:
        """Read once more: whoever was just taking it had not counted so yet."""
        for entry in entries:
            each = self._seen[entry.pid]
            now = [lock for lock in each.shared_locks(fresh=True) if self._ends.key_of(each.pid, lock.handle) == key]
            if not now or any(lock.count or lock.value for lock in now):
                return False
        return True

    def _holder(self, entry: _Entry) -> Waker:
        each = self._seen[entry.pid]
        tid = each.sights.tid_of.get(entry.lock.last_ident) if each.sights else None
        because = f"the process counts that it took it {entry.lock.count} time{'' if entry.lock.count == 1 else 's'}"
        return Waker(f"{entry.pid}/{tid}" if tid is not None else f"{entry.pid}/any", "certain", because)


def _lost(mappers: tuple[int, ...]) -> str:
    return (
        f"it has no free slot, and none of the {len(mappers)} processes that share it has one: "
        "those that took them have ended without giving them back"
    )


def _gone(mappers: tuple[int, ...]) -> str:
    return (
        f"it is taken, and none of the {len(mappers)} processes that share it has it: "
        "the one that took it has ended without giving it back"
    )
