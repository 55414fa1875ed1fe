"""All threads of a CPython in one batched copy, each proved; what did not hold still is copied again by itself.

The batch also brings the heads of the interpreters and the links between the threads: when they are as they were, no thread
has come or gone, and the lists need not be followed again. A thread whose copies are the same bytes as last time has the
same stack as last time. So 50 idle threads cost one system call and 50 comparisons.
"""

from struct import Struct as Bytes

from msgspec import Struct

from pellucid.kernel.memory import Memory, Unreadable, Vector
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.frames import Frames, Plan, Walked
from pellucid.runtimes.cpython.interpreter import Census, Interpreter

MAX_RETRIES = 10
MAX_CENSUS = 3  # tries to find the lists as they are in the copy
MAX_BATCHED = 1 << 16  # bytes of one half: a deeper stack is copied by itself

_U64 = Bytes("<Q")
_I32 = Bytes("<i")
_NOTHING = Walked(())


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


class _Thread:
    """What is kept of a thread between two readings. `alone`: it is not copied with the batch."""

    __slots__ = ("alone", "interpreter", "last", "plan", "start", "state", "walked")

    def __init__(self, state: int, interpreter: Interpreter) -> None:
        self.state = state
        self.interpreter = interpreter
        self.plan: Plan | None = None
        self.start = 0
        self.alone = False
        self.last = b""
        self.walked = _NOTHING


class Threads:
    """Reads the stacks of all threads of all interpreters, again and again."""

    def __init__(self, memory: Memory, layout: Layout, runtime: int) -> None:
        self._memory = memory
        self._frames = Frames(memory, layout)
        self._census = Census(memory, layout, runtime)
        self._heads = (
            runtime + layout["runtime_state.interpreters_head"],
            layout["interpreter_state.next"],
            layout["interpreter_state.threads_head"],
        )
        self._holds = layout.get("thread_state.holds_gil")
        self._wants = layout.get("thread_state.gil_requested")
        self.interpreters: tuple[Interpreter, ...] = ()
        self._threads: list[_Thread] = []
        self._batch: Vector | None = None
        self._links: list[tuple[int, int]] = []
        self._gils: dict[int, int] = {}

    def read(self) -> Readout:
        """Every stack now. Raises Unreadable when the process is gone."""
        copied = 0
        whole = b""
        for _ in range(MAX_CENSUS):
            batch = self._batch or self._prepare()
            copied = batch.copy()
            whole = bytes(batch.buffer)
            if all(
                _U64.unpack_from(whole, place)[0] == address for place, address in self._links if place + 8 <= copied
            ):
                break
            self._forget()
        holders = {gil: self._holder(whole, place, copied) for gil, place in self._gils.items()}
        stacks: list[RawStack] = []
        retries = ended = 0
        for thread in self._threads:
            walked, half, tries = self._settle(thread, whole, copied)
            retries += tries
            if walked is None:
                ended += 1
            else:
                stacks.append(self._stack(thread, walked, half, holders.get(thread.interpreter.gil, 0)))
        unlisted = not all(interpreter.whole for interpreter in self.interpreters)
        if ended or unlisted or copied != len(whole):
            self._forget()
        return Readout(tuple(stacks), retries, ended, unlisted)

    def _forget(self) -> None:
        """The lists have changed: the next reading follows them again. Plans are kept."""
        self._batch = None
        self.interpreters = ()

    def _prepare(self) -> Vector:
        """Follows the lists if they are not known, and lays out one copy of everything."""
        if not self.interpreters:
            self.interpreters = self._census.interpreters()
            known = {thread.state: thread for thread in self._threads}
            self._threads = []
            for interpreter in self.interpreters:
                for state in interpreter.threads:
                    thread = known.get(state) or _Thread(state, interpreter)
                    thread.interpreter = interpreter
                    self._threads.append(thread)
        ranges: list[tuple[int, int]] = []
        size = self._lay_heads(ranges)
        for thread in self._threads:
            if thread.plan is None:
                self._plan(thread)
            plan = thread.plan
            if plan is None or thread.alone:
                continue
            ranges += plan.pieces * 2
            thread.start = size
            size += 2 * plan.half
        self._batch = Vector(self._memory.pid, ranges)
        return self._batch

    def _lay_heads(self, ranges: list[tuple[int, int]]) -> int:
        """The links of both lists and each GIL, first in the copy; returns the bytes that they take."""
        first, following, threads = self._heads
        self._links = []
        self._gils = {}
        size = 0
        addresses = [interpreter.address for interpreter in self.interpreters]
        links = [(first, addresses[0] if addresses else 0)]
        for interpreter, after in zip(self.interpreters, [*addresses[1:], 0], strict=True):
            links.append((interpreter.address + following, after))
            links.append((interpreter.address + threads, interpreter.threads[0] if interpreter.threads else 0))
        for place, expected in links:
            ranges.append((place, 8))
            self._links.append((size, expected))
            size += 8
        for gil in {interpreter.gil for interpreter in self.interpreters if interpreter.gil}:
            ranges.append((gil, self._census.gil_size))
            self._gils[gil] = size
            size += self._census.gil_size
        return size

    def _plan(self, thread: _Thread) -> None:
        """Makes the plan of a thread; None where a part of its stack could not be read, as when it ends just now."""
        try:
            thread.plan = self._frames.plan(thread.state)
        except Unreadable:
            thread.plan = None
            return
        thread.alone = thread.alone or thread.plan.half > MAX_BATCHED

    def _settle(self, thread: _Thread, whole: bytes, copied: int) -> tuple[Walked | None, bytes, int]:
        """(its stack, the copy that it was read from, copies taken again); None for the stack of a thread that ended."""
        halves: tuple[bytes, bytes] | None = None
        plan = thread.plan
        if plan is not None and not thread.alone and thread.start + 2 * plan.half <= copied:
            middle = thread.start + plan.half
            halves = whole[thread.start : middle], whole[middle : middle + plan.half]
        elif plan is not None:
            halves = plan.copy(self._memory.pid)
        for tries in range(MAX_RETRIES + 1):
            if tries:
                halves = self._again(thread)
            if halves is None or thread.plan is None:
                continue
            first, second = halves
            if second == thread.last and first == second:
                return thread.walked, second, tries
            if self._is_other(thread, second):
                return None, b"", tries
            walked = self._frames.walk(thread.plan, first, second)
            if walked is not None:
                thread.last, thread.walked = second, walked
                return walked, second, tries
        if halves is None or thread.plan is None:
            return None, b"", MAX_RETRIES
        return self._frames.outer(thread.plan, *halves), halves[1], MAX_RETRIES

    def _again(self, thread: _Thread) -> tuple[bytes, bytes] | None:
        """A copy of this thread alone, by a new plan where the old one does not fit any more."""
        if thread.plan is None or thread.plan.stale:
            if not thread.alone:
                thread.alone = True
                self._batch = None  # laid out anew before the next reading, without this thread
            self._plan(thread)
        return thread.plan.copy(self._memory.pid) if thread.plan is not None else None

    def _is_other(self, thread: _Thread, half: bytes) -> bool:
        """Whether its memory is no thread state of its interpreter any more."""
        assert thread.plan is not None
        _, interpreter, *_ = self._frames.state.unpack_from(half, thread.plan.state_at)
        return bool(interpreter != thread.interpreter.address)

    def _holder(self, whole: bytes, place: int, copied: int) -> int:
        """The thread state that holds the GIL whose copy begins at `place`, 0 for none."""
        end = place + self._census.gil_size
        return self._census.gil_holder(whole[place:end]) if end <= copied else 0

    def _stack(self, thread: _Thread, walked: Walked, half: bytes, holder: int) -> RawStack:
        assert thread.plan is not None
        at = thread.plan.state_at
        _, _, _, ident, tid, _, _ = self._frames.state.unpack_from(half, at)
        shift = at - self._frames.state.start
        holds = holder == thread.state
        if self._holds is not None:  # 3.15 says it in the thread state itself
            holds = _I32.unpack_from(half, shift + self._holds)[0] != 0
        wants = None if self._wants is None else _I32.unpack_from(half, shift + self._wants)[0] != 0
        return RawStack(thread.state, thread.interpreter.id, ident, tid, walked, holds, wants)
