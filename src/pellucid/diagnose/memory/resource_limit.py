"""A limit is near: of a cgroup, of the process itself, of the machine; or one object is most of it. Nothing needs to leak for that."""

from collections.abc import Iterator

from pellucid.diagnose.oom import linux
from pellucid.diagnose.sizes import size
from pellucid.model import Finding, Ref
from pellucid.model.memory import MemorySeen
from pellucid.model.oom import OomSeen

_GIANT_BYTES, _GIANT_SHARE = 64 << 20, 0.4


def is_near_a_limit(seen: MemorySeen) -> Iterator[Finding]:
    last = seen.samples[-1] if seen.samples else None
    limits = OomSeen(
        pid=seen.process.pid,
        process=seen.process,
        groups=seen.groups,
        limits=seen.limits,
        virtual_bytes=last.virtual_bytes if last else None,
    )
    for finding in (*linux.group_is_full(limits), *linux.is_near_its_own_limit(limits)):
        if finding.severity != "info":
            yield _as_limit(finding)
    yield from _giant(seen)


def _as_limit(finding: Finding) -> Finding:
    from msgspec.structs import replace

    return replace(finding, rule="resource-limit", title=f"resource limit: {finding.title}")


def _giant(seen: MemorySeen) -> Iterator[Finding]:
    last = seen.last
    if last is None or last.largest is None:
        return
    largest = last.largest
    if largest.bytes < _GIANT_BYTES or largest.bytes < _GIANT_SHARE * last.rss_anon_bytes:
        return
    yield Finding(
        rule="giant-object",
        severity="info",
        title=f"one block is {size(largest.bytes)}, {100 * largest.bytes / max(1, last.rss_anon_bytes):.0f} % of its memory",
        sentence=f"It is {largest.what}. That is no leak; a limit would be met by making one more of it.",
        evidence=(Ref(source=f"malloc of pid {seen.process.pid}", said=f"largest block in use {largest.bytes} bytes"),),
        next=(f"pellucid heap {seen.process.pid}",),
        confidence="likely",
    )
