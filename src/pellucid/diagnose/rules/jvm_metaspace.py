"""A JVM loads classes all the while and lets none go, or its metaspace is nearly full: the sign of a class loader leak or of generated classes.

A start loads classes too, and is healthy: what has only just been started is left alone.
"""

from collections.abc import Iterator

from pellucid.diagnose.sizes import size
from pellucid.model import Finding, Ref, Snapshot

_STARTED_S = 60.0
_CLASSES_PER_S, _BYTES_PER_S = 20, 64 << 10
_NEAR = 0.9


def metaspace_grows(seen: Snapshot) -> Iterator[Finding]:
    watched = seen.over_time.jvm if seen.over_time else None
    if watched is None:
        return
    first, last, pid = watched.first, watched.last, seen.process.pid
    if last.metaspace is None or first.metaspace is None or watched.seconds <= 0:
        return
    meta = last.metaspace
    near = next(
        (
            (name, used, limit)
            for name, used, limit in (
                ("metaspace", meta.used, meta.limit),
                ("compressed class space", meta.class_used, meta.class_limit),
            )
            if limit and used >= _NEAR * limit
        ),
        None,
    )
    loaded = (last.classes or 0) - (first.classes or 0)
    grown = meta.used - first.metaspace.used
    unloaded = (last.classes_unloaded or 0) - (first.classes_unloaded or 0)
    grows = (
        last.at_s > _STARTED_S
        and loaded >= _CLASSES_PER_S * watched.seconds
        and unloaded == 0
        and (grown >= _BYTES_PER_S * watched.seconds or loaded >= 10 * _CLASSES_PER_S * watched.seconds)
    )
    if near is None and not grows:
        return
    title = (
        f"its {near[0]} is nearly full: {size(near[1])} of {size(near[2])}"
        if near
        else f"it loads classes all the while: {loaded} in {watched.seconds:.1f} s"
    )
    yield Finding(
        rule="jvm-metaspace",
        severity="warning" if near else "notice",
        title=title,
        sentence=f"pid {pid} has {last.classes or 0:,} classes, {loaded:+,} in the {watched.seconds:.1f} s that it was watched, {last.classes_unloaded or 0:,} were ever unloaded; metaspace "
        f"{size(meta.used)}. Classes go only together with their loader: something holds loaders, or makes classes without end.",
        evidence=(
            Ref(
                source=f"counters of pid {pid}",
                said=f"metaspace {first.metaspace.used} → {meta.used} bytes, classes {first.classes} → {last.classes}",
            ),
        ),
        next=(f"pellucid jvm cmd {pid} VM.classloader_stats", f"pellucid gc {pid} --watch"),
        confidence="likely" if near else "possible",
    )
