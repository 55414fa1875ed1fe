"""JVMs whose heap fills, that do little but collect, that load classes without end, that allocate humongous objects; and the healthy ones beside them."""

import pytest
from msgspec.structs import replace

from pellucid.diagnose.rules.jvm_gc_share import collections_take_its_time
from pellucid.diagnose.rules.jvm_humongous import allocates_humongous_objects
from pellucid.diagnose.rules.jvm_metaspace import metaspace_grows
from pellucid.diagnose.rules.jvm_old_generation import old_generation_fills
from pellucid.diagnose.rules.jvm_silent import jvm_does_not_answer
from pellucid.model import OverTime
from pellucid.model.collector import Collections, Collector, Generation, JvmWatched, Metaspace, Space
from pellucid.model.silence import Silence
from tests.unit.rules.build import snapshot, thread

MIB = 1 << 20


def collector(*, at=100.0, old=10, full=0, time_s=0.1, classes=1000, meta=20 * MIB, limit=None, name="G1", cause=""):
    return Collector(
        name=name,
        at_s=at,
        generations=(Generation("old", old * MIB, 64 * MIB, (Space("old", old * MIB, 64 * MIB, 64 * MIB),), 64 * MIB),),
        collections=(Collections("young", 5, time_s, "young"), Collections("full", full, 0.0, "full")),
        metaspace=Metaspace(meta, meta, limit),
        last_cause=cause,
        heap_limit=64 * MIB,
        classes=classes,
        classes_unloaded=0,
    )


def judged(rule, watched):
    return list(rule(replace(snapshot(thread()), over_time=OverTime(2.0, jvm=watched))))


def watched(first=None, last=None, points=(), **more):
    return JvmWatched(
        2.0,
        first or collector(),
        last or collector(at=102.0),
        tuple((float(at), mib * MIB) for at, mib in points),
        **more,
    )


def test_a_heap_that_full_collections_do_not_empty():
    (full,) = judged(old_generation_fills, watched(points=[(1, 62), (2, 63), (3, 63), (4, 63)]))
    assert (full.severity, full.confidence) == ("critical", "likely") and "OutOfMemoryError is near" in full.sentence
    (rising,) = judged(old_generation_fills, watched(points=[(1, 10), (2, 20), (3, 30), (4, 40)]))
    assert rising.severity == "warning" and "are full in 2.4 s" in rising.sentence
    (mixed,) = judged(
        old_generation_fills, watched(points=[(1, 10), (2, 20), (3, 30), (4, 40)], points_of="mixed collections")
    )
    assert (mixed.severity, mixed.confidence) == ("notice", "possible")


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(1, 10), (2, 20), (3, 30)],
        [(1, 20), (2, 21), (3, 20), (4, 21), (5, 20)],
        [(1, 40), (2, 10), (3, 35), (4, 12), (5, 30)],
        [(1, 40), (2, 30), (3, 20), (4, 10)],
    ],
)
def test_a_heap_that_goes_up_and_down_is_healthy(points):
    assert not judged(old_generation_fills, watched(points=points))


def test_time_in_collections():
    (much,) = judged(collections_take_its_time, watched(last=collector(at=102.0, full=3, time_s=1.3)))
    assert much.severity == "warning" and much.title.startswith("60 %") and "3 full" in much.sentence
    assert not judged(collections_take_its_time, watched(last=collector(at=102.0, time_s=0.2)))


def test_classes_that_only_come():
    (grows,) = judged(metaspace_grows, watched(last=collector(at=102.0, classes=1100, meta=21 * MIB)))
    assert (grows.severity, grows.confidence) == ("notice", "possible")
    (near,) = judged(metaspace_grows, watched(last=collector(at=102.0, limit=21 * MIB)))
    assert near.severity == "warning" and "nearly full" in near.title
    starting = watched(first=collector(at=3.0), last=collector(at=5.0, classes=3000, meta=40 * MIB))
    assert not judged(metaspace_grows, starting), "a start loads classes"
    assert not judged(metaspace_grows, watched())


def test_humongous_objects():
    (found,) = judged(allocates_humongous_objects, watched(humongous=5, log="/var/log/gc.log"))
    assert "in its log /var/log/gc.log" in found.sentence
    assert not judged(allocates_humongous_objects, watched(humongous=1))
    assert not judged(allocates_humongous_objects, watched(last=collector(at=102.0, name="Parallel"), humongous=5))


def test_what_is_no_jvm_has_none_of_it():
    for rule in (old_generation_fills, collections_take_its_time, metaspace_grows, allocates_humongous_objects):
        assert not judged(rule, None)
        assert not list(rule(snapshot(thread())))


def test_a_jvm_that_does_not_answer_and_one_that_is_only_starved():
    def told(*silence, **more):
        return list(jvm_does_not_answer(replace(snapshot(thread()), silence=Silence(*silence, **more))))

    (found,) = told("safepoint", "its thread sum runs on", 7, 12.0, lasting=True)
    assert found.severity == "critical" and "for 12 s" in found.title and "poll" in found.sentence
    (found,) = told("operation", "its VM Thread works", since_s=3.0)
    assert found.severity == "warning" and "poll" not in found.sentence
    assert not told("cpu", "its thread main got no CPU") and not told("stopped", "it is stopped", lasting=True)
    assert not list(jvm_does_not_answer(snapshot(thread())))
