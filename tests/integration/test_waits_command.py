"""`pellucid waits` as a person and a program use it: the screen, JSON, Graphviz, a wrong pid."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

import pellucid.observe.locks
import pellucid.observe.sockets
import pellucid.observe.tasks
import pellucid.runtimes.cpython.layouts.v3_11
import pellucid.runtimes.cpython.layouts.v3_14  # noqa: F401  nobody may not be able to import any more
from pellucid.diagnose.waits import report
from pellucid.model.errors import NoSuchProcess
from pellucid.observe.blocked import descendants
from pellucid.observe.wait_graph import family
from tests.nobody import as_nobody
from tests.settling import settled
from tests.waiting import started

PELLUCID = [sys.executable, "-m", "pellucid"]


def run(*arguments):
    return subprocess.run([*PELLUCID, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_a_deadlock_on_the_screen_in_json_and_as_a_graph():
    with started("abba", versions=("3.13",)) as pids:
        (pid,) = pids.values()
        settled(pid)
        shown = run("waits", str(pid))
        assert shown.returncode == 0
        assert shown.stdout.startswith("!! critical: Deadlock: pay-")
        assert "Lock other._lock (Account._lock)" in shown.stdout
        told = json.loads(run("waits", "--json", str(pid)).stdout)
        assert told["schema"] == 1
        assert told["process"]["pid"] == pid
        waits = {one["thread"]: one for one in told["waits"]}
        assert {"thread", "kind", "object", "since_s", "holders", "at"} <= waits["pay-1"].keys()
        assert waits["pay-1"]["kind"] == "Lock"
        assert waits["pay-1"]["holders"][0]["name"] == "pay-2"
        assert waits["pay-1"]["at"].startswith("waiting.py:")
        assert set(told["cycles"][0]["threads"]) == {"pay-1", "pay-2"}
        assert told["gaps"] == []
        assert run("waits", "--dot", str(pid)).stdout.startswith("digraph waits {")
        assert run("schema", "waits").returncode == 0
        because = run("why", "--quick", "--fail-on", "critical", str(pid))
        assert because.returncode == 1
        assert "Deadlock" in because.stdout
        stacks = run("stacks", str(pid)).stdout
        assert "held by pay-" in stacks


def test_tasks_and_tree_on_the_screen():
    with started("abba", program="tasks.py", versions=("3.14",)) as pids:
        (pid,) = pids.values()
        settled(pid)
        assert "AB (user): waits for asyncio.Lock" in run("stacks", "--tasks", str(pid)).stdout
        told = json.loads(run("stacks", "--tasks", "--json", str(pid)).stdout)
        task = next(one for one in told["tasks"] if one["name"] == "AB")
        assert {"name", "coroutine", "state", "stack", "awaits", "awaited_by"} <= task.keys()
        assert {"function", "qualname", "file", "line"} <= task["stack"][0].keys()
        assert "task AB: asyncio.Lock" in run("ps", "--tree", str(pid)).stdout
        assert json.loads(run("ps", "--tree", "--json", str(pid)).stdout)["branches"][0]["process"]["pid"] == pid


def test_a_holder_of_another_user_that_may_not_be_read():
    """The count in the child's own memory is a copy that fork made, and the one process that could say so can't be read: no claim."""
    with started("mp_foreign_holder", "fork", versions=("3.11", "3.14")) as pids:
        for pid in pids.values():
            (child,) = descendants(pid, 10)
            settled(pid, child)
            as_nobody(lambda child=child: _hidden_holder(child))
            (waiting,) = report(family((child,))).waits[:1]
            assert {holder.confidence for holder in waiting.holders} <= {"likely", "possible"}


def _hidden_holder(child):
    found = report(family((child,)))
    assert not found.findings, found.findings
    (waiting,) = found.waits
    assert waiting.kind == "multiprocessing.Lock"
    assert all(holder.confidence != "certain" for holder in waiting.holders), waiting
    assert any("can release a shared semaphore" in gap.what for gap in found.gaps), found.gaps


def test_a_child_that_ends_while_it_is_looked_at():
    with started("mp_describe", "fork", versions=("3.13",)) as pids:
        (pid,) = pids.values()
        for child in descendants(pid, 3):  # none of them holds anything
            ending = threading.Timer(0.01, os.kill, (child, signal.SIGKILL))
            ending.start()
            found = report(family((pid,)))
            ending.join()
            assert not [finding for finding in found.findings if finding.confidence == "certain"], found.findings
        with pytest.raises(NoSuchProcess):
            family((descendants(pid, 1)[0], 4_000_000))


def test_a_pid_that_is_not_there_and_a_program_that_is_no_python():
    gone = run("waits", "4000000")
    assert gone.returncode == 3
    assert "try:" in gone.stderr
    assert run("ps", "--tree", "4000000").returncode == 3
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            shown = run("waits", str(sleeper.pid))
            assert shown.returncode == 0
            assert "sleep" in shown.stdout
        finally:
            sleeper.kill()
