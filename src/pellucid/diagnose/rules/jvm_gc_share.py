"""A large share of the time that a JVM was watched went into collections: its threads stood still meanwhile."""

from collections.abc import Iterator

from pellucid.diagnose import words
from pellucid.model import Finding, Ref, Snapshot

_NOTICE, _WARNING = 0.15, 0.4
_LEAST_S = 0.5


def collections_take_its_time(seen: Snapshot) -> Iterator[Finding]:
    watched = seen.over_time.jvm if seen.over_time else None
    if watched is None or watched.seconds < _LEAST_S or watched.share < _NOTICE:
        return
    pid, first, last = seen.process.pid, watched.first, watched.last
    share = f"{100 * min(watched.share, 1.0):.0f} %"
    fulls, others = last.count("full") - first.count("full"), last.count("young") - first.count("young")
    yield Finding(
        rule="jvm-gc-share",
        severity="warning" if watched.share >= _WARNING else "notice",
        title=f"{share} of its time goes into collections",
        sentence=f"In the {words.duration(watched.seconds)} that it was watched, pid {pid} made {fulls} full and {others} young collections, which took {share} of the time; "
        f"over all its life {100 * last.time_s / last.at_s if last.at_s else 0:.0f} %. The last one: {last.last_cause or 'not told'}.",
        evidence=(
            Ref(
                source=f"counters of pid {pid}",
                said=f"{last.time_s - first.time_s:.2f} s of {last.at_s - first.at_s:.2f} s in {last.name}",
            ),
        ),
        next=(f"pellucid gc {pid} --watch", f"pellucid heap {pid}"),
        confidence="certain",
    )
