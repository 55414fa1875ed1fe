"""Rules about one waiting thread: each fires on its case and is silent on the healthy look-alike."""

import pytest
from msgspec.structs import replace

from pellucid.diagnose import words
from pellucid.diagnose.engine import diagnose
from pellucid.diagnose.rules.file_lock import waits_for_a_file_lock
from pellucid.diagnose.rules.gil import waits_for_the_gil
from pellucid.diagnose.rules.idle import is_idle
from pellucid.diagnose.rules.kernel_wait import waits_in_the_kernel
from pellucid.diagnose.rules.lock import waits_for_a_lock
from pellucid.diagnose.rules.on_cpu import runs_on_cpu
from pellucid.diagnose.rules.pipe import waits_for_a_pipe
from pellucid.diagnose.rules.sleeps import sleeps
from pellucid.diagnose.rules.stopped import is_stopped
from pellucid.diagnose.rules.unaccepted import leaves_connections_unaccepted
from pellucid.diagnose.rules.wait_child import waits_for_a_child
from pellucid.diagnose.rules.wants_cpu import wants_a_cpu
from pellucid.diagnose.rules.zombie import is_a_zombie
from pellucid.model import Seen, Watched
from tests.unit.rules.build import frame, library, on_socket, peer, process, snapshot, tcp, thread, wait


def test_a_thread_that_waits_for_a_lock_is_told_with_place_and_time():
    (found,) = waits_for_a_lock(snapshot(thread(wait=wait(), frames=(frame("pay"),))))
    assert found.severity == "warning"
    assert "41 s" in found.sentence
    assert "app.py:12 in pay" in found.sentence
    assert "no timeout" in found.sentence


def test_a_thread_of_a_library_without_a_call_of_python_waits_for_what_the_library_wants():
    main = thread(tid=41, wait=wait(), frames=())
    assert list(waits_for_a_lock(snapshot(main))), "the main thread is nobody's"
    of_a_library = thread(tid=42, wait=wait(), frames=())
    assert not list(waits_for_a_lock(snapshot(of_a_library)))
    assert list(waits_for_a_lock(snapshot(replace(of_a_library, moving=True)))), "its calls were not seen"


def test_a_lock_that_moves_between_the_looks_is_no_claim():
    now = thread(wait=wait(), switches=8)
    assert not list(waits_for_a_lock(snapshot(now, earlier=[thread(wait=wait(), switches=7)])))


def test_an_unknown_count_of_switches_is_no_claim():
    now = thread(wait=wait(), switches=None)
    assert not list(waits_for_a_lock(snapshot(now)))


@pytest.mark.parametrize(
    ("function", "file", "what"),
    [
        ("get", "queue.py", "the next item of a queue"),
        ("_worker", "concurrent/futures/thread.py", "work for its executor"),
        ("worker", "multiprocessing/pool.py", "work for its pool"),
        ("run", "site-packages/ray/_private/gc_collect_manager.py", "a wish to collect garbage"),
    ],
)
def test_a_worker_without_work_is_idle_and_no_lock_finding(function, file, what):
    waiting = thread(wait=wait(), frames=(library("wait", "threading.py"), library(function, file), frame("loop")))
    seen = snapshot(waiting)
    assert not list(waits_for_a_lock(seen))
    (found,) = is_idle(seen)
    assert what in found.sentence
    assert found.severity == "info"
    assert found.confidence == "likely"


def test_a_program_below_an_executor_frame_is_not_idle():
    waiting = thread(wait=wait(), frames=(frame("task"), library("_worker", "concurrent/futures/thread.py")))
    assert not list(is_idle(snapshot(waiting)))


@pytest.mark.parametrize(
    "frames",
    [
        (library("run", "concurrent/futures/thread.py"), library("_worker", "concurrent/futures/thread.py")),
        (library("_run", "asyncio/events.py"), library("_run_once", "asyncio/base_events.py")),
        (library("worker", "multiprocessing/pool.py"), library("run", "multiprocessing/process.py")),
        (library("_process_worker", "concurrent/futures/process.py"),),
    ],
)
@pytest.mark.parametrize("kind", ["sleep", "lock"])
def test_a_function_of_c_that_a_worker_calls_has_no_frame_and_is_not_idle(frames, kind):
    assert not list(is_idle(snapshot(thread(wait=wait(kind), frames=frames))))


def test_a_prompt_waits_for_whoever_types():
    typed = wait("file", watched=(Watched(fd=0, what="/dev/pts/3", wants="read", kind="char-device"),))
    (found,) = is_idle(snapshot(thread(wait=typed)))
    assert "waits for input at its terminal (/dev/pts/3)" in found.sentence
    log = wait("file", watched=(Watched(fd=1, what="/dev/pts/3", wants="write", kind="char-device"),))
    assert not list(is_idle(snapshot(thread(wait=log))))


def test_a_main_thread_that_joins_is_neither_stuck_nor_idle():
    joins = thread(wait=wait(), frames=(library("_shutdown", "threading.py"),))
    seen = snapshot(joins)
    assert not list(waits_for_a_lock(seen))
    assert not list(is_idle(seen))


def test_equal_waits_make_one_sentence():
    many = [thread(tid=50 + n, name=f"w-{n}", wait=wait(), frames=(frame("pay"),)) for n in range(5)]
    (found,) = waits_for_a_lock(snapshot(*many))
    assert "5 threads (w-0, w-1, w-2, ...)" in found.title
    assert found.tids == (50, 51, 52, 53, 54)


def test_a_timed_wait_is_a_notice_and_says_when_it_ends():
    (found,) = waits_for_a_lock(snapshot(thread(wait=wait(timed=True, left_s=18.6), frames=(frame("pay"),))))
    assert found.severity == "notice"
    assert "gives up in 19 s" in found.sentence


def test_a_gil_holder_that_does_not_run_is_critical():
    waiter = thread(tid=50, name="w", wait=wait("gil", 0.001))
    holder = thread(
        tid=51,
        name="c",
        wait=wait("other", 9.0, call="recvfrom"),
        holds_gil=True,
        cpu_share=0.0,
        frames=(frame("native"),),
    )
    (found,) = waits_for_the_gil(snapshot(waiter, holder))
    assert found.severity == "critical"
    assert "keeps the GIL while it waits" in found.sentence


def test_two_spinners_are_a_notice():
    waiter = thread(tid=50, name="w", wait=wait("gil", 0.001), cpu_share=0.5)
    holder = thread(tid=51, name="c", state="running", holds_gil=True, cpu_share=0.5)
    (found,) = waits_for_the_gil(snapshot(waiter, holder))
    assert found.severity == "notice"
    assert not list(waits_for_the_gil(snapshot(waiter, holder, earlier=[holder])))


def test_spinners_that_take_turns_compete_for_the_gil():
    one, two = thread(tid=50, name="w", wait=wait("gil", 0.001)), thread(tid=51, name="c", state="running")
    swapped = [thread(tid=50, name="w", state="running"), thread(tid=51, name="c", wait=wait("gil", 0.001))]
    (found,) = waits_for_the_gil(snapshot(one, two, earlier=swapped))
    assert found.severity == "notice"
    assert "both looks" in found.sentence


def test_a_gil_that_was_seldom_waited_for_is_no_finding():
    one = thread(tid=50, name="w", state="running", gil_waits=3)
    assert not list(waits_for_the_gil(snapshot(one, samples=8, gil_contended=3)))
    (found,) = waits_for_the_gil(snapshot(one, samples=8, gil_contended=6))
    assert "6 of 8 samples" in found.sentence
    usual = thread(tid=51, name="c", gil_holds=5)
    (found,) = waits_for_the_gil(snapshot(one, usual, samples=8, gil_contended=6))
    assert "c held it in 5 of 8 samples" in found.sentence


def test_a_sleeper_says_where_and_for_how_long_yet():
    (found,) = sleeps(
        snapshot(thread(wait=wait("sleep", 2.0, "clock_nanosleep", timed=True, left_s=18.0), frames=(frame("do_GET"),)))
    )
    assert "wakes in 18 s" in found.sentence
    assert "app.py:12 in do_GET" in found.sentence


def test_a_busy_thread_says_where_it_was_most():
    hot = frame("parse")
    (found,) = runs_on_cpu(
        snapshot(thread(state="running", cpu_share=0.97, frames=(hot,), seen=(Seen(hot, 7),), samples=8))
    )
    assert "97 %" in found.title
    assert "7 of 8 samples" in found.sentence
    assert not list(runs_on_cpu(snapshot(thread(state="running", cpu_share=0.2))))


def test_a_thread_that_wants_a_cpu_and_gets_none():
    ready = thread(state="running", cpu_share=0.0, frames=[frame("spin")])
    (found,) = wants_a_cpu(snapshot(ready, earlier=[thread(state="running")]))
    assert found.title == "MainThread wants a CPU and gets none"
    assert "was ready to run for all of the" in found.sentence
    assert "at app.py:12 in spin" in found.sentence


def test_nothing_of_the_kind_is_said_of_a_thread_that_runs_or_slept_between_the_looks():
    runs = thread(state="running", cpu_share=0.9)
    assert not list(wants_a_cpu(snapshot(runs, earlier=[thread(state="running")])))
    woke = thread(state="running", cpu_share=0.01, switches=8)
    assert not list(wants_a_cpu(snapshot(woke, earlier=[thread(state="running", switches=7)])))
    waits = thread(cpu_share=0.0, wait=wait())
    assert not list(wants_a_cpu(snapshot(waits, earlier=[waits])))
    assert not list(
        wants_a_cpu(snapshot(thread(state="running", cpu_share=0.0), earlier=[]))
    )  # it was not there at the first look


def test_a_child_that_is_stopped_is_critical():
    waiting = thread(wait=wait("child", 20.0, "wait4", child=43), frames=(frame("run"),))
    (found,) = waits_for_a_child(snapshot(waiting, peers=[peer(43, "stopped", fd=None)]))
    assert found.severity == "critical"
    assert "kill -CONT 43" in found.sentence


def test_a_shell_that_waits_for_its_command_is_told_and_is_no_warning():
    waiting = thread(wait=wait("child", 20.0, "wait4", child=43), python=False)
    asleep = peer(43, fd=None)
    shell = replace(snapshot(waiting, peers=[asleep]), process=process(name="sh", exe="/usr/bin/dash"))
    (found,) = waits_for_a_child(shell)
    assert found.severity == "info" and found.next == ("pellucid why 43",)
    (found,) = waits_for_a_child(snapshot(waiting, peers=[asleep]))
    assert found.severity == "warning", "a program that may have other work"
    (found,) = waits_for_a_child(replace(shell, peers=(peer(43, "stopped", fd=None),)))
    assert found.severity == "critical"


def test_a_main_thread_that_waits_for_the_word_to_end_is_no_warning():
    def seen(name, *others, **more):
        return snapshot(thread(wait=wait(object=name, **more), frames=(frame("main"),)), *others)

    poller = thread(42, "poller", wait=wait("sleep", 0.2, "clock_nanosleep", timed=True), frames=(frame("poll"),))
    for name in ("Event stop (global of app.py)", "Event self._shutdown (Server._shutdown)", "Event state['exiting']"):
        (found,) = waits_for_a_lock(seen(name, poller))
        assert (found.severity, found.confidence) == ("info", "likely") and "to end the program" in found.sentence
    for name in ("Event ready (global of app.py)", "Event results['done']", "Lock stop", None):
        (found, *_) = waits_for_a_lock(seen(name, poller))
        assert (found.severity, found.confidence) == ("warning", "certain"), name
    (found,) = waits_for_a_lock(seen("Event stop"))
    assert found.severity == "warning", "nobody else is there to work"
    stuck = thread(42, "worker", wait=wait(object="Lock a"), frames=(frame("work"),))
    assert {each.severity for each in waits_for_a_lock(seen("Event stop", stuck))} == {"warning"}
    waits_in_a_thread = thread(42, "worker", wait=wait(object="Event stop"), frames=(frame("work"),))
    (found,) = waits_for_a_lock(snapshot(thread(wait=None), waits_in_a_thread))
    assert found.severity == "warning"


def test_a_reader_of_an_empty_pipe_names_the_writer():
    waiting = thread(
        wait=wait("pipe", 20.0, "read", watched=(Watched(fd=3, what="pipe:[5]", wants="read", kind="pipe"),))
    )
    writer = peer(43, threads=[thread(tid=43, wait=wait("sleep", 3.0), frames=(frame("produce"),))])
    (found,) = waits_for_a_pipe(snapshot(waiting, peers=[writer]))
    assert "pid 43 (python server.py)" in found.sentence
    assert "produce" in found.sentence


def test_a_process_at_the_ends_of_two_pipes_is_named_for_both():
    reading = [
        thread(
            tid=40 + fd,
            name=f"reader-{fd}",
            wait=wait("pipe", 20.0, "read", watched=(Watched(fd=fd, what=f"pipe:[{fd}]", wants="read", kind="pipe"),)),
        )
        for fd in (3, 4)
    ]
    found = list(waits_for_a_pipe(snapshot(*reading, peers=[replace(peer(), fds=(3, 4))])))
    assert len(found) == 2
    assert all("pid 43" in one.sentence and "No other process" not in one.sentence for one in found)


@pytest.mark.parametrize("family", [{"ppid": 41}, {"pid": 1}, {"ppid": 7}])
def test_a_thread_beside_an_event_loop_that_reads_from_parent_or_child_watches_it(family):
    reads = wait("pipe", 400.0, "read", watched=(Watched(fd=3, what="pipe:[5]", wants="read", kind="pipe"),))
    other = replace(peer(), process=process(**{"pid": 43, **family}))
    polls = wait("poll", 0.5, "epoll_wait", watched=tuple(Watched(fd=fd, what="x", wants="read") for fd in (5, 6)))

    def severity(of_main, process_of_it=other):
        main, watcher = thread(tid=41, wait=of_main), thread(tid=42, name="agent.monitor", wait=reads)
        found = waits_for_a_pipe(snapshot(main, watcher, peers=[process_of_it]))
        return next(one.severity for one in found if watcher.tid in one.tids)

    assert severity(polls) == ("warning" if family == {"ppid": 7} else "info"), "a stranger owes what it was asked for"
    assert severity(wait("lock", 400.0)) == "warning", "the main thread may wait for what this one reads"
    stopped = replace(other, process=replace(other.process, state="stopped"))
    assert severity(polls, stopped) == "critical"


def test_a_pipe_without_another_end_is_certain():
    waiting = thread(
        wait=wait("pipe", 20.0, "read", watched=(Watched(fd=3, what="pipe:[5]", wants="read", kind="pipe"),))
    )
    (found,) = waits_for_a_pipe(snapshot(waiting))
    assert "No other process holds it" in found.sentence
    assert found.confidence == "certain"


@pytest.mark.parametrize(("python", "severity"), [(False, "info"), (True, "warning")])
def test_a_thread_of_a_library_that_waits_on_a_pipe_to_its_own_process_is_no_trouble(python, severity):
    """As those of Ray do, in C++, in each of its Python processes; a Python thread that does so may have left a writing end open."""
    watched = (Watched(fd=3, what="pipe:[5]", wants="read", kind="pipe"),)
    reader = thread(tid=2, python=python, wait=wait("pipe", 20.0, "read", watched=watched))
    (found,) = waits_for_a_pipe(snapshot(thread(tid=1, python=True), reader))
    assert found.severity == severity


def test_a_file_lock_names_the_file():
    waiting = thread(
        wait=wait("file-lock", 20.0, "flock", watched=(Watched(fd=3, what="/var/lock/x", wants="lock", kind="file"),))
    )
    (found,) = waits_for_a_file_lock(snapshot(waiting))
    assert "/var/lock/x" in found.title


def test_uninterruptible_sleep_is_told_with_the_kernel_function():
    (found,) = waits_in_the_kernel(snapshot(thread(state="disk-sleep", wait=wait("disk", 30.0, "read"))))
    assert found.rule == "disk"
    assert not list(waits_in_the_kernel(snapshot(thread(wait=wait("lock")))))


def test_stopped_and_zombie_processes():
    (stopped,) = is_stopped(snapshot(thread(frames=(frame("work"),)), process=process(state="stopped")))
    assert stopped.next == ("kill -CONT 41",)
    assert "work (app.py:12)" in stopped.sentence
    (zombie,) = is_a_zombie(snapshot(process=process(state="zombie")))
    assert "parent, pid 1" in zombie.sentence
    assert not list(is_stopped(snapshot(thread())))
    assert not list(is_a_zombie(snapshot(thread())))


def test_a_backlog_that_nobody_accepts():
    listening = tcp("LISTEN", local="127.0.0.1:8000", remote="", rx_queue=2, tx_queue=5)
    busy = thread(wait=wait("sleep", 3.0), frames=(frame("handle"),))
    (found,) = leaves_connections_unaccepted(snapshot(busy, sockets=[listening]))
    assert "2 connections" in found.title
    assert "handle" in found.sentence


@pytest.mark.parametrize(
    ("clients", "since_s", "switches", "severity"),
    [(1, 0.3, 7, "notice"), (1, 41.0, 7, "warning"), (1, 41.0, 8, "notice"), (2, 0.3, 8, "warning"), (6, 0.3, 8, "critical")],
)  # fmt: skip
def test_a_server_that_works_makes_a_client_wait_for_a_moment(clients, since_s, switches, severity):
    listening = tcp("LISTEN", local="127.0.0.1:8000", remote="", rx_queue=clients, tx_queue=5)
    before = thread(wait=wait("sleep", since_s), frames=(frame("handle"),))
    now = thread(wait=wait("sleep", since_s), frames=(frame("handle"),), switches=switches)
    (found,) = leaves_connections_unaccepted(snapshot(now, earlier=[before], sockets=[listening]))
    assert found.severity == severity


def test_a_parent_whose_workers_share_its_socket_accepts_nothing_itself():
    listening = tcp("LISTEN", local="127.0.0.1:8000", remote="", rx_queue=1, tx_queue=5)
    parent = thread(wait=wait("poll"), frames=(library("sleep", "gunicorn/arbiter.py"),))
    (found,) = leaves_connections_unaccepted(snapshot(parent, sockets=[listening]))
    assert found.severity == "notice"


def test_a_backlog_is_a_passing_state_while_a_thread_accepts():
    listening = tcp("LISTEN", local="127.0.0.1:8000", remote="", rx_queue=1, tx_queue=5)
    accepts = thread(wait=on_socket(listening, wants="accept", call="accept4"))
    assert not list(leaves_connections_unaccepted(snapshot(accepts, sockets=[listening])))
    (found,) = is_idle(snapshot(accepts))
    assert "connections on 127.0.0.1:8000" in found.sentence


def test_findings_come_worst_first_and_each_has_evidence():
    listening = tcp("LISTEN", local="127.0.0.1:8000", remote="", rx_queue=9, tx_queue=5)
    found = diagnose(snapshot(thread(wait=wait("sleep", 3.0), frames=(frame("handle"),)), sockets=[listening]))
    assert [finding.severity for finding in found] == ["critical", "notice"]
    assert all(finding.evidence for finding in found)


def test_a_process_with_something_worse_is_not_called_idle():
    listening = tcp("LISTEN", local="127.0.0.1:8000", remote="", rx_queue=0, tx_queue=5)
    accepts = thread(wait=on_socket(listening, wants="accept", call="accept4"))
    assert [finding.rule for finding in diagnose(snapshot(accepts))] == ["idle"]
    stuck = thread(tid=42, name="payer", wait=wait(), frames=(frame("pay"),))
    assert [finding.rule for finding in diagnose(snapshot(accepts, stuck))] == ["lock", "idle-threads"]


@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        ("pellucid-w0", ("/usr/bin/python", "-m", "x"), "pellucid-w0: python -m x"),
        ("python3", ("/usr/bin/python3", "app.py"), "python3 app.py"),
        ("gunicorn: worke", ("gunicorn: worker [app]",), "gunicorn: worker [app]"),
        ("kworker/0:1", (), "kworker/0:1"),
    ],
)
def test_a_name_that_a_process_gave_itself_stands_before_its_command_line(name, line, told):
    assert words.command(process(name=name, command=line), 60) == told
