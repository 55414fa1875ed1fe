"""The command line: what it prints, how it ends, and what it says where it may not look."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pellucid.kernel import bpf, bpf_access, procfs, ptrace_trace  # noqa: F401  a child that became nobody may not be able to import any more
from pellucid.model.errors import NotPermitted
from pellucid.observe.syscalls import Asked, attached
from tests import interpreters
from tests.conftest import TARGETS
from tests.forked import looked, needs_root, without_capabilities
from tests.syscalls import failed, held, launch, lines, needs_bpf, until

PELLUCID = [sys.executable, "-m", "pellucid", "syscalls"]
HERE = interpreters.Interpreter("", sys.executable)
PRINTS = ["sh", "-c", "echo from the command; cat /nowhere/at/all; exit 3"]


def run(*arguments, **options):
    return subprocess.run(
        [*PELLUCID, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_the_documents_have_their_keys():
    for option in ("--summary", "--failed"):
        done = run(option, "--json", "--", *PRINTS)
        document = json.loads(done.stdout)
        assert {"schema", "process", "taken_at", "summary", "events", "lost", "gaps"} <= document.keys()
        assert document["process"]["pid"] > 0
        assert {"name", "calls", "errors", "total_s", "max_s", "lines"} <= document["summary"][0].keys()
        (event,) = [event for event in document["events"] if event["path"] == "/nowhere/at/all"]
        assert (event["name"], event["error"], event["fd"], event["ret"]) == ("openat", "ENOENT", None, -2)
        assert event["stack"] == []
        assert done.returncode == 3
        assert "from the command" in done.stderr


def test_the_text_comes_after_what_the_command_prints():
    done = run("--failed", "--", *PRINTS)
    assert done.stdout.startswith("from the command\npid ")
    assert "openat /nowhere/at/all = ENOENT" in done.stdout
    assert done.returncode == 3


def test_options_of_the_command_are_its_own(tmp_path):
    done = run("--json", "--", sys.executable, "-c", "import sys; sys.exit(len(sys.argv))", "--json", "-d", "--", "x")
    assert done.returncode == 5


def test_a_file_is_not_overwritten_by_accident(tmp_path):
    path = tmp_path / "report"
    assert run("-o", path, "--", "true").returncode == 0
    before = path.read_text()
    assert before.startswith("pid ")
    again = run("-o", path, "--", "true")
    assert again.returncode == 2
    assert "it is there already" in again.stderr
    assert path.read_text() == before
    assert run("-o", path, "--force", "--json", "--", "true").returncode == 0
    assert json.loads(path.read_text())["schema"] == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "Name one thing to look at"),
        (["1", "--", "true"], 2, "Name one thing to look at"),
        (["--"], 2, "Name one thing to look at"),
        (["--", "no-such-command-anywhere"], 2, "there is no such command"),
        (["--", "/etc/passwd"], 2, "no file that can be executed"),
        (["999999999"], 3, "there is no process"),
        (["1", "--backend", "seccomp"], 2, "has to be launched"),
    ],
)
def test_what_can_not_be_done(arguments, status, said):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr


def _switches(pid):
    """How often it has gone to sleep."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


@needs_bpf
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_look_and_prints_it(target, tmp_path, number):
    process, _ = target(HERE, "silent_errors.py", str(tmp_path), "wait")
    looking = subprocess.Popen([*PELLUCID, "--failed", str(process.pid)], stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: held(looking.pid, "link"), 60)
        before = _switches(process.pid)
        until(lambda: _switches(process.pid) > before + 5, 60)  # it sleeps between its errors
        looking.send_signal(number)
        told, _ = looking.communicate(timeout=60)
    finally:
        looking.kill()
        looking.wait()
    assert "absent.csv = " in told
    assert looking.returncode == 0
    assert process.poll() is None


@needs_bpf
def test_ctrl_c_in_a_terminal_reaches_the_command_too():
    looking = subprocess.Popen(
        [*PELLUCID, "--summary", "--", "sleep", "30"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        until(lambda: held(looking.pid, "link") and procfs.children(looking.pid))
        (child,) = procfs.children(looking.pid)
        until(lambda: procfs.stat(child).name == "sleep")
        os.killpg(looking.pid, signal.SIGINT)
        told, _ = looking.communicate(timeout=20)
    finally:
        looking.kill()
        looking.wait()
    assert "execve" in told
    assert looking.returncode == 128 + signal.SIGINT


def test_a_command_that_goes_on_after_the_look_is_told_and_left_alone(tmp_path):
    may, mark = tmp_path / "may", tmp_path / "went-on"
    done = run("-d", "0.5", "--", "sh", "-c", f"exec >&- 2>&-; until [ -e {may} ]; do sleep 0.1; done; touch {mark}")
    assert "it was still running when the look ended" in done.stdout
    may.touch()
    until(mark.exists, 60)


@needs_root
def test_without_privileges_a_command_is_seen_and_a_process_is_told_why_not(tmp_path):
    def look():
        report = launch(sys.executable, "-S", TARGETS / "families.py", tmp_path)
        (event,) = failed(report, "by-thread")
        return report.backend, lines(event)[0], [(gap.what, gap.why) for gap in report.gaps]

    backend, line, gaps = looked(look, without_capabilities, limit_s=60)
    assert (backend, line.partition(":")[0]) == ("seccomp", "look")
    assert gaps[0] == ("system calls by bpf", "you lack CAP_BPF and CAP_PERFMON")
    assert "you lack CAP_PERFMON" in gaps[1][1]

    def refused():
        child = os.fork()
        if child == 0:
            time.sleep(30)
        try:
            attached(child, Asked(seconds=0.2))
        except NotPermitted as error:
            return error.said, error.remedy.partition(str(child))[0], error.exit_status
        finally:
            os.kill(child, signal.SIGKILL)

    said, remedy, status = looked(refused, without_capabilities)
    assert said.startswith("bpf: you lack CAP_BPF and CAP_PERFMON; perf: you lack CAP_PERFMON")
    assert (remedy, status) == ("sudo pellucid syscalls ", 4)


@needs_root
def test_check_says_whether_programs_can_be_loaded():
    assert bpf_access.check().ok
    refused = looked(bpf_access.check, without_capabilities)
    assert (refused.ok, refused.detail) == (False, "you lack CAP_BPF and CAP_PERFMON")


@needs_bpf
def test_a_program_that_the_verifier_refuses_says_why():
    leave = bytes.fromhex("9500000000000000")  # R0 was never set
    with pytest.raises(bpf.Refused, match="R0 !read_ok"):
        bpf.Program("wrong", leave)


def test_ptrace_does_not_stop_those_that_we_run_under():
    done = run(os.getpid(), "--backend", "ptrace", "-d", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pellucid runs under it" in done.stderr


@needs_root
def test_a_process_that_may_not_be_traced_says_so():
    """By ptrace, which is asked for: it belongs to somebody else, or has a tracer already."""
    child = subprocess.Popen(["sleep", "30"])
    try:

        def look():
            try:
                attached(child.pid, Asked(seconds=0.2, backend="ptrace"))
            except NotPermitted as error:
                return error.said

        def become_nobody():
            os.setresuid(65534, 65534, 65534)

        assert "runs as root" in looked(look, become_nobody)
        tracer = subprocess.Popen(
            [*PELLUCID, str(child.pid), "--backend", "ptrace", "-d", "20"], stdout=subprocess.DEVNULL
        )
        try:
            end = time.monotonic() + 10
            while procfs.status(child.pid)["TracerPid"] == "0" and time.monotonic() < end:
                time.sleep(0.05)
            assert f"pid {tracer.pid} traces it already" in looked(look)
        finally:
            tracer.kill()
            tracer.wait()
    finally:
        child.kill()
        child.wait()


@needs_bpf
@pytest.mark.parametrize("way", ["bpf", "ptrace"])
def test_ptrace_ends_by_itself_and_tells_its_cost(target, tmp_path, way):
    process, _ = target(HERE, "silent_errors.py", str(tmp_path), "wait")
    done = run(process.pid, "-d", "0.5", "--backend", way)
    assert ("it stopped threads" in done.stdout) == (way == "ptrace")
    assert f"seen by {way}: nothing was lost" in done.stdout
