"""A process in namespaces of its own, as in a container: its pids, its network, asked from outside."""

import os
import socket
import subprocess
import sys
import time

import pytest

from pellucid.kernel import access, namespaces, procfs, tasks
from pellucid.kernel.memory import Memory
from pellucid.model import Gap
from pellucid.model.errors import NoSuchProcess
from pellucid.observe.environment import environment
from pellucid.observe.files import files
from pellucid.observe.identity import info
from tests.forked import looked, needs_root, nobody

pytestmark = needs_root
PROGRAM = "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); time.sleep(60)"


@pytest.fixture
def contained():
    """The pid, here, of a Python with two threads in new pid, network, mount and uts namespaces, where it has pid 1."""
    outside = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--net", "--mount-proc", "--uts", "--kill-child", sys.executable, "-c", PROGRAM]
    )
    try:
        for _ in range(200):
            inside = procfs.children(outside.pid)
            if inside and procfs.stat(inside[0]).threads == 2:
                break
            time.sleep(0.02)
        else:
            pytest.fail("the contained process did not start")
        yield inside[0]
    finally:
        outside.kill()
        outside.wait()


def test_which_namespaces(contained):
    ours, theirs = namespaces.namespaces(os.getpid()), namespaces.namespaces(contained)
    assert ours.keys() == theirs.keys() == set(namespaces.KINDS)
    different = {kind for kind in ours if ours[kind] != theirs[kind]}
    assert different == {"pid", "net", "mnt", "uts"}
    assert [namespaces.same(contained, kind) for kind in ("net", "user")] == [False, True]


def test_its_pids_and_thread_ids(contained):
    assert namespaces.ns_pids(contained) == (contained, 1)
    found, gaps = tasks.tasks(contained)
    assert not gaps
    inner = {namespaces.tid_in_namespace(contained, task.tid): task.tid for task in found}
    assert inner == namespaces.outer_tids(contained)
    assert inner[1] == contained
    assert set(inner) == {1, 2}
    assert namespaces.outer_tids(os.getpid())[os.getpid()] == os.getpid()


def test_a_question_to_its_network(contained):
    interfaces = [name for _, name in socket.if_nameindex()]
    inside = namespaces.in_network_of(contained, lambda: ",".join(name for _, name in socket.if_nameindex()).encode())
    assert inside == b"lo"
    assert [name for _, name in socket.if_nameindex()] == interfaces, "we stay where we are"


def test_a_large_answer_comes_whole(contained):
    assert namespaces.in_network_of(contained, lambda: b"x" * 5_000_000) == b"x" * 5_000_000


def test_no_answer_in_time_is_a_gap_and_leaves_no_child(contained):
    began = time.monotonic()
    gap = namespaces.in_network_of(contained, lambda: time.sleep(30) or b"", limit_s=0.2)
    assert isinstance(gap, Gap)
    assert gap.why == "it did not answer within 0.2 s"
    assert time.monotonic() - began < 2
    assert {procfs.stat(pid).name for pid in procfs.children(os.getpid())} == {"unshare"}


def test_a_question_that_fails_is_a_gap(contained):
    def fails():
        raise ZeroDivisionError

    gap = namespaces.in_network_of(contained, fails)
    assert isinstance(gap, Gap)
    assert "ZeroDivisionError" in gap.why


def test_without_privileges_it_is_a_gap_with_the_remedy(contained):
    gap = looked(lambda: namespaces.in_network_of(contained, lambda: b""), nobody)
    assert isinstance(gap, Gap)
    assert "runs as root" in gap.why
    assert gap.remedy == f"sudo pellucid sockets {contained}"


def test_a_rootless_container_of_ours_can_be_entered():
    """Its user namespace is a child of ours, made by another user: entered first, it gives the right to the network."""
    outside = subprocess.Popen(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-Urn", "sleep", "30"]
    )
    try:
        for _ in range(200):
            if procfs.process(outside.pid).name == "sleep":
                break
            time.sleep(0.02)
        assert namespaces.same(outside.pid, "user") is False
        assert access.may_read(outside.pid) is None
        inside = namespaces.in_network_of(
            outside.pid, lambda: ",".join(name for _, name in socket.if_nameindex()).encode()
        )
        assert inside == b"lo"
        mine = looked(
            lambda: namespaces.in_network_of(
                outside.pid, lambda: ",".join(n for _, n in socket.if_nameindex()).encode()
            ),
            nobody,
        )
        assert mine == b"lo", "nobody owns that user namespace, and needs no further right"
    finally:
        outside.kill()
        outside.wait()


def test_gone():
    with pytest.raises(NoSuchProcess):
        namespaces.namespaces(4_000_000)
    with pytest.raises(NoSuchProcess):
        namespaces.ns_pids(4_000_000)
    assert namespaces.same(4_000_000, "net") is None
    gap = namespaces.in_network_of(4_000_000, lambda: b"")
    assert isinstance(gap, Gap)
    assert gap.why == "there is no process with pid 4000000"


def test_the_whole_of_it_from_outside(contained):
    """Identity, files, environment and memory of a contained process need nothing of its file system to be the same as ours."""
    report = info(contained)
    assert report.identity.ns_pids == (contained, 1)
    assert report.process.runtime.startswith("Python 3.")
    assert not report.gaps
    assert files(contained).files
    assert {one.name for one in environment(contained).variables} >= set(os.environ)
    Memory.open(contained).close()
