"""What a recording tells of hours: numbers that were kept each ten seconds, made up here, since a test can't wait for them."""

import math
import os
import random
import time

import pytest
from msgspec.structs import replace

from pellucid.kernel import procfs
from pellucid.recording import schema, trends
from pellucid.recording.reading import Recording
from pellucid.recording.store import Store
from pellucid.recording.subject import _PUT_COUNTERS, _PUT_PROCESS, boot

MIB = 1 << 20
STEP_S = 10.0


def row(at_s, *, anon=100 * MIB, python=None, descriptors=20, threads=4):
    return {
        "anon": int(anon),
        "known": int(python) if python is not None else None,
        "descriptors": int(descriptors),
        "threads": int(threads),
        "cpu_s": at_s / 10,
    }


def kept(path, number_at, hours):
    """A recording of so many hours of a process whose numbers are `number_at(seconds)`."""
    end = time.time()
    begin = end - hours * 3600
    process = replace(procfs.process(os.getpid()), started_at=begin - 60)
    with Store(str(path)) as store:
        store.add("INSERT INTO session VALUES (1, ?, ?, NULL, 'h', ?, 'pid 1', 10, '0', 1, 1)", begin, end, boot())
        about = schema.pack(process)
        store.add(_PUT_PROCESS, 1, boot(), process.pid, process.start_ticks, 1, begin, end, None, 1, about, None, None)
        for number in range(int(hours * 3600 / STEP_S)):
            at = number * STEP_S
            found = number_at(at)
            store.add(_PUT_COUNTERS, store.segment, 1, begin + at, *(found.get(name) for name in schema.COUNTER_NAMES))
    with Recording(str(path)) as recording:
        return trends.trends(recording, 1)


def noise(spread):
    dice = random.Random(3)
    return lambda: dice.gauss(0, spread)


def test_a_slow_leak_of_objects_is_told_over_hours(tmp_path):
    random_bytes = noise(2 * MIB)

    def leaks(at):
        python = 60 * MIB + at / 3600 * 12 * MIB + random_bytes()
        return row(at, anon=python + 40 * MIB, python=python if at % 60 == 0 else None)

    (found,) = kept(tmp_path / "leak.recording", leaks, 3)
    assert found.rule == "heap-leak"
    assert "MiB an hour" in found.title
    assert "2 h" in found.sentence or "3 h" in found.sentence


def test_descriptors_that_become_more_by_some_an_hour(tmp_path):
    (found,) = kept(tmp_path / "fds.recording", lambda at: row(at, descriptors=20 + at // 300), 2)
    assert found.rule == "descriptor-leak"
    assert "12.0 ± 0.0 an hour" in found.sentence


@pytest.mark.parametrize(
    ("name", "number_at"),
    [
        ("warm-up", lambda at: row(at, anon=100 * MIB + min(at, 1800) * 0.1 * MIB, python=60 * MIB + min(at, 1800) * 0.1 * MIB)),
        ("garbage", lambda at: row(at, anon=100 * MIB + (at % 1700) / 1700 * 80 * MIB, python=60 * MIB + (at % 1700) / 1700 * 80 * MIB)),
        ("day and night", lambda at: row(at, anon=100 * MIB + 50 * MIB * math.sin(at / 2000), threads=10 + 6 * math.sin(at / 2000))),
        ("steady", row),
    ],
)  # fmt: skip
def test_what_is_no_leak_is_called_none(tmp_path, name, number_at):
    assert kept(tmp_path / f"{name}.recording", number_at, 4) == ()


def test_a_short_past_says_nothing(tmp_path):
    assert (
        kept(tmp_path / "short.recording", lambda at: row(at, anon=(100 + at) * MIB, python=(60 + at) * MIB), 0.2) == ()
    )


def test_a_trend_is_told_of_the_moments_at_which_it_lasted(tmp_path):
    path = tmp_path / "told.recording"
    (found,) = kept(path, lambda at: row(at, descriptors=20 + at // 300), 2)
    with Store(str(path)) as store:
        values = (1, 1, found.rule, found.severity, found.confidence, found.title, 1000.0, 2000.0, schema.pack(found))
        store.add("INSERT INTO finding VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)", *values)
    with Recording(str(path)) as recording:
        assert [each.rule for each in trends.known(recording, 1, 2100.0)] == [found.rule]
        assert trends.known(recording, 1, 900.0) == ()
        assert trends.known(recording, 1, 2000.0 + 2 * 3600) == ()
