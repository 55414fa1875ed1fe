"""Ten planted leaks get the category that a person would give them, and five healthy growth patterns get none. All run at once."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from msgspec.structs import replace

from pellucid.diagnose.memory import judge
from pellucid.observe import memory
from tests import interpreters
from tests.conftest import TARGETS
from tests.waiting import started

HEAP = ("global-dict", "lru-cache", "closure", "class-attribute", "listeners", "tasks", "frames", "figures")
HEALTHY = ("warm-up", "bounded-cache", "import", "fork", "mmap")
pytestmark = pytest.mark.timeout(300)
GROWTH = {"heap-leak", "native-leak", "descriptor-leak", "thread-leak", "mapping-leak", "shared-memory"}
ROUNDS, ROUND_S = 5, 0.8
STEPS, FEW = 32, {"frames": 16}
"""Steps between two samples; fewer of kinds whose steps are large. An empty figure is 25 kB in some releases of matplotlib: of 8 nothing shows."""


class Told:
    """`leaks.py KIND told`: it makes the steps that it is told to. `pid` to look at; 0 where it ended before it was ready (a library is missing)."""

    def __init__(self, kind, python=sys.executable):
        self.kind = kind
        line = [python, str(TARGETS / "leaks.py"), kind, "told"]
        self.process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.pid = 0

    def ready(self):
        child = self.process.pid
        for line in self.process.stdout:
            if line.startswith("child"):
                child = int(line.split()[1])
            if line.startswith("ready"):
                self.pid = child
                break
        return self.pid

    def tell(self):
        self.process.stdin.write(f"{FEW.get(self.kind, STEPS)}\n")
        self.process.stdin.flush()

    def done(self):
        assert self.process.stdout.readline() == "done\n"

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.process.stdin.close()


def rules(targets):
    """What is judged of each target, in their order, None of one that did not start. All of them grow between two looks.

    The steps are equal, and so are the intervals that they are dated by: how long they took depends on how busy the machine was.
    """
    with contextlib.ExitStack() as stack:
        for one in targets:
            stack.callback(one.close)
        running = [one for one in targets if one.ready()]
        watches = {one: stack.enter_context(memory.Watch(one.pid)) for one in running}
        for number in range(ROUNDS):
            if number:
                for one in running:
                    one.tell()
                for one in running:
                    one.done()
            for watch in watches.values():
                watch.sample(table=True)
        return [_judged(memory.seen(watches[one])) if one in watches else None for one in targets]


def _judged(seen):
    dated = tuple(replace(sample, at_s=ROUND_S * number) for number, sample in enumerate(seen.samples))
    return judge(replace(seen, samples=dated))[1]


@pytest.fixture(scope="module")
def seen():
    """Kind → what was judged of it; None where its library is not installed."""
    kinds = (*HEAP, "malloc", "fragmentation", *HEALTHY)
    return dict(zip(kinds, rules([Told(kind) for kind in kinds]), strict=True))


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
    pythons = [python for python in interpreters.find() if python.version in {"3.13", "3.15"}]
    asked = [(python.version, kind) for python in pythons for kind in kinds]
    told = rules([Told(kind, python.path) for python in pythons for kind in kinds])
    assert dict(zip(asked, [one[0].rule for one in told], strict=True)) == {one: kinds[one[1]] for one in asked}


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
        expected["churn"] = "gc-churn"
        deadline = time.monotonic() + 60
        told = {}
        while time.monotonic() < deadline and any(rule not in told.get(way, ()) for way, rule in expected.items()):
            for number in range(
                16
            ):  # a crowded machine gives each of them little time: then they are looked at for longer
                for watch in watches.values():
                    watch.sample(table=number in {0, 7, 15})
                time.sleep(0.1)
            told = {way: {finding.rule for finding in judge(memory.seen(watch))[1]} for way, watch in watches.items()}
    for way, rule in expected.items():
        assert rule in told[way], (way, told[way])
        assert "native-leak" not in told[way]
        assert way == "churn" or "heap-leak" not in told[way]  # garbage that waits for its collection grows too
