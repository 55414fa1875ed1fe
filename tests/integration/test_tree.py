"""`ps --tree`: processes, threads with their daemon flags, tasks; and a daemon child whose parent was killed."""

import os
import signal
import time

from pellucid.observe.blocked import descendants
from pellucid.observe.tree import tree
from tests.settling import settled
from tests.waiting import LIMIT_S, started


def test_a_pool_with_its_threads_and_workers():
    with started("healthy_pools", "fork", versions=("3.11", "3.14")) as pids:
        for version, pid in pids.items():
            settled(pid, *descendants(pid, 10))
            branches = {branch.process.pid: branch for branch in tree(str(pid)).branches}
            leaves = {leaf.name: leaf for leaf in branches[pid].leaves}
            assert leaves["MainThread"].daemon is False, version
            assert leaves["MainThread"].does.startswith("Event"), version
            assert sum(leaf.daemon is True for leaf in leaves.values()) >= 3, version
            workers = [branch for branch in branches.values() if branch.name.startswith("ForkPoolWorker")]
            assert len(workers) == 2
            assert all(worker.daemon and worker.orphan_of is None for worker in workers), version
            assert all(worker.process.ppid == pid for worker in workers)


def test_tasks_are_leaves_too():
    with started("abba", program="tasks.py", versions=("3.13", "3.15")) as pids:
        for version, pid in pids.items():
            settled(pid)
            (branch,) = tree(str(pid)).branches
            found = {leaf.name: leaf for leaf in branch.leaves if leaf.what == "task"}
            assert found["AB"].does.startswith("asyncio.Lock"), version
            assert found["getter"].does == "asyncio.Queue queue [empty]"


def test_a_daemon_child_that_its_killed_parent_left():
    with started("orphan", "fork") as pids:
        for version, pid in pids.items():
            (child,) = descendants(pid, 10)
            assert tree(str(child)).branches[0].orphan_of is None, version
            os.kill(pid, signal.SIGKILL)
            limit = time.monotonic() + LIMIT_S
            branch = tree(str(child)).branches[0]
            while branch.orphan_of is None and time.monotonic() < limit:
                time.sleep(0.1)
                branch = tree(str(child)).branches[0]
            assert branch.orphan_of == pid, version
            assert branch.name == "left-alone"
            assert branch.daemon
