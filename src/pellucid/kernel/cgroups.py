"""The cgroups of a process: limits of memory, use, events, and how much of the CPUs; version 1 and 2, and hybrids of both.

/proc/PID/cgroup names the group in each hierarchy (cgroups(7)), /proc/self/mountinfo where that hierarchy is mounted here. v2:
Documentation/admin-guide/cgroup-v2.rst, "Memory"; v1: Documentation/admin-guide/cgroup-v1/memory.rst. A limit of any group above
counts too, so all of them are read. `root` is where /proc and the mounts are looked for, for tests with files of their own.
"""

import os
from collections.abc import Iterator

from pellucid.kernel.procfs import read_file
from pellucid.model.cgroup import MemoryGroup

MAX_DEPTH = 32
MAX_MEMBERS, MAX_BELOW = 4096, 256
_NO_LIMIT = 1 << 60
"""v1 says "none" by LONG_MAX rounded down to a page (mm/page_counter.c, PAGE_COUNTER_MAX)."""


def memory_groups(pid: int, root: str = "") -> tuple[MemoryGroup, ...]:
    """The memory cgroup of `pid` and those above it that can be read, its own first; empty where there is none."""
    for version in (1, 2):  # on a hybrid the memory controller is in one of them only
        where = place(pid, "memory", version, root)
        if where is not None:
            found = _upwards(*where, version)
            if found:
                return found
    return ()


def cpu_quota(pid: int, root: str = "") -> float | None:
    """How many CPUs the group of `pid` and those above it may use at most; None where nothing limits them, or it can't be read.

    cpu.max of version 2; cpu.cfs_quota_us of version 1, where -1 is no limit (Documentation/scheduler/sched-bwc.rst).
    """
    least: float | None = None
    for version in (1, 2):
        where = place(pid, "cpu", version, root)
        for _, folder in _way_up(*where) if where is not None else ():
            told = _quota(folder, version)
            least = told if least is None or (told is not None and told < least) else least
    return least


def _quota(folder: str, version: int) -> float | None:
    names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    try:
        quota, period = " ".join(_text(os.path.join(folder, name)) for name in names).split()
    except (OSError, ValueError):  # the root has none
        return None
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def place(pid: int, controller: str, version: int, root: str = "") -> tuple[str, str, str] | None:
    """(the path of its group, where the hierarchy is mounted here, the folder of the group) in the hierarchy with this controller."""
    try:
        path = _path(_text(f"{root}/proc/{pid}/cgroup"), controller, version)
    except OSError:
        return None
    mounted = _mounted(path, controller, version, root) if path is not None else None
    return (path, *mounted) if path is not None and mounted is not None else None


def memory_group(folder: str) -> tuple[MemoryGroup, ...]:
    """The group whose folder (`/sys/fs/cgroup/...`), or path in the memory hierarchy, is `folder`, and those above it."""
    for version in (2, 1):
        mounted = _mounted("/", "memory", version, "")
        if mounted is None:
            continue
        mount = mounted[0]
        inside = os.path.relpath(folder, mount) if folder.startswith(mount) else folder.strip("/")
        found = _upwards("/" + inside.strip("./"), mount, os.path.normpath(os.path.join(mount, inside)), version)
        if found and os.path.normpath(found[0].folder) == os.path.normpath(os.path.join(mount, inside)):
            return found
    return ()


def members(folder: str) -> tuple[int, ...]:
    """The pids in the group at `folder` and those below it, at most MAX_MEMBERS in MAX_BELOW groups."""
    found: list[int] = []
    ahead = [folder]
    for _ in range(MAX_BELOW):
        if not ahead or len(found) >= MAX_MEMBERS:
            break
        group = ahead.pop()
        try:
            found += (int(pid) for pid in _text(os.path.join(group, "cgroup.procs")).split())
            ahead += (entry.path for entry in os.scandir(group) if entry.is_dir(follow_symlinks=False))
        except OSError:  # it was removed meanwhile
            continue
    return tuple(found[:MAX_MEMBERS])


def _path(told: str, controller: str, version: int) -> str | None:
    for line in told.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (version == 1 and controller in controllers.split(",")) or (
            version == 2 and number == "0" and not controllers
        ):
            return path
    return None


def _mounted(path: str, controller: str, version: int, root: str) -> tuple[str, str] | None:
    """(mount point, folder of `path`). Field 4 of mountinfo is the group that is mounted, field 5 where (proc_pid_mountinfo(5))."""
    wanted = "cgroup2" if version == 2 else "cgroup"
    try:
        lines = _text(f"{root}/proc/self/mountinfo").splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] != wanted:
            continue
        if version == 1 and controller not in kind[2].split(","):
            continue
        mount = root + fields[4]
        # In a container the path may be that of the host while the mount begins at the container's own group.
        inside = os.path.relpath(path, fields[3]) if path.startswith(fields[3]) else "."
        folder = os.path.normpath(os.path.join(mount, inside))
        return (mount, folder) if os.path.isdir(folder) else (mount, mount)
    return None


def _upwards(path: str, mount: str, folder: str, version: int) -> tuple[MemoryGroup, ...]:
    read = _version_2 if version == 2 else _version_1
    found = (read(above, at) for above, at in _way_up(path, mount, folder))
    return tuple(group for group in found if group is not None)


def _way_up(path: str, mount: str, folder: str) -> Iterator[tuple[str, str]]:
    """(path, folder) of the group, and of those above it up to the mount."""
    for _ in range(MAX_DEPTH):
        yield path, folder
        if folder == mount or not folder.startswith(mount):
            return
        folder, path = os.path.dirname(folder), os.path.dirname(path) or "/"


def _version_2(path: str, folder: str) -> MemoryGroup | None:
    current = _number(folder, "memory.current")
    if current is None:  # the root has none, nor has a group without the controller
        return None
    events, stat = _table(folder, "memory.events"), _table(folder, "memory.stat")
    return MemoryGroup(
        path=path,
        folder=folder,
        version=2,
        current_bytes=current,
        limit_bytes=_number(folder, "memory.max"),
        high_bytes=_number(folder, "memory.high"),
        peak_bytes=_number(folder, "memory.peak"),
        swap_bytes=_number(folder, "memory.swap.current"),
        swap_limit_bytes=_number(folder, "memory.swap.max"),
        anon_bytes=stat.get("anon"),
        file_bytes=stat["file"] - stat.get("shmem", 0) if "file" in stat else None,
        shmem_bytes=stat.get("shmem"),
        kernel_bytes=stat.get("kernel", stat.get("slab")),
        hits=events.get("max", 0),
        ooms=events.get("oom", 0),
        kills=events.get("oom_kill", 0),
        stalled_percent=_stalled(os.path.join(folder, "memory.pressure")),
    )


def _version_1(path: str, folder: str) -> MemoryGroup | None:
    current = _number(folder, "memory.usage_in_bytes")
    if current is None:
        return None
    stat = _table(folder, "memory.stat")
    both, both_limit = _number(folder, "memory.memsw.usage_in_bytes"), _number(folder, "memory.memsw.limit_in_bytes")
    limit = _number(folder, "memory.limit_in_bytes")
    cache, shmem = stat.get("total_cache"), stat.get("total_shmem", 0)
    return MemoryGroup(
        path=path,
        folder=folder,
        version=1,
        current_bytes=current,
        limit_bytes=limit,
        peak_bytes=_number(folder, "memory.max_usage_in_bytes"),
        swap_bytes=max(0, both - current) if both is not None else stat.get("total_swap"),
        swap_limit_bytes=both_limit - limit if both_limit is not None and limit is not None else None,
        anon_bytes=stat.get("total_rss"),
        file_bytes=max(0, cache - shmem) if cache is not None else None,
        shmem_bytes=shmem if cache is not None else None,
        kernel_bytes=_number(folder, "memory.kmem.usage_in_bytes"),
        hits=_number(folder, "memory.failcnt") or 0,
        kills=_table(folder, "memory.oom_control").get("oom_kill", 0),
    )


def _stalled(path: str) -> float | None:
    """`some avg10` of a pressure file (Documentation/accounting/psi.rst), in percent."""
    try:
        text = _text(path)
    except OSError:
        return None
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "some":
            return next((float(pair[6:]) for pair in rest.split() if pair.startswith("avg10=")), None)
    return None


def machine_stalled() -> float | None:
    """The same of the whole machine, /proc/pressure/memory; None where the kernel does not tell it."""
    return _stalled("/proc/pressure/memory")


def _number(folder: str, name: str) -> int | None:
    """None where there is no such file, or it says that there is no limit."""
    try:
        text = _text(os.path.join(folder, name)).strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and int(text) < _NO_LIMIT else None


def _table(folder: str, name: str) -> dict[str, int]:
    try:
        lines = _text(os.path.join(folder, name)).splitlines()
    except OSError:
        return {}
    pairs = (line.partition(" ") for line in lines)
    return {key: int(value) for key, _, value in pairs if value.isdecimal()}


def _text(path: str) -> str:
    return read_file(path, 1 << 20).decode("utf-8", "replace")
