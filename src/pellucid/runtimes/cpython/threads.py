"""All threads of a CPython: the resting ones by one copy of all of them, the moving ones each by a double copy.

A thread whose single copy has the same bytes as its last proved copy has the same stack, so 50 idle threads cost one system
call and 50 comparisons. That copy also brings the heads of the interpreters and the links between the threads: when they
are as they were, no thread has come or gone, and the lists need not be followed again. All others are copied twice
(`frames`), in one call too; what still did not hold still is copied again by itself, at most MAX_RETRIES times, and judged by
calls that are known (`proofs`).
"""

from struct import Struct as Bytes

from msgspec import Struct

from pellucid.kernel.memory import MAX_BYTES, Memory, Unreadable, Vector
from pellucid.runtimes.cpython.copies import Content, Copies, Plan, Recent
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.frames import Walked
from pellucid.runtimes.cpython.interpreter import Census, Interpreter
from pellucid.runtimes.cpython.proofs import Proofs

MAX_RETRIES = 10
PROVED_RETRIES = 2
"""More double copies on which both sides don't agree. Then samples are taken, which are judged by calls that are known (`proofs`)."""
MAX_DEEPEST = 1 << 14  # bytes of a chunk that are copied because the stack was once so deep
MAX_CENSUS = 3  # tries to find the lists as they are in the copy
MAX_BATCHED = 1 << 17  # bytes of a double copy: a deeper stack is copied by itself
RESTING_AFTER = 2  # readings with the same bytes

_U64 = Bytes("<Q")
_I32 = Bytes("<i")
_NOTHING = Walked(())
_MOVING = Walked((), moving=True)


class RawStack(Struct, frozen=True):
    """One thread's stack as it lies in memory. `state` is the address of its PyThreadState, `tid` as CPython knows it."""

    state: int
    interpreter: int
    ident: int
    tid: int
    walked: Walked
    holds_gil: bool
    wants_gil: bool | None


class Readout(Struct, frozen=True):
    """`ended` counts the threads that were gone before they could be read; `unlisted` is True where some may be missing."""

    stacks: tuple[RawStack, ...]
    retries: int
    ended: int
    unlisted: bool


class ThreadState:
    """What is kept of a thread between two readings. `start` is its place in the copy of the resting or moving threads."""

    __slots__ = (
        "batched",
        "deepest",
        "following",
        "ident",
        "interpreter",
        "laid",
        "last",
        "plan",
        "quiet",
        "raw",
        "recent",
        "rested",
        "resting",
        "start",
        "state",
        "tid",
        "walked",
        "wants_gil",
    )

    def __init__(self, state: int, interpreter: Interpreter, following: int) -> None:
        self.state = state
        self.interpreter = interpreter
        self.following = following
        """The address of the next thread state in the list."""
        self.plan: Plan | None = None
        self.laid: Plan | None = None
        """The plan by which it was laid out at `start`; of a tick."""
        self.deepest = 0
        """Bytes of the top chunk that were ever planned for: a stack that has just become shallow will be deep again."""
        self.recent = Recent()
        self.start = 0
        self.batched = False
        self.resting = False
        self.quiet = 0
        """For so many readings its bytes have been the same."""
        self.last = b""
        self.rested = b""
        """The part of it that a resting thread is compared by; of a tick."""
        self.walked = _NOTHING
        self.raw: RawStack | None = None
        self.ident = self.tid = 0
        """As CPython knows it; of a tick."""
        self.wants_gil = False


class Threads:
    """Reads the stacks of all threads of all interpreters, again and again."""

    def __init__(self, memory: Memory, layout: Layout, runtime: int, frames: Proofs) -> None:
        self._memory = memory
        self._frames = frames
        self._census = Census(memory, layout, runtime)
        self._first_interpreter = runtime + layout["runtime_state.interpreters_head"]
        self._next_interpreter = layout["interpreter_state.next"]
        self._first_thread = layout["interpreter_state.threads_head"]
        self._holds = layout.get("thread_state.holds_gil")
        self._wants = layout.get("thread_state.gil_requested")
        self.interpreters: tuple[Interpreter, ...] = ()
        self._listed = False
        self._threads: list[ThreadState] = []
        self._once: Vector | None = None
        self._twice: Vector | None = None
        self._heads: list[tuple[int, int]] = []
        """(place in the single copy, the address that must stand there)."""
        self._gils: dict[int, int] = {}

    def read(self) -> Readout:
        """Every stack now. Raises Unreadable when the process is gone."""
        same = False
        for _ in range(MAX_CENSUS):
            once, copied = self._copy_once()
            resting = self._resting(once, copied)
            moving = self._copy_twice()
            same = self._heads_stand(once, copied) and all(self._is_followed(*each) for each in moving)
            if same:
                break
            self._forget()
        holders = {gil: self._holder(once, place, copied) for gil, place in self._gils.items()}
        stacks = [
            self._raw(thread, thread.last[thread.plan.side :] if thread.plan else b"", holders) for thread in resting
        ]
        retries = ended = 0
        for thread, copies in moving:
            settled, tries = self._settle(thread, copies)
            retries += tries
            if settled is None:
                ended += 1
            else:
                stacks.append(self._raw(thread, settled, holders))
        if ended:
            self._forget()
        return Readout(tuple(stacks), retries, ended, not same or not all(each.whole for each in self.interpreters))

    def contents(self) -> dict[int, Content]:
        """Address of the thread state → the top chunk of its frames, as it was when the last reading proved its stack.

        Without those that moved: their two copies differ.
        """
        return {
            thread.state: Content(thread.plan.chunk, thread.plan.outer_size, thread.plan.chunk_size, thread.last)
            for thread in self._threads
            if thread.last and thread.plan is not None
        }

    def _flag(self, state: bytes, offset: int) -> bool:
        return bool(_I32.unpack_from(state, offset - self._frames.state.start)[0])

    def _forget(self) -> None:
        """The lists have changed: the next reading follows them again. What is known of the threads is kept."""
        self._once = self._twice = None
        self._listed = False

    def _copy_once(self) -> tuple[bytes, int]:
        """The heads of the lists, the GILs and the resting threads, and how many bytes of it came."""
        if self._once is None:
            self._once = self._lay_once()
        copied = self._once.copy()
        return bytes(self._once.buffer), copied

    def _heads_stand(self, once: bytes, copied: int) -> bool:
        """Whether each list begins as it did: new interpreters and threads are put in front."""
        return all(place + 8 <= copied and _U64.unpack_from(once, place)[0] == at for place, at in self._heads)

    def _is_followed(self, thread: ThreadState, copies: Copies | None) -> bool:
        """Whether the same thread state still comes after it in the list: one that ends is taken out of it."""
        if copies is None or not thread.interpreter.whole:
            return True
        following, *_ = self._frames.state.unpack_from(copies.state)
        return bool(following == thread.following)

    def _resting(self, once: bytes, copied: int) -> list[ThreadState]:
        """The resting threads whose bytes are as they were. The others begin to move."""
        found: list[ThreadState] = []
        for thread in self._threads:
            if thread.resting:
                end = thread.start + len(thread.last)
                if once[thread.start : end] == thread.last and end <= copied:
                    found.append(thread)
                else:
                    thread.resting = False
                    thread.quiet = 0
                    self._twice = None
                    if end > copied:
                        self._once = None  # a part of it can't be read any more
        return found

    def _copy_twice(self) -> list[tuple[ThreadState, Copies | None]]:
        """Each moving thread with its double copy, None where that could not be read."""
        moving = [thread for thread in self._threads if not thread.resting]
        if self._twice is None:
            self._twice = self._lay_twice(moving)
        copied = self._twice.copy() if self._twice is not None else 0
        twice = bytes(self._twice.buffer) if self._twice is not None else b""
        found: list[tuple[ThreadState, Copies | None]] = []
        for thread in moving:
            plan = thread.plan
            if plan is not None and thread.batched:
                found.append(
                    (thread, plan.cut(twice, thread.start) if thread.start + plan.twice_size <= copied else None)
                )
            else:
                found.append((thread, plan.copy(self._memory.pid) if plan is not None else None))
        return found

    def _lay_once(self) -> Vector:
        """Follows the lists if they are not known, and lays out the single copy."""
        if not self._listed:
            self._list()
        ranges: list[tuple[int, int]] = []
        size = self._lay_heads(ranges)
        for thread in self._threads:
            if not thread.resting and thread.quiet >= RESTING_AFTER and size + len(thread.last) <= MAX_BYTES:
                thread.resting = True
                self._twice = None  # laid out anew, without this thread
            if thread.resting and thread.plan is not None:
                thread.start = size
                ranges += thread.plan.once
                size += len(thread.last)
        return Vector(self._memory.pid, ranges)

    def _lay_twice(self, moving: list[ThreadState]) -> Vector | None:
        """Plans the moving threads that have no plan that fits, and lays out the double copy; None where nothing is left."""
        ranges: list[tuple[int, int]] = []
        size = 0
        for thread in moving:
            if thread.plan is None or thread.plan.stale:
                self._plan(thread)
            plan = thread.plan
            thread.batched = plan is not None and plan.twice_size <= min(MAX_BATCHED, MAX_BYTES - size)
            if plan is not None and thread.batched:
                thread.start = size
                ranges += plan.twice
                size += plan.twice_size
        return Vector(self._memory.pid, ranges) if ranges else None

    def _list(self) -> None:
        """Follows the lists of interpreters and threads."""
        self.interpreters = self._census.interpreters()
        self._listed = True
        known = {thread.state: thread for thread in self._threads}
        self._threads = []
        self._twice = None
        for interpreter in self.interpreters:
            for state, following in zip(interpreter.threads, (*interpreter.threads[1:], 0), strict=False):
                thread = known.get(state) or ThreadState(state, interpreter, following)
                thread.interpreter, thread.following = interpreter, following
                self._threads.append(thread)

    def _lay_heads(self, ranges: list[tuple[int, int]]) -> int:
        """Where the lists begin, and each GIL, first in the single copy; returns the bytes that they take."""
        heads: list[tuple[int, int]] = []
        at = self._first_interpreter
        for interpreter in self.interpreters:
            heads.append((at, interpreter.address))
            heads.append(
                (interpreter.address + self._first_thread, interpreter.threads[0] if interpreter.threads else 0)
            )
            at = interpreter.address + self._next_interpreter
        heads.append((at, 0))
        ranges += ((place, 8) for place, _ in heads)
        self._heads = [(8 * number, address) for number, (_, address) in enumerate(heads)]
        size = 8 * len(heads)
        self._gils = {}
        for gil in {interpreter.gil for interpreter in self.interpreters if interpreter.gil}:
            ranges.append((gil, self._census.gil_size))
            self._gils[gil] = size
            size += self._census.gil_size
        return size

    def _plan(self, thread: ThreadState) -> None:
        """Makes the plan of a thread; None where a part of its stack could not be read, as when it ends just now."""
        try:
            thread.plan = self._frames.plan(thread.state, thread.deepest, thread.recent)
            thread.deepest = min(max(thread.deepest, thread.plan.chunk_size), MAX_DEEPEST)
        except Unreadable:
            thread.plan = None

    def _settle(self, thread: ThreadState, copies: Copies | None) -> tuple[bytes | None, int]:
        """Finds the stack, which is then `thread.walked`: (the thread state that it was read from, how often it was copied again).

        None where the thread has ended. What never was to be believed is kept as far as it was, and marked as moving.
        """
        apart = 0
        for tries in range(MAX_RETRIES + 1):
            if tries:
                self._fit(thread)
            plan = thread.plan
            if plan is None:
                continue
            if apart > PROVED_RETRIES:
                copy = plan.sample(self._memory.pid)
                if copy is None:
                    continue
                if self._is_other(thread, copy):
                    return None, tries
                walked = self._frames.at_state(plan, copy)
                if walked is not None:
                    thread.walked, thread.last, thread.quiet = walked, b"", 0
                    return copy, tries
                continue
            if tries:
                copies = plan.copy(self._memory.pid)
            if copies is None:
                continue
            if self._is_other(thread, copies.state):
                return None, tries
            proved, agreed = self._proves(thread, plan, copies, learn=tries > 0)
            if proved:
                return copies.state, tries
            apart += not agreed
        return self._outer(thread), MAX_RETRIES

    def _outer(self, thread: ThreadState) -> bytes | None:
        """Keeps what one more double copy says of the outer part of the stack; None where the thread has ended."""
        self._fit(thread)
        plan, reader = thread.plan, self._frames
        copies = plan.copy(self._memory.pid) if plan is not None else None
        walked = _MOVING  # where its frames can't even be copied together: they come and go
        try:
            state = copies.state if copies else self._memory.read(thread.state + reader.state.start, reader.state.size)
        except Unreadable:
            return None
        if self._is_other(thread, state):
            return None
        if plan is not None and copies is not None:
            self._twice = None if plan.stale else self._twice
            walked = reader.outer(plan, copies)
        thread.walked, thread.last, thread.quiet = walked, b"", 0
        return state

    def _proves(self, thread: ThreadState, plan: Plan, copies: Copies, *, learn: bool) -> tuple[bool, bool]:
        """Whether the stack is proved, which is then `thread.walked`, and whether both sides agree on it at least (`Proofs.walk`)."""
        if thread.last and thread.last == copies.before + copies.state and plan.still(copies):
            thread.quiet += 1
            if thread.quiet == RESTING_AFTER:
                self._once = None  # laid out anew before the next reading, with this thread
            return True, True
        walked, agreed = self._frames.walk(plan, copies, learn=learn)
        if walked is None:
            return False, agreed
        thread.walked, thread.quiet = walked, 0
        thread.last = copies.before + copies.state if plan.still(copies) else b""
        return True, True

    def _fit(self, thread: ThreadState) -> None:
        """A new plan, where the old one does not fit any more."""
        if thread.plan is None or thread.plan.stale:
            self._plan(thread)
            self._twice = None  # laid out anew before the next reading

    def _is_other(self, thread: ThreadState, state: bytes) -> bool:
        """Whether its memory is no thread state of its interpreter any more."""
        _, interpreter, *_ = self._frames.state.unpack_from(state)
        return bool(interpreter != thread.interpreter.address)

    def _holder(self, once: bytes, place: int, copied: int) -> int:
        """The thread state that holds the GIL whose copy begins at `place`, 0 for none."""
        end = place + self._census.gil_size
        return self._census.gil_holder(once[place:end]) if end <= copied else 0

    def _raw(self, thread: ThreadState, state: bytes, holders: dict[int, int]) -> RawStack:
        """The stack, with who it belongs to; the same value as last time where nothing has changed."""
        holds = holders.get(thread.interpreter.gil) == thread.state
        raw = thread.raw
        if (
            raw is not None
            and thread.resting
            and raw.walked is thread.walked
            and (self._holds is not None or raw.holds_gil == holds)
        ):
            return raw
        _, _, _, ident, tid, _, _ = self._frames.state.unpack_from(state)
        if self._holds is not None:  # 3.15 says it in the thread state itself
            holds = self._flag(state, self._holds)
        wants = None if self._wants is None else self._flag(state, self._wants)
        thread.raw = RawStack(thread.state, thread.interpreter.id, ident, tid, thread.walked, holds, wants)
        return thread.raw
