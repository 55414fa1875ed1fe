"""The memory cgroup of the process, or one above it, is at its limit, and what it holds can't be taken back: the OOM killer is next.

A group that is full of page cache is healthy: the kernel takes that back when it needs the pages (`diagnose.oom.linux.group_is_full`).
"""

from collections.abc import Iterator

from msgspec.structs import replace

from pellucid.diagnose.oom.linux import group_is_full
from pellucid.model import Finding, Snapshot
from pellucid.model.oom import OomSeen


def is_at_the_limit_of_its_memory(seen: Snapshot) -> Iterator[Finding]:
    groups = seen.resources.memory_groups
    for finding in group_is_full(OomSeen(pid=seen.process.pid, groups=groups)) if groups else ():
        if finding.severity in {"critical", "warning"}:
            yield replace(finding, rule="memory-limit")
