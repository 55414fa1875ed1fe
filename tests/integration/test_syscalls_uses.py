"""What a command reads, writes, creates, renames, deletes and connects to, by every way of looking."""

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from tests.conftest import TARGETS
from tests.syscalls import each_way, launch, needs_bpf

PROGRAM = TARGETS / "file_uses.py"


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "old.txt").write_text("before")
    (tmp_path / "replaced.txt").write_text("before")
    (tmp_path / "read.txt").write_text("r" * 777)
    (tmp_path / "unwanted.txt").write_text("")
    return tmp_path


@pytest.fixture(params=[pytest.param("bpf", marks=needs_bpf), "ptrace", "seccomp"])
def report(request, directory):
    return launch(sys.executable, "-S", PROGRAM, directory, files=True, network=True, backend=request.param)


def test_files_with_sizes_and_what_became_of_them(report, directory):
    found = {use.path.removeprefix(f"{directory}/"): use for use in report.files if use.path.startswith(str(directory))}
    assert {
        name: (use.change, use.written_bytes) for name, use in found.items() if use.kind == "file" and use.change
    } == {
        "made.txt": ("created", 1234),
        "old.txt": ("appended", 11),
        "replaced.txt": ("replaced", 22),
        "final.txt": ("created", 33),
        "gone.txt": ("created and deleted", 44)
        if found["gone.txt"].change.startswith("created")
        else ("written and deleted", 44),
        "unwanted.txt": ("deleted", 0),
        "new/.cache/x/entry": ("created", 55),
        "by-dup.txt": ("created", 66),
        "by-child.txt": ("created", 5),
    }
    assert found["final.txt"].renamed_from == str(directory / "temporary.part")
    assert (found["read.txt"].read_bytes, found["read.txt"].change) == (777, "")
    assert {name for name, use in found.items() if use.kind == "directory" and use.change == "created"} == {
        "new",
        "new/.cache",
        "new/.cache/x",
        "outer",
    }
    assert found["outer/inner"].change == "created and deleted"
    assert not [use.path for use in report.files if "<descriptor" in use.path]
    assert found["new/.cache/x/entry"].place == "cache"
    assert found["made.txt"].line.line == 1 + PROGRAM.read_text().splitlines().index(
        'with open("made.txt", "w") as file:'
    )
    assert report.lost == 0


def test_connections_with_bytes_both_ways(report):
    found = {(use.role, use.errors.get("ECONNREFUSED", 0)): use for use in report.network if use.protocol == "tcp"}
    connected, accepted = found["connects", 0], found["accepts", 0]
    assert (connected.sent_bytes, connected.received_bytes) == (300, 500)
    assert (accepted.sent_bytes, accepted.received_bytes) == (500, 300)
    assert accepted.address == "127.0.0.1"
    assert found["listens", 0].address == connected.address
    assert found["connects", 1].address == "127.0.0.1:9"
    assert found["connects", 1].line.function == "<module>"


@each_way
def test_a_refused_connection_is_a_failure_with_its_address(way):
    program = "import socket\ntry: socket.create_connection(('127.0.0.1', 9))\nexcept OSError: pass"
    report = launch(sys.executable, "-S", "-c", program, backend=way)
    (event,) = [event for event in report.events if event.name == "connect"]
    assert (event.error, event.what, event.noise) == ("ECONNREFUSED", "127.0.0.1:9", "")
    assert event.call.endswith(", 127.0.0.1:9, 16)")


IN_BACKGROUND = """
import socket
for _ in range(3):
    try: socket.create_connection(('127.0.0.1', 9), timeout=5)
    except OSError: pass
server = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(server.getsockname(), timeout=5)
assert not client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
"""


@each_way
def test_a_connection_that_is_refused_in_the_background_is_told_once_the_program_knows(way):
    """With a timeout, connect(2) gives EINPROGRESS at once; asyncio and most clients ask by SO_ERROR how it ended."""
    report = launch(sys.executable, "-S", "-c", IN_BACKGROUND, backend=way, network=True)
    (event,) = [event for event in report.events if not event.noise and event.name in ("connect", "getsockopt")]
    assert (event.name, event.error, event.what, event.count) == ("connect", "ECONNREFUSED", "127.0.0.1:9", 3)
    assert event.call.endswith(", 127.0.0.1:9), in the background")
    (asked,) = [call for call in report.summary if call.name == "getsockopt"]
    assert asked.errors == 0, "the call itself did not fail"
    told = {(use.address.endswith(":9"), use.count, use.errors.get("ECONNREFUSED", 0)) for use in report.network}
    assert {(True, 0, 3), (False, 1, 0)} <= told


@needs_bpf
def test_a_slow_call_is_told_with_its_time_and_line():
    program = "import os, time\nread, write = os.pipe()\ntime.sleep(0.05)\nos.read(os.open('/dev/zero', 0), 1)"
    report = launch(sys.executable, "-S", "-c", program, slow_ms=40)
    (event,) = [event for event in report.slow if event.name == "clock_nanosleep"]
    assert 0.05 <= event.duration_s < 5
    assert event.waits
    assert event.line.line == 3


@needs_bpf
def test_a_call_that_has_not_ended_is_told(tmp_path):
    server = socket.create_server(("127.0.0.1", 0))
    child = subprocess.Popen(
        [
            sys.executable,
            "-S",
            "-c",
            f"import socket; s = socket.create_connection({server.getsockname()!r}); s.recv(1); s.recv(1)",
        ]
    )
    try:
        peer, _ = server.accept()
        threading.Timer(0.2, lambda: peer.send(b"x")).start()
        from tests.syscalls import attach

        report = attach(child.pid, seconds=0.6)
        (call,) = report.unfinished
        assert call.name == "recvfrom"
        assert 0.2 < call.since_s < 5
    finally:
        child.kill()
        child.wait()
        server.close()
        peer.close()


@needs_bpf
def test_the_path_of_a_call_that_has_not_ended(tmp_path):
    """It is read from the process at the end: what a finished call was given is read when it ends."""
    fifo = tmp_path / "nobody writes here"
    os.mkfifo(fifo)
    report = launch(sys.executable, "-S", "-c", f"open({str(fifo)!r})", seconds=0.6)
    try:
        (call,) = report.unfinished
        assert (call.name, call.path) == ("openat", str(fifo))
    finally:
        os.kill(report.process.pid, signal.SIGKILL)
        os.waitpid(report.process.pid, 0)
