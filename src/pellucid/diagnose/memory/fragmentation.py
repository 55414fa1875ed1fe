"""Memory that the program has freed and the allocators keep: it is no leak, and it does not come back by itself.

CPython gives an arena (1 MiB) back only when all of its pools are empty, and a pool is kept by one object in it (Objects/obmalloc.c).
malloc gives back what is free at the end of a heap; what lies between used blocks stays until malloc_trim (malloc/malloc.c).
"""

from collections.abc import Iterator

from pellucid.diagnose.memory.growth import SHARE, evidence, grows, share
from pellucid.diagnose.sizes import size
from pellucid.model import Finding, Ref
from pellucid.model.memory import MemoryMap, MemorySeen

LEAST_BYTES = 16 << 20
LEAST_SHARE = 0.3
_MUCH = 512 << 20


def keeps_what_it_freed(seen: MemorySeen) -> Iterator[Finding]:
    last = seen.last
    if last is None:
        return
    pools = max(0, last.pool_bytes - last.pool_used_bytes)
    free = pools + last.malloc_free_bytes
    line = seen.trend("free")
    growing = grows(line) and grows(seen.trend("private")) and share(seen, "free") >= SHARE
    if not growing and (free < LEAST_BYTES or free < LEAST_SHARE * last.rss_anon_bytes):
        return
    pid = seen.process.pid
    portion = 100 * free / max(1, last.rss_anon_bytes)
    yield Finding(
        rule="fragmentation",
        severity="warning" if growing or free >= _MUCH else "notice",
        title=f"fragmentation, memory not returned: {size(free)} of {size(last.rss_anon_bytes)} ({portion:.0f} %) are free inside of its allocators",
        sentence=f"{_where(last, pools)} The objects themselves {'do not grow with it' if growing else 'are ' + size(last.known_bytes)}."
        f" {_cure(last, pools)}",
        evidence=(
            Ref(source=f"pools of pid {pid}", said=f"{size(last.pool_used_bytes)} in use of {size(last.pool_bytes)}"),
            Ref(
                source=f"malloc of pid {pid}",
                said=f"{size(last.malloc_free_bytes)} free, {size(last.malloc_used_bytes)} in use",
            ),
            *((evidence(line, "free in the allocators", pid),) if growing and line is not None else ()),
        ),
        next=(f"pellucid memory {pid} --watch 60",),
        confidence="likely" if last.walked < 1 else "certain",
    )


def _where(last: MemoryMap, pools: int) -> str:
    parts = []
    if pools >= 1 << 20:
        fill = 100 * last.pool_used_bytes / max(1, last.pool_bytes)
        parts.append(
            f"Python's pools hold {size(last.pool_bytes)}, of which {fill:.0f} % is in use: few objects keep many pools."
        )
    if last.malloc_free_bytes >= 1 << 20:
        arenas = f" in {last.arenas} arenas" if last.arenas > 1 else ""
        parts.append(f"malloc keeps {size(last.malloc_free_bytes)} free{arenas}.")
    return " ".join(parts)


def _cure(last: MemoryMap, pools: int) -> str:
    if pools > last.malloc_free_bytes:
        return (
            "New objects will use it again; to give it back, objects that live long would have to be made before or apart from the many"
            " that don't, or the worker replaced."
        )
    if last.arenas > 8:
        return "Fewer arenas (MALLOC_ARENA_MAX=2), malloc_trim(0), or another allocator (jemalloc) gives it back."
    return "malloc_trim(0) or MALLOC_TRIM_THRESHOLD_ gives it back."
