"""A target that says "ready" is asleep a moment later: on a busy machine that moment is long, and a look inside of it sees a thread on its way."""

import time
from pathlib import Path

import pytest

QUIET_S = 0.05
LIMIT_S = 45.0


def until(good, seconds=60):
    """The first value of `good()` that is true; fails after so long."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if found := good():
            return found
        time.sleep(0.05)
    pytest.fail(f"it did not come to be within {seconds} s")
    return None


def settled(*pids):
    """Returns once no thread of `pids` has run for a while. Fails after LIMIT_S: then it is no target that rests."""
    limit = time.monotonic() + LIMIT_S
    before, since = None, time.monotonic()
    while time.monotonic() < limit:
        now = [_marks(pid) for pid in pids]
        if now != before or not all(asleep for threads in now for asleep, _ in threads.values()):
            before, since = now, time.monotonic()
        elif time.monotonic() - since >= QUIET_S:
            return
        time.sleep(QUIET_S / 5)
    raise AssertionError(f"{pids} do not rest: {before}")


def _marks(pid):
    """{tid: (asleep, what changes when it runs)}."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        state = (task / "stat").read_bytes().rpartition(b")")[2].split()[0]  # a name cut within a letter is no text
        found[task.name] = (state != b"R", (task / "schedstat").read_bytes().split()[0])
    return found
