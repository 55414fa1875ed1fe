"""Who is stuck, this end of a socket or the other one, or the network between them: one judgement for each way to wait.

Only both ends together tell. A request that was read and not answered, one that lies unread, a connection that nobody accepted
and an answer that the network loses look the same from the client's socket: all acknowledged, nothing received. So a verdict on
the other end is certain only where that end was read too; of a remote one it is said what its kernel did, and what would decide.
"""

from pellucid.diagnose import tcp
from pellucid.diagnose.judgement import Judgement, Wants, count, judgement, other_end
from pellucid.model import Socket


def judge(socket: Socket, waiting_for: Wants) -> Judgement:
    """What a thread that waits on `socket` waits for."""
    if socket.state == "LISTEN":
        return _listening(socket)
    if socket.proto.startswith("unix"):
        return _unix_writes(socket) if waiting_for in {"write", "connect"} else _unix_reads(socket)
    if socket.proto.startswith("udp"):
        return _datagrams(socket)
    if socket.proto.startswith("tcp") and socket.state:
        return tcp.judge(socket, waiting_for)
    return judgement("unknown", socket, "nothing is known of this socket's state", _UNREAD)


_UNREAD = "Its state is in no table of sock_diag: it is of another kind, not connected, or was made in another network namespace."


def wants(words: str) -> Wants:
    """What a call waits for on a descriptor (`Watched.wants`), as one of four; `read or write` is settled by reading."""
    if words == "write":
        return "write"
    if words == "accept":
        return "accept"
    return "connect" if words == "connect" else "read"


def _listening(socket: Socket) -> Judgement:
    if socket.rx_queue:
        plural = "s wait" if socket.rx_queue > 1 else " waits"
        sentence = (
            f"{socket.rx_queue} connection{plural} to be accepted on {socket.local}, of at most {socket.tx_queue}."
        )
        return judgement("arrived", socket, "connections wait to be accepted", sentence)
    return judgement(
        "accept",
        socket,
        "no connection waits to be accepted",
        f"It waits for connections on {socket.local}; none is in its queue.",
    )


def _datagrams(socket: Socket) -> Judgement:
    who, far = other_end(socket), socket.far
    if socket.rx_queue:
        return judgement(
            "arrived",
            socket,
            "datagrams have arrived",
            f"{count(socket.rx_queue)} of datagrams have arrived here and are not read yet.",
        )
    if far is not None and far.rx_queue:
        sentence = f"{who} has {count(far.rx_queue)} of datagrams in its receive queue that it has not read."
        return judgement(
            "unread", socket, "it does not read its datagrams", sentence, sure=False
        )  # they may be another sender's
    nothing = "No datagram has arrived; UDP acknowledges nothing, so neither end knows whether one was lost."
    if not socket.remote:
        return judgement("idle", socket, "no datagram has arrived", nothing, sure=False)
    if far is not None:
        return judgement(
            "read",
            socket,
            "it has no unread datagrams and sends none",
            f"{who} has no unread datagrams. {nothing}",
            sure=False,
        )
    return judgement("unanswered", socket, "no datagram has arrived", nothing)


def _unix_reads(socket: Socket) -> Judgement:
    who, far = other_end(socket), socket.far
    if socket.rx_queue:
        return judgement(
            "arrived",
            socket,
            "it has sent something",
            f"{count(socket.rx_queue)} have arrived here and are not read yet.",
        )
    if socket.listener is not None:
        return _unix_unaccepted(socket, socket.listener)
    if far is None:
        if socket.state != "ESTABLISHED":
            return judgement(
                "idle",
                socket,
                "nothing has arrived",
                "Nothing has arrived; the socket is not connected to one sender.",
                sure=False,
            )
        if socket.peer_pid is None:
            return judgement(
                "peer-gone",
                socket,
                "it is gone",
                "The other end of this unix socket is closed: nothing will arrive any more.",
            )
        return judgement(
            "unknown", socket, "its end could not be read", f"{who} holds the other end, in another network namespace."
        )
    if far.rx_queue and socket.proto != "unix-dgram":
        sentence = f"{who} has not read {count(far.rx_queue)} that this end sent."
        return judgement("unread", socket, "it has not read what was sent to it", sentence)
    if socket.local and not socket.remote:  # an accepted socket carries the name of the one that listened
        sentence = f"Nothing lies unread in either direction: {who} has sent no request that is not read."
        return judgement("idle", socket, "it has sent nothing new", sentence, sure=False)
    sentence = f"Nothing lies unread in either direction: {who} has read all that was sent to it, and sends nothing."
    return judgement("read", socket, "it has nothing unread and sends nothing", sentence)


def _unix_writes(socket: Socket) -> Judgement:
    who, far = other_end(socket), socket.far
    if socket.listener is not None:
        return _unix_unaccepted(socket, socket.listener)
    if far is not None and far.rx_queue:
        sentence = (
            f"{who} does not read: {count(far.rx_queue)} lie in its receive queue, and there is no room for more."
        )
        return judgement("receiver-not-draining", socket, "it does not read", sentence)
    if far is None and socket.state != "ESTABLISHED":
        sentence = "It is not connected: connect(2) of a unix socket waits only while the queue of the listening one is full (unix(7))."
        return judgement("unaccepted", socket, "its queue is full", sentence)
    return judgement(
        "unknown",
        socket,
        "nothing of it lies unread",
        f"{who} has nothing unread: this write waits for something else.",
    )


def _unix_unaccepted(socket: Socket, listener: Socket) -> Judgement:
    sentence = f"{other_end(socket)} has not accepted this connection: {listener.rx_queue} wait in the queue of {listener.local}, which takes {listener.tx_queue}."
    return judgement("unaccepted", socket, "it has not accepted the connection", sentence)
