"""The sockets of a process agree with its descriptors, with ss(8) and with psutil; the other ends with who really holds them."""

import os
import re
import shutil
import socket as sockets_of_python
import subprocess
import sys

import psutil
import pytest

from pellucid.kernel import sockdiag
from pellucid.model.errors import NoSuchProcess, NotPermitted
from pellucid.observe.sockets import sockets
from tests.interpreters import Interpreter
from tests.nobody import as_nobody

PYTHON = Interpreter("3.11", sys.executable)
STATES_OF_SS = {"ESTAB": "ESTABLISHED", "CLOSE-WAIT": "CLOSE_WAIT", "TIME-WAIT": "TIME_WAIT"}


@pytest.fixture
def mixed(target, tmp_path):
    process, line = target(PYTHON, "mixed_sockets.py", str(tmp_path))
    assert line == "ready"
    return process, str(tmp_path)


def seen(pid, **options):
    return sockets(pid, **options)[0]


def descriptors(pid):
    """fd → inode of all sockets that the process has."""
    links = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    return {fd: int(link[8:-1]) for fd, link in links.items() if link.startswith("socket:[")}


def test_each_descriptor_is_one_socket(mixed):
    process, _ = mixed
    assert {one.fd: one.inode for one in seen(process.pid)} == descriptors(process.pid)
    assert {one.fd for one in seen(process.pid, far=False)} == set(descriptors(process.pid))
    assert [one.fd for one in seen(process.pid)] == sorted(descriptors(process.pid))


def test_what_is_in_no_table_is_listed_with_its_kind(mixed):
    process, _ = mixed
    rest = sorted((one.proto, one.state) for one in seen(process.pid) if not one.state)
    assert rest == [("netlink", ""), ("tcp", "")]


def test_internet_sockets_agree_with_psutil(mixed):
    process, _ = mixed

    def end(address):
        return f"[{address.ip}]:{address.port}" if ":" in address.ip else f"{address.ip}:{address.port}"

    theirs = {
        (one.fd, end(one.laddr), end(one.raddr) if one.raddr else "", "UNCONN" if one.status == "NONE" else one.status)
        for one in psutil.Process(process.pid).net_connections("inet")
        if one.laddr
    }
    ours = {
        (one.fd, one.local, one.remote, "UNCONN" if one.proto.startswith("udp") else one.state)
        for one in seen(process.pid)
        if one.proto[:3] in {"tcp", "udp"} and one.state
    }
    duplicate = max(descriptors(process.pid))  # psutil has one descriptor a socket
    assert {one for one in ours if one[0] != duplicate} == theirs
    assert len(ours) == 15


@pytest.mark.skipif(shutil.which("ss") is None, reason="ss is missing: scripts/install_test_tools.sh installs it")
def test_queues_and_states_agree_with_ss(mixed):
    process, directory = mixed
    told = subprocess.run(["ss", "-anpxtuH"], check=True, capture_output=True, text=True, timeout=20).stdout
    theirs = set()
    for line in told.splitlines():
        if f"pid={process.pid}," not in line:
            continue
        _, state, rx, tx = line.split()[:4]
        theirs |= {
            (int(fd), STATES_OF_SS.get(state, state), int(rx), int(tx))
            for fd in re.findall(rf"pid={process.pid},fd=(\d+)", line)
        }
    ours = {(one.fd, one.state, one.rx_queue, one.tx_queue) for one in seen(process.pid) if one.state}
    assert ours == theirs
    assert len(ours) > 25
    assert {one.local for one in seen(process.pid) if one.proto == "unix" and one.state == "LISTEN"} == {
        f"{directory}/stream",
        f"@pellucid-test-{process.pid}",
    }


def test_the_whole_host_agrees_with_the_process(mixed):
    process, _ = mixed
    everything, _ = sockets(None)
    by_inode = {one.inode: one for one in everything if process.pid in one.pids}
    for one in seen(process.pid):
        if one.state:
            other = by_inode[one.inode]
            assert (other.local, other.remote, other.state) == (one.local, one.remote, one.state)
            assert other.peer_pids == one.peer_pids
            assert other.fd is None


def test_every_connection_leads_to_its_other_end_and_back(mixed):
    process, _ = mixed
    by_inode = {one.inode: one for one in seen(process.pid)}
    connected = [one for one in by_inode.values() if one.far is not None]
    for one in connected:
        assert one.peer_pids == (process.pid,)
        assert one.loopback
        if one.far.inode and one.proto not in {"udp", "unix-dgram"}:  # their receivers may have many senders
            back = by_inode[one.far.inode]
            assert back.far.inode == one.inode
            assert (back.local, back.remote) == (one.far.local, one.far.remote or back.remote)
    assert len(connected) == 17


def test_unix_queues_and_those_who_wait_to_be_accepted(mixed):
    process, directory = mixed
    unix = [one for one in seen(process.pid) if one.proto.startswith("unix")]
    (waiting,) = [one for one in unix if one.listener is not None]
    assert (waiting.remote, waiting.listener.rx_queue, waiting.far) == (f"@pellucid-test-{process.pid}", 1, None)
    assert sorted(one.rx_queue for one in unix if one.proto == "unix" and one.state != "LISTEN" and one.rx_queue) == [
        2,
        5,
    ]
    (datagrams,) = [one for one in unix if one.local == f"{directory}/datagrams"]
    assert (datagrams.proto, datagrams.rx_queue) == ("unix-dgram", 3)
    (sender,) = [one for one in unix if one.remote == f"{directory}/datagrams"]
    assert sender.far.inode == datagrams.inode


def test_only_the_inodes_that_are_asked_for(mixed):
    process, _ = mixed
    wanted = next(one for one in seen(process.pid) if one.state == "LISTEN" and one.proto == "tcp")
    assert seen(process.pid, inodes={wanted.inode}) == (wanted,)
    assert seen(process.pid, inodes=set()) == ()


def test_a_process_that_does_not_exist():
    with pytest.raises(NoSuchProcess):
        sockets(2**22 - 1)


def test_a_user_without_privileges_sees_both_ends_of_his_own():
    def look():
        listening = sockets_of_python.create_server(("127.0.0.1", 0))
        near = sockets_of_python.create_connection(listening.getsockname())
        far, _ = listening.accept()
        near.send(b"hello")
        (one,) = seen(os.getpid(), inodes={os.fstat(near.fileno()).st_ino})
        assert one.far.inode == os.fstat(far.fileno()).st_ino
        assert one.far.rx_queue == 5
        assert one.peer_pids == (os.getpid(),)
        assert one.tcp.bytes_acked == 6

    as_nobody(look)


def test_the_descriptors_of_another_user_are_a_gap(target):
    """The server is root's: that it has not accepted is known all the same."""
    server, port = target(PYTHON, "peer_server.py", "127.0.0.1", "unaccepted")

    def look():
        near = sockets_of_python.create_connection(("127.0.0.1", int(port)))
        (one,), gaps = sockets(os.getpid(), inodes={os.fstat(near.fileno()).st_ino})
        assert one.listener is not None
        assert one.peer_pids == ()
        assert any("descriptors of" in gap.what and gap.remedy for gap in gaps)

    as_nobody(look)

    def look_at_it():
        with pytest.raises(NotPermitted):
            sockets(server.pid)

    as_nobody(look_at_it)


INSIDE = """
import os, socket, sys
from pellucid.observe.sockets import sockets
near = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
(one,), gaps = sockets(os.getpid(), inodes={os.fstat(near.fileno()).st_ino})
print(one.listener is not None, one.peer_pids, *(gap.what + ": " + gap.why for gap in gaps), sep="|")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="making a pid namespace needs root")
def test_a_holder_in_another_pid_namespace_is_a_gap(target):
    _, port = target(PYTHON, "peer_server.py", "127.0.0.1", "unaccepted")
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", INSIDE, port]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    listens, peers, gap = told.strip().split("|")
    assert (listens, peers) == ("True", "()")
    assert gap.startswith("who holds 1 socket")
    assert "another pid namespace" in gap


def test_many_sockets_are_read_whole():
    """More than fit into one part of the kernel's answer."""
    listening = sockets_of_python.create_server(("127.0.0.1", 0), backlog=600)
    made = [sockets_of_python.create_connection(listening.getsockname()) for _ in range(500)]
    try:
        mine = {os.fstat(one.fileno()).st_ino for one in made}
        found, gaps = sockdiag.inet(sockdiag.INET, sockdiag.TCP)
        assert not gaps
        assert mine <= {one.inode for one in found}
        assert all(sockdiag.tcp(one.info) is not None for one in found if one.inode in mine)
        assert {one.inode for one in sockdiag.inet(sockdiag.INET, sockdiag.TCP, inodes=mine)[0]} == mine
    finally:
        for one in (*made, listening):
            one.close()
