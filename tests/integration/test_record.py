"""`pellucid record` and `replay` on real processes: what was seen is the same afterwards, ends are known, and a kill at any moment loses little."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from pellucid.diagnose.engine import diagnose
from pellucid.kernel import exits
from pellucid.model.errors import NoSuchProcess, NotPermitted, UsageError
from pellucid.model.hot import hottest
from pellucid.present.cli.replay import command as replay
from pellucid.recording import looks, past, schema
from pellucid.recording.newcomers import Newcomers, leads
from pellucid.recording.reading import MEASURES, Recording
from pellucid.recording.recorder import Asked, record
from pellucid.recording.store import Store
from tests import interpreters
from tests.conftest import TARGETS
from tests.nobody import as_nobody
from tests.settling import settled, until

PYTHON = interpreters.Interpreter("3.11", sys.executable)
PELLUCID = [sys.executable, "-m", "pellucid"]


def run(*arguments, status=0, **options):
    ended = subprocess.run(
        [*PELLUCID, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **options
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.returncode == status, (ended.stdout, ended.stderr)
    return ended.stdout if status == 0 else ended.stderr


def replayed(*arguments):
    """As `run("replay", ...)`, in this process."""
    ended = CliRunner().invoke(replay, [str(each) for each in arguments], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


class Recorder:
    """A recorder in a thread of this process, which a test watches by the file that it writes."""

    def __init__(self, path, deaths=lambda: (), **asked):
        self.path = str(path)
        self._deaths = deaths
        self._stop = threading.Event()
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(Asked(**asked),))

    def _run(self, asked):
        try:
            self.done = record(self.path, asked, self._stop.is_set, deaths=self._deaths)
        except BaseException as error:
            self._error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)
        if self._error is not None:
            raise self._error

    def seen(self, good):
        """Wait until `good(recording)` holds, of what is on the disk."""

        def look():
            if self._error is not None:
                raise self._error
            try:
                with Recording(self.path) as recording:
                    return good(recording)
            except UsageError:  # it is not there yet
                return None

        return until(look)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A recording of `states.py lock`, which was killed: MainThread sleeps under a lock that payer wants."""
    path = tmp_path_factory.mktemp("record") / "lock.recording"
    often = tuple(replace(kind, least_s=1.0) for kind in looks.KINDS)
    kinds, looks.KINDS = looks.KINDS, often
    process = subprocess.Popen([sys.executable, str(TARGETS / "states.py"), "lock"], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        settled(process.pid)
        with Recorder(path, pids=(process.pid,)) as recorder:
            recorder.seen(
                lambda it: (
                    any(each.samples > 30 for each in it.processes())
                    and it.findings()
                    and len(it.memory_samples(1, *it.span())) > 3
                    and it.memory_map(1, it.span()[1])
                    and any(until > at for at, until in it.looks(1, "gc", *it.span()))
                    and it.snapshot(1, it.span()[1])[0] > it.snapshot(1, it.span()[1])[1].taken_at + 1
                )
            )
            process.kill()
            recorder.seen(lambda it: it.processes()[0].death)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        looks.KINDS = kinds
    return str(path), process.pid


def test_the_end_is_known_with_its_signal_and_the_last_look(recorded):
    path, pid = recorded
    with Recording(path) as recording:
        (process,) = recording.processes()
        assert process.process.pid == pid
        assert process.asked
        assert process.death.signal == "SIGKILL"
        assert 0 <= process.death.at - process.death.last_look_at < 30
        found = past.stacks(recording, process, process.last_at)
    main, payer = found.threads
    assert main.frames[0].function == "lock"
    assert payer.frames[0].function == "pay"
    assert payer.wait is not None
    assert payer.wait.holders[0].name == "MainThread"


def test_why_says_of_the_past_what_it_said_then(recorded):
    path, _ = recorded
    with Recording(path) as recording:
        (process,) = recording.processes()
        seen = past.snapshot(recording, process.key, process.last_at)
        (kept,) = (each for each in recording.findings(process.key) if "payer waits for" in each.title)
    assert any("payer waits for" in finding.title for finding in diagnose(seen))
    assert kept.first_at <= kept.last_at <= kept.ended_at == process.death.at


def test_the_profile_of_the_past_has_the_time_that_passed(recorded):
    path, _ = recorded
    with Recording(path) as recording:
        (process,) = recording.processes()
        whole = past.profile(recording, (process,), process.first_at, process.last_at)
        part = past.profile(recording, (process,), process.last_at - 1, process.last_at)
    slept = {track.name: sum(run.weight_ns for run in track.runs) / 1e9 for track in whole.tracks}
    assert set(slept) == {"MainThread", "payer"}
    for track in (*whole.tracks, *part.tracks):
        assert {run.state for run in track.runs} <= {"waiting", "unknown"}
    # Samples that came too late are missing; no time is told twice.
    assert 1 < slept["payer"] <= (process.last_at - process.first_at) * 1.2
    assert all(sum(run.samples for run in track.runs) <= 13 for track in part.tracks)


def test_numbers_over_time(recorded):
    path, _ = recorded
    with Recording(path) as recording:
        (process,) = recording.processes()
        series = {
            each.measure: each
            for each in recording.series(process.key, MEASURES, process.first_at, process.last_at, points=50)
        }
        seen = past.memory(recording, process, process.first_at, process.last_at)
        assert recording.cost().wall_s > 0
    assert set(series) == set(MEASURES)
    assert all(value > 1 << 20 for value in series["rss_bytes"].values)
    assert all(value == 2 for value in series["threads"].values)
    assert all(value is None or 0 <= value < 1 for value in series["cpu"].values)
    assert seen.last.known_bytes > 1 << 20
    assert list(series["rss_bytes"].at) == sorted(series["rss_bytes"].at)


def test_every_command_runs_on_the_past(recorded):
    path, pid = recorded
    assert "killed by SIGKILL" in replayed(path)
    held = json.loads(replayed(path, "--json"))
    assert held["processes"][0]["death"]["signal"] == "SIGKILL"
    assert "payer waits for" in replayed(path, "why")
    assert f"pellucid replay {path} stacks {pid}" in replayed(path, "why")
    live = {"findings", "threads", "gaps", "process", "taken_at", "schema"}
    assert live <= set(json.loads(replayed(path, "why", "--json", "--at=-1s")))
    assert "lock.<locals>.pay" in replayed(path, "stacks", pid)
    assert "held by MainThread" in replayed(path, "waits")
    assert "asleep:" in replayed(path, "profile", "--last", "3s")
    assert "private memory" in replayed(path, "memory", "states.py")
    assert "generation 0" in replayed(path, "gc")
    assert "char-device" in replayed(path, "files") or "pipe" in replayed(path, "files")
    assert "no sockets" in replayed(path, "sockets")


def test_a_profile_of_the_past_in_a_format(recorded, tmp_path):
    path, _ = recorded
    run("replay", path, "profile", "--last", "1h", "-o", tmp_path / "x.speedscope.json")
    told = json.loads((tmp_path / "x.speedscope.json").read_text())
    assert "pay" in json.dumps(told["shared"]["frames"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("why", "999999"), "no process of the recording fits"),
        (("why", "--at", "soon"), "it is none of: 12:03"),
        (("why", "--at", "2001-01-01 00:00"), "the recording begins at"),
        (("--at", "12:03"), "--at belongs to"),
        (("profile", "-o", "x.nothing"), "its name does not say a format"),
        (("why", "--last", "soon"), "is no duration"),
    ],
)
def test_what_can_not_be_told_is_said(recorded, words, said):
    assert said in run("replay", recorded[0], *words, status=2)


def test_a_file_that_is_no_recording(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("dear diary, " * 1000)
    assert "it is no recording of pellucid" in run("replay", text, status=2)
    assert "it is no recording of pellucid" in run("record", os.getpid(), "-o", text, status=2)
    assert "it is no recording of pellucid" in run("record", os.getpid(), "-o", text, "--force", status=2)
    assert text.read_text().startswith("dear diary")
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    assert "it is no recording of pellucid" in run("replay", other, status=2)
    assert "ENOENT" in run("replay", tmp_path / "nothing", status=2)
    assert "directory" in run("replay", tmp_path, status=2) or "file" in run("replay", tmp_path, status=2)


def test_a_recording_of_a_newer_pellucid_is_refused(tmp_path):
    path = str(tmp_path / "newer.recording")
    schema.create(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    for look in (schema.open_to_read, schema.create):
        with pytest.raises(UsageError) as refused:
            look(path)
        assert "written by a newer pellucid" in refused.value.said


def test_a_damaged_recording_is_refused_in_words(recorded, tmp_path):
    content = bytearray(Path(recorded[0]).read_bytes())
    for at in range(4096, len(content), 97):
        content[at] ^= 0x55
    broken = tmp_path / "broken.recording"
    broken.write_bytes(content)
    assert "damaged" in run("replay", broken, status=2)


def test_two_recorders_do_not_write_to_one_file(tmp_path, target):
    process, _ = target(PYTHON, "states.py", "sleep")
    path = tmp_path / "one.recording"
    with Recorder(path, pids=(process.pid,)) as first:
        first.seen(lambda it: it.processes())
        with pytest.raises(UsageError, match="another recorder writes to it"):
            record(str(path), Asked(pids=(process.pid,), seconds=1))


def test_a_recording_goes_on_under_the_same_number(tmp_path, target):
    process, _ = target(PYTHON, "states.py", "sleep")
    path = tmp_path / "twice.recording"
    for times in (1, 2):
        with Recorder(path, pids=(process.pid,)) as recorder:
            recorder.seen(lambda it, times=times: len(it.sessions()) == times and it.processes())
    with Recording(path) as recording:
        (one,) = recording.processes()
        assert len(recording.sessions()) == 2
        assert one.death is None
        assert all(session.ended_at is not None for session in recording.sessions())
    assert not os.path.exists(f"{path}-wal")


def told(process):
    """Its end is known, with its status."""
    return process.death is not None and process.death.status is not None


def test_children_are_followed_and_their_ends_told(tmp_path):
    source = "import subprocess, sys, time\nwhile True: subprocess.run([sys.executable, '-c', 'import time; time.sleep(1.5); raise SystemExit(7)'])"
    parent = subprocess.Popen([sys.executable, "-c", source])
    try:
        with Recorder(tmp_path / "family.recording", pids=(parent.pid,)) as recorder:
            # Before Linux 6.15 the status of a child is known only where it was asked for before the parent collected it.
            child = recorder.seen(lambda it: next((one for one in it.processes() if not one.asked and told(one)), None))
    finally:
        parent.kill()
        parent.wait()
    assert child.death.status == 7
    assert child.process.ppid == parent.pid


def test_how_one_ended_is_taken_from_its_parent_where_the_kernel_does_not_tell_it_any_more(tmp_path, monkeypatch):
    """Before Linux 6.15 nobody can ask for the status of a process that its parent has collected."""
    monkeypatch.setattr(exits.Life, "status", lambda life: None)
    told = []
    path = tmp_path / "told.recording"
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    def deaths():
        taken = list(told)
        told.clear()
        return taken

    try:
        with Recorder(path, deaths=deaths, pids=(process.pid, other.pid)) as recorder:
            recorder.seen(lambda it: len(it.processes()) == 2)
            told.append((other.pid, 0))  # of an earlier process with its number: this one lives
            process.kill()
            process.wait()
            recorder.seen(lambda it: it.processes()[0].death)
            told.append((process.pid, signal.SIGKILL))
            recorder.seen(lambda it: it.processes()[0].death.signal)
            other.kill()
            other.wait()
            recorder.seen(lambda it: it.processes()[1].death)
    finally:
        for one in (process, other):
            one.kill()
            one.wait()
    with Recording(str(path)) as recording:
        first, second = (one.death for one in recording.processes())
    assert (first.signal, first.status, first.known_by) == ("SIGKILL", None, "its parent (wait)")
    assert (second.signal, second.status, second.known_by) == (None, None, "")


def test_a_kill_at_any_moment_leaves_a_recording_that_can_be_read(tmp_path, target):
    process, _ = target(PYTHON, "states.py", "spin")
    path = tmp_path / "killed.recording"
    samples = 0
    for pause in (0.3, 2.3):
        recorder = subprocess.Popen([*PELLUCID, "record", str(process.pid), "-o", str(path)], stderr=subprocess.DEVNULL)
        until(path.exists)
        time.sleep(pause)
        recorder.kill()
        recorder.wait()
        with Recording(path) as recording:
            samples = max(samples, *(each.samples for each in recording.processes()), 0, 0)
            recording.report()
    with Recorder(path, pids=(process.pid,)) as again:
        again.seen(lambda it: it.processes() and it.processes()[0].samples > samples + 5)
    with Recording(path) as recording:
        (one,) = recording.processes()
        profile = past.profile(recording, (one,), one.first_at, one.last_at)
        assert hottest(profile)[0].function == "hot"


def test_the_oldest_makes_room(tmp_path):
    path = tmp_path / "ring.recording"
    with Store(str(path), 1 << 20) as store:
        for number in range(4000):
            store.add(
                "INSERT INTO look VALUES (?, 1, 'why', ?, ?, ?)", store.serial(), number, number, os.urandom(2000)
            )
            if number % 20 == 0:
                store.flush(wait_s=10)
            if store.segment_is_full():
                store.begin_segment()
    assert os.path.getsize(path) < 2 << 20
    with Recording(str(path)) as recording:
        kept = [at for at, _ in recording.looks(1, "why", 0, 4000)]
    assert kept[-1] == 3999
    assert kept == [float(number) for number in range(int(kept[0]), 4000)]
    assert 100 < len(kept) < 600


def test_who_can_not_be_recorded_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(NoSuchProcess):
        record(str(tmp_path / "a.recording"), Asked(pids=(2**22 + 1,), seconds=1))
    assert "no process" in run("record", 2**22 + 1, "-o", tmp_path / "b.recording", status=3)
    assert not os.listdir(tmp_path)
    assert "Name what to record" in run("record", status=2)
    assert "is no size" in run("record", os.getpid(), "--size", "7", status=2)


def test_a_command_is_recorded_from_its_beginning_to_its_end(tmp_path):
    path = tmp_path / "command.recording"
    source = "import sys, time\nuntil = time.monotonic() + 1.5\nwhile time.monotonic() < until: sum(range(999))\nprint('work done')\nsys.exit(3)"
    line = [*PELLUCID, "record", "-o", str(path), "--", sys.executable, "-c", source]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3, ended.stderr
    assert "work done\n" in ended.stdout
    assert f"replay {path}" in ended.stdout
    with Recording(str(path)) as recording:
        (one,) = recording.processes()
    assert one.death.status == 3
    assert one.samples > 2
    assert one.process.command[:2] == (sys.executable, "-c")


def test_a_command_that_is_no_python_is_recorded_by_what_the_kernel_says(tmp_path):
    path = tmp_path / "sh.recording"
    ended = subprocess.run(
        [*PELLUCID, "record", "--json", "-o", str(path), "--", "sh", "-c", "echo out; kill -9 $$"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 128 + signal.SIGKILL
    assert "out\n" in ended.stderr
    (told,) = json.loads(ended.stdout)["processes"]
    assert (told["process"]["name"], told["death"]["signal"]) == ("sh", "SIGKILL")
    assert "there is no such command" in run("record", "--", "no-such-program", status=2)


def test_what_goes_wrong_is_all_that_is_said(tmp_path):
    for words, status in (((2**22 + 1,), 3), ((os.getpid(), "-o", tmp_path), 2)):
        said = run("record", *words, "-d", "1", status=status)
        assert said.startswith("pellucid: can't "), said


def test_without_the_right_to_look_the_remedy_is_said(directory, target):
    process, _ = target(PYTHON, "states.py", "sleep")

    def look():
        with pytest.raises(NotPermitted):
            record("/tmp/never.recording", Asked(pids=(process.pid,), seconds=1))

    as_nobody(look)


def test_ctrl_c_ends_it_and_keeps_what_was_seen(tmp_path, target):
    process, _ = target(PYTHON, "states.py", "sleep")
    path = tmp_path / "interrupted.recording"
    recorder = subprocess.Popen(
        [*PELLUCID, "record", str(process.pid), "-o", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def begun():
        with contextlib.suppress(UsageError), Recording(str(path)) as recording:
            return recording.sessions()

    until(begun)
    recorder.send_signal(signal.SIGINT)
    told, _ = recorder.communicate(timeout=30)
    assert recorder.returncode == 0
    assert "of a core per process" in told
    with Recording(str(path)) as recording:
        assert recording.sessions()[0].ended_at is not None


def test_a_wait_becomes_worse_though_nothing_is_looked_at_again(recorded):
    """The process rests from the first second on: what is kept of it is one look, judged again as of later."""
    path, _ = recorded
    with Recording(path) as recording:
        (process,) = recording.processes()
        until, seen = recording.snapshot(process.key, process.last_at)
        now = past.snapshot(recording, process.key, process.last_at)
    assert until - seen.taken_at > 1
    before, after = ({thread.name: thread.wait.since_s for thread in each.threads} for each in (seen, now))
    assert after["payer"] - before["payer"] == pytest.approx(min(until, process.last_at) - seen.taken_at, abs=0.01)


def test_a_jvm_is_recorded_by_its_counters_and_looks(tmp_path, java):
    with java("States", "deadlock") as jvm, Recorder(tmp_path / "jvm.recording", pids=(jvm.pid,)) as recorder:
        process = recorder.seen(
            lambda it: (
                it.processes()
                and it.snapshot(1, it.span()[1])
                and it.java(1, it.span()[1])
                and it.memory_samples(1, *it.span())
                and it.processes()[0]
            )
        )
        with Recording(recorder.path) as recording:
            _, seen = recording.snapshot(process.key, process.last_at)
            _, collector = recording.java(process.key, process.last_at)
    assert any(finding.rule == "deadlock" for finding in diagnose(seen))
    assert collector.generations
    assert any("JVM has to stop its threads" in gap.why for gap in process.gaps)
    said = run("replay", recorder.path, "profile", status=2)
    assert "has to stop its threads" in said and f"stacks {jvm.pid}" in said, (
        "an empty profile would say that nothing ran"
    )


def test_who_has_come_is_told_once_without_a_look_at_everybody():
    newcomers = Newcomers()
    assert {1, os.getpid()} <= set(newcomers.pids())
    told, child = set(), subprocess.Popen(["sleep", "60"])
    try:
        told.update(newcomers.pids())
        assert child.pid in told
        assert os.getpid() not in told
        assert child.pid not in newcomers.pids()
        newcomers._youngest = (
            2**22 + 1
        )  # as before the numbers begin again: one that was known may be another process now
        assert {child.pid, os.getpid()} <= set(newcomers.pids())
    finally:
        child.kill()
        child.wait()
    ready, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (ready.set(), done.wait()))
    thread.start()
    ready.wait()
    assert leads(os.getpid())
    assert not leads(thread.native_id)
    done.set()
    thread.join()


SHIM = """#!/bin/sh
sleep 3
exec {python} -c "import os, select
while not select.select([0], [], [], 0.01)[0]:
    for _ in range(50): os.getppid()
"
"""


def test_a_shell_that_becomes_a_python_is_recorded_as_both_with_its_calls(tmp_path):
    """As pyenv's shims are: for a while there is no Python, and then there is one under the same pid."""
    shim, path = tmp_path / "shim", tmp_path / "shim.recording"
    shim.write_text(SHIM.format(python=sys.executable))
    shim.chmod(0o755)
    line = [*PELLUCID, "record", "--syscalls", "-o", str(path), "--", str(shim)]
    recorder = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sampled():
        with contextlib.suppress(UsageError), Recording(str(path)) as recording:
            return any(each.asked and each.samples > 2 for each in recording.processes())

    try:
        until(sampled)
        recorder.stdin.close()
        assert recorder.wait(60) == 0
    finally:
        recorder.kill()
        recorder.wait()
    with Recording(str(path)) as recording:
        one = next(each for each in recording.processes() if each.asked)
    assert one.death.status == 0
    assert one.process.runtime.startswith("CPython")
    if os.geteuid() or os.uname().machine != "x86_64":
        pytest.skip("calls are counted by BPF, for root on x86-64")
    told = json.loads(replayed(path, "syscalls", one.process.pid, "--json"))["summary"]
    calls = {each["name"]: each["calls"] for each in told}
    assert calls["execve"] >= 1
    assert calls["getppid"] > 50
    assert "getppid" in replayed(path, "syscalls", one.process.pid)


def test_who_may_open_few_files_records_fewer_processes(tmp_path):
    program = "import os, time\nprint('ready', flush=True)\nany(not os.fork() for _ in range(30))\ntime.sleep(600)"
    path = tmp_path / "few.recording"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True) as target:
        try:
            target.stdout.readline()
            limited = [
                "prlimit",
                "--nofile=150:150",
                *PELLUCID,
                "record",
                str(target.pid),
                "-o",
                str(path),
                "--for",
                "4",
            ]
            ended = subprocess.run(limited, capture_output=True, text=True, timeout=120, check=False)
        finally:
            os.killpg(target.pid, signal.SIGKILL)
    assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
    assert "as many were recorded as can be" in ended.stdout
    with Recording(str(path)) as recording:
        assert 1 < len(recording.processes()) <= 150 // 12


def test_calls_that_were_not_counted_are_not_told_as_none(recorded):
    assert "they were not counted" in run("replay", recorded[0], "syscalls", status=2)
