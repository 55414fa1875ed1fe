"""`gc PID` of JVMs: the counters are those of jstat, whichever collector runs; a leak is seen to fill the old generation until the end."""

import json
import os
import signal
import subprocess
import sys

import pytest

from pellucid.kernel.tasks import tasks
from pellucid.model.errors import NotPermitted, NotUnderstood
from pellucid.observe.jvm_collector import Watch, report
from pellucid.present.cli.gc_jvm_text import lines, with_verdict
from tests import jvms
from tests.nobody import as_nobody
from tests.settling import until

JSTAT = {"S0C": ("young", 1), "S1C": ("young", 2), "EC": ("young", 0), "OC": ("old", 0)}
USED = {"S0U": ("young", 1), "S1U": ("young", 2), "EU": ("young", 0), "OU": ("old", 0)}
COUNTS = {"YGC": "young", "FGC": "full", "CGC": "concurrent"}


def pellucid(*arguments):
    ended = subprocess.run(
        [sys.executable, "-m", "pellucid", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def idle(java):
    """A JVM of each collector that has collected and now holds still."""
    started = {}
    for option in ("UseSerialGC", "UseParallelGC", "UseG1GC", "UseShenandoahGC", "UseZGC"):
        started[option] = java("MemLeak", "200000", options=("-Xmx64m", f"-XX:+{option}"), stderr=subprocess.DEVNULL)
    yield started
    for one in started.values():
        one.__exit__()


@pytest.mark.parametrize("option", ["UseSerialGC", "UseParallelGC", "UseG1GC", "UseShenandoahGC", "UseZGC"])
def test_counters_are_those_of_jstat(idle, option):
    pid = idle[option].pid

    def both():
        """What jstat says before and after our reading, and that: ZGC may still be at its last cycle."""
        before, seen, after = jvms.tool("jstat", "-gc", str(pid)), report(pid), jvms.tool("jstat", "-gc", str(pid))
        return (before, seen) if before == after and not seen.collector.cause else None

    text, seen = until(both)
    heads, values = (line.split() for line in text.splitlines())
    told = dict(zip(heads, values, strict=True))
    by_name = {one.name: one for one in seen.generations}
    whole = by_name.get("heap")
    for table, field in ((JSTAT, "capacity"), (USED, "used")):
        for column, (generation, space) in table.items():
            if told[column] == "-":
                continue
            found = whole.spaces[0] if whole and generation == "old" else by_name[generation].spaces[space]
            assert f"{getattr(found, field) / 1024:.1f}" == told[column], column
    if whole is None:
        for column, kind in COUNTS.items():
            if told[column] != "-":
                assert str(seen.collector.count(kind)) == told[column]
    assert f"{seen.collector.time_s:.3f}" == told["GCT"]
    assert option in f"Use{seen.collector.name}GC"
    if seen.collector.metaspace is not None:
        assert f"{seen.collector.metaspace.used / 1024:.1f}" == told["MU"]
    assert "\n".join(lines(seen)).count("\n") >= 4


def test_json_has_the_promised_keys_and_the_reading_leaves_no_trace(idle):
    pid = idle["UseG1GC"].pid
    status, out, _ = pellucid("gc", str(pid), "--json")
    told = json.loads(out)
    assert status == 0 and told["process"]["runtime"].startswith("HotSpot ")
    assert {"name", "used", "capacity", "spaces"} <= told["generations"][0].keys()
    assert {"name", "count", "time_s"} <= told["collections"][0].keys()
    assert not os.path.exists(f"/tmp/.java_pid{pid}"), "the counters need no attaching"


def test_asked_the_jvm_tells_the_use_of_now(idle):
    seen = report(idle["UseParallelGC"].pid, asked=True)
    assert seen.collector.heap_used and seen.collector.metaspace and not seen.gaps
    assert not [name for name in os.listdir("/tmp") if name == f".attach_pid{seen.process.pid}"]


def test_a_leak_fills_the_old_generation_until_the_end(java):
    with java("MemLeak", "0", options=("-Xmx64m", "-XX:+UseG1GC"), stderr=subprocess.PIPE) as leaking:
        watch = Watch(leaking.pid)
        leaking.begin()
        rows = list(watch.rows(0.05, 300))
        found = with_verdict(watch.report())
        watch.close()
        assert "java.lang.OutOfMemoryError" in leaking.process.stderr.read()
        leaking.process.stderr.close()
    assert found.ended and len(rows) > 3
    assert found.collector.old.used > 0.9 * found.collector.heap_limit
    assert found.verdict.startswith("full: ") and found.share > 0.1


def test_a_healthy_program_is_not_told_to_leak(java):
    with java("MemLeak", "1000") as healthy:
        watch = Watch(healthy.pid)
        list(watch.rows(0.1, 0.3))
        assert with_verdict(watch.report()).verdict.startswith("not known: ")
        watch.close()


def test_counters_of_a_stopped_jvm_are_read(idle):
    one = idle["UseSerialGC"]
    os.kill(one.pid, signal.SIGSTOP)
    try:
        until(lambda: all(task.state == "stopped" for task in tasks(one.pid)[0]))
        assert report(one.pid).collector.name == "Serial"
        asked = report(one.pid, asked=True)
        assert "stopped" in asked.gaps[0].why and asked.gaps[0].remedy == f"kill -CONT {one.pid}"
    finally:
        os.kill(one.pid, signal.SIGCONT)


def test_counters_that_are_in_no_file(java):
    with java("MemLeak", "10", options=("-XX:+PerfDisableSharedMem", "-Xmx64m")) as hidden:
        assert report(hidden.pid).collector.heap_limit >= 60 << 20
    with java("MemLeak", "10", options=("-XX:-UsePerfData", "-Xmx64m")) as none:
        with pytest.raises(NotUnderstood, match="UsePerfData"):
            report(none.pid)
        with pytest.raises(NotUnderstood) as error:
            report(os.getpid())
        assert error.value.exit_status == 5


def test_another_user_is_refused_in_three_lines(idle):
    pid = idle["UseG1GC"].pid

    def look():
        with pytest.raises(NotPermitted) as error:
            report(pid)
        assert "sudo" in error.value.remedy

    as_nobody(look)


@pytest.mark.parametrize(
    "version",
    [name for name, _ in jvms.others()]
    or [pytest.param("none", marks=pytest.mark.skip("*** no other JVM: scripts/fetch_jvms.py"))],
)
def test_other_jvms(java, version):
    binary = dict(jvms.others())[version]
    with java("MemLeak", "500000", java=binary, options=("-Xmx64m", "-XX:+UseG1GC")) as one:
        seen = report(one.pid, asked=True)
        assert seen.process.runtime.startswith(f"HotSpot {version}")
        assert seen.collector.name == "G1" and seen.collector.count("young") and seen.collector.heap_used


def test_why_sees_a_heap_that_fills_before_it_is_full(java, tmp_path):
    log = tmp_path / "gc.log"
    options = ("-Xmx64m", "-XX:+UseSerialGC", f"-Xlog:gc:file={log}")

    def told():
        """Of a leak at a steady rate: where the machine held one up in between, of another one."""
        with java("MemLeak", "300000", "20", "50000", options=options) as leaking:
            assert f"it writes a log: pellucid gc {log}" in pellucid("gc", str(leaking.pid))[1]
            status, out, said = pellucid("why", str(leaking.pid), "--json")
            assert status == 0, said
            return {finding["rule"]: finding for finding in json.loads(out)["findings"]}.get("jvm-old-generation")

    found = until(told)
    assert found["severity"] == "warning" and "at that rate" in found["sentence"]
    assert str(log) in found["evidence"][0]["source"]
    with java("MemLeak", "1000") as healthy:
        told = pellucid("why", str(healthy.pid))[1]
        assert "stood still for" in told and len(told.splitlines()) <= 12
        rules = {finding["rule"] for finding in json.loads(pellucid("why", str(healthy.pid), "--json")[1])["findings"]}
        assert not {rule for rule in rules if rule.startswith("jvm")}
