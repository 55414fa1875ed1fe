"""asyncio tasks on real processes: chains of awaits, locks by their names and holders, cycles, and a loop that stands still."""

import time

from pellucid.diagnose.engine import diagnose
from pellucid.observe.snapshot import snapshot
from pellucid.observe.tasks import tasks
from tests.settling import settled
from tests.waiting import LIMIT_S, look, look_until, look_until_right, started


def test_tasks_with_what_they_await_and_a_cycle_of_two():
    with started("abba", program="tasks.py") as pids:
        for version, pid in pids.items():
            settled(pid)
            seen = {task.name: task for task in tasks(pid).tasks}
            assert seen["middle"].awaits == "asyncio.Event event [1 waiter]", version
            assert [frame.function for frame in seen["middle"].stack] == ["wait", "leaf", "middle"], version
            assert seen["middle"].coroutine == "middle"
            assert seen["getter"].awaits == "asyncio.Queue queue [empty]"
            assert seen["putter"].awaits == "asyncio.Queue queue [1 of max 1]"
            assert seen["outside"].awaits == "asyncio.Semaphore door [value 0]"
            assert seen["outside"].held_by == ("inside",)
            assert seen["inside"].awaits == "sleep"
            assert seen["group"].awaits == "gather [1 of 1 pending]: in-group"
            assert seen["in-group"].awaited_by == ("group",)
            assert seen["threaded"].awaits == "to_thread [in asyncio_0]"
            assert seen["victim"].awaits == "task AB"
            assert set(seen["AB"].awaited_by) >= {"victim"}
            assert seen["AB"].held_by == ("BA",)
            assert seen["AB"].state == "waiting"
            found = look_until(pid, lambda found: found.findings)
            (finding,) = found.findings
            assert (finding.rule, finding.confidence) == ("deadlock", "certain"), version
            assert set(found.cycles[0].threads) == {"AB", "BA"}
            assert "inside its `async with` at tasks.py" in finding.sentence
            assert "victim" in finding.sentence


def test_a_timeout_will_end_it_so_it_is_no_deadlock():
    with started("timed", program="tasks.py") as pids:
        for version, pid in pids.items():
            assert not look(pid).findings, version


def test_a_loop_that_stands_still():
    with started("blocked", program="tasks.py") as pids:
        for version, pid in pids.items():
            limit = time.monotonic() + LIMIT_S
            findings = {}
            while "event-loop-blocked" not in findings and time.monotonic() < limit:
                findings = {finding.rule: finding for finding in diagnose(snapshot(pid))}
            finding = findings["event-loop-blocked"]
            assert finding.severity in {"warning", "critical"}, version
            assert "rude" in finding.sentence
            assert "4 other tasks of the process can't go on" in finding.sentence, (version, finding.sentence)


def test_a_loop_that_stands_still_in_the_graph_of_waits():
    with started("blocked", program="tasks.py", versions=("3.11", "3.15")) as pids:
        for version, pid in pids.items():
            found = look_until(pid, lambda found: found.findings)
            (finding,) = found.findings
            assert finding.rule == "event-loop-blocked", (version, finding)
            assert "rude" in finding.sentence
            assert "ready, and can't go on" in finding.sentence, (version, finding.sentence)


def test_a_call_that_waits_for_its_own_loop():
    with started("threadsafe", program="tasks.py") as pids:
        for version, pid in pids.items():

            def told(found, version=version):
                (finding,) = found.findings
                assert finding.title == "MainThread waits for what only its own event loop could bring", (
                    version,
                    finding,
                )
                assert "threadsafe" in finding.sentence, version

            look_until_right(pid, told)


def test_what_else_a_task_waits_for():
    expected = {
        "to_group": "TaskGroup [1 pending]: in-to-group",
        "condition": "asyncio.Condition changed [1 waiter]",
        "bare": "Future future",
        "shielded": "shield behind-the-shield",
        "joined": "asyncio.Queue taken [1 unfinished]",
        "generator": "asyncio.Event never [5 waiters]",
        "asleep": "sleep",
    }
    with started("kinds", program="tasks.py") as pids:
        for version, pid in pids.items():
            settled(pid)
            found = look_until(pid, lambda found: any(one.thread == "child" for one in found.waits))
            assert not found.findings, (version, [finding.sentence for finding in found.findings])
            seen = {task.name: task for task in tasks(pid).tasks}
            for name, awaits in expected.items():
                assert seen[name].awaits == awaits, (version, name, seen[name].awaits)
            assert seen["executor"].awaits.startswith("call in another thread [in asyncio_"), (
                version,
                seen["executor"],
            )
            assert seen["child"].awaits.startswith("child process [pid "), (version, seen["child"])
            assert seen["first_of"].awaits.startswith("as_completed"), (version, seen["first_of"])
            waits = {one.thread: one for one in found.waits if one.what == "task"}
            assert 250 < waits["asleep"].left_s < 300
            assert 250 < waits["limited"].left_s < 300
            assert waits["executor"].holders[0].name.startswith("asyncio_"), version
            assert not waits["condition"].holders, version


def test_a_lock_that_is_taken_twice_and_one_that_a_condition_takes_again():
    with started("again", program="tasks.py") as pids:
        for version, pid in pids.items():
            settled(pid)
            found = look_until(pid, lambda found: found.findings)
            (finding,) = found.findings
            assert finding.title == "Deadlock: task greedy waits for what it holds itself", (version, finding)
            assert finding.confidence == "certain", version
            assert "no lock of asyncio may be taken again" in finding.sentence, version
            seen = {task.name: task for task in tasks(pid).tasks}
            (inside,) = [name for name in seen if seen[name].awaits == "sleep"]
            waiting = {"notified-0", "notified-1", "notified-2", "enters"} - {inside}
            assert {seen[name].held_by for name in waiting} == {(inside,)}, version
            assert {seen[name].awaits for name in waiting} == {
                "asyncio.Lock lock [3 waiters]",
                "asyncio.Lock condition._lock (Condition._lock) [3 waiters]",
            }


def test_a_process_that_was_forked_while_the_loop_ran_has_no_tasks():
    with started("forked", program="tasks.py") as pids:
        for version, pid in pids.items():

            def told(found, pid=pid, version=version):
                (call,) = [one for one in found.waits if one.thread == "call"]
                (worker,) = found.processes[1:]
                assert (call.kind, call.detail) == ("call in another process", f"in pid {worker.pid}"), version
                assert {one.what for one in found.waits if one.pid == worker.pid} == {"thread"}, version

            found = look_until_right(pid, told)
            assert not found.findings, (version, [finding.sentence for finding in found.findings])
            worker = found.processes[1].pid
            assert not tasks(worker).tasks
            assert any("copies" in gap.why for gap in tasks(worker).gaps)
            assert "event-loop-blocked" not in {finding.rule for finding in diagnose(snapshot(worker))}, version


def test_a_healthy_loop_raises_nothing():
    with started("healthy", program="tasks.py") as pids:
        for _ in range(3):
            for version, pid in pids.items():
                assert not look(pid).findings, version
        for pid in pids.values():
            assert "event-loop-blocked" not in {finding.rule for finding in diagnose(snapshot(pid))}
