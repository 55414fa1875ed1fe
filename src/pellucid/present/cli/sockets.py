"""`pellucid sockets [PID]`: sockets with their queues and the process at the other end."""

import time

import click

from pellucid.model import Socket
from pellucid.model.report import SocketsReport
from pellucid.present.cli import options, screen


@click.command("sockets")
@click.argument("target", metavar="[PID]", required=False, shell_complete=options.pids)
@options.as_json
def command(target: str | None, as_json: bool) -> None:
    """List the sockets of process PID, or of the whole host, with unread and unacknowledged bytes and the peer's pid.

    For a listening socket RX is the number of connections that wait to be accepted, TX the limit.
    """
    from pellucid.kernel import procfs
    from pellucid.observe.sockets import sockets

    pid = options.resolve(target) if target is not None else None
    process = procfs.process(pid) if pid is not None else None
    found, gaps = sockets(pid, whole=as_json)
    report = SocketsReport(process=process, taken_at=time.time(), gaps=gaps, sockets=found)
    if as_json:
        options.emit(report)
    else:
        tell(report)


def tell(report: SocketsReport) -> None:
    """The screen."""
    rows = [_row(socket) for socket in report.sockets]
    screen.table(("FD", "PROTO", "STATE", "RX", "TX", "LOCAL", "REMOTE", "PEER"), rows, right=frozenset({0, 3, 4}))
    if not rows:
        screen.say("no sockets")
    for line in screen.gaps(report.gaps):
        screen.say(line, dim=True)


def _row(socket: Socket) -> tuple[str, ...]:
    peers = socket.peer_pids
    peer = ", ".join([f"pid {pid}" for pid in peers[:3]]) + (", ..." if len(peers) > 3 else "") if peers else ""
    if socket.listener is not None:
        peer += " (not accepted)"
    timer = f" {socket.timer} x{socket.retransmits}" if socket.timer in {"retransmit", "probe"} else ""
    return (
        "" if socket.fd is None else str(socket.fd),
        socket.proto,
        socket.state + timer,
        str(socket.rx_queue),
        str(socket.tx_queue),
        socket.local,
        socket.remote,
        peer,
    )
