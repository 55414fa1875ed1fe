"""Logs of collections: three formats, with any decorations, cut anywhere; what they add up to, and whether the heap leaks."""

import gzip
import os

import pytest

from pellucid.diagnose.gc_log import report
from pellucid.export.gc_html import encode
from pellucid.model.errors import UsageError
from pellucid.present.cli.gc_log_text import lines
from pellucid.runtimes.jvm.gclog import parse, read

UNIFIED = """\
[0.003s][info][gc] Using Serial
[0.325s][info][gc,start    ] GC(0) Pause Young (Allocation Failure)
[0.379s][info][gc,heap     ] GC(0) Tenured: 0K(43712K)->10405K(43712K)
[0.380s][info][gc          ] GC(0) Pause Young (Allocation Failure) 17M->12M(61M) 54.039ms
[1.256s][info][gc,start    ] GC(4) Pause Full (Allocation Failure)
[1.575s][info][gc          ] GC(4) Pause Full (Allocation Failure) 59M->20M(61M) 319.253ms
[2.111s][info][gc          ] GC(5) Pause Full (Allocation Failure) 61M->30M(61M) 405.879ms
[2.500s][info][gc          ] GC(6) Pause Full (Heap Inspection Initiated GC) 61M->5M(61M) 100.000ms
[3.000s][info][gc          ] GC(7) Pause Full (Allocation Failure) 61M->40M(61M) 400.000ms
[4.000s][info][gc          ] GC(8) Pause Full (Allocation Failure) 61M->51M(61M) 400.000ms
"""

JAVA8 = """\
OpenJDK 64-Bit Server VM (25.504-b01) for linux-amd64 JRE (1.8.0_504-8u504-ga-1-b01), built on Aug 20 2026
2026-11-26T10:57:01.100+0000: 0.400: [GC (Allocation Failure) [PSYoungGen: 16384K->2544K(18944K)] 16384K->12330K(62976K), 0.0742954 secs] [Times: user=0.05 sys=0.01, real=0.08 secs]
2026-11-26T10:57:01.900+0000: 1.200: [Full GC (Ergonomics) [PSYoungGen: 2544K->0K(18944K)] [ParOldGen: 30784K->29237K(44032K)] 33328K->29237K(62976K), [Metaspace: 2600K->2600K(1056768K)], 0.3119262 secs] [Times: user=0.40 sys=0.00, real=0.31 secs]
"""

PLAIN8 = """\
[GC (Allocation Failure)  16384K->14400K(62976K), 0.0651507 secs]
[Full GC (Ergonomics)  32376K->29237K(62976K), 0.3119262 secs]
"""

G1_JAVA8 = """\
1.5: [GC pause (G1 Evacuation Pause) (young), 0.0123 secs]
   [Parallel Time: 10.0 ms, GC Workers: 2]
   [Eden: 24.0M(24.0M)->0.0B(13.0M) Survivors: 0.0B->3072.0K Heap: 24.0M(256.0M)->4.0M(256.0M)]
 [Times: user=0.02 sys=0.00, real=0.01 secs]
2.5: [GC pause (G1 Evacuation Pause) (mixed), 0.0200 secs]
   [Eden: 13.0M(13.0M)->0.0B(13.0M) Survivors: 3072.0K->3072.0K Heap: 80.0M(256.0M)->40.0M(256.0M)]
"""

CMS_JAVA8 = """\
3.1: [GC (Allocation Failure) 3.1: [ParNew: 19647K->2175K(19648K), 0.1112 secs] 40000K->38000K(63360K), 0.1115 secs] [Times: user=0.1 sys=0.0, real=0.1 secs]
3.3: [GC (CMS Initial Mark) [1 CMS-initial-mark: 35824K(43712K)] 38001K(63360K), 0.0020 secs] [Times: user=0.0 sys=0.0, real=0.0 secs]
3.9: [Full GC (Allocation Failure) 3.9: [CMS3.95: [CMS-concurrent-mark: 0.1/0.2 secs] [Times: user=0.1 sys=0.0, real=0.1 secs]
 (concurrent mode failure): 43711K->43711K(43712K), 0.5 secs] 63359K->60000K(63360K), [Metaspace: 2600K->2600K(1056768K)], 0.5 secs]
"""

IBM = """\
<af type="tenured" id="1" timestamp="Mar 10 10:00:01 2015" intervalms="0.000">
  <minimum requested_bytes="32" />
  <time exclusiveaccessms="0.015" />
  <tenured freebytes="0" totalbytes="19725304" percent="0" />
  <gc type="global" id="1" totalid="1" intervalms="0.000">
    <timesms mark="6.1" sweep="0.4" compact="0.000" total="6.6" />
    <tenured freebytes="9125304" totalbytes="19725304" percent="46" />
  </gc>
  <tenured freebytes="9125304" totalbytes="19725304" percent="46" />
  <time totalms="6.7" />
</af>
"""

J9 = """\
<gc-start id="5" type="global" contextid="4" timestamp="2020-01-01T00:00:00.100">
  <mem-info id="6" free="1000000" total="4194304" percent="23">
  </mem-info>
</gc-start>
<gc-end id="8" type="global" contextid="4" durationms="12.500" timestamp="2020-01-01T00:00:00.113">
  <mem-info id="9" free="3000000" total="4194304" percent="71">
  </mem-info>
</gc-end>
"""


def judged(text):
    return report(parse(text.splitlines()), 0.0)


def test_the_unified_log_is_added_up():
    found = judged(UNIFIED)
    assert found.collector == "Serial" and found.format == "unified" and len(found.events) == 6
    (young,) = [one for one in found.pauses if one.kind == "young"]
    assert young.count == 1 and young.total_s == pytest.approx(0.054039)
    assert found.span_s == pytest.approx(3.997)
    assert found.throughput == pytest.approx(1 - 1.679171 / 3.997)
    assert found.promotion_rate == pytest.approx((10405 << 10) / 3.997)
    assert [round(left / (1 << 20)) for _, left in found.points] == [20, 30, 40, 51], "without what a tool asked for"
    assert found.verdict_kind == "rising" and "are full in" not in found.verdict, "the heap may still grow"
    with_limit = judged("[0.002s][info][gc,init] Heap Max Capacity: 64M\n" + UNIFIED)
    assert with_limit.limit == 64 << 20 and "the 64.0 MiB are full in" in with_limit.verdict
    assert any("█" in line for line in lines(found)) and any(
        line.startswith("verdict: rising") for line in lines(found)
    )


@pytest.mark.parametrize(
    "decorate",
    [
        lambda line: line.partition("]")[2].partition("]")[2].partition("]")[2].strip(),
        lambda line: f"[2026-11-26T10:52:0{line[1:6]}+0000]" + line.partition("]")[2],
        lambda line: f"[{round(float(line[1:6]) * 1000)}ms][1234][main]" + line.partition("]")[2],
    ],
)
def test_decorations_do_not_matter(decorate):
    plain, other = judged(UNIFIED), judged("\n".join(decorate(line) for line in UNIFIED.splitlines()))
    assert [(one.kind, one.after, one.pause_s) for one in other.events] == [
        (one.kind, one.after, one.pause_s) for one in plain.events
    ]
    if other.span_s is not None:
        assert other.span_s == pytest.approx(plain.span_s)
    else:
        assert other.gaps and other.allocation_rate is None and " a second" not in other.verdict


def test_a_heap_that_fills_what_it_has_and_may_still_grow_is_not_full():
    cycles = "".join(
        f"[{n}.000s][info][gc] GC({n}) Pause Init Mark 0.1ms\n[{n}.100s][info][gc] GC({n}) Concurrent cleanup 19M->18M(19M) 0.1ms\n"
        for n in range(1, 7)
    )
    assert judged(cycles).points_of == "concurrent cycles" and judged(cycles).verdict_kind == "steady"
    full = "".join(
        f"[{n}.0s][info][gc] GC({n}) Pause Full (Allocation Failure) 61M->60M(61M) 400.0ms\n" for n in range(1, 6)
    )
    assert judged(full).verdict_kind == "full"
    assert judged("[0.01s][info][gc,init] Heap Max Capacity: 512M\n" + full).verdict_kind == "steady"
    flags = "CommandLine flags: -XX:InitialHeapSize=67108864 -XX:MaxHeapSize=67108864 -XX:+PrintGC -XX:+UseSerialGC \n"
    assert (judged(flags + JAVA8).limit, judged(flags + JAVA8).collector) == (64 << 20, "Serial")


def test_java_8_with_and_without_details():
    found = judged(JAVA8)
    assert found.format == "JDK 8" and found.collector == "Parallel"
    first, second = found.events
    assert (first.kind, first.before, first.after, first.capacity) == ("young", 16384 << 10, 12330 << 10, 62976 << 10)
    assert first.promoted == ((16384 - 2544) - (16384 - 12330)) << 10 and first.pause_s == 0.0742954
    assert (second.kind, second.after, second.cause, second.at_s) == ("full", 29237 << 10, "Ergonomics", 1.2)
    assert [(one.kind, one.after) for one in judged(PLAIN8).events] == [("young", 14400 << 10), ("full", 29237 << 10)]


def test_g1_and_cms_of_java_8():
    young, mixed = judged(G1_JAVA8).events
    assert (young.kind, young.before, young.after) == ("young", 24 << 20, 4 << 20)
    assert (mixed.kind, mixed.after, mixed.capacity) == ("mixed", 40 << 20, 256 << 20)
    found = judged(CMS_JAVA8)
    assert [one.kind for one in found.events][:2] == ["young", "pause"]
    assert found.events[0].after == 38000 << 10
    assert "concurrent mode failure: the concurrent collection came too late" in found.troubles


def test_stanzas_of_openj9():
    (found,) = judged(IBM).events
    assert (found.kind, found.before, found.after, found.capacity) == ("full", 19725304, 19725304 - 9125304, 19725304)
    assert found.pause_s == pytest.approx(0.0067)
    (found,) = judged(J9).events
    assert (found.kind, found.before, found.after, found.pause_s) == ("full", 3194304, 1194304, 0.0125)


def test_a_full_heap_is_told_and_a_steady_one_is_not():
    full = "\n".join(
        f"[{n}.0s][info][gc] GC({n}) Pause Full (Allocation Failure) 61M->61M(61M) 500.000ms" for n in range(1, 6)
    )
    assert judged(full).verdict_kind == "full"
    steady = "\n".join(
        f"[{n}.0s][info][gc] GC({n}) Pause Full (System.gc()) 60M->2{n % 2}M(61M) 5.000ms" for n in range(1, 9)
    )
    assert judged(steady).verdict_kind == "steady"
    young = "\n".join(
        f"[{n}.0s][info][gc] GC({n}) Pause Young (Normal) (G1 Evacuation Pause) 3{n}M->2{n}M(61M) 5.000ms"
        for n in range(9)
    )
    assert judged(young).verdict_kind == "unknown", "what young collections leave proves nothing"


@pytest.mark.parametrize("text", [UNIFIED, JAVA8, G1_JAVA8, CMS_JAVA8, IBM, J9])
def test_a_log_may_be_cut_anywhere(text):
    whole = len(judged(text).events)
    for cut in range(0, len(text), 7):
        assert len(judged(text[:cut]).events) <= whole
        judged(text[cut:])


def test_rotated_and_packed_files_are_one_log(tmp_path):
    half = UNIFIED.splitlines(keepends=True)
    older = tmp_path / "gc.log.0"
    older.write_bytes(gzip.compress("".join(half[:6]).encode()))
    (tmp_path / "gc.log").write_text("".join(half[6:]))
    os.utime(older, (1, 1))
    found = report(read(str(tmp_path / "gc.log")), 0.0)
    assert len(found.events) == 6 and len(found.files) == 2
    assert found.verdict_kind == "rising"


def test_what_is_no_log(tmp_path):
    (tmp_path / "x").write_bytes(os.urandom(1 << 16))
    found = report(read(str(tmp_path / "x")), 0.0)
    assert not found.events and "none of its" in next(lines(found))
    with pytest.raises(UsageError):
        read(str(tmp_path / "missing"))


def test_the_page_holds_no_markup_of_the_log():
    found = judged(UNIFIED.replace("Allocation Failure", "<script>alert(1)</script>"))
    page = encode(found).decode()
    assert "<script>" not in page and "&lt;script&gt;" in page and "<svg" in page and "</html>" in page
