"""A thread that waits for the other end of a socket: the peer's state is in the sentence, and idle is not stuck."""

from msgspec.structs import replace

from pellucid.diagnose.rules.socket_peer import waits_for_a_socket_peer
from pellucid.model import Tcp
from tests.unit.rules.build import frame, on_socket, peer, snapshot, tcp, thread, wait

NEAR = Tcp(
    unacked=0,
    lost=0,
    retransmits=0,
    total_retrans=0,
    backoff=0,
    rtt_us=50,
    last_data_sent_ms=41000,
    last_data_recv_ms=41000,
    last_ack_recv_ms=41000,
    bytes_acked=28,
    bytes_received=0,
    notsent=0,
)
FAR = replace(NEAR, bytes_acked=1, bytes_received=27)


def ends(**far):
    other = tcp(local="127.0.0.1:8000", remote="127.0.0.1:40000", inode=far.pop("inode", 901), tcp=FAR, **far)
    return tcp(tcp=NEAR, far=other, peer_pid=43, peer_pids=(43,), loopback=True)


def test_the_servers_line_is_named_when_it_has_read_the_request():
    waiting = thread(wait=on_socket(ends()), frames=(frame("fetch"),))
    server = peer(
        43,
        threads=[
            thread(
                tid=43, wait=wait("sleep", 2.0, left_s=18.0, timed=True), frames=(frame("do_GET", "/srv/server.py", 8),)
            )
        ],
    )
    (found,) = waits_for_a_socket_peer(snapshot(waiting, peers=[server]))
    assert "pid 43" in found.title
    assert "fd 3" in found.sentence
    assert "127.0.0.1:8000" in found.sentence
    assert "server.py:8 in do_GET" in found.sentence
    assert "pellucid why 43" in found.next


def test_a_stopped_server_is_critical_and_the_remedy_is_a_command():
    waiting = thread(wait=on_socket(ends(rx_queue=27)), frames=(frame("fetch"),))
    (found,) = waits_for_a_socket_peer(snapshot(waiting, peers=[peer(43, "stopped")]))
    assert found.severity == "critical"
    assert found.next[0] == "kill -CONT 43"


def test_a_wait_that_woke_between_the_looks_is_no_claim():
    waiting = thread(wait=on_socket(ends()), frames=(frame("fetch"),))
    earlier = thread(wait=on_socket(ends()), frames=(frame("fetch"),), switches=3)
    assert not list(waits_for_a_socket_peer(snapshot(waiting, earlier=[earlier], peers=[peer()])))
