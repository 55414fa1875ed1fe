"""A thread runs nearly all the time, and most of it in one function: a hot loop, with the line and its share.

Whether that is wrong can't be known from outside: a program may have much to compute. So it is a notice.
"""

from collections.abc import Iterator

from pellucid.diagnose.spent import function, next_commands, percent, runners, sampled, watched
from pellucid.model import Finding, Snapshot

_MOST_OF_IT = 0.6
_MOST = 3


def runs_in_a_hot_loop(seen: Snapshot) -> Iterator[Finding]:
    time = watched(seen)
    if time is None:
        return
    for thread in list(runners(time))[:_MOST]:
        found = function(thread.own)
        if found is None or found[1] < _MOST_OF_IT * thread.running:
            continue
        spot, samples = found
        frame = spot.frame
        inner = function(thread.inner)
        where = f"{percent(samples, thread.running)} of that in {frame.qualname}, {percent(spot.samples, thread.running)} at {frame}"
        below = ""
        if inner is not None and (inner[0].frame.qualname, inner[0].frame.file) != (frame.qualname, frame.file):
            below = f" From there it is most often in {inner[0].frame}."
        yield Finding(
            rule="hot-loop",
            severity="notice",
            title=f"{thread.name} runs all the time, {percent(samples, thread.running)} of it in {frame.qualname}",
            sentence=f"{thread.name} ran in {percent(thread.running, thread.samples)} of {thread.samples} samples, {where}.{below}",
            evidence=(sampled(seen, thread, where),),
            next=next_commands(seen),
            confidence="certain",
            tids=(thread.tid,),
        )
