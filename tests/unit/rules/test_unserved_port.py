"""A listening socket that was inherited and is not served; and servers and their workers, of which nothing is said."""

from pellucid.diagnose.rules.unserved_port import holds_a_port_it_does_not_serve
from pellucid.model import Resources, UnservedPort
from tests.unit.rules.build import process, snapshot, thread

SERVER = process(40, command=("python", "server.py"), exe="/usr/bin/python3")
INIT = process(1, command=("/sbin/init",), name="systemd", exe="/usr/lib/systemd/systemd")
SLEEP = process(41, command=("sleep", "60"), exe="/usr/bin/sleep")


def judged(port, parent, of=SLEEP, threads=None):
    now = thread()
    seen = snapshot(now, earlier=threads, process=of, resources=Resources(unserved=(port,), parent=parent))
    return list(holds_a_port_it_does_not_serve(seen))


def test_a_child_of_another_program_has_the_socket_of_its_parent():
    (found,) = judged(UnservedPort(3, "127.0.0.1:8000", False, (SERVER,)), SERVER)
    assert (found.severity, found.confidence) == ("notice", "certain")
    assert (
        "fd 3 is the socket on which its parent, pid 40 (python server.py), listens at 127.0.0.1:8000" in found.sentence
    )


def test_the_server_has_ended():
    (found,) = judged(UnservedPort(3, "[::]:8000", False), INIT)
    assert (found.severity, found.confidence) == ("warning", "possible")
    assert "pellucid files --port 8000" not in found.next
    assert "EADDRINUSE" in found.sentence


def test_silent_about_servers_and_workers():
    worker = process(41, command=SERVER.command, exe=SERVER.exe)
    assert not judged(UnservedPort(3, "127.0.0.1:8000", False, (SERVER,)), SERVER, worker), "a worker may be busy"
    assert not judged(UnservedPort(3, "127.0.0.1:8000", True), INIT), "nothing was executed in between: its own"
    assert not judged(UnservedPort(3, "127.0.0.1:8000", False), SERVER), "its parent is there, and has it not"
    assert not judged(UnservedPort(3, "127.0.0.1:8000", False, (INIT,)), INIT), "socket activation"
    assert not judged(UnservedPort(3, "127.0.0.1:8000", False), INIT, threads=[thread(switches=3)]), "it moves"
    assert not list(holds_a_port_it_does_not_serve(snapshot(thread())))
