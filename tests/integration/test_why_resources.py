"""`why` about what real processes hold and use up; and healthy ones, of which it says nothing of the kind."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pellucid.diagnose.engine import diagnose
from pellucid.diagnose.rules import close_wait
from pellucid.kernel import procfs
from pellucid.observe import resources
from pellucid.observe.snapshot import snapshot
from tests import interpreters
from tests.forked import CLONE_NEWNS, looked, mount, needs_root, unshare

OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)
ABOUT_RESOURCES = {
    "descriptors",
    "close-wait",
    "deleted-file",
    "disk-full",
    "zombies",
    "orphan",
    "swapped",
    "oversubscribed",
    "tracer",
    "sqlite-lock",
    "file-lock",
}


def why(pid):
    return {finding.rule: finding for finding in diagnose(snapshot(pid))}


def why_when(pid, rule, tries=10):
    """The findings once `rule` is among them: a target may need a moment."""
    for _ in range(tries):
        found = why(pid)
        if rule in found:
            return found[rule]
        time.sleep(0.2)
    pytest.fail(f"{rule} was not found in {tries} looks: {found}")


@pytest.fixture
def uses(target):
    def start(way, *arguments, **options):
        return target(OURS, "using.py", way, *map(str, arguments), **options)[0]

    return start


def test_descriptors_near_their_limit(uses):
    process = uses("descriptors")
    found = why(process.pid)["descriptors"]
    assert "of 64 descriptors are open" in found.title
    assert "targets/using.py" in found.sentence


def test_connections_that_nobody_closes(uses, monkeypatch):
    monkeypatch.setattr(close_wait, "_LONG_MS", 500)
    process = uses("close-wait")
    found = why_when(process.pid, "close-wait")
    assert "12 sockets in CLOSE_WAIT" in found.sentence
    monkeypatch.setattr(close_wait, "_LONG_MS", 60_000)
    assert "close-wait" not in why(process.pid)


def test_a_large_deleted_file(uses, tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "LARGE_BYTES", 200_000)
    process = uses("deleted", tmp_path / "app.log")
    found = why(process.pid)["deleted-file"]
    assert str(tmp_path / "app.log") in found.sentence
    monkeypatch.setattr(resources, "LARGE_BYTES", 1 << 20)
    assert "deleted-file" not in why(process.pid)


def test_children_that_nobody_collects(uses):
    assert why(uses("zombies").pid)["zombies"].severity == "notice"
    one = why(uses("one-zombie").pid)["zombies"]
    assert (one.severity, one.confidence) == ("info", "certain")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_whose_parent_was_killed(target, method):
    parent, _ = target(OURS, "using.py", "worker", method)
    (worker,) = [pid for pid in procfs.children(parent.pid) if "resource_tracker" not in " ".join(procfs.command(pid))]
    time.sleep(0.3)
    assert "orphan" not in why(worker), "its parent is there"
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    new = procfs.process(procfs.process(worker).ppid)
    if new.pid != 1 and new.name not in {"systemd", "init", "tini"}:
        pytest.skip(f"orphans go to {new.name} here, which the rule does not know")
    assert "without its parent" in why(worker)["orphan"].title


def test_a_child_that_has_the_port_of_its_parent(target):
    parent, port = target(OURS, "using.py", "heir")
    (child,) = procfs.children(parent.pid)
    shared = why(child)["unserved-port"]
    assert (shared.severity, shared.confidence) == ("notice", "certain")
    assert f"pid {parent.pid} " in shared.sentence
    assert f"127.0.0.1:{port}" in shared.sentence
    assert "unserved-port" not in why(parent.pid), "it is in accept"
    parent.kill()
    parent.wait()
    new = procfs.process(procfs.process(child).ppid)
    if new.pid == 1 or new.name in {"systemd", "init", "tini"}:
        assert f"holds 127.0.0.1:{port}" in why_when(child, "unserved-port").title


def test_more_threads_than_cpus(uses):
    found = why_when(uses("cpus").pid, "oversubscribed")
    assert "None of OMP_NUM_THREADS" in found.sentence


@needs_root
def test_a_full_disk_and_one_with_room():
    def ask():
        line = [OURS.path, str(interpreters.Path(__file__).parents[1] / "targets" / "using.py"), "writing", "/mnt/log"]
        with subprocess.Popen(line, stdout=subprocess.PIPE) as process:
            try:
                process.stdout.readline()
                before = "disk-full" in why(process.pid)
                with open("/mnt/other", "wb", buffering=0) as file:
                    try:
                        while file.write(bytes(4096)):
                            pass
                    except OSError:
                        pass
                return before, why(process.pid)["disk-full"].sentence
            finally:
                process.kill()

    before, sentence = looked(ask, unshare(CLONE_NEWNS), mount("tmpfs", "/mnt", "size=256k"))
    assert not before
    assert "/mnt/log" in sentence
    assert "ENOSPC" in sentence


def test_a_file_lock_with_its_holder(target, tmp_path):
    (tmp_path / "file").write_text("")
    holder, _ = target(OURS, "file_holder.py", str(tmp_path), "flock")
    waiter, _ = target(OURS, "file_holder.py", str(tmp_path), "wait-flock")
    found = why_when(waiter.pid, "file-lock")
    assert f"held by pid {holder.pid}" in found.title
    assert "file_holder.py" in found.sentence
    assert f"pellucid why {holder.pid}" in found.next
    assert "file-lock" not in why(holder.pid)


def test_a_range_lock_of_fcntl_with_its_holder(target, tmp_path):
    (tmp_path / "file").write_text("")
    holder, _ = target(OURS, "file_holder.py", str(tmp_path), "ofd")
    waiter, _ = target(OURS, "file_holder.py", str(tmp_path), "wait-ofd")
    assert f"held by pid {holder.pid}" in why_when(waiter.pid, "file-lock").title


def test_sqlite_with_a_busy_timeout(target, tmp_path):
    base = tmp_path / "app.db"
    writer, _ = target(OURS, "using.py", "sqlite-writer", str(base))
    assert "sqlite-lock" not in why(writer.pid)
    waiter, _ = target(OURS, "using.py", "sqlite-waiter", str(base))
    found = why_when(waiter.pid, "sqlite-lock")
    assert str(base) in found.title
    assert f"pid {writer.pid}" in found.title


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_tracer(target):
    process, _ = target(OURS, "states.py", "sleep")
    assert "tracer" not in why(process.pid)
    with subprocess.Popen(["strace", "-o", "/dev/null", "-p", str(process.pid)], stderr=subprocess.DEVNULL) as strace:
        try:
            assert f"pid {strace.pid} (strace" in why_when(process.pid, "tracer").title
        finally:
            strace.terminate()


@pytest.mark.parametrize("state", ["idle", "loop", "sleep", "lock", "spin", "pipe", "child"])
def test_healthy_uses_are_not_told(target, state):
    process, _ = target(OURS, "states.py", state)
    assert not ABOUT_RESOURCES & set(why(process.pid))
