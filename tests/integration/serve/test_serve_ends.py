"""How a server ends, on purpose and not: nothing is left behind, nothing that could be answered is lost; and what never starts says why."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import serving
from tests.serving import PELLUCID, Asking, Server, gone_within, row


def run(home, *arguments, **options):
    environment = {**os.environ, "XDG_DATA_HOME": str(home)}
    return subprocess.run(
        [*PELLUCID, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False, **options
    )


def spare(server, within_s=60):
    """The pid of the process that waits to become the next worker."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        for pid in serving.alive(server.family()):
            if serving.comm(pid) == "pellucid-spare":
                return pid
        time.sleep(0.02)
    raise AssertionError(f"no spare process within {within_s} s")


def test_a_killed_supervisor_leaves_no_process(home):
    with serving.serving(home, "faulty", "--workers", "2") as server:
        Asking(server, row("lock"))
        Asking(server, row("sleep 60"))
        server.wait_begun(2)
        spare(server)
        below = serving.alive(server.family())  # the process between the template and its spare one may be a zombie yet
        assert sorted(map(serving.comm, below)) == ["pellucid-model", "pellucid-spare", "pellucid-w0", "pellucid-w1"]
        server.process.kill()
        ended, left = gone_within(below)
        assert ended, left


def test_a_killed_template_is_started_again_while_the_workers_go_on(home):
    with serving.serving(home, "faulty", "--workers", "2") as server:
        workers = {worker["pid"] for worker in server.workers()}
        (template,) = (pid for pid in server.family() if serving.comm(pid) == "pellucid-model")
        os.kill(template, signal.SIGKILL)
        ended = server.wait_log("template_ended")
        assert "killed by SIGKILL" in ended["sentence"]
        after = len(server.log)
        assert all(server.predict(row(number=number)).status == 200 for number in range(20))
        again = server.wait_log("template_ready", after=after)
        assert again["pid"] != template
        assert {worker["pid"] for worker in server.workers()} == workers
        victim = workers.pop()
        os.kill(victim, signal.SIGKILL)
        server.wait_log("worker_ready", after=after)
        server.wait_workers(2)


def test_the_next_worker_waits_already(home):
    with serving.serving(home, "faulty", "--workers", "1") as server:
        for _ in range(2):
            waits, (worker,) = spare(server), server.workers()
            os.kill(worker["pid"], signal.SIGKILL)
            server.wait_log("worker_ready", pid=waits)
            assert serving.comm(waits) == "pellucid-w0"
        for pid, awaited in ((spare(server), "the order to become a worker"), (server.process.pid, "its workers")):
            (found,) = json.loads(run(home, "why", str(pid), "--quick", "--json").stdout)["findings"]
            assert (found["rule"], awaited in found["sentence"]) == ("idle", True)
        os.kill(spare(server), signal.SIGKILL)
        after = len(server.log)
        os.kill(waits, signal.SIGKILL)
        server.wait_log("worker_ready", after=after)
        assert server.predict(row()).status == 200


def test_a_process_that_waits_ends_with_the_template_that_made_it(home):
    with serving.serving(home, "faulty", "--workers", "1") as server:
        waits = spare(server)
        (template,) = (pid for pid in server.family() if serving.comm(pid) == "pellucid-model")
        os.kill(template, signal.SIGKILL)
        assert gone_within([waits])[0]
        server.wait_log("template_ended")
        assert spare(server) != waits


def test_a_worker_without_a_free_descriptor_is_explained_and_replaced_while_it_answers(home):
    few = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh"]
    with serving.serving(home, "faulty", "--workers", "1", prefix=few) as server:
        (worker,) = server.workers()
        host, _, port = server.url.removeprefix("http://").partition(":")
        kept = http.client.HTTPConnection(host, int(port), timeout=20)
        answers = []
        for what in ("open_all", "nothing"):
            kept.request("POST", "/predict", json.dumps([row(what)]), {"content-type": "application/json"})
            answer = kept.getresponse()
            answers.append((answer.status, bool(answer.read())))
        kept.close()
        assert answers == [(200, True)] * 2
        told = server.wait_log("descriptors", pid=worker["pid"])
        assert "descriptors open and may have 200" in told["sentence"]
        server.wait_log("worker_left", pid=worker["pid"])
        assert server.predict(row()).status == 200
        incident = server.incident(told["incident"])
        assert (incident["kind"], incident["outcome"]) == ("descriptors", "replaced")
        assert 'pellucid_incidents_total{kind="descriptors"} 1' in server.ask("/metrics").body.decode()


def test_a_stopped_template_is_replaced_when_it_does_not_fork(home):
    with serving.serving(home, "faulty", "--workers", "1") as server:
        (template,) = (pid for pid in server.family() if serving.comm(pid) == "pellucid-model")
        os.kill(template, signal.SIGSTOP)
        os.kill(server.workers()[0]["pid"], signal.SIGKILL)
        stuck = server.wait_log("template_stuck")
        assert stuck["pid"] == template
        server.wait_log("worker_ready", after=server.log.index(stuck))
        assert server.predict(row()).status == 200


def test_sigterm_answers_what_was_begun_and_ends_well(home):
    with serving.serving(home, "faulty", "--workers", "2") as server:
        asking = [Asking(server, row("sleep 2", number)) for number in range(2)]
        server.wait_begun(2)
        below = server.family()
        server.process.terminate()
        assert [one.answer().status for one in asking] == [200, 200]
        assert server.process.wait(60) == 0
        assert gone_within(below)[0]
        server.wait_log("stopped")


def test_sigterm_while_the_model_is_loaded_ends_at_once(home):
    server = Server(home, "faulty", "--workers", "1")
    try:
        server.wait_log("start")
        below = server.family()
        server.process.terminate()
        assert server.process.wait(60) == 0
        assert gone_within(below)[0]
    finally:
        server.end()


def test_requests_behind_a_stuck_one_are_told_to_ask_again_and_a_kept_connection_is_sent_to_another(home):
    """Those whose own deadline is later than the kill are answered before it, not cut off."""
    with serving.serving(home, "faulty", "--workers", "1", "--timeout", "8") as server:
        place = server.url.removeprefix("http://")
        asked = ("POST", "/predict", json.dumps([row()]), {"content-type": "application/json"})
        behind = [http.client.HTTPConnection(place, timeout=60) for _ in range(3)]
        kept = http.client.HTTPConnection(place, timeout=60)
        for connection in (*behind, kept):
            connection.request(*asked)
            assert connection.getresponse().read()
        stuck = Asking(server, row("lock"), timeout=60)
        server.wait_begun(1)
        time.sleep(
            1.5
        )  # so that their own deadline is later; on a machine that is slower than that, it comes first: 504
        for connection in behind:
            connection.request(*asked)
        server.wait_log("stuck")
        kept.request(*asked)
        answer = kept.getresponse()
        assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
        assert "new connection" in json.loads(answer.read())["detail"]
        assert stuck.answer(60).status == 504
        for connection in behind:
            answer = connection.getresponse()
            assert (answer.status, answer.headers["retry-after"]) in {(503, "1"), (504, None)}
            told = json.loads(answer.read())
            assert server.incident(told["incident"])["kind"] == "stuck"
        server.wait_workers(1)
        kept.request(*asked)
        assert kept.getresponse().status == 200
        for connection in (*behind, kept):
            connection.close()


def test_a_second_signal_means_now(home):
    with serving.serving(home, "faulty", "--workers", "1") as server:
        asking = Asking(server, row("sleep 60"))
        server.wait_begun(1)
        below = server.family()
        server.process.send_signal(signal.SIGINT)
        server.wait_log("stopping")
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 130
        assert gone_within(below)[0]
        assert isinstance(asking.answer(), OSError)


def test_there_is_no_such_model(home, tmp_path):
    ended = run(home, "serve", "lone")
    assert ended.returncode == 2
    assert "faulty, loan" in ended.stderr
    ended = run(tmp_path, "serve", "loan")
    assert ended.returncode == 2
    assert "which is empty" in ended.stderr
    assert "try: pellucid train loan" in ended.stderr
    ended = run(home, "serve", "loan:7", "--json")
    assert ended.returncode == 2
    assert "only 1" in json.loads(ended.stdout)["error"]["said"]


@pytest.fixture
def own_home(home, tmp_path):
    """A copy of the state that a test may damage."""
    shutil.copytree(home, tmp_path / "own", ignore=shutil.ignore_patterns("incidents"))
    return tmp_path / "own"


def objects(home):
    return Path(home, "pellucid", "models", "objects")


def manifest(home, name):
    return json.loads(Path(home, "pellucid", "models", "registry", name, "1.json").read_text())


def test_a_corrupted_member_is_refused_by_name_and_hash(own_home):
    (member,) = (one for one in manifest(own_home, "loan")["members"] if one["path"] == "model.skops")
    place = objects(own_home) / member["sha256"][:2] / member["sha256"]
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)
    for arguments in (("serve", "loan", "--port", "0"), ("predict", "loan", "--example")):
        ended = run(own_home, *arguments)
        assert ended.returncode == 2
        assert "loan version 1, member model.skops" in ended.stderr
        assert f"corrupted: sha256:{member['sha256']} was stored, sha256:" in ended.stderr


def test_a_missing_member_and_a_damaged_manifest(own_home):
    (member,) = (one for one in manifest(own_home, "loan")["members"] if one["path"] == "sample.json")
    (objects(own_home) / member["sha256"][:2] / member["sha256"]).unlink()
    ended = run(own_home, "serve", "loan", "--port", "0")
    assert ended.returncode == 2
    assert "member sample.json" in ended.stderr
    assert "ENOENT" in ended.stderr
    place = Path(own_home, "pellucid", "models", "registry", "faulty", "1.json")
    place.write_text(place.read_text()[:200])
    ended = run(own_home, "serve", "faulty", "--port", "0")
    assert ended.returncode == 2
    assert "is damaged" in ended.stderr


def test_a_model_that_predicts_otherwise_than_at_its_training_is_refused(own_home):
    """As after an upgrade of a library: the answers of the stored sample decide, not the version numbers."""
    place = Path(own_home, "pellucid", "models", "registry", "loan", "1.json")
    stored = json.loads(place.read_text())
    (member,) = (one for one in stored["members"] if one["path"] == "expected.json")
    content = (objects(own_home) / member["sha256"][:2] / member["sha256"]).read_bytes()
    answers = json.loads(content)
    answers[3] = "N" if answers[3] == "Y" else "Y"
    _swap(own_home, stored, member, json.dumps(answers).encode())
    stored["libraries"]["scikit-learn"] = "1.5.2"
    place.write_text(json.dumps(stored))
    ended = run(own_home, "serve", "loan", "--port", "0")
    assert ended.returncode == 2
    assert "1 of 50 predictions differ from those at its training, first in row 3" in ended.stderr
    assert "made with scikit-learn 1.5.2, here is" in ended.stderr


def test_other_versions_with_equal_answers_are_served_with_a_warning(own_home):
    place = Path(own_home, "pellucid", "models", "registry", "faulty", "1.json")
    stored = json.loads(place.read_text())
    stored["libraries"]["pandas"] = "2.2.0"
    place.write_text(json.dumps(stored))
    with serving.serving(own_home, "faulty", "--workers", "1") as server:
        warned = server.wait_log("drift")
        assert "made with pandas 2.2.0, here is" in warned["sentence"]


def test_a_model_that_starts_threads_when_it_is_loaded_is_refused_by_their_names(own_home):
    place = Path(own_home, "pellucid", "models", "registry", "faulty", "1.json")
    source = serving.FAULTY.read_text() + (
        "\nthreading.Thread(target=lambda: time.sleep(60), name='poller', daemon=True).start()\n"
    )
    store = Path(own_home, "pellucid", "models")
    serving.register_faulty(str(store), "threaded", source=source)
    assert place.exists()
    ended = run(own_home, "serve", "threaded", "--port", "0")
    assert ended.returncode == 2
    assert "started threads (poller)" in ended.stderr


def _swap(home, stored, member, content):
    import hashlib

    sha256 = hashlib.sha256(content).hexdigest()
    place = objects(home) / sha256[:2] / sha256
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)
    member.update(sha256=sha256, size=len(content))
    assert stored["members"]


def test_incidents_that_can_not_be_kept_are_said_and_a_stuck_worker_does_not_keep_a_stopping_server(own_home):
    """A file stands where the folder should be, as on a full disk nothing can be kept there."""
    Path(own_home, "pellucid", "incidents").write_text("")
    with serving.serving(own_home, "faulty", "--workers", "1", "--timeout", "1") as server:
        assert Asking(server, row("lock")).answer().status == 504
        server.wait_log("replaced")
        server.wait_log("not_kept")
        server.wait_workers(1)
        after = len(server.log)
        asking = Asking(server, row("lock"))
        server.wait_log("stuck", after=after)
        server.process.terminate()
        assert asking.answer().status == 504
        assert server.process.wait(60) == 0


def test_the_log_of_a_server_whose_stderr_nobody_reads_does_not_block_it(home):
    reading, writing = os.pipe()
    environment = {**os.environ, "XDG_DATA_HOME": str(home)}
    os.set_blocking(writing, False)
    try:
        while os.write(writing, b"x" * 4096):
            pass
    except BlockingIOError:
        os.set_blocking(writing, True)
    port = _free_port()
    process = subprocess.Popen(
        [*PELLUCID, "serve", "faulty", "--port", str(port), "--timeout", "3"], stderr=writing, env=environment
    )
    below = []
    try:
        server = Server.__new__(Server)
        server.url, server.process = f"http://127.0.0.1:{port}", process
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                if server.ask("/readyz").status == 200:
                    break
            assert time.monotonic() < until
            time.sleep(0.1)
        assert Asking(server, row("lock")).answer().status == 504
        assert server.predict(row()).status == 200
        below = server.family()
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)
        assert gone_within(below)[0]


def _free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
