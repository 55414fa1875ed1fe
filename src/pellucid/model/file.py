"""An open descriptor and what it is."""

from msgspec import Struct


class FileLock(Struct, frozen=True):
    """A lock on a file. `kind`: flock, posix (fcntl), ofd (fcntl, of the open file), lease. `mode`: read or write.

    `start` and `end` are bytes, both included; `end` is None where the lock reaches to the end of the file. Both pids as we see them.
    """

    kind: str
    mode: str
    start: int
    end: int | None
    holders: tuple[int, ...]
    waiters: tuple[int, ...] = ()


class OpenFile(Struct, frozen=True):
    """One entry of /proc/PID/fd, or cwd, root, exe, a mapping (then `fd` is None and `kind` says which).

    `kind`: file, directory, char-device, block-device, pipe, fifo, socket, eventfd, epoll, timerfd, signalfd, inotify, pidfd,
    memfd, anon, cwd, root, exe, mapped. `flags` are the words of open(2) (`O_RDWR|O_CLOEXEC`).
    """

    fd: int | None
    kind: str
    path: str
    inode: int | None
    device: str | None
    """major:minor in decimal."""
    deleted: bool
    flags: str
    offset: int | None
    size: int | None = None
    detail: str = ""
    """What an epoll set watches, where a timerfd stands, who is at the other end of a pipe."""
    holders: tuple[int, ...] = ()
    """Pids at the other end of a pipe or socket."""
    pid: int | None = None
    """Who has it open, where the rows are of several processes."""
    command: str = ""
    """What that process is, shortened."""
    allocated: int | None = None
    """Bytes that it takes on its file system: less than `size` where it has holes."""
    locks: tuple[FileLock, ...] = ()
    """The locks on the file: held through this descriptor, or by others where `holders` of the lock are others."""
    address: str = ""
    """`7f00-8f00`: where it is mapped, for kind mapped."""


class FileGroup(Struct, frozen=True):
    """Equal descriptors of one process: `what` they are, how many, how many more than at the first look, and some of them."""

    what: str
    kind: str
    count: int
    grown: int = 0
    examples: tuple[str, ...] = ()
    fds: tuple[int, ...] = ()
