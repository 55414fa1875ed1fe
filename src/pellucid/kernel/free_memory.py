"""How much memory we may still take: what the machine has left, and what our own control groups and limits allow.

MemAvailable of /proc/meminfo (proc_meminfo(5)) is what can be had without swapping. A control group may allow less (`kernel.cgroups`), also
one above ours, and RLIMIT_AS (getrlimit(2)) may allow us fewer addresses. The page cache of a group counts as used, though the kernel gives
it back: it is added.
"""

import os
import resource

from pellucid.kernel.cgroups import memory_groups
from pellucid.kernel.procfs import read_file


def available() -> int:
    """Bytes; the least of the machine's, of each group's, and of our own addresses. Raises OSError where /proc/meminfo can't be read."""
    least = _machine()
    for group in memory_groups(os.getpid()):
        if group.limit_bytes is not None:
            least = min(least, group.limit_bytes - group.current_bytes + (group.file_bytes or 0))
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
