"""Which interpreters and threads a CPython has: the lists that begin in `_PyRuntime`.

runtime.interpreters.head → interpreter.next → …, and of each interpreter threads.head → thread.next → …
(Include/internal/pycore_runtime.h, pycore_interp.h). A list may change while it is followed: each loop is bounded, each
thread has to name the interpreter that it was reached from, and what does not add up ends the list.
"""

from struct import Struct

from pellucid.kernel.memory import Memory, Unreadable
from pellucid.runtimes.cpython.debug_offsets import Layout
from pellucid.runtimes.cpython.records import Record

MAX_INTERPRETERS = 4096
MAX_THREADS = 100_000
_TRIES = 5

_U64 = Struct("<Q")
_I32 = Struct("<i")


class Interpreter:
    """One interpreter; `gil` is the address of its struct _gil_runtime_state, 0 where there is none."""

    __slots__ = ("address", "gil", "id", "threads", "whole")

    def __init__(self, address: int, number: int, gil: int, threads: tuple[int, ...], whole: bool) -> None:
        self.address = address
        self.id = number
        self.gil = gil
        self.threads = threads
        """The addresses of its thread states, the youngest first."""
        self.whole = whole
        """False when threads came and went so fast that the list could not be followed to its end."""


class Census:
    """Reads the lists of interpreters and threads."""

    def __init__(self, memory: Memory, layout: Layout, runtime: int) -> None:
        self._memory = memory
        self._runtime = runtime
        self._head = runtime + layout["runtime_state.interpreters_head"]
        self._next = layout["interpreter_state.next"]
        self._threads = layout["interpreter_state.threads_head"]
        self._id = layout["interpreter_state.id"]
        self._gil_in_runtime = layout.get("runtime_state.gil")
        self._gil = layout.get("interpreter_state.ceval_gil")
        self._links = Record(layout, (("thread_state.next", "Q"), ("thread_state.interp", "Q")))
        self.gil_size = layout["gil.size"]
        self._holder = layout["gil.last_holder"]
        self._locked = layout["gil.locked"]

    def interpreters(self, most_threads: int = MAX_THREADS) -> tuple[Interpreter, ...]:
        """All of them, the youngest first; empty while CPython starts and after it has ended. Raises Unreadable.

        No more than the `most_threads` youngest threads of each are followed.
        """
        found: list[Interpreter] = []
        seen: set[int] = set()
        memory = self._memory
        address = memory.u64(self._head)
        while address and address not in seen and len(found) < MAX_INTERPRETERS:
            seen.add(address)
            threads, whole = self._threads_of(address, most_threads)
            found.append(Interpreter(address, memory.u64(address + self._id), self._gil_of(address), threads, whole))
            address = memory.u64(address + self._next)
        return tuple(found)

    def _gil_of(self, interpreter: int) -> int:
        if self._gil is not None:
            return self._memory.u64(interpreter + self._gil)
        return self._runtime + self._gil_in_runtime if self._gil_in_runtime is not None else 0

    def _threads_of(self, interpreter: int, most: int) -> tuple[tuple[int, ...], bool]:
        """(its thread states, whether the list could be followed to its end), after a few tries."""
        threads: dict[int, None] = {}
        for _ in range(_TRIES):
            threads = {}
            address = self._memory.u64(interpreter + self._threads)
            while address and address not in threads and len(threads) < most:
                try:
                    raw = self._memory.read(address + self._links.start, self._links.size)
                except Unreadable:
                    break  # this thread ended, and its memory is gone
                following, owner = self._links.unpack(raw)
                if owner != interpreter:
                    break  # this thread ended, and its memory is something else
                threads[address] = None
                address = following
            if not address:
                return tuple(threads), True
        return tuple(threads), False

    def gil_holder(self, gil: bytes) -> int:
        """The address of the thread state that holds the GIL, 0 when nobody does; `gil` is the copied struct.

        `last_holder` stays set after the release; `locked` tells (Python/ceval_gil.c, drop_gil).
        """
        if _I32.unpack_from(gil, self._locked)[0] != 1:
            return 0
        holder: int = _U64.unpack_from(gil, self._holder)[0]
        return holder
