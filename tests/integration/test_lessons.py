"""The first lessons on threads and processes (tests/targets/lessons.py), each described as its teacher would."""

from pellucid.observe.tree import tree
from tests.waiting import look_until, look_until_right, rows, started

LINE = "lessons.py:"


def described(lesson, complete, check):
    """Looks at the lesson under every interpreter until `complete` holds of the rows; nothing is ever found stuck."""

    def all_there(found):
        waits = rows(found)
        if complete(waits) and not found.gaps:
            try:
                check(waits, pid)
            except (AssertionError, KeyError) as wrong:
                raise AssertionError(f"{lesson} on {version}: {found.waits}") from wrong
        else:
            raise AssertionError(f"{lesson} on {version}: {found.waits} {found.gaps}")

    with started(lesson, program="lessons.py") as pids:
        for version, pid in pids.items():
            found = look_until_right(pid, all_there)
            assert not found.findings, (version, [finding.sentence for finding in found.findings])


def test_condition():
    def check(waits, _):
        for name in ("consumer1", "consumer2"):
            assert (waits[name].kind, waits[name].object, waits[name].detail) == ("Condition", "cv", "2 waiters")
            assert waits[name].at.startswith(LINE)
            assert waits[name].at.endswith(" in consumer")

    described("condition", lambda waits: {"consumer1", "consumer2"} <= waits.keys(), check)


def test_condition_of_which_one_was_let_through():
    def check(waits, _):
        asleep, outside = sorted((waits["consumer1"], waits["consumer2"]), key=lambda one: one.kind != "sleep")
        assert (asleep.kind, outside.kind, outside.object) == ("sleep", "RLock", "cv._lock (Condition._lock)")
        (holder,) = outside.holders
        assert (holder.tid, holder.confidence) == (asleep.tid, "certain")

    described("condition_notified", lambda waits: {"consumer1", "consumer2"} <= waits.keys(), check)


def test_semaphore_with_three_of_ten_inside():
    def check(waits, _):
        inside = {name for name in waits if name.startswith("thread_") and waits[name].kind == "sleep"}
        outside = [one for name, one in waits.items() if name.startswith("thread_") and name not in inside]
        assert len(inside) == 3
        assert len(outside) == 7
        for one in outside:
            assert (one.kind, one.object, one.detail) == ("Semaphore", "s", "value 0, 7 waiters")
            assert {holder.name for holder in one.holders} == inside
        assert waits["MainThread"].kind == "end of all threads"

    described("semaphore", lambda waits: sum(name.startswith("thread_") for name in waits) == 10, check)


def test_event_with_and_without_a_timeout():
    def check(waits, _):
        assert (waits["blocking"].kind, waits["blocking"].object, waits["blocking"].timed) == ("Event", "e", False)
        assert (waits["non-blocking"].kind, waits["non-blocking"].object) == ("Event", "e")
        assert 150 < waits["non-blocking"].left_s < 200
        assert any(one.since_s is not None for one in waits.values())  # the kernel forgets it of a task that it moves

    described("event", lambda waits: {"blocking", "non-blocking"} <= waits.keys(), check)


def test_threads_that_are_joined():
    def check(waits, _):
        assert waits["MainThread"].kind == "Thread"
        assert waits["MainThread"].holders[0].name == "Thread-1 (loop)"
        assert waits["background"].daemon is True
        assert waits["loop"].daemon is False

    described("threads", lambda waits: {"loop", "background"} <= waits.keys(), check)


def test_processes_by_their_names():
    with started("processes", program="lessons.py") as pids:
        for version, pid in pids.items():
            found = look_until(pid, lambda found: "Process" in {one.kind for one in found.waits})
            assert not found.findings, version
            assert rows(found)["MainThread"].kind == "Process", version
            assert rows(found)["MainThread"].holders[0].name.endswith("Process-1"), version
            branches = {branch.name: branch for branch in tree(str(pid)).branches}
            assert {"Process-1", "Process-2", "Test", "assistant"} <= branches.keys(), version
            assert branches["assistant"].daemon is True
            assert branches["Test"].daemon is False


def test_a_lock_that_processes_take_by_acquire():
    def check(waits, _):
        for name in ("Process-2", "Process-3"):
            assert (waits[name].kind, waits[name].object) == ("multiprocessing.Lock", "lock")
            assert waits[name].at.endswith(" in printer")
            (holder,) = waits[name].holders
            assert (holder.pid, holder.confidence) == (waits["Process-1"].pid, "certain")
        assert waits["Process-1"].kind == "sleep"

    described("lock", lambda waits: {"Process-1", "Process-2", "Process-3"} <= waits.keys(), check)


def test_log_lines_of_two_processes_and_the_join_that_is_implied():
    def check(waits, pid):
        assert waits["MainThread"].pid == pid
        assert waits["MainThread"].kind == "Process"
        assert waits["MainThread"].holders[0].pid in {waits["Process-1"].pid, waits["Process-2"].pid}
        assert waits["Process-2"].kind == "multiprocessing.Lock"
        assert waits["Process-2"].holders[0].pid == waits["Process-1"].pid

    described("log_lines", lambda waits: {"MainThread", "Process-1", "Process-2"} <= waits.keys(), check)


def test_a_queue_with_a_sentinel():
    def check(waits, _):
        assert (waits["Process-2"].kind, waits["Process-2"].object) == ("multiprocessing.Queue", "q")
        assert waits["Process-2"].at.endswith(" in my_consumer")
        assert waits["Process-1"].pid in {holder.pid for holder in waits["Process-2"].holders}
        assert waits["MainThread"].holders[0].pid == waits["Process-1"].pid

    described(
        "queue",
        lambda waits: {"Process-1", "Process-2"} <= waits.keys() and waits["Process-1"].kind == "sleep",
        check,
    )


def test_a_lifo_queue_of_a_manager():
    with started("lifo", program="lessons.py") as pids:
        for version, pid in pids.items():
            found = look_until(pid, lambda found: {"Manager proxy", "LifoQueue"} <= {one.kind for one in found.waits})
            assert not found.findings, version
            (taker,) = [one for one in found.waits if one.kind == "Manager proxy"]
            (served,) = [one for one in found.waits if one.kind == "LifoQueue"]
            assert (taker.process, taker.object) == ("Process-2", "lifo"), version
            assert (served.process, served.detail) == ("MyManager-1", "empty"), version
            assert [(one.pid, one.tid) for one in taker.holders] == [(served.pid, served.tid)], version
            assert rows(found)["MainThread"].kind == "sleep", version


def test_a_pool_that_maps():
    def check(waits, _):
        assert waits["MainThread"].kind == "Pool result"
        assert waits["MainThread"].at.endswith(" in pool_map")
        workers = [one for name, one in waits.items() if name.startswith("ForkPoolWorker")]
        assert len(workers) == 3
        assert all(one.kind == "sleep" and one.at.endswith(" in doubler") for one in workers)

    described("pool_map", lambda waits: sum(one.kind == "sleep" for one in waits.values()) >= 3, check)


def test_a_result_of_a_pool_that_is_not_waited_for_for_ever():
    def check(waits, _):
        assert waits["MainThread"].kind == "Pool result"
        assert 150 < waits["MainThread"].left_s < 200
        workers = [one for name, one in waits.items() if name.startswith("ForkPoolWorker")]
        assert sorted(one.kind for one in workers) == ["sleep", "work for its pool", "work for its pool"]

    described("pool_async", lambda waits: sum(name.startswith("ForkPoolWorker") for name in waits) == 3, check)
