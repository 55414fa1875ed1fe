"""A command started under the eyes of a tracer: it waits before its execve until the tracer is ready, so nothing is missed.

It gets what a shell would give it: our environment, directory and descriptors 0 to 2, and the default signal dispositions that
Python had changed for itself (Lib/signal.py; Python/pylifecycle.c ignores SIGPIPE and SIGXFSZ).
"""

import os
import signal
import sys
from collections.abc import Sequence
from struct import Struct as Packing
from types import TracebackType
from typing import Self

from pellucid.model.errors import UsageError

_CANT_START = 127
_MOST_BYTES = 4096
_NUMBER = Packing("<H")


class Launched:
    """A child that waits for `release` and then becomes `command`. `status` is its exit status once it has ended.

    `stdout`: the descriptor that its standard output goes to.
    """

    def __init__(self, command: tuple[str, ...], stdout: int = 1, asked_by: str = "syscalls") -> None:
        """`asked_by`: our own command, for a remedy."""
        self.command = command
        self.program = _found(command, asked_by)
        self.status: int | None = None
        self._others_wait = False
        sys.stdout.flush()
        held, self._gate = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._gate)
            _become(self.program, command, held, stdout)
        os.close(held)

    def release(self) -> None:
        """Let it start; may be called again."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1

    def ended(self) -> bool:
        """Whether it has ended; never waits."""
        if self.status is None and not self._others_wait:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.reaped(status)
        return self.status is not None

    def leave_waiting(self) -> None:
        """From now on a tracer waits for all children, and calls `reaped`."""
        self._others_wait = True

    def filter(self, through: Sequence[int]) -> None:
        """Put a seccomp filter on the command before it starts: it has been seized by then. `through`: calls it is not stopped at."""
        self.leave_waiting()
        os.write(self._gate, b"".join(map(_NUMBER.pack, through)))  # less than PIPE_BUF: it is read as one

    def reaped(self, status: int) -> None:
        """A tracer that has to wait for all its children has seen this one end."""
        code = os.waitstatus_to_exitcode(status)
        self.status = code if code >= 0 else 128 - code  # as a shell tells a death by signal

    def abandon(self) -> None:
        """It was never released: end it, it is still ours."""
        if self._gate >= 0 and self.status is None:
            self.end()
        self.release()

    def end(self) -> None:
        """Kill it, and wait for that."""
        os.kill(self.pid, signal.SIGKILL)
        while self.status is None:
            _, status = os.waitpid(self.pid, 0)  # a tracer is told of stops too, which the kill ends
            if not os.WIFSTOPPED(status):
                self.reaped(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.abandon()


def _found(command: tuple[str, ...], asked_by: str) -> str:
    """The file that a shell would run. Raises UsageError."""
    import shutil

    path = shutil.which(command[0]) if "/" not in command[0] else command[0]
    if path is None or not os.path.exists(path):
        raise UsageError(
            tried=f"run {command[0]!r}",
            said="there is no such command" if "/" not in command[0] else "there is no such file",
            remedy=f"pellucid {asked_by} -- COMMAND ARGUMENTS",
        )
    if not os.access(path, os.X_OK) or os.path.isdir(path):
        raise UsageError(tried=f"run {path!r}", said="it is no file that can be executed", remedy=f"ls -l {path}")
    return path


def _become(program: str, command: tuple[str, ...], held: int, stdout: int) -> None:
    """In the child: wait, then run the command. Never returns."""
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGTERM):  # handled here, if not ignored on purpose (nohup)
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        if stdout != 1:
            os.dup2(stdout, 1)
        through = os.read(held, _MOST_BYTES)
        os.read(held, 1)  # ends when the tracer closes the other end, or dies
        os.close(held)
        if through:
            from pellucid.kernel.ptrace_filter import install

            install(os.uname().machine, [number for (number,) in _NUMBER.iter_unpack(through)])
        os.execv(program, command)
    except OSError as error:
        os.write(2, f"pellucid: can't run {program}: {error.strerror}\n".encode())
    finally:
        os._exit(_CANT_START)
