"""Memory costs time, and not by its size: swapping, pages faulted in again and again, collections without end."""

from collections.abc import Iterator

from pellucid.diagnose.memory.growth import grows
from pellucid.diagnose.sizes import size
from pellucid.model import Finding, Ref
from pellucid.model.memory import MemorySeen

MAJOR_A_SECOND = 20.0
MINOR_A_SECOND = 20_000.0
"""80 MB of fresh pages a second, each zeroed by the kernel."""
STALLED_PERCENT = 10.0
_COLLECTING, _LEAST_READINGS = 0.3, 8


def loses_time(seen: MemorySeen) -> Iterator[Finding]:
    if len(seen.samples) < 2 or not seen.span_s:
        return
    yield from _swaps(seen)
    yield from _faults(seen)
    yield from _collects(seen)


def _swaps(seen: MemorySeen) -> Iterator[Finding]:
    pid = seen.process.pid
    rate = (seen.samples[-1].major_faults - seen.samples[0].major_faults) / seen.span_s
    stalled = (
        max((group.stalled_percent or 0.0 for group in seen.groups[:1]), default=0.0)
        or seen.machine_stalled_percent
        or 0.0
    )
    swapped = seen.samples[-1].swap_bytes
    if rate < MAJOR_A_SECOND and stalled < STALLED_PERCENT:
        return
    from_swap = f", {size(swapped)} of it are in swap" if swapped else ", from files that it has mapped"
    yield Finding(
        rule="swapping",
        severity="warning",
        title=f"performance: {rate:.0f} pages a second have to be read from disk before it can go on",
        sentence=f"Its memory does not fit{from_swap}; tasks waited for memory {stalled:.0f} % of the last 10 s. Size is not the question here:"
        " less memory in use, or more to be had, is.",
        evidence=(
            Ref(source=f"/proc/{pid}/stat", said=f"{rate:.1f} major faults a second"),
            Ref(source="memory pressure", said=f"some avg10 {stalled}"),
        ),
        next=("free -h", f"pellucid oom {pid}"),
        confidence="certain" if rate >= MAJOR_A_SECOND else "likely",
    )


def _faults(seen: MemorySeen) -> Iterator[Finding]:
    pid = seen.process.pid
    rate = (seen.samples[-1].minor_faults - seen.samples[0].minor_faults) / seen.span_s
    if (
        rate < MINOR_A_SECOND
        or grows(seen.trend("private"))
        or grows(seen.trend("files"))
        or grows(seen.trend("shared"))
    ):
        return
    yield Finding(
        rule="page-faults",
        severity="notice",
        title=f"performance: it takes {rate:,.0f} fresh pages a second from the kernel, and gives them back",
        sentence=f"That is {size(int(rate * 4096))} a second that are zeroed, used once and returned, while its memory does not grow: large"
        " temporary arrays or buffers. To reuse a buffer, or a higher MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_, saves that.",
        evidence=(Ref(source=f"/proc/{pid}/stat", said=f"{rate:.0f} minor faults a second"),),
        next=(f"pellucid stacks {pid}",),
        confidence="likely",
    )


def _collects(seen: MemorySeen) -> Iterator[Finding]:
    pid = seen.process.pid
    readings = [sample.collecting for sample in seen.samples if sample.collecting is not None]
    if len(readings) < _LEAST_READINGS or sum(readings) < _COLLECTING * len(readings):
        return
    first, last = seen.samples[0].collections, seen.samples[-1].collections
    done = ", ".join(
        f"{after - before} of generation {number}"
        for number, (before, after) in enumerate(zip(first, last, strict=False))
    )
    yield Finding(
        rule="gc-churn",
        severity="warning",
        title=f"performance: the garbage collector was at work in {sum(readings)} of {len(readings)} readings",
        sentence=f"Collections in {seen.span_s:.1f} s: {done}. Each stops all threads of Python.",
        evidence=(
            Ref(source=f"collector of pid {pid}", said=f"collecting in {sum(readings)} of {len(readings)} readings"),
        ),
        next=(f"pellucid gc {pid} -d 10",),
        confidence="likely",
    )
