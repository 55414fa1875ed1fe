"""Threads queue for one lock of the program: each gets it now and then, and waits for it most of the time.

A lock whose holder keeps it for ever is another matter (`deadlock`, `lock`): here they take turns. Workers that wait for work in a
queue, an event or a condition sleep inside of the library, and are healthy.
"""

from collections.abc import Iterator

from pellucid.diagnose.spent import LEAST_SAMPLES, next_commands, percent, watched
from pellucid.model import Finding, Frame, Ref, Snapshot
from pellucid.model.hot_time import Busy, HotTime

_LEAST_THREADS = 3
_SHARE = 0.5


def threads_queue_for_a_lock(seen: Snapshot) -> Iterator[Finding]:
    time = watched(seen)
    if time is None:
        return
    for frame, threads in _queues(time).items():
        lock = next((thread.lock for thread in threads if thread.lock), None)
        if lock is None or sum(thread.turns for thread in threads) < len(threads):
            continue
        waited, samples = sum(_waited(each) for each in threads), sum(each.samples for each in threads)
        names = ", ".join(thread.name for thread in threads[:3]) + (", ..." if len(threads) > 3 else "")
        said = f"{len(threads)} threads slept there in {percent(waited, samples)} of {samples} samples, and got it {sum(each.turns for each in threads)} times"
        yield Finding(
            rule="lock-convoy",
            severity="warning",
            title=f"{len(threads)} threads queue for {lock}",
            sentence=f"{len(threads)} threads ({names}) spent {percent(waited, samples)} of the time waiting for {lock} at {frame}, and took turns: "
            "they do one after the other what is under it. Keep it for a shorter time, or split it.",
            evidence=(Ref(source=f"samples over {time.seconds:.1f} s", said=said),),
            next=(f"pellucid waits {seen.process.pid}", *next_commands(seen)),
            confidence="certain",
            tids=tuple(thread.tid for thread in threads),
        )


def _queues(time: HotTime) -> dict[Frame, list[Busy]]:
    """The threads that spent most of their time asleep at one line of the program itself, by that line."""
    found: dict[Frame, list[Busy]] = {}
    for thread in time.threads:
        if thread.samples >= LEAST_SAMPLES and thread.waits and _waited(thread) >= _SHARE * thread.samples:
            frame = thread.waits[0].frame
            if frame.own:
                found.setdefault(frame, []).append(thread)
    return {frame: threads for frame, threads in found.items() if len(threads) >= _LEAST_THREADS}


def _waited(thread: Busy) -> int:
    return thread.waits[0].samples
