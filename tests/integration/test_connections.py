"""Who is stuck, from both ends: each case is made with real sockets, and judged from the host and from either namespace."""

import os
import signal
import socket
import sys
import time

import msgspec
import pytest

from pellucid.diagnose import connection
from pellucid.kernel import namespaces
from pellucid.model import Socket
from pellucid.observe.sockets import sockets
from tests import networks
from tests.interpreters import Interpreter
from tests.nobody import as_nobody

PYTHON = Interpreter("3.11", sys.executable)
LIMIT_S = 60
ASKED = 27  # bytes in the client's request


@pytest.fixture(scope="module")
def nets():
    with networks.cable() as (server, client):
        yield server, client


@pytest.fixture
def lossless(nets):
    """Packets get lost in one test only."""
    yield nets
    for net in nets:
        net.drop_nothing()


class Case:
    """A server and a client, and what is seen of the client's connection."""

    def __init__(self, target, server_manner, client_manner, *, nets=None, address="127.0.0.1", connect_to=None):
        self.nets = nets
        inside = [{"preexec_fn": net.enter} for net in nets] if nets else [{}, {}]
        address = networks.SERVER if nets and nets[0] is not nets[1] else address
        self.server, self.port = target(PYTHON, "peer_server.py", address, server_manner, **inside[0])
        self.client, _ = target(PYTHON, "peer_client.py", connect_to or address, self.port, client_manner, **inside[1])

    def judged(self, expected, waiting_for="read", pid=None):
        """The client's (or `pid`'s) connection and its judgement: the second in turn that is as expected, or the last one.

        At first there may be none: a server that has just said where it listens has not accepted yet.
        """
        until = time.monotonic() + LIMIT_S
        before = ""
        while True:
            found = self.connections(pid or self.client.pid)
            late = time.monotonic() > until
            if len(found) == 1 or late:
                (near,) = found
                judged = connection.judge(near, waiting_for)
                if judged.case == before == expected or late:
                    return near, judged
                before = judged.case
            time.sleep(0.05)

    def connections(self, pid, inside=None):
        found = look(pid, inside)
        return [one for one in found if one.proto.startswith(("tcp", "unix")) and one.state != "LISTEN"]

    def agreed(self, case, waiting_for="read"):
        """Lookers in the host's, the server's and the client's namespace come to the same judgement."""
        for inside in (None, *(self.nets or ())):
            (near,) = self.connections(self.client.pid, inside)
            judged = connection.judge(near, waiting_for)
            assert judged.case == case
            assert near.peer_pids == (self.server.pid,)
            assert judged.confidence == "certain"
            assert len(judged.evidence) >= 2
            assert f"pid {self.server.pid}" in judged.sentence


def look(pid, inside=None):
    """The sockets of `pid`, seen from our network namespace or from `inside`."""
    if inside is None:
        found, gaps = sockets(pid)
        assert all(gap.what.startswith(("the descriptors of", "who holds")) for gap in gaps), (
            gaps
        )  # pid 1 may hide; a closing end is nobody's
        return found
    answer = namespaces.in_network_of(inside.pid, lambda: msgspec.json.encode(sockets(pid)[0]))
    assert isinstance(answer, bytes), answer
    return msgspec.json.decode(answer, type=tuple[Socket, ...])


PLACES = {
    "loopback": {},
    "IPv6 loopback": {"address": "::1"},
    "IPv4 in IPv6": {"address": "::", "connect_to": "::ffff:127.0.0.1"},
    "IPv4 to IPv6": {"address": "::", "connect_to": "127.0.0.1"},
}


@pytest.fixture(params=["loopback", "namespaces"])
def place(request):
    """Where the two ends are: keyword arguments of Case."""
    return {"nets": request.getfixturevalue("nets")} if request.param == "namespaces" else PLACES[request.param]


in_every_place = pytest.mark.parametrize("place", [*PLACES, "namespaces"], indirect=True)


@in_every_place
def test_read_and_not_answered(target, place):
    case = Case(target, "read", "plain", **place)
    near, judged = case.judged("read")
    assert judged.case == "read"
    assert (near.tcp.bytes_acked, near.tcp.unacked, near.tx_queue) == (ASKED + 1, 0, 0)
    assert (near.far.rx_queue, near.far.tcp.bytes_received) == (0, ASKED)
    assert near.far.pids == (case.server.pid,)
    assert near.accepted is False
    assert "has read all 27 bytes" in judged.sentence
    assert "Nothing at all" in judged.sentence
    case.agreed("read")


@in_every_place
def test_accepted_and_unread(target, place):
    case = Case(target, "unread", "plain", **place)
    near, judged = case.judged("unread")
    assert judged.case == "unread"
    assert near.far.rx_queue == ASKED
    assert near.far.inode
    case.agreed("unread")


@in_every_place
def test_not_accepted(target, place):
    case = Case(target, "unaccepted", "plain", **place)
    near, judged = case.judged("unaccepted")
    assert judged.case == "unaccepted"
    assert (near.far.inode, near.far.rx_queue) == (0, ASKED)
    assert (near.listener.rx_queue, near.listener.tx_queue) == (1, 5)
    assert near.listener.pids == (case.server.pid,)
    assert near.peer_pid == case.server.pid
    case.agreed("unaccepted")


def test_the_receiver_does_not_drain(target, place):
    case = Case(target, "unread", "big", **place)
    near, judged = case.judged("receiver-not-draining", "write")
    assert judged.case == "receiver-not-draining"
    assert near.timer == "probe"
    assert near.tx_queue > 0
    assert near.far.rx_queue > 0
    case.agreed("receiver-not-draining", "write")


def test_the_request_gets_lost(target, lossless):
    case = Case(target, "read", "late", nets=lossless)
    lossless[0].drop(f"tcp dport {case.port} tcp flags & psh == psh")
    case.client.send_signal(signal.SIGUSR1)
    near, judged = case.judged("request-lost")
    assert judged.case == "request-lost"
    assert (near.tx_queue, near.timer, near.tcp.bytes_acked) == (ASKED, "retransmit", 1)
    assert near.retransmits
    assert near.far.tcp.bytes_received == 0
    assert "have not reached" in judged.sentence
    case.agreed("request-lost")


def test_the_acknowledgements_get_lost(target, lossless):
    case = Case(target, "read", "late", nets=lossless)
    lossless[1].drop(f"tcp sport {case.port}")
    case.client.send_signal(signal.SIGUSR1)
    near, judged = case.judged("request-lost")
    assert judged.case == "request-lost"
    assert near.far.tcp.bytes_received == ASKED
    assert "acknowledgements do not come back" in judged.sentence
    case.agreed("request-lost")


def test_the_attempt_to_connect_gets_lost(target, lossless):
    server, port = target(PYTHON, "peer_server.py", networks.SERVER, "read", preexec_fn=lossless[0].enter)
    lossless[0].drop(f"tcp dport {port} tcp flags & syn == syn")
    case = Case.__new__(Case)
    case.nets, case.server = lossless, server
    case.client, _ = target(PYTHON, "peer_client.py", networks.SERVER, port, "connect", preexec_fn=lossless[1].enter)
    near, judged = case.judged("syn-lost", "connect")
    assert judged.case == "syn-lost"
    assert (near.state, near.timer, near.far) == ("SYN_SENT", "retransmit", None)
    assert near.retransmits
    assert f"pid {server.pid} listens there" in judged.sentence
    case.agreed("syn-lost", "connect")


def test_the_answer_gets_lost(target, lossless):
    case = Case(target, "answer", "plain", nets=lossless)
    near, judged = case.judged("read")
    assert judged.case == "read"
    lossless[1].drop(f"tcp sport {case.port} tcp flags & psh == psh")
    case.server.send_signal(signal.SIGUSR1)
    near, judged = case.judged("answer-lost")
    assert judged.case == "answer-lost"
    assert (near.tcp.bytes_acked, near.tx_queue) == (ASKED + 1, 0)
    assert (near.far.tx_queue, near.far.timer) == (500, "retransmit")
    case.agreed("answer-lost")
    near, judged = case.judged("request-lost", "read", case.server.pid)  # the server's own view of the same
    assert judged.case == "request-lost"
    assert near.peer_pids == (case.client.pid,)


def test_the_accept_queue_is_full(target):
    case = Case(target, "full", "plain")
    near, judged = case.judged("unaccepted")
    assert judged.case == "unaccepted"
    late, _ = target(PYTHON, "peer_client.py", "127.0.0.1", case.port, "connect")
    near, judged = case.judged("unaccepted", "connect", late.pid)
    assert judged.case == "unaccepted"
    assert near.state == "SYN_SENT"
    assert near.listener.rx_queue > near.listener.tx_queue
    assert "queue is full" in judged.sentence
    assert near.peer_pids == (case.server.pid,)


def test_a_server_that_has_answered_is_idle_and_its_client_expects_more(target, place):
    case = Case(target, "serve", "plain", **place)
    _, judged = case.judged("more-expected")
    assert judged.case == "more-expected"
    assert "has sent 500 bytes" in judged.sentence
    near, judged = case.judged("idle", "read", case.server.pid)
    assert judged.case == "idle"
    assert near.accepted is True
    assert judged.confidence == "likely"  # that nothing is owed is the meaning of the bytes, not their number


def test_neither_end_has_spoken(target, place):
    case = Case(target, "read", "silent", **place)
    _, judged = case.judged("nothing-sent")
    assert judged.case == "nothing-sent"
    _, judged = case.judged("idle", "read", case.server.pid)
    assert judged.case == "idle"
    assert "sent nothing yet" in judged.sentence


def test_only_the_server_has_spoken(target, place):
    case = Case(target, "greet", "silent", **place)
    _, judged = case.judged("more-expected")
    assert judged.case == "more-expected"


def test_the_other_end_has_hung_up(target, place):
    case = Case(target, "hang up", "plain", **place)
    near, judged = case.judged("peer-closed")
    assert judged.case == "peer-closed"
    assert near.state == "CLOSE_WAIT"
    assert near.peer_pids == ()


def test_this_end_has_closed_its_sending_side(target, place):
    case = Case(target, "read", "half", **place)
    near, judged = case.judged("half-closed")
    assert judged.case == "half-closed"
    assert (near.state, near.far.state) == ("FIN_WAIT2", "CLOSE_WAIT")
    case.agreed("half-closed")


def test_the_other_end_is_gone_without_a_word(target, lossless):
    case = Case(target, "read", "plain", nets=lossless)
    _, judged = case.judged("read")
    lossless[1].drop(f"tcp sport {case.port}")
    case.server.kill()
    case.server.wait()
    time.sleep(0.1)
    near, judged = case.judged("peer-closed")
    assert judged.case == "peer-closed"
    assert near.state == "ESTABLISHED"
    assert "has not arrived here" in judged.sentence


def test_the_other_end_is_gone_from_this_host(target, lossless):
    net = lossless[1]
    case = Case(target, "read", "plain", nets=(net, net), address="127.0.0.1")
    _, judged = case.judged("read")
    assert judged.case == "read"
    net.drop(f"tcp sport {case.port}")
    net.run("ss", "--kill", "--tcp", "--numeric", f"sport = :{case.port}")
    near, judged = case.judged("peer-gone")
    assert judged.case == "peer-gone"
    assert near.loopback
    assert judged.confidence == "likely"


def test_another_network_that_may_not_be_entered_is_a_gap(target, nets):
    _, port = target(PYTHON, "peer_server.py", networks.SERVER, "read", preexec_fn=nets[0].enter)

    def look():
        near = socket.socket()
        near.connect((networks.SERVER, int(port)))
        near.send(b"hello")
        time.sleep(0.1)
        (one,), gaps = sockets(os.getpid(), inodes={os.fstat(near.fileno()).st_ino})
        assert one.far is None
        assert any("network namespaces" in gap.what and gap.remedy for gap in gaps)
        judged = connection.judge(one, "read")
        assert (judged.case, judged.confidence) == ("unanswered", "likely")
        assert networks.SERVER in judged.decides

    as_nobody(look, nets[1].enter)


@pytest.mark.parametrize(
    ("server", "client", "waiting_for", "case"),
    [
        ("read", "plain", "read", "read"),
        ("unread", "plain", "read", "unread"),
        ("unaccepted", "plain", "read", "unaccepted"),
        ("unread", "big", "write", "receiver-not-draining"),
    ],
)
def test_unix_sockets(target, tmp_path, server, client, waiting_for, case):
    made = Case(target, server, client, address=str(tmp_path / "socket"))
    _, judged = made.judged(case, waiting_for)
    assert judged.case == case
    made.agreed(case, waiting_for)


def test_the_server_of_a_unix_socket_is_idle(target, tmp_path):
    made = Case(target, "serve", "plain", address=str(tmp_path / "socket"))
    _, judged = made.judged("idle", "read", made.server.pid)
    assert judged.case == "idle"


def test_a_unix_client_finds_the_queue_full(target, tmp_path):
    path = str(tmp_path / "socket")
    made = Case(target, "full", "plain", address=path)
    late, _ = target(PYTHON, "peer_client.py", path, made.port, "connect")
    _, judged = made.judged("unaccepted", "connect", late.pid)
    assert judged.case == "unaccepted"
    assert "unix(7)" in judged.sentence
