"""Who has a file: under other names, mapped, as a directory, once it is deleted; with locks; and where a file system is dead."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

from pellucid.kernel import bounded, openers
from pellucid.model.errors import UsageError
from pellucid.observe.deleted import deleted
from pellucid.observe.files import files
from pellucid.observe.holders import of_path, of_port
from pellucid.observe.leaks import leaks
from tests import interpreters
from tests.forked import CLONE_NEWNS, looked, mount, needs_root, unshare
from tests.syscalls import until

OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)
PELLUCID = [sys.executable, "-m", "pellucid"]


def rows(report, *pids):
    return [(row.pid, row.kind if row.fd is None else "fd") for row in report.files if row.pid in pids]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 8192)
    return tmp_path


@pytest.fixture
def holds(target, folder):
    def start(way):
        return target(OURS, "file_holder.py", str(folder), way)[0]

    return start


def test_a_file_under_each_of_its_names(holds, folder):
    opened, mapped = holds("open"), holds("map")
    os.link(folder / "file", folder / "other name")
    os.symlink("other name", folder / "link")
    for name in ("file", "other name", "link"):
        report = of_path(str(folder / name))
        assert rows(report, opened.pid, mapped.pid) == [(opened.pid, "fd"), (mapped.pid, "mapped")], name
        one = next(row for row in report.files if row.pid == opened.pid)
        assert one.inode == (folder / "file").stat().st_ino
        assert "O_APPEND" in one.flags
        assert "file_holder.py" in one.command
    (folder / "file").rename(folder / "moved")
    (folder / "other name").unlink()
    assert rows(of_path(str(folder / "moved")), opened.pid) == [(opened.pid, "fd")], "one name, and not the first one"


def test_a_file_whose_first_name_was_unlinked(holds, folder):
    opened = holds("open")
    os.link(folder / "file", folder / "kept")
    (folder / "file").unlink()
    assert rows(of_path(str(folder / "kept")), opened.pid) == [(opened.pid, "fd")]


def test_another_file_of_the_same_name_is_not_it(holds, folder):
    opened = holds("open")
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text("")
    assert rows(of_path(str(folder / "sub" / "file")), opened.pid) == []
    (folder / "file").unlink()
    (folder / "file").write_text("")
    assert rows(of_path(str(folder / "file")), opened.pid) == [], "it has the deleted one"


def test_a_deleted_file_by_the_name_that_it_had(holds, folder):
    held = holds("deleted")
    (row,) = of_path(str(folder / "gone-deleted")).files
    assert (row.pid, row.deleted, row.path) == (held.pid, True, str(folder / "gone-deleted"))
    with pytest.raises(UsageError, match="no such file"):
        of_path(str(folder / "never there"))


def test_a_directory_and_an_executable(holds, folder):
    inside = holds("cwd")
    assert rows(of_path(str(folder)), inside.pid) == [(inside.pid, "cwd")]
    assert (inside.pid, "exe") in rows(of_path(sys.executable), inside.pid)


def test_a_pipe_and_a_unix_socket_by_name(folder):
    reading, writing = os.pipe()
    try:
        report = of_path(f"/proc/{os.getpid()}/fd/{reading}")
        assert {row.fd for row in report.files if row.pid == os.getpid()} == {reading, writing}
    finally:
        os.close(reading)
        os.close(writing)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as nowhere:
        nowhere.bind(f"\0{folder}/abstract\0/socket")
        server.bind(str(folder / "socket"))
        server.listen()
        (row,) = of_path(str(folder / "socket")).files
        assert (row.pid, row.fd) == (os.getpid(), server.fileno())


def test_a_listening_port_that_a_child_has_inherited():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        child = subprocess.Popen(["sleep", "30"], pass_fds=[server.fileno()])
        try:
            report = of_port(port)
            assert {row.pid for row in report.files} == {os.getpid(), child.pid}
            mine = next(row for row in report.files if row.pid == os.getpid())
            assert f"127.0.0.1:{port}, LISTEN" in mine.detail
            assert f"held by pid {child.pid} too" in mine.detail
        finally:
            child.kill()
            child.wait()
    assert of_port(port).files == ()


def test_a_port_in_time_wait_is_held_by_nobody():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()
    until(lambda: any("TIME_WAIT" in gap.why for gap in of_port(port).gaps), 60)


def test_the_semaphores_of_multiprocessing_are_one_line(capsys):
    from pellucid.present.cli import files_text

    program = "import multiprocessing as m; locks = [m.Lock() for _ in range(3)]; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        process.stdout.readline()
        files_text.tell(deleted(process.pid), as_json=False, deleted=True)
        process.stdin.close()
    told = capsys.readouterr().out
    assert "sem." not in told
    assert "and 3 semaphores in /dev/shm, mapped by 1 process: they take memory" in told


def test_deleted_files_with_their_size(holds, folder):
    held, mapped = holds("deleted"), holds("deleted-map")
    of_all = {row.pid: row for row in deleted().files if row.path.startswith(str(folder))}
    assert of_all[held.pid].size == (1 << 20) + 26
    assert 0 < of_all[held.pid].allocated < 1 << 16, "it has a hole"
    assert (of_all[mapped.pid].kind, of_all[mapped.pid].path) == ("mapped", str(folder / "gone-deleted-map"))
    assert of_all[held.pid] in deleted(held.pid).files
    assert {row.pid for row in deleted(held.pid).files} == {held.pid}
    assert deleted(os.getpid()).process.pid == os.getpid()


@pytest.mark.parametrize(("kind", "words"), [("flock", "by flock"), ("posix", "by fcntl, bytes 10–14")])
def test_locks_with_holder_and_waiter(holds, folder, kind, words):
    holder = holds(kind)
    waiter = holds(f"wait-{kind}")

    def locked():
        return next(row for row in files(holder.pid).files if row.path == str(folder / "file"))

    until(lambda: locked().locks and locked().locks[0].waiters, 60)
    held = locked()
    assert held.locks[0].holders == (holder.pid,)
    assert held.locks[0].waiters == (waiter.pid,)
    assert held.detail == f"locked for writing {words}; pid {waiter.pid} waits for it"
    waits = next(row for row in files(waiter.pid).files if row.path == str(folder / "file"))
    assert waits.detail.startswith(f"pid {holder.pid} has it locked for writing {words}")


def test_a_lock_of_an_open_file_names_its_holder_though_the_kernel_does_not(holds, folder):
    holder = holds("ofd")
    holds("wait-ofd")
    held = next(row for row in of_path(str(folder / "file")).files if row.pid == holder.pid)
    assert (held.locks[0].kind, held.locks[0].holders) == ("ofd", (holder.pid,))


def test_a_lock_that_a_child_inherited_has_two_holders(target, folder):
    parent, _ = target(OURS, "file_holder.py", str(folder), "inherited")
    held = next(row for row in files(parent.pid).files if row.path == str(folder / "file"))
    assert len(held.locks[0].holders) == 2
    assert f"together with pid {max(held.locks[0].holders)}" in held.detail


def test_a_file_without_locks_says_nothing_of_them(holds, folder):
    opened = holds("open")
    row = next(row for row in files(opened.pid).files if row.path == str(folder / "file"))
    assert (row.locks, row.detail) == ((), "")


def test_a_leak_is_told_with_its_path_and_its_growth(holds, folder):
    leaking = holds("leak")
    report = leaks(leaking.pid, 0.5)
    assert report.groups[0].what == f"file {folder}/file"
    assert report.groups[0].grown >= 10
    assert report.open_files > report.groups[0].count > report.groups[0].grown
    steady = holds("open")
    quiet = leaks(steady.pid, 0.2)
    assert quiet.grown == 0
    assert all(group.grown == 0 for group in quiet.groups)


@pytest.mark.skipif(shutil.which("lsof") is None, reason="lsof is not installed")
def test_the_same_holders_as_lsof(holds, folder):
    pids = {holds("open").pid, holds("map").pid}
    os.link(folder / "file", folder / "again")
    done = subprocess.run(
        ["lsof", "-F", "p", str(folder / "again")], capture_output=True, text=True, timeout=60, check=False
    )
    theirs = {int(line[1:]) for line in done.stdout.splitlines() if line.startswith("p")}
    assert theirs == pids
    assert {row.pid for row in of_path(str(folder / "again")).files} == theirs


@needs_root
def test_a_file_system_that_does_not_answer():
    """FUSE whose program never answers: every stat there hangs, as on a dead NFS server. Neither question may."""

    def ask():
        driver = os.open("/dev/fuse", os.O_RDWR)
        mount("fuse", "/mnt", f"fd={driver},rootmode=40000,user_id=0,group_id=0")()
        inside = os.open("/mnt", os.O_PATH)
        began = time.monotonic()
        assert bounded.ask(["/mnt/file"], 0.5) == {}
        asked = time.monotonic() - began
        root = next(row for row in files(os.getpid()).files if row.fd == inside)
        of_path("/tmp")
        return asked, root.path

    asked, path = looked(ask, unshare(CLONE_NEWNS), limit_s=60)  # what hangs is ended then, and fails
    assert asked > 0.4, "it was given its time"
    assert path == "/mnt"


@needs_root
def test_holders_on_a_file_system_that_was_unmounted_lazily(tmp_path):
    """umount -l: the mount is in no table any more, and the name of the file begins at the root of nothing."""

    def ask():
        import ctypes

        kept = open("/mnt/file", "w")  # noqa: SIM115
        there = bounded.ask([kept.name])[kept.name]
        ctypes.CDLL(None).umount2(b"/mnt", 2)
        found = openers.of(there)
        return [(one.pid == os.getpid(), one.fd == kept.fileno()) for one in found.found], found.unsure

    found, unsure = looked(ask, unshare(CLONE_NEWNS), mount("tmpfs", "/mnt"))
    assert (found, unsure) == ([(True, True)], ())


def test_the_command_knows_a_path_from_a_pid(holds, folder):
    opened = holds("open")

    def run(*arguments):
        done = subprocess.run(
            [*PELLUCID, "files", *arguments], capture_output=True, text=True, timeout=60, cwd=folder, check=False
        )
        return done.returncode, done.stdout, done.stderr

    status, text, _ = run("file")
    assert status == 0
    assert str(opened.pid) in text
    looked_at = json.loads(run(str(folder / "file"), "--json")[1])
    (row,) = looked_at["files"]
    assert {"fd", "kind", "path", "inode", "deleted", "flags", "offset", "pid"} <= row.keys()
    assert looked_at["process"] is None
    assert json.loads(run(str(opened.pid), "--json")[1])["process"]["pid"] == opened.pid
    assert run("--port", "70000")[0] == 2
    assert run("--deleted", "--leaks", "1")[0] == 2
    assert run()[0] == 2
    assert run(str(folder / "nothing"))[0] == 2


def test_a_lock_that_outlives_the_process_that_made_it(target, folder):
    """/proc/locks names a process that has ended, whose pid may be another's by now: only the child that has it open counts."""
    parent, _ = target(OURS, "file_holder.py", str(folder), "inherited")

    def locked():
        return next(row for row in files(parent.pid).files if row.path == str(folder / "file"))

    until(lambda: locked().locks and set(locked().locks[0].holders) - {parent.pid}, 60)
    held = locked()
    (child,) = set(held.locks[0].holders) - {parent.pid}
    parent.kill()
    parent.wait()
    row = next(row for row in of_path(str(folder / "file")).files if row.pid == child)
    assert row.locks[0].holders == (child,)
