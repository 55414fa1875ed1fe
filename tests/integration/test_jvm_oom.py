"""`oom` of what JVMs really print when they die, of their hs_err files, and of one that is nearly full and lives."""

import os
import signal
import subprocess

import pytest

from pellucid.diagnose.oom import explain
from pellucid.model.oom import OomSeen
from pellucid.observe.oom import of_file, of_pid

FILLED = {
    "GC overhead limit exceeded": "overhead",
    "Java heap space": "heap",
    "thrown from the UncaughtExceptionHandler": "uncaught",
}
"""Which of them a program dies of that fills its heap to the brim depends on how fast its collections are."""


@pytest.mark.parametrize(
    ("case", "rule"),
    [("limit", "array-limit"), ("big", "heap"), ("direct", "direct"), ("overhead", None), ("heap", "heap")],
)
def test_messages_that_this_jvm_prints(java, case, rule):
    with java(
        "OutOfMemory", case, options=("-Xmx24m", "-XX:+UseParallelGC"), wait=False, stderr=subprocess.PIPE
    ) as dying:
        text = dying.process.stderr.read()
        dying.process.stderr.close()
    found = explain(OomSeen(text=text))
    expected = rule or next(rule for message, rule in FILLED.items() if message in text)
    assert [one.rule for one in found] == [f"oom-jvm-{expected}"], text
    if case != "overhead":
        assert "OutOfMemory.java:" in found[0].sentence and "OutOfMemory.main" in found[0].sentence
    if case == "direct":
        assert " MiB, 10.0 MiB more" in found[0].title


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('Exception in thread "main" java.lang.OutOfMemoryError: GC overhead limit exceeded', "overhead"),
        ("java.lang.OutOfMemoryError: PermGen space", "permgen"),
        ("java.lang.OutOfMemoryError: Metaspace", "metaspace"),
        ("java.lang.OutOfMemoryError: Compressed class space", "class-space"),
        (
            "java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory or process/resource limits reached",
            "threads",
        ),
        ('Exception in thread "main" java.lang.OutOfMemoryError: unable to create new native thread', "threads"),
        ("java.lang.OutOfMemoryError: request 1048576 bytes for Chunk::new. Out of swap space?", "swap"),
        ("java.lang.OutOfMemoryError: Direct buffer memory", "direct"),
        ('Exception: java.lang.OutOfMemoryError thrown from the UncaughtExceptionHandler in thread "main"', "uncaught"),
        ("Terminating due to java.lang.OutOfMemoryError: Java heap space", "heap"),
        ("java.lang.OutOfMemoryError: resize (Native method)", "native-method"),
    ],
)
def test_messages_of_other_versions(line, rule):
    found = explain(OomSeen(text=f"some log\n{line}\nmore"))
    assert [one.rule for one in found] == [f"oom-jvm-{rule}"]
    assert found[0].evidence and found[0].next


def test_what_is_no_death_is_told_as_none():
    assert not explain(OomSeen(text="INFO started\njava.lang.IllegalStateException: OutOfMemory is a word\n"))


NATIVE = """\
#
# There is insufficient memory for the Java Runtime Environment to continue.
# Native memory allocation (mmap) failed to map 65536 bytes for committing reserved memory.
#  Out of Memory Error (os_linux.cpp:2798), pid=41, tid=42
"""


def test_hs_err_files(java, tmp_path):
    log = tmp_path / "hs_err.log"
    with java(
        "MemLeak", "10", options=("-Xmx32m", f"-XX:ErrorFile={log}", "-XX:-CreateCoredumpOnCrash"), cwd=str(tmp_path)
    ) as one:
        os.kill(one.pid, signal.SIGSEGV)
        one.process.wait(60)
    seen, _ = of_file(str(log))
    (found,) = explain(seen)
    assert found.rule == "jvm-crash" and "SIGSEGV" in found.title and len(found.evidence) > 3
    (native,) = explain(OomSeen(text="# A fatal error has been detected by the Java Runtime Environment:\n" + NATIVE))
    assert native.rule == "oom-jvm-native" and "64.0 KiB for committing reserved memory" in native.title
    (native,) = explain(OomSeen(text=NATIVE))
    assert native.rule == "oom-jvm-native"


def test_a_jvm_that_lives_and_is_nearly_full(java):
    with java(
        "MemLeak", "1060000", options=("-Xmx64m", "-XX:+UseSerialGC", "-XX:NewSize=2m", "-XX:MaxNewSize=2m")
    ) as full:
        rules = {one.rule: one for one in explain(of_pid(full.pid)[0])}
        assert "oom-jvm-old-full" in rules and f"pellucid jvm arm {full.pid}" in " ".join(
            rules["oom-jvm-old-full"].next
        )
    with java("MemLeak", "1000") as healthy:
        assert not {one.rule for one in explain(of_pid(healthy.pid)[0])} & {"oom-jvm-old-full", "oom-jvm-metaspace"}
