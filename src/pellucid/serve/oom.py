"""Was it the OOM killer? A process that it kills dies of SIGKILL like any other; the counters of the kernel tell the two apart.

cgroup v2: `oom_kill` in memory.events ("The number of processes belonging to this cgroup killed by any kind of OOM killer",
Documentation/admin-guide/cgroup-v2.rst). cgroup v1: `oom_kill` in memory.oom_control (mm/memcontrol-v1.c). Without either: `oom_kill` in
/proc/vmstat, which counts the whole machine. __oom_kill_process (mm/oom_kill.c) counts before it sends the signal, so at the death it has moved.
"""

import os
from collections.abc import Mapping

from msgspec import Struct

V2 = ("memory.events", "memory.max")
V1 = ("memory.oom_control", "memory.limit_in_bytes")


class Counter(Struct, frozen=True):
    """One place where kills are counted. `cgroup` is "" for the whole machine."""

    path: str
    cgroup: str = ""
    limit_path: str = ""


def counters(proc: str = "/proc") -> tuple[Counter, ...]:
    """Those of this process's memory cgroup, and the machine's."""
    found = []
    for version, names in (("cgroup2", V2), ("cgroup", V1)):
        cgroup = _cgroup(proc, version)
        folder = _folder(proc, version, cgroup) if cgroup is not None else None
        if folder is not None and os.path.exists(os.path.join(folder, names[0])):
            found.append(Counter(os.path.join(folder, names[0]), cgroup or "/", os.path.join(folder, names[1])))
    return (*found, Counter(os.path.join(proc, "vmstat")))


def read(places: tuple[Counter, ...]) -> dict[str, int]:
    """Path → kills so far; a place that can't be read or has no such counter is left out."""
    counts = {}
    for place in places:
        try:
            with open(place.path, encoding="ascii") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdecimal():
                counts[place.path] = int(value)
    return counts


def verdict(places: tuple[Counter, ...], before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """`the OOM killer: oom_kill of cgroup /x went from 3 to 4 (limit 512 MiB)`, or that it was not, or that it can't be known."""
    comparable = [place for place in places if place.path in before and place.path in after]
    for place in comparable:
        first, last = before[place.path], after[place.path]
        if last > first and place.cgroup:
            return f"by the kernel's OOM killer: oom_kill of cgroup {place.cgroup} went from {first} to {last}{_limit(place)}"
        if last > first:
            return (
                f"likely by the kernel's OOM killer: it killed {last - first} on this machine meanwhile ({place.path})"
            )
    if not comparable:
        return "whether by the OOM killer can't be known here: none of its counters can be read"
    return "not by the OOM killer: its counter did not move"


def _limit(place: Counter) -> str:
    try:
        with open(place.limit_path, encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return ""
    return f" (its limit is {int(text) / 1048576:.0f} MiB)" if text.isdecimal() and int(text) < 1 << 60 else ""


def _cgroup(proc: str, version: str) -> str | None:
    """The path of this process in the hierarchy that has the memory controller (cgroups(7), /proc/PID/cgroup)."""
    for line in _lines(os.path.join(proc, "self", "cgroup")):
        number, controllers, path = line.split(":", 2)
        if version == "cgroup2" and number == "0" and not controllers:
            return path
        if version == "cgroup" and "memory" in controllers.split(","):
            return path
    return None


def _folder(proc: str, version: str, cgroup: str) -> str | None:
    """Where that path is mounted (proc_pid_mountinfo(5)): field 4 is the root of the mount, field 5 the mount point."""
    for line in _lines(os.path.join(proc, "self", "mountinfo")):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] != version:
            continue
        if version == "cgroup" and "memory" not in kind[2].split(","):
            continue
        root, place = fields[3], fields[4]
        inside = os.path.relpath(cgroup, root) if cgroup.startswith(root) else "."
        return os.path.normpath(os.path.join(place, inside))
    return None


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
