"""Memory cgroups of version 1, version 2 and both, from files as kernels write them."""

import pytest

from pellucid.kernel.cgroups import cpu_quota, memory_groups

V2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "31 24 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
UNIFIED = "30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
CONTAINER = "40 24 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"


@pytest.fixture
def machine(tmp_path):
    def build(mounts, cgroup, folders):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/42").mkdir()
        (tmp_path / "proc/self/mountinfo").write_text(mounts)
        (tmp_path / "proc/42/cgroup").write_text(cgroup)
        for folder, files in folders.items():
            place = tmp_path / folder.lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (place / name).write_text(text)
        return memory_groups(42, str(tmp_path))

    return build


def test_version_2_with_a_limit_above(machine):
    own, above = machine(
        V2,
        "0::/app.slice/web.service\n",
        {
            "/sys/fs/cgroup": {},  # the root has no memory.current
            "/sys/fs/cgroup/app.slice": {"memory.current": "900\n", "memory.max": "1000\n"},
            "/sys/fs/cgroup/app.slice/web.service": {
                "memory.current": "500\n",
                "memory.max": "max\n",
                "memory.high": "800\n",
                "memory.peak": "700\n",
                "memory.stat": "anon 300\nfile 150\nshmem 50\nkernel 40\n",
                "memory.events": "low 0\nhigh 3\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n",
                "memory.pressure": "some avg10=12.50 avg60=1.00 avg300=0.10 total=99\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n",
            },
        },
    )
    assert (own.path, own.version, own.current_bytes, own.limit_bytes, own.high_bytes) == (
        "/app.slice/web.service",
        2,
        500,
        None,
        800,
    )
    assert (own.anon_bytes, own.file_bytes, own.shmem_bytes, own.kernel_bytes) == (300, 100, 50, 40)
    assert (own.hits, own.ooms, own.kills, own.stalled_percent) == (7, 2, 1, 12.5)
    assert own.fill is None
    assert (above.path, above.fill) == ("/app.slice", 0.9)


FILES_1 = {
    "memory.usage_in_bytes": "500\n",
    "memory.limit_in_bytes": "1000\n",
    "memory.max_usage_in_bytes": "900\n",
    "memory.memsw.usage_in_bytes": "600\n",
    "memory.memsw.limit_in_bytes": "9223372036854771712\n",
    "memory.failcnt": "4\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "memory.stat": "cache 1\nrss 2\nhierarchical_memory_limit 1000\ntotal_cache 200\ntotal_rss 250\ntotal_shmem 80\n",
}


@pytest.mark.parametrize("mounts", [V1, UNIFIED + V1])
def test_version_1_alone_and_beside_a_version_2_without_memory(machine, mounts):
    own, *_ = machine(
        mounts, "4:memory:/job\n0::/job\n", {"/sys/fs/cgroup/memory/job": FILES_1, "/sys/fs/cgroup/unified/job": {}}
    )
    assert (own.path, own.version, own.current_bytes, own.limit_bytes) == ("/job", 1, 500, 1000)
    assert (own.anon_bytes, own.file_bytes, own.shmem_bytes, own.swap_bytes) == (250, 120, 80, 100)
    assert (own.swap_limit_bytes, own.hits, own.kills) == (None, 4, 2)


def test_in_a_container_the_mount_begins_at_its_own_group(machine):
    (own,) = machine(CONTAINER, "4:memory:/docker/abc\n", {"/sys/fs/cgroup/memory": FILES_1})
    assert own.limit_bytes == 1000


def test_without_a_memory_controller(machine):
    assert machine("", "0::/\n", {}) == ()
    assert memory_groups(999_999_999) == ()


def test_the_least_of_the_cpus_that_its_group_and_those_above_may_use(machine, tmp_path):
    folders = {
        "/sys/fs/cgroup/app": {"cpu.max": "150000 100000\n"},
        "/sys/fs/cgroup/app/web": {"cpu.max": "max 100000\n"},
    }
    machine(V2, "0::/app/web\n", folders)
    assert cpu_quota(42, str(tmp_path)) == 1.5
    (tmp_path / "sys/fs/cgroup/app/cpu.max").write_text("max 100000\n")
    assert cpu_quota(42, str(tmp_path)) is None


def test_cpus_of_version_1_have_a_hierarchy_of_their_own(machine, tmp_path):
    mounts = V1 + "32 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    folders = {
        "/sys/fs/cgroup/memory": {},
        "/sys/fs/cgroup/cpu,cpuacct/app": {"cpu.cfs_quota_us": "50000\n", "cpu.cfs_period_us": "100000\n"},
        "/sys/fs/cgroup/cpu,cpuacct": {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"},
    }
    machine(mounts, "5:cpu,cpuacct:/app\n4:memory:/other\n", folders)
    assert cpu_quota(42, str(tmp_path)) == 0.5
