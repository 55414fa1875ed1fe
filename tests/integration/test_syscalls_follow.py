"""Children are followed however they are made, nothing that is made stays behind, and what found no room is counted."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

import pytest

from pellucid.kernel import syscalls
from pellucid.kernel.bpf_trace import BpfTracer
from pellucid.kernel.decode_calls import wanted
from pellucid.kernel.traced import Called, Watch
from tests import interpreters
from tests.conftest import TARGETS
from tests.forked import CLONE_NEWNS, CLONE_NEWPID, looked, mount, needs_root, unshare
from tests.syscalls import attach, each_way, failed, held, launch, lines, needs_bpf, until

HERE = interpreters.Interpreter("", sys.executable)
each_python = pytest.mark.parametrize("python", interpreters.each())
MADE = ("by-fork", "by-grandchild", "by-subprocess", "by-spawn", "by-thread", "by-exec-of-a-thread")


@each_way
def test_fork_vfork_spawn_exec_and_threads(tmp_path, way):
    report = launch(HERE.path, TARGETS / "families.py", tmp_path, backend=way)
    for name in MADE:
        (event,) = failed(report, name)
        assert (event.error, event.count) == ("ENOENT", 1), name
    (forked,), (grandchild,) = failed(report, "by-fork"), failed(report, "by-grandchild")
    assert lines(forked)[0].startswith("look:")
    assert lines(grandchild)[0].startswith("look:")
    assert len(report.processes) == 6
    assert all(process.ended for process in report.processes)


@each_python
@needs_bpf
def test_an_executed_interpreter_has_lines_as_soon_as_it_runs_any(tmp_path, python):
    program = f"import os\nos.path.exists({str(tmp_path / 'absent')!r})"
    report = launch("sh", "-c", f'"{python.path}" -S -c "$0"; true', program)
    (event,) = failed(report, "absent")
    assert [(frame.function, frame.line) for frame in event.stack][-1] == ("<module>", 2)
    assert event.line.file == "<string>"


@each_way
def test_the_exit_status_is_that_of_the_command(way):
    assert launch("sh", "-c", "exit 7", backend=way).exit_status == 7
    assert launch("sh", "-c", "kill -TERM $$", backend=way).exit_status == 128 + signal.SIGTERM


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: scripts/install_test_tools.sh")
@each_way
def test_as_many_calls_and_errors_as_strace_counts(tmp_path, way):
    """On a program that does the same each time; shares of all calls agree within 5 points, errors exactly."""
    command = [sys.executable, "-S", "-E", str(TARGETS / "families.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    counted = subprocess.run(
        ["strace", "-f", "-c", "-o", str(tmp_path / "counts"), *command],
        env=environment, stdout=subprocess.DEVNULL, check=True, timeout=60,
    )  # fmt: skip
    assert counted.returncode == 0
    theirs = _counts((tmp_path / "counts").read_text())
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        report = launch(*command, backend=way)
    finally:
        del os.environ["PYTHONDONTWRITEBYTECODE"]
    ours = {call.name: (call.calls, call.errors) for call in report.summary}
    if way == "seccomp":
        theirs = {name: counts for name, counts in theirs.items() if name in ours}
    all_ours, all_theirs = (sum(calls for calls, _ in counts.values()) for counts in (ours, theirs))
    for name in {*ours, *theirs}:
        calls, errors = ours.get(name, (0, 0))
        their_calls, their_errors = theirs.get(name, (0, 0))
        assert abs(calls / all_ours - their_calls / all_theirs) < 0.05, name
        if name not in ("futex", "wait4"):  # depend on who is quicker
            assert errors == their_errors, name
    assert abs(all_ours - all_theirs) < 0.02 * all_theirs


def _counts(text):
    """name → (calls, errors) of strace -c."""
    found = {}
    for line in text.splitlines()[2:]:
        fields = line.split()
        if len(fields) in (5, 6) and fields[3].isdigit() and fields[-1] != "total":
            found[fields[-1]] = (int(fields[3]), int(fields[4]) if len(fields) == 6 else 0)
    return found


@needs_bpf
def test_a_killed_tracer_leaves_nothing_loaded_and_the_target_running(tmp_path, target):
    process, _ = target(HERE, "silent_errors.py", str(tmp_path), "wait")
    tracer = subprocess.Popen(
        [sys.executable, "-m", "pellucid", "syscalls", str(process.pid)], stdout=subprocess.DEVNULL
    )
    try:
        until(lambda: held(tracer.pid))
        tracer.kill()
    finally:
        tracer.kill()
        tracer.wait()
    until(lambda: not held(tracer.pid))
    assert process.poll() is None
    again = attach(process.pid, seconds=0.3)
    assert failed(again, "absent.csv")


@needs_bpf
def test_a_command_whose_tracer_is_killed_goes_on(tmp_path):
    mark = tmp_path / "went-on"
    command = ["sh", "-c", f"sleep 1; touch {mark}"]
    for way in ("bpf", "ptrace"):
        line = [sys.executable, "-m", "pellucid", "syscalls", "--backend", way, "--", *command]
        tracer = subprocess.Popen(line, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            until(lambda tracer=tracer: any(name == "sleep" for name in _names_in_session(tracer.pid)))
        finally:
            tracer.kill()
            tracer.wait()
        until(mark.exists)
        mark.unlink()


def _names_in_session(leader):
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    text = stat.read()
            except OSError:
                continue
            if int(text.rpartition(")")[2].split()[3]) == leader:
                yield text.partition("(")[2].rpartition(")")[0]


@needs_bpf
def test_a_look_gives_back_all_that_it_took():
    launch("true")
    before = os.listdir("/proc/self/fd")
    launch("true")
    assert os.listdir("/proc/self/fd") == before
    assert not held(os.getpid())


@needs_bpf
def test_equal_failures_are_told_once_and_all_counted(tmp_path):
    report = launch(HERE.path, "-S", TARGETS / "failing_storm.py", tmp_path, 100_000)
    (event,) = failed(report, "same")
    assert (event.count, report.lost) == (100_000, 0)


@needs_bpf
def test_what_overflows_the_ring_is_counted(tmp_path):
    """A ring of one page, and a reader that never comes until the end."""
    count = 3000
    held, gate = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(gate)
        os.read(held, 1)
        for number in range(count):
            os.access(f"{tmp_path}/{number}", os.R_OK)
        os._exit(0)
    try:
        with BpfTracer(Watch(wanted=wanted(frozenset(), descriptors=False)), ring_bytes=4096) as tracer:
            tracer.follow(child)
            tracer.start()
            os.close(gate)
            os.waitpid(child, 0)
            told = [each for each in tracer.stop() if isinstance(each, Called) and each.failed]
            lost = tracer.lost()["records"]
            (total,) = [
                each for each in tracer.totals() if syscalls.name(each.number) in ("access", "faccessat", "faccessat2")
            ]
    finally:
        os.close(held)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    assert total.errors == count
    assert len(told) + lost == count
    assert lost > 0


@needs_bpf
def test_a_table_that_is_full_is_told(tmp_path, monkeypatch):
    """More different failures than the table holds: each further one is told by itself, and the sum is right."""
    monkeypatch.setattr("pellucid.kernel.bpf_trace.MAX_KEPT", 512)
    report = launch(HERE.path, "-S", TARGETS / "failing_storm.py", tmp_path, 2000, "other")
    events = failed(report, "")
    assert sum(event.count for event in events if event.path.startswith(str(tmp_path))) == 2000
    assert report.lost == sum(report.losses.values())


@needs_bpf
def test_a_target_that_execs_and_one_that_ends_at_once(tmp_path):
    report = launch("sh", "-c", f"exec sh -c 'exec cat {tmp_path}/absent'")
    assert failed(report, "absent")
    assert report.processes[0].command[0].rpartition("/")[2] == "cat"
    assert launch("true").exit_status == 0


@needs_bpf
@needs_root
def test_in_a_pid_namespace_of_its_own(tmp_path):
    """As in a container: the kernel's own numbers are others than those that are seen there."""

    def look():
        """In a process that is not the first of the namespace, as a shell in a container is not."""
        if (child := os.fork()) == 0:
            for _ in range(
                6
            ):  # on a busy machine a child's one call may be over before anybody has seen which CPython it is
                report = launch(HERE.path, "-S", TARGETS / "families.py", tmp_path)
                fine = len(report.processes) == 6
                fine = fine and all(each.pid < 1000 for each in report.processes)
                fine = fine and all(failed(report, name) for name in MADE)
                if fine and all(lines(event) for name in MADE for event in failed(report, name)):
                    os._exit(0)
            os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def inside():
        """The child of unshare(CLONE_NEWPID) is the first process there; it needs a /proc of its own."""
        first = os.fork()
        if first == 0:
            mount("proc", "/proc")()
            os._exit(look())
        return os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])

    assert looked(inside, unshare(CLONE_NEWNS), unshare(CLONE_NEWPID), limit_s=150) == 0
