"""Every kind of descriptor, told from outside; who holds the other end; and the same as lsof says."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from pellucid.kernel import fds, procfs
from pellucid.model import Gap
from pellucid.model.errors import NoSuchProcess, NotPermitted, NotUnderstood
from pellucid.observe.files import files
from tests import interpreters
from tests.forked import CLONE_NEWNS, looked, mount, needs_root, nobody, unshare

OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)


@pytest.fixture
def holding(target):
    """(process, its folder, what it holds by name as an OpenFile, the report)."""
    process, line = target(OURS, "holding.py", stdin=subprocess.PIPE)
    folder, held = json.loads(line.removeprefix("ready "))
    report = files(process.pid)
    by_fd = {file.fd: file for file in report.files}
    yield process, folder, {name: by_fd[fd] for name, fd in held.items()}, report
    process.stdin.close()
    process.wait(10)


def test_every_kind(holding):
    _, folder, held, report = holding
    kinds = {name: file.kind for name, file in held.items()}
    assert kinds == {
        "file": "file",
        "append": "file",
        "directory": "directory",
        "misleading": "file",
        "deleted": "file",
        "device": "char-device",
        "reader": "pipe",
        "writer": "pipe",
        "lonely": "pipe",
        "to_child": "pipe",
        "fifo": "fifo",
        "socket": "socket",
        "epoll": "epoll",
        "eventfd": "eventfd",
        "timerfd": "timerfd",
        "signalfd": "signalfd",
        "inotify": "inotify",
        "memfd": "memfd",
        "pidfd": "pidfd",
    }
    assert (held["file"].path, held["file"].size, held["file"].offset) == (f"{folder}/plain", 100, 100)
    assert held["file"].flags == "O_WRONLY|O_CLOEXEC"
    assert held["append"].flags == "O_WRONLY|O_APPEND|O_CLOEXEC"
    there = os.stat(f"{folder}/plain")
    assert held["file"].inode == there.st_ino
    assert held["file"].device == f"{os.major(there.st_dev)}:{os.minor(there.st_dev)}"
    assert held["device"].detail == "device 1:5"
    assert {file.kind: file.path for file in report.files if file.fd is None} == {
        "cwd": os.getcwd(),
        "root": "/",
        "exe": os.path.realpath(sys.executable),
        "mapped": f"{folder}/gone",
    }


def test_deleted_files_are_told_from_names_that_only_look_so(holding):
    _, folder, held, _ = holding
    assert (held["deleted"].path, held["deleted"].deleted, held["deleted"].size) == (f"{folder}/gone", True, 5000)
    assert (held["misleading"].path, held["misleading"].deleted) == (f"{folder}/not really (deleted)", False)
    assert not held["memfd"].deleted
    assert held["memfd"].path == "/memfd:scratch"


def test_what_each_is_about(holding):
    process, _, held, report = holding
    child = next(pid for pid in procfs.children(process.pid))
    assert held["epoll"].detail == f"watches {held['socket'].fd}"
    assert held["eventfd"].detail == "count 3"
    assert held["timerfd"].detail.startswith("fires in ")
    assert held["signalfd"].detail == "for SIGUSR1"
    assert held["inotify"].detail == "watches 1 files"
    assert held["pidfd"].detail == f"pid {child}"
    assert held["socket"].detail.startswith("unix")
    assert held["socket"].holders == (process.pid,), "a socket pair: the other end is its own"
    assert held["reader"].holders == (process.pid,)
    assert held["writer"].holders == (process.pid,)
    assert held["to_child"].holders == (child,)
    assert held["fifo"].holders == ()
    hidden = any("the descriptors of" in gap.what for gap in report.gaps)
    assert held["lonely"].detail == ("read end" if hidden else "read end, nobody holds the other end")


def test_who_holds_a_pipe(holding):
    process, _, held, _ = holding
    target = held["reader"].path
    found = fds.holders({target, "pipe:[1]"})
    assert found[target] == ((process.pid, held["reader"].fd), (process.pid, held["writer"].fd))
    assert found["pipe:[1]"] == ()


@pytest.mark.skipif(shutil.which("lsof") is None, reason="lsof is not installed")
def test_the_same_as_lsof(holding):
    process, _, _, report = holding
    done = subprocess.run(
        ["lsof", "-p", str(process.pid), "-F", "ftain"], capture_output=True, text=True, timeout=30, check=False
    )
    said = {}
    for line in done.stdout.splitlines():
        if line[0] == "f":
            current = said.setdefault(line[1:], {})
        elif line[0] != "p":
            current[line[0]] = line[1:]
    numbered = {int(fd): told for fd, told in said.items() if fd.isdigit()}
    ours = {file.fd: file for file in report.files if file.fd is not None}
    assert set(numbered) == set(ours)
    access = {"r": "O_RDONLY", "w": "O_WRONLY", "u": "O_RDWR"}
    for fd, told in numbered.items():
        file = ours[fd]
        assert file.flags.startswith(access[told["a"]]), told
        if told["t"] in ("REG", "DIR", "CHR", "FIFO"):
            assert file.inode == int(told["i"]), told
        if told["t"] in ("REG", "DIR", "CHR") and file.kind != "memfd":
            assert told["n"] == file.path + (" (deleted)" if file.deleted else "")
    assert said["cwd"]["n"] == next(file.path for file in report.files if file.kind == "cwd")
    assert said["txt"]["n"] == next(file.path for file in report.files if file.kind == "exe")


def test_one_descriptor(holding):
    process, _, held, _ = holding
    one = fds.open_file(process.pid, held["file"].fd)
    assert one == held["file"]
    closed = fds.open_file(process.pid, 999)
    assert isinstance(closed, Gap)
    assert closed.why == "it is not open any more"


def test_descriptors_that_are_closed_during_the_look(target):
    process, _ = target(OURS, "opening.py")
    closed = 0
    for _ in range(100):
        found, gaps = fds.open_files(process.pid)
        assert found
        closed += sum("closed meanwhile" in gap.why for gap in gaps)
    assert closed, "100 looks hit no descriptor that was closed: the situation was not tested"


@needs_root
def test_the_descriptors_of_another_user():
    child = subprocess.Popen(["sleep", "30"])
    try:

        def ask():
            one = fds.open_file(child.pid, 0)
            _, gaps = fds.holders_and_gaps({"pipe:[1]"})
            try:
                files(child.pid)
            except NotPermitted as error:
                return one, gaps, error.said, error.remedy

        one, gaps, said, remedy = looked(ask, nobody)
        assert "runs as root" in said
        assert remedy == f"sudo pellucid files {child.pid}"
        assert isinstance(one, Gap)
        assert one.remedy == f"sudo pellucid why {child.pid}"
        assert "processes, among them pid" in gaps[0].what
    finally:
        child.kill()
        child.wait()


@needs_root
def test_a_file_on_a_remote_file_system_is_not_asked(tmp_path):
    """As if tmpfs were NFS: a stat would be the call that hangs, so none may be made."""
    remote = fds._REMOTE

    def ask():
        fds._REMOTE = (*remote, "tmpfs")
        with open("/mnt/x", "w") as file:
            os.unlink("/mnt/x")
            found, gaps = fds.open_files(os.getpid())
            return next(one for one in found if one.fd == file.fileno()), gaps

    one, gaps = looked(ask, unshare(CLONE_NEWNS), mount("tmpfs", "/mnt"))
    assert (one.path, one.kind, one.deleted, one.size) == ("/mnt/x", "file", True, None)
    assert one.inode
    assert any("remote file system" in gap.why for gap in gaps)


def test_bad_targets():
    with pytest.raises(NoSuchProcess):
        files(4_000_000)
    child = subprocess.Popen(["true"])
    try:
        while procfs.process(child.pid).state != "zombie":
            time.sleep(0.01)
        with pytest.raises(NotUnderstood) as caught:
            files(child.pid)
        assert "zombie" in caught.value.said
    finally:
        child.wait()
