"""All threads of a CPython a thousand times a second: one process_vm_readv a tick, and only what has changed is told.

    heads of the lists · GILs · resting threads · moving threads, each its state and then its frames (`copies`)

A resting thread is one whose bytes were the same at the last readings: it costs a comparison, and all of them together one as long as none
wakes. One that has woken is copied by a call of its own until it rests again, so that what is copied need not be laid out anew each time
a thread wakes. It is laid out again when threads came or went, and now and then.

A stack is that of the moment at which its state was copied (`chains`), whether or not it held still then. `benchmarks/profile.py` measures
how near that comes to stacks that are read while the process is stopped.
"""

from struct import Struct as Bytes
from struct import pack

from msgspec import Struct

from pellucid.kernel.memory import MAX_BYTES, Memory, Vector
from pellucid.runtimes.cpython.chains import LOST, Chains
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.threads import MAX_BATCHED, MAX_CENSUS, RESTING_AFTER, Threads, ThreadState

MOST_AWAKE = 8
"""Threads that are copied one by one: with more, all are laid out again."""
MAX_PLANS = 2
"""Times that a thread is planned anew in a tick, because too much of its stack lies outside of what was copied."""
LAID_FOR = (4, 16, 64)
"""Ticks after which they are laid out again, where anything would then be cheaper; then each time after the last."""

_I32 = Bytes("<i")

Moving = list[tuple[ThreadState, bytes | None]]


class Tick(Struct, frozen=True):
    """What is not as it was at the last tick.

    `moved`: the threads that have another stack, or are new; what is said of them is in them. `threads`: all of them, the same tuple
    while none has come or gone. `holders`: the thread states that hold a GIL. `ended` threads were gone before they could be read;
    `unlisted`: some may be missing.
    """

    moved: list[ThreadState]
    threads: tuple[ThreadState, ...]
    holders: frozenset[int]
    ended: int
    unlisted: bool


class Ticks(Threads):
    """As `Threads`; `tick()` in place of `read()`."""

    _laid: Vector | None = None
    _age = 0
    _heads_text = b""
    _gil_text = b""
    _rest = b""
    _singles_end = 0
    _holders: frozenset[int] = frozenset()
    _all: tuple[ThreadState, ...] = ()

    def __init__(self, memory: Memory, layout: Layout, runtime: int, chains: Chains) -> None:
        super().__init__(memory, layout, runtime, chains)
        self._chains = chains

    def tick(self) -> Tick:
        """Raises Unreadable when the process is gone."""
        same = False
        moving: Moving = []
        for _ in range(MAX_CENSUS):
            vector = self._laid or self._lay()
            copied = vector.copy()
            text = bytes(vector.buffer)
            if not text.startswith(self._heads_text) or copied < len(self._heads_text):
                self._list_again()
                continue
            if self._singles:
                self._wake(text, copied)
            moving = self._moving(text, copied)
            same = True
            for thread, copy in moving:
                same = same and self._still_follows(thread, copy)
            if same:
                break
            self._list_again()
        moved: list[ThreadState] = []
        holders = self._holding(text, copied)
        ended = 0
        for thread, copy in moving:
            before = thread.walked
            seen = self._seen(thread, copy)
            if seen is None:
                ended += 1
                continue
            if self._identify(thread, seen) or thread.walked is not before:
                moved.append(thread)
            if self._holds is not None and self._flag(seen, self._holds):
                holders |= {thread.state}
        self._settled(ended)
        return Tick(moved, self._all, holders, ended, not same or not self._whole)

    def _seen(self, thread: ThreadState, copy: bytes | None) -> bytes | None:
        """Finds its stack, which is then `thread.walked`; returns the copy that it was read from, None where the thread has ended."""
        pid = self._memory.pid
        for _ in range(MAX_PLANS + 1):
            plan = thread.plan
            if copy is not None and plan is not None:
                if self._is_other(thread, copy):
                    return None
                if copy == thread.last:
                    thread.quiet += 1
                    return copy
                walked = self._chains.sample(plan, copy)
                if walked is not None:
                    thread.walked, thread.quiet = walked, 0
                    thread.last = b"" if plan.late or walked.moving else copy
                    if plan.stale:
                        self._plan(thread)  # for the next tick
                    return copy
            self._plan(thread)
            copy = thread.plan.sample(pid) if thread.plan is not None else None
        if copy is not None:
            thread.walked, thread.last, thread.quiet = LOST, b"", 0
        return copy

    def _still_follows(self, thread: ThreadState, copy: bytes | None) -> bool:
        """As `_is_followed`."""
        if copy is None or not thread.interpreter.whole:
            return True
        following, *_ = self._frames.state.unpack_from(copy)
        return bool(following == thread.following)

    def _list_again(self) -> None:
        """Threads or interpreters came or went: follow the lists before the next copy. What is known of the threads is kept."""
        self._listed = False
        self._laid = None

    def _lay(self) -> Vector:
        """Lays out the copy; follows the lists first where they have changed, and plans the threads that have no plan that fits."""
        if not self._listed:
            self._list()
            self._all = tuple(self._threads)
            self._whole = all(each.whole for each in self.interpreters)
        ranges: list[tuple[int, int]] = []
        size = self._lay_heads(ranges)
        self._heads_text = pack(f"<{len(self._heads)}Q", *(address for _, address in self._heads))
        self._heads_size = size
        singles: list[ThreadState] = []
        doubles: list[ThreadState] = []
        for thread in self._threads:
            if thread.plan is None or thread.plan.stale:
                self._plan(thread)
                thread.last, thread.quiet = b"", 0
            thread.resting = thread.plan is not None and bool(thread.last) and thread.quiet >= RESTING_AFTER
            (singles if thread.resting else doubles).append(thread)
        self._singles: list[ThreadState] = []
        self._doubles: list[ThreadState] = []
        self._alone: dict[ThreadState, None] = {}
        for thread in singles:
            if thread.plan is None or size + len(thread.last) > MAX_BYTES:
                self._alone[thread] = None
                continue
            thread.start, thread.laid, thread.rested = size, thread.plan, thread.plan.rested(thread.last)
            ranges += thread.plan.resting
            size += len(thread.rested)
            self._singles.append(thread)
        self._singles_end = size
        for thread in doubles:
            if thread.plan is None or thread.plan.size > MAX_BATCHED or size + thread.plan.size > MAX_BYTES:
                self._alone[thread] = None
                continue
            thread.start, thread.laid = size, thread.plan
            ranges += thread.plan.first
            size += thread.plan.size
            self._doubles.append(thread)
        self._age = 0
        self._rest = b""
        self._laid = Vector(self._memory.pid, ranges)
        return self._laid

    def _wake(self, text: bytes, copied: int) -> None:
        """The resting threads whose bytes are not as they were are copied alone from now on."""
        rest = text[self._heads_size : self._singles_end]
        if rest == self._rest and copied >= self._singles_end:
            return
        self._rest = rest
        for thread in self._singles:
            if thread.resting:
                end = thread.start + len(thread.rested)
                if end > copied or text[thread.start : end] != thread.rested:
                    thread.resting, thread.quiet = False, 0
                    self._alone[thread] = None

    def _moving(self, text: bytes, copied: int) -> Moving:
        """Each moving thread with its copy, None where that could not be read."""
        found: Moving = []
        for thread in self._doubles:
            plan = thread.plan
            if plan is not None and plan is thread.laid:
                whole = text[thread.start : thread.start + plan.size]
                copy = plan.of_copied(whole, copied - thread.start)
                found.append((thread, copy or plan.sample(self._memory.pid)))
            else:
                found.append((thread, plan.sample(self._memory.pid) if plan is not None else None))
        for thread in self._alone:
            plan = thread.plan
            found.append((thread, plan.sample(self._memory.pid) if plan is not None else None))
        return found

    def _holding(self, text: bytes, copied: int) -> frozenset[int]:
        """The thread states that hold a GIL, as the GILs say."""
        gils = text[len(self._heads_text) : self._heads_size]
        if gils != self._gil_text:
            self._gil_text = gils
            self._holders = frozenset(self._holder(text, place, copied) for place in self._gils.values()) - {0}
        return self._holders

    def _settled(self, ended: int) -> None:
        """After the tick: which threads rest again, and whether to lay out anew."""
        self._age = self._age % LAID_FOR[-1] + 1
        for thread in [each for each in self._alone if each.quiet >= RESTING_AFTER] if self._alone else ():
            plan = thread.plan
            if plan is not None and plan is thread.laid and not plan.stale and thread.start < self._singles_end:
                thread.resting, thread.rested = True, plan.rested(thread.last)
                self._rest = b""
                del self._alone[thread]
        if ended:
            self._list_again()
        elif len(self._alone) > MOST_AWAKE or (self._age in LAID_FOR and self._could_be_cheaper()):
            self._laid = None

    def _could_be_cheaper(self) -> bool:
        return bool(self._alone) or any(
            each.quiet >= RESTING_AFTER or each.plan is not each.laid for each in self._doubles
        )

    def _identify(self, thread: ThreadState, state: bytes) -> bool:
        """Who it is, from its state; True where it is another one than it was: an address may be given to a new thread."""
        _, _, _, ident, tid, _, _ = self._frames.state.unpack_from(state)
        if self._wants is not None:
            thread.wants_gil = self._flag(state, self._wants)
        if thread.tid == tid and thread.ident == ident:
            return False
        thread.ident, thread.tid = ident, tid
        return True
