"""Leaks of many kinds, each with the holder that it has, and programs that grow for a good reason, of which none is called a leak."""

import subprocess
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from pellucid.diagnose.heap import compare, report
from pellucid.observe import heap_series
from pellucid.observe.growing import grown, what_grows
from pellucid.observe.heap_look import look
from pellucid.observe.heap_new import counted, followed
from tests import interpreters
from tests.conftest import TARGETS

VERSIONS = interpreters.EXPECTED
LEAKS = {
    "global_dict": "module __main__ → SESSIONS (dict) → 12,000 Session ",
    "lru_cache": "lru_cache of load → 12,000 Session ",
    "closure": "closure of counter.<locals>.count: seen (list) → ",
    "class_attribute": "class Registry → _cache (dict) → 12,000 Session ",
    "default": "default argument of default (list) → ",
    "figures": "matplotlib's figure manager",
    "listeners": "module __main__ → bus (Bus) → _listeners (list) → ",
    "tasks": "background (set) → 12,000 _asyncio.Task ",
    "thread_local": "a thread local",
    "local_variable": "local pieces of local_variable (heap_leaks.py, thread MainThread) (list) → ",
    "namespace": "module notebook → pieces (list) → 1",
}
HEALTHY = ("bounded_cache", "bounded_lru", "warm_up", "imports", "maps", "fork", "malloc", "fragmentation")
"""The last two grow, and not by Python objects: `memory` names them."""


@contextmanager
def growing(python, which):
    """A target, and what makes it grow by one part."""
    process = subprocess.Popen(
        [python.path, str(TARGETS / "heap_leaks.py"), which], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def grow():
        process.stdin.write("more\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"

    try:
        assert process.stdout.readline() == "ready\n"
        yield process.pid, grow
    finally:
        process.kill()
        process.communicate()


def looks(python, which, count=3, *, pause=True):
    """The parts are equal, and so are the intervals that they are dated by: how long they took depends on how busy the machine was."""
    with growing(python, which) as (pid, grow):
        seen = [look(pid, pause=pause)]
        while len(seen) < count:
            grow()
            seen.append(look(pid, pause=pause))
    for number, one in enumerate(seen):
        one.dump.census = replace(one.dump.census, taken_at=10.0 * number)
    return seen


@pytest.mark.parametrize("number", range(len(LEAKS)), ids=list(LEAKS))
def test_the_holder_of_what_leaks_is_named_as_its_author_knows_it(number):
    which = list(LEAKS)[number]
    python = interpreters.get(VERSIONS[number % len(VERSIONS)])
    (suspect,) = compare(heap_series.of(looks(python, which))).suspects
    assert LEAKS[which] in suspect.sentence
    assert suspect.steady
    assert suspect.sentence.endswith("it grew in each interval: likely a leak")
    assert abs(suspect.grown_count - 8000) <= 1
    assert suspect.per_s > 0
    assert suspect.retained_bytes > suspect.grown_bytes, "it retains what it held before as well"


@pytest.mark.parametrize("number", range(len(HEALTHY)), ids=HEALTHY)
def test_growth_for_a_good_reason_is_no_leak(number):
    python = interpreters.get(VERSIONS[(number + 2) % len(VERSIONS)])
    assert compare(heap_series.of(looks(python, HEALTHY[number]))).suspects == ()


@pytest.mark.parametrize("python", interpreters.each())
def test_one_look_says_who_holds_most_and_not_that_it_grows(python):
    (seen,) = looks(python, "class_attribute", 1)
    (suspect,) = (one for one in report(seen).suspects if one.held_type == "Session")
    assert suspect.sentence.startswith("class Registry → _cache (dict) → 4,000 Session retains ")
    assert suspect.keys == "int"
    assert suspect.length == 4000
    assert suspect.grown_count is None
    assert "leak" not in suspect.sentence


def test_the_holder_is_found_without_a_pause_too():
    (suspect,) = compare(heap_series.of(looks(interpreters.get("3.13"), "class_attribute", 2, pause=False))).suspects
    assert suspect.sentence.startswith("class Registry → _cache (dict) → 8,000 Session ")
    assert suspect.sentence.endswith("two looks can't tell a leak from a cache that fills up")


@pytest.mark.parametrize("version", ["3.11", "3.15"])
def test_a_weak_container_on_the_way_is_named_and_not_blamed(version):
    holder, *others = compare(heap_series.of(looks(interpreters.get(version), "weak"))).suspects
    assert holder.sentence.startswith("module __main__ → alive (list) → 1")
    assert holder.sentence.endswith("likely a leak")
    assert all("by_id (weakref.WeakValueDictionary)" in one.sentence for one in others)
    assert all("it holds none of these objects" in one.sentence and "leak" not in one.sentence for one in others)


@pytest.mark.parametrize("version", ["3.11", "3.15"])
def test_two_looks_at_a_process_that_does_nothing_find_nothing_that_grew(version):
    """The second one follows references, and finds what lies in the program's files: that is not new."""
    with growing(interpreters.get(version), "class_attribute") as (pid, grow):
        still = what_grows(pid, 0.0)
        assert still.types == ()
        assert still.python_bytes == 0
        first = counted(pid, pause=False, limit=1 << 30, command="heap")
        grow()
        last, (holder, *_) = followed(pid, first, pause=False, limit=1 << 30, command="heap")
        types = {one.type: one.grown_count for one in grown(first.census, last)}
    assert types["Session"] == 4000
    assert "code" not in types
    assert holder.grown_count == 4000
    assert holder.retained_bytes > holder.grown_bytes
