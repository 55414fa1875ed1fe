"""How much memory may still be taken: the machine's, the control group's, our own limit."""

import resource

from pellucid.kernel import free_memory
from pellucid.model.cgroup import MemoryGroup


def within(monkeypatch, **group):
    one = MemoryGroup(path="/service", folder="/sys/fs/cgroup/service", version=2, **group)
    monkeypatch.setattr(free_memory, "memory_groups", lambda _: (one,))
    return free_memory.available()


def test_a_group_that_allows_less_than_the_machine_has(monkeypatch):
    assert within(monkeypatch, limit_bytes=1_000_000, current_bytes=400_000, file_bytes=100_000) == 700_000


def test_a_group_without_a_limit_or_without_files_allows_what_the_machine_has(monkeypatch):
    assert within(monkeypatch, current_bytes=400_000) > 1 << 20


def test_a_group_that_is_over_its_limit_leaves_nothing(monkeypatch):
    assert within(monkeypatch, limit_bytes=1000, current_bytes=5000) == 0


def test_our_own_limit_of_addresses_counts(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 62, 1 << 62))
    free = free_memory.available()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))
    assert free > 0
    assert free_memory.available() == 0
