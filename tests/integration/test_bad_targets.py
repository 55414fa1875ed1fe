"""What a person meets who asks for something that can't be seen: three lines with the remedy, and the documented exit status."""

import json
import os
import shlex
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from pellucid.model.errors import NoSuchProcess
from pellucid.observe.identity import contained
from tests import interpreters

PELLUCID = [sys.executable, "-m", "pellucid"]
LOOKS = ["why", "stacks", "info", "env", "files", "sockets"]
NOBODY = 65534
as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be somebody else for a moment")


def pellucid(*arguments, **options):
    return subprocess.run(
        [*PELLUCID, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **options
    )


def no_pid():
    """A pid that nobody has: the largest that the kernel gives, unless somebody has it."""
    with open("/proc/sys/kernel/pid_max") as file:
        pid = int(file.read()) - 1
    while os.path.exists(f"/proc/{pid}"):
        pid -= 1
    return pid


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        process.kill()


@pytest.fixture
def zombie():
    with subprocess.Popen(["true"]) as process:
        while True:
            with open(f"/proc/{process.pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    break
            time.sleep(0.01)
        yield process


@pytest.mark.parametrize(
    "words",
    [
        "why",
        "info",
        "env",
        "stacks",
        "waits",
        "files",
        "recover",
        "output",
        "sockets",
        "syscalls",
        "profile",
        "memory",
        "heap",
        "gc",
        "oom",
        "record",
        "top --plain",
        "jvm flags",
    ],
)
def test_a_number_that_is_no_pid_at_all(words):
    from pellucid.app import COMMANDS
    from pellucid.present.cli.lazy import group

    caught = CliRunner().invoke(group(COMMANDS), [*words.split(), "99999999999999999999"]).exception
    assert isinstance(caught, NoSuchProcess)


@as_root
def test_a_pid_of_the_host_from_inside_of_a_container():
    line = ["unshare", "--pid", "--fork", "--mount-proc", *PELLUCID, "why", "4000000"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 3
    assert done.stderr.rstrip().endswith("on the host (this is a container, with pids of its own)")


@pytest.mark.parametrize("command", LOOKS)
def test_no_such_process(command):
    pid = no_pid()
    done = pellucid(command, pid)
    assert done.returncode == 3
    assert f"no process with pid {pid}" in done.stderr
    assert len(done.stderr.splitlines()) == 3
    assert not done.stdout
    told = json.loads(pellucid(command, pid, "--json").stdout)
    assert told["error"]["code"] == "no_such_process"
    assert told["error"]["pid"] == pid


@pytest.mark.parametrize("command", LOOKS)
def test_a_pattern_that_matches_nothing(command):
    done = pellucid(command, "no-process-has-this-name")
    assert done.returncode == 2
    assert "no-process-has-this-name" in done.stderr
    assert "pellucid ps" in done.stderr


def test_a_pattern_that_matches_several_lists_them(target):
    python = interpreters.get("3.11")
    one, _ = target(python, "states.py", "sleep")
    two, _ = target(python, "states.py", "sleep")
    done = pellucid("why", "--quick", "states.py")
    assert done.returncode == 2
    assert str(one.pid) in done.stderr
    assert str(two.pid) in done.stderr


def test_a_pattern_that_matches_one_is_that_process(target):
    process, _ = target(interpreters.get("3.11"), "http_server.py", "1")
    assert json.loads(pellucid("why", "http_server", "--json").stdout)["process"]["pid"] == process.pid


def test_a_number_that_is_no_pid():
    assert pellucid("why", "0").returncode in {2, 3}
    assert pellucid("why", "99999999999999999999").returncode in {2, 3}
    assert pellucid("why", "-1").returncode == 2
    assert pellucid("why").returncode == 2


def test_a_process_that_runs_no_python(sleeper):
    done = pellucid("stacks", sleeper.pid)
    assert done.returncode == 5
    assert "Python" in done.stderr
    verdict = pellucid("why", "--quick", sleeper.pid)
    assert verdict.returncode == 0
    assert "not seen: Python stacks" in verdict.stdout
    assert "sleep" in verdict.stdout


@pytest.mark.parametrize("python", interpreters.each(interpreters.OLDER))
def test_a_python_without_a_table_is_named(target, python):
    process, _ = target(python, "states.py", "sleep")
    done = pellucid("stacks", process.pid)
    assert done.returncode == 5
    assert python.version in done.stderr
    verdict = pellucid("why", "--quick", process.pid)
    assert verdict.returncode == 6
    assert python.version in verdict.stdout


def test_a_zombie(zombie):
    done = pellucid("stacks", zombie.pid)
    assert done.returncode == 5
    assert "zombie" in done.stderr
    verdict = pellucid("why", zombie.pid)
    assert verdict.returncode == 0
    assert f"pellucid why {os.getpid()}" in verdict.stdout


def test_a_thread_of_the_kernel():
    if not os.path.exists("/proc/2/stat") or (os.path.exists("/proc/2/exe") and os.access("/proc/2/exe", os.R_OK)):
        pytest.skip("this pid namespace shows no thread of the kernel")
    assert pellucid("stacks", 2).returncode in {4, 5}
    assert pellucid("info", 2).returncode in {0, 6}


@as_root
@pytest.mark.parametrize("command", ["why", "stacks", "env", "files"])
def test_somebody_elses_process_without_privileges(target, command):
    """As user 65534 with nothing but the right to read files: interpreters below /root stay readable, processes do not."""
    process, _ = target(interpreters.get("3.11"), "states.py", "sleep")
    only = "-all,+dac_read_search"
    nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    rights = [f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"]
    done = subprocess.run(
        [*nobody, *rights, *PELLUCID, command, str(process.pid)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 4, done.stdout + done.stderr
    container = "start this container with --cap-add SYS_PTRACE"
    assert (container if contained() else f"sudo pellucid {command} {process.pid}") in done.stderr
    assert len(done.stderr.splitlines()) == 3


def test_processes_that_end_during_the_look(target):
    """Twenty short lives: each look is a verdict or the error that says that it ended, never a traceback."""
    for lifetime in range(20):
        with subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({lifetime / 100})"]) as process:
            done = pellucid("why", "--quick", process.pid)
            assert done.returncode in {0, 3, 6}, done.stderr
            assert "Traceback" not in done.stderr
            process.wait()


def test_fail_on_a_severity(target):
    process, _ = target(interpreters.get("3.11"), "states.py", "sleep")
    assert pellucid("why", "--quick", process.pid, "--fail-on", "critical").returncode == 0
    assert pellucid("why", "--quick", process.pid, "--fail-on", "notice").returncode == 1


def test_a_closed_pipe_is_no_error(target):
    process, _ = target(interpreters.get("3.11"), "states.py", "threads")
    done = subprocess.run(
        f"{shlex.join(PELLUCID)} stacks {process.pid} --json | head -c 10",
        shell=True,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert not done.stderr
