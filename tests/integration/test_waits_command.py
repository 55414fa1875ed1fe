"""`pellucid waits` as a person and a program use it: the screen, JSON, Graphviz, a wrong pid."""

import json
import subprocess
import sys

from tests.waiting import started

PELLUCID = [sys.executable, "-m", "pellucid"]


def run(*arguments):
    return subprocess.run([*PELLUCID, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_a_deadlock_on_the_screen_in_json_and_as_a_graph():
    with started("abba", versions=("3.13",)) as pids:
        (pid,) = pids.values()
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
        assert "AB (user): waits for asyncio.Lock" in run("stacks", "--tasks", str(pid)).stdout
        told = json.loads(run("stacks", "--tasks", "--json", str(pid)).stdout)
        task = next(one for one in told["tasks"] if one["name"] == "AB")
        assert {"name", "coroutine", "state", "stack", "awaits", "awaited_by"} <= task.keys()
        assert {"function", "qualname", "file", "line"} <= task["stack"][0].keys()
        assert "task AB: asyncio.Lock" in run("ps", "--tree", str(pid)).stdout
        assert json.loads(run("ps", "--tree", "--json", str(pid)).stdout)["branches"][0]["process"]["pid"] == pid


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
