"""An open descriptor and what it is."""

from msgspec import Struct


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
