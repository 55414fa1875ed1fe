"""A thread wants the GIL most of the time and does not get it: whoever has it is told with line and share.

A thread asks for the GIL every 5 ms (sys.getswitchinterval), so each turn of a thread that only wants to answer something costs it that
long for every other thread that computes (Python/ceval_gil.c, take_gil).
"""

from collections.abc import Iterator

from pellucid.diagnose.spent import LEAST_SAMPLES, next_commands, percent, sampled, watched
from pellucid.model import Finding, Ref, Snapshot
from pellucid.model.hot_time import Busy

_WANTS = 0.4
_GETS = 0.3
_SEEN = 0.3


def starves_for_the_gil(seen: Snapshot) -> Iterator[Finding]:
    time = watched(seen)
    if time is None:
        return
    starved = [thread for thread in time.threads if _starves(thread)]
    if not starved:
        return
    worst = max(starved, key=lambda thread: thread.wants_gil / thread.samples)
    holders = sorted(
        (thread for thread in time.threads if thread.holds_gil and thread.tid != worst.tid),
        key=lambda each: -each.holds_gil,
    )
    wanted = percent(worst.wants_gil, worst.samples)
    had = ", ".join(f"{thread.name} {percent(thread.holds_gil, thread.samples)}" for thread in holders[:3])
    meanwhile = sum(spot.samples for spot in time.held_gil)
    if not holders or meanwhile < _SEEN * worst.wants_gil:
        return  # who has it was not seen often enough to say so
    spot = time.held_gil[0]
    line = f" Whoever had it was at {spot.frame} in {percent(spot.samples, meanwhile)} of those samples."
    others = (
        f" {len(starved) - 1} more {'threads wait' if len(starved) > 2 else 'thread waits'} like it."
        if len(starved) > 1
        else ""
    )
    yield Finding(
        rule="gil-starvation",
        severity="warning",
        title=f"{worst.name} gets the GIL too rarely: it wanted it in {wanted} of the samples",
        sentence=f"{worst.name} waited for the interpreter's lock in {wanted} of {worst.samples} samples and had it in "
        f"{percent(worst.holds_gil, worst.samples)}; others had it meanwhile ({had}).{line}{others} "
        "Compute in processes, or in code that releases the GIL.",
        evidence=(
            sampled(seen, worst, f"{worst.wants_gil} in want of the GIL"),
            *(
                Ref(source=f"thread {each.tid}", said=f"had the GIL in {each.holds_gil} samples")
                for each in holders[:3]
            ),
        ),
        next=next_commands(seen, " --mode gil"),
        confidence="certain",
        tids=tuple(thread.tid for thread in starved),
    )


def _starves(thread: Busy) -> bool:
    return (
        thread.samples >= LEAST_SAMPLES
        and thread.wants_gil >= _WANTS * thread.samples
        and thread.holds_gil <= _GETS * thread.samples
    )
