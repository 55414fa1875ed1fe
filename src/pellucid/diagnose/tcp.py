"""The cases of a TCP connection, told apart by the queues, timers and counters of its ends (tcp_diag, struct tcp_info).

    | | this end | the other end |
    |---|---|---|
    | read, not answered | all acknowledged | nothing unread, received all |
    | unread | all acknowledged | receive queue > 0 |
    | not accepted | all acknowledged | no inode; the listening socket's queue > 0 |
    | receiver does not drain | probe timer, send queue > 0 | receive queue > 0 |
    | request lost | retransmit timer, repeated | has not received it |
    | SYN lost | SYN_SENT, repeated | none |
    | answer lost | all acknowledged | retransmit timer, repeated |

Which end is the client matters: a server that has answered and waits is idle, a client that has asked and waits is not. The SYN
of the one that connected counts as an acknowledged byte, the SYN of the one that accepted does not (net/ipv4/tcp_minisocks.c,
tcp_create_openreq_child starts behind it), so a client has one byte more acknowledged than the other end received.
`last_data_*` are from the jiffies clock: within one tick (1 to 10 ms) the order of a send and a receive is not known.
"""

from pellucid.diagnose.judgement import Judgement, Wants, ago, count, elsewhere, judgement, other_end
from pellucid.diagnose.words import duration
from pellucid.model import Socket, Tcp

_FIN_RECEIVED = frozenset({"CLOSE_WAIT", "LAST_ACK", "CLOSING", "TIME_WAIT"})
_FIN_SENT = frozenset({"FIN_WAIT1", "FIN_WAIT2"})
_OPEN = frozenset({"ESTABLISHED", "CLOSE_WAIT", "SYN_RECV"})


def judge(socket: Socket, waiting_for: Wants) -> Judgement:
    """A connected TCP socket, or one that is being connected."""
    if socket.state == "SYN_SENT":
        return _connecting(socket)
    if socket.tcp is None:
        return judgement(
            "unknown",
            socket,
            f"the connection is in state {socket.state}",
            f"The kernel tells nothing of a connection in state {socket.state}.",
        )
    if waiting_for == "connect":
        return judgement(
            "moving", socket, "the connection stands", "The connection is made; the call is about to return."
        )
    if waiting_for == "write":
        return _outgoing(socket, socket.tcp) or _not_sending(socket)
    return (
        _here(socket)
        or _outgoing(socket, socket.tcp)
        or (_from_other_end(socket, socket.tcp, socket.far) if socket.far is not None else None)
        or _silence(socket, socket.tcp)
    )


def _connecting(socket: Socket) -> Judgement:
    who, listener, tries = other_end(socket), socket.listener, socket.retransmits + 1
    again = f" (the next attempt is in {duration(socket.timer_ms / 1000)})" if socket.timer == "retransmit" else ""
    if listener is not None and listener.rx_queue > listener.tx_queue:
        sentence = f"{who} accepts no connections: {_queue(listener)}. The queue is full, so the kernel drops further ones{again}."
        return judgement("unaccepted", socket, "it accepts no connections, and their queue is full", sentence)
    if not socket.retransmits:
        return judgement(
            "connecting", socket, "the connection is being made", f"The first attempt to connect is on its way{again}."
        )
    attempts = f"None of {tries} attempts (SYN) to connect to {socket.remote} was answered"
    if listener is not None:
        sentence = f"{attempts}, though {who} listens there and has room: something between drops them{again}."
        return judgement("syn-lost", socket, "no attempt to connect reaches it", sentence)
    if socket.loopback:
        sentence = f"{attempts}, neither accepted nor refused, though the address is on this host: a firewall drops them{again}."
        return judgement("syn-lost", socket, "no attempt to connect is answered", sentence)
    sentence = f"{attempts}, neither accepted nor refused: the network or a firewall drops them, the host is down, or its accept queue is full{again}."
    return judgement("syn-lost", socket, "no attempt to connect is answered", sentence, elsewhere(socket))


def _here(socket: Socket) -> Judgement | None:
    """What lies here already, or will never come."""
    if unread(socket):
        return judgement(
            "arrived",
            socket,
            "it has sent something",
            f"{count(unread(socket))} have arrived here and are not read yet.",
        )
    if socket.state in _FIN_RECEIVED:
        return judgement(
            "peer-closed",
            socket,
            "it has hung up",
            f"{other_end(socket)} has closed its side: nothing more will arrive here.",
        )
    return None


def _outgoing(socket: Socket, tcp: Tcp) -> Judgement | None:
    """Something of this end is still to be sent or acknowledged; None when all is."""
    queued, far = _unsent(socket), socket.far
    if not queued:
        return None
    if far is not None and _nobody_accepted(far) and (far.state == "SYN_RECV" or far.rx_queue):
        return _unaccepted(socket, far)
    if socket.timer == "probe" and (far is None or far.rx_queue):
        return _not_draining(socket, tcp, queued)
    if socket.timer == "retransmit" and socket.retransmits:
        return _request_lost(socket, tcp, queued)
    return judgement(
        "moving",
        socket,
        "bytes are on their way to it",
        f"{count(queued)} of this end are on their way to {other_end(socket)}.",
    )


def _not_draining(socket: Socket, tcp: Tcp, queued: int) -> Judgement:
    lies = f"{count(socket.far.rx_queue)} lie unread in its receive queue" if socket.far else "its window is closed"
    sentence = (
        f"{other_end(socket)} does not read, or not as fast as this end writes: {lies}, it has no room for more, and {count(queued)} "
        f"wait here. The last bytes left {ago(tcp.last_data_sent_ms)}."
    )
    return judgement("receiver-not-draining", socket, "it does not read what is sent to it", sentence, _decides(socket))


def _request_lost(socket: Socket, tcp: Tcp, queued: int) -> Judgement:
    who, far = other_end(socket), socket.far
    times = f"{socket.retransmits} time{'s' if socket.retransmits > 1 else ''}"
    lost = f"{count(queued)} that this end has sent are not acknowledged, though they were sent again {times}"
    if far is None or far.tcp is None:
        full = ", or its accept queue is full" if tcp.bytes_acked <= 1 and not socket.accepted else ""
        sentence = f"{lost}; its kernel last answered {ago(tcp.last_ack_recv_ms)}. The network loses them, the host is gone{full}."
        return judgement("request-lost", socket, "what is sent to it is not acknowledged", sentence, elsewhere(socket))
    arrived = far.tcp.bytes_received - _acknowledged(socket, tcp)
    if arrived > 0:
        sentence = f"{lost}: {count(arrived)} of them have reached {who}, but its acknowledgements do not come back. The network loses those."
        return judgement("request-lost", socket, "its acknowledgements get lost on the way", sentence)
    sentence = f"{lost}, and they have not reached {who}: the network between loses them."
    return judgement("request-lost", socket, "what is sent to it gets lost on the way", sentence)


def _not_sending(socket: Socket) -> Judgement:
    sentence = (
        f"{other_end(socket)} has acknowledged everything: this end has room to write, or waits for something else."
    )
    return judgement("unknown", socket, "all that was sent to it is acknowledged", sentence)


def _from_other_end(socket: Socket, tcp: Tcp, far: Socket) -> Judgement | None:
    """What the other end's own socket shows; None where it has nothing to read and nothing to send."""
    who = other_end(socket)
    if _nobody_accepted(far):
        return _unaccepted(socket, far)
    sending = _unsent(far)
    what = count(sending) if sending else "the end of the connection (FIN)"
    if far.timer == "retransmit" and far.retransmits and far.tx_queue:
        times = f"{far.retransmits} time{'s' if far.retransmits > 1 else ''}"
        sentence = (
            f"{who} has answered, but the network loses it: {what} did not arrive here, though sent again {times}."
        )
        return judgement("answer-lost", socket, "its answer gets lost on the way", sentence)
    if not far.inode:
        sentence = "The program at the other end has closed the connection; that has not arrived here."
        return judgement("peer-closed", socket, "it has hung up", sentence)
    if sending:
        return judgement(
            "moving", socket, "its bytes are on their way", f"{count(sending)} from {who} are on their way here."
        )
    if unread(far):
        total = far.tcp.bytes_received - (far.state in _FIN_RECEIVED) if far.tcp else unread(far)
        sentence = f"{who} has not read {count(unread(far))} of the {total:,} that this end sent, the last of them {ago(tcp.last_data_sent_ms)}."
        return judgement("unread", socket, "it has not read what was sent to it", sentence)
    return None


def _unaccepted(socket: Socket, far: Socket) -> Judgement:
    who, listener = other_end(socket), socket.listener
    queue = f": {_queue(listener)}" if listener is not None else ""
    sentence = f"{who} has not accepted this connection{queue}."
    if far.state == "SYN_RECV":
        sentence += " The kernel there has not finished the handshake, since the queue is full or no byte has come yet."
    elif unread(far):
        sentence += f" {count(unread(far))} of this end lie there and wait for it."
    return judgement("unaccepted", socket, "it has not accepted the connection", sentence)


def _silence(socket: Socket, tcp: Tcp) -> Judgement:
    """Nothing is on its way in either direction: what matters is who spoke last, and which end is the client."""
    who, far, accepted = other_end(socket), socket.far, _accepted(socket, tcp)
    if socket.timer == "keepalive" and socket.retransmits:
        sentence = f"{who} has not answered {socket.retransmits} keepalive probes; its host or the network is gone. The last sign was {ago(tcp.last_ack_recv_ms)}."
        return judgement("keepalive-unanswered", socket, "its host does not answer", sentence, _decides(socket))
    if far is None and socket.loopback:
        sentence = f"{socket.remote} is an address of this host, but no socket here is the other end: it is gone, or behind address translation."
        return judgement("peer-gone", socket, "it is gone", sentence)
    sent = _has_sent(socket, tcp, accepted)
    quiet = _quiet(tcp)
    if socket.state in _FIN_SENT:
        sentence = f"This end has closed its sending side; {who} has taken all of it and not closed its own. {quiet}"
        return judgement("half-closed", socket, "it has not closed its side", sentence, _decides(socket))
    if not sent and not tcp.bytes_received:
        if accepted:
            sentence = f"{who} has connected and sent nothing yet; this end waits for its first request."
            return judgement("idle", socket, "it has sent no request yet", sentence, sure=False)
        sentence = f"Neither end has sent anything since they connected: this end waits for {who} to speak first."
        return judgement(
            "nothing-sent", socket, "nothing was sent to it, and it has sent nothing", sentence, _decides(socket)
        )
    if not sent or (tcp.bytes_received and tcp.last_data_recv_ms < tcp.last_data_sent_ms):
        sentence = f"{who} has sent {count(tcp.bytes_received)}, the last of them {ago(tcp.last_data_recv_ms)}; all are read here, and this end waits for more."
        return judgement(
            "more-expected", socket, "it has sent something, and then nothing more", sentence, _decides(socket)
        )
    if accepted:
        sentence = f"This end has answered {who}, {ago(tcp.last_data_sent_ms)}, and waits for its next request; none is on its way."
        return judgement("idle", socket, "it has sent no further request", sentence, sure=False)
    when = ago(tcp.last_data_sent_ms)
    if far is not None and far.tcp is not None:
        sentence = f"{who} has read all {count(far.tcp.bytes_received)} that this end sent, the last of them {when}, and has not answered. {quiet}"
        return judgement("read", socket, "it has read what was sent to it and not answered", sentence)
    sentence = (
        f"The kernel of {socket.remote} has acknowledged all that this end sent, the last of it {when}. {quiet} Its program has not "
        "answered, or the answer is being lost; from this end the two can't be told apart."
    )
    return judgement(
        "unanswered", socket, "its kernel has acknowledged all, and nothing comes back", sentence, elsewhere(socket)
    )


def unread(socket: Socket) -> int:
    """Bytes that arrived and were not read; an unread FIN counts as one in the receive queue."""
    return max(socket.rx_queue - (socket.state in _FIN_RECEIVED), 0)


def _unsent(socket: Socket) -> int:
    """Bytes not sent or not acknowledged; an unacknowledged FIN counts as one in the send queue."""
    return max(socket.tx_queue - (socket.state in {"FIN_WAIT1", "LAST_ACK", "CLOSING"}), 0)


def _nobody_accepted(far: Socket) -> bool:
    return not far.inode and far.state in _OPEN


def _queue(listener: Socket) -> str:
    return f"{listener.rx_queue} wait in the queue of {listener.local}, which takes {listener.tx_queue}"


def _accepted(socket: Socket, tcp: Tcp) -> bool | None:
    """Whether this end came from accept(2). The counters of both ends tell when all is acknowledged, else who listens."""
    far = socket.far
    if far is not None and far.tcp is not None and not socket.tx_queue:
        ahead = tcp.bytes_acked - far.tcp.bytes_received
        if ahead in {0, 1}:
            return ahead == 0
    return socket.accepted


def _acknowledged(socket: Socket, tcp: Tcp) -> int:
    """Acknowledged bytes of data: without the SYN that the connecting end counts."""
    return max(tcp.bytes_acked - (not socket.accepted), 0)


def _has_sent(socket: Socket, tcp: Tcp, accepted: bool | None) -> bool:
    """Data, not only the SYN and FIN of the connection."""
    if socket.far is not None and socket.far.tcp is not None:
        return socket.far.tcp.bytes_received > (socket.far.state in _FIN_RECEIVED)
    return tcp.bytes_acked > (not accepted) + (socket.state in _FIN_SENT)


def _quiet(tcp: Tcp) -> str:
    if not tcp.bytes_received:
        return "Nothing at all has come from there."
    return f"Nothing has come from there for {duration(tcp.last_data_recv_ms / 1000)}."


def _decides(socket: Socket) -> str:
    """What to run where the other end is, when it is not here."""
    return elsewhere(socket) if socket.far is None and not socket.loopback else ""
