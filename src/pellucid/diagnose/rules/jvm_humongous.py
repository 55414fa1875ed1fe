"""G1 collects because of objects of half a region or more: they bypass the young generation, each takes whole regions, and starts a cycle.

gc/g1/g1CollectedHeap.cpp, attempt_allocation_humongous; the size of a region is between 1 and 32 MiB (-XX:G1HeapRegionSize).
"""

from collections.abc import Iterator

from pellucid.model import Finding, Ref, Snapshot

_LEAST = 3


def allocates_humongous_objects(seen: Snapshot) -> Iterator[Finding]:
    watched = seen.over_time.jvm if seen.over_time else None
    if watched is None or watched.last.name != "G1" or watched.humongous < _LEAST:
        return
    pid = seen.process.pid
    where = f"in its log {watched.log}" if watched.log else "while it was watched"
    yield Finding(
        rule="jvm-humongous",
        severity="notice",
        title=f"{watched.humongous} collections were caused by humongous objects",
        sentence=f"{watched.humongous} collections of pid {pid} {where} were started by the allocation of an object of half a region or more: large arrays or buffers. "
        "Each takes whole regions, and goes into the old generation at once. Larger regions (-XX:G1HeapRegionSize) or smaller buffers help.",
        evidence=(
            Ref(
                source=watched.log or f"counters of pid {pid}",
                said=f"G1 Humongous Allocation, {watched.humongous} times",
            ),
        ),
        next=(f"pellucid heap {pid}", f"pellucid gc {pid} --watch"),
        confidence="certain",
    )
