"""A real process that the kernel ends for its memory: by its pid, by its cgroup, by the log; and one that a limit of its own ends."""

import json
import os
import subprocess
import sys

import pytest

from pellucid.diagnose.engine import diagnose
from pellucid.diagnose.oom import explain
from pellucid.kernel.killlog import kernel_log
from pellucid.model.errors import NoSuchProcess, UsageError
from pellucid.observe import oom
from pellucid.observe.snapshot import snapshot
from tests import limits

GROW = "print('ready', flush=True)\nheld = []\nwhile True: held.append(bytearray(b'x' * (1 << 20)))"


@pytest.fixture
def limited():
    with limits.limited("pellucid-oom", 64 << 20) as folder:
        yield folder


def killed(folder):
    """The pid of a Python that the OOM killer has ended in the cgroup."""
    line = ["sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh", sys.executable, "-c", GROW]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
        assert process.wait(30) == -9
        return process.pid


def needs_the_log():
    try:
        kernel_log()
    except OSError as error:
        pytest.skip(f"the kernel's log may not be read here: {error}")


def test_a_process_that_was_killed_at_the_limit_of_its_cgroup(limited):
    pid = killed(limited)
    needs_the_log()
    seen, _ = oom.of_pid(pid)
    (found,) = [one for one in explain(seen) if one.rule == "oom-killed"]
    assert f"ended pid {pid} (python" in found.title
    assert f"cgroup /{limited.name} had reached its limit of 64.0 MiB" in found.title
    assert "of its own (anonymous) memory" in found.sentence
    by_group, _ = oom.of_cgroup(f"/{limited.name}")
    assert pid in {kill.pid for kill in by_group.kills}
    assert by_group.groups[0].kills == 1
    by_log, _ = oom.of_text(kernel_log())
    assert pid in {kill.pid for kill in by_log.kills}
    told = subprocess.run(
        [sys.executable, "-m", "pellucid", "oom", str(pid), "--json"], capture_output=True, check=True
    )
    assert json.loads(told.stdout)["kills"][0]["pid"] == pid


def test_the_counter_alone_tells_it_too(limited):
    killed(limited)
    seen, _ = oom.of_cgroup(str(limited))
    bare = type(seen)(groups=seen.groups, log_read=False)
    assert {one.rule for one in explain(bare)} == {"oom-group-kills"}


def test_what_a_program_prints_under_a_limit_of_its_own():
    program = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30,) * 2)\ndef load(): return bytearray(1 << 32)\nload()"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stderr
    (found,) = explain(oom.of_text(told)[0])
    assert found.rule == "oom-memory-error"
    assert "in load" in found.sentence
    ended = subprocess.run(
        [sys.executable, "-m", "pellucid", "oom", "-"], input=told, capture_output=True, text=True, check=True
    )
    assert "MemoryError" in ended.stdout


def test_a_healthy_process_and_things_that_are_not_there():
    seen, _ = oom.of_pid(os.getpid())
    assert not [
        one for one in explain(seen) if one.severity in {"critical", "warning"} and one.rule != "oom-group-kills"
    ]
    with pytest.raises(NoSuchProcess):
        oom.of_pid(4_000_000)
    with pytest.raises(UsageError):
        oom.of_cgroup("/there/is/no/such")


def test_why_warns_before_it_comes_to_that(limited):
    """A third of 64 MiB is healthy; nearly all of it, in memory that can't be taken back, is not."""
    program = "import sys, time\nheld = bytearray(int(sys.argv[1]) << 20)\nheld[::4096] = b'x' * (len(held) // 4096)\nprint('ready', flush=True)\ntime.sleep(60)"
    line = ["sh", "-c", f'echo $$ > {limited}/cgroup.procs && exec "$@"', "sh", sys.executable, "-S", "-c", program]
    for size, expected in ((20, set()), (54, {"memory-limit"})):
        with subprocess.Popen([*line, str(size)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            assert {one.rule for one in diagnose(snapshot(process.pid))} & {"memory-limit"} == expected
            told = [one.sentence for one in explain(oom.of_cgroup(str(limited))[0]) if one.rule == "oom-group-full"]
            assert bool(told) == bool(expected)
            assert all(f"Largest in it now: pid {process.pid} (python" in sentence for sentence in told)
            process.kill()
