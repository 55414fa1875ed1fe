"""The longer looks of `why` on real processes: silent errors with their lines; the window ends with the process, and at Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from pellucid.diagnose.engine import diagnose
from pellucid.kernel import procfs, tasks
from pellucid.model import Gap
from pellucid.model.errors import NoSuchProcess
from pellucid.observe import watched_memory
from pellucid.observe.growing import TooSlow
from pellucid.observe.snapshot import snapshot
from pellucid.observe.watching import LongerLook, Watching
from pellucid.observe.window import Window
from tests import interpreters
from tests.conftest import TARGETS
from tests.nobody import as_nobody
from tests.syscalls import needs_bpf, until

OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)
SLEEPER = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"]


@pytest.fixture
def sleeper():
    with subprocess.Popen(SLEEPER, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def told_when(pid, rule, *words, tries=8):
    """(the snapshot, the findings of `rule`), once each of `words` is in one of them: on a busy machine a target does little in a second."""
    for turn in range(tries):
        seen = snapshot(pid, watch_s=1 << turn // 2)
        found = [finding for finding in diagnose(seen) if finding.rule == rule]
        if all(any(word in one.sentence for one in found) for word in words):
            return seen, found
    return pytest.fail(f"{words} were not told in {tries} looks: {found}")


@needs_bpf
def test_errors_that_a_program_swallows(target, directory):
    process, _ = target(OURS, "silent_errors.py", str(directory), "wait")
    refused = ["secret.txt"] if os.geteuid() == 0 else []  # the target has become another user
    seen, told = told_when(process.pid, "repeated-errors", "absent.csv", *refused)
    lines = (TARGETS / "silent_errors.py").read_text().splitlines()
    at = {name: number for number, line in enumerate(lines, 1) for name in ("absent.csv", "secret.txt") if name in line}
    missing = next(one for one in told if "absent.csv" in one.sentence)
    assert (missing.severity, missing.confidence) == ("notice", "certain")
    assert f"silent_errors.py:{at['absent.csv']} in missing" in missing.sentence
    assert seen.over_time.calls.lost == 0
    assert 0 < seen.over_time.calls.seconds < seen.over_time.seconds
    if refused:
        refused = next(one for one in told if "secret.txt" in one.sentence)
        assert refused.severity == "warning"
        assert "EACCES (permission denied)" in refused.sentence
        assert f"silent_errors.py:{at['secret.txt']} in unreadable" in refused.sentence


@needs_bpf
def test_who_has_the_port_that_a_program_wants(target):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process, _ = target(OURS, "using.py", "binds", str(port))
        _, (told,) = told_when(process.pid, "repeated-errors", "bind")
    assert told.severity == "warning"
    assert f"called bind on 127.0.0.1:{port} and got EADDRINUSE" in told.sentence
    assert f"pid {os.getpid()} (" in told.sentence


@needs_bpf
def test_descriptors_that_become_more_with_the_line_that_opens_them(target):
    process, _ = target(OURS, "using.py", "leak", __file__)
    seen, (told,) = told_when(process.pid, "rising-descriptors", "opened at")
    line = (TARGETS / "using.py").read_text().splitlines().index("        file = open(path)") + 1
    assert f"are file {__file__}, opened at using.py:{line} in <module>" in told.sentence
    assert told.confidence in {"likely", "possible"}  # by how many it had the time to open
    held = seen.over_time.descriptors
    assert held.grown == held.opened == held.counts[-1] - held.counts[0]
    assert held.limit is None or "the limit of" in told.sentence or held.limit > 20_000


def test_files_that_are_closed_again_do_not_become_more(target):
    process, _ = target(OURS, "using.py", "churn", __file__)
    for window in (1, 2, 4, 8, 16):  # a crowded machine has little time for us
        seen = snapshot(process.pid, watch_s=window)
        if len(seen.over_time.descriptors.counts) >= 3:
            break
    assert len(seen.over_time.descriptors.counts) >= 3
    assert "rising-descriptors" not in {finding.rule for finding in diagnose(seen)}


@needs_bpf
def test_a_healthy_server_at_work_has_no_such_errors(target):
    server, port = target(OURS, "http_server.py", "0")
    ask = "import sys, time, urllib.request as u\nwhile True: u.urlopen(sys.argv[1]).read(); time.sleep(0.01)"
    with subprocess.Popen([sys.executable, "-c", ask, f"http://127.0.0.1:{port}/"]) as client:
        try:
            for _ in range(5):  # until the client has started, and the look does not end before it has begun
                seen = snapshot(server.pid, watch_s=1.0)
                if seen.over_time.calls and seen.over_time.calls.opened:
                    break
        finally:
            client.kill()
    assert seen.over_time.calls is not None
    assert seen.over_time.calls.opened, "it accepted connections"
    assert not {"repeated-errors", "rising-descriptors"} & {finding.rule for finding in diagnose(seen)}


def _first_call(pid):
    """What its first thread waits in."""
    call = next((task.call for task in tasks.tasks(pid)[0] if task.tid == pid), None)
    return call and call.name


def test_without_the_right_to_trace_the_rest_of_the_verdict_is_there():
    def look():
        with subprocess.Popen(["/bin/sleep", "60"]) as process:  # nobody may not be able to run our interpreter
            try:
                until(lambda: _first_call(process.pid) == "clock_nanosleep", 60)
                seen = snapshot(process.pid, watch_s=0.3)
            finally:
                process.kill()
        assert seen.over_time.calls is None
        (gap,) = seen.over_time.gaps
        assert "CAP_BPF" in gap.why
        assert gap.remedy == f"sudo pellucid why {process.pid}"
        assert not [one for one in seen.gaps if "errors" in one.what], "it is no failure, and not told as one"
        assert "sleeps" in {finding.rule for finding in diagnose(seen)}

    as_nobody(look)


def test_who_can_do_nothing_is_not_watched(sleeper):
    assert snapshot(sleeper.pid).over_time is None, "nor who was not to be"
    os.kill(sleeper.pid, signal.SIGSTOP)
    until(lambda: procfs.stat(sleeper.pid).state == "stopped")
    began = time.monotonic()
    assert snapshot(sleeper.pid, watch_s=300).over_time is None
    assert time.monotonic() - began < 200


def test_the_window_ends_with_the_process(sleeper):
    def kill():
        until(lambda: any(thread.name == "descriptors" for thread in threading.enumerate()), 60)
        sleeper.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    seen = snapshot(sleeper.pid, watch_s=300)
    killer.join()
    assert 0 < seen.over_time.seconds < 200
    assert [gap.why for gap in seen.gaps if gap.what == "all of the longer looks"] == [
        f"it ended after {seen.over_time.seconds:.1f} s"
    ]


def _watches(pid):
    """It has threads, and its first waits for the end of the window."""
    return procfs.process(pid).threads > 1 and _first_call(pid) == "poll"


def test_ctrl_c_ends_the_window_and_not_the_verdict(sleeper):
    with subprocess.Popen(
        [sys.executable, "-m", "pellucid", "why", str(sleeper.pid)], stdout=subprocess.PIPE, text=True
    ) as why:
        until(lambda: _watches(why.pid) or why.poll() is not None, 60)
        why.send_signal(signal.SIGINT)
        told = why.stdout.read()
    assert why.returncode == 0
    assert "sleeps" in told
    assert "interrupted after" in told


def test_a_look_that_fails_is_a_gap_and_leaves_the_others():
    process = procfs.process(os.getpid())

    def gone(process, window):
        raise NoSuchProcess.ended(process.pid, "watch it")

    looks = (LongerLook("calls", "its errors", gone),)
    with Watching(process, 0.05, looks) as watching:
        over_time, gaps = watching.collect()
    assert over_time.calls is None
    assert [gap.what for gap in gaps] == ["its errors"]
    assert not over_time.gaps

    def broken(process, window):
        raise ZeroDivisionError

    with (
        Watching(process, 0.05, (LongerLook("calls", "its errors", broken),)) as watching,
        pytest.raises(ZeroDivisionError),
    ):
        watching.collect()

    def endless(process, window):
        time.sleep(2)

    with Watching(process, 0.05, (LongerLook("calls", "its errors", endless),)) as watching:
        _, gaps = watching.collect()
    assert gaps == (Gap("its errors", "the look did not end within 1 s of its window"),)


def test_memory_that_grows_and_what_of_it(target):
    for seconds in (6, 18, 54):  # on a crowded machine two looks at the heap, one with its references, take their time
        process, _ = target(OURS, "leaks.py", "class-attribute")
        seen = snapshot(process.pid, watch_s=seconds)
        process.kill()
        memory = seen.over_time.memory
        if memory is not None and memory.suspects:
            break
        assert memory is None or memory.types or memory.why_no_types, "growth that showed at once was not looked at"
    told = next((one for one in diagnose(seen) if one.rule == "memory-grows"), None)
    assert told is not None, (seen.over_time.memory, seen.gaps)
    assert "Session objects become more" in told.title
    assert "They hang on class Registry → _cache (dict)" in told.sentence


def test_growth_is_told_where_a_look_at_the_heap_takes_all_of_the_time(sleeper, monkeypatch):
    def slow(pid, **_):
        time.sleep(1)
        raise TooSlow(1.0)

    monkeypatch.setattr(watched_memory, "what_grows", slow)
    monkeypatch.setattr(watched_memory, "_grows", lambda _: True)
    growth = watched_memory.watch(procfs.process(sleeper.pid), Window(0.95)).value
    assert growth.at_s[-1] >= 1, "how much it is by then is not lost"
    assert growth.why_no_types.startswith("one look at it took 1.0 s")


def test_memory_that_holds_still(target):
    process, _ = target(OURS, "leaks.py", "mmap")
    seen = snapshot(process.pid, watch_s=1)
    assert "memory-grows" not in {one.rule for one in diagnose(seen)}
    assert not seen.over_time.memory.types, "no census is made without a reason"
