"""The process beside a replica of a cluster: it looks at one that is stuck, keeps why, and ends it. Here without Ray, of which it knows nothing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pellucid.serve import slots
from pellucid.serve.cluster.warden import judge
from pellucid.serve.slots import Seen
from tests.conftest import TARGETS


@pytest.fixture
def replica(tmp_path):
    started = []

    def start(what, timeout):
        line = [sys.executable, str(TARGETS / "serving" / "replica_alone.py"), what, str(timeout)]
        environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        warden = int(process.stdout.readline().split()[1])
        started.append((process, warden))
        return process, warden

    yield start
    for process, warden in started:
        process.kill()
        process.stdout.close()
        process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(warden, signal.SIGKILL)


def incidents(folder):
    return [json.loads(file.read_text()) for file in sorted((folder / "pellucid" / "incidents").glob("*.json"))]


def kept(folder, within_s=30):
    """The only incident, once it is decided."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError):
            found = incidents(folder)
            if found and found[0]["outcome"] != "open":
                assert len(found) == 1
                return found[0]
        time.sleep(0.05)
    raise AssertionError(f"no incident within {within_s} s")


def gone(pid, within_s=20):
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if not os.path.exists(f"/proc/{pid}"):
            return True
        time.sleep(0.05)
    return False


def test_a_prediction_that_waits_for_ever_is_explained_and_ended(replica, tmp_path):
    process, warden = replica("lock", 2)
    assert process.wait(60) == -signal.SIGKILL
    incident = kept(tmp_path)
    assert (incident["kind"], incident["outcome"], incident["model"], incident["version"]) == (
        "stuck",
        "replaced",
        "alone",
        2,
    )
    assert "NEVER" in incident["cause"]
    assert "predict (replica_alone.py:" in incident["looks"][0]["line"]
    assert incident["request"]["rows"] == 3
    assert [one["moment"] for one in incident["looks"]] == ["half", "deadline"]
    assert "504" in incident["client"]
    assert gone(warden)


def test_a_loop_that_does_not_turn_is_told_from_a_long_prediction(replica, tmp_path):
    process, _ = replica("mute", 2)
    assert process.wait(60) == -signal.SIGKILL
    incident = kept(tmp_path)
    assert incident["kind"] == "silent"
    assert "without an answer" in incident["client"]


def test_a_replica_that_is_killed_leaves_its_last_words_and_one_that_was_asked_to_leave_none(replica, tmp_path):
    process, warden = replica("nothing", 20)
    process.kill()
    process.wait()
    incident = kept(tmp_path)
    assert incident["kind"] == "died"
    assert "while it predicted nothing" in incident["sentence"]
    assert "OOM killer" in incident["cause"]
    assert gone(warden)
    process, warden = replica("leaves", 20)
    assert process.wait(20) == 0
    assert gone(warden)
    assert len(incidents(tmp_path)) == 1


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({}, ("well", "stuck")),
        ({"started": 96.0}, ("well", "stuck")),
        ({"started": 94.9}, ("half", "stuck")),
        ({"started": 89.9}, ("late", "stuck")),
        ({"loop_beat": 94.9}, ("half", "silent")),
        ({"loop_beat": 89.0, "started": 88.9}, ("late", "silent")),
        ({"state": slots.LEAVING, "started": 1.0}, ("well", "stuck")),
        ({"loop_beat": 0.0}, ("well", "stuck")),
    ],
)
def test_how_far_it_is_past_its_deadline(fields, verdict):
    seen = Seen(**{"slot": 0, "pid": 9, "state": slots.READY, "loop_beat": 99.9, **fields})
    assert judge(seen, 100.0, 10.0) == verdict
