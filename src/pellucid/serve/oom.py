"""Was it the OOM killer? A process that it kills dies of SIGKILL like any other; the counters of the kernel tell the two apart.

cgroup v2: `oom_kill` in memory.events ("The number of processes belonging to this cgroup killed by any kind of OOM killer",
Documentation/admin-guide/cgroup-v2.rst). cgroup v1: `oom_kill` in memory.oom_control (mm/memcontrol-v1.c). Without either: `oom_kill` in
/proc/vmstat, which counts the whole machine. __oom_kill_process (mm/oom_kill.c) counts before it sends the signal, so at the death it has moved.
"""

import os
from collections.abc import Mapping

from msgspec import Struct

from pellucid.kernel import cgroups

V2 = ("memory.events", "memory.max")
V1 = ("memory.oom_control", "memory.limit_in_bytes")


class Counter(Struct, frozen=True):
    """One place where kills are counted. `cgroup` is "" for the whole machine."""

    path: str
    cgroup: str = ""
    limit_path: str = ""


def counters(root: str = "") -> tuple[Counter, ...]:
    """Those of this process's memory cgroup, and the machine's. `root` is where /proc and the mounts are looked for."""
    found = []
    for version, (events, limit) in ((2, V2), (1, V1)):
        where = cgroups.place(os.getpid(), "memory", version, root)
        if where is not None and os.path.exists(os.path.join(where[2], events)):
            path, _, folder = where
            found.append(Counter(os.path.join(folder, events), path or "/", os.path.join(folder, limit)))
    return (*found, Counter(f"{root}/proc/vmstat"))


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
