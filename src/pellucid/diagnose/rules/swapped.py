"""A good part of its memory lies in swap: to touch it again waits for the disk (proc_pid_status(5), VmSwap).

An idle process that was swapped out is healthy. It is a notice only where pages were read back between the looks.
"""

from collections.abc import Iterator

from pellucid.diagnose.sizes import size
from pellucid.model import Finding, Ref, Snapshot

_BYTES, _SHARE = 100 << 20, 0.25
_FAULTS = 10


def is_swapped_out(seen: Snapshot) -> Iterator[Finding]:
    use = seen.resources
    whole = use.swapped_bytes + use.resident_bytes
    if use.swapped_bytes < _BYTES or use.swapped_bytes < _SHARE * whole:
        return
    pid = seen.process.pid
    reads = use.major_faults >= _FAULTS
    yield Finding(
        rule="swapped",
        severity="notice" if reads else "info",
        title=f"{size(use.swapped_bytes)} of its memory are in swap",
        sentence=f"{size(use.swapped_bytes)} of the {size(whole)} that pid {pid} uses are in swap"
        + (
            f"; between the looks {use.major_faults} pages had to be read from disk, and its threads waited for each."
            if reads
            else "; it reads hardly anything back now."
        ),
        evidence=(
            Ref(
                source=f"/proc/{pid}/status",
                said=f"VmSwap {use.swapped_bytes >> 10} kB, VmRSS {use.resident_bytes >> 10} kB",
            ),
            Ref(source=f"/proc/{pid}/stat", said=f"{use.major_faults} major faults between the looks"),
        ),
        next=(f"pellucid info {pid}", "free -h"),
        confidence="certain",
    )
