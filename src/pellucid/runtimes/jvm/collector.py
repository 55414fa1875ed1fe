"""The counters of a JVM as a `Collector`: young, old and their spaces, whichever of the collectors it runs.

    sun.gc.generation.G.space.S.{name,used,capacity,maxCapacity}     sun.gc.collector.N.{name,invocations,time}

These are the names that jstat reads (jdk.jcmd/share/classes/sun/tools/jstat/resources/jstat_options). Times are in ticks of
sun.os.hrt.frequency.
"""

from msgspec.structs import replace

from pellucid.model.collector import Collections, Collector, Generation, Metaspace, Safepoints, Space
from pellucid.runtimes.jvm.perfdata import Counters

_MOST = 4
"""Generations, spaces and collectors are numbered from 0: no collector of HotSpot has more of one than three."""
_PAD = 8
"""G1 adds one minimal object to every capacity, so that tools need not divide by 0 (gc/g1/g1MonitoringSupport.hpp, pad_capacity, until
JDK 22): what is no whole number of pages.
"""

_FAMILIES = (
    ("G1", "G1"),
    ("Shenandoah", "Shenandoah"),
    ("Z", "ZGC"),
    ("Parallel", "Parallel"),
    ("PS", "Parallel"),
    ("PCopy", "CMS"),
    ("CMS", "CMS"),
    ("Serial", "Serial"),
    ("Copy", "Serial"),
    ("MSC", "Serial"),
)
"""Beginnings of the names of the collectors, JDK 8 to 28."""
_SPACES = {"s0": "survivor 0", "s1": "survivor 1"}
_KINDS = ("young", "full", "concurrent")


def collector(counters: Counters, at_s: float) -> Collector:
    """The state of its collector, `at_s` after the start, as of the last collection (`used` of eden moves on only then)."""
    ticks = number(counters, "sun.os.hrt.frequency") or 1_000_000_000
    collections = _collections(counters, ticks)
    family = _family(counters, collections)
    cause = text(counters, "sun.gc.cause")
    last = text(counters, "sun.gc.lastCause")
    return Collector(
        name=family,
        at_s=at_s,
        generations=_generations(counters),
        collections=collections,
        metaspace=_metaspace(counters),
        safepoints=_safepoints(counters, ticks),
        cause="" if cause == "No GC" else cause,
        last_cause="" if last == "No GC" else last,
        heap_limit=_heap_limit(counters, family),
        threads=_optional(counters, "java.threads.live"),
        classes=_classes(counters),
        classes_unloaded=_optional(counters, "java.cls.unloadedClasses"),
    )


def number(counters: Counters, name: str) -> int:
    """The counter, 0 where there is none of that name."""
    found = counters.get(name, 0)
    return found if isinstance(found, int) else 0


def text(counters: Counters, name: str) -> str:
    found = counters.get(name, "")
    return found if isinstance(found, str) else ""


def _optional(counters: Counters, name: str) -> int | None:
    return number(counters, name) if name in counters else None


def _classes(counters: Counters) -> int | None:
    """Loaded now; those from the archive (CDS) are counted apart."""
    if "java.cls.loadedClasses" not in counters:
        return None
    came = number(counters, "java.cls.loadedClasses") + number(counters, "java.cls.sharedLoadedClasses")
    return came - number(counters, "java.cls.unloadedClasses") - number(counters, "java.cls.sharedUnloadedClasses")


def _collections(counters: Counters, ticks: int) -> tuple[Collections, ...]:
    found = []
    for index in range(_MOST):
        base = f"sun.gc.collector.{index}"
        if f"{base}.invocations" not in counters:
            continue
        name = text(counters, f"{base}.name") or f"collector {index}"
        # "Shenandoah full" counts each pause of its concurrent cycles too (gc/shenandoah/shenandoahUtils.cpp, ShenandoahGCSession).
        concurrent = "concurrent" in name or "major" in name or name.startswith("Shenandoah")
        kind = "concurrent" if concurrent else _KINDS[min(index, 2)]
        found.append(
            Collections(name, number(counters, f"{base}.invocations"), number(counters, f"{base}.time") / ticks, kind)
        )
    return tuple(found)


def _family(counters: Counters, collections: tuple[Collections, ...]) -> str:
    for one in collections:
        for beginning, family in _FAMILIES:
            if one.name.startswith(beginning):
                return family
    return text(counters, "sun.gc.policy.name") or "unknown"


def _generations(counters: Counters) -> tuple[Generation, ...]:
    found = []
    for index in range(_MOST):
        base = f"sun.gc.generation.{index}"
        spaces = tuple(
            Space(
                name=_space(text(counters, f"{space}.name"), index),
                used=number(counters, f"{space}.used"),
                capacity=_unpadded(number(counters, f"{space}.capacity")),
                limit=_unpadded(number(counters, f"{space}.maxCapacity")) or None,
            )
            for space in (f"{base}.space.{number}" for number in range(_MOST))
            if f"{space}.used" in counters
        )
        if not spaces:
            continue
        found.append(
            Generation(
                name=("young", "old", "permanent")[index] if index < 3 else f"generation {index}",
                used=sum(space.used for space in spaces),
                capacity=sum(space.capacity for space in spaces),
                spaces=spaces,
                limit=_limit(counters, base),
            )
        )
    return (replace(found[0], name="heap"),) if len(found) == 1 else tuple(found)


def _limit(counters: Counters, base: str) -> int | None:
    return _unpadded(number(counters, f"{base}.maxCapacity")) or None


def _unpadded(size: int) -> int:
    over = size % 4096
    return size - over if over in (_PAD, 3 * _PAD) else size  # a generation of three spaces has three


def _space(name: str, generation: int) -> str:
    """`space` and `old`, `Heap`: the one space of the old generation has a name of its own with each collector."""
    return _SPACES.get(name, name) if generation == 0 else "old" if generation == 1 else name


def _heap_limit(counters: Counters, family: str) -> int | None:
    """-Xmx. Each generation of G1 may take all of the heap; with the others young and old share it."""
    limits = [_limit(counters, f"sun.gc.generation.{index}") or 0 for index in (0, 1)]
    return (max(limits) if family in {"G1", "ZGC", "Shenandoah"} else sum(limits)) or None


def _metaspace(counters: Counters) -> Metaspace | None:
    """None where it has not been counted yet: with some collectors the counters stand still until the first collection."""
    if not number(counters, "sun.gc.metaspace.used"):
        return None
    return Metaspace(
        used=number(counters, "sun.gc.metaspace.used"),
        capacity=number(counters, "sun.gc.metaspace.capacity"),
        limit=_optional(counters, "sun.gc.metaspace.maxCapacity"),
        class_used=number(counters, "sun.gc.compressedclassspace.used"),
        class_capacity=number(counters, "sun.gc.compressedclassspace.capacity"),
        class_limit=_optional(counters, "sun.gc.compressedclassspace.maxCapacity"),
    )


def _safepoints(counters: Counters, ticks: int) -> Safepoints | None:
    if "sun.rt.safepoints" not in counters:
        return None
    return Safepoints(
        count=number(counters, "sun.rt.safepoints"),
        time_s=number(counters, "sun.rt.safepointTime") / ticks,
        reaching_s=number(counters, "sun.rt.safepointSyncTime") / ticks,
    )
