"""What each thread of a CPython waits for, by the address that it sleeps on, and who holds it.

A thread that waits for a lock sleeps in futex(2) on an address that is the lock's: up to 3.13 the sem_t that Lock, RLock and SemLock point to
(Modules/_threadmodule.c, Python/thread_pthread.h); from 3.14 on it sleeps on a semaphore of its own inside of a `struct wait_entry`, and
the word before that is the address of the lock's mutex (Python/parking_lot.c). So the object is found, not guessed: among what the
innermost frames hold, it is the one whose address is that.

The waits of the library (a queue's, an event's, a pool's) are told by their frames (`library`), whose `self` is the object.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from pellucid.kernel.memory import Unreadable
from pellucid.model.sync import Blocked, Held, Sync
from pellucid.model.thread import Stack
from pellucid.runtimes.cpython.acquisitions import Acquisitions
from pellucid.runtimes.cpython.holders import Hold, holds
from pellucid.runtimes.cpython.library import Rule, library_path, own_frame, rule_of
from pellucid.runtimes.cpython.process import CPython
from pellucid.runtimes.cpython.registry import Pythonic, Registry
from pellucid.runtimes.cpython.sizes import size
from pellucid.runtimes.cpython.slots import Opener, Slots
from pellucid.runtimes.cpython.spelling import Spelling
from pellucid.runtimes.cpython.values import Values

MAX_OPENED = 400
"""Frames of one stack that are opened, innermost first: a lock held further out is not seen."""

_SEARCHED = 4
_LOCKS = frozenset({"lock", "RLock", "SemLock", "SimpleQueue"})
_GENERIC = {"lock": "Lock"}


class Sight(Struct, frozen=True):
    """One thread with its frames opened. `whole`: its stack held still, and all of it was opened."""

    tid: int
    ident: int
    name: str
    frames: tuple[Slots, ...]
    whole: bool
    known: Pythonic | None


class Sights:
    """The threads of one process as they lie in memory after one reading of their stacks."""

    def __init__(self, python: CPython, stacks: Iterable[Stack]) -> None:
        self.python = python
        self.values = Values(python.memory, python.layout)
        self.opener = Opener(self.values, python.codes)
        self.spelling = Spelling(self.values, self.opener)
        self.registry = Registry(self.values, python)
        self._minor = python.layout.minor
        self.unread: list[int] = []
        """The tids of threads whose frames could not be opened."""
        self.threads: dict[int, Sight] = {}
        tids = {(stack.interpreter, stack.ident): stack for stack in stacks}
        named = self.registry.threads()
        contents = python.contents()
        for raw in python.raw:
            stack = tids.get((raw.interpreter, raw.ident))
            if stack is None:
                continue
            frames: list[Slots] = []
            whole = not raw.walked.moving and len(raw.walked.activations) <= MAX_OPENED
            for each in raw.walked.activations[:MAX_OPENED]:
                try:
                    opened = self.opener.open(each, contents.get(raw.state))
                except Unreadable:
                    whole = False
                    continue
                if opened is not None:
                    frames.append(opened)
            if not whole:
                self.unread.append(stack.tid)
            known = named.get(raw.ident)
            self.threads[stack.tid] = Sight(
                stack.tid, raw.ident, self._thread_name(stack, known), tuple(frames), whole, known
            )
        self.tid_of = {sight.ident: sight.tid for sight in self.threads.values()}
        self._holds: dict[int, list[Hold]] | None = None
        self._aliases: dict[int, list[int]] | None = None
        self._known_holders: dict[int, tuple[Held, ...]] = {}
        self._sizes: dict[tuple[str, int], str] = {}
        self._acquired: dict[int, list[tuple[int, int | None, Slots]]] | None = None

    def _thread_name(self, stack: Stack, known: Pythonic | None) -> str:
        """A process that some service thread forked has a main thread that is called like it: the name is that of a thread of the parent."""
        name = known.name if known else stack.name
        return "MainThread" if stack.tid == self.python.memory.pid and name.startswith("Thread-") else name

    def holds(self) -> dict[int, list[Hold]]:
        """Address of a thing → who is inside of a `with` over it. Looked for once in all frames."""
        if self._holds is None:
            self._holds = {}
            for sight in self.threads.values():
                for hold in holds(sight.tid, sight.frames, self.values, self.opener):
                    self._holds.setdefault(hold.thing, []).append(hold)
        return self._holds

    def blocked(self, tid: int, futex: int | None) -> Blocked | None:
        """What the thread waits for, if it sleeps on the futex `futex` (None: in another call). None: nothing that is known."""
        sight = self.threads.get(tid)
        if sight is None or not sight.frames:
            return None
        try:
            return self._blocked(sight, futex)
        except Unreadable:
            return None

    def _blocked(self, sight: Sight, futex: int | None) -> Blocked | None:
        address = self._slept_on(futex) if futex is not None else 0
        lock = self._match(sight.frames, futex or 0, address) if futex is not None else 0
        ruled = rule_of(sight.frames)
        own = own_frame(sight.frames)
        at = place_of(own or (ruled[1] if ruled else sight.frames[0]))
        if ruled is not None:
            rule, frame, _ = ruled
            if not lock or self._belongs(rule, sight.frames[0], lock):
                return self._by_rule(sight, rule, frame, at, futex, lock)
        if not lock:
            return None
        return self._by_lock(sight, lock, at)

    def _slept_on(self, futex: int) -> int:
        """The address that a parked thread waits for; `futex` itself where it does not park."""
        if self._minor < 13:
            return futex
        layout = self.python.layout
        try:
            return self.python.memory.u64(futex - layout["parked.sema"] + layout["parked.addr"])
        except Unreadable:
            return futex

    def _match(self, frames: Sequence[Slots], futex: int, parked: int) -> int:
        """The lock that `futex` belongs to, among what the innermost frames hold; 0 where it is none of them."""
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

    def _is_lock(self, slot: int, futex: int, parked: int) -> int:
        """The address of the lock where `slot` is it, or a method of it."""
        values = self.values
        if not slot:
            return 0
        try:
            name = values.kind(slot).name
            if name == "builtin_function_or_method":
                slot = values.pages.u64(slot + values.layout["builtin_function.m_self"])
                name = values.kind(slot).name if slot else ""
            if name not in _LOCKS:
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
        values = self.values
        try:
            if not values.kind(value).heap:
                return 0
            return next(
                (found for item in values.namespace(value).values() if (found := self._is_lock(item, futex, parked))), 0
            )
        except Unreadable:
            return 0

    def _belongs(self, rule: Rule, innermost: Slots, lock: int) -> bool:
        """Whether sleeping on `lock` is the wait that the rule means: not so when it takes the inner lock of a condition."""
        if self.values.name_of_kind(lock) in {"SemLock", "SimpleQueue"} or rule.role in {"join", "shutdown", "import"}:
            return True
        if innermost.qualname == "Condition.wait" and library_path(innermost.file) == "threading.py":
            return innermost.local("waiter") == lock
        return False

    def _by_rule(self, sight: Sight, rule: Rule, frame: Slots, at: str, futex: int | None, lock: int) -> Blocked:
        thing = frame.local(rule.object) if rule.object else 0
        values = self.values
        name = self._name(thing, sight, frame) if thing else None
        kind = rule.kind or (values.name_of_kind(thing) if thing else "") or rule.role
        role = rule.role
        joins: tuple[int, ...] = ()
        holders: tuple[Held, ...] = ()
        child: int | None = None
        detail = self._size(role, thing)
        evidence = [f"frame {frame.qualname} ({frame.file.rpartition('/')[2]})"]
        if role == "join":
            name = self._joined_name(thing) or name
            joins = self.registry.tids_of(thing, self.tid_of)
        elif role == "shutdown":
            kind, joins = "end of all threads", self.registry.non_daemon(sight.tid, self.tid_of)
        elif role in {"process", "subprocess"}:
            child = self._child(role, thing)
            detail = f"pid {child}" if child else ""
        elif role == "semaphore":
            holders = self._inside(thing)
        elif role == "import":
            kind, name, holders = "import lock", values.word(values.named(thing, "name")), self._importer(thing)
        elif role == "shared-lock" or (lock and values.name_of_kind(lock) == "SemLock"):
            kind = f"multiprocessing.{kind}" if role == "shared-lock" else kind
        semaphore = futex if lock and values.name_of_kind(lock) == "SemLock" else None
        if semaphore is None and role.startswith("shared") and futex is not None:
            semaphore = futex
        return Blocked(
            role=role,
            sync=Sync(kind, name, detail, thing or None),
            at=at,
            holders=holders,
            joins=joins,
            child=child,
            semaphore=semaphore,
            parks=rule.parks,
            evidence=tuple(evidence),
        )

    def _size(self, role: str, thing: int) -> str:
        key = role, thing
        if key not in self._sizes:
            self._sizes[key] = size(role, thing, self.values)
        return self._sizes[key]

    def _by_lock(self, sight: Sight, lock: int, at: str) -> Blocked:
        values = self.values
        kind = values.kind(lock).name
        evidence = ("the address it sleeps on is that of the object",)
        if kind == "SemLock":
            name = self._name(lock, sight, None)
            sync = Sync("multiprocessing.Lock", name, "", lock)
            handle = values.pages.u64(lock + values.layout["semlock.handle"])
            return Blocked(role="shared-lock", sync=sync, at=at, semaphore=handle, evidence=evidence)
        name = self._name(lock, sight, None)
        if kind == "SimpleQueue":
            return Blocked(
                role="get", sync=Sync("SimpleQueue", name, "empty", lock), at=at, parks=True, evidence=evidence
            )
        if kind == "RLock":
            return Blocked(
                role="rlock", sync=Sync("RLock", name, "", lock), at=at, holders=self._owner(lock), evidence=evidence
            )
        return Blocked(
            role="lock", sync=Sync("Lock", name, "", lock), at=at, holders=self._inside(lock), evidence=evidence
        )

    def _name(self, thing: int, sight: Sight, rule_frame: Slots | None) -> str | None:
        """As the program's own frames call it; the library's frames are asked where those have no name for it."""
        own = [frame for frame in sight.frames if library_path(frame.file) is None and not frame.file.startswith("<")]
        found = self.spelling.of(thing, own, self.registry.module("__main__"))
        if found is None and rule_frame is None:
            found = self.spelling.of(
                thing, sight.frames
            )  # a lock of the library itself: `self.lock (StreamHandler.lock)`
        return found

    def _joined_name(self, thread: int) -> str | None:
        try:
            return self.values.word(self.values.named(thread, "_name"))
        except Unreadable:
            return None

    def _child(self, role: str, thing: int) -> int | None:
        values = self.values
        try:
            if role == "subprocess":
                return values.number(values.named(thing, "pid"))
            return values.number(values.named(values.named(thing, "_popen"), "pid"))
        except Unreadable:
            return None

    def _importer(self, thing: int) -> tuple[Held, ...]:
        owner = self.values.named(thing, "owner")
        if not owner or self.values.is_none(owner):
            return ()
        return (Held(self.tid_of.get(self.values.number(owner)), "certain", "owner of the import lock"),)

    def _owner(self, lock: int) -> tuple[Held, ...]:
        """The owner that an RLock names. 3.14: level is the count less one, and bit 0 of the mutex says whether it is held."""
        layout, pages = self.values.layout, self.values.pages
        owner = pages.u64(lock + layout["rlock.owner"])
        if self._minor < 14:
            count = pages.u64(lock + layout["rlock.count"])
        else:
            held = pages.read(lock + layout["rlock.mutex"], 1)[0] & 1
            count = pages.u64(lock + layout["rlock.level"]) + 1 if held else 0
        if not count or not owner:
            return ()
        tid = self.tid_of.get(owner)
        if tid is None:
            return (
                Held(
                    None,
                    "certain",
                    f"it names an owner (ident {owner:#x}, count {count}) that is no thread of the process",
                ),
            )
        return (Held(tid, "certain", f"RLock owner, count {count}"),)

    def _inside(self, thing: int) -> tuple[Held, ...]:
        if thing not in self._known_holders:
            self._known_holders[thing] = self._found_inside(thing)
        return self._known_holders[thing]

    def _found_inside(self, thing: int) -> tuple[Held, ...]:
        """The threads inside of a `with` over the lock, over a Condition on it, or over an object of the program that wraps it."""
        found: dict[int, Held] = {}
        for other, sure in ((thing, True), *((alias, None) for alias in self._stand_ins().get(thing, ()))):
            for hold in self.holds().get(other, ()):
                certain = sure or self._is_condition(other)
                if self._is_condition(other) and self._gave_back(hold, other):
                    continue
                place = f"{hold.file.rpartition('/')[2]}:{hold.line if hold.line is not None else '?'}"
                found.setdefault(
                    hold.who, Held(hold.who, "certain" if certain else "likely", f"inside its `with` at {place}")
                )
        if not found:
            for who, line, frame in self.acquired().get(thing, ()):
                place = f"{frame.file.rpartition('/')[2]}:{line if line is not None else '?'}"
                found.setdefault(who, Held(who, "likely", f"called acquire() at {place}, and no release() since"))
        return tuple(found.values())

    def acquired(self) -> dict[int, list[tuple[int, int | None, Slots]]]:
        """Lock → (tid, line, frame) of those whose code took it by `acquire()`. Looked for once in the program's own frames."""
        if self._acquired is None:
            self._acquired = {}
            reader = Acquisitions(self.values, self.opener)
            for sight in self.threads.values():
                for frame in sight.frames:
                    if library_path(frame.file) is None:
                        for lock, line in reader.of(frame):
                            self._acquired.setdefault(lock, []).append((sight.tid, line, frame))
        return self._acquired

    def _is_condition(self, thing: int) -> bool:
        try:
            return "Condition" in self.values.bases(self.values.kind(thing))
        except Unreadable:
            return False

    def _gave_back(self, hold: Hold, condition: int) -> bool:
        """A thread in Condition.wait has released the lock for that time."""
        sight = self.threads.get(hold.who)
        return sight is not None and any(
            frame.qualname == "Condition.wait" and frame.local("self") == condition and frame.local("waiter")
            for frame in sight.frames[:3]
        )

    def _stand_ins(self) -> dict[int, list[int]]:
        """Lock → the things whose `with` takes it: conditions on it, and the program's own wrappers, one level deep."""
        if self._aliases is None:
            self._aliases = {}
            for thing in self.holds():
                for lock in self._taken_by(thing):
                    self._aliases.setdefault(lock, []).append(thing)
        return self._aliases

    def _taken_by(self, thing: int) -> list[int]:
        values = self.values
        try:
            kind = values.kind(thing)
            if not kind.heap or kind.name in _LOCKS:
                return []
            bases = values.bases(kind)
            if "Condition" in bases:
                lock = values.named(thing, "_lock")
                return [lock] if lock else []
            if not self._enters_a_lock(kind.address, thing):
                return []
            own = values.namespace(thing)
            wanted = self._enter_names(thing)
            return [
                value
                for name, value in own.items()
                if name in wanted and values.name_of_kind(value) in {"lock", "RLock"}
            ]
        except Unreadable:
            return []

    def _enters_a_lock(self, kind: int, thing: int) -> bool:
        names = self._enter_names(thing)
        return bool(names & {"acquire", "__enter__"}) and kind != 0

    def _enter_names(self, thing: int) -> frozenset[str]:
        """The names that the code of the object's own `__enter__` uses."""
        values = self.values
        function = values.class_attribute(values.kind(thing), "__enter__")
        if not function or values.name_of_kind(function) != "function":
            return frozenset()
        code = values.pages.u64(function + values.layout["function.func_code"])
        names = values.tuple_items(values.pages.u64(code + values.layout["code_object.names"]), 256)
        return frozenset(values.text(name, 64) for name in names)


def place_of(frame: Slots) -> str:
    """`bank.py:7 in transfer`."""
    return f"{frame.file.rpartition('/')[2]}:{frame.line if frame.line is not None else '?'} in {frame.qualname}"
