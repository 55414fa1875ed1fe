"""Who a process is, which there are, and which one a name means; compared with psutil."""

import os
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pellucid.kernel import procfs
from pellucid.model.errors import NoSuchProcess, UsageError
from pellucid.observe.identity import in_words, info, matching, ps, resolve
from tests.forked import looked, needs_root, nobody
from tests.integration.test_tasks import OURS
from tests.syscalls import until


@pytest.fixture
def started():
    """`started("sleep", "60")` → its process, once it runs that program."""
    processes = []

    def start(*argv, **options):
        process = subprocess.Popen(argv, **options)
        processes.append(process)
        for _ in range(200):
            if procfs.process(process.pid).command == tuple(argv):
                return process
            time.sleep(0.01)
        pytest.fail(f"{argv} was not started")

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_identity_agrees_with_psutil(target):
    process, _ = target(OURS, "kernel_waits.py", "many", "3")
    report = info(process.pid)
    theirs = psutil.Process(process.pid)
    ours, more = report.process, report.identity
    with theirs.oneshot():
        assert ours.name == theirs.name()
        assert list(ours.command) == theirs.cmdline()
        assert ours.exe == theirs.exe()
        assert (ours.uid, ours.user, ours.ppid, ours.threads) == (
            theirs.uids().effective,
            theirs.username(),
            theirs.ppid(),
            theirs.num_threads(),
        )
        assert abs(ours.started_at - theirs.create_time()) < 1.1, "psutil rounds the time of boot to a second"
        assert more.cwd == theirs.cwd()
        assert more.open_files == theirs.num_fds()
        assert abs(more.rss_bytes - theirs.memory_info().rss) < 1 << 20
    assert [parent.pid for parent in more.parents] == [parent.pid for parent in theirs.parents()]
    limit = next(one for one in more.limits if one.name == "Max open files")
    assert (limit.soft, limit.hard) == theirs.rlimit(psutil.RLIMIT_NOFILE)
    assert more.root == "/"
    assert more.namespaces["net"] == str(os.stat("/proc/self/ns/net").st_ino)
    assert more.ns_pids == (process.pid,)
    assert ours.runtime == f"Python {OURS.version}"
    assert not report.gaps


def test_children_of_ours(started):
    one, two = started("sleep", "61"), started("sleep", "62")
    assert {child.pid for child in info(os.getpid()).identity.children} == {one.pid, two.pid}


@needs_root
def test_what_may_not_be_read_is_one_gap_with_the_remedy(started):
    pid = started("sleep", "63").pid
    report = looked(lambda: info(pid), nobody)
    assert (report.identity.cwd, report.identity.root, report.identity.open_files) == (None, None, None)
    assert report.identity.namespaces == {}
    assert report.process.exe is None
    (gap,) = report.gaps
    assert gap.what == (
        f"the working directory, root directory, namespaces, open descriptors and executable of pid {pid}"
    )
    assert "runs as root" in gap.why
    assert gap.remedy == f"sudo pellucid info {pid}"
    assert report.identity.limits, "limits, cgroups, times and parents are open to all"
    assert report.identity.parents


def test_a_zombie():
    child = subprocess.Popen(["true"])
    try:
        while procfs.process(child.pid).state != "zombie":
            time.sleep(0.01)
        report = info(child.pid)
        assert report.process.state == "zombie"
        assert "it is a zombie: it has ended" in [gap.why for gap in report.gaps]
        (row,) = [row for row in ps().processes if row.process.pid == child.pid]
        assert row.state == f"zombie of parent {os.getpid()}"
    finally:
        child.wait()


@needs_root
def test_a_thread_of_the_kernel():
    if procfs.process(2).name != "kthreadd":
        pytest.skip("pid 2 is not kthreadd here")
    report = info(2)
    assert "it runs no program (a thread of the kernel)" in {gap.why for gap in report.gaps}
    assert 2 not in matching(None)


def test_no_such_process():
    with pytest.raises(NoSuchProcess):
        info(4_000_000)


def test_states_in_words(started, target):
    sleeper, stopped, spinner = started("sleep", "64"), started("sleep", "65"), target(OURS, "states.py", "spin")[0]
    stopped.send_signal(signal.SIGSTOP)
    while procfs.process(stopped.pid).state != "stopped":
        time.sleep(0.01)
    rows = {row.process.pid: row for row in ps().processes}
    assert rows[sleeper.pid].state == "asleep in clock_nanosleep"
    assert rows[stopped.pid].state == "stopped"
    assert rows[spinner.pid].state == "running"
    assert rows[spinner.pid].process.runtime == f"Python {OURS.version}"
    assert rows[sleeper.pid].process.runtime is None
    assert rows[spinner.pid].cpu_s > 0
    assert rows[sleeper.pid].rss_bytes > 0
    assert os.getpid() not in rows
    assert all(not procfs.stat(pid).kernel_thread for pid in rows if procfs.exists(pid, rows[pid].process.start_ticks))


def test_a_process_whose_main_thread_has_ended():
    from msgspec.structs import replace

    zombie = replace(procfs.process(os.getpid()), state="zombie", threads=4)
    assert in_words(zombie, "", 0) == "its main thread has ended, 3 others go on"
    busy = replace(zombie, state="sleeping")
    assert in_words(busy, "futex", 2) == "running (2 of 4 threads)"
    assert in_words(busy, "futex", 0) == "asleep in futex"
    assert in_words(replace(busy, state="disk-sleep"), "read", 0) == "in disk sleep in read"


def test_a_name_that_means_one_process(started):
    marked = started("sleep", "3600.0123")
    assert resolve("3600.0123") == marked.pid
    assert resolve("SLEEP 3600.01") == marked.pid, "in either case"
    assert resolve("sleep 3600.0*") == marked.pid, "a glob of the whole command line"
    assert resolve(str(marked.pid)) == marked.pid
    assert [row.process.pid for row in ps("3600.0123").processes] == [marked.pid]


def test_a_name_that_means_none():
    with pytest.raises(UsageError) as caught:
        resolve("no-such-name-as-this")
    assert caught.value.said == "no process has it in its name or command line"
    assert caught.value.exit_status == 2
    with pytest.raises(UsageError):
        resolve("600.012*")  # a glob is of the whole


def test_a_file_that_is_not_there_is_not_only_called_a_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        resolve("no-such-dump.hprof")
    assert caught.value.said.endswith(", and there is no file of that name here")
    (tmp_path / "no-such-dump.hprof").touch()
    with pytest.raises(UsageError) as caught:
        resolve("no-such-dump.hprof")
    assert "file" not in caught.value.said


def test_a_name_that_means_several_lists_them(started):
    processes = [started("sleep", "3600.0456") for _ in range(14)]
    with pytest.raises(UsageError) as caught:
        resolve("3600.0456")
    lines = caught.value.said.splitlines()
    assert lines[0] == "14 processes match:"
    assert lines[1] == f"  {min(one.pid for one in processes)}  sleep  sleep 3600.0456"
    assert lines[-1] == "  and 2 more"


def test_a_name_that_means_a_program_and_its_children_says_which_started_the_others(started):
    parent = started("sh", "-c", "sleep 3600.0789 & sleep 3600.0789 & wait")
    until(lambda: len(procfs.children(parent.pid)) == 2)
    with pytest.raises(UsageError) as caught:
        resolve("3600.0789")
    assert caught.value.remedy.startswith(f"{parent.pid}, which started the others")
    for child in procfs.children(parent.pid):
        os.kill(child, signal.SIGKILL)


def test_it_never_means_the_shell_that_runs_us():
    """`sh -c "... pellucid ... word"`: the shell has the word on its command line, and so has python."""
    program = "import sys; from pellucid.observe.identity import matching; print(list(matching('a-word-of-its-own')), sys.argv)"
    line = f'{shlex.quote(sys.executable)} -c "{program}" a-word-of-its-own; true'
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("[]"), done.stdout


def test_secrets_of_command_lines_are_hidden(started):
    process = subprocess.Popen(["sh", "-c", "sleep 30; true", "--password=hunter2"])
    try:
        (row,) = [row for row in ps().processes if row.process.pid == process.pid]
        assert "hunter2" not in str(row)
        assert "--password=***" in row.process.command
        with pytest.raises(UsageError):
            resolve("hunter2")
    finally:
        for child in procfs.children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()


def test_processes_that_end_during_ps():
    for _ in range(10):
        children = [subprocess.Popen(["true"]) for _ in range(20)]
        for child in children[:10]:
            child.wait()
        rows = ps().processes
        assert any(row.process.pid == os.getppid() for row in rows) or os.getppid() not in matching(None)
        for child in children:
            child.wait()
