"""How much memory may still be taken: the machine's, the control group's, our own limit."""

import resource

import pytest

from pellucid.kernel import free_memory


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A control group of version 2 with a limit, as `root` of the hierarchy and its only child."""

    def make(**files):
        folder = tmp_path / "service"
        folder.mkdir()
        for name, text in files.items():
            (folder / name.replace("_", ".", 1)).write_text(text)
        read = free_memory.read_file
        monkeypatch.setattr(
            free_memory,
            "read_file",
            lambda path, *rest: b"0::/service\n" if path == "/proc/self/cgroup" else read(path, *rest),
        )
        return str(tmp_path)

    return make


def test_a_group_that_allows_less_than_the_machine_has(group):
    root = group(memory_max="1000000\n", memory_current="400000\n", memory_stat="anon 1\nfile 100000\n")
    assert free_memory.available(root) == 700_000


def test_a_group_without_a_limit_or_without_files_allows_what_the_machine_has(group):
    root = group(memory_max="max\n", memory_current="400000\n", memory_stat="file 0\n")
    assert free_memory.available(root) > 1 << 20


def test_a_group_that_is_over_its_limit_leaves_nothing(group):
    assert free_memory.available(group(memory_max="1000\n", memory_current="5000\n", memory_stat="file 0\n")) == 0


def test_our_own_limit_of_addresses_counts(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 62, 1 << 62))
    free = free_memory.available("/nonexistent")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))
    assert free > 0
    assert free_memory.available("/nonexistent") == 0
