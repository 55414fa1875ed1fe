"""What a process prints, copied without a gap: by every call that writes, from children too, and ended cleanly."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pellucid.kernel import bpf, bpf_files, bpf_task, procfs
from pellucid.model.errors import NoSuchProcess, NotPermitted, UsageError
from pellucid.observe.output import output
from tests.forked import looked, nobody
from tests.syscalls import held, until

PRINTING = str(Path(__file__).parents[1] / "targets" / "printing.py")
PELLUCID = [sys.executable, "-m", "pellucid"]


def may_load():
    try:
        bpf.Map(bpf.ARRAY, 4, 4, 1).close()
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not may_load(), reason="BPF programs may not be loaded here (root or CAP_BPF)")


@pytest.fixture
def prints(tmp_path):
    """(process, its stdout file): it prints "ready" and then waits for a line on stdin."""
    started = []

    def start(way, pause="0.002", *more, **options):
        out = open(tmp_path / f"out-{way}", "wb" if way == "spliced" else "ab")  # noqa: SIM115  closed below
        options = {"stdout": out, "stderr": out, **options}
        process = subprocess.Popen([sys.executable, PRINTING, way, pause, *more], stdin=subprocess.PIPE, **options)
        out.close()
        started.append(process)
        deadline = time.monotonic() + 60
        while options["stdout"] is out and b"ready\n" not in Path(out.name).read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process, Path(out.name)

    yield start
    for process in started:
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.kill()
        process.stdin.close()
        process.wait()


def children(pid):
    found = list(procfs.children(pid))
    return found + [below for child in found for below in children(child)]


def go(process):
    process.stdin.write(b"go\n")
    process.stdin.flush()


def captured(process, enough=0, seconds=60.0, stopped=None, **options):
    """(what was written, the report); the target begins once the look has. It ends with so many lines, or once it is `stopped`."""
    pieces = []
    begun = []

    def drained():
        if not begun:
            begun.append(go(process))

    def filled():
        return bool(enough) and sum(piece.content.count(b"\n") for piece in pieces) >= enough

    ends = stopped or filled
    return pieces, output(process.pid, pieces.append, seconds=seconds, drained=drained, stopped=ends, **options)


def go_once_watched(process, watcher):
    """The programs of the look are attached when it has begun: from then on it sees what the process itself writes."""
    until(lambda: held(watcher, "link"), 60)
    go(process)


def grows(out):
    size = out.stat().st_size
    until(lambda: out.stat().st_size > size, 60)


def numbers(content):
    lines = content.split(b"\n")
    assert not lines[-1] or lines[-1].startswith(b"l"), "cut inside of the last line at most"
    return [int(line.split()[1]) for line in lines[:-1] if line.startswith(b"line")]


@pytest.mark.parametrize("way", ["print", "write", "writev", "pwritev", "dup", "shell", "stderr", "fork", "long"])
def test_numbered_lines_without_a_gap(prints, way):
    process, out = prints(way, "0.02" if way == "long" else "0.002")
    wanted = 60 if way == "long" else 300
    pieces, report = captured(process, wanted)
    content = b"".join(piece.content for piece in pieces)
    seen = numbers(content)
    assert seen == list(range(len(seen)))
    assert len(seen) >= wanted
    assert (report.lost_bytes, report.gaps, report.ended) == (0, (), "interrupted")
    assert content in out.read_bytes()
    assert sum(report.bytes.values()) == len(content)
    assert process.poll() is None


def test_the_way_to_our_descriptors_is_one_way_whatever_else_happens():
    """Other memory may look as the table does: where it lies depends on what was started and ended."""
    over = threading.Event()

    def starts():
        while not over.is_set():
            subprocess.run(["true"], check=True)

    other = threading.Thread(target=starts)
    other.start()
    try:
        assert len({bpf_files.layout() for _ in range(60)}) == 1
        assert len({bpf_task.ids_offset() for _ in range(20)}) == 1
    finally:
        over.set()
        other.join()


def test_three_seconds_as_fast_as_it_can_from_two_processes(prints):
    one, _ = prints("write", "0")
    pieces, report = captured(one, seconds=3.4)
    seen = numbers(b"".join(piece.content for piece in pieces))
    if report.lost_bytes:  # a crowded machine: then every byte that is missing has been counted
        total = sum(len(piece.content) for piece in pieces) + report.lost_bytes
        assert total >= len(b"".join(b"line %d\n" % number for number in range(seen[-1] + 1)))
    else:
        assert seen == list(range(len(seen)))
    assert len(seen) > 10_000


def test_streams_are_told_apart(prints, tmp_path):
    with open(tmp_path / "err", "wb") as err:
        process, _ = prints("stderr", stderr=err)
        pieces, report = captured(process, 20)
    assert {piece.stream for piece in pieces} == {2}
    assert report.bytes["stdout"] == 0


def test_a_socket_as_stdout(prints):
    near, far = socket.socketpair()
    with near, far:
        process, _ = prints("send", stdout=far)
        near.recv(6)
        pieces, _ = captured(process, 20)
    seen = numbers(b"".join(piece.content for piece in pieces))
    assert seen == list(range(len(seen)))
    assert len(seen) >= 20


def test_the_output_of_children_alone_or_not_at_all(prints):
    process, _ = prints("fork")
    pieces, _ = captured(process, seconds=1.1, children=False)
    assert pieces == []
    process, _ = prints("fork")
    pieces, _ = captured(process, 20)
    assert {piece.pid for piece in pieces} == set(children(process.pid))


@pytest.mark.parametrize("way", ["fork", "shell"])
def test_children_that_were_there_before_the_look(prints, way):
    process, out = prints(way)
    go(process)
    grows(out)
    pieces = []
    output(process.pid, pieces.append, seconds=60, stopped=lambda: len(pieces) > 50)
    seen = numbers(b"".join(piece.content for piece in pieces).partition(b"\n")[2])
    assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert {piece.pid for piece in pieces} <= set(children(process.pid))


def test_another_process_that_writes_to_the_same_file_is_not_its_output(prints, tmp_path):
    """A shell and what it runs share a terminal: only the family of the process counts."""
    process, out = prints("quiet")
    with open(f"/proc/{process.pid}/fd/1", "ab") as same:
        other = subprocess.Popen(["sh", "-c", "while :; do echo other; sleep 0.02; done"], stdout=same)
        try:
            grows(out)
            pieces = []
            output(process.pid, pieces.append, seconds=0.5)
            grows(out)
        finally:
            other.kill()
            other.wait()
    assert pieces == []


def test_what_a_shell_redirects_is_not_its_output(tmp_path):
    line = "read x; for n in 1 2 3 4 5 6 7 8 9; do echo kept; echo elsewhere > other; echo hidden | cat > other; sleep 0.05; done"
    with open(tmp_path / "out", "wb") as out:
        process = subprocess.Popen(["sh", "-c", line], stdin=subprocess.PIPE, stdout=out, cwd=tmp_path)
        try:
            pieces, report = captured(process)
        finally:
            process.kill()
            process.stdin.close()
            process.wait()
    assert b"".join(piece.content for piece in pieces) == b"kept\n" * 9
    assert report.ended == "the process ended"


def test_a_new_stdout_is_noticed(prints, tmp_path):
    process, _ = prints("rotate", "0.002", str(tmp_path / "rotated"))
    pieces, report = captured(process, 350)  # 250 of them before it is rotated, at most
    seen = numbers(b"".join(piece.content for piece in pieces))
    assert seen == sorted(seen)
    assert seen[-1] - seen[0] + 1 > len(seen), "those of the moment in between"
    assert any("was redirected" in gap.why for gap in report.gaps)


def test_what_never_was_in_memory_is_counted(prints):
    process, out = prints("spliced", "0.01")
    pieces, report = captured(process, stopped=lambda: out.stat().st_size > 2000)
    assert pieces == []
    assert report.lost_bytes >= 1000
    assert report.lost_bytes % 100 == 0
    assert "inside of the kernel" in report.gaps[0].why


def test_a_ring_that_is_too_small_is_counted_to_the_byte(prints, monkeypatch):
    from pellucid.kernel.bpf_output import OutputTracer

    process, out = prints("long", "0.001")
    before = out.stat().st_size
    with OutputTracer(ring_bytes=1 << 16) as tracer:
        for fd, file in bpf_files.identities(process.pid, (1, 2), tracer.layout).items():
            tracer.want_file(file, fd)
        tracer.follow(process.pid)
        tracer.start(children=True)
        go(process)
        until(lambda: out.stat().st_size - before > 1 << 20, 60)
        os.kill(process.pid, signal.SIGSTOP)
        until(lambda: procfs.stat(process.pid).state == "stopped", 60)
        tracer.stop()
        took = sum(len(written.content) for written in tracer.records())
        assert took + tracer.lost()["ring"] == out.stat().st_size - before
    os.kill(process.pid, signal.SIGCONT)


def test_ctrl_c_ends_it_and_the_target_goes_on(prints):
    process, out = prints("print")
    with subprocess.Popen(
        [*PELLUCID, "output", str(process.pid), "--timestamps"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as ours:
        go_once_watched(process, ours.pid)
        told = b"".join(ours.stdout.readline() for _ in range(30))
        ours.send_signal(signal.SIGINT)
        rest, said = ours.communicate(timeout=60)
    assert ours.returncode == 0
    assert b"none lost; interrupted" in said
    lines = (told + rest).splitlines()
    assert [line.partition(b" stdout: line ")[2] for line in lines] == [b"%d" % n for n in range(len(lines))]
    assert f" {process.pid} stdout: line 0".encode() in lines[0]
    grows(out)
    # The kernel frees a program some time after its last user has gone; other tests may have some meanwhile.
    until(lambda: not any(name.startswith("pellucid_out") for name in bpf.loaded()), 60)


def test_to_a_file_and_as_json(prints, tmp_path):
    process, _ = prints("print")
    arguments = [*PELLUCID, "output", str(process.pid), "-d", "60"]
    with subprocess.Popen([*arguments, "-o", str(tmp_path / "copy")], stderr=subprocess.PIPE) as ours:
        go_once_watched(process, ours.pid)
        until(lambda: (tmp_path / "copy").stat().st_size, 60)
        ours.send_signal(signal.SIGTERM)
        assert ours.wait(60) == 130, "-d was not reached"
    assert numbers((tmp_path / "copy").read_bytes())
    again = subprocess.run([*arguments, "-o", str(tmp_path / "copy")], capture_output=True, timeout=60, check=False)
    assert again.returncode == 2
    done = subprocess.run([*arguments[:-1], "1.5", "--json"], capture_output=True, timeout=60, check=True)
    looked_at = json.loads(done.stdout)
    assert looked_at["printed"][0]["stream"] == "stdout"
    assert looked_at["lost_bytes"] == 0
    assert looked_at["process"]["pid"] == process.pid


@pytest.mark.parametrize("way", ["print", "writev", "dup", "shell"])
def test_by_ptrace_where_it_is_asked_for(prints, way):
    """In a process of its own: a tracer collects all children of its process."""
    process, out = prints(way, "0.005")
    arguments = [*PELLUCID, "output", str(process.pid), "--backend", "ptrace"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as ours:
        until(lambda: "TracerPid:\t0\n" not in Path(f"/proc/{process.pid}/status").read_text(), 60)
        go(process)
        told = b"".join(ours.stdout.readline() for _ in range(50))
        ours.send_signal(signal.SIGINT)
        rest, said = ours.communicate(timeout=60)
    assert ours.returncode == 0, said
    seen = numbers(told + rest)
    assert seen == list(range(len(seen)))
    grows(out)
    assert "TracerPid:\t0\n" in Path(f"/proc/{process.pid}/status").read_text()


def test_bad_targets(prints):
    with pytest.raises(NoSuchProcess):
        output(4_000_000, print)
    silent = subprocess.Popen(["sh", "-c", "exec >&- 2>&-; exec sleep 30"])
    try:
        until(lambda: not {"1", "2"} & set(os.listdir(f"/proc/{silent.pid}/fd")), 60)
        with pytest.raises(UsageError, match="neither stdout nor stderr"):
            output(silent.pid, print, seconds=0.1)
    finally:
        silent.kill()
        silent.wait()


def test_without_privileges_it_says_what_is_missing():
    def ask():
        child = subprocess.Popen(["sleep", "30"])
        try:
            output(child.pid, print, seconds=0.1)
        except NotPermitted as error:
            return error.said, error.remedy
        finally:
            child.kill()
            child.wait()

    said, remedy = looked(ask, nobody)
    assert "CAP_BPF" in said
    assert "--backend ptrace" in remedy
