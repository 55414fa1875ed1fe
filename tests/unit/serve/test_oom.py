"""Whose counter moved: the same SIGKILL, told apart by what the kernel counts."""

import os

import pytest

from pellucid.serve import oom


@pytest.fixture
def machine(tmp_path):
    """A /proc and a cgroup hierarchy made of files, for one version of cgroups."""

    def make(version, kills, limit="536870912"):
        proc, place = tmp_path / "proc", tmp_path / "cgroup"
        inside = place / "app" / "web"
        own = proc / str(os.getpid())
        for folder in (own, proc / "self"):
            folder.mkdir(parents=True, exist_ok=True)
        inside.mkdir(parents=True, exist_ok=True)
        (proc / "vmstat").write_text("nr_free_pages 1\noom_kill 40\n")
        if version == 2:
            (own / "cgroup").write_text("0::/app/web\n")
            (proc / "self" / "mountinfo").write_text("30 23 0:26 / /cgroup rw,nosuid - cgroup2 cgroup2 rw\n")
            (inside / "memory.events").write_text(f"low 0\nhigh 0\nmax 7\noom 1\noom_kill {kills}\noom_group_kill 0\n")
            (inside / "memory.max").write_text(limit)
        else:
            (own / "cgroup").write_text("5:cpu:/app\n4:memory:/app/web\n0::/\n")
            (proc / "self" / "mountinfo").write_text(
                "31 23 0:27 / /nowhere rw - cgroup cgroup rw,cpu\n32 23 0:28 /app /cgroup/app rw - cgroup cgroup rw,memory\n"
            )
            (inside / "memory.oom_control").write_text(f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n")
            (inside / "memory.limit_in_bytes").write_text(limit)
        return oom.counters(str(tmp_path))

    return make


@pytest.mark.parametrize("version", [1, 2])
def test_the_counter_of_the_cgroup_moved(machine, version):
    before = oom.read(machine(version, 3))
    places = machine(version, 4)
    told = oom.verdict(places, before, oom.read(places))
    assert told == "by the kernel's OOM killer: oom_kill of cgroup /app/web went from 3 to 4 (its limit is 512 MiB)"


@pytest.mark.parametrize("version", [1, 2])
def test_no_counter_moved(machine, version):
    places = machine(version, 3)
    before = oom.read(places)
    assert len(before) == 2
    assert oom.verdict(places, before, oom.read(places)) == "not by the OOM killer: its counter did not move"


def test_only_the_machine_s_counter_moved(machine):
    places = machine(2, 3)
    before = oom.read(places)
    told = oom.verdict(places, before, {path: kills + (path.endswith("vmstat")) for path, kills in before.items()})
    assert told.startswith("likely by the kernel's OOM killer: it killed 1 on this machine")


def test_without_a_limit_none_is_told(machine):
    before = oom.read(machine(2, 3, limit="max"))
    places = machine(2, 4, limit="max")
    assert oom.verdict(places, before, oom.read(places)).endswith("went from 3 to 4")


def test_nothing_can_be_read(tmp_path):
    places = oom.counters(str(tmp_path))
    told = oom.verdict(places, oom.read(places), oom.read(places))
    assert told == "whether by the OOM killer can't be known here: none of its counters can be read"


def test_this_machine_has_at_least_one():
    assert oom.read(oom.counters())
