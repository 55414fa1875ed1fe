"""An attached CPython: all its stacks, as often as wanted, with names, files and lines. The target is never stopped."""

import time
from types import TracebackType
from typing import TYPE_CHECKING

from pellucid.kernel.memory import Memory, Unreadable
from pellucid.model import Frame, Gap, Stack
from pellucid.model.errors import NoSuchProcess
from pellucid.runtimes.base import Reading
from pellucid.runtimes.cpython.codes import Codes
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.frames import MAX_FRAMES, OWNED_BY_GENERATOR, Activation
from pellucid.runtimes.cpython.names import Names
from pellucid.runtimes.cpython.objects import Objects
from pellucid.runtimes.cpython.proofs import Proofs
from pellucid.runtimes.cpython.threads import RawStack, Readout, Threads
from pellucid.runtimes.cpython.tids import Tids
from pellucid.runtimes.cpython.trie import Trie

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from pellucid.runtimes.cpython.copies import Content
    from pellucid.runtimes.cpython.interpreter import Interpreter

REVALIDATE_S = 1.0
"""Code objects and thread names that were kept for longer are looked at again."""

RENAME_S = 0.05
"""A thread without a name is asked for one so often: it may just have been started."""

MAX_ABSENT = 256
"""Names that are kept of threads that were not read: a list that changes while it is followed may miss one once."""

_UNKNOWN = Frame("?", "?", "?", None)


class CPython:
    """An attached CPython. A context manager; `close()` lets go of it. `layout`, `memory` and `objects` are for deeper looks."""

    def __init__(self, memory: Memory, name: str, path: str, runtime: int, layout: Layout) -> None:
        self.name = name
        self.path = path
        self.runtime = runtime
        self.memory = memory
        self.layout = layout
        self.objects = Objects(memory, layout)
        self.codes = Codes(memory, self.objects)
        self._names = Names(self.objects)
        trie = Trie(self.codes, ~7 if layout.minor >= 14 else ~0)  # _PyStackRef, pycore_stackref.h
        self._threads = Threads(memory, layout, runtime, Proofs(memory, layout, trie))
        self._tids = Tids(memory.pid)
        self._named: dict[tuple[int, int, int], str] = {}
        """(number of the interpreter, ident, tid) → name, "" where the program gave none."""
        self._named_at = 0.0
        self._comms: dict[int, str] = {}
        """Thread id → the kernel's name, of threads that the program gave none."""
        self._made: dict[int, tuple[RawStack, Stack]] = {}
        """Address of the thread state → what the last reading made of it."""
        self._refreshed_at = 0.0
        self._unnamed = 0
        self.raw: tuple[RawStack, ...] = ()
        """The stacks of the last reading as they lie in memory: addresses of threads, frames, code and instructions."""

    def close(self) -> None:
        self.memory.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def interpreters(self) -> "tuple[Interpreter, ...]":
        """As the last reading found them."""
        return self._threads.interpreters

    def active_threads(self) -> int:
        """The address of the dict `threading._active` of the youngest interpreter that has one, 0 without. Raises Unreadable."""
        return next((at for each in self.interpreters if (at := self._names.active_of(each.address))), 0)

    def contents(self) -> "dict[int, Content]":
        """Address of the thread state → what its frames held at the last reading; without those that moved."""
        return self._threads.contents()

    stops = False
    stopped_s: float | None = None

    def in_gil(self, address: int) -> bool:
        """Whether a futex at `address` is part of some interpreter's GIL (struct _gil_runtime_state, pycore_gil.h)."""
        size = self.layout["gil.size"]
        return any(each.gil <= address < each.gil + size for each in self.interpreters if each.gil)

    def read(self) -> Reading:
        """Every stack now. Raises NoSuchProcess when the process has ended."""
        try:
            readout = self._threads.read()
        except Unreadable:
            raise NoSuchProcess.ended(self.memory.pid, f"read the Python stacks of pid {self.memory.pid}") from None
        self.raw = readout.stacks
        self._refresh()
        self._unnamed = 0
        ended = readout.ended
        stacks: list[Stack] = []
        for raw in readout.stacks:
            stack = self._stack(raw) if raw.tid else None
            if stack is not None:
                stacks.append(stack)
            elif raw.tid:  # 0: created, and not yet running
                ended += 1
        return Reading(_one_a_thread(stacks), readout.retries, tuple(self._gaps(readout, ended)))

    def _stack(self, raw: RawStack) -> Stack | None:
        """None for the stack of a thread that has ended since it was copied."""
        before = self._made.get(raw.state)
        if before is not None and before[0] is raw:
            return before[1]
        tid = self._tids.outer(raw.tid)
        if tid is None:
            return None
        unnamed = self._unnamed
        stack = Stack(
            tid=tid,
            ident=raw.ident,
            name=self._named.get((raw.interpreter, raw.ident, raw.tid)) or self._comm(tid),
            frames=self._frames(raw.walked.activations),
            interpreter=raw.interpreter,
            moving=raw.walked.moving,
            holds_gil=raw.holds_gil,
            wants_gil=raw.wants_gil,
        )
        if unnamed == self._unnamed:
            self._made[raw.state] = (raw, stack)
        return stack

    def _comm(self, tid: int) -> str:
        name = self._comms.get(tid)
        if name is None:
            name = self._comms[tid] = self._tids.comm(tid)
        return name

    def _frames(self, activations: tuple[Activation, ...]) -> tuple[Frame, ...]:
        frames: list[Frame] = []
        for each in activations:
            try:
                frame = self.codes.frame(each.code, each.instruction, generator=each.owner == OWNED_BY_GENERATOR)
            except Unreadable:
                self._unnamed += 1  # its code object was freed since the copy
                frame = _UNKNOWN
            if frame is not None:
                frames.append(frame)
        return tuple(frames)

    def _refresh(self) -> None:
        """What may have changed since the last second, and the names of threads that are new."""
        now = time.monotonic()
        if now - self._refreshed_at > REVALIDATE_S:
            if self._refreshed_at:
                self.codes.revalidate()
            self._refreshed_at = now
            self._named_at = 0.0
            self._made.clear()
            self._comms.clear()
        threads = {(raw.interpreter, raw.ident, raw.tid) for raw in self.raw}
        nameless = not all(map(self._named.get, threads))
        if not threads <= self._named.keys() or now - self._named_at > (RENAME_S if nameless else REVALIDATE_S):
            self._named_at = now
            self._made.clear()
            self._name(threads)
        self.objects.forget()

    def _name(self, threads: set[tuple[int, int, int]]) -> None:
        """Reads the names anew. A name that was known stays where it can't be found: the dict of threads, or their list, may be torn."""
        found = {each.id: self._names.of(each.address) for each in self.interpreters}
        known = self._named
        self._named = {
            key: found.get(key[0], {}).get(key[1]) or known.get(key, "")
            for key in threads  # (number of the interpreter, ident, tid)
        }
        absent = [key for key, name in known.items() if name and key not in threads]
        self._named |= {key: known[key] for key in absent[-MAX_ABSENT:]}

    def _gaps(self, readout: Readout, ended: int) -> "Iterator[Gap]":
        count = len(readout.stacks) + readout.ended
        if not count:
            yield Gap("the Python threads", "CPython has no thread now: it is starting, or it has been finalised")
        if ended:
            yield Gap(f"the stacks of {ended} of {count} Python threads", "they ended while they were read")
        if readout.unlisted:
            yield Gap(
                "some Python threads", "threads came and went faster than their list could be followed", "look again"
            )
        if self._unnamed:
            yield Gap(f"the names of {self._unnamed} frames", "their code was freed while it was read", "look again")
        for raw in readout.stacks:
            if raw.walked.cut:
                yield Gap(f"the outer frames of thread {raw.tid}", f"only the innermost {MAX_FRAMES} frames are read")


def _one_a_thread(stacks: list[Stack]) -> tuple[Stack, ...]:
    """By thread id, one each. A thread that runs a subinterpreter has a stack in both: the younger interpreter's is inside.

    Before 3.13 a subinterpreter's state keeps the id of the thread that made it, also while another one runs it
    (Modules/_xxsubinterpretersmodule.c, _run_script_in_interpreter): its frames then stand with the maker's.
    """
    by_tid: dict[int, list[Stack]] = {}
    for stack in stacks:
        by_tid.setdefault(stack.tid, []).append(stack)
    return tuple(_joined(by_tid[tid]) for tid in sorted(by_tid))


def _joined(stacks: list[Stack]) -> Stack:
    if len(stacks) == 1:
        return stacks[0]
    inside_first = sorted(stacks, key=lambda stack: -stack.interpreter)
    running = [stack for stack in inside_first if stack.frames or stack.moving] or inside_first[-1:]
    outermost = running[-1]
    return Stack(
        tid=outermost.tid,
        ident=outermost.ident,
        name=outermost.name,
        frames=tuple(frame for stack in running for frame in stack.frames),
        interpreter=running[0].interpreter,
        moving=any(stack.moving for stack in running),
        holds_gil=any(stack.holds_gil for stack in stacks),
        wants_gil=None if outermost.wants_gil is None else any(stack.wants_gil for stack in stacks),
    )
