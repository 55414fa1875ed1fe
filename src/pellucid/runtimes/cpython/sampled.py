"""A CPython that is sampled: ticks that tell what has changed since the last one, stacks as numbers, names as often as they may change."""

import time

from pellucid.model import Frame
from pellucid.runtimes.cpython.chains import Chains
from pellucid.runtimes.cpython.interpreter import Interpreter
from pellucid.runtimes.cpython.names import Names
from pellucid.runtimes.cpython.process import CPython
from pellucid.runtimes.cpython.threads import ThreadState
from pellucid.runtimes.cpython.ticks import Tick, Ticks
from pellucid.runtimes.cpython.tids import Tids
from pellucid.runtimes.cpython.trie import EMPTY, Trie

REVALIDATE_S = 0.05
"""So often a part of the code objects is looked at again; each of them about once in ROUND_S."""
ROUND_S = 1.0
LEAST_PART = 16
NAMES_S = 1.0


class Sampled:
    """`python` is an attached CPython, which it closes with itself; `rate_hz` is about how often `tick` will be called."""

    def __init__(self, python: CPython, rate_hz: float) -> None:
        self.python = python
        self.trie = Trie(python.codes, ~7 if python.layout.minor >= 14 else ~0)  # _PyStackRef, pycore_stackref.h
        self._chains = Chains(python.memory, python.layout, self.trie, rate_hz)
        self._threads = Ticks(python.memory, python.layout, python.runtime, self._chains)
        self._names = Names(python.objects)
        self._named: dict[tuple[int, int], str] = {}
        self._tids = Tids(python.memory.pid)
        self._named_at = self._revalidated_at = 0.0

    def close(self) -> None:
        self.python.close()

    @property
    def interpreters(self) -> tuple[Interpreter, ...]:
        """As the last tick found them, the oldest last."""
        return self._threads.interpreters

    def tick(self) -> Tick:
        """Raises Unreadable when the process has ended, or become another program."""
        return self._threads.tick()

    def tid(self, thread: ThreadState) -> int | None:
        """Its id here; None when it has ended, or does not run yet."""
        return self._tids.outer(thread.tid) if thread.tid else None

    def name(self, thread: ThreadState, tid: int) -> str:
        """What the program calls it, else the kernel, "" where neither is known any more."""
        known = self._named.get((thread.interpreter.id, thread.ident))
        return known or ("MainThread" if tid == self.python.memory.pid else self._tids.comm(tid))

    def in_gil(self, address: int) -> bool:
        """Whether a futex at `address` is part of some interpreter's GIL."""
        size = self.python.layout["gil.size"]
        return any(each.gil <= address < each.gil + size for each in self._threads.interpreters if each.gil)

    def refresh(self, *, new: bool) -> bool:
        """What may have changed meanwhile; to be called now and then between ticks. True where names were read again.

        `new`: threads have come since, whose names are not known.
        """
        now = time.monotonic()
        if now - self._revalidated_at > REVALIDATE_S:
            self._revalidated_at = now
            part = max(LEAST_PART, int(len(self.python.codes) * REVALIDATE_S / ROUND_S))
            if self.python.codes.revalidate_some(part):
                self.trie.forget()
        self.python.objects.forget()
        if not new and now - self._named_at < NAMES_S:
            return False
        self._named_at = now
        for each in self._threads.interpreters:
            for ident, name in self._names.of(each.address).items():
                self._named[each.id, ident] = name
        return True

    def judged(self, node: int, moving: bool) -> tuple[int, bool]:
        """What a stack that was told by a tick is, by all that is known now, and whether it is cut."""
        return self._chains.judged(node, moving)

    def frames(self, node: int) -> tuple[Frame, ...]:
        """The frames of a stack, innermost first."""
        node, _ = self.judged(node, False)
        found = []
        while node != EMPTY:
            found.append(self.trie.frame(node))
            node = self.trie.parent(node)
        return tuple(found)
