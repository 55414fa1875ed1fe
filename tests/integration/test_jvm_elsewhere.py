"""Commands that are not about JVMs in the first place accept them: profile, memory, files, syscalls, info, ps --tree with Python above Java."""

import subprocess
import sys

import pytest

from pellucid.kernel import procfs
from pellucid.model import Frame
from pellucid.observe.identity import info
from pellucid.observe.sampler_jvm import is_jvm, sample
from pellucid.observe.tree import tree
from tests.settling import until


def pellucid(*arguments):
    ended = subprocess.run(
        [sys.executable, "-m", "pellucid", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def spinning(java):
    with java("States", "spin") as one:
        yield one


@pytest.mark.parametrize("cpu", [False, True])
def test_a_profile_by_thread_dumps(spinning, cpu):
    process = procfs.process(spinning.pid)
    assert is_jvm(process)
    taken = []
    found = sample(
        process,
        rate_hz=50,
        seconds=60,
        cpu=cpu,
        stopped=lambda: len(taken) > 5 and taken[-1] > 5,
        progress=lambda _, samples, __: taken.append(samples),
    )
    tracks = {track.name: track for track in found.tracks}
    runs = tracks["spinner"].runs
    hottest: Frame = found.frames_of(max(runs, key=lambda run: run.weight_ns).stack)[0]
    assert hottest.file == "States.java" and hottest.line == 103
    samples = sum(run.samples for run in runs)
    assert found.taking.taken > 5 and 0 < samples <= found.taking.taken
    assert found.taking.slowdown is not None and 1 <= found.taking.slowdown < 2
    assert "safepoint" in found.gaps[0].why
    if not cpu:
        assert samples == found.taking.taken
        assert 0.5e9 * found.taking.wall_s < sum(run.weight_ns for run in runs) <= 1e9 * found.taking.wall_s
        assert {run.state for run in tracks["taker"].runs} == {"waiting"}


def test_its_memory_files_calls_and_identity(spinning):
    pid = str(spinning.pid)
    status, out, _ = pellucid("memory", pid)
    assert status == 0 and "Java heap" in out and "at most 64" in out
    assert "/bin/java" in pellucid("files", pid)[1]
    assert info(spinning.pid).process.runtime.startswith("JVM ")
    until(lambda: "futex" in pellucid("syscalls", pid, "-d", "0.3")[1])
    until(lambda: "spinner" in pellucid("profile", pid, "-d", "0.5")[1])


def test_a_tree_of_python_and_java(java, tmp_path):
    with java("States") as template:
        line = template.process.args
        code = f"import subprocess, sys; child = subprocess.Popen({line!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True); print(child.stdout.readline(), flush=True); sys.stdin.read(); child.kill()"
        above = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with above:
            assert above.stdout.readline().strip() == "ready"
            branches = tree(str(above.pid)).branches
            above.stdin.close()
    assert [branch.process.ppid for branch in branches][1:] == [above.pid]
    python, jvm = branches
    assert "CPython" in python.process.runtime and "HotSpot" in jvm.process.runtime
    leaves = {leaf.name: leaf for leaf in jvm.leaves}
    assert leaves["lock-waiter"].does.startswith("ReentrantLock") and leaves["taker"].daemon
    assert "GC Thread#0" not in leaves
