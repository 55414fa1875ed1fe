"""`why` about a memory cgroup that is full, and about one that only looks so."""

from pellucid.diagnose.rules.memory_limit import is_at_the_limit_of_its_memory
from pellucid.model import Resources
from pellucid.model.cgroup import MemoryGroup
from tests.unit.rules.build import snapshot

MIB = 1 << 20


def told(**group):
    one = MemoryGroup(
        **{
            "path": "/app",
            "folder": "/sys/fs/cgroup/app",
            "version": 2,
            "current_bytes": 99 * MIB,
            "limit_bytes": 100 * MIB,
            **group,
        }
    )
    return list(is_at_the_limit_of_its_memory(snapshot(resources=Resources(memory_groups=(one,)))))


def test_a_group_full_of_what_can_not_be_taken_back():
    (found,) = told(anon_bytes=97 * MIB, file_bytes=2 * MIB)
    assert (found.rule, found.severity) == ("memory-limit", "critical")
    assert "cgroup /app uses 99 %" in found.title
    (near,) = told(anon_bytes=85 * MIB, file_bytes=14 * MIB)
    assert near.severity == "warning"


def test_a_group_full_of_page_cache_and_one_without_a_limit():
    assert not told(anon_bytes=10 * MIB, file_bytes=88 * MIB)
    assert not told(anon_bytes=97 * MIB, limit_bytes=None)
    assert not list(is_at_the_limit_of_its_memory(snapshot()))
