"""`pellucid jvm`: commands are passed on, properties hide secrets, and a JVM that runs is armed to write a dump when it dies."""

import subprocess
import sys

from tests import jvms


def pellucid(*arguments):
    ended = subprocess.run(
        [sys.executable, "-m", "pellucid", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_commands_flags_and_properties(java):
    options = ("-Xmx48m", "-Ddb.password=swordfish")
    with java("MemLeak", "10", options=options) as one:
        status, out, _ = pellucid("jvm", "cmd", str(one.pid), "VM.version")
        assert status == 0 and out.strip() in jvms.tool("jcmd", str(one.pid), "VM.version")
        assert pellucid("jvm", "cmd", str(one.pid), "no.such")[0] == 1
        assert "Thread.print" in pellucid("jvm", "cmd", str(one.pid))[1]
        assert "-XX:MaxHeapSize=50331648" in pellucid("jvm", "flags", str(one.pid))[1]
        _, out, _ = pellucid("jvm", "properties", str(one.pid))
        assert "java.version=" in out and "swordfish" not in out and "db.password=***" in out
        assert "swordfish" in pellucid("jvm", "properties", str(one.pid), "--include-values")[1]
    status, _, said = pellucid("jvm", "cmd", str(one.pid), "VM.version")
    assert status == 3 and "try:" in said


def test_an_armed_jvm_writes_its_dump(java, tmp_path):
    with java("MemLeak", "0", options=("-Xmx24m", "-XX:+UseSerialGC"), stderr=subprocess.DEVNULL) as one:
        status, out, said = pellucid("jvm", "arm", str(one.pid), "--path", str(tmp_path / "death.hprof"))
        assert status == 0 and "armed" in out, said
        one.begin()
        one.process.wait(300)
    status, out, _ = pellucid("heap", str(tmp_path / "death.hprof"))
    assert status == 0 and "MemLeak" in out and "static java.lang.System.props" in out


def test_a_jvm_that_has_had_its_first_error_is_armed_too_late(java, tmp_path):
    dump = tmp_path / "death.hprof"
    with java("OutOfMemory", "caught", options=("-Xmx24m", "-XX:+UseSerialGC"), stderr=subprocess.DEVNULL) as one:
        status, out, said = pellucid("jvm", "arm", str(one.pid), "--path", str(dump))
        assert status == 1 and "OutOfMemoryError java_heap_errors=1" in out and "--save" in out, said
        one.begin()
        one.process.wait(300)
    assert not dump.exists(), "HotSpot has changed: it dumps more than once"
