"""The rules of `gc` for Python, each on a record on which it fires and on its healthy look-alike."""

import pytest
from msgspec.structs import replace

from pellucid.diagnose.collector import explain, within
from pellucid.model.gc import Collector, CollectorSample, GcSeen, Generation


def collector(
    collections=(100, 10, 1),
    enabled=True,
    threshold=700,
    garbage=0,
    debug=(),
    frozen=0,
    long_lived=50_000,
    collected=1000,
):
    generations = tuple(
        Generation(
            number, f"generation {number}", threshold if number == 0 else 10, 5, count, collected * (number + 1), 0
        )
        for number, count in enumerate(collections)
    )
    return Collector(0, enabled, debug, False, generations, False, garbage, frozen, True, long_lived=long_lived)


def seen(first=None, last=None, share=0.0, error=0.01, samples=(), seconds=2.0):
    first = first or collector()
    return GcSeen(41, seconds, (first,), (last or first,), tuple(samples), share, error, "50 of 100 readings", 0.0)


def rules(look):
    found = explain(look)
    assert all(finding.evidence for finding in found)
    return {finding.rule: finding for finding in found}


def test_a_collector_that_runs_most_of_the_time():
    found = rules(seen(last=collector(collections=(2100, 210, 21), collected=5000), share=0.5))["gc-time"]
    assert found.severity == "warning"
    assert "2000 of generation 0, 200 of generation 1, 20 of generation 2 in 2.0 s" in found.sentence
    assert "20 full collections walked all of some 50,000 objects each time" in found.sentence
    assert found.confidence == "certain"


def test_a_share_that_is_small_or_hardly_measured():
    assert not rules(seen(share=0.03))
    assert not rules(seen(share=0.12, error=0.09))
    assert rules(seen(share=0.5, error=0.2))["gc-time"].confidence == "likely"
    assert rules(seen(share=0.15))["gc-time"].severity == "notice"


@pytest.mark.parametrize("off", [collector(enabled=False), collector(threshold=0)])
def test_automatic_collection_is_off(off):
    assert rules(seen(first=off))["gc-disabled"].severity == "notice"


def test_off_but_collected_by_the_program_itself():
    assert not rules(seen(first=collector(enabled=False), last=collector(enabled=False, collections=(100, 10, 2))))


def test_garbage_that_stays():
    assert rules(seen(first=collector(garbage=12)))["gc-garbage"].severity == "warning"
    meant = rules(seen(first=collector(garbage=12, debug=("SAVEALL",))))["gc-garbage"]
    assert meant.severity == "notice"
    assert "DEBUG_SAVEALL" in meant.sentence


def test_frozen_objects_are_told_and_those_of_3_12_itself_are_not():
    assert rules(seen(first=collector(frozen=20_000)))["gc-frozen"].severity == "info"
    assert not rules(seen(first=collector(frozen=375)))


def floors(survivors, seconds):
    step = seconds / len(survivors)
    return [CollectorSample(step * number, (0, 0, number), count, None) for number, count in enumerate(survivors)]


def test_more_that_survives_each_full_collection():
    rising = floors([10_000, 11_000, 12_000, 13_000, 14_000, 15_000], 30)
    assert rules(seen(samples=rising, seconds=30))["gc-floor"].confidence == "likely"
    short = floors([10_000, 11_000, 12_000, 13_000, 14_000, 15_000], 3)
    assert rules(seen(samples=short, seconds=3))["gc-floor"].confidence == "possible"


@pytest.mark.parametrize(
    "survivors",
    [
        [10_000] * 6,
        [10_000, 12_000, 14_000, 14_010, 14_000, 14_005, 14_000, 14_002],
        [10_000, 11_000],
        [10_000, 10_010, 10_020, 10_030, 10_040],
        [15_000, 13_000, 12_000, 11_000],
    ],
)
def test_floors_that_are_healthy_or_too_few(survivors):
    assert not rules(seen(samples=floors(survivors, 30), seconds=30))


def test_what_was_done_within_the_look():
    done = within(seen(last=collector(collections=(150, 12, 1), collected=1500)))
    assert [(one.name, one.count) for one in done] == [("generation 0", 50), ("generation 1", 2), ("generation 2", 0)]
    assert done[0].time_s is None
    timed = collector()
    timed = replace(timed, generations=tuple(replace(one, time_s=1.5) for one in timed.generations))
    after = replace(timed, generations=tuple(replace(one, time_s=1.75) for one in timed.generations))
    assert within(seen(first=timed, last=after))[0].time_s == 0.25
