"""Its private memory grew while it was watched: how fast, which Python objects became more, and who holds them.

Two seconds can't tell a leak from a warm-up: it is told as growth, and as a warning only where a limit is met soon at that rate. What
levelled off within the window is not told.
"""

from collections.abc import Iterator

from pellucid.diagnose import growing
from pellucid.diagnose.sizes import size
from pellucid.diagnose.trend import fit
from pellucid.diagnose.words import duration
from pellucid.model import Confidence, Finding, MemoryGrowth, Ref, Severity, Snapshot
from pellucid.model.memory import Trend

LEAST, LEAST_SHARE = 1 << 20, 0.005
_SOON_S = 900.0
_TYPES = 3


def memory_grows(seen: Snapshot) -> Iterator[Finding]:
    growth = seen.over_time.memory if seen.over_time else None
    if growth is None or len(growth.bytes) < 3:
        return
    count = len(growth.bytes)
    line = fit("private", [(at, float(one)) for at, one in zip(growth.at_s, growth.bytes, strict=True)])
    if (
        line is None
        or line.levelled
        or line.grown < max(LEAST, LEAST_SHARE * line.first)
        or line.per_s < 3 * line.error_per_s
    ):
        return
    pid = seen.process.pid
    left = _left_s(growth, line)
    severity: Severity = "warning" if left is not None and left < _SOON_S else "notice"
    certain: Confidence = "certain" if not growth.types else "likely"
    yield Finding(
        rule="memory-grows",
        severity=severity,
        title=f"its memory grows by {size(int(line.per_s))} a second{_mostly(growth)}",
        sentence=f"Private memory went from {size(growth.bytes[0])} to {size(growth.bytes[-1])} in {growth.seconds:.1f} s. {_what(growth, pid)}{_limit(growth, left)}"
        " So short a look can't tell a leak from a warm-up.",
        evidence=(
            Ref(
                source=f"/proc/{pid}/status",
                said=f"RssAnon + VmSwap, {count} readings: {growth.bytes[0] >> 10} to {growth.bytes[-1] >> 10} kB",
            ),
            *(
                Ref(
                    source=f"two censuses of pid {pid}, {growth.types_s:.1f} s apart",
                    said=f"{one.type} +{one.grown_count:,}, {size(one.grown_bytes)}",
                )
                for one in growth.types[:_TYPES]
            ),
        ),
        next=(f"pellucid memory {pid} --watch 60", f"pellucid heap {pid} --every 10"),
        confidence=certain,
    )


def _left_s(growth: MemoryGrowth, line: Trend) -> float | None:
    """Until the limit of its cgroup at this rate; what the group caches of files is given back before."""
    if growth.limit_bytes is None or line.per_s <= 0:
        return None
    return max(0.0, (growth.limit_bytes - growth.group_bytes) / line.per_s)


def _limit(growth: MemoryGrowth, left: float | None) -> str:
    if left is None or growth.limit_bytes is None or left >= _SOON_S:
        return ""
    return f" At this rate the limit of its cgroup ({size(growth.limit_bytes)}) is met in {duration(left)}."


def _mostly(growth: MemoryGrowth) -> str:
    kind = growing.named(growth.types)
    python = growing.is_python(growth.python_bytes, growth.private_bytes)
    return f": {kind.type} objects become more" if kind is not None and python else ""


def _what(growth: MemoryGrowth, pid: int) -> str:
    if growth.why_no_types:
        return f"Which objects it is was not looked at ({growth.why_no_types}): pellucid heap {pid} --every 10 tells."
    if not growth.types:
        return f"It showed too late in the look to see which objects it is: pellucid heap {pid} --every 10 tells."
    if not growing.is_python(growth.python_bytes, growth.private_bytes):
        return growing.native(growth.python_bytes, growth.private_bytes)
    return growing.types(growth.types, growth.types_s) + growing.holder(growth.suspects)
