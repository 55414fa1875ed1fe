"""All that one quick look at one process shows: what is wrong, what each thread does, who waits for whom, what was not seen."""

import time

from msgspec import Struct
from msgspec.structs import replace

from pellucid.diagnose.engine import diagnose
from pellucid.inert import inert
from pellucid.model import Snapshot
from pellucid.model.errors import LookError, NotPermitted
from pellucid.present.view import groups as grouping
from pellucid.present.view import told
from pellucid.present.view import waits as waiting


class Deep(Struct, frozen=True):
    """Of `pid` as it was `taken_at`. `failed` where it could not be looked at at all; then the rest is empty."""

    pid: int
    taken_at: float
    failed: told.Failed | None = None
    runtime: str = ""
    findings: tuple[told.Told, ...] = ()
    threads: int = 0
    groups: tuple[grouping.Shown, ...] = ()
    others: tuple[grouping.Shown, ...] = ()
    waits: waiting.Waits = waiting.Waits((), (), (), 0)
    not_seen: tuple[told.NotSeen, ...] = ()
    cost_s: float = 0.0
    """CPU seconds that the look took."""
    stopped_s: float | None = None
    """A JVM was asked for its stacks, and stood still for so long."""


def look(pid: int, *, ask: bool) -> Deep:
    """A quick look: 0.1 s. A failure is told by the value. `ask`: whether JVMs may be asked for their stacks, which stops them for a moment."""
    from pellucid.observe.snapshot import snapshot

    cpu = time.thread_time()  # not of the process, where the scan and others run meanwhile
    try:
        found = of(snapshot(pid, ask=ask))
        return replace(found, cost_s=time.thread_time() - cpu)
    except LookError as error:
        return Deep(pid, time.time(), failed=told.failed(error))


def of(seen: Snapshot) -> Deep:
    """The same from a snapshot that is there already, live or recorded."""
    return Deep(
        pid=seen.process.pid,
        taken_at=seen.taken_at,
        runtime=inert(seen.process.runtime or ""),
        findings=tuple(map(told.told, diagnose(seen))),
        threads=len(seen.threads),
        groups=grouping.shown(seen.threads),
        others=grouping.others(seen.threads),
        waits=waiting.waits(seen.graph, seen.process.pid) if seen.graph is not None else waiting.Waits((), (), (), 0),
        not_seen=told.not_seen(seen.gaps),
        cost_s=seen.cost.cpu_s,
        stopped_s=seen.cost.stopped_s,
    )


def refused(deep: Deep) -> bool:
    """The kernel does not let us look: asking again will not help."""
    return deep.failed is not None and deep.failed.code == NotPermitted.code
