"""The garbage collector runs for a large part of the time: it stands in the interpreter's record whether it is collecting now.

The flag `collecting` of struct _gc_runtime_state (Include/internal/pycore_gc.h) was read with each sample. A thread collects when it makes
a container object; so the lines told are those that make many.
"""

from collections.abc import Iterator

from pellucid.diagnose.spent import LEAST_SAMPLES, next_commands, percent, sampled, watched
from pellucid.model import Finding, Ref, Snapshot

_SHARE = 0.25


def collects_garbage_all_the_time(seen: Snapshot) -> Iterator[Finding]:
    time = watched(seen)
    if time is None:
        return
    for thread in sorted(time.threads, key=lambda each: -each.collecting):
        if thread.samples < LEAST_SAMPLES or thread.collecting < _SHARE * thread.samples:
            continue
        share = percent(thread.collecting, thread.samples)
        many = f", {time.collections / time.seconds:.0f} collections a second" if time.collections else ""
        at = thread.collected_at[0] if thread.collected_at else None
        where = (
            f" Of those samples {percent(at.samples, thread.collecting)} are at {at.frame}, whose new objects start it."
            if at is not None
            else ""
        )
        yield Finding(
            rule="gc-churn",
            severity="warning",
            title=f"the garbage collector takes {share} of the time of {thread.name}",
            sentence=f"A garbage collection was under way in {share} of {thread.samples} samples of {thread.name}{many}.{where} "
            "Look at the thresholds (gc.get_threshold), or gc.freeze() what stays.",
            evidence=(
                sampled(seen, thread, f"{thread.collecting} while collecting"),
                Ref(source="gc.collecting of the interpreter", said=f"set in {thread.collecting} samples"),
            ),
            next=(f"pellucid gc {seen.process.pid}", *next_commands(seen)),
            confidence="certain",
            tids=(thread.tid,),
        )
