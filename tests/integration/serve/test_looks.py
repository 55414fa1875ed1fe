"""A look at a worker that does not come to its end: what hangs, and what is told all the same."""

import os
import selectors
import signal
import subprocess
import sys
import time

import pytest

from pellucid.serve import events, late, look, looks
from pellucid.serve.children import Children
from tests.forked import looked


def hang(*_):
    time.sleep(100)


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def looking(pid, *, within_s=60):
    """(what the look at `pid` told, how often it told something, children that are left), in a process that has no other thread."""

    def drive():
        told, selector = [], selectors.DefaultSelector()
        children = Children(selector)
        all_looks = looks.Looks(selector, children, told.append)
        all_looks.start(events.Look(pid, pid, "i-1", "half"))
        until = time.monotonic() + within_s
        while (not told or children._pidfds) and time.monotonic() < until:
            for key, _ in selector.select(0.02):
                if selector.get_map().get(key.fd) == key:
                    key.data()
            all_looks.end_late(time.monotonic())
        return told[0].look.sentence, told[0].look.why_not, len(told), len(children._pidfds)

    return looked(drive, limit_s=within_s + 20)


@pytest.fixture(scope="module")
def worker():
    """A process that sleeps: what is looked at."""
    process = subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(1000)"], stdout=subprocess.PIPE)  # fmt: skip
    process.stdout.readline()
    yield process.pid
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_look_that_hangs_is_told_with_its_place_and_with_what_the_kernel_says(worker, monkeypatch):
    monkeypatch.setitem(looks.LOOK_S, "half", 0.3)
    monkeypatch.setattr(late, "LATE_S", 60.0)
    monkeypatch.setattr(look, "tell", hang)
    sentence, why_not, told, left = looking(worker)
    assert sentence.startswith("thread python"), sentence
    assert "sleeps (clock_nanosleep)" in sentence
    assert "more was not seen: the look took longer than 0.3 s, and sleeps" in sentence
    assert f"at hang (test_looks.py:{hang.__code__.co_firstlineno + 1})" in why_not
    assert (told, left) == (1, 0), "it is told once, and no process of it is left"


def test_where_the_second_look_hangs_too_that_is_told(worker, monkeypatch):
    monkeypatch.setitem(looks.LOOK_S, "half", 0.3)
    monkeypatch.setattr(late, "LATE_S", 0.3)
    monkeypatch.setattr(look, "tell", hang)
    monkeypatch.setattr(late, "late", hang)
    told = "the look took longer than 0.3 s"
    assert looking(worker) == (f"it could not be looked at: {told}", told, 1, 0)


def test_a_look_that_is_killed_is_told_with_its_end(worker, monkeypatch):
    monkeypatch.setattr(look, "tell", die)
    told = "the look itself killed by SIGKILL"
    assert looking(worker) == (f"it could not be looked at: {told}", told, 1, 0)


def test_a_look_that_ends_in_time_needs_no_second(worker, monkeypatch):
    monkeypatch.setitem(looks.LOOK_S, "half", 60.0)
    monkeypatch.setattr(late, "late", die)
    sentence, why_not, told, left = looking(worker)
    assert "has slept" in sentence or "sleeps" in sentence, sentence
    assert (why_not, told, left) == ("", 1, 0)
