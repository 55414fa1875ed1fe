"""The judgement of a connection from the numbers of its ends: each case with the nearest one that must not be taken for it."""

import pytest
from msgspec.structs import replace

from pellucid.diagnose import connection
from pellucid.model import Socket, Tcp

QUIET = Tcp(
    unacked=0,
    lost=0,
    retransmits=0,
    total_retrans=0,
    backoff=0,
    rtt_us=50,
    last_data_sent_ms=41000,
    last_data_recv_ms=50000,
    last_ack_recv_ms=41000,
    bytes_acked=28,
    bytes_received=0,
    notsent=0,
    window=65536,
)
"""A client that sent 27 bytes 41 s ago; the SYN is the 28th."""

HEARD = replace(QUIET, bytes_acked=0, bytes_received=27, last_data_recv_ms=41000)
"""The server of that client."""

LISTENER = Socket(
    fd=None, proto="tcp", state="LISTEN", local="127.0.0.1:8000", remote="", rx_queue=1, tx_queue=5, inode=7, pids=(43,)
)


def end(
    tcp=QUIET, *, local="127.0.0.1:40000", remote="127.0.0.1:8000", state="ESTABLISHED", inode=815, rx=0, tx=0, **other
):
    return Socket(
        fd=None,
        proto="tcp",
        state=state,
        local=local,
        remote=remote,
        rx_queue=rx,
        tx_queue=tx,
        inode=inode,
        tcp=tcp,
        **other,
    )


def far(tcp=HEARD, **other):
    return end(tcp, local="127.0.0.1:8000", remote="127.0.0.1:40000", inode=other.pop("inode", 816), **other)


def both(near=None, there=None, **other):
    """The near end with its other end, which pid 43 holds."""
    return replace(near or end(), far=there or far(), peer_pid=43, peer_pids=(43,), loopback=True, **other)


def remote(tcp=QUIET, **other):
    return end(tcp, remote="10.0.0.5:8000", **other)


def judged(socket, waiting_for="read"):
    found = connection.judge(socket, waiting_for)
    assert found.evidence, "a sentence without evidence is a bug"
    assert found.sentence.endswith(".")
    assert "server is slow" not in found.sentence
    return found


def test_read_and_not_answered():
    found = judged(both())
    assert (found.case, found.confidence) == ("read", "certain")
    assert found.sentence == (
        "pid 43 has read all 27 bytes that this end sent, the last of them 41 s ago, and has not answered. "
        "Nothing at all has come from there."
    )
    assert [ref.source for ref in found.evidence] == ["sock_diag tcp inode 815", "sock_diag tcp inode 816"]


def test_unread_is_not_read():
    found = judged(both(there=far(rx=20)))
    assert (found.case, found.confidence) == ("unread", "certain")
    assert "has not read 20 bytes of the 27" in found.sentence


def test_an_unread_end_of_the_connection_is_no_unread_byte():
    """The FIN counts as one in the receive queue of the other end."""
    there = far(replace(HEARD, bytes_received=28), state="CLOSE_WAIT", rx=1)
    found = judged(both(end(replace(QUIET, bytes_acked=29), state="FIN_WAIT2"), there))
    assert found.case == "half-closed"
    assert judged(both(end(state="FIN_WAIT2"), replace(there, rx_queue=2))).case == "unread"


def test_not_accepted_needs_an_open_socket_without_inode():
    waiting = replace(both(there=far(inode=0, rx=27)), listener=LISTENER)
    found = judged(waiting)
    assert (found.case, found.confidence) == ("unaccepted", "certain")
    assert "1 wait in the queue of 127.0.0.1:8000, which takes 5" in found.sentence
    assert "27 bytes" in found.sentence
    closed = judged(both(there=far(inode=0, state="FIN_WAIT1", tx=1, timer="retransmit", retransmits=2)))
    assert closed.case == "answer-lost"
    assert "FIN" in closed.sentence
    assert judged(both(there=far(inode=0, state="FIN_WAIT2"))).case == "peer-closed"


def test_a_full_queue_is_not_a_loss_of_the_network():
    """The kernel of the server has the handshake half done, and drops what comes: the client repeats its request."""
    full = replace(LISTENER, rx_queue=6)
    near = end(tx=27, timer="retransmit", retransmits=3)
    found = judged(replace(both(near, far(None, state="SYN_RECV", inode=0)), listener=full))
    assert found.case == "unaccepted"
    assert judged(both(near, far(replace(HEARD, bytes_received=0)))).case == "request-lost"


@pytest.mark.parametrize("waiting_for", ["read", "write"])
def test_the_receiver_does_not_drain(waiting_for):
    near = end(tx=621192, timer="probe", retransmits=2)
    found = judged(both(near, far(rx=127528)), waiting_for)
    assert (found.case, found.confidence) == ("receiver-not-draining", "certain")
    assert "127,528 bytes" in found.sentence
    assert judged(both(near, far(rx=0)), waiting_for).case == "moving"
    assert judged(remote(tx=621192, timer="probe"), waiting_for).confidence == "likely"


def test_the_request_gets_lost():
    near = end(replace(QUIET, bytes_acked=1), tx=27, timer="retransmit", retransmits=3)
    found = judged(both(near, far(replace(HEARD, bytes_received=0))))
    assert (found.case, found.confidence) == ("request-lost", "certain")
    assert "have not reached pid 43" in found.sentence
    assert "acknowledgements do not come back" in judged(both(near, far())).sentence
    assert judged(both(end(tx=27, timer="retransmit"), far())).case == "moving"


def test_the_answer_gets_lost():
    found = judged(both(there=far(tx=500, timer="retransmit", retransmits=3)))
    assert (found.case, found.confidence) == ("answer-lost", "certain")
    assert "500 bytes" in found.sentence
    assert judged(both(there=far(tx=500, timer="retransmit"))).case == "moving"


@pytest.mark.parametrize("waiting_for", ["connect", "write", "read"])
def test_connecting(waiting_for):
    """The times of a connection that is being made are times since boot: none of them may be told."""
    since_boot = replace(QUIET, last_data_sent_ms=99_000_000, last_ack_recv_ms=99_000_000)
    attempt = remote(since_boot, state="SYN_SENT", tx=1, timer="retransmit", timer_ms=700, retransmits=2)
    found = judged(attempt, waiting_for)
    assert (found.case, found.confidence) == ("syn-lost", "likely")
    assert "None of 3 attempts" in found.sentence
    assert " h " not in found.sentence + " ".join(ref.said for ref in found.evidence)
    assert "10.0.0.5" in found.decides
    assert judged(replace(attempt, retransmits=0), waiting_for).case == "connecting"
    here = replace(attempt, loopback=True, remote="127.0.0.1:8000", listener=LISTENER, peer_pid=43)
    assert (judged(here).case, judged(here).confidence) == ("syn-lost", "certain")
    assert judged(replace(here, listener=replace(LISTENER, rx_queue=6))).case == "unaccepted"
    assert judged(replace(here, listener=None)).case == "syn-lost"


def test_from_this_end_alone_it_is_said_what_would_decide():
    found = judged(remote())
    assert (found.case, found.confidence) == ("unanswered", "likely")
    assert "can't be told apart" in found.sentence
    assert found.decides.startswith("pellucid sockets")
    assert "10.0.0.5" in found.decides
    assert judged(end(loopback=True)).case == "peer-gone"
    lost = judged(remote(replace(QUIET, bytes_acked=1), tx=27, timer="retransmit", retransmits=3))
    assert lost.case == "request-lost"
    assert "accept queue is full" in lost.sentence
    assert "accept queue" not in judged(remote(tx=27, timer="retransmit", retransmits=3)).sentence


def test_who_spoke_last_tells_idle_from_unanswered():
    answered = Tcp(
        **{name: getattr(HEARD, name) for name in HEARD.__struct_fields__}
        | {"bytes_acked": 500, "last_data_sent_ms": 40000}
    )
    server = replace(far(answered), far=end(replace(QUIET, bytes_received=500, last_data_recv_ms=40000)), peer_pid=42)
    found = judged(server)
    assert (found.case, found.confidence) == ("idle", "likely")
    assert judged(replace(server, tcp=replace(answered, last_data_sent_ms=42000))).case == "more-expected"
    client = both(server.far, far(answered))
    assert judged(client).case == "more-expected"
    assert judged(both(replace(client, tcp=replace(client.tcp, last_data_recv_ms=41500)), far(answered))).case == "read"


def test_within_one_tick_of_the_clock_the_client_is_not_called_answered():
    asked_again = replace(QUIET, bytes_received=500, last_data_recv_ms=41000)
    found = judged(both(end(asked_again), far(replace(HEARD, bytes_acked=500))))
    assert found.case == "read"
    assert "Nothing has come from there for 41 s" in found.sentence


def test_who_listens_tells_the_server_when_the_other_end_is_remote():
    answered = replace(HEARD, bytes_acked=500, last_data_sent_ms=40000)
    assert judged(remote(answered, accepted=True)).case == "idle"
    assert judged(remote(answered, accepted=False)).case == "unanswered"
    assert judged(remote(answered)).case == "unanswered"


def test_neither_end_has_spoken():
    silent = replace(QUIET, bytes_acked=1)
    assert judged(both(end(silent), far(replace(HEARD, bytes_received=0)))).case == "nothing-sent"
    assert judged(remote(silent)).case == "nothing-sent"
    assert judged(remote(replace(silent, bytes_acked=0), accepted=True)).case == "idle"
    assert judged(remote(replace(silent, bytes_acked=29), state="FIN_WAIT2")).case == "half-closed"


def test_what_has_arrived_is_not_waited_for():
    assert judged(both(end(rx=5))).case == "arrived"
    hung_up = both(end(state="CLOSE_WAIT", rx=1), far(None, state="FIN_WAIT2", inode=0))
    assert judged(hung_up).case == "peer-closed"
    assert judged(replace(hung_up, rx_queue=2)).case == "arrived"


def test_a_host_that_does_not_answer_probes():
    found = judged(remote(timer="keepalive", retransmits=4))
    assert found.case == "keepalive-unanswered"
    assert judged(remote(timer="keepalive")).case == "unanswered"


def test_a_write_with_room_waits_for_something_else():
    assert judged(both(), "write").case == "unknown"
    assert judged(both(end(tx=9000, timer="retransmit")), "write").case == "moving"
    assert judged(both(), "connect").case == "moving"


def test_listening():
    empty = replace(LISTENER, rx_queue=0)
    assert judged(empty, "accept").case == "accept"
    assert judged(LISTENER, "accept").case == "arrived"


def test_no_claim_without_a_state_or_counters():
    assert judged(end(None, state="TIME_WAIT")).case == "unknown"
    assert judged(replace(end(), proto="netlink", state="")).case == "unknown"
    assert judged(replace(end(), proto="tcp", state="")).case == "unknown"


def unix(near_name="", far_name="/run/x", *, rx=0, far_rx=0, proto="unix", **other):
    there = Socket(
        fd=None, proto=proto, state="ESTABLISHED", local=far_name, remote="", rx_queue=far_rx, tx_queue=0, inode=2
    )
    here = {"state": "ESTABLISHED", "far": there, "peer_pid": 43, "peer_pids": (43,), **other}
    return Socket(
        fd=3, proto=proto, local=near_name, remote=far_name, rx_queue=rx, tx_queue=0, inode=1, loopback=True, **here
    )


def test_unix_sockets_by_their_queues():
    assert (judged(unix()).case, judged(unix()).confidence) == ("read", "certain")
    assert judged(unix(far_rx=9)).case == "unread"
    assert judged(unix(rx=9)).case == "arrived"
    assert judged(unix(near_name="/run/x", far_name="")).case == "idle"
    assert judged(unix(far_rx=9), "write").case == "receiver-not-draining"
    assert judged(unix(), "write").case == "unknown"
    waiting = unix(far=None, listener=replace(LISTENER, local="/run/x"))
    assert judged(waiting).case == "unaccepted"
    assert judged(waiting, "write").case == "unaccepted"
    assert judged(unix(far=None, peer_pid=None)).case == "peer-gone"
    assert judged(unix(far=None)).case == "unknown"
    assert judged(unix(far_rx=9, proto="unix-dgram")).case == "read"  # they may be another sender's
    assert judged(unix(far_rx=9, proto="unix-dgram"), "write").case == "receiver-not-draining"


def test_a_unix_socket_that_connects_waits_for_room_in_the_queue():
    alone = unix(far=None, state="UNCONN", peer_pid=None)
    found = judged(alone, "connect")
    assert (found.case, found.confidence) == ("unaccepted", "likely")
    assert judged(alone).case == "idle"


def test_datagrams():
    near = replace(end(None), proto="udp")
    there = replace(far(None), proto="udp", rx_queue=30)
    assert judged(replace(near, rx_queue=9)).case == "arrived"
    assert (judged(replace(near, far=there)).case, judged(replace(near, far=there)).confidence) == ("unread", "likely")
    assert judged(replace(near, far=replace(there, rx_queue=0))).case == "read"
    assert judged(near).case == "unanswered"
    assert judged(replace(near, remote="")).case == "idle"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("read", "read"),
        ("write", "write"),
        ("read or write", "read"),
        ("hangup", "read"),
        ("accept", "accept"),
        ("connect", "connect"),
    ],
)
def test_what_a_call_wants(words, wanted):
    assert connection.wants(words) == wanted
