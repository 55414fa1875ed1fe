"""What a wait on a connection comes down to, in words, with the observations it rests on."""

from typing import Literal

from msgspec import Struct

from pellucid.diagnose.words import duration
from pellucid.model import Confidence, Ref, Socket

Wants = Literal["read", "write", "accept", "connect"]

Case = Literal[
    "read",  # the other end has read all that was sent to it, and has not answered
    "unread",  # it has not read what was sent to it
    "unaccepted",  # nobody has accepted the connection
    "receiver-not-draining",  # it reads too slowly or not at all, and has no room for more
    "request-lost",  # what this end sends is not acknowledged
    "syn-lost",  # no answer to the attempt to connect
    "answer-lost",  # what the other end sends is not acknowledged from here
    "arrived",  # there is something to read here already
    "more-expected",  # it has sent something, and then nothing more
    "nothing-sent",  # neither end has sent anything: it is for the other one to speak first
    "unanswered",  # all is acknowledged, and the other end can't be seen from here
    "idle",  # this end has answered, and waits for the next request
    "accept",  # a listening socket without connections in its queue
    "moving",  # bytes are on their way, as they should be
    "connecting",  # the first attempt to connect is on its way
    "peer-closed",  # the other end has hung up
    "half-closed",  # this end has closed its sending side, the other one has not
    "keepalive-unanswered",  # the other host does not answer probes
    "peer-gone",  # the other end should be on this host, and is not
    "unknown",
]


class Judgement(Struct, frozen=True):
    """`title` follows the name of the other end and a colon; `sentence` stands alone; `decides` is a command, or "".

    `confidence` is certain only where both ends were read.
    """

    case: Case
    title: str
    sentence: str
    confidence: Confidence
    evidence: tuple[Ref, ...]
    decides: str = ""


def judgement(
    case: Case, socket: Socket, title: str, sentence: str, decides: str = "", *, sure: bool = True
) -> Judgement:
    """`sure` False: the ends were read, but the meaning of what was read is not a fact."""
    both = socket.far is not None or socket.listener is not None
    evidence = tuple(reference(one) for one in (socket, socket.far, socket.listener) if one is not None)
    return Judgement(case, title, sentence, "certain" if both and sure else "likely", evidence, decides)


def other_end(socket: Socket) -> str:
    """`pid 43`, or its address where no process is known; begins a sentence."""
    if socket.peer_pid is not None:
        return f"pid {socket.peer_pid}"
    return socket.remote or "The other end"


def elsewhere(socket: Socket) -> str:
    """The command to run where the other end is."""
    host, _, port = socket.remote.rpartition(":")
    return f"pellucid sockets  (on {host.strip('[]')}: who holds port {port}, and with which queues)" if host else ""


def ago(ms: int) -> str:
    return f"{duration(ms / 1000)} ago"


def count(number: int) -> str:
    """`1 byte`, `127,528 bytes`."""
    return f"{number:,} byte{'' if number == 1 else 's'}"


def reference(socket: Socket) -> Ref:
    """What sock_diag said of this end, the numbers that a verdict may rest on."""
    if socket.state == "LISTEN":
        said = f"LISTEN {socket.local}, accept queue {socket.rx_queue} of {socket.tx_queue}"
    else:
        said = f"{socket.state or 'not connected'}, receive queue {socket.rx_queue}, send queue {socket.tx_queue}"
        if socket.timer not in {"none", "time-wait"}:
            said += f", {socket.timer} timer, {socket.retransmits} repeated"
    tcp = socket.tcp
    if tcp is not None and socket.state not in {"LISTEN", "SYN_SENT"}:
        said += f", acknowledged {tcp.bytes_acked}, received {tcp.bytes_received}"
        said += f", last sent {ago(tcp.last_data_sent_ms)}" if tcp.bytes_acked > 1 or socket.tx_queue else ""
        said += f", last received {ago(tcp.last_data_recv_ms)}" if tcp.bytes_received else ""
    name = f"inode {socket.inode}" if socket.inode else f"{socket.local} → {socket.remote} (no inode)"
    return Ref(source=f"sock_diag {socket.proto} {name}", said=said)
