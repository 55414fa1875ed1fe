"""The supervisor's children: what happens when one ends, how it ended, and that none is left.

Each is watched by its pidfd, which becomes readable when its process ends (pidfd_open(2)) and can't mean another process that got the same
number. Orphans of workers are given to the supervisor too (`processes.adopt_orphans`): these are collected, and nothing else happens.
"""

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable

from pellucid.serve import processes
from pellucid.serve.processes import Death

LAST_WORDS_S = 1.0
UNKNOWN = Death(status=255)
"""Somebody else has collected it."""


class Children:
    """Whoever adds a child says what is done at its end; that has to `reap` it."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._pidfds: dict[int, int] = {}

    def __contains__(self, pid: int) -> bool:
        return pid in self._pidfds

    def watch(self, pid: int, ended: Callable[[], None]) -> None:
        """ProcessLookupError where it ended and was collected already."""
        pidfd = os.pidfd_open(pid)
        self._pidfds[pid] = pidfd
        self._selector.register(pidfd, selectors.EVENT_READ, ended)

    def kill(self, pid: int) -> None:
        """Nothing happens to a process that is not watched."""
        if pid in self._pidfds:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfds[pid], signal.SIGKILL)

    def reap(self, pid: int) -> Death:
        """Collect a child whose pidfd says that it has ended."""
        self._forget(pid)
        try:
            death = processes.ended(pid)
        except ChildProcessError:
            death = None
        return death or UNKNOWN

    def reap_strangers(self) -> None:
        """Collect those that have ended and that nobody watches."""
        with contextlib.suppress(ChildProcessError):
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if found.si_pid in self._pidfds:
                    return
                os.waitpid(found.si_pid, os.WNOHANG)

    def end(self) -> None:
        """Kill all of them and collect those that end within `LAST_WORDS_S`."""
        for pid in list(self._pidfds):
            self.kill(pid)
        until = time.monotonic() + LAST_WORDS_S
        while self._pidfds and time.monotonic() < until:
            for pid in list(self._pidfds):
                with contextlib.suppress(ChildProcessError):
                    if processes.ended(pid) is None:
                        continue
                self._forget(pid)
            time.sleep(0.005)

    def _forget(self, pid: int) -> None:
        pidfd = self._pidfds.pop(pid)
        self._selector.unregister(pidfd)
        os.close(pidfd)
