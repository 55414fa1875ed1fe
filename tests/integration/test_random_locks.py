"""Random programs of k threads and m locks, run for real: those that are deadlocked are found, all of them and no other."""

import pytest

from pellucid.diagnose.graph import judge
from tests.settling import settled
from tests.waiting import look, started


@pytest.mark.parametrize("seed", range(8))
def test_the_deadlocked_threads_are_those_that_are_known_to_be(seed):
    with started(str(seed), program="random_locks.py") as pids:
        for version, pid in pids.items():
            settled(pid)
            found = look(pid)
            verdict = judge(found.graph)
            threads = [node for node in found.graph.nodes if node.kind == "thread" and node.name != "MainThread"]
            stuck = {node.name for node in threads if node.key in verdict.stuck}
            assert stuck == {node.name for node in threads if node.name.endswith("-stuck")}, version
            assert all(finding.confidence == "certain" for finding in found.findings), version
            assert bool(found.findings) == bool(stuck), version
