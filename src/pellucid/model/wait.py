"""What a thread waits for, in the words of the kernel joined with those of the program."""

from typing import Literal

from msgspec import Struct

from pellucid.model.socket import Socket

WaitKind = Literal[
    "socket",  # recv, send, accept, connect, or a poll of one socket
    "poll",  # poll, select, epoll of several descriptors
    "pipe",  # read or write of a pipe or FIFO
    "file",  # a regular file, a device, a terminal, an eventfd: read, write, fsync
    "file-lock",  # flock, fcntl F_SETLKW
    "sleep",  # nanosleep, select without descriptors
    "lock",  # a futex that is a lock of the program
    "gil",
    "child",  # wait4, waitid
    "signal",  # pause, sigwait
    "disk",  # uninterruptible, in a page fault or a file system
    "other",
]


class Watched(Struct, frozen=True):
    """One descriptor that a call waits on. `wants`: read, write, accept, connect."""

    fd: int
    what: str
    """`tcp 127.0.0.1:40312 → 127.0.0.1:8000`, `pipe:[1234]`, `/var/log/x`."""
    wants: str
    socket: Socket | None = None
    kind: str = ""
    """As `OpenFile.kind`; empty where it could not be read."""


class Holder(Struct, frozen=True):
    """Who holds the object, or should bring what is waited for."""

    pid: int
    tid: int | None
    name: str
    confidence: Literal["certain", "likely", "possible"]


class Wait(Struct, frozen=True):
    """One thread's wait.

    `since_s`: asleep for so long without waking (any wake-up resets it, so it is a lower bound of the wait).
    `left_s`: until the call times out by itself; None without a timeout or where it could not be read (`timed` tells).
    `object`: the thing as the program names it where that is known (`Lock self.lock`), else None.
    """

    kind: WaitKind
    call: str
    since_s: float | None
    timed: bool = False
    left_s: float | None = None
    watched: tuple[Watched, ...] = ()
    object: str | None = None
    address: int | None = None
    """The futex address, for kind lock and gil."""
    child: int | None = None
    """The pid that wait4 or waitid waits for; None for any child."""
    holders: tuple[Holder, ...] = ()
