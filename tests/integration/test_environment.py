"""The environment as started and as it is now, of every interpreter; secrets stay hidden."""

import os
import subprocess
import time

import pytest

from pellucid.kernel import procfs
from pellucid.model.errors import NoSuchProcess, NotPermitted, NotUnderstood
from pellucid.observe.environment import environment
from tests import interpreters
from tests.forked import looked, needs_root, nobody
from tests.integration.test_tasks import OURS

each_python = pytest.mark.parametrize("python", interpreters.each((*interpreters.OLDER, *interpreters.EXPECTED)))
GIVEN = {"ANSWER": "42", "DROPPED": "1", "SIGNING_KEY": "hush", "DB": "postgres://app:pw@db/x", "KEPT": "same"}


@each_python
def test_what_changed_since_the_start(target, python):
    process, _ = target(python, "changing_environment.py", env={**os.environ, **GIVEN})
    report = environment(process.pid)
    found = {one.name: (one.start, one.now) for one in report.variables}
    assert found["ANSWER"] == ("42", "43")
    assert found["ADDED"] == (None, "x" * 3000)
    assert found["DROPPED"] == ("1", None)
    assert found["KEPT"] == ("same", "same")
    assert found["SIGNING_KEY"] == ("***", "*** (another value than at start)")
    assert found["DB"] == ("postgres://app:***@db/x", "postgres://app:***@db/x")
    assert {one.name for one in report.variables if one.redacted} >= {"SIGNING_KEY", "DB"}
    assert not report.gaps
    shown = {
        one.name: (one.start, one.now, one.redacted) for one in environment(process.pid, show_secrets=True).variables
    }
    assert shown["SIGNING_KEY"] == ("hush", "another", False)
    assert shown["DB"][0] == GIVEN["DB"]


@pytest.mark.parametrize("python", interpreters.each())
def test_an_os_environ_that_was_replaced(target, python):
    process, _ = target(python, "changing_environment.py", "replaced", env={**os.environ, **GIVEN})
    found = {one.name: one for one in environment(process.pid).variables}
    assert (found["ANSWER"].now, found["ANSWER"].python) == ("43", "44")
    assert (found["ONLY_PYTHON"].start, found["ONLY_PYTHON"].now, found["ONLY_PYTHON"].python) == (None, None, "1")
    assert (found["KEPT"].differs, found["KEPT"].python) == (True, None)
    assert "a third" not in str(found["SIGNING_KEY"])
    assert found["SIGNING_KEY"].differs
    assert {one.name for one in found.values() if one.differs} == {"ANSWER", "ONLY_PYTHON", "KEPT", "SIGNING_KEY"}
    plain, _ = target(python, "changing_environment.py", env={**os.environ, **GIVEN})
    assert not any(one.differs for one in environment(plain.pid).variables)


def test_a_program_that_is_no_python():
    child = subprocess.Popen(["sleep", "30"], env={"ONLY": "this"})
    try:
        while not procfs.read_file(f"/proc/{child.pid}/wchan").endswith(b"nanosleep"):
            time.sleep(0.01)
        report = environment(child.pid)
        assert [(one.name, one.start, one.now) for one in report.variables] == [("ONLY", "this", "this")]
        assert not report.gaps
    finally:
        child.kill()
        child.wait()


def test_while_it_changes_all_the_time(target):
    """Each look ends, with the variables of one moment, or says that it kept changing."""
    process, _ = target(OURS, "changing_environment.py", "moving", env={**os.environ, **GIVEN})
    now = 0
    for _ in range(60):
        report = environment(process.pid)
        found = {one.name: one.now for one in report.variables}
        if report.gaps:
            assert "kept changing" in report.gaps[0].why
        else:
            now += 1
            assert found["ANSWER"] == "43"
            assert found["KEPT"] == "same"
    assert now


def test_a_title_written_over_the_environment():
    """As setproctitle does: the kernel then has garbage for what the program was started with."""
    program = (
        "import ctypes, os, time\n"
        "stat = open('/proc/self/stat').read().rpartition(')')[2].split()\n"
        "start, end = int(stat[47]), int(stat[48])\n"
        "ctypes.memset(start, ord('t'), min(200, end - start - 1))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    child = subprocess.Popen([OURS.path, "-c", program], stdout=subprocess.PIPE, env={"FIRST": "a" * 300, "LAST": "z"})
    try:
        assert child.stdout.readline()
        report = environment(child.pid)
        assert any("wrote over it" in gap.why for gap in report.gaps)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_bad_targets():
    with pytest.raises(NoSuchProcess):
        environment(4_000_000)
    child = subprocess.Popen(["true"])
    try:
        while procfs.process(child.pid).state != "zombie":
            time.sleep(0.01)
        with pytest.raises(NotUnderstood):
            environment(child.pid)
    finally:
        child.wait()


@needs_root
def test_another_users_environment():
    child = subprocess.Popen(["sleep", "30"])

    def ask():
        try:
            environment(child.pid)
        except NotPermitted as error:
            return error.tried, error.remedy

    try:
        tried, remedy = looked(ask, nobody)
        assert tried == f"read the environment of pid {child.pid} (/proc/{child.pid}/environ)"
        assert remedy == f"sudo pellucid env {child.pid}"
    finally:
        child.kill()
        child.wait()


@needs_root
def test_a_thread_of_the_kernel_has_none():
    if procfs.process(2).name != "kthreadd":
        pytest.skip("pid 2 is not kthreadd here")
    with pytest.raises(NotUnderstood):
        environment(2)
