"""`pellucid memory` as a person runs it: the screen, the JSON, Ctrl-C, children, wrong pids."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests import interpreters

OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)
BASE = [sys.executable, "-m", "pellucid", "memory"]


def run(*arguments, code=0):
    told = subprocess.run([*BASE, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert told.returncode == code, told.stderr
    return told.stdout if not code else told.stderr


def until(good, *arguments, seconds=1.5, more=()):
    """What is printed of a look of so many seconds; of longer ones where `good` does not hold: on a crowded machine the target hardly runs."""
    for _ in range(4):
        told = run(*arguments, "-d", seconds, *more)
        if good(told):
            break
        seconds *= 3
    return told


@pytest.fixture
def leaking(target):
    return target(OURS, "leaks.py", "class-attribute")[0]


def test_the_screen_says_the_category_first_and_then_what_is_known(leaking):
    lines = until(lambda told: "heap leak" in told, leaking.pid, more=("-e",)).splitlines()
    assert lines[0].startswith(f"pid {leaking.pid} ")
    assert lines[1].startswith("! warning (possible): heap leak, if it goes on")
    known = next(number for number, line in enumerate(lines) if line.startswith("known as Python's objects"))
    assert lines[known + 1].startswith("WHERE")
    assert any("Python objects, up to 512 bytes each" in line and "+" in line for line in lines[known:])


def test_the_document(leaking):
    report = json.loads(until(lambda told: "heap-leak" in told, leaking.pid, more=("--json",)))
    assert report["schema"] == 1
    assert report["process"]["pid"] == leaking.pid
    assert report["category"] == "heap-leak"
    assert report["findings"][0]["evidence"]
    assert 0 < report["known_bytes"] <= report["rss_anon_bytes"]
    private = next(trend for trend in report["trends"] if trend["name"] == "private")
    assert private["per_s"] > 3 * private["error_per_s"]
    assert {part["kind"] for part in report["table"]["parts"]} >= {"python-small", "python-large", "files"}


def test_ctrl_c_prints_what_was_seen(leaking):
    for seconds in (2, 8, 24):  # on a crowded machine it has hardly begun after two
        with subprocess.Popen([*BASE, str(leaking.pid), "--watch", "60"], stdout=subprocess.PIPE, text=True) as process:
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            told, _ = process.communicate(timeout=60)
        if process.returncode == 0 and "grow" in told:
            break
    assert process.returncode == 0
    assert "grow" in told.splitlines()[1]
    assert "interrupted after" in told


def test_children_are_told_with_their_share():
    program = "import os, time\nheld = [str(n) for n in range(200000)]\nfor _ in range(3):\n    if not os.fork(): break\nprint('ready', flush=True)\ntime.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        for _ in range(4):
            process.stdout.readline()
        report = json.loads(run(process.pid, "-d", "0.2", "--json"))
        text = run(process.pid, "-d", "0.2")
        os.killpg(process.pid, signal.SIGKILL)
    children = report["children"]
    assert len(children) == 3
    assert all(child["pss_bytes"] < child["rss_bytes"] for child in children), "their pages are shared"
    assert "3 descendants: " in text
    assert "which share it since a fork" in text


def test_what_is_not_there(leaking):
    assert "there is no process with pid 4000000" in run(4_000_000, code=3)
    assert "--watch looks from outside" in run(leaking.pid, "--watch", "1", "--inside-tracemalloc", "1", code=2)
