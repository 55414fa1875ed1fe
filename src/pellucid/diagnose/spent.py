"""What the rules about time share: the watched threads, shares in words, and the evidence that samples are."""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.model import Ref, Snapshot
from pellucid.model.hot_time import Busy, HotTime, Spot

LEAST_SAMPLES = 30
"""Fewer prove nothing: the machine was too busy, or the window was short."""
RUNS = 0.7
"""Of its samples: a thread that runs nearly all the time."""


def watched(seen: Snapshot) -> HotTime | None:
    """What was sampled over the window; None where too little was, or the process is stopped."""
    time = seen.over_time.time if seen.over_time else None
    if time is None or time.samples < LEAST_SAMPLES or seen.process.state in {"stopped", "traced"}:
        return None
    return time


def runners(time: HotTime) -> Iterator[Busy]:
    """The threads that ran nearly all the time, the busiest first."""
    for thread in sorted(time.threads, key=lambda each: -each.running):
        if thread.samples >= LEAST_SAMPLES and thread.running >= RUNS * thread.samples:
            yield thread


def function(spots: tuple[Spot, ...]) -> tuple[Spot, int] | None:
    """(the line, with its samples, samples of the whole function) of the function with most samples."""
    sums: dict[tuple[str, str], int] = {}
    for spot in spots:
        key = (spot.frame.qualname, spot.frame.file)
        sums[key] = sums.get(key, 0) + spot.samples
    if not sums:
        return None
    most = max(sums, key=lambda key: sums[key])
    return next(spot for spot in spots if (spot.frame.qualname, spot.frame.file) == most), sums[most]


def percent(part: int, whole: int) -> str:
    """`62 %`."""
    return f"{round(100 * part / whole) if whole else 0} %"


def sampled(seen: Snapshot, thread: Busy, said: str) -> Ref:
    """The samples of one thread as evidence."""
    time = watched(seen)
    span = f" over {words.duration(time.seconds)}" if time is not None else ""
    return Ref(source=f"{thread.samples} samples of thread {thread.tid}{span}", said=said)


def next_commands(seen: Snapshot, mode: str = "") -> tuple[str, ...]:
    return (f"pellucid profile {seen.process.pid} -d 10{mode}",)
