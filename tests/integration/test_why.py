"""`why` on real processes, under every interpreter: what a person reads there, and what it says of healthy ones."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from pellucid.diagnose.engine import diagnose
from pellucid.export.json import encode
from pellucid.kernel import procfs
from pellucid.observe.snapshot import snapshot
from pellucid.present.cli.why_text import report
from tests import interpreters
from tests.settling import settled
from tests.waiting import LIMIT_S

PELLUCID = [sys.executable, "-m", "pellucid"]
each_python = pytest.mark.parametrize("python", interpreters.each())


def why(pid, span=0.1):
    """What `why PID --json` prints, without a process of its own."""
    seen = snapshot(pid, span_s=span)
    return json.loads(encode(report(seen, diagnose(seen))))


def rules(looked):
    return {finding["rule"]: finding for finding in looked["findings"]}


def rules_when(pid, rule):
    """The findings, once `rule` is among them: a target that has just said "ready" may need a moment to fall asleep."""
    limit = time.monotonic() + LIMIT_S
    while time.monotonic() < limit:
        found = rules(why(pid))
        if rule in found:
            return found
        time.sleep(0.2)
    return pytest.fail(f"{rule} was not found: {found}")


def asks(target, python, port, *more):
    client, _ = target(python, "http_client.py", str(port), *more)
    time.sleep(0.3)
    return client


@each_python
def test_a_client_whose_server_sleeps(target, python):
    server, port = target(python, "http_server.py", "20")
    client = asks(target, python, int(port))
    found = rules_when(client.pid, "socket-read")["socket-read"]
    assert f"pid {server.pid}" in found["title"]
    assert re.search(r"fd \d+", found["sentence"])
    assert f"127.0.0.1:{port}" in found["sentence"]
    assert "http_server.py:17 in" in found["sentence"]
    assert "think" in found["sentence"]
    assert "http_client.py:12 in fetch" in found["sentence"]
    assert found["confidence"] == "certain"
    sleeps = rules_when(server.pid, "sleeps")["sleeps"]
    assert "http_server.py:17 in" in sleeps["sentence"]
    left = float(re.search(r"wakes in (\d+(\.\d+)?) s", sleeps["sentence"])[1])
    assert 10 < left < 20


@each_python
def test_a_client_whose_server_is_stopped(target, python):
    server, port = target(python, "http_server.py", "20")
    os.kill(server.pid, signal.SIGSTOP)
    client = asks(target, python, int(port))
    worst = why(client.pid)["findings"][0]
    assert worst["severity"] == "critical"
    assert "is stopped" in worst["sentence"]
    assert f"kill -CONT {server.pid}" in worst["next"]
    assert rules(why(server.pid))["stopped"]["severity"] == "critical"


@each_python
def test_a_client_that_nobody_accepted(target, python):
    server, port = target(python, "not_accepting.py")
    client = asks(target, python, int(port))
    found = rules_when(client.pid, "socket-unaccepted")["socket-unaccepted"]
    assert "accept" in found["sentence"]
    assert "elsewhere" in found["sentence"]
    assert "not accepted" in rules(why(server.pid))["unaccepted"]["title"]


@each_python
def test_ten_looks_at_a_recv_with_a_timeout_leave_it_as_it_was(target, python):
    _server, port = target(python, "http_server.py", "60")
    client = asks(target, python, int(port), "100")
    with open(f"/proc/{client.pid}/syscall") as call:
        before = call.read()
    for _ in range(10):
        looked = why(client.pid, span=0.02)
        (wait,) = [thread["wait"] for thread in looked["threads"] if thread["tid"] == client.pid]
        assert wait["kind"] == "socket"
        assert wait["timed"]
        assert 30 < wait["left_s"] < 100
        with open(f"/proc/{client.pid}/syscall") as call:
            assert call.read() == before


@each_python
@pytest.mark.parametrize(
    ("state", "rule", "words"),
    [
        ("lock", "lock", ["payer", "states.py:22 in", "pay"]),
        ("spin", "on-cpu", ["MainThread", "hot"]),
        ("sleep", "sleeps", ["MainThread", "in sleep", "wakes in"]),
        ("child", "child", ["MainThread", "sleeps", "nap"]),
        ("pipe", "pipe", ["it is empty", "in pipe"]),
        ("gil", "gil", ["spinner", "samples some thread did", "in hot"]),
        ("flock", "file-lock", ["pellucid-test-", "in flock"]),
    ],
)
def test_one_state_one_sentence(target, python, state, rule, words):
    process, _ = target(python, "states.py", state)
    found = rules_when(process.pid, rule)[rule]
    text = found["title"] + " " + found["sentence"]
    assert all(word in text for word in words), text
    assert found["evidence"]


@each_python
@pytest.mark.parametrize("state", ["idle", "loop"])
def test_healthy_processes_are_idle_and_nothing_more(target, python, state):
    process, _ = target(python, "states.py", state)
    rules_when(process.pid, "idle")
    looked = why(process.pid)
    assert {finding["severity"] for finding in looked["findings"]} == {"info"}, looked["findings"]
    assert rules(looked)["idle"]["title"] == f"pid {process.pid} is idle"


@each_python
def test_fifty_equal_threads_make_one_short_verdict(target, python):
    process, _ = target(python, "states.py", "threads")
    settled(process.pid)
    text = subprocess.run(
        [*PELLUCID, "why", str(process.pid)], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert len(text.splitlines()) <= 12
    assert "49 threads (waiter-" in text


def test_a_client_of_a_server_that_is_not_python(target):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client, _ = target(interpreters.get("3.11"), "http_client.py", str(listener.getsockname()[1]))
        accepted, _ = listener.accept()
        with accepted:
            accepted.recv(4096)
            time.sleep(0.3)
            found = rules_when(client.pid, "socket-read")["socket-read"]
            assert f"pid {os.getpid()}" in found["title"]


def test_a_parent_whose_child_is_deadlocked(target):
    parent, _ = target(interpreters.get("3.13"), "arbiter.py", "3", "1")
    found = rules_when(parent.pid, "child-deadlock")["child-deadlock"]
    (child, *healthy) = procfs.children(parent.pid)
    assert found["title"] == f"In its child {child}: Deadlock: pay-1 and pay-2 wait for each other"
    assert found["next"][0] == f"pellucid why {child}"
    assert len(healthy) == 2


def test_a_parent_whose_children_have_idle_workers_is_well(target):
    parent, _ = target(interpreters.get("3.13"), "arbiter.py", "10", "0")
    gaps, limit = [], time.monotonic() + LIMIT_S
    while not gaps and time.monotonic() < limit:  # until all of their workers have begun to wait
        found = why(parent.pid)
        assert not any(rule.startswith("child-") for rule in rules(found))
        gaps = [gap for gap in found["gaps"] if "deadlocked" in gap["what"]]
        time.sleep(0.2)
    (gap,) = gaps
    assert re.fullmatch(r"whether \d+ of its 10 children are deadlocked", gap["what"])
    assert gap["remedy"] == f"pellucid waits {parent.pid}"
