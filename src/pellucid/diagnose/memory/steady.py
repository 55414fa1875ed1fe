"""Nothing is wrong that shows: what the memory consists of, so that a person can judge whether it is much."""

from collections.abc import Iterator

from pellucid.diagnose.memory.growth import LONG_S, grows, imported
from pellucid.diagnose.sizes import size
from pellucid.model import Finding, Ref
from pellucid.model.memory import MemoryMap, MemorySeen


def holds_still(seen: MemorySeen) -> Iterator[Finding]:
    if not seen.samples:
        return
    pid = seen.process.pid
    first, last = seen.samples[0], seen.samples[-1]
    change = last.rss_anon_bytes + last.swap_bytes - first.rss_anon_bytes - first.swap_bytes
    line = seen.trend("private")
    growing = grows(line)
    moved = f"{'+' if change >= 0 else '-'}{size(abs(change))}"
    modules = imported(seen)
    title = (
        f"its private memory grows while it imports: {moved} and {modules:,} modules in {seen.span_s:.1f} s"
        if growing and modules
        else f"its private memory grows ({moved} in {seen.span_s:.1f} s), in several parts of the table at once"
        if growing
        else f"its private memory has levelled off after {moved}"
        if line is not None and line.levelled and change >= 1 << 20
        else f"no growth that stands out: {moved} of private memory in {seen.span_s:.1f} s"
        if change > 0
        else f"nothing grows: {moved} of private memory in {seen.span_s:.1f} s"
        if change
        else f"nothing grows: its private memory stayed the same for {seen.span_s:.1f} s"
    )
    slow = (
        " It should stand still when the imports are done: a longer look tells."
        if growing and modules
        else ""
        if seen.span_s >= LONG_S
        else _slowly(0 if growing else change, seen.span_s)
    )
    yield Finding(
        rule="growing" if growing else "steady",
        severity="notice" if growing and not modules else "info",
        title=title,
        sentence=f"{_consists(seen.last)}{slow}" if seen.last else slow.strip() or "Nothing more could be read.",
        evidence=(
            Ref(
                source=f"/proc/{pid}/status",
                said=f"RssAnon {first.rss_anon_bytes >> 10} kB, then {last.rss_anon_bytes >> 10} kB",
            ),
        ),
        next=() if seen.span_s >= 60 else (f"pellucid memory {pid} --watch 60",),
        confidence="certain",
    )


def _slowly(change: int, span_s: float) -> str:
    """What so short a look leaves open."""
    if change > 0 and span_s > 0:
        return f" If it went on so, that would be {size(int(change / span_s * 60))} a minute: a longer look tells."
    return " What grows slowly shows in a longer look."


def _consists(last: MemoryMap) -> str:
    parts = sorted((part for part in last.parts if part.anonymous), key=lambda part: -part.resident_bytes)[:2]
    told = " and ".join(f"{size(part.resident_bytes)} {part.what}" for part in parts)
    return f"Of {size(last.rss_anon_bytes)} the most are {told}."
