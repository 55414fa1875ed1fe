"""What a look has read is freed when it ends: who looks for days does not wait for the collector, which comes rarely to a program that is large."""

import gc
import subprocess
import sys
from types import FrameType

import pytest

from pellucid.diagnose.engine import diagnose
from pellucid.observe.sampler_process import Watched
from pellucid.observe.snapshot import snapshot
from tests.conftest import TARGETS
from tests.settling import until


@pytest.fixture(scope="module")
def python():
    with subprocess.Popen([sys.executable, TARGETS / "waiting.py", "abba"], stdout=subprocess.PIPE) as target:
        target.stdout.readline()
        yield target.pid
        target.kill()


@pytest.fixture(scope="module")
def no_python():
    with subprocess.Popen(["sleep", "600"]) as target:
        yield target.pid
        target.kill()


def judged(pid):
    diagnose(snapshot(pid))


def refused(pid):
    watched = Watched(pid, "wall", 100_000_000)
    try:

        def known():
            watched.attach()
            return watched.refusal

        assert until(known).__traceback__ is None
    finally:
        watched.close()


@pytest.mark.parametrize(("who", "look"), [("python", judged), ("no_python", judged), ("no_python", refused)])
def test_nothing_of_a_look_is_left_to_the_collector(request, who, look):
    pid = request.getfixturevalue(who)
    look(pid)  # what is imported and kept for good is there after the first
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        look(pid)
        gc.collect()
        left = [
            each
            for each in gc.garbage
            if isinstance(each, FrameType) or type(each).__module__.startswith(("pellucid", "_ctypes"))
        ]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not left
