"""The looks that are going on: each a short-lived child of the supervisor, which writes what it saw into a pipe (`look.py`).

One that takes too long gets a second one beside it, which reads less and tells where the first one is (`late.py`); then it is killed.
"""

import os
import selectors
import time
from collections.abc import Callable

import msgspec

from pellucid.model.incident import LookAt
from pellucid.serve import events, late, look, processes
from pellucid.serve.children import Children

LOOK_S = {"half": 10.0, "deadline": 5.0, "grown": 60.0, "full": 10.0}
"""A look takes 0.1 s and what it reads, a look at the heap longer; one that takes so long is killed."""
_MOST_OUTPUT = 1 << 26


class Looking:
    """A look that is going on. `first`: the late one that this is the second look for."""

    def __init__(self, asked: events.Look, pid: int, output: int, most_s: float, first: "Looking | None") -> None:
        self.asked = asked
        self.pid = pid
        self.output = output
        self.most_s = most_s
        self.first = first
        self.began = time.monotonic()
        self.said = bytearray()
        self.late = False
        self.told = False
        """What was seen, or that nothing was."""


class Looks:
    """Each look that was started is told to `learn` once, however it ended, and also where it never ends (disk sleep)."""

    def __init__(
        self, selector: selectors.BaseSelector, children: Children, learn: Callable[[events.Event], None]
    ) -> None:
        self._selector = selector
        self._children = children
        self._learn = learn
        self._going_on: dict[int, Looking] = {}  # by pid

    def start(self, asked: events.Look) -> None:
        pid, tid, moment = asked.pid, asked.tid, asked.moment
        self._begin(asked, lambda pipe: look.tell(pipe, pid, tid, moment), LOOK_S[moment])

    def _begin(
        self, asked: events.Look, tell: Callable[[int], None], most_s: float, first: Looking | None = None
    ) -> None:
        output, theirs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output, False)
        pid = processes.fork(lambda: tell(theirs))
        os.close(theirs)
        looking = Looking(asked, pid, output, most_s, first)
        self._going_on[pid] = looking
        self._selector.register(output, selectors.EVENT_READ, lambda: self._read(looking))
        self._children.watch(pid, lambda: self._ended(looking))

    def end_late(self, now: float) -> None:
        """Begin a second look beside one that takes too long; a second one that does as well is the last."""
        for looking in list(self._going_on.values()):
            if looking.late or now - looking.began <= looking.most_s:
                continue
            looking.late = True
            if looking.first is None:
                self._begin_second(looking)
            else:
                self._children.kill(looking.pid)
                self._decide(looking.first, None, _too_long(looking.first))

    def _begin_second(self, first: Looking) -> None:
        asked = first.asked

        def tell(pipe: int) -> None:
            look.write(
                pipe, asked.moment, lambda: late.late(asked.pid, asked.tid, asked.moment, first.pid, first.most_s)
            )

        try:
            self._begin(asked, tell, late.LATE_S, first)
        except OSError:  # no more processes or descriptors
            self._decide(first, None, _too_long(first))

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
        try:
            seen = msgspec.json.decode(looking.said, type=LookAt)
        except msgspec.DecodeError:
            seen = None
        if looking.first is not None:
            self._decide(looking.first, seen, _too_long(looking.first))
        elif seen is not None or not looking.late:  # else the second look is about to tell
            self._decide(looking, seen, f"the look itself {death}")

    def _decide(self, looking: Looking, seen: LookAt | None, why_not: str) -> None:
        """Tell what a look, or the second one in its place, has seen; the look ends with that."""
        if looking.told:
            return
        looking.told = True
        if looking.pid in self._going_on:
            self._children.kill(looking.pid)
        now = time.monotonic()
        seen = seen or look.unseen(looking.asked.moment, now - looking.began, why_not)
        self._learn(events.Looked(now, looking.asked.incident, seen))


def _too_long(looking: Looking) -> str:
    return f"the look took longer than {looking.most_s:g} s"
