"""`heap` of JVMs: histograms are those of jcmd, retained sizes those of VisualVM's engine, and the leak is named with the way to it."""

import contextlib
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pellucid.diagnose.heap_jvm import hint, told
from pellucid.model.errors import NotUnderstood, UsageError
from pellucid.observe.jvm_dump import diff, objects, of_file
from pellucid.observe.jvm_heap import dump_of_pid, histogram_rows, of_pid
from pellucid.runtimes.jvm.hprof import Hprof, NotADump
from pellucid.runtimes.jvm.hprof_heap import Heap
from pellucid.runtimes.jvm.hprof_holders import held
from tests import jvms

UTF8 = {**os.environ, "LC_ALL": "C.UTF-8"}
JFLUID = jvms.FETCHED.parent / "jfluid-heap.jar"


@pytest.fixture(scope="module")
def leaking(java):
    with java("MemLeak", "60000", options=("-Xmx64m", "-XX:+UseSerialGC")) as one:
        yield one


@pytest.fixture(scope="module")
def dumped(leaking, tmp_path_factory):
    """A dump of what is in use in the leaking program."""
    path = tmp_path_factory.mktemp("dumps") / "leak.hprof"
    dump_of_pid(leaking.pid, str(path), live=True, force=False)
    return path


def test_the_histogram_is_that_of_jcmd(leaking):
    of_jcmd = {
        row.type: (row.count, row.bytes)
        for row in histogram_rows(jvms.tool("jcmd", str(leaking.pid), "GC.class_histogram"))
    }
    seen = {row.type: (row.count, row.bytes) for row in of_pid(leaking.pid, live=True).types}
    assert seen["MemLeak"] == (60000, 960000) and len(seen) > 100
    same = {name for name in seen.keys() & of_jcmd.keys() if seen[name] == of_jcmd[name]}
    assert len(same) > 0.97 * len(seen), "an attach listener has a few objects of its own"


def test_the_leak_is_named_with_its_way(dumped):
    found = told(of_file(str(dumped)))
    suspect = found.suspects[0]
    assert suspect.share > 0.6 and suspect.holder_type == "java.util.concurrent.ConcurrentHashMap"
    assert suspect.key_types[0].type == "MemLeak" and suspect.key_types[0].count == 60000
    assert "held by static java.lang.System.props → java.util.Properties .map" in suspect.sentence
    assert suspect.alike == suspect.sampled == 1000
    assert "possible" in hint(suspect) and "java.util.Hashtable$Entry" in hint(suspect)
    assert found.coverage == 1.0 and not found.gaps
    types = {row.type: row for row in found.types}
    assert types["MemLeak"].own and not types["java.lang.String"].own


@pytest.mark.skipif(not JFLUID.exists(), reason="*** no jfluid-heap.jar of VisualVM: scripts/install_test_tools.sh")
def test_retained_sizes_are_those_of_visualvm(dumped, tmp_path):
    subprocess.run(
        [jvms.JAVAC, "-nowarn", "-cp", str(JFLUID), "-d", str(tmp_path), str(jvms.SOURCES / "HeapOracle.java")],
        check=True,
        timeout=100,
        capture_output=True,
    )
    copy = shutil.copy(dumped, tmp_path / "copy.hprof")  # it writes beside the dump
    line = [jvms.JAVA, "-cp", f"{JFLUID}:{tmp_path}", "HeapOracle", str(copy), "40"]
    said = subprocess.run(line, capture_output=True, text=True, timeout=100, check=True).stdout
    counts = dict(re.findall(r"^class (\S+) (\d+)$", said, re.MULTILINE))
    biggest = re.findall(r"^retained (\S+) (\d+) (\d+)$", said, re.MULTILINE)
    with Hprof(str(dumped)) as dump:
        heap = Heap(dump)
        rows = {row.type: row.count for row in heap.histogram()}
        wrong = {
            name: (count, rows.get(name, 0))
            for name, count in counts.items()
            if name != "java.lang.Class" and rows.get(name, 0) != int(count)
        }
        assert not wrong
        found = held(heap)
        number = {int(id_): at for at, id_ in enumerate(heap.ids.of(slice(None)).tolist())}
        compared = 0
        for name, size, id_ in biggest:
            # A class has no place for its static fields in VisualVM's eyes, and holds neither its loader nor its domain there.
            if name != "java.lang.Class" and "Loader" not in name:
                assert int(found.retained[number[int(id_)]]) == int(size), name
                compared += 1
        assert compared >= 20


def test_counts_alone_are_the_same_counts(dumped):
    whole, quick = of_file(str(dumped)), of_file(str(dumped), suspects=False)
    assert quick.types == whole.types and quick.objects == whole.objects and not quick.suspects


def test_objects_of_a_class_with_fields_and_holders(dumped):
    found = objects(str(dumped), type_name="java.util.Properties")
    (only,) = found.objects
    fields = {field.name: field for field in only.fields}
    assert fields["map"].value.startswith("java.util.concurrent.ConcurrentHashMap 0x") and fields["count"].type == "int"
    assert only.retained_bytes > 1_000_000 and only.way[0].type == "class java.lang.System"
    again = objects(str(dumped), object_id=only.id)
    assert again.objects[0].type == "java.util.Properties"
    keys = objects(str(dumped), type_name="MemL*")
    assert keys.count == 60000 and len(keys.objects) == 20
    assert keys.objects[0].fields[0].value.startswith("java.lang.String 0x"), "texts are not told unless asked for"
    assert objects(str(dumped), object_id=keys.objects[0].id, values=True).objects[0].fields[0].value == '"key"'
    with pytest.raises(UsageError):
        objects(str(dumped), type_name="no.such.Class")


@pytest.mark.skipif(os.getuid() != 0, reason="*** a small disk is mounted by root")
def test_a_disk_that_is_full(java, leaking, tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True, timeout=60)
    try:
        path = str(tmp_path / "heap.hprof")
        with pytest.raises(UsageError, match="there is room for 1 MB"):
            dump_of_pid(leaking.pid, path, live=False, force=False)
        with pytest.raises(NotUnderstood, match="No space left"):
            dump_of_pid(leaking.pid, path, live=True, force=False)
        assert not list(tmp_path.iterdir()), "nothing is left that fills it"
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True, timeout=60)


def test_a_local_variable_is_told_with_its_thread_and_method(java, tmp_path):
    path = str(tmp_path / "local.hprof")
    with java(
        "LocalLeak", "zakazy-\u0437\u0430\u043a\u0430\u0437", options=("-Xmx64m", "-Dsun.jnu.encoding=UTF-8"), env=UTF8
    ) as one:
        dump_of_pid(one.pid, path, live=True, force=False)
    suspect = told(of_file(path)).suspects[0]
    assert (
        suspect.root
        == 'local variable of thread "zakazy-\u0437\u0430\u043a\u0430\u0437" in LocalLeak.load (LocalLeak.java:11)'
    )
    assert (
        suspect.holder_type == "java.lang.Object[]"
        and f"held by java.util.ArrayList ({suspect.root})" in suspect.sentence
    )


@pytest.mark.parametrize(
    ("options", "layout"),
    [
        (("-XX:+UseSerialGC", "-XX:-UseCompressedOops"), "header 12, references 8, arrays 16 bytes"),
        (("-XX:+UseG1GC", "-XX:ObjectAlignmentInBytes=16"), "header 12, references 4, arrays 16 bytes, aligned to 16"),
    ],
)
def test_sizes_follow_the_layout_of_the_jvm(java, tmp_path, options, layout):
    path = str(tmp_path / "layout.hprof")
    with java("MemLeak", "30000", options=("-Xmx64m", *options)) as one:
        of_jvm = {row.type: row for row in of_pid(one.pid, live=True).types}
        dump_of_pid(one.pid, path, live=True, force=False)
    for found in (of_file(path), of_file(path, suspects=False)):
        assert found.layout == layout
        same = [row for row in found.types if row.type in of_jvm and of_jvm[row.type].count == row.count]
        other = {row.type for row in same if of_jvm[row.type].bytes != row.bytes}
        # The JVM adds fields of its own to some of its classes (threads, modules, loaders), which a dump does not have.
        other = {name for name in other if not name.startswith(("java.lang.", "jdk.internal."))}
        assert len(same) > 100 and not other


def test_two_dumps_are_compared(java, dumped, tmp_path):
    with java("MemLeak", "1000", options=("-Xmx64m", "-XX:+UseSerialGC")) as small:
        dump_of_pid(small.pid, str(tmp_path / "small.hprof"), live=True, force=False)
    grown = {row.type: row.grown_count for row in diff(str(tmp_path / "small.hprof"), str(dumped)).types}
    assert grown["MemLeak"] == 59000 and grown["java.util.concurrent.ConcurrentHashMap$Node"] == pytest.approx(
        59000, abs=50
    )


def test_packed_and_cut_and_damaged_dumps(dumped, tmp_path):
    packed = tmp_path / "leak.hprof.gz"
    whole = dumped.read_bytes()
    packed.write_bytes(gzip.compress(whole, 1))
    assert of_file(str(packed)).types == of_file(str(dumped)).types
    cut = tmp_path / "cut.hprof"
    cut.write_bytes(whole[: len(whole) // 2])
    found = of_file(str(cut))
    assert found.gaps and 0 < found.objects < of_file(str(dumped)).objects
    for place in (len(whole) // 3, len(whole) // 2, len(whole) - 5000):
        damaged = bytearray(whole)
        damaged[place : place + 64] = b"\xee" * 64
        cut.write_bytes(damaged)
        assert of_file(str(cut)).types, "what could be read is told"
    for text in (b"", b"JAVA PROFILE 1.0.2", b"JAVA PROFILE 1.0.2\0" + b"\0" * 4, whole[:5000]):
        cut.write_bytes(text)
        with contextlib.suppress(NotADump):
            assert not of_file(str(cut)).suspects
    packed.write_bytes(gzip.compress(whole, 1)[:100_000])
    assert of_file(str(packed)).gaps


def test_many_cursors_read_what_one_does(dumped, monkeypatch):
    from pellucid.runtimes.jvm import hprof_records

    with Hprof(str(dumped)) as dump:
        view = hprof_records.View(dump)
        begins, _, _ = hprof_records._cursors(dump, view)
        assert len(begins) > 100
        many, lost = hprof_records._lock_step(dump, view)
        one, none = hprof_records._one_by_one(dump, view)
        assert sorted(many.tolist()) == sorted(one.tolist()) and not lost and not none
        # A guess that is wrong, in the middle of a record, is found out.
        monkeypatch.setattr(hprof_records, "_guessed", lambda *_: (begins[50:60] + 3, np.zeros(10, np.int64)))
        again, lost = hprof_records._lock_step(dump, view)
        assert sorted(again.tolist()) == sorted(one.tolist()) and not lost
        del view


def test_ids_of_four_bytes(tmp_path):
    """What a 32-bit JVM writes: one class with an object field and an int, two instances, the first held by a JNI global."""

    def u(*values):
        return b"".join(value.to_bytes(size, "big") for value, size in values)

    def record(tag, body):
        return u((tag, 1), (0, 4), (len(body), 4)) + body

    names = {1: b"Thing", 2: b"next", 3: b"size"}
    texts = b"".join(record(1, u((id_, 4)) + name) for id_, name in names.items())
    loaded = record(2, u((1, 4), (0x100, 4), (0, 4), (1, 4)))
    cls = u(
        (0x20, 1), (0x100, 4), (0, 4), *[(0, 4)] * 6, (8, 4), (0, 2), (0, 2), (2, 2), (2, 4), (2, 1), (3, 4), (10, 1)
    )
    one = u((0x21, 1), (0x200, 4), (0, 4), (0x100, 4), (8, 4), (0x210, 4), (7, 4))
    two = u((0x21, 1), (0x210, 4), (0, 4), (0x100, 4), (8, 4), (0, 4), (8, 4))
    array = u((0x23, 1), (0x220, 4), (0, 4), (5, 4), (8, 1)) + b"hello"
    root = u((0x01, 1), (0x200, 4), (0, 4))
    heap = record(0x0C, cls + one + two + array + root)
    path = tmp_path / "small.hprof"
    path.write_bytes(b"JAVA PROFILE 1.0.1\0" + u((4, 4), (0, 8)) + texts + loaded + heap)
    found = of_file(str(path))
    assert {row.type: row.count for row in found.types} == {"Thing": 2, "byte[]": 1, "java.lang.Class": 1}
    assert not found.gaps and found.reachable_bytes is not None and found.reachable_bytes < found.total_bytes
    told_ = objects(str(path), object_id="0x200").objects[0]
    assert [(field.name, field.value) for field in told_.fields] == [("next", "Thing 0x210"), ("size", "7")]


def test_the_command_line(leaking, dumped, tmp_path):
    line = [sys.executable, "-m", "pellucid", "heap"]
    out = subprocess.run([*line, str(dumped), "--json"], capture_output=True, text=True, timeout=60, check=True).stdout
    report = json.loads(out)
    assert {"types", "total_bytes", "coverage", "suspects", "gaps", "schema", "taken_at"} <= report.keys()
    out = subprocess.run([*line, str(leaking.pid)], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "MemLeak" in out and "without a collection" in out
    out = subprocess.run(
        [*line, str(leaking.pid), "--every", "0.1", "--looks", "2", "--live"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert "first look → last look" in out and "MemLeak" not in out, "it holds still"
    target = Path(tmp_path) / "saved.hprof"
    out = subprocess.run(
        [*line, str(leaking.pid), "--save", str(target)], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "static java.lang.System.props" in out and target.exists()
    again = subprocess.run(
        [*line, str(leaking.pid), "--save", str(target)], capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode == 2 and "--force" in again.stderr
    assert os.path.getsize(target) > 1000


@pytest.mark.parametrize(
    "version",
    [name for name, _ in jvms.others()]
    or [pytest.param("none", marks=pytest.mark.skip("*** no other JVM: scripts/fetch_jvms.py"))],
)
def test_other_jvms(java, version, tmp_path):
    with java("MemLeak", "30000", java=dict(jvms.others())[version]) as one:
        assert {row.type: row.count for row in of_pid(one.pid).types}["MemLeak"] == 30000
        dump_of_pid(one.pid, str(tmp_path / "other.hprof"), live=True, force=False)
    found = told(of_file(str(tmp_path / "other.hprof")))
    assert found.suspects[0].key_types[0].type == "MemLeak" and not found.gaps
