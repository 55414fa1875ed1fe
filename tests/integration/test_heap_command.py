"""`pellucid heap` as a person and a program use it: the screen, JSON, files, comparisons, and what goes wrong."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pellucid.kernel.pause import Pause
from tests import interpreters
from tests.conftest import TARGETS

PELLUCID = [sys.executable, "-m", "pellucid"]


def run(*arguments):
    return subprocess.run([*PELLUCID, *map(str, arguments)], capture_output=True, text=True, timeout=100, check=False)


def state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


@pytest.fixture
def leaking():
    started = []

    def start(which="class_attribute", version="3.13", **options):
        process = subprocess.Popen(
            [interpreters.get(version).path, str(TARGETS / "heap_leaks.py"), which],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def grow(process):
    process.stdin.write("more\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def test_a_process_on_the_screen_and_in_json_then_as_files_that_are_compared(leaking, tmp_path):
    process = leaking()
    before, after = tmp_path / "before.heap", tmp_path / "after.heap"
    shown = run("heap", process.pid, "--save", before)
    assert shown.returncode == 0, shown.stderr
    assert "will stand still while its memory is copied" in shown.stderr
    assert "it stood still for " in shown.stdout
    assert "% of its private memory" in shown.stdout.splitlines()[1], "coverage comes first"
    assert "class Registry → _cache (dict) → 4,000 Session retains" in shown.stdout
    assert before.stat().st_mode & 0o777 == 0o600
    assert b"u3999" not in before.read_bytes(), "no content of any object is in the file"
    refused = run("heap", process.pid, "--save", before)
    assert refused.returncode == 2
    assert "there already" in refused.stderr
    assert "stand still" not in refused.stderr, "nothing is stopped for a file that can't be written"

    grow(process)
    told = run("heap", process.pid, "--json", "--no-pause", "--save", after)
    document = json.loads(told.stdout)
    assert {"schema", "process", "taken_at", "types", "total_bytes", "coverage", "suspects", "gaps"} <= document.keys()
    rows = {row["type"]: row for row in document["types"]}
    assert rows["Session"]["count"] == 8000
    assert document["census"]["paused_s"] is None
    assert sum(row["bytes"] for row in document["types"]) == document["total_bytes"]
    assert state(process.pid) != "T"

    again = json.loads(run("heap", after, "--json").stdout)
    assert again["types"] == document["types"]
    assert [one["sentence"] for one in again["suspects"]] == [one["sentence"] for one in document["suspects"]]
    asked = run("heap", after, "--type", "Session", "-n", "1").stdout
    assert "8,000 Session of 8,000 in all: class Registry → _cache (dict) (they retain" in asked
    assert "there is no object of a type Nobody" in run("heap", after, "--type", "Nobody").stdout
    grown = run("heap", "diff", before, after)
    assert grown.returncode == 0, grown.stderr
    assert "class Registry → _cache (dict) → 8,000 Session" in grown.stdout
    assert "+4,000" in grown.stdout
    live = json.loads(run("heap", "diff", before, process.pid, "--json", "--no-pause").stdout)
    assert next(row for row in live["types"] if row["type"] == "Session")["grown_count"] == 4000
    assert run("heap", "diff", after, before).returncode == 2, "the second is older than the first"
    assert run("heap", "diff", before).returncode == 2
    for command in ("heap", "heap diff"):
        assert json.loads(run("schema", command).stdout)


def test_three_looks_at_a_process_that_grows_by_itself():
    program = "import time\nclass Job: pass\njobs = []\nprint('ready', flush=True)\nwhile True:\n jobs += [Job() for _ in range(500)]; time.sleep(0.02)"
    with subprocess.Popen([interpreters.get("3.12").path, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            told = run("heap", process.pid, "--every", "1", "--looks", "3", "--no-pause")
            assert told.returncode == 0, told.stderr
            assert "module __main__ → jobs (list) → " in told.stdout
            assert told.stdout.count("look ") >= 1
        finally:
            process.kill()


@pytest.mark.parametrize("where", ["front", "header", "arrays", "end"])
def test_a_damaged_file_is_refused_with_what_is_wrong(leaking, tmp_path, where):
    path = tmp_path / "some.heap"
    assert run("heap", leaking("imports").pid, "--no-pause", "--save", path).returncode == 0
    raw = bytearray(path.read_bytes())
    if where == "end":
        raw = raw[:-1000]
    else:
        raw[{"front": 2, "header": 200, "arrays": len(raw) // 2}[where]] ^= 0xFF
    path.write_bytes(raw)
    told = run("heap", path)
    assert told.returncode == 2
    assert "Traceback" not in told.stderr
    assert {"front": "does not begin", "header": "head is damaged", "arrays": "damaged", "end": "cut off"}[
        where
    ] in told.stderr


def test_what_is_no_snapshot_no_process_and_no_python(tmp_path):
    (tmp_path / "text").write_text("hello")
    assert "ends before its head" in run("heap", tmp_path / "text").stderr
    assert run("heap", tmp_path / "nothing").returncode == 2
    assert run("heap", "4000000").returncode == 3
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            told = run("heap", sleeper.pid)
            assert told.returncode == 5
            assert state(sleeper.pid) != "T"
        finally:
            sleeper.kill()


@pytest.mark.parametrize("version", ["3.11", "3.13", "3.15"])
def test_what_else_fills_a_heap_and_names_that_mean_harm(leaking, version):
    process = subprocess.Popen(
        [interpreters.get(version).path, str(TARGETS / "heap_waste.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "ready\n"
            shown = run("heap", process.pid)
        finally:
            process.kill()
    told = shown.stdout
    assert "one bytes has 8.0 MiB" in told
    assert ": module __main__ → blob (bytes)" in told
    assert "750 of them are one text of 72 bytes" in told
    assert "dict objects are empty (of 4" in told
    assert "mostly Ring) are cycles that wait for the collector" in told
    assert "3,000 Forgotten of 3,000 in all have more references than the heap has to them" in told
    assert "1 object lies in gc.garbage (Kept, ...)" in told
    assert "\x1b" not in told + shown.stderr
    assert "\u202e" not in told + shown.stderr
    assert "\\x1b[31mEvil\\u202e" in told


def test_who_may_not_read_the_process_is_told_why_and_it_is_not_stopped(leaking):
    from pellucid.model.errors import NotPermitted
    from pellucid.observe import heap_look
    from tests.nobody import as_nobody

    process = leaking()

    def refused():
        with pytest.raises(NotPermitted):
            heap_look.look(process.pid, pause=True)

    as_nobody(refused)
    assert state(process.pid) != "T"


def test_with_too_little_memory_for_a_copy_the_types_are_counted_in_pieces(leaking):
    process = leaking()
    told = run("heap", process.pid, "--limit", "6", "--json")
    assert told.returncode == 0
    document = json.loads(told.stdout)
    assert next(row["count"] for row in document["types"] if row["type"] == "Session") == 4000
    assert document["suspects"] == []
    assert any("counted in pieces" in gap["why"] for gap in document["gaps"])
    assert run("heap", process.pid, "--limit", "6", "--save", "/nonexistent/file").returncode == 6


def test_a_process_that_was_stopped_before_stays_so(leaking):
    process = leaking()
    process.send_signal(signal.SIGSTOP)
    while state(process.pid) != "T":
        time.sleep(0.01)
    assert run("heap", process.pid, "--json").returncode == 0
    assert state(process.pid) == "T"
    process.send_signal(signal.SIGCONT)


def test_who_looks_comes_first_for_the_pause_and_is_as_before_after_it():
    """Also where that is not permitted, and where the process was stopped before."""
    before = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            for short in (True, False):
                with Pause(process.pid, short=short) as pause:
                    assert state(process.pid) == "T"
                    assert os.sched_getscheduler(0) in ({os.SCHED_FIFO, before[0]} if short else {before[0]})
                assert not pause.already
                assert (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)) == before
            process.send_signal(signal.SIGSTOP)
            while state(process.pid) != "T":
                time.sleep(0.01)
            with Pause(process.pid, short=True) as pause:
                assert pause.already
            assert (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)) == before
            assert state(process.pid) == "T"
        finally:
            process.kill()


def test_the_process_goes_on_though_pellucid_is_killed_while_it_stands_still():
    program = "x = b'z' * (1 << 29)\nprint('ready', flush=True)\nimport time\nwhile True: time.sleep(0.001)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            for _ in range(5):  # on a busy machine its moment may be missed
                looker = subprocess.Popen(
                    [*PELLUCID, "heap", str(process.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                while state(process.pid) != "T" and looker.poll() is None:
                    pass
                if looker.poll() is None:
                    break
            else:
                pytest.fail("it was never seen standing still")
            looker.kill()
            looker.wait()
            deadline = time.monotonic() + 60
            while state(process.pid) == "T":
                assert time.monotonic() < deadline, "it was left standing"
                time.sleep(0.01)
        finally:
            process.kill()


def test_a_process_that_ends_or_becomes_another_program_during_the_copy():
    for last in ("os._exit(0)", "os.execv('/bin/sleep', ['sleep', '30'])"):
        program = f"import os, time\nx = [b'z' * (1 << 20) for _ in range(500)]\nprint('ready', flush=True)\ntime.sleep(0.8)\n{last}"
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout.readline() == "ready\n"
                seen = set()
                for _ in range(20):
                    told = run("heap", process.pid, "--no-pause", "--json")
                    assert "Traceback" not in told.stderr
                    seen.add(told.returncode)
                    if told.returncode:
                        break
                assert seen <= {0, 3, 5}, seen
                assert seen & {3, 5}
            finally:
                process.kill()


@pytest.mark.parametrize(
    ("allocator", "version"),
    [("malloc", "3.11"), ("debug", "3.12"), ("malloc_debug", "3.13"), ("debug", "3.15"), ("malloc", "3.14")],
)
def test_an_allocator_that_is_not_the_usual_one_is_read_as_well(leaking, allocator, version):
    process = leaking(version=version, env={**os.environ, "PYTHONMALLOC": allocator})
    document = json.loads(run("heap", process.pid, "--json").stdout)
    (count,) = (row["count"] for row in document["types"] if row["type"] == "Session")
    assert count - 4000 in (0, 1)
    assert any("class Registry → _cache (dict)" in one["sentence"] for one in document["suspects"])
    assert document["coverage"] > 0.3
    assert any("PYTHONMALLOC=malloc" in gap["why"] for gap in document["gaps"]) == allocator.startswith("malloc")


FREE_THREADED = """
import ctypes, time
runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
ctypes.c_uint64.from_address(runtime + 16).value = 1  # behind cookie and version: Include/internal/pycore_debug_offsets.h
kept = [bytearray(1000) for _ in range(20_000)]
print("ready", flush=True)
time.sleep(60)
"""
"""Says of itself what a free-threaded build says: its objects can't be read, its memory can."""


@pytest.mark.parametrize("version", ["3.13", "3.15"])
def test_of_a_free_threaded_build_all_is_told_but_its_objects(version):
    line = [interpreters.get(version).path, "-c", FREE_THREADED]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            refused = run("heap", process.pid)
            memory = json.loads(run("memory", process.pid, "--json").stdout)
        finally:
            process.kill()
    assert refused.returncode == 5
    assert "a free-threaded build" in refused.stderr
    assert f"try: pellucid memory {process.pid}" in refused.stderr
    assert "stand still" not in refused.stderr, "it is not stopped"
    rows = {part["kind"]: part for part in memory["table"]["parts"]}
    assert rows["malloc-used"]["resident_bytes"] > 20_000_000
    assert any("a free-threaded build" in gap["why"] for gap in memory["gaps"])
