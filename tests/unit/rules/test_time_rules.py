"""The rules about time: each on a small world that it is about, and on one that only looks so."""

from msgspec.structs import replace

from pellucid.diagnose.engine import diagnose
from pellucid.model.hot_time import Busy, Growing, HotTime, Searching, Spot
from pellucid.model.over_time import OverTime
from tests.unit.rules.build import frame, library, snapshot

LINE = frame("handle")


def busy(tid=41, name="MainThread", **other):
    """A thread that runs all the time at LINE."""
    told = {
        "samples": 100,
        "running": 100,
        "waiting": 0,
        "wants_gil": 0,
        "holds_gil": 100,
        "inner": (Spot(LINE, 90),),
        "own": (Spot(LINE, 90),),
        "waits": (),
        "lock": "",
        "turns": 0,
    }
    return Busy(tid=tid, name=name, **{**told, **other})


def found(*threads, **other):
    seconds = other.pop("seconds", 1.0)
    told = HotTime(seconds=seconds, samples=100, threads=threads, collections=other.pop("collections", 0), **other)
    return {each.rule: each for each in diagnose(replace(snapshot(), over_time=OverTime(seconds=1.0, time=told)))}


def rules(*threads, **other):
    return found(*threads, **other).keys() - {"idle"}


def test_a_hot_loop_is_told_with_its_line_and_share():
    told = found(busy())["hot-loop"]
    assert "90 % at handle (app.py:12)" in told.sentence
    assert told.severity == "notice"


def test_no_hot_loop_where_the_time_is_spread_or_the_thread_rests():
    spread = tuple(Spot(frame(f"f{number}"), 20) for number in range(5))
    assert not rules(busy(own=spread, inner=spread))
    assert not rules(busy(running=40, waiting=60, own=(Spot(LINE, 40),)))


def test_too_few_samples_prove_nothing():
    assert not rules(busy(samples=10, running=10))


def test_a_regular_expression_blows_up_on_a_short_text():
    told = found(busy(searching=Searching(0.9, 41)))
    assert told["slow-regex"].confidence == "likely"
    assert "41 characters" in told["slow-regex"].sentence
    assert "hot-loop" not in told, "the reason is told, and not the fact twice"


def test_a_long_text_or_many_calls_are_no_blow_up():
    assert rules(busy(searching=Searching(0.9, 4_000_000))) == {"hot-loop"}
    assert rules(busy(searching=Searching(0.1, 41))) == {"hot-loop"}
    assert rules(busy(searching=Searching(0.9, None))) == {"hot-loop"}


def test_a_text_that_is_copied_each_time_it_grows():
    told = found(busy(growing=Growing("text", "str", 1_000_000, 1_010_000, moved=8, steps=9)))
    assert "the str text grew from 1000000 to 1010000 characters" in told["concatenation"].sentence


def test_a_text_that_grows_in_place_or_quickly_is_built_well():
    assert rules(busy(growing=Growing("text", "str", 1_000_000, 1_010_000, moved=1, steps=9))) == {"hot-loop"}
    assert rules(busy(growing=Growing("text", "str", 100_000, 9_000_000, moved=9, steps=9))) == {"hot-loop"}
    assert rules(busy(growing=Growing("text", "str", 100_000, 101_000, moved=2, steps=2))) == {"hot-loop"}


def test_the_collector_takes_a_large_part_of_the_time():
    told = found(busy(collecting=60, collected_at=(Spot(LINE, 50),)), collections=900)["gc-churn"]
    assert "60 % of 100 samples" in told.sentence
    assert "900 collections a second" in told.sentence
    assert "handle (app.py:12)" in told.sentence


def test_some_collections_are_no_churn():
    assert rules(busy(collecting=10), collections=100) == {"hot-loop"}


def queueing(number, **other):
    told = {"running": 5, "waiting": 95, "holds_gil": 5, "own": (), "inner": (), "waits": (Spot(LINE, 80),)}
    return busy(50 + number, f"worker-{number}", **{**told, "lock": "Lock LOCK", "turns": 4, **other})


def test_threads_that_take_turns_at_a_lock():
    told = found(*(queueing(number) for number in range(4)))["lock-convoy"]
    assert "80 % of the time waiting for Lock LOCK at handle (app.py:12)" in told.sentence


def test_no_convoy_without_a_lock_without_turns_or_in_the_library():
    assert not rules(*(queueing(number, lock="") for number in range(4)))
    assert not rules(*(queueing(number, turns=0) for number in range(4)))
    assert not rules(*(queueing(number) for number in range(2)))
    inside = (Spot(library("wait", "threading.py"), 80),)
    assert not rules(*(queueing(number, waits=inside) for number in range(4)))


def test_a_thread_that_starves_for_the_gil():
    starved = busy(42, "answers", running=5, waiting=10, wants_gil=85, holds_gil=2, own=(), inner=())
    told = found(busy(), starved, held_gil=(Spot(LINE, 80),))["gil-starvation"]
    assert "answers waited for the interpreter's lock in 85 % of 100 samples" in told.sentence
    assert "handle (app.py:12) in 100 %" in told.sentence
    assert told.tids == (42,)


def test_two_threads_that_share_the_gil_do_not_starve():
    half = {"running": 50, "wants_gil": 50, "holds_gil": 50, "own": (), "inner": ()}
    assert not rules(busy(41, "one", **half), busy(42, "two", **half))
