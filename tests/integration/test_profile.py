"""`pellucid profile` on real processes: shares that the target itself has measured, modes, children, faults."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from pellucid.kernel import procfs
from pellucid.model.hot import hottest
from pellucid.observe.sampler import Asked, sample
from tests import interpreters

each_python = pytest.mark.parametrize("python", interpreters.each())
PELLUCID = [sys.executable, "-m", "pellucid", "profile"]


def profiled(pid, **asked):
    return sample(procfs.process(pid), Asked(**asked))


def run(*arguments, **options):
    ended = subprocess.run(
        [*PELLUCID, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False, **options
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


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
    found, taken = Counter(), 0
    for _ in range(4):  # a busy machine leaves out many
        profile = profiled(process.pid, rate_hz=1000, seconds=2.5, mode=mode)
        consistent(profile)
        found += Counter({hot.qualname: hot.total_ns for hot in hottest(profile)})
        taken += profile.taking.taken
        if taken > 2000:
            break
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGSTOP)
    lines = os.read(process.stdout.fileno(), 1 << 16).decode().strip().splitlines()
    after = json.loads(lines[-1])
    spent = {name: after[mode][name] - before[mode][name] for name in after[mode]}
    whole = sum(found[name] for name in spent)
    for name, seconds in spent.items():
        ours, theirs = found[name] / whole, seconds / sum(spent.values())
        assert abs(ours - theirs) < 0.03, (python.version, mode, name, ours, theirs, profile.taking)
    assert "CPython 3." + str(python.minor) in profile.tracks[0].runtime


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
    assert document["taking"]["asked"] == 50
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
        time.sleep(1.5)
        ours.send_signal(signal.SIGINT)
        said, complained = ours.communicate(timeout=30)
    assert ours.returncode == 0, complained
    assert "written to" in said
    assert run("show", saved).returncode == 0
    assert process.poll() is None, "the target goes on"


def test_a_command_and_its_children_of_other_versions(tmp_path):
    """The exit status is the command's own; its children are other interpreters, one of them started by exec."""
    pythons = [python.path for python in interpreters.find() if python.version in interpreters.EXPECTED]
    script = tmp_path / "family.py"
    script.write_text(
        "import os, subprocess, sys, time\n"
        "def busy(seconds):\n"
        "    end = time.monotonic() + seconds\n"
        "    while time.monotonic() < end: pass\n"
        "if len(sys.argv) > 1:\n"
        "    children = [subprocess.Popen([python, sys.argv[0]]) for python in sys.argv[1:]]\n"
        "    subprocess.run(['sleep', '0.1'])\n"
        "    for child in children: child.wait()\n"
        "    os.execv(sys.executable, [sys.executable, '-c', 'import sys, time\\nend = time.monotonic() + 0.5\\n'\n"
        "      'def last():\\n while time.monotonic() < end: pass\\nlast()\\nsys.exit(7)'])\n"
        "busy(1.5)\n"
    )
    ended = run("--json", "-r", 200, "--", pythons[0], script, *pythons)
    assert ended.returncode == 7, ended.stderr
    document = json.loads(ended.stdout)
    tracks = document["profile"]["tracks"]
    runtimes = {track["runtime"].rpartition(".")[0] for track in tracks}
    assert runtimes == {f"CPython {python.version}" for python in interpreters.find() if python.path in pythons}
    names = {hot["qualname"] for hot in document["top"]}
    assert {"busy", "last"} <= names, "also what it became by execve"
    assert len({track["pid"] for track in tracks}) == len(pythons) + 1
    assert not [gap for gap in document["gaps"] if "table" in gap["why"]]
