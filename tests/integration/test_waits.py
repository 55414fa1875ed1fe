"""Who waits for whom, on real processes under every interpreter: deadlocks named, other stuck states, and healthy programs left alone."""

import glob
import os
import signal
import sys

import pytest

from pellucid.present.cli.waits_text import lines
from tests import interpreters
from tests.waiting import look, look_until, look_until_right, rows, started


def only(found):
    assert len(found.findings) == 1, [finding.title for finding in found.findings]
    return found.findings[0]


CYCLES = [
    ("abba", "certain", {"pay-1", "pay-2"}, ["Lock other._lock (Account._lock)", "inside its `with` at waiting.py"]),
    ("abba_rlock", "certain", {"pay-1", "pay-2"}, ["RLock other.rlock (Account.rlock)", "RLock owner"]),
    ("abba_acquire", "likely", {"pay-1", "pay-2"}, ["called acquire() at waiting.py", "likely and not certain"]),
    ("four_in_a_ring", "certain", {f"philosopher-{seat}" for seat in range(4)}, ["Lock forks["]),
    (
        "join_while_holding",
        "certain",
        {"MainThread", "flusher"},
        ["the end of thread flusher", "self.lock (Service.lock)"],
    ),
    ("taken_twice", "certain", {"greedy"}, ["which it holds itself", "RLock"]),
    ("wrapped", "likely", {"use-1", "use-2"}, ["inner"]),
    ("managed", "certain", {"gen", "stack"}, ["inside its `with`"]),
]


@pytest.mark.parametrize(("state", "confidence", "threads", "words"), CYCLES, ids=[row[0] for row in CYCLES])
def test_a_deadlock_is_named(state, confidence, threads, words):
    with started(state) as pids:
        for version, pid in pids.items():
            found = look_until(pid, lambda found: found.findings)
            finding = only(found)
            assert finding.rule == "deadlock", (version, finding)
            assert finding.confidence == confidence, (version, finding)
            assert finding.severity == "critical"
            (cycle,) = found.cycles
            assert set(cycle.threads) == threads, (version, cycle)
            assert all(word in finding.sentence for word in words), (version, finding.sentence)
            assert finding.evidence


STUCK = [
    ("owner_gone", "holder-is-gone", "certain", ["patient", "no thread of the process"]),
    ("fork_locked", "lock-copied-by-fork", "certain", ["copied locked by fork", "self.lock (Log.lock)"]),
    ("queues_full", "queue-full", "likely", ["left", "right", "2 of max 2", "Nothing that can be seen"]),
    ("queue_empty", "queue-empty", "likely", ["consumer", "sentinel"]),
    ("slots_lost", "slots-lost", "likely", ["locked-out", "BoundedSemaphore", "value 0 of 2"]),
    ("future_forgotten", "stuck", "likely", ["hopeful", "Future", "nobody is left who could set its result"]),
    ("event_forgotten", "stuck", "likely", ["patient", "nobody is left who could set it", "wait(timeout=...)"]),
    ("executor_starved", "executor-starved", "likely", ["ex_0 computes one future and waits for another"]),
    ("unread_child", "pipe-unread", "likely", ["communicate()"]),
]


@pytest.mark.parametrize(("state", "rule", "confidence", "words"), STUCK, ids=[row[0] for row in STUCK])
def test_what_is_no_cycle_and_yet_stuck(state, rule, confidence, words):
    with started(state) as pids:
        for version, pid in pids.items():
            finding = only(look_until(pid, lambda found: found.findings))
            assert (finding.rule, finding.confidence) == (rule, confidence), (version, finding)
            text = finding.title + finding.sentence
            assert all(word in text for word in words), (version, text)


PROCESSES = [
    ("fork_under_lock", "lock-copied-by-fork", "certain", ["kid", "copied locked by fork", "the parent was inside"]),
    ("file_locks", "deadlock", "certain", ["a lock on fd", "pellucid-test-", "/proc/locks"]),
    ("mp_slots_lost", "slots-lost", "certain", ["w0", "no free slot"]),
    ("mp_abba", "deadlock", "certain", ["P1", "P2", "multiprocessing.Lock", "multiprocessing.RLock"]),
    ("mp_holder_died", "holder-is-gone", "certain", ["w0", "w1", "ended without giving it back"]),
    ("mp_producer_died", "queue-empty", "likely", ["consumer"]),
    ("mp_reader_died", "queue-full", "likely", ["writer", "multiprocessing.Queue q (2 of max 2)"]),
    ("mp_pool_killed_join", "pool-lost-task", "certain", ["the end of pool pool", "both of its pipes are empty"]),
    ("mp_pool_wants_a_lock", "deadlock", "certain", ["ForkPoolWorker", "computes", "before waiting for those who"]),
    ("mp_executor_wants_a_lock", "deadlock", "certain", ["ForkProcess-", "computes", "Future", "multiprocessing.Lock"]),
    ("mp_join_before_drain", "join-before-drain", "likely", ["QueueFeederThread", "get() everything first"]),
    ("mp_pipe_full", "pipes-full", "likely", ["echo", "Both directions"]),
    (
        "mp_pool_killed",
        "pool-lost-task",
        "certain",
        ["Pool result", "both of its pipes are empty", "ProcessPoolExecutor"],
    ),
]


@pytest.mark.parametrize(("state", "rule", "confidence", "words"), PROCESSES, ids=[row[0] for row in PROCESSES])
def test_stuck_across_processes(state, rule, confidence, words):
    with started(state) as pids:
        for version, pid in pids.items():
            finding = only(look_until(pid, lambda found: found.findings))
            assert (finding.rule, finding.confidence) == (rule, confidence), (version, finding)
            text = finding.title + finding.sentence
            assert all(word in text for word in words), (version, text)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("state", ["mp_abba", "mp_holder_died", "mp_pool_killed"])
def test_stuck_across_processes_that_were_not_forked(state, method):
    rule, confidence = next((row[1], row[2]) for row in PROCESSES if row[0] == state)
    with started(state, method, versions=("3.11", "3.15")) as pids:
        for version, pid in pids.items():
            finding = only(look_until(pid, lambda found: found.findings))
            assert (finding.rule, finding.confidence) == (rule, confidence), (version, finding)


def test_a_living_holder_in_another_process_is_named_and_nothing_is_stuck():
    with started("mp_holder") as pids:
        for version, pid in pids.items():
            found = look_until(pid, lambda found: "w1" in rows(found))
            assert not found.findings, version
            assert all(rows(found)[name].holders[0].pid == rows(found)["holder"].pid for name in ("w0", "w1")), version


@pytest.mark.parametrize(("method", "versions"), [("fork", interpreters.EXPECTED), ("spawn", ("3.14",))])
def test_the_worker_that_computes_a_result_is_named_and_said_to_be_stopped(method, versions):
    expected = {"asker": "Future", "fetcher": "Pool result", "locker": "multiprocessing.Lock"}

    def all_there(found):
        waits = rows(found)
        for name, kind in expected.items():
            assert waits[name].kind == kind, waits[name]
            (holder,) = (one for one in waits[name].holders if one.confidence != "possible")
            assert holder.confidence == "certain", waits[name]
            (one,) = (each for each in found.waits if (each.pid, each.tid) == (holder.pid, holder.tid))
            assert one.kind == "sleep", one
            assert one.at.endswith(" in hold_on" if name == "locker" else " in slow"), one

    with started("mp_results", method, versions=versions) as pids:
        for version, pid in pids.items():
            found = look_until_right(pid, all_there)
            assert not found.findings, (version, found.findings)
            assert any("computed by" in line.text for line in lines(found) if "asker" in line.text), version
            stopped = {name: rows(found)[name].holders[0].pid for name in expected}
            for child in stopped.values():
                os.kill(child, signal.SIGSTOP)
            told = look_until(pid, lambda found: len(found.findings) == len(expected)).findings
            assert {one.rule for one in told} == {"holder-stopped"}, (version, told)
            titles = {one.title.split()[0]: one.title for one in told}
            assert all(f"waits for pid {child}" in titles[name] for name, child in stopped.items()), (version, titles)
            assert {one.confidence for one in told} == {"certain"}


def test_a_call_through_a_manager_leads_to_the_thread_that_serves_it():
    with started("mp_manager") as pids:
        for version, pid in pids.items():
            found = look_until(
                pid, lambda found: "taker" in rows(found) and any(w.kind == "LifoQueue" for w in found.waits)
            )
            assert not found.findings, version
            taker = rows(found)["taker"]
            assert (taker.kind, taker.object) == ("Manager proxy", "stack"), version
            (served,) = [one for one in found.waits if one.kind == "LifoQueue"]
            assert served.detail == "empty", version
            (holder,) = taker.holders
            assert (holder.pid, holder.tid, holder.confidence) == (served.pid, served.tid, "certain"), version
            (shown,) = [line.text for line in lines(found) if line.text.startswith("  MainThread: Manager proxy")]
            assert "served by" in shown, shown
            assert "for LifoQueue (empty)" in shown, shown


@pytest.mark.timeout(300)
def test_every_object_by_its_name():
    expected = {
        "eater": ("Condition", "cv", "1 waiter"),
        "visitor_5": ("Semaphore", "s", "value 0, 3 waiters"),
        "blocking": ("Event", None, "2 waiters"),
        "non-blocking": ("Event", "e", "2 waiters"),
        "runner-0": ("Barrier", None, "2 of 4 arrived"),
        "alarm": ("Timer", None, "interval 500 s"),
        "take-lifo": ("LifoQueue", "lifo", "empty"),
        "put-most": ("PriorityQueue", "most", "1 of max 1"),
        "take-simple": ("SimpleQueue", "simple", "empty"),
        "asker": ("Future", "answer", "running"),
        "joiner": ("Thread", "asker", "daemon"),
        "shell": ("child process", None, None),
        "receiver": ("socket", None, ""),
        "stands-before": ("Lock", "self.bolt (Door.bolt)", ""),
        "customer": ("Lock", "desk", ""),
        "imports-too": ("import lock", "slow_to_import", ""),
    }
    holders = {
        "stands-before": ("passes", "likely"),
        "customer": ("clerk", "certain"),
        "imports-too": ("imports", "certain"),
        "asker": ("exec_0", "certain"),
    }

    def all_there(found):
        assert not found.findings, found.findings
        waits = rows(found)
        for name, (kind, called, detail) in expected.items():
            assert waits[name].kind == kind, (name, waits[name])
            assert called is None or waits[name].object == called, (name, waits[name])
            assert detail is None or waits[name].detail == detail, (name, waits[name])

    with started("describe") as pids:
        for version, pid in pids.items():
            found = look_until_right(pid, all_there)
            waits = rows(found)
            assert 250 < waits["non-blocking"].left_s < 300
            assert 450 < waits["alarm"].left_s < 500
            for name, who in holders.items():
                assert [(one.name, one.confidence) for one in waits[name].holders] == [who], (
                    version,
                    name,
                    waits[name],
                )
            shown = [line.text for line in lines(found) if "customer" in line.text]
            assert ", held by clerk; clerk has waited" in shown[0], (version, shown)
            assert "in recvfrom on fd" in shown[0], (version, shown)
            locked = [wait for wait in waits.values() if wait.object == "self.lock (ThreadPool.lock)"]
            assert locked, version
            (holder,) = locked[0].holders
            assert holder.confidence == "certain"
            assert holder.name.startswith("visitor_")
            inside = {holder.name for holder in waits["visitor_5"].holders}
            assert len(inside) == 3, version
            assert all("waiting.py:" in waits[name].at for name in ("eater", "visitor_5", "asker"))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_every_object_that_processes_share_by_its_name(method):
    expected = {
        "in-condition": ("multiprocessing.Condition", "condition", "1 waiter"),
        "in-event": ("multiprocessing.Event", "event", "1 waiter"),
        "in-barrier": ("multiprocessing.Barrier", "barrier", "1 of 3 arrived"),
        "wants-slot": ("multiprocessing.BoundedSemaphore", "door", "value 0, 1 waiter"),
        "wants-value": ("multiprocessing.RLock", "value._lock (Synchronized._lock)", ""),
        "in-queue": ("multiprocessing.Queue", "q", "empty"),
        "in-join": ("multiprocessing.JoinableQueue", "q", "1 unfinished"),
        "in-simple": ("multiprocessing.SimpleQueue", "q", ""),
        "in-pipe": ("multiprocessing.Connection", "connection", ""),
        "in-poll": ("multiprocessing.Connection", "connection", ""),
        "in-put": ("multiprocessing.Queue", "q", "1 of max 1"),
    }
    with started("mp_describe", method, versions=interpreters.EXPECTED if method == "fork" else ("3.13",)) as pids:
        for version, pid in pids.items():
            found = look_until(pid, lambda found: expected.keys() <= rows(found).keys())
            assert not found.findings, (version, found.findings)
            waits = rows(found)
            for name, row in expected.items():
                assert (waits[name].kind, waits[name].object, waits[name].detail) == row, (version, name, waits[name])
            (holder,) = waits["wants-value"].holders
            assert (holder.pid, holder.confidence) == (waits["has-value"].pid, "certain"), version
            first = waits["wants-slot"].holders[0]
            assert (first.pid, first.confidence) == (waits["has-slot"].pid, "likely"), version
            assert 200 < waits["in-event"].left_s < 300
            assert waits["in-poll"].timed
            assert waits["in-poll"].since_s is None or 200 < waits["in-poll"].left_s < 300


def test_who_waits_for_the_gil():
    with started("gil", versions=("3.11", "3.13", "3.15")) as pids:
        for version, pid in pids.items():
            found = look_until(  # whoever said "ready" wants it too as it ends, and a busy machine may let both wait at a moment
                pid,
                lambda found: any(one.kind == "GIL" and one.thread.startswith("spin-") for one in found.waits),
            )
            assert any(one.kind == "GIL" and one.thread.startswith("spin-") for one in found.waits), version
            assert not found.findings, version


@pytest.mark.parametrize(
    "arguments",
    [
        ("healthy_workers",),
        ("healthy_moving",),
        ("healthy_handed_over",),
        ("healthy_pools", "fork"),
        ("healthy_executor", "fork"),
    ],
)
def test_healthy_programs_raise_nothing(arguments):
    with started(*arguments) as pids:
        for _ in range(3):
            for version, pid in pids.items():
                found = look(pid)
                assert not found.findings, (version, [finding.sentence for finding in found.findings])


def test_openmp_after_fork():
    """The threads of the team stayed in the parent (libgomp has no handler for fork: GCC PR 58378)."""
    places = [
        *glob.glob("/usr/lib/*/libgomp.so.1"),
        *glob.glob(f"{sys.prefix}/lib/python3*/site-packages/scikit_learn.libs/libgomp*"),
    ]
    if not places:
        pytest.skip("no libgomp here")
    with started("openmp", places[0], versions=("3.11", "3.15")) as pids:
        for version, pid in pids.items():
            finding = only(look_until(pid, lambda found: found.findings))
            assert finding.rule == "openmp-after-fork", (version, finding)
            assert "libgomp" in finding.sentence
