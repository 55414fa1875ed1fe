"""Listening sockets that a process has and does not serve: most often it was given them, by fork or over an exec, and knows nothing of it.

A thread that polls them, or is in accept, serves them; so does a process that has them in an epoll set, whatever it does just now.
"""

from collections.abc import Iterable, Mapping
from errno import ENOENT

from pellucid.kernel import fds, procfs
from pellucid.kernel.polling import epoll_targets
from pellucid.model import OpenFile, Process, Socket, Thread, UnservedPort
from pellucid.model.errors import LookError

_MOST, _MOST_HOLDERS = 8, 8
_EPOLL = "anon_inode:[eventpoll]"
_MAX_INFO = 1 << 20


def unserved(
    pid: int, sockets: Iterable[Socket], threads: Iterable[Thread], links: Mapping[int, str]
) -> tuple[UnservedPort, ...]:
    """Those of `pid`. `sockets` with their descriptors, `threads` of all looks, `links` of its descriptors."""
    watched = {one.fd for thread in threads if thread.wait for one in thread.wait.watched}
    listening = {
        one.fd: one for one in sockets if one.state == "LISTEN" and one.fd is not None and one.fd not in watched
    }
    if not listening:
        return ()
    served = _in_epoll_sets(pid, links)
    left = {fd: one for fd, one in listening.items() if fd not in served and one.proto.startswith("tcp")}
    if not left:
        return ()
    held = fds.holders({f"socket:[{one.inode}]" for one in left.values()})
    found = []
    for fd, one in list(left.items())[:_MOST]:
        file = fds.open_file(pid, fd)
        others = sorted({holder for holder, _ in held.get(f"socket:[{one.inode}]", ())} - {pid})
        processes = tuple(process for other in others[:_MOST_HOLDERS] if (process := _process(other)) is not None)
        if isinstance(file, OpenFile):
            found.append(UnservedPort(fd, one.local, "O_CLOEXEC" in file.flags, processes))
    return tuple(found)


def _in_epoll_sets(pid: int, links: Mapping[int, str]) -> set[int]:
    found: set[int] = set()
    for fd, link in links.items():
        if link == _EPOLL:
            try:
                found |= {
                    watched for watched, _ in epoll_targets(procfs.read_file(f"/proc/{pid}/fdinfo/{fd}", _MAX_INFO))
                }
            except OSError as error:
                if error.errno != ENOENT:  # closed meanwhile
                    raise procfs.failed(pid, f"read /proc/{pid}/fdinfo/{fd}", error) from error
    return found


def _process(pid: int) -> Process | None:
    try:
        return procfs.process(pid)
    except LookError:  # it has ended
        return None
