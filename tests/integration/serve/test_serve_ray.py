"""On a real Ray cluster of two nodes: the same answers as here, stuck replicas explained, versions exchanged, a search that goes on after Ctrl-C.

It takes some minutes, most of them Ray's own starts: `make test ARGS="--slow -k ray"`.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from pellucid.serve import package
from pellucid.serve.frames import rows
from pellucid.serve.loan import data
from pellucid.serve.store import Store
from tests import rays, serving
from tests.conftest import TARGETS
from tests.serving import Asking, row

TIMEOUT = 6.0
PYTHON = rays.python()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(PYTHON is None, reason=f"*** no Ray: {rays.__doc__.strip().splitlines()[-1].strip()}"),
]


@pytest.fixture(scope="module")
def cluster(home, tmp_path_factory):
    """The address of a cluster; what it started ends with it, by its mark."""
    folder = tmp_path_factory.mktemp("ray")
    ray_folder = tempfile.mkdtemp(prefix="ray-")  # its unix sockets need short names
    environment = {
        **os.environ,
        "XDG_DATA_HOME": str(home),
        "PYTHONPATH": rays.SOURCE,
        serving.MARK: f"ray-{os.getpid()}",
    }
    with open(folder / "cluster.log", "wb") as log:
        process = subprocess.Popen(
            [PYTHON, str(TARGETS / "serving" / "ray_cluster.py"), ray_folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True,
        )  # fmt: skip
    try:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"[\d.]+:\d+", address), (folder / "cluster.log").read_text()
        yield {**environment, "RAY_ADDRESS": address}
        process.stdin.close()
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        for pid in serving.marked(environment[serving.MARK]):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(ray_folder, ignore_errors=True)


@pytest.fixture
def on_ray(cluster, home, monkeypatch):
    """`on_ray("loan")` → the server on the cluster."""
    monkeypatch.setattr(serving, "PELLUCID", [PYTHON, "-m", "pellucid"])
    started = []

    def start(name, *arguments):
        server = serving.Server(
            home, name, "--cluster", "ray", "--workers", "2", "--timeout", str(TIMEOUT), *arguments, env=cluster
        )
        started.append(server)
        return server.wait_ready(180)

    yield start
    for server in started:
        server.process.send_signal(signal.SIGTERM)  # killed, it would leave its application on the cluster
        status = server.process.wait(60)
        server.end()
        assert status == 0, "".join(server.lines)


def pids(server, count, within_s=60):
    """Processes of so many replicas, as they tell of themselves."""
    found, until = set(), time.monotonic() + within_s
    while len(found) < count and time.monotonic() < until:
        answer = server.ask("/healthz")
        if answer.status == 200:
            found |= {worker["pid"] for worker in answer.json["workers"]}
    assert len(found) == count
    return found


def test_a_model_answers_from_two_nodes_as_it_does_here(on_ray, home):
    server = on_ray("loan")
    store = Store(str(home / "pellucid" / "models"))
    model = package.load(store, store.resolve("loan"), 1000, "pipeline")
    _, test = data.load()
    records = rows(model.manifest.signature, test)
    expected = [str(label) for label in model.pipeline.predict(test[model.manifest.signature.names()])]
    together = server.predict(*records).json["predictions"]
    assert [(one["Loan_ID"], one["prediction"]) for one in together] == [
        (record["Loan_ID"], label) for record, label in zip(records, expected, strict=True)
    ]
    for record, label in zip(records[:40], expected, strict=False):
        assert server.predict(record).json["predictions"][0]["prediction"] == label
    assert len({parent(pid) for pid in pids(server, 2)}) == 2, "both replicas are on one node"
    assert server.ask("/readyz").json["ready"]
    assert server.ask("/v2/models/loan").json["name"] == "loan"
    assert server.predict({"Loan_ID": "x"}).status == 422


def parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def test_stuck_replicas_are_explained_and_replaced_and_another_version_takes_over(on_ray, home):
    server = on_ray("faulty:1")
    before = pids(server, 2)
    asking = Asking(server, row("lock"), timeout=60)
    noticed = server.wait_log("stuck", 60, level="warning")
    assert "NEVER" in noticed["sentence"]
    assert "faulty.py" in noticed["sentence"]
    replaced = server.wait_log("stuck", 60, level="error", incident=noticed["incident"])
    answer = asking.answer(60)
    assert answer.status == 504
    assert answer.json["incident"] == noticed["incident"]
    after = until_changed(server, before)
    assert replaced["pid"] in before - after
    victim = min(after)
    os.kill(victim, signal.SIGKILL)
    died = server.wait_log("died", 60, pid=victim)
    assert "while it predicted nothing" in died["sentence"]
    until_changed(server, after)
    incidents = json.loads(
        subprocess.run(
            [sys.executable, "-m", "pellucid", "incidents", "--json"],
            capture_output=True,
            check=True,
            env={**os.environ, "XDG_DATA_HOME": str(home)},
        ).stdout
    )["incidents"]
    assert {noticed["incident"], died["incident"]} <= {one["id"] for one in incidents}


def until_changed(server, before, within_s=60):
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        with_new = pids(server, 2)
        if not before <= with_new and all(os.path.exists(f"/proc/{pid}") for pid in with_new):
            return with_new
    raise AssertionError(f"{before} are still there")


def test_another_version_takes_over_without_a_failed_request(on_ray, home):
    store = Store(str(home / "pellucid" / "models"))
    first = serving.register_faulty(store.root, "exchanged")
    store.promote("exchanged", first.version)
    server = on_ray("exchanged")
    second = serving.register_faulty(store.root, "exchanged", turned=True)
    store.promote("exchanged", second.version)
    answers = []
    until = time.monotonic() + 90
    while time.monotonic() < until and not any(record["event"] == "reloaded" for record in server.log):
        answers.append(server.predict(row()))
    answers += [server.predict(row()) for _ in range(10)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["version"] for answer in answers} == {1, 2}
    assert {answer.json["version"] for answer in answers[-10:]} == {2}


def test_a_search_on_the_cluster_goes_on_after_an_interruption(cluster, tmp_path):
    environment = {**cluster, "XDG_DATA_HOME": str(tmp_path)}
    line = [PYTHON, "-m", "pellucid", "train", "loan", "--backend", "ray"]
    first = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    told = ""
    while "20 %" not in told:
        told = first.stderr.readline()
        assert told
    first.send_signal(signal.SIGINT)
    _, rest = first.communicate(timeout=60)
    assert first.returncode == 130, rest
    assert "are kept" in rest
    again = subprocess.run([*line, "--json"], capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert again.returncode == 0, again.stderr
    assert re.search(r"\d+ of them by an earlier run", again.stderr)
    assert json.loads(again.stdout)["model"]["training"]["candidates"] == 36


def test_a_table_is_trained_on_the_cluster_as_it_is_here(cluster, tmp_path):
    (tmp_path / "kinds.csv").write_text("a,b,kind\n" + "".join(f"{n % 7},{n % 5},{n % 7 > n % 5}\n" for n in range(70)))
    environment = {**cluster, "XDG_DATA_HOME": str(tmp_path)}
    line = [PYTHON, "-m", "pellucid", "train", "kinds.csv", "--target", "kind", "--json", "--backend"]
    models = []
    for backend in ("ray", "loky"):
        ended = subprocess.run(
            [*line, backend], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False, timeout=300
        )
        assert ended.returncode == 0, ended.stderr
        models.append(json.loads(ended.stdout)["model"])
    there, here = models
    assert there["metrics"] == here["metrics"]
    assert there["training"]["parameters"] == here["training"]["parameters"]
