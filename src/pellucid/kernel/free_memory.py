"""How much memory we may still take: what the machine has left, and what our own control groups allow.

MemAvailable of /proc/meminfo (proc_meminfo(5)) is what can be had without swapping. A control group may allow less: memory.max and
memory.current of version 2, memory.limit_in_bytes and memory.usage_in_bytes of version 1, in each group from ours upwards
(Documentation/admin-guide/cgroup-v2.rst), and RLIMIT_AS (getrlimit(2)) may allow us fewer addresses. The page cache of a group counts as used, though the kernel gives it back: it is added.
"""

import os
import resource
from collections.abc import Iterator

from pellucid.kernel.procfs import read_file

_V2 = ("memory.max", "memory.current", "file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache")
_MAX_GROUPS = 64


def available(root: str = "/sys/fs/cgroup") -> int:
    """Bytes; the least of the machine's, of each group's, and of our own addresses. Raises OSError where /proc/meminfo can't be read."""
    least = _machine()
    for folder, (most, used, cache) in _groups(root):
        try:
            limit = read_file(f"{folder}/{most}").strip()
            if limit == b"max":
                continue
            given_back = _field(read_file(f"{folder}/memory.stat"), cache)
            least = min(least, int(limit) - int(read_file(f"{folder}/{used}")) + given_back)
        except (OSError, ValueError):
            continue  # the root group has no such files; one that is not mounted here can't be asked
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if addresses != resource.RLIM_INFINITY:
        pages = int(read_file("/proc/self/statm").split()[0])
        least = min(least, addresses - pages * resource.getpagesize())
    return max(least, 0)


def _machine() -> int:
    for line in read_file("/proc/meminfo").splitlines():
        if line.startswith(b"MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0


def _groups(root: str) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Our groups and those above them: (folder, names of its files)."""
    for line in read_file("/proc/self/cgroup").decode("utf-8", "surrogateescape").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, names = (f"{root}/memory", _V1) if controllers else (root, _V2)
        for _ in range(_MAX_GROUPS):
            yield os.path.normpath(f"{base}/{path}"), names
            if path in ("", "/"):
                break
            path = os.path.dirname(path)


def _field(text: bytes, name: str) -> int:
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == name.encode():
            return int(words[1])
    return 0
