"""gevent greenlets that are switched out: by name, with their line, what they wait for, and two that wait for each other."""

import os
import subprocess

import pytest
from scripts.fetch_gevent import REQUIREMENT, cache

from tests import interpreters
from tests.conftest import TARGETS
from tests.settling import settled
from tests.waiting import look

each_python = pytest.mark.parametrize("python", interpreters.each())


@pytest.fixture
def greenlets():
    """`greenlets(python, ...)` → pid of the target, asleep."""
    started = []

    def start(python, *arguments):
        home = cache() / python.version
        if not (home / REQUIREMENT).exists():
            pytest.skip(f"no gevent for CPython {python.version}: run scripts/fetch_gevent.py")
        process = subprocess.Popen(
            [python.path, str(TARGETS / "greenlets.py"), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(home)},
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.stdout.close()
        process.wait()


@each_python
def test_greenlets_with_their_locks(python, greenlets):
    pid = greenlets(python)
    settled(pid)
    found = look(pid)
    seen = {one.thread: one for one in found.waits if one.what == "greenlet"}
    assert {"first", "second", "patient", "sleeper", "taker", "asker", "joiner"} <= seen.keys()
    assert seen["first"].object == "two (global of greenlets.py)"
    assert seen["first"].holders[0].name == "second"
    assert seen["first"].at == "greenlets.py:18 in first"
    assert seen["patient"].kind == "gevent.Event"
    assert (seen["taker"].kind, seen["taker"].object) == ("gevent.Queue", "items (global of greenlets.py)")
    assert seen["asker"].kind == "gevent.AsyncResult"
    assert (seen["joiner"].kind, seen["joiner"].object) == ("greenlet", "patient")
    assert (seen["Store.borrower"].kind, seen["Store.borrower"].object) == ("gevent.RLock", "self.lock (Store.lock)")
    assert [holder.name for holder in seen["Store.borrower"].holders] == ["Store.owner"]
    assert seen["sleeper"].kind == "sleep"
    assert seen["sleeper"].at.endswith(" in sleeper")
    (finding,) = found.findings
    assert (finding.rule, finding.confidence) == ("deadlock", "likely")
    assert set(found.cycles[0].threads) == {"first", "second"}


@each_python
def test_greenlets_that_give_up_after_a_while(python, greenlets):
    pid = greenlets(python, "timed")
    settled(pid)
    found = look(pid)
    assert not found.findings, [finding.sentence for finding in found.findings]
    seen = {one.thread: one for one in found.waits if one.what == "greenlet"}
    assert seen["limited_one"].timed
    assert seen["limited_two"].timed
    assert seen["limited_one"].holders[0].name == "limited_two"


@pytest.mark.parametrize("python", interpreters.each(("3.11", "3.15")))
def test_greenlets_that_take_turns(python, greenlets):
    pid = greenlets(python, "healthy")
    for _ in range(3):
        assert not look(pid).findings
