"""Threads in known system calls, seen from outside: the call, its descriptors, its timeout, and since when it sleeps."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from pellucid.kernel import clock, polling, procfs, tasks
from pellucid.kernel.memory import Memory
from pellucid.model import Gap
from pellucid.model.errors import NoSuchProcess
from tests import interpreters
from tests.settling import settled

each_python = pytest.mark.parametrize("python", interpreters.each((*interpreters.OLDER, *interpreters.EXPECTED)))
OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)
WITHIN_S = 1.0  # a crowded machine may be late between the target's clock and its call, or between a look and ours


@pytest.fixture
def waiting(target):
    """`waiting(python, "recv", 30)` → (pid, the descriptors that it waits on, when it began), asleep in the call for some 0.2 s."""

    def start(python, *arguments):
        process, line = target(python, "kernel_waits.py", *map(str, arguments))
        time.sleep(0.2)
        if arguments[0] != "churn":
            settled(process.pid)
        began, *fds = line.split()[1:]
        return process.pid, [int(fd) for fd in fds], float(began)

    return start


def look(pid):
    """(task of the main thread, its descriptors, (timed, seconds left))."""
    (task, *_), gaps = tasks.tasks(pid)
    assert not gaps
    with closing(Memory.open(pid)) as memory:
        watching = polling.watching(memory, task.call, pid)
        assert watching.gap is None
        return task, watching.descriptors, polling.timeout_left(memory, task.call, task.asleep_s)


@each_python
def test_time_sleep_says_how_long_yet(waiting, python):
    pid, _, began = waiting(python, "sleep", 20)
    time.sleep(2.0)
    task, descriptors, (timed, left) = look(pid)
    passed = time.monotonic() - began
    assert (task.state, descriptors, timed) == ("sleeping", (), True)
    assert task.call.name == ("clock_nanosleep" if python.minor >= 11 else "pselect6")
    assert abs(left - (20 - passed)) < WITHIN_S
    assert abs(task.asleep_s - passed) < WITHIN_S


@each_python
def test_recv_with_a_timeout_shows_its_descriptor_ten_times_and_is_left_as_it_was(waiting, python):
    pid, (fd,), began = waiting(python, "recv", 30)
    before = procfs.read_file(f"/proc/{pid}/syscall")
    switches = look(pid)[0].switches
    for _ in range(10):
        task, descriptors, (timed, left) = look(pid)
        assert descriptors == ((fd, "read"),)
        assert timed
        assert abs(left - (30 - (time.monotonic() - began))) < WITHIN_S
        assert procfs.read_file(f"/proc/{pid}/syscall") == before
    assert task.switches == switches, "it was never woken"


@pytest.mark.parametrize(
    ("program", "calls", "wants"),
    [
        ("accept", ("poll", "ppoll", "accept4", "accept"), "read"),
        ("send", ("poll", "ppoll"), "write"),
        ("selecting", ("select", "pselect6"), "read"),
        ("polling", ("poll", "ppoll"), "read"),
        ("epolling", ("epoll_wait", "epoll_pwait"), "read"),
        ("ppolling", ("ppoll",), "read"),
    ],
)
def test_every_kind_of_poll(waiting, program, calls, wants):
    pid, fds, began = waiting(OURS, program, 30)
    task, descriptors, (timed, left) = look(pid)
    assert task.call.name in calls
    assert sorted(descriptors) == [(fd, wants) for fd in sorted(fds)]
    assert timed
    assert abs(left - (30 - (time.monotonic() - began))) < WITHIN_S


@pytest.mark.parametrize(
    ("program", "descriptors"),
    [
        ("accept", "accept"),
        ("recv", "read"),
        ("pipe", "read"),
        ("selecting", "read"),
        ("polling", "read"),
        ("epolling", "read"),
        ("event", None),
    ],
)
def test_without_a_timeout_none_is_claimed(waiting, program, descriptors):
    pid, fds, _ = waiting(OURS, program)
    task, found, timeout = look(pid)
    assert task.state == "sleeping"
    assert timeout == (False, None)
    assert sorted(found) == [(fd, descriptors) for fd in sorted(fds)]


@each_python
def test_event_wait_and_sigtimedwait_have_a_deadline(waiting, python):
    for program in ("event", "signals"):
        pid, _, began = waiting(python, program, 30)
        task, _, (timed, left) = look(pid)
        assert task.call.name == ("futex" if program == "event" else "rt_sigtimedwait")
        assert timed
        assert abs(left - (30 - (time.monotonic() - began))) < WITHIN_S


def test_after_a_stop_the_timeout_is_known_to_exist_and_its_rest_is_not(waiting):
    pid, _, _ = waiting(OURS, "polling", 30)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert _state_becomes(pid, "stopped")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert _state_becomes(pid, "sleeping")
    task, _, timeout = look(pid)
    assert task.call.name == "restart_syscall"
    assert timeout == (True, None)


def _state_becomes(pid, state):
    for _ in range(100):
        if procfs.process(pid).state == state:
            return True
        time.sleep(0.02)
    return False


def test_each_cpu_has_a_clock_of_its_own_and_both_agree_on_the_time_asleep(target):
    """The scheduler's clocks of two CPUs of a virtual machine are seconds apart: each is compared on its own CPU."""
    mine = os.sched_getaffinity(0)
    if len(mine) < 2:
        pytest.skip("one CPU only")
    for cpu in sorted(mine)[:2]:
        process, line = target(
            OURS, "kernel_waits.py", "sleep", "20", preexec_fn=lambda cpu=cpu: os.sched_setaffinity(0, {cpu})
        )
        began = float(line.split()[1])
        time.sleep(1.5)
        task = look(process.pid)[0]
        assert abs(task.asleep_s - (time.monotonic() - began)) < WITHIN_S
    assert os.sched_getaffinity(0) == mine, "our own thread may run where it could before"


def test_the_clock_of_a_cpu_that_we_may_not_use_is_unknown():
    assert clock.monotonic_ahead(4095) is None


def test_threads_with_names_in_the_order_of_their_ids(waiting):
    pid, _, _ = waiting(OURS, "many", 50)
    found, gaps = tasks.tasks(pid)
    assert len(found) == 50
    assert not gaps
    assert [task.tid for task in found] == sorted(task.tid for task in found)
    assert found[0].tid == pid
    assert {task.call.name for task in found} == {"clock_nanosleep"}
    assert tasks.task(pid, found[7].tid).tid == found[7].tid


def test_threads_that_end_during_the_look_are_a_gap_or_not_there(waiting):
    pid, _, _ = waiting(OURS, "churn")
    ended = 0
    deadline = time.monotonic() + 60
    while not ended:
        assert time.monotonic() < deadline, "no look hit a thread that ended: the situation was not tested"
        for _ in range(60):
            found, gaps = tasks.tasks(pid)
            assert found[0].tid == pid
            for gap in gaps:
                assert gap.why == "they ended meanwhile"
                ended += int(gap.what.split()[0])


def test_a_thread_that_is_not_there_is_a_gap(waiting):
    pid, _, _ = waiting(OURS, "sleep", 20)
    assert isinstance(tasks.task(pid, 1), Gap)


def test_processes_that_end_during_the_look():
    """Children that live for a moment: each look finds all, or ends in NoSuchProcess, and never in anything else."""
    seen = ended = 0
    for _ in range(150):
        child = subprocess.Popen(["true"])
        try:
            for _ in range(20):
                procfs.process(child.pid)
                found, _ = tasks.tasks(child.pid)
                seen += len(found)
                if child.poll() is not None:
                    break
            procfs.process(child.pid)
        except NoSuchProcess as error:
            ended += error.exit_status == 3
        finally:
            child.wait()
    assert seen
    assert ended


def test_a_pid_that_was_never_there():
    for pid in (4_000_000, 1 << 40, 0):
        with pytest.raises(NoSuchProcess) as caught:
            procfs.process(pid)
        assert f"there is no process with pid {pid}" in caught.value.said
        with pytest.raises(NoSuchProcess):
            tasks.tasks(pid)


def test_the_id_of_a_thread_names_its_process():
    thread = threading.Thread(target=time.sleep, args=(0.5,))
    thread.start()
    with pytest.raises(NoSuchProcess) as caught:
        procfs.process(thread.native_id)
    thread.join()
    assert caught.value.said == f"{thread.native_id} is no process but a thread of pid {os.getpid()}"
    assert caught.value.remedy == f"pellucid why {os.getpid()}"


def test_a_zombie_sits_in_no_system_call():
    child = subprocess.Popen(["true"])
    try:
        assert _state_becomes(child.pid, "zombie")
        (task,), gaps = tasks.tasks(child.pid)
        assert (task.state, task.call.name, task.asleep_s) == ("zombie", tasks.OUTSIDE, None)
        assert not gaps
    finally:
        child.wait()


def test_a_thread_of_the_kernel_sits_in_no_system_call():
    if procfs.process(2).name != "kthreadd":
        pytest.skip("pid 2 is not kthreadd here: the kernel's threads are not visible in this pid namespace")
    (task,), _ = tasks.tasks(2)
    assert (task.call.name, task.call.number) == (tasks.OUTSIDE, -1)
    assert task.wchan == "kthreadd"


def test_a_running_thread_is_not_asleep():
    """Our own: it is on a CPU while it looks."""
    task = tasks.task(os.getpid(), threading.get_native_id())
    assert task.state == "running"
    assert task.asleep_s is None
    before = task.cpu_s
    while tasks.task(os.getpid(), threading.get_native_id()).cpu_s < before + 0.002:
        sum(range(1000))


def test_a_call_with_garbage_for_an_array_is_a_gap_and_not_nothing():
    from pellucid.model import Call

    with closing(Memory.open(os.getpid())) as memory:
        wild = Call("poll", 7, (0xDEAD000, 3, 1000, 0, 0, 0))
        watching = polling.watching(memory, wild, os.getpid())
        assert watching.descriptors == ()
        assert "could not be read" in watching.gap.why
        huge = Call("poll", 7, (0xDEAD000, 1 << 31, 1000, 0, 0, 0))
        assert polling.watching(memory, huge, os.getpid()).gap
        assert polling.timeout_left(memory, Call("pselect6", 270, (0, 0, 0, 0, 0xDEAD000, 0)), 1.0) == (True, None)
    assert polling.watching(None, wild, os.getpid()).gap.why == "the memory of the process could not be opened"
    unknown = Call("epoll_wait", 232, (9999, 0, 1, 1000, 0, 0))
    assert "descriptor 9999" in polling.watching(None, unknown, os.getpid()).gap.what
