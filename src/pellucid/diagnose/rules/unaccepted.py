"""Connections wait to be accepted: clients are connected as far as their kernel knows, and nobody here has called accept(2).

For a listening socket sock_diag(7) gives the length of that queue and its limit (net/ipv4/tcp_diag.c, tcp_diag_get_info).
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.diagnose.groups import at, harm
from pellucid.model import Finding, Ref, Severity, Snapshot, Thread


def leaves_connections_unaccepted(seen: Snapshot) -> Iterator[Finding]:
    for socket in seen.sockets:
        if (
            socket.state != "LISTEN"
            or not socket.rx_queue
            or not socket.proto.startswith("tcp")
            or _accepts(seen, socket.inode)
        ):
            continue
        full = socket.rx_queue > socket.tx_queue
        busy = [
            thread
            for thread in seen.threads
            if thread.python and words.idle(thread) is None and not words.joins(thread)
        ]
        doing = f" Meanwhile {busy[0].name} {words.does(busy[0])}{at(busy[0])}." if busy else ""
        plural = "s" if socket.rx_queue > 1 else ""
        yield Finding(
            rule="unaccepted",
            severity="critical" if full else _severity(seen, busy, socket.rx_queue),
            title=f"{socket.rx_queue} connection{plural} to {socket.local} not accepted",
            sentence=f"{socket.rx_queue} connection{plural} to {socket.local} (fd {socket.fd}) wait to be accepted, of at most {socket.tx_queue}"
            + (": the queue is full and further clients get no answer at all" if full else "")
            + f"; no thread is in accept.{doing}",
            evidence=(
                Ref(
                    source=f"sock_diag {socket.proto} inode {socket.inode}",
                    said=f"LISTEN, accept queue {socket.rx_queue} of {socket.tx_queue}",
                ),
            ),
            next=(f"pellucid stacks {seen.process.pid}", f"pellucid sockets {seen.process.pid}"),
            confidence="certain",
            tids=tuple(thread.tid for thread in busy),
        )


def _severity(seen: Snapshot, busy: list[Thread], clients: int) -> Severity:
    """A server that works makes a client wait for as long as a request takes, and one that has just started, or waits for workers that share its
    socket, for a moment: trouble is where more wait than are served, or where the work stands still.
    """
    if clients > max(1, len(busy)):
        return "warning"
    waits = [thread.wait.since_s for thread in busy if thread.wait is not None and seen.steady(thread)]
    stands = bool(busy) and len(waits) == len(busy) and all(harm(since) == "warning" for since in waits)
    return "warning" if stands else "notice"


def _accepts(seen: Snapshot, inode: int) -> bool:
    """Some thread waits on that very socket: a connection in its queue is then a passing state."""
    return any(_watches(thread, inode) for thread in (*seen.threads, *seen.earlier))


def _watches(thread: Thread, inode: int) -> bool:
    return thread.wait is not None and any(
        one.socket is not None and one.socket.inode == inode for one in thread.wait.watched
    )
