"""Ten planted leaks get the category that a person would give them, and five healthy growth patterns get none. All run at once."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from pellucid.diagnose.memory import judge
from pellucid.observe import memory
from tests.conftest import TARGETS
from tests.waiting import started

HEAP = ("global-dict", "lru-cache", "closure", "class-attribute", "listeners", "tasks", "frames", "figures")
HEALTHY = ("warm-up", "bounded-cache", "import", "fork", "mmap")
pytestmark = pytest.mark.timeout(300)
GROWTH = {"heap-leak", "native-leak", "descriptor-leak", "thread-leak", "mapping-leak", "shared-memory"}
ROUNDS, SPAN_S = 5, 3.2
RATE, SLOW = "40", {"frames": "20"}
"""Steps a second; fewer of kinds whose steps are large. An empty figure is 25 kB in some releases of matplotlib: at 10 a second that is nothing yet in this short look."""


@pytest.fixture(scope="module")
def seen():
    """Kind → what was judged of it; None where its library is not installed."""
    begun = {kind: _start(kind) for kind in (*HEAP, "malloc", "fragmentation", *HEALTHY)}
    pids = {kind: _ready(process) for kind, process in begun.items()}
    watches = {kind: memory.Watch(pid) for kind, pid in pids.items() if pid}
    try:
        began = time.monotonic()
        for number in range(ROUNDS):
            time.sleep(max(0.0, began + SPAN_S * number / (ROUNDS - 1) - time.monotonic()))
            for watch in watches.values():
                watch.sample(table=True)
        yield {kind: judge(memory.seen(watches[kind]))[1] if kind in watches else None for kind in begun}
    finally:
        for watch in watches.values():
            watch.close()
        for kind, process in begun.items():
            if kind == "fork" and pids[kind]:
                os.kill(pids[kind], signal.SIGKILL)
            process.kill()
            process.wait()
            process.stdout.close()


def _start(kind):
    return subprocess.Popen(
        [sys.executable, str(TARGETS / "leaks.py"), kind, SLOW.get(kind, RATE)], stdout=subprocess.PIPE, text=True
    )


def _ready(process):
    """The pid to look at; 0 where it ended before it was ready (a library is missing)."""
    pid = process.pid
    for line in process.stdout:
        if line.startswith("child"):
            pid = int(line.split()[1])
        if line.startswith("ready"):
            return pid
    return 0


def findings(seen, kind):
    if seen[kind] is None:
        pytest.skip(f"{kind} did not start: its library is not installed (pellucid[dev])")
    return {finding.rule: finding for finding in seen[kind]}


@pytest.mark.parametrize("kind", HEAP)
def test_references_that_are_kept_are_a_heap_leak(seen, kind):
    found = findings(seen, kind)
    assert set(found) & GROWTH == {"heap-leak"}
    assert found["heap-leak"].severity == "warning"
    assert "Python objects" in found["heap-leak"].sentence


def test_blocks_that_c_code_does_not_free_are_a_native_leak(seen):
    found = findings(seen, "malloc")
    assert set(found) & GROWTH == {"native-leak"}
    assert "up to 408 bytes" in found["native-leak"].sentence


def test_memory_that_was_freed_and_not_returned_is_fragmentation(seen):
    found = findings(seen, "fragmentation")
    assert not set(found) & GROWTH
    assert "Python's pools hold" in found["fragmentation"].sentence


@pytest.mark.parametrize("kind", HEALTHY)
def test_healthy_growth_is_no_leak(seen, kind):
    found = findings(seen, kind)
    assert not set(found) & GROWTH, found
    assert all(finding.severity == "info" for finding in found.values())


def test_a_mapped_file_is_page_cache(seen):
    assert "mapped files" in findings(seen, "mmap")["page-cache"].title


def test_the_same_under_other_versions():
    """One of each kind: the layouts differ, and glibc's. All at once."""
    kinds = {"class-attribute": "heap-leak", "malloc": "native-leak", "fragmentation": "fragmentation"}
    with contextlib.ExitStack() as stack:
        pids = {
            kind: stack.enter_context(started(kind, program="leaks.py", versions=("3.13", "3.15"))) for kind in kinds
        }
        watches = [
            (version, kind, stack.enter_context(memory.Watch(pid)))
            for kind, versions in pids.items()
            for version, pid in versions.items()
        ]
        for _ in range(5):
            for _, _, watch in watches:
                watch.sample(table=True)
        told = {(version, kind): judge(memory.seen(watch))[1][0].rule for version, kind, watch in watches}
    assert told == {(version, kind): kinds[kind] for version, kind, _ in watches}


def test_what_costs_memory_or_time_and_is_no_leak_of_the_heap():
    """Each under its own name. All at once."""
    expected = {
        "faults": "page-faults",
        "threads": "thread-leak",
        "descriptors": "descriptor-leak",
        "shared": "shared-memory",
        "giant": "giant-object",
    }
    with contextlib.ExitStack() as stack:
        watches = {}
        for way in expected:
            (pid,) = stack.enter_context(started(way, program="costly.py", versions=("3.13",))).values()
            watches[way] = stack.enter_context(memory.Watch(pid))
        (busy,) = stack.enter_context(started("churn", program="collecting.py", versions=("3.13",))).values()
        watches["churn"] = stack.enter_context(memory.Watch(busy))
        for number in range(16):
            for watch in watches.values():
                watch.sample(table=number in {0, 7, 15})
            time.sleep(0.1)
        told = {way: {finding.rule for finding in judge(memory.seen(watch))[1]} for way, watch in watches.items()}
    for way, rule in {**expected, "churn": "gc-churn"}.items():
        assert rule in told[way], (way, told[way])
        assert "native-leak" not in told[way]
        assert way == "churn" or "heap-leak" not in told[way]  # garbage that waits for its collection grows too
