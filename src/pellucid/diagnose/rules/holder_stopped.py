"""A thread waits for a lock, a result or the end of a process, and whoever has to bring it is in a process that is stopped.

The graph of who waits for whom leads there (`diagnose.halted`). A wait for a child, a pipe or a socket has a rule of its own, which looks
at the other end.
"""

from collections.abc import Iterator

from pellucid.diagnose.halted import halted
from pellucid.model import Finding, Snapshot


def waits_for_who_is_stopped(seen: Snapshot) -> Iterator[Finding]:
    if seen.graph is None or seen.process.state in {"stopped", "traced"}:
        return
    locked = {thread.tid for thread in seen.threads if thread.wait is not None and thread.wait.kind == "lock"}
    for finding in halted(seen.graph):
        if locked.intersection(finding.tids):
            yield finding
