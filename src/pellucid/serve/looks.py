"""The looks that are going on: each a short-lived child of the supervisor, which writes what it saw into a pipe (`look.py`)."""

import os
import selectors
import time
from collections.abc import Callable

import msgspec

from pellucid.model.incident import LookAt
from pellucid.serve import events, look, processes
from pellucid.serve.children import Children

LOOK_S = {"half": 10.0, "deadline": 5.0, "grown": 60.0, "full": 10.0}
"""A look takes 0.1 s and what it reads, a look at the heap longer; one that takes so long is killed."""
_MOST_OUTPUT = 1 << 26


class Looking:
    """A look that is going on."""

    def __init__(self, asked: events.Look, pid: int, output: int) -> None:
        self.asked = asked
        self.pid = pid
        self.output = output
        self.began = time.monotonic()
        self.said = bytearray()
        self.late = False


class Looks:
    """Each look that was started is told to `learn` once, however it ended."""

    def __init__(
        self, selector: selectors.BaseSelector, children: Children, learn: Callable[[events.Event], None]
    ) -> None:
        self._selector = selector
        self._children = children
        self._learn = learn
        self._going_on: dict[int, Looking] = {}  # by pid

    def start(self, asked: events.Look) -> None:
        output, theirs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output, False)
        pid = processes.fork(lambda: look.tell(theirs, asked.pid, asked.tid, asked.moment))
        os.close(theirs)
        looking = Looking(asked, pid, output)
        self._going_on[pid] = looking
        self._selector.register(output, selectors.EVENT_READ, lambda: self._read(looking))
        self._children.watch(pid, lambda: self._ended(looking))

    def end_late(self, now: float) -> None:
        """Kill those that take too long."""
        for looking in self._going_on.values():
            if now - looking.began > LOOK_S[looking.asked.moment] and not looking.late:
                looking.late = True
                self._children.kill(looking.pid)

    def _read(self, looking: Looking) -> None:
        while looking.output >= 0:
            try:
                chunk = os.read(looking.output, 1 << 16)
            except BlockingIOError:
                return
            looking.said += chunk
            if not chunk or len(looking.said) > _MOST_OUTPUT:
                self._close_output(looking)

    def _close_output(self, looking: Looking) -> None:
        self._selector.unregister(looking.output)
        os.close(looking.output)
        looking.output = -1

    def _ended(self, looking: Looking) -> None:
        self._read(looking)  # all that it wrote is in the pipe by now
        if looking.output >= 0:
            self._close_output(looking)
        del self._going_on[looking.pid]
        death = self._children.reap(looking.pid)
        why_not = (
            f"the look took longer than {LOOK_S[looking.asked.moment]:g} s"
            if looking.late
            else f"the look itself {death}"
        )
        try:
            seen = msgspec.json.decode(looking.said, type=LookAt)
        except msgspec.DecodeError:
            seen = look.unseen(looking.asked.moment, time.monotonic() - looking.began, why_not)
        self._learn(events.Looked(time.monotonic(), looking.asked.incident, seen))
