"""Stacks of threads that never hold still: what is given as proved has no impossible pair of caller and callee."""

import itertools
import time

import pytest

from pellucid.kernel.memory import Vector
from pellucid.runtimes import cpython
from pellucid.runtimes.cpython import copies, proofs, threads
from pellucid.runtimes.cpython.copies import Plan
from pellucid.runtimes.cpython.proofs import Proofs
from tests import interpreters
from tests.conftest import TARGETS

each_python = pytest.mark.parametrize("python", interpreters.each())

STACKS = 5000
MOST_IMPOSSIBLE = STACKS // 1000  # 0.1 %
SLOW_STACKS = 2000
LINE = 64
SOURCE = (TARGETS / "ladder.py").read_text().splitlines()


def impossible(frames):
    """The first caller whose line does not call its callee, None where all do."""
    if not frames or frames[-1].function != "<module>":
        return "no root"
    for callee, caller in itertools.pairwise(frames):
        line = SOURCE[caller.line - 1] if caller.line else ""
        if f"{callee.function}(" not in line.removeprefix(f"def {caller.function}(): "):
            return caller, callee
    return None


@each_python
def test_a_thread_that_calls_without_pause_gives_no_impossible_stack(python, target):
    process, _ = target(python, "ladder.py")
    found, moving, retries = [], 0, 0
    deadline = time.monotonic() + 180
    with cpython.attach(process.pid) as runtime:
        for _ in range(STACKS):
            reading = runtime.read()
            (stack,) = reading.stacks
            retries += reading.retries
            moving += stack.moving
            found.append(stack.frames)
            assert time.monotonic() < deadline
            time.sleep(0.00005)  # else both would take turns on a machine whose cores are busy
        assert runtime.raw
    wrong = [pair for frames in found if (frames and (pair := impossible(frames)))]
    print(f"\n{python.version}: {len(wrong)} of {STACKS} impossible, {moving} moving, {retries} retries")
    assert len(wrong) <= MOST_IMPOSSIBLE, wrong[:3]
    assert len(set(found)) > 50, "the target stood still, and nothing was shown"
    assert moving < STACKS // 2


class InSmallPieces(Vector):
    """Copies as a machine does on which each cache line takes its time."""

    __slots__ = ()

    def __init__(self, pid, ranges):
        cut = [(at, min(LINE, start + size - at)) for start, size in ranges for at in range(start, start + size, LINE)]
        super().__init__(pid, cut)


@pytest.mark.parametrize("python", interpreters.each(("3.11", "3.14")))
def test_copies_that_take_long_make_up_no_stack(python, target, monkeypatch):
    for module in (copies, proofs, threads):
        monkeypatch.setattr(module, "Vector", InSmallPieces)
    process, _ = target(python, "ladder.py")
    with cpython.attach(process.pid) as runtime:
        stacks = [stack for _ in range(SLOW_STACKS) for stack in runtime.read().stacks]
    wrong = [pair for stack in stacks if (stack.frames and (pair := impossible(stack.frames)))]
    assert len(wrong) <= SLOW_STACKS // 1000, wrong[:3]
    assert sum(stack.moving for stack in stacks) < SLOW_STACKS // 2


@each_python
def test_what_is_kept_of_a_moving_stack_is_its_outer_part(python, target, monkeypatch):
    """Where no copy is believed, stacks stay unproved: what is left of each still ends at the root, and has no impossible pair."""
    walk = Proofs.walk
    monkeypatch.setattr(Proofs, "walk", lambda *args, **options: (walk(*args, **options) and None, False))
    monkeypatch.setattr(Proofs, "at_state", lambda *_: None)
    monkeypatch.setattr(Plan, "still", lambda *_: False)
    process, _ = target(python, "ladder.py")
    moving = []
    with cpython.attach(process.pid) as runtime:
        for _ in range(200):
            (stack,) = runtime.read().stacks
            assert stack.moving
            moving.append(stack.frames)
            time.sleep(0.00005)
    assert not [impossible(frames) for frames in moving if frames and impossible(frames)]
    assert sum(len(frames) for frames in moving) > 15 * len(moving), "the fourteen that stay are below those that move"


@each_python
def test_threads_that_come_and_go_are_no_error(python, target):
    process, _ = target(python, "churn.py")
    deadline = time.monotonic() + 30
    names = set()
    with cpython.attach(process.pid) as runtime:
        readings = 0
        while readings < 600 or len(names) <= 3 or "stays" not in names:  # with a short thread among them
            readings += 1
            reading = runtime.read()
            by_name = {stack.name: stack for stack in reading.stacks}
            names |= by_name.keys()
            unlisted = any("faster" in gap.why for gap in reading.gaps)
            if "stays" in by_name:
                assert by_name["stays"].moving or by_name["stays"].frames[0].qualname == "long"
            elif not unlisted:  # nor is a name there before the list of names was found whole for once
                assert "stays" not in names, "a name that was known is kept"
            for stack in reading.stacks:
                if stack.frames and not stack.moving:
                    assert stack.frames[-1].qualname in {"<module>", "Thread._bootstrap"}
            for gap in reading.gaps:
                assert "ended" in gap.why or "faster" in gap.why
            assert time.monotonic() < deadline, f"{readings} readings saw {names}"
