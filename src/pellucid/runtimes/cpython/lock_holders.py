"""Who holds a lock of this process: the owner that an RLock names, whoever is inside of a `with` over it, whoever called acquire().

The first two are facts in memory; the third is read from the code of the frames, and likely (`acquisitions`). A `with` over a Condition
holds its lock, but not while its thread is in wait(); a `with` over an object of the program whose `__enter__` takes a lock holds that
lock, likely, and so does a call of its acquire(): wrappers are followed one level deep.
"""

from collections.abc import Mapping

from pellucid.kernel.memory import Unreadable
from pellucid.model.sync import Held
from pellucid.runtimes.cpython.acquisitions import Acquisitions
from pellucid.runtimes.cpython.holders import Hold, holds
from pellucid.runtimes.cpython.sight import Sight
from pellucid.runtimes.cpython.slept_on import LOCKS
from pellucid.runtimes.cpython.slots import Opener, Slots
from pellucid.runtimes.cpython.standard_library import library_path
from pellucid.runtimes.cpython.values import Values


class LockHolders:
    """Of all threads of one process, by tid. What all frames hold is looked for once, and only when somebody asks."""

    def __init__(self, values: Values, opener: Opener, threads: Mapping[int, Sight]) -> None:
        self._values = values
        self._opener = opener
        self._threads = threads
        self._tid_of = {sight.ident: sight.tid for sight in threads.values()}
        self._holds: dict[int, list[Hold]] | None = None
        self._aliases: dict[int, list[int]] | None = None
        self._acquired: dict[int, list[tuple[int, int | None, Slots, bool]]] | None = None
        self._copied: dict[int, Hold] = {}
        self._known: dict[int, tuple[Held, ...]] = {}

    def of(self, thing: int) -> tuple[Held, ...]:
        """The threads that are inside of the lock or semaphore at `thing`."""
        if thing not in self._known:
            self._known[thing] = self._found(thing)
        return self._known[thing]

    def owner(self, lock: int) -> tuple[Held, ...]:
        """The owner that an RLock names. 3.14: level is the count less one, and bit 0 of the mutex says whether it is held."""
        layout, pages = self._values.layout, self._values.pages
        owner = pages.u64(lock + layout["rlock.owner"])
        if layout.minor < 14:
            count = pages.u64(lock + layout["rlock.count"])
        else:
            held = pages.read(lock + layout["rlock.mutex"], 1)[0] & 1
            count = pages.u64(lock + layout["rlock.level"]) + 1 if held else 0
        if not count or not owner:
            return ()
        tid = self._tid_of.get(owner)
        if tid is None:
            gone = f"it names an owner (ident {owner:#x}, count {count}) that is no thread of the process"
            return (Held(None, "certain", gone),)
        return (Held(tid, "certain", f"RLock owner, count {count}"),)

    def importer(self, lock: int) -> tuple[Held, ...]:
        """The owner that a _ModuleLock of importlib names."""
        owner = self._values.named(lock, "owner")
        if not owner or self._values.is_none(owner):
            return ()
        return (Held(self._tid_of.get(self._values.number(owner)), "certain", "owner of the import lock"),)

    def holds(self) -> dict[int, list[Hold]]:
        """Address of a thing → who is inside of a `with` over it."""
        if self._holds is None:
            self._holds = {}
            for sight in self._threads.values():
                for hold in holds(sight.tid, sight.frames, self._values, self._opener):
                    self._holds.setdefault(hold.thing, []).append(hold)
                for hold in holds(sight.tid, sight.copied, self._values, self._opener):
                    self._copied.setdefault(hold.thing, hold)
        return self._holds

    def _found(self, thing: int) -> tuple[Held, ...]:
        found: dict[int, Held] = {}
        for other, sure in ((thing, True), *((alias, False) for alias in self._stand_ins().get(thing, ()))):
            for hold in self.holds().get(other, ()):
                condition = self._is_condition(other)
                if condition and self._gave_back(hold, other):
                    continue
                certain = sure or condition
                place = f"{hold.file.rpartition('/')[2]}:{hold.line if hold.line is not None else '?'}"
                found.setdefault(
                    hold.who, Held(hold.who, "certain" if certain else "likely", f"inside its `with` at {place}")
                )
        if not found:
            for who, line, frame, gives_back in self._by_acquire().get(thing, ()):
                place = f"{frame.file.rpartition('/')[2]}:{line if line is not None else '?'}"
                because = f"called acquire() at {place}, and no release() since"
                found.setdefault(who, Held(who, "likely" if gives_back else "possible", because))
        if not found and thing in self._copied:
            hold = self._copied[thing]
            place = f"{hold.file.rpartition('/')[2]}:{hold.line if hold.line is not None else '?'}"
            copied = f"it was copied locked by fork(2): the parent was inside a `with` over it at {place}"
            return (Held(None, "certain", copied, copied=True),)
        return tuple(found.values())

    def _by_acquire(self) -> dict[int, list[tuple[int, int | None, Slots, bool]]]:
        """Lock → (tid, line, frame, whether that code releases it) of those whose own code took it by `acquire()`."""
        if self._acquired is None:
            self._acquired = {}
            reader = Acquisitions(self._values, self._opener)
            for sight in self._threads.values():
                for frame in (*sight.frames, *sight.copied):
                    if library_path(frame.file) is None:
                        for thing, line, gives_back in reader.of(frame):
                            for lock in (thing, *self._taken_by(thing, "acquire")):
                                self._acquired.setdefault(lock, []).append((sight.tid, line, frame, gives_back))
        return self._acquired

    def _is_condition(self, thing: int) -> bool:
        try:
            return "Condition" in self._values.bases(self._values.kind(thing))
        except Unreadable:
            return False

    def _gave_back(self, hold: Hold, condition: int) -> bool:
        """A thread in Condition.wait has released the lock for that time."""
        sight = self._threads.get(hold.who)
        return sight is not None and any(
            frame.qualname == "Condition.wait" and frame.local("self") == condition and frame.local("waiter")
            for frame in sight.frames[:3]
        )

    def _stand_ins(self) -> dict[int, list[int]]:
        """Lock → the things whose `with` takes it: conditions on it, and the program's own wrappers."""
        if self._aliases is None:
            self._aliases = {}
            for thing in self.holds():
                for lock in self._taken_by(thing, "__enter__"):
                    self._aliases.setdefault(lock, []).append(thing)
        return self._aliases

    def _taken_by(self, thing: int, method: str) -> list[int]:
        """The locks that `method` of the thing takes: those of its attributes whose names the method's code has, beside `acquire`."""
        values = self._values
        try:
            kind = values.kind(thing)
            if not kind.heap or kind.name in LOCKS:
                return []
            if "Condition" in values.bases(kind):
                lock = values.named(thing, "_lock")
                return [lock] if lock else []
            names = self._names_in(values.class_attribute(kind, method))
            if not names & {"acquire", "__enter__"}:
                return []
            own = values.namespace(thing)
            return [own[name] for name in names if name in own and values.name_of_kind(own[name]) in {"lock", "RLock"}]
        except Unreadable:
            return []

    def _names_in(self, function: int) -> frozenset[str]:
        """The names that the code of a Python function uses."""
        values = self._values
        if values.name_of_kind(function) != "function":
            return frozenset()
        code = values.pages.u64(function + values.layout["function.func_code"])
        names = values.tuple_items(values.pages.u64(code + values.layout["code_object.names"]), 256)
        return frozenset(values.text(name, 64) for name in names)
