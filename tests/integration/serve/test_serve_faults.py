"""Workers that hang, stop and die under real requests: what the client is told, what the log says, what the incident keeps."""

import os
import signal
import time

import pytest

from tests import serving
from tests.serving import Asking, row

TIMEOUT = 3.0


@pytest.fixture(scope="module")
def server(home):
    with serving.serving(home, "faulty", "--workers", "2", "--timeout", str(TIMEOUT)) as server:
        yield server
        assert server.process.poll() is None, "".join(server.lines)


@pytest.fixture
def since(server):
    """The number of log records so far, once both workers are ready again and all of the last test's looks have been told."""
    server.wait_workers(2)
    until = time.monotonic() + 60
    while (open_ones := _undecided(server)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not open_ones, [server.incident(one) for one in open_ones]
    return len(server.log)


def _undecided(server):
    rows = server.ask("/incidents").json["incidents"]
    incidents = [server.incident(row["id"]) for row in rows[:8] if row["at"] > server.began]
    return [
        one["id"]
        for one in incidents
        if one["outcome"] == "open" or (one["kind"] in {"stuck", "silent"} and not one["looks"])
    ]


def line_of(text):
    for number, line in enumerate(serving.FAULTY.read_text().splitlines(), 1):
        if line.strip() == text:
            return number
    raise AssertionError(text)


def test_a_deadlocked_worker_explains_itself_and_is_replaced(server, since):
    asking = Asking(server, row("lock"))
    noticed = server.wait_log("stuck", 60, since)
    place = f"faulty.py:{line_of('with NEVER:')}"
    assert "waited" in noticed["sentence"]
    assert "lock" in noticed["sentence"]
    assert place in noticed["sentence"]
    assert noticed["request"] in noticed["sentence"]
    assert "(1 row)" in noticed["sentence"]

    answer = asking.answer()
    assert answer.status == 504
    assert asking.took_s >= TIMEOUT
    assert answer.json["incident"] == noticed["incident"]
    assert answer.json["request"] == noticed["request"]

    replaced = server.wait_log("replaced", 60, since, incident=noticed["incident"])
    incident = server.incident(noticed["incident"])
    assert incident["kind"] == "stuck"
    assert incident["outcome"] == "replaced"
    assert "504" in incident["client"]
    assert [look["moment"] for look in incident["looks"]] == ["half", "deadline"]
    for look in incident["looks"]:
        assert look["line"] == f"lock ({place})"
        (thread,) = (one for one in look["snapshot"]["threads"] if one["name"] == "predict")
        assert thread["task"]["call"]["name"] == "futex"
        assert thread["wait"]["kind"] == "lock"
        assert look["snapshot"]["graph"]["pids"] == [noticed["pid"]], (
            "its clients, of whatever size, are not looked into"
        )
    assert incident["request"]["rows"] == 1
    assert incident["request"]["age_s"] >= TIMEOUT
    assert place in incident["cause"]
    assert replaced["incident"] == incident["id"]
    assert incident["pid"] not in serving.alive([incident["pid"]])


def test_a_deadlock_of_two_threads_of_a_worker_is_named_as_a_cycle(server, since):
    asking = Asking(server, row("embrace"))
    noticed = server.wait_log("stuck", 60, since)
    assert asking.answer().status == 504
    incident = server.incident(noticed["incident"])
    for told in (noticed["sentence"], incident["cause"]):
        assert "predict has waited" in told, told
        assert "Lock STATISTICS (global of faulty.py)" in told, told
        assert "refresher holds" in told, told
        assert "predict holds" in told, told
        assert "Neither can ever go on" in told, told
    (deadlock,) = [finding for finding in incident["looks"][-1]["findings"] if finding["rule"] == "deadlock"]
    assert deadlock["confidence"] == "certain"


def test_all_workers_deadlocked_get_others_beside_them(server, since):
    asking = [Asking(server, row("lock")) for _ in range(4)]
    server.wait_log("stuck", 60, since)
    until = time.monotonic() + 60
    while (status := server.predict(row()).status) != 200 and time.monotonic() < until:
        time.sleep(0.05)
    assert status == 200, "others were forked beside the stuck ones"
    assert {one.answer().status for one in asking} <= {504, 503}
    assert [one.answer().status for one in asking].count(504) >= 1
    server.wait_workers(2)


def test_a_worker_that_is_only_slow_answers_and_is_renewed(server, since):
    asking = Asking(server, row(f"sleep {TIMEOUT * 0.7}"))
    noticed = server.wait_log("stuck", 60, since)
    late = "waits for a request"  # a look on a busy machine may come when it has answered
    assert "has slept" in noticed["sentence"] or late in noticed["sentence"]
    assert asking.answer().status == 200
    server.wait_log("recovered", 60, since, incident=noticed["incident"])
    incident = server.incident(noticed["incident"])
    assert incident["outcome"] == "recovered"
    assert len(incident["looks"]) == 1
    server.wait_log("worker_left", 60, since, pid=noticed["pid"])


def test_a_loop_in_python_is_named_by_its_line(server, since):
    asking = Asking(server, row("spin 60"))
    noticed = server.wait_log("stuck", 60, since)
    assert "faulty.py" in noticed["sentence"]
    assert "CPU" in noticed["sentence"] or "runs" in noticed["sentence"]
    assert asking.answer().status == 504


def test_c_code_that_keeps_the_gil_silences_the_loop_too(server, since):
    """The event loop can't run, so nobody can answer the client: its connection closes, and the incident says so."""
    asking = Asking(server, row("hold_gil"))
    noticed = server.wait_log({"silent", "stuck"}, 60, since)
    assert isinstance(asking.answer(), OSError)
    server.wait_log("replaced", 60, since, incident=noticed["incident"])
    incident = server.incident(noticed["incident"])
    assert "closed without an answer" in incident["client"]
    assert incident["request"]["id"] in incident["sentence"]
    assert f"faulty.py:{line_of('sum(range(1 << 40))')}" in str(incident["looks"])
    assert "be accepted" not in incident["cause"], "that comes of it"


def test_a_stopped_idle_worker_is_noticed_and_replaced(server, since):
    pid = server.workers()[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    noticed = server.wait_log("silent", 60, since)
    assert noticed["pid"] == pid
    assert "stopped" in noticed["sentence"]
    for number in range(20):
        assert server.predict(row(number=number)).status == 200
    replaced = server.wait_log("replaced", 60, since)
    assert replaced["pid"] == pid
    assert pid not in serving.alive([pid])
    incident = server.incident(noticed["incident"])
    assert incident["kind"] == "silent"
    assert incident["request"] is None
    assert incident["looks"][0]["snapshot"]["process"]["state"] == "stopped"


def test_a_worker_stopped_within_a_request_names_request_and_line(server, since):
    asking = Asking(server, row("die SIGSTOP", 1), row("sleep 60", 2))  # the kernel stops it in the one or the other
    noticed = server.wait_log({"silent", "stuck"}, 60, since)
    assert "stopped" in noticed["sentence"]
    assert isinstance(asking.answer(), OSError)
    server.wait_log("replaced", 60, since, incident=noticed["incident"])
    incident = server.incident(noticed["incident"])
    assert incident["request"]["id"] in incident["sentence"]
    assert "(faulty.py:" in incident["looks"][0]["line"]


def test_a_killed_worker_is_replaced_with_the_cause(server, since):
    asking = Asking(server, row("die SIGKILL", 1), row("nothing", 2), row("nothing", 3))
    died = server.wait_log("died", 60, since)
    assert isinstance(asking.answer(), OSError)
    assert "died in request r-" in died["sentence"]
    assert "3 rows" in died["sentence"]
    assert "in predict" in died["sentence"]
    assert "killed by SIGKILL; not by the OOM killer: its counter did not move" in died["sentence"]
    incident = server.incident(died["incident"])
    assert incident["kind"] == "died"
    assert incident["request"]["rows"] == 3
    assert died["pid"] not in {worker["pid"] for worker in server.wait_workers(2)}


def test_a_crash_in_native_code_is_told_by_its_signal(server, since):
    assert isinstance(Asking(server, row("die SIGSEGV")).answer(), OSError)
    died = server.wait_log("died", 60, since)
    assert "killed by SIGSEGV" in died["sentence"]
    assert "OOM" not in died["sentence"]


def test_an_exception_of_the_model_is_an_answer_and_harms_nobody(server, since):
    answer = server.predict(row("fail"))
    assert answer.status == 500
    assert "ValueError: the transformer can't have this" in answer.json["detail"]
    record = server.wait_log("model_failed", 60, since)
    assert "faulty.py" in record["trace"]
    assert record["request"] == answer.json["request"]
    assert server.predict(row("leave")).status == 500, "SystemExit ends neither the thread nor the worker"
    assert all(server.predict(row(number=number)).status == 200 for number in range(10))
    assert server.ask("/incidents").json["incidents"][0]["at"] < record["at"], "no incident for an answered request"


def test_a_worker_that_hides_from_looks_is_replaced_all_the_same(server, since):
    """Not dumpable: nobody but root may look (ptrace(2)); as root the look works, so here only the way through is checked."""
    asking = Asking(server, row("hide"), row("lock"))
    assert asking.answer().status == 504
    replaced = server.wait_log("replaced", 60, since)
    assert server.incident(replaced["incident"])["looks"]


def test_a_supervisor_that_is_stopped_blames_no_worker_when_it_goes_on(server, since):
    workers, known = {one["pid"] for one in server.workers()}, server.ask("/incidents").json["incidents"]
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        time.sleep(TIMEOUT + 0.5)
        assert all(server.predict(row(number=number)).status == 200 for number in range(5)), (
            "the workers go on without it"
        )
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    paused = server.wait_log("supervisor_stood_still", 60, since)
    assert "counts against no worker" in paused["sentence"]
    os.kill(min(workers), signal.SIGTERM)
    left = server.wait_log("worker_left", 60, since)
    told = {record["event"] for record in server.log[since : server.log.index(left)]}
    assert told <= {"supervisor_stood_still", "worker_ready"}, told
    assert server.ask("/incidents").json["incidents"] == known
    assert workers - {min(workers)} <= {one["pid"] for one in server.wait_workers(2)}


def test_a_worker_told_to_leave_by_somebody_is_replaced_without_an_incident(server, since):
    pid = server.workers()[0]["pid"]
    os.kill(pid, signal.SIGTERM)
    left = server.wait_log("worker_left", 60, since)
    assert left["pid"] == pid
    assert "SIGTERM" in left["sentence"]
    server.wait_workers(2)


def test_counters_never_fall_when_workers_are_replaced(server, since):
    def total():
        lines = server.ask("/metrics").body.decode().splitlines()
        return sum(int(line.split()[-1]) for line in lines if line.startswith("pellucid_rows_total{"))

    before = total()
    os.kill(server.workers()[0]["pid"], signal.SIGKILL)
    server.wait_workers(2)
    assert total() >= before > 0
