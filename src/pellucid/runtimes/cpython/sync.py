"""What each thread of a CPython waits for, by the address that it sleeps on, and who holds it.

A thread that waits for a lock sleeps in futex(2) on an address that is the lock's (`slept_on`); who holds it, `lock_holders` finds.
The waits of the library (a queue's, an event's, a pool's) are told by their frames (`library`), whose `self` is the object.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from pellucid.kernel.memory import Unreadable
from pellucid.model.sync import IN_A_CALLBACK, Blocked, Held, Ordered, Sync
from pellucid.model.thread import Stack
from pellucid.runtimes.cpython.executors import of_pool, ordered, working_on
from pellucid.runtimes.cpython.futures import computed_by, tied_to
from pellucid.runtimes.cpython.lock_holders import LockHolders
from pellucid.runtimes.cpython.process import CPython
from pellucid.runtimes.cpython.registry import Pythonic, Registry
from pellucid.runtimes.cpython.sight import Sight, place_of, split
from pellucid.runtimes.cpython.sizes import size
from pellucid.runtimes.cpython.slept_on import SleptOn
from pellucid.runtimes.cpython.slots import Opener, Slots
from pellucid.runtimes.cpython.spelling import Spelling
from pellucid.runtimes.cpython.standard_library import Rule, library_path, own_frame, rule_of
from pellucid.runtimes.cpython.values import Values

MAX_PARTS = 64
MAX_FUTURES = 4096
_BY_ITSELF = frozenset({"join", "shutdown", "import", "pool-join"})
"""Roles whose wait is a lock of their own."""
MAX_OPENED = 400
"""Frames of one stack that are opened, innermost first: a lock held further out is not seen."""


class Sights:
    """The threads of one process as they lie in memory after one reading of their stacks."""

    def __init__(self, python: CPython, stacks: Iterable[Stack]) -> None:
        self.python = python
        self.values = Values(python.memory, python.layout)
        self.values.pages.held |= python.objects.pages.held  # read since the stacks were copied: code and names
        self.opener = Opener(self.values, python.codes)
        self.spelling = Spelling(self.values, self.opener)
        self.registry = Registry(self.values, python)
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
            own, copied = split(frames)
            self.threads[stack.tid] = Sight(
                stack.tid, raw.ident, self._thread_name(stack, known), own, whole, known, copied
            )
        self.tid_of = {sight.ident: sight.tid for sight in self.threads.values()}
        self.holders = LockHolders(self.values, self.opener, self.threads)
        self._slept_on = SleptOn(self.values, python.memory)
        self._sizes: dict[tuple[str, int], str] = {}
        self._computing: dict[int, int] | None = None
        self._ordered: dict[int, Ordered] | None = None

    def _thread_name(self, stack: Stack, known: Pythonic | None) -> str:
        """A process that some service thread forked has a main thread that is called like it: the name is that of a thread of the parent."""
        name = known.name if known else stack.name
        return "MainThread" if stack.tid == self.python.memory.pid and name.startswith("Thread-") else name

    def computing(self) -> dict[int, int]:
        """Concurrent future → the tid of the thread that computes it."""
        if self._computing is None:
            self._computing = computed_by(self.threads.values(), self.values)
        return self._computing

    def ordered(self, role: str, thing: int) -> Ordered | None:
        """The call behind a future or a result of a Pool, where worker processes run it."""
        if role == "pool":
            return of_pool(thing, self.values)
        if role != "future":
            return None
        if self._ordered is None:
            self._ordered = ordered(self.threads.values(), self.values)
        return self._ordered.get(thing)

    def working_on(self) -> dict[int, tuple[str, int]]:
        """As `executors.working_on`, of this process."""
        return working_on(self.threads.values(), self.values)

    def blocked(self, tid: int, futex: int | None) -> Blocked | None:
        """What the thread waits for, if it sleeps on the futex `futex` (None: in another call). None: nothing that is known."""
        sight = self.threads.get(tid)
        if sight is None or not sight.frames:
            return None
        try:
            return self._blocked(sight, futex)
        except Unreadable:
            return None

    def polls(self, tid: int) -> Blocked | None:
        """What a thread that sleeps looks for again and again: up to 3.14 Popen.wait(timeout=...) does, for the end of its child."""
        sight = self.threads.get(tid)
        ruled = rule_of(sight.frames) if sight is not None else None
        if sight is None or ruled is None or ruled[0].role != "subprocess":
            return None
        rule, frame, _ = ruled
        try:
            until = self._ends_at(sight)
            found = self._by_rule(sight, rule, frame, place_of(own_frame(sight.frames) or frame), None, 0)
        except Unreadable:
            return None
        return replace(found, until=until)

    def _ends_at(self, sight: Sight) -> float | None:
        """`endtime` in Popen._wait (Lib/subprocess.py), by time.monotonic."""
        inner = next((frame for frame in sight.frames if frame.qualname == "Popen._wait"), None)
        at = inner.local("endtime") if inner is not None else 0
        return self.values.real(at) if at and self.values.name_of_kind(at) == "float" else None

    def _blocked(self, sight: Sight, futex: int | None) -> Blocked | None:
        lock = self._slept_on.lock(sight.frames, futex) if futex is not None else 0
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

    def _belongs(self, rule: Rule, innermost: Slots, lock: int) -> bool:
        """Whether sleeping on `lock` is the wait that the rule means: not so when it takes the inner lock of a condition."""
        if self.values.name_of_kind(lock) in {"SemLock", "SimpleQueue"} or rule.role in _BY_ITSELF:
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
        task = 0
        detail = self._size(role, thing)
        evidence = [f"frame {frame.qualname} ({frame.file.rpartition('/')[2]})"]
        if role == "future" and any(one.qualname == "Handle._run" for one in sight.frames):
            evidence.append(IN_A_CALLBACK)
        if role == "join":
            name = self._joined_name(thing) or name
            joins = self.registry.tids_of(thing, self.tid_of)
        elif role == "pool-join":
            inner = next((one for one in sight.frames if one.qualname == "Thread.join"), None)
            joins = self.registry.tids_of(inner.local("self"), self.tid_of) if inner is not None else ()
        elif role == "shutdown":
            kind, joins = "end of all threads", self.registry.non_daemon(sight.tid, self.tid_of)
        elif role == "future":
            holders, task = self._computed(thing)
        elif role == "futures":
            holders = self._computing_some(thing)
        elif role in {"process", "subprocess"}:
            child = self._child(role, thing)
            detail = f"pid {child}" if child else ""
        elif role == "semaphore":
            holders = self.holders.of(thing)
        elif role == "import":
            kind, name, holders = "import lock", values.word(values.named(thing, "name")), self.holders.importer(thing)
        elif role == "shared-lock" or (role == "barrier" and values.named(thing, "_wrapper")):
            kind = f"multiprocessing.{kind}"
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
            task=task or None,
            ordered=self.ordered(role, thing) if not holders and not task else None,
            evidence=tuple(evidence),
        )

    def _computed(self, future: int) -> tuple[tuple[Held, ...], int]:
        """(the thread of an executor that computes a future, the asyncio task that does)."""
        tid = self.computing().get(future)
        if tid is not None:
            return (Held(tid, "certain", "it computes that future"),), 0
        return (), tied_to(future, self.values)

    def _computing_some(self, several: int) -> tuple[Held, ...]:
        """The threads of executors that compute some of a set or list of futures."""
        values = self.values
        read = {"set": values.members, "list": values.list_items, "tuple": values.tuple_items}
        reader = read.get(values.name_of_kind(several))
        futures = reader(several, MAX_FUTURES) if reader is not None else ()
        tids = {tid for future in futures if (tid := self.computing().get(future)) is not None}
        return tuple(Held(tid, "certain", "it computes one of those futures") for tid in sorted(tids))

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
            wrapper = self._wrapper_of(lock, sight)
            kind = values.kind(wrapper).name if wrapper else self._shared_kind(lock)
            detail = self._size("shared-lock", wrapper) if wrapper else ""
            sync = Sync(f"multiprocessing.{kind}", name, detail, lock)
            handle = values.pages.u64(lock + values.layout["semlock.handle"])
            return Blocked(role="shared-lock", sync=sync, at=at, semaphore=handle, evidence=evidence)
        name = self._name(lock, sight, None)
        if kind == "SimpleQueue":
            return Blocked(
                role="get", sync=Sync("SimpleQueue", name, "empty", lock), at=at, parks=True, evidence=evidence
            )
        if kind == "RLock":
            return Blocked(
                role="rlock",
                sync=Sync("RLock", name, "", lock),
                at=at,
                holders=self.holders.owner(lock),
                evidence=evidence,
            )
        return Blocked(
            role="lock", sync=Sync("Lock", name, "", lock), at=at, holders=self.holders.of(lock), evidence=evidence
        )

    def _wrapper_of(self, lock: int, sight: Sight) -> int:
        """The Lock, RLock or Semaphore of multiprocessing that is made of this SemLock, among what the frames hold; 0 where none is."""
        for frame in sight.frames:
            for value in frame.locals().values():
                for one in (value, *self._parts(value)):
                    if self._parts(one, only="_semlock") == (lock,):
                        return one
        return 0

    def _parts(self, value: int, only: str = "") -> tuple[int, ...]:
        """The attributes of an instance of a class; `only` that one."""
        try:
            if not self.values.kind(value).heap:
                return ()
            own = self.values.namespace(value)
        except Unreadable:
            return ()
        return ((own[only],) if only in own else ()) if only else tuple(own.values())[:MAX_PARTS]

    def _shared_kind(self, lock: int) -> str:
        values = self.values
        if not values.pages.u32(lock + values.layout["semlock.kind"]):
            return "RLock"
        return "Lock" if values.pages.u32(lock + values.layout["semlock.maxvalue"]) == 1 else "Semaphore"

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
