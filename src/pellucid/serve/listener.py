"""The one listening socket that the supervisor opens and every worker inherits; and who has the port when it is taken.

One socket and not one a worker (SO_REUSEPORT): the kernel would go on giving connections to a worker that is stuck, and drop
those that wait in the queue of one that dies.
"""

import errno
import os
import socket

from pellucid.model.errors import PellucidError, UsageError, os_words

BACKLOG = 1024


def listen(host: str, port: int) -> socket.socket:
    """Listen on host:port (0: any free port). UsageError where that can't be had; for a port in use it names the process that has it."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise UsageError(
            tried=f"listen on {host}",
            said=f"that is no address of this host: {error.strerror}",
            remedy="--host 127.0.0.1",
        ) from error
    except OSError as error:
        raise _refused(host, port, error) from error
    listener.setblocking(False)
    return listener


def listen_here(path: str) -> socket.socket:
    """Listen on a unix socket that only this user can reach. UsageError where that can't be had."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
    except OSError as error:
        raise UsageError(
            tried=f"listen on {path}",
            said=os_words(error),
            remedy="name a path in a folder of yours that does not exist yet",
        ) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _refused(host: str, port: int, error: OSError) -> UsageError:
    remedies = {
        errno.EADDRINUSE: "--port 0 takes a free one, or stop the process that has it",
        errno.EACCES: "--port 8000: those below 1024 need CAP_NET_BIND_SERVICE",
        errno.EADDRNOTAVAIL: "--host 127.0.0.1: listen on an address that this host has",
    }
    who = f"; {holder(port)}" if error.errno == errno.EADDRINUSE else ""
    return UsageError(
        tried=f"listen on {host}:{port}",
        said=f"{os_words(error)}{who}",
        remedy=remedies.get(error.errno or 0, "choose another --host or --port"),
    )


def holder(port: int) -> str:
    """`it is held by pid 41 (python server.py)`, or that it could not be found out."""
    from pellucid.kernel import fds, procfs, sockdiag

    try:
        inodes = {
            f"socket:[{one.inode}]"
            for family in (sockdiag.INET, sockdiag.INET6)
            for one in sockdiag.inet(family, sockdiag.TCP, sockdiag.LISTENING)[0]
            if one.local_port == port and one.inode
        }
        holders = {pid for held in fds.holders(inodes).values() for pid, _ in held}
        pids = sorted(
            holders, key=lambda pid: procfs.stat(pid).start_ticks
        )  # who opened it is the oldest: pids begin again
        named = [
            f"pid {pid} ({' '.join(procfs.command(pid))[:80] or 'its command can not be read'})" for pid in pids[:3]
        ]
    except (PellucidError, OSError) as error:
        return f"who holds it can't be seen ({error})".replace("\n", "; ")
    if not named:
        return (
            f"who holds it can't be seen as uid {os.getuid()}: another user's process, or one outside of this container"
        )
    more = f" and {len(pids) - 3} more" if len(pids) > 3 else ""
    return f"it is held by {', '.join(named)}{more}"
