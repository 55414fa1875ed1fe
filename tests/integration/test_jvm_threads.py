"""`stacks`, `waits` and `why` of JVMs: the threads are jstack's, a deadlock is the one that jstack finds, and nothing is sent that could end a process."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pellucid.diagnose.engine import diagnose
from pellucid.diagnose.waits import report
from pellucid.kernel import procfs
from pellucid.kernel.tasks import tasks
from pellucid.model.errors import NoSuchProcess, NotPermitted, NotUnderstood, Partial
from pellucid.observe.jvm_collector import report as collected
from pellucid.observe.jvm_heap import of_pid
from pellucid.observe.snapshot import snapshot
from pellucid.observe.stacks import stacks
from pellucid.observe.wait_graph import family
from pellucid.runtimes.jvm.attach import Attach
from tests import jvms
from tests.nobody import as_nobody
from tests.settling import until


@pytest.fixture(scope="module")
def knotted(java):
    with java("States", "deadlock") as one:
        yield one


def test_stacks_are_those_of_jstack(knotted):
    def of_jstack():
        told = jvms.tool("jstack", str(knotted.pid))
        bodies = re.findall(r'^"([^"]*)" #\d+ .*?\n(.*?)(?=^"|^JNI)', told, re.MULTILINE | re.DOTALL)
        calls = {name: re.findall(r"^\tat ([^(]*)\(", body, re.MULTILINE) for name, body in bodies}
        return {name: of_thread for name, of_thread in calls.items() if of_thread}

    def both():
        """What jstack says before and after our look, and the look: a thread may just be on its way to where it rests."""
        before, seen, after = of_jstack(), stacks(knotted.pid).threads, of_jstack()
        return (before, seen) if before == after else None

    told, threads = until(both)
    seen = {thread.name: thread for thread in threads if thread.python}
    assert {name: [frame.qualname for frame in seen[name].frames] for name in told} == told
    assert {"main", "monitor-waiter", "lock-waiter", "taker"} <= told.keys() & seen.keys()
    assert str(seen["main"].frames[-1]).startswith("main (States.java:")


def test_waits_have_the_deadlocks_and_the_holders(knotted):
    found = until(lambda: two if len((two := report(family((knotted.pid,)))).cycles) == 2 else None)
    knots = {frozenset(cycle.threads) for cycle in found.cycles}
    told = jvms.tool("jstack", str(knotted.pid))
    of_jstack = {
        frozenset(re.findall(r'^"([^"]*)":$', part, re.MULTILINE))
        for part in re.findall(r"^Found one Java-level deadlock:\n=+\n(.*?)^Java stack", told, re.MULTILINE | re.DOTALL)
    }
    assert knots == of_jstack == {frozenset({"left-right", "right-left"}), frozenset({"first-second", "second-first"})}
    assert all(cycle.confidence == "certain" for cycle in found.cycles)
    rows = {row.thread: row for row in found.waits}
    assert [one.name for one in rows["monitor-waiter"].holders] == ["monitor-holder"]
    assert [one.name for one in rows["lock-waiter"].holders] == ["lock-holder"]
    assert rows["taker"].kind == "LinkedBlockingQueue"
    assert rows["Reference Handler"].kind == rows["Finalizer"].kind == "references to clear"
    assert "GC Thread#0" not in rows


def test_why_says_the_deadlock_first(knotted):
    seen = snapshot(knotted.pid)
    first = diagnose(seen)[0]
    assert first.rule == "deadlock" and first.confidence == "certain" and "thread dump" in first.evidence[0].source
    assert seen.cost.stopped_s is not None


def test_a_program_without_a_deadlock_has_none(java):
    with java("States", "spin") as healthy:
        found = report(family((healthy.pid,)))
        assert not found.cycles

        def told():
            """Once the compilers of the JVM rest and each thread is where it stays."""
            seen = snapshot(healthy.pid)
            findings = diagnose(seen)
            busiest = max(seen.threads, key=lambda thread: thread.cpu_share or 0.0)
            assert not any(one.rule == "deadlock" for one in findings)
            return (
                busiest.name == "spinner"
                and str(busiest.frames[0]).endswith("(States.java:103)")
                and any(one.rule == "lock" and "monitor-waiter" in one.title for one in findings)
                and any("idle" in one.title for one in findings)
            )

        until(told)
        process = healthy.process
        process.kill()
        process.wait()
        with pytest.raises(NoSuchProcess):
            stacks(healthy.pid)


def test_what_does_not_catch_sigquit_is_left_alone(java):
    with java("States", options=("-Xrs", "-Xmx64m")) as one:
        assert stacks(one.pid).threads, (
            "it listens from its start, since SIGQUIT can't tell it to (AttachListener::init_at_startup)"
        )
        os.unlink(f"/tmp/.java_pid{one.pid}")
        with pytest.raises(NotUnderstood, match="-Xrs"):
            stacks(one.pid)
        time.sleep(0.1)
        assert one.process.poll() is None
        assert not os.path.lexists(f"/tmp/.attach_pid{one.pid}")
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            with pytest.raises(NotUnderstood, match=r"libjvm\.so"):
                Attach(sleeper.pid)
            assert sleeper.poll() is None
        finally:
            sleeper.kill()


def test_a_jvm_that_forbids_attaching_prints_nothing(java):
    with java("States", options=("-XX:+DisableAttachMechanism", "-Xmx64m")) as one:
        with pytest.raises(NotUnderstood, match="DisableAttachMechanism"):
            stacks(one.pid)
        assert not select.select([one.process.stdout], [], [], 0.1)[0]
        # Its main thread reads stdin, once it has said that it is ready.
        until(lambda: any(finding.rule == "pipe" for finding in diagnose(snapshot(one.pid))))


def test_a_stopped_jvm_and_one_that_does_not_answer(java):
    with java("States") as one:
        with Attach(one.pid) as attach:
            attach.ask("threaddump")
            os.kill(one.pid, signal.SIGSTOP)
            until(lambda: all(task.state == "stopped" for task in tasks(one.pid)[0]))
            with pytest.raises(Partial, match=r"within 0\.3 s"):
                attach.ask("threaddump", limit_s=0.3)
        with pytest.raises(NotUnderstood, match="stopped"):
            stacks(one.pid)
        assert any("Java threads" in gap.what and "stopped" in gap.why for gap in report(family((one.pid,))).gaps)
        os.kill(one.pid, signal.SIGCONT)
        assert stacks(one.pid).threads


def test_a_thread_that_reaches_no_safepoint_is_named(java):
    unpolled = (
        "-XX:TieredStopAtLevel=4",
        "-XX:+UseSerialGC",
        "-XX:-UseCountedLoopSafepoints",
        "-XX:LoopStripMiningIter=0",
    )
    with java("Unpolled", options=("-Xmx64m", *unpolled)) as one:

        def told():
            """Once its loop is compiled; the loop ends now and then, and the JVM answers at that moment."""
            seen = snapshot(one.pid)
            return next((finding for finding in diagnose(seen) if finding.rule == "jvm-silent"), None), seen

        finding, seen = until(lambda: found if (found := told())[0] else None)
        assert seen.silence.why == "safepoint" and seen.silence.lasting
        assert next(thread.name for thread in seen.threads if thread.tid == seen.silence.tid) == "counting"
        assert "its thread counting" in finding.sentence and finding.confidence == "likely"
        assert any(gap.what == "Java stacks" for gap in seen.gaps)
    with java("States") as healthy:
        assert snapshot(healthy.pid).silence is None


def test_another_user_is_refused_and_root_may_ask_for_theirs(java, tmp_path):
    with java("States") as one:

        def look():
            with pytest.raises(NotPermitted) as error:
                stacks(one.pid)
            assert error.value.remedy.startswith("sudo")

        as_nobody(look)
    if os.getuid():
        pytest.skip("becoming another user needs root")
    with java("States", options=("-Xmx64m", "-Djava.io.tmpdir=/tmp"), user=65534, group=65534, cwd="/") as one:
        seen = stacks(one.pid)
        assert seen.process.uid == 65534 and any(thread.name == "taker" for thread in seen.threads)


@pytest.mark.parametrize(
    "version",
    [name for name, _ in jvms.others()]
    or [pytest.param("none", marks=pytest.mark.skip("*** no other JVM: scripts/fetch_jvms.py"))],
)
def test_other_jvms(java, version):
    with java("States", "deadlock", java=dict(jvms.others())[version]) as one:
        until(lambda: len(report(family((one.pid,))).cycles) == 2)


def test_the_command_line(knotted):
    ended = subprocess.run(
        [sys.executable, "-m", "pellucid", "stacks", str(knotted.pid)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "waits for monitor java.lang.Object" in ended.stdout and "stood still" in ended.stdout


def test_virtual_threads_are_tasks(java):
    newer = [path for name, path in jvms.others() if int(name.partition(".")[0]) >= 21]
    if not newer:
        pytest.skip("*** no JVM of Java 21 or later: scripts/fetch_jvms.py")
    from pellucid.observe.virtual_threads import tasks as virtual

    for path in newer:
        with java("Virtual", java=path, options=("-Xmx64m", "-Djdk.virtualThreadScheduler.parallelism=2")) as one:

            def as_meant(pid=one.pid):
                """Ten that sleep and one that runs: a thread that has only just been made is on its way there."""
                found = virtual(pid).tasks
                parked = [task.state for task in found if task.coroutine == "Virtual.park"]
                running = [task.coroutine for task in found if task.state == "running"]
                return parked == ["waiting"] * 10 and running == ["Virtual.lambda$main$0"]

            until(as_meant)
            assert not [name for name in os.listdir("/tmp") if name.startswith(".pellucid-threads")]
            ended = subprocess.run(
                [sys.executable, "-m", "pellucid", "stacks", str(one.pid), "--tasks"],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            assert "and 9 like it (Virtual.park): waits for" in ended.stdout
    with java("States") as old, pytest.raises(NotUnderstood, match="Java 21"):
        virtual(old.pid)


@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("unshare") is None, reason="*** making a pid namespace needs root and unshare"
)
def test_a_jvm_that_has_other_pids(java):
    with java("States", "deadlock", before=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")) as one:
        (pid,) = procfs.children(one.pid)
        found = until(lambda: two if len((two := report(family((pid,)))).cycles) == 2 else None)
        assert all(member.tid for cycle in found.cycles for member in cycle.members)
        assert of_pid(pid).objects > 1000
        assert collected(pid).collector.name == "G1"
        os.kill(pid, signal.SIGKILL)
