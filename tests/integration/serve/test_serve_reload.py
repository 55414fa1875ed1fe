"""Another version comes while requests are answered: none fails. And a worker that grows is looked at and replaced, without a failed request."""

import http.client
import json
import os
import signal
import threading
import time

import pytest

from pellucid.serve.store import Store
from tests import serving
from tests.serving import row


class Clients:
    """Some connections that are kept and post again and again; every answer is noted, every broken one too."""

    def __init__(self, server, count=4, rows=None):
        self.place = server.url.removeprefix("http://")
        self.body = json.dumps(rows or [row()]).encode()
        self.answers = []
        self.broken = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._run) for _ in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        for thread in self.threads:
            thread.join(20)

    def _run(self):
        connection = None
        while not self.over.is_set():
            try:
                connection = connection or http.client.HTTPConnection(self.place, timeout=20)
                connection.request("POST", "/predict", self.body, {"content-type": "application/json"})
                answer = connection.getresponse()
                found = json.loads(answer.read())
                self.answers.append((answer.status, found.get("version"), time.monotonic()))
                if answer.headers.get("connection") == "close":
                    connection.close()
                    connection = None
                time.sleep(0.01)  # the new version is loaded on the same cores
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(repr(error))
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def wait_answer(self, within_s=60):
        """The version of an answer to a request that was sent from now on: each client has one on its way at the most."""
        until, enough = time.monotonic() + within_s, len(self.answers) + len(self.threads) + 1
        while len(self.answers) < enough:
            assert time.monotonic() < until, "no answers"
            time.sleep(0.02)
        return self.answers[-1][1]

    def versions(self):
        return {version for _, version, _ in self.answers}


@pytest.fixture
def own_home(tmp_path):
    """A store with two versions of the failing model, the first of which is promoted."""
    store = Store(str(tmp_path / "pellucid" / "models"))
    serving.register_faulty(store.root)
    serving.register_faulty(store.root)
    store.promote("faulty", 1)
    return tmp_path


def test_promote_and_roll_back_under_load_fail_no_request(own_home):
    store = Store(str(own_home / "pellucid" / "models"))
    with serving.serving(own_home, "faulty", "--workers", "2") as server, Clients(server) as clients:
        clients.wait_answer()
        assert clients.versions() == {1}
        for version, move in ((2, lambda: store.promote("faulty", 2)), (1, lambda: store.rollback("faulty"))):
            before, former = len(server.log), {worker["pid"] for worker in server.wait_workers(2)}
            move()
            reloaded = server.wait_log("reloaded", 60, before)
            assert f"version {version} serves now" in reloaded["sentence"]
            for pid in former:
                server.wait_log("worker_left", 60, before, pid=pid)
            server.wait_workers(2)
            assert clients.wait_answer() == version
        before = len(server.log)
        server.process.send_signal(signal.SIGHUP)
        assert "version 1 serves now" in server.wait_log("reloaded", 60, before)["sentence"]
    assert clients.broken == []
    assert {status for status, _, _ in clients.answers} == {200}
    assert clients.versions() == {1, 2}


def test_a_version_that_can_not_be_served_leaves_the_old_one_in_place(own_home):
    store = Store(str(own_home / "pellucid" / "models"))
    broken = store.resolve("faulty:2")
    place = store._object(broken.member("model.skops").sha256)
    with serving.serving(own_home, "faulty", "--workers", "1") as server, Clients(server, 2) as clients:
        with open(place, "r+b") as file:
            file.write(b"damaged")
        before = len(server.log)
        store.promote("faulty", 2)
        failed = server.wait_log("reload_failed", 60, before)
        assert "version 2 can't be served" in failed["sentence"]
        assert "version 1 goes on" in failed["sentence"]
        clients.wait_answer()
    assert clients.broken == []
    assert {(status, version) for status, version, _ in clients.answers} == {(200, 1)}


def test_a_worker_that_grows_is_named_by_what_grows_and_replaced_in_time(own_home):
    with serving.serving(own_home, "faulty", "--workers", "1", "--max-growth", "40", "--timeout", "60") as server:
        first = server.workers()[0]["pid"]
        time.sleep(5.5)  # until what it has is its measure
        with Clients(server, 1, [row("leak 1500")]) as clients:
            grew = server.wait_log("grew", 90)
            left = server.wait_log("worker_left", 60, pid=first)
        assert grew["pid"] == left["pid"] == first
        assert "has grown by" in grew["sentence"]
        assert "Crumb" in grew["sentence"]
        assert clients.broken == []
        assert {status for status, _, _ in clients.answers} == {200}
        incident = server.incident(grew["incident"])
        assert (incident["kind"], incident["outcome"]) == ("grew", "replaced")
        assert os.path.exists(own_home / "pellucid" / "incidents" / f"{incident['id']}.txt")
