"""`pellucid profile` on real processes: shares that the target itself has measured, modes, children, faults."""

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from pellucid.kernel import procfs
from pellucid.model.errors import NotPermitted
from pellucid.model.hot import hottest
from pellucid.observe.sampler import Asked, sample
from pellucid.runtimes import cpython
from tests import interpreters, jvms
from tests.conftest import TARGETS
from tests.integration.test_moving_stacks import impossible
from tests.nobody import as_nobody

each_python = pytest.mark.parametrize("python", interpreters.each())
ALL_OF_AWAITS = {"main", "outer", "both", "left", "right", "spin", "evens", "numbers"}
MOST_OF_AWAITS = 4
PELLUCID = [sys.executable, "-m", "pellucid", "profile"]


def profiled(pid, **asked):
    return sample(procfs.process(pid), Asked(**asked))


def run(*arguments, **options):
    ended = subprocess.run(
        [*PELLUCID, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **options
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


def until(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sampled(ours, pid, programs=1):
    """Wait until `ours` has attached `pid`, as the so manieth program that it is, and it has then run for a while."""

    def reads():
        folder = f"/proc/{ours}/fd"
        links = []
        for fd in os.listdir(folder):
            with contextlib.suppress(OSError):
                links.append(os.readlink(f"{folder}/{fd}"))
        return links.count(f"/proc/{pid}/mem") >= programs

    until(reads)
    used = procfs.stat(pid).cpu_s
    until(lambda: procfs.stat(pid).cpu_s > used + 0.05)


def attached(ours, pid):
    """Wait until our process `ours` has begun to read `pid`, and for some samples."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            folder = f"/proc/{ours.pid}/fd"
            if f"/proc/{pid}/mem" in [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]:
                break
        time.sleep(0.02)
    time.sleep(0.7)


def consistent(profile):
    """What must hold for every profile."""
    taking = profile.taking
    assert taking.asked == taking.taken + taking.missed + taking.failed
    for number, node in enumerate(profile.stacks):
        assert node.parent < number
        assert 0 <= node.frame < len(profile.frames)
    for track in profile.tracks:
        assert sum(run.samples for run in track.runs) <= taking.taken
        assert all(one.at_ns < two.at_ns for one, two in zip(track.runs, track.runs[1:], strict=False))


@each_python
def test_shares_are_those_that_the_target_measures(python, target):
    """Within 3 points of its own clock: by wall time on some versions, by CPU time on the others."""
    process, _ = target(python, "shares.py")
    before = json.loads(process.stdout.readline())
    mode = "cpu" if python.minor % 2 else "wall"
    found = Counter()
    for _ in range(15):  # a busy machine leaves out many, and what is left says less
        profile = profiled(process.pid, rate_hz=1000, seconds=2, mode=mode)
        consistent(profile)
        found += Counter({hot.qualname: hot.total_ns for hot in hottest(profile)})
        time.sleep(0.3)
        after = json.loads(os.read(process.stdout.fileno(), 1 << 20).decode().strip().splitlines()[-1])
        spent = {name: after[mode][name] - before[mode][name] for name in after[mode]}
        whole = sum(found[name] for name in spent)
        apart = {name: found[name] / whole - seconds / sum(spent.values()) for name, seconds in spent.items()}
        if max(map(abs, apart.values())) < 0.03:
            break
    assert max(map(abs, apart.values())) < 0.03, (python.version, mode, apart, profile.taking)
    assert "CPython 3." + str(python.minor) in profile.tracks[0].runtime


def stopped(pid, times):
    """The innermost functions of a process that is stopped at `times` random moments."""
    found = Counter()
    with cpython.attach(pid) as runtime:
        for _ in range(times):
            time.sleep(random.uniform(0.0005, 0.0015))
            os.kill(pid, signal.SIGSTOP)
            try:
                while procfs.stat(pid).letter != "T":
                    time.sleep(0.0001)
                (stack,) = runtime.read().stacks
            finally:
                os.kill(pid, signal.SIGCONT)
            found[stack.frames[0].function] += 1
    return found


@each_python
def test_calls_that_never_hold_still_have_the_share_that_a_stopped_process_shows(python, target):
    """And at 1 kHz at most 0.1 % impossible stacks, with 14 frames that stay or with a recursion of 300 that begins anew each time."""
    process, _ = target(python, "ladder.py", "300" if python.minor % 2 else "14")
    reference = stopped(process.pid, 400)
    wrong = whole = moving = 0
    found = Counter()
    for _ in range(4):  # more of them say more, where few were taken, or calls were learnt slowly
        profile = profiled(process.pid, rate_hz=1000, seconds=1)
        consistent(profile)
        for track in profile.tracks:
            for run in track.runs:
                if run.moving:
                    moving += run.samples
                    continue
                frames = profile.frames_of(run.stack)
                whole += run.samples
                wrong += run.samples * bool(impossible(frames))
                found[frames[0].function] += run.samples
        apart = found["sum_of_ten"] / whole - reference["sum_of_ten"] / reference.total()
        if abs(apart) < 0.07 and moving < 0.1 * whole:
            break
    assert whole > 50
    assert wrong <= 1 + whole // 1000, (wrong, whole)
    # 400 stacks are 2.4 points apart by chance; what is only seen in its pauses is 20 to 50 apart.
    assert abs(apart) < 0.15, (found, reference)
    assert moving < 0.25 * whole, (moving, whole)


def test_the_screen_and_the_files(target, tmp_path):
    process, _ = target(interpreters.get("3.13"), "shares.py")
    saved = tmp_path / "a.json"
    ended = run(process.pid, "-d", 0.5, "-o", saved)
    assert ended.returncode == 0, ended.stderr
    assert f"pid {process.pid}" in ended.stdout
    assert "the hottest call path" in ended.stdout
    assert "until (shares.py:" in ended.stdout
    assert "missed" in ended.stdout
    assert "of a CPU" in ended.stdout
    again = run(process.pid, "-d", 0.5, "-o", saved)
    assert again.returncode == 2
    assert "--force" in again.stderr
    document = json.loads(run(process.pid, "-d", 0.5, "--json").stdout)
    assert document["process"]["pid"] == process.pid
    assert document["top"][0]["qualname"] == "until"
    assert 48 <= document["taking"]["asked"] <= 51
    assert run("show", saved).stdout.splitlines()[0] in ended.stdout
    assert run(process.pid, "-d", 0.3, "-o", saved, "--force").returncode == 0
    other = tmp_path / "b.json"
    other.write_bytes(saved.read_bytes())
    differs = run("diff", saved, other)
    assert "no function has another share" in differs.stdout
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.json"], "a passing file was left behind"


def test_ctrl_c_keeps_what_was_seen(target, tmp_path):
    process, _ = target(interpreters.get("3.12"), "shares.py")
    saved = tmp_path / "c.json"
    ours = subprocess.Popen(
        [*PELLUCID, str(process.pid), "-o", str(saved)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with ours:
        attached(ours, process.pid)
        ours.send_signal(signal.SIGINT)
        said, complained = ours.communicate(timeout=30)
    assert ours.returncode == 0, complained
    assert "written to" in said
    assert run("show", saved).returncode == 0
    assert process.poll() is None, "the target goes on"


def test_a_command_and_its_children_of_other_versions(tmp_path):
    """The exit status is the command's own; its children are other interpreters, and it becomes another program by execve.

    The first of them stays for long between its vfork and its execve, in which it has its parent's memory.
    """
    pythons = [python.path for python in interpreters.find() if python.version in interpreters.EXPECTED]
    script, born, stop, last = (tmp_path / name for name in ("family.py", "born", "stop", "last"))
    script.write_text(
        "import os, subprocess, sys, time\n"
        "here = os.path.dirname(sys.argv[0])\n"
        "def busy():\n"
        "    while not os.path.exists(here + '/stop'): pass\n"
        "def wait():\n"
        "    while not os.path.exists(here + '/stop'): time.sleep(0.01)\n"
        "if len(sys.argv) > 1:\n"
        "    folder, name = os.path.split(sys.argv[1])\n"
        "    path = os.get_exec_path\n"
        "    os.get_exec_path = lambda env=None: ['/nowhere'] * 30000 + [folder]\n"
        "    children = [subprocess.Popen([name, sys.argv[0]])]\n"
        "    os.get_exec_path = path\n"
        "    children += [subprocess.Popen([python, sys.argv[0]]) for python in sys.argv[2:]]\n"
        "    open(here + '/born', 'w').write(' '.join(str(child.pid) for child in children) + '.')\n"
        "    wait()\n"
        "    for child in children: child.wait()\n"
        "    os.execv(sys.executable, [sys.executable, '-c', 'import os, sys\\n'\n"
        "      'def last():\\n while not os.path.exists(sys.argv[1]): pass\\nlast()\\nsys.exit(7)', here + '/last'])\n"
        "busy()\n"
    )
    command = [*PELLUCID, "--json", "-r", "200", "--", pythons[0], str(script), *pythons]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ours:
        try:
            until(lambda: born.exists() and born.read_text().endswith("."))
            children = [int(pid) for pid in born.read_text().rstrip(".").split()]
            root = procfs.stat(children[0]).ppid
            for pid in children:
                sampled(ours.pid, pid)
            stop.touch()
            sampled(ours.pid, root, 2)
        finally:
            stop.touch()
            last.touch()
        stdout, stderr = ours.communicate(timeout=60)
    assert ours.returncode == 7, stderr
    document = json.loads(stdout)
    tracks = document["profile"]["tracks"]
    runtimes = {track["runtime"].rpartition(".")[0] for track in tracks}
    assert runtimes == {f"CPython {python.version}" for python in interpreters.find() if python.path in pythons}
    names = {hot["qualname"] for hot in document["top"]}
    assert {"busy", "last"} <= names, "also what it became by execve"
    assert {track["pid"] for track in tracks} == {root, *children}
    assert not document["gaps"]


def test_a_jvm_among_the_children_is_told(java, tmp_path):
    """It would have to stop to tell its stacks, so it is left alone, and how to profile it is said."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys, time\n"
        "java = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "java.stdout.readline()\n"
        "end = time.process_time() + 0.3\n"
        "while time.process_time() < end: pass\n"
        "java.kill()\n"
        "java.wait()\n"
    )
    (classes,) = java.args
    ended = run("--json", "--", interpreters.get("3.13").path, script, jvms.JAVA, "-Xmx64m", "-cp", classes, "States")
    (gap,) = json.loads(ended.stdout)["gaps"]
    assert gap["what"].startswith("the stacks of java")
    assert "JVM" in gap["why"]
    assert gap["remedy"].startswith("pellucid profile ")


def test_native_functions_are_named_without_a_stop(tmp_path):
    """zlib's compression runs in libz below the line that calls it; a thread that sleeps does so in the C library."""
    script = tmp_path / "squeeze.py"
    script.write_text(
        "import threading, time, zlib\n"
        "def rest():\n    while True: time.sleep(5)\n"
        "def squeeze():\n    while True: zlib.compress(bytes(range(256)) * 20000, 9)\n"
        "threading.Thread(target=rest, daemon=True).start()\n"
        "print('ready', flush=True)\n"
        "squeeze()\n"
    )
    python = interpreters.get("3.13")
    with subprocess.Popen([python.path, script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            document = json.loads(run(process.pid, "--native", "-d", 1, "-r", 200, "--json").stdout)
        finally:
            process.kill()
    waiting = {hot["file"].rpartition("/")[2]: hot["self_ns"] for hot in document["waiting"]}
    assert any(name.startswith(("libc.", "libc-")) for name in waiting), waiting
    assert any("unwind" in gap["why"] for gap in document["gaps"])
    refused = [gap for gap in document["gaps"] if "CAP_PERFMON" in gap["why"]]
    if not refused:
        top = {hot["file"].rpartition("/")[2].split(".")[0]: hot["self_ns"] for hot in document["top"]}
        assert top.get("libz", 0) > 0.1 * sum(top.values()), document["top"][:5]
        step = document["path"][-1]["frame"]
        assert step["line"] is None or step["function"] == "squeeze"


def test_who_has_the_gil_and_who_wants_it(target):
    process, _ = target(interpreters.get("3.14"), "slow.py", "starvation")
    profile = profiled(process.pid, rate_hz=200, seconds=1, mode="gil")
    consistent(profile)
    held = sum(run.weight_ns for track in profile.tracks for run in track.runs)
    assert held > 0.5e9, "somebody has it nearly always"
    assert held < 1.2e9, "one at a time"
    assert hottest(profile)[0].qualname == "count"
    wanted = {track.name: sum(run.samples for run in track.runs if run.state == "gil") for track in profile.tracks}
    assert max(wanted.values()) > 40


def test_a_deep_recursion_short_threads_and_foreign_names(tmp_path):
    """20,000 frames; thousands of threads that live for less than a tick; names that would redden the terminal."""
    script = tmp_path / "deep.py"
    script.write_text(
        "import sys, threading, time\n"
        "sys.setrecursionlimit(100_000)\n"
        "threading.stack_size(256 << 20)\n"
        "def tiefe(n):\n    return tiefe(n - 1) if n else größe()\n"
        "def größe():\n    while True: sum(range(100))\n"
        "threading.Thread(target=tiefe, args=(20_000,), name='n\u00e4me \\x1b[31mred\\n', daemon=True).start()\n"
        "threading.stack_size(0)\n"
        "print('ready', flush=True)\n"
        "def short(): pass\n"
        "while True:\n"
        "    some = [threading.Thread(target=short) for _ in range(20)]\n"
        "    for thread in some: thread.start()\n"
        "    for thread in some: thread.join()\n",
        encoding="utf-8",
    )
    python = interpreters.get("3.13")
    with subprocess.Popen([python.path, script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.5)
            profile = profiled(process.pid, rate_hz=50, seconds=2)
            screen = run(process.pid, "-d", 0.5).stdout
        finally:
            process.kill()
    consistent(profile)
    deep = next(track for track in profile.tracks if "red" in track.name)
    depth = max(len(profile.frames_of(each.stack)) for each in deep.runs if not each.moving)
    assert depth > 20_000
    assert {frame.qualname for frame in profile.frames} >= {"tiefe", "größe"}
    assert "\x1b" not in screen
    assert "größe" in screen


@pytest.mark.parametrize("ends", ["exit", "kill"])
def test_a_target_that_ends_leaves_a_whole_profile(ends, target, tmp_path):
    process, _ = target(interpreters.get("3.12"), "shares.py")
    ours = subprocess.Popen([*PELLUCID, str(process.pid), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with ours:
        attached(ours, process.pid)
        os.kill(process.pid, signal.SIGKILL if ends == "kill" else signal.SIGINT)
        said, complained = ours.communicate(timeout=30)
    assert ours.returncode == 0, complained
    document = json.loads(said)
    assert document["taking"]["taken"] > 0
    assert document["top"][0]["qualname"] == "until"


def test_what_can_not_be_written_or_looked_at_is_one_clear_error(target, tmp_path):
    process, _ = target(interpreters.get("3.13"), "shares.py")
    assert run(process.pid, "-o", tmp_path / "x.unknown").returncode == 2
    assert run(process.pid, "-o", tmp_path / "no" / "x.json").returncode == 2
    assert run(process.pid, "-F", "nothing").returncode == 2
    assert run(99_999_999).returncode == 3
    ended = run("--", "true")
    assert ended.returncode == 5
    assert "Python" in ended.stderr
    assert run("show", tmp_path / "nothing.json").returncode == 2
    if os.path.exists("/dev/full"):
        full = run(process.pid, "-d", 0.2, "-o", "/dev/full", "-F", "json")
        assert full.returncode == 2
        assert "ENOSPC" in full.stderr
        assert "the hottest call path" in full.stdout, "what was seen is not lost"


def test_without_permission_one_reason_is_told(target):
    process, _ = target(interpreters.get("3.13"), "shares.py")

    def look():
        with pytest.raises(NotPermitted) as refused:
            profiled(process.pid, rate_hz=100, seconds=0.2)
        assert f"pellucid profile {process.pid}" in refused.value.remedy

    as_nobody(look)


@each_python
def test_coroutines_and_generators_are_read_again_each_time(python, target):
    """Their frames lie outside of the thread's stack, and go on at other places of it: what stands below is right at each sample."""
    process, _ = target(python, "awaits.py")
    source = (TARGETS / "awaits.py").read_text().splitlines()
    wrong, seen, taken, cut, tracks, cpu_s, wall_s = [], Counter(), 0, 0, [], 0.0, 0.0
    for _ in range(3):  # each of them lives for microseconds, so that many stacks with one are cut
        profile = profiled(process.pid, rate_hz=500, seconds=1.5)
        consistent(profile)
        taken += profile.taking.taken
        cpu_s, wall_s = cpu_s + profile.taking.cpu_s, wall_s + profile.taking.wall_s
        tracks += [(profile, track) for track in profile.tracks]
        if len({frame.function for profile, _ in tracks for frame in profile.frames} & ALL_OF_AWAITS) >= MOST_OF_AWAITS:
            break
    for profile, track in tracks:
        for run in track.runs:
            own = [frame for frame in profile.frames_of(run.stack) if frame.file.endswith("awaits.py")]
            seen.update(frame.function for frame in own)
            if run.moving:
                cut += run.samples
                continue
            if not own or own[-1].function != "<module>":
                wrong.append(profile.frames_of(run.stack))
            for callee, caller in itertools.pairwise(own):
                line = source[caller.line - 1]
                if (
                    caller.function != "<module>"
                    and f"{callee.function}(" not in line
                    and "for _ in source" not in line
                    and "break" not in line  # closes the generators
                ):
                    wrong.append((caller, callee))
    assert len(wrong) <= 1 + taken // 500, wrong[:3]
    if (
        len(seen.keys() & ALL_OF_AWAITS) < MOST_OF_AWAITS
    ):  # what C code calls, as asyncio its tasks, is proved seldom: cut, and told
        assert cut > taken // 10, (seen, cut, taken)
    assert cpu_s < 0.5 * wall_s, "what lives for microseconds is not planned for anew at each tick"
