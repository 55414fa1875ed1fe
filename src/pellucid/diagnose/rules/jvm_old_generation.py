"""What full collections leave in a JVM's heap rises, or fills it: the sign of a leak, of a cache that still fills, or of a heap too small.

The points are what the JVM's own log tells of all its life, where it writes one, else what its counters showed in the window. See
`diagnose.floor` for the verdict; between collections the use goes up and down by itself and means nothing.
"""

from collections.abc import Iterator

from pellucid.diagnose.floor import floor
from pellucid.diagnose.sizes import size
from pellucid.model import Finding, Ref, Snapshot


def old_generation_fills(seen: Snapshot) -> Iterator[Finding]:
    watched = seen.over_time.jvm if seen.over_time else None
    if watched is None:
        return
    old = watched.last.old
    limit = watched.last.heap_limit if watched.log else (old.limit or old.capacity) if old else None
    verdict = floor(watched.points, limit, watched.points_of)
    if verdict.kind not in {"full", "rising"}:
        return
    pid = seen.process.pid
    full = verdict.kind == "full"
    sure = watched.points_of == "full collections"  # mixed ones and cycles leave garbage too
    what = "its heap is full" if full else "its heap fills, and collections do not empty it"
    yield Finding(
        rule="jvm-old-generation",
        severity=("critical" if full else "warning") if sure else "notice",
        title=f"{what}: {size(int(verdict.points[-1][1]))} left by the last one",
        sentence=f"The heap of pid {pid} is {verdict.sentence}."
        + (
            " A leak, a cache that still fills, or too small a heap: who holds it tells."
            if not full
            else " An OutOfMemoryError is near."
        ),
        evidence=(
            Ref(
                source=watched.log or f"counters of pid {pid}",
                said=f"{len(verdict.points)} {watched.points_of}: {', '.join(size(int(left)) for _, left in verdict.points[-5:])}",
            ),
        ),
        next=(f"pellucid heap {pid}", f"pellucid jvm arm {pid}", f"pellucid heap {pid} --save heap.hprof"),
        confidence="likely" if sure else "possible",
    )
