"""The collector of a running Python, read from outside, beside what gc says inside; and each thing that can be wrong with it."""

import json
import subprocess
import sys

import pytest

from pellucid.diagnose.collector import explain, within
from pellucid.model.errors import NoSuchProcess
from pellucid.observe.gc import watch
from pellucid.runtimes.cpython.gc_state import states
from pellucid.runtimes.cpython.recognise import attach
from tests import interpreters
from tests.waiting import started

OURS = interpreters.Interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.executable)


@pytest.fixture
def collecting(target):
    def start(way, python=OURS):
        made.append(target(python, "collecting.py", way, stdin=subprocess.PIPE)[0])
        return made[-1]

    made = []
    yield start
    for process in made:
        process.kill()
        process.stdin.close()


def told_inside(process):
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@pytest.mark.parametrize("python", interpreters.each())
@pytest.mark.parametrize("way", ["quiet", "off", "frozen", "garbage"])
def test_the_record_is_what_gc_itself_says(collecting, python, way):
    process = collecting(way, python)
    stats, thresholds, counts, enabled, frozen, garbage = told_inside(process)
    with attach(process.pid) as found:
        found.read()
        (state,) = states(found)
        seen = state.read()
    assert [one.collections for one in seen.generations] == [one["collections"] for one in stats]
    assert [one.collected for one in seen.generations] == [one["collected"] for one in stats]
    assert [one.uncollectable for one in seen.generations] == [one["uncollectable"] for one in stats]
    assert [one.threshold for one in seen.generations] == thresholds
    assert abs(seen.generations[0].count - counts[0]) < 200  # json.dumps makes some objects of its own
    assert seen.enabled == enabled
    assert (seen.frozen, seen.frozen_all) == (frozen, True)
    assert seen.garbage == garbage
    assert ("SAVEALL" in seen.debug) == (way == "garbage")
    if python.minor >= 15:
        assert seen.generations[0].time_s == pytest.approx(stats[0]["duration"])
    else:
        assert seen.generations[0].time_s is None


def rules(seen):
    return {finding.rule: finding for finding in explain(seen)}


def test_a_busy_collector_under_every_version():
    with started("churn", program="collecting.py") as pids:
        for version, pid in pids.items():
            process, seen = watch(pid, 0.6)
            assert process.runtime.startswith(f"CPython {version}")
            assert seen.share > 0.1, version
            assert "gc-time" in rules(seen), version
            if not sum(
                one.count for one in within(seen)
            ):  # on a crowded machine one collection may take longer than that
                _, seen = watch(pid, 6.0)
            assert sum(one.count for one in within(seen)) > 0


def test_a_rising_floor_is_told_and_a_short_look_makes_it_only_possible(collecting):
    process = collecting("floor")
    for seconds in (2.0, 6.0, 18.0):  # on a crowded machine it takes longer until it has collected a few times
        seen = watch(process.pid, seconds)[1]
        if "gc-floor" in rules(seen):
            break
    found = rules(seen)["gc-floor"]
    assert found.confidence == "possible"
    assert "survive each full collection" in found.title


def test_each_state_is_told_and_a_quiet_one_is_not(collecting):
    assert not rules(watch(collecting("quiet").pid, 0.2)[1])
    off = rules(watch(collecting("off").pid, 0.2)[1])["gc-disabled"]
    assert "gc.disable()" in off.title
    assert off.severity == "notice"
    frozen = rules(watch(collecting("frozen").pid, 0.2)[1])["gc-frozen"]
    assert frozen.severity == "info"
    garbage = rules(watch(collecting("garbage").pid, 0.2)[1])["gc-garbage"]
    assert "DEBUG_SAVEALL" in garbage.sentence


def test_it_ends_while_it_is_looked_at(collecting):
    process = collecting("quiet")
    _, seen = watch(process.pid, 60, every_s=0.1, heard=lambda *_: process.kill())
    assert 0 < seen.seconds < 50
    process.wait()
    with pytest.raises(NoSuchProcess):
        watch(process.pid, 0.1)


def test_the_command(collecting):
    process = collecting("churn")
    base = [sys.executable, "-m", "pellucid", "gc", str(process.pid), "-d", "0.3"]
    text = subprocess.run(base, capture_output=True, text=True, check=True).stdout
    assert "the garbage collector runs for" in text
    assert "generation 2" in text
    lines = subprocess.run(
        [*base[:-1], "2", "--watch", "--interval", "0.1"], capture_output=True, text=True, check=True
    ).stdout
    assert lines.count("in collections") >= 4
    report = json.loads(subprocess.run([*base, "--json"], capture_output=True, check=True).stdout)
    assert [one["name"] for one in report["generations"]] == ["generation 0", "generation 1", "generation 2"]
    assert {"name", "count", "time_s"} <= report["collections"][0].keys()
    assert report["process"]["pid"] == process.pid
