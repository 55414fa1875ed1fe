"""A process that stands still for a moment, and goes on whatever becomes of us.

    with Pause(pid) as pause:
        ...                      # it is stopped (or was stopped already, by somebody else)
    pause.seconds                # for how long

SIGSTOP stops all threads by one call. It can't be caught, and the process does not notice it; but who watches it does: its parent
gets SIGCHLD, and a call that the kernel does not restart (epoll_wait, a receive with a timeout) ends with EINTR (signal(7),
"Interruption of system calls and library functions by stop signals"), which Python itself repeats (PEP 475).

Should we die between SIGSTOP and SIGCONT, it would stand still for ever. So a watchdog is started first, in a session of its own: a
small process that holds a pidfd of the target and one end of a pipe. Where the pipe ends without a word, or nothing is heard for
MAX_S, it sends the SIGCONT.
"""

import contextlib
import os
import select
import signal
import sys
import time
from errno import EPERM, ESRCH
from types import TracebackType
from typing import Self

from pellucid.kernel import procfs
from pellucid.model.errors import LookError, NoSuchProcess

MAX_S = 30.0
"""The longest pause: then the watchdog ends it."""

_STOP_S = 0.5  # for all threads to stop; one that sleeps in the kernel uninterruptibly stops when it wakes, and moves nothing till then
_READY_S = 10.0
_FIRST = -20  # nice(2)

_WATCHDOG = """
import os, select, signal, sys
process, pipe, ready, limit = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_IGN)
os.write(ready, b"r")
heard, _, _ = select.select([pipe], [], [], limit)
if not heard or os.read(pipe, 1) == b"":
    try:
        signal.pidfd_send_signal(process, signal.SIGCONT)
    except ProcessLookupError:
        pass
"""


class Pause:
    """A context manager. Raises NoSuchProcess, NotPermitted, and LookError where no watchdog could be started: then nothing is stopped."""

    def __init__(self, pid: int, command: str = "heap", *, short: bool = False) -> None:
        """`short`: what is done meanwhile takes some tenths of a second at most, and then comes before all else on the machine."""
        self.pid = pid
        self._short = short
        self.already = False
        """It was stopped before, and is left so."""
        self.moving: tuple[int, ...] = ()
        """Threads that had not stopped when `__enter__` returned."""
        self.seconds = 0.0
        self._command = command
        self._pidfd = self._pipe = -1
        self._watchdog = 0
        self._began = 0.0
        self._nice: int | None = None
        self._policy: tuple[int, os.sched_param] | None = None

    def arm(self) -> None:
        """Starts the watchdog, which takes as long as a Python takes to start; `with` does it where it was not done."""
        if self._pidfd >= 0:
            return
        tried = f"pause pid {self.pid} (SIGSTOP)"
        try:
            self._pidfd = os.pidfd_open(self.pid)
            signal.pidfd_send_signal(self._pidfd, 0)  # 0 asks for the permission alone
        except OSError as error:
            self._let_go()
            if error.errno == ESRCH:
                raise NoSuchProcess.missing(self.pid) from error
            raise procfs.failed(self.pid, tried, error, self._command) from error
        try:
            self._start()
        except OSError as error:
            self._let_go()
            raise LookError(
                self.pid,
                tried=f"start the watchdog that ends the pause of pid {self.pid}",
                said=str(error),
                remedy=f"pellucid heap {self.pid} --no-pause",
                errno=error.errno or 0,
            ) from error

    def _start(self) -> None:
        ours, theirs = os.pipe()
        ready, word = os.pipe()
        process = os.dup(self._pidfd)
        for fd in (ours, word, process):
            os.set_inheritable(fd, True)
        self._pipe = theirs
        try:
            line = [sys.executable, "-I", "-S", "-c", _WATCHDOG, str(process), str(ours), str(word), str(MAX_S)]
            # posix_spawn, not fork: the caller may have threads, and gigabytes of memory whose page tables fork would copy.
            self._watchdog = os.posix_spawn(sys.executable, line, {"LC_ALL": "C"}, setsid=True)
        finally:
            for fd in (ours, word, process):
                os.close(fd)
        try:
            heard, _, _ = select.select([ready], [], [], _READY_S)
            if not heard or os.read(ready, 1) != b"r":
                raise OSError(ESRCH, "it ended before it was ready")
        finally:
            os.close(ready)

    def __enter__(self) -> Self:
        self.arm()
        self.already = not _running(self.pid)
        self._hurry()
        self._began = time.perf_counter()
        if self.already:
            return self
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGSTOP)
            self.moving = _wait(self.pid)
        except BaseException as error:
            self.resume()
            if isinstance(error, OSError):
                if error.errno == EPERM:
                    raise procfs.failed(self.pid, f"pause pid {self.pid} (SIGSTOP)", error, self._command) from error
                raise NoSuchProcess.ended(self.pid, f"pause pid {self.pid}") from error
            raise
        return self

    def _hurry(self) -> None:
        """On a machine that is busy the process would stand still until it is our turn again: for the pause we come first, if we may.

        A nice value counts only among the processes of one session where the kernel has autogroups (sched(7)); SCHED_FIFO counts among all,
        and whatever threads begin meanwhile have it too.
        """
        if self._short:
            with contextlib.suppress(
                OSError
            ):  # not permitted, or no share of it in our cgroup: the nice value does what it can
                before = os.sched_getscheduler(0), os.sched_getparam(0)
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
                self._policy = before
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        with contextlib.suppress(OSError):  # without CAP_SYS_NICE our turn comes when it comes
            os.setpriority(os.PRIO_PROCESS, 0, _FIRST)

    def resume(self) -> None:
        """Ends the pause; a second call does nothing."""
        if self._pidfd < 0:
            return
        if not self.already and self._began:
            with contextlib.suppress(ProcessLookupError):  # it was killed meanwhile: who looks at it next will say so
                signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)
            self.seconds = time.perf_counter() - self._began
        if self._policy is not None:
            os.sched_setscheduler(0, *self._policy)
            self._policy = None
        if self._nice is not None:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, self._nice)
            self._nice = None
        self._let_go()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.resume()

    def _let_go(self) -> None:
        if self._pipe >= 0:
            with contextlib.suppress(BrokenPipeError):  # the watchdog has ended: its time was over
                os.write(self._pipe, b"d")
            os.close(self._pipe)
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pipe = self._pidfd = -1
        if self._watchdog:
            os.waitpid(self._watchdog, 0)
            self._watchdog = 0


def _running(pid: int) -> bool:
    return procfs.stat(pid).letter not in "Tt"


def _wait(pid: int) -> tuple[int, ...]:
    """Waits until every thread has stopped; those that have not after a while."""
    deadline = time.perf_counter() + _STOP_S
    left = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    while left:
        left = [tid for tid in left if not _stopped(pid, tid)]
        if not left or time.perf_counter() > deadline:
            break
        time.sleep(0.0001)
    return tuple(left)


def _stopped(pid: int, tid: int) -> bool:
    try:
        return procfs.parse_stat(procfs.read_small(f"/proc/{pid}/task/{tid}/stat", 4096)).letter in "TtZX"
    except OSError as error:
        if procfs.gone(error):
            return True
        raise
