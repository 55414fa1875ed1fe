"""Connections that their other end has closed and this process has not: they stay in CLOSE_WAIT until it calls close(2) (RFC 9293, 3.6).

A few for a moment are the usual end of a connection. Many that have heard nothing for long are connections that somebody forgot.
The other end's FIN is the last that was heard, so the time since the last segment is at least the time since it closed.
"""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.model import Finding, Ref, Snapshot, Socket

_MANY = 10
_LONG_MS = 10_000


def keeps_closed_connections(seen: Snapshot) -> Iterator[Finding]:
    left = [socket for socket in seen.sockets if _forgotten(socket)]
    if len(left) < _MANY:
        return
    pid = seen.process.pid
    by_remote: dict[str, int] = {}
    for socket in left:
        by_remote[socket.remote] = by_remote.get(socket.remote, 0) + 1
    remote, count = max(by_remote.items(), key=lambda item: item[1])
    youngest = min(socket.tcp.last_ack_recv_ms for socket in left if socket.tcp) / 1000
    whom = f" {count} of them to {remote}." if count > 1 else ""
    example = left[0]
    yield Finding(
        rule="close-wait",
        severity="warning",
        title=f"{len(left)} connections were closed by the other end and not by this one",
        sentence=f"pid {pid} still has {len(left)} sockets in CLOSE_WAIT; the other ends have said no more for {words.duration(youngest)} or longer, "
        f"and each keeps a descriptor until it is closed here.{whom}",
        evidence=(
            Ref(
                source=f"sock_diag {example.proto} inode {example.inode}",
                said=f"fd {example.fd} {example.local} → {example.remote}, CLOSE_WAIT",
            ),
        ),
        next=(f"pellucid sockets {pid}", f"pellucid files --leaks {pid}"),
        confidence="certain",
    )


def _forgotten(socket: Socket) -> bool:
    return socket.state == "CLOSE_WAIT" and socket.tcp is not None and socket.tcp.last_ack_recv_ms >= _LONG_MS
