"""The texts of /proc as they are, with what makes them hard: names with brackets, titles, holes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.kernel import clock, fdinfo, fds, polling, procfs, syscalls, tasks
from pellucid.observe.identity import limits

STAT = (
    b"41 (a) S (b) R 7 41 41 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 3 0 93100 3133440 386 18446744073709551615 1 1 0 0 0 0 0 4096 "
    b"1256 0 0 0 17 5 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)


def test_a_name_with_brackets_and_a_state_in_it():
    stat = procfs.parse_stat(STAT)
    assert (stat.pid, stat.name, stat.letter, stat.state, stat.ppid) == (41, "a) S (b", "R", "running", 7)
    assert (stat.cpu_s, stat.threads, stat.start_ticks, stat.cpu) == (300 / clock.TICKS_PER_SECOND, 3, 93100, 5)
    assert not stat.kernel_thread


@given(st.binary(max_size=20).filter(lambda name: b"\0" not in name))
def test_any_name_at_all(name):
    assert procfs.parse_stat(STAT.replace(b"a) S (b", name)).ppid == 7


def test_a_command_line_that_was_written_over_by_a_title():
    assert procfs.parse_command(b"nginx: worker process\0\0\0\0\0") == ("nginx: worker process",)
    assert procfs.parse_command(b"python\0-c\0\0x\0") == ("python", "-c", "", "x")
    assert procfs.parse_command(b"") == ()


def test_status_lines_with_a_colon_in_the_value():
    assert procfs.parse_status(b"Name:\ta:b\nUid:\t0\t1\t2\t3\n") == {"Name": "a:b", "Uid": "0\t1\t2\t3"}


@pytest.mark.parametrize(
    ("text", "name", "number"),
    [
        (b"running\n", tasks.RUNNING, None),
        (b"-1 0x7ffdd36b5b98 0x7fc4609262ad\n", tasks.OUTSIDE, -1),
        (b"0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n", tasks.OUTSIDE, -1),  # a thread of the kernel, not read(0)
        (b"0 0x3 0x7fc4607aa000 0x20000 0x0 0x0 0x0 0x7ffdd36b5b98 0x7fc4609262ad\n", "read", 0),
        (b"9999 0x3 0x0 0x0 0x0 0x0 0x0 0x7ffdd36b5b98 0x7fc4609262ad\n", "syscall 9999", 9999),
        (b"3 0x3 0x0 0x0 0x0 0x0 0x0 0xffb5b98c 0xf7fc4609\n", "32-bit syscall 3", 3),
    ],
)
def test_the_system_call_of_a_thread(text, name, number):
    if number == 0 and syscalls.number("read") != 0:
        pytest.skip("read is number 0 on x86-64 only")
    call = tasks.parse_call(text)
    assert (call.name, call.number) == (name, number)


def test_the_arguments_of_a_call():
    call = tasks.parse_call(b"232 0x3 0x7f10 0x40 0xffffffff 0x0 0x8 0x7ffdd36b5b98 0x7fc4609262ad\n")
    assert call.arguments == (3, 0x7F10, 0x40, 0xFFFFFFFF, 0, 8)
    assert (call.stack_pointer, call.instruction) == (0x7FFDD36B5B98, 0x7FC4609262AD)


def test_a_thread_on_its_way_out_has_no_call():
    assert tasks.parse_call(b"") is None


def test_both_tables_of_system_calls():
    from pellucid.kernel import syscall_tables

    x86, arm = syscalls.names(syscall_tables.X86_64), syscalls.names(syscall_tables.AARCH64)
    assert (x86[0], x86[45], x86[202], x86[232], x86[281], x86[441]) == (
        "read",
        "recvfrom",
        "futex",
        "epoll_wait",
        "epoll_pwait",
        "epoll_pwait2",
    )
    assert (arm[63], arm[98], arm[207], arm[22], arm[73], arm[115], arm[441]) == (
        "read",
        "futex",
        "recvfrom",
        "epoll_pwait",
        "ppoll",
        "clock_nanosleep",
        "epoll_pwait2",
    )
    assert {number: name for number, name in x86.items() if number >= 424} == {
        number: name for number, name in arm.items() if number >= 424
    }, "from 424 on the numbers are the same on every architecture"


SCHED = b"""python (41, #threads: 1)
-------------------------------------------------------------------
se.exec_start                                :        811639.744030
se.vruntime                                  :           178.137871
se.sum_exec_runtime                          :             1.248606
nr_switches                                  :                    9
nr_voluntary_switches                        :                    7
nr_involuntary_switches                      :                    2
"""


def test_the_scheduler_file():
    found = clock.sched(SCHED)
    assert (found.exec_start_s, found.cpu_s, found.voluntary) == pytest.approx((811.63974403, 0.001248606, 7))
    assert clock.sched(b"python (41, #threads: 1)\n") is None


def test_mount_ids_and_what_may_never_answer():
    text = (
        b"36 35 98:0 /a /b rw,noatime master:1 - ext3 /dev/root rw\n"
        b"37 36 0:44 / /mnt/with\\040space rw shared:2 propagate_from:1 - nfs4 server:/x rw,hard\n"
        b"38 36 0:45 / /s rw - fuse.sshfs host: rw\n\n"
    )
    mounts = fds.mounts(text)
    assert mounts[36] == fds.Mount("98:0", "ext3")
    assert [mounts[number].remote for number in (36, 37, 38)] == [False, True, True]


def test_flags_in_words():
    assert fdinfo.flag_words(0o2100002) == "O_RDWR|O_CLOEXEC"
    assert fdinfo.flag_words(0o102001) == "O_WRONLY|O_APPEND"
    assert fdinfo.flag_words(0o4010000) == "O_RDONLY|O_SYNC", "O_SYNC holds the bit of O_DSYNC"
    assert fdinfo.flag_words(0o10000) == "O_RDONLY|O_DSYNC"


@pytest.mark.parametrize(
    ("kind", "text", "flags", "says"),
    [
        ("eventfd", b"flags:\t02\neventfd-count:                1f\n", 2, "count 31"),
        ("epoll", b"flags:\t02\ntfd:        5 events:       19 data:  5\n", 2, "watches 5"),
        ("epoll", b"flags:\t02\n", 2, "watches nothing"),
        ("timerfd", b"it_value: (1, 500000000)\nit_interval: (5, 0)\n", 2, "fires in 1.5 s, then every 5 s"),
        ("timerfd", b"it_value: (0, 0)\nit_interval: (0, 0)\n", 2, "not armed"),
        ("signalfd", b"sigmask:\t0000000000004002\n", 2, "for SIGINT, SIGTERM"),
        ("inotify", b"inotify wd:1 ino:2 sdev:3\ninotify wd:2 ino:3 sdev:3\n", 0, "watches 2 files"),
        ("pidfd", b"Pid:\t42\nNSpid:\t42\n", 2, "pid 42"),
        ("pidfd", b"Pid:\t-1\n", 2, "of a process that ended, or of another namespace"),
        ("pipe", b"flags:\t01\n", 1, "write end"),
        ("file", b"lock:\t1: FLOCK  ADVISORY  WRITE 41 08:01:7 0 EOF\n", 2, "locked: FLOCK ADVISORY WRITE"),
        ("socket", b"flags:\t02\n", 2, ""),
    ],
)
def test_what_fdinfo_tells(kind, text, flags, says):
    assert fdinfo.detail(kind, text, flags) == says


def test_epoll_targets_with_what_for():
    text = b"pos:\t0\ntfd:        5 events:       19 data: 5  pos:0\ntfd:       11 events: 80000004 data: b\ntfd: 7 events: 5\n"
    assert polling.epoll_targets(text) == ((5, "read"), (11, "write"), (7, "read or write"))


def test_limits_by_their_columns():
    text = (
        b"Limit                     Soft Limit           Hard Limit           Units     \n"
        b"Max cpu time              unlimited            unlimited            seconds   \n"
        b"Max open files            1024                 524288               files     \n"
        b"Max nice priority         0                    0                    \n"
    )
    assert [(one.name, one.soft, one.hard, one.unit) for one in limits(text)] == [
        ("Max cpu time", None, None, "seconds"),
        ("Max open files", 1024, 524288, "files"),
        ("Max nice priority", 0, 0, ""),
    ]
