"""A server records its workers: an incident names the recording and the commands that look back, and these tell what was there."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from pellucid.recording import past
from pellucid.recording.reading import Recording
from tests.integration.test_record import until
from tests.serving import PELLUCID, comm, row, serving


def replayed(line, home, *more):
    words = shlex.split(line)
    assert words[0] == "pellucid"
    ended = subprocess.run(
        [*PELLUCID, *words[1:], *more],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "XDG_DATA_HOME": str(home)},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def sockets(pid):
    """The sockets it has open, `socket:[12345]`."""
    found = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.readlink(fd))
    return {target for target in found if target.startswith("socket:")}


def seen_in_lock(path, pid, at=None):
    """The moment, by default the last one, at which the recording has that process in the model's own `lock`; None where it has not."""
    with Recording(path) as recording:
        (process,) = (each for each in recording.processes() if each.process.pid == pid)
        at = at or process.last_at
        seen = past.stacks(recording, process, at)
    frames = [frame for thread in seen.threads for frame in thread.frames] if seen is not None else []
    return at if any(frame.function == "lock" and frame.file.endswith("faulty.py") for frame in frames) else None


@pytest.fixture
def server(home):
    with serving(home, "faulty", "--workers", "1", "--timeout", "6", "--record") as running:
        yield running


def test_an_incident_has_the_minutes_before_it(server, home):
    (worker,) = server.workers()

    def sampled():
        folder = home / "pellucid" / "recordings"
        for path in folder.glob("serve-faulty-*.recording"):
            with Recording(str(path)) as recording:
                if any(each.process.pid == worker["pid"] and each.samples > 3 for each in recording.processes()):
                    return str(path)
        return None

    path = until(sampled)
    (recorder,) = (pid for pid in server.family() if comm(pid) == "pellucid-rec")
    for pid in (recorder, server.process.pid):
        assert b"numpy" not in Path(f"/proc/{pid}/maps").read_bytes(), "what only the workers need"
    assert not sockets(recorder) & sockets(server.process.pid), "a port that the supervisor gives up is free"
    asking = threading.Thread(target=server.predict, args=(row("lock"),))
    asking.start()
    locked_at = until(lambda: seen_in_lock(path, worker["pid"]))
    told = server.wait_log("replaced", 60)
    asking.join()
    incident = server.incident(told["incident"])
    assert incident["recording"] == path
    stacks, profile = incident["replay"]
    assert f"pid {incident['pid']}" in replayed(stacks, home)
    assert json.loads(replayed(profile, home, "--json"))["profile"]["tracks"]
    assert stacks in (home / "pellucid" / "incidents" / f"{incident['id']}.txt").read_text()

    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert not [record for record in server.log if record["event"] in {"recorder_ended", "not_recorded"}], server.lines
    assert seen_in_lock(path, worker["pid"], locked_at) == locked_at
    with Recording(path) as recording:
        (session,) = recording.sessions()
        (killed,) = (each for each in recording.processes() if each.process.pid == incident["pid"])
    assert session.ended_at is not None
    assert killed.death.signal == "SIGKILL"
