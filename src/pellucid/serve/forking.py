"""How the template makes a worker, and why one is there within milliseconds when another dies.

A worker's parent is not the template but the supervisor: the template forks a child, that child forks the worker and ends, and the kernel gives
the orphan to the nearest subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)), which the supervisor is. So the supervisor itself learns how a
worker died, the workers outlive a template that is killed, and they are killed with the supervisor.

Two forks of a process with a hundred MB of pages are most of the time that a replacement takes. So they are made beforehand: a spare process
waits at the end of a pipe to be told which worker it is. It has touched nothing yet, and so costs 1 or 2 MB of its own.
"""

import contextlib
import os
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from pellucid.model.errors import os_words
from pellucid.serve import processes

ORPHANED_S = 2.0
"""At the most until the kernel has given a process to the supervisor."""

Become = Callable[[int, int], int]
"""(slot, generation) → exit status: be that worker until its end."""


class NotForked(Exception):  # noqa: N818  an answer to the supervisor
    """fork(2) failed; the text says why."""


class Spare(NamedTuple):
    """A process that waits to become a worker; a line of two numbers into `tell` makes it one."""

    pid: int
    tell: int


class Forking:
    """Used by the template, which has one thread only: another thread's locks would be copied locked, with nobody to release them."""

    def __init__(self, supervisor: int, become: Become, leave: Callable[[], None]) -> None:
        self.supervisor = supervisor
        self.become = become
        self.leave = leave
        """Close what only the template has."""
        self._spare: Spare | None = None

    def worker(self, slot: int, generation: int) -> int:
        """The pid of a new worker, which is the supervisor's child by now. Raises NotForked."""
        spare, self._spare = self._spare or self._fork(), None
        try:
            return _told(spare, slot, generation)
        except BrokenPipeError:  # somebody has killed it meanwhile
            return _told(self._fork(), slot, generation)

    def prepare(self) -> None:
        """Have a spare one. Without room for it the next worker is forked when it is needed, and then it is told why it can't be."""
        if self._spare is None:
            with contextlib.suppress(NotForked):
                self._spare = self._fork()

    def _fork(self) -> Spare:
        waiting, tell = os.pipe2(os.O_CLOEXEC)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            middle = os.fork()
        except OSError as error:
            for fd in (waiting, tell, reading, writing):
                os.close(fd)
            raise NotForked(os_words(error)) from error
        if middle == 0:
            os.close(tell)
            self._middle(waiting, writing)
        os.close(waiting)
        os.close(writing)
        told = os.read(reading, 64)
        os.close(reading)
        os.waitpid(middle, 0)  # only now the spare one is the supervisor's child
        if told.isdigit():
            return Spare(int(told), tell)
        os.close(tell)
        raise NotForked(told.decode() or "the process between template and worker was killed")

    def _middle(self, waiting: int, writing: int) -> NoReturn:
        """In the child: fork the spare, tell its pid, end. In the spare: wait, work, end."""
        status = 1
        try:
            here = os.getpid()
            processes.die_with(os.getppid())
            try:
                spare = os.fork()
            except OSError as error:
                os.write(writing, os_words(error).encode())
                os._exit(1)
            if spare:
                os.write(writing, str(spare).encode())
                os._exit(0)
            os.close(writing)
            self.leave()
            if _given_to(self.supervisor, here):
                processes.die_with(self.supervisor)
                status = self._wait(waiting)
        finally:
            os._exit(status)

    def _wait(self, waiting: int) -> int:
        processes.name_thread("pellucid-spare")
        told = os.read(waiting, 64)
        os.close(waiting)
        if not told:  # the template has ended
            return 0
        slot, generation = map(int, told.split())
        return self.become(slot, generation)


def _told(spare: Spare, slot: int, generation: int) -> int:
    try:
        os.write(spare.tell, b"%d %d\n" % (slot, generation))
    finally:
        os.close(spare.tell)
    return spare.pid


def _given_to(supervisor: int, middle: int) -> bool:
    """Wait until the kernel has made us the supervisor's child. PR_SET_PDEATHSIG set earlier would fire when the process in the middle ends."""
    until = time.monotonic() + ORPHANED_S
    while (parent := os.getppid()) != supervisor:
        if parent != middle or time.monotonic() > until:
            return False
        time.sleep(0.0002)
    return True
