"""Threads, tasks and processes that wait for each other, or for somebody who no longer exists: nothing can ever wake them.

The graph of who waits for whom is reduced (`diagnose.graph`); what it says of each knot is put into words by `diagnose.stuck`.
"""

from collections.abc import Iterator

from pellucid.diagnose.stuck import placed, stuck
from pellucid.model import Finding, Snapshot


def waits_for_ever(seen: Snapshot) -> Iterator[Finding]:
    if seen.graph is None or seen.process.state in {"stopped", "traced"}:
        return
    for one in stuck(seen.graph):
        if any(node.pid == seen.process.pid for node in (*one.members, *one.victims)):
            yield placed(one, seen.process.pid)
